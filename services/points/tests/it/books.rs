//! Damage on purpose, and that the verification of the books finds it.

use persistence::{Engine, on_engine};
use proto::common::Role;
use sqlx::AssertSqlSafe;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    clean_books_have_no_differences,
    a_wrong_balance_is_found,
    a_wrong_entry_is_found,
    a_missing_entry_is_found,
    a_missing_account_is_found,
    a_missing_guard_against_doubling_is_found,
    unreadable_rows_are_found_beside_others,
    a_wrong_due_time_is_found,
);

/// Members 1 to 3 with some entries each.
async fn books(engine: TestEngine) -> Suite {
    let suite = Suite::start(engine).await;
    for owner in 1..=3 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
        suite.platform().redeem(redeem(owner, 30)).await.unwrap();
        suite.reserve(owner, 20).await;
        suite.award(owner, &format!("q{owner}"), 5_000).await;
    }
    suite
}

/// Runs a statement that does damage to one row.
async fn damage(suite: &Suite, sql: &str) {
    let mut tx = suite.points().await.begin().await.unwrap();
    let rows = on_engine!(tx, |conn| sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(account(2))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()));
    assert_eq!(rows.unwrap(), 1, "{sql}");
    tx.commit().await.unwrap();
}

/// The only differences are in the books of member 2; what they say.
async fn found(suite: &Suite) -> Vec<String> {
    let report = points::verify(suite.points().await, |_| {}).await.unwrap();
    assert!(!report.differences.is_empty(), "the damage was not found");
    assert!(report.differences.iter().all(|difference| difference.member == member(2)), "{report:?}");
    report.differences.into_iter().map(|difference| difference.what).collect()
}

/// What each statement damages is told with these words.
async fn each(engine: TestEngine, damages: &[(&str, &str)]) {
    let suite = books(engine).await;
    for (sql, words) in damages {
        let [before, after] = sql.split('|').collect::<Vec<_>>()[..] else { panic!("damage and repair: {sql}") };
        damage(&suite, before).await;
        let found = found(&suite).await;
        assert!(found.iter().any(|what| what.contains(words)), "{before}: {found:?}");
        damage(&suite, after).await;
        suite.verified().await;
    }
}

async fn clean_books_have_no_differences(engine: TestEngine) {
    let suite = books(engine).await;
    suite.client(Role::Service).await.ensure_reward(ensure(3, "r1", 8, true, 1)).await.unwrap();
    let report = suite.verified().await;
    assert_eq!((report.accounts, report.entries, report.points["tea"]), (3, 13, 3 * 120 + 8));
    let mut seen = Vec::new();
    points::verify(suite.points().await, |accounts| seen.push(accounts)).await.unwrap();
    assert_eq!(seen.last(), Some(&3));
}

async fn a_wrong_balance_is_found(engine: TestEngine) {
    each(
        engine,
        &[
            (
                "UPDATE accounts SET active = active + 1 WHERE account_id = $1|UPDATE accounts SET active = active - 1 WHERE account_id = $1",
                "balances",
            ),
            ("UPDATE accounts SET deficit = 5 WHERE account_id = $1|UPDATE accounts SET deficit = 0 WHERE account_id = $1", "balances"),
            ("UPDATE accounts SET reserved = 0 WHERE account_id = $1|UPDATE accounts SET reserved = 20 WHERE account_id = $1", "balances"),
            ("UPDATE accounts SET version = 5 WHERE account_id = $1|UPDATE accounts SET version = 4 WHERE account_id = $1", "entries end at"),
            ("UPDATE accounts SET version = 3 WHERE account_id = $1|UPDATE accounts SET version = 4 WHERE account_id = $1", "balances"),
        ],
    )
    .await;
}

