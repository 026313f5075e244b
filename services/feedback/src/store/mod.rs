//! The SQL: one function, one statement. Rows are private; domain types go in and out.

mod contacts;
mod invitations;
mod keys;
mod purchases;
mod responses;
mod surveys;

pub(crate) use contacts::*;
pub(crate) use invitations::*;
pub(crate) use keys::*;
pub(crate) use purchases::*;
pub(crate) use responses::*;
pub(crate) use surveys::*;

use kernel::ProgramId;
use persistence::Error;

/// One statement changed one row that was read at the version before; otherwise somebody else was faster.
fn written(rows: u64) -> Result<(), Error> {
    if rows == 1 { Ok(()) } else { Err(Error::Conflict) }
}

fn program_id(text: &str) -> Result<ProgramId, Error> {
    ProgramId::parse(text).map_err(|_| corrupt("program_id"))
}

/// A column holds what is never written to it.
fn corrupt(column: &str) -> Error {
    Error::Corrupt(format!("column {column}"))
}
