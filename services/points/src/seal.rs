//! Seals the books: a keyed hash over what stands in an account, chained to the one before. Sealing follows behind the commits, since a
//! hash in the write path would make every entry wait for the one before it. `verify` computes the chain anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::{Timestamp, Uuid};
use persistence::{Database, Error, Keyring, Purpose, Tx};
use rpc::Host;

use crate::domain::AccountId;
use crate::store::{self, EntryRow, NewSeal, SealCount, SealRow, SealState};

/// How often it goes on, and how many accounts it looks at then: a million in four hours.
const PAUSE: Duration = Duration::from_secs(1);
const ACCOUNTS: i64 = 64;
/// Entries in one seal, at most.
const ENTRIES_MAX: i64 = 1000;
/// Only entries that are older are sealed, and an account again after so long: a busy one does not get a seal for each entry.
const AGE_MIN: Duration = Duration::from_secs(3600);

/// Goes round all accounts for ever, a few at a time. Several processes may: of two seals after the same entry one is kept.
pub(crate) fn start(host: &Host, database: &Database) {
    let place = Arc::new(Mutex::new(Uuid::nil()));
    let (database, keyring, context) = (database.clone(), host.keyring().clone(), host.context().clone());
    host.every("seal", PAUSE, move || {
        let (database, keyring, place, now) = (database.clone(), keyring.clone(), place.clone(), context.now());
        async move {
            let after = *place.lock().unwrap_or_else(PoisonError::into_inner);
            let next = seal_some(&database, &keyring, after, now).await?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = next;
            Ok::<(), Error>(())
        }
    });
}

/// Seals what is open in the accounts after a key; returns the key to go on after.
async fn seal_some(database: &Database, keyring: &Keyring, after: Uuid, now: Timestamp) -> Result<Uuid, Error> {
    let mut tx = database.read().await?;
    let states = store::seal_states(&mut tx, after, ACCOUNTS).await?;
    let next = if i64::try_from(states.len()) == Ok(ACCOUNTS) { states.last().map(|state| state.account_id) } else { None };
    let mut seals = Vec::new();
    for state in states.into_iter().filter(|state| state.is_open(now - AGE_MIN)) {
        seals.extend(seal(&mut tx, keyring, state, now).await?);
    }
    drop(tx);
    if !seals.is_empty() {
        let mut tx = database.begin().await?;
        let written = store::insert_seals(&mut tx, &seals).await?;
        count(&mut tx, keyring, written).await?;
        tx.commit().await?;
    }
    Ok(next.unwrap_or(Uuid::nil()))
}

async fn seal(tx: &mut Tx, keyring: &Keyring, state: SealState, now: Timestamp) -> Result<Option<NewSeal>, Error> {
    let account = AccountId(state.account_id);
    let after_version = state.sealed_version.unwrap_or(0);
    let mut rows = store::entries_from(tx, account, after_version + 1, ENTRIES_MAX).await?;
    rows.retain(|row| row.recorded_at.0 <= now - AGE_MIN);
    let Some(last) = rows.last() else { return Ok(None) };
    let version = last.version;
    let mut bytes = state.hash.unwrap_or_default();
    rows.iter().for_each(|row| row.write_sealed(&mut bytes));
    let key_version = keyring.versions().next().expect("a keyring has a key");
    let hash = hash(keyring, key_version, account, &bytes).expect("it is the current key");
    let seal = SealRow { after_version, version, key_version: i64::from(key_version), hash: hash.to_vec() };
    Ok(Some(NewSeal { account, seal, sealed_at: now }))
}

