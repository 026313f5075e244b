//! The rules that hold for every scheme and every history.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use kernel::{CalendarUnit, Period, Timestamp, Zone};
use proptest::prelude::*;

use super::earned::{Walk, walk};
use super::points::{Counted, Points};
use super::progress::progress;
use super::scheme::{Downgrade, Level, OnReturn, QualifyingPeriod, Scheme, Validity};
use super::tests::{airline, bought, level};
use super::timeline::{Purchases, Since, Span, at, correct, corrections, merge, moments, overlay};

const FIRST: Date = date(2023, 11, 20);
const DAYS: i64 = 900;

fn day(offset: i64) -> Date {
    FIRST.checked_add(offset.days()).unwrap()
}

fn periods() -> impl Strategy<Value = (QualifyingPeriod, Validity)> {
    let length = |months: i32| Validity::Length(Period { count: months, unit: CalendarUnit::Month });
    prop_oneof![
        (1..14, 0..10).prop_map(move |(months, more)| (QualifyingPeriod::RollingMonths(months), length(months + more))),
        (1..14, 0..2).prop_map(|(months, following)| (QualifyingPeriod::RollingMonths(months), Validity::EndOfPeriod { following })),
        (1..20).prop_map(move |months| (QualifyingPeriod::CalendarYear, length(months))),
        (0..3).prop_map(|following| (QualifyingPeriod::CalendarYear, Validity::EndOfPeriod { following })),
        (1..20).prop_map(move |months| (QualifyingPeriod::Lifetime, length(months))),
        Just((QualifyingPeriod::Lifetime, Validity::EndOfPeriod { following: 0 })),
    ]
}

fn levels() -> impl Strategy<Value = Vec<Level>> {
    (any::<bool>(), prop::collection::btree_set(1_i64..1500, 1..4), prop::option::of(0_usize..4)).prop_map(|(base, thresholds, granted)| {
        let thresholds = base.then_some(0).into_iter().chain(thresholds);
        let mut levels: Vec<Level> = thresholds.enumerate().map(|(i, threshold)| level(&format!("l{i}"), Some(threshold), "1")).collect();
        if let Some(place) = granted {
            levels.insert(place.min(levels.len()), level("granted", None, "2"));
        }
        levels
    })
}

fn schemes() -> impl Strategy<Value = Scheme> {
    let downgrade = prop_oneof![Just(Downgrade::OneDown), Just(Downgrade::Full), Just(Downgrade::None)];
    let grace = prop::option::of((1..100).prop_map(|count| Period { count, unit: CalendarUnit::Day }));
    let on_return = prop_oneof![Just(OnReturn::Reevaluate), Just(OnReturn::Keep)];
    (periods(), levels(), downgrade, grace, on_return)
        .prop_map(|((period, validity), levels, downgrade, grace, on_return)| Scheme {
            period,
            validity,
            levels,
            downgrade,
            grace,
            on_return,
            ..airline()
        })
        .prop_filter("the scheme is not refused", |scheme| scheme.faults().is_empty())
}

fn purchases() -> impl Strategy<Value = Vec<Counted>> {
    prop::collection::vec((0..DAYS, 1_i64..400).prop_map(|(offset, points)| bought(day(offset), points)), 0..25)
}

/// Each purchase with parts of it going back some days later.
fn history() -> impl Strategy<Value = Vec<Counted>> {
    let returns = prop::collection::vec((0_i64..200, 1_i64..5), 0..3);
    prop::collection::vec((0..DAYS, 5_i64..400, returns), 0..20).prop_map(|purchases| {
        let returned = |offset: i64, points: i64, returns: Vec<(i64, i64)>| {
            let part =
                move |(later, share): (i64, i64)| Counted { day: day(offset), known: day(offset + later), points: -points * share / 10 };
            std::iter::once(bought(day(offset), points)).chain(returns.into_iter().map(part))
        };
        purchases.into_iter().flat_map(|(offset, points, returns)| returned(offset, points, returns)).collect()
    })
}

fn run(scheme: &Scheme, counted: &[Counted], last: Date) -> Walk {
    walk(std::slice::from_ref(scheme), &Points::new(counted, scheme.on_return), last, &Zone::UTC)
}

