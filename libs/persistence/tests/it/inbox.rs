use persistence::{Database, Error, Migration, Tx, on_engine, retry};
use testkit::TestEngine;

static MIGRATIONS: &[Migration] =
    &[Migration { file: "0001_effects.sql", sql: "CREATE TABLE applied (batch {int} NOT NULL, replica {int} NOT NULL) {strict};" }];

testkit::on_each_engine!(
    a_cursor_begins_empty_and_moves,
    a_cursor_that_has_moved_is_a_conflict,
    cursor_and_effect_are_one,
    two_replicas_apply_each_batch_once,
);

async fn a_cursor_begins_empty_and_moves(engine: TestEngine) {
    let database = engine.open("tiers", MIGRATIONS).await;
    assert_eq!(cursor(&database).await, None);
    advance(&database, None, "one").await.unwrap();
    assert_eq!(cursor(&database).await.as_deref(), Some("one"));
    advance(&database, Some("one"), "two").await.unwrap();
    assert_eq!(cursor(&database).await.as_deref(), Some("two"));
    let mut tx = database.read().await.unwrap();
    assert_eq!(tx.cursor("standing", "members").await.unwrap(), None);
    assert_eq!(tx.cursor("other", "points").await.unwrap(), None);
}

async fn a_cursor_that_has_moved_is_a_conflict(engine: TestEngine) {
    let database = engine.open("tiers", MIGRATIONS).await;
    advance(&database, None, "one").await.unwrap();
    for stale in [None, Some("nought"), Some("ONE")] {
        let error = advance(&database, stale, "two").await.unwrap_err();
        assert!(matches!(error, Error::Conflict), "{error:?}");
    }
    assert_eq!(cursor(&database).await.as_deref(), Some("one"));
}

async fn cursor_and_effect_are_one(engine: TestEngine) {
    let database = engine.open("tiers", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    tx.advance_cursor("standing", "points", None, "one").await.unwrap();
    apply(&mut tx, 1, 1).await.unwrap();
    drop(tx);
    assert_eq!((cursor(&database).await, applied(&database).await), (None, vec![]));
}

async fn two_replicas_apply_each_batch_once(engine: TestEngine) {
    const BATCHES: i64 = 40;
    let databases = [engine.open("tiers", MIGRATIONS).await, engine.open("tiers", MIGRATIONS).await];
    let replica = async |number: i64, database: &Database| {
        loop {
            let last = retry(|| async {
                let mut tx = database.begin().await?;
                let before = tx.cursor("standing", "points").await?;
                let batch = before.as_deref().map_or(0, |text| text.parse::<i64>().unwrap());
                if batch == BATCHES {
                    return Ok::<_, Error>(true);
                }
                tx.advance_cursor("standing", "points", before.as_deref(), &(batch + 1).to_string()).await?;
                apply(&mut tx, batch + 1, number).await?;
                tx.commit().await?;
                Ok(false)
            });
            if last.await.unwrap() {
                return;
            }
        }
    };
    tokio::join!(replica(1, &databases[0]), replica(2, &databases[1]), replica(3, &databases[0]));
    assert_eq!(applied(&databases[0]).await, (1..=BATCHES).collect::<Vec<_>>());
}

async fn cursor(database: &Database) -> Option<String> {
    database.read().await.unwrap().cursor("standing", "points").await.unwrap()
}

async fn advance(database: &Database, expected: Option<&str>, next: &str) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.advance_cursor("standing", "points", expected, next).await?;
    tx.commit().await
}

async fn apply(tx: &mut Tx, batch: i64, replica: i64) -> Result<(), Error> {
    let sql = "INSERT INTO applied (batch, replica) VALUES ($1, $2)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(batch).bind(replica).execute(conn).await?.rows_affected());
    Ok(())
}

async fn applied(database: &Database) -> Vec<i64> {
    let mut tx = database.read().await.unwrap();
    on_engine!(tx, |conn| sqlx::query_scalar("SELECT batch FROM applied ORDER BY batch").fetch_all(conn).await.unwrap())
}
