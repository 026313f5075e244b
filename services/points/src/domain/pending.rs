use super::ledger::Posting;
use super::{EntryKind, Ledger, LotChange, LotKey, Opening, Outcome, Refusal, Resolve, Source};

impl Ledger<'_> {
    /// Opens or gives up every lot that waits for the event. An opened lot's life is counted from now, under the terms that it was
    /// earned by.
    pub(super) fn resolve(&mut self, resolve: &Resolve) -> Result<Outcome, Refusal> {
        let waits = |key: &LotKey| {
            key.gate().is_some_and(|gate| {
                gate.event == resolve.event && resolve.reference.as_ref().is_none_or(|reference| gate.reference == *reference)
            })
        };
        let lots = self.account.wallets.iter().flat_map(|wallet| wallet.lots.iter().map(move |lot| (wallet.name.clone(), lot)));
        let waiting: Vec<_> = lots.filter(|(_, lot)| waits(&lot.key)).map(|(wallet, lot)| (wallet, lot.key.clone(), lot.points)).collect();
        if waiting.is_empty() {
            return Err(Refusal::NothingPending);
        }
        for (wallet, key, points) in &waiting {
            if resolve.came {
                let source = Source::Event(resolve.event.to_string());
                self.open_lot(wallet, key, self.opened_now(wallet, key), *points, source, self.stamp.occurred_at);
            } else {
                let lots = vec![LotChange { key: key.clone(), points: -points, reserved: 0 }];
                let source = Source::Event(resolve.reason.clone());
                self.tallies = self.gifts_cancelled(wallet, key);
                self.post(Posting { lots, ..self.posting(EntryKind::Cancel, wallet, source) });
            }
        }
        let first = &waiting[0].0;
        let points = waiting.iter().filter(|(wallet, ..)| wallet == first).map(|(.., points)| points).sum();
        Ok(Outcome::Resolved { points, came: resolve.came })
    }

    fn opened_now(&self, wallet: &str, key: &LotKey) -> LotKey {
        let version = key.gate().and_then(|gate| self.versions.number(gate.version)).unwrap_or_else(|| self.versions.at(self.stamp.now));
        LotKey { expiry: version.expiry_from(wallet, self.stamp.occurred_at), opening: Opening::Open, ..key.clone() }
    }
}
