//! All that a batch adds to the ledger: on PostgreSQL in one statement, on SQLite, which has no round trips, in several.

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Connection, DbTime, Error, NewEvent, NumberedEvents, Tx, numbering_ctes};
use sqlx::PgConnection;

use super::codec::{self, StoredEntry};
use super::redemptions::insert_redemptions;
use super::{
    NewAnswer, NewRedemption, all_written, insert_entries, insert_operations, insert_purchases, write_accounts, write_reservation,
};
use crate::domain::{Account, AccountId, ClosedReservation, Entry, MAIN_WALLET, Purchase};

/// An account with what names it.
pub(crate) type OwnedAccount<'a> = (AccountId, ProgramId, MemberId, &'a Account);

/// What a batch adds. Keys are sorted, so that two processes never wait for each other in a circle.
pub(crate) struct Additions<'a> {
    /// In key order. They were locked, or are not there yet.
    pub(crate) accounts: Vec<OwnedAccount<'a>>,
    pub(crate) entries: &'a [(AccountId, Entry)],
    /// In key order.
    pub(crate) answers: &'a [NewAnswer],
    /// In key order.
    pub(crate) purchases: &'a [(Uuid, Option<AccountId>, Purchase)],
    /// Each once, in key order.
    pub(crate) reservations: Vec<(Uuid, AccountId, Option<ClosedReservation>)>,
    pub(crate) redemptions: &'a [NewRedemption],
    pub(crate) events: Vec<NewEvent>,
}

