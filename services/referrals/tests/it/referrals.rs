//! Attribution by a call, voiding, reading and listing.

use futures::future::join_all;
use proto::referrals as pb;
use proto::referrals::referral::leg::State as Leg;
use proto::referrals::referral::{Source, State, VoidReason};
use rpc::Role;
use testkit::{START, TestEngine, on_each_engine};
use tonic::Code;
use tonic_types::StatusExt;

use crate::neighbours::rewards;
use crate::suite::{DAY, MINIMUM, Suite, bad_fields, leg_states, list, refusal};

on_each_engine!(
    a_friend_is_attributed_by_a_call,
    what_cannot_be_attributed_is_refused,
    many_attribute_one_friend_at_once,
    a_code_is_used_as_often_as_it_may,
    support_voids_with_a_reason,
    referrals_are_listed_in_pages,
);

fn attribute(friend: &str, code: &str, request_id: &str) -> pb::AttributeFriendRequest {
    pb::AttributeFriendRequest { friend: friend.to_owned(), code: code.to_owned(), request_id: request_id.to_owned() }
}

async fn a_friend_is_attributed_by_a_call(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let (friend, advocate) = (suite.member(), suite.member());
    let (code, other) = (suite.code(&advocate).await, suite.code(&suite.member()).await);
    suite.enrol_at(&friend, "", START).await;
    suite.heard_enrolment(&friend).await;
    let mut terminal = suite.client(Role::Terminal).await;
    let first = terminal.attribute_friend(attribute(&friend, &code.code, "r1")).await.unwrap().into_inner();
    assert_eq!((first.state(), first.source(), &*first.advocate), (State::Pending, Source::Call, &*advocate));

    let replay = terminal.attribute_friend(attribute(&friend, &code.code, "r1")).await.unwrap();
    assert_eq!(replay.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(replay.into_inner(), first);
    let typed_otherwise = code.code.to_lowercase();
    let again = terminal.attribute_friend(attribute(&friend, &typed_otherwise, "r2")).await.unwrap().into_inner();
    assert_eq!(again, first, "the same code again is the same referral");
    let reused = terminal.attribute_friend(attribute(&friend, &other.code, "r1")).await.unwrap_err();
    let info = reused.get_details_error_info().unwrap();
    assert_eq!((&*info.reason, &*info.metadata["field"]), ("REQUEST_ID_REUSED", "code"));
    let taken = terminal.attribute_friend(attribute(&friend, &other.code, "r3")).await.unwrap_err();
    let info = taken.get_details_error_info().unwrap();
    assert_eq!((taken.code(), &*info.reason, &*info.metadata["referral"]), (Code::AlreadyExists, "FRIEND_ALREADY_REFERRED", &*first.name));

    suite.clock.advance(DAY);
    suite.buy(&friend, "p1", MINIMUM).await;
    suite.reaches(&friend, State::Qualified).await;
}

async fn what_cannot_be_attributed_is_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let (friend, buyer, advocate) = (suite.member(), suite.member(), suite.member());
    let code = suite.code(&advocate).await.code;
    for member in [&friend, &buyer, &advocate] {
        suite.enrol_at(member, "", START).await;
    }
    suite.buy(&buyer, "p1", MINIMUM).await;
    for member in [&friend, &buyer, &advocate] {
        suite.heard_enrolment(member).await;
    }
    suite.heard_purchase(&buyer).await;
    let mut platform = suite.client(Role::Platform).await;
    let stranger = suite.member();
    let cases = [
        (&friend, "ABCDEFGHJKMN", Code::NotFound, "CODE_NOT_VALID"),
        (&friend, "nonsense", Code::NotFound, "CODE_NOT_VALID"),
        (&stranger, &code, Code::NotFound, "FRIEND_NOT_KNOWN"),
        (&advocate, &code, Code::FailedPrecondition, "SELF_REFERRAL"),
        (&buyer, &code, Code::FailedPrecondition, "FRIEND_ALREADY_BOUGHT"),
    ];
    for (friend, code, status, reason) in cases {
        // One request id for all: what is refused is not remembered.
        assert_eq!(refusal(platform.attribute_friend(attribute(friend, code, "r1")).await), (status, reason.to_owned()));
    }
    suite.clock.set(START + 7 * DAY);
    let late = platform.attribute_friend(attribute(&friend, &code, "r1")).await;
    assert_eq!(refusal(late), (Code::FailedPrecondition, "ATTRIBUTION_WINDOW_CLOSED".to_owned()));
    assert_eq!(bad_fields(platform.attribute_friend(attribute("programs/tea/members/x", &code, "r1")).await), ["friend"]);
    assert_eq!(bad_fields(platform.attribute_friend(attribute(&friend, "", "r1")).await), ["code"]);
    for member in [&friend, &buyer, &advocate, &stranger] {
        assert!(suite.referrals_of(member).await.is_empty());
    }
}

