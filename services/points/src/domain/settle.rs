use std::sync::Arc;

use kernel::Timestamp;

use super::ledger::Posting;
use super::{ClosedReservation, Entry, EntryKind, Ledger, LotChange, LotKey, Source, Wallet};

/// What the clock did to an account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// The entries, by the actor "clock".
    pub entries: Vec<Entry>,
    /// Points that became spendable.
    pub activated: i64,
    /// Points that waited for an event in vain.
    pub cancelled: i64,
    /// Points that lapsed.
    pub expired: i64,
    /// Reservations that ended by time.
    pub ended: Vec<(kernel::Uuid, ClosedReservation)>,
}

impl Ledger<'_> {
    /// Does what has fallen due, in the order that is part of the contract: activations, cancellations of what waited in vain, ends
    /// of reservations, expiries, announcements of expiries. It does the same whether a job comes by or the member's next
    /// operation, early or late.
    pub fn settle(mut self) -> Settled {
        let now = self.stamp.now;
        let mut settled = Settled::default();
        while let Some((wallet, key, points)) = self.first_pending(LotKey::opens_at) {
            settled.activated += points;
            let opens_at = key.opens_at().expect("it was chosen by it");
            let opened = key.opened();
            self.open_lot(&wallet, &key, opened, points, Source::Due, opens_at);
        }
        while let Some((wallet, key, points)) = self.first_pending(|key| key.gate().and_then(|gate| gate.cancel_at)) {
            settled.cancelled += points;
            let gate = key.gate().expect("it was chosen by it");
            let (source, effective_at) = (Source::Event(gate.event.to_string()), gate.cancel_at.expect("it was chosen by it"));
            let lots = vec![LotChange { key, points: -points, reserved: 0 }];
            self.post(Posting { lots, effective_at, ..self.posting(EntryKind::Cancel, &wallet, source) });
        }
        while let Some(reservation) = self.account.reservations.iter().find(|reservation| reservation.expires_at <= now).cloned() {
            settled.ended.push((reservation.id, ClosedReservation::Expired));
            self.release_reservation(&reservation, reservation.expires_at);
        }
        settled.expired = self.expire_lapsed();
        while let Some((wallet, expires_at, points)) = self.next_reminder() {
            self.post(self.posting(EntryKind::Remind, &wallet, Source::Reminder { expires_at, points }));
        }
        settled.entries = self.entries;
        settled
    }

    /// Takes out what has lapsed; returns how many points that were.
    pub(super) fn expire_lapsed(&mut self) -> i64 {
        let now = self.stamp.now;
        let mut expired = 0;
        while let Some((wallet, key, points)) = self.account.wallets.iter().find_map(|wallet| {
            let (key, points) = wallet.lapsed(now).next()?;
            Some((wallet, key.clone(), points))
        }) {
            expired += points;
            let effective_at = key.lapses_at(wallet.sliding_until).expect("a lapsed lot has such a moment");
            let name = wallet.name.clone();
            let lots = vec![LotChange { key, points: -points, reserved: 0 }];
            self.post(Posting { lots, effective_at, program_version: 0, ..self.posting(EntryKind::Expire, &name, Source::Due) });
        }
        expired
    }

    /// Makes a pending lot spendable. What it brings repays the deficit first.
    pub(super) fn open_lot(&mut self, wallet: &str, key: &LotKey, opened: LotKey, points: i64, source: Source, effective_at: Timestamp) {
        let repaid = points.min(self.account.deficit(wallet));
        let mut lots = vec![LotChange { key: key.clone(), points: -points, reserved: 0 }];
        if points > repaid {
            lots.push(LotChange { key: opened, points: points - repaid, reserved: 0 });
        }
        self.post(Posting { lots, deficit: -repaid, effective_at, ..self.posting(EntryKind::Activate, wallet, source) });
    }

    /// The pending lot whose moment comes first, if it has come.
    fn first_pending(&self, moment: impl Fn(&LotKey) -> Option<Timestamp>) -> Option<(Arc<str>, LotKey, i64)> {
        let lots = self.account.wallets.iter().flat_map(|wallet| wallet.lots.iter().map(move |lot| (&wallet.name, lot)));
        let due = lots.filter(|(_, lot)| moment(&lot.key).is_some_and(|at| at <= self.stamp.now));
        let (wallet, lot) = due.min_by_key(|(_, lot)| moment(&lot.key))?;
        Some((wallet.clone(), lot.key.clone(), lot.points))
    }

    fn next_reminder(&self) -> Option<(Arc<str>, Timestamp, i64)> {
        let is_due = |wallet: &&Wallet| wallet.remind_at.is_some_and(|at| at <= self.stamp.now);
        let wallet = self.account.wallets.iter().find(is_due)?;
        let (expires_at, points) = wallet.next_reminder()?;
        Some((wallet.name.clone(), expires_at, points))
    }
}
