//! Levels given by hand.

use kernel::{Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::Member;
use crate::domain::timeline::Grant;

/// A grant as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct StoredGrant {
    pub(crate) grant_id: Uuid,
    pub(crate) level_id: String,
    pub(crate) start_time: DbTime,
    pub(crate) end_time: Option<DbTime>,
    pub(crate) approver: String,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) revoke_time: Option<DbTime>,
    pub(crate) revoke_reason: String,
}

impl From<&StoredGrant> for Grant {
    fn from(stored: &StoredGrant) -> Grant {
        let ends = [stored.end_time, stored.revoke_time];
        Grant {
            level: stored.level_id.clone(),
            start: stored.start_time.into(),
            end: ends.into_iter().flatten().min().map(Timestamp::from),
        }
    }
}

/// Writes a grant.
pub(crate) async fn insert_grant(tx: &mut Tx, member: &Member, scheme: &str, grant: &StoredGrant) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO grants
                (member_id, program_id, scheme_id, grant_id, level_id, start_time, end_time, approver, reason, actor, revoke_reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '')",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(grant.grant_id)
    .bind(&grant.level_id)
    .bind(grant.start_time)
    .bind(grant.end_time)
    .bind(&grant.approver)
    .bind(&grant.reason)
    .bind(&grant.actor)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// Ends a grant unless it has ended. Returns whether it was open.
pub(crate) async fn revoke_grant(
    tx: &mut Tx,
    member: &Member,
    scheme: &str,
    grant: Uuid,
    now: Timestamp,
    reason: &str,
) -> Result<bool, Error> {
    let revoked = on_engine!(tx, |conn| sqlx::query(
        "UPDATE grants SET revoke_time = $5, revoke_reason = $6
          WHERE member_id = $1 AND program_id = $2 AND scheme_id = $3 AND grant_id = $4
            AND revoke_time IS NULL AND (end_time IS NULL OR end_time > $5)",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(grant)
    .bind(DbTime(now))
    .bind(reason)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(revoked == 1)
}

/// A grant of a member.
pub(crate) async fn grant(tx: &mut Tx, member: &Member, scheme: &str, grant: Uuid) -> Result<Option<StoredGrant>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT grant_id, level_id, start_time, end_time, approver, reason, actor, revoke_time, revoke_reason FROM grants
          WHERE member_id = $1 AND program_id = $2 AND scheme_id = $3 AND grant_id = $4",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(grant)
    .fetch_optional(conn)
    .await)?)
}

/// All grants of a member in a scheme.
pub(crate) async fn grants(tx: &mut Tx, member: &Member, scheme: &str) -> Result<Vec<StoredGrant>, Error> {
    list_grants(tx, member, scheme, Uuid::nil(), i64::MAX).await
}

/// The grants of a member in a scheme after an id, by id.
pub(crate) async fn list_grants(tx: &mut Tx, member: &Member, scheme: &str, after: Uuid, limit: i64) -> Result<Vec<StoredGrant>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT grant_id, level_id, start_time, end_time, approver, reason, actor, revoke_time, revoke_reason FROM grants
          WHERE member_id = $1 AND program_id = $2 AND scheme_id = $3 AND grant_id > $4
          ORDER BY grant_id
          LIMIT $5",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}
