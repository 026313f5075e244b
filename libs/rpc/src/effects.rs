//! Bringing about in other services what a database wants there.

use std::time::Duration;

use futures::{StreamExt, stream};
use kernel::Context;
use persistence::{Database, DueEffect, retry};
use telemetry::metrics::EffectMetrics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::status;

/// Effects taken at once, and how many of them are under way at the same time.
const BATCH_MAX: u32 = 64;
const CALLS_MAX: usize = 16;
/// One attempt; the lease outlives a whole batch of attempts that all time out.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(60);
/// How often the database is asked when nothing was due.
const POLL: Duration = Duration::from_millis(250);
/// How often the backlog is counted for the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The call that brings an effect about, or undoes it.
pub trait EffectTarget: Send + Sync + 'static {
    /// Makes the target agree with what is wanted. It may be called again after it has succeeded, and a revoke may overtake its
    /// grant: the target's RPC carries the effect's key and version and remembers both.
    fn ensure(&self, due: &DueEffect) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Works off the effects of one kind.
pub(crate) struct Worker<T> {
    kind: &'static str,
    database: Database,
    context: Context,
    target: T,
    metrics: EffectMetrics,
}

impl<T: EffectTarget> Worker<T> {
    pub(crate) fn new(kind: &'static str, database: Database, context: Context, target: T) -> Worker<T> {
        let metrics = telemetry::metrics().effects(database.name().to_owned(), kind);
        Worker { kind, database, context, target, metrics }
    }

    /// Works until the server stops. Calls under way are finished.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut counted: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            if counted.is_none_or(|counted| counted.elapsed() >= COUNT_INTERVAL) {
                counted = Some(Instant::now());
                self.count().await;
            }
            let worked = match self.work().await {
                Ok(worked) => worked,
                Err(error) => {
                    tracing::warn!(kind = self.kind, error = status::chain(&error), "effects cannot be read or recorded");
                    0
                }
            };
            if worked == 0 {
                shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await;
            }
        }
    }

    /// One batch: taken in one transaction, called outside of any, recorded in another.
    async fn work(&self) -> Result<usize, persistence::Error> {
        let due = retry(|| self.try_take()).await?;
        let taken = due.len();
        let outcomes: Vec<(DueEffect, Result<(), Status>)> = stream::iter(due)
            .map(|effect| async move {
                let outcome = self.attempt(&effect).await;
                (effect, outcome)
            })
            .buffer_unordered(CALLS_MAX)
            .collect()
            .await;
        if !outcomes.is_empty() {
            retry(|| self.try_record(&outcomes)).await?;
        }
        Ok(taken)
    }

    async fn count(&self) {
        let counting = async { self.database.read().await?.effect_backlog().await };
        if let Ok(backlog) = counting.await {
            let mine = backlog.iter().find(|backlog| backlog.kind == self.kind);
            let (waiting, failing) = mine.map_or((0, 0), |mine| (mine.waiting, mine.failing));
            self.metrics.backlog(waiting.unsigned_abs(), failing.unsigned_abs());
        }
    }

    async fn try_take(&self) -> Result<Vec<DueEffect>, persistence::Error> {
        let mut tx = self.database.begin().await?;
        let due = tx.due_effects(self.kind, self.context.now(), LEASE, BATCH_MAX).await?;
        tx.commit().await?;
        Ok(due)
    }

    async fn attempt(&self, due: &DueEffect) -> Result<(), Status> {
        let attempt = tokio::time::timeout(ATTEMPT_MAX, self.target.ensure(due)).await;
        let outcome = attempt.unwrap_or_else(|_| Err(status::deadline_exceeded()));
        if let Err(error) = &outcome {
            log(self.kind, due, error);
        }
        outcome
    }

    async fn try_record(&self, outcomes: &[(DueEffect, Result<(), Status>)]) -> Result<(), persistence::Error> {
        let mut tx = self.database.begin().await?;
        for (due, outcome) in outcomes {
            match outcome {
                Ok(()) => tx.effect_done(&due.effect.key, due.version).await?,
                Err(_) => {
                    let next = self.context.now() + pause_after(due.attempt);
                    tx.effect_failed(&due.effect.key, due.version, next).await?;
                }
            }
        }
        tx.commit().await
    }
}

/// Doubles with each attempt, with jitter, up to five minutes.
fn pause_after(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 16) - 1).expect("it is below sixteen");
    (PAUSE_FIRST * 2_u32.pow(doublings)).min(PAUSE_MAX).mul_f64(rand::random_range(0.5..1.0))
}

/// A target that is away will be back; a target that refuses needs a person. Keys of effects are names, never personal data.
fn log(kind: &str, due: &DueEffect, error: &Status) {
    let (key, version, attempt, code) = (&*due.effect.key, due.version, due.attempt, error.code());
    match code {
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => {
            tracing::debug!(kind, key, version, attempt, ?code, "an effect has to wait for its target");
        }
        _ => tracing::warn!(kind, key, version, attempt, ?code, message = error.message(), "an effect is refused; trying again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        assert!(pause_after(1) <= PAUSE_FIRST);
        assert!(pause_after(5) > PAUSE_FIRST);
        assert!(pause_after(i64::MAX) <= PAUSE_MAX && pause_after(i64::MAX) >= PAUSE_MAX / 2);
    }
}
