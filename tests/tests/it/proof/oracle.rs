//! Concurrent clients against a real server, and every answer explained by some order of the calls.
//!
//! The plan of a seed decides what each client asks and when the server's clock jumps, forth and back. `REGULARS_TEST_SEED` runs
//! one seed again, `REGULARS_TEST_LONG` many and larger ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kernel::{Clock, Context, FixedClock, RandomIds, Timestamp};
use persistence::{Database, Keyring, on_engine};
use points::domain::AccountId;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use rpc::directory::NewApiKey;
use rpc::feed::{About, event};
use rpc::{Config, Credential, Host, Programs, Running, StartError, Started};
use testkit::{START, TestEngine};
use tokio::sync::Mutex;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::calls::Keys;
use super::checker::explain;
use super::conservation::check_books;
use super::coverage::Coverage;
use super::history::Recorder;
use super::model::{Rules, World};
use super::workload::{Plan, Step, final_reads, plan};
use super::{make_program, seeds};
use crate::it::suite::TEA;

/// The keys that the servers have.
const MASTER_KEY: &str = "1:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// How often a client asks at most until it is answered.
const ATTEMPTS_MAX: usize = 20;

testkit::on_each_engine!(every_answer_is_explained_by_some_order);

async fn every_answer_is_explained_by_some_order(engine: TestEngine) {
    let mut coverage = Coverage::default();
    let (seeds, steps) = seeds(8, 80);
    for (round, seed) in seeds.iter().copied().chain(seeds.len() as u64..).enumerate() {
        // Which outcomes races have is not the seed's to decide: a few more seeds make up for what did not happen.
        let missing = coverage.missing();
        if round >= seeds.len() && (missing.is_empty() || seeds.len() == 1) {
            return;
        }
        assert!(round < 4 * seeds.len(), "these outcomes never occurred: {missing:?}");
        let engine = sibling(&engine).await;
        let plan = plan(seed, steps, START.as_micros());
        // Every other seed has two servers on one database.
        let ledger = Ledger::start(&engine, &plan.rules, 1 + usize::try_from(seed % 2).unwrap()).await;
        let recorder = ledger.play(&plan).await;
        let events = recorder.resolved();
        let explained = explain(World::new(plan.rules.clone(), ledger.keys.clone()), &events, &recorder);
        let explained = explained.unwrap_or_else(|why| panic!("REGULARS_TEST_SEED={seed}: {why}"));
        check_books(&events).unwrap_or_else(|why| panic!("REGULARS_TEST_SEED={seed}: {why}"));
        coverage.note(&events, &explained.overtaken);
        ledger.verify(&engine, explained.world, seed).await;
        ledger.stop().await;
    }
}

/// Another empty database on the same engine.
async fn sibling(engine: &TestEngine) -> TestEngine {
    if engine.options.url.starts_with("sqlite:") { testkit::sqlite().await } else { testkit::postgres().await }
}

/// Servers of the ledger in this process, on one database.
struct Ledger {
    servers: Vec<Running>,
    channels: Vec<Channel>,
    keys: Arc<Keys>,
    clock: Arc<FixedClock>,
    neighbours: Arc<Neighbours>,
}

/// Stands in the place of the members service: its database and its feed.
struct Members;

impl rpc::Service for Members {
    const NAME: &'static str = "members";

    async fn start(host: &Host) -> Result<Started, StartError> {
        host.database(Self::NAME, &[]).await?;
        Ok(Started::new())
    }
}

/// Who tells the ledger of members, one after the other.
struct Neighbours {
    context: Context,
    members: Database,
    points: Database,
    /// What was told of each last, and how often that was news.
    told: Mutex<BTreeMap<String, (MemberState, i64)>>,
}

impl Neighbours {
    async fn tell(&self, recorder: &Recorder, member: &str, state: MemberState) {
        let mut told = self.told.lock().await;
        let (last, news) = told.entry(member.to_owned()).or_insert((MemberState::Active, 0));
        *news += i64::from(*last != state);
        *last = state;
        let about = About {
            program: TEA.to_owned(),
            member: member.to_owned(),
            aggregate: member.to_owned(),
            aggregate_version: *news,
            occur_time: self.context.now(),
            historical: false,
        };
        let payload = Payload::MemberChanged(MemberChanged { state: state.into(), ..MemberChanged::default() });
        let (program, id) = kernel::name::member(member).unwrap();
        let account = AccountId::of(&program, id).0;
        let news = *news;
        let known = async {
            let mut tx = self.members.begin().await.unwrap();
            tx.append_event(event(&self.context, about, payload)).await.unwrap();
            tx.commit().await.unwrap();
            testkit::eventually(async || {
                let mut tx = self.points.read().await.unwrap();
                let known: Option<i64> = on_engine!(tx, |conn| sqlx::query_scalar("SELECT version FROM facts WHERE account_id = $1")
                    .bind(account)
                    .fetch_optional(conn)
                    .await)
                .unwrap();
                known.unwrap_or(0) >= news
            })
            .await;
        };
        recorder.tell(member, state, known).await;
    }
}

