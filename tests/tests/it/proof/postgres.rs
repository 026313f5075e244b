//! A PostgreSQL server of the test's own, so that it can be killed.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// A server that nobody reaches but through a socket in its folder.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    child: Child,
}

impl Postgres {
    pub(crate) async fn start() -> Postgres {
        let programs = programs().await;
        let folder = TempDir::with_prefix("regulars-postgres-").unwrap();
        let owner = owner().await;
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let mut initdb = command(&programs.join("initdb"), owner);
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--pgdata"]).arg(&data);
        let made = initdb.current_dir("/").output().await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = serve(&programs, folder.path(), owner).await;
        Postgres { folder, programs, owner, child }
    }

    /// The socket on which it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// A new database.
    pub(crate) async fn create(&self, name: &str) {
        let url = format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await.unwrap();
        connection.close().await.unwrap();
    }

    /// SIGKILL, and then a start that has to recover. Its other processes end by themselves once they see that it is gone.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = serve(&self.programs, self.folder.path(), self.owner).await;
    }
}

/// Starts the server and waits until it takes connections. As long as processes of a killed one linger it refuses to start.
async fn serve(programs: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Child {
    let socket = format!("unix_socket_directories={}", folder.display());
    let settings = ["listen_addresses=", socket.as_str(), "fsync=off", "full_page_writes=off", "max_connections=100", "lc_messages=C"];
    for _ in 0..200 {
        let mut server = command(&programs.join("postgres"), owner);
        server.args(settings.iter().flat_map(|setting| ["-c", setting])).arg("-D").arg(folder.join("data"));
        let mut child = server.current_dir("/").stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(async move {
            let mut ready = Some(ready);
            // It must be able to go on writing.
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("ready to accept connections")
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(());
                }
            }
        });
        if is_ready.await.is_ok() {
            return child;
        }
        child.wait().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("PostgreSQL does not start again in {}", folder.display());
}

fn command(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// The folder with initdb and postgres: where pg_config says, or the newest of Debian's.
async fn programs() -> PathBuf {
    let configured = Command::new("pg_config").arg("--bindir").output().await;
    let configured = configured.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut found: Vec<PathBuf> = debian.chain(configured).filter(|folder| folder.join("initdb").is_file()).collect();
    found.sort();
    found.pop().expect("the programs of PostgreSQL are installed")
}

/// Whom the server runs as: it refuses to run as root.
async fn owner() -> Option<(u32, u32)> {
    let id = async |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("the user postgres exists")
    };
    if id(&["-u"]).await == 0 { Some((id(&["-u", "postgres"]).await, id(&["-g", "postgres"]).await)) } else { None }
}
