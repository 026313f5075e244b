//! Rows with keys of their own as they stand, for checking them against the entries.

use std::collections::{BTreeMap, HashMap};

use kernel::Uuid;
use persistence::{Error, Tx, on_engine};

use super::bulk::by_keys;
use super::codec;
use crate::domain::{AccountId, EntryKind, Purchase};

/// A row of `purchases`.
#[derive(sqlx::FromRow)]
pub(crate) struct PurchaseRow {
    purchase_key: Uuid,
    pub(crate) operation: Uuid,
    pub(crate) net: i64,
    pub(crate) remaining_net: i64,
    pub(crate) due_points: i64,
    pub(crate) returns: i64,
    details: Vec<u8>,
}

impl PurchaseRow {
    /// The purchase as its details say.
    pub(crate) fn purchase(&self) -> Result<Purchase, Error> {
        codec::decode_purchase(&self.details)
    }
}

/// Purchases by key.
pub(crate) async fn purchase_rows(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, PurchaseRow>, Error> {
    let rows: Vec<PurchaseRow> = by_keys!(
        tx,
        keys,
        "SELECT purchase_key, operation, net, remaining_net, due_points, returns, details FROM purchases WHERE purchase_key",
        ""
    )?;
    Ok(rows.into_iter().map(|row| (row.purchase_key, row)).collect())
}

/// A row of `purchase_returns`.
#[derive(sqlx::FromRow)]
pub(crate) struct ReturnRow {
    purchase_key: Uuid,
    pub(crate) number: i64,
    pub(crate) returned_net: i64,
    pub(crate) due_points_delta: i64,
}

/// The returns of purchases, by key.
pub(crate) async fn returns(tx: &mut Tx, keys: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<ReturnRow>>, Error> {
    let rows: Vec<ReturnRow> =
        by_keys!(tx, keys, "SELECT purchase_key, number, returned_net, due_points_delta FROM purchase_returns WHERE purchase_key", "")?;
    let mut returns: BTreeMap<Uuid, Vec<ReturnRow>> = BTreeMap::new();
    for row in rows {
        returns.entry(row.purchase_key).or_default().push(row);
    }
    Ok(returns)
}

/// A row of `redemptions`.
pub(crate) struct RedemptionRow {
    pub(crate) account: AccountId,
    pub(crate) version: i64,
    pub(crate) refunded: i64,
}

/// Redemptions by operation, without their entries.
pub(crate) async fn redemption_rows(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, RedemptionRow>, Error> {
    let rows: Vec<(Uuid, Uuid, i64, i64)> =
        by_keys!(tx, keys, "SELECT redemption, account_id, version, refunded FROM redemptions WHERE redemption", "")?;
    let row = |(key, account, version, refunded)| (key, RedemptionRow { account: AccountId(account), version, refunded });
    Ok(rows.into_iter().map(row).collect())
}

/// A redemption that is not the one that its entry is.
#[derive(sqlx::FromRow)]
pub(crate) struct StrayRedemption {
    pub(crate) redemption: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) version: i64,
    pub(crate) program: Option<String>,
    pub(crate) member: Option<Uuid>,
}

/// Redemptions that name an entry of another operation, or one that spent nothing: points could be given back by them once more.
pub(crate) async fn stray_redemptions(tx: &mut Tx) -> Result<Vec<StrayRedemption>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT r.redemption, r.account_id, r.version, a.program, a.member
           FROM redemptions r JOIN entries e ON e.account_id = r.account_id AND e.version = r.version
           LEFT JOIN accounts a ON a.account_id = r.account_id
          WHERE e.operation <> r.redemption OR e.kind NOT IN ($1, $2)
          ORDER BY r.account_id, r.version, r.redemption",
    )
    .bind(EntryKind::Redeem as i64)
    .bind(EntryKind::Capture as i64)
    .fetch_all(conn)
    .await)?)
}

/// Rewards by key: the version of the wish, and the points that are granted.
pub(crate) async fn reward_rows(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, (i64, i64)>, Error> {
    let rows: Vec<(Uuid, i64, i64)> = by_keys!(tx, keys, "SELECT reward_key, version, granted FROM rewards WHERE reward_key", "")?;
    Ok(rows.into_iter().map(|(key, version, granted)| (key, (version, granted))).collect())
}
