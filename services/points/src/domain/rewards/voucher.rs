use std::fmt;
use std::sync::Arc;

use kernel::{MemberId, Period, Timestamp, Uuid, Zone};

use super::RewardRefusal;
use super::conditions::{Conditions, Situation};
use super::hold::Combining;
use super::offline::OfflineResult;
use super::pricing::{Basket, Priced, price};
use crate::domain::{Account, AccountId, Facts, MemberStatus};

/// What a voucher does. Amounts are minor units of the program's currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// So much off the lines that it is for, together.
    AmountOff(i64),
    /// A part off them.
    PercentOff {
        /// Hundredths of a per cent, 1 to 10 000.
        basis_points: i32,
        /// No more than this.
        at_most: Option<i64>,
    },
    /// Pieces for a price, the dearest first. A price of 0 makes them free.
    FixedPrice {
        /// What each costs then.
        price: i64,
        /// For how many.
        pieces: i64,
    },
    /// Some pieces free with others: the cheapest of all.
    BuyGet {
        /// Pieces that are paid for.
        buy: i64,
        /// Pieces that are free with them.
        get: i64,
        /// How often in one basket.
        times_max: Option<i64>,
    },
    /// The delivery costs nothing.
    FreeDelivery,
}

/// What a voucher is worth, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoucherTerms {
    /// What it does.
    pub effect: Effect,
    /// When it holds.
    pub conditions: Conditions,
    /// How long.
    pub validity: Validity,
    /// The most that an order may take off by it while its till has no connection; 0: it must have one.
    pub offline_limit: i64,
    /// Which other vouchers its order may have.
    pub combining: Combining,
}

/// How long a voucher is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// For ever.
    Unlimited,
    /// So long after it was issued.
    For(Period),
    /// Until then, exclusive.
    Until(Timestamp),
}

impl Validity {
    /// When every voucher is over, whenever it was issued.
    pub fn fixed_end(self) -> Option<Timestamp> {
        match self {
            Validity::Until(end) => Some(end),
            Validity::Unlimited | Validity::For(_) => None,
        }
    }

    /// When a voucher that is issued now is over.
    pub fn ends(self, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
        match self {
            Validity::Unlimited => None,
            Validity::For(period) => Some(period.after(now, zone)),
            Validity::Until(end) => Some(end),
        }
    }
}

/// What the code of a voucher is found by. It tells nothing of the code.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeSeal {
    /// Keyed hash of the code in its program.
    pub hash: [u8; 32],
    /// Version of the master key that the code and the hash were made with.
    pub key_version: i64,
}

impl fmt::Debug for CodeSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeSeal(key {})", self.key_version)
    }
}

/// Points to spend on a reward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedeemReward {
    /// The reward's key.
    pub reward: Uuid,
    /// Who is named: the voucher is his, whoever has taken his account in.
    pub member: MemberId,
    /// Of the voucher to issue.
    pub seal: CodeSeal,
}

/// A reward's points to give back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefundReward {
    /// The voucher.
    pub voucher: Uuid,
    /// The reward that it was redeemed for, and the operation that spent the points; `None` when it was granted.
    pub paid: Option<(Uuid, Uuid)>,
    /// The piece is there again.
    pub restock: bool,
}

/// A voucher as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voucher {
    /// Its id.
    pub id: Uuid,
    /// The account of its member.
    pub account: AccountId,
    /// Whose it is.
    pub member: MemberId,
    /// The reward whose piece it is; `None` when it was granted by itself.
    pub reward: Option<Uuid>,
    /// The operation that spent points on it; `None` when it cost nothing.
    pub redemption: Option<Uuid>,
    /// It was given for something that is no more, and used: should its order be cancelled, it is taken back.
    pub recalled: bool,
    /// What its code is found by.
    pub seal: CodeSeal,
    /// How it stands.
    pub state: VoucherState,
    /// Counts its changes from 1.
    pub version: i64,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When its time is over.
    pub expires_at: Option<Timestamp>,
    /// What it is worth and what members read, encoded.
    pub details: Arc<[u8]>,
}

/// How a voucher stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VoucherState {
    /// It can be used.
    Usable,
    /// It is bound to an order.
    Used(Use),
    /// It was made worthless.
    Revoked {
        /// Why.
        reason: String,
        /// The piece was put back into stock.
        restocked: bool,
    },
    /// Its points were given back.
    Refunded {
        /// The piece was put back into stock.
        restocked: bool,
    },
}

/// The use of a voucher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Use {
    /// The order.
    pub order: String,
    /// The operation whose answer told of it.
    pub operation: Uuid,
    /// When.
    pub at: Timestamp,
    /// Minor units that it took off.
    pub discount: i64,
}

impl Voucher {
    /// What keeps it from being used, whatever the basket.
    pub fn obstacle(&self, now: Timestamp) -> Option<Obstacle> {
        match self.state {
            VoucherState::Used(_) => Some(Obstacle::Used),
            VoucherState::Revoked { .. } => Some(Obstacle::Revoked),
            VoucherState::Refunded { .. } => Some(Obstacle::Refunded),
            VoucherState::Usable => self.expires_at.filter(|end| *end <= now).map(|_| Obstacle::Expired),
        }
    }

