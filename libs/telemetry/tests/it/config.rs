//! Settings, and what is global.

use telemetry::{Telemetry, TelemetryConfig};

use crate::world::Lines;

fn refusal(config: TelemetryConfig) -> String {
    let built = Telemetry::build(&config).and_then(|telemetry| telemetry.subscriber(std::io::sink).map(drop));
    built.unwrap_err().to_string()
}

#[test]
fn settings_have_defaults_and_unknown_ones_are_refused() {
    let none: TelemetryConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(none, TelemetryConfig::default());
    let some: TelemetryConfig = serde_json::from_str(r#"{"log_format": "json", "metrics_address": "127.0.0.1:9464"}"#).unwrap();
    assert_eq!(some.metrics_address.unwrap().port(), 9464);
    for (wrong, message) in [
        (r#"{"log_fliter": "info"}"#, "unknown field `log_fliter`"),
        (r#"{"log_format": "xml"}"#, "unknown variant `xml`, expected `text` or `json`"),
        (r#"{"export_interval_seconds": 0}"#, "expected a nonzero u64"),
    ] {
        let error = serde_json::from_str::<TelemetryConfig>(wrong).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let default = TelemetryConfig::default;
    assert_eq!(
        refusal(TelemetryConfig { log_filter: "points=loud".to_owned(), ..default() }),
        r#"log_filter "points=loud" is not a list of directives such as "info,points=debug""#
    );
    assert_eq!(
        refusal(TelemetryConfig { trace_sampling_ratio: 1.5, ..default() }),
        "trace_sampling_ratio must lie between 0 and 1, but is 1.5"
    );
    let mismatch = "otlp_ca_file must be set if, and only if, otlp_endpoint begins with https://";
    let endpoint = |url: &str| Some(url.to_owned());
    assert_eq!(refusal(TelemetryConfig { otlp_endpoint: endpoint("https://collector:4317"), ..default() }), mismatch);
    let ca_file = Some("no/such.pem".into());
    assert_eq!(refusal(TelemetryConfig { otlp_endpoint: endpoint("http://c:4317"), otlp_ca_file: ca_file.clone(), ..default() }), mismatch);
    assert_eq!(
        refusal(TelemetryConfig { otlp_endpoint: endpoint("https://c:4317"), otlp_ca_file: ca_file, ..default() }),
        "otlp_ca_file no/such.pem cannot be read"
    );
    // A plain #[test] is in no runtime.
    assert_eq!(
        refusal(TelemetryConfig { otlp_endpoint: endpoint("http://collector:4317"), ..default() }),
        "export to an OTLP collector must be set up inside a tokio runtime"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_refused() {
    let config = TelemetryConfig { otlp_endpoint: Some("not a url".to_owned()), ..TelemetryConfig::default() };
    assert_eq!(refusal(config), "the OTLP exporter cannot be set up");
}

#[test]
fn logs_follow_their_own_filter() {
    let telemetry = Telemetry::build(&TelemetryConfig { log_filter: "warn,it=info".to_owned(), ..TelemetryConfig::default() });
    let lines = Lines::default();
    let kept = lines.clone();
    let subscriber = telemetry.unwrap().subscriber(move || kept.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("one");
        tracing::debug!("two");
        tracing::info!(target: "elsewhere", "three");
        tracing::warn!(target: "elsewhere", "four");
    });
    let text = lines.text();
    assert_eq!(["one", "two", "three", "four"].map(|word| text.contains(word)), [true, false, false, true], "{text}");
}

/// The only test that touches what is global; the others use a subscriber of their own thread and instruments of their own.
#[tokio::test]
async fn a_process_is_initialised_once() {
    telemetry::metrics().rejected("TOO_EARLY");
    let first = telemetry::init(&TelemetryConfig::default()).unwrap();
    telemetry::metrics().rejected("IN_TIME");
    let error = telemetry::init(&TelemetryConfig::default()).unwrap_err();
    assert_eq!(error.to_string(), "telemetry is initialised already in this process");
    let text = prometheus::TextEncoder::new().encode_to_string(&first.registry().gather()).unwrap();
    assert!(text.contains(r#"regulars_rejections_total{reason="IN_TIME"} 1"#), "{text}");
    assert!(!text.contains("TOO_EARLY"), "{text}");
    first.shutdown().await.unwrap();
}
