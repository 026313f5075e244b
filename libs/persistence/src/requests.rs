use std::fmt;

use kernel::{ProgramId, Timestamp};
use prost::{Message, Name};
use proto::check::Checked;
use proto::fingerprint::Path;
use uuid::Uuid;

use crate::{Connection, DataKey, DbTime, Error, Keyring, Purpose, Tx, on_engine};

/// The path that stands for the method in a fingerprint; no field has it.
const METHOD: Path = 0;
const HASH_BYTES: usize = 8;
const PART_BYTES: usize = 4 + HASH_BYTES;

/// A caller's request: the key under which it is remembered, and fingerprints that tell another payload from the same.
///
/// A fingerprint is a keyed hash of each field, one level deep, so it holds no personal data and can still name the field that
/// differs: `purchase.net`. The message's type stands for the method.
#[derive(Clone)]
pub struct RequestKey {
    id: Uuid,
    message: String,
    /// With each version of the key, the current one first: what is stored may be older than the current key.
    fingerprints: Vec<Vec<u8>>,
}

/// The answer a request was given when it came first.
#[derive(Clone, PartialEq, Eq)]
pub struct Remembered {
    request: Uuid,
    answer: Vec<u8>,
    sealed: bool,
    /// Whom the answer is about, where one was named; its data key opens a sealed answer.
    pub subject: Option<Uuid>,
}

#[derive(sqlx::FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    answer: Vec<u8>,
    sealed: bool,
    subject: Option<Uuid>,
}

impl RequestKey {
    /// The key of a request in a program.
    pub fn new<M: Message + Name + Checked>(keyring: &Keyring, program: &ProgramId, request_id: &str, message: &M) -> RequestKey {
        let mut id = blake3::Hasher::new_derive_key("regulars 2026-01 request id");
        // A program's id has no slash, so the two parts cannot run into each other.
        id.update(program.as_str().as_bytes()).update(b"/").update(request_id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&id.finalize().as_bytes()[..16]);

        let encoded = message.encode_to_vec();
        let fields = proto::fingerprint::fields::<M>(&encoded);
        let name = M::full_name();
        let fingerprints = keyring.versions().map(|version| fingerprint(keyring, version, &name, &fields)).collect();
        RequestKey { id: Uuid::from_bytes(bytes), message: name, fingerprints }
    }

    /// What the request is found by: a hash of program and request id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What is stored with the answer, to be checked by [`RequestKey::check`] when the request id comes again.
    pub fn fingerprint(&self) -> &[u8] {
        &self.fingerprints[0]
    }

    /// Compares with what was stored when the request id came first. Fails with [`Error::RequestIdReused`], which names the
    /// first field that differs. A fingerprint whose key has been removed tells nothing and passes.
    pub fn check(&self, stored: &[u8]) -> Result<(), Error> {
        let Some(mine) = self.fingerprints.iter().find(|mine| mine.first() == stored.first()) else { return Ok(()) };
        match first_difference(mine, stored) {
            None => Ok(()),
            Some(METHOD) => Err(Error::RequestIdReused { field: "method".to_owned() }),
            Some(path) => {
                let name = proto::fingerprint::field_name(&self.message, path);
                Err(Error::RequestIdReused { field: name.unwrap_or_else(|| format!("field {path:#x}")) })
            }
        }
    }
}

/// The key's version, then per part its path and the hash of what it holds: the method, then the fields by number.
fn fingerprint(keyring: &Keyring, version: u8, message: &str, fields: &[(Path, &[u8])]) -> Vec<u8> {
    let mut fingerprint = Vec::with_capacity(1 + PART_BYTES * (1 + fields.len()));
    fingerprint.push(version);
    let method = (METHOD, message.as_bytes());
    for (path, bytes) in std::iter::once(method).chain(fields.iter().copied()) {
        let hash = keyring.hash_at(version, Purpose::Fingerprint, "", bytes).expect("the version is one of the keyring's");
        fingerprint.extend_from_slice(&path.to_be_bytes());
        fingerprint.extend_from_slice(&hash[..HASH_BYTES]);
    }
    fingerprint
}

