//! Points that wait for an event, or all for one moment.

use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use proto::points::terms::ReturnPolicy;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    who_waits_sees_what_for,
    the_event_makes_them_spendable,
    the_event_of_one_purchase_is_its_own,
    life_is_counted_from_the_event_under_the_terms_of_the_day,
    what_will_not_come_is_given_up,
    waiting_ends,
    nothing_waits_twice,
    what_comes_alive_repays_what_is_owed,
    a_return_takes_what_still_waits,
    an_event_comes_or_does_not,
    another_server_counts_life_by_the_same_terms,
    all_points_may_wait_for_one_moment,
);

fn on_delivery() -> pb::Terms {
    pb::Terms { activate_on: waits_for("delivered", days(30)), expire_after: days(90), activities: vec![earns("review", 50)], ..terms() }
}

async fn who_waits_sees_what_for(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    let request = award(1, "p1", 10_000);
    let shown = platform.preview_award(preview(&request)).await.unwrap().into_inner();
    assert_eq!(figures(shown.balance.as_ref().unwrap()), (0, 100, 0, 0));
    let operation = platform.award(request).await.unwrap().into_inner();
    let change = &operation.entries[0].lots[0];
    assert_eq!((change.event.as_str(), change.activate_time, change.expire_time, change.points_delta), ("delivered", None, None, 100));
    assert_eq!((operation.entries[0].active_after, operation.entries[0].pending_after), (0, 100));
    suite.stands(&operation).await;
    platform.award_activity(activity(1, "review", "a1")).await.unwrap();
    suite.award(1, "p2", 10_000).await;
    let balance = suite.balance(1).await;
    assert_eq!(figures(&balance), (0, 250, 0, 0));
    let wallet = &balance.wallets[0];
    assert_eq!(
        (wallet.next_activate_time, wallet.next_activate_points, wallet.next_expire_time, wallet.next_expire_points),
        (None, 0, None, 0)
    );
    // Each is a lot of its own, however alike they are.
    let mut lots: Vec<_> = wallet.lots.iter().map(|lot| (lot.pending_reference.as_str(), lot.points)).collect();
    lots.sort_unstable();
    assert_eq!(lots, [("a1", 50), ("p1", 100), ("p2", 100)]);
    for lot in &wallet.lots {
        assert_eq!((lot.event.as_str(), lot.activate_time, lot.expire_time, lot.sliding), ("delivered", None, None, false));
        assert_eq!((lot.cancel_time, lot.reserved_points), (Some(timestamp(START + 30 * DAY)), 0));
    }
    assert_eq!(metadata(&platform.redeem(redeem(1, 1)).await, "missing_points"), "1");
    suite.verified().await;
}

async fn the_event_makes_them_spendable(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.award_activity(activity(1, "review", "a1")).await.unwrap();
    suite.clock.advance(DAY);
    let operation = platform.activate_pending(activate(1, "delivered")).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Activate, 150, 0));
    assert_eq!((operation.occur_time, operation.record_time), (Some(timestamp(suite.now())), Some(timestamp(suite.now()))));
    assert_eq!(story(&operation.entries), ["ACTIVATE 0", "ACTIVATE 0"]);
    for entry in &operation.entries {
        let [from, to] = &entry.lots[..] else { panic!("{entry:?}") };
        assert_eq!((from.event.as_str(), from.points_delta, to.event.as_str()), ("delivered", -to.points_delta, ""));
        assert_eq!(to.expire_time, Some(timestamp(START + 91 * DAY)));
        assert_eq!((entry.reason.as_str(), entry.effective_time), ("delivered", Some(timestamp(suite.now()))));
    }
    suite.stands(&operation).await;
    let balance = suite.balance(1).await;
    // They are alike now, and so one lot.
    assert_eq!((figures(&balance), balance.wallets[0].lots.len()), ((150, 0, 0, 0), 1));
    assert_eq!((balance.wallets[0].next_expire_time, balance.wallets[0].next_expire_points), (Some(timestamp(START + 91 * DAY)), 150));
    let told = posted(&suite.events(3).await[2]);
    assert_eq!(told, ("ACTIVATE".to_owned(), String::new(), vec!["3 ACTIVATE 0".to_owned(), "4 ACTIVATE 0".to_owned()]));
    suite.verified().await;
}

async fn the_event_of_one_purchase_is_its_own(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    for (id, fen) in [("p1", 1_000), ("p2", 2_000), ("p3", 4_000)] {
        suite.award(1, id, fen).await;
    }
    platform.award_activity(activity(1, "review", "a1")).await.unwrap();
    let of = |reference: &str| with(activate(1, "delivered"), |request| request.pending_reference = reference.to_owned());
    assert_eq!(precondition(platform.activate_pending(of("p9")).await), "NOTHING_PENDING");
    let operation = platform.activate_pending(of("p2")).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, operation.entries.len()), (20, 1));
    let given_up = with(cancel(1, "delivered"), |request| request.pending_reference = "p3".to_owned());
    assert_eq!(platform.cancel_pending(given_up).await.unwrap().into_inner().actual_points, -40);
    assert_eq!(platform.activate_pending(of("a1")).await.unwrap().into_inner().requested_points, 50);
    assert_eq!(suite.figures(1).await, (70, 10, 0, 0));
    assert_eq!(suite.balance(1).await.wallets[0].lots.last().unwrap().pending_reference, "p1");
    suite.verified().await;
}

