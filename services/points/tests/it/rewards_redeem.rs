//! Points spent on rewards, and given back.

use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState, TierChanged};
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    redeeming_spends_points_and_issues_a_voucher,
    the_first_obstacle_is_told,
    a_tier_opens_its_rewards,
    tags_and_segments_open_their_rewards,
    points_come_back_once,
    what_a_reward_cost_pays_for_nothing_else,
    merged_members_have_one_limit,
    verification_finds_miscounted_rewards,
);

async fn redeeming_spends_points_and_issues_a_voucher(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    let request = create_with("mug", 100, |terms| {
        terms.voucher.as_mut().unwrap().valid = Some(pb::voucher_terms::Valid::ValidFor(days(30).unwrap()));
    });
    admin.create_reward(request).await.unwrap();
    suite.award(1, "p1", 15_000).await;
    let request = have(1, "mug");
    let first = platform.redeem_reward(request.clone()).await.unwrap().into_inner();
    let operation = first.operation.as_ref().unwrap();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Redeem, 100, -100));
    assert_eq!(operation.entries[0].reason, reward_name("mug"));
    suite.stands(operation).await;
    let issued = first.voucher.clone().unwrap();
    assert_eq!((issued.state(), issued.title.as_str(), &*issued.reward), (pb::VoucherState::Usable, "a mug", &*reward_name("mug")));
    assert_eq!((&issued.operation, &issued.terms.as_ref().unwrap().effect), (&operation.name, &off(1_000).effect));
    assert_eq!(issued.expire_time, Some(timestamp(suite.now() + 30 * DAY)));
    assert!(issued.code.ends_with(&issued.code_end) && issued.code.len() == 20);
    // The same request again, byte for byte; also after a restart.
    let again = platform.redeem_reward(request.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    let suite = suite.restart().await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let again = platform.redeem_reward(request.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    assert_eq!(platform.get_voucher(voucher(&issued.name)).await.unwrap().into_inner(), issued);
    // The id stays bound to what it was sent with.
    let other = with(request.clone(), |request| request.member = member(2));
    assert_eq!(refusal(platform.redeem_reward(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(suite.story(1).await, ["AWARD 150", "REDEEM -100"]);
    suite.verified().await;
    suite.stop().await;
}

async fn the_first_obstacle_is_told(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    let soon = create_with("soon", 10, |terms| terms.start_time = Some(timestamp(suite.now() + DAY)));
    let over = create_with("over", 10, |terms| terms.end_time = Some(timestamp(suite.now())));
    let gold = create_with("gold", 10, |terms| terms.audience = tiers(&["gold"]));
    let once = create_with("once", 10, |terms| terms.member_limit = Some(1));
    let none = create_with("none", 10, |terms| terms.stock = Some(0));
    for request in [soon, over, gold, once, none, create("dear", 1_000), create("retired", 10)] {
        admin.create_reward(request).await.unwrap();
    }
    admin.retire_reward(retire("retired")).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    platform.redeem_reward(have(1, "once")).await.unwrap();
    for (reward, reason) in [
        ("soon", "REWARD_NOT_STARTED"),
        ("over", "REWARD_OVER"),
        ("gold", "TIER_NOT_ADMITTED"),
        ("once", "MEMBER_LIMIT_REACHED"),
        ("none", "REWARD_OUT_OF_STOCK"),
        ("dear", "INSUFFICIENT_POINTS"),
        ("retired", "REWARD_RETIRED"),
    ] {
        assert_eq!(precondition(platform.redeem_reward(have(1, reward)).await), reason);
    }
    // A refusal stands under its id, and the member has what he had.
    let request = have(1, "soon");
    assert_eq!(precondition(platform.redeem_reward(request.clone()).await), "REWARD_NOT_STARTED");
    suite.clock.advance(DAY);
    let refused = platform.redeem_reward(request).await.unwrap_err();
    assert!(refused.metadata().contains_key("regulars-replayed"));
    platform.redeem_reward(have(1, "soon")).await.unwrap();
    // A reward that is not there may be there in a moment.
    let early = have(1, "new");
    assert_eq!(refusal(platform.redeem_reward(early.clone()).await), (Code::NotFound, "REWARD_NOT_FOUND".to_owned()));
    admin.create_reward(create("new", 10)).await.unwrap();
    platform.redeem_reward(early).await.unwrap();
    assert_eq!(suite.figures(1).await, (70, 0, 0, 0));
    suite.verified().await;
    suite.stop().await;
}

async fn a_tier_opens_its_rewards(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create_with("lounge", 10, |terms| terms.audience = tiers(&["gold", "black"]))).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    assert_eq!(precondition(platform.redeem_reward(have(1, "lounge")).await), "TIER_NOT_ADMITTED");
    let gold = TierChanged {
        scheme: format!("{TEA}/schemes/main"),
        tier: "gold".to_owned(),
        multiplier: "1".to_owned(),
        start_time: Some(timestamp(suite.now())),
        end_time: Some(timestamp(suite.now() + DAY)),
        ..TierChanged::default()
    };
    suite.tiers_tell(1, Payload::TierChanged(gold), 1).await;
    platform.redeem_reward(have(1, "lounge")).await.unwrap();
    suite.clock.advance(DAY);
    assert_eq!(precondition(platform.redeem_reward(have(1, "lounge")).await), "TIER_NOT_ADMITTED");
    suite.stop().await;
}

async fn tags_and_segments_open_their_rewards(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create_with("staff-meal", 10, |terms| terms.audience = with_tag("staff"))).await.unwrap();
    admin.create_reward(create_with("come-back", 10, |terms| terms.audience = in_segment("lapsing"))).await.unwrap();
    let bad = admin.create_reward(create_with("bad", 10, |terms| terms.audience = with_tag("No Tag"))).await;
    assert_eq!(wrong_fields(bad), ["terms.audience.tags.labels[0]"]);
    suite.award(1, "p1", 10_000).await;
    for reward in ["staff-meal", "come-back"] {
        assert_eq!(precondition(platform.redeem_reward(have(1, reward)).await), "AUDIENCE_NOT_ADMITTED");
    }
    let (tags, segments) = (vec!["staff".to_owned()], vec!["lapsing".to_owned()]);
    let told = MemberChanged { state: MemberState::Active.into(), tags, segments, ..MemberChanged::default() };
    suite.members_tell(1, Payload::MemberChanged(told), 1).await;
    for reward in ["staff-meal", "come-back"] {
        platform.redeem_reward(have(1, reward)).await.unwrap();
    }
    suite.stop().await;
}

async fn points_come_back_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    let limited = create_with("mug", 100, |terms| (terms.stock, terms.member_limit) = (Some(2), Some(1)));
    admin.create_reward(limited).await.unwrap();
    suite.award(1, "p1", 20_000).await;
    let first = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap();
    let request = undo(&first.name, false);
    let refund = platform.refund_reward(request.clone()).await.unwrap().into_inner();
    assert_eq!(refund.operation.as_ref().unwrap().refund.as_ref().unwrap().points, 100);
    assert_eq!(refund.voucher.as_ref().unwrap().state(), pb::VoucherState::Refunded);
    let again = platform.refund_reward(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), refund);
    assert_eq!(precondition(platform.refund_reward(undo(&first.name, true)).await), "VOUCHER_REFUNDED");
    let left = |reward: pb::Reward| (reward.stock_left, reward.taken);
    let get = || pb::GetRewardRequest { name: reward_name("mug") };
    assert_eq!(left(platform.get_reward(get()).await.unwrap().into_inner()), (Some(1), 1));
    // It counts no more for the member. Now with the piece put back.
    let second = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap();
    assert_eq!(precondition(platform.redeem_reward(have(1, "mug")).await), "MEMBER_LIMIT_REACHED");
    platform.refund_reward(undo(&second.name, true)).await.unwrap();
    assert_eq!(left(platform.get_reward(get()).await.unwrap().into_inner()), (Some(1), 1));
    // What was used stays paid, until its order is cancelled.
    let third = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap();
    platform.use_voucher(use_for("o1", &third.code, basket("latte", 3_000))).await.unwrap();
    assert_eq!(precondition(platform.refund_reward(undo(&third.name, false)).await), "VOUCHER_USED");
    platform.void_voucher_use(void(&third.name, "o1")).await.unwrap();
    platform.refund_reward(undo(&third.name, false)).await.unwrap();
    assert_eq!(suite.figures(1).await, (200, 0, 0, 0));
    // A granted one has cost nothing, and one of another member is not found.
    let granted = platform.grant_voucher(grant(1, "g1", off(100))).await.unwrap().into_inner();
    assert_eq!(precondition(platform.refund_reward(undo(&granted.name, false)).await), "VOUCHER_NOT_REDEEMED");
    let anothers = first.name.replace(&member(1), &member(2));
    assert_eq!(refusal(platform.refund_reward(undo(&anothers, false)).await), (Code::NotFound, "VOUCHER_NOT_FOUND".to_owned()));
    suite.verified().await;
    suite.stop().await;
}

