//! The screen: a board that refreshes itself on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Figures, Summary};
use super::calls::{CallFigures, Calls};
use super::chain::LEVELS;
use crate::output::grouped;

const FRAME: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(2);
const BAR_WIDTH: usize = 24;

/// A screen that shows the board until it is stopped.
pub(super) struct Screen {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts showing.
pub(super) fn show(board: Arc<Board>, calls: Arc<Calls>, seed: u64) -> Screen {
    let stop = CancellationToken::new();
    let until = stop.clone();
    let task = tokio::spawn(async move {
        if std::io::stderr().is_terminal() { frames(&board, &calls, seed, &until).await } else { lines(&board, &calls, &until).await }
    });
    Screen { stop, task }
}

impl Screen {
    /// Takes the board off the screen.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the screen failed");
        }
    }
}

async fn frames(board: &Board, calls: &Calls, seed: u64, stop: &CancellationToken) {
    let screen = MultiProgress::new();
    let style = ProgressStyle::with_template("{wide_msg}").expect("the template is well formed");
    let mut rows: Vec<ProgressBar> = Vec::new();
    while stop.run_until_cancelled(tokio::time::sleep(FRAME)).await.is_some() {
        let frame = frame(&board.figures(), &calls.figures(), &board.lines(), seed);
        while rows.len() < frame.len() {
            rows.push(screen.add(ProgressBar::new_spinner().with_style(style.clone())));
        }
        for (row, text) in rows.iter().zip(frame.into_iter().chain(std::iter::repeat(String::new()))) {
            row.set_message(text);
        }
    }
    for row in &rows {
        row.finish_and_clear();
    }
}

async fn lines(board: &Board, calls: &Calls, stop: &CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LINE_INTERVAL)).await.is_some() {
        eprintln!("{}", line(&board.figures(), &calls.figures()));
    }
}

/// One frame of the board.
fn frame(figures: &Figures, calls: &CallFigures, story: &[String], seed: u64) -> Vec<String> {
    let passed = if figures.days == 0 { 0 } else { BAR_WIDTH * figures.day as usize / figures.days as usize };
    let mut frame = vec![
        format!(
            "{}  {}{}  day {} of {}, seed {seed}",
            bold("a tea chain on regulars"),
            "━".repeat(passed),
            dim(&"─".repeat(BAR_WIDTH - passed)),
            figures.day,
            figures.days
        ),
        String::new(),
    ];
    frame.extend(figure_lines(figures).into_iter().map(|(name, text)| format!("  {}  {text}", dim(&format!("{name:<10}")))));
    frame.push(format!("  {}  {}", dim("calls     "), call_line(calls)));
    frame.push(String::new());
    frame.extend(story.iter().map(|line| format!("  {line}")));
    frame
}

fn figure_lines(figures: &Figures) -> Vec<(&'static str, String)> {
    let Figures { members, purchases, strangers, revenue, returns, issued, redeemed, taken_back, outstanding, .. } = figures;
    let n = |number: &i64| grouped(*number);
    vec![
        ("members", n(members)),
        (
            "purchases",
            format!(
                "{}, {} of them by strangers, {} returns, CNY {}.{:02} net",
                n(purchases),
                n(strangers),
                n(returns),
                grouped(revenue / 100),
                revenue % 100
            ),
        ),
        ("points", format!("{} issued, {} redeemed, {} taken back, {} outstanding", n(issued), n(redeemed), n(taken_back), n(outstanding))),
        ("tiers", tier_line(figures)),
        ("referrals", states(&figures.referrals)),
        ("surveys", states(&figures.invitations)),
        ("NPS", score_line(figures)),
    ]
}

fn tier_line(figures: &Figures) -> String {
    let most = figures.tiers.values().copied().max().unwrap_or(0).max(1);
    let bars = LEVELS.iter().map(|level| {
        let count = figures.tiers.get(*level).copied().unwrap_or(0);
        let width = usize::try_from(count * 12 / most).unwrap_or(0);
        format!("{level} {} {}", "█".repeat(width.max(usize::from(count > 0))), grouped(count))
    });
    bars.collect::<Vec<_>>().join("   ")
}

