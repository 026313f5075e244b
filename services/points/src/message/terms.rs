use std::borrow::Cow;
use std::collections::HashSet;

use kernel::{CalendarUnit, Period, Rounding, Zone};
use proto::common::CalendarPeriod;
use proto::common::calendar_period::Unit;
use proto::points as pb;
use rust_decimal::Decimal;

use super::challenges::{challenges, wrong_challenges};
use super::limits::{award_limits, limit};
use super::occasions::{occasions, wrong_occasions};
use super::promotions::{line_filter, promotions, time, wrong_promotions};
use super::wallets::{other_wallet, unknown_wallets, wallets};
use crate::domain::{
    Activation, ActivityTerms, Approval, Basis, EarnRate, Life, LineFilter, PointRounding, Promotions, ReturnPolicy, Terms,
};

/// A field of terms, and what is wrong with it.
pub(crate) type WrongTerms = (String, Cow<'static, str>);

/// Reads terms of a program in this zone; the error is the field that is wrong and what it must be.
pub(crate) fn terms(message: &pb::Terms, zone: &Zone) -> Result<Terms, WrongTerms> {
    let plain = plain_terms(message).map_err(|(field, what)| (field.to_owned(), what.into()))?;
    let wallets = wallets(&message.wallets).collect::<Result<_, _>>()?;
    unknown_wallets(message).into_iter().next().map_or(Ok(()), Err)?;
    let earn_rates = earn_rates(&message.earn_rates).collect::<Result<_, _>>()?;
    let limits = award_limits(&message.limits).map_err(|(field, what)| (field, what.into()))?;
    let (promotions, challenges) = (promotions(&message.promotions, zone)?, challenges(&message.challenges)?);
    let occasions = occasions(&message.occasions)?;
    Ok(Terms { wallets, earn_rates, promotions: promotions.into(), challenges, limits, occasions, ..plain })
}

/// Everything that is wrong with terms: at most one thing about each promotion and each part of the rest.
pub(crate) fn wrong_terms(message: &pb::Terms, zone: &Zone) -> Vec<WrongTerms> {
    // Each part alone, so that none hides what is wrong with the others.
    let in_main = |activity: &pb::ActivityTerms| pb::ActivityTerms { wallet: String::new(), ..activity.clone() };
    let plain = pb::Terms {
        promotions: Vec::new(),
        earn_rates: Vec::new(),
        challenges: Vec::new(),
        limits: Vec::new(),
        wallets: Vec::new(),
        occasions: Vec::new(),
        activities: message.activities.iter().map(in_main).collect(),
        ..message.clone()
    };
    let calm = pb::Terms { activate_after: None, activate_time: None, activate_on: None, ..plain.clone() };
    let lasting = pb::Terms { expire_after: None, expire_time: None, expire_after_inactivity: None, ..calm.clone() };
    let limited = pb::Terms { limits: message.limits.clone(), ..lasting.clone() };
    let mut wrong: Vec<WrongTerms> = Vec::new();
    for part in [plain, calm, lasting, limited] {
        wrong.extend(terms(&part, zone).err().filter(|found| !wrong.contains(found)));
    }
    wrong.extend(wallets(&message.wallets).filter_map(Result::err));
    wrong.extend(unknown_wallets(message));
    wrong.extend(earn_rates(&message.earn_rates).filter_map(Result::err));
    wrong.extend(wrong_promotions(&message.promotions, zone));
    wrong.extend(wrong_challenges(&message.challenges));
    wrong.extend(wrong_occasions(&message.occasions));
    wrong
}

/// All but wallets, rates, promotions, challenges, the limits of awards and occasions.
fn plain_terms(message: &pb::Terms) -> Result<Terms, Wrong> {
    let points_per_unit = rate(&message.points_per_unit)?;
    let ttl = message.reservation_ttl.as_ref();
    let ttl =
        ttl.map_or(Ok(std::time::Duration::from_secs(900)), |ttl| (*ttl).try_into().map_err(|_| ("reservation_ttl", "must be positive")))?;
    each_once("activities", "each activity may be named once", message.activities.iter().map(|one| one.activity.as_str()))?;
    each_once("tier_deficit_caps", "each tier may be named once", message.tier_deficit_caps.iter().map(|cap| cap.tier.as_str()))?;
    let activity = |one: &pb::ActivityTerms| {
        let limit = one.member_limit.as_ref().map(limit).transpose().map_err(|what| ("activities.member_limit", what))?;
        let approval = one.approval.as_ref().map(|approval| {
            let cancel_after = approval.cancel_after.as_ref();
            cancel_after.map(|given| period(given).ok_or(("activities.approval.cancel_after", "needs a unit"))).transpose()
        });
        let approval = approval.transpose()?.map(|cancel_after| Approval { cancel_after });
        Ok(ActivityTerms {
            name: one.activity.clone(),
            points: one.points,
            limit,
            proof: one.proof_required,
            approval,
            wallet: other_wallet(&one.wallet),
        })
    };
    let activities: Vec<ActivityTerms> = message.activities.iter().map(activity).collect::<Result<_, Wrong>>()?;
    let is_approval = |event: &str| activities.iter().any(|one| one.approval.is_some() && one.name == event);
    if message.activate_on.as_ref().is_some_and(|on| is_approval(&on.event)) {
        return Err(("activate_on.event", "must not be an activity that waits for approval: the event would approve it"));
    }
    let caps = message.tier_deficit_caps.iter().map(|cap| (cap.tier.clone(), cap.points));
    let basis = match message.basis() {
        pb::terms::Basis::Unspecified => Basis::default(),
        pb::terms::Basis::WithTax => Basis { tax: true, discounts: false },
        pb::terms::Basis::BeforeDiscounts => Basis { tax: false, discounts: true },
        pb::terms::Basis::BeforeDiscountsWithTax => Basis { tax: true, discounts: true },
    };
    Ok(Terms {
        points_per_unit,
        earn_rates: Vec::new(),
        basis,
        rounding: match message.rounding() {
            pb::terms::PointRounding::Down => PointRounding::Down,
            pb::terms::PointRounding::HalfUp => PointRounding::HalfUp,
            pb::terms::PointRounding::Up => PointRounding::Up,
            pb::terms::PointRounding::Unspecified => return Err(("rounding", "must be set")),
        },
        activation: activation(message, told("activate_after", message.activate_after.as_ref())?)?,
        life: life(
            (message.expire_after.as_ref(), message.expire_time.as_ref(), message.expire_after_inactivity.as_ref()),
            message.expiry_rounding(),
        )?,
        remind_before: told("remind_before", message.remind_before.as_ref())?,
        wallets: Vec::new(),
        activities,
        promotions: Promotions::default(),
        challenges: Vec::new(),
        limits: Vec::new(),
        occasions: Vec::new(),
        return_policy: match message.return_policy() {
            pb::terms::ReturnPolicy::OnlyPending => ReturnPolicy::OnlyPending,
            pb::terms::ReturnPolicy::WithinBalance => ReturnPolicy::WithinBalance,
            pb::terms::ReturnPolicy::Unlimited => ReturnPolicy::Unlimited,
            pb::terms::ReturnPolicy::Unspecified => return Err(("return_policy", "must be set")),
        },
        deficit_cap: (message.deficit_cap > 0).then_some(message.deficit_cap),
        tier_deficit_caps: caps.collect(),
        restore_grace: told("restore_grace", message.restore_grace.as_ref())?,
        reservation_ttl: ttl,
    })
}

pub(super) type Wrong = (&'static str, &'static str);

fn told(field: &'static str, given: Option<&CalendarPeriod>) -> Result<Option<Period>, Wrong> {
    given.map(|given| period(given).ok_or((field, "needs a unit"))).transpose()
}

fn activation(message: &pb::Terms, after: Option<Period>) -> Result<Activation, Wrong> {
    let at = time("activate_time", message.activate_time.as_ref())?;
    let on = message.activate_on.as_ref();
    if [after.is_some(), at.is_some(), on.is_some()].into_iter().filter(|set| *set).count() > 1 {
        return Err(("activate_time", "at most one of activate_after, activate_time and activate_on may be set"));
    }
    if let Some(on) = on {
        let cancel_after = on.cancel_after.as_ref();
        let cancel_after = cancel_after.map(|given| period(given).ok_or(("activate_on.cancel_after", "needs a unit"))).transpose()?;
        return Ok(Activation::On { event: on.event.as_str().into(), cancel_after });
    }
    Ok(at.map(Activation::At).or(after.map(Activation::After)).unwrap_or(Activation::Immediate))
}

/// For a time, until a moment, or as long as the member does something.
type Times<'a> = (Option<&'a CalendarPeriod>, Option<&'a prost_types::Timestamp>, Option<&'a CalendarPeriod>);

