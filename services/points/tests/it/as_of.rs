//! Balances as of a time, in both senses: what had taken effect, and what was known.

use std::time::Duration;

use kernel::Timestamp;
use proto::common::Role;
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    what_is_told_late_was_effective_before_and_known_after,
    each_entry_says_what_was_known_then,
    what_fell_due_counts_from_then,
    all_four_figures_are_told,
    nobody_had_nothing,
    a_time_lies_not_ahead,
    only_figures_are_told,
    a_merge_is_in_the_books_of_both,
);

async fn as_of(suite: &Suite, owner: u128, effective: Option<Timestamp>, known: Option<Timestamp>) -> pb::Balance {
    let request =
        pb::GetBalanceRequest { member: member(owner), effective_by_time: effective.map(timestamp), known_by_time: known.map(timestamp) };
    suite.platform().get_balance(request).await.unwrap().into_inner()
}

fn day(number: u32) -> Timestamp {
    START + number * DAY
}

async fn what_is_told_late_was_effective_before_and_known_after(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(3 * DAY);
    let offline = with(award(1, "p2", 5_000), |request| input(request).occur_time = Some(timestamp(day(1))));
    platform.award(offline).await.unwrap();
    suite.clock.advance(DAY);
    let late = with(down_to("p1", 9_000), |request| request.occur_time = Some(timestamp(day(2))));
    platform.return_purchase(late).await.unwrap();
    suite.clock.advance(DAY);
    platform.redeem(redeem(1, 30)).await.unwrap();
    let (before, none) = (Duration::from_micros(1), None);
    let cases = [
        (Some(day(0) - before), none, 0, 0),
        (Some(day(0)), none, 100, 1),
        (Some(day(1) - before), none, 100, 1),
        (Some(day(1)), none, 150, 2),
        (Some(day(2)), none, 140, 3),
        (Some(day(5)), none, 110, 4),
        (none, Some(day(0) - before), 0, 0),
        (none, Some(day(2)), 100, 1),
        (none, Some(day(3) - before), 100, 1),
        (none, Some(day(3)), 150, 2),
        (none, Some(day(4)), 140, 3),
        (none, Some(day(5)), 110, 4),
        // What one would have said on the third day about the second, and what one says on the fourth.
        (Some(day(2)), Some(day(2)), 100, 1),
        (Some(day(2)), Some(day(3)), 150, 2),
        (Some(day(2)), Some(day(4)), 140, 3),
        (Some(day(1)), Some(day(4)), 150, 2),
        (Some(day(0)), Some(day(5)), 100, 1),
    ];
    for (effective, known, points, version) in cases {
        let told = as_of(&suite, 1, effective, known).await;
        assert_eq!((figures(&told), told.version), ((points, 0, 0, 0), version), "effective by {effective:?}, known by {known:?}");
        assert_eq!(told.as_of_time, Some(timestamp(effective.unwrap_or(suite.now()))));
        assert_eq!((told.known_time, told.member), (known.map(timestamp), member(1)));
    }
}

async fn each_entry_says_what_was_known_then(engine: TestEngine) {
    let terms = pb::Terms { activate_after: days(1), expire_after: days(5), remind_before: days(1), ..terms() };
    let suite = Suite::with_terms(engine, terms).await;
    let mut platform = suite.platform();
    for number in 0..8 {
        suite.award(1, &format!("p{number}"), 10_000).await;
        if let Ok(held) = platform.reserve(reserve(1, 40)).await {
            platform.capture(capture(&hold(held.get_ref()), Some(15))).await.unwrap();
        }
        let _ = platform.redeem(up_to(1, 130)).await;
        platform.return_purchase(down_to(&format!("p{}", number / 2), 1_000 * (9 - number))).await.unwrap();
        suite.clock.advance(DAY);
    }
    suite.client(Role::Service).await.settle_due(settle(0)).await.unwrap();
    let entries = suite.entries(1).await;
    assert!(entries.len() > 30);
    for entry in entries {
        let at = entry.record_time.map(|at| Timestamp::from_parts(at.seconds, at.nanos).unwrap());
        let told = as_of(&suite, 1, None, at).await;
        let says = (entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after);
        assert_eq!((figures(&told), told.version), (says, entry.version));
    }
    suite.verified().await;
}

