use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::codec::{self, StoredEntry};
use super::{AccountState, Held, StoredAnswer};
use crate::domain::{Account, AccountId, Entry, EntryKind, Facts, Purchase, Stamp};

/// A row of `entries`.
#[derive(sqlx::FromRow)]
pub(crate) struct EntryRow {
    pub(crate) version: i64,
    pub(super) kind: i64,
    pub(super) wallet: String,
    pub(super) points: i64,
    pub(super) active_after: i64,
    pub(super) pending_after: i64,
    pub(super) reserved_after: i64,
    pub(super) deficit_after: i64,
    pub(super) operation: Uuid,
    pub(super) occurred_at: DbTime,
    pub(super) effective_at: DbTime,
    pub(crate) recorded_at: DbTime,
    pub(super) details: Vec<u8>,
}

/// A row of `accounts`, for checking it against its entries.
#[derive(sqlx::FromRow)]
pub(crate) struct AccountRow {
    pub(crate) account_id: Uuid,
    pub(crate) program: String,
    pub(crate) member: Uuid,
    pub(crate) version: i64,
    pub(crate) active: i64,
    pub(crate) pending: i64,
    pub(crate) reserved: i64,
    pub(crate) deficit: i64,
    pub(crate) next_due_at: Option<DbTime>,
    pub(crate) state: Vec<u8>,
}

impl AccountRow {
    /// The account as it is stored.
    pub(crate) fn account(&self) -> Result<Account, Error> {
        codec::decode_account(self.version, &self.state)
    }
}

pub(super) fn locked_from_row(row: AccountState) -> Result<Held, Error> {
    let (_, version, state, fact_version, facts) = row;
    let facts = match (fact_version, facts) {
        (Some(version), Some(details)) => codec::decode_facts(version, &details)?,
        _ => Facts::default(),
    };
    Ok(Held { account: codec::decode_account(version, &state)?, facts })
}

/// The entry of a row.
pub(crate) fn entry_from_row(row: EntryRow) -> Result<Entry, Error> {
    let details = StoredEntry::read(&row.details)?;
    Ok(Entry {
        version: row.version,
        kind: kind(row.kind)?,
        wallet: codec::shared(row.wallet),
        points: row.points,
        active_after: row.active_after,
        pending_after: row.pending_after,
        reserved_after: row.reserved_after,
        deficit_after: row.deficit_after,
        lots: details.lots()?,
        deficit_delta: details.deficit_delta,
        given_up: details.given_up()?,
        counted: details.counted(),
        tallied: details.tallied()?,
        waits: details.waits()?,
        decided: details.decided()?,
        freed: details.freed()?,
        source: details.source()?,
        sliding_until: details.slides_until(),
        remind_at: details.reminds_at(),
        program_version: details.program_version,
        fact_version: details.fact_version,
        stamp: Stamp {
            operation: row.operation,
            presented: details.presented()?,
            cashier: details.cashier().into(),
            request_id: codec::shared(details.request_id),
            actor: codec::shared(details.actor),
            terminal: codec::shared(details.terminal),
            store: codec::shared(details.store),
            occurred_at: row.occurred_at.0,
            now: row.recorded_at.0,
        },
        effective_at: row.effective_at.0,
        recorded_at: row.recorded_at.0,
    })
}

fn kind(number: i64) -> Result<EntryKind, Error> {
    let kind = usize::try_from(number - 1).ok().and_then(|index| EntryKind::ALL.get(index));
    kind.copied().ok_or_else(|| Error::Corrupt("kind of an entry".to_owned()))
}

/// An account with its member's facts, without locking it; empty when it does not exist.
pub(crate) async fn read_account(tx: &mut Tx, id: AccountId) -> Result<Held, Error> {
    let row: Option<AccountState> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT a.account_id, a.version, a.state, f.version, f.details FROM accounts a LEFT JOIN facts f USING (account_id) WHERE a.account_id = $1",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await
    })?;
    match row {
        Some(row) => locked_from_row(row),
        None => Ok(Held { account: Account::default(), facts: read_facts(tx, id).await? }),
    }
}

/// What is known of a member.
async fn read_facts(tx: &mut Tx, id: AccountId) -> Result<Facts, Error> {
    let row: Option<(i64, Vec<u8>)> = on_engine!(tx, |conn| sqlx::query_as("SELECT version, details FROM facts WHERE account_id = $1")
        .bind(id.0)
        .fetch_optional(conn)
        .await)?;
    row.map_or(Ok(Facts::default()), |(version, details)| codec::decode_facts(version, &details))
}

