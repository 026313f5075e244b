use proptest::prelude::*;

use super::model::Model;
use super::*;

/// A step of a story. Numbers choose among what there is, so that most steps mean something.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Award(i64),
    Redeem(i64),
    Reserve(i64),
    End { which: usize, spent: Option<i64> },
    Return { which: usize, keep_percent: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u64..40).prop_map(Step::Wait),
        5 => (0_i64..9_000).prop_map(Step::Award),
        3 => (1_i64..60).prop_map(Step::Redeem),
        2 => (1_i64..40).prop_map(Step::Reserve),
        2 => (any::<usize>(), proptest::option::of(0_i64..40)).prop_map(|(which, spent)| Step::End { which, spent }),
        2 => (any::<usize>(), 0_i64..100).prop_map(|(which, keep_percent)| Step::Return { which, keep_percent }),
    ];
    proptest::collection::vec(step, 1..40)
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let period = |unit| move |count| Period { count, unit };
    let pending = proptest::option::of((1_i32..30).prop_map(period(CalendarUnit::Day)));
    let life = proptest::option::of((1_i32..6).prop_map(period(CalendarUnit::Month)));
    let rounding = prop_oneof![Just(Rounding::None), Just(Rounding::EndOfMonth), Just(Rounding::EndOfQuarter)];
    (pending, life, rounding).prop_map(|(after, life, rounding)| Terms {
        activation: after.map_or(Activation::Immediate, Activation::After),
        life: life.map_or(Life::Unlimited, |period| Life::For(period, rounding)),
        reservation_ttl: Duration::from_secs(3 * 86_400),
        ..terms()
    })
}

