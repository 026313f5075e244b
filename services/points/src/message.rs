//! The domain as messages.

use kernel::{MemberId, ProgramId, Rounding, Timestamp, Uuid};
use prost::{DecodeError, Message};
use proto::points as pb;
use rpc::wire::timestamp;
use rust_decimal::Decimal;

use crate::domain::{
    Account, Entry, EntryKind, Explanation, LotKey, MAIN_WALLET, Outcome, PointRounding, Purchase, Reservation, ReturnPolicy, Returned,
    RewardState, Source, Stamp, Terms, Wallet,
};
use crate::program::{Program, VersionRecord};

/// What the answer of a command is made of.
pub(crate) struct AnswerParts<'a> {
    pub(crate) program: &'a Program,
    pub(crate) member: Option<MemberId>,
    /// The account afterwards.
    pub(crate) account: Option<&'a Account>,
    pub(crate) stamp: &'a Stamp,
    /// What had fallen due before the command.
    pub(crate) due: &'a [Entry],
    /// What the command posted.
    pub(crate) entries: &'a [Entry],
}

/// `programs/{program}/operations/{operation}`.
fn operation_name(program: &ProgramId, operation: Uuid) -> String {
    format!("programs/{program}/operations/{operation}")
}

pub(crate) fn purchase_name(program: &ProgramId, purchase: &str) -> String {
    format!("programs/{program}/purchases/{purchase}")
}

fn version_name(program: &ProgramId, number: i64) -> String {
    if number == 0 { String::new() } else { format!("programs/{program}/versions/{number}") }
}

pub(crate) fn money(program: &Program, minor_units: i64) -> proto::common::Money {
    proto::common::Money { currency_code: program.currency.to_string(), minor_units }
}

/// The answer of everything that moves points, but of EnsureReward.
pub(crate) fn operation(parts: &AnswerParts<'_>, outcome: &Outcome) -> pb::Operation {
    use pb::operation::Kind;
    let AnswerParts { program, member, account, stamp, due, entries } = *parts;
    let written = due.iter().chain(entries);
    let posted: i64 = entries.iter().map(|entry| entry.points).sum();
    let mut operation = pb::Operation {
        name: operation_name(&program.id, stamp.operation),
        request_id: stamp.request_id.to_string(),
        kind: Kind::Unspecified.into(),
        member: member.map(|member| member.name(&program.id)).unwrap_or_default(),
        entries: member.map(|member| written.map(|posted| entry(&program.id, member, posted)).collect()).unwrap_or_default(),
        balance: member.zip(account).map(|(member, account)| balance(&program.id, member, account, stamp.now, Detail::Figures)),
        requested_points: 0,
        actual_points: posted,
        purchase: String::new(),
        reservation: None,
        award: None,
        r#return: None,
        occur_time: Some(timestamp(stamp.occurred_at)),
        record_time: Some(timestamp(stamp.now)),
    };
    let kind = match outcome {
        Outcome::Awarded { purchase, explanation } => {
            operation.purchase = purchase_name(&program.id, &purchase.input.id.0);
            operation.award = Some(award_explanation(program, purchase, explanation, stamp.now));
            Kind::Award
        }
        Outcome::Redeemed { requested, .. } => {
            operation.requested_points = *requested;
            Kind::Redeem
        }
        Outcome::Reserved { reservation: held } => {
            operation.requested_points = held.points;
            operation.reservation = member.map(|member| reservation(&program.id, member, held, pb::reservation::State::Open, 0));
            Kind::Reserve
        }
        Outcome::Captured { reservation: held, points } => {
            operation.requested_points = *points;
            operation.reservation = member.map(|member| reservation(&program.id, member, held, pb::reservation::State::Captured, *points));
            Kind::Capture
        }
        Outcome::Released { reservation: held } => {
            operation.reservation = member.map(|member| reservation(&program.id, member, held, pb::reservation::State::Released, 0));
            Kind::Release
        }
        Outcome::Returned(returned) => {
            operation.purchase = purchase_name(&program.id, &returned.purchase.input.id.0);
            operation.r#return = Some(return_explanation(program, returned));
            Kind::Return
        }
        Outcome::Adjusted { points } => {
            operation.requested_points = *points;
            Kind::Adjust
        }
        Outcome::Ensured(_) => Kind::Reward,
    };
    operation.kind = kind.into();
    operation
}

