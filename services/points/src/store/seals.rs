//! Seals of books.

use kernel::{Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::bulk::insert_rows;
use super::read::EntryRow;
use crate::domain::AccountId;

/// A seal: all entries of an account up to a version.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SealRow {
    pub(crate) after_version: i64,
    pub(crate) version: i64,
    pub(crate) key_version: i64,
    pub(crate) hash: Vec<u8>,
}

/// A seal to be written.
pub(crate) struct NewSeal {
    pub(crate) account: AccountId,
    pub(crate) seal: SealRow,
    pub(crate) sealed_at: Timestamp,
}

/// An account and its last seal.
#[derive(sqlx::FromRow)]
pub(crate) struct SealState {
    pub(crate) account_id: Uuid,
    pub(crate) version: i64,
    pub(crate) sealed_version: Option<i64>,
    pub(crate) hash: Option<Vec<u8>>,
    sealed_at: Option<DbTime>,
}

impl SealState {
    /// Whether it has entries that are not sealed, and was not sealed after `moment`.
    pub(crate) fn is_open(&self, moment: Timestamp) -> bool {
        self.version > self.sealed_version.unwrap_or(0) && self.sealed_at.is_none_or(|at| at.0 <= moment)
    }
}

/// Accounts in key order after a key, each with its last seal.
pub(crate) async fn seal_states(tx: &mut Tx, after: Uuid, limit: i64) -> Result<Vec<SealState>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT a.account_id, a.version, s.version AS sealed_version, s.hash, s.sealed_at
           FROM (SELECT account_id, version FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2) a
           LEFT JOIN counted_seals s ON s.account_id = a.account_id
                AND s.version = (SELECT MAX(version) FROM counted_seals last WHERE last.account_id = a.account_id)
          ORDER BY a.account_id",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// The seals of an account, oldest first.
pub(crate) async fn seals(tx: &mut Tx, account: AccountId) -> Result<Vec<SealRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT after_version, version, key_version, hash FROM counted_seals WHERE account_id = $1 ORDER BY version"
    )
    .bind(account.0)
    .fetch_all(conn)
    .await)?)
}

/// Writes seals; one that another process has written meanwhile after the same entry stands. Answers how many were written.
pub(crate) async fn insert_seals(tx: &mut Tx, seals: &[NewSeal]) -> Result<u64, Error> {
    Ok(insert_rows!(
        tx,
        seals,
        "counted_seals (account_id, after_version, version, key_version, hash, sealed_at)",
        "ON CONFLICT (account_id, after_version) DO NOTHING",
        |values, row| values
            .push_bind(row.account.0)
            .push_bind(row.seal.after_version)
            .push_bind(row.seal.version)
            .push_bind(row.seal.key_version)
            .push_bind(&row.seal.hash)
            .push_bind(DbTime(row.sealed_at))
    ))
}

/// How many seals were made, as it was signed.
#[derive(sqlx::FromRow)]
pub(crate) struct SealCount {
    pub(crate) seals: i64,
    pub(crate) key_version: i64,
    pub(crate) hash: Vec<u8>,
}

/// The count of seals, locked until the transaction ends.
pub(crate) async fn lock_seal_count(tx: &mut Tx) -> Result<Option<SealCount>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as("UPDATE seal_count SET seals = seals WHERE place = 1 RETURNING seals, key_version, hash")
        .fetch_optional(conn)
        .await)?)
}

/// Writes the count of seals, which is locked.
pub(crate) async fn write_seal_count(tx: &mut Tx, count: &SealCount) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("UPDATE seal_count SET seals = $1, key_version = $2, hash = $3 WHERE place = 1")
        .bind(count.seals)
        .bind(count.key_version)
        .bind(&count.hash)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(())
}

/// The count of seals, and how many there are at the same moment.
pub(crate) async fn seal_count(tx: &mut Tx) -> Result<Option<(SealCount, i64)>, Error> {
    let row: Option<(i64, i64, Vec<u8>, i64)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT seals, key_version, hash, (SELECT COUNT(*) FROM counted_seals) FROM seal_count WHERE place = 1"
    )
    .fetch_optional(conn)
    .await)?;
    Ok(row.map(|(seals, key_version, hash, there)| (SealCount { seals, key_version, hash }, there)))
}

impl EntryRow {
    /// Everything that a row of `entries` says, in a form that no other row has: numbers of eight bytes, what varies behind its length.
    pub(crate) fn write_sealed(&self, bytes: &mut Vec<u8>) {
        let EntryRow {
            version,
            kind,
            wallet,
            points,
            active_after,
            pending_after,
            reserved_after,
            deficit_after,
            operation,
            occurred_at,
            effective_at,
            recorded_at,
            details,
        } = self;
        let times = [occurred_at, effective_at, recorded_at].map(|time| time.0.as_micros());
        let numbers = [*version, *kind, *points, *active_after, *pending_after, *reserved_after, *deficit_after];
        for number in numbers.into_iter().chain(times) {
            bytes.extend(number.to_be_bytes());
        }
        for varying in [operation.as_bytes(), wallet.as_bytes(), details] {
            bytes.extend((varying.len() as u64).to_be_bytes());
            bytes.extend(varying);
        }
    }
}
