use std::sync::Arc;
use std::time::Duration;

use kernel::{Timestamp, Uuid};
use rust_decimal::Decimal;

use super::award_limit::Asking;
use super::reaching::{Event, gifts_max};
use super::{
    Account, AccountId, Activity, ActivityTerms, Award, Basket, Buyer, Command, Count, Counting, Earned, Ensure, Entry, EntryKind,
    Explanation, Facts, FrozenFacts, GivenUp, Known, LotChange, LotKey, MAIN_WALLET, MemberStatus, Outcome, Purchase, PurchaseInput,
    Refusal, Rejection, ReturnPolicy, RewardState, Selection, Share, Source, Stamp, TallyChange, Told, Unapproved, Version, Versions,
    Wallet,
};

/// The books of one account, open for one command: posting an entry takes it into the account at once, so that the next
/// posting sees it.
pub struct Ledger<'a> {
    pub(super) id: AccountId,
    pub(super) account: &'a mut Account,
    pub(super) versions: &'a Versions,
    pub(super) facts: &'a Facts,
    pub(super) stamp: &'a Stamp,
    pub(super) entries: Vec<Entry>,
    /// Another account has entries up to here that come before what is posted in this one.
    pub(super) comes_after: Timestamp,
    /// Which promotions are told that give nothing.
    pub(super) told: Told,
    /// What the next entry counts.
    pub(super) counted: Vec<Count>,
    /// What the next entry changes of what counts for challenges.
    pub(super) tallies: Vec<TallyChange>,
    /// What waits for its approval from the next entry on.
    pub(super) waits: Vec<Unapproved>,
    /// What it decides on of that.
    pub(super) decided: Vec<Uuid>,
    /// The links that prove nothing any more with it.
    pub(super) freed: Vec<Uuid>,
}

/// What an entry needs besides what the books know.
pub(super) struct Posting {
    pub(super) kind: EntryKind,
    pub(super) wallet: Arc<str>,
    pub(super) lots: Vec<LotChange>,
    pub(super) deficit: i64,
    pub(super) given_up: Vec<GivenUp>,
    pub(super) source: Source,
    pub(super) program_version: i64,
    pub(super) effective_at: Timestamp,
    pub(super) sliding_until: Option<Timestamp>,
}

/// What is frozen of a purchase, and the promotions that it does not get, each with the reason.
type Frozen = (FrozenFacts, Vec<(Arc<str>, Rejection)>);

