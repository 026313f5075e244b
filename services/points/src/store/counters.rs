//! What members share of what is limited.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use kernel::{ProgramId, Timestamp, Uuid};
use persistence::{Engine, Error, Tx, on_engine};

use super::bulk::{by_keys, insert_rows};
use super::codec::StoredEntry;
use crate::domain::{Count, Counting, EntryKind};

/// A row of `counters`.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) key: Uuid,
    pub(crate) program: ProgramId,
    pub(crate) count: Count,
    /// How often it has changed.
    pub(crate) version: i64,
}

/// Key, times, points, version.
type Figures = (Uuid, i64, i64, i64);

/// Puts counters in that are not there yet. They are in key order.
pub(crate) async fn insert_counters(tx: &mut Tx, counters: &[Counter]) -> Result<(), Error> {
    insert_rows!(
        tx,
        counters,
        "counters (counter_key, program, counted, since, until, times, points, version)",
        "ON CONFLICT (counter_key) DO NOTHING",
        |values, row| values
            .push_bind(row.key)
            .push_bind(row.program.as_str())
            .push_bind(&*row.count.of)
            .push_bind(row.count.since.as_micros())
            .push_bind(row.count.until.map(Timestamp::as_micros))
            .push_bind(row.count.times)
            .push_bind(row.count.points)
            .push_bind(row.version)
    );
    Ok(())
}

/// Locks counters in key order and reads them.
pub(crate) async fn lock_counters(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<Figures>, Error> {
    match tx.engine() {
        Engine::Postgres => Ok(by_keys!(
            tx,
            keys,
            "SELECT counter_key, times, points, version FROM counters WHERE counter_key",
            "ORDER BY counter_key FOR UPDATE"
        )?),
        Engine::Sqlite => read_counters(tx, keys).await,
    }
}

/// Reads counters. One that is not there has counted nothing.
pub(crate) async fn read_counters(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<Figures>, Error> {
    Ok(by_keys!(tx, keys, "SELECT counter_key, times, points, version FROM counters WHERE counter_key", "")?)
}

/// Writes counters back that this transaction has locked.
pub(crate) async fn write_counters(tx: &mut Tx, counters: &[Counter]) -> Result<(), Error> {
    insert_rows!(
        tx,
        counters,
        "counters (counter_key, program, counted, since, until, times, points, version)",
        "ON CONFLICT (counter_key) DO UPDATE SET times = excluded.times, points = excluded.points, version = excluded.version",
        |values, row| values
            .push_bind(row.key)
            .push_bind(row.program.as_str())
            .push_bind(&*row.count.of)
            .push_bind(row.count.since.as_micros())
            .push_bind(row.count.until.map(Timestamp::as_micros))
            .push_bind(row.count.times)
            .push_bind(row.count.points)
            .push_bind(row.version)
    );
    Ok(())
}

/// Times and points, as the counters say and as the entries come to, by program, what is counted and its period; 0 for one without an end.
pub(crate) type Tallies = BTreeMap<(String, String, i64, i64), [(i128, i128); 2]>;

/// A counter or an entry: program, details of the entry, what is counted, since when, until when, times, points.
type TallyRow = (String, Option<Vec<u8>>, String, i64, i64, i64, i64);

/// What is counted of all members. One statement, so that counters and entries are those of one moment beside a working server; entries are
/// left out where none has been `seen` to count, and there is no counter.
pub(crate) async fn tallies(tx: &mut Tx, seen: bool) -> Result<Tallies, Error> {
    const { assert!(EntryKind::Award as i64 == 1 && EntryKind::Clawback as i64 == 7 && EntryKind::Activity as i64 == 12) };
    const { assert!(EntryKind::Cancel as i64 == 13) };
    const SQL: &str = "SELECT a.program, e.details, '', 0, 0, 0, 0 FROM entries e JOIN accounts a ON a.account_id = e.account_id
                        WHERE e.kind IN (1, 7, 12, 13) AND ($1 OR EXISTS (SELECT 1 FROM counters))
                       UNION ALL SELECT program, NULL, counted, since, COALESCE(until, 0), times, points FROM counters";
    let mut tallies = Tallies::new();
    let mut take = |(program, details, counted, since, until, times, points): TallyRow| {
        let mut add = |key: (String, String, i64, i64), side: usize, times: i64, points: i64| {
            let tally = &mut tallies.entry(key).or_default()[side];
            *tally = (tally.0 + i128::from(times), tally.1 + i128::from(points));
        };
        let Some(details) = details else { return add((program, counted, since, until), 0, times, points) };
        // One that cannot be read is told of with its account.
        let Ok(entry) = StoredEntry::read(&details) else { return };
        for Count { by, of, since, until, times, points } in entry.counted_of_all() {
            debug_assert_eq!(by, Counting::Shared);
            let until = until.map_or(0, Timestamp::as_micros);
            add((program.clone(), of.to_string(), since.as_micros(), until), 1, times, points);
        }
    };
    on_engine!(tx, |conn| {
        let mut rows = sqlx::query_as::<_, TallyRow>(SQL).bind(seen).fetch(conn);
        while let Some(row) = rows.try_next().await? {
            take(row);
        }
    });
    Ok(tallies)
}