impl Ledger {
    async fn start(engine: &TestEngine, rules: &[Rules], servers: usize) -> Ledger {
        let (context, clock) = testkit::context();
        let first = serve(engine, &context).await;
        let administrator = Credential::new(&first.first_administrator().unwrap()).unwrap();
        let channel = channel(&first);
        make_program(InterceptedService::new(channel.clone(), administrator), rules).await;
        let mut keys = Keys(Default::default());
        for role in Keys::ROLES {
            let new = NewApiKey { display_name: "test".to_owned(), role, programs: Programs::All, terminal: None };
            let (key, secret) = first.host().directory().create_api_key(new).await.unwrap();
            keys.0.insert(role, (format!("apiKeys/{}", key.id), Credential::new(&secret.reveal()).unwrap()));
        }
        let (members, points) = (engine.open("members", &[]).await, engine.open("points", points::MIGRATIONS).await);
        let neighbours = Arc::new(Neighbours { context: context.clone(), members, points, told: Mutex::default() });
        let mut ledger = Ledger { servers: vec![first], channels: vec![channel], keys: Arc::new(keys), clock, neighbours };
        for _ in 1..servers {
            let context = Context { ids: Arc::new(RandomIds), ..context.clone() };
            let server = serve(engine, &context).await;
            ledger.channels.push(self::channel(&server));
            ledger.servers.push(server);
        }
        ledger
    }

    /// Has every client do what is planned, all at once, and reads what it has come to.
    async fn play(&self, plan: &Plan) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder::with_clock(self.clock.now().as_micros()));
        let mut clients = Vec::new();
        for (number, steps) in plan.clients.iter().cloned().enumerate() {
            let (recorder, keys, clock, neighbours) = (recorder.clone(), self.keys.clone(), self.clock.clone(), self.neighbours.clone());
            let channel = self.channels[number % self.channels.len()].clone();
            clients.push(tokio::spawn(async move {
                for step in steps {
                    match step {
                        Step::Call(call) => {
                            // On a busy machine a call may have to come again.
                            let mut attempts = 0..ATTEMPTS_MAX;
                            while attempts.next().is_some()
                                && recorder.call((*call).clone(), call.send(&channel, &keys, None)).await.is_open()
                            {
                            }
                        }
                        Step::Clock(jump) => recorder.set_clock(|| {
                            let now = clock.now().as_micros() + jump;
                            clock.set(Timestamp::from_micros(now));
                            now
                        }),
                        Step::Tell(member, state) => neighbours.tell(&recorder, &member, state).await,
                    }
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        for call in final_reads(plan) {
            recorder.call(call.clone(), call.send(&self.channels[0], &self.keys, None)).await;
        }
        recorder
    }

    /// The books are right by themselves, and have come to what the model has come to, but for what has fallen due since.
    async fn verify(&self, engine: &TestEngine, mut world: World, seed: u64) {
        let database = engine.open("points", points::MIGRATIONS).await;
        let report = points::verify(&database, &Keyring::from_hex(MASTER_KEY).unwrap(), |_| {}).await.unwrap();
        database.close().await;
        assert_eq!(report.differences, [], "REGULARS_TEST_SEED={seed}");
        let open = world.total();
        world.settle_all(self.clock.now().as_micros());
        let points = i64::try_from(report.points.get("tea").copied().unwrap_or_default()).unwrap();
        assert!(world.total() <= points && points <= open, "REGULARS_TEST_SEED={seed}: {points} points, not {} to {open}", world.total());
    }

    async fn stop(self) {
        self.neighbours.members.close().await;
        self.neighbours.points.close().await;
        for server in self.servers {
            server.stop().await;
        }
    }
}

async fn serve(engine: &TestEngine, context: &Context) -> Running {
    let mut config = Config::default_in(Path::new("not-used"));
    config.database.url = engine.options.url.clone().into();
    config.database.connections_max = 5;
    config.keys.data_dir = None;
    config.keys.master_key = Some(MASTER_KEY.to_owned().into());
    config.server.deadline_ms_default = 30_000;
    // Elsewhere and away: the ledger does without it.
    config.peers.credential = Some("rk_away".to_owned().into());
    config.peers.urls = [("tiers".to_owned(), "http://127.0.0.1:1".to_owned())].into();
    rpc::start(context, config, &[rpc::entry::<Members>(), rpc::entry::<points::Points>()]).await.unwrap()
}

fn channel(server: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address())).unwrap().connect_lazy()
}
