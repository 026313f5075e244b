//! Promotions and their receipts, to be read by whoever makes them.

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::town::Town;

use super::*;

/// A Tuesday in May, half past nine in the morning.
fn tuesday() -> Timestamp {
    at("2026-05-12T09:30:00Z")
}

pub(super) fn basket(net: i64, lines: &[Line]) -> Basket<'_> {
    Basket {
        net,
        whole_net: net,
        tax: 0,
        discount: 0,
        amount_left: None,
        lines,
        channel: "store",
        offer: "",
        store: "programs/tea/stores/one",
        occurred_at: tuesday(),
    }
}

pub(super) fn points(id: &str, points: i64) -> Promotion {
    Promotion {
        id: id.into(),
        title: id.to_uppercase(),
        gives: Gives::Points(points),
        asks: Asks::default(),
        lines: LineFilter::default(),
        spend_min: 0,
        points_max: None,
        group: None,
        priority: 0,
        limit: None,
        budget: None,
        wallet: None,
    }
}

pub(super) fn times(id: &str, multiplier: &str) -> Promotion {
    Promotion { gives: Gives::Multiplier(multiplier.parse().unwrap()), ..points(id, 0) }
}

pub(super) fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Days of the week by their numbers, and a part of them.
pub(super) fn weekly(weekdays: &[i8], start_minute: i32, end_minute: i32) -> WeeklyWindow {
    let weekdays = weekdays.iter().map(|day| Weekday::from_monday_one_offset(*day).unwrap()).collect();
    WeeklyWindow { weekdays, start_minute, end_minute }
}

/// Coffee for 6 and two pastries for 8 in all.
pub(super) fn breakfast() -> Vec<Line> {
    let of = |category: &str, line: Line| Line { category: category.to_owned(), sku: format!("{category}-1"), ..line };
    vec![of("coffee", line("1", 1, 600)), of("pastry", line("2", 2, 800))]
}

/// What a receipt says: each part with its points, then each promotion that gave nothing, with the reason.
fn receipt(promotions: Vec<Promotion>, basket: &Basket<'_>, buyer: &Buyer<'_>) -> Vec<String> {
    let versions = versions(Terms { promotions: promotions.into(), ..terms() });
    let version = versions.at(basket.occurred_at);
    let Selection { applied, rejected } = version.select(basket, buyer, Told::All).unwrap();
    let facts = FrozenFacts { promotions: applied, ..FrozenFacts::of_stranger(1) };
    let explanation = version.points_for(basket, &facts).unwrap();
    let part = |part: &super::super::terms::Component| match part.desired == part.points {
        true => format!("{} {}", part.source.trim_start_matches("promotion:"), part.points),
        false => format!("{} {} of {}", part.source.trim_start_matches("promotion:"), part.points, part.desired),
    };
    let rejected = rejected.iter().map(|(id, reason)| format!("{id} - {reason:?}"));
    explanation.components.iter().map(part).chain(rejected).collect()
}

pub(super) const NOBODY: Facts =
    Facts { version: 0, status: MemberStatus::Active, tiers: Vec::new(), birthday: None, tags: Vec::new(), segments: Vec::new() };

pub(super) fn newcomer(facts: &Facts) -> Buyer<'_> {
    Buyer { facts, purchases: 0, last_purchase_at: None, counts: &[], shared: &[] }
}

#[test]
fn a_promotion_gives_what_it_says_of_what_counts() {
    let breakfast = breakfast();
    let only = |list: LineFilter, promotion: Promotion| Promotion { lines: list, ..promotion };
    let pastry = || LineFilter { categories: texts(&["pastry"]), ..LineFilter::default() };
    let rows: [(Promotion, &str); 14] = [
        (times("double", "2"), "double 14"),
        (times("half-more", "1.5"), "half-more 7"),
        (points("ten", 10), "ten 10"),
        (only(pastry(), times("pastry", "3")), "pastry 16"),
        (only(LineFilter { skus: texts(&["coffee-1"]), ..LineFilter::default() }, times("coffee", "2")), "coffee 6"),
        (only(LineFilter { excluded_categories: texts(&["pastry"]), ..LineFilter::default() }, times("no-pastry", "2")), "no-pastry 6"),
        (only(LineFilter { quantity_min: 3, ..LineFilter::default() }, points("three", 5)), "three 5"),
        (only(LineFilter { quantity_min: 4, ..LineFilter::default() }, points("four", 5)), "four - Lines"),
        (only(LineFilter { categories: texts(&["tea"]), ..LineFilter::default() }, points("tea", 5)), "tea - Lines"),
        (Promotion { spend_min: 1_400, ..points("fourteen", 5) }, "fourteen 5"),
        (Promotion { spend_min: 1_401, ..points("more", 5) }, "more - Spend"),
        (only(pastry(), Promotion { spend_min: 801, ..points("pastry-spend", 5) }), "pastry-spend - Spend"),
        (Promotion { points_max: Some(5), ..times("bounded", "2") }, "bounded 5 of 14"),
        (only(pastry(), times("tiny", "1.1")), "tiny - Nothing"),
    ];
    for (promotion, says) in rows {
        let parts = receipt(vec![promotion], &basket(1_400, &breakfast), &newcomer(&NOBODY));
        assert_eq!(parts, ["base 14", says]);
    }
}

