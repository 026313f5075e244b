use super::*;

/// A ledger as one would write it on paper: every credit is kept apart, nothing is cached, everything is searched.
#[derive(Default, Debug)]
pub(super) struct Model {
    credits: Vec<Credit>,
    deficit: i64,
    holds: Vec<Hold>,
}

#[derive(Debug, Clone)]
struct Credit {
    key: LotKey,
    points: i64,
    held: i64,
}

#[derive(Debug)]
struct Hold {
    id: Uuid,
    until: Timestamp,
    parts: Vec<(LotKey, i64)>,
}

impl Model {
    pub(super) fn balances(&self) -> (i64, i64, i64, i64) {
        let sum = |pending: bool| -> i64 { self.credits.iter().filter(|c| c.key.is_open() != pending).map(|c| c.points - c.held).sum() };
        (sum(false), sum(true), self.credits.iter().map(|c| c.held).sum(), self.deficit)
    }

    pub(super) fn settle(&mut self, now: Timestamp) {
        loop {
            let due = self
                .credits
                .iter()
                .filter(|c| c.points > 0 && c.key.opens_at().is_some_and(|at| at <= now))
                .map(|c| c.key.opens_at())
                .min();
            let Some(due) = due else { break };
            for credit in self.credits.iter_mut().filter(|c| c.key.opens_at() == due) {
                let repaid = credit.points.min(self.deficit);
                self.deficit -= repaid;
                credit.points -= repaid;
                credit.key.opening = Opening::Open;
            }
        }
        while let Some(index) = self.holds.iter().position(|hold| hold.until <= now) {
            let hold = self.holds.remove(index);
            self.unhold(&hold.parts);
            self.repay(&hold.parts, hold.until);
        }
        self.credits.retain(|c| c.held > 0 || !c.key.is_open() || lives(&c.key, now));
        for credit in &mut self.credits {
            if credit.key.is_open() && !lives(&credit.key, now) {
                credit.points = credit.held;
            }
        }
    }

    pub(super) fn credit(&mut self, key: LotKey, points: i64) {
        let repaid = if key.is_open() { points.min(self.deficit) } else { 0 };
        self.deficit -= repaid;
        self.credits.push(Credit { key, points: points - repaid, held: 0 });
    }

    /// Takes one point after the other from the credit that lapses first.
    pub(super) fn redeem(&mut self, points: i64) -> bool {
        if points > self.balances().0 {
            return false;
        }
        for _ in 0..points {
            self.first(|c| c.key.is_open()).unwrap().points -= 1;
        }
        true
    }

    pub(super) fn hold(&mut self, id: Uuid, points: i64, until: Timestamp) -> bool {
        if points > self.balances().0 {
            return false;
        }
        let mut parts = Vec::new();
        for _ in 0..points {
            let credit = self.first(|c| c.key.is_open()).unwrap();
            credit.held += 1;
            parts.push((credit.key.clone(), 1));
        }
        self.holds.push(Hold { id, until, parts });
        true
    }

    pub(super) fn end_hold(&mut self, id: Uuid, spent: i64, now: Timestamp) -> bool {
        let Some(index) = self.holds.iter().position(|hold| hold.id == id) else { return false };
        let hold = self.holds.remove(index);
        self.unhold(&hold.parts);
        let (spent, freed) = hold.parts.split_at(usize::try_from(spent).unwrap());
        for (key, _) in spent {
            self.credits.iter_mut().find(|c| c.key == *key && c.points > c.held).unwrap().points -= 1;
        }
        self.repay(freed, now);
        true
    }

    /// What comes free alive repays what is owed.
    fn repay(&mut self, freed: &[(LotKey, i64)], now: Timestamp) {
        for (key, _) in freed.iter().filter(|(key, _)| lives(key, now)) {
            if self.deficit > 0 {
                self.credits.iter_mut().find(|c| c.key == *key && c.points > c.held).unwrap().points -= 1;
                self.deficit -= 1;
            }
        }
    }

    pub(super) fn take_back(&mut self, own: Option<LotKey>, points: i64) {
        for _ in 0..points {
            let is_own = |c: &Credit| own.as_ref() == Some(&c.key);
            if self.first(is_own).is_some() {
                self.first(is_own).unwrap().points -= 1;
            } else if self.first(|c| c.key.is_open()).is_some() {
                self.first(|c| c.key.is_open()).unwrap().points -= 1;
            } else if let Some(pending) = self.first(|c| !c.key.is_open()) {
                pending.points -= 1;
            } else {
                self.deficit += 1;
            }
        }
    }

    fn first(&mut self, admits: impl Fn(&Credit) -> bool) -> Option<&mut Credit> {
        self.credits.iter_mut().filter(|c| c.points > c.held && admits(c)).min_by(|a, b| a.key.cmp(&b.key))
    }

    fn unhold(&mut self, parts: &[(LotKey, i64)]) {
        for (key, points) in parts {
            for _ in 0..*points {
                self.credits.iter_mut().find(|c| c.key == *key && c.held > 0).unwrap().held -= 1;
            }
        }
    }
}

fn lives(key: &LotKey, now: Timestamp) -> bool {
    !matches!(key.expiry, Expiry::At(at) if at <= now)
}
