//! What members share: budgets of promotions, and limits of tills, cashiers, stores and the program.

use std::time::Duration;

use futures::future::join_all;
use persistence::{Connection, on_engine};
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{BudgetChanged, budget_changed};
use proto::points as pb;
use proto::points::award_limit::{OnExceed, Scope};
use proto::points::budget::State;
use proto::points::member_limit::Period;
use proto::points::rejected_promotion::Reason;
use testkit::{START, TestEngine};
use tonic::Status;

use super::promotions::{limit, parts, points, promoting, rejections, times};
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_budget_is_used_to_its_end_and_paused,
    a_preview_says_what_is_left,
    budgets_come_in_pages,
    many_at_two_servers_use_a_budget_up_exactly,
    returns_and_awards_at_once_never_exceed_a_budget,
    all_kinds_of_work_at_once_keep_the_books,
    a_request_that_comes_again_counts_once,
    two_servers_do_not_wait_for_each_other_over_a_new_member,
    tills_and_cashiers_have_their_limits,
    what_a_limit_refuses_leaves_no_trace,
    activities_are_limited_too,
    what_was_cut_off_does_not_come_with_a_return,
    a_counter_that_is_wrong_is_found,
    bad_budgets_and_limits_are_refused_by_their_field,
);

fn budget(times_max: i64, points_max: i64, period: Period, promotion: pb::Promotion) -> pb::Promotion {
    pb::Promotion { budget: Some(pb::PromotionBudget { times_max, points_max, period: period.into() }), ..promotion }
}

fn award_limit(id: &str, scope: Scope, period: Period, points_max: i64, on_exceed: OnExceed) -> pb::AwardLimit {
    let (scope, period, on_exceed) = (scope.into(), period.into(), on_exceed.into());
    pb::AwardLimit { limit_id: id.to_owned(), scope, period, times_max: 0, points_max, on_exceed }
}

fn limiting(limits: &[pb::AwardLimit]) -> pb::Terms {
    pb::Terms { limits: limits.to_vec(), ..terms() }
}

fn sold_by(cashier: &str, request: pb::AwardRequest) -> pb::AwardRequest {
    with(request, |request| input(request).cashier = cashier.to_owned())
}

async fn standing(suite: &Suite, promotion: &str) -> Result<pb::Budget, Status> {
    let request = pb::GetBudgetRequest { name: format!("{TEA}/budgets/{promotion}") };
    Ok(suite.platform().get_budget(request).await?.into_inner())
}

/// State, points and times spent, points left.
fn figures_of(budget: &pb::Budget) -> (State, i64, i64, Option<i64>) {
    (budget.state(), budget.spent_points, budget.times, budget.left_points)
}

async fn a_budget_is_used_to_its_end_and_paused(engine: TestEngine) {
    let ten = |points_max| promoting(&[budget(0, points_max, Period::Month, points("ten", 10)), points("five", 5)]);
    let suite = Suite::with_terms(engine, ten(25)).await;
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 16);
    assert_eq!(suite.award(2, "p2", 100).await.actual_points, 16);
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 20, 2, Some(5)));
    let suite = suite.restart().await;
    let last = suite.award(3, "p3", 100).await.award.unwrap();
    assert_eq!(parts(&last), [("base", 1, 0), ("promotion:ten", 5, 10), ("promotion:five", 5, 0)]);
    let paused = standing(&suite, "ten").await.unwrap();
    assert_eq!((figures_of(&paused), paused.left_times), ((State::Paused, 25, 3, Some(0)), None));
    assert_eq!((paused.title.as_str(), paused.program_version.as_str()), ("A ten", "programs/tea/versions/1"));
    assert!(paused.period_start_time.unwrap().seconds <= START.as_micros() / 1_000_000);
    assert_eq!(paused.budget.unwrap().points_max, 25);
    let without = suite.award(1, "p4", 100).await.award.unwrap();
    assert_eq!((without.bonus_points, rejections(&without)), (5, vec![("ten", Reason::Budget)]));
    // What a stranger buys uses nothing.
    suite.award(0, "stranger", 100).await;
    // A return brings it back, and a version with more.
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 15, 2, Some(10)));
    assert_eq!(suite.award(1, "p5", 100).await.actual_points, 16);
    assert_eq!(suite.award(1, "p6", 100).await.actual_points, 6);
    suite.new_terms(ten(27), suite.now()).await;
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 25, 3, Some(2)));
    assert_eq!(suite.award(1, "p7", 100).await.actual_points, 8);
    // A new month has a budget of its own; late uploads count where they belong.
    suite.clock.advance(31 * DAY);
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 0, 0, Some(27)));
    let told: Vec<BudgetChanged> = suite
        .events(13)
        .await
        .into_iter()
        .filter_map(|event| match event.payload {
            Some(Payload::BudgetChanged(changed)) => {
                assert!(event.member.is_empty() && event.aggregate.starts_with("programs/tea/budgets/ten/periods/"));
                Some(changed)
            }
            _ => None,
        })
        .collect();
    let states: Vec<_> = told.iter().map(|changed| (changed.state(), changed.spent_points, changed.times)).collect();
    use budget_changed::State::{Paused, Running};
    assert_eq!(states, [(Paused, 25, 3), (Running, 15, 2), (Paused, 25, 3), (Paused, 27, 4)]);
    assert!(told.iter().all(|changed| changed.budget == "programs/tea/budgets/ten" && changed.period_end_time.is_some()));
    suite.verified().await;
    suite.stop().await;
}

