//! How far it is to the next level, and what keeps the one that is held.

use jiff::civil::Date;
use kernel::Zone;

use super::earned::{Walk, walk};
use super::points::Points;
use super::scheme::{NEVER, Scheme, yesterday};

/// The figures of a member on a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Points in the period that ends with the day.
    pub points: i64,
    /// The first day of that period; `None` for a lifetime.
    pub first_day: Option<Date>,
    /// Every higher level that can be earned, nearest first.
    pub opportunities: Vec<Opportunity>,
    /// When the earned level is lost; `None` when it is not.
    pub loss: Option<Loss>,
}

/// A higher level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opportunity {
    /// Id of the level.
    pub level: String,
    /// Points that reach it when they are bought on the day, and one less does not.
    pub missing: i64,
    /// The first day on which some of the points of the day no longer count; [`NEVER`] when they all count for ever.
    pub until: Date,
}

/// The earned level will be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The first day without it, grace included.
    pub day: Date,
    /// Id of the level on that day.
    pub next: Option<String>,
    /// What renews it; `None` when nothing does without a gap.
    pub renewal: Option<Renewal>,
}

/// Points that renew a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewal {
    /// How many, bought on the day; one less does not, by what is known now.
    pub points: i64,
    /// The last day.
    pub day: Date,
}

/// The figures on a day, after a walk to the end of it.
pub fn progress(versions: &[Scheme], points: &Points, walk: &Walk, today: Date, zone: &Zone) -> Progress {
    let scheme = versions.last().expect("a scheme has a version");
    let first_day = scheme.period.first_day(today);
    let counted = points.between(first_day, today, today);
    let rank = walk.held.as_ref().and_then(|(level, _)| scheme.rank(level));
    let until = points.first_day_from(first_day).filter(|day| *day <= today).map_or(NEVER, |day| scheme.period.leaves(day));
    let higher = scheme.levels.iter().skip(rank.map_or(0, |rank| rank + 1));
    let opportunities = higher
        .filter_map(|level| {
            // A level that the points would reach, but whose validity is over, takes another purchase.
            let missing = (level.threshold? - counted).max(1);
            Some(Opportunity { level: level.id.clone(), missing, until })
        })
        .collect();
    Progress {
        points: counted,
        first_day: (first_day > Date::MIN).then_some(first_day),
        opportunities,
        loss: walk.held.as_ref().and_then(|(level, until)| loss(versions, points, level, *until, today, zone)),
    }
}

fn loss(versions: &[Scheme], points: &Points, level: &str, until: Date, today: Date, zone: &Zone) -> Option<Loss> {
    let scheme = versions.last().expect("a scheme has a version");
    let day = scheme.held_until(until);
    if day == NEVER {
        return None;
    }
    let next = walk(versions, points, day, zone).held.map(|(level, _)| level);
    let level = scheme.level(level)?;
    // The last day of the validity, or in the grace today; where the validity of that day ends no later, the day after it.
    let renewal = [yesterday(until).max(today), until.max(today)].into_iter().find(|renewal| scheme.valid_until(level, *renewal) > until);
    let renewal = renewal.filter(|renewal| *renewal < day).and_then(|day| {
        let counted = points.between(scheme.period.first_day(day), day, day);
        Some(Renewal { points: (level.threshold? - counted).max(1), day })
    });
    Some(Loss { day, next, renewal })
}
