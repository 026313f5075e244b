//! A running server: everything put together, from the first socket to the last commit.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use kernel::Context;
use proto::directory::directory_service_server::DirectoryServiceServer;
use proto::events::event_feed_service_server::EventFeedServiceServer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::auth::{Credential, Gate};
use crate::config::{Config, Flags, ServerConfig};
use crate::directory::{Directory, DirectoryRpcs, KeySecret};
use crate::edge::EdgeLayer;
use crate::feed_service::FeedRpcs;
use crate::gather::Gather;
use crate::host::{Entry, Host, Started, database_options};
use crate::limits::Limits;
use crate::peer::{self, CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MemoryListener, STREAM_WINDOW_BYTES};
use crate::{StartError, keys, status};

/// Streams that one connection may have open; a connection pool of a busy back end shares few connections among many calls.
const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
/// How much longer than calls jobs and executors may take to end. Whatever is cut off is found again in the database.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How long a browser may remember what CORS told it.
const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

type Transport = JoinHandle<Result<(), tonic::transport::Error>>;

/// A server that has started. Dropping it stops it at once; [`Running::stop`] lets calls finish.
pub struct Running {
    host: Host,
    address: SocketAddr,
    credential: Credential,
    first_administrator: Option<KeySecret>,
    health: HealthReporter,
    names: Vec<&'static str>,
    /// Cancelled when no more connections are taken.
    closed: CancellationToken,
    network: Transport,
    /// Cancelled when services of this process no longer call each other.
    quiet: CancellationToken,
    memory: Transport,
}

/// Serves until SIGINT or SIGTERM: what the `main` of a binary calls. `announce` is told when calls can be made.
pub async fn run(flags: &Flags, services: &[Entry], announce: impl FnOnce(&Running)) -> Result<(), StartError> {
    let config = Config::load(flags)?;
    let telemetry = telemetry::init(&config.telemetry)?;
    let stopped = CancellationToken::new();
    if let Some(address) = config.telemetry.metrics_address {
        telemetry::serve_metrics(address, telemetry.registry().clone(), stopped.clone().cancelled_owned())
            .await
            .map_err(StartError::io("metrics cannot be served on", address.to_string()))?;
    }
    let running = start(&Context::system(), config, services).await?;
    announce(&running);
    running.until_signal().await?;
    stopped.cancel();
    Ok(telemetry.shutdown().await?)
}

/// Starts services, the directory and the feed on the configured address. Returns when calls can be made.
pub async fn start(context: &Context, config: Config, services: &[Entry]) -> Result<Running, StartError> {
    let keyring = keys::keyring(&config)?;
    let at = config.server.address;
    let listener = TcpListener::bind(at).await.map_err(StartError::io("cannot listen on", at.to_string()))?;
    let directory = Directory::open(&database_options(&config), context.clone()).await?;
    let (gate, credential) = Gate::new(directory.clone(), config.server.reflection);
    let (local_peer, memory_listener) = peer::in_memory(credential.clone());
    let local = services.iter().map(|entry| entry.name).collect();
    let host = Host::new(context, config, keyring, directory, local, local_peer);
    let edge = EdgeLayer { gate, limits: Limits::new(&host.config().server), shutdown: host.shutdown().clone() };
    match serve(&host, services, listener, memory_listener, edge, credential).await {
        Ok(running) => Ok(running),
        Err(error) => {
            // What has started already must not go on behind a server that is not there.
            host.shutdown().cancel();
            host.drain().await;
            Err(error)
        }
    }
}

async fn serve(
    host: &Host,
    services: &[Entry],
    listener: TcpListener,
    memory_listener: MemoryListener,
    edge: EdgeLayer,
    credential: Credential,
) -> Result<Running, StartError> {
    let directory = host.directory();
    let address = listener.local_addr().map_err(StartError::io("cannot listen on", ""))?;
    host.serve_feed(directory.database());
    host.spawn("directory", directory.clone().follow(host.shutdown().clone()));
    let directory_rpcs = DirectoryRpcs::new(directory.clone(), host.keyring().clone());
    let mut started = vec![Started::new().with(DirectoryServiceServer::new(directory_rpcs))];
    for entry in services {
        started.push((entry.start)(host).await?);
    }
    started.push(Started::new().with(EventFeedServiceServer::new(FeedRpcs::new(host))));

    let names: Vec<&'static str> = started.iter().flat_map(|service| service.names.iter().copied()).collect();
    let edge = EdgeLayer { gate: edge.gate.serving(&names), ..edge };
    let (health, health_server) = tonic_health::server::health_reporter();
    for name in &names {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let mut routes = Routes::new(health_server);
    if host.config().server.reflection {
        routes = reflection(routes, &names);
    }
    for add in started.into_iter().flat_map(|service| service.routes) {
        routes = add(routes);
    }
    let (closed, quiet) = (CancellationToken::new(), CancellationToken::new());
    let network = network(&host.config().server, listener, routes.clone(), edge.clone(), closed.clone())?;
    // The last thing that can fail: the key is shown once, so nothing may come between it and whoever asked for the start.
    let first_administrator = directory.ensure_first_administrator().await?;
    let network = tokio::spawn(network);
    // Room of their own: calls among services must not fail because the callers outside fill the server.
    let inner_edge = EdgeLayer { limits: Limits::new(&host.config().server), ..edge };
    let memory = tokio::spawn(memory(memory_listener, routes, inner_edge, quiet.clone()));
    tracing::info!(%address, services = ?services.iter().map(|entry| entry.name).collect::<Vec<_>>(), "serving");
    let host = host.clone();
    Ok(Running { host, address, credential, first_administrator, health, names, closed, network, quiet, memory })
}

impl Running {
    /// Where it listens: the port that was given out, if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first administrator's secret, only on the very first start of a suite.
    pub fn first_administrator(&self) -> Option<String> {
        self.first_administrator.as_ref().map(KeySecret::reveal)
    }

    /// The credential of services of this process, role SERVICE. It dies with the process.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What the services were given.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Serves until SIGINT or SIGTERM, then stops in order. Fails when the listener has failed before.
    pub async fn until_signal(mut self) -> Result<(), StartError> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::io("cannot wait for", "SIGINT"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::io("cannot wait for", "SIGTERM"))?;
        let failure = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            ended = &mut self.network => Some(ended),
        };
        let address = self.address;
        self.stop().await;
        match failure {
            None => Ok(()),
            Some(ended) => Err(StartError::Service(format!("serving on {address} ended: {ended:?}"))),
        }
    }

    /// Takes no more calls, finishes those in work (within the configured grace), then stops consumers and jobs, drains executors
    /// and closes databases.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        for name in self.names.iter().copied().chain([""]) {
            self.health.set_service_status(name, ServingStatus::NotServing).await;
        }
        // Streams end by the first token; the second lets the listener go and waits for the calls on each connection.
        self.host.shutdown().cancel();
        self.closed.cancel();
        let grace = Duration::from_secs(self.host.config().server.shutdown_grace_seconds);
        let end = Instant::now() + grace;
        if !self.network.is_finished() && tokio::time::timeout_at(end, &mut self.network).await.is_err() {
            tracing::warn!(?grace, "calls were cut off that did not end in time");
            self.network.abort();
        }
        if tokio::time::timeout_at(end + DRAIN_MAX, self.host.drain()).await.is_err() {
            tracing::warn!("tasks were cut off that did not end in time");
        }
        self.quiet.cancel();
        if tokio::time::timeout(DRAIN_MAX, &mut self.memory).await.is_err() {
            self.memory.abort();
        }
        tracing::info!("stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.host.shutdown().cancel();
        self.network.abort();
        self.memory.abort();
    }
}

