//! `cargo xtask bench`: the suite against a script written by hand, on one PostgreSQL server, in one run.

use anyhow::Result;
use clap::Args;

use crate::postgres::{self, Durability};
use crate::shell::{self, cargo, command, target};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on: --seconds 3, --only awards,sqlite, --large; --help lists them all.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    shell::run(&mut cargo([
        "build",
        "--profile",
        "dist",
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
    let mut bench = command(target("dist/bench"), &options.rest);
    bench.env("BENCH_PROGRAMS", programs).env("BENCH_REGULARS", target("dist/regulars"));
    if options.rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        return shell::run(&mut bench);
    }
    let (_server, url) = postgres::start(Durability::Full)?;
    shell::run(bench.env("BENCH_POSTGRES", url))
}
