//! The job that approves referrals whose hold is over.

use kernel::{Context, MemberId, ProgramId};
use persistence::{Database, Error, retry};

use crate::{progress, store};

/// Referrals approved in one round.
const BATCH_MAX: i64 = 200;

/// Approves what is due. One that fails is logged and does not keep the others waiting.
pub(crate) async fn approve_due(database: &Database, context: &Context) -> Result<(), Error> {
    loop {
        let due = store::due_friends(&mut database.read().await?, context.now(), BATCH_MAX).await?;
        let mut approved = 0;
        for (program, friend) in &due {
            match retry(|| try_approve(database, context, program, *friend)).await {
                Ok(()) => approved += 1,
                Err(error) => tracing::error!(error = rpc::status::chain(&error), "a referral could not be approved"),
            }
        }
        // A round that was not full, or in which nothing worked, is the last for now.
        if approved < BATCH_MAX {
            return Ok(());
        }
    }
}

async fn try_approve(database: &Database, context: &Context, program: &ProgramId, friend: MemberId) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    let known = store::locked_friend(&mut tx, program, friend).await?;
    progress::settle(&mut tx, context, (program, friend), &known).await?;
    tx.commit().await
}
