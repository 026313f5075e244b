//! The commands: each changes an account and makes an operation, or is refused. A new one is a new arm in `carry_out`.

use std::sync::Arc;

use proto::points as pb;
use proto::points::EntryKind;
use proto::points::operation::Kind;
use proto::points::reservation::State;
use proto::points::terms::ReturnPolicy;
use tonic::Code;

use super::account::{About, Account, LotKey, Stamp};
use super::rules::{time, version_at, yuan};
use super::{Purchase, SECOND, World, input, purchase_name, reservation_name};
use crate::it::proof::calls::{Answer, Call, Refusal};
use crate::it::suite::TEA;

impl World {
    /// Carries out a command, or says why not. Everything that is kept besides the account is changed on success only.
    pub(super) fn carry_out(&mut self, call: &Call, now: i64, due: &[Arc<pb::Entry>]) -> Result<(Answer, pb::Operation), Refusal> {
        let member = self.member_of(call);
        let mut account = member.as_ref().map(|member| (*self.account(member)).clone()).unwrap_or_default();
        let before = account.entries.len();
        let stamp = self.stamp(call, now);
        let mut operation = pb::Operation {
            name: stamp.operation.clone(),
            request_id: stamp.request_id.clone(),
            member: member.clone().unwrap_or_default(),
            occur_time: Some(time(stamp.occurred)),
            record_time: Some(time(now)),
            ..pb::Operation::default()
        };
        let mut ensured = None;
        let kind = match call {
            Call::Award(request) => {
                let purchase = self.award(input(request), member.as_deref(), &mut account, &stamp, &mut operation);
                self.purchases.insert(&purchase.told.name.clone(), purchase);
                Kind::Award
            }
            Call::Redeem(request) => {
                self.redeem(request, &mut account, &stamp)?;
                operation.requested_points = request.points;
                Kind::Redeem
            }
            Call::Reserve(request) => {
                operation.reservation = Some(self.reserve(request, &mut account, &stamp)?);
                operation.requested_points = request.points;
                Kind::Reserve
            }
            Call::Capture(request) => {
                let (held, points) =
                    self.end(&request.name, &mut account, &stamp, State::Captured, |held| request.points.unwrap_or(held))?;
                (operation.reservation, operation.requested_points) = (Some(held), points);
                Kind::Capture
            }
            Call::Release(request) => {
                operation.reservation = Some(self.end(&request.name, &mut account, &stamp, State::Released, |_| 0)?.0);
                Kind::Release
            }
            Call::ReturnPurchase(request) => {
                operation.r#return = Some(self.take_back(request, member.is_some(), &mut account, &stamp)?);
                operation.purchase = request.purchase.clone();
                Kind::Return
            }
            Call::Adjust(request) => {
                self.adjust(request, &mut account, &stamp)?;
                operation.requested_points = request.points;
                Kind::Adjust
            }
            Call::EnsureReward(request) => {
                ensured = Some(self.ensure(request, &mut account, &stamp));
                Kind::Reward
            }
            other => panic!("{} is no command", other.rpc()),
        };
        operation.kind = kind.into();
        // What has lapsed at once is the clock's doing.
        let own = account.entries[before..].iter().filter(|entry| entry.kind() != EntryKind::Expire);
        operation.actual_points = own.map(|entry| entry.points).sum();
        if let Some(member) = member {
            operation.entries = due.iter().chain(&account.entries[before..]).map(|entry| (**entry).clone()).collect();
            operation.balance = Some(account.balance(now, false));
            self.accounts.insert(member, Arc::new(account));
        }
        let answer = ensured.map_or_else(|| Answer::first(&operation), |ensured| Answer::first(&ensured));
        Ok((answer, operation))
    }

