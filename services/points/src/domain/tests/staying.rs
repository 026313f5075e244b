//! What a return leaves with the member stays counted, and a period of another length is counted anew.

use super::limits::{limit, trims};
use super::promotions::points;
use super::wallets::stars;
use super::*;

/// A point that stays with the member is counted, and nothing else is: in one go or in slices.
#[test]
fn what_stays_with_the_member_stays_counted() {
    let few = Some(limit(0, 990, LimitPeriod::Day));
    let promoted = |promotion: Promotion| Terms { promotions: vec![promotion].into(), ..terms() };
    let cases = [
        (promoted(Promotion { limit: few, ..points("p", 990) }), 999),
        (promoted(Promotion { budget: few, ..points("p", 990) }), 999),
        (Terms { limits: vec![trims("l", LimitScope::Member, limit(0, 1_000, LimitPeriod::Day))], ..promoted(points("p", 990)) }, 999),
        (Terms { limits: vec![trims("l", LimitScope::Program, limit(0, 1_000, LimitPeriod::Day))], ..promoted(points("p", 990)) }, 999),
        // It was got once, and not all of it has gone back.
        (promoted(Promotion { limit: Some(limit(1, 0, LimitPeriod::Day)), ..points("p", 990) }), 10),
    ];
    for (terms, again) in cases {
        for slices in [&[0][..], &[500, 0], &[999, 500, 1, 0]] {
            let mut bench = Bench::new(Terms { return_policy: ReturnPolicy::WithinBalance, ..terms.clone() });
            bench.run(award("a", 1_000)).unwrap();
            bench.run(redeem(1)).unwrap();
            for left in slices {
                bench.run(remaining("a", *left)).unwrap();
            }
            assert_eq!((bench.active(), bench.purchases[0].stays), (0, 1));
            bench.run(award("b", 1_000)).unwrap();
            assert_eq!(bench.active(), again, "{slices:?}");
            bench.run(remaining("b", 0)).unwrap();
            bench.run(award("c", 1_000)).unwrap();
            assert_eq!(bench.active(), again, "all of the second has gone back");
        }
    }
}

/// What stays of several parts is of the last of them; other wallets have theirs.
#[test]
fn what_stays_is_of_the_last_parts() {
    let limited = |id: &str, most: i64| Promotion { limit: Some(limit(0, 100, LimitPeriod::Ever)), ..points(id, most) };
    let star = Promotion { wallet: Some("stars".into()), ..limited("star", 7) };
    let promotions = vec![limited("a", 20), limited("b", 30), star];
    let wallets = vec![stars(Decimal::ZERO)];
    let policy = ReturnPolicy::WithinBalance;
    let mut bench = Bench::new(Terms { promotions: promotions.into(), wallets, return_policy: policy, ..terms() });
    bench.run(award("a", 1_000)).unwrap();
    bench.run(redeem(35)).unwrap();
    bench.run(within("stars", redeem(3))).unwrap();
    bench.run(remaining("a", 0)).unwrap();
    let counted: Vec<_> = bench.account.counts.iter().map(|count| (&*count.of, count.times, count.points)).collect();
    assert_eq!(counted, [("promotion:a", 1, 5), ("promotion:b", 1, 30), ("promotion:star", 1, 3)]);
}

/// A period that begins on the same day is another one: what was counted by the day says nothing of the week.
#[test]
fn a_period_of_another_length_is_counted_anew() {
    let within = |period| Promotion { limit: Some(limit(0, 30, period)), budget: Some(limit(0, 30, period)), ..points("p", 30) };
    let limits =
        |period| vec![trims("l", LimitScope::Member, limit(0, 40, period)), trims("all", LimitScope::Program, limit(0, 40, period))];
    let of = |period| Terms { promotions: vec![within(period)].into(), limits: limits(period), ..terms() };
    let mut bench = Bench::new(of(LimitPeriod::Month));
    bench.now = at("2026-01-01T08:00:00Z");
    bench.run(award("a", 1_000)).unwrap();
    let year = versions(of(LimitPeriod::Year));
    bench.versions = year;
    bench.run(award("b", 1_000)).unwrap();
    assert_eq!(bench.active(), 80, "the year has had nothing yet");
    assert_eq!((bench.account.counts.len(), bench.shared.len()), (4, 4));
    // Long after the month, and what was counted in it, has been forgotten.
    bench.now = at("2026-04-20T08:00:00Z");
    bench.run(award("c", 1_000)).unwrap();
    assert_eq!(bench.active(), 80, "and has had all of it now");
    assert_eq!(bench.account.counts.len(), 2);
}
