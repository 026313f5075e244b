//! `regulars demo`: four weeks of a tea chain, played through the public gRPC surface.
//!
//! The chain is set up as an operator would do it, with keys of its own for tills, back end, landing page and support. What
//! the screen shows comes from the feeds, as any subscriber sees them; only latencies are measured on this side.

mod board;
mod calls;
mod chain;
mod feed;
mod people;
mod play;
mod scenes;
mod screen;
mod surveys;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kernel::Context;
use rpc::{Config, Running};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::calls::Calls;
use self::play::Play;
use crate::SERVICES;
use crate::client::Connection;
use crate::output::{self, Format};
use crate::verify::{Progress, ledger};

/// How long the feeds may take to tell the last of it.
const SETTLING_MAX: Duration = Duration::from_secs(20);

/// How to play.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The suite to play in, as a program of its own; without one, a suite is started for the demo and removed afterwards.
    #[arg(long, value_name = "URL", requires = "key")]
    server: Option<String>,
    /// An administrator's key for that suite.
    #[arg(long, value_name = "KEY", env = "REGULARS_KEY", hide_env_values = true)]
    key: Option<String>,
    /// PEM file of the authority that signed the server's certificate; for https.
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// Days of the chain's life in a second; 0 for as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Members at the end of the four weeks.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    members: u32,
    /// The same seed tells the same story.
    #[arg(long, value_name = "S", default_value_t = 7)]
    seed: u64,
}

pub(crate) async fn run(options: Options, format: Format) -> anyhow::Result<ExitCode> {
    let own = match &options.server {
        Some(_) => None,
        None => Some(Suite::start().await?),
    };
    let connection = match (&own, &options.server) {
        (Some(suite), _) => suite.connection()?,
        (None, Some(server)) => Connection { server: server.clone(), key: options.key.clone(), ca: options.ca.clone() },
        (None, None) => bail!("there is no suite to play in"),
    };
    let calls = Arc::new(Calls::new());
    let chain = Arc::new(chain::open(&connection, &calls).await?);
    let board = Arc::new(Board::new(chain.program.clone()));
    let feeds = feed::follow(&chain, &board);

    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let screen = screen::show(board.clone(), calls.clone(), options.seed);
    let play = Play::new(chain.clone(), calls.clone(), board.clone(), &options);
    let played = play.run(&stop).await;
    board.settle(SETTLING_MAX).await;
    // What fell due in the meantime is sent, too, so that the story ends with nothing left over.
    surveys::send_due(&chain, &calls, &board, options.seed).await?;
    board.settle(SETTLING_MAX).await;
    surveys::read_score(&chain, &calls, &board).await?;
    screen.stop().await;
    drop(feeds);
    played?;

    let books = match own {
        Some(suite) => Some(suite.close().await?),
        None => None,
    };
    let summary = board.summary(&calls, &chain, books);
    match format {
        Format::Json => output::print_json(&summary)?,
        Format::Text => output::print(&screen::farewell(&summary))?,
    }
    Ok(if summary.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A suite that lives as long as the demo.
struct Suite {
    running: Running,
    config: Config,
    /// Removed when the suite is dropped.
    _folder: TempDir,
}

/// What a verification of the suite's own books has found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Books {
    accounts: u64,
    entries: u64,
    points: i128,
    differences: usize,
}

impl Suite {
    async fn start() -> anyhow::Result<Suite> {
        let folder = TempDir::with_prefix("regulars-demo-").context("there is no room for a temporary folder")?;
        let config = Config::default_in(folder.path());
        let running = rpc::start(&Context::system(), config.clone(), &SERVICES).await?;
        Ok(Suite { running, config, _folder: folder })
    }

    fn connection(&self) -> anyhow::Result<Connection> {
        let key = self.running.first_administrator().context("the suite is new and still has made no key")?;
        Ok(Connection { server: format!("http://{}", self.running.address()), key: Some(key), ca: None })
    }

    /// Stops it and verifies its ledger.
    async fn close(self) -> anyhow::Result<Books> {
        let Suite { running, config, _folder } = self;
        running.stop().await;
        let report = ledger(&config, &mut Progress::hidden()).await?;
        Ok(Books {
            accounts: report.accounts,
            entries: report.entries,
            points: report.points.values().sum::<i128>(),
            differences: report.differences.len(),
        })
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.0..=1000.0).contains(speed));
    speed.ok_or_else(|| "a number from 0 to 1000".to_owned())
}
