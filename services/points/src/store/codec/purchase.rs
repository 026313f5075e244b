use kernel::{MemberId, ProgramId};
use persistence::Error;
use prost::Message;

use super::tally::StoredTallied;
use super::{StoredKey, corrupt, decimal, decode, shared, time, uuid};
use crate::domain::{Applied, Bound, Earned, FrozenFacts, Line, MAIN_WALLET, Purchase, PurchaseId, PurchaseInput, RewardState};

#[derive(Clone, PartialEq, Message)]
struct StoredPurchase {
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
    #[prost(bytes = "vec", repeated, tag = "22")]
    redemptions: Vec<Vec<u8>>,
    #[prost(int64, tag = "23")]
    redeemed: i64,
    #[prost(int64, tag = "24")]
    given_back: i64,
    #[prost(message, repeated, tag = "25")]
    promotions: Vec<StoredApplied>,
    #[prost(message, repeated, tag = "27")]
    tallied: Vec<StoredTallied>,
    #[prost(message, optional, tag = "26")]
    limited: Option<StoredLimited>,
    #[prost(int64, optional, tag = "30")]
    amount_left: Option<i64>,
    #[prost(int64, tag = "31")]
    tax: i64,
    #[prost(int64, tag = "32")]
    discount: i64,
    #[prost(message, repeated, tag = "40")]
    others: Vec<StoredEarned>,
    #[prost(int64, tag = "41")]
    stays: i64,
}

/// What a purchase has earned in a wallet beside the main one.
#[derive(Clone, PartialEq, Message)]
struct StoredEarned {
    #[prost(string, tag = "1")]
    wallet: String,
    #[prost(int64, tag = "2")]
    earned: i64,
    #[prost(int64, tag = "3")]
    due: i64,
    #[prost(message, required, tag = "4")]
    lot: StoredKey,
    #[prost(int64, tag = "5")]
    stays: i64,
}

/// The wallet of a reward, beside the fields of its lot; empty for the main one.
#[derive(Clone, PartialEq, Message)]
struct StoredRewardWallet {
    #[prost(string, tag = "40")]
    wallet: String,
}

/// What limits of awards ask for, and what one has let through.
#[derive(Clone, PartialEq, Message)]
struct StoredLimited {
    #[prost(string, tag = "1")]
    cashier: String,
    #[prost(string, tag = "2")]
    limit: String,
    #[prost(int64, optional, tag = "3")]
    at_most: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredApplied {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int64, optional, tag = "2")]
    at_most: Option<i64>,
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
    #[prost(int64, tag = "7")]
    tax: i64,
    #[prost(int64, tag = "8")]
    discount: i64,
}

impl StoredEarned {
    fn of(Earned { wallet, earned, due, stays, lot }: &Earned) -> StoredEarned {
        StoredEarned { wallet: wallet.to_string(), earned: *earned, due: *due, lot: lot.into(), stays: *stays }
    }

    fn earned(self) -> Result<Earned, Error> {
        Ok(Earned { wallet: self.wallet.into(), earned: self.earned, due: self.due, stays: self.stays, lot: self.lot.key()? })
    }
}

impl StoredLimited {
    fn of(cashier: &str, bound: Option<&Bound>) -> Option<StoredLimited> {
        let stored = StoredLimited {
            cashier: cashier.to_owned(),
            limit: bound.map(|bound| bound.limit.to_string()).unwrap_or_default(),
            at_most: bound.map(|bound| bound.points),
        };
        (!cashier.is_empty() || bound.is_some()).then_some(stored)
    }
}

pub(in crate::store) fn encode_purchase(purchase: &Purchase) -> Vec<u8> {
    let Purchase {
        program,
        member,
        input,
        remaining_net,
        amount_left,
        base,
        due,
        stays,
        redeemed,
        given_back,
        lot,
        others,
        facts,
        returns,
        store,
        terminal,
        cashier,
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
        tax: line.tax,
        discount: line.discount,
    });
    let promotions = facts.promotions.iter().map(|applied| StoredApplied { id: applied.id.to_string(), at_most: applied.at_most });
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
        redemptions: input.redemptions.iter().map(|id| id.as_bytes().to_vec()).collect(),
        redeemed: *redeemed,
        given_back: *given_back,
        promotions: promotions.collect(),
        tallied: facts.tallied.iter().map(StoredTallied::of).collect(),
        limited: StoredLimited::of(cashier, facts.bound.as_ref()),
        amount_left: *amount_left,
        tax: input.tax,
        discount: input.discount,
        others: others.iter().map(StoredEarned::of).collect(),
        stays: *stays,
    };
    stored.encode_to_vec()
}

