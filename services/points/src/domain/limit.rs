//! How much of something a member may get in a period, and what he has got. What goes back makes room again.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use kernel::{Timestamp, Zone};

use super::{Account, Entry};

/// How long after its end a period is still counted: a till may have been offline.
const COUNTED_AFTER: Duration = Duration::from_secs(62 * 86_400);

/// The most that one member may get, or all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// How often; `None` for as often as he likes.
    pub times_max: Option<i64>,
    /// How many points; `None` for any number.
    pub points_max: Option<i64>,
    /// In what time.
    pub period: LimitPeriod,
}

/// A time in which something is counted, by the calendar in the program's zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitPeriod {
    /// From the first day on.
    Ever,
    /// A day.
    Day,
    /// A week from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// Who is counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// One member: the count is in the fold of his account.
    Member,
    /// All members: the count stands beside the accounts, and no merge moves it.
    Shared,
}

/// What has been got of something in a period, or a change of that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// By whom.
    pub by: Counting,
    /// What: "promotion:double-tuesday", "activity:review", "limit:per-till/programs/tea/stores/one/terminals/1".
    pub of: Arc<str>,
    /// When the period began.
    pub since: Timestamp,
    /// When it ends, exclusive; `None` for never.
    pub until: Option<Timestamp>,
    /// How often.
    pub times: i64,
    /// How many points.
    pub points: i64,
}

impl LimitPeriod {
    /// From when to when the period goes that a moment lies in.
    fn around(self, at: Timestamp, zone: &Zone) -> (Timestamp, Option<Timestamp>) {
        let Some((first, next)) = self.days_around(at.date_in(zone)) else { return (Timestamp::MIN, None) };
        (zone.start_of(first), Some(zone.start_of(next)))
    }

    /// The first day of the period that a day is in, and of the next; `None` for one from the first day on.
    pub(super) fn days_around(self, day: Date) -> Option<(Date, Date)> {
        let span = jiff::Span::new();
        let monday = || day.saturating_sub(span.days(day.weekday().to_monday_zero_offset()));
        let (first, length) = match self {
            LimitPeriod::Ever => return None,
            LimitPeriod::Day => (day, span.days(1)),
            LimitPeriod::Week => (monday(), span.days(7)),
            LimitPeriod::Month => (day.first_of_month(), span.months(1)),
            LimitPeriod::Year => (day.first_of_year(), span.years(1)),
        };
        Some((first, first.saturating_add(length)))
    }
}

impl Limit {
    /// Something that is got at a moment, as it is counted.
    pub fn count(&self, by: Counting, of: Arc<str>, (times, points): (i64, i64), at: Timestamp, zone: &Zone) -> Count {
        let (since, until) = self.period.around(at, zone);
        Count { by, of, since, until, times, points }
    }

    /// Whether a count is of one of its periods: the terms may have had another.
    pub fn is_period_of(&self, count: &Count, zone: &Zone) -> bool {
        match count.until {
            None => self.period == LimitPeriod::Ever,
            Some(_) => self.period.around(count.since, zone) == (count.since, count.until),
        }
    }

    /// How many points may still be got at a moment; `None` for none at all.
    pub fn room(&self, of: &str, counts: &[Count], at: Timestamp, zone: &Zone) -> Option<i64> {
        let period = self.period.around(at, zone);
        let known = counts.iter().find(|count| *count.of == *of && (count.since, count.until) == period);
        self.room_beside(known.map_or((0, 0), |count| (count.times, count.points)))
    }

    /// The same when so often so many points have been got.
    pub fn room_beside(&self, (times, points): (i64, i64)) -> Option<i64> {
        let left = self.points_max.map_or(i64::MAX, |max| max.saturating_sub(points));
        (self.times_max.is_none_or(|max| times < max) && left > 0).then_some(left)
    }
}

impl Count {
    /// Whether both count the same in the same period: a week and a month may begin on one day.
    pub(super) fn is_like(&self, other: &Count) -> bool {
        (self.by, self.since, self.until) == (other.by, other.since, other.until) && self.of == other.of
    }

    /// The same with the opposite sign.
    pub(super) fn gone(&self) -> Count {
        Count { times: -self.times, points: -self.points, ..self.clone() }
    }

    /// Counts it with others. More than is there does not go.
    pub(super) fn add_to(&self, counts: &mut Vec<Count>) {
        let known = counts.iter_mut().find(|known| known.is_like(self));
        match known {
            Some(known) => {
                known.times = known.times.saturating_add(self.times);
                known.points = known.points.saturating_add(self.points).max(0);
            }
            None => counts.push(Count { points: self.points.max(0), ..self.clone() }),
        }
        counts.retain(|count| count.times > 0);
    }
}

impl Account {
    /// Takes what an entry counts of the member into the fold. What has been forgotten since cannot go back.
    pub(super) fn evolve_counts(&mut self, entry: &Entry) {
        let recorded_at = entry.recorded_at;
        entry.counted_of_member().for_each(|change| change.add_to(&mut self.counts));
        let is_over = |count: &Count| count.until.is_some_and(|until| until + COUNTED_AFTER <= recorded_at);
        self.counts.retain(|count| !is_over(count));
    }
}
