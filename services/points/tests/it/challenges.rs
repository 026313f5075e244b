//! Ladders and streaks over the wire. What each kind gives is told beside the rules.

use futures::future::join_all;
use proto::common::Role;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::challenge::{Counts, Shape};
use proto::points::ladder::Measure;
use proto::points::member_limit::Period;
use proto::points::streak::Cadence;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::input::refuses;
use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_step_is_given_with_the_purchase_that_reaches_it,
    a_preview_tells_of_challenges_and_changes_nothing,
    a_late_visit_closes_a_gap_and_one_that_goes_back_opens_it,
    many_at_once_reach_a_step_once,
    a_member_sees_how_far_he_is,
    what_counts_survives_a_merge_and_its_end,
    a_step_gives_a_voucher_and_takes_it_back,
    a_voucher_waits_for_its_stock,
    what_is_not_there_is_told_before,
    a_bad_challenge_is_refused_by_its_field,
    a_bad_condition_is_refused_with_line_and_column,
    bad_questions_are_refused_by_their_field,
);

pub(super) fn points(points: i64) -> Option<pb::Gift> {
    Some(pb::Gift { gift: Some(pb::gift::Gift::Points(points)), wallet: String::new() })
}

pub(super) fn visits(steps: &[(i64, i64)]) -> pb::Challenge {
    let steps = steps.iter().map(|(at, gives)| pb::Step { at: *at, gives: points(*gives) }).collect();
    pb::Challenge {
        challenge_id: "visits".to_owned(),
        title: "Visits in a month".to_owned(),
        counts: Some(Counts::Purchases(pb::QualifyingPurchase::default())),
        shape: Some(Shape::Ladder(pb::Ladder { period: Period::Month.into(), measure: Measure::Times.into(), steps })),
        ..pb::Challenge::default()
    }
}

fn check_ins(length: i64) -> pb::Challenge {
    let streak = pb::Streak { cadence: Cadence::Day.into(), length, gives: points(100), ..pb::Streak::default() };
    pb::Challenge {
        challenge_id: "daily".to_owned(),
        title: "Every day".to_owned(),
        counts: Some(Counts::Activity("check_in".to_owned())),
        shape: Some(Shape::Streak(streak)),
        ..pb::Challenge::default()
    }
}

pub(super) fn challenging(challenges: &[pb::Challenge]) -> pb::Terms {
    let activities = vec![pb::ActivityTerms { points: 0, ..earns("check_in", 1) }];
    pb::Terms { challenges: challenges.to_vec(), activities, ..terms() }
}

/// "visits 2/3 +[20] -[]"
pub(super) fn told(progress: &[pb::ChallengeProgress]) -> Vec<String> {
    let gift = |gift: &pb::Gift| match &gift.gift {
        Some(pb::gift::Gift::Points(points)) => points.to_string(),
        Some(pb::gift::Gift::Reward(reward)) => reward.clone(),
        None => panic!("a gift of nothing"),
    };
    let gifts = |gifts: &[pb::Gift]| gifts.iter().map(gift).collect::<Vec<_>>().join(" ");
    let tell = |known: &pb::ChallengeProgress| {
        format!("{} {}/{} +[{}] -[{}]", known.challenge_id, known.progress, known.next, gifts(&known.reached), gifts(&known.lost))
    };
    progress.iter().map(tell).collect()
}

fn of(member_number: u128) -> pb::ListMemberChallengesRequest {
    pb::ListMemberChallengesRequest { parent: member(member_number), ..Default::default() }
}

