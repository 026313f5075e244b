use std::collections::HashSet;
use std::sync::Arc;

use kernel::{ProgramId, Timestamp};
use proto::points as pb;
use proto::points::member_limit::Period;
use rpc::wire::timestamp;

use super::version_name;
use crate::domain::{AwardLimit, Count, Limit, LimitPeriod, LimitScope, Promotion, Version};

/// The most that one member may get.
pub(super) fn limit(message: &pb::MemberLimit) -> Result<Limit, &'static str> {
    let pb::MemberLimit { times_max, points_max, period: _ } = *message;
    bounds(times_max, points_max, period(message.period()).ok_or("must name a period")?)
}

/// The most that all may get together.
pub(super) fn budget(message: &pb::PromotionBudget) -> Result<Limit, &'static str> {
    let pb::PromotionBudget { times_max, points_max, period: _ } = *message;
    bounds(times_max, points_max, period(message.period()).ok_or("must name a period")?)
}

/// Reads the limits of awards of terms; the error is the field that is wrong and what it must be.
pub(super) fn award_limits(messages: &[pb::AwardLimit]) -> Result<Vec<AwardLimit>, (String, &'static str)> {
    let mut ids = HashSet::new();
    let mut all = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let wrong = |(field, what)| (format!("limits[{index}].{field}"), what);
        if !ids.insert(&message.limit_id) {
            return Err(wrong(("limit_id", "each limit may be named once")));
        }
        all.push(award_limit(message).map_err(wrong)?);
    }
    Ok(all)
}

fn award_limit(message: &pb::AwardLimit) -> Result<AwardLimit, (&'static str, &'static str)> {
    use pb::award_limit::{OnExceed, Scope};
    let pb::AwardLimit { limit_id, scope: _, period: _, times_max, points_max, on_exceed: _ } = message;
    let scope = match message.scope() {
        Scope::Unspecified => return Err(("scope", "must be set")),
        Scope::Purchase => LimitScope::Purchase,
        Scope::Member => LimitScope::Member,
        Scope::Terminal => LimitScope::Terminal,
        Scope::Cashier => LimitScope::Cashier,
        Scope::Store => LimitScope::Store,
        Scope::Program => LimitScope::Program,
    };
    let limit = match (scope, period(message.period())) {
        (LimitScope::Purchase, Some(_)) => return Err(("period", "must be absent for a limit of each purchase")),
        (LimitScope::Purchase, None) if *times_max > 0 || *points_max == 0 => {
            return Err(("points_max", "must be the one bound of a limit of each purchase"));
        }
        (LimitScope::Purchase, None) => bounds(0, *points_max, LimitPeriod::Ever),
        (_, None) => return Err(("period", "must be set")),
        (_, Some(period)) => bounds(*times_max, *points_max, period),
    };
    let rejects = match message.on_exceed() {
        OnExceed::Unspecified => return Err(("on_exceed", "must be set")),
        OnExceed::Trim => false,
        OnExceed::Reject => true,
    };
    Ok(AwardLimit { id: limit_id.as_str().into(), scope, limit: limit.map_err(|what| ("points_max", what))?, rejects })
}

fn bounds(times_max: i64, points_max: i64, period: LimitPeriod) -> Result<Limit, &'static str> {
    let max = |given: i64| (given > 0).then_some(given);
    let limit = Limit { times_max: max(times_max), points_max: max(points_max), period };
    if limit.times_max.is_none() && limit.points_max.is_none() { Err("must bound times, points or both") } else { Ok(limit) }
}

pub(super) fn period(message: Period) -> Option<LimitPeriod> {
    match message {
        Period::Unspecified => None,
        Period::Ever => Some(LimitPeriod::Ever),
        Period::Day => Some(LimitPeriod::Day),
        Period::Week => Some(LimitPeriod::Week),
        Period::Month => Some(LimitPeriod::Month),
        Period::Year => Some(LimitPeriod::Year),
    }
}

fn period_message(period: LimitPeriod) -> Period {
    match period {
        LimitPeriod::Ever => Period::Ever,
        LimitPeriod::Day => Period::Day,
        LimitPeriod::Week => Period::Week,
        LimitPeriod::Month => Period::Month,
        LimitPeriod::Year => Period::Year,
    }
}

/// The resource name of a promotion's budget.
pub(crate) fn budget_name(program: &ProgramId, promotion: &str) -> String {
    program.name_of("budgets", promotion)
}

/// When the period of a count begins; `None` for one without a beginning.
pub(crate) fn beginning(count: &Count) -> Option<prost_types::Timestamp> {
    count.until.map(|_| timestamp(count.since))
}

/// How a budget stands that so much has been counted of.
pub(crate) fn budget_state(budget: &Limit, count: &Count) -> pb::budget::State {
    match budget.room_beside((count.times, count.points)) {
        Some(_) => pb::budget::State::Running,
        None => pb::budget::State::Paused,
    }
}

/// The budget of a promotion, by what has been counted of it.
pub(crate) fn budget_message(program: &ProgramId, version: &Version, promotion: &Promotion, budget: &Limit, count: &Count) -> pb::Budget {
    let left = |max: Option<i64>, spent: i64| max.map(|max| (max - spent).max(0));
    pb::Budget {
        name: budget_name(program, &promotion.id),
        title: promotion.title.clone(),
        budget: Some(pb::PromotionBudget {
            times_max: budget.times_max.unwrap_or_default(),
            points_max: budget.points_max.unwrap_or_default(),
            period: period_message(budget.period).into(),
        }),
        state: budget_state(budget, count).into(),
        spent_points: count.points,
        times: count.times,
        left_points: left(budget.points_max, count.points),
        left_times: left(budget.times_max, count.times),
        period_start_time: beginning(count),
        period_end_time: count.until.map(timestamp),
        program_version: version_name(program, version.number),
    }
}

/// What a promotion's id is as a count's.
pub(crate) fn counted_promotion(of: &Arc<str>) -> Option<&str> {
    of.strip_prefix("promotion:")
}

/// The period of a count as a part of a name: its seconds; `ever` for one without an end.
pub(crate) fn period_segment(count: &Count) -> String {
    let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
    count.until.map_or("ever".to_owned(), |until| format!("{}-{}", seconds(count.since), seconds(until)))
}
