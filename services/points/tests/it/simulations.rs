//! Terms that are tried on what was bought.

use std::collections::BTreeMap;

use persistence::{Connection, on_engine};
use proto::common::Role;
use proto::points as pb;
use proto::points::award_limit::{OnExceed, Scope};
use proto::points::member_limit::Period;
use proto::points::promotion::Gives;
use proto::points::simulate_terms_response::{Difference, PromotionResult};
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::activities::{approve, reject};
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    the_terms_of_the_day_change_nothing,
    other_terms_say_who_gains_and_who_loses,
    what_was_bought_before_counts_as_bought,
    what_members_share_is_left_out,
    what_lapses_is_told_apart,
    many_members_come_in_pages,
    other_wallets_are_left_out,
    challenges_are_played_and_what_they_gave_is_told,
    activities_are_played_with_what_became_of_them,
    a_draft_is_tried_by_its_name,
    a_simulation_changes_nothing_in_the_books,
    bad_terms_are_not_tried,
);

fn trying(terms: pb::Terms) -> pb::SimulateTermsRequest {
    pb::SimulateTermsRequest { parent: TEA.to_owned(), terms: Some(terms), start_time: Some(timestamp(START)), ..Default::default() }
}

/// All answers; the last one is complete.
async fn simulate(suite: &Suite, request: pb::SimulateTermsRequest) -> Vec<pb::SimulateTermsResponse> {
    let mut stream = suite.client(Role::Analyst).await.simulate_terms(request).await.unwrap().into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        answers.push(answer);
    }
    assert_eq!(answers.iter().filter(|answer| answer.complete).count(), 1);
    answers
}

async fn outcome(suite: &Suite, request: pb::SimulateTermsRequest) -> pb::SimulateTermsResponse {
    simulate(suite, request).await.pop().unwrap()
}

fn promoted(promotion: pb::Promotion) -> pb::Terms {
    let promotion = pb::Promotion { promotion_id: "p".to_owned(), title: "P".to_owned(), ..promotion };
    pb::Terms { promotions: vec![promotion], ..terms() }
}

/// A purchase that has earned in two wallets is one, and its points are those of the main one.
async fn other_wallets_are_left_out(engine: TestEngine) {
    let title = "Stars".to_owned();
    let stars = pb::WalletTerms { wallet: "stars".to_owned(), title, points_per_unit: "1".to_owned(), ..pb::WalletTerms::default() };
    let five = pb::Promotion { gives: Some(Gives::Points(5)), wallet: "stars".to_owned(), ..pb::Promotion::default() };
    let review = pb::ActivityTerms { wallet: "stars".to_owned(), ..earns("review", 7) };
    let terms = pb::Terms { wallets: vec![stars], activities: vec![review], ..promoted(five) };
    let suite = Suite::with_terms(engine, terms.clone()).await;
    suite.award(1, "a", 10_000).await;
    suite.platform().award_activity(activity(1, "review", "r1")).await.unwrap();
    suite.clock.advance(DAY);
    let told = outcome(&suite, trying(terms)).await;
    assert_eq!((told.activities, told.outstanding_points, told.simulated_outstanding_points), (1, 100, 100));
    assert_eq!((told.members, told.purchases, told.points, told.simulated_points), (1, 1, 100, 100));
    let [five] = &told.promotions[..] else { panic!("one promotion") };
    assert_eq!((five.purchases, five.points), (1, 5), "a promotion's points are those of its own wallet");
}

async fn the_terms_of_the_day_change_nothing(engine: TestEngine) {
    let twice = pb::Promotion { gives: Some(Gives::Multiplier("2".to_owned())), spend_min: 5_000, ..pb::Promotion::default() };
    let mut terms = promoted(twice);
    let ten =
        pb::Promotion { promotion_id: "ten".to_owned(), title: "Ten".to_owned(), gives: Some(Gives::Points(10)), ..Default::default() };
    terms.promotions.push(ten);
    let suite = Suite::with_terms(engine, terms.clone()).await;
    for (buyer, id, fen) in [(1, "a", 10_000), (1, "b", 4_000), (2, "c", 7_777), (0, "stranger", 9_999)] {
        suite.award(buyer, id, fen).await;
    }
    suite.platform().return_purchase(down_to("a", 6_000)).await.unwrap();
    suite.platform().award(award_lines(3, "lines", &[("1", 2, 10_000)])).await.unwrap();
    suite.platform().return_purchase(down_to("lines", 0)).await.unwrap();
    suite.clock.advance(DAY);
    let before = (suite.figures(1).await, suite.figures(2).await, suite.verified().await);
    let same = outcome(&suite, trying(terms)).await;
    let points = 130 + 50 + 164;
    assert_eq!((same.members, same.purchases, same.points, same.simulated_points), (3, 4, points, points));
    assert_eq!((same.gaining_members, same.losing_members, same.top_gains, same.top_losses), (0, 0, vec![], vec![]));
    assert_eq!((suite.figures(1).await, suite.figures(2).await), (before.0, before.1));
    assert_eq!(suite.verified().await.accounts, before.2.accounts);
    suite.stop().await;
}

