//! Feeds as a subscriber outside sees them: nothing lost or told twice across a restart, everything in its order.

use std::collections::{BTreeMap, BTreeSet};

use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, SubscribeRequest};
use proto::tiers::OnReturn;
use rpc::{Credential, Role};
use testkit::{TestEngine, eventually};
use tonic::service::interceptor::InterceptedService;

use super::diary::Diary;
use super::suite::{SOURCES, Suite};
use super::tea::HOUR;

testkit::on_each_engine!(cursors_outlive_a_restart_and_every_aggregate_is_in_order, a_subscriber_sees_its_programs_only);

const MEMBERS: usize = 4;
const PURCHASES: usize = 3;

async fn cursors_outlive_a_restart_and_every_aggregate_is_in_order(engine: TestEngine) {
    let mut suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_scheme(&mut diary, OnReturn::Reevaluate).await;
    suite.sets_plan(&mut diary).await;
    suite.sets_survey(&mut diary).await;
    let first = suite.enrols(&mut diary, "+8613800138000", "").await.name;
    let code = suite.issues_code(&mut diary, &first).await.code;
    let mut members = vec![first];
    for number in 1..MEMBERS {
        members.push(suite.enrols(&mut diary, &format!("+861380013800{number}"), &code).await.name);
    }
    suite.shops(&members, "morning").await;
    // Wherever the consumers are by now: some of what follows from the morning is told before the restart, some after it.
    let mut before = BTreeMap::new();
    for source in SOURCES {
        before.insert(source, suite.feed_from(source, "").await);
    }
    let mut listening = EventFeedServiceClient::new(suite.wire("points", Role::Platform))
        .subscribe(SubscribeRequest { source: "points".to_owned(), ..SubscribeRequest::default() })
        .await
        .unwrap()
        .into_inner();

    suite.restart().await;
    // Whoever listens is told that the server is gone, and begins again from the cursor.
    while let Ok(Some(_)) = listening.message().await {}

    suite.clock.advance(HOUR);
    suite.shops(&members, "afternoon").await;
    let purchases = MEMBERS * PURCHASES * 2;
    let per_member = |told: &[Event]| members.iter().all(|member| told.iter().any(|event| event.member == *member));
    for source in SOURCES {
        let (told, cursor) = before.remove(source).unwrap();
        // Consumers are still at work: what is told last may come between two readings, so both are read until they agree.
        eventually(|| async {
            let whole = suite.feed(source).await;
            let mut told = told.clone();
            told.extend(suite.feed_from(source, &cursor).await.0);
            is_one_story(source, &told);
            is_one_story(source, &whole);
            let complete = match source {
                "members" => whole.len() == MEMBERS,
                "points" => whole.len() == purchases,
                "tiers" => per_member(&whole),
                "referrals" => whole.len() == 2 * (MEMBERS - 1),
                "feedback" => whole.len() == purchases,
                _ => true,
            };
            if complete && ids(&told) == ids(&whole) { Ok(()) } else { Err((source, told.len(), whole.len())) }
        })
        .await;
    }
    suite.stop().await;
}

fn ids(events: &[Event]) -> BTreeSet<&str> {
    events.iter().map(|event| &*event.event_id).collect()
}

/// No event twice, and the versions of each aggregate ascend.
fn is_one_story(source: &str, events: &[Event]) {
    assert_eq!(ids(events).len(), events.len(), "{source} tells an event twice");
    let mut versions = BTreeMap::new();
    for event in events {
        let before = versions.insert(&event.aggregate, event.aggregate_version);
        assert!(before < Some(event.aggregate_version), "{source}: version {} after {before:?}: {event:?}", event.aggregate_version);
    }
}

async fn a_subscriber_sees_its_programs_only(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    let member = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    suite.buys(&mut diary, &member, "p1", 1000).await;
    for (program, events) in [("programs/coffee", 0), ("programs/tea", 1)] {
        let secret = suite.new_secret(Role::Platform, &[program], "").await;
        for source in ["members", "points"] {
            eventually(|| async { suite.feed(source).await.len() == 1 }).await;
            let wire = InterceptedService::new(suite.channel(source), Credential::new(&secret).unwrap());
            let request = SubscribeRequest { source: source.to_owned(), ..SubscribeRequest::default() };
            let mut feed = EventFeedServiceClient::new(wire).subscribe(request).await.unwrap().into_inner();
            assert_eq!(feed.message().await.unwrap().unwrap().events.len(), events, "{program} on {source}");
        }
    }
    suite.stop().await;
}

impl Suite {
    /// Everybody buys, all at once.
    async fn shops(&self, members: &[String], when: &str) {
        let shopping = members.iter().enumerate().map(|(number, member)| async move {
            for purchase in 0..PURCHASES {
                let award = self.award(member, &format!("{when}-{number}-{purchase}"), 3000);
                self.points(Role::Platform).award(award).await.unwrap();
            }
        });
        futures::future::join_all(shopping).await;
    }
}
