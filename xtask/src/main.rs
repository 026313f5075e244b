//! What is done to the workspace rather than in it: tests, checks, generated files. `cargo xtask --help` lists it.

mod accept;
mod bench;
mod ci;
mod contracts;
mod foreign;
mod kubernetes;
mod lint;
mod postgres;
mod reference;
mod server;
mod shell;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Tests and checks of the workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the tests, on SQLite and on a private PostgreSQL server that is started for them.
    Test(test::Options),
    /// Put a log of purchases through the suite on both engines, with crashes, and check every figure.
    Accept(accept::Options),
    /// Check the contracts: lint, format, nothing broken since the main branch, reference up to date.
    Proto(contracts::Options),
    /// Write the API reference under docs/api from the contracts.
    Docs(reference::Options),
    /// Check format and lints of the code.
    Lint,
    /// Check the Kubernetes manifests against the schemas of the API server.
    K8s,
    /// Run the clients in Python against a server started for them.
    Foreign,
    /// Measure the ledger beside a script written by hand: conditions, p50, p99, p100, ratios and goals; takes six minutes.
    Bench(bench::Options),
    /// Do all that must pass before a change lands.
    Ci,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Accept(options) => accept::run(&options),
        Task::Proto(options) => contracts::run(&options),
        Task::Docs(options) => reference::run(&options),
        Task::Lint => lint::run(),
        Task::K8s => kubernetes::run(),
        Task::Foreign => foreign::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Ci => ci::run(),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    let code = error.downcast_ref::<shell::Failed>().and_then(shell::Failed::code);
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