async fn what_a_reward_cost_pays_for_nothing_else(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create("mug", 100)).await.unwrap();
    suite.award(1, "p1", 20_000).await;
    let spent = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(precondition(suite.platform().refund_redemption(refund(&spent.name, None)).await), "REDEMPTION_OF_REWARD");
    let paid = with(award(1, "p2", 1_000), |request| input(request).redemptions = vec![spent.name.clone()]);
    assert_eq!(refusal(suite.platform().award(paid).await), (Code::NotFound, "REDEMPTION_NOT_FOUND".to_owned()));
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    suite.verified().await;
    suite.stop().await;
}

async fn merged_members_have_one_limit(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create_with("mug", 10, |terms| terms.member_limit = Some(2))).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    let before = platform.redeem_reward(have(2, "mug")).await.unwrap().into_inner().voucher.unwrap();
    let mut support = suite.client(Role::Support).await;
    support.merge_accounts(merge(1, 2)).await.unwrap();
    // Redeemed under the old name: his voucher, the survivor's points.
    let named = platform.redeem_reward(have(2, "mug")).await.unwrap().into_inner().voucher.unwrap();
    assert!(named.name.starts_with(&member(2)));
    assert_eq!(precondition(platform.redeem_reward(have(1, "mug")).await), "MEMBER_LIMIT_REACHED");
    let list = |owner| pb::ListVouchersRequest { parent: member(owner), ..Default::default() };
    assert_eq!(platform.list_vouchers(list(1)).await.unwrap().into_inner().vouchers.len(), 2);
    for voucher in [before, named] {
        platform.refund_reward(undo(&voucher.name, false)).await.unwrap();
    }
    assert_eq!(suite.figures(1).await, (200, 0, 0, 0));
    // What was bought from the survivor's points goes back to them, also when the two are apart again.
    let last = platform.redeem_reward(have(2, "mug")).await.unwrap().into_inner().voucher.unwrap();
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    platform.refund_reward(undo(&last.name, false)).await.unwrap();
    let together = suite.figures(1).await.0 + suite.figures(2).await.0;
    assert_eq!(together, 200);
    suite.verified().await;
    suite.stop().await;
}

async fn verification_finds_miscounted_rewards(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(5))).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    platform.redeem_reward(have(1, "mug")).await.unwrap();
    suite.verified().await;
    for (sql, whose, what) in [
        ("UPDATE catalogue SET taken = 2", reward_name("mug"), "it counts 2 pieces as taken, and 1 vouchers were issued for it"),
        ("UPDATE vouchers SET state = 4", member(1), "and the redemption that paid for it do not stand alike"),
    ] {
        let mut tx = suite.points().await.begin().await.unwrap();
        persistence::on_engine!(tx, |conn| sqlx::query(sql).execute(conn).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
        let report = points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap();
        assert!(report.differences.iter().any(|found| found.member == whose && found.what.contains(what)), "{:?}", report.differences);
    }
    suite.stop().await;
}
