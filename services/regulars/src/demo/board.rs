//! What is known of the chain at this moment: told by the feeds, shown by the screen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::events::event::Payload;
use proto::events::{Event, MemberState, Posting};
use proto::feedback::GetNpsResponse;

use super::Books;
use super::calls::{CallFigures, Calls};
use super::chain::{Chain, LEVELS};

/// Lines of the story that are kept.
const LINES_MAX: usize = 8;
/// The feeds have told everything when they were silent for so long.
const SILENCE: Duration = Duration::from_millis(2500);

/// The figures and the last lines of the story.
pub(super) struct Board {
    program: String,
    known: Mutex<Known>,
}

struct Known {
    figures: Figures,
    lines: VecDeque<String>,
    /// State of each referral and each invitation by name, to count states from changes.
    referrals: HashMap<String, String>,
    invitations: HashMap<String, String>,
    last_event: Instant,
}

/// Everything that the screen shows, but the calls.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub(super) struct Figures {
    /// Day of the story, from 1.
    pub(super) day: u32,
    pub(super) days: u32,
    pub(super) events: u64,
    pub(super) members: i64,
    pub(super) purchases: i64,
    pub(super) strangers: i64,
    /// Net of all purchases less what went back, in minor units.
    pub(super) revenue: i64,
    pub(super) returns: i64,
    pub(super) issued: i64,
    pub(super) redeemed: i64,
    /// Taken back with returned goods and ended referrals, corrected, lapsed.
    pub(super) taken_back: i64,
    /// The sum of all movements.
    pub(super) outstanding: i64,
    pub(super) tiers: BTreeMap<String, i64>,
    pub(super) referrals: BTreeMap<String, i64>,
    pub(super) invitations: BTreeMap<String, i64>,
    pub(super) nps: Option<Score>,
}

/// A net promoter score with its interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Score {
    pub(super) nps: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) responses: i64,
}

/// The end of the story.
#[derive(Debug, serde::Serialize)]
pub(super) struct Summary {
    pub(super) program: String,
    pub(super) figures: Figures,
    pub(super) calls: CallFigures,
    pub(super) stores: usize,
    pub(super) tills: usize,
    /// What the suite's ledger says, when the suite was the demo's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) books: Option<Books>,
}

impl Summary {
    /// The ledger agrees with itself and with the feed, and every answer stayed the same.
    pub(super) fn is_sound(&self) -> bool {
        let books = self.books.as_ref();
        self.calls.differed == 0 && books.is_none_or(|books| books.differences == 0 && books.points == i128::from(self.figures.outstanding))
    }
}

impl Board {
    pub(super) fn new(program: String) -> Board {
        let known = Known {
            figures: Figures::default(),
            lines: VecDeque::new(),
            referrals: HashMap::new(),
            invitations: HashMap::new(),
            last_event: Instant::now(),
        };
        Board { program, known: Mutex::new(known) }
    }

    /// Takes an event in. Those of other programs are passed over.
    pub(super) fn hear(&self, event: &Event) {
        if event.program == self.program {
            self.lock().hear(event);
        }
    }

