use std::borrow::Cow;
use std::collections::HashSet;

use jiff::civil::{DateTime, Weekday};
use kernel::{Timestamp, Zone};
use proto::points as pb;
use rust_decimal::Decimal;

use super::limits::{budget, limit};
use super::terms::WrongTerms;
use super::wallets::other_wallet;
use crate::domain::{
    Asks, BirthdayWindow, Condition, Gives, LineFilter, Promotion, Rejection, WINDOWS_MAX, WeeklyWindow, Windows, windows,
};

/// A field of a promotion, and what is wrong with it.
type Wrong = (Cow<'static, str>, Cow<'static, str>);

/// Reads the promotions of terms; the error is the field that is wrong and what it must be.
pub(super) fn promotions(messages: &[pb::Promotion], zone: &Zone) -> Result<Vec<Promotion>, WrongTerms> {
    each(messages, zone).collect()
}

/// What is wrong with promotions, one thing about each; where their windows become too many is told once.
pub(super) fn wrong_promotions(messages: &[pb::Promotion], zone: &Zone) -> Vec<WrongTerms> {
    let mut told = false;
    let mut wrong: Vec<WrongTerms> = each(messages, zone).filter_map(Result::err).collect();
    wrong.retain(|(_, what)| what != TOO_MANY_WINDOWS || !std::mem::replace(&mut told, true));
    wrong
}

const _: () = assert!(WINDOWS_MAX == 100_000, "the text names it");
const TOO_MANY_WINDOWS: &str = "all rules of the version together must have at most 100000 windows";

fn each(messages: &[pb::Promotion], zone: &Zone) -> impl Iterator<Item = Result<Promotion, WrongTerms>> {
    let mut ids = HashSet::new();
    let mut windows_left = WINDOWS_MAX;
    messages.iter().enumerate().map(move |(index, message)| {
        let once =
            if ids.insert(&message.promotion_id) { Ok(()) } else { Err(plain(("promotion_id", "each promotion may be named once"))) };
        once.and_then(|()| promotion(message, zone, &mut windows_left))
            .map_err(|(field, what)| (format!("promotions[{index}].{field}"), what))
    })
}

fn plain((field, what): (&'static str, &'static str)) -> Wrong {
    (field.into(), what.into())
}

fn promotion(message: &pb::Promotion, zone: &Zone, windows_left: &mut usize) -> Result<Promotion, Wrong> {
    let promotion = plain_promotion(message).map_err(plain)?;
    let asks = Asks {
        windows: recurring(&message.windows, zone, windows_left)?,
        condition: condition(&message.condition).map_err(|what| ("condition".into(), what))?,
        ..promotion.asks
    };
    Ok(Promotion { asks, ..promotion })
}

/// A condition; `None` for none. The error tells line and column.
pub(super) fn condition(text: &str) -> Result<Option<Condition>, Cow<'static, str>> {
    if text.is_empty() {
        return Ok(None);
    }
    Condition::parse(text).map(Some).map_err(|error| error.to_string().into())
}

/// What rules come to. Once a version has too many windows no more rules are laid out.
fn recurring(messages: &[pb::RecurringWindow], zone: &Zone, left: &mut usize) -> Result<Windows, Wrong> {
    let mut rules = Vec::new();
    for (index, pb::RecurringWindow { rule, start, duration_minutes }) in messages.iter().enumerate() {
        let wrong = |field: &str, what: String| (format!("windows[{index}].{field}").into(), what.into());
        let start = start.parse::<DateTime>().map_err(|_| wrong("start", "must be a day and a time: 2026-05-01T18:00".to_owned()))?;
        let beyond = || wrong("rule", TOO_MANY_WINDOWS.to_owned());
        if *left == 0 {
            return Err(beyond());
        }
        let of_rule = windows(rule, start, *duration_minutes, zone).map_err(|error| wrong("rule", error.to_string()))?;
        let rest = left.checked_sub(of_rule.len());
        *left = rest.unwrap_or(0);
        rest.ok_or_else(beyond)?;
        rules.push(of_rule);
    }
    Ok(Windows::new(&rules))
}

