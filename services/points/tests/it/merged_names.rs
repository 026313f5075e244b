//! Whatever names a member whose account was taken in goes to who survived him.

use proto::common::Role;
use proto::points as pb;
use proto::points::reservation::State;
use proto::points::terms::ReturnPolicy;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    earning_and_spending_in_an_old_name,
    what_was_begun_before_is_ended_after,
    goods_of_before_go_back_after,
    what_waits_opens_in_an_old_name,
    corrections_in_an_old_name,
    rewards_in_an_old_name,
    natural_keys_bind_across_a_merge,
    reading_in_an_old_name,
    a_hold_that_stayed_is_not_said_to_have_ended,
    a_reward_given_while_merged_can_be_revoked_after,
    a_long_row_of_merges_leads_to_the_last,
    a_refund_beside_a_merge_gives_back_once,
    a_purchase_beside_the_end_of_a_merge_is_in_the_books_of_its_buyer,
    a_balance_beside_the_end_of_a_merge_is_of_who_was_named,
    goods_that_still_wait_go_back_after,
    an_order_paid_while_merged_goes_back_with_its_points,
);

/// Member 2 has been taken in by member 1; each brought 100 points.
async fn merged(engine: TestEngine, terms: pb::Terms) -> Suite {
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 10_000).await;
    join(&suite).await;
    suite
}

async fn join(suite: &Suite) {
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
}

async fn part(suite: &Suite) {
    suite.client(Role::Support).await.unmerge_accounts(unmerge(1, 2)).await.unwrap();
}

/// The operation went to member 1, and its entries say that member 2 was named.
fn went_over(operation: &pb::Operation) {
    assert_eq!(operation.member, member(1));
    for entry in operation.entries.iter().filter(|entry| entry.actor != "clock") {
        assert_eq!(entry.presented_member, member(2));
        assert!(entry.name.starts_with(&member(1)), "{}", entry.name);
    }
}

async fn earning_and_spending_in_an_old_name(engine: TestEngine) {
    let suite = merged(engine, pb::Terms { activities: vec![earns("review", 50)], ..terms() }).await;
    let mut platform = suite.platform();
    let request = award(2, "q2", 1_000);
    let shown = platform.preview_award(preview(&request)).await.unwrap().into_inner();
    assert_eq!((shown.points, shown.balance.as_ref().map(|balance| balance.member.clone())), (10, Some(member(1))));
    assert!(!shown.award.as_ref().unwrap().first_purchase);
    let bought = platform.award(request).await.unwrap().into_inner();
    went_over(&bought);
    assert_eq!((bought.award, bought.balance.as_ref().map(figures)), (shown.award, shown.balance.as_ref().map(figures)));
    assert_eq!(suite.purchase("q2").await.member, member(2), "the purchase is by who was named");
    let operations = [
        platform.award_activity(activity(2, "review", "a1")).await,
        platform.redeem(redeem(2, 150)).await,
        platform.reserve(reserve(2, 50)).await,
        suite.client(Role::Support).await.adjust(adjust(2, -10)).await,
        platform.transfer(transfer(2, 3, 10)).await,
    ];
    for operation in operations {
        went_over(operation.unwrap().get_ref());
    }
    // Who is given is named on the other side.
    platform.transfer(transfer(3, 2, 10)).await.unwrap();
    assert_eq!(suite.entries(3).await.pop().unwrap().counterpart, member(1));
    for (from, to) in [(1, 2), (2, 1)] {
        assert_eq!(precondition(platform.transfer(transfer(from, to, 1)).await), "SAME_ACCOUNT");
    }
    assert_eq!(suite.figures(1).await, (50, 0, 50, 0));
    assert_eq!(suite.entries(2).await.len(), 2, "the old books are closed");
    assert_eq!(suite.verified().await.points["tea"], 100);
}

