//! A ledger as one would write it down from the contracts alone: it takes a request and a moment and says the whole answer. It
//! shares no code with the service. The commands are in `commands`.

mod account;
mod back;
mod between;
mod clock;
mod commands;
mod given_up;
mod lots;
mod reads;
mod returns;
mod rules;
mod shelf;
mod sides;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use persistence::{Keyring, RequestKey};
use prost::Message;
use proto::events::MemberState;
use proto::points as pb;
use proto::points::reservation::State;
use tonic::Code;

use account::Account;
use back::Redemption;
pub(crate) use between::{pool_member, pool_name};
use lots::{LotKey, Owner};
pub(crate) use rules::{Activation, DAY, Rules, days, micros, time};
use shelf::Shelf;

use super::calls::{Answer, Call, Keys, Refusal, first_difference};
use crate::it::suite::TEA;

const SECOND: i64 = 1_000_000;
/// In whose place a stranger stands.
const NOBODY: &str = "programs/tea/members/00000000-0000-0000-0000-000000000000";

/// Everything that a ledger knows of one program. Cheap to clone: what does not change is shared.
#[derive(Clone)]
pub(crate) struct World {
    rules: Arc<Vec<Rules>>,
    keys: Arc<Keys>,
    /// How far a till's clock is believed, ahead and behind.
    believed: (i64, i64),
    /// Of members and of pools, which stand in a member's place.
    accounts: BTreeMap<Arc<str>, Arc<Account>>,
    requests: Shelf<Remembered>,
    purchases: Shelf<Purchase>,
    /// The requests that rewarded activities.
    activities: Shelf<String>,
    redemptions: Shelf<Redemption>,
    rewards: Shelf<Reward>,
    /// How reservations ended, and whose account they were in last.
    ended: Shelf<State>,
    holders: Shelf<Owner>,
}

/// A request that was answered once and for all.
#[derive(Clone)]
struct Remembered {
    call: Arc<Call>,
    answer: Arc<Answer>,
    /// What `GetOperation` tells of it.
    operation: Option<Arc<pb::Operation>>,
}

#[derive(Clone)]
struct Purchase {
    told: pb::Purchase,
    lot: Option<LotKey>,
    rules: usize,
    /// The operations that paid for it.
    redemptions: Vec<String>,
    recorded_by: String,
}

#[derive(Clone, Default)]
struct Reward {
    owner: Option<Owner>,
    version: i64,
    granted: i64,
    lot: Option<LotKey>,
}

/// What a call leaves in the memory of requests.
enum Memory {
    Nothing,
    /// This request's own answer.
    New(Option<Arc<pb::Operation>>),
    /// The answer of another request.
    Like(Remembered),
}

/// What a listing says when it has not told all.
const MORE: &str = "more";

/// Why a call cannot have been answered as it was.
pub(crate) enum Unexplained {
    /// Something had fallen due, and what it did stands elsewhere in the books.
    DueFirst,
    /// It must be answered so.
    Expected(Answer),
}

impl World {
    pub(crate) fn new(rules: Vec<Rules>, keys: Arc<Keys>) -> World {
        World {
            rules: Arc::new(rules),
            keys,
            believed: (300 * SECOND, 30 * DAY),
            accounts: BTreeMap::new(),
            requests: Shelf::new(),
            purchases: Shelf::new(),
            activities: Shelf::new(),
            redemptions: Shelf::new(),
            rewards: Shelf::new(),
            ended: Shelf::new(),
            holders: Shelf::new(),
        }
    }

    pub(crate) fn account(&self, member: &str) -> Arc<Account> {
        self.accounts.get(member).cloned().unwrap_or_else(|| Arc::new(Account::of(member, &self.rules)))
    }

    /// Who has this member's account, through all merges.
    fn survivor(&self, member: &str) -> Arc<str> {
        let mut last: Arc<str> = member.into();
        while let Some(next) = self.accounts.get(&last).and_then(|account| account.merged_into.clone()) {
            last = next;
        }
        last
    }

    /// What is in the books now and was not in those of an earlier world.
    pub(crate) fn written_since<'a>(&'a self, before: &'a World) -> impl Iterator<Item = &'a pb::Entry> {
        self.accounts.iter().flat_map(|(member, account)| {
            let known = match before.accounts.get(member) {
                Some(same) if Arc::ptr_eq(same, account) => account.entries.len(),
                Some(known) => known.entries.len(),
                None => 0,
            };
            account.entries[known..].iter().map(|entry| &**entry)
        })
    }

    /// What `GetOperation` tells of a request.
    pub(crate) fn operation(&self, request_id: &str) -> Option<&Arc<pb::Operation>> {
        self.requests.get(request_id)?.operation.as_ref()
    }

