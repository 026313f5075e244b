//! A preview tells what an award would.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::events::TierChanged;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::award_limit::{OnExceed, Scope};
use proto::points::challenge::{Counts, Shape};
use proto::points::ladder::Measure;
use proto::points::member_limit::Period;
use proto::points::streak::Cadence;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::promotions::{limit, points, rejections, times};
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_preview_in_an_old_name_is_what_the_award_will_be,
    a_purchase_that_is_recorded_is_previewed_as_it_is_awarded,
    a_preview_is_what_the_award_will_be,
    a_preview_changes_nothing,
    a_preview_is_refused_as_the_award_would_be
);

/// Member, fen, days back, days that pass before, points spent before.
type Step = (u128, i64, u32, u32, i64);

fn steps() -> Vec<Step> {
    let step = (0..4_u128, prop_oneof![Just(0), 0..200_000_i64], 0..20_u32, 0..6_u32, 0..300_i64);
    let mut runner = TestRunner::new_with_rng(Config::default(), proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    let tree = proptest::collection::vec(step, 60).new_tree(&mut runner).unwrap();
    proptest::strategy::ValueTree::current(&tree)
}

/// A promotion that a member has so much of, one that all have so much of together, a limit for a day, a ladder and a streak.
fn bounded(terms: pb::Terms) -> pb::Terms {
    let budget = pb::PromotionBudget { times_max: 3, points_max: 900, period: Period::Month.into() };
    let promotions = vec![
        pb::Promotion { member_limit: limit(2, 60, Period::Month), ..points("few", 40) },
        pb::Promotion { budget: Some(budget), ..times("early", "1.5") },
    ];
    let daily = pb::AwardLimit {
        limit_id: "daily".to_owned(),
        scope: Scope::Member.into(),
        period: Period::Day.into(),
        times_max: 0,
        points_max: 2_000,
        on_exceed: OnExceed::Trim.into(),
    };
    let gives = |points| Some(pb::Gift { gift: Some(pb::gift::Gift::Points(points)), wallet: String::new() });
    let steps = [(2, 15), (4, 25)].map(|(at, points)| pb::Step { at, gives: gives(points) });
    let ladder = pb::Ladder { period: Period::Month.into(), measure: Measure::Days.into(), steps: steps.into() };
    let streak = pb::Streak { cadence: Cadence::Week.into(), length: 3, freezes: 1, gives: gives(60), ..pb::Streak::default() };
    let challenge = |id: &str, shape| pb::Challenge {
        challenge_id: id.to_owned(),
        title: id.to_owned(),
        counts: Some(Counts::Purchases(pb::QualifyingPurchase { spend_min: 20_000, ..Default::default() })),
        shape: Some(shape),
        ..pb::Challenge::default()
    };
    let challenges = vec![challenge("ladder", Shape::Ladder(ladder)), challenge("streak", Shape::Streak(streak))];
    pb::Terms { promotions, limits: vec![daily], challenges, ..terms }
}

async fn a_preview_is_what_the_award_will_be(engine: TestEngine) {
    let varied = bounded(pb::Terms {
        points_per_unit: "1.37".to_owned(),
        rounding: pb::terms::PointRounding::HalfUp.into(),
        activate_after: days(7),
        expire_after: days(20),
        expiry_rounding: pb::terms::ExpiryRounding::Day.into(),
        ..terms()
    });
    let suite = Suite::with_feeds(engine, varied).await;
    suite.new_terms(bounded(pb::Terms { points_per_unit: "0.75".to_owned(), ..terms() }), START + 90 * DAY).await;
    let gold = TierChanged {
        scheme: format!("{TEA}/schemes/status"),
        tier: "gold".to_owned(),
        multiplier: "1.25".to_owned(),
        start_time: Some(timestamp(START + 30 * DAY)),
        ..TierChanged::default()
    };
    suite.tiers_tell(1, Payload::TierChanged(gold), 1).await;
    let mut platform = suite.platform();
    let mut seen = Vec::new();
    for (number, (buyer, fen, back, passed, spent)) in steps().into_iter().enumerate() {
        suite.clock.advance(passed * DAY);
        if spent > 0 && buyer > 0 {
            let _perhaps = platform.redeem(up_to(buyer, spent)).await;
        }
        let id = format!("p{number}");
        let request = with(award(buyer, &id, fen), |request| {
            input(request).occur_time = (back > 0).then(|| timestamp(suite.now() - back * DAY));
        });
        let told = platform.preview_award(preview(&request)).await.unwrap().into_inner();
        let done = platform.award(request).await.unwrap().into_inner();
        let due = done.entries.iter().filter(|entry| entry.actor == "clock").map(|entry| entry.points).sum::<i64>();
        assert_eq!(
            (&told.award, told.points, &told.balance, &told.challenges),
            (&done.award, done.actual_points, &done.balance, &done.challenges),
            "step {number}, {due} lapsed"
        );
        let award = done.award.unwrap();
        seen.extend(rejections(&award).into_iter().map(|(id, reason)| format!("{id} {reason:?}")));
        let cut = award.components.iter().filter(|part| part.desired_points > part.points).map(|part| format!("{} cut", part.source));
        seen.extend(cut);
        seen.extend(
            done.challenges.iter().filter(|known| !known.reached.is_empty()).map(|known| format!("{} reached", known.challenge_id)),
        );
        if number % 3 == 0 {
            let _nothing_for_nothing = platform.return_purchase(down_to(&id, fen / 3)).await;
        }
    }
    // The steps have come to the end of everything that has one.
    let ends = ["few Limit", "promotion:few cut", "early Budget", "promotion:early cut", "limit:daily cut"];
    for end in ends.into_iter().chain(["ladder reached", "streak reached"]) {
        assert!(seen.iter().any(|one| one == end), "{end}: {seen:?}");
    }
    suite.verified().await;
}

async fn a_preview_changes_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let (balance, books) = (suite.balance(1).await, suite.entries(1).await);
    for buyer in [0, 1, 2] {
        for _ in 0..3 {
            suite.platform().preview_award(preview(&award(buyer, "p2", 10_000))).await.unwrap();
        }
    }
    assert_eq!((suite.balance(1).await, suite.entries(1).await), (balance, books));
    assert_eq!((suite.balance(2).await.version, suite.verified().await.accounts), (0, 1));
    suite.platform().get_purchase(pb::GetPurchaseRequest { name: purchase("p2") }).await.unwrap_err();
    assert_eq!(suite.platform().preview_award(preview(&award(1, "p9", 700))).await.unwrap().into_inner().points, 7);
}

