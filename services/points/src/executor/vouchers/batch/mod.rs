mod holds;
mod uses;

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kernel::{Context, ProgramId, Timestamp, Uuid};
use persistence::{Error, NewEvent, RequestKey, Tx};
use prost::Message;
use proto::events::voucher_changed::Change as ToldChange;
use rpc::config::ClockConfig;

use self::holds::Holds;
use super::{Ensure, Grant, ShownCode, Told, UseVoucher, VoucherChange, VoucherJob};
use crate::domain::rewards::{Reward, RewardRefusal, Voucher, VoucherState, Wish, Wished};
use crate::domain::{AccountId, MemberStatus, Refusal};
use crate::event;
use crate::message::rewards::{self as told, RememberedVoucher, RememberedWish};
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store::{self, Additions, AnswerKind, Found, Held, Named, NewAnswer, NewOfflineUse, NewVoucher, StoredAnswer, Wanted};

/// How many merges are followed to whoever survived them.
const STEPS_MAX: usize = 64;

/// What a batch has read, as it stands after the changes so far, and what of it is going to be written.
pub(super) struct Batch<'a> {
    context: &'a Context,
    clock: &'a ClockConfig,
    now: Timestamp,
    vouchers: HashMap<Uuid, Voucher>,
    by_code: HashMap<[u8; 32], Uuid>,
    /// The operations that told of grants, by their keys.
    grants: HashMap<Uuid, Uuid>,
    /// The operations that told of uses without a connection, by their keys.
    offline: HashMap<Uuid, Uuid>,
    /// What was lost by such uses, by voucher and order: the key of the use, and how much.
    losses: HashMap<(Uuid, String), Vec<(Uuid, i64)>>,
    wishes: BTreeMap<Uuid, Wish>,
    holds: Holds,
    rewards: BTreeMap<Uuid, Reward>,
    /// Accounts and answers; the former are not locked: what is known of a member may change at any time.
    found: Found,
    /// In the place of an account that is not there.
    stranger: Held,
    issued: Vec<NewVoucher>,
    used_offline: Vec<NewOfflineUse>,
    voided_losses: Vec<Uuid>,
    changed: BTreeSet<Uuid>,
    changed_wishes: BTreeSet<Uuid>,
    changed_rewards: BTreeSet<Uuid>,
    new_answers: Vec<NewAnswer>,
    events: Vec<NewEvent>,
}

