//! What goes back: redemptions, and orders that points paid for.

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn days(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Day }
}

/// A purchase that redemptions paid for, wholly or in part.
pub(super) fn paid(id: &str, net: i64, lines: Vec<Line>, redemptions: Vec<Uuid>) -> Command {
    match award_lines(id, net, lines) {
        Command::Award(award) => Command::Award(Award { purchase: PurchaseInput { redemptions, ..award.purchase }, ..award }),
        other => other,
    }
}

fn giving(command: Command, points: i64) -> Command {
    match command {
        Command::Return(request) => Command::Return(Return { give_back: Some(points), ..request }),
        other => other,
    }
}

fn spent(bench: &mut Bench, points: i64) -> Uuid {
    bench.run(redeem(points)).unwrap();
    Uuid::from_u128(bench.operations)
}

#[test]
fn what_is_refunded_has_its_old_expiry_lapses_or_lives_for_the_grace() {
    for (grace, wait, expiry) in [
        (None, 0, Some("2027-02-01T00:00:00Z")),
        (Some(days(7)), 0, Some("2027-02-01T00:00:00Z")),
        (None, 400, None),
        (Some(days(7)), 400, Some("2027-02-26T12:00:00Z")),
    ] {
        let mut bench = Bench::new(Terms { restore_grace: grace, ..terms() });
        bench.run(award("p", 10_000)).unwrap();
        let redemption = spent(&mut bench, 60);
        bench.now = bench.now + wait * DAY;
        bench.settle();
        let before = bench.active();
        for points in [10, 50] {
            let Ok(Outcome::Refunded(restored)) = bench.run(refund(redemption, Some(points))) else { panic!("refunded") };
            assert_eq!((restored.points, restored.lapsed), (points, if expiry.is_none() { points } else { 0 }));
        }
        assert_eq!(bench.active() - before, if expiry.is_some() { 60 } else { 0 });
        assert_eq!(bench.account.wallets[0].next_expiry().0, expiry.map(at), "{grace:?} after {wait} days");
        assert_eq!(bench.run(refund(redemption, Some(1))), Err(Refusal::ExceedsRedemption { left: 0 }));
        assert_eq!(bench.run(refund(redemption, None)), Err(Refusal::ExceedsRedemption { left: 0 }));
    }
    let mut bench = Bench::new(terms());
    assert_eq!(bench.run(refund(Uuid::from_u128(9), None)), Err(Refusal::RedemptionNotFound));
    assert_eq!(bench.run(paid("p", 1, Vec::new(), vec![Uuid::from_u128(9)])), Err(Refusal::RedemptionNotFound));
}

#[test]
fn what_is_refunded_repays_what_is_owed_first() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    let redemption = spent(&mut bench, 80);
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 80));
    let Ok(Outcome::Refunded(restored)) = bench.run(refund(redemption, None)) else { panic!("refunded") };
    assert_eq!((restored.points, restored.repaid, bench.balances()), (80, 80, (0, 0, 0, 0)));
}

/// At the very moment at which it lapses it is gone: it repays nothing.
#[test]
fn what_comes_back_at_the_moment_of_its_expiry_has_lapsed() {
    for (before, lapsed, owed) in [(Duration::from_micros(1), 0, 20), (Duration::ZERO, 80, 100)] {
        let mut bench = Bench::new(Terms { life: Life::For(days(10), Rounding::None), ..terms() });
        let lapses_at = bench.now + 10 * DAY;
        bench.run(award("p", 8_000)).unwrap();
        let redemption = spent(&mut bench, 80);
        bench.now = bench.now + DAY;
        bench.run(award("q", 10_000)).unwrap();
        spent(&mut bench, 100);
        bench.run(remaining("q", 0)).unwrap();
        bench.now = lapses_at - before;
        let Ok(Outcome::Refunded(restored)) = bench.run(refund(redemption, None)) else { panic!("refunded") };
        assert_eq!((restored.lapsed, bench.balances()), (lapsed, (0, 0, 0, owed)));
    }
}