proptest! {
    /// Rules 1, 3 and 6: whatever happens in whatever order, the ledger and the model on paper agree on every balance.
    #[test]
    fn the_ledger_agrees_with_the_model(terms in any_terms(), steps in steps()) {
        let mut bench = Bench::new(terms);
        let mut model = Model::default();
        let mut holds = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            model.settle(bench.now);
            match step {
                Step::Wait(days) => {
                    bench.now = bench.now + Duration::from_secs(days * 86_400 + 1);
                    bench.settle();
                    model.settle(bench.now);
                }
                Step::Award(net) => {
                    let version = bench.versions.at(bench.now).clone();
                    bench.run(award(&number.to_string(), net)).unwrap();
                    model.credit(version.lot_for(bench.now, bench.now, Uuid::nil(), &"".into()), net / 100);
                }
                Step::Redeem(points) => prop_assert_eq!(bench.run(redeem(points)).is_ok(), model.redeem(points)),
                Step::Reserve(points) => match bench.run(reserve(points)) {
                    Ok(Outcome::Reserved { reservation }) => {
                        prop_assert!(model.hold(reservation.id, points, reservation.expires_at));
                        holds.push(reservation);
                    }
                    _ => prop_assert!(model.balances().0 < points),
                },
                Step::End { which, spent } if !holds.is_empty() => {
                    let hold = holds[which % holds.len()].clone();
                    let spent = spent.map(|points| points.min(hold.points));
                    let ended = match spent {
                        Some(points) => bench.run(Command::Capture(Capture { reservation: hold.id, points: Some(points), last: false })),
                        None => bench.run(Command::Release(Release { reservation: hold.id })),
                    };
                    prop_assert_eq!(ended.is_ok(), model.end_hold(hold.id, spent.unwrap_or(0), bench.now));
                    model.settle(bench.now);
                    bench.settle();
                }
                Step::Return { which, keep_percent } if !bench.purchases.is_empty() => {
                    let purchase = bench.purchases[which % bench.purchases.len()].clone();
                    let keep = purchase.remaining_net * keep_percent / 100;
                    let own = purchase.lot.clone().map(|lot| match lot.opens_at() {
                        Some(at) if at <= bench.now => lot.opened(),
                        _ => lot,
                    });
                    if bench.run(remaining(&purchase.input.id.0, keep)).is_ok() {
                        model.take_back(own, purchase.remaining_net / 100 - keep / 100);
                    }
                }
                Step::End { .. } | Step::Return { .. } => {}
            }
            prop_assert_eq!(bench.balances(), model.balances(), "after step {}", number);
        }
    }

    /// Rule 5: any partition of a refund, by lines or by amount, in any order, ends at the same balance as one refund of the whole.
    #[test]
    fn any_partition_of_a_refund_equals_one(
        lines in proptest::collection::vec((1_i64..5, 0_i64..5_000), 1..5),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..25),
        multiplier in prop_oneof![Just("1"), Just("1.25"), Just("2"), Just("0.333")],
        spent in 0_i64..200,
        policy in prop_oneof![Just(ReturnPolicy::Unlimited), Just(ReturnPolicy::WithinBalance), Just(ReturnPolicy::OnlyPending)],
    ) {
        let net = lines.iter().map(|(_, net)| net).sum();
        let bought: Vec<Line> = lines.iter().enumerate().map(|(number, (quantity, net))| line(&number.to_string(), *quantity, *net)).collect();
        let bench = || {
            let mut bench = Bench::new(Terms { return_policy: policy, ..terms() });
            bench.facts.tiers.push(TierInterval {
                scheme: "s".to_owned(),
                tier: "t".to_owned(),
                multiplier: multiplier.parse().unwrap(),
                start_at: Timestamp::MIN,
                end_at: None,
            });
            bench.run(award("other", 5_000)).unwrap();
            bench.run(award_lines("p", net, bought.clone())).unwrap();
            bench.run(redeem(spent.min(bench.active()).max(1))).unwrap_or(Outcome::Adjusted { points: 0 });
            bench
        };
        // The pieces one by one in a random order, then the rest of each line.
        let mut sliced = bench();
        let mut left: Vec<i64> = bought.iter().map(|line| line.quantity).collect();
        for index in order {
            let which = index.index(left.len());
            if left[which] > 0 {
                sliced.run(back("p", &[(&which.to_string(), 1)])).unwrap();
                left[which] -= 1;
            }
        }
        let returned: Vec<(String, i64)> = bought.iter().zip(&left).map(|(line, left)| (line.id.clone(), line.quantity - left)).collect();
        let returned: Vec<(&str, i64)> = returned.iter().filter(|(_, quantity)| *quantity > 0).map(|(id, quantity)| (id.as_str(), *quantity)).collect();
        let mut whole = bench();
        if !returned.is_empty() {
            whole.run(back("p", &returned)).unwrap();
        }
        prop_assert_eq!(sliced.balances(), whole.balances());
        prop_assert_eq!(sliced.purchases[1].due, whole.purchases[1].due);
        // And nothing can be earned by buying, refunding and keeping.
        let rest = sliced.purchases[1].remaining_net;
        if rest > 0 {
            sliced.run(remaining("p", 0)).unwrap();
        }
        prop_assert_eq!(sliced.purchases[1].due, 0);
    }

    /// Rule 7: a preview is the same function, so it cannot differ; what could is the rounding of parts, so they must add up.
    #[test]
    fn the_parts_of_an_award_add_up(net in 0_i64..10_000_000, multiplier in 0_i64..10_000) {
        let versions = versions(Terms { points_per_unit: "1.5".parse().unwrap(), rounding: PointRounding::HalfUp, ..terms() });
        let facts = FrozenFacts { version: 1, tier: "t".to_owned(), multiplier: Decimal::new(multiplier, 3), first_purchase: false };
        let explanation = versions.at(Timestamp::MAX).points_for(net, &facts).unwrap();
        prop_assert_eq!(explanation.points(), explanation.components.iter().map(|part| part.points).sum::<i64>());
        prop_assert!(explanation.points() >= 0);
    }
}
