//! Accounts of one person that become one, and two again.

use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use proto::points::reservation::State;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    everything_goes_over_as_it_is,
    points_repay_what_the_other_owed,
    nobody_is_merged_twice,
    only_what_was_merged_can_be_unmerged,
    what_is_left_goes_back,
    what_is_owed_goes_back_as_far_as_it_still_is,
    a_merge_of_merges_is_undone_step_by_step,
    members_without_books_can_be_merged,
    merges_come_again_byte_for_byte,
    a_merge_beside_a_busy_member_loses_nothing,
    merges_both_ways_end_one_way,
    what_was_earned_in_his_name_goes_back,
    what_was_forgiven_is_taken_after_all_once_it_is_refunded,
);

fn lasting() -> pb::Terms {
    pb::Terms { expire_after: days(30), ..terms() }
}

async fn everything_goes_over_as_it_is(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 20_000).await;
    let opened = suite.reserve(2, 50).await;
    suite.clock.advance(std::time::Duration::from_secs(60));
    suite.new_terms(pb::Terms { activate_after: days(1), ..lasting() }, suite.now()).await;
    suite.award(2, "q2", 3_000).await;
    let operation = support.merge_accounts(merge(1, 2)).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Merge, 0, 230));
    assert_eq!((&operation.member, &operation.counterpart), (&member(1), &member(2)));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, &entry.counterpart), (pb::EntryKind::MergeIn, 230, &member(2)));
    assert_eq!((entry.reason.as_str(), entry.version), ("the same person", 2));
    suite.stands(&operation).await;
    let left = suite.entries(2).await.pop().unwrap();
    assert_eq!((left.kind(), left.points, &left.counterpart), (pb::EntryKind::MergeOut, -230, &member(1)));
    assert_eq!((left.active_after, left.pending_after, left.reserved_after, left.deficit_after), (0, 0, 0, 0));
    assert_eq!((&left.operation, left.reason.as_str()), (&operation.name, "the same person"));
    let balance = suite.balance(1).await;
    assert_eq!(figures(&balance), (250, 30, 50, 0));
    let at = |day: u32| START + day * DAY;
    let later = std::time::Duration::from_secs(60);
    let mut lots: Vec<_> =
        balance.wallets[0].lots.iter().map(|lot| (lot.expire_time.unwrap().seconds, lot.points, lot.reserved_points)).collect();
    lots.sort_unstable();
    let seconds = |moment| timestamp(moment).seconds;
    assert_eq!(lots, [(seconds(at(30)), 100, 0), (seconds(at(30)), 200, 50), (seconds(at(31) + later), 30, 0)]);
    let events = suite.events(6).await;
    let of = |owner: u128| events.iter().filter(move |event| event.member == member(owner)).collect::<Vec<_>>();
    assert_eq!(posted(of(1)[1]), ("MERGE".to_owned(), member(2), vec!["2 MERGE_IN 230".to_owned()]));
    assert_eq!(posted(of(2)[3]), ("MERGE".to_owned(), member(1), vec!["4 MERGE_OUT -230".to_owned()]));
    // The reservation holds on and is spent as before, and lots open and lapse in the new books.
    let captured = platform.capture(capture(&hold(&opened).replace(&member(2), &member(1)), Some(20))).await.unwrap().into_inner();
    assert_eq!((captured.actual_points, captured.reservation.as_ref().unwrap().state()), (-20, State::Captured));
    suite.clock.advance(2 * DAY);
    assert_eq!(suite.figures(1).await, (310, 0, 0, 0));
    suite.clock.advance(30 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn points_repay_what_the_other_owed(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    for (debtor, owner) in [(2, 1), (3, 4)] {
        for (member, id) in [(debtor, format!("d{debtor}")), (owner, format!("p{owner}"))] {
            suite.award(member, &id, 10_000).await;
        }
        platform.redeem(redeem(debtor, 80)).await.unwrap();
        platform.return_purchase(down_to(&format!("d{debtor}"), 0)).await.unwrap();
    }
    let operation = support.merge_accounts(merge(1, 2)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, story(&operation.entries)), (-80, vec!["MERGE_IN -80".to_owned(), "REPAY 0".to_owned()]));
    assert_eq!((operation.entries[0].deficit_delta, operation.entries[1].deficit_delta), (80, -80));
    suite.stands(&operation).await;
    // The same when it is the survivor who owes.
    let operation = support.merge_accounts(merge(3, 4)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, story(&operation.entries)), (100, vec!["MERGE_IN 100".to_owned(), "REPAY 0".to_owned()]));
    suite.stands(&operation).await;
    for (survivor, merged) in [(1, 2), (3, 4)] {
        assert_eq!(suite.figures(survivor).await, (20, 0, 0, 0));
        assert_eq!(suite.entries(merged).await.last().unwrap().deficit_after, 0);
    }
    assert_eq!(suite.verified().await.points["tea"], 40);
}

