use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Context, FixedClock, RandomIds, Timestamp, Uuid};
use persistence::Database;
use proto::common::{Money, Role};
use proto::directory as directory_pb;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::events::event::Payload;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, PurchaseRecorded, PurchaseReturned, SubscribeRequest, SubscribeResponse, SurveyInvitationChanged};
use proto::feedback as pb;
use proto::feedback::feedback_service_client::FeedbackServiceClient;
use rpc::directory::NewApiKey;
use rpc::feed::{About, event};
use rpc::{Config, Credential, Host, Programs, Running, StartError, Started};
use testkit::TestEngine;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

pub(crate) type Client = FeedbackServiceClient<InterceptedService<Channel, Credential>>;

pub(crate) const PROGRAM: &str = "programs/tea";
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Stands in the place of points: its database and its feed, to which the tests write.
struct Points;

impl rpc::Service for Points {
    const NAME: &'static str = "points";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

/// A running server with feedback and a points feed, in a program of its own.
pub(crate) struct Suite {
    pub(crate) engine: TestEngine,
    pub(crate) clock: Arc<FixedClock>,
    running: Running,
    points: Database,
}

impl Suite {
    pub(crate) async fn start(engine: TestEngine) -> Suite {
        let (context, clock) = testkit::context();
        let running = start(&engine, &context).await;
        let points = engine.open("points", &[]).await;
        let suite = Suite { engine, clock, running, points };
        let administrator = running_channel(&suite.running, &suite.running.first_administrator().unwrap());
        let request = directory_pb::CreateProgramRequest {
            program_id: "tea".to_owned(),
            display_name: "Tea".to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
            currency_code: "CNY".to_owned(),
            request_id: "program".to_owned(),
        };
        DirectoryServiceClient::new(administrator).create_program(request).await.unwrap();
        suite
    }

    /// Starts another process on the same databases, as far as one process can: it has its own connections, consumer and job.
    pub(crate) async fn replica(&self) -> Running {
        // Random ids: seeded ones would be those of the first replica.
        let context = Context { ids: Arc::new(RandomIds), ..self.running.host().context().clone() };
        start(&self.engine, &context).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        use kernel::Clock;
        self.clock.now()
    }

    /// A client of feedback with a key of a role.
    pub(crate) async fn client(&self, role: Role) -> Client {
        FeedbackServiceClient::new(running_channel(&self.running, &self.secret(role).await))
    }

    async fn secret(&self, role: Role) -> String {
        let new = NewApiKey { display_name: "test".to_owned(), role, programs: Programs::All, terminal: None };
        self.running.host().directory().create_api_key(new).await.unwrap().1.reveal()
    }

    /// Makes a survey of this id and lets it ask.
    pub(crate) async fn activate(&self, id: &str, survey: pb::Survey) {
        let mut administrator = self.client(Role::Administrator).await;
        administrator.create_survey(create(id, survey)).await.unwrap();
        let name = format!("{PROGRAM}/surveys/{id}");
        let request_id = format!("activate-{id}");
        administrator.activate_survey(pb::ActivateSurveyRequest { name, request_id }).await.unwrap();
    }

    /// Tells on the points feed that a member bought now.
    pub(crate) async fn buy(&self, member: u128, purchase: &str) {
        self.tell_purchase(member, recorded(purchase), self.now(), false).await;
    }

    pub(crate) async fn tell_purchase(&self, member: u128, recorded: PurchaseRecorded, occur_time: Timestamp, historical: bool) {
        let member = if member == 0 { String::new() } else { member_name(member) };
        self.tell(member, occur_time, historical, Payload::PurchaseRecorded(recorded)).await;
    }

    /// Tells on the points feed that goods went back.
    pub(crate) async fn give_back(&self, member: u128, purchase: &str, complete: bool) {
        let returned = PurchaseReturned { purchase: format!("{PROGRAM}/purchases/{purchase}"), complete, ..PurchaseReturned::default() };
        self.tell(member_name(member), self.now(), false, Payload::PurchaseReturned(returned)).await;
    }

