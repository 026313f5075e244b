//! Versions, rates and files that break a rule are refused by the path of each field, and change nothing.

use proto::points as pb;
use proto::points::validate_terms_request::What;
use testkit::TestEngine;

use super::input::refuses;
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(changes_of_versions_are_checked, rates_are_checked, files_are_checked);

async fn changes_of_versions_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let moment = || Some(rpc::wire::timestamp(testkit::START));
    let beyond = || Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    refuses!(suite.administrator(), create_program_version, new_draft(terms()),
        "start_time": |r| r.start_time = moment();
        "terms.points_per_unit": |r| r.terms.as_mut().unwrap().points_per_unit = "1000000.1".to_owned();
    );
    let version = format!("{TEA}/versions/1");
    refuses!(suite.administrator(), schedule_program_version, schedule(&version, None),
        "name": |r| r.name.clear();
        "name": |r| r.name = TEA.to_owned();
        "start_time": |r| r.start_time = beyond();
        "request_id": |r| r.request_id = "a b".to_owned();
    );
    refuses!(suite.administrator(), retire_program_version, give_up(&version),
        "name": |r| r.name.clear();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(suite.administrator(), roll_back_program, roll_back(&version),
        "version": |r| r.version.clear();
        "request_id": |r| r.request_id.clear();
    );
    let validate = || pb::ValidateTermsRequest { parent: TEA.to_owned(), what: Some(What::Version(version.clone())), start_time: moment() };
    refuses!(suite.administrator(), validate_terms, validate(),
        "parent": |r| r.parent.clear();
        "what": |r| r.what = None;
        "version": |r| r.what = Some(What::Version("programs/coffee/versions/1".to_owned()));
        "terms.rounding": |r| r.what = Some(What::Terms(pb::Terms { rounding: 0, ..terms() }));
        "start_time": |r| r.start_time = beyond();
    );
    suite.stop().await;
}

async fn rates_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let coffee = || Some(pb::LineFilter { categories: vec!["coffee".to_owned()], ..pb::LineFilter::default() });
    let rate = |id: &str, lines: Option<pb::LineFilter>| pb::EarnRate {
        rate_id: id.to_owned(),
        points_per_unit: "2".to_owned(),
        lines,
        ..pb::EarnRate::default()
    };
    let named = |id: &str| rate(id, coffee());
    let one = |r: &mut pb::CreateProgramVersionRequest, rate: pb::EarnRate| r.terms.as_mut().unwrap().earn_rates = vec![rate];
    refuses!(suite.administrator(), create_program_version, new_version(terms()),
        "terms.basis": |r| r.terms.as_mut().unwrap().basis = 9;
        "terms.activate_on.event": |r| {
            let terms = r.terms.as_mut().unwrap();
            terms.activities = vec![pb::ActivityTerms { approval: Some(pb::Approval::default()), ..earns("share", 5) }];
            terms.activate_on = Some(pb::ActivateOn { event: "share".to_owned(), cancel_after: None });
        };
        "terms.earn_rates": |r| r.terms.as_mut().unwrap().earn_rates = (0..101).map(|number| named(&format!("r{number}"))).collect();
        "terms.earn_rates[0].rate_id": |r| one(r, named("Coffee"));
        "terms.earn_rates[1].rate_id": |r| r.terms.as_mut().unwrap().earn_rates = vec![named("coffee"); 2];
        "terms.earn_rates[0].points_per_unit": |r| one(r, pb::EarnRate { points_per_unit: "-1".to_owned(), ..named("c") });
        "terms.earn_rates[0].points_per_unit": |r| one(r, pb::EarnRate { points_per_unit: "1000001".to_owned(), ..named("c") });
        "terms.earn_rates[0].lines": |r| one(r, rate("c", None));
        "terms.earn_rates[0].lines": |r| one(r, rate("c", Some(pb::LineFilter::default())));
        "terms.earn_rates[0].lines.quantity_min": |r| one(r, rate("c", Some(pb::LineFilter { quantity_min: 2, ..coffee().unwrap() })));
        "terms.earn_rates[0].stores[0]": |r| one(r, pb::EarnRate { stores: vec!["s1".to_owned()], ..named("c") });
        "terms.earn_rates[0].channels[0]": |r| one(r, pb::EarnRate { channels: vec!["A B".to_owned()], ..named("c") });
    );
    // They are kept as they were told.
    let whole = pb::Terms { earn_rates: vec![named("coffee")], basis: pb::terms::Basis::WithTax.into(), ..terms() };
    assert_eq!(suite.new_terms(whole.clone(), testkit::START).await.terms, Some(whole));
    suite.stop().await;
}

async fn files_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    refuses!(suite.administrator(), export_program, export(TEA),
        "parent": |r| r.parent.clear();
        "version": |r| r.version = TEA.to_owned();
        "version": |r| r.version = "programs/coffee/versions/1".to_owned();
    );
    refuses!(suite.administrator(), import_program, import(TEA, &written(plain_file())),
        "parent": |r| r.parent.clear();
        "content": |r| r.content.clear();
        "request_id": |r| r.request_id.clear();
    );
    suite.stop().await;
}
