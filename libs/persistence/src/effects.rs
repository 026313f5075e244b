use std::time::Duration;

use kernel::Timestamp;
use sqlx::AssertSqlSafe;

use crate::{DbTime, Engine, Error, Tx, on_engine};

/// Something another service is to bring about, or to undo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// The natural key, the same however often it is asked for: this referral and role, this purchase's survey.
    pub key: String,
    /// What is to be done: which worker calls which target.
    pub kind: String,
    /// True to bring it about, false to undo it.
    pub wanted: bool,
    /// What the target must be told.
    pub payload: Vec<u8>,
}

/// An effect that a worker has taken. It is this worker's until the lease ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueEffect {
    /// What is wanted.
    pub effect: Effect,
    /// Which change of it: a target that has seen a higher one ignores this one.
    pub version: i64,
    /// Which attempt at this version this is, from 1.
    pub attempt: i64,
}

/// How an effect stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectState {
    /// What is wanted.
    pub effect: Effect,
    /// Grows with every change of what is wanted.
    pub version: i64,
    /// The last version that the target has confirmed; 0 for none.
    pub done_version: i64,
    /// Attempts at this version so far.
    pub attempts: i64,
    /// When it is tried next; `None` when nothing is to be done.
    pub next_attempt_at: Option<Timestamp>,
}

/// Effects of one kind that are still to be done.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct EffectBacklog {
    /// The kind.
    pub kind: String,
    /// Those that are waiting, whether for their first attempt or for another.
    pub waiting: i64,
    /// Those among them that were tried at least twice.
    pub failing: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    effect_key: String,
    kind: String,
    wanted: bool,
    payload: Vec<u8>,
    version: i64,
    done_version: i64,
    attempts: i64,
    next_attempt_at: Option<DbTime>,
}

impl Tx {
    /// Writes down what is wanted, to be tried from `due` on. The same again changes nothing; a change gets a new version.
    pub async fn want_effect(&mut self, effect: &Effect, due: Timestamp) -> Result<(), Error> {
        on_engine!(self, |conn| sqlx::query(
            "INSERT INTO effects (effect_key, kind, wanted, payload, version, done_version, attempts, next_attempt_at)
             VALUES ($1, $2, $3, $4, 1, 0, 0, $5)
             ON CONFLICT (effect_key) DO UPDATE
                SET kind = excluded.kind, wanted = excluded.wanted, payload = excluded.payload,
                    version = effects.version + 1, attempts = 0, next_attempt_at = excluded.next_attempt_at
              WHERE effects.kind <> excluded.kind OR effects.wanted <> excluded.wanted OR effects.payload <> excluded.payload",
        )
        .bind(&effect.key)
        .bind(&effect.kind)
        .bind(effect.wanted)
        .bind(&effect.payload)
        .bind(DbTime(due))
        .execute(conn)
        .await?
        .rows_affected());
        Ok(())
    }

    /// Writes down what is wanted once and for all: whatever is wanted under a key that there is already changes nothing.
    pub async fn want_effect_once(&mut self, effect: &Effect, due: Timestamp) -> Result<(), Error> {
        on_engine!(self, |conn| sqlx::query(
            "INSERT INTO effects (effect_key, kind, wanted, payload, version, done_version, attempts, next_attempt_at)
             VALUES ($1, $2, $3, $4, 1, 0, 0, $5) ON CONFLICT (effect_key) DO NOTHING",
        )
        .bind(&effect.key)
        .bind(&effect.kind)
        .bind(effect.wanted)
        .bind(&effect.payload)
        .bind(DbTime(due))
        .execute(conn)
        .await?
        .rows_affected());
        Ok(())
    }

