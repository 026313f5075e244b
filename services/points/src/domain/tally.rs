//! What counts for a member's challenges, and what he has been given for it.

use std::sync::Arc;

use kernel::{Timestamp, Uuid, Zone};

use super::challenge::{COUNTED_DAYS, Cadence};
use super::ledger::Posting;
use super::{
    Account, AccountId, Basket, Buyer, Challenge, Counts, EntryKind, Gift, Ledger, LotKey, MAIN_WALLET, Occasion, Progress, Purchase,
    Refusal, Shape, Source, Stamp, Step, Streak, Version,
};

/// What counts for one challenge of an account: the fold of what its entries have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The key of the challenge.
    pub of: Arc<str>,
    /// What counts, by unit, ascending.
    pub marks: Vec<Mark>,
    /// What was given for it and can still be taken back, oldest first.
    pub given: Vec<Given>,
    /// How often something was given that no return can take back any more.
    pub kept: i64,
    /// From when on nothing of it matters any more; `None` for never.
    pub until: Option<Timestamp>,
}

/// What counts in one unit of a challenge: a day, a period, a purchase. Or a change of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The unit.
    pub unit: i64,
    /// How often.
    pub times: i64,
    /// What was spent, minor units.
    pub amount: i64,
}

/// Something that was given for a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// Its id.
    pub id: Uuid,
    /// The period of a ladder, by its first day; 0 for a streak.
    pub period: i64,
    /// From how much on: the step of a ladder, the length of a streak.
    pub step: i64,
    /// What.
    pub gift: Gift,
    /// The lot that points went to.
    pub lot: Option<LotKey>,
    /// When it was given, as it was recorded.
    pub at: Timestamp,
    /// It was to be taken back, and what was spent of it stays with the member by the terms: it is neither given nor taken again.
    pub stays: bool,
}

/// What an entry changes of a tally.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TallyChange {
    /// The key of the challenge.
    pub of: Arc<str>,
    /// What counts more, or less.
    pub marks: Vec<Mark>,
    /// What is given.
    pub given: Vec<Given>,
    /// What was given and is no longer listed.
    pub dropped: Vec<Uuid>,
    /// Change of how often something was given that cannot be taken back.
    pub kept: i64,
    /// From when on nothing of it matters any more.
    pub until: Option<Timestamp>,
}

/// That a purchase counted for a challenge, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tallied {
    /// The key of the challenge.
    pub of: Arc<str>,
    /// The unit.
    pub unit: i64,
}

impl Tally {
    fn new(of: &Arc<str>) -> Tally {
        Tally { of: of.clone(), marks: Vec::new(), given: Vec::new(), kept: 0, until: None }
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.given.is_empty() && self.kept == 0
    }

    /// Takes a change in.
    fn evolve(&mut self, change: &TallyChange) {
        for Mark { unit, times, amount } in &change.marks {
            let index = self.marks.partition_point(|mark| mark.unit < *unit);
            if self.marks.get(index).is_none_or(|mark| mark.unit != *unit) {
                self.marks.insert(index, Mark { unit: *unit, times: 0, amount: 0 });
            }
            let mark = &mut self.marks[index];
            (mark.times, mark.amount) = (mark.times.saturating_add(*times), mark.amount.saturating_add(*amount));
            if mark.times <= 0 {
                self.marks.remove(index);
            }
        }
        self.given.retain(|given| !change.dropped.contains(&given.id));
        self.given.extend(change.given.iter().cloned());
        self.kept = self.kept.saturating_add(change.kept).max(0);
        self.until = self.until.zip(change.until).map(|(known, told)| known.max(told));
    }

    /// Whether something counts in a unit.
    pub(super) fn has(&self, unit: i64) -> bool {
        self.marks.iter().any(|mark| mark.unit == unit)
    }

    /// What is reached and was not given, by period, step and how often it was given before. Of a ladder in the period of a unit alone, of a
    /// streak one at a time: other terms may find many more in what has counted already.
    fn due(&self, challenge: &Challenge, unit: i64) -> Vec<((i64, i64), i64)> {
        match &challenge.shape {
            Shape::Ladder { steps, .. } => {
                let period = challenge.period_of(unit);
                let progress = challenge.progress(&self.marks, period);
                let is_given = |step: &Step| self.given.iter().any(|given| (given.period, given.step) == (period, step.at));
                let due = steps.iter().filter(|step| step.at <= progress && !is_given(step));
                due.map(|step| ((period, step.at), 0)).collect()
            }
            Shape::Streak(streak) => {
                let times = i64::try_from(self.given.len()).unwrap_or(i64::MAX);
                let is_due = challenge.complete(&self.marks, self.kept) > times;
                if is_due { vec![((0, streak.length), self.kept.saturating_add(times))] } else { Vec::new() }
            }
        }
    }

