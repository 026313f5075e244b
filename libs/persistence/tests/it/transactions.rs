use persistence::{Database, Engine, Error, Migration, NewEvent, Tx, on_engine};
use testkit::TestEngine;

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_cards.sql",
    sql: "CREATE TABLE cards (program {key} NOT NULL, card {key} NOT NULL, points {int} NOT NULL, PRIMARY KEY (program, card)) {hot};
          CREATE TABLE phones (phone {key} NOT NULL, member {key} NOT NULL) {strict};
          CREATE UNIQUE INDEX phones_by_phone ON phones (phone);",
}];

testkit::on_each_engine!(
    what_is_committed_stays,
    what_is_dropped_is_gone,
    a_statement_of_its_own_is_committed_by_itself,
    a_taken_key_names_its_columns,
    a_taken_unique_index_names_its_column,
    a_reader_sees_what_is_committed,
    each_service_has_a_database_of_its_own,
    a_closed_database_is_unavailable,
);

async fn a_statement_of_its_own_is_committed_by_itself(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    let Some(mut tx) = database.autocommit().await.unwrap() else {
        assert_eq!(database.engine(), Engine::Sqlite);
        return;
    };
    insert(&mut tx, "tea", "1", 5).await.unwrap();
    assert_eq!(points(&database, "1").await, Some(5));
    let event = NewEvent { id: uuid::Uuid::nil(), stream: "tea".to_owned(), at: kernel::Timestamp::MIN, payload: Vec::new() };
    assert!(matches!(tx.append_event(event).await, Err(Error::Configuration(_))), "it would be committed apart from what it tells of");
    // A statement that fails undoes itself and no other, and the connection serves on.
    assert!(matches!(insert(&mut tx, "tea", "1", 6).await, Err(Error::Unique { .. })));
    insert(&mut tx, "tea", "2", 7).await.unwrap();
    tx.commit().await.unwrap();
    drop(database.autocommit().await.unwrap());
    assert_eq!((points(&database, "1").await, points(&database, "2").await), (Some(5), Some(7)));
    let mut tx = database.begin().await.unwrap();
    insert(&mut tx, "tea", "3", 8).await.unwrap();
    drop(tx);
    assert_eq!(points(&database, "3").await, None, "a transaction on that connection is one again");
}

async fn what_is_committed_stays(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    assert_eq!(database.name(), "cards");
    let mut tx = database.begin().await.unwrap();
    insert(&mut tx, "tea", "1", 5).await.unwrap();
    tx.commit().await.unwrap();
    drop(database);
    let database = engine.open("cards", MIGRATIONS).await;
    assert_eq!(points(&database, "1").await, Some(5));
}

async fn what_is_dropped_is_gone(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    insert(&mut tx, "tea", "1", 5).await.unwrap();
    drop(tx);
    assert_eq!(points(&database, "1").await, None);
}

async fn a_taken_key_names_its_columns(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    insert(&mut tx, "tea", "13800000001", 5).await.unwrap();
    let error = insert(&mut tx, "tea", "13800000001", 6).await.unwrap_err();
    let Error::Unique { table, columns } = &error else { panic!("{error:?}") };
    assert_eq!((&**table, &**columns), ("cards", "program, card"));
    let text = format!("{error} {error:?}");
    assert!(!text.contains("13800000001"), "the value may be personal: {text}");
}

async fn a_taken_unique_index_names_its_column(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    let sql = "INSERT INTO phones (phone, member) VALUES ($1, $2)";
    on_engine!(tx, |conn| sqlx::query(sql).bind("+86").bind("a").execute(conn).await.unwrap().rows_affected());
    let error: Error = on_engine!(tx, |conn| sqlx::query(sql).bind("+86").bind("b").execute(conn).await.map(|_| ()).unwrap_err().into());
    assert!(matches!(&error, Error::Unique { table, columns } if table == "phones" && columns == "phone"), "{error:?}");
}

async fn a_reader_sees_what_is_committed(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    insert(&mut tx, "tea", "1", 5).await.unwrap();
    // The reader neither waits for the writer nor sees what it has not committed.
    assert_eq!(points(&database, "1").await, None);
    tx.commit().await.unwrap();
    assert_eq!(points(&database, "1").await, Some(5));
}

async fn each_service_has_a_database_of_its_own(engine: TestEngine) {
    let cards = engine.open("cards", MIGRATIONS).await;
    let others = engine.open("others", MIGRATIONS).await;
    let mut tx = cards.begin().await.unwrap();
    insert(&mut tx, "tea", "1", 5).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(points(&others, "1").await, None);
}

async fn a_closed_database_is_unavailable(engine: TestEngine) {
    let database = engine.open("cards", MIGRATIONS).await;
    database.close().await;
    let error = database.begin().await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

async fn insert(tx: &mut Tx, program: &str, card: &str, points: i64) -> Result<(), Error> {
    let sql = "INSERT INTO cards (program, card, points) VALUES ($1, $2, $3)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(program).bind(card).bind(points).execute(conn).await?.rows_affected());
    Ok(())
}

async fn points(database: &Database, card: &str) -> Option<i64> {
    let mut tx = database.read().await.unwrap();
    let sql = "SELECT points FROM cards WHERE card = $1";
    on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(card).fetch_optional(conn).await.unwrap())
}
