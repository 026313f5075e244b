//! The pure core of the ledger: no IO, no clock, no randomness.
//!
//! [`apply`](Ledger::apply) takes an account and a command and posts entries or refuses. An account is the fold of its entries
//! ([`Account::evolve`]), so the service, a replay and a simulation all end at the same state.

mod account;
mod approval;
mod award_limit;
mod between;
mod challenge;
mod command;
mod condition;
mod correction;
mod earning;
mod entry;
mod given_up;
mod known;
mod ledger;
mod limit;
mod lot;
mod merged;
mod named;
mod occasion;
mod outcome;
mod pending;
mod pool;
mod promotion;
mod promotions;
mod purchase;
mod reaching;
mod recurrence;
mod refusal;
mod remarks;
mod returns;
pub mod rewards;
mod settle;
mod simulation;
mod spending;
mod tally;
mod terms;
mod wallets;
mod window;

pub use account::{Account, AccountId, MAIN_WALLET, Reservation, Wallet};
pub use approval::Unapproved;
pub use award_limit::{AwardLimit, LimitScope};
pub use between::{Side, apply_between};
pub use challenge::{Cadence, Challenge, Counts, Gift, Measure, Progress, Qualifying, Shape, Step, Streak};
pub use command::{
    Activity, Adjust, Award, Capture, Command, Ensure, Forgive, Merge, NewExpiry, Redeem, Refund, Release, Reserve, Resolve, SetExpiry,
    Transfer,
};
pub use condition::{Condition, ConditionError, ConditionFault};
pub use earning::{Basis, EarnRate};
pub use entry::{Entry, EntryKind, LotChange, Source, Stamp};
pub use given_up::GivenUp;
pub use known::{ClosedReservation, Facts, Known, MemberStatus, Redemption, Restored, RewardState, TierInterval};
pub use ledger::Ledger;
pub use limit::{Count, Counting, Limit, LimitPeriod};
pub use lot::{Expiry, Gate, Lot, LotKey, Opening};
pub use merged::{Apart, Identity, Merged};
pub use occasion::{Candidate, GiftOccasion, MemberFilter, Sweep, When};
pub use outcome::Outcome;
pub use pool::{Brought, ChangePool, LeavePool, Pool, PoolChange, PoolMember, RedeemFromPool};
pub use promotion::{Asks, Birthday, BirthdayWindow, Bonus, Buyer, Gives, LineFilter, Promotion, Rejection, Selection, Told};
pub use promotions::Promotions;
pub use purchase::{Applied, Basket, Bound, FrozenFacts, Line, Place, Purchase, PurchaseId, PurchaseInput};
pub use recurrence::{RecurrenceError, WINDOWS_MAX, Windows, windows};
pub use refusal::Refusal;
pub use remarks::Remark;
pub use returns::{Return, ReturnWhat, Returned};
pub use settle::Settled;
pub use simulation::{Credit, Gifts, Happened, Simulation, past};
pub use tally::{Given, Mark, Tallied, Tally, TallyChange};
pub use terms::{Activation, ActivityTerms, Approval, Explanation, Life, PointRounding, ReturnPolicy, Terms, Version, Versions};
pub use wallets::{Earned, Share, WalletTerms};
pub use window::WeeklyWindow;

use promotion::Occasion;

#[cfg(test)]
mod tests;