async fn other_terms_say_who_gains_and_who_loses(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (buyer, id, fen) in [(1, "a", 10_000), (1, "b", 10_000), (2, "c", 1_000), (3, "d", 5_000)] {
        suite.award(buyer, id, fen).await;
    }
    suite.clock.advance(2 * DAY);
    // Half a point for a yuan, and eighty for whoever spends a hundred.
    let big = pb::Promotion { gives: Some(Gives::Points(80)), spend_min: 10_000, ..pb::Promotion::default() };
    let other = pb::Terms { points_per_unit: "0.5".to_owned(), ..promoted(big) };
    let told = outcome(&suite, trying(other.clone())).await;
    let gives = |purchases, points| PromotionResult { promotion_id: "p".to_owned(), purchases, points };
    assert_eq!(told.promotions, [gives(2, 160)]);
    assert_eq!((told.points, told.simulated_points, told.gaining_members, told.losing_members), (260, 260 + 30, 1, 2));
    let difference = |owner, points, simulated_points| Difference { member: member(owner), points, simulated_points };
    assert_eq!(told.top_gains, [difference(1, 200, 260)]);
    assert_eq!(told.top_losses, [difference(3, 50, 25), difference(2, 10, 5)]);
    // Only what was bought in the time.
    let nothing = outcome(&suite, pb::SimulateTermsRequest { start_time: Some(timestamp(START + DAY)), ..trying(other) }).await;
    assert_eq!((nothing.complete, nothing.members, nothing.purchases), (true, 0, 0));
    suite.stop().await;
}

async fn what_was_bought_before_counts_as_bought(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "a", 100).await;
    suite.clock.advance(10 * DAY);
    suite.award(1, "b", 100).await;
    suite.award(2, "c", 100).await;
    suite.clock.advance(DAY);
    let later = |promotion| pb::SimulateTermsRequest { start_time: Some(timestamp(START + DAY)), ..trying(promoted(promotion)) };
    let points = Some(Gives::Points(7));
    let welcome = pb::Promotion { gives: points.clone(), purchase_number: 1, ..pb::Promotion::default() };
    assert_eq!(outcome(&suite, later(welcome)).await.simulated_points, 1 + 8, "the first has bought before");
    let come_back = pb::Promotion { gives: points, dormant_days: 10, ..pb::Promotion::default() };
    assert_eq!(outcome(&suite, later(come_back)).await.simulated_points, 8 + 1);
    suite.stop().await;
}

/// What a budget would have to be, not what it has left; and what each member may get is asked.
async fn what_members_share_is_left_out(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (buyer, id) in [(1, "a"), (1, "b"), (2, "c"), (3, "d")] {
        suite.award(buyer, id, 1_000).await;
    }
    suite.platform().return_purchase(down_to("d", 400)).await.unwrap();
    suite.clock.advance(DAY);
    let budget = pb::PromotionBudget { points_max: 5, period: Period::Ever.into(), ..Default::default() };
    let double = pb::Promotion { gives: Some(Gives::Multiplier("2".to_owned())), budget: Some(budget), ..Default::default() };
    let limit = |limit_id: &str, scope: Scope, times_max, points_max, on_exceed: OnExceed| pb::AwardLimit {
        limit_id: limit_id.to_owned(),
        scope: scope.into(),
        period: Period::Ever.into(),
        times_max,
        points_max,
        on_exceed: on_exceed.into(),
    };
    let limits = vec![limit("all", Scope::Program, 0, 1, OnExceed::Reject), limit("own", Scope::Member, 1, 0, OnExceed::Reject)];
    let told = outcome(&suite, trying(pb::Terms { limits, ..promoted(double) })).await;
    assert_eq!((told.purchases, told.points, told.simulated_points), (4, 34, 20 + 20 + 8), "one each");
    assert_eq!(told.promotions, [PromotionResult { promotion_id: "p".to_owned(), purchases: 3, points: 24 }]);
}

