//! One database API over PostgreSQL and SQLite. The only crate that names an engine.
//!
//! A [`Database`] is one service's own: a schema in PostgreSQL, a file in SQLite. SQL is written once and dispatched by
//! [`on_engine!`]; a statement that must differ stands beside its twin.

mod database;
mod error;
mod migrate;
mod retry;
mod time;

pub use database::{Connection, Database, DatabaseOptions, Engine, Tx};
pub use error::{Error, IsRetryable};
pub use migrate::Migration;
pub use retry::retry;
pub use time::DbTime;

/// Writes an ordinary `sqlx` query once and runs it on whichever engine the transaction is on.
///
/// ```ignore
/// let row: Option<CaseRow> = on_engine!(tx, |conn| sqlx::query_as("SELECT … WHERE case_id = $1").bind(id).fetch_optional(conn).await)?;
/// ```
/// The body is compiled for both drivers; `conn` is the driver's connection. The value of the body is the value of the macro.
#[macro_export]
macro_rules! on_engine {
    ($tx:expr, |$conn:ident| $body:expr) => {
        match $tx.connection() {
            $crate::Connection::Postgres($conn) => $body,
            $crate::Connection::Sqlite($conn) => $body,
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
