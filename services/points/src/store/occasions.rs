//! Members of a program one after the other, and how far they have been looked through.

use jiff::Span;
use jiff::civil::{Date, date};
use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Error, Tx, on_engine};

use super::{Held, codec};
use crate::domain::{Account, AccountId, Sweep};

const EPOCH: Date = date(1970, 1, 1);

fn number(day: Date) -> i64 {
    day.duration_since(EPOCH).as_hours() / 24
}

fn day(number: i64) -> Result<Date, Error> {
    let span = Span::new().try_days(number);
    span.and_then(|span| EPOCH.checked_add(span)).map_err(|_| Error::Corrupt("day of a sweep".to_owned()))
}

/// How far the members of a program have been looked through; `None` before the first time.
pub(crate) async fn sweep(tx: &mut Tx, program: &ProgramId) -> Result<Option<Sweep>, Error> {
    let row: Option<(i64, i64, Uuid, i64)> = on_engine!(tx, |conn| {
        sqlx::query_as("SELECT first_day, last_day, after_account, version FROM occasion_sweeps WHERE program = $1")
            .bind(program.as_str())
            .fetch_optional(conn)
            .await
    })?;
    row.map(|(first, last, after, version)| Ok(Sweep { first: day(first)?, last: day(last)?, after, version })).transpose()
}

/// Moves a sweep on from where it was. When another process has done so meanwhile it is a `Conflict`.
pub(crate) async fn move_sweep(tx: &mut Tx, program: &ProgramId, from: Option<Sweep>, to: Sweep) -> Result<(), Error> {
    let written = match from {
        None => on_engine!(tx, |conn| sqlx::query(
            "INSERT INTO occasion_sweeps (program, first_day, last_day, after_account, version) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
        )
        .bind(program.as_str())
        .bind(number(to.first))
        .bind(number(to.last))
        .bind(to.after)
        .bind(to.version)
        .execute(conn)
        .await?
        .rows_affected()),
        Some(from) => on_engine!(tx, |conn| sqlx::query(
            "UPDATE occasion_sweeps SET first_day = $2, last_day = $3, after_account = $4, version = $5
              WHERE program = $1 AND first_day = $6 AND last_day = $7 AND after_account = $8 AND version = $9",
        )
        .bind(program.as_str())
        .bind(number(to.first))
        .bind(number(to.last))
        .bind(to.after)
        .bind(to.version)
        .bind(number(from.first))
        .bind(number(from.last))
        .bind(from.after)
        .bind(from.version)
        .execute(conn)
        .await?
        .rows_affected()),
    };
    super::all_written(written, 1)
}

/// A row of facts with the account beside it: account, member, version and details of the facts, version and state of the account.
type MemberRow = (Uuid, Uuid, i64, Vec<u8>, Option<i64>, Option<Vec<u8>>);

/// Members of whom something is known, by account, after one.
pub(crate) async fn members_after(
    tx: &mut Tx,
    program: &ProgramId,
    after: Uuid,
    limit: i64,
) -> Result<Vec<(AccountId, MemberId, Held)>, Error> {
    let rows: Vec<MemberRow> = on_engine!(tx, |conn| {
        sqlx::query_as(
            "SELECT f.account_id, f.member, f.version, f.details, a.version, a.state
               FROM facts f LEFT JOIN accounts a USING (account_id)
              WHERE f.program = $1 AND f.account_id > $2 ORDER BY f.account_id LIMIT $3",
        )
        .bind(program.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await
    })?;
    let member = |(account, member, version, facts, account_version, state): MemberRow| {
        let held = Held {
            account: match account_version.zip(state) {
                Some((version, state)) => codec::decode_account(version, &state)?,
                None => Account::default(),
            },
            facts: codec::decode_facts(version, &facts)?,
        };
        Ok((AccountId(account), MemberId(member), held))
    };
    rows.into_iter().map(member).collect()
}
