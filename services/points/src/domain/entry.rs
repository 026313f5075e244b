use std::sync::Arc;

use kernel::{MemberId, Timestamp, Uuid};

use super::{AccountId, Count, Counting, GivenUp, Identity, LotKey, Place, PoolChange, PurchaseId, Reservation, TallyChange, Unapproved};

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
    /// Points earned by something other than a purchase.
    Activity = 12,
    /// Pending points were given up.
    Cancel = 13,
    /// Points that had been spent came back.
    Refund = 14,
    /// Lots lapse at another time.
    Expiry = 15,
    /// Points that were owed are owed no more.
    Forgive = 16,
    /// Spendable points repaid what was owed.
    Repay = 17,
    /// Points went to another member.
    TransferOut = 18,
    /// Points came from another member.
    TransferIn = 19,
    /// Everything went to the account that took this one in.
    MergeOut = 20,
    /// Everything came from an account that was taken in.
    MergeIn = 21,
    /// What is left of an account that had been taken in went back to it.
    UnmergeOut = 22,
    /// What was left came back from the account that had taken this one in.
    UnmergeIn = 23,
    /// An expiry was announced.
    Remind = 24,
    /// A pool's members changed.
    Pool = 25,
}

impl EntryKind {
    /// Whether points that come with it slide from then on where nothing keeps them alive yet, though the member did nothing.
    pub(super) fn begins_sliding(self) -> bool {
        matches!(self, EntryKind::Adjust | EntryKind::Reward | EntryKind::Activate)
    }

    /// All kinds, in the order of their numbers from 1 on.
    pub const ALL: [EntryKind; 25] = [
        EntryKind::Award,
        EntryKind::Activate,
        EntryKind::Reserve,
        EntryKind::Capture,
        EntryKind::Release,
        EntryKind::Redeem,
        EntryKind::Clawback,
        EntryKind::Adjust,
        EntryKind::Expire,
        EntryKind::Reward,
        EntryKind::RewardRevoked,
        EntryKind::Activity,
        EntryKind::Cancel,
        EntryKind::Refund,
        EntryKind::Expiry,
        EntryKind::Forgive,
        EntryKind::Repay,
        EntryKind::TransferOut,
        EntryKind::TransferIn,
        EntryKind::MergeOut,
        EntryKind::MergeIn,
        EntryKind::UnmergeOut,
        EntryKind::UnmergeIn,
        EntryKind::Remind,
        EntryKind::Pool,
    ];
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
        /// It may be captured in several parts.
        several: bool,
        /// A part was captured, and it holds the rest.
        stays_open: bool,
    },
    /// A caller's reference: an order number.
    Reference(String),
    /// The same, where a member spends from a pool.
    Pooled {
        /// Who.
        spender: MemberId,
        /// The caller's reference.
        reference: String,
    },
    /// A reward of another service.
    Reward {
        /// Its key.
        key: String,
        /// Why, in words that may be shown to the member.
        reason: String,
    },
    /// A step of a ladder or a streak that was reached, or is no more.
    Challenge {
        /// The challenge.
        challenge: Arc<str>,
        /// What a receipt calls it.
        title: Arc<str>,
        /// The id of what was given.
        given: Uuid,
        /// The period of a ladder, by its first day since 1970; 0 for a streak.
        period: i64,
        /// The step, or the length of the streak.
        step: i64,
        /// The reward whose voucher is given; `None` for points.
        reward: Option<Arc<str>>,
    },
    /// A reward of the catalogue.
    Catalogue {
        /// Its id.
        reward: Arc<str>,
        /// The voucher that was issued for it.
        voucher: Uuid,
    },
    /// A correction.
    Correction {
        /// Why.
        reason: String,
        /// Who approved it.
        approver: String,
    },
    /// Something that earns without a purchase.
    Activity {
        /// What it is: "review".
        activity: String,
        /// Its own id.
        id: Arc<str>,
    },
    /// Something that pending points waited for, or a reason why they wait no more.
    Event(String),
    /// A redemption that is undone, wholly or in part, by the operation that made it.
    Redemption {
        /// The operation.
        operation: Uuid,
        /// The purchase whose return undoes it.
        purchase: Option<PurchaseId>,
    },
    /// A change of expiry: the lots come in pairs, from and to.
    Expiry {
        /// Why.
        reason: String,
        /// Who approved it.
        approver: String,
    },
    /// The other side of a transfer.
    Transfer {
        /// The other member.
        member: MemberId,
        /// Why.
        reason: String,
    },
    /// The other side of a merge.
    Merge {
        /// The other member.
        member: MemberId,
        /// Why.
        reason: String,
        /// The account that is taken in, last, after those that it had taken in itself.
        identities: Vec<Identity>,
        /// Its purchases.
        purchases: i64,
        /// When the last of them was made.
        last_purchase_at: Option<Timestamp>,
        /// When it was let go last before.
        let_go_at: Option<Timestamp>,
        /// Its open reservations in this wallet, as they are afterwards.
        reservations: Vec<Reservation>,
    },
    /// The other side of the end of a merge.
    Unmerge {
        /// The other member.
        member: MemberId,
        /// Why.
        reason: String,
        /// The account that is let go.
        account: AccountId,
        /// Its purchases.
        purchases: i64,
        /// When the last of them was made.
        last_purchase_at: Option<Timestamp>,
    },
    /// A change of a pool's members.
    Pool {
        /// Whom it is about.
        member: MemberId,
        /// His own account.
        account: AccountId,
        /// What changed.
        change: PoolChange,
    },
    /// An expiry that was announced.
    Reminder {
        /// When points lapse.
        expires_at: Timestamp,
        /// How many.
        points: i64,
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
    /// The staff number of who sold it; empty when not told.
    pub cashier: Arc<str>,
    /// The member that was named, where that one's account has been merged into this.
    pub presented: Option<MemberId>,
    /// When it happened, by the till's clock where a till told.
    pub occurred_at: Timestamp,
    /// The server's clock.
    pub now: Timestamp,
}