#[test]
fn a_promotion_asks_for_time_place_and_person() {
    let gold = TierInterval {
        scheme: "programs/tea/schemes/status".to_owned(),
        tier: "gold".to_owned(),
        multiplier: Decimal::ONE,
        start_at: at("2026-01-01T00:00:00Z"),
        end_at: Some(at("2026-06-01T00:00:00Z")),
    };
    let facts =
        Facts { tiers: vec![gold], birthday: Birthday::new(5, 14), tags: texts(&["vegan"]), segments: texts(&["regular"]), ..NOBODY };
    let buyer = Buyer { facts: &facts, purchases: 1, last_purchase_at: Some(at("2026-04-12T23:59:00Z")), counts: &[], shared: &[] };
    let ask = |asks: Asks| Promotion { asks, ..points("p", 1) };
    let on = |weekdays: &[i8], start, end| Asks { weekly: Some(weekly(weekdays, start, end)), ..Asks::default() };
    let day_part = |start, end| on(&[1, 2, 3, 4, 5, 6, 7], start, end);
    let recurring = |rule: &str, start: &str, minutes| {
        let windows = Windows::new(windows(rule, start.parse().unwrap(), minutes, &Zone::UTC).unwrap());
        Asks { windows, ..Asks::default() }
    };
    let condition = |text: &str| Asks { condition: Some(Condition::parse(text).unwrap()), ..Asks::default() };
    let rows: [(Asks, &str); 38] = [
        (on(&[2, 4], 0, 1_440), "p 1"),
        (on(&[1, 3], 0, 1_440), "p - Time"),
        // A night belongs to the day on which it begins.
        (on(&[1], 22 * 60, 10 * 60), "p 1"),
        (on(&[2], 22 * 60, 10 * 60), "p - Time"),
        (recurring("FREQ=MONTHLY;BYDAY=2TU", "2026-01-13T09:00", 60), "p 1"),
        (recurring("FREQ=MONTHLY;BYDAY=-1TU", "2026-01-27T09:00", 60), "p - Time"),
        (recurring("FREQ=DAILY", "2026-01-13T08:30", 60), "p - Time"),
        (Asks { tags: texts(&["staff", "vegan"]), ..Asks::default() }, "p 1"),
        (Asks { tags: texts(&["staff"]), ..Asks::default() }, "p - Audience"),
        (Asks { excluded_tags: texts(&["staff"]), ..Asks::default() }, "p 1"),
        (Asks { tags: texts(&["vegan"]), excluded_tags: texts(&["staff", "vegan"]), ..Asks::default() }, "p - Audience"),
        (Asks { segments: texts(&["regular"]), ..Asks::default() }, "p 1"),
        (Asks { segments: texts(&["lapsing"]), ..Asks::default() }, "p - Audience"),
        (condition("member.days_away == 30 && local.hour == 9"), "p 1"),
        (condition("purchase.net > 100"), "p - Condition"),
        (condition("100 / size(purchase.lines) > 1"), "p - ConditionFault"),
        // What is asked for otherwise comes first.
        (Asks { stores: texts(&["programs/tea/stores/two"]), ..condition("false") }, "p - Store"),
        (day_part(9 * 60, 10 * 60), "p 1"),
        (day_part(9 * 60 + 31, 10 * 60), "p - Time"),
        (day_part(8 * 60, 9 * 60 + 30), "p - Time"),
        (day_part(22 * 60, 9 * 60 + 31), "p 1"),
        (day_part(22 * 60, 9 * 60 + 30), "p - Time"),
        (Asks { stores: texts(&["programs/tea/stores/one"]), ..Asks::default() }, "p 1"),
        (Asks { stores: texts(&["programs/tea/stores/two"]), ..Asks::default() }, "p - Store"),
        (Asks { channels: texts(&["pickup", "store"]), ..Asks::default() }, "p 1"),
        (Asks { channels: texts(&["pickup"]), ..Asks::default() }, "p - Channel"),
        (Asks { tiers: texts(&["silver", "gold"]), ..Asks::default() }, "p 1"),
        (Asks { tiers: texts(&["silver"]), ..Asks::default() }, "p - Tier"),
        (Asks { purchase_number: Some(2), ..Asks::default() }, "p 1"),
        (Asks { purchase_number: Some(1), ..Asks::default() }, "p - PurchaseNumber"),
        (Asks { dormant_days: Some(30), ..Asks::default() }, "p 1"),
        (Asks { dormant_days: Some(31), ..Asks::default() }, "p - Dormancy"),
        (Asks { birthday: Some(BirthdayWindow::Week), ..Asks::default() }, "p 1"),
        (Asks { birthday: Some(BirthdayWindow::Month), ..Asks::default() }, "p 1"),
        (Asks { birthday: Some(BirthdayWindow::Day), ..Asks::default() }, "p - Birthday"),
        // One that is not running yet, or any more, is not told of.
        (Asks { start_at: Some(tuesday()), end_at: Some(at("2026-05-12T09:30:01Z")), ..Asks::default() }, "p 1"),
        (Asks { start_at: Some(at("2026-05-12T09:30:01Z")), ..Asks::default() }, ""),
        (Asks { end_at: Some(tuesday()), ..Asks::default() }, ""),
    ];
    for (asks, says) in rows {
        let text = format!("{asks:?}");
        let mut parts = receipt(vec![ask(asks)], &basket(100, &[]), &buyer);
        assert_eq!(parts.remove(0), "base 1");
        assert_eq!(parts.join(","), says, "{text}");
    }
}

