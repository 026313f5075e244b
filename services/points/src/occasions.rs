//! Gifts for birthdays and absences: once a day everybody in a program is looked at, a page at a time, each page in a transaction of its own
//! that writes what is to be given and how far it has come. Those for joining are written when the feed of members tells, and so
//! is what a day would have brought to who was told of too late for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use kernel::{MemberId, ProgramId, Timestamp};
use persistence::{Database, Effect, Error, Tx, retry};
use rpc::Host;

use crate::domain::{AccountId, Candidate, Sweep, Version};
use crate::gifts::{occasion_key, of_occasion};
use crate::program::{Program, Programs};
use crate::store::{self, Held};

/// How often the clock looks whether a day has begun.
const PAUSE: Duration = Duration::from_secs(1);
/// Members looked at in one transaction.
const MEMBERS_MAX: i64 = 256;

/// Looks for gifts in all programs, for ever. Several processes may: a page is that of whoever moves the sweep on.
pub(crate) fn start(host: &Host, database: &Database, programs: &Arc<Programs>) {
    let sweeper = Arc::new(Sweeper { database: database.clone(), programs: programs.clone(), host: host.clone() });
    host.every("occasions", PAUSE, move || {
        let sweeper = sweeper.clone();
        async move { sweeper.run().await }
    });
}

/// Writes what somebody gets of whom the members feed has told, in the transaction that notes it: who joins is welcomed by the terms of that
/// moment, and it may be a birthday of which nobody knew when the day was looked at.
pub(crate) async fn told(
    tx: &mut Tx,
    programs: &Programs,
    (program, member): (&ProgramId, MemberId),
    joined_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Error> {
    if joined_at.is_some() {
        // Terms that were made a moment ago count, too.
        programs.forget(program);
    }
    let Some(program) = programs.get(program).await? else { return Ok(()) };
    let Some(versions) = &program.versions else { return Ok(()) };
    let welcoming = joined_at.and_then(|at| Some((at, versions.held_at(at)?))).filter(|(_, version)| !version.terms.occasions.is_empty());
    let days = versions.on_days(std::iter::once(now.date_in(&program.zone)), now, &program.zone);
    if welcoming.is_none() && days.is_empty() {
        return Ok(());
    }
    let account = AccountId::of(&program.id, member);
    let held = store::read_account(tx, account).await?;
    let mut gifts = Vec::new();
    if let Some((at, version)) = welcoming {
        let welcome = |occasion| of_occasion(&program.id, member, occasion, occasion_key(&program.id, occasion, account, "joined"));
        gifts.extend(version.terms.welcomes(&held.facts, at).map(welcome));
    }
    gifts.extend(gifts_of(&program, &days, (account, member, &held), now, tx).await?);
    for effect in &gifts {
        tx.want_effect_once(effect, now).await?;
    }
    Ok(())
}

struct Sweeper {
    database: Database,
    programs: Arc<Programs>,
    host: Host,
}

impl Sweeper {
    /// Goes through all programs. One that fails keeps none behind it waiting.
    async fn run(&self) -> Result<(), Error> {
        let mut done = Ok(());
        for known in self.host.directory().programs().await? {
            done = self.look_through(&known.id).await.and(done);
        }
        done
    }

    async fn look_through(&self, program: &ProgramId) -> Result<(), Error> {
        let Some(program) = self.programs.get(program).await? else { return Ok(()) };
        while !self.host.shutdown().is_cancelled() && retry(|| self.try_page(&program)).await? {}
        Ok(())
    }

    /// Looks at a page of members, and says whether there may be more to do.
    async fn try_page(&self, program: &Program) -> Result<bool, Error> {
        let Some(versions) = &program.versions else { return Ok(false) };
        let now = self.host.context().now();
        let today = now.date_in(&program.zone);
        let mut tx = self.database.read().await?;
        let known = store::sweep(&mut tx, &program.id).await?;
        let version = versions.held_at(now).map_or(0, |version| version.number);
        let Some(sweep) = Sweep::due(known, today, version) else { return Ok(false) };
        let days = versions.on_days(sweep.days(today), now, &program.zone);
        let page = match days.is_empty() {
            true => Vec::new(),
            false => store::members_after(&mut tx, &program.id, sweep.after, MEMBERS_MAX).await?,
        };
        drop(tx);
        let is_last = i64::try_from(page.len()).is_ok_and(|found| found < MEMBERS_MAX);
        let next = sweep.after_page(page.last().filter(|_| !is_last).map(|(account, _, _)| account.0));
        let mut tx = self.database.begin().await?;
        // First, so that another process waits here, and finds that it has been done.
        store::move_sweep(&mut tx, &program.id, known, next).await?;
        for (account, member, held) in &page {
            for effect in gifts_of(program, &days, (*account, *member, held), now, &mut tx).await? {
                tx.want_effect_once(&effect, now).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// What a member gets. Whoever took others in gets nothing that one of them has had.
async fn gifts_of(
    program: &Program,
    days: &[(Date, &Version)],
    (account, member, held): (AccountId, MemberId, &Held),
    now: Timestamp,
    tx: &mut Tx,
) -> Result<Vec<Effect>, Error> {
    if held.account.merged_into.is_some() {
        return Ok(Vec::new());
    }
    let last_purchase = held.account.last_purchase().map(|at| at.date_in(&program.zone));
    let candidate = Candidate { facts: &held.facts, last_purchase };
    let mut gifts = Vec::new();
    for (day, version) in days {
        for (occasion, of) in version.terms.gifts_on(*day, candidate, now) {
            let mut was_had = false;
            for taken_in in held.account.accounts(account).into_iter().skip(1) {
                was_had |= tx.effect(&occasion_key(&program.id, occasion, taken_in, &of)).await?.is_some();
            }
            if !was_had {
                let key = occasion_key(&program.id, occasion, account, &of);
                gifts.push(of_occasion(&program.id, member, occasion, key));
            }
        }
    }
    Ok(gifts)
}
