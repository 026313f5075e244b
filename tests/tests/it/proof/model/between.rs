//! What happens between two accounts: transfers, merges, and what members do with a pool.

use proto::points as pb;
use proto::points::EntryKind;
use tonic::Code;

use super::account::{About, Account, Change, Identity, Merged, Pool, PoolMember, Stamp};
use super::given_up::GivenUp;
use super::lots::{LotKey, Owner};
use super::rules::{Rules, version_at};
use super::{missing, refused};
use crate::it::proof::calls::Refusal;
use crate::it::suite::TEA;

/// The pool whose account is this member's, or the account of a pool's name.
pub(crate) fn pool_name(member: &str) -> String {
    format!("{TEA}/pools/{}", member.rsplit('/').next().unwrap_or_default())
}

/// In whose place a pool stands in its account.
pub(crate) fn pool_member(pool: &str) -> String {
    format!("{TEA}/members/{}", pool.rsplit('/').next().unwrap_or_default())
}

/// What one member has brought at so many moments is kept apart; the oldest counts with the next.
const BROUGHT_MAX: usize = 24;

/// Two accounts with what is done to them; the caller's stamp is the first one's.
pub(super) struct Desk<'a> {
    pub(super) rules: &'a [Rules],
    pub(super) stamp: &'a Stamp,
    pub(super) first: &'a mut Account,
    pub(super) second: &'a mut Account,
}

