//! Redeeming, and reserving with its three ends.

use std::time::Duration;

use proto::common::Role;
use proto::points as pb;
use proto::points::reservation::State;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    exactly_so_many_or_none,
    up_to_what_there_is,
    a_hold_leaves_the_balance_at_once,
    a_hold_is_spent_wholly_partly_or_not,
    a_hold_ends_once,
    a_hold_ends_by_time,
    a_hold_keeps_points_from_lapsing,
    a_hold_is_its_members_own,
    another_wallet_must_exist,
);

async fn exactly_so_many_or_none(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let mut platform = suite.platform();
    let request = with(redeem(1, 60), |request| request.reference = "order-7".to_owned());
    let operation = platform.redeem(request).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Redeem, 60, -60));
    assert_eq!(operation.entries[0].reason, "order-7");
    let short = platform.redeem(redeem(1, 41)).await;
    assert_eq!(metadata(&short, "missing_points"), "1");
    assert_eq!(precondition(short), "INSUFFICIENT_POINTS");
    platform.redeem(redeem(1, 40)).await.unwrap();
    assert_eq!(metadata(&platform.redeem(redeem(2, 5)).await, "missing_points"), "5", "of nobody");
    assert_eq!(suite.story(1).await, ["AWARD 100", "REDEEM -60", "REDEEM -40"]);
    suite.verified().await;
}

async fn up_to_what_there_is(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let mut platform = suite.platform();
    for (asked, got) in [(30, -30), (500, -70)] {
        let operation = platform.redeem(up_to(1, asked)).await.unwrap().into_inner();
        assert_eq!((operation.requested_points, operation.actual_points), (asked, got));
    }
    assert_eq!(precondition(platform.redeem(up_to(1, 1)).await), "INSUFFICIENT_POINTS");
}

async fn a_hold_leaves_the_balance_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let request = with(reserve(1, 80), |request| {
        request.ttl = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        request.reference = "order-8".to_owned();
    });
    let operation = suite.platform().reserve(request).await.unwrap().into_inner();
    let held = operation.reservation.clone().unwrap();
    assert_eq!((held.state(), held.points, held.captured_points), (State::Open, 80, 0));
    assert_eq!(held.expire_time, Some(timestamp(START + Duration::from_secs(60))));
    assert_eq!((operation.requested_points, operation.actual_points), (80, 0));
    let entry = &operation.entries[0];
    assert_eq!((entry.kind(), &entry.reservation, entry.reason.as_str()), (pb::EntryKind::Reserve, &held.name, "order-8"));
    assert_eq!(suite.figures(1).await, (20, 0, 80, 0));
    assert_eq!(suite.balance(1).await.wallets[0].lots[0].reserved_points, 80);
    let short = suite.platform().redeem(redeem(1, 21)).await;
    assert_eq!(metadata(&short, "missing_points"), "1");
    assert_eq!(metadata(&suite.platform().reserve(reserve(1, 25)).await, "missing_points"), "5");
    let usual = suite.reserve(1, 20).await.reservation.unwrap();
    assert_eq!(usual.expire_time, Some(timestamp(START + Duration::from_secs(900))), "a quarter of an hour unless told");
    suite.verified().await;
}

async fn a_hold_is_spent_wholly_partly_or_not(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let mut left = 100;
    for (asked, spent) in [(None, 10), (Some(10), 10), (Some(4), 4), (Some(0), 0)] {
        let held = hold(&suite.reserve(1, 10).await);
        let operation = suite.platform().capture(capture(&held, asked)).await.unwrap().into_inner();
        let ended = operation.reservation.clone().unwrap();
        assert_eq!((ended.state(), ended.points, ended.captured_points, &ended.name), (State::Captured, 10, spent, &held));
        assert_eq!((operation.requested_points, operation.actual_points), (spent, -spent));
        left -= spent;
        assert_eq!(suite.figures(1).await, (left, 0, 0, 0));
    }
    let held = hold(&suite.reserve(1, 10).await);
    let much = suite.platform().capture(capture(&held, Some(11))).await;
    assert_eq!(metadata(&much, "held_points"), "10");
    assert_eq!(precondition(much), "EXCEEDS_RESERVATION");
    suite.platform().capture(capture(&held, Some(10))).await.unwrap();
    suite.verified().await;
}

