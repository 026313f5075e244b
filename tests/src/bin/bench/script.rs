//! The script written by hand, and the database server that both run on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::Options;

/// The tables that an award writes, as one would write them by hand.
const SCHEMA: &str = "
CREATE TABLE accounts (account_id uuid PRIMARY KEY, version bigint NOT NULL, active bigint NOT NULL, state bytea NOT NULL) WITH (fillfactor = 70);
CREATE TABLE entries (account_id uuid, version bigint, kind bigint NOT NULL, points bigint NOT NULL, active_after bigint NOT NULL, operation uuid NOT NULL,
    occurred_at timestamptz NOT NULL, recorded_at timestamptz NOT NULL, details bytea NOT NULL, PRIMARY KEY (account_id, version));
CREATE TABLE operations (operation_id uuid PRIMARY KEY, fingerprint bytea NOT NULL, answer bytea NOT NULL, recorded_at timestamptz NOT NULL);
CREATE TABLE purchases (purchase_key uuid PRIMARY KEY, account_id uuid NOT NULL, operation uuid NOT NULL, net bigint NOT NULL, due_points bigint NOT NULL,
    occurred_at timestamptz NOT NULL, details bytea NOT NULL);
CREATE TABLE events (sequence bigserial PRIMARY KEY, stream uuid NOT NULL, at timestamptz NOT NULL, payload bytea NOT NULL);
";

/// One award: as many bytes as the suite writes (state 120, details 150, fingerprint 90, answer 500, purchase 200, event 350).
const SCRIPT: &str = r"
\set member random(1, :members)
BEGIN;
INSERT INTO accounts AS a VALUES (md5(:member::text)::uuid, 1, 29, decode(repeat('ab', 120), 'hex'))
    ON CONFLICT (account_id) DO UPDATE SET version = a.version + 1, active = a.active + 29, state = excluded.state
    RETURNING version, active \gset
INSERT INTO entries VALUES (md5(:member::text)::uuid, :version, 1, 29, :active, gen_random_uuid(), now(), now(), decode(repeat('ab', 150), 'hex'));
INSERT INTO operations VALUES (gen_random_uuid(), decode(repeat('ab', 90), 'hex'), decode(repeat('ab', 500), 'hex'), now());
INSERT INTO purchases VALUES (gen_random_uuid(), md5(:member::text)::uuid, gen_random_uuid(), 2933, 29, now(), decode(repeat('ab', 200), 'hex'));
INSERT INTO events (stream, at, payload) VALUES (md5(:member::text)::uuid, now(), decode(repeat('ab', 350), 'hex'));
COMMIT;
";

/// The database server.
pub(crate) struct Database {
    url: String,
    programs: PathBuf,
    seconds: u64,
    folder: tempfile::TempDir,
}

/// One run of the script.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p100_ms: f64,
    pub(crate) awards: usize,
}

impl Database {
    pub(crate) fn new(options: &Options) -> Database {
        Database {
            url: options.postgres.clone(),
            programs: options.programs.clone(),
            seconds: options.seconds,
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    fn url_of(&self, database: &str) -> String {
        let (server, _) = self.url.rsplit_once('/').unwrap_or((&self.url, ""));
        format!("{server}/{database}")
    }

    /// The answer of one statement as plain text.
    pub(crate) fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let done = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url_of(database), "-c", sql])
            .output()?;
        if !done.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }

    /// Without these a comparison says nothing.
    pub(crate) fn check_durable(&self) -> anyhow::Result<()> {
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            if self.query("postgres", &format!("SHOW {setting}"))? != "on" {
                bail!("{setting} is not on");
            }
        }
        Ok(())
    }

    /// A fresh database; its URL.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<String> {
        self.query("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        self.query("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url_of(name))
    }

    /// Transactions committed so far.
    pub(crate) fn commits(&self, name: &str) -> anyhow::Result<u64> {
        // Backends report what they did with a delay of at most a second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        Ok(self.query("postgres", &format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'"))?.parse()?)
    }

    /// Runs the script on a fresh database with so many connections.
    pub(crate) fn run_script(&self, connections: usize, members: u64) -> anyhow::Result<Run> {
        let url = self.create("script_bench")?;
        self.query("script_bench", SCHEMA)?;
        let file = self.folder.path().join("award.sql");
        fs::write(&file, SCRIPT)?;
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
                fs::remove_file(path)?;
            }
        }
        let connections_text = connections.to_string();
        let done = Command::new(self.programs.join("pgbench"))
            .args(["-n", "-M", "prepared", "-j", "2", "-l", "--log-prefix"])
            .arg(self.folder.path().join("log"))
            .args(["-c", &connections_text, "-T", &self.seconds.to_string(), "-D", &format!("members={members}"), "-f"])
            .arg(&file)
            .arg(&url)
            .output()?;
        if !done.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&done.stderr));
        }
        let text = String::from_utf8(done.stdout)?;
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench prints tps")?;
        let mut micros = self.latencies()?;
        micros.sort_unstable();
        let at = |share: f64| micros.get(((micros.len() - 1) as f64 * share) as usize).map_or(0.0, |micros| *micros as f64 / 1000.0);
        Ok(Run {
            per_second: tps.split(' ').next().unwrap_or_default().parse()?,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p100_ms: at(1.0),
            awards: micros.len(),
        })
    }

    /// The third column of pgbench's log: microseconds of each transaction.
    fn latencies(&self) -> anyhow::Result<Vec<u64>> {
        let mut micros = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
                continue;
            }
            for line in fs::read_to_string(path)?.lines() {
                micros.push(line.split(' ').nth(2).context("a log line has a latency")?.parse()?);
            }
        }
        Ok(micros)
    }
}
