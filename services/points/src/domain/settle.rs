use std::sync::Arc;

use kernel::Timestamp;

use super::ledger::Posting;
use super::{ClosedReservation, Entry, EntryKind, Expiry, Ledger, LotChange, LotKey, MAIN_WALLET, Reservation, Source, Unapproved, Wallet};

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

/// Something that falls due. Lots stand with their wallet and points.
enum Due {
    Opening(Arc<str>, LotKey, i64),
    InVain(Arc<str>, LotKey, i64),
    Unapproved(Unapproved),
    End(Reservation),
    Lapse,
}

impl Ledger<'_> {
    /// Does what has fallen due, moment by moment, so that it comes to the same whether a job comes by or the member's next operation,
    /// early or late. The order at one moment is part of the contract: activations, cancellations of what waited in vain, ends of
    /// reservations, expiries. Expiries are announced once all that is done.
    pub fn settle(mut self) -> Settled {
        let now = self.stamp.now;
        let mut settled = Settled::default();
        while let Some((moment, due)) = self.first_due().filter(|(moment, _)| *moment <= now) {
            match due {
                Due::Opening(wallet, key, points) => {
                    settled.activated += points;
                    let opened = key.opened();
                    self.open_lot(&wallet, &key, opened, points, Source::Due, moment);
                }
                Due::InVain(wallet, key, points) => {
                    settled.cancelled += points;
                    let source = Source::Event(key.gate().expect("it was chosen by it").event.to_string());
                    self.tallies = self.gifts_cancelled(&wallet, &key);
                    self.reject(key.gate().expect("it was chosen by it").operation);
                    let lots = vec![LotChange { key, points: -points, reserved: 0 }];
                    self.post(Posting { lots, effective_at: moment, ..self.posting(EntryKind::Cancel, &wallet, source) });
                }
                Due::Unapproved(known) => {
                    self.reject(known.gate.operation);
                    let source = Source::Event(known.gate.event.to_string());
                    self.post(Posting { effective_at: moment, ..self.posting(EntryKind::Cancel, MAIN_WALLET, source) });
                }
                Due::End(reservation) => {
                    settled.ended.push((reservation.id, ClosedReservation::Expired));
                    self.release_reservation(&reservation, moment);
                }
                Due::Lapse => settled.expired += self.expire_lapsed(moment),
            }
        }
        while let Some((wallet, expires_at, points)) = self.next_reminder() {
            self.post(self.posting(EntryKind::Remind, &wallet, Source::Reminder { expires_at, points }));
        }
        settled.entries = self.entries;
        settled
    }

    /// What comes first of all that falls due, and when.
    fn first_due(&self) -> Option<(Timestamp, Due)> {
        let lots = || self.account.wallets.iter().flat_map(|wallet| wallet.lots.iter().map(move |lot| (&wallet.name, lot)));
        let opening = lots().filter_map(|(wallet, lot)| Some((lot.key.opens_at()?, wallet, lot))).min_by_key(|(at, _, _)| *at);
        let in_vain = lots().filter_map(|(wallet, lot)| Some((lot.key.gate()?.cancel_at?, wallet, lot))).min_by_key(|(at, _, _)| *at);
        let unapproved = self.account.unapproved_alone().filter_map(|known| Some((known.gate.cancel_at?, known))).min_by_key(|(at, _)| *at);
        let end = self.account.reservations.iter().min_by_key(|held| held.expires_at);
        let lapse = self.account.wallets.iter().filter_map(Wallet::next_lapse).min();
        let due = [
            opening.map(|(at, wallet, lot)| (at, Due::Opening(wallet.clone(), lot.key.clone(), lot.points))),
            in_vain.map(|(at, wallet, lot)| (at, Due::InVain(wallet.clone(), lot.key.clone(), lot.points))),
            unapproved.map(|(at, known)| (at, Due::Unapproved(known.clone()))),
            end.map(|held| (held.expires_at, Due::End(held.clone()))),
            lapse.map(|at| (at, Due::Lapse)),
        ];
        due.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Takes out what has lapsed by a moment; returns how many points that were.
    pub(super) fn expire_lapsed(&mut self, moment: Timestamp) -> i64 {
        self.fix_held_expiry(moment);
        let mut expired = 0;
        while let Some((wallet, key, points)) = self.account.wallets.iter().find_map(|wallet| {
            let (key, points) = wallet.lapsed(moment).next()?;
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

    /// Held points whose sliding lots lapse stay usable while they are held, and are no younger than the others when the member does
    /// something again: from now on their expiry stands.
    fn fix_held_expiry(&mut self, moment: Timestamp) {
        let fixed = |wallet: &Wallet| {
            let until = wallet.sliding_until.filter(|until| *until <= moment)?;
            let held = wallet.lots.iter().filter(|lot| lot.key.expiry == Expiry::Sliding && lot.reserved > 0);
            let pairs = held.flat_map(|lot| {
                let key = LotKey { expiry: Expiry::At(until), ..lot.key.clone() };
                [(lot.key.clone(), -lot.reserved), (key, lot.reserved)].map(|(key, held)| LotChange { key, points: held, reserved: held })
            });
            let lots: Vec<LotChange> = pairs.collect();
            (!lots.is_empty()).then(|| (wallet.name.clone(), until, lots))
        };
        while let Some((wallet, effective_at, lots)) = self.account.wallets.iter().find_map(fixed) {
            let posting = self.posting(EntryKind::Expiry, &wallet, Source::Due);
            self.post(Posting { lots, effective_at, program_version: 0, ..posting });
        }
    }

    /// Makes a pending lot spendable. What it brings repays the deficit first.
    pub(super) fn open_lot(&mut self, wallet: &str, key: &LotKey, opened: LotKey, points: i64, source: Source, effective_at: Timestamp) {
        let repaid = points.min(self.account.deficit(wallet));
        let mut lots = vec![LotChange { key: key.clone(), points: -points, reserved: 0 }];
        if points > repaid {
            lots.push(LotChange { key: opened, points: points - repaid, reserved: 0 });
        }
        // The terms by which a gate opens are those that it was earned by; a moment comes by itself.
        let program_version = key.gate().map_or(0, |gate| gate.version);
        self.post(Posting { lots, deficit: -repaid, effective_at, program_version, ..self.posting(EntryKind::Activate, wallet, source) });
    }

    fn next_reminder(&self) -> Option<(Arc<str>, Timestamp, i64)> {
        let is_due = |wallet: &&Wallet| wallet.remind_at.is_some_and(|at| at <= self.stamp.now);
        let wallet = self.account.wallets.iter().find(is_due)?;
        let (expires_at, points) = wallet.next_reminder()?;
        Some((wallet.name.clone(), expires_at, points))
    }
}
