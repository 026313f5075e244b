use jiff::civil::Date;
use jiff::{Span, ToSpan};

use crate::{Timestamp, Zone};

/// A calendar unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CalendarUnit {
    /// Calendar days.
    Day,
    /// Weeks of seven days.
    Week,
    /// Calendar months; ends clamp, 31 January and one month is 28 February.
    Month,
    /// Calendar years; 29 February and one year is 28 February.
    Year,
}

/// A span in calendar units, evaluated in a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// How many units, 1 to 1200.
    pub count: i32,
    /// The unit.
    pub unit: CalendarUnit,
}

/// To the end of what a moment is rounded up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// Stays as it is.
    None,
    /// The end of its day.
    EndOfDay,
    /// The end of its month.
    EndOfMonth,
    /// The end of its quarter.
    EndOfQuarter,
    /// The end of its half-year.
    EndOfHalfYear,
    /// The end of its year.
    EndOfYear,
}

impl Period {
    /// The moment one period after `start`, keeping the wall clock of the zone; [`Timestamp::MAX`] beyond the calendar.
    pub fn after(&self, start: Timestamp, zone: &Zone) -> Timestamp {
        let zoned = start.jiff().to_zoned(zone.0.clone());
        match zoned.checked_add(self.span()) {
            Ok(later) => later.timestamp().into(),
            Err(_) => Timestamp::MAX,
        }
    }

    /// The moment one period before `end`, keeping the wall clock of the zone; [`Timestamp::MIN`] before the calendar.
    pub fn before(&self, end: Timestamp, zone: &Zone) -> Timestamp {
        let zoned = end.jiff().to_zoned(zone.0.clone());
        match zoned.checked_sub(self.span()) {
            Ok(earlier) => earlier.timestamp().into(),
            Err(_) => Timestamp::MIN,
        }
    }

    /// The day one period after `day`.
    pub fn after_day(&self, day: Date) -> Date {
        day.checked_add(self.span()).unwrap_or(Date::MAX)
    }

    /// The day one period before `day`.
    pub fn before_day(&self, day: Date) -> Date {
        day.checked_sub(self.span()).unwrap_or(Date::MIN)
    }

    fn span(&self) -> Span {
        let count = i64::from(self.count);
        match self.unit {
            CalendarUnit::Day => count.days(),
            CalendarUnit::Week => count.weeks(),
            CalendarUnit::Month => count.months(),
            CalendarUnit::Year => count.years(),
        }
    }
}

impl Rounding {
    /// The first moment after the unit that `moment` lies in: an expiry at the end of March is 1 April 00:00 of the zone.
    /// A moment that is itself such a boundary belongs to the unit that begins there, so it moves to that unit's end,
    /// unless there is no rounding.
    pub fn up(self, moment: Timestamp, zone: &Zone) -> Timestamp {
        let day = moment.date_in(zone);
        let next = match self {
            Rounding::None => return moment,
            Rounding::EndOfDay => day.checked_add(1.day()).ok(),
            Rounding::EndOfMonth => first_of_month_after(day, 1),
            Rounding::EndOfQuarter => first_of_month_after(day, 3),
            Rounding::EndOfHalfYear => first_of_month_after(day, 6),
            Rounding::EndOfYear => first_of_month_after(day, 12),
        };
        next.map_or(Timestamp::MAX, |day| zone.start_of(day))
    }
}

/// The first day of the month after the block of `months` months that `day` lies in; blocks begin in January.
fn first_of_month_after(day: Date, months: i8) -> Option<Date> {
    let block_start = (day.month() - 1) / months * months + 1;
    let first = Date::new(day.year(), block_start, 1).ok()?;
    first.checked_add(i64::from(months).months()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn month_ends_clamp() {
        let month = Period { count: 1, unit: CalendarUnit::Month };
        assert_eq!(month.after(at("2026-01-31T10:00:00Z"), &Zone::UTC), at("2026-02-28T10:00:00Z"));
        let year = Period { count: 1, unit: CalendarUnit::Year };
        assert_eq!(year.after(at("2024-02-29T10:00:00Z"), &Zone::UTC), at("2025-02-28T10:00:00Z"));
    }

    #[test]
    fn a_day_keeps_the_wall_clock_over_a_change_of_clocks() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let day = Period { count: 1, unit: CalendarUnit::Day };
        assert_eq!(day.after(at("2026-03-28T11:00:00Z"), &berlin), at("2026-03-29T10:00:00Z"));
    }

    #[test]
    fn rounding_goes_to_the_end_of_the_unit_in_the_zone() {
        let shanghai = Zone::parse("Asia/Shanghai").unwrap();
        let moment = at("2026-05-17T20:00:00Z"); // 18 May, 04:00 in Shanghai.
        for (rounding, end) in [
            (Rounding::None, "2026-05-17T20:00:00Z"),
            (Rounding::EndOfDay, "2026-05-18T16:00:00Z"),
            (Rounding::EndOfMonth, "2026-05-31T16:00:00Z"),
            (Rounding::EndOfQuarter, "2026-06-30T16:00:00Z"),
            (Rounding::EndOfHalfYear, "2026-06-30T16:00:00Z"),
            (Rounding::EndOfYear, "2026-12-31T16:00:00Z"),
        ] {
            assert_eq!(rounding.up(moment, &shanghai), at(end), "{rounding:?}");
        }
    }

    #[test]
    fn far_away_is_never() {
        let period = Period { count: 1200, unit: CalendarUnit::Year };
        assert!(period.after(at("9000-01-01T00:00:00Z"), &Zone::UTC) == Timestamp::MAX);
    }
}
