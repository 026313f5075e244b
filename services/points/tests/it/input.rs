//! Requests that break a rule are refused by the path of each field, and change nothing.

use proto::common::{CalendarPeriod, Role};
use proto::points as pb;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    awards_and_previews_are_checked,
    spending_is_checked,
    returns_are_checked,
    corrections_and_rewards_are_checked,
    activities_and_events_are_checked,
    refunds_are_checked,
    expiry_and_debt_are_checked,
    commands_between_two_are_checked,
    terms_must_not_contradict_themselves,
    reads_and_terms_are_checked,
    several_faults_are_told_at_once,
    money_is_of_the_programs_currency,
    amounts_beyond_counting_are_refused,
);

/// Each change of a good request must be refused for this one field.
macro_rules! refuses {
    ($client:expr, $rpc:ident, $good:expr, $($field:literal: $change:expr;)+) => {
        $(assert_eq!(wrong_fields($client.$rpc(with($good, $change)).await), [$field], "{}", stringify!($change));)+
    };
}
pub(crate) use refuses;

async fn awards_and_previews_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let good = || award_lines(1, "p1", &[("a", 1, 60), ("b", 2, 40)]);
    refuses!(platform, award, good(),
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = "programs/Tea".to_owned();
        "member": |r| r.member = "programs/tea/members/Li Lei".to_owned();
        "member": |r| r.member = "programs/tea/members/li-lei".to_owned();
        "member": |r| r.member = r.member.replace("tea", "coffee");
        "purchase": |r| r.purchase = None;
        "purchase.purchase_id": |r| input(r).purchase_id.clear();
        "purchase.purchase_id": |r| input(r).purchase_id = "a/b".to_owned();
        "purchase.net": |r| input(r).net = None;
        "purchase.net.currency_code": |r| input(r).net.as_mut().unwrap().currency_code = "cny".to_owned();
        "purchase.net.minor_units": |r| { input(r).lines.clear(); input(r).net = yuan(-1) };
        "purchase.lines": |r| input(r).lines[0].net_minor_units = 61;
        "purchase.lines": |r| input(r).lines = vec![input(r).lines[0].clone(); 501];
        "purchase.lines[0].line_id": |r| input(r).lines[0].line_id.clear();
        "purchase.lines[1].line_id": |r| input(r).lines[1].line_id = "a".to_owned();
        "purchase.lines[1].sku": |r| input(r).lines[1].sku = "x".repeat(65);
        "purchase.lines[1].quantity": |r| input(r).lines[1].quantity = 0;
        "purchase.lines[0].net_minor_units": |r| input(r).lines[0].net_minor_units = -60;
        "purchase.lines[0].tax_minor_units": |r| input(r).lines[0].tax_minor_units = -1;
        "purchase.lines[0].discount_minor_units": |r| input(r).lines[0].discount_minor_units = 1_000_000_000_001;
        "purchase.tax_minor_units": |r| input(r).tax_minor_units = 1;
        "purchase.discount_minor_units": |r| input(r).discount_minor_units = 1;
        "purchase.discount_minor_units": |r| input(r).discount_minor_units = -1;
        "purchase.store": |r| input(r).store = "s1".to_owned();
        "purchase.terminal": |r| input(r).terminal = "programs/tea/stores/s1".to_owned();
        "purchase.channel": |r| input(r).channel = "Web".to_owned();
        "purchase.offer": |r| input(r).offer = "x".repeat(65);
        "purchase.cashier": |r| input(r).cashier = "Li Lei".to_owned();
        "purchase.cashier": |r| input(r).cashier = "lilei".to_owned();
        "purchase.occur_time": |r| input(r).occur_time = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
        "request_id": |r| r.request_id.clear();
        "request_id": |r| r.request_id = "two words".to_owned();
        "request_id": |r| r.request_id = "x".repeat(65);
    );
    refuses!(platform, preview_award, preview(&good()),
        "parent": |r| r.parent.clear();
        "member": |r| r.member = "programs/tea/members/li-lei".to_owned();
        "purchase": |r| r.purchase = None;
        "purchase.lines": |r| r.purchase.as_mut().unwrap().net = yuan(99);
    );
    assert_eq!(suite.balance(1).await.version, 0);
    // Lines that add up pass, and so does an id of 64 characters.
    let longest = with(good(), |request| request.request_id = "~".repeat(64));
    assert_eq!(platform.award(longest).await.unwrap().into_inner().actual_points, 1);
}

