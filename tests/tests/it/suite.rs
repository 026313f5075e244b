//! The five services in this process, on an engine of the test's own, with a key of each role.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::sync::Arc;

use feedback::Feedback;
use kernel::{Context, FixedClock, Timestamp};
use members::Members;
use points::Points;
use proto::common::Money;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest, CreateStoreRequest, CreateTerminalRequest};
use proto::feedback::feedback_service_client::FeedbackServiceClient;
use proto::members::members_service_client::MembersServiceClient;
use proto::points::points_service_client::PointsServiceClient;
use proto::referrals::referrals_service_client::ReferralsServiceClient;
use proto::tiers::tiers_service_client::TiersServiceClient;
use referrals::Referrals;
use rpc::directory::NewApiKey;
use rpc::{Config, Credential, Directory, Entry, Programs, Role, Running};
use testkit::TestEngine;
use tiers::Tiers;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What every generated client is made of here.
pub(crate) type Wire = InterceptedService<Channel, Credential>;

/// The program in which everything happens; `coffee` is there to be kept out of.
pub(crate) const TEA: &str = "programs/tea";
/// The shop, and the till that the key of role TERMINAL belongs to.
pub(crate) const STORE: &str = "programs/tea/stores/bund";
pub(crate) const TILL: &str = "programs/tea/stores/bund/terminals/1";
/// The key that the services keep what is personal under.
pub(crate) const MASTER_KEY: &str = "1:0707070707070707070707070707070707070707070707070707070707070707";
/// Where the landing page lives.
pub(crate) const PAGE: &str = "https://join.tea.example";

pub(crate) const SOURCES: [&str; 6] = ["directory", "members", "points", "tiers", "referrals", "feedback"];
pub(crate) const ROLES: [Role; 8] =
    [Role::Terminal, Role::Platform, Role::LandingPage, Role::Service, Role::Support, Role::Analyst, Role::Administrator, Role::Auditor];

/// Servers and the services in each.
type Placement = &'static [&'static [Entry]];

static TOGETHER: Placement =
    &[&[rpc::entry::<Members>(), rpc::entry::<Points>(), rpc::entry::<Tiers>(), rpc::entry::<Referrals>(), rpc::entry::<Feedback>()]];
static POINTS_APART: Placement =
    &[&[rpc::entry::<Points>()], &[rpc::entry::<Members>(), rpc::entry::<Tiers>(), rpc::entry::<Referrals>(), rpc::entry::<Feedback>()]];

pub(crate) struct Suite {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) engine: TestEngine,
    context: Context,
    servers: Vec<Running>,
    placement: Placement,
    secrets: HashMap<Role, String>,
}

impl Suite {
    /// One server with all services.
    pub(crate) async fn start(engine: TestEngine) -> Suite {
        let (context, clock) = testkit::context();
        let servers = vec![serve(&context, &engine, TOGETHER[0], |_| {}).await];
        let administrator = servers[0].first_administrator().expect("the first start tells it");
        Suite::open(context, clock, engine, servers, TOGETHER, administrator).await
    }

    /// Points in one server, the rest in another; they reach each other by URL with a key of role SERVICE.
    pub(crate) async fn start_apart(engine: TestEngine) -> Suite {
        let (context, clock) = testkit::context();
        // The first key is made as an operator makes it: on the database, before any server runs.
        let config = config(&engine);
        let directory = Directory::open(&rpc::database_options(&config), context.clone()).await.unwrap();
        let service = NewApiKey { display_name: "peers".to_owned(), role: Role::Service, programs: Programs::All, terminal: None };
        let (_, service) = directory.create_api_key(service).await.unwrap();
        directory.database().close().await;
        let ports: Vec<u16> = POINTS_APART.iter().map(|_| free_port()).collect();
        let (mut servers, mut administrator) = (Vec::new(), None);
        for (index, services) in POINTS_APART.iter().enumerate() {
            let running = serve(&context, &engine, services, |config| {
                config.server.address.set_port(ports[index]);
                config.peers.credential = Some(service.reveal().into());
                for (elsewhere, port) in POINTS_APART.iter().zip(&ports).filter(|(_, port)| **port != ports[index]) {
                    let urls = elsewhere.iter().map(|entry| (entry.name.to_owned(), format!("http://127.0.0.1:{port}")));
                    config.peers.urls.extend(urls);
                }
            });
            let running = running.await;
            administrator = administrator.or(running.first_administrator());
            servers.push(running);
        }
        let administrator = administrator.expect("the first start tells it");
        Suite::open(context, clock, engine, servers, POINTS_APART, administrator).await
    }

    async fn open(
        context: Context,
        clock: Arc<FixedClock>,
        engine: TestEngine,
        servers: Vec<Running>,
        placement: Placement,
        administrator: String,
    ) -> Suite {
        let secrets = HashMap::from([(Role::Administrator, administrator)]);
        let mut suite = Suite { clock, engine, context, servers, placement, secrets };
        suite.programs().await;
        for role in ROLES.into_iter().filter(|role| *role != Role::Administrator) {
            let terminal = if role == Role::Terminal { TILL } else { "" };
            let secret = suite.new_secret(role, &[], terminal).await;
            suite.secrets.insert(role, secret);
        }
        suite
    }

