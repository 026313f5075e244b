//! What every RPC answers while the ledger has too much to do, and while its database is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use persistence::{Tx, on_engine};
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::{Code, Status};

use super::super::promotions::promoting;
use super::super::requests::*;
use super::super::suite::*;
use super::player::Player;
use super::relay::Relay;
use super::{kiosk, lines};

testkit::on_each_engine!(changes_are_refused_while_the_queue_is_full, every_call_is_refused_while_the_server_is_full);

pub(super) const SPECIFICATION: &str = include_str!("strained.txt");

/// What a full server answers to every call.
const CROWDED: &str = "RESOURCE_EXHAUSTED OVERLOADED retry=250ms";
/// Members whose calls fill the server; their accounts are in either lane.
const FILLING: std::ops::Range<u128> = 101..117;

async fn changes_are_refused_while_the_queue_is_full(engine: TestEngine) {
    let suite = Suite::configured(engine, |config| {
        config.server.waiting_changes_max = 1;
        config.server.deadline_ms_default = 60_000;
    });
    let mut player = prepared(suite.await).await;
    let held = hold_all(&player.suite).await;
    let mut waiting = Vec::new();
    let (mut members, mut refused) = (FILLING.cycle(), 0);
    // What is not refused waits: after a round in which all were, both lanes are full.
    while refused < FILLING.count() {
        let (mut platform, request) = (player.suite.platform(), redeem(members.next().unwrap(), 1));
        let mut call = tokio::spawn(async move { platform.redeem(request).await.map(|_| ()) });
        match tokio::time::timeout(Duration::from_millis(200), &mut call).await {
            Ok(answer) => {
                assert_eq!(code_and_reason(&answer.unwrap().unwrap_err()), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
                refused += 1;
            }
            Err(_) => {
                waiting.push(call);
                refused = 0;
            }
        }
    }
    // A reservation is over now, so that there is something to settle.
    player.suite.clock.advance(Duration::from_secs(61));
    check(&mut player, 0).await;
    drop(held);
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    player.suite.verified().await;
}

async fn every_call_is_refused_while_the_server_is_full(engine: TestEngine) {
    let calls_max = 4;
    let mut player = prepared(Suite::configured(engine, |config| config.server.concurrent_requests_max = calls_max).await).await;
    let held = hold_all(&player.suite).await;
    let waiting: Vec<_> = FILLING.take(calls_max).map(|member| tokio::spawn(spent(player.suite.platform(), member))).collect();
    // What looks whether it is full takes a place too, for a moment.
    testkit::eventually(async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        player.suite.platform().get_balance(proto::points::GetBalanceRequest { member: member(1), ..Default::default() }).await.is_err()
    })
    .await;
    let mut wrong = Vec::new();
    for (call, _) in strained() {
        let answer = player.play(call).await;
        if answer != CROWDED {
            wrong.push(format!("{call}| {answer}"));
        }
    }
    drop(held);
    for call in waiting {
        call.await.unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    player.suite.verified().await;
}

/// SQLite cannot go: it is in the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_while_the_database_is_gone() {
    let engine = testkit::postgres().await;
    let relay = Relay::start(&engine.options.url).await;
    let mut player = prepared(Suite::configured(engine, |config| config.database.url = relay.url.clone().into()).await).await;
    let before = player.suite.verified().await;
    relay.cut(true);
    player.called();
    check(&mut player, 1).await;
    let service = proto::descriptor_pool().get_service_by_name("regulars.points.v1.PointsService").unwrap();
    let rpcs: BTreeSet<String> = service.methods().map(|rpc| rpc.name().to_owned()).collect();
    assert_eq!(player.called(), rpcs, "every RPC has a line");
    relay.cut(false);
    assert_eq!(player.suite.verified().await.points, before.points, "nothing was done");
    player.suite.award(1, "afterwards", 100).await;
}

/// What there is before it becomes difficult.
async fn prepared(suite: Suite) -> Player {
    let mut player = Player::start(suite).await;
    let kiosk = proto::points::Promotion { start_time: Some(timestamp(player.suite.now() + DAY)), ..kiosk() };
    player.suite.new_terms(promoting(&[kiosk]), player.suite.now()).await;
    for member in FILLING {
        player.suite.award(member, &format!("for-{member}"), 1_000).await;
    }
    for (line, (call, answers)) in lines(SPECIFICATION).filter_map(|line| Some((line, line.split_once('|')?))) {
        if !answers.contains('|') {
            assert_eq!(player.play(call.trim()).await, answers.trim(), "{line}");
        }
    }
    player
}

/// The calls, each with its answers in the two states.
fn strained() -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    lines(SPECIFICATION).filter_map(|line| {
        let mut parts = line.split('|').map(str::trim);
        Some((parts.next()?, [parts.next()?, parts.next()?]))
    })
}

async fn check(player: &mut Player, state: usize) {
    let mut wrong = Vec::new();
    for (call, answers) in strained().filter(|(_, answers)| answers[state] != "-") {
        let answer = player.play(call).await;
        if answer != answers[state] {
            wrong.push(format!("{call} | {}, not {answer}", answers[state]));
        }
    }
    assert!(wrong.is_empty(), "what is specified, and what was answered:\n{}", wrong.join("\n"));
}

/// Holds all accounts, so that whatever changes one waits.
async fn hold_all(suite: &Suite) -> Tx {
    let mut tx = suite.points().await.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("UPDATE accounts SET version = version").execute(conn).await.map(|_| ())).unwrap();
    tx
}

/// Spends a point as soon as there is room for the call.
async fn spent(platform: Client, member: u128) {
    let request = redeem(member, 1);
    testkit::eventually(async || platform.clone().redeem(request.clone()).await.map_err(|status: Status| status.code())).await;
}
