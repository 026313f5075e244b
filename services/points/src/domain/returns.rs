use super::ledger::Posting;
use super::{EntryKind, Known, Ledger, LotChange, LotKey, MAIN_WALLET, Outcome, Purchase, PurchaseId, Refusal, ReturnPolicy, Source};

/// Goods that go back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Return {
    /// The purchase.
    pub purchase: PurchaseId,
    /// What of it.
    pub what: ReturnWhat,
}

/// How a return says what goes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReturnWhat {
    /// Pieces of lines: line id and how many.
    Lines(Vec<(String, i64)>),
    /// The net that is left, minor units.
    RemainingNet(i64),
}

/// A purchase after a return.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returned {
    /// The purchase to keep.
    pub purchase: Purchase,
    /// What happened.
    pub summary: ReturnSummary,
}

/// What a return changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReturnSummary {
    /// Minor units that went back.
    pub returned: i64,
    /// Change of the base points, zero or negative.
    pub base_delta: i64,
    /// Change of the points deserved, zero or negative.
    pub due_delta: i64,
    /// Where the points came from.
    pub taken: Taken,
}

/// Where points that are taken back come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// From pending lots.
    pub pending: i64,
    /// From spendable lots.
    pub active: i64,
    /// Owed from now on.
    pub deficit: i64,
    /// Given up, by the terms.
    pub forgiven: i64,
}

impl Ledger<'_> {
    /// Works out anew what the rest of the purchase deserves, under the version and facts of its day, and takes back the
    /// difference. What is left alone decides, never the way there.
    pub(super) fn take_back(&mut self, request: &Return, known: &Known) -> Result<Outcome, Refusal> {
        let before = known.purchase.as_ref().ok_or(Refusal::PurchaseNotFound)?;
        let version = self.versions.number(before.facts.version).ok_or(Refusal::PurchaseNotFound)?;
        let mut after = before.clone();
        match &request.what {
            ReturnWhat::Lines(lines) => take_lines(&mut after, lines)?,
            ReturnWhat::RemainingNet(net) => take_amount(&mut after, *net)?,
        }
        let explanation = version.points_for(after.remaining_net, &before.facts)?;
        after.base = explanation.base;
        after.due = if before.member.is_some() { explanation.points() } else { 0 };
        after.returns += 1;
        let due_delta = after.due - before.due;
        let mut taken = Taken::default();
        if before.member.is_some() {
            let policy = (version.terms.return_policy, version.terms.deficit_cap);
            let source = Source::Purchase(before.input.id.clone());
            taken =
                self.claw_back(EntryKind::Clawback, -due_delta, self.lot_now(before.lot.as_ref()).as_ref(), policy, source, version.number);
        }
        let returned = before.remaining_net - after.remaining_net;
        let summary = ReturnSummary { returned, base_delta: after.base - before.base, due_delta, taken };
        Ok(Outcome::Returned(Box::new(Returned { purchase: after, summary })))
    }

    /// Takes points back: from the lot they went to, then in spending order, then from what is pending, then as a deficit. How far
    /// down that list it goes is the policy's. Always posts an entry, so that every operation has one.
    pub(super) fn claw_back(
        &mut self,
        kind: EntryKind,
        points: i64,
        own: Option<&LotKey>,
        (policy, cap): (ReturnPolicy, Option<i64>),
        source: Source,
        program_version: i64,
    ) -> Taken {
        let mut lots: Vec<LotChange> = Vec::new();
        let mut taken = Taken::default();
        let mut left = points;
        let (mut deficit, mut reserved) = (0, 0);
        if let Some(wallet) = self.account.wallet(MAIN_WALLET) {
            (deficit, reserved) = (wallet.deficit, wallet.reserved);
            let is_own = |key: &LotKey| own == Some(key);
            let own_lots = wallet.lots.iter().filter(|lot| is_own(&lot.key));
            let active = wallet.lots.iter().filter(|lot| !is_own(&lot.key) && lot.key.activates_at.is_none());
            let pending = wallet.lots.iter().filter(|lot| !is_own(&lot.key) && lot.key.activates_at.is_some());
            for lot in own_lots.chain(active).chain(pending) {
                let admitted = policy != ReturnPolicy::OnlyPending || (is_own(&lot.key) && lot.key.activates_at.is_some());
                let part = lot.free().min(left);
                if !admitted || part == 0 {
                    continue;
                }
                lots.push(LotChange { key: lot.key.clone(), points: -part, reserved: 0 });
                left -= part;
                *(if lot.key.activates_at.is_some() { &mut taken.pending } else { &mut taken.active }) += part;
            }
        }
        taken.deficit = match policy {
            ReturnPolicy::OnlyPending => 0,
            // What a reservation holds is there, only out of reach until it ends.
            ReturnPolicy::WithinBalance => left.min((reserved - deficit).max(0)),
            ReturnPolicy::Unlimited => cap.map_or(left, |cap| left.min((cap - deficit).max(0))),
        };
        taken.forgiven = left - taken.deficit;
        self.post(Posting {
            kind,
            wallet: MAIN_WALLET.into(),
            lots,
            deficit: taken.deficit,
            source,
            program_version,
            effective_at: self.stamp.occurred_at,
        });
        taken
    }

    /// The lot that a credit is in now: the one it went to, activated if its time has come.
    fn lot_now(&self, lot: Option<&LotKey>) -> Option<LotKey> {
        let lot = lot?;
        match lot.activates_at {
            Some(at) if at <= self.stamp.now => Some(lot.activated()),
            _ => Some(lot.clone()),
        }
    }
}

fn take_lines(purchase: &mut Purchase, lines: &[(String, i64)]) -> Result<(), Refusal> {
    for (id, quantity) in lines {
        let line = purchase.input.lines.iter_mut().find(|line| line.id == *id);
        let line = line.ok_or_else(|| Refusal::LineNotFound { line: id.clone() })?;
        let left = line.quantity - line.returned;
        if *quantity > left {
            return Err(Refusal::ExceedsPurchase { left });
        }
        line.returned += quantity;
    }
    // What a line keeps depends on the pieces left alone, rounded down to the minor unit, so that slicing gains nothing. The
    // amount left never rises, also when an earlier return went by amount.
    let kept: i64 = purchase.input.lines.iter().map(kept_net).sum();
    purchase.remaining_net = kept.min(purchase.remaining_net);
    Ok(())
}

fn kept_net(line: &super::Line) -> i64 {
    let kept = i128::from(line.net) * i128::from(line.quantity - line.returned) / i128::from(line.quantity);
    i64::try_from(kept).expect("a part of an i64")
}

fn take_amount(purchase: &mut Purchase, net: i64) -> Result<(), Refusal> {
    if net > purchase.remaining_net {
        return Err(Refusal::ExceedsPurchase { left: purchase.remaining_net });
    }
    if net == purchase.remaining_net {
        return Err(Refusal::NothingToReturn);
    }
    purchase.remaining_net = net;
    Ok(())
}
