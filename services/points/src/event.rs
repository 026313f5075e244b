//! What the feed tells of the ledger's work.

use kernel::{Context, MemberId, ProgramId, Timestamp};
use persistence::{Error, NewEvent};
use prost::Message;
use proto::events;
use proto::events::voucher_changed::Change;
use proto::points as pb;
use rpc::wire::timestamp;

use crate::domain::rewards::{Voucher, VoucherState};
use crate::domain::{Count, Entry, Explanation, Outcome, Purchase, Settled, Source, Stamp, Version};
use crate::message::limits::{beginning, budget_name, budget_state, counted_promotion, period_segment};
use crate::message::rewards::voucher_name;
use crate::message::{AnswerParts, kind, money, purchase_name};
use crate::program::Program;
use crate::store::Counter;

/// The event of a command; `None` for one that changed nothing.
pub(crate) fn of_command(parts: &AnswerParts<'_>, outcome: &Outcome, historical: bool) -> Option<events::Event> {
    use events::event::Payload;
    let AnswerParts { program, member, other, account, stamp, due: _, entries } = *parts;
    let postings: Vec<events::Posting> = entries.iter().map(|entry| posting(&program.id, entry)).collect();
    let posted = |operation: &str| {
        (!postings.is_empty()).then(|| {
            let counterpart = other.map(|other| other.name(&program.id)).unwrap_or_default();
            let (operation, postings) = (operation.to_owned(), postings.clone());
            Payload::PointsPosted(events::PointsPosted { operation, postings, counterpart, expiring: Vec::new() })
        })
    };
    let mut purchase_version = 1;
    let payload = match outcome {
        Outcome::Awarded { purchase, explanation } => Payload::PurchaseRecorded(recorded(program, purchase, explanation, postings)),
        Outcome::Returned(returned) => {
            purchase_version = 1 + returned.purchase.returns;
            Payload::PurchaseReturned(events::PurchaseReturned {
                purchase: purchase_name(&program.id, &returned.purchase.input.id.0),
                returned: Some(money(program, returned.summary.returned)),
                remaining: Some(money(program, returned.purchase.remaining_net)),
                base_points_delta: returned.summary.base_delta,
                awarded_points_delta: returned.summary.due_delta,
                complete: returned.purchase.remaining_net == 0,
                postings,
            })
        }
        Outcome::Redeemed { .. } | Outcome::RewardRedeemed { .. } => posted("REDEEM")?,
        Outcome::Reserved { .. } => posted("RESERVE")?,
        Outcome::Captured { .. } => posted("CAPTURE")?,
        Outcome::Released { .. } => posted("RELEASE")?,
        Outcome::Adjusted { .. } => posted("ADJUST")?,
        Outcome::Ensured(_) => posted("REWARD")?,
        Outcome::Earned { .. } => posted("ACTIVITY")?,
        Outcome::Resolved { came: true, .. } => posted("ACTIVATE")?,
        Outcome::Resolved { came: false, .. } => posted("CANCEL")?,
        Outcome::Refunded(_) | Outcome::RewardRefunded { .. } => posted("REFUND")?,
        Outcome::ExpirySet { .. } => posted("SET_EXPIRY")?,
        Outcome::Forgiven { .. } => posted("FORGIVE")?,
        Outcome::Transferred { .. } => posted("TRANSFER")?,
        Outcome::Merged => posted("MERGE")?,
        Outcome::Unmerged { .. } => posted("UNMERGE")?,
        Outcome::PoolChanged | Outcome::LeftPool { .. } => posted("POOL")?,
    };
    let member_name = member.map(|member| member.name(&program.id)).unwrap_or_default();
    // A stranger's purchase is its own aggregate: first its record, then its returns.
    let (aggregate, version) = match (account, &payload) {
        (Some(account), _) => (member_name.clone(), account.version),
        (None, Payload::PurchaseRecorded(recorded)) => (recorded.purchase.clone(), purchase_version),
        (None, Payload::PurchaseReturned(returned)) => (returned.purchase.clone(), purchase_version),
        (None, _) => return None,
    };
    Some(envelope(&program.id, member_name, aggregate, version, stamp, historical, payload))
}

