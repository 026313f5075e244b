//! Rewards that points are redeemed for, and vouchers: what they are worth, when they hold, and what they take off a basket.

mod catalogue;
mod code;
mod conditions;
mod pricing;
mod redeeming;
mod voucher;

pub use catalogue::{Asker, Audience, Reward, RewardObstacle};
pub use code::Code;
pub use conditions::{Conditions, Situation};
pub use pricing::{Basket, BasketLine, Priced, price};
pub use redeeming::RewardRefusal;
pub use voucher::{CodeSeal, Effect, Obstacle, RedeemReward, RefundReward, Use, Validity, Voucher, VoucherState, VoucherTerms};

#[cfg(test)]
mod tests;