/// The rank held at the end of a day, counted from 1.
fn rank(scheme: &Scheme, walk: &Walk, day: Date) -> usize {
    let step = walk.steps.iter().rev().find(|step| step.day <= day);
    step.and_then(|step| step.level.as_ref()).map_or(0, |id| scheme.rank(id).unwrap() + 1)
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(scheme in schemes(), counted in history(), seed in any::<u64>()) {
        let mut shuffled = counted.clone();
        shuffled.sort_by_key(|item| (item.points as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ item.day.day() as u64));
        let (one, other) = (run(&scheme, &counted, day(2 * DAYS)), run(&scheme, &shuffled, day(2 * DAYS)));
        prop_assert_eq!(one.steps, other.steps);
        prop_assert_eq!(one.held, other.held);
        prop_assert_eq!(one.next, other.next);
    }

    #[test]
    fn more_points_never_lower_a_level(scheme in schemes(), counted in purchases(), offset in 0..DAYS, points in 1_i64..800) {
        let less = run(&scheme, &counted, day(2 * DAYS));
        let mut more = counted;
        more.push(bought(day(offset), points));
        let more = run(&scheme, &more, day(2 * DAYS));
        for offset in 0..2 * DAYS {
            prop_assert!(rank(&scheme, &less, day(offset)) <= rank(&scheme, &more, day(offset)), "on {}", day(offset));
        }
    }

    #[test]
    fn a_return_of_everything_is_as_if_nothing_had_been_bought(
        scheme in schemes(),
        counted in purchases(),
        later in prop::collection::vec((0_i64..300, 0_i64..300), 25),
    ) {
        let scheme = Scheme { on_return: OnReturn::Reevaluate, ..scheme };
        let parts = counted.iter().zip(later).flat_map(|(item, (first, second))| {
            let part = |later: i64, points| Counted { known: item.day.checked_add(later.days()).unwrap(), points, ..*item };
            [part(first, -(item.points / 3)), part(second, item.points / 3 - item.points)]
        });
        let all: Vec<Counted> = counted.iter().copied().chain(parts).collect();
        let walk = run(&scheme, &all, day(2 * DAYS));
        prop_assert_eq!(walk.steps, vec![]);
        prop_assert_eq!(walk.held, None);
        prop_assert_eq!(walk.next, None);
    }

    #[test]
    fn a_level_lasts_as_long_as_its_validity(scheme in schemes(), counted in purchases()) {
        let walk = run(&scheme, &counted, day(3 * DAYS));
        for (index, step) in walk.steps.iter().enumerate() {
            let held_until = scheme.held_until(step.until);
            let Some(id) = &step.level else { continue };
            let rank = scheme.rank(id);
            for next in walk.steps[index + 1..].iter().take_while(|next| next.day < held_until) {
                prop_assert!(next.level.as_ref().and_then(|id| scheme.rank(id)) >= rank);
            }
        }
    }

    #[test]
    fn what_the_period_justifies_is_held(scheme in schemes(), counted in history()) {
        let points = Points::new(&counted, scheme.on_return);
        let walk = run(&scheme, &counted, day(2 * DAYS));
        for today in (0..2 * DAYS).map(day) {
            let qualifying = points.between(scheme.period.first_day(today), today, today);
            let justified = scheme.levels.iter().rposition(|level| level.threshold.is_some_and(|least| (1..=qualifying).contains(&least)));
            prop_assert!(rank(&scheme, &walk, today) >= justified.map_or(0, |place| place + 1), "on {today}");
        }
    }

    #[test]
    fn what_is_missing_is_exactly_what_upgrades(scheme in schemes(), counted in history(), today in 0..DAYS) {
        let counted: Vec<Counted> = counted.into_iter().filter(|item| item.known <= day(today)).collect();
        let walk = run(&scheme, &counted, day(today));
        let points = Points::new(&counted, scheme.on_return);
        let figures = progress(std::slice::from_ref(&scheme), &points, &walk, day(today), &Zone::UTC);
        for opportunity in &figures.opportunities {
            let with = |points: i64| {
                let mut counted = counted.clone();
                counted.push(bought(day(today), points));
                rank(&scheme, &run(&scheme, &counted, day(today)), day(today))
            };
            let wanted = scheme.rank(&opportunity.level).unwrap() + 1;
            prop_assert!(with(opportunity.missing) >= wanted);
            prop_assert!(with(opportunity.missing - 1) < wanted);
        }
    }

    #[test]
    fn what_renews_is_exactly_what_keeps(scheme in schemes(), counted in history(), today in 0..DAYS) {
        let counted: Vec<Counted> = counted.into_iter().filter(|item| item.known <= day(today)).collect();
        let walk = run(&scheme, &counted, day(today));
        let points = Points::new(&counted, scheme.on_return);
        let Some(loss) = progress(std::slice::from_ref(&scheme), &points, &walk, day(today), &Zone::UTC).loss else { return Ok(()) };
        let held = rank(&scheme, &walk, day(today));
        let without = run(&scheme, &counted, loss.day);
        prop_assert!(rank(&scheme, &without, loss.day) < held);
        prop_assert_eq!(without.held.map(|(level, _)| level), loss.next);
        if let Some(renewal) = loss.renewal {
            let with = |points: i64| {
                let mut counted = counted.clone();
                counted.push(bought(renewal.day, points));
                rank(&scheme, &run(&scheme, &counted, loss.day), loss.day)
            };
            prop_assert!(with(renewal.points) >= held);
            prop_assert!(with(renewal.points - 1) < held);
        }
    }

    #[test]
    fn learning_one_purchase_at_a_time_ends_where_learning_all_at_once_does(
        scheme in schemes(),
        counted in purchases().prop_shuffle(),
        now in 0..2 * DAYS,
    ) {
        let now = Zone::UTC.noon_of(day(now));
        let mut learner = Learner::new(&scheme, now);
        for item in &counted {
            learner.learn(*item);
            let found = learner.find().0;
            prop_assert_eq!(at(&learner.known, now), at(&found, now));
        }
        prop_assert_eq!(&learner.known, &learner.find().0);
    }

    #[test]
    fn a_return_takes_nothing_from_the_time_before_it_and_late_purchases_take_nothing_at_all(
        scheme in schemes(),
        counted in history().prop_shuffle(),
        now in 0..2 * DAYS,
    ) {
        // Whoever gives back has bought, and there is no news from the future.
        let past = counted.into_iter().filter(|item| item.known <= day(now));
        let (mut news, returns): (Vec<Counted>, Vec<Counted>) = past.partition(|item| item.points > 0);
        news.extend(returns);
        let now = Zone::UTC.noon_of(day(now));
        let mut learner = Learner::new(&scheme, now);
        for item in news {
            let (before, due) = (learner.known.clone(), learner.due);
            learner.learn(item);
            let found = learner.find().0;
            prop_assert_eq!(at(&learner.known, now), at(&found, now));
            let lowered = if item.points < 0 { Zone::UTC.noon_of(item.known) } else { now };
            let rank = |spans: &[Span], offset| at(spans, Zone::UTC.noon_of(day(offset))).map(|held| scheme.rank(&held.level));
            for offset in (0..2 * DAYS).filter(|offset| Zone::UTC.noon_of(day(*offset)) < lowered.min(due)) {
                prop_assert!(rank(&before, offset) <= rank(&learner.known, offset), "on {}", day(offset));
            }
        }
    }
}