/// The terms forgive what was spent; they do not give it away when it comes back.
#[test]
fn returning_first_and_refunding_then_gains_nothing() {
    for (policy, cap) in [(ReturnPolicy::WithinBalance, None), (ReturnPolicy::Unlimited, Some(30)), (ReturnPolicy::Unlimited, None)] {
        let mut bench = Bench::new(Terms { return_policy: policy, deficit_cap: cap, ..terms() });
        bench.run(award("p", 10_000)).unwrap();
        let before = spent(&mut bench, 80);
        bench.run(remaining("p", 0)).unwrap();
        let owed = bench.deficit();
        bench.run(award("q", 20_000)).unwrap();
        let after = spent(&mut bench, 50);
        let Ok(Outcome::Refunded(restored)) = bench.run(refund(before, Some(70))) else { panic!("refunded") };
        assert_eq!(restored.repaid, if owed == 80 { 0 } else { 70.min(80 - owed) }, "{policy:?} {cap:?}");
        bench.run(refund(before, None)).unwrap();
        bench.run(refund(after, None)).unwrap();
        assert_eq!(bench.balances(), (200, 0, 0, 0), "{policy:?} {cap:?}: what was spent since comes back whole");
    }
}

#[test]
fn a_reservation_does_not_get_round_the_cap() {
    let mut bench = Bench::new(Terms { deficit_cap: Some(30), ..terms() });
    bench.run(award("p", 10_000)).unwrap();
    let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(100)) else { panic!("reserved") };
    bench.run(remaining("p", 0)).unwrap();
    bench.run(Command::Release(Release { reservation: reservation.id })).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 0));
}

#[test]
fn the_cap_of_the_best_tier_bounds_the_deficit() {
    let tier = |scheme: &str, tier: &str| TierInterval {
        scheme: scheme.to_owned(),
        tier: tier.to_owned(),
        multiplier: Decimal::ONE,
        start_at: Timestamp::MIN,
        end_at: None,
    };
    for (tiers, owed) in [
        (vec![], 10),
        (vec![tier("a", "basic")], 10),
        (vec![tier("a", "silver")], 25),
        (vec![tier("a", "silver"), tier("b", "gold")], 60),
        (vec![tier("b", "stone")], 5),
    ] {
        let mut bench = Bench::new(Terms {
            deficit_cap: Some(10),
            tier_deficit_caps: vec![("silver".to_owned(), 25), ("gold".to_owned(), 60), ("stone".to_owned(), 5)],
            ..terms()
        });
        bench.facts.tiers = tiers;
        bench.run(award("p", 10_000)).unwrap();
        bench.run(redeem(100)).unwrap();
        bench.run(remaining("p", 5_000)).unwrap();
        bench.run(remaining("p", 0)).unwrap();
        assert_eq!(bench.deficit(), owed);
    }
}

#[test]
fn a_return_gives_back_what_points_paid_in_proportion_or_as_told() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 20_000)).unwrap();
    let (first, second) = (spent(&mut bench, 60), spent(&mut bench, 40));
    bench.run(paid("q", 9_000, Vec::new(), vec![first, second])).unwrap();
    assert_eq!(bench.active(), 190);
    let given = |bench: &mut Bench, command| match bench.run(command) {
        Ok(Outcome::Returned(returned)) => Ok((returned.restored.points, -returned.summary.due_delta)),
        Err(refusal) => Err(refusal),
        _ => panic!("a return"),
    };
    assert_eq!(given(&mut bench, remaining("q", 6_000)), Ok((34, 30)), "the rest keeps 66 of 100, rounded down");
    assert_eq!(given(&mut bench, giving(remaining("q", 3_000), 0)), Ok((0, 30)));
    assert_eq!(given(&mut bench, giving(remaining("q", 0), 67)), Err(Refusal::ExceedsRedemption { left: 66 }));
    assert_eq!(given(&mut bench, remaining("q", 0)), Ok((66, 30)), "what was not given back before is now");
    assert_eq!(bench.balances(), (200, 0, 0, 0));
    // Without any money, by pieces.
    let all = spent(&mut bench, 100);
    bench.run(paid("r", 0, vec![line("a", 3, 0)], vec![all])).unwrap();
    for (pieces, points) in [(1, 34), (1, 33), (1, 33)] {
        assert_eq!(given(&mut bench, back("r", &[("a", pieces)])), Ok((points, 0)));
    }
    assert_eq!(bench.balances(), (200, 0, 0, 0));
}

