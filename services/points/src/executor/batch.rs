use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use kernel::{Context, MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Error, NewEvent, RequestKey, Tx};
use prost::Message;
use proto::points as pb;
use rpc::config::ClockConfig;

use super::job::{Done, Job, Reply, Target, Work};
use crate::domain::{AccountId, ClosedReservation, Command, Entry, Known, Ledger, Outcome, Purchase, RewardState, Settled, Stamp};
use crate::error::{self, StoredRefusal};
use crate::event;
use crate::message::{self, AnswerParts};
use crate::store::{self, Additions, AnswerKind, Found, Locked, NewAnswer, NewReturn, StoredAnswer, Wanted};

/// How long a refusal is remembered.
const REFUSAL_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// What a batch has read, and what it is going to write. Commands see what those before them in the batch have done.
pub(super) struct Batch<'a> {
    context: &'a Context,
    clock: &'a ClockConfig,
    now: Timestamp,
    accounts: HashMap<AccountId, Locked>,
    owners: BTreeMap<AccountId, (ProgramId, MemberId)>,
    answers: HashMap<Uuid, StoredAnswer>,
    purchases: HashMap<Uuid, Purchase>,
    ended: HashMap<Uuid, (AccountId, ClosedReservation)>,
    rewards: HashMap<Uuid, (AccountId, RewardState)>,
    changed: HashSet<AccountId>,
    entries: Vec<(AccountId, Entry)>,
    new_answers: Vec<NewAnswer>,
    new_purchases: Vec<(Uuid, Option<AccountId>, Purchase)>,
    /// Returned purchases, one row per return, so that each row's number of returns moves by one.
    new_returns: Vec<(NewReturn, Purchase)>,
    /// As they stand last: open, or how they ended.
    reservations: BTreeMap<Uuid, (AccountId, Option<ClosedReservation>)>,
    written_rewards: BTreeMap<Uuid, (AccountId, RewardState)>,
    events: Vec<NewEvent>,
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
        let owners: BTreeMap<AccountId, (ProgramId, MemberId)> =
            jobs.iter().filter_map(|job| job.account.map(|(id, member)| (id, (job.program.id.clone(), member)))).collect();
        let keys = Keys::of(jobs, &owners);
        let mut accounts = match &keys.find.accounts[..] {
            [] => HashMap::new(),
            ids => store::lock_accounts(tx, ids).await?,
        };
        if !keys.strangers.is_empty() {
            store::lock_purchases(tx, &keys.strangers).await?;
        }
        let Found { facts, answers, purchases, ended } = store::find(tx, &keys.find, now).await?;
        for (id, facts) in facts {
            if let Some(held) = accounts.get_mut(&id) {
                held.facts = facts;
            }
        }
        let rewards = if keys.rewards.is_empty() { HashMap::new() } else { store::rewards(tx, &keys.rewards).await? };
        Ok(Batch {
            context,
            clock,
            now,
            accounts,
            owners,
            answers,
            purchases,
            ended,
            rewards,
            changed: HashSet::new(),
            entries: Vec::new(),
            new_answers: Vec::new(),
            new_purchases: Vec::new(),
            new_returns: Vec::new(),
            reservations: BTreeMap::new(),
            written_rewards: BTreeMap::new(),
            events: Vec::new(),
        })
    }

    /// Carries out one job. The lookup of its keys precedes every business check.
    pub(super) fn run(&mut self, job: &Job) -> Result<Reply, Error> {
        let Work::Command { key, request_id, command, target, request } = &job.work else {
            return Ok(Reply::Settled(self.settle(job)));
        };
        if let Some(stored) = self.answers.get(&key.id()) {
            return replay(key, stored, command, error::request_id_reused);
        }
        if let (Command::Award(_), Target::Purchase(purchase)) = (command, target)
            && let Some(recorded) = self.purchases.get(purchase)
        {
            let stored = self.answers.get(&recorded.operation).cloned();
            let stored = stored.ok_or_else(|| Error::Corrupt("a purchase without its operation".to_owned()))?;
            let reply = replay(key, &stored, command, error::purchase_exists)?;
            // The request id that was answered is bound from now on, like the one that came first.
            if let Reply::Done { .. } = reply {
                self.remember(key, stored.kind, stored.answer);
            }
            return Ok(reply);
        }
        if let Target::Reward(reward) = target
            && let Some((owner, _)) = self.rewards.get(reward)
            && job.account.is_none_or(|(id, _)| id != *owner)
        {
            return Ok(Reply::Refused(Box::new(error::reward_exists())));
        }
        // After the lookups: a till may ask for its first answer long after the time of the event has ceased to be believed.
        if let Err(untimely) = job.origin.check_time(self.clock, self.now) {
            return Ok(Reply::Refused(Box::new(untimely)));
        }
        let Some(versions) = &job.program.versions else {
            return Ok(Reply::Refused(Box::new(error::version_missing(&job.program.id))));
        };
        let due = self.settle(job).entries;
        let stamp = Stamp {
            operation: key.id(),
            request_id: request_id.clone(),
            actor: job.origin.actor.clone(),
            terminal: job.origin.terminal.clone(),
            store: job.origin.store.clone(),
            occurred_at: job.origin.occurred_at(self.now),
            now: self.now,
        };
        let known = self.known(job, target);
        let mut stranger = Locked { account: Default::default(), facts: Default::default() };
        let held = match job.account {
            Some((id, _)) => self.accounts.get_mut(&id).ok_or_else(|| Error::Corrupt("an account that was not locked".to_owned()))?,
            None => &mut stranger,
        };
        match Ledger::open(&mut held.account, versions, &held.facts, &stamp).apply(command, &known) {
            Ok((outcome, entries)) => self.keep(job, key, &stamp, *target, request, outcome, &due, entries),
            Err(refusal) => {
                let status = error::refused(&refusal);
                if error::is_remembered(&refusal) {
                    self.remember(key, AnswerKind::Refusal, StoredRefusal::of(&status).encode_to_vec());
                }
                Ok(Reply::Refused(Box::new(status)))
            }
        }
    }

    /// Writes everything in one go. Keys are written sorted, so that two processes never wait for each other in a circle.
    pub(super) async fn write(mut self, tx: &mut Tx) -> Result<(), Error> {
        for (key, (account, state)) in &self.written_rewards {
            store::write_reward(tx, *key, *account, state).await?;
        }
        self.new_answers.sort_unstable_by_key(|answer| answer.operation);
        self.new_purchases.sort_unstable_by_key(|(key, _, _)| *key);
        let changed = self.owners.iter().filter(|(id, _)| self.changed.contains(id));
        let additions = Additions {
            accounts: changed.map(|(id, (program, member))| (*id, program.clone(), *member, &self.accounts[id].account)).collect(),
            entries: &self.entries,
            answers: &self.new_answers,
            purchases: &self.new_purchases,
            reservations: self.reservations.iter().map(|(id, (account, ended))| (*id, *account, *ended)).collect(),
            events: self.events,
        };
        store::write_additions(tx, additions).await?;
        // Nobody is waited for here: these purchases are new, or they or their accounts are locked.
        for (new, purchase) in &self.new_returns {
            store::update_purchase(tx, new.purchase_key, purchase).await?;
            store::insert_return(tx, new).await?;
        }
        Ok(())
    }

    /// Does what has fallen due in the job's account; its entries are the clock's.
    fn settle(&mut self, job: &Job) -> Settled {
        let (Some((id, member)), Some(versions)) = (job.account, &job.program.versions) else { return Settled::default() };
        let Some(held) = self.accounts.get_mut(&id) else { return Settled::default() };
        if held.account.next_due().is_none_or(|due| due > self.now) {
            return Settled::default();
        }
        let clock: std::sync::Arc<str> = "".into();
        let stamp = Stamp {
            operation: Uuid::nil(),
            request_id: clock.clone(),
            actor: "clock".into(),
            terminal: clock.clone(),
            store: clock,
            occurred_at: self.now,
            now: self.now,
        };
        let settled = Ledger::open(&mut held.account, versions, &held.facts, &stamp).settle();
        if let Some(last) = settled.entries.last() {
            let event = event::of_settling(&job.program.id, member, last, &settled);
            self.changed.insert(id);
            self.push_event(event);
            self.entries.extend(settled.entries.iter().map(|entry| (id, entry.clone())));
            for (reservation, ended) in &settled.ended {
                self.ended.insert(*reservation, (id, *ended));
            }
        }
        settled
    }

    /// What the store has of the thing that a command names. Of another account's things it has nothing: a reservation may be named
    /// under the wrong member, and a purchase may have been recorded after it was looked up whose account to lock.
    fn known(&self, job: &Job, target: &Target) -> Known {
        let account = job.account.map(|(id, _)| id);
        let member = job.account.map(|(_, member)| member);
        match target {
            Target::Account => Known::default(),
            Target::Purchase(key) => {
                Known { purchase: self.purchases.get(key).filter(|purchase| purchase.member == member).cloned(), ..Known::default() }
            }
            Target::Reservation(key) => {
                let ended = self.ended.get(key).filter(|(owner, _)| Some(*owner) == account);
                Known { closed_reservation: ended.map(|(_, how)| *how), ..Known::default() }
            }
            Target::Reward(key) => Known { reward: self.rewards.get(key).map(|(_, state)| state.clone()), ..Known::default() },
        }
    }

    /// Takes what a command did into what will be written, and makes its answer.
    #[expect(clippy::too_many_arguments, reason = "everything about one command, once")]
    fn keep(
        &mut self,
        job: &Job,
        key: &RequestKey,
        stamp: &Stamp,
        target: Target,
        request: &[u8],
        outcome: Outcome,
        due: &[Entry],
        entries: Vec<Entry>,
    ) -> Result<Reply, Error> {
        let account = job.account.map(|(id, _)| id);
        if let Some(id) = account.filter(|_| !entries.is_empty()) {
            self.changed.insert(id);
        }
        self.keep_outcome(account, stamp, target, request, &outcome);
        let held = account.and_then(|id| self.accounts.get(&id)).map(|held| &held.account);
        let member = job.account.map(|(_, member)| member);
        let parts = AnswerParts { program: &job.program, member, account: held, stamp, due, entries: &entries };
        let event = event::of_command(&parts, &outcome, job.origin.historical);
        let operation = message::operation(&parts, &outcome);
        let (done, bytes) = match &outcome {
            Outcome::Ensured(state) => (Done::Ensured(state.clone()), message::remembered_reward(&operation, state)),
            _ => {
                let bytes = operation.encode_to_vec();
                (Done::Operation(Box::new(operation)), bytes)
            }
        };
        if let Some(event) = event {
            self.push_event(event);
        }
        if let Some(id) = account {
            self.entries.extend(entries.into_iter().map(|entry| (id, entry)));
        }
        self.remember(key, AnswerKind::Operation, bytes);
        Ok(Reply::Done { done, replayed: false })
    }

    fn keep_outcome(&mut self, account: Option<AccountId>, stamp: &Stamp, target: Target, request: &[u8], outcome: &Outcome) {
        match (outcome, target, account) {
            (Outcome::Awarded { purchase, .. }, Target::Purchase(key), account) => {
                self.purchases.insert(key, (**purchase).clone());
                self.new_purchases.push((key, account, (**purchase).clone()));
            }
            (Outcome::Returned(returned), Target::Purchase(key), _) => {
                self.purchases.insert(key, returned.purchase.clone());
                let new = NewReturn {
                    purchase_key: key,
                    number: returned.purchase.returns,
                    operation: stamp.operation,
                    returned_net: returned.summary.returned,
                    due_delta: returned.summary.due_delta,
                    occurred_at: stamp.occurred_at,
                    recorded_at: stamp.now,
                    details: request.to_vec(),
                };
                self.new_returns.push((new, returned.purchase.clone()));
            }
            (Outcome::Reserved { reservation }, _, Some(account)) => {
                self.reservations.insert(reservation.id, (account, None));
            }
            (Outcome::Captured { reservation, .. }, _, Some(account)) => self.end(reservation.id, account, ClosedReservation::Captured),
            (Outcome::Released { reservation }, _, Some(account)) => self.end(reservation.id, account, ClosedReservation::Released),
            (Outcome::Ensured(state), Target::Reward(key), Some(account)) => {
                self.rewards.insert(key, (account, state.clone()));
                self.written_rewards.insert(key, (account, state.clone()));
            }
            _ => {}
        }
    }

    fn end(&mut self, reservation: Uuid, account: AccountId, how: ClosedReservation) {
        self.ended.insert(reservation, (account, how));
        self.reservations.insert(reservation, (account, Some(how)));
    }

    fn remember(&mut self, key: &RequestKey, kind: AnswerKind, answer: Vec<u8>) {
        let stored = StoredAnswer { fingerprint: key.fingerprint().to_vec(), kind, answer };
        if let MapEntry::Vacant(free) = self.answers.entry(key.id()) {
            free.insert(stored.clone());
            let forget_at = (kind == AnswerKind::Refusal).then(|| self.now + REFUSAL_MEMORY);
            self.new_answers.push(NewAnswer { operation: key.id(), stored, recorded_at: self.now, forget_at });
        }
    }

    fn push_event(&mut self, event: proto::events::Event) {
        let id = self.context.uuid();
        let stream = if event.member.is_empty() { event.aggregate.clone() } else { event.member.clone() };
        let event = proto::events::Event { event_id: id.to_string(), ..event };
        self.events.push(NewEvent { id, stream, at: self.now, payload: event.encode_to_vec() });
    }
}

