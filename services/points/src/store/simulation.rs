//! What a simulation reads: the past of many members, each in the order in which it was recorded.

use std::collections::HashMap;

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Error, Tx, on_engine};

use super::bulk::by_keys;
use super::read::EntryRow;
use super::{codec, entry_from_row, purchases};
use crate::domain::{self, AccountId, Entry, EntryKind, Facts, Happened, PurchaseId, Source};

/// A member's facts and past.
pub(crate) struct Past {
    pub(crate) account: AccountId,
    pub(crate) member: MemberId,
    pub(crate) facts: Facts,
    pub(crate) happened: Vec<Happened>,
}

/// An entry with its account.
#[derive(sqlx::FromRow)]
struct PastRow {
    account_id: Uuid,
    #[sqlx(flatten)]
    entry: EntryRow,
}

/// The next members of a program after an account, in key order, with all that is played of their past. `key` gives the key of a purchase by its id. The
/// last account that was looked at comes along; `None` when there are no more.
pub(crate) async fn pasts(
    tx: &mut Tx,
    program: &ProgramId,
    after: Uuid,
    limit: i64,
    key: impl Fn(&str) -> Uuid,
) -> Result<Option<(Uuid, Vec<Past>)>, Error> {
    let accounts: Vec<(Uuid, String, Uuid)> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT account_id, program, member FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2"
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    let Some(last) = accounts.last().map(|row| row.0) else { return Ok(None) };
    let owners: Vec<(Uuid, MemberId)> =
        accounts.into_iter().filter(|row| row.1 == program.as_str()).map(|(id, _, member)| (id, MemberId(member))).collect();
    let ids: Vec<Uuid> = owners.iter().map(|owner| owner.0).collect();
    let rows: Vec<PastRow> = by_keys!(
        tx,
        &ids,
        "SELECT account_id, version, kind, wallet, points, active_after, pending_after, reserved_after, deficit_after, operation,
                occurred_at, effective_at, recorded_at, details
           FROM entries WHERE account_id",
        "AND kind IN (1, 2, 10, 11, 12, 13) ORDER BY account_id, version"
    )?;
    const { assert!(EntryKind::Award as i64 == 1 && EntryKind::Activate as i64 == 2 && EntryKind::Reward as i64 == 10) };
    const { assert!(EntryKind::RewardRevoked as i64 == 11 && EntryKind::Activity as i64 == 12 && EntryKind::Cancel as i64 == 13) };
    let known: Vec<(Uuid, i64, Vec<u8>)> = by_keys!(tx, &ids, "SELECT account_id, version, details FROM facts WHERE account_id", "")?;
    let mut facts: HashMap<Uuid, Facts> = HashMap::new();
    for (id, version, details) in known {
        facts.insert(id, codec::decode_facts(version, &details)?);
    }
    let mut entries: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    let mut keys = Vec::new();
    for PastRow { account_id, entry } in rows {
        let entry = entry_from_row(entry)?;
        if let (EntryKind::Award, Source::Purchase(id)) = (entry.kind, &entry.source) {
            keys.push(key(&id.0));
        }
        entries.entry(account_id).or_default().push(entry);
    }
    let found = purchases(tx, &keys).await?;
    let past = |(id, member): (Uuid, MemberId)| {
        let bought = |purchase: &PurchaseId| found.get(&key(&purchase.0)).map(|purchase| (**purchase).clone());
        let happened = domain::past(entries.remove(&id)?, bought);
        Some(Past { account: AccountId(id), member, facts: facts.remove(&id).unwrap_or_default(), happened })
    };
    Ok(Some((last, owners.into_iter().filter_map(past).collect())))
}
