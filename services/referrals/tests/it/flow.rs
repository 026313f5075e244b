//! From the enrolment to the reward and back, as the feeds tell it.

use persistence::FeedReader;
use prost::Message;
use proto::events::{Event, event::Payload};
use proto::referrals as pb;
use proto::referrals::referral::leg::State as Leg;
use proto::referrals::referral::{RejectionReason, Source, State, VoidReason};
use rpc::Role;
use rpc::wire::timestamp;
use testkit::{START, TestEngine, eventually, on_each_engine};

use crate::neighbours::rewards;
use crate::suite::{DAY, MINIMUM, Suite, leg_states, list};

on_each_engine!(
    both_sides_are_rewarded_after_the_hold,
    a_return_takes_both_rewards_back,
    the_order_of_the_feeds_makes_no_difference,
    a_plan_without_hold_rewards_at_once,
    a_purchase_that_does_not_count_rejects,
    a_bad_code_at_the_enrolment_leaves_a_rejected_referral,
    an_advocate_is_rewarded_up_to_the_limit,
    events_that_come_again_change_nothing,
);

/// What the referrals feed has told so far: aggregate, version and state.
async fn told(suite: &Suite) -> Vec<(String, i64, String)> {
    let database = suite.referrals_database().await;
    let reader = FeedReader::new(database);
    let oldest = reader.oldest().await.unwrap();
    let page = reader.read(&oldest, &[], 1_000).await.unwrap();
    let events = page.events.iter().map(|event| Event::decode(&event.payload[..]).unwrap());
    events
        .map(|event| {
            let Some(Payload::ReferralChanged(changed)) = event.payload else { panic!("another event") };
            assert_eq!(event.member, changed.friend);
            assert_eq!(event.aggregate, changed.referral);
            (event.aggregate, event.aggregate_version, changed.state)
        })
        .collect()
}

async fn both_sides_are_rewarded_after_the_hold(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let (advocate, friend) = (suite.member(), suite.member());
    let code = suite.code(&advocate).await;

    let enrolled = suite.context.now();
    suite.enrol(&friend, &code.code.to_lowercase()).await;
    let pending = suite.reaches(&friend, State::Pending).await;
    assert_eq!((&*pending.advocate, &*pending.code, pending.source()), (&*advocate, &*code.name, Source::Enrolment));
    assert_eq!(pending.attribute_time, Some(timestamp(enrolled)));
    assert_eq!(pending.qualify_before_time, Some(timestamp(enrolled + 30 * DAY)));
    assert_eq!((pending.plan_version, leg_states(&pending)), (1, vec![Leg::Awaiting, Leg::Awaiting]));

    let bought = suite.context.now();
    suite.buy(&friend, "p1", MINIMUM).await;
    let qualified = suite.reaches(&friend, State::Qualified).await;
    assert_eq!(qualified.purchase, "programs/tea/purchases/p1");
    assert_eq!(qualified.qualify_time, Some(timestamp(bought)));
    assert_eq!(qualified.auto_approve_time, Some(timestamp(bought + 14 * DAY)));
    assert!(rewards(&suite.points).await.is_empty(), "nothing is given before the approval");

    suite.clock.set(bought + 14 * DAY);
    let approved = suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    let id = approved.name.rsplit('/').next().unwrap().to_owned();
    let given = rewards(&suite.points).await;
    let given: Vec<_> = given.iter().map(|reward| (&*reward.reward_key, &*reward.member, reward.points, reward.grants)).collect();
    let (advocate_key, friend_key) = (format!("referral/{id}/ADVOCATE"), format!("referral/{id}/FRIEND"));
    assert_eq!(given, [(&*advocate_key, &*advocate, 200, 1), (&*friend_key, &*friend, 100, 1)]);
    let keys: Vec<_> = approved.legs.iter().map(|leg| leg.reward_key.clone()).collect();
    assert_eq!(keys, [advocate_key, friend_key]);

    let feed = eventually(|| async { Some(told(&suite).await).filter(|feed| feed.len() == 3) }).await;
    let expected = [(1, "PENDING"), (2, "QUALIFIED"), (3, "APPROVED")];
    assert_eq!(feed, expected.map(|(version, state)| (approved.name.clone(), version, state.to_owned())));
}

