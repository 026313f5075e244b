//! A running suite on an engine of its own, and what tests do with it.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Context, FixedClock, Timestamp};
use persistence::{Database, on_engine};
use proto::common::Money;
use proto::directory::CreateProgramRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::events::event::Payload;
use proto::events::{MemberEnrolled, MemberState, PurchaseRecorded, PurchaseReturned};
use proto::referrals as pb;
use proto::referrals::referral::{State, leg};
use proto::referrals::referrals_service_client::ReferralsServiceClient;
use referrals::Referrals;
use rpc::config::Secret;
use rpc::directory::NewApiKey;
use rpc::feed::About;
use rpc::{Config, Credential, Programs, Role, Running};
use sqlx::AssertSqlSafe;
use testkit::TestEngine;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::neighbours::{MEMBERS, Members, POINTS, Points};

pub(crate) type Client = ReferralsServiceClient<InterceptedService<Channel, Credential>>;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const MINIMUM: i64 = 2_000;

/// The five services of which three run here, program `tea`, and handles on the neighbours' databases.
pub(crate) struct Suite {
    pub(crate) context: Context,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) members: Database,
    pub(crate) points: Database,
    running: Running,
    engine: TestEngine,
}

impl Suite {
    /// Starts with the programs `tea` and `coffee`.
    pub(crate) async fn start(engine: TestEngine) -> Suite {
        let (context, clock) = testkit::context();
        let running = serve(&context, &engine).await;
        let administrator = running.first_administrator().expect("the first start tells it");
        let credential = Credential::new(&administrator).unwrap();
        let mut directory = DirectoryServiceClient::with_interceptor(channel(&running).await, credential);
        for program in ["tea", "coffee"] {
            let request = CreateProgramRequest {
                program_id: program.to_owned(),
                display_name: program.to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: program.to_owned(),
            };
            directory.create_program(request).await.unwrap();
        }
        let (members, points) = (engine.open("members", MEMBERS).await, engine.open("points", POINTS).await);
        Suite { context, clock, members, points, running, engine }
    }

    /// Stops the process and starts another on the same data.
    pub(crate) async fn restart(self) -> Suite {
        let Suite { context, clock, members, points, running, engine } = self;
        running.stop().await;
        let running = serve(&context, &engine).await;
        Suite { context, clock, members, points, running, engine }
    }

    /// Ends the process without letting it finish anything, and starts another on the same data.
    pub(crate) async fn crash(self) -> Suite {
        let Suite { context, clock, members, points, running, engine } = self;
        drop(running);
        let running = serve(&context, &engine).await;
        Suite { context, clock, members, points, running, engine }
    }

    pub(crate) async fn client(&self, role: Role) -> Client {
        self.client_for(role, Programs::All).await
    }

    pub(crate) async fn client_for(&self, role: Role, programs: Programs) -> Client {
        let new = NewApiKey { display_name: "test".to_owned(), role, programs, terminal: None };
        let (_, secret) = self.running.host().directory().create_api_key(new).await.unwrap();
        ReferralsServiceClient::with_interceptor(channel(&self.running).await, Credential::new(&secret.reveal()).unwrap())
    }

    pub(crate) fn request_id(&self) -> String {
        self.context.uuid().to_string()
    }

    pub(crate) fn member(&self) -> String {
        format!("programs/tea/members/{}", self.context.uuid())
    }

    /// Opens the plan `invite`: 200 points for the advocate, 100 for the friend.
    pub(crate) async fn plan(&self, change: impl FnOnce(&mut pb::Plan)) -> pb::Plan {
        let mut plan = plan();
        change(&mut plan);
        let request = pb::CreatePlanRequest {
            parent: "programs/tea".to_owned(),
            plan_id: "invite".to_owned(),
            plan: Some(plan),
            request_id: self.request_id(),
        };
        self.client(Role::Administrator).await.create_plan(request).await.unwrap().into_inner()
    }

    /// The code of an advocate for the plan `invite`.
    pub(crate) async fn code(&self, advocate: &str) -> pb::Code {
        let request = issue(advocate, self.request_id());
        self.client(Role::Platform).await.issue_code(request).await.unwrap().into_inner()
    }

    /// The members service tells of an enrolment.
    pub(crate) async fn enrol(&self, member: &str, referral_code: &str) {
        self.enrol_at(member, referral_code, self.context.now()).await;
    }

    pub(crate) async fn enrol_at(&self, member: &str, referral_code: &str, at: Timestamp) {
        let enrolled = MemberEnrolled {
            state: MemberState::Active.into(),
            channel: "store".to_owned(),
            store: String::new(),
            referral_code: referral_code.to_owned(),
            birth_month: 0,
            birth_day: 0,
            tags: Vec::new(),
            segments: Vec::new(),
        };
        self.tell(&self.members, member, at, Payload::MemberEnrolled(enrolled)).await;
    }

    /// The points service tells of a member's first purchase, made now.
    pub(crate) async fn buy(&self, member: &str, purchase: &str, net: i64) {
        let recorded = PurchaseRecorded {
            purchase: format!("programs/tea/purchases/{purchase}"),
            net: Some(money(net)),
            first_purchase: true,
            ..PurchaseRecorded::default()
        };
        self.tell(&self.points, member, self.context.now(), Payload::PurchaseRecorded(recorded)).await;
    }

    /// The points service tells of a return.
    pub(crate) async fn bring_back(&self, member: &str, purchase: &str, remaining: i64) {
        let returned = PurchaseReturned {
            purchase: format!("programs/tea/purchases/{purchase}"),
            remaining: Some(money(remaining)),
            complete: remaining == 0,
            ..PurchaseReturned::default()
        };
        self.tell(&self.points, member, self.context.now(), Payload::PurchaseReturned(returned)).await;
    }