async fn a_step_is_given_with_the_purchase_that_reaches_it(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(2, 20), (3, 30)])])).await;
    assert_eq!(told(&suite.award(1, "p1", 100).await.challenges), ["visits 1/2 +[] -[]"]);
    let request = award(1, "p2", 100);
    let second = suite.platform().award(request.clone()).await.unwrap().into_inner();
    assert_eq!(told(&second.challenges), ["visits 2/3 +[20] -[]"]);
    assert_eq!(second.actual_points, 21);
    let [_, given] = &second.entries[..] else { panic!("{:?}", second.entries) };
    assert_eq!((given.kind(), given.points, given.reason.as_str()), (pb::EntryKind::Reward, 20, "Visits in a month (visits, 2)"));
    let Some(Payload::PurchaseRecorded(recorded)) = suite.events(2).await.pop().unwrap().payload else { panic!("a purchase") };
    let step = &recorded.postings[1];
    assert_eq!((step.challenge_id.as_str(), step.challenge_step, step.points), ("visits", 2, 20));
    assert_eq!((recorded.awarded_points, step.challenge_reward.as_str()), (1, ""), "points of the purchase are those of the purchase");
    let suite = suite.restart().await;
    let again = suite.platform().award(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), second);
    // What goes back takes its step along, also what has been spent of it.
    suite.platform().redeem(redeem(1, 20)).await.unwrap();
    let back = suite.platform().return_purchase(down_to("p1", 0)).await.unwrap().into_inner();
    assert_eq!(told(&back.challenges), ["visits 1/2 +[] -[20]"]);
    assert_eq!(back.entries.last().unwrap().kind(), pb::EntryKind::RewardRevoked);
    assert_eq!(suite.figures(1).await, (0, 0, 0, 19));
    assert_eq!(suite.award(1, "p3", 100).await.actual_points, 21, "and the next brings it back");
    suite.verified().await;
    suite.stop().await;
}

async fn a_preview_tells_of_challenges_and_changes_nothing(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(1, 5)])])).await;
    let request = award(1, "p1", 100);
    for _ in 0..2 {
        let promised = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner();
        assert_eq!((told(&promised.challenges), promised.points), (vec!["visits 1/0 +[5] -[]".to_owned()], 6));
    }
    let done = suite.platform().award(request).await.unwrap().into_inner();
    assert_eq!((told(&done.challenges), done.actual_points), (vec!["visits 1/0 +[5] -[]".to_owned()], 6));
    suite.stop().await;
}

async fn a_late_visit_closes_a_gap_and_one_that_goes_back_opens_it(engine: TestEngine) {
    let streak = pb::Streak { cadence: Cadence::Day.into(), length: 3, gives: points(100), repair_days: 2, ..pb::Streak::default() };
    let challenge = pb::Challenge { shape: Some(Shape::Streak(streak)), ..visits(&[(1, 1)]) };
    let suite = Suite::with_terms(engine, challenging(&[challenge])).await;
    let on_day = |number: u32, id: &str| with(award(1, id, 1), |request| input(request).occur_time = Some(timestamp(START + number * DAY)));
    suite.clock.advance(2 * DAY);
    for (number, id, says) in [(0, "p0", "visits 1/3 +[] -[]"), (2, "p2", "visits 1/3 +[] -[]"), (1, "p1", "visits 0/3 +[100] -[]")] {
        let done = suite.platform().award(on_day(number, id)).await.unwrap().into_inner();
        assert_eq!(told(&done.challenges), [says], "{id}");
    }
    assert_eq!(suite.figures(1).await.0, 100);
    let suite = suite.restart().await;
    let lines = with(award_lines(1, "p3", &[("1", 1, 1)]), |request| input(request).occur_time = Some(timestamp(START + DAY)));
    suite.platform().award(lines).await.unwrap();
    assert_eq!(
        told(&suite.platform().return_purchase(give_back("p3", &[("1", 1)])).await.unwrap().into_inner().challenges),
        ["visits 0/3 +[] -[]"]
    );
    assert_eq!(suite.figures(1).await.0, 100, "another visit of the same day is left");
    suite.clock.advance(2 * DAY);
    let late = suite.platform().award(on_day(1, "p4")).await.unwrap().into_inner();
    assert_eq!(told(&late.challenges), [""; 0], "told too late");
    suite.verified().await;
    suite.stop().await;
}

