//! Who is let in, and to what.

use std::time::{Duration, Instant};

use proto::access::RPCS;
use proto::directory::{GetProgramRequest, ListProgramsRequest};
use rpc::{Directory, Role};
use testkit::{TestEngine, eventually, on_each_engine};
use tonic::{Code, Request};

use super::support::{call, call_with, refusal, serve};

on_each_engine!(
    a_call_without_a_good_credential_is_refused,
    a_revocation_by_another_process_is_seen_within_a_second,
    a_key_made_by_another_process_is_good_at_once,
    a_key_touches_its_programs_only,
    every_rpc_refuses_whom_its_contract_does_not_admit,
);

const LIST: &str = "/regulars.directory.v1.DirectoryService/ListPrograms";

async fn a_call_without_a_good_credential_is_refused(engine: TestEngine) {
    let server = serve(engine).await;
    let good = server.administrator.clone();
    let (head, secret) = good.rsplit_once('_').unwrap();
    let wrong_secret = format!("{head}_{}", secret.chars().rev().collect::<String>());
    let unknown_id = format!("rk_{}_{secret}", "0".repeat(32));
    let cases = [
        (None, "CREDENTIAL_MISSING"),
        (Some("".to_owned()), "CREDENTIAL_MISSING"),
        (Some(format!("Basic {good}")), "CREDENTIAL_MISSING"),
        (Some("Bearer hello".to_owned()), "CREDENTIAL_INVALID"),
        (Some(format!("Bearer {wrong_secret}")), "CREDENTIAL_INVALID"),
        (Some(format!("Bearer {unknown_id}")), "CREDENTIAL_INVALID"),
        (Some(format!("Bearer rk_internal_{secret}")), "CREDENTIAL_INVALID"),
    ];
    let mut texts = Vec::new();
    for (header, reason) in cases {
        let mut request = Request::new(());
        if let Some(header) = &header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        let refused = call_with(server.channel().await, LIST, request).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::Unauthenticated, reason.to_owned()), "{header:?}");
        assert!(!refused.message().contains(secret));
        texts.push(refused.message().to_owned());
    }
    assert_eq!(texts[4], texts[5], "a wrong secret and an unknown id look alike");

    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", format!("bearer {good}").parse().unwrap());
    call_with(server.channel().await, LIST, request).await.unwrap();
    server.running.stop().await;
}

async fn a_revocation_by_another_process_is_seen_within_a_second(engine: TestEngine) {
    let server = serve(engine).await;
    let secret = server.key(Role::Platform, &[]).await;
    let mut client = server.directory(&secret).await;
    client.list_programs(ListProgramsRequest::default()).await.unwrap();

    let elsewhere = Directory::open(&server.engine.options, kernel::Context::system()).await.unwrap();
    let id = secret.split('_').nth(1).unwrap();
    let revoked = elsewhere.revoke_api_key(id).await.unwrap().unwrap();
    assert!(revoked.revoke_time.is_some());
    let since = Instant::now();
    let refused = eventually(|| {
        let mut client = client.clone();
        async move { client.list_programs(ListProgramsRequest::default()).await.err() }
    })
    .await;
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "CREDENTIAL_REVOKED".to_owned()));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());

    let wrong = format!("{}{}", &secret[..secret.len() - 4], "0000");
    let refused = server.directory(&wrong).await.list_programs(ListProgramsRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "CREDENTIAL_INVALID", "only who has the secret learns that the key was revoked");
    server.running.stop().await;
}

async fn a_key_made_by_another_process_is_good_at_once(engine: TestEngine) {
    let server = serve(engine).await;
    let elsewhere = Directory::open(&server.engine.options, kernel::Context::system()).await.unwrap();
    let new = rpc::directory::NewApiKey {
        display_name: "made by the command line".to_owned(),
        role: Role::Auditor,
        programs: rpc::Programs::All,
        terminal: None,
    };
    let (key, secret) = elsewhere.create_api_key(new).await.unwrap();
    let mut client = server.directory(&secret.reveal()).await;
    let keys = client.list_api_keys(proto::directory::ListApiKeysRequest::default()).await.unwrap().into_inner().api_keys;
    assert!(keys.iter().any(|listed| listed.name == key.name() && listed.display_name == "made by the command line"));
    server.running.stop().await;
}

async fn a_key_touches_its_programs_only(engine: TestEngine) {
    let server = serve(engine).await;
    server.program("tea").await;
    server.program("coffee").await;
    let secret = server.key(Role::Platform, &["tea"]).await;
    let mut client = server.directory(&secret).await;
    let get = |name: &str| GetProgramRequest { name: name.to_owned() };
    client.get_program(get("programs/tea")).await.unwrap();
    for other in ["programs/coffee", "programs/unknown"] {
        let refused = client.get_program(get(other)).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()), "{other}");
    }
    let listed = client.list_programs(ListProgramsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.programs.iter().map(|program| &*program.name).collect::<Vec<_>>(), ["programs/tea"]);
    server.running.stop().await;
}

async fn every_rpc_refuses_whom_its_contract_does_not_admit(engine: TestEngine) {
    const ROLES: [Role; 8] = [
        Role::Terminal,
        Role::Platform,
        Role::LandingPage,
        Role::Service,
        Role::Support,
        Role::Analyst,
        Role::Administrator,
        Role::Auditor,
    ];
    let server = serve(engine).await;
    let mut peers = Vec::new();
    for role in ROLES {
        peers.push((role, server.peer(&server.key(role, &[]).await).await));
    }
    let stranger = server.channel().await;
    assert!(RPCS.len() >= 11, "the directory and the feed at least");
    for rpc in RPCS {
        let refused = call(stranger.clone(), rpc.path).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::Unauthenticated, "CREDENTIAL_MISSING".to_owned()), "{}", rpc.path);
        for (role, peer) in &peers {
            let code_and_reason = call(peer.clone(), rpc.path).await.map(drop).map_err(|status| refusal(&status));
            let refused = code_and_reason == Err((Code::PermissionDenied, "ROLE_NOT_ADMITTED".to_owned()));
            assert_eq!(refused, !rpc.roles.contains(role), "{} as {role:?}: {code_and_reason:?}", rpc.path);
            let served = ["regulars.directory.v1.DirectoryService", "regulars.events.v1.EventFeedService"].contains(&rpc.service);
            let not_served = code_and_reason == Err((Code::Unimplemented, "SERVICE_NOT_SERVED".to_owned()));
            assert_eq!(not_served, !served && !refused, "{} as {role:?}: {code_and_reason:?}", rpc.path);
        }
    }
    let unknown = call(peers[0].1.clone(), "/regulars.none.v1.NoneService/None").await.unwrap_err();
    assert_eq!(refusal(&unknown), (Code::Unimplemented, String::new()));
    server.running.stop().await;
}
