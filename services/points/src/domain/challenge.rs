//! Challenges: ladders and streaks. What has been reached is a function of what counts, so that late news, returns and their order
//! come to the same.

use std::sync::Arc;

use kernel::{Timestamp, Zone};

use super::{Asks, Basket, LimitPeriod, LineFilter, Mark, Occasion};

/// How many days after it happened something counts, or ceases to.
pub(super) const COUNTED_DAYS: i64 = 62;
/// The same in purchases.
const COUNTED_PURCHASES: i64 = 200;
/// The unit of what counts the member's purchases one by one.
pub(super) const UNIT_OF_PURCHASES: &str = "streak-of-purchases";

/// Something that a member works towards.
#[derive(Clone, PartialEq, Debug)]
pub struct Challenge {
    /// Its id in the version.
    pub id: Arc<str>,
    /// What its tally goes by: its id and what it counts in, so that one that counts otherwise from now on begins anew.
    pub key: Arc<str>,
    /// What a receipt calls it.
    pub title: String,
    /// What counts.
    pub counts: Counts,
    /// How it counts.
    pub shape: Shape,
    /// From when.
    pub start_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
    /// Minutes from midnight at which a day begins.
    pub day_start_minute: i32,
    /// What goes back counts all the same.
    pub counts_returned: bool,
}

/// What counts for a challenge.
#[derive(Clone, PartialEq, Debug)]
pub enum Counts {
    /// Purchases.
    Purchases(Box<Qualifying>),
    /// An activity by its name.
    Activity(String),
}

/// Purchases that count.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Qualifying {
    /// Time, place and person.
    pub asks: Asks,
    /// Which lines count.
    pub lines: LineFilter,
    /// What must be spent on them, minor units.
    pub spend_min: i64,
}

/// How something counts.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// Steps within a period.
    Ladder {
        /// Within what time.
        period: LimitPeriod,
        /// What is measured.
        measure: Measure,
        /// The steps, ascending.
        steps: Vec<Step>,
    },
    /// Without a break.
    Streak(Streak),
}

/// What a ladder measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// How often.
    Times,
    /// On how many days.
    Days,
    /// What was spent, minor units.
    Spend,
}

/// A step of a ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// From how much on.
    pub at: i64,
    /// What it gives.
    pub gives: Gift,
}

/// So many units without a break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Streak {
    /// Of what.
    pub cadence: Cadence,
    /// How many that count.
    pub length: i64,
    /// How many may be missed in each.
    pub freezes: i64,
    /// How many of them in a row.
    pub freezes_in_row: i64,
    /// How many days after it happened something may be told.
    pub repair_days: i64,
    /// How often a member gets it.
    pub times_max: Option<i64>,
    /// What it gives.
    pub gives: Gift,
}

/// The units of a streak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cadence {
    /// Days.
    Day,
    /// Weeks from Monday.
    Week,
    /// Months.
    Month,
    /// The member's purchases, as they are recorded.
    Purchase,
}

/// What is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gift {
    /// Points of a wallet; `None` is the main one.
    Points(i64, Option<Arc<str>>),
    /// The voucher of a reward, by its id.
    Reward(Arc<str>),
}

/// How far somebody has come with a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The challenge.
    pub id: Arc<str>,
    /// Its title.
    pub title: String,
    /// What counts now.
    pub progress: i64,
    /// What is next, and from how much on.
    pub next: Option<Step>,
    /// What was reached now.
    pub reached: Vec<Gift>,
    /// What was taken back now.
    pub lost: Vec<Gift>,
    /// When the period ends.
    pub end_at: Option<Timestamp>,
    /// Freezes that are left.
    pub freezes_left: i64,
}

/// A moment by the calendar of a challenge: days begin when it says, and everything counts whole days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Day(jiff::civil::Date);

impl Day {
    /// Days since 1970.
    fn number(self) -> i64 {
        self.0.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24
    }

    fn of_number(number: i64) -> Day {
        Day(jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(number.clamp(-300_000, 2_900_000))))
    }
}

impl Qualifying {
    /// What is spent on what counts of what is left of a purchase; `None` when it does not count.
    pub fn counted(&self, basket: &Basket<'_>) -> Option<i64> {
        self.lines.counted(basket).filter(|net| *net >= self.spend_min && !basket.is_empty())
    }
}

