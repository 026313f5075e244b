//! What happens by itself, and on request.

use proto::common::Role;
use proto::tiers as pb;
use proto::tiers::tier_transition::{Cause, Change};
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::suite::*;

testkit::on_each_engine!(
    a_level_ends_by_itself_and_goes_one_down,
    a_renewed_level_is_prolonged,
    grace_keeps_the_level,
    evaluating_again_changes_nothing,
    replicas_do_nothing_twice,
);

async fn a_level_ends_by_itself_and_goes_one_down(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 500, START).await;
    // Nobody looks for years: every step is told with the time at which it was due.
    suite.clock.set(at("2030-06-01T00:00:00Z"));
    testkit::eventually(async || suite.log(1).await.len() == 3).await;
    assert_eq!(
        suite.story(1).await,
        ["JOINED >gold 2026-01-15 2028-01-01", "DOWNGRADED gold>silver 2028-01-01 2029-01-01", "LEFT silver> 2029-01-01 -"]
    );
    assert!(suite.log(1).await[1..].iter().all(|entry| entry.cause() == Cause::Time));
    let told = suite.announced(1, 3).await;
    assert_eq!(told[1].1.end_time, told[2].1.start_time, "known with its end");
    assert_eq!(told.iter().map(|(event, _)| event.aggregate_version).collect::<Vec<_>>(), [1, 2, 3]);
}

async fn a_renewed_level_is_prolonged(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 500, START).await;
    suite.clock.set(at("2027-05-01T04:00:00Z"));
    suite.buy(1, "p2", 500, at("2027-05-01T04:00:00Z")).await;
    assert_eq!(suite.tier(1).await.end_time, Some(timestamp(at("2028-12-31T16:00:00Z"))), "known at once");
    assert_eq!(suite.log(1).await.len(), 1, "and told when the first end comes");
    suite.clock.set(at("2027-12-31T16:00:00Z"));
    testkit::eventually(async || suite.log(1).await.len() == 2).await;
    let log = suite.log(1).await;
    assert_eq!((log[1].change(), log[1].end_time), (Change::Prolonged, Some(timestamp(at("2028-12-31T16:00:00Z")))));
    assert_eq!(suite.tier(1).await.start_time, Some(timestamp(START)));
}

async fn grace_keeps_the_level(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, pb::Scheme { grace: Some(months(2)), ..scheme() }).await;
    suite.buy(1, "p1", 500, START).await;
    suite.clock.set(at("2028-02-20T04:00:00Z"));
    let gold = suite.tier(1).await;
    assert_eq!((gold.level.as_str(), gold.end_time), ("gold", Some(timestamp(at("2027-12-31T16:00:00Z")))));
    assert_eq!((gold.risks[0].points_to_stay, gold.risks[0].time), (500, Some(timestamp(at("2028-02-29T16:00:00Z")))));
    suite.buy(1, "p2", 500, at("2028-02-20T04:00:00Z")).await;
    assert_eq!(suite.story(1).await, ["JOINED >gold 2026-01-15 2028-01-01", "PROLONGED gold>gold 2028-02-20 2030-01-01"]);
}

async fn evaluating_again_changes_nothing(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 500, START).await;
    let mut support = suite.client(Role::Support).await;
    let request = || pb::EvaluateMemberRequest { name: tier_name(1), request_id: request_id() };
    let first = request();
    let found = support.evaluate_member(first.clone()).await.unwrap().into_inner();
    assert_eq!(found, suite.tier(1).await);
    assert_eq!(support.evaluate_member(request()).await.unwrap().into_inner(), found);
    suite.clock.advance(DAY);
    let replay = support.evaluate_member(first).await.unwrap();
    assert!(replay.metadata().contains_key("regulars-replayed"));
    assert_eq!(replay.into_inner(), found);
    assert_eq!(suite.log(1).await.len(), 1);
    let nowhere = pb::EvaluateMemberRequest { name: format!("{}/tiers/none", member_name(1)), request_id: request_id() };
    assert_eq!(refused(support.evaluate_member(nowhere).await), (Code::NotFound, "SCHEME_NOT_FOUND".to_owned()));
}

async fn replicas_do_nothing_twice(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let replica = suite.replica().await;
    for member in 1..=40 {
        suite.tell(member, suite.version(), START, false, bought(&format!("p{member}"), 500)).await;
    }
    suite.settled().await;
    suite.clock.set(at("2029-06-01T00:00:00Z"));
    for member in 1..=40 {
        testkit::eventually(async || suite.log(member).await.len() == 3).await;
        let versions: Vec<i64> = suite.announced(member, 3).await.iter().map(|(event, _)| event.aggregate_version).collect();
        assert_eq!(versions, [1, 2, 3]);
    }
    replica.stop().await;
    suite.stop().await;
}
