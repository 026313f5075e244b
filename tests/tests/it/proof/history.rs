//! What clients asked and what they were answered, with enough of the order in time to judge it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Clock;
use proto::events::MemberState;
use proto::points as pb;

use super::calls::{Answer, Call, Meaning};
use super::model::micros;

/// A call with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) call: Call,
    pub(crate) meaning: Meaning,
    /// The call lies between these two ticks; ticks order everything in the test.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// The same by the time of this machine.
    machine: (i64, i64),
    /// What the server's clock may have shown between them.
    pub(crate) nows: Vec<(i64, i64)>,
}

impl Event {
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.meaning {
            Meaning::Done(answer) | Meaning::Refused(answer) => Some(answer),
            Meaning::Transient | Meaning::Unknown => None,
        }
    }
}

/// A clock set by the test: from when to when it was being set to what, a moment or a distance from this machine's time.
struct Setting {
    before: u64,
    after: u64,
    to: i64,
}

/// What another service has told the ledger of a member; the ledger came to know it between these two ticks.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) member: String,
    pub(crate) state: MemberState,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// Writes down what happens.
pub(crate) struct Recorder {
    ticks: AtomicU64,
    events: Mutex<Vec<Event>>,
    told: Mutex<Vec<Told>>,
    settings: Mutex<Vec<Setting>>,
    /// The server's clock stands still between two settings; else it runs with this machine's, at a distance.
    stands: bool,
}

impl Recorder {
    /// For a server whose clock only the test moves, and stands at `now`.
    pub(crate) fn with_clock(now: i64) -> Recorder {
        Recorder::new(now, true)
    }

    /// For servers with the time of this machine, until the test moves their clock away from it.
    pub(crate) fn with_machine_time() -> Recorder {
        Recorder::new(0, false)
    }

