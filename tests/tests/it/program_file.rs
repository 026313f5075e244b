//! A program goes from one environment to another by the command line.

use std::path::Path;
use std::process::Output;

use kernel::{Ids, RandomIds};
use proto::directory::CreateProgramRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{CreateProgramVersionRequest, EarnRate, Terms, terms};
use testkit::TestEngine;
use tokio::process::Command;

use super::process::{PROGRAM, Process};

testkit::on_each_engine!(a_file_goes_from_one_environment_to_another);

/// An environment with one program.
struct Environment {
    process: Process,
    folder: tempfile::TempDir,
    program: &'static str,
}

impl Environment {
    async fn start(url: &str, program: &'static str) -> Environment {
        let folder = tempfile::TempDir::new().unwrap();
        let process = Process::start(url, folder.path(), &[], &[]).await;
        let request = CreateProgramRequest {
            program_id: program.to_owned(),
            display_name: program.to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
            currency_code: "CNY".to_owned(),
            request_id: RandomIds.uuid().to_string(),
        };
        DirectoryServiceClient::new(process.wire(process.administrator.as_ref().unwrap())).create_program(request).await.unwrap();
        Environment { process, folder, program }
    }

    /// `regulars program …` against it.
    async fn program(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(["program"]).args(arguments).args(["--program", self.program, "--server", &self.process.url]);
        command.env("REGULARS_KEY", self.process.administrator.as_ref().unwrap()).current_dir(self.folder.path());
        command.output().await.unwrap()
    }
}

async fn a_file_goes_from_one_environment_to_another(engine: TestEngine) {
    let here = Environment::start(&engine.options.url, "tea").await;
    // The other one is embedded, whatever this one is.
    let data = tempfile::TempDir::new().unwrap();
    let there = Environment::start(&format!("sqlite:{}", data.path().display()), "cha").await;
    let stores = vec!["programs/tea/stores/one".to_owned()];
    let rate = EarnRate { rate_id: "one".to_owned(), points_per_unit: "2".to_owned(), stores, ..EarnRate::default() };
    let terms = Terms {
        points_per_unit: "1".to_owned(),
        rounding: terms::PointRounding::Down.into(),
        return_policy: terms::ReturnPolicy::Unlimited.into(),
        earn_rates: vec![rate],
        ..Terms::default()
    };
    let version = CreateProgramVersionRequest {
        parent: "programs/tea".to_owned(),
        terms: Some(terms),
        start_time: None,
        draft: false,
        request_id: RandomIds.uuid().to_string(),
    };
    let wire = here.process.wire(here.process.administrator.as_ref().unwrap());
    PointsServiceClient::new(wire).create_program_version(version).await.unwrap();

    let file = here.folder.path().join("tea.json");
    let path = file.to_str().unwrap();
    let exported = here.program(&["export", "--file", path]).await;
    assert!(exported.status.success() && exported.stdout.is_empty(), "{exported:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    let tried = text(there.program(&["import", path, "--dry-run"]).await);
    assert_eq!(tried, "nothing was done: this was a dry run\n");
    let imported = text(there.program(&["import", path, "--output", "json"]).await);
    assert!(imported.contains("\"version\": \"programs/cha/versions/1\""), "{imported}");
    // What was taken in is what was exported.
    assert_eq!(text(there.program(&["export", "--version", "1"]).await), written);

    std::fs::write(&file, written.replace("\"2\"", "\"200\"")).unwrap();
    assert!(refused(there.program(&["import", path]).await).contains("not as it was exported"));
    let missing = Path::new("missing.json").to_str().unwrap();
    assert!(refused(there.program(&["import", missing]).await).contains("cannot be read"));
    // Nothing holds there yet.
    assert!(refused(there.program(&["export"]).await).contains("no terms"));
    here.process.kill().await;
    there.process.kill().await;
}

fn text(done: Output) -> String {
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn refused(done: Output) -> String {
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    String::from_utf8(done.stderr).unwrap()
}
