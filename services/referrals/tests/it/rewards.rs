//! Each reward exactly once, whatever breaks in between.

use proto::referrals::referral::State;
use proto::referrals::referral::leg::State as Leg;
use testkit::{TestEngine, eventually, on_each_engine};

use crate::neighbours::{admit, fail_next, refuse, refused_calls, rewards};
use crate::suite::{DAY, MINIMUM, Suite};

on_each_engine!(
    a_target_that_fails_is_asked_again_and_gives_once,
    a_lost_answer_gives_nothing_twice,
    a_restart_and_a_crash_give_nothing_twice,
    a_revocation_overtakes_its_grant,
    a_closed_member_is_given_nothing_and_asked_for_once,
    a_blocked_member_is_rewarded_when_unblocked,
);

/// A friend who has bought under a plan without hold: both rewards are wanted.
async fn earned(suite: &Suite, purchase: &str) -> String {
    let friend = suite.member();
    let code = suite.code(&suite.member()).await.code;
    suite.enrol(&friend, &code).await;
    suite.buy(&friend, purchase, MINIMUM).await;
    friend
}

async fn a_target_that_fails_is_asked_again_and_gives_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    fail_next(&suite.points, 5, false).await;
    let friend = earned(&suite, "p1").await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    let given = rewards(&suite.points).await;
    assert!(given.len() == 2 && given.iter().all(|reward| (reward.grants, reward.calls) == (1, 1)), "{given:?}");
}

async fn a_lost_answer_gives_nothing_twice(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    fail_next(&suite.points, 5, true).await;
    let friend = earned(&suite, "p1").await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    let given = rewards(&suite.points).await;
    assert_eq!(given.iter().map(|reward| reward.calls).sum::<i64>(), 7, "five were lost, two were heard");
    assert!(given.iter().all(|reward| (reward.grants, reward.version) == (1, 1)), "{given:?}");
}

async fn a_restart_and_a_crash_give_nothing_twice(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    fail_next(&suite.points, 1_000, true).await;
    let friend = earned(&suite, "p1").await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Wanted, Leg::Wanted]).await;
    eventually(|| async { rewards(&suite.points).await.len() == 2 }).await;
    let suite = suite.restart().await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Wanted, Leg::Wanted]).await;
    let suite = suite.crash().await;
    fail_next(&suite.points, 0, false).await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
    let given = rewards(&suite.points).await;
    assert!(given.len() == 2 && given.iter().all(|reward| (reward.granted, reward.grants) == (1, 1)), "{given:?}");
    assert!(given.iter().all(|reward| reward.calls >= 2), "both were asked for again: {given:?}");
}

async fn a_revocation_overtakes_its_grant(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    // The grants never arrive: the friend brings everything back while points is away.
    fail_next(&suite.points, 1_000, false).await;
    let friend = earned(&suite, "p1").await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Wanted, Leg::Wanted]).await;
    suite.bring_back(&friend, "p1", 0).await;
    suite.reaches_legs(&friend, State::Voided, &[Leg::Revoking, Leg::Revoking]).await;
    fail_next(&suite.points, 0, false).await;
    suite.reaches_legs(&friend, State::Voided, &[Leg::Revoked, Leg::Revoked]).await;
    let known = rewards(&suite.points).await;
    assert!(known.len() == 2 && known.iter().all(|reward| (reward.version, reward.granted, reward.grants) == (2, 0, 0)), "{known:?}");
}

async fn a_closed_member_is_given_nothing_and_asked_for_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| (plan.hold, plan.advocate_reward_limit) = (None, 1)).await;
    let (advocate, friend, next) = (suite.member(), suite.member(), suite.member());
    let code = suite.code(&advocate).await.code;
    refuse(&suite.points, &advocate, "MEMBER_CLOSED").await;
    suite.enrol(&friend, &code).await;
    suite.buy(&friend, "p1", MINIMUM).await;
    let withheld = suite.reaches_legs(&friend, State::Approved, &[Leg::Withheld, Leg::Issued]).await;
    suite.clock.advance(DAY);
    // What was not given makes room under the plan's limit: the next reward is asked for, too, and the first one not again.
    suite.enrol(&next, &code).await;
    suite.buy(&next, "p2", MINIMUM).await;
    suite.reaches_legs(&next, State::Approved, &[Leg::Withheld, Leg::Issued]).await;
    assert_eq!(refused_calls(&suite.points, &advocate).await, 2, "once for each friend");
    assert_eq!(suite.referrals_of(&friend).await, [withheld]);
    // What was not given is not taken back.
    suite.bring_back(&friend, "p1", 0).await;
    suite.reaches_legs(&friend, State::Voided, &[Leg::Withheld, Leg::Revoked]).await;
}

async fn a_blocked_member_is_rewarded_when_unblocked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|plan| plan.hold = None).await;
    let (advocate, friend) = (suite.member(), suite.member());
    let code = suite.code(&advocate).await.code;
    refuse(&suite.points, &advocate, "MEMBER_BLOCKED").await;
    suite.enrol(&friend, &code).await;
    suite.buy(&friend, "p1", MINIMUM).await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Wanted, Leg::Issued]).await;
    eventually(|| async {
        suite.clock.advance(DAY);
        refused_calls(&suite.points, &advocate).await >= 2
    })
    .await;
    admit(&suite.points, &advocate).await;
    suite.reaches_legs(&friend, State::Approved, &[Leg::Issued, Leg::Issued]).await;
}
