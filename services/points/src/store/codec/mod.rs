//! The stored form of what the domain keeps inside a row: protobuf, so that fields can be added.

mod account;
mod answer;
mod entry;
mod facts;
mod purchase;
mod tally;
mod unapproved;

use std::sync::Arc;

use kernel::{Timestamp, Uuid};
use persistence::Error;
use prost::Message;
use rust_decimal::Decimal;

use crate::domain::{AccountId, Count, Counting, Expiry, Gate, GivenUp, LotKey, Opening};

pub(super) use account::{decode_account, encode_state};
pub(super) use answer::{pack, unpack};
pub(super) use entry::StoredEntry;
pub(super) use facts::{decode_facts, encode_facts};
use unapproved::StoredUnapproved;

pub(super) use purchase::{decode_purchase, decode_reward, encode_purchase, encode_reward_lot};

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
struct StoredGivenUp {
    #[prost(int64, tag = "1")]
    moment: i64,
    #[prost(sint64, tag = "2")]
    points: i64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    of: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredCount {
    #[prost(string, tag = "1")]
    of: String,
    #[prost(int64, tag = "2")]
    since: i64,
    #[prost(int64, optional, tag = "3")]
    until: Option<i64>,
    #[prost(sint64, tag = "4")]
    times: i64,
    #[prost(sint64, tag = "5")]
    points: i64,
}

impl StoredCount {
    fn of(count: &Count) -> StoredCount {
        let Count { by: _, of, since, until, times, points } = count;
        let until = until.map(Timestamp::as_micros);
        StoredCount { of: of.to_string(), since: since.as_micros(), until, times: *times, points: *points }
    }

    fn count(&self, by: Counting) -> Count {
        let StoredCount { of, since, until, times, points } = self;
        Count { by, of: of.as_str().into(), since: time(*since), until: until.map(time), times: *times, points: *points }
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredKey {
    /// Absent for never, or for sliding.
    #[prost(int64, optional, tag = "1")]
    expires_at: Option<i64>,
    #[prost(int32, tag = "2")]
    earn_month: i32,
    /// Absent for open, or for a gate.
    #[prost(int64, optional, tag = "3")]
    activates_at: Option<i64>,
    #[prost(bytes = "vec", tag = "4")]
    origin: Vec<u8>,
    #[prost(bool, tag = "5")]
    sliding: bool,
    #[prost(message, optional, tag = "6")]
    gate: Option<StoredGate>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredGate {
    #[prost(string, tag = "1")]
    event: String,
    #[prost(int64, optional, tag = "2")]
    cancel_at: Option<i64>,
    #[prost(bytes = "vec", tag = "3")]
    operation: Vec<u8>,
    #[prost(string, tag = "4")]
    reference: String,
    #[prost(int64, tag = "5")]
    version: i64,
}

impl StoredGate {
    fn of(Gate { event, cancel_at, operation, reference, version }: &Gate) -> StoredGate {
        StoredGate {
            event: event.to_string(),
            cancel_at: cancel_at.map(Timestamp::as_micros),
            operation: operation.as_bytes().to_vec(),
            reference: reference.to_string(),
            version: *version,
        }
    }

    fn gate(&self) -> Result<Gate, Error> {
        Ok(Gate {
            event: self.event.as_str().into(),
            cancel_at: self.cancel_at.map(time),
            operation: uuid(&self.operation, "gate of a lot")?,
            reference: self.reference.as_str().into(),
            version: self.version,
        })
    }
}

impl From<&LotKey> for StoredKey {
    fn from(key: &LotKey) -> Self {
        let LotKey { expiry, earn_month, opening, origin } = key;
        let gate = key.gate().map(StoredGate::of);
        StoredKey {
            expires_at: if let Expiry::At(at) = expiry { Some(at.as_micros()) } else { None },
            earn_month: *earn_month,
            activates_at: if let Opening::At(at) = opening { Some(at.as_micros()) } else { None },
            origin: origin.map(|account| account.0.as_bytes().to_vec()).unwrap_or_default(),
            sliding: *expiry == Expiry::Sliding,
            gate,
        }
    }
}

impl StoredKey {
    fn key(&self) -> Result<LotKey, Error> {
        let expiry = match self.expires_at {
            Some(at) => Expiry::At(time(at)),
            None if self.sliding => Expiry::Sliding,
            None => Expiry::Never,
        };
        let opening = match (&self.gate, self.activates_at) {
            (Some(gate), _) => Opening::On(gate.gate()?),
            (None, Some(at)) => Opening::At(time(at)),
            (None, None) => Opening::Open,
        };
        Ok(LotKey { expiry, earn_month: self.earn_month, opening, origin: account_id(&self.origin, "origin of a lot")? })
    }
}

fn lot(key: &LotKey, points: i64, reserved: i64) -> StoredLot {
    StoredLot { key: key.into(), points, reserved }
}

fn stored_given_up(given_up: &[GivenUp]) -> Vec<StoredGivenUp> {
    let accounts = |of: &[AccountId]| of.iter().map(|account| account.0.as_bytes().to_vec()).collect();
    let stored = |GivenUp { at, of, points }: &GivenUp| StoredGivenUp { moment: at.as_micros(), points: *points, of: accounts(of) };
    given_up.iter().map(stored).collect()
}

fn given_up(stored: &[StoredGivenUp]) -> Result<Vec<GivenUp>, Error> {
    let account = |bytes: &Vec<u8>| Ok(AccountId(uuid(bytes, "account of points given up")?));
    let read = |StoredGivenUp { moment, points, of }: &StoredGivenUp| {
        Ok(GivenUp { at: time(*moment), of: of.iter().map(account).collect::<Result<_, Error>>()?, points: *points })
    };
    stored.iter().map(read).collect()
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}

pub(super) fn decode<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, Error> {
    M::decode(bytes).map_err(|_| corrupt(what))
}

fn uuid(bytes: &[u8], what: &str) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| corrupt(what))
}

/// An account's key that may be absent.
fn account_id(bytes: &[u8], what: &str) -> Result<Option<AccountId>, Error> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(AccountId(uuid(bytes, what)?))) }
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn decimal(text: &str) -> Result<Decimal, Error> {
    text.parse().map_err(|_| corrupt("a decimal"))
}

/// The name as an `Arc`, shared by the entries of a batch.
pub(super) fn shared(text: String) -> Arc<str> {
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_given_up_before_accounts_were_named_are_of_this_one() {
        let stored = StoredGivenUp::decode(&[0x08, 5, 0x10, 6][..]).unwrap();
        assert_eq!(given_up(&[stored]).unwrap(), [GivenUp { at: Timestamp::from_micros(5), of: Vec::new(), points: 3 }]);
    }
}
