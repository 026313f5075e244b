//! What a call may cost: time, room among its neighbours, and the size of its message.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Request, Status};

use crate::config::ServerConfig;
use crate::status;

/// What a caller is told to wait when the server is full: long enough for a batch or two to be committed.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// tonic's own timer for `grpc-timeout` runs around every layer and answers CANCELLED. Ours fires this much earlier, so that
/// the caller reads DEADLINE_EXCEEDED.
const AHEAD_OF_TONIC: Duration = Duration::from_millis(2);

/// The limits of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    permits: Arc<Semaphore>,
    deadline_default: Duration,
    deadline_max: Duration,
    message_bytes_max: usize,
}

/// The moment after which nobody waits for the answer. Put into the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Reads the deadline of a call.
pub trait DeadlineExt {
    /// The moment after which nobody waits for the answer: work that has not begun by then should not begin.
    fn deadline(&self) -> Instant;
}

impl<T> DeadlineExt for Request<T> {
    fn deadline(&self) -> Instant {
        self.extensions().get::<Deadline>().expect("the limits layer stands before every handler").0
    }
}

impl Limits {
    pub(crate) fn new(config: &ServerConfig) -> Limits {
        Limits {
            permits: Arc::new(Semaphore::new(config.concurrent_requests_max)),
            deadline_default: Duration::from_millis(config.deadline_ms_default),
            deadline_max: Duration::from_millis(config.deadline_ms_max),
            message_bytes_max: config.message_bytes_max,
        }
    }

    /// Room for one call. A full server refuses at once: a queue here would only add waiting to a call that then fails.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.permits.clone().try_acquire_owned().map_err(|_| {
            telemetry::metrics().refused_by_overload("concurrency");
            status::overloaded("the server has as many calls in work as it admits", RETRY_AFTER)
        })
    }

    /// The deadline that the caller asked for by `grpc-timeout`, no later than the longest that is given.
    pub(crate) fn deadline(&self, headers: &HeaderMap) -> Result<Deadline, Status> {
        let wanted = match headers.get("grpc-timeout") {
            None => self.deadline_default,
            Some(value) => {
                let asked = value
                    .to_str()
                    .ok()
                    .and_then(parse_timeout)
                    .ok_or_else(|| status::bad_request([("grpc-timeout", "must be 1 to 8 digits and one of H, M, S, m, u, n")]))?;
                asked.saturating_sub(AHEAD_OF_TONIC)
            }
        };
        Ok(Deadline(Instant::now() + wanted.min(self.deadline_max)))
    }

    /// The body, failing with RESOURCE_EXHAUSTED as soon as it is larger than admitted.
    pub(crate) fn bounded(&self, body: Body) -> Body {
        let bytes_max = self.message_bytes_max;
        Body::new(Limited::new(body, bytes_max).map_err(move |error| match error.downcast::<LengthLimitError>() {
            Ok(_) => status::with_reason(
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
                format!("the message is larger than {bytes_max} bytes"),
                [("bytes_max", bytes_max.to_string())],
            ),
            Err(other) => match other.downcast::<Status>() {
                Ok(status) => *status,
                Err(other) => Status::from_error(other),
            },
        }))
    }
}

/// `grpc-timeout`: up to eight digits and a unit, as in the gRPC protocol.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_the_protocol_says() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "123456789S", "-1S", "5 S", "5x", "5µ"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
