//! The PostgreSQL server that script and suite run on.

use std::str::FromStr;

use anyhow::{Context, ensure};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::calls::PROGRAM;

/// The server, with a connection of its own for looking at it.
pub(crate) struct Database {
    url: String,
    pool: PgPool,
}

/// Bytes that the suite writes for an award, by column; the script and the bare loop write as many.
#[derive(Clone, Copy, sqlx::FromRow)]
pub(crate) struct Widths {
    pub(crate) state: i64,
    pub(crate) entry: i64,
    pub(crate) fingerprint: i64,
    pub(crate) answer: i64,
    pub(crate) purchase: i64,
    pub(crate) event: i64,
}

impl Database {
    /// Connects to a server whose `fsync` and `synchronous_commit` are on: without them a comparison says nothing.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Database> {
        let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let database = Database { url: url.to_owned(), pool };
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            ensure!(database.text(&format!("SHOW {setting}")).await? == "on", "{setting} is not on");
        }
        Ok(database)
    }

    /// The URL of a database on this server.
    pub(crate) fn url_of(&self, name: &str) -> String {
        let (server, _) = self.url.rsplit_once('/').unwrap_or((&self.url, ""));
        format!("{server}/{name}")
    }

    /// A connection to a database on this server.
    pub(crate) async fn connect(&self, name: &str) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.url_of(name))?.disable_statement_logging();
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// A fresh database of this name; its URL.
    pub(crate) async fn create(&self, name: &str) -> anyhow::Result<String> {
        self.drop(name).await?;
        self.pool.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        Ok(self.url_of(name))
    }

    /// Removes a database, whoever is still connected to it.
    pub(crate) async fn drop(&self, name: &str) -> anyhow::Result<()> {
        self.pool.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await?;
        Ok(())
    }

    /// The single text that a statement answers.
    pub(crate) async fn text(&self, sql: &str) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await?)
    }

    /// Transactions so far that wrote: each takes a number of its own, and one that only reads takes none.
    pub(crate) async fn transactions(&self) -> anyhow::Result<i64> {
        const SQL: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        Ok(sqlx::query_scalar(SQL).fetch_one(&self.pool).await?)
    }

    /// The process id of the server's checkpointer.
    pub(crate) async fn checkpointer(&self) -> anyhow::Result<u32> {
        let pid: i32 =
            sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetch_one(&self.pool).await?;
        u32::try_from(pid).context("a process id is positive")
    }

    /// What the awards in a suite's database are like.
    pub(crate) async fn widths(&self, name: &str) -> anyhow::Result<Widths> {
        const SQL: &str = "
            SELECT (SELECT avg(octet_length(state)) FROM points.accounts WHERE version > 0)::bigint AS state,
                   (SELECT avg(octet_length(details)) FROM points.entries)::bigint AS entry,
                   (SELECT avg(octet_length(fingerprint)) FROM points.operations WHERE kind = 1)::bigint AS fingerprint,
                   (SELECT avg(octet_length(answer)) FROM points.operations WHERE kind = 1)::bigint AS answer,
                   (SELECT avg(octet_length(details)) FROM points.purchases)::bigint AS purchase,
                   (SELECT avg(octet_length(payload)) FROM points.events)::bigint AS event";
        let mut connection = self.connect(name).await?;
        let widths = sqlx::query_as(SQL).fetch_one(&mut connection).await.with_context(|| format!("no awards of {PROGRAM} in {name}"))?;
        connection.close().await?;
        Ok(widths)
    }
}
