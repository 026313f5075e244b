//! What the binary understands.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::Format;
use crate::{demo, import, keys, migrate, program, serve, verify};

/// A loyalty and referral suite: members, points, tiers, referrals and feedback over gRPC.
#[derive(Parser)]
#[command(name = "regulars", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results are printed (those of `serve` are its address and its first key); progress and logs go to stderr in any case.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Subcommand)]
enum Command {
    /// Serve all services, or some. Without any configuration: on loopback, on embedded SQLite under ./data.
    Serve(serve::Options),
    /// Bring the schemas of all services up to date, and exit.
    Migrate(migrate::Options),
    /// Make, list and revoke API keys, directly in the database; a running server sees the change within a second.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Import members or purchases from a CSV file into a running suite.
    #[command(subcommand)]
    Import(import::Command),
    /// Move a program's terms and rewards between environments as a file.
    #[command(subcommand)]
    Program(program::Command),
    /// Derive every balance anew from its entries and report differences; exit code 1 when there are any.
    Verify(verify::Options),
    /// Watch a tea chain at work: in a suite of its own, or in a running one.
    Demo(demo::Options),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs the command line of this process. 0: done; 1: failed, or something is not as it should be; 2: not understood.
pub fn main() -> ExitCode {
    let Arguments { command, output } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    runtime.block_on(run(command, output)).unwrap_or_else(|error| failed(&error))
}

async fn run(command: Command, output: Format) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(options) => serve::run(options, output).await,
        Command::Migrate(options) => migrate::run(options, output).await,
        Command::Keys(command) => keys::run(command, output).await,
        Command::Import(command) => import::run(command, output).await,
        Command::Program(command) => program::run(command, output).await,
        Command::Verify(options) => verify::run(options, output).await,
        Command::Demo(options) => demo::run(options, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "regulars", &mut script);
            io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Causes below the outermost stand on lines of their own, unless the line above has said them already.
fn failed(error: &anyhow::Error) -> ExitCode {
    let mut said = error.to_string();
    eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            eprintln!("  because: {text}");
        }
        said = text;
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_subcommand_is_help() {
        let error = Arguments::try_parse_from(["regulars"]).err().expect("something must be said");
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    }

    #[test]
    fn an_unknown_service_is_refused_with_those_there_are() {
        let error = Arguments::try_parse_from(["regulars", "serve", "--only", "points,coffee"]).err().expect("there is no coffee");
        let text = error.to_string();
        assert!(text.contains("coffee") && text.contains("referrals"), "{text}");
    }
}