/// How long points live.
pub(super) fn life((after, until, inactive): Times<'_>, rounding: pb::terms::ExpiryRounding) -> Result<Life, Wrong> {
    let rounding = match rounding {
        pb::terms::ExpiryRounding::Unspecified => Rounding::None,
        pb::terms::ExpiryRounding::Day => Rounding::EndOfDay,
        pb::terms::ExpiryRounding::Month => Rounding::EndOfMonth,
        pb::terms::ExpiryRounding::Quarter => Rounding::EndOfQuarter,
        pb::terms::ExpiryRounding::HalfYear => Rounding::EndOfHalfYear,
        pb::terms::ExpiryRounding::Year => Rounding::EndOfYear,
    };
    let after = told("expire_after", after)?;
    let until = time("expire_time", until)?;
    let inactive = told("expire_after_inactivity", inactive)?;
    match (after, until, inactive) {
        (None, None, None) => Ok(Life::Unlimited),
        (Some(period), None, None) => Ok(Life::For(period, rounding)),
        (None, Some(at), None) => Ok(Life::Until(at)),
        (None, None, Some(period)) => Ok(Life::WhileActive(period, rounding)),
        _ => Err(("expire_time", "at most one of expire_after, expire_time and expire_after_inactivity may be set")),
    }
}

