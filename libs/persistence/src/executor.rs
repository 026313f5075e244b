use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use telemetry::metrics;
use telemetry::metrics::BatchMetrics;
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Carries out batches of commands, each batch in one transaction.
pub trait Handler: Send + Sync + 'static {
    /// What is asked for.
    type Command: Send + Sync + 'static;
    /// What is answered: also a refusal that was judged and committed.
    type Answer: Send + 'static;
    /// Why a whole batch came to nothing.
    type Error: std::error::Error + Send + 'static;

    /// Carries out the commands in order and commits; one answer per command, in the same order. On an error nothing has
    /// happened, or it is unknown whether it has: the commands are run again, each alone, so they must bear that. Collisions
    /// with other transactions are the handler's to try again, by [`retry`](crate::retry).
    fn execute(&self, batch: &[Self::Command]) -> impl Future<Output = Result<Vec<Self::Answer>, Self::Error>> + Send;

    /// True when every other command would fail for the same reason, as when the database is away. Then the batch is not
    /// taken apart: its callers get [`SubmitError::Unavailable`].
    fn is_outage(error: &Self::Error) -> bool;
}

/// Sizes of an executor.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorOptions {
    /// Its name in metrics and traces.
    pub name: &'static str,
    /// Batches under way at once; two to four.
    pub lanes: usize,
    /// Commands that may wait in a lane; past it they are refused.
    pub queue_max: usize,
    /// Commands in one batch.
    pub batch_max: usize,
    /// A batch with fewer commands waits a little while another such is at work. What begins and ends a transaction is paid for by
    /// each of its commands, and two small batches cost more than one.
    pub batch_small: usize,
}

impl ExecutorOptions {
    /// The usual sizes: two lanes, 4,096 waiting in each, 256 in a batch, fewer than 24 a small one.
    pub fn new(name: &'static str) -> ExecutorOptions {
        ExecutorOptions { name, lanes: 2, queue_max: 4_096, batch_max: 256, batch_small: 24 }
    }
}

/// How often a lane lets everything else that is ready run before it begins: calls that have just come in are a larger batch then.
const STEPS_BACK: usize = 3;

/// The longest that a small batch waits for its turn: a batch that hangs must not hold up the other lanes.
const TURN_MAX: Duration = Duration::from_millis(50);

/// Why a command has no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError<E> {
    /// Too many are waiting. Nothing was done.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The deadline passed before the command's turn came. Nothing was done, unless it was run before in a batch that failed.
    #[error("the deadline passed while the command was waiting")]
    DeadlineExceeded,
    /// The executor takes no more commands. Nothing was done.
    #[error("the executor is shutting down")]
    ShuttingDown,
    /// The database is away. Whether the command was carried out is unknown.
    #[error("the database cannot be reached")]
    Unavailable,
    /// The handler panicked or broke its contract. Whether the command was carried out is unknown.
    #[error("the command could not be carried out")]
    Internal,
    /// The handler's error for this command alone.
    #[error("the command failed")]
    Failed(E),
}

/// Gathers commands that arrive one by one into batches, because a commit for each is what kills a database.
///
/// Commands queue in lanes by key. A lane runs one batch at a time: whatever has queued while the last was under way. While there is
/// little to do the lanes take turns. A lane is a task of its own, so a caller that hangs up stops nothing. Correctness must not rest
/// on lanes: another process has its own.
pub struct Executor<H: Handler> {
    lanes: Vec<mpsc::Sender<Job<H>>>,
    closing: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Job<H: Handler> {
    command: H::Command,
    caller: Caller<H>,
}

struct Caller<H: Handler> {
    deadline: Instant,
    reply: oneshot::Sender<Result<H::Answer, SubmitError<H::Error>>>,
}

impl<H: Handler> Executor<H> {
    /// Starts the lanes. They end by [`Executor::shutdown`], or when the executor is dropped and the queues are empty.
    pub fn start(handler: H, options: ExecutorOptions) -> Executor<H> {
        let handler = Arc::new(handler);
        let closing = CancellationToken::new();
        let turn = Arc::new(Mutex::new(()));
        let mut lanes = Vec::new();
        let mut tasks = Vec::new();
        for number in 0..options.lanes.max(1) {
            let (sender, queue) = mpsc::channel(options.queue_max.max(1));
            lanes.push(sender);
            let metrics = metrics().batches(options.name, number);
            let lane = Lane { handler: handler.clone(), options, number, turn: turn.clone(), closing: closing.clone(), metrics };
            tasks.push(tokio::spawn(lane.run(queue)));
        }
        Executor { lanes, closing, tasks: Mutex::new(tasks) }
    }

