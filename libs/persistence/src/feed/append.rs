use kernel::Timestamp;
use sqlx::{PgConnection, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{PARTITIONS, partition_of};
use crate::{Connection, DbTime, Error, Tx};

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
    /// Writes an event; see [`Tx::append_events`].
    pub async fn append_event(&mut self, event: NewEvent) -> Result<(), Error> {
        self.append_events(vec![event]).await
    }

    /// Writes events with one statement. They appear on the feed once this transaction has committed, those of a stream in
    /// the order in which they are written.
    ///
    /// Transactions that write to the same stream must exclude each other *before* they get here, by the lock on the row that
    /// holds the stream's version: the order of their numbers is the order of these calls.
    pub async fn append_events(&mut self, events: Vec<NewEvent>) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        match self.connection() {
            Connection::Postgres(conn) => append_pending(conn, events).await?,
            Connection::Sqlite(conn) => append_numbered(conn, &events).await?,
        }
        self.mark_appended();
        Ok(())
    }
}

async fn append_pending(conn: &mut PgConnection, events: Vec<NewEvent>) -> Result<(), sqlx::Error> {
    let mut partitions = Vec::with_capacity(events.len());
    let mut ids = Vec::with_capacity(events.len());
    let mut moments = Vec::with_capacity(events.len());
    let mut payloads = Vec::with_capacity(events.len());
    for NewEvent { id, stream, at, payload } in events {
        partitions.push(i64::from(partition_of(&stream)));
        ids.push(id);
        moments.push(DbTime(at));
        payloads.push(payload);
    }
    // The batch is drawn anew by each statement and not once per transaction: a transaction that writes, then waits for the
    // lock of another stream and writes again, must not put its second events before those it has waited for.
    sqlx::query(
        "WITH drawn AS MATERIALIZED (SELECT nextval('feed_batches') AS batch),
              pending AS (INSERT INTO feed_pending (batch) SELECT batch FROM drawn)
         INSERT INTO events (batch, ordinal, partition, event_id, at, payload)
         SELECT drawn.batch, event.ordinal, event.partition, event.event_id, event.at, event.payload
           FROM drawn, unnest($1::BIGINT[], $2::UUID[], $3::TIMESTAMPTZ[], $4::BYTEA[])
                WITH ORDINALITY AS event (partition, event_id, at, payload, ordinal)",
    )
    .bind(partitions)
    .bind(ids)
    .bind(moments)
    .bind(payloads)
    .execute(conn)
    .await?;
    Ok(())
}

async fn append_numbered(conn: &mut SqliteConnection, events: &[NewEvent]) -> Result<(), sqlx::Error> {
    let batch: i64 = sqlx::query_scalar("UPDATE feed_batches SET batch = batch + 1 RETURNING batch").fetch_one(&mut *conn).await?;
    let partitions: Vec<u8> = events.iter().map(|event| partition_of(&event.stream)).collect();
    let mut last = [0; PARTITIONS as usize];
    for partition in 0..PARTITIONS {
        let count = partitions.iter().filter(|other| **other == partition).count() as i64;
        if count > 0 {
            let head: i64 = sqlx::query_scalar("UPDATE feed_heads SET head = head + $2 WHERE partition = $1 RETURNING head")
                .bind(i64::from(partition))
                .bind(count)
                .fetch_one(&mut *conn)
                .await?;
            last[usize::from(partition)] = head - count;
        }
    }
    let rows: Vec<(i64, u8, &NewEvent)> =
        (1..).zip(partitions).zip(events).map(|((ordinal, partition), event)| (ordinal, partition, event)).collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO events (batch, ordinal, partition, event_id, at, payload) ");
        insert.push_values(rows, |mut row, (ordinal, partition, event)| {
            row.push_bind(batch).push_bind(*ordinal).push_bind(i64::from(*partition));
            row.push_bind(event.id).push_bind(DbTime(event.at)).push_bind(&event.payload[..]);
        });
        // Only the usual single event is worth a place among the prepared statements.
        insert.build().persistent(rows.len() == 1).execute(&mut *conn).await?;
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO feed_sequence (partition, sequence, batch, ordinal) ");
        insert.push_values(rows, |mut row, (ordinal, partition, _)| {
            let sequence = &mut last[usize::from(*partition)];
            *sequence += 1;
            row.push_bind(i64::from(*partition)).push_bind(*sequence).push_bind(batch).push_bind(*ordinal);
        });
        insert.build().persistent(rows.len() == 1).execute(&mut *conn).await?;
    }
    Ok(())
}
