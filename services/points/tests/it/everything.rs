//! All commands at once, by many callers at two servers, over days: the books stay clean and every answer stands.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use prost::Message;
use proto::common::Role;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::set_expiry_request::To;
use rpc::Programs;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(everything_at_once_leaves_clean_books);

const CALLERS: u64 = 20;
const ROUNDS: usize = 6;
const STEPS: usize = 8;
const MEMBERS: u64 = 8;

/// A caller with what it has done, from which it chooses what to do next.
struct Caller {
    number: u64,
    random: u64,
    wires: [Wire; 3],
    purchases: Vec<String>,
    redemptions: Vec<(u128, String)>,
    reservations: Vec<String>,
    /// RPC, connection, request and first answer of what was done.
    done: Vec<(&'static str, usize, Vec<u8>, Vec<u8>)>,
    refused: HashMap<String, usize>,
}

impl Caller {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn points(&mut self, bound: u64) -> i64 {
        1 + i64::try_from(self.below(bound)).unwrap()
    }

    fn chosen<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        let bound = u64::try_from(among.len()).unwrap();
        (bound > 0).then(|| among[usize::try_from(self.below(bound)).unwrap()].clone())
    }

    /// The next request; `None` when what it would name is not there.
    fn request(&mut self) -> Option<(&'static str, Role, Vec<u8>)> {
        let owner = u128::from(1 + self.below(MEMBERS));
        let other = 1 + (owner + u128::from(self.below(MEMBERS - 1))) % u128::from(MEMBERS);
        let (platform, support) = (Role::Platform, Role::Support);
        Some(match self.below(24) {
            0..=4 => {
                let id = format!("p{}-{}", self.number, self.purchases.len());
                let paid = self.redemptions.iter().rfind(|(spender, _)| *spender == owner).map(|(_, name)| name.clone());
                let fen = 100 * self.points(200);
                let request = with(award_lines(owner, &id, &[("a", 3, fen), ("b", 1, 500)]), |request| {
                    input(request).redemptions = paid.into_iter().collect();
                });
                self.purchases.push(id);
                ("Award", platform, request.encode_to_vec())
            }
            5 | 6 => ("Redeem", platform, up_to(owner, self.points(90)).encode_to_vec()),
            7 | 8 => {
                let several = self.below(2) == 0;
                let request = with(reserve(owner, self.points(40)), |request| request.several_captures = several);
                ("Reserve", platform, request.encode_to_vec())
            }
            9 | 10 => {
                let held = self.chosen(&self.reservations.clone())?;
                let (points, last) = (self.points(30), self.below(3) == 0);
                ("Capture", platform, with(capture(&held, Some(points)), |request| request.last = last).encode_to_vec())
            }
            11 => ("Release", platform, release(&self.chosen(&self.reservations.clone())?).encode_to_vec()),
            12 => {
                let id = self.chosen(&self.purchases.clone())?;
                ("ReturnPurchase", platform, give_back(&id, &[("a", self.points(2))]).encode_to_vec())
            }
            13 | 14 => {
                let (_, spent) = self.chosen(&self.redemptions.clone())?;
                let points = (self.below(2) == 0).then(|| self.points(20));
                ("RefundRedemption", platform, refund(&spent, points).encode_to_vec())
            }
            15 => ("Adjust", support, adjust(owner, self.points(30) * (1 - 2 * i64::from(self.below(2) == 0))).encode_to_vec()),
            16 => ("AwardActivity", platform, activity(owner, "review", &format!("a{}", self.below(40))).encode_to_vec()),
            17 => ("ActivatePending", platform, activate(owner, "delivered").encode_to_vec()),
            18 => ("CancelPending", platform, cancel(owner, "delivered").encode_to_vec()),
            19 => {
                let to = if self.below(2) == 0 { To::Later(days(2)?) } else { To::Never(true) };
                ("SetExpiry", support, pb::SetExpiryRequest { to: Some(to), ..never_expire(owner) }.encode_to_vec())
            }
            20 => ("ForgiveDeficit", support, forgive(owner, Some(self.points(10))).encode_to_vec()),
            21 => ("Transfer", support, transfer(owner, other, self.points(30)).encode_to_vec()),
            22 => ("MergeAccounts", support, merge(owner, other).encode_to_vec()),
            _ => ("UnmergeAccounts", support, unmerge(owner, other).encode_to_vec()),
        })
    }

