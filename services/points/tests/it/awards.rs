//! Recording purchases and awarding their points.

use std::time::Duration;

use proto::common::Role;
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_member_earns,
    a_stranger_is_recorded_and_earns_nothing,
    a_purchase_of_nothing_is_recorded,
    fractions_follow_the_terms,
    points_wait_and_lapse_as_the_terms_say,
    a_tills_clock_is_believed_within_bounds,
    old_data_may_be_as_old_as_it_likes,
    a_till_tells_where_by_its_key,
);

async fn a_member_earns(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let request = with(award_lines(1, "p1", &[("a", 1, 6_000), ("b", 2, 6_399)]), |request| {
        let input = input(request);
        (input.store, input.channel, input.offer) = ("programs/tea/stores/s9".to_owned(), "web".to_owned(), "spring".to_owned());
        (input.lines[0].sku, input.lines[0].category) = ("oolong".to_owned(), "tea".to_owned());
        input.occur_time = Some(timestamp(START - Duration::from_secs(3600)));
    });
    let operation = suite.platform().award(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.actual_points, &operation.member), (pb::operation::Kind::Award, 123, &member(1)));
    assert_eq!((&operation.request_id, &operation.purchase), (&request.request_id, &purchase("p1")));
    assert_eq!((operation.occur_time, operation.record_time), (input(&mut request.clone()).occur_time, Some(timestamp(START))));
    let award = operation.award.as_ref().unwrap();
    assert_eq!((award.net.clone(), award.base_points, award.bonus_points, award.first_purchase), (yuan(12_399), 123, 0, true));
    assert_eq!(
        award.components,
        [pb::AwardComponent { source: "base".to_owned(), factor: "1".to_owned(), points: 123, ..pb::AwardComponent::default() }]
    );
    assert_eq!((award.program_version.as_str(), award.activate_time, award.expire_time), ("programs/tea/versions/1", None, None));

    let [entry] = &operation.entries[..] else { panic!("one entry: {:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, entry.active_after, entry.version), (pb::EntryKind::Award, 123, 123, 1));
    assert_eq!((&entry.purchase, &entry.operation, &entry.store), (&purchase("p1"), &operation.name, &"programs/tea/stores/s9".to_owned()));
    assert!(entry.actor.starts_with("apiKeys/"));
    assert_eq!(entry.name, format!("{}/entries/1", member(1)));
    assert_eq!(suite.entries(1).await, operation.entries);
    assert_eq!(figures(operation.balance.as_ref().unwrap()), suite.figures(1).await);

    let kept = suite.purchase("p1").await;
    let given = request.purchase.unwrap();
    assert_eq!(
        (kept.lines, kept.returned_quantities, kept.net, kept.remaining_net),
        (given.lines, vec![0, 0], given.net.clone(), given.net)
    );
    assert_eq!((kept.store, kept.channel, kept.offer, kept.member), (given.store, given.channel, given.offer, member(1)));
    assert_eq!((kept.base_points, kept.due_points, kept.returns, kept.operation), (123, 123, 0, operation.name));
    assert!(!suite.award(1, "p2", 100).await.award.unwrap().first_purchase);
    suite.verified().await;
}

async fn a_stranger_is_recorded_and_earns_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let operation = suite.award(0, "p1", 12_345).await;
    assert_eq!((operation.member.as_str(), operation.actual_points, operation.entries.len(), operation.balance), ("", 0, 0, None));
    let award = operation.award.unwrap();
    // What a member would have got as base is told, since the purchase may be claimed later.
    assert_eq!((award.base_points, award.first_purchase), (123, false));
    let kept = suite.purchase("p1").await;
    assert_eq!((kept.member.as_str(), kept.net, kept.due_points), ("", yuan(12_345), 0));
    assert_eq!(suite.verified().await.accounts, 0);
}