fn reservation(program: &ProgramId, member: MemberId, held: &Reservation, state: pb::reservation::State, captured: i64) -> pb::Reservation {
    pb::Reservation {
        name: format!("{}/reservations/{}", member.name(program), held.id),
        state: state.into(),
        wallet: held.wallet.to_string(),
        points: held.points,
        captured_points: captured,
        expire_time: Some(timestamp(held.expires_at)),
    }
}

/// How the points of a purchase were worked out.
pub(crate) fn award_explanation(program: &Program, purchase: &Purchase, explanation: &Explanation, now: Timestamp) -> pb::AwardExplanation {
    let lot = purchase.lot.as_ref();
    let components = explanation.components.iter().map(|part| pb::AwardComponent {
        source: part.source.clone(),
        factor: part.factor.normalize().to_string(),
        points: part.points,
    });
    pb::AwardExplanation {
        net: Some(money(program, purchase.input.net)),
        base_points: explanation.base,
        bonus_points: explanation.bonus,
        components: components.collect(),
        program_version: version_name(&program.id, purchase.facts.version),
        tier: purchase.facts.tier.clone(),
        activate_time: lot.and_then(|lot| lot.activates_at).filter(|at| *at > now).map(timestamp),
        expire_time: lot.and_then(|lot| lot.expires_at).map(timestamp),
        first_purchase: purchase.facts.first_purchase,
    }
}

fn return_explanation(program: &Program, returned: &Returned) -> pb::ReturnExplanation {
    let taken = returned.summary.taken;
    pb::ReturnExplanation {
        returned: Some(money(program, returned.summary.returned)),
        remaining: Some(money(program, returned.purchase.remaining_net)),
        due_points: returned.purchase.due,
        taken_from_pending: taken.pending,
        taken_from_active: taken.active,
        added_to_deficit: taken.deficit,
        forgiven: taken.forgiven,
    }
}

/// The answer of EnsureReward.
pub(crate) fn ensured(state: &RewardState) -> pb::EnsureRewardResponse {
    pb::EnsureRewardResponse { version: state.version, granted: state.granted > 0 }
}

/// The answer of EnsureReward as it is remembered: fields beyond those of the operation that it also is, so that either can be read
/// from the same bytes.
#[derive(Clone, PartialEq, Message)]
struct RememberedReward {
    #[prost(int64, tag = "1001")]
    version: i64,
    #[prost(bool, tag = "1002")]
    granted: bool,
}

/// What is remembered of EnsureReward.
pub(crate) fn remembered_reward(operation: &pb::Operation, state: &RewardState) -> Vec<u8> {
    let pb::EnsureRewardResponse { version, granted } = ensured(state);
    let mut bytes = operation.encode_to_vec();
    bytes.extend(RememberedReward { version, granted }.encode_to_vec());
    bytes
}

/// What a remembered answer of EnsureReward says.
pub(crate) fn reward_state(answer: &[u8]) -> Result<RewardState, DecodeError> {
    let RememberedReward { version, granted } = RememberedReward::decode(answer)?;
    Ok(RewardState { version, granted: i64::from(granted), lot: None })
}

