use std::sync::Arc;

use kernel::{Timestamp, Uuid};

use super::{AccountId, Resolve};

/// Credits that behave alike: same expiry, earn month, opening and origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lot {
    /// What they have in common.
    pub key: LotKey,
    /// Points, those reserved included; never negative.
    pub points: i64,
    /// The part that reservations hold; never more than `points`.
    pub reserved: i64,
}

/// What credits in one lot have in common. Ordered as lots are spent while nothing slides: earliest expiry, unlimited last, then
/// oldest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LotKey {
    /// When it lapses.
    pub expiry: Expiry,
    /// Year times 12 plus month 0 to 11 of earning, in the program's zone.
    pub earn_month: i32,
    /// When it becomes spendable.
    pub opening: Opening,
    /// The account it belongs to, when that was merged into this one, or brought it into this pool. What was given away belongs to
    /// who got it.
    pub origin: Option<AccountId>,
}

/// When a lot lapses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Expiry {
    /// At a moment.
    At(Timestamp),
    /// With its wallet, when the member has done nothing for as long as the terms say ([`super::Wallet::sliding_until`]).
    Sliding,
    /// Never, or not before it has been opened.
    Never,
}

/// When a lot becomes spendable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Opening {
    /// It is.
    Open,
    /// At a moment.
    At(Timestamp),
    /// When something happens; such a lot stays by itself.
    On(Gate),
}

/// What a lot waits for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Gate {
    /// The event: "delivered".
    pub event: Arc<str>,
    /// When waiting ends in vain and the points are cancelled; `None` for never.
    pub cancel_at: Option<Timestamp>,
    /// The operation that earned it: one gate, one lot.
    pub operation: Uuid,
    /// What it was earned with; the event may name it.
    pub reference: Arc<str>,
    /// Number of the terms by which its life is counted once it opens.
    pub version: i64,
}

impl Gate {
    /// Whether what has become of something is about what waits here.
    pub(super) fn is_meant(&self, resolve: &Resolve) -> bool {
        self.event == resolve.event && resolve.reference.as_ref().is_none_or(|reference| self.reference == *reference)
    }
}

impl Lot {
    /// Points that nobody holds.
    pub fn free(&self) -> i64 {
        self.points - self.reserved
    }

    /// Points that can be spent now.
    pub fn spendable(&self) -> i64 {
        if self.key.is_open() { self.free() } else { 0 }
    }
}

impl LotKey {
    /// True once it is spendable.
    pub fn is_open(&self) -> bool {
        self.opening == Opening::Open
    }

    /// The same lot once it is spendable.
    pub fn opened(&self) -> LotKey {
        LotKey { opening: Opening::Open, ..self.clone() }
    }

    /// Whether both are one lot that is not spendable yet, by whatever expiry it has been given since.
    pub fn waits_like(&self, other: &LotKey) -> bool {
        !self.is_open() && LotKey { expiry: other.expiry, ..self.clone() } == *other
    }

    /// When it becomes spendable by itself.
    pub fn opens_at(&self) -> Option<Timestamp> {
        if let Opening::At(at) = self.opening { Some(at) } else { None }
    }

    /// What it waits for.
    pub fn gate(&self) -> Option<&Gate> {
        if let Opening::On(gate) = &self.opening { Some(gate) } else { None }
    }

    /// When it lapses in a wallet whose sliding lots live until `sliding_until`; `None` for never.
    pub fn lapses_at(&self, sliding_until: Option<Timestamp>) -> Option<Timestamp> {
        match self.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Sliding => sliding_until,
            Expiry::Never => None,
        }
    }

    /// The same lot in an account that takes the other in or is let go: it keeps its origin, and has none when it comes home.
    pub fn moved(&self, from: AccountId, to: AccountId) -> LotKey {
        let origin = self.origin.unwrap_or(from);
        LotKey { origin: (origin != to).then_some(origin), ..self.clone() }
    }

    /// The same lot in the account of who is given it. What slid lapses when it would have lapsed where it comes from, or moving points
    /// about would keep them alive for ever.
    pub fn given(&self, sliding_until: Option<Timestamp>) -> LotKey {
        let expiry = match (self.expiry, sliding_until) {
            (Expiry::Sliding, Some(until)) => Expiry::At(until),
            (expiry, _) => expiry,
        };
        LotKey { expiry, origin: None, ..self.clone() }
    }
}

impl Expiry {
    /// From a moment that may lie beyond the calendar, which is never.
    pub fn at(moment: Timestamp) -> Expiry {
        if moment < Timestamp::MAX { Expiry::At(moment) } else { Expiry::Never }
    }
}
