//! What an operator sees of a running suite: logs, traces and metrics.
//!
//! A process calls [`init`] once, early, inside its tokio runtime. From then on every crate simply uses `tracing` for spans and
//! logs and [`metrics()`] for figures; [`grpc::RpcLayer`] and [`grpc::inject`] cover every RPC at both of its ends.
//! Logs go to stderr. Traces and metrics go to an OpenTelemetry collector when one is configured, and metrics can be scraped by
//! Prometheus from [`serve_metrics`].
//!
//! # Conventions
//! * Personal data, member ids, request ids and metadata values are in no span, log line or metric.
//! * An attribute of a metric has few values that are known in advance: a service, a reason, a program.
//! * The span of an RPC is `rpc` at INFO, made by the layer. Below it stand `batch` (DEBUG; fields `executor`, `lane`, `size`), one
//!   transaction of an executor, and `sql` (DEBUG; fields `db.system.name`, `db.operation.name`), one statement, never its parameters.
//!   DEBUG spans are exported as [`TelemetryConfig::trace_filter`] says, whatever the logs show.

mod config;
pub mod grpc;
pub mod metrics;
mod scrape;
mod setup;

pub use config::{LogFormat, TelemetryConfig};
pub use metrics::metrics;
pub use scrape::{MetricsServer, serve_metrics};
pub use setup::{Error, Telemetry, init};
