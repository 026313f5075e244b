//! Promotions: extra points for purchases. Whether one applies is judged once, when a purchase is awarded. What it then gives is worked out
//! from what is left of the purchase, by the same function for an award, its preview and a return; it never rises when something goes back.

use std::sync::Arc;

use kernel::{Timestamp, Zone};
use rust_decimal::Decimal;

use super::earning::Earning;
use super::{Applied, Basket, Count, Facts, Limit, Line, Refusal, Version};

/// Extra points for purchases of which everything holds that it asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Promotion {
    /// Its id in the version.
    pub id: Arc<str>,
    /// What a receipt calls it.
    pub title: String,
    /// What it gives.
    pub gives: Gives,
    /// Which purchases it is for, by time, place and person.
    pub asks: Asks,
    /// Which lines count.
    pub lines: LineFilter,
    /// What must be spent on them, minor units.
    pub spend_min: i64,
    /// The most points that it gives for a purchase.
    pub points_max: Option<i64>,
    /// Of those of a group one applies; `None` for one that adds to all.
    pub group: Option<String>,
    /// Higher goes first in the group.
    pub priority: i32,
    /// The most that one member may get of it.
    pub limit: Option<Limit>,
}

/// What a promotion gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Gives {
    /// What the base points of the lines that count are multiplied by; more than one.
    Multiplier(Decimal),
    /// So many points.
    Points(i64),
}

/// What a promotion asks of time, place and person. What is empty asks for nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Asks {
    /// From when.
    pub start_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
    /// Days of the week, 1 for Monday to 7 for Sunday.
    pub weekdays: Vec<i8>,
    /// A part of the day.
    pub day_part: Option<DayPart>,
    /// Stores by name.
    pub stores: Vec<String>,
    /// Channels.
    pub channels: Vec<String>,
    /// Tiers.
    pub tiers: Vec<String>,
    /// Only this of the member's purchases, from 1.
    pub purchase_number: Option<i64>,
    /// Days without a purchase.
    pub dormant_days: Option<i32>,
    /// Around his birthday.
    pub birthday: Option<BirthdayWindow>,
}

/// Minutes of the day by the clock on the wall. The end is exclusive; before the start it lies past midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayPart {
    /// 0 to 1439.
    pub start_minute: i32,
    /// 1 to 1440.
    pub end_minute: i32,
}

/// How far from a birthday.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BirthdayWindow {
    /// On the day.
    Day,
    /// Three days before to three days after.
    Week,
    /// In its month.
    Month,
}

/// The day of the year on which somebody was born.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birthday {
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

/// Lines of certain articles or categories, and of none that is excluded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineFilter {
    /// Article numbers.
    pub skus: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Categories that do not count.
    pub excluded_categories: Vec<String>,
    /// Pieces that must be bought of them.
    pub quantity_min: i64,
}

/// Why a promotion that is running gives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Not on this day of the week, or at this time.
    Time,
    /// Not here.
    Store,
    /// Not in this way.
    Channel,
    /// Not for his tiers.
    Tier,
    /// Not this purchase.
    PurchaseNumber,
    /// He was not away for long enough.
    Dormancy,
    /// Not around his birthday.
    Birthday,
    /// No line counts, or too few pieces.
    Lines,
    /// Too little was spent.
    Spend,
    /// Less than a point.
    Nothing,
    /// He has had all that he may get of it.
    Limit,
    /// Another of its group went before it.
    Stacking,
}

impl Rejection {
    /// Whether time, place and person were right: another basket might have got something.
    pub fn is_about_the_basket(self) -> bool {
        matches!(self, Rejection::Lines | Rejection::Spend | Rejection::Nothing | Rejection::Limit | Rejection::Stacking)
    }
}

/// What a promotion gives for a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bonus {
    /// Points before its bound.
    pub desired: i64,
    /// Points.
    pub granted: i64,
}

/// What of a member promotions ask for, when he buys.
#[derive(Clone, Copy, Debug)]
pub struct Buyer<'a> {
    /// What other services' feeds have told.
    pub facts: &'a Facts,
    /// The purchases before this one.
    pub purchases: i64,
    /// When the last of them was made.
    pub last_purchase_at: Option<Timestamp>,
    /// What he has got of what is limited.
    pub counts: &'a [Count],
}

