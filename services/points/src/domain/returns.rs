use kernel::Timestamp;

use super::ledger::Posting;
use super::{
    AccountId, EntryKind, GivenUp, Known, Ledger, Line, LotChange, LotKey, MAIN_WALLET, Opening, Outcome, Progress, Purchase, PurchaseId,
    Refusal, Restored, ReturnPolicy, Source,
};

/// Goods that go back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Return {
    /// The purchase.
    pub purchase: PurchaseId,
    /// What of it.
    pub what: ReturnWhat,
    /// How many of the points that paid for it are given back; in proportion to what goes back when absent.
    pub give_back: Option<i64>,
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
    /// What happened, and in the main wallet.
    pub summary: ReturnSummary,
    /// Where points were taken from in each other wallet that the purchase had earned something in, in its order.
    pub others: Vec<Taken>,
    /// What became of the points that had paid for it.
    pub restored: Restored,
    /// What it has changed of the member's challenges.
    pub challenges: Vec<Progress>,
}

/// What a return changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReturnSummary {
    /// Minor units that went back.
    pub returned: i64,
    /// Change of the base points, zero or negative.
    pub base_delta: i64,
    /// Change of the points of the main wallet that are deserved, zero or negative.
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

/// The wallet that something was earned in, the lot that it is in now, and when it was earned.
type Own<'a> = (&'a str, (Option<LotKey>, Timestamp));

/// What is to be taken back, before it is posted.
struct ToTake {
    taken: Taken,
    lots: Vec<LotChange>,
}