/// The keys that a batch reads, each once.
#[derive(Default)]
struct Keys {
    find: Wanted,
    /// Purchases without an account whose row is going to change.
    strangers: Vec<Uuid>,
    rewards: Vec<Uuid>,
}

impl Keys {
    fn of(jobs: &[Job], owners: &BTreeMap<AccountId, (ProgramId, MemberId)>) -> Keys {
        let mut keys = Keys::default();
        keys.find.accounts = owners.keys().map(|id| id.0).collect();
        for job in jobs {
            let Work::Command { key, target, command, .. } = &job.work else { continue };
            keys.find.requests.push(key.id());
            match target {
                Target::Account => {}
                Target::Purchase(purchase) => {
                    keys.find.purchases.push(*purchase);
                    if job.account.is_none() && matches!(command, Command::Return(_)) {
                        keys.strangers.push(*purchase);
                    }
                }
                Target::Reservation(reservation) => keys.find.reservations.push(*reservation),
                Target::Reward(reward) => keys.rewards.push(*reward),
            }
        }
        let Wanted { accounts: _, requests, purchases, reservations } = &mut keys.find;
        for list in [requests, purchases, reservations, &mut keys.strangers, &mut keys.rewards] {
            list.sort_unstable();
            list.dedup();
        }
        keys
    }
}

/// The first answer again, or the error of a key that was used for something else.
fn replay(key: &RequestKey, stored: &StoredAnswer, command: &Command, reused: fn(&str) -> tonic::Status) -> Result<Reply, Error> {
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
        _ => Done::Operation(Box::new(pb::Operation::decode(&stored.answer[..]).map_err(corrupt)?)),
    };
    Ok(Reply::Done { done, replayed: true })
}
