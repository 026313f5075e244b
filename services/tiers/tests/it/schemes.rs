//! Setting schemes up.

use proto::common::{CalendarPeriod, Role, calendar_period::Unit};
use proto::tiers as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::suite::*;

testkit::on_each_engine!(
    a_scheme_is_made_once,
    bad_schemes_are_refused_by_field,
    an_update_is_a_new_version,
    a_new_version_reaches_everybody,
    purchases_before_the_scheme_count,
    schemes_page,
);

async fn a_scheme_is_made_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    let request = create(scheme());
    let made = client.create_scheme(request.clone()).await.unwrap().into_inner();
    assert_eq!((made.name.as_str(), made.version), (SCHEME, 1));
    assert_eq!((made.create_time, made.start_time), (Some(timestamp(START)), Some(timestamp(START))));
    assert_eq!(made.levels[1].multiplier, "1.5", "without trailing zeros");

    suite.clock.advance(DAY);
    let again = client.create_scheme(request.clone()).await.unwrap();
    assert!(again.metadata().contains_key("regulars-replayed"));
    assert_eq!(again.into_inner(), made);
    let other = pb::CreateSchemeRequest { scheme_id: "other".to_owned(), ..request };
    assert_eq!(refused(client.create_scheme(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(refused(client.create_scheme(create(scheme())).await), (Code::AlreadyExists, "SCHEME_EXISTS".to_owned()));
    let elsewhere = pb::CreateSchemeRequest { parent: "programs/mate".to_owned(), ..create(scheme()) };
    assert_eq!(refused(client.create_scheme(elsewhere).await), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));
    let read = client.get_scheme(pb::GetSchemeRequest { name: SCHEME.to_owned(), version: 0 }).await.unwrap().into_inner();
    assert_eq!(read, made);
    for name in ["programs/tea/schemes/none", "programs/coffee/schemes/status"] {
        let request = pb::GetSchemeRequest { name: name.to_owned(), version: 0 };
        assert_eq!(refused(client.get_scheme(request).await), (Code::NotFound, "SCHEME_NOT_FOUND".to_owned()));
    }
}

async fn bad_schemes_are_refused_by_field(engine: TestEngine) {
    use pb::{qualifying_period, validity};
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    let rolling = |months| Some(pb::QualifyingPeriod { kind: Some(qualifying_period::Kind::RollingMonths(months)) });
    let lifetime = Some(pb::QualifyingPeriod { kind: Some(qualifying_period::Kind::Lifetime(pb::Lifetime {})) });
    let held = |length| Some(pb::Validity { kind: Some(validity::Kind::Length(length)) });
    let days = |count| CalendarPeriod { count, unit: Unit::Day.into() };
    let levels =
        |levels: &[(&str, Option<i64>, &str)]| levels.iter().map(|&(id, threshold, multiplier)| level(id, threshold, multiplier)).collect();
    let cases: Vec<(&str, pb::Scheme)> = vec![
        ("scheme.levels", pb::Scheme { levels: vec![], ..scheme() }),
        ("scheme.levels", pb::Scheme { levels: vec![level("a", None, "1"); 21], ..scheme() }),
        ("scheme.levels[1].threshold", pb::Scheme { levels: levels(&[("a", Some(5), "1"), ("b", Some(5), "1")]), ..scheme() }),
        (
            "scheme.levels[2].threshold",
            pb::Scheme { levels: levels(&[("a", Some(5), "1"), ("b", None, "1"), ("c", Some(4), "1")]), ..scheme() },
        ),
        ("scheme.levels[0].threshold", pb::Scheme { levels: levels(&[("a", Some(-1), "1")]), ..scheme() }),
        ("scheme.levels[1].id", pb::Scheme { levels: levels(&[("a", Some(5), "1"), ("a", Some(6), "1")]), ..scheme() }),
        ("scheme.levels[0].id", pb::Scheme { levels: levels(&[("Gold", Some(5), "1")]), ..scheme() }),
        ("scheme.levels[0].multiplier", pb::Scheme { levels: levels(&[("a", Some(5), "10.001")]), ..scheme() }),
        ("scheme.levels[0].multiplier", pb::Scheme { levels: levels(&[("a", Some(5), "1.2345")]), ..scheme() }),
        ("scheme.levels[0].multiplier", pb::Scheme { levels: levels(&[("a", Some(5), "-1")]), ..scheme() }),
        ("scheme.levels[0].multiplier", pb::Scheme { levels: levels(&[("a", Some(5), "1e1")]), ..scheme() }),
        ("scheme.levels[0].multiplier", pb::Scheme { levels: levels(&[("a", Some(5), "")]), ..scheme() }),
        (
            "scheme.levels[0].display_name",
            pb::Scheme { levels: vec![pb::Level { display_name: String::new(), ..level("a", None, "1") }], ..scheme() },
        ),
        ("scheme.display_name", pb::Scheme { display_name: String::new(), ..scheme() }),
        ("scheme.basis", pb::Scheme { basis: 0, ..scheme() }),
        ("scheme.basis", pb::Scheme { basis: 99, ..scheme() }),
        ("scheme.downgrade", pb::Scheme { downgrade: 0, ..scheme() }),
        ("scheme.on_return", pb::Scheme { on_return: 0, ..scheme() }),
        ("scheme.period", pb::Scheme { period: None, ..scheme() }),
        ("scheme.period.kind", pb::Scheme { period: Some(pb::QualifyingPeriod::default()), ..scheme() }),
        ("scheme.period.rolling_months", pb::Scheme { period: rolling(0), ..scheme() }),
        ("scheme.period.rolling_months", pb::Scheme { period: rolling(121), ..scheme() }),
        ("scheme.validity", pb::Scheme { validity: None, ..scheme() }),
        ("scheme.validity.length.count", pb::Scheme { validity: held(months(0)), ..scheme() }),
        ("scheme.validity.length.unit", pb::Scheme { validity: held(CalendarPeriod { count: 1, unit: 0 }), ..scheme() }),
        ("scheme.validity.length", pb::Scheme { period: rolling(12), validity: held(months(11)), ..scheme() }),
        ("scheme.validity.length", pb::Scheme { period: rolling(12), validity: held(days(371)), ..scheme() }),
        ("scheme.validity.length", pb::Scheme { period: lifetime, validity: held(months(12)), ..scheme() }),
        ("scheme.grace", pb::Scheme { grace: Some(months(12)), ..scheme() }),
        ("scheme.grace.count", pb::Scheme { grace: Some(months(-1)), ..scheme() }),
    ];
    for (field, bad) in cases {
        let wrong = wrong_fields(client.create_scheme(create(bad.clone())).await);
        assert_eq!(wrong.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), [field], "{bad:?}");
        assert!(!wrong[0].1.is_empty());
    }
    let no_scheme = pb::CreateSchemeRequest { scheme: None, ..create(scheme()) };
    assert_eq!(wrong_fields(client.create_scheme(no_scheme).await)[0].0, "scheme");
    let bad_id = pb::CreateSchemeRequest { scheme_id: "9".to_owned(), ..create(scheme()) };
    assert_eq!(wrong_fields(client.create_scheme(bad_id).await)[0].0, "scheme_id");
    // Several faults are told at once.
    let bad = pb::Scheme { levels: levels(&[("a", Some(5), "11"), ("a", Some(5), "12")]), ..scheme() };
    assert_eq!(wrong_fields(client.create_scheme(create(bad)).await).len(), 4);
    assert!(
        client
            .list_schemes(pb::ListSchemesRequest { parent: PROGRAM.to_owned(), ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .schemes
            .is_empty()
    );
}

fn update(scheme: pb::Scheme, paths: &[&str]) -> pb::UpdateSchemeRequest {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    pb::UpdateSchemeRequest { scheme: Some(scheme), update_mask: Some(prost_types::FieldMask { paths }), request_id: request_id() }
}

async fn an_update_is_a_new_version(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    let first = suite.create_scheme(scheme()).await;
    suite.clock.advance(DAY);
    let others = vec![level("a", Some(5), "1")];
    let change = pb::Scheme { display_name: "New".to_owned(), levels: others, grace: Some(months(1)), ..first.clone() };
    let request = update(change.clone(), &["display_name", "grace"]);
    let second = client.update_scheme(request.clone()).await.unwrap().into_inner();
    assert_eq!((second.version, second.display_name.as_str(), second.grace), (2, "New", Some(months(1))));
    assert_eq!((&second.levels, second.create_time, second.start_time), (&first.levels, first.create_time, Some(timestamp(START + DAY))));
    let again = client.update_scheme(request).await.unwrap();
    assert!(again.metadata().contains_key("regulars-replayed"));
    assert_eq!(again.into_inner(), second);

    let status = client.update_scheme(update(change.clone(), &["display_name"])).await;
    assert_eq!(refused(status), (Code::FailedPrecondition, "SCHEME_CHANGED".to_owned()));
    let unchecked = pb::Scheme { version: 0, ..change };
    for path in ["name", "version", "start_time", "levels.id", "*"] {
        assert_eq!(wrong_fields(client.update_scheme(update(unchecked.clone(), &[path])).await)[0].0, "update_mask");
    }
    let faulty = pb::Scheme { levels: vec![level("a", Some(5), "1"), level("b", Some(1), "1")], ..unchecked.clone() };
    assert_eq!(wrong_fields(client.update_scheme(update(faulty, &["levels"])).await)[0].0, "scheme.levels[1].threshold");
    let nobody = pb::Scheme { name: "programs/tea/schemes/none".to_owned(), ..scheme() };
    assert_eq!(refused(client.update_scheme(update(nobody, &[])).await), (Code::NotFound, "SCHEME_NOT_FOUND".to_owned()));
    for (version, expected) in [(1, Some(&first)), (2, Some(&second)), (0, Some(&second)), (3, None)] {
        let read = client.get_scheme(pb::GetSchemeRequest { name: SCHEME.to_owned(), version }).await;
        assert_eq!(read.ok().map(tonic::Response::into_inner).as_ref(), expected);
    }
}

async fn a_new_version_reaches_everybody(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    for (member, points) in [(1, 300), (2, 120), (3, 10)] {
        suite.buy(member, &format!("p{member}"), points, START).await;
    }
    suite.clock.advance(DAY);
    let mut client = suite.client(Role::Administrator).await;
    let easier = vec![level("silver", Some(200), "1.3"), level("gold", Some(300), "1.5")];
    let change = pb::Scheme { name: SCHEME.to_owned(), levels: easier, ..scheme() };
    client.update_scheme(update(change, &["levels"])).await.unwrap();
    testkit::eventually(async || suite.log(1).await.len() == 2 && suite.log(2).await.len() == 2).await;
    assert_eq!(suite.story(1).await[1], "UPGRADED silver>gold 2026-01-16 2028-01-01");
    // A raised threshold takes nothing before the validity ends; the new multiplier holds at once.
    assert_eq!(suite.story(2).await[1], "PROLONGED silver>silver 2026-01-16 2028-01-01");
    let log = suite.log(2).await;
    assert_eq!((log[1].multiplier.as_str(), log[1].scheme_version), ("1.3", 2));
    assert_eq!((log[1].cause(), log[1].cause_name.as_str()), (pb::tier_transition::Cause::Scheme, SCHEME));
    assert_eq!(suite.tier(2).await.start_time, Some(timestamp(START)));
    assert!(suite.log(3).await.is_empty());
    // A level that is left out ends at once.
    let gold_only = pb::Scheme { name: SCHEME.to_owned(), levels: vec![level("gold", Some(300), "1.5")], ..scheme() };
    client.update_scheme(update(gold_only, &["levels"])).await.unwrap();
    testkit::eventually(async || suite.log(2).await.len() == 3).await;
    assert_eq!(suite.story(2).await[2], "LEFT silver> 2026-01-16 -");
    assert_eq!(suite.log(1).await.len(), 2);
}

async fn purchases_before_the_scheme_count(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for member in 1..=450 {
        suite.tell(member, suite.version(), START - DAY, false, bought(&format!("p{member}"), 100 + 400 * i64::from(member == 7))).await;
    }
    suite.settled().await;
    suite.create_scheme(scheme()).await;
    let holding = pb::ListTierHoldingsRequest { parent: SCHEME.to_owned(), page_size: 1000, ..Default::default() };
    let client = suite.client(Role::Analyst).await;
    let listed = async || client.clone().list_tier_holdings(holding.clone()).await.unwrap().into_inner().holdings;
    testkit::eventually(async || listed().await.len() == 450).await;
    let (_, told) = suite.announced(7, 1).await.remove(0);
    assert_eq!((told.tier.as_str(), told.start_time), ("gold", Some(timestamp(START - DAY))));

    let gold = pb::ListTierHoldingsRequest { level: "gold".to_owned(), ..holding.clone() };
    let gold = client.clone().list_tier_holdings(gold).await.unwrap().into_inner().holdings;
    assert_eq!(gold.iter().map(|holding| holding.name.clone()).collect::<Vec<_>>(), [tier_name(7)]);
    assert_eq!((gold[0].source(), gold[0].start_time), (pb::TierSource::Earned, Some(timestamp(START - DAY))));
    let (mut page_token, mut names) = (String::new(), Vec::new());
    loop {
        let request = pb::ListTierHoldingsRequest { page_size: 77, page_token, ..holding.clone() };
        let page = client.clone().list_tier_holdings(request).await.unwrap().into_inner();
        names.extend(page.holdings.into_iter().map(|holding| holding.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, (1..=450).map(tier_name).collect::<Vec<_>>());
    let nowhere = pb::ListTierHoldingsRequest { parent: "programs/tea/schemes/none".to_owned(), ..holding };
    assert_eq!(refused(client.clone().list_tier_holdings(nowhere).await), (Code::NotFound, "SCHEME_NOT_FOUND".to_owned()));
}

async fn schemes_page(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    for id in ["c", "a", "b"] {
        client.create_scheme(pb::CreateSchemeRequest { scheme_id: id.to_owned(), ..create(scheme()) }).await.unwrap();
    }
    let request = pb::ListSchemesRequest { parent: PROGRAM.to_owned(), page_size: 2, ..Default::default() };
    let first = client.list_schemes(request.clone()).await.unwrap().into_inner();
    let names = |page: &pb::ListSchemesResponse| page.schemes.iter().map(|scheme| scheme.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), ["programs/tea/schemes/a", "programs/tea/schemes/b"]);
    let second = pb::ListSchemesRequest { page_token: first.next_page_token.clone(), ..request.clone() };
    let second = client.list_schemes(second).await.unwrap().into_inner();
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["programs/tea/schemes/c".to_owned()], ""));
    let foreign = pb::ListSchemesRequest { parent: "programs/coffee".to_owned(), page_token: first.next_page_token, ..request };
    assert_eq!(wrong_fields(client.list_schemes(foreign).await)[0].0, "page_token");
}
