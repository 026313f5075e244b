//! What tills without a connection have done with vouchers.

use std::collections::HashMap;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::all_written;
use super::bulk::{by_keys, insert_rows};
use crate::domain::rewards::{OfflineResult, OfflineUse};

/// A use without a connection to be written, or as it was.
pub(crate) struct NewOfflineUse {
    pub(crate) program: ProgramId,
    pub(crate) voucher: Uuid,
    pub(crate) member: MemberId,
    pub(crate) told: OfflineUse,
    pub(crate) order: String,
    pub(crate) recorded_at: Timestamp,
    pub(crate) result: OfflineResult,
    pub(crate) discount: i64,
    pub(crate) operation: Uuid,
}

/// A row of `offline_uses`.
#[derive(sqlx::FromRow)]
struct Row {
    use_key: Uuid,
    voucher_id: Uuid,
    member: Uuid,
    terminal: String,
    sequence: i64,
    order_reference: String,
    occurred_at: DbTime,
    recorded_at: DbTime,
    result: i64,
    discount: i64,
    operation: Uuid,
}

impl Row {
    fn read(self, program: &ProgramId) -> Result<NewOfflineUse, Error> {
        let result = match self.result {
            1 => OfflineResult::Bound,
            2 => OfflineResult::Duplicate,
            3 => OfflineResult::NotGood,
            4 => OfflineResult::Voided,
            _ => return Err(Error::Corrupt("result of a use without a connection".to_owned())),
        };
        let (key, terminal, sequence, occurred_at) = (self.use_key, self.terminal, self.sequence, self.occurred_at.0);
        Ok(NewOfflineUse {
            program: program.clone(),
            voucher: self.voucher_id,
            member: MemberId(self.member),
            told: OfflineUse { key, terminal, sequence, occurred_at },
            order: self.order_reference,
            recorded_at: self.recorded_at.0,
            result,
            discount: self.discount,
            operation: self.operation,
        })
    }
}

/// The operations that told of uses, by their keys.
pub(crate) async fn offline_uses_by_key(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    let rows: Vec<(Uuid, Uuid)> = by_keys!(tx, keys, "SELECT use_key, operation FROM offline_uses WHERE use_key", "")?;
    Ok(rows.into_iter().collect())
}

/// By which uses of vouchers something was lost: the keys by voucher and order, each with how much. The vouchers are locked.
pub(crate) async fn losses_of(tx: &mut Tx, vouchers: &[Uuid]) -> Result<HashMap<(Uuid, String), Vec<(Uuid, i64)>>, Error> {
    let rows: Vec<(Uuid, String, Uuid, i64)> = by_keys!(
        tx,
        vouchers,
        "SELECT voucher_id, order_reference, use_key, discount FROM offline_uses WHERE result IN (2, 3) AND voucher_id",
        ""
    )?;
    let mut losses: HashMap<_, Vec<_>> = HashMap::new();
    for (voucher, order, key, discount) in rows {
        losses.entry((voucher, order)).or_default().push((key, discount));
    }
    Ok(losses)
}

/// The order of a loss was cancelled: nothing is lost any more.
pub(crate) async fn void_loss(tx: &mut Tx, key: Uuid) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query("UPDATE offline_uses SET result = 4 WHERE use_key = $1 AND result IN (2, 3)")
        .bind(key)
        .execute(conn)
        .await?
        .rows_affected());
    all_written(written, 1)
}

/// Records uses. One that another process has recorded meanwhile makes the batch run again, and is found then.
pub(crate) async fn insert_offline_uses(tx: &mut Tx, uses: &[NewOfflineUse]) -> Result<(), Error> {
    let written = insert_rows!(
        tx,
        uses,
        "offline_uses (use_key, program, voucher_id, member, terminal, sequence, order_reference, occurred_at, recorded_at, result,
         discount, operation)",
        "ON CONFLICT (use_key) DO NOTHING",
        |values, row| values
            .push_bind(row.told.key)
            .push_bind(row.program.as_str())
            .push_bind(row.voucher)
            .push_bind(row.member.0)
            .push_bind(&row.told.terminal)
            .push_bind(row.told.sequence)
            .push_bind(&row.order)
            .push_bind(DbTime(row.told.occurred_at))
            .push_bind(DbTime(row.recorded_at))
            .push_bind(match row.result {
                OfflineResult::Bound => 1_i64,
                OfflineResult::Duplicate => 2,
                OfflineResult::NotGood => 3,
                OfflineResult::Voided => 4,
            })
            .push_bind(row.discount)
            .push_bind(row.operation)
    );
    all_written(written, uses.len())
}

/// Uses of a program, newest first, before a moment and key; only those by which something was lost, where that is asked.
pub(crate) async fn offline_uses(
    tx: &mut Tx,
    program: &ProgramId,
    losses_only: bool,
    before: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<NewOfflineUse>, Error> {
    let sql = if losses_only {
        "SELECT use_key, voucher_id, member, terminal, sequence, order_reference, occurred_at, recorded_at, result, discount, operation
           FROM offline_uses WHERE program = $1 AND (recorded_at, use_key) < ($2, $3) AND result IN (2, 3)
          ORDER BY recorded_at DESC, use_key DESC LIMIT $4"
    } else {
        "SELECT use_key, voucher_id, member, terminal, sequence, order_reference, occurred_at, recorded_at, result, discount, operation
           FROM offline_uses WHERE program = $1 AND (recorded_at, use_key) < ($2, $3)
          ORDER BY recorded_at DESC, use_key DESC LIMIT $4"
    };
    let rows: Vec<Row> = on_engine!(tx, |conn| sqlx::query_as(sql)
        .bind(program.as_str())
        .bind(DbTime(before.0))
        .bind(before.1)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(|row| row.read(program)).collect()
}

/// How often something was lost in a program, and how much.
pub(crate) async fn offline_losses(tx: &mut Tx, program: &ProgramId) -> Result<(i64, i64), Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(discount), 0) AS BIGINT) FROM offline_uses WHERE program = $1 AND result IN (2, 3)",
    )
    .bind(program.as_str())
    .fetch_one(conn)
    .await)?)
}