#[test]
fn a_newcomer_has_no_tier_birthday_or_absence() {
    let asks = [
        (Asks { tiers: texts(&["gold"]), ..Asks::default() }, Rejection::Tier),
        (Asks { dormant_days: Some(1), ..Asks::default() }, Rejection::Dormancy),
        (Asks { birthday: Some(BirthdayWindow::Month), ..Asks::default() }, Rejection::Birthday),
        (Asks { tags: texts(&["vegan"]), ..Asks::default() }, Rejection::Audience),
    ];
    for (asks, reason) in asks {
        let parts = receipt(vec![Promotion { asks, ..points("p", 1) }], &basket(100, &[]), &newcomer(&NOBODY));
        assert_eq!(parts, ["base 1".to_owned(), format!("p - {reason:?}")]);
    }
}

#[test]
fn time_is_by_the_clock_on_the_wall_of_the_program() {
    // Late on Monday in London it is Tuesday in Shanghai; and when clocks go forward there is no half past two.
    let rows = [
        ("Asia/Shanghai", "2026-05-11T22:30:00Z", vec![2], 6 * 60, 7 * 60, true),
        ("Europe/London", "2026-05-11T22:30:00Z", vec![2], 6 * 60, 7 * 60, false),
        ("Europe/Berlin", "2026-03-29T00:59:59Z", vec![7], 60, 2 * 60, true),
        ("Europe/Berlin", "2026-03-29T01:00:00Z", vec![7], 2 * 60, 3 * 60, false),
        ("Europe/Berlin", "2026-03-29T01:00:00Z", vec![7], 3 * 60, 4 * 60, true),
        // The hour that comes twice counts twice.
        ("Europe/Berlin", "2026-10-25T00:30:00Z", vec![7], 2 * 60, 3 * 60, true),
        ("Europe/Berlin", "2026-10-25T01:30:00Z", vec![7], 2 * 60, 3 * 60, true),
    ];
    for (zone, moment, weekdays, start_minute, end_minute, holds) in rows {
        let asks = Asks { weekly: Some(weekly(&weekdays, start_minute, end_minute)), ..Asks::default() };
        let terms = Terms { promotions: vec![Promotion { asks, ..points("p", 1) }].into(), ..terms() };
        let currency = Currency::parse("USD").unwrap();
        let version = Version { number: 1, terms: terms.into(), start_at: Timestamp::MIN, zone: Zone::parse(zone).unwrap(), currency };
        let basket = Basket { occurred_at: at(moment), ..basket(100, &[]) };
        let selection = version.select(&basket, &newcomer(&NOBODY), Told::All).unwrap();
        assert_eq!(selection.applied.len(), usize::from(holds), "{zone} {moment}");
    }
}

