//! One member's points, or a pool's, as one would keep them on paper: lots in a list, balances added up whenever they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::events::MemberState;
use proto::points as pb;
use proto::points::EntryKind;

use super::given_up::GivenUp;
use super::lots::{Lot, LotKey, NEVER, Owner, SLIDING};
use super::refused;
use super::rules::{Rules, time, version_at};
use crate::it::proof::calls::Refusal;

/// Points set aside.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    /// The id, by which it is known whoever's account it is in.
    pub(super) id: String,
    pub(super) until: i64,
    pub(super) reference: String,
    pub(super) several: bool,
    pub(super) captured: i64,
    pub(super) parts: Vec<(LotKey, i64)>,
}

impl Hold {
    pub(super) fn points(&self) -> i64 {
        self.parts.iter().map(|part| part.1).sum()
    }
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
    /// The member that was named, where another has taken him in; else empty.
    pub(super) presented: String,
    pub(super) occurred: i64,
    pub(super) now: i64,
}

impl Stamp {
    pub(super) fn of_clock(now: i64) -> Stamp {
        Stamp { actor: "clock".to_owned(), occurred: now, now, ..Stamp::default() }
    }
}

/// What an entry is about.
#[derive(Clone, Default)]
pub(super) struct About {
    pub(super) purchase: String,
    pub(super) reservation: String,
    pub(super) activity: String,
    pub(super) redemption: String,
    pub(super) counterpart: String,
    pub(super) reason: String,
    pub(super) approver: String,
    /// Number of the terms that applied; 0 for none.
    pub(super) terms: i64,
}

/// What an entry changes.
#[derive(Default)]
pub(super) struct Change {
    /// Lots, the change of their points and of what is held of them.
    pub(super) lots: Vec<(LotKey, i64, i64)>,
    pub(super) owed: i64,
    pub(super) given_up: Vec<GivenUp>,
    /// Until when sliding lots live because of it, where that is told by another account.
    pub(super) slides: Option<i64>,
    /// From when it counts, where that is not when it happened.
    pub(super) effective: Option<i64>,
}

impl Change {
    pub(super) fn of_lots(lots: impl IntoIterator<Item = (LotKey, i64, i64)>) -> Change {
        Change { lots: lots.into_iter().collect(), ..Change::default() }
    }
}

/// One of those who were taken in at once.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) owner: Owner,
    /// Who had taken him in before, and when.
    pub(super) came: Option<(Owner, i64)>,
}

/// An account that was taken in, with what it takes to let it go.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    /// Its member last, and before him those whom he had taken in.
    pub(super) members: Vec<Identity>,
    pub(super) at: i64,
    pub(super) purchases: i64,
    pub(super) owed: i64,
    /// Lots of either that repaid what the other owed.
    pub(super) repaid: Vec<(LotKey, i64)>,
    /// Until when sliding lots would live if the two had stayed apart: the survivor's and the other's.
    pub(super) apart: [Option<i64>; 2],
}

impl Merged {
    pub(super) fn has(&self, member: &str) -> bool {
        self.members.iter().any(|known| *known.owner.member == *member)
    }

    /// On which side of the merge somebody is: 0 the survivor's, 1 the other's.
    pub(super) fn side(&self, name: &Option<Owner>) -> usize {
        usize::from(name.as_ref().is_some_and(|owner| self.has(&owner.member)))
    }
}

/// Who shares a pool.
#[derive(Clone, Default, Debug)]
pub(super) struct Pool {
    pub(super) members: Vec<PoolMember>,
    /// What each has brought and not taken back, and when.
    pub(super) brought: Vec<(Owner, i64, i64)>,
}

