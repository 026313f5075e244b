//! Rewards and vouchers as messages.

use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::Error;
use prost::Message;
use proto::points as pb;
use rpc::wire::timestamp;

use super::occasions::member_filter;
use super::promotions::{birthday_window, weekdays};
use super::{money, operation_name, wallet_or_main};
use crate::domain::rewards::{
    Audience, Basket, Claim, Code, Combining, Conditions, Effect, Obstacle, OfflineResult, OfflineUse, Priced, Reward, RewardObstacle,
    Validity, Voucher, VoucherState, VoucherTerms,
};
use crate::domain::{MemberFilter, WeeklyWindow};
use crate::program::Program;
use crate::store::{NewOfflineUse, RewardRow};

/// What is wrong with terms: a field, and what.
type Wrong = (&'static str, &'static str);

/// `programs/{program}/rewards/{reward}`.
pub(crate) fn reward_name(program: &ProgramId, reward: &str) -> String {
    program.name_of("rewards", reward)
}

/// `programs/{program}/members/{member}/vouchers/{voucher}`.
pub(crate) fn voucher_name(program: &ProgramId, member: MemberId, voucher: Uuid) -> String {
    format!("{}/vouchers/{voucher}", member.name(program))
}

/// A time as the domain has it. One beyond the calendar's end never comes.
fn moment(field: &'static str, given: &prost_types::Timestamp) -> Result<Timestamp, Wrong> {
    Timestamp::from_parts(given.seconds, given.nanos).ok_or((field, "must be a time from year 1 to 9999"))
}

/// When a reward can be had.
pub(crate) fn window(terms: &pb::RewardTerms) -> Result<(Option<Timestamp>, Option<Timestamp>), Wrong> {
    let start = terms.start_time.as_ref().map(|at| moment("start_time", at)).transpose()?;
    let end = terms.end_time.as_ref().map(|at| moment("end_time", at)).transpose()?;
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        return Err(("end_time", "must be after start_time"));
    }
    Ok((start, end))
}

/// The terms of a voucher, or the field that is wrong.
pub(crate) fn voucher_terms(terms: &pb::VoucherTerms) -> Result<VoucherTerms, Wrong> {
    use pb::voucher_terms::{self as of, Effect as Given, Valid};
    let minor = |money: &Option<proto::common::Money>| money.as_ref().map(|money| money.minor_units);
    let positive = |field, amount: Option<i64>| match amount {
        Some(amount @ 1..=1_000_000_000_000) => Ok(amount),
        _ => Err((field, "must be 1 to 1000000000000 minor units")),
    };
    let pb::VoucherTerms { effect, conditions, valid, offline_limit, combining: _, stacking_group } = terms;
    let effect = match effect {
        Some(Given::AmountOff(of::AmountOff { amount })) => Effect::AmountOff(positive("amount_off.amount", minor(amount))?),
        Some(Given::PercentOff(of::PercentOff { basis_points, at_most })) => {
            let at_most = minor(at_most).map(|most| positive("percent_off.at_most", Some(most))).transpose()?;
            Effect::PercentOff { basis_points: *basis_points, at_most }
        }
        Some(Given::FixedPrice(of::FixedPrice { price, pieces })) => {
            let price = positive("fixed_price.price", minor(price))?;
            Effect::FixedPrice { price, pieces: i64::from(*pieces) }
        }
        Some(Given::BuyGet(of::BuyGet { buy, get, times_max })) => {
            Effect::BuyGet { buy: i64::from(*buy), get: i64::from(*get), times_max: (*times_max > 0).then_some(i64::from(*times_max)) }
        }
        Some(Given::FreeItem(of::FreeItem { pieces })) => Effect::FixedPrice { price: 0, pieces: i64::from(*pieces) },
        Some(Given::FreeDelivery(of::FreeDelivery {})) => Effect::FreeDelivery,
        None => return Err(("effect", "must be set")),
    };
    let validity = match valid {
        None => Validity::Unlimited,
        Some(Valid::ValidFor(period)) => Validity::For(super::period(period).ok_or(("valid_for.unit", "must be set"))?),
        Some(Valid::ValidUntil(end)) => Validity::Until(moment("valid_until", end)?),
    };
    let conditions = conditions.as_ref().map_or_else(|| Ok(Conditions::default()), voucher_conditions)?;
    let offline_limit = offline_limit.as_ref().map(|limit| positive("offline_limit", Some(limit.minor_units))).transpose()?;
    let Conditions { first_order, dormant_days, members, birthday, .. } = &conditions;
    if offline_limit.is_some() && (*first_order || dormant_days.is_some() || *members != MemberFilter::default() || birthday.is_some()) {
        let what = "must be absent where conditions ask for what a till does not know: first_order, dormant_days, members, birthday";
        return Err(("offline_limit", what));
    }
    let alone = terms.combining() == of::Combining::Alone;
    let combining = Combining { alone, group: (!stacking_group.is_empty()).then(|| stacking_group.clone()) };
    if offline_limit.is_some() && combining != Combining::default() {
        return Err((
            "offline_limit",
            "must be absent where the voucher does not go with all others: a till does not know those of the order",
        ));
    }
    Ok(VoucherTerms { effect, conditions, validity, offline_limit: offline_limit.unwrap_or(0), combining })
}

