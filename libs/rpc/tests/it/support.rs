//! A server on an engine, clients with keys, and a service whose calls take as long as a test wants.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kernel::Context as Surroundings;
use proto::directory::directory_service_client::DirectoryServiceClient;
use rpc::{Config, Credential, Entry, Peer, Programs, Role, Running, Service, Started};
use tempfile::TempDir;
use testkit::TestEngine;
use tokio::sync::{Notify, Semaphore};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

/// A server and what it stands on.
pub(crate) struct TestServer {
    pub(crate) running: Running,
    pub(crate) administrator: String,
    pub(crate) engine: TestEngine,
    _folder: TempDir,
}

pub(crate) async fn serve(engine: TestEngine) -> TestServer {
    serve_with(engine, &[], |_| {}).await
}

pub(crate) async fn serve_with(engine: TestEngine, services: &[Entry], change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = TempDir::new().unwrap();
    let mut config = config_on(&engine, &folder);
    change(&mut config);
    let running = rpc::start(&Surroundings::system(), config, services).await.unwrap();
    let administrator = running.first_administrator().expect("the database is new");
    TestServer { running, administrator, engine, _folder: folder }
}

pub(crate) fn config_on(engine: &TestEngine, folder: &TempDir) -> Config {
    let mut config = Config::default_in(folder.path());
    config.database.url = engine.options.url.clone().into();
    config
}

impl TestServer {
    /// A connection without any credential.
    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.running.address())).unwrap().connect().await.unwrap()
    }

    /// A connection with a key.
    pub(crate) async fn peer(&self, secret: &str) -> Peer {
        InterceptedService::new(self.channel().await, Credential::new(secret).unwrap())
    }

    pub(crate) async fn directory(&self, secret: &str) -> DirectoryServiceClient<Peer> {
        DirectoryServiceClient::new(self.peer(secret).await)
    }

    pub(crate) async fn as_administrator(&self) -> DirectoryServiceClient<Peer> {
        self.directory(&self.administrator).await
    }

    /// The secret of a new key.
    pub(crate) async fn key(&self, role: Role, programs: &[&str]) -> String {
        let programs: Vec<String> = programs.iter().map(|id| (*id).to_owned()).collect();
        let new = rpc::directory::NewApiKey {
            display_name: "test".to_owned(),
            role,
            programs: if programs.is_empty() { Programs::All } else { Programs::Only(programs.into()) },
            terminal: None,
        };
        let (_, secret) = self.running.host().directory().create_api_key(new).await.unwrap();
        secret.reveal()
    }

    pub(crate) async fn program(&self, id: &str) -> proto::directory::Program {
        let request = proto::directory::CreateProgramRequest {
            program_id: id.to_owned(),
            display_name: id.to_uppercase(),
            time_zone: "Asia/Shanghai".to_owned(),
            currency_code: "CNY".to_owned(),
            request_id: format!("create-{id}"),
        };
        self.as_administrator().await.create_program(request).await.unwrap().into_inner()
    }
}

/// Calls a path with an empty message.
pub(crate) async fn call<S>(service: S, path: &'static str) -> Result<Response<()>, Status>
where
    S: tonic::client::GrpcService<Body>,
    S::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <S::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    call_with(service, path, Request::new(())).await
}

pub(crate) async fn call_with<S>(service: S, path: &'static str, request: Request<()>) -> Result<Response<()>, Status>
where
    S: tonic::client::GrpcService<Body>,
    S::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <S::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    let mut grpc = tonic::client::Grpc::new(service);
    grpc.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<(), ()>::default()).await
}

/// Code and reason of a refusal, as a client that reads no text sees it.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason)
}

/// The fields that an INVALID_ARGUMENT names.
pub(crate) fn violations(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

pub(crate) const SLOW: &str = "/test.v1.SlowService/Wait";
pub(crate) const PANIC: &str = "/test.v1.SlowService/Panic";

/// Serves [`SLOW`], which answers once it is let go, and [`PANIC`].
#[derive(Clone)]
pub(crate) struct Slow {
    pub(crate) begun: Arc<Semaphore>,
    pub(crate) go: Arc<Notify>,
}

impl Slow {
    /// Waits until one more call has begun.
    pub(crate) async fn has_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }
}

/// The service that serves [`Slow`]. Tests reach its handles by the name of their own type.
pub(crate) trait Handles: Send + Sync + 'static {
    fn slow() -> &'static Slow;
}

pub(crate) struct SlowService<H>(std::marker::PhantomData<H>);

impl<H: Handles> Service for SlowService<H> {
    const NAME: &'static str = "slow";

    async fn start(_: &rpc::Host) -> Result<Started, rpc::StartError> {
        Ok(Started::new().with(H::slow().clone()))
    }
}

impl NamedService for Slow {
    const NAME: &'static str = "test.v1.SlowService";
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl tower::Service<http::Request<Body>> for Slow {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move {
            assert_ne!(request.uri().path(), PANIC, "a secret of the inside");
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
            Ok(grpc.unary(Handler(handler), request).await)
        })
    }
}

struct Handler(Slow);

impl tower::Service<Request<()>> for Handler {
    type Response = Response<()>;
    type Error = Status;
    type Future = Answer<Response<()>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let slow = self.0.clone();
        Box::pin(async move {
            slow.begun.add_permits(1);
            slow.go.notified().await;
            Ok(Response::new(()))
        })
    }
}

/// Declares handles for one test.
#[macro_export]
macro_rules! slow_handles {
    ($name:ident) => {
        struct $name;
        impl $crate::it::support::Handles for $name {
            fn slow() -> &'static $crate::it::support::Slow {
                static SLOW: std::sync::LazyLock<$crate::it::support::Slow> = std::sync::LazyLock::new(|| $crate::it::support::Slow {
                    begun: std::sync::Arc::new(tokio::sync::Semaphore::new(0)),
                    go: std::sync::Arc::default(),
                });
                &SLOW
            }
        }
    };
}
