//! The ledger's SQL. Reads by lists of keys and writes of many rows, because a batch is one transaction.

mod bulk;
mod checks;
mod codec;
mod counters;
mod holds;
mod occasions;
mod offline_uses;
mod programs;
mod read;
mod read_batch;
mod redemptions;
mod rewards;
mod seals;
mod simulation;
mod vouchers;
mod write_batch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Connection, DbTime, Engine, Error, Traced, Tx, on_engine};

use crate::domain::{Account, AccountId, ClosedReservation, Entry, Facts, MAIN_WALLET, Purchase, RewardState};
use bulk::{by_keys, insert_rows};
use codec::StoredEntry;

pub(crate) use checks::{PurchaseRow, purchase_rows, redemption_rows, returns, reward_rows, stray_redemptions};
pub(crate) use counters::{Counter, insert_counters, lock_counters, read_counters, tallies, write_counters};
pub(crate) use holds::{holds, lock_holds, write_holds};
pub(crate) use occasions::{members_after, move_sweep, sweep};
pub(crate) use offline_uses::{
    NewOfflineUse, insert_offline_uses, losses_of, offline_losses, offline_uses, offline_uses_by_key, void_loss,
};
pub(crate) use programs::{
    NewVersion, VersionRow, insert_version, program_version_heads, program_versions, retire_version, schedule_version, terms_of_version,
};
pub(crate) use read::{
    AccountRow, EntryRow, Sums, accounts_page, due_accounts, due_in_program, entries_before, entries_from, entry_from_row, forget_refusals,
    lock_facts, orphans, outstanding, purchase, read_account, read_operation, sums_as_of, write_facts,
};
pub(crate) use read_batch::{Found, Wanted, find, find_beside, find_unlocked};
pub(crate) use redemptions::{
    NewActivity, NewRedemption, activities, free_proofs, insert_activities, redemption_owner, redemptions, write_refunded,
};
pub(crate) use rewards::{
    RewardRow, adjust_stock, catalogue_by_cost, catalogue_by_id, catalogue_row, insert_reward, lock_catalogue, miscounted_rewards,
    retire_reward, write_taken,
};
pub(crate) use seals::{
    NewSeal, SealCount, SealRow, SealState, insert_seals, lock_seal_count, seal_count, seal_states, seals, write_seal_count,
};
pub(crate) use simulation::{Past, pasts};
pub(crate) use vouchers::{
    Named, NewVoucher, insert_vouchers, lock_vouchers, lock_wishes, stray_vouchers, taken_by, update_vouchers, voucher, voucher_by_code,
    vouchers_of, write_wish,
};
pub(crate) use write_batch::{Additions, write_additions};

/// An account and what is known of its member, as a batch holds it.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) account: Account,
    pub(crate) facts: Facts,
}

/// A remembered answer.
pub(crate) struct StoredAnswer {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) kind: AnswerKind,
    pub(crate) answer: Vec<u8>,
}

impl StoredAnswer {
    fn read(fingerprint: Vec<u8>, kind: i64, answer: Vec<u8>) -> Result<Arc<StoredAnswer>, Error> {
        Ok(Arc::new(StoredAnswer { fingerprint, kind: AnswerKind::read(kind)?, answer: codec::unpack(answer)? }))
    }
}

/// What a remembered answer is. The numbers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnswerKind {
    /// An `Operation`; that of EnsureReward carries its own answer too.
    Operation = 1,
    /// A refusal.
    Refusal = 2,
    /// The answer of an RPC that moves no points by itself.
    Other = 3,
}

impl AnswerKind {
    fn read(number: i64) -> Result<AnswerKind, Error> {
        match number {
            1 => Ok(AnswerKind::Operation),
            2 => Ok(AnswerKind::Refusal),
            3 => Ok(AnswerKind::Other),
            _ => Err(Error::Corrupt("kind of a remembered answer".to_owned())),
        }
    }
}

/// A remembered answer to be written.
pub(crate) struct NewAnswer {
    pub(crate) operation: Uuid,
    pub(crate) stored: Arc<StoredAnswer>,
    pub(crate) recorded_at: Timestamp,
    pub(crate) forget_at: Option<Timestamp>,
}

/// A purchase to be written: its key, whose it is, and what it is.
pub(crate) type NewPurchase = (Uuid, Option<AccountId>, Arc<Purchase>);

/// A return to be written.
pub(crate) struct NewReturn {
    pub(crate) purchase_key: Uuid,
    pub(crate) number: i64,
    pub(crate) operation: Uuid,
    pub(crate) returned_net: i64,
    pub(crate) due_delta: i64,
    pub(crate) occurred_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    /// The encoded request.
    pub(crate) details: Vec<u8>,
}

