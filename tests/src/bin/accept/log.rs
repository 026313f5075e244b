//! The log itself: read without any code of the suite, or made from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const COLUMNS: [&str; 5] = ["purchase_id", "customer_id", "date", "quantity", "amount"];

/// What a log must come to under one point per full dollar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) rows: u64,
    pub(crate) member_days: u64,
    pub(crate) cents: i64,
    pub(crate) purchases_of_zero: u64,
    /// Points by customer.
    pub(crate) balances: BTreeMap<String, i64>,
    /// Purchase ids in the file's order.
    pub(crate) purchases: Vec<String>,
}

/// The figures published with the CDNOW sample of 6,919 purchases.
pub(crate) struct Published {
    pub(crate) rows: u64,
    pub(crate) members: u64,
    pub(crate) member_days: u64,
    pub(crate) cents: i64,
    pub(crate) purchases_of_zero: u64,
    pub(crate) points: i64,
    pub(crate) highest: [(&'static str, i64); 3],
    /// Members with at least so many points.
    pub(crate) with_at_least: [(i64, u64); 3],
}

pub(crate) const PUBLISHED: Published = Published {
    rows: 6_919,
    members: 2_357,
    member_days: 6_696,
    cents: 24_409_194,
    purchases_of_zero: 8,
    points: 239_444,
    highest: [("19339", 6_517), ("05420", 1_930), ("20111", 1_712)],
    with_at_least: [(100, 604), (500, 74), (1_000, 19)],
};

impl Expected {
    pub(crate) fn points(&self) -> i64 {
        self.balances.values().sum()
    }

    pub(crate) fn members(&self) -> u64 {
        self.balances.len() as u64
    }
}

/// The three highest balances; of equal ones the first customer.
pub(crate) fn highest(balances: &BTreeMap<String, i64>) -> Vec<(String, i64)> {
    let mut sorted: Vec<_> = balances.iter().map(|(customer, points)| (customer.clone(), *points)).collect();
    sorted.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sorted.truncate(3);
    sorted
}

/// How many balances reach a number of points.
pub(crate) fn at_least(balances: &BTreeMap<String, i64>, points: i64) -> u64 {
    balances.values().filter(|balance| **balance >= points).count() as u64
}

/// Reads a log and works out what it must come to.
pub(crate) fn read(file: &Path) -> Result<Expected> {
    let mut reader = csv::Reader::from_path(file)?;
    let head: Vec<&str> = reader.headers()?.iter().collect();
    ensure!(head == COLUMNS, "its columns are {head:?}, not {COLUMNS:?}");
    let mut expected =
        Expected { rows: 0, member_days: 0, cents: 0, purchases_of_zero: 0, balances: BTreeMap::new(), purchases: Vec::new() };
    let mut days = BTreeSet::new();
    for record in reader.records() {
        let record = record?;
        let cents = cents(&record[4]).with_context(|| format!("row {} has no amount", expected.rows + 1))?;
        expected.rows += 1;
        expected.cents += cents;
        expected.purchases_of_zero += u64::from(cents == 0);
        expected.purchases.push(record[0].to_owned());
        *expected.balances.entry(record[1].to_owned()).or_default() += cents / 100;
        days.insert((record[1].to_owned(), record[2].to_owned()));
    }
    expected.member_days = days.len() as u64;
    Ok(expected)
}

/// "29.33" as 2933; the log has two places everywhere.
fn cents(text: &str) -> Option<i64> {
    let (dollars, cents) = text.split_once('.')?;
    (cents.len() == 2).then_some(())?;
    dollars.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents.parse().ok()?)
}

/// Writes a log like the published one: many who come once, some who come often, a few purchases of nothing.
pub(crate) fn generate(file: &Path, rows: u32, seed: u64) -> Result<PathBuf> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut writer = csv::Writer::from_path(file)?;
    writer.write_record(COLUMNS)?;
    let first = jiff::civil::date(2024, 1, 1);
    let customers = f64::from(rows / 3 + 1);
    for row in 1..=rows {
        // The square makes low numbers come more often.
        let customer = (dice.random::<f64>().powi(2) * customers) as u32;
        let day = first.checked_add(jiff::Span::new().days(i64::from(dice.random_range(0..540_u32))))?;
        let cents = if row.is_multiple_of(97) { 0 } else { dice.random_range(1..9_000) };
        writer.write_record([
            format!("log-{row}"),
            format!("C{customer:05}"),
            day.to_string(),
            dice.random_range(1..6_u32).to_string(),
            format!("{}.{:02}", cents / 100, cents % 100),
        ])?;
    }
    writer.flush()?;
    Ok(file.to_owned())
}
