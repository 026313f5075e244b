//! Challenges whose terms change, and what is given again, over the wire.

use proto::common::Role;
use proto::points as pb;
use proto::points::challenge::Shape;
use proto::points::streak::Cadence;
use proto::points::terms::ReturnPolicy;
use testkit::TestEngine;

use super::challenges::{a_cup, challenging, points, told, visits, vouchers};
use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(a_voucher_is_had_once_by_whatever_name, a_streak_of_another_length_begins_anew, what_was_taken_is_given_again,);

async fn a_voucher_is_had_once_by_whatever_name(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[a_cup()])).await;
    rewards(&suite, Role::Administrator).await.create_reward(create_with("cup", 10, |terms| terms.stock = Some(5))).await.unwrap();
    let mut platform = rewards(&suite, Role::Platform).await;
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
    suite.award(1, "p1", 100).await;
    suite.award(1, "p2", 100).await;
    vouchers(&suite, 1, 1).await;
    // Taken back before it was used, it is given again by the other name.
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    vouchers(&suite, 1, 0).await;
    assert_eq!(told(&suite.award(2, "p3", 100).await.challenges), ["visits 2/0 +[programs/tea/rewards/cup] -[]"]);
    let usable = |all: Vec<pb::Voucher>| all.into_iter().filter(|voucher| voucher.state() == pb::VoucherState::Usable);
    let all = testkit::eventually(async || {
        let mut all: Vec<_> = usable(vouchers_of(&suite, 1).await).collect();
        all.extend(usable(vouchers_of(&suite, 2).await));
        all.dedup_by(|one, other| one.name == other.name);
        (!all.is_empty()).then_some(all)
    })
    .await;
    let [good] = &all[..] else { panic!("one voucher: {all:?}") };
    // Used, it is not.
    platform.use_voucher(use_for("order-1", &good.code, basket("tea", 10_000))).await.unwrap();
    for (back, number, next) in [("p2", 2, "p4"), ("p4", 1, "p5")] {
        suite.platform().return_purchase(down_to(back, 0)).await.unwrap();
        assert_eq!(told(&suite.award(number, next, 100).await.challenges), ["visits 2/0 +[programs/tea/rewards/cup] -[]"]);
    }
    // A voucher of someone else comes after those that were to be seen to before.
    suite.award(3, "q1", 100).await;
    suite.award(3, "q2", 100).await;
    vouchers(&suite, 3, 1).await;
    assert_eq!(usable(vouchers_of(&suite, 1).await).chain(usable(vouchers_of(&suite, 2).await)).count(), 0);
    suite.verified().await;
    suite.stop().await;
}

async fn vouchers_of(suite: &Suite, owner: u128) -> Vec<pb::Voucher> {
    let request = pb::ListVouchersRequest { parent: member(owner), ..Default::default() };
    rewards(suite, Role::Platform).await.list_vouchers(request).await.unwrap().into_inner().vouchers
}

async fn a_streak_of_another_length_begins_anew(engine: TestEngine) {
    let in_a_row = |length| {
        let streak = pb::Streak { cadence: Cadence::Purchase.into(), length, gives: points(100), ..pb::Streak::default() };
        pb::Challenge { shape: Some(Shape::Streak(streak)), ..visits(&[]) }
    };
    let suite = Suite::with_terms(engine, challenging(&[in_a_row(2)])).await;
    let buys = async |number: u32| suite.award(1, &format!("p{number}"), 1).await.actual_points;
    let mut given = Vec::new();
    for number in 1..=6 {
        given.push(buys(number).await);
    }
    assert_eq!(given, [0, 100, 0, 100, 0, 100]);
    let terms = challenging(&[in_a_row(3)]);
    let what = pb::validate_terms_request::What::Terms(terms.clone());
    let asked = pb::ValidateTermsRequest { parent: TEA.to_owned(), what: Some(what), start_time: None };
    let findings = suite.administrator().validate_terms(asked).await.unwrap().into_inner().findings;
    assert_eq!(findings.iter().map(|found| found.field.as_str()).collect::<Vec<_>>(), ["terms.challenges[0].challenge_id"]);
    suite.clock.advance(DAY);
    suite.administrator().create_program_version(new_version(terms)).await.unwrap();
    suite.clock.advance(DAY);
    given.clear();
    for number in 7..=12 {
        given.push(buys(number).await);
    }
    assert_eq!(given, [0, 0, 100, 0, 0, 100]);
    // What goes back takes the gift of its own streak, the others stay.
    for (number, says) in [(11, "visits 1/3 +[] -[100]"), (10, "visits 1/3 +[] -[]"), (4, "visits 0/2 +[] -[100]")] {
        let back = suite.platform().return_purchase(down_to(&format!("p{number}"), 0)).await.unwrap().into_inner();
        assert_eq!(told(&back.challenges), [says], "{number}");
    }
    assert_eq!(suite.figures(1).await.0, 300);
    suite.verified().await;
    suite.stop().await;
}

async fn what_was_taken_is_given_again(engine: TestEngine) {
    let terms = pb::Terms { return_policy: ReturnPolicy::WithinBalance.into(), ..challenging(&[visits(&[(2, 300)])]) };
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 1).await;
    assert_eq!(suite.award(1, "p2", 1).await.actual_points, 300);
    suite.platform().redeem(redeem(1, 1)).await.unwrap();
    let back = suite.platform().return_purchase(down_to("p2", 0)).await.unwrap().into_inner();
    assert_eq!(told(&back.challenges), ["visits 1/2 +[] -[299]"]);
    let suite = suite.restart().await;
    let again = suite.award(1, "p3", 1).await;
    assert_eq!((told(&again.challenges), again.actual_points), (vec!["visits 2/0 +[299] -[]".to_owned()], 299));
    // What was spent whole stays whole: it is in the books, and nothing is had or lost by it.
    suite.platform().redeem(redeem(1, 299)).await.unwrap();
    let back = suite.platform().return_purchase(down_to("p3", 0)).await.unwrap().into_inner();
    assert_eq!(told(&back.challenges), ["visits 1/2 +[] -[]"]);
    let again = suite.award(1, "p4", 1).await;
    assert_eq!((told(&again.challenges), again.actual_points), (vec!["visits 2/0 +[] -[]".to_owned()], 0));
    suite.verified().await;
    suite.stop().await;
}
