//! The statements of the directory.

use std::sync::Arc;

use kernel::{Currency, ProgramId, Timestamp, Zone};
use persistence::{DbTime, Error, Tx, on_engine};
use proto::codec::Programs;
use proto::common::Role;

use super::domain::{ApiKey, Program, Store, Terminal};

/// Raises the revision and locks it until the end of the transaction. The first statement of every change.
pub(super) async fn next_revision(tx: &mut Tx) -> Result<i64, Error> {
    let revision = on_engine!(tx, |conn| sqlx::query_scalar(
        "UPDATE directory_state SET revision = revision + 1 WHERE only_row = 1 RETURNING revision"
    )
    .fetch_one(conn)
    .await)?;
    Ok(revision)
}

/// The revision of the last committed change.
pub(super) async fn revision(tx: &mut Tx) -> Result<i64, Error> {
    Ok(on_engine!(tx, |conn| sqlx::query_scalar("SELECT revision FROM directory_state WHERE only_row = 1").fetch_one(conn).await)?)
}

/// True for exactly one caller, ever.
pub(super) async fn claim_first_administrator(tx: &mut Tx) -> Result<bool, Error> {
    let claimed = on_engine!(tx, |conn| sqlx::query(
        "UPDATE directory_state SET first_administrator = 1 WHERE only_row = 1 AND first_administrator = 0"
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(claimed == 1)
}

#[derive(sqlx::FromRow)]
struct ProgramRow {
    program_id: String,
    display_name: String,
    time_zone: String,
    currency_code: String,
    create_time: DbTime,
}

impl TryFrom<ProgramRow> for Program {
    type Error = Error;

    fn try_from(row: ProgramRow) -> Result<Program, Error> {
        let ProgramRow { program_id, display_name, time_zone, currency_code, create_time } = row;
        let damaged = |what: &str| Error::Corrupt(format!("{what} of program {program_id}"));
        Ok(Program {
            id: ProgramId::parse(&program_id).map_err(|_| damaged("id"))?,
            display_name,
            zone: Zone::parse(&time_zone).map_err(|_| damaged("time zone"))?,
            currency: Currency::parse(&currency_code).map_err(|_| damaged("currency"))?,
            create_time: create_time.into(),
        })
    }
}

/// The programs that were made or changed after a revision.
pub(super) async fn programs_since(tx: &mut Tx, revision: i64) -> Result<Vec<Program>, Error> {
    let rows: Vec<ProgramRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, display_name, time_zone, currency_code, create_time FROM programs WHERE revision > $1"
    )
    .bind(revision)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(Program::try_from).collect()
}

/// Writes a new program. A taken id is [`Error::Unique`].
pub(super) async fn insert_program(tx: &mut Tx, program: &Program, revision: i64) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO programs (program_id, display_name, time_zone, currency_code, create_time, revision)
         VALUES ($1, $2, $3, $4, $5, $6)"
    )
    .bind(program.id.as_str())
    .bind(&program.display_name)
    .bind(program.zone.as_str())
    .bind(program.currency.as_str())
    .bind(DbTime(program.create_time))
    .bind(revision)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// Whether a program exists.
pub(super) async fn program_exists(tx: &mut Tx, program: &str) -> Result<bool, Error> {
    let found: i64 = on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM programs WHERE program_id = $1")
        .bind(program)
        .fetch_one(conn)
        .await)?;
    Ok(found == 1)
}

#[derive(sqlx::FromRow)]
struct StoreRow {
    store_id: String,
    display_name: String,
    time_zone: Option<String>,
    create_time: DbTime,
}

/// A page of a program's stores by id, after an id.
pub(super) async fn stores(tx: &mut Tx, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<Store>, Error> {
    let rows: Vec<StoreRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT store_id, display_name, time_zone, create_time FROM stores
          WHERE program_id = $1 AND store_id > $2 ORDER BY store_id LIMIT $3"
    )
    .bind(program.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    rows.into_iter()
        .map(|StoreRow { store_id, display_name, time_zone, create_time }| {
            let zone = time_zone.as_deref().map(Zone::parse).transpose();
            let zone = zone.map_err(|_| Error::Corrupt(format!("time zone of store {store_id} of program {program}")))?;
            Ok(Store { program: program.clone(), id: store_id, display_name, zone, create_time: create_time.into() })
        })
        .collect()
}

/// Whether a store exists.
pub(super) async fn store_exists(tx: &mut Tx, program: &ProgramId, store: &str) -> Result<bool, Error> {
    let found: i64 = on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM stores WHERE program_id = $1 AND store_id = $2")
        .bind(program.as_str())
        .bind(store)
        .fetch_one(conn)
        .await)?;
    Ok(found == 1)
}

/// Writes a new store. A taken id is [`Error::Unique`].
pub(super) async fn insert_store(tx: &mut Tx, store: &Store) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO stores (program_id, store_id, display_name, time_zone, create_time) VALUES ($1, $2, $3, $4, $5)"
    )
    .bind(store.program.as_str())
    .bind(&store.id)
    .bind(&store.display_name)
    .bind(store.zone.as_ref().map(Zone::as_str))
    .bind(DbTime(store.create_time))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct TerminalRow {
    terminal_id: String,
    display_name: String,
    create_time: DbTime,
}

