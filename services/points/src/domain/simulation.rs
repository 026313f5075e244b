//! Purchases played again under other terms, by the function that awards them.

use kernel::Timestamp;

use super::{
    Account, AccountId, Award, Command, Explanation, Facts, Known, Ledger, Line, MemberStatus, Outcome, Purchase, PurchaseInput, Refusal,
    Stamp, Versions,
};

/// One member's purchases under other terms. They are given in the order in which they were recorded.
pub struct Simulation<'a> {
    id: AccountId,
    account: Account,
    versions: &'a Versions,
    facts: Facts,
}

impl<'a> Simulation<'a> {
    /// A member with what is known of him; `versions` are the terms to try, without what members share ([`super::Terms::of_one_member`]).
    pub fn new(id: AccountId, versions: &'a Versions, facts: Facts) -> Simulation<'a> {
        // Who bought was admitted then.
        Simulation { id, account: Account::default(), versions, facts: Facts { status: MemberStatus::Active, ..facts } }
    }

    /// A purchase before the time that is tried: it only counts as one.
    pub fn pass(&mut self, purchase: &Purchase) {
        self.account.purchases += 1;
        self.account.last_purchase_at = self.account.last_purchase_at.max(Some(purchase.occurred_at));
    }

    /// How the points of what is left of a purchase would have been worked out, and when they would lapse by their own date; `None` where a
    /// limit would have refused it.
    pub fn award(&mut self, purchase: &Purchase) -> Result<Option<(Explanation, Option<Timestamp>)>, Refusal> {
        let stamp = Stamp {
            operation: purchase.operation,
            request_id: "".into(),
            actor: "".into(),
            terminal: purchase.terminal.clone(),
            store: purchase.store.clone(),
            cashier: purchase.cashier.clone(),
            presented: None,
            occurred_at: purchase.occurred_at,
            now: purchase.recorded_at,
        };
        // The whole of it, as it was bought: what applied then is kept when something goes back.
        let whole = |line: &Line| Line { returned: 0, ..line.clone() };
        let lines = purchase.input.lines.iter().map(whole).collect();
        let input = PurchaseInput { lines, redemptions: Vec::new(), ..purchase.input.clone() };
        let command = Command::Award(Award { program: purchase.program.clone(), member: purchase.member, purchase: input });
        let ledger = Ledger::open(self.id, &mut self.account, self.versions, &self.facts, &stamp);
        match ledger.apply(&command, &Known::default()) {
            Ok((Outcome::Awarded { purchase: awarded, .. }, _)) => {
                let version = self.versions.at(purchase.occurred_at);
                Ok(Some((version.points_for(&purchase.basket(), &awarded.facts)?, awarded.lapses_at())))
            }
            Ok(_) | Err(Refusal::AwardLimit { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}
