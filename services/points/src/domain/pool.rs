//! Household pools. A pool has an account of its own; members bring points into it by transfer, so that lots keep expiry and origin,
//! and the origin says whose they are: who may spend them, and who takes them back.

use std::sync::Arc;

use kernel::{MemberId, Timestamp};

use super::between::Side;
use super::ledger::Posting;
use super::{AccountId, Entry, EntryKind, GivenUp, Ledger, LotChange, LotKey, MAIN_WALLET, Outcome, Redeem, Refusal, Source};

/// The most members that a pool has, those who are invited included.
const MEMBERS_MAX: usize = 20;

/// What one account has brought into a wallet at so many times is kept apart.
const BROUGHT_MAX: usize = 24;

/// Who shares a pool's account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Its members, the owner first.
    pub members: Vec<PoolMember>,
    /// What each account has brought and not taken back, oldest first; also of those who have left: what they spent may come back. Wallets
    /// stay apart.
    pub brought: Vec<Brought>,
}

/// Points that an account has brought at once, less what it has taken back of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brought {
    /// Who.
    pub account: AccountId,
    /// When, as it was recorded in both books.
    pub at: Timestamp,
    /// The wallet.
    pub wallet: Arc<str>,
    /// How many.
    pub points: i64,
}

/// A member of a pool, or somebody who is invited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolMember {
    /// Who.
    pub member: MemberId,
    /// His own account.
    pub account: AccountId,
    /// He has accepted.
    pub joined: bool,
    /// Others may spend what he brings.
    pub shares: bool,
}

/// What changes in a pool about one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolChange {
    /// He opened it.
    Opened {
        /// Others may spend what he brings.
        shares: bool,
    },
    /// He was invited.
    Invited,
    /// He accepted.
    Joined {
        /// Others may spend what he brings.
        shares: bool,
    },
    /// He changed his mind about that.
    Shares(bool),
    /// He left, or declined.
    Left,
}

/// A change of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangePool {
    /// Whom it is about.
    pub member: MemberId,
    /// His own account.
    pub account: AccountId,
    /// Who invites.
    pub by: MemberId,
    /// What changes.
    pub change: PoolChange,
}

/// Somebody leaves a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavePool {
    /// Who.
    pub member: MemberId,
    /// His own account.
    pub account: AccountId,
}

/// Points of a pool to spend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedeemFromPool {
    /// Who spends them.
    pub spender: MemberId,
    /// What.
    pub redeem: Redeem,
}

impl Pool {
    /// What is known of a member.
    pub fn member(&self, member: MemberId) -> Option<&PoolMember> {
        self.members.iter().find(|known| known.member == member)
    }

    fn joined(&self, member: MemberId) -> Result<&PoolMember, Refusal> {
        self.member(member).filter(|known| known.joined).ok_or(Refusal::NotInPool)
    }

    /// Whether a member may spend from a lot: his own, and those of whoever shares.
    fn may_spend(&self, spender: AccountId, key: &LotKey) -> bool {
        let shares = |origin| self.members.iter().any(|known| known.joined && known.shares && known.account == origin);
        key.origin.is_some_and(|origin| origin == spender || shares(origin))
    }

    /// Notes that points of an account have come.
    pub(super) fn note_brought(&mut self, entry: &Entry) {
        let Some(account) = entry.lots.iter().find_map(|lot| lot.key.origin) else { return };
        self.brought.push(Brought { account, at: entry.recorded_at, wallet: entry.wallet.clone(), points: entry.points });
        let is_like = |known: &Brought| known.account == account && known.wallet == entry.wallet;
        let mut own = self.brought.iter().enumerate().filter(|(_, known)| is_like(known)).map(|(index, _)| index);
        if let (Some(oldest), Some(next), true) = (own.next(), own.next(), own.count() + 2 > BROUGHT_MAX) {
            // Counted as later than it was, it is taken less often.
            let Brought { points, .. } = self.brought.remove(oldest);
            self.brought[next - 1].points += points;
        }
    }

