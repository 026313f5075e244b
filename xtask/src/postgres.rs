//! A PostgreSQL server of our own for a run of the tests.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::server::{Recipe, Server, free_port, fresh_directory};
use crate::shell::{self, command, is_root, output};
use crate::tools::apt_install;

/// Makes a cluster and becomes its server. Text sorts by a language, as it may for our users: what must sort by bytes has to
/// say so itself.
const SERVE: &str = r#"
programs=$1; directory=$2; port=$3; shift 3
umask 077
printf '%s' "$PASSWORD" > "$directory/password"
unset PASSWORD
"$programs/initdb" --pgdata="$directory/data" --username=postgres --auth=password --pwfile="$directory/password" \
    --encoding=UTF8 --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US --no-sync || exit 1
exec "$programs/postgres" -D "$directory/data" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$directory" -c max_connections=300 -c lc_messages=C -c timezone=UTC "$@"
"#;

/// What becomes of commits when the machine fails.
#[derive(Clone, Copy)]
pub(crate) enum Durability {
    /// They are lost: nothing is synced to disk, since nothing in it is worth keeping.
    None,
    /// They are kept, as in production; and the log is large enough for a measurement without a forced checkpoint.
    Full,
}

impl Durability {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Durability::None => &["-c", "fsync=off", "-c", "full_page_writes=off"],
            Durability::Full => &["-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=15min"],
        }
    }
}

/// Starts a server on a free port of the loopback interface; its URL. Everybody else on the machine lacks the password.
pub(crate) fn start(durability: Durability) -> Result<(Server, String)> {
    let programs = programs()?;
    let (port, password) = (free_port()?, password()?);
    let directory = fresh_directory("postgres");
    let recipe = Recipe {
        name: "postgres",
        // It refuses to run as root.
        user: is_root().then_some("postgres"),
        command: ["sh", "-c", SERVE, "serve", &programs.display().to_string(), &directory.display().to_string(), &port.to_string()]
            .iter()
            .chain(durability.settings())
            .map(|&argument| argument.to_owned())
            .collect(),
        environment: vec![("PASSWORD", password.clone())],
        directory,
    };
    let (server, ()) = Server::start(recipe, |line| line.contains("ready to accept connections").then_some(()))?;
    Ok((server, format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")))
}

/// The folder with PostgreSQL's programs; installs them when they are missing.
pub(crate) fn programs() -> Result<PathBuf> {
    if let Some(programs) = find() {
        return Ok(programs);
    }
    apt_install("postgresql")?;
    find().context("Debian's postgresql is installed, yet there is no initdb")
}

/// The folder with initdb and postgres: from PATH, else the newest of Debian's, else where pg_config says.
fn find() -> Option<PathBuf> {
    // A link on PATH may lead to where the rest lies.
    let on_path = || Some(shell::on_path("initdb")?.canonicalize().ok()?.parent()?.to_owned());
    let configured = || {
        let programs = output(&mut command(shell::on_path("pg_config")?, ["--bindir"])).ok()?;
        Some(PathBuf::from(programs.trim()))
    };
    [on_path(), newest_of_debian(), configured()].into_iter().flatten().find(|programs| programs.join("postgres").is_file())
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        Some((version, path.join("bin")))
    });
    versions.max().map(|(_, programs)| programs)
}

/// 128 random bits as hexadecimal digits.
fn password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
