//! On which day somebody gets what.

use jiff::civil::{Date, date};

use super::*;

fn birthday(month: i32, day: i32) -> Facts {
    Facts { birthday: Birthday::new(month, day), ..Facts::default() }
}

fn occasion(when: When) -> GiftOccasion {
    GiftOccasion { id: "o".into(), title: "A gift".to_owned(), when, gives: Gift::Points(10, None), members: MemberFilter::default() }
}

fn giving(occasions: &[GiftOccasion]) -> Terms {
    Terms { occasions: occasions.to_vec(), ..terms() }
}

/// The days of a time on which something is given, each with what it is for.
fn given(when: When, facts: &Facts, last_purchase: Option<Date>, from: Date, until: Date) -> Vec<(Date, String)> {
    let terms = giving(&[occasion(when)]);
    let candidate = Candidate { facts, last_purchase };
    let on = |day: Date| terms.gifts_on(day, candidate, at("2026-06-01T00:00:00Z")).map(|(_, of)| (day, of)).collect::<Vec<_>>();
    from.series(jiff::Span::new().days(1)).take_while(|day| *day <= until).flat_map(on).collect()
}

#[test]
fn a_birthday_is_once_a_year() {
    let year = |days_before, facts: &Facts| {
        let all = given(When::Birthday { days_before }, facts, None, date(2026, 1, 1), date(2028, 12, 31));
        // Each is given once: what counts is the first day.
        let mut firsts: Vec<(Date, String)> = Vec::new();
        for (day, of) in all {
            if firsts.iter().all(|(_, known)| *known != of) {
                firsts.push((day, of));
            }
        }
        firsts.into_iter().map(|(day, of)| format!("{day} of {of}")).collect::<Vec<_>>().join(", ")
    };
    let table = [
        (0, (5, 17), "2026-05-17 of 2026, 2027-05-17 of 2027, 2028-05-17 of 2028"),
        (0, (2, 29), "2026-02-28 of 2026, 2027-02-28 of 2027, 2028-02-29 of 2028"),
        (1, (2, 29), "2026-02-27 of 2026, 2027-02-27 of 2027, 2028-02-28 of 2028"),
        (10, (3, 1), "2026-02-19 of 2026, 2027-02-19 of 2027, 2028-02-20 of 2028"),
        // Before the turn of the year it is the next year's.
        (10, (1, 5), "2026-01-01 of 2026, 2026-12-26 of 2027, 2027-12-26 of 2028, 2028-12-26 of 2029"),
        (60, (1, 1), "2026-01-01 of 2026, 2026-11-02 of 2027, 2027-11-02 of 2028, 2028-11-02 of 2029"),
    ];
    for (days_before, (month, day), expected) in table {
        assert_eq!(year(days_before, &birthday(month, day)), expected, "{days_before} days before {month}-{day}");
    }
    assert_eq!(year(60, &Facts::default()), "", "nobody knows when");
    // Until the day itself, and not after it.
    let days = given(When::Birthday { days_before: 3 }, &birthday(5, 17), None, date(2026, 5, 1), date(2026, 5, 31));
    assert_eq!((days.len(), days[0].0, days[3].0), (4, date(2026, 5, 14), date(2026, 5, 17)));
}

#[test]
fn an_absence_is_given_for_once() {
    let last = date(2024, 1, 30);
    let facts = Facts::default();
    let days = |days| given(When::Dormancy { days }, &facts, Some(last), date(2024, 1, 1), date(2025, 12, 31));
    assert_eq!(days(1), [(date(2024, 1, 31), "2024-01-30".to_owned())]);
    assert_eq!(days(30), [(date(2024, 2, 29), "2024-01-30".to_owned())]);
    assert_eq!(days(366), [(date(2025, 1, 30), "2024-01-30".to_owned())]);
    assert_eq!(given(When::Dormancy { days: 1 }, &facts, None, date(2024, 1, 1), date(2025, 12, 31)), [], "he has never bought");
}

#[test]
fn a_gift_is_for_active_members_whom_it_names() {
    let tier = TierInterval {
        scheme: "s".to_owned(),
        tier: "gold".to_owned(),
        multiplier: Decimal::ONE,
        start_at: at("2026-01-01T00:00:00Z"),
        end_at: Some(at("2026-07-01T00:00:00Z")),
    };
    let known = Facts { tiers: vec![tier], tags: vec!["tea".to_owned()], segments: vec!["new".to_owned()], ..Facts::default() };
    let named = |name: &str| vec![name.to_owned()];
    let table = [
        (MemberFilter::default(), true),
        (MemberFilter { tiers: named("gold"), ..MemberFilter::default() }, true),
        (MemberFilter { tiers: named("silver"), ..MemberFilter::default() }, false),
        (MemberFilter { tags: vec!["x".to_owned(), "tea".to_owned()], ..MemberFilter::default() }, true),
        (MemberFilter { tags: named("x"), ..MemberFilter::default() }, false),
        (MemberFilter { excluded_tags: named("tea"), ..MemberFilter::default() }, false),
        (MemberFilter { excluded_tags: named("x"), ..MemberFilter::default() }, true),
        (MemberFilter { segments: named("new"), ..MemberFilter::default() }, true),
        (MemberFilter { tags: named("tea"), segments: named("old"), ..MemberFilter::default() }, false),
    ];
    for (members, expected) in table {
        let terms = giving(&[GiftOccasion { members: members.clone(), ..occasion(When::Joining) }]);
        let gets = |facts: &Facts, when: &str| terms.welcomes(facts, at(when)).count() == 1;
        assert_eq!(gets(&known, "2026-06-30T00:00:00Z"), expected, "{members:?}");
        for status in [MemberStatus::Blocked, MemberStatus::Closed] {
            assert!(!gets(&Facts { status, ..known.clone() }, "2026-06-30T00:00:00Z"));
        }
        assert_eq!(gets(&known, "2026-07-01T00:00:00Z"), expected && members.tiers.is_empty(), "the tier has ended");
    }
    // A bundle is several of them, and days are not joining.
    let both = giving(&[occasion(When::Joining), GiftOccasion { id: "two".into(), ..occasion(When::Joining) }]);
    assert_eq!((both.welcomes(&known, at("2026-06-01T00:00:00Z")).count(), both.has_days()), (2, false));
    assert!(giving(&[occasion(When::Dormancy { days: 9 })]).has_days());
}

