//! The points service: the ledger, and the purchases that everything else lives on.
//!
//! `domain` is the pure core, `executor` the one write path, `store` the SQL, `service` the protobuf. `consumer` keeps the facts
//! that other services tell, `job` does the clock's work, `occasions` finds what is given by itself, `seal` and `verify` prove the books.

use std::sync::Arc;

use persistence::{Executor, ExecutorOptions, Migration};
use proto::points::points_service_server::PointsServiceServer;
use proto::points::rewards_service_server::RewardsServiceServer;
use rpc::{Host, StartError, Started};

mod consumer;
pub mod domain;
mod error;
mod event;
mod executor;
mod gifts;
mod history;
mod job;
mod message;
mod occasions;
mod program;
mod reward_error;
mod seal;
mod service;
mod store;
mod verify;

pub use verify::{Difference, Report, verify};

/// The schema of the ledger, for those that open it without a server.
pub static MIGRATIONS: &[Migration] = persistence::migrations![
    "0001_ledger.sql",
    "0002_lots_and_accounts.sql",
    "0003_seals.sql",
    "0004_seal_count.sql",
    "0005_due_in_order.sql",
    "0006_rewards.sql",
    "0007_counters.sql",
    "0008_program_versions.sql",
    "0009_vouchers.sql",
    "0010_occasions.sql"
];

/// The points service.
pub struct Points;

impl rpc::Service for Points {
    const NAME: &'static str = "points";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, MIGRATIONS).await?;
        let clock = host.config().clock.clone();
        let handler = executor::LedgerHandler { database: database.clone(), context: host.context().clone(), clock: clock.clone() };
        let queue_max = host.config().server.waiting_changes_max;
        let executor = Arc::new(Executor::start(handler, ExecutorOptions { queue_max, ..ExecutorOptions::new("ledger") }));
        let vouchers = executor::VoucherHandler { database: database.clone(), context: host.context().clone(), clock: clock.clone() };
        let vouchers = Arc::new(Executor::start(vouchers, ExecutorOptions { queue_max, ..ExecutorOptions::new("vouchers") }));
        // Of their own: who joins has his program fetched anew, and awards should not wait for that.
        let programs = Arc::new(program::Programs::new(database.clone(), host.directory().clone()));
        host.consume("members", &database, consumer::MemberFacts { programs: programs.clone(), context: host.context().clone() })?;
        host.consume("tiers", &database, consumer::TierFacts)?;
        job::start(host, &database, &executor);
        job::start_counting(host, &database);
        occasions::start(host, &database, &programs);
        seal::start(host, &database);
        let (draining, of_vouchers) = (executor.clone(), vouchers.clone());
        host.when_drained(async move {
            draining.shutdown().await;
            of_vouchers.shutdown().await;
        });
        let rpcs = Arc::new(service::Rpcs {
            programs: program::Programs::new(database.clone(), host.directory().clone()),
            database,
            executor,
            vouchers,
            context: host.context().clone(),
            keyring: host.keyring().clone(),
            clock,
        });
        for kind in [gifts::OF_CHALLENGES, gifts::OF_OCCASIONS] {
            host.work_effects(kind, &rpcs.database, service::Gifts(rpcs.clone()));
        }
        Ok(Started::new().with(PointsServiceServer::from_arc(rpcs.clone())).with(RewardsServiceServer::from_arc(rpcs)))
    }
}
