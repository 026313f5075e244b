//! The trail of who has seen members in the clear.

use kernel::{MemberId, ProgramId, Timestamp};
use persistence::{DataKey, DbTime, Error, Keyring, Tx, on_engine};
use proto::common::Role;
use uuid::Uuid;

/// One look at a member.
pub(crate) struct Access {
    pub(crate) id: Uuid,
    pub(crate) member: MemberId,
    /// `apiKeys/{api_key}`.
    pub(crate) actor: String,
    pub(crate) role: Role,
    /// Paths of what was shown.
    pub(crate) fields: Vec<String>,
    /// In the caller's words.
    pub(crate) reason: String,
    pub(crate) time: Timestamp,
}

/// Writes one look; the reason under the member's key.
pub(crate) async fn insert_access(tx: &mut Tx, program: &ProgramId, key: &DataKey, access: &Access) -> Result<(), Error> {
    let Access { id, member, actor, role, fields, reason, time } = access;
    let sealed = key.seal(&context(*id), reason.as_bytes());
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO member_accesses (program_id, access_id, member_id, actor, role, fields, reason, access_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    )
    .bind(program.as_str())
    .bind(*id)
    .bind(member.0)
    .bind(actor)
    .bind(i64::from(i32::from(*role)))
    .bind(fields.join(","))
    .bind(&sealed)
    .bind(DbTime(*time))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct AccessRow {
    access_id: Uuid,
    member_id: Uuid,
    actor: String,
    role: i64,
    fields: String,
    reason: Vec<u8>,
    access_time: DbTime,
    data_key: Vec<u8>,
}

/// Reads the looks after one, by id and so by time, at most `limit` of them; of one member or of all.
pub(crate) async fn accesses(
    tx: &mut Tx,
    keyring: &Keyring,
    program: &ProgramId,
    member: Option<MemberId>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Access>, Error> {
    // A text for each: a plan is made once, whatever the values.
    let narrowed = if member.is_some() { "a.member_id = $2" } else { "$2 IS NULL" };
    let sql = format!(
        "SELECT a.access_id, a.member_id, a.actor, a.role, a.fields, a.reason, a.access_time, m.data_key
           FROM member_accesses AS a
           JOIN members AS m ON m.program_id = a.program_id AND m.member_id = a.member_id
          WHERE a.program_id = $1 AND {narrowed} AND a.access_id > $3
          ORDER BY a.access_id
          LIMIT $4"
    );
    let rows: Vec<AccessRow> = on_engine!(tx, |conn| sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(program.as_str())
        .bind(member.map(|member| member.0))
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(|row| row.open(keyring)).collect()
}

impl AccessRow {
    fn open(self, keyring: &Keyring) -> Result<Access, Error> {
        let AccessRow { access_id, member_id, actor, role, fields, reason, access_time, data_key } = self;
        let damaged = |what: &str| Error::Corrupt(format!("{what} of access {access_id}"));
        let reason = keyring.unwrap(member_id, &data_key)?.open(&context(access_id), &reason)?;
        Ok(Access {
            id: access_id,
            member: MemberId(member_id),
            actor,
            role: i32::try_from(role).ok().and_then(|role| Role::try_from(role).ok()).ok_or_else(|| damaged("role"))?,
            fields: fields.split(',').map(str::to_owned).collect(),
            reason: String::from_utf8(reason).map_err(|_| damaged("reason"))?,
            time: access_time.into(),
        })
    }
}

/// What a sealed reason is sealed as, so that reasons cannot be exchanged.
fn context(access: Uuid) -> String {
    format!("reason of access {access}")
}
