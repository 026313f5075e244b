//! Damage on purpose, and that the verification of the books finds it.

use persistence::{Engine, on_engine};
use proto::common::Role;
use proto::points as pb;
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
    what_was_sealed_cannot_be_changed_unseen,
    books_cannot_be_turned_back_unseen,
    what_purchases_redemptions_and_rewards_say_is_compared,
    what_was_given_back_in_two_accounts_is_added_up,
    a_redemption_of_anothers_entry_is_found,
    a_purchase_put_back_without_its_returns_is_found,
    the_newest_seals_cannot_go_unseen,
    seals_of_nobody_are_found,
    a_seal_that_follows_none_is_found,
    more_points_than_a_number_holds_are_counted,
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
pub(crate) async fn damage(suite: &Suite, sql: &str) {
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
pub(crate) async fn found(suite: &Suite) -> Vec<String> {
    let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
    assert!(!report.differences.is_empty(), "the damage was not found");
    assert!(report.differences.iter().all(|difference| difference.member == member(2)), "{report:?}");
    report.differences.into_iter().map(|difference| difference.what).collect()
}

/// What each statement damages is told with these words.
async fn each(engine: TestEngine, damages: &[(&str, &str)]) {
    each_in(&books(engine).await, damages).await;
}

async fn each_in(suite: &Suite, damages: &[(&str, &str)]) {
    for (sql, words) in damages {
        let [before, after] = sql.split('|').collect::<Vec<_>>()[..] else { panic!("damage and repair: {sql}") };
        damage(suite, before).await;
        let found = found(suite).await;
        assert!(found.iter().any(|what| what.contains(words)), "{before}: {found:?}");
        damage(suite, after).await;
        suite.verified().await;
    }
}

async fn clean_books_have_no_differences(engine: TestEngine) {
    let suite = books(engine).await;
    suite.client(Role::Service).await.ensure_reward(ensure(3, "r1", 8, true, 1)).await.unwrap();
    let report = suite.verified().await;
    assert_eq!((report.accounts, report.entries, report.points["tea"]), (3, 13, 3 * 120 + 8));
    let mut seen = Vec::new();
    points::verify(suite.points().await, &keyring(), |accounts| seen.push(accounts)).await.unwrap();
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
    let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
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
    assert_eq!(points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap().accounts, 3);
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

/// Books of which all entries but the last of each member have been sealed.
async fn sealed_books(engine: TestEngine) -> Suite {
    let suite = books(engine).await;
    // Two processes seal, and of each seal there is one.
    let replica = suite.replica().await;
    suite.clock.advance(DAY);
    // A reservation has ended meanwhile: an entry that is too young.
    for owner in 1..=3 {
        testkit::eventually(async || suite.entries(owner).await.len() == 5).await;
    }
    testkit::eventually(async || {
        let mut tx = suite.points().await.read().await.unwrap();
        let sealed: Vec<(i64,)> =
            on_engine!(tx, |conn| sqlx::query_as("SELECT version FROM counted_seals ORDER BY account_id, version").fetch_all(conn).await)
                .unwrap();
        sealed == [(4,), (4,), (4,)]
    })
    .await;
    replica.stop().await;
    suite
}

async fn what_was_sealed_cannot_be_changed_unseen(engine: TestEngine) {
    let suite = sealed_books(engine).await;
    suite.verified().await;
    // It moves no point, so the books add up as before.
    damage(&suite, "UPDATE entries SET occurred_at = recorded_at WHERE account_id = $1 AND version = 3").await;
    assert_eq!(found(&suite).await, ["the entries up to version 4 are not those that were sealed"]);
    // Who changes the seal too has not the key.
    damage(
        &suite,
        "UPDATE counted_seals SET hash = (SELECT hash FROM counted_seals s WHERE s.account_id <> $1 LIMIT 1) WHERE account_id = $1",
    )
    .await;
    assert_eq!(found(&suite).await, ["the entries up to version 4 are not those that were sealed"]);
    damage(&suite, "UPDATE counted_seals SET key_version = 9 WHERE account_id = $1").await;
    assert_eq!(found(&suite).await, ["the key of the seal at version 4, number 9, is not there"]);
}

async fn books_cannot_be_turned_back_unseen(engine: TestEngine) {
    let suite = books(engine).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("CREATE TABLE before AS SELECT * FROM accounts").execute(conn).await.map(|_| ())).unwrap();
    tx.commit().await.unwrap();
    suite.award(2, "r2", 1_000).await;
    suite.clock.advance(DAY);
    testkit::eventually(async || {
        let mut tx = suite.points().await.read().await.unwrap();
        let sealed: i64 =
            on_engine!(tx, |conn| sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM counted_seals WHERE account_id = $1")
                .bind(account(2))
                .fetch_one(conn)
                .await)
            .unwrap();
        sealed == 5
    })
    .await;
    testkit::eventually(async || suite.entries(2).await.len() == 6).await;
    // As if the last award and what followed had never been: everything else agrees.
    damage(
        &suite,
        "UPDATE accounts SET (version, active, pending, reserved, deficit, next_due_at, state) =
             (SELECT version, active, pending, reserved, deficit, next_due_at, state FROM before WHERE account_id = $1)
          WHERE account_id = $1",
    )
    .await;
    assert_eq!(found(&suite).await, ["the entries up to version 5 were sealed, and some are not there"]);
}

async fn what_purchases_redemptions_and_rewards_say_is_compared(engine: TestEngine) {
    let suite = books(engine).await;
    let mut service = suite.client(Role::Service).await;
    let spent = suite.platform().redeem(redeem(2, 40)).await.unwrap().into_inner().name;
    suite.platform().refund_redemption(refund(&spent, Some(15))).await.unwrap();
    suite.platform().return_purchase(down_to("p2", 6_000)).await.unwrap();
    suite.platform().return_purchase(down_to("p2", 5_000)).await.unwrap();
    service.ensure_reward(ensure(2, "r1", 8, true, 1)).await.unwrap();
    service.ensure_reward(ensure(2, "r2", 9, true, 1)).await.unwrap();
    service.ensure_reward(ensure(2, "r2", 9, false, 2)).await.unwrap();
    suite.verified().await;
    each_in(
        &suite,
        &[
            (
                "UPDATE redemptions SET refunded = 16 WHERE account_id = $1 AND refunded = 15|\
                 UPDATE redemptions SET refunded = 15 WHERE account_id = $1 AND refunded = 16",
                "15 points of its redemption were given back, the redemption says 16",
            ),
            (
                "UPDATE redemptions SET refunded = 5 WHERE account_id = $1 AND refunded = 0|\
                 UPDATE redemptions SET refunded = 0 WHERE account_id = $1 AND refunded = 5",
                "entry 2: 0 points of its redemption were given back, the redemption says 5",
            ),
            (
                "UPDATE redemptions SET version = 9 WHERE account_id = $1 AND version = 2|\
                 UPDATE redemptions SET version = 2 WHERE account_id = $1 AND version = 9",
                "entry 2: its redemption names entry 9",
            ),
            (
                "UPDATE purchases SET due_points = 51 WHERE account_id = $1 AND returns = 2|\
                 UPDATE purchases SET due_points = 50 WHERE account_id = $1 AND returns = 2",
                "entry 1: its purchase and the returns of it say that it earned 101 points",
            ),
            (
                "UPDATE purchases SET due_points = 51 WHERE account_id = $1 AND returns = 0|\
                 UPDATE purchases SET due_points = 50 WHERE account_id = $1 AND returns = 0",
                "entry 4: the details of its purchase do not say what its columns say",
            ),
            (
                "UPDATE purchases SET remaining_net = 6000 WHERE account_id = $1 AND returns = 2|\
                 UPDATE purchases SET remaining_net = 5000 WHERE account_id = $1 AND returns = 2",
                "entry 1: its purchase has a net of 10000, what is left and its returns come to 11000",
            ),
            (
                "UPDATE purchases SET returns = 3 WHERE account_id = $1 AND returns = 2|\
                 UPDATE purchases SET returns = 2 WHERE account_id = $1 AND returns = 3",
                "entry 1: its purchase counts 3 returns, and 2 are there",
            ),
            (
                "UPDATE purchase_returns SET due_points_delta = -11 WHERE number = 2
                    AND purchase_key IN (SELECT purchase_key FROM purchases WHERE account_id = $1)|\
                 UPDATE purchase_returns SET due_points_delta = -10 WHERE number = 2
                    AND purchase_key IN (SELECT purchase_key FROM purchases WHERE account_id = $1)",
                "earned 101 points",
            ),
            (
                "UPDATE purchase_returns SET due_points_delta = -9 WHERE number = 2
                    AND purchase_key IN (SELECT purchase_key FROM purchases WHERE account_id = $1)|\
                 UPDATE purchase_returns SET due_points_delta = -10 WHERE number = 2
                    AND purchase_key IN (SELECT purchase_key FROM purchases WHERE account_id = $1)",
                "50 points of its purchase were taken back, its returns say 49",
            ),
            (
                "UPDATE rewards SET granted = 9 WHERE account_id = $1 AND granted = 8|\
                 UPDATE rewards SET granted = 8 WHERE account_id = $1 AND granted = 9",
                "8 points of its reward are granted, the reward says 9",
            ),
            (
                "UPDATE rewards SET granted = 9 WHERE account_id = $1 AND granted = 0|\
                 UPDATE rewards SET granted = 0 WHERE account_id = $1 AND granted = 9",
                "0 points of its reward are granted, the reward says 9",
            ),
        ],
    )
    .await;
}

/// By such a row the same points could be given back a second time.
async fn a_redemption_of_anothers_entry_is_found(engine: TestEngine) {
    let suite = books(engine).await;
    let award = "SELECT operation FROM entries WHERE account_id = $1 AND version = 1";
    damage(
        &suite,
        &format!("INSERT INTO redemptions SELECT ({award}), account_id, version, 0 FROM redemptions WHERE account_id = $1 AND version = 2"),
    )
    .await;
    let [what] = &found(&suite).await[..] else { panic!("one difference") };
    assert!(what.starts_with("entry 2: the redemption") && what.ends_with("names it and is another's"), "{what}");
    // Nor may one name what spent nothing, if it is its own operation.
    damage(&suite, &format!("UPDATE redemptions SET version = 1 WHERE account_id = $1 AND redemption = ({award})")).await;
    let [what] = &found(&suite).await[..] else { panic!("one difference") };
    assert!(what.starts_with("entry 1: the redemption"), "{what}");
}

/// As if the goods had never gone back: they could a second time.
async fn a_purchase_put_back_without_its_returns_is_found(engine: TestEngine) {
    let suite = books(engine).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("CREATE TABLE before AS SELECT * FROM purchases").execute(conn).await.map(|_| ())).unwrap();
    tx.commit().await.unwrap();
    suite.platform().return_purchase(down_to("p2", 6_000)).await.unwrap();
    // One of them in the books of who has taken the account in.
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
    suite.platform().return_purchase(down_to("p2", 5_000)).await.unwrap();
    suite.verified().await;
    let key = "SELECT purchase_key FROM purchases WHERE account_id = $1 AND returns > 0";
    for number in [1, 2] {
        damage(&suite, &format!("DELETE FROM purchase_returns WHERE number = {number} AND purchase_key IN ({key})")).await;
    }
    damage(
        &suite,
        "UPDATE purchases SET (remaining_net, due_points, returns, details) =
             (SELECT remaining_net, due_points, returns, details FROM before WHERE before.purchase_key = purchases.purchase_key)
          WHERE account_id = $1 AND returns = 2",
    )
    .await;
    let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
    let [difference] = &report.differences[..] else { panic!("{report:?}") };
    assert!(difference.what.ends_with("2 returns of its purchase took points back, the purchase counts 0"), "{difference:?}");
}