    /// What it takes off a basket, or all that stands in the way.
    pub fn price(&self, terms: &VoucherTerms, basket: &Basket, buyer: &Buyer) -> Result<Priced, Vec<Obstacle>> {
        let of_member = (!buyer.is_admitted).then_some(Obstacle::Member);
        let of_order = (!buyer.is_order_free).then_some(Obstacle::Combining);
        let standing: Vec<Obstacle> = self.obstacle(buyer.situation.now).into_iter().chain(of_member).chain(of_order).collect();
        match (price(terms, basket, &buyer.situation), standing.is_empty()) {
            (priced, true) => priced,
            (Ok(_), false) => Err(standing),
            (Err(obstacles), false) => Err(standing.into_iter().chain(obstacles).collect()),
        }
    }

    /// Its use for an order.
    pub fn use_for(&self, order: &str) -> Option<&Use> {
        match &self.state {
            VoucherState::Used(used) if used.order == order => Some(used),
            _ => None,
        }
    }

    /// What becomes of it when a till without a connection has used it for an order: it has happened, so it is not refused.
    pub fn used_offline(&self, order: &str) -> OfflineResult {
        match &self.state {
            VoucherState::Used(used) if used.order != order => OfflineResult::Duplicate,
            VoucherState::Revoked { .. } | VoucherState::Refunded { .. } => OfflineResult::NotGood,
            VoucherState::Usable | VoucherState::Used(_) => OfflineResult::Bound,
        }
    }

    /// Bound to an order.
    pub fn used(&self, used: Use) -> Voucher {
        self.changed(VoucherState::Used(used))
    }

    /// Good again, because its order was cancelled; taken back, when it is not to be had any more.
    pub fn voided(&self, order: &str) -> Result<Voucher, RewardRefusal> {
        self.use_for(order).ok_or(RewardRefusal::VoucherNotUsed)?;
        Ok(if self.recalled { self.taken_back() } else { self.changed(VoucherState::Usable) })
    }

    /// Worthless, for a reason.
    pub fn revoked(&self, reason: &str) -> Result<Voucher, RewardRefusal> {
        match self.state {
            VoucherState::Usable => Ok(self.changed(VoucherState::Revoked { reason: reason.to_owned(), restocked: false })),
            VoucherState::Used(_) => Err(RewardRefusal::VoucherUsed),
            VoucherState::Revoked { .. } => Err(RewardRefusal::VoucherRevoked),
            VoucherState::Refunded { .. } => Err(RewardRefusal::VoucherRefunded),
        }
    }

    /// Not wanted any more: its piece is there again.
    pub fn taken_back(&self) -> Voucher {
        self.changed(VoucherState::Revoked { reason: "what it was given for is no more".to_owned(), restocked: true })
    }

    /// Another state, and one version on.
    pub fn changed(&self, state: VoucherState) -> Voucher {
        Voucher { state, version: self.version + 1, ..self.clone() }
    }
}

/// What is known of who shows a voucher.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// When, and what he has bought before.
    pub situation: Situation,
    /// He may redeem.
    pub is_admitted: bool,
    /// The order has no voucher that this one does not go with, and not as many as it may.
    pub is_order_free: bool,
}

impl Buyer {
    /// Purchases are counted, and a member is blocked, in the account of whoever has taken his in: that one is to be given here.
    pub fn of(survivor: &Account, facts: &Facts, now: Timestamp, zone: &Zone) -> Buyer {
        let (first_order, last_purchase_at) = (survivor.purchases == 0, survivor.last_purchase());
        let situation = Situation { now, zone: zone.clone(), first_order, last_purchase_at, facts: facts.clone() };
        Buyer { situation, is_admitted: facts.status == MemberStatus::Active, is_order_free: true }
    }
}

/// Why a voucher takes nothing off a basket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// It is bound to an order.
    Used,
    /// It was made worthless.
    Revoked,
    /// Its points were given back.
    Refunded,
    /// Its time is over.
    Expired,
    /// The member may not redeem.
    Member,
    /// The lines come to too little.
    MinimumSpend {
        /// Minor units that are missing.
        missing: i64,
    },
    /// There is no line that it is for.
    Items,
    /// Not in this store.
    Store,
    /// Not by this channel.
    Channel,
    /// Not at this hour of this day.
    Time,
    /// Not the member's first order, or another order holds that.
    FirstOrder,
    /// He has bought of late, or never.
    Dormancy,
    /// Too few pieces.
    Pieces {
        /// How many more it takes.
        missing: i64,
    },
    /// Nothing would become cheaper.
    NothingGained,
    /// The order has a voucher that it does not go with.
    Combining,
    /// Not for his tiers, tags or segments.
    Audience,
    /// Not around his birthday.
    Birthday,
}