    async fn step(&mut self) {
        let Some((rpc, role, message)) = self.request() else { return };
        let wire = if role == Role::Support { 2 } else { usize::try_from(self.below(2)).unwrap() };
        match raw(&self.wires[wire], rpc, message.clone()).await {
            Ok(answer) => {
                let operation = pb::Operation::decode(&answer.get_ref()[..]).unwrap();
                if matches!(rpc, "Redeem" | "Capture") {
                    let named = &operation.entries.last().unwrap().presented_member;
                    let spender = (1..=u128::from(MEMBERS)).find(|owner| member(*owner) == *named || member(*owner) == operation.member);
                    self.redemptions.push((spender.unwrap(), operation.name.clone()));
                }
                if rpc == "Reserve" {
                    self.reservations.push(hold(&operation));
                }
                self.done.push((rpc, wire, message, answer.into_inner()));
            }
            Err(status) => {
                let (code, reason) = code_and_reason(&status);
                let is_business = matches!(code, Code::FailedPrecondition | Code::NotFound | Code::AlreadyExists);
                assert!(is_business, "{rpc}: {status:?}");
                assert!(!["REQUEST_ID_REUSED", "PROGRAM_NOT_FOUND"].contains(&&*reason), "{rpc}: {reason}");
                *self.refused.entry(format!("{rpc} {reason}")).or_default() += 1;
            }
        }
    }
}

async fn everything_at_once_leaves_clean_books(engine: TestEngine) {
    let lively = pb::Terms {
        activate_after: days(1),
        expire_after: days(4),
        remind_before: days(1),
        restore_grace: days(1),
        activities: vec![earns("review", 25)],
        ..terms()
    };
    let waiting = pb::Terms { activate_after: None, activate_on: waits_for("delivered", days(2)), ..lively.clone() };
    let sliding = pb::Terms { expire_after: None, activate_after: None, expire_after_inactivity: days(2), ..lively.clone() };
    let suite = Suite::with_terms(engine, terms()).await;
    let replica = suite.replica().await;
    let wires = [
        suite.wire(Role::Platform, Programs::All).await,
        replica.wire(Role::Platform).await,
        suite.wire(Role::Support, Programs::All).await,
    ];
    let caller = |number| Caller {
        number,
        random: 7_919 * (number + 1),
        wires: wires.clone(),
        purchases: Vec::new(),
        redemptions: Vec::new(),
        reservations: Vec::new(),
        done: Vec::new(),
        refused: HashMap::new(),
    };
    let mut callers: Vec<Caller> = (0..CALLERS).map(caller).collect();
    for round in 0..ROUNDS {
        let next = [None, Some(&lively), Some(&waiting), Some(&sliding), Some(&lively), None][round];
        if let Some(next) = next {
            suite.new_terms(next.clone(), suite.now()).await;
        }
        join_all(callers.iter_mut().map(async |caller| {
            for _ in 0..STEPS {
                caller.step().await;
            }
        }))
        .await;
        suite.verified().await;
        suite.clock.advance(Duration::from_secs(20 * 3_600));
    }
    suite.administrator().settle_due(settle(0)).await.unwrap();
    let report = suite.verified().await;

    // Every success comes again as it was, and is told as it was.
    let mut moved = HashMap::<String, usize>::new();
    for (rpc, wire, message, first) in callers.iter().flat_map(|caller| &caller.done) {
        let again = raw(&wires[*wire], rpc, message.clone()).await.unwrap();
        assert!(replayed(&again), "{rpc}");
        assert_eq!(again.get_ref(), first, "{rpc}");
        *moved.entry((*rpc).to_owned()).or_default() += 1;
    }
    assert!(moved.len() >= 14, "it was a busy time: {moved:?}");
    // The books of all, the report and the feed agree.
    let mut told = HashMap::<String, Vec<(i64, i64)>>::new();
    for owner in 1..=u128::from(MEMBERS) {
        let entries = suite.statement(owner, 0).await;
        told.insert(member(owner), entries.iter().map(|entry| (entry.version, entry.points)).collect());
    }
    let all: i64 = told.values().flatten().map(|(_, points)| points).sum();
    assert_eq!(report.points["tea"], i128::from(all));
    let entries: usize = told.values().map(Vec::len).sum();
    assert_eq!(postings(&suite, entries).await, told);
    replica.stop().await;
    suite.stop().await;
}

/// Versions and points of postings by member, as the feed tells them.
async fn postings(suite: &Suite, entries: usize) -> HashMap<String, Vec<(i64, i64)>> {
    let mut wanted = entries / 4;
    loop {
        let mut told = HashMap::<String, Vec<(i64, i64)>>::new();
        for event in suite.events(wanted).await {
            let postings = match event.payload.unwrap() {
                Payload::PurchaseRecorded(recorded) => recorded.postings,
                Payload::PurchaseReturned(returned) => returned.postings,
                Payload::PointsPosted(posted) => posted.postings,
                other => panic!("points tells nothing of that kind: {other:?}"),
            };
            told.entry(event.member).or_default().extend(postings.iter().map(|posting| (posting.version, posting.points)));
        }
        if told.values().map(Vec::len).sum::<usize>() >= entries {
            return told;
        }
        wanted += 1 + (entries - told.values().map(Vec::len).sum::<usize>()) / 8;
    }
}
