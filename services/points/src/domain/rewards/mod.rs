//! Rewards that points are redeemed for, and vouchers: what they are worth, when they hold, and what they take off a basket.

mod catalogue;
mod code;
mod conditions;
mod hold;
mod offline;
mod pricing;
mod redeeming;
mod voucher;
mod wish;

pub use catalogue::{Asker, Audience, Reward, RewardObstacle};
pub use code::Code;
pub use conditions::{Conditions, Situation};
pub use hold::{Combining, Hold, Holder};
pub use offline::{Claim, OFFLINE_SKEW, OfflineCode, OfflineResult, OfflineSigner, OfflineUse};
pub use pricing::{Basket, BasketLine, Priced, price};
pub use redeeming::RewardRefusal;
pub use voucher::{Buyer, CodeSeal, Effect, Obstacle, RedeemReward, RefundReward, Use, Validity, Voucher, VoucherState, VoucherTerms};
pub use wish::{Wish, Wished};

#[cfg(test)]
mod tests;
