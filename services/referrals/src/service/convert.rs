//! Domain values as messages. Messages become domain values where they are parsed, in the file of their RPC.

use std::time::Duration;

use kernel::Timestamp;
use proto::common::Money;
use proto::referrals as pb;
use proto::referrals::referral::{self, leg};
use rpc::wire;

use crate::domain::{Code, CodeState, Leg, LegState, Plan, Referral, RejectionReason, Role, Source, State, VoidReason};

pub(super) fn plan(plan: &Plan) -> pb::Plan {
    let Plan {
        program,
        id,
        version,
        display_name,
        public_title,
        public_text,
        advocate_points,
        friend_points,
        minimum_net,
        within,
        attribution_window,
        hold,
        advocate_reward_limit,
        create_time,
    } = plan;
    pb::Plan {
        name: id.name(program),
        version: *version,
        display_name: display_name.clone(),
        public_title: public_title.clone(),
        public_text: public_text.clone(),
        advocate_reward: advocate_points.map(reward),
        friend_reward: friend_points.map(reward),
        qualification: Some(pb::Qualification {
            deed: Some(pb::qualification::Deed::FirstPurchase(pb::FirstPurchase {
                minimum_net: Some(Money { currency_code: minimum_net.currency.to_string(), minor_units: minimum_net.minor }),
                within: Some(duration(*within)),
            })),
        }),
        attribution_window: Some(duration(*attribution_window)),
        hold: Some(duration(*hold)),
        advocate_reward_limit: count(*advocate_reward_limit),
        create_time: Some(wire::timestamp(*create_time)),
    }
}

pub(super) fn code(code: &Code, now: Timestamp) -> pb::Code {
    let Code { program, text, advocate, plan, display_label, use_limit, use_count, reward_count: _, expire_time, create_time, revoke_time } =
        code;
    let state = match code.state(now) {
        CodeState::Active => pb::code::State::Active,
        CodeState::Expired => pb::code::State::Expired,
        CodeState::Exhausted => pb::code::State::Exhausted,
        CodeState::Revoked => pb::code::State::Revoked,
    };
    pb::Code {
        name: code.name(),
        code: text.to_string(),
        advocate: advocate.name(program),
        plan: plan.name(program),
        display_label: display_label.clone(),
        state: state.into(),
        use_limit: count(*use_limit),
        use_count: count(Some(*use_count)),
        expire_time: expire_time.map(wire::timestamp),
        create_time: Some(wire::timestamp(*create_time)),
        revoke_time: revoke_time.map(wire::timestamp),
    }
}

pub(super) fn referral(value: &Referral) -> pb::Referral {
    let Referral { id: _, program, version, friend, source, attribute_time, origin, state, legs } = value;
    let origin = origin.as_ref();
    let (qualified, end_time, rejection, void, voided_by) = match state {
        State::Pending => (None, None, None, None, None),
        State::Qualified(qualified) | State::Approved(qualified) => (Some(qualified), None, None, None, None),
        State::Voided { reason, by, time, qualified } => (qualified.as_ref(), Some(*time), None, Some(*reason), by.clone()),
        State::Rejected { reason, time } => (None, Some(*time), Some(*reason), None, None),
    };
    pb::Referral {
        name: value.name(),
        version: *version,
        state: state_of(state).into(),
        friend: friend.name(program),
        advocate: origin.map(|origin| origin.advocate.name(program)).unwrap_or_default(),
        code: origin.map(|origin| format!("programs/{program}/codes/{}", origin.code)).unwrap_or_default(),
        plan: origin.map(|origin| origin.plan.name(program)).unwrap_or_default(),
        plan_version: origin.map(|origin| origin.plan_version).unwrap_or_default(),
        source: match source {
            Source::Enrolment => referral::Source::Enrolment,
            Source::Call => referral::Source::Call,
        }
        .into(),
        attribute_time: Some(wire::timestamp(*attribute_time)),
        qualify_before_time: origin.map(|origin| wire::timestamp(origin.qualify_before)),
        purchase: qualified.map(|qualified| format!("programs/{program}/purchases/{}", qualified.purchase)).unwrap_or_default(),
        qualify_time: qualified.map(|qualified| wire::timestamp(qualified.qualify_time)),
        auto_approve_time: qualified.map(|qualified| wire::timestamp(qualified.auto_approve_time)),
        end_time: end_time.map(wire::timestamp),
        rejection_reason: rejection.map_or(referral::RejectionReason::Unspecified, rejection_reason).into(),
        void_reason: void.map_or(referral::VoidReason::Unspecified, void_reason).into(),
        voided_by: voided_by.unwrap_or_default(),
        legs: legs.iter().map(|leg| leg_of(value, leg)).collect(),
    }
}

