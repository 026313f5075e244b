//! Lots: what points that behave alike have in common.

use std::sync::Arc;

use kernel::Uuid;
use proto::points as pb;

use super::rules::time;
use crate::it::suite::TEA;

/// An expiry that never comes.
pub(crate) const NEVER: i64 = i64::MAX;

/// An expiry that what the member does moves on.
pub(super) const SLIDING: i64 = NEVER - 1;

/// What lots are told apart by, in the order in which they are spent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LotKey {
    pub(crate) expires: i64,
    pub(crate) earned: i32,
    pub(crate) opening: Opening,
    /// Whose it was before his account was taken in, or who brought it into the pool.
    pub(crate) origin: Option<Owner>,
}

/// When a lot becomes spendable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Opening {
    /// It is.
    Open,
    At(i64),
    On(Gate),
}

/// What a lot waits for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Gate {
    pub(crate) event: String,
    /// When it has waited in vain.
    pub(crate) cancelled: Option<i64>,
    pub(crate) operation: Uuid,
    pub(crate) reference: String,
    /// Number of the terms by which its life is counted once it opens.
    pub(crate) terms: i64,
}

/// Somebody whose points are told apart from those of others. Among lots that are alike but for this the ledger spends in the order of
/// a hash, which no contract tells and the model has to know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    rank: [u8; 16],
    pub(crate) member: Arc<str>,
}

impl Owner {
    pub(crate) fn new(member: &str) -> Owner {
        let id: Uuid = member.rsplit('/').next().and_then(|id| id.parse().ok()).expect("it names a member");
        let mut hasher = blake3::Hasher::new_derive_key("regulars points account v1");
        hasher.update(id.as_bytes()).update(TEA.trim_start_matches("programs/").as_bytes());
        let mut rank = [0; 16];
        hasher.finalize_xof().fill(&mut rank);
        Owner { rank, member: member.into() }
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.member)
    }
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Lot {
    pub(super) points: i64,
    pub(super) held: i64,
}

impl Lot {
    pub(super) fn free(&self) -> i64 {
        self.points - self.held
    }
}

impl LotKey {
    pub(super) fn is_open(&self) -> bool {
        self.opening == Opening::Open
    }

    pub(super) fn gate(&self) -> Option<&Gate> {
        if let Opening::On(gate) = &self.opening { Some(gate) } else { None }
    }

    pub(super) fn opens(&self) -> Option<i64> {
        if let Opening::At(at) = self.opening { Some(at) } else { None }
    }

    pub(super) fn opened(&self) -> LotKey {
        LotKey { opening: Opening::Open, ..self.clone() }
    }

    /// The lot in another account that has taken its own in, or is let go with it.
    pub(super) fn moved(&self, from: &Owner, to: &Owner) -> LotKey {
        let origin = self.origin.clone().unwrap_or_else(|| from.clone());
        LotKey { origin: (origin != *to).then_some(origin), ..self.clone() }
    }

    /// The lot at somebody who was given it: it slides no more.
    pub(super) fn given(&self, origin: Option<Owner>, slides_until: Option<i64>) -> LotKey {
        let expires = slides_until.filter(|_| self.expires == SLIDING).unwrap_or(self.expires);
        LotKey { origin, expires, ..self.clone() }
    }

    /// When it lapses in an account whose sliding lots live until then.
    pub(super) fn lapses(&self, slides_until: Option<i64>) -> i64 {
        if self.expires == SLIDING { slides_until.unwrap_or(NEVER) } else { self.expires }
    }

    /// Whether it is this lot that is still waiting, whatever its expiry is now.
    pub(super) fn waits_like(&self, other: &LotKey) -> bool {
        !self.is_open() && LotKey { expires: other.expires, ..self.clone() } == *other
    }

    pub(super) fn expire_time(&self) -> Option<prost_types::Timestamp> {
        (self.expires < SLIDING).then(|| time(self.expires))
    }

    pub(super) fn told(&self, lot: &Lot, slides_until: Option<i64>) -> pb::Lot {
        let gate = self.gate();
        pb::Lot {
            activate_time: self.opens().map(time),
            expire_time: Some(self.lapses(slides_until)).filter(|at| *at != NEVER).map(time),
            earn_month: self.earned,
            points: lot.points,
            reserved_points: lot.held,
            event: gate.map(|gate| gate.event.clone()).unwrap_or_default(),
            pending_reference: gate.map(|gate| gate.reference.clone()).unwrap_or_default(),
            cancel_time: gate.and_then(|gate| gate.cancelled).map(time),
            sliding: self.expires == SLIDING,
        }
    }

    pub(super) fn change_told(&self, points: i64, held: i64) -> pb::LotChange {
        pb::LotChange {
            activate_time: self.opens().map(time),
            expire_time: self.expire_time(),
            earn_month: self.earned,
            points_delta: points,
            reserved_delta: held,
            event: self.gate().map(|gate| gate.event.clone()).unwrap_or_default(),
            sliding: self.expires == SLIDING,
        }
    }
}
