//! A running server with tiers and a points feed to which the tests write.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Context, FixedClock, RandomIds, Timestamp, Zone};
use persistence::feed::PARTITIONS;
use persistence::{Database, FeedReader, Position};
use proto::common::{CalendarPeriod, Role, calendar_period::Unit};
use proto::directory::CreateProgramRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::events::event::Payload;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, PurchaseRecorded, PurchaseReturned, SubscribeRequest, TierChanged};
use proto::tiers as pb;
use proto::tiers::tiers_service_client::TiersServiceClient;
use rpc::directory::NewApiKey;
use rpc::feed::{About, event};
use rpc::{Config, Credential, Host, Programs, Running, StartError, Started};
use testkit::TestEngine;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

pub(crate) type Client = TiersServiceClient<InterceptedService<Channel, Credential>>;

pub(crate) const PROGRAM: &str = "programs/tea";
pub(crate) const SCHEME: &str = "programs/tea/schemes/status";
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Stands in the place of points: its database and its feed.
struct Points;

impl rpc::Service for Points {
    const NAME: &'static str = "points";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

pub(crate) struct Suite {
    pub(crate) clock: Arc<FixedClock>,
    engine: TestEngine,
    running: Running,
    points: Database,
    tiers: Database,
    /// Events written to the points feed.
    told: AtomicU64,
}

impl Suite {
    /// With the programs tea and coffee, in Shanghai.
    pub(crate) async fn start(engine: TestEngine) -> Suite {
        let (context, clock) = testkit::context();
        let running = start(&engine, &context).await;
        let points = engine.open("points", &[]).await;
        let tiers = engine.open("tiers", tiers::MIGRATIONS).await;
        let suite = Suite { clock, engine, running, points, tiers, told: AtomicU64::new(0) };
        let administrator = channel(&suite.running, &suite.running.first_administrator().unwrap());
        let directory = DirectoryServiceClient::new(administrator);
        for program_id in ["tea", "coffee"] {
            let request = CreateProgramRequest {
                program_id: program_id.to_owned(),
                display_name: program_id.to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: request_id(),
            };
            directory.clone().create_program(request).await.unwrap();
        }
        suite
    }

    /// The same with a scheme.
    pub(crate) async fn with_scheme(engine: TestEngine, scheme: pb::Scheme) -> Suite {
        let suite = Suite::start(engine).await;
        suite.create_scheme(scheme).await;
        suite
    }

    /// Starts another process on the same databases, as far as one process can.
    pub(crate) async fn replica(&self) -> Running {
        let context = Context { ids: Arc::new(RandomIds), ..self.running.host().context().clone() };
        start(&self.engine, &context).await
    }

