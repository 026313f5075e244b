//! Points that are not spendable yet, reservations, and changes of expiry.

use proptest::prelude::*;

use super::town::Town;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn days(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Day }
}

fn on_delivery(cancel_after: Option<Period>) -> Terms {
    Terms {
        activation: Activation::On { event: "delivered".into(), cancel_after },
        activities: vec![review(5)],
        life: Life::For(days(10), Rounding::None),
        ..terms()
    }
}

fn resolve(event: &str, reference: Option<&str>, came: bool) -> Command {
    Command::Resolve(Resolve { event: event.into(), reference: reference.map(Into::into), came, reason: "lost".to_owned() })
}

#[test]
fn points_wait_for_their_event_each_in_a_lot_of_its_own() {
    let mut bench = Bench::new(on_delivery(None));
    bench.run(award("p", 10_000)).unwrap();
    bench.run(award("q", 6_000)).unwrap();
    bench.run(activity("review", "1")).unwrap();
    assert_eq!((bench.balances(), bench.account.wallets[0].lots.len()), ((0, 165, 0, 0), 3));
    assert_eq!(bench.account.next_due(), None, "what waits for ever is never due");
    assert_eq!(bench.run(redeem(1)), Err(Refusal::InsufficientPoints { missing: 1 }));
    for (event, reference) in [("paid", None), ("delivered", Some("r"))] {
        assert_eq!(bench.run(resolve(event, reference, true)), Err(Refusal::NothingPending));
    }
    bench.now = bench.now + 100 * DAY;
    assert_eq!(bench.run(resolve("delivered", Some("p"), true)), Ok(Outcome::Resolved { points: 100, came: true, challenges: vec![] }));
    assert_eq!(bench.account.wallets[0].next_expiry(), (Some(bench.now + 10 * DAY), 100), "life counts from the event");
    assert_eq!(bench.run(resolve("delivered", Some("q"), false)), Ok(Outcome::Resolved { points: 60, came: false, challenges: vec![] }));
    assert_eq!(bench.run(resolve("delivered", None, true)), Ok(Outcome::Resolved { points: 5, came: true, challenges: vec![] }));
    assert_eq!(bench.balances(), (105, 0, 0, 0));
    assert_eq!(bench.run(resolve("delivered", None, true)), Err(Refusal::NothingPending));
}

#[test]
fn waiting_ends_in_vain_at_its_moment() {
    let mut bench = Bench::new(on_delivery(Some(days(14))));
    let start = bench.now;
    bench.run(award("p", 10_000)).unwrap();
    bench.now = start + 3 * DAY;
    bench.run(award("q", 6_000)).unwrap();
    assert_eq!(bench.account.next_due(), Some(start + 14 * DAY));
    bench.now = start + 14 * DAY - Duration::from_micros(1);
    assert_eq!(bench.settle(), Settled::default());
    bench.now = start + 15 * DAY;
    assert_eq!(bench.settle().cancelled, 100);
    let cancel = bench.entries.last().unwrap();
    assert_eq!((cancel.kind, cancel.points, cancel.effective_at), (EntryKind::Cancel, -100, start + 14 * DAY));
    assert_eq!(bench.run(resolve("delivered", Some("p"), true)), Err(Refusal::NothingPending));
    bench.run(resolve("delivered", None, true)).unwrap();
    assert_eq!(bench.balances(), (60, 0, 0, 0));
    // What has been given up or has lapsed is not taken back once more.
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.balances(), (0, 0, 0, 40));
}

#[test]
fn what_opens_repays_what_is_owed() {
    let mut bench = Bench::new(on_delivery(None));
    bench.run(adjust(50)).unwrap();
    bench.run(ensure(1, true, 30)).unwrap();
    bench.run(redeem(80)).unwrap();
    bench.run(ensure(2, false, 30)).unwrap();
    bench.run(award("p", 10_000)).unwrap();
    assert_eq!(bench.balances(), (0, 100, 0, 30));
    bench.run(resolve("delivered", None, true)).unwrap();
    assert_eq!(bench.balances(), (70, 0, 0, 0));
}