/// One entry of a member's account.
pub(crate) fn entry(program: &ProgramId, member: MemberId, entry: &Entry) -> pb::Entry {
    let member_name = member.name(program);
    let (mut purchase, mut reservation, mut reason, mut approver) = Default::default();
    match &entry.source {
        Source::Purchase(id) => purchase = purchase_name(program, &id.0),
        Source::Reservation { id, hold_until: _, reference } => {
            reservation = format!("{member_name}/reservations/{id}");
            reason = reference.to_string();
        }
        Source::Reference(reference) => reason = reference.clone(),
        Source::Reward { key, reason: why } => reason = format!("{why} ({key})"),
        Source::Correction { reason: why, approver: who } => (reason, approver) = (why.clone(), who.clone()),
        Source::Due => {}
    }
    let lots = entry.lots.iter().map(|change| {
        let LotKey { expires_at, earn_month, activates_at, origin: _ } = change.key;
        pb::LotChange {
            activate_time: activates_at.map(timestamp),
            expire_time: expires_at.map(timestamp),
            earn_month,
            points_delta: change.points,
            reserved_delta: change.reserved,
        }
    });
    let operation = if entry.stamp.operation.is_nil() { String::new() } else { operation_name(program, entry.stamp.operation) };
    pb::Entry {
        name: format!("{member_name}/entries/{}", entry.version),
        version: entry.version,
        kind: kind(entry.kind).into(),
        wallet: entry.wallet.to_string(),
        points: entry.points,
        active_after: entry.active_after,
        pending_after: entry.pending_after,
        reserved_after: entry.reserved_after,
        deficit_after: entry.deficit_after,
        lots: lots.collect(),
        deficit_delta: entry.deficit_delta,
        purchase,
        reservation,
        operation,
        request_id: entry.stamp.request_id.to_string(),
        actor: entry.stamp.actor.to_string(),
        terminal: entry.stamp.terminal.to_string(),
        store: entry.stamp.store.to_string(),
        reason,
        approver,
        program_version: version_name(program, entry.program_version),
        fact_version: entry.fact_version,
        occur_time: Some(timestamp(entry.stamp.occurred_at)),
        effective_time: Some(timestamp(entry.effective_at)),
        record_time: Some(timestamp(entry.recorded_at)),
    }
}

pub(crate) fn kind(kind: EntryKind) -> pb::EntryKind {
    match kind {
        EntryKind::Award => pb::EntryKind::Award,
        EntryKind::Activate => pb::EntryKind::Activate,
        EntryKind::Reserve => pb::EntryKind::Reserve,
        EntryKind::Capture => pb::EntryKind::Capture,
        EntryKind::Release => pb::EntryKind::Release,
        EntryKind::Redeem => pb::EntryKind::Redeem,
        EntryKind::Clawback => pb::EntryKind::Clawback,
        EntryKind::Adjust => pb::EntryKind::Adjust,
        EntryKind::Expire => pb::EntryKind::Expire,
        EntryKind::Reward => pb::EntryKind::Reward,
        EntryKind::RewardRevoked => pb::EntryKind::RewardRevoked,
    }
}

/// How much a balance tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The figures.
    Figures,
    /// The lots too.
    Lots,
}

/// The balances of a member.
pub(crate) fn balance(program: &ProgramId, member: MemberId, account: &Account, now: Timestamp, detail: Detail) -> pb::Balance {
    let empty = Wallet::new(MAIN_WALLET);
    let main = account.wallet(MAIN_WALLET).unwrap_or(&empty);
    let others = account.wallets.iter().filter(|wallet| &*wallet.name != MAIN_WALLET);
    pb::Balance {
        member: member.name(program),
        wallets: std::iter::once(main).chain(others).map(|wallet| wallet_balance(wallet, detail)).collect(),
        version: account.version,
        as_of_time: Some(timestamp(now)),
    }
}

fn wallet_balance(wallet: &Wallet, detail: Detail) -> pb::WalletBalance {
    let (next_expire, next_expire_points) = wallet.next_expiry();
    let (next_activate, next_activate_points) = wallet.next_activation();
    let lots = match detail {
        Detail::Figures => Vec::new(),
        Detail::Lots => wallet
            .lots
            .iter()
            .map(|lot| pb::Lot {
                activate_time: lot.key.activates_at.map(timestamp),
                expire_time: lot.key.expires_at.map(timestamp),
                earn_month: lot.key.earn_month,
                points: lot.points,
                reserved_points: lot.reserved,
            })
            .collect(),
    };
    pb::WalletBalance {
        wallet: wallet.name.to_string(),
        active_points: wallet.active,
        pending_points: wallet.pending,
        reserved_points: wallet.reserved,
        deficit_points: wallet.deficit,
        next_expire_time: next_expire.map(timestamp),
        next_expire_points,
        next_activate_time: next_activate.map(timestamp),
        next_activate_points,
        lots,
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
            })
            .collect(),
        returned_quantities: input.lines.iter().map(|line| line.returned).collect(),
        base_points: purchase.base,
        due_points: purchase.due,
        returns: purchase.returns,
        occur_time: Some(timestamp(purchase.occurred_at)),
        record_time: Some(timestamp(purchase.recorded_at)),
        operation: operation_name(&program.id, purchase.operation),
    }
}