    async fn tell(&self, member: String, occur_time: Timestamp, historical: bool, payload: Payload) {
        let about =
            About { program: PROGRAM.to_owned(), member, aggregate: "account".to_owned(), aggregate_version: 1, occur_time, historical };
        let mut tx = self.points.begin().await.unwrap();
        tx.append_event(event(self.running.host().context(), about, payload)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// All invitations of a member in the order in which they were made.
    pub(crate) async fn invitations(&self, member: u128) -> Vec<pb::Invitation> {
        let request = pb::ListInvitationsRequest {
            parent: PROGRAM.to_owned(),
            member: member_name(member),
            page_size: 1000,
            ..pb::ListInvitationsRequest::default()
        };
        self.client(Role::Service).await.list_invitations(request).await.unwrap().into_inner().invitations
    }

    /// Waits until a member's only invitation is in a state.
    pub(crate) async fn invitation(&self, member: u128, state: pb::invitation::State) -> pb::Invitation {
        let found = async || match &self.invitations(member).await[..] {
            [only] if only.state() == state => Some(only.clone()),
            _ => None,
        };
        testkit::eventually(found).await
    }

    /// Waits until everything told on the points feed so far has been dealt with. Each partition has an order of its own, so
    /// so many members buy that every partition has a purchase at its end, and all of them have an invitation. A survey must ask.
    pub(crate) async fn feed_is_dealt_with(&self, label: &str) {
        let first = self.running.host().context().uuid().as_u128();
        let members = || first..first + 64;
        for member in members() {
            self.buy(member, &format!("{label}-{member}")).await;
        }
        for member in members() {
            testkit::eventually(async || !self.invitations(member).await.is_empty()).await;
        }
    }

    /// A member's purchase of today that is asked about at once: its invitation, DUE, after three days.
    pub(crate) async fn due_invitation(&self, member: u128, purchase: &str) -> pb::Invitation {
        self.tell_purchase(member, recorded(purchase), self.now() - 3 * DAY, false).await;
        self.invitation(member, pb::invitation::State::Due).await
    }

    pub(crate) async fn token(&self, invitation: &pb::Invitation, request_id: &str) -> String {
        let request = pb::IssueInvitationTokenRequest { name: invitation.name.clone(), request_id: request_id.to_owned() };
        self.client(Role::Service).await.issue_invitation_token(request).await.unwrap().into_inner().token
    }

    /// The states that the feedback feed has told of an invitation, once it has told `count` of them.
    pub(crate) async fn told_states(&self, invitation: &str, count: usize) -> Vec<(i64, String)> {
        let mut told = Vec::new();
        let mut feed = self.feed().await;
        while told.len() < count {
            let batch = next_batch(&mut feed).await;
            told.extend(batch.into_iter().filter(|event| event.aggregate == invitation).map(told_state));
        }
        told
    }

    /// Everything that the feedback feed tells, until it has nothing more: then it gives an empty batch as a sign of life.
    pub(crate) async fn told(&self) -> Vec<Event> {
        let mut told = Vec::new();
        let mut feed = self.feed().await;
        loop {
            let batch = next_batch(&mut feed).await;
            if batch.is_empty() {
                return told;
            }
            told.extend(batch);
        }
    }

    async fn feed(&self) -> Streaming<SubscribeResponse> {
        let channel = running_channel(&self.running, &self.secret(Role::Platform).await);
        let request = SubscribeRequest { source: "feedback".to_owned(), ..SubscribeRequest::default() };
        EventFeedServiceClient::new(channel).subscribe(request).await.unwrap().into_inner()
    }
}

async fn next_batch(feed: &mut Streaming<SubscribeResponse>) -> Vec<Event> {
    tokio::time::timeout(Duration::from_secs(20), feed.message()).await.expect("the feed speaks").unwrap().unwrap().events
}

async fn start(engine: &TestEngine, context: &Context) -> Running {
    let mut config = Config::default_in(Path::new("not-used"));
    config.database.url = engine.options.url.clone().into();
    config.keys.master_key = Some(format!("1:{}", "5a".repeat(32)).into());
    rpc::start(context, config, &[rpc::entry::<Points>(), rpc::entry::<feedback::Feedback>()]).await.unwrap()
}

fn told_state(event: Event) -> (i64, String) {
    let Some(Payload::SurveyInvitationChanged(SurveyInvitationChanged { invitation, survey: _, state, purchase: _ })) = event.payload
    else {
        panic!("feedback tells of invitations only");
    };
    assert_eq!(invitation, event.aggregate);
    (event.aggregate_version, state)
}

fn running_channel(running: &Running, secret: &str) -> InterceptedService<Channel, Credential> {
    let channel = Endpoint::from_shared(format!("http://{}", running.address())).unwrap().connect_lazy();
    InterceptedService::new(channel, Credential::new(secret).unwrap())
}

pub(crate) fn member_name(member: u128) -> String {
    format!("{PROGRAM}/members/{}", Uuid::from_u128(member))
}

/// A purchase of 25 yuan in store s1.
pub(crate) fn recorded(purchase: &str) -> PurchaseRecorded {
    PurchaseRecorded {
        purchase: format!("{PROGRAM}/purchases/{purchase}"),
        store: format!("{PROGRAM}/stores/s1"),
        channel: "store".to_owned(),
        net: Some(Money { currency_code: "CNY".to_owned(), minor_units: 2_500 }),
        ..PurchaseRecorded::default()
    }
}

/// A survey with all defaults.
pub(crate) fn survey() -> pb::Survey {
    pb::Survey {
        kind: pb::survey::Kind::Nps.into(),
        display_name: "After the visit".to_owned(),
        question: "Would you recommend us?".to_owned(),
        trigger: Some(pb::survey::Trigger::AfterPurchase(pb::AfterPurchase::default())),
        ..pb::Survey::default()
    }
}

pub(crate) fn create(id: &str, survey: pb::Survey) -> pb::CreateSurveyRequest {
    pb::CreateSurveyRequest {
        parent: PROGRAM.to_owned(),
        survey_id: id.to_owned(),
        survey: Some(survey),
        request_id: format!("create-{id}"),
    }
}

pub(crate) fn submit(token: &str, score: i32, comment: &str, request_id: &str) -> pb::SubmitResponseRequest {
    pb::SubmitResponseRequest {
        parent: PROGRAM.to_owned(),
        target: Some(pb::submit_response_request::Target::Token(token.to_owned())),
        score: Some(score),
        comment: comment.to_owned(),
        request_id: request_id.to_owned(),
    }
}

pub(crate) fn submit_by_name(invitation: &str, score: i32, request_id: &str) -> pb::SubmitResponseRequest {
    let target = Some(pb::submit_response_request::Target::Invitation(invitation.to_owned()));
    pb::SubmitResponseRequest { target, ..submit("", score, "", request_id) }
}

pub(crate) fn update(token: &str, score: i32, comment: &str, request_id: &str) -> pb::UpdateResponseRequest {
    pb::UpdateResponseRequest {
        parent: PROGRAM.to_owned(),
        target: Some(pb::update_response_request::Target::Token(token.to_owned())),
        score: Some(score),
        comment: comment.to_owned(),
        request_id: request_id.to_owned(),
    }
}

/// Code and reason of a refusal.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (tonic::Code, String) {
    let status = result.expect_err("it must be refused");
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    (status.code(), reason)
}

/// The field that a refusal names.
#[track_caller]
pub(crate) fn wrong_field<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.expect_err("it must be refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    status.get_details_bad_request().unwrap().field_violations.remove(0).field
}
