//! The commands: each changes an account or two and makes an operation, or is refused. A new one is a new arm in `carry_out`.

use std::sync::Arc;

use proto::events::MemberState;
use proto::points as pb;
use proto::points::EntryKind;
use proto::points::operation::Kind;
use proto::points::reservation::State;
use proto::points::set_expiry_request::To;
use proto::points::terms::ReturnPolicy;
use tonic::Code;

use super::account::{About, Account, Change, Hold, Stamp};
use super::back::Restored;
use super::between::Desk;
use super::lots::{LotKey, NEVER, Opening, Owner};
use super::rules::{DAY, micros, time, version_at};
use super::{Redemption, SECOND, World, input, missing, refused};
use crate::it::proof::calls::{Answer, Call, Refusal};

/// What a command did besides its entries.
pub(super) struct Done {
    pub(super) kind: Kind,
    pub(super) requested: i64,
}

fn done(kind: Kind, requested: i64) -> Result<Done, Refusal> {
    Ok(Done { kind, requested })
}

impl World {
    /// Carries out a command, or says why not. Everything that is kept besides the accounts is changed on success only.
    pub(super) fn carry_out(&mut self, call: &Call, now: i64, due: &[Arc<pb::Entry>]) -> Result<(Answer, pb::Operation), Refusal> {
        let sides = self.sides(call);
        if sides.first.is_some() && sides.first == sides.second {
            return Err(refused(match call {
                Call::MergeAccounts(_) => "ALREADY_MERGED",
                Call::UnmergeAccounts(_) => "NOT_MERGED",
                _ => "SAME_ACCOUNT",
            }));
        }
        if super::names_unknown_wallet(call) {
            return Err(Refusal::new(Code::NotFound, "WALLET_NOT_FOUND", &[]));
        }
        let of = |member: &Option<Arc<str>>| (*self.account(member.as_deref().unwrap_or(super::NOBODY))).clone();
        let (mut first, mut second) = (of(&sides.first), of(&sides.second));
        let before = first.entries.len();
        let stamp = self.stamp(call, &sides, now);
        let mut operation = pb::Operation {
            name: stamp.operation.clone(),
            request_id: stamp.request_id.clone(),
            member: sides.first.as_deref().unwrap_or_default().to_owned(),
            counterpart: sides.second.as_deref().unwrap_or_default().to_owned(),
            occur_time: Some(time(stamp.occurred)),
            record_time: Some(time(now)),
            ..pb::Operation::default()
        };
        let mut ensured = None;
        let Done { kind, requested } = match (call, first.pool.is_some()) {
            (Call::Award(request), false) => {
                let member = sides.first.is_some().then_some(&*request.member);
                let purchase = self.award(input(request), member, &mut first, &stamp, &mut operation)?;
                self.purchases.insert(&purchase.told.name.clone(), purchase);
                done(Kind::Award, 0)
            }
            (Call::AwardActivity(request), false) => self.award_activity(request, &mut first, &stamp),
            (Call::ActivatePending(request), false) => {
                let about = About { reason: request.event.clone(), ..About::default() };
                self.resolve(&request.event, &request.pending_reference, true, about, &mut first, &stamp)
            }
            (Call::CancelPending(request), false) => {
                let terms = version_at(&self.rules, now).number;
                let about = About { reason: request.reason.clone(), terms, ..About::default() };
                self.resolve(&request.event, &request.pending_reference, false, about, &mut first, &stamp)
            }
            (Call::Redeem(request), false) => self.redeem(request, &mut first, &stamp),
            (Call::Reserve(request), false) => self.reserve(request, &mut first, &stamp, &mut operation),
            (Call::Capture(request), false) => self.capture(request, &mut first, &stamp, &mut operation),
            (Call::Release(request), false) => self.release(request, &mut first, &stamp, &mut operation),
            (Call::RefundRedemption(request), _) => self.refund(request, &mut first, &stamp, &mut operation),
            (Call::ReturnPurchase(request), false) => {
                operation.r#return = Some(self.take_back(request, sides.first.is_some(), [&mut first, &mut second], &stamp)?);
                operation.purchase = request.purchase.clone();
                done(Kind::Return, 0)
            }
            (Call::Adjust(request), false) => self.adjust(request, &mut first, &stamp),
            (Call::SetExpiry(request), _) => self.set_expiry(request, &mut first, &stamp),
            (Call::ForgiveDeficit(request), false) => self.forgive(request, &mut first, &stamp),
            (Call::EnsureReward(request), false) => {
                ensured = Some(self.ensure(request, &mut first, &stamp)?);
                done(Kind::Reward, 0)
            }
            (Call::CreatePool(request), _) => first.open_pool(&stamp, &self.rules, request).and(done(Kind::Pool, 0)),
            (Call::InviteToPool(request), _) => first.invite(&stamp, &self.rules, request).and(done(Kind::Pool, 0)),
            (Call::JoinPool(request), _) => first.join(&stamp, &self.rules, request).and(done(Kind::Pool, 0)),
            (Call::SetPoolSharing(request), _) => first.set_sharing(&stamp, &self.rules, request).and(done(Kind::Pool, 0)),
            (
                Call::Transfer(_)
                | Call::ContributeToPool(_)
                | Call::MergeAccounts(_)
                | Call::UnmergeAccounts(_)
                | Call::RedeemFromPool(_)
                | Call::LeavePool(_),
                _,
            ) => self.between(call, &mut first, &mut second, &stamp),
            (_, true) => Err(refused("POOL_ACCOUNT")),
            (other, false) => panic!("{} is no command", other.rpc()),
        }?;
        first.lapse(&stamp, now);
        second.lapse(&Stamp { presented: String::new(), ..stamp.clone() }, now);
        operation.kind = kind.into();
        operation.requested_points = requested;
        // What has lapsed at once is the clock's doing.
        let own = first.entries[before..].iter().filter(|entry| entry.kind() != EntryKind::Expire);
        operation.actual_points = own.map(|entry| entry.points).sum();
        operation.pool = first.pool_told().or_else(|| second.pool_told());
        if let Some(member) = &sides.second {
            self.accounts.insert(member.clone(), Arc::new(second));
        }
        if let Some(member) = &sides.first {
            operation.entries = due.iter().chain(&first.entries[before..]).map(|entry| (**entry).clone()).collect();
            operation.balance = Some(first.balance(now, false));
            self.accounts.insert(member.clone(), Arc::new(first));
        }
        let answer = ensured.map_or_else(|| Answer::first(&operation), |ensured| Answer::first(&ensured));
        Ok((answer, operation))
    }

