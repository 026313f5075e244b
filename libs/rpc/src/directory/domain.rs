use std::fmt;

use kernel::{Currency, ProgramId, Timestamp, Zone};
use proto::codec::Programs;
use proto::common::Role;

/// A loyalty program: one currency, one time zone, one set of members.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Its id, `programs/{id}`.
    pub id: ProgramId,
    /// What people call it.
    pub display_name: String,
    /// The zone in which its business days and month ends are counted.
    pub zone: Zone,
    /// The currency of its purchases.
    pub currency: Currency,
    /// When it was opened.
    pub create_time: Timestamp,
}

/// A place where members buy.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Its program.
    pub program: ProgramId,
    /// The last segment of its name.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// The zone of the place; the program's when none.
    pub zone: Option<Zone>,
    /// When it was registered.
    pub create_time: Timestamp,
}

impl Store {
    /// `programs/{program}/stores/{store}`.
    pub fn name(&self) -> String {
        format!("programs/{}/stores/{}", self.program, self.id)
    }
}

/// A till.
#[derive(Debug, Clone, PartialEq)]
pub struct Terminal {
    /// Its program.
    pub program: ProgramId,
    /// The last segment of its store's name.
    pub store: String,
    /// The last segment of its name.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// When it was registered.
    pub create_time: Timestamp,
}

impl Terminal {
    /// `programs/{program}/stores/{store}/terminals/{terminal}`.
    pub fn name(&self) -> String {
        format!("programs/{}/stores/{}/terminals/{}", self.program, self.store, self.id)
    }
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// The public part of the secret, `apiKeys/{id}`.
    pub id: String,
    /// What it is for.
    pub display_name: String,
    /// What the caller is.
    pub role: Role,
    /// The programs it may touch.
    pub programs: Programs,
    /// The name of the terminal that uses it.
    pub terminal: Option<String>,
    /// What the secret is checked against.
    pub secret_hash: blake3::Hash,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was revoked.
    pub revoke_time: Option<Timestamp>,
}

impl ApiKey {
    /// `apiKeys/{id}`.
    pub fn name(&self) -> String {
        format!("apiKeys/{}", self.id)
    }

    /// The key of services in one process, which lives in memory only.
    pub(crate) fn internal(id: &str, secret_hash: blake3::Hash) -> ApiKey {
        ApiKey {
            id: id.to_owned(),
            display_name: "services of this process".to_owned(),
            role: Role::Service,
            programs: Programs::All,
            terminal: None,
            secret_hash,
            create_time: Timestamp::from_micros(0),
            revoke_time: None,
        }
    }

    /// Whether somebody who may touch `programs` may see and revoke this key: it gives nothing that they do not have.
    pub(crate) fn is_within(&self, programs: &Programs) -> bool {
        match (programs, &self.programs) {
            (Programs::All, _) => true,
            (Programs::Only(_), Programs::All) => false,
            (Programs::Only(_), Programs::Only(ids)) => ids.iter().all(|id| programs.admit(id)),
        }
    }
}

/// An API key to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewApiKey {
    /// What it is for.
    pub display_name: String,
    /// What the caller will be.
    pub role: Role,
    /// The programs it may touch.
    pub programs: Programs,
    /// The name of the terminal that will use it; only for [`Role::Terminal`].
    pub terminal: Option<String>,
}

impl NewApiKey {
    /// Checks what does not need the database. A key of a terminal that names no program is good for the terminal's program.
    pub(crate) fn checked(self) -> Result<NewApiKey, Error> {
        let Some(terminal) = &self.terminal else { return Ok(self) };
        let [program, ..] = terminal_segments(terminal)?;
        let programs = match &self.programs {
            _ if self.role != Role::Terminal => return Err(Error::invalid("terminal", "only a key with role TERMINAL has one")),
            Programs::All => Programs::Only([program.to_owned()].into()),
            Programs::Only(ids) if ids.iter().any(|id| id == program) => self.programs.clone(),
            Programs::Only(_) => return Err(Error::invalid("programs", "must contain the terminal's program")),
        };
        Ok(NewApiKey { programs, ..self })
    }
}

