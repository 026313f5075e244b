//! Vouchers, and what other services wish of them.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Connection, DbTime, Engine, Error, Traced, Tx, on_engine};

use super::all_written;
use super::bulk::{by_keys, insert_rows, json};
use crate::domain::AccountId;
use crate::domain::rewards::{CodeSeal, Use, Voucher, VoucherState, Wish};

/// A row of `vouchers`.
#[derive(sqlx::FromRow)]
struct VoucherRow {
    voucher_id: Uuid,
    account_id: Uuid,
    member: Uuid,
    reward_key: Option<Uuid>,
    redemption: Option<Uuid>,
    grant_key: Option<Uuid>,
    grant_operation: Option<Uuid>,
    code_hash: Vec<u8>,
    key_version: i64,
    state: i64,
    recalled: bool,
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
            (3 | 6, ..) => VoucherState::Revoked { reason: self.reference, restocked: self.state == 6 },
            (4 | 5, ..) => VoucherState::Refunded { restocked: self.state == 5 },
            _ => return Err(corrupt()),
        };
        let hash = self.code_hash.try_into().map_err(|_| Error::Corrupt("code hash of a voucher".to_owned()))?;
        Ok(Voucher {
            id: self.voucher_id,
            account: AccountId(self.account_id),
            member: MemberId(self.member),
            reward: self.reward_key,
            redemption: self.redemption,
            recalled: self.recalled,
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
        VoucherState::Revoked { reason, restocked: false } => (3, reason, None, None, 0),
        VoucherState::Revoked { reason, restocked: true } => (6, reason, None, None, 0),
        VoucherState::Refunded { restocked: false } => (4, "", None, None, 0),
        VoucherState::Refunded { restocked: true } => (5, "", None, None, 0),
    }
}

/// How many vouchers accounts have redeemed for each reward, those refunded not counted.
pub(crate) async fn taken_by(tx: &mut Tx, accounts: &[Uuid]) -> Result<HashMap<(AccountId, Uuid), i64>, Error> {
    let rows: Vec<(Uuid, Uuid, i64)> = by_keys!(
        tx,
        accounts,
        "SELECT account_id, reward_key, COUNT(*) FROM vouchers WHERE redemption IS NOT NULL AND state < 4 AND account_id",
        "GROUP BY account_id, reward_key"
    )?;
    Ok(rows.into_iter().map(|(account, reward, taken)| ((AccountId(account), reward), taken)).collect())
}

/// What vouchers are named by.
#[derive(Default, Debug)]
pub(crate) struct Named {
    pub(crate) ids: Vec<Uuid>,
    /// Hashes of codes.
    pub(crate) codes: Vec<[u8; 32]>,
    /// Keys of grants.
    pub(crate) grants: Vec<Uuid>,
}

/// Locks vouchers in key order and reads them, each with the key of its grant and the operation that told of that.
pub(crate) async fn lock_vouchers(tx: &mut Tx, named: &Named) -> Result<Vec<(Voucher, Option<(Uuid, Uuid)>)>, Error> {
    let Named { ids, codes, grants } = named;
    let rows: Vec<VoucherRow> =
        match tx.connection() {
            // What they are named by never changes, so only the rows themselves are locked.
            Connection::Postgres(conn) => {
                let codes: Vec<&[u8]> = codes.iter().map(|code| &code[..]).collect();
                sqlx::query_as(
                "SELECT voucher_id, account_id, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version, state,
                        recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details
                   FROM vouchers
                  WHERE voucher_id = ANY(ARRAY(SELECT unnest($1::UUID[])
                                               UNION SELECT voucher_id FROM vouchers WHERE code_hash = ANY($2::BYTEA[])
                                               UNION SELECT voucher_id FROM vouchers WHERE grant_key = ANY($3::UUID[])))
                  ORDER BY voucher_id FOR UPDATE",
            )
            .bind(ids)
            .bind(codes)
            .bind(grants)
            .fetch_all(Traced(conn))
            .await?
            }
            Connection::Sqlite(conn) => sqlx::query_as(
                "SELECT voucher_id, account_id, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version, state,
                        recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details
                   FROM vouchers
                  WHERE voucher_id IN (SELECT unhex(value) FROM json_each($1)
                                       UNION SELECT voucher_id FROM vouchers WHERE code_hash IN (SELECT unhex(value) FROM json_each($2))
                                       UNION SELECT voucher_id FROM vouchers WHERE grant_key IN (SELECT unhex(value) FROM json_each($3)))",
            )
            .bind(json(ids))
            .bind(json(codes))
            .bind(json(grants))
            .fetch_all(Traced(conn))
            .await?,
        };
    rows.into_iter().map(|row| (row.grant_key.zip(row.grant_operation), row)).map(|(grant, row)| Ok((row.voucher()?, grant))).collect()
}

/// A voucher of a program as it stands.
pub(crate) async fn voucher(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Voucher>, Error> {
    let row: Option<VoucherRow> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT voucher_id, account_id, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version, state,
                recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details FROM vouchers WHERE voucher_id = $1 AND program = $2",
    )
    .bind(id)
    .bind(program.as_str())
    .fetch_optional(conn)
    .await
    })?;
    row.map(VoucherRow::voucher).transpose()
}

/// A voucher of a program by the hash of its code.
pub(crate) async fn voucher_by_code(tx: &mut Tx, program: &ProgramId, hash: &[u8; 32]) -> Result<Option<Voucher>, Error> {
    let row: Option<VoucherRow> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT voucher_id, account_id, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version, state,
                recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details FROM vouchers WHERE code_hash = $1 AND program = $2",
    )
    .bind(&hash[..])
    .bind(program.as_str())
    .fetch_optional(conn)
    .await
    })?;
    row.map(VoucherRow::voucher).transpose()
}

