//! Schemes, their versions, and the evaluation of all members under a new one.

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Engine, Error, Tx, on_engine};

/// Takes the id of a scheme. Fails with [`Error::Unique`] when it is taken.
pub(crate) async fn insert_scheme(tx: &mut Tx, program: &ProgramId, scheme: &str) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("INSERT INTO schemes (program_id, scheme_id, version) VALUES ($1, $2, 1)")
        .bind(program.as_str())
        .bind(scheme)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(())
}

/// Counts a new version and locks the scheme against evaluations until the end of the transaction; `None` without such a scheme.
pub(crate) async fn add_version(tx: &mut Tx, program: &ProgramId, scheme: &str) -> Result<Option<i64>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar(
        "UPDATE schemes SET version = version + 1 WHERE program_id = $1 AND scheme_id = $2 RETURNING version",
    )
    .bind(program.as_str())
    .bind(scheme)
    .fetch_optional(conn)
    .await)?)
}

/// Writes a version, encoded.
pub(crate) async fn insert_version(
    tx: &mut Tx,
    program: &ProgramId,
    scheme: &str,
    version: i64,
    start: Timestamp,
    bytes: &[u8],
) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO scheme_versions (program_id, scheme_id, version, start_time, scheme) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(program.as_str())
    .bind(scheme)
    .bind(version)
    .bind(DbTime(start))
    .bind(bytes)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// Lets the schemes of a program (or one of them) stay as they are until the end of the transaction: a new version waits for the
/// evaluations that have not seen it, so that the sweep which follows it misses nobody.
pub(crate) async fn lock_schemes(tx: &mut Tx, program: &ProgramId, scheme: Option<&str>) -> Result<(), Error> {
    const LOCK: &str = "SELECT 1 FROM schemes WHERE program_id = $1 AND scheme_id = COALESCE($2, scheme_id) ORDER BY scheme_id FOR SHARE";
    match tx.engine() {
        Engine::Postgres => on_engine!(tx, |conn| sqlx::query(LOCK).bind(program.as_str()).bind(scheme).execute(conn).await.map(drop))?,
        Engine::Sqlite => {} // It has one writer, which is lock enough.
    }
    Ok(())
}

/// The schemes of a program (or one of them) by id, with every version in order, encoded. After [`lock_schemes`], and not with it:
/// a statement that has waited for a lock reads other tables as they were before.
pub(crate) async fn schemes(tx: &mut Tx, program: &ProgramId, scheme: Option<&str>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT scheme_id, scheme FROM scheme_versions WHERE program_id = $1 AND scheme_id = COALESCE($2, scheme_id)
          ORDER BY scheme_id, version",
    )
    .bind(program.as_str())
    .bind(scheme)
    .fetch_all(conn)
    .await)?)
}

/// Every version of a scheme in order, encoded; empty without such a scheme.
pub(crate) async fn scheme_versions(tx: &mut Tx, program: &ProgramId, scheme: &str) -> Result<Vec<Vec<u8>>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT scheme FROM scheme_versions WHERE program_id = $1 AND scheme_id = $2 ORDER BY version",
    )
    .bind(program.as_str())
    .bind(scheme)
    .fetch_all(conn)
    .await)?)
}

/// The newest versions of the schemes of a program after an id, encoded, by id.
pub(crate) async fn list_schemes(tx: &mut Tx, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<Vec<u8>>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT newest.scheme
           FROM schemes
           JOIN scheme_versions AS newest
             ON newest.program_id = schemes.program_id AND newest.scheme_id = schemes.scheme_id AND newest.version = schemes.version
          WHERE schemes.program_id = $1 AND schemes.scheme_id > $2
          ORDER BY schemes.scheme_id
          LIMIT $3",
    )
    .bind(program.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// All members of a program are to be evaluated under a version.
#[derive(sqlx::FromRow)]
pub(crate) struct Sweep {
    pub(crate) program_id: String,
    pub(crate) scheme_id: String,
    pub(crate) version: i64,
    /// Up to whom it is done.
    pub(crate) after_member: Option<Uuid>,
}

/// Begins the evaluation of all members; one that is under way begins anew.
pub(crate) async fn start_sweep(tx: &mut Tx, program: &ProgramId, scheme: &str, version: i64) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO sweeps (program_id, scheme_id, version) VALUES ($1, $2, $3)
         ON CONFLICT (program_id, scheme_id) DO UPDATE SET version = excluded.version, after_member = NULL",
    )
    .bind(program.as_str())
    .bind(scheme)
    .bind(version)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// What is under way.
pub(crate) async fn sweeps(tx: &mut Tx) -> Result<Vec<Sweep>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, scheme_id, version, after_member FROM sweeps ORDER BY program_id, scheme_id"
    )
    .fetch_all(conn)
    .await)?)
}

/// Remembers up to whom it is done. Another version that began meanwhile is left alone.
pub(crate) async fn advance_sweep(tx: &mut Tx, sweep: &Sweep, after: MemberId) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("UPDATE sweeps SET after_member = $4 WHERE program_id = $1 AND scheme_id = $2 AND version = $3",)
        .bind(&sweep.program_id)
        .bind(&sweep.scheme_id)
        .bind(sweep.version)
        .bind(after.0)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(())
}

/// Everybody has been evaluated. Another version that began meanwhile is left alone.
pub(crate) async fn end_sweep(tx: &mut Tx, sweep: &Sweep) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("DELETE FROM sweeps WHERE program_id = $1 AND scheme_id = $2 AND version = $3")
        .bind(&sweep.program_id)
        .bind(&sweep.scheme_id)
        .bind(sweep.version)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::{START, TestEngine};

    use super::*;

    testkit::on_each_engine!(who_waited_for_a_new_version_reads_it);

    async fn who_waited_for_a_new_version_reads_it(engine: TestEngine) {
        let database = engine.open("tiers", crate::MIGRATIONS).await;
        let program = ProgramId::parse("tea").unwrap();
        let mut first = database.begin().await.unwrap();
        insert_scheme(&mut first, &program, "status").await.unwrap();
        insert_version(&mut first, &program, "status", 1, START, b"one").await.unwrap();
        first.commit().await.unwrap();

        let mut update = database.begin().await.unwrap();
        assert_eq!(add_version(&mut update, &program, "status").await.unwrap(), Some(2));
        insert_version(&mut update, &program, "status", 2, START, b"two").await.unwrap();
        let evaluation = async {
            let mut tx = database.begin().await.unwrap();
            lock_schemes(&mut tx, &program, None).await.unwrap();
            schemes(&mut tx, &program, None).await.unwrap()
        };
        tokio::pin!(evaluation);
        tokio::time::timeout(Duration::from_millis(300), &mut evaluation).await.expect_err("it waits for the update");
        update.commit().await.unwrap();
        let read = evaluation.await;
        assert_eq!(read, [("status".to_owned(), b"one".to_vec()), ("status".to_owned(), b"two".to_vec())]);
    }
}