    /// Stops, lets a caller write to the points feed meanwhile, and starts again on the same databases.
    pub(crate) async fn restart(self, meanwhile: impl AsyncFnOnce(&Suite)) -> Suite {
        self.running.host().shutdown().cancel();
        meanwhile(&self).await;
        let Suite { clock, engine, running, points, tiers, told } = self;
        let context = Context { ids: Arc::new(RandomIds), ..running.host().context().clone() };
        running.stop().await;
        let running = start(&engine, &context).await;
        Suite { clock, engine, running, points, tiers, told }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    pub(crate) async fn client(&self, role: Role) -> Client {
        self.client_of(role, Programs::All).await
    }

    pub(crate) async fn client_of(&self, role: Role, programs: Programs) -> Client {
        TiersServiceClient::new(channel(&self.running, &self.secret(role, programs).await))
    }

    async fn secret(&self, role: Role, programs: Programs) -> String {
        let new = NewApiKey { display_name: "test".to_owned(), role, programs, terminal: None };
        self.running.host().directory().create_api_key(new).await.unwrap().1.reveal()
    }

    /// Tells of a purchase and waits until the service has dealt with it.
    pub(crate) async fn buy(&self, member: u128, purchase: &str, points: i64, at: Timestamp) {
        self.tell(member, self.version(), at, false, bought(purchase, points)).await;
        self.settled().await;
    }

    /// Tells of a return and waits.
    pub(crate) async fn give_back(&self, member: u128, purchase: &str, points: i64, at: Timestamp) {
        self.tell(member, self.version(), at, false, returned(purchase, points)).await;
        self.settled().await;
    }

    /// A version that no event had before.
    pub(crate) fn version(&self) -> i64 {
        i64::try_from(self.told.load(Ordering::Relaxed)).unwrap() + 1
    }

    /// Writes an event to the points feed.
    pub(crate) async fn tell(&self, member: u128, version: i64, at: Timestamp, historical: bool, payload: Payload) {
        let member = if member == 0 { String::new() } else { member_name(member) };
        let about = About {
            program: PROGRAM.to_owned(),
            aggregate: member.clone(),
            member,
            aggregate_version: version,
            occur_time: at,
            historical,
        };
        let mut tx = self.points.begin().await.unwrap();
        tx.append_event(event(self.running.host().context(), about, payload)).await.unwrap();
        tx.commit().await.unwrap();
        self.told.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells of many purchases of one point, in one transaction.
    pub(crate) async fn tell_many(&self, member: u128, count: u64, at: Timestamp) {
        let first = self.told.load(Ordering::Relaxed) + 1;
        let events = (first..first + count).map(|number| {
            let about = About {
                program: PROGRAM.to_owned(),
                aggregate: member_name(member),
                member: member_name(member),
                aggregate_version: i64::try_from(number).unwrap(),
                occur_time: at,
                historical: false,
            };
            event(self.running.host().context(), about, bought(&format!("many-{number}"), 1))
        });
        let mut tx = self.points.begin().await.unwrap();
        tx.append_events(events.collect()).await.unwrap();
        tx.commit().await.unwrap();
        self.told.fetch_add(count, Ordering::Relaxed);
    }

    /// The rows that an evaluation of a member reads.
    pub(crate) async fn day_rows(&self, member: u128) -> i64 {
        let mut tx = self.tiers.read().await.unwrap();
        let count = persistence::on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM day_points WHERE member_id = $1")
            .bind(Uuid::from_u128(member))
            .fetch_one(conn)
            .await);
        count.unwrap()
    }

    /// Waits until the service has dealt with everything told so far.
    pub(crate) async fn settled(&self) {
        let told = usize::try_from(self.told.load(Ordering::Relaxed)).unwrap();
        let reader = FeedReader::new(self.points.clone());
        let partitions: Vec<u8> = (0..PARTITIONS).collect();
        testkit::eventually(async || {
            // In PostgreSQL an event is on the feed a moment after its commit.
            let oldest = reader.oldest().await.unwrap();
            if reader.read(&oldest, &partitions, 100_000).await.unwrap().events.len() < told {
                return false;
            }
            let cursor = self.tiers.read().await.unwrap().cursor("tiers", "points").await.unwrap();
            let Some(cursor) = cursor else { return told == 0 };
            reader.lag(&Position::decode(&cursor).unwrap()).await.unwrap().events == 0
        })
        .await;
    }

    pub(crate) async fn create_scheme(&self, scheme: pb::Scheme) -> pb::Scheme {
        self.client(Role::Administrator).await.create_scheme(create(scheme)).await.unwrap().into_inner()
    }

    pub(crate) async fn tier(&self, member: u128) -> pb::MemberTier {
        let request = pb::GetMemberTierRequest { name: tier_name(member) };
        self.client(Role::Terminal).await.get_member_tier(request).await.unwrap().into_inner()
    }

    /// The log of a member, oldest first.
    pub(crate) async fn log(&self, member: u128) -> Vec<pb::TierTransition> {
        let request = pb::ListTierTransitionsRequest { parent: tier_name(member), page_size: 1000, ..Default::default() };
        let mut log = self.client(Role::Support).await.list_tier_transitions(request).await.unwrap().into_inner().transitions;
        log.reverse();
        log
    }

    /// The log as text: change, levels, start and end as days of the program.
    pub(crate) async fn story(&self, member: u128) -> Vec<String> {
        let line = |entry: pb::TierTransition| {
            let change = entry.change().as_str_name().trim_start_matches("CHANGE_").to_owned();
            let day =
                |time: Option<prost_types::Timestamp>| time.map_or("-".to_owned(), |time| moment(&time).date_in(&shanghai()).to_string());
            format!("{change} {}>{} {} {}", entry.from_level, entry.to_level, day(entry.start_time), day(entry.end_time))
        };
        self.log(member).await.into_iter().map(line).collect()
    }

    /// The tiers feed of a member once it has so many events. Panics when they do not come in twenty seconds.
    pub(crate) async fn announced(&self, member: u128, count: usize) -> Vec<(Event, TierChanged)> {
        let secret = self.secret(Role::Platform, Programs::All).await;
        let mut feed = EventFeedServiceClient::new(channel(&self.running, &secret));
        let request = SubscribeRequest { source: "tiers".to_owned(), ..SubscribeRequest::default() };
        let mut stream = feed.subscribe(request).await.unwrap().into_inner();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut announced = Vec::new();
        while announced.len() < count {
            let batch = tokio::time::timeout_at(deadline, stream.message()).await.expect("the feed speaks");
            for event in batch.unwrap().unwrap().events {
                let Some(Payload::TierChanged(changed)) = event.payload.clone() else { panic!("tiers tells of tiers only") };
                if event.member == member_name(member) {
                    announced.push((event, changed));
                }
            }
        }
        announced
    }
}

async fn start(engine: &TestEngine, context: &Context) -> Running {
    let mut config = Config::default_in(Path::new("not-used"));
    config.database.url = engine.options.url.clone().into();
    config.keys.master_key = Some(format!("1:{}", "5a".repeat(32)).into());
    rpc::start(context, config, &[rpc::entry::<Points>(), rpc::entry::<tiers::Tiers>()]).await.unwrap()
}

fn channel(running: &Running, secret: &str) -> InterceptedService<Channel, Credential> {
    let channel = Endpoint::from_shared(format!("http://{}", running.address())).unwrap().connect_lazy();
    InterceptedService::new(channel, Credential::new(secret).unwrap())
}

pub(crate) fn member_name(member: u128) -> String {
    format!("{PROGRAM}/members/{}", Uuid::from_u128(member))
}

pub(crate) fn tier_name(member: u128) -> String {
    format!("{}/tiers/status", member_name(member))
}

pub(crate) fn purchase_name(purchase: &str) -> String {
    format!("{PROGRAM}/purchases/{purchase}")
}

pub(crate) fn bought(purchase: &str, points: i64) -> Payload {
    Payload::PurchaseRecorded(PurchaseRecorded { purchase: purchase_name(purchase), base_points: points, ..Default::default() })
}

pub(crate) fn returned(purchase: &str, points: i64) -> Payload {
    Payload::PurchaseReturned(PurchaseReturned { purchase: purchase_name(purchase), base_points_delta: -points, ..Default::default() })
}

/// Silver at 100 and gold at 500 points of a calendar year, held to the end of the next; one down; returns take back.
pub(crate) fn scheme() -> pb::Scheme {
    use pb::{qualifying_period, validity};
    pb::Scheme {
        display_name: "Tea status".to_owned(),
        basis: pb::Basis::QualifyingPoints.into(),
        period: Some(pb::QualifyingPeriod { kind: Some(qualifying_period::Kind::CalendarYear(pb::CalendarYear {})) }),
        validity: Some(pb::Validity { kind: Some(validity::Kind::EndOfPeriod(pb::EndOfPeriod { following_periods: 1 })) }),
        downgrade: pb::Downgrade::OneDown.into(),
        on_return: pb::OnReturn::Reevaluate.into(),
        levels: vec![level("silver", Some(100), "1.25"), level("gold", Some(500), "1.50")],
        ..pb::Scheme::default()
    }
}

pub(crate) fn level(id: &str, threshold: Option<i64>, multiplier: &str) -> pb::Level {
    pb::Level { id: id.to_owned(), display_name: id.to_uppercase(), threshold, multiplier: multiplier.to_owned() }
}

pub(crate) fn months(count: i32) -> CalendarPeriod {
    CalendarPeriod { count, unit: Unit::Month.into() }
}

pub(crate) fn create(scheme: pb::Scheme) -> pb::CreateSchemeRequest {
    pb::CreateSchemeRequest { parent: PROGRAM.to_owned(), scheme_id: "status".to_owned(), scheme: Some(scheme), request_id: request_id() }
}

pub(crate) fn grant(member: u128, level: &str, end: Option<Timestamp>) -> pb::GrantTierRequest {
    pb::GrantTierRequest {
        parent: tier_name(member),
        level: level.to_owned(),
        end_time: end.map(rpc::wire::timestamp),
        approver: "employees/17".to_owned(),
        reason: "invited by the founder".to_owned(),
        request_id: request_id(),
    }
}

/// An id that no other request of this run has.
pub(crate) fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn shanghai() -> Zone {
    Zone::parse("Asia/Shanghai").unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

pub(crate) fn moment(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(time.seconds, time.nanos).unwrap()
}

/// Code and reason of a refusal.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("it must be refused");
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    (status.code(), reason)
}

/// The fields that a refusal names, with what it says of them.
#[track_caller]
pub(crate) fn wrong_fields<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<(String, String)> {
    let status = result.expect_err("it must be refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}
