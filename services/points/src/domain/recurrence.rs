//! Windows of time that come again by a rule of RFC 5545. They are laid out when the terms are read, so that an award only looks them up.
//!
//! The rules are those of days: which day it is decides, and all windows of a rule begin at the same time of day by the clock on the wall.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::{Span, ToSpan};
use kernel::{Timestamp, Zone};

/// How long after its start a rule is laid out.
const YEARS_MAX: i16 = 10;

/// Windows that the rules of a version come to at most, so that a process can keep all that its versions have: with two moments each, not
/// two megabytes a version, also of what was over before it began.
pub const WINDOWS_MAX: usize = 100_000;

/// Times from one moment up to another, in order and apart from each other. None asks for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Windows {
    all: Arc<[(Timestamp, Timestamp)]>,
    /// When the last window of each rule ends.
    ends: Arc<[Timestamp]>,
}

/// Where a text is no rule, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("column {column}: {what}")]
pub struct RecurrenceError {
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Windows {
    /// All of several rules together.
    pub fn new(rules: &[Vec<(Timestamp, Timestamp)>]) -> Windows {
        let ends = rules.iter().filter_map(|windows| windows.iter().map(|(_, end)| *end).max()).collect();
        let mut all = rules.concat();
        all.sort_unstable();
        all.dedup_by(|next, last| {
            let meets = next.0 <= last.1;
            if meets {
                last.1 = last.1.max(next.1);
            }
            meets
        });
        Windows { all: all.into(), ends }
    }

    /// Whether a moment lies in one of them, or there are none.
    pub fn hold(&self, moment: Timestamp) -> bool {
        let begun = self.all.partition_point(|(start, _)| *start <= moment);
        self.all.is_empty() || begun > 0 && moment < self.all[begun - 1].1
    }

    /// When the last window of each rule ends, in their order.
    pub(super) fn ends(&self) -> &[Timestamp] {
        &self.ends
    }
}

/// The windows of a rule: each begins when the clock on the wall shows the time of `start`, and lasts so many minutes, also where the clocks
/// are changed meanwhile. The first of them is `start`.
pub fn windows(text: &str, start: DateTime, minutes: i32, zone: &Zone) -> Result<Vec<(Timestamp, Timestamp)>, RecurrenceError> {
    let rule = Rule::parse(text, start, zone)?;
    let days = rule.days(start);
    if days.first() != Some(&start.date()) {
        return Err(RecurrenceError { column: 1, what: "does not fit its start, which must be the first of its times" });
    }
    let lasts = Duration::from_secs(u64::from(minutes.unsigned_abs()) * 60);
    let window = |day: Date| {
        let begins = zone.moment_of(day.to_datetime(start.time()));
        (begins, begins + lasts)
    };
    Ok(days.into_iter().map(window).collect())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A rule, with what it leaves to its start.
struct Rule {
    frequency: Frequency,
    interval: i32,
    count: Option<usize>,
    until: Option<DateTime>,
    months: Vec<i8>,
    /// Days of the month; from its end where negative.
    month_days: Vec<i8>,
    /// Days of the week; which of the month or year, from its end where negative, 0 for each.
    weekdays: Vec<(i16, Weekday)>,
    /// Which of the days of a period, from its end where negative.
    positions: Vec<i16>,
    week_start: Weekday,
}

impl Rule {
    fn parse(text: &str, start: DateTime, zone: &Zone) -> Result<Rule, RecurrenceError> {
        let mut rule = Rule {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        };
        let mut seen: Vec<&str> = Vec::new();
        let mut offset = 0;
        for part in text.split(';') {
            let wrong = |at: usize, what| RecurrenceError { column: text[..at].chars().count() + 1, what };
            let (name, value) = part.split_once('=').ok_or_else(|| wrong(offset, "must be a name and a value: FREQ=WEEKLY"))?;
            if seen.contains(&name) {
                return Err(wrong(offset, "is there twice"));
            }
            if seen.is_empty() != (name == "FREQ") {
                return Err(wrong(offset, "the first part must be FREQ"));
            }
            seen.push(name);
            let value_offset = offset + name.len() + 1;
            let no = |what| move |_| wrong(value_offset, what);
            match name {
                "FREQ" => rule.frequency = frequency(value).ok_or(()).map_err(no("must be DAILY, WEEKLY, MONTHLY or YEARLY"))?,
                "INTERVAL" => rule.interval = number(value, 1..=1_000).ok_or(()).map_err(no("must be 1 to 1000"))?,
                "COUNT" => rule.count = Some(number(value, 1..=4_000).ok_or(()).map_err(no("must be 1 to 4000"))?),
                "UNTIL" => rule.until = Some(until(value, zone).ok_or(()).map_err(no("must be a day or a time: 20261231"))?),
                "BYMONTH" => {
                    rule.months = list(value, |month| number(month, 1..=12)).map_err(|at| wrong(value_offset + at, "must be 1 to 12"))?
                }
                "BYMONTHDAY" => {
                    rule.month_days = list(value, |day| number(day, -31..=31).filter(|day| *day != 0))
                        .map_err(|at| wrong(value_offset + at, "must be 1 to 31 or -31 to -1"))?;
                }
                "BYDAY" => {
                    rule.weekdays =
                        list(value, weekday).map_err(|at| wrong(value_offset + at, "must be a day like MO, or like 1MO or -1MO"))?;
                }
                "BYSETPOS" => {
                    rule.positions = list(value, |place| number(place, -366..=366).filter(|place| *place != 0))
                        .map_err(|at| wrong(value_offset + at, "must be 1 to 366 or -366 to -1"))?;
                }
                "WKST" => rule.week_start = day_of_week(value).ok_or(()).map_err(no("must be a day like MO"))?,
                _ => {
                    return Err(wrong(
                        offset,
                        "is not known here: there are FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYSETPOS and WKST",
                    ));
                }
            }
            offset += part.len() + 1;
        }
        let whole = |what| Err(RecurrenceError { column: 1, what });
        let counts_weekdays = rule.weekdays.iter().any(|(place, _)| *place != 0);
        if rule.count.is_some() && rule.until.is_some() {
            return whole("has COUNT and UNTIL, of which one may be");
        }
        if counts_weekdays && matches!(rule.frequency, Frequency::Daily | Frequency::Weekly) {
            return whole("counts days like 1MO, which only MONTHLY and YEARLY do");
        }
        if rule.frequency == Frequency::Weekly && !rule.month_days.is_empty() {
            return whole("has BYMONTHDAY, which WEEKLY may not have");
        }
        if !rule.positions.is_empty() && rule.months.is_empty() && rule.month_days.is_empty() && rule.weekdays.is_empty() {
            return whole("has BYSETPOS without another part that begins with BY");
        }
        rule.take_from(start);
        Ok(rule)
    }

    /// What the rule leaves open is as it is at the start.
    fn take_from(&mut self, start: DateTime) {
        let names_days = !self.weekdays.is_empty() || !self.month_days.is_empty();
        match self.frequency {
            _ if names_days => {}
            Frequency::Daily => {}
            Frequency::Weekly => self.weekdays = vec![(0, start.weekday())],
            Frequency::Monthly => self.month_days = vec![start.day()],
            Frequency::Yearly => {
                self.month_days = vec![start.day()];
                if self.months.is_empty() {
                    self.months = vec![start.month()];
                }
            }
        }
    }

    /// The days on which windows begin, first of all that of the start.
    fn days(&self, start: DateTime) -> Vec<Date> {
        let last = start.date().saturating_add(Span::new().years(YEARS_MAX));
        let mut days = Vec::new();
        let mut first = Some(self.period_of(start.date()));
        while let Some(begins) = first.filter(|begins| *begins <= last) {
            let next = self.length(begins, 1);
            let in_period: Vec<Date> =
                begins.series(1.day()).take_while(|day| next.is_none_or(|next| *day < next)).filter(|day| self.has_day(*day)).collect();
            let chosen = in_period.iter().enumerate().filter(|(place, _)| self.has_place(*place, in_period.len())).map(|(_, day)| *day);
            for day in chosen.filter(|day| *day >= start.date()) {
                let is_over = self.until.is_some_and(|until| day.to_datetime(start.time()) > until);
                if is_over || day > last || self.count == Some(days.len()) {
                    return days;
                }
                days.push(day);
            }
            first = self.length(begins, self.interval);
        }
        days
    }

    /// The first day of the period that a day lies in.
    fn period_of(&self, day: Date) -> Date {
        match self.frequency {
            Frequency::Daily => day,
            Frequency::Weekly => day.saturating_sub(i64::from(self.week_start.until(day.weekday())).days()),
            Frequency::Monthly => day.first_of_month(),
            Frequency::Yearly => day.first_of_year(),
        }
    }

    /// The day so many periods later.
    fn length(&self, day: Date, periods: i32) -> Option<Date> {
        let span = match self.frequency {
            Frequency::Daily => periods.days(),
            Frequency::Weekly => periods.weeks(),
            Frequency::Monthly => periods.months(),
            Frequency::Yearly => periods.years(),
        };
        day.checked_add(span).ok()
    }

    /// Whether a day is one of the rule, whatever its place in its period.
    fn has_day(&self, day: Date) -> bool {
        let is_in = |place: i16, length: i16, wanted: i16| wanted == place || wanted == place - length - 1;
        let has_month_day = |wanted: &i8| is_in(day.day().into(), day.days_in_month().into(), (*wanted).into());
        let (place, length) = match self.frequency == Frequency::Yearly && self.months.is_empty() {
            true => (day.day_of_year(), day.days_in_year()),
            false => (day.day().into(), day.days_in_month().into()),
        };
        let has_weekday = |(wanted, weekday): &(i16, Weekday)| {
            let from_end = -((length - place) / 7 + 1);
            *weekday == day.weekday() && [0, (place - 1) / 7 + 1, from_end].contains(wanted)
        };
        (self.months.is_empty() || self.months.contains(&day.month()))
            && (self.month_days.is_empty() || self.month_days.iter().any(has_month_day))
            && (self.weekdays.is_empty() || self.weekdays.iter().any(has_weekday))
    }

    fn has_place(&self, place: usize, length: usize) -> bool {
        let place = i16::try_from(place).unwrap_or(i16::MAX);
        let length = i16::try_from(length).unwrap_or(i16::MAX);
        self.positions.is_empty() || self.positions.contains(&(place + 1)) || self.positions.contains(&(place - length))
    }
}

/// Reads each of a list; the error is where one begins that is not read.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, usize> {
    let mut offset = 0;
    let mut all = Vec::new();
    for one in text.split(',') {
        all.push(read(one).ok_or(offset)?);
        offset += one.len() + 1;
    }
    Ok(all)
}

fn number<T: FromStr + PartialOrd>(text: &str, bounds: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| bounds.contains(number))
}

