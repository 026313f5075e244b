use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use persistence::on_engine;
use testkit::TestEngine;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Everything that is said about spans, as text.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<String>>);

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0.lock().unwrap().push_str(&format!("[{}] ", attributes.metadata().name()));
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Visit for Recorder {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

/// Statements of one task are recorded on one thread, so these tests have a runtime of one.
#[tokio::test]
async fn sqlite_statements_have_spans_without_values() {
    statements_have_spans(testkit::sqlite().await, "sqlite").await;
}

#[tokio::test]
async fn postgres_statements_have_spans_without_values() {
    statements_have_spans(testkit::postgres().await, "postgresql").await;
}

async fn statements_have_spans(engine: TestEngine, system: &str) {
    let database = engine.open("members", &[]).await;
    let recorder = Recorder::default();
    let _recording = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorder.clone()));
    let mut tx = database.begin().await.unwrap();
    let sql = "INSERT INTO inbox (consumer, source, cursor) VALUES ($1, 'x', 'y')";
    on_engine!(tx, |conn| sqlx::query(sql).bind("13800000001").execute(conn).await.unwrap().rows_affected());
    let sql = "SELECT consumer FROM inbox WHERE consumer = $1";
    let all: Vec<String> = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind("13800000001").fetch_all(conn).await.unwrap());
    let one: Option<String> = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind("nobody").fetch_optional(conn).await.unwrap());
    assert_eq!((all, one), (vec!["13800000001".to_owned()], None));

    let told = recorder.0.lock().unwrap().clone();
    let span = |operation| format!("[sql] otel.kind=\"client\" db.system.name=\"{system}\" db.operation.name=\"{operation}\" ");
    assert_eq!(told, span("INSERT") + &span("SELECT") + &span("SELECT"));
}
