use kernel::{ProgramId, Timestamp};
use persistence::{DbTime, Error, Tx, on_engine};

/// A version of a program's terms as it is stored; the terms are encoded, and empty where they were not asked for.
#[derive(sqlx::FromRow)]
pub(crate) struct VersionRow {
    pub(crate) number: i64,
    pub(crate) created_at: DbTime,
    pub(crate) author: String,
    #[sqlx(default)]
    pub(crate) terms: Vec<u8>,
    pub(crate) restored: Option<i64>,
    pub(crate) start_at: Option<DbTime>,
    pub(crate) ordinal: Option<i64>,
    pub(crate) scheduled_at: Option<DbTime>,
    pub(crate) scheduled_by: Option<String>,
    pub(crate) retired_at: Option<DbTime>,
    pub(crate) retired_by: Option<String>,
}

/// A version to be made.
pub(crate) struct NewVersion<'a> {
    pub(crate) number: i64,
    pub(crate) author: &'a str,
    pub(crate) terms: &'a [u8],
    pub(crate) restored: Option<i64>,
    /// From when it holds, and its place among those that do; `None` for a draft.
    pub(crate) scheduled: Option<(Timestamp, i64)>,
}

/// All versions of a program by number. There are few: a program changes its terms some times a year.
pub(crate) async fn program_versions(tx: &mut Tx, program: &ProgramId) -> Result<Vec<VersionRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT number, created_at, author, terms, restored, start_at, ordinal, scheduled_at, scheduled_by, retired_at, retired_by
           FROM program_versions WHERE program = $1 ORDER BY number",
    )
    .bind(program.as_str())
    .fetch_all(conn)
    .await)?)
}

/// The same without what they say, which is long and never changes.
pub(crate) async fn program_version_heads(tx: &mut Tx, program: &ProgramId) -> Result<Vec<VersionRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT number, created_at, author, restored, start_at, ordinal, scheduled_at, scheduled_by, retired_at, retired_by
           FROM program_versions WHERE program = $1 ORDER BY number",
    )
    .bind(program.as_str())
    .fetch_all(conn)
    .await)?)
}

/// What a version says.
pub(crate) async fn terms_of_version(tx: &mut Tx, program: &ProgramId, number: i64) -> Result<Vec<u8>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar("SELECT terms FROM program_versions WHERE program = $1 AND number = $2")
        .bind(program.as_str())
        .bind(number)
        .fetch_one(conn)
        .await)?)
}

/// Adds a version. Two at once collide on the number or the place, and the second tries again.
pub(crate) async fn insert_version(tx: &mut Tx, program: &ProgramId, version: &NewVersion<'_>, now: Timestamp) -> Result<(), Error> {
    let (start_at, ordinal) = version.scheduled.unzip();
    let scheduled = version.scheduled.map(|_| (DbTime(now), version.author)).unzip();
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO program_versions
           (program, number, created_at, author, terms, restored, start_at, ordinal, scheduled_at, scheduled_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(program.as_str())
    .bind(version.number)
    .bind(DbTime(now))
    .bind(version.author)
    .bind(version.terms)
    .bind(version.restored)
    .bind(start_at.map(DbTime))
    .bind(ordinal)
    .bind(scheduled.0)
    .bind(scheduled.1)
    .execute(conn)
    .await?
    .rows_affected());
    if written == 1 { Ok(()) } else { Err(Error::Conflict) }
}

/// Lets a draft hold. `Conflict` when it is none any more, or another took its place in the order.
pub(crate) async fn schedule_version(
    tx: &mut Tx,
    program: &ProgramId,
    number: i64,
    (start_at, ordinal): (Timestamp, i64),
    by: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE program_versions SET start_at = $1, ordinal = $2, scheduled_at = $3, scheduled_by = $4
          WHERE program = $5 AND number = $6 AND start_at IS NULL AND retired_at IS NULL",
    )
    .bind(DbTime(start_at))
    .bind(ordinal)
    .bind(DbTime(now))
    .bind(by)
    .bind(program.as_str())
    .bind(number)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))
    .map_err(Error::from);
    match written {
        Ok(1) => Ok(()),
        Ok(_) | Err(Error::Unique { .. }) => Err(Error::Conflict),
        Err(error) => Err(error),
    }
}

/// Gives up a version that stands as it was read: a draft still, or scheduled. `Conflict` when it does not any more.
pub(crate) async fn retire_version(
    tx: &mut Tx,
    program: &ProgramId,
    (number, is_draft): (i64, bool),
    by: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE program_versions SET retired_at = $1, retired_by = $2
          WHERE program = $3 AND number = $4 AND (start_at IS NULL) = $5 AND retired_at IS NULL",
    )
    .bind(DbTime(now))
    .bind(by)
    .bind(program.as_str())
    .bind(number)
    .bind(is_draft)
    .execute(conn)
    .await?
    .rows_affected());
    if written == 1 { Ok(()) } else { Err(Error::Conflict) }
}
