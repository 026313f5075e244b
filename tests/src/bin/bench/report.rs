//! What is printed: conditions first, then a line per measurement with its ratio.

use std::fs;

use crate::script::{Database, Run};
use crate::{Measured, Options, load};

/// What the figures depend on.
pub(crate) fn conditions(options: &Options, database: &Database) -> anyhow::Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown").trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("conditions");
    println!("  cores {cores} ({model}), load before {}", load.split(' ').next().unwrap_or("unknown"));
    println!("  {}", database.query("postgres", "SELECT version()")?);
    for setting in ["fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "wal_sync_method"] {
        println!("  {setting} = {}", database.query("postgres", &format!("SHOW {setting}"))?);
    }
    println!("  a write and its fdatasync in the folder for temporary files: {:.2} ms", sync_ms()?);
    println!(
        "  {} members, {} s each after {} s of warm-up; generator, suite and database on the same cores",
        options.members, options.seconds, options.warmup
    );
    Ok(())
}

fn sync_ms() -> anyhow::Result<f64> {
    use std::io::Write;
    const ROUNDS: u32 = 200;
    let mut file = tempfile::tempfile()?;
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS))
}

pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}

pub(crate) fn script_row(connections: usize, run: &Run, postgres_seconds: f64) {
    let cpu = postgres_seconds * 1e6 / run.awards.max(1) as f64;
    println!(
        "  {connections:>5} connections {:>8.0}/s   p50 {:>7.2} ms  p99 {:>7.2} ms  p100 {:>8.2} ms   CPU per award: database {cpu:.0} µs",
        run.per_second, run.p50_ms, run.p99_ms, run.p100_ms
    );
}

pub(crate) fn hot_script_row(run: &Run) {
    println!("  one member, 16 connections {:>6.0}/s   p50 {:.2} ms  p99 {:.2} ms", run.per_second, run.p50_ms, run.p99_ms);
}

pub(crate) fn suite_row((callers, measured): &(usize, Measured), scripts: &[(usize, Run)]) {
    let best = scripts.iter().max_by(|a, b| a.1.per_second.total_cmp(&b.1.per_second));
    let same = scripts.iter().find(|(connections, _)| connections == callers);
    print!("{}", row(&format!("{callers:>5} callers"), measured));
    if let Some((connections, run)) = best {
        print!("   {:.2} × the script at its best ({connections} connections)", measured.load.per_second() / run.per_second);
    }
    if let Some((_, run)) = same {
        print!(", latency p50 {:.2} × the script's at as many", measured.load.ms_at(0.5) / run.p50_ms);
    }
    println!();
}

pub(crate) fn hot_row(measured: &Measured, script: &Run) {
    print!("{}", row("256 on one member", measured));
    println!("   {:.1} × the script on its hot row", measured.load.per_second() / script.per_second);
}

pub(crate) fn sqlite_row(run: &load::Run) {
    println!(
        "  256 callers {:>8.0}/s   p50 {:.2} ms  p99 {:.2} ms  p100 {:.2} ms",
        run.per_second(),
        run.ms_at(0.5),
        run.ms_at(0.99),
        run.ms_at(1.0)
    );
}

fn row(what: &str, measured: &Measured) -> String {
    let Measured { load, commits, generator_seconds, suite_seconds, postgres_seconds } = measured;
    let awards = load.awards.max(1) as f64;
    let micros = |seconds: &f64| seconds * 1e6 / awards;
    format!(
        "  {what} {:>8.0}/s   p50 {:>7.2} ms  p99 {:>7.2} ms  p100 {:>8.2} ms   {:.1} awards per commit   CPU per award: generator {:.0}, suite {:.0}, database {:.0} µs",
        load.per_second(),
        load.ms_at(0.5),
        load.ms_at(0.99),
        load.ms_at(1.0),
        awards / (*commits).max(1) as f64,
        micros(generator_seconds),
        micros(suite_seconds),
        micros(postgres_seconds),
    )
}
