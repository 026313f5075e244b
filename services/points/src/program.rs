//! What the ledger needs of a program: its terms, and from the directory its zone and currency.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::{ProgramId, Timestamp};
use persistence::{Database, Error};
use prost::Message;
use proto::points as pb;
use rpc::Directory;
use tokio::sync::Mutex;

use crate::domain::{Terms, Version, Versions};
use crate::message;
use crate::store;

/// How old a cached program may be: terms made by another process are seen within twice this time.
const AGE_MAX: Duration = Duration::from_secs(1);

/// A program as the ledger sees it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) id: ProgramId,
    pub(crate) currency: kernel::Currency,
    pub(crate) zone: kernel::Zone,
    /// `None` until terms have been made.
    pub(crate) versions: Option<Versions>,
}

/// A version of terms with what only readers of the list want.
pub(crate) struct VersionRecord {
    pub(crate) number: i64,
    pub(crate) start_at: Timestamp,
    pub(crate) created_at: Timestamp,
    pub(crate) author: String,
    pub(crate) terms: pb::Terms,
}

/// The programs, cached.
pub(crate) struct Programs {
    database: Database,
    directory: Directory,
    cache: RwLock<HashMap<ProgramId, (Instant, Arc<Program>)>>,
    /// Held by whoever fetches a program; a caller that hangs up lets go of it.
    fetching: Mutex<()>,
}

impl Programs {
    pub(crate) fn new(database: Database, directory: Directory) -> Programs {
        Programs { database, directory, cache: RwLock::default(), fetching: Mutex::default() }
    }

    /// A program with its terms; `None` when there is no such program.
    pub(crate) async fn get(&self, id: &ProgramId) -> Result<Option<Arc<Program>>, Error> {
        if let Some(fresh) = self.cached(id, AGE_MAX) {
            return Ok(Some(fresh));
        }
        // One caller fetches it anew. The others go on with what was good a moment ago, or wait when it is older than that.
        let Ok(_fetching) = self.fetching.try_lock() else {
            if let Some(recent) = self.cached(id, 2 * AGE_MAX) {
                return Ok(Some(recent));
            }
            let _fetching = self.fetching.lock().await;
            return match self.cached(id, AGE_MAX) {
                Some(fetched) => Ok(Some(fetched)),
                None => Box::pin(self.fetch(id)).await,
            };
        };
        // On the heap, and only now: every call has the look into the cache, and would carry the statements of a fetch along.
        Box::pin(self.fetch(id)).await
    }

    fn cached(&self, id: &ProgramId, age_max: Duration) -> Option<Arc<Program>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        cache.get(id).filter(|(at, _)| at.elapsed() < age_max).map(|(_, program)| program.clone())
    }

    async fn fetch(&self, id: &ProgramId) -> Result<Option<Arc<Program>>, Error> {
        let Some(found) = self.directory.program(id).await? else { return Ok(None) };
        let records = self.versions(id).await?;
        let versions = records
            .iter()
            .map(|record| {
                Ok(Version {
                    number: record.number,
                    terms: terms(&record.terms)?,
                    start_at: record.start_at,
                    zone: found.zone.clone(),
                    currency: found.currency,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let program =
            Arc::new(Program { id: id.clone(), currency: found.currency, zone: found.zone.clone(), versions: Versions::new(versions) });
        self.cache.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), (Instant::now(), program.clone()));
        Ok(Some(program))
    }

    /// All versions of a program's terms, oldest first.
    pub(crate) async fn versions(&self, id: &ProgramId) -> Result<Vec<VersionRecord>, Error> {
        let mut tx = self.database.read().await?;
        let rows = store::program_versions(&mut tx, id).await?;
        let record = |(number, start_at, created_at, author, bytes): store::VersionRow| {
            let terms = pb::Terms::decode(&bytes[..]).map_err(|_| Error::Corrupt("terms of a program".to_owned()))?;
            Ok(VersionRecord { number, start_at: start_at.into(), created_at: created_at.into(), author, terms })
        };
        rows.into_iter().map(record).collect()
    }

    /// Forgets what is cached of a program, so that the caller who changed it sees the change.
    pub(crate) fn forget(&self, id: &ProgramId) {
        self.cache.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

fn terms(stored: &pb::Terms) -> Result<Terms, Error> {
    message::terms(stored).map_err(|(field, what)| Error::Corrupt(format!("terms of a program: {field} {what}")))
}
