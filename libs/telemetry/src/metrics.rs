//! Every metric of the suite, declared once.
//!
//! | name | kind, unit | attributes | what it tells |
//! |---|---|---|---|
//! | `rpc.server.call.duration` | histogram, s | `rpc.system`, `rpc.service`, `rpc.method`, `rpc.grpc.status_code` | from the request's arrival to the last byte of the answer |
//! | `rpc.server.active_calls` | up-down counter, {call} | `rpc.system`, `rpc.service`, `rpc.method` | calls under way |
//! | `regulars.batch.size` | histogram, {command} | `executor`, `lane` | commands in one transaction |
//! | `regulars.batch.queue_depth` | gauge, {command} | `executor`, `lane` | commands that waited when the last batch was taken |
//! | `regulars.batch.duration` | histogram, s | `executor`, `lane`, `outcome` | from the begin of the transaction until its commit is durable |
//! | `regulars.rejections` | counter, {rejection} | `reason` | requests refused by a rule of the business |
//! | `regulars.overload.refusals` | counter, {request} | `limit` | requests refused because a bound was reached |
//! | `regulars.database.retries` | counter, {retry} | `cause` | transactions run again |
//! | `regulars.feed.lag.time` | gauge, s | `source`, `consumer` | age of the last event handled, 0 when none is waiting |
//! | `regulars.feed.lag.events` | gauge, {event} | `source`, `consumer` | events not handled yet |
//! | `regulars.effects.waiting` | gauge, {effect} | `database`, `kind` | effects in other services that are still to be brought about |
//! | `regulars.effects.failing` | gauge, {effect} | `database`, `kind` | those among them that were tried at least twice |
//! | `regulars.points.outstanding` | gauge, {point} | `program` | points that members hold |
//!
//! Names and attributes of RPCs follow OpenTelemetry's semantic conventions. In Prometheus dots become underscores and the
//! unit a suffix: `rpc_server_call_duration_seconds`, `regulars_rejections_total`. A `reason`, `limit` or `cause` is
//! `&'static str`, so that no text from a request can become a time series.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use opentelemetry::metrics::noop::NoopMeterProvider;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry::{KeyValue, Value};

/// Commits on a local disk take half a millisecond, a call in trouble ends at its deadline of some seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Powers of two up to the largest batch that an executor takes.
const COMMANDS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

static INSTALLED: OnceLock<Metrics> = OnceLock::new();
static SILENT: LazyLock<Metrics> = LazyLock::new(|| Metrics::new(&NoopMeterProvider::new().meter("regulars")));

/// The instruments of this process. Until [`init`](crate::init) has run they record nothing, and so do handles taken from them.
pub fn metrics() -> &'static Metrics {
    INSTALLED.get().unwrap_or_else(|| &SILENT)
}

pub(crate) fn is_installed() -> bool {
    INSTALLED.get().is_some()
}

pub(crate) fn install(metrics: Metrics) {
    // Only `init` installs, and it has made sure with the global subscriber that it is alone.
    let _ = INSTALLED.set(metrics);
}

/// The instruments; see the table of this module. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) rpc_duration: Histogram<f64>,
    pub(crate) rpc_active: UpDownCounter<i64>,
    batch_size: Histogram<u64>,
    batch_queue_depth: Gauge<u64>,
    batch_duration: Histogram<f64>,
    rejections: Counter<u64>,
    overload_refusals: Counter<u64>,
    database_retries: Counter<u64>,
    feed_lag_time: Gauge<f64>,
    feed_lag_events: Gauge<u64>,
    effects_waiting: Gauge<u64>,
    effects_failing: Gauge<u64>,
    points_outstanding: Gauge<i64>,
}

impl Metrics {
    /// Creates the instruments.
    pub fn new(meter: &Meter) -> Metrics {
        Metrics {
            rpc_duration: meter
                .f64_histogram("rpc.server.call.duration")
                .with_description("Time from the arrival of a request to the last byte of its answer.")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            rpc_active: meter
                .i64_up_down_counter("rpc.server.active_calls")
                .with_description("Calls under way.")
                .with_unit("{call}")
                .build(),
            batch_size: meter
                .u64_histogram("regulars.batch.size")
                .with_description("Commands in one transaction of an executor.")
                .with_unit("{command}")
                .with_boundaries(COMMANDS.to_vec())
                .build(),
            batch_queue_depth: meter
                .u64_gauge("regulars.batch.queue_depth")
                .with_description("Commands that waited when the last batch was taken.")
                .with_unit("{command}")
                .build(),
            batch_duration: meter
                .f64_histogram("regulars.batch.duration")
                .with_description("Time from the begin of a batch's transaction until its commit is durable.")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            rejections: meter
                .u64_counter("regulars.rejections")
                .with_description("Requests refused by a rule of the business, by reason.")
                .with_unit("{rejection}")
                .build(),
            overload_refusals: meter
                .u64_counter("regulars.overload.refusals")
                .with_description("Requests refused because a bound was reached.")
                .with_unit("{request}")
                .build(),
            database_retries: meter
                .u64_counter("regulars.database.retries")
                .with_description("Transactions that were run again.")
                .with_unit("{retry}")
                .build(),
            feed_lag_time: meter
                .f64_gauge("regulars.feed.lag.time")
                .with_description("Age of the last event that a consumer handled, zero when none is waiting.")
                .with_unit("s")
                .build(),
            feed_lag_events: meter
                .u64_gauge("regulars.feed.lag.events")
                .with_description("Events that a consumer has not handled yet.")
                .with_unit("{event}")
                .build(),
            effects_waiting: meter
                .u64_gauge("regulars.effects.waiting")
                .with_description("Effects in other services that are still to be brought about.")
                .with_unit("{effect}")
                .build(),
            effects_failing: meter
                .u64_gauge("regulars.effects.failing")
                .with_description("Effects in other services that were tried at least twice in vain.")
                .with_unit("{effect}")
                .build(),
            points_outstanding: meter
                .i64_gauge("regulars.points.outstanding")
                .with_description("Points that the members of a program hold.")
                .with_unit("{point}")
                .build(),
        }
    }