async fn life_is_counted_from_the_event_under_the_terms_of_the_day(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(10 * DAY);
    suite.new_terms(pb::Terms { expire_after: days(1), ..terms() }, suite.now()).await;
    let came = timestamp(START + 8 * DAY);
    let request = with(activate(1, "delivered"), |request| request.occur_time = Some(came));
    let operation = platform.activate_pending(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.occur_time, operation.entries[0].effective_time), (Some(came), Some(came)));
    assert_eq!(operation.balance.as_ref().unwrap().wallets[0].next_expire_time, Some(timestamp(START + 98 * DAY)));
    suite.stands(&operation).await;
    let at = |time| with(activate(1, "delivered"), |request| request.occur_time = Some(timestamp(time)));
    let ahead = platform.activate_pending(at(suite.now() + DAY)).await;
    assert_eq!(metadata(&ahead, "field"), "occur_time");
    assert_eq!(refusal(ahead), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    assert_eq!(refusal(platform.activate_pending(at(START - 40 * DAY)).await), (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD".to_owned()));
    suite.clock.advance(400 * DAY);
    assert_eq!(platform.activate_pending(request).await.unwrap().into_inner(), operation);
    suite.verified().await;
}

async fn what_will_not_come_is_given_up(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let request = cancel(1, "delivered");
    let operation = platform.cancel_pending(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Cancel, 100, -100));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, entry.reason.as_str()), (pb::EntryKind::Cancel, -100, "it was lost"));
    assert_eq!((entry.lots.len(), entry.lots[0].event.as_str(), entry.lots[0].points_delta), (1, "delivered", -100));
    suite.stands(&operation).await;
    assert!(replayed(&platform.cancel_pending(request).await.unwrap()));
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    assert_eq!(posted(&suite.events(2).await[1]), ("CANCEL".to_owned(), String::new(), vec!["2 CANCEL -100".to_owned()]));
    suite.verified().await;
}

async fn waiting_ends(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(30 * DAY);
    // It has ended, whether or not a job has run.
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    assert_eq!(precondition(platform.activate_pending(activate(1, "delivered")).await), "NOTHING_PENDING");
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "CANCEL -100"]).await;
    let entry = &suite.entries(1).await[1];
    assert_eq!((entry.actor.as_str(), entry.reason.as_str(), entry.operation.as_str()), ("clock", "delivered", ""));
    assert_eq!(entry.effective_time, Some(timestamp(START + 30 * DAY)));
    assert_eq!(posted(&suite.events(2).await[1]), ("SETTLE".to_owned(), String::new(), vec!["2 CANCEL -100".to_owned()]));
    // Where no end is named, it does not end.
    suite.new_terms(pb::Terms { activate_on: waits_for("reviewed", None), ..terms() }, suite.now()).await;
    suite.award(2, "p2", 10_000).await;
    suite.clock.advance(1000 * DAY);
    let balance = suite.balance(2).await;
    assert_eq!((figures(&balance), balance.wallets[0].lots[0].cancel_time), ((0, 100, 0, 0), None));
    let operation = platform.activate_pending(activate(2, "reviewed")).await.unwrap().into_inner();
    assert_eq!((operation.balance.as_ref().map(figures), operation.entries[0].lots[1].expire_time), (Some((100, 0, 0, 0)), None));
    suite.verified().await;
}

async fn nothing_waits_twice(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    let (opens, gives_up) = (activate(1, "delivered"), cancel(1, "delivered"));
    assert_eq!(precondition(platform.activate_pending(opens.clone()).await), "NOTHING_PENDING");
    assert_eq!(precondition(platform.cancel_pending(gives_up.clone()).await), "NOTHING_PENDING");
    assert_eq!(refusal(platform.get_operation(answer_to(&opens.request_id)).await).1, "OPERATION_NOT_FOUND");
    suite.award(1, "p1", 10_000).await;
    assert_eq!(precondition(platform.activate_pending(activate(1, "reviewed")).await), "NOTHING_PENDING");
    assert_eq!(precondition(platform.cancel_pending(cancel(1, "reviewed")).await), "NOTHING_PENDING");
    // What was not known yet is not remembered: the event may overtake its purchase.
    let operation = platform.activate_pending(opens.clone()).await.unwrap();
    assert!(!replayed(&operation));
    assert!(replayed(&platform.activate_pending(opens).await.unwrap()));
    assert_eq!(precondition(platform.activate_pending(activate(1, "delivered")).await), "NOTHING_PENDING");
    assert_eq!(precondition(platform.cancel_pending(gives_up).await), "NOTHING_PENDING");
    assert_eq!(suite.story(1).await, ["AWARD 100", "ACTIVATE 0"]);
    suite.verified().await;
}

