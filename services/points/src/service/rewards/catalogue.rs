use std::sync::Arc;

use kernel::{ProgramId, Timestamp, Uuid, name};
use persistence::{DbTime, RequestKey, retry};
use prost::Message;
use proto::points as pb;
use rpc::wire::Page;
use rpc::{Answer, status};
use tonic::Status;

use super::super::Rpcs;
use super::super::changes::{remember, remembered};
use super::super::parse::{bad_name, money, parse_member, parse_program};
use super::super::reads::settle_unseen;
use crate::domain::rewards::{Asker, RewardRefusal, VoucherTerms};
use crate::domain::{AccountId, MAIN_WALLET, Refusal};
use crate::executor::Target;
use crate::history::History;
use crate::message::rewards as told;
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store::{self, RewardRow};

const REWARD: &str = "programs/{program}/rewards/{reward}";

/// Program and key of a reward.
pub(super) fn parse_reward(field: &'static str, text: &str) -> Result<(ProgramId, Uuid), Status> {
    let [program, reward] = name::segments(text, REWARD).map_err(bad_name(field))?;
    let program = ProgramId::parse(program).map_err(bad_name(field))?;
    let key = Target::catalogue(&program, reward);
    Ok((program, key))
}

/// Checks the terms of a voucher: what they say, and that their money is the program's.
pub(super) fn check_terms(program: &Program, within: &str, terms: &pb::VoucherTerms) -> Result<VoucherTerms, Status> {
    for (field, given) in told::money_of(terms) {
        money(program, &format!("{within}.{field}"), Some(given))?;
    }
    told::voucher_terms(terms).map_err(|(field, what)| status::bad_request([(format!("{within}.{field}"), what)]))
}

/// A reward as it would be created; `within` is where it stands in the request.
pub(in super::super) fn new_row(
    program: &Program,
    within: &str,
    message: &pb::CreateRewardRequest,
    now: Timestamp,
) -> Result<RewardRow, Status> {
    let path = |field: &str| if within.is_empty() { field.to_owned() } else { format!("{within}.{field}") };
    let terms = message.terms.as_ref().ok_or_else(|| status::bad_request([(path("terms"), "must be set")]))?;
    let voucher = terms.voucher.as_ref().ok_or_else(|| status::bad_request([(path("terms.voucher"), "must be set")]))?;
    check_terms(program, &path("terms.voucher"), voucher)?;
    let (start_at, end_at) = told::window(terms).map_err(|(field, what)| status::bad_request([(path(&format!("terms.{field}")), what)]))?;
    Ok(RewardRow {
        catalogue_key: Target::catalogue(&program.id, &message.reward_id),
        reward: message.reward_id.clone(),
        cost: terms.cost_points,
        stock: terms.stock,
        taken: 0,
        start_at: start_at.map(DbTime),
        end_at: end_at.map(DbTime),
        created_at: DbTime(now),
        retired_at: None,
        details: terms.encode_to_vec(),
    })
}

/// A change of one reward.
#[derive(Clone, Copy)]
enum Change {
    Retire,
    Stock(i64),
}

impl Rpcs {
    pub(super) async fn create_reward(&self, message: pb::CreateRewardRequest) -> Result<Answer<pb::Reward>, Status> {
        let program = self.program(&parse_program("parent", &message.parent)?).await?;
        let row = new_row(&program, "", &message, self.now())?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        Ok(retry(|| self.try_create_reward(&key, &program.id, &row)).await?)
    }

    async fn try_create_reward(&self, key: &RequestKey, program: &ProgramId, row: &RewardRow) -> Result<Answer<pb::Reward>, RewardError> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let reward = told::reward(program, row.clone())?;
        if *reward.wallet != *MAIN_WALLET && !History::read(store::program_versions(&mut tx, program).await?)?.name_wallet(&reward.wallet) {
            return Err(Refusal::WalletNotFound { wallet: reward.wallet.to_string() }.into());
        }
        if !store::insert_reward(&mut tx, program, row).await? {
            return Err(RewardError::IdTaken);
        }
        let answer = told::told_reward(program, &reward)?;
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn retire_reward(&self, message: pb::RetireRewardRequest) -> Result<Answer<pb::Reward>, Status> {
        let (program, reward) = parse_reward("name", &message.name)?;
        let program = self.program(&program).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        Ok(retry(|| self.try_change(&key, &program.id, reward, Change::Retire)).await?)
    }

    pub(super) async fn adjust_stock(&self, message: pb::AdjustStockRequest) -> Result<Answer<pb::Reward>, Status> {
        if message.pieces_delta == 0 {
            return Err(status::bad_request([("pieces_delta", "must not be zero")]));
        }
        let (program, reward) = parse_reward("name", &message.name)?;
        let program = self.program(&program).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        Ok(retry(|| self.try_change(&key, &program.id, reward, Change::Stock(message.pieces_delta))).await?)
    }

