//! Putting the pieces together: exporters, providers, the subscriber, and what is global in a process.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use prometheus::Registry;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::metrics::{self, Metrics};
use crate::{LogFormat, TelemetryConfig};

/// Names this suite as the origin of its spans and metrics.
const SCOPE: &str = "regulars";
/// A collector that hangs may hold up the end of the process for about as long as this.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why telemetry could not start, or could not deliver the last of its data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directives of a filter are malformed.
    #[error("{setting} {filter:?} is not a list of directives such as \"info,points=debug\"")]
    Filter {
        /// The setting that holds it.
        setting: &'static str,
        /// What it holds.
        filter: String,
        /// Where it is wrong.
        source: ParseError,
    },
    /// The sampling ratio is not a share.
    #[error("trace_sampling_ratio must lie between 0 and 1, but is {0}")]
    SamplingRatio(f64),
    /// The collector speaks TLS but nothing says whom to trust, or the other way round.
    #[error("otlp_ca_file must be set if, and only if, otlp_endpoint begins with https://")]
    CaFileMismatch,
    /// The certificate authorities cannot be read.
    #[error("otlp_ca_file {} cannot be read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Export needs a tokio runtime, and this thread is in none.
    #[error("export to an OTLP collector must be set up inside a tokio runtime")]
    NoRuntime,
    /// The OTLP exporter refuses its settings.
    #[error("the OTLP exporter cannot be set up")]
    Exporter(#[from] ExporterBuildError),
    /// The Prometheus exporter cannot be registered.
    #[error("the Prometheus exporter cannot be set up")]
    Prometheus(#[source] OTelSdkError),
    /// This process has telemetry, or another `tracing` subscriber, already.
    #[error("telemetry is initialised already in this process")]
    AlreadyInitialised,
    /// Not all spans or metrics reached the collector.
    #[error("the last spans or metrics could not be delivered")]
    Flush(#[source] OTelSdkError),
}

/// Starts telemetry for this process. Call it once, inside the tokio runtime, before anything takes instruments from
/// [`metrics()`](crate::metrics()), and [`Telemetry::shutdown`] at the end.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, Error> {
    if metrics::is_installed() {
        return Err(Error::AlreadyInitialised);
    }
    let telemetry = Telemetry::build(config)?;
    telemetry.subscriber(io::stderr)?.try_init().map_err(|_| Error::AlreadyInitialised)?;
    metrics::install(telemetry.metrics.clone());
    global::set_meter_provider(telemetry.meter_provider.clone());
    if let Some(provider) = &telemetry.tracer_provider {
        global::set_tracer_provider(provider.clone());
    }
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(telemetry)
}

/// Running telemetry: the exporters and the instruments that feed them.
#[derive(Debug)]
pub struct Telemetry {
    config: TelemetryConfig,
    tracer_provider: Option<SdkTracerProvider>,
    meter_provider: SdkMeterProvider,
    registry: Registry,
    metrics: Metrics,
}

impl Telemetry {
    /// Builds exporters and instruments and leaves everything global as it was. For tests; a process wants [`init`].
    pub fn build(config: &TelemetryConfig) -> Result<Telemetry, Error> {
        if !(0.0..=1.0).contains(&config.trace_sampling_ratio) {
            return Err(Error::SamplingRatio(config.trace_sampling_ratio));
        }
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let registry = Registry::new();
        let prometheus = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(Error::Prometheus)?;
        let mut meter_provider = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(prometheus);
        let mut tracer_provider = None;
        if let Some(collector) = Collector::of(config)? {
            meter_provider = meter_provider.with_reader(collector.metric_reader()?);
            tracer_provider = Some(
                SdkTracerProvider::builder()
                    .with_resource(resource)
                    .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_sampling_ratio))))
                    .with_span_processor(collector.span_processor()?)
                    .build(),
            );
        }
        let meter_provider = meter_provider.build();
        let metrics = Metrics::new(&meter_provider.meter(SCOPE));
        Ok(Telemetry { config: config.clone(), tracer_provider, meter_provider, registry, metrics })
    }

    /// The subscriber that logs to `writer` and exports spans. Logs and traces are filtered apart, so that traces may go deeper.
    pub fn subscriber<W>(&self, writer: W) -> Result<impl Subscriber + Send + Sync + use<W>, Error>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = fmt::layer().with_writer(writer);
        let lines = match self.config.log_format {
            LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        };
        let log_filter = filter("log_filter", &self.config.log_filter)?;
        let trace_filter = filter("trace_filter", &self.config.trace_filter)?;
        // Where a span was opened and which thread ran it is noise beside its name and target.
        let spans = self.tracer_provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(SCOPE))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(trace_filter)
        });
        Ok(tracing_subscriber::registry().with(lines.with_filter(log_filter)).with(spans))
    }

    /// The instruments.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What Prometheus scrapes; see [`serve_metrics`](crate::serve_metrics).
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Sends what is left to the collector and stops the exporters.
    pub async fn shutdown(self) -> Result<(), Error> {
        // Flushing waits for a thread that needs this runtime to send, so it must not hold a thread of the runtime.
        let flush = tokio::task::spawn_blocking(move || {
            let spans: OTelSdkResult = self.tracer_provider.map_or(Ok(()), |provider| provider.shutdown());
            let metrics = self.meter_provider.shutdown();
            spans.and(metrics)
        });
        flush.await.expect("flushing neither panics nor is cancelled").map_err(Error::Flush)
    }
}

/// Where to export to, checked.
struct Collector {
    endpoint: String,
    tls: Option<ClientTlsConfig>,
    interval: Duration,
}

impl Collector {
    fn of(config: &TelemetryConfig) -> Result<Option<Collector>, Error> {
        let Some(endpoint) = config.otlp_endpoint.clone() else {
            return Ok(None);
        };
        let tls = match (&config.otlp_ca_file, endpoint.starts_with("https://")) {
            (None, false) => None,
            (Some(path), true) => {
                let pem = std::fs::read(path).map_err(|source| Error::CaFile { path: path.clone(), source })?;
                Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
            }
            (Some(_), false) | (None, true) => return Err(Error::CaFileMismatch),
        };
        // The channel spawns onto the runtime and would panic without one.
        tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let interval = Duration::from_secs(config.export_interval_seconds.get());
        Ok(Some(Collector { endpoint, tls, interval }))
    }

    fn metric_reader(&self) -> Result<PeriodicReader<MetricExporter>, Error> {
        let exporter = self.reached_by(MetricExporter::builder().with_tonic()).build()?;
        Ok(PeriodicReader::builder(exporter).with_interval(self.interval).build())
    }

    fn span_processor(&self) -> Result<BatchSpanProcessor, Error> {
        let exporter = self.reached_by(SpanExporter::builder().with_tonic()).build()?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(self.interval).build();
        Ok(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
    }

    fn reached_by<B: WithExportConfig + WithTonicConfig>(&self, exporter: B) -> B {
        let exporter = exporter.with_endpoint(&self.endpoint).with_timeout(EXPORT_TIMEOUT);
        match &self.tls {
            Some(tls) => exporter.with_tls_config(tls.clone()),
            None => exporter,
        }
    }
}

fn filter(setting: &'static str, directives: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(directives).map_err(|source| Error::Filter { setting, filter: directives.to_owned(), source })
}
