use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kernel::{ProgramId, Uuid};
use persistence::{Database, Error, Keyring, Migration, RequestKey, on_engine, retry};
use prost::Message;
use proto::common::Money;
use proto::directory::{CreateProgramRequest, GetProgramRequest, Program};
use proto::points::{AwardRequest, PurchaseInput};
use testkit::{START, TestEngine};

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_programs.sql",
    sql: "CREATE TABLE programs (program {key} NOT NULL PRIMARY KEY, number {int} NOT NULL) {strict};",
}];

const SUBJECT: Uuid = Uuid::from_u128(7);

testkit::on_each_engine!(
    an_answer_is_remembered_byte_for_byte,
    another_payload_is_refused_and_the_field_named,
    a_request_id_belongs_to_its_program,
    an_answer_that_was_rolled_back_is_not_remembered,
    a_sealed_answer_needs_its_key,
    erased_answers_are_gone,
    an_older_key_still_recognises_the_request,
    twenty_at_once_are_carried_out_once,
);

async fn an_answer_is_remembered_byte_for_byte(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let key = key(&Keyring::for_tests(), &request());
    assert!(database.read().await.unwrap().remembered(&key).await.unwrap().is_none());
    let answer = Program { name: "programs/tea".to_owned(), display_name: "Tea".to_owned(), ..Program::default() };
    remember(&database, &key, &answer.encode_to_vec(), None).await.unwrap();

    let first = database.read().await.unwrap().remembered(&key).await.unwrap().unwrap();
    assert_eq!(first.subject, None);
    assert_eq!(first.clone().bytes(None).unwrap(), answer.encode_to_vec());
    assert_eq!(first.message::<Program>(None).unwrap(), answer);
    assert!(matches!(remember(&database, &key, b"another", None).await, Err(Error::Conflict)));
}

