//! Two servers on one database.

use std::time::Duration;

use futures::future::join_all;
use persistence::on_engine;
use proto::common::Role;
use testkit::TestEngine;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    one_member_at_two_servers,
    what_was_read_before_another_wrote_is_not_written,
    what_another_server_did_counts_at_once,
    commits_that_a_database_lost_leave_no_gap,
    points_are_spent_once_at_two_servers,
    one_request_at_two_servers,
    strangers_at_two_servers,
    new_members_at_two_servers,
    one_reward_at_two_servers
);

async fn one_member_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let calls = (0..120_i64).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move {
            match number % 3 {
                0 | 1 => server.award(award(1, &format!("p{number}"), 1_000)).await.map(|_| 10),
                _ => server.redeem(redeem(1, 7)).await.map(|_| -7).or(Ok(0)),
            }
        }
    });
    let moved: i64 = join_all(calls).await.into_iter().map(|moved: Result<i64, tonic::Status>| moved.unwrap()).sum();
    assert_eq!(suite.figures(1).await, (moved, 0, 0, 0));
    let versions: Vec<i64> = suite.entries(1).await.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, (1..=i64::try_from(versions.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(suite.verified().await.points["tea"], i128::from(moved));
    let told: Vec<i64> = suite.events(versions.len()).await.iter().map(|event| event.aggregate_version).collect();
    assert_eq!(told, versions);
    replica.stop().await;
    suite.stop().await;
}

/// Both servers have read the same balance when they come to write: of two who would spend all of it one does, and what both may do
/// both do, one after the other.
async fn what_was_read_before_another_wrote_is_not_written(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    suite.award(1, "p0", 10_000).await;
    for (first, second, left) in [(redeem(1, 60), redeem(1, 40), 0), (redeem(1, 100), redeem(1, 100), 0)] {
        let held = suite.lock(1).await;
        let (mut one, mut other) = (suite.platform(), replica.platform.clone());
        let calls = [tokio::spawn(async move { one.redeem(first).await }), tokio::spawn(async move { other.redeem(second).await })];
        // Long enough for both to have read, as far as they can without the lock.
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.commit().await.unwrap();
        let spent: i64 =
            join_all(calls).await.into_iter().filter_map(|done| done.unwrap().ok()).map(|done| done.get_ref().actual_points).sum();
        assert_eq!((spent, suite.figures(1).await), (-100, (left, 0, 0, 0)));
        suite.award(1, "p1", 10_000).await;
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

/// Each server answers by what there is, whatever it has written itself.
async fn what_another_server_did_counts_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let (mut one, mut other) = (suite.platform(), replica.platform.clone());
    for round in 0..4 {
        one.award(award(1, &format!("p{round}"), 10_000)).await.unwrap();
        other.redeem(redeem(1, 100)).await.unwrap();
        assert_eq!(refusal(one.redeem(redeem(1, 50)).await).1, "INSUFFICIENT_POINTS");
        other.award(award(1, &format!("q{round}"), 5_000)).await.unwrap();
        one.redeem(redeem(1, 50)).await.unwrap();
        // A request that the other has answered.
        let again = award(1, &format!("r{round}"), 100);
        let first = other.award(again.clone()).await.unwrap().into_inner();
        assert_eq!(one.award(again).await.unwrap().into_inner(), first);
        one.redeem(redeem(1, 1)).await.unwrap();
    }
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

/// A database that fails over to a copy which lags behind has lost commits: the server goes on from what there is.
async fn commits_that_a_database_lost_leave_no_gap(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 1_000).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    let row = "SELECT active, state FROM accounts WHERE account_id = $1";
    let (active, state): (i64, Vec<u8>) = on_engine!(tx, |conn| sqlx::query_as(row).bind(account(1)).fetch_one(conn).await).unwrap();
    tx.commit().await.unwrap();
    suite.award(1, "p2", 1_000).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    let back = "UPDATE accounts SET version = version - 1, active = $2, state = $3 WHERE account_id = $1";
    on_engine!(tx, |conn| sqlx::query(back).bind(account(1)).bind(active).bind(&state[..]).execute(conn).await.map(|_| ())).unwrap();
    let lost = "DELETE FROM entries WHERE account_id = $1 AND version = 2";
    on_engine!(tx, |conn| sqlx::query(lost).bind(account(1)).execute(conn).await.map(|_| ())).unwrap();
    tx.commit().await.unwrap();
    suite.award(1, "p3", 500).await;
    let entries = suite.entries(1).await;
    assert_eq!(entries.iter().map(|entry| (entry.version, entry.active_after)).collect::<Vec<_>>(), [(1, 10), (2, 15)]);
    suite.stop().await;
}

/// Twenty at once for the same 100 points, half of them at each server: one gets them. Then for three hundreds.
async fn points_are_spent_once_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    for (round, hundreds) in [1, 1, 1, 3].into_iter().enumerate() {
        let owner = 1 + round as u128;
        suite.award(owner, &format!("p{round}"), 10_000 * hundreds).await;
        let calls = (0..20).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            async move { server.redeem(redeem(owner, 100)).await }
        });
        let (spent, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(spent.len(), usize::try_from(hundreds).unwrap(), "one success for each hundred");
        assert!(refused.into_iter().all(|answer| precondition(answer) == "INSUFFICIENT_POINTS"));
        assert_eq!(suite.figures(owner).await, (0, 0, 0, 0));
    }
    assert_eq!(suite.verified().await.points["tea"], 0);
    replica.stop().await;
    suite.stop().await;
}

