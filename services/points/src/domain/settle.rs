use super::ledger::Posting;
use super::{ClosedReservation, Entry, EntryKind, Ledger, LotChange, Source};

/// What the clock did to an account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// The entries, by the actor "clock".
    pub entries: Vec<Entry>,
    /// Points that became spendable.
    pub activated: i64,
    /// Points that lapsed.
    pub expired: i64,
    /// Reservations that ended by time.
    pub ended: Vec<(kernel::Uuid, ClosedReservation)>,
}

impl Ledger<'_> {
    /// Does what has fallen due, in the order that is part of the contract: activations, ends of reservations, expiries. It does
    /// the same whether a job comes by or the member's next operation, early or late.
    pub fn settle(mut self) -> Settled {
        let now = self.stamp.now;
        let mut settled = Settled::default();
        while let Some((wallet, key, points)) = self.next_activation() {
            let activated_at = key.activates_at.expect("a pending lot has one");
            let deficit = self.account.wallet(&wallet).map_or(0, |wallet| wallet.deficit);
            let repaid = points.min(deficit);
            let mut lots = vec![LotChange { key: key.clone(), points: -points, reserved: 0 }];
            if points > repaid {
                lots.push(LotChange { key: key.activated(), points: points - repaid, reserved: 0 });
            }
            settled.activated += points;
            self.post(Posting {
                kind: EntryKind::Activate,
                wallet,
                lots,
                deficit: -repaid,
                source: Source::Due,
                program_version: 0,
                effective_at: activated_at,
            });
        }
        while let Some(reservation) = self.account.reservations.iter().find(|reservation| reservation.expires_at <= now).cloned() {
            settled.ended.push((reservation.id, ClosedReservation::Expired));
            self.end_reservation(EntryKind::Release, &reservation, 0, reservation.expires_at);
        }
        while let Some((wallet, key, points)) = self.next_expiry() {
            settled.expired += points;
            self.post(Posting {
                kind: EntryKind::Expire,
                wallet,
                effective_at: key.expires_at.expect("a lapsed lot has one"),
                lots: vec![LotChange { key, points: -points, reserved: 0 }],
                deficit: 0,
                source: Source::Due,
                program_version: 0,
            });
        }
        settled.entries = self.entries;
        settled
    }

    fn next_activation(&self) -> Option<(std::sync::Arc<str>, super::LotKey, i64)> {
        let pending = self.account.wallets.iter().flat_map(|wallet| wallet.lots.iter().map(move |lot| (&wallet.name, lot)));
        let due = pending.filter(|(_, lot)| lot.key.activates_at.is_some_and(|at| at <= self.stamp.now));
        let (wallet, lot) = due.min_by_key(|(_, lot)| lot.key.activates_at)?;
        Some((wallet.clone(), lot.key.clone(), lot.points))
    }

    fn next_expiry(&self) -> Option<(std::sync::Arc<str>, super::LotKey, i64)> {
        self.account.wallets.iter().find_map(|wallet| {
            let (key, points) = wallet.lapsed(self.stamp.now).next()?;
            Some((wallet.name.clone(), key.clone(), points))
        })
    }
}