    /// The metrics of one lane of an executor. Take them once, when the lane starts.
    pub fn batches(&self, executor: &'static str, lane: usize) -> BatchMetrics {
        let lane = KeyValue::new("lane", i64::try_from(lane).expect("an executor has few lanes"));
        let lane = [KeyValue::new("executor", executor), lane];
        let with_outcome = |outcome: &'static str| {
            let [executor, lane] = lane.clone();
            [executor, lane, KeyValue::new("outcome", outcome)]
        };
        BatchMetrics {
            size: self.batch_size.clone(),
            queue_depth: self.batch_queue_depth.clone(),
            duration: self.batch_duration.clone(),
            committed: with_outcome("committed"),
            failed: with_outcome("failed"),
            lane,
        }
    }

    /// The metrics of one consumer of a source's feed. Take them once, when the consumer starts.
    pub fn feed(&self, source: impl Into<Value>, consumer: impl Into<Value>) -> FeedMetrics {
        FeedMetrics {
            lag_time: self.feed_lag_time.clone(),
            lag_events: self.feed_lag_events.clone(),
            consumer: [KeyValue::new("source", source), KeyValue::new("consumer", consumer)],
        }
    }

    /// The metrics of the effects of one kind that a database wants. Take them once, when their worker starts.
    pub fn effects(&self, database: impl Into<Value>, kind: impl Into<Value>) -> EffectMetrics {
        EffectMetrics {
            waiting: self.effects_waiting.clone(),
            failing: self.effects_failing.clone(),
            worker: [KeyValue::new("database", database), KeyValue::new("kind", kind)],
        }
    }

    /// A rule of the business refused a request, for instance `INSUFFICIENT_POINTS`.
    pub fn rejected(&self, reason: &'static str) {
        self.rejections.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// A request was refused because `limit` was reached, for instance `concurrency` or `executor_queue`.
    pub fn refused_by_overload(&self, limit: &'static str) {
        self.overload_refusals.add(1, &[KeyValue::new("limit", limit)]);
    }

    /// A transaction runs again because of `cause`, for instance `conflict` or `deadlock`.
    pub fn transaction_retried(&self, cause: &'static str) {
        self.database_retries.add(1, &[KeyValue::new("cause", cause)]);
    }

    /// How many points the members of a program hold now. `program` is the id of a program that exists.
    pub fn points_outstanding(&self, program: &str, points: i64) {
        self.points_outstanding.record(points, &[KeyValue::new("program", program.to_owned())]);
    }
}

/// The metrics of one lane of an executor.
#[derive(Clone, Debug)]
pub struct BatchMetrics {
    size: Histogram<u64>,
    queue_depth: Gauge<u64>,
    duration: Histogram<f64>,
    lane: [KeyValue; 2],
    committed: [KeyValue; 3],
    failed: [KeyValue; 3],
}

impl BatchMetrics {
    /// A batch of `size` commands was taken out of the queue, which then still held `queue_depth`.
    pub fn taken(&self, size: usize, queue_depth: usize) {
        self.size.record(size as u64, &self.lane);
        self.queue_depth.record(queue_depth as u64, &self.lane);
    }

    /// The batch is durable, `duration` after its transaction began.
    pub fn committed(&self, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), &self.committed);
    }

    /// The batch was rolled back, `duration` after its transaction began.
    pub fn failed(&self, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), &self.failed);
    }
}

/// The metrics of one consumer of a feed.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    lag_time: Gauge<f64>,
    lag_events: Gauge<u64>,
    consumer: [KeyValue; 2],
}

impl FeedMetrics {
    /// Where the consumer stands. Report it after every poll, also an empty or failed one: a gauge keeps its last value.
    pub fn lag(&self, time: Duration, events: u64) {
        self.lag_time.record(time.as_secs_f64(), &self.consumer);
        self.lag_events.record(events, &self.consumer);
    }
}

/// The metrics of the effects of one kind.
#[derive(Clone, Debug)]
pub struct EffectMetrics {
    waiting: Gauge<u64>,
    failing: Gauge<u64>,
    worker: [KeyValue; 2],
}

impl EffectMetrics {
    /// How many effects are still to be brought about, and how many of these were tried at least twice.
    pub fn backlog(&self, waiting: u64, failing: u64) {
        self.waiting.record(waiting, &self.worker);
        self.failing.record(failing, &self.worker);
    }
}
