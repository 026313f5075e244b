//! Promotions over the wire. What each kind gives is told in tables beside the rules.

use futures::future::join_all;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberEnrolled, MemberState, TierChanged};
use proto::points as pb;
use proto::points::member_limit::Period;
use proto::points::promotion::{Birthday, Gives};
use proto::points::rejected_promotion::Reason;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    an_award_says_what_each_part_gave,
    a_preview_says_what_the_award_will,
    what_goes_back_takes_its_promotion_along,
    a_purchase_keeps_the_promotions_of_its_day,
    what_the_feeds_tell_counts,
    a_merge_keeps_when_the_member_came_last,
    a_bad_promotion_is_refused_by_its_field,
    strangers_have_no_promotions,
    a_member_gets_no_more_than_the_limit,
    many_at_once_get_no_more_than_the_limit,
    an_activity_beyond_its_limit_is_refused,
);

pub(crate) fn points(id: &str, points: i64) -> pb::Promotion {
    pb::Promotion { promotion_id: id.to_owned(), title: format!("A {id}"), gives: Some(Gives::Points(points)), ..pb::Promotion::default() }
}

pub(crate) fn times(id: &str, multiplier: &str) -> pb::Promotion {
    pb::Promotion { gives: Some(Gives::Multiplier(multiplier.to_owned())), ..points(id, 1) }
}

pub(super) fn of_category(category: &str, promotion: pb::Promotion) -> pb::Promotion {
    let lines = pb::LineFilter { categories: vec![category.to_owned()], ..pb::LineFilter::default() };
    pb::Promotion { lines: Some(lines), ..promotion }
}

pub(crate) fn limit(times_max: i64, points_max: i64, period: Period) -> Option<pb::MemberLimit> {
    Some(pb::MemberLimit { times_max, points_max, period: period.into() })
}

pub(crate) fn promoting(promotions: &[pb::Promotion]) -> pb::Terms {
    pb::Terms { promotions: promotions.to_vec(), ..terms() }
}

/// Tea for 60 and two cakes for 40 in all.
pub(super) fn tea_and_cake(buyer: u128, id: &str) -> pb::AwardRequest {
    with(award_lines(buyer, id, &[("1", 1, 6_000), ("2", 2, 4_000)]), |request| {
        input(request).lines[0].category = "tea".to_owned();
        input(request).lines[1].category = "cake".to_owned();
    })
}

pub(crate) fn parts(award: &pb::AwardExplanation) -> Vec<(&str, i64, i64)> {
    award.components.iter().map(|part| (part.source.as_str(), part.points, part.desired_points)).collect()
}

pub(crate) fn rejections(award: &pb::AwardExplanation) -> Vec<(&str, Reason)> {
    award.rejected_promotions.iter().map(|rejected| (rejected.promotion_id.as_str(), rejected.reason())).collect()
}