async fn a_preview_is_refused_as_the_award_would_be(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    for at in [START + DAY, START - 31 * DAY] {
        let request = with(award(1, "p1", 100), |request| input(request).occur_time = Some(timestamp(at)));
        let told = platform.preview_award(preview(&request)).await;
        assert_eq!(refusal(told), refusal(platform.award(request).await));
    }
}

async fn a_purchase_that_is_recorded_is_previewed_as_it_is_awarded(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    for buyer in [1, 0] {
        let request = award(buyer, &format!("p{buyer}"), 10_000);
        let done = platform.award(request.clone()).await.unwrap().into_inner();
        suite.award(1, &format!("later{buyer}"), 500).await;
        let told = platform.preview_award(preview(&request)).await.unwrap().into_inner();
        assert_eq!((told.award, told.points, told.balance), (done.award, done.actual_points, done.balance), "it is told as it was");
        for (field, change) in
            [("purchase.net", award(buyer, &format!("p{buyer}"), 700)), ("member", award(2, &format!("p{buyer}"), 10_000))]
        {
            let told = platform.preview_award(preview(&change)).await;
            assert_eq!(metadata(&told, "field"), field);
            assert_eq!(refusal(told), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
            assert_eq!(refusal(platform.award(change).await), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
        }
    }
    suite.verified().await;
}

/// A streak of purchases is the survivor's: what is bought in the name of who was taken in counts for none.
async fn a_preview_in_an_old_name_is_what_the_award_will_be(engine: TestEngine) {
    let gives = Some(pb::Gift { gift: Some(pb::gift::Gift::Points(100)), wallet: String::new() });
    let streak = pb::Streak { cadence: Cadence::Purchase.into(), length: 2, gives, ..pb::Streak::default() };
    let challenge = pb::Challenge {
        challenge_id: "twice".to_owned(),
        title: "Twice".to_owned(),
        counts: Some(Counts::Purchases(pb::QualifyingPurchase::default())),
        shape: Some(Shape::Streak(streak)),
        ..pb::Challenge::default()
    };
    let suite = Suite::with_terms(engine, pb::Terms { challenges: vec![challenge], ..terms() }).await;
    let mut platform = suite.platform();
    suite.award(1, "a1", 500).await;
    let mut support = suite.client(proto::common::Role::Support).await;
    let mut alike = async |buyer: u128, id: &str| {
        let request = award(buyer, id, 500);
        let told = platform.preview_award(preview(&request)).await.unwrap().into_inner();
        let done = platform.award(request).await.unwrap().into_inner();
        assert_eq!((&told.award, told.points, &told.challenges), (&done.award, done.actual_points, &done.challenges), "{id}");
        assert_eq!(told.balance, done.balance, "{id}");
        done.actual_points
    };
    support.merge_accounts(merge(1, 2)).await.unwrap();
    let mut points = vec![alike(2, "b1").await, alike(1, "a2").await];
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    for (buyer, id) in [(2, "b2"), (2, "b3"), (1, "a3"), (1, "a4")] {
        points.push(alike(buyer, id).await);
    }
    assert_eq!(points.iter().filter(|points| **points == 105).count(), 3, "{points:?}");
    suite.verified().await;
}