async fn a_wrong_entry_is_found(engine: TestEngine) {
    each(
        engine,
        &[
            (
                "UPDATE entries SET points = 101 WHERE account_id = $1 AND version = 1|\
                 UPDATE entries SET points = 100 WHERE account_id = $1 AND version = 1",
                "entry 1: 101 points",
            ),
            (
                "UPDATE entries SET active_after = 0 WHERE account_id = $1 AND version = 2|\
                 UPDATE entries SET active_after = 70 WHERE account_id = $1 AND version = 2",
                "entry 2: says balances",
            ),
            (
                "UPDATE entries SET kind = 99 WHERE account_id = $1 AND version = 2|\
                 UPDATE entries SET kind = 6 WHERE account_id = $1 AND version = 2",
                "entry 2",
            ),
            (
                // Taken for a redemption, the hold would leave the account without its reservation.
                "UPDATE entries SET kind = 6 WHERE account_id = $1 AND version = 3|\
                 UPDATE entries SET kind = 3 WHERE account_id = $1 AND version = 3",
                "reservations",
            ),
            (
                "UPDATE entries SET version = 9 WHERE account_id = $1 AND version = 3|\
                 UPDATE entries SET version = 3 WHERE account_id = $1 AND version = 9",
                "entry 4: follows version 2",
            ),
        ],
    )
    .await;
}

async fn a_missing_entry_is_found(engine: TestEngine) {
    let suite = books(engine).await;
    damage(&suite, "DELETE FROM entries WHERE account_id = $1 AND version = 4").await;
    assert_eq!(found(&suite).await, ["entries end at version 3, the account is at 4"]);
    damage(&suite, "DELETE FROM entries WHERE account_id = $1 AND version = 2").await;
    assert_eq!(found(&suite).await, ["entry 3: follows version 1"]);
}

/// Without these rows the same request, purchase or reservation could take effect a second time.
async fn a_missing_guard_against_doubling_is_found(engine: TestEngine) {
    let suite = books(engine).await;
    let one = |kind: i32| format!("SELECT operation FROM entries WHERE account_id = $1 AND kind = {kind} ORDER BY version LIMIT 1");
    damage(&suite, &format!("DELETE FROM operations WHERE operation_id = ({})", one(6))).await;
    assert_eq!(found(&suite).await, ["entry 2: the answer to its request is not there"]);
    damage(&suite, &format!("DELETE FROM purchases WHERE operation = ({})", one(1))).await;
    damage(&suite, &format!("DELETE FROM reservations WHERE reservation_id = ({})", one(3))).await;
    let all =
        ["entry 1: its purchase is not there", "entry 2: the answer to its request is not there", "entry 3: its reservation is not there"];
    assert_eq!(found(&suite).await, all);
}

async fn a_missing_account_is_found(engine: TestEngine) {
    let suite = books(engine).await;
    damage(&suite, "DELETE FROM accounts WHERE account_id = $1").await;
    let report = points::verify(suite.points().await, |_| {}).await.unwrap();
    // Entries do not tell whose they are; the key of the account does.
    let [difference] = &report.differences[..] else { panic!("{report:?}") };
    assert!(difference.what.contains("no account"), "{difference:?}");
    assert!(difference.member.contains(&account(2).to_string()), "{difference:?}");
}

async fn unreadable_rows_are_found_beside_others(engine: TestEngine) {
    let suite = books(engine).await;
    let garbage = match suite.points().await.engine() {
        Engine::Postgres => "'\\xffffff'::bytea",
        Engine::Sqlite => "x'ffffff'",
    };
    damage(&suite, &format!("UPDATE accounts SET state = {garbage} WHERE account_id = $1")).await;
    assert_eq!(found(&suite).await, ["the account cannot be read: state of an account"]);
    damage(&suite, &format!("UPDATE entries SET details = {garbage} WHERE account_id = $1 AND version = 2")).await;
    assert_eq!(found(&suite).await, ["entry 2: cannot be read: details of an entry"]);
    // The others are looked at all the same, and can be served.
    assert_eq!(points::verify(suite.points().await, |_| {}).await.unwrap().accounts, 3);
    suite.platform().redeem(redeem(3, 1)).await.unwrap();
    assert_eq!(refusal(suite.platform().redeem(redeem(2, 1)).await).0, Code::Internal);
}

async fn a_wrong_due_time_is_found(engine: TestEngine) {
    each(
        engine,
        &[(
            "UPDATE accounts SET next_due_at = NULL WHERE account_id = $1|\
             UPDATE accounts SET next_due_at = (SELECT next_due_at FROM accounts WHERE account_id <> $1 LIMIT 1) WHERE account_id = $1",
            "falls due",
        )],
    )
    .await;
}
