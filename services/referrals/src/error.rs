use persistence::IsRetryable;
use rpc::status;
use tonic::{Code, Status};

use crate::domain::{AttributionRefused, Ended};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program does not exist.
    #[error("there is no such program")]
    ProgramNotFound,
    /// The plan's id is taken.
    #[error("there is a plan of this id")]
    PlanExists,
    /// The plan does not exist.
    #[error("there is no such plan")]
    PlanNotFound,
    /// A new code would have expired already.
    #[error("the expiry is not in the future")]
    ExpiryPassed,
    /// The code does not exist; for callers who may know.
    #[error("there is no such code")]
    CodeNotFound,
    /// The code is not good; whether it ever was is not told.
    #[error("the code is not valid")]
    CodeNotValid,
    /// The referral does not exist.
    #[error("there is no such referral")]
    ReferralNotFound,
    /// The friend's enrolment has not been heard of.
    #[error("the friend is not known here; an enrolment takes a moment to arrive")]
    FriendNotKnown,
    /// The friend belongs to another code.
    #[error("the friend has been referred by another code")]
    FriendAlreadyReferred {
        /// Name of the referral that holds.
        referral: String,
    },
    /// The friend named the own code.
    #[error("nobody can refer themselves")]
    SelfReferral,
    /// Too long after the enrolment.
    #[error("the friend enrolled too long ago")]
    AttributionWindowClosed,
    /// The friend has made the first purchase.
    #[error("the friend has bought already")]
    FriendAlreadyBought,
    /// The referral is voided or rejected.
    #[error("the referral is {state} already")]
    ReferralEnded {
        /// The state it is in.
        state: &'static str,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] persistence::Error),
}

impl Error {
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::FriendAlreadyReferred { referral } => vec![("referral", referral.clone())],
            Error::ReferralEnded { state } => vec![("state", (*state).to_owned())],
            _ => Vec::new(),
        }
    }
}

impl From<AttributionRefused> for Error {
    fn from(refused: AttributionRefused) -> Error {
        match refused {
            AttributionRefused::CodeNotValid => Error::CodeNotValid,
            AttributionRefused::FriendNotKnown => Error::FriendNotKnown,
            AttributionRefused::SelfReferral => Error::SelfReferral,
            AttributionRefused::WindowClosed => Error::AttributionWindowClosed,
            AttributionRefused::AlreadyBought => Error::FriendAlreadyBought,
        }
    }
}

impl From<Ended> for Error {
    fn from(Ended { state }: Ended) -> Error {
        Error::ReferralEnded { state }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let (message, metadata) = (error.to_string(), error.metadata());
        let (code, reason) = match error {
            Error::ProgramNotFound => (Code::NotFound, "PROGRAM_NOT_FOUND"),
            Error::PlanExists => (Code::AlreadyExists, "PLAN_EXISTS"),
            Error::PlanNotFound => (Code::NotFound, "PLAN_NOT_FOUND"),
            Error::ExpiryPassed => return status::bad_request([("expire_time", "must be in the future")]),
            Error::CodeNotFound => (Code::NotFound, "CODE_NOT_FOUND"),
            Error::CodeNotValid => (Code::NotFound, "CODE_NOT_VALID"),
            Error::ReferralNotFound => (Code::NotFound, "REFERRAL_NOT_FOUND"),
            Error::FriendNotKnown => (Code::NotFound, "FRIEND_NOT_KNOWN"),
            Error::FriendAlreadyReferred { .. } => (Code::AlreadyExists, "FRIEND_ALREADY_REFERRED"),
            Error::SelfReferral => (Code::FailedPrecondition, "SELF_REFERRAL"),
            Error::AttributionWindowClosed => (Code::FailedPrecondition, "ATTRIBUTION_WINDOW_CLOSED"),
            Error::FriendAlreadyBought => (Code::FailedPrecondition, "FRIEND_ALREADY_BOUGHT"),
            Error::ReferralEnded { .. } => (Code::FailedPrecondition, "REFERRAL_ENDED"),
            Error::Store(store) => return status::from_store(store),
        };
        status::with_reason(code, reason, message, metadata)
    }
}

impl IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Error::Store(store) if store.is_retryable())
    }
}
