//! From the file's rows to calls in flight: one reader, many workers, each with the people that fall to it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::Options;
use super::csv_file::{CsvFile, Header, Row, Step};
use super::faults::{Columns, Fault, FaultFile};
use super::progress::Progress;
use crate::client;
use crate::output::{self, Format, grouped};

/// Rows that wait for each worker, so that the reader is never far ahead of the calls.
const WAITING_ROWS_MAX: usize = 8;

/// What is imported: how a row is read and what is done with it.
pub(super) trait Job: Send + Sync + 'static {
    /// A row that has been read.
    type Row: Send + 'static;
    /// What a worker remembers from one row to the next.
    type Memory: Default + Send;
    /// What the rows are, for people: "purchases".
    const NOUN: &'static str;

    /// Reads a row. Rows with the same text beside them keep their order.
    fn read(&self, row: &Row<'_>) -> Result<(String, Self::Row), Fault>;

    /// Does what a row asks for; safe to do again.
    fn send(&self, memory: &mut Self::Memory, row: Self::Row) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has been done now.
    New,
    /// It had been done before.
    Unchanged,
}

/// Why a row was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// Because of the row.
    Row(Fault),
    /// Because of something that keeps all others from being done, too.
    Everything(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        let told = format!("{}: {}", client::reason(&status), status.message());
        match status.code() {
            _ if client::is_transient(&status) => Failure::Everything(format!("the server was waited for in vain ({told})")),
            Code::Unauthenticated => Failure::Everything(format!("the key is wrong or revoked ({told})")),
            Code::PermissionDenied => {
                Failure::Everything(format!("the key may not do this ({told}); `regulars keys create --role platform` makes one that may"))
            }
            Code::Unimplemented => Failure::Everything(format!("the server does not serve this ({told})")),
            _ => Failure::Row(Fault::from(&status)),
        }
    }
}

/// What reader and workers share.
struct Shared {
    progress: Progress,
    faults: Mutex<FaultFile>,
    new: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
    /// Cancelled when nothing more is to be tried.
    stop: CancellationToken,
    why: OnceLock<String>,
}

/// A row on its way to a worker.
struct Parcel<T> {
    number: u64,
    bytes: u64,
    row: T,
}

/// What came out.
#[derive(Serialize)]
struct Summary {
    rows: u64,
    new: u64,
    unchanged: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    seconds: f64,
}

/// Imports a file: exit code 1 when a row failed or the import stopped early.
pub(super) async fn run<J: Job>(
    options: &Options,
    columns: Columns,
    format: Format,
    job: impl FnOnce(&Header) -> anyhow::Result<J>,
) -> anyhow::Result<ExitCode> {
    let file = CsvFile::open(&options.file)?;
    let size = std::fs::metadata(&options.file).map_or(0, |data| data.len());
    let job = Arc::new(job(file.header())?);
    let errors = options.errors.clone().unwrap_or_else(|| FaultFile::beside(&options.file));
    let shared = Arc::new(Shared {
        progress: Progress::new(J::NOUN, size),
        faults: Mutex::new(FaultFile::new(errors, columns)?),
        new: AtomicU64::new(0),
        unchanged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        stop: CancellationToken::new(),
        why: OnceLock::new(),
    });

    let mut workers = JoinSet::new();
    let mut lanes = Vec::new();
    for _ in 0..options.concurrency {
        let (lane, parcels) = mpsc::channel(WAITING_ROWS_MAX);
        lanes.push(lane);
        workers.spawn(work(job.clone(), parcels, shared.clone()));
    }
    let (reading, reader_shared) = (job, shared.clone());
    let read = tokio::task::spawn_blocking(move || read(file, &*reading, &lanes, &reader_shared)).await;
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker of the import failed")??;
    }
    read.context("the reader of the import failed")??;
    shared.progress.finish();
    let shared = Arc::into_inner(shared).context("a worker outlived the import")?;
    summary(shared, options, format, J::NOUN)
}

