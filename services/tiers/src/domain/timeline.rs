//! What a member holds from when on: what is earned, with grants laid over it; and what of that is news.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use kernel::{Timestamp, Zone};
use rust_decimal::Decimal;

use super::earned::{Moment, Step};
use super::scheme::{Level, NEVER, Scheme};

/// The purchases of some days: when, and what is left of their points.
pub type Purchases = BTreeMap<Date, Vec<(Timestamp, i64)>>;

/// Why a level is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// By what was bought.
    Earned,
    /// By hand.
    Granted,
}

/// A level that is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Id of the level.
    pub level: String,
    /// Why.
    pub source: Source,
    /// Until when as seen at the start, exclusive and without grace; `None` when it does not end.
    pub until: Option<Timestamp>,
    /// What base points are multiplied by.
    pub multiplier: Decimal,
}

/// What is held from a moment on, to the start of the next span.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// From when.
    pub start: Timestamp,
    /// What; `None` for no level.
    pub held: Option<Held>,
}

/// A level given by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Id of the level.
    pub level: String,
    /// From when.
    pub start: Timestamp,
    /// Until when, exclusive: its end or its revocation; `None` when it is open.
    pub end: Option<Timestamp>,
}

/// What became of the level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// There was none.
    Joined,
    /// It was a lower one.
    Upgraded,
    /// It was a higher one.
    Downgraded,
    /// The same one goes on.
    Prolonged,
    /// There is none any more.
    Left,
}

/// The version that is in force at a moment.
pub fn in_force(versions: &[Scheme], at: Timestamp) -> &Scheme {
    versions.iter().rev().find(|version| version.start <= at).unwrap_or(&versions[0])
}

/// When the steps were taken. A day of purchases that is not given counts from its start.
pub fn moments(steps: &[Step], purchases: &Purchases, zone: &Zone) -> Vec<Timestamp> {
    let mut last = Timestamp::MIN;
    steps
        .iter()
        .map(|step| {
            let moment = match step.moment {
                Moment::DayStart => zone.start_of(step.day),
                Moment::Version(start) => start,
                Moment::Purchase { points } => reached(purchases.get(&step.day), points).unwrap_or_else(|| zone.start_of(step.day)),
            };
            // Purchases of the day on which a version begins come before it in the walk, whatever their time.
            last = last.max(moment);
            last
        })
        .collect()
}

/// When the purchases of a day reach so many points.
fn reached(purchases: Option<&Vec<(Timestamp, i64)>>, points: i64) -> Option<Timestamp> {
    let mut purchases = purchases?.clone();
    purchases.sort();
    let mut sum = 0_i64;
    purchases.into_iter().find_map(|(moment, bought)| {
        sum = sum.saturating_add(bought);
        (sum >= points).then_some(moment)
    })
}

/// Lays grants over what is earned, up to and with `now`. Of two the higher level holds, of the same level the earned one.
pub fn overlay(versions: &[Scheme], steps: &[Step], moments: &[Timestamp], grants: &[Grant], now: Timestamp, zone: &Zone) -> Vec<Span> {
    let mut boundaries: BTreeSet<Timestamp> = grants.iter().flat_map(|grant| [Some(grant.start), grant.end]).flatten().collect();
    boundaries.extend(versions[1..].iter().map(|version| version.start));
    boundaries.retain(|at| *at <= now);
    boundaries.extend(moments);
    let mut spans: Vec<Span> = Vec::new();
    for at in boundaries {
        let scheme = in_force(versions, at);
        let step = moments.partition_point(|moment| *moment <= at).checked_sub(1).map(|index| &steps[index]);
        let earned = step.and_then(|step| earned(versions, scheme, step, zone));
        let granted = granted(scheme, grants, at);
        let held = match (earned, granted) {
            (Some(earned), Some(granted)) if scheme.rank(&granted.level) > scheme.rank(&earned.level) => Some(granted),
            (None, Some(granted)) => Some(granted),
            (earned, _) => earned,
        };
        if spans.last().map_or(held.is_some(), |last| last.held != held) {
            spans.push(Span { start: at, held });
        }
    }
    spans
}

fn earned(versions: &[Scheme], scheme: &Scheme, step: &Step, zone: &Zone) -> Option<Held> {
    let id = step.level.as_ref()?;
    let level = scheme.level(id).or_else(|| versions.iter().rev().find_map(|version| version.level(id)))?;
    let until = (step.until < NEVER).then(|| zone.start_of(step.until));
    Some(Held { level: id.clone(), source: Source::Earned, until, multiplier: level.multiplier })
}

