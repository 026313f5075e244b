//! Health, reflection, and how a server stops.

use std::time::Duration;

use testkit::sqlite;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::support::{Handles, PANIC, SLOW, SlowService, call, refusal, serve, serve_with};
use crate::slow_handles;

slow_handles!(Graceful);
slow_handles!(TooLong);
slow_handles!(Panicking);

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_credential_and_knows_each_service() {
    let server = serve(sqlite().await).await;
    let mut client = HealthClient::new(server.channel().await);
    for service in ["", "regulars.directory.v1.DirectoryService", "regulars.events.v1.EventFeedService"] {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = client.check(HealthCheckRequest { service: "none".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_speaks_both_versions() {
    let server = serve(sqlite().await).await;
    {
        use tonic_reflection::pb::v1::*;
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(server_reflection_request::MessageRequest::ListServices(String::new())),
        };
        let mut client = server_reflection_client::ServerReflectionClient::new(server.channel().await);
        let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap();
        let Some(server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("not a list");
        };
        let names: Vec<_> = list.service.iter().map(|service| &*service.name).collect();
        assert!(names.contains(&"regulars.directory.v1.DirectoryService"), "{names:?}");
        assert!(!names.contains(&"regulars.points.v1.PointsService"), "what is not served here is not listed: {names:?}");
    }
    {
        use tonic_reflection::pb::v1alpha::*;
        let symbol = "regulars.directory.v1.DirectoryService".to_owned();
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(server_reflection_request::MessageRequest::FileContainingSymbol(symbol)),
        };
        let mut client = server_reflection_client::ServerReflectionClient::new(server.channel().await);
        let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap();
        let Some(server_reflection_response::MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("not a file");
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_closed() {
    use tonic_reflection::pb::v1::*;
    let server = serve_with(sqlite().await, &[], |config| config.server.reflection = false).await;
    let mut client = server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let refused = client.server_reflection_info(tokio_stream::once(ServerReflectionRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_the_call_in_work_and_takes_no_other() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<Graceful>>()], |_| {}).await;
    let peer = server.peer(&server.administrator).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let in_work = tokio::spawn(call(peer.clone(), SLOW));
    Graceful::slow().has_begun().await;

    let address = server.running.address();
    let stopping = tokio::spawn(server.running.stop());
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing, "load balancers learn it first");
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable, "who watches does not hold up the server");
    testkit::eventually(|| async { TcpStream::connect(address).await.is_err() }).await;
    assert!(!in_work.is_finished() && !stopping.is_finished());

    Graceful::slow().go.notify_one();
    in_work.await.unwrap().expect("the call in work is answered");
    tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("then the server stops").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_end_is_cut_off_after_the_grace() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<TooLong>>()], |config| {
        config.server.shutdown_grace_seconds = 1;
    })
    .await;
    let peer = server.peer(&server.administrator).await;
    let in_work = tokio::spawn(call(peer, SLOW));
    TooLong::slow().has_begun().await;
    tokio::time::timeout(Duration::from_secs(10), server.running.stop()).await.expect("the server stops all the same");
    drop(in_work);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_own_call_only() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<Panicking>>()], |_| {}).await;
    let peer = server.peer(&server.administrator).await;
    let in_work = tokio::spawn(call(peer.clone(), SLOW));
    Panicking::slow().has_begun().await;
    let failed = call(peer.clone(), PANIC).await.unwrap_err();
    assert_eq!(refusal(&failed), (Code::Internal, "INTERNAL".to_owned()));
    assert!(!failed.message().contains("secret"), "{}", failed.message());
    Panicking::slow().go.notify_one();
    in_work.await.unwrap().expect("another call on the same connection goes on");
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_the_server() {
    let server = serve(sqlite().await).await;
    let address = server.running.address();
    // Handled here too, so that a signal that comes before the server listens for it does not end the tests.
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    let running = tokio::spawn(server.running.until_signal());
    let this_process = std::process::id().to_string();
    testkit::eventually(|| async {
        let sent = std::process::Command::new("kill").args(["-TERM", &this_process]).status().unwrap();
        assert!(sent.success());
        TcpStream::connect(address).await.is_err()
    })
    .await;
    running.await.unwrap().unwrap();
}
