//! The rules by example.

use jiff::civil::{Date, date};
use kernel::{CalendarUnit, Period, Timestamp, Zone};
use rust_decimal::Decimal;

use super::earned::{Moment, Step, Walk, walk};
use super::points::{Counted, Points};
use super::progress::{Renewal, progress};
use super::scheme::{Basis, Downgrade, Level, NEVER, OnReturn, QualifyingPeriod, Scheme, Validity};
use super::timeline::{Change, Grant, Source, Span, at, change, correct, corrections, moments, overlay, since};

/// Silver at 100, gold at 500, in a calendar year, held to the end of the next.
pub(super) fn airline() -> Scheme {
    Scheme {
        version: 1,
        start: Timestamp::MIN,
        display_name: "Status".to_owned(),
        basis: Basis::QualifyingPoints,
        period: QualifyingPeriod::CalendarYear,
        validity: Validity::EndOfPeriod { following: 1 },
        downgrade: Downgrade::OneDown,
        grace: None,
        on_return: OnReturn::Reevaluate,
        levels: vec![level("silver", Some(100), "1.25"), level("gold", Some(500), "1.5")],
    }
}

pub(super) fn level(id: &str, threshold: Option<i64>, multiplier: &str) -> Level {
    Level { id: id.to_owned(), display_name: id.to_owned(), threshold, multiplier: multiplier.parse().unwrap() }
}

pub(super) fn bought(day: Date, points: i64) -> Counted {
    Counted { day, known: day, points }
}

fn months(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Month }
}

fn run(scheme: &Scheme, counted: &[Counted], last: Date) -> Walk {
    walk(std::slice::from_ref(scheme), &Points::new(counted, scheme.on_return), last, &Zone::UTC)
}

