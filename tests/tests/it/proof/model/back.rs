//! What comes back to an account, and what is taken back from it.

use proto::points::EntryKind;
use proto::points::terms::ReturnPolicy;

use super::account::{About, Account, Change, Stamp};
use super::given_up::GivenUp;
use super::lots::{LotKey, Owner, SLIDING};
use super::rules::{DAY, Rules, version_at};

/// Points that were spent.
#[derive(Clone, Debug)]
pub(super) struct Redemption {
    /// The operation's name.
    pub(super) name: String,
    /// Whose account they were in.
    pub(super) owner: Owner,
    /// Who spent them, where that is somebody else.
    pub(super) spender: String,
    pub(super) lots: Vec<(LotKey, i64)>,
    pub(super) spent: i64,
    pub(super) refunded: i64,
}

impl Redemption {
    pub(super) fn left(&self) -> i64 {
        self.lots.iter().map(|lot| lot.1).sum::<i64>() - self.refunded
    }
}

/// Where points go that come back or come free.
#[derive(Default)]
struct Alive {
    lots: Vec<(LotKey, i64)>,
    /// What had been given up and is taken after all.
    given_up: Vec<GivenUp>,
    taken: i64,
    repaid: i64,
    lapsed: i64,
}

/// What became of points that were given back.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) points: i64,
    pub(super) repaid: i64,
    pub(super) lapsed: i64,
}

impl Account {
    /// Ends a hold: what it keeps comes free.
    pub(super) fn release(&mut self, stamp: &Stamp, rules: &[Rules], id: &str, ended: i64) {
        let index = self.holds.iter().position(|hold| hold.id == id).expect("the hold is open");
        let hold = self.holds.remove(index);
        let about = self.about_hold(&hold, rules, stamp);
        let mut lots: Vec<_> = hold.parts.iter().map(|(key, held)| (key.clone(), -held, -held)).collect();
        let alive = self.come_alive(rules, &hold.parts, &[], ended);
        for (key, points) in alive.lots {
            match lots.iter_mut().find(|lot| lot.0 == key) {
                Some(lot) => lot.1 += points,
                None => lots.push((key, points, 0)),
            }
        }
        self.post(stamp, EntryKind::Release, &about, Change { owed: -alive.repaid, effective: Some(ended), ..Change::of_lots(lots) });
    }

    /// Points of lots live on there; where that has lapsed, for the grace of the terms or not at all. Those that live are first what
    /// had been given up, and then repay what is owed.
    fn come_alive(&self, rules: &[Rules], parts: &[(LotKey, i64)], given_up: &[&GivenUp], at: i64) -> Alive {
        let grace = version_at(rules, at).grace_days * DAY;
        let (mut owed, mut missing) = (self.owed(), given_up.iter().map(|known| known.points).sum::<i64>());
        let mut alive = Alive::default();
        for (key, points) in parts {
            let (lapsed, mut key) = (self.lapses(key) <= at, key.clone());
            if lapsed && grace > 0 {
                key.expires = at + grace;
            }
            // In a pool everybody's points stay told apart, elsewhere those of who has been taken in.
            key.origin = key.origin.filter(|origin| self.pool.is_some() || self.has_merged(&origin.member));
            let dead = self.lapses(&key) <= at;
            let taken = if dead { 0 } else { missing.min(*points) };
            let repaid = if dead { 0 } else { owed.min(points - taken) };
            (missing, owed) = (missing - taken, owed - repaid);
            (alive.taken, alive.repaid) = (alive.taken + taken, alive.repaid + repaid);
            alive.lapsed += if dead { *points } else { 0 };
            if points - taken - repaid > 0 {
                alive.lots.push((key, points - taken - repaid));
            }
        }
        alive.given_up = GivenUp::take(given_up.iter().copied(), alive.taken);
        alive
    }

