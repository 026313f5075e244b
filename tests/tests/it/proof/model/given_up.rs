//! What returns gave up, and took after all.

use proto::points::EntryKind;

use super::account::{About, Account, Change, Merged, Stamp};
use super::lots::Owner;
use super::rules::{Rules, version_at};

/// Points that a return gave up, since they had been spent in one of the accounts that were one by then.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    pub(super) at: i64,
    /// Those accounts, first that in which they had been earned.
    pub(super) of: Vec<Owner>,
    pub(super) points: i64,
}

impl GivenUp {
    fn is_like(&self, other: &GivenUp) -> bool {
        (self.at, &self.of) == (other.at, &other.of)
    }

    /// The first of them that make up so many points, as changes.
    pub(super) fn take<'a>(these: impl Iterator<Item = &'a GivenUp>, mut points: i64) -> Vec<GivenUp> {
        let mut taken = Vec::new();
        for known in these {
            let part = points.min(known.points);
            points -= part;
            if part > 0 {
                taken.push(GivenUp { points: -part, ..known.clone() });
            }
        }
        taken
    }
}

/// At so many moments points given up are kept apart.
const GIVEN_UP_MAX: usize = 48;

impl Account {
    pub(super) fn change_given_up(&mut self, changes: Vec<GivenUp>) {
        for change in changes {
            match self.given_up.iter_mut().find(|known| known.is_like(&change)) {
                Some(known) => known.points += change.points,
                None => self.given_up.push(change),
            }
        }
        self.given_up.retain(|known| known.points > 0);
        // A list with an end: the oldest counts with the next of the same accounts.
        while self.given_up.len() > GIVEN_UP_MAX {
            let next = |index: usize| (index + 1..self.given_up.len()).find(|next| self.given_up[*next].of == self.given_up[index].of);
            let Some((oldest, next)) = (0..self.given_up.len()).find_map(|index| Some((index, next(index)?))) else { return };
            self.given_up[next].points += self.given_up[oldest].points;
            self.given_up.remove(oldest);
        }
    }

    /// The accounts that are one here, first that in whose books something was earned.
    pub(super) fn one_with(&self, stamp: &Stamp, earned: i64) -> Vec<Owner> {
        let named = self.merged.iter().find(|merged| merged.has(&stamp.presented)).and_then(|merged| merged.earned_in(stamp, earned));
        let others = self.merged.iter().flat_map(|merged| &merged.members).map(|known| &known.owner);
        let mut all: Vec<Owner> = std::iter::once(&self.owner).chain(others).cloned().collect();
        if let Some(named) = named {
            all.retain(|owner| *owner != named);
            all.insert(0, named);
        }
        all
    }

    /// Of what has come back from a pool, told by when it was brought, what was given up since is taken after all, as far as it has not
    /// repaid what was owed.
    pub(super) fn take_after_all(&mut self, stamp: &Stamp, rules: &[Rules], by: &Owner, returned: Vec<(i64, i64)>) {
        let arrived: i64 = self.entries.last().map_or(0, |entry| entry.lots.iter().map(|lot| lot.points_delta).sum());
        let (mut left, mut open, mut given_up) = (arrived.min(self.active()), self.given_up.clone(), Vec::new());
        for (brought, points) in returned {
            // Point by point, each against the first that it can be.
            for _ in 0..points.min(left) {
                let Some(known) = open.iter_mut().find(|known| known.points > 0 && known.at > brought && known.of.contains(by)) else {
                    break;
                };
                (known.points, left) = (known.points - 1, left - 1);
                given_up.push(GivenUp { points: -1, ..known.clone() });
            }
        }
        let taken: i64 = -given_up.iter().map(|known| known.points).sum::<i64>();
        if taken > 0 {
            let lots = self.take(taken).into_iter().map(|(key, part)| (key, -part, 0));
            let about = About { terms: version_at(rules, stamp.now).number, ..About::default() };
            self.post(stamp, EntryKind::Clawback, &about, Change { given_up, ..Change::of_lots(lots) });
        }
    }
}

impl Merged {
    /// In whose books the named member earned something then; `None` when it was in those of who has them all now.
    fn earned_in(&self, stamp: &Stamp, earned: i64) -> Option<Owner> {
        let mut known = self.members.iter().find(|known| *known.owner.member == *stamp.presented)?;
        while let Some((into, _)) = known.came.as_ref().filter(|(_, at)| *at < earned) {
            known = self.members.iter().find(|outer| outer.owner == *into)?;
        }
        (known.came.is_some() || earned <= self.at).then(|| known.owner.clone())
    }
}
