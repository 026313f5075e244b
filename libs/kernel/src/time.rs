use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A moment in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Whole microseconds because PostgreSQL keeps no more: a value that was written and read again is equal to itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment, 0001-01-01T00:00:00Z: the earliest that protobuf's timestamps know, and within what PostgreSQL keeps.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// The last moment, 9999-12-30T22:00:00Z: the last that can be told in every zone. Stands for "never" where a sort order
    /// needs a value.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000_000);

    /// From microseconds since 1970, clamped to [`Timestamp::MIN`] and [`Timestamp::MAX`].
    pub const fn from_micros(micros: i64) -> Timestamp {
        if micros < Timestamp::MIN.0 {
            Timestamp::MIN
        } else if micros > Timestamp::MAX.0 {
            Timestamp::MAX
        } else {
            Timestamp(micros)
        }
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// From a `google.protobuf.Timestamp`'s parts, cut to microseconds. `None` when out of range or when nanos are not in 0..1e9.
    pub fn from_parts(seconds: i64, nanos: i32) -> Option<Timestamp> {
        if !(0..1_000_000_000).contains(&nanos) {
            return None;
        }
        let micros = seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))?;
        (Timestamp::MIN.0..=Timestamp::MAX.0).contains(&micros).then_some(Timestamp(micros))
    }

    /// The parts of a `google.protobuf.Timestamp`: seconds and nanoseconds in 0..1e9.
    pub fn to_parts(self) -> (i64, i32) {
        let nanos = self.0.rem_euclid(1_000_000) * 1_000;
        (self.0.div_euclid(1_000_000), i32::try_from(nanos).expect("below 1e9"))
    }

    /// The calendar day of this moment in a zone.
    pub fn date_in(self, zone: &Zone) -> Date {
        self.jiff().to_zoned(zone.0.clone()).date()
    }

    /// Calendar day and time of day of this moment in a zone.
    pub fn wall_in(self, zone: &Zone) -> DateTime {
        self.jiff().to_zoned(zone.0.clone()).datetime()
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same moment as a `jiff` timestamp.
    pub fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).expect("the bounds are jiff's own")
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Timestamp::from_micros(value.as_microsecond())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Timestamp {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Duration) -> Timestamp {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jiff().fmt(f)
    }
}

/// An IANA time zone, in which a program counts its days, months and birthdays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone(pub(crate) TimeZone);

/// The name is not one of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an IANA time zone")]
pub struct ZoneError;

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// Looks a zone up by its IANA name, for example `Asia/Shanghai`.
    pub fn parse(name: &str) -> Result<Zone, ZoneError> {
        // `get` also takes "Local"-like specials of no database; an IANA name comes back as itself.
        let zone = TimeZone::get(name).map_err(|_| ZoneError)?;
        match zone.iana_name() {
            Some(_) => Ok(Zone(zone)),
            None => Err(ZoneError),
        }
    }

    /// The IANA name.
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The moment at which clocks show a time: the first where they show it twice; where they jump over it, as much later as they jump.
    pub fn moment_of(&self, wall: DateTime) -> Timestamp {
        match wall.to_zoned(self.0.clone()) {
            Ok(zoned) => zoned.timestamp().into(),
            Err(_) => Timestamp::MAX,
        }
    }

    /// The first moment of a day; after midnight where the clocks jump over it.
    pub fn start_of(&self, day: Date) -> Timestamp {
        match day.to_zoned(self.0.clone()) {
            Ok(zoned) => zoned.timestamp().into(),
            Err(_) => Timestamp::MAX,
        }
    }

    /// Noon of a day: what a bare date of old data stands for.
    pub fn noon_of(&self, day: Date) -> Timestamp {
        self.moment_of(day.at(12, 0, 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn parts_go_there_and_back_also_before_1970() {
        for micros in [0, 1, -1, 1_000_000, -1_000_001, 1_700_000_000_123_456] {
            let (seconds, nanos) = Timestamp::from_micros(micros).to_parts();
            assert_eq!(Timestamp::from_parts(seconds, nanos).map(Timestamp::as_micros), Some(micros));
        }
        assert_eq!(Timestamp::from_parts(0, -1), None);
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), None);
    }

    #[test]
    fn bounds_are_valid_for_jiff() {
        assert!(Timestamp::MIN.jiff() < Timestamp::MAX.jiff());
    }

    #[test]
    fn a_day_starts_when_the_zone_says() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        assert_eq!(zone.start_of(date(2026, 3, 1)).to_string(), "2026-02-28T16:00:00Z");
        assert_eq!(Timestamp::from_micros(0).date_in(&zone), date(1970, 1, 1));
        // Clocks in Beirut jump from 00:00 to 01:00 on this day.
        let beirut = Zone::parse("Asia/Beirut").unwrap();
        assert_eq!(beirut.start_of(date(2025, 3, 30)).to_string(), "2025-03-29T22:00:00Z");
        assert!(Zone::parse("Mars/Olympus").is_err());
    }
}
