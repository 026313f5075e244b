//! Levels given by hand.

use proto::common::Role;
use proto::tiers as pb;
use proto::tiers::tier_transition::{Cause, Change};
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::suite::*;

testkit::on_each_engine!(
    the_higher_of_granted_and_earned_holds,
    a_grant_is_revoked_once,
    bad_grants_are_refused,
    an_invitation_only_level_is_never_earned,
    concurrent_grants_and_purchases_all_count_once,
);

async fn the_higher_of_granted_and_earned_holds(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let mut support = suite.client(Role::Support).await;
    suite.buy(1, "p1", 100, START).await;
    let end = START + 365 * DAY;
    let request = grant(1, "gold", Some(end));
    let given = support.grant_tier(request.clone()).await.unwrap().into_inner();
    assert_eq!((given.level.as_str(), given.start_time, given.end_time), ("gold", Some(timestamp(START)), Some(timestamp(end))));
    assert!(given.actor.starts_with("apiKeys/"));
    let again = support.grant_tier(request.clone()).await.unwrap();
    assert!(again.metadata().contains_key("regulars-replayed"));
    assert_eq!(again.into_inner(), given);
    let reused = support.grant_tier(pb::GrantTierRequest { level: "silver".to_owned(), ..request }).await;
    assert_eq!(refused(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));

    let gold = suite.tier(1).await;
    assert_eq!((gold.level.as_str(), gold.source(), gold.earned_level.as_str()), ("gold", pb::TierSource::Granted, "silver"));
    assert_eq!((gold.end_time, gold.multiplier.as_str()), (Some(timestamp(end)), "1.5"));
    assert_eq!((gold.next_level.as_str(), gold.points_to_next), ("gold", 400), "it can still be earned");
    assert_eq!((gold.risks[0].next_level.as_str(), gold.risks[0].points_to_stay), ("silver", 0));
    assert_eq!(gold.risks[0].time, Some(timestamp(end)));

    // Earning it goes before the grant, and the end of the grant changes nothing then.
    suite.buy(2, "p2", 500, START).await;
    support.grant_tier(grant(2, "gold", Some(end))).await.unwrap();
    assert_eq!(suite.tier(2).await.source(), pb::TierSource::Earned);
    assert_eq!(suite.log(2).await.len(), 1);

    suite.clock.set(end);
    testkit::eventually(async || suite.log(1).await.len() == 3).await;
    let log = suite.log(1).await;
    assert_eq!((log[1].change(), log[1].cause(), log[1].cause_name.as_str()), (Change::Upgraded, Cause::Grant, given.name.as_str()));
    assert_eq!((log[2].change(), log[2].cause(), log[2].to_level.as_str()), (Change::Downgraded, Cause::Time, "silver"));
    assert_eq!(log[2].start_time, Some(timestamp(end)));
    let (_, told) = suite.announced(1, 3).await.pop().unwrap();
    assert_eq!((told.tier.as_str(), told.multiplier.as_str(), told.start_time), ("silver", "1.25", Some(timestamp(end))));
}

async fn a_grant_is_revoked_once(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let mut support = suite.client(Role::Support).await;
    let given = support.grant_tier(grant(1, "gold", None)).await.unwrap().into_inner();
    assert_eq!(suite.tier(1).await.end_time, None);
    suite.clock.advance(DAY);
    let revoke = |reason: &str| pb::RevokeGrantRequest { name: given.name.clone(), reason: reason.to_owned(), request_id: request_id() };
    let revoked = support.revoke_grant(revoke("a mistake")).await.unwrap().into_inner();
    assert_eq!((revoked.revoke_time, revoked.revoke_reason.as_str()), (Some(timestamp(START + DAY)), "a mistake"));
    suite.clock.advance(DAY);
    assert_eq!(support.revoke_grant(revoke("again")).await.unwrap().into_inner(), revoked);
    assert_eq!(suite.story(1).await, ["JOINED >gold 2026-01-15 -", "LEFT gold> 2026-01-16 -"]);
    assert_eq!(suite.log(1).await[1].cause(), Cause::Revocation);
    let request = pb::ListTierGrantsRequest { parent: tier_name(1), page_size: 1, ..Default::default() };
    let listed = support.list_tier_grants(request.clone()).await.unwrap().into_inner();
    assert_eq!((listed.grants, listed.next_page_token.as_str()), (vec![revoked], ""));
    for _ in 0..2 {
        support.grant_tier(grant(1, "silver", None)).await.unwrap();
    }
    let first = support.list_tier_grants(request.clone()).await.unwrap().into_inner();
    let rest = pb::ListTierGrantsRequest { page_token: first.next_page_token, page_size: 5, ..request };
    assert_eq!(support.list_tier_grants(rest).await.unwrap().into_inner().grants.len(), 2);
    let foreign = given.name.replace(&member_name(1), &member_name(2));
    let foreign = pb::RevokeGrantRequest { name: foreign, ..revoke("x") };
    assert_eq!(refused(support.revoke_grant(foreign).await), (Code::NotFound, "GRANT_NOT_FOUND".to_owned()));
}

