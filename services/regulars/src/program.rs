//! `regulars program`: a program as a file, out of one environment and into another.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use kernel::{Ids, ProgramId, RandomIds};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{ExportProgramRequest, ImportProgramRequest, ImportProgramResponse};
use serde::Serialize;
use tonic::Status;
use tonic_types::StatusExt;

use crate::client::{Connection, persistently, timed};
use crate::output::{self, Format};

/// How long to wait for a server that is overloaded or gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to do with a program.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write a program's terms and rewards to a file.
    Export {
        /// The program.
        #[arg(long, value_name = "PROGRAM", value_parser = program_id)]
        program: ProgramId,
        /// The number of the version; the one that holds now unless named.
        #[arg(long, value_name = "NUMBER")]
        version: Option<i64>,
        /// Where to write it; stdout unless named.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Take a file in: its terms become a draft, and rewards that are missing are created.
    Import {
        /// The file that an export has written.
        file: PathBuf,
        /// The program that takes it in.
        #[arg(long, value_name = "PROGRAM", value_parser = program_id)]
        program: ProgramId,
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
        /// It may come from a program in another time zone.
        #[arg(long)]
        other_time_zone: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// What an import has done.
#[derive(Serialize)]
struct Imported {
    /// The draft; none after a dry run.
    version: Option<String>,
    created_rewards: Vec<String>,
    unchanged_rewards: Vec<String>,
    different_rewards: Vec<String>,
}

pub(crate) async fn run(command: Command, format: Format) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export { program, version, file, connection } => export(&program, version, file, &connection).await?,
        Command::Import { file, program, dry_run, other_time_zone, connection } => {
            let content = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let request_id = RandomIds.uuid().to_string();
            let request = ImportProgramRequest { parent: program.name(), content, dry_run, request_id, other_time_zone };
            import(request, &connection, format).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(program: &ProgramId, version: Option<i64>, file: Option<PathBuf>, connection: &Connection) -> anyhow::Result<()> {
    let points = PointsServiceClient::new(connection.peer()?);
    let version = version.map(|number| program.name_of("versions", &number.to_string())).unwrap_or_default();
    let request = ExportProgramRequest { parent: program.name(), version };
    let answer = persistently(PATIENCE, || {
        let (mut points, request) = (points.clone(), request.clone());
        async move { points.export_program(timed(request)).await }
    });
    let exported = answer.await.map_err(refused)?.into_inner();
    match file {
        None => output::print(&exported.content),
        Some(path) => {
            std::fs::write(&path, exported.content).with_context(|| format!("{} cannot be written", path.display()))?;
            eprintln!("{} is in {}", exported.version, path.display());
            Ok(())
        }
    }
}

async fn import(request: ImportProgramRequest, connection: &Connection, format: Format) -> anyhow::Result<()> {
    let points = PointsServiceClient::new(connection.peer()?);
    let answer = persistently(PATIENCE, || {
        let (mut points, request) = (points.clone(), request.clone());
        async move { points.import_program(timed(request)).await }
    });
    let ImportProgramResponse { version, created_rewards, unchanged_rewards, different_rewards } =
        answer.await.map_err(refused)?.into_inner();
    let imported = Imported { version: version.map(|version| version.name), created_rewards, unchanged_rewards, different_rewards };
    match format {
        Format::Json => output::print_json(&imported),
        Format::Text => output::print(&told(&imported)),
    }
}

fn told(imported: &Imported) -> String {
    let Imported { version, created_rewards, unchanged_rewards, different_rewards } = imported;
    let draft = match version {
        Some(name) => format!("{name} is a draft; ScheduleProgramVersion lets it hold\n"),
        None => "nothing was done: this was a dry run\n".to_owned(),
    };
    let lists = [("created", created_rewards), ("unchanged", unchanged_rewards), ("different, left as they are", different_rewards)];
    let list = |(what, ids): &(&str, &Vec<String>)| format!("rewards {what}: {}\n", ids.join(", "));
    draft + &lists.iter().filter(|(_, ids)| !ids.is_empty()).map(list).collect::<String>()
}

/// A refusal with every field that it names.
fn refused(status: Status) -> anyhow::Error {
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let fields: String = fields.iter().map(|field| format!("\n  {}: {}", field.field, field.description)).collect();
    if fields.is_empty() { anyhow!("the suite refused it: {}", status.message()) } else { anyhow!("the suite refused it:{fields}") }
}

/// `tea` or `programs/tea`.
fn program_id(text: &str) -> Result<ProgramId, String> {
    ProgramId::parse(text.strip_prefix("programs/").unwrap_or(text)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_told_in_a_few_lines() {
        let list = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let (created_rewards, different_rewards) = (list(&["cup", "mug"]), list(&["hat"]));
        let imported = Imported { version: None, created_rewards, unchanged_rewards: Vec::new(), different_rewards };
        let text = "nothing was done: this was a dry run\nrewards created: cup, mug\nrewards different, left as they are: hat\n";
        assert_eq!(told(&imported), text);
    }

    #[test]
    fn a_refusal_names_its_fields() {
        let status = rpc::status::bad_request([("content.terms.rounding", "must be set")]);
        assert_eq!(refused(status).to_string(), "the suite refused it:\n  content.terms.rounding: must be set");
    }
}
