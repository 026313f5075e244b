//! What tests of every crate share: fresh databases on both engines, a fixed clock with seeded ids, and waiting for a condition.
//!
//! A test is written once, takes a [`TestEngine`] and is run on each engine by [`on_each_engine!`]. The crate that uses the
//! macro needs `tokio` among its dependencies.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Context, FixedClock, SeededIds, Timestamp};
use tokio::time::Instant;

mod engine;

pub use engine::{TestEngine, postgres, sqlite};

/// Runs tests of the form `async fn test(engine: TestEngine)` on each engine, each with a database of its own.
/// Once per module, since it makes the modules `sqlite` and `postgres`.
#[macro_export]
macro_rules! on_each_engine {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::sqlite().await).await
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::postgres().await).await
            })+
        }
    };
}

/// Thursday 2026-01-15 10:00 UTC: where the clock of [`context`] begins.
pub const START: Timestamp = Timestamp::from_micros(1_768_471_200_000_000);

/// A clock that stands at [`START`] until the test moves it, and ids that are the same in every run.
pub fn context() -> (Context, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at(START));
    (Context { clock: clock.clone(), ids: Arc::new(SeededIds::new(1)) }, clock)
}

/// How long [`eventually`] waits before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// Asks again until the answer is there (`true`, `Some` or `Ok`) and returns what it holds. Panics after twenty seconds.
pub async fn eventually<O: Outcome, F: Future<Output = O>>(ask: impl Fn() -> F) -> O::Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match ask().await.settled() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("still not so after {DEADLINE:?}: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What [`eventually`] can wait for.
pub trait Outcome {
    /// What is there in the end.
    type Value;

    /// The value, or a text that says what is still wrong.
    fn settled(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn settled(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn settled(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn settled(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}
