use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use persistence::{Database, Error, Executor, ExecutorOptions, Handler, Migration, SubmitError, Tx, on_engine};
use testkit::TestEngine;
use tokio::sync::Semaphore;
use tokio::time::Instant;

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_journal.sql",
    sql: "CREATE TABLE accounts (account {int} NOT NULL PRIMARY KEY, version {int} NOT NULL) {hot};
          CREATE TABLE journal (account {int} NOT NULL, version {int} NOT NULL, note {int} NOT NULL, PRIMARY KEY (account, version)) {strict};",
}];

testkit::on_each_engine!(
    what_gathers_is_one_batch,
    lanes_take_turns_while_there_is_little_to_do,
    commands_of_a_key_keep_their_order,
    past_the_bound_is_overload,
    what_is_too_late_never_reaches_the_database,
    a_poisoned_command_harms_no_neighbour,
    a_panic_harms_no_neighbour,
    a_caller_that_hangs_up_stops_nothing,
    an_outage_is_not_taken_apart,
    answers_that_are_missing_are_an_internal_error,
    shutting_down_answers_what_waits,
);

/// Writes a note into an account's journal and answers the account's version.
#[derive(Clone, Copy)]
enum Command {
    Note {
        account: i64,
        note: i64,
    },
    /// Breaks the statement it is part of.
    Poison,
    Panic,
    Outage,
    Silence,
}

struct Journal {
    database: Database,
    /// A permit per batch, so that a test decides when one begins.
    gate: Arc<Semaphore>,
    batches: Arc<AtomicUsize>,
    /// Batches that have come to the gate.
    gathered: Arc<AtomicUsize>,
}

impl Handler for Journal {
    type Command = Command;
    type Answer = i64;
    type Error = Error;

    async fn execute(&self, batch: &[Command]) -> Result<Vec<i64>, Error> {
        self.gathered.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("the gate stays").forget();
        self.batches.fetch_add(1, Ordering::SeqCst);
        let mut tx = self.database.begin().await?;
        let mut answers = Vec::new();
        for command in batch {
            match *command {
                Command::Note { account, note } => answers.push(write(&mut tx, account, note).await?),
                Command::Poison => {
                    write(&mut tx, 0, 0).await?;
                    let sql = "UPDATE journal SET version = NULL";
                    on_engine!(tx, |conn| sqlx::query(sql).execute(conn).await?.rows_affected());
                }
                Command::Panic => panic!("the test wants it"),
                Command::Outage => return Err(Error::Unavailable(sqlx::Error::PoolTimedOut)),
                Command::Silence => {}
            }
        }
        tx.commit().await?;
        Ok(answers)
    }

    fn is_outage(error: &Error) -> bool {
        matches!(error, Error::Unavailable(_))
    }
}

/// While a small batch is under way another lane gathers; a batch that is not small does not wait.
async fn lanes_take_turns_while_there_is_little_to_do(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 64, 1_000).await;
    let first = fixture.submit(Command::Note { account: 1, note: 0 });
    fixture.waiting_batch().await;
    let small: Vec<_> = (0..5).map(|note| fixture.submit(Command::Note { account: 2, note })).collect();
    let large: Vec<_> = (0..24).map(|note| fixture.submit(Command::Note { account: 3, note })).collect();
    testkit::eventually(|| async { fixture.executor.queued() == 0 && fixture.gathered.load(Ordering::SeqCst) == 2 }).await;
    fixture.open_gate();
    for answer in join_all(small.into_iter().chain(large).chain([first])).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(fixture.batches.load(Ordering::SeqCst), 3);
}

async fn what_gathers_is_one_batch(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 1, 100).await;
    let first = fixture.submit(Command::Note { account: 1, note: 0 });
    fixture.waiting_batch().await;
    let others: Vec<_> = (1..=50).map(|note| fixture.submit(Command::Note { account: note % 5, note })).collect();
    fixture.open_gate();
    first.await.unwrap().unwrap();
    for answer in join_all(others).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(fixture.batches.load(Ordering::SeqCst), 2);
    assert_eq!(fixture.notes().await.len(), 51);
}