/// The steps as text: day, level, end of validity.
fn story(walk: &Walk) -> Vec<String> {
    walk.steps.iter().map(|Step { day, level, until, .. }| format!("{day} {} {until}", level.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn a_level_is_held_for_its_validity_and_then_goes_one_down() {
    let walk = run(&airline(), &[bought(date(2024, 3, 1), 90), bought(date(2024, 5, 2), 410)], date(2030, 1, 1));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-01-01 silver 2027-01-01", "2027-01-01 - 9999-12-31"]);
    assert_eq!(walk.held, None);
    assert_eq!(walk.next, None);
}

#[test]
fn full_downgrade_lands_on_what_is_still_held() {
    let scheme = Scheme { downgrade: Downgrade::Full, ..airline() };
    let purchases = [bought(date(2024, 5, 2), 500), bought(date(2025, 6, 1), 100)];
    let walk = run(&scheme, &purchases, date(2030, 1, 1));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-01-01 silver 2027-01-01", "2027-01-01 - 9999-12-31"]);
    let walk = run(&scheme, &purchases[..1], date(2030, 1, 1));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-01-01 - 9999-12-31"]);
}

#[test]
fn without_downgrade_a_level_never_ends() {
    let walk = run(&Scheme { downgrade: Downgrade::None, ..airline() }, &[bought(date(2024, 5, 2), 500)], date(2100, 1, 1));
    assert_eq!(story(&walk), ["2024-05-02 gold 9999-12-31"]);
}

#[test]
fn reaching_the_threshold_again_prolongs_when_the_validity_ends() {
    let walk = run(&airline(), &[bought(date(2024, 5, 2), 500), bought(date(2025, 7, 1), 500)], date(2026, 6, 1));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-01-01 gold 2027-01-01"]);
    assert_eq!(walk.next, Some(date(2027, 1, 1)));
}

#[test]
fn grace_keeps_the_level_and_a_purchase_in_it_renews_without_a_gap() {
    let scheme = Scheme { grace: Some(months(2)), ..airline() };
    let first = bought(date(2024, 5, 2), 500);
    let walk = run(&scheme, &[first], date(2026, 12, 31));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-03-01 silver 2027-01-01"]);
    let walk = run(&scheme, &[first, bought(date(2026, 2, 28), 500)], date(2026, 12, 31));
    assert_eq!(story(&walk), ["2024-05-02 gold 2026-01-01", "2026-02-28 gold 2028-01-01"]);
}

#[test]
fn a_rolling_period_forgets_day_by_day() {
    let scheme = Scheme {
        period: QualifyingPeriod::RollingMonths(12),
        validity: Validity::Length(months(12)),
        downgrade: Downgrade::Full,
        ..airline()
    };
    let reached = run(&scheme, &[bought(date(2024, 1, 10), 60), bought(date(2025, 1, 9), 40)], date(2025, 1, 9));
    assert_eq!(story(&reached), ["2025-01-09 silver 2026-01-10"]);
    let missed = run(&scheme, &[bought(date(2024, 1, 10), 60), bought(date(2025, 1, 10), 40)], date(2025, 1, 10));
    assert!(missed.steps.is_empty());
    // What counts on a day leaves on the day that `leaves` names, also where month ends clamp.
    for (day, leaves) in
        [(date(2024, 1, 10), date(2025, 1, 10)), (date(2024, 2, 29), date(2025, 3, 1)), (date(2023, 8, 31), date(2024, 8, 31))]
    {
        assert_eq!(scheme.period.leaves(day), leaves);
        assert!(scheme.period.first_day(leaves) > day);
        assert!(scheme.period.first_day(super::scheme::yesterday(leaves)) <= day);
    }
}

#[test]
fn a_level_of_the_running_year_ends_with_it() {
    let scheme = Scheme { validity: Validity::EndOfPeriod { following: 0 }, ..airline() };
    let walk = run(&scheme, &[bought(date(2024, 12, 31), 500)], date(2027, 1, 1));
    assert_eq!(story(&walk), ["2024-12-31 gold 2025-01-01", "2025-01-01 silver 2026-01-01", "2026-01-01 - 9999-12-31"]);
}

#[test]
fn a_return_takes_back_at_once_or_at_the_end() {
    let purchase = bought(date(2024, 5, 2), 500);
    let back = Counted { day: date(2024, 5, 2), known: date(2024, 6, 1), points: -450 };
    let walk = run(&airline(), &[purchase, back], date(2024, 12, 31));
    assert_eq!(walk.held, None);
    let kept = run(&Scheme { on_return: OnReturn::Keep, ..airline() }, &[purchase, back], date(2024, 12, 31));
    assert_eq!(kept.held, Some(("gold".to_owned(), date(2026, 1, 1))));
    // On the day of the purchase it never counted, whatever the scheme says.
    let same_day = Counted { known: purchase.day, ..back };
    assert_eq!(run(&Scheme { on_return: OnReturn::Keep, ..airline() }, &[purchase, same_day], date(2024, 12, 31)).held, None);
}

#[test]
fn a_new_version_takes_nothing_before_its_time_and_raises_at_once() {
    let start = Zone::UTC.noon_of(date(2024, 8, 1));
    let second = |levels| Scheme { version: 2, start, levels, ..airline() };
    let counted = [bought(date(2024, 5, 2), 300)];
    let go = |levels| walk(&[airline(), second(levels)], &Points::new(&counted, OnReturn::Reevaluate), date(2026, 1, 1), &Zone::UTC);
    let raised = go(vec![level("silver", Some(400), "1.25"), level("gold", Some(900), "1.5")]);
    assert_eq!(story(&raised), ["2024-05-02 silver 2026-01-01", "2026-01-01 - 9999-12-31"]);
    let lowered = go(vec![level("silver", Some(100), "1.25"), level("gold", Some(300), "1.5")]);
    assert_eq!(story(&lowered)[..2], ["2024-05-02 silver 2026-01-01", "2024-08-01 gold 2026-01-01"]);
    let left_out = go(vec![level("gold", Some(500), "1.5")]);
    assert_eq!(story(&left_out), ["2024-05-02 silver 2026-01-01", "2024-08-01 - 9999-12-31"]);
    let same_day = Scheme { levels: vec![level("gold", Some(900), "1.5")], ..second(vec![]) };
    let counted = [bought(date(2024, 8, 1), 500)];
    let same_day = walk(&[airline(), same_day], &Points::new(&counted, OnReturn::Reevaluate), date(2024, 12, 31), &Zone::UTC);
    assert_eq!(story(&same_day), ["2024-08-01 gold 2026-01-01"], "what was reached on the day of the change is held");
    let other_multiplier = go(vec![level("silver", Some(100), "2"), level("gold", Some(500), "3")]);
    assert_eq!(story(&other_multiplier)[..2], ["2024-05-02 silver 2026-01-01", "2024-08-01 silver 2026-01-01"]);
}

#[test]
fn a_level_without_a_threshold_is_only_granted_and_one_of_zero_is_everyones_who_buys() {
    let levels = vec![level("member", Some(0), "1"), level("black", None, "3")];
    let scheme = Scheme { levels, ..airline() };
    assert_eq!(story(&run(&scheme, &[bought(date(2024, 1, 1), 1_000_000)], date(2030, 1, 1))), ["2024-01-01 member 9999-12-31"]);
    assert!(run(&scheme, &[], date(2030, 1, 1)).steps.is_empty());
}

fn moment(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

#[test]
fn a_level_begins_with_the_purchase_that_reaches_it() {
    let shanghai = Zone::parse("Asia/Shanghai").unwrap();
    let day = date(2025, 1, 1);
    let points = Points::new(&[bought(date(2024, 12, 31), 400), bought(day, 130)], OnReturn::Reevaluate);
    let walk = walk(&[Scheme { period: QualifyingPeriod::Lifetime, ..airline() }], &points, day, &shanghai);
    let purchases =
        [(day, vec![(moment("2025-01-01T03:00:00Z"), 30), (moment("2024-12-31T16:30:00Z"), 70), (moment("2025-01-01T02:00:00Z"), 30)])];
    assert_eq!(moments(&walk.steps, &purchases.into(), &shanghai), [moment("2024-12-30T16:00:00Z"), moment("2025-01-01T02:00:00Z")]);
    assert_eq!(walk.steps[1].moment, Moment::Purchase { points: 100 });
}

#[test]
fn the_higher_of_earned_and_granted_holds() {
    let day = date(2024, 5, 2);
    let walk = run(&airline(), &[bought(day, 100)], date(2024, 12, 31));
    let noon = |day| Zone::UTC.noon_of(day);
    let grants = [
        Grant { level: "gold".to_owned(), start: noon(date(2024, 6, 1)), end: Some(noon(date(2024, 9, 1))) },
        Grant { level: "silver".to_owned(), start: noon(date(2024, 4, 1)), end: None },
        Grant { level: "unknown".to_owned(), start: noon(date(2024, 4, 1)), end: None },
    ];
    let spans = overlay(&[airline()], &walk.steps, &[noon(day)], &grants, noon(date(2024, 12, 31)), &Zone::UTC);
    let told: Vec<_> = spans
        .iter()
        .map(|span| span.held.as_ref().map(|held| (span.start, held.level.as_str(), held.source, held.until)))
        .collect::<Option<_>>()
        .unwrap();
    let year_end = Some(Zone::UTC.start_of(date(2026, 1, 1)));
    assert_eq!(
        told,
        [
            (noon(date(2024, 4, 1)), "silver", Source::Granted, None),
            (noon(day), "silver", Source::Earned, year_end),
            (noon(date(2024, 6, 1)), "gold", Source::Granted, Some(noon(date(2024, 9, 1)))),
            (noon(date(2024, 9, 1)), "silver", Source::Earned, year_end),
        ]
    );
    assert_eq!(since(&spans), Some(noon(date(2024, 9, 1))));
    assert_eq!(since(&spans[..2]), Some(noon(date(2024, 4, 1))));
}

#[test]
fn corrections_replace_only_what_differs_after_the_moment() {
    let held = |level: &str| {
        Some(super::timeline::Held { level: level.to_owned(), source: Source::Earned, until: None, multiplier: Decimal::ONE })
    };
    let span = |day: i64, level: &str| Span { start: Timestamp::from_micros(day), held: held(level) };
    let known = vec![span(1, "silver"), span(5, "gold")];
    let check = |found: &[Span], from: i64, expected: &[Span]| {
        let news = corrections(&known, found, Timestamp::from_micros(from));
        assert_eq!(news, expected);
        let mut corrected = known.clone();
        correct(&mut corrected, &news);
        for moment in from..12 {
            assert_eq!(at(&corrected, Timestamp::from_micros(moment)), at(found, Timestamp::from_micros(moment)));
        }
        for moment in 0..from {
            assert_eq!(at(&corrected, Timestamp::from_micros(moment)), at(&known, Timestamp::from_micros(moment)));
        }
    };
    check(&known.clone(), 0, &[]);
    check(&[span(1, "silver"), span(3, "gold")], 2, &[span(3, "gold")]);
    check(&[span(1, "silver")], 2, &[span(5, "silver")]);
    check(&[span(1, "silver")], 8, &[span(8, "silver")]);
    check(&[], 8, &[Span { start: Timestamp::from_micros(8), held: None }]);
    check(&[span(1, "silver"), span(5, "gold"), span(9, "silver")], 8, &[span(9, "silver")]);
}

#[test]
fn changes_have_names() {
    let name = |from, to| change(&[airline()], from, to);
    assert_eq!(name(None, Some("silver")), Change::Joined);
    assert_eq!(name(Some("silver"), Some("gold")), Change::Upgraded);
    assert_eq!(name(Some("gold"), Some("silver")), Change::Downgraded);
    assert_eq!(name(Some("gold"), Some("gold")), Change::Prolonged);
    assert_eq!(name(Some("gold"), None), Change::Left);
}

#[test]
fn progress_tells_what_is_missing_and_what_keeps() {
    let counted = [bought(date(2024, 5, 2), 500), bought(date(2025, 2, 1), 120)];
    let points = Points::new(&counted, OnReturn::Reevaluate);
    let today = date(2025, 3, 1);
    let walk = walk(&[airline()], &points, today, &Zone::UTC);
    let figures = progress(&[airline()], &points, &walk, today, &Zone::UTC);
    assert_eq!((figures.points, figures.first_day), (120, Some(date(2025, 1, 1))));
    assert!(figures.opportunities.is_empty());
    let loss = figures.loss.unwrap();
    assert_eq!((loss.day, loss.next.as_deref()), (date(2026, 1, 1), Some("silver")));
    assert_eq!(loss.renewal, Some(Renewal { points: 380, day: date(2025, 12, 31) }));

    let nobody = run(&airline(), &[], today);
    let figures = progress(&[airline()], &Points::new(&[], OnReturn::Keep), &nobody, today, &Zone::UTC);
    let missing: Vec<_> = figures.opportunities.iter().map(|o| (o.level.as_str(), o.missing, o.until)).collect();
    assert_eq!(missing, [("silver", 100, NEVER), ("gold", 500, NEVER)]);
    assert_eq!(figures.loss, None);
}

#[test]
fn faults_name_the_field() {
    let with = |change: fn(&mut Scheme)| {
        let mut scheme = airline();
        change(&mut scheme);
        scheme.faults().into_iter().map(|fault| format!("{}: {}", fault.field, fault.description)).collect::<Vec<_>>()
    };
    assert!(with(|_| {}).is_empty());
    assert_eq!(
        with(|scheme| scheme.levels[1].threshold = Some(100)),
        ["levels[1].threshold: must be greater than 100, the threshold of the level below"]
    );
    assert_eq!(with(|scheme| scheme.levels[1].id = "silver".to_owned()), ["levels[1].id: must be unique in the scheme"]);
    assert_eq!(with(|scheme| scheme.levels[0].multiplier = "10.001".parse().unwrap()), ["levels[0].multiplier: must be at most 10"]);
    assert_eq!(
        with(|scheme| (scheme.period, scheme.validity) = (QualifyingPeriod::RollingMonths(12), Validity::Length(months(11)))),
        ["validity.length: must not be shorter than the rolling period of 12 months"]
    );
    assert_eq!(
        with(|scheme| (scheme.period, scheme.validity) = (QualifyingPeriod::Lifetime, Validity::Length(months(12)))),
        ["validity.length: must not be used with a lifetime, which is longer than any length: use end_of_period"]
    );
    assert_eq!(with(|scheme| scheme.grace = Some(months(12))), ["grace: must be shorter than the validity"]);
    assert!(with(|scheme| scheme.levels.insert(1, level("black", None, "3"))).is_empty());
}
