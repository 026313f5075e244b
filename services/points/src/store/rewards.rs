//! The catalogue of rewards, and vouchers.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Engine, Error, Tx, on_engine};

use super::all_written;
use super::bulk::{by_keys, insert_rows};
use crate::domain::AccountId;
use crate::domain::rewards::{CodeSeal, Use, Voucher, VoucherState};

/// A row of `catalogue`. Its terms are encoded.
#[derive(sqlx::FromRow, Clone)]
pub(crate) struct RewardRow {
    pub(crate) catalogue_key: Uuid,
    pub(crate) reward: String,
    pub(crate) cost: i64,
    pub(crate) stock: Option<i64>,
    pub(crate) taken: i64,
    pub(crate) start_at: Option<DbTime>,
    pub(crate) end_at: Option<DbTime>,
    pub(crate) created_at: DbTime,
    pub(crate) retired_at: Option<DbTime>,
    pub(crate) details: Vec<u8>,
}

/// A row of `vouchers`.
#[derive(sqlx::FromRow)]
struct VoucherRow {
    voucher_id: Uuid,
    account_id: Uuid,
    member: Uuid,
    reward_key: Option<Uuid>,
    redemption: Option<Uuid>,
    code_hash: Vec<u8>,
    key_version: i64,
    state: i64,
    version: i64,
    issued_at: DbTime,
    expires_at: Option<DbTime>,
    reference: String,
    use_operation: Option<Uuid>,
    used_at: Option<DbTime>,
    discount: i64,
    details: Vec<u8>,
}

impl VoucherRow {
    fn voucher(self) -> Result<Voucher, Error> {
        let corrupt = || Error::Corrupt("state of a voucher".to_owned());
        let state = match (self.state, self.use_operation, self.used_at) {
            (1, ..) => VoucherState::Usable,
            (2, Some(operation), Some(at)) => {
                VoucherState::Used(Use { order: self.reference, operation, at: at.0, discount: self.discount })
            }
            (3, ..) => VoucherState::Revoked(self.reference),
            (4, ..) => VoucherState::Refunded { restocked: false },
            (5, ..) => VoucherState::Refunded { restocked: true },
            _ => return Err(corrupt()),
        };
        let hash = self.code_hash.try_into().map_err(|_| Error::Corrupt("code hash of a voucher".to_owned()))?;
        Ok(Voucher {
            id: self.voucher_id,
            account: AccountId(self.account_id),
            member: MemberId(self.member),
            paid: self.reward_key.zip(self.redemption),
            seal: CodeSeal { hash, key_version: self.key_version },
            state,
            version: self.version,
            issued_at: self.issued_at.0,
            expires_at: self.expires_at.map(|at| at.0),
            details: Arc::from(self.details),
        })
    }
}

/// The columns that say how a voucher stands: state, reference, use, when, and the discount.
fn standing(state: &VoucherState) -> (i64, &str, Option<Uuid>, Option<DbTime>, i64) {
    match state {
        VoucherState::Usable => (1, "", None, None, 0),
        VoucherState::Used(used) => (2, &used.order, Some(used.operation), Some(DbTime(used.at)), used.discount),
        VoucherState::Revoked(reason) => (3, reason, None, None, 0),
        VoucherState::Refunded { restocked: false } => (4, "", None, None, 0),
        VoucherState::Refunded { restocked: true } => (5, "", None, None, 0),
    }
}

/// Locks rewards in key order and reads them.
pub(crate) async fn lock_catalogue(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<RewardRow>, Error> {
    Ok(match tx.engine() {
        Engine::Postgres => by_keys!(
            tx,
            keys,
            "SELECT catalogue_key, reward, cost, stock, taken, start_at, end_at, created_at, retired_at, details
               FROM catalogue WHERE catalogue_key",
            "ORDER BY catalogue_key FOR UPDATE"
        )?,
        Engine::Sqlite => by_keys!(
            tx,
            keys,
            "SELECT catalogue_key, reward, cost, stock, taken, start_at, end_at, created_at, retired_at, details
               FROM catalogue WHERE catalogue_key",
            ""
        )?,
    })
}

/// A reward as it stands.
pub(crate) async fn catalogue_row(tx: &mut Tx, key: Uuid) -> Result<Option<RewardRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT catalogue_key, reward, cost, stock, taken, start_at, end_at, created_at, retired_at, details
           FROM catalogue WHERE catalogue_key = $1",
    )
    .bind(key)
    .fetch_optional(conn)
    .await)?)
}