/// The lowest path whose part is not the same in both, or is in one only.
fn first_difference(one: &[u8], other: &[u8]) -> Option<Path> {
    let parts = |fingerprint: &[u8]| fingerprint.get(1..).unwrap_or_default().as_chunks::<PART_BYTES>().0.to_vec();
    let (one, other) = (parts(one), parts(other));
    let only_in = |these: &[[u8; PART_BYTES]], those: &[[u8; PART_BYTES]]| these.iter().find(|part| !those.contains(part)).copied();
    let differing = [only_in(&one, &other), only_in(&other, &one)].into_iter().flatten();
    // Parts are in the order of their paths, so the first of each side is its lowest.
    differing.map(|part| Path::from_be_bytes([part[0], part[1], part[2], part[3]])).min()
}

impl Remembered {
    /// The answer, byte for byte. A sealed one needs the key of its subject; when that was destroyed, so is the answer.
    pub fn bytes(self, seal: Option<&DataKey>) -> Result<Vec<u8>, Error> {
        match (self.sealed, seal) {
            (false, _) => Ok(self.answer),
            (true, Some(key)) => key.open(&sealing_context(self.request), &self.answer),
            (true, None) => Err(Error::Corrupt("a sealed answer has no key".to_owned())),
        }
    }

    /// The answer as the message it is.
    pub fn message<M: Message + Default>(self, seal: Option<&DataKey>) -> Result<M, Error> {
        let bytes = self.bytes(seal)?;
        M::decode(&bytes[..]).map_err(|_| Error::Corrupt("a remembered answer is of another type".to_owned()))
    }
}

impl Tx {
    /// The first answer to this request; `None` when it is new. To be asked before every business check.
    ///
    /// Fails with [`Error::RequestIdReused`] when the request id came with another payload.
    pub async fn remembered(&mut self, request: &RequestKey) -> Result<Option<Remembered>, Error> {
        // The same request sent twice at once: the second waits for the first here, so that the next statement sees its answer
        // instead of colliding with what it wrote. SQLite's one writer needs no such lock.
        if let Connection::Postgres(conn) = self.connection() {
            let (lock, _) = request.id.as_u64_pair();
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock.cast_signed()).execute(conn).await?;
        }
        let row: Option<Row> =
            on_engine!(self, |conn| sqlx::query_as("SELECT fingerprint, answer, sealed, subject FROM requests WHERE request_key = $1")
                .bind(request.id)
                .fetch_optional(conn)
                .await)?;
        let Some(Row { fingerprint, answer, sealed, subject }) = row else { return Ok(None) };
        request.check(&fingerprint)?;
        Ok(Some(Remembered { request: request.id, answer, sealed, subject }))
    }

    /// Remembers the answer for ever, in the transaction that did what was asked. With `seal`, the subject's data key, it is
    /// stored encrypted, so that it is gone when the key is.
    ///
    /// Fails with [`Error::Conflict`] when the same request has been answered meanwhile: the next attempt finds that answer.
    pub async fn remember(
        &mut self,
        request: &RequestKey,
        answer: &[u8],
        subject: Option<Uuid>,
        seal: Option<&DataKey>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = seal.map(|key| key.seal(&sealing_context(request.id), answer));
        let written = on_engine!(self, |conn| sqlx::query(
            "INSERT INTO requests (request_key, fingerprint, answer, sealed, subject, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (request_key) DO NOTHING",
        )
        .bind(request.id)
        .bind(request.fingerprint())
        .bind(sealed.as_deref().unwrap_or(answer))
        .bind(sealed.is_some())
        .bind(subject)
        .bind(DbTime(now))
        .execute(conn)
        .await?
        .rows_affected());
        if written == 1 { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Forgets the content of every answer about a subject, but not that the requests were carried out.
    pub async fn erase_answers(&mut self, subject: Uuid) -> Result<u64, Error> {
        Ok(on_engine!(self, |conn| sqlx::query("UPDATE requests SET answer = $2, sealed = $3, subject = NULL WHERE subject = $1")
            .bind(subject)
            .bind(&b""[..])
            .bind(false)
            .execute(conn)
            .await?
            .rows_affected()))
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey").field("id", &self.id).field("message", &self.message).finish_non_exhaustive()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("request", &self.request).field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

fn sealing_context(request: Uuid) -> String {
    format!("answer to {request}")
}