    async fn try_change(
        &self,
        key: &RequestKey,
        program: &ProgramId,
        reward: Uuid,
        change: Change,
    ) -> Result<Answer<pb::Reward>, RewardError> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let done = match change {
            Change::Retire => store::retire_reward(&mut tx, reward, now).await?,
            Change::Stock(pieces) => store::adjust_stock(&mut tx, reward, pieces).await?,
        };
        let row = store::catalogue_row(&mut tx, reward).await?.ok_or(RewardRefusal::NotFound)?;
        let reward = told::reward(program, row)?;
        if !done {
            return Err(match (change, reward.left()) {
                (Change::Retire, _) => RewardRefusal::Retired.into(),
                (Change::Stock(1..), Some(_)) => Refusal::Overflow.into(),
                (Change::Stock(_), Some(left)) => RewardError::BelowTaken { left },
                (Change::Stock(_), None) => RewardError::WithoutStock,
            });
        }
        let answer = told::told_reward(program, &reward)?;
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn reward(&self, message: pb::GetRewardRequest) -> Result<pb::Reward, Status> {
        let (program, key) = parse_reward("name", &message.name)?;
        let program = self.program(&program).await?;
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let row = store::catalogue_row(&mut tx, key).await.map_err(status::from_store)?;
        let row = row.ok_or(RewardError::from(RewardRefusal::NotFound))?;
        told::reward(&program.id, row).and_then(|reward| told::told_reward(&program.id, &reward)).map_err(status::from_store)
    }

    pub(super) async fn rewards(&self, message: pb::ListRewardsRequest) -> Result<pb::ListRewardsResponse, Status> {
        let pb::ListRewardsRequest { parent, page_size, page_token } = message;
        let program = self.program(&parse_program("parent", &parent)?).await?;
        let filter = ["rewards", &parent];
        let page = Page::<1>::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map_or("", |[id]| id);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let rows = store::catalogue_by_id(&mut tx, &program.id, after, page.limit()).await.map_err(status::from_store)?;
        let (rows, next_page_token) = page.cut(rows, |row| [row.reward.clone()]);
        let reward = |row| told::reward(&program.id, row).and_then(|reward| told::told_reward(&program.id, &reward));
        let rewards = rows.into_iter().map(reward).collect::<Result<_, _>>().map_err(status::from_store)?;
        Ok(pb::ListRewardsResponse { rewards, next_page_token })
    }

    pub(super) async fn member_rewards(&self, message: pb::ListMemberRewardsRequest) -> Result<pb::ListMemberRewardsResponse, Status> {
        let pb::ListMemberRewardsRequest { parent, page_size, page_token } = message;
        let (program, member) = parse_member("parent", &parent)?;
        let program: Arc<Program> = self.program(&program).await?;
        let filter = ["member rewards", &parent];
        let page = Page::<2>::parse(&filter, page_size, &page_token)?;
        let wrong = || status::bad_request([("page_token", "not a page token of this list")]);
        let after = match &page.after {
            Some([cost, id]) => (cost.parse().map_err(|_| wrong())?, id.as_str()),
            None => (0, ""),
        };
        let now = self.now();
        let (member, mut held) = self.surviving(&program.id, member).await?;
        let account = AccountId::of(&program.id, member);
        settle_unseen(&program, account, &mut held, now);
        let accounts = held.account.accounts(account);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let keys: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
        let taken_by = store::taken_by(&mut tx, &keys).await.map_err(status::from_store)?;
        let rows = store::catalogue_by_cost(&mut tx, &program.id, now, after, page.limit()).await.map_err(status::from_store)?;
        drop(tx);
        let (rows, next_page_token) = page.cut(rows, |row| [row.cost.to_string(), row.reward.clone()]);
        let active = |wallet: &str| held.account.active(wallet);
        let mut rewards = Vec::with_capacity(rows.len());
        for row in rows {
            let reward = told::reward(&program.id, row).map_err(status::from_store)?;
            let taken = accounts.iter().filter_map(|account| taken_by.get(&(*account, reward.key))).sum();
            let obstacles = reward.obstacles(Asker { facts: &held.facts, active: active(&reward.wallet), taken }, now);
            let available = obstacles.is_empty();
            let (obstacles, missing_points) = told::reward_obstacles(&obstacles);
            let reward = Some(told::told_reward(&program.id, &reward).map_err(status::from_store)?);
            rewards.push(pb::MemberReward { reward, available, obstacles, missing_points, taken_by_member: taken });
        }
        Ok(pb::ListMemberRewardsResponse { rewards, active_points: active(MAIN_WALLET), next_page_token })
    }
}
