use persistence::Error;
use prost::Message;

use super::{StoredCount, StoredGate, account_id, time, uuid};
use crate::domain::{Count, Counting, Unapproved};

/// An activity that waits for its approval.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredUnapproved {
    #[prost(message, required, tag = "1")]
    gate: StoredGate,
    #[prost(int64, tag = "2")]
    occurred_at: i64,
    #[prost(int64, tag = "3")]
    told_at: i64,
    #[prost(bytes = "vec", tag = "4")]
    origin: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    counted: Vec<StoredCount>,
    /// What is counted of all members.
    #[prost(message, repeated, tag = "6")]
    shared: Vec<StoredCount>,
    #[prost(bytes = "vec", tag = "7")]
    proof: Vec<u8>,
}

impl StoredUnapproved {
    pub(super) fn of(known: &Unapproved) -> StoredUnapproved {
        let Unapproved { gate, occurred_at, told_at, origin, counted, proof } = known;
        let counted = |by: Counting| counted.iter().filter(|count| count.by == by).map(StoredCount::of).collect();
        StoredUnapproved {
            gate: StoredGate::of(gate),
            occurred_at: occurred_at.as_micros(),
            told_at: told_at.as_micros(),
            origin: origin.map(|account| account.0.as_bytes().to_vec()).unwrap_or_default(),
            counted: counted(Counting::Member),
            shared: counted(Counting::Shared),
            proof: proof.map(|proof| proof.as_bytes().to_vec()).unwrap_or_default(),
        }
    }

    pub(super) fn unapproved(&self) -> Result<Unapproved, Error> {
        let counts = |counts: &[StoredCount], by| counts.iter().map(|count| count.count(by)).collect::<Vec<Count>>();
        Ok(Unapproved {
            gate: self.gate.gate()?,
            occurred_at: time(self.occurred_at),
            told_at: time(self.told_at),
            origin: account_id(&self.origin, "origin of an activity")?,
            counted: [counts(&self.counted, Counting::Member), counts(&self.shared, Counting::Shared)].concat(),
            proof: if self.proof.is_empty() { None } else { Some(uuid(&self.proof, "link of an activity")?) },
        })
    }
}
