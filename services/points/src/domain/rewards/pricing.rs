//! What a voucher takes off a basket. Integers only: what a rate leaves of a minor unit is dropped once, on the sum, and the sum is spread
//! over the lines so that it comes out exactly.

use super::conditions::{Conditions, Situation};
use super::voucher::{Effect, Obstacle, VoucherTerms};

/// What is to be bought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Basket {
    /// At most 500, each with its own id.
    pub lines: Vec<BasketLine>,
    /// What the delivery costs, in minor units.
    pub delivery: i64,
    /// The store's name; empty when not told.
    pub store: String,
    /// How it is bought; empty when not told.
    pub channel: String,
}

/// One line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BasketLine {
    /// Its id.
    pub id: String,
    /// Article number.
    pub sku: String,
    /// Category of the article.
    pub category: String,
    /// Pieces, 1 to a million.
    pub quantity: i64,
    /// Minor units of the whole line, 0 to 10¹².
    pub net: i64,
}

impl Basket {
    /// Minor units of all lines.
    pub fn total(&self) -> i64 {
        self.lines.iter().map(|line| line.net).sum()
    }
}

/// What is taken off, in minor units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Priced {
    /// Per line of the basket, in its order: 0 to the line's net.
    pub lines: Vec<i64>,
    /// Off the delivery.
    pub delivery: i64,
}

impl Priced {
    /// All of it.
    pub fn total(&self) -> i64 {
        self.lines.iter().sum::<i64>() + self.delivery
    }
}

/// Prices a basket: what is taken off, which is more than nothing, or every reason why nothing is.
pub fn price(terms: &VoucherTerms, basket: &Basket, situation: &Situation) -> Result<Priced, Vec<Obstacle>> {
    let mut obstacles = terms.conditions.obstacles(basket, situation);
    match discount(&terms.effect, &terms.conditions, basket) {
        Ok(priced) if obstacles.is_empty() => return Ok(priced),
        Ok(_) => {}
        Err(obstacle) => obstacles.push(obstacle),
    }
    Err(obstacles)
}

fn discount(effect: &Effect, conditions: &Conditions, basket: &Basket) -> Result<Priced, Obstacle> {
    let eligible: Vec<usize> = (0..basket.lines.len()).filter(|index| conditions.admits(&basket.lines[*index])).collect();
    if eligible.is_empty() {
        return Err(Obstacle::Items);
    }
    let sum: i64 = eligible.iter().map(|index| basket.lines[*index].net).sum();
    let mut priced = Priced { lines: vec![0; basket.lines.len()], delivery: 0 };
    match effect {
        Effect::AmountOff(amount) => spread(basket, &eligible, (*amount).min(sum), &mut priced.lines),
        Effect::PercentOff { basis_points, at_most } => {
            let part = i128::from(sum) * i128::from(*basis_points) / 10_000;
            let part = i64::try_from(part).expect("a part is at most the whole").min(at_most.unwrap_or(i64::MAX));
            spread(basket, &eligible, part, &mut priced.lines);
        }
        Effect::FixedPrice { price, pieces } => {
            let runs = runs(basket, &eligible);
            cheapen(runs.iter().rev().filter(|run| run.price > *price), *pieces, *price, &mut priced.lines);
        }
        Effect::BuyGet { buy, get, times_max } => {
            let runs = runs(basket, &eligible);
            let pieces: i64 = runs.iter().map(|run| run.pieces).sum();
            let times = (pieces / (buy + get)).min(times_max.unwrap_or(i64::MAX));
            if times == 0 {
                return Err(Obstacle::Pieces { missing: buy + get - pieces });
            }
            cheapen(runs.iter(), times * get, 0, &mut priced.lines);
        }
        Effect::FreeDelivery => priced.delivery = basket.delivery,
    }
    if priced.total() > 0 { Ok(priced) } else { Err(Obstacle::NothingGained) }
}

/// Pieces of one line that cost the same.
struct Run {
    line: usize,
    price: i64,
    pieces: i64,
}

/// The pieces of lines, cheapest first; of equal ones those of the line with the lesser id, wherever it stands in the basket.
fn runs(basket: &Basket, eligible: &[usize]) -> Vec<Run> {
    let of_line = |line: &usize| {
        let (net, quantity) = (basket.lines[*line].net, basket.lines[*line].quantity);
        let (price, dearer) = (net / quantity, net % quantity);
        [Run { line: *line, price, pieces: quantity - dearer }, Run { line: *line, price: price + 1, pieces: dearer }]
    };
    let mut runs: Vec<Run> = eligible.iter().flat_map(of_line).filter(|run| run.pieces > 0).collect();
    runs.sort_by(|one, other| one.price.cmp(&other.price).then_with(|| basket.lines[one.line].id.cmp(&basket.lines[other.line].id)));
    runs
}

/// Lets so many pieces of the runs, in their order, cost a price that is no higher than theirs.
fn cheapen<'a>(runs: impl Iterator<Item = &'a Run>, mut pieces: i64, price: i64, discounts: &mut [i64]) {
    for run in runs {
        let taken = run.pieces.min(pieces);
        discounts[run.line] += (run.price - price) * taken;
        pieces -= taken;
    }
}

/// Spreads an amount over lines by their nets. What does not divide goes, a minor unit each, to the lines that were cut most; of equal ones
/// to that with the lesser id. The amount is at most what the lines come to, so no line gets more than its net.
fn spread(basket: &Basket, eligible: &[usize], amount: i64, discounts: &mut [i64]) {
    let sum: i128 = eligible.iter().map(|index| i128::from(basket.lines[*index].net)).sum();
    if sum == 0 {
        return;
    }
    let mut left = amount;
    let mut cut = Vec::with_capacity(eligible.len());
    for index in eligible {
        let exact = i128::from(amount) * i128::from(basket.lines[*index].net);
        let share = i64::try_from(exact / sum).expect("a share is at most the amount");
        discounts[*index] = share;
        left -= share;
        cut.push((exact % sum, *index));
    }
    cut.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| basket.lines[one.1].id.cmp(&basket.lines[other.1].id)));
    for (_, index) in cut.into_iter().take(usize::try_from(left).expect("shares come to the amount or less")) {
        discounts[index] += 1;
    }
}
