use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use persistence::{Connection, Database, Error, IsRetryable, Migration, Tx, on_engine, retry};
use testkit::TestEngine;
use tokio::sync::Barrier;

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_counters.sql",
    sql: "CREATE TABLE counters (name {key} NOT NULL PRIMARY KEY, value {int} NOT NULL) {hot};
          INSERT INTO counters (name, value) VALUES ('a', 0), ('b', 0);",
}];

testkit::on_each_engine!(a_conflict_is_tried_again, other_errors_are_not_tried_again, attempts_have_an_end);

async fn a_conflict_is_tried_again(engine: TestEngine) {
    let database = engine.open("counters", MIGRATIONS).await;
    let attempts = AtomicU32::new(0);
    let done = retry(|| async {
        let mut tx = database.begin().await?;
        add(&mut tx, "a").await?;
        if attempts.fetch_add(1, Ordering::Relaxed) < 3 {
            return Err(Error::Conflict);
        }
        tx.commit().await
    });
    done.await.unwrap();
    assert_eq!(attempts.into_inner(), 4);
    assert_eq!(value(&database, "a").await, 1, "an attempt that failed has left something");
}

async fn other_errors_are_not_tried_again(engine: TestEngine) {
    let database = engine.open("counters", MIGRATIONS).await;
    let attempts = AtomicU32::new(0);
    let done = retry(|| async {
        attempts.fetch_add(1, Ordering::Relaxed);
        let mut tx = database.begin().await?;
        let sql = "INSERT INTO counters (name, value) VALUES ('a', 1)";
        on_engine!(tx, |conn| sqlx::query(sql).execute(conn).await?.rows_affected());
        tx.commit().await
    });
    assert!(matches!(done.await.unwrap_err(), Error::Unique { .. }));
    assert_eq!(attempts.into_inner(), 1);
}

async fn attempts_have_an_end(_engine: TestEngine) {
    let attempts = AtomicU32::new(0);
    let done: Result<(), Error> = retry(|| async {
        attempts.fetch_add(1, Ordering::Relaxed);
        Err(Error::Conflict)
    })
    .await;
    assert!(done.unwrap_err().is_retryable());
    assert_eq!(attempts.into_inner(), 10);
}

#[tokio::test]
async fn a_serialization_failure_is_tried_again() {
    let engine = testkit::postgres().await;
    let database = engine.open("counters", MIGRATIONS).await;
    let attempts = AtomicU32::new(0);
    retry(|| async {
        let mut tx = database.begin().await?;
        let Connection::Postgres(conn) = tx.connection() else { unreachable!() };
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *conn).await?;
        let _: i64 = sqlx::query_scalar("SELECT value FROM counters WHERE name = 'a'").fetch_one(&mut *conn).await?;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            // Somebody else changes the row after this transaction has taken its snapshot.
            let mut other = database.begin().await?;
            add(&mut other, "a").await?;
            other.commit().await?;
            let error = add(&mut tx, "a").await.unwrap_err();
            assert!(matches!(error, Error::Retryable(_)), "{error:?}");
            return Err(error);
        }
        add(&mut tx, "a").await?;
        tx.commit().await
    })
    .await
    .unwrap();
    assert_eq!((attempts.into_inner(), value(&database, "a").await), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again() {
    let engine = testkit::postgres().await;
    let database = engine.open("counters", MIGRATIONS).await;
    let both_hold_one = Barrier::new(2);
    let attempts = AtomicU32::new(0);
    let crosswise = async |first: &str, second: &str| {
        let met = AtomicU32::new(0);
        retry(|| async {
            attempts.fetch_add(1, Ordering::Relaxed);
            let mut tx = database.begin().await?;
            add(&mut tx, first).await?;
            if met.fetch_add(1, Ordering::Relaxed) == 0 {
                both_hold_one.wait().await;
            }
            add(&mut tx, second).await?;
            tx.commit().await
        })
        .await
        .unwrap();
    };
    tokio::join!(crosswise("a", "b"), crosswise("b", "a"));
    assert_eq!((value(&database, "a").await, value(&database, "b").await), (2, 2));
    assert!(attempts.into_inner() > 2, "nobody had to try again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_file_is_tried_again() {
    let engine = testkit::sqlite().await;
    let database = engine.open("counters", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    // The one writer keeps its connection, so it also keeps this.
    on_engine!(tx, |conn| sqlx::query("PRAGMA busy_timeout = 1").execute(conn).await.unwrap().rows_affected());
    tx.commit().await.unwrap();

    // Another process, which holds the file.
    let other = engine.open("counters", MIGRATIONS).await;
    let holding = other.begin().await.unwrap();
    let error = database.begin().await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Retryable(_)), "{error:?}");
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(holding);
    };
    let write = retry(|| async {
        let mut tx = database.begin().await?;
        add(&mut tx, "a").await?;
        tx.commit().await
    });
    let (done, ()) = tokio::join!(write, release);
    done.unwrap();
    assert_eq!(value(&database, "a").await, 1);
}

async fn add(tx: &mut Tx, name: &str) -> Result<(), Error> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = $1";
    on_engine!(tx, |conn| sqlx::query(sql).bind(name).execute(conn).await?.rows_affected());
    Ok(())
}

async fn value(database: &Database, name: &str) -> i64 {
    let mut tx = database.read().await.unwrap();
    let sql = "SELECT value FROM counters WHERE name = $1";
    on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(name).fetch_one(conn).await.unwrap())
}
