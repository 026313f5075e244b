//! Expiries that are announced before they come.

use proto::common::Role;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::set_expiry_request::To;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    an_expiry_is_announced_once,
    each_expiry_is_announced_for_itself,
    what_is_not_there_is_not_announced,
    what_lapses_soon_is_announced_at_once,
    a_new_expiry_is_announced_anew,
    an_earlier_expiry_is_announced_again,
    a_sliding_expiry_is_announced_again_when_it_has_moved,
    two_servers_announce_once,
    a_change_of_terms_holds_from_the_next_entry_on,
);

fn reminding() -> pb::Terms {
    pb::Terms { expire_after: days(30), remind_before: days(7), ..terms() }
}

fn at(day: u32) -> prost_types::Timestamp {
    timestamp(START + day * DAY)
}

/// The entries of a member by kind, points and reason, once nothing is due.
async fn settled(suite: &Suite, owner: u128) -> Vec<String> {
    let mut service = suite.client(Role::Service).await;
    service.settle_due(settle(0)).await.unwrap();
    let entries = suite.entries(owner).await;
    story(&entries).into_iter().zip(entries).map(|(story, entry)| format!("{story} {}", entry.reason)).collect()
}

/// The announcements on the feed among the first events.
async fn announced(suite: &Suite, events: usize) -> Vec<(String, i64, prost_types::Timestamp)> {
    let events = suite.events(events).await;
    let expiring = events.iter().filter_map(|event| match &event.payload {
        Some(Payload::PointsPosted(posted)) => Some((event, posted)),
        _ => None,
    });
    let told = expiring.flat_map(|(event, posted)| {
        posted.expiring.iter().map(|told| {
            assert_eq!((posted.operation.as_str(), told.wallet.as_str()), ("SETTLE", "points"));
            (event.member.clone(), told.points, told.expire_time.unwrap())
        })
    });
    told.collect()
}

async fn an_expiry_is_announced_once(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    suite.award(1, "p1", 10_000).await;
    suite.platform().redeem(redeem(1, 40)).await.unwrap();
    suite.clock.advance(23 * DAY - std::time::Duration::from_micros(1));
    assert_eq!(settled(&suite, 1).await.len(), 2);
    suite.clock.advance(std::time::Duration::from_micros(1));
    for _ in 0..3 {
        assert_eq!(settled(&suite, 1).await[2..], ["REMIND 0 60 points lapse"]);
    }
    let entry = suite.entries(1).await.pop().unwrap();
    assert_eq!((entry.kind(), entry.actor.as_str(), entry.lots.len(), entry.active_after), (pb::EntryKind::Remind, "clock", 0, 60));
    assert_eq!((entry.effective_time, entry.operation.as_str()), (Some(at(23)), ""));
    suite.verified().await;
    suite.clock.advance(7 * DAY);
    assert_eq!(settled(&suite, 1).await[3..], ["EXPIRE -60 "]);
    assert_eq!(announced(&suite, 4).await, [(member(1), 60, at(30))]);
    let event = &suite.events(3).await[2];
    assert_eq!(posted(event), ("SETTLE".to_owned(), String::new(), vec!["3 REMIND 0".to_owned()]));
    suite.verified().await;
}

async fn each_expiry_is_announced_for_itself(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(DAY);
    suite.award(1, "p2", 2_000).await;
    suite.clock.advance(DAY);
    suite.award(1, "p3", 300).await;
    // Three at once, each with its figures, in one event.
    suite.clock.advance(24 * DAY);
    assert_eq!(settled(&suite, 1).await[3..], ["REMIND 0 100 points lapse", "REMIND 0 20 points lapse", "REMIND 0 3 points lapse"]);
    assert_eq!(announced(&suite, 4).await, [(member(1), 100, at(30)), (member(1), 20, at(31)), (member(1), 3, at(32))]);
    suite.verified().await;
}

async fn what_is_not_there_is_not_announced(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.redeem(redeem(1, 100)).await.unwrap();
    suite.award(2, "p2", 10_000).await;
    let ttl = Some(prost_types::Duration { seconds: 28 * 86_400, nanos: 0 });
    platform.reserve(with(reserve(2, 100), |request| request.ttl = ttl)).await.unwrap();
    suite.clock.advance(24 * DAY);
    assert_eq!((settled(&suite, 1).await.len(), settled(&suite, 2).await.len()), (2, 2), "spent, or held");
    suite.clock.advance(4 * DAY);
    // What comes free again is announced late.
    assert_eq!(settled(&suite, 2).await[2..], ["RELEASE 0 ", "REMIND 0 100 points lapse"]);
    suite.verified().await;
}

