//! The catalogue of rewards.

use kernel::{ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Engine, Error, Tx, on_engine};

use super::all_written;
use super::bulk::by_keys;

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

/// Rewards that count another number of pieces than their vouchers say: program, reward, pieces taken, vouchers.
pub(crate) async fn miscounted_rewards(tx: &mut Tx) -> Result<Vec<(String, String, i64, i64)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT c.program, c.reward, c.taken, COUNT(v.voucher_id)
           FROM catalogue c LEFT JOIN vouchers v ON v.reward_key = c.catalogue_key AND v.state NOT IN (5, 6)
          GROUP BY c.program, c.reward, c.taken HAVING c.taken <> COUNT(v.voucher_id) ORDER BY c.program, c.reward",
    )
    .fetch_all(conn)
    .await)?)
}
