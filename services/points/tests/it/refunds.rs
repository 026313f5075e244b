//! Points that were spent and come back.

use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use proto::points::reservation::State;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    points_go_back_to_the_lots_they_came_from,
    any_partition_of_a_refund_ends_alike,
    no_more_goes_back_than_was_spent,
    only_what_was_spent_can_go_back,
    what_would_have_lapsed_lapses,
    what_would_have_lapsed_may_live_on,
    what_goes_back_repays_what_is_owed,
    a_capture_can_be_undone,
    a_hold_may_be_captured_bit_by_bit,
    a_hold_for_several_captures_ends_in_every_way,
    a_refund_many_times_at_once_gives_back_once,
    a_till_refunds_by_its_own_name,
);

const SECONDS_OF_A_DAY: i64 = 86_400;

/// Two lots: 100 points that lapse in ten days, and 100 that lapse in twelve.
async fn two_lots(engine: TestEngine, terms: pb::Terms) -> Suite {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after: days(10), ..terms }).await;
    let earlier = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(timestamp(START - 2 * DAY)));
    suite.platform().award(earlier).await.unwrap();
    suite.award(1, "p2", 10_000).await;
    suite
}

/// Points of the lots in the order in which they are spent.
async fn lots(suite: &Suite, owner: u128) -> Vec<(i64, i64)> {
    let day = |lot: &pb::Lot| (lot.expire_time.unwrap().seconds - timestamp(START).seconds) / SECONDS_OF_A_DAY;
    suite.balance(owner).await.wallets[0].lots.iter().map(|lot| (day(lot), lot.points)).collect()
}

async fn points_go_back_to_the_lots_they_came_from(engine: TestEngine) {
    let mut suite = two_lots(engine, terms()).await;
    let mut platform = suite.platform();
    let spent = platform.redeem(redeem(1, 150)).await.unwrap().into_inner();
    suite.clock.advance(DAY);
    let request = refund(&spent.name, Some(60));
    let operation = platform.refund_redemption(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Refund, 60, 60));
    assert_eq!((&operation.member, operation.counterpart.as_str()), (&member(1), ""));
    assert_eq!((operation.occur_time, operation.record_time), (Some(timestamp(START + DAY)), Some(timestamp(START + DAY))));
    let told = pb::RefundExplanation { points: 60, repaid_points: 0, lapsed_points: 0, redemptions: vec![spent.name.clone()] };
    assert_eq!(operation.refund, Some(told));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, &entry.redemption, entry.purchase.as_str()), (pb::EntryKind::Refund, 60, &spent.name, ""));
    assert_eq!(entry.lots.iter().map(|lot| lot.points_delta).sum::<i64>(), 60);
    // The last taken first: what stays spent is what a redemption of 90 would have taken.
    assert_eq!(lots(&suite, 1).await, [(8, 10), (10, 100)]);
    suite.stands(&operation).await;
    suite = suite.restart().await;
    assert_eq!(suite.platform().refund_redemption(request).await.unwrap().into_inner(), operation);
    let rest = suite.platform().refund_redemption(refund(&spent.name, None)).await.unwrap().into_inner();
    assert_eq!((rest.requested_points, rest.actual_points), (90, 90));
    suite.stands(&rest).await;
    assert_eq!(lots(&suite, 1).await, [(8, 100), (10, 100)]);
    let events = suite.events(5).await;
    assert_eq!(posted(&events[3]), ("REFUND".to_owned(), String::new(), vec!["4 REFUND 60".to_owned()]));
    suite.verified().await;
}

async fn any_partition_of_a_refund_ends_alike(engine: TestEngine) {
    let ways: [&[Option<i64>]; 5] =
        [&[None], &[Some(1), None], &[Some(100), Some(50)], &[Some(49), Some(2), Some(99)], &[Some(30), Some(30), Some(30), Some(60)]];
    let terms = pb::Terms { expire_after: days(10), ..terms() };
    let suite = Suite::with_terms(engine, terms).await;
    let mut platform = suite.platform();
    let mut ends = Vec::new();
    for (owner, way) in (1..).zip(ways) {
        for (number, day) in [(1, 3), (2, 2), (3, 1)] {
            let early = |request: &mut pb::AwardRequest| input(request).occur_time = Some(timestamp(START - day * DAY));
            platform.award(with(award(owner, &format!("p{owner}-{number}"), 6_000), early)).await.unwrap();
        }
        let spent = platform.redeem(redeem(owner, 150)).await.unwrap().into_inner();
        for step in way {
            platform.refund_redemption(refund(&spent.name, *step)).await.unwrap();
        }
        assert_eq!(precondition(platform.refund_redemption(refund(&spent.name, None)).await), "EXCEEDS_REDEMPTION");
        ends.push((suite.figures(owner).await, lots(&suite, owner).await));
    }
    let whole = ((180, 0, 0, 0), vec![(7, 60), (8, 60), (9, 60)]);
    assert!(ends.iter().all(|end| *end == whole), "{ends:?}");
    suite.verified().await;
}

