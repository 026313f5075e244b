//! Ladders and streaks: what has been reached follows from what counts, whatever the order in which it was told.

use proptest::prelude::*;

use super::town::Town;

use super::*;

pub(super) fn challenge(id: &str, shape: Shape) -> Challenge {
    Challenge {
        id: id.into(),
        key: Challenge::key(id, &shape),
        title: id.to_uppercase(),
        counts: Counts::Purchases(Box::default()),
        shape,
        start_at: None,
        end_at: None,
        day_start_minute: 0,
        counts_returned: false,
    }
}

pub(super) fn ladder(period: LimitPeriod, measure: Measure, steps: &[(i64, i64)]) -> Challenge {
    let steps = steps.iter().map(|(at, points)| Step { at: *at, gives: Gift::Points(*points, None) }).collect();
    challenge("visits", Shape::Ladder { period, measure, steps })
}

pub(super) fn streak_of(cadence: Cadence, length: i64, freezes: i64) -> Streak {
    let gives = Gift::Points(100, None);
    Streak { cadence, length, freezes, freezes_in_row: freezes, repair_days: Streak::REPAIR_DAYS_MAX, times_max: None, gives }
}

pub(super) fn streak(cadence: Cadence, length: i64, freezes: i64) -> Challenge {
    challenge("streak", Shape::Streak(streak_of(cadence, length, freezes)))
}

pub(super) fn bench(challenge: Challenge) -> Bench {
    Bench::new(Terms { points_per_unit: Decimal::ZERO, challenges: vec![challenge], ..terms() })
}

pub(super) fn day(number: i64) -> Timestamp {
    Timestamp::from_micros(at("2026-03-01T12:00:00Z").as_micros() + number * 86_400_000_000)
}

/// Buys on days since 1 March, each told at once.
pub(super) fn visit(bench: &mut Bench, days: &[i64]) {
    for number in days {
        bench.now = day(*number).max(bench.now);
        bench.occurred_at = Some(day(*number));
        let id = format!("day {number} {}", bench.operations);
        bench.run(award(&id, 500)).unwrap();
        bench.occurred_at = None;
    }
}

/// Gives the whole of the purchase of a day back.
pub(super) fn give_back(bench: &mut Bench, number: i64) {
    let made = |purchase: &&Purchase| purchase.occurred_at == day(number) && purchase.remaining_net > 0;
    let id = bench.purchases.iter().find(made).unwrap().input.id.0.clone();
    bench.run(remaining(&id, 0)).unwrap();
}

#[test]
fn a_ladder_gives_each_step_once_in_a_period() {
    let mut bench = bench(ladder(LimitPeriod::Month, Measure::Days, &[(3, 30), (5, 50)]));
    // Twice on the second day is one day.
    visit(&mut bench, &[0, 1, 1]);
    assert_eq!(bench.active(), 0);
    visit(&mut bench, &[2]);
    assert_eq!(bench.active(), 30);
    visit(&mut bench, &[3, 4, 5, 6]);
    assert_eq!(bench.active(), 80, "both steps, each once");
    visit(&mut bench, &[31, 32, 33]);
    assert_eq!(bench.active(), 110, "April begins anew");
    let told = bench.entries.last().unwrap();
    assert_eq!((told.kind, told.points), (EntryKind::Reward, 30));
    let Source::Challenge { title, step, period, .. } = &told.source else { panic!("{:?}", told.source) };
    assert_eq!((&**title, *step), ("VISITS", 3));
    assert_eq!(*period, 20_544, "1 April 2026");
}

#[test]
fn a_ladder_of_money_follows_what_is_left() {
    let mut bench = bench(ladder(LimitPeriod::Ever, Measure::Spend, &[(1_000, 7)]));
    visit(&mut bench, &[0]);
    assert_eq!(bench.active(), 0);
    visit(&mut bench, &[1]);
    assert_eq!(bench.active(), 7);
    let id = bench.purchases[1].input.id.0.clone();
    bench.run(remaining(&id, 499)).unwrap();
    assert_eq!(bench.active(), 0, "a cent too little is left");
    visit(&mut bench, &[2]);
    assert_eq!(bench.active(), 7);
}

