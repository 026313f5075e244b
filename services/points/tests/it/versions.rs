//! The life of a version: draft, scheduled, active, superseded, or retired before it held.

use proto::points as pb;
use proto::points::program_version::State;
use proto::points::validate_terms_request::What;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_draft_holds_from_when_it_is_scheduled,
    a_draft_is_never_awarded_under,
    a_version_is_retired_before_it_holds_or_never,
    terms_are_rolled_back_to_what_they_were,
    what_was_bought_keeps_its_terms,
    the_first_version_may_start_in_the_past,
    each_change_is_made_once,
    of_two_schedulers_both_stay_in_order,
    a_draft_becomes_one_thing,
    terms_are_told_everything_about,
);

fn rate(points: &str) -> pb::Terms {
    pb::Terms { points_per_unit: points.to_owned(), ..terms() }
}

fn name(number: i64) -> String {
    format!("{TEA}/versions/{number}")
}

impl Suite {
    async fn draft(&self, points: &str) -> pb::ProgramVersion {
        self.administrator().create_program_version(new_draft(rate(points))).await.unwrap().into_inner()
    }

    async fn states(&self) -> Vec<State> {
        let request = pb::ListProgramVersionsRequest { parent: TEA.to_owned(), ..Default::default() };
        let listed = self.platform().list_program_versions(request).await.unwrap().into_inner();
        listed.versions.iter().rev().map(pb::ProgramVersion::state).collect()
    }
}

async fn a_draft_holds_from_when_it_is_scheduled(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.administrator();
    let draft = suite.draft("2").await;
    assert_eq!((draft.name.as_str(), draft.state(), draft.start_time), ("programs/tea/versions/2", State::Draft, None));
    assert_eq!((draft.schedule_time, draft.scheduler.as_str(), draft.terms.clone()), (None, "", Some(rate("2"))));
    // Meanwhile another one is made that holds at once, and one more draft.
    suite.new_terms(rate("3"), suite.now()).await;
    suite.draft("4").await;
    assert_eq!(suite.states().await, [State::Superseded, State::Draft, State::Active, State::Draft]);
    suite.clock.advance(DAY);
    let scheduled = administrator.schedule_program_version(schedule(&name(2), Some(START + 3 * DAY))).await.unwrap().into_inner();
    let expected = pb::ProgramVersion {
        state: State::Scheduled.into(),
        start_time: Some(timestamp(START + 3 * DAY)),
        schedule_time: Some(timestamp(START + DAY)),
        scheduler: draft.author.clone(),
        ..draft
    };
    assert_eq!(scheduled, expected);
    assert_eq!(suite.award(1, "before", 100).await.actual_points, 3);
    suite.clock.advance(2 * DAY);
    assert_eq!(suite.award(1, "after", 100).await.actual_points, 2);
    assert_eq!(suite.states().await, [State::Superseded, State::Active, State::Superseded, State::Draft]);
    // Without a time it holds now.
    let now = administrator.schedule_program_version(schedule(&name(4), None)).await.unwrap().into_inner();
    assert_eq!((now.state(), now.start_time), (State::Active, Some(timestamp(suite.now()))));
    assert_eq!(suite.award(1, "now", 100).await.actual_points, 4);
    suite.verified().await;
}

async fn a_draft_is_never_awarded_under(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let coffee = pb::CreateProgramVersionRequest { parent: "programs/coffee".to_owned(), ..new_draft(rate("9")) };
    suite.administrator().create_program_version(coffee).await.unwrap();
    let request = with(award(1, "p1", 100), |request| {
        request.parent = "programs/coffee".to_owned();
        request.member = request.member.replace("tea", "coffee");
    });
    assert_eq!(precondition(suite.platform().award(request.clone()).await), "PROGRAM_VERSION_MISSING");
    suite.draft("9").await;
    assert_eq!(suite.award(1, "p1", 100).await.award.unwrap().program_version, name(1));
    assert_eq!(suite.platform().preview_award(preview(&award(1, "p2", 100))).await.unwrap().into_inner().points, 1);
    suite.administrator().schedule_program_version(schedule("programs/coffee/versions/1", None)).await.unwrap();
    assert_eq!(suite.platform().award(request).await.unwrap().into_inner().actual_points, 9);
    suite.verified().await;
}

