//! The one write path. Commands that arrive one by one are carried out in batches, each batch in one transaction: without locks where
//! its commands allow it, behind them otherwise.

mod batch;
mod job;
mod keys;
mod vouchers;

use std::time::Duration;

use kernel::Context;
use persistence::{Database, Error, Handler, IsRetryable, retry};
use rpc::config::ClockConfig;

pub(crate) use job::{Done, Job, Origin, Reply, Target, ToldTime, Work};
pub(crate) use vouchers::{Ensure, Fresh, Grant, ShownCode, Told, UseVoucher, VoucherChange, VoucherHandler, VoucherJob};

use batch::Batch;
use keys::rests_on_one_account;

/// How long the database may take to answer on a connection that has waited, before another is tried.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Carries out batches of ledger commands.
pub(crate) struct LedgerHandler {
    pub(crate) database: Database,
    pub(crate) context: Context,
    /// What is believed of a till's clock.
    pub(crate) clock: ClockConfig,
}

impl Handler for LedgerHandler {
    type Command = Job;
    type Answer = Reply;
    type Error = Error;

    async fn execute(&self, jobs: &[Job]) -> Result<Vec<Reply>, Error> {
        match self.try_unlocked(jobs).await? {
            Some(replies) => Ok(replies),
            None => retry(|| self.try_execute(jobs)).await,
        }
    }

    fn is_outage(error: &Error) -> bool {
        matches!(error, Error::Unavailable(_))
    }
}

impl LedgerHandler {
    /// Two statements on PostgreSQL, without locks and the round trips of a transaction: what is written fails when what was read
    /// has changed. `None` when nothing was done: because it has, because a lock is needed, or because the server had gone.
    async fn try_unlocked(&self, jobs: &[Job]) -> Result<Option<Vec<Reply>>, Error> {
        let now = self.context.now();
        if !jobs.iter().all(|job| rests_on_one_account(job, now)) {
            return Ok(None);
        }
        let Some(mut tx) = self.database.autocommit().await? else { return Ok(None) };
        let loading = Batch::load_unlocked(&mut tx, jobs, &self.context, &self.clock, now);
        let mut batch = match tokio::time::timeout(ANSWER_MAX, loading).await {
            Ok(Ok(batch)) => batch,
            Ok(Err(error)) if !error.is_retryable() && !LedgerHandler::is_outage(&error) => return Err(error),
            // The server has gone since, with a word or without one, or gone and come back.
            Ok(Err(_)) | Err(_) => return Ok(None),
        };
        if batch.gives_back(jobs) {
            tx.commit().await?;
            return Ok(None);
        }
        let replies = jobs.iter().map(|job| batch.run(job)).collect::<Result<Vec<_>, Error>>()?;
        if !batch.needs_no_lock() {
            tx.commit().await?;
            return Ok(None);
        }
        match batch.write(&mut tx).await {
            Ok(()) => tx.commit().await.map(|()| Some(replies)),
            Err(error) if error.is_retryable() => {
                // The statement that failed has undone itself.
                tx.commit().await?;
                telemetry::metrics().transaction_retried("collision");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One attempt is one transaction: lock and read, apply the pure core to each command in order, write, commit.
    async fn try_execute(&self, jobs: &[Job]) -> Result<Vec<Reply>, Error> {
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        let mut batch = Batch::load(&mut tx, jobs, &self.context, &self.clock, now).await?;
        let replies = jobs.iter().map(|job| batch.run(job)).collect::<Result<Vec<_>, Error>>()?;
        batch.write(&mut tx).await?;
        tx.commit().await?;
        Ok(replies)
    }
}
