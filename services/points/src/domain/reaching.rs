//! What counts for challenges, posted: noted with the entry that it came by, and what is reached by it given or taken back.

use std::sync::Arc;

use kernel::{Timestamp, Uuid};

use super::ledger::Posting;
use super::{
    AccountId, Basket, Buyer, Challenge, Counts, EntryKind, Gift, Given, Ledger, LotKey, MAIN_WALLET, Mark, Occasion, Progress, Purchase,
    Refusal, Shape, Source, Stamp, Tallied, Tally, TallyChange, Version,
};

/// What has happened that counts for a challenge.
pub(super) struct Event<'a> {
    challenge: &'a Challenge,
    change: Mark,
    at: Timestamp,
}

impl Event<'_> {
    /// Whether what it counts in is not folded away yet.
    pub(super) fn can_change(&self, now: Timestamp, purchases: i64, version: &Version) -> bool {
        self.change.unit >= self.challenge.settled_before(now, purchases, &version.zone)
    }
}

impl Ledger<'_> {
    /// What a purchase counts for.
    pub(super) fn tallied(&self, version: &Version, basket: &Basket<'_>, buyer: &Buyer<'_>) -> Vec<Tallied> {
        // Most programs have none, and every award asks.
        if version.terms.challenges.is_empty() {
            return Vec::new();
        }
        let occasion = Occasion::new(basket, buyer, &version.zone);
        let counts = |challenge: &&Challenge| challenge.counts_purchase(&occasion);
        // Purchases in a row are those of the survivor himself.
        let own = |challenge: &&Challenge| self.stamp.presented.is_none() || !challenge.counts_own_purchases();
        let in_time = version.terms.challenges.iter().filter(|challenge| self.is_in_time(challenge, version));
        let running = in_time.filter(own).filter(counts);
        running
            .map(|challenge| Tallied {
                of: challenge.key.clone(),
                unit: challenge.unit(basket.occurred_at, self.account.own_purchases() + 1, &version.zone),
            })
            .collect()
    }

    /// Notes what a purchase counts for with the next entry.
    pub(super) fn tally_purchase<'a>(&mut self, version: &'a Version, basket: &Basket<'_>, tallied: &[Tallied]) -> Vec<Event<'a>> {
        let event = |tallied: &Tallied| {
            let challenge = version.challenge(&tallied.of)?;
            let amount = challenge.counts_left(basket)?;
            Some(Event { challenge, change: Mark { unit: tallied.unit, times: 1, amount }, at: basket.occurred_at })
        };
        self.note(version, tallied.iter().filter_map(event).collect())
    }

    /// Notes what an activity counts for with the next entry.
    pub(super) fn tally_activity<'a>(&mut self, version: &'a Version, activity: &str) -> Vec<Event<'a>> {
        let events = self.events_of(version, activity, self.stamp.occurred_at, self.stamp.now);
        self.note(version, events)
    }

    /// What an activity counts for that was told in time.
    pub(super) fn events_of<'a>(&self, version: &'a Version, activity: &str, at: Timestamp, told_at: Timestamp) -> Vec<Event<'a>> {
        let counts = |challenge: &&Challenge| matches!(&challenge.counts, Counts::Activity(name) if name == activity);
        let running = version.terms.challenges.iter().filter(counts).filter(|challenge| challenge.is_running(at));
        let event = |challenge: &'a Challenge| {
            let unit = challenge.unit(at, self.account.own_purchases(), &version.zone);
            Event { challenge, change: Mark { unit, times: 1, amount: 0 }, at }
        };
        running.filter(|challenge| challenge.is_in_time(at, told_at, &version.zone)).map(event).collect()
    }

    /// Notes with the next entry what counts less because goods have gone back.
    pub(super) fn tally_return<'a>(&mut self, version: &'a Version, before: &Purchase, after: &Purchase) -> Vec<Event<'a>> {
        let event = |tallied: &Tallied| {
            let challenge = version.challenge(&tallied.of).filter(|challenge| !challenge.counts_returned)?;
            let (was, is) = (challenge.counts_left(&before.basket())?, challenge.counts_left(&after.basket()));
            let change = Mark { unit: tallied.unit, times: i64::from(is.is_some()) - 1, amount: is.unwrap_or(0) - was };
            let settled = challenge.settled_before(self.stamp.now, self.account.own_purchases(), &version.zone);
            let own = self.stamp.presented.is_none() || !challenge.counts_own_purchases();
            let counts = own && self.account.tally(&tallied.of).is_some_and(|tally| tally.has(tallied.unit));
            ((change.times, change.amount) != (0, 0) && counts && tallied.unit >= settled).then_some(Event {
                challenge,
                change,
                at: before.occurred_at,
            })
        };
        let events = before.facts.tallied.iter().filter_map(event).collect();
        self.note(version, events)
    }

    fn is_in_time(&self, challenge: &Challenge, version: &Version) -> bool {
        challenge.is_in_time(self.stamp.occurred_at, self.stamp.now, &version.zone)
    }

    pub(super) fn note<'a>(&mut self, version: &'a Version, events: Vec<Event<'a>>) -> Vec<Event<'a>> {
        let change = |event: &Event<'_>| {
            let mut change = self.forgotten(event.challenge, version);
            change.marks.push(event.change);
            change
        };
        self.tallies = events.iter().map(change).collect();
        events
    }

    /// What of a tally can change no more and is folded away: past periods of a ladder, streaks that are complete, and what can be in no
    /// streak any more.
    fn forgotten(&self, challenge: &Challenge, version: &Version) -> TallyChange {
        let settled = challenge.settled_before(self.stamp.now, self.account.own_purchases(), &version.zone);
        let mut change = TallyChange::new(&challenge.key, challenge.matters_until(self.stamp.now, &version.zone));
        let Some(tally) = self.account.tally(&challenge.key) else { return change };
        let (mut gone, mut dropped): (usize, Vec<&Given>) = (0, Vec::new());
        match &challenge.shape {
            Shape::Ladder { .. } => {
                let current = challenge.period_of(settled);
                gone = tally.marks.partition_point(|mark| challenge.period_of(mark.unit) < current);
                dropped = tally.given.iter().filter(|given| given.period < current).collect();
            }
            Shape::Streak(streak) => {
                let complete: Vec<i64> = streak.complete(&tally.marks).take_while(|unit| *unit < settled).collect();
                if let Some(last) = complete.last() {
                    gone = tally.marks.partition_point(|mark| mark.unit <= *last);
                    dropped = tally.held().take(complete.len()).collect();
                }
                let past = tally.marks[gone..].iter().map(|mark| mark.unit).take_while(|unit| *unit < settled);
                let past: Vec<i64> = past.collect();
                gone += past.len() - streak.going(&past, settled).len();
                change.kept = i64::try_from(dropped.len()).unwrap_or(i64::MAX);
            }
        }
        change.marks = tally.marks[..gone].iter().map(|mark| Mark { times: -mark.times, amount: -mark.amount, ..*mark }).collect();
        change.dropped = dropped.into_iter().map(|given| given.id).collect();
        change
    }

    /// Gives what is reached by what counts more, and takes back what was reached by what counts less. `reference` is what earned it, where
    /// points wait for an event.
    pub(super) fn settle_challenges(
        &mut self,
        version: &Version,
        events: &[Event<'_>],
        reference: &Arc<str>,
    ) -> Result<Vec<Progress>, Refusal> {
        events.iter().map(|event| self.settle_challenge(version, event, reference)).collect()
    }

    fn settle_challenge(&mut self, version: &Version, event: &Event<'_>, reference: &Arc<str>) -> Result<Progress, Refusal> {
        let Event { challenge, change, at } = event;
        let tally = self.account.tally(&challenge.key).cloned().unwrap_or_else(|| Tally::new(&challenge.key));
        let (mut reached, mut lost) = (Vec::new(), Vec::new());
        if change.times > 0 || change.amount > 0 {
            for key in tally.due(challenge, change, self.account.given_elsewhere(challenge)) {
                reached.extend(self.give(challenge, version, &tally, key, reference)?);
            }
        } else {
            for given in tally.undue(challenge, change) {
                lost.extend(self.take_gift(challenge, version, given));
            }
        }
        let end_at = challenge.period_end(*at, &version.zone);
        Ok(Progress { reached, lost, end_at, ..self.account.progress(challenge, change.unit) })
    }

    /// Gives what is reached: what was lost of it, if it was given before, whoever is named with it now. `tally` is what is given so far.
    fn give(
        &mut self,
        challenge: &Challenge,
        version: &Version,
        tally: &Tally,
        key: (i64, i64),
        reference: &Arc<str>,
    ) -> Result<Option<Gift>, Refusal> {
        let Some(gift) = challenge.gift(key.1).cloned() else { return Ok(None) };
        let Stamp { occurred_at, now, operation, .. } = *self.stamp;
        let (id, stays, dropped) = match tally.lost(key, &gift) {
            Some(lost) => (lost.id, lost.stays, vec![lost.id]),
            None => (self.new_gift(tally, operation, key), 0, Vec::new()),
        };
        let rest = gift.without(stays);
        let wallet = gift.wallet();
        let lot = || self.named(version.lot_for(wallet, occurred_at, now, operation, reference));
        let lot = matches!(rest, Some(Gift::Points(..))).then(lot);
        let given =
            Given { id, period: key.0, step: key.1, gift: gift.clone(), lot: lot.clone(), at: self.recorded_at(), stays, lost: false };
        self.tallies = vec![TallyChange { given: vec![given], dropped, ..TallyChange::new(&tally.of, self.tally_until(challenge)) }];
        let source = source(challenge, id, key, &gift);
        match (&rest, lot) {
            (Some(Gift::Points(points, _)), Some(lot)) => self.credit(EntryKind::Reward, wallet, &lot, *points, source, version)?,
            _ => self.post(Posting { program_version: version.number, ..self.posting(EntryKind::Reward, wallet, source) }),
        }
        Ok(rest)
    }

    /// The id of something that is given for the first time. One operation may give more than one for the same.
    fn new_gift(&self, tally: &Tally, operation: Uuid, key: (i64, i64)) -> Uuid {
        let is_new = |id: &Uuid| tally.given.iter().all(|given| given.id != *id);
        (0..).map(|index| given_id(self.id, operation, &tally.of, key, index)).find(is_new).expect("a list has an end")
    }

    /// What was given and waits in a lot of a wallet that is cancelled is given no more.
    pub(super) fn gifts_cancelled(&self, wallet: &str, lot: &LotKey) -> Vec<TallyChange> {
        let is_in = |given: &&Given| given.lot.as_ref() == Some(lot) && given.gift.wallet() == wallet;
        let change = |tally: &Tally| {
            let waits = || tally.held().filter(is_in);
            let stays = waits().filter(|given| given.stays > 0).map(|given| Given { lost: true, ..given.clone() });
            let dropped = waits().map(|given| given.id).collect();
            TallyChange { dropped, given: stays.collect(), ..TallyChange::new(&tally.of, tally.until) }
        };
        self.account.tallies.iter().map(change).filter(|change| !change.dropped.is_empty()).collect()
    }

    /// Takes back what was given; returns what of it was taken.
    fn take_gift(&mut self, challenge: &Challenge, version: &Version, given: &Given) -> Option<Gift> {
        let Given { id, period, step, ref gift, ref lot, at, stays, .. } = *given;
        let until = self.tally_until(challenge);
        let lost = vec![Given { lost: true, ..given.clone() }];
        self.tallies = vec![TallyChange { dropped: vec![id], given: lost, ..TallyChange::new(&challenge.key, until) }];
        let source = source(challenge, id, (period, step), gift);
        match gift {
            Gift::Points(points, _) => {
                let points = (points - stays).max(0);
                let policy = (version.terms.return_policy, version.deficit_cap(self.facts, self.stamp.now));
                let has_opened = |lot: &LotKey| lot.opens_at().is_some_and(|at| at <= self.stamp.now);
                let lot = lot.clone().map(|lot| if has_opened(&lot) { lot.opened() } else { lot });
                let taken = self.claw_back(EntryKind::RewardRevoked, points, (gift.wallet(), (lot, at)), policy, source, version.number);
                gift.without(stays + taken.forgiven)
            }
            Gift::Reward(_) => {
                let posting = self.posting(EntryKind::RewardRevoked, MAIN_WALLET, source);
                self.post(Posting { program_version: version.number, ..posting });
                Some(gift.clone())
            }
        }
    }

    fn tally_until(&self, challenge: &Challenge) -> Option<Timestamp> {
        self.account.tally(&challenge.key).and_then(|tally| tally.until)
    }
}

