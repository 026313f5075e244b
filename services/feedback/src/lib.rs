//! Surveys: who is asked about which purchase and when, what was answered, and what the answers amount to.
//!
//! `domain` decides, `store` writes, `service` answers calls. Purchases come from the points feed (`consumer`); time moves
//! invitations (`job`). A sender outside fetches what is due.

mod consumer;
pub mod domain;
mod error;
mod event;
mod job;
mod service;
mod store;

use persistence::Migration;
use proto::feedback::feedback_service_server::FeedbackServiceServer;
use rpc::{Host, StartError, Started};

pub use error::Error;
use service::Rpcs;

/// The schema of its database, for tools that open it beside the service.
pub static MIGRATIONS: &[Migration] = persistence::migrations!["0001_surveys.sql"];

/// The feedback service.
pub struct Feedback;

impl rpc::Service for Feedback {
    const NAME: &'static str = "feedback";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let rpcs = Rpcs {
            database: host.database(Self::NAME, MIGRATIONS).await?,
            context: host.context().clone(),
            keyring: host.keyring().clone(),
            directory: host.directory().clone(),
        };
        host.consume("points", &rpcs.database, rpcs.clone())?;
        let (job, shutdown) = (rpcs.clone(), host.shutdown().clone());
        host.every("invitations", job::INTERVAL, move || {
            let (job, shutdown) = (job.clone(), shutdown.clone());
            async move { job.move_overdue(&shutdown).await }
        });
        Ok(Started::new().with(FeedbackServiceServer::new(rpcs)))
    }
}
