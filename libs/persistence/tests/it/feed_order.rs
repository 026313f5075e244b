//! The proof of the feed: under concurrent commits none is lost, none comes twice, and each stream comes in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kernel::Uuid;
use persistence::feed::run_sequencer;
use persistence::{Connection, Database, Error, FeedReader, Migration, NewEvent, Position, Tx, on_engine};
use testkit::{START, TestEngine};
use tokio_util::sync::CancellationToken;

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_accounts.sql",
    sql: "CREATE TABLE accounts (account {int} NOT NULL PRIMARY KEY, version {int} NOT NULL) {hot};",
}];

const ACCOUNTS: i64 = 12;
const WRITERS: usize = 10;
const TRANSACTIONS: usize = 40;

testkit::on_each_engine!(none_is_lost_none_comes_twice_and_each_stream_keeps_its_order);

async fn none_is_lost_none_comes_twice_and_each_stream_keeps_its_order(mut engine: TestEngine) {
    engine.options.connections_max = 16;
    // Two processes, each with its writers, its sequencer and its readers.
    let databases = [engine.open("points", MIGRATIONS).await, engine.open("points", MIGRATIONS).await];
    let mut tx = databases[0].begin().await.unwrap();
    for account in 0..ACCOUNTS {
        let sql = "INSERT INTO accounts (account, version) VALUES ($1, 0)";
        on_engine!(tx, |conn| sqlx::query(sql).bind(account).execute(conn).await.unwrap().rows_affected());
    }
    tx.commit().await.unwrap();

    let stop = CancellationToken::new();
    // One of the sequencers dies in the middle and another takes its place.
    let dying = CancellationToken::new();
    let mut tasks = vec![
        tokio::spawn(run_sequencer(databases[0].clone(), stop.clone())),
        tokio::spawn(run_sequencer(databases[1].clone(), dying.clone())),
    ];
    let written = CancellationToken::new();
    let readers: Vec<_> = (0..4).map(|number| tokio::spawn(read_all(databases[number % 2].clone(), written.clone()))).collect();

    let write = join_all((0..WRITERS).map(|number| tokio::spawn(write_many(databases[number % 2].clone()))));
    let replace = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        dying.cancel();
        tasks.push(tokio::spawn(run_sequencer(databases[1].clone(), stop.clone())));
    };
    let (committed, ()) = tokio::join!(write, replace);
    let committed: usize = committed.into_iter().map(Result::unwrap).sum();
    written.cancel();

    let versions = versions(&databases[0]).await;
    assert_eq!(versions.values().sum::<i64>(), committed as i64);
    assert!(committed > WRITERS * TRANSACTIONS / 2);
    for reader in join_all(readers).await {
        let read = reader.unwrap();
        for (account, version) in &versions {
            let expected: Vec<i64> = (1..=*version).collect();
            assert_eq!(read.get(account).cloned().unwrap_or_default(), expected, "account {account}");
        }
    }
    assert_eq!(databases[0].feed_pending().await.unwrap(), 0);
    stop.cancel();
    join_all(tasks).await;
}

/// Transactions over one or two accounts, short and long, some of them rolled back; returns how many events were committed.
async fn write_many(database: Database) -> usize {
    let mut committed = 0;
    for _ in 0..TRANSACTIONS {
        let mut accounts = BTreeSet::from([rand::random_range(0..ACCOUNTS)]);
        if rand::random_bool(0.3) {
            accounts.insert(rand::random_range(0..ACCOUNTS));
        }
        let mut tx = database.begin().await.unwrap();
        let mut events = 0;
        for account in accounts {
            // The second account is locked after the first has written: its events must not come before those it waited for.
            events += change(&mut tx, account).await.unwrap();
        }
        if rand::random_bool(0.25) {
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..30))).await;
        }
        if rand::random_bool(0.15) {
            drop(tx);
        } else {
            tx.commit().await.unwrap();
            committed += events;
        }
    }
    committed
}

/// Locks an account and writes one to three events for it.
async fn change(tx: &mut Tx, account: i64) -> Result<usize, Error> {
    let count = rand::random_range(1..=3_i64);
    let sql = "UPDATE accounts SET version = version + $2 WHERE account = $1 RETURNING version";
    let version: i64 = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(account).bind(count).fetch_one(conn).await)?;
    let events = (version - count + 1..=version).map(|version| event(account, version)).collect();
    tx.append_events(events).await?;
    Ok(count as usize)
}

