//! What a simulation reads: the purchases of many members, each in the order in which they were recorded.

use std::collections::HashMap;

use kernel::{MemberId, ProgramId, Uuid};
use persistence::{Error, Tx, on_engine};

use super::bulk::by_keys;
use super::codec::StoredEntry;
use super::{codec, purchases};
use crate::domain::{AccountId, EntryKind, Facts, Purchase};

/// A member's facts and purchases.
pub(crate) struct Past {
    pub(crate) account: AccountId,
    pub(crate) member: MemberId,
    pub(crate) facts: Facts,
    pub(crate) purchases: Vec<Purchase>,
}

/// The next members of a program after an account, in key order, with all their purchases. `key` gives the key of a purchase by its id. The
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
    // Each purchase posts one in the main wallet.
    let awards: Vec<(Uuid, i64, Vec<u8>)> = by_keys!(
        tx,
        &ids,
        "SELECT account_id, kind, details FROM entries WHERE account_id",
        "AND kind = 1 AND wallet = 'points' ORDER BY account_id, version"
    )?;
    const { assert!(EntryKind::Award as i64 == 1, "the statement says so") };
    let known: Vec<(Uuid, i64, Vec<u8>)> = by_keys!(tx, &ids, "SELECT account_id, version, details FROM facts WHERE account_id", "")?;
    let mut facts: HashMap<Uuid, Facts> = HashMap::new();
    for (id, version, details) in known {
        facts.insert(id, codec::decode_facts(version, &details)?);
    }
    let mut keys: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (id, _, details) in awards {
        if let Some(purchase) = StoredEntry::read(&details)?.purchase() {
            keys.entry(id).or_default().push(key(purchase));
        }
    }
    let found = purchases(tx, &keys.values().flatten().copied().collect::<Vec<_>>()).await?;
    let past = |(id, member): (Uuid, MemberId)| {
        let own = keys.remove(&id)?;
        // What was bought under another's name is his.
        let is_his = |purchase: &&std::sync::Arc<Purchase>| purchase.member == Some(member);
        let purchases = own.iter().filter_map(|key| found.get(key)).filter(is_his).map(|purchase| (**purchase).clone()).collect();
        Some(Past { account: AccountId(id), member, facts: facts.remove(&id).unwrap_or_default(), purchases })
    };
    Ok(Some((last, owners.into_iter().filter_map(past).collect())))
}
