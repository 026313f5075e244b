//! The program `regulars`, built with the tests that start and kill it: cargo makes the programs of a package for its own
//! tests only, and what lies in the target directory might be older than the code.
//!
//! Where `REGULARS_TEST_CLOCK` names a file it serves by a clock that the test moves: this machine's, so many microseconds ahead as
//! stand in the file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use kernel::{Clock, Context, RandomIds, SystemClock, Timestamp};
use rpc::{Config, Entry, Flags};

/// What of `regulars serve` such a test uses.
#[derive(Parser)]
enum Arguments {
    Serve {
        #[arg(long)]
        only: String,
        #[command(flatten)]
        flags: Flags,
    },
}

/// A clock whose distance from this machine's stands in a file.
struct MovedClock(PathBuf);

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let ahead = std::fs::read_to_string(&self.0).expect("the file of the clock is there");
        let ahead: i64 = ahead.parse().expect("the file of the clock holds a number");
        Timestamp::from_micros(SystemClock.now().as_micros() + ahead)
    }
}

fn main() -> ExitCode {
    match std::env::var_os("REGULARS_TEST_CLOCK") {
        Some(file) => serve(file.into()),
        None => regulars::cli::main(),
    }
}

#[tokio::main]
async fn serve(clock: PathBuf) -> ExitCode {
    let Arguments::Serve { only, flags } = Arguments::parse();
    let services: Vec<Entry> = regulars::SERVICES.into_iter().filter(|entry| entry.name == only).collect();
    let context = Context { clock: Arc::new(MovedClock(clock)), ids: Arc::new(RandomIds) };
    let config = Config::load(&flags).expect("the test has configured it");
    let running = rpc::start(&context, config, &services).await.expect("it starts");
    println!("regulars serves on http://{}", running.address());
    if let Some(key) = running.first_administrator() {
        println!("administrator key: {key}");
    }
    println!("ready to verify");
    running.until_signal().await.expect("it serves until it is killed");
    ExitCode::SUCCESS
}
