//! One database API over PostgreSQL and SQLite. The only crate that names an engine.
//!
//! A [`Database`] is one service's own: a schema in PostgreSQL, a file in SQLite. SQL is written once and dispatched by
//! [`on_engine!`]; a statement that must differ stands beside its twin.

mod database;
mod effects;
mod error;
mod executor;
pub mod feed;
mod inbox;
mod keyring;
mod migrate;
mod postgres;
mod requests;
mod retry;
mod time;
mod trace;

pub use database::{Connection, Database, DatabaseOptions, Engine, Tx};
pub use effects::{DueEffect, Effect, EffectBacklog, EffectState};
pub use error::{Error, IsRetryable};
pub use executor::{Executor, ExecutorOptions, Handler, SubmitError};
pub use feed::{FeedError, FeedEvent, FeedReader, NewEvent, NumberedEvents, Position, numbering_ctes};
pub use keyring::{DataKey, Keyring, Purpose};
pub use migrate::Migration;
pub use requests::{Remembered, RequestKey};
pub use retry::retry;
pub use time::DbTime;
pub use trace::Traced;

/// Writes an ordinary `sqlx` query once and runs it on whichever engine the transaction is on.
///
/// ```ignore
/// let row: Option<CaseRow> = on_engine!(tx, |conn| sqlx::query_as("SELECT … WHERE case_id = $1").bind(id).fetch_optional(conn).await)?;
/// ```
/// The body is compiled for both drivers; `conn` is the driver's connection, for one statement, which is traced. The value of the body is the value of the macro, so
/// it must be of one type: a statement without rows ends in `.execute(conn).await?.rows_affected()`.
#[macro_export]
macro_rules! on_engine {
    ($tx:expr, |$conn:ident| $body:expr) => {
        match $tx.connection() {
            $crate::Connection::Postgres(conn) => {
                let $conn = $crate::Traced(conn);
                $body
            }
            $crate::Connection::Sqlite(conn) => {
                let $conn = $crate::Traced(conn);
                $body
            }
        }
    };
}

/// The migrations of a crate, by file name in its folder `migrations`, in order.
#[macro_export]
macro_rules! migrations {
    ($($file:literal),+ $(,)?) => {
        &[$($crate::Migration { file: $file, sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $file)) }),+]
    };
}