async fn no_more_goes_back_than_was_spent(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let spent = platform.redeem(redeem(1, 80)).await.unwrap().into_inner().name;
    let much = refund(&spent, Some(81));
    let refused = platform.refund_redemption(much.clone()).await;
    assert_eq!(metadata(&refused, "left_points"), "80");
    assert_eq!(precondition(refused), "EXCEEDS_REDEMPTION");
    platform.refund_redemption(refund(&spent, Some(30))).await.unwrap();
    assert_eq!(metadata(&platform.refund_redemption(refund(&spent, Some(51))).await, "left_points"), "50");
    platform.refund_redemption(refund(&spent, Some(50))).await.unwrap();
    for points in [None, Some(1)] {
        let refused = platform.refund_redemption(refund(&spent, points)).await;
        assert_eq!(metadata(&refused, "left_points"), "0");
        assert_eq!(precondition(refused), "EXCEEDS_REDEMPTION");
    }
    let again = platform.refund_redemption(much).await;
    assert_eq!(metadata(&again, "left_points"), "80", "a refusal is remembered");
    assert_eq!(suite.story(1).await, ["AWARD 100", "REDEEM -80", "REFUND 30", "REFUND 50"]);
    suite.verified().await;
}

async fn only_what_was_spent_can_go_back(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let bought = suite.award(1, "p1", 10_000).await.name;
    let held = suite.reserve(1, 10).await;
    let freed = platform.release(release(&hold(&held))).await.unwrap().into_inner().name;
    let spent = platform.redeem(redeem(1, 50)).await.unwrap().into_inner().name;
    let refunded = platform.refund_redemption(refund(&spent, Some(1))).await.unwrap().into_inner().name;
    let taken = suite.client(Role::Support).await.adjust(adjust(1, -1)).await.unwrap().into_inner().name;
    let nothing = platform.capture(capture(&hold(&suite.reserve(1, 10).await), Some(0))).await.unwrap().into_inner().name;
    let unknown = format!("{TEA}/operations/{}", uuid::Uuid::from_u128(9));
    let elsewhere = spent.replace("programs/tea", "programs/coffee");
    let coffee = pb::CreateProgramVersionRequest { parent: "programs/coffee".to_owned(), ..new_version(terms()) };
    suite.administrator().create_program_version(coffee).await.unwrap();
    let before = suite.entries(1).await;
    for name in [bought, held.name, freed, refunded, taken, nothing, unknown, elsewhere] {
        let request = refund(&name, None);
        assert_eq!(refusal(platform.refund_redemption(request.clone()).await), (Code::NotFound, "REDEMPTION_NOT_FOUND".to_owned()));
        // What is not known yet is not remembered, and its id is free.
        let other = with(request, |request| request.redemption = spent.clone());
        assert_eq!(
            platform.refund_redemption(with(other, |request| request.points = Some(1))).await.unwrap().into_inner().actual_points,
            1
        );
    }
    assert_eq!(suite.entries(1).await.len(), before.len() + 8);
    suite.verified().await;
}

async fn what_would_have_lapsed_lapses(engine: TestEngine) {
    let suite = two_lots(engine, terms()).await;
    let mut platform = suite.platform();
    let spent = platform.redeem(redeem(1, 150)).await.unwrap().into_inner().name;
    suite.clock.advance(9 * DAY);
    let operation = platform.refund_redemption(refund(&spent, None)).await.unwrap().into_inner();
    // 50 of the younger lot live; 100 of the older would have lapsed.
    let told = pb::RefundExplanation { points: 150, repaid_points: 0, lapsed_points: 100, redemptions: vec![spent.clone()] };
    assert_eq!((operation.refund.clone(), operation.requested_points, operation.actual_points), (Some(told), 150, 150));
    assert_eq!(story(&operation.entries), ["REFUND 150", "EXPIRE -100"]);
    assert_eq!(operation.entries[1].effective_time, Some(timestamp(START + 8 * DAY)));
    suite.stands(&operation).await;
    assert_eq!((suite.figures(1).await, lots(&suite, 1).await), ((100, 0, 0, 0), vec![(10, 100)]));
    suite.verified().await;
}

