//! Whose accounts a call is about, and who says so, where and when.

use std::sync::Arc;

use super::account::Stamp;
use super::rules::micros;
use super::{World, input, operation_name, pool_member};
use crate::it::proof::calls::Call;

/// The members of a call's two sides.
pub(super) struct Sides {
    /// Whose account it is, after all merges; `None` for a stranger and for what is not there.
    pub(super) first: Option<Arc<str>>,
    /// Who was named, where that is another.
    pub(super) presented: String,
    pub(super) second: Option<Arc<str>>,
}

impl World {
    /// Whose accounts a call concerns.
    pub(super) fn sides(&self, call: &Call) -> Sides {
        let of_reservation = |name: &str| name.split_once("/reservations/").map(|(member, _)| member.to_owned()).unwrap_or_default();
        let pool = |name: &str| pool_member(name);
        let (first, second) = match call {
            Call::Award(request) => (request.member.clone(), None),
            Call::AwardActivity(request) => (request.member.clone(), None),
            Call::ActivatePending(request) => (request.member.clone(), None),
            Call::CancelPending(request) => (request.member.clone(), None),
            Call::Redeem(request) => (request.member.clone(), None),
            Call::Reserve(request) => (request.member.clone(), None),
            Call::Capture(request) => (of_reservation(&request.name), None),
            Call::Release(request) => (of_reservation(&request.name), None),
            Call::ReturnPurchase(request) => {
                let member = self.purchases.get(&request.purchase).map(|purchase| purchase.told.member.clone()).unwrap_or_default();
                let home = Some(self.survivor(&member)).filter(|home| !home.is_empty()).map(|home| self.account(&home));
                let elsewhere = home.and_then(|home| self.elsewhere(request, &[&home]));
                (member, elsewhere.map(|spent| self.survivor(&spent.owner.member)))
            }
            Call::RefundRedemption(request) => {
                (self.redemptions.get(&request.redemption).map(|spent| spent.owner.member.to_string()).unwrap_or_default(), None)
            }
            Call::Adjust(request) => (request.member.clone(), None),
            Call::SetExpiry(request) => (request.member.clone(), None),
            Call::ForgiveDeficit(request) => (request.member.clone(), None),
            Call::EnsureReward(request) => (request.member.clone(), None),
            Call::PreviewAward(request) => (request.member.clone(), None),
            Call::GetBalance(request) => (request.member.clone(), None),
            Call::Transfer(request) => (request.member.clone(), Some(self.survivor(&request.to_member))),
            // What is taken in or let go is meant as it is named.
            Call::MergeAccounts(request) => (request.member.clone(), Some(request.merged_member.as_str().into())),
            Call::UnmergeAccounts(request) => (request.member.clone(), Some(request.merged_member.as_str().into())),
            Call::CreatePool(request) => (pool(&operation_name(&request.request_id)), None),
            Call::InviteToPool(request) => (pool(&request.pool), None),
            Call::JoinPool(request) => (pool(&request.pool), None),
            Call::SetPoolSharing(request) => (pool(&request.pool), None),
            Call::ContributeToPool(request) => (request.member.clone(), Some(pool(&request.pool).into())),
            Call::LeavePool(request) => (pool(&request.pool), Some(self.survivor(&request.member))),
            Call::RedeemFromPool(request) => (pool(&request.pool), Some(self.survivor(&request.member))),
            Call::GetPool(request) => (pool(&request.name), None),
            Call::SettleDue(_) | Call::ListEntries(_) | Call::GetPurchase(_) | Call::GetOperation(_) => (String::new(), None),
        };
        if first.is_empty() {
            return Sides { first: None, presented: String::new(), second };
        }
        let survivor = self.survivor(&first);
        let presented = if *survivor == first { String::new() } else { first };
        Sides { first: Some(survivor), presented, second }
    }

    /// The moments between two at which something falls due in the accounts of a call.
    pub(crate) fn turning_points(&self, call: &Call, from: i64, until: i64) -> Vec<i64> {
        let sides = self.sides(call);
        let accounts: Vec<_> = sides.first.iter().chain(&sides.second).map(|member| self.account(member)).collect();
        accounts.iter().flat_map(|account| account.due_times()).filter(|at| from < *at && *at <= until).collect()
    }

    pub(super) fn stamp(&self, call: &Call, sides: &Sides, now: i64) -> Stamp {
        let occurred = |told: &Option<prost_types::Timestamp>| told.as_ref().map_or(now, micros);
        let (store, terminal, occurred) = match call {
            Call::Award(request) => (&*input(request).store, &*input(request).terminal, occurred(&input(request).occur_time)),
            Call::Redeem(request) => (&*request.store, &*request.terminal, now),
            Call::Reserve(request) => (&*request.store, &*request.terminal, now),
            Call::Capture(request) => (&*request.store, &*request.terminal, now),
            Call::RefundRedemption(request) => (&*request.store, &*request.terminal, now),
            Call::RedeemFromPool(request) => (&*request.store, &*request.terminal, now),
            Call::ReturnPurchase(request) => (&*request.store, &*request.terminal, occurred(&request.occur_time)),
            Call::AwardActivity(request) => (&*request.store, &*request.terminal, occurred(&request.occur_time)),
            Call::ActivatePending(request) => ("", "", occurred(&request.occur_time)),
            _ => ("", "", now),
        };
        // A terminal lies in its store.
        let store = if store.is_empty() { terminal.split("/terminals/").next().unwrap_or_default() } else { store };
        let id = call.request_id().unwrap_or_default();
        Stamp {
            operation: operation_name(id),
            request_id: id.to_owned(),
            actor: self.keys.actor(call.role()).to_owned(),
            store: store.to_owned(),
            terminal: terminal.to_owned(),
            presented: sides.presented.clone(),
            occurred,
            now,
        }
    }
}
