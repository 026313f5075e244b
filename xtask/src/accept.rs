//! `cargo xtask accept`: the main job on a real or a made log of purchases, on both engines.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::postgres::{self, Durability};
use crate::shell::{self, cargo, command, target};

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Options {
    /// A log with the columns purchase_id, customer_id, date, quantity, amount.
    #[arg(long, value_name = "FILE")]
    purchases: Option<PathBuf>,
    /// Make a log of so many purchases instead.
    #[arg(long, value_name = "N")]
    generate: Option<u32>,
}

impl Options {
    /// What every change must pass: a log small enough for it.
    pub(crate) fn small() -> Options {
        Options { purchases: None, generate: Some(600) }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // The whole workspace, so that dependencies have the features that the tests have built them with.
    shell::run(&mut cargo(["build", "--workspace", "--bin", "regulars", "--bin", "accept"]))?;
    let (_server, url) = postgres::start(Durability::None)?;
    let mut accept = command(target("debug/accept"), ["--regulars"]);
    accept.arg(target("debug/regulars")).env("REGULARS_TEST_POSTGRES", url);
    if let Some(file) = &options.purchases {
        // It runs in the root of the workspace, wherever we were called.
        accept.arg("--purchases").arg(std::path::absolute(file)?);
    }
    if let Some(rows) = options.generate {
        accept.args(["--generate", &rows.to_string()]);
    }
    shell::run(&mut accept)
}