    /// What was given and is reached no more after a change, the newest first.
    fn undue(&self, challenge: &Challenge, change: &Mark) -> Vec<&Given> {
        let takeable = self.given.iter().rev().filter(|given| !given.stays);
        let mut before = vec![self.clone()];
        let undone = Mark { times: -change.times, amount: -change.amount, ..*change };
        TallyChange { marks: vec![undone], ..TallyChange::new(&self.of, None) }.add_to(&mut before);
        let before = before.first().map_or(&[][..], |tally| &tally.marks);
        match &challenge.shape {
            Shape::Ladder { .. } => {
                let period = challenge.period_of(change.unit);
                let (was, is) = (challenge.progress(before, period), challenge.progress(&self.marks, period));
                takeable.filter(|given| given.period == period && is < given.step && given.step <= was).collect()
            }
            Shape::Streak(_) => {
                let (was, is) = (challenge.complete(before, self.kept), challenge.complete(&self.marks, self.kept));
                let beyond = usize::try_from(is).map_or(0, |is| self.given.len().saturating_sub(is));
                takeable.take(if is < was { beyond } else { 0 }).collect()
            }
        }
    }

    /// The same, the other way round: all of it goes.
    pub(super) fn gone(&self) -> TallyChange {
        let marks = self.marks.iter().map(|mark| Mark { times: -mark.times, amount: -mark.amount, ..*mark });
        TallyChange {
            of: self.of.clone(),
            marks: marks.collect(),
            given: Vec::new(),
            dropped: self.given.iter().map(|given| given.id).collect(),
            kept: -self.kept,
            until: self.until,
        }
    }

    /// All of it, as it comes from one account to another.
    pub(super) fn moved(&self, from: AccountId, to: AccountId) -> TallyChange {
        let Tally { of, marks, given, kept, until } = self.clone();
        let moved = |given: Given| Given { lot: given.lot.map(|lot| lot.moved(from, to)), ..given };
        TallyChange { of, marks, given: given.into_iter().map(moved).collect(), dropped: Vec::new(), kept, until }
    }
}

impl TallyChange {
    fn new(of: &Arc<str>, until: Option<Timestamp>) -> TallyChange {
        TallyChange { of: of.clone(), marks: Vec::new(), given: Vec::new(), dropped: Vec::new(), kept: 0, until }
    }

    /// Takes the change into a list of tallies.
    pub(super) fn add_to(&self, tallies: &mut Vec<Tally>) {
        let index = tallies.iter().position(|tally| tally.of == self.of).unwrap_or_else(|| {
            tallies.push(Tally { until: self.until, ..Tally::new(&self.of) });
            tallies.len() - 1
        });
        tallies[index].evolve(self);
        if tallies[index].is_empty() {
            tallies.remove(index);
        }
    }
}

impl Account {
    /// Purchases of the member himself, without those of who was merged into him.
    pub(super) fn own_purchases(&self) -> i64 {
        self.purchases - self.merged.iter().map(|merged| merged.purchases).sum::<i64>()
    }

    /// What counts for a challenge.
    pub fn tally(&self, of: &str) -> Option<&Tally> {
        self.tallies.iter().find(|tally| *tally.of == *of)
    }

    /// Takes what an entry changes into the fold.
    pub(super) fn evolve_tallies(&mut self, changes: &[TallyChange], recorded_at: Timestamp) {
        changes.iter().for_each(|change| change.add_to(&mut self.tallies));
        self.tallies.retain(|tally| tally.until.is_none_or(|until| until > recorded_at));
    }

    /// What is folded away is so too in what is known of each who was merged into this.
    pub(super) fn fold_merged(&mut self, changes: &[TallyChange]) {
        let (tallies, merged) = (&self.tallies, &mut self.merged);
        for known in merged.iter_mut().filter(|_| !changes.is_empty()).flat_map(|merged| &mut merged.tallies) {
            let here = tallies.iter().find(|tally| tally.of == known.of);
            known.marks.retain(|mark| here.is_some_and(|here| here.has(mark.unit)));
            let folded = changes.iter().filter(|change| change.of == known.of && change.kept > 0).flat_map(|change| &change.dropped);
            let own = folded.filter(|id| known.given.iter().any(|given| given.id == **id)).count();
            known.kept = known.kept.saturating_add(i64::try_from(own).unwrap_or(0));
            known.given.retain(|given| here.is_some_and(|here| here.given.iter().any(|other| other.id == given.id)));
        }
    }
}

