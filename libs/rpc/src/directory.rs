//! Programs, stores, terminals and API keys: what every process must know to admit a call.
//!
//! Each process holds all programs and keys in memory and follows the directory's revision, so that admitting a call asks no
//! database, and a change made by another process or by the command line is seen within a second.

mod domain;
mod service;
mod store;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kernel::{Context, ProgramId};
use persistence::{Database, DatabaseOptions, Migration, Tx, retry};
use proto::codec::Programs;
use proto::common::Role;
use proto::events::DirectoryChanged;
use proto::events::event::Payload;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::feed::{self, About};

pub use domain::{ApiKey, Error, KeySecret, NewApiKey, Program, Store, Terminal};
pub(crate) use service::DirectoryRpcs;

/// The name of the directory's database and feed.
pub const SOURCE: &str = "directory";

static MIGRATIONS: &[Migration] = persistence::migrations!["0001_directory.sql"];

/// How often a process looks whether the directory has changed elsewhere. A revocation holds everywhere after this long.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// The directory of one suite, with everything in memory that admitting a call needs. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    database: Database,
    context: Context,
    known: RwLock<Known>,
    /// When the last look at the database began.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Known {
    revision: i64,
    programs: BTreeMap<ProgramId, Arc<Program>>,
    api_keys: BTreeMap<String, Arc<ApiKey>>,
}

impl Directory {
    /// Opens the directory's database, creating it where needed, and reads it.
    pub async fn open(options: &DatabaseOptions, context: Context) -> Result<Directory, persistence::Error> {
        let database = Database::open(options, SOURCE, MIGRATIONS).await?;
        let directory = Directory(Arc::new(Inner { database, context, known: RwLock::default(), looked: tokio::sync::Mutex::new(None) }));
        directory.refresh().await?;
        Ok(directory)
    }

