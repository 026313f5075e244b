//! What base points are counted from: what of a purchase counts, and at which rate.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Basket, Line, LineFilter, Refusal, Version, WalletTerms};

/// Points for what is spent on certain lines, or somewhere, instead of the general rate.
#[derive(Clone, PartialEq, Debug)]
pub struct EarnRate {
    /// Its id in the version.
    pub id: Arc<str>,
    /// Points per major unit of money; none at all is a rate too.
    pub points_per_unit: Decimal,
    /// Which lines it is for.
    pub lines: LineFilter,
    /// Stores by name; empty for all.
    pub stores: Vec<String>,
    /// Channels; empty for all.
    pub channels: Vec<String>,
}

/// What counts beside the net.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Basis {
    /// Its tax.
    pub tax: bool,
    /// What was taken off before.
    pub discounts: bool,
}

impl Basis {
    fn amount(self, net: i64, tax: i64, discount: i64) -> i128 {
        let beside = |counts: bool, amount: i64| if counts { i128::from(amount) } else { 0 };
        i128::from(net) + beside(self.tax, tax) + beside(self.discounts, discount)
    }
}

/// A purchase, or what is left of it, with the rate of each of its lines. A rate goes by its place in the terms, the general one is `None`.
pub(super) struct Earning<'a> {
    pub(super) version: &'a Version,
    pub(super) basket: &'a Basket<'a>,
    /// The rate of each line; empty where terms have no rates. Of a purchase without lines its only one.
    of_lines: Vec<Option<usize>>,
    /// Each rate that something falls under, once.
    rates: Vec<Option<usize>>,
}

impl<'a> Earning<'a> {
    pub(super) fn of(version: &'a Version, basket: &'a Basket<'a>) -> Earning<'a> {
        let all = &version.terms.earn_rates;
        if all.is_empty() {
            return Earning { version, basket, of_lines: Vec::new(), rates: vec![None] };
        }
        let is_here = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        let is_rate_here = |rate: &EarnRate| is_here(&rate.stores, basket.store) && is_here(&rate.channels, basket.channel);
        let here: Vec<(usize, &EarnRate)> = all.iter().enumerate().filter(|(_, rate)| is_rate_here(rate)).collect();
        let first = |names: &dyn Fn(&LineFilter) -> bool| here.iter().find(|(_, rate)| names(&rate.lines)).map(|(place, _)| *place);
        let of_lines = match basket.lines {
            [] => vec![first(&|filter| *filter == LineFilter::default())],
            lines => lines.iter().map(|line| first(&|filter| filter.names(line))).collect(),
        };
        let mut rates = of_lines.clone();
        rates.sort_unstable();
        rates.dedup();
        Earning { version, basket, of_lines, rates }
    }

    /// The base points of all lines, by rate.
    pub(super) fn parts(&self) -> impl Iterator<Item = Result<(Option<&'a EarnRate>, i64), Refusal>> {
        let of_rate = |place: &Option<usize>| Ok((self.rate(*place), self.points(*place, &LineFilter::default())?));
        self.rates.iter().map(of_rate)
    }

    /// The base points of the lines that count, rounded once for each rate.
    pub(super) fn base(&self, counts: &LineFilter) -> Result<i64, Refusal> {
        self.rates.iter().try_fold(0_i64, |sum, place| sum.checked_add(self.points(*place, counts)?).ok_or(Refusal::Overflow))
    }

    fn rate(&self, place: Option<usize>) -> Option<&'a EarnRate> {
        place.map(|place| &self.version.terms.earn_rates[place])
    }

    /// The base points of another wallet for the lines that count, by its own rate.
    pub(super) fn base_in(&self, wallet: &WalletTerms, counts: &LineFilter) -> Result<i64, Refusal> {
        let is_of_lines = wallet.lines != LineFilter::default();
        if wallet.points_per_unit.is_zero() || (is_of_lines && self.basket.lines.is_empty()) {
            return Ok(0);
        }
        self.at_rate(wallet.points_per_unit, |_, line| wallet.lines.names(line), counts)
    }

    fn points(&self, place: Option<usize>, counts: &LineFilter) -> Result<i64, Refusal> {
        let general = self.version.terms.points_per_unit;
        let rate = self.rate(place).map_or(general, |rate| rate.points_per_unit);
        self.at_rate(rate, |index, _| self.of_lines.get(index).copied().flatten() == place, counts)
    }

    fn at_rate(&self, rate: Decimal, is_at_it: impl Fn(usize, &Line) -> bool, counts: &LineFilter) -> Result<i64, Refusal> {
        let (whole, kept) = self.amounts(is_at_it, counts)?;
        let counted = match self.basket.amount_left {
            // An amount went back, and nobody knows what of: as much of each rate as of the whole.
            Some(left) => kept.min(share(whole, left, self.basket.whole_net)?),
            None => kept,
        };
        self.version.base_points(counted, rate)
    }

    /// What falls under a rate of the whole purchase, and of what is left and counts; minor units.
    fn amounts(&self, is_at_it: impl Fn(usize, &Line) -> bool, counts: &LineFilter) -> Result<(i128, i128), Refusal> {
        let basis = self.version.terms.basis;
        let Basket { net, whole_net, lines, tax, discount, .. } = *self.basket;
        if lines.is_empty() {
            let whole = basis.amount(whole_net, tax, discount);
            // Without lines and money nothing could ever go back: so nothing counts.
            return Ok((whole, if whole_net > 0 { share(whole, net, whole_net)? } else { 0 }));
        }
        let of_rate = lines.iter().enumerate().filter(|(index, line)| is_at_it(*index, line));
        Ok(of_rate.fold((0, 0), |(whole, kept), (_, line)| {
            let amount = basis.amount(line.net, line.tax, line.discount);
            (whole + amount, kept + if counts.counts(line) { line.kept(amount) } else { 0 })
        }))
    }
}

impl Line {
    /// The part of an amount of the whole line that is left with its pieces. It depends on them alone, rounded down to the minor unit, so
    /// that slicing gains nothing.
    pub(super) fn kept(&self, whole: i128) -> i128 {
        whole * i128::from(self.left()) / i128::from(self.quantity)
    }
}

/// So much of an amount as is left of the net, rounded down to the minor unit.
fn share(amount: i128, left: i64, whole_net: i64) -> Result<i128, Refusal> {
    let scaled = amount.checked_mul(i128::from(left)).ok_or(Refusal::Overflow)?;
    scaled.checked_div(i128::from(whole_net)).ok_or(Refusal::Overflow)
}
