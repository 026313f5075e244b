//! Subscribing to a feed over the wire.

use std::time::{Duration, Instant};

use proto::events::event::Payload;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{Event, SubscribeRequest, SubscribeResponse};
use rpc::{Directory, Host, Peer, Role, Service, StartError, Started};
use testkit::{TestEngine, eventually, on_each_engine};
use tonic::{Code, Streaming};

use super::support::{refusal, serve, serve_with, violations};

on_each_engine!(
    a_subscriber_sees_what_was_and_what_comes,
    a_subscription_goes_on_from_its_cursor,
    a_subscriber_sees_its_programs_only,
    what_cannot_be_subscribed_to_is_refused,
    a_revoked_key_loses_its_subscription,
    one_key_cannot_take_all_subscriptions,
);

/// A service whose feed stays empty.
struct Quiet;

impl Service for Quiet {
    const NAME: &'static str = "quiet";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

fn directory(cursor: &str) -> SubscribeRequest {
    SubscribeRequest { source: "directory".to_owned(), cursor: cursor.to_owned(), partitions: Vec::new() }
}

fn resources(events: &[Event]) -> Vec<String> {
    let changed = |event: &Event| match event.payload.clone() {
        Some(Payload::DirectoryChanged(changed)) => Some(changed.resource),
        _ => None,
    };
    events.iter().filter_map(changed).filter(|resource| resource.starts_with("programs/")).collect()
}

/// Reads until so many programs and stores were told of; returns them and the last cursor.
async fn read(stream: &mut Streaming<SubscribeResponse>, count: usize) -> (Vec<String>, String) {
    let mut told = Vec::new();
    let reading = async {
        loop {
            let answer = stream.message().await.unwrap().expect("the server goes on");
            told.extend(resources(&answer.events));
            if told.len() >= count {
                break answer.cursor;
            }
        }
    };
    let cursor = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("events come soon");
    told.sort();
    (told, cursor)
}

async fn subscribe(peer: Peer, request: SubscribeRequest) -> Streaming<SubscribeResponse> {
    EventFeedServiceClient::new(peer).subscribe(request).await.unwrap().into_inner()
}

async fn a_subscriber_sees_what_was_and_what_comes(engine: TestEngine) {
    let server = serve(engine).await;
    server.program("tea").await;
    let peer = server.peer(&server.administrator).await;
    let mut stream = subscribe(peer, directory("")).await;
    assert_eq!(read(&mut stream, 1).await.0, ["programs/tea"]);
    server.program("coffee").await;
    assert_eq!(read(&mut stream, 1).await.0, ["programs/coffee"]);
    server.running.stop().await;
    assert!(stream.message().await.unwrap().is_none(), "the stream ends with the server");
}

async fn a_subscription_goes_on_from_its_cursor(engine: TestEngine) {
    let server = serve(engine).await;
    let peer = server.peer(&server.administrator).await;
    server.program("tea").await;
    let mut stream = subscribe(peer.clone(), directory("")).await;
    let (_, cursor) = read(&mut stream, 1).await;
    drop(stream);
    server.program("coffee").await;
    server.program("milk").await;
    let mut stream = subscribe(peer.clone(), directory(&cursor)).await;
    let (told, later) = read(&mut stream, 2).await;
    assert_eq!(told, ["programs/coffee", "programs/milk"]);
    assert_ne!(cursor, later);

    // A heartbeat carries the cursor and nothing else.
    let answer = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((answer.events, answer.cursor), (Vec::new(), later));
    server.running.stop().await;
}

async fn a_subscriber_sees_its_programs_only(engine: TestEngine) {
    let server = serve(engine).await;
    server.program("tea").await;
    server.program("coffee").await;
    let secret = server.key(Role::Platform, &["coffee"]).await;
    let mut stream = subscribe(server.peer(&secret).await, directory("")).await;
    let mut events = Vec::new();
    while events.is_empty() {
        events.extend(stream.message().await.unwrap().unwrap().events);
    }
    assert_eq!(resources(&events), ["programs/coffee"]);
    assert_eq!(events.len(), 1, "neither another program's events nor those of no program, such as keys");
    server.running.stop().await;
}

async fn what_cannot_be_subscribed_to_is_refused(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = EventFeedServiceClient::new(server.peer(&server.administrator).await);
    let unknown = SubscribeRequest { source: "nothing".to_owned(), ..directory("") };
    let refused = client.subscribe(unknown).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "SOURCE_NOT_SERVED".to_owned()));
    let refused = client.subscribe(directory("not a cursor")).await.unwrap_err();
    assert_eq!(violations(&refused), ["cursor"]);
    let refused = client.subscribe(SubscribeRequest { partitions: vec![16], ..directory("") }).await.unwrap_err();
    assert_eq!(violations(&refused), ["partitions[0]"]);

    server.program("tea").await;
    let oldest = client.subscribe(directory("")).await.unwrap().into_inner().message().await.unwrap().unwrap().cursor;
    let database = server.running.host().directory().database().clone();
    let newer = server.program("coffee").await;
    assert_eq!(newer.name, "programs/coffee");
    eventually(|| {
        let database = database.clone();
        async move { database.trim_feed(kernel::Timestamp::MAX, 1000).await.unwrap() > 0 }
    })
    .await;
    let gone = persistence::feed::Position::decode(&oldest).is_ok();
    assert!(gone, "the cursor is one of this feed");
    let before_all = eventually(|| {
        let mut client = client.clone();
        let oldest = oldest.clone();
        async move { client.subscribe(directory(&oldest)).await.err() }
    })
    .await;
    assert_eq!(refusal(&before_all), (Code::OutOfRange, "CURSOR_TOO_OLD".to_owned()));
    server.running.stop().await;
}