async fn an_award_says_what_each_part_gave(engine: TestEngine) {
    let promotions = [
        of_category("cake", times("cake", "2")),
        pb::Promotion { points_max: 30, ..times("half-more", "1.5") },
        pb::Promotion { spend_min: 10_001, ..points("big", 7) },
        pb::Promotion { stacking_group: "one".to_owned(), ..points("five", 5) },
        pb::Promotion { stacking_group: "one".to_owned(), ..points("six", 6) },
        pb::Promotion { end_time: Some(timestamp(START)), ..points("over", 1) },
    ];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    let request = tea_and_cake(1, "p1");
    let first = suite.platform().award(request.clone()).await.unwrap();
    assert!(!replayed(&first));
    let first = first.into_inner();
    let award = first.award.clone().unwrap();
    assert_eq!((award.base_points, award.bonus_points, first.actual_points), (100, 76, 176));
    assert_eq!(parts(&award), [("base", 100, 0), ("promotion:cake", 40, 0), ("promotion:half-more", 30, 50), ("promotion:six", 6, 0)]);
    assert_eq!(rejections(&award), [("big", Reason::Spend), ("five", Reason::Stacking)]);
    let told: Vec<(&str, &str)> = award.components.iter().map(|part| (part.factor.as_str(), part.title.as_str())).collect();
    assert_eq!(told, [("1", ""), ("2", "A cake"), ("1.5", "A half-more"), ("", "A six")]);
    // What was answered comes again, under other terms too.
    suite.new_terms(terms(), suite.now()).await;
    let again = suite.platform().award(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    // Tiers count the base alone.
    let Some(Payload::PurchaseRecorded(recorded)) = suite.events(1).await.pop().unwrap().payload else { panic!("a purchase") };
    assert_eq!((recorded.base_points, recorded.awarded_points), (100, 176));
    suite.verified().await;
    suite.stop().await;
}

async fn a_preview_says_what_the_award_will(engine: TestEngine) {
    let promotions = [
        of_category("cake", times("cake", "2")),
        pb::Promotion { purchase_number: 1, ..points("welcome", 50) },
        pb::Promotion { purchase_number: 2, ..points("again", 20) },
    ];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    for (id, points) in [("p1", 190), ("p2", 160), ("p3", 140)] {
        let request = tea_and_cake(1, id);
        let mut promised = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner();
        let done = suite.platform().award(request).await.unwrap().into_inner();
        // What was not for this person is told before, and not kept.
        let told = std::mem::take(&mut promised.award.as_mut().unwrap().rejected_promotions);
        assert_eq!(told.len(), 2 - usize::from(id != "p3"));
        assert!(told.iter().all(|rejected| rejected.reason() == Reason::PurchaseNumber));
        assert_eq!((promised.award, promised.points), (done.award, done.actual_points));
        assert_eq!(promised.points, points);
    }
    suite.stop().await;
}

async fn what_goes_back_takes_its_promotion_along(engine: TestEngine) {
    let promotions = [of_category("cake", times("cake", "2")), pb::Promotion { spend_min: 9_000, ..points("ten", 10) }];
    let suite = Suite::with_terms(engine, promoting(&promotions)).await;
    suite.platform().award(tea_and_cake(1, "p1")).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 150);
    suite.platform().return_purchase(give_back("p1", &[("2", 1)])).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 80 + 20, "too little is left for the ten");
    suite.platform().return_purchase(give_back("p1", &[("2", 1)])).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 60);
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 0);
    suite.verified().await;
    suite.stop().await;
}

async fn a_purchase_keeps_the_promotions_of_its_day(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[times("double", "2")])).await;
    suite.new_terms(promoting(&[times("triple", "3"), pb::Promotion { spend_min: 1, ..points("double", 1_000) }]), START + DAY).await;
    suite.clock.advance(2 * DAY);
    let late = with(award(1, "late", 10_000), |request| input(request).occur_time = Some(timestamp(START)));
    assert_eq!(suite.platform().award(late).await.unwrap().into_inner().actual_points, 200, "when it was bought");
    let suite = suite.restart().await;
    suite.platform().return_purchase(down_to("late", 4_000)).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 80, "by the terms of its day");
    suite.stop().await;
}

async fn what_the_feeds_tell_counts(engine: TestEngine) {
    let promotions = [
        pb::Promotion { birthday: Birthday::Month.into(), ..times("birthday", "2") },
        pb::Promotion { tiers: vec!["gold".to_owned()], ..points("gold", 7) },
        pb::Promotion { tags: vec!["staff".to_owned(), "vegan".to_owned()], ..points("tagged", 3) },
        pb::Promotion { segments: vec!["regular".to_owned()], excluded_tags: vec!["staff".to_owned()], ..points("regulars", 2) },
    ];
    let suite = Suite::with_feeds(engine, promoting(&promotions)).await;
    let month = i32::from(START.date_in(&kernel::Zone::parse("Asia/Shanghai").unwrap()).month());
    let told = |id: &'static str| {
        let suite = &suite;
        async move {
            let request = award(1, id, 10_000);
            let award = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner().award.unwrap();
            let bonus = suite.platform().award(request).await.unwrap().into_inner().award.unwrap().bonus_points;
            assert_eq!(bonus, award.bonus_points);
            (award.bonus_points, rejections(&award).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>())
        }
    };
    let nobody = || vec![Reason::Audience, Reason::Audience];
    assert_eq!(told("p1").await, (0, [vec![Reason::Birthday, Reason::Tier], nobody()].concat()));
    let enrolled = MemberEnrolled { state: MemberState::Active.into(), birth_month: month, birth_day: 1, ..MemberEnrolled::default() };
    suite.members_tell(1, Payload::MemberEnrolled(enrolled), 1).await;
    assert_eq!(told("p2").await, (100, [vec![Reason::Tier], nobody()].concat()));
    let tier = TierChanged {
        scheme: format!("{TEA}/schemes/status"),
        tier: "gold".to_owned(),
        start_time: Some(timestamp(START)),
        ..TierChanged::default()
    };
    suite.tiers_tell(1, Payload::TierChanged(tier), 2).await;
    assert_eq!(told("p3").await, (107, nobody()));
    // He has asked to have his birthday forgotten, and has tags and a segment now.
    let changed = |tags: &[&str], segments: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Payload::MemberChanged(MemberChanged {
            state: MemberState::Active.into(),
            tags: texts(tags),
            segments: texts(segments),
            ..MemberChanged::default()
        })
    };
    suite.members_tell(1, changed(&["vegan"], &["regular"]), 3).await;
    assert_eq!(told("p4").await, (7 + 3 + 2, vec![Reason::Birthday]));
    suite.members_tell(1, changed(&["staff"], &["regular"]), 4).await;
    assert_eq!(told("p5").await, (7 + 3, vec![Reason::Birthday, Reason::Audience]));
    suite.members_tell(1, changed(&[], &[]), 5).await;
    assert_eq!(told("p6").await, (7, [vec![Reason::Birthday], nobody()].concat()));
    suite.stop().await;
}

