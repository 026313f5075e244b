//! Awards on SQLite: the suite beside a bare loop in this process that writes the same rows.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Executor, QueryBuilder, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::report::{Goal, Report};
use crate::sample::{Sample, Timing, micros};
use crate::suite::Suite;
use crate::{Bench, MEMBERS};

const CALLERS: usize = 256;
const AWARDS_PER_COMMIT: u64 = 64;

/// The partitions of the feed.
const PARTITIONS: i64 = 16;

/// The tables that an award writes, accounts first, and where the row of one award is found in each. Not all schemas have all.
const TABLES: [(&str, &str); 6] = [
    ("accounts", "WHERE account_id = (SELECT account_id FROM entries LIMIT 1)"),
    ("entries", "LIMIT 1"),
    ("operations", "WHERE operation_id = (SELECT operation FROM entries LIMIT 1)"),
    ("purchases", "WHERE operation = (SELECT operation FROM entries LIMIT 1)"),
    ("events", "ORDER BY at DESC LIMIT 1"),
    ("feed_sequence", "LIMIT 1"),
];

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading("SQLite: WAL, synchronous = FULL");
    let suite = Suite::start_sqlite(&bench.options.regulars).await?;
    let meter = Meter::of_suite(suite.pid());
    let members = Members::new(PROGRAM, 0, MEMBERS);
    let sample = bench.load(&suite, CALLERS, &meter).run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
    let tables = look(&suite.sqlite_file()).await?;
    drop(suite);

    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    report.line(&format!("the bare loop writes rows of the suite's under new keys: {}", names.join(", ")));
    let folder = tempfile::tempdir()?;
    let bare = BareLoop::open(&folder.path().join("bare.db"), tables).await?.run(bench).await?;
    report.row(&format!("bare loop, {AWARDS_PER_COMMIT} per commit"), &bare, "no server, no rules; the times are those of commits");
    let ratio = sample.rate() / bare.rate();
    report.row(&format!("suite, {CALLERS} callers"), &sample, &format!("{ratio:.2} of the bare loop"));
    report.goal("SQLite, 256 callers: awards against the bare loop", ratio, Goal::AtLeast(0.7));
    Ok(())
}

async fn connect(file: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).disable_statement_logging();
    Ok(options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full).connect().await?)
}

/// A table as the suite has made it, and the row that one award has written into it.
struct Table {
    name: &'static str,
    /// The statements that make it and its indexes.
    schema: Vec<String>,
    columns: Vec<(String, Cell)>,
}

#[derive(Clone)]
enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

async fn look(file: &Path) -> anyhow::Result<Vec<Table>> {
    let mut connection = connect(file).await?;
    let mut tables = Vec::new();
    for (name, place) in TABLES {
        const SCHEMA: &str = "SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql IS NOT NULL ORDER BY type = 'index'";
        let schema: Vec<String> = sqlx::query_scalar(SCHEMA).bind(name).fetch_all(&mut connection).await?;
        if schema.is_empty() {
            continue;
        }
        let row = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {name} {place}"))).fetch_one(&mut connection).await;
        let row = row.with_context(|| format!("no row of an award in {name}"))?;
        let columns = row.columns().iter().map(|column| Ok((column.name().to_owned(), cell(&row, column.ordinal())?)));
        tables.push(Table { name, columns: columns.collect::<anyhow::Result<_>>()?, schema });
    }
    connection.close().await?;
    Ok(tables)
}

fn cell(row: &SqliteRow, index: usize) -> anyhow::Result<Cell> {
    let value = row.try_get_raw(index)?;
    Ok(match value.type_info().name() {
        _ if value.is_null() => Cell::Null,
        "INTEGER" => Cell::Int(row.try_get(index)?),
        "TEXT" => Cell::Text(row.try_get(index)?),
        "BLOB" => Cell::Bytes(row.try_get(index)?),
        other => bail!("a column of type {other}"),
    })
}

/// What tells an award's rows from those of another.
struct Award {
    account: Cell,
    version: i64,
    active: i64,
    operation: Cell,
    purchase: Cell,
    event: Cell,
    /// Its number in the run, and in its commit.
    number: i64,
    ordinal: i64,
}

