//! The engines differ silently; each difference that matters is pinned here.

use kernel::{Timestamp, Uuid};
use persistence::{Connection, Database, DbTime, Error, Migration, Tx, on_engine};
use testkit::TestEngine;

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_values.sql",
    sql: "CREATE TABLE numbers (id {key} NOT NULL PRIMARY KEY, number {int} NOT NULL) {strict};
          CREATE TABLE moments (at {time}, ordinal {int} NOT NULL) {strict};
          CREATE TABLE things (id {uuid} NOT NULL PRIMARY KEY, content {bytes} NOT NULL, flag {bool} NOT NULL, note {key}) {strict};",
}];

testkit::on_each_engine!(
    an_overflow_is_an_error,
    text_sorts_by_its_bytes,
    ids_differ_by_case,
    nulls_sort_last_in_one_engine_and_first_in_the_other,
    times_come_back_as_they_were_and_sort,
    values_come_back_as_they_were,
    a_row_value_pages,
);

async fn an_overflow_is_an_error(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    put(&mut tx, "a", i64::MAX).await;
    // SQLite would go on with a float; STRICT refuses to store it.
    let sql = "UPDATE numbers SET number = number + 1";
    let error: Error = on_engine!(tx, |conn| sqlx::query(sql).execute(conn).await.map(|_| ()).unwrap_err().into());
    assert!(matches!(error, Error::Database(_)), "{error:?}");
}

async fn text_sorts_by_its_bytes(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    for id in ["b", "a", "B", "A", "_", "ä", "1", "茶"] {
        put(&mut tx, id, 0).await;
    }
    let sql = "SELECT id FROM numbers ORDER BY id";
    let sorted: Vec<String> = on_engine!(tx, |conn| sqlx::query_scalar(sql).fetch_all(conn).await.unwrap());
    assert_eq!(sorted, ["1", "A", "B", "_", "a", "b", "ä", "茶"]);
}

async fn ids_differ_by_case(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    put(&mut tx, "Card", 1).await;
    put(&mut tx, "card", 2).await;
    let sql = "SELECT number FROM numbers WHERE id = $1";
    let number: i64 = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind("card").fetch_one(conn).await.unwrap());
    assert_eq!(number, 2);
}

async fn nulls_sort_last_in_one_engine_and_first_in_the_other(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    moment(&mut tx, None, 0).await;
    moment(&mut tx, Some(testkit::START), 1).await;
    let sql = "SELECT ordinal FROM moments ORDER BY at";
    let plain: Vec<i64> = on_engine!(tx, |conn| sqlx::query_scalar(sql).fetch_all(conn).await.unwrap());
    match tx.connection() {
        Connection::Postgres(_) => assert_eq!(plain, [1, 0]),
        Connection::Sqlite(_) => assert_eq!(plain, [0, 1]),
    }
    // So a statement that sorts what may be NULL says where it belongs.
    let sql = "SELECT ordinal FROM moments ORDER BY at NULLS LAST";
    let said: Vec<i64> = on_engine!(tx, |conn| sqlx::query_scalar(sql).fetch_all(conn).await.unwrap());
    assert_eq!(said, [1, 0]);
}

async fn times_come_back_as_they_were_and_sort(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    let long_ago = Timestamp::from_parts(-62_000_000_000, 123_456_000).unwrap();
    let moments = [Timestamp::MIN, long_ago, Timestamp::from_micros(-1), Timestamp::from_micros(0), testkit::START, Timestamp::MAX];
    for (ordinal, at) in (0..).zip(moments.iter().rev()) {
        moment(&mut tx, Some(*at), ordinal).await;
    }
    let sql = "SELECT at FROM moments ORDER BY at";
    let sorted: Vec<DbTime> = on_engine!(tx, |conn| sqlx::query_scalar(sql).fetch_all(conn).await.unwrap());
    assert_eq!(sorted, moments.map(DbTime));
    let sql = "SELECT COUNT(*) FROM moments WHERE at <= $1";
    let count: i64 = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(DbTime(testkit::START)).fetch_one(conn).await.unwrap());
    assert_eq!(count, 5);
}

async fn values_come_back_as_they_were(engine: TestEngine) {
    #[derive(sqlx::FromRow, PartialEq, Debug)]
    struct Thing {
        id: Uuid,
        content: Vec<u8>,
        flag: bool,
        note: Option<String>,
    }
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    let things = [
        Thing { id: Uuid::from_u128(1), content: vec![0, 255], flag: true, note: Some("茶 \u{1f375}".to_owned()) },
        Thing { id: Uuid::from_u128(2), content: vec![], flag: false, note: None },
    ];
    for Thing { id, content, flag, note } in &things {
        let sql = "INSERT INTO things (id, content, flag, note) VALUES ($1, $2, $3, $4)";
        on_engine!(tx, |conn| sqlx::query(sql).bind(id).bind(content).bind(flag).bind(note).execute(conn).await.unwrap().rows_affected());
    }
    let sql = "SELECT id, content, flag, note FROM things ORDER BY id";
    let read: Vec<Thing> = on_engine!(tx, |conn| sqlx::query_as(sql).fetch_all(conn).await.unwrap());
    assert_eq!(read, things);
}

async fn a_row_value_pages(engine: TestEngine) {
    let database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    for (id, number) in [("a", 1), ("b", 1), ("c", 2)] {
        put(&mut tx, id, number).await;
    }
    let sql = "SELECT id FROM numbers WHERE (number, id) > ($1, $2) ORDER BY number, id";
    let rest: Vec<String> = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(1_i64).bind("a").fetch_all(conn).await.unwrap());
    assert_eq!(rest, ["b", "c"]);
}

/// A writer that passes through `Database::read` is refused where the engine can tell.
#[tokio::test]
async fn sqlite_readers_cannot_write() {
    let engine = testkit::sqlite().await;
    let database: Database = engine.open("values", MIGRATIONS).await;
    let mut tx = database.read().await.unwrap();
    let sql = "INSERT INTO numbers (id, number) VALUES ('a', 1)";
    let refused = on_engine!(tx, |conn| sqlx::query(sql).execute(conn).await.is_err());
    assert!(refused);
}

async fn put(tx: &mut Tx, id: &str, number: i64) {
    let sql = "INSERT INTO numbers (id, number) VALUES ($1, $2)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(id).bind(number).execute(conn).await.unwrap().rows_affected());
}

async fn moment(tx: &mut Tx, at: Option<Timestamp>, ordinal: i64) {
    let sql = "INSERT INTO moments (at, ordinal) VALUES ($1, $2)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(at.map(DbTime)).bind(ordinal).execute(conn).await.unwrap().rows_affected());
}
