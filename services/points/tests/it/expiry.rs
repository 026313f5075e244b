//! When points lapse, by the terms and by hand, and what is owed.

use std::time::Duration;

use proto::common::{CalendarPeriod, Role, calendar_period::Unit};
use proto::events::TierChanged;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::set_expiry_request::To;
use proto::points::terms::ExpiryRounding;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    points_lapse_at_another_time,
    points_lapse_so_much_later,
    points_may_live_for_ever,
    what_is_held_keeps_its_new_expiry,
    an_expiry_lies_ahead,
    there_must_be_something_to_extend,
    a_change_of_expiry_comes_again_byte_for_byte,
    points_live_while_the_member_does_something,
    a_silent_members_points_lapse_at_the_end_of_the_day,
    what_is_owed_may_be_forgiven,
    the_most_generous_tier_bounds_what_is_owed,
);

fn lasting() -> pb::Terms {
    pb::Terms { expire_after: days(30), ..terms() }
}

fn at(day: u32) -> Option<prost_types::Timestamp> {
    Some(timestamp(START + day * DAY))
}

/// The request with another aim.
fn lapse(owner: u128, to: To) -> pb::SetExpiryRequest {
    pb::SetExpiryRequest { to: Some(to), ..never_expire(owner) }
}

/// When lots lapse, and how many points.
async fn lots(suite: &Suite, owner: u128) -> Vec<(Option<prost_types::Timestamp>, i64)> {
    suite.balance(owner).await.wallets[0].lots.iter().map(|lot| (lot.expire_time, lot.points)).collect()
}

/// 100 points that lapse on day 20, and 50 that lapse on day 30.
async fn two_lots(engine: TestEngine) -> Suite {
    let suite = Suite::with_terms(engine, lasting()).await;
    let early = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(timestamp(START - 10 * DAY)));
    suite.platform().award(early).await.unwrap();
    suite.award(1, "p2", 5_000).await;
    suite
}

async fn points_lapse_at_another_time(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Support).await;
    let request = with(lapse(1, To::ExpireTime(at(40).unwrap())), |request| request.lapse_by_time = at(20));
    let operation = support.set_expiry(request).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::SetExpiry, 100, 0));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, entry.active_after), (pb::EntryKind::Expiry, 0, 150));
    assert_eq!((entry.reason.as_str(), entry.approver.as_str()), ("goodwill", "staff 7"));
    let changes: Vec<_> = entry.lots.iter().map(|lot| (lot.expire_time, lot.points_delta)).collect();
    assert_eq!(changes, [(at(20), -100), (at(40), 100)]);
    suite.stands(&operation).await;
    assert_eq!(lots(&suite, 1).await, [(at(30), 50), (at(40), 100)]);
    // Sooner is a time too.
    support.set_expiry(lapse(1, To::ExpireTime(at(5).unwrap()))).await.unwrap();
    assert_eq!(lots(&suite, 1).await, [(at(5), 150)], "alike now, and so one");
    let told = posted(&suite.events(3).await[2]);
    assert_eq!(told, ("SET_EXPIRY".to_owned(), String::new(), vec!["3 EXPIRY 0".to_owned()]));
    suite.clock.advance(5 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn points_lapse_so_much_later(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Support).await;
    let operation = support.set_expiry(lapse(1, To::Later(days(10).unwrap()))).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, operation.entries[0].lots.len()), (150, 4));
    suite.stands(&operation).await;
    // The first now lapses when the second did, and is not moved twice.
    assert_eq!(lots(&suite, 1).await, [(at(30), 100), (at(40), 50)]);
    let month = CalendarPeriod { count: 1, unit: Unit::Month.into() };
    support.set_expiry(lapse(1, To::Later(month))).await.unwrap();
    // A month after the 14th of February is the 14th of March, in the program's zone.
    assert_eq!(lots(&suite, 1).await[0], (at(58), 100));
    // What is not spendable yet lapses later too.
    suite.clock.advance(Duration::from_secs(1));
    suite.new_terms(pb::Terms { activate_after: days(2), ..lasting() }, suite.now()).await;
    suite.award(2, "p3", 10_000).await;
    let operation = support.set_expiry(lapse(2, To::Later(days(1).unwrap()))).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, operation.entries[0].pending_after), (100, 100));
    let later = |day: u32| Some(timestamp(START + day * DAY + Duration::from_secs(1)));
    assert_eq!(lots(&suite, 2).await, [(later(33), 100)]);
    suite.clock.advance(2 * DAY);
    assert_eq!(suite.figures(2).await, (100, 0, 0, 0));
    suite.verified().await;
}

