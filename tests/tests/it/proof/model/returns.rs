//! Purchases, and what goes back of them.

use proto::points as pb;
use proto::points::EntryKind;
use tonic::Code;

use super::account::{About, Account, Stamp};
use super::lots::{LotKey, Opening, Owner};
use super::rules::{Rules, micros, time, version_at, yuan};
use super::{Purchase, Redemption, World, purchase_name, refused};
use crate::it::proof::calls::Refusal;
use crate::it::suite::TEA;

impl World {
    pub(super) fn award(
        &self,
        input: &pb::PurchaseInput,
        member: Option<&str>,
        account: &mut Account,
        stamp: &Stamp,
        operation: &mut pb::Operation,
    ) -> Result<Purchase, Refusal> {
        if member.is_some() {
            account.admit()?;
        }
        let rules = version_at(&self.rules, stamp.occurred);
        let fen = input.net.as_ref().map_or(0, |net| net.minor_units);
        let paid: Option<Vec<&Redemption>> = input.redemptions.iter().map(|name| self.spent_by(account, name)).collect();
        let Some(paid) = paid else { return Err(Refusal::new(Code::NotFound, "REDEMPTION_NOT_FOUND", &[])) };
        let redeemed_points = paid.iter().map(|spent| spent.left()).sum();
        let points = rules.points(fen);
        let (key, name) = (rules.lot(stamp.occurred, stamp.now, &stamp.request_id, &input.purchase_id), purchase_name(input));
        let key = account.named(stamp, key);
        let lot = (member.is_some() && points > 0).then(|| key.clone());
        operation.purchase = name.clone();
        operation.award = Some(pb::AwardExplanation {
            net: yuan(fen),
            base_points: points,
            bonus_points: 0,
            components: vec![pb::AwardComponent {
                source: "base".to_owned(),
                factor: rules.rate(),
                points,
                ..pb::AwardComponent::default()
            }],
            program_version: format!("{TEA}/versions/{}", rules.number),
            tier: String::new(),
            activate_time: lot.as_ref().and_then(LotKey::opens).map(time),
            expire_time: lot.as_ref().and_then(LotKey::expire_time),
            first_purchase: member.is_some() && account.purchases == 0,
            ..pb::AwardExplanation::default()
        });
        let recorded = if member.is_some() { account.next_record(stamp) } else { stamp.now };
        if member.is_some() {
            let about = About { purchase: name.clone(), terms: rules.number, ..About::default() };
            account.credit(stamp, EntryKind::Award, &about, key, points);
            account.purchases += 1;
            if let Some(merged) = account.merged.iter_mut().find(|merged| merged.has(&stamp.presented)) {
                merged.purchases += 1;
            }
        }
        let told = pb::Purchase {
            cashier: String::new(),
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
            record_time: Some(time(recorded)),
            operation: stamp.operation.clone(),
            redeemed_points,
            given_back_points: 0,
            tax_minor_units: 0,
            discount_minor_units: 0,
            other_points: Vec::new(),
        };
        let rules = self.rules.iter().position(|version| version.number == rules.number).expect("it is one of them");
        Ok(Purchase { told, lot, rules, redemptions: input.redemptions.clone(), recorded_by: stamp.request_id.clone() })
    }

    /// A redemption of this account or of one that it has taken in, or by its member in the account of another.
    fn spent_by(&self, account: &Account, name: &str) -> Option<&Redemption> {
        self.redemptions.get(name).filter(|spent| account.is_of(&spent.owner.member) || account.is_of(&spent.spender))
    }

    /// The redemptions of a purchase with something left that were taken from another account than these: there it goes back to.
    pub(super) fn elsewhere(&self, request: &pb::ReturnPurchaseRequest, accounts: &[&Account]) -> Option<&Redemption> {
        let paid = self.purchases.get(&request.purchase).filter(|_| request.give_back_points != Some(0))?.redemptions.iter();
        let mut left = paid.filter_map(|name| self.redemptions.get(name)).filter(|spent| spent.left() > 0);
        left.find(|spent| !accounts.iter().any(|account| account.is_of(&spent.owner.member)))
    }

