//! Purchases as messages: what they earned and why, and what their returns changed.

use kernel::{ProgramId, Timestamp};
use proto::points as pb;
use rpc::wire::timestamp;

use super::wallets::wallet_points;
use super::{money, operation_name, promotions, purchase_name, version_name};
use crate::domain::{Explanation, Purchase, Restored, Returned};
use crate::program::Program;

/// How the points of a purchase were worked out.
pub(crate) fn award_explanation(program: &Program, purchase: &Purchase, explanation: &Explanation, now: Timestamp) -> pb::AwardExplanation {
    let lot = purchase.lot.as_ref();
    let components = explanation.components.iter().map(|part| pb::AwardComponent {
        source: part.source.clone(),
        factor: part.factor.map(|factor| factor.normalize().to_string()).unwrap_or_default(),
        points: part.points,
        desired_points: if part.desired > part.points { part.desired } else { 0 },
        title: part.title.clone(),
        wallet: part.wallet.as_deref().unwrap_or_default().to_owned(),
    });
    pb::AwardExplanation {
        net: Some(money(program, purchase.input.net)),
        base_points: explanation.base,
        bonus_points: explanation.bonus,
        components: components.collect(),
        program_version: version_name(&program.id, purchase.facts.version),
        tier: purchase.facts.tier.clone(),
        activate_time: lot.and_then(|lot| lot.opens_at()).filter(|at| *at > now).map(timestamp),
        expire_time: lot.and_then(|lot| lot.lapses_at(None)).map(timestamp),
        first_purchase: purchase.facts.first_purchase,
        rejected_promotions: explanation.rejected.iter().map(|(id, reason)| promotions::rejected(id, *reason)).collect(),
        other_points: explanation.others.iter().map(|share| wallet_points((&share.wallet, share.points))).collect(),
    }
}

pub(super) fn return_explanation(program: &Program, returned: &Returned) -> pb::ReturnExplanation {
    let taken = returned.summary.taken;
    let others = returned.purchase.others.iter().zip(&returned.others).map(|(earned, taken)| pb::WalletReturn {
        wallet: earned.wallet.to_string(),
        due_points: earned.due,
        taken_from_pending: taken.pending,
        taken_from_active: taken.active,
        added_to_deficit: taken.deficit,
        forgiven: taken.forgiven,
    });
    pb::ReturnExplanation {
        returned: Some(money(program, returned.summary.returned)),
        remaining: Some(money(program, returned.purchase.remaining_net)),
        due_points: returned.purchase.due,
        taken_from_pending: taken.pending,
        taken_from_active: taken.active,
        added_to_deficit: taken.deficit,
        forgiven: taken.forgiven,
        refund: (returned.restored.points > 0).then(|| refund(&program.id, &returned.restored)),
        other_wallets: others.collect(),
    }
}

pub(super) fn refund(program: &ProgramId, restored: &Restored) -> pb::RefundExplanation {
    pb::RefundExplanation {
        points: restored.points,
        repaid_points: restored.repaid,
        lapsed_points: restored.lapsed,
        redemptions: restored.redemptions.iter().map(|redemption| operation_name(program, redemption.operation)).collect(),
    }
}

/// A purchase as it stands.
pub(crate) fn purchase(program: &Program, purchase: &Purchase) -> pb::Purchase {
    let input = &purchase.input;
    pb::Purchase {
        name: purchase_name(&program.id, &input.id.0),
        member: purchase.member.map(|member| member.name(&program.id)).unwrap_or_default(),
        store: purchase.store.to_string(),
        terminal: purchase.terminal.to_string(),
        cashier: purchase.cashier.to_string(),
        channel: input.channel.clone(),
        offer: input.offer.clone(),
        net: Some(money(program, input.net)),
        remaining_net: Some(money(program, purchase.remaining_net)),
        lines: input
            .lines
            .iter()
            .map(|line| pb::PurchaseLine {
                line_id: line.id.clone(),
                sku: line.sku.clone(),
                category: line.category.clone(),
                quantity: line.quantity,
                net_minor_units: line.net,
                tax_minor_units: line.tax,
                discount_minor_units: line.discount,
            })
            .collect(),
        returned_quantities: input.lines.iter().map(|line| line.returned).collect(),
        base_points: purchase.base,
        due_points: purchase.due,
        returns: purchase.returns,
        occur_time: Some(timestamp(purchase.occurred_at)),
        record_time: Some(timestamp(purchase.recorded_at)),
        operation: operation_name(&program.id, purchase.operation),
        redeemed_points: purchase.redeemed,
        given_back_points: purchase.given_back,
        tax_minor_units: input.tax,
        discount_minor_units: input.discount,
        other_points: purchase.others.iter().map(|earned| wallet_points((&earned.wallet, earned.due))).collect(),
    }
}
