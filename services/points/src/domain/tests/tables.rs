use super::*;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn points_are_rounded_once_as_the_terms_say() {
    for (rounding, net, points) in [
        (PointRounding::Down, 2933, 29),
        (PointRounding::HalfUp, 2950, 30),
        (PointRounding::HalfUp, 2949, 29),
        (PointRounding::Up, 2901, 30),
        (PointRounding::Down, 0, 0),
        (PointRounding::Up, 0, 0),
    ] {
        let mut bench = Bench::new(Terms { rounding, ..terms() });
        bench.run(award("p", net)).unwrap();
        assert_eq!(bench.active(), points, "{rounding:?} of {net}");
        assert_eq!(bench.account.version, 1, "a purchase that earns nothing has its entry too");
    }
}

#[test]
fn the_tier_of_the_day_multiplies_the_base() {
    let mut bench = Bench::new(terms());
    let tier = |name: &str, multiplier: &str, start: &str, end: Option<&str>| TierInterval {
        scheme: "status".to_owned(),
        tier: name.to_owned(),
        multiplier: multiplier.parse().unwrap(),
        start_at: at(start),
        end_at: end.map(at),
    };
    bench.facts.tiers = vec![
        tier("silver", "1.25", "2026-01-01T00:00:00Z", Some("2026-01-15T12:00:00Z")),
        tier("gold", "1.5", "2026-01-15T12:00:00Z", None),
    ];
    let Ok(Outcome::Awarded { explanation, purchase }) = bench.run(award("p", 10_100)) else { panic!("awarded") };
    assert_eq!((explanation.base, explanation.bonus), (101, 50), "round(101 × 0.5) is 50");
    assert_eq!(purchase.facts.tier, "gold", "an interval ends before its end");
    // The facts of the day are frozen: a later tier changes nothing about the return.
    bench.facts.tiers.clear();
    bench.run(remaining("p", 5_000)).unwrap();
    assert_eq!(bench.active(), 75);
}

#[test]
fn the_first_lot_to_lapse_is_spent_first() {
    let mut bench = Bench::new(terms());
    bench.run(award("january", 10_000)).unwrap();
    bench.now = at("2026-02-15T12:00:00Z");
    bench.run(award("february", 10_000)).unwrap();
    bench.run(redeem(150)).unwrap();
    let lots = &bench.account.wallets[0].lots;
    assert_eq!(lots.len(), 1);
    assert_eq!((lots[0].points, lots[0].key.expiry), (50, Expiry::At(at("2027-03-01T00:00:00Z"))));
    assert_eq!(bench.run(redeem(51)), Err(Refusal::InsufficientPoints { missing: 1 }));
}

#[test]
fn many_purchases_of_a_month_are_one_lot() {
    let mut bench = Bench::new(terms());
    for number in 0..50 {
        bench.now = bench.now + Duration::from_secs(3600);
        bench.run(award(&number.to_string(), 1_000)).unwrap();
    }
    assert_eq!(bench.account.wallets[0].lots.len(), 1);
    assert_eq!(bench.active(), 500);
}

#[test]
fn points_lapse_when_their_time_has_come_whoever_comes_first() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    assert_eq!(bench.account.next_due(), Some(at("2027-02-01T00:00:00Z")));
    bench.now = at("2027-01-31T23:59:59Z");
    assert_eq!(bench.settle().expired, 0);
    bench.now = at("2027-02-01T00:00:00Z");
    assert_eq!(bench.run(redeem(1)), Err(Refusal::InsufficientPoints { missing: 1 }));
    let lapse = bench.entries.last().unwrap();
    assert_eq!((lapse.kind, lapse.points, lapse.effective_at), (EntryKind::Expire, -100, at("2027-02-01T00:00:00Z")));
}

#[test]
fn old_data_whose_points_have_lapsed_repays_nothing() {
    for (now, bought, lapsed) in [
        ("2026-01-15T12:00:00Z", "2024-03-01T12:00:00Z", "2025-04-01T00:00:00Z"),
        // At the very moment.
        ("2026-04-01T00:00:00Z", "2025-03-01T12:00:00Z", "2026-04-01T00:00:00Z"),
    ] {
        let mut bench = Bench::new(terms());
        bench.run(award("p", 10_000)).unwrap();
        bench.run(redeem(80)).unwrap();
        bench.run(remaining("p", 0)).unwrap();
        bench.now = at(now);
        let stamp = Stamp { occurred_at: at(bought), ..bench.stamp() };
        let done = Ledger::open(bench.id(), &mut bench.account, &bench.versions, &bench.facts, &stamp)
            .apply(&award("old", 5_000), &Known::default());
        let (_, entries) = done.unwrap();
        assert_eq!(
            entries.iter().map(|entry| (entry.kind, entry.points)).collect::<Vec<_>>(),
            [(EntryKind::Award, 50), (EntryKind::Expire, -50)]
        );
        assert_eq!(entries[1].effective_at, at(lapsed));
        bench.entries.extend(entries);
        bench.check();
        assert_eq!(bench.balances(), (0, 0, 0, 80));
    }
}

