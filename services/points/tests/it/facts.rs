//! What the feeds of members and tiers tell rules earning and spending.

use std::time::Duration;

use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberEnrolled, MemberState, TierChanged};
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    the_blocked_neither_earn_nor_spend,
    the_closed_have_ended,
    a_tier_multiplies_by_the_day_of_the_purchase,
    the_best_of_several_tiers_counts,
    a_return_keeps_the_facts_of_its_day,
);

fn state(state: MemberState) -> Payload {
    Payload::MemberChanged(MemberChanged { state: state.into(), ..MemberChanged::default() })
}

/// A tier from one day to another, or for ever.
fn tier(scheme: &str, tier: &str, multiplier: &str, from: u32, until: Option<u32>) -> Payload {
    Payload::TierChanged(TierChanged {
        scheme: format!("{TEA}/schemes/{scheme}"),
        tier: tier.to_owned(),
        multiplier: multiplier.to_owned(),
        start_time: Some(timestamp(START + from * DAY)),
        end_time: until.map(|day| timestamp(START + day * DAY)),
        ..TierChanged::default()
    })
}

async fn the_blocked_neither_earn_nor_spend(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let mut platform = suite.platform();
    let enrolled = MemberEnrolled { state: MemberState::Active.into(), ..MemberEnrolled::default() };
    suite.award(1, "p1", 10_000).await;
    let held = hold(&suite.reserve(1, 10).await);
    suite.members_tell(1, Payload::MemberEnrolled(enrolled), 0).await;
    suite.members_tell(1, state(MemberState::Blocked), 1).await;
    let refused = award(1, "p2", 10_000);
    assert_eq!(precondition(platform.award(refused.clone()).await), "MEMBER_BLOCKED");
    assert_eq!(precondition(platform.preview_award(preview(&refused)).await), "MEMBER_BLOCKED");
    assert_eq!(precondition(platform.redeem(redeem(1, 1)).await), "MEMBER_BLOCKED");
    assert_eq!(precondition(platform.reserve(reserve(1, 1)).await), "MEMBER_BLOCKED");
    let mut service = suite.client(Role::Service).await;
    assert_eq!(precondition(service.ensure_reward(ensure(1, "r1", 1, true, 1)).await), "MEMBER_BLOCKED");
    // A sale under way is finished, goods go back, and a person may correct.
    platform.capture(capture(&held, None)).await.unwrap();
    platform.return_purchase(down_to("p1", 5_000)).await.unwrap();
    suite.client(Role::Support).await.adjust(adjust(1, 3)).await.unwrap();
    assert_eq!(suite.figures(1).await, (43, 0, 0, 0));

    suite.members_tell(1, state(MemberState::Active), 2).await;
    assert_eq!(precondition(platform.award(refused.clone()).await), "MEMBER_BLOCKED", "a refusal is remembered");
    let again = with(refused, |request| request.request_id = request_id());
    let operation = platform.award(again).await.unwrap().into_inner();
    assert_eq!(operation.actual_points, 100, "the purchase id was not bound by a refusal");
    assert_eq!(operation.entries[0].fact_version, 2);
    suite.verified().await;
}

async fn the_closed_have_ended(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let (one, two) = (hold(&suite.reserve(1, 10).await), hold(&suite.reserve(1, 10).await));
    suite.members_tell(1, state(MemberState::Closed), 1).await;
    assert_eq!(precondition(platform.award(award(1, "p2", 1)).await), "MEMBER_CLOSED");
    assert_eq!(precondition(platform.redeem(redeem(1, 1)).await), "MEMBER_CLOSED");
    assert_eq!(precondition(platform.capture(capture(&one, None)).await), "MEMBER_CLOSED");
    platform.release(release(&two)).await.unwrap();
    platform.return_purchase(down_to("p1", 0)).await.unwrap();
    suite.verified().await;
}

async fn a_tier_multiplies_by_the_day_of_the_purchase(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    suite.tiers_tell(1, tier("status", "silver", "1.25", 1, Some(10)), 1).await;
    suite.tiers_tell(1, tier("status", "gold", "1.5", 5, Some(15)), 2).await;
    suite.clock.advance(20 * DAY);
    for (day, name, points) in [(0, "", 101), (1, "silver", 126), (4, "silver", 126), (5, "gold", 151), (14, "gold", 151), (15, "", 101)] {
        let at = timestamp(START + day * DAY);
        let request = with(award(1, &format!("p{day}"), 10_199), |request| input(request).occur_time = Some(at));
        let operation = suite.platform().award(request).await.unwrap().into_inner();
        let award = operation.award.unwrap();
        assert_eq!((award.tier.as_str(), operation.actual_points, award.base_points), (name, points, 101), "day {day}");
        assert_eq!(award.base_points + award.bonus_points, points);
        if day == 5 {
            let parts: Vec<_> = award.components.iter().map(|part| (part.source.as_str(), part.factor.as_str(), part.points)).collect();
            assert_eq!(parts, [("base", "1", 101), ("tier:gold", "1.5", 50)]);
        }
    }
    suite.verified().await;
}

async fn the_best_of_several_tiers_counts(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    suite.tiers_tell(1, tier("status", "gold", "1.5", 0, None), 1).await;
    suite.tiers_tell(1, tier("staff", "friend", "2", 0, None), 2).await;
    suite.tiers_tell(1, tier("club", "tea", "1.1", 0, None), 3).await;
    let award = suite.award(1, "p1", 10_000).await.award.unwrap();
    assert_eq!((award.tier.as_str(), award.bonus_points), ("friend", 100));
    // Left: the tier of no name ends the one before.
    suite.clock.advance(DAY);
    suite.tiers_tell(1, tier("staff", "", "", 1, None), 4).await;
    assert_eq!(suite.award(1, "p2", 10_000).await.award.unwrap().tier, "gold");
}

async fn a_return_keeps_the_facts_of_its_day(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    suite.award(1, "p1", 10_000).await;
    suite.tiers_tell(1, tier("status", "gold", "2", 0, None), 1).await;
    suite.award(1, "p2", 10_000).await;
    suite.clock.advance(Duration::from_secs(60));
    suite.tiers_tell(1, tier("status", "platinum", "3", 0, None), 2).await;
    for (id, taken) in [("p1", -50), ("p2", -100)] {
        let operation = suite.platform().return_purchase(down_to(id, 5_000)).await.unwrap().into_inner();
        assert_eq!(operation.actual_points, taken, "{id}");
    }
    let kept: pb::Purchase = suite.purchase("p2").await;
    assert_eq!((kept.base_points, kept.due_points), (50, 100));
}