async fn what_would_have_lapsed_may_live_on(engine: TestEngine) {
    let suite = two_lots(engine, pb::Terms { restore_grace: days(3), ..terms() }).await;
    let mut platform = suite.platform();
    let spent = platform.redeem(redeem(1, 150)).await.unwrap().into_inner().name;
    suite.clock.advance(9 * DAY);
    let operation = platform.refund_redemption(refund(&spent, None)).await.unwrap().into_inner();
    assert_eq!((operation.refund.as_ref().unwrap().lapsed_points, story(&operation.entries)), (0, vec!["REFUND 150".to_owned()]));
    suite.stands(&operation).await;
    assert_eq!((suite.figures(1).await, lots(&suite, 1).await), ((200, 0, 0, 0), vec![(10, 100), (12, 100)]));
    suite.clock.advance(3 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn what_goes_back_repays_what_is_owed(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let spent = platform.redeem(redeem(1, 100)).await.unwrap().into_inner().name;
    platform.return_purchase(down_to("p1", 3_000)).await.unwrap();
    assert_eq!(suite.figures(1).await, (0, 0, 0, 70));
    let operation = platform.refund_redemption(refund(&spent, Some(40))).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, operation.refund.as_ref().unwrap().repaid_points), (40, 40));
    assert_eq!((operation.entries[0].deficit_delta, operation.entries[0].lots.len()), (-40, 0));
    let operation = platform.refund_redemption(refund(&spent, None)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, operation.refund.as_ref().unwrap().repaid_points), (60, 30));
    suite.stands(&operation).await;
    assert_eq!(suite.figures(1).await, (30, 0, 0, 0));
    suite.verified().await;
}

async fn a_capture_can_be_undone(engine: TestEngine) {
    let suite = two_lots(engine, terms()).await;
    let mut platform = suite.platform();
    let held = hold(&suite.reserve(1, 150).await);
    let operation = platform.capture(capture(&held, Some(120))).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, story(&operation.entries)), (-120, vec!["CAPTURE -120".to_owned(), "RELEASE 0".to_owned()]));
    suite.stands(&operation).await;
    assert_eq!(lots(&suite, 1).await, [(10, 80)]);
    let much = platform.refund_redemption(refund(&operation.name, Some(121))).await;
    assert_eq!(metadata(&much, "left_points"), "120", "what came free was not spent");
    let refunded = platform.refund_redemption(refund(&operation.name, None)).await.unwrap().into_inner();
    assert_eq!(refunded.actual_points, 120);
    assert_eq!((suite.figures(1).await, lots(&suite, 1).await), ((200, 0, 0, 0), vec![(8, 100), (10, 100)]));
    suite.verified().await;
}

async fn a_hold_may_be_captured_bit_by_bit(engine: TestEngine) {
    let suite = two_lots(engine, terms()).await;
    let mut platform = suite.platform();
    let several = with(reserve(1, 150), |request| request.several_captures = true);
    let opened = platform.reserve(several).await.unwrap().into_inner();
    assert!(opened.reservation.as_ref().unwrap().several_captures);
    suite.stands(&opened).await;
    let held = hold(&opened);
    let mut parts = Vec::new();
    let mut captured = 0;
    for points in [30, 0, 90] {
        let request = capture(&held, Some(points));
        let operation = platform.capture(request.clone()).await.unwrap().into_inner();
        captured += points;
        let told = operation.reservation.clone().unwrap();
        assert_eq!((told.state(), told.points, told.captured_points, told.several_captures), (State::Open, 150, captured, true));
        assert_eq!((operation.requested_points, operation.actual_points), (points, -points));
        assert_eq!(suite.figures(1).await, (50, 0, 150 - captured, 0));
        suite.stands(&operation).await;
        assert!(replayed(&platform.capture(request.clone()).await.unwrap()));
        let reused = platform.capture(with(request, |request| request.last = true)).await;
        assert_eq!(metadata(&reused, "field"), "last");
        parts.push(operation.name);
    }
    let much = platform.capture(capture(&held, Some(31))).await;
    assert_eq!(metadata(&much, "held_points"), "30");
    assert_eq!(precondition(much), "EXCEEDS_RESERVATION");
    let last = platform.capture(with(capture(&held, Some(10)), |request| request.last = true)).await.unwrap().into_inner();
    let told = last.reservation.clone().unwrap();
    assert_eq!((told.state(), told.points, told.captured_points), (State::Captured, 150, 130));
    assert_eq!(story(&last.entries), ["CAPTURE -10", "RELEASE 0"]);
    suite.stands(&last).await;
    assert_eq!((suite.figures(1).await, lots(&suite, 1).await), ((70, 0, 0, 0), vec![(10, 70)]));
    assert_eq!(precondition(platform.capture(capture(&held, Some(1))).await), "RESERVATION_CAPTURED");
    assert_eq!(precondition(platform.release(release(&held)).await), "RESERVATION_CAPTURED");
    // Each part is a redemption of its own. Nothing was spent by the second.
    assert_eq!(refusal(platform.refund_redemption(refund(&parts[1], None)).await).1, "REDEMPTION_NOT_FOUND");
    for (part, points) in [(&parts[2], 90), (&last.name, 10), (&parts[0], 30)] {
        assert_eq!(platform.refund_redemption(refund(part, None)).await.unwrap().into_inner().actual_points, points);
    }
    assert_eq!(lots(&suite, 1).await, [(8, 100), (10, 100)]);
    suite.verified().await;
}

