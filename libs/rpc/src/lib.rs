//! Starting a server: configuration, TLS, authentication and roles, limits, the directory, feeds and their consumers, errors as
//! callers see them. A service crate implements [`Service`] and gets everything else from its [`Host`].

mod auth;
pub mod binary;
pub mod config;
mod consumer;
pub mod directory;
mod edge;
mod effects;
mod error;
pub mod feed;
mod feed_service;
mod gather;
mod host;
mod keys;
mod limits;
mod peer;
mod server;
pub mod status;
pub mod wire;

pub use auth::{Caller, CallerExt, Credential, InvalidCredential};
pub use config::{Config, Flags};
pub use consumer::{EventHandler, HandlerError};
pub use directory::Directory;
pub use effects::EffectTarget;
pub use error::StartError;
pub use gather::Gather;
pub use host::{Entry, Host, Service, Started, database_options, entry};
pub use keys::keyring;
pub use limits::DeadlineExt;
pub use peer::Peer;
pub use proto::codec::Programs;
pub use proto::common::Role;
pub use server::{Running, run, start};
pub use status::Answer;