/// What is known of a member, locked until the transaction ends, also when nothing is known yet.
pub(crate) async fn lock_facts(tx: &mut Tx, program: &ProgramId, member: MemberId) -> Result<Facts, Error> {
    let id = AccountId::of(program, member);
    // An update that changes nothing locks the row on both engines, and an insert waits for another that has not committed.
    let empty = Facts::default();
    on_engine!(tx, |conn| {
        sqlx::query(
            "INSERT INTO facts (account_id, version, details, program, member) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (account_id) DO UPDATE SET program = excluded.program, member = excluded.member",
        )
        .bind(id.0)
        .bind(empty.version)
        .bind(codec::encode_facts(&empty))
        .bind(program.as_str())
        .bind(member.0)
        .execute(conn)
        .await?
        .rows_affected()
    });
    read_facts(tx, id).await
}

/// Writes what is known of a member, which is locked.
pub(crate) async fn write_facts(tx: &mut Tx, id: AccountId, facts: &Facts) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("UPDATE facts SET version = $2, details = $3 WHERE account_id = $1")
        .bind(id.0)
        .bind(facts.version)
        .bind(codec::encode_facts(facts))
        .execute(conn)
        .await?
        .rows_affected());
    Ok(())
}

/// Entries of an account with a version below `before`, newest first.
pub(crate) async fn entries_before(tx: &mut Tx, account: AccountId, before: i64, limit: i64) -> Result<Vec<EntryRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT version, kind, wallet, points, active_after, pending_after, reserved_after, deficit_after, operation,
                occurred_at, effective_at, recorded_at, details
           FROM entries WHERE account_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
    )
    .bind(account.0)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Entries of an account from a version on, oldest first.
pub(crate) async fn entries_from(tx: &mut Tx, account: AccountId, from: i64, limit: i64) -> Result<Vec<EntryRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT version, kind, wallet, points, active_after, pending_after, reserved_after, deficit_after, operation,
                occurred_at, effective_at, recorded_at, details
           FROM entries WHERE account_id = $1 AND version >= $2 ORDER BY version LIMIT $3",
    )
    .bind(account.0)
    .bind(from)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Balances of an account's wallets as sums of what its entries changed.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// The last entry that counts.
    pub(crate) version: i64,
    /// By wallet: active, pending, reserved, deficit.
    pub(crate) wallets: BTreeMap<String, [i64; 4]>,
}

impl Sums {
    /// Adds what an entry changes that has not been written.
    pub(crate) fn add_change(&mut self, before: &Account, entry: &Entry) {
        let after = [entry.active_after, entry.pending_after, entry.reserved_after, entry.deficit_after];
        let empty = crate::domain::Wallet::new(&entry.wallet);
        let held = before.wallet(&entry.wallet).unwrap_or(&empty);
        let before = [held.active, held.pending, held.reserved, held.deficit];
        let sums = self.wallets.entry(entry.wallet.to_string()).or_default();
        for (sum, (after, before)) in sums.iter_mut().zip(after.into_iter().zip(before)) {
            *sum += after - before;
        }
    }
}

/// A row of the sums: wallet, last version, active, pending, reserved, deficit.
type SumRow = (String, i64, i64, i64, i64, i64);

/// Sums over the entries up to `version` that were recorded by `known` and took effect by `effective`.
pub(crate) async fn sums_as_of(
    tx: &mut Tx,
    account: AccountId,
    effective: Timestamp,
    known: Timestamp,
    version: i64,
) -> Result<Sums, Error> {
    let rows: Vec<SumRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT wallet, MAX(version), CAST(SUM(active) AS BIGINT), CAST(SUM(pending) AS BIGINT), CAST(SUM(reserved) AS BIGINT),
                CAST(SUM(deficit) AS BIGINT)
           FROM (SELECT wallet, version, effective_at,
                        active_after - LAG(active_after, 1, CAST(0 AS BIGINT)) OVER books AS active,
                        pending_after - LAG(pending_after, 1, CAST(0 AS BIGINT)) OVER books AS pending,
                        reserved_after - LAG(reserved_after, 1, CAST(0 AS BIGINT)) OVER books AS reserved,
                        deficit_after - LAG(deficit_after, 1, CAST(0 AS BIGINT)) OVER books AS deficit
                   FROM entries WHERE account_id = $1 AND recorded_at <= $2 AND version <= $3
                 WINDOW books AS (PARTITION BY wallet ORDER BY version)) AS changes
          WHERE effective_at <= $4 GROUP BY wallet",
    )
    .bind(account.0)
    .bind(DbTime(known))
    .bind(version)
    .bind(DbTime(effective))
    .fetch_all(conn)
    .await)?;
    let mut sums = Sums::default();
    for (wallet, version, active, pending, reserved, deficit) in rows {
        sums.version = sums.version.max(version);
        sums.wallets.insert(wallet, [active, pending, reserved, deficit]);
    }
    Ok(sums)
}

