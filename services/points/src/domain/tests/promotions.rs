//! Promotions: what is limited, and what holds of all of them. What their receipts say is in `docs/promotions-and-receipts.md`, which `receipts` plays.

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

pub(super) const NOBODY: Facts =
    Facts { version: 0, status: MemberStatus::Active, tiers: Vec::new(), birthday: None, tags: Vec::new(), segments: Vec::new() };

pub(super) fn newcomer(facts: &Facts) -> Buyer<'_> {
    Buyer { facts, purchases: 0, last_purchase_at: None, counts: &[], shared: &[] }
}

#[test]
fn a_birthday_is_a_day_that_some_year_has() {
    assert_eq!([Birthday::new(0, 0), Birthday::new(2, 30), Birthday::new(13, 1), Birthday::new(-1, 300)], [None; 4]);
    assert!(Birthday::new(2, 29).is_some());
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