async fn what_comes_alive_repays_what_is_owed(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.activate_pending(activate(1, "delivered")).await.unwrap();
    platform.redeem(redeem(1, 100)).await.unwrap();
    platform.return_purchase(down_to("p1", 2_000)).await.unwrap();
    suite.award(1, "p2", 10_000).await;
    assert_eq!(suite.figures(1).await, (0, 100, 0, 80), "what waits repays nothing yet");
    let operation = platform.activate_pending(activate(1, "delivered")).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, operation.entries[0].deficit_delta, operation.entries[0].deficit_after), (0, -80, 0));
    suite.stands(&operation).await;
    assert_eq!(suite.figures(1).await, (20, 0, 0, 0));
    suite.verified().await;
}

async fn a_return_takes_what_still_waits(engine: TestEngine) {
    let only_pending = pb::Terms { return_policy: ReturnPolicy::OnlyPending.into(), ..on_delivery() };
    let suite = Suite::with_terms(engine, only_pending).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.award(1, "p2", 10_000).await;
    let told = platform.return_purchase(down_to("p1", 4_000)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_pending, told.forgiven), (60, 0));
    let lots: Vec<_> = suite.balance(1).await.wallets[0].lots.iter().map(|lot| (lot.pending_reference.clone(), lot.points)).collect();
    assert!(lots.contains(&("p1".to_owned(), 40)) && lots.contains(&("p2".to_owned(), 100)), "{lots:?}");
    platform.activate_pending(activate(1, "delivered")).await.unwrap();
    let told = platform.return_purchase(down_to("p2", 0)).await.unwrap().into_inner().r#return.unwrap();
    assert_eq!((told.taken_from_pending, told.forgiven), (0, 100));
    assert_eq!(suite.figures(1).await, (140, 0, 0, 0));
    suite.verified().await;
}

async fn an_event_comes_or_does_not(engine: TestEngine) {
    let suite = Suite::with_terms(engine, on_delivery()).await;
    let replica = suite.replica().await;
    let support = suite.client(Role::Support).await;
    for owner in 1..=4_u128 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
        let calls = (0..20).map(|number| {
            let mut server = if number % 4 < 2 { support.clone() } else { replica.platform.clone() };
            async move {
                if number % 2 == 0 {
                    server.activate_pending(activate(owner, "delivered")).await
                } else {
                    server.cancel_pending(cancel(owner, "delivered")).await
                }
            }
        });
        let (done, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        assert!(refused.into_iter().all(|answer| precondition(answer) == "NOTHING_PENDING"));
        let left = 100 + done[0].as_ref().unwrap().get_ref().actual_points;
        assert_eq!(suite.figures(owner).await, (left, 0, 0, 0));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn another_server_counts_life_by_the_same_terms(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut replica = suite.replica().await;
    for owner in 1..=3 {
        // The other server has just read the terms, and these are newer.
        replica.platform.preview_award(preview(&award(owner, "p", 100))).await.unwrap();
        suite.new_terms(pb::Terms { expire_after: days(10 + i32::try_from(owner).unwrap()), ..on_delivery() }, suite.now()).await;
        suite.award(owner, &format!("p{owner}"), 10_000).await;
        let operation = replica.platform.activate_pending(activate(owner, "delivered")).await.unwrap().into_inner();
        let lapses = operation.balance.unwrap().wallets[0].next_expire_time;
        assert_eq!(lapses, Some(timestamp(START + (10 + u32::try_from(owner).unwrap()) * DAY)));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn all_points_may_wait_for_one_moment(engine: TestEngine) {
    let (opens, lapses) = (START + 5 * DAY, START + 20 * DAY);
    let season = pb::Terms { activate_time: Some(timestamp(opens)), expire_time: Some(timestamp(lapses)), ..terms() };
    let suite = Suite::with_terms(engine, season).await;
    for id in ["p1", "p2"] {
        let award = suite.award(1, id, 10_000).await.award.unwrap();
        assert_eq!((award.activate_time, award.expire_time), (Some(timestamp(opens)), Some(timestamp(lapses))));
        suite.clock.advance(DAY);
    }
    let balance = suite.balance(1).await;
    assert_eq!((figures(&balance), balance.wallets[0].lots.len()), ((0, 200, 0, 0), 1));
    assert_eq!((balance.wallets[0].next_activate_time, balance.wallets[0].next_activate_points), (Some(timestamp(opens)), 200));
    assert_eq!(precondition(suite.platform().activate_pending(activate(1, "delivered")).await), "NOTHING_PENDING");
    suite.clock.advance(4 * DAY);
    // Later than that moment they are spendable at once.
    let award = suite.award(1, "p3", 10_000).await.award.unwrap();
    assert_eq!((award.activate_time, award.expire_time), (None, Some(timestamp(lapses))));
    let balance = suite.balance(1).await;
    assert_eq!((figures(&balance), balance.wallets[0].next_expire_points), ((300, 0, 0, 0), 300));
    suite.clock.advance(14 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    testkit::eventually(async || suite.story(1).await == ["AWARD 100", "AWARD 100", "ACTIVATE 0", "AWARD 100", "EXPIRE -300"]).await;
    suite.verified().await;
}