async fn what_was_begun_before_is_ended_after(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(2, "q1", 10_000).await;
    let spent = platform.redeem(redeem(2, 30)).await.unwrap().into_inner().name;
    let (one, two, three) = (hold(&suite.reserve(2, 10).await), hold(&suite.reserve(2, 10).await), hold(&suite.reserve(2, 10).await));
    let ended = hold(&suite.reserve(2, 10).await);
    platform.capture(capture(&ended, None)).await.unwrap();
    join(&suite).await;
    let captured = platform.capture(capture(&one, Some(4))).await.unwrap().into_inner();
    went_over(&captured);
    let told = captured.reservation.unwrap();
    assert_eq!((told.state(), told.name), (State::Captured, one.replace(&member(2), &member(1))));
    went_over(platform.release(release(&two)).await.unwrap().get_ref());
    assert_eq!(precondition(platform.capture(capture(&one, None)).await), "RESERVATION_CAPTURED");
    assert_eq!(precondition(platform.capture(capture(&two, None)).await), "RESERVATION_RELEASED");
    assert_eq!(precondition(platform.release(release(&ended)).await), "RESERVATION_CAPTURED");
    let refunded = platform.refund_redemption(refund(&spent, Some(20))).await.unwrap().into_inner();
    went_over(&refunded);
    assert_eq!((refunded.actual_points, &refunded.entries[0].redemption), (20, &spent));
    // What was captured of an old reservation since goes back too.
    platform.refund_redemption(refund(&captured.name, None)).await.unwrap();
    suite.clock.advance(DAY);
    assert_eq!(precondition(platform.capture(capture(&three, None)).await), "RESERVATION_EXPIRED");
    assert_eq!(suite.figures(1).await, (80, 0, 0, 0));
    suite.verified().await;
}

async fn goods_of_before_go_back_after(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q0", 10_000).await;
    let spent = platform.redeem(redeem(2, 60)).await.unwrap().into_inner().name;
    let paid = with(award(2, "q1", 10_000), |request| input(request).redemptions = vec![spent.clone()]);
    platform.award(paid).await.unwrap();
    join(&suite).await;
    let operation = platform.return_purchase(down_to("q1", 5_000)).await.unwrap().into_inner();
    went_over(&operation);
    assert_eq!(story(&operation.entries), ["REFUND 30", "CLAWBACK -50"]);
    assert_eq!(suite.figures(1).await, (100 + 140 - 20, 0, 0, 0));
    // Since the merge, what another name spent may pay for it.
    let spent = platform.redeem(redeem(1, 10)).await.unwrap().into_inner().name;
    let paid = with(award(2, "q2", 1_000), |request| input(request).redemptions = vec![spent]);
    platform.preview_award(preview(&paid)).await.unwrap();
    platform.award(paid).await.unwrap();
    assert_eq!(platform.return_purchase(down_to("q2", 0)).await.unwrap().into_inner().actual_points, 0);
    assert_eq!(suite.figures(1).await, (220, 0, 0, 0));
    suite.verified().await;
}

async fn what_waits_opens_in_an_old_name(engine: TestEngine) {
    let suite = merged(engine, pb::Terms { activate_on: waits_for("delivered", None), ..terms() }).await;
    let mut platform = suite.platform();
    let of = |reference: &str| with(activate(2, "delivered"), |request| request.pending_reference = reference.to_owned());
    let opened = platform.activate_pending(of("q1")).await.unwrap().into_inner();
    went_over(&opened);
    assert_eq!(opened.requested_points, 100);
    suite.award(2, "q2", 5_000).await;
    let given_up = platform.cancel_pending(with(cancel(2, "delivered"), |request| request.pending_reference = "q2".to_owned())).await;
    went_over(given_up.unwrap().get_ref());
    assert_eq!(suite.figures(1).await, (100, 100, 0, 0));
    suite.verified().await;
}

async fn corrections_in_an_old_name(engine: TestEngine) {
    let suite = merged(engine, pb::Terms { expire_after: days(30), ..terms() }).await;
    let mut support = suite.client(Role::Support).await;
    let operation = support.set_expiry(never_expire(2)).await.unwrap().into_inner();
    went_over(&operation);
    assert_eq!(operation.requested_points, 200);
    suite.platform().redeem(redeem(2, 200)).await.unwrap();
    suite.platform().return_purchase(down_to("q1", 0)).await.unwrap();
    let operation = support.forgive_deficit(forgive(2, Some(40))).await.unwrap().into_inner();
    went_over(&operation);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 60));
    suite.verified().await;
}

async fn rewards_in_an_old_name(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    service.ensure_reward(ensure(2, "referral/1", 50, true, 1)).await.unwrap();
    join(&suite).await;
    let request = ensure(2, "referral/1", 50, false, 2);
    let revoked = service.ensure_reward(request.clone()).await.unwrap().into_inner();
    assert_eq!((revoked.version, revoked.granted), (2, false));
    let operation = suite.platform().get_operation(answer_to(&request.request_id)).await.unwrap().into_inner();
    went_over(&operation);
    assert_eq!(story(&operation.entries), ["REWARD_REVOKED -50"]);
    let granted = service.ensure_reward(ensure(2, "referral/2", 30, true, 1)).await.unwrap().into_inner();
    assert!(granted.granted);
    // In the survivor's own name as well.
    assert!(service.ensure_reward(ensure(1, "referral/1", 50, true, 3)).await.unwrap().into_inner().granted);
    assert_eq!(refusal(service.ensure_reward(ensure(3, "referral/1", 50, true, 4)).await).1, "REWARD_EXISTS");
    assert_eq!(suite.figures(1).await, (80, 0, 0, 0));
    suite.verified().await;
}

