//! `kill -9` under load: what was acknowledged is there, what was not is there once or not at all, and the books are right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use kernel::{Ids, RandomIds};
use persistence::{Database, Keyring};
use proto::common::{Money, Role};
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest};
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{EnrollMemberRequest, Identity, identity};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{AwardRequest, CreateProgramVersionRequest, EntryKind, ListEntriesRequest, Operation, PurchaseInput, Terms, terms};
use proto::tiers::tiers_service_client::TiersServiceClient;
use proto::tiers::{
    Basis, CreateSchemeRequest, Downgrade, GetMemberTierRequest, Level, Lifetime, OnReturn, QualifyingPeriod, Scheme, Validity,
    qualifying_period, validity,
};
use testkit::{TestEngine, eventually};
use tonic::Response;

use super::process::Process;
use super::suite::{TEA, Wire};

testkit::on_each_engine!(what_was_acknowledged_survives_a_kill);

pub(super) const MEMBERS: usize = 6;
pub(super) const CALLERS: usize = 24;

/// Kills, and how long the load goes on before each. REGULARS_TEST_LONG=1 takes longer.
pub(super) fn rounds() -> (usize, Duration) {
    match std::env::var("REGULARS_TEST_LONG") {
        Ok(_) => (20, Duration::from_secs(3)),
        Err(_) => (2, Duration::from_millis(700)),
    }
}

/// An award that a till has written down before it sent it, and the answer if there was one.
struct Sent {
    request: AwardRequest,
    answer: Option<Operation>,
}

async fn what_was_acknowledged_survives_a_kill(engine: TestEngine) {
    let folder = tempfile::TempDir::new().unwrap();
    let mut process = Process::serve(&engine, folder.path()).await;
    make_program(&process, plain()).await;
    make_scheme(&process).await;
    let secret = platform_key(&process).await;
    let members = enrol(&process.wire(&secret)).await;
    let (kills, load) = rounds();
    let mut sent: Vec<Sent> = Vec::new();
    for _ in 0..kills {
        let callers: Vec<_> =
            (0..CALLERS).map(|caller| tokio::spawn(award_until_killed(process.wire(&secret), members[caller % MEMBERS].clone()))).collect();
        tokio::time::sleep(load).await;
        process.kill().await;
        let mut round = Vec::new();
        for caller in callers {
            round.extend(caller.await.unwrap());
        }
        assert!(round.iter().any(|sent| sent.answer.is_some()), "something was acknowledged");
        assert!(round.iter().any(|sent| sent.answer.is_none()), "it was killed at work");
        process = Process::serve(&engine, folder.path()).await;
        replay(&process.wire(&secret), &mut round).await;
        sent.extend(round);
    }
    // Also those of the rounds before, in the last process.
    replay(&process.wire(&secret), &mut sent).await;

    let mut expected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for Sent { request, .. } in &sent {
        let purchase = format!("{TEA}/purchases/{}", request.purchase.as_ref().unwrap().purchase_id);
        expected.entry(&request.member).or_default().insert(purchase);
    }
    for member in &members {
        let entries = entries(&process.wire(&secret), member).await;
        let purchases: Vec<&String> = entries.iter().map(|(purchase, _)| purchase).collect();
        assert_eq!(purchases.len(), expected[&**member].len(), "each purchase is in the books once");
        assert!(expected[&**member].iter().eq(BTreeSet::from_iter(purchases)), "and there is no other");
        let points: i64 = entries.iter().map(|(_, points)| points).sum();
        tiers_know(&process.wire(&secret), member, points).await;
    }
    process.kill().await;

    let ledger = Database::open(&engine.options, "points", points::MIGRATIONS).await.unwrap();
    let keyring = Keyring::from_hex(&std::fs::read_to_string(folder.path().join("master.key")).unwrap()).unwrap();
    let report = points::verify(&ledger, &keyring, |_| {}).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.accounts, report.entries), (MEMBERS as u64, sent.len() as u64));
    ledger.close().await;
}

/// Awards one after the other until the server is gone.
async fn award_until_killed(wire: Wire, member: String) -> Vec<Sent> {
    let mut points = PointsServiceClient::new(wire);
    let mut sent = Vec::new();
    loop {
        let request = award(&member, i64::try_from(sent.len()).unwrap() % 7 + 1);
        match points.award(request.clone()).await {
            Ok(answer) => sent.push(Sent { request, answer: Some(answer.into_inner()) }),
            Err(_) => {
                sent.push(Sent { request, answer: None });
                return sent;
            }
        }
    }
}

/// Sends every award again: what had been answered is answered the same, and the rest is done now if it was not.
async fn replay(wire: &Wire, sent: &mut [Sent]) {
    let points = PointsServiceClient::new(wire.clone());
    let mut replays = futures::stream::iter(sent)
        .map(|sent| {
            let mut points = points.clone();
            async move {
                let again = points.award(sent.request.clone()).await.unwrap();
                let replayed = is_replay(&again);
                let again = again.into_inner();
                if let Some(first) = &sent.answer {
                    assert!(replayed, "an acknowledged award was lost: {:?}", sent.request);
                    assert_eq!(again, *first);
                }
                sent.answer = Some(again);
            }
        })
        .buffer_unordered(CALLERS);
    while replays.next().await.is_some() {}
}

