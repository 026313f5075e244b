//! Goods that go back, and what becomes of their points.

use std::time::Duration;

use proto::common::Role;
use proto::points as pb;
use proto::points::terms::ReturnPolicy;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    lines_go_back_piece_by_piece,
    money_goes_back_step_by_step,
    every_way_of_returning_ends_alike,
    strangers_bring_back_too,
    what_was_spent_is_owed_and_repaid,
    the_terms_bound_what_is_owed,
    pending_points_alone_are_taken_where_the_terms_say_so,
    the_terms_of_the_day_hold,
    a_return_beside_its_purchase_loses_nothing,
    a_return_that_came_too_early_is_refused,
);

async fn lines_go_back_piece_by_piece(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    platform.award(award_lines(1, "p1", &[("a", 3, 10_000), ("b", 1, 5_000)])).await.unwrap();
    let operation = platform.return_purchase(give_back("p1", &[("a", 2)])).await.unwrap().into_inner();
    // One of three pieces keeps 33.33 of 100.00.
    let told = operation.r#return.clone().unwrap();
    assert_eq!((operation.kind(), operation.actual_points), (pb::operation::Kind::Return, -67));
    assert_eq!((told.returned, told.remaining, told.due_points), (yuan(6_667), yuan(8_333), 83));
    assert_eq!((told.taken_from_pending, told.taken_from_active, told.added_to_deficit, told.forgiven), (0, 67, 0, 0));
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.returned_quantities, kept.remaining_net, kept.due_points, kept.returns), (vec![2, 0], yuan(8_333), 83, 1));

    let much = platform.return_purchase(give_back("p1", &[("b", 1), ("a", 2)])).await;
    assert_eq!(metadata(&much, "left"), "1");
    assert_eq!(precondition(much), "EXCEEDS_PURCHASE");
    let unknown = platform.return_purchase(give_back("p1", &[("b", 1), ("c", 1)])).await;
    assert_eq!(metadata(&unknown, "line_id"), "c");
    assert_eq!(precondition(unknown), "LINE_NOT_FOUND");
    assert_eq!(suite.figures(1).await.0, 83, "a refused return takes back nothing of it");
    platform.return_purchase(give_back("p1", &[("b", 1), ("a", 1)])).await.unwrap();
    assert_eq!(precondition(platform.return_purchase(give_back("p1", &[("b", 1)])).await), "EXCEEDS_PURCHASE", "twice");
    assert_eq!((suite.figures(1).await, suite.purchase("p1").await.remaining_net), ((0, 0, 0, 0), yuan(0)));
    suite.verified().await;
}

async fn money_goes_back_step_by_step(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let half = down_to("p1", 4_950);
    let operation = platform.return_purchase(half.clone()).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, operation.r#return.unwrap().due_points), (-51, 49));
    assert!(replayed(&platform.return_purchase(half).await.unwrap()));
    assert_eq!(precondition(platform.return_purchase(down_to("p1", 4_950)).await), "NOTHING_TO_RETURN");
    let much = platform.return_purchase(down_to("p1", 4_951)).await;
    assert_eq!(metadata(&much, "left"), "4950");
    assert_eq!(precondition(much), "EXCEEDS_PURCHASE");
    assert_eq!(precondition(platform.return_purchase(give_back("p1", &[("a", 1)])).await), "LINE_NOT_FOUND", "it has no lines");
    platform.return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!(precondition(platform.return_purchase(down_to("p1", 0)).await), "NOTHING_TO_RETURN");
    assert_eq!(refusal(platform.return_purchase(down_to("p2", 0)).await), (Code::NotFound, "PURCHASE_NOT_FOUND".to_owned()));
    assert_eq!(suite.story(1).await, ["AWARD 100", "CLAWBACK -51", "CLAWBACK -49"]);
}

