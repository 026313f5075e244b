//! What goes back, what is corrected, and what passes between two.

use super::*;

impl Model {
    /// Gives back points of a redemption, the last taken first.
    pub(in super::super) fn refund(&mut self, me: usize, id: Uuid, points: i64, now: Timestamp) -> bool {
        let Some(spent) = self.spent.get_mut(&id) else { return false };
        if points == 0 || points > count(&spent.points) {
            return false;
        }
        let mut back = spent.points.split_off(spent.points.len() - usize::try_from(points).unwrap());
        back.reverse();
        let (step, at, same, spender) = (spent.step, spent.at, spent.book == me, spent.book);
        let lapsed_at = self.books[me].lapsed_at.filter(|lapsed_at| same && at < *lapsed_at);
        for point in back.iter_mut().filter(|point| point.expiry == Expiry::Sliding) {
            point.expiry = lapsed_at.map_or(Expiry::Sliding, Expiry::At);
        }
        let since = |given_up: &&mut (u32, i64, Vec<usize>)| given_up.0 > step && given_up.2.contains(&spender);
        let mut given_up = std::mem::take(&mut self.books[me].given_up);
        let all: i64 = given_up.iter_mut().filter(since).map(|(_, points, _)| *points).sum();
        let mut missing = all;
        self.come_back(me, back, now, &mut missing);
        let mut taken = all - missing;
        for (_, points, _) in given_up.iter_mut().filter(since) {
            let part = taken.min(*points);
            (taken, *points) = (taken - part, *points - part);
        }
        self.books[me].given_up = given_up;
        true
    }

    /// Takes points of a credit of some step of the story back, its own first.
    pub(in super::super) fn take_back(&mut self, me: usize, owner: usize, lot: Option<&LotKey>, points: i64, earned: Option<usize>) -> i64 {
        let policy = self.terms.return_policy;
        let mut missing = 0;
        let mut one = self.group(me);
        let merging = self.books[me].merged.iter().find(|merging| self.group(merging.other).contains(&owner));
        if merging.is_some_and(|merging| earned < Some(merging.at)) {
            one.retain(|member| *member != owner);
            one.insert(0, owner);
        }
        let book = &mut self.books[me];
        for _ in 0..points {
            let is_open = |point: &Point| point.opening == Opening::Open;
            let is_own = |point: &Point| {
                lot.is_some_and(|lot| {
                    let same = point.owner == owner && point.month == lot.earn_month && point.opening == lot.opening;
                    same && (!is_open(point) || point.expiry == lot.expiry)
                })
            };
            let any = policy != ReturnPolicy::OnlyPending;
            let index = book.first(me, |point| is_own(point) && (any || !is_open(point)));
            let index = index.or_else(|| book.first(me, |point| any && is_open(point)));
            match index.or_else(|| book.first(me, |point| any && !is_open(point))) {
                Some(index) => drop(book.points.remove(index)),
                None => missing += 1,
            }
        }
        let held = count(book.points.iter().filter(|point| point.hold.is_some()));
        let bound = match (policy, self.terms.deficit_cap) {
            (ReturnPolicy::OnlyPending, _) => 0,
            // Who had taken the book in may have spent them, and does not know of this.
            _ if book.let_go_at.is_some_and(|at| earned < Some(at)) => i64::MAX,
            (ReturnPolicy::WithinBalance, _) => held,
            (ReturnPolicy::Unlimited, None) => i64::MAX,
            (ReturnPolicy::Unlimited, Some(cap)) => cap.max(held),
        };
        let owed = missing.min((bound - book.deficit).max(0));
        book.deficit += owed;
        self.steps += 1;
        if policy != ReturnPolicy::OnlyPending {
            book.given_up.push((self.steps, missing - owed, one));
        }
        missing - owed
    }

    /// The event came, or will not come, that points wait for.
    pub(in super::super) fn resolve(&mut self, me: usize, event: &str, reference: Option<&str>, came: bool, now: Timestamp) -> bool {
        let waits = |point: &Point| match &point.opening {
            Opening::On(gate) => &*gate.event == event && reference.is_none_or(|reference| &*gate.reference == reference),
            _ => false,
        };
        let any = self.books[me].points.iter().any(waits);
        if came {
            let expiry = match self.terms.life {
                Life::Unlimited => Expiry::Never,
                Life::For(period, rounding) => Expiry::At(rounding.up(period.after(now, &Zone::UTC), &Zone::UTC)),
                Life::Until(at) => Expiry::At(at),
                Life::WhileActive(..) => Expiry::Sliding,
            };
            self.open(me, now, now, waits, |_| Some(expiry));
        } else {
            self.books[me].points.retain(|point| !waits(point));
        }
        any
    }

