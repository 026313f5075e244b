//! Stand-ins for the members and points services: each serves a real feed, and points keeps rewards in a real table.

use persistence::{Database, Migration, Tx, on_engine};
use proto::points as pb;
use proto::points::points_service_server::{PointsService, PointsServiceServer};
use rpc::{Host, StartError, Started, status};
use tonic::{Code, Request, Response, Status};

pub(crate) static MEMBERS: &[Migration] = &[];

/// `calls` counts every call, `grants` and `revokes` what really changed. A fault is a call that fails, before or after its work; a refusal
/// a member to whom nothing is given, and how often that was said.
pub(crate) static POINTS: &[Migration] = &[Migration {
    file: "0001_points.sql",
    sql:
        "CREATE TABLE rewards (reward_key {key} NOT NULL PRIMARY KEY, member {key} NOT NULL, points {int} NOT NULL, version {int} NOT NULL,
              granted {int} NOT NULL, grants {int} NOT NULL, revokes {int} NOT NULL, calls {int} NOT NULL) {strict};
          CREATE TABLE refusals (member {key} NOT NULL PRIMARY KEY, reason TEXT NOT NULL, calls {int} NOT NULL) {strict};
          CREATE TABLE faults (id {int} NOT NULL PRIMARY KEY, remaining {int} NOT NULL, after_work {int} NOT NULL) {strict};",
}];

/// Enrols nobody: its events come from the tests.
pub(crate) struct Members;

impl rpc::Service for Members {
    const NAME: &'static str = "members";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, MEMBERS).await?;
        Ok(Started::new())
    }
}

/// Ensures rewards and nothing else.
pub(crate) struct Points {
    database: Database,
}

impl rpc::Service for Points {
    const NAME: &'static str = "points";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, POINTS).await?;
        Ok(Started::new().with(PointsServiceServer::new(Points { database })))
    }
}

/// What the ledger knows of a reward.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Reward {
    pub(crate) reward_key: String,
    pub(crate) member: String,
    pub(crate) points: i64,
    pub(crate) version: i64,
    pub(crate) granted: i64,
    pub(crate) grants: i64,
    pub(crate) revokes: i64,
    pub(crate) calls: i64,
}

/// All rewards that the ledger has heard of, by key.
pub(crate) async fn rewards(database: &Database) -> Vec<Reward> {
    let mut tx = database.read().await.unwrap();
    on_engine!(tx, |conn| sqlx::query_as(
        "SELECT reward_key, member, points, version, granted, grants, revokes, calls FROM rewards ORDER BY reward_key"
    )
    .fetch_all(conn)
    .await)
    .unwrap()
}

/// Lets the next calls fail: before their work, or after it, so that the answer is lost.
pub(crate) async fn fail_next(database: &Database, calls: i64, after_work: bool) {
    let mut tx = database.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO faults (id, remaining, after_work) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET remaining = excluded.remaining, after_work = excluded.after_work"
    )
    .bind(calls)
    .bind(i64::from(after_work))
    .execute(conn)
    .await
    .map(drop))
    .unwrap();
    tx.commit().await.unwrap();
}

/// Refuses every grant to a member from now on.
pub(crate) async fn refuse(database: &Database, member: &str, reason: &str) {
    let mut tx = database.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("INSERT INTO refusals (member, reason, calls) VALUES ($1, $2, 0)")
        .bind(member)
        .bind(reason)
        .execute(conn)
        .await
        .map(drop))
    .unwrap();
    tx.commit().await.unwrap();
}

/// Grants to a member again.
pub(crate) async fn admit(database: &Database, member: &str) {
    let mut tx = database.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("DELETE FROM refusals WHERE member = $1").bind(member).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}

/// How many grants to a member were refused.
pub(crate) async fn refused_calls(database: &Database, member: &str) -> i64 {
    let mut tx = database.read().await.unwrap();
    on_engine!(tx, |conn| sqlx::query_scalar("SELECT calls FROM refusals WHERE member = $1").bind(member).fetch_one(conn).await).unwrap()
}

impl Points {
    async fn ensure(&self, wish: pb::EnsureRewardRequest) -> Result<Result<pb::EnsureRewardResponse, Status>, persistence::Error> {
        let lost = || Err(Status::unavailable("the connection broke"));
        let mut tx = self.database.begin().await?;
        let fault: Option<i64> = on_engine!(tx, |conn| sqlx::query_scalar(
            "UPDATE faults SET remaining = remaining - 1 WHERE remaining > 0 RETURNING after_work"
        )
        .fetch_optional(conn)
        .await)?;
        if fault == Some(0) {
            tx.commit().await?;
            return Ok(lost());
        }
        if let Some(reason) = refusal(&mut tx, &wish).await? {
            tx.commit().await?;
            return Ok(Err(status::with_reason::<&str, &str>(Code::FailedPrecondition, reason, "the member takes no part", [])));
        }
        // The newest version wins; what changes nothing is not counted.
        let (granted, version): (i64, i64) = on_engine!(tx, |conn| {
            sqlx::query_as(
            "INSERT INTO rewards (reward_key, member, points, version, granted, grants, revokes, calls) VALUES ($1, $2, $3, $4, $5, $5, 0, 1)
             ON CONFLICT (reward_key) DO UPDATE SET calls = rewards.calls + 1,
                 grants = rewards.grants + CASE WHEN excluded.version > rewards.version AND excluded.granted > rewards.granted THEN 1 ELSE 0 END,
                 revokes = rewards.revokes + CASE WHEN excluded.version > rewards.version AND excluded.granted < rewards.granted THEN 1 ELSE 0 END,
                 granted = CASE WHEN excluded.version > rewards.version THEN excluded.granted ELSE rewards.granted END,
                 version = CASE WHEN excluded.version > rewards.version THEN excluded.version ELSE rewards.version END
             RETURNING granted, version"
        )
        .bind(&wish.reward_key)
        .bind(&wish.member)
        .bind(wish.points)
        .bind(wish.version)
        .bind(i64::from(wish.wanted))
        .fetch_one(conn)
        .await
        })?;
        tx.commit().await?;
        Ok(if fault.is_some() { lost() } else { Ok(pb::EnsureRewardResponse { version, granted: granted == 1 }) })
    }
}

