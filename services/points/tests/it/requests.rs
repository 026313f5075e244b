//! Requests as tests write them, and what tests read in answers.

use std::sync::atomic::{AtomicU64, Ordering};

use proto::common::{CalendarPeriod, Money, calendar_period::Unit};
use proto::points as pb;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

pub(crate) const TEA: &str = "programs/tea";
pub(crate) const TILL: &str = "programs/tea/stores/s1/terminals/till-1";

/// Something good with one thing changed.
pub(crate) fn with<M>(mut message: M, change: impl FnOnce(&mut M)) -> M {
    change(&mut message);
    message
}

/// An id that no other request of this run has.
pub(crate) fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn member(number: u128) -> String {
    if number == 0 { String::new() } else { format!("{TEA}/members/{}", Uuid::from_u128(number)) }
}

pub(crate) fn purchase(id: &str) -> String {
    format!("{TEA}/purchases/{id}")
}

pub(crate) fn yuan(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "CNY".to_owned(), minor_units })
}

pub(crate) fn days(count: i32) -> Option<CalendarPeriod> {
    Some(CalendarPeriod { count, unit: Unit::Day.into() })
}

/// One point for a yuan, fractions dropped, spendable at once and for ever; what is missing at a return becomes a deficit.
pub(crate) fn terms() -> pb::Terms {
    pb::Terms {
        points_per_unit: "1".to_owned(),
        rounding: pb::terms::PointRounding::Down.into(),
        return_policy: pb::terms::ReturnPolicy::Unlimited.into(),
        ..pb::Terms::default()
    }
}

/// A purchase of so many fen by a member; member 0 is a stranger.
pub(crate) fn award(buyer: u128, id: &str, fen: i64) -> pb::AwardRequest {
    pb::AwardRequest {
        parent: TEA.to_owned(),
        member: member(buyer),
        purchase: Some(pb::PurchaseInput { purchase_id: id.to_owned(), net: yuan(fen), ..pb::PurchaseInput::default() }),
        historical: false,
        request_id: request_id(),
    }
}

/// The same with lines: id, pieces, fen of the whole line.
pub(crate) fn award_lines(buyer: u128, id: &str, lines: &[(&str, i64, i64)]) -> pb::AwardRequest {
    let line = |&(line_id, quantity, net_minor_units): &(&str, i64, i64)| pb::PurchaseLine {
        line_id: line_id.to_owned(),
        quantity,
        net_minor_units,
        ..pb::PurchaseLine::default()
    };
    with(award(buyer, id, lines.iter().map(|line| line.2).sum()), |request| {
        input(request).lines = lines.iter().map(line).collect();
    })
}

pub(crate) fn input(request: &mut pb::AwardRequest) -> &mut pb::PurchaseInput {
    request.purchase.as_mut().unwrap()
}

pub(crate) fn preview(request: &pb::AwardRequest) -> pb::PreviewAwardRequest {
    pb::PreviewAwardRequest { parent: request.parent.clone(), member: request.member.clone(), purchase: request.purchase.clone() }
}

pub(crate) fn redeem(owner: u128, points: i64) -> pb::RedeemRequest {
    pb::RedeemRequest { member: member(owner), points, request_id: request_id(), ..pb::RedeemRequest::default() }
}

pub(crate) fn up_to(owner: u128, points: i64) -> pb::RedeemRequest {
    pb::RedeemRequest { mode: pb::redeem_request::Mode::UpTo.into(), ..redeem(owner, points) }
}

pub(crate) fn reserve(owner: u128, points: i64) -> pb::ReserveRequest {
    pb::ReserveRequest { member: member(owner), points, request_id: request_id(), ..pb::ReserveRequest::default() }
}

pub(crate) fn capture(reservation: &str, points: Option<i64>) -> pb::CaptureRequest {
    pb::CaptureRequest { name: reservation.to_owned(), points, request_id: request_id(), ..pb::CaptureRequest::default() }
}

pub(crate) fn release(reservation: &str) -> pb::ReleaseRequest {
    pb::ReleaseRequest { name: reservation.to_owned(), request_id: request_id() }
}

/// A return after which so many fen are left.
pub(crate) fn down_to(id: &str, fen: i64) -> pb::ReturnPurchaseRequest {
    pb::ReturnPurchaseRequest {
        purchase: purchase(id),
        what: yuan(fen).map(pb::return_purchase_request::What::RemainingNet),
        request_id: request_id(),
        ..pb::ReturnPurchaseRequest::default()
    }
}

