//! All that a batch adds to the ledger: on PostgreSQL in one statement, on SQLite, which has no round trips, in several.

use std::sync::{Arc, LazyLock};

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Connection, DbTime, Error, NewEvent, NumberedEvents, Tx, numbering_ctes};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use super::codec::{self, StoredEntry};
use super::redemptions::insert_redemptions;
use super::{
    NewAnswer, NewPurchase, NewRedemption, insert_entries, insert_operations, insert_purchases, write_accounts, write_reservation,
};
use crate::domain::{Account, AccountId, ClosedReservation, Entry, MAIN_WALLET};

/// An account with what names it.
pub(crate) type OwnedAccount<'a> = (AccountId, ProgramId, MemberId, &'a Account);

/// What a batch adds. Keys are sorted, so that two processes never wait for each other in a circle.
#[derive(Default)]
pub(crate) struct Additions<'a> {
    /// In key order. Each has new entries.
    pub(crate) accounts: Vec<OwnedAccount<'a>>,
    pub(crate) entries: &'a [(AccountId, Entry)],
    /// In key order.
    pub(crate) answers: &'a [NewAnswer],
    /// In key order.
    pub(crate) purchases: &'a [NewPurchase],
    /// Each once, in key order.
    pub(crate) reservations: Vec<(Uuid, AccountId, Option<ClosedReservation>)>,
    pub(crate) redemptions: &'a [NewRedemption],
    pub(crate) events: Vec<NewEvent>,
}

impl Additions<'_> {
    fn is_empty(&self) -> bool {
        let Additions { accounts, entries, answers, purchases, reservations, redemptions, events } = self;
        let rows = [accounts.len(), entries.len(), answers.len(), purchases.len(), reservations.len(), redemptions.len(), events.len()];
        rows == [0; 7]
    }
}

/// Writes it all. Nothing that follows in the transaction may wait for another: on PostgreSQL the heads of the feed are locked from
/// here on, see [`numbering_ctes`]. `Conflict` when another process has meanwhile changed one of the accounts or
/// taken one of the keys: the batch is run again, and finds that.
pub(crate) async fn write_additions(tx: &mut Tx, additions: Additions<'_>) -> Result<(), Error> {
    if additions.is_empty() {
        return Ok(());
    }
    let has_entries = |id: AccountId| additions.entries.iter().any(|(account, _)| *account == id);
    debug_assert!(additions.accounts.iter().all(|(id, ..)| has_entries(*id)), "what guards an account is the version of its next entry");
    match tx.connection() {
        Connection::Postgres(conn) => {
            let tells = !additions.events.is_empty();
            write_at_once(conn, additions).await.map_err(|error| match Error::from(error) {
                Error::Unique { .. } => Error::Conflict,
                error => error,
            })?;
            if tells {
                tx.mark_events_written();
            }
            Ok(())
        }
        Connection::Sqlite(_) => {
            let Additions { accounts, entries, answers, purchases, reservations, redemptions, events } = additions;
            write_accounts(tx, &accounts).await?;
            insert_operations(tx, answers).await?;
            insert_purchases(tx, purchases).await?;
            insert_entries(tx, entries).await?;
            for (id, account, ended) in reservations {
                write_reservation(tx, id, account, ended).await?;
            }
            insert_redemptions(tx, redemptions).await?;
            tx.append_events(events).await
        }
    }
}

/// A table that a batch adds rows to.
struct Part {
    table: &'static str,
    /// Columns with their types.
    columns: &'static str,
    conflict: &'static str,
}