async fn a_version_is_retired_before_it_holds_or_never(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.administrator();
    suite.draft("2").await;
    suite.new_terms(rate("3"), START + DAY).await;
    let retired = administrator.retire_program_version(give_up(&name(2))).await.unwrap().into_inner();
    assert_eq!((retired.state(), retired.retire_time, retired.start_time), (State::Retired, Some(timestamp(START)), None));
    assert_eq!((retired.retirer, retired.terms), (retired.author, Some(rate("2"))));
    // Nothing may start before what is scheduled; once that is given up, it may.
    let early = with(new_version(rate("4")), |request| request.start_time = Some(timestamp(START + DAY / 2)));
    let refused = administrator.create_program_version(early.clone()).await;
    assert_eq!(metadata(&refused, "version"), name(3));
    assert_eq!(refusal(refused), (Code::InvalidArgument, "START_TIME_NOT_ASCENDING".to_owned()));
    administrator.retire_program_version(give_up(&name(3))).await.unwrap();
    administrator.create_program_version(early).await.unwrap();
    assert_eq!(suite.states().await, [State::Active, State::Retired, State::Retired, State::Scheduled]);
    // Tills whose clocks are ahead may use it already.
    suite.clock.advance(DAY / 2 - std::time::Duration::from_secs(1));
    assert_eq!(precondition(administrator.retire_program_version(give_up(&name(4))).await), "VERSION_STARTED");
    suite.clock.advance(DAY);
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 4, "and never 3");
    for (number, reason) in [(1, "VERSION_STARTED"), (2, "VERSION_RETIRED"), (3, "VERSION_RETIRED"), (4, "VERSION_STARTED")] {
        assert_eq!(precondition(administrator.retire_program_version(give_up(&name(number))).await), reason, "{number}");
        let expected = if reason == "VERSION_STARTED" { "VERSION_NOT_DRAFT" } else { reason };
        assert_eq!(precondition(administrator.schedule_program_version(schedule(&name(number), None)).await), expected, "{number}");
    }
    // Its number is not used again.
    assert_eq!(suite.draft("5").await.name, name(5));
    suite.verified().await;
}

async fn terms_are_rolled_back_to_what_they_were(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.administrator();
    suite.clock.advance(DAY);
    suite.new_terms(rate("100"), suite.now()).await;
    assert_eq!(suite.award(1, "dear", 100).await.actual_points, 100);
    suite.clock.advance(DAY);
    let back = administrator.roll_back_program(roll_back(&name(1))).await.unwrap().into_inner();
    assert_eq!((back.name.as_str(), back.restored_version.clone(), back.state()), ("programs/tea/versions/3", name(1), State::Active));
    assert_eq!((back.terms, back.start_time), (Some(terms()), Some(timestamp(START + 2 * DAY))));
    assert_eq!(suite.award(1, "again", 100).await.actual_points, 1);
    assert_eq!(suite.states().await, [State::Superseded, State::Superseded, State::Active]);
    // What was bought in between stays as it was, also when it goes back.
    let returned = suite.platform().return_purchase(down_to("dear", 50)).await.unwrap().into_inner();
    assert_eq!(returned.actual_points, -50);
    suite.draft("7").await;
    for number in [3, 4] {
        assert_eq!(precondition(administrator.roll_back_program(roll_back(&name(number))).await), "VERSION_NOT_SUPERSEDED", "{number}");
    }
    suite.verified().await;
}

async fn what_was_bought_keeps_its_terms(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.clock.advance(2 * DAY);
    suite.draft("2").await;
    let early = suite.administrator().schedule_program_version(schedule(&name(2), Some(START + DAY))).await;
    assert_eq!(refusal(early), (Code::InvalidArgument, "START_TIME_IN_PAST".to_owned()));
    suite.administrator().schedule_program_version(schedule(&name(2), None)).await.unwrap();
    // A till that was offline.
    let late = with(award(1, "late", 100), |request| input(request).occur_time = Some(timestamp(START + DAY)));
    assert_eq!(suite.platform().award(late).await.unwrap().into_inner().award.unwrap().program_version, name(1));
    suite.verified().await;
}

async fn the_first_version_may_start_in_the_past(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let draft = pb::CreateProgramVersionRequest { parent: "programs/coffee".to_owned(), ..new_draft(terms()) };
    let draft = suite.administrator().create_program_version(draft).await.unwrap().into_inner();
    let held = suite.administrator().schedule_program_version(schedule(&draft.name, Some(START - DAY))).await.unwrap().into_inner();
    assert_eq!((held.state(), held.start_time), (State::Active, Some(timestamp(START - DAY))));
    suite.stop().await;
}

