//! Calls to other services: in this process over memory, else over the network, with the same type.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::StartError;
use crate::auth::Credential;
use crate::config::PeersConfig;

/// A channel to another service that presents this process's credential and the current trace.
pub type Peer = InterceptedService<Channel, Credential>;

/// Bytes that one end of a connection in memory may be ahead of the other.
const MEMORY_BUFFER_BYTES: usize = 256 * 1024;
/// As many unary calls as share a connection fit into it without waiting for flow control.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where connections in memory arrive: the server accepts from it as from a listener.
pub(crate) type MemoryListener = mpsc::UnboundedReceiver<DuplexStream>;

/// A channel over memory, and the listener that its connections arrive at. It connects at the first call.
pub(crate) fn in_memory(credential: Credential) -> (Peer, MemoryListener) {
    let (connections, listener) = mpsc::unbounded_channel();
    let connector = tower::service_fn(move |_: Uri| {
        let (client, server) = tokio::io::duplex(MEMORY_BUFFER_BYTES);
        let connected = connections.send(server).map(|()| TokioIo::new(client));
        std::future::ready(connected.map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused)))
    });
    // The address is never looked up; the scheme says that there is no TLS.
    let endpoint = Endpoint::from_static("http://in-process")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let channel = endpoint.connect_with_connector_lazy(connector);
    (InterceptedService::new(channel, credential), listener)
}

/// A channel to a service elsewhere. It connects at the first call and again after each loss.
pub(crate) fn remote(name: &str, config: &PeersConfig) -> Result<Peer, StartError> {
    let url = config.urls.get(name).ok_or_else(|| StartError::UnknownPeer(name.to_owned()))?;
    let credential = config.credential.as_ref().ok_or_else(|| {
        StartError::Peer("set peers.credential to an API key with role SERVICE: services elsewhere ask for one".to_owned())
    })?;
    let credential = Credential::new(credential.reveal()).map_err(|error| StartError::Peer(format!("peers.credential: {error}")))?;
    let malformed = |_| StartError::Peer(format!("peers.urls.{name} is not a URL such as http://{name}:7700"));
    let mut endpoint = Endpoint::from_shared(url.clone())
        .map_err(malformed)?
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    if endpoint.uri().scheme_str() == Some("https") {
        let tls = client_tls(config)?;
        endpoint = endpoint.tls_config(tls).map_err(|source| StartError::Tls { what: "peers", source })?;
    }
    Ok(InterceptedService::new(endpoint.connect_lazy(), credential))
}

fn client_tls(config: &PeersConfig) -> Result<ClientTlsConfig, StartError> {
    let ca = config.ca.as_ref().ok_or_else(|| StartError::Peer("https peers need peers.ca".to_owned()))?;
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read_pem(ca)?));
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        tls = tls.identity(Identity::from_pem(read_pem(cert)?, read_pem(key)?));
    }
    Ok(tls)
}

pub(crate) fn read_pem(file: &std::path::Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(file).map_err(StartError::io("a PEM file cannot be read:", file))
}