async fn a_merge_keeps_when_the_member_came_last(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[pb::Promotion { dormant_days: 30, ..points("come-back", 9) }])).await;
    suite.award(1, "p1", 100).await;
    suite.clock.advance(20 * DAY);
    suite.award(2, "p2", 100).await;
    suite.clock.advance(20 * DAY);
    suite.client(Role::Support).await.merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(suite.award(1, "p3", 100).await.actual_points, 1, "he bought twenty days ago, by another name");
    suite.clock.advance(30 * DAY);
    assert_eq!(suite.award(2, "p4", 100).await.actual_points, 10);
    assert_eq!(suite.award(1, "p5", 100).await.actual_points, 1);
    suite.verified().await;
    // Apart again, each has come last when it was in his own name.
    suite.clock.advance(25 * DAY);
    assert_eq!(suite.award(2, "p6", 100).await.actual_points, 1);
    let suite = suite.restart().await;
    suite.clock.advance(10 * DAY);
    suite.client(Role::Support).await.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!(suite.award(2, "p7", 100).await.actual_points, 1);
    assert_eq!(suite.award(1, "p8", 100).await.actual_points, 10);
    suite.verified().await;
    suite.stop().await;
}

async fn a_bad_promotion_is_refused_by_its_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let bad: [(&str, pb::Promotion); 21] = [
        ("promotion_id", points("Double", 1)),
        ("promotion_id", points("", 1)),
        ("promotion_id", points("good", 1)),
        ("title", pb::Promotion { title: String::new(), ..points("p", 1) }),
        ("gives", pb::Promotion { gives: None, ..points("p", 1) }),
        ("points", points("p", 0)),
        ("multiplier", times("p", "1")),
        ("multiplier", times("p", "1,5")),
        ("multiplier", times("p", "100.001")),
        ("end_time", pb::Promotion { start_time: Some(timestamp(START)), end_time: Some(timestamp(START)), ..points("p", 1) }),
        ("weekdays[0]", pb::Promotion { weekdays: vec![8], ..points("p", 1) }),
        ("day_part.end_minute", pb::Promotion { day_part: Some(pb::DayPart { start_minute: 9, end_minute: 9 }), ..points("p", 1) }),
        ("condition", pb::Promotion { condition: " ".repeat(1_001), ..points("p", 1) }),
        ("tags[0]", pb::Promotion { tags: vec!["Vegan".to_owned()], ..points("p", 1) }),
        ("excluded_tags[1]", pb::Promotion { excluded_tags: vec!["a".to_owned(), "b c".to_owned()], ..points("p", 1) }),
        ("segments[0]", pb::Promotion { segments: vec![String::new()], ..points("p", 1) }),
        ("spend_min", pb::Promotion { spend_min: -1, ..points("p", 1) }),
        ("stores[0]", pb::Promotion { stores: vec!["s1".to_owned()], ..points("p", 1) }),
        ("member_limit", pb::Promotion { member_limit: limit(0, 0, Period::Day), ..points("p", 1) }),
        ("member_limit.period", pb::Promotion { member_limit: limit(1, 0, Period::Unspecified), ..points("p", 1) }),
        ("stacking_group", pb::Promotion { stacking_group: "A B".to_owned(), ..points("p", 1) }),
    ];
    for (field, promotion) in bad {
        let request = new_version(promoting(&[points("good", 1), promotion]));
        let refused = suite.administrator().create_program_version(request).await;
        assert_eq!(wrong_fields(refused), [format!("terms.promotions[1].{field}")]);
    }
    // A store of another program.
    let elsewhere = pb::Promotion { stores: vec!["programs/coffee/stores/s1".to_owned()], ..points("p", 1) };
    let refused = suite.administrator().create_program_version(new_version(promoting(&[elsewhere]))).await;
    assert_eq!(wrong_fields(refused), ["terms.promotions[0].stores[0]"]);
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 1, "and nothing has changed");
    suite.stop().await;
}