    /// Notes that points of an account have gone back to it.
    pub(super) fn note_taken_out(&mut self, entry: &Entry) {
        let Some(account) = entry.lots.iter().find_map(|lot| lot.key.origin) else { return };
        for part in self.brought_last(account, &entry.wallet, -entry.points) {
            let known = self.brought.iter_mut().find(|known| known.account == account && known.at == part.at);
            known.expect("it is a part of it").points -= part.points;
        }
        self.brought.retain(|known| known.points > 0);
    }

    /// So many points of an account that are left in a wallet, newest first: what was brought first is what was spent.
    fn brought_last(&self, account: AccountId, wallet: &str, points: i64) -> Vec<Brought> {
        let mut left = points;
        let mut parts = Vec::new();
        for known in self.brought.iter().rev().filter(|known| known.account == account && *known.wallet == *wallet) {
            let points = known.points.min(left);
            left -= points;
            if points > 0 {
                parts.push(Brought { points, ..known.clone() });
            }
        }
        parts
    }

    /// Takes a change into the fold.
    pub(super) fn evolve(&mut self, member: MemberId, account: AccountId, change: PoolChange) {
        let known = self.members.iter_mut().find(|known| known.member == member);
        match (change, known) {
            (PoolChange::Left, _) => self.members.retain(|known| known.member != member),
            (PoolChange::Shares(shares), Some(known)) => known.shares = shares,
            (PoolChange::Joined { shares } | PoolChange::Opened { shares }, Some(known)) => (known.joined, known.shares) = (true, shares),
            (PoolChange::Opened { shares }, None) => self.members.push(PoolMember { member, account, joined: true, shares }),
            (_, None) => self.members.push(PoolMember { member, account, joined: false, shares: false }),
            (PoolChange::Invited, Some(_)) => {}
        }
    }
}

impl Ledger<'_> {
    pub(super) fn change_pool(&mut self, request: &ChangePool) -> Result<Outcome, Refusal> {
        let known = self.account.pool.as_ref();
        if let PoolChange::Opened { .. } = request.change {
            if self.account.version > 0 {
                return Err(Refusal::AlreadyInPool);
            }
        } else {
            let pool = known.ok_or(Refusal::PoolNotFound)?;
            let member = pool.member(request.member);
            match request.change {
                PoolChange::Invited if pool.members.first().is_none_or(|owner| owner.member != request.by) => {
                    return Err(Refusal::NotPoolOwner);
                }
                PoolChange::Invited if member.is_some() => return Err(Refusal::AlreadyInPool),
                PoolChange::Invited if pool.members.len() >= MEMBERS_MAX => return Err(Refusal::PoolFull),
                PoolChange::Joined { .. } if member.is_none() => return Err(Refusal::NotInvited),
                PoolChange::Joined { .. } if member.is_some_and(|member| member.joined) => return Err(Refusal::AlreadyInPool),
                PoolChange::Shares(_) => _ = pool.joined(request.member)?,
                _ => {}
            }
        }
        self.post_change(request.member, request.account, request.change);
        Ok(Outcome::PoolChanged)
    }

    /// Takes of what has come back from a pool what was given up since it was brought there: out of reach in a pool, it was counted as
    /// spent. What has repaid a debt cannot be taken too.
    fn take_after_all(&mut self, wallet: &str, returned: &[Brought]) {
        let arrived = self.entries.last().map_or(0, |entry| entry.lots.iter().map(|lot| lot.points).sum());
        let mut left = self.account.active(wallet).min(arrived);
        let mut open: Vec<GivenUp> = self.account.wallet(wallet).map_or_else(Vec::new, |wallet| wallet.given_up.clone());
        let mut given_up = Vec::new();
        for Brought { account, at, points, wallet: _ } in returned {
            let since = open.iter().filter(|known| known.at > *at && known.is_of(*account, self.id));
            let parts = GivenUp::take(since, left.min(*points));
            left += GivenUp::sum(parts.iter());
            for part in &parts {
                open.iter_mut().filter(|known| known.is_like(part)).for_each(|known| known.points += part.points);
            }
            given_up.extend(parts);
        }
        let taken = -GivenUp::sum(given_up.iter());
        if taken > 0 {
            let lots = self.spend(wallet, taken, |points| (-points, 0));
            self.post(Posting { lots, given_up, ..self.posting(EntryKind::Clawback, wallet, Source::Due) });
        }
    }

    fn post_change(&mut self, member: MemberId, account: AccountId, change: PoolChange) {
        let source = Source::Pool { member, account, change };
        self.post(self.posting(EntryKind::Pool, MAIN_WALLET, source));
    }
}

