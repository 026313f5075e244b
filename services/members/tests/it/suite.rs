//! A real server with the members service, two programs, and clients of every role.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::{Context, FixedClock, SeededIds};
use members::Members;
use proto::common::Role;
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest, CreateStoreRequest, CreateTerminalRequest};
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, SubscribeRequest};
use proto::members::identity::Value;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{Attribute, EnrollMemberRequest, Identity, LookupMemberRequest, Member, attribute};
use rpc::{Config, Credential, Flags, Running};
use testkit::TestEngine;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub(crate) const TEA: &str = "programs/tea";
pub(crate) const COFFEE: &str = "programs/coffee";

/// The master key that a suite starts with.
pub(crate) const FIRST_KEY: &str = "1:0707070707070707070707070707070707070707070707070707070707070707";
/// A newer one.
pub(crate) const SECOND_KEY: &str = "2:0808080808080808080808080808080808080808080808080808080808080808";

pub(crate) type Client = MembersServiceClient<InterceptedService<Channel, Credential>>;

/// A running suite with the members service alone.
pub(crate) struct Suite {
    running: Running,
    channel: Channel,
    administrator: Credential,
    pub(crate) clock: Arc<FixedClock>,
}

impl Suite {
    /// Starts on an engine that has nothing in it yet, with the programs tea and coffee.
    pub(crate) async fn start(engine: &TestEngine) -> Suite {
        let (running, channel, clock) = serve(engine, FIRST_KEY, 1).await;
        let administrator = Credential::new(&running.first_administrator().unwrap()).unwrap();
        let suite = Suite { running, channel, administrator, clock };
        for program_id in ["tea", "coffee"] {
            let request = CreateProgramRequest {
                program_id: program_id.to_owned(),
                display_name: program_id.to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency_code: "CNY".to_owned(),
                request_id: request_id(),
            };
            suite.directory().create_program(request).await.unwrap();
        }
        suite
    }

    /// A client that may do everything an administrator may.
    pub(crate) fn administrator(&self) -> Client {
        MembersServiceClient::with_interceptor(self.channel.clone(), self.administrator.clone())
    }

    /// A client with a new key of a role, which may touch these programs, or all when there are none.
    pub(crate) async fn client(&self, role: Role, programs: &[&str]) -> Client {
        let programs = programs.iter().map(|&name| name.to_owned()).collect();
        self.client_with(CreateApiKeyRequest { role: role.into(), programs, ..CreateApiKeyRequest::default() }).await
    }

    /// A client of the till `programs/tea/stores/{store_id}/terminals/till-1`, in a new store.
    pub(crate) async fn till_in(&self, store_id: &str) -> Client {
        let store = CreateStoreRequest {
            parent: TEA.to_owned(),
            store_id: store_id.to_owned(),
            request_id: request_id(),
            ..CreateStoreRequest::default()
        };
        let parent = self.directory().create_store(store).await.unwrap().into_inner().name;
        let terminal = CreateTerminalRequest {
            parent,
            terminal_id: "till-1".to_owned(),
            request_id: request_id(),
            ..CreateTerminalRequest::default()
        };
        let terminal = self.directory().create_terminal(terminal).await.unwrap().into_inner().name;
        let programs = vec![TEA.to_owned()];
        self.client_with(CreateApiKeyRequest { role: Role::Terminal.into(), programs, terminal, ..CreateApiKeyRequest::default() }).await
    }

    async fn client_with(&self, key: CreateApiKeyRequest) -> Client {
        let request = CreateApiKeyRequest { display_name: "test".to_owned(), request_id: request_id(), ..key };
        let secret = self.directory().create_api_key(request).await.unwrap().into_inner().secret;
        MembersServiceClient::with_interceptor(self.channel.clone(), Credential::new(&secret).unwrap())
    }

    /// The first events of the members feed, waiting for them.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        let mut feed = EventFeedServiceClient::with_interceptor(self.channel.clone(), self.administrator.clone());
        let request = SubscribeRequest { source: "members".to_owned(), cursor: String::new(), partitions: Vec::new() };
        let mut stream = feed.subscribe(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(stream.message().await.unwrap().unwrap().events);
        }
        events
    }

    /// Stops and starts again on the same data, with other master keys.
    pub(crate) async fn restart(self, engine: &TestEngine, keys: &str) -> Suite {
        let administrator = self.administrator.clone();
        self.stop().await;
        let (running, channel, clock) = serve(engine, keys, 2).await;
        Suite { running, channel, administrator, clock }
    }

    /// Lets calls end and closes the databases.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    fn directory(&self) -> DirectoryServiceClient<InterceptedService<Channel, Credential>> {
        DirectoryServiceClient::with_interceptor(self.channel.clone(), self.administrator.clone())
    }
}

/// Ids of another seed never meet those of a start before.
async fn serve(engine: &TestEngine, keys: &str, seed: u64) -> (Running, Channel, Arc<FixedClock>) {
    let flags =
        Flags { address: Some(SocketAddr::from(([127, 0, 0, 1], 0))), database: Some(engine.options.url.clone()), ..Flags::default() };
    let config = Config::from_sources(&flags, [("REGULARS_KEYS__MASTER_KEY".to_owned(), keys.to_owned())]).unwrap();
    let (context, clock) = testkit::context();
    let context = Context { ids: Arc::new(SeededIds::new(seed)), ..context };
    let running = rpc::start(&context, config, &[rpc::entry::<Members>()]).await.unwrap();
    let channel = Channel::from_shared(format!("http://{}", running.address())).unwrap().connect().await.unwrap();
    (running, channel, clock)
}

/// An id that no other request of this run has.
pub(crate) fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An enrolment in tea with nothing but these identities.
pub(crate) fn enrolment(identities: impl IntoIterator<Item = Value>) -> EnrollMemberRequest {
    EnrollMemberRequest {
        parent: TEA.to_owned(),
        identities: identities.into_iter().map(|value| identity(value).unwrap()).collect(),
        request_id: request_id(),
        ..EnrollMemberRequest::default()
    }
}

/// Enrols somebody in tea.
pub(crate) async fn enrol(client: &mut Client, identities: impl IntoIterator<Item = Value>) -> Member {
    client.enroll_member(enrolment(identities)).await.unwrap().into_inner()
}

/// The name of the member of tea with this identity, or the refusal.
pub(crate) async fn lookup(client: &mut Client, value: Value) -> Result<String, Status> {
    let request = LookupMemberRequest { parent: TEA.to_owned(), identity: identity(value) };
    client.lookup_member(request).await.map(|answer| answer.into_inner().name)
}

pub(crate) fn identity(value: Value) -> Option<Identity> {
    Some(Identity { value: Some(value), region_code: String::new() })
}

pub(crate) fn fact(key: &str, value: attribute::Value) -> Attribute {
    Attribute { key: key.to_owned(), value: Some(value) }
}

pub(crate) fn phone(text: &str) -> Value {
    Value::Phone(text.to_owned())
}

pub(crate) fn card(text: &str) -> Value {
    Value::Card(text.to_owned())
}

/// Code and reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// A value of the metadata of a refusal.
pub(crate) fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

/// The field that an INVALID_ARGUMENT names.
pub(crate) fn violation<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    status.get_details_bad_request().unwrap().field_violations.remove(0).field
}
