//! Measures what the issue of the ledger's speed asks for: the suite against a script that a good engineer would write by hand, on
//! the same PostgreSQL server, in the same run. Started by `cargo xtask bench`, which builds it and the suite in release mode and
//! starts the database. What it prints is for information: no figure makes it fail.

mod awards;
mod calls;
mod core;
mod cpu;
mod database;
mod history;
mod large;
mod load;
mod promotions;
mod report;
mod sample;
mod script;
mod spending;
mod split;
mod sqlite;
mod suite;
mod vouchers;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cpu::Meter;
use crate::database::Database;
use crate::load::Load;
use crate::report::Report;
use crate::suite::Suite;

/// The suite allocates with it too; the generator should not cost more than it must.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The suite's database, made anew for every section.
const DATABASE: &str = "regulars_bench";

/// Members that a load is spread over where nothing else is said.
const MEMBERS: u64 = 100_000;

/// How to measure.
#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measure the ledger beside a script written by hand")]
struct Options {
    /// The PostgreSQL server, as postgres://…/postgres; its `fsync` and `synchronous_commit` must be on.
    #[arg(long, env = "BENCH_POSTGRES", hide_env_values = true)]
    postgres: String,
    /// The folder with pgbench.
    #[arg(long, env = "BENCH_PROGRAMS")]
    programs: PathBuf,
    /// The suite's binary.
    #[arg(long, env = "BENCH_REGULARS", default_value = "target/release/regulars")]
    regulars: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds of load before each measurement.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    warmup: u64,
    /// Only these sections; all but the large one when absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// The large section too: takes ten minutes and 30 GB of disk at its full size.
    #[arg(long)]
    large: bool,
    /// Entries of the large section.
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
    /// Members of the large section.
    #[arg(long, default_value_t = 1_000_000)]
    members: u64,
}

/// A part of the run that needs no other.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Awards by 1 to 1,024 callers and on one member, beside the script.
    Awards,
    /// Redeem, reserve, capture and release beside award.
    Spending,
    /// Awards under many promotions beside awards under none.
    Promotions,
    /// Vouchers that are used beside awards.
    Vouchers,
    /// A member with a long history and one with many lots beside fresh ones.
    History,
    /// The CPU time of an award, taken apart.
    Split,
    /// Awards on SQLite beside a bare loop.
    Sqlite,
    /// Awards and balances in a large database beside those in a small one.
    Large,
}

/// What every section works with.
struct Bench {
    options: Options,
    database: Database,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Whichever way it ends, what was started here is dropped, and ended by that.
    let done = tokio::select! {
        done = run(options) => done,
        stopped = stopped() => stopped,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn stopped() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::bail!("stopped by a signal")
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(!cfg!(debug_assertions), "a debug build measures nothing of interest; `cargo xtask bench` builds for release");
    let database = Database::open(&options.postgres).await?;
    let bench = Bench { options, database };
    let mut report = Report::begin(&bench.database, bench.warmup(), bench.time()).await?;
    for section in Section::value_variants() {
        if !bench.options.wants(*section) {
            continue;
        }
        match section {
            Section::Awards => awards::measure(&bench, &mut report).await?,
            Section::Spending => spending::measure(&bench, &mut report).await?,
            Section::Promotions => promotions::measure(&bench, &mut report).await?,
            Section::Vouchers => vouchers::measure(&bench, &mut report).await?,
            Section::History => history::measure(&bench, &mut report).await?,
            Section::Split => split::measure(&bench, &mut report).await?,
            Section::Sqlite => sqlite::measure(&bench, &mut report).await?,
            Section::Large => large::measure(&bench, &mut report).await?,
        }
    }
    for name in [DATABASE, script::DATABASE] {
        bench.database.drop(name).await?;
    }
    report.end();
    Ok(())
}

impl Options {
    fn wants(&self, section: Section) -> bool {
        match section {
            Section::Large => self.large || self.only.contains(&section),
            _ => self.only.is_empty() || self.only.contains(&section),
        }
    }
}

impl Bench {
    fn time(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    fn warmup(&self) -> Duration {
        Duration::from_secs(self.options.warmup)
    }

    /// A suite on a fresh database.
    async fn suite(&self) -> anyhow::Result<Suite> {
        Suite::start(&self.options.regulars, &self.database.create(DATABASE).await?).await
    }

    /// A load of the usual length.
    fn load<'a>(&self, suite: &'a Suite, callers: usize, meter: &'a Meter<'a>) -> Load<'a> {
        Load { suite, callers, warmup: self.warmup(), time: self.time(), meter: Some(meter) }
    }
}