/// Spends from the lots that the spender may spend, in the order in which they lapse.
pub(super) fn redeem(request: &RedeemFromPool, pool: &mut Side<'_>, spender: &mut Side<'_>) -> Result<Outcome, Refusal> {
    let RedeemFromPool { spender: member, redeem } = request;
    spender.books.admit()?;
    let known = pool.books.account.pool.clone().ok_or(Refusal::PoolNotFound)?;
    let account = known.joined(*member)?.account;
    let may_spend = |key: &LotKey| known.may_spend(account, key);
    let wallet = pool.books.account.wallet(&redeem.wallet);
    let active: i64 = wallet.iter().flat_map(|wallet| wallet.spendable()).filter(|(key, _)| may_spend(key)).map(|(_, free)| free).sum();
    let actual = if redeem.up_to { redeem.points.min(active) } else { redeem.points };
    if actual > active || actual == 0 {
        return Err(Refusal::InsufficientPoints { missing: (redeem.points - active).max(1) });
    }
    let lots = pool.books.spend_where(&redeem.wallet, actual, may_spend, |points| (-points, 0));
    let source = Source::Pooled { spender: *member, reference: redeem.reference.clone() };
    pool.books.post(Posting { lots, ..pool.books.posting(EntryKind::Redeem, &redeem.wallet, source) });
    Ok(Outcome::Redeemed { requested: redeem.points, actual })
}

/// Who leaves takes back what is left of the lots that he brought. The owner leaves last.
pub(super) fn leave(request: &LeavePool, pool: &mut Side<'_>, leaver: &mut Side<'_>) -> Result<Outcome, Refusal> {
    let known = pool.books.account.pool.as_ref().ok_or(Refusal::PoolNotFound)?;
    let brought: Vec<_> = pool.books.account.wallets.iter().map(|wallet| (wallet.clone(), wallet.free_of(request.account))).collect();
    let is_known = known.member(request.member).is_some();
    // What came back to the pool after he had left is still his.
    if !is_known && brought.iter().all(|(_, lots)| lots.is_empty()) {
        return Err(Refusal::NotInPool);
    }
    let is_owner = known.members.first().is_some_and(|owner| owner.member == request.member);
    if is_owner && known.members.iter().skip(1).any(|other| other.joined) {
        return Err(Refusal::PoolHasMembers);
    }
    // With the owner the invitations go that nobody has accepted.
    let invited: Vec<_> = known.members.iter().skip(1).filter(|_| is_owner).map(|other| (other.member, other.account)).collect();
    let sum = |lots: &[(LotKey, i64)]| lots.iter().map(|(_, free)| free).sum::<i64>();
    brought.iter().try_for_each(|(wallet, lots)| leaver.books.check_room(&wallet.name, sum(lots)))?;
    let mut points = 0;
    for (wallet, lots) in brought.into_iter().filter(|(_, lots)| !lots.is_empty()) {
        let taken = sum(&lots);
        points += if *wallet.name == *MAIN_WALLET { taken } else { 0 };
        let known = pool.books.account.pool.as_ref();
        let returned = known.map_or_else(Vec::new, |known| known.brought_last(request.account, &wallet.name, taken));
        let out: Vec<_> = lots.iter().map(|(key, free)| LotChange { key: key.clone(), points: -free, reserved: 0 }).collect();
        // Who was merged into the leaver meanwhile keeps what was his.
        let origin = (request.account != leaver.books.id).then_some(request.account);
        let arrives = |key: &LotKey| LotKey { origin, ..key.given(wallet.sliding_until) };
        super::between::hand_over(pool, pool.member, leaver, &wallet.name, out, arrives, "left the pool");
        leaver.books.take_after_all(&wallet.name, &returned);
    }
    for (member, account) in invited {
        pool.books.post_change(member, account, PoolChange::Left);
    }
    if is_known {
        pool.books.post_change(request.member, request.account, PoolChange::Left);
    }
    Ok(Outcome::LeftPool { points })
}
