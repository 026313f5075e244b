//! Status: purchases carry a member up, the multiplier counts from then on, and goods that go back count as the scheme says.

use kernel::Timestamp;
use proto::points::{AwardExplanation, GetPurchaseRequest, PreviewAwardRequest};
use proto::tiers::tier_transition::{Cause, Change};
use proto::tiers::{ListTierHoldingsRequest, ListTierTransitionsRequest, OnReturn, TierTransition};
use rpc::Role;
use testkit::{TestEngine, eventually};

use super::diary::Diary;
use super::suite::{Suite, TEA};
use super::tea::{DAY, GOLD, HOUR, SCHEME, purchase_name};

testkit::on_each_engine!(gold_multiplies_from_its_moment_on_and_is_lost_with_the_goods, a_scheme_may_let_a_member_keep_gold);

/// A member who has become gold by two purchases an hour apart, at 600 and 500 points.
async fn gold(suite: &Suite, diary: &mut Diary, on_return: OnReturn) -> (String, Timestamp) {
    suite.sets_terms(diary).await;
    suite.sets_scheme(diary, on_return).await;
    let member = suite.enrols(diary, "+8613800138001", "").await.name;
    suite.buys(diary, &member, "p1", 6000).await;
    suite.tier_reaches(&member, "silver", 600).await;
    let tier = suite.tier(&member).await;
    assert_eq!((&*tier.next_level, tier.points_to_next), ("gold", GOLD - 600));
    assert_eq!(tier.opportunities.len(), 1);
    suite.points_know(&member, "silver").await;

    suite.clock.advance(HOUR);
    let crossing = suite.now();
    let crossed = explained(suite.buys(diary, &member, "p2", 5000).await.award);
    assert_eq!(crossed, (500, 0, "silver"), "the purchase that carries a member over is counted as it was bought");
    suite.tier_reaches(&member, "gold", 1100).await;
    let tier = suite.tier(&member).await;
    assert_eq!((&*tier.next_level, tier.points_to_next, &*tier.multiplier), ("", 0, "1.5"));
    assert_eq!(tier.start_time, super::suite::time(crossing), "from the purchase on");
    suite.points_know(&member, "gold").await;
    (member, crossing)
}

async fn gold_multiplies_from_its_moment_on_and_is_lost_with_the_goods(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    let (member, crossing) = gold(&suite, &mut diary, OnReturn::Reevaluate).await;

    suite.clock.advance(HOUR);
    let later = explained(suite.buys(&mut diary, &member, "p3", 1000).await.award);
    assert_eq!(later, (100, 50, "gold"));
    // A till that was offline tells now of a purchase from before the member was gold.
    let earlier = suite.bought(&mut diary, &member, "p4", 1000, Some(crossing - HOUR / 2)).await;
    assert_eq!(explained(earlier.award), (100, 0, "silver"), "tiers has told {:#?}", suite.feed_of("tiers", &member).await);
    suite.tier_reaches(&member, "gold", 1300).await;
    assert_eq!(suite.base_points(&["p1", "p2", "p3", "p4"]).await, 1300, "tiers and points count alike");
    assert_eq!(suite.active(&member).await, 1350);

    suite.clock.advance(2 * DAY);
    suite.brings_back(&mut diary, "p2", 0).await;
    suite.tier_reaches(&member, "silver", 800).await;
    assert_eq!(suite.base_points(&["p1", "p2", "p3", "p4"]).await, 800);
    let tier = suite.tier(&member).await;
    assert_eq!((&*tier.next_level, tier.points_to_next), ("gold", GOLD - 800));
    suite.points_know(&member, "silver").await;
    // What gold had multiplied stays: a purchase keeps the facts of its day, also when half of it goes back.
    suite.brings_back(&mut diary, "p3", 500).await;
    suite.tier_reaches(&member, "silver", 750).await;
    assert_eq!(suite.active(&member).await, 600 + 75 + 100);
    let afterwards = explained(suite.buys(&mut diary, &member, "p5", 1000).await.award);
    assert_eq!(afterwards, (100, 0, "silver"));

    let log = suite.tier_log(&member).await;
    let changes: Vec<_> = log.iter().map(|entry| (entry.change(), &*entry.to_level, entry.cause())).collect();
    let bought = Cause::Purchase;
    let expected = [(Change::Joined, "silver", bought), (Change::Upgraded, "gold", bought), (Change::Downgraded, "silver", Cause::Return)];
    assert_eq!(changes, expected);
    assert_eq!(log[1].cause_name, purchase_name("p2"));
    assert_eq!(log[2].cause_name, purchase_name("p2"));
    diary.comes_again().await;
    suite.stop().await;
}