/// Each part waits for the one before it, so that locks are taken in one order: accounts, keys of requests, of purchases, heads of the
/// feed. An account that another process has changed meanwhile shows in its entries: their versions are taken. No other table is searched
/// for a key before it is inserted, which would cost an index search and a record of the log for each row: a key that is taken fails it all.
const PARTS: [Part; 6] = [
    Part {
        table: "accounts",
        columns: "account_id UUID, program TEXT, member UUID, version BIGINT, active BIGINT, pending BIGINT, reserved BIGINT,
                  deficit BIGINT, next_due_at TIMESTAMPTZ, state BYTEA",
        conflict: "ON CONFLICT (account_id) DO UPDATE SET version = excluded.version, active = excluded.active, pending = excluded.pending,
                   reserved = excluded.reserved, deficit = excluded.deficit, next_due_at = excluded.next_due_at, state = excluded.state",
    },
    Part {
        table: "operations",
        columns: "operation_id UUID, fingerprint BYTEA, kind BIGINT, answer BYTEA, recorded_at TIMESTAMPTZ, forget_at TIMESTAMPTZ",
        conflict: "",
    },
    Part {
        table: "purchases",
        columns: "purchase_key UUID, account_id UUID, operation UUID, net BIGINT, remaining_net BIGINT, due_points BIGINT, returns BIGINT,
                  occurred_at TIMESTAMPTZ, recorded_at TIMESTAMPTZ, details BYTEA",
        conflict: "",
    },
    Part {
        table: "entries",
        columns: "account_id UUID, version BIGINT, kind BIGINT, wallet TEXT, points BIGINT, active_after BIGINT, pending_after BIGINT,
                  reserved_after BIGINT, deficit_after BIGINT, operation UUID, occurred_at TIMESTAMPTZ, effective_at TIMESTAMPTZ,
                  recorded_at TIMESTAMPTZ, details BYTEA",
        conflict: "",
    },
    Part {
        table: "reservations",
        columns: "reservation_id UUID, account_id UUID, state BIGINT",
        conflict: "ON CONFLICT (reservation_id) DO UPDATE SET account_id = excluded.account_id, state = excluded.state",
    },
    Part { table: "redemptions", columns: "redemption UUID, account_id UUID, version BIGINT, refunded BIGINT", conflict: "" },
];

/// The statement for each set of parts: bit 0 for the first. What begins a statement is paid for by every part of it, also by an empty one.
static WRITES: LazyLock<[Arc<str>; 1 << PARTS.len()]> = LazyLock::new(|| std::array::from_fn(|parts| statement(parts).into()));

fn statement(parts: usize) -> String {
    let (mut sql, mut fence, mut parameter) = ("WITH ".to_owned(), "TRUE".to_owned(), 7);
    for (_, Part { table, columns, conflict }) in PARTS.iter().enumerate().filter(|(bit, _)| parts & 1 << bit != 0) {
        let (names, values): (Vec<&str>, Vec<String>) = columns
            .split(',')
            .filter_map(|column| column.trim().split_once(' '))
            .map(|(name, kind)| {
                parameter += 1;
                (name, format!("unnest(${parameter}::{kind}[])"))
            })
            .unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        sql += &format!("{table}_written AS (INSERT INTO {table} ({names}) SELECT {values} WHERE {fence} {conflict} RETURNING 1), ");
        fence = format!("(SELECT count(*) FROM {table}_written) >= 0");
    }
    sql + &numbering_ctes(&fence) + " SELECT 1"
}

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

async fn write_at_once(conn: &mut PgConnection, additions: Additions<'_>) -> Result<(), sqlx::Error> {
    let Additions { accounts, entries, answers, purchases, reservations, redemptions, events } = additions;
    let rows = [accounts.len(), answers.len(), purchases.len(), entries.len(), reservations.len(), redemptions.len()];
    let parts = rows.iter().enumerate().filter(|(_, rows)| **rows > 0).map(|(bit, _)| 1 << bit).sum::<usize>();
    let NumberedEvents { partitions, counts, partition, place, id, at, payload } = NumberedEvents::of(events);
    let mut query = sqlx::query(AssertSqlSafe(WRITES[parts].clone()));
    query = query.bind(partitions).bind(counts).bind(partition).bind(place).bind(id).bind(at).bind(payload);
    if !accounts.is_empty() {
        query = bind_accounts(query, &accounts);
    }
    if !answers.is_empty() {
        query = bind_answers(query, answers);
    }
    if !purchases.is_empty() {
        query = bind_purchases(query, purchases);
    }
    if !entries.is_empty() {
        query = bind_entries(query, entries);
    }
    if !reservations.is_empty() {
        query = query
            .bind(column(&reservations, |row| row.0))
            .bind(column(&reservations, |row| row.1.0))
            .bind(column(&reservations, |row| super::reservation_state(row.2)));
    }
    if !redemptions.is_empty() {
        query = query
            .bind(column(redemptions, |row| row.operation))
            .bind(column(redemptions, |row| row.account.0))
            .bind(column(redemptions, |row| row.version))
            .bind(column(redemptions, |row| row.refunded));
    }
    // To its end, which is the commit where statements stand for themselves.
    query.execute(persistence::Traced(conn)).await?;
    Ok(())
}

