//! Activities that somebody must approve: what they count for, and the room that they give back.

use proptest::prelude::*;

use super::challenges::{challenge, day, ladder, streak};
use super::town::Town;

use super::*;

const REVIEWS: &str = "visits/month-times";

/// Reviews for so many points that wait for approval, and two in a month for twenty.
fn waiting(points: i64, limit: Option<Limit>) -> Terms {
    let approval = Some(Approval { cancel_after: Some(Period { count: 14, unit: CalendarUnit::Day }) });
    let counts = Counts::Activity("review".to_owned());
    let two = Challenge { counts, ..ladder(LimitPeriod::Month, Measure::Times, &[(2, 20)]) };
    Terms { activities: vec![ActivityTerms { limit, approval, ..review(points) }], challenges: vec![two], ..terms() }
}

fn decide(id: &str, came: bool) -> Command {
    Command::Resolve(Resolve { event: "review".into(), reference: Some(id.into()), came, reason: "copied".to_owned() })
}

fn per_day(times: i64) -> Option<Limit> {
    Some(Limit { times_max: Some(times), points_max: None, period: LimitPeriod::Day })
}

fn progress(bench: &Bench) -> Vec<(i64, i64)> {
    let tally = bench.account.tally(REVIEWS);
    tally.into_iter().flat_map(|tally| &tally.marks).map(|mark| (mark.unit, mark.times)).collect()
}

#[test]
fn what_is_approved_counts_then_and_not_before() {
    let mut bench = Bench::new(waiting(5, None));
    for (number, id) in [(0, "a"), (1, "b"), (2, "c")] {
        bench.now = day(number);
        let Outcome::Earned { challenges, .. } = bench.run(activity("review", id)).unwrap() else { panic!("an activity") };
        assert_eq!((challenges.len(), bench.account.tallies.len(), bench.account.unapproved.len() as i64), (0, 0, number + 1));
    }
    let Outcome::Resolved { challenges, .. } = bench.run(decide("b", true)).unwrap() else { panic!("a decision") };
    assert_eq!((challenges[0].progress, challenges[0].reached.len(), bench.balances()), (1, 0, (5, 10, 0, 0)));
    bench.run(decide("c", false)).unwrap();
    assert_eq!((progress(&bench).len(), bench.balances()), (1, (5, 5, 0, 0)));
    let Outcome::Resolved { challenges, .. } = bench.run(decide("a", true)).unwrap() else { panic!("a decision") };
    assert_eq!((&challenges[0].reached[..], bench.balances()), (&[Gift::Points(20, None)][..], (30, 0, 0, 0)));
    assert_eq!((bench.account.unapproved.len(), bench.run(decide("a", true))), (0, Err(Refusal::NothingPending)));
}

/// A return that finds only points which somebody may yet reject owes all of it, whichever is told first.
#[test]
fn what_may_be_rejected_pays_no_debt() {
    let books = |rejected_first: bool| {
        let mut bench = Bench::new(waiting(50, None));
        bench.run(award("p", 10_000)).unwrap();
        bench.run(redeem(100)).unwrap();
        bench.run(activity("review", "a")).unwrap();
        let back = || remaining("p", 0);
        let steps = if rejected_first { [decide("a", false), back()] } else { [back(), decide("a", false)] };
        for step in steps {
            bench.run(step).unwrap();
        }
        bench.balances()
    };
    assert_eq!((books(true), books(false)), ((0, 0, 0, 100), (0, 0, 0, 100)));
}

