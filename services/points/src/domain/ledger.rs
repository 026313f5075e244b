use std::sync::Arc;

use kernel::Timestamp;
use rust_decimal::Decimal;

use super::{
    Account, Adjust, Award, Capture, ClosedReservation, Command, Ensure, Entry, EntryKind, Facts, FrozenFacts, Known, LotChange, LotKey,
    MAIN_WALLET, MemberStatus, Outcome, Purchase, Redeem, Refusal, Release, Reservation, Reserve, ReturnPolicy, RewardState, Source, Stamp,
    Version, Versions, Wallet,
};

/// The books of one account, open for one command: posting an entry takes it into the account at once, so that the next
/// posting sees it.
pub struct Ledger<'a> {
    pub(super) account: &'a mut Account,
    pub(super) versions: &'a Versions,
    pub(super) facts: &'a Facts,
    pub(super) stamp: &'a Stamp,
    pub(super) entries: Vec<Entry>,
}

/// What an entry needs besides what the books know.
pub(super) struct Posting {
    pub(super) kind: EntryKind,
    pub(super) wallet: Arc<str>,
    pub(super) lots: Vec<LotChange>,
    pub(super) deficit: i64,
    pub(super) source: Source,
    pub(super) program_version: i64,
    pub(super) effective_at: Timestamp,
}