async fn spending_is_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let ttl = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    refuses!(platform, redeem, redeem(1, 1),
        "member": |r| r.member.clear();
        "member": |r| r.member = TEA.to_owned();
        "points": |r| r.points = 0;
        "points": |r| r.points = 1_000_000_000_001;
        "mode": |r| r.mode = 7;
        "wallet": |r| r.wallet = "Points".to_owned();
        "reference": |r| r.reference = "x".repeat(129);
        "terminal": |r| r.terminal = "till".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, reserve, reserve(1, 1),
        "member": |r| r.member.clear();
        "points": |r| r.points = -1;
        "ttl": |r| r.ttl = ttl(0, 999_999_999);
        "ttl": |r| r.ttl = ttl(2_592_000, 1);
        "store": |r| r.store = TILL.to_owned();
        "request_id": |r| r.request_id.clear();
    );
    let held = format!("{}/reservations/{}", member(1), uuid::Uuid::from_u128(5));
    refuses!(platform, capture, capture(&held, None),
        "name": |r| r.name = member(1);
        "name": |r| r.name = format!("{}/reservations/5", member(1));
        "points": |r| r.points = Some(-1);
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, release, release(&held),
        "name": |r| r.name.clear();
        "name": |r| r.name = held.to_uppercase().replace("PROGRAMS/TEA/MEMBERS", "programs/tea/members");
        "request_id": |r| r.request_id.clear();
    );
}

async fn returns_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let lines = |r: &mut pb::ReturnPurchaseRequest, change: fn(&mut Vec<pb::ReturnLine>)| match r.what.as_mut().unwrap() {
        pb::return_purchase_request::What::Lines(lines) => change(&mut lines.lines),
        pb::return_purchase_request::What::RemainingNet(_) => unreachable!("it is by lines"),
    };
    refuses!(platform, return_purchase, give_back("p1", &[("a", 1), ("b", 1)]),
        "purchase": |r| r.purchase.clear();
        "purchase": |r| r.purchase = format!("{TEA}/purchases/a b");
        "what": |r| r.what = None;
        "lines.lines": |r| lines(r, Vec::clear);
        "lines.lines[1].line_id": |r| lines(r, |lines| lines[1].line_id = "a".to_owned());
        "lines.lines[1].quantity": |r| lines(r, |lines| lines[1].quantity = 0);
        "store": |r| r.store = "s1".to_owned();
        "occur_time": |r| r.occur_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        "request_id": |r| r.request_id.clear();
    );
    assert_eq!(wrong_fields(platform.return_purchase(down_to("p1", -1)).await), ["remaining_net.minor_units"]);
}