async fn a_preview_says_what_is_left(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[budget(3, 25, Period::Ever, times("double", "2"))])).await;
    for (buyer, id, fen, points) in [(1, "a", 1_000, 20), (2, "b", 1_000, 20), (3, "c", 1_000, 15), (4, "d", 1_000, 10)] {
        let request = award(buyer, id, fen);
        let promised = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner();
        let done = suite.platform().award(request).await.unwrap().into_inner();
        assert_eq!((promised.award, promised.points), (done.award, done.actual_points));
        assert_eq!(promised.points, points);
    }
    let spent = standing(&suite, "double").await.unwrap();
    assert_eq!((figures_of(&spent), spent.left_times), ((State::Paused, 25, 3, Some(0)), Some(0)));
    assert_eq!((spent.period_start_time, spent.period_end_time), (None, None));
    suite.stop().await;
}

async fn budgets_come_in_pages(engine: TestEngine) {
    let with_budget = |id: &str| budget(0, 100, Period::Day, points(id, 1));
    let promotions = [with_budget("c"), points("none", 1), with_budget("a"), with_budget("b")];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    suite.award(1, "p1", 100).await;
    let mut request = pb::ListBudgetsRequest { parent: TEA.to_owned(), page_size: 2, ..Default::default() };
    let first = suite.platform().list_budgets(request.clone()).await.unwrap().into_inner();
    request.page_token.clone_from(&first.next_page_token);
    let second = suite.platform().list_budgets(request).await.unwrap().into_inner();
    let told: Vec<_> =
        first.budgets.iter().chain(&second.budgets).map(|budget| (budget.name.rsplit('/').next().unwrap(), budget.times)).collect();
    assert_eq!((told, second.next_page_token.as_str()), (vec![("a", 1), ("b", 1), ("c", 1)], ""));
    assert_eq!(refusal(standing(&suite, "none").await).1, "BUDGET_NOT_FOUND");
    suite.stop().await;
}

