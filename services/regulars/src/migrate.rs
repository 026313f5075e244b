//! `regulars migrate`: for a job that runs before the servers of a new version start.

use std::process::ExitCode;

use anyhow::Context as _;
use kernel::Context;
use persistence::{Database, Migration};
use rpc::{Directory, Service};

use crate::output::{self, Format};
use crate::storage::Storage;

/// Which suite.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    storage: Storage,
}

fn schemas() -> [(&'static str, &'static [Migration]); 5] {
    [
        (members::Members::NAME, members::MIGRATIONS),
        (points::Points::NAME, points::MIGRATIONS),
        (tiers::Tiers::NAME, tiers::MIGRATIONS),
        (referrals::Referrals::NAME, referrals::MIGRATIONS),
        (feedback::Feedback::NAME, feedback::MIGRATIONS),
    ]
}

pub(crate) async fn run(options: Options, output: Format) -> anyhow::Result<ExitCode> {
    let config = options.storage.load()?;
    // Makes the master key where the configuration lets it, so that the servers find the same.
    rpc::keyring(&config)?;
    let database = rpc::database_options(&config);
    let directory = Directory::open(&database, Context::system()).await.context("the schema of directory")?;
    directory.database().close().await;
    let mut migrated = vec![directory.database().name().to_owned()];
    for (name, migrations) in schemas() {
        let opened = Database::open(&database, name, migrations).await.with_context(|| format!("the schema of {name}"))?;
        opened.close().await;
        migrated.push(name.to_owned());
    }
    match output {
        Format::Text => output::print(&migrated.iter().map(|name| format!("{name}: up to date\n")).collect::<String>())?,
        Format::Json => output::print_json(&serde_json::json!({ "up_to_date": migrated }))?,
    }
    Ok(ExitCode::SUCCESS)
}