async fn corrections_and_rewards_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    refuses!(support, adjust, adjust(1, 1),
        "member": |r| r.member.clear();
        "points": |r| r.points = 0;
        "points": |r| r.points = -1_000_000_000_001;
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "x".repeat(201);
        "approver": |r| r.approver.clear();
        "wallet": |r| r.wallet = "a b".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    let mut service = suite.client(Role::Service).await;
    refuses!(service, ensure_reward, ensure(1, "referral/1", 1, true, 1),
        "member": |r| r.member.clear();
        "reward_key": |r| r.reward_key = "a b".to_owned();
        "points": |r| r.points = 0;
        "version": |r| r.version = 0;
        "reason": |r| r.reason.clear();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(service, settle_due, settle(0),
        "parent": |r| r.parent.clear();
        "accounts_max": |r| r.accounts_max = 10_001;
        "accounts_max": |r| r.accounts_max = -1;
        "request_id": |r| r.request_id.clear();
    );
}

async fn activities_and_events_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let never = || Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    refuses!(platform, award_activity, activity(1, "review", "a1"),
        "member": |r| r.member.clear();
        "member": |r| r.member = "programs/tea/members/li-lei".to_owned();
        "activity": |r| r.activity.clear();
        "activity": |r| r.activity = "Review".to_owned();
        "activity": |r| r.activity = "r".repeat(41);
        "activity_id": |r| r.activity_id.clear();
        "activity_id": |r| r.activity_id = "a/1".to_owned();
        "activity_id": |r| r.activity_id = "a".repeat(129);
        "occur_time": |r| r.occur_time = never();
        "store": |r| r.store = "s1".to_owned();
        "terminal": |r| r.terminal = "till".to_owned();
        "terminal": |r| { r.terminal = TILL.to_owned(); r.store = "programs/tea/stores/s2".to_owned() };
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, activate_pending, activate(1, "delivered"),
        "member": |r| r.member.clear();
        "event": |r| r.event.clear();
        "event": |r| r.event = "it came".to_owned();
        "pending_reference": |r| r.pending_reference = "a/1".to_owned();
        "pending_reference": |r| r.pending_reference = "a".repeat(129);
        "occur_time": |r| r.occur_time = never();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, cancel_pending, cancel(1, "delivered"),
        "member": |r| r.member.clear();
        "event": |r| r.event = "1st".to_owned();
        "pending_reference": |r| r.pending_reference = "a 1".to_owned();
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "x".repeat(201);
        "request_id": |r| r.request_id.clear();
    );
    assert_eq!(suite.balance(1).await.version, 0);
}

async fn refunds_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let spent = format!("{TEA}/operations/{}", uuid::Uuid::from_u128(5));
    refuses!(platform, refund_redemption, refund(&spent, None),
        "redemption": |r| r.redemption.clear();
        "redemption": |r| r.redemption = member(1);
        "redemption": |r| r.redemption = format!("{TEA}/operations/5");
        "points": |r| r.points = Some(0);
        "points": |r| r.points = Some(-1);
        "points": |r| r.points = Some(1_000_000_000_001);
        "store": |r| r.store = TILL.to_owned();
        "terminal": |r| r.terminal = "till".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, return_purchase, down_to("p1", 0),
        "give_back_points": |r| r.give_back_points = Some(-1);
        "give_back_points": |r| r.give_back_points = Some(1_000_000_000_001);
    );
    refuses!(platform, award, award(1, "p1", 100),
        "purchase.redemptions[0]": |r| input(r).redemptions = vec![String::new()];
        "purchase.redemptions[1]": |r| input(r).redemptions = vec![spent.clone(), member(1)];
        "purchase.redemptions[0]": |r| input(r).redemptions = vec![format!("{TEA}/operations/5")];
        "purchase.redemptions[1]": |r| input(r).redemptions = vec![spent.clone(), spent.clone()];
        "purchase.redemptions": |r| input(r).redemptions = vec![spent.clone(); 11];
        "purchase.redemptions": |r| { input(r).redemptions = vec![spent.clone()]; r.member.clear() };
    );
}

async fn expiry_and_debt_are_checked(engine: TestEngine) {
    use pb::set_expiry_request::To;
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    let beyond = || prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    let later = |count, unit| Some(To::Later(CalendarPeriod { count, unit }));
    refuses!(support, set_expiry, never_expire(1),
        "member": |r| r.member.clear();
        "wallet": |r| r.wallet = "Points".to_owned();
        "lapse_by_time": |r| r.lapse_by_time = Some(beyond());
        "to": |r| r.to = None;
        "expire_time": |r| r.to = Some(To::ExpireTime(beyond()));
        "later.count": |r| r.to = later(0, 1);
        "later.count": |r| r.to = later(1201, 1);
        "later.unit": |r| r.to = later(1, 0);
        "later.unit": |r| r.to = later(1, 9);
        "never": |r| r.to = Some(To::Never(false));
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "x".repeat(201);
        "approver": |r| r.approver.clear();
        "approver": |r| r.approver = "x".repeat(65);
        "request_id": |r| r.request_id.clear();
    );
    refuses!(support, forgive_deficit, forgive(1, None),
        "member": |r| r.member.clear();
        "wallet": |r| r.wallet = "a b".to_owned();
        "points": |r| r.points = Some(0);
        "points": |r| r.points = Some(1_000_000_000_001);
        "reason": |r| r.reason.clear();
        "approver": |r| r.approver.clear();
        "request_id": |r| r.request_id.clear();
    );
}