async fn a_purchase_of_nothing_is_recorded(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (id, fen) in [("p1", 0), ("p2", 99)] {
        let operation = suite.award(1, id, fen).await;
        assert_eq!((operation.actual_points, story(&operation.entries)), (0, vec!["AWARD 0".to_owned()]));
    }
    assert_eq!(suite.balance(1).await.version, 2);
    assert!(!suite.award(1, "p3", 100).await.award.unwrap().first_purchase, "the first purchase earned nothing and was one");
    suite.verified().await;
}

async fn fractions_follow_the_terms(engine: TestEngine) {
    use pb::terms::PointRounding::{Down, HalfUp, Up};
    let suite = Suite::start(engine).await;
    for (number, (rounding, points)) in [(Down, 2), (HalfUp, 3), (Up, 3)].into_iter().enumerate() {
        suite.clock.advance(DAY);
        suite.new_terms(pb::Terms { points_per_unit: "0.5".to_owned(), rounding: rounding.into(), ..terms() }, suite.now()).await;
        let id = format!("p{number}");
        assert_eq!(suite.award(1, &id, 500).await.actual_points, points, "{rounding:?}");
        let least = suite.award(1, &format!("{id}-least"), 1).await.actual_points;
        assert_eq!(least, i64::from(rounding == Up), "{rounding:?}");
    }
}

async fn points_wait_and_lapse_as_the_terms_say(engine: TestEngine) {
    let waiting = pb::Terms {
        activate_after: days(14),
        expire_after: days(365),
        expiry_rounding: pb::terms::ExpiryRounding::Month.into(),
        ..terms()
    };
    let suite = Suite::with_terms(engine, waiting).await;
    let operation = suite.award(1, "p1", 10_000).await;
    assert_eq!(suite.figures(1).await, (0, 100, 0, 0));
    let told = operation.award.unwrap();
    // 15 January 18:00 in Shanghai and 14 days; a year after that, up to the end of the month there.
    let (activate, expire) = (START + 14 * DAY, "2027-01-31T16:00:00Z".parse::<jiff::Timestamp>().unwrap().into());
    assert_eq!((told.activate_time, told.expire_time), (Some(timestamp(activate)), Some(timestamp(expire))));
    let wallet = &suite.balance(1).await.wallets[0];
    assert_eq!((wallet.next_activate_time, wallet.next_activate_points), (Some(timestamp(activate)), 100));
    assert_eq!((wallet.next_expire_time, wallet.next_expire_points), (None, 0), "nothing lapses before it has come alive");
    assert_eq!(precondition(suite.platform().redeem(redeem(1, 1)).await), "INSUFFICIENT_POINTS");
    // Bought offline long enough ago, it is spendable at once.
    let earlier = with(award(1, "p2", 5_000), |request| input(request).occur_time = Some(timestamp(START - 20 * DAY)));
    assert_eq!(suite.platform().award(earlier).await.unwrap().into_inner().award.unwrap().activate_time, None);
    assert_eq!(suite.figures(1).await, (50, 100, 0, 0));
}

