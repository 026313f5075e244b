//! Time, room and size.

use std::time::{Duration, Instant};

use testkit::sqlite;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::support::{Handles, SLOW, SlowService, call, call_with, refusal, serve_with};
use crate::slow_handles;

slow_handles!(Overload);
slow_handles!(Longest);
slow_handles!(Asked);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_at_once_and_says_when_to_come_back() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<Overload>>()], |config| {
        config.server.concurrent_requests_max = 2;
    })
    .await;
    let peer = server.peer(&server.administrator).await;
    let busy: Vec<_> = (0..2).map(|_| tokio::spawn(call(peer.clone(), SLOW))).collect();
    Overload::slow().has_begun().await;
    Overload::slow().has_begun().await;

    let refused = call(peer.clone(), SLOW).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    assert!(refused.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("health answers when the server is full");

    Overload::slow().go.notify_waiters();
    for call in busy {
        call.await.unwrap().unwrap();
    }
    Overload::slow().go.notify_one();
    call(peer, SLOW).await.expect("there is room again");
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_gets_longer_than_the_longest_deadline() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<Longest>>()], |config| {
        config.server.deadline_ms_default = 100;
        config.server.deadline_ms_max = 200;
    })
    .await;
    let peer = server.peer(&server.administrator).await;
    for (asked, least, most) in [(None, 100, 190), (Some("1H"), 200, 5000)] {
        let mut request = Request::new(());
        if let Some(asked) = asked {
            request.metadata_mut().insert("grpc-timeout", asked.parse().unwrap());
        }
        let since = Instant::now();
        let refused = call_with(peer.clone(), SLOW, request).await.unwrap_err();
        let took = since.elapsed();
        assert_eq!(refusal(&refused), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
        assert!(took >= Duration::from_millis(least - 5) && took < Duration::from_millis(most), "{asked:?}: {took:?}");
    }
    server.running.stop().await;
}

/// Without tonic's client, which has a timer of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_the_caller_names_is_kept() {
    let server = serve_with(sqlite().await, &[rpc::entry::<SlowService<Asked>>()], |_| {}).await;
    let answer = super::web::grpc_web(&server, SLOW, "grpc-timeout: 50m\r\n").await;
    assert!(answer.contains("grpc-status: 4\r\n") || answer.contains("grpc-status:4\r\n"), "{answer}");
    let answer = super::web::grpc_web(&server, SLOW, "grpc-timeout: soon\r\n").await;
    assert!(answer.contains("grpc-status: 3\r\n") || answer.contains("grpc-status:3\r\n"), "{answer}");
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_refused() {
    let server = serve_with(sqlite().await, &[], |config| config.server.message_bytes_max = 2000).await;
    let mut client = server.as_administrator().await;
    let request = |bytes: usize| proto::directory::ListProgramsRequest { page_size: 1, page_token: "x".repeat(bytes) };
    assert_eq!(client.list_programs(request(500)).await.unwrap_err().code(), Code::InvalidArgument, "small enough to be read");
    let refused = client.list_programs(request(5000)).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    assert_eq!(refused.get_error_details().error_info().unwrap().metadata["bytes_max"], "2000");
    server.running.stop().await;
}
