//! Old and late news.

use proto::common::Role;
use proto::events::{Event, TierChanged};
use proto::tiers as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::suite::*;

testkit::on_each_engine!(
    an_import_tells_when_the_level_was_reached,
    late_news_corrects_what_was_told,
    a_refunded_upgrade_was_held_until_the_refund,
    what_was_told_while_it_was_down_counts_once,
    the_log_pages,
);

fn interval((_, changed): &(Event, TierChanged)) -> String {
    let day = |time: Option<prost_types::Timestamp>| time.map_or("-".to_owned(), |time| moment(&time).date_in(&shanghai()).to_string());
    format!("{} {}>{} [{}, {})", changed.change, changed.previous_tier, changed.tier, day(changed.start_time), day(changed.end_time))
}

async fn an_import_tells_when_the_level_was_reached(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    for (id, points, time) in
        [("p1", 400, "1997-03-01T04:00:00Z"), ("p2", 150, "1997-06-01T04:00:00Z"), ("p3", 700, "1998-01-05T04:00:00Z")]
    {
        suite.tell(1, suite.version(), at(time), true, bought(id, points)).await;
        suite.settled().await;
    }
    let today = suite.tier(1).await;
    assert_eq!((today.level.as_str(), today.qualifying_points, today.next_evaluation_time), ("", 0, None));
    // What the log says in the end, whatever was corrected on the way.
    let told = suite.announced(1, suite.log(1).await.len()).await;
    assert!(told.iter().all(|(event, _)| event.historical));
    let first = &told[0];
    assert_eq!(first.1.start_time, Some(timestamp(at("1997-03-01T04:00:00Z"))));
    let mut timeline: Vec<(prost_types::Timestamp, String)> = Vec::new();
    for (_, changed) in &told {
        let start = changed.start_time.unwrap();
        timeline.retain(|(earlier, _)| (earlier.seconds, earlier.nanos) < (start.seconds, start.nanos));
        timeline.push((start, changed.tier.clone()));
    }
    let timeline: Vec<String> = timeline.iter().map(|(start, tier)| format!("{} {tier}", moment(start))).collect();
    assert_eq!(
        timeline,
        [
            "1997-03-01T04:00:00Z silver",
            "1997-06-01T04:00:00Z gold",
            "1998-12-31T16:00:00Z gold",
            "1999-12-31T16:00:00Z silver",
            "2000-12-31T16:00:00Z "
        ]
    );
}

async fn late_news_corrects_what_was_told(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 60, START - 5 * DAY).await;
    suite.buy(1, "p2", 60, START - DAY).await;
    // A till that was offline tells what it sold three days ago.
    suite.buy(1, "p3", 450, START - 3 * DAY).await;
    let told = suite.announced(1, 2).await;
    assert_eq!(
        told.iter().map(interval).collect::<Vec<_>>(),
        ["JOINED >silver [2026-01-14, -)", "JOINED >gold [2026-01-12, -)"],
        "the newer one replaces what it overlaps"
    );
    assert_eq!(suite.tier(1).await.start_time, Some(timestamp(START - 3 * DAY)));
    let log = suite.log(1).await;
    assert_eq!((log[1].start_time, log[1].record_time), (Some(timestamp(START - 3 * DAY)), Some(timestamp(START))));
}

async fn a_refunded_upgrade_was_held_until_the_refund(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 100, START - 9 * DAY).await;
    suite.buy(1, "p2", 400, START - 5 * DAY).await;
    suite.give_back(1, "p2", 400, START - DAY).await;
    // Late news about the time in between leaves what was held then alone, unless it raises it.
    suite.buy(1, "p3", 10, START - 3 * DAY).await;
    assert_eq!(
        suite.story(1).await,
        [
            "JOINED >silver 2026-01-06 2028-01-01",
            "UPGRADED silver>gold 2026-01-10 2028-01-01",
            "DOWNGRADED gold>silver 2026-01-14 2028-01-01"
        ]
    );
    assert_eq!(suite.tier(1).await.qualifying_points, 110);
}

async fn what_was_told_while_it_was_down_counts_once(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 60, START).await;
    let down = async |suite: &Suite| suite.tell(1, suite.version(), START + DAY, false, bought("p2", 60)).await;
    let suite = suite.restart(down).await;
    suite.settled().await;
    assert_eq!(suite.announced(1, 1).await.len(), 1);
    let suite = suite.restart(async |suite: &Suite| suite.clock.set(at("2029-01-01T00:00:00Z"))).await;
    testkit::eventually(async || suite.log(1).await.len() == 2).await;
    assert_eq!(suite.story(1).await, ["JOINED >silver 2026-01-16 2028-01-01", "LEFT silver> 2028-01-01 -"]);
}

async fn the_log_pages(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let mut support = suite.client(Role::Support).await;
    for _ in 0..3 {
        let given = support.grant_tier(grant(1, "gold", None)).await.unwrap().into_inner();
        suite.clock.advance(DAY);
        let revoke = pb::RevokeGrantRequest { name: given.name, reason: "over".to_owned(), request_id: request_id() };
        support.revoke_grant(revoke).await.unwrap();
        suite.clock.advance(DAY);
    }
    let (mut page_token, mut versions) = (String::new(), Vec::new());
    loop {
        let request = pb::ListTierTransitionsRequest { parent: tier_name(1), page_size: 4, page_token };
        let page = support.list_tier_transitions(request).await.unwrap().into_inner();
        versions.extend(page.transitions.iter().map(|entry| entry.version));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(versions, [6, 5, 4, 3, 2, 1]);
    let negative = pb::ListTierTransitionsRequest { parent: tier_name(1), page_size: -1, ..Default::default() };
    assert_eq!(support.list_tier_transitions(negative).await.unwrap_err().code(), Code::InvalidArgument);
}
