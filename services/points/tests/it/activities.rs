//! What is earned without a purchase.

use futures::future::join_all;
use prost::Message;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use proto::points as pb;
use proto::points::member_limit::Period;
use rpc::Programs;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    an_activity_earns_what_the_terms_name,
    an_activity_counts_once_under_any_id,
    an_activity_that_the_terms_do_not_know_is_refused,
    the_terms_of_the_day_of_an_activity_hold,
    an_activity_goes_the_way_of_all_points,
    the_blocked_are_not_rewarded,
    one_activity_many_times_at_once_is_one,
    a_link_proves_one_activity,
    what_must_be_approved_waits_for_it,
    a_rejected_link_is_free_for_whose_it_is,
    what_is_approved_counts_for_challenges_then,
    what_is_rejected_gives_its_room_back_to_all,
);

fn rewarding() -> pb::Terms {
    pb::Terms { activities: vec![earns("review", 50), earns("check_in", 5)], ..terms() }
}

async fn an_activity_earns_what_the_terms_name(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rewarding()).await;
    let at = timestamp(START - DAY);
    let request = with(activity(1, "review", "r-1.A~_"), |request| request.occur_time = Some(at));
    let operation = suite.till().await.award_activity(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Activity, 50, 50));
    assert_eq!((&operation.member, &operation.request_id), (&member(1), &request.request_id));
    assert_eq!((operation.occur_time, operation.record_time), (Some(at), Some(timestamp(START))));
    assert_eq!((&operation.award, &operation.refund, operation.purchase.as_str(), operation.counterpart.as_str()), (&None, &None, "", ""));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, entry.version, entry.active_after), (pb::EntryKind::Activity, 50, 1, 50));
    assert_eq!(
        (entry.activity.as_str(), entry.terminal.as_str(), entry.store.as_str()),
        ("review/r-1.A~_", TILL, "programs/tea/stores/s1")
    );
    assert_eq!(entry.program_version, "programs/tea/versions/1");
    assert_eq!((entry.occur_time, entry.effective_time, entry.record_time), (Some(at), Some(at), Some(timestamp(START))));
    assert_eq!((entry.lots.len(), entry.lots[0].points_delta, entry.lots[0].expire_time), (1, 50, None));
    suite.stands(&operation).await;
    suite.platform().award_activity(activity(1, "check_in", "r-1.A~_")).await.unwrap();
    assert_eq!(suite.figures(1).await, (55, 0, 0, 0));
    let events = suite.events(2).await;
    assert_eq!(posted(&events[0]), ("ACTIVITY".to_owned(), String::new(), vec!["1 ACTIVITY 50".to_owned()]));
    assert_eq!((&events[0].member, events[0].occur_time, events[0].historical), (&member(1), Some(at), false));
    assert_eq!(suite.verified().await.points["tea"], 55);
}