impl Award {
    /// What it has in a column; `None` where all are alike.
    fn cell(&self, column: &str) -> Option<Cell> {
        Some(match column {
            "account_id" | "member" => self.account.clone(),
            "version" => Cell::Int(self.version),
            "active" | "active_after" => Cell::Int(self.active),
            "operation" | "operation_id" => self.operation.clone(),
            "purchase_key" => self.purchase.clone(),
            "event_id" => self.event.clone(),
            "partition" => Cell::Int(self.number % PARTITIONS),
            "sequence" => Cell::Int(self.number / PARTITIONS + 1),
            "batch" => Cell::Int((self.number - self.ordinal) + 1),
            "ordinal" => Cell::Int(self.ordinal),
            _ => return None,
        })
    }
}

/// Writes what awards write, through the suite's driver, and does nothing else.
struct BareLoop {
    connection: SqliteConnection,
    tables: Vec<Table>,
}

impl BareLoop {
    async fn open(file: &Path, tables: Vec<Table>) -> anyhow::Result<BareLoop> {
        let mut connection = connect(file).await?;
        for sql in tables.iter().flat_map(|table| &table.schema) {
            connection.execute(AssertSqlSafe(sql.clone())).await?;
        }
        Ok(BareLoop { connection, tables })
    }

    async fn run(mut self, bench: &Bench) -> anyhow::Result<Sample> {
        let members = Members::new(PROGRAM, 0, MEMBERS);
        let (mut timings, start) = (Vec::new(), Instant::now());
        for batch in 0.. {
            let asked = Instant::now();
            if asked - start >= bench.warmup() + bench.time() {
                break;
            }
            self.commit(members, batch * AWARDS_PER_COMMIT).await?;
            let timing = Timing { done: micros(start.elapsed()), took: micros(asked.elapsed()) };
            timings.extend((0..AWARDS_PER_COMMIT).map(|_| timing));
        }
        self.connection.close().await?;
        Sample::of(&timings, micros(bench.warmup()), micros(bench.warmup() + bench.time()))
    }

    /// Reads the accounts, then writes all rows: a statement for each table.
    async fn commit(&mut self, members: Members, first: u64) -> anyhow::Result<()> {
        let accounts: Vec<Vec<u8>> = (first..first + AWARDS_PER_COMMIT).map(|call| account(members, call)).collect();
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut read = QueryBuilder::<Sqlite>::new("SELECT account_id, version, active, state FROM accounts WHERE account_id IN (");
        let mut keys = read.separated(", ");
        for account in &accounts {
            keys.push_bind(account);
        }
        read.push(")");
        let found: Vec<(Vec<u8>, i64, i64, Vec<u8>)> = read.build_query_as().fetch_all(&mut *tx).await?;
        let mut held: HashMap<Vec<u8>, (i64, i64)> = found.into_iter().map(|(id, version, active, _)| (id, (version, active))).collect();
        let mut awards = Vec::with_capacity(accounts.len());
        for (account, ordinal) in accounts.into_iter().zip(0..) {
            let (version, active) = held.entry(account.clone()).or_default();
            (*version, *active) = (*version + 1, *active + 29);
            let (version, active, number) = (*version, *active, i64::try_from(first)? + ordinal);
            awards.push(Award {
                account: Cell::Bytes(account),
                version,
                active,
                operation: key(),
                purchase: key(),
                event: key(),
                number,
                ordinal,
            });
        }
        for table in &self.tables {
            let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
            let mut insert = QueryBuilder::<Sqlite>::new(format!("INSERT INTO {} ({}) ", table.name, names.join(", ")));
            insert.push_values(&awards, |mut values, award| {
                for (name, alike) in &table.columns {
                    match award.cell(name).unwrap_or_else(|| alike.clone()) {
                        Cell::Null => values.push("NULL"),
                        Cell::Int(value) => values.push_bind(value),
                        Cell::Text(value) => values.push_bind(value),
                        Cell::Bytes(value) => values.push_bind(value),
                    };
                }
            });
            if table.name == "accounts" {
                let changing = names.iter().filter(|name| !["account_id", "program", "member"].contains(name));
                let changes: Vec<String> = changing.map(|name| format!("{name} = excluded.{name}")).collect();
                insert.push(format!(" ON CONFLICT (account_id) DO UPDATE SET {}", changes.join(", ")));
            }
            insert.build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// An account's key: a hash, like the suite's.
fn account(members: Members, call: u64) -> Vec<u8> {
    let member = members.id(members.spread_number(call)).as_u128();
    member.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes().to_vec()
}

/// A key like the suite's, which are hashes.
fn key() -> Cell {
    Cell::Bytes(rand::random::<[u8; 16]>().to_vec())
}
