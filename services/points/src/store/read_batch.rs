//! What a batch looks up: on PostgreSQL in one statement, either behind the lock of its accounts, and so fresh, or along with them,
//! and so of one moment.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::{Timestamp, Uuid};
use persistence::{Connection, DbTime, Error, Traced, Tx};
use sqlx::PgConnection;

use super::bulk::by_keys;
use super::{Held, StoredAnswer, codec, ended_reservations, lock_accounts, operations, purchases, reservation_end};
use crate::domain::{Account, AccountId, ClosedReservation, Facts, Purchase};

/// Keys to look up, each list sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) accounts: Vec<Uuid>,
    pub(crate) requests: Vec<Uuid>,
    pub(crate) purchases: Vec<Uuid>,
    pub(crate) reservations: Vec<Uuid>,
}

/// What is there of it.
#[derive(Default)]
pub(crate) struct Found {
    /// Every account that was wanted; one that is not there yet is empty.
    pub(crate) accounts: HashMap<AccountId, Held>,
    /// Answers to these requests.
    pub(crate) answers: HashMap<Uuid, Arc<StoredAnswer>>,
    /// Requests whose refusals are to be forgotten.
    pub(crate) forgotten: Vec<Uuid>,
    pub(crate) purchases: HashMap<Uuid, Arc<Purchase>>,
    /// How reservations that are no longer open in their account ended.
    pub(crate) ended: HashMap<Uuid, (AccountId, ClosedReservation)>,
}

/// A row of any of the tables: what it is, its key and a number, and what else it has.
type Row = (i64, Uuid, i64, Option<DbTime>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Uuid>);

const ANSWER: i64 = 1;
const PURCHASE: i64 = 2;
const FACTS: i64 = 3;
const RESERVATION: i64 = 4;
const ACCOUNT: i64 = 5;

const FIND: &str = "
    SELECT 1::BIGINT, operation_id, kind, forget_at, fingerprint, answer, NULL::UUID FROM operations WHERE operation_id = ANY($1)
     UNION ALL
    SELECT 2, purchase_key, 0, NULL, details, NULL, NULL FROM purchases WHERE purchase_key = ANY($2)
     UNION ALL
    SELECT 3, account_id, version, NULL, details, NULL, NULL FROM facts WHERE account_id = ANY($3)
     UNION ALL
    SELECT 4, reservation_id, state, NULL, NULL, NULL, account_id FROM reservations WHERE reservation_id = ANY($4)
     UNION ALL
    SELECT 5, account_id, version, NULL, state, NULL, NULL FROM accounts WHERE account_id = ANY($5)";

/// Looks up what a batch needs besides its accounts, which it has locked.
pub(crate) async fn find(tx: &mut Tx, wanted: &Wanted, accounts: HashMap<AccountId, Held>, now: Timestamp) -> Result<Found, Error> {
    match tx.connection() {
        Connection::Postgres(conn) => find_at_once(conn, wanted, accounts, &[], now).await,
        Connection::Sqlite(_) => find_in_steps(tx, wanted, accounts, now).await,
    }
}

/// Looks up what a batch needs on PostgreSQL, and locks nothing: all is as it was at one moment.
pub(crate) async fn find_unlocked(tx: &mut Tx, wanted: &Wanted, now: Timestamp) -> Result<Found, Error> {
    let accounts = wanted.accounts.iter().map(|id| (AccountId(*id), Held::default())).collect();
    match tx.connection() {
        Connection::Postgres(conn) => find_at_once(conn, wanted, accounts, &wanted.accounts, now).await,
        Connection::Sqlite(_) => Err(Error::Configuration("one who writes to SQLite has locked everything".to_owned())),
    }
}

/// Looks up accounts as they are, and answers, behind locks of something else.
pub(crate) async fn find_beside(tx: &mut Tx, wanted: &Wanted, now: Timestamp) -> Result<Found, Error> {
    match tx.connection() {
        Connection::Postgres(_) => find_unlocked(tx, wanted, now).await,
        Connection::Sqlite(_) => {
            let accounts = lock_accounts(tx, &wanted.accounts).await?;
            find_in_steps(tx, wanted, accounts, now).await
        }
    }
}

/// `unlocked` are the accounts to be read along.
async fn find_at_once(
    conn: &mut PgConnection,
    wanted: &Wanted,
    accounts: HashMap<AccountId, Held>,
    unlocked: &[Uuid],
    now: Timestamp,
) -> Result<Found, Error> {
    let query = sqlx::query_as(FIND).bind(&wanted.requests).bind(&wanted.purchases).bind(&wanted.accounts).bind(&wanted.reservations);
    let rows: Vec<Row> = query.bind(unlocked).fetch_all(Traced(conn)).await?;
    let mut found = Found { accounts, ..Found::default() };
    for (what, id, number, forget_at, first, second, other) in rows {
        let first = first.unwrap_or_default();
        match what {
            ANSWER if forget_at.is_some_and(|at| at.0 <= now) => found.forgotten.push(id),
            ANSWER => _ = found.answers.insert(id, StoredAnswer::read(first, number, second.unwrap_or_default())?),
            PURCHASE => _ = found.purchases.insert(id, Arc::new(codec::decode_purchase(&first)?)),
            FACTS => found.learn(id, codec::decode_facts(number, &first)?),
            RESERVATION => _ = found.ended.insert(id, (AccountId(other.unwrap_or_default()), reservation_end(number)?)),
            ACCOUNT => found.meet(id, codec::decode_account(number, &first)?),
            _ => {}
        }
    }
    found.forgotten.sort_unstable();
    Ok(found)
}

impl Found {
    fn learn(&mut self, id: Uuid, facts: Facts) {
        if let Some(held) = self.accounts.get_mut(&AccountId(id)) {
            held.facts = facts;
        }
    }

    fn meet(&mut self, id: Uuid, account: Account) {
        if let Some(held) = self.accounts.get_mut(&AccountId(id)) {
            held.account = account;
        }
    }
}

async fn find_in_steps(tx: &mut Tx, wanted: &Wanted, accounts: HashMap<AccountId, Held>, now: Timestamp) -> Result<Found, Error> {
    let mut found = Found { accounts, ..Found::default() };
    if !wanted.accounts.is_empty() {
        let rows: Vec<(Uuid, i64, Vec<u8>)> =
            by_keys!(tx, &wanted.accounts, "SELECT account_id, version, details FROM facts WHERE account_id", "")?;
        for (id, version, details) in rows {
            found.learn(id, codec::decode_facts(version, &details)?);
        }
    }
    if !wanted.requests.is_empty() {
        found.answers = operations(tx, &wanted.requests, now).await?;
    }
    if !wanted.purchases.is_empty() {
        found.purchases = purchases(tx, &wanted.purchases).await?;
    }
    if !wanted.reservations.is_empty() {
        found.ended = ended_reservations(tx, &wanted.reservations).await?;
    }
    Ok(found)
}
