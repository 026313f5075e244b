//! The referrals service: codes that members hand on, friends attributed by them, and rewards for both when the friend has bought.
//!
//! `domain` decides, `store` keeps, `service` speaks protobuf. `consumer` hears the feeds of members and points, `progress` moves a
//! referral with everything that follows from the move, `approvals` ends holds, `rewards` has points given and taken back.

mod approvals;
mod consumer;
pub mod domain;
mod error;
mod progress;
mod rewards;
mod service;
mod store;

use std::time::Duration;

use persistence::Migration;
use proto::points::points_service_client::PointsServiceClient;
use proto::referrals::referrals_service_server::ReferralsServiceServer;
use rpc::{Host, StartError, Started};

/// The schema of the service's database.
pub static MIGRATIONS: &[Migration] = persistence::migrations!["0001_referrals.sql"];

/// How long after the end of its hold a referral is approved at the latest, while the server is idle.
const APPROVAL_INTERVAL: Duration = Duration::from_secs(1);

/// The referrals service.
pub struct Referrals;

impl rpc::Service for Referrals {
    const NAME: &'static str = "referrals";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, MIGRATIONS).await?;
        let context = host.context().clone();
        for source in ["members", "points"] {
            host.consume(source, &database, consumer::Listener { context: context.clone() })?;
        }
        let points = PointsServiceClient::new(host.peer("points")?);
        host.work_effects(rewards::KIND, &database, rewards::Rewards { database: database.clone(), points });
        let (approving, clock) = (database.clone(), context.clone());
        host.every("referral approvals", APPROVAL_INTERVAL, move || {
            let (database, context) = (approving.clone(), clock.clone());
            async move { approvals::approve_due(&database, &context).await }
        });
        let rpcs = service::ReferralsRpcs { database, context, keyring: host.keyring().clone(), directory: host.directory().clone() };
        Ok(Started::new().with(ReferralsServiceServer::new(rpcs)))
    }
}