fn policies() -> impl Strategy<Value = (ReturnPolicy, Option<i64>)> {
    let unlimited = proptest::option::of(0_i64..100).prop_map(|cap| (ReturnPolicy::Unlimited, cap));
    prop_oneof![Just((ReturnPolicy::OnlyPending, None)), Just((ReturnPolicy::WithinBalance, None)), unlimited]
}

proptest! {
    /// Rule 5: any partition of a refund, of whatever sizes, over several lots that partly have lapsed, equals one refund.
    #[test]
    fn any_partition_of_a_refund_of_points_equals_one(
        earned in proptest::collection::vec((1_i64..60, 0_u64..200), 1..6),
        share in 1_i64..=100,
        sizes in proptest::collection::vec(1_i64..50, 0..12),
        grace in proptest::option::of((1_i32..60).prop_map(days)),
        owed in 0_i64..60,
        wait in 0_u64..400,
    ) {
        let story = |sizes: &[i64]| {
            let mut bench = Bench::new(Terms { restore_grace: grace, ..terms() });
            for (number, (points, wait)) in earned.iter().enumerate() {
                bench.run(award(&number.to_string(), points * 100)).unwrap();
                bench.now = bench.now + u32::try_from(*wait).unwrap() * DAY;
                bench.settle();
            }
            if owed > 0 {
                bench.run(ensure(1, true, owed)).unwrap();
            }
            let all = bench.active();
            let redemption = spent(&mut bench, (all * share / 100).max(owed).max(1).min(all.max(1)));
            if owed > 0 {
                bench.run(ensure(2, false, owed)).unwrap();
            }
            bench.now = bench.now + u32::try_from(wait).unwrap() * DAY;
            bench.settle();
            let mut left = bench.redemptions[&redemption].points();
            for size in sizes {
                let part = left.min(*size);
                left -= part;
                if part > 0 {
                    bench.run(refund(redemption, Some(part))).unwrap();
                }
            }
            if left > 0 {
                bench.run(refund(redemption, None)).unwrap();
            }
            bench
        };
        prop_assume!(earned.last().is_some_and(|(_, wait)| *wait < 180) || owed > 0);
        let (sliced, whole) = (story(&sizes), story(&[]));
        prop_assert_eq!(sliced.balances(), whole.balances());
        prop_assert_eq!(&sliced.account.wallets[0].lots, &whole.account.wallets[0].lots);
    }

    /// The same for a return of an order that points paid for: what is given back, what is taken back, and what is left.
    #[test]
    fn any_partition_of_a_return_of_an_order_paid_with_points_equals_one(
        net in 0_i64..8_000,
        quantity in 1_i64..6,
        paid_points in 1_i64..120,
        keep in 0_i64..150,
        (policy, cap) in policies(),
        cuts in proptest::collection::vec(0_i64..100, 0..6),
        given in proptest::option::of(proptest::collection::vec(0_i64..60, 7)),
        rate in prop_oneof![Just("1"), Just("0.37"), Just("3")],
        rounding in prop_oneof![Just(PointRounding::Down), Just(PointRounding::HalfUp), Just(PointRounding::Up)],
    ) {
        let story = |slices: &[Command]| {
            let mut bench = Bench::new(Terms {
                points_per_unit: rate.parse().unwrap(),
                rounding,
                return_policy: policy,
                deficit_cap: cap,
                ..terms()
            });
            bench.run(adjust(paid_points)).unwrap();
            let redemption = spent(&mut bench, paid_points);
            bench.run(paid("p", net, vec![line("a", quantity, net)], vec![redemption])).unwrap();
            let earned = bench.active();
            bench.run(adjust(30)).unwrap();
            let spend = (earned + 30 - keep).max(0);
            if spend > 0 {
                bench.run(redeem(spend)).unwrap();
            }
            let (mut points, mut due) = (0, 0);
            for slice in slices {
                let Ok(Outcome::Returned(returned)) = bench.run(slice.clone()) else { panic!("{slice:?} is a return") };
                points += returned.restored.points;
                due += returned.summary.due_delta;
            }
            prop_assert_eq!((points, -due), (paid_points, earned), "all is given back, and all is asked for");
            Ok((bench.balances(), bench.account.wallets[0].lots.clone()))
        };
        let mut slices = Vec::new();
        let mut left = paid_points;
        let mut give = |number: usize, slice: Command, is_last: bool| match &given {
            None => slice,
            Some(given) => {
                let points = if is_last { left } else { left.min(given[number]) };
                left -= points;
                giving(slice, points)
            }
        };
        if net == 0 {
            let slice = |number: usize| back("p", &[("a", if number == 0 { quantity } else { 1 })]);
            for number in 1..=quantity {
                slices.push(give(usize::try_from(number).unwrap(), slice(1), number == quantity));
            }
            prop_assert_eq!(story(&slices)?, story(&[slice(0)])?);
        } else {
            let mut rest = net;
            for (number, cut) in cuts.iter().enumerate() {
                let next = rest * cut / 100;
                if 0 < next && next < rest {
                    rest = next;
                    slices.push(give(number, remaining("p", next), false));
                }
            }
            slices.push(give(6, remaining("p", 0), true));
            if policy != ReturnPolicy::OnlyPending {
                prop_assert_eq!(story(&slices)?, story(&[remaining("p", 0)])?);
            }
        }
    }

    /// Buying, spending, returning and refunding in whatever order, until all has gone back, leaves what there was before. What stays
    /// under ONLY_PENDING is what the answers to the returns have said is forgiven.
    #[test]
    fn nothing_is_gained_once_everything_has_gone_back(
        had in 0_i64..80,
        steps in proptest::collection::vec((0_usize..5, any::<usize>(), 1_i64..100), 1..30),
        (policy, cap) in policies(),
        waits in any::<bool>(),
    ) {
        let activation = if waits { Activation::After(days(14)) } else { Activation::Immediate };
        let mut bench = Bench::new(Terms { return_policy: policy, deficit_cap: cap, life: Life::Unlimited, activation, ..terms() });
        if had > 0 {
            bench.run(adjust(had)).unwrap();
        }
        let mut forgiven = 0;
        let mut spends: Vec<Uuid> = Vec::new();
        let mut returned = |outcome| if let Ok(Outcome::Returned(returned)) = outcome { forgiven += returned.summary.taken.forgiven };
        for (number, (step, which, size)) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    let with = if spends.is_empty() || which % 2 == 0 { Vec::new() } else { vec![spends[which % spends.len()]] };
                    bench.run(paid(&number.to_string(), size * 100, Vec::new(), with)).unwrap();
                }
                1 if bench.active() > 0 => {
                    let points = (bench.active() * size / 100).max(1);
                    spends.push(spent(&mut bench, points));
                }
                2 if bench.active() > 0 => {
                    let points = (bench.active() * size / 100).max(1);
                    let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(points)) else { panic!("reserved") };
                    if size % 3 > 0 {
                        bench.run(capture(reservation.id, Some(points * size / 100))).unwrap();
                        spends.push(Uuid::from_u128(bench.operations));
                    }
                }
                3 if !bench.purchases.is_empty() => {
                    let purchase = &bench.purchases[which % bench.purchases.len()];
                    let (id, rest) = (purchase.input.id.0.clone(), purchase.remaining_net * (size - 1) / 100);
                    returned(bench.run(remaining(&id, rest)));
                }
                4 if !spends.is_empty() => {
                    let redemption = spends[which % spends.len()];
                    let left = bench.redemptions.get(&redemption).map_or(0, Redemption::left);
                    let done = bench.run(refund(redemption, Some((left * size / 100).max(1))));
                    prop_assert_eq!(done.is_ok(), left > 0);
                }
                _ => bench.now = bench.now + u32::try_from(size % 10).unwrap() * DAY,
            }
        }
        bench.now = bench.now + DAY;
        for id in bench.purchases.iter().map(|purchase| purchase.input.id.0.clone()).collect::<Vec<_>>() {
            returned(bench.run(remaining(&id, 0)));
        }
        for redemption in spends {
            let _ = bench.run(refund(redemption, None));
        }
        bench.settle();
        let (active, pending, reserved, deficit) = bench.balances();
        prop_assert_eq!((pending, reserved), (0, 0));
        if policy == ReturnPolicy::OnlyPending {
            prop_assert_eq!(active - deficit, had + forgiven);
        } else {
            prop_assert_eq!((active, deficit), (had, 0));
        }
    }
}
