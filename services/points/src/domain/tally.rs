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
    /// Points of it that were to be taken back and stay with the member by the terms: they are neither given nor taken again.
    pub stays: i64,
    /// It was taken back, and is listed because it is this one, or what of it does not stay, that is given again.
    pub lost: bool,
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
    /// What is no longer listed, or as it is given anew.
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
        self.given.retain(|known| !change.dropped.contains(&known.id) || change.given.iter().any(|given| given.id == known.id));
        for given in &change.given {
            // Where it was, so that what came first comes first again.
            match self.given.iter_mut().find(|known| known.id == given.id) {
                Some(known) => *known = given.clone(),
                None => self.given.push(given.clone()),
            }
        }
        self.kept = self.kept.saturating_add(change.kept).max(0);
        self.until = self.until.zip(change.until).map(|(known, told)| known.max(told));
    }

    /// Whether it counts the purchases of an account one by one: those of two accounts make no sense together.
    pub(super) fn counts_purchases(&self) -> bool {
        self.of.split('/').nth(1) == Some(UNIT_OF_PURCHASES)
    }

    /// Whether something counts in a unit.
    pub(super) fn has(&self, unit: i64) -> bool {
        self.marks.iter().any(|mark| mark.unit == unit)
    }

    /// What was given and not taken back, oldest first.
    pub(super) fn held(&self) -> impl DoubleEndedIterator<Item = &Given> {
        self.given.iter().filter(|given| !given.lost)
    }

    /// How often something was given and not taken back.
    fn times_given(&self) -> i64 {
        self.kept.saturating_add(count(self.held()))
    }

    /// The first that was taken back of what is given now for the same.
    pub(super) fn lost(&self, (period, step): (i64, i64), gift: &Gift) -> Option<&Given> {
        self.given.iter().find(|given| given.lost && (given.period, given.step) == (period, step) && given.gift.is_like(gift))
    }

    /// What a change has reached and was not given, by period and step. Of a ladder in the period of the change alone, of a streak what it
    /// has completed: other terms, or a merge, may find many more in what has counted already. `elsewhere` is how often a streak of another
    /// length was given.
    pub(super) fn due(&self, challenge: &Challenge, change: &Mark, elsewhere: i64) -> Vec<(i64, i64)> {
        match &challenge.shape {
            Shape::Ladder { steps, .. } => {
                let period = challenge.period_of(change.unit);
                let progress = challenge.progress(&self.marks, period);
                let is_given = |step: &Step| self.held().any(|given| (given.period, given.step) == (period, step.at));
                let due = steps.iter().filter(|step| step.at <= progress && !is_given(step));
                due.map(|step| (period, step.at)).collect()
            }
            Shape::Streak(streak) => {
                let (was, is) = (count(streak.complete(&self.before(change))), count(streak.complete(&self.marks)));
                if is > was && streak.may_be_given(self.times_given() + elsewhere) { vec![(0, streak.length)] } else { Vec::new() }
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
                self.held().rev().filter(|given| given.period == period && is < given.step && given.step <= was).collect()
            }
            Shape::Streak(streak) => {
                let (was, is) = (streak.complete(&before).count(), streak.complete(&self.marks).count());
                let beyond = self.held().count().saturating_sub(is);
                self.held().rev().take(beyond.min(was.saturating_sub(is))).collect()
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
    /// How often a streak was given when it was of another length.
    pub(super) fn given_elsewhere(&self, challenge: &Challenge) -> i64 {
        let is_other = |tally: &&Tally| tally.of != challenge.key && Challenge::unit_of(&tally.of) == Challenge::unit_of(&challenge.key);
        self.tallies.iter().filter(is_other).map(Tally::times_given).sum()
    }

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
                let count = count(open.iter());
                let goes_on = open.last().is_some_and(|last| *last >= unit) || streak.holds(&open, unit);
                let (progress, missed) = match (open.first(), open.last()) {
                    (Some(first), Some(last)) if goes_on => (count, unit.max(last + 1) - first - count),
                    _ => (0, 0),
                };
                let may_be_given = streak.may_be_given(tally.times_given() + self.given_elsewhere(challenge));
                let next = Step { at: streak.length, gives: streak.gives.clone() };
                (progress, may_be_given.then_some(next), (streak.freezes - missed).max(0))
            }
        };
        let (id, title) = (challenge.id.clone(), challenge.title.clone());
        Progress { id, title, progress, next, reached: Vec::new(), lost: Vec::new(), end_at: None, freezes_left }
    }
}

impl Challenge {
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

fn count(some: impl Iterator) -> i64 {
    i64::try_from(some.count()).unwrap_or(i64::MAX)
}

impl Version {
    /// A challenge by what its tally goes by.
    pub(super) fn challenge(&self, key: &str) -> Option<&Challenge> {
        self.terms.challenges.iter().find(|challenge| *challenge.key == *key)
    }
}
