//! A running server with points, and where a test wants them feeds of members and tiers to which it writes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Clock, Context, FixedClock, RandomIds, Timestamp, name};
use persistence::{Database, Keyring, Tx, on_engine};
use points::domain::AccountId;
use prost::bytes::{Buf, BufMut};
use proto::common::Role;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateProgramRequest, CreateStoreRequest, CreateTerminalRequest};
use proto::events::event::Payload;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, SubscribeRequest};
use proto::points as pb;
use proto::points::points_service_client::PointsServiceClient;
use rpc::directory::NewApiKey;
use rpc::feed::{About, event};
use rpc::{Config, Credential, Host, Programs, Running, StartError, Started};
use testkit::TestEngine;
use tokio::sync::OnceCell;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::requests::*;

pub(crate) type Wire = InterceptedService<Channel, Credential>;
pub(crate) type Client = PointsServiceClient<Wire>;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Stands in the place of members: its database and its feed.
struct Members;

/// Stands in the place of tiers.
struct Tiers;

impl rpc::Service for Members {
    const NAME: &'static str = "members";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

impl rpc::Service for Tiers {
    const NAME: &'static str = "tiers";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

pub(crate) struct Suite {
    pub(crate) clock: Arc<FixedClock>,
    /// The databases of members and tiers, where they run.
    feeds: Option<[Database; 2]>,
    points: OnceCell<Database>,
    running: Running,
    administrator: Credential,
    platform: Credential,
    context: Context,
    engine: TestEngine,
}

impl Suite {
    /// With the program tea under [`terms`], and coffee that has none.
    pub(crate) async fn start(engine: TestEngine) -> Suite {
        Suite::with_terms(engine, terms()).await
    }

    pub(crate) async fn with_terms(engine: TestEngine, terms: pb::Terms) -> Suite {
        Suite::start_with(engine, terms, false, |_| {}).await
    }

    pub(crate) async fn configured(engine: TestEngine, configure: impl FnOnce(&mut Config)) -> Suite {
        Suite::start_with(engine, terms(), false, configure).await
    }

    /// With feeds of members and tiers.
    pub(crate) async fn with_feeds(engine: TestEngine, terms: pb::Terms) -> Suite {
        Suite::start_with(engine, terms, true, |_| {}).await
    }

    async fn start_with(engine: TestEngine, terms: pb::Terms, feeds: bool, configure: impl FnOnce(&mut Config)) -> Suite {
        let (context, clock) = testkit::context();
        let running = serve(&engine, &context, feeds, configure).await;
        let administrator = Credential::new(&running.first_administrator().unwrap()).unwrap();
        let mut directory = DirectoryServiceClient::new(wire(&running, &administrator));
        for program in ["tea", "coffee"] {
            let request = CreateProgramRequest {
                program_id: program.to_owned(),
                display_name: program.to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: request_id(),
            };
            directory.create_program(request).await.unwrap();
        }
        PointsServiceClient::new(wire(&running, &administrator)).create_program_version(new_version(terms)).await.unwrap();
        let platform = key(&running, Role::Platform, Programs::All, None).await;
        let feeds = if feeds { Some([engine.open("members", &[]).await, engine.open("tiers", &[]).await]) } else { None };
        Suite { clock, feeds, points: OnceCell::new(), running, administrator, platform, context, engine }
    }

    /// Stops the process and starts another on the same data.
    pub(crate) async fn restart(self) -> Suite {
        self.away(Duration::ZERO).await
    }

    /// The same with some time in which there is none.
    pub(crate) async fn away(self, time: Duration) -> Suite {
        let Suite { clock, feeds, points, running, administrator, platform, context, engine } = self;
        running.stop().await;
        clock.advance(time);
        let running = serve(&engine, &context, feeds.is_some(), |_| {}).await;
        Suite { clock, feeds, points, running, administrator, platform, context, engine }
    }

