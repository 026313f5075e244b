//! One member's points as one would keep them on paper: lots in a list, balances added up whenever they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::points as pb;
use proto::points::EntryKind;
use proto::points::terms::ReturnPolicy;

use super::rules::{DAY, Rules, time, version_at};

/// What lots are told apart by, in the order in which they are spent. `expires` is the greatest number for never, `activates` is
/// `None` for a lot that is spendable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LotKey {
    pub(crate) expires: i64,
    pub(crate) earned: i32,
    pub(crate) activates: Option<i64>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Lot {
    points: i64,
    held: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) name: String,
    pub(super) points: i64,
    pub(super) until: i64,
    pub(super) reference: String,
    parts: Vec<(LotKey, i64)>,
}

/// Who did something, where and when.
#[derive(Clone, Default)]
pub(super) struct Stamp {
    /// The operation's name; empty for the clock.
    pub(super) operation: String,
    pub(super) request_id: String,
    pub(super) actor: String,
    pub(super) store: String,
    pub(super) terminal: String,
    pub(super) occurred: i64,
    pub(super) now: i64,
}

/// What an entry is about.
#[derive(Clone, Default)]
pub(super) struct About {
    pub(super) purchase: String,
    pub(super) reservation: String,
    pub(super) reason: String,
    pub(super) approver: String,
    /// Number of the terms that applied; 0 for none.
    pub(super) terms: i64,
}

/// A lot, the change of its points and of what is held of them.
type Change = (LotKey, i64, i64);

#[derive(Clone, Default, Debug)]
pub(crate) struct Account {
    member: String,
    pub(crate) entries: Vec<Arc<pb::Entry>>,
    lots: BTreeMap<LotKey, Lot>,
    pub(super) holds: Vec<Hold>,
    owed: i64,
    pub(super) purchases: i64,
    recorded: i64,
}