async fn a_return_takes_both_rewards_back(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    let friend = suite.member();
    let code = suite.code(&suite.member()).await;
    suite.enrol(&friend, &code.code).await;
    suite.buy(&friend, "p1", MINIMUM + 500).await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;

    // Enough is left after the first return; another purchase is no matter; the second return goes below the minimum.
    suite.bring_back(&friend, "p1", MINIMUM).await;
    suite.bring_back(&friend, "p2", 0).await;
    suite.bring_back(&friend, "p1", MINIMUM - 1).await;
    let voided = suite.reaches_legs(&friend, State::Voided, &[Leg::Revoked, Leg::Revoked]).await;
    assert_eq!((voided.void_reason(), &*voided.voided_by), (VoidReason::PurchaseReturned, ""));
    let given = rewards(&suite.points).await;
    assert!(given.iter().all(|reward| (reward.granted, reward.grants, reward.revokes) == (0, 1, 1)), "{given:?}");
    let feed = eventually(|| async { Some(told(&suite).await).filter(|feed| feed.len() >= 4) }).await;
    let states: Vec<_> = feed.iter().map(|(_, _, state)| &**state).collect();
    assert_eq!(states, ["PENDING", "QUALIFIED", "APPROVED", "VOIDED"], "the return that left enough moved nothing");
}

async fn the_order_of_the_feeds_makes_no_difference(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let code = suite.code(&suite.member()).await.code;
    let enrolled = suite.context.now();
    let [in_order, reversed, with_return] = [suite.member(), suite.member(), suite.member()];
    // Purchases, and in one case the return, are heard before the enrolment. A friend who comes last shows that they were.
    suite.buy(&reversed, "p1", MINIMUM).await;
    suite.buy(&with_return, "p2", MINIMUM).await;
    suite.bring_back(&with_return, "p2", 0).await;
    suite.enrol(&in_order, &code).await;
    suite.buy(&in_order, "p3", MINIMUM).await;
    suite.reaches(&in_order, State::Qualified).await;
    suite.heard_purchase(&with_return).await;
    suite.heard_purchase(&reversed).await;
    assert!(suite.referrals_of(&reversed).await.is_empty());

    suite.enrol_at(&reversed, &code, enrolled).await;
    suite.enrol_at(&with_return, &code, enrolled).await;
    let qualified = suite.reaches(&reversed, State::Qualified).await;
    assert_eq!(qualified.purchase, "programs/tea/purchases/p1");
    let voided = suite.reaches(&with_return, State::Voided).await;
    assert_eq!((voided.void_reason(), leg_states(&voided)), (VoidReason::PurchaseReturned, vec![Leg::Cancelled, Leg::Cancelled]));
}

async fn a_plan_without_hold_rewards_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite
        .plan(|plan| {
            plan.hold = None;
            plan.advocate_reward = None;
        })
        .await;
    let friend = suite.member();
    let code = suite.code(&suite.member()).await.code;
    suite.enrol(&friend, &code).await;
    suite.buy(&friend, "p1", MINIMUM).await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued]).await;
    let given = rewards(&suite.points).await;
    assert_eq!(given.len(), 1, "a one-sided plan rewards one side");
    assert_eq!((&*given[0].member, given[0].points), (&*friend, 100));
}

async fn a_purchase_that_does_not_count_rejects(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let code = suite.code(&suite.member()).await.code;
    let (small, late) = (suite.member(), suite.member());
    suite.enrol_at(&small, &code, START).await;
    suite.enrol_at(&late, &code, START).await;
    suite.buy(&small, "p1", MINIMUM - 1).await;
    let rejected = suite.reaches(&small, State::Rejected).await;
    assert_eq!((rejected.rejection_reason(), leg_states(&rejected)), (RejectionReason::PurchaseBelowMinimum, vec![Leg::Cancelled; 2]));
    suite.clock.set(START + 30 * DAY);
    suite.buy(&late, "p2", MINIMUM).await;
    assert_eq!(suite.reaches(&late, State::Rejected).await.rejection_reason(), RejectionReason::PurchaseTooLate);
    assert!(rewards(&suite.points).await.is_empty());
}

