use std::collections::HashSet;
use std::sync::Arc;

use kernel::ProgramId;
use persistence::{Error, RequestKey, retry};
use prost::Message;
use proto::points as pb;
use rpc::wire::timestamp;
use rpc::{Answer, status};
use tonic::Status;

use super::super::changes::{remember, remembered};
use super::super::parse::{Circumstances, money, origin, parse_program};
use super::super::{Call, Rpcs};
use super::error::RewardError;
use crate::domain::rewards::{Basket, BasketLine, Code, Obstacle, Priced, RewardRefusal, Situation, Use, Voucher, VoucherState, price};
use crate::domain::{AccountId, MemberStatus};
use crate::message::rewards as told;
use crate::program::Program;
use crate::store;

/// How many merges are followed to whoever survived them.
const STEPS_MAX: usize = 64;

/// A code and the basket that it is shown for.
struct Shown {
    program: Arc<Program>,
    code: Code,
    basket: Basket,
}

/// A voucher that was found by its code, and what is known of its member.
struct Found {
    voucher: Voucher,
    situation: Situation,
    is_admitted: bool,
}

impl Found {
    /// What it takes off a basket, or all that stands in the way.
    fn price(&self, basket: &Basket) -> Result<Result<Priced, Vec<Obstacle>>, Error> {
        let terms = told::issued_terms(&self.voucher)?;
        let of_voucher = self.voucher.obstacle(self.situation.now);
        let standing: Vec<Obstacle> = of_voucher.into_iter().chain((!self.is_admitted).then_some(Obstacle::Member)).collect();
        Ok(match (price(&terms, basket, &self.situation), standing.is_empty()) {
            (priced, true) => priced,
            (Ok(_), false) => Err(standing),
            (Err(obstacles), false) => Err(standing.into_iter().chain(obstacles).collect()),
        })
    }
}

impl Rpcs {
    pub(super) async fn check_voucher(&self, call: &Call, message: pb::CheckVoucherRequest) -> Result<pb::BasketDiscount, Status> {
        let shown = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let found = self.find(&shown).await?;
        let priced = found.price(&shown.basket).map_err(status::from_store)?;
        Ok(discount(&shown, &found.voucher, &priced))
    }

    pub(super) async fn use_voucher(&self, call: &Call, message: pb::UseVoucherRequest) -> Result<Answer<pb::VoucherUse>, Status> {
        let shown = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let key = RequestKey::new(&self.keyring, &shown.program.id, &message.request_id, &message);
        Ok(retry(|| self.try_use_voucher(&key, &shown, &message.order_reference)).await?)
    }