#[test]
fn birthdays_come_every_year() {
    let holds = |born: (i32, i32), window, day: &str| {
        let facts = Facts { birthday: Birthday::new(born.0, born.1), ..NOBODY };
        let asks = Asks { birthday: Some(window), ..Asks::default() };
        let basket = Basket { occurred_at: at(&format!("{day}T12:00:00Z")), ..basket(100, &[]) };
        receipt(vec![Promotion { asks, ..points("p", 1) }], &basket, &newcomer(&facts)).contains(&"p 1".to_owned())
    };
    use BirthdayWindow::{Day, Month, Week};
    assert!(holds((2, 29), Day, "2028-02-29") && !holds((2, 29), Day, "2028-02-28"));
    assert!(holds((2, 29), Day, "2026-02-28") && !holds((2, 29), Day, "2026-03-01"));
    assert!(holds((2, 29), Month, "2026-02-01") && !holds((2, 29), Month, "2026-03-01"));
    assert!(holds((1, 1), Week, "2026-12-29") && holds((1, 1), Week, "2026-01-04"));
    assert!(!holds((1, 1), Week, "2026-12-28") && !holds((1, 1), Week, "2026-01-05"));
    assert!(holds((12, 31), Week, "2027-01-03") && !holds((12, 31), Week, "2027-01-04"));
    assert_eq!([Birthday::new(0, 0), Birthday::new(2, 30), Birthday::new(13, 1), Birthday::new(-1, 300)], [None; 4]);
}

#[test]
fn of_a_group_one_applies() {
    let of = |group: &str, priority, promotion: Promotion| Promotion { group: Some(group.to_owned()), priority, ..promotion };
    let rows: [(Vec<Promotion>, &[&str]); 5] = [
        (vec![points("a", 5), times("b", "2")], &["a 5", "b 14"]),
        (vec![of("g", 0, points("a", 5)), of("g", 0, times("b", "2"))], &["b 14", "a - Stacking"]),
        (vec![of("g", 1, points("a", 5)), of("g", 0, times("b", "2"))], &["a 5", "b - Stacking"]),
        (vec![of("g", 0, points("a", 5)), of("g", 0, points("b", 5))], &["a 5", "b - Stacking"]),
        // One that gives nothing keeps no other away.
        (vec![of("g", 9, Promotion { spend_min: 9_999, ..points("a", 5) }), of("g", 0, points("b", 5))], &["b 5", "a - Spend"]),
    ];
    for (promotions, says) in rows {
        let parts = receipt(promotions, &basket(1_400, &[]), &newcomer(&NOBODY));
        assert_eq!(parts[1..], *says);
    }
}

#[test]
fn what_goes_back_takes_its_promotion_along() {
    let promotions = vec![Promotion { spend_min: 1_000, ..points("ten", 10) }, Promotion { lines: pastry(), ..times("pastry", "2") }];
    let mut bench = Bench::new(Terms { promotions: promotions.into(), ..terms() });
    bench.run(award_lines("p", 1_400, breakfast())).unwrap();
    assert_eq!(bench.active(), 14 + 10 + 8);
    bench.run(back("p", &[("2", 1)])).unwrap();
    assert_eq!(bench.active(), 10 + 10 + 4);
    bench.run(back("p", &[("1", 1)])).unwrap();
    assert_eq!(bench.active(), 4 + 4, "too little is left for the ten");
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.active(), 0);
}

#[test]
fn what_did_not_apply_does_not_come_to_apply_when_something_goes_back() {
    let of = |priority, promotion: Promotion| Promotion { group: Some("g".to_owned()), priority, ..promotion };
    let promotions = vec![of(1, Promotion { spend_min: 1_000, ..points("few", 1) }), of(0, points("many", 100))];
    let mut bench = Bench::new(Terms { promotions: promotions.into(), ..terms() });
    bench.run(award("p", 1_400)).unwrap();
    bench.run(remaining("p", 900)).unwrap();
    assert_eq!(bench.active(), 9);
}