async fn many_attribute_one_friend_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let friend = suite.member();
    let (one, two) = (suite.code(&suite.member()).await, suite.code(&suite.member()).await);
    suite.enrol(&friend, "").await;
    suite.heard_enrolment(&friend).await;
    let client = suite.client(Role::Terminal).await;
    let answers = join_all((0..20).map(|number| {
        let code = if number % 2 == 0 { &one.code } else { &two.code };
        let (mut client, request) = (client.clone(), attribute(&friend, code, &format!("r{number}")));
        async move { client.attribute_friend(request).await }
    }))
    .await;
    let referrals = suite.referrals_of(&friend).await;
    assert_eq!(referrals.len(), 1);
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (10, 10), "the winner's code returns the one referral, the other's is told of it");
    assert!(won.into_iter().all(|answer| answer.unwrap().into_inner() == referrals[0]));
    for answer in lost {
        assert_eq!(refusal(answer), (Code::AlreadyExists, "FRIEND_ALREADY_REFERRED".to_owned()));
    }
    let mut platform = suite.client(Role::Platform).await;
    let mut uses = 0;
    for code in [one, two] {
        uses += platform.get_code(pb::GetCodeRequest { name: code.name }).await.unwrap().into_inner().use_count;
    }
    assert_eq!(uses, 1);
}

