//! From purchases to levels.

use proto::common::{Date, Role};
use proto::tiers as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::suite::*;

testkit::on_each_engine!(
    a_purchase_raises_at_once_and_is_told,
    what_is_missing_is_exactly_what_upgrades,
    days_are_those_of_the_program,
    the_same_event_again_counts_once,
    the_order_of_arrival_does_not_matter,
    strangers_and_purchases_without_points_do_not_count,
    a_return_takes_back_what_it_reached,
    a_return_keeps_the_level_to_its_end_where_the_scheme_says_so,
    a_return_before_its_purchase_counts_when_the_purchase_comes,
    several_schemes_count_the_same_purchases,
    an_evaluation_reads_days_and_not_purchases,
);

async fn a_purchase_raises_at_once_and_is_told(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let before = suite.tier(1).await;
    assert_eq!((before.level.as_str(), before.source(), before.multiplier.as_str()), ("", pb::TierSource::Unspecified, "1"));
    assert_eq!((before.next_level.as_str(), before.points_to_next), ("silver", 100));

    suite.buy(1, "p1", 60, START).await;
    suite.buy(1, "p2", 50, START + DAY).await;
    let silver = suite.tier(1).await;
    assert_eq!((silver.level.as_str(), silver.source(), silver.multiplier.as_str()), ("silver", pb::TierSource::Earned, "1.25"));
    assert_eq!(silver.start_time, Some(timestamp(START + DAY)));
    assert_eq!(silver.end_time, Some(timestamp(at("2027-12-31T16:00:00Z"))));
    assert_eq!((silver.qualifying_points, silver.points_to_next), (60, 440), "tomorrow's purchase counts tomorrow");
    suite.clock.set(START + DAY);
    let silver = suite.tier(1).await;
    assert_eq!((silver.qualifying_points, silver.points_to_next, silver.next_level.as_str()), (110, 390, "gold"));
    assert_eq!(silver.period_start_date, Some(Date { year: 2026, month: 1, day: 1 }));

    suite.buy(1, "p3", 400, START + DAY).await;
    assert_eq!(suite.story(1).await, ["JOINED >silver 2026-01-16 2028-01-01", "UPGRADED silver>gold 2026-01-16 2028-01-01"]);
    let log = suite.log(1).await;
    assert_eq!((log[1].cause(), log[1].cause_name.as_str()), (pb::tier_transition::Cause::Purchase, &*purchase_name("p3")));
    assert!(!log[1].cause_event_id.is_empty());
    assert_eq!((log[1].version, log[1].scheme_version, log[1].multiplier.as_str()), (2, 1, "1.5"));

    let told = suite.announced(1, 2).await;
    let (event, changed) = &told[1];
    assert_eq!((event.aggregate.as_str(), event.aggregate_version), (member_name(1).as_str(), 2));
    assert_eq!((changed.scheme.as_str(), changed.previous_tier.as_str(), changed.tier.as_str()), (SCHEME, "silver", "gold"));
    assert_eq!((changed.multiplier.as_str(), changed.change.as_str()), ("1.5", "UPGRADED"));
    assert_eq!((changed.start_time, changed.end_time), (Some(timestamp(START + DAY)), None));
    assert!(!event.historical);
}

async fn what_is_missing_is_exactly_what_upgrades(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 37, START).await;
    let missing = suite.tier(1).await.points_to_next;
    suite.buy(1, "p2", missing - 1, START).await;
    assert_eq!((suite.tier(1).await.level.as_str(), suite.tier(1).await.points_to_next), ("", 1));
    suite.buy(1, "p3", 1, START).await;
    let silver = suite.tier(1).await;
    assert_eq!((silver.level.as_str(), silver.opportunities.len()), ("silver", 1));
    assert_eq!(silver.opportunities[0].points_missing, 400);
    assert_eq!(silver.opportunities[0].end_time, Some(timestamp(at("2026-12-31T16:00:00Z"))));
    let risk = &silver.risks[0];
    assert_eq!((risk.level.as_str(), risk.next_level.as_str(), risk.points_to_stay), ("silver", "", 100));
    assert_eq!(risk.renew_date, Some(Date { year: 2027, month: 12, day: 31 }));
    assert_eq!(risk.time, silver.end_time);
    assert_eq!(silver.next_evaluation_time, silver.end_time);
}