impl Desk<'_> {
    fn about(&self, reason: &str) -> About {
        About { reason: reason.to_owned(), terms: version_at(self.rules, self.stamp.now).number, ..About::default() }
    }

    /// Nobody is named for another at the second account.
    fn other_stamp(&self) -> Stamp {
        Stamp { presented: String::new(), ..self.stamp.clone() }
    }

    pub(super) fn transfer(&mut self, request: &pb::TransferRequest) -> Result<(), Refusal> {
        if self.first.pool.is_some() {
            return Err(refused("POOL_ACCOUNT"));
        }
        self.first.admit()?;
        self.second.admit()?;
        if self.second.pool.is_some() {
            return Err(refused("POOL_ACCOUNT"));
        }
        if request.points > self.first.active() {
            return Err(missing(request.points - self.first.active()));
        }
        let (lots, names) = (self.first.take(request.points), [self.first.member().to_owned(), self.second.member().to_owned()]);
        self.hand_over(&lots, None, names, &request.reason);
        Ok(())
    }

    pub(super) fn contribute(&mut self, request: &pb::ContributeToPoolRequest) -> Result<(), Refusal> {
        self.first.admit()?;
        let Some(pool) = &self.second.pool else { return Err(not_found("POOL_NOT_FOUND")) };
        let is_his = |known: &&PoolMember| known.joined && self.first.is_of(&known.owner.member);
        let Some(bringing) = pool.members.iter().find(is_his).map(|known| known.owner.clone()) else { return Err(refused("NOT_IN_POOL")) };
        if request.points > self.first.active() {
            return Err(missing(request.points - self.first.active()));
        }
        let (lots, names) = (self.first.take(request.points), [bringing.member.to_string(), self.second.member().to_owned()]);
        // Both books record it at one moment.
        let last = self.first.recorded.max(self.second.recorded);
        (self.first.recorded, self.second.recorded) = (last, last);
        self.hand_over(&lots, Some(bringing.clone()), names, "brought into the pool");
        let at = self.second.recorded;
        let brought = &mut self.second.pool.as_mut().expect("it is a pool's").brought;
        brought.push((bringing.clone(), at, request.points));
        let own: Vec<usize> = (0..brought.len()).filter(|index| brought[*index].0 == bringing).collect();
        if own.len() > BROUGHT_MAX {
            brought[own[1]].2 += brought[own[0]].2;
            brought.remove(own[0]);
        }
        Ok(())
    }

    /// Moves lots from the first account to the second. What arrives repays what is owed there.
    fn hand_over(&mut self, lots: &[(LotKey, i64)], origin: Option<Owner>, [from, to]: [String; 2], reason: &str) {
        let mut owed = self.second.owed();
        let mut arriving = Vec::new();
        for (key, points) in lots {
            let repaid = if key.is_open() { owed.min(*points) } else { 0 };
            owed -= repaid;
            if *points > repaid {
                arriving.push((key.given(origin.clone(), self.first.slides_until), points - repaid, 0));
            }
        }
        let about = self.about(reason);
        self.first.spend(self.stamp, EntryKind::TransferOut, &About { counterpart: to, ..about.clone() }, lots);
        let change = Change { owed: owed - self.second.owed(), ..Change::of_lots(arriving) };
        let stamp = self.other_stamp();
        self.second.post(&stamp, EntryKind::TransferIn, &About { counterpart: from, ..about }, change);
    }

    /// The first account takes the second in.
    pub(super) fn merge(&mut self, reason: &str) -> Result<(), Refusal> {
        if self.first.pool.is_some() || self.second.pool.is_some() {
            return Err(refused("POOL_ACCOUNT"));
        }
        if self.second.merged_into.is_some() {
            return Err(refused("ALREADY_MERGED"));
        }
        let (from, to) = (self.second.owner.clone(), self.first.owner.clone());
        let about = |counterpart: &Owner| About { counterpart: counterpart.member.to_string(), ..self.about(reason) };
        let (about_first, about_second) = (about(&from), about(&to));
        let lots: Vec<_> = self.second.lots.iter().map(|(key, lot)| (key.clone(), lot.points, lot.held)).collect();
        let (owed, purchases, holds) = (self.second.owed(), self.second.purchases, std::mem::take(&mut self.second.holds));
        let out = lots.iter().map(|(key, points, held)| (key.clone(), -points, -held));
        let stamp = self.other_stamp();
        // One person's entries follow one another from here on.
        self.first.recorded = self.first.recorded.max(self.second.recorded);
        let given_up = self.second.given_up.clone();
        let gone = given_up.iter().map(|known| GivenUp { points: -known.points, ..known.clone() }).collect();
        self.second.post(&stamp, EntryKind::MergeOut, &about_second, Change { owed: -owed, given_up: gone, ..Change::of_lots(out) });
        self.second.merged_into = Some(to.member.clone());
        let arriving = lots.iter().map(|(key, points, held)| (key.moved(&from, &to), *points, *held));
        let apart = [self.first.slides_until, self.second.slides_until];
        let change = Change { owed, given_up, slides: apart[1], ..Change::of_lots(arriving) };
        self.first.post(self.stamp, EntryKind::MergeIn, &about_first, change);
        let at = self.first.recorded;
        self.first.let_go = self.first.let_go.max(self.second.let_go);
        for mut hold in holds {
            hold.parts.iter_mut().for_each(|(key, _)| *key = key.moved(&from, &to));
            self.first.holds.push(hold);
        }
        self.first.purchases += purchases;
        let repaid = self.first.repay(self.stamp, &about_first);
        let nested = self.second.merged.iter().flat_map(|merged| merged.members.iter().map(|known| (known.clone(), merged.at)));
        let came_before = |(known, at): (Identity, i64)| Identity { came: known.came.or_else(|| Some((from.clone(), at))), ..known };
        let mut members: Vec<Identity> = nested.map(came_before).collect();
        members.push(Identity { owner: from, came: None });
        self.first.merged.push(Merged { members, at, purchases, owed, repaid, apart });
        Ok(())
    }

    /// The first account lets the second go: how many points go back.
    pub(super) fn unmerge(&mut self, reason: &str) -> Result<i64, Refusal> {
        let (from, to) = (self.first.owner.clone(), self.second.owner.clone());
        let index = self.first.merged.iter().position(|merged| merged.members.last().is_some_and(|known| known.owner == to));
        let Some(index) = index else { return Err(refused("NOT_MERGED")) };
        let merged = self.first.merged.remove(index);
        let came_along = |key: &LotKey| key.origin.as_ref().is_some_and(|origin| merged.has(&origin.member));
        let sum = |lots: &[(LotKey, i64)]| lots.iter().map(|lot| lot.1).sum::<i64>();
        let his = self.first.lots.iter().filter(|(key, lot)| came_along(key) && lot.free() > 0);
        let his: Vec<_> = his.map(|(key, lot)| (key.clone(), lot.free())).collect();
        // What points of one repaid for the other was a loan between two who are not one person.
        let (lent, borrowed): (Vec<_>, Vec<_>) = merged.repaid.iter().cloned().partition(|(key, _)| came_along(key));
        let owed = (merged.owed - sum(&borrowed)).min(self.first.owed());
        let about = |counterpart: &Owner| About { counterpart: counterpart.member.to_string(), ..self.about(reason) };
        let (about_first, about_second, stamp) = (about(&to), about(&from), self.other_stamp());
        let out = his.iter().map(|(key, points)| (key.clone(), -points, 0));
        let out = out.chain(borrowed.iter().map(|(key, points)| (key.clone(), *points, 0)));
        self.second.recorded = self.second.recorded.max(self.first.recorded);
        // What was given up of points that he had earned by himself goes along.
        let his_own = self.first.given_up.iter().filter(|known| merged.has(&known.of[0].member));
        let given_up: Vec<GivenUp> = his_own.cloned().collect();
        let gone = given_up.iter().map(|known| GivenUp { points: -known.points, ..known.clone() }).collect();
        let change = Change { owed: sum(&lent) - owed, given_up: gone, slides: merged.apart[0], ..Change::of_lots(out) };
        self.first.post(self.stamp, EntryKind::UnmergeOut, &about_first, change);
        self.first.purchases -= merged.purchases;
        let back = his.iter().chain(&lent).map(|(key, points)| (key.moved(&from, &to), *points, 0));
        let change = Change { owed: sum(&borrowed) + owed, given_up, slides: merged.apart[1], ..Change::of_lots(back) };
        self.second.post(&stamp, EntryKind::UnmergeIn, &about_second, change);
        self.second.let_go = Some(self.second.recorded);
        self.second.purchases = merged.purchases;
        self.second.merged_into = None;
        self.first.repay(self.stamp, &about_first);
        self.second.repay(&stamp, &about_second);
        Ok(sum(&his) + sum(&lent))
    }

    /// The first account is a pool's, of which the second's member spends: the lots.
    pub(super) fn redeem_from_pool(&mut self, request: &pb::RedeemFromPoolRequest) -> Result<Vec<(LotKey, i64)>, Refusal> {
        self.second.admit()?;
        let Some(pool) = self.first.pool.clone() else { return Err(not_found("POOL_NOT_FOUND")) };
        let joined = |known: &&PoolMember| known.joined && *known.owner.member == *request.member;
        let Some(spender) = pool.members.iter().find(joined) else { return Err(refused("NOT_IN_POOL")) };
        let shared = |origin: &Owner| pool.members.iter().any(|known| known.joined && known.shares && known.owner == *origin);
        let may_spend = |key: &LotKey| key.origin.as_ref().is_some_and(|origin| *origin == spender.owner || shared(origin));
        let lots = self.first.take_where(request.points, may_spend);
        let there: i64 = lots.iter().map(|lot| lot.1).sum();
        let up_to = request.mode() == pb::redeem_request::Mode::UpTo;
        if there == 0 || (there < request.points && !up_to) {
            return Err(missing(request.points - there));
        }
        let about = About { counterpart: request.member.clone(), ..self.about(&request.reference) };
        self.first.spend(self.stamp, EntryKind::Redeem, &about, &lots);
        Ok(lots)
    }

    /// The second's member, by the name that was given, leaves the pool of the first account: how many points he takes back.
    pub(super) fn leave(&mut self, named: &str) -> Result<i64, Refusal> {
        let Some(pool) = self.first.pool.clone() else { return Err(not_found("POOL_NOT_FOUND")) };
        let leaver = Owner::new(named);
        let is_known = pool.members.iter().any(|known| known.owner == leaver);
        let lots = self.first.in_order().into_iter().filter(|(key, lot)| key.origin.as_ref() == Some(&leaver) && lot.free() > 0);
        let lots: Vec<_> = lots.map(|(key, lot)| (key.clone(), lot.free())).collect();
        if !is_known && lots.is_empty() {
            return Err(refused("NOT_IN_POOL"));
        }
        let is_owner = pool.members.first().is_some_and(|known| known.owner == leaver);
        let others = pool.members.get(1..).unwrap_or_default();
        if is_owner && others.iter().any(|known| known.joined) {
            return Err(refused("POOL_HAS_MEMBERS"));
        }
        let points: i64 = lots.iter().map(|lot| lot.1).sum();
        if points > 0 {
            let names = [self.first.member().to_owned(), self.second.member().to_owned()];
            self.hand_over(&lots, (leaver != self.second.owner).then(|| leaver.clone()), names, "left the pool");
            let mut returned = Vec::new();
            let (mut left, pool) = (points, self.first.pool.as_mut().expect("it is a pool's"));
            // What was brought last is what is left.
            for (_, at, brought) in pool.brought.iter_mut().rev().filter(|(known, _, _)| *known == leaver) {
                let part = left.min(*brought);
                (left, *brought) = (left - part, *brought - part);
                returned.push((*at, part));
            }
            pool.brought.retain(|(_, _, points)| *points > 0);
            let stamp = self.other_stamp();
            self.second.take_after_all(&stamp, self.rules, &leaver, returned);
        }
        for other in others.iter().filter(|_| is_owner) {
            self.first
                .change_pool(self.stamp, self.rules, &other.owner, "left", |pool| pool.members.retain(|known| known.owner != other.owner));
        }
        if is_known {
            self.first.change_pool(self.stamp, self.rules, &leaver, "left", |pool| pool.members.retain(|known| known.owner != leaver));
        }
        Ok(points)
    }
}