/// What has happened that counts for a challenge.
pub(super) struct Event<'a> {
    challenge: &'a Challenge,
    change: Mark,
    at: Timestamp,
}

impl Ledger<'_> {
    /// Whether a challenge counts the purchases of an account one by one: those of two accounts make no sense together.
    pub(super) fn counts_purchases(&self, tally: &Tally) -> bool {
        self.versions.at(self.stamp.now).challenge(&tally.of).is_some_and(Challenge::counts_own_purchases)
    }

    /// What a purchase counts for.
    pub(super) fn tallied(&self, version: &Version, basket: &Basket<'_>, buyer: &Buyer<'_>) -> Vec<Tallied> {
        let occasion = Occasion::new(basket, buyer, &version.zone);
        let counts = |challenge: &&Challenge| challenge.counts_purchase(&occasion).is_some();
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
        let at = self.stamp.occurred_at;
        let counts = |challenge: &&Challenge| matches!(&challenge.counts, Counts::Activity(name) if name == activity);
        let running = version.terms.challenges.iter().filter(counts).filter(|challenge| challenge.is_running(at));
        let events = running.filter(|challenge| self.is_in_time(challenge, version)).map(|challenge| {
            let unit = challenge.unit(at, self.account.own_purchases(), &version.zone);
            Event { challenge, change: Mark { unit, times: 1, amount: 0 }, at }
        });
        let events = events.collect();
        self.note(version, events)
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

    fn note<'a>(&mut self, version: &'a Version, events: Vec<Event<'a>>) -> Vec<Event<'a>> {
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
                    dropped = tally.given.iter().take(complete.len()).collect();
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
            for (key, index) in tally.due(challenge, change.unit) {
                reached.extend(self.give(challenge, version, key, index, reference)?);
            }
        } else {
            for given in tally.undue(challenge, change) {
                lost.push(given.gift.clone());
                self.take_gift(challenge, version, given);
            }
        }
        let end_at = challenge.period_end(*at, &version.zone);
        Ok(Progress { reached, lost, end_at, ..self.account.progress(challenge, change.unit) })
    }

    fn give(
        &mut self,
        challenge: &Challenge,
        version: &Version,
        key: (i64, i64),
        index: i64,
        reference: &Arc<str>,
    ) -> Result<Option<Gift>, Refusal> {
        let Some(gift) = challenge.gift(key.1).cloned() else { return Ok(None) };
        let id = given_id(self.id, &challenge.key, key, index);
        let Stamp { occurred_at, now, operation, .. } = *self.stamp;
        let lot = matches!(gift, Gift::Points(_)).then(|| self.named(version.lot_for(occurred_at, now, operation, reference)));
        let (lots, at) = (lot.clone(), self.recorded_at());
        let given = Given { id, period: key.0, step: key.1, gift: gift.clone(), lot: lots, at, stays: false };
        let change = TallyChange { given: vec![given], ..TallyChange::new(&challenge.key, self.tally_until(challenge)) };
        self.tallies = vec![change];
        let source = source(challenge, id, key, &gift);
        match (&gift, lot) {
            (Gift::Points(points), Some(lot)) => self.credit(EntryKind::Reward, MAIN_WALLET, &lot, *points, source, version)?,
            _ => self.post(Posting { program_version: version.number, ..self.posting(EntryKind::Reward, MAIN_WALLET, source) }),
        }
        Ok(Some(gift))
    }

    /// Takes back what was given.
    fn take_gift(&mut self, challenge: &Challenge, version: &Version, given: &Given) {
        let Given { id, period, step, ref gift, ref lot, at, .. } = *given;
        let until = self.tally_until(challenge);
        // What the terms leave with the member stays given.
        let stays = vec![Given { stays: true, ..given.clone() }];
        self.tallies = vec![TallyChange { dropped: vec![id], given: stays, ..TallyChange::new(&challenge.key, until) }];
        let source = source(challenge, id, (period, step), gift);
        match gift {
            Gift::Points(points) => {
                let policy = (version.terms.return_policy, version.deficit_cap(self.facts, self.stamp.now));
                let has_opened = |lot: &LotKey| lot.opens_at().is_some_and(|at| at <= self.stamp.now);
                let lot = lot.clone().map(|lot| if has_opened(&lot) { lot.opened() } else { lot });
                self.claw_back(EntryKind::RewardRevoked, *points, (lot, at), policy, source, version.number);
            }
            Gift::Reward(_) => {
                self.tallies.iter_mut().for_each(|change| change.given.clear());
                let posting = self.posting(EntryKind::RewardRevoked, MAIN_WALLET, source);
                self.post(Posting { program_version: version.number, ..posting });
            }
        }
    }

    fn tally_until(&self, challenge: &Challenge) -> Option<Timestamp> {
        self.account.tally(&challenge.key).and_then(|tally| tally.until)
    }
}

