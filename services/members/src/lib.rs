//! The members service: who the members of a program are, how they are recognised, and whether they may take part.
//!
//! `domain` decides, `store` keeps, `service` speaks protobuf. What is personal is sealed under a key of the member's own and
//! masked in every answer but one.

use persistence::Migration;
use proto::members::members_service_server::MembersServiceServer;
use rpc::{Host, StartError, Started};

mod domain;
mod error;
mod message;
mod service;
mod store;

/// The schema, for those that open it without a server.
pub static MIGRATIONS: &[Migration] = persistence::migrations!["0001_members.sql"];

/// The members service.
pub struct Members;

impl rpc::Service for Members {
    const NAME: &'static str = "members";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let rpcs = service::Rpcs {
            database: host.database(Self::NAME, MIGRATIONS).await?,
            context: host.context().clone(),
            keyring: host.keyring().clone(),
            directory: host.directory().clone(),
            clock: host.config().clock.clone(),
        };
        Ok(Started::new().with(MembersServiceServer::new(rpcs)))
    }
}
