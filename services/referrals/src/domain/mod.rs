//! What referrals decide. No IO, no clock, no randomness: a state and a fact go in, a new state or a refusal comes out.

mod code;
mod friend;
mod plan;
mod referral;
#[cfg(test)]
mod tests;

pub use code::{Code, CodeState, CodeText};
pub use friend::{Friend, Purchase};
pub use plan::{Plan, PlanId};
pub use referral::{
    AttributionRefused, Ended, Leg, LegState, Origin, Qualified, Referral, RejectionReason, Role, Settlement, Source, State, VoidReason,
};