impl Account {
    pub(super) fn of(member: &str) -> Account {
        Account { member: member.to_owned(), ..Account::default() }
    }

    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap()
    }

    fn sum(&self, of: impl Fn(&LotKey, &Lot) -> i64) -> i64 {
        self.lots.iter().map(|(key, lot)| of(key, lot)).sum()
    }

    pub(super) fn active(&self) -> i64 {
        self.sum(|key, lot| if key.activates.is_none() { lot.points - lot.held } else { 0 })
    }

    fn pending(&self) -> i64 {
        self.sum(|key, lot| if key.activates.is_some() { lot.points } else { 0 })
    }

    fn held(&self) -> i64 {
        self.sum(|_, lot| lot.held)
    }

    /// Σ lots less what is owed.
    pub(crate) fn total(&self) -> i64 {
        self.sum(|_, lot| lot.points) - self.owed
    }

    /// Moments at which something changes by itself.
    pub(crate) fn due_times(&self) -> impl Iterator<Item = i64> {
        let lots = self.lots.keys().flat_map(|key| key.activates.into_iter().chain([key.expires]));
        lots.chain(self.holds.iter().map(|hold| hold.until))
    }

    pub(super) fn balance(&self, now: i64, with_lots: bool) -> pb::Balance {
        let free =
            |wanted: i64| self.sum(|key, lot| if key.activates.is_none() && key.expires == wanted { lot.points - lot.held } else { 0 });
        let mut spendable = self.lots.iter().filter(|(key, lot)| key.activates.is_none() && lot.points > lot.held);
        let expires = spendable.next().map(|(key, _)| key.expires).filter(|at| *at != i64::MAX);
        let activates = self.lots.keys().filter_map(|key| key.activates).min();
        let wallet = pb::WalletBalance {
            wallet: "points".to_owned(),
            active_points: self.active(),
            pending_points: self.pending(),
            reserved_points: self.held(),
            deficit_points: self.owed,
            next_expire_time: expires.map(time),
            next_expire_points: expires.map_or(0, free),
            next_activate_time: activates.map(time),
            next_activate_points: self.sum(|key, lot| if key.activates.is_some() && key.activates == activates { lot.points } else { 0 }),
            lots: self.lots.iter().filter(|_| with_lots).map(|(key, lot)| told(key, lot)).collect(),
        };
        pb::Balance {
            member: self.member.clone(),
            wallets: vec![wallet],
            version: self.version(),
            as_of_time: Some(time(now)),
            known_time: None,
        }
    }

    /// Writes an entry: the lots change, and what is owed.
    pub(super) fn post(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, effective: i64, changes: Vec<Change>, owed: i64) {
        for (key, points, held) in &changes {
            let lot = self.lots.entry(*key).or_default();
            lot.points += points;
            lot.held += held;
            assert!(0 <= lot.held && lot.held <= lot.points, "the model takes more out of a lot than is in it: {key:?} {lot:?}");
        }
        self.lots.retain(|_, lot| lot.points > 0);
        self.owed += owed;
        self.recorded = stamp.now.max(self.recorded + 1);
        let lots = changes.iter().map(|(key, points, held)| pb::LotChange {
            activate_time: key.activates.map(time),
            expire_time: (key.expires != i64::MAX).then(|| time(key.expires)),
            earn_month: key.earned,
            points_delta: *points,
            reserved_delta: *held,
            ..pb::LotChange::default()
        });
        let version = self.version() + 1;
        let entry = pb::Entry {
            name: format!("{}/entries/{version}", self.member),
            version,
            kind: kind.into(),
            wallet: "points".to_owned(),
            points: changes.iter().map(|change| change.1).sum::<i64>() - owed,
            active_after: self.active(),
            pending_after: self.pending(),
            reserved_after: self.held(),
            deficit_after: self.owed,
            lots: lots.collect(),
            deficit_delta: owed,
            purchase: about.purchase.clone(),
            reservation: about.reservation.clone(),
            operation: stamp.operation.clone(),
            request_id: stamp.request_id.clone(),
            actor: stamp.actor.clone(),
            terminal: stamp.terminal.clone(),
            store: stamp.store.clone(),
            reason: about.reason.clone(),
            approver: about.approver.clone(),
            program_version: if about.terms == 0 { String::new() } else { format!("{}/versions/{}", super::TEA, about.terms) },
            fact_version: 0,
            occur_time: Some(time(stamp.occurred)),
            effective_time: Some(time(effective)),
            record_time: Some(time(self.recorded)),
            ..pb::Entry::default()
        };
        self.entries.push(Arc::new(entry));
    }

    /// Does what the clock brings, moment by moment; at one moment activations come first, then reservations whose time is over, then
    /// what lapses.
    pub(super) fn settle(&mut self, rules: &[Rules], now: i64) {
        let clock = Stamp { actor: "clock".to_owned(), occurred: now, now, ..Stamp::default() };
        loop {
            let activates = self.lots.keys().filter_map(|key| key.activates).min().unwrap_or(i64::MAX);
            let ends = self.holds.iter().map(|hold| hold.until).min().unwrap_or(i64::MAX);
            let free = self.lots.iter().filter(|(key, lot)| key.activates.is_none() && lot.points > lot.held);
            let lapses = free.map(|(key, _)| key.expires).min().unwrap_or(i64::MAX);
            let moment = activates.min(ends).min(lapses);
            if moment > now {
                return;
            }
            if moment == activates {
                let key = *self.lots.keys().find(|key| key.activates == Some(moment)).expect("it was found");
                let points = self.lots[&key].points;
                let repaid = points.min(self.owed);
                let alive = (LotKey { activates: None, ..key }, points - repaid, 0);
                let changes = std::iter::once((key, -points, 0)).chain((points > repaid).then_some(alive)).collect();
                self.post(&clock, EntryKind::Activate, &About::default(), moment, changes, -repaid);
            } else if moment == ends {
                let hold = self.holds.iter().find(|hold| hold.until == moment).expect("it was found").name.clone();
                self.release(&clock, rules, &hold, moment);
            } else {
                self.lapse(&clock, moment);
            }
        }
    }

    /// Takes out what has lapsed by a moment and is not held.
    fn lapse(&mut self, stamp: &Stamp, moment: i64) {
        let lapsed = |(key, lot): (&LotKey, &Lot)| {
            (key.activates.is_none() && key.expires <= moment && lot.points > lot.held).then_some((*key, lot.held - lot.points))
        };
        while let Some((key, change)) = self.lots.iter().find_map(lapsed) {
            self.post(stamp, EntryKind::Expire, &About::default(), key.expires, vec![(key, change, 0)], 0);
        }
    }

    /// Adds points. What is spendable at once repays what is owed; what is too old to live lapses at once.
    pub(super) fn credit(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, key: LotKey, points: i64) {
        let dead = key.expires <= stamp.now;
        let repaid = if key.activates.is_none() && !dead { points.min(self.owed) } else { 0 };
        let changes = if points > repaid { vec![(key, points - repaid, 0)] } else { Vec::new() };
        self.post(stamp, kind, about, stamp.occurred, changes, -repaid);
        if dead && points > 0 {
            self.post(stamp, EntryKind::Expire, &About::default(), key.expires, vec![(key, -points, 0)], 0);
        }
    }

    /// The lots out of which so many spendable points come; fewer than asked for when there are fewer.
    fn take(&self, mut points: i64) -> Vec<(LotKey, i64)> {
        let mut taken = Vec::new();
        for (key, lot) in self.lots.iter().filter(|(key, _)| key.activates.is_none()) {
            let part = points.min(lot.points - lot.held);
            if part > 0 {
                taken.push((*key, part));
                points -= part;
            }
        }
        taken
    }

    pub(super) fn spend(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, points: i64) {
        let changes = self.take(points).into_iter().map(|(key, part)| (key, -part, 0)).collect();
        self.post(stamp, kind, about, stamp.occurred, changes, 0);
    }

    pub(super) fn hold(&mut self, stamp: &Stamp, about: &About, points: i64, until: i64) {
        let parts = self.take(points);
        let changes = parts.iter().map(|(key, part)| (*key, 0, *part)).collect();
        self.post(stamp, EntryKind::Reserve, about, stamp.occurred, changes, 0);
        let (name, reference) = (about.reservation.clone(), about.reason.clone());
        self.holds.push(Hold { name, points, until, reference, parts });
    }

    /// Ends a hold: the first points of it are spent, and the others come free. What came free in a lot that has lapsed lapses now.
    pub(super) fn capture(&mut self, stamp: &Stamp, rules: &[Rules], name: &str, spent: i64) {
        let index = self.holds.iter().position(|hold| hold.name == name).expect("the hold is open");
        let (mut to_spend, mut changes) = (spent, Vec::new());
        for (key, held) in &mut self.holds[index].parts {
            let taken = to_spend.min(*held);
            to_spend -= taken;
            *held -= taken;
            if taken > 0 {
                changes.push((*key, -taken, -taken));
            }
        }
        self.holds[index].parts.retain(|(_, held)| *held > 0);
        let about = self.about_hold(index, rules, stamp);
        self.post(stamp, EntryKind::Capture, &about, stamp.occurred, changes, 0);
        if self.holds[index].parts.is_empty() {
            self.holds.remove(index);
        } else {
            self.give_up(stamp, rules, name);
        }
    }

    /// Ends a hold by its member's wish.
    pub(super) fn give_up(&mut self, stamp: &Stamp, rules: &[Rules], name: &str) {
        self.release(stamp, rules, name, stamp.now);
        self.lapse(stamp, stamp.now);
    }

    /// What a hold keeps comes free where it was. In a lot that has lapsed it lives for the grace; what lives repays what is owed.
    fn release(&mut self, stamp: &Stamp, rules: &[Rules], name: &str, ended: i64) {
        let index = self.holds.iter().position(|hold| hold.name == name).expect("the hold is open");
        let about = self.about_hold(index, rules, stamp);
        let grace = version_at(rules, ended).grace_days * DAY;
        let (mut owed, mut out, mut moved) = (self.owed, Vec::new(), BTreeMap::new());
        for (key, held) in self.holds.remove(index).parts {
            let lapsed = key.expires <= ended;
            let repaid = if lapsed && grace == 0 { 0 } else { owed.min(held) };
            owed -= repaid;
            if lapsed && grace > 0 {
                out.push((key, -held, -held));
                *moved.entry(LotKey { expires: ended + grace, ..key }).or_insert(0) += held - repaid;
            } else {
                out.push((key, -repaid, -held));
            }
        }
        out.extend(moved.into_iter().filter(|(_, freed)| *freed > 0).map(|(key, freed)| (key, freed, 0)));
        self.post(stamp, EntryKind::Release, &about, ended, out, owed - self.owed);
    }

    fn about_hold(&self, index: usize, rules: &[Rules], stamp: &Stamp) -> About {
        let Hold { name, reference, .. } = self.holds[index].clone();
        About { reservation: name, reason: reference, terms: version_at(rules, stamp.now).number, ..About::default() }
    }

    /// Takes points back: from their own lot, then from the spendable, then from the pending, then as a debt or not at all.
    /// What came from pending lots, from spendable ones, what is owed now, and what is forgiven.
    pub(super) fn take_back(
        &mut self,
        stamp: &Stamp,
        kind: EntryKind,
        about: &About,
        points: i64,
        own: Option<LotKey>,
        (policy, cap): (ReturnPolicy, i64),
    ) -> [i64; 4] {
        let mut order: Vec<LotKey> = self.lots.keys().copied().collect();
        order.sort_by_key(|key| (own != Some(*key), key.activates.is_some()));
        let (mut left, mut pending, mut active, mut changes) = (points, 0, 0, Vec::new());
        for key in order {
            let within_reach = policy != ReturnPolicy::OnlyPending || (own == Some(key) && key.activates.is_some());
            let lot = self.lots[&key];
            let part = if within_reach { left.min(lot.points - lot.held) } else { 0 };
            if part > 0 {
                left -= part;
                *(if key.activates.is_some() { &mut pending } else { &mut active }) += part;
                changes.push((key, -part, 0));
            }
        }
        let may_owe = match policy {
            ReturnPolicy::Unlimited if cap == 0 => left,
            ReturnPolicy::Unlimited => cap - self.owed,
            ReturnPolicy::WithinBalance => self.held() - self.owed,
            ReturnPolicy::OnlyPending | ReturnPolicy::Unspecified => 0,
        };
        let owed = left.min(may_owe.max(0));
        self.post(stamp, kind, about, stamp.occurred, changes, owed);
        [pending, active, owed, left - owed]
    }
}

fn told(key: &LotKey, lot: &Lot) -> pb::Lot {
    pb::Lot {
        activate_time: key.activates.map(time),
        expire_time: (key.expires != i64::MAX).then(|| time(key.expires)),
        earn_month: key.earned,
        points: lot.points,
        reserved_points: lot.held,
        ..pb::Lot::default()
    }
}
