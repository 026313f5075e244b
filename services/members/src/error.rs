//! Every way a call to the members service can fail.

use tonic::{Code, Status};

use crate::domain::identity::Kind;
use crate::domain::profile::LabelKind;

/// What went wrong. No variant holds personal data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {description}")]
    Invalid { field: String, description: &'static str },
    #[error("there is no such program")]
    ProgramNotFound,
    #[error("there is no such member")]
    MemberNotFound,
    #[error("this role may not enrol members from old data")]
    HistoricalNotAdmitted,
    /// `member` is the name of the member that has it.
    #[error("the {} belongs to a member already", kind.as_str())]
    IdentityTaken { kind: Kind, member: String },
    #[error("the member has another {} already", kind.as_str())]
    IdentityPresent { kind: Kind },
    #[error("a member has at most {limit} identities of kind {}", kind.as_str())]
    TooManyIdentities { kind: Kind, limit: usize },
    #[error("the member does not have this {}", kind.as_str())]
    IdentityNotLinked { kind: Kind },
    #[error("the {} is the member's last identity", kind.as_str())]
    LastIdentity { kind: Kind },
    #[error("a member has at most {limit} attributes")]
    TooManyAttributes { limit: usize },
    #[error("a member has at most {limit} {}", kind.field())]
    TooManyLabels { kind: LabelKind, limit: usize },
    #[error("the member has changed since it was read")]
    EtagMismatch,
    #[error("the member is blocked already")]
    MemberAlreadyBlocked,
    #[error("the member is not blocked")]
    MemberNotBlocked,
    #[error("the member is closed")]
    MemberClosed,
    #[error("the database failed")]
    Store(#[from] persistence::Error),
}

impl Error {
    /// A field of the request, by its path, that is not what it must be.
    pub(crate) fn invalid(field: impl Into<String>, description: &'static str) -> Error {
        Error::Invalid { field: field.into(), description }
    }

    /// What the text tells, for programs.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::IdentityTaken { kind, member } => vec![("kind", kind.as_str().to_owned()), ("member", member.clone())],
            Error::TooManyIdentities { kind, limit } => {
                vec![("kind", kind.as_str().to_owned()), ("limit", limit.to_string())]
            }
            Error::IdentityPresent { kind } | Error::IdentityNotLinked { kind } | Error::LastIdentity { kind } => {
                vec![("kind", kind.as_str().to_owned())]
            }
            Error::TooManyAttributes { limit } => vec![("limit", limit.to_string())],
            Error::TooManyLabels { kind, limit } => vec![("field", kind.field().to_owned()), ("limit", limit.to_string())],
            Error::Invalid { .. }
            | Error::ProgramNotFound
            | Error::MemberNotFound
            | Error::HistoricalNotAdmitted
            | Error::EtagMismatch
            | Error::MemberAlreadyBlocked
            | Error::MemberNotBlocked
            | Error::MemberClosed
            | Error::Store(_) => Vec::new(),
        }
    }
}

impl persistence::IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Error::Store(store) if store.is_retryable())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let metadata = error.metadata();
        let text = error.to_string();
        let (code, reason) = match error {
            Error::Invalid { field, description } => return rpc::status::bad_request([(field, description)]),
            Error::ProgramNotFound => (Code::NotFound, "PROGRAM_NOT_FOUND"),
            Error::MemberNotFound => (Code::NotFound, "MEMBER_NOT_FOUND"),
            Error::HistoricalNotAdmitted => (Code::PermissionDenied, "HISTORICAL_NOT_ADMITTED"),
            Error::IdentityTaken { .. } => (Code::AlreadyExists, "IDENTITY_TAKEN"),
            Error::IdentityPresent { .. } => (Code::FailedPrecondition, "IDENTITY_PRESENT"),
            Error::TooManyIdentities { .. } => (Code::FailedPrecondition, "TOO_MANY_IDENTITIES"),
            Error::IdentityNotLinked { .. } => (Code::NotFound, "IDENTITY_NOT_LINKED"),
            Error::LastIdentity { .. } => (Code::FailedPrecondition, "LAST_IDENTITY"),
            Error::TooManyAttributes { .. } => (Code::FailedPrecondition, "TOO_MANY_ATTRIBUTES"),
            Error::TooManyLabels { .. } => (Code::FailedPrecondition, "TOO_MANY_LABELS"),
            Error::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
            Error::MemberAlreadyBlocked => (Code::FailedPrecondition, "MEMBER_ALREADY_BLOCKED"),
            Error::MemberNotBlocked => (Code::FailedPrecondition, "MEMBER_NOT_BLOCKED"),
            Error::MemberClosed => (Code::FailedPrecondition, "MEMBER_CLOSED"),
            Error::Store(store) => return rpc::status::from_store(store),
        };
        rpc::status::with_reason(code, reason, text, metadata)
    }
}