#[test]
fn pending_points_cannot_be_spent_until_they_are_active() {
    let mut bench = Bench::new(Terms { activation: Activation::After(Period { count: 14, unit: CalendarUnit::Day }), ..terms() });
    bench.run(award("p", 10_000)).unwrap();
    assert_eq!(bench.balances(), (0, 100, 0, 0));
    assert_eq!(bench.run(redeem(1)), Err(Refusal::InsufficientPoints { missing: 1 }));
    bench.now = bench.now + 14 * DAY;
    bench.run(redeem(40)).unwrap();
    assert_eq!(bench.balances(), (60, 0, 0, 0));
    assert_eq!(bench.account.next_due(), Some(at("2027-02-01T00:00:00Z")), "expiry counts from activation");
}

#[test]
fn a_reservation_counts_at_once_and_ends_once() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(60)) else { panic!("reserved") };
    assert_eq!(bench.balances(), (40, 0, 60, 0));
    assert_eq!(bench.run(redeem(41)), Err(Refusal::InsufficientPoints { missing: 1 }));
    let capture = |points| Command::Capture(Capture { reservation: reservation.id, points, last: false });
    assert_eq!(bench.run(capture(Some(61))), Err(Refusal::ExceedsReservation { held: 60 }));
    bench.run(capture(Some(25))).unwrap();
    assert_eq!(bench.balances(), (75, 0, 0, 0));
    assert_eq!(bench.run(capture(None)), Err(Refusal::ReservationEnded(ClosedReservation::Captured)));
    let unknown = Command::Release(Release { reservation: Uuid::from_u128(99) });
    assert_eq!(bench.run(unknown), Err(Refusal::ReservationNotFound));
}

#[test]
fn a_reservation_ends_by_the_clock_even_if_no_job_has_run() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(60)) else { panic!("reserved") };
    bench.now = bench.now + Duration::from_secs(900);
    bench.run(redeem(100)).unwrap();
    let release = bench.entries.iter().find(|entry| entry.kind == EntryKind::Release).unwrap();
    assert_eq!(release.effective_at, reservation.expires_at);
    assert_eq!(bench.balances(), (0, 0, 0, 0));
}

#[test]
fn reserved_points_outlive_their_lot_and_then_lapse_or_get_grace() {
    for (grace, after) in [(None, 0), (Some(Period { count: 7, unit: CalendarUnit::Day }), 60)] {
        let mut bench = Bench::new(Terms { restore_grace: grace, ..terms() });
        bench.run(award("p", 10_000)).unwrap();
        bench.now = at("2027-01-31T23:50:00Z");
        let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(60)) else { panic!("reserved") };
        bench.now = at("2027-02-01T00:01:00Z");
        bench.settle();
        assert_eq!(bench.balances(), (0, 0, 60, 0), "only what nobody holds lapses");
        bench.run(Command::Release(Release { reservation: reservation.id })).unwrap();
        bench.settle();
        assert_eq!(bench.active(), after);
    }
}

#[test]
fn what_was_spent_becomes_owed_and_later_credits_repay_it() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    bench.run(redeem(80)).unwrap();
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 80));
    bench.run(award("q", 5_000)).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 30));
    bench.run(award("r", 5_000)).unwrap();
    assert_eq!(bench.balances(), (20, 0, 0, 0));
}

#[test]
fn a_reservation_hides_no_points_from_a_return() {
    for (policy, captured, balances) in [
        (ReturnPolicy::Unlimited, None, (0, 0, 0, 0)),
        (ReturnPolicy::WithinBalance, None, (0, 0, 0, 0)),
        (ReturnPolicy::Unlimited, Some(70), (0, 0, 0, 70)),
        (ReturnPolicy::WithinBalance, Some(70), (0, 0, 0, 70)),
    ] {
        let mut bench = Bench::new(Terms { return_policy: policy, ..terms() });
        bench.run(award("p", 10_000)).unwrap();
        let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(100)) else { panic!("reserved") };
        bench.run(remaining("p", 0)).unwrap();
        assert_eq!(bench.balances(), (0, 0, 100, 100));
        bench.run(Command::Capture(Capture { reservation: reservation.id, points: Some(captured.unwrap_or(0)), last: false })).unwrap();
        assert_eq!(bench.balances(), balances, "{policy:?} {captured:?}");
    }
    // Also when it ends by itself.
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    bench.run(reserve(100)).unwrap();
    bench.run(remaining("p", 0)).unwrap();
    bench.now = bench.now + Duration::from_secs(900);
    bench.settle();
    assert_eq!(bench.balances(), (0, 0, 0, 0));
}

