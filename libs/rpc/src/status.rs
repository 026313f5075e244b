//! Errors as callers see them: `google.rpc.Status` with details that a program can act on without reading text.

use std::time::Duration;

use tonic::{Code, Response, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// The `domain` of every `ErrorInfo` of this suite.
pub const DOMAIN: &str = "regulars";

/// The response header that says: this answer was given before, nothing was done now.
pub const REPLAYED_HEADER: &str = "regulars-replayed";

/// A refusal with a stable reason (UPPER_SNAKE). Figures in the text belong into the metadata too, personal data into neither.
/// It is counted by its reason, so make one only to answer with it.
pub fn with_reason<K, V>(code: Code, reason: &'static str, message: impl Into<String>, metadata: impl IntoIterator<Item = (K, V)>) -> Status
where
    K: Into<String>,
    V: Into<String>,
{
    telemetry::metrics().rejected(reason);
    Status::with_error_details(code, message, error_info(reason, metadata))
}

/// INVALID_ARGUMENT naming each field that is wrong, by its path in the request, and what it must be.
pub fn bad_request<F, D>(violations: impl IntoIterator<Item = (F, D)>) -> Status
where
    F: Into<String>,
    D: Into<String>,
{
    let violations: Vec<FieldViolation> =
        violations.into_iter().map(|(field, description)| FieldViolation::new(field, description)).collect();
    let message =
        violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect::<Vec<_>>().join("; ");
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(violations))
}

/// RESOURCE_EXHAUSTED, reason OVERLOADED: nothing was done; the caller may send the same request again after `retry_after`.
pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Status {
    let mut details = error_info::<&str, &str>("OVERLOADED", []);
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// DEADLINE_EXCEEDED, reason DEADLINE_EXCEEDED. A changing request may have been done all the same: sending it again with
/// its request id tells.
pub fn deadline_exceeded() -> Status {
    with_reason::<&str, &str>(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline of the call has passed", [])
}

/// What a caller learns when the database did not do as asked: ABORTED (run it again) for a collision, UNAVAILABLE for a database
/// that cannot be reached, ALREADY_EXISTS, reason REQUEST_ID_REUSED, and INTERNAL for everything else. The cause is logged here
/// and told to nobody.
pub fn from_store(error: persistence::Error) -> Status {
    match &error {
        persistence::Error::RequestIdReused { field } => with_reason(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            format!("the request id was used before for a request with another {field}"),
            [("field", field.as_str())],
        ),
        persistence::Error::Conflict | persistence::Error::Retryable(_) => {
            tracing::warn!(error = chain(&error), "a transaction collided with others until it was given up");
            let mut details = error_info::<&str, &str>("CONTENTION", []);
            details.set_retry_info(Some(Duration::from_millis(100)));
            Status::with_error_details(Code::Aborted, "other changes came between; send the request again", details)
        }
        persistence::Error::Unavailable(_) => {
            tracing::error!(error = chain(&error), "the database cannot be reached");
            let mut details = error_info::<&str, &str>("DATABASE_UNAVAILABLE", []);
            details.set_retry_info(Some(Duration::from_secs(1)));
            Status::with_error_details(Code::Unavailable, "the service cannot reach its database", details)
        }
        persistence::Error::Unique { .. }
        | persistence::Error::Corrupt(_)
        | persistence::Error::Migration(_)
        | persistence::Error::Configuration(_)
        | persistence::Error::Database(_) => {
            tracing::error!(error = chain(&error), "a request failed inside");
            internal()
        }
    }
}

/// INTERNAL without a word about the inside.
pub fn internal() -> Status {
    with_reason::<&str, &str>(Code::Internal, "INTERNAL", "the service failed; the cause is in its log", [])
}

/// An error and its causes on one line. Causes of the database name tables and columns, never values: statements have
/// parameters, and the detail of a constraint, which quotes values, is no part of an error's text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn error_info<K, V>(reason: &str, metadata: impl IntoIterator<Item = (K, V)>) -> ErrorDetails
where
    K: Into<String>,
    V: Into<String>,
{
    let metadata: std::collections::HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}

/// What a handler answers: the message, and whether it was given before.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// The message; in a replay the same as the first time.
    pub message: T,
    /// The request was remembered: nothing was done now.
    pub replayed: bool,
}

impl<T> Answer<T> {
    /// The answer to a request that has just been carried out.
    pub fn first(message: T) -> Self {
        Answer { message, replayed: false }
    }

    /// The answer that was given when the request came first.
    pub fn replay(message: T) -> Self {
        Answer { message, replayed: true }
    }

    /// The gRPC response; a replay carries the header `regulars-replayed: true`.
    pub fn into_response(self) -> Response<T> {
        let mut response = Response::new(self.message);
        if self.replayed {
            response.metadata_mut().insert(REPLAYED_HEADER, MetadataValue::from_static("true"));
        }
        response
    }
}