/// A return of pieces of lines.
pub(crate) fn give_back(id: &str, lines: &[(&str, i64)]) -> pb::ReturnPurchaseRequest {
    let lines = lines.iter().map(|&(line, quantity)| pb::ReturnLine { line_id: line.to_owned(), quantity }).collect();
    let what = Some(pb::return_purchase_request::What::Lines(pb::ReturnLines { lines }));
    pb::ReturnPurchaseRequest { what, ..down_to(id, 0) }
}

pub(crate) fn adjust(owner: u128, points: i64) -> pb::AdjustRequest {
    pb::AdjustRequest {
        member: member(owner),
        points,
        reason: "a cold tea".to_owned(),
        approver: "employees/17".to_owned(),
        request_id: request_id(),
        ..pb::AdjustRequest::default()
    }
}

pub(crate) fn ensure(owner: u128, key: &str, points: i64, wanted: bool, version: i64) -> pb::EnsureRewardRequest {
    pb::EnsureRewardRequest {
        member: member(owner),
        reward_key: key.to_owned(),
        points,
        wanted,
        version,
        reason: "referral".to_owned(),
        request_id: request_id(),
        wallet: String::new(),
    }
}

pub(crate) fn settle(accounts_max: i32) -> pb::SettleDueRequest {
    pb::SettleDueRequest { parent: TEA.to_owned(), accounts_max, request_id: request_id() }
}

pub(crate) fn answer_to(request_id: &str) -> pb::GetOperationRequest {
    pb::GetOperationRequest { parent: TEA.to_owned(), request_id: request_id.to_owned() }
}

pub(crate) fn new_version(terms: pb::Terms) -> pb::CreateProgramVersionRequest {
    pb::CreateProgramVersionRequest { parent: TEA.to_owned(), terms: Some(terms), start_time: None, draft: false, request_id: request_id() }
}

/// Spendable, pending, reserved and owed points of the main wallet.
/// The same as a draft.
pub(crate) fn new_draft(terms: pb::Terms) -> pb::CreateProgramVersionRequest {
    pb::CreateProgramVersionRequest { draft: true, ..new_version(terms) }
}

pub(crate) fn schedule(version: &str, start: Option<kernel::Timestamp>) -> pb::ScheduleProgramVersionRequest {
    pb::ScheduleProgramVersionRequest { name: version.to_owned(), start_time: start.map(rpc::wire::timestamp), request_id: request_id() }
}

pub(crate) fn give_up(version: &str) -> pb::RetireProgramVersionRequest {
    pb::RetireProgramVersionRequest { name: version.to_owned(), request_id: request_id() }
}

pub(crate) fn roll_back(version: &str) -> pb::RollBackProgramRequest {
    pb::RollBackProgramRequest { version: version.to_owned(), request_id: request_id() }
}

/// A program's file of plain terms.
pub(crate) fn plain_file() -> pb::ProgramFile {
    let (currency_code, terms) = ("CNY".to_owned(), Some(terms()));
    let time_zone = "Asia/Shanghai".to_owned();
    pb::ProgramFile { format_version: 1, digest: String::new(), currency_code, terms, rewards: Vec::new(), time_zone }
}

/// As an export would have written it.
pub(crate) fn written(file: pb::ProgramFile) -> String {
    let digest = blake3::hash(proto::json::compact(&file).as_bytes()).to_hex().to_string();
    proto::json::pretty(&pb::ProgramFile { digest, ..file })
}

pub(crate) fn export(program: &str) -> pb::ExportProgramRequest {
    pb::ExportProgramRequest { parent: program.to_owned(), version: String::new() }
}

pub(crate) fn import(program: &str, content: &str) -> pb::ImportProgramRequest {
    pb::ImportProgramRequest {
        parent: program.to_owned(),
        content: content.to_owned(),
        dry_run: false,
        request_id: request_id(),
        other_time_zone: false,
    }
}

pub(crate) fn figures(balance: &pb::Balance) -> (i64, i64, i64, i64) {
    let main = &balance.wallets[0];
    assert_eq!(main.wallet, "points");
    (main.active_points, main.pending_points, main.reserved_points, main.deficit_points)
}

/// The name of the reservation that an operation made.
pub(crate) fn hold(operation: &pb::Operation) -> String {
    operation.reservation.as_ref().unwrap().name.clone()
}

/// Kinds and points of entries: `AWARD 100`.
pub(crate) fn story(entries: &[pb::Entry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry.kind().as_str_name().trim_start_matches("ENTRY_KIND_"), entry.points)).collect()
}

pub(crate) fn replayed<T>(response: &Response<T>) -> bool {
    response.metadata().get("regulars-replayed").is_some_and(|value| value == "true")
}