impl Stamp {
    /// Where it happened.
    pub fn place(&self) -> Place<'_> {
        Place { store: &self.store, terminal: &self.terminal, cashier: &self.cashier }
    }

    /// The stamp of work of the clock.
    pub fn of_clock(now: Timestamp) -> Stamp {
        let nothing: Arc<str> = "".into();
        Stamp {
            operation: Uuid::nil(),
            request_id: nothing.clone(),
            actor: "clock".into(),
            terminal: nothing.clone(),
            store: nothing.clone(),
            cashier: nothing,
            presented: None,
            occurred_at: now,
            now,
        }
    }
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
    /// Points that should have been taken back and were given up; negative where such were taken after all, or went to other books.
    pub given_up: Vec<GivenUp>,
    /// What it counts of what is limited, for the member and for all together; negative where something goes back.
    pub counted: Vec<Count>,
    /// What it changes of what counts for challenges.
    pub tallied: Vec<TallyChange>,
    /// Activities that wait for their approval from then on.
    pub waits: Vec<Unapproved>,
    /// Operations that told of such, which wait no more.
    pub decided: Vec<Uuid>,
    /// Keys of the links that proved them and may prove something else from then on.
    pub freed: Vec<Uuid>,
    /// What it is about.
    pub source: Source,
    /// Until when sliding lots live because of it; `None` when it is nothing that keeps them alive.
    pub sliding_until: Option<Timestamp>,
    /// When the next expiry of the wallet is to be announced.
    pub remind_at: Option<Timestamp>,
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

impl Entry {
    /// What it counts that members share.
    pub fn counted_of_all(&self) -> impl Iterator<Item = &Count> {
        self.counted.iter().filter(|count| count.by == Counting::Shared)
    }

    /// What it counts of the member alone.
    pub(super) fn counted_of_member(&self) -> impl Iterator<Item = &Count> {
        self.counted.iter().filter(|count| count.by == Counting::Member)
    }

    /// Who spent the points, where they were in a pool or in the account of who had taken his in.
    pub fn spender(&self) -> Option<MemberId> {
        match self.source {
            Source::Pooled { spender, .. } => Some(spender),
            _ => self.stamp.presented,
        }
    }
}
