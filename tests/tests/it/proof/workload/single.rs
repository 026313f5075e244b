//! What is asked of one account.

use proto::common::Money;
use proto::points as pb;
use proto::points::redeem_request::Mode;
use proto::points::return_purchase_request::What;
use proto::points::set_expiry_request::To;
use rand::RngExt;

use super::between::{merge, unmerge};
use super::{HOUR, Joins, MEMBERS, Planner, REWARDS, member};
use crate::it::proof::calls::Call;
use crate::it::proof::model::{DAY, days, operation_name, pool_member, reservation_name, time};
use crate::it::suite::{STORE, TEA, TILL};

impl Planner {
    pub(super) fn purchase_input(&mut self) -> pb::PurchaseInput {
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
            cashier: String::new(),
            purchase_id: format!("purchase-{id}"),
            net: Some(Money { currency_code, minor_units: fen }),
            lines,
            store: store.to_owned(),
            terminal: terminal.to_owned(),
            channel: if self.percent(20) { "app" } else { "" }.to_owned(),
            occur_time,
            ..pb::PurchaseInput::default()
        }
    }

    /// When something happened that a till tells of: mostly now, sometimes before, and sometimes never believed.
    fn told_time(&mut self) -> Option<prost_types::Timestamp> {
        match self.dice.random_range(0..20) {
            0 => Some(time(self.start + 40 * DAY)),
            1 => Some(time(self.start - 60 * DAY)),
            2..4 => Some(time(self.start - HOUR)),
            _ => None,
        }
    }

    pub(super) fn award(&mut self) -> Call {
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
        let mut member = if self.percent(8) { String::new() } else { self.member() };
        let mut purchase = self.purchase_input();
        if self.percent(30) {
            // What was spent a moment ago has paid for it, or so somebody says.
            for _ in 0..self.one_of(&[1, 1, 2]) {
                if let Some((spender, redemption)) = self.redemption()
                    && !purchase.redemptions.contains(&redemption)
                {
                    member = if self.percent(95) || member.is_empty() { spender } else { member };
                    purchase.redemptions.push(redemption);
                }
            }
        }
        Call::Award(pb::AwardRequest { parent, member, purchase: Some(purchase), historical: self.percent(3), request_id })
    }

    pub(super) fn wallet(&mut self) -> String {
        if self.percent(4) { "stars" } else { self.one_of(&["", "points"]) }.to_owned()
    }

    pub(super) fn redeem(&mut self) -> Call {
        // Now and then all that there is, so that a return finds too little.
        let (mode, points_max) = match self.dice.random_range(0..10) {
            0..6 => (Mode::Unspecified, 30),
            6..9 => (Mode::UpTo, 70),
            _ => (Mode::UpTo, 1_000),
        };
        if self.percent(15) {
            // Two give all of it back, and one a part, at the same moment.
            let redemption = operation_name(&self.id());
            for points in [Some(3), None, None] {
                let redemption = redemption.clone();
                self.later(2, Call::RefundRedemption(pb::RefundRedemptionRequest { redemption, points, ..Default::default() }));
            }
        }
        Call::Redeem(pb::RedeemRequest {
            cashier: String::new(),
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

    pub(super) fn reserve(&mut self) -> Call {
        let (member, request_id) = (self.member(), self.id());
        let several_captures = self.percent(40);
        if several_captures {
            // An order that is shipped bit by bit.
            for (steps, points) in [(2, Some(2)), (3, Some(1)), (3, Some(20)), (5, None)] {
                let name = reservation_name(&member, &request_id);
                self.later(steps, Call::Capture(pb::CaptureRequest { name, points, ..Default::default() }));
            }
        }
        let seconds = self.one_of(&[0, 0, 1, 60, 86_400]);
        Call::Reserve(pb::ReserveRequest {
            cashier: String::new(),
            member,
            points: self.dice.random_range(1..=15),
            wallet: self.wallet(),
            ttl: (seconds > 0).then_some(prost_types::Duration { seconds, nanos: 0 }),
            reference: format!("basket-{}", self.calls.len()),
            store: String::new(),
            terminal: if self.percent(20) { TILL } else { "" }.to_owned(),
            request_id,
            several_captures,
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

    pub(super) fn capture(&mut self) -> Call {
        let points = match self.dice.random_range(0..10) {
            0..4 => None,
            4 => Some(0),
            5..9 => Some(self.dice.random_range(1..=8)),
            _ => Some(500),
        };
        let (name, request_id, last) = (self.reservation(), self.id(), self.percent(15));
        Call::Capture(pb::CaptureRequest {
            cashier: String::new(),
            name,
            points,
            store: String::new(),
            terminal: String::new(),
            request_id,
            last,
        })
    }

    pub(super) fn release(&mut self) -> Call {
        Call::Release(pb::ReleaseRequest { name: self.reservation(), request_id: self.id() })
    }

    pub(super) fn return_purchase(&mut self) -> Call {
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
                2..5 => 0,
                _ => self.dice.random_range(0..=net),
            };
            let currency_code = if self.percent(5) { "EUR" } else { "CNY" }.to_owned();
            What::RemainingNet(Money { currency_code, minor_units: left })
        };
        let occur_time = self.told_time();
        Call::ReturnPurchase(pb::ReturnPurchaseRequest {
            cashier: String::new(),
            purchase: format!("{TEA}/purchases/{}", bought.purchase_id),
            what: Some(what),
            store: if self.percent(20) { STORE } else { "" }.to_owned(),
            terminal: String::new(),
            occur_time,
            historical: false,
            request_id,
            give_back_points: match self.dice.random_range(0..20) {
                0..3 => Some(self.dice.random_range(0..=5)),
                3 => Some(100_000),
                _ => None,
            },
        })
    }

    pub(super) fn adjust(&mut self) -> Call {
        let points = self.dice.random_range(-60..120);
        Call::Adjust(pb::AdjustRequest {
            member: self.member(),
            points: if points == 0 { 1 } else { points },
            wallet: self.wallet(),
            reason: "a cold tea".to_owned(),
            approver: "employees/17".to_owned(),
            request_id: self.id(),
        })
    }

    pub(super) fn ensure(&mut self) -> Call {
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
            wallet: String::new(),
        })
    }

    pub(super) fn award_activity(&mut self) -> Call {
        // The same activity under another id, or another one under the same name.
        if self.percent(15)
            && let Some(Call::AwardActivity(first)) = self.recent(|call| matches!(call, Call::AwardActivity(_)))
        {
            let member = if self.percent(50) { self.member() } else { first.member.clone() };
            return Call::AwardActivity(pb::AwardActivityRequest { request_id: self.id(), member, ..first });
        }
        Call::AwardActivity(pb::AwardActivityRequest {
            cashier: String::new(),
            member: self.member(),
            activity: self.one_of(&["check_in", "check_in", "review"]).to_owned(),
            activity_id: format!("activity-{}", self.calls.len()),
            occur_time: self.told_time(),
            store: if self.percent(20) { STORE } else { "" }.to_owned(),
            terminal: String::new(),
            historical: false,
            proof_url: String::new(),
            request_id: self.id(),
        })
    }

    /// The event that pending points wait for has come, or will not.
    pub(super) fn resolve(&mut self) -> Call {
        let event = if self.percent(95) { "delivered" } else { "lost" }.to_owned();
        let earned = self.recent(|call| matches!(call, Call::Award(_) | Call::AwardActivity(_)));
        let (member, reference) = match earned {
            Some(Call::Award(request)) if !request.member.is_empty() => {
                (request.member, request.purchase.map(|input| input.purchase_id).unwrap_or_default())
            }
            Some(Call::AwardActivity(request)) => (request.member, request.activity_id),
            _ => (self.member(), String::new()),
        };
        let pending_reference = if self.percent(70) { reference } else { String::new() };
        let request_id = self.id();
        if self.percent(30) {
            let reason = "never sent".to_owned();
            return Call::CancelPending(pb::CancelPendingRequest { member, event, pending_reference, reason, request_id });
        }
        let occur_time = self.told_time();
        Call::ActivatePending(pb::ActivatePendingRequest { member, event, pending_reference, occur_time, request_id })
    }

    /// A redemption that there may be, with the member who spent.
    fn redemption(&mut self) -> Option<(String, String)> {
        let how = self.one_of(&["Redeem", "Redeem", "Redeem", "Capture", "RedeemFromPool"]);
        let spent = self.recent(|call| call.rpc() == how)?;
        let member = match &spent {
            Call::Redeem(request) => request.member.clone(),
            Call::RedeemFromPool(request) => request.member.clone(),
            Call::Capture(request) => request.name.split("/reservations/").next()?.to_owned(),
            _ => return None,
        };
        // In a pool's place nobody buys.
        let is_pool = self.pools.iter().any(|(pool, _)| pool_member(pool) == member);
        if is_pool {
            return None;
        }
        Some((member, operation_name(spent.request_id()?)))
    }

    pub(super) fn refund(&mut self) -> Call {
        let how = self.one_of(&["Redeem", "Redeem", "Redeem", "Capture", "RedeemFromPool"]);
        let spends = |call: &Call| call.rpc() == how;
        let mut spent = self.recent(spends);
        if self.percent(50) {
            // Long ago: what it took may have lapsed since.
            let all: Vec<&Call> = self.calls.iter().filter(|call| spends(call)).collect();
            spent = if all.is_empty() { None } else { Some(all[self.dice.random_range(0..all.len())].clone()) };
        }
        let spent = spent.and_then(|call| call.request_id().map(operation_name));
        let points = match self.dice.random_range(0..10) {
            0..4 => None,
            8 | 9 => Some(5_000),
            _ => Some(self.dice.random_range(1..=20)),
        };
        Call::RefundRedemption(pb::RefundRedemptionRequest {
            cashier: String::new(),
            redemption: spent.filter(|_| self.percent(95)).unwrap_or_else(|| operation_name("never")),
            points,
            store: String::new(),
            terminal: if self.percent(20) { TILL } else { "" }.to_owned(),
            request_id: self.id(),
        })
    }

    pub(super) fn set_expiry(&mut self) -> Call {
        let to = match self.dice.random_range(0..10) {
            0..5 => To::Later(days(self.dice.random_range(1..=3))),
            5..7 => To::ExpireTime(time(self.start + self.dice.random_range(2..8) * DAY)),
            7 => To::ExpireTime(time(self.start - HOUR)),
            _ => To::Never(true),
        };
        Call::SetExpiry(pb::SetExpiryRequest {
            member: self.member(),
            wallet: self.wallet(),
            lapse_by_time: self.percent(30).then(|| time(self.start + 3 * DAY)),
            to: Some(to),
            reason: "the shop was closed".to_owned(),
            approver: "employees/17".to_owned(),
            request_id: self.id(),
        })
    }

    /// Somebody spends all that he has, then his goods go back, and then what he owes is waived.
    pub(super) fn ruin(&mut self) -> Call {
        let Some(Call::Award(bought)) = self.recent(|call| matches!(call, Call::Award(award) if !award.member.is_empty())) else {
            return self.award();
        };
        let member = bought.member.clone();
        let nothing = What::RemainingNet(Money { currency_code: "CNY".to_owned(), minor_units: 0 });
        let purchase = purchase_name(&bought);
        self.later(2, Call::ReturnPurchase(pb::ReturnPurchaseRequest { purchase, what: Some(nothing), ..Default::default() }));
        let survivor = self.member();
        if self.joins == Joins::Undone && survivor != member {
            // What he owes goes along and comes back.
            self.later(4, merge(&survivor, &member));
            self.later(6, unmerge(&survivor, &member));
        }
        if let Call::ForgiveDeficit(waived) = self.forgive() {
            self.later(8, Call::ForgiveDeficit(pb::ForgiveDeficitRequest { member: member.clone(), wallet: String::new(), ..waived }));
        }
        let mode = Mode::UpTo.into();
        Call::Redeem(pb::RedeemRequest { member, points: 1_000, mode, request_id: self.id(), ..Default::default() })
    }

    pub(super) fn forgive(&mut self) -> Call {
        Call::ForgiveDeficit(pb::ForgiveDeficitRequest {
            member: self.member(),
            wallet: self.wallet(),
            points: self.percent(60).then(|| self.dice.random_range(1..=12)),
            reason: "goodwill".to_owned(),
            approver: "employees/17".to_owned(),
            request_id: self.id(),
        })
    }
}

fn purchase_name(award: &pb::AwardRequest) -> String {
    format!("{TEA}/purchases/{}", award.purchase.as_ref().map_or("", |input| input.purchase_id.as_str()))
}
