//! Points that a household spends together.

use std::time::Duration;

use proto::points as pb;
use testkit::TestEngine;
use tonic::Code;

use super::paid_with_points::paid;
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_household_spends_together,
    who_does_not_share_keeps_his_own,
    who_leaves_takes_back_what_is_left,
    a_pool_is_its_members_alone,
    refunds_go_back_to_the_pool,
    a_pool_hides_no_points_from_a_return,
    survivors_bring_and_take_back_for_whom_they_took_in,
    pools_are_remembered,
    twenty_spend_a_pool_at_once,
    an_order_paid_from_a_pool_goes_back_to_the_pool,
    only_who_spent_from_a_pool_pays_with_it,
);

async fn pool_of(suite: &Suite, members: &[(u128, bool, i64)]) -> String {
    let mut platform = suite.platform();
    let (owner, shares, _) = members[0];
    let opened = platform.create_pool(create_pool(owner, shares)).await.unwrap().into_inner();
    let pool = opened.pool.unwrap().name;
    for (who, shares, _) in &members[1..] {
        platform.invite_to_pool(invite(&pool, owner, *who)).await.unwrap();
        platform.join_pool(join(&pool, *who, *shares)).await.unwrap();
    }
    for (who, _, points) in members.iter().filter(|(_, _, points)| *points > 0) {
        suite.award(*who, &format!("for {who}").replace(' ', "-"), points * 100).await;
        platform.contribute_to_pool(contribute(&pool, *who, *points)).await.unwrap();
    }
    pool
}

async fn get(suite: &Suite, pool: &str) -> pb::Pool {
    suite.platform().get_pool(pb::GetPoolRequest { name: pool.to_owned() }).await.unwrap().into_inner()
}

/// Points in a pool by member.
async fn shares(suite: &Suite, pool: &str) -> Vec<(String, i64)> {
    get(suite, pool).await.members.into_iter().map(|known| (known.member, known.points)).collect()
}

/// The member's name in whose place a pool stands in its books.
fn books_of(pool: &str) -> String {
    pool.replace("/pools/", "/members/")
}

async fn a_household_spends_together(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 50)]).await;
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (0, 0), "what is brought is in the pool");
    let known = get(&suite, &pool).await;
    let flags: Vec<_> = known.members.iter().map(|known| (known.member.as_str(), known.owner, known.joined, known.shares)).collect();
    assert_eq!(flags, [(&*member(1), true, true, true), (&*member(2), false, true, true)]);
    let spent = suite.platform().redeem_from_pool(redeem_pooled(&pool, 2, 120)).await.unwrap().into_inner();
    assert_eq!((spent.actual_points, spent.member.as_str(), &spent.counterpart), (-120, &*books_of(&pool), &member(2)));
    let left: i64 = shares(&suite, &pool).await.iter().map(|(_, points)| points).sum();
    assert_eq!(left, 30);
    let missing = suite.platform().redeem_from_pool(redeem_pooled(&pool, 1, 31)).await;
    assert_eq!((metadata(&missing, "missing_points"), precondition(missing)), ("1".to_owned(), "INSUFFICIENT_POINTS".to_owned()));
    let some = with(redeem_pooled(&pool, 1, 31), |request| request.mode = pb::redeem_request::Mode::UpTo.into());
    assert_eq!(suite.platform().redeem_from_pool(some).await.unwrap().into_inner().actual_points, -30);
    // The pool's books are asked for like a member's.
    let request = pb::ListEntriesRequest { parent: books_of(&pool), page_size: 100, ..Default::default() };
    let mut entries = suite.platform().list_entries(request).await.unwrap().into_inner().entries;
    entries.reverse();
    let expected = ["POOL 0", "POOL 0", "POOL 0", "TRANSFER_IN 100", "TRANSFER_IN 50", "REDEEM -120", "REDEEM -30"];
    assert_eq!(story(&entries), expected);
    suite.verified().await;
}

async fn who_does_not_share_keeps_his_own(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, false, 50)]).await;
    assert_eq!(precondition(platform.redeem_from_pool(redeem_pooled(&pool, 1, 101)).await), "INSUFFICIENT_POINTS");
    platform.redeem_from_pool(redeem_pooled(&pool, 2, 150)).await.unwrap();
    let pool = pool_of(&suite, &[(3, true, 0), (4, false, 50)]).await;
    assert_eq!(precondition(platform.redeem_from_pool(redeem_pooled(&pool, 3, 1)).await), "INSUFFICIENT_POINTS");
    platform.set_pool_sharing(sharing(&pool, 4, true)).await.unwrap();
    platform.redeem_from_pool(redeem_pooled(&pool, 3, 20)).await.unwrap();
    platform.set_pool_sharing(sharing(&pool, 4, false)).await.unwrap();
    assert_eq!(precondition(platform.redeem_from_pool(redeem_pooled(&pool, 3, 1)).await), "INSUFFICIENT_POINTS");
    assert_eq!(shares(&suite, &pool).await, [(member(3), 0), (member(4), 30)]);
    suite.verified().await;
}