    /// Adds a line to the story.
    pub(super) fn tell(&self, line: String) {
        let lines = &mut self.lock().lines;
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn begin_day(&self, day: u32, days: u32) {
        let figures = &mut self.lock().figures;
        (figures.day, figures.days) = (day, days);
    }

    /// Takes a score in; with few answers there is none.
    pub(super) fn score(&self, answer: &GetNpsResponse) {
        if let (Some(nps), Some(low), Some(high), Some(responses)) =
            (answer.nps, answer.interval_low, answer.interval_high, answer.response_count)
        {
            self.lock().figures.nps = Some(Score { nps, low, high, responses });
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.lock().figures.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// Waits until the feeds have nothing more to tell, at most so long.
    pub(super) async fn settle(&self, longest: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < longest && (begun.elapsed() < SILENCE || self.lock().last_event.elapsed() < SILENCE) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) fn summary(&self, calls: &Calls, chain: &Chain, books: Option<Books>) -> Summary {
        Summary {
            program: self.program.clone(),
            figures: self.figures(),
            calls: calls.figures(),
            stores: chain.shops.len(),
            tills: chain.shops.iter().map(|shop| shop.tills.len()).sum(),
            books,
        }
    }

    /// Nothing that is done under this lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn hear(&mut self, event: &Event) {
        self.last_event = Instant::now();
        let figures = &mut self.figures;
        figures.events += 1;
        match &event.payload {
            Some(Payload::MemberEnrolled(enrolled)) => figures.members += i64::from(enrolled.state() == MemberState::Active),
            Some(Payload::PurchaseRecorded(recorded)) => {
                figures.purchases += 1;
                figures.strangers += i64::from(event.member.is_empty());
                figures.revenue += recorded.net.as_ref().map_or(0, |net| net.minor_units);
                figures.post(&recorded.postings);
            }
            Some(Payload::PurchaseReturned(returned)) => {
                figures.returns += 1;
                figures.revenue -= returned.returned.as_ref().map_or(0, |net| net.minor_units);
                figures.post(&returned.postings);
            }
            Some(Payload::PointsPosted(posted)) => figures.post(&posted.postings),
            Some(Payload::TierChanged(changed)) => {
                *figures.tiers.entry(changed.previous_tier.clone()).or_default() -= 1;
                *figures.tiers.entry(changed.tier.clone()).or_default() += 1;
                // Those without a tier are not a tier.
                figures.tiers.retain(|tier, count| !tier.is_empty() && (*count != 0 || LEVELS.contains(&tier.as_str())));
            }
            Some(Payload::ReferralChanged(changed)) => {
                moved(&mut self.referrals, &mut figures.referrals, &changed.referral, &changed.state);
            }
            Some(Payload::SurveyInvitationChanged(changed)) => {
                moved(&mut self.invitations, &mut figures.invitations, &changed.invitation, &changed.state);
            }
            Some(Payload::DirectoryChanged(_) | Payload::MemberChanged(_) | Payload::VoucherChanged(_) | Payload::BudgetChanged(_))
            | None => {}
        }
    }
}

/// The wallet that every account has.
const MAIN_WALLET: &str = "points";

impl Figures {
    fn post(&mut self, postings: &[Posting]) {
        for posting in postings.iter().filter(|posting| posting.wallet == MAIN_WALLET) {
            self.outstanding += posting.points;
            match posting.kind.as_str() {
                "REDEEM" | "CAPTURE" | "REFUND" => self.redeemed -= posting.points,
                // What one member loses by these another has gained.
                "TRANSFER_OUT" | "TRANSFER_IN" | "MERGE_OUT" | "MERGE_IN" | "UNMERGE_OUT" | "UNMERGE_IN" => {}
                "FORGIVE" => self.taken_back -= posting.points,
                _ if posting.points >= 0 => self.issued += posting.points,
                _ => self.taken_back -= posting.points,
            }
        }
    }
}

/// Counts something under its new state and no longer under the one before.
fn moved(states: &mut HashMap<String, String>, counts: &mut BTreeMap<String, i64>, name: &str, state: &str) {
    let state = state.to_lowercase();
    *counts.entry(state.clone()).or_default() += 1;
    if let Some(before) = states.insert(name.to_owned(), state) {
        *counts.entry(before).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
}

#[cfg(test)]
mod tests {
    use proto::events::{PointsPosted, ReferralChanged, TierChanged};

    use super::*;

    fn hear(board: &Board, program: &str, payload: Payload) {
        board.hear(&Event { program: program.to_owned(), payload: Some(payload), ..Event::default() });
    }

    #[test]
    fn points_add_up() {
        let board = Board::new("programs/tea".to_owned());
        let posted = |kind: &str, points| {
            let posting = |wallet: &str| Posting { kind: kind.to_owned(), wallet: wallet.to_owned(), points, ..Posting::default() };
            // Points of another wallet are none of these.
            let postings = vec![posting("points"), posting("stars")];
            Payload::PointsPosted(PointsPosted { operation: kind.to_owned(), postings, ..PointsPosted::default() })
        };
        for (kind, points) in [("AWARD", 100), ("REWARD", 50), ("REDEEM", -60), ("CAPTURE", -20), ("CLAWBACK", -10), ("RESERVE", 0)] {
            hear(&board, "programs/tea", posted(kind, points));
        }
        hear(&board, "programs/coffee", posted("AWARD", 7));
        let figures = board.figures();
        assert_eq!((figures.issued, figures.redeemed, figures.taken_back, figures.outstanding), (150, 80, 10, 60));
    }

    #[test]
    fn each_referral_and_member_is_counted_in_one_place() {
        let board = Board::new("programs/tea".to_owned());
        for (referral, state) in [("r1", "PENDING"), ("r2", "PENDING"), ("r1", "APPROVED")] {
            let changed = ReferralChanged { referral: referral.to_owned(), state: state.to_owned(), ..ReferralChanged::default() };
            hear(&board, "programs/tea", Payload::ReferralChanged(changed));
        }
        for (before, after) in [("", "leaf"), ("", "leaf"), ("leaf", "jade")] {
            let changed = TierChanged { previous_tier: before.to_owned(), tier: after.to_owned(), ..TierChanged::default() };
            hear(&board, "programs/tea", Payload::TierChanged(changed));
        }
        let figures = board.figures();
        assert_eq!(figures.referrals, BTreeMap::from([("pending".to_owned(), 1), ("approved".to_owned(), 1)]));
        assert_eq!(figures.tiers, BTreeMap::from([("leaf".to_owned(), 1), ("jade".to_owned(), 1)]));
    }
}
