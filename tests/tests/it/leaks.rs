//! Everything that this process logs, searched as it is written for words that must not be there.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// What our own code and what carries our data says on every level; the rest as an operator sees it.
const FILTER: &str = "info,kernel=trace,proto=trace,persistence=trace,telemetry=trace,rpc=trace,members=trace,points=trace,\
                      tiers=trace,referrals=trace,feedback=trace,it=trace,sqlx=trace,tonic=trace,tower_http=trace";

/// A word that must not be logged, and the lines in which it was.
struct Watched {
    word: String,
    lines: Vec<String>,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Looks out for a word from now on, in the log of all tests of this process.
pub(crate) fn watch(word: &str) {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(|| Searching)
            .init();
    });
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(Watched { word: word.to_ascii_lowercase(), lines: Vec::new() });
}

/// The lines in which a word was logged.
pub(crate) fn lines_with(word: &str) -> Vec<String> {
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.iter().filter(|watched| watched.word == word.to_ascii_lowercase()).flat_map(|watched| watched.lines.clone()).collect()
}

struct Searching;

impl io::Write for Searching {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = searchable(line);
        for watched in WATCHED.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if text.contains(&watched.word) {
                watched.lines.push(text.clone());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes as text to be searched.
pub(crate) fn searchable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

/// Whether text holds a word, in whatever case, as it is or as hexadecimal digits.
pub(crate) fn holds(searchable: &str, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let digits: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    searchable.contains(&word) || searchable.contains(&digits)
}
