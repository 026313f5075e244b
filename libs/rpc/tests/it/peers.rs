//! Services that call each other, follow each other's feeds and bring about effects in each other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kernel::Context;
use persistence::{Database, DueEffect, Effect, Migration, Tx, on_engine};
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{GetProgramRequest, ListProgramsRequest};
use proto::events::Event;
use proto::events::event::Payload;
use rpc::{EffectTarget, EventHandler, HandlerError, Host, Role, Service, StartError, Started};
use testkit::{TestEngine, eventually, on_each_engine};
use tonic::Status;

use super::support::{config_on, serve_with};

on_each_engine!(
    a_service_follows_a_feed_exactly_once,
    an_event_that_is_refused_holds_up_the_feed_until_it_is_taken,
    an_effect_is_tried_until_it_has_succeeded,
    a_peer_elsewhere_is_reached_by_its_url,
);

static MIGRATIONS: &[Migration] = &[Migration {
    file: "0001_seen.sql",
    sql: "CREATE TABLE seen (resource {key} NOT NULL, event_id {key} NOT NULL PRIMARY KEY) {strict};",
}];

/// Notes each program, store or terminal that the directory tells of, once per event.
struct Noting;

static REFUSING: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

impl EventHandler for Noting {
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let Some(Payload::DirectoryChanged(changed)) = &event.payload else { return Ok(()) };
        if changed.resource.ends_with("poison") && REFUSING.load(Ordering::SeqCst) {
            REFUSED.fetch_add(1, Ordering::SeqCst);
            return Err(HandlerError::refused("this resource cannot be noted yet"));
        }
        on_engine!(tx, |conn| sqlx::query("INSERT INTO seen (resource, event_id) VALUES ($1, $2)")
            .bind(&changed.resource)
            .bind(&event.event_id)
            .execute(conn)
            .await
            .map(drop))
        .map_err(persistence::Error::from)?;
        Ok(())
    }
}

struct Follower;

impl Service for Follower {
    const NAME: &'static str = "follower";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, MIGRATIONS).await?;
        host.consume("directory", &database, Noting)?;
        Ok(Started::new())
    }
}

async fn seen(database: &Database) -> Vec<String> {
    let mut tx = database.read().await.unwrap();
    let rows: Vec<String> =
        on_engine!(tx, |conn| sqlx::query_scalar("SELECT resource FROM seen WHERE resource LIKE 'programs/%' ORDER BY resource")
            .fetch_all(conn)
            .await)
        .unwrap();
    rows
}