/// Counts seals that were written. A count that is not what was signed stays as it is, and nothing is sealed any more: else the next
/// seal would sign what somebody has made of it.
async fn count(tx: &mut Tx, keyring: &Keyring, written: u64) -> Result<(), Error> {
    let corrupt = || Error::Corrupt("the count of seals".to_owned());
    let before = store::lock_seal_count(tx).await?.filter(|count| is_signed(keyring, count)).ok_or_else(corrupt)?;
    let seals = i64::try_from(written).ok().and_then(|written| before.seals.checked_add(written)).ok_or_else(corrupt)?;
    let key_version = keyring.versions().next().expect("a keyring has a key");
    let hash = hash_of_count(keyring, key_version, seals).expect("it is the current key").to_vec();
    store::write_seal_count(tx, &SealCount { seals, key_version: i64::from(key_version), hash }).await
}

/// Whether a count is what was signed, or that of the beginning.
fn is_signed(keyring: &Keyring, count: &SealCount) -> bool {
    let SealCount { seals, key_version, hash } = count;
    let derived = u8::try_from(*key_version).ok().and_then(|key| hash_of_count(keyring, key, *seals));
    (*seals == 0 && *key_version == 0) || derived.is_some_and(|derived| derived[..] == hash[..])
}

fn hash_of_count(keyring: &Keyring, key_version: u8, seals: i64) -> Option<[u8; 32]> {
    keyring.hash_at(key_version, Purpose::Seal, "count", &seals.to_be_bytes())
}

/// How many seals there are, or what is wrong with that: the newest of an account are followed by none that would miss them.
pub(crate) async fn check_count(tx: &mut Tx, keyring: &Keyring) -> Result<Result<u64, String>, Error> {
    let Some((count, there)) = store::seal_count(tx).await? else { return Ok(Err("their count is not there".to_owned())) };
    Ok(match u64::try_from(there) {
        _ if !is_signed(keyring, &count) => Err("their count is not the one that was signed".to_owned()),
        Ok(seals) if count.seals == there => Ok(seals),
        _ => Err(format!("{} were made, and {there} are there", count.seals)),
    })
}

/// The seal over the seal before and the entries since; `None` when the key is gone.
fn hash(keyring: &Keyring, key_version: u8, account: AccountId, bytes: &[u8]) -> Option<[u8; 32]> {
    keyring.hash_at(key_version, Purpose::Seal, &account.0.to_string(), bytes)
}

/// Follows the seals of an account while its entries are read in order.
pub(crate) struct Chain<'a> {
    keyring: &'a Keyring,
    account: AccountId,
    seals: std::iter::Peekable<std::vec::IntoIter<SealRow>>,
    /// Where the seal before ends.
    sealed: i64,
    bytes: Vec<u8>,
}

impl<'a> Chain<'a> {
    /// The chain of an account from its seals, oldest first.
    pub(crate) fn new(keyring: &'a Keyring, account: AccountId, seals: Vec<SealRow>) -> Chain<'a> {
        Chain { keyring, account, seals: seals.into_iter().peekable(), sealed: 0, bytes: Vec::new() }
    }

    /// Takes the next entry; what is wrong with a seal that ends here.
    pub(crate) fn take(&mut self, row: &EntryRow) -> Option<String> {
        let seal = self.seals.peek()?;
        row.write_sealed(&mut self.bytes);
        if row.version < seal.version {
            return None;
        }
        let SealRow { after_version, version, key_version, hash: sealed } = self.seals.next()?;
        let entries = std::mem::replace(&mut self.bytes, sealed.clone());
        if after_version != std::mem::replace(&mut self.sealed, version) {
            return Some(format!("the seal at version {version} does not follow the one before it"));
        }
        let Some(derived) = u8::try_from(key_version).ok().and_then(|key| hash(self.keyring, key, self.account, &entries)) else {
            return Some(format!("the key of the seal at version {version}, number {key_version}, is not there"));
        };
        (derived[..] != sealed[..]).then(|| format!("the entries up to version {version} are not those that were sealed"))
    }

    /// What is wrong with the seals that ended at none of the entries.
    pub(crate) fn left(self) -> impl Iterator<Item = String> {
        self.seals.map(|seal| format!("the seal at version {} does not follow the one before it", seal.version))
    }
}
