//! How the server layer judges the ways in which a call can end, without a network in between.

use std::convert::Infallible;
use std::future::{pending, ready};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use telemetry::grpc::{ObservedBody, RpcLayer};
use telemetry::{Telemetry, TelemetryConfig};
use tower::{Layer, ServiceExt};

type Frames = BoxStream<'static, Result<Frame<Bytes>, &'static str>>;

struct Observed {
    telemetry: Telemetry,
    layer: RpcLayer,
}

impl Observed {
    fn new() -> Observed {
        let telemetry = Telemetry::build(&TelemetryConfig::default()).unwrap();
        let layer = RpcLayer::new(telemetry.metrics(), ["/test.Feed/Subscribe"]);
        Observed { telemetry, layer }
    }

    /// Calls a service that gives this answer.
    async fn call(&self, answer: Response<StreamBody<Frames>>) -> ObservedBody<StreamBody<Frames>> {
        let mut answer = Some(answer);
        let service = tower::service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(answer.take().unwrap())));
        let request = Request::builder().uri("http://host/test.Feed/Subscribe").body(()).unwrap();
        self.layer.layer(service).oneshot(request).await.unwrap().into_body()
    }

    /// The codes of the calls that have ended.
    fn codes(&self) -> Vec<String> {
        let lines = self.lines("rpc_server_call_duration_seconds_count");
        let code = |line: &String| line.split('"').nth(1).unwrap().to_owned();
        lines.iter().map(code).collect()
    }

    fn active(&self) -> String {
        let lines = self.lines("rpc_server_active_calls{");
        lines[0].rsplit(' ').next().unwrap().to_owned()
    }

    fn lines(&self, prefix: &str) -> Vec<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.telemetry.registry().gather()).unwrap();
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

/// An answer that begins with a message and goes on with `rest`.
fn message_and(rest: impl futures::Stream<Item = Result<Frame<Bytes>, &'static str>> + Send + 'static) -> Response<StreamBody<Frames>> {
    let message = stream::iter([Ok(Frame::data(Bytes::from_static(b"message")))]);
    Response::new(StreamBody::new(message.chain(rest).boxed()))
}

#[tokio::test]
async fn a_stream_ends_with_the_code_in_its_trailers() {
    for (trailers, expected) in [(grpc_status("0"), "0"), (grpc_status("9"), "9"), (grpc_status("77"), "2"), (HeaderMap::new(), "2")] {
        let observed = Observed::new();
        let mut body = observed.call(message_and(stream::iter([Ok(Frame::trailers(trailers))]))).await;
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert_eq!((observed.active().as_str(), observed.codes()), ("1", vec![]), "the call is still under way");
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert_eq!((observed.active().as_str(), observed.codes()), ("0", vec![expected.to_owned()]));
        assert!(body.frame().await.is_none());
        assert_eq!(observed.codes().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_the_caller_leaves_is_cancelled() {
    let observed = Observed::new();
    let mut body = observed.call(message_and(stream::pending())).await;
    assert!(body.frame().await.unwrap().unwrap().is_data());
    drop(body);
    assert_eq!((observed.active().as_str(), observed.codes()), ("0", vec!["1".to_owned()]));
}

#[tokio::test]
async fn a_call_dropped_before_its_answer_is_cancelled() {
    type Answer = Result<Response<StreamBody<Frames>>, Infallible>;
    let observed = Observed::new();
    let service = tower::service_fn(|_: Request<()>| pending::<Answer>());
    let request = Request::builder().uri("http://host/test.Feed/Subscribe").body(()).unwrap();
    let mut call = Box::pin(observed.layer.layer(service).oneshot(request));
    assert!(futures::poll!(&mut call).is_pending());
    assert_eq!(observed.active(), "1");
    drop(call);
    assert_eq!((observed.active().as_str(), observed.codes()), ("0", vec!["1".to_owned()]));
}

#[tokio::test]
async fn a_stream_that_breaks_or_lacks_a_status_is_unknown() {
    let breaks = stream::iter([Err("the connection broke")]).boxed();
    for rest in [breaks, stream::empty().boxed()] {
        let observed = Observed::new();
        let body = observed.call(message_and(rest)).await;
        let _ = body.collect().await;
        assert_eq!((observed.active().as_str(), observed.codes()), ("0", vec!["2".to_owned()]));
    }
}

#[tokio::test]
async fn a_status_in_the_headers_ends_the_call() {
    let empty = || Response::new(StreamBody::new(stream::empty().boxed()));
    let mut refusal = empty();
    *refusal.headers_mut() = grpc_status("16");
    let mut not_grpc = empty();
    *not_grpc.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    for (answer, code) in [(refusal, "16"), (not_grpc, "2")] {
        let observed = Observed::new();
        let _body = observed.call(answer).await;
        assert_eq!((observed.active().as_str(), observed.codes()), ("0", vec![code.to_owned()]));
    }
}
