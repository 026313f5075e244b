//! What clients do, all of it decided by a seed: the calls may meet in any order, but what is asked is the same in every run.

use proto::common::Money;
use proto::points as pb;
use proto::points::redeem_request::Mode;
use proto::points::return_purchase_request::What;
use proto::points::terms::{PointRounding, ReturnPolicy};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::calls::Call;
use super::model::{DAY, Rules, reservation_name, time};
use crate::it::suite::{STORE, TEA, TILL};

pub(crate) const CLIENTS: usize = 6;
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// What is refused most is rather done than refused: few enough members that clients meet, and enough points to spend.
const MEMBERS: u128 = 3;
const REWARDS: i64 = 5;

/// A step of a client.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call(Box<Call>),
    /// The server's clock is set forward, or back.
    Clock(i64),
}

/// What every client does, one step after the other, under which terms.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<Rules>,
    pub(crate) clients: Vec<Vec<Step>>,
}

pub(crate) fn member(number: u128) -> String {
    format!("{TEA}/members/{}", kernel::Uuid::from_u128(number))
}

pub(crate) fn members() -> impl Iterator<Item = String> {
    (1..=MEMBERS).map(member)
}

/// Whose clock the servers go by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// A clock that stands at this moment until a step moves it.
    Ours(i64),
    /// The machine's, at about this moment.
    Machine(i64),
}

struct Planner {
    dice: StdRng,
    start: i64,
    /// Every call so far, in the order in which they are about to be made.
    calls: Vec<Call>,
}

/// The plan of a seed: each client makes so many steps.
pub(crate) fn plan(seed: u64, steps: usize, time: Time) -> Plan {
    let (Time::Ours(start) | Time::Machine(start)) = time;
    let mut planner = Planner { dice: StdRng::seed_from_u64(seed), start, calls: Vec::new() };
    let rules = planner.rules();
    let mut clients = vec![Vec::new(); CLIENTS];
    for _ in 0..steps {
        for steps in &mut clients {
            if matches!(time, Time::Ours(_)) && planner.dice.random_ratio(1, 60) {
                steps.push(Step::Clock(planner.jump()));
            }
            let call = planner.call();
            planner.calls.push(call.clone());
            steps.push(Step::Call(Box::new(call)));
        }
    }
    Plan { rules, clients }
}

