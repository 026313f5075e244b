//! Protobuf in, protobuf out: parse, do, answer.

mod budgets;
mod challenges;
mod changes;
mod gifts;
mod parse;
mod parse_account;
mod parse_pool;
mod programs;
mod reads;
mod rewards;
mod simulate;
mod transport;
mod validate;

pub(crate) use self::gifts::Gifts;

use std::sync::Arc;
use tokio::time::Instant;

use kernel::{Context, MemberId, ProgramId, Timestamp, Uuid};
use persistence::{Database, Executor, Keyring, RequestKey, SubmitError};
use prost::{Message, Name};
use proto::check::Checked;
use proto::points as pb;
use proto::points::points_service_server::PointsService;
use rpc::config::ClockConfig;
use rpc::{Answer, Caller, CallerExt, DeadlineExt, status};
use tonic::{Request, Response, Status, async_trait};

use crate::domain::{AccountId, Command};
use crate::error;
use crate::executor::{Done, Job, LedgerHandler, Origin, Reply, Target, VoucherHandler, Work};
use crate::program::{Program, Programs};
use crate::store;

/// How often a command is sent again because an account was merged, or terms were made, while it was on its way.
const ATTEMPTS_MAX: usize = 16;

/// Everything the RPCs need.
pub(crate) struct Rpcs {
    pub(crate) database: Database,
    pub(crate) executor: Arc<Executor<LedgerHandler>>,
    pub(crate) vouchers: Arc<Executor<VoucherHandler>>,
    pub(crate) programs: Programs,
    pub(crate) context: Context,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: ClockConfig,
}

/// Who calls and until when, taken from a request before its message.
struct Call {
    caller: Caller,
    deadline: Instant,
}

impl Call {
    fn of<T>(request: &Request<T>) -> Call {
        Call { caller: request.caller(), deadline: request.deadline() }
    }
}

/// A command that has been parsed, with what it is about.
struct Parsed {
    program: Arc<Program>,
    member: Option<MemberId>,
    /// The other member of a command between two.
    other: Option<MemberId>,
    command: Command,
    target: Target,
    origin: Origin,
}

impl Rpcs {
    async fn program(&self, id: &ProgramId) -> Result<Arc<Program>, Status> {
        let found = self.programs.get(id).await.map_err(status::from_store)?;
        found.ok_or_else(|| error::program_not_found(id))
    }

    fn now(&self) -> Timestamp {
        self.context.now()
    }

    /// Hands a command to the ledger and waits for its answer.
    async fn submit<M>(&self, call: &Call, parsed: Parsed, request_id: &str, message: &M) -> Result<Answer<Done>, Status>
    where
        M: Message + Name + Checked,
    {
        let key = RequestKey::new(&self.keyring, &parsed.program.id, request_id, message);
        let account_of = |member: MemberId| (AccountId::of(&parsed.program.id, member), member);
        let lane_of_key = match parsed.target {
            Target::Purchase(key) | Target::Reservation(key) | Target::Reward(key) | Target::Activity(key, _) | Target::Redemption(key) => {
                key
            }
            Target::Catalogue(key) | Target::Voucher(key) => key,
            Target::Account => key.id(),
        };
        let request = match parsed.command {
            Command::Return(_) => message.encode_to_vec(),
            _ => Vec::new(),
        };
        let work = Work::Command { key, request_id: request_id.into(), command: parsed.command, target: parsed.target, request };
        let mut job = Job {
            account: parsed.member.map(account_of),
            other: parsed.other.map(account_of),
            program: parsed.program,
            presented: None,
            presented_other: None,
            work: Arc::new(work),
            origin: Arc::new(parsed.origin),
        };
        for _ in 0..ATTEMPTS_MAX {
            let lane = job.account.map_or(lane_of_key, |(id, _)| id.0);
            match self.executor.submit(lane, job.clone(), call.deadline).await {
                Ok(Reply::Done { done, replayed }) => return Ok(Answer { message: done, replayed }),
                Ok(Reply::Refused(refusal)) => return Err(*refusal),
                Ok(Reply::Moved(side, to)) => {
                    let (survivor, _) = self.surviving(&job.program.id, to).await?;
                    job = job.moved(side, survivor);
                }
                Ok(Reply::Elsewhere(redemption)) => job.other = self.redeemed_from(&job.program.id, redemption).await?,
                Ok(Reply::Outdated) => {
                    self.programs.forget(&job.program.id);
                    job.program = self.program(&job.program.id).await?;
                }
                Ok(Reply::Settled(_)) => return Err(status::internal()),
                Err(error) => return Err(not_answered(error)),
            }
        }
        Err(status::internal())
    }
}