async fn many_at_once_reach_a_step_once(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(5, 50), (8, 80), (30, 1)])])).await;
    let replica = suite.replica().await;
    let calls = (0..20).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.award(award(1, &format!("p{number}"), 1)).await.unwrap().into_inner().actual_points }
    });
    assert_eq!(join_all(calls).await.iter().sum::<i64>(), 130);
    assert_eq!(suite.figures(1).await.0, 130);
    // Most of them go back at once.
    let calls = (0..13).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.return_purchase(down_to(&format!("p{number}"), 0)).await.unwrap() }
    });
    join_all(calls).await;
    assert_eq!(suite.figures(1).await.0, 50, "seven are left");
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_member_sees_how_far_he_is(engine: TestEngine) {
    let over = pb::Challenge { challenge_id: "over".to_owned(), end_time: Some(timestamp(START)), ..visits(&[(1, 1)]) };
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(2, 20)]), check_ins(3), over])).await;
    let mut platform = suite.platform();
    let nothing = platform.list_member_challenges(of(1)).await.unwrap().into_inner();
    assert_eq!(told(&nothing.challenges), ["daily 0/3 +[] -[]", "visits 0/2 +[] -[]"]);
    for number in 0..2 {
        platform.award_activity(activity(1, "check_in", &format!("c{number}"))).await.unwrap();
        suite.clock.advance(DAY);
    }
    suite.award(1, "p1", 100).await;
    let told_now = platform.list_member_challenges(of(1)).await.unwrap().into_inner();
    assert_eq!(told(&told_now.challenges), ["daily 2/3 +[] -[]", "visits 1/2 +[] -[]"]);
    let visits = &told_now.challenges[1];
    assert_eq!((visits.title.as_str(), &visits.gives), ("Visits in a month", &points(20)));
    assert!(visits.end_time.unwrap().seconds > timestamp(suite.now()).seconds && told_now.challenges[0].end_time.is_none());
    suite.clock.advance(2 * DAY);
    let torn = platform.list_member_challenges(of(1)).await.unwrap().into_inner();
    assert_eq!(torn.challenges[0].progress, 0, "a day was missed");
    // Page by page.
    let page = |token: &str| pb::ListMemberChallengesRequest { page_size: 1, page_token: token.to_owned(), ..of(1) };
    let first = platform.list_member_challenges(page("")).await.unwrap().into_inner();
    let second = platform.list_member_challenges(page(&first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((first.challenges[0].challenge_id.as_str(), second.challenges[0].challenge_id.as_str()), ("daily", "visits"));
    assert_eq!(second.next_page_token, "");
    let of_another = pb::ListMemberChallengesRequest { parent: member(2), ..page(&first.next_page_token) };
    assert_eq!(wrong_fields(platform.list_member_challenges(of_another).await), ["page_token"]);
    suite.stop().await;
}

async fn what_counts_survives_a_merge_and_its_end(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(3, 30)])])).await;
    let support = suite.client(Role::Support).await;
    for (number, id) in [(1, "p1"), (2, "p2"), (2, "p3")] {
        suite.award(number, id, 1).await;
    }
    support.clone().merge_accounts(merge(1, 2)).await.unwrap();
    let read = async |number: u128| told(&suite.platform().list_member_challenges(of(number)).await.unwrap().into_inner().challenges);
    assert_eq!((read(1).await, read(2).await), (vec!["visits 3/0 +[] -[]".to_owned()], vec!["visits 3/0 +[] -[]".to_owned()]));
    assert_eq!(suite.award(2, "p4", 1).await.actual_points, 30);
    suite.verified().await;
    support.clone().unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!((read(1).await, read(2).await), (vec!["visits 1/3 +[] -[]".to_owned()], vec!["visits 3/0 +[] -[]".to_owned()]));
    assert_eq!((suite.figures(1).await.0, suite.figures(2).await.0), (0, 30), "it was given in his name");
    suite.verified().await;
    suite.stop().await;
}