async fn days_are_those_of_the_program(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    // Both are 2025 in UTC; in Shanghai the second is 2026.
    suite.buy(1, "p1", 60, at("2025-12-31T15:59:59Z")).await;
    suite.buy(1, "p2", 60, at("2025-12-31T16:00:00Z")).await;
    assert_eq!((suite.tier(1).await.level.as_str(), suite.tier(1).await.qualifying_points), ("", 60));
    suite.buy(2, "p3", 60, at("2025-12-31T15:59:58Z")).await;
    suite.buy(2, "p4", 60, at("2025-12-31T15:59:59Z")).await;
    let silver = suite.tier(2).await;
    assert_eq!((silver.level.as_str(), silver.qualifying_points), ("silver", 0));
    assert_eq!(silver.start_time, Some(timestamp(at("2025-12-31T15:59:59Z"))));
    assert_eq!(silver.end_time, Some(timestamp(at("2026-12-31T16:00:00Z"))));
}

async fn the_same_event_again_counts_once(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let version = suite.version();
    for _ in 0..3 {
        suite.tell(1, version, START, false, bought("p1", 60)).await;
    }
    let version = suite.version();
    for _ in 0..3 {
        suite.tell(1, version, START, false, returned("p1", 20)).await;
    }
    suite.settled().await;
    assert_eq!(suite.tier(1).await.qualifying_points, 40);
}

async fn the_order_of_arrival_does_not_matter(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let purchases = [("a", 300, 0), ("b", 90, 3), ("c", 150, 7), ("d", 20, 12)];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
    for (member, order) in (1..).zip(orders) {
        for index in order {
            let (id, points, days) = purchases[index];
            suite.buy(member, &format!("{id}{member}"), points, START - 20 * DAY + days * DAY).await;
        }
    }
    // Days 26 December to 7 January: 390 points in the old year, 170 in the new one.
    let first = suite.tier(1).await;
    assert_eq!((first.level.as_str(), first.qualifying_points), ("silver", 170));
    for member in 2..=4 {
        let other = suite.tier(member).await;
        assert_eq!((&other.level, other.start_time, other.end_time), (&first.level, first.start_time, first.end_time));
        assert_eq!((other.qualifying_points, &other.risks), (first.qualifying_points, &first.risks));
        let last = suite.log(member).await.pop().unwrap();
        assert_eq!(last.to_level, "silver");
    }
}

async fn strangers_and_purchases_without_points_do_not_count(engine: TestEngine) {
    let base = pb::Scheme { levels: vec![level("member", Some(0), "1"), level("gold", Some(500), "2")], ..scheme() };
    let suite = Suite::with_scheme(engine, base).await;
    suite.buy(0, "stranger", 600, START).await;
    suite.buy(1, "nothing", 0, START).await;
    assert_eq!(suite.tier(1).await.level, "");
    suite.buy(1, "one", 1, START).await;
    let member = suite.tier(1).await;
    assert_eq!((member.level.as_str(), member.end_time, member.risks.len()), ("member", None, 0));
}