async fn what_lapses_is_told_apart(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after: days(10), ..terms() }).await;
    suite.award(1, "old", 10_000).await;
    suite.clock.advance(9 * DAY);
    suite.award(1, "new", 3_000).await;
    suite.platform().return_purchase(down_to("old", 6_000)).await.unwrap();
    suite.clock.advance(2 * DAY);
    // Spending changes nothing here: it would be done under either terms.
    suite.platform().redeem(redeem(1, 5)).await.unwrap();
    let told = async |terms: pb::Terms| {
        let told = outcome(&suite, trying(terms)).await;
        (told.points, told.lapsed_points, told.simulated_points, told.simulated_lapsed_points)
    };
    assert_eq!(told(pb::Terms { expire_after: days(10), ..terms() }).await, (90, 60, 90, 60));
    assert_eq!(told(pb::Terms { expire_after: days(30), ..terms() }).await, (90, 60, 90, 0));
    let shorter = pb::Terms { points_per_unit: "2".to_owned(), expire_after: days(2), ..terms() };
    assert_eq!(told(shorter).await, (90, 60, 180, 180));
    assert_eq!(told(pb::Terms { expire_after_inactivity: days(1), ..terms() }).await, (90, 60, 90, 0));
    suite.stop().await;
}

async fn many_members_come_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for buyer in 1..=230 {
        suite.award(buyer, &format!("p{buyer}"), 100 * i64::try_from(buyer).unwrap()).await;
    }
    suite.clock.advance(DAY);
    let answers = simulate(&suite, trying(pb::Terms { points_per_unit: "2".to_owned(), ..terms() })).await;
    let members: Vec<i64> = answers.iter().map(|answer| answer.members).collect();
    assert_eq!(members, [200, 230, 230]);
    let last = answers.last().unwrap();
    assert_eq!((last.points, last.simulated_points), (230 * 231 / 2, 230 * 231));
    let top: Vec<i64> = last.top_gains.iter().map(|one| one.points).collect();
    assert_eq!(top, (221..=230).rev().collect::<Vec<_>>());
    suite.stop().await;
}

async fn bad_terms_are_not_tried(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut analyst = suite.client(Role::Analyst).await;
    let bad = promoted(pb::Promotion { gives: Some(Gives::Multiplier("0.5".to_owned())), ..pb::Promotion::default() });
    assert_eq!(wrong_fields(analyst.simulate_terms(trying(bad)).await), ["terms.promotions[0].multiplier"]);
    let backwards = pb::SimulateTermsRequest { end_time: Some(timestamp(START)), ..trying(terms()) };
    assert_eq!(wrong_fields(analyst.simulate_terms(backwards).await), ["end_time"]);
    let endless = pb::SimulateTermsRequest { start_time: None, ..trying(terms()) };
    assert_eq!(wrong_fields(analyst.simulate_terms(endless).await), ["start_time"]);
    suite.stop().await;
}

fn gift(points: i64) -> Option<pb::Gift> {
    Some(pb::Gift { gift: Some(pb::gift::Gift::Points(points)), wallet: String::new() })
}

fn ladder(id: &str, counts: pb::challenge::Counts, steps: &[(i64, Option<pb::Gift>)]) -> pb::Challenge {
    let steps = steps.iter().map(|(at, gives)| pb::Step { at: *at, gives: gives.clone() }).collect();
    let shape = pb::Ladder { period: Period::Month.into(), measure: pb::ladder::Measure::Times.into(), steps };
    pb::Challenge {
        challenge_id: id.to_owned(),
        title: id.to_owned(),
        counts: Some(counts),
        shape: Some(pb::challenge::Shape::Ladder(shape)),
        ..pb::Challenge::default()
    }
}

fn visits(steps: &[(i64, Option<pb::Gift>)]) -> pb::Challenge {
    ladder("visits", pb::challenge::Counts::Purchases(pb::QualifyingPurchase::default()), steps)
}

