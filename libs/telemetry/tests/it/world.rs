//! A collector and an application, both real gRPC servers on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use telemetry::grpc::RpcLayer;
use telemetry::{LogFormat, Telemetry, TelemetryConfig};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// The application's only RPC. It stands in for a service of the suite, which this crate must not depend on.
pub(crate) const SERVICE: &str = "opentelemetry.proto.collector.logs.v1.LogsService";
pub(crate) const METHOD: &str = "opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// An OTLP receiver that keeps everything it is sent.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

impl Collector {
    pub(crate) async fn start(tls: Option<Identity>) -> (Collector, SocketAddr) {
        let collector = Collector::default();
        let mut server = Server::builder();
        if let Some(identity) = tls {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let router =
            server.add_service(TraceServiceServer::new(collector.clone())).add_service(MetricsServiceServer::new(collector.clone()));
        let (incoming, address) = listen().await;
        tokio::spawn(router.serve_with_incoming(incoming));
        (collector, address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let scopes = traces.iter().flat_map(|export| &export.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).cloned().collect()
    }

    pub(crate) fn metric(&self, name: &str) -> Option<Metric> {
        let exports = self.metrics.lock().unwrap();
        let scopes = exports.iter().flat_map(|export| &export.resource_metrics).flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).find(|metric| metric.name == name).cloned()
    }

    /// All that was received, as text to search in.
    pub(crate) fn everything(&self) -> String {
        format!("{:?} {:?}", self.traces.lock().unwrap(), self.metrics.lock().unwrap())
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Answers with success, or refuses when the request says so.
struct Application;

#[tonic::async_trait]
impl LogsService for Application {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        tracing::info!("handled");
        tracing::debug_span!(target: "persistence", "sql", db.operation.name = "INSERT").in_scope(|| ());
        if request.into_inner().resource_logs.is_empty() {
            Ok(Response::new(ExportLogsServiceResponse::default()))
        } else {
            Err(Status::internal("refused as asked"))
        }
    }
}

/// Starts the application behind the layer under test and returns its URL.
pub(crate) async fn start_application(telemetry: &Telemetry) -> String {
    let layer = RpcLayer::new(telemetry.metrics(), [METHOD]);
    let router = Server::builder().layer(layer).add_service(LogsServiceServer::new(Application));
    let (incoming, address) = listen().await;
    tokio::spawn(router.serve_with_incoming(incoming));
    format!("http://{address}")
}

async fn listen() -> (TcpListenerStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListenerStream::new(listener), address)
}

/// The configuration of a test: JSON lines, exported to `collector`.
pub(crate) fn exporting_to(collector: SocketAddr) -> TelemetryConfig {
    TelemetryConfig { log_format: LogFormat::Json, otlp_endpoint: Some(format!("http://{collector}")), ..TelemetryConfig::default() }
}

/// Log lines kept in memory.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Attributes as sorted `key=value`.
pub(crate) fn attributes(list: &[KeyValue]) -> Vec<String> {
    let mut list: Vec<_> = list.iter().map(|pair| format!("{}={}", pair.key, plain(pair.value.as_ref()))).collect();
    list.sort();
    list
}

fn plain(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
