mod catalogue;
mod counters;
mod keep;
mod lookups;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use kernel::{Context, MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Effect, Error, NewEvent, RequestKey, Tx};
use prost::Message;
use proto::points as pb;
use rpc::config::ClockConfig;

use self::catalogue::Catalogue;
use self::counters::Counters;
use self::keep::Executed;
use super::job::{Done, Job, Reply, Target, Work};
use super::keys::Keys;
use crate::domain::{
    self, Account, AccountId, ClosedReservation, Command, Entry, Known, Ledger, Outcome, Purchase, Redemption, RewardState, Settled, Stamp,
    Versions, apply_between,
};
use crate::error::{self, StoredRefusal};
use crate::event;
use crate::message::{self, rewards::RememberedVoucher};
use crate::store::{
    self, Additions, AnswerKind, Found, Guard, Held, NewActivity, NewAnswer, NewPurchase, NewRedemption, NewReturn, StoredAnswer,
};

pub(super) use self::counters::shared_by;

/// What a batch has read, and what it is going to write. Commands see what those before them in the batch have done.
pub(super) struct Batch<'a> {
    context: &'a Context,
    clock: &'a ClockConfig,
    now: Timestamp,
    accounts: HashMap<AccountId, Held>,
    owners: Owners,
    answers: HashMap<Uuid, Arc<StoredAnswer>>,
    /// Requests whose refusals make room.
    forgotten: Vec<Uuid>,
    purchases: HashMap<Uuid, Arc<Purchase>>,
    ended: HashMap<Uuid, (AccountId, ClosedReservation)>,
    rewards: HashMap<Uuid, (AccountId, RewardState)>,
    redemptions: HashMap<Uuid, Redemption>,
    catalogue: Catalogue,
    counters: Counters,
    /// Operations that rewarded activities.
    activities: HashMap<Uuid, Uuid>,
    changed: HashSet<AccountId>,
    entries: Vec<(AccountId, Entry)>,
    new_answers: Vec<NewAnswer>,
    new_purchases: Vec<NewPurchase>,
    /// Purchases of before that have gone back in this batch, as they are now.
    returned: BTreeMap<Uuid, Arc<Purchase>>,
    new_returns: Vec<NewReturn>,
    /// As they stand last: open, or how they ended.
    reservations: BTreeMap<Uuid, (AccountId, Option<ClosedReservation>)>,
    written_rewards: BTreeMap<Uuid, (AccountId, RewardState)>,
    new_redemptions: Vec<NewRedemption>,
    refunded: BTreeMap<Uuid, i64>,
    new_activities: Vec<NewActivity>,
    /// Links that prove nothing any more.
    freed: BTreeSet<Uuid>,
    events: Vec<NewEvent>,
    /// Vouchers to issue or to take back.
    gifts: Vec<Effect>,
    /// Something was done that left no entry in its account.
    unseen: bool,
}

/// Whose accounts are whose, in key order.
type Owners = BTreeMap<AccountId, (ProgramId, MemberId)>;

fn owners(jobs: &[Job]) -> Owners {
    let accounts = |job: &Job| job.account.into_iter().chain(job.other);
    jobs.iter().flat_map(|job| accounts(job).map(|(id, member)| (id, (job.program.id.clone(), member)))).collect()
}

