//! The serving end: a span, a duration and a count of calls under way for every RPC.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, UpDownCounter};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::TRACEPARENT;
use crate::metrics::Metrics;

/// gRPC status codes that this file itself decides on, and the number of them all.
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
const CODES: usize = 17;
/// What semantic conventions count as the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const SERVER_FAULTS: [usize; 6] = [UNKNOWN, 4, 12, 13, 14, 15];

/// Opens a span per RPC, under the caller's trace if a `traceparent` came along, and records its duration and status code.
///
/// The code is read where gRPC puts it, in the trailers. So this layer belongs inside the one for gRPC-Web, which turns
/// trailers into data, and outside of all that refuse calls (authentication, limits), so that refusals are seen as well.
/// A call that the caller gives up before the end counts as CANCELLED.
#[derive(Clone, Debug)]
pub struct RpcLayer {
    methods: Arc<Methods>,
}

impl RpcLayer {
    /// `methods` are the RPCs that the server has, such as `regulars.points.v1.PointsService/Award`, with or without a slash in
    /// front. A call of anything else is reported as `other`: callers cannot make up names of spans and time series.
    pub fn new(metrics: &Metrics, methods: impl IntoIterator<Item = impl AsRef<str>>) -> RpcLayer {
        let known = methods.into_iter().map(|method| {
            let name = method.as_ref().trim_start_matches('/');
            let (service, rpc) = name.split_once('/').unwrap_or((name, ""));
            (format!("/{name}"), Arc::new(Method::new(metrics, name, service, rpc)))
        });
        let known = known.collect();
        let other = Arc::new(Method::new(metrics, "other", "other", "other"));
        RpcLayer { methods: Arc::new(Methods { known, other }) }
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, methods: self.methods.clone() }
    }
}

/// The methods of a server by path.
#[derive(Debug)]
struct Methods {
    known: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

/// What is the same in all calls of a method, made once: a call allocates no attributes.
#[derive(Debug)]
struct Method {
    name: String,
    service: String,
    rpc: String,
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    attributes: [KeyValue; 3],
    attributes_by_code: [[KeyValue; 4]; CODES],
}

impl Method {
    fn new(metrics: &Metrics, name: &str, service: &str, rpc: &str) -> Method {
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", rpc.to_owned()),
        ];
        let attributes_by_code = std::array::from_fn(|code| {
            let [system, service, rpc] = attributes.clone();
            [system, service, rpc, KeyValue::new("rpc.grpc.status_code", code as i64)]
        });
        Method {
            name: name.to_owned(),
            service: service.to_owned(),
            rpc: rpc.to_owned(),
            duration: metrics.rpc_duration.clone(),
            active: metrics.rpc_active.clone(),
            attributes,
            attributes_by_code,
        }
    }
}

/// One call. Dropping it ends its span and records it, however it ended.
struct Call {
    method: Arc<Method>,
    span: Span,
    started: Instant,
    code: usize,
}

impl Call {
    fn start(method: Arc<Method>, headers: &HeaderMap) -> Call {
        let span = tracing::info_span!(
            parent: None,
            "rpc",
            otel.name = method.name,
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = method.service,
            rpc.method = method.rpc,
            rpc.grpc.status_code = field::Empty,
            otel.status_code = field::Empty,
        );
        if headers.contains_key(TRACEPARENT) {
            let parent = TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &Traceparent(headers));
            // Fails only where no traces are exported; then there is nothing to connect.
            let _ = span.set_parent(parent);
        }
        method.active.add(1, &method.attributes);
        Call { method, span, started: Instant::now(), code: CANCELLED }
    }

    fn end(mut self, code: usize) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Call { method, span, started, code } = self;
        method.active.add(-1, &method.attributes);
        method.duration.record(started.elapsed().as_secs_f64(), &method.attributes_by_code[*code]);
        span.record("rpc.grpc.status_code", *code);
        if SERVER_FAULTS.contains(code) {
            span.record("otel.status_code", "error");
        }
    }
}

/// Shows the propagator one header only. `tracestate` is free text of the caller and would be exported with the span.
struct Traceparent<'a>(&'a HeaderMap);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT { self.0.get(key)?.to_str().ok() } else { None }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// The status code in headers or trailers. A code that gRPC does not know is UNKNOWN.
fn status_code(headers: &HeaderMap) -> Option<usize> {
    let code = headers.get("grpc-status")?;
    let code = code.to_str().ok().and_then(|text| text.parse().ok());
    Some(code.filter(|code| *code < CODES).unwrap_or(UNKNOWN))
}

/// A server whose RPCs are observed; made by [`RpcLayer`].
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    methods: Arc<Methods>,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<ObservedBody<R>>;
    type Error = S::Error;
    type Future = ObservedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = self.methods.known.get(request.uri().path()).unwrap_or(&self.methods.other);
        let call = Call::start(method.clone(), request.headers());
        let inner = call.span.in_scope(|| self.inner.call(request));
        ObservedFuture { inner, call: Some(call) }
    }
}

pin_project! {
    /// The answer to an observed call, until its headers are there.
    pub struct ObservedFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F, R, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<ObservedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let call = this.call.as_ref().expect("a future is not polled after it is ready");
        let answer = ready!(call.span.in_scope(|| this.inner.poll(cx)));
        let call = this.call.take().expect("it was there a moment ago");
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                call.end(UNKNOWN);
                return Poll::Ready(Err(error));
            }
        };
        // A refusal has no body and its status in the headers. What has neither trailers to come nor success by HTTP is not gRPC.
        let is_grpc = response.status().is_success() && !response.body().is_end_stream();
        let ended = match status_code(response.headers()) {
            None if !is_grpc => Some(UNKNOWN),
            code => code,
        };
        let call = match ended {
            Some(code) => {
                call.end(code);
                None
            }
            None => Some(call),
        };
        Poll::Ready(Ok(response.map(|inner| ObservedBody { inner, call })))
    }
}

pin_project! {
    /// The body of an observed answer. The call ends with its trailers.
    pub struct ObservedBody<B> {
        #[pin]
        inner: B,
        call: Option<Call>,
    }
}

impl<B: Body> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(call) = this.call.as_ref() else {
            return this.inner.poll_frame(cx);
        };
        let frame = ready!(call.span.in_scope(|| this.inner.poll_frame(cx)));
        let code = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| status_code(trailers).unwrap_or(UNKNOWN)),
            Some(Err(_)) | None => Some(UNKNOWN),
        };
        if let Some(code) = code
            && let Some(call) = this.call.take()
        {
            call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
