use kernel::{ProgramId, Timestamp};
use persistence::{DbTime, Error, Tx, on_engine};

/// A version of a program's terms as it is stored: number, start, creation, author, encoded terms.
pub(crate) type VersionRow = (i64, DbTime, DbTime, String, Vec<u8>);

/// All versions of a program, oldest first. There are few: a program changes its terms some times a year.
pub(crate) async fn program_versions(tx: &mut Tx, program: &ProgramId) -> Result<Vec<VersionRow>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT number, start_at, created_at, author, terms FROM program_versions WHERE program = $1 ORDER BY number",
    )
    .bind(program.as_str())
    .fetch_all(conn)
    .await)?)
}

/// Adds a version. Two at once collide on the number, and the second tries again.
pub(crate) async fn insert_version(
    tx: &mut Tx,
    program: &ProgramId,
    number: i64,
    start_at: Timestamp,
    now: Timestamp,
    author: &str,
    terms: &[u8],
) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO program_versions (program, number, start_at, created_at, author, terms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (program, number) DO NOTHING",
    )
    .bind(program.as_str())
    .bind(number)
    .bind(DbTime(start_at))
    .bind(DbTime(now))
    .bind(author)
    .bind(terms)
    .execute(conn)
    .await?
    .rows_affected());
    if written == 1 { Ok(()) } else { Err(Error::Conflict) }
}