async fn what_was_given_back_in_two_accounts_is_added_up(engine: TestEngine) {
    let suite = books(engine).await;
    let mut platform = suite.platform();
    let mut service = suite.client(Role::Service).await;
    let spent = platform.redeem(redeem(2, 40)).await.unwrap().into_inner().name;
    platform.refund_redemption(refund(&spent, Some(15))).await.unwrap();
    service.ensure_reward(ensure(2, "r1", 8, true, 1)).await.unwrap();
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
    platform.refund_redemption(refund(&spent, Some(10))).await.unwrap();
    service.ensure_reward(ensure(2, "r1", 8, false, 2)).await.unwrap();
    service.ensure_reward(ensure(2, "r1", 5, true, 3)).await.unwrap();
    suite.verified().await;
    for (before, after, words) in [
        ("UPDATE redemptions SET refunded = 24", "UPDATE redemptions SET refunded = 25", "25 points of its redemption"),
        // As much as each of the accounts says by itself.
        ("UPDATE redemptions SET refunded = 15", "UPDATE redemptions SET refunded = 25", "25 points of its redemption"),
        ("UPDATE redemptions SET refunded = 10", "UPDATE redemptions SET refunded = 25", "25 points of its redemption"),
        ("UPDATE rewards SET granted = 8", "UPDATE rewards SET granted = 5", "5 points of its reward are granted, the reward says 8"),
    ] {
        let row = if before.contains("rewards") { "" } else { " AND refunded > 0" };
        damage(&suite, &format!("{before} WHERE account_id = $1{row}")).await;
        let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
        let [difference] = &report.differences[..] else { panic!("{report:?}") };
        assert!(difference.what.contains(words), "{difference:?}");
        damage(&suite, &format!("{after} WHERE account_id = $1{row}")).await;
        suite.verified().await;
    }
}

