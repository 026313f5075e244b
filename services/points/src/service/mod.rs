//! Protobuf in, protobuf out: parse, do, answer.

mod changes;
mod parse;
mod programs;
mod reads;

use std::sync::Arc;
use tokio::time::Instant;

use kernel::{Context, MemberId, ProgramId, Timestamp};
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
use crate::executor::{Done, Job, LedgerHandler, Origin, Reply, Target, Work};
use crate::program::{Program, Programs};

/// Everything the RPCs need.
pub(crate) struct Rpcs {
    pub(crate) database: Database,
    pub(crate) executor: Arc<Executor<LedgerHandler>>,
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
        let account = parsed.member.map(|member| (AccountId::of(&parsed.program.id, member), member));
        let lane = match (account, parsed.target) {
            (Some((id, _)), _) => id.0,
            (None, Target::Purchase(key) | Target::Reservation(key) | Target::Reward(key)) => key,
            (None, Target::Account) => key.id(),
        };
        let request = match parsed.command {
            Command::Return(_) => message.encode_to_vec(),
            _ => Vec::new(),
        };
        let work = Work::Command { key, request_id: request_id.into(), command: parsed.command, target: parsed.target, request };
        let job = Job { program: parsed.program, account, work, origin: parsed.origin };
        match self.executor.submit(lane, job, call.deadline).await {
            Ok(Reply::Done { done, replayed }) => Ok(Answer { message: done, replayed }),
            Ok(Reply::Refused(refusal)) => Err(*refusal),
            Ok(Reply::Settled(_)) => Err(status::internal()),
            Err(error) => Err(not_answered(error)),
        }
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
        Done::Ensured(_) => Err(status::internal()),
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

    async fn ensure_reward(&self, request: Request<pb::EnsureRewardRequest>) -> Result<Response<pb::EnsureRewardResponse>, Status> {
        let (call, message) = (Call::of(&request), request.into_inner());
        let parsed = self.parse_ensure(&call, &message).await?;
        let Answer { message: done, replayed } = self.submit(&call, parsed, &message.request_id, &message).await?;
        match done {
            Done::Ensured(state) => Ok(Answer { message: crate::message::ensured(&state), replayed }.into_response()),
            Done::Operation(_) => Err(status::internal()),
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

    async fn get_purchase(&self, request: Request<pb::GetPurchaseRequest>) -> Result<Response<pb::Purchase>, Status> {
        self.purchase(request.into_inner()).await.map(Response::new)
    }

    async fn get_operation(&self, request: Request<pb::GetOperationRequest>) -> Result<Response<pb::Operation>, Status> {
        self.first_answer(request.into_inner()).await.map(Answer::into_response)
    }

    async fn create_program_version(
        &self,
        request: Request<pb::CreateProgramVersionRequest>,
    ) -> Result<Response<pb::ProgramVersion>, Status> {
        let call = Call::of(&request);
        self.create_version(&call, request.into_inner()).await.map(Answer::into_response)
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