#[derive(Clone, Debug)]
pub(super) struct PoolMember {
    pub(super) owner: Owner,
    pub(super) joined: bool,
    pub(super) shares: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(super) owner: Owner,
    pub(super) rules: Arc<Vec<Rules>>,
    pub(crate) entries: Vec<Arc<pb::Entry>>,
    pub(super) lots: BTreeMap<LotKey, Lot>,
    pub(super) holds: Vec<Hold>,
    /// Until when sliding lots live, and when they lapsed last before the member did something again.
    pub(super) slides_until: Option<i64>,
    pub(super) slid: Option<i64>,
    pub(super) owed: i64,
    /// What should have been taken back and had been spent.
    pub(super) given_up: Vec<GivenUp>,
    pub(super) purchases: i64,
    pub(super) recorded: i64,
    pub(super) merged_into: Option<Arc<str>>,
    pub(super) merged: Vec<Merged>,
    /// What the ledger knows of its member, and how often that has changed.
    pub(super) state: MemberState,
    pub(super) facts: i64,
    /// When it, or one that it took in, was let go last.
    pub(super) let_go: Option<i64>,
    pub(super) pool: Option<Pool>,
}

impl Account {
    pub(super) fn of(member: &str, rules: &Arc<Vec<Rules>>) -> Account {
        Account {
            owner: Owner::new(member),
            rules: rules.clone(),
            slides_until: None,
            slid: None,
            entries: Vec::new(),
            lots: BTreeMap::new(),
            holds: Vec::new(),
            owed: 0,
            given_up: Vec::new(),
            purchases: 0,
            recorded: 0,
            merged_into: None,
            merged: Vec::new(),
            state: MemberState::Active,
            facts: 0,
            let_go: None,
            pool: None,
        }
    }

