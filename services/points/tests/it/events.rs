//! The points feed.

use std::collections::HashMap;

use prost::Message;
use proto::common::Role;
use proto::events::Event;
use proto::events::event::Payload;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    every_operation_is_told_once,
    strangers_are_told_too,
    what_changes_nothing_is_not_told,
    versions_come_in_order,
    nothing_personal_is_told,
);

fn operation(event: &Event) -> String {
    match event.payload.as_ref().unwrap() {
        Payload::PurchaseRecorded(_) => "RECORDED".to_owned(),
        Payload::PurchaseReturned(_) => "RETURNED".to_owned(),
        Payload::PointsPosted(posted) => posted.operation.clone(),
        other => panic!("points tells nothing of that kind: {other:?}"),
    }
}

fn postings(event: &Event) -> Vec<String> {
    let postings = match event.payload.as_ref().unwrap() {
        Payload::PurchaseRecorded(recorded) => &recorded.postings,
        Payload::PurchaseReturned(returned) => &returned.postings,
        Payload::PointsPosted(posted) => &posted.postings,
        other => panic!("points tells nothing of that kind: {other:?}"),
    };
    postings.iter().map(|posting| format!("{} {} {}", posting.version, posting.kind, posting.points)).collect()
}

async fn every_operation_is_told_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let bought = with(award_lines(1, "p1", &[("a", 2, 10_000)]), |request| {
        input(request).offer = "spring".to_owned();
        input(request).channel = "web".to_owned();
    });
    platform.award(bought.clone()).await.unwrap();
    platform.award(bought.clone()).await.unwrap();
    platform.redeem(redeem(1, 10)).await.unwrap();
    let (one, two) = (hold(&suite.reserve(1, 10).await), hold(&suite.reserve(1, 20).await));
    platform.capture(capture(&one, Some(4))).await.unwrap();
    platform.release(release(&two)).await.unwrap();
    suite.reserve(1, 5).await;
    suite.clock.advance(DAY);
    let returned = with(give_back("p1", &[("a", 2)]), |request| request.occur_time = Some(timestamp(START)));
    platform.return_purchase(returned).await.unwrap();
    suite.client(Role::Support).await.adjust(adjust(1, 50)).await.unwrap();
    suite.client(Role::Service).await.ensure_reward(ensure(1, "r1", 20, true, 1)).await.unwrap();
    let events = suite.events(11).await;
    let told: Vec<_> = events.iter().map(|event| (operation(event), postings(event).join(", "))).collect();
    let expected = [
        ("RECORDED", "1 AWARD 100"),
        ("REDEEM", "2 REDEEM -10"),
        ("RESERVE", "3 RESERVE 0"),
        ("RESERVE", "4 RESERVE 0"),
        ("CAPTURE", "5 CAPTURE -4, 6 RELEASE 0"),
        ("RELEASE", "7 RELEASE 0"),
        ("RESERVE", "8 RESERVE 0"),
        ("SETTLE", "9 RELEASE 0"),
        ("RETURNED", "10 CLAWBACK -100"),
        ("ADJUST", "11 ADJUST 50"),
        ("REWARD", "12 REWARD 20"),
    ];
    assert_eq!(told, expected.map(|(operation, postings)| (operation.to_owned(), postings.to_owned())));
    assert!(
        events.iter().all(|event| event.member == member(1) && event.aggregate == member(1) && event.program == TEA && !event.historical)
    );
    let Some(Payload::PurchaseRecorded(recorded)) = &events[0].payload else { panic!("{:?}", events[0]) };
    assert_eq!((&recorded.purchase, &recorded.net, recorded.offer.as_str()), (&purchase("p1"), &yuan(10_000), "spring"));
    assert_eq!((recorded.base_points, recorded.awarded_points, recorded.first_purchase), (100, 100, true));
    assert_eq!((recorded.lines[0].line_id.as_str(), recorded.channel.as_str()), ("a", "web"));
    let Some(Payload::PurchaseReturned(returned)) = &events[8].payload else { panic!("{:?}", events[8]) };
    assert_eq!((&returned.returned, &returned.remaining, returned.complete), (&yuan(10_000), &yuan(0), true));
    assert_eq!((returned.base_points_delta, returned.awarded_points_delta), (-100, -100));
    assert_eq!((events[8].occur_time, events[8].record_time), (Some(timestamp(START)), Some(timestamp(START + DAY))));
}

async fn strangers_are_told_too(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(0, "p1", 10_000).await;
    suite.platform().return_purchase(down_to("p1", 4_000)).await.unwrap();
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    let events = suite.events(3).await;
    let told: Vec<_> = events.iter().map(|event| (operation(event), event.aggregate_version)).collect();
    assert_eq!(told, [("RECORDED".to_owned(), 1), ("RETURNED".to_owned(), 2), ("RETURNED".to_owned(), 3)]);
    assert!(events.iter().all(|event| event.member.is_empty() && event.aggregate == purchase("p1")));
    let Some(Payload::PurchaseRecorded(recorded)) = &events[0].payload else { panic!("{:?}", events[0]) };
    assert_eq!((recorded.awarded_points, recorded.base_points, recorded.postings.len()), (0, 100, 0));
}

async fn what_changes_nothing_is_not_told(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = suite.client(Role::Service).await;
    suite.platform().redeem(redeem(1, 5)).await.unwrap_err();
    service.ensure_reward(ensure(1, "r1", 20, false, 2)).await.unwrap();
    service.ensure_reward(ensure(1, "r1", 20, true, 1)).await.unwrap();
    service.settle_due(settle(0)).await.unwrap();
    suite.award(1, "p1", 0).await;
    // A purchase that earns nothing is told, and is the first thing that is.
    assert_eq!(operation(&suite.events(1).await[0]), "RECORDED");
}

async fn versions_come_in_order(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let awards = (0..120_u128).map(|number| {
        let mut platform = suite.platform();
        async move { platform.award(award(1 + number % 4, &format!("p{number}"), 1_000)).await.unwrap() }
    });
    futures::future::join_all(awards).await;
    let mut last: HashMap<String, i64> = HashMap::new();
    let events = suite.events(120).await;
    for event in &events {
        let before = last.insert(event.aggregate.clone(), event.aggregate_version).unwrap_or(0);
        assert_eq!(event.aggregate_version, before + 1, "{}", event.aggregate);
    }
    assert_eq!((events.len(), last.len(), last.values().sum::<i64>()), (120, 4, 120));
    let ids: std::collections::HashSet<_> = events.iter().map(|event| &event.event_id).collect();
    assert_eq!(ids.len(), 120);
}

async fn nothing_personal_is_told(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let spent = with(redeem(1, 10), |request| request.reference = "for Li Lei".to_owned());
    suite.platform().redeem(spent).await.unwrap();
    let noted = with(adjust(1, 5), |request| request.reason = "Li Lei complained".to_owned());
    suite.client(Role::Support).await.adjust(noted).await.unwrap();
    for event in suite.events(3).await {
        let bytes = event.encode_to_vec();
        for word in ["Li Lei", "employees/17", "apiKeys/", "request-"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} in {event:?}");
        }
    }
}