    fn between(&mut self, call: &Call, first: &mut Account, second: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        let rules = self.rules.clone();
        let mut desk = Desk { rules: &rules, stamp, first, second };
        match call {
            Call::Transfer(request) => desk.transfer(request).and(done(Kind::Transfer, request.points)),
            Call::ContributeToPool(request) => desk.contribute(request).and(done(Kind::Transfer, request.points)),
            Call::MergeAccounts(request) => {
                desk.merge(&request.reason)?;
                for hold in &first.holds {
                    // Those that have come along are the survivor's from now on, also if he lets the other go.
                    self.holders.insert(&hold.id, first.owner.clone());
                }
                done(Kind::Merge, 0)
            }
            Call::UnmergeAccounts(request) => {
                let points = desk.unmerge(&request.reason)?;
                done(Kind::Unmerge, points)
            }
            Call::RedeemFromPool(request) => {
                let lots = desk.redeem_from_pool(request)?;
                self.remember_redemption(first, &request.member, stamp, lots);
                done(Kind::Redeem, request.points)
            }
            Call::LeavePool(request) => {
                let points = desk.leave(&request.member)?;
                done(Kind::Pool, points)
            }
            other => panic!("{} is not between two accounts", other.rpc()),
        }
    }

    fn award_activity(&mut self, request: &pb::AwardActivityRequest, account: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        account.admit()?;
        let rules = version_at(&self.rules, stamp.occurred);
        let Some((name, points)) = rules.activities.iter().find(|(name, _)| *name == request.activity) else {
            let metadata = [("activity", request.activity.clone())];
            return Err(Refusal::new(Code::FailedPrecondition, "ACTIVITY_NOT_FOUND", &metadata));
        };
        let activity = format!("{name}/{}", request.activity_id);
        let key = account.named(stamp, rules.lot(stamp.occurred, stamp.now, &stamp.request_id, &request.activity_id));
        let about = About { activity: activity.clone(), terms: rules.number, ..About::default() };
        account.credit(stamp, EntryKind::Activity, &about, key, *points);
        let points = *points;
        self.activities.insert(&activity, stamp.request_id.clone());
        done(Kind::Activity, points)
    }