/// Code and reason of a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    code_and_reason(&result.expect_err("it must be refused"))
}

pub(crate) fn code_and_reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map_or_else(String::new, |info| info.reason))
}

/// Reason of a refusal by the state of things.
#[track_caller]
pub(crate) fn precondition<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let (code, reason) = refusal(result);
    assert_eq!(code, Code::FailedPrecondition, "{reason}");
    reason
}

pub(crate) fn activity(owner: u128, activity: &str, id: &str) -> pb::AwardActivityRequest {
    pb::AwardActivityRequest {
        member: member(owner),
        activity: activity.to_owned(),
        activity_id: id.to_owned(),
        proof_url: String::new(),
        request_id: request_id(),
        ..pb::AwardActivityRequest::default()
    }
}

pub(crate) fn activate(owner: u128, event: &str) -> pb::ActivatePendingRequest {
    pb::ActivatePendingRequest {
        member: member(owner),
        event: event.to_owned(),
        request_id: request_id(),
        ..pb::ActivatePendingRequest::default()
    }
}

pub(crate) fn cancel(owner: u128, event: &str) -> pb::CancelPendingRequest {
    pb::CancelPendingRequest {
        member: member(owner),
        event: event.to_owned(),
        reason: "it was lost".to_owned(),
        request_id: request_id(),
        ..pb::CancelPendingRequest::default()
    }
}

/// All of a redemption, or so many points of it.
pub(crate) fn refund(redemption: &str, points: Option<i64>) -> pb::RefundRedemptionRequest {
    pb::RefundRedemptionRequest {
        redemption: redemption.to_owned(),
        points,
        request_id: request_id(),
        ..pb::RefundRedemptionRequest::default()
    }
}

pub(crate) fn never_expire(owner: u128) -> pb::SetExpiryRequest {
    pb::SetExpiryRequest {
        member: member(owner),
        to: Some(pb::set_expiry_request::To::Never(true)),
        reason: "goodwill".to_owned(),
        approver: "staff 7".to_owned(),
        request_id: request_id(),
        ..pb::SetExpiryRequest::default()
    }
}

/// All that is owed, or so many points of it.
pub(crate) fn forgive(owner: u128, points: Option<i64>) -> pb::ForgiveDeficitRequest {
    pb::ForgiveDeficitRequest {
        member: member(owner),
        points,
        reason: "goodwill".to_owned(),
        approver: "staff 7".to_owned(),
        request_id: request_id(),
        ..pb::ForgiveDeficitRequest::default()
    }
}

pub(crate) fn transfer(from: u128, to: u128, points: i64) -> pb::TransferRequest {
    pb::TransferRequest {
        member: member(from),
        to_member: member(to),
        points,
        reason: "a gift".to_owned(),
        request_id: request_id(),
        ..pb::TransferRequest::default()
    }
}

pub(crate) fn merge(survivor: u128, merged: u128) -> pb::MergeAccountsRequest {
    pb::MergeAccountsRequest {
        member: member(survivor),
        merged_member: member(merged),
        reason: "the same person".to_owned(),
        request_id: request_id(),
    }
}

pub(crate) fn unmerge(survivor: u128, merged: u128) -> pb::UnmergeAccountsRequest {
    pb::UnmergeAccountsRequest {
        member: member(survivor),
        merged_member: member(merged),
        reason: "two persons after all".to_owned(),
        request_id: request_id(),
    }
}

pub(crate) fn create_pool(owner: u128, shares: bool) -> pb::CreatePoolRequest {
    pb::CreatePoolRequest { member: member(owner), shares, request_id: request_id() }
}

pub(crate) fn invite(pool: &str, owner: u128, invited: u128) -> pb::InviteToPoolRequest {
    pb::InviteToPoolRequest { pool: pool.to_owned(), member: member(owner), invited_member: member(invited), request_id: request_id() }
}

pub(crate) fn join(pool: &str, who: u128, shares: bool) -> pb::JoinPoolRequest {
    pb::JoinPoolRequest { pool: pool.to_owned(), member: member(who), shares, request_id: request_id() }
}

pub(crate) fn sharing(pool: &str, who: u128, shares: bool) -> pb::SetPoolSharingRequest {
    pb::SetPoolSharingRequest { pool: pool.to_owned(), member: member(who), shares, request_id: request_id() }
}

pub(crate) fn contribute(pool: &str, who: u128, points: i64) -> pb::ContributeToPoolRequest {
    pb::ContributeToPoolRequest { pool: pool.to_owned(), member: member(who), points, wallet: String::new(), request_id: request_id() }
}

