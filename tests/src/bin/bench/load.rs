//! Callers, each with one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::calls::{Call, Caller};
use crate::cpu::Meter;
use crate::sample::{Sample, Timing, micros};
use crate::suite::Suite;

/// HTTP/2 connections that the callers share, as behind a load balancer.
const CONNECTIONS: usize = 8;

/// The longest that a load with a given number of calls may take.
const TIME_MAX: Duration = Duration::from_secs(300);

/// How a suite is loaded.
pub(crate) struct Load<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) callers: usize,
    /// Load before the measurement, not counted.
    pub(crate) warmup: Duration,
    /// Length of the measurement. It ends before when there are no more calls.
    pub(crate) time: Duration,
    pub(crate) meter: Option<&'a Meter<'a>>,
}

impl<'a> Load<'a> {
    /// As many calls as there are, without a warm-up.
    pub(crate) fn of_all(suite: &'a Suite, callers: usize) -> Load<'a> {
        Load { suite, callers, warmup: Duration::ZERO, time: TIME_MAX, meter: None }
    }

    /// Measures: `calls` makes the calls by their number. Any error ends the load.
    pub(crate) async fn run(&self, calls: impl Fn(u64) -> Option<Call> + Send + Sync + 'static) -> anyhow::Result<Sample> {
        Ok(self.run_and_keep(calls).await?.0)
    }

    /// Measures, and keeps the names of reservations that were opened.
    pub(crate) async fn run_and_keep(
        &self,
        calls: impl Fn(u64) -> Option<Call> + Send + Sync + 'static,
    ) -> anyhow::Result<(Sample, Vec<String>)> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS.min(self.callers) {
            clients.push(self.suite.caller().await?);
        }
        let (calls, numbers) = (Arc::new(calls), Arc::new(AtomicU64::new(0)));
        let start = Instant::now();
        let end = start + self.warmup + self.time;
        // Callers that are still at work are stopped with the set.
        let mut callers = JoinSet::new();
        for caller in 0..self.callers {
            let (client, calls, numbers) = (clients[caller % clients.len()].clone(), calls.clone(), numbers.clone());
            callers.spawn(call(client, calls, numbers, start, end));
        }
        tokio::time::sleep(self.warmup).await;
        let before = match self.meter {
            Some(meter) => Some((meter, meter.read().await?)),
            None => None,
        };
        let (mut timings, mut reservations) = (Vec::new(), Vec::new());
        while let Some(part) = callers.join_next().await {
            let (part, opened) = part??;
            timings.extend(part);
            reservations.extend(opened);
        }
        ensure!(self.time < TIME_MAX || Instant::now() < end, "a load of a given number of calls did not end in time");
        let last = timings.iter().map(|timing: &Timing| timing.done + 1).max().unwrap_or(0);
        let mut sample = Sample::of(&timings, micros(self.warmup), last.min(micros(self.warmup + self.time)))?;
        if let Some((meter, before)) = before {
            sample.cost = meter.cost(&before, &meter.read().await?, sample.mean_rate());
        }
        Ok((sample, reservations))
    }
}

async fn call(
    client: Caller,
    calls: Arc<impl Fn(u64) -> Option<Call>>,
    numbers: Arc<AtomicU64>,
    start: Instant,
    end: Instant,
) -> anyhow::Result<(Vec<Timing>, Vec<String>)> {
    let (mut timings, mut reservations) = (Vec::new(), Vec::new());
    while Instant::now() < end
        && let Some(call) = calls(numbers.fetch_add(1, Ordering::Relaxed))
    {
        let asked = Instant::now();
        reservations.extend(call.make(&client).await?);
        let done = Instant::now();
        timings.push(Timing { done: micros(done - start), took: micros(done - asked) });
    }
    Ok((timings, reservations))
}