    /// An event has come, or will not: what waits for it is opened or given up.
    fn resolve(
        &self,
        event: &str,
        reference: &str,
        came: bool,
        about: About,
        account: &mut Account,
        stamp: &Stamp,
    ) -> Result<Done, Refusal> {
        let waits =
            |key: &&LotKey| key.gate().is_some_and(|gate| gate.event == event && (reference.is_empty() || gate.reference == reference));
        let waiting: Vec<LotKey> = account.lots.keys().filter(waits).cloned().collect();
        if waiting.is_empty() {
            return Err(Refusal::new(Code::FailedPrecondition, "NOTHING_PENDING", &[]));
        }
        let mut points = 0;
        for key in waiting {
            let Opening::On(gate) = &key.opening else { continue };
            points += account.lots[&key].points;
            if came {
                let rules = self.rules.iter().find(|version| version.number == gate.terms).expect("it was earned under them");
                let opened = LotKey { expires: rules.expires(stamp.occurred), ..key.opened() };
                account.open(stamp, &key, opened, &About { terms: gate.terms, ..about.clone() }, None);
            } else {
                let change = Change::of_lots([(key.clone(), -account.lots[&key].points, 0)]);
                account.post(stamp, EntryKind::Cancel, &about, change);
            }
        }
        done(if came { Kind::Activate } else { Kind::Cancel }, points)
    }

    fn redeem(&mut self, request: &pb::RedeemRequest, account: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        account.admit()?;
        let there = account.active();
        let up_to = request.mode() == pb::redeem_request::Mode::UpTo;
        let points = if up_to { request.points.min(there) } else { request.points };
        if points > there || points == 0 {
            return Err(missing(request.points - there));
        }
        let about = About { reason: request.reference.clone(), terms: version_at(&self.rules, stamp.now).number, ..About::default() };
        let lots = account.take(points);
        account.spend(stamp, EntryKind::Redeem, &about, &lots);
        self.remember_redemption(account, &stamp.presented, stamp, lots);
        done(Kind::Redeem, request.points)
    }

    fn remember_redemption(&mut self, account: &Account, spender: &str, stamp: &Stamp, lots: Vec<(LotKey, i64)>) {
        if !lots.is_empty() {
            let (name, owner, spender) = (stamp.operation.clone(), account.owner.clone(), spender.to_owned());
            self.redemptions.insert(&stamp.operation, Redemption { name, owner, spender, lots, spent: account.recorded, refunded: 0 });
        }
    }