/// It counts for the month in which it happened, as long as that can change; a streak asks when it was told.
#[test]
fn a_late_approval_counts_for_when_it_happened() {
    let patient = |terms: Terms| {
        let activities =
            terms.activities.iter().map(|one| ActivityTerms { approval: Some(Approval { cancel_after: None }), ..one.clone() });
        Terms { activities: activities.collect(), ..terms }
    };
    let march = 20_513;
    for (waits, counts) in [(32, true), (90, true), (93, true), (95, false)] {
        let mut bench = Bench::new(patient(waiting(5, None)));
        for (number, id) in [(0, "a"), (1, "b")] {
            bench.now = day(number);
            bench.run(activity("review", id)).unwrap();
        }
        bench.now = day(waits);
        for id in ["b", "a"] {
            bench.run(decide(id, true)).unwrap();
        }
        let marks = if counts { vec![(march, 2)] } else { Vec::new() };
        assert_eq!((progress(&bench), bench.active()), (marks, if counts { 30 } else { 10 }), "after {waits} days");
    }
    let three = streak(Cadence::Day, 3, 0);
    let Shape::Streak(form) = three.shape.clone() else { panic!("a streak") };
    let hasty = Shape::Streak(Streak { repair_days: 1, ..form });
    let three = Challenge { counts: Counts::Activity("review".to_owned()), ..challenge("three", hasty) };
    let mut bench = Bench::new(patient(Terms { challenges: vec![three], ..waiting(0, None) }));
    for (number, told) in [(0, 0), (1, 2), (2, 4)] {
        (bench.now, bench.occurred_at) = (day(told), Some(day(number)));
        bench.run(activity("review", &number.to_string())).unwrap();
    }
    (bench.now, bench.occurred_at) = (day(20), None);
    for id in ["2", "1", "0"] {
        bench.run(decide(id, true)).unwrap();
    }
    assert_eq!(bench.account.tallies[0].marks.len(), 2, "the last was told two days late");
}

#[test]
fn what_is_rejected_or_forgotten_gives_its_room_back() {
    let limits = vec![
        AwardLimit {
            id: "all".into(),
            scope: LimitScope::Program,
            limit: Limit { points_max: Some(12), ..per_day(9).unwrap() },
            rejects: true,
        },
        AwardLimit { id: "own".into(), scope: LimitScope::Member, limit: per_day(2).unwrap(), rejects: true },
    ];
    let mut bench = Bench::new(Terms { limits, ..waiting(5, per_day(2)) });
    let on = |bench: &mut Bench, number: i64, id: &str| {
        bench.occurred_at = Some(day(number));
        let done = bench.run(activity("review", id));
        bench.occurred_at = None;
        done
    };
    bench.now = day(0);
    on(&mut bench, 0, "a").unwrap();
    on(&mut bench, 0, "b").unwrap();
    assert_eq!(on(&mut bench, 0, "c"), Err(Refusal::ActivityLimit { activity: "review".to_owned() }));
    // Rejected on another day, it gives back what it took of its own.
    bench.now = day(3);
    on(&mut bench, 3, "later").unwrap();
    bench.run(decide("a", false)).unwrap();
    let counted = |bench: &Bench| {
        let counts = bench.account.counts.iter().chain(&bench.shared).filter(|count| count.times > 0);
        let mut counted: Vec<_> =
            counts.map(|count| (count.of.to_string(), count.since == at("2026-03-01T00:00:00Z"), count.times, count.points)).collect();
        counted.sort();
        counted
    };
    let each = |first: bool, times, points| ["activity:review", "limit:all", "limit:own"].map(|of| (of.to_owned(), first, times, points));
    let both = |first: (i64, i64), third: (i64, i64)| {
        let mut all = [each(true, first.0, first.1), each(false, third.0, third.1)].concat();
        all.sort();
        all
    };
    assert_eq!(counted(&bench), both((1, 5), (1, 5)));
    on(&mut bench, 0, "c").unwrap();
    assert_eq!(counted(&bench), both((2, 10), (1, 5)));
    // And so does what nobody has looked at.
    bench.now = day(14);
    bench.settle();
    assert_eq!((counted(&bench), bench.balances()), (each(false, 1, 5).to_vec(), (0, 5, 0, 0)));
    bench.run(decide("later", true)).unwrap();
    assert_eq!((counted(&bench), bench.balances()), (each(false, 1, 5).to_vec(), (5, 0, 0, 0)), "what is approved is had");
}

/// It has no lot, and is decided on all the same.
#[test]
fn what_earns_nothing_can_be_approved() {
    let mut bench = Bench::new(waiting(0, per_day(1)));
    for (number, id) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
        bench.now = day(number);
        bench.run(activity("review", id)).unwrap();
    }
    assert_eq!((bench.account.unapproved.len(), bench.account.next_due()), (4, Some(day(14))));
    bench.run(decide("c", false)).unwrap();
    assert_eq!(bench.account.counts.len(), 3);
    for (id, points) in [("b", 0), ("d", 20)] {
        assert!(matches!(bench.run(decide(id, true)), Ok(Outcome::Resolved { points: 0, came: true, .. })));
        assert_eq!(bench.active(), points);
    }
    bench.now = day(14);
    assert_eq!(bench.settle().entries.len(), 1, "nobody has looked at the first");
    assert_eq!((bench.account.counts.len(), bench.account.unapproved.len(), bench.account.next_due() > Some(day(14))), (2, 0, true));
}