    /// Learns the state of a member. What is no news is not counted.
    pub(crate) fn learn(&mut self, member: &str, state: MemberState) {
        let mut account = (*self.account(member)).clone();
        (account.state, account.facts) = (state, account.facts + i64::from(account.state != state));
        self.accounts.insert(member.into(), Arc::new(account));
    }

    /// The points of all accounts, less what they owe.
    pub(crate) fn total(&self) -> i64 {
        self.accounts.values().map(|account| account.total()).sum()
    }

    /// Does what is due in all accounts.
    pub(crate) fn settle_all(&mut self, now: i64) {
        let members: Vec<Arc<str>> = self.accounts.keys().cloned().collect();
        for member in members {
            self.settle(&member, now);
        }
    }

    /// Does what is due in an account and gives the entries.
    pub(crate) fn settle(&mut self, member: &str, now: i64) -> Vec<Arc<pb::Entry>> {
        let before = self.account(member);
        let mut account = (*before).clone();
        for hold in account.settle(&self.rules, now) {
            self.ended.insert(&hold, State::Expired);
        }
        let written = account.entries[before.entries.len()..].to_vec();
        if !written.is_empty() {
            self.accounts.insert(member.into(), Arc::new(account));
        }
        written
    }

    /// Takes a call at a moment into the world, if it must be answered as it was; whether anything has changed. `told` says
    /// whether an entry of the clock stands in some operation's answer, as it is.
    pub(crate) fn explain(&mut self, call: &Call, now: i64, seen: &Answer, told: impl Fn(&pb::Entry) -> bool) -> Result<bool, Unexplained> {
        let (expected, memory) = self.judge(call, now, seen, told)?;
        if !agrees(call, &expected, seen) {
            return Err(Unexplained::Expected(expected));
        }
        let remembered = match memory {
            Memory::Nothing => return Ok(false),
            Memory::Like(first) => first,
            // A replay repeats the words too, so what is remembered is what was seen.
            Memory::New(operation) => Remembered { call: Arc::new(call.clone()), answer: Arc::new(seen.clone()), operation },
        };
        let id = call.request_id().expect("only changes are remembered");
        self.requests.insert(id, remembered);
        Ok(true)
    }

    fn judge(&mut self, call: &Call, now: i64, seen: &Answer, told: impl Fn(&pb::Entry) -> bool) -> Result<(Answer, Memory), Unexplained> {
        let refused = |refusal: Refusal| Ok((Answer { result: Err(refusal), replayed: false }, Memory::Nothing));
        if let Some(malformed) = malformed(call) {
            return refused(malformed);
        }
        let Some(id) = call.request_id() else { return Ok((self.read(call, now), Memory::Nothing)) };
        if let Some(first) = self.requests.get(id) {
            return Ok((first.again(call, "REQUEST_ID_REUSED"), Memory::Nothing));
        }
        let recorded = match call {
            Call::Award(request) => {
                self.purchases.get(&purchase_name(input(request))).map(|purchase| (&purchase.recorded_by, "PURCHASE_EXISTS"))
            }
            Call::AwardActivity(request) => {
                let key = format!("{}/{}", request.activity, request.activity_id);
                self.activities.get(&key).map(|request| (request, "ACTIVITY_EXISTS"))
            }
            _ => None,
        };
        if let Some((recorded_by, exists)) = recorded {
            // It was recorded under another id; this one is bound to the same answer from now on.
            let first = self.requests.get(recorded_by).expect("it was recorded by it");
            let answer = first.again(call, exists);
            let memory = if answer.result.is_ok() { Memory::Like(first.clone()) } else { Memory::Nothing };
            return Ok((answer, memory));
        }
        let sides = self.sides(call);
        if let (Call::EnsureReward(request), Some(member)) = (call, &sides.first)
            && let Some(owner) = self.rewards.get(&request.reward_key).and_then(|reward| reward.owner.as_ref())
            && !self.account(member).is_of(&owner.member)
        {
            return refused(Refusal::new(Code::AlreadyExists, "REWARD_EXISTS", &[("field", "member".to_owned())]));
        }
        if let Some(untimely) = self.untimely(call, now) {
            return refused(untimely);
        }
        if let Call::SettleDue(_) = call {
            // What it did stands in the books, against which its sums are checked.
            return Ok((Answer { replayed: false, ..seen.clone() }, Memory::New(None)));
        }
        let due = sides.first.map_or_else(Vec::new, |member| self.settle(&member, now));
        // What was due on the other side stands in nobody's answer.
        let due_there = sides.second.map_or_else(Vec::new, |member| self.settle(&member, now));
        match self.carry_out(call, now, &due) {
            _ if due.first().is_some_and(|entry| !told(entry)) || !due_there.is_empty() => Err(Unexplained::DueFirst),
            Ok((answer, operation)) => Ok((answer, Memory::New(Some(Arc::new(operation))))),
            // What waits for nothing may wait for it in a moment: that is judged anew.
            Err(refusal) if refusal.code == Code::FailedPrecondition && refusal.reason != "NOTHING_PENDING" => {
                Ok((Answer { result: Err(refusal), replayed: false }, Memory::New(None)))
            }
            Err(refusal) => refused(refusal),
        }
    }
}

