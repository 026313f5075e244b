//! What the clock brings, and what holds it up.

use proto::points::EntryKind;

use super::account::{About, Account, Change, Stamp};
use super::lots::{Lot, LotKey, NEVER, Owner, SLIDING};
use super::rules::{Rules, version_at};

impl Account {
    /// Whose sliding lots come to life with what they are given, because nothing keeps any alive in their name.
    fn come_to_life(&self, stamp: &Stamp, kind: EntryKind, change: &Change) -> Vec<Option<Owner>> {
        if !matches!(kind, EntryKind::Adjust | EntryKind::Reward | EntryKind::Activate) {
            return Vec::new();
        }
        let effective = change.effective.unwrap_or(stamp.occurred);
        let lives = |until: Option<i64>| until.is_some_and(|until| until > effective);
        let is_alive = |origin: &Option<Owner>| {
            let mut names = self.merged.iter().map(|merged| merged.apart[merged.side(origin)]);
            lives(self.slides_until) && names.all(lives)
        };
        let slides = change.lots.iter().filter(|(key, points, _)| *points > 0 && key.expires == SLIDING);
        slides.map(|(key, _, _)| key.origin.clone()).filter(|origin| !is_alive(origin)).collect()
    }

    /// What a member does keeps his sliding lots alive, and so does the first of them that he is given. Until when, and in whose names.
    pub(super) fn kept_alive(&self, stamp: &Stamp, kind: EntryKind, change: &Change) -> Option<(i64, Vec<Option<Owner>>)> {
        use EntryKind::{Activity, Award, Capture, Redeem};
        let effective = change.effective.unwrap_or(stamp.occurred);
        let names = match kind {
            Award | Activity | Redeem | Capture => vec![(!stamp.presented.is_empty()).then(|| Owner::new(&stamp.presented))],
            _ => self.come_to_life(stamp, kind, change),
        };
        let until = version_at(&self.rules, effective).slides_until(effective)?;
        (!names.is_empty()).then_some((until, names))
    }

    pub(super) fn slide(&mut self, kind: EntryKind, until: i64, names: &[Option<Owner>]) {
        if matches!(kind, EntryKind::UnmergeOut | EntryKind::UnmergeIn) {
            self.slides_until = Some(until);
            return;
        }
        self.slid = self.slides_until.filter(|until| *until <= self.recorded).or(self.slid);
        self.slides_until = self.slides_until.max(Some(until));
        for merged in &mut self.merged {
            for name in names {
                let side = merged.side(name);
                merged.apart[side] = merged.apart[side].max(Some(until));
            }
        }
    }

    /// Does what the clock brings, moment by moment; at one moment activations come first, then what has waited in vain, then
    /// reservations whose time is over, then what lapses. Gives the reservations that ended.
    pub(super) fn settle(&mut self, rules: &[Rules], now: i64) -> Vec<String> {
        let clock = Stamp::of_clock(now);
        let mut ended = Vec::new();
        loop {
            let cancelled = |key: &LotKey| key.gate().and_then(|gate| gate.cancelled);
            let opens = self.lots.keys().filter_map(LotKey::opens).min().unwrap_or(NEVER);
            let in_vain = self.lots.keys().filter_map(cancelled).min().unwrap_or(NEVER);
            let ends = self.holds.iter().map(|hold| hold.until).min().unwrap_or(NEVER);
            let free = self.lots.iter().filter(|(key, lot)| key.is_open() && lot.free() > 0);
            let held_and_slides = self.lots.iter().any(|(key, lot)| key.expires == SLIDING && lot.held > 0);
            let slides = self.slides_until.filter(|_| held_and_slides);
            let lapses = free.map(|(key, _)| self.lapses(key)).chain(slides).min().unwrap_or(NEVER);
            let moment = opens.min(in_vain).min(ends).min(lapses);
            if moment > now {
                return ended;
            }
            if moment == opens {
                let key = self.lots.keys().find(|key| key.opens() == Some(moment)).expect("it was found").clone();
                self.open(&clock, &key, key.opened(), &About::default(), Some(moment));
            } else if moment == in_vain {
                let key = self.lots.keys().find(|key| cancelled(key) == Some(moment)).expect("it was found").clone();
                let reason = key.gate().expect("it was found by it").event.clone();
                let about = About { reason, terms: version_at(rules, now).number, ..About::default() };
                let points = self.lots[&key].points;
                let change = Change { effective: Some(moment), ..Change::of_lots([(key, -points, 0)]) };
                self.post(&clock, EntryKind::Cancel, &about, change);
            } else if moment == ends {
                let hold = self.holds.iter().find(|hold| hold.until == moment).expect("it was found").id.clone();
                self.release(&clock, rules, &hold, moment);
                ended.push(hold);
            } else {
                self.lapse(&clock, moment);
            }
        }
    }

    /// Makes a lot spendable. What it brings repays what is owed first.
    pub(super) fn open(&mut self, stamp: &Stamp, key: &LotKey, opened: LotKey, about: &About, effective: Option<i64>) {
        let points = self.lots[key].points;
        let repaid = points.min(self.owed);
        let alive = (points > repaid).then_some((opened, points - repaid, 0));
        let lots = std::iter::once((key.clone(), -points, 0)).chain(alive);
        self.post(stamp, EntryKind::Activate, about, Change { owed: -repaid, effective, ..Change::of_lots(lots) });
    }

    /// Takes out what has lapsed by a moment and is not held.
    pub(super) fn lapse(&mut self, stamp: &Stamp, moment: i64) {
        self.end_sliding_of_held(stamp, moment);
        loop {
            let due = |(key, lot): &(&LotKey, &Lot)| key.is_open() && self.lapses(key) <= moment && lot.free() > 0;
            let Some((key, lot)) = self.in_order().into_iter().find(due) else { return };
            let (effective, change) = (Some(self.lapses(key)), (key.clone(), -lot.free(), 0));
            self.post(stamp, EntryKind::Expire, &About::default(), Change { effective, ..Change::of_lots([change]) });
        }
    }

    /// What is held when the others lapse stays, and slides no more.
    fn end_sliding_of_held(&mut self, stamp: &Stamp, moment: i64) {
        let Some(until) = self.slides_until.filter(|until| *until <= moment) else { return };
        let held = self.lots.iter().filter(|(key, lot)| key.expires == SLIDING && lot.held > 0);
        let moved: Vec<_> = held.map(|(key, lot)| (key.clone(), LotKey { expires: until, ..key.clone() }, lot.held)).collect();
        if !moved.is_empty() {
            let pairs = moved.iter().flat_map(|(from, to, held)| [(from.clone(), -held, -held), (to.clone(), *held, *held)]);
            let change = Change { effective: Some(until), ..Change::of_lots(pairs) };
            self.post(stamp, EntryKind::Expiry, &About::default(), change);
            self.move_held(&moved);
        }
    }

    /// What is held stays held in the lots where it is now.
    pub(super) fn move_held(&mut self, moved: &[(LotKey, LotKey, i64)]) {
        for hold in &mut self.holds {
            for (key, held) in std::mem::take(&mut hold.parts) {
                let key = moved.iter().find(|(from, _, _)| *from == key).map_or(key, |(_, to, _)| to.clone());
                match hold.parts.iter_mut().find(|part| part.0 == key) {
                    Some(part) => part.1 += held,
                    None => hold.parts.push((key, held)),
                }
            }
        }
    }
}