    fn reserve(
        &mut self,
        request: &pb::ReserveRequest,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Result<Done, Refusal> {
        account.admit()?;
        if request.points > account.active() {
            return Err(missing(request.points - account.active()));
        }
        let rules = version_at(&self.rules, stamp.now);
        let until = stamp.now + request.ttl.as_ref().map_or(rules.hold_seconds, |ttl| ttl.seconds) * SECOND;
        let id = super::operation_id(&request.request_id).to_string();
        let (reference, several) = (request.reference.clone(), request.several_captures);
        let hold = Hold { id, until, reference, several, captured: 0, parts: account.take(request.points) };
        operation.reservation = Some(told(account, &hold, State::Open, 0));
        let about = account.about_hold(&hold, &self.rules, stamp);
        self.holders.insert(&hold.id, account.owner.clone());
        account.hold(stamp, &about, hold);
        done(Kind::Reserve, request.points)
    }

    fn capture(
        &mut self,
        request: &pb::CaptureRequest,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Result<Done, Refusal> {
        // What is set aside may still be spent by who is blocked, and no more by who has left.
        if account.state == MemberState::Closed {
            account.admit()?;
        }
        let hold = self.open_hold(&request.name, account)?;
        let there = hold.points();
        let points = request.points.unwrap_or(there);
        if points > there {
            return Err(Refusal::new(Code::FailedPrecondition, "EXCEEDS_RESERVATION", &[("held_points", there.to_string())]));
        }
        let ends = !hold.several || request.last || points == there;
        operation.reservation = Some(told(account, &hold, if ends { State::Captured } else { State::Open }, points));
        let lots = account.capture(stamp, &self.rules, &hold.id, points);
        self.remember_redemption(account, &stamp.presented, stamp, lots);
        if ends {
            if points < there {
                account.release(stamp, &self.rules, &hold.id, stamp.now);
            }
            self.end(&hold, account, State::Captured);
        }
        done(Kind::Capture, points)
    }

    fn release(
        &mut self,
        request: &pb::ReleaseRequest,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Result<Done, Refusal> {
        let hold = self.open_hold(&request.name, account)?;
        operation.reservation = Some(told(account, &hold, State::Released, 0));
        account.release(stamp, &self.rules, &hold.id, stamp.now);
        self.end(&hold, account, State::Released);
        done(Kind::Release, 0)
    }

    fn end(&mut self, hold: &Hold, account: &Account, how: State) {
        self.ended.insert(&hold.id, how);
        self.holders.insert(&hold.id, account.owner.clone());
    }

    fn open_hold(&self, name: &str, account: &Account) -> Result<Hold, Refusal> {
        let id = name.rsplit('/').next().unwrap_or_default();
        if let Some(hold) = account.holds.iter().find(|hold| hold.id == id) {
            return Ok(hold.clone());
        }
        let is_his = self.holders.get(id).is_some_and(|holder| account.is_of(&holder.member));
        Err(match self.ended.get(id).filter(|_| is_his) {
            Some(State::Captured) => refused("RESERVATION_CAPTURED"),
            Some(State::Released) => refused("RESERVATION_RELEASED"),
            Some(State::Expired) => refused("RESERVATION_EXPIRED"),
            _ => Refusal::new(Code::NotFound, "RESERVATION_NOT_FOUND", &[]),
        })
    }

    fn refund(
        &mut self,
        request: &pb::RefundRedemptionRequest,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Result<Done, Refusal> {
        let Some(spent) = self.redemptions.get(&request.redemption).cloned() else {
            return Err(Refusal::new(Code::NotFound, "REDEMPTION_NOT_FOUND", &[]));
        };
        let points = request.points.unwrap_or(spent.left());
        if points > spent.left() || points == 0 {
            let metadata = [("left_points", spent.left().to_string())];
            return Err(Refusal::new(Code::FailedPrecondition, "EXCEEDS_REDEMPTION", &metadata));
        }
        let terms = version_at(&self.rules, stamp.now).number;
        let about = About { redemption: spent.name.clone(), terms, ..About::default() };
        let Restored { points, repaid, lapsed } = account.give_back(stamp, &self.rules, &about, &spent, points);
        let redemptions = vec![spent.name.clone()];
        operation.refund = Some(pb::RefundExplanation { points, repaid_points: repaid, lapsed_points: lapsed, redemptions });
        self.redemptions.insert(&request.redemption, Redemption { refunded: spent.refunded + points, ..spent });
        done(Kind::Refund, points)
    }

    fn adjust(&self, request: &pb::AdjustRequest, account: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        let rules = version_at(&self.rules, stamp.now);
        let (reason, approver) = (request.reason.clone(), request.approver.clone());
        let about = About { reason, approver, terms: rules.number, ..About::default() };
        if request.points > 0 {
            let key = account.named(stamp, rules.open_lot(stamp.now));
            account.credit(stamp, EntryKind::Adjust, &about, key, request.points);
        } else if -request.points > account.active() {
            return Err(missing(-request.points - account.active()));
        } else {
            let lots = account.take(-request.points);
            account.spend(stamp, EntryKind::Adjust, &about, &lots);
        }
        done(Kind::Adjust, request.points)
    }

    fn set_expiry(&self, request: &pb::SetExpiryRequest, account: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        let to = request.to.as_ref().expect("the contract demands it");
        if matches!(to, To::ExpireTime(at) if micros(at) <= stamp.now) {
            return Err(refused("EXPIRY_NOT_AHEAD"));
        }
        let later = |old: i64| match to {
            To::ExpireTime(at) => micros(at),
            To::Later(period) => old + i64::from(period.count) * DAY,
            To::Never(_) => NEVER,
        };
        let by = request.lapse_by_time.as_ref().map_or(NEVER, micros);
        let (mut lots, mut moved) = (Vec::new(), Vec::new());
        for (key, lot) in account.in_order() {
            let old = account.lapses(key);
            if key.gate().is_some() || old == NEVER || old > by {
                continue;
            }
            let to = LotKey { expires: later(old), ..key.clone() };
            if to != *key {
                lots.extend([(key.clone(), -lot.points, -lot.held), (to.clone(), lot.points, lot.held)]);
                moved.push((key.clone(), to, lot.points));
            }
        }
        if lots.is_empty() {
            return Err(refused("NOTHING_TO_EXTEND"));
        }
        let (reason, approver) = (request.reason.clone(), request.approver.clone());
        let about = About { reason, approver, terms: version_at(&self.rules, stamp.now).number, ..About::default() };
        account.post(stamp, EntryKind::Expiry, &about, Change::of_lots(lots));
        account.move_held(&moved);
        done(Kind::SetExpiry, moved.iter().map(|lot| lot.2).sum())
    }

    fn forgive(&self, request: &pb::ForgiveDeficitRequest, account: &mut Account, stamp: &Stamp) -> Result<Done, Refusal> {
        let points = request.points.unwrap_or(account.owed());
        if points > account.owed() || points == 0 {
            let metadata = [("deficit_points", account.owed().to_string())];
            return Err(Refusal::new(Code::FailedPrecondition, "EXCEEDS_DEFICIT", &metadata));
        }
        let (reason, approver) = (request.reason.clone(), request.approver.clone());
        let about = About { reason, approver, terms: version_at(&self.rules, stamp.now).number, ..About::default() };
        account.post(stamp, EntryKind::Forgive, &about, Change { owed: -points, ..Change::default() });
        done(Kind::Forgive, points)
    }

    fn ensure(
        &mut self,
        request: &pb::EnsureRewardRequest,
        account: &mut Account,
        stamp: &Stamp,
    ) -> Result<pb::EnsureRewardResponse, Refusal> {
        let named = if stamp.presented.is_empty() { account.owner.clone() } else { Owner::new(&stamp.presented) };
        let mut reward = self.rewards.get(&request.reward_key).cloned().unwrap_or_default();
        if request.version > reward.version {
            let rules = version_at(&self.rules, stamp.now);
            let reason = format!("{} ({})", request.reason, request.reward_key);
            let about = About { reason, terms: rules.number, ..About::default() };
            if request.wanted && reward.granted == 0 {
                account.admit()?;
                let key = account.named(stamp, rules.open_lot(stamp.now));
                account.credit(stamp, EntryKind::Reward, &about, key.clone(), request.points);
                (reward.granted, reward.lot) = (request.points, Some(key));
            } else if !request.wanted && reward.granted > 0 {
                let policy = (ReturnPolicy::Unlimited, rules.deficit_cap);
                let lot = reward.lot.map(|lot| lot.moved(&named, &account.owner));
                account.take_back(stamp, EntryKind::RewardRevoked, &about, reward.granted, (lot.as_ref(), i64::MIN), policy);
                (reward.granted, reward.lot) = (0, None);
            }
            reward.version = request.version;
        }
        reward.owner = reward.owner.or(Some(named));
        self.rewards.insert(&request.reward_key, reward.clone());
        Ok(pb::EnsureRewardResponse { version: reward.version, granted: reward.granted > 0 })
    }
}

fn told(account: &Account, hold: &Hold, state: State, captured: i64) -> pb::Reservation {
    pb::Reservation {
        name: format!("{}/reservations/{}", account.member(), hold.id),
        state: state.into(),
        wallet: "points".to_owned(),
        points: hold.points() + hold.captured,
        captured_points: hold.captured + captured,
        expire_time: Some(time(hold.until)),
        several_captures: hold.several,
    }
}