impl Ledger<'_> {
    /// Works out anew what the rest of the purchase deserves, under the version and facts of its day, and takes back the
    /// difference; what points paid of it is given back before, so that it can be taken. What is left alone decides, never the way
    /// there.
    ///
    /// `other` are the books that hold what points paid, where that is not all in these: a pool's, or those of who had taken this
    /// account in when they were spent.
    pub(super) fn take_back(&mut self, request: &Return, known: &Known, other: Option<&mut Ledger<'_>>) -> Result<Outcome, Refusal> {
        let before = known.purchase.as_ref().ok_or(Refusal::PurchaseNotFound)?;
        let mut after = before.clone();
        match &request.what {
            ReturnWhat::Lines(lines) => take_lines(&mut after, lines)?,
            ReturnWhat::RemainingNet(net) => take_amount(&mut after, *net)?,
        }
        self.take_back_to(before, after, request.give_back, known, other)
    }

    /// The same, by what is left of the purchase.
    pub(super) fn take_back_to(
        &mut self,
        before: &Purchase,
        mut after: Purchase,
        give_back: Option<i64>,
        known: &Known,
        other: Option<&mut Ledger<'_>>,
    ) -> Result<Outcome, Refusal> {
        let version = self.versions.number(before.facts.version).ok_or(Refusal::PurchaseNotFound)?;
        let explanation = version.points_for(&after.basket(), &before.facts)?;
        after.base = explanation.base;
        after.due = if before.member.is_some() { explanation.points() } else { 0 };
        after.returns += 1;
        let due_delta = after.due - before.due;
        for earned in &mut after.others {
            earned.due = explanation.points_in(Some(&earned.wallet));
        }
        let restored = self.give_back_paid(&mut after, give_back, known, other)?;
        let (mut taken, mut others, mut challenges) = (Taken::default(), Vec::new(), Vec::new());
        if before.member.is_some() {
            let policy = (version.terms.return_policy, version.deficit_cap(self.facts, self.stamp.now));
            let source = Source::Purchase(before.input.id.clone());
            let own = |lot| (self.lot_now(before, lot), before.recorded_at);
            let main = (MAIN_WALLET, own(before.lot.as_ref()));
            let owns: Vec<_> = before.others.iter().map(|earned| (&*earned.wallet, own(Some(&earned.lot)))).collect();
            let counting = self.tally_return(version, before, &after);
            let back = self.to_take(-due_delta, &main, policy);
            taken = back.taken;
            after.stays += taken.forgiven;
            self.counted = version.counts_changed(before, &after, None)?;
            self.post_taken(EntryKind::Clawback, back, &main, policy.0, source.clone(), version.number);
            for (index, own) in owns.iter().enumerate() {
                let points = before.others[index].due - after.others[index].due;
                let back = self.to_take(points, own, policy);
                others.push(back.taken);
                if points > 0 {
                    after.others[index].stays += back.taken.forgiven;
                    self.counted = version.counts_changed(before, &after, Some(own.0))?;
                    self.post_taken(EntryKind::Clawback, back, own, policy.0, source.clone(), version.number);
                }
            }
            challenges = self.settle_challenges(version, &counting, &before.input.id.0)?;
        }
        let returned = before.remaining_net - after.remaining_net;
        let summary = ReturnSummary { returned, base_delta: after.base - before.base, due_delta, taken };
        Ok(Outcome::Returned(Box::new(Returned { purchase: after, summary, others, restored, challenges })))
    }

    /// Gives back what points paid of the goods that went back. By default it is what the rest of the purchase does not keep, so that
    /// slices come to the same as the whole.
    fn give_back_paid(
        &mut self,
        purchase: &mut Purchase,
        wanted: Option<i64>,
        known: &Known,
        mut other: Option<&mut Ledger<'_>>,
    ) -> Result<Restored, Refusal> {
        let left: i64 = known.redemptions.iter().map(|redemption| redemption.left()).sum();
        let deserved = (purchase.redeemed - purchase.redeemed_kept() - purchase.given_back).clamp(0, left);
        let points = wanted.unwrap_or(deserved);
        if points > left {
            return Err(Refusal::ExceedsRedemption { left });
        }
        for redemption in &known.redemptions {
            self.check_room(&redemption.wallet, points)?;
            other.iter().try_for_each(|books| books.check_room(&redemption.wallet, points))?;
        }
        purchase.given_back += points;
        let mut restored = Restored::default();
        let mut rest = points;
        for redemption in &known.redemptions {
            let part = rest.min(redemption.left());
            rest -= part;
            if part > 0 {
                let source = Source::Redemption { operation: redemption.operation, purchase: Some(purchase.input.id.clone()) };
                match &mut other {
                    Some(other) if !self.holds(redemption.account) => other.give_back(redemption, part, source, &mut restored)?,
                    _ => self.give_back(redemption, part, source, &mut restored)?,
                }
            }
        }
        Ok(restored)
    }

    /// Takes points of a wallet back: from the lot they went to, then in spending order, then from what is pending, then as a deficit. How far
    /// down that list it goes is the policy's. Always posts an entry, so that every operation has one.
    pub(super) fn claw_back(
        &mut self,
        kind: EntryKind,
        points: i64,
        own: Own<'_>,
        policy: (ReturnPolicy, Option<i64>),
        source: Source,
        program_version: i64,
    ) -> Taken {
        let back = self.to_take(points, &own, policy);
        let taken = back.taken;
        if kind == EntryKind::RewardRevoked {
            for change in &mut self.tallies {
                change.given.iter_mut().for_each(|given| given.stays += taken.forgiven);
                // Of points that were taken whole there is nothing to remember.
                change.given.retain(|given| given.stays > 0);
            }
        }
        self.post_taken(kind, back, &own, policy.0, source, program_version);
        taken
    }

    /// Where they would come from.
    fn to_take(&self, points: i64, (wallet, (own, earned_at)): &Own<'_>, (policy, cap): (ReturnPolicy, Option<i64>)) -> ToTake {
        let mut lots: Vec<LotChange> = Vec::new();
        let mut taken = Taken::default();
        let mut left = points;
        let (mut deficit, mut reserved) = (0, 0);
        if let Some(wallet) = self.account.wallet(wallet) {
            (deficit, reserved) = (wallet.deficit, wallet.reserved);
            let is_own = |key: &LotKey| own.as_ref().is_some_and(|own| own == key || own.waits_like(key));
            let own_lots = wallet.in_order().filter(|lot| is_own(&lot.key));
            let active = wallet.in_order().filter(|lot| !is_own(&lot.key) && lot.key.is_open());
            // What somebody may yet reject pays for nothing: it would have paid all the same.
            let is_approved = |key: &LotKey| key.gate().is_none_or(|gate| self.unapproved(gate.operation).is_none());
            let pending = wallet.in_order().filter(|lot| !is_own(&lot.key) && !lot.key.is_open() && is_approved(&lot.key));
            for lot in own_lots.chain(active).chain(pending) {
                let admitted = policy != ReturnPolicy::OnlyPending || (is_own(&lot.key) && !lot.key.is_open());
                let part = lot.free().min(left);
                if !admitted || part == 0 {
                    continue;
                }
                lots.push(LotChange { key: lot.key.clone(), points: -part, reserved: 0 });
                left -= part;
                *(if lot.key.is_open() { &mut taken.active } else { &mut taken.pending }) += part;
            }
        }
        let was_let_go = self.account.let_go_at.is_some_and(|at| *earned_at <= at);
        taken.deficit = match policy {
            ReturnPolicy::OnlyPending => 0,
            // Who had taken the account in may have spent it, or hold it, in books that do not know of this: were it given up, a refund
            // there would gain it.
            _ if was_let_go => left,
            // What a reservation holds is there, only out of reach until it ends.
            ReturnPolicy::WithinBalance => left.min((reserved - deficit).max(0)),
            ReturnPolicy::Unlimited => cap.map_or(left, |cap| left.min((cap.max(reserved) - deficit).max(0))),
        };
        taken.forgiven = left - taken.deficit;
        ToTake { taken, lots }
    }

    fn post_taken(
        &mut self,
        kind: EntryKind,
        ToTake { taken, lots }: ToTake,
        (wallet, (_, earned_at)): &Own<'_>,
        policy: ReturnPolicy,
        source: Source,
        program_version: i64,
    ) {
        // By the terms what is not pending stays with the member; what was spent does not, if it comes back.
        let is_spent = policy != ReturnPolicy::OnlyPending && taken.forgiven > 0;
        let given_up = if is_spent { vec![self.given_up(taken.forgiven, *earned_at)] } else { Vec::new() };
        let posting = self.posting(kind, wallet, source);
        self.post(Posting { lots, deficit: taken.deficit, given_up, program_version, ..posting });
    }

    /// Points that are given up with the next entry: those of an account that was taken in since they were earned may have been spent in
    /// it before that.
    fn given_up(&self, points: i64, earned_at: Timestamp) -> GivenUp {
        let named = self.stamp.presented.and_then(|member| self.account.merged_since(member, earned_at));
        let others = self.account.merged.iter().flat_map(|merged| &merged.identities).map(|known| known.account);
        let others: Vec<AccountId> = others.filter(|account| Some(*account) != named).collect();
        let of = if named.is_none() && others.is_empty() { Vec::new() } else { named.into_iter().chain([self.id]).chain(others).collect() };
        GivenUp { at: self.recorded_at(), of, points }
    }

    /// The lot that points of a purchase are in now: the one they went to, opened if its time has come, also when the account has been
    /// taken in since or let go.
    fn lot_now(&self, purchase: &Purchase, lot: Option<&LotKey>) -> Option<LotKey> {
        let lot = lot?.moved(AccountId::of(&purchase.program, purchase.member?), self.id);
        match lot.opening {
            Opening::At(at) if at <= self.stamp.now => Some(lot.opened()),
            _ => Some(lot),
        }
    }
}

