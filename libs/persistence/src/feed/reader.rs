use std::time::Duration;

use kernel::Timestamp;
use tokio::sync::watch;

use super::{PARTITIONS, Position, index};
use crate::{Connection, Database, DbTime, Error, Tx, on_engine};

/// The longest that [`FeedReader::changed`] waits: a commit of another process does not ring here.
const POLL: Duration = Duration::from_millis(200);
/// A pause after a commit, in which further ones gather: a read costs three statements however much it finds.
const GATHER: Duration = Duration::from_millis(5);

/// Reads a database's feed. Each subscriber has one of its own.
pub struct FeedReader {
    database: Database,
    numbered: watch::Receiver<()>,
}

/// An event as it was written, with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedEvent {
    /// The partition.
    pub partition: u8,
    /// Its number there: from 1, without gaps.
    pub sequence: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// An encoded `regulars.events.v1.Event`.
    pub payload: Vec<u8>,
}

/// Events that follow a position, and the position behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// In order within each partition. Empty when there is nothing new.
    pub events: Vec<FeedEvent>,
    /// Where to read on.
    pub position: Position,
}

/// How far a position is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// Numbered events that were not read.
    pub events: i64,
    /// When the oldest of them was recorded; `None` when there are none.
    pub since: Option<Timestamp>,
}

/// Why a feed cannot be read from a position.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The position belongs to another database's feed.
    #[error("the cursor belongs to another feed")]
    OfAnotherFeed,
    /// Events after the position have been dropped.
    #[error("events after the cursor have been dropped")]
    CursorTooOld,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for FeedError {
    fn from(error: sqlx::Error) -> Self {
        FeedError::Store(error.into())
    }
}

#[derive(sqlx::FromRow)]
struct Head {
    partition: i64,
    head: i64,
    dropped: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    partition: i64,
    sequence: i64,
    at: DbTime,
    payload: Vec<u8>,
}

impl FeedReader {
    /// A reader of a database's feed.
    pub fn new(database: Database) -> FeedReader {
        let numbered = database.numbered();
        FeedReader { database, numbered }
    }

    /// The position before the oldest event that is kept.
    pub async fn oldest(&self) -> Result<Position, Error> {
        self.position(|head| head.dropped).await
    }

    /// The position after the newest event: what a consumer takes before it reads a snapshot.
    pub async fn newest(&self) -> Result<Position, Error> {
        self.position(|head| head.head).await
    }

    /// Reads on from a position, in the given partitions (0 to 15; none means all), about `limit` events at most. A limit
    /// is shared out among the partitions, so that a busy one does not keep the others waiting.
    pub async fn read(&self, position: &Position, partitions: &[u8], limit: u32) -> Result<Page, FeedError> {
        let mut tx = self.database.read().await?;
        let behind = self.behind(&mut tx, position, partitions).await?;
        let mut page = Page { events: Vec::new(), position: *position };
        let Ok(count) = u32::try_from(behind.len()) else { return Ok(page) };
        if count == 0 {
            return Ok(page);
        }
        let from = behind.iter().map(|head| (head.partition, position.after[index(head.partition)])).collect();
        for Row { partition, sequence, at, payload } in rows(&mut tx, from, (limit / count).max(1)).await? {
            let last = &mut page.position.after[index(partition)];
            // Sequences have no gaps, so a gap means that they were dropped since the heads were read.
            if sequence != *last + 1 {
                return Err(FeedError::CursorTooOld);
            }
            *last = sequence;
            let partition = u8::try_from(partition).expect("there are sixteen partitions");
            page.events.push(FeedEvent { partition, sequence, at: at.0, payload });
        }
        Ok(page)
    }

