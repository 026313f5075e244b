use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::watch;
use uuid::Uuid;

use crate::feed::{NewEvent, append};
use crate::postgres::{Connections, PgTx};
use crate::{Error, Migration, migrate};

/// Which engine a database runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// PostgreSQL, 15 or later.
    Postgres,
    /// SQLite, embedded.
    Sqlite,
}

/// How to reach the engine; the service's name is added when a database is opened.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// `postgres://user@host/database`, or `sqlite:FOLDER`.
    pub url: String,
    /// Connections per service and process (PostgreSQL), or readers per file (SQLite, which has one writer besides).
    pub connections_max: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
}

impl DatabaseOptions {
    /// A URL with the usual sizes: eight connections, ten seconds.
    pub fn new(url: impl Into<String>) -> DatabaseOptions {
        DatabaseOptions { url: url.into(), connections_max: 8, acquire_timeout: Duration::from_secs(10) }
    }
}

/// One service's own database: a schema in PostgreSQL, a file in SQLite. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    shared: Arc<Shared>,
}

#[derive(Clone)]
enum Pools {
    Postgres(Connections),
    /// SQLite admits one writer at a time; queueing for it here is fair and never "busy".
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
}

struct Shared {
    name: String,
    /// Tells this feed's cursors from those of another.
    feed: Uuid,
    /// Changes with each commit that wrote events.
    numbered: watch::Sender<()>,
}

/// A transaction. Dropping it without [`Tx::commit`] rolls back.
pub struct Tx {
    inner: Inner,
    shared: Arc<Shared>,
    /// What the commit writes last; none where statements stand for themselves.
    pub(crate) events: Vec<NewEvent>,
    /// A statement of the caller's own has written events.
    wrote_events: bool,
}

enum Inner {
    Postgres(PgTx),
    Sqlite(Transaction<'static, Sqlite>),
}

/// The driver's connection inside a transaction; what [`on_engine!`](crate::on_engine) dispatches over.
pub enum Connection<'a> {
    /// PostgreSQL's.
    Postgres(&'a mut PgConnection),
    /// SQLite's.
    Sqlite(&'a mut SqliteConnection),
}

impl Database {
    /// Opens a service's database, creates it where needed, and brings its schema up to date.
    ///
    /// Fails with [`Error::Configuration`] for a URL of no known engine, [`Error::Unavailable`] when it cannot be reached and
    /// [`Error::Migration`] when the schema is newer than this program or a change fails.
    pub async fn open(options: &DatabaseOptions, name: &str, migrations: &[Migration]) -> Result<Database, Error> {
        let pools = if let Some(folder) = options.url.strip_prefix("sqlite:") {
            let file = PathBuf::from(folder.trim_start_matches("//")).join(format!("{name}.db"));
            Pools::open_sqlite(options, file, migrations).await?
        } else if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
            Pools::open_postgres(options, name, migrations).await?
        } else {
            return Err(Error::Configuration("a database URL begins with postgres:// or sqlite:".to_owned()));
        };
        let feed = pools.feed_id().await?;
        let (numbered, _) = watch::channel(());
        Ok(Database { pools, shared: Arc::new(Shared { name: name.to_owned(), feed, numbered }) })
    }

    /// The name it was opened by: the service's.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Postgres(_) => Engine::Postgres,
            Pools::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// Begins a transaction that writes. In SQLite it holds the one writer from here on.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let inner = match &self.pools {
            Pools::Postgres(connections) => Inner::Postgres(connections.begin().await?),
            Pools::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(self.tx(inner))
    }

    /// On PostgreSQL a connection on which each statement is committed by itself, which saves the round trips around one statement: reads
    /// lock nothing, and what is written must fail when what it rests on has changed meanwhile. [`Tx::commit`] gives the
    /// connection back; dropped, it is closed. `None` in SQLite, which has no round trips.
    ///
    /// The first statement fails with [`Error::Unavailable`] when the server has gone since the connection was used last: nothing has
    /// happened then, and another attempt, by [`Database::begin`], finds a new one.
    pub async fn autocommit(&self) -> Result<Option<Tx>, Error> {
        let Pools::Postgres(connections) = &self.pools else { return Ok(None) };
        Ok(Some(self.tx(Inner::Postgres(connections.autocommit().await?))))
    }

    /// Begins a transaction that only reads. In SQLite it sees one snapshot and does not wait for the writer.
    pub async fn read(&self) -> Result<Tx, Error> {
        let inner = match &self.pools {
            Pools::Postgres(connections) => Inner::Postgres(connections.begin().await?),
            Pools::Sqlite { readers, .. } => Inner::Sqlite(readers.begin().await?),
        };
        Ok(self.tx(inner))
    }

    /// Tells this feed's cursors from those of another.
    pub(crate) fn feed_id(&self) -> Uuid {
        self.shared.feed
    }

