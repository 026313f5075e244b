//! A program moves from one environment to another as one file.

use proto::common::Role;
use proto::points as pb;
use proto::points::program_version::State;
use proto::points::promotion::Gives;
use testkit::TestEngine;
use tonic::Code;
use tonic_types::StatusExt;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_program_goes_through_a_file_unchanged,
    what_is_taken_in_does_not_hold,
    rewards_that_differ_stay_as_they_are,
    a_dry_run_does_nothing,
    a_file_is_taken_in_once,
    a_file_of_another_zone_is_taken_in_knowingly,
    a_file_that_was_touched_is_refused,
    a_file_is_checked_like_any_request,
);

const COFFEE: &str = "programs/coffee";

/// Terms that name stores, dates and numbers beyond what JSON counts.
fn rich() -> pb::Terms {
    let stores = vec![format!("{TEA}/stores/one"), format!("{TEA}/stores/two")];
    let promotion = pb::Promotion {
        promotion_id: "p".to_owned(),
        title: "Double “tea”".to_owned(),
        gives: Some(Gives::Multiplier("2".to_owned())),
        stores: stores.clone(),
        start_time: Some(prost_types::Timestamp { seconds: 1_768_471_200, nanos: 5_000 }),
        points_max: 1 << 60,
        ..pb::Promotion::default()
    };
    let rate = pb::EarnRate { rate_id: "here".to_owned(), points_per_unit: "2.5".to_owned(), stores, ..pb::EarnRate::default() };
    pb::Terms {
        expire_after: days(365),
        activities: vec![earns("review", 5)],
        promotions: vec![promotion],
        earn_rates: vec![rate],
        basis: pb::terms::Basis::WithTax.into(),
        reservation_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..terms()
    }
}

async fn created(suite: &Suite, request: pb::CreateRewardRequest) {
    rewards(suite, Role::Administrator).await.create_reward(request).await.unwrap();
}

impl Suite {
    async fn exported(&self, program: &str, version: i64) -> String {
        let request = pb::ExportProgramRequest { version: format!("{program}/versions/{version}"), ..export(program) };
        self.administrator().export_program(request).await.unwrap().into_inner().content
    }

    async fn taken_in(&self, content: &str) -> pb::ImportProgramResponse {
        self.administrator().import_program(import(COFFEE, content)).await.unwrap().into_inner()
    }
}

async fn a_program_goes_through_a_file_unchanged(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rich()).await;
    created(&suite, create("mug", 100)).await;
    created(&suite, create_with("cup", 50, |terms| terms.stock = Some(7))).await;
    created(&suite, create("gone", 50)).await;
    rewards(&suite, Role::Administrator).await.retire_reward(retire("gone")).await.unwrap();
    let file = suite.exported(TEA, 1).await;
    assert!(!file.contains("programs/") && !file.contains("gone"), "{file}");
    let done = suite.taken_in(&file).await;
    assert_eq!(
        (done.created_rewards, done.unchanged_rewards, done.different_rewards),
        (vec!["cup".to_owned(), "mug".to_owned()], vec![], vec![])
    );
    let draft = done.version.unwrap();
    assert_eq!((draft.name.as_str(), draft.state()), ("programs/coffee/versions/1", State::Draft));
    assert_eq!(draft.terms.unwrap().earn_rates[0].stores, [format!("{COFFEE}/stores/one"), format!("{COFFEE}/stores/two")]);
    // What is the same is the same file, and nothing in it is news.
    assert_eq!(suite.exported(COFFEE, 1).await, file);
    let again = suite.taken_in(&file).await;
    assert_eq!(
        (again.created_rewards, again.unchanged_rewards.len(), again.version.unwrap().name),
        (vec![], 2, format!("{COFFEE}/versions/2"))
    );
    let cup = pb::GetRewardRequest { name: format!("{COFFEE}/rewards/cup") };
    let cup = rewards(&suite, Role::Administrator).await.get_reward(cup).await.unwrap().into_inner();
    assert_eq!((cup.stock, cup.stock_left), (Some(0), Some(0)), "what is limited has none at first");
    suite.verified().await;
}