/// A version of a program's terms.
pub(crate) fn version(program: &ProgramId, record: VersionRecord) -> pb::ProgramVersion {
    pb::ProgramVersion {
        name: version_name(program, record.number),
        terms: Some(record.terms),
        start_time: Some(timestamp(record.start_at)),
        create_time: Some(timestamp(record.created_at)),
        author: record.author,
    }
}

/// Reads terms; the error is the field that is wrong and what it must be.
pub(crate) fn terms(message: &pb::Terms) -> Result<Terms, (&'static str, &'static str)> {
    let period = |field: &'static str, period: Option<&proto::common::CalendarPeriod>| {
        use proto::common::calendar_period::Unit;
        let Some(period) = period else { return Ok(None) };
        let unit = match period.unit() {
            Unit::Day => kernel::CalendarUnit::Day,
            Unit::Week => kernel::CalendarUnit::Week,
            Unit::Month => kernel::CalendarUnit::Month,
            Unit::Year => kernel::CalendarUnit::Year,
            Unit::Unspecified => return Err((field, "needs a unit")),
        };
        Ok(Some(kernel::Period { count: period.count, unit }))
    };
    let points_per_unit: Decimal = message.points_per_unit.parse().map_err(|_| ("points_per_unit", "must be a decimal"))?;
    if points_per_unit > Decimal::from(1_000_000) {
        return Err(("points_per_unit", "must be at most 1000000"));
    }
    let ttl = message.reservation_ttl.as_ref();
    let ttl =
        ttl.map_or(Ok(std::time::Duration::from_secs(900)), |ttl| (*ttl).try_into().map_err(|_| ("reservation_ttl", "must be positive")))?;
    Ok(Terms {
        points_per_unit,
        rounding: match message.rounding() {
            pb::terms::PointRounding::Down => PointRounding::Down,
            pb::terms::PointRounding::HalfUp => PointRounding::HalfUp,
            pb::terms::PointRounding::Up => PointRounding::Up,
            pb::terms::PointRounding::Unspecified => return Err(("rounding", "must be set")),
        },
        activate_after: period("activate_after", message.activate_after.as_ref())?,
        expire_after: period("expire_after", message.expire_after.as_ref())?,
        expiry_rounding: match message.expiry_rounding() {
            pb::terms::ExpiryRounding::Unspecified => Rounding::None,
            pb::terms::ExpiryRounding::Day => Rounding::EndOfDay,
            pb::terms::ExpiryRounding::Month => Rounding::EndOfMonth,
            pb::terms::ExpiryRounding::Quarter => Rounding::EndOfQuarter,
            pb::terms::ExpiryRounding::HalfYear => Rounding::EndOfHalfYear,
            pb::terms::ExpiryRounding::Year => Rounding::EndOfYear,
        },
        return_policy: match message.return_policy() {
            pb::terms::ReturnPolicy::OnlyPending => ReturnPolicy::OnlyPending,
            pb::terms::ReturnPolicy::WithinBalance => ReturnPolicy::WithinBalance,
            pb::terms::ReturnPolicy::Unlimited => ReturnPolicy::Unlimited,
            pb::terms::ReturnPolicy::Unspecified => return Err(("return_policy", "must be set")),
        },
        deficit_cap: (message.deficit_cap > 0).then_some(message.deficit_cap),
        restore_grace: period("restore_grace", message.restore_grace.as_ref())?,
        reservation_ttl: ttl,
    })
}

/// Minor units of a request's money; the error is the currency that was expected.
pub(crate) fn minor_units(program: &Program, given: &proto::common::Money) -> Result<i64, kernel::Currency> {
    if given.currency_code == program.currency.as_str() { Ok(given.minor_units) } else { Err(program.currency) }
}