fn voucher_conditions(conditions: &pb::VoucherConditions) -> Result<Conditions, Wrong> {
    let pb::VoucherConditions {
        minimum_spend,
        skus,
        categories,
        stores,
        channels,
        windows,
        first_order,
        dormant_days,
        members,
        birthday: _,
    } = conditions;
    let minimum_spend = minimum_spend.as_ref().map_or(0, |money| money.minor_units);
    if !(0..=1_000_000_000_000).contains(&minimum_spend) {
        return Err(("conditions.minimum_spend", "must be 0 to 1000000000000 minor units"));
    }
    Ok(Conditions {
        minimum_spend,
        skus: skus.clone(),
        categories: categories.clone(),
        stores: stores.clone(),
        channels: channels.clone(),
        windows: windows.iter().map(weekly_window).collect(),
        first_order: *first_order,
        dormant_days: (*dormant_days > 0).then_some(*dormant_days),
        members: members.as_ref().map(member_filter).unwrap_or_default(),
        birthday: birthday_window(conditions.birthday()),
    })
}

fn weekly_window(window: &pb::WeeklyWindow) -> WeeklyWindow {
    let weekdays = weekdays(&window.weekdays);
    WeeklyWindow { weekdays, start_minute: window.start_minute, end_minute: window.end_minute }
}

/// All money in the terms of a voucher, with its fields.
pub(crate) fn money_of(terms: &pb::VoucherTerms) -> Vec<(&'static str, &proto::common::Money)> {
    use pb::voucher_terms::Effect as Given;
    let of_effect = match &terms.effect {
        Some(Given::AmountOff(effect)) => effect.amount.as_ref().map(|money| ("amount_off.amount", money)),
        Some(Given::PercentOff(effect)) => effect.at_most.as_ref().map(|money| ("percent_off.at_most", money)),
        Some(Given::FixedPrice(effect)) => effect.price.as_ref().map(|money| ("fixed_price.price", money)),
        Some(Given::BuyGet(_) | Given::FreeItem(_) | Given::FreeDelivery(_)) | None => None,
    };
    let minimum = terms.conditions.as_ref().and_then(|conditions| conditions.minimum_spend.as_ref());
    let offline = terms.offline_limit.as_ref().map(|money| ("offline_limit", money));
    of_effect.into_iter().chain(minimum.map(|money| ("conditions.minimum_spend", money))).chain(offline).collect()
}

