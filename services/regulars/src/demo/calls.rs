//! Calls as the demo's tills make them: repeated until answered, counted and timed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tonic::{Request, Response, Status};

use crate::client::{is_replayed, persistently, reason, timed};

const PATIENCE: Duration = Duration::from_secs(30);
/// Latencies in microseconds, to the longest that a patient call takes, with three digits.
const LATENCY_MAX_MICROS: u64 = 60_000_000;
/// Calls per second are told over this span.
const RATE_SPAN: Duration = Duration::from_secs(2);

/// What has been called.
pub(super) struct Calls {
    latencies: Mutex<Histogram<u64>>,
    made: AtomicU64,
    replayed: AtomicU64,
    differed: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
    begun: Instant,
    rate: Mutex<Rate>,
}

struct Rate {
    since: Instant,
    made_then: u64,
    per_second: f64,
}

/// The figures of calls.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct CallFigures {
    pub(super) made: u64,
    /// In the last moments.
    pub(super) per_second: f64,
    /// Since the beginning.
    pub(super) per_second_mean: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Requests that were sent again and answered as the first time.
    pub(super) replayed: u64,
    /// Answers to requests sent again that were not the first answer. There must be none.
    pub(super) differed: u64,
    /// Refusals by reason.
    pub(super) refused: BTreeMap<String, u64>,
}

impl Calls {
    pub(super) fn new() -> Calls {
        let now = Instant::now();
        let latencies = Histogram::new_with_max(LATENCY_MAX_MICROS, 3).expect("the bounds are those that the histogram asks for");
        Calls {
            latencies: Mutex::new(latencies),
            made: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            differed: AtomicU64::new(0),
            refused: Mutex::default(),
            begun: now,
            rate: Mutex::new(Rate { since: now, made_then: 0, per_second: 0.0 }),
        }
    }

    /// Calls until there is an answer.
    pub(super) async fn call<Q, T, F>(&self, message: Q, send: impl Fn(Request<Q>) -> F) -> Result<T, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let answer = persistently(PATIENCE, || send(timed(message.clone()))).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(LATENCY_MAX_MICROS);
        lock(&self.latencies).saturating_record(micros);
        self.made.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(response) => {
                self.replayed.fetch_add(u64::from(is_replayed(&response)), Ordering::Relaxed);
                Ok(response.into_inner())
            }
            Err(status) => {
                *lock(&self.refused).entry(reason(&status)).or_default() += 1;
                Err(status)
            }
        }
    }

    /// Sends a request twice, as a till does that never saw the first answer, and compares.
    pub(super) async fn call_twice<Q, T, F>(&self, message: Q, send: impl Fn(Request<Q>) -> F) -> Result<T, Status>
    where
        Q: Clone,
        T: PartialEq,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let first = self.call(message.clone(), &send).await?;
        let again = self.call(message, &send).await?;
        self.differed.fetch_add(u64::from(first != again), Ordering::Relaxed);
        Ok(first)
    }

    pub(super) fn figures(&self) -> CallFigures {
        let made = self.made.load(Ordering::Relaxed);
        let per_second = {
            let mut rate = lock(&self.rate);
            let span = rate.since.elapsed();
            if span >= RATE_SPAN {
                let per_second = (made - rate.made_then) as f64 / span.as_secs_f64();
                *rate = Rate { since: Instant::now(), made_then: made, per_second };
            }
            rate.per_second
        };
        let latencies = lock(&self.latencies);
        let milliseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        CallFigures {
            made,
            per_second,
            per_second_mean: made as f64 / self.begun.elapsed().as_secs_f64().max(0.001),
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
            replayed: self.replayed.load(Ordering::Relaxed),
            differed: self.differed.load(Ordering::Relaxed),
            refused: lock(&self.refused).clone(),
        }
    }
}

/// Calls an RPC by its client's method: `call!(calls, client.method(message)).await`.
macro_rules! call {
    ($calls:expr, $client:ident.$method:ident($message:expr)) => {
        $calls.call($message, |request| {
            let mut client = $client.clone();
            async move { client.$method(request).await }
        })
    };
}
pub(super) use call;

/// Nothing that is done under these locks can panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_counted_and_another_answer_is_noticed() {
        let calls = Calls::new();
        let answers = AtomicU64::new(0);
        let send = |_: Request<()>| {
            let answer = answers.fetch_add(1, Ordering::Relaxed);
            async move { Ok::<_, Status>(Response::new(answer)) }
        };
        assert_eq!(calls.call_twice((), send).await.unwrap(), 0);
        let refused = calls.call((), |_: Request<()>| async { Err::<Response<()>, _>(Status::not_found("no")) }).await;
        assert!(refused.is_err());
        let figures = calls.figures();
        assert_eq!((figures.made, figures.differed, figures.replayed), (3, 1, 0));
        assert_eq!(figures.refused, BTreeMap::from([("NOT_FOUND".to_owned(), 1)]));
    }
}