async fn nobody_is_merged_twice(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    for owner in 1..=3 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
    }
    support.merge_accounts(merge(1, 2)).await.unwrap();
    let again = merge(1, 2);
    for request in [again.clone(), merge(3, 2), merge(2, 1)] {
        assert_eq!(precondition(support.merge_accounts(request).await), "ALREADY_MERGED");
    }
    // Who was merged stands for who survived.
    let operation = support.merge_accounts(merge(2, 3)).await.unwrap().into_inner();
    assert_eq!((operation.member, operation.counterpart), (member(1), member(3)));
    assert_eq!(suite.figures(1).await, (300, 0, 0, 0));
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!(precondition(support.merge_accounts(again).await), "ALREADY_MERGED", "a refusal is remembered");
    support.merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(suite.verified().await.points["tea"], 300);
}

async fn only_what_was_merged_can_be_unmerged(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    for owner in 1..=3 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
    }
    assert_eq!(precondition(support.unmerge_accounts(unmerge(1, 2)).await), "NOT_MERGED");
    assert_eq!(precondition(support.unmerge_accounts(unmerge(8, 9)).await), "NOT_MERGED", "nobody");
    support.merge_accounts(merge(1, 2)).await.unwrap();
    for request in [unmerge(2, 1), unmerge(3, 2), unmerge(1, 3)] {
        assert_eq!(precondition(support.unmerge_accounts(request).await), "NOT_MERGED");
    }
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!(precondition(support.unmerge_accounts(unmerge(1, 2)).await), "NOT_MERGED");
    suite.verified().await;
}

async fn what_is_left_goes_back(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    let early = with(award(2, "q1", 10_000), |request| input(request).occur_time = Some(timestamp(START - DAY)));
    platform.award(early).await.unwrap();
    suite.award(2, "q2", 10_000).await;
    suite.award(1, "p1", 10_000).await;
    support.merge_accounts(merge(1, 2)).await.unwrap();
    // Of what he brought, 30 are spent and 50 are held: both stay.
    platform.redeem(redeem(1, 30)).await.unwrap();
    let held = hold(&suite.reserve(1, 50).await);
    let operation = support.unmerge_accounts(unmerge(1, 2)).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Unmerge, 120, -120));
    assert_eq!((&operation.member, &operation.counterpart), (&member(1), &member(2)));
    assert_eq!(story(&operation.entries), ["UNMERGE_OUT -120"]);
    assert_eq!((&operation.entries[0].counterpart, operation.entries[0].reason.as_str()), (&member(2), "two persons after all"));
    suite.stands(&operation).await;
    let back = suite.entries(2).await.pop().unwrap();
    assert_eq!(
        (back.kind(), back.points, &back.counterpart, &back.operation),
        (pb::EntryKind::UnmergeIn, 120, &member(1), &operation.name)
    );
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((100, 0, 50, 0), (120, 0, 0, 0)));
    let lots: Vec<_> = suite.balance(2).await.wallets[0].lots.iter().map(|lot| (lot.expire_time, lot.points)).collect();
    let at = |day: u32| Some(timestamp(START + day * DAY));
    assert_eq!(lots, [(at(29), 20), (at(30), 100)]);
    let events = suite.events(9).await;
    let told: Vec<_> = events.iter().filter(|event| event.member == member(2)).collect();
    assert_eq!(posted(told[3]), ("UNMERGE".to_owned(), member(1), vec!["4 UNMERGE_IN 120".to_owned()]));
    // He is himself again.
    assert_eq!(suite.award(2, "q3", 1_000).await.member, member(2));
    platform.redeem(redeem(2, 130)).await.unwrap();
    platform.capture(capture(&held, None)).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((100, 0, 0, 0), (0, 0, 0, 0)));
    suite.verified().await;
}

