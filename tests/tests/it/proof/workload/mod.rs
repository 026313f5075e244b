//! What clients do, all of it decided by a seed: the calls may meet in any order, but what is asked is the same in every run.

mod between;
mod single;

use proto::events::MemberState;
use proto::points as pb;
use proto::points::terms::{PointRounding, ReturnPolicy};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::calls::Call;
use super::model::{Activation, DAY, Rules, operation_name, pool_member, pool_name, reservation_name, time};
use crate::it::suite::TEA;

pub(crate) const CLIENTS: usize = 6;
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// What is refused most is rather done than refused: few enough members that clients meet, and enough points to spend.
const MEMBERS: u128 = 4;
const REWARDS: i64 = 5;
const POOLS: usize = 2;

/// A step of a client.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call(Box<Call>),
    /// The server's clock is set forward, or back.
    Clock(i64),
    /// The ledger is told the state of a member.
    Tell(String, MemberState),
}

/// What every client does, one step after the other, under which terms.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<Rules>,
    pub(crate) clients: Vec<Vec<Step>>,
    /// The members in whose place pools stand that are opened on the way.
    pools: Vec<String>,
}

fn member(number: u128) -> String {
    format!("{TEA}/members/{}", kernel::Uuid::from_u128(number))
}

fn members() -> impl Iterator<Item = String> {
    (1..=MEMBERS).map(member)
}

struct Planner {
    dice: StdRng,
    start: i64,
    /// Every call so far, in the order in which they are about to be made.
    calls: Vec<Call>,
    /// How many there will be.
    calls_max: usize,
    /// What happens to accounts in this plan.
    joins: Joins,
    /// Pools that are being opened, each with its owner.
    pools: Vec<(String, String)>,
    /// How often something was asked again or otherwise.
    turn: usize,
    /// What is going to be asked once so many calls have been made.
    later: Vec<(usize, Call)>,
    /// Who is going to be active again once so many calls have been made.
    excluded: Vec<(usize, String)>,
}

/// How the accounts of a plan come together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joins {
    /// Accounts stay apart.
    Never,
    /// Accounts are merged, most of them late: few stay.
    Late,
    /// Accounts are merged and let go all the time.
    Undone,
}