    pub(super) fn award(
        &self,
        input: &pb::PurchaseInput,
        member: Option<&str>,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Purchase {
        let rules = version_at(&self.rules, stamp.occurred);
        let fen = input.net.as_ref().map_or(0, |net| net.minor_units);
        let points = rules.points(fen);
        let (key, name) = (rules.lot(stamp.occurred, stamp.now), purchase_name(input));
        let lot = (member.is_some() && points > 0).then_some(key);
        let version = format!("{TEA}/versions/{}", rules.number);
        operation.purchase = name.clone();
        operation.award = Some(pb::AwardExplanation {
            net: yuan(fen),
            base_points: points,
            bonus_points: 0,
            components: vec![pb::AwardComponent { source: "base".to_owned(), factor: rules.rate(), points }],
            program_version: version,
            tier: String::new(),
            activate_time: lot.and_then(|lot| lot.activates).map(time),
            expire_time: lot.filter(|lot| lot.expires != i64::MAX).map(|lot| time(lot.expires)),
            first_purchase: member.is_some() && account.purchases == 0,
        });
        if member.is_some() {
            let about = About { purchase: name.clone(), terms: rules.number, ..About::default() };
            account.credit(stamp, EntryKind::Award, &about, key, points);
            account.purchases += 1;
        }
        let told = pb::Purchase {
            name,
            member: member.unwrap_or_default().to_owned(),
            store: stamp.store.clone(),
            terminal: stamp.terminal.clone(),
            channel: input.channel.clone(),
            offer: input.offer.clone(),
            net: yuan(fen),
            remaining_net: yuan(fen),
            lines: input.lines.clone(),
            returned_quantities: vec![0; input.lines.len()],
            base_points: points,
            due_points: if member.is_some() { points } else { 0 },
            returns: 0,
            occur_time: Some(time(stamp.occurred)),
            record_time: Some(time(stamp.now)),
            operation: stamp.operation.clone(),
            redeemed_points: 0,
            given_back_points: 0,
        };
        let rules = self.rules.iter().position(|version| version.number == rules.number).expect("it is one of them");
        Purchase { told, lot, rules, recorded_by: stamp.request_id.clone() }
    }

    fn redeem(&self, request: &pb::RedeemRequest, account: &mut Account, stamp: &Stamp) -> Result<(), Refusal> {
        let there = account.active();
        let up_to = request.mode() == pb::redeem_request::Mode::UpTo;
        let points = if up_to { request.points.min(there) } else { request.points };
        if points > there || points == 0 {
            return Err(missing(request.points - there));
        }
        let about = About { reason: request.reference.clone(), terms: version_at(&self.rules, stamp.now).number, ..About::default() };
        account.spend(stamp, EntryKind::Redeem, &about, points);
        Ok(())
    }

    fn reserve(&self, request: &pb::ReserveRequest, account: &mut Account, stamp: &Stamp) -> Result<pb::Reservation, Refusal> {
        if request.points > account.active() {
            return Err(missing(request.points - account.active()));
        }
        let rules = version_at(&self.rules, stamp.now);
        let until = stamp.now + request.ttl.as_ref().map_or(rules.hold_seconds, |ttl| ttl.seconds) * SECOND;
        let reservation = reservation_name(&request.member, &request.request_id);
        let about = About { reservation, reason: request.reference.clone(), terms: rules.number, ..About::default() };
        account.hold(stamp, &about, request.points, until);
        Ok(reservation_told(&about.reservation, State::Open, request.points, 0, until))
    }

    /// Ends a reservation; how much of it is spent follows from what it holds.
    fn end(
        &mut self,
        name: &str,
        account: &mut Account,
        stamp: &Stamp,
        how: State,
        spent: impl Fn(i64) -> i64,
    ) -> Result<(pb::Reservation, i64), Refusal> {
        let Some(hold) = account.holds.iter().find(|hold| hold.name == name).cloned() else {
            let (code, reason) = match self.ended.get(name) {
                Some(State::Captured) => (Code::FailedPrecondition, "RESERVATION_CAPTURED"),
                Some(State::Released) => (Code::FailedPrecondition, "RESERVATION_RELEASED"),
                Some(State::Expired) => (Code::FailedPrecondition, "RESERVATION_EXPIRED"),
                _ => (Code::NotFound, "RESERVATION_NOT_FOUND"),
            };
            return Err(Refusal::new(code, reason, &[]));
        };
        let points = spent(hold.points);
        if points > hold.points {
            return Err(Refusal::new(Code::FailedPrecondition, "EXCEEDS_RESERVATION", &[("held_points", hold.points.to_string())]));
        }
        match how {
            State::Captured => account.capture(stamp, &self.rules, name, points),
            _ => account.give_up(stamp, &self.rules, name),
        }
        self.ended.insert(name, how);
        Ok((reservation_told(name, how, hold.points, points, hold.until), points))
    }

    fn take_back(
        &mut self,
        request: &pb::ReturnPurchaseRequest,
        of_member: bool,
        account: &mut Account,
        stamp: &Stamp,
    ) -> Result<pb::ReturnExplanation, Refusal> {
        use pb::return_purchase_request::What;
        let precondition = |reason: &str, key: &str, value: String| Refusal::new(Code::FailedPrecondition, reason, &[(key, value)]);
        let Some(purchase) = self.purchases.get(&request.purchase) else {
            return Err(Refusal::new(Code::NotFound, "PURCHASE_NOT_FOUND", &[]));
        };
        let Purchase { mut told, lot, rules, recorded_by } = purchase.clone();
        let before = told.remaining_net.as_ref().map_or(0, |net| net.minor_units);
        let left = match request.what.as_ref().expect("the contract demands it") {
            What::Lines(lines) => {
                for line in &lines.lines {
                    let index = told.lines.iter().position(|known| known.line_id == line.line_id);
                    let index = index.ok_or_else(|| precondition("LINE_NOT_FOUND", "line_id", line.line_id.clone()))?;
                    let pieces_left = told.lines[index].quantity - told.returned_quantities[index];
                    if line.quantity > pieces_left {
                        return Err(precondition("EXCEEDS_PURCHASE", "left", pieces_left.to_string()));
                    }
                    told.returned_quantities[index] += line.quantity;
                }
                let kept = told
                    .lines
                    .iter()
                    .zip(&told.returned_quantities)
                    .map(|(line, back)| line.net_minor_units * (line.quantity - back) / line.quantity);
                before.min(kept.sum())
            }
            What::RemainingNet(net) if net.minor_units > before => {
                return Err(precondition("EXCEEDS_PURCHASE", "left", before.to_string()));
            }
            What::RemainingNet(net) if net.minor_units == before => {
                return Err(Refusal::new(Code::FailedPrecondition, "NOTHING_TO_RETURN", &[]));
            }
            What::RemainingNet(net) => net.minor_units,
        };
        let rules_then = &self.rules[rules];
        let points = rules_then.points(left);
        let due = if of_member { points } else { 0 };
        let mut taken = [0; 4];
        if of_member {
            let own = lot.map(|lot| if lot.activates.is_some_and(|at| at <= stamp.now) { LotKey { activates: None, ..lot } } else { lot });
            let about = About { purchase: told.name.clone(), terms: rules_then.number, ..About::default() };
            let policy = (rules_then.policy, rules_then.deficit_cap);
            taken = account.take_back(stamp, EntryKind::Clawback, &about, told.due_points - due, own, policy);
        }
        (told.remaining_net, told.base_points, told.due_points) = (yuan(left), points, due);
        told.returns += 1;
        self.purchases.insert(&request.purchase, Purchase { told, lot, rules, recorded_by });
        let [taken_from_pending, taken_from_active, added_to_deficit, forgiven] = taken;
        Ok(pb::ReturnExplanation {
            returned: yuan(before - left),
            remaining: yuan(left),
            due_points: due,
            taken_from_pending,
            taken_from_active,
            added_to_deficit,
            forgiven,
            refund: None,
        })
    }

    fn adjust(&self, request: &pb::AdjustRequest, account: &mut Account, stamp: &Stamp) -> Result<(), Refusal> {
        let rules = version_at(&self.rules, stamp.now);
        let (reason, approver) = (request.reason.clone(), request.approver.clone());
        let about = About { reason, approver, terms: rules.number, ..About::default() };
        if request.points > 0 {
            let key = rules.open_lot(stamp.now);
            account.credit(stamp, EntryKind::Adjust, &about, key, request.points);
        } else if -request.points > account.active() {
            return Err(missing(-request.points - account.active()));
        } else {
            account.spend(stamp, EntryKind::Adjust, &about, -request.points);
        }
        Ok(())
    }

    fn ensure(&mut self, request: &pb::EnsureRewardRequest, account: &mut Account, stamp: &Stamp) -> pb::EnsureRewardResponse {
        let mut reward = self.rewards.get(&request.reward_key).cloned().unwrap_or_default();
        if request.version > reward.version {
            let rules = version_at(&self.rules, stamp.now);
            let reason = format!("{} ({})", request.reason, request.reward_key);
            let about = About { reason, terms: rules.number, ..About::default() };
            if request.wanted && reward.granted == 0 {
                let key = rules.open_lot(stamp.now);
                account.credit(stamp, EntryKind::Reward, &about, key, request.points);
                (reward.granted, reward.lot) = (request.points, Some(key));
            } else if !request.wanted && reward.granted > 0 {
                let policy = (ReturnPolicy::Unlimited, rules.deficit_cap);
                account.take_back(stamp, EntryKind::RewardRevoked, &about, reward.granted, reward.lot, policy);
                (reward.granted, reward.lot) = (0, None);
            }
            (reward.version, reward.member) = (request.version, request.member.clone());
            self.rewards.insert(&request.reward_key, reward.clone());
        }
        pb::EnsureRewardResponse { version: reward.version, granted: reward.granted > 0 }
    }
}

fn missing(points: i64) -> Refusal {
    Refusal::new(Code::FailedPrecondition, "INSUFFICIENT_POINTS", &[("missing_points", points.max(1).to_string())])
}

fn reservation_told(name: &str, state: State, points: i64, captured_points: i64, until: i64) -> pb::Reservation {
    pb::Reservation {
        name: name.to_owned(),
        state: state.into(),
        wallet: "points".to_owned(),
        points,
        captured_points,
        expire_time: Some(time(until)),
        several_captures: false,
    }
}