async fn what_is_not_there_is_told_before(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut catalogue = rewards(&suite, Role::Administrator).await;
    for id in ["cup", "old"] {
        catalogue.create_reward(create(id, 100)).await.unwrap();
    }
    catalogue.retire_reward(retire("old")).await.unwrap();
    let gives = |id: &str| Some(pb::Gift { gift: Some(pb::gift::Gift::Reward(reward_name(id))), wallet: String::new() });
    let ids = ["cup", "old", "none"];
    let steps = ids.iter().zip(1..).map(|(id, at)| pb::Step { at, gives: gives(id) }).collect();
    let ladder = pb::Ladder { period: Period::Month.into(), measure: Measure::Times.into(), steps };
    let streak = pb::Streak { cadence: Cadence::Day.into(), length: 3, gives: gives("none"), ..pb::Streak::default() };
    let stores = vec![format!("{TEA}/stores/nowhere")];
    let there = pb::QualifyingPurchase { stores, ..pb::QualifyingPurchase::default() };
    let challenges = [
        pb::Challenge { shape: Some(Shape::Ladder(ladder)), counts: Some(Counts::Purchases(there)), ..visits(&[]) },
        pb::Challenge { shape: Some(Shape::Streak(streak)), ..check_ins(3) },
    ];
    let what = Some(pb::validate_terms_request::What::Terms(challenging(&challenges)));
    let request = pb::ValidateTermsRequest { parent: TEA.to_owned(), what, start_time: None };
    let told = async || suite.administrator().validate_terms(request.clone()).await.unwrap().into_inner().findings;
    let said: Vec<_> = told().await.into_iter().map(|found| (found.severity(), found.field, found.description)).collect();
    let warned = |field: &str, text: &str| {
        (pb::validate_terms_response::finding::Severity::Warning, format!("terms.challenges{field}"), text.to_owned())
    };
    assert_eq!(
        said,
        [
            warned("[0].purchases.stores[0]", "there is no store nowhere in the directory"),
            warned("[0].ladder.steps[1].gives.reward", "the reward old is retired"),
            warned("[0].ladder.steps[2].gives.reward", "there is no reward none"),
            warned("[1].streak.gives.reward", "there is no reward none"),
        ]
    );
    catalogue.create_reward(create("none", 100)).await.unwrap();
    assert_eq!(told().await.len(), 2);
    suite.stop().await;
}