/// A row of `operations`: id, fingerprint, kind, answer, when it is forgotten.
type AnswerRow = (Uuid, Vec<u8>, i64, Vec<u8>, Option<DbTime>);

/// A row of `accounts` with the member's facts: id, version, state, version and details of the facts.
type AccountState = (Uuid, i64, Vec<u8>, Option<i64>, Option<Vec<u8>>);

/// Locks accounts in key order and reads them. One that is not there yet is empty; should another process open it meanwhile, writing
/// it fails with `Conflict`. What is known of the members is left to [`find`].
///
/// Locking and reading are one statement here because `FOR UPDATE` itself returns the newest version of a row it waited for.
pub(crate) async fn lock_accounts(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<AccountId, Held>, Error> {
    // SQLite's one writer holds everything already.
    let rows: Vec<(Uuid, i64, Vec<u8>)> = match tx.engine() {
        Engine::Postgres => {
            by_keys!(tx, keys, "SELECT account_id, version, state FROM accounts WHERE account_id", "ORDER BY account_id FOR UPDATE")?
        }
        Engine::Sqlite => by_keys!(tx, keys, "SELECT account_id, version, state FROM accounts WHERE account_id", "")?,
    };
    let empty = |id: &Uuid| (AccountId(*id), Held::default());
    let mut accounts: HashMap<AccountId, Held> = keys.iter().map(empty).collect();
    for (id, version, state) in rows {
        accounts.insert(AccountId(id), Held { account: codec::decode_account(version, &state)?, facts: Facts::default() });
    }
    Ok(accounts)
}

/// Remembered answers by operation.
pub(crate) async fn operations(tx: &mut Tx, keys: &[Uuid], now: Timestamp) -> Result<HashMap<Uuid, Arc<StoredAnswer>>, Error> {
    let rows: Vec<AnswerRow> =
        by_keys!(tx, keys, "SELECT operation_id, fingerprint, kind, answer, forget_at FROM operations WHERE operation_id", "")?;
    let live = rows.into_iter().filter(|row| row.4.is_none_or(|at| at.0 > now));
    live.map(|(id, fingerprint, kind, answer, _)| Ok((id, StoredAnswer::read(fingerprint, kind, answer)?))).collect()
}

/// Purchases by key.
pub(crate) async fn purchases(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, Arc<Purchase>>, Error> {
    let rows: Vec<(Uuid, Vec<u8>)> = by_keys!(tx, keys, "SELECT purchase_key, details FROM purchases WHERE purchase_key", "")?;
    rows.into_iter().map(|(key, details)| Ok((key, Arc::new(codec::decode_purchase(&details)?)))).collect()
}

/// A table of keys that guard against doing something twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Guard {
    Account,
    Operation,
    Reservation,
    Activity,
}

/// Which of these keys there are.
pub(crate) async fn existing_keys(tx: &mut Tx, guard: Guard, keys: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    let rows: Vec<(Uuid,)> = match guard {
        Guard::Account => by_keys!(tx, keys, "SELECT account_id FROM accounts WHERE account_id", ""),
        Guard::Operation => by_keys!(tx, keys, "SELECT operation_id FROM operations WHERE operation_id", ""),
        Guard::Reservation => by_keys!(tx, keys, "SELECT reservation_id FROM reservations WHERE reservation_id", ""),
        Guard::Activity => by_keys!(tx, keys, "SELECT activity_key FROM activities WHERE activity_key", ""),
    }?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Locks purchases in key order: those of strangers have no account that would order their returns.
pub(crate) async fn lock_purchases(tx: &mut Tx, keys: &[Uuid]) -> Result<(), Error> {
    if tx.engine() == Engine::Postgres {
        let _locked: Vec<(Uuid,)> =
            by_keys!(tx, keys, "SELECT purchase_key FROM purchases WHERE purchase_key", "ORDER BY purchase_key FOR UPDATE")?;
    }
    Ok(())
}

/// How reservations that are no longer open in their account ended.
pub(crate) async fn ended_reservations(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, (AccountId, ClosedReservation)>, Error> {
    let rows: Vec<(Uuid, Uuid, i64)> =
        by_keys!(tx, keys, "SELECT reservation_id, account_id, state FROM reservations WHERE reservation_id", "")?;
    rows.into_iter().map(|(id, account, state)| Ok((id, (AccountId(account), reservation_end(state)?)))).collect()
}

/// How a reservation ended that is no longer open in its account.
fn reservation_end(state: i64) -> Result<ClosedReservation, Error> {
    match state {
        // Still open here and gone from the account: it ended by time.
        1 => Ok(ClosedReservation::Expired),
        2 => Ok(ClosedReservation::Captured),
        3 => Ok(ClosedReservation::Released),
        _ => Err(Error::Corrupt("state of a reservation".to_owned())),
    }
}

/// Rewards by key, each with the account that it belongs to.
pub(crate) async fn rewards(tx: &mut Tx, keys: &[Uuid]) -> Result<HashMap<Uuid, (AccountId, RewardState)>, Error> {
    let rows: Vec<(Uuid, Uuid, i64, i64, Vec<u8>)> =
        by_keys!(tx, keys, "SELECT reward_key, account_id, version, granted, lot FROM rewards WHERE reward_key", "")?;
    let state = |(key, account, version, granted, lot): (Uuid, Uuid, i64, i64, Vec<u8>)| {
        Ok((key, (AccountId(account), codec::decode_reward(version, granted, &lot)?)))
    };
    rows.into_iter().map(state).collect()
}

/// Writes accounts back that this transaction has locked.
pub(crate) async fn write_accounts(tx: &mut Tx, accounts: &[(AccountId, ProgramId, MemberId, &Account)]) -> Result<(), Error> {
    insert_rows!(
        tx,
        accounts,
        "accounts (account_id, program, member, version, active, pending, reserved, deficit, next_due_at, state)",
        "ON CONFLICT (account_id) DO UPDATE SET version = excluded.version, active = excluded.active, pending = excluded.pending,
         reserved = excluded.reserved, deficit = excluded.deficit, next_due_at = excluded.next_due_at, state = excluded.state",
        |values, row| {
            let (id, program, member, account) = row;
            let (active, pending, reserved, deficit) =
                account.wallet(MAIN_WALLET).map_or((0, 0, 0, 0), |main| (main.active, main.pending, main.reserved, main.deficit));
            values
                .push_bind(id.0)
                .push_bind(program.as_str())
                .push_bind(member.0)
                .push_bind(account.version)
                .push_bind(active)
                .push_bind(pending)
                .push_bind(reserved)
                .push_bind(deficit)
                .push_bind(account.next_due().map(DbTime))
                .push_bind(codec::encode_state(account));
        }
    );
    Ok(())
}

/// Appends entries.
pub(crate) async fn insert_entries(tx: &mut Tx, entries: &[(AccountId, Entry)]) -> Result<(), Error> {
    insert_rows!(
        tx,
        entries,
        "entries (account_id, version, kind, wallet, points, active_after, pending_after, reserved_after, deficit_after, operation,
         occurred_at, effective_at, recorded_at, details)",
        "",
        |values, row| {
            let (account, entry) = row;
            values
                .push_bind(account.0)
                .push_bind(entry.version)
                .push_bind(entry.kind as i64)
                .push_bind(&*entry.wallet)
                .push_bind(entry.points)
                .push_bind(entry.active_after)
                .push_bind(entry.pending_after)
                .push_bind(entry.reserved_after)
                .push_bind(entry.deficit_after)
                .push_bind(entry.stamp.operation)
                .push_bind(DbTime(entry.stamp.occurred_at))
                .push_bind(DbTime(entry.effective_at))
                .push_bind(DbTime(entry.recorded_at))
                .push_bind(prost::Message::encode_to_vec(&StoredEntry::of(entry)));
        }
    );
    Ok(())
}

/// Remembers answers. When another process has remembered one of them meanwhile the batch is run again, and finds it.
pub(crate) async fn insert_operations(tx: &mut Tx, answers: &[NewAnswer]) -> Result<(), Error> {
    let written = insert_rows!(
        tx,
        answers,
        "operations (operation_id, fingerprint, kind, answer, recorded_at, forget_at)",
        // A refusal that was due to be forgotten makes room.
        "ON CONFLICT (operation_id) DO UPDATE SET fingerprint = excluded.fingerprint, kind = excluded.kind, answer = excluded.answer,
         recorded_at = excluded.recorded_at, forget_at = excluded.forget_at WHERE operations.forget_at <= excluded.recorded_at",
        |values, row| values
            .push_bind(row.operation)
            .push_bind(&row.stored.fingerprint)
            .push_bind(row.stored.kind as i64)
            .push_bind(codec::pack(&row.stored.answer))
            .push_bind(DbTime(row.recorded_at))
            .push_bind(row.forget_at.map(DbTime))
    );
    all_written(written, answers.len())
}

/// Makes room on PostgreSQL for answers where refusals are due to be forgotten; in SQLite [`insert_operations`] does it.
pub(crate) async fn forget(tx: &mut Tx, keys: &[Uuid], now: Timestamp) -> Result<(), Error> {
    if let (Connection::Postgres(conn), false) = (tx.connection(), keys.is_empty()) {
        let sql = "DELETE FROM operations WHERE operation_id = ANY($1) AND forget_at <= $2";
        sqlx::query(sql).bind(keys).bind(DbTime(now)).execute(Traced(conn)).await?;
    }
    Ok(())
}

/// Records purchases. One that another process has recorded meanwhile makes the batch run again, and is found then.
pub(crate) async fn insert_purchases(tx: &mut Tx, purchases: &[NewPurchase]) -> Result<(), Error> {
    let written = insert_rows!(
        tx,
        purchases,
        "purchases (purchase_key, account_id, operation, net, remaining_net, due_points, returns, occurred_at, recorded_at, details)",
        "ON CONFLICT (purchase_key) DO NOTHING",
        |values, row| {
            let (key, account, purchase) = row;
            values
                .push_bind(*key)
                .push_bind(account.map(|account| account.0))
                .push_bind(purchase.operation)
                .push_bind(purchase.input.net)
                .push_bind(purchase.remaining_net)
                .push_bind(purchase.due)
                .push_bind(purchase.returns)
                .push_bind(DbTime(purchase.occurred_at))
                .push_bind(DbTime(purchase.recorded_at))
                .push_bind(codec::encode_purchase(purchase));
        }
    );
    all_written(written, purchases.len())
}

/// Writes a purchase back after a return. Its row was locked, or its account was.
pub(crate) async fn update_purchase(tx: &mut Tx, key: Uuid, purchase: &Purchase) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE purchases SET remaining_net = $1, due_points = $2, returns = $3, details = $4 WHERE purchase_key = $5 AND returns < $3",
    )
    .bind(purchase.remaining_net)
    .bind(purchase.due)
    .bind(purchase.returns)
    .bind(codec::encode_purchase(purchase))
    .bind(key)
    .execute(conn)
    .await?
    .rows_affected());
    all_written(written, 1)
}