#[test]
fn an_answer_tells_how_far_it_is() {
    let mut bench = bench(ladder(LimitPeriod::Month, Measure::Times, &[(2, 20), (3, 30)]));
    bench.now = day(0);
    let says = |bench: &mut Bench, command: Command| {
        let known = match bench.run(command).unwrap() {
            Outcome::Awarded { explanation, .. } => explanation.challenges,
            Outcome::Returned(returned) => returned.challenges,
            other => panic!("{other:?}"),
        };
        let points = |gifts: &[Gift]| gifts.iter().map(|gift| format!("{gift:?}")).collect::<String>();
        let tell = |known: &Progress| {
            let next = known.next.as_ref().map_or(0, |step| step.at);
            format!("{} of {next} +[{}] -[{}]", known.progress, points(&known.reached), points(&known.lost))
        };
        known.iter().map(tell).collect::<String>()
    };
    assert_eq!(says(&mut bench, award("a", 100)), "1 of 2 +[] -[]");
    assert_eq!(says(&mut bench, award("b", 100)), "2 of 3 +[Points(20, None)] -[]");
    assert_eq!(says(&mut bench, award("c", 100)), "3 of 0 +[Points(30, None)] -[]");
    assert_eq!(says(&mut bench, remaining("a", 50)), "", "a part is left, which counts");
    assert_eq!(says(&mut bench, remaining("a", 0)), "2 of 3 +[] -[Points(30, None)]");
    assert_eq!(says(&mut bench, remaining("b", 0)), "1 of 2 +[] -[Points(20, None)]");
}

#[test]
fn a_streak_needs_every_day_but_those_that_are_frozen() {
    let rows: [(i64, &[i64], i64); 9] = [
        (0, &[0, 1, 2], 100),
        (0, &[0, 1, 1, 3], 0),
        (0, &[0, 1, 3, 4, 5], 100),
        (0, &[0, 1, 2, 3, 4, 5], 200),
        (1, &[0, 1, 3], 100),
        (1, &[0, 2, 4], 0),
        (1, &[0, 2, 4, 5], 100),
        (2, &[0, 2, 4], 100),
        (2, &[0, 3, 4], 100),
    ];
    for (freezes, days, points) in rows {
        let mut bench = bench(streak(Cadence::Day, 3, freezes));
        visit(&mut bench, days);
        assert_eq!(bench.active(), points, "{freezes} freezes, {days:?}");
    }
    let one_in_row = Streak { freezes_in_row: 1, ..streak_of(Cadence::Day, 3, 2) };
    let mut bench = bench(challenge("streak", Shape::Streak(one_in_row)));
    visit(&mut bench, &[0, 3, 4]);
    assert_eq!(bench.active(), 0, "two in a row are too many");
    visit(&mut bench, &[6]);
    assert_eq!(bench.active(), 100);
}

#[test]
fn a_late_visit_repairs_a_streak_within_its_window() {
    for (late, points) in [(7, 100), (8, 0)] {
        let mut bench = bench(challenge("streak", Shape::Streak(Streak { repair_days: 7, ..streak_of(Cadence::Day, 3, 0) })));
        visit(&mut bench, &[0, 2]);
        bench.now = day(1 + late);
        visit(&mut bench, &[1]);
        assert_eq!(bench.active(), points, "told {late} days later");
    }
}

#[test]
fn what_goes_back_takes_back_what_it_had_brought() {
    let mut bench = bench(streak(Cadence::Day, 3, 0));
    visit(&mut bench, &[0, 1, 2]);
    bench.run(redeem(60)).unwrap();
    give_back(&mut bench, 1);
    assert_eq!((bench.active(), bench.deficit()), (0, 60), "what was spent of it is owed");
    visit(&mut bench, &[1]);
    assert_eq!((bench.active(), bench.deficit()), (40, 0), "a late one closes the gap again");
    let kinds: Vec<_> =
        bench.entries.iter().map(|entry| entry.kind).filter(|kind| matches!(kind, EntryKind::Reward | EntryKind::RewardRevoked)).collect();
    assert_eq!(kinds, [EntryKind::Reward, EntryKind::RewardRevoked, EntryKind::Reward]);
}

