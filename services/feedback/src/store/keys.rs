use kernel::{MemberId, ProgramId};
use persistence::{Error, Tx, on_engine};

/// The wrapped data key of a member.
pub(crate) async fn wrapped_key(tx: &mut Tx, program: &ProgramId, member: MemberId) -> Result<Option<Vec<u8>>, Error> {
    let key = on_engine!(tx, |conn| sqlx::query_scalar::<_, Vec<u8>>(
        "SELECT wrapped_key FROM member_keys WHERE program_id = $1 AND member_id = $2",
    )
    .bind(program.as_str())
    .bind(member.0)
    .fetch_optional(conn)
    .await)?;
    Ok(key)
}

/// Keeps a member's first data key, wrapped. When another transaction was faster its key stays, and this returns false.
pub(crate) async fn insert_wrapped_key(tx: &mut Tx, program: &ProgramId, member: MemberId, wrapped: &[u8]) -> Result<bool, Error> {
    let rows = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO member_keys (program_id, member_id, wrapped_key) VALUES ($1, $2, $3)
         ON CONFLICT (program_id, member_id) DO NOTHING",
    )
    .bind(program.as_str())
    .bind(member.0)
    .bind(wrapped)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}