pub(in crate::store) fn decode_purchase(bytes: &[u8]) -> Result<Purchase, Error> {
    let stored: StoredPurchase = decode(bytes, "details of a purchase")?;
    let lines = stored.lines.into_iter().map(|line| Line {
        id: line.id,
        sku: line.sku,
        category: line.category,
        quantity: line.quantity,
        net: line.net,
        returned: line.returned,
        tax: line.tax,
        discount: line.discount,
    });
    let input = PurchaseInput {
        id: PurchaseId(stored.id.into()),
        net: stored.net,
        tax: stored.tax,
        discount: stored.discount,
        lines: lines.collect(),
        channel: stored.channel,
        offer: stored.offer,
        redemptions: stored.redemptions.iter().map(|id| uuid(id, "redemption of a purchase")).collect::<Result<_, _>>()?,
    };
    let promotions = stored.promotions.into_iter().map(|applied| Applied { id: shared(applied.id), at_most: applied.at_most });
    let limited = stored.limited.unwrap_or_default();
    let facts = FrozenFacts {
        version: stored.version,
        tier: stored.tier,
        multiplier: decimal(&stored.multiplier)?,
        first_purchase: stored.first_purchase,
        promotions: promotions.collect(),
        tallied: stored.tallied.iter().map(StoredTallied::tallied).collect(),
        bound: limited.at_most.map(|points| Bound { limit: shared(limited.limit), points }),
    };
    // Before it was kept, a return by amount showed in that less money is left than goods.
    let kept = || input.lines.iter().map(Line::kept_net).sum::<i64>();
    let amount_left = stored.amount_left.or_else(|| (stored.remaining_net < kept()).then_some(stored.remaining_net));
    Ok(Purchase {
        program: ProgramId::parse(&stored.program).map_err(|_| corrupt("program of a purchase"))?,
        member: if stored.member.is_empty() { None } else { Some(MemberId(uuid(&stored.member, "member of a purchase")?)) },
        input,
        remaining_net: stored.remaining_net,
        amount_left,
        base: stored.base,
        due: stored.due,
        stays: stored.stays,
        redeemed: stored.redeemed,
        given_back: stored.given_back,
        lot: stored.lot.as_ref().map(StoredKey::key).transpose()?,
        others: stored.others.into_iter().map(StoredEarned::earned).collect::<Result<_, _>>()?,
        facts,
        returns: stored.returns,
        store: stored.store.into(),
        terminal: stored.terminal.into(),
        cashier: limited.cashier.into(),
        occurred_at: time(stored.occurred_at),
        recorded_at: time(stored.recorded_at),
        operation: uuid(&stored.operation, "operation of a purchase")?,
    })
}

pub(in crate::store) fn encode_reward_lot(state: &RewardState) -> Vec<u8> {
    let Some(lot) = &state.lot else { return Vec::new() };
    let wallet = if *state.wallet == *MAIN_WALLET { String::new() } else { state.wallet.to_string() };
    let mut bytes = StoredKey::from(lot).encode_to_vec();
    bytes.extend(StoredRewardWallet { wallet }.encode_to_vec());
    bytes
}

pub(in crate::store) fn decode_reward(version: i64, granted: i64, bytes: &[u8]) -> Result<RewardState, Error> {
    let lot = if granted > 0 { Some(decode::<StoredKey>(bytes, "lot of a reward")?.key()?) } else { None };
    let StoredRewardWallet { wallet } = decode(bytes, "wallet of a reward")?;
    Ok(RewardState { version, granted, wallet: if wallet.is_empty() { MAIN_WALLET.into() } else { wallet.into() }, lot })
}
