use std::cmp::Ordering;
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};

use super::{Entry, EntryKind, Source};

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
    /// Wallets that were ever used, the main one first.
    pub wallets: Vec<Wallet>,
    /// Open reservations, oldest first.
    pub reservations: Vec<Reservation>,
    /// Purchases ever recorded, those that earned nothing included.
    pub purchases: i64,
    /// When the last entry was recorded.
    pub recorded_at: Timestamp,
}

/// One kind of points of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wallet {
    /// Its name.
    pub name: Arc<str>,
    /// Lots with something in them, in spending order.
    pub lots: Vec<Lot>,
    /// Points owed: taken back after they had been spent.
    pub deficit: i64,
    /// Σ spendable lots less what of them is reserved. Kept beside the lots so that reading it is one step.
    pub active: i64,
    /// Σ lots that are not spendable yet.
    pub pending: i64,
    /// Σ reserved parts of lots.
    pub reserved: i64,
}

/// Credits that behave alike: same activation, expiry, earn month and origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lot {
    /// What they have in common.
    pub key: LotKey,
    /// Points, those reserved included; never negative.
    pub points: i64,
    /// The part that reservations hold; never more than `points`.
    pub reserved: i64,
}

/// What credits in one lot have in common. Ordered as lots are spent: earliest expiry, unlimited last, then oldest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LotKey {
    /// When it lapses; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Year times 12 plus month 0 to 11 of earning, in the program's zone.
    pub earn_month: i32,
    /// When it becomes spendable; `None` once it is.
    pub activates_at: Option<Timestamp>,
    /// The account it was earned in, when that is another one (transfer, merge).
    pub origin: Option<AccountId>,
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
    /// The lots it pins.
    pub lots: Vec<(LotKey, i64)>,
}

impl Ord for LotKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |lot: &LotKey| (lot.expires_at.unwrap_or(Timestamp::MAX), lot.earn_month, lot.activates_at, lot.origin);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for LotKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl LotKey {
    /// The same lot once it is spendable.
    pub fn activated(&self) -> LotKey {
        LotKey { activates_at: None, ..self.clone() }
    }
}

impl Lot {
    /// Points that nobody holds.
    pub fn free(&self) -> i64 {
        self.points - self.reserved
    }
}

impl Wallet {
    /// An empty wallet.
    pub fn new(name: &str) -> Wallet {
        Wallet { name: name.into(), lots: Vec::new(), deficit: 0, active: 0, pending: 0, reserved: 0 }
    }

    /// The spendable lots that lapse at or before `moment`, with what nobody holds of them.
    pub fn lapsed(&self, moment: Timestamp) -> impl Iterator<Item = (&LotKey, i64)> {
        let lapsed = move |lot: &&Lot| lot.key.expires_at.is_some_and(|at| at <= moment);
        self.lots.iter().take_while(lapsed).filter(|lot| lot.key.activates_at.is_none() && lot.free() > 0).map(|lot| (&lot.key, lot.free()))
    }

    /// When spendable points lapse next, and how many then.
    pub fn next_expiry(&self) -> (Option<Timestamp>, i64) {
        let mut free = self.lots.iter().filter(|lot| lot.key.activates_at.is_none() && lot.free() > 0).peekable();
        let at = free.peek().and_then(|lot| lot.key.expires_at);
        let points = if at.is_some() { free.take_while(|lot| lot.key.expires_at == at).map(Lot::free).sum() } else { 0 };
        (at, points)
    }

    /// When pending points become spendable next, and how many then.
    pub fn next_activation(&self) -> (Option<Timestamp>, i64) {
        let at = self.lots.iter().filter_map(|lot| lot.key.activates_at).min();
        let points = if at.is_some() { self.lots.iter().filter(|lot| lot.key.activates_at == at).map(|lot| lot.points).sum() } else { 0 };
        (at, points)
    }

    fn change_lot(&mut self, key: &LotKey, points: i64, reserved: i64) {
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
        match key.activates_at {
            None => self.active += points - reserved,
            Some(_) => self.pending += points,
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

    /// An open reservation.
    pub fn reservation(&self, id: Uuid) -> Option<&Reservation> {
        self.reservations.iter().find(|reservation| reservation.id == id)
    }

    /// The next moment at which something falls due: an activation, the end of a reservation, an expiry.
    pub fn next_due(&self) -> Option<Timestamp> {
        let activations = self.wallets.iter().flat_map(|wallet| &wallet.lots).filter_map(|lot| lot.key.activates_at);
        let holds = self.reservations.iter().map(|reservation| reservation.expires_at);
        // Lots are in the order of their expiry, so the first free one that is spendable is enough.
        let expiries = self.wallets.iter().filter_map(|wallet| {
            let first = wallet.lots.iter().find(|lot| lot.key.activates_at.is_none() && lot.free() > 0)?;
            first.key.expires_at
        });
        activations.chain(holds).chain(expiries).min()
    }

    /// Takes one more entry into the fold. The entry must be the next one and its balances must come out; anything else is
    /// damage and panics in the service that made it, and is a reported difference in `verify`.
    pub fn evolve(&mut self, entry: &Entry) {
        assert_eq!(entry.version, self.version + 1, "versions have no gaps");
        let wallet = self.wallet_mut(&entry.wallet);
        for change in &entry.lots {
            wallet.change_lot(&change.key, change.points, change.reserved);
        }
        wallet.deficit += entry.deficit_delta;
        assert!(wallet.deficit >= 0, "a deficit is never negative");
        self.evolve_reservations(entry);
        self.purchases += i64::from(entry.kind == EntryKind::Award);
        self.version = entry.version;
        self.recorded_at = entry.recorded_at;
    }

    /// What keeps a stored entry from being taken into the fold; `None` when nothing does.
    pub fn cannot_evolve(&self, entry: &Entry) -> Option<String> {
        let empty = Wallet::new(&entry.wallet);
        let wallet = self.wallet(&entry.wallet).unwrap_or(&empty);
        if wallet.deficit + entry.deficit_delta < 0 {
            return Some("repays more than is owed".to_owned());
        }
        let mut lots: Vec<(&LotKey, i64, i64)> = wallet.lots.iter().map(|lot| (&lot.key, lot.points, lot.reserved)).collect();
        for change in &entry.lots {
            let index = lots.iter().position(|(key, _, _)| **key == change.key).unwrap_or_else(|| {
                lots.push((&change.key, 0, 0));
                lots.len() - 1
            });
            let (_, points, reserved) = &mut lots[index];
            *points += change.points;
            *reserved += change.reserved;
            if !(0 <= *reserved && *reserved <= *points) {
                return Some("takes more out of a lot than is in it".to_owned());
            }
        }
        None
    }

    fn evolve_reservations(&mut self, entry: &Entry) {
        let Source::Reservation { id, hold_until, reference } = &entry.source else { return };
        let id = *id;
        match entry.kind {
            EntryKind::Reserve => {
                let lots: Vec<_> = entry.lots.iter().map(|change| (change.key.clone(), change.reserved)).collect();
                let points = lots.iter().map(|(_, points)| points).sum();
                self.reservations.push(Reservation {
                    id,
                    wallet: entry.wallet.clone(),
                    points,
                    expires_at: *hold_until,
                    reference: reference.clone(),
                    lots,
                });
            }
            _ => self.reservations.retain(|reservation| reservation.id != id),
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
}
