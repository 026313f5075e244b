//! The clock's work: what has fallen due is settled in bounded batches, through the same executor as everything else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Database, DbTime, Error, Executor, SubmitError};
use rpc::{Host, status};
use tokio::time::Instant;
use tonic::Status;

use crate::domain::AccountId;
use crate::executor::{Job, LedgerHandler, Origin, Reply, Work};
use crate::program::{Program, Programs};
use crate::service::not_answered;
use crate::store;

/// How often the clock looks, and how many accounts it takes at a time.
const PAUSE: Duration = Duration::from_secs(1);
const ACCOUNTS_MAX: i64 = 256;
/// Refusals forgotten in one transaction.
const REFUSALS_MAX: i64 = 256;
/// Accounts that wait in the ledger's queues at the same time.
const JOBS_AT_ONCE: usize = 256;
/// How often the points outstanding are counted: it reads every account.
const COUNT_PAUSE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

/// How much was settled.
#[derive(Default)]
pub(crate) struct Done {
    /// Accounts in which something was due when they were looked up.
    pub(crate) found: i64,
    /// Those of them that were settled here; another process may have been faster.
    pub(crate) accounts: i64,
    pub(crate) activated: i64,
    pub(crate) expired: i64,
}

/// Settles what has fallen due, for ever. Several processes may: each account is settled under its lock, and once settled it is
/// not due. Refusals whose time is over are forgotten then.
pub(crate) fn start(host: &Host, database: &Database, executor: &Arc<Executor<LedgerHandler>>) {
    let programs = Arc::new(Programs::new(database.clone(), host.directory().clone()));
    let (database, executor, context) = (database.clone(), executor.clone(), host.context().clone());
    host.every("settle", PAUSE, move || {
        let (database, executor, programs, now) = (database.clone(), executor.clone(), programs.clone(), context.now());
        async move {
            let settled = settle_all(&database, &executor, &programs, now).await;
            forget_all(&database, now).await?;
            settled
        }
    });
}

/// Tells the metrics how many points are outstanding in each program.
pub(crate) fn start_counting(host: &Host, database: &Database) {
    let database = database.clone();
    host.every("outstanding", COUNT_PAUSE, move || {
        let database = database.clone();
        async move {
            let mut tx = database.read().await?;
            for (program, points) in store::outstanding(&mut tx).await? {
                telemetry::metrics().points_outstanding(&program, i64::try_from(points).unwrap_or(i64::MAX));
            }
            Ok::<(), Error>(())
        }
    });
}

/// Goes through all that is due, a page at a time, and on from page to page: what stays due, because its program is gone or it cannot
/// be settled, keeps nobody behind it waiting.
async fn settle_all(database: &Database, executor: &Executor<LedgerHandler>, programs: &Programs, now: Timestamp) -> Result<(), JobError> {
    let mut after = (DbTime(Timestamp::MIN), Uuid::nil());
    let mut known: HashMap<String, Option<Arc<Program>>> = HashMap::new();
    let mut failed = None;
    loop {
        let due = store::due_accounts(&mut database.read().await?, now, after, ACCOUNTS_MAX).await?;
        let Some((at, account, _, _)) = due.last() else { break };
        after = (*at, *account);
        let is_last = i64::try_from(due.len()).is_ok_and(|found| found < ACCOUNTS_MAX);
        let mut jobs = Vec::with_capacity(due.len());
        for (_, _, name, member) in due {
            if !known.contains_key(&name) {
                let program = match ProgramId::parse(&name) {
                    Ok(id) => programs.get(&id).await?,
                    Err(_) => None,
                };
                known.insert(name.clone(), program);
            }
            jobs.extend(known[&name].as_ref().map(|program| settling(program, MemberId(member))));
        }
        match submit(executor, jobs, Instant::now() + PATIENCE).await {
            // One that cannot be settled is told of at the end; a ledger that does not answer at all is left in peace.
            Err(error @ JobError::Ledger(SubmitError::Failed(_) | SubmitError::Internal)) => failed = Some(error),
            done => _ = done?,
        }
        if is_last {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Forgets refusals whose time is over, some at a time.
async fn forget_all(database: &Database, now: Timestamp) -> Result<(), Error> {
    loop {
        let mut tx = database.begin().await?;
        let forgotten = store::forget_refusals(&mut tx, now, REFUSALS_MAX).await?;
        tx.commit().await?;
        if forgotten < REFUSALS_MAX.unsigned_abs() {
            return Ok(());
        }
    }
}

/// Settles one program's due accounts, at most `limit`.
pub(crate) async fn settle_program(
    database: &Database,
    executor: &Executor<LedgerHandler>,
    program: &Arc<Program>,
    now: Timestamp,
    limit: i64,
    deadline: Instant,
) -> Result<Done, Status> {
    let mut tx = database.read().await.map_err(status::from_store)?;
    let due = store::due_in_program(&mut tx, &program.id, now, limit).await.map_err(status::from_store)?;
    drop(tx);
    let jobs = due.into_iter().map(|(member,)| settling(program, MemberId(member))).collect();
    submit(executor, jobs, deadline).await.map_err(|error| match error {
        JobError::Ledger(error) => not_answered(error),
        JobError::Store(error) => status::from_store(error),
    })
}

async fn submit(executor: &Executor<LedgerHandler>, jobs: Vec<Job>, deadline: Instant) -> Result<Done, JobError> {
    let mut done = Done::default();
    let mut jobs = jobs.into_iter().peekable();
    // A part at a time, so that tills find room in the queues between them.
    while jobs.peek().is_some() {
        let submitted = jobs.by_ref().take(JOBS_AT_ONCE).filter_map(|job| {
            let (account, _) = job.account?;
            Some(executor.submit(account.0, job, deadline))
        });
        for reply in join_all(submitted).await {
            done.found += 1;
            if let Reply::Settled(settled) = reply.map_err(JobError::Ledger)? {
                done.accounts += i64::from(!settled.entries.is_empty());
                done.activated += settled.activated;
                done.expired += settled.expired;
            }
        }
    }
    Ok(done)
}

fn settling(program: &Arc<Program>, member: MemberId) -> Job {
    Job {
        program: program.clone(),
        account: Some((AccountId::of(&program.id, member), member)),
        other: None,
        presented: None,
        presented_other: None,
        work: Arc::new(Work::Settle),
        origin: Arc::new(Origin {
            actor: "clock".into(),
            store: "".into(),
            terminal: "".into(),
            cashier: "".into(),
            occurred_at: None,
            historical: false,
        }),
    }
}

/// Why a round of settling came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("the ledger gave no answer")]
    Ledger(#[source] persistence::SubmitError<Error>),
    #[error(transparent)]
    Store(#[from] Error),
}