fn bind_accounts<'q>(query: PgQuery<'q>, accounts: &'q [OwnedAccount<'_>]) -> PgQuery<'q> {
    let figures =
        |account: &Account| account.wallet(MAIN_WALLET).map_or([0; 4], |main| [main.active, main.pending, main.reserved, main.deficit]);
    query
        .bind(column(accounts, |row| row.0.0))
        .bind(column(accounts, |row| row.1.as_str()))
        .bind(column(accounts, |row| row.2.0))
        .bind(column(accounts, |row| row.3.version))
        .bind(column(accounts, |row| figures(row.3)[0]))
        .bind(column(accounts, |row| figures(row.3)[1]))
        .bind(column(accounts, |row| figures(row.3)[2]))
        .bind(column(accounts, |row| figures(row.3)[3]))
        .bind(column(accounts, |row| row.3.next_due().map(DbTime)))
        .bind(column(accounts, |row| codec::encode_state(row.3)))
}

fn bind_answers<'q>(query: PgQuery<'q>, answers: &'q [NewAnswer]) -> PgQuery<'q> {
    query
        .bind(column(answers, |row| row.operation))
        .bind(column(answers, |row| &row.stored.fingerprint[..]))
        .bind(column(answers, |row| row.stored.kind as i64))
        .bind(column(answers, |row| codec::pack(&row.stored.answer)))
        .bind(column(answers, |row| DbTime(row.recorded_at)))
        .bind(column(answers, |row| row.forget_at.map(DbTime)))
}

fn bind_purchases<'q>(query: PgQuery<'q>, purchases: &'q [NewPurchase]) -> PgQuery<'q> {
    query
        .bind(column(purchases, |row| row.0))
        .bind(column(purchases, |row| row.1.map(|account| account.0)))
        .bind(column(purchases, |row| row.2.operation))
        .bind(column(purchases, |row| row.2.input.net))
        .bind(column(purchases, |row| row.2.remaining_net))
        .bind(column(purchases, |row| row.2.due))
        .bind(column(purchases, |row| row.2.returns))
        .bind(column(purchases, |row| DbTime(row.2.occurred_at)))
        .bind(column(purchases, |row| DbTime(row.2.recorded_at)))
        .bind(column(purchases, |row| codec::encode_purchase(&row.2)))
}

fn bind_entries<'q>(query: PgQuery<'q>, entries: &'q [(AccountId, Entry)]) -> PgQuery<'q> {
    query
        .bind(column(entries, |row| row.0.0))
        .bind(column(entries, |row| row.1.version))
        .bind(column(entries, |row| row.1.kind as i64))
        .bind(column(entries, |row| &*row.1.wallet))
        .bind(column(entries, |row| row.1.points))
        .bind(column(entries, |row| row.1.active_after))
        .bind(column(entries, |row| row.1.pending_after))
        .bind(column(entries, |row| row.1.reserved_after))
        .bind(column(entries, |row| row.1.deficit_after))
        .bind(column(entries, |row| row.1.stamp.operation))
        .bind(column(entries, |row| DbTime(row.1.stamp.occurred_at)))
        .bind(column(entries, |row| DbTime(row.1.effective_at)))
        .bind(column(entries, |row| DbTime(row.1.recorded_at)))
        .bind(column(entries, |row| prost::Message::encode_to_vec(&StoredEntry::of(&row.1))))
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