async fn who_leaves_takes_back_what_is_left(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 50)]).await;
    let before = suite.balance(2).await;
    assert_eq!(before.wallets[0].active_points, 0);
    assert_eq!(precondition(platform.leave_pool(leave(&pool, 1)).await), "POOL_HAS_MEMBERS");
    let spent = platform.redeem_from_pool(redeem_pooled(&pool, 1, 120)).await.unwrap().into_inner();
    let left = platform.leave_pool(leave(&pool, 2)).await.unwrap().into_inner();
    assert_eq!(left.pool.unwrap().members.len(), 1);
    let (own, others) = (shares(&suite, &pool).await[0].1, suite.figures(2).await.0);
    assert_eq!(own + others, 30);
    // His lots have come home: no origin keeps them apart from what he earns now.
    suite.award(2, "new", 1_000).await;
    assert_eq!(suite.balance(2).await.wallets[0].lots.len(), 1);
    // What comes back after he has left is still his.
    platform.refund_redemption(refund(&spent.name, None)).await.unwrap();
    platform.leave_pool(leave(&pool, 2)).await.unwrap();
    assert_eq!(suite.figures(2).await.0, 60);
    assert_eq!(precondition(platform.leave_pool(leave(&pool, 2)).await), "NOT_IN_POOL");
    platform.leave_pool(leave(&pool, 1)).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 100);
    assert!(get(&suite, &pool).await.members.is_empty());
    suite.verified().await;
}

async fn a_pool_is_its_members_alone(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 0)]).await;
    suite.award(3, "p3", 10_000).await;
    assert_eq!(precondition(platform.redeem_from_pool(redeem_pooled(&pool, 3, 1)).await), "NOT_IN_POOL");
    assert_eq!(precondition(platform.contribute_to_pool(contribute(&pool, 3, 1)).await), "NOT_IN_POOL");
    assert_eq!(precondition(platform.join_pool(join(&pool, 3, true)).await), "NOT_INVITED");
    assert_eq!(precondition(platform.set_pool_sharing(sharing(&pool, 3, true)).await), "NOT_IN_POOL");
    assert_eq!(precondition(platform.invite_to_pool(invite(&pool, 2, 3)).await), "NOT_POOL_OWNER");
    assert_eq!(precondition(platform.invite_to_pool(invite(&pool, 1, 2)).await), "ALREADY_IN_POOL");
    platform.invite_to_pool(invite(&pool, 1, 3)).await.unwrap();
    // Who is invited has not joined.
    assert_eq!(precondition(platform.redeem_from_pool(redeem_pooled(&pool, 3, 1)).await), "NOT_IN_POOL");
    platform.join_pool(join(&pool, 3, true)).await.unwrap();
    assert_eq!(precondition(platform.join_pool(join(&pool, 3, true)).await), "ALREADY_IN_POOL");
    for guest in 4..=20 {
        platform.invite_to_pool(invite(&pool, 1, guest)).await.unwrap();
    }
    assert_eq!(precondition(platform.invite_to_pool(invite(&pool, 1, 21)).await), "POOL_FULL");
    // Nobody gets at its account by another way.
    let account = books_of(&pool);
    let named = |request: pb::RedeemRequest| pb::RedeemRequest { member: account.clone(), ..request };
    assert_eq!(precondition(platform.redeem(named(redeem(1, 1))).await), "POOL_ACCOUNT");
    let reserved = pb::ReserveRequest { member: account.clone(), ..reserve(1, 1) };
    assert_eq!(precondition(platform.reserve(reserved).await), "POOL_ACCOUNT");
    let bought = pb::AwardRequest { member: account.clone(), ..award(1, "to-the-pool", 100) };
    assert_eq!(precondition(platform.award(bought).await), "POOL_ACCOUNT");
    let given = pb::TransferRequest { to_member: account.clone(), ..transfer(3, 2, 1) };
    assert_eq!(precondition(platform.transfer(given).await), "POOL_ACCOUNT");
    let taken = pb::TransferRequest { member: account.clone(), ..transfer(1, 3, 1) };
    assert_eq!(precondition(platform.transfer(taken).await), "POOL_ACCOUNT");
    let merged = pb::MergeAccountsRequest { merged_member: account, ..merge(1, 2) };
    let support = &mut suite.client(proto::common::Role::Support).await;
    assert_eq!(precondition(support.merge_accounts(merged).await), "POOL_ACCOUNT");
    // What is no pool.
    let nowhere = pool.replace(|digit: char| digit.is_ascii_digit(), "0");
    let not_found = (Code::NotFound, "POOL_NOT_FOUND".to_owned());
    assert_eq!(refusal(platform.get_pool(pb::GetPoolRequest { name: nowhere.clone() }).await), not_found);
    assert_eq!(refusal(platform.leave_pool(leave(&nowhere, 1)).await), not_found);
    assert_eq!(refusal(platform.contribute_to_pool(contribute(&nowhere, 3, 1)).await), not_found);
    assert_eq!(refusal(platform.invite_to_pool(invite(&nowhere, 1, 2)).await), not_found);
    assert_eq!(wrong_fields(platform.join_pool(join("programs/tea/pools/x", 1, true)).await), ["pool"]);
    assert_eq!(suite.figures(3).await.0, 100, "nothing refused leaves a trace");
    suite.verified().await;
}

