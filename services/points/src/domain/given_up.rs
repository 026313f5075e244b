//! Points that returns should have taken back and did not, because they had been spent. When what was spent before comes back, they are
//! taken after all: else buying, spending, returning the goods and then what the points had bought would gain them.

use kernel::Timestamp;

use super::{AccountId, Wallet};

/// Points given up at so many times are kept apart in a wallet.
pub(super) const GIVEN_UP_MAX: usize = 48;

/// Points that were given up at once. What was spent before, in one of the accounts that were one by then, had spent them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// When, as it was recorded.
    pub at: Timestamp,
    /// The accounts that were one then, first that in which they were earned; empty when there was only this one.
    pub of: Vec<AccountId>,
    /// How many.
    pub points: i64,
}

impl GivenUp {
    /// Whether both were given up at once.
    pub(super) fn is_like(&self, other: &GivenUp) -> bool {
        self.at == other.at && self.of == other.of
    }

    /// Whether they were given up in the books of `home` because of what had been spent in an account.
    pub fn is_of(&self, account: AccountId, home: AccountId) -> bool {
        if self.of.is_empty() { account == home } else { self.of.contains(&account) }
    }

    /// The same in the books of another account that takes `from` in.
    pub fn moved(&self, from: AccountId) -> GivenUp {
        GivenUp { of: if self.of.is_empty() { vec![from] } else { self.of.clone() }, ..self.clone() }
    }

    /// The same back in the books of an account that is let go.
    pub fn back_in(&self, home: AccountId) -> GivenUp {
        GivenUp { of: if self.of == [home] { Vec::new() } else { self.of.clone() }, ..self.clone() }
    }

    /// All of it gone.
    pub fn gone(&self) -> GivenUp {
        GivenUp { points: -self.points, ..self.clone() }
    }

    /// Takes so many points of these after all, oldest first; answers what that changes.
    pub fn take<'a>(given_up: impl Iterator<Item = &'a GivenUp>, points: i64) -> Vec<GivenUp> {
        let mut left = points;
        let mut taken = Vec::new();
        for known in given_up {
            let part = left.min(known.points);
            left -= part;
            if part > 0 {
                taken.push(GivenUp { points: -part, ..known.clone() });
            }
        }
        taken
    }

    /// How many points these are.
    pub fn sum<'a>(given_up: impl Iterator<Item = &'a GivenUp>) -> i64 {
        given_up.fold(0, |sum, known| sum.saturating_add(known.points))
    }
}

impl Wallet {
    /// Takes a change of what was given up into the fold.
    pub(super) fn change_given_up(&mut self, change: &GivenUp) {
        match self.given_up.iter_mut().find(|known| known.is_like(change)) {
            Some(known) => known.points += change.points,
            None => self.given_up.push(change.clone()),
        }
        assert!(self.given_up.iter().all(|known| known.points >= 0), "no more is taken after all than was given up");
        self.given_up.retain(|known| known.points > 0);
        while self.given_up.len() > GIVEN_UP_MAX && self.fold_given_up() {}
    }

    /// Counts the oldest that can be with the next of the same accounts: what was spent between the two, too, may then be what is
    /// taken after all, and together it is no more than before.
    fn fold_given_up(&mut self) -> bool {
        let next = |index: usize| (index + 1..self.given_up.len()).find(|next| self.given_up[*next].of == self.given_up[index].of);
        let Some((oldest, next)) = (0..self.given_up.len()).find_map(|index| Some((index, next(index)?))) else { return false };
        let points = self.given_up[oldest].points;
        self.given_up[next].points = self.given_up[next].points.saturating_add(points);
        self.given_up.remove(oldest);
        true
    }
}
