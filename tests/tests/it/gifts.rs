//! Gifts by themselves, from the members service to the books, through `kill -9`: everybody gets each of them once.

use std::time::Duration;

use futures::StreamExt;
use kernel::{Clock, SystemClock, Zone};
use persistence::{Database, Keyring};
use proto::common::Money;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{BirthDate, EnrollMemberRequest, Identity, identity};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::rewards_service_client::RewardsServiceClient;
use proto::points::voucher_terms::{AmountOff, Effect};
use proto::points::{
    CreateRewardRequest, Gift, GrantReason, ListEntriesRequest, ListVouchersRequest, Occasion, RewardAudience, RewardKind, RewardTerms,
    Terms, VoucherTerms, gift, occasion, reward_audience, terms,
};
use testkit::{TestEngine, eventually};

use super::crash::{administrator, id, make_program, platform_key};
use super::process::Process;
use super::suite::{TEA, Wire};

testkit::on_each_engine!(who_joins_gets_each_gift_once_through_kills);

const MEMBERS: usize = 90;
const KILLS: usize = 3;
const CALLERS: usize = 8;

async fn who_joins_gets_each_gift_once_through_kills(engine: TestEngine) {
    let folder = tempfile::TempDir::new().unwrap();
    let mut process = Process::serve(&engine, folder.path()).await;
    let secret = prepare(&process).await;
    let requests: Vec<_> = (0..MEMBERS).map(enrolment).collect();
    for round in 0..KILLS {
        // It dies while members join and their gifts are under way.
        let joining = tokio::spawn(enrol(process.wire(&secret), requests[..MEMBERS * (round + 1) / KILLS].to_vec()));
        tokio::time::sleep(Duration::from_millis(400)).await;
        process.kill().await;
        joining.await.unwrap();
        let ledger = Database::open(&engine.options, "points", points::MIGRATIONS).await.unwrap();
        end_leases(&ledger).await;
        ledger.close().await;
        process = Process::serve(&engine, folder.path()).await;
    }
    let names: Vec<String> = enrol(process.wire(&secret), requests).await.into_iter().map(Option::unwrap).collect();
    let wire = process.wire(&secret);
    for name in &names {
        let had = eventually(|| async {
            let had = had(&wire, name).await;
            if had.0.len() >= 2 && !had.1.is_empty() { Ok(had) } else { Err(had) }
        })
        .await;
        assert_eq!(had, (vec![50, 70], vec![GrantReason::Welcome]));
    }
    // Once more from the start: what is found again is given already.
    process.kill().await;
    let process = Process::serve(&engine, folder.path()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in &names {
        assert_eq!(had(&process.wire(&secret), name).await, (vec![50, 70], vec![GrantReason::Welcome]));
    }
    process.kill().await;

    let ledger = Database::open(&engine.options, "points", points::MIGRATIONS).await.unwrap();
    let keyring = Keyring::from_hex(&std::fs::read_to_string(folder.path().join("master.key")).unwrap()).unwrap();
    let report = points::verify(&ledger, &keyring, |_| {}).await.unwrap();
    assert_eq!((report.differences, report.entries), (Vec::new(), 2 * MEMBERS as u64));
    ledger.close().await;
}

/// What the dead process had taken is due again, a minute early.
async fn end_leases(ledger: &Database) {
    let mut tx = ledger.begin().await.unwrap();
    let now = SystemClock.now();
    for due in tx.due_effects("occasion", now + Duration::from_secs(600), Duration::ZERO, 10_000).await.unwrap() {
        tx.effect_failed(&due.effect.key, due.version, now).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The points of a member's entries, the fewest first, and why he was given vouchers.
async fn had(wire: &Wire, member: &str) -> (Vec<i64>, Vec<GrantReason>) {
    let entries = ListEntriesRequest { parent: member.to_owned(), ..ListEntriesRequest::default() };
    let entries = PointsServiceClient::new(wire.clone()).list_entries(entries).await.unwrap().into_inner().entries;
    let vouchers = ListVouchersRequest { parent: member.to_owned(), ..ListVouchersRequest::default() };
    let vouchers = RewardsServiceClient::new(wire.clone()).list_vouchers(vouchers).await.unwrap().into_inner().vouchers;
    let mut points: Vec<i64> = entries.iter().map(|entry| entry.points).collect();
    points.sort_unstable();
    (points, vouchers.iter().map(|voucher| voucher.grant_reason()).collect())
}

/// Somebody who has his birthday tomorrow, so that midnight may come while the test runs.
fn enrolment(number: usize) -> EnrollMemberRequest {
    let zone = Zone::parse("Asia/Shanghai").unwrap();
    let day = SystemClock.now().date_in(&zone).tomorrow().unwrap();
    let card = identity::Value::Card(format!("card-{number}"));
    EnrollMemberRequest {
        parent: TEA.to_owned(),
        identities: vec![Identity { value: Some(card), region_code: String::new() }],
        birth_date: Some(BirthDate { year: 0, month: day.month().into(), day: day.day().into() }),
        request_id: id(),
        ..EnrollMemberRequest::default()
    }
}

/// The names of those who have joined; `None` where the server was gone.
async fn enrol(wire: Wire, requests: Vec<EnrollMemberRequest>) -> Vec<Option<String>> {
    let join = |request| {
        let mut members = MembersServiceClient::new(wire.clone());
        async move { members.enroll_member(request).await.ok().map(|joined| joined.into_inner().name) }
    };
    futures::stream::iter(requests).map(join).buffered(CALLERS).collect().await
}

/// A program with its gifts; the secret of a platform's key.
async fn prepare(process: &Process) -> String {
    let occasion = |id: &str, when: occasion::When, gives: gift::Gift| Occasion {
        occasion_id: id.to_owned(),
        title: "A gift".to_owned(),
        when: Some(when),
        gives: Some(Gift { gift: Some(gives), wallet: String::new() }),
        members: None,
    };
    let joining = || occasion::When::Joining(occasion::Joining {});
    let terms = Terms {
        points_per_unit: "1".to_owned(),
        rounding: terms::PointRounding::Down.into(),
        return_policy: terms::ReturnPolicy::Unlimited.into(),
        occasions: vec![
            occasion("welcome", joining(), gift::Gift::Points(50)),
            occasion("cup", joining(), gift::Gift::Reward(format!("{TEA}/rewards/cup"))),
            occasion("birthday", occasion::When::Birthday(occasion::Birthday { days_before: 2 }), gift::Gift::Points(70)),
        ],
        ..Terms::default()
    };
    make_program(process, terms).await;
    let amount = Some(Money { currency_code: "CNY".to_owned(), minor_units: 800 });
    let terms = RewardTerms {
        title: "A cup of tea".to_owned(),
        kind: RewardKind::Drink.into(),
        cost_points: 500,
        stock: Some(MEMBERS as i64),
        audience: Some(RewardAudience { who: Some(reward_audience::Who::Everyone(reward_audience::Everyone {})) }),
        voucher: Some(VoucherTerms { effect: Some(Effect::AmountOff(AmountOff { amount })), ..VoucherTerms::default() }),
        ..RewardTerms::default()
    };
    let reward = CreateRewardRequest { parent: TEA.to_owned(), reward_id: "cup".to_owned(), terms: Some(terms), request_id: id() };
    RewardsServiceClient::new(administrator(process)).create_reward(reward).await.unwrap();
    platform_key(process).await
}
