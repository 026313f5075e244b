//! The suite's points service in a process of its own, as in production.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use proto::common::{CalendarPeriod, Role, calendar_period};
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::terms::{ExpiryRounding, PointRounding, ReturnPolicy};
use proto::points::{CreateProgramVersionRequest, Terms};
use rpc::Credential;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::calls::{Caller, PROGRAM, PROGRAM_OF_BUDGETS, PROGRAM_OF_DAYS, PROGRAM_OF_PROMOTIONS};
use crate::promotions::{budgeted, promotions};
use crate::wire::Wire;

/// A client of the points service.
pub(crate) type Client = PointsServiceClient<InterceptedService<Channel, Credential>>;

/// A running suite. It ends with this value.
pub(crate) struct Suite {
    process: Process,
    address: String,
    /// The key that it is called with.
    secret: String,
    folder: tempfile::TempDir,
}

impl Suite {
    /// On a PostgreSQL database.
    pub(crate) async fn start(regulars: &Path, url: &str) -> anyhow::Result<Suite> {
        Suite::serve(regulars, url, tempfile::tempdir()?).await
    }

    /// On SQLite files in a folder of their own.
    pub(crate) async fn start_sqlite(regulars: &Path) -> anyhow::Result<Suite> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().display());
        Suite::serve(regulars, &url, folder).await
    }

    async fn serve(regulars: &Path, url: &str, folder: tempfile::TempDir) -> anyhow::Result<Suite> {
        let child = Command::new(regulars)
            .args(["serve", "--only", "points", "--address", "127.0.0.1:0"])
            .env("REGULARS_DATABASE__URL", url)
            .env("REGULARS_KEYS__DATA_DIR", folder.path())
            // Awarding needs no other service to be up; these are not.
            .env("REGULARS_PEERS__CREDENTIAL", "rk_none_none")
            .env("REGULARS_PEERS__URLS__MEMBERS", "http://127.0.0.1:9")
            .env("REGULARS_PEERS__URLS__TIERS", "http://127.0.0.1:9")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", regulars.display()))?;
        let mut process = Process(child);
        let output = BufReader::new(process.0.stdout.take().context("its output is piped")?);
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
        let mut suite = Suite { process, address, secret: key, folder };
        suite.prepare().await?;
        Ok(suite)
    }

    /// Programs with terms like a shop's, and a key as a back end has it.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let (channel, administrator) = (self.channel().await?, Credential::new(&self.secret)?);
        let mut directory = DirectoryServiceClient::with_interceptor(channel.clone(), administrator.clone());
        let mut points = PointsServiceClient::with_interceptor(channel, administrator);
        let programs = [
            (PROGRAM, terms(1, ExpiryRounding::Month)),
            (PROGRAM_OF_DAYS, terms(3, ExpiryRounding::Day)),
            (PROGRAM_OF_PROMOTIONS, Terms { promotions: promotions(PROGRAM_OF_PROMOTIONS), ..terms(1, ExpiryRounding::Month) }),
            (PROGRAM_OF_BUDGETS, Terms { promotions: budgeted(PROGRAM_OF_BUDGETS), ..terms(1, ExpiryRounding::Month) }),
        ];
        for (program, terms) in programs {
            directory
                .create_program(CreateProgramRequest {
                    program_id: program.trim_start_matches("programs/").to_owned(),
                    display_name: "Bench".to_owned(),
                    time_zone: "Asia/Shanghai".to_owned(),
                    currency_code: "CNY".to_owned(),
                    request_id: program.to_owned(),
                })
                .await?;
            points
                .create_program_version(CreateProgramVersionRequest {
                    parent: program.to_owned(),
                    terms: Some(terms),
                    start_time: None,
                    draft: false,
                    request_id: format!("{program}/versions/1"),
                })
                .await?;
        }
        let key = directory
            .create_api_key(CreateApiKeyRequest {
                display_name: "bench".to_owned(),
                role: Role::Platform.into(),
                programs: [PROGRAM, PROGRAM_OF_DAYS, PROGRAM_OF_PROMOTIONS, PROGRAM_OF_BUDGETS].map(str::to_owned).to_vec(),
                terminal: String::new(),
                request_id: "key".to_owned(),
            })
            .await?;
        self.secret = key.into_inner().secret;
        // A key is known to every process within a second.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        Ok(())
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(format!("http://{}", self.address))?.tcp_nodelay(true).connect().await?)
    }

    /// A client on a connection of its own, for what is not measured.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let credential = Credential::new(&self.secret)?;
        Ok(PointsServiceClient::with_interceptor(self.channel().await?, credential))
    }

    /// A client for loads on a connection of its own.
    pub(crate) async fn caller(&self) -> anyhow::Result<Caller> {
        Caller::new(Wire::connect(&self.address, &self.secret).await?)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// The file that the points service keeps on SQLite.
    pub(crate) fn sqlite_file(&self) -> PathBuf {
        self.folder.path().join("points.db")
    }
}

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn terms(years: i32, rounding: ExpiryRounding) -> Terms {
    Terms {
        points_per_unit: "1".to_owned(),
        rounding: PointRounding::Down.into(),
        expire_after: Some(CalendarPeriod { count: years, unit: calendar_period::Unit::Year.into() }),
        expiry_rounding: rounding.into(),
        return_policy: ReturnPolicy::Unlimited.into(),
        ..Terms::default()
    }
}
