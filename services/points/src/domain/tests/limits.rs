//! Budgets and limits of awards, and their receipts.

use proptest::prelude::*;

use super::promotions::{points, times};
use super::town::Town;
use super::wallets::{figures, stars};

use super::*;

pub(super) fn limit(times_max: i64, points_max: i64, period: LimitPeriod) -> Limit {
    let max = |max: i64| (max > 0).then_some(max);
    Limit { times_max: max(times_max), points_max: max(points_max), period }
}

pub(super) fn trims(id: &str, scope: LimitScope, limit: Limit) -> AwardLimit {
    AwardLimit { id: id.into(), scope, limit, rejects: false }
}

fn rejects(id: &str, scope: LimitScope, limit: Limit) -> AwardLimit {
    AwardLimit { rejects: true, ..trims(id, scope, limit) }
}

fn budget(budget: Limit, promotion: Promotion) -> Promotion {
    Promotion { budget: Some(budget), ..promotion }
}

/// What a receipt says.
fn receipt(outcome: Result<Outcome, Refusal>) -> String {
    let (purchase, explanation) = match outcome {
        Ok(Outcome::Awarded { purchase, explanation }) => (purchase, explanation),
        Ok(other) => panic!("an award: {other:?}"),
        Err(refusal) => return refusal.to_string(),
    };
    let sum: i64 = explanation.components.iter().map(|part| part.points).sum();
    assert_eq!((sum, explanation.points()), (purchase.due, purchase.due), "the parts add up");
    let part = |part: &super::super::terms::Component| match part.desired == part.points {
        true => format!("{} {}", part.source.trim_start_matches("promotion:"), part.points),
        false => format!("{} {} of {}", part.source.trim_start_matches("promotion:"), part.points, part.desired),
    };
    let rejected = explanation.rejected.iter().map(|(id, reason)| format!("{id} - {reason:?}"));
    explanation.components.iter().map(part).chain(rejected).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_budget_is_shared_and_used_to_its_end() {
    let promotions = vec![budget(limit(0, 25, LimitPeriod::Month), points("ten", 10))];
    let mut town = Town::new(3, Terms { promotions: promotions.into(), ..terms() });
    let says = ["base 1, ten 10", "base 1, ten 10", "base 1, ten 5 of 10", "base 1, ten - Budget"];
    for (number, says) in says.into_iter().enumerate() {
        assert_eq!(receipt(town.run(number % 3, award(&format!("p{number}"), 100))), says);
    }
    // What goes back makes room for another, and so does a new month.
    town.run(1, remaining("p1", 0)).unwrap();
    assert_eq!(receipt(town.run(2, award("p4", 100))), "base 1, ten 10");
    town.run(2, remaining("p2", 0)).unwrap();
    assert_eq!(receipt(town.run(0, award("p5", 100))), "base 1, ten 5 of 10");
    town.wait(Duration::from_secs(31 * 86_400));
    assert_eq!(receipt(town.run(0, award("p6", 100))), "base 1, ten 10");
    // A return of something of last month makes room there.
    town.run(0, remaining("p0", 0)).unwrap();
    assert_eq!(town.shared().iter().map(|count| (count.times, count.points)).collect::<Vec<_>>(), [(2, 15), (1, 10)]);
    assert_eq!(receipt(town.run(1, award("p7", 100))), "base 1, ten 10");
    assert_eq!(receipt(town.run(1, award("p8", 100))), "base 1, ten 5 of 10");
}

#[test]
fn another_of_the_group_goes_before_one_that_is_used_up() {
    let of = |priority, promotion: Promotion| Promotion { group: Some("g".to_owned()), priority, ..promotion };
    let promotions = vec![of(1, budget(limit(1, 0, LimitPeriod::Ever), points("big", 100))), of(0, points("small", 1))];
    let mut bench = Bench::new(Terms { promotions: promotions.into(), ..terms() });
    assert_eq!(receipt(bench.run(award("a", 100))), "base 1, big 100, small - Stacking");
    assert_eq!(receipt(bench.run(award("b", 100))), "base 1, small 1, big - Budget");
    assert_eq!((bench.shared.len(), bench.shared[0].points), (1, 100));
}

/// A version with the same promotion goes on counting; with more there is room again.
#[test]
fn a_new_version_goes_on_counting() {
    let of = |points_max| Terms { promotions: vec![budget(limit(0, points_max, LimitPeriod::Ever), points("ten", 10))].into(), ..terms() };
    let mut bench = Bench::new(of(15));
    bench.run(award("a", 100)).unwrap();
    assert_eq!(receipt(bench.run(award("b", 100))), "base 1, ten 5 of 10");
    bench.versions = versions(of(18));
    assert_eq!(receipt(bench.run(award("c", 100))), "base 1, ten 3 of 10");
    bench.versions = versions(of(12));
    assert_eq!(receipt(bench.run(award("d", 100))), "base 1, ten - Budget");
}

#[test]
fn what_is_beyond_a_limit_is_cut_off_or_refused() {
    use LimitScope::{Cashier, Member, Program, Purchase, Terminal};
    let day = |points_max| limit(0, points_max, LimitPeriod::Day);
    let ever = |points_max| limit(0, points_max, LimitPeriod::Ever);
    let refused = |id: &str| format!("the limit {id} of the program's terms has been reached");
    // Two purchases of ten points, doubled.
    let rows: [(Vec<AwardLimit>, String, String); 10] = [
        (vec![], "base 10, double 10".to_owned(), "base 10, double 10".to_owned()),
        (
            vec![trims("each", Purchase, ever(15))],
            "base 10, double 10, limit:each -5".to_owned(),
            "base 10, double 10, limit:each -5".to_owned(),
        ),
        (
            vec![trims("each", Purchase, ever(4))],
            "base 10, double 10, limit:each -16".to_owned(),
            "base 10, double 10, limit:each -16".to_owned(),
        ),
        (vec![trims("day", Member, day(30))], "base 10, double 10".to_owned(), "base 10, double 10, limit:day -10".to_owned()),
        (vec![trims("till", Terminal, day(20))], "base 10, double 10".to_owned(), "base 10, double 10, limit:till -20".to_owned()),
        (
            vec![trims("staff", Cashier, limit(1, 0, LimitPeriod::Day))],
            "base 10, double 10".to_owned(),
            "base 10, double 10, limit:staff -20".to_owned(),
        ),
        (vec![rejects("day", Program, day(39))], "base 10, double 10".to_owned(), refused("day")),
        (vec![rejects("each", Purchase, ever(19))], refused("each"), refused("each")),
        // The tightest cuts, and those that refuse are asked about what is left.
        (
            vec![trims("a", Member, day(34)), trims("b", Purchase, ever(18)), rejects("c", Program, day(34))],
            "base 10, double 10, limit:b -2".to_owned(),
            "base 10, double 10, limit:a -4".to_owned(),
        ),
        (vec![trims("b", Purchase, ever(18)), rejects("c", Program, day(35))], "base 10, double 10, limit:b -2".to_owned(), refused("c")),
    ];
    for (limits, first, second) in rows {
        let mut bench = Bench::new(Terms { promotions: vec![times("double", "2")].into(), limits, ..terms() });
        (bench.terminal, bench.cashier) = ("programs/tea/stores/s/terminals/t", "17");
        assert_eq!(receipt(bench.run(award("a", 1_000))), first);
        assert_eq!(receipt(bench.run(award("b", 1_000))), second);
        // Where nobody says who sells, nothing is asked.
        (bench.terminal, bench.cashier) = ("", "");
        bench.now = bench.now + Duration::from_secs(86_400);
        bench.run(award("zero", 1)).unwrap();
    }
}

#[test]
fn each_till_and_cashier_is_counted_by_itself() {
    let limits = vec![
        trims("till", LimitScope::Terminal, limit(1, 0, LimitPeriod::Ever)),
        trims("staff", LimitScope::Cashier, limit(0, 15, LimitPeriod::Ever)),
    ];
    let mut town = Town::new(2, Terms { limits, ..terms() });
    let mut sold = |member: usize, terminal, cashier, id| {
        town.benches.iter_mut().for_each(|bench| (bench.terminal, bench.cashier) = (terminal, cashier));
        receipt(town.run(member, award(id, 1_000)))
    };
    assert_eq!(sold(0, "one", "1", "a"), "base 10");
    assert_eq!(sold(1, "one", "2", "b"), "base 10, limit:till -10");
    assert_eq!(sold(1, "two", "1", "c"), "base 10, limit:staff -5");
    assert_eq!(sold(1, "three", "1", "d"), "base 10, limit:staff -10");
    assert_eq!(sold(1, "", "2", "e"), "base 10");
}

/// A promotion that is cut off by a limit does not use its budget up.
#[test]
fn what_a_limit_cuts_off_is_not_counted_by_a_budget() {
    let promotions =
        vec![budget(limit(0, 100, LimitPeriod::Ever), times("double", "2")), budget(limit(5, 0, LimitPeriod::Ever), points("five", 5))];
    let mut bench = Bench::new(Terms {
        promotions: promotions.into(),
        limits: vec![trims("day", LimitScope::Member, limit(0, 13, LimitPeriod::Day))],
        ..terms()
    });
    let shared = |bench: &Bench| bench.shared.iter().map(|count| (count.of.to_string(), count.times, count.points)).collect::<Vec<_>>();
    assert_eq!(receipt(bench.run(award("a", 1_000))), "base 10, double 10, five 5, limit:day -12");
    assert_eq!(shared(&bench), [("promotion:double".to_owned(), 1, 3)]);
    // What is left is worth the ten that the whole was, and nothing comes to be given instead.
    bench.run(remaining("a", 500)).unwrap();
    assert_eq!((bench.active(), shared(&bench)), (8, vec![("promotion:double".to_owned(), 1, 3)]));
    bench.run(remaining("a", 200)).unwrap();
    assert_eq!((bench.active(), shared(&bench)), (4, vec![("promotion:double".to_owned(), 1, 2)]));
    bench.run(remaining("a", 0)).unwrap();
    assert_eq!((bench.active(), shared(&bench), bench.account.counts.len()), (0, vec![("promotion:double".to_owned(), 0, 0)], 0));
}

#[test]
fn an_activity_is_asked_too() {
    let limits = vec![
        trims("day", LimitScope::Member, limit(0, 10, LimitPeriod::Day)),
        trims("each", LimitScope::Purchase, limit(0, 1, LimitPeriod::Ever)),
    ];
    let mut bench = Bench::new(Terms { limits, activities: vec![review(7)], ..terms() });
    let earned = |outcome| match outcome {
        Ok(Outcome::Earned { desired, points, .. }) => (desired, points),
        other => panic!("earned: {other:?}"),
    };
    assert_eq!(earned(bench.run(activity("review", "1"))), (7, 7));
    assert_eq!(receipt(bench.run(award("a", 1_000))), "base 10, limit:each -9");
    assert_eq!(earned(bench.run(activity("review", "2"))), (7, 2));
    assert_eq!(earned(bench.run(activity("review", "3"))), (7, 0));
    bench.versions = versions(Terms {
        limits: vec![rejects("till", LimitScope::Terminal, limit(0, 6, LimitPeriod::Day))],
        activities: vec![review(7)],
        ..terms()
    });
    bench.terminal = "one";
    assert_eq!(bench.run(activity("review", "4")), Err(Refusal::AwardLimit { limit: "till".to_owned() }));
    assert_eq!(bench.active(), 10);
}

/// Merges move what is counted of a member, and nothing else; what a return forgives stays counted.
#[test]
fn a_merge_moves_no_shared_count() {
    let promotions = vec![budget(limit(2, 0, LimitPeriod::Ever), points("ten", 10))];
    let limits = vec![trims("own", LimitScope::Member, limit(0, 30, LimitPeriod::Ever))];
    let mut town = Town::new(2, Terms { promotions: promotions.into(), limits, return_policy: ReturnPolicy::WithinBalance, ..terms() });
    town.run(0, award("a", 100)).unwrap();
    town.run(1, award("b", 100)).unwrap();
    let before = town.shared();
    town.merge(0, 1).unwrap();
    assert_eq!(
        receipt(town.run(1, award("c", 1_000))),
        "base 10, ten - Budget, limit:own -2".replace("ten - Budget, limit:own -2", "limit:own -2, ten - Budget")
    );
    town.run(1, remaining("b", 0)).unwrap();
    assert_eq!((before[0].times, town.shared()[0].times, town.shared()[0].points), (2, 1, 10));
    town.unmerge(0, 1).unwrap();
    assert_eq!((town.shared()[0].times, town.shared()[0].points), (1, 10));
    town.run(0, redeem(11)).unwrap();
    town.run(0, remaining("a", 0)).unwrap();
    assert_eq!(town.shared()[0].times, 1, "what was spent was had");
}

#[test]
fn a_count_is_of_a_period() {
    let zone = Zone::parse("Asia/Shanghai").unwrap();
    let periods = [LimitPeriod::Ever, LimitPeriod::Day, LimitPeriod::Week, LimitPeriod::Month, LimitPeriod::Year];
    // A Monday that is the first of a month, so that three of them begin together.
    let counts = periods.map(|period| limit(1, 0, period).count(Counting::Shared, "p".into(), (1, 1), at("2026-06-01T12:00:00Z"), &zone));
    for (period, own) in periods.iter().zip(&counts) {
        let of: Vec<bool> = counts.iter().map(|count| limit(1, 0, *period).is_period_of(count, &zone)).collect();
        assert_eq!(of, counts.iter().map(|count| count == own).collect::<Vec<_>>(), "{period:?}");
    }
}

fn any_limits() -> impl Strategy<Value = Vec<AwardLimit>> {
    let scope = prop_oneof![
        Just(LimitScope::Purchase),
        Just(LimitScope::Member),
        Just(LimitScope::Terminal),
        Just(LimitScope::Cashier),
        Just(LimitScope::Program)
    ];
    let period = prop_oneof![Just(LimitPeriod::Ever), Just(LimitPeriod::Day), Just(LimitPeriod::Month)];
    let one = (scope, period, 0_i64..4, 1_i64..120, any::<bool>());
    let of = |(number, (scope, period, times_max, points_max, rejects))| {
        let times_max = if scope == LimitScope::Purchase { 0 } else { times_max };
        AwardLimit { id: format!("l{number}").into(), scope, limit: limit(times_max, points_max, period), rejects }
    };
    proptest::collection::vec(one, 0..4).prop_map(move |all| all.into_iter().enumerate().map(of).collect())
}

fn any_budgets() -> impl Strategy<Value = Vec<Promotion>> {
    let period = prop_oneof![Just(LimitPeriod::Ever), Just(LimitPeriod::Week)];
    let budget = (0_i64..5, 1_i64..90, period).prop_map(|(times_max, points_max, period)| limit(times_max, points_max, period));
    let others = proptest::collection::vec((proptest::option::of(budget), prop::bool::weighted(0.3)), 6);
    (super::promotions::any_promotions(), others).prop_map(|(mut promotions, others)| {
        for (promotion, (budget, into_stars)) in promotions.iter_mut().zip(others) {
            (promotion.budget, promotion.wallet) = (budget, into_stars.then(|| "stars".into()));
        }
        promotions
    })
}

/// No bound of the terms is broken by what has been counted, and what is shared is what the entries say.
fn keeps_bounds(town: &Town, terms: &Terms) {
    // A slice may count again what one before it made room for: no more than stays with members.
    let stays = || town.purchases().flat_map(|purchase| purchase.others.iter().map(|other| other.stays).chain([purchase.stays]));
    let (some_stay, all_that_stays) = (stays().filter(|stays| *stays > 0).count() as i64, stays().sum::<i64>());
    let mut sums: std::collections::BTreeMap<(String, Timestamp), (i64, i64)> = std::collections::BTreeMap::new();
    for change in town.benches.iter().flat_map(|bench| &bench.entries).flat_map(Entry::counted_of_all) {
        let sum = sums.entry((change.of.to_string(), change.since)).or_default();
        *sum = (sum.0 + change.times, sum.1 + change.points);
    }
    let shared = town.shared();
    assert_eq!(sums.len(), shared.len());
    let bound = |of: &str| {
        let promotion = terms.promotions.iter().find(|promotion| *promotion.counted_as() == *of).and_then(|promotion| promotion.budget);
        let limit =
            || terms.limits.iter().find(|limit| of.strip_prefix("limit:").is_some_and(|of| of.split('/').next() == Some(&*limit.id)));
        promotion.or_else(|| Some(limit()?.limit)).unwrap()
    };
    for Count { of, since, times, points, .. } in &shared {
        assert_eq!(sums[&(of.to_string(), *since)], (*times, *points), "{of}");
        let Limit { times_max, points_max, .. } = bound(of);
        assert!(times_max.is_none_or(|max| *times <= max + some_stay), "{of}: {times}");
        assert!(points_max.is_none_or(|max| *points <= max + all_that_stays), "{of}: {points}");
    }
}

fn any_policy() -> impl Strategy<Value = (ReturnPolicy, Option<i64>)> {
    let unlimited = proptest::option::weighted(0.7, 0_i64..60).prop_map(|cap| (ReturnPolicy::Unlimited, cap));
    prop_oneof![2 => unlimited, 1 => Just((ReturnPolicy::WithinBalance, None)), 1 => Just((ReturnPolicy::OnlyPending, None))]
}

proptest! {
    /// However members buy, give back and are merged, at whatever till: nothing is given beyond a budget or limit.
    #[test]
    fn nothing_goes_beyond_what_is_shared(
        promotions in any_budgets(),
        limits in any_limits(),
        (return_policy, deficit_cap) in any_policy(),
        steps in proptest::collection::vec((0_usize..3, 0_i64..4_000, 0_usize..5, 0_u64..60, 0_usize..3), 1..40),
    ) {
        let terms = Terms { promotions: promotions.into(), limits, wallets: vec![stars(Decimal::ONE)], return_policy, deficit_cap, ..terms() };
        let mut town = Town::new(3, terms.clone());
        let mut bought: Vec<(usize, String)> = Vec::new();
        for (number, (member, net, what, hours, place)) in steps.into_iter().enumerate() {
            town.wait(Duration::from_secs(hours * 3_600));
            for bench in &mut town.benches {
                (bench.terminal, bench.cashier) = [("", ""), ("one", "1"), ("two", "1")][place];
            }
            match bought.get(what) {
                Some((buyer, id)) if net % 3 == 0 => drop(town.run(*buyer, remaining(id, net / 10))),
                _ if net == 1_000 && member > 0 => drop(town.merge(0, member)),
                _ if net % 7 == 1 => drop(town.run(member, within(["stars", MAIN_WALLET][what % 2], redeem(net % 50)))),
                _ => {
                    let id = number.to_string();
                    if town.run(member, award(&id, net)).is_ok() {
                        bought.push((member, id));
                    }
                }
            }
            keeps_bounds(&town, &terms);
        }
        // Once everything has gone back nothing is counted but what stays with members.
        for (buyer, id) in bought {
            drop(town.run(buyer, remaining(&id, 0)));
        }
        let stays = |purchase: &Purchase| purchase.stays > 0 || purchase.others.iter().any(|other| other.stays > 0);
        if !town.purchases().any(stays) {
            prop_assert!(town.shared().iter().all(|count| (count.times, count.points) == (0, 0)));
            prop_assert!(town.benches.iter().all(|bench| bench.account.counts.is_empty()));
        }
        keeps_bounds(&town, &terms);
    }

    /// However much of them was used up before: slices end at the same points and counts as the whole.
    #[test]
    fn any_partition_of_a_return_ends_alike(
        promotions in any_budgets(),
        limits in any_limits(),
        (return_policy, deficit_cap) in any_policy(),
        waits in any::<bool>(),
        before in proptest::collection::vec(0_i64..3_000, 0..3),
        spent in (0_i64..150, 0_i64..60),
        quantities in (1_i64..6, 1_i64..6),
        nets in (0_i64..5_000, 0_i64..5_000),
        slices in proptest::collection::vec((0_usize..2, 1_i64..4), 1..8),
    ) {
        let activation = if waits { Activation::After(Period { count: 3, unit: CalendarUnit::Day }) } else { Activation::Immediate };
        let wallets = vec![stars(Decimal::ONE)];
        let mut whole = Bench::new(Terms { promotions: promotions.into(), limits, wallets, return_policy, deficit_cap, activation, ..terms() });
        (whole.terminal, whole.cashier) = ("one", "1");
        for (number, net) in before.into_iter().enumerate() {
            drop(whole.run(award(&number.to_string(), net)));
        }
        let lines = vec![line("1", quantities.0, nets.0), line("2", quantities.1, nets.1)];
        prop_assume!(whole.run(award_lines("p", nets.0 + nets.1, lines)).is_ok());
        for (wallet, points) in [(MAIN_WALLET, spent.0), ("stars", spent.1)] {
            let points = points.min(whole.account.active(wallet));
            drop(whole.run(within(wallet, redeem(points))));
        }
        let mut sliced = Bench { account: whole.account.clone(), versions: whole.versions.clone(), entries: whole.entries.clone(), purchases: whole.purchases.clone(), shared: whole.shared.clone(), ..Bench::new(terms()) };
        sliced.operations = whole.operations;
        let mut back_of = [0, 0];
        let mut due = whole.purchases.last().unwrap().due;
        for (line, quantity) in slices {
            if sliced.run(back("p", &[(["1", "2"][line], quantity)])).is_ok() {
                back_of[line] += quantity;
                let left = sliced.purchases.last().unwrap().due;
                prop_assert!(left <= due, "points never rise when something goes back");
                due = left;
            }
        }
        let all: Vec<(&str, i64)> = ["1", "2"].into_iter().zip(back_of).filter(|(_, quantity)| *quantity > 0).collect();
        prop_assume!(!all.is_empty());
        whole.run(back("p", &all)).unwrap();
        prop_assert_eq!(whole.balances(), sliced.balances());
        prop_assert_eq!(figures(&whole, "stars"), figures(&sliced, "stars"));
        prop_assert_eq!(whole.purchases.last().unwrap().stays, sliced.purchases.last().unwrap().stays);
        let in_order = |bench: &Bench| {
            let mut counts = bench.account.counts.clone();
            counts.sort_by(|one, other| (&one.of, one.until).cmp(&(&other.of, other.until)));
            counts
        };
        prop_assert_eq!(in_order(&whole), in_order(&sliced));
        prop_assert_eq!(&whole.shared, &sliced.shared);
    }
}
