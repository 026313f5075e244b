use super::rewards::Voucher;
use super::{Explanation, LotKey, Progress, Restored, Returned, RewardState};

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
    /// So many points were spent on a reward.
    RewardRedeemed {
        /// Its cost.
        points: i64,
        /// The voucher that was issued.
        voucher: Box<Voucher>,
    },
    /// The points of a reward were given back.
    RewardRefunded {
        /// What became of them.
        restored: Restored,
        /// The voucher afterwards.
        voucher: Box<Voucher>,
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
        /// It has ended.
        closed: bool,
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
    /// An activity was rewarded.
    Earned {
        /// Points before the limits of the terms.
        desired: i64,
        /// How many points it is.
        points: i64,
        /// The lot that they went to.
        lot: LotKey,
        /// How far it has brought the member with challenges.
        challenges: Vec<Progress>,
    },
    /// What waited for an event was opened or given up.
    Resolved {
        /// So many points of the first wallet that something waited in.
        points: i64,
        /// It was opened.
        came: bool,
        /// How far activities that were approved have brought the member with challenges.
        challenges: Vec<Progress>,
    },
    /// Points of a redemption were given back.
    Refunded(Restored),
    /// Lots lapse at another time.
    ExpirySet {
        /// So many points.
        points: i64,
    },
    /// A debt was waived.
    Forgiven {
        /// So many points.
        points: i64,
    },
    /// Points went to another member.
    Transferred {
        /// So many.
        points: i64,
    },
    /// An account was taken in.
    Merged,
    /// An account was let go.
    Unmerged {
        /// Points of the main wallet that went back.
        points: i64,
    },
    /// A pool has other members.
    PoolChanged,
    /// Somebody left a pool.
    LeftPool {
        /// Points of the main wallet that he took back.
        points: i64,
    },
}