impl Account {
    /// Spendable points repay what is owed, where the two have come together: the lots that did.
    fn repay(&mut self, stamp: &Stamp, about: &About) -> Vec<(LotKey, i64)> {
        self.lapse(stamp, stamp.now);
        let lots = self.take(self.owed().min(self.active()));
        let points: i64 = lots.iter().map(|lot| lot.1).sum();
        if points > 0 {
            let out = lots.iter().map(|(key, part)| (key.clone(), -part, 0));
            self.post(stamp, EntryKind::Repay, about, Change { owed: -points, ..Change::of_lots(out) });
        }
        lots
    }

    fn change_pool(&mut self, stamp: &Stamp, rules: &[Rules], whom: &Owner, what: &str, change: impl FnOnce(&mut Pool)) {
        let (counterpart, reason) = (whom.member.to_string(), what.to_owned());
        let about = About { counterpart, reason, terms: version_at(rules, stamp.now).number, ..About::default() };
        self.post(stamp, EntryKind::Pool, &about, Change::default());
        change(self.pool.get_or_insert_default());
    }

    pub(super) fn open_pool(&mut self, stamp: &Stamp, rules: &[Rules], request: &pb::CreatePoolRequest) -> Result<(), Refusal> {
        if self.version() > 0 {
            return Err(refused("ALREADY_IN_POOL"));
        }
        let owner = Owner::new(&request.member);
        let member = PoolMember { owner: owner.clone(), joined: true, shares: request.shares };
        self.change_pool(stamp, rules, &owner, "opened", |pool| pool.members.push(member));
        Ok(())
    }