async fn every_way_of_returning_ends_alike(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { points_per_unit: "1.37".to_owned(), ..terms() }).await;
    let mut platform = suite.platform();
    let lines = [("a", 3, 9_999), ("b", 4, 12_345), ("c", 1, 7)];
    let ways: [&[&[(&str, i64)]]; 5] = [
        &[&[("a", 2), ("b", 3), ("c", 1)]],
        &[&[("a", 1)], &[("a", 1)], &[("b", 1)], &[("b", 1)], &[("b", 1)], &[("c", 1)]],
        &[&[("c", 1), ("b", 3)], &[("a", 2)]],
        &[&[("b", 2)], &[("a", 1), ("b", 1)], &[("c", 1), ("a", 1)]],
        &[&[("a", 2)], &[("c", 1)], &[("b", 3)]],
    ];
    let mut ends = Vec::new();
    for (number, way) in (1..).zip(ways) {
        let id = format!("p{number}");
        platform.award(award_lines(number, &id, &lines)).await.unwrap();
        // Some are spent on the way, so that a deficit comes up in the middle of some ways.
        platform.redeem(redeem(number, 200)).await.unwrap();
        for step in way {
            platform.return_purchase(give_back(&id, step)).await.unwrap();
        }
        let kept = suite.purchase(&id).await;
        ends.push((suite.figures(number).await, kept.due_points, kept.base_points, kept.remaining_net, kept.returned_quantities));
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    // 33.33 and 30.86 are left: 87 points.
    assert_eq!((ends[0].0, ends[0].1), ((0, 0, 0, 200 - 87), 87));
    suite.verified().await;
}

async fn strangers_bring_back_too(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    platform.award(award_lines(0, "p1", &[("a", 2, 10_000)])).await.unwrap();
    let request = give_back("p1", &[("a", 1)]);
    let operation = platform.return_purchase(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.member.as_str(), operation.entries.len(), operation.balance, operation.actual_points), ("", 0, None, 0));
    assert_eq!(operation.r#return.unwrap().remaining, yuan(5_000));
    assert!(replayed(&platform.return_purchase(request).await.unwrap()));
    platform.return_purchase(down_to("p1", 1_000)).await.unwrap();
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.remaining_net, kept.returns, kept.due_points), (yuan(1_000), 2, 0));
    // Many at once: each asks for another amount, and none is lost.
    let returns = (1..=20).map(|step| {
        let mut platform = suite.platform();
        async move { platform.return_purchase(down_to("p1", 1_000 - 50 * step)).await.is_ok() }
    });
    let done = futures::future::join_all(returns).await.into_iter().filter(|done| *done).count();
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.remaining_net, usize::try_from(kept.returns).unwrap()), (yuan(0), 2 + done));
}

async fn what_was_spent_is_owed_and_repaid(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.redeem(redeem(1, 80)).await.unwrap();
    let told = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_active, told.added_to_deficit, told.forgiven), (20, 80, 0));
    assert_eq!(suite.figures(1).await, (0, 0, 0, 80));
    let repaid = suite.award(1, "p2", 5_000).await;
    assert_eq!((repaid.entries[0].deficit_delta, repaid.entries[0].deficit_after, repaid.actual_points), (-50, 30, 50));
    let support = suite.client(Role::Support).await.adjust(adjust(1, 40)).await.unwrap().into_inner();
    assert_eq!(support.entries[0].deficit_delta, -30);
    assert_eq!(suite.figures(1).await, (10, 0, 0, 0));
    suite.verified().await;
}

async fn the_terms_bound_what_is_owed(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { deficit_cap: 30, ..terms() }).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.redeem(redeem(1, 80)).await.unwrap();
    let told = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_active, told.added_to_deficit, told.forgiven), (20, 30, 50));
    suite.clock.advance(DAY);
    suite.new_terms(pb::Terms { return_policy: ReturnPolicy::WithinBalance.into(), ..terms() }, suite.now()).await;
    suite.award(2, "p2", 10_000).await;
    platform.redeem(redeem(2, 80)).await.unwrap();
    let told = platform.return_purchase(down_to("p2", 0)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_active, told.added_to_deficit, told.forgiven), (20, 0, 80));
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((0, 0, 0, 30), (0, 0, 0, 0)));
    suite.verified().await;
}

