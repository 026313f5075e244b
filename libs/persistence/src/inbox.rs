use crate::{Error, Tx, on_engine};

impl Tx {
    /// The cursor up to which a consumer has dealt with a source's feed; `None` before the first event.
    pub async fn cursor(&mut self, consumer: &str, source: &str) -> Result<Option<String>, Error> {
        Ok(on_engine!(self, |conn| sqlx::query_scalar("SELECT cursor FROM inbox WHERE consumer = $1 AND source = $2")
            .bind(consumer)
            .bind(source)
            .fetch_optional(conn)
            .await)?)
    }

    /// Moves a consumer's cursor, in the transaction that does what the events up to it ask for.
    ///
    /// `expected` is where the cursor stood when those events were read. When it has moved since, another replica has dealt
    /// with them: [`Error::Conflict`]. Done first in the transaction, it also makes the others wait instead of working in vain.
    pub async fn advance_cursor(&mut self, consumer: &str, source: &str, expected: Option<&str>, next: &str) -> Result<(), Error> {
        let moved = match expected {
            None => on_engine!(self, |conn| sqlx::query(
                "INSERT INTO inbox (consumer, source, cursor) VALUES ($1, $2, $3) ON CONFLICT (consumer, source) DO NOTHING",
            )
            .bind(consumer)
            .bind(source)
            .bind(next)
            .execute(conn)
            .await?
            .rows_affected()),
            Some(expected) => {
                on_engine!(self, |conn| sqlx::query("UPDATE inbox SET cursor = $3 WHERE consumer = $1 AND source = $2 AND cursor = $4",)
                    .bind(consumer)
                    .bind(source)
                    .bind(next)
                    .bind(expected)
                    .execute(conn)
                    .await?
                    .rows_affected())
            }
        };
        if moved == 1 { Ok(()) } else { Err(Error::Conflict) }
    }
}