    /// Gives points of a redemption back, the last that were taken first.
    pub(super) fn give_back(&mut self, stamp: &Stamp, rules: &[Rules], about: &About, spent: &Redemption, points: i64) -> Restored {
        // Laid out point by point it needs no thought: the newest first, without those that have gone back, and then so many.
        let count = |points: i64| usize::try_from(points).expect("none is negative");
        let newest_first = (0..spent.lots.len()).rev().flat_map(|lot| std::iter::repeat_n(lot, count(spent.lots[lot].1)));
        let coming: Vec<usize> = newest_first.skip(count(spent.refunded)).take(count(points)).collect();
        let parts: Vec<(LotKey, i64)> = coming
            .chunk_by(|one, other| one == other)
            .map(|lot| {
                let key = &spent.lots[lot[0]].0;
                let mut key = if spent.owner == self.owner { key.clone() } else { key.moved(&spent.owner, &self.owner) };
                // What would have lapsed since stays lapsed, whatever the member did afterwards.
                if let Some(slid) = self.slid.filter(|slid| spent.owner == self.owner && key.expires == SLIDING && spent.spent < *slid) {
                    key.expires = slid;
                }
                (key, i64::try_from(lot.len()).expect("it was counted"))
            })
            .collect();
        // What was given up because it had been spent is taken after all.
        let given_up: Vec<_> = self.given_up.iter().filter(|known| known.at > spent.spent && known.of.contains(&spent.owner)).collect();
        let alive = self.come_alive(rules, &parts, &given_up, stamp.now);
        let lots = alive.lots.into_iter().map(|(key, points)| (key, points, 0));
        let change = Change { owed: -alive.repaid, given_up: alive.given_up, ..Change::of_lots(lots) };
        self.post(stamp, EntryKind::Refund, about, change);
        Restored { points, repaid: alive.taken + alive.repaid, lapsed: alive.lapsed }
    }

    /// Takes points back: from their own lot, then from the spendable, then from the pending, then as a debt or not at all.
    /// What came from pending lots, from spendable ones, what is owed now, and what is forgiven.
    pub(super) fn take_back(
        &mut self,
        stamp: &Stamp,
        kind: EntryKind,
        about: &About,
        points: i64,
        (own, earned): (Option<&LotKey>, i64),
        (policy, cap): (ReturnPolicy, i64),
    ) -> [i64; 4] {
        let is_own = |key: &LotKey| own.is_some_and(|own| own == key || own.waits_like(key));
        let mut order: Vec<LotKey> = self.in_order().into_iter().map(|(key, _)| key.clone()).collect();
        order.sort_by_key(|key| (!is_own(key), !is_own(key) && !key.is_open()));
        let (mut left, mut pending, mut active, mut lots) = (points, 0, 0, Vec::new());
        for key in order {
            let within_reach = policy != ReturnPolicy::OnlyPending || (is_own(&key) && !key.is_open());
            let part = if within_reach { left.min(self.lots[&key].free()) } else { 0 };
            if part > 0 {
                left -= part;
                *(if key.is_open() { &mut active } else { &mut pending }) += part;
                lots.push((key, -part, 0));
            }
        }
        // What a reservation holds is there, only out of reach.
        let may_owe = match policy {
            ReturnPolicy::OnlyPending | ReturnPolicy::Unspecified => 0,
            // It may have been spent in the books of who had taken the account in, which do not know of this.
            _ if self.let_go.is_some_and(|at| earned <= at) => left,
            ReturnPolicy::Unlimited if cap == 0 => left,
            ReturnPolicy::Unlimited => cap.max(self.held()) - self.owed(),
            ReturnPolicy::WithinBalance => self.held() - self.owed(),
        };
        let owed = left.min(may_owe.max(0));
        let forgiven = left - owed;
        // By the terms what is not pending stays with the member; what was spent does not, should it come back.
        let is_spent = policy != ReturnPolicy::OnlyPending && forgiven > 0;
        let given_up = is_spent.then(|| GivenUp { at: self.next_record(stamp), of: self.one_with(stamp, earned), points: forgiven });
        self.post(stamp, kind, about, Change { owed, given_up: given_up.into_iter().collect(), ..Change::of_lots(lots) });
        [pending, active, owed, forgiven]
    }
}