#[test]
fn a_sweep_makes_up_for_days_that_were_missed() {
    let days = |sweep: Option<Sweep>, today: Date| sweep.map(|sweep| sweep.days(today).collect::<Vec<_>>());
    let (first, some) = (date(2026, 5, 10), Uuid::from_u128(7));
    let begun = Sweep::due(None, first, 1).unwrap();
    assert_eq!(days(Some(begun), first), Some(vec![first]));
    // A page after the other, then it is done for the day.
    let half = begun.after_page(Some(some));
    assert_eq!(Sweep::due(Some(half), first, 1), Some(half));
    let done = half.after_page(None);
    assert_eq!(Sweep::due(Some(done), first, 1), None);
    assert_eq!(days(Sweep::due(Some(done), date(2026, 5, 11), 1), date(2026, 5, 11)), Some(vec![date(2026, 5, 11)]));
    // One that midnight overtook is ended first.
    assert_eq!(Sweep::due(Some(half), date(2026, 5, 11), 1), Some(half));
    assert_eq!(days(Some(half), date(2026, 5, 11)), Some(vec![first]));
    // Days without a server are made up, and what is too long ago is given up.
    let missed = |until: Date| days(Sweep::due(Some(done), until, 1), until).unwrap();
    assert_eq!((missed(date(2026, 5, 14)).len(), missed(date(2026, 5, 14))[0]), (4, date(2026, 5, 11)));
    assert_eq!((missed(date(2026, 6, 14)).len(), missed(date(2026, 6, 14))[0]), (8, date(2026, 6, 7)));
    assert_eq!(days(Some(half), date(2026, 5, 18)), Some(vec![]));
    // A clock that goes back finds nothing to do.
    assert_eq!(Sweep::due(Some(done), date(2026, 5, 9), 1), None);
}

#[test]
fn a_day_is_looked_at_again_for_other_terms() {
    let (day, next) = (date(2026, 5, 10), date(2026, 5, 11));
    let half = Sweep::due(None, day, 1).unwrap().after_page(Some(Uuid::from_u128(7)));
    // What is under way goes on, and then begins again.
    assert_eq!(Sweep::due(Some(half), day, 2), Some(half));
    let done = half.after_page(None);
    let again = Sweep::due(Some(done), day, 2).unwrap();
    assert_eq!((again.first, again.last, again.after, again.version), (day, day, Uuid::nil(), 2));
    assert_eq!(Sweep::due(Some(again.after_page(None)), day, 2), None);
    // A server that knows only the terms before does not.
    assert_eq!(Sweep::due(Some(again.after_page(None)), day, 1), None);
    // When midnight has been faster, the day of the change is among those that are made up.
    let late = Sweep::due(Some(done), next, 2).unwrap();
    assert_eq!((late.first, late.last), (day, next));
}

#[test]
fn a_day_is_judged_by_the_terms_at_its_end() {
    // In Santiago clocks jump over midnight: 6 September 2026 begins at one, which is 04:00 UTC.
    let zone = Zone::parse("America/Santiago").unwrap();
    let version = |number: i64, start: &str, occasions: &[GiftOccasion]| Version {
        number,
        terms: giving(occasions).into(),
        start_at: at(start),
        zone: zone.clone(),
        currency: Currency::parse("CLP").unwrap(),
    };
    let day = occasion(When::Birthday { days_before: 0 });
    let history = Versions::new(vec![
        version(1, "2026-09-04T12:00:00Z", std::slice::from_ref(&day)),
        version(2, "2026-09-06T04:00:00Z", &[occasion(When::Joining)]),
        version(3, "2026-09-07T12:00:00Z", &[day]),
    ])
    .unwrap();
    let days = |now: &str| {
        let all = date(2026, 9, 3).series(jiff::Span::new().days(1)).take(6);
        history.on_days(all, at(now), &zone).into_iter().map(|(day, version)| (day.day(), version.number)).collect::<Vec<_>>()
    };
    assert_eq!(days("2026-09-20T00:00:00Z"), [(4, 1), (5, 1), (7, 3), (8, 3)], "on the third there were none, on the sixth no such gifts");
    assert_eq!(days("2026-09-07T11:59:59Z"), [(4, 1), (5, 1)], "what is still to come does not count");
    assert_eq!(at("2026-09-06T04:00:00Z").date_in(&zone), date(2026, 9, 6));
    assert_eq!(at("2026-09-06T03:59:59Z").date_in(&zone), date(2026, 9, 5));
}

#[test]
fn an_occasion_that_would_end_is_told_of() {
    let version = |ids: &[&str]| {
        let occasions = ids.iter().map(|id| GiftOccasion { id: (*id).into(), ..occasion(When::Joining) }).collect();
        versions(Terms { occasions, ..terms() }).at(Timestamp::MAX).clone()
    };
    let remarks = version(&["b", "c"]).remarks(Some(&version(&["a", "b"])));
    let told: Vec<_> = remarks.iter().map(|remark| (remark.field.as_str(), remark.text.as_str())).collect();
    assert_eq!(told, [("occasions", "a is given now, and would not be any more")]);
    assert_eq!(version(&["a"]).remarks(None), []);
}