/// The highest level that a grant gives; of two grants of it the one that lasts longer.
fn granted(scheme: &Scheme, grants: &[Grant], at: Timestamp) -> Option<Held> {
    let open = grants.iter().filter(|grant| grant.start <= at && grant.end.is_none_or(|end| at < end));
    let best = open.max_by_key(|grant| (scheme.rank(&grant.level), grant.end.unwrap_or(Timestamp::MAX)))?;
    let Level { id, multiplier, .. } = scheme.level(&best.level)?;
    Some(Held { level: id.clone(), source: Source::Granted, until: best.end, multiplier: *multiplier })
}

/// What is held at a moment.
pub fn at(spans: &[Span], moment: Timestamp) -> Option<&Held> {
    let index = spans.partition_point(|span| span.start <= moment).checked_sub(1)?;
    spans[index].held.as_ref()
}

/// What may be said anew of the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Since {
    /// From when on somebody may hold more than was known: since the purchase that became known.
    pub raised: Timestamp,
    /// From when on somebody may hold less, not before `raised`: since the return, or since something fell due. What was held until
    /// then was held.
    pub lowered: Timestamp,
}

impl From<Timestamp> for Since {
    /// Only what is from a moment on, besides what has fallen due.
    fn from(moment: Timestamp) -> Since {
        Since { raised: moment, lowered: moment }
    }
}

/// What is to be known: what was found, but for the time in which nothing may be lowered the higher of both.
pub fn merge(versions: &[Scheme], known: &[Span], found: &[Span], since: Since) -> Vec<Span> {
    let rank = |held: Option<&Held>| held.map(|held| rank(versions, &held.level));
    let Since { raised, lowered } = since;
    let starts = known.iter().chain(found).map(|span| span.start).filter(|start| raised < *start && *start < lowered);
    let starts: BTreeSet<Timestamp> = starts.chain([raised]).filter(|start| *start < lowered).collect();
    let mut merged: Vec<Span> = Vec::new();
    for start in starts {
        let (known, found) = (at(known, start), at(found, start));
        let held = if rank(known) > rank(found) { known } else { found };
        if merged.last().is_none_or(|last| last.held.as_ref() != held) {
            merged.push(Span { start, held: held.cloned() });
        }
    }
    for span in clip(found, lowered) {
        if merged.last().is_none_or(|last| last.held != span.held) {
            merged.push(span);
        }
    }
    merged
}

/// The spans that must replace all that `known` says from the first of them on, so that it agrees with `found` from `from` on.
/// Empty when there is no news.
pub fn corrections(known: &[Span], found: &[Span], from: Timestamp) -> Vec<Span> {
    let (known, found) = (clip(known, from), clip(found, from));
    let same = known.iter().zip(&found).take_while(|(known, found)| known == found).count();
    match known.get(same).into_iter().chain(found.get(same)).map(|span| span.start).min() {
        Some(start) => clip(&found, start),
        None => Vec::new(),
    }
}

/// Replaces what the corrections replace.
pub fn correct(known: &mut Vec<Span>, corrections: &[Span]) {
    if let Some(first) = corrections.first() {
        known.retain(|span| span.start < first.start);
        known.extend_from_slice(corrections);
    }
}

/// What is held at `from`, and the spans after it.
fn clip(spans: &[Span], from: Timestamp) -> Vec<Span> {
    let after = spans.partition_point(|span| span.start <= from);
    let mut clipped = vec![Span { start: from, held: at(spans, from).cloned() }];
    clipped.extend_from_slice(&spans[after..]);
    clipped
}

/// Since when the last span's level is held without a break.
pub fn since(spans: &[Span]) -> Option<Timestamp> {
    let level = |span: &Span| span.held.as_ref().map(|held| held.level.clone());
    let current = level(spans.last()?)?;
    spans.iter().rev().take_while(|span| level(span).as_ref() == Some(&current)).last().map(|span| span.start)
}

/// What became of the level.
pub fn change(versions: &[Scheme], from: Option<&str>, to: Option<&str>) -> Change {
    match (from, to) {
        (_, None) => Change::Left,
        (None, Some(_)) => Change::Joined,
        (Some(from), Some(to)) if from == to => Change::Prolonged,
        (Some(from), Some(to)) if rank(versions, from) < rank(versions, to) => Change::Upgraded,
        (Some(_), Some(_)) => Change::Downgraded,
    }
}

/// The place of a level in the newest version that knows it.
fn rank(versions: &[Scheme], id: &str) -> Option<usize> {
    versions.iter().rev().find_map(|version| version.rank(id))
}
