//! A request that comes again gets its first answer.

use prost::Message;
use proto::common::Role;
use proto::points as pb;
use rpc::Programs;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    the_first_answer_comes_again_byte_for_byte,
    a_reused_id_is_refused_by_the_field_that_differs,
    an_id_belongs_to_one_rpc,
    a_purchase_counts_once_under_any_id,
    a_replay_precedes_every_check,
    a_refusal_is_remembered_for_thirty_days,
    what_is_not_there_yet_is_not_remembered,
    an_answer_can_be_asked_for,
    ids_are_a_programs_own,
);

/// Under which every change of [`changes`] succeeds.
fn lasting() -> pb::Terms {
    pb::Terms { expire_after: days(1000), activities: vec![earns("review", 50)], ..terms() }
}

/// One good request of each RPC that moves points, in an order in which all succeed. What they name must be in the books.
async fn changes(suite: &Suite) -> Vec<(&'static str, Role, Vec<u8>)> {
    let mut platform = suite.platform();
    suite.award(1, "first", 100_000).await;
    let (one, two) = (hold(&suite.reserve(1, 100).await), hold(&suite.reserve(1, 100).await));
    let spent = platform.redeem(redeem(1, 40)).await.unwrap().into_inner().name;
    // Member 3 owes 80 points.
    suite.award(3, "returned", 10_000).await;
    platform.redeem(redeem(3, 80)).await.unwrap();
    platform.return_purchase(down_to("returned", 0)).await.unwrap();
    // Two purchases of a minute later wait for an event.
    let later = START + std::time::Duration::from_secs(60);
    suite.new_terms(pb::Terms { activate_on: waits_for("delivered", None), ..lasting() }, later).await;
    for id in ["waits", "waits-too"] {
        let waits = with(award(1, id, 1_000), |request| input(request).occur_time = Some(timestamp(later)));
        platform.award(waits).await.unwrap();
    }
    let opens = with(activate(1, "delivered"), |request| request.pending_reference = "waits".to_owned());
    let next_version = with(new_version(lasting()), |request| request.start_time = Some(timestamp(later)));
    vec![
        ("Award", Role::Platform, award_lines(1, "p1", &[("a", 2, 5_000), ("b", 1, 5_000)]).encode_to_vec()),
        ("Redeem", Role::Platform, redeem(1, 30).encode_to_vec()),
        ("Reserve", Role::Platform, reserve(1, 20).encode_to_vec()),
        ("Capture", Role::Platform, capture(&one, Some(60)).encode_to_vec()),
        ("Release", Role::Platform, release(&two).encode_to_vec()),
        ("ReturnPurchase", Role::Platform, give_back("p1", &[("a", 1)]).encode_to_vec()),
        ("Adjust", Role::Support, adjust(1, -7).encode_to_vec()),
        ("AwardActivity", Role::Platform, activity(1, "review", "a1").encode_to_vec()),
        ("ActivatePending", Role::Platform, opens.encode_to_vec()),
        ("CancelPending", Role::Platform, cancel(1, "delivered").encode_to_vec()),
        ("RefundRedemption", Role::Platform, refund(&spent, Some(10)).encode_to_vec()),
        ("SetExpiry", Role::Support, never_expire(1).encode_to_vec()),
        ("ForgiveDeficit", Role::Support, forgive(3, Some(30)).encode_to_vec()),
        ("Transfer", Role::Support, transfer(1, 2, 10).encode_to_vec()),
        ("MergeAccounts", Role::Support, merge(1, 2).encode_to_vec()),
        ("UnmergeAccounts", Role::Support, unmerge(1, 2).encode_to_vec()),
        ("EnsureReward", Role::Service, ensure(1, "referral/1", 50, true, 1).encode_to_vec()),
        ("SettleDue", Role::Service, settle(0).encode_to_vec()),
        ("CreateProgramVersion", Role::Administrator, next_version.encode_to_vec()),
    ]
}

