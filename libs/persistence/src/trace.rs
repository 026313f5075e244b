use std::fmt;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream};
use sqlx::{Database, Either, Execute, Executor, SqlStr};
use tracing::{Instrument, Span};

/// A connection on which each statement has a span `sql`: the engine and the operation, never text or parameters.
pub struct Traced<'c, C>(pub &'c mut C);

impl<C> fmt::Debug for Traced<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traced")
    }
}

impl<'c, C, D> Executor<'c> for Traced<'c, C>
where
    C: Send,
    D: Database,
    &'c mut C: Executor<'c, Database = D>,
{
    type Database = D;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<D::QueryResult, D::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, D>,
    {
        let span = span::<D>();
        if span.is_disabled() {
            return self.0.fetch_many(query);
        }
        match named::<D, E>(query, &span) {
            Ok(query) => {
                let mut rows = self.0.fetch_many(query);
                stream::poll_fn(move |context| span.in_scope(|| rows.poll_next_unpin(context))).boxed()
            }
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<D::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, D>,
    {
        let span = span::<D>();
        if span.is_disabled() {
            return self.0.fetch_optional(query);
        }
        match named::<D, E>(query, &span) {
            Ok(query) => self.0.fetch_optional(query).instrument(span).boxed(),
            Err(error) => async { Err(error) }.boxed(),
        }
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [D::TypeInfo]) -> BoxFuture<'e, Result<D::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }
}

fn span<D: Database>() -> Span {
    let system = if D::NAME == sqlx::Postgres::NAME { "postgresql" } else { "sqlite" };
    tracing::debug_span!("sql", otel.kind = "client", db.system.name = system, db.operation.name = tracing::field::Empty)
}

/// A statement tells its text only when it is taken apart; this is the same statement again, its operation noted in the span.
fn named<'q, D: Database, E: Execute<'q, D> + 'q>(mut query: E, span: &Span) -> Result<Statement<D>, sqlx::Error> {
    let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
    let persistent = query.persistent();
    let sql = query.sql();
    // Its first word: SELECT, WITH…
    span.record("db.operation.name", sql.as_str().split_whitespace().next());
    Ok(Statement { sql, arguments, persistent })
}

struct Statement<D: Database> {
    sql: SqlStr,
    arguments: Option<D::Arguments>,
    persistent: bool,
}

impl<D: Database> Execute<'_, D> for Statement<D> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&D::Statement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<D::Arguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}