#[test]
fn what_the_terms_leave_with_the_member_is_not_given_again() {
    let only_pending = Terms { return_policy: ReturnPolicy::OnlyPending, ..terms() };
    let mut bench = Bench::new(Terms { points_per_unit: Decimal::ZERO, challenges: vec![streak(Cadence::Day, 2, 0)], ..only_pending });
    visit(&mut bench, &[0, 1]);
    for _ in 0..3 {
        give_back(&mut bench, 1);
        assert_eq!(bench.active(), 100);
        visit(&mut bench, &[1]);
        assert_eq!(bench.active(), 100, "no points for buying and giving back");
    }
}

#[test]
fn purchases_in_a_row_are_broken_by_one_that_does_not_count() {
    let counts = Counts::Purchases(Box::new(Qualifying { spend_min: 400, ..Qualifying::default() }));
    let mut bench = bench(Challenge { counts, ..streak(Cadence::Purchase, 2, 0) });
    bench.now = day(0);
    for (id, net) in [("a", 500), ("b", 399), ("c", 500), ("d", 400), ("e", 400), ("f", 400)] {
        bench.run(award(id, net)).unwrap();
    }
    assert_eq!(bench.active(), 200, "c and d, e and f");
    bench.run(remaining("d", 399)).unwrap();
    assert_eq!(bench.active(), 100, "what is left of d is too little, and e and f are still two");
}

#[test]
fn activities_count_though_they_earn_nothing() {
    let check_in = ActivityTerms { name: "check_in".to_owned(), points: 0, limit: None, proof: false, approval: None, wallet: None };
    let three = Challenge { counts: Counts::Activity("check_in".to_owned()), ..streak(Cadence::Day, 3, 0) };
    let mut bench = Bench::new(Terms { activities: vec![check_in, review(1)], challenges: vec![three], ..terms() });
    for (number, name) in [(0, "check_in"), (1, "check_in"), (2, "review")] {
        bench.now = day(number);
        bench.run(activity(name, &format!("{number}"))).unwrap();
    }
    assert_eq!(bench.active(), 1);
    let Outcome::Earned { challenges, .. } = bench.run(activity("check_in", "last")).unwrap() else { panic!("an activity") };
    assert_eq!(challenges[0].reached, [Gift::Points(100, None)]);
    assert_eq!(bench.active(), 101);
}

#[test]
fn a_streak_is_given_no_more_often_than_it_may() {
    let twice = Streak { times_max: Some(2), ..streak_of(Cadence::Day, 2, 0) };
    let mut bench = bench(challenge("streak", Shape::Streak(twice)));
    visit(&mut bench, &(0..300).collect::<Vec<_>>());
    assert_eq!(bench.active(), 200);
    assert_eq!(bench.account.tally("streak/streak-of-days/2").unwrap().kept + 2, 2 + 2, "also when long forgotten");
}

#[test]
fn a_long_streak_is_counted_without_keeping_it_all() {
    let mut bench = bench(streak(Cadence::Day, 7, 1));
    visit(&mut bench, &(0..400).collect::<Vec<_>>());
    let points: i64 = bench.entries.iter().filter(|entry| entry.kind == EntryKind::Reward).map(|entry| entry.points).sum();
    assert_eq!(points, 400 / 7 * 100);
    let tally = bench.account.tally("streak/streak-of-days/7").unwrap();
    assert!(tally.marks.len() <= 62 + 8 && tally.given.len() <= 11, "{} days, {} gifts", tally.marks.len(), tally.given.len());
    // What is long past changes nothing any more.
    let before = bench.account.tallies.clone();
    give_back(&mut bench, 300);
    assert_eq!(bench.account.tallies, before);
}

