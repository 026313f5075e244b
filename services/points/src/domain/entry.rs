use std::sync::Arc;

use kernel::{Timestamp, Uuid};

use super::{LotKey, PurchaseId};

/// What moved points, or froze or freed them. The numbers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// Points earned by a purchase; zero for a purchase that earns nothing.
    Award = 1,
    /// Pending points became spendable.
    Activate = 2,
    /// Points were set aside.
    Reserve = 3,
    /// Reserved points were spent; what was not spent came free.
    Capture = 4,
    /// Reserved points came free.
    Release = 5,
    /// Points were spent at once.
    Redeem = 6,
    /// Points of a purchase were taken back.
    Clawback = 7,
    /// A person corrected the balance.
    Adjust = 8,
    /// Points passed their expiry.
    Expire = 9,
    /// Points issued by another service.
    Reward = 10,
    /// A reward was taken back.
    RewardRevoked = 11,
}

/// How one lot changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LotChange {
    /// Which lot.
    pub key: LotKey,
    /// Change of its points.
    pub points: i64,
    /// Change of the part of them that reservations hold.
    pub reserved: i64,
}

/// What an entry is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A purchase or its return.
    Purchase(PurchaseId),
    /// A reservation; `hold_until` is when it ends by itself.
    Reservation {
        /// Its id.
        id: Uuid,
        /// When it ends by itself.
        hold_until: Timestamp,
        /// The caller's reference: an order number.
        reference: Arc<str>,
    },
    /// A caller's reference: an order number.
    Reference(String),
    /// A reward of another service.
    Reward {
        /// Its key.
        key: String,
        /// Why, in words that may be shown to the member.
        reason: String,
    },
    /// A correction.
    Correction {
        /// Why.
        reason: String,
        /// Who approved it.
        approver: String,
    },
    /// The clock.
    Due,
}

/// Who did something, where and when; the same for all entries of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The operation; nil for work of the clock.
    pub operation: Uuid,
    /// The caller's request id; empty for work of the clock.
    pub request_id: Arc<str>,
    /// An API key, or "clock".
    pub actor: Arc<str>,
    /// The terminal's name; empty when not told.
    pub terminal: Arc<str>,
    /// The store's name; empty when not told.
    pub store: Arc<str>,
    /// When it happened, by the till's clock where a till told.
    pub occurred_at: Timestamp,
    /// The server's clock.
    pub now: Timestamp,
}

/// One line of an account's books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number in its account, from 1, without gaps.
    pub version: i64,
    /// What it is.
    pub kind: EntryKind,
    /// The wallet.
    pub wallet: Arc<str>,
    /// Signed change of the sum of lots less deficit.
    pub points: i64,
    /// Spendable points afterwards.
    pub active_after: i64,
    /// Points not spendable yet afterwards.
    pub pending_after: i64,
    /// Reserved points afterwards.
    pub reserved_after: i64,
    /// Deficit afterwards.
    pub deficit_after: i64,
    /// The lots it took from or gave to.
    pub lots: Vec<LotChange>,
    /// Change of the deficit.
    pub deficit_delta: i64,
    /// What it is about.
    pub source: Source,
    /// Version number of the program's terms that applied; 0 when none did.
    pub program_version: i64,
    /// Version of the member's facts that were known.
    pub fact_version: i64,
    /// Who, where, when.
    pub stamp: Stamp,
    /// From when it counts.
    pub effective_at: Timestamp,
    /// When it was recorded: strictly ascending in an account.
    pub recorded_at: Timestamp,
}
