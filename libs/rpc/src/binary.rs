//! The whole of a binary that serves one service.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::{Flags, Running, Service, entry};

#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// Serves one service in a process of its own: what its `main` calls. `about` says what it serves.
pub fn main<S: Service>(about: &'static str) -> ExitCode {
    let matches = Arguments::command().name(S::NAME).about(about).get_matches();
    let Arguments { flags } = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(crate::run(&flags, &[entry::<S>()], |running| say(&announcement(S::NAME, running)))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Tells whoever started the process something on its standard output. That nobody listens is no reason to stop serving.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn announcement(name: &str, running: &Running) -> String {
    let mut text = format!("{name} serves on {}", running.address());
    // It is shown this one time: whichever process is the first on a new database makes it.
    if let Some(key) = running.first_administrator() {
        text.push_str(&format!("\nadministrator key: {key}"));
    }
    text
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