#[test]
fn days_are_those_of_the_program_and_begin_when_it_says() {
    // The time of day of each visit on the clock of the place, on days around the change of the clocks.
    let rows: [(&str, i32, [&str; 3], bool); 8] = [
        ("Europe/Berlin", 0, ["2026-03-28T23:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T00:10:00+02:00"], true),
        ("Europe/Berlin", 0, ["2026-10-24T23:59:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T23:59:00+01:00"], true),
        ("Europe/Berlin", 0, ["2026-03-28T23:30:00+01:00", "2026-03-30T00:10:00+02:00", "2026-03-31T00:10:00+02:00"], false),
        ("Europe/Berlin", 240, ["2026-03-28T22:00:00+01:00", "2026-03-30T03:59:00+02:00", "2026-03-30T04:00:00+02:00"], true),
        ("Europe/Berlin", 240, ["2026-03-28T22:00:00+01:00", "2026-03-29T03:59:00+02:00", "2026-03-30T04:00:00+02:00"], false),
        ("Asia/Shanghai", 0, ["2026-06-01T00:00:00+08:00", "2026-06-02T23:59:59+08:00", "2026-06-03T00:00:00+08:00"], true),
        ("Australia/Lord_Howe", 0, ["2026-04-04T23:59:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-06T00:01:00+10:30"], true),
        ("America/New_York", 0, ["2026-12-30T23:59:00-05:00", "2026-12-31T12:00:00-05:00", "2027-01-01T00:00:01-05:00"], true),
    ];
    for (zone, day_start_minute, visits, complete) in rows {
        let mut bench = bench(Challenge { day_start_minute, ..streak(Cadence::Day, 3, 0) });
        let version = Version { zone: Zone::parse(zone).unwrap(), ..bench.versions.at(bench.now).clone() };
        bench.versions = Versions::new(vec![version]).unwrap();
        for visit in visits {
            bench.now = at(visit);
            bench.run(award(visit, 100)).unwrap();
        }
        assert_eq!(bench.active(), if complete { 100 } else { 0 }, "{zone} {visits:?}");
    }
}

#[test]
fn one_that_counts_otherwise_from_now_on_begins_anew() {
    let mut bench = bench(ladder(LimitPeriod::Day, Measure::Times, &[(2, 20)]));
    visit(&mut bench, &[0]);
    let by_month =
        Terms { challenges: vec![ladder(LimitPeriod::Month, Measure::Times, &[(2, 20)])], ..(*bench.versions.at(day(0)).terms).clone() };
    let first = bench.versions.at(day(0)).clone();
    let second = Version { number: 2, start_at: day(1), terms: by_month.into(), ..first.clone() };
    bench.versions = Versions::new(vec![first, second]).unwrap();
    visit(&mut bench, &[1]);
    assert_eq!(bench.active(), 0, "a visit under the old terms is in another unit");
    visit(&mut bench, &[2]);
    assert_eq!(bench.active(), 20);
}

#[test]
fn a_reward_leaves_a_line_in_the_books_and_no_point() {
    let cup = Step { at: 2, gives: Gift::Reward("cup".into()) };
    let mut bench = bench(challenge("visits", Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps: vec![cup] }));
    visit(&mut bench, &[0, 1]);
    give_back(&mut bench, 0);
    let told: Vec<_> = bench
        .entries
        .iter()
        .filter_map(|entry| match &entry.source {
            Source::Challenge { given, reward, .. } => Some((entry.kind, entry.points, *given, reward.as_deref())),
            _ => None,
        })
        .collect();
    let given = told[0].2;
    assert_eq!(told, [(EntryKind::Reward, 0, given, Some("cup")), (EntryKind::RewardRevoked, 0, given, Some("cup"))]);
}

