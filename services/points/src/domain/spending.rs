use super::ledger::Posting;
use super::rewards::RewardRefusal;
use super::{
    Capture, ClosedReservation, EntryKind, Expiry, GivenUp, Known, Ledger, LotChange, LotKey, MemberStatus, Outcome, Redeem, Redemption,
    Refund, Refusal, Release, Reservation, Reserve, Restored, Source,
};
use kernel::{Timestamp, Uuid};

impl Ledger<'_> {
    pub(super) fn redeem(&mut self, redeem: &Redeem) -> Result<Outcome, Refusal> {
        self.admit()?;
        let active = self.account.active(&redeem.wallet);
        let actual = if redeem.up_to { redeem.points.min(active) } else { redeem.points };
        if actual > active || actual == 0 {
            return Err(Refusal::InsufficientPoints { missing: (redeem.points - active).max(1) });
        }
        let lots = self.spend(&redeem.wallet, actual, |points| (-points, 0));
        let source = Source::Reference(redeem.reference.clone());
        self.post(Posting { lots, ..self.posting(EntryKind::Redeem, &redeem.wallet, source) });
        Ok(Outcome::Redeemed { requested: redeem.points, actual })
    }

    pub(super) fn reserve(&mut self, reserve: &Reserve) -> Result<Outcome, Refusal> {
        self.admit()?;
        let active = self.account.active(&reserve.wallet);
        if reserve.points > active {
            return Err(Refusal::InsufficientPoints { missing: reserve.points - active });
        }
        let ttl = reserve.ttl.unwrap_or(self.versions.at(self.stamp.now).terms.reservation_ttl);
        let source = Source::Reservation {
            id: self.stamp.operation,
            hold_until: self.stamp.now + ttl,
            reference: reserve.reference.clone(),
            several: reserve.several,
            stays_open: false,
        };
        let lots = self.spend(&reserve.wallet, reserve.points, |points| (0, points));
        self.post(Posting { lots, ..self.posting(EntryKind::Reserve, &reserve.wallet, source) });
        let reservation = self.account.reservations.last().expect("it was just opened").clone();
        Ok(Outcome::Reserved { reservation })
    }

    pub(super) fn capture(&mut self, capture: &Capture, known: &Known) -> Result<Outcome, Refusal> {
        if self.facts.status == MemberStatus::Closed {
            return Err(Refusal::MemberClosed);
        }
        let reservation = self.open_reservation(capture.reservation, known)?;
        let points = capture.points.unwrap_or(reservation.points);
        if points > reservation.points {
            return Err(Refusal::ExceedsReservation { held: reservation.points });
        }
        let closed = !reservation.several || capture.last || points == reservation.points;
        let rest = reservation.points - points;
        self.capture_part(&reservation, points, closed && rest == 0);
        if closed && rest > 0 {
            let rest = self.account.reservation(reservation.id).expect("it holds the rest").clone();
            self.release_reservation(&rest, self.stamp.now);
        }
        Ok(Outcome::Captured { reservation, points, closed })
    }

    pub(super) fn release(&mut self, release: &Release, known: &Known) -> Result<Outcome, Refusal> {
        let reservation = self.open_reservation(release.reservation, known)?;
        self.release_reservation(&reservation, self.stamp.now);
        Ok(Outcome::Released { reservation })
    }

    pub(super) fn refund(&mut self, refund: &Refund, known: &Known) -> Result<Outcome, Refusal> {
        let redemption = known.redemptions.first().ok_or(Refusal::RedemptionNotFound)?;
        if redemption.of_reward {
            return Err(Refusal::Reward(RewardRefusal::RedemptionOfReward));
        }
        let points = refund.points.unwrap_or(redemption.left());
        if points > redemption.left() || points == 0 {
            return Err(Refusal::ExceedsRedemption { left: redemption.left() });
        }
        let mut restored = Restored::default();
        self.give_back(redemption, points, Source::Redemption { operation: redemption.operation, purchase: None }, &mut restored)?;
        Ok(Outcome::Refunded(restored))
    }

    /// Gives points of a redemption back to the lots that they came from, the last taken first: what stays spent is what a smaller
    /// redemption would have taken, so any partition of a refund equals one.
    pub(super) fn give_back(
        &mut self,
        redemption: &Redemption,
        points: i64,
        source: Source,
        restored: &mut Restored,
    ) -> Result<(), Refusal> {
        let wallet = redemption.wallet.clone();
        self.check_room(&wallet, points)?;
        let (mut skip, mut left) = (redemption.refunded, points);
        let mut parts = Vec::new();
        for (key, taken) in redemption.lots.iter().rev() {
            let before = skip.min(*taken);
            let part = (taken - before).min(left);
            (skip, left) = (skip - before, left - part);
            if part > 0 {
                parts.push((self.key_now(redemption, key), part));
            }
        }
        assert_eq!(left, 0, "no more is given back than was taken");
        // What was given up since because it had been spent is taken after all: else buying, spending, returning the goods and then
        // what the points had bought would gain them.
        let claims = |known: &&GivenUp| known.at > redemption.spent_at && known.is_of(redemption.account, self.id);
        let given_up = || self.account.wallet(&wallet).into_iter().flat_map(|wallet| &wallet.given_up).filter(claims);
        let revived = self.revive(&wallet, &parts, GivenUp::sum(given_up()), self.stamp.now);
        let given_up = GivenUp::take(given_up(), revived.taken);
        let lots = revived.lots.into_iter().map(|(key, points)| LotChange { key, points, reserved: 0 }).collect();
        self.post(Posting { lots, deficit: -revived.repaid, given_up, ..self.posting(EntryKind::Refund, &wallet, source) });
        restored.points += points;
        restored.repaid += revived.repaid + revived.taken;
        restored.lapsed += revived.lapsed;
        restored.redemptions.push(Redemption { refunded: redemption.refunded + points, ..redemption.clone() });
        Ok(())
    }

    /// The lot of this account that points come back to. What slid and would have lapsed since stays lapsed, whatever the member did
    /// afterwards.
    fn key_now(&self, redemption: &Redemption, key: &LotKey) -> LotKey {
        if redemption.account != self.id {
            return key.moved(redemption.account, self.id);
        }
        let lapsed_at = self.account.wallet(&redemption.wallet).and_then(|wallet| wallet.sliding_lapsed_at);
        match lapsed_at.filter(|at| key.expiry == Expiry::Sliding && redemption.spent_at < *at) {
            Some(at) => LotKey { expiry: Expiry::At(at), ..key.clone() },
            None => key.clone(),
        }
    }

    /// The changes that take so many free points out of the spendable lots, in spending order. The caller has checked that
    /// there are enough; `change` says what a taken point does to its lot.
    pub(super) fn spend(&self, wallet: &str, points: i64, change: impl Fn(i64) -> (i64, i64)) -> Vec<LotChange> {
        self.spend_where(wallet, points, |_| true, change)
    }

    /// The same from some of the lots only.
    pub(super) fn spend_where(
        &self,
        wallet: &str,
        points: i64,
        admits: impl Fn(&LotKey) -> bool,
        change: impl Fn(i64) -> (i64, i64),
    ) -> Vec<LotChange> {
        let mut left = points;
        let mut changes = Vec::new();
        for (key, free) in self.account.wallet(wallet).iter().flat_map(|wallet| wallet.spendable()).filter(|(key, _)| admits(key)) {
            if left == 0 {
                break;
            }
            let taken = free.min(left);
            let (points, reserved) = change(taken);
            changes.push(LotChange { key: key.clone(), points, reserved });
            left -= taken;
        }
        assert_eq!(left, 0, "the allocation of a debit adds up to the debit");
        changes
    }

    /// Ends a reservation: what it holds comes free in the lots it came from.
    pub(super) fn release_reservation(&mut self, reservation: &Reservation, ended_at: Timestamp) {
        let held = reservation.lots.iter();
        let mut lots: Vec<LotChange> = held.map(|(key, held)| LotChange { key: key.clone(), points: -held, reserved: -held }).collect();
        let revived = self.revive(&reservation.wallet, &reservation.lots, 0, ended_at);
        for (key, points) in revived.lots {
            match lots.iter_mut().find(|lot| lot.key == key) {
                Some(lot) => lot.points += points,
                None => lots.push(LotChange { key, points, reserved: 0 }),
            }
        }
        let posting = self.posting(EntryKind::Release, &reservation.wallet, reservation.source(false));
        self.post(Posting { lots, deficit: -revived.repaid, effective_at: ended_at, ..posting });
    }

    /// Spends a part of a reservation. What is spent stands in an entry of its own, so that a refund finds it.
    fn capture_part(&mut self, reservation: &Reservation, points: i64, is_all: bool) {
        let mut left = points;
        let mut lots = Vec::new();
        for (key, held) in &reservation.lots {
            let taken = left.min(*held);
            left -= taken;
            if taken > 0 {
                lots.push(LotChange { key: key.clone(), points: -taken, reserved: -taken });
            }
        }
        self.post(Posting { lots, ..self.posting(EntryKind::Capture, &reservation.wallet, reservation.source(!is_all)) });
    }

    /// Where points go that come back or come free. Alive they first make up for so many points that were `given_up`; then they repay
    /// the deficit, else points that a return could not reach while they were held could be spent; then
    /// they are in the lots they came from, with the old expiry. What comes back to a lot that has lapsed meanwhile lives on for the
    /// grace that the terms give, or lapses.
    fn revive(&self, wallet: &str, parts: &[(LotKey, i64)], given_up: i64, at: Timestamp) -> Revived {
        let version = self.versions.at(at);
        let sliding_until = self.account.wallet(wallet).and_then(|wallet| wallet.sliding_until);
        let mut owed = self.account.deficit(wallet);
        let mut missing = given_up;
        let mut revived = Revived { lots: Vec::new(), taken: 0, repaid: 0, lapsed: 0 };
        for (key, points) in parts {
            let has_lapsed = key.lapses_at(sliding_until).is_some_and(|moment| moment <= at);
            let expiry = match version.terms.restore_grace {
                Some(grace) if has_lapsed => Expiry::at(grace.after(at, &version.zone)),
                _ => key.expiry,
            };
            // What was held or spent when an account was let go has stayed here; what was spent from a pool is still his who brought it.
            let origin = key.origin.filter(|origin| self.account.pool.is_some() || self.account.has_merged(*origin));
            let key = LotKey { expiry, origin, ..key.clone() };
            let lapses = key.lapses_at(sliding_until).is_some_and(|moment| moment <= at);
            let taken = if lapses { 0 } else { missing.min(*points) };
            let repays = if lapses { 0 } else { owed.min(points - taken) };
            (missing, owed) = (missing - taken, owed - repays);
            revived.taken += taken;
            revived.repaid += repays;
            revived.lapsed += if lapses { *points } else { 0 };
            if *points > taken + repays {
                revived.lots.push((key, points - taken - repays));
            }
        }
        revived
    }

    fn open_reservation(&self, id: Uuid, known: &Known) -> Result<Reservation, Refusal> {
        match (self.account.reservation(id), known.closed_reservation) {
            (Some(open), _) if open.expires_at > self.stamp.now => Ok(open.clone()),
            (Some(_), _) => Err(Refusal::ReservationEnded(ClosedReservation::Expired)),
            (None, Some(how)) => Err(Refusal::ReservationEnded(how)),
            (None, None) => Err(Refusal::ReservationNotFound),
        }
    }
}

/// Where points go that come back or come free.
struct Revived {
    lots: Vec<(LotKey, i64)>,
    /// Points that had been given up.
    taken: i64,
    repaid: i64,
    lapsed: i64,
}

impl Reservation {
    /// It as the source of an entry that ends it, or takes a part of it.
    fn source(&self, stays_open: bool) -> Source {
        Source::Reservation {
            id: self.id,
            hold_until: self.expires_at,
            reference: self.reference.clone(),
            several: self.several,
            stays_open,
        }
    }
}
