use persistence::IsRetryable;
use rpc::status;
use tonic::{Code, Status};

use crate::domain::Refusal;

/// Everything that can go wrong in this service. Texts hold no personal data and no tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory has no such program.
    #[error("there is no such program")]
    ProgramNotFound,
    /// The id is taken.
    #[error("the program has a survey with this id")]
    SurveyExists,
    /// No survey has this name.
    #[error("there is no such survey")]
    SurveyNotFound,
    /// No invitation has this name.
    #[error("there is no such invitation")]
    InvitationNotFound,
    /// No response has this name, or the invitation has none yet.
    #[error("there is no such response")]
    ResponseNotFound,
    /// One answer for every token that opens nothing, whatever the reason.
    #[error("the token is not valid")]
    TokenNotValid,
    /// A landing page proves by a token that the member was invited.
    #[error("a landing page answers by token")]
    TokenRequired,
    /// A field holds what it must not.
    #[error("{field}: {description}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What it must be.
        description: String,
    },
    /// The rules of surveys say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database.
    #[error(transparent)]
    Store(#[from] persistence::Error),
}

impl Error {
    /// A field that holds what it must not; `description` says what it must be.
    pub(crate) fn invalid(field: &'static str, description: impl Into<String>) -> Error {
        Error::Invalid { field, description: description.into() }
    }
}

impl IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        match self {
            Error::Store(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let (code, reason) = match error {
            Error::ProgramNotFound => (Code::NotFound, "PROGRAM_NOT_FOUND"),
            Error::SurveyExists => (Code::AlreadyExists, "SURVEY_EXISTS"),
            Error::SurveyNotFound => (Code::NotFound, "SURVEY_NOT_FOUND"),
            Error::InvitationNotFound => (Code::NotFound, "INVITATION_NOT_FOUND"),
            Error::ResponseNotFound => (Code::NotFound, "RESPONSE_NOT_FOUND"),
            Error::TokenNotValid => (Code::NotFound, "TOKEN_NOT_VALID"),
            Error::TokenRequired => (Code::PermissionDenied, "TOKEN_REQUIRED"),
            Error::Invalid { field, description } => return status::bad_request([(field, description)]),
            Error::Refused(Refusal::SurveyNotActivated) => (Code::FailedPrecondition, "SURVEY_NOT_ACTIVATED"),
            Error::Refused(Refusal::SurveyPaused) => (Code::FailedPrecondition, "SURVEY_PAUSED"),
            Error::Refused(Refusal::InvitationNotDue) => (Code::FailedPrecondition, "INVITATION_NOT_DUE"),
            Error::Refused(Refusal::InvitationExpired) => (Code::FailedPrecondition, "INVITATION_EXPIRED"),
            Error::Refused(Refusal::InvitationClosed) => (Code::FailedPrecondition, "INVITATION_CLOSED"),
            Error::Refused(Refusal::InvitationAnswered) => (Code::AlreadyExists, "INVITATION_ANSWERED"),
            Error::Refused(Refusal::EditWindowClosed) => (Code::FailedPrecondition, "EDIT_WINDOW_CLOSED"),
            Error::Refused(refusal @ Refusal::ScoreOutOfRange { .. }) => return status::bad_request([("score", refusal.to_string())]),
            Error::Store(store) => return status::from_store(store),
        };
        status::with_reason::<&str, &str>(code, reason, error.to_string(), [])
    }
}
