//! A ledger as one would write it down from the contracts alone: it takes a request and a moment and says the whole answer. It
//! shares no code with the service. The commands are in `commands`.

mod account;
mod commands;
mod rules;
mod shelf;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use persistence::{Keyring, RequestKey};
use prost::Message;
use proto::points as pb;
use proto::points::reservation::State;
use tonic::Code;

pub(crate) use account::LotKey;
use account::{Account, Stamp};
pub(crate) use rules::{DAY, Rules, micros, time};
use shelf::Shelf;

use super::calls::{Answer, Call, Keys, Refusal, first_difference};
use crate::it::suite::TEA;

const SECOND: i64 = 1_000_000;

/// Everything that a ledger knows of one program. Cheap to clone: what does not change is shared.
#[derive(Clone)]
pub(crate) struct World {
    rules: Arc<Vec<Rules>>,
    keys: Arc<Keys>,
    /// How far a till's clock is believed, ahead and behind.
    believed: (i64, i64),
    accounts: BTreeMap<String, Arc<Account>>,
    requests: Shelf<Remembered>,
    purchases: Shelf<Purchase>,
    rewards: Shelf<Reward>,
    ended: Shelf<State>,
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
    recorded_by: String,
}

#[derive(Clone, Default)]
struct Reward {
    member: String,
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
            rewards: Shelf::new(),
            ended: Shelf::new(),
        }
    }

    pub(crate) fn account(&self, member: &str) -> Arc<Account> {
        self.accounts.get(member).cloned().unwrap_or_else(|| Arc::new(Account::of(member)))
    }

    /// What `GetOperation` tells of a request.
    pub(crate) fn operation(&self, request_id: &str) -> Option<&Arc<pb::Operation>> {
        self.requests.get(request_id)?.operation.as_ref()
    }

    /// The points of all accounts, less what they owe.
    pub(crate) fn total(&self) -> i64 {
        self.accounts.values().map(|account| account.total()).sum()
    }

    /// Does what is due in all accounts.
    pub(crate) fn settle_all(&mut self, now: i64) {
        let members: Vec<String> = self.accounts.keys().cloned().collect();
        for member in members {
            self.settle(&member, now);
        }
    }

    /// Does what is due in an account and gives the entries.
    pub(crate) fn settle(&mut self, member: &str, now: i64) -> Vec<Arc<pb::Entry>> {
        let before = self.account(member);
        let mut account = (*before).clone();
        let open: Vec<String> = account.holds.iter().map(|hold| hold.name.clone()).collect();
        account.settle(&self.rules, now);
        let written = account.entries[before.entries.len()..].to_vec();
        for name in open.into_iter().filter(|name| account.holds.iter().all(|hold| hold.name != *name)) {
            self.ended.insert(&name, State::Expired);
        }
        if !written.is_empty() {
            self.accounts.insert(member.to_owned(), Arc::new(account));
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
        if let Call::Award(request) = call
            && let Some(purchase) = self.purchases.get(&purchase_name(input(request)))
        {
            // The purchase was recorded under another id; this one is bound to the same answer from now on.
            let first = self.requests.get(&purchase.recorded_by).expect("the purchase was recorded by it");
            let answer = first.again(call, "PURCHASE_EXISTS");
            let memory = if answer.result.is_ok() { Memory::Like(first.clone()) } else { Memory::Nothing };
            return Ok((answer, memory));
        }
        if let Call::EnsureReward(request) = call
            && self.rewards.get(&request.reward_key).is_some_and(|reward| reward.member != request.member)
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
        let due = self.member_of(call).map_or_else(Vec::new, |member| self.settle(&member, now));
        match self.carry_out(call, now, &due) {
            _ if due.first().is_some_and(|entry| !told(entry)) => Err(Unexplained::DueFirst),
            Ok((answer, operation)) => Ok((answer, Memory::New(Some(Arc::new(operation))))),
            Err(refusal) if refusal.code == Code::FailedPrecondition => {
                Ok((Answer { result: Err(refusal), replayed: false }, Memory::New(None)))
            }
            Err(refusal) => refused(refusal),
        }
    }

    /// The account that a call concerns; `None` for a stranger and for what is not there.
    fn member_of(&self, call: &Call) -> Option<String> {
        let of_reservation = |name: &str| Some(name.split_once("/reservations/")?.0.to_owned());
        let member = match call {
            Call::Award(request) => request.member.clone(),
            Call::Redeem(request) => request.member.clone(),
            Call::Reserve(request) => request.member.clone(),
            Call::Capture(request) => of_reservation(&request.name)?,
            Call::Release(request) => of_reservation(&request.name)?,
            Call::ReturnPurchase(request) => self.purchases.get(&request.purchase)?.told.member.clone(),
            Call::Adjust(request) => request.member.clone(),
            Call::EnsureReward(request) => request.member.clone(),
            Call::PreviewAward(request) => request.member.clone(),
            Call::GetBalance(request) => request.member.clone(),
            Call::ListEntries(request) => request.parent.clone(),
            Call::SettleDue(_) | Call::GetPurchase(_) | Call::GetOperation(_) => return None,
        };
        (!member.is_empty()).then_some(member)
    }

    /// The account whose time a call's judgement depends on, with the moments between two at which something falls due.
    pub(crate) fn turning_points(&self, call: &Call, from: i64, until: i64) -> Vec<i64> {
        let account = self.member_of(call).map(|member| self.account(&member));
        account.iter().flat_map(|account| account.due_times()).filter(|at| from < *at && *at <= until).collect()
    }

    fn stamp(&self, call: &Call, now: i64) -> Stamp {
        let occurred = |told: &Option<prost_types::Timestamp>| told.as_ref().map_or(now, micros);
        let (store, terminal, occurred) = match call {
            Call::Award(request) => (&*input(request).store, &*input(request).terminal, occurred(&input(request).occur_time)),
            Call::Redeem(request) => (&*request.store, &*request.terminal, now),
            Call::Reserve(request) => (&*request.store, &*request.terminal, now),
            Call::Capture(request) => (&*request.store, &*request.terminal, now),
            Call::ReturnPurchase(request) => (&*request.store, &*request.terminal, occurred(&request.occur_time)),
            _ => ("", "", now),
        };
        // A terminal lies in its store.
        let store = if store.is_empty() { terminal.split("/terminals/").next().unwrap_or_default() } else { store };
        let id = call.request_id().unwrap_or_default();
        Stamp {
            operation: operation_name(id),
            request_id: id.to_owned(),
            actor: self.keys.actor(call.role()).to_owned(),
            store: store.to_owned(),
            terminal: terminal.to_owned(),
            occurred,
            now,
        }
    }

    fn read(&self, call: &Call, now: i64) -> Answer {
        let account = self.member_of(call).map(|member| self.account(&member));
        let not_found = |reason: &str| Answer { result: Err(Refusal::new(Code::NotFound, reason, &[])), replayed: false };
        match call {
            Call::GetBalance(_) => {
                let stored = account.expect("it names a member");
                let mut settled = (*stored).clone();
                settled.settle(&self.rules, now);
                // Entries that nobody has written have no number.
                Answer::first(&pb::Balance { version: stored.version(), ..settled.balance(now, true) })
            }
            Call::ListEntries(request) => {
                let account = account.expect("it names a member");
                let limit = if request.page_size == 0 { 50 } else { usize::try_from(request.page_size).unwrap().min(1000) };
                let entries = account.entries.iter().rev().take(limit).map(|entry| (**entry).clone()).collect();
                let next_page_token = if account.entries.len() > limit { MORE.to_owned() } else { String::new() };
                Answer::first(&pb::ListEntriesResponse { entries, next_page_token })
            }
            Call::GetPurchase(request) => match self.purchases.get(&request.name) {
                Some(purchase) => Answer::first(&purchase.told),
                None => not_found("PURCHASE_NOT_FOUND"),
            },
            Call::GetOperation(request) => match self.requests.get(&request.request_id) {
                Some(Remembered { operation: Some(operation), .. }) => Answer { replayed: true, ..Answer::first(&**operation) },
                Some(Remembered { answer, .. }) if answer.result.is_err() => Answer { replayed: true, ..(**answer).clone() },
                _ => not_found("OPERATION_NOT_FOUND"),
            },
            Call::PreviewAward(request) => {
                if let Some(untimely) = self.untimely(call, now) {
                    return Answer { result: Err(untimely), replayed: false };
                }
                let input = request.purchase.as_ref().expect("the contract demands it");
                let member = account.as_ref().map(|_| &*request.member);
                let mut account = account.as_deref().cloned().unwrap_or_default();
                account.settle(&self.rules, now);
                let occurred = input.occur_time.as_ref().map_or(now, micros);
                let mut operation = pb::Operation::default();
                let purchase = self.award(input, member, &mut account, &Stamp { occurred, now, ..Stamp::default() }, &mut operation);
                Answer::first(&pb::AwardPreview {
                    award: operation.award,
                    points: purchase.told.due_points,
                    balance: member.map(|_| account.balance(now, false)),
                })
            }
            other => panic!("{} is no read", other.rpc()),
        }
    }

    /// Refuses a time of an event that nobody believes.
    fn untimely(&self, call: &Call, now: i64) -> Option<Refusal> {
        let (told, historical, field) = match call {
            Call::Award(request) => (&input(request).occur_time, request.historical, "purchase.occur_time"),
            Call::PreviewAward(request) => (&request.purchase.as_ref()?.occur_time, false, "purchase.occur_time"),
            Call::ReturnPurchase(request) => (&request.occur_time, request.historical, "occur_time"),
            _ => return None,
        };
        let (at, (ahead, behind)) = (micros(told.as_ref()?), self.believed);
        let refused = |reason: &str| Some(Refusal::new(Code::InvalidArgument, reason, &[("field", field.to_owned())]));
        if at > now + ahead {
            return refused("OCCUR_TIME_IN_FUTURE");
        }
        if at < now - behind && !historical { refused("OCCUR_TIME_TOO_OLD") } else { None }
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
    let (wallet, money, field) = match call {
        Call::Award(request) => ("", input(request).net.as_ref(), "purchase.net"),
        Call::PreviewAward(request) => ("", request.purchase.as_ref()?.net.as_ref(), "purchase.net"),
        Call::ReturnPurchase(pb::ReturnPurchaseRequest { what: Some(What::RemainingNet(net)), .. }) => ("", Some(net), "remaining_net"),
        Call::Redeem(request) => (&*request.wallet, None, ""),
        Call::Reserve(request) => (&*request.wallet, None, ""),
        Call::Adjust(request) => (&*request.wallet, None, ""),
        _ => return None,
    };
    if !matches!(wallet, "" | "points") {
        return Some(Refusal::new(Code::NotFound, "WALLET_NOT_FOUND", &[]));
    }
    let foreign = money.is_some_and(|money| money.currency_code != "CNY");
    (foreign && !field.is_empty()).then(|| Refusal::new(Code::InvalidArgument, "CURRENCY_MISMATCH", &[("expected", "CNY".to_owned())]))
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

/// The name of the operation that a request makes: it depends on program and request id alone.
fn operation_name(request_id: &str) -> String {
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
