//! A program moves between environments as one file.

use kernel::ProgramId;
use persistence::{RequestKey, retry};
use prost::Message;
use proto::check::{Check, Checked};
use proto::points as pb;
use rpc::{Answer, status};
use tonic::{Code, Status};

use super::changes::{remember, remembered};
use super::parse::parse_program;
use super::programs::{checked_terms, parse_version};
use super::rewards::catalogue::new_row;
use super::{Call, Rpcs};
use crate::error;
use crate::history::History;
use crate::message::file::{self, FileError};
use crate::program::Program;
use crate::store::{self, NewVersion, RewardRow};

/// Rewards that are read at once.
const PAGE: i64 = 1000;

impl From<FileError> for Status {
    fn from(error: FileError) -> Status {
        let reason = match &error {
            FileError::Unreadable(_) => "PROGRAM_FILE_UNREADABLE",
            FileError::Format(_) => "PROGRAM_FILE_FORMAT",
            FileError::Digest => "PROGRAM_FILE_DIGEST",
        };
        status::with_reason::<&str, &str>(Code::InvalidArgument, reason, error.to_string(), [])
    }
}

/// What is to be taken in.
struct Import {
    program: ProgramId,
    terms: pb::Terms,
    rewards: Vec<RewardRow>,
    author: String,
    dry_run: bool,
}

impl Rpcs {
    pub(super) async fn export(&self, message: pb::ExportProgramRequest) -> Result<pb::ExportProgramResponse, Status> {
        let pb::ExportProgramRequest { parent, version } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let history = self.programs.history(&program.id).await.map_err(status::from_store)?;
        let record = match version.as_str() {
            "" => history.active(self.now()).ok_or_else(|| error::version_missing(&program.id))?,
            version => history.find(parse_version("version", version)?.1).map_err(|refusal| refusal.status(&program.id))?,
        };
        let rewards = self.rewards_to_export(&program.id).await.map_err(status::from_store)?;
        Ok(pb::ExportProgramResponse {
            content: file::write(&program, &record.terms, rewards),
            version: program.id.name_of("versions", &record.number.to_string()),
        })
    }

    async fn rewards_to_export(&self, program: &ProgramId) -> Result<Vec<(String, pb::RewardTerms)>, persistence::Error> {
        let mut tx = self.database.read().await?;
        let mut rewards = Vec::new();
        let mut after = String::new();
        loop {
            let rows = store::catalogue_by_id(&mut tx, program, &after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(rewards) };
            after.clone_from(&last.reward);
            for row in rows.into_iter().filter(|row| row.retired_at.is_none()) {
                rewards.push((row.reward, reward_terms(&row.details)?));
            }
        }
    }

    pub(super) async fn import(&self, call: &Call, message: pb::ImportProgramRequest) -> Result<Answer<pb::ImportProgramResponse>, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let pb::ProgramFile { format_version: _, digest: _, currency_code, terms, rewards, time_zone } =
            file::read(&program.id, &message.content)?;
        if currency_code != program.currency.as_str() {
            let text = format!("the file is of a program in another currency than {}", program.currency);
            let expected = [("expected", program.currency.to_string())];
            return Err(status::with_reason(Code::InvalidArgument, "CURRENCY_MISMATCH", text, expected));
        }
        if time_zone != program.zone.as_str() && !message.other_time_zone {
            let text = format!("the file is of a program in another time zone than {}", program.zone.as_str());
            let expected = [("expected", program.zone.as_str().to_owned())];
            return Err(status::with_reason(Code::InvalidArgument, "TIME_ZONE_MISMATCH", text, expected));
        }
        let (parent, request_id) = (message.parent.clone(), message.request_id.clone());
        let draft = pb::CreateProgramVersionRequest { parent, terms, request_id, draft: true, start_time: None };
        check("content", &draft)?;
        checked_terms("content.terms", draft.terms.as_ref(), &program.zone)?;
        let rows = rewards.into_iter().enumerate().map(|(index, reward)| self.reward_row(&program, &message, index, reward));
        let import = Import {
            program: program.id.clone(),
            terms: draft.terms.unwrap_or_default(),
            rewards: rows.collect::<Result<_, _>>()?,
            author: call.caller.actor(),
            dry_run: message.dry_run,
        };
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let answer = retry(|| self.try_import(&key, &import)).await;
        self.programs.forget(&program.id);
        answer.map_err(status::from_store)
    }

    /// A reward of a file as it would be created.
    fn reward_row(
        &self,
        program: &Program,
        message: &pb::ImportProgramRequest,
        index: usize,
        reward: pb::program_file::CatalogueReward,
    ) -> Result<RewardRow, Status> {
        let within = format!("content.rewards[{index}]");
        let (parent, request_id) = (message.parent.clone(), message.request_id.clone());
        let request =
            pb::CreateRewardRequest { parent, reward_id: reward.reward_id, terms: reward.terms.map(file::without_stock), request_id };
        check(&within, &request)?;
        new_row(program, &within, &request, self.now())
    }

    async fn try_import(&self, key: &RequestKey, import: &Import) -> Result<Answer<pb::ImportProgramResponse>, persistence::Error> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if !import.dry_run
            && let Some(first) = remembered(&mut tx, key, now).await?
        {
            return Ok(Answer::replay(first));
        }
        let mut answer = pb::ImportProgramResponse::default();
        for row in &import.rewards {
            let list = match store::catalogue_row(&mut tx, row.catalogue_key).await? {
                None => {
                    // Another may have made it since it was looked for: then it is looked at again.
                    if !import.dry_run && !store::insert_reward(&mut tx, &import.program, row).await? {
                        return Err(persistence::Error::Conflict);
                    }
                    &mut answer.created_rewards
                }
                Some(here) if here.retired_at.is_none() && is_same(&here, row)? => &mut answer.unchanged_rewards,
                Some(_) => &mut answer.different_rewards,
            };
            list.push(row.reward.clone());
        }
        if import.dry_run {
            return Ok(Answer::first(answer));
        }
        let history = History::read(store::program_versions(&mut tx, &import.program).await?)?;
        let terms = import.terms.encode_to_vec();
        let draft = NewVersion { number: history.next_number(), author: &import.author, terms: &terms, restored: None, scheduled: None };
        store::insert_version(&mut tx, &import.program, &draft, now).await?;
        let history = History::read(store::program_versions(&mut tx, &import.program).await?)?;
        answer.version = history.records().last().map(|draft| history.told(&import.program, draft, now));
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }
}

fn reward_terms(details: &[u8]) -> Result<pb::RewardTerms, persistence::Error> {
    pb::RewardTerms::decode(details).map_err(|_| persistence::Error::Corrupt("terms of a reward".to_owned()))
}

/// Whether two rewards are the same but for their stock.
fn is_same(here: &RewardRow, there: &RewardRow) -> Result<bool, persistence::Error> {
    let terms = |row: &RewardRow| reward_terms(&row.details).map(file::without_stock);
    Ok(terms(here)? == terms(there)?)
}

/// Refuses what the rules of its fields refuse; `within` is where it stands in the request.
fn check(within: &str, message: &impl Checked) -> Result<(), Status> {
    let check = Check::of(message);
    let violations = check.violations();
    if violations.is_empty() {
        return Ok(());
    }
    Err(status::bad_request(violations.iter().map(|violation| (format!("{within}.{}", violation.field), violation.description.clone()))))
}