/// Forty members at two servers, who have no account in common.
async fn many_at_two_servers_use_a_budget_up_exactly(engine: TestEngine) {
    let promotions = [budget(0, 255, Period::Ever, points("ten", 10)), budget(7, 0, Period::Ever, points("seven-times", 1))];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    let replica = suite.replica().await;
    let calls = (0..80_u128).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.award(award(1 + number % 40, &format!("p{number}"), 100)).await.unwrap().into_inner().award.unwrap() }
    });
    let awards = join_all(calls).await;
    let given = |source: &str| {
        let mut points: Vec<i64> = awards.iter().flat_map(parts).filter(|part| part.0 == source).map(|part| part.1).collect();
        points.sort_unstable();
        points
    };
    assert_eq!(given("promotion:ten"), [vec![5], vec![10; 25]].concat());
    assert_eq!(given("promotion:seven-times"), [1; 7]);
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Paused, 255, 26, Some(0)));
    assert_eq!(figures_of(&standing(&suite, "seven-times").await.unwrap()), (State::Paused, 7, 7, None));
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn returns_and_awards_at_once_never_exceed_a_budget(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[budget(0, 95, Period::Ever, points("ten", 10))])).await;
    let replica = suite.replica().await;
    let server = |number: u128| if number.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
    for number in 0..10 {
        server(number).award(award(number + 1, &format!("first{number}"), 100)).await.unwrap();
    }
    let back = (0..10).map(|number| {
        let mut server = server(number + 1);
        async move { server.return_purchase(down_to(&format!("first{number}"), 0)).await.unwrap() }
    });
    let bought = (0..40).map(|number| {
        let mut server = server(number);
        async move { server.award(award(number + 1, &format!("then{number}"), 100)).await.unwrap().into_inner() }
    });
    let (_, awards) = futures::join!(join_all(back), join_all(bought));
    let given: i64 = awards.iter().map(|award| award.actual_points - 1).sum();
    let spent = standing(&suite, "ten").await.unwrap();
    assert_eq!(spent.spent_points, given, "all of before has gone back");
    assert!((0..=95).contains(&given));
    // What is left is had by the next, to the end.
    for number in 0..10 {
        suite.award(number + 1, &format!("last{number}"), 100).await;
    }
    assert_eq!(standing(&suite, "ten").await.unwrap().spent_points, 95);
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

/// What locks accounts, rewards and counters in one order waits for nobody in a circle, whatever each batch holds.
async fn all_kinds_of_work_at_once_keep_the_books(engine: TestEngine) {
    let day = |id: &str, scope, points_max| award_limit(id, scope, Period::Day, points_max, OnExceed::Trim);
    let limits = [
        day("till", Scope::Terminal, 200),
        day("cashier", Scope::Cashier, 150),
        day("store", Scope::Store, 300),
        award_limit("program", Scope::Program, Period::Day, 900, OnExceed::Reject),
    ];
    let promotions = vec![budget(0, 170, Period::Day, times("double", "2")), budget(12, 0, Period::Ever, points("five", 5))];
    let terms = pb::Terms { promotions, activities: vec![earns("review", 7)], ..limiting(&limits) };
    let suite = Suite::with_terms(engine, terms).await;
    let replica = suite.replica().await;
    let service = [suite.client(Role::Service).await, replica.client(Role::Service).await];
    for buyer in 1..=6 {
        suite.award(buyer, &format!("first{buyer}"), 500).await;
    }
    let calls = (0..120_u128).map(|number| {
        let (mut server, buyer) = (service[usize::from(!number.is_multiple_of(2))].clone(), 1 + number % 6);
        async move {
            let bought = |request: &mut pb::AwardRequest| {
                let store = format!("{TEA}/stores/s{}", number % 3);
                input(request).terminal = format!("{store}/terminals/t{}", number % 5);
                (input(request).store, input(request).cashier) = (store, (number % 4).to_string());
            };
            let done = match number % 6 {
                0..=2 => server.award(with(award(buyer, &format!("p{number}"), 1_000), bought)).await,
                3 => {
                    server
                        .award_activity(pb::AwardActivityRequest {
                            cashier: "1".to_owned(),
                            ..activity(buyer, "review", &number.to_string())
                        })
                        .await
                }
                4 => server.transfer(transfer(buyer, 1 + buyer % 6, 1)).await,
                _ => server.return_purchase(down_to(&format!("first{buyer}"), 500 - i64::try_from(number).unwrap())).await,
            };
            // Going back further than it has already is refused, and so is what the program does not give, or a member does not have.
            done.map(drop).or_else(|status| match code_and_reason(&status).1.as_str() {
                "AWARD_LIMIT_REACHED" | "EXCEEDS_PURCHASE" | "NOTHING_TO_RETURN" | "INSUFFICIENT_POINTS" => Ok(()),
                other => Err(other.to_owned()),
            })
        }
    });
    assert_eq!(join_all(calls).await.into_iter().collect::<Result<Vec<()>, String>>().map(|done| done.len()), Ok(120));
    for (promotion, points_max, times_max) in [("double", 170, i64::MAX), ("five", 60, 12)] {
        let spent = standing(&suite, promotion).await.unwrap();
        assert!(spent.spent_points <= points_max && spent.times <= times_max, "{spent:?}");
    }
    assert!(suite.verified().await.points["tea"] <= 900);
    replica.stop().await;
    suite.stop().await;
}

