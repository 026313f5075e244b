//! Servers that tests need: started here, and ended however this process ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::target;

/// How long a server may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a server and waits for the end of its own input, which comes when we close the pipe or die, by `kill -9` too. Then
/// it ends the server by its process id and removes the folder of its data.
const GUARD: &str = r#"
directory=$1; shift
mkdir -m 700 "$directory" || exit 1
"$@" 2>&1 &
server=$!
exec >&- 2>&-
read -r _
kill -INT "$server"
wait "$server"
rm -rf -- "$directory"
"#;

/// A server that lives as long as this value.
pub(crate) struct Server {
    guard: Child,
}

/// What to start.
pub(crate) struct Recipe<'a> {
    /// Names the log: `target/logs/{name}.log`.
    pub(crate) name: &'a str,
    /// The user to run it as, when it is not this process's own.
    pub(crate) user: Option<&'a str>,
    /// A folder that does not exist. It is made for the server and removed with it.
    pub(crate) directory: PathBuf,
    /// The program and its arguments; it ends on SIGINT.
    pub(crate) command: Vec<String>,
    /// Variables added to its environment.
    pub(crate) environment: Vec<(&'a str, String)>,
}

impl Server {
    /// Starts a server and waits for the first line of its output that `ready` makes something of.
    pub(crate) fn start<T>(recipe: Recipe<'_>, ready: impl Fn(&str) -> Option<T>) -> Result<(Server, T)> {
        fs::create_dir_all(target("logs"))?;
        let log = target("logs").join(format!("{}.log", recipe.name));
        let mut command = Command::new(if recipe.user.is_some() { "runuser" } else { "sh" });
        if let Some(user) = recipe.user {
            command.args(["-u", user, "--", "sh"]);
        }
        command.args(["-c", GUARD, "guard"]).arg(&recipe.directory).args(&recipe.command).envs(recipe.environment);
        // Another user may not see our folder. Ctrl-C in a terminal goes to a whole group; the guard must outlive it to clean up.
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut guard = command.spawn().with_context(|| format!("cannot start {}", recipe.name))?;
        let (lines, received) = mpsc::channel();
        let output = guard.stdout.take().expect("its output was asked for");
        let file = File::create(&log)?;
        let server = Server { guard };
        thread::spawn(move || copy(output, file, &lines));

        let deadline = Instant::now() + START_TIMEOUT;
        while let Ok(line) = received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(answer) = ready(&line) {
                return Ok((server, answer));
            }
        }
        bail!("{} did not become ready; it said:\n{}", recipe.name, fs::read_to_string(&log)?);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("a server may have been left running: {error}");
        }
    }
}

/// Copies the server's output into its log, to the end, and hands each line on while somebody listens.
fn copy(output: ChildStdout, mut log: File, lines: &Sender<String>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Err(error) = writeln!(log, "{line}") {
            eprintln!("a log cannot be written: {error}");
        }
        let _nobody_listens = lines.send(line);
    }
}

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A folder for temporary data that does not exist yet.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    std::env::temp_dir().join(format!("regulars-{name}-{}-{nanos}", std::process::id()))
}
