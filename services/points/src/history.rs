//! The versions of a program's terms, how each stands at a moment, and what may become of it. A version never changes what it says.

use kernel::{ProgramId, Timestamp};
use persistence::Error;
use prost::Message;
use proto::points as pb;
use proto::points::program_version::State;
use rpc::status;
use rpc::wire::timestamp;
use tonic::{Code, Status};

use crate::store::VersionRow;

/// A version with what only readers of the list want, and with its terms where they are wanted.
#[derive(Clone)]
pub(crate) struct VersionRecord<T = pb::Terms> {
    pub(crate) number: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) author: String,
    pub(crate) terms: T,
    /// The version whose terms it brought back.
    pub(crate) restored: Option<i64>,
    /// `None` for a draft.
    pub(crate) scheduled: Option<Scheduled>,
    /// When and by whom it was given up.
    pub(crate) retired: Option<(Timestamp, String)>,
}

/// What is known of a version that holds, or was to hold.
#[derive(Clone)]
pub(crate) struct Scheduled {
    pub(crate) start_at: Timestamp,
    /// Its place among those that were ever scheduled: starts ascend in it.
    pub(crate) ordinal: i64,
    pub(crate) at: Timestamp,
    pub(crate) by: String,
}

/// Why a version cannot become what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionRefusal {
    #[error("there is no such version of the program")]
    NotFound,
    #[error("the version would start before version {number}, which it follows")]
    StartNotAscending { number: i64 },
    #[error("the version would start in the past: what was bought under other terms keeps them")]
    StartInPast,
    #[error("the version has been scheduled already")]
    NotDraft,
    #[error("the version has been retired")]
    Retired,
    #[error("the version has started, or is about to: it can only be replaced by another")]
    Started,
    #[error("only a version that held before, and does not now, can be rolled back to")]
    NotSuperseded,
}

impl VersionRefusal {
    pub(crate) fn status(&self, program: &ProgramId) -> Status {
        let (code, reason) = match self {
            VersionRefusal::NotFound => (Code::NotFound, "PROGRAM_VERSION_NOT_FOUND"),
            VersionRefusal::StartNotAscending { .. } => (Code::InvalidArgument, "START_TIME_NOT_ASCENDING"),
            VersionRefusal::StartInPast => (Code::InvalidArgument, "START_TIME_IN_PAST"),
            VersionRefusal::NotDraft => (Code::FailedPrecondition, "VERSION_NOT_DRAFT"),
            VersionRefusal::Retired => (Code::FailedPrecondition, "VERSION_RETIRED"),
            VersionRefusal::Started => (Code::FailedPrecondition, "VERSION_STARTED"),
            VersionRefusal::NotSuperseded => (Code::FailedPrecondition, "VERSION_NOT_SUPERSEDED"),
        };
        let metadata = match self {
            VersionRefusal::StartNotAscending { number } => Some(("version", program.name_of("versions", &number.to_string()))),
            _ => None,
        };
        status::with_reason(code, reason, self.to_string(), metadata)
    }
}

/// All versions of a program, by number.
pub(crate) struct History<T = pb::Terms>(Vec<VersionRecord<T>>);

impl History {
    pub(crate) fn read(rows: Vec<VersionRow>) -> Result<History, Error> {
        let with_terms = |row: VersionRow| {
            let terms = decode_terms(&row.terms)?;
            Ok(record(row, terms))
        };
        rows.into_iter().map(with_terms).collect::<Result<_, _>>().map(History)
    }
}

impl History<()> {
    pub(crate) fn of_heads(rows: Vec<VersionRow>) -> History<()> {
        History(rows.into_iter().map(|row| record(row, ())).collect())
    }
}

impl<T: Clone> History<T> {
    pub(crate) fn records(&self) -> &[VersionRecord<T>] {
        &self.0
    }

    /// A version by the last part of its name.
    pub(crate) fn find(&self, number: &str) -> Result<&VersionRecord<T>, VersionRefusal> {
        self.0.iter().find(|record| record.number.to_string() == number).ok_or(VersionRefusal::NotFound)
    }

    /// Those that hold at their time, in the order in which they follow each other.
    pub(crate) fn holding(&self) -> Vec<(&VersionRecord<T>, &Scheduled)> {
        let mut holding: Vec<_> = self
            .0
            .iter()
            .filter(|record| record.retired.is_none())
            .filter_map(|record| Some((record, record.scheduled.as_ref()?)))
            .collect();
        holding.sort_by_key(|(_, scheduled)| scheduled.ordinal);
        holding
    }

    /// What is bought now is judged by it: the last that has started, or the first.
    pub(crate) fn active(&self, now: Timestamp) -> Option<&VersionRecord<T>> {
        let holding = self.holding();
        let started = holding.iter().rev().find(|(_, scheduled)| scheduled.start_at <= now);
        started.or(holding.first()).map(|(record, _)| *record)
    }