/// Reads the file to its end, or until nothing more is to be tried.
fn read<J: Job>(mut file: CsvFile, job: &J, lanes: &[mpsc::Sender<Parcel<J::Row>>], shared: &Shared) -> anyhow::Result<()> {
    while let Some(Step { number, bytes, row }) = file.step()? {
        if shared.stop.is_cancelled() {
            break;
        }
        match row.and_then(|row| job.read(&row)) {
            Ok((person, row)) => {
                // A worker is gone only when everything stops.
                if lanes[lane(&person, lanes.len())].blocking_send(Parcel { number, bytes, row }).is_err() {
                    break;
                }
            }
            Err(fault) => shared.done(number, bytes, Err(&fault))?,
        }
    }
    Ok(())
}

/// The worker of a person.
fn lane(person: &str, lanes: usize) -> usize {
    let hash = blake3::hash(person.as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    usize::from(u16::from_be_bytes([first, second])) % lanes
}

async fn work<J: Job>(job: Arc<J>, mut parcels: mpsc::Receiver<Parcel<J::Row>>, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut memory = J::Memory::default();
    while let Some(Some(Parcel { number, bytes, row })) = shared.stop.run_until_cancelled(parcels.recv()).await {
        match job.send(&mut memory, row).await {
            Ok(outcome) => shared.done(number, bytes, Ok(outcome))?,
            Err(Failure::Row(fault)) => shared.done(number, bytes, Err(&fault))?,
            Err(Failure::Everything(why)) => {
                let _the_first_counts = shared.why.set(why);
                shared.stop.cancel();
            }
        }
    }
    Ok(())
}

impl Shared {
    fn done(&self, number: u64, bytes: u64, outcome: Result<Outcome, &Fault>) -> anyhow::Result<()> {
        let counter = match outcome {
            Ok(Outcome::New) => &self.new,
            Ok(Outcome::Unchanged) => &self.unchanged,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.progress.advance(bytes);
        match outcome {
            Err(fault) => self.faults.lock().unwrap_or_else(PoisonError::into_inner).add(number, fault),
            Ok(_) => Ok(()),
        }
    }
}

fn summary(shared: Shared, options: &Options, format: Format, noun: &str) -> anyhow::Result<ExitCode> {
    let Shared { progress, faults, new, unchanged, failed, stop: _, why } = shared;
    let (new, unchanged, failed) = (new.into_inner(), unchanged.into_inner(), failed.into_inner());
    let errors_file = faults.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
    let summary = Summary {
        rows: new + unchanged + failed,
        new,
        unchanged,
        failed,
        errors_file: errors_file.map(|path| path.display().to_string()),
        stopped: why.into_inner(),
        seconds: progress.elapsed().as_secs_f64(),
    };
    match format {
        Format::Json => output::print_json(&summary)?,
        Format::Text => output::print(&told(&summary, options, noun))?,
    }
    let complete = summary.failed == 0 && summary.stopped.is_none();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(summary: &Summary, options: &Options, noun: &str) -> String {
    let Summary { rows, new, unchanged, failed, errors_file, stopped, seconds } = summary;
    let count = |number: &u64| grouped(i64::try_from(*number).unwrap_or(i64::MAX));
    let mut text = format!(
        "{noun}: {} rows in {seconds:.1} s: {} new, {} already there, {} failed\n",
        count(rows),
        count(new),
        count(unchanged),
        count(failed)
    );
    if let Some(path) = errors_file {
        text.push_str(&format!("the failed rows are listed in {path}\n"));
    }
    if let Some(why) = stopped {
        text.push_str(&format!(
            "stopped before the end of {}: {why}\nrun the same command again to go on; what is done already is not done twice\n",
            options.file.display()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_one_worker() {
        let lanes: Vec<usize> = (0..1000).map(|number| lane(&format!("customer {number}"), 64)).collect();
        let used: std::collections::BTreeSet<usize> = lanes.iter().copied().collect();
        assert_eq!(used.len(), 64, "the work is spread");
        assert_eq!(lane("customer 7", 64), lanes[7]);
    }

    #[test]
    fn a_key_that_may_not_is_everybodys_problem_and_a_bad_row_is_not() {
        assert!(matches!(Failure::from(Status::permission_denied("no")), Failure::Everything(_)));
        assert!(matches!(Failure::from(Status::unavailable("gone")), Failure::Everything(_)));
        let Failure::Row(fault) = Failure::from(Status::already_exists("twice")) else { panic!("the row is to blame") };
        assert_eq!(fault.reason, "ALREADY_EXISTS");
    }
}