/// Two coffees are asked for when they are bought, and never again.
#[test]
fn a_condition_is_judged_once() {
    let two = "purchase.lines.exists(line, line.category == 'pastry' && line.quantity >= 2)";
    let asks = Asks { condition: Some(Condition::parse(two).unwrap()), ..Asks::default() };
    let mut bench = Bench::new(Terms { promotions: vec![Promotion { asks, ..points("two", 10) }].into(), ..terms() });
    bench.run(award_lines("p", 1_400, breakfast())).unwrap();
    bench.run(back("p", &[("2", 1)])).unwrap();
    assert_eq!(bench.active(), 10 + 10);
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.active(), 0);
}

#[test]
fn fixed_points_go_back_with_the_last_of_the_money_or_the_goods() {
    let mut bench = Bench::new(Terms { promotions: vec![points("ten", 10)].into(), ..terms() });
    bench.run(award_lines("p", 1_400, breakfast())).unwrap();
    bench.run(remaining("p", 0)).unwrap();
    bench.run(award("nothing", 0)).unwrap();
    assert_eq!(bench.active(), 0);
    bench.run(award_lines("free", 0, vec![line("1", 2, 0)])).unwrap();
    assert_eq!(bench.active(), 10);
    bench.run(back("free", &[("1", 2)])).unwrap();
    assert_eq!(bench.active(), 0);
}

#[test]
fn welcome_and_welcome_back() {
    let asks = |asks: Asks, promotion: Promotion| Promotion { asks, ..promotion };
    let promotions = vec![
        asks(Asks { purchase_number: Some(1), ..Asks::default() }, points("welcome", 100)),
        asks(Asks { purchase_number: Some(2), ..Asks::default() }, points("again", 50)),
        asks(Asks { dormant_days: Some(60), ..Asks::default() }, points("come-back", 30)),
    ];
    let mut bench = Bench::new(Terms { promotions: promotions.into(), ..terms() });
    let mut earned = |days: u32| {
        let before = bench.active();
        bench.now = bench.now + days * Duration::from_secs(86_400);
        bench.run(award(&format!("p{}", bench.operations), 100)).unwrap();
        bench.active() - before
    };
    assert_eq!([earned(0), earned(1), earned(1), earned(60), earned(59)], [101, 51, 1, 31, 1]);
}

fn pastry() -> LineFilter {
    LineFilter { categories: texts(&["pastry"]), ..LineFilter::default() }
}

/// A few promotions of all kinds, most of which apply to something.
pub(super) fn any_promotions() -> impl Strategy<Value = Vec<Promotion>> {
    let gives = prop_oneof![(1_i64..200).prop_map(Gives::Points), (1_001_i64..5_000).prop_map(|by| Gives::Multiplier(Decimal::new(by, 3)))];
    let lines = prop_oneof![
        Just(LineFilter::default()),
        (0_i64..6).prop_map(|quantity_min| LineFilter { quantity_min, ..LineFilter::default() }),
        Just(LineFilter { skus: texts(&["sku"]), ..LineFilter::default() }),
        Just(LineFilter { excluded_categories: texts(&["none"]), ..LineFilter::default() }),
    ];
    let one = (gives, lines, 0_i64..6_000, proptest::option::of(1_i64..50), proptest::option::of("[gh]"), -1..2, any_limit());
    let promotion = |(gives, lines, spend_min, points_max, group, priority, limit)| Promotion {
        gives,
        lines,
        spend_min,
        points_max,
        group,
        priority,
        limit,
        ..points("p", 0)
    };
    proptest::collection::vec(one.prop_map(promotion), 0..6).prop_map(|mut all| {
        all.iter_mut().enumerate().for_each(|(number, promotion)| promotion.id = format!("p{number}").into());
        all
    })
}

/// Often none.
fn any_limit() -> impl Strategy<Value = Option<Limit>> {
    let period = prop_oneof![Just(LimitPeriod::Ever), Just(LimitPeriod::Day), Just(LimitPeriod::Week), Just(LimitPeriod::Month)];
    let limit = (proptest::option::of(1_i64..4), 1_i64..60, period);
    proptest::option::of(limit.prop_map(|(times_max, points, period)| Limit { times_max, points_max: Some(points), period }))
}

