//! The domain as messages.

pub(crate) mod challenges;
pub(crate) mod file;
pub(crate) mod limits;
mod occasions;
mod promotions;
mod purchases;
pub(crate) mod rewards;
mod terms;
mod wallets;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use prost::{DecodeError, Message};
use proto::points as pb;
use rpc::wire::timestamp;

use crate::domain::{
    Account, AccountId, Entry, EntryKind, Expiry, MAIN_WALLET, Outcome, PoolChange, Reservation, RewardState, Source, Stamp, Wallet,
};
use crate::program::Program;
use crate::store::Sums;
use purchases::{refund, return_explanation};
use wallets::{wallet_of, wallet_points};

pub(crate) use purchases::{award_explanation, purchase};
pub(crate) use terms::{period, terms, wrong_terms};
pub(crate) use wallets::{posted, posted_beside, wallet_or_main};

/// What the answer of a command is made of.
#[derive(Clone, Copy)]
pub(crate) struct AnswerParts<'a> {
    pub(crate) program: &'a Program,
    pub(crate) member: Option<MemberId>,
    /// The other side of a command between two.
    pub(crate) other: Option<MemberId>,
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
    program.name_of("operations", operation.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

pub(crate) fn purchase_name(program: &ProgramId, purchase: &str) -> String {
    program.name_of("purchases", purchase)
}

fn version_name(program: &ProgramId, number: i64) -> String {
    if number == 0 { String::new() } else { program.name_of("versions", &number.to_string()) }
}

pub(crate) fn money(program: &Program, minor_units: i64) -> proto::common::Money {
    proto::common::Money { currency_code: program.currency.to_string(), minor_units }
}

/// The answer of everything that moves points, but of EnsureReward.
pub(crate) fn operation(parts: &AnswerParts<'_>, outcome: &Outcome) -> pb::Operation {
    use pb::operation::Kind;
    let AnswerParts { program, member, other, account, stamp, due, entries } = *parts;
    let written = due.iter().chain(entries);
    let wallet = wallet_of(outcome, entries);
    let mut operation = pb::Operation {
        name: operation_name(&program.id, stamp.operation),
        request_id: stamp.request_id.to_string(),
        kind: Kind::Unspecified.into(),
        member: member.map(|member| member.name(&program.id)).unwrap_or_default(),
        entries: member.map(|member| written.map(|posted| entry(&program.id, member, posted)).collect()).unwrap_or_default(),
        balance: member.zip(account).map(|(member, account)| balance(&program.id, member, account, stamp.now, Detail::Figures)),
        requested_points: 0,
        actual_points: posted(entries).filter(|entry| *entry.wallet == *wallet).map(|entry| entry.points).sum(),
        other_points: posted_beside(wallet, entries),
        purchase: String::new(),
        reservation: None,
        award: None,
        r#return: None,
        refund: None,
        challenges: Vec::new(),
        pool: member.zip(account).and_then(|(member, account)| pool(&program.id, member, account)),
        counterpart: other.map(|other| other.name(&program.id)).unwrap_or_default(),
        occur_time: Some(timestamp(stamp.occurred_at)),
        record_time: Some(timestamp(stamp.now)),
    };
    let kind = match outcome {
        Outcome::Awarded { purchase, explanation } => {
            operation.purchase = purchase_name(&program.id, &purchase.input.id.0);
            operation.challenges = explanation.challenges.iter().map(|known| challenges::progress(&program.id, known)).collect();
            operation.award = Some(award_explanation(program, purchase, explanation, stamp.now));
            Kind::Award
        }
        Outcome::Redeemed { requested, .. } => {
            operation.requested_points = *requested;
            Kind::Redeem
        }
        Outcome::RewardRedeemed { points, .. } => {
            operation.requested_points = *points;
            Kind::Redeem
        }
        Outcome::RewardRefunded { restored, .. } => {
            operation.requested_points = restored.points;
            operation.refund = Some(refund(&program.id, restored));
            Kind::Refund
        }
        Outcome::Reserved { reservation: held } => {
            operation.requested_points = held.points;
            operation.reservation = member.map(|member| reservation(&program.id, member, held, pb::reservation::State::Open, 0));
            Kind::Reserve
        }
        Outcome::Captured { reservation: held, points, closed } => {
            operation.requested_points = *points;
            let state = if *closed { pb::reservation::State::Captured } else { pb::reservation::State::Open };
            operation.reservation = member.map(|member| reservation(&program.id, member, held, state, *points));
            Kind::Capture
        }
        Outcome::Released { reservation: held } => {
            operation.reservation = member.map(|member| reservation(&program.id, member, held, pb::reservation::State::Released, 0));
            Kind::Release
        }
        Outcome::Returned(returned) => {
            operation.purchase = purchase_name(&program.id, &returned.purchase.input.id.0);
            operation.r#return = Some(return_explanation(program, returned));
            operation.challenges = returned.challenges.iter().map(|known| challenges::progress(&program.id, known)).collect();
            Kind::Return
        }
        Outcome::Adjusted { points } => {
            operation.requested_points = *points;
            Kind::Adjust
        }
        Outcome::Ensured(_) => Kind::Reward,
        Outcome::Earned { desired, challenges: known, .. } => {
            operation.requested_points = *desired;
            operation.challenges = known.iter().map(|known| challenges::progress(&program.id, known)).collect();
            Kind::Activity
        }
        Outcome::Resolved { points, came, challenges: known } => {
            operation.requested_points = *points;
            operation.challenges = known.iter().map(|known| challenges::progress(&program.id, known)).collect();
            if *came { Kind::Activate } else { Kind::Cancel }
        }
        Outcome::Refunded(restored) => {
            operation.requested_points = restored.points;
            operation.refund = Some(refund(&program.id, restored));
            Kind::Refund
        }
        Outcome::ExpirySet { points } => {
            operation.requested_points = *points;
            Kind::SetExpiry
        }
        Outcome::Forgiven { points } => {
            operation.requested_points = *points;
            Kind::Forgive
        }
        Outcome::Transferred { points } => {
            operation.requested_points = *points;
            Kind::Transfer
        }
        Outcome::Merged => Kind::Merge,
        Outcome::Unmerged { points } => {
            operation.requested_points = *points;
            Kind::Unmerge
        }
        Outcome::PoolChanged => Kind::Pool,
        Outcome::LeftPool { points } => {
            operation.requested_points = *points;
            Kind::Pool
        }
    };
    operation.kind = kind.into();
    operation
}

fn reservation(program: &ProgramId, member: MemberId, held: &Reservation, state: pb::reservation::State, captured: i64) -> pb::Reservation {
    pb::Reservation {
        name: format!("{}/reservations/{}", member.name(program), held.id),
        state: state.into(),
        wallet: held.wallet.to_string(),
        points: held.points + held.captured,
        captured_points: held.captured + captured,
        expire_time: Some(timestamp(held.expires_at)),
        several_captures: held.several,
    }
}

/// A pool, by its account; `None` for the account of a member.
pub(crate) fn pool(program: &ProgramId, id: MemberId, account: &Account) -> Option<pb::Pool> {
    let sum = |wallet: &Wallet, of: AccountId| wallet.free_of(of).into_iter().map(|(_, points)| points).sum::<i64>();
    let others = |of: AccountId| {
        let others = account.wallets.iter().filter(|wallet| *wallet.name != *MAIN_WALLET);
        others.map(|wallet| (&*wallet.name, sum(wallet, of))).filter(|(_, points)| *points > 0).map(wallet_points).collect()
    };
    let members = account.pool.as_ref()?.members.iter().enumerate().map(|(index, known)| pb::PoolMember {
        member: known.member.name(program),
        owner: index == 0,
        joined: known.joined,
        shares: known.shares,
        points: account.wallet(MAIN_WALLET).map_or(0, |main| sum(main, known.account)),
        other_points: others(known.account),
    });
    Some(pb::Pool { name: format!("programs/{program}/pools/{}", id.0), members: members.collect() })
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
    Ok(RewardState { version, granted: i64::from(granted), wallet: MAIN_WALLET.into(), lot: None })
}

/// One entry of a member's account.
pub(crate) fn entry(program: &ProgramId, member: MemberId, entry: &Entry) -> pb::Entry {
    let member_name = member.name(program);
    let About { purchase, reservation, activity, redemption, counterpart, reason, approver } = about(program, &member_name, &entry.source);
    let lots = entry.lots.iter().map(|change| pb::LotChange {
        activate_time: change.key.opens_at().map(timestamp),
        expire_time: change.key.lapses_at(None).map(timestamp),
        earn_month: change.key.earn_month,
        points_delta: change.points,
        reserved_delta: change.reserved,
        event: change.key.gate().map(|gate| gate.event.to_string()).unwrap_or_default(),
        sliding: change.key.expiry == Expiry::Sliding,
    });
    let operation = if entry.stamp.operation.is_nil() { String::new() } else { operation_name(program, entry.stamp.operation) };
    pb::Entry {
        name: [&member_name, "/entries/", &entry.version.to_string()].concat(),
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
        cashier: entry.stamp.cashier.to_string(),
        store: entry.stamp.store.to_string(),
        reason,
        approver,
        program_version: version_name(program, entry.program_version),
        fact_version: entry.fact_version,
        occur_time: Some(timestamp(entry.stamp.occurred_at)),
        effective_time: Some(timestamp(entry.effective_at)),
        record_time: Some(timestamp(entry.recorded_at)),
        counterpart,
        presented_member: entry.stamp.presented.map(|member| member.name(program)).unwrap_or_default(),
        activity,
        redemption,
        sliding_expire_time: entry.sliding_until.map(timestamp),
    }
}

/// What an entry is about, in the fields of its message.
#[derive(Default)]
struct About {
    purchase: String,
    reservation: String,
    activity: String,
    redemption: String,
    counterpart: String,
    reason: String,
    approver: String,
}

fn about(program: &ProgramId, member_name: &str, source: &Source) -> About {
    let mut about = About::default();
    match source {
        Source::Purchase(id) => about.purchase = purchase_name(program, &id.0),
        Source::Reservation { id, reference, .. } => {
            about.reservation = format!("{member_name}/reservations/{id}");
            about.reason = reference.to_string();
        }
        Source::Reference(reference) => about.reason = reference.clone(),
        Source::Pooled { spender, reference } => (about.counterpart, about.reason) = (spender.name(program), reference.clone()),
        Source::Catalogue { reward, .. } => about.reason = program.name_of("rewards", reward),
        Source::Challenge { challenge, title, step, .. } => about.reason = format!("{title} ({challenge}, {step})"),
        Source::Reward { key, reason } => about.reason = format!("{reason} ({key})"),
        Source::Correction { reason, approver } | Source::Expiry { reason, approver } => {
            (about.reason, about.approver) = (reason.clone(), approver.clone());
        }
        Source::Activity { activity, id } => about.activity = format!("{activity}/{id}"),
        Source::Event(event) => about.reason = event.clone(),
        Source::Redemption { operation, purchase } => {
            about.redemption = operation_name(program, *operation);
            about.purchase = purchase.as_ref().map(|id| purchase_name(program, &id.0)).unwrap_or_default();
        }
        Source::Transfer { member, reason } | Source::Merge { member, reason, .. } | Source::Unmerge { member, reason, .. } => {
            (about.counterpart, about.reason) = (member.name(program), reason.clone());
        }
        Source::Pool { member, change, .. } => {
            about.counterpart = member.name(program);
            about.reason = match change {
                PoolChange::Opened { .. } => "opened",
                PoolChange::Invited => "invited",
                PoolChange::Joined { .. } => "joined",
                PoolChange::Shares(true) => "shares",
                PoolChange::Shares(false) => "does not share",
                PoolChange::Left => "left",
            }
            .to_owned();
        }
        Source::Reminder { points, .. } => about.reason = format!("{points} points lapse"),
        Source::Due => {}
    }
    about
}

/// The kinds have the same numbers in the contract.
pub(crate) fn kind(kind: EntryKind) -> pb::EntryKind {
    pb::EntryKind::try_from(kind as i32).expect("every kind is in the contract")
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
        known_time: None,
    }
}