/// A page of a store's terminals by id, after an id.
pub(super) async fn terminals(tx: &mut Tx, program: &ProgramId, store: &str, after: &str, limit: i64) -> Result<Vec<Terminal>, Error> {
    let rows: Vec<TerminalRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT terminal_id, display_name, create_time FROM terminals
          WHERE program_id = $1 AND store_id = $2 AND terminal_id > $3 ORDER BY terminal_id LIMIT $4"
    )
    .bind(program.as_str())
    .bind(store)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    let terminal = |TerminalRow { terminal_id, display_name, create_time }| Terminal {
        program: program.clone(),
        store: store.to_owned(),
        id: terminal_id,
        display_name,
        create_time: create_time.into(),
    };
    Ok(rows.into_iter().map(terminal).collect())
}

/// Whether a terminal exists.
pub(super) async fn terminal_exists(tx: &mut Tx, program: &str, store: &str, terminal: &str) -> Result<bool, Error> {
    let found: i64 = on_engine!(tx, |conn| sqlx::query_scalar(
        "SELECT COUNT(*) FROM terminals WHERE program_id = $1 AND store_id = $2 AND terminal_id = $3"
    )
    .bind(program)
    .bind(store)
    .bind(terminal)
    .fetch_one(conn)
    .await)?;
    Ok(found == 1)
}

/// Writes a new terminal. A taken id is [`Error::Unique`].
pub(super) async fn insert_terminal(tx: &mut Tx, terminal: &Terminal) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO terminals (program_id, store_id, terminal_id, display_name, create_time) VALUES ($1, $2, $3, $4, $5)"
    )
    .bind(terminal.program.as_str())
    .bind(&terminal.store)
    .bind(&terminal.id)
    .bind(&terminal.display_name)
    .bind(DbTime(terminal.create_time))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ApiKeyRow {
    api_key_id: String,
    display_name: String,
    role: i64,
    programs: Option<String>,
    terminal: Option<String>,
    secret_hash: Vec<u8>,
    create_time: DbTime,
    revoke_time: Option<DbTime>,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = Error;

    fn try_from(row: ApiKeyRow) -> Result<ApiKey, Error> {
        let ApiKeyRow { api_key_id, display_name, role, programs, terminal, secret_hash, create_time, revoke_time } = row;
        let damaged = |what: &str| Error::Corrupt(format!("{what} of API key {api_key_id}"));
        let role = i32::try_from(role).ok().and_then(|role| Role::try_from(role).ok()).ok_or_else(|| damaged("role"))?;
        let secret_hash: [u8; 32] = secret_hash.try_into().map_err(|_| damaged("hash"))?;
        let programs = match programs {
            None => Programs::All,
            Some(ids) => Programs::Only(ids.split(' ').map(str::to_owned).collect::<Arc<[String]>>()),
        };
        Ok(ApiKey {
            id: api_key_id,
            display_name,
            role,
            programs,
            terminal,
            secret_hash: blake3::Hash::from_bytes(secret_hash),
            create_time: create_time.into(),
            revoke_time: revoke_time.map(Timestamp::from),
        })
    }
}

/// The API keys that were made or revoked after a revision.
pub(super) async fn api_keys_since(tx: &mut Tx, revision: i64) -> Result<Vec<ApiKey>, Error> {
    let rows: Vec<ApiKeyRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT api_key_id, display_name, role, programs, terminal, secret_hash, create_time, revoke_time
           FROM api_keys WHERE revision > $1"
    )
    .bind(revision)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// An API key by its id.
pub(super) async fn api_key(tx: &mut Tx, id: &str) -> Result<Option<ApiKey>, Error> {
    let row: Option<ApiKeyRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT api_key_id, display_name, role, programs, terminal, secret_hash, create_time, revoke_time
           FROM api_keys WHERE api_key_id = $1"
    )
    .bind(id)
    .fetch_optional(conn)
    .await)?;
    row.map(ApiKey::try_from).transpose()
}

/// Writes a new API key.
pub(super) async fn insert_api_key(tx: &mut Tx, key: &ApiKey, revision: i64) -> Result<(), Error> {
    let programs = match &key.programs {
        Programs::All => None,
        Programs::Only(ids) => Some(ids.join(" ")),
    };
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO api_keys
                (api_key_id, display_name, role, programs, terminal, secret_hash, create_time, revoke_time, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    )
    .bind(&key.id)
    .bind(&key.display_name)
    .bind(i64::from(i32::from(key.role)))
    .bind(programs)
    .bind(&key.terminal)
    .bind(key.secret_hash.as_bytes().to_vec())
    .bind(DbTime(key.create_time))
    .bind(key.revoke_time.map(DbTime))
    .bind(revision)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// Marks an API key as revoked; one that is revoked already keeps its time.
pub(super) async fn revoke_api_key(tx: &mut Tx, id: &str, now: Timestamp, revision: i64) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "UPDATE api_keys SET revoke_time = $2, revision = $3 WHERE api_key_id = $1 AND revoke_time IS NULL"
    )
    .bind(id)
    .bind(DbTime(now))
    .bind(revision)
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}
