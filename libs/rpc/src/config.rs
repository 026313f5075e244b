//! Settings: defaults ← file ← environment ← flags. A key that nobody knows is refused with its name, because a misspelt
//! setting that is silently ignored is found out in production.

mod environment;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use self::environment::Environment;

/// Every setting with its default and what it does; the text of the file that a user copies from.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Messages above this are refused by the generated servers whatever is configured.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All settings of a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How it listens and what it admits.
    pub server: ServerConfig,
    /// Where it stores.
    pub database: DatabaseConfig,
    /// Where the master key is.
    pub keys: KeysConfig,
    /// Where the services are that run elsewhere.
    pub peers: PeersConfig,
    /// How long events are kept.
    pub feed: FeedConfig,
    /// What is believed of a till's clock.
    pub clock: ClockConfig,
    /// Traces, metrics and logs.
    pub telemetry: telemetry::TelemetryConfig,
}

/// How the server listens and what it admits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Where gRPC and gRPC-Web are served.
    pub address: SocketAddr,
    /// Origins of browsers that may call; `*` is any.
    pub cors_origins: Vec<String>,
    /// Calls in work at the same time.
    pub concurrent_requests_max: usize,
    /// Changes of points that wait for their turn, in each of the ledger's lanes.
    pub waiting_changes_max: usize,
    /// Size of the largest request.
    pub message_bytes_max: usize,
    /// Deadline of a call that names none.
    pub deadline_ms_default: u64,
    /// The longest that a call gets.
    pub deadline_ms_max: u64,
    /// How long calls in work may go on after a signal to stop.
    pub shutdown_grace_seconds: u64,
    /// Reflection is open to everybody.
    pub reflection: bool,
    /// Certificates.
    pub tls: TlsConfig,
}

/// Certificates, PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate chain; TLS is on when it is named.
    #[serde(deserialize_with = "named")]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(deserialize_with = "named")]
    pub key: Option<PathBuf>,
    /// The authority of the clients' certificates; mTLS is on when it is named.
    #[serde(deserialize_with = "named")]
    pub client_ca: Option<PathBuf>,
}

/// Where the server stores.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:DIRECTORY` or `postgres://…`.
    pub url: Secret,
    /// Connections per service.
    pub connections_max: u32,
}

/// Where the master key is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// `VERSION:64 hexadecimal digits`, several separated by commas.
    #[serde(deserialize_with = "named")]
    pub master_key: Option<Secret>,
    /// A file that holds the same.
    #[serde(deserialize_with = "named")]
    pub master_key_file: Option<PathBuf>,
    /// Directory in which `master.key` is made on the first start.
    #[serde(deserialize_with = "named")]
    pub data_dir: Option<PathBuf>,
}

/// Where the services are that run elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeersConfig {
    /// API key with role SERVICE.
    #[serde(deserialize_with = "named")]
    pub credential: Option<Secret>,
    /// The authority of the peers' certificates.
    #[serde(deserialize_with = "named")]
    pub ca: Option<PathBuf>,
    /// This client's certificate for mTLS.
    #[serde(deserialize_with = "named")]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(deserialize_with = "named")]
    pub key: Option<PathBuf>,
    /// URL by name of the service.
    pub urls: BTreeMap<String, String>,
}

/// How long events are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// Days after which an event is dropped.
    pub retention_days: u64,
}

/// What is believed of a till's clock.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockConfig {
    /// How far the time of an event may lie ahead of the server's clock.
    pub ahead_seconds_max: u64,
    /// How far it may lie behind.
    pub behind_seconds_max: u64,
}

impl ClockConfig {
    /// The latest and earliest time of an event that are believed at `now`.
    pub fn believed(&self, now: kernel::Timestamp) -> std::ops::RangeInclusive<kernel::Timestamp> {
        let earliest = now - Duration::from_secs(self.behind_seconds_max);
        earliest..=now + Duration::from_secs(self.ahead_seconds_max)
    }
}