/// It follows its member, and what it took goes back where it took it, whoever is named with the decision.
#[test]
fn what_waits_goes_with_its_account() {
    for (named, came) in [(0, false), (1, false), (1, true)] {
        let mut town = Town::new(2, waiting(0, per_day(1)));
        town.run(0, activity("review", "own")).unwrap();
        town.run(1, activity("review", "a")).unwrap();
        town.merge(0, 1).unwrap();
        town.wait(Duration::from_secs(86_400));
        town.run(1, activity("review", "b")).unwrap();
        assert_eq!(town.benches[0].account.unapproved.len(), 3);
        town.run(named, decide("a", came)).unwrap();
        town.unmerge(0, 1).unwrap();
        let counts = |bench: &Bench| bench.account.counts.len();
        assert_eq!([counts(&town.benches[0]), counts(&town.benches[1])], [1, if came { 2 } else { 1 }], "{named} {came}");
        assert_eq!((town.benches[0].account.unapproved.len(), town.benches[1].account.unapproved.len()), (1, 1));
        town.run(1, decide("b", true)).unwrap();
        assert_eq!(progress(&town.benches[1]).iter().map(|mark| mark.1).sum::<i64>(), if came { 2 } else { 1 });
        assert_eq!(town.run(1, decide("own", true)), Err(Refusal::NothingPending));
    }
}

/// What is left of a story: points, what is counted, what counts, and what was given for it.
type Left = (i64, Vec<(String, Timestamp, i64, i64)>, Vec<(String, Vec<Mark>, Vec<(i64, i64)>)>);

fn left(bench: &Bench) -> Left {
    let counts = bench.account.counts.iter().chain(&bench.shared).filter(|count| count.times > 0);
    let mut counts: Vec<_> = counts.map(|count| (count.of.to_string(), count.since, count.times, count.points)).collect();
    counts.sort();
    let tally = |tally: &Tally| {
        let mut given: Vec<_> = tally.given.iter().map(|given| (given.period, given.step)).collect();
        given.sort_unstable();
        (tally.of.to_string(), tally.marks.clone(), given)
    };
    let mut tallies: Vec<_> = bench.account.tallies.iter().filter(|tally| !tally.marks.is_empty()).map(tally).collect();
    tallies.sort_by(|one, other| one.0.cmp(&other.0));
    let (active, pending, ..) = bench.balances();
    (active + pending, counts, tallies)
}

proptest! {
    /// Whoever decides when and in whatever order, it comes to what it would be if only what was approved had happened.
    #[test]
    fn decisions_come_to_what_was_approved(
        points in 0_i64..4,
        told in proptest::collection::vec((0_i64..40, any::<bool>(), 0_u64..20), 1..14),
    ) {
        let limits = [LimitScope::Member, LimitScope::Program].map(|scope| {
            AwardLimit { id: format!("{scope:?}").to_lowercase().into(), scope, limit: per_day(100).unwrap(), rejects: true }
        });
        let counts = || Counts::Activity("review".to_owned());
        let challenges = vec![
            Challenge { counts: counts(), ..ladder(LimitPeriod::Month, Measure::Times, &[(2, 20), (4, 40)]) },
            Challenge { counts: counts(), ..streak(Cadence::Day, 3, 1) },
        ];
        let approval = Some(Approval { cancel_after: None });
        let activities = vec![ActivityTerms { limit: per_day(100), approval, ..review(points) }];
        let terms = Terms { activities, challenges, limits: limits.to_vec(), ..terms() };
        let (mut bench, mut only) = (Bench::new(terms.clone()), Bench::new(terms));
        let mut told: Vec<_> = told.into_iter().enumerate().collect();
        told.sort_by_key(|(_, (number, ..))| *number);
        for (index, (number, approved, _)) in &told {
            bench.now = day(*number);
            bench.run(activity("review", &index.to_string())).unwrap();
            if *approved {
                only.now = day(*number);
                only.run(activity("review", &index.to_string())).unwrap();
                only.run(decide(&index.to_string(), true)).unwrap();
            }
        }
        told.sort_by_key(|(_, (_, _, order))| *order);
        bench.now = day(41);
        for (index, (_, approved, _)) in &told {
            bench.run(decide(&index.to_string(), *approved)).unwrap();
        }
        prop_assert_eq!(left(&bench), left(&only));
    }
}
