//! What members share, in a batch: counters that its jobs may count in are put in and locked after everything else, in key order, and
//! written once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kernel::{ProgramId, Timestamp, Uuid};
use persistence::{Error, Tx};
use rpc::config::ClockConfig;

use super::super::job::{Job, Target, Work};
use super::Owners;
use crate::domain::{Account, AccountId, Command, Count, Counting, Purchase, Unapproved};
use crate::store::{self, Counter, Held};

/// What a batch has read of them, as it stands after the jobs so far.
#[derive(Default)]
pub(super) struct Counters {
    known: BTreeMap<Uuid, Counter>,
    /// Those that requests may count in.
    of_requests: HashMap<Uuid, Vec<Uuid>>,
    changed: bool,
}

/// What members share of what a job may count: the periods, and nothing in them.
pub(in crate::executor) fn shared_by<'a>(
    job: &'a Job,
    purchases: &'a HashMap<Uuid, Arc<Purchase>>,
    now: Timestamp,
) -> impl Iterator<Item = Count> + 'a {
    // A stranger gets nothing that could be counted.
    let (command, target) = match &*job.work {
        Work::Command { command, target, .. } if job.account.is_some() => (Some(command), Some(target)),
        _ => (None, None),
    };
    let versions = job.program.versions.as_ref();
    let awarding = versions.filter(|_| matches!(command, Some(Command::Award(_) | Command::Activity(_))));
    let at = job.origin.occurred_at(now);
    let awarded = awarding.into_iter().flat_map(move |versions| versions.at(at).shared_at(job.origin.place(), at));
    let bought = match (command, target) {
        (Some(Command::Return(_)), Some(Target::Purchase(key))) => purchases.get(key),
        _ => None,
    };
    let returned = bought.and_then(|purchase| Some((versions?.number(purchase.facts.version)?, purchase)));
    awarded.chain(returned.into_iter().flat_map(|(version, purchase)| version.shared_of(purchase)))
}

/// What members share that activities give back which wait for their approval in vain by now, or which a job may reject.
fn given_back<'a>(jobs: &'a [Job], id: AccountId, account: &'a Account, now: Timestamp) -> impl Iterator<Item = Count> + 'a {
    let rejects = move |job: &Job| {
        let command = if let Work::Command { command, .. } = &*job.work { Some(command) } else { None };
        job.account.is_some_and(|(own, _)| own == id) && matches!(command, Some(Command::Resolve(resolve)) if !resolve.came)
    };
    let may_go = move |known: &&Unapproved| known.gate.cancel_at.is_some_and(|at| at <= now) || jobs.iter().any(rejects);
    let shared = account.unapproved.iter().filter(may_go).flat_map(|known| &known.counted).filter(|count| count.by == Counting::Shared);
    shared.map(|count| Count { times: 0, points: 0, ..count.clone() })
}

/// Whether any of these accounts gives something back that members share.
pub(super) fn gives_back(jobs: &[Job], accounts: &HashMap<AccountId, Held>, now: Timestamp) -> bool {
    accounts.iter().any(|(id, held)| given_back(jobs, *id, &held.account, now).next().is_some())
}

impl Counters {
    /// Locks and reads what the jobs may count in. Whatever else they touch is locked.
    pub(super) async fn load(
        tx: &mut Tx,
        jobs: &[Job],
        (accounts, owners): (&HashMap<AccountId, Held>, &Owners),
        purchases: &HashMap<Uuid, Arc<Purchase>>,
        clock: &ClockConfig,
        now: Timestamp,
    ) -> Result<Counters, Error> {
        let mut known = BTreeMap::new();
        let mut of_requests: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        // One whose time is not believed is refused, and leaves no row of such a time.
        for job in jobs.iter().filter(|job| job.origin.check_time(clock, now).is_ok()) {
            for count in shared_by(job, purchases, now) {
                let key = key(&job.program.id, &count);
                known.entry(key).or_insert_with(|| Counter { key, program: job.program.id.clone(), count, version: 0 });
                if let Work::Command { key: request, .. } = &*job.work {
                    of_requests.entry(request.id()).or_default().push(key);
                }
            }
        }
        for (id, held) in accounts {
            let Some((program, _)) = owners.get(id) else { continue };
            for count in given_back(jobs, *id, &held.account, now) {
                let key = key(program, &count);
                known.entry(key).or_insert_with(|| Counter { key, program: program.clone(), count, version: 0 });
            }
        }
        if !known.is_empty() {
            store::insert_counters(tx, &known.values().cloned().collect::<Vec<_>>()).await?;
            let keys: Vec<Uuid> = known.keys().copied().collect();
            for (key, times, points, version) in store::lock_counters(tx, &keys).await? {
                let counter = known.get_mut(&key).ok_or_else(not_locked)?;
                (counter.count.times, counter.count.points, counter.version) = (times, points, version);
            }
        }
        Ok(Counters { known, of_requests, changed: false })
    }

    /// Whether there is nothing that the jobs may count in.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What has been counted of what a request may count.
    pub(super) fn of(&self, request: Uuid) -> Vec<Count> {
        let keys = self.of_requests.get(&request);
        keys.into_iter().flatten().filter_map(|key| self.known.get(key)).map(|counter| counter.count.clone()).collect()
    }

    /// Counts what an entry does; the counter before and after.
    pub(super) fn take(&mut self, program: &ProgramId, change: &Count) -> Result<(Count, &Counter), Error> {
        let counter = self.known.get_mut(&key(program, change)).ok_or_else(not_locked)?;
        let before = counter.count.clone();
        let beyond = || Error::Corrupt("a counter beyond what can be counted".to_owned());
        counter.count.times = before.times.checked_add(change.times).ok_or_else(beyond)?;
        counter.count.points = before.points.checked_add(change.points).ok_or_else(beyond)?;
        counter.version += 1;
        self.changed = true;
        Ok((before, counter))
    }

    /// Writes what is locked, in key order.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), Error> {
        if !self.changed {
            return Ok(());
        }
        store::write_counters(tx, &self.known.values().cloned().collect::<Vec<_>>()).await
    }
}

fn key(program: &ProgramId, count: &Count) -> Uuid {
    Target::counter(program, count)
}

fn not_locked() -> Error {
    Error::Corrupt("a counter that was not locked".to_owned())
}
