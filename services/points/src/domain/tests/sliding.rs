//! Points that live as long as the member does something.

use super::*;

fn days(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Day }
}

const DAY: Duration = Duration::from_secs(86_400);

fn sliding() -> Terms {
    Terms { life: Life::WhileActive(days(10), Rounding::None), ..terms() }
}

fn lapses(bench: &Bench) -> Option<Timestamp> {
    bench.account.wallets[0].next_expiry().0
}

#[test]
fn what_the_member_does_keeps_all_points_alive() {
    let mut bench = Bench::new(Terms { activities: vec![review(5)], ..sliding() });
    let start = bench.now;
    let doings = [award("p", 10_000), activity("review", "1"), redeem(1)];
    for (number, doing) in doings.into_iter().enumerate() {
        bench.now = bench.now + 9 * DAY;
        bench.run(doing).unwrap();
        assert_eq!(lapses(&bench), Some(bench.now + 10 * DAY), "doing {number}");
    }
    // Nobody but the member keeps them alive.
    let until = bench.now + 10 * DAY;
    bench.now = bench.now + 9 * DAY;
    bench.run(adjust(7)).unwrap();
    bench.run(ensure(1, true, 3)).unwrap();
    bench.run(remaining("p", 9_900)).unwrap();
    assert_eq!(lapses(&bench), Some(until));
    bench.now = until;
    bench.settle();
    assert_eq!(bench.balances(), (0, 0, 0, 0));
    assert!(bench.now > start + 30 * DAY);
}

#[test]
fn points_given_to_an_inactive_member_live_as_long_as_any() {
    for gift in [adjust(50), ensure(1, true, 50)] {
        let mut bench = Bench::new(sliding());
        bench.run(award("p", 10_000)).unwrap();
        bench.now = bench.now + 100 * DAY;
        bench.run(gift).unwrap();
        assert_eq!((bench.active(), lapses(&bench)), (50, Some(bench.now + 10 * DAY)));
    }
}

#[test]
fn points_that_open_late_live_from_then_on() {
    let mut bench = Bench::new(Terms { activation: Activation::After(days(30)), ..sliding() });
    let start = bench.now;
    bench.run(award("p", 10_000)).unwrap();
    bench.now = start + 35 * DAY;
    bench.settle();
    assert_eq!((bench.active(), lapses(&bench)), (100, Some(start + 40 * DAY)));
}

#[test]
fn what_was_spent_before_the_others_lapsed_does_not_come_back_alive() {
    for (grace, after) in [(None, 0), (Some(days(3)), 60)] {
        let mut bench = Bench::new(Terms { restore_grace: grace, ..sliding() });
        bench.run(award("p", 10_000)).unwrap();
        bench.run(redeem(60)).unwrap();
        let redemption = Uuid::from_u128(bench.operations);
        bench.now = bench.now + 20 * DAY;
        bench.run(award("q", 1_000)).unwrap();
        assert_eq!(bench.active(), 10, "the rest of the first hundred has lapsed");
        bench.run(refund(redemption, None)).unwrap();
        assert_eq!(bench.active(), 10 + after);
        if after > 0 {
            assert_eq!(lapses(&bench), Some(bench.now + 3 * DAY));
        }
    }
}

#[test]
fn what_was_held_when_the_others_lapsed_does_not_slide_any_more() {
    for (held, captured) in [(60, 0), (60, 60), (100, 0), (100, 100)] {
        let mut bench = Bench::new(Terms { reservation_ttl: 30 * DAY, ..sliding() });
        bench.run(award("p", 10_000)).unwrap();
        let lapsed_at = bench.now + 10 * DAY;
        let Ok(Outcome::Reserved { reservation }) = bench.run(reserve(held)) else { panic!("reserved") };
        assert_eq!(bench.account.next_due(), Some(lapsed_at));
        bench.now = bench.now + 20 * DAY;
        bench.run(award("q", 1_000)).unwrap();
        assert_eq!(bench.balances(), (10, 0, held, 0), "what is held stays usable");
        assert_eq!(bench.account.reservation(reservation.id).unwrap().lots[0].0.expiry, Expiry::At(lapsed_at));
        bench.run(capture(reservation.id, Some(captured))).unwrap();
        if captured > 0 {
            bench.run(refund(Uuid::from_u128(bench.operations), None)).unwrap();
        }
        assert_eq!(bench.balances(), (10, 0, 0, 0));
    }
}