async fn a_return_takes_back_what_it_reached(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.buy(1, "p1", 120, START).await;
    suite.buy(1, "p2", 400, START + 60 * DAY).await;
    suite.clock.set(START + 100 * DAY);
    // Parts of it first: 480 points are left, then 380.
    suite.give_back(1, "p2", 20, START + 90 * DAY).await;
    assert_eq!(suite.tier(1).await.level, "gold");
    suite.give_back(1, "p2", 100, START + 91 * DAY).await;
    let silver = suite.tier(1).await;
    assert_eq!((silver.level.as_str(), silver.qualifying_points, silver.points_to_next), ("silver", 400, 100));
    assert_eq!(
        suite.story(1).await,
        [
            "JOINED >silver 2026-01-15 2028-01-01",
            "UPGRADED silver>gold 2026-03-16 2028-01-01",
            "DOWNGRADED gold>silver 2026-04-16 2028-01-01"
        ]
    );
    let log = suite.log(1).await;
    assert_eq!((log[2].cause(), log[2].cause_name.as_str()), (pb::tier_transition::Cause::Return, &*purchase_name("p2")));
    // Everything back is as if nothing had been bought.
    suite.give_back(1, "p2", 280, START + 92 * DAY).await;
    suite.give_back(1, "p1", 120, START + 93 * DAY).await;
    let nothing = suite.tier(1).await;
    assert_eq!((nothing.level.as_str(), nothing.qualifying_points, nothing.points_to_next), ("", 0, 100));
    assert_eq!((nothing.start_time, nothing.end_time, nothing.next_evaluation_time), (None, None, None));
    assert_eq!(suite.story(1).await[3], "LEFT silver> 2026-04-18 -");
    let (_, left) = suite.announced(1, 4).await.pop().unwrap();
    assert_eq!((left.change.as_str(), left.tier.as_str(), left.multiplier.as_str()), ("LEFT", "", "1"));
}

async fn a_return_keeps_the_level_to_its_end_where_the_scheme_says_so(engine: TestEngine) {
    let keep = pb::Scheme { on_return: pb::OnReturn::Keep.into(), ..scheme() };
    let suite = Suite::with_scheme(engine, keep).await;
    suite.buy(1, "p1", 500, START).await;
    suite.clock.set(START + 10 * DAY);
    suite.give_back(1, "p1", 500, START + 10 * DAY).await;
    let gold = suite.tier(1).await;
    assert_eq!((gold.level.as_str(), gold.qualifying_points), ("gold", 0));
    assert_eq!(gold.risks[0].points_to_stay, 500);
    suite.clock.set(at("2027-12-31T16:00:00Z"));
    testkit::eventually(async || suite.log(1).await.len() == 2).await;
    assert_eq!(suite.story(1).await[1], "DOWNGRADED gold>silver 2028-01-01 2029-01-01");
}

async fn a_return_before_its_purchase_counts_when_the_purchase_comes(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    suite.give_back(1, "p1", 30, START).await;
    assert_eq!(suite.tier(1).await.qualifying_points, 0);
    suite.buy(1, "p1", 120, START - DAY).await;
    let nothing = suite.tier(1).await;
    assert_eq!((nothing.qualifying_points, nothing.level.as_str()), (90, ""));
}

async fn several_schemes_count_the_same_purchases(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let life = pb::QualifyingPeriod { kind: Some(pb::qualifying_period::Kind::Lifetime(pb::Lifetime {})) };
    let life = pb::CreateSchemeRequest { scheme_id: "life".to_owned(), ..create(pb::Scheme { period: Some(life), ..scheme() }) };
    suite.client(Role::Administrator).await.create_scheme(life).await.unwrap();
    suite.buy(1, "p1", 99, START - 30 * DAY).await;
    suite.buy(1, "p2", 99, START).await;
    assert_eq!(suite.tier(1).await.level, "");
    let request = pb::GetMemberTierRequest { name: format!("{}/tiers/life", member_name(1)) };
    let life = suite.client(Role::Terminal).await.get_member_tier(request).await.unwrap().into_inner();
    assert_eq!((life.level.as_str(), life.qualifying_points, life.end_time, life.period_start_date), ("silver", 198, None, None));
    let (_, told) = suite.announced(1, 1).await.remove(0);
    assert_eq!(told.scheme, "programs/tea/schemes/life");
}

async fn an_evaluation_reads_days_and_not_purchases(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    for part in 1..=3 {
        suite.tell_many(1, 1_000, START).await;
        suite.settled().await;
        assert_eq!(suite.tier(1).await.qualifying_points, part * 1_000);
    }
    assert_eq!(suite.day_rows(1).await, 1);
    assert_eq!(suite.log(1).await.len(), 2);
    suite.buy(1, "one-more", 1, START + DAY).await;
    assert_eq!(suite.day_rows(1).await, 2);
}
