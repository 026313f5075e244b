use kernel::{ProgramId, Timestamp, Zone, name};
use persistence::{RequestKey, Tx, retry};
use prost::{Message, Name};
use proto::check::Checked;
use proto::points as pb;
use proto::points::program_version::State;
use rpc::wire::{Page, moment};
use rpc::{Answer, status};
use tonic::Status;

use super::changes::{remember, remembered};
use super::parse::{bad_name, parse_program};
use super::{Call, Rpcs};
use crate::history::{History, VersionRefusal};
use crate::message;
use crate::program::AGE_MAX;
use crate::store::{self, NewVersion};

const VERSION: &str = "programs/{program}/versions/{version}";

/// Program and number of a version.
pub(super) fn parse_version<'a>(field: &'static str, text: &'a str) -> Result<(ProgramId, &'a str), Status> {
    let [program, number] = name::segments(text, VERSION).map_err(bad_name(field))?;
    Ok((ProgramId::parse(program).map_err(bad_name(field))?, number))
}

/// What is to become of a version of a program's terms.
enum Change<'a> {
    Create { terms: &'a pb::Terms, start_at: Option<Timestamp> },
    Draft { terms: &'a pb::Terms },
    Schedule { number: &'a str, start_at: Option<Timestamp> },
    Retire { number: &'a str },
    RollBack { number: &'a str },
}

/// What keeps a version from changing.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Refused(#[from] VersionRefusal),
    #[error(transparent)]
    Store(#[from] persistence::Error),
}

impl persistence::IsRetryable for ChangeError {
    fn is_retryable(&self) -> bool {
        matches!(self, ChangeError::Store(error) if error.is_retryable())
    }
}

impl Rpcs {
    pub(super) async fn create_version(
        &self,
        call: &Call,
        message: pb::CreateProgramVersionRequest,
    ) -> Result<Answer<pb::ProgramVersion>, Status> {
        let pb::CreateProgramVersionRequest { parent, terms, start_time, request_id, draft } = &message;
        let program = self.program(&parse_program("parent", parent)?).await?;
        let terms = checked_terms("terms", terms.as_ref(), &program.zone)?;
        let start_at = start_time.as_ref().map(|start| moment("start_time", start)).transpose()?;
        let change = match (draft, start_at) {
            (true, None) => Change::Draft { terms },
            (true, Some(_)) => return Err(status::bad_request([("start_time", "must be absent for a draft")])),
            (false, start_at) => Change::Create { terms, start_at },
        };
        self.change_version(call, &program.id, request_id, &message, &change).await
    }

    pub(super) async fn schedule_version(
        &self,
        call: &Call,
        message: pb::ScheduleProgramVersionRequest,
    ) -> Result<Answer<pb::ProgramVersion>, Status> {
        let pb::ScheduleProgramVersionRequest { name, start_time, request_id } = &message;
        let (program, number) = parse_version("name", name)?;
        let start_at = start_time.as_ref().map(|start| moment("start_time", start)).transpose()?;
        self.change_version(call, &program, request_id, &message, &Change::Schedule { number, start_at }).await
    }

    pub(super) async fn retire_version(
        &self,
        call: &Call,
        message: pb::RetireProgramVersionRequest,
    ) -> Result<Answer<pb::ProgramVersion>, Status> {
        let pb::RetireProgramVersionRequest { name, request_id } = &message;
        let (program, number) = parse_version("name", name)?;
        self.change_version(call, &program, request_id, &message, &Change::Retire { number }).await
    }

    pub(super) async fn roll_back(&self, call: &Call, message: pb::RollBackProgramRequest) -> Result<Answer<pb::ProgramVersion>, Status> {
        let pb::RollBackProgramRequest { version, request_id } = &message;
        let (program, number) = parse_version("version", version)?;
        self.change_version(call, &program, request_id, &message, &Change::RollBack { number }).await
    }

    async fn change_version<M>(
        &self,
        call: &Call,
        program: &ProgramId,
        request_id: &str,
        message: &M,
        change: &Change<'_>,
    ) -> Result<Answer<pb::ProgramVersion>, Status>
    where
        M: Message + Name + Checked,
    {
        let program = self.program(program).await?;
        let key = RequestKey::new(&self.keyring, &program.id, request_id, message);
        let actor = call.caller.actor();
        let answer = retry(|| self.try_change_version(&key, &program.id, change, &actor)).await;
        self.programs.forget(&program.id);
        answer.map_err(|error| match error {
            ChangeError::Refused(refusal) => refusal.status(&program.id),
            ChangeError::Store(error) => status::from_store(error),
        })
    }

    async fn try_change_version(
        &self,
        key: &RequestKey,
        program: &ProgramId,
        change: &Change<'_>,
        actor: &str,
    ) -> Result<Answer<pb::ProgramVersion>, ChangeError> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let history = History::read(store::program_versions(&mut tx, program).await?)?;
        let number = self.write_change(&mut tx, program, &history, change, actor, now).await?;
        let history = History::read(store::program_versions(&mut tx, program).await?)?;
        let answer = history.told(program, history.find(&number.to_string())?, now);
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// Writes what the history admits; the number of the version that it is about.
    async fn write_change(
        &self,
        tx: &mut Tx,
        program: &ProgramId,
        history: &History,
        change: &Change<'_>,
        author: &str,
        now: Timestamp,
    ) -> Result<i64, ChangeError> {
        let number = history.next_number();
        let (terms, restored, scheduled) = match *change {
            Change::Create { terms, start_at } => (terms, None, Some(history.place(start_at.unwrap_or(now))?)),
            Change::Draft { terms } => (terms, None, None),
            Change::RollBack { number } => {
                let earlier = history.find(number)?;
                if history.state(earlier, now) != State::Superseded {
                    return Err(VersionRefusal::NotSuperseded.into());
                }
                (&earlier.terms, Some(earlier.number), Some(history.place(now)?))
            }
            Change::Schedule { number, start_at } => {
                let draft = history.find(number)?;
                let place = history.place_of(draft, start_at.unwrap_or(now), now)?;
                store::schedule_version(tx, program, draft.number, place, author, now).await?;
                return Ok(draft.number);
            }
            Change::Retire { number } => {
                let version = history.find(number)?;
                // Other processes may hold on for a moment to what they have read.
                let until = (*self.clock.believed(now).end()).max(now + 2 * AGE_MAX);
                history.check_retirable(version, now, until)?;
                store::retire_version(tx, program, (version.number, version.scheduled.is_none()), author, now).await?;
                return Ok(version.number);
            }
        };
        let version = NewVersion { number, author, terms: &terms.encode_to_vec(), restored, scheduled };
        store::insert_version(tx, program, &version, now).await?;
        Ok(number)
    }

    pub(super) async fn version(&self, message: pb::GetProgramVersionRequest) -> Result<pb::ProgramVersion, Status> {
        let (program, number) = parse_version("name", &message.name)?;
        let history = self.programs.history(&program).await.map_err(status::from_store)?;
        let found = history.find(number).map_err(|refusal| refusal.status(&program))?;
        Ok(history.told(&program, found, self.now()))
    }

    pub(super) async fn versions(&self, message: pb::ListProgramVersionsRequest) -> Result<pb::ListProgramVersionsResponse, Status> {
        let pb::ListProgramVersionsRequest { parent, page_size, page_token } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let filter = ["versions", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let before = match &page.after {
            Some([number]) => number.parse().map_err(|_| status::bad_request([("page_token", "not a page token of this list")]))?,
            None => i64::MAX,
        };
        let history = self.programs.history(&program.id).await.map_err(status::from_store)?;
        let records = history.records().iter().rev().filter(|record| record.number < before).collect();
        let (records, next_page_token) = page.cut(records, |record| [record.number.to_string()]);
        let now = self.now();
        let versions = records.into_iter().map(|record| history.told(&program.id, record, now)).collect();
        Ok(pb::ListProgramVersionsResponse { versions, next_page_token })
    }
}

/// Terms without fault, or all faults.
pub(super) fn checked_terms<'a>(field: &str, given: Option<&'a pb::Terms>, zone: &Zone) -> Result<&'a pb::Terms, Status> {
    let terms = given.ok_or_else(|| status::bad_request([(field, "must be set")]))?;
    let wrong = message::wrong_terms(terms, zone);
    if wrong.is_empty() {
        Ok(terms)
    } else {
        Err(status::bad_request(wrong.into_iter().map(|(wrong, what)| (format!("{field}.{wrong}"), what))))
    }
}