async fn commands_of_a_key_keep_their_order(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 3, 10_000).await;
    fixture.open_gate();
    let answers: Vec<_> = (0..1_000).map(|note| fixture.submit(Command::Note { account: note % 7, note })).collect();
    for (note, answer) in (0..).zip(join_all(answers).await) {
        assert_eq!(answer.unwrap().unwrap(), note / 7 + 1, "the account's version");
    }
    let expected: Vec<(i64, i64)> =
        (0..7).flat_map(|account| (0..1_000).filter(move |note| note % 7 == account).map(move |note| (account, note))).collect();
    assert_eq!(fixture.notes().await, expected);
}

async fn past_the_bound_is_overload(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 1, 5).await;
    let first = fixture.submit(Command::Note { account: 1, note: 0 });
    fixture.waiting_batch().await;
    let waiting: Vec<_> = (1..=5).map(|note| fixture.submit(Command::Note { account: 1, note })).collect();
    let refused = fixture.submit(Command::Note { account: 1, note: 6 }).await.unwrap();
    assert!(matches!(refused, Err(SubmitError::Overloaded)), "{refused:?}");
    fixture.open_gate();
    first.await.unwrap().unwrap();
    for answer in join_all(waiting).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(fixture.notes().await.len(), 6);
}

async fn what_is_too_late_never_reaches_the_database(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 1, 100).await;
    let first = fixture.submit(Command::Note { account: 1, note: 1 });
    fixture.waiting_batch().await;
    let late = fixture.submit_before(Instant::now() + Duration::from_millis(20), Command::Note { account: 1, note: 2 });
    let in_time = fixture.submit(Command::Note { account: 1, note: 3 });
    tokio::time::sleep(Duration::from_millis(40)).await;
    fixture.open_gate();
    first.await.unwrap().unwrap();
    let late = late.await.unwrap();
    assert!(matches!(late, Err(SubmitError::DeadlineExceeded)), "{late:?}");
    in_time.await.unwrap().unwrap();
    assert_eq!(fixture.notes().await, [(1, 1), (1, 3)]);
}

async fn a_poisoned_command_harms_no_neighbour(engine: TestEngine) {
    let (fixture, before, bad, after) = spoiled(&engine, Command::Poison).await;
    assert_eq!((before, after), (Ok(2), Ok(3)));
    assert!(matches!(bad, Err(SubmitError::Failed(Error::Database(_)))), "{bad:?}");
    assert_eq!(fixture.notes().await, [(1, 0), (1, 1), (1, 2)]);
}

async fn a_panic_harms_no_neighbour(engine: TestEngine) {
    let (fixture, before, bad, after) = spoiled(&engine, Command::Panic).await;
    assert_eq!((before, after), (Ok(2), Ok(3)));
    assert!(matches!(bad, Err(SubmitError::Internal)), "{bad:?}");
    // The lane lives on.
    assert_eq!(fixture.submit(Command::Note { account: 1, note: 3 }).await.unwrap().unwrap(), 4);
}

async fn a_caller_that_hangs_up_stops_nothing(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 1, 100).await;
    let under_way = fixture.submit(Command::Note { account: 1, note: 1 });
    fixture.waiting_batch().await;
    let waiting = fixture.submit(Command::Note { account: 1, note: 2 });
    under_way.abort();
    waiting.abort();
    assert!(under_way.await.unwrap_err().is_cancelled() && waiting.await.unwrap_err().is_cancelled());
    fixture.open_gate();
    fixture.executor.shutdown().await;
    assert_eq!(fixture.notes().await, [(1, 1), (1, 2)]);
}

async fn an_outage_is_not_taken_apart(engine: TestEngine) {
    let (fixture, before, bad, after) = spoiled(&engine, Command::Outage).await;
    assert_eq!((before, after), (Err("Unavailable".to_owned()), Err("Unavailable".to_owned())));
    assert!(matches!(bad, Err(SubmitError::Unavailable)), "{bad:?}");
    assert_eq!(fixture.batches.load(Ordering::SeqCst), 2);
}

async fn answers_that_are_missing_are_an_internal_error(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 1, 100).await;
    fixture.open_gate();
    let answer = fixture.submit(Command::Silence).await.unwrap();
    assert!(matches!(answer, Err(SubmitError::Internal)), "{answer:?}");
}

