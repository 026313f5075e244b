//! What falls due: activations, ends of reservations, expiries.

use persistence::{DbTime, on_engine};
use proto::common::Role;
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    points_come_alive_and_lapse_by_themselves,
    what_is_due_counts_before_it_is_settled,
    an_operation_settles_what_was_due_before_it,
    settling_tells_what_it_did,
    settling_goes_in_bounded_batches,
    two_servers_settle_nothing_twice,
    accounts_of_programs_that_are_gone_keep_nobody_waiting,
);

fn short_lived() -> pb::Terms {
    pb::Terms { activate_after: days(1), expire_after: days(30), ..terms() }
}

async fn points_come_alive_and_lapse_by_themselves(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(DAY);
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "ACTIVATE 0"]).await;
    let held = hold(&suite.reserve(1, 10).await);
    suite.clock.advance(29 * DAY);
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "ACTIVATE 0", "RESERVE 0", "RELEASE 0"]).await;
    suite.clock.advance(DAY);
    testkit::eventually(async || suite.story(1).await.last().unwrap() == "EXPIRE -100").await;
    let entries = suite.entries(1).await;
    assert_eq!(entries[3].reservation, held);
    assert_eq!((entries[1].effective_time, entries[1].actor.as_str()), (Some(timestamp(START + DAY)), "clock"));
    assert_eq!((entries[4].effective_time, entries[4].operation.as_str()), (Some(timestamp(START + 31 * DAY)), ""));
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn what_is_due_counts_before_it_is_settled(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    suite.award(1, "p1", 10_000).await;
    // Held, no job can settle the account, and a reader does not wait for it.
    let held = suite.lock(1).await;
    suite.clock.advance(DAY);
    let balance = suite.balance(1).await;
    assert_eq!((figures(&balance), balance.version), ((100, 0, 0, 0), 1));
    assert_eq!(balance.as_of_time, Some(timestamp(suite.now())));
    suite.clock.advance(30 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    assert_eq!(suite.story(1).await, ["AWARD 100"]);
    drop(held);
    suite.verified().await;
}

async fn an_operation_settles_what_was_due_before_it(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    suite.award(1, "p1", 10_000).await;
    let mut won = 0;
    for number in 2..=8 {
        // The job may be faster now and then; most often the operation is.
        suite.clock.advance(DAY);
        let operation = suite.award(1, &format!("p{number}"), 10_000).await;
        let kinds = story(&operation.entries);
        won += i32::from(kinds == ["ACTIVATE 0", "AWARD 100"]);
        assert!(kinds == ["ACTIVATE 0", "AWARD 100"] || kinds == ["AWARD 100"], "{kinds:?}");
        assert_eq!(operation.actual_points, 100);
    }
    assert!(won > 0);
    suite.clock.advance(DAY);
    suite.platform().redeem(redeem(1, 800)).await.unwrap();
    assert_eq!(suite.entries(1).await.len(), 8 + 8 + 1);
    suite.verified().await;
}

async fn settling_tells_what_it_did(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    let mut service = suite.client(Role::Service).await;
    let nothing = service.settle_due(settle(0)).await.unwrap().into_inner();
    assert_eq!(nothing, pb::SettleDueResponse::default());
    let mut won = 0;
    for owner in 1..=6 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
        suite.clock.advance(DAY);
        let request = settle(0);
        let done = service.settle_due(request.clone()).await.unwrap().into_inner();
        let all = pb::SettleDueResponse { accounts: 1, activated_points: 100, ..Default::default() };
        assert!(done == all || done == nothing, "{done:?}");
        won += i32::from(done == all);
        assert_eq!(suite.entries(owner).await.len(), 2);
        let again = service.settle_due(request).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), done);
    }
    assert!(won > 0, "the job was faster every time");
    // The same request many times at once is answered with one answer.
    let request = settle(0);
    suite.award(7, "p7", 10_000).await;
    suite.clock.advance(DAY);
    let calls = (0..20).map(|_| {
        let (mut service, request) = (service.clone(), request.clone());
        async move { service.settle_due(request).await.unwrap() }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    suite.verified().await;
}

async fn settling_goes_in_bounded_batches(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    let awards = (1..=30).map(|owner| {
        let mut platform = suite.platform();
        async move { platform.award(award(owner, &format!("p{owner}"), 10_000)).await.unwrap() }
    });
    futures::future::join_all(awards).await;
    let mut administrator = suite.administrator();
    suite.clock.advance(40 * DAY);
    let (mut accounts, mut more) = (0, true);
    while more {
        let done = administrator.settle_due(settle(7)).await.unwrap().into_inner();
        assert!(done.accounts <= 7 && done.expired_points == 100 * done.accounts && done.activated_points == done.expired_points);
        (accounts, more) = (accounts + done.accounts, done.more);
    }
    assert!(accounts <= 30);
    for owner in 1..=30 {
        assert_eq!(suite.story(owner).await, ["AWARD 100", "ACTIVATE 0", "EXPIRE -100"]);
    }
    assert_eq!(suite.verified().await.points["tea"], 0);
}

async fn two_servers_settle_nothing_twice(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    let replica = suite.replica().await;
    let (mut here, mut there) = (suite.administrator(), replica.client(Role::Service).await);
    let awards = (1..=40).map(|owner| {
        let mut platform = suite.platform();
        async move { platform.award(award(owner, &format!("p{owner}"), 10_000)).await.unwrap() }
    });
    futures::future::join_all(awards).await;
    for (span, kinds) in [(1, 2), (30, 3)] {
        suite.clock.advance(span * DAY);
        // The job of each server and a caller of each: four at once.
        let (one, other) = tokio::join!(here.settle_due(settle(0)), there.settle_due(settle(0)));
        let settled = one.unwrap().into_inner().accounts + other.unwrap().into_inner().accounts;
        assert!(settled <= 40, "{settled} of 40 accounts");
        for owner in 1..=40 {
            assert_eq!(suite.entries(owner).await.len(), kinds);
        }
    }
    assert_eq!(suite.verified().await.points["tea"], 0);
    replica.stop().await;
    suite.stop().await;
}

/// More of them than the clock takes at a time have been due for longer than anybody else.
async fn accounts_of_programs_that_are_gone_keep_nobody_waiting(engine: TestEngine) {
    let suite = Suite::with_terms(engine, short_lived()).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    for number in 0..600_u128 {
        let (account, program) = (uuid::Uuid::from_u128(number), if number % 2 == 0 { "gone" } else { "No Program" });
        let written = on_engine!(tx, |conn| sqlx::query(
            "INSERT INTO accounts (account_id, program, member, version, active, pending, reserved, deficit, next_due_at, state)
             SELECT $1, $2, member, version, active, pending, reserved, deficit, $3, state FROM accounts WHERE account_id = $4",
        )
        .bind(account)
        .bind(program)
        .bind(DbTime(START - DAY))
        .bind(super::suite::account(1))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()));
        assert_eq!(written.unwrap(), 1);
    }
    // Nor does one that cannot be read.
    let garbage = on_engine!(tx, |conn| sqlx::query("UPDATE accounts SET next_due_at = $1, state = $2 WHERE account_id = $3")
        .bind(DbTime(START - DAY))
        .bind(vec![0xff_u8])
        .bind(super::suite::account(2))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()));
    assert_eq!(garbage.unwrap(), 1);
    tx.commit().await.unwrap();
    suite.clock.advance(DAY);
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "ACTIVATE 0"]).await;
}