/// How far from a birthday something holds; `None` when that does not matter.
pub(super) fn birthday_window(message: pb::promotion::Birthday) -> Option<BirthdayWindow> {
    match message {
        pb::promotion::Birthday::Unspecified => None,
        pb::promotion::Birthday::Day => Some(BirthdayWindow::Day),
        pb::promotion::Birthday::Week => Some(BirthdayWindow::Week),
        pb::promotion::Birthday::Month => Some(BirthdayWindow::Month),
    }
}

/// All but the windows and the condition.
fn plain_promotion(message: &pb::Promotion) -> Result<Promotion, (&'static str, &'static str)> {
    let (start_at, end_at) = (time("start_time", message.start_time.as_ref())?, time("end_time", message.end_time.as_ref())?);
    if let (Some(start), Some(end)) = (start_at, end_at)
        && end <= start
    {
        return Err(("end_time", "must be after start_time"));
    }
    let asks = Asks {
        start_at,
        end_at,
        weekly: weekly(&message.weekdays, message.day_part.as_ref())?,
        windows: Windows::default(),
        stores: message.stores.clone(),
        channels: message.channels.clone(),
        tiers: message.tiers.clone(),
        tags: message.tags.clone(),
        excluded_tags: message.excluded_tags.clone(),
        segments: message.segments.clone(),
        purchase_number: (message.purchase_number > 0).then(|| message.purchase_number.into()),
        dormant_days: (message.dormant_days > 0).then_some(message.dormant_days),
        birthday: birthday_window(message.birthday()),
        condition: None,
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
        budget: message.budget.as_ref().map(budget).transpose().map_err(|what| ("budget", what))?,
        wallet: other_wallet(&message.wallet),
    })
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

/// Days of the week and a part of the day, where one of them is asked for.
fn weekly(days: &[i32], part: Option<&pb::DayPart>) -> Result<Option<WeeklyWindow>, (&'static str, &'static str)> {
    if days.is_empty() && part.is_none() {
        return Ok(None);
    }
    let pb::DayPart { start_minute, end_minute } = part.copied().unwrap_or(pb::DayPart { start_minute: 0, end_minute: 1_440 });
    if start_minute == end_minute {
        return Err(("day_part.end_minute", "must differ from start_minute"));
    }
    let all = [1, 2, 3, 4, 5, 6, 7];
    Ok(Some(WeeklyWindow { weekdays: weekdays(if days.is_empty() { &all } else { days }), start_minute, end_minute }))
}

/// Days of the week by their numbers, 1 for Monday.
pub(super) fn weekdays(numbers: &[i32]) -> Vec<Weekday> {
    numbers.iter().filter_map(|number| Weekday::from_monday_one_offset(i8::try_from(*number).ok()?).ok()).collect()
}

pub(super) fn line_filter(message: &pb::LineFilter) -> LineFilter {
    let pb::LineFilter { skus, categories, excluded_categories, quantity_min } = message.clone();
    LineFilter { skus, categories, excluded_categories, quantity_min }
}

pub(super) fn time(field: &'static str, given: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, (&'static str, &'static str)> {
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
        Rejection::Audience => Reason::Audience,
        Rejection::PurchaseNumber => Reason::PurchaseNumber,
        Rejection::Dormancy => Reason::Dormancy,
        Rejection::Birthday => Reason::Birthday,
        Rejection::Condition => Reason::Condition,
        Rejection::ConditionFault => Reason::ConditionFault,
        Rejection::Lines => Reason::Lines,
        Rejection::Spend => Reason::Spend,
        Rejection::Nothing => Reason::Nothing,
        Rejection::Limit => Reason::Limit,
        Rejection::Budget => Reason::Budget,
        Rejection::Stacking => Reason::Stacking,
    };
    pb::RejectedPromotion { promotion_id: id.to_owned(), reason: reason.into() }
}
