//! What the ledger needs of a program: its terms, and from the directory its zone and currency.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::{ProgramId, Timestamp, Zone};
use persistence::{Database, Error, Tx};
use proto::points as pb;
use rpc::Directory;
use tokio::sync::Mutex;

use crate::domain::{Terms, Version, Versions};
use crate::history::{History, VersionRecord, decode_terms};
use crate::message;
use crate::store;

/// How old a cached program may be: terms made by another process are seen within twice this time.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(1);

/// A program as the ledger sees it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) id: ProgramId,
    pub(crate) currency: kernel::Currency,
    pub(crate) zone: kernel::Zone,
    /// `None` until terms have been made.
    pub(crate) versions: Option<Versions>,
}

/// A program, and when it was fetched; `None` when it is to be fetched anew.
type Fetched = (Option<Instant>, Arc<Program>);

/// The programs, cached.
pub(crate) struct Programs {
    database: Database,
    directory: Directory,
    cache: RwLock<HashMap<ProgramId, Fetched>>,
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
        let is_fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < age_max);
        cache.get(id).filter(|(at, _)| is_fresh(at)).map(|(_, program)| program.clone())
    }

    /// The terms of a version that has been read before: they never change, and reading them takes long.
    fn known_terms(&self, id: &ProgramId, number: i64) -> Option<Arc<Terms>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let (_, program) = cache.get(id)?;
        program.versions.as_ref()?.number(number).map(|version| version.terms.clone())
    }

    async fn fetch(&self, id: &ProgramId) -> Result<Option<Arc<Program>>, Error> {
        let Some(found) = self.directory.program(id).await? else { return Ok(None) };
        let mut tx = self.database.read().await?;
        let history = History::of_heads(store::program_version_heads(&mut tx, id).await?);
        let (mut holding, mut given_up) = (Vec::new(), Vec::new());
        for (record, _) in history.holding() {
            holding.push(self.version(&mut tx, id, record, &found).await?);
        }
        // A draft is never among them, so that nothing is ever awarded under it.
        for record in history.records().iter().filter(|record| record.retired.is_some() && record.scheduled.is_some()) {
            given_up.push(self.version(&mut tx, id, record, &found).await?);
        }
        drop(tx);
        let versions = Versions::new(holding).map(|versions| versions.with_given_up(given_up));
        let program = Arc::new(Program { id: id.clone(), currency: found.currency, zone: found.zone.clone(), versions });
        self.cache.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), (Some(Instant::now()), program.clone()));
        Ok(Some(program))
    }

    async fn version(
        &self,
        tx: &mut Tx,
        id: &ProgramId,
        record: &VersionRecord<()>,
        found: &rpc::directory::Program,
    ) -> Result<Version, Error> {
        let number = record.number;
        let terms = match self.known_terms(id, number) {
            Some(known) => known,
            None => Arc::new(terms(&decode_terms(&store::terms_of_version(tx, id, number).await?)?, &found.zone)?),
        };
        let start_at = record.scheduled.as_ref().map_or(Timestamp::MAX, |scheduled| scheduled.start_at);
        Ok(Version { number, terms, start_at, zone: found.zone.clone(), currency: found.currency })
    }

    /// All versions of a program's terms.
    pub(crate) async fn history(&self, id: &ProgramId) -> Result<History, Error> {
        let mut tx = self.database.read().await?;
        History::read(store::program_versions(&mut tx, id).await?)
    }

    /// Whether a store that terms name is there.
    pub(crate) async fn has_store(&self, id: &ProgramId, store: &str) -> Result<bool, Error> {
        self.directory.has_store(id, store).await
    }

    /// Has a program fetched anew, so that the caller who changed it sees the change.
    pub(crate) fn forget(&self, id: &ProgramId) {
        if let Some((at, _)) = self.cache.write().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
            *at = None;
        }
    }
}

fn terms(stored: &pb::Terms, zone: &Zone) -> Result<Terms, Error> {
    message::terms(stored, zone).map_err(|(field, what)| Error::Corrupt(format!("terms of a program: {field} {what}")))
}