#[test]
fn what_counts_goes_with_a_member_and_comes_back() {
    let mut town = Town::new(
        2,
        Terms { points_per_unit: Decimal::ZERO, challenges: vec![ladder(LimitPeriod::Month, Measure::Times, &[(4, 40)])], ..terms() },
    );
    let buys = |town: &mut Town, member: usize, days: &[i64]| {
        for number in days {
            town.benches.iter_mut().for_each(|bench| bench.now = day(*number));
            town.run(member, award(&format!("{member} {number}"), 100)).unwrap();
        }
    };
    buys(&mut town, 0, &[0, 1]);
    buys(&mut town, 1, &[2, 3]);
    town.merge(0, 1).unwrap();
    assert_eq!(town.benches[0].active(), 0, "with the next that counts");
    buys(&mut town, 1, &[4]);
    assert_eq!(town.benches[0].active(), 40);
    town.unmerge(0, 1).unwrap();
    let times = |town: &Town, member: usize| -> i64 {
        town.benches[member].account.tally("visits/month-times").map_or(0, |tally| tally.marks.iter().map(|mark| mark.times).sum())
    };
    assert_eq!((times(&town, 0), times(&town, 1)), (2, 3), "each his own");
    buys(&mut town, 1, &[5]);
    assert_eq!(town.benches[1].active(), 40, "given in his name when it was, and not again");
    buys(&mut town, 0, &[6, 7]);
    assert_eq!(town.benches[0].active(), 40);
}

fn marks(days: &[i64]) -> Vec<Mark> {
    let mut days = days.to_vec();
    days.sort_unstable();
    days.dedup();
    days.into_iter().map(|unit| Mark { unit, times: 1, amount: 10 }).collect()
}

/// The most streaks that do not overlap, by trying all.
fn most(streak: &Streak, marks: &[Mark]) -> usize {
    let length = usize::try_from(streak.length).unwrap();
    let holds = |part: &[Mark]| {
        let missed: Vec<i64> = part.windows(2).map(|pair| pair[1].unit - pair[0].unit - 1).collect();
        missed.iter().sum::<i64>() <= streak.freezes && missed.iter().all(|missed| *missed <= streak.freezes_in_row)
    };
    let mut best = vec![0; marks.len() + 1];
    for end in 1..=marks.len() {
        best[end] = best[end - 1];
        if end >= length && holds(&marks[end - length..end]) {
            best[end] = best[end].max(best[end - length] + 1);
        }
    }
    best[marks.len()]
}

fn any_streak() -> impl Strategy<Value = Streak> {
    (2..6_i64, 0..4_i64, 1..4_i64)
        .prop_map(|(length, freezes, in_row)| Streak { freezes_in_row: in_row.min(freezes), ..streak_of(Cadence::Day, length, freezes) })
}

proptest! {
    #[test]
    fn no_streak_is_missed(streak in any_streak(), days in prop::collection::vec(0..60_i64, 0..50)) {
        let marks = marks(&days);
        prop_assert_eq!(streak.complete(&marks).count(), most(&streak, &marks));
    }

    #[test]
    fn one_more_never_gives_less_and_at_most_one_more(streak in any_streak(), days in prop::collection::vec(0..40_i64, 0..30), more in 0..40_i64) {
        let before = streak.complete(&marks(&days)).count();
        let after = streak.complete(&marks(&[&days[..], &[more]].concat())).count();
        prop_assert!(before <= after && after <= before + 1, "{before} {after}");
    }

    /// Visits told in any order, some of them given back, end as if they had been told in the order of their days.
    #[test]
    fn the_order_decides_nothing(
        streak in any_streak(),
        is_ladder in any::<bool>(),
        days in prop::collection::hash_set(0..30_i64, 1..14),
        order in any::<u64>(),
        returned in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let rule = if is_ladder { ladder(LimitPeriod::Week, Measure::Times, &[(2, 20), (3, 30), (5, 50)]) } else { challenge("streak", Shape::Streak(streak)) };
        let mut days: Vec<i64> = days.into_iter().collect();
        days.sort_unstable_by_key(|day| (*day as u64).wrapping_mul(order | 1) % 9_973);
        let mut told = bench(rule.clone());
        told.now = day(31);
        let mut left = days.clone();
        for (index, number) in days.iter().enumerate() {
            visit(&mut told, &[*number]);
            if let Some(which) = returned.get(index) {
                let number = *which.get(&days[..=index]);
                if left.contains(&number) {
                    give_back(&mut told, number);
                    left.retain(|other| *other != number);
                }
            }
        }
        left.sort_unstable();
        let mut in_order = bench(rule);
        visit(&mut in_order, &left);
        prop_assert_eq!(told.active() - told.deficit(), in_order.active());
        prop_assert_eq!(told.deficit(), 0);
    }
}