/// Accounts in key order, after a key.
pub(crate) async fn accounts_page(tx: &mut Tx, after: Uuid, limit: i64) -> Result<Vec<AccountRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT account_id, program, member, version, active, pending, reserved, deficit, next_due_at, state
           FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Accounts that have entries or seals and no row, with what they have.
pub(crate) async fn orphans(tx: &mut Tx) -> Result<Vec<(Uuid, String)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT DISTINCT account_id, 'entries' AS what FROM entries
          WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.account_id = entries.account_id)
          UNION ALL
         SELECT DISTINCT account_id, 'seals' FROM counted_seals
          WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.account_id = counted_seals.account_id)
          ORDER BY account_id, what",
    )
    .fetch_all(conn)
    .await)?)
}

/// A row of the accounts in which something has fallen due: when, its key, program and member.
pub(crate) type DueRow = (DbTime, Uuid, String, Uuid);

/// Accounts of any program in which something has fallen due, the longest waiting first, after one of them.
pub(crate) async fn due_accounts(tx: &mut Tx, now: Timestamp, after: (DbTime, Uuid), limit: i64) -> Result<Vec<DueRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT next_due_at, account_id, program, member FROM accounts WHERE next_due_at <= $1 AND (next_due_at, account_id) > ($2, $3)
          ORDER BY next_due_at, account_id LIMIT $4",
    )
    .bind(DbTime(now))
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Accounts of a program in which something has fallen due.
pub(crate) async fn due_in_program(tx: &mut Tx, program: &ProgramId, now: Timestamp, limit: i64) -> Result<Vec<(Uuid,)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT member FROM accounts WHERE next_due_at <= $1 AND program = $2 ORDER BY next_due_at LIMIT $3",
    )
    .bind(DbTime(now))
    .bind(program.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Per program the points of main wallets that members can still spend: active, pending and reserved. A wallet counts to the end of an
/// `i64` and a program beyond, so that the halves of the numbers are added each by itself.
pub(crate) async fn outstanding(tx: &mut Tx) -> Result<Vec<(String, i128)>, Error> {
    let rows: Vec<(String, i64, i64)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program, CAST(SUM((active + pending + reserved) >> 32) AS BIGINT),
                CAST(SUM((active + pending + reserved) & 4294967295) AS BIGINT)
           FROM accounts GROUP BY program",
    )
    .fetch_all(conn)
    .await)?;
    Ok(rows.into_iter().map(|(program, high, low)| (program, (i128::from(high) << 32) + i128::from(low))).collect())
}

/// A purchase by its key.
pub(crate) async fn purchase(tx: &mut Tx, key: Uuid) -> Result<Option<Purchase>, Error> {
    let row: Option<(Vec<u8>,)> = on_engine!(tx, |conn| sqlx::query_as("SELECT details FROM purchases WHERE purchase_key = $1")
        .bind(key)
        .fetch_optional(conn)
        .await)?;
    row.map(|(details,)| codec::decode_purchase(&details)).transpose()
}

/// A remembered answer by its operation.
pub(crate) async fn read_operation(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<Option<Arc<StoredAnswer>>, Error> {
    Ok(super::operations(tx, &[id], now).await?.remove(&id))
}

/// Forgets refusals whose time is over.
pub(crate) async fn forget_refusals(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query(
        "DELETE FROM operations WHERE operation_id IN (SELECT operation_id FROM operations WHERE forget_at <= $1 LIMIT $2)",
    )
    .bind(DbTime(now))
    .bind(limit)
    .execute(conn)
    .await?
    .rows_affected()))
}
