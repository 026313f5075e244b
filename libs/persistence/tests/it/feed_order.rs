//! The proof of the feed: under concurrent commits none is lost, none comes twice, and each stream comes in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use kernel::Uuid;
use persistence::feed::partition_of;
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
    // Two processes, each with its writers and its readers.
    let databases = [engine.open("points", MIGRATIONS).await, engine.open("points", MIGRATIONS).await];
    let mut tx = databases[0].begin().await.unwrap();
    for account in 0..ACCOUNTS {
        let sql = "INSERT INTO accounts (account, version) VALUES ($1, 0)";
        on_engine!(tx, |conn| sqlx::query(sql).bind(account).execute(conn).await.unwrap().rows_affected());
    }
    tx.commit().await.unwrap();

    let written = CancellationToken::new();
    let readers: Vec<_> = (0..4).map(|number| tokio::spawn(read_all(databases[number % 2].clone(), written.clone()))).collect();

    let writers = (0..WRITERS).map(|number| tokio::spawn(write_many(databases[number % 2].clone())));
    let committed: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
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
            // The second account is locked after the first has changed: its events must not come before those it waited for.
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
            // What is committed can be read, so nothing is missing once the writers had ended before an empty page was read.
            if done {
                break;
            }
            reader.changed().await;
        }
    }
    read
}

/// A number is given once those before it are durable: a commit waits for another that has numbered events of the same partition and
/// not ended yet, since a reader would pass over that one's. Other partitions go on.
#[tokio::test]
async fn a_commit_waits_for_those_that_took_numbers_before_it() {
    let engine = testkit::postgres().await;
    let database = engine.open("points", MIGRATIONS).await;
    let reader = FeedReader::new(database.clone());
    let start = reader.oldest().await.unwrap();
    let same: Vec<i64> = (0..).filter(|account| partition(*account) == partition(0)).take(2).collect();
    let other = (0..).find(|account| partition(*account) != partition(0)).unwrap();

    // Stopped between taking its number and the end of its commit.
    let mut first = database.begin().await.unwrap();
    let Connection::Postgres(conn) = first.connection() else { unreachable!() };
    let sql = "WITH moved AS (UPDATE feed_heads SET head = head + 1 WHERE partition = $1 RETURNING partition, head)
        INSERT INTO events (partition, sequence, event_id, at, payload) SELECT partition, head, gen_random_uuid(), now(), $2 FROM moved";
    sqlx::query(sql).bind(i64::from(partition(0))).bind(event(same[0], 1).payload).execute(conn).await.unwrap();

    let mut second = database.begin().await.unwrap();
    second.append_event(event(same[1], 1)).await.unwrap();
    let second = tokio::spawn(second.commit());
    let mut third = database.begin().await.unwrap();
    third.append_event(event(other, 1)).await.unwrap();
    third.commit().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished(), "a number was given before the one below it was durable");
    let page = reader.read(&start, &[], 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| parse(&event.payload)).collect::<Vec<_>>(), [(other, 1)]);

    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    let page = reader.read(&page.position, &[], 10).await.unwrap();
    let read: Vec<_> = page.events.iter().map(|event| (event.sequence, parse(&event.payload))).collect();
    assert_eq!(read, [(1, (same[0], 1)), (2, (same[1], 1))]);
}

/// Commits that number events of several partitions at once, in whatever order they were appended, do not wait for each other in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_over_many_partitions_do_not_deadlock() {
    let mut engine = testkit::postgres().await;
    engine.options.connections_max = 16;
    let database = engine.open("points", MIGRATIONS).await;
    let writers = (0..12_i64).map(|writer| {
        let database = database.clone();
        tokio::spawn(async move {
            for version in 0..30 {
                let mut tx = database.begin().await.unwrap();
                let events = (0..20).map(|step| event((writer * 7 + step * 11 + version) % 40, version));
                tx.append_events(events.collect()).await.unwrap();
                tx.commit().await.unwrap();
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|ended| ended.unwrap());
    let written = CancellationToken::new();
    written.cancel();
    let read = read_all(database, written).await;
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), 12 * 30 * 20);
}

fn partition(account: i64) -> u8 {
    partition_of(&format!("account {account}"))
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
