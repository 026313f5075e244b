use super::ClosedReservation;
use super::rewards::RewardRefusal;

/// Why a command was not carried out. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A reward is not had, or not given back.
    #[error(transparent)]
    Reward(RewardRefusal),
    /// Not enough spendable points.
    #[error("{missing} points are missing")]
    InsufficientPoints {
        /// How many more it takes.
        missing: i64,
    },
    /// No such wallet, yet.
    #[error("neither the program's terms nor the account have a wallet {wallet}")]
    WalletNotFound {
        /// The wallet that was named.
        wallet: String,
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
    /// The member has earned all that he may by an activity.
    #[error("the member has earned by {activity} all that he may in this period")]
    ActivityLimit {
        /// The activity that was named.
        activity: String,
    },
    /// The terms want a link that proves the activity.
    #[error("{activity} needs a link that proves it")]
    ProofRequired {
        /// The activity that was named.
        activity: String,
    },
    /// A limit of the terms lets less through.
    #[error("the limit {limit} of the program's terms has been reached")]
    AwardLimit {
        /// The limit.
        limit: String,
    },
    /// The program knows no such activity.
    #[error("the program's terms have no activity {activity}")]
    ActivityNotFound {
        /// The activity that was named.
        activity: String,
    },
    /// Nothing waits for the event.
    #[error("nothing waits for that event")]
    NothingPending,
    /// No such redemption, yet.
    #[error("there is no such redemption")]
    RedemptionNotFound,
    /// More is to be given back than is left of the redemption.
    #[error("{left} points are left of the redemption")]
    ExceedsRedemption {
        /// Points that have not been given back.
        left: i64,
    },
    /// Points that paid for a purchase are in more than one other account.
    #[error(
        "the points that paid for it are in several other accounts: give them back with RefundRedemption, and return it with \
         give_back_points 0"
    )]
    RedemptionsApart,
    /// No lot is meant.
    #[error("there are no such points")]
    NothingToExtend,
    /// An expiry must lie ahead.
    #[error("an expiry must lie ahead")]
    ExpiryNotAhead,
    /// More is to be forgiven than is owed.
    #[error("{deficit} points are owed")]
    ExceedsDeficit {
        /// Points owed.
        deficit: i64,
    },
    /// Both sides are the same account.
    #[error("both are the same account")]
    SameAccount,
    /// The account was taken in by another already.
    #[error("the account has been merged")]
    AlreadyMerged,
    /// No such pool.
    #[error("there is no such pool")]
    PoolNotFound,
    /// The member has no part in the pool.
    #[error("the member is not in the pool")]
    NotInPool,
    /// Only the owner may.
    #[error("only the owner of the pool may do that")]
    NotPoolOwner,
    /// The member was not invited.
    #[error("the member was not invited to the pool")]
    NotInvited,
    /// The member is in the pool, or invited, already.
    #[error("the member is in the pool already")]
    AlreadyInPool,
    /// The pool has as many members as it may.
    #[error("the pool is full")]
    PoolFull,
    /// Others are still in the pool.
    #[error("others are still in the pool")]
    PoolHasMembers,
    /// The account is a pool's.
    #[error("the account is a pool's: only its members do something with it")]
    PoolAccount,
    /// The account was not taken in by that other.
    #[error("the account has not been merged into that one")]
    NotMerged,
}
