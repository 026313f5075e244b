//! What a batch knows of what a command names.

use kernel::{MemberId, Uuid};

use super::super::job::{Job, Side, Target};
use super::{Batch, Reused};
use crate::domain::{AccountId, Command, Known, Purchase, Redemption, Return, Versions};
use crate::error;

impl Batch<'_> {
    /// The operation that has recorded what binds only once, and how another under the same id is refused.
    pub(super) fn recorded(&self, command: &Command, target: &Target) -> Option<(Uuid, Reused)> {
        match (command, target) {
            (Command::Award(_), Target::Purchase(key)) => Some((self.purchases.get(key)?.operation, error::purchase_exists)),
            (Command::Activity(_), Target::Activity(key, _)) => Some((*self.activities.get(key)?, error::activity_exists)),
            _ => None,
        }
    }

    /// The side whose account has been merged into that of another member, or that was sent to a survivor who has let him go since.
    pub(super) fn moved(&self, job: &Job, command: &Command) -> Option<(Side, MemberId)> {
        let survivor = |side: Option<(AccountId, MemberId)>| self.accounts.get(&side?.0)?.account.merged_into;
        let let_go = |side: Option<(AccountId, MemberId)>, named: Option<MemberId>| {
            let (id, _) = side?;
            named.filter(|named| !self.has(id, AccountId::of(&job.program.id, *named)))
        };
        let first = survivor(job.account).or_else(|| let_go(job.account, job.presented)).map(|to| (Side::First, to));
        let second = || survivor(job.other).or_else(|| let_go(job.other, job.presented_other)).map(|to| (Side::Second, to));
        first.or_else(|| if follows(command) { second() } else { None })
    }

    /// Whether something waits for an event whose life is counted by terms that another process has made a moment ago.
    pub(super) fn waits_under_unseen(&self, job: &Job, versions: &Versions) -> bool {
        let held = job.account.and_then(|(id, _)| self.accounts.get(&id));
        let mut lots = held.into_iter().flat_map(|held| &held.account.wallets).flat_map(|wallet| &wallet.lots);
        lots.any(|lot| lot.key.gate().is_some_and(|gate| versions.number(gate.version).is_none()))
    }

    /// A purchase of the member who is named. It may have been recorded after it was looked up whose account to lock.
    pub(super) fn purchase_of(&self, job: &Job, key: &Uuid) -> Option<&Purchase> {
        let named = job.presented.or(job.account.map(|(_, member)| member));
        self.purchases.get(key).map(|purchase| &**purchase).filter(|purchase| purchase.member == named)
    }

    /// Whether the job's account is this one, or has taken it in.
    pub(super) fn holds(&self, job: &Job, owner: AccountId) -> bool {
        job.account.is_some_and(|(id, _)| self.has(id, owner))
    }

    /// The same for the other account of a job.
    pub(super) fn in_other(&self, job: &Job, owner: AccountId) -> bool {
        job.other.is_some_and(|(id, _)| self.has(id, owner))
    }

    /// Whether the other account of a return is still one to which something may go back: meanwhile it may have gone back otherwise, or
    /// the accounts may have become one. Every other command has its other account by its nature.
    pub(super) fn is_paid_from_other(&self, job: &Job, command: &Command, target: &Target) -> bool {
        let (Command::Return(_), Target::Purchase(key), Some(_)) = (command, target, job.other) else { return true };
        let spent = self.purchase_of(job, key).into_iter().flat_map(|purchase| &purchase.input.redemptions);
        let mut left = spent.filter_map(|id| self.redemptions.get(id)).filter(|redemption| redemption.left() > 0);
        left.any(|redemption| !self.holds(job, redemption.account) && self.in_other(job, redemption.account))
    }

    /// A redemption that paid for the goods which go back, when there is something left of it in an account that the job does not have:
    /// a pool's, or that of who had taken the buyer's in when it was spent. What it was spent from is where it goes back to.
    pub(super) fn elsewhere(&self, job: &Job, command: &Command, target: &Target) -> Option<Uuid> {
        let (Command::Return(Return { give_back: None | Some(1..), .. }), Target::Purchase(key)) = (command, target) else { return None };
        let spent = self.purchase_of(job, key)?.input.redemptions.iter().filter_map(|id| self.redemptions.get(id));
        let known = |redemption: &Redemption| self.holds(job, redemption.account) || self.in_other(job, redemption.account);
        spent.filter(|redemption| redemption.left() > 0).find(|redemption| !known(redemption)).map(|redemption| redemption.operation)
    }

    pub(super) fn has(&self, id: AccountId, owner: AccountId) -> bool {
        id == owner || self.accounts.get(&id).is_some_and(|held| held.account.has_merged(owner))
    }

    /// What the store has of the things that a command names. Of another account's things it has nothing: a reservation may be named
    /// under the wrong member.
    pub(super) fn known(&self, job: &Job, command: &Command, target: &Target) -> Known {
        let mut known = Known::default();
        let redemption = |id: &Uuid| self.redemptions.get(id).filter(|redemption| self.holds(job, redemption.account)).cloned();
        let spent_by = |redemption: &&Redemption| match command {
            Command::Award(_) => redemption.spender.is_some_and(|spender| self.holds(job, AccountId::of(&job.program.id, spender))),
            _ => self.in_other(job, redemption.account),
        };
        let paid = |id: &Uuid| redemption(id).or_else(|| self.redemptions.get(id).filter(spent_by).cloned());
        match target {
            Target::Account | Target::Activity(..) => {}
            Target::Purchase(key) => {
                known.purchase = self.purchase_of(job, key).cloned();
                let spent = match (command, &known.purchase) {
                    (Command::Award(award), _) => &award.purchase.redemptions[..],
                    (_, Some(purchase)) => &purchase.input.redemptions,
                    (_, None) => &[],
                };
                // What was spent on a reward pays for nothing else.
                known.redemptions = spent.iter().filter_map(paid).filter(|redemption| !redemption.of_reward).collect();
            }
            Target::Reservation(key) => {
                let ended = self.ended.get(key).filter(|(owner, _)| self.holds(job, *owner));
                known.closed_reservation = ended.map(|(_, how)| *how);
            }
            Target::Reward(key) => known.reward = self.rewards.get(key).map(|(_, state)| state.clone()),
            Target::Redemption(key) => known.redemptions = redemption(key).into_iter().collect(),
            Target::Catalogue(key) => {
                let held = job.account.and_then(|(id, _)| Some((id, self.accounts.get(&id)?)));
                known.catalogue = held.and_then(|(id, held)| self.catalogue.reward(*key, id, &held.account));
            }
            Target::Voucher(id) => {
                known.voucher = self.catalogue.voucher(*id).cloned();
                let paid = known.voucher.as_ref().and_then(|voucher| voucher.redemption);
                known.redemptions = paid.and_then(|operation| redemption(&operation)).into_iter().collect();
            }
        }
        known
    }
}

/// Whether the other side of a command is whoever survived it. What is taken in or let go is meant as it is named.
fn follows(command: &Command) -> bool {
    matches!(command, Command::Transfer(_) | Command::LeavePool(_) | Command::RedeemFromPool(_) | Command::Return(_))
}
