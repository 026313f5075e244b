//! What is given by itself: the wish is a row written with what brings it about, and a worker sees to it until it is done. For steps and
//! streaks that is the entry that reached or lost it; for occasions what the members feed tells, or the calendar.

use kernel::{MemberId, ProgramId};
use persistence::Effect;
use prost::Message;
use proto::points as pb;

use crate::domain::{AccountId, Entry, EntryKind, Gift as Given, GiftOccasion, Source, When};
use crate::executor::Target;

/// The kind of those for steps and streaks.
pub(crate) const OF_CHALLENGES: &str = "challenge-voucher";
/// The kind of those for occasions.
pub(crate) const OF_OCCASIONS: &str = "occasion";

/// What the worker must know.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Gift {
    /// Format: programs/{program}/members/{member}
    #[prost(string, tag = "1")]
    pub(crate) member: String,
    /// Format: programs/{program}/rewards/{reward}; empty for points.
    #[prost(string, tag = "2")]
    pub(crate) reward: String,
    #[prost(int64, tag = "3")]
    pub(crate) points: i64,
    /// What the member reads with points.
    #[prost(string, tag = "4")]
    pub(crate) title: String,
    /// Why a voucher is given; 0 for a step or a streak.
    #[prost(enumeration = "pb::GrantReason", tag = "5")]
    pub(crate) reason: i32,
    /// The wallet that points go to; empty for the main one.
    #[prost(string, tag = "6")]
    pub(crate) wallet: String,
}

/// The voucher that an entry gives or takes back; `None` when it is about none.
pub(crate) fn effect(program: &ProgramId, member: MemberId, entry: &Entry) -> Option<Effect> {
    let Source::Challenge { given, reward: Some(reward), .. } = &entry.source else { return None };
    // Of two who are one by now it is whose name was shown.
    let member = entry.stamp.presented.unwrap_or(member);
    let gift = Gift { member: member.name(program), reward: program.name_of("rewards", reward), ..Gift::default() };
    let wanted = entry.kind == EntryKind::Reward;
    Some(Effect { key: format!("challenge/{given}"), kind: OF_CHALLENGES.to_owned(), wanted, payload: gift.encode_to_vec() })
}

/// What there is one of: a gift for this occasion to this account, for this birthday or absence. The key names the occasion, and nothing of the
/// member nor of his days.
pub(crate) fn occasion_key(program: &ProgramId, occasion: &GiftOccasion, account: AccountId, of: &str) -> String {
    format!("occasion/{}/{}", occasion.id, Target::occasion(program, &occasion.id, account, of))
}

/// The gift for an occasion.
pub(crate) fn of_occasion(program: &ProgramId, member: MemberId, occasion: &GiftOccasion, key: String) -> Effect {
    let (reward, points, wallet) = match &occasion.gives {
        Given::Points(points, wallet) => (String::new(), *points, wallet.as_deref().unwrap_or_default().to_owned()),
        Given::Reward(reward) => (program.name_of("rewards", reward), 0, String::new()),
    };
    let reason = match occasion.when {
        When::Joining => pb::GrantReason::Welcome,
        When::Birthday { .. } => pb::GrantReason::Birthday,
        When::Dormancy { .. } => pb::GrantReason::ComeBack,
    };
    let gift = Gift { member: member.name(program), reward, points, title: occasion.title.clone(), reason: reason.into(), wallet };
    Effect { key, kind: OF_OCCASIONS.to_owned(), wanted: true, payload: gift.encode_to_vec() }
}