async fn each_change_is_made_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.administrator();
    let request = new_draft(rate("2"));
    let first = administrator.create_program_version(request.clone()).await.unwrap();
    let again = administrator.create_program_version(request.clone()).await.unwrap();
    assert!(!replayed(&first) && replayed(&again) && first.get_ref() == again.get_ref());
    let reused = with(request, |request| request.draft = false);
    assert_eq!(refusal(administrator.create_program_version(reused).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    let request = schedule(&name(2), Some(START + DAY));
    let first = administrator.schedule_program_version(request.clone()).await.unwrap();
    suite.clock.advance(DAY);
    // It answers as it did, though the version holds by now.
    let again = administrator.schedule_program_version(request).await.unwrap();
    assert!(replayed(&again) && first.get_ref() == again.get_ref());
    assert_eq!(again.get_ref().state(), State::Scheduled);
    let request = roll_back(&name(1));
    let first = administrator.roll_back_program(request.clone()).await.unwrap().into_inner();
    assert_eq!(administrator.roll_back_program(request).await.unwrap().into_inner(), first);
    suite.draft("3").await;
    let request = give_up(&name(4));
    let first = administrator.retire_program_version(request.clone()).await.unwrap().into_inner();
    assert_eq!(administrator.retire_program_version(request).await.unwrap().into_inner(), first);
    assert_eq!(suite.states().await.len(), 4);
    suite.stop().await;
}

async fn of_two_schedulers_both_stay_in_order(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let drafts = 8_u32;
    for number in 0..drafts {
        suite.draft(&(number + 2).to_string()).await;
    }
    let here = suite.administrator();
    let there = replica.client(proto::common::Role::Administrator).await;
    let scheduled = (0..drafts).map(|number| {
        let mut client = if number % 2 == 0 { here.clone() } else { there.clone() };
        let request = schedule(&name(i64::from(number) + 2), Some(START + (1 + number) * DAY));
        async move { client.schedule_program_version(request).await }
    });
    let answers = futures::future::join_all(scheduled).await;
    let refused = (Code::InvalidArgument, "START_TIME_NOT_ASCENDING".to_owned());
    let states = suite.states().await;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => assert_eq!(states[number + 1], State::Scheduled),
            Err(status) => {
                assert_eq!(code_and_reason(&status), refused);
                assert_eq!(states[number + 1], State::Draft);
            }
        }
    }
    assert_eq!(states[usize::try_from(drafts).unwrap()], State::Scheduled, "nothing is later than the last");
    // Each that was admitted holds from its start on.
    suite.clock.advance(10 * DAY);
    for (number, state) in states.iter().enumerate().skip(1).filter(|(_, state)| **state == State::Scheduled) {
        let at = START + u32::try_from(number).unwrap() * DAY;
        let request = with(award(1, &format!("p{number}"), 100), |request| input(request).occur_time = Some(timestamp(at)));
        let award = suite.platform().award(request).await.unwrap().into_inner().award.unwrap();
        assert_eq!(award.program_version, name(i64::try_from(number).unwrap() + 1), "{state:?}");
    }
    replica.stop().await;
    suite.verified().await;
}

async fn a_draft_becomes_one_thing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for round in 0..4 {
        let draft = suite.draft("2").await.name;
        let start = START + (1 + round) * DAY;
        let (mut one, mut two) = (suite.administrator(), suite.administrator());
        let (scheduled, retired) =
            tokio::join!(one.schedule_program_version(schedule(&draft, Some(start))), two.retire_program_version(give_up(&draft)));
        // Whoever comes second is judged by what the first has done.
        retired.unwrap();
        if let Err(status) = scheduled {
            assert_eq!(code_and_reason(&status), (Code::FailedPrecondition, "VERSION_RETIRED".to_owned()));
        }
        assert_eq!(suite.states().await.last(), Some(&State::Retired));
    }
    suite.stop().await;
}

