use kernel::{ProgramId, Timestamp};
use persistence::{DbTime, Error, Tx, on_engine};

/// Remembers that a purchase went back as a whole. A second time changes nothing.
pub(crate) async fn insert_returned_purchase(tx: &mut Tx, program: &ProgramId, purchase: &str, now: Timestamp) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO returned_purchases (program_id, purchase_id, return_time) VALUES ($1, $2, $3)
         ON CONFLICT (program_id, purchase_id) DO NOTHING",
    )
    .bind(program.as_str())
    .bind(purchase)
    .bind(DbTime(now))
    .execute(conn)
    .await
    .map(|_| ()))?;
    Ok(())
}

/// Whether a purchase went back as a whole.
pub(crate) async fn is_returned(tx: &mut Tx, program: &ProgramId, purchase: &str) -> Result<bool, Error> {
    let found = on_engine!(tx, |conn| sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM returned_purchases WHERE program_id = $1 AND purchase_id = $2",
    )
    .bind(program.as_str())
    .bind(purchase)
    .fetch_one(conn)
    .await)?;
    Ok(found > 0)
}