async fn what_is_taken_in_does_not_hold(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let other = pb::Terms { points_per_unit: "7".to_owned(), ..terms() };
    suite.administrator().create_program_version(new_draft(other)).await.unwrap();
    let file = suite.exported(TEA, 2).await;
    let draft = suite.administrator().import_program(import(TEA, &file)).await.unwrap().into_inner().version.unwrap();
    assert_eq!((draft.name.as_str(), draft.state(), draft.start_time), ("programs/tea/versions/3", State::Draft, None));
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 1);
    suite.administrator().schedule_program_version(schedule(&draft.name, None)).await.unwrap();
    assert_eq!(suite.award(1, "p2", 100).await.actual_points, 7);
    // What holds now is what is exported when nothing is named.
    let held = suite.administrator().export_program(export(TEA)).await.unwrap().into_inner();
    assert_eq!((held.version, held.content), (draft.name, file));
    suite.verified().await;
}

async fn rewards_that_differ_stay_as_they_are(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for id in ["dearer", "retired", "same"] {
        created(&suite, create(id, 100)).await;
    }
    let file = suite.exported(TEA, 1).await;
    let there = |request: pb::CreateRewardRequest| pb::CreateRewardRequest { parent: COFFEE.to_owned(), ..request };
    let mut catalogue = rewards(&suite, Role::Administrator).await;
    for request in [create("dearer", 101), create("retired", 100), create("same", 100)] {
        catalogue.create_reward(there(request)).await.unwrap();
    }
    let name = format!("{COFFEE}/rewards/retired");
    catalogue.retire_reward(pb::RetireRewardRequest { name, ..retire("retired") }).await.unwrap();
    let done = suite.taken_in(&file).await;
    assert_eq!(done.different_rewards, ["dearer", "retired"]);
    assert_eq!((done.created_rewards, done.unchanged_rewards), (vec![], vec!["same".to_owned()]));
    let dearer = catalogue.get_reward(pb::GetRewardRequest { name: format!("{COFFEE}/rewards/dearer") }).await.unwrap().into_inner();
    assert_eq!(dearer.terms.unwrap().cost_points, 101);
    suite.stop().await;
}

async fn a_dry_run_does_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    created(&suite, create("mug", 100)).await;
    let file = suite.exported(TEA, 1).await;
    let request = pb::ImportProgramRequest { dry_run: true, ..import(COFFEE, &file) };
    let told = suite.administrator().import_program(request.clone()).await.unwrap().into_inner();
    assert_eq!((told.version, told.created_rewards), (None, vec!["mug".to_owned()]));
    let listed = pb::ListProgramVersionsRequest { parent: COFFEE.to_owned(), ..Default::default() };
    assert!(suite.platform().list_program_versions(listed).await.unwrap().into_inner().versions.is_empty());
    // It is not remembered: the same id can be used for the run that counts.
    let done = suite.administrator().import_program(pb::ImportProgramRequest { dry_run: false, ..request }).await.unwrap();
    assert!(!replayed(&done) && done.get_ref().version.is_some());
    assert_eq!(done.get_ref().created_rewards, ["mug"]);
    suite.stop().await;
}

async fn a_file_is_taken_in_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    created(&suite, create("mug", 100)).await;
    let request = import(COFFEE, &suite.exported(TEA, 1).await);
    let sent = (0..4).map(|_| {
        let (mut administrator, request) = (suite.administrator(), request.clone());
        async move { administrator.import_program(request).await.unwrap().into_inner() }
    });
    let answers = futures::future::join_all(sent).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let listed = pb::ListProgramVersionsRequest { parent: COFFEE.to_owned(), ..Default::default() };
    assert_eq!(suite.platform().list_program_versions(listed).await.unwrap().into_inner().versions.len(), 1);
    // Two files at once make two drafts, and the reward is created by one of them.
    let file = suite.exported(TEA, 1).await.clone();
    let sent = (0..4).map(|_| {
        let (mut administrator, request) = (suite.administrator(), import(COFFEE, &file));
        async move { administrator.import_program(request).await.unwrap().into_inner().version.unwrap().name }
    });
    let mut names = futures::future::join_all(sent).await;
    names.sort();
    assert_eq!(names, (2..=5).map(|number| format!("{COFFEE}/versions/{number}")).collect::<Vec<_>>());
    suite.stop().await;
}

