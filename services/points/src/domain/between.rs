//! Commands between two accounts of a program. Everything is judged before anything is posted, so that a refusal leaves no trace in
//! either.

use std::sync::Arc;

use kernel::MemberId;

use super::ledger::Posting;
use super::pool;
use super::{
    Account, AccountId, Command, Count, Entry, EntryKind, GivenUp, Identity, Known, Ledger, LotChange, LotKey, MAIN_WALLET, Merge, Merged,
    Outcome, Pool, Refusal, Reservation, Source, Tally, Transfer, Unapproved, Wallet,
};

/// One of two accounts, with the member that it is of.
pub struct Side<'a> {
    /// Its books.
    pub books: Ledger<'a>,
    /// Its member.
    pub member: MemberId,
}

/// Carries out a command between two accounts: the outcome and what was posted in the books of each, in the order of the arguments.
///
/// `first` is who gives in a transfer, the survivor of a merge, the account that lets the other go, and the buyer whose goods go back;
/// `second` the other side, for a return the account that holds what points paid.
pub fn apply_between(
    command: &Command,
    known: &Known,
    mut first: Side<'_>,
    mut second: Side<'_>,
) -> Result<(Outcome, [Vec<Entry>; 2]), Refusal> {
    first.books.check_wallet(command)?;
    let is_pool = |side: &Side<'_>| side.books.account.pool.is_some();
    let outcome = match command {
        Command::RedeemFromPool(request) => pool::redeem(request, &mut first, &mut second),
        Command::LeavePool(request) => pool::leave(request, &mut first, &mut second),
        Command::Return(request) if !is_pool(&first) => first.books.take_back(request, known, Some(&mut second.books)),
        Command::Transfer(transfer) if !is_pool(&first) => move_points(transfer, &mut first, &mut second),
        Command::Merge(merge) if !is_pool(&first) && !is_pool(&second) => take_in(merge, &mut first, &mut second),
        Command::Unmerge(merge) => let_go(merge, &mut first, &mut second),
        _ if is_pool(&first) || is_pool(&second) => Err(Refusal::PoolAccount),
        _ => Err(Refusal::SameAccount),
    }?;
    first.books.expire_lapsed(first.books.stamp.now);
    second.books.expire_lapsed(second.books.stamp.now);
    Ok((outcome, [first.books.entries, second.books.entries]))
}

/// Lots keep their expiry. What arrives repays what the receiver owes first, like any credit. Into a pool only its members give; there
/// the origin tells what each has brought.
fn move_points(transfer: &Transfer, from: &mut Side<'_>, to: &mut Side<'_>) -> Result<Outcome, Refusal> {
    let Transfer { wallet, points, reason, into_pool } = transfer;
    from.books.admit()?;
    to.books.admit()?;
    let giver = match &to.books.account.pool {
        Some(pool) if *into_pool => Some(bringing(pool, from).ok_or(Refusal::NotInPool)?),
        Some(_) => return Err(Refusal::PoolAccount),
        None if *into_pool => return Err(Refusal::PoolNotFound),
        None => None,
    };
    let active = from.books.account.active(wallet);
    if *points > active {
        return Err(Refusal::InsufficientPoints { missing: points - active });
    }
    to.books.check_room(wallet, *points)?;
    let sliding_until = from.books.account.wallet(wallet).and_then(|wallet| wallet.sliding_until);
    let out = from.books.spend(wallet, *points, |points| (-points, 0));
    let arrives = |key: &LotKey| LotKey { origin: giver.map(|(account, _)| account), ..key.given(sliding_until) };
    if giver.is_some() {
        // What is given up comes before this in the giver's books or after it, and the pool tells by its own.
        from.books.comes_after = to.books.account.recorded_at;
        to.books.comes_after = from.books.account.recorded_at;
    }
    let named = giver.map_or(from.member, |(_, member)| member);
    hand_over(from, named, to, wallet, out, arrives, reason);
    Ok(Outcome::Transferred { points: *points })
}

/// The member of a pool who brings points: himself, or one who was merged into him.
fn bringing(pool: &Pool, from: &Side<'_>) -> Option<(AccountId, MemberId)> {
    let is_his = |account: AccountId| account == from.books.id || from.books.account.has_merged(account);
    let known = pool.members.iter().find(|known| known.joined && is_his(known.account))?;
    Some((known.account, known.member))
}

/// Takes lots out of one account and puts what the other does not owe into that, in the name of who gives them.
pub(super) fn hand_over(
    from: &mut Side<'_>,
    giver: MemberId,
    to: &mut Side<'_>,
    wallet: &Arc<str>,
    out: Vec<LotChange>,
    arrives: impl Fn(&LotKey) -> LotKey,
    reason: &str,
) {
    let mut owed = to.books.account.deficit(wallet);
    let mut repaid = 0;
    let mut arriving: Vec<LotChange> = Vec::new();
    for LotChange { key, points, .. } in &out {
        let repays = if key.is_open() { owed.min(-points) } else { 0 };
        owed -= repays;
        repaid += repays;
        if -points > repays {
            arriving.push(LotChange { key: arrives(key), points: -points - repays, reserved: 0 });
        }
    }
    let source = |member: MemberId| Source::Transfer { member, reason: reason.to_owned() };
    from.books.post(Posting { lots: out, ..from.books.posting(EntryKind::TransferOut, wallet, source(to.member)) });
    let posting = to.books.posting(EntryKind::TransferIn, wallet, source(giver));
    to.books.post(Posting { lots: arriving, deficit: -repaid, ..posting });
}

