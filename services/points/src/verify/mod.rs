//! Re-derives every account from its entries and compares.

use std::collections::{BTreeMap, HashMap};

use kernel::{ProgramId, Uuid};
use persistence::{Database, Error, Keyring, Tx};

use crate::domain::{Account, AccountId, Entry, EntryKind, MAIN_WALLET, Source};
use crate::executor::Target;
use crate::seal::Chain;
use crate::store::{self, AccountRow, Guard};

const ACCOUNTS_PER_PAGE: i64 = 200;
const ENTRIES_PER_PAGE: i64 = 1000;

/// What a verification found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Accounts that were looked at.
    pub accounts: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Σ signed points of all entries of main wallets, per program.
    pub points: HashMap<String, i64>,
    /// Everything that does not agree.
    pub differences: Vec<Difference>,
}

/// Something that does not agree with the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `programs/{program}/members/{member}`, or `accounts/{key}` where no row tells whose it is.
    pub member: String,
    /// What is wrong.
    pub what: String,
}

/// Re-derives every account from its entries and compares balances, lots, reservations and due times; checks versions for gaps,
/// each entry's own figures, the keys that guard against doubling, and the seals. Reads one account at a time under a snapshot of its own, so it runs beside a working server.
/// `progress` is told the number of accounts looked at.
pub async fn verify(database: &Database, keyring: &Keyring, mut progress: impl FnMut(u64)) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut after = Uuid::nil();
    loop {
        let mut tx = database.read().await?;
        let page = store::accounts_page(&mut tx, after, ACCOUNTS_PER_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.account_id;
        for row in &page {
            verify_account(database, keyring, row, &mut report).await?;
        }
        progress(report.accounts);
    }
    for (account,) in store::orphans(&mut database.read().await?).await? {
        report.differences.push(Difference { member: format!("accounts/{account}"), what: "there are entries and no account".to_owned() });
    }
    Ok(report)
}

/// An account is compared as it was when its row was read: entries after that version belong to a later moment.
async fn verify_account(database: &Database, keyring: &Keyring, row: &AccountRow, report: &mut Report) -> Result<(), Error> {
    let member = format!("programs/{}/members/{}", row.program, row.member);
    let mut differ = |what: String| report.differences.push(Difference { member: member.clone(), what });
    let mut derived = Account::default();
    let mut points = 0;
    let mut entries = 0;
    let mut tx = database.read().await?;
    let mut sealed = store::seals(&mut tx, AccountId(row.account_id)).await?;
    if let Some(last) = sealed.last().map(|seal| seal.version).filter(|last| *last > row.version) {
        // The account has moved on since its row was read, or back.
        if store::read_account(&mut tx, AccountId(row.account_id)).await?.account.version < last {
            differ(format!("the entries up to version {last} were sealed, and some are not there"));
        }
        sealed.retain(|seal| seal.version <= row.version);
    }
    drop(tx);
    let mut chain = Chain::new(keyring, AccountId(row.account_id), sealed);
    'all: while derived.version < row.version {
        let mut tx = database.read().await?;
        let rows = store::entries_from(&mut tx, AccountId(row.account_id), derived.version + 1, ENTRIES_PER_PAGE).await?;
        if rows.is_empty() {
            differ(format!("entries end at version {}, the account is at {}", derived.version, row.version));
            break;
        }
        let mut page = Vec::with_capacity(rows.len());
        for entry in rows {
            if derived.version == row.version {
                break;
            }
            let version = entry.version;
            if let Some(what) = chain.take(&entry) {
                differ(what);
            }
            let Some(entry) = readable(store::entry_from_row(entry), |what| differ(format!("entry {version}: cannot be read: {what}")))?
            else {
                break 'all;
            };
            if let Some(what) = fault(&derived, &entry) {
                differ(format!("entry {}: {what}", entry.version));
                break 'all;
            }
            if &*entry.wallet == MAIN_WALLET {
                points += entry.points;
            }
            derived.evolve(&entry);
            entries += 1;
            if let Some(what) = disagreement(&derived, &entry) {
                differ(format!("entry {}: {what}", entry.version));
            }
            page.push(entry);
        }
        for (version, what) in missing_keys(&mut tx, &row.program, &page).await? {
            differ(format!("entry {version}: {what}"));
        }
    }
    if derived.version == row.version {
        compare(row, &derived, &mut differ)?;
    }
    report.accounts += 1;
    report.entries += entries;
    *report.points.entry(row.program.clone()).or_default() += points;
    Ok(())
}

