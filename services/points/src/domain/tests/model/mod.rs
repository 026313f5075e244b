mod back;

use super::*;

/// A ledger as one would write it on paper: every point is a thing of its own, nothing is cached, everything is searched.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) terms: Terms,
    books: Vec<Book>,
    spent: HashMap<Uuid, Spent>,
    steps: u32,
}

/// What a member's account holds.
#[derive(Debug, Clone, Default)]
struct Book {
    points: Vec<Point>,
    deficit: i64,
    holds: Vec<Hold>,
    /// Until when sliding points live, and when they lapsed last before.
    until: Option<Timestamp>,
    lapsed_at: Option<Timestamp>,
    /// Step by step, what was given up, and whose accounts were one then, first that in which it was earned.
    given_up: Vec<(u32, i64, Vec<usize>)>,
    merged: Vec<Merging>,
    /// In which step of the story this book, or one that it has taken in since, was last let go.
    let_go_at: Option<usize>,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    expiry: Expiry,
    month: i32,
    opening: Opening,
    /// Whose it is.
    owner: usize,
    hold: Option<Uuid>,
}

#[derive(Debug, Clone)]
struct Hold {
    id: Uuid,
    until: Timestamp,
    several: bool,
    /// In the order in which they are spent.
    points: Vec<Point>,
}

#[derive(Debug, Clone)]
struct Spent {
    book: usize,
    step: u32,
    at: Timestamp,
    points: Vec<Point>,
}

#[derive(Debug, Clone)]
struct Merging {
    other: usize,
    /// In which step of the story.
    at: usize,
    deficit: i64,
    repaid: Vec<Point>,
    until: [Option<Timestamp>; 2],
}

/// A credit: whose, how many, and how they live.
pub(super) struct Credit {
    pub(super) owner: usize,
    pub(super) points: i64,
    pub(super) lot: LotKey,
    /// The member did something for it.
    pub(super) by_doing: bool,
}

impl Book {
    /// Earliest expiry first, what slides where its moment is, unlimited last, then oldest, the member's own first.
    fn rank(&self, me: usize, point: &Point) -> (Timestamp, u8, i32, Opening, Option<AccountId>) {
        let (at, kind) = match point.expiry {
            Expiry::At(at) => (at, 0),
            Expiry::Sliding => (self.until.unwrap_or(Timestamp::MAX), 1),
            Expiry::Never => (Timestamp::MAX, 2),
        };
        let origin = (point.owner != me).then(|| account_of(point.owner));
        (at, kind, point.month, point.opening.clone(), origin)
    }

    fn lapses(&self, expiry: Expiry) -> Option<Timestamp> {
        match expiry {
            Expiry::At(at) => Some(at),
            Expiry::Sliding => self.until,
            Expiry::Never => None,
        }
    }

    /// The free point that is first among those that are meant.
    fn first(&self, me: usize, admits: impl Fn(&Point) -> bool) -> Option<usize> {
        let free = (0..self.points.len()).filter(|index| self.points[*index].hold.is_none() && admits(&self.points[*index]));
        free.min_by_key(|index| self.rank(me, &self.points[*index]))
    }

    fn active(&self) -> i64 {
        count(self.points.iter().filter(|point| point.hold.is_none() && point.opening == Opening::Open))
    }

    /// The first of the spendable ones, so many.
    fn take(&mut self, me: usize, points: i64) -> Vec<Point> {
        (0..points).map(|_| self.points.remove(self.first(me, |point| point.opening == Opening::Open).unwrap())).collect()
    }

    /// Free points repay what is owed.
    fn repay(&mut self, me: usize) -> Vec<Point> {
        let points = self.active().min(self.deficit);
        self.deficit -= points;
        self.take(me, points)
    }

    /// Takes the held points of a hold out; they are as they are now, whatever they were when it was opened.
    fn unhold(&mut self, hold: &Hold) -> Vec<Point> {
        self.points.retain(|point| point.hold != Some(hold.id));
        hold.points.iter().map(|point| Point { hold: None, ..point.clone() }).collect()
    }

    /// Points come back or come free: they repay what is owed, or live where they were.
    fn come_back(&mut self, points: Vec<Point>, grace: Option<Timestamp>, at: Timestamp, missing: &mut i64) {
        for mut point in points {
            if self.lapses(point.expiry).is_some_and(|moment| moment <= at) {
                let Some(until) = grace else { continue };
                point.expiry = Expiry::At(until);
            }
            if *missing > 0 {
                *missing -= 1;
            } else if self.deficit > 0 {
                self.deficit -= 1;
            } else {
                self.points.push(point);
            }
        }
    }
}

impl Model {
    pub(super) fn new(members: usize, terms: Terms) -> Model {
        Model { terms, books: vec![Book::default(); members], spent: HashMap::new(), steps: 0 }
    }