async fn refunds_go_back_to_the_pool(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 50)]).await;
    let spent = platform.redeem_from_pool(redeem_pooled(&pool, 2, 120)).await.unwrap().into_inner();
    let back = platform.refund_redemption(refund(&spent.name, Some(70))).await.unwrap().into_inner();
    assert_eq!((back.actual_points, back.refund.unwrap().points), (70, 70));
    platform.refund_redemption(refund(&spent.name, None)).await.unwrap();
    assert_eq!(shares(&suite, &pool).await, [(member(1), 100), (member(2), 50)]);
    assert_eq!(precondition(platform.refund_redemption(refund(&spent.name, None)).await), "EXCEEDS_REDEMPTION");
    suite.verified().await;
}

async fn a_pool_hides_no_points_from_a_return(engine: TestEngine) {
    let policy = pb::terms::ReturnPolicy::WithinBalance.into();
    let suite = Suite::with_terms(engine, pb::Terms { return_policy: policy, ..terms() }).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 0), (2, true, 0)]).await;
    suite.award(2, "p1", 10_000).await;
    platform.contribute_to_pool(contribute(&pool, 2, 100)).await.unwrap();
    let returned = platform.return_purchase(down_to("p1", 0)).await.unwrap().into_inner();
    assert_eq!(returned.r#return.unwrap().forgiven, 100);
    let left = platform.leave_pool(leave(&pool, 2)).await.unwrap().into_inner();
    assert_eq!((left.requested_points, suite.figures(2).await), (100, (0, 0, 0, 0)), "what was out of reach is taken after all");
    assert_eq!(suite.story(2).await.last().unwrap(), "CLAWBACK -100");
    // Nor does what comes back to the pool once he has left.
    suite.award(2, "p4", 10_000).await;
    let other = pool_of(&suite, &[(3, true, 0), (2, true, 0)]).await;
    platform.contribute_to_pool(contribute(&other, 2, 100)).await.unwrap();
    let spent = platform.redeem_from_pool(redeem_pooled(&other, 2, 100)).await.unwrap().into_inner().name;
    platform.leave_pool(leave(&other, 2)).await.unwrap();
    platform.return_purchase(down_to("p4", 0)).await.unwrap();
    platform.refund_redemption(refund(&spent, None)).await.unwrap();
    platform.leave_pool(leave(&other, 2)).await.unwrap();
    assert_eq!(suite.figures(2).await, (0, 0, 0, 0));
    // What was earned before anything was brought is spent by itself.
    suite.award(1, "p2", 10_000).await;
    platform.redeem(redeem(1, 100)).await.unwrap();
    platform.return_purchase(down_to("p2", 0)).await.unwrap();
    suite.award(1, "p3", 5_000).await;
    suite.clock.advance(Duration::from_secs(1));
    platform.contribute_to_pool(contribute(&pool, 1, 50)).await.unwrap();
    platform.leave_pool(leave(&pool, 1)).await.unwrap();
    assert_eq!(suite.figures(1).await, (50, 0, 0, 0));
    suite.verified().await;
}

async fn survivors_bring_and_take_back_for_whom_they_took_in(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 0), (2, true, 40)]).await;
    let mut support = suite.client(proto::common::Role::Support).await;
    suite.award(3, "p3", 10_000).await;
    support.merge_accounts(merge(3, 2)).await.unwrap();
    platform.contribute_to_pool(contribute(&pool, 2, 10)).await.unwrap();
    assert_eq!(shares(&suite, &pool).await, [(member(1), 0), (member(2), 50)]);
    platform.leave_pool(leave(&pool, 2)).await.unwrap();
    assert_eq!(suite.figures(3).await.0, 140);
    // They were his, and go back to him.
    support.unmerge_accounts(unmerge(3, 2)).await.unwrap();
    assert_eq!((suite.figures(3).await.0, suite.figures(2).await.0), (90, 50));
    suite.verified().await;
}

