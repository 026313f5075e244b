use std::sync::Arc;

use kernel::{MemberId, Period, ProgramId, Timestamp, Uuid, Zone};

use super::{Count, Entry, EntryKind, Expiry, GivenUp, Lot, LotChange, LotKey, Merged, Pool, Source, Tally, Unapproved};

/// The wallet that every account has.
pub const MAIN_WALLET: &str = "points";

/// The key of an account: a hash of program and member, so that one column identifies and spreads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub Uuid);

impl AccountId {
    /// The account of a member in a program.
    pub fn of(program: &ProgramId, member: MemberId) -> AccountId {
        let mut hasher = blake3::Hasher::new_derive_key("regulars points account v1");
        hasher.update(member.0.as_bytes());
        hasher.update(program.as_str().as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        AccountId(Uuid::new_v8(id))
    }
}

/// The points of a member in a program: the fold of the account's entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Number of the last entry.
    pub version: i64,
    /// Wallets that were ever used, in the order in which they came.
    pub wallets: Vec<Wallet>,
    /// Open reservations, oldest first.
    pub reservations: Vec<Reservation>,
    /// Purchases ever recorded, those that earned nothing included.
    pub purchases: i64,
    /// When the latest of them was made, without those of who was merged into this.
    pub last_purchase_at: Option<Timestamp>,
    /// When the last entry was recorded.
    pub recorded_at: Timestamp,
    /// The member whose account took this one in: everything that names this one goes there.
    pub merged_into: Option<MemberId>,
    /// When it, or one that it took in, was let go last, as it was recorded: what was earned before may have been spent in the books of
    /// who had taken it in.
    pub let_go_at: Option<Timestamp>,
    /// Accounts that this one took in.
    pub merged: Vec<Merged>,
    /// What the member has got of what is limited.
    pub counts: Vec<Count>,
    /// What counts for the member's challenges.
    pub tallies: Vec<Tally>,
    /// Activities of the member that wait for their approval.
    pub unapproved: Vec<Unapproved>,
    /// Who shares it, where it is a pool's.
    pub pool: Option<Pool>,
}

/// One kind of points of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wallet {
    /// Its name.
    pub name: Arc<str>,
    /// Lots with something in them, in the order of their keys.
    pub lots: Vec<Lot>,
    /// Points owed: taken back after they had been spent.
    pub deficit: i64,
    /// Points that should have been taken back and were given up because they had been spent, oldest first. When what was spent
    /// before comes back, they are taken after all.
    pub given_up: Vec<GivenUp>,
    /// Σ spendable lots less what of them is reserved. Kept beside the lots so that reading it is one step.
    pub active: i64,
    /// Σ lots that are not spendable yet.
    pub pending: i64,
    /// Σ reserved parts of lots.
    pub reserved: i64,
    /// When lots lapse that live on by the member's doings.
    pub sliding_until: Option<Timestamp>,
    /// When such lots lapsed last, before the member did something again.
    pub sliding_lapsed_at: Option<Timestamp>,
    /// Expiries up to this moment have been announced.
    pub reminded_to: Option<Timestamp>,
    /// Of them those that points have been moved to since, and that are to be announced all the same.
    pub remind_again: Vec<Timestamp>,
    /// When the next expiry is to be announced.
    pub remind_at: Option<Timestamp>,
}

/// Points set aside, with the lots they are in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// Its id.
    pub id: Uuid,
    /// The wallet.
    pub wallet: Arc<str>,
    /// Points it holds.
    pub points: i64,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// The caller's reference: an order number.
    pub reference: Arc<str>,
    /// It may be captured in several parts.
    pub several: bool,
    /// Points captured of it so far.
    pub captured: i64,
    /// The lots it pins, in the order in which they are spent.
    pub lots: Vec<(LotKey, i64)>,
}

impl Wallet {
    /// An empty wallet.
    pub fn new(name: &str) -> Wallet {
        Wallet {
            name: name.into(),
            lots: Vec::new(),
            deficit: 0,
            given_up: Vec::new(),
            active: 0,
            pending: 0,
            reserved: 0,
            sliding_until: None,
            sliding_lapsed_at: None,
            reminded_to: None,
            remind_again: Vec::new(),
            remind_at: None,
        }
    }

    /// The lots in the order in which they are spent: those that slide stand where their moment is among the others.
    pub fn in_order(&self) -> impl Iterator<Item = &Lot> {
        let until = self.sliding_until.unwrap_or(Timestamp::MAX);
        let split = self.lots.partition_point(|lot| matches!(lot.key.expiry, Expiry::At(at) if at <= until));
        let slides = |lot: &&Lot| lot.key.expiry == Expiry::Sliding;
        self.lots[..split]
            .iter()
            .chain(self.lots[split..].iter().filter(slides))
            .chain(self.lots[split..].iter().filter(move |lot| !slides(lot)))
    }