    /// Queues a command and waits for its answer. Commands of one lane key are carried out in the order of these calls.
    /// Once queued, a command is carried out whether or not the caller still waits, unless its deadline passes first.
    pub async fn submit(&self, lane_key: impl Hash, command: H::Command, deadline: Instant) -> Result<H::Answer, SubmitError<H::Error>> {
        let (reply, answer) = oneshot::channel();
        let job = Job { command, caller: Caller { deadline, reply } };
        self.lane(lane_key).try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                metrics().refused_by_overload("executor_queue");
                SubmitError::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => SubmitError::ShuttingDown,
        })?;
        // A lane answers every job it has taken; one that is gone without has been aborted with its runtime.
        answer.await.unwrap_or(Err(SubmitError::Internal))
    }

    /// How many commands wait in all lanes.
    pub fn queued(&self) -> usize {
        self.lanes.iter().map(|lane| lane.max_capacity() - lane.capacity()).sum()
    }

    /// Refuses new commands, carries out those that wait, and returns when all have been answered.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        for task in self.tasks.lock().await.drain(..) {
            // A lane catches its handler's panics; there is nobody to tell about another.
            let _ = task.await;
        }
    }

    fn lane(&self, key: impl Hash) -> &mpsc::Sender<Job<H>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lanes = self.lanes.len() as u64;
        &self.lanes[usize::try_from(hasher.finish() % lanes).expect("below the number of lanes")]
    }
}

struct Lane<H: Handler> {
    handler: Arc<H>,
    options: ExecutorOptions,
    number: usize,
    /// Held by the lane whose small batch is under way.
    turn: Arc<Mutex<()>>,
    closing: CancellationToken,
    metrics: BatchMetrics,
}

/// How a batch that came to nothing is to be taken.
enum Failure<E> {
    Panicked,
    Error(E),
}

impl<H: Handler> Lane<H> {
    async fn run(self, mut queue: mpsc::Receiver<Job<H>>) {
        let mut jobs = Vec::with_capacity(self.options.batch_max);
        loop {
            let received = tokio::select! {
                biased;
                () = self.closing.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                received = queue.recv_many(&mut jobs, self.options.batch_max.max(1)) => received,
            };
            if received == 0 {
                return; // Closed and empty.
            }
            let _turn = self.gather(&mut queue, &mut jobs).await;
            self.metrics.taken(jobs.len(), queue.len());
            self.run_jobs(&mut jobs).await;
        }
    }

