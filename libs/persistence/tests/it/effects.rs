use std::collections::BTreeSet;
use std::time::Duration;

use kernel::Timestamp;
use persistence::{Database, DueEffect, Effect, EffectBacklog};
use testkit::{START, TestEngine};

const LEASE: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(60);

testkit::on_each_engine!(
    an_effect_is_due_once_and_done,
    the_same_again_changes_nothing,
    a_change_is_a_new_version,
    what_is_wanted_once_does_not_change,
    a_change_overtakes_the_attempt_under_way,
    an_effect_waits_until_it_is_due,
    a_failed_attempt_comes_back,
    a_lease_ends,
    workers_get_different_effects,
    kinds_are_apart_and_counted,
);

async fn an_effect_is_due_once_and_done(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    let taken = due(&database, START).await;
    assert_eq!(taken, [DueEffect { effect: reward("r1"), version: 1, attempt: 1 }]);
    assert_eq!(due(&database, START).await, []);
    done(&database, "r1", 1).await;
    assert_eq!(due(&database, START + LATER).await, []);
    let state = database.read().await.unwrap().effect("r1").await.unwrap().unwrap();
    assert_eq!((state.version, state.done_version, state.attempts, state.next_attempt_at), (1, 1, 1, None));
    assert_eq!(database.read().await.unwrap().effect("r2").await.unwrap(), None);
}

async fn the_same_again_changes_nothing(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    due(&database, START).await;
    want(&database, &reward("r1"), START).await;
    assert_eq!(due(&database, START).await, []);
    done(&database, "r1", 1).await;
    want(&database, &reward("r1"), START).await;
    assert_eq!(due(&database, START + LATER).await, []);
}

async fn a_change_is_a_new_version(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    due(&database, START).await;
    done(&database, "r1", 1).await;
    let undone = Effect { wanted: false, ..reward("r1") };
    want(&database, &undone, START).await;
    assert_eq!(due(&database, START).await, [DueEffect { effect: undone, version: 2, attempt: 1 }]);
    done(&database, "r1", 2).await;
    let other = Effect { payload: b"more".to_vec(), ..reward("r1") };
    want(&database, &other, START).await;
    assert_eq!(due(&database, START).await, [DueEffect { effect: other, version: 3, attempt: 1 }]);
}

async fn what_is_wanted_once_does_not_change(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    let more = Effect { payload: b"more".to_vec(), wanted: false, ..reward("r1") };
    for effect in [&reward("r1"), &more, &reward("r1")] {
        let mut tx = database.begin().await.unwrap();
        tx.want_effect_once(effect, START).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(due(&database, START).await, [DueEffect { effect: reward("r1"), version: 1, attempt: 1 }]);
    done(&database, "r1", 1).await;
    let mut tx = database.begin().await.unwrap();
    tx.want_effect_once(&more, START).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(due(&database, START + LATER).await, []);
}

async fn a_change_overtakes_the_attempt_under_way(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    due(&database, START).await;
    let undone = Effect { wanted: false, ..reward("r1") };
    want(&database, &undone, START).await;
    // The first version's worker comes back late, once with success and once with failure: the second stays due.
    failed(&database, "r1", 1, START + LATER).await;
    done(&database, "r1", 1).await;
    assert_eq!(due(&database, START).await, [DueEffect { effect: undone, version: 2, attempt: 1 }]);
    done(&database, "r1", 2).await;
    failed(&database, "r1", 2, START).await;
    done(&database, "r1", 1).await;
    let state = database.read().await.unwrap().effect("r1").await.unwrap().unwrap();
    assert_eq!((state.done_version, state.next_attempt_at), (2, None));
}

async fn an_effect_waits_until_it_is_due(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START + LATER).await;
    assert_eq!(due(&database, START).await, []);
    assert_eq!(due(&database, START + LATER).await.len(), 1);
}

async fn a_failed_attempt_comes_back(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    due(&database, START).await;
    failed(&database, "r1", 1, START + LATER).await;
    assert_eq!(due(&database, START + LEASE).await, []);
    assert_eq!(due(&database, START + LATER).await, [DueEffect { effect: reward("r1"), version: 1, attempt: 2 }]);
}

async fn a_lease_ends(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    due(&database, START).await;
    assert_eq!(due(&database, START + LEASE - Duration::from_micros(1)).await, []);
    assert_eq!(due(&database, START + LEASE).await.len(), 1);
}

async fn workers_get_different_effects(engine: TestEngine) {
    let databases = [engine.open("referrals", &[]).await, engine.open("referrals", &[]).await];
    let mut tx = databases[0].begin().await.unwrap();
    for number in 0..40 {
        tx.want_effect(&reward(&format!("r{number}")), START).await.unwrap();
    }
    tx.commit().await.unwrap();
    let take = async |database: &Database| {
        let mut tx = database.begin().await.unwrap();
        let taken = tx.due_effects("reward", START, LEASE, 10).await.unwrap();
        // Slow, so that the others meet the rows while they are locked.
        tokio::time::sleep(Duration::from_millis(20)).await;
        tx.commit().await.unwrap();
        assert_eq!(taken.len(), 10);
        taken.into_iter().map(|due| due.effect.key).collect::<Vec<_>>()
    };
    let (a, b, c, d) = tokio::join!(take(&databases[0]), take(&databases[1]), take(&databases[0]), take(&databases[1]));
    let all: BTreeSet<String> = [a, b, c, d].into_iter().flatten().collect();
    assert_eq!(all.len(), 40);
}

async fn kinds_are_apart_and_counted(engine: TestEngine) {
    let database = engine.open("referrals", &[]).await;
    want(&database, &reward("r1"), START).await;
    want(&database, &reward("r2"), START).await;
    want(&database, &Effect { kind: "survey".to_owned(), ..reward("s1") }, START).await;
    assert_eq!(due(&database, START).await.len(), 2);
    assert_eq!(due(&database, START + LEASE).await.len(), 2);
    done(&database, "r1", 1).await;
    let backlog = database.read().await.unwrap().effect_backlog().await.unwrap();
    let of = |kind: &str, failing| EffectBacklog { kind: kind.to_owned(), waiting: 1, failing };
    assert_eq!(backlog, [of("reward", 1), of("survey", 0)]);
}

fn reward(key: &str) -> Effect {
    Effect { key: key.to_owned(), kind: "reward".to_owned(), wanted: true, payload: b"500 points".to_vec() }
}

async fn want(database: &Database, effect: &Effect, due: Timestamp) {
    let mut tx = database.begin().await.unwrap();
    tx.want_effect(effect, due).await.unwrap();
    tx.commit().await.unwrap();
}

async fn due(database: &Database, now: Timestamp) -> Vec<DueEffect> {
    let mut tx = database.begin().await.unwrap();
    let due = tx.due_effects("reward", now, LEASE, 100).await.unwrap();
    tx.commit().await.unwrap();
    due
}

async fn done(database: &Database, key: &str, version: i64) {
    let mut tx = database.begin().await.unwrap();
    tx.effect_done(key, version).await.unwrap();
    tx.commit().await.unwrap();
}

async fn failed(database: &Database, key: &str, version: i64, next: Timestamp) {
    let mut tx = database.begin().await.unwrap();
    tx.effect_failed(key, version, next).await.unwrap();
    tx.commit().await.unwrap();
}
