//! The main job, accepted or not: a log of purchases goes through `regulars import`, and every figure that comes back over gRPC
//! must be the one that the file itself gives.
//!
//! On each engine it is done twice on fresh suites: once the server is killed (`kill -9`) in the middle of the import and started
//! again, once the importer is. Then the books are verified, the import runs again, and nothing may have changed.

mod importer;
mod log;
mod readback;
mod report;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tempfile::TempDir;
use testkit::TestEngine;

use crate::importer::Import;
use crate::log::{Expected, PUBLISHED};
use crate::readback::Books;
use crate::report::Report;
use crate::suite::Suite;

/// Puts a log of purchases through the suite and checks every figure.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The log: purchase_id, customer_id, date, quantity, amount.
    #[arg(long, value_name = "FILE", required_unless_present = "generate")]
    purchases: Option<PathBuf>,
    /// Make a log of so many purchases instead.
    #[arg(long, value_name = "N", conflicts_with = "purchases", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    generate: Option<u32>,
    /// The seed of a log that is made.
    #[arg(long, default_value_t = 1997)]
    seed: u64,
    /// Only this engine; both unless named.
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// The program to try.
    #[arg(long, value_name = "FILE", default_value = "target/debug/regulars")]
    regulars: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineName {
    Sqlite,
    /// On the server that REGULARS_TEST_POSTGRES names.
    Postgres,
}

/// What is killed in the middle of the first import.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Server,
    Importer,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let folder = TempDir::with_prefix("regulars-accept-")?;
    let file = match (&arguments.purchases, arguments.generate) {
        (Some(file), _) => file.clone(),
        (None, Some(rows)) => log::generate(&folder.path().join("purchases.csv"), rows, arguments.seed)?,
        (None, None) => bail!("name a log with --purchases, or let one be made with --generate"),
    };
    let expected = log::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut report = Report::new();
    report.section(&format!("the file {}", file.display()));
    if expected.rows == PUBLISHED.rows && arguments.purchases.is_some() {
        println!("its {} rows are those of the published sample, whose figures must come out of it", expected.rows);
        report.published(&expected);
    } else {
        println!("it is not the published sample: its own figures are what must come out");
        report.own(&expected);
    }
    for engine in [EngineName::Sqlite, EngineName::Postgres] {
        if arguments.engine.is_some_and(|only| only != engine) {
            continue;
        }
        for killed in [Killed::Server, Killed::Importer] {
            accept(&arguments.regulars, engine, killed, &file, &expected, &mut report).await?;
        }
    }
    Ok(report.end())
}

/// One fresh suite from its first start to an import that changes nothing.
async fn accept(regulars: &Path, engine: EngineName, killed: Killed, file: &Path, expected: &Expected, report: &mut Report) -> Result<()> {
    let folder = TempDir::with_prefix("regulars-accept-")?;
    let (database, name): (Option<TestEngine>, _) = match engine {
        EngineName::Sqlite => (None, "SQLite"),
        EngineName::Postgres => {
            std::env::var("REGULARS_TEST_POSTGRES").context("REGULARS_TEST_POSTGRES names no PostgreSQL server")?;
            (Some(testkit::postgres().await), "PostgreSQL")
        }
    };
    let what = match killed {
        Killed::Server => "server",
        Killed::Importer => "importer",
    };
    report.section(&format!("{name}, the {what} killed in the middle of the import"));
    let url = database.as_ref().map(|engine| engine.options.url.clone());
    let mut suite = Suite::start(regulars, folder.path(), url).await?;
    let peer = suite.open_program().await?;
    let import = Import { regulars, file, server: suite.url(), key: suite.platform_key(), folder: folder.path() };

    let half = expected.rows / 2;
    let first = match killed {
        Killed::Server => {
            let running = import.spawn()?;
            let seen = readback::wait_for_purchases(&peer, half).await?;
            suite.kill_and_restart().await?;
            report.check(
                "rows when the server was killed",
                &format!("{half} to {}", expected.rows - 1),
                seen,
                seen >= half && seen < expected.rows,
            );
            running.finish().await?
        }
        Killed::Importer => {
            let mut running = import.spawn()?;
            let seen = readback::wait_for_purchases(&peer, half).await?;
            running.kill().await?;
            report.check(
                "rows when the importer was killed",
                &format!("{half} to {}", expected.rows - 1),
                seen,
                seen >= half && seen < expected.rows,
            );
            import.spawn()?.finish().await?
        }
    };
    report.equal("rows the import says it has done", expected.rows, first.rows);
    report.equal("rows that failed", 0, first.failed);
    let books = Books::read(&peer, expected).await?;
    report.books(expected, &books);
    report.verification(&suite.verify().await?, expected);

    let second = import.spawn()?.finish().await?;
    report.equal("second import: rows already there", expected.rows, second.unchanged);
    report.equal("second import: new or failed rows", 0, second.new + second.failed);
    let again = Books::read(&peer, expected).await?;
    report.equal("second import: entries", books.entries(), again.entries());
    report.unchanged("second import: members, balances, versions, purchases", &books, &again);
    report.verification(&suite.verify().await?, expected);
    suite.stop().await
}