async fn shutting_down_answers_what_waits(engine: TestEngine) {
    let fixture = Fixture::start(&engine, 2, 1_000).await;
    let waiting: Vec<_> = (0..600).map(|note| fixture.submit(Command::Note { account: note % 9, note })).collect();
    let executor = fixture.executor.clone();
    let shutdown = tokio::spawn(async move { executor.shutdown().await });
    let refused = testkit::eventually(|| async {
        match fixture.submit(Command::Note { account: 1, note: -1 }).await.unwrap() {
            Err(error @ SubmitError::ShuttingDown) => Ok(error),
            other => Err(other),
        }
    });
    // Lanes look up once the batch under way is through.
    fixture.open_gate();
    refused.await;
    shutdown.await.unwrap();
    for answer in join_all(waiting).await {
        answer.unwrap().unwrap();
    }
    // The second call has nothing left to wait for.
    fixture.executor.shutdown().await;
}

/// A batch of three, the one in the middle bad, behind a batch of one good command.
async fn spoiled(
    engine: &TestEngine,
    bad: Command,
) -> (Fixture, Result<i64, String>, Result<i64, SubmitError<Error>>, Result<i64, String>) {
    let fixture = Fixture::start(engine, 1, 100).await;
    let first = fixture.submit(Command::Note { account: 1, note: 0 });
    fixture.waiting_batch().await;
    let before = fixture.submit(Command::Note { account: 1, note: 1 });
    let bad = fixture.submit(bad);
    let after = fixture.submit(Command::Note { account: 1, note: 2 });
    fixture.open_gate();
    first.await.unwrap().unwrap();
    let text = |answer: Result<i64, SubmitError<Error>>| answer.map_err(|error| format!("{error:?}"));
    let (before, bad, after) = (text(before.await.unwrap()), bad.await.unwrap(), text(after.await.unwrap()));
    (fixture, before, bad, after)
}

struct Fixture {
    database: Database,
    executor: Arc<Executor<Journal>>,
    gate: Arc<Semaphore>,
    batches: Arc<AtomicUsize>,
    gathered: Arc<AtomicUsize>,
}

impl Fixture {
    async fn start(engine: &TestEngine, lanes: usize, queue_max: usize) -> Fixture {
        let database = engine.open("journal", MIGRATIONS).await;
        let (gate, batches, gathered) = (Arc::new(Semaphore::new(0)), Arc::default(), Arc::<AtomicUsize>::default());
        let handler = Journal { database: database.clone(), gate: gate.clone(), batches: Arc::clone(&batches), gathered: gathered.clone() };
        let executor = Executor::start(handler, ExecutorOptions { lanes, queue_max, ..ExecutorOptions::new("journal") });
        Fixture { database, executor: Arc::new(executor), gate, batches, gathered }
    }

    fn submit(&self, command: Command) -> tokio::task::JoinHandle<Result<i64, SubmitError<Error>>> {
        self.submit_before(Instant::now() + Duration::from_secs(60), command)
    }

    /// Queues the command before it returns.
    fn submit_before(&self, deadline: Instant, command: Command) -> tokio::task::JoinHandle<Result<i64, SubmitError<Error>>> {
        let key = if let Command::Note { account, .. } = command { account } else { 1 };
        let executor = self.executor.clone();
        let mut answer = Box::pin(async move { executor.submit(key, command, deadline).await });
        match futures::FutureExt::now_or_never(&mut answer) {
            Some(done) => tokio::spawn(async { done }),
            None => tokio::spawn(answer),
        }
    }

    /// Returns when the lane has taken everything that was queued and waits at the gate.
    async fn waiting_batch(&self) {
        testkit::eventually(|| async { self.executor.queued() == 0 && self.gathered.load(Ordering::SeqCst) > 0 }).await;
    }

    fn open_gate(&self) {
        self.gate.add_permits(100_000);
    }

    async fn notes(&self) -> Vec<(i64, i64)> {
        let mut tx = self.database.read().await.unwrap();
        let sql = "SELECT account, note FROM journal ORDER BY account, version";
        on_engine!(tx, |conn| sqlx::query_as(sql).fetch_all(conn).await.unwrap())
    }
}

async fn write(tx: &mut Tx, account: i64, note: i64) -> Result<i64, Error> {
    let sql = "INSERT INTO accounts (account, version) VALUES ($1, 1)
               ON CONFLICT (account) DO UPDATE SET version = accounts.version + 1 RETURNING version";
    let version: i64 = on_engine!(tx, |conn| sqlx::query_scalar(sql).bind(account).fetch_one(conn).await)?;
    let sql = "INSERT INTO journal (account, version, note) VALUES ($1, $2, $3)";
    on_engine!(tx, |conn| sqlx::query(sql).bind(account).bind(version).bind(note).execute(conn).await?.rows_affected());
    Ok(version)
}
