//! Conditions and recurring windows over the wire. What each says is told in tables beside the rules.

use proto::points as pb;
use proto::points::rejected_promotion::Reason;
use testkit::{START, TestEngine};

use super::promotions::{parts, points, promoting, rejections, tea_and_cake};
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_condition_is_judged_when_it_is_bought,
    a_condition_that_cannot_be_worked_out_keeps_nobody_from_an_award,
    a_recurring_window_opens_and_closes,
    a_bad_rule_is_refused_with_its_column,
    a_version_has_so_many_windows_at_most,
);

fn when(condition: &str, promotion: pb::Promotion) -> pb::Promotion {
    pb::Promotion { condition: condition.to_owned(), ..promotion }
}

fn recurring(rule: &str, start: &str, duration_minutes: i32) -> pb::RecurringWindow {
    pb::RecurringWindow { rule: rule.to_owned(), start: start.to_owned(), duration_minutes }
}

async fn a_condition_is_judged_when_it_is_bought(engine: TestEngine) {
    let promotions = [
        when("purchase.lines.exists(line, line.category == 'cake' && line.quantity >= 2)", points("cakes", 10)),
        when("purchase.offer == 'spring' && member.purchases == 0", points("offer", 20)),
        when("purchase.net > 10000 || 'vip' in member.tags", points("big", 30)),
    ];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    let request = with(tea_and_cake(1, "p1"), |request| input(request).offer = "spring".to_owned());
    let promised = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner().award.unwrap();
    assert_eq!(rejections(&promised), [("big", Reason::Condition)]);
    let award = suite.platform().award(request).await.unwrap().into_inner().award.unwrap();
    assert_eq!(parts(&award), [("base", 100, 0), ("promotion:cakes", 10, 0), ("promotion:offer", 20, 0)]);
    // One of the cakes goes back, after the terms have been read anew.
    let suite = suite.restart().await;
    suite.platform().return_purchase(give_back("p1", &[("2", 1)])).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 80 + 10 + 20);
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 0);
    suite.verified().await;
    suite.stop().await;
}

async fn a_condition_that_cannot_be_worked_out_keeps_nobody_from_an_award(engine: TestEngine) {
    let promotions = [
        when("10000 / (purchase.net - 100) > 0", points("divided", 5)),
        when("purchase.lines.all(one, purchase.lines.all(other, one.net + other.net > 0))", points("pairs", 7)),
    ];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    let award = suite.award(1, "p1", 100).await.award.unwrap();
    assert_eq!((award.bonus_points, rejections(&award)), (7, vec![("divided", Reason::ConditionFault)]));
    let ids: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let lines: Vec<(&str, i64, i64)> = ids.iter().map(|id| (id.as_str(), 1, 10)).collect();
    let award = suite.platform().award(award_lines(1, "p2", &lines)).await.unwrap().into_inner().award.unwrap();
    assert_eq!((award.bonus_points, rejections(&award)), (5, vec![("pairs", Reason::ConditionFault)]));
    suite.verified().await;
    suite.stop().await;
}

async fn a_recurring_window_opens_and_closes(engine: TestEngine) {
    // The evenings of Fridays, and the first of each month.
    let windows = vec![recurring("FREQ=WEEKLY;BYDAY=FR", "2026-01-02T22:00", 240), recurring("FREQ=MONTHLY", "2026-01-01T00:00", 1_440)];
    let suite = Suite::with_terms(engine, promoting(&[pb::Promotion { windows, ..points("p", 1) }])).await;
    suite.clock.advance(80 * DAY);
    let local = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap().in_tz("Asia/Shanghai").unwrap().timestamp();
    let rows = [
        ("2026-03-06T21:59:59", false),
        ("2026-03-06T22:00:00", true),
        ("2026-03-07T01:59:59", true),
        ("2026-03-07T02:00:00", false),
        ("2026-03-31T23:59:59", false),
        ("2026-04-01T00:00:00", true),
        ("2026-04-01T23:59:59", true),
        ("2026-04-02T00:00:00", false),
    ];
    for (moment, holds) in rows {
        let at = rpc::wire::timestamp(local(moment).into());
        let request = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(at));
        let promised = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner().award.unwrap();
        let expected = if holds { vec![] } else { vec![("p", Reason::Time)] };
        assert_eq!((promised.bonus_points, rejections(&promised)), (i64::from(holds), expected), "{moment}");
    }
    suite.stop().await;
}

