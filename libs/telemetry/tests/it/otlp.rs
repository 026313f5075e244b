//! What arrives at a collector.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use telemetry::grpc::inject;
use telemetry::{Telemetry, TelemetryConfig};
use tonic::transport::{Channel, Endpoint, Identity};
use tonic::{Code, Request};
use tracing::Instrument;

use crate::world::{Collector, Lines, METHOD, SERVICE, attributes, exporting_to, start_application};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID: &str = "00f067aa0ba902b7";
/// Stands for a member's data that a caller put where it should not be.
const MARKER: &str = "zhang-wei-13800001234";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn connect(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

fn log_to(lines: &Lines, telemetry: &Telemetry) -> tracing::subscriber::DefaultGuard {
    let lines = lines.clone();
    tracing::subscriber::set_default(telemetry.subscriber(move || lines.clone()).unwrap())
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
}

#[tokio::test]
async fn a_call_arrives_as_span_and_metric_under_the_callers_trace_and_without_its_metadata() {
    let (collector, address) = Collector::start(None).await;
    let telemetry = Telemetry::build(&exporting_to(address)).unwrap();
    let lines = Lines::default();
    let _guard = log_to(&lines, &telemetry);
    let url = start_application(&telemetry).await;

    let mut request = Request::new(ExportLogsServiceRequest::default());
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{TRACE_ID}-{PARENT_ID}-01").parse().unwrap());
    metadata.insert("tracestate", format!("till={MARKER}").parse().unwrap());
    metadata.insert("baggage", format!("member={MARKER}").parse().unwrap());
    metadata.insert("authorization", format!("Bearer {MARKER}").parse().unwrap());
    metadata.insert("x-member", MARKER.parse().unwrap());
    LogsServiceClient::new(connect(&url).await).export(request).await.unwrap();
    telemetry.shutdown().await.unwrap();

    let spans = collector.spans();
    let rpc = named(&spans, METHOD);
    assert_eq!(rpc.kind(), SpanKind::Server);
    assert_eq!((hex(&rpc.trace_id).as_str(), hex(&rpc.parent_span_id).as_str()), (TRACE_ID, PARENT_ID));
    assert_eq!(rpc.trace_state, "");
    let of_rpc: Vec<_> = attributes(&rpc.attributes).into_iter().filter(|pair| pair.starts_with("rpc.")).collect();
    let service = format!("rpc.service={SERVICE}");
    assert_eq!(of_rpc, ["rpc.grpc.status_code=0", "rpc.method=Export", &service, "rpc.system=grpc"]);
    assert_eq!(rpc.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["handled"]);

    // The SQL span is DEBUG: exported below the RPC, and not in the logs.
    let sql = named(&spans, "sql");
    assert_eq!(sql.parent_span_id, rpc.span_id);
    assert_eq!(spans.len(), 2, "the exporter's own calls are not traced: {spans:#?}");

    let metric = collector.metric("rpc.server.call.duration").unwrap();
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = metric.data else { panic!("a duration is a histogram") };
    let [point] = &histogram.data_points[..] else { panic!("one method with one code is one time series") };
    assert_eq!(attributes(&point.attributes), of_rpc);
    assert_eq!(point.count, 1);

    let line: serde_json::Value = serde_json::from_str(lines.text().trim()).unwrap();
    assert_eq!(line["message"], "handled");
    assert_eq!(line["span"]["rpc.method"], "Export");
    for seen in [collector.everything(), lines.text()] {
        assert!(!seen.contains(MARKER), "{seen}");
    }
}

#[tokio::test]
async fn an_internal_error_and_an_unknown_rpc_are_errors_of_the_server() {
    let (collector, address) = Collector::start(None).await;
    let telemetry = Telemetry::build(&exporting_to(address)).unwrap();
    let _guard = log_to(&Lines::default(), &telemetry);
    let channel = connect(&start_application(&telemetry).await).await;

    let refuse = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default()] };
    let status = LogsServiceClient::new(channel.clone()).export(refuse).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let mut stranger = tonic::client::Grpc::new(channel);
    stranger.ready().await.unwrap();
    let path = format!("/{MARKER}/Probe").parse().unwrap();
    let codec = tonic_codec();
    let status = stranger.unary(Request::new(ExportLogsServiceRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    telemetry.shutdown().await.unwrap();

    let spans = collector.spans();
    for (name, code) in [(METHOD, "rpc.grpc.status_code=13"), ("other", "rpc.grpc.status_code=12")] {
        let span = named(&spans, name);
        assert!(attributes(&span.attributes).contains(&code.to_owned()), "{span:#?}");
        assert_eq!(span.status.as_ref().unwrap().code(), StatusCode::Error);
        assert!(span.parent_span_id.is_empty(), "without traceparent a call begins a trace");
    }
    assert!(!collector.everything().contains(MARKER));
}

/// The codec of the application's messages, for calls that no generated client makes.
fn tonic_codec() -> impl tonic::codec::Codec<
    Encode = ExportLogsServiceRequest,
    Decode = opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse,
> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test]
async fn an_interceptor_carries_the_trace_into_the_next_process() {
    let (collector, address) = Collector::start(None).await;
    let telemetry = Telemetry::build(&exporting_to(address)).unwrap();
    let _guard = log_to(&Lines::default(), &telemetry);
    let channel = connect(&start_application(&telemetry).await).await;
    let mut client = LogsServiceClient::with_interceptor(channel, |mut request: Request<()>| {
        inject(request.metadata_mut());
        Ok(request)
    });

    let call = client.export(ExportLogsServiceRequest::default());
    call.instrument(tracing::info_span!("effect")).await.unwrap();
    telemetry.shutdown().await.unwrap();

    let spans = collector.spans();
    let (effect, rpc) = (named(&spans, "effect"), named(&spans, METHOD));
    assert_eq!(rpc.trace_id, effect.trace_id);
    assert_eq!(rpc.parent_span_id, effect.span_id);
}