async fn another_payload_is_refused_and_the_field_named(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let keyring = Keyring::for_tests();
    remember(&database, &key(&keyring, &request()), b"answer", None).await.unwrap();

    let reused = async |key: RequestKey| match database.read().await.unwrap().remembered(&key).await {
        Err(Error::RequestIdReused { field }) => field,
        other => panic!("{other:?}"),
    };
    let changed = CreateProgramRequest { currency_code: "EUR".to_owned(), ..request() };
    assert_eq!(reused(key(&keyring, &changed)).await, "currency_code");
    let both = CreateProgramRequest { display_name: "Coffee".to_owned(), ..changed };
    assert_eq!(reused(key(&keyring, &both)).await, "display_name");
    let left_out = CreateProgramRequest { time_zone: String::new(), ..request() };
    assert_eq!(reused(key(&keyring, &left_out)).await, "time_zone");
    let method = GetProgramRequest { name: "programs/tea".to_owned() };
    assert_eq!(reused(RequestKey::new(&keyring, &program("tea"), "till-1", &method)).await, "method");

    let award = |purchase: Option<PurchaseInput>| AwardRequest { request_id: "till-3".to_owned(), purchase, ..AwardRequest::default() };
    let key_of = |request: &AwardRequest| RequestKey::new(&keyring, &program("tea"), &request.request_id, request);
    let purchase = PurchaseInput { purchase_id: "p1".to_owned(), net: money(100), ..PurchaseInput::default() };
    remember(&database, &key_of(&award(Some(purchase.clone()))), b"answer", None).await.unwrap();
    assert_eq!(reused(key_of(&award(Some(PurchaseInput { net: money(101), ..purchase.clone() })))).await, "purchase.net");
    assert_eq!(
        reused(key_of(&award(Some(PurchaseInput { purchase_id: "p2".to_owned(), net: None, ..purchase })))).await,
        "purchase.purchase_id"
    );
    assert_eq!(reused(key_of(&award(Some(PurchaseInput::default())))).await, "purchase.purchase_id");
    assert_eq!(reused(key_of(&award(None))).await, "purchase");

    let short = CreateProgramRequest { request_id: "till-2".to_owned(), ..CreateProgramRequest::default() };
    remember(&database, &key(&keyring, &short), b"answer", None).await.unwrap();
    let longer = CreateProgramRequest { time_zone: "UTC".to_owned(), ..short };
    assert_eq!(reused(key(&keyring, &longer)).await, "time_zone");
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

async fn a_request_id_belongs_to_its_program(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let keyring = Keyring::for_tests();
    remember(&database, &key(&keyring, &request()), b"answer", None).await.unwrap();
    let elsewhere = RequestKey::new(&keyring, &program("coffee"), "till-1", &request());
    assert!(database.read().await.unwrap().remembered(&elsewhere).await.unwrap().is_none());
}

async fn an_answer_that_was_rolled_back_is_not_remembered(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let key = key(&Keyring::for_tests(), &request());
    let mut tx = database.begin().await.unwrap();
    tx.remember(&key, b"answer", None, None, START).await.unwrap();
    drop(tx);
    assert!(database.read().await.unwrap().remembered(&key).await.unwrap().is_none());
}

async fn a_sealed_answer_needs_its_key(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let keyring = Keyring::for_tests();
    let (seal, _) = keyring.new_data_key(SUBJECT);
    let (other, _) = keyring.new_data_key(SUBJECT);
    let key = key(&keyring, &request());
    let mut tx = database.begin().await.unwrap();
    tx.remember(&key, b"13800000001", Some(SUBJECT), Some(&seal), START).await.unwrap();
    let sql = "SELECT answer FROM requests";
    let stored: Vec<u8> = on_engine!(tx, |conn| sqlx::query_scalar(sql).fetch_one(conn).await.unwrap());
    assert!(!stored.windows(11).any(|part| part == b"13800000001"));
    tx.commit().await.unwrap();

    let first = database.read().await.unwrap().remembered(&key).await.unwrap().unwrap();
    assert_eq!(first.subject, Some(SUBJECT));
    assert_eq!(first.clone().bytes(Some(&seal)).unwrap(), b"13800000001");
    assert!(matches!(first.clone().bytes(Some(&other)), Err(Error::Corrupt(_))));
    assert!(matches!(first.bytes(None), Err(Error::Corrupt(_))));
}

async fn erased_answers_are_gone(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let key = key(&Keyring::for_tests(), &request());
    remember(&database, &key, b"13800000001", Some(SUBJECT)).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    assert_eq!(tx.erase_answers(SUBJECT).await.unwrap(), 1);
    tx.commit().await.unwrap();
    // It still counts as carried out: it must not be carried out again.
    let first = database.read().await.unwrap().remembered(&key).await.unwrap().unwrap();
    assert_eq!((first.subject, first.bytes(None).unwrap()), (None, vec![]));
}

async fn an_older_key_still_recognises_the_request(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let old = Keyring::from_hex(&format!("1:{}", "0a".repeat(32))).unwrap();
    let new = Keyring::from_hex(&format!("1:{} 2:{}", "0a".repeat(32), "0b".repeat(32))).unwrap();
    remember(&database, &key(&old, &request()), b"answer", None).await.unwrap();
    let mut tx = database.read().await.unwrap();
    assert!(tx.remembered(&key(&new, &request())).await.unwrap().is_some());
    let changed = CreateProgramRequest { currency_code: "EUR".to_owned(), ..request() };
    let error = tx.remembered(&key(&new, &changed)).await.unwrap_err();
    assert!(matches!(error, Error::RequestIdReused { field } if field == "currency_code"));
}

async fn twenty_at_once_are_carried_out_once(engine: TestEngine) {
    let database = engine.open("directory", MIGRATIONS).await;
    let key = Arc::new(key(&Keyring::for_tests(), &request()));
    let callers = (0..20_i64).map(|number| {
        let (database, key) = (database.clone(), key.clone());
        tokio::spawn(async move { retry(|| carry_out(&database, &key, number)).await.unwrap() })
    });
    let answers: Vec<Vec<u8>> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let mut tx = database.read().await.unwrap();
    let written: Vec<i64> = on_engine!(tx, |conn| sqlx::query_scalar("SELECT number FROM programs").fetch_all(conn).await.unwrap());
    assert_eq!(written.iter().map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>(), answers[..1]);
}

async fn carry_out(database: &Database, key: &RequestKey, number: i64) -> Result<Vec<u8>, Error> {
    let mut tx = database.begin().await?;
    if let Some(first) = tx.remembered(key).await? {
        return first.bytes(None);
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The same request again must meet its first answer, never its own row.
    let sql = "INSERT INTO programs (program, number) VALUES ('tea', $1)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(number).execute(conn).await?.rows_affected());
    let answer = number.to_be_bytes().to_vec();
    tx.remember(key, &answer, None, None, START).await?;
    tx.commit().await?;
    Ok(answer)
}

fn request() -> CreateProgramRequest {
    CreateProgramRequest {
        program_id: "tea".to_owned(),
        display_name: "Tea".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency_code: "CNY".to_owned(),
        request_id: "till-1".to_owned(),
    }
}

fn program(id: &str) -> ProgramId {
    ProgramId::parse(id).unwrap()
}

fn key(keyring: &Keyring, request: &CreateProgramRequest) -> RequestKey {
    RequestKey::new(keyring, &program("tea"), &request.request_id, request)
}

async fn remember(database: &Database, key: &RequestKey, answer: &[u8], subject: Option<Uuid>) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.remember(key, answer, subject, None, START).await?;
    tx.commit().await
}