/// What guards entries against being made twice, and is not there: the answers by request, and what has a natural key.
async fn missing_keys(tx: &mut Tx, program: &str, entries: &[Entry]) -> Result<Vec<(i64, &'static str)>, Error> {
    let program = ProgramId::parse(program).map_err(|_| Error::Corrupt("program of an account".to_owned()))?;
    let mut guards: BTreeMap<Guard, Vec<(i64, Uuid)>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.stamp.operation.is_nil()) {
        guards.entry(Guard::Operation).or_default().push((entry.version, entry.stamp.operation));
        if let Some((guard, key)) = natural_key(&program, entry) {
            guards.entry(guard).or_default().push((entry.version, key));
        }
    }
    let mut missing = Vec::new();
    for (guard, wanted) in guards {
        let keys: Vec<Uuid> = wanted.iter().map(|(_, key)| *key).collect();
        let there = store::existing_keys(tx, guard, &keys).await?;
        let what = match guard {
            Guard::Operation => "the answer to its request is not there",
            Guard::Purchase => "its purchase is not there",
            Guard::Reward => "its reward is not there",
            Guard::Reservation => "its reservation is not there",
            Guard::Activity => "its activity is not there",
            Guard::Redemption => "its redemption is not there",
        };
        missing.extend(wanted.into_iter().filter(|(_, key)| !there.contains(key)).map(|(version, _)| (version, what)));
    }
    missing.sort_unstable();
    Ok(missing)
}

/// What an entry made that can be made once.
fn natural_key(program: &ProgramId, entry: &Entry) -> Option<(Guard, Uuid)> {
    let target = match (&entry.source, entry.kind) {
        (_, EntryKind::Redeem | EntryKind::Capture) if entry.points < 0 => Target::Redemption(entry.stamp.operation),
        (Source::Purchase(id), _) => Target::purchase(program, &id.0),
        (Source::Reward { key, .. }, _) => Target::reward(program, key),
        (Source::Activity { activity, id }, _) => Target::activity(program, activity, id),
        (Source::Reservation { id, .. }, EntryKind::Reserve) => Target::Reservation(*id),
        (Source::Redemption { operation, .. }, _) => Target::Redemption(*operation),
        _ => return None,
    };
    match target {
        Target::Account => None,
        Target::Purchase(key) => Some((Guard::Purchase, key)),
        Target::Reservation(key) => Some((Guard::Reservation, key)),
        Target::Reward(key) => Some((Guard::Reward, key)),
        Target::Activity(key) => Some((Guard::Activity, key)),
        Target::Redemption(key) => Some((Guard::Redemption, key)),
    }
}

/// What a row holds, or `None` after telling that it cannot be read: damage is a finding, and the other books are looked at.
fn readable<T>(row: Result<T, Error>, tell: impl FnOnce(&str)) -> Result<Option<T>, Error> {
    match row {
        Ok(value) => Ok(Some(value)),
        Err(Error::Corrupt(what)) => {
            tell(&what);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What would keep an entry from being taken into the fold.
fn fault(account: &Account, entry: &Entry) -> Option<String> {
    if entry.version != account.version + 1 {
        return Some(format!("follows version {}", account.version));
    }
    if entry.recorded_at <= account.recorded_at && account.version > 0 {
        return Some("recorded before the entry that it follows".to_owned());
    }
    let sum: i64 = entry.lots.iter().map(|lot| lot.points).sum();
    if entry.points != sum - entry.deficit_delta {
        return Some(format!("{} points, but its lots and deficit say {}", entry.points, sum - entry.deficit_delta));
    }
    account.cannot_evolve(entry)
}

/// What an entry says of the balances after it, against the fold.
fn disagreement(account: &Account, entry: &Entry) -> Option<String> {
    let wallet = account.wallet(&entry.wallet)?;
    let says = (entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after);
    let derived = (wallet.active, wallet.pending, wallet.reserved, wallet.deficit);
    (says != derived).then(|| format!("says balances {says:?}, its predecessors derive {derived:?}"))
}

fn compare(row: &AccountRow, derived: &Account, differ: &mut impl FnMut(String)) -> Result<(), Error> {
    let main = derived.wallet(MAIN_WALLET);
    let balances = main.map_or((0, 0, 0, 0), |wallet| (wallet.active, wallet.pending, wallet.reserved, wallet.deficit));
    let columns = (row.active, row.pending, row.reserved, row.deficit);
    if columns != balances {
        differ(format!("the account has balances {columns:?}, its entries derive {balances:?}"));
    }
    let stored = readable(row.account(), |what| differ(format!("the account cannot be read: {what}")))?;
    if stored.is_some_and(|stored| stored != *derived) {
        differ("the account's lots, reservations or counters are not those that its entries derive".to_owned());
    }
    let due = row.next_due_at.map(kernel::Timestamp::from);
    if due != derived.next_due() {
        differ(format!("the account falls due at {due:?}, its entries derive {:?}", derived.next_due()));
    }
    Ok(())
}
