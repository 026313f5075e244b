//! Activities that wait for somebody to approve them. Until then they count for no challenge, and keep the room in limits that they take.
//! Approved, they count for when they happened; rejected or forgotten, they give back what they took, where they took it.

use kernel::{Timestamp, Uuid};

use super::reaching::Event;
use super::{Account, AccountId, Count, Gate, Ledger, LotKey, Stamp, Version};

/// An activity that waits for its approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unapproved {
    /// What it waits for, as the lot of its points does where it has any: an event of the activity's own name.
    pub gate: Gate,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was told, by the server's clock.
    pub told_at: Timestamp,
    /// The account it was told of, where that was merged into this one.
    pub origin: Option<AccountId>,
    /// What it took of limits, for the member and for all together.
    pub counted: Vec<Count>,
    /// The key of the link that proves it.
    pub proof: Option<Uuid>,
}

impl Unapproved {
    /// The same in an account that takes the other in or is let go.
    pub(super) fn moved(&self, from: AccountId, to: AccountId) -> Unapproved {
        let origin = self.origin.unwrap_or(from);
        Unapproved { origin: (origin != to).then_some(origin), ..self.clone() }
    }
}

impl Account {
    /// What waits for its approval without any points: nothing else of it is in the books.
    pub(super) fn unapproved_alone(&self) -> impl Iterator<Item = &Unapproved> {
        let has_lot = |operation: Uuid| {
            let mut lots = self.wallets.iter().flat_map(|wallet| &wallet.lots);
            lots.any(|lot| lot.key.gate().is_some_and(|gate| gate.operation == operation))
        };
        self.unapproved.iter().filter(move |known| !has_lot(known.gate.operation))
    }
}

impl Ledger<'_> {
    /// An activity that is told now and waits, with what it counts.
    pub(super) fn unapproved_in(&self, lot: &LotKey, proof: Option<Uuid>) -> Option<Unapproved> {
        let Stamp { occurred_at, now, .. } = *self.stamp;
        let gate = lot.gate()?.clone();
        Some(Unapproved { gate, occurred_at, told_at: now, origin: lot.origin, counted: self.counted.clone(), proof })
    }

    /// What waits under an operation.
    pub(super) fn unapproved(&self, operation: Uuid) -> Option<Unapproved> {
        self.account.unapproved.iter().find(|known| known.gate.operation == operation).cloned()
    }

    /// Notes with the next entry that it waits no more, and gives back what it took: its link is free for whose it is.
    pub(super) fn reject(&mut self, operation: Uuid) {
        let Some(known) = self.unapproved(operation) else { return };
        self.decided = vec![operation];
        self.freed = known.proof.into_iter().collect();
        self.counted = known.counted.iter().map(Count::gone).collect();
    }

    /// What an activity counts for that is approved now: it was told in time, and what it counts in can still change.
    pub(super) fn approved<'a>(&self, version: &'a Version, known: &Unapproved) -> Vec<Event<'a>> {
        let mut events = self.events_of(version, &known.gate.event, known.occurred_at, known.told_at);
        events.retain(|event| event.can_change(self.stamp.now, self.account.own_purchases(), version));
        events
    }
}