/// Whether the first answer was lost, the process was, or both servers get it at once.
async fn a_request_that_comes_again_counts_once(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[budget(0, 100, Period::Ever, points("ten", 10))])).await;
    let request = award(1, "p1", 100);
    let first = suite.platform().award(request.clone()).await.unwrap().into_inner();
    let suite = suite.restart().await;
    let replica = suite.replica().await;
    let calls = (0..12).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        let (again, other) = (request.clone(), award(2, "p2", 100));
        async move {
            (server.award(again).await.unwrap(), server.award(pb::AwardRequest { request_id: "same".to_owned(), ..other }).await.unwrap())
        }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|(again, _)| replayed(again) && *again.get_ref() == first));
    assert_eq!(answers.iter().filter(|(_, other)| !replayed(other)).count(), 1);
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 20, 2, Some(80)));
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

/// There is no account to lock yet when both begin; whoever finds it opened begins anew.
async fn two_servers_do_not_wait_for_each_other_over_a_new_member(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[budget(0, 10_000, Period::Ever, points("ten", 10))])).await;
    let replica = suite.replica().await;
    for buyer in 1..=25_u128 {
        let calls = (0..12_usize).map(|number| {
            let mut server = if number.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
            async move { server.award(award(buyer, &format!("p{buyer}-{number}"), 100)).await.unwrap() }
        });
        join_all(calls).await;
    }
    assert_eq!(figures_of(&standing(&suite, "ten").await.unwrap()), (State::Running, 3_000, 300, Some(7_000)));
    suite.verified().await;
    let mut tx = suite.points().await.read().await.unwrap();
    if let Connection::Postgres(conn) = tx.connection() {
        // What a connection has seen is told when it is idle.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let circles = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let circles: i64 = sqlx::query_scalar(circles).fetch_one(conn).await.unwrap();
        assert_eq!(circles, 0);
    }
    replica.stop().await;
    suite.stop().await;
}

async fn tills_and_cashiers_have_their_limits(engine: TestEngine) {
    let limits = [
        award_limit("each", Scope::Purchase, Period::Unspecified, 100, OnExceed::Trim),
        award_limit("till", Scope::Terminal, Period::Day, 150, OnExceed::Trim),
        award_limit("cashier", Scope::Cashier, Period::Day, 120, OnExceed::Reject),
        pb::AwardLimit { times_max: 3, ..award_limit("own", Scope::Member, Period::Week, 0, OnExceed::Trim) },
    ];
    let suite = Suite::with_terms(engine, limiting(&limits)).await;
    let mut till = suite.till().await;
    let first = till.award(sold_by("17", award(1, "p1", 20_000))).await.unwrap().into_inner();
    let told = first.award.clone().unwrap();
    assert_eq!(parts(&told), [("base", 200, 0), ("limit:each", -100, 0)]);
    assert_eq!((told.base_points, told.bonus_points, first.actual_points), (200, -100, 100));
    assert_eq!((first.entries[0].cashier.as_str(), suite.purchase("p1").await.cashier.as_str()), ("17", "17"));
    // The cashier has twenty left today, the till fifty.
    let refused = till.award(sold_by("17", award(2, "p2", 2_100))).await;
    assert_eq!(metadata(&refused, "limit_id"), "cashier");
    assert_eq!(precondition(refused), "AWARD_LIMIT_REACHED");
    assert_eq!(till.award(sold_by("17", award(2, "p3", 2_000))).await.unwrap().into_inner().actual_points, 20);
    let cut = till.award(sold_by("18", award(2, "p4", 4_000))).await.unwrap().into_inner();
    assert_eq!(parts(&cut.award.unwrap()), [("base", 40, 0), ("limit:till", -10, 0)]);
    // Elsewhere and with nobody told nobody is asked but the member's own.
    assert_eq!(suite.award(2, "p5", 5_000).await.actual_points, 50);
    assert_eq!(suite.award(2, "p6", 5_000).await.actual_points, 0, "three times a week");
    // What goes back makes room, and so does another day: a till uploads what it has sold while it was offline.
    suite.platform().return_purchase(down_to("p3", 0)).await.unwrap();
    assert_eq!(till.award(sold_by("18", award(3, "p7", 3_000))).await.unwrap().into_inner().actual_points, 20);
    let yesterday = with(sold_by("17", award(3, "p8", 9_000)), |request| {
        input(request).occur_time = Some(rpc::wire::timestamp(suite.now() - DAY));
    });
    assert_eq!(till.award(yesterday).await.unwrap().into_inner().actual_points, 90);
    let suite = suite.restart().await;
    suite.verified().await;
    suite.stop().await;
}

