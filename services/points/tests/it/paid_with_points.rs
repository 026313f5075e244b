//! Orders that points paid for, and their returns: what was spent comes back, what was earned is taken back.

use futures::future::join_all;
use proto::common::Role;
use proto::events::event::Payload;
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_return_gives_back_in_proportion,
    any_partition_of_a_return_gives_back_alike,
    what_costs_only_points_goes_back_by_pieces,
    the_caller_may_say_how_many_points_go_back,
    a_refund_beside_its_return_gives_back_once,
    only_redemptions_of_the_buyer_pay,
    a_preview_refuses_what_an_award_refuses,
    buying_refunding_and_keeping_gains_nothing,
    what_lapsed_meanwhile_is_told,
    one_redemption_pays_two_orders_and_goes_back_once,
    what_was_given_back_before_did_not_pay,
    what_paid_while_two_were_one_goes_back_to_the_survivor,
    what_paid_from_several_accounts_is_given_back_by_itself,
);

/// A purchase that redemptions paid a part of.
pub(crate) fn paid(owner: u128, id: &str, lines: &[(&str, i64, i64)], redemptions: &[&str]) -> pb::AwardRequest {
    with(award_lines(owner, id, lines), |request| {
        input(request).redemptions = redemptions.iter().map(|name| (*name).to_owned()).collect();
    })
}

async fn spend(suite: &Suite, owner: u128, points: i64) -> String {
    suite.platform().redeem(redeem(owner, points)).await.unwrap().into_inner().name
}

async fn a_return_gives_back_in_proportion(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 30_000).await;
    let held = hold(&suite.reserve(1, 80).await);
    let one = platform.capture(capture(&held, Some(60))).await.unwrap().into_inner().name;
    let two = spend(&suite, 1, 40).await;
    let request = paid(1, "p1", &[("a", 2, 5_000), ("b", 1, 5_000)], &[&one, &two]);
    let bought = platform.award(request.clone()).await.unwrap().into_inner();
    assert_eq!((bought.actual_points, suite.figures(1).await), (100, (300, 0, 0, 0)));
    suite.stands(&bought).await;
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.redeemed_points, kept.given_back_points), (100, 0));

    let back = give_back("p1", &[("a", 1)]);
    let operation = platform.return_purchase(back.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.actual_points), (pb::operation::Kind::Return, 0), "25 come back and 25 are taken back");
    assert_eq!(story(&operation.entries), ["REFUND 25", "CLAWBACK -25"]);
    let told = operation.r#return.clone().unwrap();
    assert_eq!((told.due_points, told.taken_from_active, told.added_to_deficit), (75, 25, 0));
    let refunded = pb::RefundExplanation { points: 25, repaid_points: 0, lapsed_points: 0, redemptions: vec![one.clone()] };
    assert_eq!((told.refund, operation.refund.clone()), (Some(refunded), None));
    assert_eq!((&operation.entries[0].redemption, &operation.entries[0].purchase), (&one, &purchase("p1")));
    suite.stands(&operation).await;
    assert!(replayed(&platform.return_purchase(back).await.unwrap()));
    assert_eq!(suite.purchase("p1").await.given_back_points, 25);

    let operation = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner();
    let told = operation.r#return.clone().unwrap().refund.unwrap();
    assert_eq!((told.points, told.redemptions), (75, vec![one, two]));
    assert_eq!(story(&operation.entries), ["REFUND 35", "REFUND 40", "CLAWBACK -75"]);
    suite.stands(&operation).await;
    assert_eq!((suite.figures(1).await, suite.purchase("p1").await.given_back_points), ((300, 0, 0, 0), 100));
    let Some(proto::events::event::Payload::PurchaseReturned(event)) = &suite.events(7).await[5].payload else { panic!("a return") };
    let told: Vec<_> = event.postings.iter().map(|posting| (posting.kind.as_str(), posting.points)).collect();
    assert_eq!((told, event.awarded_points_delta), (vec![("REFUND", 25), ("CLAWBACK", -25)], -25));
    suite.verified().await;
}