pub(super) fn is_replay<T>(answer: &Response<T>) -> bool {
    answer.metadata().contains_key("regulars-replayed")
}

/// The purchase and the points of each award in a member's books.
async fn entries(wire: &Wire, member: &str) -> Vec<(String, i64)> {
    let mut points = PointsServiceClient::new(wire.clone());
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEntriesRequest { parent: member.to_owned(), page_size: 1000, page_token };
        let page = points.list_entries(request).await.unwrap().into_inner();
        assert!(page.entries.iter().all(|entry| entry.kind() == EntryKind::Award));
        found.extend(page.entries.into_iter().map(|entry| (entry.purchase, entry.points)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// Waits until tiers has counted every purchase, once each: it was killed too.
async fn tiers_know(wire: &Wire, member: &str, points: i64) {
    let tiers = TiersServiceClient::new(wire.clone());
    eventually(|| async {
        let request = GetMemberTierRequest { name: format!("{member}/tiers/status") };
        let tier = tiers.clone().get_member_tier(request).await.unwrap().into_inner();
        if tier.qualifying_points == points { Ok(()) } else { Err((tier.qualifying_points, points)) }
    })
    .await;
}

pub(super) fn award(member: &str, units: i64) -> AwardRequest {
    let purchase = PurchaseInput {
        purchase_id: id(),
        net: Some(Money { currency_code: "CNY".to_owned(), minor_units: units * 100 }),
        ..PurchaseInput::default()
    };
    AwardRequest { parent: TEA.to_owned(), member: member.to_owned(), purchase: Some(purchase), historical: false, request_id: id() }
}

/// A point for a unit.
pub(super) fn plain() -> Terms {
    Terms {
        points_per_unit: "1".to_owned(),
        rounding: terms::PointRounding::Down.into(),
        return_policy: terms::ReturnPolicy::Unlimited.into(),
        ..Terms::default()
    }
}

pub(super) fn administrator(process: &Process) -> Wire {
    process.wire(process.administrator.as_ref().expect("the first start tells it"))
}

/// The program with its terms.
pub(super) async fn make_program(process: &Process, terms: Terms) {
    let administrator = administrator(process);
    let mut directory = DirectoryServiceClient::new(administrator.clone());
    let program = CreateProgramRequest {
        program_id: "tea".to_owned(),
        display_name: "Tea".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency_code: "CNY".to_owned(),
        request_id: id(),
    };
    directory.create_program(program).await.unwrap();
    let version =
        CreateProgramVersionRequest { parent: TEA.to_owned(), terms: Some(terms), start_time: None, draft: false, request_id: id() };
    PointsServiceClient::new(administrator).create_program_version(version).await.unwrap();
}

async fn make_scheme(process: &Process) {
    let lifetime = QualifyingPeriod { kind: Some(qualifying_period::Kind::Lifetime(Lifetime {})) };
    let scheme = Scheme {
        display_name: "Status".to_owned(),
        basis: Basis::QualifyingPoints.into(),
        period: Some(lifetime),
        validity: Some(Validity { kind: Some(validity::Kind::EndOfPeriod(Default::default())) }),
        downgrade: Downgrade::None.into(),
        on_return: OnReturn::Keep.into(),
        levels: vec![Level { id: "all".to_owned(), display_name: "All".to_owned(), threshold: Some(0), multiplier: "1".to_owned() }],
        ..Scheme::default()
    };
    let scheme = CreateSchemeRequest { parent: TEA.to_owned(), scheme_id: "status".to_owned(), scheme: Some(scheme), request_id: id() };
    TiersServiceClient::new(administrator(process)).create_scheme(scheme).await.unwrap();
}

/// The secret of a platform's key.
pub(super) async fn platform_key(process: &Process) -> String {
    let key = CreateApiKeyRequest {
        display_name: "back end".to_owned(),
        role: Role::Platform.into(),
        programs: Vec::new(),
        terminal: String::new(),
        request_id: id(),
    };
    DirectoryServiceClient::new(administrator(process)).create_api_key(key).await.unwrap().into_inner().secret
}

async fn enrol(wire: &Wire) -> Vec<String> {
    let mut members = MembersServiceClient::new(wire.clone());
    let mut names = Vec::new();
    for number in 0..MEMBERS {
        let card = identity::Value::Card(format!("card-{number}"));
        let request = EnrollMemberRequest {
            parent: TEA.to_owned(),
            identities: vec![Identity { value: Some(card), region_code: String::new() }],
            request_id: id(),
            ..EnrollMemberRequest::default()
        };
        names.push(members.enroll_member(request).await.unwrap().into_inner().name);
    }
    names
}

pub(super) fn id() -> String {
    RandomIds.uuid().to_string()
}
