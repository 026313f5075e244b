use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::Timestamp;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// The moment now.
    fn now(&self) -> Timestamp;
}

/// Where new ids come from.
pub trait Ids: Send + Sync {
    /// A new id, never the same twice, in ascending order for index locality.
    fn uuid(&self) -> Uuid;
}

/// The clock and the source of ids, handed to everything that needs them.
#[derive(Clone)]
pub struct Context {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where new ids come from.
    pub ids: Arc<dyn Ids>,
}

impl Context {
    /// The machine's clock and random ids.
    pub fn system() -> Context {
        Context { clock: Arc::new(SystemClock), ids: Arc::new(RandomIds) }
    }

    /// The moment now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    pub fn uuid(&self) -> Uuid {
        self.ids.uuid()
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }
}

/// A clock that stands still until it is moved; for tests and simulations.
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> FixedClock {
        FixedClock(AtomicI64::new(now.as_micros()))
    }

    /// Shows another moment, earlier or later.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now() + span);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// UUIDs of version 7: time-ordered and random.
pub struct RandomIds;

impl Ids for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "this is where ids come from")]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The same ids in the same order for the same seed; for tests and simulations.
pub struct SeededIds {
    seed: u64,
    next: AtomicU64,
}

impl SeededIds {
    /// Ids of a seed.
    pub fn new(seed: u64) -> SeededIds {
        SeededIds { seed, next: AtomicU64::new(1) }
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&blake3::hash(&[self.seed.to_be_bytes(), number.to_be_bytes()].concat()).as_bytes()[..8]);
        Uuid::new_v8(bytes)
    }
}
