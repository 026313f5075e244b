//! Everything that can go wrong between a till and the disk, by a seed, and no point lost or doubled.
//!
//! The plan of a seed is played to servers in processes of their own while commits fail or are not heard of, callers give up,
//! servers and PostgreSQL are killed. In the end every request is sent again. It must be answered as it was, or be done now, once;
//! the order of everything must be explained by the model as if nothing had gone wrong; and the books must be right. The clock of all
//! servers jumps on the way, forth and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use futures::future::join_all;
use kernel::Clock;
use persistence::{Database, DatabaseOptions, Keyring};
use proto::directory::CreateApiKeyRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rpc::Credential;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::calls::{Call, Keys, Meaning};
use super::checker::explain;
use super::conservation::check_books;
use super::history::{Event, Recorder, is_bound};
use super::model::{Rules, World};
use super::postgres::Postgres;
use super::proxy::{Mishap, Proxy};
use super::workload::{CLIENTS, Plan, Step, final_reads, plan};
use super::{make_program, seeds};
use crate::it::process::Process;

/// How often a client sends a request again that was not answered, when it does.
const ATTEMPTS_MAX: usize = 40;

/// What went wrong, over all seeds.
#[derive(Default, Debug)]
struct Toll {
    servers_killed: usize,
    databases_killed: usize,
    commits: BTreeMap<Mishap, usize>,
    /// Requests without an answer that had been done, and that had not.
    clock_jumps: usize,
    lost_and_done: usize,
    lost_and_not_done: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_sqlite() {
    let (seeds, steps) = seeds(3, 40);
    let mut toll = Toll::default();
    for seed in &seeds {
        let folder = TempDir::with_prefix("regulars-").unwrap();
        let url = format!("sqlite:{}", folder.path().display());
        // Its directory admits one process.
        play(*seed, steps, &url, 1, None, &mut toll).await;
    }
    println!("{toll:?}");
    if seeds.len() > 1 {
        assert!(toll.servers_killed > 0 && toll.lost_and_done > 0 && toll.lost_and_not_done > 0, "too little went wrong: {toll:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_postgres() {
    let (seeds, steps) = seeds(3, 40);
    let mut postgres = Postgres::start().await;
    let mut toll = Toll::default();
    for seed in &seeds {
        let database = format!("seed_{seed}");
        postgres.create(&database).await;
        let proxy = Proxy::start(postgres.socket(), *seed).await;
        play(*seed, steps, &proxy.url(&database), 2, Some((&mut postgres, &proxy)), &mut toll).await;
        for (mishap, count) in proxy.happened() {
            *toll.commits.entry(mishap).or_default() += count;
        }
    }
    println!("{toll:?}");
    if seeds.len() > 1 {
        assert!(toll.servers_killed > 0 && toll.databases_killed > 0 && toll.commits.len() == 3, "too little went wrong: {toll:?}");
        assert!(toll.lost_and_done > 0 && toll.lost_and_not_done > 0, "too little went wrong: {toll:?}");
    }
}

/// Plays the plan of a seed with everything that goes wrong in it, and judges what came of it.
async fn play(seed: u64, steps: usize, url: &str, servers: usize, mut database: Option<(&mut Postgres, &Proxy)>, toll: &mut Toll) {
    let failed = |why: String| -> ! { panic!("REGULARS_TEST_SEED={seed}: {why}") };
    let plan = plan(seed, steps, kernel::SystemClock.now().as_micros());
    let mut cluster = Cluster::start(url, &plan.rules, servers).await;
    let recorder = Arc::new(Recorder::with_machine_time());
    if let Some((_, proxy)) = &database {
        proxy.calm(false);
    }
    let working = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(number, seed, plan.clone(), cluster.view(), recorder.clone(), working.clone())))
        .collect();

    // Two or three kills, each after so many calls.
    let mut dice = StdRng::seed_from_u64(!seed);
    for share in [25, 50, 75] {
        let due = steps * CLIENTS * (share + dice.random_range(0..20)) / 100;
        while working.load(Ordering::SeqCst) < due {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match &mut database {
            Some((postgres, _)) if dice.random_bool(0.5) => {
                postgres.kill_and_restart().await;
                toll.databases_killed += 1;
            }
            _ => {
                cluster.kill_and_restart(dice.random_range(0..servers)).await;
                toll.servers_killed += 1;
            }
        }
    }
    join_all(clients).await.into_iter().for_each(|client| client.unwrap());
    toll.clock_jumps += plan.clients.iter().flatten().filter(|step| matches!(step, Step::Clock(_))).count();
    if let Some((_, proxy)) = &database {
        proxy.calm(true);
    }

    let lost = recorder.events();
    replay_all(&cluster, &recorder, &plan).await;
    let all = recorder.events();
    count_lost(&lost, &all, toll);
    same_answers(&all).unwrap_or_else(|why| failed(why));
    let events = recorder.resolved();
    check_books(&events).unwrap_or_else(|why| failed(why));
    let explained = explain(World::new(plan.rules.clone(), cluster.keys.clone()), &events, &recorder);
    let explained = explained.unwrap_or_else(|why| failed(why));
    let keyring = Keyring::from_hex(&std::fs::read_to_string(cluster.folder.path().join("master.key")).unwrap()).unwrap();
    let now = kernel::SystemClock.now().as_micros() + cluster.clock.distance();
    cluster.stop().await;

    let ledger = Database::open(&DatabaseOptions::new(url), "points", points::MIGRATIONS).await.unwrap();
    let report = points::verify(&ledger, &keyring, |_| {}).await.unwrap();
    ledger.close().await;
    if !report.differences.is_empty() {
        failed(format!("the books are wrong: {:?}", report.differences));
    }
    // What has lapsed since is all that may be missing.
    let mut world = explained.world;
    let open = world.total();
    world.settle_all(now);
    let points = i64::try_from(report.points.get("tea").copied().unwrap_or_default()).unwrap();
    if points < world.total() || open < points {
        failed(format!("{points} points, not {} to {open}", world.total()));
    }
}

/// A client that now and then has no patience. A request that was not answered it sends again, or leaves for the end.
async fn client(number: usize, seed: u64, plan: Plan, servers: View, recorder: Arc<Recorder>, working: Arc<AtomicUsize>) {
    let mut dice = StdRng::seed_from_u64(seed * 1_000 + number as u64);
    for (index, step) in plan.clients[number].iter().enumerate() {
        let call = match step {
            Step::Call(call) => call,
            Step::Clock(jump) => {
                recorder.set_clock(|| servers.clock.jump(*jump));
                continue;
            }
            // These servers have no neighbours that tell them anything.
            Step::Tell(..) => continue,
        };
        let attempts = if dice.random_bool(0.7) { ATTEMPTS_MAX } else { 1 };
        for attempt in 0..attempts {
            let patience = Duration::from_millis(dice.random_range(1..30));
            let (deadline, hangs_up) = match dice.random_range(0..100) {
                0..5 => (Some(patience), None),
                5..10 => (None, Some(patience)),
                _ => (None, None),
            };
            let channel = servers.channel(number + index + attempt);
            let sent = call.send(&channel, &servers.keys, deadline);
            let sent = async { tokio::time::timeout(hangs_up.unwrap_or(Duration::from_secs(60)), sent).await.unwrap_or(Meaning::Unknown) };
            match recorder.call((**call).clone(), sent).await {
                Meaning::Done(_) | Meaning::Refused(_) => break,
                Meaning::Transient | Meaning::Unknown => tokio::time::sleep(Duration::from_millis(dice.random_range(5..100))).await,
            }
        }
        working.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends every request again until it is answered, and reads what everything has come to.
async fn replay_all(cluster: &Cluster, recorder: &Recorder, plan: &Plan) {
    let mut calls: Vec<Call> = Vec::new();
    for event in recorder.events() {
        if event.call.request_id().is_some() && !calls.contains(&event.call) {
            calls.push(event.call);
        }
    }
    let (view, mut left) = (cluster.view(), 600);
    for (index, call) in calls.into_iter().chain(final_reads(plan)).enumerate() {
        while recorder.call(call.clone(), call.send(&view.channel(index + left), &view.keys, None)).await.is_open() {
            left -= 1;
            assert!(left > 0, "the server does not recover: {call:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Every answer that stays with a request is the same, byte for byte, whenever it was given.
fn same_answers(events: &[Event]) -> Result<(), String> {
    let mut first: Vec<(&Call, &super::calls::Answer)> = Vec::new();
    for event in events.iter().filter(|event| event.call.request_id().is_some()) {
        let Some(answer) = event.answer().filter(|answer| answer.result.is_ok() || is_bound(answer)) else { continue };
        match first.iter().find(|(call, _)| **call == event.call) {
            None => first.push((&event.call, answer)),
            Some((_, known)) if known.result == answer.result => {}
            Some((call, known)) => return Err(format!("{call:?}\nwas answered {}\nand then     {}", call.tell(known), call.tell(answer))),
        }
    }
    Ok(())
}

/// How many requests whose every answer was lost had been done all the same.
fn count_lost(before: &[Event], after: &[Event], toll: &mut Toll) {
    for event in &after[before.len()..] {
        let was_sent = before.iter().any(|earlier| earlier.call == event.call);
        let was_answered = before.iter().any(|earlier| earlier.call == event.call && earlier.answer().is_some());
        if let Some(answer) =
            event.answer().filter(|answer| answer.result.is_ok() && was_sent && !was_answered && event.call.request_id().is_some())
        {
            *(if answer.replayed { &mut toll.lost_and_done } else { &mut toll.lost_and_not_done }) += 1;
        }
    }
}

/// Servers of the ledger, each in a process of its own, on one database.
struct Cluster {
    url: String,
    folder: TempDir,
    processes: Vec<Option<Process>>,
    channels: Arc<RwLock<Vec<Channel>>>,
    keys: Arc<Keys>,
    clock: Arc<SharedClock>,
}

/// The clock of all servers of a cluster: this machine's, at a distance that stands in a file which they read.
struct SharedClock {
    file: PathBuf,
    distance: Mutex<i64>,
}

impl SharedClock {
    fn distance(&self) -> i64 {
        *self.distance.lock().unwrap()
    }

    /// Moves it by so many microseconds; what the distance is then.
    fn jump(&self, by: i64) -> i64 {
        let mut distance = self.distance.lock().unwrap();
        *distance += by;
        // Whole or not at all.
        let next = self.file.with_extension("next");
        std::fs::write(&next, distance.to_string()).unwrap();
        std::fs::rename(next, &self.file).unwrap();
        *distance
    }
}

/// What a client sees of them.
#[derive(Clone)]
struct View {
    channels: Arc<RwLock<Vec<Channel>>>,
    keys: Arc<Keys>,
    clock: Arc<SharedClock>,
}

impl View {
    /// The server that comes next, as it is reached by now.
    fn channel(&self, turn: usize) -> Channel {
        let channels = self.channels.read().unwrap();
        channels[turn % channels.len()].clone()
    }
}

impl Cluster {
    async fn start(url: &str, rules: &[Rules], servers: usize) -> Cluster {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(SharedClock { file: clock_file(folder.path()), distance: Mutex::new(0) });
        clock.jump(0);
        let first = serve(url, folder.path()).await;
        let keys = Arc::new(prepare(&first, rules).await);
        let mut cluster = Cluster { url: url.to_owned(), folder, processes: vec![Some(first)], channels: Arc::default(), keys, clock };
        for _ in 1..servers {
            cluster.processes.push(Some(serve(url, cluster.folder.path()).await));
        }
        *cluster.channels.write().unwrap() = cluster.processes.iter().flatten().map(Process::channel).collect();
        cluster
    }

    fn view(&self) -> View {
        View { channels: self.channels.clone(), keys: self.keys.clone(), clock: self.clock.clone() }
    }

    async fn kill_and_restart(&mut self, number: usize) {
        self.processes[number].take().expect("it runs").kill().await;
        let process = serve(&self.url, self.folder.path()).await;
        self.channels.write().unwrap()[number] = process.channel();
        self.processes[number] = Some(process);
    }

    async fn stop(self) {
        for process in self.processes.into_iter().flatten() {
            process.kill().await;
        }
    }
}

pub(in crate::it) fn clock_file(folder: &Path) -> PathBuf {
    folder.join("clock")
}

/// A server of the ledger alone; its neighbours are elsewhere and away.
pub(in crate::it) async fn serve(url: &str, folder: &Path) -> Process {
    let clock = clock_file(folder);
    let settings = [
        ("REGULARS_TEST_CLOCK", clock.to_str().expect("the folder of a test has a plain name")),
        ("REGULARS_PEERS__CREDENTIAL", "rk_away"),
        ("REGULARS_PEERS__URLS__MEMBERS", "http://127.0.0.1:1"),
        ("REGULARS_PEERS__URLS__TIERS", "http://127.0.0.1:1"),
        // Nobody waits long for a database that is being killed.
        ("REGULARS_SERVER__DEADLINE_MS_DEFAULT", "3000"),
        ("REGULARS_TELEMETRY__LOG_FILTER", "off"),
    ];
    Process::start(url, folder, &["--only", "points"], &settings).await
}

/// A program under the terms of the plan, and the keys that its clients have.
async fn prepare(process: &Process, rules: &[Rules]) -> Keys {
    let wire = process.wire(process.administrator.as_ref().expect("the first start tells it"));
    make_program(wire.clone(), rules).await;
    let mut directory = DirectoryServiceClient::new(wire);
    let mut keys = BTreeMap::new();
    for role in Keys::ROLES {
        let request = CreateApiKeyRequest {
            display_name: "test".to_owned(),
            role: role.into(),
            programs: Vec::new(),
            terminal: String::new(),
            request_id: format!("key-{}", role.as_str_name()),
        };
        let made = directory.create_api_key(request).await.unwrap().into_inner();
        keys.insert(role, (made.api_key.unwrap().name, Credential::new(&made.secret).unwrap()));
    }
    Keys(keys)
}
