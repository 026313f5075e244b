//! Stands between the service and PostgreSQL and cuts or holds connections around the commit of a ledger batch.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// What happens to a commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mishap {
    /// The connection is gone before PostgreSQL hears of it: nothing has happened.
    CutBefore,
    /// PostgreSQL has committed, and nobody learns of it.
    CutAfter,
    /// It is late.
    Late,
}

/// A proxy on a port of the loopback interface.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    dice: Mutex<StdRng>,
    calm: AtomicBool,
    happened: Mutex<BTreeMap<Mishap, usize>>,
}

impl Proxy {
    /// Starts it before a server's socket; the seed decides what happens to which commit.
    pub(crate) async fn start(socket: PathBuf, seed: u64) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        let shared = Arc::new(Shared { socket, dice, calm: AtomicBool::new(true), happened: Mutex::default() });
        let connecting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = connecting.clone();
                // A connection that breaks is what it is for.
                tokio::spawn(async move { drop(shared.relay(client).await) });
            }
        });
        Proxy { port, shared }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Whether everything is relayed as it comes.
    pub(crate) fn calm(&self, calm: bool) {
        self.shared.calm.store(calm, Ordering::SeqCst);
    }

    /// How often each mishap happened.
    pub(crate) fn happened(&self) -> BTreeMap<Mishap, usize> {
        self.shared.happened.lock().unwrap().clone()
    }
}

impl Shared {
    async fn relay(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut server = UnixStream::connect(&self.socket).await?;
        let mut talk = Talk::default();
        let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        let mut pending = None;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let length = read?;
                    if length == 0 {
                        return Ok(());
                    }
                    if talk.hears_commit(&asked[..length]) {
                        pending = self.mishap();
                        match pending {
                            Some(Mishap::CutBefore) => return Ok(()),
                            Some(Mishap::Late) => tokio::time::sleep(self.delay()).await,
                            Some(Mishap::CutAfter) | None => {}
                        }
                    }
                    server.write_all(&asked[..length]).await?;
                }
                read = server.read(&mut answered) => {
                    let length = read?;
                    // What comes first after a commit is its confirmation: nothing else was under way.
                    if length == 0 || pending.take() == Some(Mishap::CutAfter) {
                        return Ok(());
                    }
                    client.write_all(&answered[..length]).await?;
                }
            }
        }
    }

    fn mishap(&self) -> Option<Mishap> {
        if self.calm.load(Ordering::SeqCst) {
            return None;
        }
        let mishap = match self.dice.lock().unwrap().random_range(0..100) {
            0..5 => Mishap::CutBefore,
            5..10 => Mishap::CutAfter,
            10..20 => Mishap::Late,
            _ => return None,
        };
        *self.happened.lock().unwrap().entry(mishap).or_default() += 1;
        Some(mishap)
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.dice.lock().unwrap().random_range(1..80))
    }
}

/// What the service says to PostgreSQL, followed as far as to know the commit of a batch of the ledger.
#[derive(Default)]
struct Talk {
    unread: Vec<u8>,
    started: bool,
    /// Prepared statements that write answers, which only the ledger's batches do.
    writing: HashSet<Vec<u8>>,
    has_written: bool,
    in_transaction: bool,
}

impl Talk {
    /// Takes in what was said; whether the commit of a batch of the ledger is in it: a COMMIT, or the end of a statement that
    /// stands for itself. The service waits for each answer, so it is the last.
    fn hears_commit(&mut self, said: &[u8]) -> bool {
        self.unread.extend_from_slice(said);
        let mut commits = false;
        while let Some((kind, body)) = self.next_message() {
            let mut words = body.split(|byte| *byte == 0);
            match kind {
                b'P' => {
                    let (name, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    if text.windows(22).any(|part| part == b"INSERT INTO operations") {
                        self.writing.insert(name.to_vec());
                    }
                }
                b'B' => self.has_written |= words.nth(1).is_some_and(|name| self.writing.contains(name)),
                b'S' if !self.in_transaction => {
                    commits = self.has_written;
                    self.has_written = false;
                }
                b'Q' => {
                    commits = self.has_written && body.starts_with(b"COMMIT");
                    self.has_written = false;
                    self.in_transaction = body.starts_with(b"BEGIN");
                }
                _ => {}
            }
        }
        commits
    }

    /// The first message has no kind; all have their length before them, which counts itself.
    fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = usize::from(self.started);
        let length = self.unread.get(head..head + 4)?;
        let end = head + usize::try_from(u32::from_be_bytes([length[0], length[1], length[2], length[3]])).unwrap();
        if self.unread.len() < end {
            return None;
        }
        let message: Vec<u8> = self.unread.drain(..end).collect();
        let kind = if self.started { message[0] } else { 0 };
        self.started = true;
        Some((kind, message[head + 4..].to_vec()))
    }
}
