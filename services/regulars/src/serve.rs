//! `regulars serve`: the services in a process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use rpc::{Config, Entry, Flags, Running, StartError};

use serde::Serialize;

use crate::SERVICES;
use crate::output::Format;
use crate::storage::sqlite_folder;

/// What to serve and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these services, separated by commas; the others are reached by the URLs in the configuration.
    #[arg(long, value_delimiter = ',', value_name = "SERVICE", value_parser = PossibleValuesParser::new(SERVICES.map(|entry| entry.name)))]
    only: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(options: Options, output: Format) -> anyhow::Result<ExitCode> {
    let Options { only, flags } = options;
    let config = Config::load(&flags)?;
    let services: Vec<Entry> = SERVICES.into_iter().filter(|entry| only.is_empty() || only.iter().any(|name| name == entry.name)).collect();
    let _locks = match sqlite_folder(&config) {
        Some(folder) => lock(&folder, &services)?,
        None => Vec::new(),
    };
    let tls = config.server.tls.cert.is_some();
    let announce = |running: &Running| {
        let key = running.first_administrator();
        let started = Started { address: url(running, tls), administrator_key: key.as_deref() };
        rpc::binary::say(&match output {
            Format::Text => welcome(&started, &flags, tls),
            Format::Json => document(&started),
        });
    };
    match rpc::run(&flags, &services, announce).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(StartError::Io { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => bail!(
            "something listens on {} already: stop it, or choose another address with --address, for example --address 127.0.0.1:7701",
            config.server.address
        ),
        Err(error) => Err(error.into()),
    }
}

/// Two servers of one service on the same embedded database would each believe to be alone with its feed. The locks go with
/// the process, however it ends.
fn lock(folder: &Path, services: &[Entry]) -> anyhow::Result<Vec<File>> {
    let cannot_use = || format!("the directory {} cannot be used", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot_use)?;
    let lock = |entry: &Entry| {
        let path = folder.join(format!("{}.serving", entry.name));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).with_context(cannot_use)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("another server uses {} already: stop it, or keep this suite elsewhere with --data", folder.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot_use),
        }
    };
    services.iter().map(lock).collect()
}

/// What is told when the services have started.
#[derive(Serialize)]
struct Started<'a> {
    /// The URL to call.
    address: String,
    /// The secret, if the key was made just now; only its hash is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    administrator_key: Option<&'a str>,
}

fn url(running: &Running, tls: bool) -> String {
    format!("{}://{}", if tls { "https" } else { "http" }, running.address())
}

fn document(started: &Started<'_>) -> String {
    serde_json::to_string_pretty(started).expect("it holds nothing but texts")
}

/// What a newcomer needs next: the address, the key if it was made just now, and commands that work when they are pasted.
fn welcome(started: &Started<'_>, flags: &Flags, tls: bool) -> String {
    let Started { address: url, administrator_key: first } = started;
    let mut text = format!("regulars serves on {url}\n");
    if let Some(secret) = first {
        text.push_str(&format!("administrator key: {secret}\n  (shown this once and stored hashed: keep it)\n"));
    }
    // With TLS the client must be told an authority that only the operator knows.
    let ca = if tls { " --ca CA.pem" } else { "" };
    let key = first.unwrap_or("\"$REGULARS_KEY\"");
    let program = program();
    let (note, storage) = storage_flags(flags);
    text.push_str(&format!(
        "\ntry{note}:\n  \
         {program} demo --server {url} --key {key}{ca}\n  \
         {program} keys create --role platform --name \"back end\"{storage}\n  \
         {program} verify{storage}\n"
    ));
    text
}

/// The flags that name the same databases again. A password is not repeated on the screen: its URL can stand in the
/// environment, where every command reads it.
fn storage_flags(flags: &Flags) -> (&'static str, String) {
    let mut text = String::new();
    let mut note = "";
    if let Some(config) = &flags.config {
        text.push_str(&format!(" --config {}", quoted(&config.display().to_string())));
    }
    match &flags.database {
        Some(url) if url.contains('@') => note = " (the last two with the database's URL in REGULARS_DATABASE__URL)",
        Some(url) => text.push_str(&format!(" --database {}", quoted(url))),
        None => {}
    }
    if let Some(data) = &flags.data
        && note.is_empty()
    {
        text.push_str(&format!(" --data {}", quoted(&data.display().to_string())));
    }
    (note, text)
}

/// How this program was called.
fn program() -> String {
    quoted(&std::env::args().next().unwrap_or_else(|| "regulars".to_owned()))
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_a_shell() {
        assert_eq!(quoted("./data"), "./data");
        assert_eq!(quoted("my data"), "'my data'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_program_is_told_in_json() {
        let first = Started { address: "http://127.0.0.1:7700".to_owned(), administrator_key: Some("rk_1_s") };
        let told: serde_json::Value = serde_json::from_str(&document(&first)).unwrap();
        assert_eq!(told, serde_json::json!({"address": "http://127.0.0.1:7700", "administrator_key": "rk_1_s"}));
        let again = document(&Started { administrator_key: None, ..first });
        assert!(again.contains("address") && !again.contains("administrator_key"), "{again}");
    }

    #[test]
    fn a_password_is_not_repeated() {
        let flags = Flags { database: Some("postgres://me:secret@host/db".to_owned()), data: Some("d".into()), ..Flags::default() };
        let (note, text) = storage_flags(&flags);
        assert!(!text.contains("secret") && note.contains("REGULARS_DATABASE__URL"), "{note}{text}");
    }

    #[test]
    fn a_second_server_on_the_same_folder_is_refused_and_the_other_services_are_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let (first, rest) = SERVICES.split_at(2);
        let held = lock(folder.path(), first).unwrap();
        assert!(lock(folder.path(), &SERVICES).unwrap_err().to_string().contains("another server"));
        lock(folder.path(), rest).unwrap();
        drop(held);
        lock(folder.path(), &SERVICES).unwrap();
    }
}
