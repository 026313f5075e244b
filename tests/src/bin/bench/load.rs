//! Tills that award, one call at a time each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use hdrhistogram::Histogram;
use kernel::Uuid;
use proto::common::Money;
use proto::points::{AwardRequest, PurchaseInput};

use crate::suite::{Client, PROGRAM, Suite};

/// HTTP/2 connections that the callers share, as behind a load balancer.
const CONNECTIONS: usize = 8;

/// Whom the awards are for.
#[derive(Clone, Copy)]
pub(crate) struct Members(u64);

impl Members {
    pub(crate) fn spread(members: u64) -> Members {
        Members(members)
    }

    pub(crate) fn one() -> Members {
        Members(1)
    }

    fn name(self, number: u64) -> String {
        // A multiplicative hash: neighbours in time are no neighbours in the index.
        let member = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.0;
        format!("{PROGRAM}/members/{}", Uuid::from_u128(u128::from(member)))
    }
}

/// What a load came to.
pub(crate) struct Run {
    pub(crate) awards: u64,
    pub(crate) seconds: f64,
    pub(crate) micros: Histogram<u64>,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.awards as f64 / self.seconds
    }

    pub(crate) fn ms_at(&self, share: f64) -> f64 {
        self.micros.value_at_quantile(share) as f64 / 1000.0
    }
}

/// Lets so many callers award for a time, after a warm-up that is not counted. Any error ends the run.
pub(crate) async fn run(suite: &Suite, callers: usize, members: Members, warmup: Duration, time: Duration) -> anyhow::Result<Run> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS.min(callers) {
        clients.push(suite.client().await?);
    }
    let numbers = Arc::new(AtomicU64::new(0));
    let begin = Instant::now() + warmup;
    let end = begin + time;
    let tasks = (0..callers).map(|caller| {
        let (client, numbers) = (clients[caller % clients.len()].clone(), numbers.clone());
        async move { tokio::spawn(call(client, numbers, members, begin, end)).await? }
    });
    let mut micros = Histogram::new(3)?;
    for part in try_join_all(tasks).await? {
        micros.add(part)?;
    }
    Ok(Run { awards: micros.len(), seconds: time.as_secs_f64(), micros })
}

async fn call(
    mut client: Client,
    numbers: Arc<AtomicU64>,
    members: Members,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut micros = Histogram::new(3)?;
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(micros);
        }
        client.award(award(members.name(numbers.fetch_add(1, Ordering::Relaxed)))).await?;
        let done = Instant::now();
        if start >= begin && done <= end {
            micros.record(u64::try_from((done - start).as_micros())?)?;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a till's ids are its own")]
fn award(member: String) -> AwardRequest {
    let id = Uuid::now_v7();
    AwardRequest {
        parent: PROGRAM.to_owned(),
        member,
        purchase: Some(PurchaseInput {
            purchase_id: id.to_string(),
            net: Some(Money { currency_code: "CNY".to_owned(), minor_units: 2933 }),
            lines: Vec::new(),
            store: format!("{PROGRAM}/stores/s1"),
            terminal: String::new(),
            channel: "store".to_owned(),
            offer: String::new(),
            occur_time: None,
            redemptions: Vec::new(),
        }),
        historical: false,
        request_id: id.to_string(),
    }
}