    pub(in super::super) fn set_expiry(&mut self, me: usize, to: NewExpiry) -> bool {
        let book = &mut self.books[me];
        let until = book.until;
        let later = |point: &Point| {
            let old = match (point.expiry, until) {
                _ if matches!(point.opening, Opening::On(_)) => return point.expiry,
                (Expiry::At(at), _) | (Expiry::Sliding, Some(at)) => at,
                (expiry, _) => return expiry,
            };
            match to {
                NewExpiry::At(at) => Expiry::At(at),
                NewExpiry::Later(period) => Expiry::at(period.after(old, &Zone::UTC)),
                NewExpiry::Never => Expiry::Never,
            }
        };
        let mut changed = false;
        for point in book.points.iter_mut().chain(book.holds.iter_mut().flat_map(|hold| &mut hold.points)) {
            let expiry = later(point);
            changed |= expiry != point.expiry;
            point.expiry = expiry;
        }
        changed
    }

    pub(in super::super) fn forgive(&mut self, me: usize, points: i64) -> bool {
        let admitted = points > 0 && points <= self.books[me].deficit;
        self.books[me].deficit -= if admitted { points } else { 0 };
        admitted
    }

    pub(in super::super) fn take_away(&mut self, me: usize, points: i64) -> bool {
        points <= self.books[me].active() && !self.books[me].take(me, points).is_empty()
    }

    pub(in super::super) fn transfer(&mut self, from: usize, to: usize, points: i64) -> bool {
        if points > self.books[from].active() {
            return false;
        }
        let until = self.books[from].until;
        for point in self.books[from].take(from, points) {
            if self.books[to].deficit > 0 {
                self.books[to].deficit -= 1;
            } else {
                let expiry = if point.expiry == Expiry::Sliding { Expiry::At(until.unwrap()) } else { point.expiry };
                self.books[to].points.push(Point { owner: to, expiry, ..point });
            }
        }
        true
    }

    /// All of the other becomes the survivor's, and stays the other's.
    pub(in super::super) fn merge(&mut self, survivor: usize, other: usize, at: usize, now: Timestamp) {
        let Book { points, deficit, holds, until, given_up, let_go_at, .. } = self.books[other].clone();
        self.books[other] = Book { points: Vec::new(), deficit: 0, holds: Vec::new(), given_up: Vec::new(), ..self.books[other].clone() };
        let untils = [self.books[survivor].until, until];
        if let Some(until) = until {
            let sides = &mut self.books[survivor];
            sides.lapsed_at = sides.until.filter(|until| *until <= now).or(sides.lapsed_at);
            sides.until = sides.until.max(Some(until));
            for merging in &mut sides.merged {
                merging.until[0] = merging.until[0].max(Some(until));
            }
        }
        let book = &mut self.books[survivor];
        book.points.extend(points);
        book.given_up.extend(given_up);
        book.holds.extend(holds);
        book.deficit += deficit;
        book.let_go_at = book.let_go_at.max(let_go_at);
        let repaid = book.repay(survivor);
        book.merged.push(Merging { other, at, deficit, repaid, until: untils });
    }

    /// What is free of the other's goes back, and what one repaid for the other is undone.
    pub(in super::super) fn unmerge(&mut self, survivor: usize, other: usize, at: usize, now: Timestamp) -> bool {
        let Some(index) = self.books[survivor].merged.iter().position(|merging| merging.other == other) else { return false };
        let group = self.group(other);
        let Merging { deficit, repaid, until, .. } = self.books[survivor].merged.remove(index);
        let of_other = |point: &Point| group.contains(&point.owner);
        let (theirs, own): (Vec<_>, Vec<_>) = repaid.into_iter().partition(of_other);
        let owed = (deficit - count(&own)).min(self.books[survivor].deficit);
        let book = &mut self.books[survivor];
        let in_his_name = |(_, _, one): &(u32, i64, Vec<usize>)| group.contains(&one[0]);
        let (given_up, stay): (Vec<_>, Vec<_>) = book.given_up.drain(..).partition(in_his_name);
        book.given_up = stay;
        let (back, stays): (Vec<_>, Vec<_>) = book.points.drain(..).partition(|point| of_other(point) && point.hold.is_none());
        book.deficit += count(&theirs) - owed;
        book.points = stays.into_iter().chain(own.iter().cloned()).collect();
        book.until = until[0].or(book.until);
        let book = &mut self.books[other];
        book.points = back.into_iter().chain(theirs).collect();
        book.given_up = given_up;
        book.let_go_at = Some(at);
        book.deficit = owed + count(&own);
        book.until = until[1].or(book.until);
        for me in [survivor, other] {
            self.settle(me, now);
            self.books[me].repay(me);
        }
        true
    }
}