impl Purchase {
    /// The part of the points that paid for it which the rest of it keeps: by its net, or by pieces where that is nothing; rounded
    /// down, so that the member never pays more for the rest than its share.
    fn redeemed_kept(&self) -> i64 {
        let (left, whole) = if self.input.net > 0 {
            (self.remaining_net, self.input.net)
        } else {
            let lines = &self.input.lines;
            (lines.iter().map(Line::left).sum(), lines.iter().map(|line| line.quantity).sum::<i64>().max(1))
        };
        i64::try_from(i128::from(self.redeemed) * i128::from(left) / i128::from(whole)).expect("a part of an i64")
    }
}

fn take_lines(purchase: &mut Purchase, lines: &[(String, i64)]) -> Result<(), Refusal> {
    for (id, quantity) in lines {
        let line = purchase.input.lines.iter_mut().find(|line| line.id == *id);
        let line = line.ok_or_else(|| Refusal::LineNotFound { line: id.clone() })?;
        let left = line.left();
        if *quantity > left {
            return Err(Refusal::ExceedsPurchase { left });
        }
        line.returned += quantity;
    }
    // The amount left never rises, also when an earlier return went by amount.
    let kept: i64 = purchase.input.lines.iter().map(Line::kept_net).sum();
    purchase.remaining_net = kept.min(purchase.remaining_net);
    Ok(())
}

fn take_amount(purchase: &mut Purchase, net: i64) -> Result<(), Refusal> {
    if net > purchase.remaining_net {
        return Err(Refusal::ExceedsPurchase { left: purchase.remaining_net });
    }
    if net == purchase.remaining_net {
        return Err(Refusal::NothingToReturn);
    }
    purchase.remaining_net = net;
    purchase.amount_left = Some(net);
    Ok(())
}