    /// Another process on the same databases, as far as one process can be two.
    pub(crate) async fn replica(&self) -> Replica {
        let context = Context { ids: Arc::new(RandomIds), ..self.context.clone() };
        let running = serve(&self.engine, &context, self.feeds.is_some(), |_| {}).await;
        Replica { platform: PointsServiceClient::new(wire(&running, &self.platform)), running }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The ledger's own database, opened a second time.
    pub(crate) async fn points(&self) -> &Database {
        self.points.get_or_init(|| self.engine.open("points", points::MIGRATIONS)).await
    }

    /// A back end, which may do most things.
    pub(crate) fn platform(&self) -> Client {
        PointsServiceClient::new(wire(&self.running, &self.platform))
    }

    pub(crate) fn administrator(&self) -> Client {
        PointsServiceClient::new(wire(&self.running, &self.administrator))
    }

    pub(crate) async fn client(&self, role: Role) -> Client {
        PointsServiceClient::new(self.wire(role, Programs::All).await)
    }

    /// A connection with a new key.
    pub(crate) async fn wire(&self, role: Role, programs: Programs) -> Wire {
        wire(&self.running, &key(&self.running, role, programs, None).await)
    }

    /// A till of store `s1`.
    pub(crate) async fn till(&self) -> Client {
        let mut directory = DirectoryServiceClient::new(wire(&self.running, &self.administrator));
        let store = CreateStoreRequest {
            parent: TEA.to_owned(),
            store_id: "s1".to_owned(),
            request_id: request_id(),
            ..CreateStoreRequest::default()
        };
        let parent = directory.create_store(store).await.unwrap().into_inner().name;
        let terminal = CreateTerminalRequest {
            parent,
            terminal_id: "till-1".to_owned(),
            request_id: request_id(),
            ..CreateTerminalRequest::default()
        };
        directory.create_terminal(terminal).await.unwrap();
        let programs = Programs::Only(["tea".to_owned()].into());
        let credential = key(&self.running, Role::Terminal, programs, Some(TILL.to_owned())).await;
        PointsServiceClient::new(wire(&self.running, &credential))
    }

    pub(crate) async fn award(&self, buyer: u128, id: &str, fen: i64) -> pb::Operation {
        self.platform().award(award(buyer, id, fen)).await.unwrap().into_inner()
    }

    pub(crate) async fn reserve(&self, owner: u128, points: i64) -> pb::Operation {
        self.platform().reserve(reserve(owner, points)).await.unwrap().into_inner()
    }

    pub(crate) async fn balance(&self, owner: u128) -> pb::Balance {
        self.platform().get_balance(pb::GetBalanceRequest { member: member(owner), ..Default::default() }).await.unwrap().into_inner()
    }

    /// Spendable, pending, reserved and owed points of the main wallet.
    pub(crate) async fn figures(&self, owner: u128) -> (i64, i64, i64, i64) {
        figures(&self.balance(owner).await)
    }

    /// The books of a member, oldest first.
    pub(crate) async fn entries(&self, owner: u128) -> Vec<pb::Entry> {
        let request = pb::ListEntriesRequest { parent: member(owner), page_size: 1000, ..Default::default() };
        let mut entries = self.platform().list_entries(request).await.unwrap().into_inner().entries;
        entries.reverse();
        entries
    }

    pub(crate) async fn story(&self, owner: u128) -> Vec<String> {
        story(&self.entries(owner).await)
    }

    /// The books of a member from a version on, as a stream tells them.
    pub(crate) async fn statement(&self, owner: u128, start_version: i64) -> Vec<pb::Entry> {
        let request = pb::StreamEntriesRequest { parent: member(owner), start_version };
        let stream = self.platform().stream_entries(request).await.unwrap().into_inner();
        futures::TryStreamExt::try_collect(stream).await.unwrap()
    }

    /// What an answer says was the last to happen in its books, its balance is that of its member, and it can be asked for again.
    pub(crate) async fn stands(&self, operation: &pb::Operation) {
        let told = self.balance_of(&operation.member).await;
        let after = operation.balance.as_ref().unwrap();
        let without_lots = |balance: &pb::Balance| {
            let wallet = |wallet: &pb::WalletBalance| pb::WalletBalance { lots: Vec::new(), ..wallet.clone() };
            balance.wallets.iter().map(wallet).collect::<Vec<_>>()
        };
        assert_eq!((without_lots(&told), told.version), (without_lots(after), after.version));
        let request = pb::StreamEntriesRequest { parent: operation.member.clone(), start_version: operation.entries[0].version };
        let stream = self.platform().stream_entries(request).await.unwrap().into_inner();
        let stored: Vec<_> = futures::TryStreamExt::try_collect(stream).await.unwrap();
        assert_eq!(stored, operation.entries);
        for entry in operation.entries.iter().filter(|entry| entry.actor != "clock") {
            assert_eq!((&entry.operation, &entry.request_id), (&operation.name, &operation.request_id));
        }
        let asked = self.platform().get_operation(answer_to(&operation.request_id)).await.unwrap();
        assert!(replayed(&asked));
        assert_eq!(asked.get_ref(), operation);
    }

    async fn balance_of(&self, name: &str) -> pb::Balance {
        let request = pb::GetBalanceRequest { member: name.to_owned(), ..Default::default() };
        self.platform().get_balance(request).await.unwrap().into_inner()
    }

    pub(crate) async fn purchase(&self, id: &str) -> pb::Purchase {
        self.platform().get_purchase(pb::GetPurchaseRequest { name: purchase(id) }).await.unwrap().into_inner()
    }

    /// Makes a next version of the terms.
    pub(crate) async fn new_terms(&self, terms: pb::Terms, start: Timestamp) -> pb::ProgramVersion {
        let request = with(new_version(terms), |request| request.start_time = Some(rpc::wire::timestamp(start)));
        self.administrator().create_program_version(request).await.unwrap().into_inner()
    }

    /// The first events of the points feed, in the order of each member.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        let mut feed = EventFeedServiceClient::new(wire(&self.running, &self.platform));
        let request = SubscribeRequest { source: "points".to_owned(), ..SubscribeRequest::default() };
        let mut stream = feed.subscribe(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while events.len() < count {
            let batch = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("the feed speaks");
            events.extend(batch.unwrap().unwrap().events);
        }
        events
    }

    /// Members tells of a member; waits until points knows this version of its facts.
    pub(crate) async fn members_tell(&self, owner: u128, payload: Payload, fact_version: i64) {
        let [members, _] = self.feeds.as_ref().expect("the test has feeds");
        self.tell(members, owner, payload, fact_version, false).await;
    }

    /// The same of old data.
    pub(crate) async fn members_tell_old(&self, owner: u128, payload: Payload, fact_version: i64) {
        let [members, _] = self.feeds.as_ref().expect("the test has feeds");
        self.tell(members, owner, payload, fact_version, true).await;
    }

    /// The same of many at once.
    pub(crate) async fn members_tell_all(&self, owners: std::ops::RangeInclusive<u128>, payload: Payload) {
        let [members, _] = self.feeds.as_ref().expect("the test has feeds");
        let mut tx = members.begin().await.unwrap();
        let (last, events) = (*owners.end(), owners.map(|owner| event(&self.context, self.about(owner, 1, false), payload.clone())));
        tx.append_events(events.collect()).await.unwrap();
        tx.commit().await.unwrap();
        testkit::eventually(async || {
            let mut tx = self.points().await.read().await.unwrap();
            let known: i64 =
                on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM facts WHERE version > 0").fetch_one(conn).await).unwrap();
            u128::try_from(known).unwrap() >= last
        })
        .await;
    }

    /// The same by tiers.
    pub(crate) async fn tiers_tell(&self, owner: u128, payload: Payload, fact_version: i64) {
        let [_, tiers] = self.feeds.as_ref().expect("the test has feeds");
        self.tell(tiers, owner, payload, fact_version, false).await;
    }

    fn about(&self, owner: u128, fact_version: i64, historical: bool) -> About {
        About {
            program: TEA.to_owned(),
            member: member(owner),
            aggregate: member(owner),
            aggregate_version: fact_version,
            occur_time: self.now(),
            historical,
        }
    }

    async fn tell(&self, source: &Database, owner: u128, payload: Payload, fact_version: i64, historical: bool) {
        let about = self.about(owner, fact_version, historical);
        let mut tx = source.begin().await.unwrap();
        tx.append_event(event(&self.context, about, payload)).await.unwrap();
        tx.commit().await.unwrap();
        testkit::eventually(async || {
            let mut tx = self.points().await.read().await.unwrap();
            let known: Option<i64> = on_engine!(tx, |conn| sqlx::query_scalar("SELECT version FROM facts WHERE account_id = $1")
                .bind(account(owner))
                .fetch_optional(conn)
                .await)
            .unwrap();
            known.is_some_and(|version| version >= fact_version)
        })
        .await;
    }

    /// Re-derives all books and finds no difference.
    pub(crate) async fn verified(&self) -> points::Report {
        let report = points::verify(self.points().await, &keyring(), |_| {}).await.unwrap();
        assert_eq!(report.differences, []);
        report
    }

    /// Holds a member's account until the transaction ends.
    pub(crate) async fn lock(&self, owner: u128) -> Tx {
        let mut tx = self.points().await.begin().await.unwrap();
        on_engine!(tx, |conn| sqlx::query("UPDATE accounts SET version = version WHERE account_id = $1")
            .bind(account(owner))
            .execute(conn)
            .await
            .map(|_| ()))
        .unwrap();
        tx
    }
}

/// A second server on the same databases.
pub(crate) struct Replica {
    pub(crate) platform: Client,
    running: Running,
}

impl Replica {
    pub(crate) async fn wire(&self, role: Role) -> Wire {
        wire(&self.running, &key(&self.running, role, Programs::All, None).await)
    }