    /// The lots that can be spent, in order, with what nobody holds of them.
    pub fn spendable(&self) -> impl Iterator<Item = (&LotKey, i64)> {
        self.in_order().map(|lot| (&lot.key, lot.spendable())).filter(|(_, points)| *points > 0)
    }

    /// The spendable lots that lapse at or before `moment`, with what nobody holds of them.
    pub fn lapsed(&self, moment: Timestamp) -> impl Iterator<Item = (&LotKey, i64)> {
        self.spendable().take_while(move |(key, _)| key.lapses_at(self.sliding_until).is_some_and(|at| at <= moment))
    }

    /// What nobody holds of the lots that were earned in another account.
    pub fn free_of(&self, origin: AccountId) -> Vec<(LotKey, i64)> {
        let lots = self.in_order().filter(|lot| lot.key.origin == Some(origin) && lot.free() > 0);
        lots.map(|lot| (lot.key.clone(), lot.free())).collect()
    }

    /// When spendable points lapse next, and how many then.
    pub fn next_expiry(&self) -> (Option<Timestamp>, i64) {
        let lapses_at = |key: &LotKey| key.lapses_at(self.sliding_until);
        let at = self.spendable().next().and_then(|(key, _)| lapses_at(key));
        let points =
            if at.is_some() { self.spendable().take_while(|(key, _)| lapses_at(key) == at).map(|(_, points)| points).sum() } else { 0 };
        (at, points)
    }

    /// When points lapse next, those included that are held and slide: they do so no more from then on.
    pub fn next_lapse(&self) -> Option<Timestamp> {
        let holds_sliding = self.lots.iter().any(|lot| lot.key.expiry == Expiry::Sliding && lot.reserved > 0);
        let held = self.sliding_until.filter(|_| holds_sliding);
        self.next_expiry().0.into_iter().chain(held).min()
    }

    /// When pending points become spendable next by themselves, and how many then.
    pub fn next_activation(&self) -> (Option<Timestamp>, i64) {
        let at = self.lots.iter().filter_map(|lot| lot.key.opens_at()).min();
        let points = if at.is_some() { self.lots.iter().filter(|lot| lot.key.opens_at() == at).map(|lot| lot.points).sum() } else { 0 };
        (at, points)
    }

    /// The next expiry that has not been announced, and how many points lapse then.
    pub fn next_reminder(&self) -> Option<(Timestamp, i64)> {
        let lapses = self.spendable().filter_map(|(key, points)| Some((key.lapses_at(self.sliding_until)?, points)));
        let is_open = |at: &Timestamp| self.reminded_to.is_none_or(|to| *at > to) || self.remind_again.contains(at);
        let mut ahead = lapses.filter(|(at, _)| is_open(at)).peekable();
        let (next, _) = *ahead.peek()?;
        Some((next, ahead.take_while(|(at, _)| *at == next).map(|(_, points)| points).sum()))
    }

    /// When the next expiry is to be announced that far ahead.
    pub fn reminder_due(&self, ahead: Option<&Period>, zone: &Zone) -> Option<Timestamp> {
        let (lapses_at, _) = self.next_reminder()?;
        Some(ahead?.before(lapses_at, zone))
    }

    /// The next moment at which something falls due in it.
    fn next_due(&self) -> Option<Timestamp> {
        let openings = self.lots.iter().filter_map(|lot| match lot.key.gate() {
            Some(gate) => gate.cancel_at,
            None => lot.key.opens_at(),
        });
        openings.chain(self.next_lapse()).chain(self.remind_at).min()
    }

    /// Moves on until when sliding lots live. After the end of a merge it is what it would have been without.
    fn slide(&mut self, until: Timestamp, entry: &Entry) {
        if matches!(entry.kind, EntryKind::UnmergeOut | EntryKind::UnmergeIn) {
            self.sliding_until = Some(until);
            return;
        }
        if let Some(lapsed_at) = self.sliding_until.filter(|until| *until <= entry.recorded_at) {
            self.sliding_lapsed_at = Some(lapsed_at);
        }
        self.sliding_until = self.sliding_until.max(Some(until));
    }

    /// Notes what was announced, and what points have arrived that lapse no later than that.
    fn evolve_reminders(&mut self, entry: &Entry) {
        if let Source::Reminder { expires_at, .. } = entry.source {
            self.reminded_to = self.reminded_to.max(Some(expires_at));
            self.remind_again.retain(|at| *at != expires_at);
        }
        if let Some(reminded_to) = self.reminded_to {
            // What is earned most often joins lots of the same moment, and each would be announced once more.
            let joins = matches!(entry.kind, EntryKind::Award | EntryKind::Activity | EntryKind::Activate);
            let arriving = entry.lots.iter().filter(|change| change.points > 0);
            let moments = arriving.filter_map(|change| change.key.lapses_at(self.sliding_until));
            self.remind_again.extend(moments.filter(|at| *at < reminded_to || (*at == reminded_to && !joins)));
            self.remind_again.sort_unstable();
            self.remind_again.dedup();
        }
        if !self.remind_again.is_empty() {
            let lapses: Vec<Timestamp> = self.lots.iter().filter_map(|lot| lot.key.lapses_at(self.sliding_until)).collect();
            self.remind_again.retain(|at| lapses.contains(at));
        }
    }