/// Who learns of one purchase or return after the other, as the service does.
struct Learner<'a> {
    scheme: &'a Scheme,
    now: Timestamp,
    counted: Vec<Counted>,
    known: Vec<Span>,
    due: Timestamp,
}

impl<'a> Learner<'a> {
    fn new(scheme: &'a Scheme, now: Timestamp) -> Learner<'a> {
        Learner { scheme, now, counted: Vec::new(), known: Vec::new(), due: Timestamp::MAX }
    }

    fn learn(&mut self, item: Counted) {
        self.counted.push(item);
        let versions = std::slice::from_ref(self.scheme);
        let (found, next) = self.find();
        let lowered = if item.points < 0 { Zone::UTC.noon_of(item.known) } else { self.now };
        let lowered = lowered.min(self.due);
        let since = Since { raised: Zone::UTC.noon_of(item.known).min(lowered), lowered };
        let news = corrections(&self.known, &merge(versions, &self.known, &found, since), since.raised);
        correct(&mut self.known, &news);
        self.due = next;
    }

    /// What holds by all that is known, and when something falls due. Everything happens at noon.
    fn find(&self) -> (Vec<Span>, Timestamp) {
        let purchases = self.counted.iter().map(|item| (item.day, vec![(Zone::UTC.noon_of(item.day), i64::MAX)])).collect::<Purchases>();
        let last = self.counted.iter().map(|item| item.day).max().unwrap_or(FIRST).max(self.now.date_in(&Zone::UTC));
        let walk = run(self.scheme, &self.counted, last);
        let moments = moments(&walk.steps, &purchases, &Zone::UTC);
        let next = walk.next.map_or(Timestamp::MAX, |day| Zone::UTC.start_of(day));
        (overlay(std::slice::from_ref(self.scheme), &walk.steps, &moments, &[], self.now, &Zone::UTC), next)
    }
}
