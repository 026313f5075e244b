//! The script written by hand.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::{Connection, Executor};
use tokio::process::Command;

use crate::cpu::Meter;
use crate::database::{Database, Widths};
use crate::sample::{Sample, Timing, micros};

/// The database of the script. It is kept from run to run, as the suite's is.
pub(crate) const DATABASE: &str = "regulars_bench_script";

/// The tables that an award writes, as one would write them by hand: with keys of eight bytes where the suite has sixteen, without
/// an index but the keys, and without the columns that only the suite needs.
const SCHEMA: &str = "
CREATE TABLE accounts (account_id bigint PRIMARY KEY, version bigint NOT NULL, active bigint NOT NULL, state bytea NOT NULL) WITH (fillfactor = 70);
CREATE TABLE entries (account_id bigint, version bigint, kind bigint NOT NULL, points bigint NOT NULL, active_after bigint NOT NULL,
    operation bigint NOT NULL, occurred_at timestamptz NOT NULL, recorded_at timestamptz NOT NULL, details bytea NOT NULL,
    PRIMARY KEY (account_id, version));
CREATE TABLE operations (operation_id bigint PRIMARY KEY, fingerprint bytea NOT NULL, answer bytea NOT NULL, recorded_at timestamptz NOT NULL);
CREATE TABLE purchases (purchase_key bigint PRIMARY KEY, account_id bigint NOT NULL, operation bigint NOT NULL, net bigint NOT NULL,
    due_points bigint NOT NULL, occurred_at timestamptz NOT NULL, details bytea NOT NULL);
CREATE TABLE events (sequence bigserial PRIMARY KEY, stream bigint NOT NULL, at timestamptz NOT NULL, payload bytea NOT NULL);
";

/// One award. Every value comes ready from the client, as from a service: ids are drawn and hashed by pgbench, and payloads are
/// variables, in a text form that the server copies and need not decode.
const SCRIPT: &str = r"
\set account hash_murmur2(random(1, :members))
\set operation random(1, 9223372036854775807)
\set purchase random(1, 9223372036854775807)
BEGIN;
INSERT INTO accounts AS a VALUES (:account, 1, 29, :state)
    ON CONFLICT (account_id) DO UPDATE SET version = a.version + 1, active = a.active + 29, state = excluded.state
    RETURNING version, active \gset
INSERT INTO entries VALUES (:account, :version, 1, 29, :active, :operation, now(), now(), :entry);
INSERT INTO operations VALUES (:operation, :fingerprint, :answer, now());
INSERT INTO purchases VALUES (:purchase, :account, :operation, 2933, 29, now(), :details);
INSERT INTO events (stream, at, payload) VALUES (:account, now(), :event);
COMMIT;
";

/// pgbench, ready to run the script.
pub(crate) struct Script<'a> {
    database: &'a Database,
    pgbench: PathBuf,
    widths: Widths,
    folder: tempfile::TempDir,
}

impl<'a> Script<'a> {
    /// Makes the script's database. Its payloads are as wide as the suite's.
    pub(crate) async fn prepare(database: &'a Database, pgbench: PathBuf, widths: Widths) -> anyhow::Result<Script<'a>> {
        database.create(DATABASE).await?;
        let mut connection = database.connect(DATABASE).await?;
        connection.execute(SCHEMA).await?;
        connection.close().await?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("award.sql"), SCRIPT)?;
        Ok(Script { database, pgbench, widths, folder })
    }

    /// Awards to so many members over so many connections.
    pub(crate) async fn run(&self, connections: usize, members: u64, warmup: Duration, time: Duration) -> anyhow::Result<Sample> {
        let logs = tempfile::tempdir_in(self.folder.path())?;
        let mut pgbench = Command::new(&self.pgbench);
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--log"]);
        pgbench.arg("--log-prefix").arg(logs.path().join("log")).arg("--file").arg(self.folder.path().join("award.sql"));
        pgbench.arg(format!("--client={connections}")).arg(format!("--time={}", (warmup + time).as_secs()));
        let Widths { state, entry, fingerprint, answer, purchase, event } = self.widths;
        let payloads =
            [("state", state), ("entry", entry), ("fingerprint", fingerprint), ("answer", answer), ("details", purchase), ("event", event)];
        for (name, width) in payloads {
            pgbench.arg(format!("--define={name}={}", "x".repeat(usize::try_from(width)?)));
        }
        pgbench.arg(format!("--define=members={members}")).arg(self.database.url_of(DATABASE));
        let meter = Meter::of_database(self.database).await?;
        let running = pgbench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let running = running.context("cannot start pgbench")?;
        tokio::time::sleep(warmup).await;
        let before = meter.read().await?;
        let done = running.wait_with_output().await?;
        if !done.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&done.stderr));
        }
        let timings = timings(&logs)?;
        let first = timings.iter().map(|timing| timing.done).min().unwrap_or(0);
        let mut sample = Sample::of(&timings, first + micros(warmup), first + micros(warmup + time))?;
        sample.cost = meter.cost(&before, &meter.read().await?, sample.mean_rate());
        Ok(sample)
    }
}

/// pgbench's log has a line for each transaction: client, number, microseconds it took, script, and when it ended: seconds of the
/// epoch, microseconds.
fn timings(logs: &tempfile::TempDir) -> anyhow::Result<Vec<Timing>> {
    let mut timings = Vec::new();
    for log in fs::read_dir(logs.path())? {
        for line in fs::read_to_string(log?.path())?.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let field = |index: usize| -> anyhow::Result<u64> { Ok(fields.get(index).context("a field of pgbench's log")?.parse()?) };
            timings.push(Timing { done: field(4)? * 1_000_000 + field(5)?, took: field(2)? });
        }
    }
    Ok(timings)
}
