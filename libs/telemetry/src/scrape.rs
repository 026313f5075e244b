//! The endpoint that Prometheus scrapes.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running metrics endpoint.
#[derive(Debug)]
pub struct MetricsServer {
    /// Where it listens: the port that was given out, if port 0 was asked for.
    pub address: SocketAddr,
    /// Ends after the shutdown that was passed in.
    pub task: JoinHandle<io::Result<()>>,
}

/// Serves `/metrics` in Prometheus' text format, and `/healthz`, until `shutdown` completes. Fails if `address` cannot be bound.
/// There is no authentication: bind it where only the operator reaches.
pub async fn serve_metrics(
    address: SocketAddr,
    registry: Registry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<MetricsServer> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/metrics", get(exposition)).route("/healthz", get(|| async { "ok\n" })).with_state(registry);
    let task = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(shutdown).await });
    Ok(MetricsServer { address, task })
}

async fn exposition(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written as text");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
