//! Challenges whose terms change, whose gifts go back and come again, and whose members are merged.

use proptest::prelude::*;

use super::challenges::{bench, buys, challenge, day, give_back, ladder, streak, streak_of, town, visit};
use super::promotions::points;
use super::town::Town;

use super::*;

/// Terms with one challenge until a day, and with another from then on.
fn changed(first: Challenge, second: Challenge, on: i64) -> Bench {
    let mut bench = bench(first);
    let one = bench.versions.at(day(0)).clone();
    let terms = Terms { challenges: vec![second], ..(*one.terms).clone() };
    let two = Version { number: 2, start_at: day(on), terms: terms.into(), ..one.clone() };
    bench.versions = Versions::new(vec![one, two]).unwrap();
    bench
}

/// The ids of what was given (+) and taken back (-), by the order in which they came first.
fn given(entries: &[Entry]) -> Vec<(char, usize)> {
    let mut ids: Vec<Uuid> = Vec::new();
    let told = entries.iter().filter_map(|entry| {
        let Source::Challenge { given, .. } = &entry.source else { return None };
        let index = ids.iter().position(|id| id == given).unwrap_or_else(|| {
            ids.push(*given);
            ids.len() - 1
        });
        Some((if entry.kind == EntryKind::Reward { '+' } else { '-' }, index))
    });
    told.collect()
}

fn cups(times: i64) -> Challenge {
    let steps = vec![Step { at: times, gives: Gift::Reward("cup".into()) }];
    challenge("cups", Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps })
}

#[test]
fn a_streak_of_another_length_begins_anew_and_gives_what_it_completes() {
    let mut bench = changed(streak(Cadence::Purchase, 2, 0), streak(Cadence::Purchase, 3, 0), 6);
    let mut points = Vec::new();
    for number in 0..15 {
        visit(&mut bench, &[number]);
        points.push(bench.active());
    }
    assert_eq!(points, [0, 100, 100, 200, 200, 300, 300, 300, 400, 400, 400, 500, 500, 500, 600]);
    assert_eq!(given(&bench.entries), (0..6).map(|index| ('+', index)).collect::<Vec<_>>());
}

#[test]
fn a_return_takes_the_gift_whose_streak_it_breaks() {
    for (goes_back, taken) in [(1, 2), (5, 2), (8, 3), (6, 3)] {
        let mut bench = changed(streak(Cadence::Purchase, 2, 0), streak(Cadence::Purchase, 3, 0), 6);
        visit(&mut bench, &(0..9).collect::<Vec<_>>());
        assert_eq!(bench.active(), 400);
        give_back(&mut bench, goes_back);
        assert_eq!(bench.active(), 300, "{goes_back}");
        let told = given(&bench.entries);
        assert_eq!(told[4..], [('-', taken)], "{goes_back}: the newest of those under the terms that it was bought by");
    }
    let mut bench = changed(streak(Cadence::Purchase, 2, 0), streak(Cadence::Purchase, 3, 0), 6);
    visit(&mut bench, &(0..8).collect::<Vec<_>>());
    give_back(&mut bench, 7);
    assert_eq!(bench.active(), 300, "it had completed nothing");
}

#[test]
fn a_bound_on_how_often_holds_for_all_lengths_of_a_streak() {
    let at_most = |length, max| challenge("streak", Shape::Streak(Streak { times_max: Some(max), ..streak_of(Cadence::Day, length, 0) }));
    let mut bench = changed(at_most(5, 3), at_most(3, 3), 10);
    visit(&mut bench, &(0..30).collect::<Vec<_>>());
    assert_eq!(bench.active(), 300, "twice under the old terms, once under the new");
    assert_eq!(bench.account.challenge_progress(&at_most(3, 3), bench.versions.at(day(30)), day(30)).next, None, "there is no more");
    give_back(&mut bench, 7);
    assert_eq!(bench.active(), 200);
    visit(&mut bench, &[30, 31, 32]);
    assert_eq!(bench.active(), 300, "there is room for one again");
}