/// The event of a voucher that was issued or has moved to another state. It tells nothing of the code.
pub(crate) fn of_voucher(
    program: &Program,
    voucher: &Voucher,
    change: Change,
    occurred_at: Timestamp,
    now: Timestamp,
) -> Result<events::Event, Error> {
    voucher_changed(program, voucher, (change, None), occurred_at, now)
}

/// The event of a voucher that a till without a connection has used for an order though it was not good any more, or of that order's end.
pub(crate) fn of_loss(
    program: &Program,
    voucher: &Voucher,
    change: Change,
    lost: (&str, i64),
    (occurred_at, now): (Timestamp, Timestamp),
) -> Result<events::Event, Error> {
    voucher_changed(program, voucher, (change, Some(lost)), occurred_at, now)
}

fn voucher_changed(
    program: &Program,
    voucher: &Voucher,
    (change, lost): (Change, Option<(&str, i64)>),
    occurred_at: Timestamp,
    now: Timestamp,
) -> Result<events::Event, Error> {
    let details = pb::Voucher::decode(&voucher.details[..]).map_err(|_| Error::Corrupt("details of a voucher".to_owned()))?;
    let name = voucher_name(&program.id, voucher.member, voucher.id);
    let used = match &voucher.state {
        VoucherState::Used(used) => Some(used),
        VoucherState::Usable | VoucherState::Revoked { .. } | VoucherState::Refunded { .. } => None,
    };
    let changed = events::VoucherChanged {
        change: change.into(),
        voucher: name.clone(),
        effect: effect_name(details.terms.as_ref()).to_owned(),
        grant_reason: match details.grant_reason() {
            pb::GrantReason::Unspecified => String::new(),
            reason => reason.as_str_name().trim_start_matches("GRANT_REASON_").to_owned(),
        },
        reward: details.reward,
        expire_time: voucher.expires_at.map(timestamp),
        order_reference: used.map(|used| used.order.clone()).unwrap_or_default(),
        discount: used.map(|used| money(program, used.discount)),
        lost_order_reference: lost.map(|(order, _)| order.to_owned()).unwrap_or_default(),
        loss: lost.map(|(_, loss)| money(program, loss)),
    };
    Ok(events::Event {
        event_id: String::new(),
        program: program.id.name(),
        member: voucher.member.name(&program.id),
        aggregate: name,
        aggregate_version: voucher.version,
        occur_time: Some(timestamp(occurred_at)),
        record_time: Some(timestamp(now)),
        historical: false,
        payload: Some(events::event::Payload::VoucherChanged(changed)),
    })
}

fn effect_name(terms: Option<&pb::VoucherTerms>) -> &'static str {
    use pb::voucher_terms::Effect;
    match terms.and_then(|terms| terms.effect.as_ref()) {
        Some(Effect::AmountOff(_)) => "AMOUNT_OFF",
        Some(Effect::PercentOff(_)) => "PERCENT_OFF",
        Some(Effect::FixedPrice(_)) => "FIXED_PRICE",
        Some(Effect::BuyGet(_)) => "BUY_GET",
        Some(Effect::FreeItem(_)) => "FREE_ITEM",
        Some(Effect::FreeDelivery(_)) => "FREE_DELIVERY",
        None => "",
    }
}

/// An event on its way to the feed, in the stream of its member, or of what it is about where there is none.
pub(crate) fn new(context: &Context, now: Timestamp, event: events::Event) -> NewEvent {
    let id = context.uuid();
    let stream = if event.member.is_empty() { event.aggregate.clone() } else { event.member.clone() };
    NewEvent { id, stream, at: now, payload: events::Event { event_id: id.to_string(), ..event }.encode_to_vec() }
}

