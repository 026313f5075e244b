//! The statements. One function is one statement.

mod grants;
mod purchases;
mod schemes;
mod tiers;

use jiff::civil::Date;
use kernel::{MemberId, ProgramId};
use persistence::{Error, Tx, on_engine};

pub(crate) use grants::{StoredGrant, grant, grants, insert_grant, list_grants, revoke_grant};
pub(crate) use purchases::{PurchaseChange, add_day_points, attribute_returns, counted_day, day_points, insert_change, purchases_of_day};
pub(crate) use schemes::{
    Sweep, add_version, advance_sweep, end_sweep, insert_scheme, insert_version, list_schemes, lock_schemes, scheme_versions, schemes,
    start_sweep, sweeps,
};
pub(crate) use tiers::{
    Due, Standing, StoredTransition, due, holdings, insert_transition, list_transitions, members_after, source_number, standing,
    transitions, write_standing,
};

/// A member of a program: what every key of a member's rows begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// The program.
    pub(crate) program: ProgramId,
    /// The member.
    pub(crate) id: MemberId,
}

impl Member {
    /// `programs/{program}/members/{member}`.
    pub(crate) fn name(&self) -> String {
        self.id.name(&self.program)
    }
}

/// Locks what is the member's until the end of the transaction. The first statement of every change of it.
pub(crate) async fn lock_member(tx: &mut Tx, member: &Member) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO members (member_id, program_id, version) VALUES ($1, $2, 0)
         ON CONFLICT (member_id, program_id) DO UPDATE SET version = members.version",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// The version of the member's next event.
pub(crate) async fn next_event_version(tx: &mut Tx, member: &Member) -> Result<i64, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar(
        "UPDATE members SET version = version + 1 WHERE member_id = $1 AND program_id = $2 RETURNING version",
    )
    .bind(member.id.0)
    .bind(member.program.as_str())
    .fetch_one(conn)
    .await)?)
}

/// A day as a column: the number yyyymmdd, which sorts like the day and can be read by people.
fn day_number(day: Date) -> i64 {
    i64::from(day.year()) * 10_000 + i64::from(day.month()) * 100 + i64::from(day.day())
}

fn day_of(number: i64) -> Result<Date, Error> {
    let part = |value: i64| i8::try_from(value.rem_euclid(100)).ok();
    let parts = i16::try_from(number.div_euclid(10_000)).ok().zip(part(number.div_euclid(100))).zip(part(number));
    let day = parts.and_then(|((year, month), day)| Date::new(year, month, day).ok());
    day.ok_or_else(|| Error::Corrupt(format!("{number} is not a day")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_number_and_back() {
        for day in [Date::MIN, Date::constant(-5, 3, 2), Date::constant(0, 12, 31), Date::constant(2026, 1, 15), Date::MAX] {
            assert_eq!(day_of(day_number(day)).unwrap(), day);
        }
        assert_eq!(day_number(Date::constant(2026, 1, 15)), 20_260_115);
        for number in [0, 20_261_301, 20_260_230, i64::MAX, i64::MIN] {
            assert!(day_of(number).is_err());
        }
    }
}
