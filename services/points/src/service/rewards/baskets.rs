use std::collections::HashSet;
use std::sync::Arc;

use proto::points as pb;
use rpc::{Answer, status};
use tonic::Status;

use super::super::parse::{Circumstances, money, origin, parse_program};
use super::super::{Call, Rpcs};
use crate::domain::rewards::{Basket, BasketLine, Buyer, Code, RewardRefusal, Voucher};
use crate::executor::{UseVoucher, VoucherChange};
use crate::message::rewards as told;
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store;

/// A code and the basket that it is shown for.
struct Shown {
    program: Arc<Program>,
    code: Code,
    basket: Basket,
}

impl Rpcs {
    pub(super) async fn check_voucher(&self, call: &Call, message: pb::CheckVoucherRequest) -> Result<pb::BasketDiscount, Status> {
        let shown = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let (voucher, buyer) = self.find(&shown).await?;
        let priced = voucher.price(&told::issued_terms(&voucher).map_err(status::from_store)?, &shown.basket, &buyer);
        let name = told::voucher_name(&shown.program.id, voucher.member, voucher.id);
        Ok(told::basket_discount(&shown.program, name, &shown.basket, &priced))
    }

    pub(super) async fn use_voucher(&self, call: &Call, message: pb::UseVoucherRequest) -> Result<Answer<pb::VoucherUse>, Status> {
        let Shown { program, code, basket } = self.parse_shown(call, &message.parent, &message.code, message.basket.as_ref()).await?;
        let codes = self.code_hashes(&program.id, &code);
        let change = VoucherChange::Use(UseVoucher { codes, basket, order: message.order_reference.clone() });
        self.change_voucher(call, program, (&message.request_id, &message), change).await
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
            let pb::PurchaseLine { line_id, sku, category, quantity, net_minor_units } = line.clone();
            BasketLine { id: line_id, sku, category, quantity, net: net_minor_units }
        };
        let store = origin(call, "basket.", &Circumstances { store, ..Circumstances::default() })?.store.to_string();
        let basket = Basket { lines: lines.iter().map(line).collect(), delivery, store, channel: channel.clone() };
        Ok(Shown { program, code, basket })
    }

    /// A voucher by its code, and what is known of whoever survived its member.
    async fn find(&self, shown: &Shown) -> Result<(Voucher, Buyer), Status> {
        let program = &shown.program;
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let mut known = None;
        for hash in self.code_hashes(&program.id, &shown.code) {
            known = store::voucher_by_code(&mut tx, &program.id, &hash).await.map_err(status::from_store)?;
            if known.is_some() {
                break;
            }
        }
        drop(tx);
        let voucher = known.ok_or(RewardError::from(RewardRefusal::VoucherNotFound))?;
        let (_, held) = self.surviving(&program.id, voucher.member).await?;
        Ok((voucher, Buyer::of(&held.account, &held.facts, self.now(), &program.zone)))
    }
}
