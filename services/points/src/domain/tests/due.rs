//! What falls due: in which order, and that it comes to the same early or late.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn days(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Day }
}

fn hold(points: i64, ttl: Duration) -> Command {
    Command::Reserve(Reserve { wallet: wallet(), points, ttl: Some(ttl), reference: "order 1".into(), several: false })
}

/// A deficit is repaid by what comes free or opens first, whoever comes by late.
#[test]
fn what_falls_due_is_done_in_the_order_of_its_moments() {
    let story = |visits: &[u32]| {
        let mut bench = Bench::new(Terms {
            activation: Activation::After(days(20)),
            life: Life::For(days(15), Rounding::None),
            return_policy: ReturnPolicy::Unlimited,
            ..terms()
        });
        let start = bench.now;
        bench.run(adjust(50)).unwrap();
        bench.run(hold(50, 10 * DAY)).unwrap();
        bench.run(ensure(1, true, 50)).unwrap();
        bench.run(redeem(50)).unwrap();
        bench.run(ensure(2, false, 50)).unwrap();
        bench.run(award("p", 6_000)).unwrap();
        assert_eq!(bench.balances(), (0, 60, 50, 50));
        for visit in visits {
            bench.now = start + *visit * DAY;
            bench.settle();
        }
        bench.check();
        bench
    };
    let often = story(&[9, 10, 15, 20, 25]);
    let late = story(&[25]);
    assert_eq!(often.balances(), (60, 0, 0, 0), "what came free on day 10 has repaid, and what opened on day 20 is the member's");
    assert_eq!(late.balances(), often.balances());
    assert_eq!(often.account.wallets[0].lots, late.account.wallets[0].lots);
}

/// At one moment: activations, cancellations, ends of reservations, expiries, announcements.
#[test]
fn what_falls_due_at_one_moment_has_an_order() {
    let mut bench = Bench::new(Terms {
        activities: vec![review(30)],
        life: Life::For(days(10), Rounding::None),
        remind_before: Some(days(10)),
        ..terms()
    });
    let terms_of = |activation| Terms { activation, ..(*bench.versions.at(bench.now).terms).clone() };
    let later = versions(terms_of(Activation::After(days(10))));
    let gated = versions(terms_of(Activation::On { event: "delivered".into(), cancel_after: Some(days(10)) }));
    let start = bench.now;
    bench.run(adjust(50)).unwrap();
    bench.run(hold(20, 10 * DAY)).unwrap();
    bench.versions = later;
    bench.run(award("later", 4_000)).unwrap();
    bench.versions = gated;
    bench.run(award("gated", 6_000)).unwrap();
    bench.settle();
    let before = bench.entries.len();
    assert_eq!(bench.account.next_due(), Some(start + 10 * DAY));
    bench.now = start + 10 * DAY;
    let settled = bench.settle();
    let done: Vec<_> = settled.entries.iter().map(|entry| (entry.kind, entry.points)).collect();
    let expected =
        [(EntryKind::Activate, 0), (EntryKind::Cancel, -60), (EntryKind::Release, 0), (EntryKind::Expire, -50), (EntryKind::Remind, 0)];
    assert_eq!(done, expected);
    assert!(settled.entries[..4].iter().all(|entry| entry.effective_at == start + 10 * DAY));
    assert_eq!((settled.activated, settled.cancelled, settled.expired, settled.ended.len()), (40, 60, 50, 1));
    assert_eq!(bench.entries.len(), before + 5);
    assert_eq!(bench.settle(), Settled::default(), "nothing is done twice");
}

/// What was announced.
fn reminders(bench: &Bench) -> Vec<(Timestamp, i64)> {
    let told = bench.entries.iter().filter_map(|entry| match entry.source {
        Source::Reminder { expires_at, points } => Some((expires_at, points)),
        _ => None,
    });
    told.collect()
}

