//! Where the suite's databases are, for commands that work on them directly.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use kernel::Context;
use rpc::{Config, Directory, Flags};

/// Flags that name the suite's databases.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Storage {
    /// The configuration file of the suite.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// sqlite:DIRECTORY or postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Directory of the embedded databases and the master key; ./data unless configured.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl Storage {
    /// The suite's settings, as its server reads them.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let Storage { config, database, data } = self.clone();
        Ok(Config::load(&Flags { config, address: None, database, data })?)
    }

    /// The settings of a suite that exists: a wrong folder is told, not filled with an empty suite.
    pub(crate) fn load_existing(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        if let Some(folder) = sqlite_folder(&config)
            && !folder.join("directory.db").is_file()
        {
            bail!("there is no suite in {}; start one with `regulars serve`, or name another place with --data", folder.display());
        }
        Ok(config)
    }

    /// The directory of a suite that exists.
    pub(crate) async fn directory(&self) -> anyhow::Result<Directory> {
        let config = self.load_existing()?;
        let opened = Directory::open(&rpc::database_options(&config), Context::system()).await;
        opened.context("the suite's directory cannot be opened")
    }
}

/// The folder of embedded databases; `None` on PostgreSQL.
pub(crate) fn sqlite_folder(config: &Config) -> Option<PathBuf> {
    config.database.url.reveal().strip_prefix("sqlite:").map(|folder| PathBuf::from(folder.trim_start_matches("//")))
}
