//! What changes nothing.

use proto::points as pb;
use tonic::Code;

use super::account::{Account, Stamp};
use super::rules::micros;
use super::{MORE, NOBODY, Remembered, World, input};
use crate::it::proof::calls::{Answer, Call, Refusal};

impl World {
    pub(super) fn read(&self, call: &Call, now: i64) -> Answer {
        let account = self.sides(call).first.map(|member| self.account(&member));
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
                // Whose account was taken in has books of his own.
                let account = self.account(&request.parent);
                let limit = if request.page_size == 0 { 50 } else { usize::try_from(request.page_size).unwrap().min(1000) };
                let entries = account.entries.iter().rev().take(limit).map(|entry| (**entry).clone()).collect();
                let next_page_token = if account.entries.len() > limit { MORE.to_owned() } else { String::new() };
                Answer::first(&pb::ListEntriesResponse { entries, next_page_token })
            }
            Call::GetPool(_) => {
                let mut account = (*account.expect("it names a pool")).clone();
                account.settle(&self.rules, now);
                account.pool_told().map_or_else(|| not_found("POOL_NOT_FOUND"), |pool| Answer::first(&pool))
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
                let mut account = account.as_deref().cloned().unwrap_or_else(|| Account::of(NOBODY, &self.rules));
                account.settle(&self.rules, now);
                let occurred = input.occur_time.as_ref().map_or(now, micros);
                let mut operation = pb::Operation::default();
                let stamp = Stamp { occurred, now, ..Stamp::default() };
                let purchase = match self.award(input, member, &mut account, &stamp, &mut operation) {
                    Ok(purchase) => purchase,
                    Err(refusal) => return Answer { result: Err(refusal), replayed: false },
                };
                account.lapse(&stamp, now);
                Answer::first(&pb::AwardPreview {
                    award: operation.award,
                    points: purchase.told.due_points,
                    balance: member.map(|_| account.balance(now, false)),
                    challenges: Vec::new(),
                    other_points: Vec::new(),
                })
            }
            other => panic!("{} is no read", other.rpc()),
        }
    }

    /// Refuses a time of an event that nobody believes.
    pub(super) fn untimely(&self, call: &Call, now: i64) -> Option<Refusal> {
        let (told, historical, field) = match call {
            Call::Award(request) => (&input(request).occur_time, request.historical, "purchase.occur_time"),
            Call::PreviewAward(request) => (&request.purchase.as_ref()?.occur_time, false, "purchase.occur_time"),
            Call::ReturnPurchase(request) => (&request.occur_time, request.historical, "occur_time"),
            Call::AwardActivity(request) => (&request.occur_time, request.historical, "occur_time"),
            Call::ActivatePending(request) => (&request.occur_time, false, "occur_time"),
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