    /// Changes whenever this process has committed events.
    pub(crate) fn numbered(&self) -> watch::Receiver<()> {
        self.shared.numbered.subscribe()
    }

    /// Closes every connection once its transaction has ended.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(connections) => connections.close().await,
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    fn tx(&self, inner: Inner) -> Tx {
        Tx { inner, shared: self.shared.clone(), events: Vec::new(), wrote_events: false }
    }
}

impl Pools {
    async fn open_postgres(options: &DatabaseOptions, schema: &str, migrations: &[Migration]) -> Result<Pools, Error> {
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|_| Error::Configuration("the database URL cannot be read".to_owned()))?
            .application_name(&format!("regulars-{schema}"))
            // Every query goes by keys. A plan that was made while a table was small, and kept, would else read all of it for ever;
            // plans that look at the values would be made anew for each statement; and nothing runs long enough to be worth compiling.
            .options([("search_path", schema), ("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan"), ("jit", "off")]);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.acquire_timeout)
            .connect_with(connect)
            .await?;
        // Several processes may start at once: IF NOT EXISTS alone can still collide inside the catalogue.
        let mut tx = pool.begin().await?;
        tx.execute("SELECT pg_advisory_xact_lock(7263517001)").await?;
        tx.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await?;
        tx.commit().await?;
        migrate::migrator(Engine::Postgres, migrations)?.run(&pool).await.map_err(|error| Error::Migration(Box::new(error)))?;
        Ok(Pools::Postgres(Connections::new(pool)))
    }

    async fn open_sqlite(options: &DatabaseOptions, file: PathBuf, migrations: &[Migration]) -> Result<Pools, Error> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::Configuration(format!("cannot create {}: {error}", folder.display())))?;
        }
        // One opener at a time: the driver has no lock for migrations in SQLite. The lock goes with the handle, or the process.
        let lock = file.with_extension("lock");
        let lock = tokio::task::spawn_blocking(move || {
            let lock = File::create(&lock)?;
            lock.lock()?;
            Ok(lock)
        });
        let _lock = lock.await.expect("it does not panic").map_err(|error: std::io::Error| Error::Unavailable(error.into()))?;
        let connect = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL syncs the log at every commit: what was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().acquire_timeout(options.acquire_timeout).idle_timeout(None).max_lifetime(None);
        let writer = pool.clone().max_connections(1).connect_with(connect.clone()).await?;
        migrate::migrator(Engine::Sqlite, migrations)?.run(&writer).await.map_err(|error| Error::Migration(Box::new(error)))?;
        let readers = pool.max_connections(options.connections_max).connect_with(connect.pragma("query_only", "1")).await?;
        Ok(Pools::Sqlite { writer, readers })
    }

    async fn feed_id(&self) -> Result<Uuid, Error> {
        const SQL: &str = "SELECT feed_id FROM feed";
        Ok(match self {
            Pools::Postgres(connections) => sqlx::query_scalar(SQL).fetch_one(connections.pool()).await?,
            Pools::Sqlite { readers, .. } => sqlx::query_scalar(SQL).fetch_one(readers).await?,
        })
    }
}

impl Tx {
    /// The engine.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Postgres(_) => Engine::Postgres,
            Inner::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// The driver's connection, for [`on_engine!`](crate::on_engine).
    pub fn connection(&mut self) -> Connection<'_> {
        match &mut self.inner {
            Inner::Postgres(tx) => Connection::Postgres(tx.connection()),
            Inner::Sqlite(tx) => Connection::Sqlite(tx),
        }
    }

    /// The database's name: the service's.
    pub fn database(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn is_autocommit(&self) -> bool {
        matches!(&self.inner, Inner::Postgres(tx) if tx.is_autocommit())
    }

    /// Says that a statement with [`numbering_ctes`](crate::numbering_ctes) has written events: readers are woken after the commit.
    pub fn mark_events_written(&mut self) {
        self.wrote_events = true;
    }

    /// Makes everything durable, the events that were appended first. When this fails with [`Error::Unavailable`], whether it
    /// happened is unknown.
    pub async fn commit(self) -> Result<(), Error> {
        let Tx { inner, shared, events, wrote_events } = self;
        let wrote_events = wrote_events || !events.is_empty();
        match inner {
            Inner::Postgres(mut tx) => {
                if !events.is_empty() {
                    append::write_to_postgres(tx.connection(), events).await?;
                }
                tx.commit().await?;
            }
            Inner::Sqlite(mut tx) => {
                if !events.is_empty() {
                    append::write_to_sqlite(&mut tx, events).await?;
                }
                tx.commit().await?;
            }
        }
        if wrote_events {
            shared.numbered.send_replace(());
        }
        Ok(())
    }
}