async fn what_is_owed_goes_back_as_far_as_it_still_is(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    suite.award(2, "q1", 10_000).await;
    platform.redeem(redeem(2, 100)).await.unwrap();
    platform.return_purchase(down_to("q1", 2_000)).await.unwrap();
    support.merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(suite.figures(1).await, (0, 0, 0, 80));
    suite.award(1, "p1", 3_000).await;
    let operation = support.unmerge_accounts(unmerge(1, 2)).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, operation.actual_points, operation.entries[0].deficit_delta), (0, 50, -50));
    suite.stands(&operation).await;
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((0, 0, 0, 0), (0, 0, 0, 50)));
    suite.verified().await;
}

async fn a_merge_of_merges_is_undone_step_by_step(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    for (owner, fen) in [(1, 100), (2, 1_000), (3, 10_000)] {
        suite.award(owner, &format!("p{owner}"), fen).await;
    }
    support.merge_accounts(merge(2, 3)).await.unwrap();
    support.merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(suite.figures(1).await, (111, 0, 0, 0));
    for owner in [2, 3] {
        let balance = suite.balance(owner).await;
        assert_eq!((figures(&balance), balance.member), ((111, 0, 0, 0), member(1)));
    }
    assert_eq!(precondition(support.unmerge_accounts(unmerge(1, 3)).await), "NOT_MERGED");
    assert_eq!(precondition(support.unmerge_accounts(unmerge(2, 3)).await), "NOT_MERGED", "while the middle one is merged itself");
    let operation = support.unmerge_accounts(unmerge(1, 2)).await.unwrap().into_inner();
    assert_eq!(operation.requested_points, 110);
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0, suite.figures(3).await.0), (1, 110, 110));
    support.unmerge_accounts(unmerge(2, 3)).await.unwrap();
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0, suite.figures(3).await.0), (1, 10, 100));
    assert_eq!(suite.verified().await.points["tea"], 111);
}

async fn members_without_books_can_be_merged(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    let operation = support.merge_accounts(merge(1, 2)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, story(&operation.entries)), (0, vec!["MERGE_IN 0".to_owned()]));
    suite.stands(&operation).await;
    let bought = suite.award(2, "p1", 10_000).await;
    assert_eq!((bought.member, bought.award.unwrap().first_purchase), (member(1), true));
    assert_eq!(suite.story(2).await, ["MERGE_OUT 0"]);
    assert_eq!(suite.verified().await.points["tea"], 100);
}

async fn merges_come_again_byte_for_byte(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(2, "q1", 10_000).await;
    let (joined, parted) = (merge(1, 2), unmerge(1, 2));
    let mut support = suite.client(Role::Support).await;
    let first = support.merge_accounts(joined.clone()).await.unwrap().into_inner();
    assert_eq!(support.merge_accounts(joined.clone()).await.unwrap().into_inner(), first);
    let second = support.unmerge_accounts(parted.clone()).await.unwrap().into_inner();
    let suite = suite.restart().await;
    let mut support = suite.client(Role::Support).await;
    let (one, other) = (support.merge_accounts(joined.clone()).await.unwrap(), support.unmerge_accounts(parted.clone()).await.unwrap());
    assert!(replayed(&one) && replayed(&other));
    assert_eq!((one.into_inner(), other.into_inner()), (first, second));
    macro_rules! differs {
        ($rpc:ident, $request:expr, $($field:literal: $change:expr;)+) => {
            $(let reused = support.$rpc(with($request.clone(), $change)).await;
            assert_eq!(metadata(&reused, "field"), $field);
            assert_eq!(refusal(reused).1, "REQUEST_ID_REUSED");)+
        };
    }
    differs!(merge_accounts, joined, "member": |r| r.member = member(3); "merged_member": |r| r.merged_member = member(3); "reason": |r| r.reason = "so".to_owned(););
    differs!(unmerge_accounts, parted, "member": |r| r.member = member(3); "merged_member": |r| r.merged_member = member(3); "reason": |r| r.reason = "so".to_owned(););
    let turned = with(unmerge(1, 2), |request| request.request_id = joined.request_id.clone());
    assert_eq!(metadata(&support.unmerge_accounts(turned).await, "field"), "method");
    assert_eq!((suite.story(1).await, suite.figures(2).await.0), (vec!["MERGE_IN 100".to_owned(), "UNMERGE_OUT -100".to_owned()], 100));
}

