use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kernel::Uuid;
use proto::points as pb;
use rpc::{Answer, status};
use tonic::Status;

use super::super::parse::{Circumstances, money, origin, parse_program, told_time};
use super::super::{Call, Rpcs};
use crate::domain::AccountId;
use crate::domain::rewards::{Basket, BasketLine, Buyer, Code, OfflineCode, OfflineUse, RewardRefusal, Voucher, VoucherTerms};
use crate::executor::{ShownCode, Target, UseVoucher, VoucherChange};
use crate::message::rewards as told;
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store;

/// A code and the basket that it is shown for.
struct Shown {
    program: Arc<Program>,
    code: ShownCode,
    basket: Basket,
}

impl Rpcs {
    pub(super) async fn check_voucher(&self, call: &Call, message: pb::CheckVoucherRequest) -> Result<pb::BasketDiscount, Status> {
        let shown = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let (voucher, terms, buyer) = self.find(&shown, &message.order_reference).await?;
        let priced = voucher.price(&terms, &shown.basket, &buyer);
        let name = told::voucher_name(&shown.program.id, voucher.member, voucher.id);
        Ok(told::basket_discount(&shown.program, name, &shown.basket, &priced))
    }

    pub(super) async fn use_voucher(&self, call: &Call, message: pb::UseVoucherRequest) -> Result<Answer<pb::VoucherUse>, Status> {
        let shown = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let offline = message.offline.as_ref().map(|told| parse_offline(call, &shown, told)).transpose()?;
        let Shown { program, code, basket } = shown;
        let change = VoucherChange::Use(UseVoucher { code, basket, order: message.order_reference.clone(), offline });
        self.change_voucher(call, program, (&message.request_id, &message), change).await
    }

    async fn parse_shown(&self, call: &Call, parent: &str, code: &str, basket: Option<&pb::Basket>) -> Result<Shown, Status> {
        let program = self.program(&parse_program("parent", parent)?).await?;
        let code = if OfflineCode::is_meant(code) {
            self.claim(&program.id, code).map(ShownCode::Claim)
        } else {
            Code::parse(code).map(|code| ShownCode::Hashes(self.code_hashes(&program.id, &code)))
        };
        let code =
            code.ok_or_else(|| status::bad_request([("code", "is neither the code of a voucher nor an offline code of the program")]))?;
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

    /// A voucher by its code, and what is known of whoever survived its member, with what other vouchers hold.
    async fn find(&self, shown: &Shown, order: &str) -> Result<(Voucher, VoucherTerms, Buyer), Status> {
        let program = &shown.program;
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let mut known = None;
        match &shown.code {
            ShownCode::Claim(claim) if !claim.holds_at(self.now()) => return Err(RewardError::OfflineCodeExpired.into()),
            ShownCode::Claim(claim) => known = store::voucher(&mut tx, &program.id, claim.voucher).await.map_err(status::from_store)?,
            ShownCode::Hashes(hashes) => {
                for hash in hashes {
                    known = store::voucher_by_code(&mut tx, &program.id, hash).await.map_err(status::from_store)?;
                    if known.is_some() {
                        break;
                    }
                }
            }
        }
        drop(tx);
        let voucher = known.ok_or(RewardError::from(RewardRefusal::VoucherNotFound))?;
        let terms = told::issued_terms(&voucher).map_err(status::from_store)?;
        let (survivor, held) = self.surviving(&program.id, voucher.member).await?;
        let of_order = Target::order_of_vouchers(&program.id, order);
        let accounts = if terms.conditions.first_order { held.account.accounts(AccountId::of(&program.id, survivor)) } else { Vec::new() };
        let mut keys: Vec<Uuid> = accounts.into_iter().map(|account| Target::first_order(&program.id, account)).collect();
        keys.extend((!order.is_empty()).then_some(of_order));
        let mut holds = HashMap::new();
        if !keys.is_empty() {
            let mut tx = self.database.read().await.map_err(status::from_store)?;
            holds = store::holds(&mut tx, &keys).await.map_err(status::from_store)?;
        }
        let on_order = holds.remove(&of_order);
        let buyer = Buyer::of(&held.account, &held.facts, self.now(), &program.zone);
        let buyer = buyer.beside(&terms, order, on_order.as_ref(), holds.values());
        Ok((voucher, terms, buyer))
    }
}

/// What a till tells of a use that it has made without a connection.
fn parse_offline(call: &Call, shown: &Shown, told: &pb::OfflineUse) -> Result<OfflineUse, Status> {
    let pb::OfflineUse { occur_time, terminal, sequence } = told;
    if matches!(shown.code, ShownCode::Hashes(_)) {
        return Err(status::bad_request([("code", "must be an offline code: a till without a connection can believe no other")]));
    }
    let store = &shown.basket.store;
    let terminal = origin(call, "offline.", &Circumstances { store, terminal, ..Circumstances::default() })?.terminal.to_string();
    if terminal.is_empty() {
        return Err(status::bad_request([("offline.terminal", "must be set")]));
    }
    let occurred_at = told_time("offline.occur_time", occur_time.as_ref())?.map(|told| told.at);
    let occurred_at = occurred_at.ok_or_else(|| status::bad_request([("offline.occur_time", "must be set")]))?;
    let key = Target::offline_use(&shown.program.id, &terminal, *sequence);
    Ok(OfflineUse { key, terminal, sequence: *sequence, occurred_at })
}