async fn points_may_live_for_ever(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Administrator).await;
    support.set_expiry(never_expire(1)).await.unwrap();
    let balance = suite.balance(1).await;
    assert_eq!((balance.wallets[0].next_expire_time, balance.wallets[0].next_expire_points), (None, 0));
    assert!(lots(&suite, 1).await.iter().all(|(expires, _)| expires.is_none()));
    suite.clock.advance(1000 * DAY);
    assert_eq!(suite.figures(1).await, (150, 0, 0, 0));
    suite.verified().await;
}

async fn what_is_held_keeps_its_new_expiry(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    let spent = platform.redeem(redeem(1, 10)).await.unwrap().into_inner().name;
    let held = platform.reserve(with(reserve(1, 120), |request| request.several_captures = true)).await.unwrap().into_inner();
    let held = hold(&held);
    platform.capture(capture(&held, Some(20))).await.unwrap();
    let operation = support.set_expiry(lapse(1, To::ExpireTime(at(60).unwrap()))).await.unwrap().into_inner();
    assert_eq!((operation.requested_points, operation.entries[0].reserved_after), (120, 100));
    suite.stands(&operation).await;
    assert_eq!(lots(&suite, 1).await, [(at(60), 120)]);
    let captured = platform.capture(with(capture(&held, Some(30)), |request| request.last = true)).await.unwrap().into_inner();
    assert_eq!((suite.figures(1).await, lots(&suite, 1).await), ((90, 0, 0, 0), vec![(at(60), 90)]));
    platform.refund_redemption(refund(&captured.name, None)).await.unwrap();
    assert_eq!(lots(&suite, 1).await, [(at(60), 120)]);
    // What was spent before goes back with the expiry that it had.
    platform.refund_redemption(refund(&spent, None)).await.unwrap();
    assert_eq!(lots(&suite, 1).await, [(at(20), 10), (at(60), 120)]);
    suite.verified().await;
}

async fn an_expiry_lies_ahead(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Support).await;
    suite.clock.advance(DAY);
    let request = lapse(1, To::ExpireTime(at(1).unwrap()));
    assert_eq!(precondition(support.set_expiry(request.clone()).await), "EXPIRY_NOT_AHEAD");
    assert!(support.set_expiry(request).await.unwrap_err().metadata().contains_key("regulars-replayed"), "a refusal is remembered");
    assert_eq!(precondition(support.set_expiry(lapse(1, To::ExpireTime(at(0).unwrap()))).await), "EXPIRY_NOT_AHEAD");
    assert_eq!(precondition(support.set_expiry(lapse(9, To::ExpireTime(at(0).unwrap()))).await), "EXPIRY_NOT_AHEAD", "of nobody");
    assert_eq!(suite.story(1).await, ["AWARD 100", "AWARD 50"]);
}

async fn there_must_be_something_to_extend(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Support).await;
    assert_eq!(precondition(support.set_expiry(never_expire(9)).await), "NOTHING_TO_EXTEND", "nobody");
    let earlier = with(never_expire(1), |request| request.lapse_by_time = Some(timestamp(START + 20 * DAY - Duration::from_micros(1))));
    assert_eq!(precondition(support.set_expiry(earlier).await), "NOTHING_TO_EXTEND");
    let same = with(lapse(1, To::ExpireTime(at(20).unwrap())), |request| request.lapse_by_time = at(20));
    assert_eq!(precondition(support.set_expiry(same).await), "NOTHING_TO_EXTEND", "it is so already");
    let stars = with(never_expire(1), |request| request.wallet = "stars".to_owned());
    assert_eq!(refusal(support.set_expiry(stars).await).1, "WALLET_NOT_FOUND");
    support.set_expiry(never_expire(1)).await.unwrap();
    assert_eq!(precondition(support.set_expiry(never_expire(1)).await), "NOTHING_TO_EXTEND", "what never lapses");
    // What waits for an event is not touched.
    suite.clock.advance(Duration::from_secs(1));
    suite.new_terms(pb::Terms { activate_on: waits_for("delivered", None), ..lasting() }, suite.now()).await;
    suite.award(2, "p3", 10_000).await;
    assert_eq!(precondition(support.set_expiry(never_expire(2)).await), "NOTHING_TO_EXTEND");
    suite.platform().activate_pending(activate(2, "delivered")).await.unwrap();
    support.set_expiry(never_expire(2)).await.unwrap();
    suite.verified().await;
}

