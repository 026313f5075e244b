use kernel::{MemberId, Timestamp};
use persistence::Error;
use prost::Message;

use super::tally::StoredTally;
use super::{
    StoredCount, StoredGivenUp, StoredLot, StoredUnapproved, account_id, corrupt, decode, given_up, lot, stored_given_up, time, uuid,
};
use crate::domain::{
    Account, AccountId, Apart, Brought, Counting, Identity, Lot, MAIN_WALLET, Merged, Pool, PoolMember, Reservation, Wallet,
};

#[derive(Clone, PartialEq, Message)]
struct StoredState {
    #[prost(message, repeated, tag = "1")]
    wallets: Vec<StoredWallet>,
    #[prost(message, repeated, tag = "2")]
    reservations: Vec<StoredReservation>,
    #[prost(int64, tag = "3")]
    purchases: i64,
    #[prost(int64, tag = "4")]
    recorded_at: i64,
    #[prost(bytes = "vec", tag = "5")]
    merged_into: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    merged: Vec<StoredMerged>,
    #[prost(message, optional, tag = "7")]
    pool: Option<StoredPool>,
    #[prost(int64, optional, tag = "8")]
    let_go_at: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    last_purchase_at: Option<i64>,
    #[prost(message, repeated, tag = "10")]
    counts: Vec<StoredCount>,
    #[prost(message, repeated, tag = "11")]
    tallies: Vec<StoredTally>,
    #[prost(message, repeated, tag = "25")]
    unapproved: Vec<StoredUnapproved>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPool {
    #[prost(message, repeated, tag = "1")]
    members: Vec<StoredPoolMember>,
    #[prost(message, repeated, tag = "2")]
    brought: Vec<StoredBrought>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredBrought {
    #[prost(bytes = "vec", tag = "1")]
    account: Vec<u8>,
    #[prost(int64, tag = "2")]
    at: i64,
    #[prost(int64, tag = "3")]
    points: i64,
    /// Empty for the main one.
    #[prost(string, tag = "4")]
    wallet: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPoolMember {
    #[prost(message, required, tag = "1")]
    identity: StoredIdentity,
    #[prost(bool, tag = "2")]
    joined: bool,
    #[prost(bool, tag = "3")]
    shares: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredWallet {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    lots: Vec<StoredLot>,
    #[prost(int64, tag = "3")]
    deficit: i64,
    #[prost(int64, optional, tag = "4")]
    sliding_until: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    reminded_to: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    remind_at: Option<i64>,
    #[prost(int64, optional, tag = "7")]
    sliding_lapsed_at: Option<i64>,
    #[prost(message, repeated, tag = "8")]
    given_up: Vec<StoredGivenUp>,
    #[prost(int64, repeated, tag = "9")]
    remind_again: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredReservation {
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
    #[prost(bool, tag = "6")]
    several: bool,
    #[prost(int64, tag = "7")]
    captured: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMerged {
    #[prost(message, repeated, tag = "1")]
    identities: Vec<StoredMergedIdentity>,
    #[prost(int64, tag = "2")]
    purchases: i64,
    #[prost(message, repeated, tag = "3")]
    deficits: Vec<StoredDeficit>,
    #[prost(message, repeated, tag = "4")]
    repaid: Vec<StoredRepaid>,
    #[prost(message, repeated, tag = "5")]
    apart: Vec<StoredApart>,
    #[prost(int64, tag = "6")]
    at: i64,
    #[prost(message, repeated, tag = "7")]
    counts: Vec<StoredCount>,
    #[prost(message, repeated, tag = "8")]
    tallies: Vec<StoredTally>,
    #[prost(int64, optional, tag = "30")]
    last_purchase_at: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRepaid {
    #[prost(string, tag = "1")]
    wallet: String,
    #[prost(message, required, tag = "2")]
    lot: StoredLot,
}

#[derive(Clone, PartialEq, Message)]
struct StoredApart {
    #[prost(string, tag = "1")]
    wallet: String,
    #[prost(int64, optional, tag = "2")]
    survivor: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    other: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredIdentity {
    #[prost(bytes = "vec", tag = "1")]
    account: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    member: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredMergedIdentity {
    #[prost(bytes = "vec", tag = "1")]
    account: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    member: Vec<u8>,
    /// Empty where it came with this merge.
    #[prost(bytes = "vec", tag = "3")]
    into: Vec<u8>,
    #[prost(int64, tag = "4")]
    at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredDeficit {
    #[prost(string, tag = "1")]
    wallet: String,
    #[prost(int64, tag = "2")]
    points: i64,
}

/// The part of an account that has no columns.
pub(in crate::store) fn encode_state(account: &Account) -> Vec<u8> {
    let wallets = account.wallets.iter().map(|wallet| StoredWallet {
        name: wallet.name.to_string(),
        lots: wallet.lots.iter().map(|held| lot(&held.key, held.points, held.reserved)).collect(),
        deficit: wallet.deficit,
        sliding_until: wallet.sliding_until.map(Timestamp::as_micros),
        reminded_to: wallet.reminded_to.map(Timestamp::as_micros),
        remind_again: wallet.remind_again.iter().map(|at| at.as_micros()).collect(),
        remind_at: wallet.remind_at.map(Timestamp::as_micros),
        sliding_lapsed_at: wallet.sliding_lapsed_at.map(Timestamp::as_micros),
        given_up: stored_given_up(&wallet.given_up),
    });
    let state = StoredState {
        wallets: wallets.collect(),
        reservations: account.reservations.iter().map(StoredReservation::of).collect(),
        purchases: account.purchases,
        recorded_at: account.recorded_at.as_micros(),
        merged_into: account.merged_into.map(|member| member.0.as_bytes().to_vec()).unwrap_or_default(),
        let_go_at: account.let_go_at.map(Timestamp::as_micros),
        last_purchase_at: account.last_purchase_at.map(Timestamp::as_micros),
        counts: account.counts.iter().map(StoredCount::of).collect(),
        tallies: account.tallies.iter().map(StoredTally::of).collect(),
        unapproved: account.unapproved.iter().map(StoredUnapproved::of).collect(),
        merged: account.merged.iter().map(StoredMerged::of).collect(),
        pool: account.pool.as_ref().map(StoredPool::of),
    };
    state.encode_to_vec()
}

/// An account from its row.
pub(in crate::store) fn decode_account(version: i64, state: &[u8]) -> Result<Account, Error> {
    let state: StoredState = decode(state, "state of an account")?;
    let merged_into = if state.merged_into.is_empty() { None } else { Some(MemberId(uuid(&state.merged_into, "survivor of an account")?)) };
    Ok(Account {
        version,
        wallets: state.wallets.into_iter().map(StoredWallet::wallet).collect::<Result<_, _>>()?,
        reservations: state.reservations.into_iter().map(StoredReservation::reservation).collect::<Result<_, _>>()?,
        purchases: state.purchases,
        recorded_at: time(state.recorded_at),
        merged_into,
        let_go_at: state.let_go_at.map(time),
        last_purchase_at: state.last_purchase_at.map(time),
        counts: state.counts.iter().map(|count| count.count(Counting::Member)).collect(),
        tallies: state.tallies.iter().map(StoredTally::tally).collect::<Result<_, _>>()?,
        unapproved: state.unapproved.iter().map(StoredUnapproved::unapproved).collect::<Result<_, _>>()?,
        merged: state.merged.into_iter().map(StoredMerged::merged).collect::<Result<_, _>>()?,
        pool: state.pool.map(StoredPool::pool).transpose()?,
    })
}

impl StoredPool {
    fn of(pool: &Pool) -> StoredPool {
        let member = |known: &PoolMember| StoredPoolMember {
            identity: StoredIdentity::of(&(known.account, known.member)),
            joined: known.joined,
            shares: known.shares,
        };
        let brought = |Brought { account, at, wallet, points }: &Brought| StoredBrought {
            account: account.0.as_bytes().to_vec(),
            at: at.as_micros(),
            points: *points,
            wallet: if **wallet == *MAIN_WALLET { String::new() } else { wallet.to_string() },
        };
        StoredPool { members: pool.members.iter().map(member).collect(), brought: pool.brought.iter().map(brought).collect() }
    }

    fn pool(self) -> Result<Pool, Error> {
        let member = |stored: StoredPoolMember| {
            let (account, member) = stored.identity.identity()?;
            Ok(PoolMember { member, account, joined: stored.joined, shares: stored.shares })
        };
        let brought = |StoredBrought { account, at, points, wallet }: StoredBrought| {
            let wallet = if wallet.is_empty() { MAIN_WALLET.into() } else { wallet.into() };
            Ok(Brought { account: AccountId(uuid(&account, "account in a pool")?), at: time(at), wallet, points })
        };
        Ok(Pool {
            members: self.members.into_iter().map(member).collect::<Result<_, Error>>()?,
            brought: self.brought.into_iter().map(brought).collect::<Result<_, Error>>()?,
        })
    }
}

impl StoredWallet {
    fn wallet(self) -> Result<Wallet, Error> {
        let lots = self.lots.iter().map(|lot| Ok(Lot { key: lot.key.key()?, points: lot.points, reserved: lot.reserved }));
        let lots = lots.collect::<Result<Vec<_>, Error>>()?;
        let beyond = |points: fn(&Lot) -> i64| lots.iter().map(points).try_fold(0, i64::checked_add).is_none();
        if beyond(|lot| lot.points) || beyond(|lot| lot.reserved) {
            return Err(corrupt("points of a wallet"));
        }
        Ok(Wallet {
            name: self.name.into(),
            deficit: self.deficit,
            active: lots.iter().map(Lot::spendable).sum(),
            pending: lots.iter().filter(|lot| !lot.key.is_open()).map(|lot| lot.points).sum(),
            reserved: lots.iter().map(|lot| lot.reserved).sum(),
            lots,
            sliding_until: self.sliding_until.map(time),
            reminded_to: self.reminded_to.map(time),
            remind_again: self.remind_again.into_iter().map(time).collect(),
            remind_at: self.remind_at.map(time),
            sliding_lapsed_at: self.sliding_lapsed_at.map(time),
            given_up: given_up(&self.given_up)?,
        })
    }
}

impl StoredReservation {
    pub(super) fn of(held: &Reservation) -> StoredReservation {
        StoredReservation {
            id: held.id.as_bytes().to_vec(),
            wallet: held.wallet.to_string(),
            expires_at: held.expires_at.as_micros(),
            reference: held.reference.to_string(),
            lots: held.lots.iter().map(|(key, points)| lot(key, 0, *points)).collect(),
            several: held.several,
            captured: held.captured,
        }
    }

    pub(super) fn reservation(self) -> Result<Reservation, Error> {
        let lots = self.lots.iter().map(|lot| Ok((lot.key.key()?, lot.reserved))).collect::<Result<Vec<_>, Error>>()?;
        Ok(Reservation {
            id: uuid(&self.id, "id of a reservation")?,
            wallet: self.wallet.into(),
            points: lots.iter().map(|(_, points)| points).sum(),
            expires_at: time(self.expires_at),
            reference: self.reference.into(),
            several: self.several,
            captured: self.captured,
            lots,
        })
    }
}

impl StoredMerged {
    fn of(merged: &Merged) -> StoredMerged {
        let Merged { identities, at, purchases, last_purchase_at, counts, tallies, deficits, repaid, apart } = merged;
        let repaid = repaid.iter().map(|(wallet, key, points)| StoredRepaid { wallet: wallet.to_string(), lot: lot(key, *points, 0) });
        let apart = apart.iter().map(|Apart { wallet, survivor, other }| StoredApart {
            wallet: wallet.to_string(),
            survivor: survivor.map(Timestamp::as_micros),
            other: other.map(Timestamp::as_micros),
        });
        StoredMerged {
            identities: identities.iter().map(StoredMergedIdentity::of).collect(),
            at: at.as_micros(),
            purchases: *purchases,
            last_purchase_at: last_purchase_at.map(Timestamp::as_micros),
            counts: counts.iter().map(StoredCount::of).collect(),
            tallies: tallies.iter().map(StoredTally::of).collect(),
            deficits: deficits.iter().map(|(wallet, points)| StoredDeficit { wallet: wallet.to_string(), points: *points }).collect(),
            repaid: repaid.collect(),
            apart: apart.collect(),
        }
    }

    fn merged(self) -> Result<Merged, Error> {
        Ok(Merged {
            identities: self.identities.iter().map(StoredMergedIdentity::identity).collect::<Result<_, _>>()?,
            at: time(self.at),
            purchases: self.purchases,
            last_purchase_at: self.last_purchase_at.map(time),
            counts: self.counts.iter().map(|count| count.count(Counting::Member)).collect(),
            tallies: self.tallies.iter().map(StoredTally::tally).collect::<Result<_, _>>()?,
            deficits: self.deficits.into_iter().map(|deficit| (deficit.wallet.into(), deficit.points)).collect(),
            repaid: self
                .repaid
                .into_iter()
                .map(|repaid| Ok((repaid.wallet.into(), repaid.lot.key.key()?, repaid.lot.points)))
                .collect::<Result<_, Error>>()?,
            apart: self.apart.into_iter().map(StoredApart::apart).collect(),
        })
    }
}

impl StoredApart {
    fn apart(self) -> Apart {
        Apart { wallet: self.wallet.into(), survivor: self.survivor.map(time), other: self.other.map(time) }
    }
}

impl StoredIdentity {
    pub(super) fn of((account, member): &(AccountId, MemberId)) -> StoredIdentity {
        StoredIdentity { account: account.0.as_bytes().to_vec(), member: member.0.as_bytes().to_vec() }
    }

    pub(super) fn identity(&self) -> Result<(AccountId, MemberId), Error> {
        let account = account_id(&self.account, "account of an identity")?.ok_or_else(|| corrupt("account of an identity"))?;
        Ok((account, MemberId(uuid(&self.member, "member of an identity")?)))
    }
}

impl StoredMergedIdentity {
    pub(super) fn of(Identity { account, member, came }: &Identity) -> StoredMergedIdentity {
        StoredMergedIdentity {
            account: account.0.as_bytes().to_vec(),
            member: member.0.as_bytes().to_vec(),
            into: came.map(|(into, _)| into.0.as_bytes().to_vec()).unwrap_or_default(),
            at: came.map_or(0, |(_, at)| at.as_micros()),
        }
    }

    pub(super) fn identity(&self) -> Result<Identity, Error> {
        let account = account_id(&self.account, "account of an identity")?.ok_or_else(|| corrupt("account of an identity"))?;
        let into = account_id(&self.into, "account that had taken an identity in")?;
        let came = into.map(|into| (into, time(self.at)));
        Ok(Identity { account, member: MemberId(uuid(&self.member, "member of an identity")?), came })
    }
}