impl Account {
    /// How far the member has come with a challenge at a moment.
    pub fn challenge_progress(&self, challenge: &Challenge, version: &Version, at: Timestamp) -> Progress {
        let unit = challenge.unit(at, self.own_purchases() + 1, &version.zone);
        Progress { end_at: challenge.period_end(at, &version.zone), ..self.progress(challenge, unit) }
    }

    /// The same in the period of a unit, or with the streak that can go on with it.
    fn progress(&self, challenge: &Challenge, unit: i64) -> Progress {
        let nothing = Tally::new(&challenge.key);
        let tally = self.tally(&challenge.key).unwrap_or(&nothing);
        let (progress, next, freezes_left) = match &challenge.shape {
            Shape::Ladder { steps, .. } => {
                let progress = challenge.progress(&tally.marks, challenge.period_of(unit));
                (progress, steps.iter().find(|step| step.at > progress).cloned(), 0)
            }
            Shape::Streak(streak) => {
                let open = streak.open(&tally.marks);
                let count = i64::try_from(open.len()).unwrap_or(i64::MAX);
                let goes_on = open.last().is_some_and(|last| *last >= unit) || streak.holds(&open, unit);
                let (progress, missed) = match (open.first(), open.last()) {
                    (Some(first), Some(last)) if goes_on => (count, unit.max(last + 1) - first - count),
                    _ => (0, 0),
                };
                let is_over = streak
                    .times_max
                    .is_some_and(|max| max <= tally.kept.saturating_add(i64::try_from(tally.given.len()).unwrap_or(i64::MAX)));
                let next = Step { at: streak.length, gives: streak.gives.clone() };
                (progress, (!is_over).then_some(next), (streak.freezes - missed).max(0))
            }
        };
        let (id, title) = (challenge.id.clone(), challenge.title.clone());
        Progress { id, title, progress, next, reached: Vec::new(), lost: Vec::new(), end_at: None, freezes_left }
    }
}

impl Challenge {
    /// How many streaks are complete in what counts, as far as they may be given.
    fn complete(&self, marks: &[Mark], kept: i64) -> i64 {
        let Shape::Streak(streak) = &self.shape else { return 0 };
        let complete = i64::try_from(streak.complete(marks).count()).unwrap_or(i64::MAX);
        streak.times_max.map_or(complete, |max| complete.min(max.saturating_sub(kept).max(0)))
    }

    /// Whether it counts the member's purchases one by one.
    fn counts_own_purchases(&self) -> bool {
        matches!(&self.shape, Shape::Streak(streak) if streak.cadence == Cadence::Purchase)
    }

    /// Until when what is counted at a moment matters; `None` for ever.
    fn matters_until(&self, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let counted = |days: i64| std::time::Duration::from_secs(86_400 * u64::try_from(days + COUNTED_DAYS + 1).unwrap_or(0));
        match &self.shape {
            Shape::Ladder { .. } => Some(self.period_end(now, zone)? + counted(0)),
            // How often it was given must be known for ever where that is bounded, or a voucher goes by it.
            Shape::Streak(Streak { times_max: Some(_), .. } | Streak { gives: Gift::Reward(_), .. }) => None,
            Shape::Streak(Streak { cadence: Cadence::Purchase, .. }) => None,
            Shape::Streak(streak) => {
                let days = match streak.cadence {
                    Cadence::Week => 7,
                    Cadence::Month => 31,
                    Cadence::Day | Cadence::Purchase => 1,
                };
                Some(now + counted((streak.freezes_in_row + 2) * days))
            }
        }
    }
}

impl Version {
    /// A challenge by what its tally goes by.
    fn challenge(&self, key: &str) -> Option<&Challenge> {
        self.terms.challenges.iter().find(|challenge| *challenge.key == *key)
    }
}

/// The most points that events can give, so that what cannot be counted is refused before anything is posted.
pub(super) fn gifts_max(events: &[Event<'_>]) -> i64 {
    let points = |gift: &Gift| if let Gift::Points(points) = gift { *points } else { 0 };
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

/// The id of something given: the same when it was taken back and is given again, so that a voucher which was used meanwhile is not issued
/// twice.
fn given_id(account: AccountId, challenge: &str, (period, step): (i64, i64), index: i64) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("regulars points challenge v1");
    hasher.update(account.0.as_bytes());
    for number in [period, step, index] {
        hasher.update(&number.to_be_bytes());
    }
    hasher.update(challenge.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    Uuid::new_v8(id)
}