/// Puts a reward in, and says whether it did: false when the id is taken.
pub(crate) async fn insert_reward(tx: &mut Tx, program: &ProgramId, row: &RewardRow) -> Result<bool, Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO catalogue (catalogue_key, program, reward, cost, stock, taken, start_at, end_at, created_at, details)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9) ON CONFLICT (catalogue_key) DO NOTHING",
    )
    .bind(row.catalogue_key)
    .bind(program.as_str())
    .bind(&row.reward)
    .bind(row.cost)
    .bind(row.stock)
    .bind(row.start_at)
    .bind(row.end_at)
    .bind(row.created_at)
    .bind(&row.details)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(written == 1)
}

/// Retires a reward, and says whether it did: false when it is not there or was retired.
pub(crate) async fn retire_reward(tx: &mut Tx, key: Uuid, now: Timestamp) -> Result<bool, Error> {
    let written =
        on_engine!(tx, |conn| sqlx::query("UPDATE catalogue SET retired_at = $1 WHERE catalogue_key = $2 AND retired_at IS NULL")
            .bind(DbTime(now))
            .bind(key)
            .execute(conn)
            .await?
            .rows_affected());
    Ok(written == 1)
}

/// Changes a stock by so many pieces, and says whether it did: false when there is none, less would be left than was taken, or it would be
/// more than a reward can begin with.
pub(crate) async fn adjust_stock(tx: &mut Tx, key: Uuid, pieces: i64) -> Result<bool, Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE catalogue SET stock = stock + $1
          WHERE catalogue_key = $2 AND stock IS NOT NULL AND stock + $1 >= taken AND stock + $1 <= 1000000000000",
    )
    .bind(pieces)
    .bind(key)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(written == 1)
}

/// Notes how many pieces have been taken. The row is locked.
pub(crate) async fn write_taken(tx: &mut Tx, key: Uuid, taken: i64) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query("UPDATE catalogue SET taken = $1 WHERE catalogue_key = $2")
        .bind(taken)
        .bind(key)
        .execute(conn)
        .await?
        .rows_affected());
    all_written(written, 1)
}