impl Gift {
    /// Whether it is the same reward, or points of the same wallet.
    pub(super) fn is_like(&self, other: &Gift) -> bool {
        match (self, other) {
            (Gift::Points(_, wallet), Gift::Points(_, other)) => wallet == other,
            _ => self == other,
        }
    }

    /// What it is without points that stay with the member.
    fn without(&self, stays: i64) -> Option<Gift> {
        match self {
            Gift::Points(points, wallet) => (*points > stays).then(|| Gift::Points(points - stays, wallet.clone())),
            Gift::Reward(_) => Some(self.clone()),
        }
    }

    /// The wallet that points go to.
    pub(super) fn wallet(&self) -> &str {
        match self {
            Gift::Points(_, Some(wallet)) => wallet,
            Gift::Points(_, None) | Gift::Reward(_) => MAIN_WALLET,
        }
    }
}

/// The most points that events can give in a wallet, so that what cannot be counted is refused before anything is posted.
pub(super) fn gifts_max(events: &[Event<'_>], wallet: Option<&str>) -> i64 {
    let points = |gift: &Gift| match gift {
        Gift::Points(points, named) if named.as_deref() == wallet => *points,
        Gift::Points(..) | Gift::Reward(_) => 0,
    };
    let of_challenge = |challenge: &Challenge| match &challenge.shape {
        Shape::Ladder { steps, .. } => steps.iter().map(|step| points(&step.gives)).sum::<i64>(),
        Shape::Streak(streak) => points(&streak.gives),
    };
    events.iter().map(|event| of_challenge(event.challenge)).sum()
}

fn source(challenge: &Challenge, id: Uuid, (period, step): (i64, i64), gift: &Gift) -> Source {
    let reward = if let Gift::Reward(reward) = gift { Some(reward.clone()) } else { None };
    Source::Challenge { challenge: challenge.id.clone(), title: challenge.title.as_str().into(), given: id, period, step, reward }
}

fn given_id(account: AccountId, operation: Uuid, challenge: &str, (period, step): (i64, i64), index: i64) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("regulars points challenge v1");
    hasher.update(account.0.as_bytes());
    hasher.update(operation.as_bytes());
    for number in [period, step, index] {
        hasher.update(&number.to_be_bytes());
    }
    hasher.update(challenge.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    Uuid::new_v8(id)
}
