use std::sync::Arc;

use kernel::{Timestamp, Uuid};

use super::RewardRefusal;
use super::voucher::Validity;
use crate::domain::{Facts, MemberStatus};

/// A reward of the catalogue as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reward {
    /// Its key: the hash of program and id.
    pub key: Uuid,
    /// The last part of its name.
    pub id: Arc<str>,
    /// What it costs.
    pub cost: i64,
    /// The wallet that it is paid from.
    pub wallet: Arc<str>,
    /// Pieces ever put into stock, less those taken away; `None` without limit.
    pub stock: Option<i64>,
    /// Pieces that were redeemed and not put back.
    pub taken: i64,
    /// From when it can be had.
    pub start_at: Option<Timestamp>,
    /// Until when, exclusive.
    pub end_at: Option<Timestamp>,
    /// Who may have it.
    pub audience: Audience,
    /// How many of it a member may have.
    pub member_limit: Option<i64>,
    /// How long its vouchers are good.
    pub validity: Validity,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// What vouchers for it are worth, encoded.
    pub voucher: Arc<[u8]>,
    /// What it is, encoded.
    pub details: Arc<[u8]>,
}

/// Who may have a reward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Every member.
    Everyone,
    /// Members who have one of these tiers.
    Tiers(Vec<String>),
    /// Members who have one of these tags.
    Tags(Vec<String>),
    /// Members who are in one of these segments.
    Segments(Vec<String>),
}

/// What a reward needs to know of who asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// What is known of the member.
    pub facts: &'a Facts,
    /// Points that he can spend.
    pub active: i64,
    /// How many he has had that count for his limit.
    pub taken: i64,
}

/// What keeps a member from a reward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RewardObstacle {
    /// He may not redeem now.
    Blocked,
    /// His membership has ended.
    Closed,
    /// It was retired.
    Retired,
    /// It cannot be had yet.
    NotStarted,
    /// It cannot be had any more.
    Over,
    /// It is for other tiers.
    Tier,
    /// It is for other tags or segments.
    Audience,
    /// He has had as many as he may.
    Limit,
    /// There is none left.
    Stock,
    /// He lacks points.
    Points {
        /// How many.
        missing: i64,
    },
}

impl Reward {
    /// Pieces that are left; `None` without limit.
    pub fn left(&self) -> Option<i64> {
        self.stock.map(|stock| stock - self.taken)
    }

    /// Why no voucher of it is given that costs nothing.
    pub fn not_given(&self, now: Timestamp) -> Option<RewardRefusal> {
        let checks = [
            (self.retired_at.is_some(), RewardRefusal::Retired),
            (self.validity.fixed_end().is_some_and(|end| now >= end), RewardRefusal::Over),
            (self.left() == Some(0), RewardRefusal::OutOfStock),
        ];
        checks.into_iter().find(|(stands, _)| *stands).map(|(_, refusal)| refusal)
    }

    /// All that keeps a member from it now. The first is what a refusal tells.
    pub fn obstacles(&self, asker: Asker<'_>, now: Timestamp) -> Vec<RewardObstacle> {
        let has = |labels: &[String], wanted: &[String]| wanted.iter().any(|label| labels.contains(label));
        let (admitted, not_admitted) = match &self.audience {
            Audience::Everyone => (true, RewardObstacle::Audience),
            Audience::Tiers(tiers) => (asker.facts.tiers_at(now).any(|held| tiers.contains(&held.tier)), RewardObstacle::Tier),
            Audience::Tags(tags) => (has(&asker.facts.tags, tags), RewardObstacle::Audience),
            Audience::Segments(segments) => (has(&asker.facts.segments, segments), RewardObstacle::Audience),
        };
        let missing = self.cost - asker.active;
        // A voucher that would be worth nothing is not sold.
        let ends = [self.end_at, self.validity.fixed_end()].into_iter().flatten().min();
        let checks = [
            (asker.facts.status == MemberStatus::Blocked, RewardObstacle::Blocked),
            (asker.facts.status == MemberStatus::Closed, RewardObstacle::Closed),
            (self.retired_at.is_some(), RewardObstacle::Retired),
            (self.start_at.is_some_and(|start| now < start), RewardObstacle::NotStarted),
            (ends.is_some_and(|end| now >= end), RewardObstacle::Over),
            (!admitted, not_admitted),
            (self.member_limit.is_some_and(|limit| asker.taken >= limit), RewardObstacle::Limit),
            (self.left() == Some(0), RewardObstacle::Stock),
            (missing > 0, RewardObstacle::Points { missing }),
        ];
        checks.into_iter().filter(|(stands, _)| *stands).map(|(_, obstacle)| obstacle).collect()
    }
}