async fn natural_keys_bind_across_a_merge(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { activities: vec![earns("review", 50)], ..terms() }).await;
    let mut platform = suite.platform();
    let bought = award(2, "q1", 10_000);
    let done = activity(2, "review", "a1");
    let first =
        (platform.award(bought.clone()).await.unwrap().into_inner(), platform.award_activity(done.clone()).await.unwrap().into_inner());
    join(&suite).await;
    let (bought, done) =
        (with(bought, |request| request.request_id = request_id()), with(done, |request| request.request_id = request_id()));
    let again = (platform.award(bought.clone()).await.unwrap(), platform.award_activity(done.clone()).await.unwrap());
    assert!(replayed(&again.0) && replayed(&again.1));
    assert_eq!((again.0.into_inner(), again.1.into_inner()), first, "the first answer names the member of its day");
    // In another name it is another purchase, though the account is the same.
    let renamed = with(bought, |request| (request.member, request.request_id) = (member(1), request_id()));
    assert_eq!(metadata(&platform.award(renamed.clone()).await, "field"), "member");
    assert_eq!(refusal(platform.award(renamed).await), (Code::AlreadyExists, "PURCHASE_EXISTS".to_owned()));
    let renamed = with(done, |request| (request.member, request.request_id) = (member(1), request_id()));
    assert_eq!(refusal(platform.award_activity(renamed).await), (Code::AlreadyExists, "ACTIVITY_EXISTS".to_owned()));
    assert_eq!(suite.figures(1).await, (150, 0, 0, 0));
}

async fn reading_in_an_old_name(engine: TestEngine) {
    let suite = merged(engine, terms()).await;
    let balance = suite.balance(2).await;
    assert_eq!(balance, suite.balance(1).await);
    assert_eq!((figures(&balance), balance.member), ((200, 0, 0, 0), member(1)));
    // Books and figures as of a time are each member's own.
    assert_eq!(suite.story(2).await, ["AWARD 100", "MERGE_OUT -100"]);
    assert_eq!(story(&suite.statement(2, 2).await), ["MERGE_OUT -100"]);
    let request =
        pb::GetBalanceRequest { member: member(2), effective_by_time: Some(rpc::wire::timestamp(suite.now())), known_by_time: None };
    let told = suite.platform().get_balance(request).await.unwrap().into_inner();
    assert_eq!((figures(&told), told.member, told.version), ((0, 0, 0, 0), member(2), 2));
}

async fn a_hold_that_stayed_is_not_said_to_have_ended(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(2, "q1", 10_000).await;
    let held = hold(&suite.reserve(2, 40).await);
    join(&suite).await;
    part(&suite).await;
    // It stays with the survivor, and is no longer the other's.
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((0, 0, 40, 0), (60, 0, 0, 0)));
    assert_eq!(refusal(platform.capture(capture(&held, None)).await), (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned()));
    platform.capture(capture(&held.replace(&member(2), &member(1)), None)).await.unwrap();
    suite.verified().await;
}

async fn a_reward_given_while_merged_can_be_revoked_after(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    suite.award(1, "p1", 10_000).await;
    join(&suite).await;
    service.ensure_reward(ensure(2, "referral/1", 50, true, 1)).await.unwrap();
    part(&suite).await;
    let revoked = service.ensure_reward(ensure(2, "referral/1", 50, false, 2)).await.unwrap().into_inner();
    assert_eq!((revoked.version, revoked.granted), (2, false));
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((100, 0, 0, 0), (0, 0, 0, 0)));
    assert_eq!(suite.verified().await.points["tea"], 100);
}

async fn a_long_row_of_merges_leads_to_the_last(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    for owner in 1..=20 {
        support.merge_accounts(merge(owner + 1, owner)).await.unwrap();
    }
    let bought = suite.award(1, "p2", 1_000).await;
    assert_eq!((&bought.member, &bought.entries[0].presented_member), (&member(21), &member(1)));
    let spent = suite.platform().redeem(redeem(7, 60)).await.unwrap().into_inner();
    assert_eq!(spent.member, member(21));
    assert_eq!((suite.balance(1).await.member, suite.figures(1).await), (member(21), (50, 0, 0, 0)));
    assert_eq!(suite.verified().await.points["tea"], 50);
}