    fn change_lot(&mut self, LotChange { key, points, reserved }: &LotChange) {
        let index = match self.lots.binary_search_by(|lot| lot.key.cmp(key)) {
            Ok(index) => index,
            Err(index) => {
                self.lots.insert(index, Lot { key: key.clone(), points: 0, reserved: 0 });
                index
            }
        };
        let lot = &mut self.lots[index];
        lot.points += points;
        lot.reserved += reserved;
        assert!(0 <= lot.reserved && lot.reserved <= lot.points, "no lot is ever negative or holds more than it has");
        if lot.points == 0 {
            self.lots.remove(index);
        }
        if key.is_open() {
            self.active += points - reserved;
        } else {
            self.pending += points;
        }
        self.reserved += reserved;
    }
}

impl Account {
    /// A wallet; `None` when it was never used.
    pub fn wallet(&self, name: &str) -> Option<&Wallet> {
        self.wallets.iter().find(|wallet| &*wallet.name == name)
    }

    /// Spendable points of a wallet.
    pub fn active(&self, wallet: &str) -> i64 {
        self.wallet(wallet).map_or(0, |wallet| wallet.active)
    }

    /// Points owed in a wallet.
    pub fn deficit(&self, wallet: &str) -> i64 {
        self.wallet(wallet).map_or(0, |wallet| wallet.deficit)
    }

    /// An open reservation.
    pub fn reservation(&self, id: Uuid) -> Option<&Reservation> {
        self.reservations.iter().find(|reservation| reservation.id == id)
    }

    /// The next moment at which something falls due: an activation or its cancellation, the end of a reservation, an expiry, the
    /// announcement of one.
    pub fn next_due(&self) -> Option<Timestamp> {
        let holds = self.reservations.iter().map(|reservation| reservation.expires_at);
        let in_vain = self.unapproved.iter().filter_map(|known| known.gate.cancel_at);
        self.wallets.iter().filter_map(Wallet::next_due).chain(holds).chain(in_vain).min()
    }

    /// Takes one more entry into the fold. The entry must be the next one and its balances must come out; anything else is
    /// damage and panics in the service that made it, and is a reported difference in `verify`.
    pub fn evolve(&mut self, entry: &Entry) {
        assert_eq!(entry.version, self.version + 1, "versions have no gaps");
        let wallet = self.wallet_mut(&entry.wallet);
        let slid_until = wallet.sliding_until;
        for change in &entry.lots {
            wallet.change_lot(change);
        }
        wallet.deficit += entry.deficit_delta;
        assert!(wallet.deficit >= 0, "a deficit is never negative");
        for change in &entry.given_up {
            wallet.change_given_up(change);
        }
        if let Some(until) = entry.sliding_until {
            wallet.slide(until, entry);
        }
        wallet.evolve_reminders(entry);
        wallet.remind_at = entry.remind_at;
        match (&entry.source, &mut self.pool) {
            (Source::Pool { member, account, change }, pool) => pool.get_or_insert_default().evolve(*member, *account, *change),
            (_, Some(pool)) if entry.kind == EntryKind::TransferIn => pool.note_brought(entry),
            (_, Some(pool)) if entry.kind == EntryKind::TransferOut => pool.note_taken_out(entry),
            _ => {}
        }
        self.evolve_counts(entry);
        self.evolve_tallies(&entry.tallied, entry.recorded_at);
        self.evolve_reservations(entry);
        self.evolve_identity(entry, slid_until);
        self.unapproved.retain(|known| !entry.decided.contains(&known.gate.operation));
        self.unapproved.extend(entry.waits.iter().cloned());
        self.version = entry.version;
        self.recorded_at = entry.recorded_at;
    }