impl<'a> Ledger<'a> {
    /// Opens the books of an account.
    pub fn open(account: &'a mut Account, versions: &'a Versions, facts: &'a Facts, stamp: &'a Stamp) -> Ledger<'a> {
        Ledger { account, versions, facts, stamp, entries: Vec::new() }
    }

    /// Carries out a command: the outcome and the entries posted, or a refusal that has changed nothing.
    ///
    /// What has fallen due must have been settled before ([`Ledger::settle`]).
    pub fn apply(mut self, command: &Command, known: &Known) -> Result<(Outcome, Vec<Entry>), Refusal> {
        let outcome = match command {
            Command::Award(award) => self.award(award),
            Command::Redeem(redeem) => self.redeem(redeem),
            Command::Reserve(reserve) => self.reserve(reserve),
            Command::Capture(capture) => self.capture(capture, known),
            Command::Release(release) => self.release(release, known),
            Command::Return(request) => self.take_back(request, known),
            Command::Adjust(adjust) => self.adjust(adjust),
            Command::Ensure(ensure) => self.ensure(ensure, known),
        }?;
        Ok((outcome, self.entries))
    }

    fn award(&mut self, award: &Award) -> Result<Outcome, Refusal> {
        let version = self.versions.at(self.stamp.occurred_at);
        let facts = match award.member {
            Some(_) => {
                self.admit()?;
                self.frozen_facts(version)
            }
            None => FrozenFacts { version: version.number, tier: String::new(), multiplier: Decimal::ONE, first_purchase: false },
        };
        let explanation = version.points_for(award.purchase.net, &facts)?;
        let mut lot = None;
        if award.member.is_some() {
            let key = version.lot_for(self.stamp.occurred_at, self.stamp.now);
            self.credit(
                EntryKind::Award,
                MAIN_WALLET,
                &key,
                explanation.points(),
                Source::Purchase(award.purchase.id.clone()),
                version.number,
            )?;
            lot = (explanation.points() > 0).then_some(key);
        }
        let purchase = Purchase {
            program: award.program.clone(),
            member: award.member,
            input: award.purchase.clone(),
            remaining_net: award.purchase.net,
            base: explanation.base,
            due: if award.member.is_some() { explanation.points() } else { 0 },
            lot,
            facts,
            returns: 0,
            store: self.stamp.store.clone(),
            terminal: self.stamp.terminal.clone(),
            occurred_at: self.stamp.occurred_at,
            recorded_at: self.stamp.now,
            operation: self.stamp.operation,
        };
        Ok(Outcome::Awarded { purchase: Box::new(purchase), explanation })
    }

    fn redeem(&mut self, redeem: &Redeem) -> Result<Outcome, Refusal> {
        self.admit()?;
        let active = self.account.active(&redeem.wallet);
        let actual = if redeem.up_to { redeem.points.min(active) } else { redeem.points };
        if actual > active || actual == 0 {
            return Err(Refusal::InsufficientPoints { missing: (redeem.points - active).max(1) });
        }
        let lots = self.spend(&redeem.wallet, actual, |points| (-points, 0));
        self.post_now(EntryKind::Redeem, &redeem.wallet, lots, Source::Reference(redeem.reference.clone()));
        Ok(Outcome::Redeemed { requested: redeem.points, actual })
    }

    fn reserve(&mut self, reserve: &Reserve) -> Result<Outcome, Refusal> {
        self.admit()?;
        let active = self.account.active(&reserve.wallet);
        if reserve.points > active {
            return Err(Refusal::InsufficientPoints { missing: reserve.points - active });
        }
        let ttl = reserve.ttl.unwrap_or(self.versions.at(self.stamp.now).terms.reservation_ttl);
        let source =
            Source::Reservation { id: self.stamp.operation, hold_until: self.stamp.now + ttl, reference: reserve.reference.clone() };
        let lots = self.spend(&reserve.wallet, reserve.points, |points| (0, points));
        self.post_now(EntryKind::Reserve, &reserve.wallet, lots, source);
        let reservation = self.account.reservations.last().expect("it was just opened").clone();
        Ok(Outcome::Reserved { reservation })
    }

    fn capture(&mut self, capture: &Capture, known: &Known) -> Result<Outcome, Refusal> {
        if self.facts.status == MemberStatus::Closed {
            return Err(Refusal::MemberClosed);
        }
        let reservation = self.open_reservation(capture.reservation, known)?;
        let points = capture.points.unwrap_or(reservation.points);
        if points > reservation.points {
            return Err(Refusal::ExceedsReservation { held: reservation.points });
        }
        self.end_reservation(EntryKind::Capture, &reservation, points, self.stamp.now);
        Ok(Outcome::Captured { reservation, points })
    }

    fn release(&mut self, release: &Release, known: &Known) -> Result<Outcome, Refusal> {
        let reservation = self.open_reservation(release.reservation, known)?;
        self.end_reservation(EntryKind::Release, &reservation, 0, self.stamp.now);
        Ok(Outcome::Released { reservation })
    }

    fn adjust(&mut self, adjust: &Adjust) -> Result<Outcome, Refusal> {
        let source = Source::Correction { reason: adjust.reason.clone(), approver: adjust.approver.clone() };
        if adjust.points > 0 {
            let version = self.versions.at(self.stamp.now);
            let key = LotKey { activates_at: None, ..version.lot_for(self.stamp.now, self.stamp.now) };
            self.credit(EntryKind::Adjust, &adjust.wallet, &key, adjust.points, source, version.number)?;
        } else {
            let wanted = -adjust.points;
            let active = self.account.active(&adjust.wallet);
            if wanted > active {
                return Err(Refusal::InsufficientPoints { missing: wanted - active });
            }
            let lots = self.spend(&adjust.wallet, wanted, |points| (-points, 0));
            self.post_now(EntryKind::Adjust, &adjust.wallet, lots, source);
        }
        Ok(Outcome::Adjusted { points: adjust.points })
    }

    /// An older wish than the newest seen changes nothing: a revoke may overtake its grant.
    fn ensure(&mut self, ensure: &Ensure, known: &Known) -> Result<Outcome, Refusal> {
        let state = known.reward.clone().unwrap_or(RewardState { version: 0, granted: 0, lot: None });
        if ensure.version <= state.version {
            return Ok(Outcome::Ensured(state));
        }
        let source = Source::Reward { key: ensure.key.clone(), reason: ensure.reason.clone() };
        let version = self.versions.at(self.stamp.now);
        let (granted, lot) = match (ensure.wanted, state.granted > 0) {
            (true, false) => {
                self.admit()?;
                let key = LotKey { activates_at: None, ..version.lot_for(self.stamp.occurred_at, self.stamp.now) };
                self.credit(EntryKind::Reward, MAIN_WALLET, &key, ensure.points, source, version.number)?;
                (ensure.points, Some(key))
            }
            (false, true) => {
                let policy = (ReturnPolicy::Unlimited, version.terms.deficit_cap);
                self.claw_back(EntryKind::RewardRevoked, state.granted, state.lot.as_ref(), policy, source, version.number);
                (0, None)
            }
            _ => (state.granted, state.lot),
        };
        Ok(Outcome::Ensured(RewardState { version: ensure.version, granted, lot }))
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
        program_version: i64,
    ) -> Result<(), Refusal> {
        let (held, deficit) =
            self.account.wallet(wallet).map_or((0, 0), |wallet| (wallet.active + wallet.pending + wallet.reserved, wallet.deficit));
        held.checked_add(points).ok_or(Refusal::Overflow)?;
        let lapsed = key.expires_at.filter(|at| *at <= self.stamp.now);
        let repaid = if key.activates_at.is_none() && lapsed.is_none() { points.min(deficit) } else { 0 };
        let lots = if points > repaid { vec![LotChange { key: key.clone(), points: points - repaid, reserved: 0 }] } else { Vec::new() };
        let effective_at = self.stamp.occurred_at;
        self.post(Posting { kind, wallet: wallet.into(), lots, deficit: -repaid, source, program_version, effective_at });
        if let Some(effective_at) = lapsed.filter(|_| points > 0) {
            let lots = vec![LotChange { key: key.clone(), points: -points, reserved: 0 }];
            let (kind, source) = (EntryKind::Expire, Source::Due);
            self.post(Posting { kind, wallet: wallet.into(), lots, deficit: 0, source, program_version: 0, effective_at });
        }
        Ok(())
    }

    /// The changes that take so many free points out of the spendable lots, in spending order. The caller has checked that
    /// there are enough; `change` says what a taken point does to its lot.
    pub(super) fn spend(&self, wallet: &str, points: i64, change: impl Fn(i64) -> (i64, i64)) -> Vec<LotChange> {
        let mut left = points;
        let mut changes = Vec::new();
        let lots = self.account.wallet(wallet).map_or(&[][..], |wallet| &wallet.lots);
        for lot in lots.iter().filter(|lot| lot.key.activates_at.is_none() && lot.free() > 0) {
            if left == 0 {
                break;
            }
            let taken = lot.free().min(left);
            let (points, reserved) = change(taken);
            changes.push(LotChange { key: lot.key.clone(), points, reserved });
            left -= taken;
        }
        assert_eq!(left, 0, "the allocation of a debit adds up to the debit");
        changes
    }

    /// Ends a reservation: `spent` of it leaves the lots in their order, the rest comes free in the lots it came from. What comes
    /// free in a lot that has lapsed meanwhile lives on for the grace that the terms give, or lapses with the next settling. What
    /// comes free alive repays the deficit first: else points that a return could not reach while they were held could be spent.
    pub(super) fn end_reservation(&mut self, kind: EntryKind, reservation: &Reservation, spent: i64, ended_at: Timestamp) {
        let version = self.versions.at(self.stamp.now);
        let mut unspent = spent;
        let owed = self.account.wallet(&reservation.wallet).map_or(0, |wallet| wallet.deficit);
        let mut repaid = 0;
        let mut lots: Vec<LotChange> = Vec::new();
        for (key, held) in &reservation.lots {
            let taken = unspent.min(*held);
            unspent -= taken;
            let lapsed = key.expires_at.is_some_and(|at| at <= ended_at);
            let repays = if lapsed && version.terms.restore_grace.is_none() { 0 } else { (held - taken).min(owed - repaid) };
            repaid += repays;
            let freed = held - taken - repays;
            match version.terms.restore_grace {
                Some(grace) if lapsed && freed > 0 => {
                    lots.push(LotChange { key: key.clone(), points: -held, reserved: -held });
                    let expires_at = Some(grace.after(ended_at, &version.zone));
                    lots.push(LotChange { key: LotKey { expires_at, ..key.clone() }, points: freed, reserved: 0 });
                }
                _ => lots.push(LotChange { key: key.clone(), points: -taken - repays, reserved: -held }),
            }
        }
        let source =
            Source::Reservation { id: reservation.id, hold_until: reservation.expires_at, reference: reservation.reference.clone() };
        let wallet = reservation.wallet.clone();
        self.post(Posting { kind, wallet, lots, deficit: -repaid, source, program_version: version.number, effective_at: ended_at });
    }

    fn open_reservation(&self, id: kernel::Uuid, known: &Known) -> Result<Reservation, Refusal> {
        match (self.account.reservation(id), known.closed_reservation) {
            (Some(open), _) if open.expires_at > self.stamp.now => Ok(open.clone()),
            (Some(_), _) => Err(Refusal::ReservationEnded(ClosedReservation::Expired)),
            (None, Some(how)) => Err(Refusal::ReservationEnded(how)),
            (None, None) => Err(Refusal::ReservationNotFound),
        }
    }

    fn admit(&self) -> Result<(), Refusal> {
        match self.facts.status {
            MemberStatus::Active => Ok(()),
            MemberStatus::Blocked => Err(Refusal::MemberBlocked),
            MemberStatus::Closed => Err(Refusal::MemberClosed),
        }
    }

    /// The tier with the greatest multiplier among those that held when the purchase was made.
    fn frozen_facts(&self, version: &Version) -> FrozenFacts {
        let at = self.stamp.occurred_at;
        let held = self.facts.tiers.iter().filter(|tier| tier.start_at <= at && tier.end_at.is_none_or(|end| at < end));
        let best = held.max_by(|a, b| a.multiplier.cmp(&b.multiplier));
        FrozenFacts {
            version: version.number,
            tier: best.map(|tier| tier.tier.clone()).unwrap_or_default(),
            multiplier: best.map_or(Decimal::ONE, |tier| tier.multiplier),
            first_purchase: self.account.purchases == 0,
        }
    }

    fn post_now(&mut self, kind: EntryKind, wallet: &Arc<str>, lots: Vec<LotChange>, source: Source) {
        let program_version = self.versions.at(self.stamp.now).number;
        let effective_at = self.stamp.occurred_at;
        self.post(Posting { kind, wallet: wallet.clone(), lots, deficit: 0, source, program_version, effective_at });
    }

    /// Writes an entry and takes it into the account.
    pub(super) fn post(&mut self, posting: Posting) {
        let Posting { kind, wallet, lots, deficit, source, program_version, effective_at } = posting;
        let recorded_at = self.stamp.now.max(self.account.recorded_at + std::time::Duration::from_micros(1));
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
            source,
            program_version,
            fact_version: self.facts.version,
            stamp: self.stamp.clone(),
            effective_at,
            recorded_at,
        };
        self.account.evolve(&entry);
        let wallet = self.account.wallet(&entry.wallet).expect("the entry has opened it");
        let Wallet { active, pending, reserved, deficit, .. } = *wallet;
        (entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after) = (active, pending, reserved, deficit);
        self.entries.push(entry);
    }
}
