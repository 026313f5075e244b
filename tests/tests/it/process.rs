//! The suite in a process of its own, so that it can be killed.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use rpc::Credential;
use testkit::TestEngine;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::suite::Wire;

/// The program that this package builds from the library of `regulars`, so that it is never an old one.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_regulars-under-test");

pub(crate) struct Process {
    child: Child,
    channel: Channel,
    /// Where it serves.
    pub(crate) url: String,
    /// The first administrator's key, told on the very first start.
    pub(crate) administrator: Option<String>,
    // The program must be able to go on writing.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `regulars serve` on an engine and waits until it answers. Its log and master key are in `folder`.
    pub(crate) async fn serve(engine: &TestEngine, folder: &Path) -> Process {
        Process::start(&engine.options.url, folder, &[], &[]).await
    }

    /// The same on the database of a URL, with further arguments and variables.
    pub(crate) async fn start(url: &str, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let log = folder.join("server.log");
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--address", "127.0.0.1:0"])
            .args(arguments)
            .env("REGULARS_DATABASE__URL", url)
            .env("REGULARS_DATABASE__CONNECTIONS_MAX", "4")
            .env("REGULARS_KEYS__DATA_DIR", folder)
            .env("REGULARS_TELEMETRY__LOG_FILTER", "warn")
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut url, mut administrator) = (None, None);
        // The last line of the greeting names `verify`.
        while let Some(line) = output.next_line().await.unwrap() {
            let word = |before: &str| line.trim().strip_prefix(before).map(str::to_owned);
            url = url.or(word("regulars serves on "));
            administrator = administrator.or(word("administrator key: "));
            if line.contains(" verify") {
                break;
            }
        }
        let url = url.unwrap_or_else(|| panic!("it did not start: {}", std::fs::read_to_string(&log).unwrap()));
        let channel = Endpoint::from_shared(url.clone()).unwrap().connect_lazy();
        Process { child, channel, url, administrator, _output: output }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn wire(&self, secret: &str) -> Wire {
        InterceptedService::new(self.channel.clone(), Credential::new(secret).unwrap())
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
