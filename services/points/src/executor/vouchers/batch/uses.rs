//! Uses of vouchers: at a till now, or before at one that had no connection.

use kernel::Timestamp;
use persistence::Error;
use proto::events::voucher_changed::Change as ToldChange;
use proto::points as pb;
use rpc::wire::timestamp;

use super::super::{ShownCode, Told, UseVoucher, VoucherJob};
use super::{Batch, first, remembered, replay};
use crate::domain::rewards::{
    Basket, Buyer, Obstacle, OfflineResult, OfflineUse, Priced, RewardRefusal, Use, Voucher, VoucherState, price,
};
use crate::event;
use crate::executor::job::ToldTime;
use crate::message;
use crate::message::rewards as told;
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store::NewOfflineUse;

impl Batch<'_> {
    pub(super) fn use_for(&mut self, job: &VoucherJob, shown: &UseVoucher) -> Result<Told, RewardError> {
        let UseVoucher { code, basket, order, offline } = shown;
        if let Some(offline) = offline {
            return self.use_offline(job, (code, basket, order), offline);
        }
        let program = &*job.program;
        let voucher = self.shown(&program.id, code).ok_or(RewardRefusal::VoucherNotFound)?;
        if let Some(used) = voucher.use_for(order) {
            let stored = self.told_by(used.operation)?;
            return match job.key.check(&stored.fingerprint) {
                Err(Error::RequestIdReused { .. }) => Err(RewardRefusal::VoucherUsed.into()),
                checked => Ok(checked.map(|()| replay(stored))?),
            };
        }
        code.check_at(self.now)?;
        let (voucher, terms) = (voucher.clone(), told::issued_terms(voucher)?);
        let buyer = self.beside(program, &voucher, &terms, order, self.buyer(program, &voucher, self.now));
        let priced = voucher.price(&terms, basket, &buyer);
        let discount = match &priced {
            Ok(priced) => priced.total(),
            Err(obstacles) => return Err(RewardError::of(obstacles)),
        };
        let answer = answer(program, &voucher, (basket, &priced), order, self.now);
        self.hold(program, &voucher, &terms, order);
        let used = voucher.used(Use { order: order.clone(), operation: job.key.id(), at: self.now, discount });
        self.tell(program, used, ToldChange::Used)?;
        Ok(first(&answer))
    }

    /// Records what a till has done without a connection. What could be known there is judged as the till should have; that the voucher
    /// was not good any more is no reason to refuse what has happened.
    fn use_offline(
        &mut self,
        job: &VoucherJob,
        (code, basket, order): (&ShownCode, &Basket, &str),
        offline: &OfflineUse,
    ) -> Result<Told, RewardError> {
        if let Some(operation) = self.offline.get(&offline.key) {
            let stored = self.told_by(*operation)?;
            return match job.key.check(&stored.fingerprint) {
                Err(Error::RequestIdReused { field }) => Err(RewardError::OfflineUseExists { field }),
                checked => Ok(checked.map(|()| replay(stored))?),
            };
        }
        let program = &*job.program;
        let at = offline.occurred_at;
        let told = ToldTime { at, field: "offline.occur_time" };
        told.check(false, self.clock, self.now).map_err(|untimely| RewardError::Untimely(Box::new(untimely)))?;
        code.check_at(at)?;
        let voucher = self.shown(&program.id, code).ok_or(RewardRefusal::VoucherNotFound)?.clone();
        let terms = told::issued_terms(&voucher)?;
        let priced = price(&terms, basket, &self.buyer(program, &voucher, at).situation);
        let discount = match &priced {
            Ok(priced) => priced.total(),
            Err(obstacles) => return Err(RewardError::of(obstacles)),
        };
        if discount > terms.offline_limit {
            return Err(RewardError::OfflineLimitExceeded { limit: terms.offline_limit });
        }
        let result = voucher.used_offline(order);
        let lost = if result.is_loss() { discount } else { 0 };
        let answer = pb::VoucherUse {
            result: told::offline_result(result).into(),
            loss: Some(message::money(program, lost)),
            ..answer(program, &voucher, (basket, &priced), order, at)
        };
        let operation = job.key.id();
        match (result, voucher.use_for(order)) {
            (OfflineResult::Bound, None) => {
                let used = voucher.used(Use { order: order.to_owned(), operation, at, discount });
                let event = event::of_voucher(program, &used, ToldChange::Used, at, self.now)?;
                self.events.push(event::new(self.context, self.now, event));
                self.hold(program, &voucher, &terms, order);
                self.put(used);
            }
            // Its order has it already: the till had not heard so.
            (OfflineResult::Bound, Some(_)) => {}
            _ => {
                let after = voucher.changed(voucher.state.clone());
                let event = event::of_loss(program, &after, ToldChange::Lost, (order, lost), (at, self.now))?;
                self.events.push(event::new(self.context, self.now, event));
                self.losses.entry((voucher.id, order.to_owned())).or_default().push((offline.key, lost));
                self.put(after);
            }
        }
        self.offline.insert(offline.key, operation);
        let (program, order) = (program.id.clone(), order.to_owned());
        let (voucher, member) = (voucher.id, voucher.member);
        self.used_offline.push(NewOfflineUse {
            program,
            voucher,
            member,
            told: offline.clone(),
            order,
            recorded_at: self.now,
            result,
            discount,
            operation,
        });
        Ok(first(&answer))
    }

    /// An order was cancelled: its voucher is good again, or what a till without a connection had lost by it is not lost.
    pub(super) fn void(&mut self, program: &Program, voucher: &Voucher, order: &str) -> Result<Told, RewardError> {
        // Several tills may have used it for one order.
        if let Some(losses) = self.losses.remove(&(voucher.id, order.to_owned())) {
            let mut after = voucher.clone();
            for (key, loss) in losses {
                after = after.changed(after.state.clone());
                let event = event::of_loss(program, &after, ToldChange::LossVoided, (order, loss), (self.now, self.now))?;
                self.events.push(event::new(self.context, self.now, event));
                match self.used_offline.iter_mut().find(|used| used.told.key == key) {
                    Some(used) => used.result = OfflineResult::Voided,
                    None => self.voided_losses.push(key),
                }
            }
            let told = first(&remembered(program, &after)?);
            self.put(after);
            return Ok(told);
        }
        let voided = voucher.voided(order)?;
        self.let_go(program, voucher, order);
        let was_taken_back = voided.state != VoucherState::Usable;
        if let (true, Some(reward)) = (was_taken_back, voided.reward) {
            self.count(reward, -1);
        }
        Ok(self.keep(program, voided, if was_taken_back { ToldChange::Revoked } else { ToldChange::Voided })?)
    }

    /// What is known of who shows a voucher.
    fn buyer(&self, program: &Program, voucher: &Voucher, at: Timestamp) -> Buyer {
        let held = self.survivor(&program.id, voucher.account);
        Buyer::of(&held.account, &held.facts, at, &program.zone)
    }
}

fn answer(
    program: &Program,
    voucher: &Voucher,
    (basket, priced): (&Basket, &Result<Priced, Vec<Obstacle>>),
    order: &str,
    at: Timestamp,
) -> pb::VoucherUse {
    let name = told::voucher_name(&program.id, voucher.member, voucher.id);
    pb::VoucherUse {
        discount: Some(told::basket_discount(program, name, basket, priced)),
        order_reference: order.to_owned(),
        use_time: Some(timestamp(at)),
        ..pb::VoucherUse::default()
    }
}

impl ShownCode {
    /// Refuses an offline code whose time is over.
    fn check_at(&self, moment: Timestamp) -> Result<(), RewardError> {
        match self {
            ShownCode::Claim(claim) if !claim.holds_at(moment) => Err(RewardError::OfflineCodeExpired),
            ShownCode::Claim(_) | ShownCode::Hashes(_) => Ok(()),
        }
    }
}