pub(crate) fn leave(pool: &str, who: u128) -> pb::LeavePoolRequest {
    pb::LeavePoolRequest { pool: pool.to_owned(), member: member(who), request_id: request_id() }
}

pub(crate) fn redeem_pooled(pool: &str, who: u128, points: i64) -> pb::RedeemFromPoolRequest {
    pb::RedeemFromPoolRequest {
        pool: pool.to_owned(),
        member: member(who),
        points,
        request_id: request_id(),
        ..pb::RedeemFromPoolRequest::default()
    }
}

/// An activity of the terms and its points.
pub(crate) fn earns(activity: &str, points: i64) -> pb::ActivityTerms {
    pb::ActivityTerms { activity: activity.to_owned(), points, ..pb::ActivityTerms::default() }
}

/// Points wait for an event, for ever or so long.
pub(crate) fn waits_for(event: &str, cancel_after: Option<CalendarPeriod>) -> Option<pb::ActivateOn> {
    Some(pb::ActivateOn { event: event.to_owned(), cancel_after })
}

/// Operation, counterpart and postings of an event of points that moved otherwise than by a purchase or return.
pub(crate) fn posted(event: &proto::events::Event) -> (String, String, Vec<String>) {
    let Some(proto::events::event::Payload::PointsPosted(posted)) = &event.payload else { panic!("no points were posted: {event:?}") };
    let postings = posted.postings.iter().map(|posting| format!("{} {} {}", posting.version, posting.kind, posting.points));
    (posted.operation.clone(), posted.counterpart.clone(), postings.collect())
}

/// A value in the metadata of a refusal.
#[track_caller]
pub(crate) fn metadata<T: std::fmt::Debug>(result: &Result<T, Status>, key: &str) -> String {
    result.as_ref().expect_err("it must be refused").get_details_error_info().unwrap().metadata[key].clone()
}

/// The fields that an INVALID_ARGUMENT names.
#[track_caller]
pub(crate) fn wrong_fields<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<String> {
    wrong_with_descriptions(result).into_iter().map(|(field, _)| field).collect()
}

