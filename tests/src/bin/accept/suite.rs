//! The suite as a process of its own, started as a newcomer would.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kernel::{Ids, RandomIds};
use proto::common::Role;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::terms::{PointRounding, ReturnPolicy};
use proto::points::{CreateProgramVersionRequest, Terms};
use rpc::{Credential, Peer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

pub(crate) const PROGRAM: &str = "accept";
pub(crate) const TIME_ZONE: &str = "America/New_York";
const CURRENCY: &str = "USD";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A suite under test.
pub(crate) struct Suite {
    regulars: PathBuf,
    folder: PathBuf,
    database: Option<String>,
    port: u16,
    server: Child,
    administrator: String,
    platform: String,
}

impl Suite {
    /// Starts a suite that has never been started before.
    pub(crate) async fn start(regulars: &Path, folder: &Path, database: Option<String>) -> Result<Suite> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let (server, key) = serve(regulars, folder, database.as_deref(), port).await?;
        Ok(Suite {
            regulars: regulars.to_owned(),
            folder: folder.to_owned(),
            database,
            port,
            server,
            administrator: key.context("the first start has printed no administrator key")?,
            platform: String::new(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn platform_key(&self) -> String {
        self.platform.clone()
    }

    /// Makes the program with one point per full dollar, for ever, and a key for the company's back end. The channel survives
    /// restarts.
    pub(crate) async fn open_program(&mut self) -> Result<Peer> {
        let administrator = self.peer(&self.administrator)?;
        let mut directory = DirectoryServiceClient::new(administrator.clone());
        let program = CreateProgramRequest {
            program_id: PROGRAM.to_owned(),
            display_name: "Acceptance".to_owned(),
            time_zone: TIME_ZONE.to_owned(),
            currency_code: CURRENCY.to_owned(),
            request_id: fresh(),
        };
        let program = directory.create_program(program).await?.into_inner().name;
        let terms = Terms {
            points_per_unit: "1".to_owned(),
            rounding: PointRounding::Down.into(),
            return_policy: ReturnPolicy::Unlimited.into(),
            ..Terms::default()
        };
        let version = CreateProgramVersionRequest {
            parent: program.clone(),
            terms: Some(terms),
            start_time: None,
            draft: false,
            request_id: fresh(),
        };
        PointsServiceClient::new(administrator).create_program_version(version).await?;
        let key = CreateApiKeyRequest {
            display_name: "importer".to_owned(),
            role: Role::Platform.into(),
            programs: vec![program],
            terminal: String::new(),
            request_id: fresh(),
        };
        self.platform = directory.create_api_key(key).await?.into_inner().secret;
        self.peer(&self.platform)
    }

    /// `kill -9`, and a start on the same address as soon as the process is gone.
    pub(crate) async fn kill_and_restart(&mut self) -> Result<()> {
        self.server.kill().await?;
        let (server, key) = serve(&self.regulars, &self.folder, self.database.as_deref(), self.port).await?;
        ensure!(key.is_none(), "the second start has made another first administrator");
        self.server = server;
        Ok(())
    }

    /// What `regulars verify` says, beside the running server.
    pub(crate) async fn verify(&self) -> Result<serde_json::Value> {
        let mut command = Command::new(&self.regulars);
        command.args(["verify", "--output", "json"]);
        let output = storage(&mut command, &self.folder, self.database.as_deref()).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let mut said: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("verify said {text:?} and {complaint}"))?;
        said["exit_code"] = output.status.code().into();
        Ok(said)
    }

    /// SIGTERM; it must end well, and by itself.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = self.server.id().context("the server has ended before its time")?;
        let signalled = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(signalled.success(), "the server cannot be told to stop");
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.server.wait()).await.context("the server does not stop")??;
        ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }

    fn peer(&self, secret: &str) -> Result<Peer> {
        let channel = Endpoint::from_shared(self.url())?.tcp_nodelay(true).connect_lazy();
        Ok(InterceptedService::new(channel, Credential::new(secret)?))
    }
}

/// Starts a server and waits until it says that it serves; the administrator's key, if it has made one.
async fn serve(regulars: &Path, folder: &Path, database: Option<&str>, port: u16) -> Result<(Child, Option<String>)> {
    let log = folder.join("server.log");
    let log_file = OpenOptions::new().create(true).append(true).open(&log)?;
    let mut command = Command::new(regulars);
    command.args(["serve", "--address", &format!("127.0.0.1:{port}")]);
    storage(&mut command, folder, database).stdout(Stdio::piped()).stderr(log_file).kill_on_drop(true);
    let mut server = command.spawn().with_context(|| format!("{} cannot be started; build it first", regulars.display()))?;
    let mut lines = BufReader::new(server.stdout.take().context("its output was asked for")?).lines();
    let ready = async {
        let mut key = None;
        while let Some(line) = lines.next_line().await? {
            if let Some(secret) = line.strip_prefix("administrator key: ") {
                key = Some(secret.to_owned());
            }
            // The commands to try come last.
            if line.starts_with("try") {
                return Ok(key);
            }
        }
        bail!("the server did not start; it said:\n{}", std::fs::read_to_string(&log)?)
    };
    let key = tokio::time::timeout(START_TIMEOUT, ready).await.context("the server does not start")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((server, key))
}

/// Names the suite's databases to a command.
fn storage<'a>(command: &'a mut Command, folder: &Path, database: Option<&str>) -> &'a mut Command {
    command.arg("--data").arg(folder.join("data"));
    if let Some(url) = database {
        command.args(["--database", url]);
    }
    command
}

fn fresh() -> String {
    RandomIds.uuid().to_string()
}