impl Planner {
    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.dice.random_range(0..these.len())]
    }

    fn percent(&mut self, share: u32) -> bool {
        self.dice.random_ratio(share, 100)
    }

    /// Two versions of the terms; the second holds from the second day.
    fn rules(&mut self) -> Vec<Rules> {
        let start = self.start;
        let mut version = |number, start| Rules {
            number,
            start,
            thousandths_per_yuan: self.one_of(&[1_000, 2_500, 333, 1_250]),
            rounding: self.one_of(&[PointRounding::Down, PointRounding::HalfUp, PointRounding::Up]),
            activate_days: self.one_of(&[0, 0, 1]),
            expire_days: self.one_of(&[0, 2, 5]),
            expire_at_midnight: self.percent(50),
            policy: self.one_of(&[
                ReturnPolicy::Unlimited,
                ReturnPolicy::Unlimited,
                ReturnPolicy::WithinBalance,
                ReturnPolicy::OnlyPending,
            ]),
            deficit_cap: self.one_of(&[0, 0, 40]),
            grace_days: self.one_of(&[0, 1]),
            hold_seconds: self.one_of(&[900, 7_200]),
        };
        vec![version(1, start), version(2, start + 2 * DAY)]
    }

    fn jump(&mut self) -> i64 {
        self.one_of(&[5 * MINUTE, HOUR, 5 * HOUR, 9 * HOUR, DAY, -10 * MINUTE, -2 * HOUR])
    }

    fn id(&self) -> String {
        format!("request-{}", self.calls.len())
    }

    fn member(&mut self) -> String {
        member(self.dice.random_range(1..=MEMBERS))
    }

    /// A call that another client is about to make, or has just made.
    fn recent(&mut self, wanted: impl Fn(&Call) -> bool) -> Option<Call> {
        let found: Vec<&Call> = self.calls.iter().rev().filter(|call| wanted(call)).take(8).collect();
        let index = if found.is_empty() { return None } else { self.dice.random_range(0..found.len()) };
        Some(found[index].clone())
    }

    /// A recent change, each RPC being as likely as any other.
    fn recent_change(&mut self) -> Option<Call> {
        let mut rpcs: Vec<&str> = self.calls.iter().filter(|call| call.request_id().is_some()).map(Call::rpc).collect();
        rpcs.sort_unstable();
        rpcs.dedup();
        let rpc = if rpcs.is_empty() { return None } else { self.one_of(&rpcs) };
        self.recent(|call| call.rpc() == rpc)
    }

    fn call(&mut self) -> Call {
        match self.dice.random_range(0..100) {
            0..17 => self.award(),
            17..29 => self.redeem(),
            29..39 => self.reserve(),
            39..50 => self.capture(),
            50..58 => self.release(),
            58..68 => self.return_purchase(),
            68..72 => self.adjust(),
            72..77 => self.ensure(),
            77 => Call::SettleDue(pb::SettleDueRequest { parent: TEA.to_owned(), accounts_max: 0, request_id: self.id() }),
            78..85 => self.again(),
            85..91 => self.reused(),
            _ => self.read(),
        }
    }

    fn purchase_input(&mut self) -> pb::PurchaseInput {
        let id = self.calls.len();
        let lines: Vec<pb::PurchaseLine> = (0..self.one_of(&[0, 0, 1, 3]))
            .map(|line| pb::PurchaseLine {
                line_id: format!("line-{line}"),
                sku: format!("tea-{line}"),
                quantity: self.dice.random_range(1..=4),
                net_minor_units: self.dice.random_range(0..6_000),
                ..pb::PurchaseLine::default()
            })
            .collect();
        let fen = if lines.is_empty() { self.dice.random_range(0..15_000) } else { lines.iter().map(|line| line.net_minor_units).sum() };
        let currency_code = if self.percent(4) { "EUR" } else { "CNY" }.to_owned();
        let occur_time = match self.dice.random_range(0..20) {
            0 => Some(time(self.start + 40 * DAY)),
            1 | 2 => Some(time(self.start - 60 * DAY)),
            3..5 => Some(time(self.start - self.dice.random_range(0..5 * DAY))),
            _ => None,
        };
        let (store, terminal) = if self.percent(20) { (STORE, TILL) } else { ("", "") };
        pb::PurchaseInput {
            purchase_id: format!("purchase-{id}"),
            net: Some(Money { currency_code, minor_units: fen }),
            lines,
            store: store.to_owned(),
            terminal: terminal.to_owned(),
            channel: if self.percent(20) { "app" } else { "" }.to_owned(),
            offer: String::new(),
            occur_time,
            redemptions: Vec::new(),
        }
    }

    fn award(&mut self) -> Call {
        let (parent, request_id) = (TEA.to_owned(), self.id());
        // The same purchase under another id, or another purchase under the same name.
        if self.percent(12)
            && let Some(Call::Award(first)) = self.recent(|call| matches!(call, Call::Award(_)))
        {
            let mut request = pb::AwardRequest { request_id, ..first };
            if self.percent(50) {
                request.member = self.member();
            }
            return Call::Award(request);
        }
        let member = if self.percent(8) { String::new() } else { self.member() };
        Call::Award(pb::AwardRequest { parent, member, purchase: Some(self.purchase_input()), historical: self.percent(3), request_id })
    }

    fn wallet(&mut self) -> String {
        if self.percent(4) { "stars" } else { self.one_of(&["", "points"]) }.to_owned()
    }

    fn redeem(&mut self) -> Call {
        // Now and then all that there is, so that a return finds too little.
        let (mode, points_max) = match self.dice.random_range(0..10) {
            0..6 => (Mode::Unspecified, 70),
            6..8 => (Mode::UpTo, 70),
            _ => (Mode::UpTo, 1_000),
        };
        Call::Redeem(pb::RedeemRequest {
            member: self.member(),
            points: self.dice.random_range(1..=points_max),
            mode: mode.into(),
            wallet: self.wallet(),
            reference: format!("order-{}", self.calls.len()),
            store: if self.percent(20) { STORE } else { "" }.to_owned(),
            terminal: String::new(),
            request_id: self.id(),
        })
    }

    fn reserve(&mut self) -> Call {
        let seconds = self.one_of(&[0, 0, 1, 60, 86_400]);
        Call::Reserve(pb::ReserveRequest {
            member: self.member(),
            points: self.dice.random_range(1..=15),
            wallet: self.wallet(),
            ttl: (seconds > 0).then_some(prost_types::Duration { seconds, nanos: 0 }),
            reference: format!("basket-{}", self.calls.len()),
            store: String::new(),
            terminal: if self.percent(20) { TILL } else { "" }.to_owned(),
            request_id: self.id(),
            several_captures: false,
        })
    }

    /// A reservation that there may be.
    fn reservation(&mut self) -> String {
        let reserve = self.recent(|call| matches!(call, Call::Reserve(_)));
        match reserve {
            Some(Call::Reserve(request)) if self.percent(95) => reservation_name(&request.member, &request.request_id),
            _ => reservation_name(&self.member(), "never"),
        }
    }

    fn capture(&mut self) -> Call {
        let points = match self.dice.random_range(0..10) {
            0..4 => None,
            4 => Some(0),
            5..9 => Some(self.dice.random_range(1..=8)),
            _ => Some(500),
        };
        let (name, request_id) = (self.reservation(), self.id());
        Call::Capture(pb::CaptureRequest { name, points, store: String::new(), terminal: String::new(), request_id, last: false })
    }

    fn release(&mut self) -> Call {
        Call::Release(pb::ReleaseRequest { name: self.reservation(), request_id: self.id() })
    }

    fn return_purchase(&mut self) -> Call {
        let request_id = self.id();
        let bought = match self.recent(|call| matches!(call, Call::Award(_))) {
            Some(Call::Award(request)) if self.percent(95) => request.purchase.unwrap_or_default(),
            _ => pb::PurchaseInput { purchase_id: "never".to_owned(), ..pb::PurchaseInput::default() },
        };
        let net = bought.net.as_ref().map_or(0, |net| net.minor_units);
        let what = if !bought.lines.is_empty() && self.percent(60) {
            let index = self.dice.random_range(0..bought.lines.len());
            let line_id = if self.percent(10) { "no such line".to_owned() } else { bought.lines[index].line_id.clone() };
            What::Lines(pb::ReturnLines { lines: vec![pb::ReturnLine { line_id, quantity: self.dice.random_range(1..=2) }] })
        } else {
            let left = match self.dice.random_range(0..10) {
                0 => net,
                1 => net + 100,
                2 | 3 => 0,
                _ => self.dice.random_range(0..=net),
            };
            let currency_code = if self.percent(5) { "EUR" } else { "CNY" }.to_owned();
            What::RemainingNet(Money { currency_code, minor_units: left })
        };
        let occur_time = match self.dice.random_range(0..20) {
            0 => Some(time(self.start + 40 * DAY)),
            1 => Some(time(self.start - 60 * DAY)),
            2 => Some(time(self.start - HOUR)),
            _ => None,
        };
        Call::ReturnPurchase(pb::ReturnPurchaseRequest {
            purchase: format!("{TEA}/purchases/{}", bought.purchase_id),
            what: Some(what),
            store: if self.percent(20) { STORE } else { "" }.to_owned(),
            terminal: String::new(),
            occur_time,
            historical: false,
            request_id,
            give_back_points: None,
        })
    }

    fn adjust(&mut self) -> Call {
        let points = self.dice.random_range(-90..90);
        Call::Adjust(pb::AdjustRequest {
            member: self.member(),
            points: if points == 0 { 1 } else { points },
            wallet: self.wallet(),
            reason: "a cold tea".to_owned(),
            approver: "employees/17".to_owned(),
            request_id: self.id(),
        })
    }

    fn ensure(&mut self) -> Call {
        let reward = self.dice.random_range(0..REWARDS);
        let owner = if self.percent(85) { member(reward.unsigned_abs() as u128 % MEMBERS + 1) } else { self.member() };
        Call::EnsureReward(pb::EnsureRewardRequest {
            member: owner,
            reward_key: format!("referral/{reward}"),
            points: 10 + reward,
            wanted: self.percent(60),
            version: self.dice.random_range(1..=6),
            reason: "referral".to_owned(),
            request_id: self.id(),
        })
    }

    /// A request that was made before or is being made by another client right now.
    fn again(&mut self) -> Call {
        self.recent_change().unwrap_or_else(|| self.award())
    }

    /// Another request under the id of an earlier one: a field is changed, or it is another RPC.
    fn reused(&mut self) -> Call {
        let Some(mut call) = self.recent_change() else { return self.award() };
        let id = call.request_id().expect("it was chosen for one").to_owned();
        if self.percent(15) {
            return self.redeem().under(&id);
        }
        let other = self.member();
        match &mut call {
            Call::Award(request) => match request.purchase.as_mut() {
                Some(input) if self.percent(50) => input.channel = "web".to_owned(),
                _ => request.member = other,
            },
            Call::Redeem(request) => request.points += 1,
            Call::Reserve(request) => request.reference = "another".to_owned(),
            Call::Capture(request) => request.points = Some(request.points.map_or(1, |points| points + 1)),
            Call::Release(request) => request.name = reservation_name(&other, "another"),
            Call::ReturnPurchase(request) => request.occur_time = Some(time(self.start - 2 * HOUR)),
            Call::Adjust(request) => request.points = if request.points == 7 { 8 } else { 7 },
            Call::EnsureReward(request) => request.wanted = !request.wanted,
            Call::SettleDue(request) => request.accounts_max = 7,
            other => panic!("{} has no request id", other.rpc()),
        }
        call
    }

    fn read(&mut self) -> Call {
        let parent = TEA.to_owned();
        match self.dice.random_range(0..12) {
            0..3 => Call::GetBalance(pb::GetBalanceRequest { member: self.member(), ..Default::default() }),
            3..5 => {
                let page_size = self.one_of(&[0, 1, 10, 1000]);
                Call::ListEntries(pb::ListEntriesRequest { parent: self.member(), page_size, page_token: String::new() })
            }
            5 | 6 => {
                let bought = self.recent(|call| matches!(call, Call::Award(_)));
                let id = match bought {
                    Some(Call::Award(request)) => request.purchase.unwrap_or_default().purchase_id,
                    _ => "never".to_owned(),
                };
                Call::GetPurchase(pb::GetPurchaseRequest { name: format!("{TEA}/purchases/{id}") })
            }
            7 | 8 => {
                let asked = self.recent(|call| call.request_id().is_some());
                let request_id = asked.and_then(|call| call.request_id().map(str::to_owned)).unwrap_or_else(|| "never".to_owned());
                Call::GetOperation(pb::GetOperationRequest { parent, request_id })
            }
            _ => Call::PreviewAward(pb::PreviewAwardRequest { parent, member: self.member(), purchase: Some(self.purchase_input()) }),
        }
    }
}

/// The calls with which a test ends: what everything has come to.
pub(crate) fn final_reads() -> Vec<Call> {
    let of = |member: String| {
        let entries = pb::ListEntriesRequest { parent: member.clone(), page_size: 1000, page_token: String::new() };
        [Call::ListEntries(entries), Call::GetBalance(pb::GetBalanceRequest { member, ..Default::default() })]
    };
    members().flat_map(of).collect()
}