async fn an_activity_counts_once_under_any_id(engine: TestEngine) {
    let mut suite = Suite::with_terms(engine, rewarding()).await;
    let request = activity(1, "review", "a1");
    let first = raw(&suite.wire(Role::Platform, Programs::All).await, "AwardActivity", request.encode_to_vec()).await.unwrap();
    assert!(!replayed(&first));
    let second_id = with(request.clone(), |request| request.request_id = request_id());
    for _ in 0..2 {
        let wire = suite.wire(Role::Platform, Programs::All).await;
        for again in [&request, &second_id] {
            let again = raw(&wire, "AwardActivity", again.encode_to_vec()).await.unwrap();
            assert!(replayed(&again));
            assert_eq!(again.get_ref(), first.get_ref());
        }
        suite.clock.advance(400 * DAY);
        suite = suite.restart().await;
    }
    let mut platform = suite.platform();
    let operation = pb::Operation::decode(&first.get_ref()[..]).unwrap();
    // The second id is bound to that answer as well.
    assert_eq!(platform.get_operation(answer_to(&second_id.request_id)).await.unwrap().into_inner(), operation);
    let reused = platform.award_activity(with(second_id, |request| request.activity_id = "a9".to_owned())).await;
    assert_eq!(metadata(&reused, "field"), "activity_id");
    assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    type Change = (&'static str, fn(&mut pb::AwardActivityRequest));
    let changes: [Change; 5] = [
        ("member", |request| request.member = member(2)),
        ("occur_time", |request| request.occur_time = Some(timestamp(START))),
        ("store", |request| request.store = "programs/tea/stores/s1".to_owned()),
        ("terminal", |request| request.terminal = TILL.to_owned()),
        ("historical", |request| request.historical = true),
    ];
    for (field, change) in changes {
        let other = with(with(request.clone(), change), |request| request.request_id = request_id());
        let refused = platform.award_activity(other.clone()).await;
        assert_eq!(metadata(&refused, "field"), field);
        assert_eq!(refusal(refused), (Code::AlreadyExists, "ACTIVITY_EXISTS".to_owned()));
        let asked = platform.get_operation(answer_to(&other.request_id)).await;
        assert_eq!(refusal(asked).1, "OPERATION_NOT_FOUND", "it is judged by the natural key whenever it comes");
    }
    assert_eq!((suite.figures(1).await.0, suite.balance(2).await.version), (50, 0));
    // The id is another one under another activity, and in another program.
    platform.award_activity(activity(2, "check_in", "a1")).await.unwrap();
    let coffee = pb::CreateProgramVersionRequest { parent: "programs/coffee".to_owned(), ..new_version(rewarding()) };
    suite.administrator().create_program_version(coffee).await.unwrap();
    let other = with(activity(3, "review", "a1"), |request| request.member = request.member.replace("tea", "coffee"));
    assert_eq!(platform.award_activity(other).await.unwrap().into_inner().actual_points, 50);
    let report = suite.verified().await;
    assert_eq!((report.points["tea"], report.points["coffee"]), (55, 50));
}

async fn an_activity_that_the_terms_do_not_know_is_refused(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rewarding()).await;
    let mut platform = suite.platform();
    let request = activity(1, "share", "a1");
    let refused = platform.award_activity(request.clone()).await;
    assert_eq!(metadata(&refused, "activity"), "share");
    assert_eq!(precondition(refused), "ACTIVITY_NOT_FOUND");
    suite.clock.advance(DAY);
    suite.new_terms(pb::Terms { activities: vec![earns("share", 7)], ..terms() }, suite.now()).await;
    assert_eq!(precondition(platform.award_activity(request.clone()).await), "ACTIVITY_NOT_FOUND", "a refusal is remembered");
    let again = with(request, |request| request.request_id = request_id());
    assert_eq!(platform.award_activity(again).await.unwrap().into_inner().actual_points, 7, "a refusal does not bind the activity");
    assert_eq!(precondition(platform.award_activity(activity(1, "review", "a1")).await), "ACTIVITY_NOT_FOUND", "no more");
    suite.verified().await;
}