fn leg_of(referral: &Referral, Leg { role, points, state }: &Leg) -> referral::Leg {
    let state = match state {
        LegState::Awaiting => leg::State::Awaiting,
        LegState::Wanted => leg::State::Wanted,
        LegState::Issued => leg::State::Issued,
        LegState::Revoking => leg::State::Revoking,
        LegState::Revoked => leg::State::Revoked,
        LegState::Cancelled => leg::State::Cancelled,
        LegState::Withheld => leg::State::Withheld,
    };
    let side = match role {
        Role::Advocate => pb::ReferralRole::Advocate,
        Role::Friend => pb::ReferralRole::Friend,
    };
    referral::Leg { role: side.into(), reward: Some(reward(*points)), state: state.into(), reward_key: referral.reward_key(*role) }
}

fn state_of(state: &State) -> referral::State {
    match state {
        State::Pending => referral::State::Pending,
        State::Qualified(_) => referral::State::Qualified,
        State::Approved(_) => referral::State::Approved,
        State::Voided { .. } => referral::State::Voided,
        State::Rejected { .. } => referral::State::Rejected,
    }
}

fn rejection_reason(reason: RejectionReason) -> referral::RejectionReason {
    match reason {
        RejectionReason::CodeNotFound => referral::RejectionReason::CodeNotFound,
        RejectionReason::CodeExpired => referral::RejectionReason::CodeExpired,
        RejectionReason::CodeRevoked => referral::RejectionReason::CodeRevoked,
        RejectionReason::CodeExhausted => referral::RejectionReason::CodeExhausted,
        RejectionReason::SelfReferral => referral::RejectionReason::SelfReferral,
        RejectionReason::AlreadyReferred => referral::RejectionReason::AlreadyReferred,
        RejectionReason::PurchaseBelowMinimum => referral::RejectionReason::PurchaseBelowMinimum,
        RejectionReason::PurchaseTooLate => referral::RejectionReason::PurchaseTooLate,
        RejectionReason::PurchaseBeforeAttribution => referral::RejectionReason::PurchaseBeforeAttribution,
    }
}

fn void_reason(reason: VoidReason) -> referral::VoidReason {
    match reason {
        VoidReason::PurchaseReturned => referral::VoidReason::PurchaseReturned,
        VoidReason::Fraud => referral::VoidReason::Fraud,
        VoidReason::WrongAdvocate => referral::VoidReason::WrongAdvocate,
        VoidReason::MemberRequest => referral::VoidReason::MemberRequest,
        VoidReason::Other => referral::VoidReason::Other,
    }
}

fn reward(points: i64) -> pb::Reward {
    pb::Reward { kind: Some(pb::reward::Kind::Points(points)) }
}

fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).expect("the contract allows ten years at most")
}

/// Limits and counts are small on the wire; none is zero.
fn count(number: Option<i64>) -> i32 {
    number.map_or(0, |number| i32::try_from(number).unwrap_or(i32::MAX))
}

/// The word of a state in a filter; `None` for all.
pub(super) fn state_word(state: referral::State) -> Option<&'static str> {
    match state {
        referral::State::Unspecified => None,
        referral::State::Pending => Some("PENDING"),
        referral::State::Qualified => Some("QUALIFIED"),
        referral::State::Approved => Some("APPROVED"),
        referral::State::Voided => Some("VOIDED"),
        referral::State::Rejected => Some("REJECTED"),
    }
}

/// The reason of a caller; `None` for one that callers cannot have.
pub(super) fn void_reason_of(reason: referral::VoidReason) -> Option<VoidReason> {
    match reason {
        referral::VoidReason::Unspecified | referral::VoidReason::PurchaseReturned => None,
        referral::VoidReason::Fraud => Some(VoidReason::Fraud),
        referral::VoidReason::WrongAdvocate => Some(VoidReason::WrongAdvocate),
        referral::VoidReason::MemberRequest => Some(VoidReason::MemberRequest),
        referral::VoidReason::Other => Some(VoidReason::Other),
    }
}