/// Why a grant is refused, if it is.
async fn refusal(tx: &mut Tx, wish: &pb::EnsureRewardRequest) -> Result<Option<&'static str>, persistence::Error> {
    let reason: Option<String> =
        on_engine!(tx, |conn| sqlx::query_scalar("UPDATE refusals SET calls = calls + 1 WHERE member = $1 AND $2 = 1 RETURNING reason")
            .bind(&wish.member)
            .bind(i64::from(wish.wanted))
            .fetch_optional(conn)
            .await)?;
    Ok(reason.and_then(|reason| ["MEMBER_BLOCKED", "MEMBER_CLOSED"].into_iter().find(|known| *known == reason)))
}

type Answer<T> = Result<Response<T>, Status>;

/// A neighbour offers only what referrals needs of it.
macro_rules! refused {
    ($($method:ident: $request:ident -> $answer:ident),+ $(,)?) => {
        #[tonic::async_trait]
        impl PointsService for Points {
            async fn ensure_reward(&self, request: Request<pb::EnsureRewardRequest>) -> Answer<pb::EnsureRewardResponse> {
                self.ensure(request.into_inner()).await.map_err(status::from_store)?.map(Response::new)
            }

            type StreamEntriesStream = futures::stream::Empty<Result<pb::Entry, Status>>;

            async fn stream_entries(&self, _: Request<pb::StreamEntriesRequest>) -> Answer<Self::StreamEntriesStream> {
                Err(Status::unimplemented("not of this neighbour"))
            }

            type SimulateTermsStream = futures::stream::Empty<Result<pb::SimulateTermsResponse, Status>>;

            async fn simulate_terms(&self, _: Request<pb::SimulateTermsRequest>) -> Answer<Self::SimulateTermsStream> {
                Err(Status::unimplemented("not of this neighbour"))
            }

            $(async fn $method(&self, _: Request<pb::$request>) -> Answer<pb::$answer> {
                Err(Status::unimplemented("not of this neighbour"))
            })+
        }
    };
}

refused! {
    preview_award: PreviewAwardRequest -> AwardPreview,
    award: AwardRequest -> Operation,
    redeem: RedeemRequest -> Operation,
    reserve: ReserveRequest -> Operation,
    capture: CaptureRequest -> Operation,
    release: ReleaseRequest -> Operation,
    return_purchase: ReturnPurchaseRequest -> Operation,
    adjust: AdjustRequest -> Operation,
    award_activity: AwardActivityRequest -> Operation,
    activate_pending: ActivatePendingRequest -> Operation,
    cancel_pending: CancelPendingRequest -> Operation,
    refund_redemption: RefundRedemptionRequest -> Operation,
    set_expiry: SetExpiryRequest -> Operation,
    forgive_deficit: ForgiveDeficitRequest -> Operation,
    transfer: TransferRequest -> Operation,
    merge_accounts: MergeAccountsRequest -> Operation,
    unmerge_accounts: UnmergeAccountsRequest -> Operation,
    create_pool: CreatePoolRequest -> Operation,
    invite_to_pool: InviteToPoolRequest -> Operation,
    join_pool: JoinPoolRequest -> Operation,
    set_pool_sharing: SetPoolSharingRequest -> Operation,
    contribute_to_pool: ContributeToPoolRequest -> Operation,
    leave_pool: LeavePoolRequest -> Operation,
    redeem_from_pool: RedeemFromPoolRequest -> Operation,
    get_pool: GetPoolRequest -> Pool,
    list_member_challenges: ListMemberChallengesRequest -> ListMemberChallengesResponse,
    settle_due: SettleDueRequest -> SettleDueResponse,
    get_balance: GetBalanceRequest -> Balance,
    list_entries: ListEntriesRequest -> ListEntriesResponse,
    get_purchase: GetPurchaseRequest -> Purchase,
    get_operation: GetOperationRequest -> Operation,
    get_budget: GetBudgetRequest -> Budget,
    list_budgets: ListBudgetsRequest -> ListBudgetsResponse,
    create_program_version: CreateProgramVersionRequest -> ProgramVersion,
    validate_terms: ValidateTermsRequest -> ValidateTermsResponse,
    schedule_program_version: ScheduleProgramVersionRequest -> ProgramVersion,
    retire_program_version: RetireProgramVersionRequest -> ProgramVersion,
    roll_back_program: RollBackProgramRequest -> ProgramVersion,
    export_program: ExportProgramRequest -> ExportProgramResponse,
    import_program: ImportProgramRequest -> ImportProgramResponse,
    get_program_version: GetProgramVersionRequest -> ProgramVersion,
    list_program_versions: ListProgramVersionsRequest -> ListProgramVersionsResponse,
}
