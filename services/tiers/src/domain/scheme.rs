//! What a scheme says.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use kernel::{CalendarUnit, Period, Timestamp};
use rust_decimal::Decimal;

/// The day that stands for "never ends".
pub const NEVER: Date = Date::MAX;

/// One version of a scheme.
#[derive(Clone, PartialEq, Debug)]
pub struct Scheme {
    /// 1 for the first.
    pub version: i64,
    /// From when it holds; the first version holds for all that was before, too.
    pub start: Timestamp,
    /// What people call it.
    pub display_name: String,
    /// What it counts.
    pub basis: Basis,
    /// Over which span it counts.
    pub period: QualifyingPeriod,
    /// How long a level that was reached or renewed is held.
    pub validity: Validity,
    /// Where a member goes whose level ends.
    pub downgrade: Downgrade,
    /// How long after its validity a level is still held.
    pub grace: Option<Period>,
    /// What a return does to a level.
    pub on_return: OnReturn,
    /// The levels, lowest first.
    pub levels: Vec<Level>,
}

/// What a scheme counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// Base points of purchases less those of returns.
    QualifyingPoints,
}

/// The span over which a scheme counts, seen from a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QualifyingPeriod {
    /// The so many calendar months that end with the day.
    RollingMonths(i32),
    /// The calendar year of the day.
    CalendarYear,
    /// All days.
    Lifetime,
}

/// How long a level is held, from a day on which it was reached or renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// So long.
    Length(Period),
    /// To the end of the qualifying period and of so many that follow it.
    EndOfPeriod {
        /// 0 for the period of the day itself.
        following: i32,
    },
}

/// Where a member goes whose level ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Downgrade {
    /// One level down.
    OneDown,
    /// To the highest level still held.
    Full,
    /// Nowhere: levels do not end.
    None,
}

/// What a return does to a level that the returned goods helped to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnReturn {
    /// From the return on all is as if the goods had not been bought.
    Reevaluate,
    /// The level is held to the end of its validity.
    Keep,
}

/// A level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    /// Unique in the scheme, the same in every version.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// Points to reach in the period; `None` for a level that is only granted.
    pub threshold: Option<i64>,
    /// What base points are multiplied by.
    pub multiplier: Decimal,
}

/// A fault in a scheme: the path of the field and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Path from the scheme, for example `levels[1].threshold`.
    pub field: String,
    /// What is wrong.
    pub description: String,
}

impl QualifyingPeriod {
    /// The first day that counts, seen from `day`.
    pub fn first_day(self, day: Date) -> Date {
        match self {
            QualifyingPeriod::RollingMonths(months) => tomorrow(months_of(months).before_day(day)),
            QualifyingPeriod::CalendarYear => date(day.year(), 1, 1),
            QualifyingPeriod::Lifetime => Date::MIN,
        }
    }

    /// The first day on which what was bought on `day` no longer counts.
    pub fn leaves(self, day: Date) -> Date {
        match self {
            // Month ends clamp, so that the day can still count one to three days after the same day of the later month.
            QualifyingPeriod::RollingMonths(months) => {
                let mut leaves = months_of(months).after_day(day);
                while leaves < NEVER && self.first_day(leaves) <= day {
                    leaves = tomorrow(leaves);
                }
                leaves
            }
            QualifyingPeriod::CalendarYear => first_of_year(day.year(), 1),
            QualifyingPeriod::Lifetime => NEVER,
        }
    }
}

impl Scheme {
    /// The first day on which a level that was reached or renewed on `day` is no longer valid; [`NEVER`] when it stays.
    pub fn valid_until(&self, level: &Level, day: Date) -> Date {
        if self.downgrade == Downgrade::None || level.threshold == Some(0) {
            return NEVER;
        }
        match (self.validity, self.period) {
            (Validity::Length(length), QualifyingPeriod::CalendarYear) => tomorrow(length.after_day(day)).max(first_of_year(day.year(), 1)),
            (Validity::Length(length), _) => tomorrow(length.after_day(day)),
            (Validity::EndOfPeriod { following }, QualifyingPeriod::CalendarYear) => first_of_year(day.year(), following + 1),
            (Validity::EndOfPeriod { following }, QualifyingPeriod::RollingMonths(months)) => {
                tomorrow(months_of(months.saturating_mul(following + 1)).after_day(day))
            }
            (Validity::EndOfPeriod { .. }, QualifyingPeriod::Lifetime) => NEVER,
        }
    }

