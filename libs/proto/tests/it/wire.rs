//! Requests over a socket, with details as a client of another make would read them.

use std::sync::Arc;
use std::task::{Context, Poll};

use proto::codec::{Programs, admitting};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::good;
use super::trials::trial_service_client::TrialServiceClient;
use super::trials::trial_service_server::{TrialService, TrialServiceServer};
use super::trials::try_request::Source;
use super::trials::{TryRequest, TryResponse};

/// Answers with the number of requests that reached it.
struct Trial;

#[tonic::async_trait]
impl TrialService for Trial {
    async fn r#try(&self, _: Request<TryRequest>) -> Result<Response<TryResponse>, Status> {
        // Longer than any rule allows: a client does not check answers.
        Ok(Response::new(TryResponse { text: "x".repeat(100_000) }))
    }

    async fn try_many(&self, request: Request<Streaming<TryRequest>>) -> Result<Response<TryResponse>, Status> {
        let mut requests = request.into_inner();
        let count = async move {
            let mut count = 0;
            while requests.message().await?.is_some() {
                count += 1;
            }
            Ok::<i32, Status>(count)
        };
        // Another task, where the layer's programs are not set any more.
        let count = tokio::spawn(count).await.map_err(|fault| Status::internal(fault.to_string()))??;
        Ok(Response::new(TryResponse { text: count.to_string() }))
    }
}

/// What the server's layer does with a caller's programs.
#[derive(Clone)]
struct Admitting<S>(S, Programs);

impl<S> Service<http::Request<Body>> for Admitting<S>
where
    S: Service<http::Request<Body>, Error = std::convert::Infallible> + Send,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(admitting(self.1.clone(), self.0.call(request)))
    }
}

impl<S: NamedService> NamedService for Admitting<S> {
    const NAME: &'static str = S::NAME;
}

/// A client of a server that serves callers with these programs.
async fn client(programs: Programs) -> TrialServiceClient<Channel> {
    TrialServiceClient::connect(serve(programs).await).await.unwrap()
}

/// The address of such a server.
async fn serve(programs: Programs) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = Admitting(TrialServiceServer::new(Trial), programs);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn only(ids: &[&str]) -> Programs {
    Programs::Only(ids.iter().map(|id| id.to_string()).collect::<Arc<[String]>>())
}

#[tokio::test]
async fn a_good_request_reaches_the_handler_and_its_answer_the_caller() {
    for programs in [Programs::All, only(&["coffee", "tea"])] {
        let answer = client(programs).await.r#try(good()).await.unwrap();
        assert_eq!(answer.into_inner().text.len(), 100_000);
    }
}

#[tokio::test]
async fn violations_reach_the_caller() {
    let request = TryRequest { title: "too long".into(), numbers: vec![], maybe: Some(1), code: "?".into(), ..good() };
    let status = client(only(&["coffee"])).await.r#try(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "title: must have at most 5 characters; code: must match ^[a-z]{0,3}$; maybe: must be at least 5; and 1 more"
    );
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    let violations: Vec<_> = violations.iter().map(|v| (v.field.as_str(), v.reason.as_str(), v.description.as_str())).collect();
    assert_eq!(
        violations,
        [
            ("title", "TOO_LONG", "must have at most 5 characters"),
            ("code", "PATTERN_MISMATCH", "must match ^[a-z]{0,3}$"),
            ("maybe", "TOO_SMALL", "must be at least 5"),
            ("numbers", "TOO_FEW_ITEMS", "must have 1 or more items"),
        ]
    );
}

fn assert_not_admitted(status: &Status, program: &str) {
    assert_eq!(status.code(), Code::PermissionDenied);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("PROGRAM_NOT_ADMITTED", "regulars"));
    assert_eq!(info.metadata["program"], program);
}

#[tokio::test]
async fn another_program_is_refused() {
    let status = client(only(&["coffee"])).await.r#try(good()).await.unwrap_err();
    assert_not_admitted(&status, "tea");
    let status = client(only(&[])).await.r#try(good()).await.unwrap_err();
    assert_not_admitted(&status, "tea");
    let several = TryRequest { programs: vec!["programs/tea".into(), "programs/cocoa".into()], ..good() };
    let status = client(only(&["tea"])).await.r#try(several).await.unwrap_err();
    assert_not_admitted(&status, "cocoa");
    // A key of no program may still call what names none.
    let nameless = TryRequest { source: Some(Source::Nobody(true)), ..good() };
    client(only(&[])).await.r#try(nameless).await.unwrap();
}

#[tokio::test]
async fn names_of_two_programs_are_refused_even_to_a_caller_of_both() {
    let request = TryRequest { store: "programs/coffee/stores/s".into(), ..good() };
    let status = client(only(&["coffee", "tea"])).await.r#try(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "store: names of different programs"));
}

#[tokio::test]
async fn each_request_of_a_stream_is_checked() {
    let mut client = client(only(&["tea"])).await;
    let answer = client.try_many(tokio_stream::iter([good(), good()])).await.unwrap();
    assert_eq!(answer.into_inner().text, "2");
    let bad = TryRequest { title: String::new(), ..good() };
    let status = client.try_many(tokio_stream::iter([good(), bad])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "title: must be set"));
    let elsewhere = TryRequest { source: Some(Source::Owner("programs/coffee/members/m".into())), ..good() };
    let status = client.try_many(tokio_stream::iter([good(), elsewhere])).await.unwrap_err();
    assert_not_admitted(&status, "coffee");
}

#[tokio::test]
async fn the_longest_report_reaches_the_caller() {
    use super::trials::try_request::Line;
    let chain = (0..90).fold(None, |inner, _| Some(Box::new(Line { r#type: "x".into(), inner })));
    let request = TryRequest { first: chain.map(|line| *line), ..good() };
    let status = client(Programs::All).await.r#try(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.get_error_details().bad_request().unwrap().field_violations.len() > 10);
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    // The path of Try, with a request of another type: field 1 is a number here and a string there.
    let channel = Channel::builder(serve(Programs::All).await.parse().unwrap()).connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<prost_types::Duration, TryResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/trials.v1.TrialService/Try");
    let request = Request::new(prost_types::Duration { seconds: 13_812_345_678, nanos: 0 });
    let status: Status = grpc.unary(request, path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(!status.message().contains("138"), "{status}");
}