/// Members who buy on days since 1 March, each told at once.
pub(super) fn buys(town: &mut Town, member: usize, days: &[i64]) {
    for number in days {
        town.benches.iter_mut().for_each(|bench| bench.now = day(*number).max(bench.now));
        town.run(member, award(&format!("{member} {number}"), 100)).unwrap();
    }
}

pub(super) fn town(challenge: Challenge) -> Town {
    Town::new(2, Terms { points_per_unit: Decimal::ZERO, challenges: vec![challenge], ..terms() })
}

#[test]
fn who_was_silent_for_long_takes_nothing_along() {
    let mut town = town(ladder(LimitPeriod::Month, Measure::Times, &[(8, 80)]));
    buys(&mut town, 1, &[0]);
    buys(&mut town, 0, &[125, 126, 127, 128, 129, 130, 131]);
    town.merge(0, 1).unwrap();
    buys(&mut town, 0, &[132]);
    assert_eq!(town.benches[0].active(), 80, "seven visits and one more");
    buys(&mut town, 0, &[135, 250, 251, 252]);
    town.unmerge(0, 1).unwrap();
    let times: i64 = town.benches[0].account.tally("visits/month-times").unwrap().marks.iter().map(|mark| mark.times).sum();
    assert_eq!(times, 3);
}

#[test]
fn purchases_in_a_row_go_on_in_spite_of_a_merge() {
    let mut town = town(streak(Cadence::Purchase, 4, 0));
    buys(&mut town, 1, &[0, 1, 2]);
    buys(&mut town, 0, &[3, 4]);
    town.merge(0, 1).unwrap();
    buys(&mut town, 0, &[5, 6]);
    assert_eq!(town.benches[0].active(), 100, "his third and fourth");
    town.run(1, remaining("1 2", 0)).unwrap();
    assert_eq!(town.benches[0].active(), 100, "what the other bought is not in his row");
    buys(&mut town, 1, &[7]);
    town.unmerge(0, 1).unwrap();
    buys(&mut town, 0, &[8, 9, 10, 11]);
    assert_eq!(town.benches[0].active(), 200);
}

#[test]
fn what_is_given_again_is_the_same_gift() {
    let gives = Gift::Reward("cup".into());
    for shape in [
        Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps: vec![Step { at: 2, gives: gives.clone() }] },
        Shape::Streak(Streak { gives, ..streak_of(Cadence::Day, 2, 0) }),
    ] {
        let mut bench = bench(challenge("cups", shape));
        visit(&mut bench, &[0, 1]);
        for _ in 0..3 {
            give_back(&mut bench, 1);
            visit(&mut bench, &[1]);
        }
        let given = |entry: &Entry| if let Source::Challenge { given, .. } = &entry.source { Some(*given) } else { None };
        let mut ids: Vec<Uuid> = bench.entries.iter().filter_map(given).collect();
        assert_eq!(ids.len(), 7);
        ids.dedup();
        assert_eq!(ids.len(), 1, "a voucher that was used meanwhile is not issued twice");
        visit(&mut bench, &[2, 3, 33, 34]);
        let mut ids: Vec<Uuid> = bench.entries.iter().filter_map(given).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), if bench.account.tally("cups/month-times").is_some() { 2 } else { 3 }, "another one is another");
    }
}

#[test]
fn what_was_taken_in_part_is_not_taken_twice() {
    let within = Terms { return_policy: ReturnPolicy::WithinBalance, points_per_unit: Decimal::ZERO, ..terms() };
    let mut bench = Bench::new(Terms { challenges: vec![streak(Cadence::Day, 2, 0)], ..within });
    visit(&mut bench, &[0, 1]);
    bench.run(redeem(40)).unwrap();
    give_back(&mut bench, 1);
    assert_eq!(bench.balances(), (0, 0, 0, 0), "sixty are taken, forty were spent");
    visit(&mut bench, &[1]);
    bench.run(adjust(100)).unwrap();
    give_back(&mut bench, 1);
    assert_eq!(bench.active(), 100, "it was taken already, as far as it could be");
}