async fn a_bad_code_at_the_enrolment_leaves_a_rejected_referral(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let advocate = suite.member();
    let code = suite.code(&advocate).await.code;
    let (lost, typo, silent) = (suite.member(), suite.member(), suite.member());
    suite.enrol(&lost, "ABCDEFGHJKMN").await;
    suite.enrol(&typo, "my friend's phone is 13800001234").await;
    suite.enrol(&advocate, &code).await;
    suite.enrol(&silent, "").await;
    for friend in [&lost, &typo] {
        let rejected = suite.reaches(friend, State::Rejected).await;
        assert_eq!((rejected.rejection_reason(), &*rejected.code, &*rejected.advocate), (RejectionReason::CodeNotFound, "", ""));
        assert!(rejected.legs.is_empty());
    }
    let own = suite.reaches(&advocate, State::Rejected).await;
    assert_eq!((own.rejection_reason(), &*own.advocate), (RejectionReason::SelfReferral, &*advocate));

    // The friend may still be attributed by hand: nobody has won the friend yet.
    let mut terminal = suite.client(Role::Terminal).await;
    let request = pb::AttributeFriendRequest { friend: lost.clone(), code: code.clone(), request_id: suite.request_id() };
    let attributed = terminal.attribute_friend(request).await.unwrap().into_inner();
    assert_eq!((attributed.state(), attributed.source()), (State::Pending, Source::Call));
    let states: Vec<_> = suite.referrals_of(&lost).await.iter().map(|referral| referral.state()).collect();
    assert_eq!(states, [State::Pending, State::Rejected]);
    assert!(suite.referrals_of(&silent).await.is_empty());
}

async fn an_advocate_is_rewarded_up_to_the_limit(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite
        .plan(|plan| {
            plan.hold = None;
            plan.advocate_reward_limit = 1;
        })
        .await;
    let advocate = suite.member();
    let code = suite.code(&advocate).await.code;
    let [first, second, third] = [suite.member(), suite.member(), suite.member()];
    for friend in [&first, &second, &third] {
        suite.enrol(friend, &code).await;
        suite.reaches(friend, State::Pending).await;
    }
    suite.buy(&first, "p1", MINIMUM).await;
    suite.reaches_legs(&first, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    suite.buy(&second, "p2", MINIMUM).await;
    suite.reaches_legs(&second, State::Approved, &[Leg::Withheld, Leg::Issued]).await;
    // A referral that is voided makes room.
    suite.bring_back(&first, "p1", 0).await;
    suite.reaches_legs(&first, State::Voided, &[Leg::Revoked, Leg::Revoked]).await;
    suite.buy(&third, "p3", MINIMUM).await;
    suite.reaches_legs(&third, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    // What was withheld is not taken back.
    suite.bring_back(&second, "p2", 0).await;
    suite.reaches_legs(&second, State::Voided, &[Leg::Withheld, Leg::Revoked]).await;

    let request = pb::ListReferralsRequest { advocate, ..list() };
    let mut platform = suite.client(Role::Platform).await;
    assert_eq!(platform.list_referrals(request).await.unwrap().into_inner().referrals.len(), 3);
}

async fn events_that_come_again_change_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    let friend = suite.member();
    let code = suite.code(&suite.member()).await;
    for _ in 0..3 {
        suite.enrol(&friend, &code.code).await;
        suite.buy(&friend, "p1", MINIMUM).await;
    }
    let approved = suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    // A marker behind the repetitions: when it has arrived, so have they.
    let marker = suite.member();
    suite.enrol(&marker, &code.code).await;
    suite.reaches(&marker, State::Pending).await;
    assert_eq!(suite.referrals_of(&friend).await, [approved]);
    let used = suite.client(Role::Platform).await.get_code(pb::GetCodeRequest { name: code.name }).await.unwrap().into_inner();
    assert_eq!(used.use_count, 2);
    assert!(rewards(&suite.points).await.iter().all(|reward| reward.grants == 1));
}