/// Writes it all. Nothing that follows in the transaction may wait for another: on PostgreSQL the heads of the feed are locked from
/// here on, see [`numbering_ctes!`]. `Conflict` when another process has meanwhile opened one of the accounts or
/// taken one of the keys: the batch is run again, and finds that.
pub(crate) async fn write_additions(tx: &mut Tx, additions: Additions<'_>) -> Result<(), Error> {
    match tx.connection() {
        Connection::Postgres(conn) => {
            write_at_once(conn, additions).await?;
            tx.mark_events_written();
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

/// Each part waits for the one before it, so that locks are taken in one order: accounts, keys of requests, of purchases, heads of the
/// feed. An account that another process has opened meanwhile shows in its entries: their versions are taken.
const WRITE: &str = concat!(
    "WITH accounts_written AS (
         INSERT INTO accounts (account_id, program, member, version, active, pending, reserved, deficit, next_due_at, state)
         SELECT * FROM unnest($8::UUID[], $9::TEXT[], $10::UUID[], $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[], $15::BIGINT[],
                              $16::TIMESTAMPTZ[], $17::BYTEA[])
         ON CONFLICT (account_id) DO UPDATE SET version = excluded.version, active = excluded.active, pending = excluded.pending,
             reserved = excluded.reserved, deficit = excluded.deficit, next_due_at = excluded.next_due_at, state = excluded.state
         RETURNING 1),
     operations_written AS (
         INSERT INTO operations (operation_id, fingerprint, kind, answer, recorded_at, forget_at)
         SELECT * FROM unnest($18::UUID[], $19::BYTEA[], $20::BIGINT[], $21::BYTEA[], $22::TIMESTAMPTZ[], $23::TIMESTAMPTZ[])
          WHERE (SELECT count(*) FROM accounts_written) >= 0
         ON CONFLICT (operation_id) DO UPDATE SET fingerprint = excluded.fingerprint, kind = excluded.kind, answer = excluded.answer,
             recorded_at = excluded.recorded_at, forget_at = excluded.forget_at
          WHERE operations.forget_at <= excluded.recorded_at
         RETURNING 1),
     purchases_written AS (
         INSERT INTO purchases (purchase_key, account_id, operation, net, remaining_net, due_points, returns, occurred_at, recorded_at, details)
         SELECT * FROM unnest($24::UUID[], $25::UUID[], $26::UUID[], $27::BIGINT[], $28::BIGINT[], $29::BIGINT[], $30::BIGINT[],
                              $31::TIMESTAMPTZ[], $32::TIMESTAMPTZ[], $33::BYTEA[])
          WHERE (SELECT count(*) FROM operations_written) >= 0
         ON CONFLICT (purchase_key) DO NOTHING
         RETURNING 1),
     entries_written AS (
         INSERT INTO entries (account_id, version, kind, wallet, points, active_after, pending_after, reserved_after, deficit_after, operation,
             occurred_at, effective_at, recorded_at, details)
         SELECT * FROM unnest($34::UUID[], $35::BIGINT[], $36::BIGINT[], $37::TEXT[], $38::BIGINT[], $39::BIGINT[], $40::BIGINT[],
                              $41::BIGINT[], $42::BIGINT[], $43::UUID[], $44::TIMESTAMPTZ[], $45::TIMESTAMPTZ[], $46::TIMESTAMPTZ[], $47::BYTEA[])
          WHERE (SELECT count(*) FROM purchases_written) >= 0
         ON CONFLICT (account_id, version) DO NOTHING
         RETURNING 1),
     reservations_written AS (
         INSERT INTO reservations (reservation_id, account_id, state)
         SELECT * FROM unnest($48::UUID[], $49::UUID[], $50::BIGINT[])
          WHERE (SELECT count(*) FROM entries_written) >= 0
         ON CONFLICT (reservation_id) DO UPDATE SET account_id = excluded.account_id, state = excluded.state
         RETURNING 1),
     redemptions_written AS (
         INSERT INTO redemptions (redemption, account_id, version, refunded)
         SELECT * FROM unnest($51::UUID[], $52::UUID[], $53::BIGINT[], $54::BIGINT[])
          WHERE (SELECT count(*) FROM reservations_written) >= 0
         RETURNING 1), ",
    numbering_ctes!("(SELECT count(*) FROM redemptions_written) >= 0"),
    " SELECT (SELECT count(*) FROM accounts_written), (SELECT count(*) FROM operations_written), (SELECT count(*) FROM purchases_written),
             (SELECT count(*) FROM entries_written)"
);

async fn write_at_once(conn: &mut PgConnection, additions: Additions<'_>) -> Result<(), Error> {
    let Additions { accounts, entries, answers, purchases, reservations, redemptions, events } = additions;
    let NumberedEvents { partitions, counts, partition, place, id, at, payload } = NumberedEvents::of(events);
    let mut query = sqlx::query_as(WRITE);
    query = query.bind(partitions).bind(counts).bind(partition).bind(place).bind(id).bind(at).bind(payload);

    let figures =
        |account: &Account| account.wallet(MAIN_WALLET).map_or([0; 4], |main| [main.active, main.pending, main.reserved, main.deficit]);
    query = query
        .bind(column(&accounts, |row| row.0.0))
        .bind(column(&accounts, |row| row.1.as_str()))
        .bind(column(&accounts, |row| row.2.0))
        .bind(column(&accounts, |row| row.3.version))
        .bind(column(&accounts, |row| figures(row.3)[0]))
        .bind(column(&accounts, |row| figures(row.3)[1]))
        .bind(column(&accounts, |row| figures(row.3)[2]))
        .bind(column(&accounts, |row| figures(row.3)[3]))
        .bind(column(&accounts, |row| row.3.next_due().map(DbTime)))
        .bind(column(&accounts, |row| codec::encode_state(row.3)));
    query = query
        .bind(column(answers, |row| row.operation))
        .bind(column(answers, |row| &row.stored.fingerprint[..]))
        .bind(column(answers, |row| row.stored.kind as i64))
        .bind(column(answers, |row| &row.stored.answer[..]))
        .bind(column(answers, |row| DbTime(row.recorded_at)))
        .bind(column(answers, |row| row.forget_at.map(DbTime)));
    query = query
        .bind(column(purchases, |row| row.0))
        .bind(column(purchases, |row| row.1.map(|account| account.0)))
        .bind(column(purchases, |row| row.2.operation))
        .bind(column(purchases, |row| row.2.input.net))
        .bind(column(purchases, |row| row.2.remaining_net))
        .bind(column(purchases, |row| row.2.due))
        .bind(column(purchases, |row| row.2.returns))
        .bind(column(purchases, |row| DbTime(row.2.occurred_at)))
        .bind(column(purchases, |row| DbTime(row.2.recorded_at)))
        .bind(column(purchases, |row| codec::encode_purchase(&row.2)));
    query = query
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
        .bind(column(entries, |row| prost::Message::encode_to_vec(&StoredEntry::of(&row.1))));
    query = query
        .bind(column(&reservations, |row| row.0))
        .bind(column(&reservations, |row| row.1.0))
        .bind(column(&reservations, |row| super::reservation_state(row.2)));
    query = query
        .bind(column(redemptions, |row| row.operation))
        .bind(column(redemptions, |row| row.account.0))
        .bind(column(redemptions, |row| row.version))
        .bind(column(redemptions, |row| row.refunded));

    let written: (i64, i64, i64, i64) = query.fetch_one(persistence::Traced(conn)).await?;
    let wanted = [accounts.len(), answers.len(), purchases.len(), entries.len()];
    let written = [written.0, written.1, written.2, written.3];
    written.into_iter().zip(wanted).try_for_each(|(written, wanted)| all_written(written.unsigned_abs(), wanted))
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