impl Rpcs {
    /// The account that a redemption took points from.
    async fn redeemed_from(&self, program: &ProgramId, redemption: Uuid) -> Result<Option<(AccountId, MemberId)>, Status> {
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let owner = store::redemption_owner(&mut tx, program, redemption).await.map_err(status::from_store)?;
        Ok(owner.map(|member| (AccountId::of(program, member), member)))
    }
}

/// Why the ledger gave no answer, as a status.
pub(crate) fn not_answered(error: SubmitError<persistence::Error>) -> Status {
    match error {
        SubmitError::Overloaded => status::overloaded("too many commands are waiting", std::time::Duration::from_millis(100)),
        SubmitError::DeadlineExceeded => status::deadline_exceeded(),
        SubmitError::ShuttingDown | SubmitError::Unavailable => {
            let text = "the ledger cannot be reached; whether the request took effect is unknown: send it again";
            status::with_reason::<&str, &str>(tonic::Code::Unavailable, "LEDGER_UNAVAILABLE", text, [])
        }
        SubmitError::Failed(error) => status::from_store(error),
        SubmitError::Internal => status::internal(),
    }
}

fn operation(answer: Answer<Done>) -> Result<Response<pb::Operation>, Status> {
    match answer.message {
        Done::Operation(operation) => Ok(Answer { message: *operation, replayed: answer.replayed }.into_response()),
        Done::Ensured(_) | Done::Voucher(..) => Err(status::internal()),
    }
}

#[async_trait]
impl PointsService for Rpcs {
    async fn preview_award(&self, request: Request<pb::PreviewAwardRequest>) -> Result<Response<pb::AwardPreview>, Status> {
        let call = Call::of(&request);
        self.preview(&call, request.into_inner()).await.map(Response::new)
    }