async fn pools_are_remembered(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let opening = create_pool(1, true);
    let opened = platform.create_pool(opening.clone()).await.unwrap().into_inner();
    let pool = opened.pool.clone().unwrap().name;
    let bringing = contribute(&pool, 1, 40);
    let brought = platform.contribute_to_pool(bringing.clone()).await.unwrap().into_inner();
    assert_eq!((brought.actual_points, brought.pool.as_ref().unwrap().members[0].points), (-40, 40));
    let spending = redeem_pooled(&pool, 1, 15);
    let spent = platform.redeem_from_pool(spending.clone()).await.unwrap().into_inner();
    let leaving = leave(&pool, 1);
    let left = platform.leave_pool(leaving.clone()).await.unwrap().into_inner();
    let suite = suite.restart().await;
    let mut platform = suite.platform();
    assert_eq!(platform.create_pool(opening.clone()).await.unwrap().into_inner(), opened);
    assert_eq!(platform.contribute_to_pool(bringing).await.unwrap().into_inner(), brought);
    assert_eq!(platform.redeem_from_pool(spending).await.unwrap().into_inner(), spent);
    assert_eq!(platform.leave_pool(leaving).await.unwrap().into_inner(), left);
    let other = with(opening, |request| request.shares = false);
    assert_eq!(metadata(&platform.create_pool(other).await, "field"), "shares");
    assert_eq!(suite.figures(1).await.0, 85);
    suite.verified().await;
}

async fn twenty_spend_a_pool_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 100)]).await;
    let calls = (0..20_u128).map(|call| {
        let (mut platform, request) = (suite.platform(), redeem_pooled(&pool, 1 + call % 2, 100));
        tokio::spawn(async move { platform.redeem_from_pool(request).await.is_ok() })
    });
    let calls: Vec<_> = calls.collect();
    let mut spent = 0;
    for call in calls {
        spent += usize::from(call.await.unwrap());
    }
    assert_eq!(spent, 2, "one success for each hundred");
    assert_eq!(shares(&suite, &pool).await, [(member(1), 0), (member(2), 0)]);
    suite.verified().await;
}

async fn an_order_paid_from_a_pool_goes_back_to_the_pool(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 50)]).await;
    let spent = platform.redeem_from_pool(redeem_pooled(&pool, 2, 120)).await.unwrap().into_inner();
    let entry = &spent.entries[0];
    assert_eq!((&entry.counterpart, entry.points), (&member(2), -120), "the pool's books say who spent");
    let order = paid(2, "order", &[("a", 4, 4_000)], &[&spent.name]);
    assert_eq!(platform.preview_award(preview(&order)).await.unwrap().into_inner().points, 40);
    platform.award(order).await.unwrap();
    assert_eq!(suite.purchase("order").await.redeemed_points, 120);
    let operation = platform.return_purchase(give_back("order", &[("a", 1)])).await.unwrap().into_inner();
    assert_eq!((&operation.counterpart, operation.pool.as_ref().unwrap().name.as_str()), (&books_of(&pool), pool.as_str()));
    assert_eq!(
        (story(&operation.entries), operation.r#return.clone().unwrap().refund.unwrap().points),
        (vec!["CLAWBACK -10".to_owned()], 30)
    );
    suite.stands(&operation).await;
    // Also when who spent has left, and has been taken in by another.
    platform.leave_pool(leave(&pool, 2)).await.unwrap();
    suite.client(proto::common::Role::Support).await.merge_accounts(merge(3, 2)).await.unwrap();
    platform.return_purchase(down_to("order", 0)).await.unwrap();
    let back = suite.platform().leave_pool(leave(&pool, 2)).await;
    let own = back.map_or(0, |operation| operation.into_inner().requested_points);
    assert_eq!((shares(&suite, &pool).await, suite.figures(3).await.0), (vec![(member(1), 100)], 50), "{own} were still his");
    suite.verified().await;
}

async fn only_who_spent_from_a_pool_pays_with_it(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let pool = pool_of(&suite, &[(1, true, 100), (2, true, 50)]).await;
    let spent = platform.redeem_from_pool(redeem_pooled(&pool, 2, 120)).await.unwrap().into_inner().name;
    for other in [1, 3] {
        let order = paid(other, "order", &[("a", 1, 4_000)], &[&spent]);
        assert_eq!(refusal(platform.preview_award(preview(&order)).await), (Code::NotFound, "REDEMPTION_NOT_FOUND".to_owned()));
        assert_eq!(refusal(platform.award(order).await), (Code::NotFound, "REDEMPTION_NOT_FOUND".to_owned()));
    }
    suite.verified().await;
}