async fn a_code_is_used_as_often_as_it_may(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let mut platform = suite.client(Role::Platform).await;
    let request = pb::IssueCodeRequest { use_limit: 3, ..crate::suite::issue(&suite.member(), suite.request_id()) };
    let code = platform.issue_code(request).await.unwrap().into_inner();
    let friends: Vec<String> = (0..10).map(|_| suite.member()).collect();
    for friend in &friends {
        suite.enrol(friend, "").await;
    }
    for friend in &friends {
        suite.heard_enrolment(friend).await;
    }
    let answers = join_all(friends.iter().enumerate().map(|(number, friend)| {
        let (mut client, request) = (platform.clone(), attribute(friend, &code.code, &format!("r{number}")));
        async move { client.attribute_friend(request).await }
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 3);
    for answer in lost {
        assert_eq!(refusal(answer), (Code::NotFound, "CODE_NOT_VALID".to_owned()));
    }
    let code = platform.get_code(pb::GetCodeRequest { name: code.name }).await.unwrap().into_inner();
    assert_eq!((code.use_count, code.state().as_str_name()), (3, "STATE_EXHAUSTED"));
}

async fn support_voids_with_a_reason(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    let (approved, pending) = (suite.member(), suite.member());
    let code = suite.code(&suite.member()).await.code;
    for friend in [&approved, &pending] {
        suite.enrol(friend, &code).await;
    }
    suite.buy(&approved, "p1", MINIMUM).await;
    let referral = suite.reaches_legs(&approved, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    let mut support = suite.client(Role::Support).await;
    let void = |name: &str, reason: VoidReason, request_id: &str| pb::VoidReferralRequest {
        name: name.to_owned(),
        reason: reason.into(),
        request_id: request_id.to_owned(),
    };
    for reason in [VoidReason::Unspecified, VoidReason::PurchaseReturned] {
        assert_eq!(bad_fields(support.void_referral(void(&referral.name, reason, "r1")).await), ["reason"]);
    }
    let voided = support.void_referral(void(&referral.name, VoidReason::Fraud, "r1")).await.unwrap().into_inner();
    assert_eq!((voided.state(), voided.void_reason()), (State::Voided, VoidReason::Fraud));
    assert!(voided.voided_by.starts_with("apiKeys/"));
    assert_eq!(leg_states(&voided), [Leg::Revoking, Leg::Revoking]);
    let replay = support.void_referral(void(&referral.name, VoidReason::Fraud, "r1")).await.unwrap();
    assert_eq!(replay.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(replay.into_inner(), voided);
    let again = support.void_referral(void(&referral.name, VoidReason::Fraud, "r2")).await;
    assert_eq!(refusal(again), (Code::FailedPrecondition, "REFERRAL_ENDED".to_owned()));
    suite.reaches_legs(&approved, State::Voided, &[Leg::Revoked, Leg::Revoked]).await;
    assert!(rewards(&suite.points).await.iter().all(|reward| (reward.granted, reward.grants, reward.revokes) == (0, 1, 1)));

    let referral = suite.reaches(&pending, State::Pending).await;
    let voided = support.void_referral(void(&referral.name, VoidReason::WrongAdvocate, "r3")).await.unwrap().into_inner();
    assert_eq!(leg_states(&voided), [Leg::Cancelled, Leg::Cancelled]);
    suite.buy(&pending, "p2", MINIMUM).await;
    suite.heard_purchase(&pending).await;
    assert_eq!(suite.referrals_of(&pending).await, [voided], "what is voided stays so");

    for name in ["programs/tea/referrals/00000000-0000-7000-8000-000000000000", "programs/tea/referrals/x"] {
        let missing = support.void_referral(void(name, VoidReason::Other, "r4")).await;
        assert_eq!(refusal(missing), (Code::NotFound, "REFERRAL_NOT_FOUND".to_owned()));
        let missing = support.get_referral(pb::GetReferralRequest { name: name.to_owned() }).await;
        assert_eq!(refusal(missing), (Code::NotFound, "REFERRAL_NOT_FOUND".to_owned()));
    }
    let read = support.get_referral(pb::GetReferralRequest { name: referral.name.clone() }).await.unwrap().into_inner();
    assert_eq!(read.state(), State::Voided);
    let elsewhere = referral.name.replace("tea", "coffee");
    let other_program = support.get_referral(pb::GetReferralRequest { name: elsewhere }).await;
    assert_eq!(refusal(other_program), (Code::NotFound, "REFERRAL_NOT_FOUND".to_owned()));
}

async fn referrals_are_listed_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let (li, wang) = (suite.member(), suite.member());
    let (of_li, of_wang) = (suite.code(&li).await.code, suite.code(&wang).await.code);
    let mut friends = Vec::new();
    for number in 0..7 {
        let friend = suite.member();
        suite.enrol(&friend, if number == 3 { &of_wang } else { &of_li }).await;
        suite.reaches(&friend, State::Pending).await;
        friends.push(friend);
    }
    suite.buy(&friends[0], "p1", MINIMUM).await;
    suite.reaches(&friends[0], State::Qualified).await;
    let mut client = suite.client(Role::Auditor).await;

    let mut seen = Vec::new();
    let mut request = pb::ListReferralsRequest { advocate: li.clone(), state: State::Pending.into(), page_size: 2, ..list() };
    loop {
        let page = client.list_referrals(request.clone()).await.unwrap().into_inner();
        assert!(page.referrals.len() <= 2);
        seen.extend(page.referrals.into_iter().map(|referral| referral.friend));
        if page.next_page_token.is_empty() {
            break;
        }
        // One that comes while a caller pages, newest first, is not met and moves nothing.
        if seen.len() == 2 {
            let latecomer = suite.member();
            suite.enrol(&latecomer, &of_li).await;
            suite.reaches(&latecomer, State::Pending).await;
        }
        request.page_token = page.next_page_token;
        let other = pb::ListReferralsRequest { advocate: wang.clone(), ..request.clone() };
        assert_eq!(bad_fields(client.list_referrals(other).await), ["page_token"]);
    }
    let expected: Vec<_> = [6, 5, 4, 2, 1].iter().map(|number| friends[*number].clone()).collect();
    assert_eq!(seen, expected);

    let count = |request: pb::ListReferralsRequest| {
        let mut client = client.clone();
        async move { client.list_referrals(request).await.unwrap().into_inner().referrals.len() }
    };
    assert_eq!(count(list()).await, 8);
    assert_eq!(count(pb::ListReferralsRequest { advocate: wang, ..list() }).await, 1);
    assert_eq!(count(pb::ListReferralsRequest { state: State::Qualified.into(), ..list() }).await, 1);
    assert_eq!(count(pb::ListReferralsRequest { state: State::Voided.into(), ..list() }).await, 0);
    assert_eq!(count(pb::ListReferralsRequest { parent: "programs/coffee".to_owned(), ..list() }).await, 0);
    let other_program = li.replace("tea", "coffee");
    assert_eq!(bad_fields(client.list_referrals(pb::ListReferralsRequest { advocate: other_program, ..list() }).await), ["advocate"]);
    assert_eq!(bad_fields(client.list_referrals(pb::ListReferralsRequest { page_size: -1, ..list() }).await), ["page_size"]);
    assert_eq!(bad_fields(client.list_referrals(pb::ListReferralsRequest { state: 99, ..list() }).await), ["state"]);
}