async fn any_partition_of_a_return_gives_back_alike(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { points_per_unit: "1.37".to_owned(), ..terms() }).await;
    let mut platform = suite.platform();
    let lines = [("a", 3, 9_999), ("b", 4, 12_345), ("c", 1, 7)];
    let ways: [&[&[(&str, i64)]]; 4] = [
        &[&[("a", 2), ("b", 3), ("c", 1)]],
        &[&[("a", 1)], &[("a", 1)], &[("b", 1)], &[("b", 1)], &[("b", 1)], &[("c", 1)]],
        &[&[("c", 1), ("b", 3)], &[("a", 2)]],
        &[&[("b", 2)], &[("a", 1), ("b", 1)], &[("c", 1), ("a", 1)]],
    ];
    let mut ends = Vec::new();
    for (owner, way) in (1..).zip(ways) {
        let id = format!("p{owner}");
        suite.award(owner, &format!("q{owner}"), 20_000).await;
        let (one, two) = (spend(&suite, owner, 101).await, spend(&suite, owner, 66).await);
        platform.award(paid(owner, &id, &lines, &[&one, &two])).await.unwrap();
        for step in way {
            platform.return_purchase(give_back(&id, step)).await.unwrap();
        }
        let kept = suite.purchase(&id).await;
        ends.push((suite.figures(owner).await, kept.due_points, kept.given_back_points, kept.remaining_net));
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    suite.verified().await;
}

async fn what_costs_only_points_goes_back_by_pieces(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    let spent = spend(&suite, 1, 100).await;
    let bought = platform.award(paid(1, "p1", &[("mug", 2, 0), ("cup", 1, 0)], &[&spent])).await.unwrap().into_inner();
    assert_eq!(bought.actual_points, 0);
    let operation = platform.return_purchase(give_back("p1", &[("mug", 1)])).await.unwrap().into_inner();
    // Two of three pieces are left: they keep 66 of 100.
    assert_eq!((operation.actual_points, operation.r#return.clone().unwrap().refund.unwrap().points), (34, 34));
    suite.stands(&operation).await;
    platform.return_purchase(give_back("p1", &[("mug", 1), ("cup", 1)])).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.purchase("p1").await.given_back_points), ((100, 0, 0, 0), 100));
    suite.verified().await;
}