async fn a_change_of_expiry_comes_again_byte_for_byte(engine: TestEngine) {
    let suite = two_lots(engine).await;
    let mut support = suite.client(Role::Support).await;
    let request = lapse(1, To::ExpireTime(at(40).unwrap()));
    let first = support.set_expiry(request.clone()).await.unwrap().into_inner();
    suite.clock.advance(50 * DAY);
    let again = support.set_expiry(request.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    type Change = (&'static str, fn(&mut pb::SetExpiryRequest));
    let changes: [Change; 7] = [
        ("member", |request| request.member = member(2)),
        ("wallet", |request| request.wallet = "points".to_owned()),
        ("lapse_by_time", |request| request.lapse_by_time = at(20)),
        ("expire_time", |request| request.to = at(41).map(To::ExpireTime)),
        ("expire_time", |request| request.to = Some(To::Never(true))),
        ("reason", |request| request.reason = "so".to_owned()),
        ("approver", |request| request.approver = "staff 8".to_owned()),
    ];
    for (field, change) in changes {
        let reused = support.set_expiry(with(request.clone(), change)).await;
        assert_eq!(metadata(&reused, "field"), field);
        assert_eq!(refusal(reused).1, "REQUEST_ID_REUSED");
    }
}

async fn points_live_while_the_member_does_something(engine: TestEngine) {
    let suite =
        Suite::with_terms(engine, pb::Terms { expire_after_inactivity: days(10), activities: vec![earns("visit", 1)], ..terms() }).await;
    let mut platform = suite.platform();
    let lives_until = async |day| {
        let balance = suite.balance(1).await;
        let wallet = &balance.wallets[0];
        assert_eq!((wallet.next_expire_time, wallet.next_expire_points), (at(day), wallet.active_points));
        assert!(wallet.lots.iter().all(|lot| lot.sliding && lot.expire_time == at(day)), "{:?}", wallet.lots);
    };
    let bought = suite.award(1, "p1", 10_000).await;
    assert_eq!((bought.entries[0].sliding_expire_time, bought.entries[0].lots[0].sliding), (at(10), true));
    assert_eq!(bought.balance.as_ref().unwrap().wallets[0].next_expire_time, at(10));
    suite.stands(&bought).await;
    lives_until(10).await;
    // Spending, capturing and activities keep all alive; holding, correcting and giving back do not.
    suite.clock.advance(2 * DAY);
    let spent = platform.redeem(redeem(1, 10)).await.unwrap().into_inner();
    assert_eq!(spent.entries[0].sliding_expire_time, at(12));
    lives_until(12).await;
    suite.clock.advance(DAY);
    platform.award_activity(activity(1, "visit", "v1")).await.unwrap();
    lives_until(13).await;
    suite.clock.advance(DAY);
    let held = suite.reserve(1, 10).await;
    assert_eq!(held.entries[0].sliding_expire_time, None);
    platform.refund_redemption(refund(&spent.name, None)).await.unwrap();
    suite.client(Role::Support).await.adjust(adjust(1, 9)).await.unwrap();
    platform.return_purchase(down_to("p1", 9_000)).await.unwrap();
    let balance = suite.balance(1).await;
    assert_eq!((figures(&balance), balance.wallets[0].next_expire_time), ((90, 0, 10, 0), at(13)));
    platform.capture(capture(&hold(&held), None)).await.unwrap();
    lives_until(14).await;
    // What is told late counts from when it happened, and never back.
    let late = with(award(1, "p2", 0), |request| input(request).occur_time = at(1));
    platform.award(late).await.unwrap();
    lives_until(14).await;
    suite.clock.advance(9 * DAY);
    let late = with(award(1, "p3", 1_000), |request| input(request).occur_time = at(6));
    platform.award(late).await.unwrap();
    lives_until(16).await;
    suite.clock.advance(3 * DAY);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    testkit::eventually(async || suite.story(1).await.last().unwrap() == "EXPIRE -100").await;
    assert_eq!(suite.entries(1).await.pop().unwrap().effective_time, at(16));
    suite.verified().await;
}

async fn a_silent_members_points_lapse_at_the_end_of_the_day(engine: TestEngine) {
    let rounded = pb::Terms { expire_after_inactivity: days(10), expiry_rounding: ExpiryRounding::Day.into(), ..terms() };
    let suite = Suite::with_terms(engine, rounded).await;
    suite.award(1, "p1", 10_000).await;
    // The clock stands at six in the evening of the program's zone.
    let end = START + 10 * DAY + Duration::from_secs(6 * 3_600);
    assert_eq!(suite.balance(1).await.wallets[0].next_expire_time, Some(timestamp(end)));
    suite.clock.advance(10 * DAY + Duration::from_secs(6 * 3_600) - Duration::from_micros(1));
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    suite.clock.advance(Duration::from_micros(1));
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    suite.verified().await;
}

async fn what_is_owed_may_be_forgiven(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let mut support = suite.client(Role::Support).await;
    let none = support.forgive_deficit(forgive(1, None)).await;
    assert_eq!(metadata(&none, "deficit_points"), "0");
    assert_eq!(precondition(none), "EXCEEDS_DEFICIT");
    suite.award(1, "p1", 10_000).await;
    platform.redeem(redeem(1, 100)).await.unwrap();
    platform.return_purchase(down_to("p1", 0)).await.unwrap();
    let much = forgive(1, Some(101));
    assert_eq!(metadata(&support.forgive_deficit(much.clone()).await, "deficit_points"), "100");
    let request = forgive(1, Some(30));
    let operation = support.forgive_deficit(request.clone()).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Forgive, 30, 30));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!((entry.kind(), entry.points, entry.deficit_delta, entry.deficit_after), (pb::EntryKind::Forgive, 30, -30, 70));
    assert_eq!((entry.lots.len(), entry.reason.as_str(), entry.approver.as_str()), (0, "goodwill", "staff 7"));
    suite.stands(&operation).await;
    assert!(replayed(&support.forgive_deficit(request.clone()).await.unwrap()));
    for points in [None, Some(31)] {
        let reused = support.forgive_deficit(with(request.clone(), |request| request.points = points)).await;
        assert_eq!(metadata(&reused, "field"), "points");
    }
    let stars = with(forgive(1, None), |request| request.wallet = "stars".to_owned());
    assert_eq!(refusal(support.forgive_deficit(stars).await).1, "WALLET_NOT_FOUND");
    assert_eq!(support.forgive_deficit(forgive(1, None)).await.unwrap().into_inner().actual_points, 70);
    assert_eq!(precondition(support.forgive_deficit(forgive(1, Some(1))).await), "EXCEEDS_DEFICIT");
    assert_eq!(metadata(&support.forgive_deficit(much).await, "deficit_points"), "100", "a refusal is remembered");
    assert_eq!(suite.figures(1).await, (0, 0, 0, 0));
    assert_eq!(posted(&suite.events(5).await[3]), ("FORGIVE".to_owned(), String::new(), vec!["4 FORGIVE 30".to_owned()]));
    assert_eq!(suite.award(1, "p2", 1_000).await.entries[0].deficit_delta, 0);
    suite.verified().await;
}

