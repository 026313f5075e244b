//! What members hold, and the log of it.

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};
use rust_decimal::Decimal;

use super::Member;
use crate::domain::timeline::{Held, Source, Span};

/// An entry of the log.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct StoredTransition {
    pub(crate) version: i64,
    /// Number of a `TierTransition.Change`.
    pub(crate) change: i64,
    pub(crate) from_level: Option<String>,
    pub(crate) to_level: Option<String>,
    /// Number of a `TierSource`.
    pub(crate) source: Option<i64>,
    pub(crate) multiplier: Option<String>,
    pub(crate) start_time: DbTime,
    pub(crate) end_time: Option<DbTime>,
    /// Number of a `TierTransition.Cause`.
    pub(crate) cause: i64,
    pub(crate) cause_name: String,
    pub(crate) cause_event_id: String,
    pub(crate) scheme_version: i64,
    pub(crate) record_time: DbTime,
}

impl StoredTransition {
    /// What the entry says is held from its start on.
    pub(crate) fn span(&self) -> Result<Span, Error> {
        let damaged = || Error::Corrupt(format!("transition {}", self.version));
        let held = match (&self.to_level, self.source, &self.multiplier) {
            (Some(level), Some(source), Some(multiplier)) => Some(Held {
                level: level.clone(),
                source: source_of(source).ok_or_else(damaged)?,
                until: self.end_time.map(Timestamp::from),
                multiplier: multiplier.parse::<Decimal>().map_err(|_| damaged())?,
            }),
            (None, None, None) => None,
            _ => return Err(damaged()),
        };
        Ok(Span { start: self.start_time.into(), held })
    }
}

/// The number of a source in a column, that of the contract.
pub(crate) fn source_number(source: Source) -> i64 {
    match source {
        Source::Earned => 1,
        Source::Granted => 2,
    }
}

fn source_of(number: i64) -> Option<Source> {
    [Source::Earned, Source::Granted].into_iter().find(|source| source_number(*source) == number)
}

/// Writes an entry of the log.
pub(crate) async fn insert_transition(tx: &mut Tx, member: &Member, scheme: &str, entry: &StoredTransition) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO tier_transitions
                (member_id, program_id, scheme_id, version, change, from_level, to_level, source, multiplier,
                 start_time, end_time, cause, cause_name, cause_event_id, scheme_version, record_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(entry.version)
    .bind(entry.change)
    .bind(&entry.from_level)
    .bind(&entry.to_level)
    .bind(entry.source)
    .bind(&entry.multiplier)
    .bind(entry.start_time)
    .bind(entry.end_time)
    .bind(entry.cause)
    .bind(&entry.cause_name)
    .bind(&entry.cause_event_id)
    .bind(entry.scheme_version)
    .bind(entry.record_time)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// The whole log of a member in a scheme, oldest first.
pub(crate) async fn transitions(tx: &mut Tx, member: &Member, scheme: &str) -> Result<Vec<StoredTransition>, Error> {
    let mut newest_first = list_transitions(tx, member, scheme, i64::MAX, i64::MAX).await?;
    newest_first.reverse();
    Ok(newest_first)
}

/// The log of a member in a scheme before a version, newest first.
pub(crate) async fn list_transitions(
    tx: &mut Tx,
    member: &Member,
    scheme: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<StoredTransition>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT version, change, from_level, to_level, source, multiplier, start_time, end_time,
                cause, cause_name, cause_event_id, scheme_version, record_time
           FROM tier_transitions
          WHERE member_id = $1 AND program_id = $2 AND scheme_id = $3 AND version < $4
          ORDER BY version DESC
          LIMIT $5",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// What a member holds in a scheme, and when to look again.
#[derive(Clone, PartialEq, Debug, sqlx::FromRow)]
pub(crate) struct Standing {
    pub(crate) level_id: Option<String>,
    pub(crate) source: Option<i64>,
    pub(crate) start_time: Option<DbTime>,
    pub(crate) end_time: Option<DbTime>,
    pub(crate) next_evaluation_time: Option<DbTime>,
    /// Version of the scheme that this was found with.
    pub(crate) scheme_version: i64,
}

/// Writes what a member holds.
pub(crate) async fn write_standing(tx: &mut Tx, member: &Member, scheme: &str, standing: &Standing) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO member_tiers
                (member_id, program_id, scheme_id, level_id, source, start_time, end_time, next_evaluation_time, scheme_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (member_id, program_id, scheme_id) DO UPDATE
            SET level_id = excluded.level_id, source = excluded.source, start_time = excluded.start_time,
                end_time = excluded.end_time, next_evaluation_time = excluded.next_evaluation_time,
                scheme_version = excluded.scheme_version",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .bind(&standing.level_id)
    .bind(standing.source)
    .bind(standing.start_time)
    .bind(standing.end_time)
    .bind(standing.next_evaluation_time)
    .bind(standing.scheme_version)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// What a member holds; `None` for one who has never been evaluated in the scheme.
pub(crate) async fn standing(tx: &mut Tx, member: &Member, scheme: &str) -> Result<Option<Standing>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT level_id, source, start_time, end_time, next_evaluation_time, scheme_version FROM member_tiers
          WHERE member_id = $1 AND program_id = $2 AND scheme_id = $3",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .bind(scheme)
    .fetch_optional(conn)
    .await)?)
}

/// Who holds a level of a scheme (any, when `level` is `None`) after a member, by member.
pub(crate) async fn holdings(
    tx: &mut Tx,
    program: &ProgramId,
    scheme: &str,
    level: Option<&str>,
    after: MemberId,
    limit: i64,
) -> Result<Vec<(MemberId, Standing)>, Error> {
    // A text for each: a plan is made once, whatever the values.
    let narrowed = if level.is_some() { "level_id = $4" } else { "level_id IS NOT NULL AND $4 IS NULL" };
    let sql = format!(
        "SELECT member_id, level_id, source, start_time, end_time, next_evaluation_time, scheme_version FROM member_tiers
          WHERE program_id = $1 AND scheme_id = $2 AND member_id > $3 AND {narrowed}
          ORDER BY member_id
          LIMIT $5",
    );
    let rows: Vec<HoldingRow> = on_engine!(tx, |conn| sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(program.as_str())
        .bind(scheme)
        .bind(after.0)
        .bind(level)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(|HoldingRow { member_id, standing }| (MemberId(member_id), standing)).collect())
}

#[derive(sqlx::FromRow)]
struct HoldingRow {
    member_id: Uuid,
    #[sqlx(flatten)]
    standing: Standing,
}

/// Somebody whose evaluation is due.
#[derive(sqlx::FromRow)]
pub(crate) struct Due {
    pub(crate) member_id: Uuid,
    pub(crate) program_id: String,
    pub(crate) scheme_id: String,
}

/// Whose evaluation is due, longest first.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Due>, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_as(
        "SELECT member_id, program_id, scheme_id FROM member_tiers
          WHERE next_evaluation_time <= $1
          ORDER BY next_evaluation_time
          LIMIT $2",
    )
    .bind(DbTime(now))
    .bind(limit)
    .fetch_all(conn)
    .await)?)
}

/// The members of a program after one, by id.
pub(crate) async fn members_after(tx: &mut Tx, program: &ProgramId, after: MemberId, limit: i64) -> Result<Vec<MemberId>, Error> {
    let ids: Vec<Uuid> = on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT member_id FROM members WHERE program_id = $1 AND member_id > $2 ORDER BY member_id LIMIT $3",
    )
    .bind(program.as_str())
    .bind(after.0)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    Ok(ids.into_iter().map(MemberId).collect())
}