    pub(super) fn take_back(
        &mut self,
        request: &pb::ReturnPurchaseRequest,
        of_member: bool,
        [account, other]: [&mut Account; 2],
        stamp: &Stamp,
    ) -> Result<pb::ReturnExplanation, Refusal> {
        if self.elsewhere(request, &[account, other]).is_some() {
            return Err(refused("REDEMPTIONS_APART"));
        }
        let Some(purchase) = self.purchases.get(&request.purchase) else {
            return Err(Refusal::new(Code::NotFound, "PURCHASE_NOT_FOUND", &[]));
        };
        let mut purchase = purchase.clone();
        let before = purchase.left();
        let left = going_back(&mut purchase.told, before, request)?;
        let all_rules = self.rules.clone();
        let rules: &Rules = &all_rules[purchase.rules];
        let points = rules.points(left);
        let due = if of_member { points } else { 0 };
        let told = &mut purchase.told;
        let due_before = told.due_points;
        (told.remaining_net, told.base_points, told.due_points) = (yuan(left), points, due);
        told.returns += 1;
        let refund = self.give_back_paid(request, &mut purchase, [account, other], stamp)?;
        let mut taken = [0; 4];
        if of_member {
            // Where the points of the purchase are by now.
            let lot = purchase.lot.as_ref().map(|lot| lot.moved(&Owner::new(&purchase.told.member), &account.owner));
            let own = lot.map(|lot| if matches!(lot.opening, Opening::At(at) if at <= stamp.now) { lot.opened() } else { lot });
            let about = About { purchase: purchase.told.name.clone(), terms: rules.number, ..About::default() };
            let policy = (rules.policy, rules.deficit_cap);
            let earned = purchase.told.record_time.as_ref().map_or(i64::MIN, micros);
            taken = account.take_back(stamp, EntryKind::Clawback, &about, due_before - due, (own.as_ref(), earned), policy);
        }
        self.purchases.insert(&request.purchase, purchase);
        let [taken_from_pending, taken_from_active, added_to_deficit, forgiven] = taken;
        Ok(pb::ReturnExplanation {
            returned: yuan(before - left),
            remaining: yuan(left),
            due_points: due,
            taken_from_pending,
            taken_from_active,
            added_to_deficit,
            forgiven,
            refund,
            other_wallets: Vec::new(),
        })
    }

    /// Gives back what points paid of the goods: unless the caller says how many, what the rest of the purchase does not keep.
    fn give_back_paid(
        &mut self,
        request: &pb::ReturnPurchaseRequest,
        purchase: &mut Purchase,
        [account, other]: [&mut Account; 2],
        stamp: &Stamp,
    ) -> Result<Option<pb::RefundExplanation>, Refusal> {
        let is_here = |spent: &&Redemption| account.is_of(&spent.owner.member) || other.is_of(&spent.owner.member);
        let paid = purchase.redemptions.iter().filter_map(|name| self.redemptions.get(name));
        let paid: Vec<Redemption> = paid.filter(is_here).cloned().collect();
        let there: i64 = paid.iter().map(Redemption::left).sum();
        let not_kept = purchase.told.redeemed_points - purchase.kept_of_redeemed() - purchase.told.given_back_points;
        let points = request.give_back_points.unwrap_or(not_kept.clamp(0, there));
        if points > there {
            return Err(Refusal::new(Code::FailedPrecondition, "EXCEEDS_REDEMPTION", &[("left_points", there.to_string())]));
        }
        purchase.told.given_back_points += points;
        let mut refund = pb::RefundExplanation { points, ..pb::RefundExplanation::default() };
        let terms = version_at(&self.rules, stamp.now).number;
        let mut rest = points;
        for spent in paid {
            let part = rest.min(spent.left());
            rest -= part;
            if part > 0 {
                let (redemption, purchase) = (spent.name.clone(), purchase.told.name.clone());
                let about = About { redemption, purchase, terms, ..About::default() };
                let unnamed = Stamp { presented: String::new(), ..stamp.clone() };
                let restored = match account.is_of(&spent.owner.member) {
                    true => account.give_back(stamp, &self.rules, &about, &spent, part),
                    false => other.give_back(&unnamed, &self.rules, &about, &spent, part),
                };
                refund.repaid_points += restored.repaid;
                refund.lapsed_points += restored.lapsed;
                refund.redemptions.push(spent.name.clone());
                self.redemptions.insert(&spent.name.clone(), Redemption { refunded: spent.refunded + part, ..spent });
            }
        }
        Ok((points > 0).then_some(refund))
    }
}

impl Purchase {
    fn left(&self) -> i64 {
        self.told.remaining_net.as_ref().map_or(0, |net| net.minor_units)
    }

    /// The part of the points that paid for it which what is left keeps: by money, or by pieces where it cost none; rounded down.
    fn kept_of_redeemed(&self) -> i64 {
        let pieces: i64 = self.told.lines.iter().map(|line| line.quantity).sum();
        let (left, whole) = match self.told.net.as_ref().map_or(0, |net| net.minor_units) {
            0 => (pieces - self.told.returned_quantities.iter().sum::<i64>(), pieces.max(1)),
            net => (self.left(), net),
        };
        self.told.redeemed_points * left / whole
    }
}

/// Notes the pieces that go back; the fen that are left then.
fn going_back(told: &mut pb::Purchase, before: i64, request: &pb::ReturnPurchaseRequest) -> Result<i64, Refusal> {
    use pb::return_purchase_request::What;
    let precondition = |reason: &str, key: &str, value: String| Refusal::new(Code::FailedPrecondition, reason, &[(key, value)]);
    match request.what.as_ref().expect("the contract demands it") {
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
            let lines = told.lines.iter().zip(&told.returned_quantities);
            let kept = lines.map(|(line, back)| line.net_minor_units * (line.quantity - back) / line.quantity);
            Ok(before.min(kept.sum()))
        }
        What::RemainingNet(net) if net.minor_units > before => Err(precondition("EXCEEDS_PURCHASE", "left", before.to_string())),
        What::RemainingNet(net) if net.minor_units == before => Err(Refusal::new(Code::FailedPrecondition, "NOTHING_TO_RETURN", &[])),
        What::RemainingNet(net) => Ok(net.minor_units),
    }
}
