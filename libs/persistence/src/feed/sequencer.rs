use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Connection, Database, Engine, Error};

/// The longest wait for commits of other processes, which do not ring here: right after work, and when nothing comes.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_LAST: Duration = Duration::from_millis(250);
/// A pause after each round, in which further commits gather: a round costs a commit however much it numbers.
const GATHER: Duration = Duration::from_millis(5);
/// After an error, so that a database that is away is not hammered.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Numbers committed events until it is cancelled. Any number of processes may run it on one database; they take turns.
///
/// On SQLite there is nothing to do: the writing transaction numbers its events.
pub async fn run_sequencer(database: Database, cancellation: CancellationToken) {
    if database.engine() == Engine::Postgres {
        cancellation.run_until_cancelled(number_for_ever(&database)).await;
    }
    cancellation.cancelled().await;
}

async fn number_for_ever(database: &Database) {
    let mut poll = POLL_FIRST;
    loop {
        match number_pending(database).await {
            Ok(0) => {
                let rung = tokio::time::timeout(poll, database.appended()).await.is_ok();
                poll = if rung { POLL_FIRST } else { (poll * 3 / 2).min(POLL_LAST) };
            }
            Ok(_) => {
                database.announce_numbered();
                poll = POLL_FIRST;
                tokio::time::sleep(GATHER).await;
            }
            Err(error) => {
                tracing::warn!(database = database.name(), error = &error as &dyn std::error::Error, "events could not be numbered");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Numbers what is pending; returns how many events that were.
async fn number_pending(database: &Database) -> Result<i64, Error> {
    let mut tx = database.begin().await?;
    let Connection::Postgres(conn) = tx.connection() else { return Ok(0) };
    // Most polls find nothing and need no lock.
    let pending: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM feed_pending)").fetch_one(&mut *conn).await?;
    if !pending {
        return Ok(0);
    }
    sqlx::query("SELECT partition FROM feed_heads ORDER BY partition FOR UPDATE").execute(&mut *conn).await?;
    // A statement of its own, whose snapshot is taken behind the fence: it sees all that other sequencers have done. A batch
    // it sees is committed; so is every earlier batch of the same streams, because their locks were released first.
    let numbered: i64 = sqlx::query_scalar(
        "WITH taken AS (
             DELETE FROM feed_pending WHERE batch IN (SELECT batch FROM feed_pending ORDER BY batch LIMIT 1000) RETURNING batch),
         numbered AS (
             SELECT event.partition, event.batch, event.ordinal,
                    row_number() OVER (PARTITION BY event.partition ORDER BY event.batch, event.ordinal) AS number
               FROM taken JOIN events AS event ON event.batch = taken.batch),
         appended AS (
             INSERT INTO feed_sequence (partition, sequence, batch, ordinal)
             SELECT numbered.partition, heads.head + numbered.number, numbered.batch, numbered.ordinal
               FROM numbered JOIN feed_heads AS heads ON heads.partition = numbered.partition
             RETURNING partition),
         counted AS (
             SELECT partition, count(*) AS events FROM appended GROUP BY partition),
         moved AS (
             UPDATE feed_heads SET head = feed_heads.head + counted.events
               FROM counted WHERE feed_heads.partition = counted.partition
             RETURNING counted.events)
         SELECT coalesce(sum(events), 0)::BIGINT FROM moved",
    )
    .fetch_one(&mut *conn)
    .await?;
    tx.commit().await?;
    Ok(numbered)
}

impl Database {
    /// Batches of committed events that wait for their numbers. It grows while no sequencer runs; always 0 on SQLite.
    pub async fn feed_pending(&self) -> Result<i64, Error> {
        let mut tx = self.read().await?;
        match tx.connection() {
            Connection::Postgres(conn) => Ok(sqlx::query_scalar("SELECT COUNT(*) FROM feed_pending").fetch_one(conn).await?),
            Connection::Sqlite(_) => Ok(0),
        }
    }
}
