use std::sync::Arc;

use super::ledger::Posting;
use super::reaching::{Event, gifts_max};
use super::{
    EntryKind, Gate, Ledger, LotChange, LotKey, MAIN_WALLET, Opening, Outcome, Progress, Refusal, Resolve, Source, Version, Versions,
};

/// Something that a decision is about: points in a lot that waits, or an activity without any.
struct Waiting {
    gate: Gate,
    lot: Option<(Arc<str>, LotKey, i64)>,
}

impl Ledger<'_> {
    /// Opens or gives up every lot that waits for the event, and decides on the activities that wait for their approval. An opened lot's life
    /// is counted from now, under the terms that it was earned by.
    pub(super) fn resolve(&mut self, resolve: &Resolve) -> Result<Outcome, Refusal> {
        let waiting = self.waiting(resolve);
        if waiting.is_empty() {
            return Err(Refusal::NothingPending);
        }
        let versions = self.versions;
        let lots = || waiting.iter().filter_map(|one| one.lot.as_ref());
        // Figures are those of the main wallet, or of the first where nothing of that waits.
        let main = lots().find(|(wallet, ..)| **wallet == *MAIN_WALLET);
        let told = main.or(lots().next()).map(|(wallet, ..)| wallet.clone());
        let points = lots().filter(|(wallet, ..)| Some(wallet) == told.as_ref()).map(|(.., points)| points).sum();
        if !resolve.came {
            waiting.into_iter().for_each(|one| self.give_up(one, &resolve.reason));
            return Ok(Outcome::Resolved { points, came: false, challenges: Vec::new() });
        }
        let counting: Vec<_> = waiting.iter().map(|one| self.counting(versions, &one.gate)).collect();
        let others = counting.iter().flat_map(|(version, _)| &version.terms.wallets).map(|wallet| Some(&*wallet.name));
        for wallet in std::iter::once(None).chain(others) {
            let gifts = counting.iter().map(|(_, events)| gifts_max(events, wallet)).fold(0, i64::saturating_add);
            self.check_room(wallet.unwrap_or(MAIN_WALLET), gifts)?;
        }
        let mut challenges = Vec::new();
        for (one, (version, events)) in waiting.into_iter().zip(counting) {
            challenges.extend(self.come(one, version, events, &resolve.event)?);
        }
        Ok(Outcome::Resolved { points, came: true, challenges })
    }

    fn waiting(&self, resolve: &Resolve) -> Vec<Waiting> {
        let lots = self.account.wallets.iter().flat_map(|wallet| wallet.lots.iter().map(move |lot| (&wallet.name, lot)));
        let waits = lots.filter_map(|(wallet, lot)| {
            let gate = lot.key.gate().filter(|gate| gate.is_meant(resolve))?.clone();
            Some(Waiting { gate, lot: Some((wallet.clone(), lot.key.clone(), lot.points)) })
        });
        let alone = self.account.unapproved_alone().filter(|known| known.gate.is_meant(resolve));
        let alone = alone.map(|known| Waiting { gate: known.gate.clone(), lot: None });
        waits.chain(alone).collect()
    }

    /// What an activity counts for once it is approved, and the terms that say so.
    fn counting<'a>(&self, versions: &'a Versions, gate: &Gate) -> (&'a Version, Vec<Event<'a>>) {
        let version = versions.number(gate.version).unwrap_or_else(|| versions.at(self.stamp.now));
        (version, self.unapproved(gate.operation).map(|known| self.approved(version, &known)).unwrap_or_default())
    }

    fn come(&mut self, waiting: Waiting, version: &Version, events: Vec<Event<'_>>, event: &str) -> Result<Vec<Progress>, Refusal> {
        let Waiting { gate, lot } = waiting;
        self.decided = self.unapproved(gate.operation).map(|known| known.gate.operation).into_iter().collect();
        let events = self.note(version, events);
        let source = Source::Event(event.to_owned());
        match lot {
            Some((wallet, key, points)) => {
                self.open_lot(&wallet, &key, self.opened_now(&wallet, &key), points, source, self.stamp.occurred_at);
            }
            None => self.post(self.posting(EntryKind::Activate, MAIN_WALLET, source)),
        }
        self.settle_challenges(version, &events, &gate.reference)
    }

    fn give_up(&mut self, waiting: Waiting, reason: &str) {
        let source = Source::Event(reason.to_owned());
        let (wallet, lots) = match waiting.lot {
            Some((wallet, key, points)) => {
                self.tallies = self.gifts_cancelled(&wallet, &key);
                (wallet, vec![LotChange { key, points: -points, reserved: 0 }])
            }
            None => (MAIN_WALLET.into(), Vec::new()),
        };
        self.reject(waiting.gate.operation);
        self.post(Posting { lots, ..self.posting(EntryKind::Cancel, &wallet, source) });
    }

    fn opened_now(&self, wallet: &str, key: &LotKey) -> LotKey {
        let version = key.gate().and_then(|gate| self.versions.number(gate.version)).unwrap_or_else(|| self.versions.at(self.stamp.now));
        LotKey { expiry: version.expiry_from(wallet, self.stamp.occurred_at), opening: Opening::Open, ..key.clone() }
    }
}