    /// Takes along what comes in while everything else that is ready runs and, as long as the batch is small, until it is this
    /// lane's turn.
    async fn gather(&self, queue: &mut mpsc::Receiver<Job<H>>, jobs: &mut Vec<Job<H>>) -> Option<MutexGuard<'_, ()>> {
        for _ in 0..STEPS_BACK {
            tokio::task::yield_now().await;
            self.take_ready(queue, jobs);
        }
        let small = self.options.batch_small.min(self.options.batch_max);
        let (mut turn, mut patience) = (pin!(self.turn.lock()), pin!(tokio::time::sleep(TURN_MAX)));
        while jobs.len() < small {
            let room = small - jobs.len();
            tokio::select! {
                biased;
                turn = &mut turn => {
                    self.take_ready(queue, jobs);
                    return Some(turn);
                }
                received = queue.recv_many(jobs, room) => if received == 0 { break },
                () = &mut patience => break,
            }
        }
        self.take_ready(queue, jobs);
        None
    }

    fn take_ready(&self, queue: &mut mpsc::Receiver<Job<H>>, jobs: &mut Vec<Job<H>>) {
        while jobs.len() < self.options.batch_max
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
    }

    async fn run_jobs(&self, jobs: &mut Vec<Job<H>>) {
        let now = Instant::now();
        let mut commands = Vec::with_capacity(jobs.len());
        let mut callers = VecDeque::with_capacity(jobs.len());
        for Job { command, caller } in jobs.drain(..) {
            if caller.deadline <= now {
                caller.answer(Err(SubmitError::DeadlineExceeded));
            } else {
                commands.push(command);
                callers.push_back(caller);
            }
        }
        if commands.is_empty() {
            return;
        }
        match self.execute(&commands).await {
            Ok(answers) => answer_all(callers, answers),
            Err(Failure::Error(error)) if H::is_outage(&error) => give_up(callers),
            Err(failure) => match callers.len() {
                1 => callers.pop_front().expect("there is one").fail(failure),
                _ => self.run_each(&commands, callers).await,
            },
        }
    }

    /// Runs the commands of a failed batch alone, so that the one that spoils it harms no other.
    async fn run_each(&self, commands: &[H::Command], mut callers: VecDeque<Caller<H>>) {
        for command in commands {
            let Some(caller) = callers.pop_front() else { return };
            if caller.deadline <= Instant::now() {
                caller.answer(Err(SubmitError::DeadlineExceeded));
                continue;
            }
            match self.execute(std::slice::from_ref(command)).await {
                Ok(answers) => answer_all([caller], answers),
                Err(Failure::Error(error)) if H::is_outage(&error) => {
                    callers.push_front(caller);
                    return give_up(callers);
                }
                Err(failure) => caller.fail(failure),
            }
        }
    }

    async fn execute(&self, commands: &[H::Command]) -> Result<Vec<H::Answer>, Failure<H::Error>> {
        let started = Instant::now();
        let span = tracing::debug_span!("batch", executor = self.options.name, lane = self.number, size = commands.len());
        // The handler keeps nothing of a batch that panicked: its transaction has been rolled back by being dropped.
        let done = AssertUnwindSafe(self.handler.execute(commands)).catch_unwind().instrument(span).await;
        match &done {
            Ok(Ok(_)) => self.metrics.committed(started.elapsed()),
            _ => self.metrics.failed(started.elapsed()),
        }
        match done {
            Ok(Ok(answers)) if answers.len() == commands.len() => Ok(answers),
            Ok(Ok(answers)) => {
                // It has been committed, and nobody can say which answer is whose. Running it again finds the first answers.
                tracing::error!(executor = self.options.name, commands = commands.len(), answers = answers.len(), "answers are missing");
                Err(Failure::Panicked)
            }
            Ok(Err(error)) => {
                // The error of a single command goes to its caller.
                if commands.len() > 1 || H::is_outage(&error) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(executor = self.options.name, size = commands.len(), error, "a batch came to nothing");
                }
                Err(Failure::Error(error))
            }
            Err(_) => {
                tracing::error!(executor = self.options.name, size = commands.len(), "a batch panicked");
                Err(Failure::Panicked)
            }
        }
    }
}

impl<H: Handler> Caller<H> {
    fn answer(self, answer: Result<H::Answer, SubmitError<H::Error>>) {
        // A caller that has hung up does not get it; the command stands all the same.
        let _ = self.reply.send(answer);
    }

    fn fail(self, failure: Failure<H::Error>) {
        self.answer(Err(match failure {
            Failure::Panicked => SubmitError::Internal,
            Failure::Error(error) => SubmitError::Failed(error),
        }));
    }
}

fn give_up<H: Handler>(callers: VecDeque<Caller<H>>) {
    callers.into_iter().for_each(|caller| caller.answer(Err(SubmitError::Unavailable)));
}

fn answer_all<H: Handler>(callers: impl IntoIterator<Item = Caller<H>>, answers: Vec<H::Answer>) {
    callers.into_iter().zip(answers).for_each(|(caller, answer)| caller.answer(Ok(answer)));
}
