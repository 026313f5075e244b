//! Terms that are tried on what was bought.

use proto::common::Role;
use proto::points as pb;
use proto::points::award_limit::{OnExceed, Scope};
use proto::points::member_limit::Period;
use proto::points::promotion::Gives;
use proto::points::simulate_terms_response::{Difference, PromotionResult};
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    the_terms_of_the_day_change_nothing,
    other_terms_say_who_gains_and_who_loses,
    what_was_bought_before_counts_as_bought,
    what_members_share_is_left_out,
    what_lapses_is_told_apart,
    many_members_come_in_pages,
    other_wallets_are_left_out,
    bad_terms_are_not_tried,
);

fn trying(terms: pb::Terms) -> pb::SimulateTermsRequest {
    pb::SimulateTermsRequest { parent: TEA.to_owned(), terms: Some(terms), start_time: Some(timestamp(START)), end_time: None }
}

/// All answers; the last one is complete.
async fn simulate(suite: &Suite, request: pb::SimulateTermsRequest) -> Vec<pb::SimulateTermsResponse> {
    let mut stream = suite.client(Role::Analyst).await.simulate_terms(request).await.unwrap().into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        answers.push(answer);
    }
    assert_eq!(answers.iter().filter(|answer| answer.complete).count(), 1);
    answers
}

async fn outcome(suite: &Suite, request: pb::SimulateTermsRequest) -> pb::SimulateTermsResponse {
    simulate(suite, request).await.pop().unwrap()
}

fn promoted(promotion: pb::Promotion) -> pb::Terms {
    let promotion = pb::Promotion { promotion_id: "p".to_owned(), title: "P".to_owned(), ..promotion };
    pb::Terms { promotions: vec![promotion], ..terms() }
}

/// A purchase that has earned in two wallets is one, and its points are those of the main one.
async fn other_wallets_are_left_out(engine: TestEngine) {
    let title = "Stars".to_owned();
    let stars = pb::WalletTerms { wallet: "stars".to_owned(), title, points_per_unit: "1".to_owned(), ..pb::WalletTerms::default() };
    let five = pb::Promotion { gives: Some(Gives::Points(5)), wallet: "stars".to_owned(), ..pb::Promotion::default() };
    let terms = pb::Terms { wallets: vec![stars], ..promoted(five) };
    let suite = Suite::with_terms(engine, terms.clone()).await;
    suite.award(1, "a", 10_000).await;
    suite.clock.advance(DAY);
    let told = outcome(&suite, trying(terms)).await;
    assert_eq!((told.members, told.purchases, told.points, told.simulated_points), (1, 1, 100, 100));
    let [five] = &told.promotions[..] else { panic!("one promotion") };
    assert_eq!((five.purchases, five.points), (1, 5), "a promotion's points are those of its own wallet");
}

async fn the_terms_of_the_day_change_nothing(engine: TestEngine) {
    let twice = pb::Promotion { gives: Some(Gives::Multiplier("2".to_owned())), spend_min: 5_000, ..pb::Promotion::default() };
    let mut terms = promoted(twice);
    let ten =
        pb::Promotion { promotion_id: "ten".to_owned(), title: "Ten".to_owned(), gives: Some(Gives::Points(10)), ..Default::default() };
    terms.promotions.push(ten);
    let suite = Suite::with_terms(engine, terms.clone()).await;
    for (buyer, id, fen) in [(1, "a", 10_000), (1, "b", 4_000), (2, "c", 7_777), (0, "stranger", 9_999)] {
        suite.award(buyer, id, fen).await;
    }
    suite.platform().return_purchase(down_to("a", 6_000)).await.unwrap();
    suite.platform().award(award_lines(3, "lines", &[("1", 2, 10_000)])).await.unwrap();
    suite.platform().return_purchase(down_to("lines", 0)).await.unwrap();
    suite.clock.advance(DAY);
    let before = (suite.figures(1).await, suite.figures(2).await, suite.verified().await);
    let same = outcome(&suite, trying(terms)).await;
    let points = 130 + 50 + 164;
    assert_eq!((same.members, same.purchases, same.points, same.simulated_points), (3, 4, points, points));
    assert_eq!((same.gaining_members, same.losing_members, same.top_gains, same.top_losses), (0, 0, vec![], vec![]));
    assert_eq!((suite.figures(1).await, suite.figures(2).await), (before.0, before.1));
    assert_eq!(suite.verified().await.accounts, before.2.accounts);
    suite.stop().await;
}

async fn other_terms_say_who_gains_and_who_loses(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (buyer, id, fen) in [(1, "a", 10_000), (1, "b", 10_000), (2, "c", 1_000), (3, "d", 5_000)] {
        suite.award(buyer, id, fen).await;
    }
    suite.clock.advance(2 * DAY);
    // Half a point for a yuan, and eighty for whoever spends a hundred.
    let big = pb::Promotion { gives: Some(Gives::Points(80)), spend_min: 10_000, ..pb::Promotion::default() };
    let other = pb::Terms { points_per_unit: "0.5".to_owned(), ..promoted(big) };
    let told = outcome(&suite, trying(other.clone())).await;
    let gives = |purchases, points| PromotionResult { promotion_id: "p".to_owned(), purchases, points };
    assert_eq!(told.promotions, [gives(2, 160)]);
    assert_eq!((told.points, told.simulated_points, told.gaining_members, told.losing_members), (260, 260 + 30, 1, 2));
    let difference = |owner, points, simulated_points| Difference { member: member(owner), points, simulated_points };
    assert_eq!(told.top_gains, [difference(1, 200, 260)]);
    assert_eq!(told.top_losses, [difference(3, 50, 25), difference(2, 10, 5)]);
    // Only what was bought in the time.
    let nothing = outcome(&suite, pb::SimulateTermsRequest { start_time: Some(timestamp(START + DAY)), ..trying(other) }).await;
    assert_eq!((nothing.complete, nothing.members, nothing.purchases), (true, 0, 0));
    suite.stop().await;
}

