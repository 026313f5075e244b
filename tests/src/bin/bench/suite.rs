//! The suite's points service in a process of its own, as in production.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use proto::common::{CalendarPeriod, Role, calendar_period};
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{CreateProgramVersionRequest, Terms, terms};
use rpc::Credential;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::Options;

/// The program of the measurement.
pub(crate) const PROGRAM: &str = "programs/bench";

/// A client of the points service.
pub(crate) type Client = PointsServiceClient<InterceptedService<Channel, Credential>>;

/// A running suite.
pub(crate) struct Suite {
    child: Child,
    address: String,
    credential: Credential,
    _folder: tempfile::TempDir,
}

impl Suite {
    /// On a PostgreSQL database.
    pub(crate) async fn start(options: &Options, url: &str) -> anyhow::Result<Suite> {
        let folder = tempfile::tempdir()?;
        Suite::serve(options, url, folder).await
    }

    /// On SQLite files in a folder of their own.
    pub(crate) async fn start_sqlite(options: &Options) -> anyhow::Result<Suite> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().display());
        Suite::serve(options, &url, folder).await
    }

    async fn serve(options: &Options, url: &str, folder: tempfile::TempDir) -> anyhow::Result<Suite> {
        let mut child = Command::new(&options.regulars)
            .args(["serve", "--only", "points", "--address", "127.0.0.1:0"])
            .env("REGULARS_DATABASE__URL", url)
            .env("REGULARS_KEYS__DATA_DIR", folder.path())
            // Awarding needs no other service to be up; these are not.
            .env("REGULARS_PEERS__CREDENTIAL", "rk_none_none")
            .env("REGULARS_PEERS__URLS__MEMBERS", "http://127.0.0.1:9")
            .env("REGULARS_PEERS__URLS__TIERS", "http://127.0.0.1:9")
            .env("REGULARS_TELEMETRY__LOG_FILTER", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", options.regulars.display()))?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let (mut address, mut key) = (None, None);
        let mut lines = output.lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(found) = line.split_whitespace().find(|word| word.contains("127.0.0.1:")) {
                address.get_or_insert(found.trim_start_matches("http://").to_owned());
            }
            if let Some(found) = line.split_whitespace().find(|word| word.starts_with("rk_")) {
                key.get_or_insert(found.to_owned());
            }
            if address.is_some() && key.is_some() {
                break;
            }
        }
        // Nobody reads the rest, but a pipe that is closed would be an error for the one who writes into it.
        std::thread::spawn(move || lines.for_each(drop));
        let (Some(address), Some(key)) = (address, key) else { bail!("the suite did not print its address and first key") };
        let mut suite = Suite { child, address, credential: Credential::new(&key)?, _folder: folder };
        suite.prepare().await?;
        Ok(suite)
    }

    /// A program with terms like a shop's, and a key as a back end has it.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let channel = self.channel().await?;
        let mut directory = DirectoryServiceClient::with_interceptor(channel.clone(), self.credential.clone());
        directory
            .create_program(CreateProgramRequest {
                program_id: "bench".to_owned(),
                display_name: "Bench".to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: "program".to_owned(),
            })
            .await?;
        let terms = Terms {
            points_per_unit: "1".to_owned(),
            rounding: terms::PointRounding::Down.into(),
            activate_after: None,
            expire_after: Some(CalendarPeriod { count: 1, unit: calendar_period::Unit::Year.into() }),
            expiry_rounding: terms::ExpiryRounding::Month.into(),
            return_policy: terms::ReturnPolicy::Unlimited.into(),
            deficit_cap: 0,
            restore_grace: None,
            reservation_ttl: None,
            ..Terms::default()
        };
        let version = CreateProgramVersionRequest {
            parent: PROGRAM.to_owned(),
            terms: Some(terms),
            start_time: None,
            request_id: "version".to_owned(),
        };
        PointsServiceClient::with_interceptor(channel, self.credential.clone()).create_program_version(version).await?;
        let key = directory
            .create_api_key(CreateApiKeyRequest {
                display_name: "bench".to_owned(),
                role: Role::Platform.into(),
                programs: vec![PROGRAM.to_owned()],
                terminal: String::new(),
                request_id: "key".to_owned(),
            })
            .await?;
        self.credential = Credential::new(&key.into_inner().secret)?;
        // A key is known to every process within a second.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        Ok(())
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(format!("http://{}", self.address))?.tcp_nodelay(true).connect().await?)
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Ok(PointsServiceClient::with_interceptor(self.channel().await?, self.credential.clone()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself; there is nothing else to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        self.end();
    }
}