impl Challenge {
    /// What the tally of a challenge goes by: its id with the period and measure of a ladder, the unit and length of a streak.
    pub fn key(id: &str, shape: &Shape) -> Arc<str> {
        match shape {
            Shape::Ladder { period, measure, steps: _ } => {
                let period = match period {
                    LimitPeriod::Ever => "ever",
                    LimitPeriod::Day => "day",
                    LimitPeriod::Week => "week",
                    LimitPeriod::Month => "month",
                    LimitPeriod::Year => "year",
                };
                let measure = match measure {
                    Measure::Times => "times",
                    Measure::Days => "days",
                    Measure::Spend => "spend",
                };
                format!("{id}/{period}-{measure}").into()
            }
            Shape::Streak(streak) => {
                let unit = match streak.cadence {
                    Cadence::Day => "streak-of-days",
                    Cadence::Week => "streak-of-weeks",
                    Cadence::Month => "streak-of-months",
                    Cadence::Purchase => UNIT_OF_PURCHASES,
                };
                format!("{id}/{unit}/{}", streak.length).into()
            }
        }
    }

    /// The key of a streak without its length.
    pub(super) fn unit_of(key: &str) -> Option<&str> {
        key.rsplit_once('/').map(|(unit, _)| unit)
    }

    /// Whether it is running.
    pub fn is_running(&self, at: Timestamp) -> bool {
        self.start_at.is_none_or(|start| start <= at) && self.end_at.is_none_or(|end| at < end)
    }

    /// Whether a purchase that is made now counts.
    pub(super) fn counts_purchase(&self, occasion: &Occasion<'_>) -> bool {
        let Counts::Purchases(qualifying) = &self.counts else { return false };
        let is_running = self.is_running(occasion.basket.occurred_at);
        is_running && qualifying.asks.hold(occasion) && qualifying.counted(occasion.basket).is_some()
    }

    /// What of what is left of a purchase that has counted counts now: the money where that is measured.
    pub fn counts_left(&self, basket: &Basket<'_>) -> Option<i64> {
        let Counts::Purchases(qualifying) = &self.counts else { return None };
        let counted = qualifying.counted(basket)?;
        Some(if matches!(self.shape, Shape::Ladder { measure: Measure::Spend, .. }) { counted } else { 0 })
    }

    /// Whether something that happened then, and is told now, counts at all.
    pub fn is_in_time(&self, occurred_at: Timestamp, now: Timestamp, zone: &Zone) -> bool {
        let days = if let Shape::Streak(streak) = &self.shape { streak.repair_days } else { COUNTED_DAYS };
        self.day(now, zone).number() - self.day(occurred_at, zone).number() <= days
    }

    /// The unit in which something counts: the day, the first day of the period, the week, the month, or the number of the purchase.
    pub fn unit(&self, at: Timestamp, purchases: i64, zone: &Zone) -> i64 {
        let day = self.day(at, zone);
        match &self.shape {
            Shape::Ladder { measure: Measure::Days, .. } => day.number(),
            Shape::Ladder { period, .. } => start_of(*period, day),
            Shape::Streak(Streak { cadence: Cadence::Day, .. }) => day.number(),
            // 5 January 1970 was a Monday.
            Shape::Streak(Streak { cadence: Cadence::Week, .. }) => (day.number() + 3).div_euclid(7),
            Shape::Streak(Streak { cadence: Cadence::Month, .. }) => i64::from(day.0.year()) * 12 + i64::from(day.0.month()) - 1,
            Shape::Streak(Streak { cadence: Cadence::Purchase, .. }) => purchases,
        }
    }

    /// What is before this unit changes no more.
    pub fn settled_before(&self, now: Timestamp, purchases: i64, zone: &Zone) -> i64 {
        let then = now - std::time::Duration::from_secs(86_400 * u64::try_from(COUNTED_DAYS + 1).unwrap_or(0));
        self.unit(then, purchases - COUNTED_PURCHASES, zone)
    }