async fn pending_points_alone_are_taken_where_the_terms_say_so(engine: TestEngine) {
    let only_pending = pb::Terms { return_policy: ReturnPolicy::OnlyPending.into(), activate_after: days(14), ..terms() };
    let suite = Suite::with_terms(engine, only_pending).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let told = platform.return_purchase(down_to("p1", 4_000)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_pending, told.forgiven), (60, 0));
    suite.clock.advance(14 * DAY);
    let told = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_pending, told.taken_from_active, told.forgiven), (0, 0, 40));
    assert_eq!(suite.figures(1).await, (40, 0, 0, 0));
    suite.verified().await;
}

async fn the_terms_of_the_day_hold(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(DAY);
    suite.new_terms(pb::Terms { points_per_unit: "5".to_owned(), ..terms() }, suite.now()).await;
    let operation = suite.platform().return_purchase(down_to("p1", 5_000)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, operation.entries[0].program_version.as_str()), (-50, "programs/tea/versions/1"));
    assert_eq!(suite.award(1, "p2", 10_000).await.actual_points, 500);
}

async fn a_return_beside_its_purchase_loses_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let both = (1..=60).map(|number: u128| {
        let (mut buys, mut brings) = (suite.platform(), suite.platform());
        async move {
            let id = format!("p{number}");
            let (bought, returned) = tokio::join!(buys.award(award(number, &id, 10_000)), brings.return_purchase(down_to(&id, 0)));
            bought.unwrap();
            (number, returned)
        }
    });
    took_back_all_or_nothing(&suite, futures::future::join_all(both).await).await;
}

/// A return is looked up before its purchase is recorded, and has its turn after: whose account it concerns was not known, so the
/// account was not locked.
async fn a_return_that_came_too_early_is_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let held = suite.lock(1).await;
    // One lane waits for the account. About half of the returns queue there, and half of their awards do not.
    let mut spends = suite.platform();
    let busy = tokio::spawn(async move { spends.redeem(redeem(1, 1)).await.unwrap() });
    let pause = Duration::from_millis(200);
    tokio::time::sleep(pause).await;
    let (mut returns, mut awards) = (Vec::new(), Vec::new());
    for number in 2..=25_u128 {
        let mut platform = suite.platform();
        let id = format!("p{number}");
        returns.push(tokio::spawn(async move { (number, platform.return_purchase(down_to(&id, 0)).await) }));
    }
    tokio::time::sleep(pause).await;
    for number in 2..=25_u128 {
        let mut platform = suite.platform();
        awards.push(tokio::spawn(async move { platform.award(award(number, &format!("p{number}"), 10_000)).await.unwrap() }));
    }
    tokio::time::sleep(pause).await;
    drop(held);
    busy.await.unwrap();
    for bought in awards {
        bought.await.unwrap();
    }
    let returned = futures::future::join_all(returns).await.into_iter().map(|returned| returned.unwrap());
    took_back_all_or_nothing(&suite, returned.collect()).await;
}

/// A return that overtakes its purchase is refused, or takes back all of it: never a part.
async fn took_back_all_or_nothing(suite: &Suite, returns: Vec<(u128, Result<tonic::Response<pb::Operation>, tonic::Status>)>) {
    for (number, returned) in returns {
        let left = match returned {
            Ok(returned) => 100 + returned.into_inner().actual_points,
            Err(status) => {
                assert_eq!(code_and_reason(&status), (Code::NotFound, "PURCHASE_NOT_FOUND".to_owned()));
                100
            }
        };
        let due = suite.purchase(&format!("p{number}")).await.due_points;
        assert_eq!((suite.figures(number).await.0, due), (left, left));
    }
    suite.verified().await;
}