async fn eventually_seen(database: &Database, wanted: &[&str]) {
    eventually(|| async {
        let found = seen(database).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn a_service_follows_a_feed_exactly_once(engine: TestEngine) {
    let server = serve_with(engine, &[rpc::entry::<Follower>()], |_| {}).await;
    server.program("tea").await;
    server.program("coffee").await;
    let database = server.engine.open(Follower::NAME, MIGRATIONS).await;
    eventually_seen(&database, &["programs/coffee", "programs/tea"]).await;
    server.running.stop().await;

    // A new process goes on from the stored cursor; noting an event twice would break the table's key.
    let folder = tempfile::TempDir::new().unwrap();
    let config = config_on(&server.engine, &folder);
    let again = rpc::start(&Context::system(), config, &[rpc::entry::<Follower>()]).await.unwrap();
    let mut client = DirectoryServiceClient::new(tonic::service::interceptor::InterceptedService::new(
        tonic::transport::Endpoint::from_shared(format!("http://{}", again.address())).unwrap().connect_lazy(),
        rpc::Credential::new(&server.administrator).unwrap(),
    ));
    let request = proto::directory::CreateProgramRequest {
        program_id: "milk".to_owned(),
        display_name: "Milk".to_owned(),
        time_zone: "UTC".to_owned(),
        currency_code: "EUR".to_owned(),
        request_id: "r".to_owned(),
    };
    client.create_program(request).await.unwrap();
    eventually_seen(&database, &["programs/coffee", "programs/milk", "programs/tea"]).await;
    again.stop().await;
}

async fn an_event_that_is_refused_holds_up_the_feed_until_it_is_taken(engine: TestEngine) {
    // Both engines share the switch, so one test at a time.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    REFUSING.store(true, Ordering::SeqCst);
    let before = REFUSED.load(Ordering::SeqCst);
    let server = serve_with(engine, &[rpc::entry::<Follower>()], |_| {}).await;
    server.program("poison").await;
    eventually(|| async { REFUSED.load(Ordering::SeqCst) >= before + 2 }).await;
    server.program("tea").await;
    let database = server.engine.open(Follower::NAME, MIGRATIONS).await;
    assert_eq!(seen(&database).await, Vec::<String>::new(), "nothing after it is passed over it either");
    REFUSING.store(false, Ordering::SeqCst);
    eventually_seen(&database, &["programs/poison", "programs/tea"]).await;
    server.running.stop().await;
}

/// Answers UNAVAILABLE twice, then calls the directory in the same process and succeeds.
struct Flaky {
    peer: rpc::Peer,
}

static ATTEMPTS: Mutex<Vec<(String, i64)>> = Mutex::new(Vec::new());

impl EffectTarget for Flaky {
    async fn ensure(&self, due: &DueEffect) -> Result<(), Status> {
        ATTEMPTS.lock().unwrap().push((due.effect.key.clone(), due.attempt));
        if due.attempt <= 2 {
            return Err(Status::unavailable("not yet"));
        }
        DirectoryServiceClient::new(self.peer.clone()).list_programs(ListProgramsRequest::default()).await?;
        Ok(())
    }
}

struct Wanting;

impl Service for Wanting {
    const NAME: &'static str = "wanting";

    async fn start(host: &Host) -> Result<Started, StartError> {
        let database = host.database(Self::NAME, MIGRATIONS).await?;
        host.work_effects("ping", &database, Flaky { peer: host.peer("directory")? });
        Ok(Started::new())
    }
}

async fn an_effect_is_tried_until_it_has_succeeded(engine: TestEngine) {
    let server = serve_with(engine, &[rpc::entry::<Wanting>()], |_| {}).await;
    // Both engines note their attempts in one list; the first key of a database is like no other.
    let key = server.administrator.split('_').nth(1).unwrap().to_owned();
    let database = server.engine.open(Wanting::NAME, MIGRATIONS).await;
    let mut tx = database.begin().await.unwrap();
    let effect = Effect { key: key.clone(), kind: "ping".to_owned(), wanted: true, payload: Vec::new() };
    tx.want_effect(&effect, kernel::Timestamp::from_micros(0)).await.unwrap();
    tx.commit().await.unwrap();
    eventually(|| async {
        let state = database.read().await.unwrap().effect(&key).await.unwrap().unwrap();
        if state.done_version == 1 && state.next_attempt_at.is_none() { Ok(()) } else { Err(state) }
    })
    .await;
    let attempts = ATTEMPTS.lock().unwrap().iter().filter(|(tried, _)| *tried == key).count();
    assert_eq!(attempts, 3, "it is not called again once it has succeeded");
    server.running.stop().await;
}

async fn a_peer_elsewhere_is_reached_by_its_url(engine: TestEngine) {
    let server = serve_with(engine, &[], |_| {}).await;
    server.program("tea").await;
    let service_key = server.key(Role::Service, &[]).await;
    let folder = tempfile::TempDir::new().unwrap();
    let mut config = rpc::Config::default_in(folder.path());
    config.peers.urls.insert("points".to_owned(), format!("http://{}", server.running.address()));
    let without_credential = rpc::start(&Context::system(), config.clone(), &[]).await.unwrap();
    assert!(matches!(without_credential.host().peer("points"), Err(StartError::Peer(_))));
    assert!(matches!(without_credential.host().peer("tiers"), Err(StartError::UnknownPeer(name)) if name == "tiers"));
    without_credential.stop().await;

    config.peers.credential = Some(service_key.into());
    let other = rpc::start(&Context::system(), config, &[]).await.unwrap();
    let get = GetProgramRequest { name: "programs/tea".to_owned() };
    let mut here = DirectoryServiceClient::new(other.host().peer("directory").unwrap());
    here.get_program(get.clone()).await.expect_err("the other suite has no such program");
    let mut there = DirectoryServiceClient::new(other.host().peer("points").unwrap());
    assert_eq!(there.get_program(get).await.unwrap().into_inner().name, "programs/tea");
    other.stop().await;
    server.running.stop().await;
}