/// What a voucher is, as it is stored: only the fields that never change.
pub(crate) fn voucher_details(title: &str, terms: &pb::VoucherTerms, reward: String, reason: pb::GrantReason) -> Arc<[u8]> {
    let details =
        pb::Voucher { title: title.to_owned(), terms: Some(terms.clone()), reward, grant_reason: reason.into(), ..pb::Voucher::default() };
    details.encode_to_vec().into()
}

/// What a voucher is that is given for a piece of a reward.
pub(crate) fn given_details(reward: &Reward, reason: pb::GrantReason) -> Result<Arc<[u8]>, Error> {
    let details = pb::Voucher::decode(&reward.voucher[..]).map_err(|_| corrupt("voucher of a reward"))?;
    Ok(pb::Voucher { grant_reason: reason.into(), ..details }.encode_to_vec().into())
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}

/// The terms of a voucher that was issued.
pub(crate) fn issued_terms(voucher: &Voucher) -> Result<VoucherTerms, Error> {
    let details = pb::Voucher::decode(&voucher.details[..]).map_err(|_| corrupt("details of a voucher"))?;
    voucher_terms(&details.terms.unwrap_or_default()).map_err(|(field, what)| Error::Corrupt(format!("terms of a voucher: {field} {what}")))
}

/// A reward as the ledger needs it.
pub(crate) fn reward(program: &ProgramId, row: RewardRow) -> Result<Reward, Error> {
    let terms = pb::RewardTerms::decode(&row.details[..]).map_err(|_| corrupt("terms of a reward"))?;
    let audience = match terms.audience.as_ref().and_then(|audience| audience.who.as_ref()) {
        Some(pb::reward_audience::Who::Everyone(_)) => Audience::Everyone,
        Some(pb::reward_audience::Who::Tiers(tiers)) => Audience::Tiers(tiers.tiers.clone()),
        Some(pb::reward_audience::Who::Tags(tags)) => Audience::Tags(tags.labels.clone()),
        Some(pb::reward_audience::Who::Segments(segments)) => Audience::Segments(segments.labels.clone()),
        None => return Err(corrupt("audience of a reward")),
    };
    let voucher = terms.voucher.as_ref().ok_or_else(|| corrupt("voucher of a reward"))?;
    let validity = voucher_terms(voucher).map_err(|_| corrupt("voucher of a reward"))?.validity;
    let name = reward_name(program, &row.reward);
    Ok(Reward {
        key: row.catalogue_key,
        id: row.reward.as_str().into(),
        cost: row.cost,
        wallet: wallet_or_main(&terms.wallet),
        stock: row.stock,
        taken: row.taken,
        start_at: row.start_at.map(|at| at.0),
        end_at: row.end_at.map(|at| at.0),
        audience,
        member_limit: terms.member_limit,
        validity,
        created_at: row.created_at.0,
        retired_at: row.retired_at.map(|at| at.0),
        voucher: voucher_details(&terms.title, voucher, name, pb::GrantReason::Unspecified),
        details: row.details.into(),
    })
}

/// A reward as callers see it.
pub(crate) fn told_reward(program: &ProgramId, reward: &Reward) -> Result<pb::Reward, Error> {
    Ok(pb::Reward {
        name: reward_name(program, &reward.id),
        terms: Some(pb::RewardTerms::decode(&reward.details[..]).map_err(|_| corrupt("terms of a reward"))?),
        stock: reward.stock,
        stock_left: reward.left(),
        taken: reward.taken,
        create_time: Some(timestamp(reward.created_at)),
        retire_time: reward.retired_at.map(timestamp),
    })
}