    fn new(to: i64, stands: bool) -> Recorder {
        let settings = Mutex::new(vec![Setting { before: 0, after: 0, to }]);
        Recorder { ticks: AtomicU64::new(1), events: Mutex::default(), told: Mutex::default(), settings, stands }
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Moves the clock and notes to what.
    pub(crate) fn set_clock(&self, set: impl FnOnce() -> i64) {
        // Under one lock, so that the notes are in the order of the settings.
        let mut settings = self.settings.lock().unwrap();
        let before = self.tick();
        let to = set();
        settings.push(Setting { before, after: self.tick(), to });
    }

    /// Makes a call and writes down what it meant.
    pub(crate) async fn call(&self, call: Call, sent: impl Future<Output = Meaning>) -> Meaning {
        let (begin, from) = (self.tick(), machine_time());
        let meaning = sent.await;
        let (until, end) = (machine_time(), self.tick());
        self.events.lock().unwrap().push(Event { call, meaning: meaning.clone(), begin, end, machine: (from, until), nows: Vec::new() });
        meaning
    }

    /// Tells the ledger the state of a member, and returns once it knows.
    pub(crate) async fn tell(&self, member: &str, state: MemberState, known: impl Future<Output = ()>) {
        let begin = self.tick();
        known.await;
        let end = self.tick();
        self.told.lock().unwrap().push(Told { member: member.to_owned(), state, begin, end });
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Everything that was written down, in the order in which calls began.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap().clone();
        events.sort_by_key(|event| event.begin);
        for event in &mut events {
            event.nows = self.nows(event.begin, event.end, event.machine);
        }
        events
    }

    /// What the server's clock may have shown between two ticks.
    fn nows(&self, begin: u64, end: u64, (from, until): (i64, i64)) -> Vec<(i64, i64)> {
        let settings = self.settings.lock().unwrap();
        let ends = settings.iter().skip(1).map(|next| next.after).chain([u64::MAX]);
        let shown = settings.iter().zip(ends).filter(|(setting, until)| setting.before < end && begin < *until);
        shown.map(|(Setting { to, .. }, _)| if self.stands { (*to, *to) } else { (from + to, until + to) }).collect()
    }

    /// The tick before which the clock cannot have shown a moment.
    pub(crate) fn shown_since(&self, now: i64) -> u64 {
        let settings = self.settings.lock().unwrap();
        let shown = settings.iter().filter(|setting| self.stands && setting.to == now).map(|setting| setting.before);
        shown.min().unwrap_or(0)
    }

    /// The calls whose outcome is known. A call whose answer was lost is known by the answers to the same request: when one says that
    /// it did something, the lost call did nothing that counts; when all say "again", some lost call did it, anywhere between the first
    /// attempt and the first repetition of its answer. Every request must have been answered in the end.
    pub(crate) fn resolved(&self) -> Vec<Event> {
        let events = self.events();
        let mut known: Vec<Event> = events.iter().filter(|event| event.answer().is_some()).cloned().collect();
        let mut lost: HashMap<&str, Vec<&Event>> = HashMap::new();
        for event in events.iter().filter(|event| event.answer().is_none()) {
            if let Some(id) = event.call.request_id() {
                lost.entry(id).or_default().push(event);
            }
        }
        for (id, attempts) in lost {
            known.extend(self.lost_call(id, &attempts, &events));
        }
        known.sort_by_key(|event| event.begin);
        known
    }

    /// The call that did what its answers repeat, where one of the lost ones must have.
    fn lost_call(&self, id: &str, attempts: &[&Event], events: &[Event]) -> Option<Event> {
        let answers: Vec<&Event> = events.iter().filter(|event| event.call.request_id() == Some(id) && event.answer().is_some()).collect();
        assert!(!answers.is_empty(), "request {id} was never answered: {:?}", attempts[0]);
        let first = |answer: &Answer| !answer.replayed && (answer.result.is_ok() || is_bound(answer));
        if answers.iter().any(|event| event.answer().is_some_and(first)) {
            return None;
        }
        let repeated = answers.iter().filter(|event| event.answer().is_some_and(|answer| answer.replayed));
        let repeated = repeated.min_by_key(|event| event.end)?;
        let attempts = attempts.iter().filter(|event| event.call == repeated.call && event.begin < repeated.end);
        let begun = attempts.min_by_key(|event| event.begin)?;
        let operation = repeated.answer().and_then(|answer| repeated.call.operation(answer));
        if operation.is_some_and(|operation| operation.request_id != id) {
            // What it records had been recorded under another id: there was nothing to do.
            return None;
        }
        let answer = Answer { replayed: false, ..repeated.answer().expect("it was filtered for one").clone() };
        let meaning = if answer.result.is_ok() { Meaning::Done(answer) } else { Meaning::Refused(answer) };
        let (begin, end, machine) = (begun.begin, repeated.end, (begun.machine.0, repeated.machine.1));
        Some(Event { call: repeated.call.clone(), meaning, begin, end, machine, nows: self.nows(begin, end, machine) })
    }
}

fn machine_time() -> i64 {
    kernel::SystemClock.now().as_micros()
}

/// Whether a refusal stays with its request. What waits for nothing may wait for it in a moment.
pub(crate) fn is_bound(answer: &Answer) -> bool {
    answer.result.as_ref().is_err_and(|refusal| refusal.code == tonic::Code::FailedPrecondition && refusal.reason != "NOTHING_PENDING")
}

/// The books of each member as the last listing of them showed them, oldest entry first.
pub(crate) fn books(events: &[Event]) -> BTreeMap<String, Vec<pb::Entry>> {
    let mut books = BTreeMap::new();
    for event in events {
        if let (Call::ListEntries(request), Some(answer)) = (&event.call, event.answer())
            && let Some(page) = answer.message::<pb::ListEntriesResponse>()
            && page.next_page_token.is_empty()
        {
            books.insert(request.parent.clone(), page.entries.into_iter().rev().collect());
        }
    }
    books
}

/// The moment at which the server says that it did something or looked.
pub(crate) fn told_moment(call: &Call, answer: &Answer) -> Option<i64> {
    if answer.replayed {
        return None;
    }
    let time = match call {
        Call::GetBalance(_) => answer.message::<pb::Balance>()?.as_of_time,
        Call::PreviewAward(_) => answer.message::<pb::AwardPreview>()?.balance?.as_of_time,
        _ => call.operation(answer)?.record_time,
    };
    time.as_ref().map(micros)
}