async fn what_fell_due_counts_from_then(engine: TestEngine) {
    let terms = pb::Terms { activate_after: days(1), expire_after: days(10), ..terms() };
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 10_000).await;
    let held = suite.lock(1).await;
    suite.clock.advance(20 * DAY);
    // Nothing has been written: that they lapsed is known now, and was not known before.
    let moments = [(0, (0, 100, 0, 0)), (1, (100, 0, 0, 0)), (10, (100, 0, 0, 0)), (11, (0, 0, 0, 0)), (20, (0, 0, 0, 0))];
    for (number, expected) in moments {
        assert_eq!(figures(&as_of(&suite, 1, Some(day(number)), None).await), expected, "day {number}");
        assert_eq!(figures(&as_of(&suite, 1, Some(day(number)), Some(day(number))).await), (0, 100, 0, 0), "day {number}, as known then");
    }
    assert_eq!(suite.story(1).await, ["AWARD 100"]);
    drop(held);
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "ACTIVATE 0", "EXPIRE -100"]).await;
    for (number, expected) in moments {
        assert_eq!(figures(&as_of(&suite, 1, Some(day(number)), None).await), expected, "day {number}");
        assert_eq!(figures(&as_of(&suite, 1, Some(day(number)), Some(day(10))).await), (0, 100, 0, 0), "day {number}, as known before");
    }
}

async fn all_four_figures_are_told(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(DAY);
    let held = hold(&suite.reserve(1, 30).await);
    suite.clock.advance(Duration::from_secs(600));
    platform.redeem(redeem(1, 70)).await.unwrap();
    platform.return_purchase(down_to("p1", 5_000)).await.unwrap();
    let owed = suite.now();
    suite.clock.advance(DAY);
    suite.new_terms(pb::Terms { activate_on: waits_for("delivered", None), ..terms() }, suite.now()).await;
    suite.award(1, "p2", 2_000).await;
    platform.release(release(&held)).await.unwrap_err();
    assert_eq!(figures(&as_of(&suite, 1, Some(day(0)), None).await), (100, 0, 0, 0));
    assert_eq!(figures(&as_of(&suite, 1, Some(day(1)), None).await), (70, 0, 30, 0));
    assert_eq!(figures(&as_of(&suite, 1, Some(owed), None).await), (0, 0, 30, 50));
    // The reservation ended after a quarter of an hour, by the clock, and what came free repaid.
    assert_eq!(figures(&as_of(&suite, 1, Some(day(1) + Duration::from_secs(900)), None).await), (0, 0, 0, 20));
    let now = as_of(&suite, 1, Some(suite.now()), None).await;
    assert_eq!((figures(&now), figures(&now)), ((0, 20, 0, 20), suite.figures(1).await));
    suite.verified().await;
}

async fn nobody_had_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (effective, known) in [(Some(START), None), (None, Some(START)), (Some(START), Some(START))] {
        let told = as_of(&suite, 1, effective, known).await;
        let expected = pb::Balance {
            member: member(1),
            wallets: vec![pb::WalletBalance { wallet: "points".to_owned(), ..Default::default() }],
            version: 0,
            as_of_time: Some(timestamp(START)),
            known_time: known.map(timestamp),
        };
        assert_eq!(told, expected);
    }
}

async fn a_time_lies_not_ahead(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (ahead, now) = (Some(timestamp(START + Duration::from_micros(1))), Some(timestamp(START)));
    for (effective_by_time, known_by_time, field) in [
        (ahead, None, "effective_by_time"),
        (None, ahead, "known_by_time"),
        (now, ahead, "known_by_time"),
        (ahead, ahead, "effective_by_time"),
    ] {
        let request = pb::GetBalanceRequest { member: member(1), effective_by_time, known_by_time };
        let refused = suite.platform().get_balance(request).await;
        assert_eq!(metadata(&refused, "field"), field);
        assert_eq!(refusal(refused), (Code::InvalidArgument, "TIME_IN_FUTURE".to_owned()));
    }
}

async fn only_figures_are_told(engine: TestEngine) {
    let terms = pb::Terms { activate_after: days(1), expire_after: days(10), ..terms() };
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 10_000).await;
    let told = as_of(&suite, 1, Some(START), None).await;
    let wallet = pb::WalletBalance { wallet: "points".to_owned(), pending_points: 100, ..Default::default() };
    assert_eq!(told.wallets, [wallet]);
}

async fn a_merge_is_in_the_books_of_both(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 5_000).await;
    suite.clock.advance(2 * DAY);
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
    for (number, one, other) in [(1, 100, 50), (2, 150, 0)] {
        assert_eq!(figures(&as_of(&suite, 1, Some(day(number)), None).await).0, one);
        assert_eq!(figures(&as_of(&suite, 2, Some(day(number)), None).await).0, other);
        assert_eq!(figures(&as_of(&suite, 2, None, Some(day(number))).await).0, other);
    }
    suite.verified().await;
}