/// What keeps a member from a reward, and the points that he lacks.
pub(crate) fn reward_obstacles(obstacles: &[RewardObstacle]) -> (Vec<i32>, i64) {
    use pb::RewardObstacle as Told;
    let told = obstacles.iter().map(|obstacle| match obstacle {
        RewardObstacle::Blocked | RewardObstacle::Closed => Told::Member.into(),
        RewardObstacle::Retired => Told::Retired.into(),
        RewardObstacle::NotStarted => Told::NotStarted.into(),
        RewardObstacle::Over => Told::Over.into(),
        RewardObstacle::Tier => Told::Tier.into(),
        RewardObstacle::Audience => Told::Audience.into(),
        RewardObstacle::Limit => Told::Limit.into(),
        RewardObstacle::Stock => Told::Stock.into(),
        RewardObstacle::Points { .. } => Told::Points.into(),
    });
    let missing = obstacles.iter().find_map(|obstacle| match obstacle {
        RewardObstacle::Points { missing } => Some(*missing),
        _ => None,
    });
    (told.collect(), missing.unwrap_or(0))
}

/// A voucher as it stands, without its code.
pub(crate) fn voucher(program: &Program, voucher: &Voucher) -> Result<pb::Voucher, Error> {
    use pb::VoucherState as State;
    let details = pb::Voucher::decode(&voucher.details[..]).map_err(|_| corrupt("details of a voucher"))?;
    let mut told = pb::Voucher {
        name: voucher_name(&program.id, voucher.member, voucher.id),
        operation: voucher.redemption.map(|operation| operation_name(&program.id, operation)).unwrap_or_default(),
        issue_time: Some(timestamp(voucher.issued_at)),
        expire_time: voucher.expires_at.map(timestamp),
        ..details
    };
    let state = match &voucher.state {
        VoucherState::Usable => State::Usable,
        VoucherState::Used(used) => {
            told.order_reference = used.order.clone();
            told.use_time = Some(timestamp(used.at));
            told.discount = Some(money(program, used.discount));
            State::Used
        }
        VoucherState::Revoked { reason, restocked: _ } => {
            told.revoke_reason = reason.clone();
            State::Revoked
        }
        VoucherState::Refunded { .. } => State::Refunded,
    };
    told.state = state.into();
    Ok(told)
}

/// The code of a voucher in its message, in full or only its end.
pub(crate) fn show_code(told: &mut pb::Voucher, code: Option<Code>, in_full: bool) {
    told.code_end = code.map(|code| code.end()).unwrap_or_default();
    told.code = code.filter(|_| in_full).map(|code| code.shown()).unwrap_or_default();
}

/// What a voucher takes off a basket.
pub(crate) fn basket_discount(
    program: &Program,
    voucher: String,
    basket: &Basket,
    priced: &Result<Priced, Vec<Obstacle>>,
) -> pb::BasketDiscount {
    let nothing = Priced { lines: Vec::new(), delivery: 0 };
    let (done, obstacles) = match priced {
        Ok(priced) => (priced, &[][..]),
        Err(obstacles) => (&nothing, &obstacles[..]),
    };
    let lines = basket.lines.iter().zip(&done.lines).filter(|(_, discount)| **discount > 0);
    pb::BasketDiscount {
        voucher,
        applies: priced.is_ok(),
        lines: lines.map(|(line, off)| pb::LineDiscount { line_id: line.id.clone(), discount_minor_units: *off }).collect(),
        delivery_discount_minor_units: done.delivery,
        discount: Some(money(program, done.total())),
        obstacles: obstacles.iter().map(told_obstacle).collect(),
    }
}

/// What became of a use without a connection.
pub(crate) fn offline_result(result: OfflineResult) -> pb::OfflineResult {
    match result {
        OfflineResult::Bound => pb::OfflineResult::Bound,
        OfflineResult::Duplicate => pb::OfflineResult::Duplicate,
        OfflineResult::NotGood => pb::OfflineResult::NotGood,
        OfflineResult::Voided => pb::OfflineResult::Voided,
    }
}

