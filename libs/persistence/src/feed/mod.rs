//! The feed: events written by the transactions that cause them, read in an order that loses none.
//!
//! A number taken while writing would lose events: a reader passes number 8 before the transaction that took 7 has committed.
//! So writers only mark a batch of events as pending, and a sequencer numbers what has been committed, per partition and
//! without gaps. In SQLite, whose one writer commits in order, the writing transaction numbers at once.

mod append;
mod position;
mod reader;
mod sequencer;

pub use append::NewEvent;
pub use position::{Position, PositionError};
pub use reader::{FeedError, FeedEvent, FeedReader, Lag, Page};
pub use sequencer::run_sequencer;

/// How many partitions every feed has, for ever: a stream stays in its partition.
pub const PARTITIONS: u8 = 16;

/// The partition of a stream.
pub fn partition_of(stream: &str) -> u8 {
    blake3::hash(stream.as_bytes()).as_bytes()[0] % PARTITIONS
}
