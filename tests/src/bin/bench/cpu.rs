//! CPU time of processes, from the kernel's own accounting.

use std::fs;

use anyhow::Context;

use crate::script::Database;

/// Linux counts CPU time in hundredths of a second (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, or PostgreSQL's with all its backends.
pub(crate) enum Processes {
    One(u32),
    /// The postmaster; backends that have ended are in its own account.
    Family(u32),
}

impl Processes {
    pub(crate) fn own() -> Processes {
        Processes::One(std::process::id())
    }

    pub(crate) fn of(pid: u32) -> Processes {
        Processes::One(pid)
    }

    /// The server's processes: the parent of any backend is the postmaster.
    pub(crate) fn postgres(database: &Database) -> anyhow::Result<Processes> {
        let backend = database.query(
            "postgres",
            "SELECT regulars_pid FROM (SELECT pid AS regulars_pid FROM pg_stat_activity WHERE backend_type = 'checkpointer') p",
        )?;
        let stat = Stat::read(backend.trim().parse().context("the pid of the checkpointer")?)?;
        Ok(Processes::Family(stat.parent))
    }

    /// Seconds of CPU so far, user and system.
    pub(crate) fn seconds(&self) -> anyhow::Result<f64> {
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