impl<'a> Batch<'a> {
    /// Locks wishes, vouchers and rewards, each kind in key order, then reads everything else: a read after the lock is fresh. What vouchers
    /// hold is locked last, since accounts say which of it.
    pub(super) async fn load(
        tx: &mut Tx,
        jobs: &[VoucherJob],
        context: &'a Context,
        clock: &'a ClockConfig,
        now: Timestamp,
    ) -> Result<Batch<'a>, Error> {
        let mut named = Named::default();
        let (mut wishes, mut offline) = (BTreeSet::new(), Vec::new());
        for job in jobs {
            match &job.change {
                VoucherChange::Grant(grant) => named.grants.push(grant.key),
                VoucherChange::Ensure(ensure) => _ = wishes.insert(ensure.key),
                VoucherChange::Use(UseVoucher { code, offline: told, .. }) => {
                    offline.extend(told.as_ref().map(|told| told.key));
                    match code {
                        ShownCode::Hashes(hashes) => named.codes.extend(hashes),
                        ShownCode::Claim(claim) => named.ids.push(claim.voucher),
                    }
                }
                VoucherChange::Void { voucher, .. } | VoucherChange::Revoke { voucher, .. } => named.ids.push(*voucher),
            }
        }
        let wishes = if wishes.is_empty() { Vec::new() } else { store::lock_wishes(tx, &Vec::from_iter(wishes)).await? };
        named.ids.extend(wishes.iter().filter_map(|wish| wish.voucher));
        let locked = store::lock_vouchers(tx, &named).await?;
        let grants = locked.iter().filter_map(|(_, grant)| *grant).collect();
        let vouchers: HashMap<Uuid, Voucher> = locked.into_iter().map(|(voucher, _)| (voucher.id, voucher)).collect();
        let by_code = vouchers.values().map(|voucher| (voucher.seal.hash, voucher.id)).collect();
        let offline = if offline.is_empty() { HashMap::new() } else { store::offline_uses_by_key(tx, &offline).await? };
        let mut batch = Batch {
            context,
            clock,
            now,
            vouchers,
            by_code,
            grants,
            offline,
            losses: HashMap::new(),
            wishes: wishes.into_iter().map(|wish| (wish.key, wish)).collect(),
            holds: Holds::default(),
            rewards: BTreeMap::new(),
            found: Found::default(),
            stranger: Held::default(),
            issued: Vec::new(),
            used_offline: Vec::new(),
            voided_losses: Vec::new(),
            changed: BTreeSet::new(),
            changed_wishes: BTreeSet::new(),
            changed_rewards: BTreeSet::new(),
            new_answers: Vec::new(),
            events: Vec::new(),
        };
        let voided: Vec<Uuid> = jobs.iter().filter_map(|job| batch.void_of_loss(&job.change)).collect();
        if !voided.is_empty() {
            batch.losses = store::losses_of(tx, &voided).await?;
        }
        batch.load_rewards(tx, jobs).await?;
        batch.load_found(tx, jobs).await?;
        batch.load_holds(tx, jobs).await?;
        Ok(batch)
    }

    /// The voucher whose use for an order is to be undone, which it has not been used for: it may be one that was lost.
    fn void_of_loss(&self, change: &VoucherChange) -> Option<Uuid> {
        let VoucherChange::Void { voucher, member: _, order } = change else { return None };
        self.vouchers.get(voucher).filter(|known| known.use_for(order).is_none()).map(|known| known.id)
    }

    /// Rewards of which a piece may be taken or put back.
    async fn load_rewards(&mut self, tx: &mut Tx, jobs: &[VoucherJob]) -> Result<(), Error> {
        let mut programs: BTreeMap<Uuid, &ProgramId> = BTreeMap::new();
        for job in jobs {
            let reward = match &job.change {
                VoucherChange::Ensure(ensure) => Some(ensure.reward),
                VoucherChange::Void { voucher, .. } => {
                    self.vouchers.get(voucher).filter(|voucher| voucher.recalled).and_then(|voucher| voucher.reward)
                }
                _ => None,
            };
            programs.extend(reward.map(|reward| (reward, &job.program.id)));
        }
        if programs.is_empty() {
            return Ok(());
        }
        let keys: Vec<Uuid> = programs.keys().copied().collect();
        for row in store::lock_catalogue(tx, &keys).await? {
            let program = programs.get(&row.catalogue_key).ok_or_else(|| Error::Corrupt("key of a reward".to_owned()))?;
            self.rewards.insert(row.catalogue_key, told::reward(program, row)?);
        }
        Ok(())
    }

    /// Answers to the requests and to those that came first, and the accounts of the members, up to whoever survived them.
    async fn load_found(&mut self, tx: &mut Tx, jobs: &[VoucherJob]) -> Result<(), Error> {
        let mut accounts: BTreeMap<AccountId, &ProgramId> = BTreeMap::new();
        let mut requests = BTreeSet::new();
        for VoucherJob { program, key, change } in jobs {
            requests.insert(key.id());
            let account = match change {
                VoucherChange::Grant(Grant { member, key, .. }) => {
                    requests.extend(self.grants.get(key));
                    Some(AccountId::of(&program.id, *member))
                }
                VoucherChange::Ensure(ensure) => Some(AccountId::of(&program.id, ensure.member)),
                VoucherChange::Use(UseVoucher { code, order, offline, basket: _ }) => {
                    requests.extend(offline.as_ref().and_then(|told| self.offline.get(&told.key)));
                    let voucher = self.shown(&program.id, code);
                    requests.extend(voucher.and_then(|voucher| voucher.use_for(order)).map(|used| used.operation));
                    voucher.map(|voucher| voucher.account)
                }
                VoucherChange::Void { .. } | VoucherChange::Revoke { .. } => None,
            };
            accounts.extend(account.map(|account| (account, &program.id)));
        }
        let mut requests = Vec::from_iter(requests);
        for _ in 0..STEPS_MAX {
            let wanted = Wanted { accounts: accounts.keys().map(|id| id.0).collect(), requests, ..Wanted::default() };
            let found = store::find_beside(tx, &wanted, self.now).await?;
            let survivor = |(id, program): (&AccountId, &&'_ ProgramId)| -> Option<AccountId> {
                Some(AccountId::of(program, found.accounts.get(id)?.account.merged_into?))
            };
            let next: BTreeMap<AccountId, &ProgramId> =
                accounts.iter().filter_map(|(id, program)| Some((survivor((id, program))?, *program))).collect();
            self.found.accounts.extend(found.accounts);
            self.found.answers.extend(found.answers);
            self.found.forgotten.extend(found.forgotten);
            accounts = next.into_iter().filter(|(id, _)| !self.found.accounts.contains_key(id)).collect();
            if accounts.is_empty() {
                break;
            }
            requests = Vec::new();
        }
        Ok(())
    }

    /// Carries out one change. The lookup of its key precedes every business check.
    pub(super) fn run(&mut self, job: &VoucherJob) -> Result<Result<Told, RewardError>, Error> {
        let done = match self.found.answers.get(&job.key.id()) {
            Some(stored) => job.key.check(&stored.fingerprint).map(|()| replay(stored)).map_err(RewardError::from),
            None => self.change(job),
        };
        match done {
            Err(RewardError::Store(error)) if !matches!(error, Error::RequestIdReused { .. }) => Err(error),
            done => Ok(done),
        }
    }

    fn change(&mut self, job: &VoucherJob) -> Result<Told, RewardError> {
        let told = match &job.change {
            VoucherChange::Grant(grant) => self.grant(job, grant)?,
            VoucherChange::Ensure(ensure) => first(&self.ensure(&job.program, ensure)?),
            VoucherChange::Use(shown) => self.use_for(job, shown)?,
            VoucherChange::Void { voucher, member, order } => {
                let voucher = self.named(&job.program, *voucher, *member)?.clone();
                self.void(&job.program, &voucher, order)?
            }
            VoucherChange::Revoke { voucher, member, reason } => {
                let voucher = self.named(&job.program, *voucher, *member)?.revoked(reason)?;
                self.keep(&job.program, voucher, ToldChange::Revoked)?
            }
        };
        self.remember(&job.key, &told.answer);
        Ok(told)
    }

    fn grant(&mut self, job: &VoucherJob, grant: &Grant) -> Result<Told, RewardError> {
        let Grant { member, key, validity, details, fresh } = grant;
        if let Some(operation) = self.grants.get(key) {
            let stored = self.told_by(*operation)?;
            return match job.key.check(&stored.fingerprint) {
                Err(Error::RequestIdReused { field }) => Err(RewardError::GrantExists { field }),
                checked => Ok(checked.map(|()| replay(stored))?),
            };
        }
        let account = AccountId::of(&job.program.id, *member);
        self.check_admitted(&job.program.id, account)?;
        if validity.fixed_end().is_some_and(|end| end <= self.now) {
            return Err(RewardError::EndNotAhead);
        }
        let voucher = Voucher {
            id: fresh.id,
            account,
            member: *member,
            reward: None,
            redemption: None,
            recalled: false,
            seal: fresh.seal.clone(),
            state: VoucherState::Usable,
            version: 1,
            issued_at: self.now,
            expires_at: validity.ends(self.now, &job.program.zone),
            details: details.clone(),
        };
        self.grants.insert(*key, job.key.id());
        self.issued.push((job.program.id.clone(), voucher.clone(), Some((*key, job.key.id()))));
        Ok(self.keep(&job.program, voucher, ToldChange::Issued)?)
    }

    fn ensure(&mut self, program: &Program, ensure: &Ensure) -> Result<RememberedWish, RewardError> {
        let named = AccountId::of(&program.id, ensure.member);
        let fresh = Wish { key: ensure.key, account: named, reward: ensure.reward, version: 0, voucher: None };
        let wish = self.wishes.get(&ensure.key).cloned().unwrap_or(fresh);
        if wish.reward != ensure.reward {
            return Err(RewardError::WishExists { field: "reward" });
        }
        // What is to be had no more is known by its key: the member may have been merged since, or parted.
        let is_one =
            || self.surviving(&program.id, named).0 == wish.account || self.survivor(&program.id, named).account.has_merged(wish.account);
        if ensure.wanted && wish.account != named && !is_one() {
            return Err(RewardError::WishExists { field: "member" });
        }
        let mut wish = Wish { version: wish.version.max(ensure.version), ..wish };
        let seen = self.wishes.get(&ensure.key).map_or(0, |wish| wish.version);
        if ensure.version > seen {
            let issued = wish.voucher.and_then(|id| self.vouchers.get(&id));
            match Wished::of(issued, ensure.wanted) {
                Wished::Stands => {}
                Wished::Issue => wish.voucher = Some(self.give(program, ensure, named)?),
                Wished::Changed { voucher, restocks } => {
                    if restocks {
                        self.count(wish.reward, -1);
                        self.tell(program, *voucher, ToldChange::Revoked)?;
                    } else {
                        // Nobody sees any of it but the wish that comes next.
                        self.put(*voucher);
                    }
                }
            }
            self.wishes.insert(wish.key, wish.clone());
            self.changed_wishes.insert(wish.key);
        }
        let voucher = wish.voucher.and_then(|id| self.vouchers.get(&id));
        let issued = voucher.map(|voucher| remembered(program, voucher)).transpose()?;
        Ok(RememberedWish { version: wish.version, had: Wished::is_had(voucher), issued })
    }

    /// Issues a voucher for a piece of a reward that costs nothing.
    fn give(&mut self, program: &Program, ensure: &Ensure, account: AccountId) -> Result<Uuid, RewardError> {
        let reward = self.rewards.get(&ensure.reward).ok_or(RewardRefusal::NotFound)?;
        self.check_admitted(&program.id, account)?;
        if let Some(refusal) = reward.not_given(self.now) {
            return Err(refusal.into());
        }
        let Ensure { member, fresh, .. } = ensure;
        let voucher = Voucher {
            id: fresh.id,
            account,
            member: *member,
            reward: Some(reward.key),
            redemption: None,
            recalled: false,
            seal: fresh.seal.clone(),
            state: VoucherState::Usable,
            version: 1,
            issued_at: self.now,
            expires_at: reward.validity.ends(self.now, &program.zone),
            details: told::given_details(reward, ensure.reason)?,
        };
        self.count(ensure.reward, 1);
        self.issued.push((program.id.clone(), voucher.clone(), None));
        self.tell(program, voucher, ToldChange::Issued)?;
        Ok(fresh.id)
    }

    /// The voucher that is shown.
    fn shown(&self, program: &ProgramId, code: &ShownCode) -> Option<&Voucher> {
        let voucher = match code {
            ShownCode::Hashes(hashes) => hashes.iter().find_map(|hash| self.vouchers.get(self.by_code.get(hash)?)),
            ShownCode::Claim(claim) => self.vouchers.get(&claim.voucher),
        };
        voucher.filter(|voucher| voucher.account == AccountId::of(program, voucher.member))
    }

    fn named(&self, program: &Program, id: Uuid, member: kernel::MemberId) -> Result<&Voucher, RewardError> {
        let account = AccountId::of(&program.id, member);
        let named = self.vouchers.get(&id).filter(|voucher| voucher.account == account && voucher.member == member);
        Ok(named.ok_or(RewardRefusal::VoucherNotFound)?)
    }

    /// The account of whoever survived a member, or his own.
    fn survivor(&self, program: &ProgramId, account: AccountId) -> &Held {
        self.surviving(program, account).1
    }

    /// The same with its key.
    fn surviving(&self, program: &ProgramId, account: AccountId) -> (AccountId, &Held) {
        let held = |id: AccountId| (id, self.found.accounts.get(&id).unwrap_or(&self.stranger));
        let next = |(_, at): &(AccountId, &Held)| Some(held(AccountId::of(program, at.account.merged_into?)));
        std::iter::successors(Some(held(account)), next).take(STEPS_MAX).last().unwrap_or((account, &self.stranger))
    }

    fn check_admitted(&self, program: &ProgramId, account: AccountId) -> Result<(), RewardError> {
        match self.survivor(program, account).facts.status {
            MemberStatus::Active => Ok(()),
            MemberStatus::Blocked => Err(Refusal::MemberBlocked.into()),
            MemberStatus::Closed => Err(Refusal::MemberClosed.into()),
        }
    }

    fn told_by(&self, operation: Uuid) -> Result<&StoredAnswer, Error> {
        let stored = self.found.answers.get(&operation);
        stored.map(|stored| &**stored).ok_or_else(|| Error::Corrupt("a change of a voucher without its operation".to_owned()))
    }

    /// A voucher as it is from now on, with the event of it, for an answer.
    fn keep(&mut self, program: &Program, voucher: Voucher, change: ToldChange) -> Result<Told, Error> {
        let told = first(&remembered(program, &voucher)?);
        self.tell(program, voucher, change)?;
        Ok(told)
    }

    /// A voucher as it is from now on, and the event of it.
    fn tell(&mut self, program: &Program, voucher: Voucher, change: ToldChange) -> Result<(), Error> {
        let event = event::of_voucher(program, &voucher, change, self.now, self.now)?;
        self.events.push(event::new(self.context, self.now, event));
        self.put(voucher);
        Ok(())
    }

    fn put(&mut self, voucher: Voucher) {
        // One that was issued in this batch is written as it ends.
        match self.issued.iter_mut().find(|(_, issued, _)| issued.id == voucher.id) {
            Some((_, issued, _)) => *issued = voucher.clone(),
            None => _ = self.changed.insert(voucher.id),
        }
        self.by_code.insert(voucher.seal.hash, voucher.id);
        self.vouchers.insert(voucher.id, voucher);
    }

    fn count(&mut self, reward: Uuid, pieces: i64) {
        if let Some(known) = self.rewards.get_mut(&reward) {
            known.taken += pieces;
            self.changed_rewards.insert(reward);
        }
    }

    fn remember(&mut self, key: &RequestKey, answer: &[u8]) {
        if let MapEntry::Vacant(free) = self.found.answers.entry(key.id()) {
            let stored = StoredAnswer { fingerprint: key.fingerprint().to_vec(), kind: AnswerKind::Other, answer: answer.to_vec() };
            let stored = free.insert(Arc::new(stored)).clone();
            self.new_answers.push(NewAnswer { operation: key.id(), stored, recorded_at: self.now, forget_at: None });
        }
    }

    /// Writes everything in one go, each kind in key order.
    pub(super) async fn write(mut self, tx: &mut Tx) -> Result<(), Error> {
        store::forget(tx, &self.found.forgotten, self.now).await?;
        if !self.changed.is_empty() {
            let changed: Vec<&Voucher> = self.changed.iter().map(|id| &self.vouchers[id]).collect();
            store::update_vouchers(tx, &changed).await?;
        }
        for key in &self.changed_rewards {
            store::write_taken(tx, *key, self.rewards[key].taken).await?;
        }
        self.issued.sort_unstable_by_key(|(_, voucher, _)| voucher.id);
        store::insert_vouchers(tx, &self.issued).await?;
        self.used_offline.sort_unstable_by_key(|used| used.told.key);
        store::insert_offline_uses(tx, &self.used_offline).await?;
        for key in &self.voided_losses {
            store::void_loss(tx, *key).await?;
        }
        self.holds.write(tx).await?;
        for key in &self.changed_wishes {
            store::write_wish(tx, &self.wishes[key]).await?;
        }
        self.new_answers.sort_unstable_by_key(|answer| answer.operation);
        store::write_additions(tx, Additions { answers: &self.new_answers, events: self.events, ..Additions::default() }).await
    }
}

fn first(answer: &impl Message) -> Told {
    Told { answer: answer.encode_to_vec(), replayed: false }
}

fn replay(stored: &StoredAnswer) -> Told {
    Told { answer: stored.answer.clone(), replayed: true }
}

fn remembered(program: &Program, voucher: &Voucher) -> Result<RememberedVoucher, Error> {
    Ok(RememberedVoucher { voucher: Some(told::voucher(program, voucher)?), key_version: voucher.seal.key_version })
}