/// Every lot, reservation and debt goes over as it is; lots remember where they come from.
fn take_in(merge: &Merge, survivor: &mut Side<'_>, other: &mut Side<'_>) -> Result<Outcome, Refusal> {
    if other.books.account.merged_into.is_some() {
        return Err(Refusal::AlreadyMerged);
    }
    let (from, to) = (other.books.id, survivor.books.id);
    let purchases = other.books.account.purchases;
    let Account { let_go_at, .. } = *other.books.account;
    let last_purchase_at = other.books.account.last_purchase();
    let mut counts = other.books.account.counts.clone();
    let mut tallies: Vec<Tally> = other.books.account.tallies.iter().filter(|tally| !tally.counts_purchases()).cloned().collect();
    let mut unapproved = other.books.account.unapproved.clone();
    let nested = other.books.account.merged.iter().flat_map(|merged| merged.identities.iter().map(move |known| (*known, merged.at)));
    let mut identities: Vec<Identity> = nested.map(|(known, at)| Identity { came: known.came.or(Some((from, at))), ..known }).collect();
    identities.push(Identity { account: from, member: other.member, came: None });
    let wallets = wallets_of(&other.books);
    for wallet in &wallets {
        survivor.books.check_room(&wallet.name, wallet.active + wallet.pending + wallet.reserved)?;
    }
    // What is given up from now on may have been spent by either before.
    survivor.books.comes_after = other.books.account.recorded_at;
    for wallet in wallets {
        let held = other.books.account.reservations.iter().filter(|held| held.wallet == wallet.name);
        let reservations = held.map(|held| moved_reservation(held, from, to)).collect();
        let source = |member, reservations| Source::Merge {
            member,
            reason: merge.reason.clone(),
            identities: identities.clone(),
            purchases,
            last_purchase_at,
            let_go_at,
            reservations,
        };
        let out = wallet.lots.iter().map(|lot| LotChange { key: lot.key.clone(), points: -lot.points, reserved: -lot.reserved });
        let arriving = wallet.lots.iter().map(|lot| LotChange { key: lot.key.moved(from, to), points: lot.points, reserved: lot.reserved });
        // With the first of the wallets.
        survivor.books.counted = std::mem::take(&mut counts);
        other.books.counted = survivor.books.counted.iter().map(Count::gone).collect();
        other.books.tallies = tallies.iter().map(Tally::gone).collect();
        survivor.books.tallies = std::mem::take(&mut tallies).iter().map(|tally| tally.moved(from, to)).collect();
        other.books.decided = unapproved.iter().map(|known| known.gate.operation).collect();
        survivor.books.waits = std::mem::take(&mut unapproved).iter().map(|known| known.moved(from, to)).collect();
        let posting = other.books.posting(EntryKind::MergeOut, &wallet.name, source(survivor.member, Vec::new()));
        let given_up = wallet.given_up.iter().map(GivenUp::gone).collect();
        other.books.post(Posting { lots: out.collect(), deficit: -wallet.deficit, given_up, ..posting });
        let repaying = source(other.member, Vec::new());
        let posting = survivor.books.posting(EntryKind::MergeIn, &wallet.name, source(other.member, reservations));
        let sliding_until = wallet.sliding_until;
        let given_up = wallet.given_up.iter().map(|known| known.moved(from)).collect();
        survivor.books.post(Posting { lots: arriving.collect(), deficit: wallet.deficit, given_up, sliding_until, ..posting });
        repay(&mut survivor.books, &wallet.name, repaying);
    }
    Ok(Outcome::Merged)
}