async fn a_refund_beside_a_merge_gives_back_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let support = suite.client(Role::Support).await;
    for round in 0..4_u128 {
        let (survivor, merged) = (10 * round + 1, 10 * round + 2);
        suite.award(merged, &format!("p{merged}"), 10_000).await;
        let spent = suite.platform().redeem(redeem(merged, 100)).await.unwrap().into_inner().name;
        let calls = (0..40).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let (mut joins, request) = (support.clone(), refund(&spent, Some(10)));
            async move {
                match number {
                    10 => joins.merge_accounts(merge(survivor, merged)).await.map(|_| 0),
                    30 => joins.unmerge_accounts(unmerge(survivor, merged)).await.map(|_| 0).or(Ok(0)),
                    _ => server.refund_redemption(request).await.map(|answer| answer.into_inner().actual_points),
                }
            }
        });
        let answers = futures::future::join_all(calls).await;
        let back: i64 = answers.iter().filter_map(|answer| answer.as_ref().ok()).sum();
        assert_eq!(back, 100);
        assert!(answers.into_iter().filter(Result::is_err).all(|answer| precondition(answer) == "EXCEEDS_REDEMPTION"));
    }
    assert_eq!(suite.verified().await.points["tea"], 400);
    replica.stop().await;
    suite.stop().await;
}

async fn goods_that_still_wait_go_back_after(engine: TestEngine) {
    let only_pending = pb::Terms { return_policy: ReturnPolicy::OnlyPending.into(), activate_after: days(14), ..terms() };
    let on_delivery = pb::Terms { activate_after: None, activate_on: waits_for("delivered", None), ..only_pending.clone() };
    let suite = Suite::with_terms(engine, only_pending).await;
    let mut platform = suite.platform();
    suite.award(2, "q1", 10_000).await;
    suite.clock.advance(std::time::Duration::from_secs(1));
    suite.new_terms(on_delivery, suite.now()).await;
    suite.award(2, "q2", 10_000).await;
    join(&suite).await;
    for (id, left) in [("q1", 100), ("q2", 0)] {
        let told = platform.return_purchase(down_to(id, 0)).await.unwrap().into_inner().r#return.unwrap();
        assert_eq!((told.taken_from_pending, told.forgiven), (100, 0), "{id}");
        assert_eq!(suite.figures(1).await, (0, left, 0, 0));
    }
    suite.verified().await;
}

async fn an_order_paid_while_merged_goes_back_with_its_points(engine: TestEngine) {
    let suite = merged(engine, terms()).await;
    let mut platform = suite.platform();
    let spent = platform.redeem(redeem(2, 60)).await.unwrap().into_inner().name;
    let paid = with(award(2, "q2", 10_000), |request| input(request).redemptions = vec![spent.clone()]);
    platform.award(paid).await.unwrap();
    part(&suite).await;
    let operation = platform.return_purchase(down_to("q2", 0)).await.unwrap().into_inner();
    assert_eq!((operation.r#return.unwrap().refund.unwrap().points, suite.purchase("q2").await.given_back_points), (60, 60));
    assert_eq!(precondition(platform.refund_redemption(refund(&spent, None)).await), "EXCEEDS_REDEMPTION");
    assert_eq!(suite.verified().await.points["tea"], 200);
}

async fn a_purchase_beside_the_end_of_a_merge_is_in_the_books_of_its_buyer(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    for round in 0..6 {
        join(&suite).await;
        let before = suite.figures(2).await.0 - suite.figures(1).await.0;
        assert_eq!(before, 0, "both names are one");
        let calls = (0..40).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let (mut parts, request) = (support.clone(), award(2, &format!("q{round}-{number}"), 1_000));
            async move {
                if number == 20 {
                    parts.unmerge_accounts(unmerge(1, 2)).await.unwrap();
                } else {
                    server.award(request).await.unwrap();
                }
            }
        });
        futures::future::join_all(calls).await;
        // Whenever it came, what he earned is his.
        assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (100, (round + 1) * 390), "round {round}");
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_balance_beside_the_end_of_a_merge_is_of_who_was_named(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "q1", 10_000).await;
    for _ in 0..20 {
        join(&suite).await;
        let reads = (0..60).map(|_| suite.balance(2));
        let (told, ()) = futures::future::join(futures::future::join_all(reads), part(&suite)).await;
        for balance in told {
            // Of both as long as they are one, then of him alone; never of the other alone.
            let together = (member(1), (200, 0, 0, 0));
            let apart = (member(2), (100, 0, 0, 0));
            let told = (balance.member.clone(), figures(&balance));
            assert!(told == together || told == apart, "{told:?}");
        }
    }
    suite.stop().await;
}
