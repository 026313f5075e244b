//! What calls cost: CPU time from the kernel's own accounting, and commits.

use std::fs;
use std::time::Instant;

use anyhow::Context;

use crate::database::Database;
use crate::sample::Cost;

/// Linux counts CPU time in hundredths of a second (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, or PostgreSQL's with all its backends.
pub(crate) enum Processes {
    One(u32),
    /// The postmaster; backends that have ended are in its own account.
    Family(u32),
}

/// Reads what a load costs, before and after it.
pub(crate) struct Meter<'a> {
    processes: Vec<(&'static str, Processes)>,
    database: Option<&'a Database>,
}

/// What was on the meter at a moment.
pub(crate) struct Reading {
    at: Instant,
    cpu_seconds: Vec<f64>,
    transactions: Option<i64>,
}

impl<'a> Meter<'a> {
    /// Of PostgreSQL and what has been started to load it.
    pub(crate) async fn of_database(database: &'a Database) -> anyhow::Result<Meter<'a>> {
        Ok(Meter { processes: vec![("database", Processes::postgres(database).await?)], database: Some(database) })
    }

    /// Of this process and the suite's.
    pub(crate) fn of_suite(pid: u32) -> Meter<'a> {
        Meter { processes: vec![("generator", Processes::One(std::process::id())), ("suite", Processes::One(pid))], database: None }
    }

    /// Of this process, the suite's and its database.
    pub(crate) async fn of_both(pid: u32, database: &'a Database) -> anyhow::Result<Meter<'a>> {
        let mut meter = Meter::of_suite(pid);
        meter.processes.extend(Meter::of_database(database).await?.processes);
        Ok(Meter { database: Some(database), ..meter })
    }

    pub(crate) async fn read(&self) -> anyhow::Result<Reading> {
        let transactions = match self.database {
            Some(database) => Some(database.transactions().await?),
            None => None,
        };
        let cpu_seconds = self.processes.iter().map(|(_, processes)| processes.cpu_seconds()).collect::<anyhow::Result<_>>()?;
        Ok(Reading { at: Instant::now(), cpu_seconds, transactions })
    }

    /// What a call has cost between two readings, during which there were so many calls a second.
    pub(crate) fn cost(&self, before: &Reading, after: &Reading, rate: f64) -> Cost {
        let calls = (rate * (after.at - before.at).as_secs_f64()).max(1.0);
        let spent = self.processes.iter().zip(before.cpu_seconds.iter().zip(&after.cpu_seconds));
        let micros = spent.map(|((name, _), (before, after))| (*name, (after - before) * 1e6 / calls)).collect();
        let commits = before.transactions.zip(after.transactions).map(|(before, after)| (after - before).max(1));
        Cost { micros, calls_per_commit: commits.map(|commits| calls / commits as f64) }
    }
}

impl Processes {
    /// The server's processes: the parent of any of them is the postmaster.
    async fn postgres(database: &Database) -> anyhow::Result<Processes> {
        Ok(Processes::Family(Stat::read(database.checkpointer().await?)?.parent))
    }

    /// Seconds of CPU so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        match self {
            Processes::One(pid) => Ok(Stat::read(*pid)?.own),
            Processes::Family(postmaster) => {
                let first = Stat::read(*postmaster)?;
                let mut seconds = first.own + first.ended_children;
                for process in fs::read_dir("/proc")? {
                    let name = process?.file_name();
                    let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
                    // A process may end while we look.
                    if let Ok(stat) = Stat::read(pid)
                        && stat.parent == *postmaster
                    {
                        seconds += stat.own;
                    }
                }
                Ok(seconds)
            }
        }
    }
}

struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Stat {
    fn read(pid: u32) -> anyhow::Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command stands in parentheses and may hold anything; the fields after it are numbers.
        let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let number = |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("a field of stat")?.parse()?) };
        Ok(Stat {
            parent: fields.get(1).context("the parent in stat")?.parse()?,
            own: (number(11)? + number(12)?) / TICKS_PER_SECOND,
            ended_children: (number(13)? + number(14)?) / TICKS_PER_SECOND,
        })
    }
}
