//! `regulars verify`: every balance derived anew from its entries.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use persistence::Database;
use points::Report;
use rpc::{Config, Service};
use serde::Serialize;

use crate::output::{self, Format, grouped};
use crate::storage::{Storage, sqlite_folder};

const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// Differences that are shown one by one.
const SHOWN_MAX: usize = 50;

/// Which suite.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    storage: Storage,
}

/// A report as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    clean: bool,
    accounts: u64,
    entries: u64,
    /// Sum of the points of all entries, by program.
    points: BTreeMap<&'a str, i128>,
    /// Seals over the entries; fewer than a run before told of are a finding.
    seals: u64,
    differences: Vec<ShownDifference<'a>>,
    seconds: f64,
}

#[derive(Serialize)]
struct ShownDifference<'a> {
    member: &'a str,
    what: &'a str,
}

pub(crate) async fn run(options: Options, format: Format) -> anyhow::Result<ExitCode> {
    let config = options.storage.load_existing()?;
    let begun = Instant::now();
    let report = ledger(&config, &mut Progress::new()).await?;
    let seconds = begun.elapsed().as_secs_f64();
    match format {
        Format::Json => output::print_json(&shown(&report, seconds))?,
        Format::Text => output::print(&told(&report, seconds))?,
    }
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Verifies the ledger of a suite.
pub(crate) async fn ledger(config: &Config, progress: &mut Progress) -> anyhow::Result<Report> {
    if let Some(folder) = sqlite_folder(config) {
        anyhow::ensure!(folder.join("points.db").is_file(), "there is no ledger in {}", folder.display());
    }
    let opened = Database::open(&rpc::database_options(config), points::Points::NAME, points::MIGRATIONS).await;
    let database = opened.context("the ledger cannot be opened")?;
    let keyring = rpc::keyring(config).context("the keys of the suite cannot be read")?;
    let report = points::verify(&database, &keyring, |accounts| progress.advance(accounts)).await;
    progress.finish();
    database.close().await;
    report.context("the ledger cannot be read to its end")
}

fn shown(report: &Report, seconds: f64) -> Shown<'_> {
    let Report { accounts, entries, points, seals, differences } = report;
    Shown {
        clean: differences.is_empty(),
        accounts: *accounts,
        entries: *entries,
        points: points.iter().map(|(program, points)| (program.as_str(), *points)).collect(),
        seals: *seals,
        differences: differences.iter().map(|found| ShownDifference { member: &found.member, what: &found.what }).collect(),
        seconds,
    }
}

fn told(report: &Report, seconds: f64) -> String {
    let Report { accounts, entries, points, seals, differences } = report;
    let count = |number: &u64| grouped(*number);
    let mut text = format!("{} accounts with {} entries derived anew in {seconds:.1} s\n", count(accounts), count(entries));
    let points: BTreeMap<_, _> = points.iter().collect();
    for (program, points) in points {
        text.push_str(&format!("  programs/{program}: {} points outstanding\n", grouped(*points)));
    }
    text.push_str(&format!("  {} seals over the entries\n", count(seals)));
    for difference in differences.iter().take(SHOWN_MAX) {
        text.push_str(&format!("DIFFERENT {}: {}\n", difference.member, difference.what));
    }
    if differences.len() > SHOWN_MAX {
        text.push_str(&format!("and {} more; --output json lists all\n", differences.len() - SHOWN_MAX));
    }
    text.push_str(&if differences.is_empty() {
        "clean: every balance is what its entries say\n".to_owned()
    } else {
        format!("NOT CLEAN: {} differences\n", differences.len())
    });
    text
}

/// Accounts looked at so far; how many there are is not known before the end.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { bar: std::io::stderr().is_terminal().then(ProgressBar::new_spinner), last_line: Instant::now() }
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Progress {
        Progress { bar: Some(ProgressBar::hidden()), last_line: Instant::now() }
    }

    fn advance(&mut self, accounts: u64) {
        let text = || format!("{} accounts verified", grouped(i64::try_from(accounts).unwrap_or(i64::MAX)));
        match &self.bar {
            Some(bar) => {
                bar.set_message(text());
                bar.tick();
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                eprintln!("{}", text());
            }
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use points::Difference;

    use super::*;

    #[test]
    fn a_difference_is_told_and_a_clean_ledger_too() {
        let mut report =
            Report { accounts: 2357, entries: 6911, points: [("tea".to_owned(), 239_444)].into(), seals: 71, differences: Vec::new() };
        let text = told(&report, 1.0);
        assert!(text.contains("239,444") && text.ends_with("clean: every balance is what its entries say\n"), "{text}");
        assert!(shown(&report, 1.0).clean);
        report.differences.push(Difference { member: "programs/tea/members/x".to_owned(), what: "a gap".to_owned() });
        let text = told(&report, 1.0);
        assert!(text.contains("DIFFERENT programs/tea/members/x: a gap") && text.contains("NOT CLEAN: 1 "), "{text}");
        assert!(!shown(&report, 1.0).clean);
    }
}