async fn what_lapses_soon_is_announced_at_once(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    let early = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(timestamp(START - 25 * DAY)));
    let operation = suite.platform().award(early).await.unwrap().into_inner();
    assert_eq!(story(&operation.entries), ["AWARD 100"]);
    assert_eq!(settled(&suite, 1).await[1..], ["REMIND 0 100 points lapse"]);
    assert_eq!(announced(&suite, 2).await, [(member(1), 100, at(5))]);
    // More that lapses then has been announced.
    let early = with(award(1, "p2", 10_000), |request| input(request).occur_time = Some(timestamp(START - 25 * DAY)));
    suite.platform().award(early).await.unwrap();
    assert_eq!(settled(&suite, 1).await.len(), 3);
    suite.verified().await;
}

async fn a_new_expiry_is_announced_anew(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(24 * DAY);
    assert_eq!(settled(&suite, 1).await.len(), 2);
    support.set_expiry(pb::SetExpiryRequest { to: Some(To::ExpireTime(at(40))), ..never_expire(1) }).await.unwrap();
    suite.clock.advance(9 * DAY);
    assert_eq!(settled(&suite, 1).await[2..], ["EXPIRY 0 goodwill", "REMIND 0 100 points lapse"]);
    assert_eq!(announced(&suite, 4).await, [(member(1), 100, at(30)), (member(1), 100, at(40))]);
    suite.verified().await;
}

async fn an_earlier_expiry_is_announced_again(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    let mut support = suite.client(Role::Support).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(24 * DAY);
    assert_eq!(settled(&suite, 1).await.len(), 2);
    support.set_expiry(pb::SetExpiryRequest { to: Some(To::ExpireTime(at(26))), ..never_expire(1) }).await.unwrap();
    let suite = suite.restart().await;
    assert_eq!(settled(&suite, 1).await[2..], ["EXPIRY 0 goodwill", "REMIND 0 100 points lapse"]);
    assert_eq!(settled(&suite, 1).await.len(), 4);
    assert_eq!(announced(&suite, 4).await, [(member(1), 100, at(30)), (member(1), 100, at(26))]);
    suite.verified().await;
}

async fn a_sliding_expiry_is_announced_again_when_it_has_moved(engine: TestEngine) {
    let sliding = pb::Terms { expire_after: None, expire_after_inactivity: days(30), ..reminding() };
    let suite = Suite::with_terms(engine, sliding).await;
    suite.award(1, "p1", 10_000).await;
    suite.clock.advance(20 * DAY);
    suite.platform().redeem(redeem(1, 10)).await.unwrap();
    suite.clock.advance(22 * DAY);
    assert_eq!(settled(&suite, 1).await.len(), 2, "it has moved on before it was announced");
    suite.clock.advance(DAY);
    assert_eq!(settled(&suite, 1).await[2..], ["REMIND 0 90 points lapse"]);
    suite.platform().redeem(redeem(1, 10)).await.unwrap();
    suite.clock.advance(23 * DAY);
    assert_eq!(settled(&suite, 1).await[4..], ["REMIND 0 80 points lapse"]);
    assert_eq!(announced(&suite, 5).await, [(member(1), 90, at(50)), (member(1), 80, at(73))]);
    suite.verified().await;
}

async fn two_servers_announce_once(engine: TestEngine) {
    let suite = Suite::with_terms(engine, reminding()).await;
    let replica = suite.replica().await;
    let (mut here, mut there) = (suite.administrator(), replica.client(Role::Service).await);
    for owner in 1..=30 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
    }
    suite.clock.advance(23 * DAY);
    let (one, other) = tokio::join!(here.settle_due(settle(0)), there.settle_due(settle(0)));
    assert!(one.unwrap().into_inner().accounts + other.unwrap().into_inner().accounts <= 30);
    for owner in 1..=30 {
        assert_eq!(suite.story(owner).await, ["AWARD 100", "REMIND 0"]);
    }
    let mut told = announced(&suite, 60).await;
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told.dedup();
    assert_eq!(told.len(), 30);
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_change_of_terms_holds_from_the_next_entry_on(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { remind_before: None, ..reminding() }).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    suite.clock.advance(DAY);
    suite.new_terms(reminding(), suite.now()).await;
    suite.platform().redeem(redeem(1, 1)).await.unwrap();
    suite.clock.advance(22 * DAY);
    assert_eq!(settled(&suite, 1).await[2..], ["REMIND 0 99 points lapse"]);
    assert_eq!(settled(&suite, 2).await.len(), 1);
    suite.verified().await;
}