async fn a_scheme_may_let_a_member_keep_gold(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    let (member, _) = gold(&suite, &mut diary, OnReturn::Keep).await;
    suite.clock.advance(2 * DAY);
    suite.brings_back(&mut diary, "p2", 0).await;
    // Gold is kept; the points of what went back no longer count.
    suite.tier_reaches(&member, "gold", 600).await;
    let afterwards = explained(suite.buys(&mut diary, &member, "p3", 1000).await.award);
    assert_eq!(afterwards, (100, 50, "gold"));
    suite.tier_reaches(&member, "gold", 700).await;
    let request = ListTierHoldingsRequest { parent: SCHEME.to_owned(), level: "gold".to_owned(), ..ListTierHoldingsRequest::default() };
    let holdings = suite.tiers(Role::Analyst).list_tier_holdings(request).await.unwrap().into_inner().holdings;
    assert_eq!(holdings.iter().map(|holding| &*holding.name).collect::<Vec<_>>(), [format!("{member}/tiers/status")]);
    diary.comes_again().await;
    suite.stop().await;
}

/// Base points, what a multiplier added, and the tier that it was for.
fn explained(award: Option<AwardExplanation>) -> (i64, i64, &'static str) {
    let award = award.expect("an award is explained");
    let tier = ["", "silver", "gold"].into_iter().find(|tier| *tier == award.tier).expect("the scheme has this tier");
    (award.base_points, award.bonus_points, tier)
}

impl Suite {
    /// Waits until a member holds a level with so many qualifying points.
    pub(crate) async fn tier_reaches(&self, member: &str, level: &str, points: i64) {
        eventually(|| async {
            let tier = self.tier(member).await;
            if (&*tier.level, tier.qualifying_points) == (level, points) { Ok(()) } else { Err(tier) }
        })
        .await;
    }

    /// Waits until points has heard of a member's tier.
    async fn points_know(&self, member: &str, tier: &str) {
        let award = self.award(member, "preview", 1000);
        let request = PreviewAwardRequest { parent: TEA.to_owned(), member: member.to_owned(), purchase: award.purchase };
        eventually(|| async {
            let preview = self.points(Role::Terminal).preview_award(request.clone()).await.unwrap().into_inner();
            preview.award.is_some_and(|award| award.tier == tier)
        })
        .await;
    }

    /// Base points that purchases deserve by now, in all.
    async fn base_points(&self, purchases: &[&str]) -> i64 {
        let mut sum = 0;
        for purchase in purchases {
            let request = GetPurchaseRequest { name: purchase_name(purchase) };
            sum += self.points(Role::Support).get_purchase(request).await.unwrap().into_inner().base_points;
        }
        sum
    }

    /// The log of a member's tier, oldest first.
    async fn tier_log(&self, member: &str) -> Vec<TierTransition> {
        let request = ListTierTransitionsRequest { parent: format!("{member}/tiers/status"), ..ListTierTransitionsRequest::default() };
        let mut log = self.tiers(Role::Support).list_tier_transitions(request).await.unwrap().into_inner().transitions;
        log.reverse();
        log
    }
}