impl<'a> Batch<'a> {
    /// Locks the accounts in key order, then reads everything else: a read after the lock is fresh.
    pub(super) async fn load(
        tx: &mut Tx,
        jobs: &[Job],
        context: &'a Context,
        clock: &'a ClockConfig,
        now: Timestamp,
    ) -> Result<Batch<'a>, Error> {
        let owners = owners(jobs);
        let keys = Keys::of(jobs, &owners);
        let accounts = match &keys.find.accounts[..] {
            [] => HashMap::new(),
            ids => store::lock_accounts(tx, ids).await?,
        };
        if !keys.strangers.is_empty() {
            store::lock_purchases(tx, &keys.strangers).await?;
        }
        let found = store::find(tx, &keys.find, accounts, now).await?;
        let mut batch = Batch::of(owners, found, context, clock, now);
        if !keys.activities.is_empty() {
            batch.activities = store::activities(tx, &keys.activities).await?;
        }
        let redeemed = keys.redemptions(&batch.purchases);
        if !redeemed.is_empty() {
            batch.redemptions = store::redemptions(tx, &redeemed).await?;
        }
        if keys.catalogue {
            batch.catalogue = Catalogue::load(tx, jobs, &batch.accounts).await?;
        }
        if !keys.rewards.is_empty() {
            batch.rewards = store::rewards(tx, &keys.rewards).await?;
        }
        batch.recall(tx).await?;
        batch.counters = Counters::load(tx, jobs, (&batch.accounts, &batch.owners), &batch.purchases, clock, now).await?;
        if !batch.counters.is_empty() {
            batch.check_new_accounts(tx).await?;
        }
        Ok(batch)
    }

    /// There was nothing to lock of an account that is new. When another process has opened it while this one waited for a counter,
    /// whoever holds it now may wait for that counter in turn: the batch is run again, rather than waiting for each other.
    async fn check_new_accounts(&self, tx: &mut Tx) -> Result<(), Error> {
        let new = self.accounts.iter().filter(|(_, held)| held.account.version == 0).map(|(id, _)| id.0);
        let new: Vec<Uuid> = new.collect();
        let opened = !new.is_empty() && !store::existing_keys(tx, Guard::Account, &new).await?.is_empty();
        if opened { Err(Error::Conflict) } else { Ok(()) }
    }

    /// Reads everything as it was at one moment, and locks nothing: for jobs that each rest on one account.
    pub(super) async fn load_unlocked(
        tx: &mut Tx,
        jobs: &[Job],
        context: &'a Context,
        clock: &'a ClockConfig,
        now: Timestamp,
    ) -> Result<Batch<'a>, Error> {
        let owners = owners(jobs);
        let keys = Keys::of(jobs, &owners);
        let found = store::find_unlocked(tx, &keys.find, now).await?;
        let mut batch = Batch::of(owners, found, context, clock, now);
        batch.recall(tx).await?;
        Ok(batch)
    }

    fn of(owners: Owners, found: Found, context: &'a Context, clock: &'a ClockConfig, now: Timestamp) -> Batch<'a> {
        let Found { accounts, answers, forgotten, purchases, ended } = found;
        Batch {
            context,
            clock,
            now,
            accounts,
            owners,
            answers,
            forgotten,
            purchases,
            ended,
            rewards: HashMap::new(),
            redemptions: HashMap::new(),
            catalogue: Catalogue::default(),
            counters: Counters::default(),
            activities: HashMap::new(),
            changed: HashSet::new(),
            entries: Vec::new(),
            new_answers: Vec::new(),
            new_purchases: Vec::new(),
            returned: BTreeMap::new(),
            new_returns: Vec::new(),
            reservations: BTreeMap::new(),
            written_rewards: BTreeMap::new(),
            new_redemptions: Vec::new(),
            refunded: BTreeMap::new(),
            new_activities: Vec::new(),
            freed: BTreeSet::new(),
            events: Vec::new(),
            gifts: Vec::new(),
            unseen: false,
        }
    }

    /// What is recorded already is answered with the answer of its day.
    async fn recall(&mut self, tx: &mut Tx) -> Result<(), Error> {
        let recorded = self.activities.values().copied().chain(self.purchases.values().map(|purchase| purchase.operation));
        let first: Vec<Uuid> = recorded.filter(|id| !self.answers.contains_key(id)).collect();
        if !first.is_empty() {
            self.answers.extend(store::operations(tx, &first, self.now).await?);
        }
        Ok(())
    }

    /// Whether one statement writes everything, and fails when anything has changed that the jobs have rested on.
    pub(super) fn needs_no_lock(&self) -> bool {
        !self.unseen && self.forgotten.is_empty() && self.gifts.is_empty() && self.freed.is_empty()
    }

    /// Whether a job gives something back that members share, which is behind a lock.
    pub(super) fn gives_back(&self, jobs: &[Job]) -> bool {
        counters::gives_back(jobs, &self.accounts, self.now)
    }

    /// Carries out one job. The lookup of its keys precedes every business check.
    pub(super) fn run(&mut self, job: &Job) -> Result<Reply, Error> {
        let Work::Command { key, request_id, command, target, request } = &*job.work else {
            return Ok(Reply::Settled(self.settle(job.account, job)?));
        };
        if let Some(stored) = self.answers.get(&key.id()) {
            return replay(key, stored, command, error::request_id_reused);
        }
        if let Some((operation, exists)) = self.recorded(command, target) {
            let stored = self.answers.get(&operation).cloned();
            let stored = stored.ok_or_else(|| Error::Corrupt("something recorded without its operation".to_owned()))?;
            let reply = replay(key, &stored, command, exists)?;
            // The request id that was answered is bound from now on, like the one that came first.
            if let Reply::Done { .. } = reply {
                self.remember(key, stored.kind, stored.answer.clone());
            }
            return Ok(reply);
        }
        if let Target::Activity(_, Some(proof)) = target
            && self.activities.contains_key(proof)
        {
            return Ok(Reply::Refused(Box::new(error::proof_used())));
        }
        if let Some((side, to)) = self.moved(job, command) {
            return Ok(Reply::Moved(side, to));
        }
        if let Target::Reward(reward) = target
            && let Some((owner, _)) = self.rewards.get(reward)
            && !self.holds(job, *owner)
        {
            return Ok(Reply::Refused(Box::new(error::reward_exists())));
        }
        let at_home;
        let job = if self.is_paid_from_other(job, command, target) {
            job
        } else {
            at_home = Job { other: None, presented_other: None, ..job.clone() };
            &at_home
        };
        let elsewhere = self.elsewhere(job, command, target);
        if let (Some(redemption), None) = (elsewhere, job.other) {
            return Ok(Reply::Elsewhere(redemption));
        }
        // After the lookups: a till may ask for its first answer long after the time of the event has ceased to be believed.
        if let Err(untimely) = job.origin.check_time(self.clock, self.now) {
            return Ok(Reply::Refused(Box::new(untimely)));
        }
        let Some(versions) = &job.program.versions else {
            return Ok(Reply::Refused(Box::new(error::version_missing(&job.program.id))));
        };
        if matches!(command, Command::Resolve(_)) && self.waits_under_unseen(job, versions) {
            return Ok(Reply::Outdated);
        }
        let due = self.settle(job.account, job)?.entries;
        self.settle(job.other, job)?;
        let stamp = Stamp {
            operation: key.id(),
            request_id: request_id.clone(),
            actor: job.origin.actor.clone(),
            terminal: job.origin.terminal.clone(),
            cashier: job.origin.cashier.clone(),
            store: job.origin.store.clone(),
            presented: job.presented,
            occurred_at: job.origin.occurred_at(self.now),
            now: self.now,
        };
        let mut known = self.known(job, command, target);
        known.shared = self.counters.of(key.id());
        let done = match (job.account, job.other) {
            _ if elsewhere.is_some() => Ok(Err(domain::Refusal::RedemptionsApart)),
            // Merged into each other meanwhile.
            (Some((first, _)), Some((second, _))) if first == second => Ok(Err(one_account(command))),
            (Some(first), Some(second)) if first != second => self.apply_between(command, first, second, versions, &stamp, &known),
            (account, _) => self.apply(command, account, versions, &stamp, &known),
        }?;
        match done {
            Ok((outcome, entries, others)) => {
                self.keep(job, &stamp, Executed { key, target: *target, request, outcome, due: &due, entries, others })
            }
            Err(refusal) => {
                let status = error::refused(&refusal);
                if error::is_remembered(&refusal) {
                    self.remember(key, AnswerKind::Refusal, StoredRefusal::of(&status).encode_to_vec());
                }
                Ok(Reply::Refused(Box::new(status)))
            }
        }
    }

    fn apply(
        &mut self,
        command: &Command,
        account: Option<(AccountId, MemberId)>,
        versions: &Versions,
        stamp: &Stamp,
        known: &Known,
    ) -> Result<Applied, Error> {
        let mut stranger = Held { account: Account::default(), facts: Default::default() };
        let (id, held) = match account {
            Some((id, _)) => (id, self.accounts.get_mut(&id).ok_or_else(not_locked)?),
            None => (AccountId(Uuid::nil()), &mut stranger),
        };
        let done = Ledger::open(id, &mut held.account, versions, &held.facts, stamp).apply(command, known);
        Ok(done.map(|(outcome, entries)| (outcome, entries, Vec::new())))
    }

    fn apply_between(
        &mut self,
        command: &Command,
        first: (AccountId, MemberId),
        second: (AccountId, MemberId),
        versions: &Versions,
        stamp: &Stamp,
        known: &Known,
    ) -> Result<Applied, Error> {
        let [Some(one), Some(two)] = self.accounts.get_disjoint_mut([&first.0, &second.0]) else { return Err(not_locked()) };
        // Whoever is named under another's name is so on the first side.
        let unnamed = Stamp { presented: None, ..stamp.clone() };
        let one = Ledger::open(first.0, &mut one.account, versions, &one.facts, stamp);
        let two = Ledger::open(second.0, &mut two.account, versions, &two.facts, &unnamed);
        let sides = (domain::Side { books: one, member: first.1 }, domain::Side { books: two, member: second.1 });
        Ok(apply_between(command, known, sides.0, sides.1).map(|(outcome, [entries, others])| (outcome, entries, others)))
    }

    /// Writes everything in one go. Keys are written sorted, so that two processes never wait for each other in a circle.
    pub(super) async fn write(mut self, tx: &mut Tx) -> Result<(), Error> {
        store::forget(tx, &self.forgotten, self.now).await?;
        for (key, (account, state)) in &self.written_rewards {
            store::write_reward(tx, *key, *account, state).await?;
        }
        // These rows, or their accounts, are locked. Those of this batch's own purchases and redemptions are written as they end.
        for (key, purchase) in &self.returned {
            store::update_purchase(tx, *key, purchase).await?;
        }
        for new in &self.new_returns {
            store::insert_return(tx, new).await?;
        }
        for (redemption, refunded) in &self.refunded {
            store::write_refunded(tx, *redemption, *refunded).await?;
        }
        for gift in &self.gifts {
            tx.want_effect(gift, self.now).await?;
        }
        self.catalogue.write(tx).await?;
        self.counters.write(tx).await?;
        self.new_activities.sort_unstable_by_key(|activity| activity.key);
        store::free_proofs(tx, &self.freed.iter().copied().collect::<Vec<_>>()).await?;
        store::insert_activities(tx, &self.new_activities).await?;
        self.new_answers.sort_unstable_by_key(|answer| answer.operation);
        self.new_purchases.sort_unstable_by_key(|(key, _, _)| *key);
        let changed = self.owners.iter().filter(|(id, _)| self.changed.contains(id));
        let additions = Additions {
            accounts: changed.map(|(id, (program, member))| (*id, program.clone(), *member, &self.accounts[id].account)).collect(),
            entries: &self.entries,
            answers: &self.new_answers,
            purchases: &self.new_purchases,
            redemptions: &self.new_redemptions,
            reservations: self.reservations.iter().map(|(id, (account, ended))| (*id, *account, *ended)).collect(),
            events: self.events,
        };
        store::write_additions(tx, additions).await
    }

    /// Does what has fallen due in an account of a job; its entries are the clock's.
    fn settle(&mut self, account: Option<(AccountId, MemberId)>, job: &Job) -> Result<Settled, Error> {
        let (Some((id, member)), Some(versions)) = (account, &job.program.versions) else { return Ok(Settled::default()) };
        let Some(held) = self.accounts.get_mut(&id) else { return Ok(Settled::default()) };
        if held.account.next_due().is_none_or(|due| due > self.now) {
            return Ok(Settled::default());
        }
        let stamp = Stamp::of_clock(self.now);
        let settled = Ledger::open(id, &mut held.account, versions, &held.facts, &stamp).settle();
        for change in settled.entries.iter().flat_map(Entry::counted_of_all) {
            self.counters.take(&job.program.id, change)?;
        }
        self.free(&settled.entries);
        if let Some(last) = settled.entries.last() {
            let event = event::of_settling(&job.program.id, member, last, &settled);
            self.changed.insert(id);
            self.push_event(event);
            self.entries.extend(settled.entries.iter().map(|entry| (id, entry.clone())));
            for (reservation, ended) in &settled.ended {
                self.ended.insert(*reservation, (id, *ended));
            }
        }
        Ok(settled)
    }
}

