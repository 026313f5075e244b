//! What surveys are, without IO: who is asked when, how an invitation moves, what answers amount to.
//!
//! Functions take a state and what happened, and return the new state or a [`Refusal`]. Time and ids come in as values.

mod invitation;
mod nps;
mod response;
mod survey;

pub use invitation::{Invitation, InvitationState, Plan, SuppressReason};
pub use nps::{Interval, LOW_SAMPLE_BELOW, Tally, VISIBLE_FROM};
pub use response::{Response, Sealed};
pub use survey::{AfterPurchase, Kind, Purchase, Survey, SurveyState};

/// Why a change is refused. The texts hold no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A draft cannot be paused: it asks nobody.
    #[error("the survey was never activated")]
    SurveyNotActivated,
    /// The survey does not ask now.
    #[error("the survey is paused")]
    SurveyPaused,
    /// Its due time has not come, or it has not been looked at since.
    #[error("the invitation is not due yet")]
    InvitationNotDue,
    /// Its time to be answered has passed.
    #[error("the invitation has expired")]
    InvitationExpired,
    /// It was cancelled or suppressed, or, for a new token, answered.
    #[error("the invitation is closed")]
    InvitationClosed,
    /// There is another answer already.
    #[error("the invitation was answered already")]
    InvitationAnswered,
    /// The response stays as it is.
    #[error("the response can no longer be changed")]
    EditWindowClosed,
    /// Outside the scale.
    #[error("the score must be {least} to {greatest}")]
    ScoreOutOfRange {
        /// The least score of the survey's kind.
        least: i64,
        /// The greatest score of the survey's kind.
        greatest: i64,
    },
}
