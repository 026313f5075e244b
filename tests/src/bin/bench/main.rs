//! Measures awards through the suite against a script that a good engineer would write by hand, on the same PostgreSQL server, in
//! the same run. Started by `cargo xtask bench award`, which builds it and the suite in release mode and starts the database.

mod cpu;
mod load;
mod report;
mod script;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cpu::Processes;
use crate::load::Members;

/// How to measure.
#[derive(Parser)]
pub(crate) struct Options {
    /// The PostgreSQL server, as postgres://…/postgres; its `fsync` and `synchronous_commit` must be on.
    #[arg(long, env = "BENCH_POSTGRES")]
    postgres: String,
    /// The folder with pgbench and psql.
    #[arg(long, env = "BENCH_PROGRAMS")]
    programs: PathBuf,
    /// The suite's binary.
    #[arg(long, default_value = "target/release/regulars")]
    regulars: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of load before each measurement.
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Members that the awards are spread over.
    #[arg(long, default_value_t = 100_000)]
    members: u64,
    /// Numbers of callers.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256, 1024])]
    callers: Vec<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let database = script::Database::new(options);
    database.check_durable()?;
    report::conditions(options, &database)?;

    report::heading("The script: BEGIN, account, entry, key, purchase, event, COMMIT; pgbench, prepared statements");
    let postgres = Processes::postgres(&database)?;
    let mut scripts = Vec::new();
    for connections in [1, 16, 32, 64, 128] {
        let before = postgres.seconds()?;
        let run = database.run_script(connections, options.members)?;
        report::script_row(connections, &run, postgres.seconds()? - before);
        scripts.push((connections, run));
    }
    let hot_script = database.run_script(16, 1)?;
    report::hot_script_row(&hot_script);

    report::heading("The suite: gRPC, one award per call, on PostgreSQL");
    let suite = suite::Suite::start(options, &database.create("regulars_bench")?).await?;
    let mut rows = Vec::new();
    for callers in &options.callers {
        let members = Members::spread(options.members);
        rows.push((*callers, run(options, &suite, &database, &postgres, *callers, members).await?));
        report::suite_row(rows.last().expect("it was just pushed"), &scripts);
    }
    let hot = run(options, &suite, &database, &postgres, 256, Members::one()).await?;
    report::hot_row(&hot, &hot_script);
    suite.stop();

    report::heading("The suite on SQLite, synchronous=FULL");
    let suite = suite::Suite::start_sqlite(options).await?;
    let sqlite = load::run(&suite, 256, Members::spread(options.members), options.warmup_time(), options.time()).await?;
    report::sqlite_row(&sqlite);
    suite.stop();
    Ok(())
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warmup_time(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }
}

/// One measurement of the suite, with what it cost each process and how many commits it took.
pub(crate) struct Measured {
    pub(crate) load: load::Run,
    pub(crate) commits: u64,
    pub(crate) generator_seconds: f64,
    pub(crate) suite_seconds: f64,
    pub(crate) postgres_seconds: f64,
}

async fn run(
    options: &Options,
    suite: &suite::Suite,
    database: &script::Database,
    postgres: &Processes,
    callers: usize,
    members: Members,
) -> anyhow::Result<Measured> {
    load::run(suite, callers, members, Duration::ZERO, options.warmup_time()).await?;
    let (generator, server) = (Processes::own(), Processes::of(suite.pid()));
    let before = (generator.seconds()?, server.seconds()?, postgres.seconds()?, database.commits("regulars_bench")?);
    let load = load::run(suite, callers, members, Duration::ZERO, options.time()).await?;
    Ok(Measured {
        load,
        generator_seconds: generator.seconds()? - before.0,
        suite_seconds: server.seconds()? - before.1,
        postgres_seconds: postgres.seconds()? - before.2,
        commits: database.commits("regulars_bench")? - before.3,
    })
}