    /// Two programs; a shop with a till in the first.
    async fn programs(&self) {
        let mut directory = self.directory(Role::Administrator);
        for id in ["tea", "coffee"] {
            let request = CreateProgramRequest {
                program_id: id.to_owned(),
                display_name: id.to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: self.request_id(),
            };
            directory.create_program(request).await.unwrap();
        }
        let store = CreateStoreRequest {
            parent: TEA.to_owned(),
            store_id: "bund".to_owned(),
            display_name: "The Bund".to_owned(),
            time_zone: String::new(),
            request_id: self.request_id(),
        };
        directory.create_store(store).await.unwrap();
        let terminal = CreateTerminalRequest {
            parent: STORE.to_owned(),
            terminal_id: "1".to_owned(),
            display_name: "Till 1".to_owned(),
            request_id: self.request_id(),
        };
        directory.create_terminal(terminal).await.unwrap();
    }

    /// The secret of a new key, made as a platform team makes it.
    pub(crate) async fn new_secret(&self, role: Role, programs: &[&str], terminal: &str) -> String {
        let request = CreateApiKeyRequest {
            display_name: role.as_str_name().to_owned(),
            role: role.into(),
            programs: programs.iter().map(|&program| program.to_owned()).collect(),
            terminal: terminal.to_owned(),
            request_id: self.request_id(),
        };
        self.directory(Role::Administrator).create_api_key(request).await.unwrap().into_inner().secret
    }

    /// Stops the servers in order and starts them on the same data.
    pub(crate) async fn restart(&mut self) {
        assert_eq!(self.placement.len(), 1, "servers apart would have to keep their ports");
        for running in self.servers.drain(..) {
            running.stop().await;
        }
        self.servers.push(serve(&self.context, &self.engine, self.placement[0], |_| {}).await);
    }

    /// Stops the servers; the databases stay until the engine is dropped.
    pub(crate) async fn stop(self) -> TestEngine {
        for running in self.servers {
            running.stop().await;
        }
        self.engine
    }

    pub(crate) fn request_id(&self) -> String {
        self.context.uuid().to_string()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.now()
    }

    pub(crate) fn secret(&self, role: Role) -> &str {
        &self.secrets[&role]
    }

    /// The secrets of all keys.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.values().map(String::as_str)
    }

    /// Where a service is served.
    pub(crate) fn address(&self, service: &str) -> std::net::SocketAddr {
        let place = self.placement.iter().position(|services| services.iter().any(|entry| entry.name == service));
        self.servers[place.unwrap_or(0)].address()
    }

    pub(crate) fn channel(&self, service: &str) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address(service))).unwrap().connect_lazy()
    }

    pub(crate) fn wire(&self, service: &str, role: Role) -> Wire {
        InterceptedService::new(self.channel(service), Credential::new(self.secret(role)).unwrap())
    }

    pub(crate) fn directory(&self, role: Role) -> DirectoryServiceClient<Wire> {
        DirectoryServiceClient::new(self.wire("directory", role))
    }

    pub(crate) fn members(&self, role: Role) -> MembersServiceClient<Wire> {
        MembersServiceClient::new(self.wire("members", role))
    }

    pub(crate) fn points(&self, role: Role) -> PointsServiceClient<Wire> {
        PointsServiceClient::new(self.wire("points", role))
    }

    pub(crate) fn tiers(&self, role: Role) -> TiersServiceClient<Wire> {
        TiersServiceClient::new(self.wire("tiers", role))
    }

    pub(crate) fn referrals(&self, role: Role) -> ReferralsServiceClient<Wire> {
        ReferralsServiceClient::new(self.wire("referrals", role))
    }

    pub(crate) fn feedback(&self, role: Role) -> FeedbackServiceClient<Wire> {
        FeedbackServiceClient::new(self.wire("feedback", role))
    }
}

fn config(engine: &TestEngine) -> Config {
    let mut config = Config::default_in(&std::env::temp_dir());
    config.database.url = engine.options.url.clone().into();
    config.database.connections_max = 4;
    config.keys.data_dir = None;
    config.keys.master_key = Some(MASTER_KEY.to_owned().into());
    config.server.cors_origins = vec![PAGE.to_owned()];
    // A machine that builds something else at the same time must not fail a test.
    config.server.deadline_ms_default = 30_000;
    config
}

async fn serve(context: &Context, engine: &TestEngine, services: &[Entry], change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(engine);
    change(&mut config);
    rpc::start(context, config, services).await.unwrap()
}

/// A port that was free a moment ago: servers that name each other must know their ports before they listen.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub(crate) fn money(minor_units: i64) -> Money {
    Money { currency_code: "CNY".to_owned(), minor_units }
}

pub(crate) fn time(moment: Timestamp) -> Option<prost_types::Timestamp> {
    Some(rpc::wire::timestamp(moment))
}

/// Code and reason of a refusal.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it must be refused");
    (status.code(), reason(&status))
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How often each of them is there.
pub(crate) fn counted<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    items.into_iter().fold(BTreeMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}