async fn challenges_are_played_and_what_they_gave_is_told(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { challenges: vec![visits(&[(2, gift(20))])], ..terms() }).await;
    for (buyer, id) in [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (2, "e"), (3, "f")] {
        suite.award(buyer, id, 1_000).await;
    }
    // One of two goes back, and with it what they gave.
    suite.platform().return_purchase(down_to("e", 0)).await.unwrap();
    suite.clock.advance(DAY);
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (50, 10));
    let told = |told: pb::SimulateTermsResponse| {
        let results = told.challenges.iter().map(|one| (one.challenge_id.clone(), one.times, one.points, one.vouchers)).collect::<Vec<_>>();
        let challenges = (told.challenge_points, told.simulated_challenge_points, told.vouchers, told.simulated_vouchers);
        (told.points, told.simulated_points, challenges, results)
    };
    let result = |id: &str, times, points, vouchers| (id.to_owned(), times, points, vouchers);
    let same = pb::Terms { challenges: vec![visits(&[(2, gift(20))])], ..terms() };
    assert_eq!(told(outcome(&suite, trying(same)).await), (70, 70, (20, 20, 0, 0), vec![result("visits", 1, 20, 0)]));
    // A cup for the third, and points for two in a row, of which none has gone back.
    let cup = Some(pb::Gift { gift: Some(pb::gift::Gift::Reward("programs/tea/rewards/cup".to_owned())), wallet: String::new() });
    let streak = pb::Streak { cadence: pb::streak::Cadence::Purchase.into(), length: 2, gives: gift(7), ..pb::Streak::default() };
    let row = pb::Challenge { shape: Some(pb::challenge::Shape::Streak(streak)), ..ladder("row", visits(&[]).counts.unwrap(), &[]) };
    let other = pb::Terms { challenges: vec![visits(&[(1, gift(1)), (3, cup)]), row], ..terms() };
    let results = vec![result("visits", 4, 3, 1), result("row", 1, 7, 0)];
    let answer = outcome(&suite, trying(other)).await;
    assert_eq!((answer.gaining_members, answer.losing_members), (2, 1), "the first has eight instead of twenty");
    assert_eq!(told(answer), (70, 50 + 10, (20, 10, 0, 1), results));
    // What was given before the time is not told, and a challenge begins with it.
    suite.clock.advance(DAY);
    suite.award(1, "g", 1_000).await;
    suite.clock.advance(DAY);
    let later = pb::SimulateTermsRequest { start_time: Some(timestamp(START + DAY)), ..trying(terms()) };
    assert_eq!(told(outcome(&suite, later).await), (10, 10, (0, 0, 0, 0), vec![]));
    suite.stop().await;
}

/// What was approved counts, what was rejected does not where somebody is asked, and what waits still waits.
async fn activities_are_played_with_what_became_of_them(engine: TestEngine) {
    let asks = |points: i64| pb::ActivityTerms { approval: Some(pb::Approval::default()), ..earns("share", points) };
    let real = pb::Terms { activities: vec![asks(5), earns("review", 3)], ..terms() };
    let suite = Suite::with_terms(engine, real.clone()).await;
    let mut platform = suite.platform();
    for (owner, kind, id) in [(1, "share", "good"), (1, "share", "bad"), (2, "share", "open"), (2, "review", "r")] {
        platform.award_activity(activity(owner, kind, id)).await.unwrap();
    }
    platform.activate_pending(approve(1, "good")).await.unwrap();
    platform.cancel_pending(reject(1, "bad")).await.unwrap();
    suite.clock.advance(DAY);
    let told = async |terms: pb::Terms| {
        let told = outcome(&suite, trying(terms)).await;
        assert_eq!((told.members, told.purchases, told.activities, told.points), (2, 0, 4, 5 + 5 + 3));
        (told.simulated_points, told.simulated_challenge_points)
    };
    assert_eq!(told(real).await, (13, 0), "the same as it was");
    let twice = |activity: &str| ladder("two", pb::challenge::Counts::Activity(activity.to_owned()), &[(1, gift(10)), (2, gift(100))]);
    let asked = pb::Terms { activities: vec![asks(6)], challenges: vec![twice("share")], ..terms() };
    assert_eq!(told(asked).await, (6 + 6 + 10, 10), "only what was approved counts, and reviews earn nothing");
    let unasked = pb::Terms { activities: vec![earns("share", 6)], challenges: vec![twice("share")], ..terms() };
    assert_eq!(told(unasked).await, (18 + 110 + 10, 120), "nobody is asked");
    let once = pb::MemberLimit { times_max: 1, period: Period::Ever.into(), ..pb::MemberLimit::default() };
    let limited = pb::ActivityTerms { member_limit: Some(once), ..earns("share", 6) };
    assert_eq!(told(pb::Terms { activities: vec![limited], ..terms() }).await, (12, 0));
    assert_eq!(told(terms()).await, (0, 0));
    suite.stop().await;
}