/// Rewards of a program by id, after one.
pub(crate) async fn catalogue_by_id(tx: &mut Tx, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<RewardRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT catalogue_key, reward, cost, stock, taken, start_at, end_at, created_at, retired_at, details
           FROM catalogue WHERE program = $1 AND reward > $2 ORDER BY reward LIMIT $3",
    )
    .bind(program.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// Rewards that are neither retired nor over, cheapest first, after a cost and id.
pub(crate) async fn catalogue_by_cost(
    tx: &mut Tx,
    program: &ProgramId,
    now: Timestamp,
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<RewardRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT catalogue_key, reward, cost, stock, taken, start_at, end_at, created_at, retired_at, details
           FROM catalogue
          WHERE program = $1 AND retired_at IS NULL AND (end_at IS NULL OR end_at > $2) AND (cost, reward) > ($3, $4)
          ORDER BY cost, reward LIMIT $5",
    )
    .bind(program.as_str())
    .bind(DbTime(now))
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// How many vouchers accounts have had for each reward, those refunded not counted.
pub(crate) async fn taken_by(tx: &mut Tx, accounts: &[Uuid]) -> Result<HashMap<(AccountId, Uuid), i64>, Error> {
    let rows: Vec<(Uuid, Uuid, i64)> = by_keys!(
        tx,
        accounts,
        "SELECT account_id, reward_key, COUNT(*) FROM vouchers WHERE reward_key IS NOT NULL AND state < 4 AND account_id",
        "GROUP BY account_id, reward_key"
    )?;
    Ok(rows.into_iter().map(|(account, reward, taken)| ((AccountId(account), reward), taken)).collect())
}

/// Locks vouchers in key order and reads them.
pub(crate) async fn lock_vouchers(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<Voucher>, Error> {
    let rows: Vec<VoucherRow> = match tx.engine() {
        Engine::Postgres => by_keys!(
            tx,
            keys,
            "SELECT voucher_id, account_id, member, reward_key, redemption, code_hash, key_version, state, version, issued_at, expires_at,
                    reference, use_operation, used_at, discount, details FROM vouchers WHERE voucher_id",
            "ORDER BY voucher_id FOR UPDATE"
        )?,
        Engine::Sqlite => by_keys!(
            tx,
            keys,
            "SELECT voucher_id, account_id, member, reward_key, redemption, code_hash, key_version, state, version, issued_at, expires_at,
                    reference, use_operation, used_at, discount, details FROM vouchers WHERE voucher_id",
            ""
        )?,
    };
    rows.into_iter().map(VoucherRow::voucher).collect()
}

/// A voucher of a program as it stands.
pub(crate) async fn voucher(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Voucher>, Error> {
    let row: Option<VoucherRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT voucher_id, account_id, member, reward_key, redemption, code_hash, key_version, state, version, issued_at, expires_at,
                reference, use_operation, used_at, discount, details FROM vouchers WHERE voucher_id = $1 AND program = $2",
    )
    .bind(id)
    .bind(program.as_str())
    .fetch_optional(conn)
    .await)?;
    row.map(VoucherRow::voucher).transpose()
}

/// A voucher of a program by the hash of its code.
pub(crate) async fn voucher_by_code(tx: &mut Tx, program: &ProgramId, hash: &[u8; 32]) -> Result<Option<Voucher>, Error> {
    let row: Option<VoucherRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT voucher_id, account_id, member, reward_key, redemption, code_hash, key_version, state, version, issued_at, expires_at,
                reference, use_operation, used_at, discount, details FROM vouchers WHERE code_hash = $1 AND program = $2",
    )
    .bind(&hash[..])
    .bind(program.as_str())
    .fetch_optional(conn)
    .await)?;
    row.map(VoucherRow::voucher).transpose()
}

/// The operation whose answer told of a grant.
pub(crate) async fn granted(tx: &mut Tx, grant_key: Uuid) -> Result<Option<Uuid>, Error> {
    let row: Option<(Uuid,)> = on_engine!(tx, |conn| sqlx::query_as("SELECT grant_operation FROM vouchers WHERE grant_key = $1")
        .bind(grant_key)
        .fetch_optional(conn)
        .await)?;
    Ok(row.map(|(operation,)| operation))
}

/// Vouchers of accounts, newest first, before a moment and id.
pub(crate) async fn vouchers_of(tx: &mut Tx, accounts: &[AccountId], before: (Timestamp, Uuid), limit: i64) -> Result<Vec<Voucher>, Error> {
    let mut vouchers = Vec::new();
    // There are as many accounts as were merged into one: few. Each gives its own newest.
    for account in accounts {
        let rows: Vec<VoucherRow> = on_engine!(tx, |conn| {
            sqlx::query_as(
            "SELECT voucher_id, account_id, member, reward_key, redemption, code_hash, key_version, state, version, issued_at, expires_at,
                    reference, use_operation, used_at, discount, details
               FROM vouchers WHERE account_id = $1 AND (issued_at, voucher_id) < ($2, $3)
              ORDER BY issued_at DESC, voucher_id DESC LIMIT $4",
        )
        .bind(account.0)
        .bind(DbTime(before.0))
        .bind(before.1)
        .bind(limit)
        .fetch_all(conn)
        .await
        })?;
        for row in rows {
            vouchers.push(row.voucher()?);
        }
    }
    vouchers.sort_by_key(|voucher| std::cmp::Reverse((voucher.issued_at, voucher.id)));
    vouchers.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(vouchers)
}