/// Records a return.
pub(crate) async fn insert_return(tx: &mut Tx, new: &NewReturn) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO purchase_returns (purchase_key, number, operation, returned_net, due_points_delta, occurred_at, recorded_at, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.purchase_key)
    .bind(new.number)
    .bind(new.operation)
    .bind(new.returned_net)
    .bind(new.due_delta)
    .bind(DbTime(new.occurred_at))
    .bind(DbTime(new.recorded_at))
    .bind(&new.details)
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// How a reservation stands, as it is stored: `None` for open.
fn reservation_state(ended: Option<ClosedReservation>) -> i64 {
    match ended {
        None | Some(ClosedReservation::Expired) => 1,
        Some(ClosedReservation::Captured) => 2,
        Some(ClosedReservation::Released) => 3,
    }
}

/// Notes how a reservation stands: `None` for open.
pub(crate) async fn write_reservation(tx: &mut Tx, id: Uuid, account: AccountId, ended: Option<ClosedReservation>) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO reservations (reservation_id, account_id, state) VALUES ($1, $2, $3)
         ON CONFLICT (reservation_id) DO UPDATE SET account_id = excluded.account_id, state = excluded.state",
    )
    .bind(id)
    .bind(account.0)
    .bind(reservation_state(ended))
    .execute(conn)
    .await?
    .rows_affected());
    Ok(())
}

/// Writes a reward of another service as it stands. When another process has given it to another member meanwhile the batch is run
/// again, and finds that.
pub(crate) async fn write_reward(tx: &mut Tx, key: Uuid, account: AccountId, state: &RewardState) -> Result<(), Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO rewards (reward_key, account_id, version, granted, lot) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (reward_key) DO UPDATE SET version = excluded.version, granted = excluded.granted, lot = excluded.lot
          WHERE rewards.account_id = excluded.account_id",
    )
    .bind(key)
    .bind(account.0)
    .bind(state.version)
    .bind(state.granted)
    .bind(codec::encode_reward_lot(state))
    .execute(conn)
    .await?
    .rows_affected());
    all_written(written, 1)
}

fn all_written(written: u64, wanted: usize) -> Result<(), Error> {
    if written == wanted as u64 { Ok(()) } else { Err(Error::Conflict) }
}
