//! What a member earns, day by day.

use std::collections::BTreeMap;

use jiff::civil::Date;
use kernel::{Timestamp, Zone};

use super::points::Points;
use super::scheme::{Downgrade, Level, NEVER, Scheme, yesterday};

/// When on its day a step is taken. The order is that of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// At the start of the day: a validity, or its grace, has ended.
    DayStart,
    /// With the purchase by which the points bought on the day reach so many.
    Purchase {
        /// What was missing when the day began, and at least 1.
        points: i64,
    },
    /// When a version of the scheme began.
    Version(Timestamp),
}

/// From some moment on a member earns another level, or the same one for longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The day.
    pub day: Date,
    /// When on that day.
    pub moment: Moment,
    /// The level from then on.
    pub level: Option<String>,
    /// The first day on which it is not valid any more, as seen at the step; [`NEVER`] when it stays.
    pub until: Date,
}

/// Where a walk through the days ended.
pub struct Walk {
    /// What happened on the way.
    pub steps: Vec<Step>,
    /// The level held at the end, with the first day on which its validity is over.
    pub held: Option<(String, Date)>,
    /// The next day on which something happens by itself.
    pub next: Option<Date>,
}

/// Goes through the days to the end of `last`. The versions are in order, at least one, the first valid for all time.
pub fn walk(versions: &[Scheme], points: &Points, last: Date, zone: &Zone) -> Walk {
    let (first, updates) = versions.split_first().expect("a scheme has a version");
    let mut walker = Walker { scheme: first, points, valid: BTreeMap::new(), level: None, told: NEVER, bought: false, steps: Vec::new() };
    let mut purchases = points.days().take_while(|day| *day <= last).peekable();
    let mut updates = updates.iter().map(|update| (update.start.date_in(zone), update)).take_while(|(day, _)| *day <= last).peekable();
    loop {
        let purchase = purchases.peek().copied();
        let update = updates.peek().map(|(day, _)| *day);
        let due = walker.next_due().filter(|day| *day <= last);
        let Some(day) = [purchase, update, due].into_iter().flatten().min() else { break };
        walker.begin(day);
        if purchases.next_if_eq(&day).is_some() {
            walker.buy(day);
        }
        // After the purchases: what was bought on the day of the change counts under whichever version gives more.
        while let Some((_, scheme)) = updates.next_if(|(start, _)| *start == day) {
            walker.change_scheme(scheme, day);
        }
    }
    let next = walker.next_due();
    let held = walker.level.as_ref().map(|level| (level.clone(), walker.valid[level]));
    Walk { steps: walker.steps, held, next }
}

struct Walker<'a> {
    scheme: &'a Scheme,
    points: &'a Points,
    /// Each level held, with the first day on which its validity is over. The highest one is the member's.
    valid: BTreeMap<String, Date>,
    /// The level of the last step.
    level: Option<String>,
    /// The end of validity that the last step told.
    told: Date,
    /// Something has been bought.
    bought: bool,
    steps: Vec<Step>,
}

impl<'a> Walker<'a> {
    /// The next day on which a level ends, or on which the end that was told has come and another must be.
    fn next_due(&self) -> Option<Date> {
        let ends = self.valid.values().map(|until| self.scheme.held_until(*until));
        // In its grace the end that was told has passed, and only the end of the grace is still to come.
        let told = self.level.as_ref().filter(|level| self.valid[*level] > self.told).map(|_| self.told);
        ends.chain(told).filter(|day| *day < NEVER).min()
    }

    /// Ends what is over at the start of the day, highest level first, so that one who goes one level down can go further.
    fn begin(&mut self, day: Date) {
        let scheme = self.scheme;
        for (rank, level) in scheme.levels.iter().enumerate().rev() {
            let Some(until) = self.valid.get(&level.id).copied().filter(|until| scheme.held_until(*until) <= day) else { continue };
            self.valid.remove(&level.id);
            if scheme.downgrade == Downgrade::OneDown
                && let Some(below) = scheme.below(rank)
            {
                // The level below takes over where the validity ended, so that a grace makes it no longer.
                let taken_over = scheme.valid_until(below, yesterday(until));
                self.hold(below, if taken_over > day { taken_over } else { scheme.valid_until(below, day) });
            }
        }
        self.tell(day, |_| Moment::DayStart, false);
    }

    /// Goes on under another version: what is held stays held, and whoever has what a lowered threshold asks for rises.
    fn change_scheme(&mut self, scheme: &'a Scheme, day: Date) {
        let multiplier =
            |scheme: &Scheme, level: &Option<String>| level.as_ref().and_then(|id| scheme.level(id)).map(|level| level.multiplier);
        let before = multiplier(self.scheme, &self.level);
        self.scheme = scheme;
        self.valid.retain(|id, _| scheme.level(id).is_some());
        if self.bought {
            self.count(day);
        }
        let retold = before != multiplier(scheme, &self.level);
        self.tell(day, |_| Moment::Version(scheme.start), retold);
    }

    /// Counts the purchases of a day.
    fn buy(&mut self, day: Date) {
        self.bought = true;
        self.count(day);
        let before = self.points.between(self.scheme.period.first_day(day), yesterday(day), day);
        let missing = |level: Option<&Level>| level.and_then(|level| level.threshold).map_or(1, |threshold| (threshold - before).max(1));
        self.tell(day, |level| Moment::Purchase { points: missing(level) }, false);
    }

    /// Renews every level whose threshold the period that ends with the day reaches.
    fn count(&mut self, day: Date) {
        let scheme = self.scheme;
        let points = self.points.between(scheme.period.first_day(day), day, day);
        for level in scheme.levels.iter().filter(|level| level.threshold.is_some_and(|threshold| threshold <= points)) {
            self.hold(level, scheme.valid_until(level, day));
        }
    }

    fn hold(&mut self, level: &Level, until: Date) {
        let held = self.valid.entry(level.id.clone()).or_insert(until);
        *held = until.max(*held);
    }

    /// Takes a step when there is something to tell.
    fn tell(&mut self, day: Date, moment: impl Fn(Option<&Level>) -> Moment, retold: bool) {
        let level = self.scheme.levels.iter().rev().find(|level| self.valid.contains_key(&level.id));
        let until = level.map_or(NEVER, |level| self.valid[&level.id]);
        let id = level.map(|level| level.id.clone());
        let prolonged = self.told <= day && until > day;
        if id != self.level || prolonged || retold {
            self.steps.push(Step { day, moment: moment(level), level: id.clone(), until });
            (self.level, self.told) = (id, until);
        }
    }
}