#[test]
fn days_in_another_period_begin_anew() {
    for measure in [Measure::Days, Measure::Times, Measure::Spend] {
        let steps = |measure| if measure == Measure::Spend { [(2_500, 500)] } else { [(5, 500)] };
        let rule = |period| ladder(period, measure, &steps(measure));
        let mut bench = changed(rule(LimitPeriod::Week), rule(LimitPeriod::Month), 9);
        // 2 March 2026 is a Monday.
        visit(&mut bench, &[1, 2, 3, 4, 5]);
        assert_eq!(bench.active(), 500);
        visit(&mut bench, &[9]);
        assert_eq!(bench.active(), 500, "{measure:?}: the same days are not paid again");
        visit(&mut bench, &[10, 11, 12, 13]);
        assert_eq!(bench.active(), 1_000);
        let remarks = |first: Challenge, second: Challenge| -> Vec<String> {
            let of = |rule| Version { terms: Terms { challenges: vec![rule], ..terms() }.into(), ..versions(terms()).at(day(0)).clone() };
            of(second).remarks(Some(&of(first))).into_iter().map(|remark| remark.text).collect()
        };
        let said = remarks(rule(LimitPeriod::Week), rule(LimitPeriod::Month));
        assert_eq!(said, ["what has counted so far counts no more: the running version counts it in another unit, period or length"]);
        assert_eq!(remarks(rule(LimitPeriod::Week), rule(LimitPeriod::Week)), [""; 0]);
        assert_eq!(remarks(streak(Cadence::Day, 2, 0), streak(Cadence::Day, 3, 0)), said);
    }
}

#[test]
fn streaks_of_two_members_on_the_same_days_swallow_nothing() {
    let mut town = town(streak(Cadence::Day, 2, 0));
    for number in 0..2 {
        buys(&mut town, 0, &[number]);
        buys(&mut town, 1, &[number]);
    }
    town.merge(0, 1).unwrap();
    assert_eq!(town.benches[0].active(), 200);
    buys(&mut town, 0, &[2]);
    buys(&mut town, 1, &[3]);
    assert_eq!(town.benches[0].active(), 300, "two days more are a streak more");
    town.run(1, remaining("1 3", 0)).unwrap();
    assert_eq!(town.benches[0].active(), 200, "and only that goes with one of them");
}

/// What is used cannot be told here: that it is the same voucher is what keeps it from being had twice.
#[test]
fn a_lost_voucher_is_the_one_that_is_given_again_whoever_is_named() {
    for merged_first in [true, false] {
        let mut town = town(cups(2));
        if merged_first {
            town.merge(0, 1).unwrap();
        }
        buys(&mut town, 0, &[0, 1]);
        town.run(0, remaining("0 1", 0)).unwrap();
        if !merged_first {
            town.merge(0, 1).unwrap();
        }
        buys(&mut town, 1, &[2]);
        let told = given(&town.benches[0].entries);
        assert_eq!(told, [('+', 0), ('-', 0), ('+', 0)], "{merged_first}");
        town.run(1, remaining("1 2", 0)).unwrap();
        buys(&mut town, 0, &[3]);
        assert_eq!(given(&town.benches[0].entries)[3..], [('-', 0), ('+', 0)]);
        // It was his who had it first, and stays his.
        town.unmerge(0, 1).unwrap();
        buys(&mut town, 1, &[4, 5]);
        let told = |bench: &Bench| -> Vec<Uuid> {
            let id = |entry: &Entry| if let Source::Challenge { given, .. } = &entry.source { Some(*given) } else { None };
            bench.entries.iter().filter_map(id).collect()
        };
        let (his, others) = (told(&town.benches[0]), told(&town.benches[1]));
        assert!(others.len() == 1 && !his.contains(&others[0]), "a voucher of his own");
        town.run(0, remaining("0 3", 0)).unwrap();
        buys(&mut town, 0, &[6]);
        assert_eq!(given(&town.benches[0].entries).last(), Some(&('+', 0)));
    }
}

#[test]
fn what_was_taken_is_given_again_and_what_stayed_is_not() {
    let within = Terms { return_policy: ReturnPolicy::WithinBalance, points_per_unit: Decimal::ZERO, ..terms() };
    let three_hundred = Streak { gives: Gift::Points(300, None), ..streak_of(Cadence::Day, 2, 0) };
    for rule in [ladder(LimitPeriod::Month, Measure::Times, &[(2, 300)]), challenge("streak", Shape::Streak(three_hundred))] {
        let mut bench = Bench::new(Terms { challenges: vec![rule], ..within.clone() });
        visit(&mut bench, &[0, 1]);
        bench.run(redeem(1)).unwrap();
        let id = bench.purchases[1].input.id.0.clone();
        let Outcome::Returned(returned) = bench.run(remaining(&id, 0)).unwrap() else { panic!("a return") };
        assert_eq!(returned.challenges[0].lost, [Gift::Points(299, None)]);
        assert_eq!(bench.balances(), (0, 0, 0, 0));
        bench.now = day(1);
        let Outcome::Awarded { explanation, .. } = bench.run(award("again", 100)).unwrap() else { panic!("an award") };
        assert_eq!(explanation.challenges[0].reached, [Gift::Points(299, None)]);
        assert_eq!(bench.active(), 299, "one of three hundred was spent, and stays");
        bench.run(adjust(1)).unwrap();
        bench.run(remaining("again", 0)).unwrap();
        assert_eq!(bench.active(), 1, "no more is taken than was given again");
        bench.run(award("last", 100)).unwrap();
        assert_eq!(bench.active(), 300);
        bench.run(redeem(299)).unwrap();
        bench.run(remaining("last", 0)).unwrap();
        bench.run(award("at last", 100)).unwrap();
        assert_eq!(bench.active(), 1, "two hundred and ninety-nine stayed in all, and one was taken and given");
        let count = bench.entries.len();
        visit(&mut bench, &[33, 34]);
        assert_eq!(bench.active(), 301, "{count}: the next is a whole one");
    }
}

