use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};

use super::batch::shared_by;
use super::job::{Job, Target, Work};
use crate::domain::{AccountId, Command, Purchase};
use crate::store::Wanted;

/// The keys that a batch reads, each once.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) find: Wanted,
    /// Purchases without an account whose row is going to change.
    pub(super) strangers: Vec<Uuid>,
    pub(super) rewards: Vec<Uuid>,
    pub(super) activities: Vec<Uuid>,
    /// Redemptions that are named. Those of a purchase that goes back are known when it has been read.
    redemptions: Vec<Uuid>,
    returns: Vec<Uuid>,
    /// Rewards of the catalogue or vouchers are named.
    pub(super) catalogue: bool,
}

/// Whether a job rests on its account alone, whose next entry fails when it has changed meanwhile, and on keys that are taken once: then it
/// needs no lock, and one statement looks up all that it needs. What it may count with others it does behind a lock.
pub(super) fn rests_on_one_account(job: &Job, now: Timestamp) -> bool {
    let Work::Command { target, command, .. } = &*job.work else { return job.other.is_none() };
    let alone = match (target, command) {
        (Target::Account | Target::Reservation(_), _) => true,
        (Target::Purchase(_), Command::Award(award)) => award.purchase.redemptions.is_empty(),
        _ => false,
    };
    alone && job.other.is_none() && shared_by(job, &HashMap::new(), now).next().is_none()
}

impl Keys {
    pub(super) fn of(jobs: &[Job], owners: &BTreeMap<AccountId, (ProgramId, MemberId)>) -> Keys {
        let mut keys = Keys::default();
        keys.find.accounts = owners.keys().map(|id| id.0).collect();
        for job in jobs {
            let Work::Command { key, target, command, .. } = &*job.work else { continue };
            keys.find.requests.push(key.id());
            match target {
                Target::Account => {}
                Target::Purchase(purchase) => keys.purchase(*purchase, command, job.account.is_none()),
                Target::Reservation(reservation) => keys.find.reservations.push(*reservation),
                Target::Reward(reward) => keys.rewards.push(*reward),
                Target::Activity(activity, proof) => keys.activities.extend(proof.iter().chain([activity])),
                Target::Redemption(redemption) => keys.redemptions.push(*redemption),
                Target::Catalogue(_) => keys.catalogue = true,
                Target::Voucher(_) => {
                    keys.catalogue = true;
                    if let Command::RefundReward(refund) = command {
                        keys.redemptions.extend(refund.paid.map(|(_, operation)| operation));
                    }
                }
            }
        }
        let Wanted { accounts: _, requests, purchases, reservations } = &mut keys.find;
        for list in [requests, purchases, reservations, &mut keys.strangers, &mut keys.rewards, &mut keys.activities] {
            list.sort_unstable();
            list.dedup();
        }
        keys
    }

    fn purchase(&mut self, key: Uuid, command: &Command, by_stranger: bool) {
        self.find.purchases.push(key);
        if let Command::Award(award) = command {
            self.redemptions.extend(&award.purchase.redemptions);
            return;
        }
        self.returns.push(key);
        if by_stranger {
            self.strangers.push(key);
        }
    }

    /// Redemptions to read: those that are named, and those that paid for purchases which go back.
    pub(super) fn redemptions(&self, purchases: &HashMap<Uuid, Arc<Purchase>>) -> Vec<Uuid> {
        let paid = self.returns.iter().filter_map(|key| purchases.get(key)).flat_map(|purchase| &purchase.input.redemptions);
        let mut all: Vec<Uuid> = self.redemptions.iter().chain(paid).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
