//! What is asked of two accounts, and of pools.

use proto::common::Money;
use proto::points as pb;
use proto::points::redeem_request::Mode;
use proto::points::return_purchase_request::What;
use rand::RngExt;

use super::{MEMBERS, POOLS, Planner, member};
use crate::it::proof::calls::Call;
use crate::it::proof::model::{operation_name, pool_member, pool_name};
use crate::it::suite::TEA;

/// One account takes another in. It has no request id yet.
pub(super) fn merge(member: &str, merged: &str) -> Call {
    Call::MergeAccounts(pb::MergeAccountsRequest {
        member: member.to_owned(),
        merged_member: merged.to_owned(),
        reason: "one person".to_owned(),
        request_id: String::new(),
    })
}

/// And lets it go.
pub(super) fn unmerge(member: &str, merged: &str) -> Call {
    Call::UnmergeAccounts(pb::UnmergeAccountsRequest {
        member: member.to_owned(),
        merged_member: merged.to_owned(),
        reason: "two after all".to_owned(),
        request_id: String::new(),
    })
}

impl Planner {
    /// Two different members.
    fn two(&mut self) -> (String, String) {
        let one = self.dice.random_range(0..MEMBERS);
        let other = (one + self.dice.random_range(1..MEMBERS)) % MEMBERS;
        (member(one + 1), member(other + 1))
    }

    pub(super) fn transfer(&mut self) -> Call {
        let (member, to_member) = self.two();
        let points_max = self.one_of(&[12, 12, 60]);
        Call::Transfer(pb::TransferRequest {
            member,
            to_member,
            wallet: self.wallet(),
            points: self.dice.random_range(1..=points_max),
            reason: "a gift".to_owned(),
            request_id: self.id(),
        })
    }

    pub(super) fn merge(&mut self) -> Call {
        let (member, merged) = self.two();
        merge(&member, &merged).under(&self.id())
    }

    pub(super) fn unmerge(&mut self) -> Call {
        let last = self.recent(|call| matches!(call, Call::MergeAccounts(_)));
        let (member, merged) = match last {
            Some(Call::MergeAccounts(request)) if self.percent(85) => (request.member, request.merged_member),
            _ => self.two(),
        };
        unmerge(&member, &merged).under(&self.id())
    }

    /// A pool that there may be, and who opens it.
    pub(super) fn some_pool(&mut self) -> (String, String) {
        if self.pools.is_empty() || self.percent(10) {
            return (pool_name(&operation_name("never")), self.member());
        }
        let index = self.dice.random_range(0..self.pools.len());
        self.pools[index].clone()
    }

    pub(super) fn pool(&mut self) -> Call {
        let request_id = self.id();
        if self.pools.len() < POOLS && (self.pools.is_empty() || self.percent(10)) {
            let (owner, other) = self.two();
            let pool = pool_name(&operation_name(&request_id));
            // The first who joins, and the owner who may not leave him behind.
            let (member, invited_member, nothing) = (owner.clone(), other.clone(), String::new());
            self.later(1, Call::InviteToPool(pb::InviteToPoolRequest { pool: pool.clone(), member, invited_member, request_id: nothing }));
            let joins = pb::JoinPoolRequest { pool: pool.clone(), member: other, shares: self.percent(60), request_id: String::new() };
            self.later(3, Call::JoinPool(joins));
            let leaves = pb::LeavePoolRequest { pool: pool.clone(), member: owner.clone(), request_id: String::new() };
            self.later(5, Call::LeavePool(leaves));
            self.pools.push((pool, owner.clone()));
            return Call::CreatePool(pb::CreatePoolRequest { member: owner, shares: self.percent(70), request_id });
        }
        let ((pool, owner), member) = (self.some_pool(), self.member());
        match self.dice.random_range(0..20) {
            0..3 => {
                let inviting = if self.percent(85) { owner } else { self.member() };
                Call::InviteToPool(pb::InviteToPoolRequest { pool, member: inviting, invited_member: member, request_id })
            }
            3..6 => Call::JoinPool(pb::JoinPoolRequest { pool, member, shares: self.percent(60), request_id }),
            6 => Call::SetPoolSharing(pb::SetPoolSharingRequest { pool, member, shares: self.percent(50), request_id }),
            7..12 => {
                let member = if self.percent(60) { owner } else { member };
                if self.percent(25) {
                    let (pool, member) = (pool.clone(), member.clone());
                    self.later(2, Call::LeavePool(pb::LeavePoolRequest { pool, member, request_id: String::new() }));
                }
                let (wallet, points) = (self.wallet(), self.dice.random_range(1..=25));
                Call::ContributeToPool(pb::ContributeToPoolRequest { pool, member, wallet, points, request_id })
            }
            12..17 => {
                let member = if self.percent(60) { owner } else { member };
                if self.percent(40) {
                    self.pay_and_return(&member, operation_name(&request_id));
                }
                Call::RedeemFromPool(pb::RedeemFromPoolRequest {
                    cashier: String::new(),
                    pool,
                    member,
                    points: self.one_of(&[2, 5, 9, 400]),
                    mode: if self.percent(60) { Mode::UpTo } else { Mode::Unspecified }.into(),
                    wallet: self.wallet(),
                    reference: format!("order-{}", self.calls.len()),
                    store: String::new(),
                    terminal: String::new(),
                    request_id,
                })
            }
            17 => Call::Redeem(pb::RedeemRequest {
                member: pool_member(&pool),
                points: 1,
                wallet: String::new(),
                reference: "a pool is nobody".to_owned(),
                request_id,
                ..pb::RedeemRequest::default()
            }),
            _ => Call::LeavePool(pb::LeavePoolRequest { pool, member, request_id }),
        }
    }

    /// What was spent pays for something, and that goes back.
    fn pay_and_return(&mut self, member: &str, redemption: String) {
        let (net, nothing) = [1_000, 0].map(|minor_units| Money { currency_code: "CNY".to_owned(), minor_units }).into();
        let purchase_id = format!("paid-{}", self.calls.len());
        let purchase = pb::PurchaseInput {
            purchase_id: purchase_id.clone(),
            net: Some(net),
            redemptions: vec![redemption],
            ..pb::PurchaseInput::default()
        };
        let (parent, member) = (TEA.to_owned(), member.to_owned());
        self.later(1, Call::Award(pb::AwardRequest { parent, member, purchase: Some(purchase), ..Default::default() }));
        let (purchase, what) = (format!("{TEA}/purchases/{purchase_id}"), Some(What::RemainingNet(nothing)));
        self.later(3, Call::ReturnPurchase(pb::ReturnPurchaseRequest { purchase, what, ..Default::default() }));
    }
}