impl Remembered {
    /// The first answer, or the refusal of a key that was used for something else.
    fn again(&self, call: &Call, reused: &str) -> Answer {
        match first_difference(&self.call, call) {
            None => Answer { replayed: true, ..(*self.answer).clone() },
            Some(field) => Answer { result: Err(Refusal::new(Code::AlreadyExists, reused, &[("field", field)])), replayed: false },
        }
    }
}

/// What is the matter with a request whatever the books say.
fn malformed(call: &Call) -> Option<Refusal> {
    use pb::return_purchase_request::What;
    let money = match call {
        Call::Award(request) => input(request).net.as_ref(),
        Call::PreviewAward(request) => request.purchase.as_ref()?.net.as_ref(),
        Call::ReturnPurchase(pb::ReturnPurchaseRequest { what: Some(What::RemainingNet(net)), .. }) => Some(net),
        _ => return None,
    };
    let foreign = money.is_some_and(|money| money.currency_code != "CNY");
    foreign.then(|| Refusal::new(Code::InvalidArgument, "CURRENCY_MISMATCH", &[("expected", "CNY".to_owned())]))
}

/// Whether a call names another wallet than the only one that the program has.
fn names_unknown_wallet(call: &Call) -> bool {
    let wallet = match call {
        Call::Redeem(request) => &request.wallet,
        Call::Reserve(request) => &request.wallet,
        Call::Adjust(request) => &request.wallet,
        Call::SetExpiry(request) => &request.wallet,
        Call::ForgiveDeficit(request) => &request.wallet,
        Call::Transfer(request) => &request.wallet,
        Call::ContributeToPool(request) => &request.wallet,
        Call::RedeemFromPool(request) => &request.wallet,
        Call::EnsureReward(request) if request.wanted => &request.wallet,
        _ => return false,
    };
    !matches!(&**wallet, "" | "points")
}

/// Whether an answer is the one that was expected. Only what is repeated from memory must have the same words, and a page token
/// is anything that is not empty.
fn agrees(call: &Call, expected: &Answer, seen: &Answer) -> bool {
    match (&expected.result, &seen.result) {
        (Err(expected_refusal), Err(refusal)) if expected_refusal.text.is_empty() => {
            let seen = Answer { result: Err(Refusal { text: String::new(), ..refusal.clone() }), replayed: seen.replayed };
            *expected == seen
        }
        (Ok(bytes), Ok(_)) if matches!(call, Call::ListEntries(_)) => {
            let mut page: pb::ListEntriesResponse = seen.message().expect("it is a success");
            if !page.next_page_token.is_empty() {
                page.next_page_token = MORE.to_owned();
            }
            page.encode_to_vec() == *bytes
        }
        _ => expected == seen,
    }
}

fn input(request: &pb::AwardRequest) -> &pb::PurchaseInput {
    request.purchase.as_ref().expect("the contract demands it")
}

fn purchase_name(input: &pb::PurchaseInput) -> String {
    format!("{TEA}/purchases/{}", input.purchase_id)
}

fn missing(points: i64) -> Refusal {
    Refusal::new(Code::FailedPrecondition, "INSUFFICIENT_POINTS", &[("missing_points", points.max(1).to_string())])
}

fn refused(reason: &str) -> Refusal {
    Refusal::new(Code::FailedPrecondition, reason, &[])
}

/// The name of the operation that a request makes: it depends on program and request id alone.
pub(crate) fn operation_name(request_id: &str) -> String {
    format!("{TEA}/operations/{}", operation_id(request_id))
}

/// The reservation that a request opens, known before it is sent.
pub(crate) fn reservation_name(member: &str, request_id: &str) -> String {
    format!("{member}/reservations/{}", operation_id(request_id))
}

fn operation_id(request_id: &str) -> kernel::Uuid {
    static KNOWN: LazyLock<Mutex<HashMap<String, kernel::Uuid>>> = LazyLock::new(Mutex::default);
    *KNOWN.lock().unwrap().entry(request_id.to_owned()).or_insert_with(|| {
        let (program, any) = (kernel::name::program(TEA).expect("it is a program"), pb::GetOperationRequest::default());
        RequestKey::new(&Keyring::for_tests(), &program, request_id, &any).id()
    })
}