async fn the_caller_may_say_how_many_points_go_back(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    let spent = spend(&suite, 1, 100).await;
    platform.award(paid(1, "p1", &[("a", 4, 10_000)], &[&spent])).await.unwrap();
    let giving = |pieces, points| with(give_back("p1", &[("a", pieces)]), |request| request.give_back_points = Some(points));
    let none = giving(1, 0);
    let operation = platform.return_purchase(none.clone()).await.unwrap().into_inner();
    assert_eq!((story(&operation.entries), operation.r#return.unwrap().refund), (vec!["CLAWBACK -25".to_owned()], None));
    for points in [None, Some(1)] {
        let reused = platform.return_purchase(with(none.clone(), |request| request.give_back_points = points)).await;
        assert_eq!(metadata(&reused, "field"), "give_back_points");
        assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    }
    let operation = platform.return_purchase(giving(1, 90)).await.unwrap().into_inner();
    assert_eq!(operation.r#return.unwrap().refund.unwrap().points, 90);
    let much = platform.return_purchase(giving(1, 11)).await;
    assert_eq!(metadata(&much, "left_points"), "10");
    assert_eq!(precondition(much), "EXCEEDS_REDEMPTION");
    // More has gone back than its share already: nothing of this part, and the rest with the last.
    let operation = platform.return_purchase(give_back("p1", &[("a", 1)])).await.unwrap().into_inner();
    assert_eq!(operation.r#return.unwrap().refund, None);
    let operation = platform.return_purchase(give_back("p1", &[("a", 1)])).await.unwrap().into_inner();
    assert_eq!(operation.r#return.unwrap().refund.unwrap().points, 10);
    assert_eq!((suite.figures(1).await, suite.purchase("p1").await.given_back_points), ((100, 0, 0, 0), 100));
    // Of a purchase that money alone paid for, no points are left.
    let refused = platform.return_purchase(with(down_to("p0", 0), |request| request.give_back_points = Some(1))).await;
    assert_eq!(metadata(&refused, "left_points"), "0");
    assert_eq!(precondition(refused), "EXCEEDS_REDEMPTION");
    assert_eq!(suite.purchase("p0").await.returns, 0);
    suite.verified().await;
}

async fn a_refund_beside_its_return_gives_back_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    for round in 1..=5_u128 {
        suite.award(round, &format!("q{round}"), 10_000).await;
        let spent = spend(&suite, round, 100).await;
        let id = format!("p{round}");
        suite.platform().award(paid(round, &id, &[("a", 10, 0)], &[&spent])).await.unwrap();
        let returns = (0..10).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let request = give_back(&id, &[("a", 1)]);
            async move { server.return_purchase(request).await.unwrap() }
        });
        let refunds = (0..10).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let request = refund(&spent, Some(15));
            async move { server.refund_redemption(request).await.is_ok() }
        });
        tokio::join!(join_all(returns), join_all(refunds));
        let _ = suite.platform().refund_redemption(refund(&spent, None)).await;
        assert_eq!(suite.figures(round).await, (100, 0, 0, 0));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn only_redemptions_of_the_buyer_pay(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let bought = suite.award(1, "p0", 10_000).await.name;
    suite.award(2, "q0", 10_000).await;
    let (own, anothers) = (spend(&suite, 1, 10).await, spend(&suite, 2, 10).await);
    let unknown = format!("{TEA}/operations/{}", uuid::Uuid::from_u128(3));
    for names in [vec![&anothers[..]], vec![&own, &anothers], vec![&bought], vec![&unknown]] {
        let request = paid(1, "p1", &[("a", 1, 100)], &names);
        assert_eq!(refusal(platform.award(request).await), (Code::NotFound, "REDEMPTION_NOT_FOUND".to_owned()));
    }
    assert_eq!(wrong_fields(platform.award(paid(1, "p1", &[("a", 1, 100)], &[&own, &own])).await), ["purchase.redemptions[1]"]);
    assert_eq!(wrong_fields(platform.award(paid(0, "p1", &[("a", 1, 100)], &[&own])).await), ["purchase.redemptions"]);
    let malformed = paid(1, "p1", &[("a", 1, 100)], &[&own, "programs/tea/operations/7"]);
    assert_eq!(wrong_fields(platform.award(malformed).await), ["purchase.redemptions[1]"]);
    let elsewhere = own.replace("programs/tea", "programs/coffee");
    assert_eq!(wrong_fields(platform.award(paid(1, "p1", &[("a", 1, 100)], &[&elsewhere])).await), ["purchase.redemptions[0]"]);
    // None of them has bound the purchase id.
    let request = paid(1, "p1", &[("a", 1, 100)], &[&own]);
    platform.award(request.clone()).await.unwrap();
    let other = with(request, |request| {
        request.request_id = request_id();
        input(request).redemptions.clear();
    });
    let exists = platform.award(other).await;
    assert_eq!(metadata(&exists, "field"), "purchase.redemptions");
    assert_eq!(refusal(exists), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
    suite.verified().await;
}

async fn a_preview_refuses_what_an_award_refuses(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    suite.award(2, "q0", 10_000).await;
    let (own, anothers) = (spend(&suite, 1, 10).await, spend(&suite, 2, 10).await);
    for (id, name, is_good) in [("p1", &own, true), ("p2", &anothers, false)] {
        let request = paid(1, id, &[("a", 1, 100)], &[name]);
        let shown = platform.preview_award(preview(&request)).await;
        let done = platform.award(request).await;
        assert_eq!((shown.is_ok(), done.is_ok()), (is_good, is_good));
        if !is_good {
            assert_eq!(refusal(shown), refusal(done));
        }
    }
}

async fn buying_refunding_and_keeping_gains_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    for round in 0..5 {
        let spent = spend(&suite, 1, 100).await;
        let id = format!("p1-{round}");
        platform.award(paid(1, &id, &[("a", 3, 20_000)], &[&spent])).await.unwrap();
        // What the purchase earned is spent before it goes back.
        let earned = spend(&suite, 1, 200).await;
        platform.return_purchase(give_back(&id, &[("a", 1)])).await.unwrap();
        platform.return_purchase(give_back(&id, &[("a", 2)])).await.unwrap();
        platform.refund_redemption(refund(&earned, None)).await.unwrap();
        assert_eq!(suite.figures(1).await, (100, 0, 0, 0), "round {round}");
    }
    suite.verified().await;
}

async fn what_lapsed_meanwhile_is_told(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after: days(10), ..terms() }).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    let spent = spend(&suite, 1, 100).await;
    suite.clock.advance(5 * DAY);
    platform.award(paid(1, "p1", &[("a", 1, 5_000)], &[&spent])).await.unwrap();
    suite.clock.advance(6 * DAY);
    let operation = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner();
    assert_eq!(story(&operation.entries), ["REFUND 100", "CLAWBACK -50", "EXPIRE -100"]);
    let told = operation.r#return.clone().unwrap();
    assert_eq!((told.refund.unwrap().lapsed_points, told.taken_from_active, operation.actual_points), (100, 50, 50));
    assert_eq!(operation.entries[2].effective_time, Some(timestamp(START + 10 * DAY)));
    suite.stands(&operation).await;
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn one_redemption_pays_two_orders_and_goes_back_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    let spent = spend(&suite, 1, 100).await;
    for id in ["p1", "p2"] {
        platform.award(paid(1, id, &[("a", 2, 0)], &[&spent])).await.unwrap();
    }
    // All of one, and half of the other: no more goes back than was spent.
    assert_eq!(platform.return_purchase(give_back("p1", &[("a", 2)])).await.unwrap().into_inner().actual_points, 100);
    assert_eq!(platform.return_purchase(give_back("p2", &[("a", 1)])).await.unwrap().into_inner().actual_points, 0);
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    suite.verified().await;
}

