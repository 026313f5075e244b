//! What a service is given when it starts, and what it gives back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use kernel::{Context, Timestamp};
use persistence::{Database, DatabaseOptions, Keyring, Migration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::StartError;
use crate::config::Config;
use crate::consumer::{self, EventHandler};
use crate::directory::Directory;
use crate::effects::{self, EffectTarget};
use crate::peer::{self, Peer};

const TRIM_INTERVAL: Duration = Duration::from_secs(3600);
const TRIM_EVENTS_MAX: u32 = 1000;

/// What each service crate gives to the server.
pub trait Service: 'static {
    /// Its name: the schema or file of its database, the source of its feed, the name by which peers find it.
    const NAME: &'static str;

    /// Opens its database, starts its consumers and jobs, and returns what it serves. It must not wait for an answer of
    /// another service: those in the same process answer once all have started.
    fn start(host: &Host) -> impl Future<Output = Result<Started, StartError>> + Send;
}

/// A service to be started; see [`entry`].
#[derive(Clone, Copy)]
pub struct Entry {
    /// [`Service::NAME`].
    pub name: &'static str,
    pub(crate) start: for<'a> fn(&'a Host) -> BoxFuture<'a, Result<Started, StartError>>,
}

/// The entry of a service, so that services of different types stand in one list.
pub const fn entry<S: Service>() -> Entry {
    Entry { name: S::NAME, start: start_boxed::<S> }
}

fn start_boxed<S: Service>(host: &Host) -> BoxFuture<'_, Result<Started, StartError>> {
    Box::pin(S::start(host))
}

type AddRoute = Box<dyn FnOnce(Routes) -> Routes + Send>;

/// What a service serves.
#[derive(Default)]
pub struct Started {
    pub(crate) routes: Vec<AddRoute>,
    /// Full names of the gRPC services, for health.
    pub(crate) names: Vec<&'static str>,
}

impl Started {
    /// Nothing yet.
    pub fn new() -> Started {
        Started::default()
    }

    /// Adds a generated server, for example `MembersServiceServer::new(service)`.
    pub fn with<S>(mut self, server: S) -> Started
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.push(Box::new(|routes| routes.add_service(server)));
        self.names.push(S::NAME);
        self
    }
}

/// What a server offers to its services. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    config: Config,
    context: Context,
    keyring: Arc<Keyring>,
    directory: Directory,
    local: Vec<&'static str>,
    local_peer: Peer,
    shutdown: CancellationToken,
    databases: Mutex<BTreeMap<String, Database>>,
    tasks: Mutex<JoinSet<()>>,
    drains: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl Host {
    pub(crate) fn new(
        context: &Context,
        config: Config,
        keyring: Keyring,
        directory: Directory,
        local: Vec<&'static str>,
        local_peer: Peer,
    ) -> Host {
        Host(Arc::new(Inner {
            config,
            context: context.clone(),
            keyring: Arc::new(keyring),
            directory,
            local,
            local_peer,
            shutdown: CancellationToken::new(),
            databases: Mutex::default(),
            tasks: Mutex::default(),
            drains: Mutex::default(),
        }))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Where time and ids come from.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The keys for hashing and encrypting.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.0.keyring
    }

    /// Programs, stores, terminals and API keys.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Cancelled when the server stops: whatever runs by itself ends soon after.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// Opens a service's own database on the configured engine, brings its schema up to date, and serves its feed under the
    /// same name.
    pub async fn database(&self, name: &str, migrations: &[Migration]) -> Result<Database, StartError> {
        let database = Database::open(&database_options(&self.0.config), name, migrations).await?;
        self.serve_feed(&database);
        Ok(database)
    }

    /// Lets callers subscribe to the events of a database.
    pub(crate) fn serve_feed(&self, database: &Database) {
        lock(&self.0.databases).insert(database.name().to_owned(), database.clone());
        let (trimmed, context) = (database.clone(), self.0.context.clone());
        let retention = Duration::from_secs(self.0.config.feed.retention_days * 24 * 3600);
        self.every("feed retention", TRIM_INTERVAL, move || {
            let (database, before) = (trimmed.clone(), context.now() - retention);
            async move { trim(&database, before).await }
        });
    }

    /// A channel to another service that presents this process's credential: over memory when the service runs in this process,
    /// else over the network. Fails when neither is configured.
    pub fn peer(&self, name: &str) -> Result<Peer, StartError> {
        let here = name == crate::directory::SOURCE || self.0.local.contains(&name);
        if here { Ok(self.0.local_peer.clone()) } else { peer::remote(name, &self.0.config.peers) }
    }

    /// Follows another service's feed. The cursor and what the handler writes are one transaction of `database`; the consumer's
    /// name is the database's.
    pub fn consume(&self, source: &str, database: &Database, handler: impl EventHandler) -> Result<(), StartError> {
        let consumer = consumer::Consumer::new(source, self.peer(source)?, database.clone(), handler, self.0.context.clone());
        self.spawn("consumer", consumer.run(self.0.shutdown.clone()));
        Ok(())
    }

    /// Brings about what `database` wants of a kind in other services, again until it has succeeded.
    pub fn work_effects(&self, kind: &'static str, database: &Database, target: impl EffectTarget) {
        let worker = effects::Worker::new(kind, database.clone(), self.0.context.clone(), target);
        self.spawn("effects", worker.run(self.0.shutdown.clone()));
    }

    /// Runs a job now and again and again, `pause` after it has ended. It never runs twice at once in this process, ends before
    /// the server stops, and an error is logged.
    pub fn every<F, E>(&self, name: &'static str, pause: Duration, job: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send,
        E: std::error::Error + 'static,
    {
        let shutdown = self.0.shutdown.clone();
        self.spawn(name, async move {
            while !shutdown.is_cancelled() {
                if let Err(error) = job().await {
                    tracing::error!(job = name, error = crate::status::chain(&error), "a job failed; it will run again");
                }
                shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        });
    }

    /// Runs a task that ends by itself when [`Host::shutdown`] is cancelled; the server waits for it.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tracing::debug!(task = name, "started");
        lock(&self.0.tasks).spawn(task);
    }

    /// Runs once the last call has been answered and every task has ended: the place to stop executors.
    pub fn when_drained(&self, drain: impl Future<Output = ()> + Send + 'static) {
        lock(&self.0.drains).push(Box::pin(drain));
    }

    /// The databases whose feeds are served, by source.
    pub(crate) fn feeds(&self) -> BTreeMap<String, Database> {
        lock(&self.0.databases).clone()
    }

    /// Waits for tasks, stops executors, closes databases.
    pub(crate) async fn drain(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.0.tasks));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task did not end well");
            }
        }
        let drains = std::mem::take(&mut *lock(&self.0.drains));
        for drain in drains {
            drain.await;
        }
        for database in self.feeds().values() {
            database.close().await;
        }
    }
}

/// Drops old events in small transactions, so that writers hardly wait.
async fn trim(database: &Database, before: Timestamp) -> Result<(), persistence::Error> {
    while database.trim_feed(before, TRIM_EVENTS_MAX).await? > 0 {}
    Ok(())
}

/// How to reach the database that a configuration names.
pub fn database_options(config: &Config) -> DatabaseOptions {
    DatabaseOptions { connections_max: config.database.connections_max, ..DatabaseOptions::new(config.database.url.reveal()) }
}

/// Nothing that is done under these locks can panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
