//! What commands did, on its way into what will be written.

use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;
use std::time::Duration;

use kernel::Uuid;
use persistence::{Error, RequestKey};
use prost::Message;
use proto::events::voucher_changed::Change;

use super::Batch;
use crate::domain::{AccountId, ClosedReservation, Count, Entry, EntryKind, Outcome, Redemption, Restored, Source, Stamp};
use crate::event;
use crate::executor::job::{Done, Job, Reply, Target};
use crate::gifts;
use crate::message::rewards::RememberedVoucher;
use crate::message::{self, AnswerParts};
use crate::store::{AnswerKind, NewActivity, NewAnswer, NewRedemption, NewReturn, StoredAnswer};

/// How long a refusal is remembered.
const REFUSAL_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// A command that has been carried out.
pub(super) struct Executed<'a> {
    pub(super) key: &'a RequestKey,
    pub(super) target: Target,
    pub(super) request: &'a [u8],
    pub(super) outcome: Outcome,
    pub(super) due: &'a [Entry],
    pub(super) entries: Vec<Entry>,
    pub(super) others: Vec<Entry>,
}

impl Batch<'_> {
    /// Takes what a command did into what will be written, and makes its answer.
    pub(super) fn keep(&mut self, job: &Job, stamp: &Stamp, done: Executed<'_>) -> Result<Reply, Error> {
        let Executed { key, target, request, outcome, due, entries, others } = done;
        self.unseen |= job.account.is_some() && entries.is_empty();
        self.keep_outcome(job, stamp, target, request, &outcome, &entries);
        self.free(&entries);
        for change in entries.iter().chain(&others).flat_map(Entry::counted_of_all) {
            self.keep_count(job, stamp, change)?;
        }
        let held = job.account.and_then(|(id, _)| self.accounts.get(&id)).map(|held| &held.account);
        let member = job.account.map(|(_, member)| member);
        let other = job.other.map(|(_, member)| member);
        let parts = AnswerParts { program: &job.program, member, other, account: held, stamp, due, entries: &entries };
        let event = event::of_command(&parts, &outcome, job.origin.historical);
        let mut operation = message::operation(&parts, &outcome);
        if let (Some((id, other)), None) = (job.other, &operation.pool) {
            operation.pool = self.accounts.get(&id).and_then(|held| message::pool(&job.program.id, other, &held.account));
        }
        let (done, bytes) = match &outcome {
            Outcome::RewardRedeemed { voucher, .. } | Outcome::RewardRefunded { voucher, .. } => {
                let told = message::rewards::voucher(&job.program, voucher)?;
                let key_version = voucher.seal.key_version;
                let mut bytes = operation.encode_to_vec();
                bytes.extend(RememberedVoucher { voucher: Some(told.clone()), key_version }.encode_to_vec());
                (Done::Voucher(Box::new(operation), Box::new(told), key_version), bytes)
            }
            Outcome::Ensured(state) => (Done::Ensured(state.clone()), message::remembered_reward(&operation, state)),
            _ => {
                let bytes = operation.encode_to_vec();
                (Done::Operation(Box::new(operation)), bytes)
            }
        };
        let issued = match &outcome {
            Outcome::RewardRedeemed { voucher, .. } => Some(event::of_voucher(&job.program, voucher, Change::Issued, self.now, self.now)?),
            Outcome::RewardRefunded { voucher, .. } => {
                Some(event::of_voucher(&job.program, voucher, Change::Refunded, self.now, self.now)?)
            }
            _ => None,
        };
        let other_event = job.other.and_then(|(id, other)| {
            let account = self.accounts.get(&id).map(|held| &held.account);
            let parts = AnswerParts { member: Some(other), other: member, account, entries: &others, ..parts };
            match &outcome {
                // The purchase is the buyer's; in the other account it is points that come back.
                Outcome::Returned(returned) => {
                    event::of_command(&parts, &Outcome::Refunded(returned.restored.clone()), job.origin.historical)
                }
                outcome => event::of_command(&parts, outcome, job.origin.historical),
            }
        });
        for event in event.into_iter().chain(other_event).chain(issued) {
            self.push_event(event);
        }
        for (account, posted) in [(job.account, entries), (job.other, others)] {
            if let Some((id, member)) = account.filter(|_| !posted.is_empty()) {
                self.gifts.extend(posted.iter().filter_map(|entry| gifts::effect(&job.program.id, member, entry)));
                self.changed.insert(id);
                self.entries.extend(posted.into_iter().map(|entry| (id, entry)));
            }
        }
        self.remember(key, AnswerKind::Operation, bytes);
        Ok(Reply::Done { done, replayed: false })
    }

    fn keep_outcome(&mut self, job: &Job, stamp: &Stamp, target: Target, request: &[u8], outcome: &Outcome, entries: &[Entry]) {
        let account = job.account.map(|(id, _)| id);
        match (outcome, target, account) {
            (Outcome::Awarded { purchase, .. }, Target::Purchase(key), _) => {
                let purchase = Arc::new((**purchase).clone());
                let owner = purchase.member.map(|member| AccountId::of(&job.program.id, member));
                self.purchases.insert(key, purchase.clone());
                self.new_purchases.push((key, owner, purchase));
            }
            (Outcome::Returned(returned), Target::Purchase(key), _) => {
                let purchase = Arc::new(returned.purchase.clone());
                self.purchases.insert(key, purchase.clone());
                let new = NewReturn {
                    purchase_key: key,
                    number: purchase.returns,
                    operation: stamp.operation,
                    returned_net: returned.summary.returned,
                    due_delta: returned.summary.due_delta,
                    occurred_at: stamp.occurred_at,
                    recorded_at: stamp.now,
                    details: request.to_vec(),
                };
                self.new_returns.push(new);
                match self.new_purchases.iter_mut().find(|(recorded, _, _)| *recorded == key) {
                    Some((_, _, recorded)) => *recorded = purchase,
                    None => _ = self.returned.insert(key, purchase),
                }
                self.keep_refunds(&returned.restored);
            }
            (Outcome::Refunded(restored), _, _) => self.keep_refunds(restored),
            (Outcome::RewardRedeemed { voucher, .. }, _, Some(account)) => {
                self.keep_redemption(account, stamp, entries, EntryKind::Redeem);
                self.catalogue.issue(&job.program.id, voucher);
            }
            (Outcome::RewardRefunded { restored, voucher }, _, _) => {
                self.keep_refunds(restored);
                self.catalogue.refund(voucher);
            }
            (Outcome::Redeemed { .. }, _, Some(account)) => self.keep_redemption(account, stamp, entries, EntryKind::Redeem),
            (Outcome::Reserved { reservation }, _, Some(account)) => {
                self.reservations.insert(reservation.id, (account, None));
            }
            (Outcome::Captured { reservation, closed, .. }, _, Some(account)) => {
                self.keep_redemption(account, stamp, entries, EntryKind::Capture);
                if *closed {
                    self.end(reservation.id, account, ClosedReservation::Captured);
                }
            }
            (Outcome::Released { reservation }, _, Some(account)) => self.end(reservation.id, account, ClosedReservation::Released),
            (Outcome::Earned { .. }, Target::Activity(key, proof), Some(account)) => {
                for key in proof.into_iter().chain([key]) {
                    self.activities.insert(key, stamp.operation);
                    self.new_activities.push(NewActivity { key, account, operation: stamp.operation });
                }
            }
            (Outcome::Ensured(state), Target::Reward(key), Some(account)) => {
                // It stays with the account of who was first given it, whoever has taken that in or lets it go.
                let named = job.presented.map_or(account, |member| AccountId::of(&job.program.id, member));
                let owner = self.rewards.get(&key).map_or(named, |(owner, _)| *owner);
                self.rewards.insert(key, (owner, state.clone()));
                self.written_rewards.insert(key, (owner, state.clone()));
            }
            // Reservations that have come over are this account's, also when the other is let go.
            (Outcome::Merged, _, Some(account)) => {
                let came = entries.iter().filter_map(|entry| match &entry.source {
                    Source::Merge { reservations, .. } => Some(reservations),
                    _ => None,
                });
                self.reservations.extend(came.flatten().map(|held| (held.id, (account, None))));
            }
            _ => {}
        }
    }

    /// Frees the links of activities that were rejected, for what comes after in this batch too.
    pub(super) fn free(&mut self, entries: &[Entry]) {
        for key in entries.iter().flat_map(|entry| &entry.freed) {
            self.activities.remove(key);
            self.new_activities.retain(|new| new.key != *key);
            self.freed.insert(*key);
        }
    }

    /// Counts what members share, and tells when that uses a budget up or brings it back, by the terms of when it happened.
    fn keep_count(&mut self, job: &Job, stamp: &Stamp, change: &Count) -> Result<(), Error> {
        let (before, counter) = self.counters.take(&job.program.id, change)?;
        let version = job.program.versions.as_ref().map(|versions| versions.at(stamp.occurred_at));
        let event = version.and_then(|version| event::of_budget(&job.program.id, version, &before, counter, stamp, job.origin.historical));
        event.into_iter().for_each(|event| self.push_event(event));
        Ok(())
    }

    fn keep_redemption(&mut self, account: AccountId, stamp: &Stamp, entries: &[Entry], kind: EntryKind) {
        let Some(spent) = entries.iter().find(|entry| entry.kind == kind && entry.points < 0) else { return };
        let lots = spent.lots.iter().map(|change| (change.key.clone(), -change.points)).collect();
        let (operation, version) = (stamp.operation, spent.version);
        let (wallet, spender, spent_at) = (spent.wallet.clone(), spent.spender(), spent.recorded_at);
        let of_reward = matches!(spent.source, Source::Catalogue { .. });
        self.redemptions.insert(operation, Redemption { operation, account, wallet, lots, spender, spent_at, refunded: 0, of_reward });
        self.new_redemptions.push(NewRedemption { operation, account, version, refunded: 0 });
    }

    fn keep_refunds(&mut self, restored: &Restored) {
        for redemption in &restored.redemptions {
            self.redemptions.insert(redemption.operation, redemption.clone());
            match self.new_redemptions.iter_mut().find(|new| new.operation == redemption.operation) {
                Some(new) => new.refunded = redemption.refunded,
                None => _ = self.refunded.insert(redemption.operation, redemption.refunded),
            }
        }
    }

    fn end(&mut self, reservation: Uuid, account: AccountId, how: ClosedReservation) {
        self.ended.insert(reservation, (account, how));
        self.reservations.insert(reservation, (account, Some(how)));
    }

    pub(super) fn remember(&mut self, key: &RequestKey, kind: AnswerKind, answer: Vec<u8>) {
        if let MapEntry::Vacant(free) = self.answers.entry(key.id()) {
            let stored = Arc::new(StoredAnswer { fingerprint: key.fingerprint().to_vec(), kind, answer });
            free.insert(stored.clone());
            let forget_at = (kind == AnswerKind::Refusal).then(|| self.now + REFUSAL_MEMORY);
            self.new_answers.push(NewAnswer { operation: key.id(), stored, recorded_at: self.now, forget_at });
        }
    }

    pub(super) fn push_event(&mut self, event: proto::events::Event) {
        self.events.push(event::new(self.context, self.now, event));
    }
}