async fn a_draft_is_tried_by_its_name(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "a", 10_000).await;
    suite.clock.advance(DAY);
    let double = pb::Terms { points_per_unit: "2".to_owned(), ..terms() };
    let draft = pb::CreateProgramVersionRequest { draft: true, ..new_version(double.clone()) };
    let draft = suite.administrator().create_program_version(draft).await.unwrap().into_inner();
    assert_eq!(draft.state(), pb::program_version::State::Draft);
    let by_name = |version: &str| pb::SimulateTermsRequest { terms: None, version: version.to_owned(), ..trying(terms()) };
    let told = outcome(&suite, by_name(&draft.name)).await;
    assert_eq!((told.points, told.simulated_points), (100, 200));
    assert_eq!(told, outcome(&suite, trying(double)).await);
    let mut analyst = suite.client(Role::Analyst).await;
    let missing = analyst.simulate_terms(by_name(&format!("{TEA}/versions/9"))).await;
    assert_eq!(refusal(missing), (tonic::Code::NotFound, "PROGRAM_VERSION_NOT_FOUND".to_owned()));
    suite.stop().await;
}

/// Every row of every table, as text, but for seals, which a job puts on by its own clock.
async fn books(suite: &Suite) -> BTreeMap<String, Vec<String>> {
    let mut tx = suite.points().await.read().await.unwrap();
    let tables: Vec<(String, String)> = match tx.connection() {
        Connection::Postgres(conn) => {
            let sql = "SELECT table_name::text, 'row::text' FROM information_schema.tables WHERE table_schema = current_schema()";
            sqlx::query_as(sql).fetch_all(conn).await.unwrap()
        }
        Connection::Sqlite(conn) => {
            let sql = "SELECT name, (SELECT group_concat('quote(' || column.name || ')', '||') FROM pragma_table_info(row.name) AS column)
                         FROM sqlite_master AS row WHERE type = 'table'";
            sqlx::query_as(sql).fetch_all(conn).await.unwrap()
        }
    };
    let mut books = BTreeMap::new();
    for (table, row) in tables.into_iter().filter(|(table, _)| !table.contains("seal")) {
        let sql = format!("SELECT {row} FROM {table} AS row ORDER BY 1");
        let rows: Vec<(String,)> = on_engine!(tx, |conn| sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).fetch_all(conn).await).unwrap();
        books.insert(table, rows.into_iter().map(|row| row.0).collect());
    }
    books
}

/// Every row of every table stands as it stood.
async fn a_simulation_changes_nothing_in_the_books(engine: TestEngine) {
    let budget = pb::PromotionBudget { points_max: 50, period: Period::Ever.into(), ..Default::default() };
    let ten = pb::Promotion { gives: Some(Gives::Points(10)), budget: Some(budget), ..pb::Promotion::default() };
    let share = pb::ActivityTerms { approval: Some(pb::Approval::default()), ..earns("share", 5) };
    let real = pb::Terms { activities: vec![share], challenges: vec![visits(&[(2, gift(20))])], ..promoted(ten) };
    let suite = Suite::with_terms(engine, real.clone()).await;
    for (buyer, id) in [(1, "a"), (1, "b"), (2, "c")] {
        suite.award(buyer, id, 1_000).await;
    }
    suite.platform().return_purchase(down_to("b", 500)).await.unwrap();
    suite.platform().award_activity(activity(2, "share", "open")).await.unwrap();
    suite.clock.advance(DAY);
    let before = books(&suite).await;
    assert_eq!((before["entries"].len(), before["counters"].len()), (6, 1));
    let told = outcome(&suite, trying(pb::Terms { points_per_unit: "3".to_owned(), ..real })).await;
    assert!(told.simulated_points > told.points && told.simulated_challenge_points == 20);
    assert_eq!(books(&suite).await, before);
    suite.stop().await;
}