#[test]
fn a_limit_counts_in_its_period() {
    let limit = |times_max, points_max, period| Some(Limit { times_max, points_max, period });
    // A Thursday evening; then so many hours later each.
    let hours = [0, 1, 5, 24, 72, 24 * 30];
    let rows: [(Option<Limit>, [i64; 6]); 8] = [
        (None, [10, 10, 10, 10, 10, 10]),
        (limit(Some(1), None, LimitPeriod::Ever), [10, 0, 0, 0, 0, 0]),
        (limit(Some(2), None, LimitPeriod::Day), [10, 10, 10, 10, 10, 10]),
        (limit(Some(1), None, LimitPeriod::Day), [10, 0, 10, 10, 10, 10]),
        (limit(Some(1), None, LimitPeriod::Week), [10, 0, 0, 0, 10, 10]),
        (limit(Some(2), None, LimitPeriod::Month), [10, 10, 0, 0, 0, 10]),
        (limit(None, Some(25), LimitPeriod::Year), [10, 10, 5, 0, 0, 0]),
        (limit(Some(2), Some(15), LimitPeriod::Day), [10, 5, 10, 10, 10, 10]),
    ];
    for (limit, expected) in rows {
        let mut bench = Bench::new(Terms {
            points_per_unit: Decimal::ZERO,
            promotions: vec![Promotion { limit, ..points("p", 10) }].into(),
            ..terms()
        });
        bench.now = at("2026-05-14T20:00:00Z");
        let earned = hours.map(|hours| {
            bench.now = bench.now + Duration::from_secs(hours * 3_600);
            let before = bench.active();
            bench.run(award(&format!("p{hours}"), 100)).unwrap();
            bench.active() - before
        });
        assert_eq!(earned, expected, "{limit:?}");
    }
}

#[test]
fn what_goes_back_makes_room_and_gains_nothing() {
    let limit = Some(Limit { times_max: Some(2), points_max: Some(15), period: LimitPeriod::Day });
    let mut bench = Bench::new(Terms { promotions: vec![Promotion { limit, spend_min: 500, ..points("p", 10) }].into(), ..terms() });
    bench.run(award("a", 1_000)).unwrap();
    bench.run(award("b", 1_000)).unwrap();
    assert_eq!((bench.active(), bench.account.counts.len()), (20 + 15, 1));
    bench.run(award("c", 1_000)).unwrap();
    assert_eq!(bench.active(), 45, "no more than two, and no more than fifteen");
    bench.run(remaining("a", 100)).unwrap();
    assert_eq!((bench.active(), bench.account.counts[0].times, bench.account.counts[0].points), (26, 1, 5));
    bench.run(award("d", 1_000)).unwrap();
    assert_eq!(bench.active(), 46, "there is room again");
    for id in ["b", "c", "d"] {
        bench.run(remaining(id, 0)).unwrap();
    }
    assert_eq!((bench.active(), bench.account.counts.as_slice()), (1, &[][..]));
}

#[test]
fn what_has_been_counted_follows_a_merge() {
    let limit = Some(Limit { times_max: Some(2), points_max: None, period: LimitPeriod::Month });
    let mut town = Town::new(2, Terms { promotions: vec![Promotion { limit, ..points("p", 10) }].into(), ..terms() });
    town.run(0, award("a", 100)).unwrap();
    town.run(1, award("b", 100)).unwrap();
    town.merge(0, 1).unwrap();
    town.run(1, award("c", 100)).unwrap();
    assert_eq!(town.balances(0).0, 23, "each has had one");
    town.run(0, remaining("a", 0)).unwrap();
    town.run(1, award("d", 100)).unwrap();
    assert_eq!((town.balances(0).0, town.benches[1].account.counts.len()), (23, 0));
}

/// Each goes on with what was his, and what he has got in his own name since.
#[test]
fn what_has_been_counted_is_parted_with_the_accounts() {
    let limit = Some(Limit { times_max: Some(1), points_max: Some(i64::MAX), period: LimitPeriod::Ever });
    let mut town = Town::new(2, Terms { promotions: vec![Promotion { limit, ..points("p", 10) }].into(), ..terms() });
    town.run(1, award("a", 100)).unwrap();
    town.merge(0, 1).unwrap();
    town.unmerge(0, 1).unwrap();
    town.run(1, award("b", 100)).unwrap();
    assert_eq!(town.balances(1).0, 12, "he has had his");
    town.run(0, award("c", 100)).unwrap();
    assert_eq!(town.balances(0).0, 11, "and the other has not had it for him");
    // What goes back after they are apart makes room in his own books, and in no other's.
    town.merge(0, 1).unwrap();
    town.unmerge(0, 1).unwrap();
    town.run(1, remaining("a", 0)).unwrap();
    assert_eq!((town.benches[0].account.counts.len(), town.benches[1].account.counts.len()), (1, 0));
    town.run(1, award("d", 100)).unwrap();
    assert_eq!(town.balances(1).0, 12);
}

