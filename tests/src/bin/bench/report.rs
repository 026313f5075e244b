//! What is printed: conditions first, then a line per measurement, in the end the goals.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::database::{Database, Widths};
use crate::sample::{PARTS, Sample};

/// From how many milliseconds for a write and its sync on a disk counts as slow: between the two that the goals were set on,
/// 0.15 and 4.
const SLOW_SYNC_MS: f64 = 1.0;

/// What is printed of a run, and how far it has come.
pub(crate) struct Report {
    started: Instant,
    /// The disk is of the slow kind, on which batches gain more and more is asked of them.
    pub(crate) slow_disk: bool,
    goals: Vec<(String, f64, Goal)>,
}

/// What a figure should be. It is for information: nothing fails when it is missed.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(bound) => value >= bound,
            Goal::AtMost(bound) => value <= bound,
        }
    }
}

impl Report {
    /// Prints what the figures depend on.
    pub(crate) async fn begin(database: &Database, warmup: Duration, time: Duration) -> anyhow::Result<Report> {
        let started = Instant::now();
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("conditions");
        println!(
            "  cores {cores} ({}), load before {}",
            model.trim_start_matches([' ', '\t', ':']),
            load.split(' ').next().unwrap_or("unknown")
        );
        println!("  {}", database.text("SELECT version()").await?);
        for setting in ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "wal_sync_method"] {
            println!("  {setting} = {}", database.text(&format!("SHOW {setting}")).await?);
        }
        let sync_ms = sync_ms()?;
        let slow_disk = sync_ms >= SLOW_SYNC_MS;
        let kind = if slow_disk { "slow" } else { "fast" };
        println!("  a write of 4 KiB and its fdatasync in the folder for temporary files: {sync_ms:.2} ms, a {kind} disk");
        println!("  everything on the same cores: generator, suite, PostgreSQL, pgbench; the members and tiers services are away");
        println!(
            "  each measurement {} s after {} s of warm-up, cut into {PARTS}: the rate is the median of the parts, in brackets the slowest and fastest",
            time.as_secs(),
            warmup.as_secs()
        );
        Ok(Report { started, slow_disk, goals: Vec::new() })
    }

    pub(crate) fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    pub(crate) fn line(&self, text: &str) {
        println!("  {text}");
    }

    pub(crate) fn widths(&self, widths: &Widths) {
        let Widths { state, entry, fingerprint, answer, purchase, event } = widths;
        println!(
            "  bytes of an award's columns, on both sides: state {state}, entry {entry}, fingerprint {fingerprint}, answer {answer}, \
             purchase {purchase}, event {event}"
        );
    }

    /// Prints a measurement.
    pub(crate) fn row(&self, what: &str, sample: &Sample, remark: &str) {
        let (slowest, fastest) = sample.spread();
        print!(
            "  {what:<36} {:>6.0}/s ({slowest:.0}–{fastest:.0})   p50 {:>6.2}  p99 {:>6.2}  p100 {:>6.2} ms",
            sample.rate(),
            sample.ms(50),
            sample.ms(99),
            sample.ms(100)
        );
        // What only reads commits nothing; the few commits are the server's own then.
        if let Some(calls) = sample.cost.calls_per_commit.filter(|calls| *calls < 1000.0) {
            print!("   {calls:.1} per commit");
        }
        if !sample.cost.micros.is_empty() {
            let processes: Vec<String> = sample.cost.micros.iter().map(|(name, micros)| format!("{name} {micros:.0}")).collect();
            print!("   µs of CPU: {}", processes.join(", "));
        }
        println!("{}{remark}", if remark.is_empty() { "" } else { "   " });
        // A run takes minutes, and its output may go into a file.
        let _nobody_reads = std::io::stdout().flush();
    }

    /// Notes a figure that has a goal.
    pub(crate) fn goal(&mut self, what: impl Into<String>, value: f64, goal: Goal) {
        self.goals.push((what.into(), value, goal));
    }

    /// Prints how the figures stand to their goals.
    pub(crate) fn end(&self) {
        println!("\nGoals, for information");
        for (what, value, goal) in &self.goals {
            let verdict = if goal.is_met(*value) { "met   " } else { "missed" };
            let bound = match goal {
                Goal::AtLeast(bound) => format!("at least {}", figure(*bound)),
                Goal::AtMost(bound) => format!("at most {}", figure(*bound)),
            };
            println!("  {verdict} {:>9}   {what}: {bound}", figure(*value));
        }
        println!("\nThe run took {} s.", self.started.elapsed().as_secs());
    }
}

/// Ratios with two places, rates with none.
fn figure(value: f64) -> String {
    if value.abs() < 1000.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn sync_ms() -> anyhow::Result<f64> {
    const ROUNDS: u32 = 200;
    let mut file = tempfile::tempfile()?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS))
}