/// The promotions that apply, in the order of the version, and those that were running and do not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// With what the member could still get.
    pub applied: Vec<Applied>,
    /// With their reasons.
    pub rejected: Vec<(Arc<str>, Rejection)>,
}

impl Version {
    /// Which promotions apply to a purchase.
    pub fn select(&self, basket: &Basket<'_>, buyer: &Buyer<'_>) -> Result<Selection, Refusal> {
        let moment = Moment::of(basket.occurred_at, &self.zone);
        let earning = Earning::of(self, basket);
        let mut selection = Selection::default();
        let mut candidates = Vec::new();
        for promotion in self.terms.promotions.iter().filter(|promotion| promotion.asks.is_running(basket.occurred_at)) {
            match promotion.judge(&earning, &moment, buyer)? {
                Ok((bonus, at_most)) => candidates.push((promotion, bonus.granted, at_most)),
                Err(reason) => selection.rejected.push((promotion.id.clone(), reason)),
            }
        }
        for (index, (promotion, gives, at_most)) in candidates.iter().enumerate() {
            let is_beaten = candidates.iter().enumerate().any(|(place, (other, others, _))| {
                // The first of those that are alike goes before the others.
                let goes_before = (other.priority, *others, index) > (promotion.priority, *gives, place);
                promotion.group.is_some() && other.group == promotion.group && place != index && goes_before
            });
            match is_beaten {
                true => selection.rejected.push((promotion.id.clone(), Rejection::Stacking)),
                false => selection.applied.push(Applied { id: promotion.id.clone(), at_most: *at_most }),
            }
        }
        Ok(selection)
    }
}

/// A moment by the clock and the calendar on the wall.
struct Moment {
    weekday: i8,
    minute: i32,
    date: jiff::civil::Date,
    zone: Zone,
}

impl Moment {
    fn of(at: Timestamp, zone: &Zone) -> Moment {
        let wall = at.wall_in(zone);
        let minute = i32::from(wall.hour()) * 60 + i32::from(wall.minute());
        Moment { weekday: wall.weekday().to_monday_one_offset(), minute, date: wall.date(), zone: zone.clone() }
    }
}

impl Promotion {
    /// What it gives for a purchase, and what it may give, or why it gives nothing.
    fn judge(&self, earning: &Earning<'_>, moment: &Moment, buyer: &Buyer<'_>) -> Result<Result<(Bonus, Option<i64>), Rejection>, Refusal> {
        let Earning { version, basket, .. } = earning;
        if let Some(reason) = self.asks.judge(moment, basket, buyer) {
            return Ok(Err(reason));
        }
        let mut at_most = None;
        if let Some(limit) = self.limit {
            at_most = limit.room(&format!("promotion:{}", self.id), buyer.counts, basket.occurred_at, &version.zone);
            if at_most.is_none() {
                return Ok(Err(Rejection::Limit));
            }
        }
        Ok(self.bonus(earning, at_most)?.map(|bonus| (bonus, at_most)))
    }

    /// What it gives for what is left of a purchase that it applies to. Never more for less: fewer lines, fewer pieces or less net
    /// each give at most as many points.
    pub(super) fn bonus(&self, earning: &Earning<'_>, at_most: Option<i64>) -> Result<Result<Bonus, Rejection>, Refusal> {
        let Earning { version, basket, .. } = earning;
        let counted = match self.lines.counted(basket) {
            Some(counted) => counted,
            None => return Ok(Err(Rejection::Lines)),
        };
        if counted < self.spend_min || basket.is_empty() {
            return Ok(Err(Rejection::Spend));
        }
        let desired = match self.gives {
            Gives::Points(points) => points,
            Gives::Multiplier(multiplier) => version.multiplied(earning.base(&self.lines)?, multiplier)?,
        };
        let granted = self.points_max.into_iter().chain(at_most).fold(desired, i64::min);
        Ok(if granted > 0 { Ok(Bonus { desired, granted }) } else { Err(Rejection::Nothing) })
    }
}

impl Asks {
    fn is_running(&self, at: Timestamp) -> bool {
        self.start_at.is_none_or(|start| start <= at) && self.end_at.is_none_or(|end| at < end)
    }