async fn a_bad_rule_is_refused_with_its_column(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let windows = |rule: &str, start: &str| pb::Promotion {
        windows: vec![recurring("FREQ=DAILY", "2026-01-01T00:00", 1), recurring(rule, start, 1)],
        ..points("p", 1)
    };
    let rows = [
        (when("purchase.net > 1 &&\n  local.day = 1", points("p", 1)), "condition", "line 2, column 13: token recognition error at: '= '"),
        (
            when("purchase.nett > 1", points("p", 1)),
            "condition",
            "line 1, column 10: `nett` is not known: there are net, channel, store, offer and lines",
        ),
        (when("purchase.net", points("p", 1)), "condition", "line 1, column 1: is of type int, and must be of type bool"),
        (
            windows("FREQ=WEEKLY;BYDAY=MO,XX", "2026-01-01T00:00"),
            "windows[1].rule",
            "column 22: must be a day like MO, or like 1MO or -1MO",
        ),
        (
            windows("FREQ=WEEKLY;BYDAY=MO", "2026-01-01T00:00"),
            "windows[1].rule",
            "column 1: does not fit its start, which must be the first of its times",
        ),
        (windows("FREQ=WEEKLY", "2026-02-30T00:00"), "windows[1].start", "must be a day and a time: 2026-05-01T18:00"),
    ];
    for (promotion, field, what) in rows {
        let terms = promoting(&[points("good", 1), promotion]);
        let expected = vec![(format!("terms.promotions[1].{field}"), what.to_owned())];
        let refused = suite.administrator().create_program_version(new_version(terms.clone())).await;
        assert_eq!(wrong_with_descriptions(refused), expected);
        // Nor can they be tried.
        let start_time = Some(rpc::wire::timestamp(START));
        let simulated = pb::SimulateTermsRequest { parent: TEA.to_owned(), terms: Some(terms), start_time, ..Default::default() };
        assert_eq!(wrong_with_descriptions(suite.administrator().simulate_terms(simulated).await.map(|_| ())), expected);
    }
    suite.stop().await;
}

async fn a_version_has_so_many_windows_at_most(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    // Ten years and a day: 3653 windows each.
    let daily =
        |id: &str, rules: usize| pb::Promotion { windows: vec![recurring("FREQ=DAILY", "2026-01-01T00:00", 1); rules], ..points(id, 1) };
    let beyond = promoting(&[daily("a", 10), points("none", 1), daily("b", 10), daily("c", 8), daily("d", 1)]);
    let what = "all rules of the version together must have at most 100000 windows".to_owned();
    let refused = suite.administrator().create_program_version(new_version(beyond)).await;
    assert_eq!(wrong_with_descriptions(refused), [("terms.promotions[3].windows[7].rule".to_owned(), what)]);
    let most = promoting(&[daily("a", 10), points("none", 1), daily("b", 10), daily("c", 7)]);
    suite.administrator().create_program_version(new_version(most)).await.unwrap();
    // What is refused costs no more than what is not.
    let ids: Vec<String> = (0..200).map(|number| format!("p{number}")).collect();
    let begun = std::time::Instant::now();
    let all = promoting(&ids.iter().map(|id| daily(id, 10)).collect::<Vec<_>>());
    let refused = suite.administrator().create_program_version(new_version(all)).await;
    assert_eq!(wrong_fields(refused), ["terms.promotions[2].windows[7].rule"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    suite.stop().await;
}