fn states(counts: &std::collections::BTreeMap<String, i64>) -> String {
    if counts.is_empty() {
        return "none yet".to_owned();
    }
    counts.iter().map(|(state, count)| format!("{} {state}", grouped(*count))).collect::<Vec<_>>().join(", ")
}

fn score_line(figures: &Figures) -> String {
    match figures.nps {
        Some(score) => {
            format!("{:+.0}  (95 % interval {:+.0} to {:+.0}, {} answers)", score.nps, score.low, score.high, grouped(score.responses))
        }
        None => "too few answers yet".to_owned(),
    }
}

fn call_line(calls: &CallFigures) -> String {
    let count = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
    let refused: u64 = calls.refused.values().sum();
    format!(
        "{}, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {} sent again and answered alike, {} refused",
        count(calls.made),
        calls.per_second,
        calls.p50_ms,
        calls.p99_ms,
        count(calls.replayed),
        count(refused)
    )
}

/// The board in one line.
fn line(figures: &Figures, calls: &CallFigures) -> String {
    let tiers: Vec<String> = figures.tiers.iter().map(|(tier, count)| format!("{count} {tier}")).collect();
    format!(
        "day {}/{}  {} members  {} purchases  {} points outstanding  {}  NPS {}  {:.0} calls/s  p99 {:.1} ms",
        figures.day,
        figures.days,
        grouped(figures.members),
        grouped(figures.purchases),
        grouped(figures.outstanding),
        tiers.join(" "),
        figures.nps.map_or("-".to_owned(), |score| format!("{:+.0}", score.nps)),
        calls.per_second,
        calls.p99_ms
    )
}

/// What is left on the screen in the end.
pub(super) fn farewell(summary: &Summary) -> String {
    let Summary { program, figures, calls, stores, tills, books } = summary;
    let mut text = format!("{program}: {} days in {stores} stores with {tills} tills\n", figures.day);
    for (name, line) in figure_lines(figures) {
        text.push_str(&format!("  {name:<10}  {line}\n"));
    }
    text.push_str(&format!(
        "  calls       {}, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms; {} sent again, {} answered otherwise than the first time\n",
        grouped(i64::try_from(calls.made).unwrap_or(i64::MAX)),
        calls.per_second_mean,
        calls.p50_ms,
        calls.p99_ms,
        calls.replayed,
        calls.differed
    ));
    for (reason, count) in &calls.refused {
        text.push_str(&format!("  refused     {count} with {reason}\n"));
    }
    text.push_str(&match books {
        None => "all figures come from the feeds of the suite\n".to_owned(),
        Some(books) if books.differences > 0 => format!("NOT SOUND: {} differences between balances and entries\n", books.differences),
        Some(books) if books.points != i128::from(figures.outstanding) => {
            format!("NOT SOUND: the ledger holds {} points, the feed tells of {}\n", grouped(books.points), grouped(figures.outstanding))
        }
        Some(books) => format!(
            "sound: all figures come from the feeds; the ledger, derived anew from {} entries of {} accounts, holds the same {} points\n",
            grouped(i64::try_from(books.entries).unwrap_or(i64::MAX)),
            grouped(i64::try_from(books.accounts).unwrap_or(i64::MAX)),
            grouped(books.points)
        ),
    });
    text
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn dim(text: &str) -> String {
    styled("2", text)
}

/// Colours and weights are for those who want them: <https://no-color.org>.
fn styled(code: &str, text: &str) -> String {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_same_height_at_the_beginning_and_later() {
        let calls = Calls::new().figures();
        let early = frame(&Figures::default(), &calls, &[], 7);
        let figures = Figures { day: 28, days: 28, tiers: [("jade".to_owned(), 3)].into(), ..Figures::default() };
        let late = frame(&figures, &calls, &["08:15 Riverside    Mei joins".to_owned()], 7);
        assert_eq!(early.len() + 1, late.len());
        assert!(late.iter().any(|line| line.contains("jade ████████████ 3")), "{late:?}");
    }
}
