//! `regulars keys`: API keys, directly in the directory's database.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use kernel::ProgramId;
use rpc::directory::{ApiKey, NewApiKey};
use rpc::{Programs, Role};
use serde::Serialize;

use crate::output::{self, Format};
use crate::storage::Storage;

/// What to do with keys.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key. Its secret is printed this once and stored hashed.
    Create {
        /// What the caller will be.
        #[arg(long, value_enum)]
        role: RoleName,
        /// A program it may touch; several may be given, none means all.
        #[arg(long = "program", value_name = "PROGRAM")]
        programs: Vec<String>,
        /// The till that will use it: programs/…/stores/…/terminals/…, or STORE/TERMINAL beside one --program. Only for role terminal.
        #[arg(long, value_name = "TERMINAL")]
        terminal: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "made on the command line")]
        name: String,
        #[command(flatten)]
        storage: Storage,
    },
    /// List all keys without their secrets.
    List {
        #[command(flatten)]
        storage: Storage,
    },
    /// Revoke a key for ever.
    Revoke {
        /// Its id as the list shows it, or the secret itself.
        key: String,
        #[command(flatten)]
        storage: Storage,
    },
}

/// A role as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// A till.
    Terminal,
    /// A back end of the company; imports need it.
    Platform,
    /// A landing page in a browser.
    LandingPage,
    /// Another service of the suite.
    Service,
    /// Customer support.
    Support,
    /// Figures without personal data.
    Analyst,
    /// Sets up programs, terms and keys.
    Administrator,
    /// Reads books and trail.
    Auditor,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            RoleName::Terminal => Role::Terminal,
            RoleName::Platform => Role::Platform,
            RoleName::LandingPage => Role::LandingPage,
            RoleName::Service => Role::Service,
            RoleName::Support => Role::Support,
            RoleName::Analyst => Role::Analyst,
            RoleName::Administrator => Role::Administrator,
            RoleName::Auditor => Role::Auditor,
        }
    }
}

/// A key as it is shown.
#[derive(Serialize)]
struct Shown {
    name: String,
    display_name: String,
    role: String,
    /// Empty for all.
    programs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<String>,
    create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke_time: Option<String>,
    /// Only right after it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<&ApiKey> for Shown {
    fn from(key: &ApiKey) -> Shown {
        let programs = match &key.programs {
            Programs::All => Vec::new(),
            Programs::Only(ids) => ids.iter().map(|id| format!("programs/{id}")).collect(),
        };
        let role = RoleName::value_variants().iter().find(|name| name.role() == key.role);
        let role = role.and_then(RoleName::to_possible_value).map_or_else(String::new, |value| value.get_name().to_owned());
        Shown {
            name: key.name(),
            display_name: key.display_name.clone(),
            role,
            programs,
            terminal: key.terminal.clone(),
            create_time: key.create_time.to_string(),
            revoke_time: key.revoke_time.map(|time| time.to_string()),
            secret: None,
        }
    }
}

pub(crate) async fn run(command: Command, format: Format) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create { role, programs, terminal, name, storage } => {
            let programs = programs.iter().map(|program| program_id(program)).collect::<Result<Vec<_>, _>>()?;
            let terminal = terminal.map(|terminal| terminal_name(terminal, &programs)).transpose()?;
            let programs = if programs.is_empty() { Programs::All } else { Programs::Only(programs.into()) };
            let new = NewApiKey { display_name: name, role: role.role(), programs, terminal };
            let (key, secret) = storage.directory().await?.create_api_key(new).await?;
            let shown = Shown { secret: Some(secret.reveal()), ..Shown::from(&key) };
            match format {
                Format::Json => output::print_json(&shown)?,
                Format::Text => output::print(&format!("{}\nkey: {}\n", list(&[shown]), secret.reveal()))?,
            }
        }
        Command::List { storage } => {
            let keys = storage.directory().await?.api_keys().await?;
            let keys: Vec<Shown> = keys.iter().map(|key| Shown::from(&**key)).collect();
            match format {
                Format::Json => output::print_json(&keys)?,
                Format::Text => output::print(&list(&keys))?,
            }
        }
        Command::Revoke { key, storage } => {
            let id = key_id(&key);
            let revoked = storage.directory().await?.revoke_api_key(id).await?.context("there is no such key")?;
            let shown = Shown::from(&revoked);
            match format {
                Format::Json => output::print_json(&shown)?,
                Format::Text => output::print(&list(&[shown]))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(keys: &[Shown]) -> String {
    let rows: Vec<[String; 7]> = keys
        .iter()
        .map(|key| {
            let programs: Vec<&str> = key.programs.iter().map(|name| name.trim_start_matches("programs/")).collect();
            [
                key.name.trim_start_matches("apiKeys/").to_owned(),
                key.role.clone(),
                if programs.is_empty() { "all".to_owned() } else { programs.join(",") },
                key.terminal.as_deref().and_then(|name| name.split_once("/stores/")).map_or("", |(_, rest)| rest).replace("/terminals", ""),
                day(&key.create_time),
                key.revoke_time.as_deref().map(day).unwrap_or_default(),
                key.display_name.clone(),
            ]
        })
        .collect();
    output::table(["ID", "ROLE", "PROGRAMS", "TERMINAL", "CREATED", "REVOKED", "NAME"], &rows)
}

fn day(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

/// `tea` or `programs/tea`.
fn program_id(text: &str) -> anyhow::Result<String> {
    let id = text.strip_prefix("programs/").unwrap_or(text);
    let id = ProgramId::parse(id).with_context(|| format!("{text:?} names no program"))?;
    Ok(id.as_str().to_owned())
}

fn terminal_name(text: String, programs: &[String]) -> anyhow::Result<String> {
    if text.starts_with("programs/") {
        return Ok(text);
    }
    match (programs, text.split_once('/')) {
        ([program], Some((store, terminal))) => Ok(format!("programs/{program}/stores/{store}/terminals/{terminal}")),
        _ => bail!("a terminal is programs/…/stores/…/terminals/…, or STORE/TERMINAL beside exactly one --program"),
    }
}

/// `apiKeys/{id}`, `{id}`, or the id inside a secret that somebody found where it should not be.
fn key_id(text: &str) -> &str {
    if let Some((id, _)) = text.strip_prefix("rk_").and_then(|rest| rest.split_once('_')) {
        return id;
    }
    text.strip_prefix("apiKeys/").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_in_three_ways() {
        for text in ["0123abc", "apiKeys/0123abc", "rk_0123abc_ffff"] {
            assert_eq!(key_id(text), "0123abc");
        }
    }

    #[test]
    fn a_terminal_may_be_short_beside_one_program() {
        let full = "programs/tea/stores/s1/terminals/t1";
        let one = ["tea".to_owned()];
        assert_eq!(terminal_name("s1/t1".to_owned(), &one).unwrap(), full);
        assert_eq!(terminal_name(full.to_owned(), &[]).unwrap(), full);
        for (text, programs) in [("s1/t1", &[][..]), ("t1", &one[..]), ("s1/t1", &["a".to_owned(), "b".to_owned()][..])] {
            assert!(terminal_name(text.to_owned(), programs).is_err(), "{text}");
        }
    }

    #[test]
    fn a_role_shows_as_it_is_written() {
        for name in RoleName::value_variants() {
            let text = name.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(text.replace('-', "_").to_ascii_uppercase(), name.role().as_str_name().trim_start_matches("ROLE_"));
        }
    }
}
