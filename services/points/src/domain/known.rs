use std::sync::Arc;

use kernel::{MemberId, Timestamp, Uuid};
use rust_decimal::Decimal;

use super::rewards::{Reward, Voucher};
use super::{AccountId, Birthday, LotKey};

/// Whether a member may earn and redeem.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemberStatus {
    /// Earns and redeems; also a member of whom nothing is known yet.
    #[default]
    Active,
    /// Neither earns nor redeems for now.
    Blocked,
    /// Ended.
    Closed,
}

/// A span in which a member had a tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TierInterval {
    /// The scheme's id.
    pub scheme: String,
    /// The tier's id.
    pub tier: String,
    /// What base points are multiplied by.
    pub multiplier: Decimal,
    /// From when.
    pub start_at: Timestamp,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
}

/// What is known of a member from other services' feeds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Counts the changes.
    pub version: i64,
    /// Whether he may earn and redeem.
    pub status: MemberStatus,
    /// Tier intervals, newest knowledge.
    pub tiers: Vec<TierInterval>,
    /// The day on which he was born, where it is known.
    pub birthday: Option<Birthday>,
    /// His tags.
    pub tags: Vec<String>,
    /// Groups, made elsewhere, in which he is.
    pub segments: Vec<String>,
}

impl Facts {
    /// The tiers that a member had at a moment, one per scheme.
    pub fn tiers_at(&self, moment: Timestamp) -> impl Iterator<Item = &TierInterval> {
        self.tiers.iter().filter(move |tier| tier.start_at <= moment && tier.end_at.is_none_or(|end| moment < end))
    }
}

/// What the store found for a command besides the account: things with their own keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The purchase that a return names.
    pub purchase: Option<super::Purchase>,
    /// What became of the reservation that is no longer open.
    pub closed_reservation: Option<ClosedReservation>,
    /// The reward as it stands.
    pub reward: Option<RewardState>,
    /// The redemptions that are to be undone: the one that a refund names, or those that paid for a purchase.
    pub redemptions: Vec<Redemption>,
    /// The reward of the catalogue that is wanted, and how many of it the member has had.
    pub catalogue: Option<(Reward, i64)>,
    /// The voucher that is named.
    pub voucher: Option<Voucher>,
    /// What all have got of what is limited, as far as the command may count there.
    pub shared: Vec<super::Count>,
}

/// How a reservation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClosedReservation {
    /// Spent.
    Captured,
    /// Given up.
    Released,
    /// Ended by time.
    Expired,
}

/// Points that were spent, with what it takes to give them back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redemption {
    /// The operation that spent them.
    pub operation: Uuid,
    /// The account that they were in.
    pub account: AccountId,
    /// The wallet.
    pub wallet: Arc<str>,
    /// The lots that they came from, in the order in which they were taken.
    pub lots: Vec<(LotKey, i64)>,
    /// Who spent them, where they were in a pool or in the account of who had taken his in.
    pub spender: Option<MemberId>,
    /// When they were spent, as it was recorded.
    pub spent_at: Timestamp,
    /// Points that have been given back.
    pub refunded: i64,
    /// They were spent on a reward of the catalogue, whose voucher ends when they are given back.
    pub of_reward: bool,
}

impl Redemption {
    /// Points that were spent.
    pub fn points(&self) -> i64 {
        self.lots.iter().map(|(_, points)| points).sum()
    }

    /// Points that have not been given back.
    pub fn left(&self) -> i64 {
        self.points() - self.refunded
    }
}

/// What became of points that were given back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Points given back in all.
    pub points: i64,
    /// Of them: repaid what was owed, or had been given up because it was spent.
    pub repaid: i64,
    /// Of them: had passed their expiry, and lapsed.
    pub lapsed: i64,
    /// The redemptions as they are afterwards.
    pub redemptions: Vec<Redemption>,
}

/// A reward of another service as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RewardState {
    /// Newest version of the wish that was seen.
    pub version: i64,
    /// The points are with the member; zero when they are not.
    pub granted: i64,
    /// The wallet that they went to.
    pub wallet: Arc<str>,
    /// The lot that they went to.
    pub lot: Option<LotKey>,
}