async fn bad_grants_are_refused(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let mut support = suite.client(Role::Support).await;
    assert_eq!(wrong_fields(support.grant_tier(grant(1, "platinum", None)).await)[0].0, "level");
    assert_eq!(wrong_fields(support.grant_tier(grant(1, "gold", Some(START))).await)[0].0, "end_time");
    let nobody = pb::GrantTierRequest { approver: String::new(), ..grant(1, "gold", None) };
    assert_eq!(wrong_fields(support.grant_tier(nobody).await)[0].0, "approver");
    let why = pb::GrantTierRequest { reason: String::new(), ..grant(1, "gold", None) };
    assert_eq!(wrong_fields(support.grant_tier(why).await)[0].0, "reason");
    let elsewhere = pb::GrantTierRequest { parent: format!("{}/tiers/none", member_name(1)), ..grant(1, "gold", None) };
    assert_eq!(refused(support.grant_tier(elsewhere).await), (Code::NotFound, "SCHEME_NOT_FOUND".to_owned()));
    let no_member = pb::GrantTierRequest { parent: format!("{PROGRAM}/members/7/tiers/status"), ..grant(1, "gold", None) };
    assert_eq!(wrong_fields(support.grant_tier(no_member).await)[0].0, "parent");
    assert!(suite.log(1).await.is_empty());
}

async fn an_invitation_only_level_is_never_earned(engine: TestEngine) {
    let levels = vec![level("silver", Some(100), "1.25"), level("black", None, "3")];
    let suite = Suite::with_scheme(engine, pb::Scheme { levels, ..scheme() }).await;
    suite.buy(1, "p1", 1_000_000, START).await;
    let silver = suite.tier(1).await;
    assert_eq!((silver.level.as_str(), silver.next_level.as_str(), silver.points_to_next), ("silver", "", 0));
    suite.client(Role::Administrator).await.grant_tier(grant(1, "black", None)).await.unwrap();
    let black = suite.tier(1).await;
    assert_eq!((black.level.as_str(), black.multiplier.as_str(), black.source()), ("black", "3", pb::TierSource::Granted));
}

async fn concurrent_grants_and_purchases_all_count_once(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let support = suite.client(Role::Support).await;
    let (silver, gold) = (grant(1, "silver", None), grant(1, "gold", None));
    let mut calls = tokio::task::JoinSet::new();
    for request in [&silver, &gold].repeat(8) {
        let (mut support, request) = (support.clone(), request.clone());
        calls.spawn(async move { support.grant_tier(request).await.unwrap().into_inner().name });
    }
    for number in 0..20 {
        suite.tell(1, suite.version(), START, false, bought(&format!("p{number}"), 30)).await;
    }
    let names: std::collections::BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(names.len(), 2);
    suite.settled().await;
    let tier = suite.tier(1).await;
    assert_eq!((tier.qualifying_points, tier.level.as_str(), tier.source()), (600, "gold", pb::TierSource::Earned));
    // The log has no gap, ends with what holds, and the feed tells every entry once, in order.
    let log = suite.log(1).await;
    assert_eq!(log.iter().map(|entry| entry.version).collect::<Vec<_>>(), (1..).take(log.len()).collect::<Vec<i64>>());
    assert_eq!(log.last().map(|entry| (entry.to_level.as_str(), entry.source())), Some(("gold", pb::TierSource::Earned)));
    let told = suite.announced(1, log.len()).await;
    let told: Vec<_> = told.iter().map(|(event, changed)| (event.aggregate_version, changed.tier.as_str())).collect();
    assert_eq!(told, log.iter().map(|entry| (entry.version, entry.to_level.as_str())).collect::<Vec<_>>());
}