/// A use without a connection as it was recorded.
pub(crate) fn recorded_offline_use(program: &Program, row: &NewOfflineUse) -> pb::RecordedOfflineUse {
    let OfflineUse { key: _, terminal, sequence, occurred_at } = &row.told;
    let lost = if row.result.is_loss() { row.discount } else { 0 };
    pb::RecordedOfflineUse {
        voucher: voucher_name(&program.id, row.member, row.voucher),
        r#use: Some(pb::OfflineUse { occur_time: Some(timestamp(*occurred_at)), terminal: terminal.clone(), sequence: *sequence }),
        order_reference: row.order.clone(),
        record_time: Some(timestamp(row.recorded_at)),
        result: offline_result(row.result).into(),
        discount: Some(money(program, row.discount)),
        loss: Some(money(program, lost)),
    }
}

/// What an offline code says of a voucher: nothing of its member.
pub(crate) fn offline_claim(program: &ProgramId, voucher: &Voucher, claim: &Claim) -> Result<Vec<u8>, Error> {
    let details = pb::Voucher::decode(&voucher.details[..]).map_err(|_| corrupt("details of a voucher"))?;
    let said = pb::OfflineVoucher {
        program: program.to_string(),
        voucher: claim.voucher.as_bytes().to_vec(),
        issue_seconds: claim.issued_at.as_micros().div_euclid(1_000_000),
        expire_seconds: claim.expires_at.as_micros().div_euclid(1_000_000),
        terms: details.terms.map(|terms| pb::VoucherTerms { valid: None, ..terms }),
    };
    Ok(said.encode_to_vec())
}

/// The claim that was made so.
pub(crate) fn read_claim(said: &[u8]) -> Option<Claim> {
    let pb::OfflineVoucher { program: _, voucher, issue_seconds, expire_seconds, terms: _ } = pb::OfflineVoucher::decode(said).ok()?;
    Some(Claim {
        voucher: Uuid::from_slice(&voucher).ok()?,
        issued_at: Timestamp::from_parts(issue_seconds, 0)?,
        expires_at: Timestamp::from_parts(expire_seconds, 0)?,
    })
}

fn told_obstacle(obstacle: &Obstacle) -> pb::VoucherObstacle {
    use pb::voucher_obstacle::Kind;
    let (kind, missing) = match obstacle {
        Obstacle::Used => (Kind::Used, 0),
        Obstacle::Revoked => (Kind::Revoked, 0),
        Obstacle::Refunded => (Kind::Refunded, 0),
        Obstacle::Expired => (Kind::Expired, 0),
        Obstacle::Member => (Kind::Member, 0),
        Obstacle::MinimumSpend { missing } => (Kind::MinimumSpend, *missing),
        Obstacle::Items => (Kind::Items, 0),
        Obstacle::Store => (Kind::Store, 0),
        Obstacle::Channel => (Kind::Channel, 0),
        Obstacle::Time => (Kind::Time, 0),
        Obstacle::FirstOrder => (Kind::FirstOrder, 0),
        Obstacle::Dormancy => (Kind::Dormancy, 0),
        Obstacle::Pieces { missing } => (Kind::Pieces, *missing),
        Obstacle::NothingGained => (Kind::NothingGained, 0),
        Obstacle::Combining => (Kind::Combining, 0),
        Obstacle::Audience => (Kind::Audience, 0),
        Obstacle::Birthday => (Kind::Birthday, 0),
    };
    pb::VoucherObstacle { kind: kind.into(), missing }
}

/// What is remembered of a reward's redemption or refund besides its operation: fields beyond those of that one, so that either can be read
/// from the same bytes. The code is not among them.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RememberedVoucher {
    #[prost(message, optional, tag = "1003")]
    pub(crate) voucher: Option<pb::Voucher>,
    #[prost(int64, tag = "1004")]
    pub(crate) key_version: i64,
}

/// What is remembered of a wish for a voucher.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RememberedWish {
    #[prost(int64, tag = "1")]
    pub(crate) version: i64,
    #[prost(bool, tag = "2")]
    pub(crate) had: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) issued: Option<RememberedVoucher>,
}