/// What is wrong with all seals together.
async fn seals_found(suite: &Suite) -> String {
    let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
    let [difference] = &report.differences[..] else { panic!("{report:?}") };
    assert_eq!(difference.member, "seals");
    difference.what.clone()
}

async fn the_newest_seals_cannot_go_unseen(engine: TestEngine) {
    let suite = sealed_books(engine).await;
    assert_eq!(suite.verified().await.seals, 3);
    damage(&suite, "DELETE FROM counted_seals WHERE account_id = $1").await;
    assert_eq!(seals_found(&suite).await, "3 were made, and 2 are there");
    // Nor can whoever does it make a count of his own, or begin a new one.
    damage(&suite, "UPDATE seal_count SET seals = 2 WHERE $1 = $1").await;
    assert_eq!(seals_found(&suite).await, "their count is not the one that was signed");
    damage(&suite, "UPDATE seal_count SET seals = 0, key_version = 0 WHERE $1 = $1").await;
    assert_eq!(seals_found(&suite).await, "0 were made, and 2 are there");
    damage(&suite, "DELETE FROM seal_count WHERE $1 = $1").await;
    assert_eq!(seals_found(&suite).await, "their count is not there");
}

async fn seals_of_nobody_are_found(engine: TestEngine) {
    let suite = sealed_books(engine).await;
    // In the place of a seal that has gone.
    damage(
        &suite,
        "UPDATE counted_seals SET account_id = (SELECT operation FROM entries WHERE account_id = $1 AND version = 1) WHERE account_id = $1",
    )
    .await;
    let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
    let [difference] = &report.differences[..] else { panic!("{report:?}") };
    assert_eq!(difference.what, "there are seals and no account");
}

async fn a_seal_that_follows_none_is_found(engine: TestEngine) {
    let suite = sealed_books(engine).await;
    damage(&suite, "UPDATE counted_seals SET after_version = 2 WHERE account_id = $1").await;
    assert_eq!(found(&suite).await, ["the seal at version 4 does not follow the one before it"]);
}

/// A member's points are a number that the engines can add; those of all members may be more.
async fn more_points_than_a_number_holds_are_counted(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { points_per_unit: "1000000".to_owned(), ..terms() }).await;
    for owner in 1..=2 {
        for number in 0..8 {
            suite.award(owner, &format!("p{owner}-{number}"), 100_000_000_000_000).await;
        }
    }
    let all = suite.verified().await.points["tea"];
    assert_eq!(all, 16 * 1_000_000_000_000 * 1_000_000);
    assert!(all > i128::from(i64::MAX));
    // Nor does a forged one end the verification.
    damage(&suite, &format!("UPDATE entries SET points = {} WHERE account_id = $1 AND version = 8", i64::MAX)).await;
    assert!(found(&suite).await[0].contains("its lots and deficit say"));
}