async fn one_request_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    for round in 0..10_u128 {
        let (request, contested) = (award(1, &format!("p{round}"), 1_000), format!("contested-{round}"));
        let calls = (0..10).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let request = request.clone();
            async move { server.award(request).await.unwrap() }
        });
        let answers = join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
        assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
        // One purchase id by buyers whose accounts no lock has in common.
        let calls = (1..=10).map(|buyer| {
            let mut server = if buyer % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let request = award(10 + buyer, &contested, 1_000);
            async move { server.award(request).await }
        });
        let (bought, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(bought.len(), 1);
        assert!(refused.into_iter().all(|answer| refusal(answer).1 == "PURCHASE_EXISTS"));
    }
    assert_eq!(suite.verified().await.points["tea"], 200);
    replica.stop().await;
    suite.stop().await;
}

async fn strangers_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    suite.platform().award(award_lines(0, "p1", &[("a", 40, 4_000)])).await.unwrap();
    let calls = (0..40).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.return_purchase(give_back("p1", &[("a", 1)])).await.unwrap() }
    });
    join_all(calls).await;
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.remaining_net, kept.returns, kept.returned_quantities), (yuan(0), 40, vec![40]));
    let told: Vec<i64> = suite.events(41).await.iter().map(|event| event.aggregate_version).collect();
    assert_eq!(told, (1..=41).collect::<Vec<_>>());
    replica.stop().await;
    suite.stop().await;
}

async fn new_members_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let calls = (0..160_u128).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.award(award(1 + number % 40, &format!("p{number}"), 1_000)).await.unwrap() }
    });
    join_all(calls).await;
    let report = suite.verified().await;
    assert_eq!((report.accounts, report.entries, report.points["tea"]), (40, 160, 1_600));
    replica.stop().await;
    suite.stop().await;
}

async fn one_reward_at_two_servers(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let (here, there) = (suite.client(Role::Service).await, replica.client(Role::Service).await);
    for round in 0..5 {
        let key = format!("referral/{round}/FRIEND");
        let wishes = (1..=16_u128).map(|number| {
            let mut server = if number % 2 == 0 { here.clone() } else { there.clone() };
            // Eight members, each asked for twice.
            let request = ensure(1 + number % 8, &key, 10, true, 1);
            async move { server.ensure_reward(request).await }
        });
        let (granted, refused): (Vec<_>, Vec<_>) = join_all(wishes).await.into_iter().partition(Result::is_ok);
        assert_eq!(granted.len(), 2, "both wishes of one member");
        assert!(refused.into_iter().all(|answer| refusal(answer).1 == "REWARD_EXISTS"));
    }
    assert_eq!(suite.verified().await.points["tea"], 50);
    replica.stop().await;
    suite.stop().await;
}
