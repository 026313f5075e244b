//! Whether everything that can happen did happen: a generator that never reaches an outcome proves nothing about it.

use std::collections::BTreeMap;

use proto::points as pb;
use proto::points::reservation::State;

use super::calls::{Answer, Call};
use super::history::Event;

/// What each RPC can be answered in the workload; a new RPC is one more line. "again" is a replay of a success and "refused again"
/// of a refusal. What stands here must occur, in brackets may occur, and nothing else may.
const OUTCOMES: [(&str, &[&str]); 31] = [
    (
        "Award",
        &[
            "done",
            "MEMBER_BLOCKED",
            "(MEMBER_CLOSED)",
            "done for a stranger",
            "again",
            "again under another id",
            "(refused again)",
            "PURCHASE_EXISTS",
            "REDEMPTION_NOT_FOUND",
            "CURRENCY_MISMATCH",
            "OCCUR_TIME_IN_FUTURE",
            "OCCUR_TIME_TOO_OLD",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "AwardActivity",
        &[
            "done",
            "(MEMBER_BLOCKED)",
            "(MEMBER_CLOSED)",
            "again",
            "again under another id",
            "(refused again)",
            "ACTIVITY_EXISTS",
            "ACTIVITY_NOT_FOUND",
            "OCCUR_TIME_IN_FUTURE",
            "OCCUR_TIME_TOO_OLD",
            "REQUEST_ID_REUSED",
        ],
    ),
    ("ActivatePending", &["done", "(again)", "NOTHING_PENDING", "OCCUR_TIME_IN_FUTURE", "OCCUR_TIME_TOO_OLD", "(REQUEST_ID_REUSED)"]),
    ("CancelPending", &["done", "(again)", "NOTHING_PENDING", "(REQUEST_ID_REUSED)"]),
    (
        "Redeem",
        &[
            "done",
            "MEMBER_BLOCKED",
            "(MEMBER_CLOSED)",
            "done in part",
            "again",
            "refused again",
            "POOL_ACCOUNT",
            "INSUFFICIENT_POINTS",
            "WALLET_NOT_FOUND",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "RefundRedemption",
        &[
            "done",
            "done to repay",
            "done and lapsed",
            "again",
            "(refused again)",
            "REDEMPTION_NOT_FOUND",
            "EXCEEDS_REDEMPTION",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "Reserve",
        &[
            "done",
            "MEMBER_BLOCKED",
            "(MEMBER_CLOSED)",
            "again",
            "refused again",
            "INSUFFICIENT_POINTS",
            "WALLET_NOT_FOUND",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "Capture",
        &[
            "done",
            "(MEMBER_CLOSED)",
            "done in part",
            "done and open",
            "done for nothing",
            "again",
            "refused again",
            "EXCEEDS_RESERVATION",
            "RESERVATION_NOT_FOUND",
            "RESERVATION_CAPTURED",
            "RESERVATION_RELEASED",
            "RESERVATION_EXPIRED",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "Release",
        &[
            "done",
            "again",
            "refused again",
            "RESERVATION_NOT_FOUND",
            "RESERVATION_CAPTURED",
            "RESERVATION_RELEASED",
            "RESERVATION_EXPIRED",
            "REQUEST_ID_REUSED",
        ],
    ),
    (
        "ReturnPurchase",
        &[
            "done",
            "done into debt",
            "done with points",
            "done with points elsewhere",
            "again",
            "refused again",
            "EXCEEDS_REDEMPTION",
            "(REDEMPTIONS_APART)",
            "PURCHASE_NOT_FOUND",
            "LINE_NOT_FOUND",
            "EXCEEDS_PURCHASE",
            "NOTHING_TO_RETURN",
            "CURRENCY_MISMATCH",
            "OCCUR_TIME_IN_FUTURE",
            "OCCUR_TIME_TOO_OLD",
            "REQUEST_ID_REUSED",
        ],
    ),
    ("Adjust", &["done", "done downwards", "again", "refused again", "INSUFFICIENT_POINTS", "WALLET_NOT_FOUND", "REQUEST_ID_REUSED"]),
    (
        "SetExpiry",
        &["done", "(again)", "(refused again)", "NOTHING_TO_EXTEND", "EXPIRY_NOT_AHEAD", "WALLET_NOT_FOUND", "(REQUEST_ID_REUSED)"],
    ),
    ("ForgiveDeficit", &["done", "(again)", "(refused again)", "EXCEEDS_DEFICIT", "WALLET_NOT_FOUND", "(REQUEST_ID_REUSED)"]),
    (
        "Transfer",
        &[
            "done",
            "MEMBER_BLOCKED",
            "(MEMBER_CLOSED)",
            "again",
            "(refused again)",
            "INSUFFICIENT_POINTS",
            "SAME_ACCOUNT",
            "WALLET_NOT_FOUND",
            "REQUEST_ID_REUSED",
        ],
    ),
    ("MergeAccounts", &["done", "(again)", "(refused again)", "ALREADY_MERGED", "(REQUEST_ID_REUSED)"]),
    ("UnmergeAccounts", &["done", "(again)", "(refused again)", "NOT_MERGED", "(REQUEST_ID_REUSED)"]),
    ("CreatePool", &["done", "(again)", "(REQUEST_ID_REUSED)"]),
    (
        "InviteToPool",
        &["done", "(again)", "(refused again)", "NOT_POOL_OWNER", "ALREADY_IN_POOL", "(POOL_NOT_FOUND)", "(REQUEST_ID_REUSED)"],
    ),
    ("JoinPool", &["done", "(again)", "(refused again)", "NOT_INVITED", "ALREADY_IN_POOL", "(POOL_NOT_FOUND)", "(REQUEST_ID_REUSED)"]),
    ("SetPoolSharing", &["done", "(again)", "(refused again)", "NOT_IN_POOL", "(POOL_NOT_FOUND)", "(REQUEST_ID_REUSED)"]),
    (
        "ContributeToPool",
        &[
            "done",
            "(MEMBER_BLOCKED)",
            "(MEMBER_CLOSED)",
            "(again)",
            "(refused again)",
            "INSUFFICIENT_POINTS",
            "NOT_IN_POOL",
            "(POOL_NOT_FOUND)",
            "WALLET_NOT_FOUND",
            "(REQUEST_ID_REUSED)",
        ],
    ),
    (
        "RedeemFromPool",
        &[
            "done",
            "(MEMBER_BLOCKED)",
            "(MEMBER_CLOSED)",
            "done in part",
            "(again)",
            "(refused again)",
            "INSUFFICIENT_POINTS",
            "NOT_IN_POOL",
            "POOL_NOT_FOUND",
            "WALLET_NOT_FOUND",
            "(REQUEST_ID_REUSED)",
        ],
    ),
    (
        "LeavePool",
        &[
            "done",
            "done with points",
            "(again)",
            "(refused again)",
            "NOT_IN_POOL",
            "POOL_HAS_MEMBERS",
            "(POOL_NOT_FOUND)",
            "(REQUEST_ID_REUSED)",
        ],
    ),
    (
        "EnsureReward",
        &[
            "done",
            "(MEMBER_BLOCKED)",
            "(MEMBER_CLOSED)",
            "done for an older wish",
            "again",
            "(refused again)",
            "REWARD_EXISTS",
            "REQUEST_ID_REUSED",
        ],
    ),
    ("SettleDue", &["done", "again", "REQUEST_ID_REUSED"]),
    ("PreviewAward", &["done", "(MEMBER_BLOCKED)", "(MEMBER_CLOSED)", "CURRENCY_MISMATCH", "OCCUR_TIME_IN_FUTURE", "OCCUR_TIME_TOO_OLD"]),
    ("GetBalance", &["done"]),
    ("ListEntries", &["done"]),
    ("GetPool", &["done", "POOL_NOT_FOUND"]),
    ("GetPurchase", &["done", "PURCHASE_NOT_FOUND"]),
    ("GetOperation", &["again", "refused again", "OPERATION_NOT_FOUND"]),
];

/// How often each outcome occurred.
#[derive(Default)]
pub(crate) struct Coverage {
    outcomes: BTreeMap<(&'static str, String), usize>,
    overtaken: usize,
}

impl Coverage {
    pub(crate) fn note(&mut self, events: &[Event], overtaken: &[Event]) {
        for event in events {
            if let Some(answer) = event.answer() {
                *self.outcomes.entry((event.call.rpc(), outcome(&event.call, answer))).or_default() += 1;
            }
        }
        self.overtaken += overtaken.len();
    }

    /// What can occur and has not yet. Fails when something has occurred that cannot.
    pub(crate) fn missing(&self) -> Vec<String> {
        let outcomes = || OUTCOMES.iter().flat_map(|(rpc, outcomes)| outcomes.iter().map(move |outcome| (*rpc, *outcome)));
        let possible: Vec<_> = outcomes().map(|(rpc, outcome)| (rpc, outcome.trim_matches(['(', ')']))).collect();
        let occurred: Vec<(&str, &str)> = self.outcomes.keys().map(|(rpc, outcome)| (*rpc, outcome.as_str())).collect();
        let impossible: Vec<_> = occurred.iter().filter(|outcome| !possible.contains(outcome)).collect();
        assert!(impossible.is_empty(), "these outcomes should be impossible: {impossible:?}");
        let missing = outcomes().filter(|(_, outcome)| !outcome.starts_with('(')).filter(|outcome| !occurred.contains(outcome));
        let missing = missing.map(|(rpc, outcome)| format!("{rpc}: {outcome}"));
        missing.chain((self.overtaken == 0).then(|| "a call refused because another overtook it".to_owned())).collect()
    }
}

fn outcome(call: &Call, answer: &Answer) -> String {
    if let Err(refusal) = &answer.result {
        return if answer.replayed { "refused again".to_owned() } else { refusal.reason.clone() };
    }
    let operation = call.operation(answer);
    if answer.replayed {
        let other = operation.is_some_and(|operation| call.request_id().is_some_and(|id| operation.request_id != id));
        return if other { "again under another id" } else { "again" }.to_owned();
    }
    let operation = operation.unwrap_or_default();
    let asked_and_moved = (operation.requested_points, operation.actual_points);
    match call {
        Call::Award(request) if request.member.is_empty() => "done for a stranger",
        Call::Redeem(_) | Call::RedeemFromPool(_) if operation.actual_points > -operation.requested_points => "done in part",
        Call::Capture(_) if operation.requested_points == 0 => "done for nothing",
        Call::Capture(_) if operation.reservation.as_ref().is_some_and(|held| held.state() == State::Open) => "done and open",
        Call::Capture(_) if operation.reservation.is_some_and(|held| held.captured_points < held.points) => "done in part",
        Call::RefundRedemption(_) if operation.refund.as_ref().is_some_and(|refund| refund.lapsed_points > 0) => "done and lapsed",
        Call::RefundRedemption(_) if operation.refund.as_ref().is_some_and(|refund| refund.repaid_points > 0) => "done to repay",
        Call::LeavePool(_) if operation.requested_points > 0 => "done with points",
        Call::ReturnPurchase(_) if operation.r#return.as_ref().is_some_and(|back| back.refund.is_some()) => match &*operation.counterpart {
            "" => "done with points",
            _ => "done with points elsewhere",
        },
        Call::ReturnPurchase(_) if operation.r#return.is_some_and(|back| back.added_to_deficit > 0) => "done into debt",
        Call::Adjust(_) if asked_and_moved.0 < 0 => "done downwards",
        Call::EnsureReward(request) if answer.message().is_some_and(|now: pb::EnsureRewardResponse| now.version > request.version) => {
            "done for an older wish"
        }
        _ => "done",
    }
    .to_owned()
}
