use std::io;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// PostgreSQL without a master key: each process would make its own, and none could read what another wrote.
    #[error("set keys.master_key, keys.master_key_file or keys.data_dir: all processes on one database need the same key")]
    NoMasterKey,
    /// The database.
    #[error("{}", crate::status::chain(.0))]
    Database(#[from] persistence::Error),
    /// A file or an address.
    #[error("{what} {}: {source}", place.display())]
    Io {
        /// What could not be done with it.
        what: &'static str,
        /// The file, folder or address.
        place: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key.
    #[error("{what}: {}", crate::status::chain(source))]
    Tls {
        /// Whose it is.
        what: &'static str,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// A service is needed that neither runs here nor has a URL.
    #[error("service {0} does not run in this process: set peers.urls.{0}")]
    UnknownPeer(String),
    /// A remote service is needed, but not how to reach it.
    #[error("{0}")]
    Peer(String),
    /// Logs, traces and metrics.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// Anything else a service needs and does not find.
    #[error("{0}")]
    Service(String),
}

impl StartError {
    /// For `map_err` beside something done with a file, folder or address.
    pub(crate) fn io(what: &'static str, place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> StartError {
        let place = place.as_ref().to_owned();
        move |source| StartError::Io { what, place, source }
    }
}

impl From<crate::directory::Error> for StartError {
    fn from(error: crate::directory::Error) -> Self {
        match error {
            crate::directory::Error::Database(error) => StartError::Database(error),
            other => StartError::Service(other.to_string()),
        }
    }
}
