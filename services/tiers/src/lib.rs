//! Status: schemes of levels, who holds which level and why.
//!
//! Purchases and returns come from the points feed ([`consumer`]); time and new versions of a scheme are looked after by
//! [`job`]; both, and the RPCs, end in [`evaluation`], which reads what is known of a member, lets [`domain`] find what
//! holds, and writes what of it is news. Every change goes out on the feed as `TierChanged`.

mod consumer;
mod convert;
pub mod domain;
mod error;
mod evaluation;
mod job;
mod service;
mod store;

use std::time::Duration;

use persistence::Migration;
use proto::tiers::tiers_service_server::TiersServiceServer;
use rpc::{Host, StartError, Started};

/// The schema.
pub static MIGRATIONS: &[Migration] = persistence::migrations!["0001_tiers.sql"];

/// How long after the end of one the next look for due evaluations begins.
const JOB_PAUSE: Duration = Duration::from_secs(1);

/// The tiers service.
pub struct Tiers;

impl rpc::Service for Tiers {
    const NAME: &'static str = "tiers";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, MIGRATIONS).await?;
        let rpcs = service::Rpcs {
            database: database.clone(),
            context: host.context().clone(),
            keyring: host.keyring().clone(),
            directory: host.directory().clone(),
            shutdown: host.shutdown().clone(),
        };
        host.consume("points", &database, rpcs.clone())?;
        let job = rpcs.clone();
        host.every("evaluate due members", JOB_PAUSE, move || {
            let job = job.clone();
            async move { job.run().await }
        });
        Ok(Started::new().with(TiersServiceServer::new(rpcs)))
    }
}