    pub(crate) fn state(&self, record: &VersionRecord<T>, now: Timestamp) -> State {
        let is_active = || self.active(now).is_some_and(|active| active.number == record.number);
        match (&record.retired, &record.scheduled) {
            (Some(_), _) => State::Retired,
            (None, None) => State::Draft,
            (None, Some(_)) if is_active() => State::Active,
            (None, Some(scheduled)) if scheduled.start_at > now => State::Scheduled,
            (None, Some(_)) => State::Superseded,
        }
    }

    /// A number is never used again, whatever became of its version.
    pub(crate) fn next_number(&self) -> i64 {
        self.0.last().map_or(1, |record| record.number + 1)
    }

    /// The place of a version that is to hold from a moment on, after all others.
    pub(crate) fn place(&self, start_at: Timestamp) -> Result<(Timestamp, i64), VersionRefusal> {
        if let Some((last, scheduled)) = self.holding().last()
            && start_at < scheduled.start_at
        {
            return Err(VersionRefusal::StartNotAscending { number: last.number });
        }
        let taken = self.0.iter().filter_map(|record| record.scheduled.as_ref()).map(|scheduled| scheduled.ordinal).max();
        Ok((start_at, taken.unwrap_or(0) + 1))
    }

    /// The same of a draft: it may start in the past only where nothing holds yet.
    pub(crate) fn place_of(
        &self,
        draft: &VersionRecord<T>,
        start_at: Timestamp,
        now: Timestamp,
    ) -> Result<(Timestamp, i64), VersionRefusal> {
        match self.state(draft, now) {
            State::Draft => {}
            State::Retired => return Err(VersionRefusal::Retired),
            _ => return Err(VersionRefusal::NotDraft),
        }
        if start_at < now && !self.holding().is_empty() {
            return Err(VersionRefusal::StartInPast);
        }
        self.place(start_at)
    }

    /// Whether a version can be given up that must not start before `until`: until then tills may have used it already.
    pub(crate) fn check_retirable(&self, record: &VersionRecord<T>, now: Timestamp, until: Timestamp) -> Result<(), VersionRefusal> {
        match (self.state(record, now), &record.scheduled) {
            (State::Retired, _) => Err(VersionRefusal::Retired),
            (State::Draft, _) => Ok(()),
            (State::Scheduled, Some(scheduled)) if scheduled.start_at > until => Ok(()),
            _ => Err(VersionRefusal::Started),
        }
    }
}

impl History {
    /// Whether a version has a wallet beside the main one, drafts included.
    pub(crate) fn name_wallet(&self, name: &str) -> bool {
        self.0.iter().flat_map(|record| &record.terms.wallets).any(|wallet| wallet.wallet == name)
    }

    /// A version as it is told.
    pub(crate) fn told(&self, program: &ProgramId, record: &VersionRecord, now: Timestamp) -> pb::ProgramVersion {
        let name = |number: i64| program.name_of("versions", &number.to_string());
        let VersionRecord { number, created_at, author, terms, restored, scheduled, retired } = record.clone();
        let (retire_time, retirer) = retired.unzip();
        pb::ProgramVersion {
            name: name(number),
            terms: Some(terms),
            start_time: scheduled.as_ref().map(|scheduled| timestamp(scheduled.start_at)),
            create_time: Some(timestamp(created_at)),
            author,
            state: self.state(record, now).into(),
            schedule_time: scheduled.as_ref().map(|scheduled| timestamp(scheduled.at)),
            scheduler: scheduled.map(|scheduled| scheduled.by).unwrap_or_default(),
            retire_time: retire_time.map(timestamp),
            retirer: retirer.unwrap_or_default(),
            restored_version: restored.map(name).unwrap_or_default(),
        }
    }
}

/// Reads what a version says.
pub(crate) fn decode_terms(terms: &[u8]) -> Result<pb::Terms, Error> {
    pb::Terms::decode(terms).map_err(|_| Error::Corrupt("terms of a program".to_owned()))
}

fn record<T>(row: VersionRow, terms: T) -> VersionRecord<T> {
    let VersionRow {
        number,
        created_at,
        author,
        terms: _,
        restored,
        start_at,
        ordinal,
        scheduled_at,
        scheduled_by,
        retired_at,
        retired_by,
    } = row;
    // A process that does not know of drafts yet leaves out what it does not know: its versions hold in the order of their numbers.
    let scheduled = start_at.map(|start_at| Scheduled {
        start_at: start_at.into(),
        ordinal: ordinal.unwrap_or(number),
        at: scheduled_at.unwrap_or(created_at).into(),
        by: scheduled_by.unwrap_or_else(|| author.clone()),
    });
    let retired = retired_at.map(|at| (at.into(), retired_by.unwrap_or_default()));
    VersionRecord { number, created_at: created_at.into(), author, terms, restored, scheduled, retired }
}