    pub(crate) async fn client(&self, role: Role) -> Client {
        PointsServiceClient::new(wire(&self.running, &key(&self.running, role, Programs::All, None).await))
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

/// The keys that the servers of the tests have.
const MASTER_KEY: &str = "1:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

pub(crate) fn keyring() -> Keyring {
    Keyring::from_hex(MASTER_KEY).unwrap()
}

/// The key of a member's account.
pub(crate) fn account(owner: u128) -> uuid::Uuid {
    let (program, id) = name::member(&member(owner)).unwrap();
    AccountId::of(&program, id).0
}

async fn serve(engine: &TestEngine, context: &Context, feeds: bool, configure: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default_in(Path::new("not-used"));
    config.database.url = engine.options.url.clone().into();
    config.database.connections_max = 5;
    config.keys.data_dir = None;
    config.keys.master_key = Some(MASTER_KEY.to_owned().into());
    configure(&mut config);
    if feeds {
        let services = [rpc::entry::<Members>(), rpc::entry::<Tiers>(), rpc::entry::<points::Points>()];
        return rpc::start(context, config, &services).await.unwrap();
    }
    // Elsewhere and away: points does without them.
    config.peers.credential = Some("rk_away".to_owned().into());
    config.peers.urls = ["members", "tiers"].map(|name| (name.to_owned(), "http://127.0.0.1:1".to_owned())).into();
    rpc::start(context, config, &[rpc::entry::<points::Points>()]).await.unwrap()
}

async fn key(running: &Running, role: Role, programs: Programs, terminal: Option<String>) -> Credential {
    let new = NewApiKey { display_name: "test".to_owned(), role, programs, terminal };
    let (_, secret) = running.host().directory().create_api_key(new).await.unwrap();
    Credential::new(&secret.reveal()).unwrap()
}

fn wire(running: &Running, credential: &Credential) -> Wire {
    let channel = Endpoint::from_shared(format!("http://{}", running.address())).unwrap().connect_lazy();
    InterceptedService::new(channel, credential.clone())
}

/// Calls an RPC of the points service with bytes and answers with bytes.
pub(crate) async fn raw(wire: &Wire, rpc: &str, message: Vec<u8>) -> Result<Response<Vec<u8>>, Status> {
    raw_of(wire, "PointsService", rpc, message).await
}

/// Calls an RPC of any service of the package with bytes and answers with bytes.
pub(crate) async fn raw_of(wire: &Wire, service: &str, rpc: &str, message: Vec<u8>) -> Result<Response<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(wire.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/regulars.points.v1.{service}/{rpc}")).unwrap();
    if matches!(rpc, "StreamEntries" | "SimulateTerms") {
        let mut stream = grpc.server_streaming(Request::new(message), path, Bytes).await?.into_inner();
        return Ok(Response::new(stream.message().await?.unwrap_or_default()));
    }
    grpc.unary(Request::new(message), path, Bytes).await
}

/// Messages as they stand on the wire.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Bytes;
    type Decoder = Bytes;

    fn encoder(&mut self) -> Bytes {
        Bytes
    }

    fn decoder(&mut self) -> Bytes {
        Bytes
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