/// Reads in small pages until everything that was written has come; the versions per account in the order they came.
async fn read_all(database: Database, written: CancellationToken) -> BTreeMap<i64, Vec<i64>> {
    let mut reader = FeedReader::new(database.clone());
    let mut position = reader.oldest().await.unwrap();
    let mut read: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut quiet_rounds = 0;
    // Twenty seconds at most; what is missing then is told by the caller.
    for _ in 0..20_000 {
        let done = written.is_cancelled();
        let page = reader.read(&position, &[], 7).await.unwrap();
        for event in &page.events {
            let (account, version) = parse(&event.payload);
            read.entry(account).or_default().push(version);
        }
        // What a consumer stores is the text.
        position = Position::decode(&page.position.encode()).unwrap();
        if page.events.is_empty() {
            // Done once nothing waits for a number, and nothing came since.
            let nothing_waits = done && database.feed_pending().await.unwrap() == 0;
            quiet_rounds = if nothing_waits { quiet_rounds + 1 } else { 0 };
            if quiet_rounds == 2 {
                break;
            }
            reader.changed().await;
        }
    }
    read
}

/// What the sequencer is for: a reader that goes by numbers taken while writing passes over a transaction that is still open.
#[tokio::test]
async fn numbers_taken_while_writing_would_lose_an_event() {
    let engine = testkit::postgres().await;
    let database = engine.open("points", MIGRATIONS).await;
    let stop = CancellationToken::new();
    let sequencer = tokio::spawn(run_sequencer(database.clone(), stop.clone()));
    let reader = FeedReader::new(database.clone());
    let start = reader.oldest().await.unwrap();
    let read = async |position: &Position| reader.read(position, &[], 10).await.unwrap();

    let mut long = database.begin().await.unwrap();
    long.append_event(event(1, 1)).await.unwrap();
    let mut short = database.begin().await.unwrap();
    short.append_event(event(2, 1)).await.unwrap();
    short.commit().await.unwrap();

    let (naive, passed) = read_by_batch(&database, 0).await;
    assert_eq!(naive, [(2, 1)]);
    let first = testkit::eventually(|| async { Some(read(&start).await).filter(|page| !page.events.is_empty()) }).await;
    assert_eq!(first.events.iter().map(|event| parse(&event.payload)).collect::<Vec<_>>(), [(2, 1)]);

    long.commit().await.unwrap();
    let second = testkit::eventually(|| async { Some(read(&first.position).await).filter(|page| !page.events.is_empty()) }).await;
    assert_eq!(second.events.iter().map(|event| parse(&event.payload)).collect::<Vec<_>>(), [(1, 1)]);
    let (naive, _) = read_by_batch(&database, passed).await;
    assert_eq!(naive, [], "the naive reader would have lost nothing: this test shows nothing");
    stop.cancel();
    sequencer.await.unwrap();
}

async fn read_by_batch(database: &Database, after: i64) -> (Vec<(i64, i64)>, i64) {
    let mut tx = database.read().await.unwrap();
    let Connection::Postgres(conn) = tx.connection() else { unreachable!() };
    let sql = "SELECT batch, payload FROM events WHERE batch > $1 ORDER BY batch";
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(sql).bind(after).fetch_all(conn).await.unwrap();
    let passed = rows.last().map_or(after, |(batch, _)| *batch);
    (rows.iter().map(|(_, payload)| parse(payload)).collect(), passed)
}

/// Two sequencers that meet do not number anything twice, and one that runs on a full backlog takes it in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_numbered_once_and_in_order() {
    let engine = testkit::postgres().await;
    let database = Arc::new(engine.open("points", MIGRATIONS).await);
    for version in 1..=1_500 {
        let mut tx = database.begin().await.unwrap();
        tx.append_event(event(version % 3, version)).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(database.feed_pending().await.unwrap(), 1_500);
    let stop = CancellationToken::new();
    let sequencers: Vec<_> = (0..3).map(|_| tokio::spawn(run_sequencer((*database).clone(), stop.clone()))).collect();
    let written = CancellationToken::new();
    written.cancel();
    let read = read_all((*database).clone(), written).await;
    for account in 0..3 {
        let expected: Vec<i64> = (1..=1_500).filter(|version| version % 3 == account).collect();
        assert_eq!(read[&account], expected);
    }
    stop.cancel();
    join_all(sequencers).await;
}

fn event(account: i64, version: i64) -> NewEvent {
    let id = Uuid::from_u128(((account as u128) << 64) | version as u128);
    NewEvent { id, stream: format!("account {account}"), at: START, payload: format!("{account} {version}").into_bytes() }
}

fn parse(payload: &[u8]) -> (i64, i64) {
    let (account, version) = std::str::from_utf8(payload).unwrap().split_once(' ').unwrap();
    (account.parse().unwrap(), version.parse().unwrap())
}

async fn versions(database: &Database) -> BTreeMap<i64, i64> {
    let mut tx = database.read().await.unwrap();
    let sql = "SELECT account, version FROM accounts";
    let rows: Vec<(i64, i64)> = on_engine!(tx, |conn| sqlx::query_as(sql).fetch_all(conn).await.unwrap());
    rows.into_iter().collect()
}