    /// Takes effects of a kind that are due, the longest due first. Until the lease ends no other worker gets them; a worker
    /// that dies loses them then. Commit before calling the target.
    pub async fn due_effects(&mut self, kind: &str, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<DueEffect>, Error> {
        // Replicas pass over each other's rows instead of waiting. SQLite has one writer and no row locks.
        let lock = match self.engine() {
            Engine::Postgres => "FOR UPDATE SKIP LOCKED",
            Engine::Sqlite => "",
        };
        // Materialized, since a plan that runs the inner query twice would take more than the limit.
        let sql = format!(
            "WITH due AS MATERIALIZED (
                 SELECT effect_key FROM effects WHERE kind = $1 AND next_attempt_at <= $2
                  ORDER BY next_attempt_at, effect_key LIMIT $4 {lock})
             UPDATE effects SET next_attempt_at = $3, attempts = attempts + 1
              WHERE effect_key IN (SELECT effect_key FROM due)
             RETURNING effect_key, kind, wanted, payload, version, done_version, attempts, next_attempt_at"
        );
        let rows: Vec<Row> = on_engine!(self, |conn| sqlx::query_as(AssertSqlSafe(sql))
            .bind(kind)
            .bind(DbTime(now))
            .bind(DbTime(now + lease))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)?;
        Ok(rows
            .into_iter()
            .map(EffectState::from)
            .map(|state| DueEffect { effect: state.effect, version: state.version, attempt: state.attempts })
            .collect())
    }

    /// The target has confirmed a version. When what is wanted has changed meanwhile, the newer version stays due.
    pub async fn effect_done(&mut self, key: &str, version: i64) -> Result<(), Error> {
        on_engine!(self, |conn| sqlx::query(
            "UPDATE effects
                SET done_version = $2, next_attempt_at = CASE WHEN version = $2 THEN NULL ELSE next_attempt_at END
              WHERE effect_key = $1 AND done_version < $2",
        )
        .bind(key)
        .bind(version)
        .execute(conn)
        .await?
        .rows_affected());
        Ok(())
    }

    /// An attempt has failed; the next is due then. When what is wanted has changed meanwhile, nothing changes.
    pub async fn effect_failed(&mut self, key: &str, version: i64, next_attempt_at: Timestamp) -> Result<(), Error> {
        on_engine!(self, |conn| sqlx::query(
            "UPDATE effects SET next_attempt_at = $3 WHERE effect_key = $1 AND version = $2 AND done_version < $2",
        )
        .bind(key)
        .bind(version)
        .bind(DbTime(next_attempt_at))
        .execute(conn)
        .await?
        .rows_affected());
        Ok(())
    }

    /// How an effect stands; `None` when it was never asked for.
    pub async fn effect(&mut self, key: &str) -> Result<Option<EffectState>, Error> {
        let row: Option<Row> = on_engine!(self, |conn| {
            sqlx::query_as(
            "SELECT effect_key, kind, wanted, payload, version, done_version, attempts, next_attempt_at FROM effects WHERE effect_key = $1",
        )
        .bind(key)
        .fetch_optional(conn)
        .await
        })?;
        Ok(row.map(EffectState::from))
    }

    /// What is still to be done, by kind; kinds with nothing to do are left out. For metrics.
    pub async fn effect_backlog(&mut self) -> Result<Vec<EffectBacklog>, Error> {
        Ok(on_engine!(self, |conn| sqlx::query_as(
            "SELECT kind, COUNT(*) AS waiting, COUNT(CASE WHEN attempts > 1 THEN 1 END) AS failing
               FROM effects WHERE next_attempt_at IS NOT NULL GROUP BY kind ORDER BY kind",
        )
        .fetch_all(conn)
        .await)?)
    }
}

impl From<Row> for EffectState {
    fn from(row: Row) -> Self {
        let Row { effect_key, kind, wanted, payload, version, done_version, attempts, next_attempt_at } = row;
        let effect = Effect { key: effect_key, kind, wanted, payload };
        EffectState { effect, version, done_version, attempts, next_attempt_at: next_attempt_at.map(Timestamp::from) }
    }
}
