//! A connection to a suite, and calls that are repeated until they are answered.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rpc::{Credential, Peer};
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

/// How long one try of a call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

/// Which suite to call, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Connection {
    /// Where the suite is.
    #[arg(long, value_name = "URL", env = "REGULARS_SERVER", default_value = "http://127.0.0.1:7700")]
    pub(crate) server: String,
    /// The API key to call with.
    #[arg(long, value_name = "KEY", env = "REGULARS_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// PEM file of the authority that signed the server's certificate; for https.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

impl Connection {
    /// A channel with the key. It connects at the first call and again after each loss.
    pub(crate) fn peer(&self) -> anyhow::Result<Peer> {
        let key = self.key.as_deref().context("name an API key with --key or in REGULARS_KEY")?;
        with_key(self.channel()?, key)
    }

    /// A channel without a key.
    pub(crate) fn channel(&self) -> anyhow::Result<Channel> {
        let url = if self.server.contains("://") { self.server.clone() } else { format!("http://{}", self.server) };
        let endpoint = Endpoint::from_shared(url).context("the server's URL is not one, for example http://127.0.0.1:7700")?;
        let mut endpoint = endpoint
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(CONNECT_TIMEOUT);
        match (endpoint.uri().scheme_str(), &self.ca) {
            (Some("http"), None) => {}
            (Some("https"), Some(ca)) => {
                let pem = std::fs::read(ca).with_context(|| format!("{} cannot be read", ca.display()))?;
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
                endpoint = endpoint.tls_config(tls).context("the authority's certificate cannot be used")?;
            }
            (Some("https"), None) => bail!("an https server needs --ca with the authority of its certificate"),
            (Some("http"), Some(_)) => bail!("--ca is for an https server"),
            _ => bail!("the server's URL begins with http:// or https://"),
        }
        Ok(endpoint.connect_lazy())
    }
}

/// The same channel for a caller with another key.
pub(crate) fn with_key(channel: Channel, secret: &str) -> anyhow::Result<Peer> {
    Ok(InterceptedService::new(channel, Credential::new(secret)?))
}

/// A request that is given up after [`CALL_TIMEOUT`].
pub(crate) fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Calls until there is an answer that another try would not change, for as long as `patience` lasts. Whether a call without an
/// answer has taken effect is unknown; its request id makes the next try safe.
pub(crate) async fn persistently<T, F>(patience: Duration, call: impl Fn() -> F) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut delay = RETRY_DELAY_MIN;
    let mut first_failure: Option<Instant> = None;
    loop {
        let status = match call().await {
            Err(status) if is_transient(&status) => status,
            answer => return answer,
        };
        if first_failure.get_or_insert_with(Instant::now).elapsed() + delay > patience {
            return Err(status);
        }
        let asked = status.get_error_details().retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        // Many callers that were cut off together should not come back together.
        let jittered = delay.mul_f64(rand::random_range(0.5..1.0));
        tokio::time::sleep(jittered.max(asked.min(RETRY_DELAY_MAX))).await;
        delay = (delay * 2).min(RETRY_DELAY_MAX);
    }
}

/// Whether the same call may get another answer later. A status with a source was made on this side of the connection: it broke.
pub(crate) fn is_transient(status: &Status) -> bool {
    let code =
        matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled);
    code || status.source().is_some()
}

/// The stable reason of a refusal; the code's name where there is none.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_error_details().error_info().map(|info| info.reason.clone());
    info.filter(|reason| !reason.is_empty()).unwrap_or_else(|| code_name(status.code()).to_owned())
}

/// The first field that a refusal names: of a violated rule, the one that differs from an earlier request, or the kind of an
/// identity that is taken.
pub(crate) fn field(status: &Status) -> String {
    let details = status.get_error_details();
    let violated = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|violation| violation.field.clone());
    let metadata = |key| details.error_info().and_then(|info| info.metadata.get(key).cloned());
    let named = || metadata("field").or_else(|| metadata("kind"));
    violated.or_else(named).unwrap_or_default()
}

/// The answer was given before, nothing was done now.
pub(crate) fn is_replayed<T>(response: &Response<T>) -> bool {
    response.metadata().contains_key(rpc::status::REPLAYED_HEADER)
}

/// A code as the gRPC documentation writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_overloaded_server_is_asked_again_and_a_refusal_is_not() {
        let calls = AtomicUsize::new(0);
        let answer = persistently(Duration::from_secs(60), || async {
            match calls.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Status::unavailable("starting")),
                1 => Err(Status::resource_exhausted("full")),
                _ => Ok(Response::new(7)),
            }
        });
        assert_eq!(answer.await.unwrap().into_inner(), 7);
        assert_eq!(calls.load(Ordering::SeqCst), 3);

        let calls = AtomicUsize::new(0);
        let refused = persistently(Duration::from_secs(60), || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err::<Response<()>, _>(Status::failed_precondition("blocked"))
        });
        assert_eq!(refused.await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn patience_ends() {
        let calls = AtomicUsize::new(0);
        let begun = Instant::now();
        let refused = persistently(Duration::from_millis(300), || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err::<Response<()>, _>(Status::unavailable("gone"))
        });
        assert_eq!(refused.await.unwrap_err().code(), Code::Unavailable);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!((2..=10).contains(&calls.load(Ordering::SeqCst)), "{calls:?}");
    }

    #[test]
    fn a_broken_connection_is_transient_whatever_its_code() {
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert!(is_transient(&broken), "{broken:?}");
        assert!(!is_transient(&Status::internal("the server says so")));
    }

    #[test]
    fn a_server_is_named_by_url_or_address() {
        let connection = |server: &str| Connection { server: server.to_owned(), key: None, ca: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        for good in ["http://127.0.0.1:7700", "127.0.0.1:7700", "localhost:7700"] {
            connection(good).channel().unwrap();
        }
        for bad in ["ftp://x", "https://x", "http://", "not a url"] {
            assert!(connection(bad).channel().is_err(), "{bad}");
        }
        assert!(connection("http://x").peer().unwrap_err().to_string().contains("REGULARS_KEY"));
    }
}