#[test]
fn a_reservation_for_several_captures_is_closed_once() {
    let mut bench = Bench::new(terms());
    bench.run(award("p", 10_000)).unwrap();
    let several = |points| Command::Reserve(Reserve { wallet: wallet(), points, ttl: None, reference: "o".into(), several: true });
    let part = |reservation: &Reservation, points, last| Command::Capture(Capture { reservation: reservation.id, points, last });
    let Ok(Outcome::Reserved { reservation }) = bench.run(several(60)) else { panic!("reserved") };
    bench.run(part(&reservation, Some(20), false)).unwrap();
    bench.run(part(&reservation, Some(0), false)).unwrap();
    assert_eq!((bench.balances(), bench.account.reservations[0].captured), ((40, 0, 40, 0), 20));
    assert_eq!(bench.run(part(&reservation, Some(41), false)), Err(Refusal::ExceedsReservation { held: 40 }));
    bench.run(part(&reservation, Some(15), true)).unwrap();
    assert_eq!(bench.balances(), (65, 0, 0, 0));
    let ended = Err(Refusal::ReservationEnded(ClosedReservation::Captured));
    assert_eq!(bench.run(part(&reservation, None, false)), ended);
    // All that is left closes it too, and a part does not keep it from ending by time.
    let Ok(Outcome::Reserved { reservation }) = bench.run(several(60)) else { panic!("reserved") };
    bench.run(part(&reservation, Some(10), false)).unwrap();
    bench.run(part(&reservation, None, false)).unwrap();
    assert_eq!(bench.run(Command::Release(Release { reservation: reservation.id })), ended);
    let Ok(Outcome::Reserved { reservation }) = bench.run(several(5)) else { panic!("reserved") };
    bench.run(part(&reservation, Some(1), false)).unwrap();
    bench.now = reservation.expires_at;
    let late = bench.run(part(&reservation, None, false));
    assert_eq!(late, Err(Refusal::ReservationEnded(ClosedReservation::Expired)));
    assert_eq!(bench.balances(), (4, 0, 0, 0));
}

#[test]
fn a_reservation_keeps_its_lots_whatever_happens_to_them() {
    let mut town = Town::new(2, Terms { reservation_ttl: 800 * DAY, ..terms() });
    town.run(1, award("p", 10_000)).unwrap();
    let Ok(Outcome::Reserved { reservation }) = town.run(1, reserve(60)) else { panic!("reserved") };
    let moment = at("2026-06-01T00:00:00Z");
    town.run(1, set_expiry(NewExpiry::At(moment))).unwrap();
    town.merge(0, 1).unwrap();
    town.run(0, set_expiry(NewExpiry::Later(days(5)))).unwrap();
    town.wait(200 * DAY);
    assert_eq!(town.balances(0), (0, 0, 60, 0), "what nobody holds has lapsed");
    let held = town.benches[0].account.reservation(reservation.id).unwrap();
    assert_eq!((held.lots.len(), held.lots[0].0.expiry, held.lots[0].1), (1, Expiry::At(moment + 5 * DAY), 60));
    town.run(1, capture(reservation.id, Some(50))).unwrap();
    assert_eq!(town.balances(0), (0, 0, 0, 0), "the rest lapses when it comes free");
}

#[test]
fn expiry_is_set_for_what_is_meant_only() {
    let by = |lapsing_by: Option<&str>, to| {
        let (reason, approver) = ("goodwill".to_owned(), "staff 7".to_owned());
        Command::SetExpiry(SetExpiry { wallet: wallet(), lapsing_by: lapsing_by.map(at), to, reason, approver })
    };
    let mut bench = Bench::new(terms());
    assert_eq!(bench.run(by(None, NewExpiry::Never)), Err(Refusal::NothingToExtend));
    bench.run(award("january", 10_000)).unwrap();
    bench.now = at("2026-02-15T12:00:00Z");
    bench.run(award("february", 6_000)).unwrap();
    assert_eq!(bench.run(by(None, NewExpiry::At(bench.now))), Err(Refusal::ExpiryNotAhead));
    assert_eq!(bench.run(by(Some("2027-01-31T23:59:59Z"), NewExpiry::Never)), Err(Refusal::NothingToExtend));
    let month = Period { count: 1, unit: CalendarUnit::Month };
    assert_eq!(bench.run(by(Some("2027-02-01T00:00:00Z"), NewExpiry::Later(month))), Ok(Outcome::ExpirySet { points: 100 }));
    assert_eq!(bench.account.wallets[0].next_expiry(), (Some(at("2027-03-01T00:00:00Z")), 160));
    assert_eq!(bench.run(by(None, NewExpiry::Never)), Ok(Outcome::ExpirySet { points: 160 }));
    assert_eq!(bench.run(by(None, NewExpiry::Never)), Err(Refusal::NothingToExtend));
    assert_eq!(bench.account.next_due(), None);
}

