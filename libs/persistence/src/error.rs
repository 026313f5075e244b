use sqlx::error::ErrorKind;

/// What can go wrong between a service and its database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique key was taken. Names only, never values: they may be personal data.
    #[error("a unique key of {table} is taken: {columns}")]
    Unique {
        /// The table.
        table: String,
        /// The key's columns in order, separated by ", ".
        columns: String,
    },
    /// A row was changed by somebody else since it was read. The attempt may be run again.
    #[error("the row was changed meanwhile")]
    Conflict,
    /// Serialization failure, deadlock or a busy database. The attempt may be run again.
    #[error("the transaction collided with another")]
    Retryable(#[source] sqlx::Error),
    /// The database cannot be reached. Whether a commit that was under way has happened is unknown.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The same request id came with another payload; `field` is the first one that differs.
    #[error("the request id was used for another request: {field} differs")]
    RequestIdReused {
        /// Name of the first top-level field that differs.
        field: String,
    },
    /// What was read cannot be what was written.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// A schema change could not be applied.
    #[error("a migration failed")]
    Migration(#[source] Box<sqlx::migrate::MigrateError>),
    /// A setting makes no sense.
    #[error("{0}")]
    Configuration(String),
    /// Anything else the database says.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

/// Says whether running the whole attempt again may succeed.
pub trait IsRetryable {
    /// True for collisions with other transactions, false for everything that would only fail again.
    fn is_retryable(&self) -> bool;
}

impl IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Error::Retryable(_) | Error::Conflict)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match &error {
            sqlx::Error::Database(inner) => {
                if inner.kind() == ErrorKind::UniqueViolation {
                    return unique(&**inner);
                }
                match inner.code().as_deref() {
                    // PostgreSQL: serialization failure, deadlock, lock not available.
                    Some("40001" | "40P01" | "55P03") => Error::Retryable(error),
                    // PostgreSQL: shutting down, starting up, connection lost, too many connections.
                    Some("57P01" | "57P02" | "57P03" | "53300") => Error::Unavailable(error),
                    Some(code) if code.starts_with("08") => Error::Unavailable(error),
                    // SQLite: busy and locked, with their extended codes in the higher bits.
                    Some(code) if sqlite_primary(code).is_some_and(|primary| matches!(primary, 5 | 6)) => Error::Retryable(error),
                    _ => Error::Database(error),
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Error::Unavailable(error)
            }
            sqlx::Error::ColumnDecode { index, .. } => Error::Corrupt(format!("column {index}")),
            _ => Error::Database(error),
        }
    }
}

/// SQLite's primary result code; PostgreSQL's codes have five characters.
fn sqlite_primary(code: &str) -> Option<u32> {
    (code.len() < 5).then(|| code.parse::<u32>().ok()).flatten().map(|code| code & 0xff)
}

/// PostgreSQL names the columns in its detail, `Key (a, b)=(…) already exists.`; SQLite in its message,
/// `UNIQUE constraint failed: t.a, t.b`. Values are cut off.
fn unique(error: &dyn sqlx::error::DatabaseError) -> Error {
    if let Some(list) = error.message().strip_prefix("UNIQUE constraint failed: ") {
        let table = list.split('.').next().unwrap_or_default();
        let columns: Vec<&str> = list.split(", ").map(|name| name.rsplit('.').next().unwrap_or(name)).collect();
        return Error::Unique { table: table.to_owned(), columns: columns.join(", ") };
    }
    let detail = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
    let columns = detail.and_then(|text| text.strip_prefix("Key (")).and_then(|text| text.split(")=").next()).unwrap_or_default();
    Error::Unique { table: error.table().unwrap_or_default().to_owned(), columns: columns.to_owned() }
}