/// A voucher to be written, with the key of its grant and the operation whose answer tells of that.
pub(crate) type NewVoucher = (ProgramId, Voucher, Option<(Uuid, Uuid)>);

/// Issues vouchers. When another process has made the same grant meanwhile it is a `Conflict`, and is found when tried again.
pub(crate) async fn insert_vouchers(tx: &mut Tx, vouchers: &[NewVoucher]) -> Result<(), Error> {
    let written = insert_rows!(
        tx,
        vouchers,
        "vouchers (voucher_id, account_id, program, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version,
         state, version, issued_at, expires_at, reference, use_operation, used_at, discount, details)",
        "ON CONFLICT (grant_key) WHERE grant_key IS NOT NULL DO NOTHING",
        |values, row| {
            let (program, voucher, grant) = row;
            let (state, reference, operation, used_at, discount) = standing(&voucher.state);
            values
                .push_bind(voucher.id)
                .push_bind(voucher.account.0)
                .push_bind(program.as_str())
                .push_bind(voucher.member.0)
                .push_bind(voucher.paid.map(|(reward, _)| reward))
                .push_bind(voucher.paid.map(|(_, redemption)| redemption))
                .push_bind(grant.map(|(key, _)| key))
                .push_bind(grant.map(|(_, operation)| operation))
                .push_bind(&voucher.seal.hash[..])
                .push_bind(voucher.seal.key_version)
                .push_bind(state)
                .push_bind(voucher.version)
                .push_bind(DbTime(voucher.issued_at))
                .push_bind(voucher.expires_at.map(DbTime))
                .push_bind(reference)
                .push_bind(operation)
                .push_bind(used_at)
                .push_bind(discount)
                .push_bind(&voucher.details[..]);
        }
    );
    all_written(written, vouchers.len())
}

/// Writes a voucher back whose version has gone up by one. `Conflict` when another has changed it since it was read.
pub(crate) async fn update_voucher(tx: &mut Tx, voucher: &Voucher) -> Result<(), Error> {
    let (state, reference, operation, used_at, discount) = standing(&voucher.state);
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE vouchers SET state = $1, reference = $2, use_operation = $3, used_at = $4, discount = $5, version = $6
          WHERE voucher_id = $7 AND version = $6 - 1",
    )
    .bind(state)
    .bind(reference)
    .bind(operation)
    .bind(used_at)
    .bind(discount)
    .bind(voucher.version)
    .bind(voucher.id)
    .execute(conn)
    .await?
    .rows_affected());
    all_written(written, 1)
}

/// Rewards that count another number of pieces than their vouchers say: program, reward, pieces taken, vouchers.
pub(crate) async fn miscounted_rewards(tx: &mut Tx) -> Result<Vec<(String, String, i64, i64)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT c.program, c.reward, c.taken, COUNT(v.voucher_id)
           FROM catalogue c LEFT JOIN vouchers v ON v.reward_key = c.catalogue_key AND v.state <> 5
          GROUP BY c.program, c.reward, c.taken HAVING c.taken <> COUNT(v.voucher_id) ORDER BY c.program, c.reward",
    )
    .fetch_all(conn)
    .await)?)
}

/// Vouchers whose redemption is not there, was given back while they stand, or was not while they say so: program, member, voucher.
pub(crate) async fn stray_vouchers(tx: &mut Tx) -> Result<Vec<(String, Uuid, Uuid)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT v.program, v.member, v.voucher_id
           FROM vouchers v LEFT JOIN redemptions r ON r.redemption = v.redemption
          WHERE v.redemption IS NOT NULL AND (r.redemption IS NULL OR (r.refunded > 0) <> (v.state >= 4))
          ORDER BY v.voucher_id",
    )
    .fetch_all(conn)
    .await)?)
}
