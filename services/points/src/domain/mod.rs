//! The pure core of the ledger: no IO, no clock, no randomness.
//!
//! [`apply`](Ledger::apply) takes an account and a command and posts entries or refuses. An account is the fold of its entries
//! ([`Account::evolve`]), so the service, a replay and a simulation all end at the same state.

mod account;
mod command;
mod entry;
mod ledger;
mod purchase;
mod returns;
mod settle;
mod terms;

pub use account::{Account, AccountId, Lot, LotKey, MAIN_WALLET, Reservation, Wallet};
pub use command::{
    Adjust, Award, Capture, ClosedReservation, Command, Ensure, Facts, Known, MemberStatus, Outcome, Redeem, Refusal, Release, Reserve,
    RewardState, TierInterval,
};
pub use entry::{Entry, EntryKind, LotChange, Source, Stamp};
pub use ledger::Ledger;
pub use purchase::{FrozenFacts, Line, Purchase, PurchaseId, PurchaseInput};
pub use returns::{Return, ReturnWhat, Returned};
pub use settle::Settled;
pub use terms::{Explanation, PointRounding, ReturnPolicy, Terms, Version, Versions};

#[cfg(test)]
mod tests;
