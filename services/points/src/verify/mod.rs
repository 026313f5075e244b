//! Re-derives every account from its entries and compares.

mod rows;

use std::collections::HashMap;

use kernel::{ProgramId, Uuid};
use persistence::{Database, Error, Keyring};

use self::rows::{Sayings, Suspects};
use crate::domain::{Account, AccountId, Entry, MAIN_WALLET};
use crate::seal::{self, Chain};
use crate::store::{self, AccountRow};

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
    pub points: HashMap<String, i128>,
    /// Seals that were made, which is how many there must be: less than were reported before tells of books that were put back whole.
    pub seals: u64,
    /// Everything that does not agree.
    pub differences: Vec<Difference>,
}

/// Something that does not agree with the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `programs/{program}/members/{member}`, or what else it is about: `accounts/{key}` where no row tells whose it is, a reward or counter of a
    /// program, or `seals` for all of them together.
    pub member: String,
    /// What is wrong.
    pub what: String,
}

/// Re-derives every account from its entries and compares balances, lots, reservations and due times; checks versions for gaps,
/// each entry's own figures, what purchases, redemptions and rewards say of it, what members share of what is limited, the keys that
/// guard against doubling, and the seals.
/// Reads one account at a time, as it was when its row was read, so it runs beside a working server.
/// `progress` is told the number of accounts looked at.
pub async fn verify(database: &Database, keyring: &Keyring, mut progress: impl FnMut(u64)) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut suspects = Suspects::new();
    let mut after = Uuid::nil();
    let mut shares = false;
    loop {
        let mut tx = database.read().await?;
        let page = store::accounts_page(&mut tx, after, ACCOUNTS_PER_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.account_id;
        for row in &page {
            shares |= verify_account(database, keyring, row, &mut report, &mut suspects).await?;
        }
        progress(report.accounts);
    }
    for (row, suspect) in suspects {
        let member = suspect.member.clone();
        report.differences.extend(suspect.fault(database, row).await?.map(|what| Difference { member, what }));
    }
    let mut tx = database.read().await?;
    for (account, what) in store::orphans(&mut tx).await? {
        report.differences.push(Difference { member: format!("accounts/{account}"), what: format!("there are {what} and no account") });
    }
    for row in store::stray_redemptions(&mut tx).await? {
        let member = match (row.program, row.member) {
            (Some(program), Some(member)) => format!("programs/{program}/members/{member}"),
            _ => format!("accounts/{}", row.account_id),
        };
        let what = format!("entry {}: the redemption {} names it and is another's", row.version, row.redemption);
        report.differences.push(Difference { member, what });
    }
    for (program, reward, taken, vouchers) in store::miscounted_rewards(&mut tx).await? {
        let what = format!("it counts {taken} pieces as taken, and {vouchers} vouchers were issued for it");
        report.differences.push(Difference { member: format!("programs/{program}/rewards/{reward}"), what });
    }
    for (program, member, voucher) in store::stray_vouchers(&mut tx).await? {
        let what = format!("the voucher {voucher} and the redemption that paid for it do not stand alike");
        report.differences.push(Difference { member: format!("programs/{program}/members/{member}"), what });
    }
    for ((program, counted, ..), [counter, entries]) in store::tallies(&mut tx, shares).await? {
        if counter != entries {
            let what = format!("it counts {} times and {} points, its entries {} and {}", counter.0, counter.1, entries.0, entries.1);
            report.differences.push(Difference { member: format!("programs/{program}/counters/{counted}"), what });
        }
    }
    match seal::check_count(&mut tx, keyring).await? {
        Ok(seals) => report.seals = seals,
        Err(what) => report.differences.push(Difference { member: "seals".to_owned(), what }),
    }
    Ok(report)
}

/// An account is compared as it was when its row was read: entries after that version belong to a later moment. Whether one of them counts
/// what members share.
async fn verify_account(
    database: &Database,
    keyring: &Keyring,
    row: &AccountRow,
    report: &mut Report,
    suspects: &mut Suspects,
) -> Result<bool, Error> {
    let member = format!("programs/{}/members/{}", row.program, row.member);
    let (account, program) = (AccountId(row.account_id), ProgramId::parse(&row.program).map_err(|_| corrupt_program())?);
    let mut differ = |what: String| report.differences.push(Difference { member: member.clone(), what });
    let mut derived = Account::default();
    let mut points: i128 = 0;
    let mut entries = 0;
    let mut shares = false;
    let mut sayings = Sayings::default();
    let mut tx = database.read().await?;
    let mut sealed = store::seals(&mut tx, account).await?;
    if let Some(last) = sealed.last().map(|seal| seal.version).filter(|last| *last > row.version) {
        // The account has moved on since its row was read, or back.
        if store::read_account(&mut tx, account).await?.account.version < last {
            differ(format!("the entries up to version {last} were sealed, and some are not there"));
        }
        sealed.retain(|seal| seal.version <= row.version);
    }
    drop(tx);
    let mut chain = Chain::new(keyring, account, sealed);
    'all: while derived.version < row.version {
        let mut tx = database.read().await?;
        let rows = store::entries_from(&mut tx, account, derived.version + 1, ENTRIES_PER_PAGE).await?;
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
                points += i128::from(entry.points);
            }
            derived.evolve(&entry);
            entries += 1;
            shares |= entry.counted_of_all().next().is_some();
            if let Some(what) = disagreement(&derived, &entry) {
                differ(format!("entry {}: {what}", entry.version));
            }
            page.push(entry);
        }
        for (version, what) in rows::check_page(&mut tx, &program, account, &page, &mut sayings).await? {
            differ(format!("entry {version}: {what}"));
        }
    }
    rows::keep_suspects(database, sayings, suspects, &member, &row.program).await?;
    if derived.version == row.version {
        chain.left().for_each(&mut differ);
        compare(row, &derived, &mut differ)?;
    }
    report.accounts += 1;
    report.entries += entries;
    *report.points.entry(row.program.clone()).or_default() += points;
    Ok(shares)
}

fn corrupt_program() -> Error {
    Error::Corrupt("program of an account".to_owned())
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
    let sum = entry.lots.iter().map(|lot| i128::from(lot.points)).sum::<i128>() - i128::from(entry.deficit_delta);
    if i128::from(entry.points) != sum {
        return Some(format!("{} points, but its lots and deficit say {sum}", entry.points));
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
