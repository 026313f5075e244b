//! What counts for a member's challenges, and what he has been given for it.

use std::sync::Arc;

use kernel::{Timestamp, Uuid, Zone};

use super::challenge::{COUNTED_DAYS, Cadence, UNIT_OF_PURCHASES};
use super::{Account, AccountId, Challenge, Gift, LotKey, Progress, Shape, Step, Streak, Version};

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
    pub(super) fn new(of: &Arc<str>) -> Tally {
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

    /// Whether it counts the purchases of an account one by one: those of two accounts make no sense together.
    pub(super) fn counts_purchases(&self) -> bool {
        self.of.rsplit('/').next() == Some(UNIT_OF_PURCHASES)
    }

    /// Whether something counts in a unit.
    pub(super) fn has(&self, unit: i64) -> bool {
        self.marks.iter().any(|mark| mark.unit == unit)
    }

    /// What a change has reached and was not given, by period and step, with the first number that its gift may have. Of a ladder in the
    /// period of the change alone, of a streak what it has completed: other terms may find many more in what has counted already.
    pub(super) fn due(&self, challenge: &Challenge, change: &Mark) -> Vec<((i64, i64), i64)> {
        match &challenge.shape {
            Shape::Ladder { steps, .. } => {
                let period = challenge.period_of(change.unit);
                let progress = challenge.progress(&self.marks, period);
                let is_given = |step: &Step| self.given.iter().any(|given| (given.period, given.step) == (period, step.at));
                let due = steps.iter().filter(|step| step.at <= progress && !is_given(step));
                due.map(|step| ((period, step.at), 0)).collect()
            }
            Shape::Streak(streak) => {
                let times = i64::try_from(self.given.len()).unwrap_or(i64::MAX);
                let (was, is) = (challenge.complete(&self.before(change), self.kept), challenge.complete(&self.marks, self.kept));
                if is > times.max(was) { vec![((0, streak.length), self.kept)] } else { Vec::new() }
            }
        }
    }

    /// What counted before a change.
    fn before(&self, change: &Mark) -> Vec<Mark> {
        let mut before = self.clone();
        let undone = Mark { times: -change.times, amount: -change.amount, ..*change };
        before.evolve(&TallyChange { marks: vec![undone], ..TallyChange::new(&self.of, None) });
        before.marks
    }

    /// What was given and is reached no more after a change, the newest first.
    pub(super) fn undue(&self, challenge: &Challenge, change: &Mark) -> Vec<&Given> {
        let before = self.before(change);
        match &challenge.shape {
            Shape::Ladder { .. } => {
                let period = challenge.period_of(change.unit);
                let (was, is) = (challenge.progress(&before, period), challenge.progress(&self.marks, period));
                self.given
                    .iter()
                    .rev()
                    .filter(|given| !given.stays && given.period == period && is < given.step && given.step <= was)
                    .collect()
            }
            Shape::Streak(_) => {
                let (was, is) = (challenge.complete(&before, self.kept), challenge.complete(&self.marks, self.kept));
                let count = |number: i64| usize::try_from(number).unwrap_or(0);
                let beyond = self.given.iter().skip(count(is)).rev().filter(|given| !given.stays);
                beyond.take(count(was - is)).collect()
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
    pub(super) fn new(of: &Arc<str>, until: Option<Timestamp>) -> TallyChange {
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
            let same = |given: &Given| here?.given.iter().find(|other| other.id == given.id).cloned();
            known.given = known.given.iter().filter_map(same).collect();
        }
    }
}

impl Account {
    /// How far the member has come with a challenge at a moment.
    pub fn challenge_progress(&self, challenge: &Challenge, version: &Version, at: Timestamp) -> Progress {
        let unit = challenge.unit(at, self.own_purchases() + 1, &version.zone);
        Progress { end_at: challenge.period_end(at, &version.zone), ..self.progress(challenge, unit) }
    }

    /// The same in the period of a unit, or with the streak that can go on with it.
    pub(super) fn progress(&self, challenge: &Challenge, unit: i64) -> Progress {
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
    pub(super) fn complete(&self, marks: &[Mark], kept: i64) -> i64 {
        let Shape::Streak(streak) = &self.shape else { return 0 };
        let complete = i64::try_from(streak.complete(marks).count()).unwrap_or(i64::MAX);
        streak.times_max.map_or(complete, |max| complete.min(max.saturating_sub(kept).max(0)))
    }

    /// Whether it counts the member's purchases one by one.
    pub(super) fn counts_own_purchases(&self) -> bool {
        matches!(&self.shape, Shape::Streak(streak) if streak.cadence == Cadence::Purchase)
    }

    /// Until when what is counted at a moment matters; `None` for ever.
    pub(super) fn matters_until(&self, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
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
    pub(super) fn challenge(&self, key: &str) -> Option<&Challenge> {
        self.terms.challenges.iter().find(|challenge| *challenge.key == *key)
    }
}
