//! `cargo xtask test`: the tests need a PostgreSQL server, and nothing else that cargo does not bring.

use anyhow::Result;
use clap::Args;

use crate::postgres::{self, Durability};
use crate::shell::{self, cargo};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run the long forms too: more cases, more callers, more crashes.
    #[arg(long)]
    long: bool,
    /// Only the tests of this crate; may be given several times.
    #[arg(short, long = "package", value_name = "CRATE")]
    packages: Vec<String>,
    /// Passed on to the tests, for example a part of a name, or --test-threads=1.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (_server, url) = postgres::start(Durability::None)?;
    // A failing crate must not hide what the others would say.
    let mut command = cargo(["test", "--no-fail-fast"]);
    if options.packages.is_empty() {
        command.arg("--workspace");
    }
    for package in &options.packages {
        command.args(["--package", package]);
    }
    command.arg("--").args(&options.rest).env("REGULARS_TEST_POSTGRES", url);
    if options.long {
        command.env("REGULARS_TEST_LONG", "1").env("PROPTEST_CASES", "4096");
    }
    shell::run(&mut command)
}