    /// Waits until something new may be there. Returns soon when that happened since the last call, and now and then without
    /// cause.
    pub async fn changed(&mut self) {
        // It cannot close: the database, which is held here, has the sender.
        if tokio::time::timeout(POLL, self.numbered.changed()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }

    /// How far a position is behind.
    pub async fn lag(&self, position: &Position) -> Result<Lag, FeedError> {
        let mut tx = self.database.read().await?;
        let behind = self.behind(&mut tx, position, &[]).await?;
        let events = behind.iter().map(|head| head.head - position.after[index(head.partition)]).sum();
        let from = behind.iter().map(|head| (head.partition, position.after[index(head.partition)])).collect();
        let since = rows(&mut tx, from, 1).await?.into_iter().map(|row| row.at.0).min();
        Ok(Lag { events, since })
    }

    /// The partitions in which something follows the position.
    async fn behind(&self, tx: &mut Tx, position: &Position, partitions: &[u8]) -> Result<Vec<Head>, FeedError> {
        if position.feed != self.database.feed_id() {
            return Err(FeedError::OfAnotherFeed);
        }
        let mut behind = heads(tx).await?;
        behind.retain(|head| partitions.is_empty() || partitions.iter().any(|wanted| i64::from(*wanted) == head.partition));
        for Head { partition, head, dropped } in &behind {
            let after = position.after[index(*partition)];
            if after < *dropped {
                return Err(FeedError::CursorTooOld);
            }
            // A number that was never given: the database was set back to an older state.
            if after > *head {
                return Err(FeedError::OfAnotherFeed);
            }
        }
        behind.retain(|head| head.head > position.after[index(head.partition)]);
        Ok(behind)
    }

    async fn position(&self, sequence: impl Fn(&Head) -> i64) -> Result<Position, Error> {
        let mut after = [0; PARTITIONS as usize];
        for head in heads(&mut self.database.read().await?).await? {
            after[index(head.partition)] = sequence(&head);
        }
        Ok(Position { feed: self.database.feed_id(), after })
    }
}

impl Database {
    /// Drops events recorded before a moment, at most `limit` per partition and call, and returns how many. A position before
    /// them is reported as [`FeedError::CursorTooOld`] from then on.
    pub async fn trim_feed(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        let mut dropped = 0;
        for partition in 0..PARTITIONS {
            dropped += self.trim_partition(i64::from(partition), before, limit).await?;
        }
        Ok(dropped)
    }

    /// Every commit needs the head of a partition, so it is locked last.
    async fn trim_partition(&self, partition: i64, before: Timestamp, limit: u32) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let after: i64 = on_engine!(tx, |conn| sqlx::query_scalar("SELECT dropped FROM feed_heads WHERE partition = $1")
            .bind(partition)
            .fetch_one(conn)
            .await)?;
        let oldest: Vec<(i64, DbTime)> = on_engine!(tx, |conn| sqlx::query_as(
            "SELECT sequence, at FROM events WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(partition)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
        // Only from the front: sequences stay without gaps.
        let Some((last, _)) = oldest.into_iter().take_while(|(_, at)| at.0 < before).last() else { return Ok(0) };
        on_engine!(tx, |conn| sqlx::query("DELETE FROM events WHERE partition = $1 AND sequence <= $2")
            .bind(partition)
            .bind(last)
            .execute(conn)
            .await?
            .rows_affected());
        let moved = on_engine!(tx, |conn| sqlx::query("UPDATE feed_heads SET dropped = $2 WHERE partition = $1 AND dropped = $3")
            .bind(partition)
            .bind(last)
            .bind(after)
            .execute(conn)
            .await?
            .rows_affected());
        if moved == 0 {
            // Another process has dropped them meanwhile.
            return Ok(0);
        }
        tx.commit().await?;
        Ok((last - after).unsigned_abs())
    }
}

async fn heads(tx: &mut Tx) -> Result<Vec<Head>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as("SELECT partition, head, dropped FROM feed_heads ORDER BY partition").fetch_all(conn).await)?)
}

/// Up to `share` events of each partition after the given sequence.
async fn rows(tx: &mut Tx, from: Vec<(i64, i64)>, share: u32) -> Result<Vec<Row>, sqlx::Error> {
    match tx.connection() {
        // One round trip for all partitions.
        Connection::Postgres(conn) => {
            let (partitions, after): (Vec<i64>, Vec<i64>) = from.into_iter().unzip();
            sqlx::query_as(
                "SELECT start.partition, event.sequence, event.at, event.payload
                   FROM unnest($1::BIGINT[], $2::BIGINT[]) AS start (partition, after)
                  CROSS JOIN LATERAL
                        (SELECT sequence, at, payload FROM events
                          WHERE events.partition = start.partition AND events.sequence > start.after
                          ORDER BY sequence LIMIT $3) AS event
                  ORDER BY start.partition, event.sequence",
            )
            .bind(partitions)
            .bind(after)
            .bind(i64::from(share))
            .fetch_all(conn)
            .await
        }
        // SQLite has neither arrays nor LATERAL, and no round trips.
        Connection::Sqlite(conn) => {
            let mut rows = Vec::new();
            for (partition, after) in from {
                let found = sqlx::query_as(
                    "SELECT partition, sequence, at, payload FROM events WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
                );
                rows.extend(found.bind(partition).bind(after).bind(i64::from(share)).fetch_all(&mut *conn).await?);
            }
            Ok(rows)
        }
    }
}
