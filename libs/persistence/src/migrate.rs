use std::borrow::Cow;

use sqlx::AssertSqlSafe;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration as Step, MigrationType, Migrator};

use crate::{Engine, Error};

/// One schema change: a file named `0001_what.sql` with one text for both engines.
///
/// Tokens stand for what differs: `{uuid} {bytes} {time} {int} {bool} {key}` are column types (`{key}` is text that sorts by its
/// bytes), `{strict}` follows a table, `{hot}` follows a table whose rows are updated often. Lines between `-- postgres:` or
/// `-- sqlite:` and `-- end` are for that engine only.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The file's name; its leading number is the version.
    pub file: &'static str,
    /// The text.
    pub sql: &'static str,
}

/// Versions of a service begin here; below are those of this crate.
const SERVICE_VERSIONS: i64 = 1000;

static OWN: &[Migration] = crate::migrations!["0001_parts.sql"];

/// All schema changes of a database in order, in the dialect of an engine.
pub(crate) fn migrator(engine: Engine, service: &[Migration]) -> Result<Migrator, Error> {
    let own = OWN.iter().map(|migration| (0, migration));
    let theirs = service.iter().map(|migration| (SERVICE_VERSIONS, migration));
    let steps = own.chain(theirs).map(|(base, migration)| step(engine, base, migration)).collect::<Result<_, _>>()?;
    Ok(Migrator::with_migrations(steps))
}

fn step(engine: Engine, base: i64, migration: &Migration) -> Result<Step, Error> {
    let number = migration.file.split('_').next().and_then(|digits| digits.parse::<i64>().ok());
    let number = number.ok_or_else(|| Error::Configuration(format!("{} does not begin with a number", migration.file)))?;
    let sql = in_dialect(engine, migration.sql);
    let sql = AssertSqlSafe(sql).into_sql_str();
    Ok(Step::new(base + number, Cow::Borrowed(migration.file), MigrationType::Simple, sql, false))
}

fn in_dialect(engine: Engine, text: &str) -> String {
    let tokens = match engine {
        Engine::Postgres => [
            ("{uuid}", "UUID"),
            ("{bytes}", "BYTEA"),
            ("{time}", "TIMESTAMPTZ"),
            ("{int}", "BIGINT"),
            ("{bool}", "BOOLEAN"),
            ("{key}", "TEXT COLLATE \"C\""),
            ("{strict}", ""),
            ("{hot}", "WITH (fillfactor = 70)"),
        ],
        Engine::Sqlite => [
            ("{uuid}", "BLOB"),
            ("{bytes}", "BLOB"),
            ("{time}", "INTEGER"),
            ("{int}", "INTEGER"),
            ("{bool}", "INTEGER"),
            ("{key}", "TEXT"),
            ("{strict}", "STRICT"),
            ("{hot}", "STRICT"),
        ],
    };
    let (mine, other) = match engine {
        Engine::Postgres => ("-- postgres:", "-- sqlite:"),
        Engine::Sqlite => ("-- sqlite:", "-- postgres:"),
    };
    let mut skipping = false;
    let mut sql = String::with_capacity(text.len());
    for line in text.lines() {
        match line.trim() {
            marker if marker == other => skipping = true,
            marker if marker == mine => {}
            "-- end" => skipping = false,
            _ if skipping => {}
            _ => {
                sql.push_str(line);
                sql.push('\n');
            }
        }
    }
    tokens.iter().fold(sql, |sql, (token, word)| sql.replace(token, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_becomes_two_dialects() {
        let text = "CREATE TABLE t (id {uuid}, at {time}) {hot};\n-- postgres:\nCREATE INDEX p ON t (at);\n-- end\n-- sqlite:\nCREATE INDEX s ON t (at);\n-- end\n";
        assert_eq!(
            in_dialect(Engine::Postgres, text),
            "CREATE TABLE t (id UUID, at TIMESTAMPTZ) WITH (fillfactor = 70);\nCREATE INDEX p ON t (at);\n"
        );
        assert_eq!(in_dialect(Engine::Sqlite, text), "CREATE TABLE t (id BLOB, at INTEGER) STRICT;\nCREATE INDEX s ON t (at);\n");
    }
}
