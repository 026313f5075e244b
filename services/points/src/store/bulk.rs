//! Many rows in one statement, the same on both engines.

/// Reads rows by a list of UUID keys: `by_keys!(tx, keys, "SELECT … WHERE key_column", "ORDER BY …")`.
macro_rules! by_keys {
    ($tx:expr, $keys:expr, $select:literal, $rest:literal) => {
        match $tx.connection() {
            persistence::Connection::Postgres(conn) => {
                sqlx::query_as(concat!($select, " = ANY($1) ", $rest)).bind($keys).fetch_all(conn).await
            }
            persistence::Connection::Sqlite(conn) => {
                sqlx::query_as(concat!($select, " IN (SELECT unhex(value) FROM json_each($1)) ", $rest))
                    .bind($crate::store::bulk::json($keys))
                    .fetch_all(conn)
                    .await
            }
        }
    };
}

/// Inserts rows in as few statements as there are powers of two in their number, so that the driver keeps a handful of prepared
/// statements and not one for each number of rows. Its value is how many rows were written.
macro_rules! insert_rows {
    ($tx:expr, $rows:expr, $into:literal, $rest:literal, |$values:ident, $row:ident| $bind:expr) => {{
        let mut written = 0;
        for chunk in $crate::store::bulk::chunks($rows) {
            written += persistence::on_engine!($tx, |conn| {
                let mut query = sqlx::QueryBuilder::new(concat!("INSERT INTO ", $into, " "));
                query.push_values(chunk, |mut $values, $row| {
                    $bind;
                });
                query.push(concat!(" ", $rest));
                query.build().execute(conn).await?.rows_affected()
            });
        }
        written
    }};
}

pub(super) use {by_keys, insert_rows};

const ROWS_MAX: usize = 64;

/// Slices of 64 rows, then of the powers of two that the rest is made of.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        let size = if rows.len() >= ROWS_MAX { ROWS_MAX } else { 1 << rows.len().ilog2() };
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// A JSON list of hexadecimal keys: how SQLite takes a list as one parameter.
pub(super) fn json<K: AsRef<[u8]>>(keys: &[K]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut list = String::with_capacity(2 + keys.iter().map(|key| 3 + 2 * key.as_ref().len()).sum::<usize>());
    list.push('[');
    for (index, key) in keys.iter().enumerate() {
        list.push_str(if index == 0 { "\"" } else { ",\"" });
        let digits = key.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        list.extend(digits.map(|digit| char::from(DIGITS[usize::from(digit)])));
        list.push('"');
    }
    list.push(']');
    list
}

#[cfg(test)]
mod tests {
    #[test]
    fn chunks_are_powers_of_two() {
        let rows: Vec<u32> = (0..141).collect();
        let sizes: Vec<usize> = super::chunks(&rows).map(<[u32]>::len).collect();
        assert_eq!(sizes, [64, 64, 8, 4, 1]);
        assert_eq!(super::chunks(&rows).flatten().copied().collect::<Vec<_>>(), rows);
    }
}