#[test]
fn the_return_policy_bounds_what_is_taken() {
    for (policy, cap, balances) in [
        (ReturnPolicy::Unlimited, None, (0, 0, 0, 80)),
        (ReturnPolicy::Unlimited, Some(50), (0, 0, 0, 50)),
        (ReturnPolicy::WithinBalance, None, (0, 0, 0, 0)),
        (ReturnPolicy::OnlyPending, None, (20, 0, 0, 0)),
    ] {
        let mut bench = Bench::new(Terms { return_policy: policy, deficit_cap: cap, ..terms() });
        bench.run(award("p", 10_000)).unwrap();
        bench.run(redeem(80)).unwrap();
        bench.run(remaining("p", 0)).unwrap();
        assert_eq!(bench.balances(), balances, "{policy:?} {cap:?}");
    }
}

#[test]
fn only_pending_takes_back_what_still_waits() {
    let waiting = Terms {
        return_policy: ReturnPolicy::OnlyPending,
        activation: Activation::After(Period { count: 14, unit: CalendarUnit::Day }),
        ..terms()
    };
    let mut bench = Bench::new(waiting);
    bench.run(award("p", 10_000)).unwrap();
    bench.run(remaining("p", 4_000)).unwrap();
    assert_eq!(bench.balances(), (0, 40, 0, 0));
}

#[test]
fn lines_go_back_piece_by_piece() {
    let mut bench = Bench::new(terms());
    bench.run(award_lines("p", 3_000, vec![line("a", 3, 1_000), line("b", 1, 2_000)])).unwrap();
    assert_eq!(bench.run(back("p", &[("c", 1)])), Err(Refusal::LineNotFound { line: "c".to_owned() }));
    assert_eq!(bench.run(back("p", &[("a", 4)])), Err(Refusal::ExceedsPurchase { left: 3 }));
    bench.run(back("p", &[("a", 1)])).unwrap();
    assert_eq!(bench.active(), 26, "6.66 and 20 dollars are left");
    bench.run(back("p", &[("a", 2), ("b", 1)])).unwrap();
    assert_eq!(bench.active(), 0);
    assert_eq!(bench.run(back("p", &[("a", 1)])), Err(Refusal::ExceedsPurchase { left: 0 }));
    assert_eq!(bench.run(remaining("p", 0)), Err(Refusal::NothingToReturn));
    assert_eq!(bench.run(remaining("p", 1)), Err(Refusal::ExceedsPurchase { left: 0 }));
    assert_eq!(bench.run(remaining("unknown", 0)), Err(Refusal::PurchaseNotFound));
}

#[test]
fn a_blocked_member_neither_earns_nor_redeems_but_a_hold_can_end() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(10)) else { panic!("reserved") };
    for (status, refusal) in [(MemberStatus::Blocked, Refusal::MemberBlocked), (MemberStatus::Closed, Refusal::MemberClosed)] {
        bench.facts.status = status;
        assert_eq!(bench.run(award("q", 1)), Err(refusal.clone()));
        assert_eq!(bench.run(redeem(1)), Err(refusal.clone()));
        assert_eq!(bench.run(reserve(1)), Err(refusal.clone()));
    }
    assert_eq!(bench.run(Command::Capture(Capture { reservation: reservation.id, points: None, last: false })), Err(Refusal::MemberClosed));
    bench.run(Command::Release(Release { reservation: reservation.id })).unwrap();
    assert_eq!(bench.active(), 100);
}

#[test]
fn a_reward_ends_as_the_newest_wish_says_in_any_order() {
    let wish = |version, wanted| {
        Command::Ensure(Ensure {
            key: "referral/1/FRIEND".to_owned(),
            wallet: wallet(),
            points: 50,
            wanted,
            version,
            reason: "referral".to_owned(),
        })
    };
    for order in [[(1, true), (2, false)], [(2, false), (1, true)]] {
        let mut bench = Bench::new(terms());
        for (version, wanted) in order {
            bench.run(wish(version, wanted)).unwrap();
            bench.run(wish(version, wanted)).unwrap();
        }
        assert_eq!(bench.balances(), (0, 0, 0, 0), "{order:?}");
        bench.run(wish(3, true)).unwrap();
        assert_eq!(bench.active(), 50);
    }
}

#[test]
fn amounts_beyond_counting_are_refused() {
    let mut bench = Bench::new(Terms { points_per_unit: Decimal::from(1_000_000), ..terms() });
    assert_eq!(bench.run(award("p", i64::MAX)), Err(Refusal::Overflow));
    let adjust = |points| Command::Adjust(Adjust { wallet: wallet(), points, reason: "r".to_owned(), approver: "a".to_owned() });
    bench.run(adjust(i64::MAX)).unwrap();
    assert_eq!(bench.run(adjust(1)), Err(Refusal::Overflow));
    assert_eq!(bench.deficit(), 0);
}