impl<'a> Ledger<'a> {
    /// Opens the books of an account.
    pub fn open(id: AccountId, account: &'a mut Account, versions: &'a Versions, facts: &'a Facts, stamp: &'a Stamp) -> Ledger<'a> {
        Ledger {
            id,
            account,
            versions,
            facts,
            stamp,
            entries: Vec::new(),
            comes_after: Timestamp::MIN,
            told: Told::OfTheBasket,
            counted: Vec::new(),
            tallies: Vec::new(),
            waits: Vec::new(),
            decided: Vec::new(),
            freed: Vec::new(),
        }
    }

    /// The same, and every promotion that gives nothing is told, for whatever reason: a preview may take the time.
    #[must_use]
    pub fn telling_all(self) -> Ledger<'a> {
        Ledger { told: Told::All, ..self }
    }

    /// Carries out a command: the outcome and the entries posted, or a refusal that has changed nothing.
    ///
    /// What has fallen due must have been settled before ([`Ledger::settle`]). Commands between two accounts go to
    /// [`super::apply_between`].
    pub fn apply(mut self, command: &Command, known: &Known) -> Result<(Outcome, Vec<Entry>), Refusal> {
        if self.account.pool.is_some() && !matches!(command, Command::ChangePool(_) | Command::Refund(_) | Command::SetExpiry(_)) {
            return Err(Refusal::PoolAccount);
        }
        self.check_wallet(command)?;
        let outcome = match command {
            Command::Award(award) => self.award(award, known),
            Command::Activity(activity) => self.activity(activity, known),
            Command::Resolve(resolve) => self.resolve(resolve),
            Command::Redeem(redeem) => self.redeem(redeem),
            Command::RedeemReward(request) => self.redeem_reward(request, known),
            Command::RefundReward(request) => self.refund_reward(request, known),
            Command::Reserve(reserve) => self.reserve(reserve),
            Command::Capture(capture) => self.capture(capture, known),
            Command::Release(release) => self.release(release, known),
            Command::Refund(refund) => self.refund(refund, known),
            Command::Return(request) => self.take_back(request, known, None),
            Command::Adjust(adjust) => self.adjust(adjust),
            Command::SetExpiry(change) => self.set_expiry(change),
            Command::Forgive(forgive) => self.forgive(forgive),
            Command::Ensure(ensure) => self.ensure(ensure, known),
            Command::ChangePool(request) => self.change_pool(request),
            Command::Transfer(_) | Command::Merge(_) | Command::Unmerge(_) | Command::LeavePool(_) | Command::RedeemFromPool(_) => {
                Err(Refusal::SameAccount)
            }
        }?;
        // What has come free in a lot that had lapsed lapses now, and not only when somebody comes by.
        self.expire_lapsed(self.stamp.now);
        Ok((outcome, self.entries))
    }

    fn award(&mut self, award: &Award, known: &Known) -> Result<Outcome, Refusal> {
        let version = self.versions.at(self.stamp.occurred_at);
        if award.member.is_some() {
            self.admit()?;
        }
        let input = &award.purchase;
        if known.redemptions.len() != input.redemptions.len() {
            return Err(Refusal::RedemptionNotFound);
        }
        let store = self.stamp.store.clone();
        let PurchaseInput { net, tax, discount, ref lines, ref channel, ref offer, .. } = *input;
        let occurred_at = self.stamp.occurred_at;
        let basket = Basket { net, whole_net: net, tax, discount, amount_left: None, lines, channel, offer, store: &store, occurred_at };
        let (mut facts, rejected) = match award.member {
            Some(_) => self.frozen_facts(version, &basket, &known.shared)?,
            None => (FrozenFacts::of_stranger(version.number), Vec::new()),
        };
        let mut explanation = Explanation { rejected, ..version.points_for(&basket, &facts)? };
        if award.member.is_some() && version.is_counted(&facts) {
            let stamp = self.stamp;
            let counts = |facts: &FrozenFacts, points: &Explanation| version.counts(facts, points, None, stamp.place(), stamp.occurred_at);
            self.counted = match version.let_through(&self.asking(explanation.points(), true, known))? {
                None => counts(&facts, &explanation),
                Some(bound) => {
                    facts.bind(&explanation, bound);
                    explanation = explanation.cut(facts.bound.as_ref());
                    counts(&facts, &version.points_for(&basket, &facts)?)
                }
            };
        }
        let (mut lot, mut others) = (None, Vec::new());
        if award.member.is_some() {
            let key = self.named(version.lot_for(MAIN_WALLET, occurred_at, self.stamp.now, self.stamp.operation, &input.id.0));
            let counting = self.tally_purchase(version, &basket, &facts.tallied);
            self.check_rooms(version, &counting, |wallet| explanation.points_in(wallet))?;
            self.credit(EntryKind::Award, MAIN_WALLET, &key, explanation.points(), Source::Purchase(input.id.clone()), version)?;
            others = explanation
                .others
                .iter()
                .map(|share| self.earn_share(version, input, (&facts, &explanation), share))
                .collect::<Result<_, _>>()?;
            explanation.challenges = self.settle_challenges(version, &counting, &input.id.0)?;
            lot = (explanation.points() > 0).then_some(key);
        }
        let purchase = Purchase {
            program: award.program.clone(),
            member: award.member,
            input: input.clone(),
            remaining_net: input.net,
            amount_left: None,
            base: explanation.base,
            due: if award.member.is_some() { explanation.points() } else { 0 },
            stays: 0,
            redeemed: known.redemptions.iter().map(|redemption| redemption.left()).sum(),
            given_back: 0,
            lot,
            others,
            facts,
            returns: 0,
            store: self.stamp.store.clone(),
            terminal: self.stamp.terminal.clone(),
            cashier: self.stamp.cashier.clone(),
            occurred_at: self.stamp.occurred_at,
            recorded_at: self.entries.first().map_or(self.stamp.now, |entry| entry.recorded_at),
            operation: self.stamp.operation,
        };
        Ok(Outcome::Awarded { purchase: Box::new(purchase), explanation })
    }

    /// What a purchase earns in a wallet beside the main one.
    fn earn_share(
        &mut self,
        version: &Version,
        input: &PurchaseInput,
        (facts, explanation): (&FrozenFacts, &Explanation),
        Share { wallet, points }: &Share,
    ) -> Result<Earned, Refusal> {
        let Stamp { occurred_at, now, operation, .. } = *self.stamp;
        let lot = self.named(version.lot_for(wallet, occurred_at, now, operation, &input.id.0));
        self.counted = version.counts(facts, explanation, Some(wallet), self.stamp.place(), occurred_at);
        self.credit(EntryKind::Award, wallet, &lot, *points, Source::Purchase(input.id.clone()), version)?;
        Ok(Earned { wallet: wallet.clone(), earned: *points, due: *points, stays: 0, lot })
    }

    fn activity(&mut self, activity: &Activity, known: &Known) -> Result<Outcome, Refusal> {
        self.admit()?;
        let version = self.versions.at(self.stamp.occurred_at);
        let named = version.terms.activities.iter().find(|named| named.name == activity.activity);
        let ActivityTerms { name, points: desired, limit, proof, approval, wallet } =
            named.ok_or_else(|| Refusal::ActivityNotFound { activity: activity.activity.clone() })?;
        if *proof && activity.proof.is_none() {
            return Err(Refusal::ProofRequired { activity: name.clone() });
        }
        let Stamp { occurred_at: at, now, operation, .. } = *self.stamp;
        let of: Arc<str> = format!("activity:{name}").into();
        if limit.is_some_and(|limit| limit.room(&of, &self.account.counts, at, &version.zone).is_none_or(|left| left < *desired)) {
            return Err(Refusal::ActivityLimit { activity: name.clone() });
        }
        // Limits of awards are about the main wallet.
        let limited = if wallet.is_none() { *desired } else { 0 };
        let bound = version.let_through(&self.asking(limited, false, known))?;
        let points = bound.map_or(*desired, |bound| bound.points);
        let own = limit.map(|limit| limit.count(Counting::Member, of, (1, points), at, &version.zone));
        let limited = points.min(limited);
        self.counted = own.into_iter().chain(version.limit_counts(limited, self.stamp.place(), at)).collect();
        let wallet = wallet.as_deref();
        let into = wallet.unwrap_or(MAIN_WALLET);
        let lot = self.named(match approval {
            Some(approval) => version.unapproved_lot(name, *approval, at, operation, &activity.id),
            None => version.lot_for(into, at, now, operation, &activity.id),
        });
        let source = Source::Activity { activity: name.clone(), id: activity.id.clone() };
        // What waits for its approval counts for nothing yet.
        let counting = if approval.is_none() { self.tally_activity(version, name) } else { Vec::new() };
        self.waits = approval.and_then(|_| self.unapproved_in(&lot, activity.proof)).into_iter().collect();
        self.check_rooms(version, &counting, |named| if named == wallet { points } else { 0 })?;
        self.credit(EntryKind::Activity, into, &lot, points, source, version)?;
        let challenges = self.settle_challenges(version, &counting, &activity.id)?;
        Ok(Outcome::Earned { desired: *desired, points, lot, challenges })
    }

    /// An older wish than the newest seen changes nothing: a revoke may overtake its grant.
    fn ensure(&mut self, ensure: &Ensure, known: &Known) -> Result<Outcome, Refusal> {
        let first = || RewardState { version: 0, granted: 0, wallet: ensure.wallet.clone(), lot: None };
        let state = known.reward.clone().unwrap_or_else(first);
        if ensure.version <= state.version {
            return Ok(Outcome::Ensured(state));
        }
        let source = Source::Reward { key: ensure.key.clone(), reason: ensure.reason.clone() };
        let version = self.versions.at(self.stamp.now);
        let (granted, wallet, lot) = match (ensure.wanted, state.granted > 0) {
            (true, false) => {
                self.admit()?;
                let wallet = ensure.wallet.clone();
                let key = self.named(version.open_lot_for(&wallet, self.stamp.occurred_at));
                self.credit(EntryKind::Reward, &wallet, &key, ensure.points, source, version)?;
                (ensure.points, wallet, Some(key))
            }
            (false, true) => {
                let policy = (ReturnPolicy::Unlimited, version.deficit_cap(self.facts, self.stamp.now));
                let owner = self.stamp.presented.and_then(|member| self.account.merged_account(member)).unwrap_or(self.id);
                let lot = state.lot.map(|lot| lot.moved(owner, self.id));
                // When it was granted is not known: it counts as before any merge.
                let own = (&*state.wallet, (lot, Timestamp::MIN));
                self.claw_back(EntryKind::RewardRevoked, state.granted, own, policy, source, version.number);
                (0, state.wallet, None)
            }
            _ => (state.granted, state.wallet, state.lot),
        };
        Ok(Outcome::Ensured(RewardState { version: ensure.version, granted, wallet, lot }))
    }

    /// Adds points to a lot. A credit that is spendable at once repays the deficit first; one of old data whose life is over
    /// already lapses at once and repays nothing.
    pub(super) fn credit(
        &mut self,
        kind: EntryKind,
        wallet: &str,
        key: &LotKey,
        points: i64,
        source: Source,
        version: &Version,
    ) -> Result<(), Refusal> {
        let held = self.account.wallet(wallet);
        self.check_room(wallet, points)?;
        let slides_to = held.and_then(|wallet| wallet.sliding_until).max(version.sliding_until(wallet, self.stamp.occurred_at));
        let lapsed = key.lapses_at(slides_to).filter(|at| *at <= self.stamp.now);
        let repaid = if key.is_open() && lapsed.is_none() { points.min(self.account.deficit(wallet)) } else { 0 };
        let lots = if points > repaid { vec![LotChange { key: key.clone(), points: points - repaid, reserved: 0 }] } else { Vec::new() };
        let posting = Posting { lots, deficit: -repaid, program_version: version.number, ..self.posting(kind, wallet, source) };
        self.post(posting);
        Ok(())
    }

    /// The lot of what is earned in the name of a member whose account was taken in: it goes with that account when it is let go.
    pub(super) fn named(&self, key: LotKey) -> LotKey {
        let origin = self.stamp.presented.and_then(|member| self.account.merged_account(member));
        LotKey { origin, ..key }
    }

    /// Refuses points that a wallet cannot count.
    pub(super) fn check_room(&self, wallet: &str, points: i64) -> Result<(), Refusal> {
        let held = self.account.wallet(wallet).map_or(0, |wallet| wallet.active + wallet.pending + wallet.reserved);
        held.checked_add(points).map(|_| ()).ok_or(Refusal::Overflow)
    }

    /// The same of what something gives in each wallet, with what it may give for challenges.
    fn check_rooms(&self, version: &Version, counting: &[Event<'_>], points: impl Fn(Option<&str>) -> i64) -> Result<(), Refusal> {
        let others = version.terms.wallets.iter().map(|wallet| Some(&*wallet.name));
        std::iter::once(None).chain(others).try_for_each(|wallet| {
            let points = points(wallet).saturating_add(gifts_max(counting, wallet));
            self.check_room(wallet.unwrap_or(MAIN_WALLET), points)
        })
    }

    /// Whether an account is this one, or was taken in.
    pub(super) fn holds(&self, account: AccountId) -> bool {
        account == self.id || self.account.has_merged(account)
    }

    pub(super) fn admit(&self) -> Result<(), Refusal> {
        match self.facts.status {
            MemberStatus::Active => Ok(()),
            MemberStatus::Blocked => Err(Refusal::MemberBlocked),
            MemberStatus::Closed => Err(Refusal::MemberClosed),
        }
    }

    /// An award that limits are asked about.
    fn asking<'b>(&'b self, points: i64, is_purchase: bool, known: &'b Known) -> Asking<'b> {
        let (counts, shared) = (&self.account.counts, &known.shared);
        Asking { points, is_purchase, place: self.stamp.place(), at: self.stamp.occurred_at, counts, shared }
    }

    /// The tier with the greatest multiplier among those that held when the purchase was made, and the promotions that apply to it; with
    /// those that do not.
    fn frozen_facts(&self, version: &Version, basket: &Basket<'_>, shared: &[Count]) -> Result<Frozen, Refusal> {
        let best = self.facts.tiers_at(self.stamp.occurred_at).max_by(|a, b| a.multiplier.cmp(&b.multiplier));
        let Account { purchases, ref counts, .. } = *self.account;
        let last_purchase_at = self.account.last_purchase();
        let buyer = Buyer { facts: self.facts, purchases, last_purchase_at, counts, shared };
        let Selection { applied, rejected } = version.select(basket, &buyer, self.told)?;
        let facts = FrozenFacts {
            version: version.number,
            tier: best.map(|tier| tier.tier.clone()).unwrap_or_default(),
            multiplier: best.map_or(Decimal::ONE, |tier| tier.multiplier),
            first_purchase: purchases == 0,
            promotions: applied,
            tallied: self.tallied(version, basket, &buyer),
            bound: None,
        };
        Ok((facts, rejected))
    }

    /// A posting that changes nothing yet, under the terms of now.
    pub(super) fn posting(&self, kind: EntryKind, wallet: &str, source: Source) -> Posting {
        Posting {
            kind,
            wallet: wallet.into(),
            lots: Vec::new(),
            deficit: 0,
            given_up: Vec::new(),
            source,
            program_version: self.versions.at(self.stamp.now).number,
            effective_at: self.stamp.occurred_at,
            sliding_until: None,
        }
    }

    /// When the next entry is recorded.
    pub(super) fn recorded_at(&self) -> Timestamp {
        self.stamp.now.max(self.account.recorded_at.max(self.comes_after) + Duration::from_micros(1))
    }

    /// Writes an entry and takes it into the account.
    pub(super) fn post(&mut self, posting: Posting) {
        let sliding_until = posting.sliding_until.or_else(|| self.kept_alive_until(&posting));
        let Posting { kind, wallet, lots, deficit, given_up, source, program_version, effective_at, .. } = posting;
        let recorded_at = self.recorded_at();
        let mut entry = Entry {
            version: self.account.version + 1,
            kind,
            points: lots.iter().map(|lot| lot.points).sum::<i64>() - deficit,
            wallet,
            active_after: 0,
            pending_after: 0,
            reserved_after: 0,
            deficit_after: 0,
            lots,
            deficit_delta: deficit,
            given_up,
            counted: std::mem::take(&mut self.counted),
            tallied: std::mem::take(&mut self.tallies),
            waits: std::mem::take(&mut self.waits),
            decided: std::mem::take(&mut self.decided),
            freed: std::mem::take(&mut self.freed),
            source,
            sliding_until,
            remind_at: None,
            program_version,
            fact_version: self.facts.version,
            stamp: self.stamp.clone(),
            effective_at,
            recorded_at,
        };
        self.account.evolve(&entry);
        let version = self.versions.at(self.stamp.now);
        let wallet = self.account.wallet(&entry.wallet).expect("the entry has opened it");
        entry.remind_at = wallet.reminder_due(version.terms.remind_before.as_ref(), &version.zone);
        let Wallet { active, pending, reserved, deficit, .. } = *wallet;
        (entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after) = (active, pending, reserved, deficit);
        self.account.remind_at(&entry.wallet, entry.remind_at);
        self.entries.push(entry);
    }

    /// Earning and spending keep sliding lots alive; so do the first of them, or the first since the others lapsed.
    fn kept_alive_until(&self, posting: &Posting) -> Option<Timestamp> {
        let is_doing = matches!(posting.kind, EntryKind::Award | EntryKind::Activity | EntryKind::Redeem | EntryKind::Capture);
        let slid_until = self.account.wallet(&posting.wallet).and_then(|wallet| wallet.sliding_until);
        let is_first = |lot: &LotChange| self.account.starts_sliding(&posting.wallet, slid_until, lot, posting.effective_at);
        let moves = is_doing || (posting.kind.begins_sliding() && posting.lots.iter().any(is_first));
        moves.then(|| self.versions.sliding_until(&posting.wallet, posting.effective_at)).flatten()
    }
}