/// The event of what the clock did to an account.
pub(crate) fn of_settling(program: &ProgramId, member: MemberId, last: &Entry, settled: &Settled) -> events::Event {
    let postings = settled.entries.iter().map(|entry| posting(program, entry)).collect();
    let expiring = settled.entries.iter().filter_map(|entry| match entry.source {
        Source::Reminder { expires_at, points } => {
            Some(events::PointsExpiring { wallet: entry.wallet.to_string(), points, expire_time: Some(timestamp(expires_at)) })
        }
        _ => None,
    });
    let posted =
        events::PointsPosted { operation: "SETTLE".to_owned(), postings, counterpart: String::new(), expiring: expiring.collect() };
    let payload = events::event::Payload::PointsPosted(posted);
    let name = member.name(program);
    envelope(program, name.clone(), name, last.version, &last.stamp, false, payload)
}

/// The event of a count that uses a promotion's budget up, or brings it back; `None` for any other.
pub(crate) fn of_budget(
    program: &ProgramId,
    version: &Version,
    before: &Count,
    after: &Counter,
    stamp: &Stamp,
    historical: bool,
) -> Option<events::Event> {
    let Counter { count, version: changes, .. } = after;
    let id = counted_promotion(&count.of)?;
    let promotion = version.terms.promotions.find(id)?;
    let budget = promotion.budget.filter(|budget| budget.is_period_of(count, &version.zone))?;
    let state = budget_state(&budget, count);
    if state == budget_state(&budget, before) {
        return None;
    }
    let budget = budget_name(program, id);
    let aggregate = [&budget, "/periods/", &period_segment(count)].concat();
    let payload = events::event::Payload::BudgetChanged(events::BudgetChanged {
        budget,
        // Both have the same numbers.
        state: state.into(),
        spent_points: count.points,
        times: count.times,
        period_start_time: beginning(count),
        period_end_time: count.until.map(timestamp),
    });
    Some(envelope(program, String::new(), aggregate, *changes, stamp, historical, payload))
}

fn envelope(
    program: &ProgramId,
    member: String,
    aggregate: String,
    version: i64,
    stamp: &Stamp,
    historical: bool,
    payload: events::event::Payload,
) -> events::Event {
    events::Event {
        event_id: String::new(),
        program: program.name(),
        member,
        aggregate,
        aggregate_version: version,
        occur_time: Some(timestamp(stamp.occurred_at)),
        record_time: Some(timestamp(stamp.now)),
        historical,
        payload: Some(payload),
    }
}

fn recorded(program: &Program, purchase: &Purchase, explanation: &Explanation, postings: Vec<events::Posting>) -> events::PurchaseRecorded {
    let input = &purchase.input;
    events::PurchaseRecorded {
        purchase: purchase_name(&program.id, &input.id.0),
        store: purchase.store.to_string(),
        terminal: purchase.terminal.to_string(),
        channel: input.channel.clone(),
        net: Some(money(program, input.net)),
        lines: input
            .lines
            .iter()
            .map(|line| events::PurchaseLine {
                line_id: line.id.clone(),
                sku: line.sku.clone(),
                category: line.category.clone(),
                quantity: line.quantity,
                net_minor_units: line.net,
            })
            .collect(),
        offer: input.offer.clone(),
        base_points: explanation.base,
        awarded_points: purchase.due,
        first_purchase: purchase.facts.first_purchase,
        postings,
    }
}

fn posting(program: &ProgramId, entry: &Entry) -> events::Posting {
    let (challenge_id, challenge_step, challenge_reward) = match &entry.source {
        Source::Challenge { challenge, step, reward, .. } => {
            (challenge.to_string(), *step, reward.as_deref().map(|reward| program.name_of("rewards", reward)).unwrap_or_default())
        }
        _ => Default::default(),
    };
    let name = kind(entry.kind).as_str_name();
    events::Posting {
        version: entry.version,
        kind: name.strip_prefix("ENTRY_KIND_").unwrap_or(name).to_owned(),
        wallet: entry.wallet.to_string(),
        points: entry.points,
        active_after: entry.active_after,
        challenge_id,
        challenge_step,
        challenge_reward,
    }
}