/// The same, each with what is told of it.
#[track_caller]
pub(crate) fn wrong_with_descriptions<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<(String, String)> {
    let status = result.expect_err("it must be refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().unwrap_or_else(|| panic!("it names no field: {status:?}"));
    details.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

/// Every RPC of the service with a good request in a program, encoded.
pub(crate) fn every_rpc(program: &str) -> Vec<(&'static str, Vec<u8>)> {
    use prost::Message;
    let owner = format!("{program}/members/{}", Uuid::from_u128(1));
    let bought = format!("{program}/purchases/p1");
    let friend = format!("{program}/members/{}", Uuid::from_u128(2));
    let guest = friend.clone();
    let pool = format!("{program}/pools/{}", Uuid::from_u128(3));
    let spent = format!("{program}/operations/{}", Uuid::from_u128(1));
    let held = format!("{owner}/reservations/{}", Uuid::from_u128(1));
    let parent = program.to_owned();
    let awarded = pb::AwardRequest { parent: parent.clone(), member: owner.clone(), ..award(1, "p1", 100) };
    vec![
        ("PreviewAward", preview(&awarded).encode_to_vec()),
        ("Award", awarded.encode_to_vec()),
        ("Redeem", pb::RedeemRequest { member: owner.clone(), ..redeem(1, 1) }.encode_to_vec()),
        ("Reserve", pb::ReserveRequest { member: owner.clone(), ..reserve(1, 1) }.encode_to_vec()),
        ("Capture", capture(&held, None).encode_to_vec()),
        ("Release", release(&held).encode_to_vec()),
        ("ReturnPurchase", pb::ReturnPurchaseRequest { purchase: bought.clone(), ..down_to("p1", 0) }.encode_to_vec()),
        ("Adjust", pb::AdjustRequest { member: owner.clone(), ..adjust(1, 1) }.encode_to_vec()),
        ("AwardActivity", pb::AwardActivityRequest { member: owner.clone(), ..activity(1, "review", "a1") }.encode_to_vec()),
        ("ActivatePending", pb::ActivatePendingRequest { member: owner.clone(), ..activate(1, "delivered") }.encode_to_vec()),
        ("CancelPending", pb::CancelPendingRequest { member: owner.clone(), ..cancel(1, "delivered") }.encode_to_vec()),
        ("RefundRedemption", pb::RefundRedemptionRequest { redemption: spent, ..refund("", None) }.encode_to_vec()),
        ("SetExpiry", pb::SetExpiryRequest { member: owner.clone(), ..never_expire(1) }.encode_to_vec()),
        ("ForgiveDeficit", pb::ForgiveDeficitRequest { member: owner.clone(), ..forgive(1, None) }.encode_to_vec()),
        ("Transfer", pb::TransferRequest { member: owner.clone(), to_member: friend.clone(), ..transfer(1, 2, 1) }.encode_to_vec()),
        ("MergeAccounts", pb::MergeAccountsRequest { member: owner.clone(), merged_member: friend.clone(), ..merge(1, 2) }.encode_to_vec()),
        ("UnmergeAccounts", pb::UnmergeAccountsRequest { member: owner.clone(), merged_member: friend, ..unmerge(1, 2) }.encode_to_vec()),
        ("CreatePool", pb::CreatePoolRequest { member: owner.clone(), shares: true, request_id: request_id() }.encode_to_vec()),
        (
            "InviteToPool",
            pb::InviteToPoolRequest { member: owner.clone(), invited_member: guest.clone(), ..invite(&pool, 1, 2) }.encode_to_vec(),
        ),
        ("JoinPool", pb::JoinPoolRequest { member: guest.clone(), ..join(&pool, 2, true) }.encode_to_vec()),
        ("SetPoolSharing", pb::SetPoolSharingRequest { member: guest.clone(), ..sharing(&pool, 2, true) }.encode_to_vec()),
        ("ContributeToPool", pb::ContributeToPoolRequest { member: guest.clone(), ..contribute(&pool, 2, 1) }.encode_to_vec()),
        ("LeavePool", pb::LeavePoolRequest { member: guest.clone(), ..leave(&pool, 2) }.encode_to_vec()),
        ("RedeemFromPool", pb::RedeemFromPoolRequest { member: guest, ..redeem_pooled(&pool, 2, 1) }.encode_to_vec()),
        ("EnsureReward", pb::EnsureRewardRequest { member: owner.clone(), ..ensure(1, "r", 1, true, 1) }.encode_to_vec()),
        ("SettleDue", pb::SettleDueRequest { parent: parent.clone(), ..settle(0) }.encode_to_vec()),
        ("GetBalance", pb::GetBalanceRequest { member: owner.clone(), ..Default::default() }.encode_to_vec()),
        ("ListEntries", pb::ListEntriesRequest { parent: owner.clone(), ..pb::ListEntriesRequest::default() }.encode_to_vec()),
        ("StreamEntries", pb::StreamEntriesRequest { parent: owner.clone(), start_version: 0 }.encode_to_vec()),
        ("GetPool", pb::GetPoolRequest { name: pool }.encode_to_vec()),
        ("ListMemberChallenges", pb::ListMemberChallengesRequest { parent: owner, ..Default::default() }.encode_to_vec()),
        ("GetPurchase", pb::GetPurchaseRequest { name: bought }.encode_to_vec()),
        ("GetOperation", pb::GetOperationRequest { parent: parent.clone(), request_id: "r".to_owned() }.encode_to_vec()),
        ("GetBudget", pb::GetBudgetRequest { name: format!("{program}/budgets/double") }.encode_to_vec()),
        ("ListBudgets", pb::ListBudgetsRequest { parent: parent.clone(), ..Default::default() }.encode_to_vec()),
        ("CreateProgramVersion", pb::CreateProgramVersionRequest { parent: parent.clone(), ..new_version(terms()) }.encode_to_vec()),
        (
            "ValidateTerms",
            pb::ValidateTermsRequest {
                parent: parent.clone(),
                what: Some(pb::validate_terms_request::What::Terms(terms())),
                start_time: None,
            }
            .encode_to_vec(),
        ),
        ("ScheduleProgramVersion", schedule(&format!("{program}/versions/1"), None).encode_to_vec()),
        ("RetireProgramVersion", give_up(&format!("{program}/versions/1")).encode_to_vec()),
        ("RollBackProgram", roll_back(&format!("{program}/versions/1")).encode_to_vec()),
        ("ExportProgram", export(program).encode_to_vec()),
        ("ImportProgram", import(program, &written(plain_file())).encode_to_vec()),
        (
            "SimulateTerms",
            pb::SimulateTermsRequest {
                parent: parent.clone(),
                terms: Some(terms()),
                start_time: Some(prost_types::Timestamp::default()),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        ("GetProgramVersion", pb::GetProgramVersionRequest { name: format!("{program}/versions/1") }.encode_to_vec()),
        ("ListProgramVersions", pb::ListProgramVersionsRequest { parent, ..pb::ListProgramVersionsRequest::default() }.encode_to_vec()),
    ]
}