async fn what_a_limit_refuses_leaves_no_trace(engine: TestEngine) {
    let program = award_limit("program", Scope::Program, Period::Day, 100, OnExceed::Reject);
    let mut terms = limiting(&[program]);
    terms.promotions = vec![budget(0, 1_000, Period::Ever, times("double", "2"))];
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 3_000).await;
    let before = (suite.entries(1).await, standing(&suite, "double").await.unwrap());
    let request = award(1, "p2", 3_000);
    // Its neighbours in the batch are not harmed: each has ten of the forty that are left.
    let mut platform = suite.platform();
    let mut other = suite.platform();
    let (refused, small) = futures::join!(platform.award(request.clone()), other.award(award(2, "p3", 500)));
    assert_eq!(precondition(refused), "AWARD_LIMIT_REACHED");
    assert_eq!(small.unwrap().into_inner().actual_points, 10);
    assert_eq!(suite.entries(1).await, before.0);
    assert_eq!(standing(&suite, "double").await.unwrap().spent_points, before.1.spent_points + 5);
    assert_eq!(refusal(suite.platform().get_purchase(pb::GetPurchaseRequest { name: purchase("p2") }).await).1, "PURCHASE_NOT_FOUND");
    // The refusal stands; another request is judged anew, in the till's own time.
    assert_eq!(precondition(suite.platform().award(request).await), "AWARD_LIMIT_REACHED");
    suite.clock.advance(DAY);
    assert_eq!(suite.award(1, "p2", 3_000).await.actual_points, 60);
    suite.verified().await;
    suite.stop().await;
}

async fn activities_are_limited_too(engine: TestEngine) {
    let own = award_limit("own", Scope::Member, Period::Day, 60, OnExceed::Trim);
    let till = award_limit("cashier", Scope::Cashier, Period::Day, 50, OnExceed::Reject);
    let suite = Suite::with_terms(engine, pb::Terms { activities: vec![earns("review", 50)], ..limiting(&[own, till]) }).await;
    let mut platform = suite.platform();
    let first = platform.award_activity(pb::AwardActivityRequest { cashier: "17".to_owned(), ..activity(1, "review", "r1") }).await;
    assert_eq!(first.unwrap().into_inner().actual_points, 50);
    let second = platform.award_activity(activity(1, "review", "r2")).await.unwrap().into_inner();
    assert_eq!((second.requested_points, second.actual_points), (50, 10));
    let refused = platform.award_activity(pb::AwardActivityRequest { cashier: "17".to_owned(), ..activity(2, "review", "r3") }).await;
    assert_eq!(precondition(refused), "AWARD_LIMIT_REACHED");
    assert_eq!(suite.award(1, "p1", 500).await.actual_points, 0);
    assert_eq!(suite.figures(1).await.0, 60);
    suite.verified().await;
    suite.stop().await;
}

async fn what_was_cut_off_does_not_come_with_a_return(engine: TestEngine) {
    let each = award_limit("each", Scope::Purchase, Period::Unspecified, 130, OnExceed::Trim);
    let mut terms = limiting(&[each]);
    terms.promotions = vec![budget(0, 500, Period::Ever, times("double", "2"))];
    let suite = Suite::with_terms(engine, terms).await;
    for (slices, id) in [(vec![4_000], "a"), (vec![9_000, 7_000, 4_000], "b")] {
        suite.award(1, id, 10_000).await;
        let suite = &suite;
        for left in slices {
            suite.platform().return_purchase(down_to(id, left)).await.unwrap();
        }
        assert_eq!(suite.purchase(id).await.due_points, 40 + 30);
    }
    assert_eq!(standing(&suite, "double").await.unwrap().spent_points, 60);
    let suite = suite.restart().await;
    for id in ["a", "b"] {
        suite.platform().return_purchase(down_to(id, 0)).await.unwrap();
    }
    assert_eq!((suite.figures(1).await.0, standing(&suite, "double").await.unwrap().spent_points), (0, 0));
    suite.verified().await;
    suite.stop().await;
}