    /// The first day on which a level is no longer held whose validity ends with `until`.
    pub fn held_until(&self, until: Date) -> Date {
        match self.grace {
            Some(grace) if until < NEVER => grace.after_day(until),
            _ => until,
        }
    }

    /// The place of a level, 0 for the lowest.
    pub fn rank(&self, id: &str) -> Option<usize> {
        self.levels.iter().position(|level| level.id == id)
    }

    /// The level of an id.
    pub fn level(&self, id: &str) -> Option<&Level> {
        self.levels.iter().find(|level| level.id == id)
    }

    /// The next level below `rank` that can be earned.
    pub fn below(&self, rank: usize) -> Option<&Level> {
        self.levels[..rank].iter().rev().find(|level| level.threshold.is_some())
    }

    /// The least number of days by which a renewal on the last day of a validity outlasts it; `None` when it does not, or when
    /// validities do not end.
    fn validity_days_min(&self) -> Option<i64> {
        match (self.validity, self.period) {
            (Validity::Length(length), _) => Some(days(length).0),
            (Validity::EndOfPeriod { following: 0 }, QualifyingPeriod::CalendarYear) => None,
            (Validity::EndOfPeriod { following }, QualifyingPeriod::CalendarYear) => Some(i64::from(following) * 365),
            (Validity::EndOfPeriod { following }, QualifyingPeriod::RollingMonths(months)) => {
                Some(days(months_of(months.saturating_mul(following + 1))).0)
            }
            (Validity::EndOfPeriod { .. }, QualifyingPeriod::Lifetime) => None,
        }
    }

    /// Everything that makes this no scheme, by field.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: String, description: String| faults.push(Fault { field, description });
        if let (QualifyingPeriod::RollingMonths(months), Validity::Length(length)) = (self.period, self.validity)
            && !covers(length, months)
        {
            fault("validity.length".to_owned(), format!("must not be shorter than the rolling period of {months} months"));
        }
        if let (QualifyingPeriod::Lifetime, Validity::Length(_)) = (self.period, self.validity) {
            let description = "must not be used with a lifetime, which is longer than any length: use end_of_period";
            fault("validity.length".to_owned(), description.to_owned());
        }
        if let (Some(grace), Some(validity_days)) = (self.grace, self.validity_days_min())
            && days(grace).1 >= validity_days
        {
            fault("grace".to_owned(), "must be shorter than the validity".to_owned());
        }
        let mut threshold_below: Option<i64> = None;
        for (index, level) in self.levels.iter().enumerate() {
            if self.levels[..index].iter().any(|other| other.id == level.id) {
                fault(format!("levels[{index}].id"), "must be unique in the scheme".to_owned());
            }
            if level.multiplier > Decimal::TEN {
                fault(format!("levels[{index}].multiplier"), "must be at most 10".to_owned());
            }
            if let Some(threshold) = level.threshold {
                if let Some(below) = threshold_below.filter(|below| threshold <= *below) {
                    fault(format!("levels[{index}].threshold"), format!("must be greater than {below}, the threshold of the level below"));
                }
                threshold_below = Some(threshold);
            }
        }
        faults
    }
}

/// The least and the greatest number of days that a span has.
fn days(span: Period) -> (i64, i64) {
    let (least, greatest) = match span.unit {
        CalendarUnit::Day => (1, 1),
        CalendarUnit::Week => (7, 7),
        CalendarUnit::Month => (28, 31),
        CalendarUnit::Year => (365, 366),
    };
    (i64::from(span.count) * least, i64::from(span.count) * greatest)
}

/// Whether a span is at least so many months long, wherever it begins.
fn covers(length: Period, months: i32) -> bool {
    match length.unit {
        CalendarUnit::Day => length.count >= months * 31,
        CalendarUnit::Week => length.count * 7 >= months * 31,
        CalendarUnit::Month => length.count >= months,
        CalendarUnit::Year => length.count * 12 >= months,
    }
}

fn months_of(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Month }
}

fn first_of_year(year: i16, later: i32) -> Date {
    let year = i32::from(year).saturating_add(later);
    i16::try_from(year).ok().and_then(|year| Date::new(year, 1, 1).ok()).unwrap_or(NEVER)
}

/// The day after; [`NEVER`] has none.
pub fn tomorrow(day: Date) -> Date {
    day.checked_add(1.day()).unwrap_or(NEVER)
}

/// The day before.
pub fn yesterday(day: Date) -> Date {
    day.checked_sub(1.day()).unwrap_or(Date::MIN)
}