    /// What keeps a stored entry from being taken into the fold; `None` when nothing does.
    pub fn cannot_evolve(&self, entry: &Entry) -> Option<String> {
        let empty = Wallet::new(&entry.wallet);
        let wallet = self.wallet(&entry.wallet).unwrap_or(&empty);
        if wallet.deficit.checked_add(entry.deficit_delta).is_none_or(|deficit| deficit < 0) {
            return Some("repays more than is owed, or owes more than can be counted".to_owned());
        }
        let mut lots: Vec<(&LotKey, i64, i64)> = wallet.lots.iter().map(|lot| (&lot.key, lot.points, lot.reserved)).collect();
        for change in &entry.lots {
            let index = lots.iter().position(|(key, _, _)| **key == change.key).unwrap_or_else(|| {
                lots.push((&change.key, 0, 0));
                lots.len() - 1
            });
            let (_, points, reserved) = &mut lots[index];
            (*points, *reserved) = (points.saturating_add(change.points), reserved.saturating_add(change.reserved));
            if !(0 <= *reserved && *reserved <= *points) {
                return Some("takes more out of a lot than is in it".to_owned());
            }
        }
        if lots.iter().map(|(_, points, _)| i128::from(*points)).sum::<i128>() > i128::from(i64::MAX) {
            return Some("has more points than can be counted".to_owned());
        }
        let given_up = |change: &GivenUp| wallet.given_up.iter().find(|known| known.is_like(change)).map_or(0, |known| known.points);
        if entry.given_up.iter().any(|change| given_up(change).checked_add(change.points).is_none_or(|points| points < 0)) {
            return Some("takes more after all than was given up".to_owned());
        }
        if let (Source::Reservation { id, stays_open: true, .. }, true) = (&entry.source, entry.kind != EntryKind::Reserve) {
            let held = self.reservation(*id).map_or(&[][..], |reservation| &reservation.lots);
            let holds = |change: &LotChange| held.iter().any(|(key, points)| *key == change.key && *points >= -change.reserved);
            if held.is_empty() || !entry.lots.iter().all(holds) {
                return Some("captures what no reservation holds".to_owned());
            }
        }
        None
    }

    fn evolve_reservations(&mut self, entry: &Entry) {
        match (&entry.source, entry.kind) {
            (Source::Reservation { id, hold_until, reference, several, .. }, EntryKind::Reserve) => {
                let lots: Vec<_> = entry.lots.iter().map(|change| (change.key.clone(), change.reserved)).collect();
                self.reservations.push(Reservation {
                    id: *id,
                    wallet: entry.wallet.clone(),
                    points: lots.iter().map(|(_, points)| points).sum(),
                    expires_at: *hold_until,
                    reference: reference.clone(),
                    several: *several,
                    captured: 0,
                    lots,
                });
            }
            (Source::Reservation { id, stays_open: true, .. }, _) => {
                let held =
                    self.reservations.iter_mut().find(|reservation| reservation.id == *id).expect("a part is captured of an open one");
                held.capture(&entry.lots);
            }
            (Source::Reservation { id, .. }, _) => self.reservations.retain(|reservation| reservation.id != *id),
            (_, EntryKind::Expiry) => self.rekey_reservations(&entry.wallet, &entry.lots),
            (Source::Merge { reservations, .. }, EntryKind::MergeIn) => self.reservations.extend(reservations.iter().cloned()),
            (Source::Merge { .. }, EntryKind::MergeOut) => self.reservations.retain(|held| held.wallet != entry.wallet),
            _ => {}
        }
    }

    /// A change of expiry moves lots in pairs, from and to; reservations follow the lots that they pin.
    fn rekey_reservations(&mut self, wallet: &Arc<str>, changes: &[LotChange]) {
        for reservation in self.reservations.iter_mut().filter(|held| held.wallet == *wallet) {
            for (key, held) in std::mem::take(&mut reservation.lots) {
                let moved = changes.chunks_exact(2).find(|pair| pair[0].key == key);
                let key = moved.map_or(key, |pair| pair[1].key.clone());
                match reservation.lots.iter_mut().find(|(same, _)| *same == key) {
                    Some((_, points)) => *points += held,
                    None => reservation.lots.push((key, held)),
                }
            }
        }
    }

    fn wallet_mut(&mut self, name: &Arc<str>) -> &mut Wallet {
        let index = match self.wallets.iter().position(|wallet| wallet.name == *name) {
            Some(index) => index,
            None => {
                self.wallets.push(Wallet { name: name.clone(), ..Wallet::new("") });
                self.wallets.len() - 1
            }
        };
        &mut self.wallets[index]
    }

    /// Notes when the next expiry of a wallet is to be announced.
    pub(super) fn remind_at(&mut self, wallet: &str, at: Option<Timestamp>) {
        if let Some(wallet) = self.wallets.iter_mut().find(|held| &*held.name == wallet) {
            wallet.remind_at = at;
        }
    }
}

impl Reservation {
    /// Takes a part out of it that was captured.
    fn capture(&mut self, changes: &[LotChange]) {
        for change in changes {
            let (_, held) = self.lots.iter_mut().find(|(key, _)| *key == change.key).expect("a part is captured of the lots that it pins");
            *held += change.reserved;
            self.points += change.reserved;
            self.captured -= change.reserved;
        }
        self.lots.retain(|(_, held)| *held > 0);
    }
}