/// Vouchers of accounts, newest first, before a moment and id.
pub(crate) async fn vouchers_of(tx: &mut Tx, accounts: &[AccountId], before: (Timestamp, Uuid), limit: i64) -> Result<Vec<Voucher>, Error> {
    let mut vouchers = Vec::new();
    // There are as many accounts as were merged into one: few. Each gives its own newest.
    for account in accounts {
        let rows: Vec<VoucherRow> = on_engine!(tx, |conn| {
            sqlx::query_as(
                "SELECT voucher_id, account_id, member, reward_key, redemption, grant_key, grant_operation, code_hash, key_version, state,
                    recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details
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
         state, recalled, version, issued_at, expires_at, reference, use_operation, used_at, discount, details)",
        "ON CONFLICT (grant_key) WHERE grant_key IS NOT NULL DO NOTHING",
        |values, row| {
            let (program, voucher, grant) = row;
            let (state, reference, operation, used_at, discount) = standing(&voucher.state);
            values
                .push_bind(voucher.id)
                .push_bind(voucher.account.0)
                .push_bind(program.as_str())
                .push_bind(voucher.member.0)
                .push_bind(voucher.reward)
                .push_bind(voucher.redemption)
                .push_bind(grant.map(|(key, _)| key))
                .push_bind(grant.map(|(_, operation)| operation))
                .push_bind(&voucher.seal.hash[..])
                .push_bind(voucher.seal.key_version)
                .push_bind(state)
                .push_bind(voucher.recalled)
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

/// Writes vouchers back whose versions have gone up, in key order. Their rows are locked, and were at these versions' predecessors.
pub(crate) async fn update_vouchers(tx: &mut Tx, vouchers: &[&Voucher]) -> Result<(), Error> {
    let rows = || vouchers.iter().map(|voucher| (voucher, standing(&voucher.state)));
    let written = match tx.connection() {
        Connection::Postgres(conn) => {
            let sql = "
                UPDATE vouchers v
                   SET state = n.state, recalled = n.recalled, reference = n.reference, use_operation = n.use_operation,
                       used_at = n.used_at, discount = n.discount, version = n.version
                  FROM unnest($1::UUID[], $2::BIGINT[], $3::BOOLEAN[], $4::TEXT[], $5::UUID[], $6::TIMESTAMPTZ[], $7::BIGINT[], $8::BIGINT[])
                       AS n (voucher_id, state, recalled, reference, use_operation, used_at, discount, version)
                 WHERE v.voucher_id = n.voucher_id AND v.version < n.version";
            sqlx::query(sql)
                .bind(rows().map(|(voucher, _)| voucher.id).collect::<Vec<_>>())
                .bind(rows().map(|(_, row)| row.0).collect::<Vec<_>>())
                .bind(rows().map(|(voucher, _)| voucher.recalled).collect::<Vec<_>>())
                .bind(rows().map(|(_, row)| row.1).collect::<Vec<_>>())
                .bind(rows().map(|(_, row)| row.2).collect::<Vec<_>>())
                .bind(rows().map(|(_, row)| row.3).collect::<Vec<_>>())
                .bind(rows().map(|(_, row)| row.4).collect::<Vec<_>>())
                .bind(rows().map(|(voucher, _)| voucher.version).collect::<Vec<_>>())
                .execute(Traced(conn))
                .await?
                .rows_affected()
        }
        Connection::Sqlite(conn) => {
            let mut written = 0;
            for (voucher, (state, reference, operation, used_at, discount)) in rows() {
                let sql = "
                    UPDATE vouchers SET state = $1, recalled = $2, reference = $3, use_operation = $4, used_at = $5, discount = $6, version = $7
                     WHERE voucher_id = $8 AND version < $7";
                let query = sqlx::query(sql).bind(state).bind(voucher.recalled).bind(reference).bind(operation).bind(used_at);
                let query = query.bind(discount).bind(voucher.version).bind(voucher.id);
                written += query.execute(Traced(&mut *conn)).await?.rows_affected();
            }
            written
        }
    };
    all_written(written, vouchers.len())
}

/// Locks wishes in key order and reads them.
pub(crate) async fn lock_wishes(tx: &mut Tx, keys: &[Uuid]) -> Result<Vec<Wish>, Error> {
    let rows: Vec<(Uuid, Uuid, Uuid, i64, Option<Uuid>)> = match tx.engine() {
        Engine::Postgres => by_keys!(
            tx,
            keys,
            "SELECT wish_key, account_id, reward_key, version, voucher_id FROM wishes WHERE wish_key",
            "ORDER BY wish_key FOR UPDATE"
        )?,
        Engine::Sqlite => {
            by_keys!(tx, keys, "SELECT wish_key, account_id, reward_key, version, voucher_id FROM wishes WHERE wish_key", "")?
        }
    };
    let wish = |(key, account, reward, version, voucher)| Wish { key, account: AccountId(account), reward, version, voucher };
    Ok(rows.into_iter().map(wish).collect())
}

/// Writes a wish as it stands. When another process has written one under its key meanwhile it is a `Conflict`, and is found when tried again.
pub(crate) async fn write_wish(tx: &mut Tx, wish: &Wish) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO wishes (wish_key, account_id, reward_key, version, voucher_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (wish_key) DO UPDATE SET version = excluded.version, voucher_id = excluded.voucher_id
          WHERE wishes.account_id = excluded.account_id AND wishes.reward_key = excluded.reward_key AND wishes.version < excluded.version",
    )
    .bind(wish.key)
    .bind(wish.account.0)
    .bind(wish.reward)
    .bind(wish.version)
    .bind(wish.voucher)
    .execute(conn)
    .await?
    .rows_affected());
    all_written(written, 1)
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
