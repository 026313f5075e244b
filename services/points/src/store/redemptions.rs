//! What was spent and may be given back, and activities.

use std::collections::HashMap;

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::all_written;
use super::bulk::{by_keys, insert_rows};
use super::codec::{self, StoredEntry};
use crate::domain::{AccountId, Redemption};

/// A redemption to be written: its operation, and the entry that it is.
pub(crate) struct NewRedemption {
    pub(crate) operation: Uuid,
    pub(crate) account: AccountId,
    pub(crate) version: i64,
    pub(crate) refunded: i64,
}

/// An activity to be written.
pub(crate) struct NewActivity {
    pub(crate) key: Uuid,
    pub(crate) account: AccountId,
    pub(crate) operation: Uuid,
}

/// A row of `redemptions` with its entry: operation, account, refunded, wallet, recorded_at, details.
type RedemptionRow = (Uuid, Uuid, i64, String, DbTime, Vec<u8>);

/// Redemptions by operation, with the lots that they took from.
pub(crate) async fn redemptions(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Redemption>, Error> {
    let rows: Vec<RedemptionRow> = by_keys!(
        tx,
        keys,
        "SELECT r.redemption, r.account_id, r.refunded, e.wallet, e.recorded_at, e.details
           FROM redemptions r JOIN entries e ON e.account_id = r.account_id AND e.version = r.version WHERE r.redemption",
        ""
    )?;
    let redemption = |(operation, account, refunded, wallet, spent_at, details): RedemptionRow| {
        let entry = StoredEntry::read(&details)?;
        let lots = entry.lots()?.into_iter().map(|change| (change.key, -change.points)).collect();
        let (wallet, spender, of_reward) = (codec::shared(wallet), entry.spender()?, entry.is_of_reward());
        let account = AccountId(account);
        Ok((operation, Redemption { operation, account, wallet, lots, spender, spent_at: spent_at.0, refunded, of_reward }))
    };
    rows.into_iter().map(redemption).collect()
}

/// Whose points a redemption spent.
pub(crate) async fn redemption_owner(tx: &mut Tx, program: &ProgramId, redemption: Uuid) -> Result<Option<MemberId>, Error> {
    let row: Option<(Uuid,)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT a.member FROM redemptions r JOIN accounts a USING (account_id) WHERE r.redemption = $1 AND a.program = $2",
    )
    .bind(redemption)
    .bind(program.as_str())
    .fetch_optional(conn)
    .await)?;
    Ok(row.map(|(member,)| MemberId(member)))
}

/// Records redemptions. Their operations are new, so are they.
pub(crate) async fn insert_redemptions(tx: &mut Tx, redemptions: &[NewRedemption]) -> Result<(), Error> {
    insert_rows!(tx, redemptions, "redemptions (redemption, account_id, version, refunded)", "", |values, row| values
        .push_bind(row.operation)
        .push_bind(row.account.0)
        .push_bind(row.version)
        .push_bind(row.refunded));
    Ok(())
}

/// Notes how much of a redemption has been given back. Its account is locked.
pub(crate) async fn write_refunded(tx: &mut Tx, redemption: Uuid, refunded: i64) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query("UPDATE redemptions SET refunded = $1 WHERE redemption = $2")
        .bind(refunded)
        .bind(redemption)
        .execute(conn)
        .await?
        .rows_affected());
    all_written(written, 1)
}

/// The operations that rewarded activities, by their keys.
pub(crate) async fn activities(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    let rows: Vec<(Uuid, Uuid)> = by_keys!(tx, keys, "SELECT activity_key, operation FROM activities WHERE activity_key", "")?;
    Ok(rows.into_iter().collect())
}

/// Forgets links that prove something, so that they may prove something else.
pub(crate) async fn free_proofs(tx: &mut Tx, keys: &[Uuid]) -> Result<(), Error> {
    for key in keys {
        on_engine!(tx, |conn| sqlx::query("DELETE FROM activities WHERE activity_key = $1").bind(key).execute(conn).await?.rows_affected());
    }
    Ok(())
}

/// Records activities. One that another process has recorded meanwhile makes the batch run again, and is found then.
pub(crate) async fn insert_activities(tx: &mut Tx, activities: &[NewActivity]) -> Result<(), Error> {
    let written = insert_rows!(
        tx,
        activities,
        "activities (activity_key, account_id, operation)",
        "ON CONFLICT (activity_key) DO NOTHING",
        |values, row| values.push_bind(row.key).push_bind(row.account.0).push_bind(row.operation)
    );
    all_written(written, activities.len())
}