    async fn tell(&self, source: &Database, member: &str, occur_time: Timestamp, payload: Payload) {
        let about = About {
            program: "programs/tea".to_owned(),
            member: member.to_owned(),
            aggregate: member.to_owned(),
            aggregate_version: 1,
            occur_time,
            historical: false,
        };
        let mut tx = source.begin().await.unwrap();
        tx.append_event(rpc::feed::event(&self.context, about, payload)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The service's own database.
    pub(crate) async fn referrals_database(&self) -> Database {
        self.engine.open("referrals", referrals::MIGRATIONS).await
    }

    /// Waits until the service has heard of a member's enrolment.
    pub(crate) async fn heard_enrolment(&self, member: &str) {
        self.heard(member, "enroll_time").await;
    }

    /// Waits until the service has heard of a member's first purchase.
    pub(crate) async fn heard_purchase(&self, member: &str) {
        self.heard(member, "purchase_id").await;
    }

    async fn heard(&self, member: &str, column: &str) {
        let database = self.referrals_database().await;
        let (_, id) = kernel::name::member(member).unwrap();
        let sql = format!("SELECT COUNT(*) FROM friends WHERE member_id = $1 AND {column} IS NOT NULL");
        testkit::eventually(|| async {
            let mut tx = database.read().await.unwrap();
            let found: i64 =
                on_engine!(tx, |conn| sqlx::query_scalar(AssertSqlSafe(sql.clone())).bind(id.0).fetch_one(conn).await).unwrap();
            found == 1
        })
        .await;
    }

    /// Referrals of a friend, newest first.
    pub(crate) async fn referrals_of(&self, friend: &str) -> Vec<pb::Referral> {
        let request = pb::ListReferralsRequest { friend: friend.to_owned(), ..list() };
        self.client(Role::Platform).await.list_referrals(request).await.unwrap().into_inner().referrals
    }

    /// Waits until the only referral of a friend is in a state. Time goes by meanwhile, a second at a look.
    pub(crate) async fn reaches(&self, friend: &str, state: State) -> pb::Referral {
        self.reaches_legs(friend, state, &[]).await
    }

    /// The same until its legs are in these states too; none means any.
    pub(crate) async fn reaches_legs(&self, friend: &str, state: State, legs: &[leg::State]) -> pb::Referral {
        let client = self.client(Role::Platform).await;
        testkit::eventually(|| async {
            self.clock.advance(Duration::from_secs(1));
            let request = pb::ListReferralsRequest { friend: friend.to_owned(), ..list() };
            let found = client.clone().list_referrals(request).await.unwrap().into_inner().referrals;
            match &found[..] {
                [referral] if referral.state() == state && (legs.is_empty() || leg_states(referral) == legs) => Ok(referral.clone()),
                other => Err(other.iter().map(|referral| (referral.state(), leg_states(referral))).collect::<Vec<_>>()),
            }
        })
        .await
    }
}

async fn serve(context: &Context, engine: &TestEngine) -> Running {
    let mut config = Config::default_in(&std::env::temp_dir());
    config.database.url = Secret::from(engine.options.url.clone());
    config.database.connections_max = 4;
    config.keys.data_dir = None;
    config.keys.master_key = Some(Secret::from(format!("1:{}", "07".repeat(32))));
    let services = [rpc::entry::<Members>(), rpc::entry::<Points>(), rpc::entry::<Referrals>()];
    rpc::start(context, config, &services).await.unwrap()
}

async fn channel(running: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", running.address())).unwrap().connect().await.unwrap()
}

/// 200 points for the advocate and 100 for the friend, for a first purchase of 20.00 within 30 days, after a hold of 14 days.
pub(crate) fn plan() -> pb::Plan {
    pb::Plan {
        display_name: "Invite a friend".to_owned(),
        public_title: "A free tea".to_owned(),
        public_text: "Buy for 20 yuan and get 100 points.".to_owned(),
        advocate_reward: Some(points(200)),
        friend_reward: Some(points(100)),
        qualification: Some(pb::Qualification {
            deed: Some(pb::qualification::Deed::FirstPurchase(pb::FirstPurchase {
                minimum_net: Some(money(MINIMUM)),
                within: Some(span(30 * DAY)),
            })),
        }),
        attribution_window: Some(span(7 * DAY)),
        hold: Some(span(14 * DAY)),
        ..pb::Plan::default()
    }
}

pub(crate) fn issue(advocate: &str, request_id: String) -> pb::IssueCodeRequest {
    pb::IssueCodeRequest {
        advocate: advocate.to_owned(),
        plan: "programs/tea/plans/invite".to_owned(),
        display_label: "Your friend Li".to_owned(),
        use_limit: 0,
        expire_time: None,
        request_id,
    }
}

pub(crate) fn list() -> pb::ListReferralsRequest {
    pb::ListReferralsRequest { parent: "programs/tea".to_owned(), ..pb::ListReferralsRequest::default() }
}

pub(crate) fn points(points: i64) -> pb::Reward {
    pb::Reward { kind: Some(pb::reward::Kind::Points(points)) }
}

pub(crate) fn money(minor_units: i64) -> Money {
    Money { currency_code: "CNY".to_owned(), minor_units }
}

pub(crate) fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap()
}

pub(crate) fn leg_states(referral: &pb::Referral) -> Vec<leg::State> {
    referral.legs.iter().map(|leg| leg.state()).collect()
}

/// Code and reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

/// The fields that a refusal of bad input names.
pub(crate) fn bad_fields<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> Vec<String> {
    let status = answer.expect_err("it is refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("it tells which fields");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}
