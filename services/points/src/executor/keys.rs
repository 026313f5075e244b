use std::collections::HashMap;

use kernel::Uuid;

use super::job::{Job, Target, Work};
use crate::domain::{Command, Purchase};

/// The keys that a batch reads, each once.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) operations: Vec<Uuid>,
    pub(super) purchases: Vec<Uuid>,
    /// Purchases without an account whose row is going to change.
    pub(super) strangers: Vec<Uuid>,
    pub(super) reservations: Vec<Uuid>,
    pub(super) rewards: Vec<Uuid>,
    pub(super) activities: Vec<Uuid>,
    /// Redemptions that are named. Those of a purchase that goes back are known when it has been read.
    redemptions: Vec<Uuid>,
    returns: Vec<Uuid>,
}

impl Keys {
    pub(super) fn of(jobs: &[Job]) -> Keys {
        let mut keys = Keys::default();
        for job in jobs {
            let Work::Command { key, target, command, .. } = &*job.work else { continue };
            keys.operations.push(key.id());
            match target {
                Target::Account => {}
                Target::Purchase(purchase) => {
                    keys.purchases.push(*purchase);
                    match command {
                        Command::Award(award) => keys.redemptions.extend(&award.purchase.redemptions),
                        _ => {
                            keys.returns.push(*purchase);
                            if job.account.is_none() {
                                keys.strangers.push(*purchase);
                            }
                        }
                    }
                }
                Target::Reservation(reservation) => keys.reservations.push(*reservation),
                Target::Reward(reward) => keys.rewards.push(*reward),
                Target::Activity(activity) => keys.activities.push(*activity),
                Target::Redemption(redemption) => keys.redemptions.push(*redemption),
            }
        }
        let Keys { operations, purchases, strangers, reservations, rewards, activities, .. } = &mut keys;
        for list in [operations, purchases, strangers, reservations, rewards, activities] {
            list.sort_unstable();
            list.dedup();
        }
        keys
    }

    /// Redemptions to read: those that are named, and those that paid for purchases which go back.
    pub(super) fn redemptions(&self, purchases: &HashMap<Uuid, Purchase>) -> Vec<Uuid> {
        let paid = self.returns.iter().filter_map(|key| purchases.get(key)).flat_map(|purchase| &purchase.input.redemptions);
        let mut all: Vec<Uuid> = self.redemptions.iter().chain(paid).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
