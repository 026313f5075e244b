use std::sync::Arc;
use std::time::Duration;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use rust_decimal::Decimal;

use super::{Explanation, PurchaseInput, Return, Returned};

/// What can be asked of an account. Its stamp travels beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Record a purchase and award its points.
    Award(Award),
    /// Spend points at once.
    Redeem(Redeem),
    /// Set points aside.
    Reserve(Reserve),
    /// Spend a reservation.
    Capture(Capture),
    /// Give a reservation up.
    Release(Release),
    /// Take back the points of goods that went back.
    Return(Return),
    /// Correct a balance.
    Adjust(Adjust),
    /// Bring a reward of another service to the state it should have.
    Ensure(Ensure),
}

/// A purchase to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Award {
    /// The program.
    pub program: ProgramId,
    /// The buyer.
    pub member: Option<MemberId>,
    /// What was bought.
    pub purchase: PurchaseInput,
}

/// Points to spend at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redeem {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
    /// Less will do, when there are less.
    pub up_to: bool,
    /// What for.
    pub reference: String,
}

/// Points to set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
    /// For how long; the terms say when absent.
    pub ttl: Option<Duration>,
    /// What for.
    pub reference: Arc<str>,
}

/// A reservation to spend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// Which.
    pub reservation: Uuid,
    /// How much of it; all when absent.
    pub points: Option<i64>,
}

/// A reservation to give up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Which.
    pub reservation: Uuid,
}

/// A correction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adjust {
    /// The wallet.
    pub wallet: Arc<str>,
    /// Signed points, not zero.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
}

/// A reward of another service and the state it should have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensure {
    /// The reward's own key in the program.
    pub key: String,
    /// How many points it is.
    pub points: i64,
    /// To have or not to have.
    pub wanted: bool,
    /// Counts the changes of the wish.
    pub version: i64,
    /// Why.
    pub reason: String,
}

/// Whether a member may earn and redeem.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemberStatus {
    /// Earns and redeems; also a member of whom nothing is known yet.
    #[default]
    Active,
    /// Neither earns nor redeems for now.
    Blocked,
    /// Ended.
    Closed,
}

/// A span in which a member had a tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TierInterval {
    /// The scheme's id.
    pub scheme: String,
    /// The tier's id.
    pub tier: String,
    /// What base points are multiplied by.
    pub multiplier: Decimal,
    /// From when.
    pub start_at: Timestamp,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
}

/// What is known of a member from other services' feeds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Counts the changes.
    pub version: i64,
    /// Whether he may earn and redeem.
    pub status: MemberStatus,
    /// Tier intervals, newest knowledge.
    pub tiers: Vec<TierInterval>,
}

/// What the store found for a command besides the account: things with their own keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The purchase that a return names.
    pub purchase: Option<super::Purchase>,
    /// What became of the reservation that is no longer open.
    pub closed_reservation: Option<ClosedReservation>,
    /// The reward as it stands.
    pub reward: Option<RewardState>,
}

/// How a reservation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClosedReservation {
    /// Spent.
    Captured,
    /// Given up.
    Released,
    /// Ended by time.
    Expired,
}

/// A reward of another service as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RewardState {
    /// Newest version of the wish that was seen.
    pub version: i64,
    /// The points are with the member; zero when they are not.
    pub granted: i64,
    /// The lot that they went to.
    pub lot: Option<super::LotKey>,
}

/// What a command did, besides the entries that it posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A purchase was recorded.
    Awarded {
        /// The purchase to keep.
        purchase: Box<super::Purchase>,
        /// How its points were worked out.
        explanation: Explanation,
    },
    /// So many points were spent.
    Redeemed {
        /// Asked for.
        requested: i64,
        /// Spent.
        actual: i64,
    },
    /// A reservation was opened.
    Reserved {
        /// The reservation.
        reservation: super::Reservation,
    },
    /// A reservation was spent.
    Captured {
        /// As it was.
        reservation: super::Reservation,
        /// Points spent of it.
        points: i64,
    },
    /// A reservation was given up.
    Released {
        /// As it was.
        reservation: super::Reservation,
    },
    /// Goods went back.
    Returned(Box<Returned>),
    /// A balance was corrected.
    Adjusted {
        /// By so many points.
        points: i64,
    },
    /// A reward is as it should be.
    Ensured(RewardState),
}

/// Why a command was not carried out. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not enough spendable points.
    #[error("{missing} points are missing")]
    InsufficientPoints {
        /// How many more it takes.
        missing: i64,
    },
    /// The member is blocked.
    #[error("the member is blocked")]
    MemberBlocked,
    /// The membership has ended.
    #[error("the membership has ended")]
    MemberClosed,
    /// No such reservation, yet.
    #[error("there is no such reservation")]
    ReservationNotFound,
    /// The reservation has ended.
    #[error("the reservation has ended")]
    ReservationEnded(ClosedReservation),
    /// More than the reservation holds.
    #[error("the reservation holds {held} points")]
    ExceedsReservation {
        /// What it holds.
        held: i64,
    },
    /// No such purchase, yet.
    #[error("there is no such purchase")]
    PurchaseNotFound,
    /// The purchase has no such line.
    #[error("the purchase has no line {line}")]
    LineNotFound {
        /// The line that was named.
        line: String,
    },
    /// More goes back than is left.
    #[error("more goes back than is left")]
    ExceedsPurchase {
        /// Minor units or pieces that are left.
        left: i64,
    },
    /// Nothing goes back.
    #[error("nothing goes back")]
    NothingToReturn,
    /// Beyond what can be counted.
    #[error("the amount is beyond what can be counted")]
    Overflow,
}
