//! The settings of telemetry.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to log and where traces and metrics go. Every setting has a default; an unknown one is refused.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The name of this process in traces and metrics (`service.name`).
    pub service_name: String,
    /// Which log lines are written, as directives such as `info,points=debug`. By default the exporters only complain.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which spans are exported as traces, in the form of `log_filter`. The default adds SQL and batches to the RPCs.
    pub trace_filter: String,
    /// The share of traces that are recorded, from 0 to 1. A trace that begins elsewhere keeps the decision made there.
    pub trace_sampling_ratio: f64,
    /// The OTLP collector (gRPC), such as `http://collector:4317`. Without one nothing is exported. The exporter also reads
    /// `OTEL_EXPORTER_OTLP_HEADERS` (credentials) and `OTEL_RESOURCE_ATTRIBUTES` (which replica this is) from the environment.
    pub otlp_endpoint: Option<String>,
    /// The PEM file with the authorities that the collector's certificate is checked against. Needed exactly for `https`.
    pub otlp_ca_file: Option<PathBuf>,
    /// How often metrics and finished spans are sent to the collector.
    pub export_interval_seconds: NonZeroU64,
    /// Where Prometheus may scrape `/metrics`. The library opens no port by itself: see [`serve_metrics`](crate::serve_metrics).
    pub metrics_address: Option<SocketAddr>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        TelemetryConfig {
            service_name: "regulars".to_owned(),
            log_filter: "info,opentelemetry=warn".to_owned(),
            log_format: LogFormat::Text,
            trace_filter: "info,persistence=debug".to_owned(),
            trace_sampling_ratio: 1.0,
            otlp_endpoint: None,
            otlp_ca_file: None,
            export_interval_seconds: NonZeroU64::new(10).expect("ten is not zero"),
            metrics_address: None,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}