#[test]
fn a_debt_is_forgiven_up_to_what_is_owed() {
    let forgive = |points| {
        let (reason, approver) = ("goodwill".to_owned(), "staff 7".to_owned());
        Command::Forgive(Forgive { wallet: wallet(), points, reason, approver })
    };
    let mut bench = Bench::new(terms());
    assert_eq!(bench.run(forgive(None)), Err(Refusal::ExceedsDeficit { deficit: 0 }));
    bench.run(award("p", 10_000)).unwrap();
    bench.run(redeem(100)).unwrap();
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.run(forgive(Some(101))), Err(Refusal::ExceedsDeficit { deficit: 100 }));
    bench.run(forgive(Some(30))).unwrap();
    assert_eq!(bench.deficit(), 70);
    assert_eq!(bench.run(forgive(None)), Ok(Outcome::Forgiven { points: 70 }));
    assert_eq!(bench.balances(), (0, 0, 0, 0));
}

proptest! {
    /// Rule 3 and the contract of the clock: however often somebody comes by, the same is done as of the same moments.
    #[test]
    fn settling_early_or_late_once_or_often_comes_to_the_same(
        activation in prop_oneof![
            Just(Activation::Immediate),
            (1_i32..40).prop_map(|count| Activation::After(days(count))),
            (1_i32..40).prop_map(|count| Activation::On { event: "delivered".into(), cancel_after: Some(days(count)) }),
        ],
        life in prop_oneof![
            (1_i32..60).prop_map(|count| Life::For(days(count), Rounding::None)),
            (1_i32..60).prop_map(|count| Life::WhileActive(days(count), Rounding::None)),
        ],
        grace in proptest::option::of((1_i32..20).prop_map(days)),
        story in proptest::collection::vec((0_u64..6, 0_usize..7, 1_i64..90, 1_u64..50), 1..14),
        visits in proptest::collection::vec(0_u64..120, 0..20),
    ) {
        let tell = |visits: &[u64]| {
            let mut bench = Bench::new(Terms { activation: Activation::Immediate, life: life.clone(), restore_grace: grace, ..terms() });
            let plain = bench.versions.clone();
            let waiting = versions(Terms { activation: activation.clone(), ..(*plain.at(bench.now).terms).clone() });
            for (number, (wait, what, size, ttl)) in story.iter().enumerate() {
                bench.now = bench.now + u32::try_from(*wait).unwrap() * DAY;
                bench.versions = if what % 2 == 0 { waiting.clone() } else { plain.clone() };
                let ttl = Some(u32::try_from(*ttl).unwrap() * DAY);
                let hold = Reserve { wallet: wallet(), points: *size / 2 + 1, ttl, reference: "o".into(), several: false };
                let reward = |version, wanted| Command::Ensure(Ensure { key: "k".to_owned(), wallet: wallet(), points: *size, wanted, version, reason: "r".to_owned() });
                let version = i64::try_from(number).unwrap() + 1;
                let _ = match what {
                    0 | 1 => bench.run(award(&number.to_string(), size * 100)),
                    2 => bench.run(redeem(*size)),
                    3 => bench.run(Command::Reserve(hold)),
                    4 => bench.run(reward(version, true)),
                    5 => bench.run(reward(version, false)),
                    _ => bench.run(adjust(*size)),
                };
            }
            let start = bench.now;
            for visit in visits.iter().chain(&[120]) {
                bench.now = start + u32::try_from(*visit).unwrap() * DAY;
                bench.settle();
            }
            bench.check();
            bench
        };
        let mut days = visits;
        days.sort_unstable();
        let (often, once) = (tell(&days), tell(&[]));
        prop_assert_eq!(often.balances(), once.balances());
        let lots = |bench: &Bench| bench.account.wallet(MAIN_WALLET).map(|wallet| wallet.lots.clone());
        prop_assert_eq!(lots(&often), lots(&once));
        let done = |bench: &Bench| bench.entries.iter().map(|entry| (entry.kind, entry.points, entry.effective_at)).collect::<Vec<_>>();
        prop_assert_eq!(done(&often), done(&once));
    }
}