async fn a_revoked_key_loses_its_subscription(engine: TestEngine) {
    let server = serve_with(engine, &[rpc::entry::<Quiet>()], |_| {}).await;
    let quiet = || SubscribeRequest { source: Quiet::NAME.to_owned(), ..directory("") };
    let mut streams = Vec::new();
    for role in [Role::Platform, Role::Service, Role::Administrator] {
        let secret = server.key(role, &[]).await;
        let mut stream = subscribe(server.peer(&secret).await, quiet()).await;
        stream.message().await.unwrap().expect("the first answer");
        streams.push((secret, stream));
    }
    let (_, mut kept) = streams.pop().unwrap();
    let elsewhere = Directory::open(&server.engine.options, kernel::Context::system()).await.unwrap();
    for (secret, mut stream) in streams {
        elsewhere.revoke_api_key(secret.split('_').nth(1).unwrap()).await.unwrap().unwrap();
        let since = Instant::now();
        let ending = async {
            loop {
                match stream.message().await {
                    Ok(answer) => assert!(answer.is_some(), "it ends with a status"),
                    Err(status) => break status,
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ending).await.expect("it ends");
        assert_eq!(refusal(&ended), (Code::Unauthenticated, "CREDENTIAL_REVOKED".to_owned()));
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
    kept.message().await.unwrap().expect("whoever has another key goes on");
    server.running.stop().await;
}

async fn one_key_cannot_take_all_subscriptions(engine: TestEngine) {
    const OF_ONE_KEY_MAX: usize = 64;
    let server = serve(engine).await;
    let one = server.peer(&server.key(Role::Platform, &[]).await).await;
    let mut streams = Vec::new();
    for _ in 0..OF_ONE_KEY_MAX {
        streams.push(subscribe(one.clone(), directory("")).await);
    }
    let mut client = EventFeedServiceClient::new(one);
    let refused = client.subscribe(directory("")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_MANY_SUBSCRIPTIONS".to_owned()));
    subscribe(server.peer(&server.administrator).await, directory("")).await;
    let service = server.peer(&server.key(Role::Service, &[]).await).await;
    for _ in 0..=OF_ONE_KEY_MAX {
        streams.push(subscribe(service.clone(), directory("")).await);
    }

    streams.swap_remove(0);
    eventually(|| {
        let mut client = client.clone();
        async move { client.subscribe(directory("")).await }
    })
    .await;
    server.running.stop().await;
}