    pub(super) fn invite(&mut self, stamp: &Stamp, rules: &[Rules], request: &pb::InviteToPoolRequest) -> Result<(), Refusal> {
        let Some(pool) = &self.pool else { return Err(not_found("POOL_NOT_FOUND")) };
        if pool.members.first().is_none_or(|known| *known.owner.member != *request.member) {
            return Err(refused("NOT_POOL_OWNER"));
        }
        let owner = Owner::new(&request.invited_member);
        if pool.members.iter().any(|known| known.owner == owner) {
            return Err(refused("ALREADY_IN_POOL"));
        }
        let member = PoolMember { owner: owner.clone(), joined: false, shares: false };
        self.change_pool(stamp, rules, &owner, "invited", |pool| pool.members.push(member));
        Ok(())
    }

    pub(super) fn join(&mut self, stamp: &Stamp, rules: &[Rules], request: &pb::JoinPoolRequest) -> Result<(), Refusal> {
        let index = self.pool_member(&request.member)?.ok_or_else(|| refused("NOT_INVITED"))?;
        if self.pool.as_ref().is_some_and(|pool| pool.members[index].joined) {
            return Err(refused("ALREADY_IN_POOL"));
        }
        let shares = request.shares;
        self.change_pool(stamp, rules, &Owner::new(&request.member), "joined", |pool| {
            (pool.members[index].joined, pool.members[index].shares) = (true, shares);
        });
        Ok(())
    }

    pub(super) fn set_sharing(&mut self, stamp: &Stamp, rules: &[Rules], request: &pb::SetPoolSharingRequest) -> Result<(), Refusal> {
        let index = self.pool_member(&request.member)?;
        let joined = index.filter(|index| self.pool.as_ref().is_some_and(|pool| pool.members[*index].joined));
        let index = joined.ok_or_else(|| refused("NOT_IN_POOL"))?;
        let what = if request.shares { "shares" } else { "does not share" };
        self.change_pool(stamp, rules, &Owner::new(&request.member), what, |pool| pool.members[index].shares = request.shares);
        Ok(())
    }

    fn pool_member(&self, member: &str) -> Result<Option<usize>, Refusal> {
        let pool = self.pool.as_ref().ok_or_else(|| not_found("POOL_NOT_FOUND"))?;
        Ok(pool.members.iter().position(|known| *known.owner.member == *member))
    }

    /// The pool whose account it is.
    pub(super) fn pool_told(&self) -> Option<pb::Pool> {
        let free_of = |owner: &Owner| {
            let lots = self.lots.iter().filter(|(key, _)| key.origin.as_ref() == Some(owner));
            lots.map(|(_, lot)| lot.free()).sum()
        };
        let members = self.pool.as_ref()?.members.iter().enumerate().map(|(index, known)| pb::PoolMember {
            member: known.owner.member.to_string(),
            owner: index == 0,
            joined: known.joined,
            shares: known.shares,
            points: free_of(&known.owner),
            other_points: Vec::new(),
        });
        Some(pb::Pool { name: pool_name(self.member()), members: members.collect() })
    }
}

fn not_found(reason: &str) -> Refusal {
    Refusal::new(Code::NotFound, reason, &[])
}
