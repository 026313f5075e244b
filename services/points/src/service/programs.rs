use kernel::{ProgramId, name};
use persistence::{RequestKey, retry};
use prost::Message;
use proto::points as pb;
use rpc::wire::{Page, moment};
use rpc::{Answer, status};
use tonic::{Code, Status};

use super::changes::{remember, remembered};
use super::parse::parse_program;
use super::{Call, Rpcs};
use crate::error;
use crate::message;
use crate::program::VersionRecord;
use crate::store;

/// What keeps a version from being made.
#[derive(Debug, thiserror::Error)]
enum NewVersionError {
    #[error("the version would start before the one that it follows")]
    StartNotAscending,
    #[error(transparent)]
    Store(#[from] persistence::Error),
}

impl persistence::IsRetryable for NewVersionError {
    fn is_retryable(&self) -> bool {
        matches!(self, NewVersionError::Store(error) if error.is_retryable())
    }
}

impl From<NewVersionError> for Status {
    fn from(error: NewVersionError) -> Status {
        match error {
            NewVersionError::StartNotAscending => {
                status::with_reason::<&str, &str>(Code::InvalidArgument, "START_TIME_NOT_ASCENDING", error.to_string(), [])
            }
            NewVersionError::Store(error) => status::from_store(error),
        }
    }
}

/// A version to be made.
struct NewVersion {
    program: ProgramId,
    terms: pb::Terms,
    start_at: kernel::Timestamp,
    author: String,
}

impl Rpcs {
    pub(super) async fn create_version(
        &self,
        call: &Call,
        message: pb::CreateProgramVersionRequest,
    ) -> Result<Answer<pb::ProgramVersion>, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let terms = message.terms.clone().ok_or_else(|| status::bad_request([("terms", "must be set")]))?;
        message::terms(&terms, &program.zone).map_err(|(field, what)| status::bad_request([(format!("terms.{field}"), what)]))?;
        let start_at = message.start_time.as_ref().map(|start| moment("start_time", start)).transpose()?.unwrap_or_else(|| self.now());
        let new = NewVersion { program: program.id.clone(), terms, start_at, author: call.caller.actor() };
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let answer = retry(|| self.try_create_version(&key, &new)).await?;
        self.programs.forget(&program.id);
        Ok(answer)
    }

    async fn try_create_version(&self, key: &RequestKey, new: &NewVersion) -> Result<Answer<pb::ProgramVersion>, NewVersionError> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let last = store::program_versions(&mut tx, &new.program).await?.pop();
        let number = last.as_ref().map_or(1, |(number, ..)| number + 1);
        if last.is_some_and(|(_, start_at, ..)| new.start_at < start_at.into()) {
            return Err(NewVersionError::StartNotAscending);
        }
        store::insert_version(&mut tx, &new.program, number, new.start_at, now, &new.author, &new.terms.encode_to_vec()).await?;
        let record =
            VersionRecord { number, start_at: new.start_at, created_at: now, author: new.author.clone(), terms: new.terms.clone() };
        let answer = message::version(&new.program, record);
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn version(&self, message: pb::GetProgramVersionRequest) -> Result<pb::ProgramVersion, Status> {
        let missing = || error::not_found("PROGRAM_VERSION_NOT_FOUND", "version of the program");
        let [program, number] = name::segments(&message.name, "programs/{program}/versions/{version}")
            .map_err(|error| status::bad_request([("name", error.to_string())]))?;
        let program = ProgramId::parse(program).map_err(|error| status::bad_request([("name", error.to_string())]))?;
        let records = self.programs.versions(&program).await.map_err(status::from_store)?;
        let found = records.into_iter().find(|record| record.number.to_string() == number).ok_or_else(missing)?;
        Ok(message::version(&program, found))
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
        let mut records = self.programs.versions(&program.id).await.map_err(status::from_store)?;
        records.retain(|record| record.number < before);
        records.reverse();
        let (records, next_page_token) = page.cut(records, |record| [record.number.to_string()]);
        Ok(pb::ListProgramVersionsResponse {
            versions: records.into_iter().map(|record| message::version(&program.id, record)).collect(),
            next_page_token,
        })
    }
}