async fn what_was_bought_before_counts_as_bought(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "a", 100).await;
    suite.clock.advance(10 * DAY);
    suite.award(1, "b", 100).await;
    suite.award(2, "c", 100).await;
    suite.clock.advance(DAY);
    let later = |promotion| pb::SimulateTermsRequest { start_time: Some(timestamp(START + DAY)), ..trying(promoted(promotion)) };
    let points = Some(Gives::Points(7));
    let welcome = pb::Promotion { gives: points.clone(), purchase_number: 1, ..pb::Promotion::default() };
    assert_eq!(outcome(&suite, later(welcome)).await.simulated_points, 1 + 8, "the first has bought before");
    let come_back = pb::Promotion { gives: points, dormant_days: 10, ..pb::Promotion::default() };
    assert_eq!(outcome(&suite, later(come_back)).await.simulated_points, 8 + 1);
    suite.stop().await;
}

/// What a budget would have to be, not what it has left; and what each member may get is asked.
async fn what_members_share_is_left_out(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (buyer, id) in [(1, "a"), (1, "b"), (2, "c"), (3, "d")] {
        suite.award(buyer, id, 1_000).await;
    }
    suite.platform().return_purchase(down_to("d", 400)).await.unwrap();
    suite.clock.advance(DAY);
    let budget = pb::PromotionBudget { points_max: 5, period: Period::Ever.into(), ..Default::default() };
    let double = pb::Promotion { gives: Some(Gives::Multiplier("2".to_owned())), budget: Some(budget), ..Default::default() };
    let limit = |limit_id: &str, scope: Scope, times_max, points_max, on_exceed: OnExceed| pb::AwardLimit {
        limit_id: limit_id.to_owned(),
        scope: scope.into(),
        period: Period::Ever.into(),
        times_max,
        points_max,
        on_exceed: on_exceed.into(),
    };
    let limits = vec![limit("all", Scope::Program, 0, 1, OnExceed::Reject), limit("own", Scope::Member, 1, 0, OnExceed::Reject)];
    let told = outcome(&suite, trying(pb::Terms { limits, ..promoted(double) })).await;
    assert_eq!((told.purchases, told.points, told.simulated_points), (4, 34, 20 + 20 + 8), "one each");
    assert_eq!(told.promotions, [PromotionResult { promotion_id: "p".to_owned(), purchases: 3, points: 24 }]);
}

async fn what_lapses_is_told_apart(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after: days(10), ..terms() }).await;
    suite.award(1, "old", 10_000).await;
    suite.clock.advance(9 * DAY);
    suite.award(1, "new", 3_000).await;
    suite.platform().return_purchase(down_to("old", 6_000)).await.unwrap();
    suite.clock.advance(2 * DAY);
    // Spending changes nothing here: it would be done under either terms.
    suite.platform().redeem(redeem(1, 5)).await.unwrap();
    let told = async |terms: pb::Terms| {
        let told = outcome(&suite, trying(terms)).await;
        (told.points, told.lapsed_points, told.simulated_points, told.simulated_lapsed_points)
    };
    assert_eq!(told(pb::Terms { expire_after: days(10), ..terms() }).await, (90, 60, 90, 60));
    assert_eq!(told(pb::Terms { expire_after: days(30), ..terms() }).await, (90, 60, 90, 0));
    let shorter = pb::Terms { points_per_unit: "2".to_owned(), expire_after: days(2), ..terms() };
    assert_eq!(told(shorter).await, (90, 60, 180, 180));
    assert_eq!(told(pb::Terms { expire_after_inactivity: days(1), ..terms() }).await, (90, 60, 90, 0));
    suite.stop().await;
}

async fn many_members_come_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for buyer in 1..=230 {
        suite.award(buyer, &format!("p{buyer}"), 100 * i64::try_from(buyer).unwrap()).await;
    }
    suite.clock.advance(DAY);
    let answers = simulate(&suite, trying(pb::Terms { points_per_unit: "2".to_owned(), ..terms() })).await;
    let members: Vec<i64> = answers.iter().map(|answer| answer.members).collect();
    assert_eq!(members, [200, 230, 230]);
    let last = answers.last().unwrap();
    assert_eq!((last.points, last.simulated_points), (230 * 231 / 2, 230 * 231));
    let top: Vec<i64> = last.top_gains.iter().map(|one| one.points).collect();
    assert_eq!(top, (221..=230).rev().collect::<Vec<_>>());
    suite.stop().await;
}

async fn bad_terms_are_not_tried(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut analyst = suite.client(Role::Analyst).await;
    let bad = promoted(pb::Promotion { gives: Some(Gives::Multiplier("0.5".to_owned())), ..pb::Promotion::default() });
    assert_eq!(wrong_fields(analyst.simulate_terms(trying(bad)).await), ["terms.promotions[0].multiplier"]);
    let backwards = pb::SimulateTermsRequest { end_time: Some(timestamp(START)), ..trying(terms()) };
    assert_eq!(wrong_fields(analyst.simulate_terms(backwards).await), ["end_time"]);
    let endless = pb::SimulateTermsRequest { start_time: None, ..trying(terms()) };
    assert_eq!(wrong_fields(analyst.simulate_terms(endless).await), ["start_time"]);
    suite.stop().await;
}