async fn the_first_answer_comes_again_byte_for_byte(engine: TestEngine) {
    let mut suite = Suite::with_terms(engine, lasting()).await;
    let mut answers = Vec::new();
    for (rpc, role, message) in changes(&suite).await {
        let wire = suite.wire(role, Programs::All).await;
        let first = raw(&wire, rpc, message.clone()).await.unwrap();
        assert!(!replayed(&first), "{rpc}");
        answers.push((rpc, role, message, first.into_inner()));
    }
    // The till that never saw its answer asks for it.
    let platform = suite.wire(Role::Platform, Programs::All).await;
    for (rpc, _, _, first) in answers.iter().filter(|(rpc, ..)| !["EnsureReward", "SettleDue", "CreateProgramVersion"].contains(rpc)) {
        let id = pb::Operation::decode(&first[..]).unwrap().request_id;
        let asked = raw(&platform, "GetOperation", answer_to(&id).encode_to_vec()).await.unwrap();
        assert!(replayed(&asked), "{rpc}");
        assert_eq!(asked.get_ref(), first, "{rpc}");
    }
    let books = suite.entries(1).await;
    for started_again in [false, true] {
        if started_again {
            suite = suite.restart().await;
        }
        suite.clock.advance(400 * DAY);
        for (rpc, role, message, first) in &answers {
            let wire = suite.wire(*role, Programs::All).await;
            let again = raw(&wire, rpc, message.clone()).await.unwrap();
            assert!(replayed(&again), "{rpc}");
            assert_eq!(again.get_ref(), first, "{rpc}, started again: {started_again}");
        }
        let moved: Vec<_> = suite.entries(1).await.into_iter().filter(|entry| entry.actor != "clock").collect();
        assert_eq!(moved, books);
    }
    suite.verified().await;
}

async fn a_reused_id_is_refused_by_the_field_that_differs(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 100_000).await;
    macro_rules! differs {
        ($rpc:ident, $request:expr, $($field:literal: $change:expr;)+) => {
            $(let reused = platform.$rpc(with($request.clone(), $change)).await;
            assert_eq!(code_and_reason(reused.as_ref().unwrap_err()), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
            assert_eq!(metadata(&reused, "field"), $field);)+
        };
    }
    let request = with(redeem(1, 10), |request| request.reference = "order-1".to_owned());
    platform.redeem(request.clone()).await.unwrap();
    differs!(redeem, request,
        "member": |r| r.member = member(2);
        "points": |r| r.points = 11;
        "mode": |r| r.mode = pb::redeem_request::Mode::UpTo.into();
        "wallet": |r| r.wallet = "points".to_owned();
        "reference": |r| r.reference.clear();
        "store": |r| r.store = "programs/tea/stores/s1".to_owned();
        "member": |r| { r.points = 11; r.member = member(2) };
        "points": |r| { r.terminal = TILL.to_owned(); r.points = 11 };
    );
    let request = reserve(1, 10);
    let held = hold(platform.reserve(request.clone()).await.unwrap().get_ref());
    differs!(reserve, request, "ttl": |r| r.ttl = Some(prost_types::Duration { seconds: 60, nanos: 0 }););
    let request = capture(&held, Some(10));
    platform.capture(request.clone()).await.unwrap();
    // All of it is the same amount and another request.
    differs!(capture, request, "points": |r| r.points = None; "points": |r| r.points = Some(0););
    let request = award(1, "p2", 100);
    platform.award(request.clone()).await.unwrap();
    differs!(award, request,
        "member": |r| r.member.clear();
        "purchase.net": |r| input(r).net = yuan(101);
        "purchase.purchase_id": |r| input(r).purchase_id = "p3".to_owned();
        "purchase.purchase_id": |r| { input(r).net = yuan(101); input(r).purchase_id = "p3".to_owned() };
        "historical": |r| r.historical = true;
    );
    let request = down_to("p2", 50);
    platform.return_purchase(request.clone()).await.unwrap();
    differs!(return_purchase, request,
        "purchase": |r| r.purchase = purchase("p1");
        "remaining_net.minor_units": |r| r.what = yuan(49).map(pb::return_purchase_request::What::RemainingNet);
        "occur_time": |r| r.occur_time = Some(timestamp(START));
    );
    assert_eq!(suite.figures(1).await, (1_000 - 10 - 10 + 1 - 1, 0, 0, 0));
    assert_eq!(suite.balance(2).await.version, 0);
    let spent = platform.redeem(redeem(1, 10)).await.unwrap().into_inner().name;
    let other = platform.redeem(redeem(1, 10)).await.unwrap().into_inner().name;
    let request = refund(&spent, None);
    platform.refund_redemption(request.clone()).await.unwrap();
    // All of it is the same amount and another request.
    differs!(refund_redemption, request,
        "redemption": |r| r.redemption = other.clone();
        "points": |r| r.points = Some(10);
        "store": |r| r.store = "programs/tea/stores/s1".to_owned();
        "terminal": |r| r.terminal = TILL.to_owned();
    );
    let request = with(award(1, "p4", 100), |request| input(request).redemptions = vec![other.clone()]);
    platform.award(request.clone()).await.unwrap();
    differs!(award, request, "purchase.redemptions": |r| input(r).redemptions.clear(););
    let request = reserve(1, 10);
    platform.reserve(request.clone()).await.unwrap();
    differs!(reserve, request, "several_captures": |r| r.several_captures = true;);
    suite.clock.advance(DAY);
    suite.new_terms(pb::Terms { activate_on: waits_for("delivered", None), ..terms() }, suite.now()).await;
    for (owner, id) in [(4, "p5"), (5, "p6")] {
        suite.award(owner, id, 1_000).await;
    }
    let request = activate(4, "delivered");
    platform.activate_pending(request.clone()).await.unwrap();
    differs!(activate_pending, request,
        "member": |r| r.member = member(5);
        "event": |r| r.event = "reviewed".to_owned();
        "pending_reference": |r| r.pending_reference = "p5".to_owned();
        "occur_time": |r| r.occur_time = Some(timestamp(START));
    );
    let request = cancel(5, "delivered");
    platform.cancel_pending(request.clone()).await.unwrap();
    differs!(cancel_pending, request,
        "member": |r| r.member = member(4);
        "event": |r| r.event = "reviewed".to_owned();
        "pending_reference": |r| r.pending_reference = "p6".to_owned();
        "reason": |r| r.reason = "so".to_owned();
    );
}