async fn a_bad_challenge_is_refused_by_its_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let ladder = |change: &dyn Fn(&mut pb::Ladder)| {
        let mut ladder = pb::Ladder {
            period: Period::Month.into(),
            measure: Measure::Times.into(),
            steps: vec![pb::Step { at: 1, gives: points(1) }, pb::Step { at: 2, gives: points(1) }],
        };
        change(&mut ladder);
        pb::Challenge { challenge_id: "c".to_owned(), shape: Some(Shape::Ladder(ladder)), ..visits(&[]) }
    };
    let streak = |change: &dyn Fn(&mut pb::Streak)| {
        let mut streak = pb::Streak { cadence: Cadence::Day.into(), length: 3, gives: points(1), ..pb::Streak::default() };
        change(&mut streak);
        pb::Challenge { challenge_id: "c".to_owned(), shape: Some(Shape::Streak(streak)), ..visits(&[]) }
    };
    let reward = |name: &str| Some(pb::Gift { gift: Some(pb::gift::Gift::Reward(name.to_owned())), wallet: String::new() });
    let bad = [
        ("challenge_id", visits(&[(1, 1)])),
        ("challenge_id", pb::Challenge { challenge_id: "No".to_owned(), ..visits(&[(1, 1)]) }),
        ("counts", pb::Challenge { counts: None, ..ladder(&|_| {}) }),
        ("shape", pb::Challenge { shape: None, ..ladder(&|_| {}) }),
        ("end_time", pb::Challenge { start_time: Some(timestamp(START)), end_time: Some(timestamp(START)), ..ladder(&|_| {}) }),
        ("day_start_minute", pb::Challenge { day_start_minute: 1_440, ..ladder(&|_| {}) }),
        ("ladder.steps", ladder(&|ladder| ladder.steps.clear())),
        ("ladder.steps", ladder(&|ladder| ladder.steps[1].at = 1)),
        ("ladder.steps[0].gives", ladder(&|ladder| ladder.steps[0].gives = None)),
        ("ladder.steps[0].gives.gift", ladder(&|ladder| ladder.steps[0].gives = Some(pb::Gift::default()))),
        ("ladder.steps[0].gives.points", ladder(&|ladder| ladder.steps[0].gives = points(0))),
        ("ladder.steps[0].gives.reward", ladder(&|ladder| ladder.steps[0].gives = reward("cup"))),
        ("ladder.steps[0].gives.reward", ladder(&|ladder| ladder.steps[0].gives = reward("programs/coffee/rewards/cup"))),
        ("ladder.period", ladder(&|ladder| ladder.period = 0)),
        ("ladder.period", ladder(&|ladder| (ladder.period, ladder.measure) = (Period::Ever.into(), Measure::Days.into()))),
        (
            "ladder.measure",
            pb::Challenge { counts: Some(Counts::Activity("x".to_owned())), ..ladder(&|ladder| ladder.measure = Measure::Spend.into()) },
        ),
        ("streak.length", streak(&|streak| streak.length = 1)),
        (
            "streak.cadence",
            pb::Challenge { counts: Some(Counts::Activity("x".to_owned())), ..streak(&|streak| streak.cadence = Cadence::Purchase.into()) },
        ),
        ("streak.repair_days", streak(&|streak| streak.repair_days = 63)),
        ("streak.gives", streak(&|streak| streak.gives = None)),
    ];
    for (field, challenge) in bad {
        let refused = suite.administrator().create_program_version(new_version(challenging(&[visits(&[(1, 1)]), challenge]))).await;
        assert_eq!(wrong_fields(refused), [format!("terms.challenges[1].{field}")]);
    }
    suite.stop().await;
}

async fn a_bad_condition_is_refused_with_line_and_column(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let when = |condition: &str| {
        let counts = Counts::Purchases(pb::QualifyingPurchase { condition: condition.to_owned(), ..Default::default() });
        pb::Challenge { counts: Some(counts), ..visits(&[(1, 1)]) }
    };
    let rows = [
        ("purchase.net > 1 &&\n  local.day = 1", "line 2, column 13: token recognition error at: '= '"),
        ("purchase.nett > 1", "line 1, column 10: `nett` is not known: there are net, channel, store, offer and lines"),
        ("purchase.net", "line 1, column 1: is of type int, and must be of type bool"),
    ];
    for (condition, what) in rows {
        let refused = suite.administrator().create_program_version(new_version(challenging(&[when(condition)]))).await;
        assert_eq!(wrong_with_descriptions(refused), [("terms.challenges[0].purchases.condition".to_owned(), what.to_owned())]);
    }
    let long = format!("true{}", " ".repeat(997));
    let refused = suite.administrator().create_program_version(new_version(challenging(&[check_ins(3), when(&long)]))).await;
    assert_eq!(wrong_fields(refused), ["terms.challenges[1].purchases.condition"]);
    // A good one counts what it says.
    suite.new_terms(challenging(&[when("purchase.net >= 200")]), suite.now()).await;
    assert_eq!(told(&suite.award(1, "p1", 199).await.challenges), [""; 0]);
    assert_eq!(told(&suite.award(1, "p2", 200).await.challenges), ["visits 1/0 +[1] -[]"]);
    suite.stop().await;
}

async fn bad_questions_are_refused_by_their_field(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[visits(&[(1, 1)])])).await;
    refuses!(suite.platform(), list_member_challenges, of(1),
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = TEA.to_owned();
        "parent": |r| r.parent = format!("{TEA}/members/li-lei");
        "parent": |r| r.parent = format!("{}/challenges/visits", member(1));
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
        "page_token": |r| r.page_token = "x".repeat(1_025);
    );
    // More than there can be on a page is cut.
    let much = pb::ListMemberChallengesRequest { page_size: i32::MAX, ..of(1) };
    assert_eq!(suite.platform().list_member_challenges(much).await.unwrap().into_inner().challenges.len(), 1);
    suite.stop().await;
}

