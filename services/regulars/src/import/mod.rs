//! `regulars import`: CSV files into a running suite, through the public gRPC surface.
//!
//! The file is read once from begin to end and never held whole. Rows that concern one person are sent in the file's order, by one
//! worker; the workers run side by side. A request id is a hash of what it asks for, so running an import again asks for
//! nothing new.

mod csv_file;
mod engine;
mod faults;
mod members;
mod progress;
mod purchases;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kernel::{Currency, ProgramId, Zone};
use prost::Message;
use proto::directory::GetProgramRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::points::ListProgramVersionsRequest;
use proto::points::points_service_client::PointsServiceClient;
use rpc::Peer;

use crate::client::{Connection, persistently, reason, timed};
use crate::output::Format;

/// What to import.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Enrol the people of a file; who is a member already stays as is.
    ///
    /// Columns, in any order, by the names in the first line: at least one of external_id, phone, email, card; optional
    /// name, birth_date (YYYY-MM-DD, or MM-DD without the year), language, store, channel, referral_code,
    /// enrolled_at (a day or RFC 3339), region (of phones in national form, for example CN), tags and segments (words with
    /// spaces between them), and attribute columns named attr.KEY, whose values are kept as text. The errors file never holds a value of the file.
    Members(Options),
    /// Record the purchases of a file; customers who are not members yet are enrolled by their external id on the way.
    ///
    /// Columns, in any order, by the names in the first line: purchase_id, customer_id (the member's external id; empty for
    /// a stranger), date or occurred_at (a day, which means noon in the program's zone, or RFC 3339), amount (decimal, in
    /// major units); optional quantity, store, terminal, channel, currency.
    Purchases(Options),
}

/// Which file, and where to.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The file, UTF-8 with a header line.
    file: PathBuf,
    /// The program to import into: tea or programs/tea.
    #[arg(long, value_name = "PROGRAM")]
    program: String,
    #[command(flatten)]
    connection: Connection,
    /// Calls in flight.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Where rows that failed are listed; FILE.errors.csv unless named. It is written only when there are any.
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// How long to wait for a server that is overloaded or gone, for example 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience)]
    patience: Duration,
    /// Old data: no check against the clock, no surveys or messages because of it. `--historical=false` for news.
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = clap::ArgAction::Set)]
    historical: bool,
}

/// What every import knows of its target.
#[derive(Clone)]
struct Target {
    program: ProgramId,
    zone: Zone,
    currency: Currency,
    peer: Peer,
    patience: Duration,
    historical: bool,
}

pub(crate) async fn run(command: Command, format: Format) -> anyhow::Result<ExitCode> {
    match command {
        Command::Members(options) => {
            let target = target(&options).await?;
            let errors = faults::Columns::WITHOUT_VALUES;
            engine::run(&options, errors, format, |header| members::Members::new(target, header)).await
        }
        Command::Purchases(options) => {
            let target = target(&options).await?;
            terms_exist(&target).await?;
            let errors = faults::Columns::WITH_MESSAGE;
            engine::run(&options, errors, format, |header| purchases::Purchases::new(target, header)).await
        }
    }
}

/// Asks the suite for the program: a wrong address, key or program is told before the file is touched.
async fn target(options: &Options) -> anyhow::Result<Target> {
    let id = options.program.strip_prefix("programs/").unwrap_or(&options.program);
    let program = ProgramId::parse(id).with_context(|| format!("{:?} names no program", options.program))?;
    let peer = options.connection.peer()?;
    let directory = DirectoryServiceClient::new(peer.clone());
    let request = GetProgramRequest { name: program.name() };
    let answer = persistently(options.patience, || {
        let (mut directory, request) = (directory.clone(), request.clone());
        async move { directory.get_program(timed(request)).await }
    });
    let found = answer.await.map_err(|status| refusal(&status, &options.connection.server))?.into_inner();
    Ok(Target {
        program,
        zone: Zone::parse(&found.time_zone).with_context(|| format!("the program's zone {} is not known here", found.time_zone))?,
        currency: Currency::parse(&found.currency_code)?,
        peer,
        patience: options.patience,
        historical: options.historical,
    })
}

/// Without terms every row would be refused, and the refusals remembered.
async fn terms_exist(target: &Target) -> anyhow::Result<()> {
    let request = ListProgramVersionsRequest { parent: target.program.name(), page_size: 1, page_token: String::new() };
    let points = PointsServiceClient::new(target.peer.clone());
    let answer = persistently(target.patience, || {
        let (mut points, request) = (points.clone(), request.clone());
        async move { points.list_program_versions(timed(request)).await }
    });
    let versions = answer.await.map_err(|status| refusal(&status, "the suite"))?.into_inner().versions;
    if versions.is_empty() {
        bail!("program {} has no terms yet, so nothing can be awarded: make them with CreateProgramVersion first", target.program);
    }
    Ok(())
}

/// Why nothing can be imported, and what helps.
fn refusal(status: &tonic::Status, server: &str) -> anyhow::Error {
    let help = match status.code() {
        tonic::Code::Unauthenticated => "; the key is wrong or revoked",
        tonic::Code::PermissionDenied => "; make a key with `regulars keys create --role platform`",
        _ if crate::client::is_transient(status) => "; is a server running there?",
        _ => "",
    };
    anyhow::anyhow!("{server} answers {}: {}{help}", reason(status), status.message())
}

/// A request id that says what is asked for: the same request has the same id in every run, another request another.
fn request_id(kind: &str, message: &impl Message) -> String {
    let mut hash = blake3::Hasher::new_derive_key("regulars import request id 2026");
    hash.update(kind.as_bytes()).update(&[0]).update(&message.encode_to_vec());
    format!("import-{}", &hash.finalize().to_hex()[..40])
}

/// `90s`, `5m`, `1h`, or seconds alone.
fn patience(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let count: u32 = digits.parse().map_err(|_| "a time such as 90s, 5m or 1h".to_owned())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_read() {
        assert_eq!(patience("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(patience("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(patience("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1.5m", "5d", "fünf"] {
            assert!(patience(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_depends_on_everything_that_is_asked_for() {
        let request = |name: &str| GetProgramRequest { name: name.to_owned() };
        let id = request_id("purchase", &request("programs/tea"));
        assert_eq!(id, request_id("purchase", &request("programs/tea")));
        assert_ne!(id, request_id("purchase", &request("programs/coffee")));
        assert_ne!(id, request_id("customer", &request("programs/tea")));
        assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    }
}
