//! The calling end: the current trace goes along.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::TRACEPARENT;

/// Puts the `traceparent` of the current span into the metadata of a request, so that the next process continues the trace.
/// Does nothing where no traces are exported. For a client's interceptor: `inject(request.metadata_mut())`.
pub fn inject(metadata: &mut impl AsMut<HeaderMap>) {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        let traceparent = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), u8::from(span.is_sampled()));
        let traceparent = HeaderValue::from_str(&traceparent).expect("hexadecimal digits and dashes are a header value");
        metadata.as_mut().insert(HeaderName::from_static(TRACEPARENT), traceparent);
    }
}