async fn terms_are_told_everything_about(engine: TestEngine) {
    use pb::promotion::Gives;
    let points = |id: &str| pb::Promotion {
        promotion_id: id.to_owned(),
        title: id.to_owned(),
        gives: Some(Gives::Points(10)),
        ..pb::Promotion::default()
    };
    let limit = |period: pb::member_limit::Period| Some(pb::MemberLimit { times_max: 1, period: period.into(), points_max: 0 });
    let limited = pb::Promotion { member_limit: limit(pb::member_limit::Period::Day), ..points("limited") };
    let running = pb::Terms { promotions: vec![limited, points("dropped")], activities: vec![earns("review", 5)], ..terms() };
    let suite = Suite::with_terms(engine, running.clone()).await;
    let mut administrator = suite.administrator();
    let mut told = async |what: What| {
        let request = pb::ValidateTermsRequest { parent: TEA.to_owned(), what: Some(what), start_time: Some(timestamp(START + DAY)) };
        let answer = administrator.validate_terms(request).await.unwrap().into_inner();
        answer.findings.into_iter().map(|finding| (finding.severity(), finding.field)).collect::<Vec<_>>()
    };
    assert_eq!(told(What::Version(name(1))).await, [], "nothing is to be said about what runs");
    assert_eq!(told(What::Terms(running.clone())).await, []);
    let group = |promotion: pb::Promotion| pb::Promotion { stacking_group: "g".to_owned(), ..promotion };
    let changed = pb::Terms {
        promotions: vec![
            pb::Promotion { member_limit: limit(pb::member_limit::Period::Week), ..points("limited") },
            pb::Promotion { end_time: Some(timestamp(START + DAY)), ..points("over") },
            pb::Promotion {
                start_time: Some(timestamp(START + 2 * DAY)),
                end_time: Some(timestamp(START + 3 * DAY)),
                // It is at a weekend.
                weekdays: vec![1],
                ..points("monday")
            },
            pb::Promotion { priority: 3, ..points("alone") },
            group(pb::Promotion { spend_min: 100, ..points("beaten") }),
            group(pb::Promotion { priority: 1, ..points("better") }),
        ],
        ..running
    };
    let warned = |field: &str| (pb::validate_terms_response::finding::Severity::Warning, format!("terms.{field}"));
    assert_eq!(
        told(What::Terms(changed.clone())).await,
        [
            warned("promotions[0].member_limit.period"),
            warned("promotions[1].end_time"),
            warned("promotions[2].weekdays"),
            warned("promotions[3].priority"),
            warned("promotions[4].stacking_group"),
            warned("promotions"),
        ]
    );
    let rate = |id: &str, category: &str| pb::EarnRate {
        rate_id: id.to_owned(),
        points_per_unit: "0".to_owned(),
        lines: Some(pb::LineFilter { categories: vec![category.to_owned()], ..pb::LineFilter::default() }),
        ..pb::EarnRate::default()
    };
    let double = pb::Promotion { gives: Some(Gives::Multiplier("2".to_owned())), ..points("dropped") };
    let barren = pb::Terms {
        points_per_unit: "0".to_owned(),
        earn_rates: vec![rate("a", "tea"), rate("b", "tea"), rate("c", "cake")],
        promotions: vec![changed.promotions[0].clone(), double],
        ..changed.clone()
    };
    let said = [warned("earn_rates[1].lines"), warned("promotions[0].member_limit.period"), warned("promotions[1].multiplier")];
    assert_eq!(told(What::Terms(barren)).await, said);
    // It is accepted all the same.
    let draft = suite.administrator().create_program_version(new_draft(changed.clone())).await.unwrap().into_inner();
    assert_eq!(told(What::Version(draft.name)).await.len(), 6);
    // What is wrong is told all at once, and so creation refuses it.
    let wrong = pb::Terms {
        points_per_unit: "1000001".to_owned(),
        promotions: vec![
            points("twice"),
            points("twice"),
            pb::Promotion { gives: Some(Gives::Multiplier("1".to_owned())), ..points("one") },
        ],
        ..terms()
    };
    let error = |field: &str| (pb::validate_terms_response::finding::Severity::Error, format!("terms.{field}"));
    let errors = [error("points_per_unit"), error("promotions[1].promotion_id"), error("promotions[2].multiplier")];
    assert_eq!(told(What::Terms(wrong.clone())).await, errors);
    assert_eq!(wrong_fields(suite.administrator().create_program_version(new_version(wrong)).await), errors.map(|(_, field)| field));
    suite.new_terms(terms(), START + 2 * DAY).await;
    let severe = (pb::validate_terms_response::finding::Severity::Error, "start_time".to_owned());
    assert_eq!(told(What::Terms(terms())).await[0], severe, "another starts later");
    suite.stop().await;
}
