//! Gifts that a program makes by itself: for joining, for a birthday, for having been away.

use std::sync::Arc;
use std::time::Duration;

use jiff::Span;
use jiff::civil::Date;
use kernel::{Timestamp, Uuid, Zone};

use super::{Birthday, Facts, Gift, MemberStatus, Terms, Version, Versions};

/// A gift by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GiftOccasion {
    /// Its id in the version.
    pub id: Arc<str>,
    /// What the member reads.
    pub title: String,
    /// When it is given.
    pub when: When,
    /// What it gives.
    pub gives: Gift,
    /// For whom.
    pub members: MemberFilter,
}

/// When a gift is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// When somebody joins.
    Joining,
    /// From some days before his birthday to the day itself.
    Birthday {
        /// How many.
        days_before: i32,
    },
    /// When he has not bought for some days.
    Dormancy {
        /// How many.
        days: i32,
    },
}

/// Members by what is known of them. What is empty asks for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberFilter {
    /// Tiers, one of which he has.
    pub tiers: Vec<String>,
    /// Tags, one of which he has.
    pub tags: Vec<String>,
    /// Tags of which he has none.
    pub excluded_tags: Vec<String>,
    /// Segments, in one of which he is.
    pub segments: Vec<String>,
}

/// How many days that a server has missed are made up.
const MISSED_DAYS_MAX: i32 = 7;

/// How far the members of a program have been looked through, for the days from one to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sweep {
    /// The first day. Once everybody has been looked at, that after the last.
    pub first: Date,
    /// The last day.
    pub last: Date,
    /// The account after which it goes on; nil at the beginning.
    pub after: Uuid,
    /// The version of the terms that held when it began; 0 for none.
    pub version: i64,
}

impl Sweep {
    /// What is to be gone on with, or begun; `None` when everybody has been looked at for today by the version that holds.
    pub fn due(known: Option<Sweep>, today: Date, version: i64) -> Option<Sweep> {
        let Some(known) = known else { return Some(Sweep { first: today, last: today, after: Uuid::nil(), version }) };
        if known.first <= known.last {
            return Some(known);
        }
        // Terms that began on the last day give on it, too. Of two processes one may not have heard of them yet: it does not begin again.
        let first = if known.version < version { known.last } else { known.first };
        (first <= today).then_some(Sweep { first, last: today, after: Uuid::nil(), version })
    }

    /// The days that it is for. Those that are too long ago are given up.
    pub fn days(self, today: Date) -> impl Iterator<Item = Date> {
        let earliest = today.saturating_sub(Span::new().days(MISSED_DAYS_MAX));
        self.first.max(earliest).series(Span::new().days(1)).take_while(move |day| *day <= self.last)
    }

    /// It after a page of members that ended with this account; `None` for the last page.
    pub fn after_page(self, account: Option<Uuid>) -> Sweep {
        match account {
            Some(after) => Sweep { after, ..self },
            None => Sweep { first: self.last.saturating_add(Span::new().days(1)), after: Uuid::nil(), ..self },
        }
    }
}

impl Versions {
    /// The terms that days are looked at for, each by the terms at its end; those without such gifts are left out.
    pub fn on_days(&self, days: impl Iterator<Item = Date>, now: Timestamp, zone: &Zone) -> Vec<(Date, &Version)> {
        let end_of = |day: Date| day.tomorrow().map_or(Timestamp::MAX, |next| zone.start_of(next) - Duration::from_micros(1));
        let held = |day: Date| Some((day, self.held_at(end_of(day).min(now))?));
        days.filter_map(held).filter(|(_, version)| version.terms.has_days()).collect()
    }
}

/// What of a member days are looked at for.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What other services' feeds have told.
    pub facts: &'a Facts,
    /// The day of his last purchase.
    pub last_purchase: Option<Date>,
}

impl MemberFilter {
    /// Whether somebody is among them at a moment.
    pub fn admits(&self, facts: &Facts, at: Timestamp) -> bool {
        let MemberFilter { tiers, tags, excluded_tags, segments } = self;
        let has = |labels: &[String], wanted: &[String]| wanted.iter().any(|label| labels.contains(label));
        (tiers.is_empty() || facts.tiers_at(at).any(|held| tiers.contains(&held.tier)))
            && (tags.is_empty() || has(&facts.tags, tags))
            && !has(&facts.tags, excluded_tags)
            && (segments.is_empty() || has(&facts.segments, segments))
    }
}

impl Terms {
    /// Whether there are gifts for which days are looked at.
    pub fn has_days(&self) -> bool {
        self.occasions.iter().any(|occasion| occasion.when != When::Joining)
    }

    /// What somebody gets who joins now.
    pub fn welcomes<'a>(&'a self, facts: &Facts, now: Timestamp) -> impl Iterator<Item = &'a GiftOccasion> {
        let is_for = move |occasion: &&GiftOccasion| occasion.when == When::Joining && occasion.is_for(facts, now);
        self.occasions.iter().filter(is_for)
    }

    /// What somebody gets on a day, each with what there is one of: the year of a birthday, the day since which he has been away.
    pub fn gifts_on<'a>(&'a self, day: Date, candidate: Candidate<'_>, now: Timestamp) -> impl Iterator<Item = (&'a GiftOccasion, String)> {
        let due = move |occasion: &'a GiftOccasion| Some((occasion, occasion.when.falls_on(day, candidate)?));
        self.occasions.iter().filter_map(due).filter(move |(occasion, _)| occasion.is_for(candidate.facts, now))
    }
}

impl GiftOccasion {
    fn is_for(&self, facts: &Facts, now: Timestamp) -> bool {
        facts.status == MemberStatus::Active && self.members.admits(facts, now)
    }
}

impl When {
    fn falls_on(self, day: Date, candidate: Candidate<'_>) -> Option<String> {
        match self {
            When::Joining => None,
            When::Birthday { days_before } => birthday_ahead(candidate.facts.birthday?, day, days_before).map(|year| year.to_string()),
            When::Dormancy { days } => {
                let last = candidate.last_purchase?;
                (days_between(last, day) == days).then(|| last.to_string())
            }
        }
    }
}

/// The year of the birthday that is at most so many days ahead.
fn birthday_ahead(born: Birthday, day: Date, days_max: i32) -> Option<i16> {
    let is_near = |year: &i16| born.in_year(*year).is_some_and(|birthday| (0..=days_max).contains(&days_between(day, birthday)));
    // Before the turn of the year it is that of the next.
    [day.year(), day.year().saturating_add(1)].into_iter().find(is_near)
}

/// How many days lie between one and another.
fn days_between(from: Date, until: Date) -> i32 {
    from.until(until).map_or(0, |span| span.get_days())
}