#[test]
fn what_stays_whole_is_told_as_neither_reached_nor_lost() {
    let only_pending = Terms { return_policy: ReturnPolicy::OnlyPending, points_per_unit: Decimal::ZERO, ..terms() };
    let mut bench = Bench::new(Terms { challenges: vec![streak(Cadence::Day, 2, 0)], ..only_pending });
    visit(&mut bench, &[0, 1]);
    for round in 0..2 {
        let id = bench.purchases.last().unwrap().input.id.0.clone();
        let Outcome::Returned(returned) = bench.run(remaining(&id, 0)).unwrap() else { panic!("a return") };
        assert_eq!(returned.challenges[0].lost, []);
        let Outcome::Awarded { explanation, .. } = bench.run(award(&format!("again {round}"), 100)).unwrap() else { panic!("an award") };
        assert_eq!(explanation.challenges[0].reached, []);
    }
    visit(&mut bench, &[2, 3]);
    assert_eq!(bench.active(), 200, "the second streak is another");
}

#[test]
fn who_came_last_is_known_of_each_again_after_a_merge() {
    let asks = Asks { dormant_days: Some(25), ..Asks::default() };
    let come_back = Promotion { asks, ..points("come-back", 9) };
    let terms = || Terms { points_per_unit: Decimal::ZERO, promotions: vec![come_back.clone()].into(), ..terms() };
    let mut town = Town::new(3, terms());
    let bought = |town: &mut Town, member: usize, number: i64| {
        let home = town.home(member);
        let before = town.benches[home].active();
        buys(town, member, &[number]);
        town.benches[home].active() - before
    };
    for member in 0..3 {
        bought(&mut town, member, 0);
    }
    town.merge(1, 2).unwrap();
    town.merge(0, 1).unwrap();
    assert_eq!(bought(&mut town, 1, 30), 9, "nobody of them was there for a month");
    assert_eq!(bought(&mut town, 2, 31), 0, "he is one with who was there yesterday");
    town.unmerge(0, 1).unwrap();
    assert_eq!(bought(&mut town, 1, 32), 0, "he has had it");
    assert_eq!(bought(&mut town, 0, 33), 9, "he himself was not there");
    town.unmerge(1, 2).unwrap();
    assert_eq!(bought(&mut town, 1, 34), 0);
}

proptest! {
    /// Whatever is told late or goes back, what is left is what the streaks of each length are worth by the days that are left.
    #[test]
    fn what_is_left_is_what_streaks_of_each_length_are_worth(
        lengths in (2..5_i64, 2..5_i64),
        days in prop::collection::hash_set(0..24_i64, 1..20),
        order in any::<u64>(),
        returned in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bench = changed(streak(Cadence::Day, lengths.0, 1), streak(Cadence::Day, lengths.1, 1), 12);
        let mut days: Vec<i64> = days.into_iter().collect();
        days.sort_unstable_by_key(|day| (*day as u64).wrapping_mul(order | 1) % 9_973);
        bench.now = day(24);
        let mut left = Vec::new();
        for (index, number) in days.iter().enumerate() {
            visit(&mut bench, &[*number]);
            left.push(*number);
            if let Some(which) = returned.get(index) {
                give_back(&mut bench, left.swap_remove(which.index(left.len())));
            }
        }
        left.sort_unstable();
        let worth = |length, days: &[i64]| {
            let marks: Vec<Mark> = days.iter().map(|unit| Mark { unit: *unit, times: 1, amount: 0 }).collect();
            100 * i64::try_from(streak_of(Cadence::Day, length, 1).complete(&marks).count()).unwrap()
        };
        let (old, new) = left.split_at(left.partition_point(|day| *day < 12));
        // One of the same length goes on under the new terms.
        let worth = if lengths.0 == lengths.1 { worth(lengths.0, &left) } else { worth(lengths.0, old) + worth(lengths.1, new) };
        prop_assert_eq!(bench.active() - bench.deficit(), worth);
    }
}