/// How a key is refused that was used for something else; the argument is the first field that differs.
type Reused = fn(&str) -> tonic::Status;

/// What a command did: the outcome, what it posted in its account, and what in the other.
type Applied = Result<(Outcome, Vec<Entry>, Vec<Entry>), domain::Refusal>;

/// Why a command between two accounts is refused when both are the same.
fn one_account(command: &Command) -> domain::Refusal {
    match command {
        Command::Merge(_) => domain::Refusal::AlreadyMerged,
        Command::Unmerge(_) => domain::Refusal::NotMerged,
        _ => domain::Refusal::SameAccount,
    }
}

fn not_locked() -> Error {
    Error::Corrupt("an account that was not locked".to_owned())
}

/// The first answer again, or the error of a key that was used for something else.
fn replay(key: &RequestKey, stored: &StoredAnswer, command: &Command, reused: Reused) -> Result<Reply, Error> {
    match key.check(&stored.fingerprint) {
        Err(Error::RequestIdReused { field }) => return Ok(Reply::Refused(Box::new(reused(&field)))),
        checked => checked?,
    }
    if stored.kind == AnswerKind::Refusal {
        return Ok(Reply::Refused(Box::new(StoredRefusal::read(&stored.answer)?.replayed())));
    }
    let corrupt = |_| Error::Corrupt("a remembered answer".to_owned());
    let done = match command {
        Command::Ensure(_) => Done::Ensured(message::reward_state(&stored.answer).map_err(corrupt)?),
        Command::RedeemReward(_) | Command::RefundReward(_) => {
            let operation = pb::Operation::decode(&stored.answer[..]).map_err(corrupt)?;
            let RememberedVoucher { voucher, key_version } = RememberedVoucher::decode(&stored.answer[..]).map_err(corrupt)?;
            Done::Voucher(Box::new(operation), Box::new(voucher.unwrap_or_default()), key_version)
        }
        _ => Done::Operation(Box::new(pb::Operation::decode(&stored.answer[..]).map_err(corrupt)?)),
    };
    Ok(Reply::Done { done, replayed: true })
}