async fn a_hold_ends_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let (spent, freed) = (hold(&suite.reserve(1, 10).await), hold(&suite.reserve(1, 10).await));
    platform.capture(capture(&spent, Some(4))).await.unwrap();
    let operation = platform.release(release(&freed)).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.actual_points), (pb::operation::Kind::Release, 0));
    assert_eq!(operation.reservation.unwrap().state(), State::Released);
    for (held, reason) in [(&spent, "RESERVATION_CAPTURED"), (&freed, "RESERVATION_RELEASED")] {
        assert_eq!(precondition(platform.capture(capture(held, None)).await), reason);
        assert_eq!(precondition(platform.release(release(held)).await), reason);
    }
    let none = format!("{}/reservations/{}", member(1), uuid::Uuid::from_u128(1));
    assert_eq!(refusal(platform.capture(capture(&none, None)).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
    assert_eq!(refusal(platform.release(release(&none)).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
    assert_eq!(suite.figures(1).await, (96, 0, 0, 0));
    suite.verified().await;
}

async fn a_hold_ends_by_time(engine: TestEngine) {
    let suite =
        Suite::with_terms(engine, pb::Terms { reservation_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }), ..terms() }).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let held = hold(&suite.reserve(1, 80).await);
    suite.clock.advance(Duration::from_micros(59_999_999));
    assert_eq!(suite.figures(1).await, (20, 0, 80, 0));
    suite.clock.advance(Duration::from_micros(1));
    // At once, whether or not a job has run.
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    assert_eq!(precondition(platform.capture(capture(&held, None)).await), "RESERVATION_EXPIRED");
    assert_eq!(precondition(platform.release(release(&held)).await), "RESERVATION_EXPIRED");
    platform.redeem(redeem(1, 100)).await.unwrap();
    assert_eq!(suite.story(1).await, ["AWARD 100", "RESERVE 0", "RELEASE 0", "REDEEM -100"]);
    let entries = suite.entries(1).await;
    assert_eq!((entries[2].actor.as_str(), &entries[2].reservation), ("clock", &held));
    assert_eq!(entries[2].effective_time, Some(timestamp(START + Duration::from_secs(60))));
    suite.verified().await;
}

async fn a_hold_keeps_points_from_lapsing(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after: days(10), ..terms() }).await;
    suite.award(1, "p1", 10_000).await;
    let ttl = Some(prost_types::Duration { seconds: 20 * 86_400, nanos: 0 });
    let held = hold(suite.platform().reserve(with(reserve(1, 60), |request| request.ttl = ttl)).await.unwrap().get_ref());
    suite.clock.advance(11 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 60, 0));
    let operation = suite.platform().capture(capture(&held, Some(50))).await.unwrap().into_inner();
    assert_eq!(operation.actual_points, -50);
    // What comes free has lapsed meanwhile and does so now.
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    testkit::eventually(async || {
        suite.story(1).await == ["AWARD 100", "RESERVE 0", "EXPIRE -40", "CAPTURE -50", "RELEASE 0", "EXPIRE -10"]
    })
    .await;
    suite.verified().await;
}

async fn a_hold_is_its_members_own(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    let held = hold(&suite.reserve(1, 80).await);
    let anothers = held.replace(&member(1), &member(2));
    for ended in [false, true] {
        assert_eq!(refusal(platform.capture(capture(&anothers, None)).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
        assert_eq!(refusal(platform.release(release(&anothers)).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
        if !ended {
            platform.capture(capture(&held, None)).await.unwrap();
        }
    }
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (20, 100));
}

async fn another_wallet_must_exist(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let unknown = (Code::NotFound, "WALLET_NOT_FOUND".to_owned());
    assert_eq!(refusal(platform.redeem(with(redeem(1, 1), |request| request.wallet = "stars".to_owned())).await), unknown);
    assert_eq!(refusal(platform.reserve(with(reserve(1, 1), |request| request.wallet = "stars".to_owned())).await), unknown);
    let given = with(adjust(1, 1), |request| request.wallet = "stars".to_owned());
    assert_eq!(refusal(suite.client(Role::Support).await.adjust(given).await), unknown);
    platform.redeem(with(redeem(1, 1), |request| request.wallet = "points".to_owned())).await.unwrap();
    let wallets = suite.balance(1).await.wallets;
    let figures: Vec<_> = wallets.iter().map(|wallet| (wallet.wallet.as_str(), wallet.active_points)).collect();
    assert_eq!(figures, [("points", 99)]);
}
