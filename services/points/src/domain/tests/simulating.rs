//! What would have been: the past of a member, played again.

use proptest::prelude::*;

use super::challenges::{challenge, day, ladder, streak};

use super::*;

/// Ladders and streaks of purchases and activities, some of which wait for approval.
fn all_kinds() -> Terms {
    let of = |name: &str, points, approval| ActivityTerms { name: name.to_owned(), approval, ..review(points) };
    let on = |id: &str, activity: &str, form: Challenge| Challenge {
        counts: Counts::Activity(activity.to_owned()),
        ..challenge(id, form.shape)
    };
    let named = |id: &str, form: Challenge| challenge(id, form.shape);
    Terms {
        activities: vec![of("review", 3, Some(Approval { cancel_after: None })), of("check_in", 0, None)],
        challenges: vec![
            named("times", ladder(LimitPeriod::Month, Measure::Times, &[(2, 20), (4, 40)])),
            named("spend", ladder(LimitPeriod::Ever, Measure::Spend, &[(3_000, 11)])),
            named("days", streak(Cadence::Day, 3, 1)),
            named("row", streak(Cadence::Purchase, 3, 0)),
            on("reviews", "review", ladder(LimitPeriod::Month, Measure::Days, &[(2, 7)])),
            on("check-ins", "check_in", streak(Cadence::Week, 2, 0)),
        ],
        promotions: vec![Promotion { spend_min: 500, ..promotions::times("double", "2") }].into(),
        ..terms()
    }
}

/// What a member would have under terms: points, and those of them that challenges give.
fn simulated(bench: &Bench, versions: &Versions) -> (i64, i64) {
    let bought = |id: &PurchaseId| bench.purchases.iter().find(|purchase| purchase.input.id == *id).cloned();
    let mut simulation = Simulation::new(bench.id(), versions, bench.facts.clone());
    let mut points = 0;
    for event in past(bench.entries.clone(), bought) {
        points += match &event {
            Happened::Bought(purchase) => simulation.award(purchase).unwrap().map_or(0, |(_, credit)| credit.points),
            Happened::Did(did) => simulation.act(did).unwrap().map_or(0, |credit| credit.points),
            Happened::Given(..) => 0,
        };
    }
    let given: i64 = simulation.gifts().left().map(|gained| gained.credit.points).sum();
    (points + given, given)
}

proptest! {
    /// Under the same terms it comes to what it was, whatever has gone back, was approved or rejected, or still waits.
    #[test]
    fn the_same_terms_come_to_the_same(story in proptest::collection::vec((0_i64..3, 0_usize..7, 0_i64..12), 0..24)) {
        let mut bench = Bench::new(all_kinds());
        let mut today = 0;
        let mut told: Vec<String> = Vec::new();
        for (number, (wait, what, size)) in story.iter().enumerate() {
            today += wait;
            bench.now = day(today) + Duration::from_secs(number as u64);
            let id = number.to_string();
            match what {
                0..=2 => drop(bench.run(award(&id, size * 100)).unwrap()),
                3 => if let Some(purchase) = bench.purchases.get(*size as usize).cloned() {
                    drop(bench.run(remaining(&purchase.input.id.0, purchase.remaining_net / 2)));
                },
                4 => {
                    bench.run(activity("review", &id)).unwrap();
                    told.push(id);
                }
                5 => drop(bench.run(activity("check_in", &id)).unwrap()),
                _ => if let Some(id) = told.get(*size as usize) {
                    let decision = Resolve { event: "review".into(), reference: Some(id.as_str().into()), came: number % 3 > 0, reason: String::new() };
                    drop(bench.run(Command::Resolve(decision)));
                },
            }
        }
        let (active, pending, _, deficit) = bench.balances();
        let given = |kind: EntryKind| bench.entries.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.points).sum::<i64>();
        let given = given(EntryKind::Reward) + given(EntryKind::RewardRevoked);
        prop_assert_eq!(simulated(&bench, &bench.versions), (active + pending - deficit, given));
        // Without challenges nothing is given for any.
        let plain = versions(Terms { challenges: Vec::new(), ..all_kinds() });
        prop_assert_eq!(simulated(&bench, &plain), (active + pending - deficit - given, 0));
    }
}

/// A gift counts for when it was earned, also when somebody approves it later; and what a member had spent of one that goes back is not deserved.
#[test]
fn gifts_are_dated_by_what_earned_them_and_count_as_far_as_they_are_deserved() {
    let given = |bench: &Bench| {
        let bought = |id: &PurchaseId| bench.purchases.iter().find(|purchase| purchase.input.id == *id).cloned();
        let all = past(bench.entries.clone(), bought);
        let mut gifts = Gifts::default();
        let of_gifts: Vec<_> = all
            .iter()
            .filter_map(|event| if let Happened::Given(entry, at) = event { Some((entry, *at)) } else { None })
            .inspect(|(entry, _)| gifts.take(entry, true))
            .map(|(_, at)| at)
            .collect();
        (of_gifts, gifts.left().map(|gained| gained.credit.points).sum::<i64>())
    };
    let mut bench = Bench::new(all_kinds());
    for number in [0, 1] {
        bench.now = day(number);
        bench.run(activity("review", &number.to_string())).unwrap();
    }
    bench.now = day(9);
    let decide =
        |id: &str| Command::Resolve(Resolve { event: "review".into(), reference: Some(id.into()), came: true, reason: String::new() });
    bench.run(decide("0")).unwrap();
    bench.run(decide("1")).unwrap();
    assert_eq!(given(&bench), (vec![day(1)], 7));
    let mut bench = Bench::new(Terms { return_policy: ReturnPolicy::WithinBalance, ..all_kinds() });
    for id in ["a", "b"] {
        bench.run(award(id, 100)).unwrap();
    }
    assert_eq!(given(&bench).1, 20);
    bench.run(redeem(bench.active())).unwrap();
    bench.run(remaining("b", 0)).unwrap();
    assert_eq!((given(&bench).1, simulated(&bench, &bench.versions).1), (0, 0));
}