async fn the_most_generous_tier_bounds_what_is_owed(engine: TestEngine) {
    let cap = |tier: &str, points| pb::TierDeficitCap { tier: tier.to_owned(), points };
    let capped = pb::Terms { deficit_cap: 30, tier_deficit_caps: vec![cap("silver", 50), cap("gold", 60), cap("small", 10)], ..terms() };
    let suite = Suite::with_feeds(engine, capped).await;
    let mut platform = suite.platform();
    let tier = |scheme: &str, tier: &str| {
        Payload::TierChanged(TierChanged {
            scheme: format!("{TEA}/schemes/{scheme}"),
            tier: tier.to_owned(),
            multiplier: "1".to_owned(),
            start_time: at(0),
            ..TierChanged::default()
        })
    };
    suite.tiers_tell(2, tier("status", "silver"), 1).await;
    suite.tiers_tell(2, tier("staff", "gold"), 2).await;
    suite.tiers_tell(3, tier("status", "small"), 1).await;
    suite.tiers_tell(4, tier("status", "bronze"), 1).await;
    for (owner, owed) in [(1, 30), (2, 60), (3, 10), (4, 30)] {
        let id = format!("p{owner}");
        suite.award(owner, &id, 10_000).await;
        platform.redeem(redeem(owner, 100)).await.unwrap();
        let told = platform.return_purchase(down_to(&id, 0)).await.unwrap().into_inner().r#return.unwrap();
        assert_eq!((told.added_to_deficit, told.forgiven), (owed, 100 - owed), "member {owner}");
        assert_eq!(suite.figures(owner).await, (0, 0, 0, owed));
    }
    suite.verified().await;
}
