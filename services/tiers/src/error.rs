//! Everything that can go wrong, and what a caller learns of it.

use persistence::IsRetryable;
use rpc::status;
use tonic::{Code, Status};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields that obey the contract and still make no sense: path and what they must be.
    #[error("the request is not valid")]
    Invalid(Vec<(String, String)>),
    /// The program is not in the directory.
    #[error("there is no such program")]
    ProgramNotFound,
    /// The id is taken.
    #[error("the scheme exists already")]
    SchemeExists,
    /// No such scheme, or no such version of it.
    #[error("there is no such scheme")]
    SchemeNotFound,
    /// Somebody else has written a version meanwhile.
    #[error("the scheme is at version {version} by now")]
    SchemeChanged {
        /// The newest version.
        version: i64,
    },
    /// No such grant of this member.
    #[error("there is no such grant")]
    GrantNotFound,
    /// The database.
    #[error(transparent)]
    Database(#[from] persistence::Error),
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Invalid(vec![(field.into(), problem.into())])
    }
}

impl IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Error::Database(error) if error.is_retryable())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let message = error.to_string();
        let plain = |code, reason| status::with_reason::<&str, &str>(code, reason, message.clone(), []);
        match error {
            Error::Invalid(violations) => status::bad_request(violations),
            Error::ProgramNotFound => plain(Code::NotFound, "PROGRAM_NOT_FOUND"),
            Error::SchemeExists => plain(Code::AlreadyExists, "SCHEME_EXISTS"),
            Error::SchemeNotFound => plain(Code::NotFound, "SCHEME_NOT_FOUND"),
            Error::SchemeChanged { version } => {
                let version = [("version", version.to_string())];
                status::with_reason(Code::FailedPrecondition, "SCHEME_CHANGED", message, version)
            }
            Error::GrantNotFound => plain(Code::NotFound, "GRANT_NOT_FOUND"),
            Error::Database(cause) => status::from_store(cause),
        }
    }
}