    async fn award(&self, request: Request<pb::AwardRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_award(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn redeem(&self, request: Request<pb::RedeemRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_redeem(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_reserve(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn capture(&self, request: Request<pb::CaptureRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_capture(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_release(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn return_purchase(&self, request: Request<pb::ReturnPurchaseRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_return(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn adjust(&self, request: Request<pb::AdjustRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_adjust(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn award_activity(&self, request: Request<pb::AwardActivityRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_activity(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn activate_pending(&self, request: Request<pb::ActivatePendingRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_activate(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn cancel_pending(&self, request: Request<pb::CancelPendingRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_cancel(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn refund_redemption(&self, request: Request<pb::RefundRedemptionRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_refund(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn set_expiry(&self, request: Request<pb::SetExpiryRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_set_expiry(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn forgive_deficit(&self, request: Request<pb::ForgiveDeficitRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_forgive(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn transfer(&self, request: Request<pb::TransferRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_transfer(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn merge_accounts(&self, request: Request<pb::MergeAccountsRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_merge(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn unmerge_accounts(&self, request: Request<pb::UnmergeAccountsRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_unmerge(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn create_pool(&self, request: Request<pb::CreatePoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_create_pool(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn invite_to_pool(&self, request: Request<pb::InviteToPoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_invite(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn join_pool(&self, request: Request<pb::JoinPoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_join(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn set_pool_sharing(&self, request: Request<pb::SetPoolSharingRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_sharing(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn contribute_to_pool(&self, request: Request<pb::ContributeToPoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_contribute(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn leave_pool(&self, request: Request<pb::LeavePoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_leave(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn redeem_from_pool(&self, request: Request<pb::RedeemFromPoolRequest>) -> Result<Response<pb::Operation>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_pool_redeem(&call, &message).await?;
        operation(self.submit(&call, parsed, &message.request_id, &message).await?)
    }

    async fn ensure_reward(&self, request: Request<pb::EnsureRewardRequest>) -> Result<Response<pb::EnsureRewardResponse>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_ensure(&call, &message).await?;
        let Answer { message: done, replayed } = self.submit(&call, parsed, &message.request_id, &message).await?;
        match done {
            Done::Ensured(state) => Ok(Answer { message: crate::message::ensured(&state), replayed }.into_response()),
            Done::Operation(_) | Done::Voucher(..) => Err(status::internal()),
        }
    }

    async fn settle_due(&self, request: Request<pb::SettleDueRequest>) -> Result<Response<pb::SettleDueResponse>, Status> {
        let call = Call::of(&request);
        self.settle(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn get_balance(&self, request: Request<pb::GetBalanceRequest>) -> Result<Response<pb::Balance>, Status> {
        self.balance(request.into_inner()).await.map(Response::new)
    }

    async fn list_entries(&self, request: Request<pb::ListEntriesRequest>) -> Result<Response<pb::ListEntriesResponse>, Status> {
        self.entries(request.into_inner()).await.map(Response::new)
    }

    type StreamEntriesStream = futures::stream::BoxStream<'static, Result<pb::Entry, Status>>;

    async fn stream_entries(&self, request: Request<pb::StreamEntriesRequest>) -> Result<Response<Self::StreamEntriesStream>, Status> {
        self.statement(request.into_inner()).await.map(Response::new)
    }

    type SimulateTermsStream = futures::stream::BoxStream<'static, Result<pb::SimulateTermsResponse, Status>>;

    async fn simulate_terms(&self, request: Request<pb::SimulateTermsRequest>) -> Result<Response<Self::SimulateTermsStream>, Status> {
        self.simulate(request.into_inner()).await.map(Response::new)
    }

    async fn get_pool(&self, request: Request<pb::GetPoolRequest>) -> Result<Response<pb::Pool>, Status> {
        self.pool(request.into_inner()).await.map(Response::new)
    }

    async fn list_member_challenges(
        &self,
        request: Request<pb::ListMemberChallengesRequest>,
    ) -> Result<Response<pb::ListMemberChallengesResponse>, Status> {
        self.member_challenges(request.into_inner()).await.map(Response::new)
    }

    async fn get_purchase(&self, request: Request<pb::GetPurchaseRequest>) -> Result<Response<pb::Purchase>, Status> {
        self.purchase(request.into_inner()).await.map(Response::new)
    }

    async fn get_operation(&self, request: Request<pb::GetOperationRequest>) -> Result<Response<pb::Operation>, Status> {
        self.first_answer(request.into_inner()).await.map(Answer::into_response)
    }

    async fn get_budget(&self, request: Request<pb::GetBudgetRequest>) -> Result<Response<pb::Budget>, Status> {
        self.budget(request.into_inner()).await.map(Response::new)
    }

    async fn list_budgets(&self, request: Request<pb::ListBudgetsRequest>) -> Result<Response<pb::ListBudgetsResponse>, Status> {
        self.budgets(request.into_inner()).await.map(Response::new)
    }

    async fn create_program_version(
        &self,
        request: Request<pb::CreateProgramVersionRequest>,
    ) -> Result<Response<pb::ProgramVersion>, Status> {
        let call = Call::of(&request);
        self.create_version(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn validate_terms(&self, request: Request<pb::ValidateTermsRequest>) -> Result<Response<pb::ValidateTermsResponse>, Status> {
        self.validate(request.into_inner()).await.map(Response::new)
    }

    async fn schedule_program_version(
        &self,
        request: Request<pb::ScheduleProgramVersionRequest>,
    ) -> Result<Response<pb::ProgramVersion>, Status> {
        let call = Call::of(&request);
        self.schedule_version(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn retire_program_version(
        &self,
        request: Request<pb::RetireProgramVersionRequest>,
    ) -> Result<Response<pb::ProgramVersion>, Status> {
        let call = Call::of(&request);
        self.retire_version(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn roll_back_program(&self, request: Request<pb::RollBackProgramRequest>) -> Result<Response<pb::ProgramVersion>, Status> {
        let call = Call::of(&request);
        self.roll_back(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn export_program(&self, request: Request<pb::ExportProgramRequest>) -> Result<Response<pb::ExportProgramResponse>, Status> {
        self.export(request.into_inner()).await.map(Response::new)
    }

    async fn import_program(&self, request: Request<pb::ImportProgramRequest>) -> Result<Response<pb::ImportProgramResponse>, Status> {
        let call = Call::of(&request);
        self.import(&call, request.into_inner()).await.map(Answer::into_response)
    }

    async fn get_program_version(&self, request: Request<pb::GetProgramVersionRequest>) -> Result<Response<pb::ProgramVersion>, Status> {
        self.version(request.into_inner()).await.map(Response::new)
    }

    async fn list_program_versions(
        &self,
        request: Request<pb::ListProgramVersionsRequest>,
    ) -> Result<Response<pb::ListProgramVersionsResponse>, Status> {
        self.versions(request.into_inner()).await.map(Response::new)
    }
}