async fn a_tills_clock_is_believed_within_bounds(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let at = |id: &str, time| with(award(1, id, 100), |request| input(request).occur_time = Some(timestamp(time)));
    let second = Duration::from_secs(1);
    for (id, time) in [("p1", START + 300 * second), ("p2", START - 30 * DAY)] {
        platform.award(at(id, time)).await.unwrap();
    }
    let ahead = at("p3", START + 301 * second);
    assert_eq!(refusal(platform.award(ahead.clone()).await), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    assert_eq!(metadata(&platform.award(ahead.clone()).await, "field"), "purchase.occur_time");
    let behind = at("p3", START - 30 * DAY - second);
    assert_eq!(refusal(platform.award(behind).await), (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD".to_owned()));
    let returned = with(down_to("p1", 0), |request| request.occur_time = Some(timestamp(START + DAY)));
    assert_eq!(refusal(platform.return_purchase(returned.clone()).await), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    assert_eq!(metadata(&platform.return_purchase(returned).await, "field"), "occur_time");
    // It is not remembered: the server's clock goes on, and the same request passes.
    suite.clock.advance(second);
    assert!(!replayed(&platform.award(ahead).await.unwrap()));
}

async fn old_data_may_be_as_old_as_it_likes(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let old = |id: &str| {
        with(award(1, id, 100), |request| {
            request.historical = true;
            input(request).occur_time = Some(timestamp(START - 9_000 * DAY));
        })
    };
    suite.platform().award(old("p1")).await.unwrap();
    let ahead = with(old("p2"), |request| input(request).occur_time = Some(timestamp(START + DAY)));
    assert_eq!(refusal(suite.platform().award(ahead).await), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    let mut till = suite.client(Role::Terminal).await;
    assert_eq!(wrong_fields(till.award(old("p3")).await), ["historical"]);
    let returned = with(down_to("p1", 0), |request| request.historical = true);
    assert_eq!(wrong_fields(till.return_purchase(returned.clone()).await), ["historical"]);
    suite.platform().return_purchase(returned).await.unwrap();
    let first_day = Some(prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 });
    let oldest = with(old("p4"), |request| {
        request.member = member(2);
        input(request).occur_time = first_day;
    });
    suite.platform().award(oldest).await.unwrap();
    let entry = suite.entries(2).await.remove(0);
    assert_eq!((entry.occur_time, suite.purchase("p4").await.occur_time), (first_day, first_day));
    suite.verified().await;
    let told: Vec<bool> = suite.events(3).await.iter().map(|event| event.historical).collect();
    assert_eq!(told, [true, true, true]);
}

async fn a_till_tells_where_by_its_key(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut till = suite.till().await;
    const STORE: &str = "programs/tea/stores/s1";
    till.award(award(1, "p1", 10_000)).await.unwrap();
    let same = with(award(1, "p2", 10_000), |r| (input(r).store, input(r).terminal) = (STORE.to_owned(), TILL.to_owned()));
    till.award(same).await.unwrap();
    till.redeem(redeem(1, 10)).await.unwrap();
    let held = hold(till.reserve(reserve(1, 10)).await.unwrap().get_ref());
    till.release(release(&held)).await.unwrap();
    let held = hold(till.reserve(reserve(1, 10)).await.unwrap().get_ref());
    till.capture(capture(&held, None)).await.unwrap();
    till.return_purchase(down_to("p1", 0)).await.unwrap();
    let entries = suite.entries(1).await;
    assert_eq!(entries.len(), 8);
    assert!(entries.iter().all(|entry| entry.store == STORE && entry.terminal == TILL), "{entries:?}");
    assert_eq!((suite.purchase("p1").await.store, suite.purchase("p1").await.terminal), (STORE.to_owned(), TILL.to_owned()));

    let other = "programs/tea/stores/s1/terminals/till-2".to_owned();
    let elsewhere = with(award(1, "p3", 1), |request| input(request).terminal = other.clone());
    assert_eq!(wrong_fields(till.award(elsewhere).await), ["purchase.terminal"]);
    let elsewhere = with(award(1, "p3", 1), |request| input(request).store = "programs/tea/stores/s2".to_owned());
    assert_eq!(wrong_fields(till.award(elsewhere).await), ["purchase.store"]);
    assert_eq!(wrong_fields(till.redeem(with(redeem(1, 1), |request| request.terminal = other.clone())).await), ["terminal"]);
    assert_eq!(wrong_fields(till.reserve(with(reserve(1, 1), |request| request.terminal = other.clone())).await), ["terminal"]);
    assert_eq!(wrong_fields(till.capture(with(capture(&held, None), |request| request.terminal = other.clone())).await), ["terminal"]);
    assert_eq!(wrong_fields(till.return_purchase(with(down_to("p2", 0), |request| request.terminal = other)).await), ["terminal"]);
    assert_eq!(suite.balance(1).await.version, 8);
}
