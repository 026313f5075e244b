//! What is counted of what stays with a member, and in periods of another length.

use proto::points as pb;
use proto::points::award_limit::{OnExceed, Scope};
use proto::points::member_limit::Period;
use proto::points::terms::ReturnPolicy;
use testkit::TestEngine;

use super::promotions::{limit, points, promoting};
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(a_point_that_stays_leaves_the_rest_free, a_period_of_another_length_begins_anew);

fn budget(points_max: i64, period: Period) -> Option<pb::PromotionBudget> {
    Some(pb::PromotionBudget { times_max: 0, points_max, period: period.into() })
}

fn daily(id: &str, scope: Scope, points_max: i64) -> pb::AwardLimit {
    let (scope, period, on_exceed) = (scope.into(), Period::Day.into(), OnExceed::Trim.into());
    pb::AwardLimit { limit_id: id.to_owned(), scope, period, times_max: 0, points_max, on_exceed }
}

async fn spent(suite: &Suite, promotion: &str) -> (i64, i64) {
    let request = pb::GetBudgetRequest { name: format!("{TEA}/budgets/{promotion}") };
    let budget = suite.platform().get_budget(request).await.unwrap().into_inner();
    (budget.spent_points, budget.times)
}

/// Whether it goes back at once or piece by piece, with the server started anew in between.
async fn a_point_that_stays_leaves_the_rest_free(engine: TestEngine) {
    let promotion = pb::Promotion { member_limit: limit(0, 990, Period::Day), budget: budget(3_000, Period::Ever), ..points("much", 990) };
    let limits = vec![daily("own", Scope::Member, 1_000), daily("all", Scope::Program, 3_000)];
    let terms = pb::Terms { limits, return_policy: ReturnPolicy::WithinBalance.into(), ..promoting(&[promotion]) };
    let mut suite = Suite::with_terms(engine, terms).await;
    for (buyer, slices, stayed) in [(1, &[0][..], 1), (2, &[400, 399, 1, 0], 2)] {
        let id = format!("p{buyer}");
        assert_eq!(suite.award(buyer, &id, 1_000).await.actual_points, 1_000);
        suite.platform().redeem(redeem(buyer, 1)).await.unwrap();
        for left in slices {
            suite.platform().return_purchase(down_to(&id, *left)).await.unwrap();
            suite = suite.restart().await;
        }
        assert_eq!(spent(&suite, "much").await, (stayed, stayed), "{slices:?}");
        assert_eq!(suite.award(buyer, &format!("again{buyer}"), 1_000).await.actual_points, 999, "{slices:?}");
        suite.platform().return_purchase(down_to(&format!("again{buyer}"), 0)).await.unwrap();
        suite.verified().await;
    }
    suite.stop().await;
}

/// A month and a year begin together in January.
async fn a_period_of_another_length_begins_anew(engine: TestEngine) {
    let terms = |period| {
        let own = pb::Promotion { member_limit: limit(0, 10, period), ..points("own", 10) };
        promoting(&[own, pb::Promotion { budget: budget(7, period), ..points("shared", 7) }])
    };
    let suite = Suite::with_terms(engine, terms(Period::Month)).await;
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 18);
    assert_eq!(suite.award(1, "p2", 100).await.actual_points, 1);
    suite.clock.advance(DAY);
    suite.new_terms(terms(Period::Year), suite.now()).await;
    assert_eq!(spent(&suite, "shared").await, (0, 0));
    assert_eq!(suite.award(1, "p3", 100).await.actual_points, 18, "the year has had nothing yet");
    assert_eq!(spent(&suite, "shared").await, (7, 1));
    suite.verified().await;
    let suite = suite.restart().await;
    suite.clock.advance(100 * DAY);
    assert_eq!(suite.award(1, "p4", 100).await.actual_points, 1, "and has had all of it now");
    // What goes back makes room where it was counted.
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!(suite.award(1, "p5", 100).await.actual_points, 1);
    suite.platform().return_purchase(down_to("p3", 0)).await.unwrap();
    assert_eq!(suite.award(1, "p6", 100).await.actual_points, 18);
    let events = suite.events(9).await;
    let periods: std::collections::HashSet<_> =
        events.iter().map(|event| &event.aggregate).filter(|name| name.contains("/budgets/")).collect();
    assert_eq!(periods.len(), 2, "{periods:?}");
    suite.verified().await;
    suite.stop().await;
}
