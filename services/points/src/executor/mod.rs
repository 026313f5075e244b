//! The one write path. Commands that arrive one by one are carried out in batches, each batch in one transaction.

mod batch;
mod job;
mod keys;

use kernel::Context;
use persistence::{Database, Error, Handler, retry};
use rpc::config::ClockConfig;

pub(crate) use job::{Done, Job, Origin, Reply, Target, ToldTime, Work};

use batch::Batch;

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
        retry(|| self.try_execute(jobs)).await
    }

    fn is_outage(error: &Error) -> bool {
        matches!(error, Error::Unavailable(_))
    }
}

impl LedgerHandler {
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
