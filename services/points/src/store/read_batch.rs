//! What a batch looks up once its accounts are locked: on PostgreSQL in one statement, behind the lock and so fresh.

use std::collections::HashMap;

use kernel::{Timestamp, Uuid};
use persistence::{Connection, DbTime, Error, Traced, Tx};

use super::bulk::by_keys;
use super::{AnswerKind, StoredAnswer, codec, ended_reservations, operations, purchases, reservation_end};
use crate::domain::{AccountId, ClosedReservation, Facts, Purchase};

/// Keys to look up, each list sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Members whose facts are wanted, by account.
    pub(crate) accounts: Vec<Uuid>,
    pub(crate) requests: Vec<Uuid>,
    pub(crate) purchases: Vec<Uuid>,
    pub(crate) reservations: Vec<Uuid>,
}

/// What is there of it.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) facts: HashMap<AccountId, Facts>,
    /// Answers to these requests, and the first answers about these purchases.
    pub(crate) answers: HashMap<Uuid, StoredAnswer>,
    pub(crate) purchases: HashMap<Uuid, Purchase>,
    /// How reservations that are no longer open in their account ended.
    pub(crate) ended: HashMap<Uuid, (AccountId, ClosedReservation)>,
}

/// A row of any of the tables: what it is, its key and a number, and what else it has.
type Row = (i64, Uuid, i64, Option<DbTime>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Uuid>);

const ANSWER: i64 = 1;
const PURCHASE: i64 = 2;
const FACTS: i64 = 3;
const RESERVATION: i64 = 4;

/// LATERAL with LIMIT, since a plan that was made while the tables were small would otherwise read all of `operations` for ever.
const FIND: &str = "
    SELECT 1::BIGINT, operation_id, kind, forget_at, fingerprint, answer, NULL::UUID FROM operations WHERE operation_id = ANY($1)
     UNION ALL
    SELECT 1, first.operation_id, first.kind, first.forget_at, first.fingerprint, first.answer, NULL
      FROM purchases CROSS JOIN LATERAL (SELECT * FROM operations WHERE operation_id = purchases.operation LIMIT 1) AS first
     WHERE purchase_key = ANY($2)
     UNION ALL
    SELECT 2, purchase_key, 0, NULL, details, NULL, NULL FROM purchases WHERE purchase_key = ANY($2)
     UNION ALL
    SELECT 3, account_id, version, NULL, details, NULL, NULL FROM facts WHERE account_id = ANY($3)
     UNION ALL
    SELECT 4, reservation_id, state, NULL, NULL, NULL, account_id FROM reservations WHERE reservation_id = ANY($4)";

/// Looks up what a batch needs.
pub(crate) async fn find(tx: &mut Tx, wanted: &Wanted, now: Timestamp) -> Result<Found, Error> {
    let Connection::Postgres(conn) = tx.connection() else { return find_in_steps(tx, wanted, now).await };
    let query = sqlx::query_as(FIND).bind(&wanted.requests).bind(&wanted.purchases).bind(&wanted.accounts).bind(&wanted.reservations);
    let rows: Vec<Row> = query.fetch_all(Traced(conn)).await?;
    let mut found = Found::default();
    for (what, id, number, forget_at, first, second, other) in rows {
        let first = first.unwrap_or_default();
        match what {
            ANSWER if forget_at.is_none_or(|at| at.0 > now) => {
                let stored = StoredAnswer { fingerprint: first, kind: AnswerKind::read(number)?, answer: second.unwrap_or_default() };
                found.answers.insert(id, stored);
            }
            PURCHASE => _ = found.purchases.insert(id, codec::decode_purchase(&first)?),
            FACTS => _ = found.facts.insert(AccountId(id), codec::decode_facts(number, &first)?),
            RESERVATION => _ = found.ended.insert(id, (AccountId(other.unwrap_or_default()), reservation_end(number)?)),
            _ => {}
        }
    }
    Ok(found)
}

async fn find_in_steps(tx: &mut Tx, wanted: &Wanted, now: Timestamp) -> Result<Found, Error> {
    let mut found = Found::default();
    if !wanted.accounts.is_empty() {
        let rows: Vec<(Uuid, i64, Vec<u8>)> =
            by_keys!(tx, &wanted.accounts, "SELECT account_id, version, details FROM facts WHERE account_id", "")?;
        for (id, version, details) in rows {
            found.facts.insert(AccountId(id), codec::decode_facts(version, &details)?);
        }
    }
    if !wanted.requests.is_empty() {
        found.answers = operations(tx, &wanted.requests, now).await?;
    }
    if !wanted.purchases.is_empty() {
        found.purchases = purchases(tx, &wanted.purchases).await?;
    }
    let first: Vec<Uuid> =
        found.purchases.values().map(|purchase| purchase.operation).filter(|id| !found.answers.contains_key(id)).collect();
    if !first.is_empty() {
        found.answers.extend(operations(tx, &first, now).await?);
    }
    if !wanted.reservations.is_empty() {
        found.ended = ended_reservations(tx, &wanted.reservations).await?;
    }
    Ok(found)
}