#[test]
fn gifts_wait_as_points_do() {
    let fortnight = Activation::After(Period { count: 14, unit: CalendarUnit::Day });
    let terms = Terms { activation: fortnight, return_policy: ReturnPolicy::OnlyPending, points_per_unit: Decimal::ZERO, ..terms() };
    let mut bench = Bench::new(Terms { challenges: vec![ladder(LimitPeriod::Day, Measure::Times, &[(1, 100)])], ..terms });
    visit(&mut bench, &[0]);
    assert_eq!(bench.balances(), (0, 100, 0, 0));
    give_back(&mut bench, 0);
    assert_eq!(bench.balances(), (0, 0, 0, 0));
    visit(&mut bench, &[1, 16]);
    assert_eq!(bench.balances(), (100, 100, 0, 0));
}

#[test]
fn other_terms_give_nothing_for_what_is_past() {
    let changed = |first: Challenge, second: Challenge| {
        let mut bench = bench(first);
        let one = bench.versions.at(day(0)).clone();
        let terms = Terms { challenges: vec![second], ..(*one.terms).clone() };
        let two = Version { number: 2, start_at: day(20), terms: terms.into(), ..one.clone() };
        bench.versions = Versions::new(vec![one, two]).unwrap();
        bench
    };
    let mut bench = changed(ladder(LimitPeriod::Day, Measure::Times, &[(5, 50)]), ladder(LimitPeriod::Day, Measure::Times, &[(1, 10)]));
    visit(&mut bench, &(0..21).collect::<Vec<_>>());
    assert_eq!(bench.active(), 10, "the day of the visit alone");
    let once = |length| challenge("streak", Shape::Streak(Streak { times_max: Some(1), ..streak_of(Cadence::Day, length, 0) }));
    let mut bench = changed(once(5), once(3));
    visit(&mut bench, &(0..30).collect::<Vec<_>>());
    assert_eq!(bench.active(), 100, "once is once, however long it must be");
    // What was given under new terms is taken back when what it rested on goes back, whichever terms that was bought under.
    let mut bench = changed(ladder(LimitPeriod::Month, Measure::Times, &[(5, 50)]), ladder(LimitPeriod::Month, Measure::Times, &[(2, 20)]));
    visit(&mut bench, &[0, 20]);
    assert_eq!(bench.active(), 20);
    give_back(&mut bench, 0);
    assert_eq!(bench.active(), 0);
}

#[test]
fn new_terms_pay_no_streak_of_the_past() {
    let mut bench = bench(streak(Cadence::Day, 5, 0));
    let one = bench.versions.at(day(0)).clone();
    let terms = Terms { challenges: vec![streak(Cadence::Day, 2, 0)], ..(*one.terms).clone() };
    let two = Version { number: 2, start_at: day(20), terms: terms.into(), ..one.clone() };
    bench.versions = Versions::new(vec![one, two]).unwrap();
    visit(&mut bench, &(0..20).collect::<Vec<_>>());
    assert_eq!(bench.active(), 400);
    visit(&mut bench, &[20, 21, 21, 21]);
    assert_eq!(bench.active(), 500, "the eleventh pair, and none of those before");
}

#[test]
fn a_gift_that_waits_in_vain_is_not_taken_again() {
    let delivered = Activation::On { event: "delivered".into(), cancel_after: None };
    let rule = ladder(LimitPeriod::Month, Measure::Times, &[(2, 100)]);
    let mut bench = Bench::new(Terms { activation: delivered, points_per_unit: Decimal::ZERO, challenges: vec![rule], ..terms() });
    visit(&mut bench, &[0, 1]);
    assert_eq!(bench.balances(), (0, 100, 0, 0));
    let cancel = Resolve { event: "delivered".into(), reference: None, came: false, reason: "lost".to_owned() };
    bench.run(Command::Resolve(cancel)).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 0));
    give_back(&mut bench, 0);
    assert_eq!(bench.balances(), (0, 0, 0, 0), "it was cancelled already");
    visit(&mut bench, &[2]);
    assert_eq!(bench.balances(), (0, 100, 0, 0), "and can be reached again");
}