/// The cup at the second visit.
pub(super) fn a_cup() -> pb::Challenge {
    let steps =
        vec![pb::Step { at: 2, gives: Some(pb::Gift { gift: Some(pb::gift::Gift::Reward(reward_name("cup"))), wallet: String::new() }) }];
    let shape = Some(Shape::Ladder(pb::Ladder { period: Period::Month.into(), measure: Measure::Times.into(), steps }));
    pb::Challenge { shape, ..visits(&[]) }
}

/// How the vouchers of a member stand, once there are so many that are good.
pub(super) async fn vouchers(suite: &Suite, owner: u128, good: usize) -> Vec<pb::Voucher> {
    let platform = rewards(suite, Role::Platform).await;
    testkit::eventually(async || {
        let request = pb::ListVouchersRequest { parent: member(owner), ..Default::default() };
        let all = platform.clone().list_vouchers(request).await.unwrap().into_inner().vouchers;
        let usable = all.iter().filter(|voucher| voucher.state() == pb::VoucherState::Usable).count();
        (usable == good).then_some(all)
    })
    .await
}

async fn a_step_gives_a_voucher_and_takes_it_back(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[a_cup()])).await;
    let mut administrator = rewards(&suite, Role::Administrator).await;
    administrator.create_reward(create_with("cup", 10, |terms| terms.stock = Some(3))).await.unwrap();
    suite.award(1, "p1", 100).await;
    let second = suite.award(1, "p2", 100).await;
    assert_eq!(told(&second.challenges), ["visits 2/0 +[programs/tea/rewards/cup] -[]"]);
    let step = second.entries.last().unwrap();
    assert_eq!((step.kind(), step.points), (pb::EntryKind::Reward, 0), "it is in the books");
    let [given] = &vouchers(&suite, 1, 1).await[..] else { panic!("one voucher") };
    assert_eq!((given.grant_reason(), given.reward.clone()), (pb::GrantReason::Ladder, reward_name("cup")));
    let left =
        async || administrator.clone().get_reward(pb::GetRewardRequest { name: reward_name("cup") }).await.unwrap().into_inner().stock_left;
    assert_eq!(left().await, Some(2));
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    vouchers(&suite, 1, 0).await;
    assert_eq!(left().await, Some(3));
    // Given once more, used, and gone back: what was used stays used.
    suite.award(1, "p3", 100).await;
    let suite = suite.restart().await;
    let all = vouchers(&suite, 1, 1).await;
    let good = all.iter().find(|voucher| voucher.state() == pb::VoucherState::Usable).unwrap();
    let mut platform = rewards(&suite, Role::Platform).await;
    platform.use_voucher(use_for("order-1", &good.code, basket("tea", 10_000))).await.unwrap();
    suite.platform().return_purchase(down_to("p3", 0)).await.unwrap();
    let none = vouchers(&suite, 1, 0).await;
    assert_eq!(none.iter().filter(|voucher| voucher.state() == pb::VoucherState::Used).count(), 1);
    suite.verified().await;
    suite.stop().await;
}

async fn a_voucher_waits_for_its_stock(engine: TestEngine) {
    let suite = Suite::with_terms(engine, challenging(&[a_cup()])).await;
    let mut administrator = rewards(&suite, Role::Administrator).await;
    administrator.create_reward(create_with("cup", 10, |terms| terms.stock = Some(1))).await.unwrap();
    for (owner, id) in [(1, "p1"), (1, "p2"), (2, "p3"), (2, "p4")] {
        suite.award(owner, id, 100).await;
        if id == "p2" {
            vouchers(&suite, 1, 1).await;
        }
    }
    vouchers(&suite, 2, 0).await;
    administrator.adjust_stock(stock("cup", 1)).await.unwrap();
    // It is tried again in a while.
    suite.clock.advance(DAY);
    vouchers(&suite, 2, 1).await;
    suite.stop().await;
}