/// The balances of a member as of a time: figures only.
pub(crate) fn balance_as_of(
    program: &ProgramId,
    member: MemberId,
    sums: &Sums,
    as_of: Timestamp,
    known_by: Option<Timestamp>,
) -> pb::Balance {
    let wallet = |name: &str, [active, pending, reserved, deficit]: [i64; 4]| pb::WalletBalance {
        wallet: name.to_owned(),
        active_points: active,
        pending_points: pending,
        reserved_points: reserved,
        deficit_points: deficit,
        ..pb::WalletBalance::default()
    };
    let main = sums.wallets.get(MAIN_WALLET).copied().unwrap_or_default();
    let others = sums.wallets.iter().filter(|(name, _)| *name != MAIN_WALLET).map(|(name, figures)| wallet(name, *figures));
    pb::Balance {
        member: member.name(program),
        wallets: std::iter::once(wallet(MAIN_WALLET, main)).chain(others).collect(),
        version: sums.version,
        as_of_time: Some(timestamp(as_of)),
        known_time: known_by.map(timestamp),
    }
}

fn wallet_balance(wallet: &Wallet, detail: Detail) -> pb::WalletBalance {
    let (next_expire, next_expire_points) = wallet.next_expiry();
    let (next_activate, next_activate_points) = wallet.next_activation();
    let lots = match detail {
        Detail::Figures => Vec::new(),
        Detail::Lots => wallet
            .in_order()
            .map(|lot| pb::Lot {
                activate_time: lot.key.opens_at().map(timestamp),
                expire_time: lot.key.lapses_at(wallet.sliding_until).map(timestamp),
                earn_month: lot.key.earn_month,
                points: lot.points,
                reserved_points: lot.reserved,
                event: lot.key.gate().map(|gate| gate.event.to_string()).unwrap_or_default(),
                pending_reference: lot.key.gate().map(|gate| gate.reference.to_string()).unwrap_or_default(),
                cancel_time: lot.key.gate().and_then(|gate| gate.cancel_at).map(timestamp),
                sliding: lot.key.expiry == Expiry::Sliding,
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

/// Minor units of a request's money; the error is the currency that was expected.
pub(crate) fn minor_units(program: &Program, given: &proto::common::Money) -> Result<i64, kernel::Currency> {
    if given.currency_code == program.currency.as_str() { Ok(given.minor_units) } else { Err(program.currency) }
}