async fn commands_between_two_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    refuses!(support, transfer, transfer(1, 2, 1),
        "member": |r| r.member.clear();
        "to_member": |r| r.to_member.clear();
        "to_member": |r| r.to_member = TEA.to_owned();
        "to_member": |r| r.to_member = member(1);
        "to_member": |r| r.to_member = r.to_member.replace("tea", "coffee");
        "points": |r| r.points = 0;
        "points": |r| r.points = 1_000_000_000_001;
        "wallet": |r| r.wallet = "Points".to_owned();
        "reason": |r| r.reason.clear();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(support, merge_accounts, merge(1, 2),
        "member": |r| r.member.clear();
        "merged_member": |r| r.merged_member.clear();
        "merged_member": |r| r.merged_member = member(1);
        "merged_member": |r| r.merged_member = r.merged_member.replace("tea", "coffee");
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "x".repeat(201);
        "request_id": |r| r.request_id.clear();
    );
    refuses!(support, unmerge_accounts, unmerge(1, 2),
        "member": |r| r.member.clear();
        "merged_member": |r| r.merged_member.clear();
        "merged_member": |r| r.merged_member = member(1);
        "merged_member": |r| r.merged_member = r.merged_member.replace("tea", "coffee");
        "reason": |r| r.reason.clear();
        "request_id": |r| r.request_id.clear();
    );
    assert_eq!(suite.balance(1).await.version, 0);
}

async fn terms_must_not_contradict_themselves(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let period = |count, unit| Some(CalendarPeriod { count, unit });
    let moment = || Some(rpc::wire::timestamp(testkit::START));
    let beyond = || Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let of = |r: &mut pb::CreateProgramVersionRequest, change: &dyn Fn(&mut pb::Terms)| change(r.terms.as_mut().unwrap());
    let cap = |tier: &str, points| pb::TierDeficitCap { tier: tier.to_owned(), points };
    refuses!(suite.administrator(), create_program_version, new_version(terms()),
        "terms.activate_time": |r| of(r, &|terms| (terms.activate_after, terms.activate_time) = (days(1), moment()));
        "terms.activate_time": |r| of(r, &|terms| (terms.activate_after, terms.activate_on) = (days(1), waits_for("delivered", None)));
        "terms.activate_time": |r| of(r, &|terms| (terms.activate_time, terms.activate_on) = (moment(), waits_for("delivered", None)));
        "terms.activate_time": |r| of(r, &|terms| terms.activate_time = beyond());
        "terms.activate_on.event": |r| of(r, &|terms| terms.activate_on = waits_for("", None));
        "terms.activate_on.event": |r| of(r, &|terms| terms.activate_on = waits_for("Delivered", None));
        "terms.activate_on.cancel_after.count": |r| of(r, &|terms| terms.activate_on = waits_for("delivered", period(0, 1)));
        "terms.activate_on.cancel_after.unit": |r| of(r, &|terms| terms.activate_on = waits_for("delivered", period(1, 0)));
        "terms.expire_time": |r| of(r, &|terms| (terms.expire_after, terms.expire_time) = (days(1), moment()));
        "terms.expire_time": |r| of(r, &|terms| (terms.expire_after, terms.expire_after_inactivity) = (days(1), days(1)));
        "terms.expire_time": |r| of(r, &|terms| (terms.expire_time, terms.expire_after_inactivity) = (moment(), days(1)));
        "terms.expire_time": |r| of(r, &|terms| terms.expire_time = beyond());
        "terms.expire_after_inactivity.count": |r| of(r, &|terms| terms.expire_after_inactivity = period(-1, 1));
        "terms.remind_before.unit": |r| of(r, &|terms| terms.remind_before = period(1, 0));
        "terms.activities": |r| of(r, &|terms| terms.activities = vec![earns("review", 1), earns("review", 2)]);
        "terms.activities": |r| of(r, &|terms| terms.activities = (0..101).map(|number| earns(&format!("a{number}"), 1)).collect());
        "terms.activities[1].activity": |r| of(r, &|terms| terms.activities = vec![earns("review", 1), earns("Share", 1)]);
        "terms.activities[0].points": |r| of(r, &|terms| terms.activities = vec![earns("review", -1)]);
        "terms.tier_deficit_caps": |r| of(r, &|terms| terms.tier_deficit_caps = vec![cap("gold", 1), cap("gold", 2)]);
        "terms.tier_deficit_caps": |r| of(r, &|terms| terms.tier_deficit_caps = (0..51).map(|number| cap(&format!("t{number}"), 1)).collect());
        "terms.tier_deficit_caps[0].tier": |r| of(r, &|terms| terms.tier_deficit_caps = vec![cap("", 1)]);
        "terms.tier_deficit_caps[0].points": |r| of(r, &|terms| terms.tier_deficit_caps = vec![cap("gold", 0)]);
    );
    // All of them are kept as they were told.
    let whole = pb::Terms {
        activate_on: waits_for("delivered", days(3)),
        expire_after_inactivity: days(30),
        remind_before: days(7),
        activities: vec![earns("review", 1), earns("share", 2)],
        tier_deficit_caps: vec![cap("gold", 5)],
        ..terms()
    };
    let made = suite.new_terms(whole.clone(), testkit::START).await;
    assert_eq!(made.terms, Some(whole));
    let read = suite.platform().get_program_version(pb::GetProgramVersionRequest { name: made.name.clone() }).await;
    assert_eq!(read.unwrap().into_inner(), made);
}