async fn an_id_belongs_to_one_rpc(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let messages = changes(&suite).await;
    for (rpc, role, message) in &messages {
        raw(&suite.wire(*role, Programs::All).await, rpc, message.clone()).await.unwrap();
    }
    // Every RPC's id is refused to every other.
    let with_id = |rpc: &str, message: &[u8], id: &str| -> Vec<u8> {
        macro_rules! renamed {
            ($($name:literal $request:ident),+) => {
                match rpc {
                    $($name => with(pb::$request::decode(message).unwrap(), |request| request.request_id = id.to_owned()).encode_to_vec(),)+
                    other => panic!("{other}"),
                }
            };
        }
        renamed!("Award" AwardRequest, "Redeem" RedeemRequest, "Reserve" ReserveRequest, "Capture" CaptureRequest,
            "Release" ReleaseRequest, "ReturnPurchase" ReturnPurchaseRequest, "Adjust" AdjustRequest,
            "EnsureReward" EnsureRewardRequest, "SettleDue" SettleDueRequest, "CreateProgramVersion" CreateProgramVersionRequest,
            "AwardActivity" AwardActivityRequest, "ActivatePending" ActivatePendingRequest, "CancelPending" CancelPendingRequest,
            "RefundRedemption" RefundRedemptionRequest, "SetExpiry" SetExpiryRequest, "ForgiveDeficit" ForgiveDeficitRequest,
            "Transfer" TransferRequest, "MergeAccounts" MergeAccountsRequest, "UnmergeAccounts" UnmergeAccountsRequest)
    };
    let message_of = |rpc: &str| &messages.iter().find(|(name, _, _)| *name == rpc).unwrap().2[..];
    let ids = [
        ("Redeem", pb::RedeemRequest::decode(message_of("Redeem")).unwrap().request_id),
        ("Transfer", pb::TransferRequest::decode(message_of("Transfer")).unwrap().request_id),
        ("EnsureReward", pb::EnsureRewardRequest::decode(message_of("EnsureReward")).unwrap().request_id),
        ("SettleDue", pb::SettleDueRequest::decode(message_of("SettleDue")).unwrap().request_id),
        ("CreateProgramVersion", pb::CreateProgramVersionRequest::decode(message_of("CreateProgramVersion")).unwrap().request_id),
    ];
    for (owner, id) in &ids {
        for (rpc, role, message) in messages.iter().filter(|(rpc, _, _)| rpc != owner) {
            let reused = raw(&suite.wire(*role, Programs::All).await, rpc, with_id(rpc, message, id)).await;
            assert_eq!(metadata(&reused, "field"), "method", "{rpc} with the id of {owner}");
            assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()), "{rpc} with the id of {owner}");
        }
    }
}

