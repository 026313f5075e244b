use std::sync::{Arc, LazyLock};

use kernel::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{PARTITIONS, partition_of};
use crate::{DbTime, Error, Tx};

/// SQLite takes at most 32,766 values in a statement.
const ROWS_PER_STATEMENT: usize = 4_000;

/// An event to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id, by which a consumer knows it again.
    pub id: Uuid,
    /// What it keeps its order within: the name of the member, or of the aggregate where there is no member.
    pub stream: String,
    /// When it was recorded; retention goes by it.
    pub at: Timestamp,
    /// An encoded `regulars.events.v1.Event`.
    pub payload: Vec<u8>,
}

impl Tx {
    /// Adds an event to those that the commit writes; see [`Tx::append_events`].
    pub async fn append_event(&mut self, event: NewEvent) -> Result<(), Error> {
        self.append_events(vec![event]).await
    }

    /// Adds events to those that the commit writes and numbers, with one statement for all. They appear on the feed once this
    /// transaction has committed, those of a stream in the order of these calls.
    ///
    /// Transactions that write to the same stream must exclude each other *before* they commit, by the lock on the row that
    /// holds the stream's version: the order of their numbers is the order of their commits.
    pub async fn append_events(&mut self, mut events: Vec<NewEvent>) -> Result<(), Error> {
        if self.is_autocommit() {
            return Err(Error::Configuration("an event belongs to the transaction that it tells of".to_owned()));
        }
        self.events.append(&mut events);
        Ok(())
    }
}

/// Events as columns for `unnest`, each with its place among those of its partition.
///
/// [`Tx::append_events`] is what to use. This is for a statement of PostgreSQL that writes events along with everything else of its
/// transaction, to save a round trip: it contains [`numbering_ctes`] and binds these as its first parameters.
/// Nothing that follows it may wait for another transaction.
#[derive(Debug, Default)]
pub struct NumberedEvents {
    /// $1: the partitions that get events, in order.
    pub partitions: Vec<i64>,
    /// $2: how many events each of them gets.
    pub counts: Vec<i64>,
    /// $3: the partition of each event.
    pub partition: Vec<i64>,
    /// $4: its place among the new ones of its partition, from 1.
    pub place: Vec<i64>,
    /// $5
    pub id: Vec<Uuid>,
    /// $6
    pub at: Vec<DbTime>,
    /// $7
    pub payload: Vec<Vec<u8>>,
}

/// CTEs that number and write the events of [`NumberedEvents`] once `fence`, a scalar expression, has been computed: it
/// must be true. What locks anything goes into it, since nothing may be locked after the heads.
pub fn numbering_ctes(fence: &str) -> String {
    format!(
        "heads AS MATERIALIZED (
             SELECT partition, head FROM feed_heads WHERE partition = ANY($1) AND {fence} ORDER BY partition FOR UPDATE),
         moved AS (
             UPDATE feed_heads SET head = heads.head + given.count
               FROM heads JOIN (SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[])) AS given (partition, count)
                    ON given.partition = heads.partition
              WHERE feed_heads.partition = heads.partition),
         numbered AS (
             INSERT INTO events (partition, sequence, event_id, at, payload)
             SELECT event.partition, heads.head + event.place, event.event_id, event.at, event.payload
               FROM (SELECT unnest($3::BIGINT[]), unnest($4::BIGINT[]), unnest($5::UUID[]), unnest($6::TIMESTAMPTZ[]), unnest($7::BYTEA[]))
                         AS event (partition, place, event_id, at, payload)
               JOIN heads ON heads.partition = event.partition)"
    )
}

impl NumberedEvents {
    /// The columns of these events.
    pub fn of(events: Vec<NewEvent>) -> NumberedEvents {
        let mut given = [0; PARTITIONS as usize];
        let mut columns = NumberedEvents::default();
        for NewEvent { id, stream, at, payload } in events {
            let partition = partition_of(&stream);
            given[usize::from(partition)] += 1;
            columns.partition.push(i64::from(partition));
            columns.place.push(given[usize::from(partition)]);
            columns.id.push(id);
            columns.at.push(DbTime(at));
            columns.payload.push(payload);
        }
        let partitions = (0..).zip(given).filter(|(_, count)| *count > 0);
        (columns.partitions, columns.counts) = partitions.unzip();
        columns
    }
}

pub(crate) async fn write_to_postgres(conn: &mut PgConnection, events: Vec<NewEvent>) -> Result<(), sqlx::Error> {
    let NumberedEvents { partitions, counts, partition, place, id, at, payload } = NumberedEvents::of(events);
    static WRITE: LazyLock<Arc<str>> = LazyLock::new(|| format!("WITH {} SELECT 1", numbering_ctes("TRUE")).into());
    let write = sqlx::query(AssertSqlSafe(WRITE.clone()));
    let write = write.bind(partitions).bind(counts).bind(partition).bind(place).bind(id).bind(at).bind(payload);
    write.execute(conn).await?;
    Ok(())
}

/// SQLite's one writer needs no lock.
pub(crate) async fn write_to_sqlite(conn: &mut SqliteConnection, events: Vec<NewEvent>) -> Result<(), sqlx::Error> {
    let NumberedEvents { partitions, counts, partition, place, id, at, payload } = NumberedEvents::of(events);
    let mut before = [0; PARTITIONS as usize];
    for (partition, count) in partitions.into_iter().zip(counts) {
        let head: i64 = sqlx::query_scalar("UPDATE feed_heads SET head = head + $2 WHERE partition = $1 RETURNING head")
            .bind(partition)
            .bind(count)
            .fetch_one(&mut *conn)
            .await?;
        before[super::index(partition)] = head - count;
    }
    let numbers = partition.iter().zip(&place).map(|(partition, place)| (*partition, before[super::index(*partition)] + place));
    let rows: Vec<_> = numbers.zip(id).zip(at).zip(payload).collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO events (partition, sequence, event_id, at, payload) ");
        insert.push_values(rows, |mut row, ((((partition, sequence), id), at), payload)| {
            row.push_bind(partition).push_bind(sequence).push_bind(id).push_bind(at).push_bind(&payload[..]);
        });
        // Only the usual single event is worth a place among the prepared statements.
        insert.build().persistent(rows.len() == 1).execute(&mut *conn).await?;
    }
    Ok(())
}