    /// The first thing that does not hold.
    fn judge(&self, moment: &Moment, basket: &Basket<'_>, buyer: &Buyer<'_>) -> Option<Rejection> {
        let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        let has_tier = || buyer.facts.tiers_at(basket.occurred_at).any(|tier| self.tiers.contains(&tier.tier));
        let checks: [(bool, Rejection); 7] = [
            (
                (self.weekdays.is_empty() || self.weekdays.contains(&moment.weekday))
                    && self.day_part.is_none_or(|part| part.holds(moment.minute)),
                Rejection::Time,
            ),
            (names(&self.stores, basket.store), Rejection::Store),
            (names(&self.channels, basket.channel), Rejection::Channel),
            (self.tiers.is_empty() || has_tier(), Rejection::Tier),
            (self.purchase_number.is_none_or(|number| number == buyer.purchases + 1), Rejection::PurchaseNumber),
            (self.dormant_days.is_none_or(|days| was_away(moment, buyer.last_purchase_at, days)), Rejection::Dormancy),
            (
                self.birthday.is_none_or(|window| buyer.facts.birthday.is_some_and(|day| window.holds(day, moment.date))),
                Rejection::Birthday,
            ),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, reason)| reason)
    }
}

/// Whether somebody has bought before, and not for so many days.
fn was_away(moment: &Moment, last: Option<Timestamp>, days: i32) -> bool {
    let away = |last: Timestamp| last.date_in(&moment.zone).until(moment.date).map_or(0, |span| span.get_days());
    last.is_some_and(|last| away(last) >= days)
}

impl DayPart {
    fn holds(self, minute: i32) -> bool {
        let DayPart { start_minute, end_minute } = self;
        if start_minute < end_minute { (start_minute..end_minute).contains(&minute) } else { minute >= start_minute || minute < end_minute }
    }
}

impl BirthdayWindow {
    fn holds(self, born: Birthday, today: jiff::civil::Date) -> bool {
        if self == BirthdayWindow::Month {
            return today.month() == born.month;
        }
        let days_max = if self == BirthdayWindow::Week { 3 } else { 0 };
        // Around the turn of the year the nearest birthday is in another one.
        (-1..=1).filter_map(|years| born.in_year(today.year() + years)).any(|day| {
            let days = day.until(today).map_or(i32::MAX, |span| span.get_days());
            days.abs() <= days_max
        })
    }
}

impl Birthday {
    /// From month and day; `None` for a day that no year has, as for 0 and 0, by which feeds tell that it is not known.
    pub fn new(month: i32, day: i32) -> Option<Birthday> {
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(2024, month, day).ok().map(|_| Birthday { month, day })
    }

    /// Who was born on 29 February has his birthday on the 28th in other years.
    fn in_year(self, year: i16) -> Option<jiff::civil::Date> {
        jiff::civil::Date::new(year, self.month, self.day).or_else(|_| jiff::civil::Date::new(year, self.month, self.day - 1)).ok()
    }
}

impl LineFilter {
    /// Whether it is for a line.
    pub(super) fn names(&self, line: &Line) -> bool {
        let LineFilter { skus, categories, excluded_categories, quantity_min: _ } = self;
        let is_named = (skus.is_empty() && categories.is_empty()) || skus.contains(&line.sku) || categories.contains(&line.category);
        is_named && !excluded_categories.contains(&line.category)
    }

    /// Whether it is for a line of which something is left.
    pub(super) fn counts(&self, line: &Line) -> bool {
        line.left() > 0 && self.names(line)
    }

    /// The net of what counts in a purchase; `None` when no line does, or too few pieces.
    fn counted(&self, basket: &Basket<'_>) -> Option<i64> {
        if *self == LineFilter::default() {
            return Some(basket.net);
        }
        let (pieces, net) = basket
            .lines
            .iter()
            .filter(|line| self.counts(line))
            .fold((0_i64, 0_i64), |(pieces, net), line| (pieces.saturating_add(line.left()), net.saturating_add(line.kept_net())));
        // Goods may have gone back by amount: then nobody knows which.
        (pieces > 0 && pieces >= self.quantity_min).then_some(net.min(basket.net))
    }
}