/// Points per major unit of money.
pub(super) fn rate(text: &str) -> Result<Decimal, Wrong> {
    let rate: Decimal = text.parse().map_err(|_| ("points_per_unit", "must be a decimal"))?;
    if rate > Decimal::from(1_000_000) { Err(("points_per_unit", "must be at most 1000000")) } else { Ok(rate) }
}

fn earn_rates(messages: &[pb::EarnRate]) -> impl Iterator<Item = Result<EarnRate, WrongTerms>> {
    let mut ids = HashSet::new();
    messages.iter().enumerate().map(move |(index, message)| {
        let once = if ids.insert(&message.rate_id) { Ok(()) } else { Err(("rate_id", "each rate may be named once")) };
        once.and_then(|()| earn_rate(message)).map_err(|(field, what)| (format!("earn_rates[{index}].{field}"), what.into()))
    })
}

fn earn_rate(message: &pb::EarnRate) -> Result<EarnRate, Wrong> {
    let pb::EarnRate { rate_id, points_per_unit, lines, stores, channels } = message;
    let lines = lines.as_ref().map(line_filter).unwrap_or_default();
    if lines.quantity_min > 0 {
        return Err(("lines.quantity_min", "must be 0: a rate is for each line alone"));
    }
    if lines == LineFilter::default() && stores.is_empty() && channels.is_empty() {
        return Err(("lines", "must name lines, unless stores or channels are named"));
    }
    let points_per_unit = rate(points_per_unit)?;
    Ok(EarnRate { id: rate_id.as_str().into(), points_per_unit, lines, stores: stores.clone(), channels: channels.clone() })
}

fn each_once<'a>(field: &'static str, text: &'static str, mut names: impl Iterator<Item = &'a str>) -> Result<(), Wrong> {
    let mut seen = HashSet::new();
    if names.all(|name| seen.insert(name)) { Ok(()) } else { Err((field, text)) }
}

/// A calendar period; `None` when it has no unit.
pub(crate) fn period(message: &CalendarPeriod) -> Option<Period> {
    let unit = match message.unit() {
        Unit::Day => CalendarUnit::Day,
        Unit::Week => CalendarUnit::Week,
        Unit::Month => CalendarUnit::Month,
        Unit::Year => CalendarUnit::Year,
        Unit::Unspecified => return None,
    };
    Some(Period { count: message.count, unit })
}