async fn reads_and_terms_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let list = || pb::ListEntriesRequest { parent: member(1), page_size: 1, page_token: String::new() };
    let never = Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 });
    refuses!(platform, get_balance, pb::GetBalanceRequest { member: member(1), ..Default::default() },
        "member": |r| r.member.clear();
        "effective_by_time": |r| r.effective_by_time = never;
        "known_by_time": |r| r.known_by_time = never;
    );
    refuses!(platform, stream_entries, pb::StreamEntriesRequest { parent: member(1), start_version: 0 },
        "parent": |r| r.parent.clear();
        "start_version": |r| r.start_version = -1;
    );
    let simulation = pb::SimulateTermsRequest {
        parent: TEA.to_owned(),
        terms: Some(terms()),
        start_time: Some(prost_types::Timestamp::default()),
        ..Default::default()
    };
    let mut analyst = suite.client(Role::Analyst).await;
    refuses!(analyst, simulate_terms, simulation.clone(),
        "parent": |r| r.parent = member(1);
        "terms": |r| r.terms = None;
        "version": |r| r.version = format!("{TEA}/versions/1");
        "version": |r| { r.terms = None; r.version = member(1) };
        "version": |r| { r.terms = None; r.version = "programs/coffee/versions/1".to_owned() };
        "terms.points_per_unit": |r| r.terms.as_mut().unwrap().points_per_unit = "1,5".to_owned();
        "start_time": |r| r.start_time = None;
        "end_time": |r| r.end_time = never;
    );
    refuses!(platform, list_entries, list(), "parent": |r| r.parent = TEA.to_owned(); "page_size": |r| r.page_size = -1;);
    refuses!(platform, get_purchase, pb::GetPurchaseRequest { name: purchase("p") }, "name": |r| r.name = member(1););
    refuses!(platform, get_budget, pb::GetBudgetRequest { name: format!("{TEA}/budgets/double") }, "name": |r| r.name = member(1););
    refuses!(platform, list_budgets, pb::ListBudgetsRequest { parent: TEA.to_owned(), ..Default::default() },
        "parent": |r| r.parent = member(1);
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
    );
    refuses!(platform, get_operation, answer_to("r"), "parent": |r| r.parent.clear(); "request_id": |r| r.request_id.clear(););
    let period = |count, unit| Some(CalendarPeriod { count, unit });
    let of = |r: &mut pb::CreateProgramVersionRequest, change: &dyn Fn(&mut pb::Terms)| change(r.terms.as_mut().unwrap());
    refuses!(suite.administrator(), create_program_version, new_version(terms()),
        "parent": |r| r.parent.clear();
        "terms": |r| r.terms = None;
        "terms.points_per_unit": |r| of(r, &|terms| terms.points_per_unit = "1e3".to_owned());
        "terms.points_per_unit": |r| of(r, &|terms| terms.points_per_unit = "-1".to_owned());
        "terms.points_per_unit": |r| of(r, &|terms| terms.points_per_unit = "1.1234567".to_owned());
        "terms.points_per_unit": |r| of(r, &|terms| terms.points_per_unit = "1000000.1".to_owned());
        "terms.rounding": |r| of(r, &|terms| terms.rounding = 0);
        "terms.activate_after.count": |r| of(r, &|terms| terms.activate_after = period(0, 1));
        "terms.expire_after.unit": |r| of(r, &|terms| terms.expire_after = period(1, 0));
        "terms.expiry_rounding": |r| of(r, &|terms| terms.expiry_rounding = 9);
        "terms.return_policy": |r| of(r, &|terms| terms.return_policy = 0);
        "terms.deficit_cap": |r| of(r, &|terms| terms.deficit_cap = -1);
        "terms.restore_grace.count": |r| of(r, &|terms| terms.restore_grace = period(1201, 1));
        "terms.reservation_ttl": |r| of(r, &|terms| terms.reservation_ttl = Some(prost_types::Duration { seconds: 0, nanos: 0 }));
        "start_time": |r| r.start_time = Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 });
        "request_id": |r| r.request_id.clear();
    );
}