    /// When the period of a ladder ends.
    pub fn period_end(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let Shape::Ladder { period, .. } = &self.shape else { return None };
        let (_, next) = period.days_around(self.day(at, zone).0)?;
        Some(zone.start_of(next) + std::time::Duration::from_secs(60 * u64::try_from(self.day_start_minute).unwrap_or(0)))
    }

    /// The period of a ladder that a unit is in, by its first day; for a streak there is but one.
    pub fn period_of(&self, unit: i64) -> i64 {
        match &self.shape {
            Shape::Ladder { measure: Measure::Days, period, .. } => start_of(*period, Day::of_number(unit)),
            Shape::Ladder { .. } => unit,
            Shape::Streak(_) => 0,
        }
    }

    /// What counts in a period of a ladder.
    pub fn progress(&self, marks: &[Mark], period: i64) -> i64 {
        let Shape::Ladder { measure, .. } = &self.shape else { return 0 };
        let measured = |mark: &Mark| match measure {
            Measure::Times => mark.times,
            Measure::Days => 1,
            Measure::Spend => mark.amount,
        };
        marks.iter().filter(|mark| self.period_of(mark.unit) == period).map(measured).fold(0, i64::saturating_add)
    }

    /// What a step gives.
    pub fn gift(&self, step: i64) -> Option<&Gift> {
        match &self.shape {
            Shape::Ladder { steps, .. } => steps.iter().find(|known| known.at == step).map(|known| &known.gives),
            Shape::Streak(streak) => Some(&streak.gives),
        }
    }

    fn day(&self, at: Timestamp, zone: &Zone) -> Day {
        let begun = at.wall_in(zone).saturating_sub(jiff::Span::new().minutes(self.day_start_minute));
        Day(begun.date())
    }
}

/// The first day of the period that a day is in, by its number; 0 for one from the first day on.
fn start_of(period: LimitPeriod, day: Day) -> i64 {
    period.days_around(day.0).map_or(0, |(first, _)| Day(first).number())
}

impl Streak {
    /// The longest repair window.
    pub const REPAIR_DAYS_MAX: i64 = COUNTED_DAYS;

    /// Whether it may be given once more.
    pub(super) fn may_be_given(&self, times: i64) -> bool {
        self.times_max.is_none_or(|max| times < max)
    }

    /// The units at which streaks are complete, in order: as soon as enough count and no more are missed than freezes cover. The next
    /// begins after that.
    pub fn complete<'a>(&'a self, marks: &'a [Mark]) -> impl Iterator<Item = i64> + 'a {
        let mut open: Vec<i64> = Vec::new();
        marks.iter().filter_map(move |mark| {
            self.go_on(&mut open, mark.unit);
            (i64::try_from(open.len()) == Ok(self.length)).then(|| {
                open.clear();
                mark.unit
            })
        })
    }

    /// The units of the streak that is open after all that counts.
    pub fn open(&self, marks: &[Mark]) -> Vec<i64> {
        let last = self.complete(marks).last();
        let mut open = Vec::new();
        marks.iter().filter(|mark| last.is_none_or(|last| mark.unit > last)).for_each(|mark| self.go_on(&mut open, mark.unit));
        open
    }

    /// Whether a streak of these units can still go on with one that is no earlier than `unit`.
    pub fn holds(&self, open: &[i64], unit: i64) -> bool {
        let (Some(first), Some(last)) = (open.first(), open.last()) else { return false };
        let count = i64::try_from(open.len()).unwrap_or(i64::MAX);
        unit - last - 1 <= self.freezes_in_row && unit - first - count <= self.freezes
    }

    /// Of units of which the last has no other after it before `unit`, those that can be in a streak with that.
    pub fn going(&self, past: &[i64], unit: i64) -> Vec<i64> {
        let mut open = Vec::new();
        past.iter().for_each(|past| self.go_on(&mut open, *past));
        while !open.is_empty() && !self.holds(&open, unit) {
            open.remove(0);
        }
        open
    }

    /// Takes one more unit in; those that it cannot be in a streak with fall out in front.
    fn go_on(&self, open: &mut Vec<i64>, unit: i64) {
        while !open.is_empty() && !self.holds(open, unit) {
            open.remove(0);
        }
        open.push(unit);
    }
}
