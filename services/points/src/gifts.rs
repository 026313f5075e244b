//! Vouchers for steps and streaks: the wish is a row written with the entry that reached or lost it, and a worker sees to it until it
//! is done.

use kernel::{MemberId, ProgramId};
use persistence::Effect;
use prost::Message;

use crate::domain::{Entry, EntryKind, Source};

/// The kind of these effects.
pub(crate) const KIND: &str = "challenge-voucher";

/// What the worker must know.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Gift {
    /// Format: programs/{program}/members/{member}
    #[prost(string, tag = "1")]
    pub(crate) member: String,
    /// Format: programs/{program}/rewards/{reward}
    #[prost(string, tag = "2")]
    pub(crate) reward: String,
}

/// The voucher that an entry gives or takes back; `None` when it is about none.
pub(crate) fn effect(program: &ProgramId, member: MemberId, entry: &Entry) -> Option<Effect> {
    let Source::Challenge { given, reward: Some(reward), .. } = &entry.source else { return None };
    // Of two who are one by now it is whose name was shown.
    let member = entry.stamp.presented.unwrap_or(member);
    let gift = Gift { member: member.name(program), reward: program.name_of("rewards", reward) };
    let wanted = entry.kind == EntryKind::Reward;
    Some(Effect { key: format!("challenge/{given}"), kind: KIND.to_owned(), wanted, payload: gift.encode_to_vec() })
}
