//! The stored form of what the domain keeps inside a row: protobuf, so that fields can be added.

use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::Error;
use prost::Message;
use rust_decimal::Decimal;

use crate::domain::{
    Account, AccountId, Facts, FrozenFacts, Line, Lot, LotChange, LotKey, MemberStatus, Purchase, PurchaseId, PurchaseInput, Reservation,
    RewardState, Source, TierInterval, Wallet,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredState {
    #[prost(message, repeated, tag = "1")]
    wallets: Vec<StoredWallet>,
    #[prost(message, repeated, tag = "2")]
    reservations: Vec<StoredReservation>,
    #[prost(int64, tag = "3")]
    purchases: i64,
    #[prost(int64, tag = "4")]
    recorded_at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredWallet {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    lots: Vec<StoredLot>,
    #[prost(int64, tag = "3")]
    deficit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredLot {
    #[prost(message, required, tag = "1")]
    key: StoredKey,
    #[prost(sint64, tag = "2")]
    points: i64,
    #[prost(sint64, tag = "3")]
    reserved: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredKey {
    #[prost(int64, optional, tag = "1")]
    expires_at: Option<i64>,
    #[prost(int32, tag = "2")]
    earn_month: i32,
    #[prost(int64, optional, tag = "3")]
    activates_at: Option<i64>,
    #[prost(bytes = "vec", tag = "4")]
    origin: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredReservation {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    wallet: String,
    #[prost(int64, tag = "3")]
    expires_at: i64,
    #[prost(message, repeated, tag = "4")]
    lots: Vec<StoredLot>,
    #[prost(string, tag = "5")]
    reference: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredEntry {
    #[prost(message, repeated, tag = "1")]
    lots: Vec<StoredLot>,
    #[prost(sint64, tag = "2")]
    pub(super) deficit_delta: i64,
    #[prost(oneof = "StoredSource", tags = "3, 4, 5, 6, 7")]
    source: Option<StoredSource>,
    #[prost(int64, tag = "8")]
    pub(super) program_version: i64,
    #[prost(int64, tag = "9")]
    pub(super) fact_version: i64,
    #[prost(string, tag = "10")]
    pub(super) request_id: String,
    #[prost(string, tag = "11")]
    pub(super) actor: String,
    #[prost(string, tag = "12")]
    pub(super) terminal: String,
    #[prost(string, tag = "13")]
    pub(super) store: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum StoredSource {
    #[prost(string, tag = "3")]
    Purchase(String),
    #[prost(message, tag = "4")]
    Reservation(StoredHold),
    #[prost(string, tag = "5")]
    Reference(String),
    #[prost(message, tag = "6")]
    Reward(StoredReward),
    #[prost(message, tag = "7")]
    Correction(StoredCorrection),
}

#[derive(Clone, PartialEq, Message)]
struct StoredHold {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(int64, tag = "2")]
    hold_until: i64,
    #[prost(string, tag = "3")]
    reference: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredReward {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCorrection {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    approver: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredPurchase {
    #[prost(string, tag = "1")]
    program: String,
    #[prost(bytes = "vec", tag = "2")]
    member: Vec<u8>,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(int64, tag = "4")]
    net: i64,
    #[prost(message, repeated, tag = "5")]
    lines: Vec<StoredLine>,
    #[prost(string, tag = "6")]
    channel: String,
    #[prost(string, tag = "7")]
    offer: String,
    #[prost(int64, tag = "8")]
    remaining_net: i64,
    #[prost(int64, tag = "9")]
    base: i64,
    #[prost(int64, tag = "10")]
    due: i64,
    #[prost(message, optional, tag = "11")]
    lot: Option<StoredKey>,
    #[prost(int64, tag = "12")]
    version: i64,
    #[prost(string, tag = "13")]
    tier: String,
    #[prost(string, tag = "14")]
    multiplier: String,
    #[prost(bool, tag = "15")]
    first_purchase: bool,
    #[prost(int64, tag = "16")]
    returns: i64,
    #[prost(string, tag = "17")]
    store: String,
    #[prost(string, tag = "18")]
    terminal: String,
    #[prost(int64, tag = "19")]
    occurred_at: i64,
    #[prost(int64, tag = "20")]
    recorded_at: i64,
    #[prost(bytes = "vec", tag = "21")]
    operation: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredLine {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    sku: String,
    #[prost(string, tag = "3")]
    category: String,
    #[prost(int64, tag = "4")]
    quantity: i64,
    #[prost(int64, tag = "5")]
    net: i64,
    #[prost(int64, tag = "6")]
    returned: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredFacts {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(message, repeated, tag = "2")]
    tiers: Vec<StoredTier>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTier {
    #[prost(string, tag = "1")]
    scheme: String,
    #[prost(string, tag = "2")]
    tier: String,
    #[prost(string, tag = "3")]
    multiplier: String,
    #[prost(int64, tag = "4")]
    start_at: i64,
    #[prost(int64, optional, tag = "5")]
    end_at: Option<i64>,
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}

fn decode<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, Error> {
    M::decode(bytes).map_err(|_| corrupt(what))
}

fn uuid(bytes: &[u8], what: &str) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| corrupt(what))
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

impl From<&LotKey> for StoredKey {
    fn from(key: &LotKey) -> Self {
        let LotKey { expires_at, earn_month, activates_at, origin } = key;
        StoredKey {
            expires_at: expires_at.map(Timestamp::as_micros),
            earn_month: *earn_month,
            activates_at: activates_at.map(Timestamp::as_micros),
            origin: origin.map(|account| account.0.as_bytes().to_vec()).unwrap_or_default(),
        }
    }
}

impl StoredKey {
    fn key(&self) -> Result<LotKey, Error> {
        let origin = if self.origin.is_empty() { None } else { Some(AccountId(uuid(&self.origin, "origin of a lot")?)) };
        Ok(LotKey { expires_at: self.expires_at.map(time), earn_month: self.earn_month, activates_at: self.activates_at.map(time), origin })
    }
}

fn lot(key: &LotKey, points: i64, reserved: i64) -> StoredLot {
    StoredLot { key: key.into(), points, reserved }
}

/// The part of an account that has no columns.
pub(super) fn encode_state(account: &Account) -> Vec<u8> {
    let wallets = account.wallets.iter().map(|wallet| StoredWallet {
        name: wallet.name.to_string(),
        lots: wallet.lots.iter().map(|held| lot(&held.key, held.points, held.reserved)).collect(),
        deficit: wallet.deficit,
    });
    let reservations = account.reservations.iter().map(|reservation| StoredReservation {
        id: reservation.id.as_bytes().to_vec(),
        wallet: reservation.wallet.to_string(),
        expires_at: reservation.expires_at.as_micros(),
        reference: reservation.reference.to_string(),
        lots: reservation.lots.iter().map(|(key, points)| lot(key, 0, *points)).collect(),
    });
    let state = StoredState {
        wallets: wallets.collect(),
        reservations: reservations.collect(),
        purchases: account.purchases,
        recorded_at: account.recorded_at.as_micros(),
    };
    state.encode_to_vec()
}

/// An account from its row.
pub(super) fn decode_account(version: i64, state: &[u8]) -> Result<Account, Error> {
    let state: StoredState = decode(state, "state of an account")?;
    let wallet = |stored: StoredWallet| -> Result<Wallet, Error> {
        let lots = stored.lots.iter().map(|lot| Ok(Lot { key: lot.key.key()?, points: lot.points, reserved: lot.reserved }));
        let lots = lots.collect::<Result<Vec<_>, Error>>()?;
        let (active, pending): (Vec<&Lot>, Vec<&Lot>) = lots.iter().partition(|lot| lot.key.activates_at.is_none());
        Ok(Wallet {
            name: stored.name.into(),
            deficit: stored.deficit,
            active: active.iter().map(|lot| lot.free()).sum(),
            pending: pending.iter().map(|lot| lot.points).sum(),
            reserved: lots.iter().map(|lot| lot.reserved).sum(),
            lots,
        })
    };
    let reservation = |stored: StoredReservation| -> Result<Reservation, Error> {
        let lots = stored.lots.iter().map(|lot| Ok((lot.key.key()?, lot.reserved))).collect::<Result<Vec<_>, Error>>()?;
        Ok(Reservation {
            id: uuid(&stored.id, "id of a reservation")?,
            wallet: stored.wallet.into(),
            points: lots.iter().map(|(_, points)| points).sum(),
            expires_at: time(stored.expires_at),
            reference: stored.reference.into(),
            lots,
        })
    };
    Ok(Account {
        version,
        wallets: state.wallets.into_iter().map(wallet).collect::<Result<_, _>>()?,
        reservations: state.reservations.into_iter().map(reservation).collect::<Result<_, _>>()?,
        purchases: state.purchases,
        recorded_at: time(state.recorded_at),
    })
}

impl StoredEntry {
    /// The part of an entry that has no columns.
    pub(super) fn of(entry: &crate::domain::Entry) -> StoredEntry {
        let source = match &entry.source {
            Source::Purchase(id) => Some(StoredSource::Purchase(id.0.to_string())),
            Source::Reservation { id, hold_until, reference } => Some(StoredSource::Reservation(StoredHold {
                id: id.as_bytes().to_vec(),
                hold_until: hold_until.as_micros(),
                reference: reference.to_string(),
            })),
            Source::Reference(reference) => Some(StoredSource::Reference(reference.clone())),
            Source::Reward { key, reason } => Some(StoredSource::Reward(StoredReward { key: key.clone(), reason: reason.clone() })),
            Source::Correction { reason, approver } => {
                Some(StoredSource::Correction(StoredCorrection { reason: reason.clone(), approver: approver.clone() }))
            }
            Source::Due => None,
        };
        StoredEntry {
            lots: entry.lots.iter().map(|change| lot(&change.key, change.points, change.reserved)).collect(),
            deficit_delta: entry.deficit_delta,
            source,
            program_version: entry.program_version,
            fact_version: entry.fact_version,
            request_id: entry.stamp.request_id.to_string(),
            actor: entry.stamp.actor.to_string(),
            terminal: entry.stamp.terminal.to_string(),
            store: entry.stamp.store.to_string(),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<StoredEntry, Error> {
        decode(bytes, "details of an entry")
    }

    pub(super) fn lots(&self) -> Result<Vec<LotChange>, Error> {
        self.lots.iter().map(|lot| Ok(LotChange { key: lot.key.key()?, points: lot.points, reserved: lot.reserved })).collect()
    }

    pub(super) fn source(&self) -> Result<Source, Error> {
        Ok(match &self.source {
            None => Source::Due,
            Some(StoredSource::Purchase(id)) => Source::Purchase(PurchaseId(id.as_str().into())),
            Some(StoredSource::Reservation(hold)) => Source::Reservation {
                id: uuid(&hold.id, "reservation of an entry")?,
                hold_until: time(hold.hold_until),
                reference: hold.reference.as_str().into(),
            },
            Some(StoredSource::Reference(reference)) => Source::Reference(reference.clone()),
            Some(StoredSource::Reward(reward)) => Source::Reward { key: reward.key.clone(), reason: reward.reason.clone() },
            Some(StoredSource::Correction(correction)) => {
                Source::Correction { reason: correction.reason.clone(), approver: correction.approver.clone() }
            }
        })
    }
}

pub(super) fn encode_purchase(purchase: &Purchase) -> Vec<u8> {
    let Purchase {
        program,
        member,
        input,
        remaining_net,
        base,
        due,
        lot,
        facts,
        returns,
        store,
        terminal,
        occurred_at,
        recorded_at,
        operation,
    } = purchase;
    let lines = input.lines.iter().map(|line| StoredLine {
        id: line.id.clone(),
        sku: line.sku.clone(),
        category: line.category.clone(),
        quantity: line.quantity,
        net: line.net,
        returned: line.returned,
    });
    let stored = StoredPurchase {
        program: program.as_str().to_owned(),
        member: member.map(|member| member.0.as_bytes().to_vec()).unwrap_or_default(),
        id: input.id.0.to_string(),
        net: input.net,
        lines: lines.collect(),
        channel: input.channel.clone(),
        offer: input.offer.clone(),
        remaining_net: *remaining_net,
        base: *base,
        due: *due,
        lot: lot.as_ref().map(StoredKey::from),
        version: facts.version,
        tier: facts.tier.clone(),
        multiplier: facts.multiplier.to_string(),
        first_purchase: facts.first_purchase,
        returns: *returns,
        store: store.to_string(),
        terminal: terminal.to_string(),
        occurred_at: occurred_at.as_micros(),
        recorded_at: recorded_at.as_micros(),
        operation: operation.as_bytes().to_vec(),
    };
    stored.encode_to_vec()
}

pub(super) fn decode_purchase(bytes: &[u8]) -> Result<Purchase, Error> {
    let stored: StoredPurchase = decode(bytes, "details of a purchase")?;
    let lines = stored.lines.into_iter().map(|line| Line {
        id: line.id,
        sku: line.sku,
        category: line.category,
        quantity: line.quantity,
        net: line.net,
        returned: line.returned,
    });
    let input = PurchaseInput {
        id: PurchaseId(stored.id.into()),
        net: stored.net,
        lines: lines.collect(),
        channel: stored.channel,
        offer: stored.offer,
    };
    let facts = FrozenFacts {
        version: stored.version,
        tier: stored.tier,
        multiplier: decimal(&stored.multiplier)?,
        first_purchase: stored.first_purchase,
    };
    Ok(Purchase {
        program: ProgramId::parse(&stored.program).map_err(|_| corrupt("program of a purchase"))?,
        member: if stored.member.is_empty() { None } else { Some(MemberId(uuid(&stored.member, "member of a purchase")?)) },
        input,
        remaining_net: stored.remaining_net,
        base: stored.base,
        due: stored.due,
        lot: stored.lot.as_ref().map(StoredKey::key).transpose()?,
        facts,
        returns: stored.returns,
        store: stored.store.into(),
        terminal: stored.terminal.into(),
        occurred_at: time(stored.occurred_at),
        recorded_at: time(stored.recorded_at),
        operation: uuid(&stored.operation, "operation of a purchase")?,
    })
}

fn decimal(text: &str) -> Result<Decimal, Error> {
    text.parse().map_err(|_| corrupt("a decimal"))
}

pub(super) fn encode_facts(facts: &Facts) -> Vec<u8> {
    let tiers = facts.tiers.iter().map(|tier| StoredTier {
        scheme: tier.scheme.clone(),
        tier: tier.tier.clone(),
        multiplier: tier.multiplier.to_string(),
        start_at: tier.start_at.as_micros(),
        end_at: tier.end_at.map(Timestamp::as_micros),
    });
    let status = match facts.status {
        MemberStatus::Active => 0,
        MemberStatus::Blocked => 1,
        MemberStatus::Closed => 2,
    };
    StoredFacts { status, tiers: tiers.collect() }.encode_to_vec()
}

pub(super) fn decode_facts(version: i64, bytes: &[u8]) -> Result<Facts, Error> {
    let stored: StoredFacts = decode(bytes, "facts of a member")?;
    let tier = |tier: StoredTier| -> Result<TierInterval, Error> {
        Ok(TierInterval {
            multiplier: decimal(&tier.multiplier)?,
            scheme: tier.scheme,
            tier: tier.tier,
            start_at: time(tier.start_at),
            end_at: tier.end_at.map(time),
        })
    };
    let status = match stored.status {
        0 => MemberStatus::Active,
        1 => MemberStatus::Blocked,
        2 => MemberStatus::Closed,
        _ => return Err(corrupt("status of a member")),
    };
    Ok(Facts { version, status, tiers: stored.tiers.into_iter().map(tier).collect::<Result<_, _>>()? })
}

pub(super) fn encode_reward_lot(state: &RewardState) -> Vec<u8> {
    state.lot.as_ref().map(|key| StoredKey::from(key).encode_to_vec()).unwrap_or_default()
}

pub(super) fn decode_reward(version: i64, granted: i64, lot: &[u8]) -> Result<RewardState, Error> {
    let lot = if granted > 0 { Some(decode::<StoredKey>(lot, "lot of a reward")?.key()?) } else { None };
    Ok(RewardState { version, granted, lot })
}

/// The name as an `Arc`, shared by the entries of a batch.
pub(super) fn shared(text: String) -> Arc<str> {
    text.into()
}
