use std::collections::HashSet;

use kernel::Timestamp;
use proto::points as pb;
use rust_decimal::Decimal;

use crate::domain::{Asks, BirthdayWindow, DayPart, Gives, Limit, LimitPeriod, LineFilter, Promotion, Rejection};

/// Reads the promotions of terms; the error is the field that is wrong and what it must be.
pub(super) fn promotions(messages: &[pb::Promotion]) -> Result<Vec<Promotion>, (String, &'static str)> {
    each(messages).collect()
}

/// What is wrong with promotions, one thing about each.
pub(super) fn wrong_promotions(messages: &[pb::Promotion]) -> Vec<(String, &'static str)> {
    each(messages).filter_map(Result::err).collect()
}

fn each(messages: &[pb::Promotion]) -> impl Iterator<Item = Result<Promotion, (String, &'static str)>> {
    let mut ids = HashSet::new();
    messages.iter().enumerate().map(move |(index, message)| {
        let once = if ids.insert(&message.promotion_id) { Ok(()) } else { Err(("promotion_id", "each promotion may be named once")) };
        once.and_then(|()| promotion(message)).map_err(|(field, what)| (format!("promotions[{index}].{field}"), what))
    })
}

fn promotion(message: &pb::Promotion) -> Result<Promotion, (&'static str, &'static str)> {
    let (start_at, end_at) = (time("start_time", message.start_time.as_ref())?, time("end_time", message.end_time.as_ref())?);
    if let (Some(start), Some(end)) = (start_at, end_at)
        && end <= start
    {
        return Err(("end_time", "must be after start_time"));
    }
    let asks = Asks {
        start_at,
        end_at,
        weekdays: message.weekdays.iter().filter_map(|day| i8::try_from(*day).ok()).collect(),
        day_part: message.day_part.as_ref().map(day_part).transpose()?,
        stores: message.stores.clone(),
        channels: message.channels.clone(),
        tiers: message.tiers.clone(),
        purchase_number: (message.purchase_number > 0).then(|| message.purchase_number.into()),
        dormant_days: (message.dormant_days > 0).then_some(message.dormant_days),
        birthday: match message.birthday() {
            pb::promotion::Birthday::Unspecified => None,
            pb::promotion::Birthday::Day => Some(BirthdayWindow::Day),
            pb::promotion::Birthday::Week => Some(BirthdayWindow::Week),
            pb::promotion::Birthday::Month => Some(BirthdayWindow::Month),
        },
    };
    Ok(Promotion {
        id: message.promotion_id.as_str().into(),
        title: message.title.clone(),
        gives: gives(message.gives.as_ref())?,
        asks,
        lines: message.lines.as_ref().map(line_filter).unwrap_or_default(),
        spend_min: message.spend_min,
        points_max: (message.points_max > 0).then_some(message.points_max),
        group: (!message.stacking_group.is_empty()).then(|| message.stacking_group.clone()),
        priority: message.priority,
        limit: message.member_limit.as_ref().map(limit).transpose().map_err(|what| ("member_limit", what))?,
    })
}

/// The most that one member may get.
pub(super) fn limit(message: &pb::MemberLimit) -> Result<Limit, &'static str> {
    use pb::member_limit::Period;
    let max = |given: i64| (given > 0).then_some(given);
    let (times_max, points_max) = (max(message.times_max), max(message.points_max));
    if times_max.is_none() && points_max.is_none() {
        return Err("must bound times, points or both");
    }
    let period = match message.period() {
        Period::Unspecified => return Err("must name a period"),
        Period::Ever => LimitPeriod::Ever,
        Period::Day => LimitPeriod::Day,
        Period::Week => LimitPeriod::Week,
        Period::Month => LimitPeriod::Month,
        Period::Year => LimitPeriod::Year,
    };
    Ok(Limit { times_max, points_max, period })
}

fn gives(given: Option<&pb::promotion::Gives>) -> Result<Gives, (&'static str, &'static str)> {
    match given {
        Some(pb::promotion::Gives::Points(points)) => Ok(Gives::Points(*points)),
        Some(pb::promotion::Gives::Multiplier(text)) => {
            let multiplier: Decimal = text.parse().map_err(|_| ("multiplier", "must be a decimal"))?;
            if multiplier <= Decimal::ONE || multiplier > Decimal::ONE_HUNDRED {
                return Err(("multiplier", "must be more than 1 and at most 100"));
            }
            Ok(Gives::Multiplier(multiplier))
        }
        None => Err(("gives", "one of multiplier and points must be set")),
    }
}

fn day_part(message: &pb::DayPart) -> Result<DayPart, (&'static str, &'static str)> {
    let pb::DayPart { start_minute, end_minute } = *message;
    if start_minute == end_minute {
        return Err(("day_part.end_minute", "must differ from start_minute"));
    }
    Ok(DayPart { start_minute, end_minute })
}

pub(super) fn line_filter(message: &pb::LineFilter) -> LineFilter {
    let pb::LineFilter { skus, categories, excluded_categories, quantity_min } = message.clone();
    LineFilter { skus, categories, excluded_categories, quantity_min }
}

fn time(field: &'static str, given: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, (&'static str, &'static str)> {
    given.map(|given| Timestamp::from_parts(given.seconds, given.nanos).ok_or((field, "must be a time"))).transpose()
}

/// A promotion that gave nothing.
pub(super) fn rejected(id: &str, reason: Rejection) -> pb::RejectedPromotion {
    use pb::rejected_promotion::Reason;
    let reason = match reason {
        Rejection::Time => Reason::Time,
        Rejection::Store => Reason::Store,
        Rejection::Channel => Reason::Channel,
        Rejection::Tier => Reason::Tier,
        Rejection::PurchaseNumber => Reason::PurchaseNumber,
        Rejection::Dormancy => Reason::Dormancy,
        Rejection::Birthday => Reason::Birthday,
        Rejection::Lines => Reason::Lines,
        Rejection::Spend => Reason::Spend,
        Rejection::Nothing => Reason::Nothing,
        Rejection::Limit => Reason::Limit,
        Rejection::Stacking => Reason::Stacking,
    };
    pb::RejectedPromotion { promotion_id: id.to_owned(), reason: reason.into() }
}
