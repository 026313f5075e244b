//! `cargo xtask bench`: the suite against a script written by hand, on one PostgreSQL server, in one run.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::postgres::{self, Durability};
use crate::shell::{self, cargo, command, target};

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Benchmark {
    /// Awards over gRPC, one a call, by 1 to 1,024 callers. Prints conditions, p50, p99, p100 and ratios; takes some minutes.
    Award(Options),
}

#[derive(Args)]
pub(crate) struct Options {
    /// Passed on, for example --seconds 30 or --callers 256.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(benchmark: &Benchmark) -> Result<()> {
    let Benchmark::Award(options) = benchmark;
    shell::run(&mut cargo([
        "build",
        "--release",
        "--package",
        "regulars",
        "--package",
        "journeys",
        "--bin",
        "regulars",
        "--bin",
        "bench",
    ]))?;
    let programs = postgres::programs()?;
    let (_server, url) = postgres::start(Durability::Full)?;
    let mut bench = command(target("release/bench"), &options.rest);
    bench.env("BENCH_POSTGRES", url).env("BENCH_PROGRAMS", programs);
    bench.args(["--regulars".as_ref(), target("release/regulars").as_os_str()]);
    shell::run(&mut bench)
}