/// What is left of an account's lots goes back to it, and what is left of its debt, and what was given up of points that it had
/// earned. What was spent or is held meanwhile stays with the survivor, and what was given up of points that were earned meanwhile;
/// what one side's points repaid for the other when they came together is undone.
fn let_go(merge: &Merge, survivor: &mut Side<'_>, other: &mut Side<'_>) -> Result<Outcome, Refusal> {
    let (from, to) = (survivor.books.id, other.books.id);
    let record = survivor.books.account.merged.iter().find(|merged| merged.identities.last().is_some_and(|known| known.account == to));
    let Merged { identities, at: _, purchases, last_purchase_at, mut counts, mut tallies, deficits, repaid, apart } =
        record.ok_or(Refusal::NotMerged)?.clone();
    let came_with = |key: &LotKey| key.origin.is_some_and(|origin| identities.iter().any(|known| known.account == origin));
    let told_of_other = |known: &&Unapproved| known.origin.is_some_and(|origin| identities.iter().any(|known| known.account == origin));
    let mut unapproved: Vec<Unapproved> = survivor.books.account.unapproved.iter().filter(told_of_other).cloned().collect();
    other.books.comes_after = survivor.books.account.recorded_at;
    let mut returned = 0;
    for wallet in wallets_of(&survivor.books) {
        let free: Vec<(&LotKey, i64)> =
            wallet.lots.iter().filter(|lot| came_with(&lot.key) && lot.free() > 0).map(|lot| (&lot.key, lot.free())).collect();
        let repaid = repaid.iter().filter(|(name, _, _)| *name == wallet.name).map(|(_, key, points)| (key, *points));
        let (of_other, of_survivor): (Vec<_>, Vec<_>) = repaid.partition(|(key, _)| came_with(key));
        let brought: i64 = deficits.iter().filter(|(name, _)| *name == wallet.name).map(|(_, deficit)| deficit).sum();
        let deficit = (brought - sum(&of_survivor)).min(wallet.deficit);
        let in_his_name = |known: &&GivenUp| known.of.first().is_some_and(|named| identities.iter().any(|known| known.account == *named));
        let given_up: Vec<&GivenUp> = wallet.given_up.iter().filter(in_his_name).collect();
        let apart = apart.iter().find(|apart| apart.wallet == wallet.name);
        let nothing = free.is_empty() && brought == 0 && of_other.is_empty() && given_up.is_empty() && apart.is_none();
        if nothing && &*wallet.name != MAIN_WALLET {
            continue;
        }
        returned += if *wallet.name == *MAIN_WALLET { sum(&free) + sum(&of_other) } else { 0 };
        let source = |member| Source::Unmerge { member, reason: merge.reason.clone(), account: to, purchases, last_purchase_at };
        let change = |key: LotKey, points| LotChange { key, points, reserved: 0 };
        let out = free.iter().map(|(key, points)| change((*key).clone(), -points));
        let lots = out.chain(of_survivor.iter().map(|(key, points)| change((*key).clone(), *points))).collect();
        // With the first of the wallets.
        other.books.counted = std::mem::take(&mut counts);
        survivor.books.counted = other.books.counted.iter().map(Count::gone).collect();
        survivor.books.tallies = tallies.iter().map(Tally::gone).collect();
        other.books.tallies = std::mem::take(&mut tallies).iter().map(|tally| tally.moved(from, to)).collect();
        survivor.books.decided = unapproved.iter().map(|known| known.gate.operation).collect();
        other.books.waits = std::mem::take(&mut unapproved).iter().map(|known| known.moved(from, to)).collect();
        let posting = survivor.books.posting(EntryKind::UnmergeOut, &wallet.name, source(other.member));
        let sliding_until = apart.and_then(|apart| apart.survivor);
        let gone = given_up.iter().map(|known| known.gone()).collect();
        survivor.books.post(Posting { lots, deficit: sum(&of_other) - deficit, given_up: gone, sliding_until, ..posting });
        let lots = free.iter().chain(&of_other).map(|(key, points)| change(key.moved(from, to), *points)).collect();
        let posting = other.books.posting(EntryKind::UnmergeIn, &wallet.name, source(survivor.member));
        let sliding_until = apart.and_then(|apart| apart.other);
        let given_up = given_up.iter().map(|known| known.back_in(to)).collect();
        other.books.post(Posting { lots, deficit: sum(&of_survivor) + deficit, given_up, sliding_until, ..posting });
        repay(&mut survivor.books, &wallet.name, source(other.member));
        repay(&mut other.books, &wallet.name, source(survivor.member));
    }
    Ok(Outcome::Unmerged { points: returned })
}

fn sum(lots: &[(&LotKey, i64)]) -> i64 {
    lots.iter().map(|(_, points)| points).sum()
}

/// The wallets of an account, the main one also when it was never used.
fn wallets_of(books: &Ledger<'_>) -> Vec<Wallet> {
    let mut wallets = books.account.wallets.clone();
    if books.account.wallet(MAIN_WALLET).is_none() {
        wallets.insert(0, Wallet::new(MAIN_WALLET));
    }
    wallets
}

fn moved_reservation(held: &Reservation, from: AccountId, to: AccountId) -> Reservation {
    Reservation { lots: held.lots.iter().map(|(key, points)| (key.moved(from, to), *points)).collect(), ..held.clone() }
}

/// Spendable points repay what is owed, where the two have come together.
fn repay(books: &mut Ledger<'_>, wallet: &Arc<str>, source: Source) {
    books.expire_lapsed(books.stamp.now);
    let points = books.account.deficit(wallet).min(books.account.active(wallet));
    if points > 0 {
        let lots = books.spend(wallet, points, |points| (-points, 0));
        books.post(Posting { lots, deficit: -points, ..books.posting(EntryKind::Repay, wallet, source) });
    }
}