async fn a_purchase_counts_once_under_any_id(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let request = award(1, "p1", 10_000);
    let first = platform.award(request.clone()).await.unwrap().into_inner();
    let second_id = with(request.clone(), |request| request.request_id = request_id());
    let again = platform.award(second_id.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    // The second id is bound to that answer as well.
    let asked = pb::GetOperationRequest { parent: second_id.parent.clone(), request_id: second_id.request_id.clone() };
    assert_eq!(platform.get_operation(asked).await.unwrap().into_inner(), first);
    let reused = platform.award(with(second_id, |request| input(request).purchase_id = "p9".to_owned())).await;
    assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    type Change = (&'static str, fn(&mut pb::AwardRequest));
    let changes: [Change; 4] = [
        ("member", |request| request.member = member(2)),
        ("member", |request| request.member.clear()),
        ("purchase.net", |request| input(request).net = yuan(10_001)),
        ("historical", |request| request.historical = true),
    ];
    for (field, change) in changes {
        let other = with(with(request.clone(), change), |request| request.request_id = request_id());
        let refused = platform.award(other).await;
        assert_eq!(metadata(&refused, "field"), field);
        assert_eq!(refusal(refused), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
    }
    assert_eq!((suite.figures(1).await.0, suite.balance(2).await.version), (100, 0));
    // A stranger's purchase is one too.
    suite.award(0, "p2", 100).await;
    assert_eq!(refusal(platform.award(award(1, "p2", 100)).await), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
    suite.verified().await;
}

/// A till that was offline may ask again for ever, also when what it asks would be refused by now.
async fn a_replay_precedes_every_check(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let bought = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(timestamp(START)));
    let spent = redeem(1, 90);
    let returned = with(down_to("p1", 5_000), |request| request.occur_time = Some(timestamp(START)));
    let first = (
        platform.award(bought.clone()).await.unwrap().into_inner(),
        platform.redeem(spent.clone()).await.unwrap().into_inner(),
        platform.return_purchase(returned.clone()).await.unwrap().into_inner(),
    );
    suite.clock.advance(31 * DAY);
    let again = (
        platform.award(bought.clone()).await.unwrap().into_inner(),
        platform.redeem(spent).await.unwrap().into_inner(),
        platform.return_purchase(returned).await.unwrap().into_inner(),
    );
    assert_eq!(again, first);
    let under_another_id = with(bought.clone(), |request| request.request_id = request_id());
    assert_eq!(platform.award(under_another_id).await.unwrap().into_inner(), first.0);
    let new = with(bought, |request| {
        request.request_id = request_id();
        input(request).purchase_id = "p2".to_owned();
    });
    assert_eq!(refusal(platform.award(new).await), (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD".to_owned()));
}

async fn a_refusal_is_remembered_for_thirty_days(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 5_000).await;
    let request = redeem(1, 80);
    let refused = platform.redeem(request.clone()).await;
    assert_eq!(metadata(&refused, "missing_points"), "30");
    let first = refused.unwrap_err();
    assert!(!first.metadata().contains_key("regulars-replayed"));
    suite.award(1, "p2", 5_000).await;
    suite.clock.advance(29 * DAY);
    let again = platform.redeem(request.clone()).await.unwrap_err();
    assert_eq!((again.code(), again.message(), again.details()), (first.code(), first.message(), first.details()));
    assert_eq!(again.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(refusal(platform.redeem(with(request.clone(), |r| r.points = 1)).await).1, "REQUEST_ID_REUSED");
    platform.redeem(redeem(1, 80)).await.unwrap();
    suite.award(1, "p3", 8_000).await;
    suite.clock.advance(DAY);
    let forgotten = platform.redeem(request.clone()).await.unwrap();
    assert!(!replayed(&forgotten), "the thirty days are over");
    assert!(replayed(&platform.redeem(request).await.unwrap()), "a success is remembered for ever");
    assert_eq!(suite.figures(1).await, (20, 0, 0, 0));
}

async fn what_is_not_there_yet_is_not_remembered(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 1_000).await;
    let returned = down_to("p2", 0);
    assert_eq!(refusal(platform.return_purchase(returned.clone()).await), (Code::NotFound, "PURCHASE_NOT_FOUND".to_owned()));
    let spent = capture(&format!("{}/reservations/{}", member(1), uuid::Uuid::from_u128(9)), None);
    assert_eq!(refusal(platform.capture(spent.clone()).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
    assert_eq!(refusal(platform.get_operation(answer_to(&spent.request_id)).await).1, "OPERATION_NOT_FOUND");
    suite.award(1, "p2", 2_000).await;
    assert_eq!(platform.return_purchase(returned).await.unwrap().into_inner().actual_points, -20);
    // Nor does the id of a refusal that was not remembered bind to its payload.
    platform.capture(with(spent, |request| request.name = hold_of(&request.name))).await.unwrap_err();
}

/// Another reservation of the same member.
fn hold_of(name: &str) -> String {
    format!("{}{}", &name[..name.len() - 1], '8')
}

async fn an_answer_can_be_asked_for(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let request = award(1, "p1", 1_000);
    let first = platform.award(request.clone()).await.unwrap().into_inner();
    let asked = platform.get_operation(answer_to(&request.request_id)).await.unwrap();
    assert!(replayed(&asked));
    assert_eq!(asked.into_inner(), first);
    let refused = redeem(1, 11);
    let status = platform.redeem(refused.clone()).await.unwrap_err();
    let asked = platform.get_operation(answer_to(&refused.request_id)).await.unwrap_err();
    assert_eq!((asked.code(), asked.message(), asked.details()), (status.code(), status.message(), status.details()));
    assert_eq!(refusal(platform.get_operation(answer_to("never")).await), (Code::NotFound, "OPERATION_NOT_FOUND".to_owned()));
    suite.clock.advance(30 * DAY);
    let forgotten = platform.get_operation(answer_to(&refused.request_id)).await;
    assert_eq!(refusal(forgotten), (Code::NotFound, "OPERATION_NOT_FOUND".to_owned()));
    // A reward is an operation too; what only keeps the house is none.
    let reward = ensure(1, "referral/1", 50, true, 1);
    suite.client(Role::Service).await.ensure_reward(reward.clone()).await.unwrap();
    let asked = platform.get_operation(answer_to(&reward.request_id)).await.unwrap().into_inner();
    assert_eq!((asked.kind(), asked.actual_points, asked.entries), (pb::operation::Kind::Reward, 50, suite.entries(1).await[1..].to_vec()));
    for message in [settle(0).encode_to_vec(), settle(1).encode_to_vec()] {
        let id = pb::SettleDueRequest::decode(&message[..]).unwrap().request_id;
        raw(&suite.wire(Role::Service, Programs::All).await, "SettleDue", message).await.unwrap();
        assert_eq!(refusal(platform.get_operation(answer_to(&id)).await), (Code::NotFound, "OPERATION_NOT_FOUND".to_owned()));
    }
}

async fn ids_are_a_programs_own(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let coffee =
        |id: String| pb::CreateProgramVersionRequest { parent: "programs/coffee".to_owned(), request_id: id, ..new_version(terms()) };
    suite.administrator().create_program_version(coffee("same".to_owned())).await.unwrap();
    let request = with(award(1, "p1", 100), |request| request.request_id = "same".to_owned());
    let other = with(request.clone(), |request| {
        request.parent = "programs/coffee".to_owned();
        request.member = request.member.replace("tea", "coffee");
        request.request_id = "other".to_owned();
    });
    assert!(!replayed(&suite.platform().award(request).await.unwrap()));
    assert!(!replayed(&suite.platform().award(other).await.unwrap()), "a purchase id is a program's own too");
    assert_eq!(suite.verified().await.points.len(), 2);
}
