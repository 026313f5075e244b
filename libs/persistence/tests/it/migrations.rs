use futures::future::join_all;
use persistence::{Error, Migration, on_engine};
use testkit::TestEngine;

const FIRST: Migration = Migration { file: "0001_shops.sql", sql: "CREATE TABLE shops (shop {key} NOT NULL PRIMARY KEY) {strict};" };
const SECOND: Migration =
    Migration { file: "0002_shops_open.sql", sql: "ALTER TABLE shops ADD COLUMN open {bool};\nINSERT INTO shops (shop) VALUES ('one');" };
const BROKEN: Migration =
    Migration { file: "0002_broken.sql", sql: "CREATE TABLE bills (id {key} NOT NULL PRIMARY KEY) {strict}; CREATE NONSENSE;" };
const CHANGED: Migration = Migration { file: "0001_shops.sql", sql: "CREATE TABLE shops (other {key} NOT NULL PRIMARY KEY) {strict};" };

testkit::on_each_engine!(
    opening_again_changes_nothing,
    a_later_change_is_applied,
    processes_that_start_at_once_apply_each_change_once,
    an_older_program_does_not_open_a_newer_schema,
    a_changed_migration_is_refused,
    a_broken_change_leaves_nothing,
);

async fn opening_again_changes_nothing(engine: TestEngine) {
    engine.open("shops", &[FIRST, SECOND]).await;
    engine.open("shops", &[FIRST, SECOND]).await;
    assert_eq!(shops(&engine, &[FIRST, SECOND]).await, 1);
}

async fn a_later_change_is_applied(engine: TestEngine) {
    engine.open("shops", &[FIRST]).await;
    assert_eq!(shops(&engine, &[FIRST, SECOND]).await, 1);
}

async fn processes_that_start_at_once_apply_each_change_once(engine: TestEngine) {
    let opened = join_all((0..6).map(|_| engine.try_open("shops", &[FIRST, SECOND]))).await;
    for database in opened {
        database.unwrap();
    }
    assert_eq!(shops(&engine, &[FIRST, SECOND]).await, 1);
}

async fn an_older_program_does_not_open_a_newer_schema(engine: TestEngine) {
    engine.open("shops", &[FIRST, SECOND]).await;
    let error = engine.try_open("shops", &[FIRST]).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
}

async fn a_changed_migration_is_refused(engine: TestEngine) {
    engine.open("shops", &[FIRST]).await;
    let error = engine.try_open("shops", &[CHANGED]).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
}

async fn a_broken_change_leaves_nothing(engine: TestEngine) {
    let error = engine.try_open("shops", &[FIRST, BROKEN]).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
    assert_eq!(shops(&engine, &[FIRST, SECOND]).await, 1);
}

async fn shops(engine: &TestEngine, migrations: &[Migration]) -> i64 {
    let database = engine.open("shops", migrations).await;
    let mut tx = database.read().await.unwrap();
    on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM shops").fetch_one(conn).await.unwrap())
}

#[tokio::test]
async fn an_unknown_engine_is_refused() {
    let options = persistence::DatabaseOptions::new("mysql://somewhere");
    let error = persistence::Database::open(&options, "shops", &[]).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    // Port 1 is reserved; nobody listens.
    let options = persistence::DatabaseOptions::new("postgres://postgres@127.0.0.1:1/postgres");
    let error = persistence::Database::open(&options, "shops", &[]).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}