/// A setting that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text; do not log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Flags that every program with a server has; they win over file and environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// A TOML file with settings; see the defaults for every key.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to serve, for example 0.0.0.0:7700.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
    /// sqlite:DIRECTORY or postgres://…
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Directory for the embedded databases and the master key.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// A setting is unknown, missing, of the wrong kind or out of range.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text names the key and where it stands.
    #[error("{0}")]
    Invalid(#[from] Box<figment::Error>),
    /// A value is well formed and still cannot be.
    #[error("{key}: {problem}")]
    OutOfRange {
        /// The setting, for example `server.message_bytes_max`.
        key: &'static str,
        /// What it must be.
        problem: String,
    },
    /// The file of the flag is not there.
    #[error("the configuration file {} cannot be read", .0.display())]
    NoFile(PathBuf),
}

impl Config {
    /// Reads defaults, the file of the flags, this process's environment and the flags.
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        Config::from_sources(flags, std::env::vars())
    }

    /// Reads the settings with another environment than the process has.
    pub fn from_sources(flags: &Flags, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = &flags.config {
            if !file.is_file() {
                return Err(ConfigError::NoFile(file.clone()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Environment::from_variables(environment)).merge(Serialized::defaults(flags.settings()));
        let config: Config = figment.extract().map_err(Box::new)?;
        config.check()?;
        Ok(config)
    }

    /// The defaults with a free port and everything stored in a directory; for tests and demonstrations.
    pub fn default_in(directory: &Path) -> Config {
        let flags = Flags { address: Some(SocketAddr::from(([127, 0, 0, 1], 0))), data: Some(directory.to_owned()), ..Flags::default() };
        Config::from_sources(&flags, []).expect("the compiled-in defaults are valid; a test reads them")
    }

    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        let out_of_range = |key, problem: String| Err(ConfigError::OutOfRange { key, problem });
        if server.concurrent_requests_max == 0 {
            return out_of_range("server.concurrent_requests_max", "must be positive".to_owned());
        }
        if server.waiting_changes_max == 0 {
            return out_of_range("server.waiting_changes_max", "must be positive".to_owned());
        }
        if !(1..=MESSAGE_BYTES_MAX).contains(&server.message_bytes_max) {
            return out_of_range("server.message_bytes_max", format!("must be 1 to {MESSAGE_BYTES_MAX}"));
        }
        if server.deadline_ms_default == 0 || server.deadline_ms_default > server.deadline_ms_max {
            return out_of_range("server.deadline_ms_default", "must be 1 to server.deadline_ms_max".to_owned());
        }
        if server.tls.cert.is_some() != server.tls.key.is_some() {
            return out_of_range("server.tls", "cert and key belong together".to_owned());
        }
        if server.tls.client_ca.is_some() && server.tls.cert.is_none() {
            return out_of_range("server.tls.client_ca", "needs cert and key".to_owned());
        }
        if self.peers.cert.is_some() != self.peers.key.is_some() {
            return out_of_range("peers", "cert and key belong together".to_owned());
        }
        if self.keys.master_key.is_some() && self.keys.master_key_file.is_some() {
            return out_of_range("keys", "master_key and master_key_file exclude each other".to_owned());
        }
        if self.database.connections_max == 0 {
            return out_of_range("database.connections_max", "must be positive".to_owned());
        }
        Ok(())
    }
}

impl Flags {
    /// The settings that the flags stand for, as far as they are given.
    fn settings(&self) -> impl Serialize + use<> {
        let mut settings: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        let mut set = |section, key, value: String| settings.entry(section).or_default().insert(key, value);
        if let Some(address) = self.address {
            set("server", "address", address.to_string());
        }
        if let Some(data) = &self.data {
            set("database", "url", format!("sqlite:{}", data.display()));
            set("keys", "data_dir", data.display().to_string());
        }
        if let Some(database) = &self.database {
            set("database", "url", database.clone());
        }
        settings
    }
}

/// An empty text stands for "not set", so that the file of defaults can show every key.
fn named<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: From<String>,
{
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| T::from(text)))
}
