//! What members bought and gave back.

use jiff::civil::Date;
use kernel::Timestamp;
use persistence::{DbTime, Error, Tx, on_engine};

use super::{Member, day_number, day_of};
use crate::domain::points::Counted;
use crate::domain::scheme::OnReturn;

/// A purchase or a return of it.
pub(crate) struct PurchaseChange<'a> {
    /// Id of the purchase.
    pub(crate) purchase: &'a str,
    /// Version of the event.
    pub(crate) version: i64,
    /// Whether something went back.
    pub(crate) is_return: bool,
    /// When.
    pub(crate) occur_time: Timestamp,
    /// The day on which it counts; `None` for a return whose purchase is not known yet.
    pub(crate) counted_day: Option<Date>,
    /// The day on which it happened.
    pub(crate) known_day: Date,
    /// Signed points.
    pub(crate) points: i64,
}

/// Writes a change unless it is there. Returns whether it was new.
pub(crate) async fn insert_change(tx: &mut Tx, member: &Member, change: &PurchaseChange<'_>) -> Result<bool, Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO purchase_changes
                (member_id, program_id, purchase_id, version, is_return, occur_time, counted_day, known_day, points)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (member_id, program_id, purchase_id, version) DO NOTHING",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(change.purchase)
    .bind(change.version)
    .bind(change.is_return)
    .bind(DbTime(change.occur_time))
    .bind(change.counted_day.map(day_number))
    .bind(day_number(change.known_day))
    .bind(change.points)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(written == 1)
}

/// The day on which a purchase counts; `None` before it is known.
pub(crate) async fn counted_day(tx: &mut Tx, member: &Member, purchase: &str) -> Result<Option<Date>, Error> {
    let day: Option<i64> = on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT counted_day FROM purchase_changes
          WHERE member_id = $1 AND program_id = $2 AND purchase_id = $3 AND NOT is_return",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(purchase)
    .fetch_optional(conn)
    .await)?;
    day.map(day_of).transpose()
}

/// Gives the returns that came before their purchase its day. Returns the days on which they happened, and their points.
pub(crate) async fn attribute_returns(tx: &mut Tx, member: &Member, purchase: &str, day: Date) -> Result<Vec<(Date, i64)>, Error> {
    let rows: Vec<(i64, i64)> = on_engine!(tx, |conn| sqlx::query_as(
        "UPDATE purchase_changes SET counted_day = $4
          WHERE member_id = $1 AND program_id = $2 AND purchase_id = $3 AND counted_day IS NULL
          RETURNING known_day, points",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(purchase)
    .bind(day_number(day))
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(|(known, points)| Ok((day_of(known)?, points))).collect()
}

/// Adds to the sum of a day.
pub(crate) async fn add_day_points(tx: &mut Tx, member: &Member, counted: Counted) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO day_points (member_id, program_id, counted_day, known_day, points) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (member_id, program_id, counted_day, known_day) DO UPDATE SET points = day_points.points + excluded.points",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(day_number(counted.day))
    .bind(day_number(counted.known))
    .bind(counted.points)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// All that counts, by day.
pub(crate) async fn day_points(tx: &mut Tx, member: &Member) -> Result<Vec<Counted>, Error> {
    let rows: Vec<(i64, i64, i64)> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT counted_day, known_day, points FROM day_points WHERE member_id = $1 AND program_id = $2 ORDER BY counted_day, known_day",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .fetch_all(conn)
    .await
    })?;
    rows.into_iter().map(|(day, known, points)| Ok(Counted { day: day_of(day)?, known: day_of(known)?, points })).collect()
}

/// The purchases of a day: when, and what is left of their points, as the scheme counts returns.
pub(crate) async fn purchases_of_day(tx: &mut Tx, member: &Member, day: Date, on_return: OnReturn) -> Result<Vec<(Timestamp, i64)>, Error> {
    let known_last = match on_return {
        OnReturn::Reevaluate => Date::MAX,
        OnReturn::Keep => day,
    };
    let rows: Vec<(DbTime, i64)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT MIN(occur_time), CAST(SUM(points) AS BIGINT) FROM purchase_changes
          WHERE member_id = $1 AND program_id = $2 AND counted_day = $3 AND known_day <= $4
          GROUP BY purchase_id",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(day_number(day))
    .bind(day_number(known_last))
    .fetch_all(conn)
    .await)?;
    Ok(rows.into_iter().map(|(moment, points)| (moment.into(), points)).collect())
}
