//! What Prometheus sees.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use telemetry::{Telemetry, TelemetryConfig, serve_metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::world::{SERVICE, start_application};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test]
async fn a_scrape_shows_the_calls_until_shutdown() {
    let telemetry = Telemetry::build(&TelemetryConfig::default()).unwrap();
    let url = start_application(&telemetry).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap() };
    let server = serve_metrics(loopback(), telemetry.registry().clone(), shutdown).await.unwrap();

    LogsServiceClient::connect(url).await.unwrap().export(ExportLogsServiceRequest::default()).await.unwrap();
    let scraped = get(server.address, "/metrics").await;
    assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
    assert!(scraped.contains("content-type: text/plain; version=0.0.4\r\n"), "{scraped}");
    let labels = format!(r#"rpc_method="Export",rpc_service="{SERVICE}",rpc_system="grpc""#);
    for line in [
        format!("rpc_server_call_duration_seconds_count{{rpc_grpc_status_code=\"0\",{labels}}} 1\n"),
        format!("rpc_server_call_duration_seconds_bucket{{rpc_grpc_status_code=\"0\",{labels},le=\"10\"}} 1\n"),
        format!("rpc_server_active_calls{{{labels}}} 0\n"),
    ] {
        assert!(scraped.contains(&line), "{line} is not in\n{scraped}");
    }
    assert!(get(server.address, "/healthz").await.ends_with("ok\n"));
    assert!(get(server.address, "/else").await.starts_with("HTTP/1.1 404"));

    stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_port_in_use_is_an_error_at_once() {
    let telemetry = Telemetry::build(&TelemetryConfig::default()).unwrap();
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve_metrics(address, telemetry.registry().clone(), std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn every_instrument_has_its_name_and_unit() {
    let telemetry = Telemetry::build(&TelemetryConfig::default()).unwrap();
    let metrics = telemetry.metrics();
    let lane = metrics.batches("points", 1);
    lane.taken(5, 12);
    lane.committed(Duration::from_millis(3));
    lane.failed(Duration::from_millis(40));
    metrics.feed("members", "points").lag(Duration::from_millis(1500), 7);
    metrics.rejected("INSUFFICIENT_POINTS");
    metrics.rejected("INSUFFICIENT_POINTS");
    metrics.refused_by_overload("executor_queue");
    metrics.transaction_retried("conflict");
    metrics.points_outstanding("tea", 120_000);
    metrics.points_outstanding("tea", -5);

    let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.registry().gather()).unwrap();
    for line in [
        r#"regulars_batch_size_bucket{executor="points",lane="1",le="4"} 0"#,
        r#"regulars_batch_size_bucket{executor="points",lane="1",le="8"} 1"#,
        r#"regulars_batch_queue_depth{executor="points",lane="1"} 12"#,
        r#"regulars_batch_duration_seconds_bucket{executor="points",lane="1",outcome="committed",le="0.005"} 1"#,
        r#"regulars_batch_duration_seconds_bucket{executor="points",lane="1",outcome="failed",le="0.025"} 0"#,
        r#"regulars_feed_lag_time_seconds{consumer="points",source="members"} 1.5"#,
        r#"regulars_feed_lag_events{consumer="points",source="members"} 7"#,
        r#"regulars_rejections_total{reason="INSUFFICIENT_POINTS"} 2"#,
        r#"regulars_overload_refusals_total{limit="executor_queue"} 1"#,
        r#"regulars_database_retries_total{cause="conflict"} 1"#,
        r#"regulars_points_outstanding{program="tea"} -5"#,
    ] {
        assert!(text.lines().any(|candidate| candidate == line), "{line} is not in\n{text}");
    }
}
