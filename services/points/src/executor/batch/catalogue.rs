//! Rewards and vouchers in a batch: read behind locks, which are taken after those of accounts, vouchers first, each kind in key order.

use std::collections::{BTreeSet, HashMap};

use kernel::{ProgramId, Uuid};
use persistence::{Error, Tx};

use super::super::job::{Job, Target, Work};
use crate::domain::rewards::{Reward, Voucher, VoucherState};
use crate::domain::{Account, AccountId, Command};
use crate::message;
use crate::store::{self, Held, Named, NewVoucher};

/// What a batch has read of them, as it stands after the jobs so far, and what of it is going to be written.
#[derive(Default)]
pub(super) struct Catalogue {
    rewards: HashMap<Uuid, Reward>,
    vouchers: HashMap<Uuid, Voucher>,
    /// Vouchers that accounts have redeemed for rewards, those refunded not counted.
    taken_by: HashMap<(AccountId, Uuid), i64>,
    changed_rewards: BTreeSet<Uuid>,
    changed_vouchers: BTreeSet<Uuid>,
    issued: Vec<NewVoucher>,
}

impl Catalogue {
    /// Locks and reads what the jobs name. Their accounts are locked.
    pub(super) async fn load(tx: &mut Tx, jobs: &[Job], accounts: &HashMap<AccountId, Held>) -> Result<Catalogue, Error> {
        let mut catalogue = Catalogue::default();
        let (mut rewards, mut vouchers, mut members) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut programs: HashMap<Uuid, &ProgramId> = HashMap::new();
        for job in jobs {
            let Work::Command { target, command, .. } = &*job.work else { continue };
            match (target, command) {
                (Target::Catalogue(reward), _) => {
                    rewards.insert(*reward);
                    programs.insert(*reward, &job.program.id);
                    let held = job.account.and_then(|(id, _)| Some((id, accounts.get(&id)?)));
                    members.extend(held.into_iter().flat_map(|(id, held)| held.account.accounts(id)).map(|id| id.0));
                }
                (Target::Voucher(voucher), Command::RefundReward(refund)) => {
                    vouchers.insert(*voucher);
                    if let (Some((reward, _)), true) = (refund.paid, refund.restock) {
                        rewards.insert(reward);
                        programs.insert(reward, &job.program.id);
                    }
                }
                _ => {}
            }
        }
        if !vouchers.is_empty() {
            let named = Named { ids: vouchers.into_iter().collect(), ..Named::default() };
            catalogue.vouchers = store::lock_vouchers(tx, &named).await?.into_iter().map(|(voucher, _)| (voucher.id, voucher)).collect();
        }
        if !rewards.is_empty() {
            let keys: Vec<Uuid> = rewards.into_iter().collect();
            for row in store::lock_catalogue(tx, &keys).await? {
                let program = programs.get(&row.catalogue_key).ok_or_else(|| Error::Corrupt("key of a reward".to_owned()))?;
                catalogue.rewards.insert(row.catalogue_key, message::rewards::reward(program, row)?);
            }
        }
        if !members.is_empty() {
            let keys: Vec<Uuid> = members.into_iter().collect();
            catalogue.taken_by = store::taken_by(tx, &keys).await?;
        }
        Ok(catalogue)
    }

    /// A reward, and how many of it an account has had, with those that it has taken in.
    pub(super) fn reward(&self, key: Uuid, id: AccountId, account: &Account) -> Option<(Reward, i64)> {
        let taken = account.accounts(id).into_iter().filter_map(|account| self.taken_by.get(&(account, key))).sum();
        Some((self.rewards.get(&key)?.clone(), taken))
    }

    pub(super) fn voucher(&self, id: Uuid) -> Option<&Voucher> {
        self.vouchers.get(&id)
    }

    /// A voucher was issued for a reward.
    pub(super) fn issue(&mut self, program: &ProgramId, voucher: &Voucher) {
        self.vouchers.insert(voucher.id, voucher.clone());
        self.issued.push((program.clone(), voucher.clone(), None));
        if let Some(reward) = voucher.reward {
            self.count(reward, 1);
            *self.taken_by.entry((voucher.account, reward)).or_default() += 1;
        }
    }

    /// The points of a voucher were given back.
    pub(super) fn refund(&mut self, voucher: &Voucher) {
        // One that was issued in this batch is written as it ends.
        match self.issued.iter_mut().find(|(_, issued, _)| issued.id == voucher.id) {
            Some((_, issued, _)) => *issued = voucher.clone(),
            None => _ = self.changed_vouchers.insert(voucher.id),
        }
        self.vouchers.insert(voucher.id, voucher.clone());
        if let Some(reward) = voucher.reward {
            if voucher.state == (VoucherState::Refunded { restocked: true }) {
                self.count(reward, -1);
            }
            self.taken_by.entry((voucher.account, reward)).and_modify(|taken| *taken -= 1);
        }
    }

    fn count(&mut self, reward: Uuid, pieces: i64) {
        if let Some(known) = self.rewards.get_mut(&reward) {
            known.taken += pieces;
            self.changed_rewards.insert(reward);
        }
    }

    /// Writes what has changed, in key order.
    pub(super) async fn write(&mut self, tx: &mut Tx) -> Result<(), Error> {
        if !self.changed_vouchers.is_empty() {
            let changed: Vec<&Voucher> = self.changed_vouchers.iter().map(|id| &self.vouchers[id]).collect();
            store::update_vouchers(tx, &changed).await?;
        }
        for key in &self.changed_rewards {
            store::write_taken(tx, *key, self.rewards[key].taken).await?;
        }
        self.issued.sort_unstable_by_key(|(_, voucher, _)| voucher.id);
        store::insert_vouchers(tx, &self.issued).await
    }
}