#[tokio::test]
async fn of_a_ratio_of_zero_only_traces_decided_on_elsewhere_are_recorded() {
    let (collector, address) = Collector::start(None).await;
    let config = TelemetryConfig { trace_sampling_ratio: 0.0, ..exporting_to(address) };
    let telemetry = Telemetry::build(&config).unwrap();
    let _guard = log_to(&Lines::default(), &telemetry);
    let mut client = LogsServiceClient::new(connect(&start_application(&telemetry).await).await);

    client.export(ExportLogsServiceRequest::default()).await.unwrap();
    let mut request = Request::new(ExportLogsServiceRequest::default());
    request.metadata_mut().insert("traceparent", format!("00-{TRACE_ID}-{PARENT_ID}-01").parse().unwrap());
    client.export(request).await.unwrap();
    telemetry.shutdown().await.unwrap();

    let traces: Vec<_> = collector.spans().iter().map(|span| hex(&span.trace_id)).collect();
    assert_eq!(traces, [TRACE_ID, TRACE_ID], "the RPC and its statement, of the second call only");
}

#[tokio::test]
async fn a_collector_is_reached_by_tls() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let (collector, address) = Collector::start(Some(Identity::from_pem(&certificate, key))).await;
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), certificate).unwrap();
    let telemetry = Telemetry::build(&TelemetryConfig {
        otlp_endpoint: Some(format!("https://localhost:{}", address.port())),
        otlp_ca_file: Some(ca_file.path().to_owned()),
        ..TelemetryConfig::default()
    })
    .unwrap();
    let guard = log_to(&Lines::default(), &telemetry);
    tracing::info_span!("kept secret").in_scope(|| ());
    drop(guard);
    telemetry.shutdown().await.unwrap();
    named(&collector.spans(), "kept secret");
}

#[tokio::test]
async fn a_collector_that_is_gone_is_an_error_at_the_end_and_nothing_worse() {
    let (_, address) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let telemetry = Telemetry::build(&exporting_to(address)).unwrap();
    let guard = log_to(&Lines::default(), &telemetry);
    let url = start_application(&telemetry).await;
    LogsServiceClient::new(connect(&url).await).export(ExportLogsServiceRequest::default()).await.unwrap();
    drop(guard);
    let error = telemetry.shutdown().await.unwrap_err();
    assert_eq!(error.to_string(), "the last spans or metrics could not be delivered");
}