async fn several_faults_are_told_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let bad = with(award(1, "", 100), |request| {
        request.parent.clear();
        input(request).channel = "Web".to_owned();
    });
    assert_eq!(wrong_fields(suite.platform().award(bad).await), ["parent", "purchase.purchase_id", "purchase.channel"]);
}

async fn money_is_of_the_programs_currency(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 100).await;
    let dollars = Some(proto::common::Money { currency_code: "USD".to_owned(), minor_units: 50 });
    let bought = with(award(1, "p2", 100), |request| input(request).net = dollars.clone());
    let returned = with(down_to("p1", 50), |r| r.what = dollars.map(pb::return_purchase_request::What::RemainingNet));
    let mismatch = (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned());
    assert_eq!(refusal(platform.preview_award(preview(&bought)).await), mismatch);
    assert_eq!(metadata(&platform.award(bought.clone()).await, "expected"), "CNY");
    assert_eq!(refusal(platform.award(bought).await), mismatch);
    assert_eq!(refusal(platform.return_purchase(returned).await), mismatch);
    assert_eq!(suite.balance(1).await.version, 1);
}

async fn amounts_beyond_counting_are_refused(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { points_per_unit: "1000000".to_owned(), ..terms() }).await;
    let mut platform = suite.platform();
    let beyond = (Code::OutOfRange, "AMOUNT_OUT_OF_RANGE".to_owned());
    let much = award(1, "p1", i64::MAX);
    assert_eq!(refusal(platform.preview_award(preview(&much)).await), beyond);
    assert_eq!(refusal(platform.award(much).await), beyond);
    // Nine quintillions fit once, and not twice.
    let fits = 900_000_000_000_000;
    assert_eq!(suite.award(1, "p2", fits).await.actual_points, 9_000_000_000_000_000_000);
    assert_eq!(refusal(platform.award(award(1, "p3", fits)).await), beyond);
    assert_eq!(suite.figures(1).await, (9_000_000_000_000_000_000, 0, 0, 0));
    suite.verified().await;
    // Nor do two such accounts fit into one; what a transfer brings may.
    suite.award(2, "p4", fits).await;
    let joined = merge(1, 2);
    let mut support = suite.client(Role::Support).await;
    assert_eq!(refusal(support.merge_accounts(joined.clone()).await), beyond);
    assert_eq!((suite.balance(1).await.version, suite.balance(2).await.version), (1, 1), "a refused merge leaves no trace");
    platform.transfer(transfer(2, 1, 1_000_000_000_000)).await.unwrap();
    assert_eq!(refusal(platform.get_operation(answer_to(&joined.request_id)).await).1, "OPERATION_NOT_FOUND", "it is not remembered");
}
