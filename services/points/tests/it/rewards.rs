//! Corrections by hand, and rewards of other services.

use proto::common::Role;
use proto::points as pb;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_correction_goes_both_ways,
    a_reward_is_granted_once,
    the_newest_wish_wins_in_any_order,
    a_reward_that_was_spent_is_owed,
    a_reward_is_one_members,
);

async fn a_correction_goes_both_ways(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    let given = support.adjust(adjust(1, 50)).await.unwrap().into_inner();
    assert_eq!((given.kind(), given.requested_points, given.actual_points), (pb::operation::Kind::Adjust, 50, 50));
    let entry = &given.entries[0];
    assert_eq!((entry.reason.as_str(), entry.approver.as_str()), ("a cold tea", "employees/17"));
    let taken = suite.administrator().adjust(adjust(1, -20)).await.unwrap().into_inner();
    assert_eq!((taken.requested_points, taken.actual_points), (-20, -20));
    let much = support.adjust(adjust(1, -31)).await;
    assert_eq!(metadata(&much, "missing_points"), "1");
    assert_eq!(precondition(much), "INSUFFICIENT_POINTS");
    assert_eq!(suite.story(1).await, ["ADJUST 50", "ADJUST -20"]);
    suite.verified().await;
}

async fn a_reward_is_granted_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    let first = service.ensure_reward(ensure(1, "referral/1/ADVOCATE", 200, true, 1)).await.unwrap().into_inner();
    assert_eq!(first, pb::EnsureRewardResponse { version: 1, granted: true });
    for version in [1, 2] {
        let again = service.ensure_reward(ensure(1, "referral/1/ADVOCATE", 200, true, version)).await.unwrap();
        assert!(!replayed(&again), "it is another request");
        assert_eq!(again.into_inner(), pb::EnsureRewardResponse { version, granted: true });
    }
    assert_eq!(suite.story(1).await, ["REWARD 200"]);
    assert_eq!(suite.entries(1).await[0].reason, "referral (referral/1/ADVOCATE)", "why, and which");
    service.ensure_reward(ensure(1, "referral/2/ADVOCATE", 10, true, 1)).await.unwrap();
    assert_eq!(suite.figures(1).await, (210, 0, 0, 0));
    // Fired at once under many request ids, it is still one.
    let wishes = (0..20).map(|_| {
        let mut service = service.clone();
        async move { service.ensure_reward(ensure(2, "referral/3/FRIEND", 5, true, 1)).await.unwrap().into_inner().granted }
    });
    assert!(futures::future::join_all(wishes).await.into_iter().all(|granted| granted));
    assert_eq!(suite.figures(2).await.0, 5);
    suite.verified().await;
}

async fn the_newest_wish_wins_in_any_order(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    // Revoked before it was ever granted: the grant that comes late changes nothing.
    let revoked = service.ensure_reward(ensure(1, "r1", 100, false, 2)).await.unwrap().into_inner();
    assert_eq!(revoked, pb::EnsureRewardResponse { version: 2, granted: false });
    let late = service.ensure_reward(ensure(1, "r1", 100, true, 1)).await.unwrap().into_inner();
    assert_eq!(late, pb::EnsureRewardResponse { version: 2, granted: false });
    assert_eq!(suite.balance(1).await.version, 0);
    // Granted, revoked and granted again.
    for (version, wanted) in [(3, true), (4, false), (5, true)] {
        let now = service.ensure_reward(ensure(1, "r1", 100, wanted, version)).await.unwrap().into_inner();
        assert_eq!(now, pb::EnsureRewardResponse { version, granted: wanted });
    }
    let stale = service.ensure_reward(ensure(1, "r1", 100, false, 4)).await.unwrap().into_inner();
    assert_eq!(stale, pb::EnsureRewardResponse { version: 5, granted: true });
    assert_eq!(suite.story(1).await, ["REWARD 100", "REWARD_REVOKED -100", "REWARD 100"]);
    suite.verified().await;
}

async fn a_reward_that_was_spent_is_owed(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    service.ensure_reward(ensure(1, "r1", 100, true, 1)).await.unwrap();
    suite.platform().redeem(redeem(1, 70)).await.unwrap();
    service.ensure_reward(ensure(1, "r1", 100, false, 2)).await.unwrap();
    assert_eq!(suite.figures(1).await, (0, 0, 0, 70));
    suite.verified().await;
}

async fn a_reward_is_one_members(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    service.ensure_reward(ensure(1, "r1", 100, true, 1)).await.unwrap();
    suite.award(2, "p1", 10_000).await;
    for wanted in [true, false] {
        let anothers = service.ensure_reward(ensure(2, "r1", 100, wanted, 2)).await;
        assert_eq!(metadata(&anothers, "field"), "member");
        assert_eq!(refusal(anothers), (Code::AlreadyExists, "REWARD_EXISTS".to_owned()));
    }
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (100, 100));
    // At once for two members: one has it.
    let wishes = (3..=22).map(|owner| {
        let mut service = service.clone();
        async move { service.ensure_reward(ensure(owner, "r2", 7, true, 1)).await.is_ok() }
    });
    let granted = futures::future::join_all(wishes).await;
    assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 1);
    assert_eq!(suite.verified().await.points["tea"], 207);
}