async fn a_file_of_another_zone_is_taken_in_knowingly(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for time_zone in ["Europe/Berlin", ""] {
        let file = written(pb::ProgramFile { time_zone: time_zone.to_owned(), ..plain_file() });
        let refused = suite.administrator().import_program(import(TEA, &file)).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().metadata["expected"], "Asia/Shanghai");
        assert_eq!(refusal(Err::<(), _>(refused)), (Code::InvalidArgument, "TIME_ZONE_MISMATCH".to_owned()));
        let knowingly = pb::ImportProgramRequest { other_time_zone: true, ..import(TEA, &file) };
        suite.administrator().import_program(knowingly).await.unwrap();
    }
    // The draft is exported with the zone in which it would hold.
    assert!(suite.exported(TEA, 2).await.contains("\"timeZone\": \"Asia/Shanghai\""));
    suite.stop().await;
}

async fn a_file_that_was_touched_is_refused(engine: TestEngine) {
    let suite = Suite::with_terms(engine, rich()).await;
    let file = suite.exported(TEA, 1).await;
    let refused = async |content: String| refusal(suite.administrator().import_program(import(COFFEE, &content)).await);
    let reason = |reason: &str| (Code::InvalidArgument, reason.to_owned());
    assert_eq!(refused(file.replace("\"2.5\"", "\"25\"")).await, reason("PROGRAM_FILE_DIGEST"));
    assert_eq!(refused(file.replace("stores/one", "stores/three")).await, reason("PROGRAM_FILE_DIGEST"));
    assert_eq!(refused(file.replace("\"formatVersion\": 1", "\"formatVersion\": 9")).await, reason("PROGRAM_FILE_FORMAT"));
    assert_eq!(refused(file.replace("\"basis\"", "\"base\"")).await, reason("PROGRAM_FILE_UNREADABLE"));
    assert_eq!(refused(file.replace("BASIS_WITH_TAX", "BASIS_OF_NOTHING")).await, reason("PROGRAM_FILE_UNREADABLE"));
    assert_eq!(refused(file[1..].to_owned()).await, reason("PROGRAM_FILE_UNREADABLE"));
    suite.stop().await;
}

/// Whoever makes a file himself, with its digest, is checked all the same.
async fn a_file_is_checked_like_any_request(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let cup = pb::program_file::CatalogueReward { reward_id: "cup".to_owned(), terms: create("cup", 100).terms };
    let send = async |change: &dyn Fn(&mut pb::ProgramFile)| {
        let mut file = pb::ProgramFile { rewards: vec![cup.clone()], ..plain_file() };
        change(&mut file);
        suite.administrator().import_program(import(TEA, &written(file))).await
    };
    send(&|_| {}).await.unwrap();
    assert_eq!(refusal(send(&|file| file.currency_code = "EUR".to_owned()).await), (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned()));
    let terms_of = |file: &mut pb::ProgramFile, change: &dyn Fn(&mut pb::Terms)| change(file.terms.as_mut().unwrap());
    assert_eq!(wrong_fields(send(&|file| file.terms = None).await), ["content.terms"]);
    assert_eq!(wrong_fields(send(&|file| terms_of(file, &|terms| terms.rounding = 0)).await), ["content.terms.rounding"]);
    assert_eq!(
        wrong_fields(send(&|file| terms_of(file, &|terms| terms.points_per_unit = "1000001".to_owned())).await),
        ["content.terms.points_per_unit"]
    );
    let elsewhere = |terms: &mut pb::Terms| {
        let stores = vec![format!("{COFFEE}/stores/one")];
        terms.earn_rates = vec![pb::EarnRate { rate_id: "r".to_owned(), points_per_unit: "1".to_owned(), stores, ..Default::default() }];
    };
    assert_eq!(wrong_fields(send(&|file| terms_of(file, &elsewhere)).await), ["content.terms.earn_rates[0].stores[0]"]);
    assert_eq!(wrong_fields(send(&|file| file.rewards[0].reward_id = "A cup".to_owned()).await), ["content.rewards[0].reward_id"]);
    assert_eq!(wrong_fields(send(&|file| file.rewards[0].terms = None).await), ["content.rewards[0].terms"]);
    let costless = |file: &mut pb::ProgramFile| file.rewards[0].terms.as_mut().unwrap().cost_points = 0;
    assert_eq!(wrong_fields(send(&costless).await), ["content.rewards[0].terms.cost_points"]);
    suite.stop().await;
}