    pub(super) fn balances(&self, me: usize) -> (i64, i64, i64, i64) {
        let book = &self.books[me];
        let held = count(book.points.iter().filter(|point| point.hold.is_some()));
        let pending = count(book.points.iter().filter(|point| point.opening != Opening::Open));
        (book.active(), pending, held, book.deficit)
    }

    /// A member with those who were merged into him, and into them.
    fn group(&self, me: usize) -> Vec<usize> {
        let others = self.books[me].merged.iter().flat_map(|merging| self.group(merging.other));
        std::iter::once(me).chain(others).collect()
    }

    /// Points that come back belong to who had them, while he is one with the member; else to the member.
    fn come_back(&mut self, me: usize, points: Vec<Point>, at: Timestamp, missing: &mut i64) {
        let grace = self.terms.restore_grace.map(|grace| grace.after(at, &Zone::UTC));
        let group = self.group(me);
        let owner = |point: &Point| if group.contains(&point.owner) { point.owner } else { me };
        let points = points.into_iter().map(|point| Point { owner: owner(&point), ..point }).collect();
        self.books[me].come_back(points, grace, at, missing);
    }

    /// How many spendable points lapse when.
    pub(super) fn expiries(&self, me: usize) -> Vec<(Option<Timestamp>, i64)> {
        let book = &self.books[me];
        let mut all = std::collections::BTreeMap::new();
        for point in book.points.iter().filter(|point| point.hold.is_none() && point.opening == Opening::Open) {
            *all.entry(book.lapses(point.expiry)).or_insert(0) += 1;
        }
        all.into_iter().collect()
    }

    fn slides(&self, moment: Timestamp) -> Option<Timestamp> {
        let Life::WhileActive(period, rounding) = self.terms.life else { return None };
        Some(rounding.up(period.after(moment, &Zone::UTC), &Zone::UTC))
    }

    /// Whether what slides is alive, for those who are one and for whom it is of alone.
    fn is_alive(&self, me: usize, owner: usize, moment: Timestamp) -> bool {
        let sides = self.books[me].merged.iter().map(|merging| merging.until[usize::from(self.group(merging.other).contains(&owner))]);
        sides.chain([self.books[me].until]).all(|until| until.is_some_and(|until| until > moment))
    }

    /// The member, or one who was merged into him, did something.
    fn did(&mut self, me: usize, named: usize, moment: Timestamp, now: Timestamp) {
        let Some(until) = self.slides(moment) else { return };
        let sides: Vec<bool> = self.books[me].merged.iter().map(|merging| self.group(merging.other).contains(&named)).collect();
        let book = &mut self.books[me];
        book.lapsed_at = book.until.filter(|until| *until <= now).or(book.lapsed_at);
        book.until = book.until.max(Some(until));
        for (merging, is_other) in book.merged.iter_mut().zip(sides) {
            let side = &mut merging.until[usize::from(is_other)];
            *side = (*side).max(Some(until));
        }
    }