    /// The database; its feed tells of every change.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) fn context(&self) -> &Context {
        &self.0.context
    }

    /// A program, from memory when it is known here.
    pub async fn program(&self, id: &ProgramId) -> Result<Option<Arc<Program>>, persistence::Error> {
        self.find(|known| known.programs.get(id).cloned()).await
    }

    /// All programs by id, as of now.
    pub async fn programs(&self) -> Result<Vec<Arc<Program>>, persistence::Error> {
        self.refresh().await?;
        Ok(self.read(|known| known.programs.values().cloned().collect()))
    }

    /// Whether a program has a store of this id.
    pub async fn has_store(&self, program: &ProgramId, id: &str) -> Result<bool, persistence::Error> {
        store::store_exists(&mut self.0.database.read().await?, program, id).await
    }

    /// An API key, from memory when it is known here.
    pub(crate) async fn api_key(&self, id: &str) -> Result<Option<Arc<ApiKey>>, persistence::Error> {
        self.find(|known| known.api_keys.get(id).cloned()).await
    }

    /// All API keys by id, as of now.
    pub async fn api_keys(&self) -> Result<Vec<Arc<ApiKey>>, persistence::Error> {
        self.refresh().await?;
        Ok(self.read(|known| known.api_keys.values().cloned().collect()))
    }

    /// Makes an API key. The secret is here and nowhere else.
    pub async fn create_api_key(&self, new: NewApiKey) -> Result<(ApiKey, KeySecret), Error> {
        let new = new.checked()?;
        let made = retry(async || {
            let mut tx = self.0.database.begin().await?;
            let revision = store::next_revision(&mut tx).await?;
            let made = self.write_api_key(&mut tx, &new, revision).await?;
            tx.commit().await?;
            Ok::<_, Error>(made)
        })
        .await?;
        self.refresh().await?;
        Ok(made)
    }

    /// Revokes an API key for ever; one that is revoked already stays so. `None` when there is no such key.
    pub async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKey>, persistence::Error> {
        let revoked = retry(async || {
            let mut tx = self.0.database.begin().await?;
            let revision = store::next_revision(&mut tx).await?;
            let key = self.write_revocation(&mut tx, id, revision).await?;
            tx.commit().await?;
            Ok::<_, persistence::Error>(key)
        })
        .await?;
        self.refresh().await?;
        Ok(revoked)
    }

    /// The first administrator's key. `Some` once in the life of a directory, also when processes start at the same time, and
    /// never where an administrator's key has been made before by other means.
    pub async fn ensure_first_administrator(&self) -> Result<Option<KeySecret>, Error> {
        let new = NewApiKey {
            display_name: "first administrator".to_owned(),
            role: Role::Administrator,
            programs: Programs::All,
            terminal: None,
        };
        let secret = retry(async || {
            let mut tx = self.0.database.begin().await?;
            if !store::claim_first_administrator(&mut tx).await? {
                return Ok(None);
            }
            let revision = store::next_revision(&mut tx).await?;
            let (_, secret) = self.write_api_key(&mut tx, &new, revision).await?;
            tx.commit().await?;
            Ok::<_, Error>(Some(secret))
        })
        .await?;
        self.refresh().await?;
        Ok(secret)
    }

    /// Sees every change that was committed before the call. Callers that come together share one look at the database.
    pub(crate) async fn refresh(&self) -> Result<(), persistence::Error> {
        let called = Instant::now();
        let mut looked = self.0.looked.lock().await;
        if looked.is_some_and(|began| began >= called) {
            return Ok(());
        }
        let began = Instant::now();
        let mut tx = self.0.database.read().await?;
        let known = self.read(|known| known.revision);
        // The revision is read first: what is committed between the statements is then read again, never passed over.
        let revision = store::revision(&mut tx).await?;
        if revision != known {
            let programs = store::programs_since(&mut tx, known).await?;
            let api_keys = store::api_keys_since(&mut tx, known).await?;
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.programs.extend(programs.into_iter().map(|program| (program.id.clone(), Arc::new(program))));
            known.api_keys.extend(api_keys.into_iter().map(|key| (key.id.clone(), Arc::new(key))));
            known.revision = revision;
        }
        *looked = Some(began);
        Ok(())
    }

    /// Follows changes made by other processes until the server stops.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        let mut was_reachable = true;
        while shutdown.run_until_cancelled(tokio::time::sleep(FOLLOW_INTERVAL)).await.is_some() {
            match self.refresh().await {
                Ok(()) => was_reachable = true,
                Err(error) if was_reachable => {
                    was_reachable = false;
                    tracing::warn!(%error, "the directory cannot be followed; revocations are not seen until it can");
                }
                Err(_) => {}
            }
        }
    }

    /// Looks in memory, and on a miss again after a look at the database: it may have been made a moment ago elsewhere.
    async fn find<T>(&self, look: impl Fn(&Known) -> Option<T>) -> Result<Option<T>, persistence::Error> {
        if let Some(found) = self.read(&look) {
            return Ok(Some(found));
        }
        // On the heap, and only now: every call has the look into memory, and would carry the statements of the other along.
        Box::pin(self.refresh()).await?;
        Ok(self.read(look))
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write_api_key(&self, tx: &mut Tx, new: &NewApiKey, revision: i64) -> Result<(ApiKey, KeySecret), Error> {
        if let Programs::Only(ids) = &new.programs {
            for id in ids.iter() {
                if !store::program_exists(tx, id).await? {
                    return Err(Error::ProgramNotFound);
                }
            }
        }
        if let Some(name) = &new.terminal {
            let [program, store, terminal] = domain::terminal_segments(name)?;
            if !store::terminal_exists(tx, program, store, terminal).await? {
                return Err(Error::TerminalNotFound);
            }
        }
        let secret = KeySecret::random(&self.0.context.uuid().simple().to_string());
        let key = ApiKey {
            id: secret.key_id().to_owned(),
            display_name: new.display_name.clone(),
            role: new.role,
            programs: new.programs.clone(),
            terminal: new.terminal.clone(),
            secret_hash: secret.hash(),
            create_time: self.0.context.now(),
            revoke_time: None,
        };
        if new.role == Role::Administrator {
            // Whoever makes one needs no first one; that it is claimed already changes nothing.
            store::claim_first_administrator(tx).await?;
        }
        store::insert_api_key(tx, &key, revision).await?;
        self.append_change(tx, None, &key.name(), revision).await?;
        Ok((key, secret))
    }

    /// Tells the feed that a resource was made or changed.
    async fn append_change(
        &self,
        tx: &mut Tx,
        program: Option<&ProgramId>,
        resource: &str,
        revision: i64,
    ) -> Result<(), persistence::Error> {
        let about = About {
            program: program.map(ProgramId::name).unwrap_or_default(),
            aggregate: resource.to_owned(),
            aggregate_version: revision,
            occur_time: self.context().now(),
            ..About::default()
        };
        let payload = Payload::DirectoryChanged(DirectoryChanged { resource: resource.to_owned() });
        tx.append_event(feed::event(self.context(), about, payload)).await
    }

    async fn write_revocation(&self, tx: &mut Tx, id: &str, revision: i64) -> Result<Option<ApiKey>, persistence::Error> {
        let Some(key) = store::api_key(tx, id).await? else { return Ok(None) };
        if key.revoke_time.is_some() {
            return Ok(Some(key));
        }
        let now = self.0.context.now();
        store::revoke_api_key(tx, id, now, revision).await?;
        self.append_change(tx, None, &key.name(), revision).await?;
        Ok(Some(ApiKey { revoke_time: Some(now), ..key }))
    }
}