async fn what_was_given_back_before_did_not_pay(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p0", 10_000).await;
    let spent = spend(&suite, 1, 100).await;
    platform.refund_redemption(refund(&spent, Some(60))).await.unwrap();
    platform.award(paid(1, "p1", &[("a", 2, 0)], &[&spent])).await.unwrap();
    // What was left of the redemption paid for it.
    assert_eq!(suite.purchase("p1").await.redeemed_points, 40);
    for back in [20, 20] {
        let operation = platform.return_purchase(give_back("p1", &[("a", 1)])).await.unwrap().into_inner();
        assert_eq!(operation.actual_points, back);
    }
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    suite.verified().await;
}

async fn what_paid_while_two_were_one_goes_back_to_the_survivor(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 20_000).await;
    support.merge_accounts(merge(1, 2)).await.unwrap();
    let spent = spend(&suite, 2, 80).await;
    platform.award(paid(2, "q2", &[("a", 4, 4_000)], &[&spent])).await.unwrap();
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    let (survivor, buyer) = (suite.figures(1).await.0, suite.figures(2).await.0);

    let half = give_back("q2", &[("a", 2)]);
    let operation = platform.return_purchase(half.clone()).await.unwrap().into_inner();
    assert_eq!((&operation.member, &operation.counterpart, operation.actual_points), (&member(2), &member(1), -20));
    assert_eq!(story(&operation.entries), ["CLAWBACK -20"]);
    let told = operation.r#return.clone().unwrap();
    assert_eq!(
        (told.taken_from_active, told.refund.unwrap()),
        (20, pb::RefundExplanation { points: 40, redemptions: vec![spent.clone()], ..Default::default() })
    );
    suite.stands(&operation).await;
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (survivor + 40, buyer - 20));
    let back = suite.entries(1).await.pop().unwrap();
    assert_eq!((back.kind(), back.points, &back.redemption, &back.purchase), (pb::EntryKind::Refund, 40, &spent, &purchase("q2")));
    assert_eq!(back.operation, operation.name);
    let events = suite.events(10).await;
    let last_of = |owner: u128| events.iter().rfind(|event| event.member == member(owner)).unwrap();
    assert_eq!(posted(last_of(1)), ("REFUND".to_owned(), member(2), vec![format!("{} REFUND 40", back.version)]));
    let Some(Payload::PurchaseReturned(event)) = &last_of(2).payload else { panic!("a return") };
    assert_eq!((event.postings.len(), event.postings[0].points), (1, -20));
    let again = platform.return_purchase(half).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), operation);

    // The rest, once the survivor has been taken in himself.
    support.merge_accounts(merge(3, 1)).await.unwrap();
    let operation = platform.return_purchase(down_to("q2", 0)).await.unwrap().into_inner();
    assert_eq!((&operation.member, &operation.counterpart), (&member(2), &member(3)));
    assert_eq!((suite.figures(3).await.0, suite.figures(2).await.0), (survivor + 80, buyer - 40));
    assert_eq!(suite.purchase("q2").await.given_back_points, 80);
    suite.verified().await;
}

async fn what_paid_from_several_accounts_is_given_back_by_itself(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    for (owner, id) in [(1, "p1"), (2, "q1"), (3, "r1")] {
        suite.award(owner, id, 10_000).await;
    }
    let mut spent = Vec::new();
    for survivor in [1, 3] {
        support.merge_accounts(merge(survivor, 2)).await.unwrap();
        spent.push(spend(&suite, 2, 50).await);
        support.unmerge_accounts(unmerge(survivor, 2)).await.unwrap();
    }
    platform.award(paid(2, "q2", &[("a", 2, 0)], &[&spent[0], &spent[1]])).await.unwrap();
    let refused = platform.return_purchase(give_back("q2", &[("a", 1)])).await;
    assert_eq!(precondition(refused), "REDEMPTIONS_APART");
    assert_eq!(suite.purchase("q2").await.returns, 0);
    platform.refund_redemption(refund(&spent[0], None)).await.unwrap();
    // Of the one there is nothing left, so that the other goes back by itself.
    platform.return_purchase(with(give_back("q2", &[("a", 1)]), |request| request.give_back_points = Some(0))).await.unwrap();
    let operation = platform.return_purchase(give_back("q2", &[("a", 1)])).await.unwrap().into_inner();
    assert_eq!((operation.counterpart, operation.r#return.unwrap().refund.unwrap().points), (member(3), 50));
    let all: i64 = [suite.figures(1).await.0, suite.figures(2).await.0, suite.figures(3).await.0].iter().sum();
    assert_eq!(all, 300);
    suite.verified().await;
}
