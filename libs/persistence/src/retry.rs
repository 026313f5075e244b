use std::time::Duration;

use crate::IsRetryable;

const ATTEMPTS_MAX: u32 = 10;
const DELAY_MS_FIRST: u64 = 2;
const DELAY_MS_MAX: u64 = 200;

/// Runs an attempt again while it collides with other transactions, with growing, jittered pauses, at most ten times.
/// An attempt is a whole transaction and does nothing that cannot be done twice.
pub async fn retry<T, E: IsRetryable, F: Future<Output = Result<T, E>>>(attempt: impl Fn() -> F) -> Result<T, E> {
    let mut delay_ms = DELAY_MS_FIRST;
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(delay_ms, "running a transaction again");
                telemetry::metrics().transaction_retried("collision");
                tokio::time::sleep(Duration::from_millis(rand::random_range(delay_ms / 2..=delay_ms))).await;
                delay_ms = (delay_ms * 2).min(DELAY_MS_MAX);
            }
            done => return done,
        }
    }
    attempt().await
}