async fn strangers_have_no_promotions(engine: TestEngine) {
    let suite = Suite::with_terms(engine, promoting(&[points("ten", 10)])).await;
    let done = suite.award(0, "p1", 10_000).await;
    let award = done.award.unwrap();
    assert_eq!((done.actual_points, award.bonus_points, award.components.len(), award.rejected_promotions.len()), (0, 0, 1, 0));
    suite.stop().await;
}

async fn a_member_gets_no_more_than_the_limit(engine: TestEngine) {
    let suite =
        Suite::with_terms(engine, promoting(&[pb::Promotion { member_limit: limit(2, 15, Period::Day), ..points("ten", 10) }])).await;
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 11);
    let suite = suite.restart().await;
    let second = suite.award(1, "p2", 100).await.award.unwrap();
    assert_eq!(parts(&second), [("base", 1, 0), ("promotion:ten", 5, 10)]);
    let third = suite.award(1, "p3", 100).await.award.unwrap();
    assert_eq!((third.bonus_points, rejections(&third)), (0, vec![("ten", Reason::Limit)]));
    // What goes back makes room, and a new day too; a new version goes on counting.
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    suite.new_terms(promoting(&[pb::Promotion { member_limit: limit(2, 15, Period::Day), ..points("ten", 20) }]), suite.now()).await;
    assert_eq!(suite.award(1, "p4", 100).await.actual_points, 11);
    assert_eq!(suite.award(1, "p5", 100).await.actual_points, 1);
    suite.clock.advance(DAY);
    assert_eq!(suite.award(1, "p6", 100).await.actual_points, 16);
    assert_eq!(suite.award(2, "p7", 100).await.actual_points, 16, "each has his own");
    suite.verified().await;
    suite.stop().await;
}

async fn many_at_once_get_no_more_than_the_limit(engine: TestEngine) {
    let suite =
        Suite::with_terms(engine, promoting(&[pb::Promotion { member_limit: limit(0, 25, Period::Ever), ..points("ten", 10) }])).await;
    let replica = suite.replica().await;
    let calls = (0..20).map(|number| {
        let mut server = if number % 2 == 0 { suite.platform() } else { replica.platform.clone() };
        async move { server.award(award(1, &format!("p{number}"), 100)).await.unwrap().into_inner().award.unwrap().bonus_points }
    });
    let mut bonuses = join_all(calls).await;
    bonuses.sort_unstable();
    assert_eq!((bonuses.iter().sum::<i64>(), &bonuses[17..]), (25, &[5, 10, 10][..]));
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn an_activity_beyond_its_limit_is_refused(engine: TestEngine) {
    let check_in = pb::ActivityTerms { member_limit: limit(1, 0, Period::Day), ..earns("check_in", 3) };
    let suite = Suite::with_terms(engine, pb::Terms { activities: vec![check_in], ..terms() }).await;
    let first = activity(1, "check_in", "c1");
    suite.platform().award_activity(first.clone()).await.unwrap();
    let refused = suite.platform().award_activity(activity(1, "check_in", "c2")).await;
    assert_eq!(metadata(&refused, "activity"), "check_in");
    assert_eq!(precondition(refused), "ACTIVITY_LIMIT");
    assert!(replayed(&suite.platform().award_activity(first).await.unwrap()), "the first one comes again");
    suite.clock.advance(DAY);
    suite.platform().award_activity(activity(1, "check_in", "c2")).await.unwrap();
    assert_eq!(suite.figures(1).await.0, 6);
    suite.verified().await;
    suite.stop().await;
}