    /// What is known of the member is read before the transaction: it may change at any time, and only the voucher is taken.
    async fn try_use_voucher(&self, key: &RequestKey, shown: &Shown, order: &str) -> Result<Answer<pb::VoucherUse>, RewardError> {
        let found = self.find(shown).await;
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let found = found?;
        let voucher = &found.voucher;
        if let VoucherState::Used(used) = &voucher.state
            && used.order == order
        {
            let missing = || Error::Corrupt("the use of a voucher without its operation".to_owned());
            let stored = store::read_operation(&mut tx, used.operation, now).await?.ok_or_else(missing)?;
            match key.check(&stored.fingerprint) {
                Err(Error::RequestIdReused { .. }) => return Err(RewardRefusal::VoucherUsed.into()),
                checked => checked?,
            }
            let first = pb::VoucherUse::decode(&stored.answer[..]).map_err(|_| missing())?;
            remember(&mut tx, key, &first, now).await?;
            tx.commit().await?;
            return Ok(Answer::replay(first));
        }
        let priced = found.price(&shown.basket)?;
        let total = match &priced {
            Ok(priced) => priced.total(),
            Err(obstacles) => return Err(refusal(obstacles)),
        };
        let used = Use { order: order.to_owned(), operation: key.id(), at: now, discount: total };
        let after = Voucher { state: VoucherState::Used(used), version: voucher.version + 1, ..voucher.clone() };
        // Whoever has taken it since it was found makes this a conflict, and the attempt is made again.
        store::update_voucher(&mut tx, &after).await?;
        let answer = pb::VoucherUse {
            discount: Some(discount(shown, voucher, &priced)),
            order_reference: order.to_owned(),
            use_time: Some(timestamp(now)),
        };
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn parse_shown(&self, call: &Call, parent: &str, code: &str, basket: Option<&pb::Basket>) -> Result<Shown, Status> {
        let program = self.program(&parse_program("parent", parent)?).await?;
        let code = Code::parse(code).ok_or_else(|| status::bad_request([("code", "is not the code of a voucher")]))?;
        let given = basket.ok_or_else(|| status::bad_request([("basket", "must be set")]))?;
        let pb::Basket { currency_code, lines, delivery_minor_units, store, channel } = given;
        let delivery = proto::common::Money { currency_code: currency_code.clone(), minor_units: *delivery_minor_units };
        let delivery = money(&program, "basket.currency_code", Some(&delivery))?;
        let mut ids = HashSet::new();
        if let Some(twice) = lines.iter().position(|line| !ids.insert(line.line_id.as_str())) {
            return Err(status::bad_request([(format!("basket.lines[{twice}].line_id"), "must be unique in the basket")]));
        }
        let line = |line: &pb::PurchaseLine| {
            let pb::PurchaseLine { line_id, sku, category, quantity, net_minor_units, tax_minor_units: _, discount_minor_units: _ } =
                line.clone();
            BasketLine { id: line_id, sku, category, quantity, net: net_minor_units }
        };
        let store = origin(call, "basket.", &Circumstances { store, ..Circumstances::default() })?.store.to_string();
        let basket = Basket { lines: lines.iter().map(line).collect(), delivery, store, channel: channel.clone() };
        Ok(Shown { program, code, basket })
    }

    async fn find(&self, shown: &Shown) -> Result<Found, RewardError> {
        let program: &ProgramId = &shown.program.id;
        let mut tx = self.database.read().await?;
        let mut known = None;
        for hash in self.code_hashes(program, &shown.code) {
            known = store::voucher_by_code(&mut tx, program, &hash).await?;
            if known.is_some() {
                break;
            }
        }
        let voucher = known.ok_or(RewardRefusal::VoucherNotFound)?;
        let mut held = store::read_account(&mut tx, voucher.account).await?;
        let is_admitted = held.facts.status == MemberStatus::Active;
        // Purchases are counted in the account of whoever has taken his in.
        for _ in 0..STEPS_MAX {
            let Some(survivor) = held.account.merged_into else { break };
            held = store::read_account(&mut tx, AccountId::of(program, survivor)).await?;
        }
        let situation = Situation {
            now: self.now(),
            zone: shown.program.zone.clone(),
            first_order: held.account.purchases == 0,
            last_purchase_at: held.account.last_purchase_at,
        };
        Ok(Found { voucher, situation, is_admitted })
    }
}

fn discount(shown: &Shown, voucher: &Voucher, priced: &Result<Priced, Vec<Obstacle>>) -> pb::BasketDiscount {
    let name = told::voucher_name(&shown.program.id, voucher.member, voucher.id);
    told::basket_discount(&shown.program, name, &shown.basket, priced)
}

/// A use is refused for how the voucher stands before it is for the basket.
fn refusal(obstacles: &[Obstacle]) -> RewardError {
    match obstacles {
        [Obstacle::Used, ..] => RewardRefusal::VoucherUsed.into(),
        [Obstacle::Revoked, ..] => RewardRefusal::VoucherRevoked.into(),
        [Obstacle::Refunded, ..] => RewardRefusal::VoucherRefunded.into(),
        [Obstacle::Expired, ..] => RewardError::Expired,
        obstacles => RewardError::NotApplicable(obstacles.to_vec()),
    }
}