/// Serves a listener until `closed`, then lets the calls on each connection end.
fn network(
    config: &ServerConfig,
    listener: TcpListener,
    routes: Routes,
    edge: EdgeLayer,
    closed: CancellationToken,
) -> Result<impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<>, StartError> {
    let mut server = Server::builder();
    if let Some(tls) = tls(config)? {
        server = server.tls_config(tls).map_err(|source| StartError::Tls { what: "server.tls", source })?;
    }
    // From the outside in: CORS answers preflights, gRPC-Web turns into gRPC, then a call is seen whole, refused or not.
    let router = server
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(cors(config)?)
        .layer(GrpcWebLayer::new())
        .layer(observed())
        .layer(edge)
        .add_routes(routes);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
    let incoming = incoming.map(|accepted| accepted.map(Gather::new));
    Ok(router.serve_with_incoming_shutdown(incoming, closed.cancelled_owned()))
}

/// The same routes behind the same layers for services of this process, over memory.
fn memory(
    listener: MemoryListener,
    routes: Routes,
    edge: EdgeLayer,
    quiet: CancellationToken,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send {
    let incoming = UnboundedReceiverStream::new(listener).map(Ok::<_, std::convert::Infallible>);
    let router = Server::builder()
        .max_concurrent_streams(None)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(observed())
        .layer(edge)
        .add_routes(routes);
    router.serve_with_incoming_shutdown(incoming, quiet.cancelled_owned())
}

fn observed() -> telemetry::grpc::RpcLayer {
    telemetry::grpc::RpcLayer::new(telemetry::metrics(), proto::access::RPCS.iter().map(|rpc| rpc.path))
}

fn tls(config: &ServerConfig) -> Result<Option<ServerTlsConfig>, StartError> {
    let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) else { return Ok(None) };
    let identity = Identity::from_pem(peer::read_pem(cert)?, peer::read_pem(key)?);
    let mut tls = ServerTlsConfig::new().identity(identity);
    if let Some(ca) = &config.tls.client_ca {
        tls = tls.client_ca_root(Certificate::from_pem(peer::read_pem(ca)?));
    }
    Ok(Some(tls))
}

/// Browsers on the configured origins may call by gRPC-Web and read its status.
fn cors(config: &ServerConfig) -> Result<CorsLayer, StartError> {
    let origin = if config.cors_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins = config.cors_origins.iter().map(|origin| {
            origin.parse::<HeaderValue>().map_err(|_| StartError::Service(format!("server.cors_origins: {origin:?} is no origin")))
        });
        AllowOrigin::list(origins.collect::<Result<Vec<_>, _>>()?)
    };
    let allowed = ["x-grpc-web", "x-user-agent", "grpc-timeout", "traceparent"].map(HeaderName::from_static);
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin", status::REPLAYED_HEADER].map(HeaderName::from_static);
    Ok(CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE].into_iter().chain(allowed).collect::<Vec<_>>())
        .expose_headers(exposed)
        .max_age(CORS_MAX_AGE))
}

/// Both versions of reflection: older clients still ask for v1alpha. Only what is served here is listed.
fn reflection(routes: Routes, names: &[&'static str]) -> Routes {
    let builder = |version: &str| {
        let listed = names.iter().copied().chain(["grpc.health.v1.Health", version]);
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        listed.fold(builder, |builder, name| builder.with_service_name(name))
    };
    let readable = "the build has encoded the set";
    routes
        .add_service(builder("grpc.reflection.v1.ServerReflection").build_v1().expect(readable))
        .add_service(builder("grpc.reflection.v1alpha.ServerReflection").build_v1alpha().expect(readable))
}
