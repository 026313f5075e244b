//! Several earn rates, and what of a purchase counts, over the wire.

use proto::points as pb;
use proto::points::terms::Basis;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    lines_earn_at_their_rates,
    tax_and_discounts_count_as_the_terms_say,
    an_amount_that_goes_back_takes_as_much_of_each_rate,
    another_tax_is_another_purchase,
);

fn rate(id: &str, points: &str, category: &str) -> pb::EarnRate {
    let lines = Some(pb::LineFilter { categories: vec![category.to_owned()], ..pb::LineFilter::default() });
    pb::EarnRate { rate_id: id.to_owned(), points_per_unit: points.to_owned(), lines, ..pb::EarnRate::default() }
}

/// Coffee two and a half for a yuan, tobacco nothing, the rest one; with a doubled coffee.
fn rated() -> pb::Terms {
    let double = pb::Promotion {
        promotion_id: "double".to_owned(),
        title: "Double coffee".to_owned(),
        gives: Some(pb::promotion::Gives::Multiplier("2".to_owned())),
        lines: rate("", "", "coffee").lines,
        ..pb::Promotion::default()
    };
    pb::Terms { earn_rates: vec![rate("tobacco", "0", "tobacco"), rate("coffee", "2.5", "coffee")], promotions: vec![double], ..terms() }
}

/// Two coffees, tobacco and a cake: net, tax, discount.
fn basket(id: &str) -> pb::AwardRequest {
    let line = |line_id: &str, category: &str, quantity, [net_minor_units, tax_minor_units, discount_minor_units]: [i64; 3]| {
        let (line_id, category, sku) = (line_id.to_owned(), category.to_owned(), String::new());
        pb::PurchaseLine { line_id, sku, category, quantity, net_minor_units, tax_minor_units, discount_minor_units }
    };
    with(award(1, id, 4_000), |request| {
        input(request).lines = vec![
            line("c", "coffee", 2, [1_000, 130, 200]),
            line("t", "tobacco", 1, [2_000, 260, 0]),
            line("k", "cake", 1, [1_000, 130, 0]),
        ];
    })
}

fn parts(award: &pb::AwardExplanation) -> Vec<(&str, &str, i64)> {
    award.components.iter().map(|part| (part.source.as_str(), part.factor.as_str(), part.points)).collect()
}

async fn lines_earn_at_their_rates(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rated()).await;
    let previewed = suite.platform().preview_award(preview(&basket("p"))).await.unwrap().into_inner();
    let done = suite.platform().award(basket("p")).await.unwrap().into_inner();
    let award = done.award.clone().unwrap();
    assert_eq!(parts(&award), [("base", "1", 10), ("base:tobacco", "0", 0), ("base:coffee", "2.5", 25), ("promotion:double", "2", 25)]);
    assert_eq!((award.base_points, award.bonus_points, done.actual_points), (35, 25, 60));
    assert_eq!((previewed.points, previewed.award.unwrap().components), (60, award.components));
    suite.stands(&done).await;
    let mut left = Vec::new();
    for back in [give_back("p", &[("t", 1)]), give_back("p", &[("c", 1)]), give_back("p", &[("k", 1)]), give_back("p", &[("c", 1)])] {
        suite.platform().return_purchase(back).await.unwrap();
        left.push(suite.purchase("p").await.due_points);
    }
    assert_eq!(left, [60, 10 + 12 + 12, 24, 0]);
    suite.verified().await;
}

async fn tax_and_discounts_count_as_the_terms_say(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rated()).await;
    let bases = [(Basis::Unspecified, 25), (Basis::WithTax, 28), (Basis::BeforeDiscounts, 30), (Basis::BeforeDiscountsWithTax, 33)];
    for (number, (basis, coffee)) in bases.into_iter().enumerate() {
        suite.new_terms(pb::Terms { basis: basis.into(), ..rated() }, suite.now()).await;
        let done = suite.platform().award(basket(&format!("p{number}"))).await.unwrap().into_inner();
        assert_eq!(parts(&done.award.unwrap())[2], ("base:coffee", "2.5", coffee), "{basis:?}");
    }
    // Without lines the purchase tells it, and keeps it.
    let told = with(award(1, "whole", 1_000), |request| {
        (input(request).tax_minor_units, input(request).discount_minor_units) = (130, 500);
    });
    assert_eq!(suite.platform().award(told).await.unwrap().into_inner().actual_points, 16);
    let kept = suite.purchase("whole").await;
    assert_eq!((kept.tax_minor_units, kept.discount_minor_units, kept.base_points), (130, 500, 16));
    suite.platform().return_purchase(down_to("whole", 500)).await.unwrap();
    assert_eq!(suite.purchase("whole").await.base_points, 8);
    let line = &suite.purchase("p0").await.lines[0];
    assert_eq!((line.tax_minor_units, line.discount_minor_units), (130, 200));
    suite.verified().await;
}

async fn an_amount_that_goes_back_takes_as_much_of_each_rate(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { promotions: Vec::new(), ..rated() }).await;
    suite.platform().award(basket("p")).await.unwrap();
    suite.platform().return_purchase(down_to("p", 2_000)).await.unwrap();
    assert_eq!(suite.purchase("p").await.due_points, 5 + 12, "half of each");
    // The process that goes on has only what is stored.
    let suite = suite.restart().await;
    suite.platform().return_purchase(give_back("p", &[("t", 1)])).await.unwrap();
    assert_eq!(suite.purchase("p").await.due_points, 5 + 12, "nothing rises");
    suite.platform().return_purchase(give_back("p", &[("c", 2)])).await.unwrap();
    assert_eq!(suite.purchase("p").await.due_points, 5);
    suite.platform().return_purchase(down_to("p", 0)).await.unwrap();
    assert_eq!(suite.purchase("p").await.due_points, 0);
    suite.verified().await;
}

async fn another_tax_is_another_purchase(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rated()).await;
    suite.platform().award(basket("p")).await.unwrap();
    let again = suite.platform().award(basket("p")).await.unwrap();
    assert!(replayed(&again));
    let other = with(basket("p"), |request| input(request).lines[0].tax_minor_units = 131);
    let refused = suite.platform().award(other).await;
    assert_eq!(metadata(&refused, "field"), "purchase.lines");
    assert_eq!(refusal(refused), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
    suite.stop().await;
}