async fn the_terms_of_the_day_of_an_activity_hold(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rewarding()).await;
    let mut platform = suite.platform();
    suite.clock.advance(40 * DAY);
    suite.new_terms(pb::Terms { activities: vec![earns("review", 20)], ..terms() }, suite.now()).await;
    let at = |days: u32, id: &str| with(activity(1, "review", id), |request| request.occur_time = Some(timestamp(START + days * DAY)));
    let late = platform.award_activity(at(39, "a1")).await.unwrap().into_inner();
    assert_eq!((late.actual_points, late.entries[0].program_version.as_str()), (50, "programs/tea/versions/1"));
    assert_eq!(platform.award_activity(activity(1, "review", "a2")).await.unwrap().into_inner().actual_points, 20);
    let ahead = platform.award_activity(at(41, "a3")).await;
    assert_eq!(metadata(&ahead, "field"), "occur_time");
    assert_eq!(refusal(ahead), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    assert_eq!(refusal(platform.award_activity(at(1, "a3")).await), (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD".to_owned()));
    let old = with(at(1, "a3"), |request| request.historical = true);
    assert_eq!(wrong_fields(suite.till().await.award_activity(old.clone()).await), ["historical"]);
    assert_eq!(platform.award_activity(old).await.unwrap().into_inner().actual_points, 50);
    let historical: Vec<_> = suite.events(3).await.iter().map(|event| event.historical).collect();
    assert_eq!(historical, [false, false, true]);
    suite.verified().await;
}

async fn an_activity_goes_the_way_of_all_points(engine: TestEngine) {
    let lasting = pb::Terms { activate_after: days(1), expire_after: days(10), ..rewarding() };
    let suite = Suite::with_terms(engine, lasting).await;
    let mut platform = suite.platform();
    platform.award_activity(activity(1, "review", "a1")).await.unwrap();
    assert_eq!(suite.figures(1).await, (0, 50, 0, 0));
    suite.clock.advance(DAY);
    assert_eq!(suite.figures(1).await, (50, 0, 0, 0));
    suite.clock.advance(10 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    testkit::eventually(async || suite.story(1).await == ["ACTIVITY 50", "ACTIVATE 0", "EXPIRE -50"]).await;
    suite.verified().await;
    // What is owed is repaid first.
    suite.award(2, "p1", 10_000).await;
    suite.clock.advance(DAY);
    platform.redeem(redeem(2, 80)).await.unwrap();
    platform.return_purchase(down_to("p1", 0)).await.unwrap();
    suite.new_terms(rewarding(), suite.now()).await;
    let repaid = platform.award_activity(activity(2, "review", "a2")).await.unwrap().into_inner();
    assert_eq!((repaid.actual_points, repaid.entries[0].deficit_delta, repaid.entries[0].lots.len()), (50, -50, 0));
    assert_eq!(suite.figures(2).await, (0, 0, 0, 30));
    suite.verified().await;
}

async fn the_blocked_are_not_rewarded(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, rewarding()).await;
    let mut platform = suite.platform();
    for (version, state, reason) in [(1, MemberState::Blocked, "MEMBER_BLOCKED"), (2, MemberState::Closed, "MEMBER_CLOSED")] {
        let changed = MemberChanged { state: state.into(), ..MemberChanged::default() };
        suite.members_tell(1, Payload::MemberChanged(changed), version).await;
        assert_eq!(precondition(platform.award_activity(activity(1, "review", "a1")).await), reason);
    }
    assert_eq!(suite.balance(1).await.version, 0);
}

async fn one_activity_many_times_at_once_is_one(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rewarding()).await;
    let replica = suite.replica().await;
    for round in 0..5 {
        let id = format!("a{round}");
        let server = |number: u128| if number.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
        let calls = (0..20).map(|number| {
            let (mut server, request) = (server(number), activity(1, "review", &id));
            async move { server.award_activity(request).await.unwrap() }
        });
        let answers = join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
        assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
        // One id by members whose accounts no lock has in common.
        let calls = (1..=20).map(|number| {
            let (mut server, request) = (server(number), activity(100 + number, "check_in", &id));
            async move { server.award_activity(request).await }
        });
        let (done, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        assert!(refused.into_iter().all(|answer| refusal(answer).1 == "ACTIVITY_EXISTS"));
    }
    assert_eq!(suite.verified().await.points["tea"], 5 * 50 + 5 * 5);
    replica.stop().await;
    suite.stop().await;
}

/// Sharing a picture: fifty points, for a link, once somebody has looked at it.
fn sharing() -> pb::Terms {
    let two_weeks = proto::common::CalendarPeriod { count: 2, unit: proto::common::calendar_period::Unit::Week.into() };
    let approval = Some(pb::Approval { cancel_after: Some(two_weeks) });
    let share = pb::ActivityTerms { proof_required: true, approval, ..earns("share", 50) };
    pb::Terms { activities: vec![share, pb::ActivityTerms { proof_required: true, ..earns("review", 5) }], ..terms() }
}

fn proved(request: pb::AwardActivityRequest, link: &str) -> pb::AwardActivityRequest {
    pb::AwardActivityRequest { proof_url: link.to_owned(), ..request }
}

async fn a_link_proves_one_activity(engine: TestEngine) {
    let suite = Suite::with_terms(engine, sharing()).await;
    let mut platform = suite.platform();
    let refused = platform.award_activity(activity(1, "review", "r1")).await;
    assert_eq!(metadata(&refused, "activity"), "review");
    assert_eq!(precondition(refused), "PROOF_REQUIRED");
    for link in ["example.com/p/1", "ftp://example.com/p/1", "https://"] {
        assert_eq!(wrong_fields(platform.award_activity(proved(activity(1, "review", "r1"), link)).await), ["proof_url"]);
    }
    let first = proved(activity(1, "review", "r1"), "https://example.com/p/1");
    platform.award_activity(first.clone()).await.unwrap();
    // Another spelling, of another member, for another activity, after a restart.
    let suite = suite.restart().await;
    let mut platform = suite.platform();
    let again = proved(activity(2, "share", "s1"), "http://EXAMPLE.com/p/1/?utm_source=app#top");
    assert_eq!(refusal(platform.award_activity(again.clone()).await), (Code::AlreadyExists, "PROOF_USED".to_owned()));
    assert_eq!(suite.figures(2).await, (0, 0, 0, 0));
    assert!(replayed(&platform.award_activity(first.clone()).await.unwrap()));
    let renewed = pb::AwardActivityRequest { request_id: request_id(), ..first };
    assert!(replayed(&platform.award_activity(renewed).await.unwrap()), "the same activity under another request id");
    platform.award_activity(pb::AwardActivityRequest { proof_url: "https://example.com/p/2".to_owned(), ..again }).await.unwrap();
    // Many at once with one link.
    let replica = suite.replica().await;
    let calls = (0..8).map(|number: u32| {
        let mut server = if number.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
        let request = proved(activity(u128::from(3 + number % 3), "review", &format!("many-{number}")), "https://example.com/p/3");
        async move { server.award_activity(request).await.is_ok() }
    });
    assert_eq!(join_all(calls).await.into_iter().filter(|done| *done).count(), 1);
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

pub(crate) fn approve(number: u128, id: &str) -> pb::ActivatePendingRequest {
    pb::ActivatePendingRequest {
        member: member(number),
        event: "share".to_owned(),
        pending_reference: id.to_owned(),
        occur_time: None,
        request_id: request_id(),
    }
}

pub(crate) fn reject(number: u128, id: &str) -> pb::CancelPendingRequest {
    pb::CancelPendingRequest {
        member: member(number),
        event: "share".to_owned(),
        pending_reference: id.to_owned(),
        reason: "not our cup".to_owned(),
        request_id: request_id(),
    }
}

async fn what_must_be_approved_waits_for_it(engine: TestEngine) {
    let suite = Suite::with_terms(engine, sharing()).await;
    let mut platform = suite.platform();
    for (number, id) in [(1, "good"), (2, "bad"), (3, "forgotten")] {
        platform.award_activity(proved(activity(number, "share", id), &format!("https://example.com/{id}"))).await.unwrap();
        assert_eq!(suite.figures(number).await, (0, 50, 0, 0));
    }
    platform.activate_pending(approve(1, "good")).await.unwrap();
    assert_eq!(suite.figures(1).await, (50, 0, 0, 0));
    assert_eq!(precondition(platform.activate_pending(approve(1, "good")).await), "NOTHING_PENDING");
    platform.cancel_pending(reject(2, "bad")).await.unwrap();
    assert_eq!(suite.figures(2).await, (0, 0, 0, 0));
    suite.clock.advance(14 * DAY);
    assert_eq!(suite.figures(3).await, (0, 0, 0, 0), "nobody looked at it");
    suite.verified().await;
    suite.stop().await;
}

/// What is shared twice in a month, for nothing but thirty points, and once somebody has looked at it.
fn sharing_twice() -> pb::Terms {
    let gives = |points| Some(pb::Gift { gift: Some(pb::gift::Gift::Points(points)), wallet: String::new() });
    let ladder = pb::Ladder {
        period: Period::Month.into(),
        measure: pb::ladder::Measure::Times.into(),
        steps: vec![pb::Step { at: 2, gives: gives(30) }],
    };
    let twice = pb::Challenge {
        challenge_id: "twice".to_owned(),
        title: "Twice".to_owned(),
        counts: Some(pb::challenge::Counts::Activity("share".to_owned())),
        shape: Some(pb::challenge::Shape::Ladder(ladder)),
        ..pb::Challenge::default()
    };
    let share = pb::ActivityTerms { points: 0, approval: Some(pb::Approval::default()), ..earns("share", 1) };
    pb::Terms { activities: vec![share], challenges: vec![twice], ..terms() }
}

async fn what_is_approved_counts_for_challenges_then(engine: TestEngine) {
    let mut suite = Suite::with_terms(engine, sharing_twice()).await;
    for id in ["a", "b", "c"] {
        let told = suite.platform().award_activity(activity(1, "share", id)).await.unwrap().into_inner();
        assert_eq!((told.challenges.len(), suite.figures(1).await), (0, (0, 0, 0, 0)));
    }
    // It is known after a restart what waits, though there is no point of it in the books.
    suite = suite.restart().await;
    suite.clock.advance(50 * DAY);
    let mut platform = suite.platform();
    let first = approve(1, "c");
    let told = platform.activate_pending(first.clone()).await.unwrap().into_inner();
    assert_eq!((told.kind(), told.challenges.len(), told.challenges[0].progress), (pb::operation::Kind::Activate, 1, 1));
    platform.cancel_pending(reject(1, "a")).await.unwrap();
    assert_eq!(precondition(platform.activate_pending(approve(1, "a")).await), "NOTHING_PENDING");
    let told = platform.activate_pending(approve(1, "b")).await.unwrap().into_inner();
    assert_eq!((told.challenges[0].progress, told.challenges[0].reached.len(), suite.figures(1).await), (2, 1, (30, 0, 0, 0)));
    assert!(replayed(&platform.activate_pending(first).await.unwrap()));
    assert_eq!(suite.story(1).await, ["ACTIVITY 0", "ACTIVITY 0", "ACTIVITY 0", "ACTIVATE 0", "CANCEL 0", "ACTIVATE 0", "REWARD 30"]);
    suite.verified().await;
    suite.stop().await;
}

/// What all share of a limit is given back behind a lock: by who rejects it, by the clock, and many at once.
async fn what_is_rejected_gives_its_room_back_to_all(engine: TestEngine) {
    let limit = pb::AwardLimit {
        limit_id: "all".to_owned(),
        scope: pb::award_limit::Scope::Program.into(),
        period: Period::Ever.into(),
        times_max: 0,
        points_max: 200,
        on_exceed: pb::award_limit::OnExceed::Reject.into(),
    };
    let own = pb::MemberLimit { times_max: 1, period: Period::Ever.into(), ..pb::MemberLimit::default() };
    let mut terms = pb::Terms { limits: vec![limit], ..sharing() };
    terms.activities[0].proof_required = false;
    terms.activities[0].member_limit = Some(own);
    let suite = Suite::with_terms(engine, terms).await;
    let mut platform = suite.platform();
    for number in 1..=4 {
        platform.award_activity(activity(number, "share", &format!("first-{number}"))).await.unwrap();
    }
    assert_eq!(precondition(platform.award_activity(activity(5, "share", "beyond")).await), "AWARD_LIMIT_REACHED");
    assert_eq!(precondition(platform.award_activity(activity(1, "share", "again")).await), "ACTIVITY_LIMIT");
    let replica = suite.replica().await;
    let calls = (1..=3).flat_map(|number| [(number, suite.platform()), (number, replica.platform.clone())]).map(|(number, mut server)| {
        let request = reject(number, &format!("first-{number}"));
        async move { server.cancel_pending(request).await.is_ok() }
    });
    assert_eq!(join_all(calls).await.into_iter().filter(|done| *done).count(), 3);
    for number in [1, 5] {
        platform.award_activity(activity(number, "share", &format!("second-{number}"))).await.unwrap();
    }
    suite.verified().await;
    // Fifty is left, and the clock gives back what nobody has looked at.
    suite.clock.advance(14 * DAY);
    for number in [1, 4, 5] {
        testkit::eventually(async || suite.story(number).await.last().is_some_and(|last| last == "CANCEL -50")).await;
    }
    for number in 6..=9 {
        platform.award_activity(activity(number, "share", &format!("third-{number}"))).await.unwrap();
    }
    assert_eq!(precondition(platform.award_activity(activity(10, "share", "beyond-too")).await), "AWARD_LIMIT_REACHED");
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_rejected_link_is_free_for_whose_it_is(engine: TestEngine) {
    let mut terms = sharing();
    terms.activities.push(earns("visit", 1));
    let suite = Suite::with_terms(engine, terms).await;
    let mut platform = suite.platform();
    let used = |answer| assert_eq!(refusal(answer), (Code::AlreadyExists, "PROOF_USED".to_owned()));
    let share = |number: u128, id: &str, link: &str| proved(activity(number, "share", id), &format!("https://example.com/{link}"));
    platform.award_activity(share(1, "thief", "one")).await.unwrap();
    used(platform.award_activity(share(2, "author", "%6Fne")).await);
    platform.cancel_pending(reject(1, "thief")).await.unwrap();
    let suite = suite.restart().await;
    let mut platform = suite.platform();
    platform.award_activity(share(2, "author", "one")).await.unwrap();
    used(platform.award_activity(share(1, "thief-again", "one")).await);
    // Approved it is used for good; nor does rejecting another free it.
    platform.activate_pending(approve(2, "author")).await.unwrap();
    platform.award_activity(share(2, "other", "two")).await.unwrap();
    platform.cancel_pending(reject(2, "other")).await.unwrap();
    used(platform.award_activity(share(1, "thief-again", "one")).await);
    // Nobody looks at it: the clock frees it, whoever comes first.
    platform.award_activity(share(3, "unseen", "three")).await.unwrap();
    suite.clock.advance(15 * DAY);
    testkit::eventually(async || suite.story(3).await.last().is_some_and(|last| last == "CANCEL -50")).await;
    platform.award_activity(share(4, "seen", "three")).await.unwrap();
    // A link that nothing asks for counts too.
    platform.award_activity(proved(activity(5, "visit", "v1"), "https://example.com/four")).await.unwrap();
    used(platform.award_activity(proved(activity(6, "review", "r1"), "https://example.com./four")).await);
    suite.verified().await;
    suite.stop().await;
}