/// Program, store and terminal of a terminal's name.
pub(crate) fn terminal_segments(name: &str) -> Result<[&str; 3], Error> {
    const PATTERN: &str = "programs/{program}/stores/{store}/terminals/{terminal}";
    kernel::name::segments(name, PATTERN).map_err(|_| Error::invalid("terminal", PATTERN))
}

/// The whole secret of an API key: `rk_<id>_<64 hexadecimal digits>`. It is shown once and never printed by `Debug`.
#[derive(Clone)]
pub struct KeySecret {
    key_id: String,
    secret: String,
}

const SECRET_BYTES: usize = 32;

impl KeySecret {
    /// A new secret of 256 random bits.
    pub(crate) fn random(key_id: &str) -> KeySecret {
        let bytes: [u8; SECRET_BYTES] = rand::random();
        KeySecret { key_id: key_id.to_owned(), secret: hex::encode(bytes) }
    }

    /// Reads the form; whether the secret is right is another question.
    pub(crate) fn parse(text: &str) -> Option<KeySecret> {
        let (key_id, secret) = text.strip_prefix("rk_")?.split_once('_')?;
        let formed = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let named = !key_id.is_empty() && key_id.len() <= 64 && key_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (formed && named).then(|| KeySecret { key_id: key_id.to_owned(), secret: secret.to_owned() })
    }

    /// The public part.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The text to send as `authorization: Bearer …`.
    pub fn reveal(&self) -> String {
        format!("rk_{}_{}", self.key_id, self.secret)
    }

    /// What is stored. The id is hashed along, so that a hash copied to another row fits nothing.
    pub(crate) fn hash(&self) -> blake3::Hash {
        blake3::hash(self.reveal().as_bytes())
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rk_{}_…", self.key_id)
    }
}

/// Why something in the directory was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field that obeys its contract and still cannot be.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field's path in the request.
        field: &'static str,
        /// What it must be.
        problem: &'static str,
    },
    /// The program's id is taken.
    #[error("the program exists already")]
    ProgramExists,
    /// There is no such program.
    #[error("there is no such program")]
    ProgramNotFound,
    /// The store's id is taken.
    #[error("the store exists already")]
    StoreExists,
    /// There is no such store.
    #[error("there is no such store")]
    StoreNotFound,
    /// The terminal's id is taken.
    #[error("the terminal exists already")]
    TerminalExists,
    /// There is no such terminal.
    #[error("there is no such terminal")]
    TerminalNotFound,
    /// There is no such API key.
    #[error("there is no such API key")]
    ApiKeyNotFound,
    /// The caller would give or open what it may not touch itself.
    #[error("an API key limited to programs cannot open a program or give access to others")]
    BeyondCaller,
    /// The database.
    #[error(transparent)]
    Database(#[from] persistence::Error),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, problem: &'static str) -> Error {
        Error::Invalid { field, problem }
    }
}

impl persistence::IsRetryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Error::Database(error) if error.is_retryable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: Role, programs: Programs, terminal: Option<&str>) -> NewApiKey {
        NewApiKey { display_name: "till".to_owned(), role, programs, terminal: terminal.map(str::to_owned) }
    }

    #[test]
    fn a_terminal_key_is_good_for_its_program() {
        let terminal = Some("programs/tea/stores/s1/terminals/t1");
        let made = key(Role::Terminal, Programs::All, terminal).checked().unwrap();
        assert_eq!(made.programs, Programs::Only(["tea".to_owned()].into()));
        let other = Programs::Only(["coffee".to_owned()].into());
        assert!(matches!(key(Role::Terminal, other, terminal).checked(), Err(Error::Invalid { field: "programs", .. })));
        assert!(matches!(key(Role::Support, Programs::All, terminal).checked(), Err(Error::Invalid { field: "terminal", .. })));
    }

    #[test]
    fn a_secret_reads_back_and_nothing_else_does() {
        let secret = KeySecret::random("0123abc");
        let again = KeySecret::parse(&secret.reveal()).unwrap();
        assert_eq!((again.key_id(), again.hash()), ("0123abc", secret.hash()));
        assert_eq!(format!("{secret:?}"), "rk_0123abc_…");
        let text = secret.reveal();
        for bad in ["", "rk_", "rk__", &text[1..], &text[..text.len() - 1], &text.to_uppercase(), "rk_a b_00"] {
            assert!(KeySecret::parse(bad).is_none(), "{bad}");
        }
    }
}
