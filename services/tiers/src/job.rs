//! What happens without anybody calling: evaluations that fall due, and those of all members under a new version. Any replica
//! may do any of it at any time: an evaluation that finds no news writes nothing.

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Error, retry};
use proto::tiers::tier_transition::Cause;

use crate::domain::timeline::Since;
use crate::evaluation::{Known, Reason, evaluate};
use crate::service::Rpcs;
use crate::store::{self, Due, Member, Sweep};

/// Members read at once. Each is evaluated in a transaction of its own, so that nobody waits for more than one evaluation.
const BATCH: usize = 200;

impl Rpcs {
    /// Does all that is due. A sweep that fails keeps nobody else waiting.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let swept = self.sweep().await;
        self.evaluate_due().await.and(swept)
    }

    /// Evaluates everybody whose time has come. What fails for one member is reported at the end of the batch, and is due again.
    async fn evaluate_due(&self) -> Result<(), Error> {
        while !self.shutdown.is_cancelled() {
            let now = self.context.now();
            let due = store::due(&mut self.database.read().await?, now, limit()).await?;
            let mut outcome = Ok(());
            for Due { member_id, program_id, scheme_id } in &due {
                let member = Member { program: program(program_id)?, id: MemberId(*member_id) };
                if let Err(error) = retry(|| self.try_evaluate(&member, scheme_id, Cause::Time, "")).await {
                    outcome = Err(error);
                }
            }
            if outcome.is_err() || due.len() < BATCH {
                return outcome;
            }
        }
        Ok(())
    }

    /// Goes on with the evaluation of all members under new versions.
    async fn sweep(&self) -> Result<(), Error> {
        let sweeps = store::sweeps(&mut self.database.read().await?).await?;
        for mut sweep in sweeps {
            while !self.shutdown.is_cancelled() && self.sweep_batch(&mut sweep).await? {}
        }
        Ok(())
    }

    /// Evaluates the next members. Returns whether there may be more.
    async fn sweep_batch(&self, sweep: &mut Sweep) -> Result<bool, Error> {
        let program = program(&sweep.program_id)?;
        let name = format!("{}/schemes/{}", program.name(), sweep.scheme_id);
        let after = MemberId(sweep.after_member.unwrap_or(Uuid::nil()));
        let mut tx = self.database.read().await?;
        let members = store::members_after(&mut tx, &program, after, limit()).await?;
        drop(tx);
        for id in &members {
            let member = Member { program: program.clone(), id: *id };
            retry(|| self.try_evaluate(&member, &sweep.scheme_id, Cause::Scheme, &name)).await?;
        }
        let mut tx = self.database.begin().await?;
        match members.last() {
            Some(last) => store::advance_sweep(&mut tx, sweep, *last).await?,
            None => store::end_sweep(&mut tx, sweep).await?,
        }
        tx.commit().await?;
        sweep.after_member = members.last().map(|last| last.0);
        Ok(!members.is_empty())
    }

    /// Evaluates a member. One attempt is one transaction.
    async fn try_evaluate(&self, member: &Member, scheme: &str, cause: Cause, name: &str) -> Result<(), Error> {
        let Some(program) = self.directory.program(&member.program).await? else {
            return Err(Error::Corrupt(format!("{} is not in the directory", member.program.name())));
        };
        let mut tx = self.database.begin().await?;
        store::lock_member(&mut tx, member).await?;
        let versions = self.locked_versions(&mut tx, &member.program, Some(scheme)).await?.remove(scheme);
        let versions = versions.ok_or_else(|| Error::Corrupt(format!("there is no scheme {scheme} to evaluate")))?;
        let known = Known::read(&mut tx, member, scheme, versions).await?;
        // The time under the lock: whoever has waited for it must not unsay what purchases have told meanwhile.
        let since = Since::from(self.context.now());
        let reason = Reason { since, cause, name, event_id: "", historical: false };
        evaluate(&mut tx, &self.context, &program.zone, member, scheme, &known, &reason).await?;
        tx.commit().await
    }
}

fn limit() -> i64 {
    i64::try_from(BATCH).expect("a batch is small")
}

fn program(id: &str) -> Result<ProgramId, Error> {
    ProgramId::parse(id).map_err(|_| Error::Corrupt("the id of a program".to_owned()))
}