    pub(super) fn member(&self) -> &str {
        &self.owner.member
    }

    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap()
    }

    /// Whether it is this member's account, or has taken his in.
    pub(super) fn is_of(&self, member: &str) -> bool {
        self.member() == member || self.has_merged(member)
    }

    pub(super) fn has_merged(&self, member: &str) -> bool {
        self.merged.iter().any(|merged| merged.has(member))
    }

    /// When a lot lapses here.
    pub(super) fn lapses(&self, key: &LotKey) -> i64 {
        key.lapses(self.slides_until)
    }

    /// The lots in the order in which they are spent: those that slide stand where their moment is, behind what lapses with them.
    pub(super) fn in_order(&self) -> Vec<(&LotKey, &Lot)> {
        let mut lots: Vec<_> = self.lots.iter().collect();
        let slides_until = self.slides_until.unwrap_or(SLIDING);
        lots.sort_by_key(|(key, _)| if key.expires == SLIDING { (slides_until, 1) } else { (key.expires, 0) });
        lots
    }

    fn sum(&self, of: impl Fn(&LotKey, &Lot) -> i64) -> i64 {
        self.lots.iter().map(|(key, lot)| of(key, lot)).sum()
    }

    pub(super) fn active(&self) -> i64 {
        self.sum(|key, lot| if key.is_open() { lot.free() } else { 0 })
    }

    fn pending(&self) -> i64 {
        self.sum(|key, lot| if key.is_open() { 0 } else { lot.points })
    }

    pub(super) fn held(&self) -> i64 {
        self.sum(|_, lot| lot.held)
    }

    pub(super) fn owed(&self) -> i64 {
        self.owed
    }

    /// Σ lots less what is owed.
    pub(crate) fn total(&self) -> i64 {
        self.sum(|_, lot| lot.points) - self.owed
    }

    /// Moments at which something changes by itself.
    pub(crate) fn due_times(&self) -> impl Iterator<Item = i64> {
        let of_lot = move |key: &LotKey| {
            let cancelled = key.gate().and_then(|gate| gate.cancelled);
            [key.opens(), cancelled, Some(self.lapses(key))].into_iter().flatten()
        };
        self.lots.keys().flat_map(of_lot).chain(self.holds.iter().map(|hold| hold.until))
    }

    pub(super) fn balance(&self, now: i64, with_lots: bool) -> pb::Balance {
        let free = |wanted: i64| self.sum(|key, lot| if key.is_open() && self.lapses(key) == wanted { lot.free() } else { 0 });
        let spendable = self.lots.iter().filter(|(key, lot)| key.is_open() && lot.free() > 0);
        let expires = spendable.map(|(key, _)| self.lapses(key)).min().filter(|at| *at != NEVER);
        let activates = self.lots.keys().filter_map(LotKey::opens).min();
        let wallet = pb::WalletBalance {
            wallet: "points".to_owned(),
            active_points: self.active(),
            pending_points: self.pending(),
            reserved_points: self.held(),
            deficit_points: self.owed,
            next_expire_time: expires.map(time),
            next_expire_points: expires.map_or(0, free),
            next_activate_time: activates.map(time),
            next_activate_points: self.sum(|key, lot| if activates.is_some() && key.opens() == activates { lot.points } else { 0 }),
            lots: self.in_order().into_iter().filter(|_| with_lots).map(|(key, lot)| key.told(lot, self.slides_until)).collect(),
        };
        pb::Balance {
            member: self.member().to_owned(),
            wallets: vec![wallet],
            version: self.version(),
            as_of_time: Some(time(now)),
            known_time: None,
        }
    }

    /// Who is blocked or has left neither earns nor spends.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        match self.state {
            MemberState::Blocked => Err(refused("MEMBER_BLOCKED")),
            MemberState::Closed => Err(refused("MEMBER_CLOSED")),
            MemberState::Active | MemberState::Unspecified => Ok(()),
        }
    }

    /// When the next entry is recorded.
    pub(super) fn next_record(&self, stamp: &Stamp) -> i64 {
        stamp.now.max(self.recorded + 1)
    }

    /// Writes an entry: lots change, and what is owed.
    pub(super) fn post(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, change: Change) {
        let slides = change.slides.map(|until| (until, Vec::new())).or_else(|| self.kept_alive(stamp, kind, &change));
        let Change { lots, owed, given_up, effective, slides: _ } = change;
        for (key, points, held) in &lots {
            let lot = self.lots.entry(key.clone()).or_default();
            lot.points += points;
            lot.held += held;
            assert!(0 <= lot.held && lot.held <= lot.points, "the model takes more out of a lot than is in it: {key:?} {lot:?}");
        }
        self.lots.retain(|_, lot| lot.points > 0);
        self.owed += owed;
        assert!(self.owed >= 0, "the model repays more than is owed");
        self.change_given_up(given_up);
        self.recorded = self.next_record(stamp);
        if let Some((until, names)) = &slides {
            self.slide(kind, *until, names);
        }
        let version = self.version() + 1;
        let entry = pb::Entry {
            name: format!("{}/entries/{version}", self.member()),
            version,
            kind: kind.into(),
            wallet: "points".to_owned(),
            points: lots.iter().map(|change| change.1).sum::<i64>() - owed,
            active_after: self.active(),
            pending_after: self.pending(),
            reserved_after: self.held(),
            deficit_after: self.owed,
            lots: lots.iter().map(|(key, points, held)| key.change_told(*points, *held)).collect(),
            deficit_delta: owed,
            purchase: about.purchase.clone(),
            reservation: about.reservation.clone(),
            operation: stamp.operation.clone(),
            request_id: stamp.request_id.clone(),
            actor: stamp.actor.clone(),
            terminal: stamp.terminal.clone(),
            store: stamp.store.clone(),
            cashier: String::new(),
            reason: about.reason.clone(),
            approver: about.approver.clone(),
            program_version: if about.terms == 0 { String::new() } else { format!("{}/versions/{}", super::TEA, about.terms) },
            fact_version: self.facts,
            occur_time: Some(time(stamp.occurred)),
            effective_time: Some(time(effective.unwrap_or(stamp.occurred))),
            record_time: Some(time(self.recorded)),
            counterpart: about.counterpart.clone(),
            presented_member: stamp.presented.clone(),
            activity: about.activity.clone(),
            redemption: about.redemption.clone(),
            sliding_expire_time: slides.map(|(until, _)| time(until)),
        };
        self.entries.push(Arc::new(entry));
    }

    /// The lot of what is earned in the name of a member who was taken in.
    pub(super) fn named(&self, stamp: &Stamp, key: LotKey) -> LotKey {
        let origin = (!stamp.presented.is_empty()).then(|| Owner::new(&stamp.presented));
        LotKey { origin, ..key }
    }

    /// Adds points. What is spendable at once and alive repays what is owed.
    pub(super) fn credit(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, key: LotKey, points: i64) {
        let slides_until = self.slides_until.max(version_at(&self.rules, stamp.occurred).slides_until(stamp.occurred));
        let repaid = if key.is_open() && key.lapses(slides_until) > stamp.now { points.min(self.owed) } else { 0 };
        let lots = (points > repaid).then_some((key, points - repaid, 0));
        self.post(stamp, kind, about, Change { owed: -repaid, ..Change::of_lots(lots) });
    }

    /// The lots out of which so many spendable points come; fewer than asked for when there are fewer.
    pub(super) fn take(&self, points: i64) -> Vec<(LotKey, i64)> {
        self.take_where(points, |_| true)
    }

    /// The same out of some of the lots.
    pub(super) fn take_where(&self, mut points: i64, admits: impl Fn(&LotKey) -> bool) -> Vec<(LotKey, i64)> {
        let mut taken = Vec::new();
        for (key, lot) in self.in_order().into_iter().filter(|(key, _)| key.is_open() && admits(key)) {
            let part = points.min(lot.free());
            if part > 0 {
                taken.push((key.clone(), part));
                points -= part;
            }
        }
        taken
    }

    /// Takes lots out; they are what a redemption can give back.
    pub(super) fn spend(&mut self, stamp: &Stamp, kind: EntryKind, about: &About, lots: &[(LotKey, i64)]) {
        self.post(stamp, kind, about, Change::of_lots(lots.iter().map(|(key, part)| (key.clone(), -part, 0))));
    }

    pub(super) fn hold(&mut self, stamp: &Stamp, about: &About, hold: Hold) {
        self.post(stamp, EntryKind::Reserve, about, Change::of_lots(hold.parts.iter().map(|(key, part)| (key.clone(), 0, *part))));
        self.holds.push(hold);
    }

    pub(super) fn about_hold(&self, hold: &Hold, rules: &[Rules], stamp: &Stamp) -> About {
        let reservation = format!("{}/reservations/{}", self.member(), hold.id);
        About { reservation, reason: hold.reference.clone(), terms: version_at(rules, stamp.now).number, ..About::default() }
    }

    /// Spends the first points of a hold; the lots that they came from.
    pub(super) fn capture(&mut self, stamp: &Stamp, rules: &[Rules], id: &str, points: i64) -> Vec<(LotKey, i64)> {
        let index = self.holds.iter().position(|hold| hold.id == id).expect("the hold is open");
        let about = self.about_hold(&self.holds[index], rules, stamp);
        let hold = &mut self.holds[index];
        let (mut to_spend, mut spent) = (points, Vec::new());
        for (key, held) in &mut hold.parts {
            let taken = to_spend.min(*held);
            to_spend -= taken;
            *held -= taken;
            if taken > 0 {
                spent.push((key.clone(), taken));
            }
        }
        hold.captured += points;
        hold.parts.retain(|(_, held)| *held > 0);
        if hold.parts.is_empty() {
            self.holds.remove(index);
        }
        let lots = spent.iter().map(|(key, taken)| (key.clone(), -taken, -taken));
        self.post(stamp, EntryKind::Capture, &about, Change::of_lots(lots));
        spent
    }
}