async fn a_merge_beside_a_busy_member_loses_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let support = suite.client(Role::Support).await;
    for round in 0..4_u128 {
        let (survivor, merged) = (10 * round + 1, 10 * round + 2);
        for owner in [survivor, merged] {
            suite.award(owner, &format!("first-{owner}"), 10_000).await;
        }
        let calls = (0..60_u128).map(|number| {
            let mut server = if number.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
            let mut joins = support.clone();
            let owner = if number % 3 == 0 { survivor } else { merged };
            async move {
                let answer = match number {
                    20 => joins.merge_accounts(merge(survivor, merged)).await.map(|_| 0),
                    _ if number % 4 < 2 => server.award(award(owner, &format!("p{round}-{number}"), 1_000)).await.map(|_| 10),
                    _ if number % 4 == 2 => server.redeem(redeem(owner, 3)).await.map(|_| -3),
                    _ => server.reserve(reserve(owner, 2)).await.map(|_| 0),
                };
                answer.unwrap()
            }
        });
        let moved: i64 = join_all(calls).await.into_iter().sum();
        let (active, pending, reserved, owed) = suite.figures(survivor).await;
        assert_eq!((active + reserved, pending, owed), (200 + moved, 0, 0), "round {round}");
        let left = suite.entries(merged).await.pop().unwrap();
        assert_eq!((left.kind(), left.active_after, left.reserved_after), (pb::EntryKind::MergeOut, 0, 0));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn merges_both_ways_end_one_way(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let (here, there) = (suite.client(Role::Support).await, replica.client(Role::Support).await);
    for round in 0..4_u128 {
        let (one, other) = (10 * round + 1, 10 * round + 2);
        suite.award(one, &format!("p{one}"), 10_000).await;
        suite.award(other, &format!("p{other}"), 10_000).await;
        let calls = (0..16).map(|number| {
            let mut server = if number % 4 < 2 { here.clone() } else { there.clone() };
            let request = if number % 2 == 0 { merge(one, other) } else { merge(other, one) };
            async move { server.merge_accounts(request).await }
        });
        let (done, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        assert!(refused.into_iter().all(|answer| precondition(answer) == "ALREADY_MERGED"));
        assert_eq!((suite.figures(one).await, suite.figures(other).await), ((200, 0, 0, 0), (200, 0, 0, 0)));
    }
    assert_eq!(suite.verified().await.points["tea"], 800);
    replica.stop().await;
    suite.stop().await;
}

async fn what_was_earned_in_his_name_goes_back(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 1_000).await;
    support.merge_accounts(merge(1, 2)).await.unwrap();
    suite.award(1, "p2", 10_000).await;
    let since = suite.award(2, "q2", 2_000).await;
    assert_eq!((&since.member, &since.entries[0].presented_member), (&member(1), &member(2)));
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((200, 0, 0, 0), (30, 0, 0, 0)));
    suite.verified().await;
}

async fn what_was_forgiven_is_taken_after_all_once_it_is_refunded(engine: TestEngine) {
    let policy = pb::terms::ReturnPolicy::WithinBalance.into();
    let suite = Suite::with_terms(engine, pb::Terms { return_policy: policy, ..terms() }).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    // Forgiven before the merge, after it, and before a merge of merges and its end.
    for (owner, survivor) in [(2, 1), (4, 3), (6, 5)] {
        let id = format!("p{owner}");
        suite.award(owner, &id, 10_000).await;
        let spent = platform.redeem(redeem(owner, 100)).await.unwrap().into_inner().name;
        let goods_go_back = async || {
            let returned = suite.platform().return_purchase(down_to(&id, 0)).await.unwrap().into_inner();
            assert_eq!(returned.r#return.unwrap().forgiven, 100);
        };
        if owner != 4 {
            goods_go_back().await;
        }
        support.merge_accounts(merge(survivor, owner)).await.unwrap();
        if owner == 4 {
            goods_go_back().await;
        }
        if owner == 6 {
            support.merge_accounts(merge(7, 5)).await.unwrap();
            support.unmerge_accounts(unmerge(7, 5)).await.unwrap();
            support.unmerge_accounts(unmerge(5, 6)).await.unwrap();
        }
        let operation = platform.refund_redemption(refund(&spent, None)).await.unwrap().into_inner();
        let told = operation.refund.clone().unwrap();
        assert_eq!((told.points, told.repaid_points, operation.actual_points), (100, 100, 0), "member {owner}");
        suite.stands(&operation).await;
        assert_eq!((suite.figures(owner).await, suite.figures(survivor).await), ((0, 0, 0, 0), (0, 0, 0, 0)), "member {owner}");
    }
    suite.verified().await;
}