async fn a_counter_that_is_wrong_is_found(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[budget(0, 100, Period::Ever, points("ten", 10))])).await;
    suite.award(1, "p1", 100).await;
    let tamper = async |statement: &'static str| {
        let mut tx = suite.points().await.begin().await.unwrap();
        on_engine!(tx, |conn| sqlx::query(statement).execute(conn).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
        points::verify(suite.points().await, &keyring(), |_| {}).await.unwrap().differences
    };
    let less = tamper("UPDATE counters SET points = points - 1").await;
    assert_eq!(less.len(), 1);
    assert_eq!(less[0].member, "programs/tea/counters/promotion:ten");
    assert_eq!(less[0].what, "it counts 1 times and 9 points, its entries 1 and 10");
    assert_eq!(tamper("UPDATE counters SET points = points + 1").await, []);
    let gone = tamper("DELETE FROM counters").await;
    assert_eq!(gone.len(), 1, "{gone:?}");
    suite.stop().await;
}

async fn bad_budgets_and_limits_are_refused_by_their_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (field, promotion) in [
        ("budget", budget(0, 0, Period::Day, points("p", 1))),
        ("budget.period", budget(1, 0, Period::Unspecified, points("p", 1))),
        ("budget.points_max", budget(1, -1, Period::Day, points("p", 1))),
    ] {
        let refused = suite.administrator().create_program_version(new_version(promoting(&[promotion]))).await;
        assert_eq!(wrong_fields(refused), [format!("terms.promotions[0].{field}")]);
    }
    let good = || award_limit("l", Scope::Program, Period::Day, 10, OnExceed::Trim);
    let each = || award_limit("l", Scope::Purchase, Period::Unspecified, 10, OnExceed::Trim);
    let bad: [(&str, pb::AwardLimit); 11] = [
        ("limit_id", award_limit("good", Scope::Program, Period::Day, 10, OnExceed::Trim)),
        ("limit_id", pb::AwardLimit { limit_id: "A limit".to_owned(), ..good() }),
        ("scope", award_limit("l", Scope::Unspecified, Period::Day, 10, OnExceed::Trim)),
        ("period", award_limit("l", Scope::Store, Period::Unspecified, 10, OnExceed::Trim)),
        ("period", award_limit("l", Scope::Purchase, Period::Day, 10, OnExceed::Trim)),
        ("points_max", pb::AwardLimit { points_max: 0, ..good() }),
        ("points_max", pb::AwardLimit { points_max: -1, ..good() }),
        ("points_max", pb::AwardLimit { points_max: 0, ..each() }),
        ("points_max", pb::AwardLimit { times_max: 1, ..each() }),
        ("on_exceed", award_limit("l", Scope::Store, Period::Day, 10, OnExceed::Unspecified)),
        ("times_max", pb::AwardLimit { times_max: -1, ..good() }),
    ];
    for (field, limit) in bad {
        let first = award_limit("good", Scope::Program, Period::Day, 10, OnExceed::Trim);
        let refused = suite.administrator().create_program_version(new_version(limiting(&[first, limit]))).await;
        assert_eq!(wrong_fields(refused), [format!("terms.limits[1].{field}")]);
    }
    // A member's own limit stands beside the budget.
    let both = pb::Promotion { member_limit: limit(1, 0, Period::Ever), ..budget(2, 0, Period::Ever, points("p", 1)) };
    suite.new_terms(promoting(&[both]), suite.now()).await;
    drop(suite.client(Role::Analyst).await.get_budget(pb::GetBudgetRequest { name: format!("{TEA}/budgets/p") }).await.unwrap());
    for (buyer, id, reason) in [(1, "a", None), (1, "b", Some(Reason::Limit)), (2, "c", None), (3, "d", Some(Reason::Budget))] {
        // A purchase of nothing gets nothing.
        assert_eq!(suite.award(buyer, &format!("{id}0"), 0).await.actual_points, 0);
        let award = suite.award(buyer, id, 100).await.award.unwrap();
        assert_eq!(rejections(&award).first().map(|rejected| rejected.1), reason);
    }
    suite.verified().await;
    suite.stop().await;
}