    /// What falls due, moment by moment.
    pub(super) fn settle(&mut self, me: usize, now: Timestamp) {
        loop {
            let book = &self.books[me];
            let openings = book.points.iter().filter_map(|point| match &point.opening {
                Opening::At(at) => Some((*at, 0)),
                Opening::On(gate) => Some((gate.cancel_at?, 1)),
                Opening::Open => None,
            });
            let ends = book.holds.iter().map(|hold| (hold.until, 2));
            let free = book.points.iter().filter(|point| point.opening == Opening::Open);
            let free = free.filter(|point| point.hold.is_none() || point.expiry == Expiry::Sliding);
            let lapses = free.filter_map(|point| Some((book.lapses(point.expiry)?, 3)));
            let Some((at, what)) = openings.chain(ends).chain(lapses).filter(|(at, _)| *at <= now).min() else { return };
            match what {
                0 => self.open(me, at, now, |point| point.opening == Opening::At(at), |_| None),
                1 => self.books[me].points.retain(|point| !matches!(&point.opening, Opening::On(gate) if gate.cancel_at == Some(at))),
                2 => {
                    let index = self.books[me].holds.iter().position(|hold| hold.until == at).unwrap();
                    self.release(me, index, at);
                }
                _ => {
                    let book = &mut self.books[me];
                    let (until, held) = (book.until, |point: &Point| point.hold.is_some());
                    book.points.retain(|point| {
                        let lapses = match point.expiry {
                            Expiry::At(at) => Some(at),
                            Expiry::Sliding => until,
                            Expiry::Never => None,
                        };
                        held(point) || point.opening != Opening::Open || lapses.is_none_or(|moment| moment > at)
                    });
                    if let Some(until) = until.filter(|until| *until <= at) {
                        let in_holds = book.holds.iter_mut().flat_map(|hold| &mut hold.points);
                        for point in book.points.iter_mut().filter(|point| held(point)).chain(in_holds) {
                            if point.expiry == Expiry::Sliding {
                                point.expiry = Expiry::At(until);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Pending points become spendable; they repay what is owed first.
    fn open(&mut self, me: usize, at: Timestamp, now: Timestamp, which: impl Fn(&Point) -> bool, life: impl Fn(&Point) -> Option<Expiry>) {
        let mut opening: Vec<Point> = self.books[me].points.iter().filter(|point| which(point)).cloned().collect();
        self.books[me].points.retain(|point| !which(point));
        opening
            .sort_by_key(|point| (point.expiry, point.month, point.opening.clone(), (point.owner != me).then(|| account_of(point.owner))));
        for point in opening {
            if self.books[me].deficit > 0 {
                self.books[me].deficit -= 1;
                continue;
            }
            let expiry = life(&point).unwrap_or(point.expiry);
            if expiry == Expiry::Sliding && !self.is_alive(me, point.owner, at) {
                self.did(me, point.owner, at, now);
            }
            self.books[me].points.push(Point { expiry, opening: Opening::Open, ..point });
        }
    }

    pub(super) fn credit(&mut self, me: usize, credit: Credit, now: Timestamp) {
        let Credit { owner, points, lot, by_doing } = credit;
        let is_open = lot.opening == Opening::Open;
        let repaid = if is_open { points.min(self.books[me].deficit) } else { 0 };
        self.books[me].deficit -= repaid;
        let starts = || lot.expiry == Expiry::Sliding && points > repaid && !self.is_alive(me, owner, now);
        if by_doing || starts() {
            self.did(me, owner, now, now);
        }
        let point = Point { expiry: lot.expiry, month: lot.earn_month, opening: lot.opening, owner, hold: None };
        self.books[me].points.extend(vec![point; usize::try_from(points - repaid).unwrap()]);
    }

    pub(super) fn redeem(&mut self, me: usize, named: usize, id: Uuid, points: i64, now: Timestamp) -> bool {
        if points == 0 || points > self.books[me].active() {
            return false;
        }
        let points = self.books[me].take(me, points);
        self.spend(me, named, id, points, now);
        true
    }

    fn spend(&mut self, me: usize, named: usize, id: Uuid, points: Vec<Point>, now: Timestamp) {
        self.did(me, named, now, now);
        self.steps += 1;
        self.spent.insert(id, Spent { book: me, step: self.steps, at: now, points });
    }

    pub(super) fn hold(&mut self, me: usize, id: Uuid, points: i64, until: Timestamp, several: bool) -> bool {
        if points > self.books[me].active() {
            return false;
        }
        let points: Vec<Point> = self.books[me].take(me, points).into_iter().map(|point| Point { hold: Some(id), ..point }).collect();
        self.books[me].points.extend(points.iter().cloned());
        self.books[me].holds.push(Hold { id, until, several, points });
        true
    }

    pub(super) fn capture(&mut self, me: usize, named: usize, id: Uuid, (hold, points, last): (Uuid, i64, bool), now: Timestamp) -> bool {
        let Some(index) = self.books[me].holds.iter().position(|held| held.id == hold) else { return false };
        let book = &mut self.books[me];
        if points > count(&book.holds[index].points) {
            return false;
        }
        let mut held = book.holds.remove(index);
        let mut taken = book.unhold(&held);
        held.points =
            taken.split_off(usize::try_from(points).unwrap()).into_iter().map(|point| Point { hold: Some(hold), ..point }).collect();
        book.points.extend(held.points.iter().cloned());
        let stays = held.several && !last && !held.points.is_empty();
        book.holds.insert(index, held);
        self.spend(me, named, id, taken, now);
        if !stays {
            self.release(me, index, now);
        }
        true
    }

    pub(super) fn end_hold(&mut self, me: usize, id: Uuid, now: Timestamp) -> bool {
        let index = self.books[me].holds.iter().position(|hold| hold.id == id);
        index.map(|index| self.release(me, index, now)).is_some()
    }

    fn release(&mut self, me: usize, index: usize, at: Timestamp) {
        let hold = self.books[me].holds.remove(index);
        let freed = self.books[me].unhold(&hold);
        self.come_back(me, freed, at, &mut 0);
    }
}

fn count<'a>(points: impl IntoIterator<Item = &'a Point>) -> i64 {
    i64::try_from(points.into_iter().count()).unwrap()
}

pub(super) fn account_of(member: usize) -> AccountId {
    AccountId::of(&program(), MemberId(Uuid::from_u128(7 + member as u128)))
}
