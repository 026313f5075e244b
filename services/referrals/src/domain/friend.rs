use kernel::Timestamp;

/// What is known of a member as a friend. The facts come from two feeds that do not wait for each other, so each fact is merged
/// on its own: in whatever order they come, and however often, the same is known in the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Friend {
    /// When the member enrolled; `None` while only purchases have been heard of.
    pub enroll_time: Option<Timestamp>,
    /// The member's first purchase.
    pub first_purchase: Option<Purchase>,
}

/// A friend's first purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Its id in the program.
    pub id: String,
    /// When it occurred, by the till's clock.
    pub occur_time: Timestamp,
    /// Its net in minor units of the program's currency.
    pub net_minor: i64,
    /// What is left of the net after returns.
    pub remaining_minor: i64,
    /// Everything went back.
    pub complete_return: bool,
}

impl Purchase {
    /// Whether enough is left for a minimum. Nothing is enough once everything has gone back, even for a minimum of zero.
    pub fn still_meets(&self, minimum_minor: i64) -> bool {
        !self.complete_return && self.remaining_minor >= minimum_minor
    }
}

impl Friend {
    /// Learns of the enrolment. A member enrols once: what was heard first stands.
    #[must_use]
    pub fn enrolled(self, at: Timestamp) -> Friend {
        Friend { enroll_time: self.enroll_time.or(Some(at)), ..self }
    }

    /// Learns of the first purchase. There is one: what was heard first stands.
    #[must_use]
    pub fn purchased(self, purchase: Purchase) -> Friend {
        Friend { first_purchase: self.first_purchase.or(Some(purchase)), ..self }
    }

    /// Learns that goods of a purchase went back. The points feed keeps a member's order, so the first purchase is known before
    /// its returns; returns of other purchases concern no referral. An old return that comes again changes nothing.
    #[must_use]
    pub fn returned(mut self, purchase_id: &str, remaining_minor: i64, complete: bool) -> Friend {
        if let Some(purchase) = self.first_purchase.as_mut().filter(|purchase| purchase.id == purchase_id) {
            purchase.remaining_minor = purchase.remaining_minor.min(remaining_minor);
            purchase.complete_return |= complete;
        }
        self
    }
}
