//! The feed: events written by the transactions that cause them, read in an order that loses none.
//!
//! A number taken while writing would lose events: a reader passes number 8 before the transaction that took 7 has committed.
//! So numbers are taken by the commit itself, behind a lock on the head of each partition that ends with the transaction: number 8
//! is given once 7 is durable, or was never given. Nothing else is locked after a head, so no two commits wait for each other.

pub(crate) mod append;
mod position;
mod reader;

pub use append::{NewEvent, NumberedEvents, numbering_ctes};
pub use position::{Position, PositionError};
pub use reader::{FeedError, FeedEvent, FeedReader, Lag, Page};

/// How many partitions every feed has, for ever: a stream stays in its partition.
pub const PARTITIONS: u8 = 16;

/// The partition of a stream.
pub fn partition_of(stream: &str) -> u8 {
    blake3::hash(stream.as_bytes()).as_bytes()[0] % PARTITIONS
}

fn index(partition: i64) -> usize {
    usize::try_from(partition).expect("there are sixteen partitions")
}
