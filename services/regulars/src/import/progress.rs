//! How far an import is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::grouped;

const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Counts rows and the bytes of the file that they took; only bytes are known beforehand.
pub(super) struct Progress {
    noun: &'static str,
    bar: Option<ProgressBar>,
    total_bytes: u64,
    bytes: AtomicU64,
    rows: AtomicU64,
    begun: Instant,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new(noun: &'static str, total_bytes: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg}  {bar:30.cyan/dim}  {percent:>3} %  {elapsed_precise}  {eta} left");
            let style = style.expect("the template is well formed").progress_chars("━━─");
            let bar = ProgressBar::new(total_bytes).with_style(style);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let now = Instant::now();
        Progress { noun, bar, total_bytes, bytes: AtomicU64::new(0), rows: AtomicU64::new(0), begun: now, last_line: Mutex::new(now) }
    }

    /// One more row is done.
    pub(super) fn advance(&self, bytes: u64) {
        let rows = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            if rows.is_multiple_of(16) {
                bar.set_message(self.rate(rows));
            }
            return;
        }
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_INTERVAL {
            *last = Instant::now();
            let left = self.elapsed().mul_f64(self.total_bytes.saturating_sub(bytes) as f64 / bytes.max(1) as f64);
            let percent = bytes.saturating_mul(100) / self.total_bytes.max(1);
            eprintln!("{} ({percent} %), {} s left", self.rate(rows), left.as_secs());
        }
    }

    /// Takes the bar off the screen.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn rate(&self, rows: u64) -> String {
        let rate = rows as f64 / self.elapsed().as_secs_f64().max(0.001);
        format!("{}: {} rows, {rate:.0} rows/s", self.noun, grouped(i64::try_from(rows).unwrap_or(i64::MAX)))
    }
}