#[test]
fn an_expiry_is_announced_once() {
    let mut bench = Bench::new(Terms { remind_before: Some(days(30)), ..terms() });
    bench.run(award("january", 10_000)).unwrap();
    bench.now = at("2026-02-10T12:00:00Z");
    bench.run(award("february", 5_000)).unwrap();
    assert_eq!(bench.account.next_due(), Some(at("2027-01-02T00:00:00Z")), "30 days before the end of January");
    bench.now = at("2027-01-02T00:00:00Z") - Duration::from_micros(1);
    bench.settle();
    assert_eq!(reminders(&bench), []);
    for moment in ["2027-01-02T00:00:00Z", "2027-01-02T00:00:00Z", "2027-01-20T00:00:00Z"] {
        bench.now = at(moment);
        bench.settle();
        assert_eq!(reminders(&bench), [(at("2027-02-01T00:00:00Z"), 100)]);
    }
    bench.run(redeem(1)).unwrap();
    bench.now = at("2027-02-15T00:00:00Z");
    bench.settle();
    assert_eq!(reminders(&bench)[1..], [(at("2027-03-01T00:00:00Z"), 50)]);
    assert_eq!(bench.account.next_due(), Some(at("2027-03-01T00:00:00Z")));
}

#[test]
fn points_that_arrive_for_a_day_that_was_announced_are_announced_too() {
    let terms = Terms { remind_before: Some(days(30)), ..terms() };
    let january = at("2027-02-01T00:00:00Z");
    let announced = || {
        let mut town = town::Town::new(2, terms.clone());
        for (member, net) in [(0, 10_000), (1, 5_000)] {
            town.run(member, award(&member.to_string(), net)).unwrap();
        }
        town.run(0, redeem(30)).unwrap();
        let spent = town.last_operation(0);
        town.wait(352 * DAY);
        assert_eq!(reminders(&town.benches[0]), [(january, 70)]);
        (town, spent)
    };
    type Arrive = fn(&mut town::Town, Uuid);
    let arrivals: [(&str, i64, Arrive); 3] = [
        ("transfer", 90, |town, _| drop(town.transfer(1, 0, 20).unwrap())),
        ("merge", 120, |town, _| drop(town.merge(0, 1).unwrap())),
        ("refund", 100, |town, spent| drop(town.run(0, refund(spent, None)).unwrap())),
    ];
    for (name, all, arrive) in arrivals {
        let (mut town, spent) = announced();
        arrive(&mut town, spent);
        town.wait(DAY);
        town.wait(DAY);
        assert_eq!(reminders(&town.benches[0])[1..], [(january, all)], "{name}");
    }
}

/// Every purchase of a month lapses at one moment: where that is announced at once, one entry tells of it.
#[test]
fn a_purchase_that_joins_what_was_announced_is_not_announced_again() {
    let mut bench = Bench::new(Terms { remind_before: Some(days(400)), ..terms() });
    for number in 0..3 {
        bench.run(award(&number.to_string(), 1_000)).unwrap();
        bench.settle();
    }
    assert_eq!(reminders(&bench), [(at("2027-02-01T00:00:00Z"), 10)]);
}

#[test]
fn an_expiry_that_moves_to_an_earlier_day_is_announced_again() {
    let mut bench = Bench::new(Terms { remind_before: Some(days(30)), ..terms() });
    bench.run(award("january", 10_000)).unwrap();
    bench.now = at("2026-02-10T12:00:00Z");
    bench.run(award("february", 5_000)).unwrap();
    bench.now = at("2027-01-02T00:00:00Z");
    bench.settle();
    let (january, february) = (at("2027-02-01T00:00:00Z"), at("2027-03-01T00:00:00Z"));
    let earlier = at("2027-01-20T00:00:00Z");
    let by = |lapsing_by, to| {
        let change = SetExpiry { wallet: wallet(), lapsing_by, to, reason: "r".to_owned(), approver: "a".to_owned() };
        Command::SetExpiry(change)
    };
    bench.run(by(Some(january), NewExpiry::At(earlier))).unwrap();
    bench.settle();
    assert_eq!(reminders(&bench), [(january, 100), (earlier, 100)]);
    // All of it again with what joins it, once; and what was not announced yet in its time.
    bench.run(by(Some(january), NewExpiry::At(january))).unwrap();
    bench.settle();
    bench.settle();
    assert_eq!(reminders(&bench)[2..], [(january, 100)]);
    bench.now = at("2027-02-15T00:00:00Z");
    bench.settle();
    assert_eq!(reminders(&bench)[3..], [(february, 50)]);
    assert_eq!(bench.account.wallets[0].remind_again, []);
    // What points have gone from is not announced, where they have gone to is.
    bench.run(by(None, NewExpiry::At(at("2027-02-20T00:00:00Z")))).unwrap();
    bench.run(redeem(50)).unwrap();
    bench.settle();
    assert_eq!(reminders(&bench)[4..], [(at("2027-02-20T00:00:00Z"), 50)]);
    assert_eq!(bench.account.wallets[0].remind_again, []);
}