#[test]
fn what_a_return_leaves_with_the_member_makes_no_room() {
    for (return_policy, spent) in [(ReturnPolicy::WithinBalance, 100), (ReturnPolicy::OnlyPending, 0)] {
        let limit = Some(Limit { times_max: Some(1), points_max: None, period: LimitPeriod::Ever });
        let promotions = vec![Promotion { limit, ..points("p", 100) }];
        let mut bench = Bench::new(Terms { points_per_unit: Decimal::ZERO, promotions: promotions.into(), return_policy, ..terms() });
        bench.run(award("a", 100)).unwrap();
        if spent > 0 {
            bench.run(redeem(spent)).unwrap();
        }
        bench.run(remaining("a", 0)).unwrap();
        bench.run(award("b", 100)).unwrap();
        assert_eq!(bench.active(), 100 - spent, "{return_policy:?}");
    }
}

#[test]
fn an_activity_beyond_its_limit_is_refused() {
    let limit = Some(Limit { times_max: None, points_max: Some(15), period: LimitPeriod::Day });
    let mut bench = Bench::new(Terms { activities: vec![ActivityTerms { limit, ..review(7) }], ..terms() });
    bench.run(activity("review", "1")).unwrap();
    bench.run(activity("review", "2")).unwrap();
    assert_eq!(bench.run(activity("review", "3")), Err(Refusal::ActivityLimit { activity: "review".to_owned() }));
    bench.now = bench.now + Duration::from_secs(86_400);
    bench.run(activity("review", "3")).unwrap();
    assert_eq!(bench.active(), 21);
}

/// What is over is forgotten, so that a state stays small.
#[test]
fn a_period_that_is_over_is_forgotten() {
    let limit = Some(Limit { times_max: Some(9), points_max: None, period: LimitPeriod::Day });
    let mut bench = Bench::new(Terms { promotions: vec![Promotion { limit, ..points("p", 10) }].into(), ..terms() });
    let counts: Vec<usize> = (0..100)
        .map(|day| {
            bench.run(award(&format!("p{day}"), 100)).unwrap();
            bench.now = bench.now + Duration::from_secs(86_400);
            bench.account.counts.len()
        })
        .collect();
    assert_eq!((counts[62], counts[99]), (63, 63));
    bench.run(remaining("p1", 0)).unwrap();
    assert_eq!(bench.account.counts.len(), 62, "one more is over by now, and none has come back");
}

