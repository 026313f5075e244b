//! Generated stories: terms, and what three members do under them.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Wait,
    Award,
    Activity,
    Redeem,
    Reserve,
    Capture,
    Release,
    Return,
    Refund,
    Resolve,
    SetExpiry,
    Forgive,
    Adjust,
    Ensure,
    Status,
    Transfer,
    Merge,
    Unmerge,
}

/// A step of a story. Numbers choose among what there is, so that most steps mean something.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) who: usize,
    pub(super) which: usize,
    pub(super) size: i64,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        6 => Just(What::Wait), 16 => Just(What::Award), 2 => Just(What::Activity), 9 => Just(What::Redeem), 5 => Just(What::Reserve),
        5 => Just(What::Capture), 2 => Just(What::Release), 9 => Just(What::Return), 6 => Just(What::Refund), 3 => Just(What::Resolve),
        2 => Just(What::SetExpiry), 3 => Just(What::Forgive), 4 => Just(What::Adjust), 3 => Just(What::Ensure), 2 => Just(What::Status),
        4 => Just(What::Transfer), 3 => Just(What::Merge), 3 => Just(What::Unmerge),
    ];
    let step = (what, 0_usize..3, any::<u16>(), 0_i64..100);
    let step = step.prop_map(|(what, who, which, size)| Step { what, who, which: which.into(), size });
    proptest::collection::vec(step, 1..60)
}

pub(super) fn any_terms() -> impl Strategy<Value = Terms> {
    let period = |unit| move |count| Period { count, unit };
    let days = |most: i32| (1..most).prop_map(period(CalendarUnit::Day));
    let gate = proptest::option::of(days(30)).prop_map(|cancel_after| Activation::On { event: "delivered".into(), cancel_after });
    let activation = prop_oneof![
        3 => Just(Activation::Immediate),
        2 => days(30).prop_map(Activation::After),
        1 => Just(Activation::At(at("2026-03-01T00:00:00Z"))),
        2 => gate,
    ];
    let rounding = || prop_oneof![Just(Rounding::None), Just(Rounding::EndOfMonth), Just(Rounding::EndOfQuarter)];
    let months = || (1_i32..6).prop_map(period(CalendarUnit::Month));
    let life = prop_oneof![
        1 => Just(Life::Unlimited),
        3 => (months(), rounding()).prop_map(|(period, rounding)| Life::For(period, rounding)),
        1 => Just(Life::Until(at("2027-01-01T00:00:00Z"))),
        3 => (days(60), rounding()).prop_map(|(period, rounding)| Life::WhileActive(period, rounding)),
    ];
    let policy =
        prop_oneof![2 => Just(ReturnPolicy::Unlimited), 1 => Just(ReturnPolicy::WithinBalance), 1 => Just(ReturnPolicy::OnlyPending)];
    let caps = proptest::option::of(0_i64..60);
    (activation, life, policy, caps, proptest::option::of(days(20)), proptest::option::of(days(20))).prop_map(
        |(activation, life, return_policy, deficit_cap, restore_grace, remind_before)| Terms {
            activation,
            life,
            return_policy,
            deficit_cap,
            restore_grace,
            remind_before,
            activities: vec![review(7)],
            reservation_ttl: Duration::from_secs(3 * 86_400),
            ..terms()
        },
    )
}