/// The plan of a seed: each client makes so many steps, with the servers' clock at about `start` in the beginning.
pub(crate) fn plan(seed: u64, steps: usize, start: i64) -> Plan {
    let mut dice = StdRng::seed_from_u64(seed);
    let joins = [Joins::Never, Joins::Late, Joins::Undone][dice.random_range(0..3)];
    let mut planner = Planner {
        dice,
        start,
        calls: Vec::new(),
        calls_max: steps * CLIENTS,
        joins,
        pools: Vec::new(),
        turn: 0,
        later: Vec::new(),
        excluded: Vec::new(),
    };
    let rules = planner.rules();
    let mut clients = vec![Vec::new(); CLIENTS];
    for _ in 0..steps {
        for steps in &mut clients {
            if planner.dice.random_ratio(1, 50) {
                steps.push(Step::Clock(planner.jump()));
            }
            steps.extend(planner.news());
            let call = planner.call();
            planner.calls.push(call.clone());
            steps.push(Step::Call(Box::new(call)));
        }
    }
    let pools = planner.pools.iter().map(|(pool, _)| pool_member(pool)).collect();
    Plan { rules, clients, pools }
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
            activation: self.one_of(&[
                Activation::After(0),
                Activation::After(0),
                Activation::After(0),
                Activation::After(1),
                Activation::At(start + 7 * HOUR),
                Activation::On("delivered", 0),
                Activation::On("delivered", 1),
            ]),
            expire_days: self.one_of(&[0, 1, 2, 4]),
            slides: self.percent(35),
            expire_at_midnight: self.percent(50),
            policy: self.one_of(&[
                ReturnPolicy::Unlimited,
                ReturnPolicy::Unlimited,
                ReturnPolicy::WithinBalance,
                ReturnPolicy::WithinBalance,
                ReturnPolicy::OnlyPending,
            ]),
            deficit_cap: self.one_of(&[0, 40]),
            grace_days: self.one_of(&[0, 0, 1]),
            hold_seconds: self.one_of(&[900, 7_200]),
            // A review earns something from the second version on.
            activities: [("check_in", self.dice.random_range(1..=9)), ("review", 50)]
                .into_iter()
                .take(number.unsigned_abs() as usize)
                .collect(),
        };
        vec![version(1, start), version(2, start + 2 * DAY)]
    }

    fn jump(&mut self) -> i64 {
        self.one_of(&[5 * MINUTE, HOUR, 5 * HOUR, 9 * HOUR, DAY, 2 * DAY, -10 * MINUTE, -2 * HOUR])
    }

    /// Somebody is blocked or leaves for a while, or is back.
    fn news(&mut self) -> Option<Step> {
        if let Some(index) = self.excluded.iter().position(|(due, _)| *due <= self.calls.len()) {
            return Some(Step::Tell(self.excluded.remove(index).1, MemberState::Active));
        }
        if !self.dice.random_ratio(1, 70) {
            return None;
        }
        let (member, state) = (self.member(), self.one_of(&[MemberState::Blocked, MemberState::Blocked, MemberState::Closed]));
        self.excluded.push((self.calls.len() + 3 * CLIENTS, member.clone()));
        Some(Step::Tell(member, state))
    }

    fn id(&self) -> String {
        format!("request-{}", self.calls.len())
    }

    fn member(&mut self) -> String {
        member(self.dice.random_range(1..=MEMBERS))
    }

    /// A call that another client is about to make or has just made, or has made a little while ago.
    fn recent(&mut self, wanted: impl Fn(&Call) -> bool) -> Option<Call> {
        let under_way = if self.percent(50) { 0 } else { 2 * CLIENTS };
        let found: Vec<&Call> = self.calls.iter().rev().skip(under_way).filter(|call| wanted(call)).take(8).collect();
        let index = if found.is_empty() { return None } else { self.dice.random_range(0..found.len()) };
        Some(found[index].clone())
    }

    /// Has somebody ask something when each client has made so many steps. What is asked after the same number of steps, is asked by
    /// clients of the same step, and so at once.
    fn later(&mut self, steps: usize, call: Call) {
        self.later.push((self.calls.len() + steps * CLIENTS, call));
    }

    /// A recent change, one RPC after the other.
    fn recent_change(&mut self) -> Option<Call> {
        let mut rpcs: Vec<&str> = self.calls.iter().filter(|call| call.request_id().is_some()).map(Call::rpc).collect();
        rpcs.sort_unstable();
        rpcs.dedup();
        self.turn += 1;
        let rpc = *rpcs.get(self.turn % rpcs.len().max(1))?;
        self.recent(|call| call.rpc() == rpc)
    }

    fn call(&mut self) -> Call {
        if let Some(index) = self.later.iter().position(|(due, _)| *due <= self.calls.len()) {
            return self.later.remove(index).1.under(&self.id());
        }
        let due = self.calls.len() * 3 > self.calls_max * 2;
        match self.joins {
            Joins::Late if due && self.dice.random_ratio(1, 40) => return self.merge(),
            Joins::Undone if self.dice.random_ratio(1, 35) => return self.merge(),
            Joins::Undone if self.dice.random_ratio(1, 35) => return self.unmerge(),
            _ => {}
        }
        match self.dice.random_range(0..170) {
            0..20 => self.award(),
            20..22 => self.ruin(),
            22..32 => self.award_activity(),
            32..38 => self.resolve(),
            38..47 => self.redeem(),
            47..57 => self.refund(),
            57..66 => self.reserve(),
            66..77 => self.capture(),
            77..80 => self.release(),
            80..90 => self.return_purchase(),
            90..95 => self.adjust(),
            95..98 => self.set_expiry(),
            98 => self.forgive(),
            99..104 => self.ensure(),
            104 => Call::SettleDue(pb::SettleDueRequest { parent: TEA.to_owned(), accounts_max: 0, request_id: self.id() }),
            105..113 => self.transfer(),
            113..129 => self.pool(),
            129..147 => self.again(),
            147..158 => self.reused(),
            _ => self.read(),
        }
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
            Call::AwardActivity(request) => request.member = other,
            Call::ActivatePending(request) => request.event = "lost".to_owned(),
            Call::CancelPending(request) => request.reason = "changed".to_owned(),
            Call::RefundRedemption(request) => request.points = Some(request.points.map_or(1, |points| points + 1)),
            Call::SetExpiry(request) => request.approver = "employees/18".to_owned(),
            Call::ForgiveDeficit(request) => request.points = Some(request.points.map_or(1, |points| points + 1)),
            Call::Transfer(request) => request.points += 1,
            Call::MergeAccounts(request) => request.reason = "changed".to_owned(),
            Call::UnmergeAccounts(request) => request.reason = "changed".to_owned(),
            Call::CreatePool(request) => request.shares = !request.shares,
            Call::InviteToPool(request) => request.invited_member = if request.invited_member == other { member(9) } else { other },
            Call::JoinPool(request) => request.shares = !request.shares,
            Call::SetPoolSharing(request) => request.shares = !request.shares,
            Call::ContributeToPool(request) => request.points += 1,
            Call::LeavePool(request) => request.member = if request.member == other { member(9) } else { other },
            Call::RedeemFromPool(request) => request.points += 1,
            Call::SettleDue(request) => request.accounts_max = 7,
            other => panic!("{} has no request id", other.rpc()),
        }
        call
    }

    fn read(&mut self) -> Call {
        let parent = TEA.to_owned();
        match self.dice.random_range(0..13) {
            12 => {
                let (some, never) = (self.some_pool().0, pool_name(&operation_name("never")));
                Call::GetPool(pb::GetPoolRequest { name: if self.percent(20) { never } else { some } })
            }
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
pub(crate) fn final_reads(plan: &Plan) -> Vec<Call> {
    let accounts = || members().chain(plan.pools.iter().cloned());
    let pools = plan.pools.iter().map(|pool| Call::GetPool(pb::GetPoolRequest { name: pool_name(pool) }));
    let balances = accounts().map(|member| Call::GetBalance(pb::GetBalanceRequest { member, ..Default::default() }));
    // Last, since nothing else tells what the clock has done meanwhile.
    let entries = accounts().map(|parent| Call::ListEntries(pb::ListEntriesRequest { parent, page_size: 1000, page_token: String::new() }));
    pools.chain(balances).chain(entries).collect()
}