proptest! {
    /// However purchases and returns follow each other, nobody gets more in a period than its limit.
    #[test]
    fn no_more_than_the_limit_is_got(
        limit in any_limit(),
        steps in proptest::collection::vec((0_i64..2_000, 0_usize..4, 0_u64..40), 1..30),
    ) {
        let mut bench = Bench::new(Terms { promotions: vec![Promotion { limit, ..times("p", "2") }].into(), ..terms() });
        let mut bought: Vec<String> = Vec::new();
        for (number, (net, what, hours)) in steps.into_iter().enumerate() {
            bench.now = bench.now + Duration::from_secs(hours * 3_600);
            match bought.get(what) {
                Some(id) if net % 3 == 0 => drop(bench.run(remaining(id, net / 10))),
                _ => {
                    bench.run(award(&number.to_string(), net)).unwrap();
                    bought.push(number.to_string());
                }
            }
            let Some(Limit { times_max, points_max, .. }) = limit else { continue };
            for count in &bench.account.counts {
                prop_assert!(times_max.is_none_or(|max| count.times <= max) && points_max.is_none_or(|max| count.points <= max));
                let inside = |at: Timestamp| count.since <= at && count.until.is_none_or(|until| at < until);
                let got: i64 = bench.purchases.iter().filter(|purchase| inside(purchase.occurred_at)).map(|purchase| purchase.due - purchase.base).sum();
                prop_assert_eq!(got, count.points);
            }
        }
    }

    /// The order in which promotions are written down decides nothing but between two of a group that give the same.
    #[test]
    fn the_order_of_promotions_does_not_matter(promotions in any_promotions(), net in 0_i64..20_000) {
        let lines = [line("1", 3, net / 2), line("2", 2, net - net / 2)];
        let given = |promotions: &[Promotion]| {
            let versions = versions(Terms { promotions: promotions.to_vec().into(), ..terms() });
            let basket = basket(net, &lines);
            let Selection { applied, rejected } = versions.at(tuesday()).select(&basket, &newcomer(&NOBODY), Told::All).unwrap();
            assert_eq!(applied.len() + rejected.len(), promotions.len(), "each is told of");
            let facts = FrozenFacts { promotions: applied, ..FrozenFacts::of_stranger(1) };
            versions.at(tuesday()).points_for(&basket, &facts).unwrap().points()
        };
        let mut other_way = promotions.clone();
        other_way.reverse();
        prop_assert_eq!(given(&promotions), given(&other_way));
        // Of a group exactly one applies, if any would alone.
        let groups: std::collections::BTreeSet<_> = promotions.iter().filter_map(|promotion| promotion.group.clone()).collect();
        for group in groups {
            let of_group: Vec<Promotion> = promotions.iter().filter(|promotion| promotion.group.as_ref() == Some(&group)).cloned().collect();
            let alone: Vec<i64> = of_group.iter().map(|promotion| given(std::slice::from_ref(promotion)) - given(&[])).collect();
            let best = of_group.iter().zip(&alone).filter(|(_, points)| **points > 0).map(|(one, points)| (one.priority, *points)).max();
            prop_assert_eq!(given(&of_group) - given(&[]), best.map_or(0, |(_, points)| points));
        }
    }
    /// An award asks only those that the index finds, and tells the same of them as a preview, which asks each.
    #[test]
    fn the_index_leaves_out_only_who_would_say_no(
        promotions in any_asking(),
        hour in 0_i64..24 * 14,
        minute in prop_oneof![Just(0_i64), Just(59), 0_i64..60],
        (names, tiers) in (proptest::array::uniform4(0_usize..4), proptest::collection::vec(0_usize..4, 0..3)),
    ) {
        let lines = breakfast();
        let name = |which: usize| ["", "a", "b", "c"][which];
        let occurred_at = at("2026-03-23T00:00:00Z") + Duration::from_secs(u64::try_from(hour * 3_600 + minute * 60).unwrap());
        let bought = Basket { store: name(names[0]), channel: name(names[1]), occurred_at, ..basket(1_400, &lines) };
        let tier = |which: &usize| TierInterval {
            scheme: name(*which).to_owned(),
            tier: name(*which).to_owned(),
            multiplier: Decimal::ONE,
            start_at: Timestamp::MIN,
            end_at: None,
        };
        let facts = Facts {
            tiers: tiers.iter().map(tier).collect(),
            tags: texts(&[name(names[2]), name(names[3])]),
            segments: texts(&[name(names[3])]),
            ..NOBODY
        };
        let one = versions(Terms { promotions: promotions.into(), ..terms() });
        // Where clocks are changed in these weeks.
        let version = Version { zone: Zone::parse("Europe/Berlin").unwrap(), ..one.at(tuesday()).clone() };
        let all = version.select(&bought, &newcomer(&facts), Told::All).unwrap();
        let awarded = version.select(&bought, &newcomer(&facts), Told::OfTheBasket).unwrap();
        prop_assert_eq!(&awarded.applied, &all.applied);
        let told: Vec<_> = all.rejected.into_iter().filter(|(_, reason)| reason.is_about_the_basket()).collect();
        prop_assert_eq!(awarded.rejected, told);
    }
}

/// More than fit into a word of the index, that ask for names, times, and what is bought.
fn any_asking() -> impl Strategy<Value = Vec<Promotion>> {
    let names = || proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 0..3).prop_map(|names| texts(&names));
    let days = proptest::collection::vec(1_i8..8, 1..4);
    let window = proptest::option::weighted(0.4, (days, 0_i32..1_440, 0_i32..1_441));
    let weekly = window.prop_map(|window| window.map(|(days, start, end)| weekly(&days, start, end)));
    let asks = (names(), names(), names(), names(), (names(), names()), weekly);
    let asks = asks.prop_map(|(stores, channels, tiers, tags, (excluded_tags, segments), weekly)| Asks {
        stores,
        channels,
        tiers,
        tags,
        excluded_tags,
        segments,
        weekly,
        ..Asks::default()
    });
    (any_promotions(), proptest::collection::vec(asks, 0..130)).prop_map(|(some, asks)| {
        let plain = |number: usize| some.get(number % 7).cloned().unwrap_or_else(|| points("p", 3));
        let promotion = |(number, asks)| Promotion { id: format!("p{number}").into(), asks, ..plain(number) };
        asks.into_iter().enumerate().map(promotion).collect()
    })
}
