use kernel::Timestamp;

use super::ledger::Posting;
use super::{Adjust, EntryKind, Expiry, Forgive, Ledger, LotChange, LotKey, NewExpiry, Outcome, Refusal, SetExpiry, Source};

impl Ledger<'_> {
    pub(super) fn adjust(&mut self, adjust: &Adjust) -> Result<Outcome, Refusal> {
        let source = Source::Correction { reason: adjust.reason.clone(), approver: adjust.approver.clone() };
        if adjust.points > 0 {
            let version = self.versions.at(self.stamp.now);
            let key = self.named(version.open_lot_for(&adjust.wallet, self.stamp.now));
            self.credit(EntryKind::Adjust, &adjust.wallet, &key, adjust.points, source, version)?;
        } else {
            let wanted = -adjust.points;
            let active = self.account.active(&adjust.wallet);
            if wanted > active {
                return Err(Refusal::InsufficientPoints { missing: wanted - active });
            }
            let lots = self.spend(&adjust.wallet, wanted, |points| (-points, 0));
            self.post(Posting { lots, ..self.posting(EntryKind::Adjust, &adjust.wallet, source) });
        }
        Ok(Outcome::Adjusted { points: adjust.points })
    }

    pub(super) fn forgive(&mut self, forgive: &Forgive) -> Result<Outcome, Refusal> {
        let deficit = self.account.deficit(&forgive.wallet);
        let points = forgive.points.unwrap_or(deficit);
        if points > deficit || points == 0 {
            return Err(Refusal::ExceedsDeficit { deficit });
        }
        let source = Source::Correction { reason: forgive.reason.clone(), approver: forgive.approver.clone() };
        self.post(Posting { deficit: -points, ..self.posting(EntryKind::Forgive, &forgive.wallet, source) });
        Ok(Outcome::Forgiven { points })
    }

    /// Lots move in pairs to the key with the new expiry, with what reservations hold of them. What waits for an event has no expiry
    /// yet and stays.
    pub(super) fn set_expiry(&mut self, change: &SetExpiry) -> Result<Outcome, Refusal> {
        if matches!(change.to, NewExpiry::At(at) if at <= self.stamp.now) {
            return Err(Refusal::ExpiryNotAhead);
        }
        let zone = &self.versions.at(self.stamp.now).zone;
        let later = |old: Timestamp| match change.to {
            NewExpiry::At(at) => Expiry::at(at),
            NewExpiry::Later(period) => Expiry::at(period.after(old, zone)),
            NewExpiry::Never => Expiry::Never,
        };
        let mut lots = Vec::new();
        let mut points = 0;
        if let Some(wallet) = self.account.wallet(&change.wallet) {
            for lot in wallet.in_order().filter(|lot| lot.key.gate().is_none()) {
                let Some(old) = lot.key.lapses_at(wallet.sliding_until) else { continue };
                let to = LotKey { expiry: later(old), ..lot.key.clone() };
                if change.lapsing_by.is_some_and(|by| old > by) || to == lot.key {
                    continue;
                }
                points += lot.points;
                lots.push(LotChange { key: lot.key.clone(), points: -lot.points, reserved: -lot.reserved });
                lots.push(LotChange { key: to, points: lot.points, reserved: lot.reserved });
            }
        }
        if lots.is_empty() {
            return Err(Refusal::NothingToExtend);
        }
        let source = Source::Expiry { reason: change.reason.clone(), approver: change.approver.clone() };
        self.post(Posting { lots, ..self.posting(EntryKind::Expiry, &change.wallet, source) });
        Ok(Outcome::ExpirySet { points })
    }
}