async fn a_hold_for_several_captures_ends_in_every_way(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let opened = async |points| {
        let several = with(reserve(1, points), |request| request.several_captures = true);
        let held = hold(suite.platform().reserve(several).await.unwrap().get_ref());
        suite.platform().capture(capture(&held, Some(4))).await.unwrap();
        held
    };
    let told = |operation: pb::Operation| {
        let told = operation.reservation.unwrap();
        (told.state(), told.points, told.captured_points)
    };
    // By the last of its points, by all that is left, by none as the last, by release, by time.
    let operation = platform.capture(capture(&opened(10).await, Some(6))).await.unwrap().into_inner();
    assert_eq!(told(operation), (State::Captured, 10, 10));
    let operation = platform.capture(capture(&opened(10).await, None)).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, told(operation)), (6, (State::Captured, 10, 10)));
    let nothing = with(capture(&opened(10).await, Some(0)), |request| request.last = true);
    let operation = platform.capture(nothing).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, told(operation)), (0, (State::Captured, 10, 4)));
    let freed = opened(10).await;
    let operation = platform.release(release(&freed)).await.unwrap().into_inner();
    assert_eq!((operation.actual_points, told(operation)), (0, (State::Released, 10, 4)));
    assert_eq!(precondition(platform.capture(capture(&freed, Some(1))).await), "RESERVATION_RELEASED");
    let forgotten = opened(10).await;
    assert_eq!(suite.figures(1).await, (100 - 20 - 4 - 4 - 10, 0, 6, 0));
    suite.clock.advance(DAY);
    assert_eq!(precondition(platform.capture(capture(&forgotten, Some(1))).await), "RESERVATION_EXPIRED");
    assert_eq!(suite.figures(1).await, (100 - 20 - 4 - 4 - 4, 0, 0, 0));
    suite.verified().await;
    // Many parts at once: no more than it holds.
    let held = opened(54).await;
    let calls = (0..20).map(|_| {
        let (mut platform, held) = (suite.platform(), held.clone());
        async move { platform.capture(capture(&held, Some(5))).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 10);
    assert!(refused.into_iter().all(|answer| precondition(answer) == "RESERVATION_CAPTURED"));
    assert_eq!(suite.figures(1).await, (68 - 54, 0, 0, 0));
    suite.verified().await;
}

async fn a_refund_many_times_at_once_gives_back_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    suite.award(1, "p1", 100_000).await;
    for points in [None, Some(100), Some(10), Some(30)] {
        let spent = suite.platform().redeem(redeem(1, 100)).await.unwrap().into_inner().name;
        let calls = (0..20).map(|number| {
            let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
            let request = refund(&spent, points);
            async move { server.refund_redemption(request).await }
        });
        let (done, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        let part = points.unwrap_or(100);
        assert_eq!(done.len(), usize::try_from(100 / part).unwrap());
        assert!(done.iter().all(|answer| answer.as_ref().unwrap().get_ref().actual_points == part));
        assert!(refused.into_iter().all(|answer| precondition(answer) == "EXCEEDS_REDEMPTION"));
        let left = suite.platform().refund_redemption(refund(&spent, None)).await;
        assert_eq!(left.is_ok(), part == 30, "ten are left of three times thirty");
        assert_eq!(suite.figures(1).await, (1_000, 0, 0, 0));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_till_refunds_by_its_own_name(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut till = suite.till().await;
    suite.award(1, "p1", 10_000).await;
    let spent = till.redeem(redeem(1, 80)).await.unwrap().into_inner().name;
    let operation = till.refund_redemption(refund(&spent, None)).await.unwrap().into_inner();
    assert_eq!((operation.entries[0].terminal.as_str(), operation.entries[0].store.as_str()), (TILL, "programs/tea/stores/s1"));
    let elsewhere = with(refund(&spent, None), |request| request.terminal = TILL.replace("till-1", "till-2"));
    assert_eq!(wrong_fields(till.refund_redemption(elsewhere).await), ["terminal"]);
    let elsewhere = with(refund(&spent, None), |request| request.store = "programs/tea/stores/s2".to_owned());
    assert_eq!(wrong_fields(till.refund_redemption(elsewhere).await), ["store"]);
    suite.stop().await;
}