fn frequency(text: &str) -> Option<Frequency> {
    match text {
        "DAILY" => Some(Frequency::Daily),
        "WEEKLY" => Some(Frequency::Weekly),
        "MONTHLY" => Some(Frequency::Monthly),
        "YEARLY" => Some(Frequency::Yearly),
        _ => None,
    }
}

/// A day of the week and which of them.
fn weekday(text: &str) -> Option<(i16, Weekday)> {
    let (place, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let place = if place.is_empty() { 0 } else { number(place, -53..=53).filter(|place| *place != 0)? };
    Some((place, day_of_week(day)?))
}

fn day_of_week(text: &str) -> Option<Weekday> {
    match text {
        "MO" => Some(Weekday::Monday),
        "TU" => Some(Weekday::Tuesday),
        "WE" => Some(Weekday::Wednesday),
        "TH" => Some(Weekday::Thursday),
        "FR" => Some(Weekday::Friday),
        "SA" => Some(Weekday::Saturday),
        "SU" => Some(Weekday::Sunday),
        _ => None,
    }
}

/// A day to its end, a time by the clock on the wall, or a moment where it ends in Z.
fn until(text: &str, zone: &Zone) -> Option<DateTime> {
    if let Some(moment) = text.strip_suffix('Z') {
        let moment = Zone::UTC.moment_of(DateTime::strptime("%Y%m%dT%H%M%S", moment).ok()?);
        return Some(moment.wall_in(zone));
    }
    match Date::strptime("%Y%m%d", text) {
        Ok(day) => Some(day.at(23, 59, 59, 0)),
        Err(_) => DateTime::strptime("%Y%m%dT%H%M%S", text).ok(),
    }
}
