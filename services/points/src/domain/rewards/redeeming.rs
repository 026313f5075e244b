use super::catalogue::{Asker, Reward, RewardObstacle};
use super::voucher::{Voucher, VoucherState};
use super::{RedeemReward, RefundReward};
use crate::domain::ledger::Posting;
use crate::domain::{EntryKind, Known, Ledger, Outcome, Refusal, Restored, Source};

/// Why a reward is not had, or not given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RewardRefusal {
    /// No such reward, yet.
    #[error("there is no such reward")]
    NotFound,
    /// It was retired.
    #[error("the reward was retired")]
    Retired,
    /// It cannot be had yet.
    #[error("the reward cannot be had yet")]
    NotStarted,
    /// It cannot be had any more.
    #[error("the reward cannot be had any more")]
    Over,
    /// It is for other tiers.
    #[error("the reward is for other tiers")]
    Tier,
    /// It is for other tags or segments.
    #[error("the reward is for other tags or segments")]
    Audience,
    /// The member has had as many as he may.
    #[error("the member has had as many of the reward as he may")]
    Limit,
    /// There is none left.
    #[error("none of the reward is left")]
    OutOfStock,
    /// No such voucher, yet.
    #[error("there is no such voucher")]
    VoucherNotFound,
    /// Nothing was paid for it.
    #[error("the voucher was granted: no points were spent on it")]
    VoucherNotRedeemed,
    /// It is bound to an order.
    #[error("the voucher is used")]
    VoucherUsed,
    /// It was made worthless.
    #[error("the voucher was revoked")]
    VoucherRevoked,
    /// Its points were given back.
    #[error("the points of the voucher were given back")]
    VoucherRefunded,
    /// It is not bound to that order.
    #[error("the voucher is not used for that order")]
    VoucherNotUsed,
    /// Its time is over.
    #[error("the voucher's time is over")]
    VoucherExpired,
    /// The voucher would stay.
    #[error("the points were spent on a reward: RefundReward gives them back and ends its voucher")]
    RedemptionOfReward,
}

impl Ledger<'_> {
    /// Spends points on a reward. Its stock, and how many the member has had, are known because the reward's row is locked.
    pub(in crate::domain) fn redeem_reward(&mut self, request: &RedeemReward, known: &Known) -> Result<Outcome, Refusal> {
        let (reward, taken) = known.catalogue.as_ref().ok_or(Refusal::Reward(RewardRefusal::NotFound))?;
        let asker = Asker { facts: self.facts, active: self.account.active(&reward.wallet), taken: *taken };
        if let Some(first) = reward.obstacles(asker, self.stamp.now).first() {
            return Err(refusal(*first));
        }
        let source = Source::Catalogue { reward: reward.id.clone(), voucher: self.stamp.operation };
        let lots = self.spend(&reward.wallet, reward.cost, |points| (-points, 0));
        self.post(Posting { lots, ..self.posting(EntryKind::Redeem, &reward.wallet, source) });
        let voucher = Box::new(self.issue(reward, request));
        Ok(Outcome::RewardRedeemed { points: reward.cost, voucher })
    }

    fn issue(&self, reward: &Reward, request: &RedeemReward) -> Voucher {
        let zone = &self.versions.at(self.stamp.now).zone;
        // It is his who is named, also while another holds his account.
        let account = self.account.merged_account(request.member).unwrap_or(self.id);
        Voucher {
            id: self.stamp.operation,
            account,
            member: request.member,
            reward: Some(reward.key),
            redemption: Some(self.stamp.operation),
            recalled: false,
            seal: request.seal.clone(),
            state: VoucherState::Usable,
            version: 1,
            issued_at: self.stamp.now,
            expires_at: reward.validity.ends(self.stamp.now, zone),
            details: reward.voucher.clone(),
        }
    }

    /// Gives the points of a reward back and ends its voucher.
    pub(in crate::domain) fn refund_reward(&mut self, request: &RefundReward, known: &Known) -> Result<Outcome, Refusal> {
        let voucher = known.voucher.as_ref().ok_or(Refusal::Reward(RewardRefusal::VoucherNotFound))?;
        match voucher.state {
            VoucherState::Usable => {}
            VoucherState::Used(_) => return Err(Refusal::Reward(RewardRefusal::VoucherUsed)),
            VoucherState::Revoked { .. } => return Err(Refusal::Reward(RewardRefusal::VoucherRevoked)),
            VoucherState::Refunded { .. } => return Err(Refusal::Reward(RewardRefusal::VoucherRefunded)),
        }
        if voucher.redemption.is_none() {
            return Err(Refusal::Reward(RewardRefusal::VoucherNotRedeemed));
        }
        let redemption = known.redemptions.first().ok_or(Refusal::RedemptionNotFound)?;
        let mut restored = Restored::default();
        let source = Source::Redemption { operation: redemption.operation, purchase: None };
        self.give_back(redemption, redemption.left(), source, &mut restored)?;
        let state = VoucherState::Refunded { restocked: request.restock };
        let voucher = Box::new(voucher.changed(state));
        Ok(Outcome::RewardRefunded { restored, voucher })
    }
}

fn refusal(obstacle: RewardObstacle) -> Refusal {
    Refusal::Reward(match obstacle {
        RewardObstacle::Blocked => return Refusal::MemberBlocked,
        RewardObstacle::Closed => return Refusal::MemberClosed,
        RewardObstacle::Points { missing } => return Refusal::InsufficientPoints { missing },
        RewardObstacle::Retired => RewardRefusal::Retired,
        RewardObstacle::NotStarted => RewardRefusal::NotStarted,
        RewardObstacle::Over => RewardRefusal::Over,
        RewardObstacle::Tier => RewardRefusal::Tier,
        RewardObstacle::Audience => RewardRefusal::Audience,
        RewardObstacle::Limit => RewardRefusal::Limit,
        RewardObstacle::Stock => RewardRefusal::OutOfStock,
    })
}
