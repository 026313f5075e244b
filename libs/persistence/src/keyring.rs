use std::collections::BTreeMap;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Error;

/// What a keyed hash is for. Hashes of one purpose tell nothing about those of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Identities of members: phone, e-mail, card, external id.
    Identity,
    /// Fields of requests, compared when a request id comes again.
    Fingerprint,
    /// Secrets that callers present: API keys, invitation tokens.
    Secret,
    /// Entries of books, chained: whoever can write the database and has not the key cannot change unseen what a seal covers.
    Seal,
    /// Seeds of keys that sign what others verify with the public half.
    Signing,
}

/// The contexts of BLAKE3's key derivation. They are part of every hash: changing one loses all hashes made with it.
const CONTEXTS: [&str; 5] = [
    "regulars 2026-01 identity hash",
    "regulars 2026-01 request fingerprint",
    "regulars 2026-01 secret hash",
    "regulars 2026-01 seal of books",
    "regulars 2026-01 seed of signing keys",
];
const WRAPPING_CONTEXT: &str = "regulars 2026-01 wrapping of data keys";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Versioned master keys and what is derived from them: keyed hashes, and keys that wrap data keys.
///
/// The highest version is the current one; older ones are kept to find and open what was made with them.
pub struct Keyring {
    versions: BTreeMap<u8, Version>,
}

struct Version {
    master: Zeroizing<[u8; KEY_BYTES]>,
    hashing: [Zeroizing<[u8; KEY_BYTES]>; CONTEXTS.len()],
    wrapping: DataKey,
}

/// A key that seals the data of one subject. Destroying its wrapped form erases the data.
pub struct DataKey {
    cipher: XChaCha20Poly1305,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl Keyring {
    /// A new random key as version 1.
    pub fn generate() -> Keyring {
        Keyring::of([(1, random())])
    }

    /// Reads `VERSION:HEX` entries, separated by commas or white space: versions 1 to 255, keys of 32 bytes.
    pub fn from_hex(text: &str) -> Result<Keyring, Error> {
        let mut keys = BTreeMap::new();
        for entry in text.split([',', ' ', '\t', '\r', '\n']).filter(|entry| !entry.is_empty()) {
            // Says nothing of what was found: it may be most of a key.
            let wrong = || Error::Configuration("a key is written VERSION:HEX, with a version of 1 to 255 and 64 hex digits".to_owned());
            let (version, digits) = entry.split_once(':').ok_or_else(wrong)?;
            let version = version.parse::<u8>().ok().filter(|version| *version > 0).ok_or_else(wrong)?;
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            hex::decode_to_slice(digits, &mut *key).map_err(|_| wrong())?;
            if keys.insert(version, key).is_some() {
                return Err(Error::Configuration(format!("key version {version} is given twice")));
            }
        }
        if keys.is_empty() {
            return Err(Error::Configuration("there is no key".to_owned()));
        }
        Ok(Keyring::of(keys))
    }

    /// The same keys in every run.
    pub fn for_tests() -> Keyring {
        Keyring::of([(1, Zeroizing::new([7; KEY_BYTES]))])
    }

    /// What [`Keyring::from_hex`] reads. This is the secret itself: for the file it is kept in and nowhere else.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let lines = self.versions.iter().map(|(version, keys)| format!("{version}:{}\n", hex::encode(*keys.master)));
        Zeroizing::new(lines.collect())
    }

    /// The version that new hashes and wrapped keys are made with.
    pub fn version(&self) -> u8 {
        self.current().0
    }

    /// All versions, the current one first.
    pub fn versions(&self) -> impl Iterator<Item = u8> {
        self.versions.keys().rev().copied()
    }

    /// Keyed hash of `bytes` within a scope (a program, a kind of identity), with the current key.
    pub fn hash(&self, purpose: Purpose, scope: &str, bytes: &[u8]) -> [u8; 32] {
        self.current().1.hash(purpose, scope, bytes)
    }

    /// The hash with every key, the current one first, each with its key's version: to find what an older key hashed.
    pub fn hashes(&self, purpose: Purpose, scope: &str, bytes: &[u8]) -> Vec<(u8, [u8; 32])> {
        self.versions.iter().rev().map(|(version, keys)| (*version, keys.hash(purpose, scope, bytes))).collect()
    }

    /// The hash with the key of one version; `None` when there is no such key any more.
    pub fn hash_at(&self, version: u8, purpose: Purpose, scope: &str, bytes: &[u8]) -> Option<[u8; 32]> {
        Some(self.versions.get(&version)?.hash(purpose, scope, bytes))
    }

    /// A new key for a subject, and its wrapped form, which is what is stored and opens for this subject only.
    pub fn new_data_key(&self, subject: Uuid) -> (DataKey, Vec<u8>) {
        let (version, keys) = self.current();
        let key = DataKey::of(random());
        let mut wrapped = vec![version];
        wrapped.extend_from_slice(&keys.wrapping.seal(&wrapping_context(subject), &*key.bytes));
        (key, wrapped)
    }

    /// Opens a stored key. Fails with [`Error::Corrupt`] when it was changed, is another subject's, or when the master key
    /// of its version is missing.
    pub fn unwrap(&self, subject: Uuid, wrapped: &[u8]) -> Result<DataKey, Error> {
        let (version, sealed) = wrapped.split_first().ok_or_else(|| Error::Corrupt("a wrapped key is empty".to_owned()))?;
        let keys = self.versions.get(version).ok_or_else(|| Error::Corrupt(format!("there is no key of version {version}")))?;
        let opened = Zeroizing::new(keys.wrapping.open(&wrapping_context(subject), sealed)?);
        let bytes = opened.as_slice().try_into().map_err(|_| Error::Corrupt("a wrapped key has a wrong length".to_owned()))?;
        Ok(DataKey::of(Zeroizing::new(bytes)))
    }

    fn of(keys: impl IntoIterator<Item = (u8, Zeroizing<[u8; KEY_BYTES]>)>) -> Keyring {
        let versions: BTreeMap<u8, Version> = keys.into_iter().map(|(version, master)| (version, Version::of(master))).collect();
        Keyring { versions }
    }

    fn current(&self) -> (u8, &Version) {
        let (version, keys) = self.versions.last_key_value().expect("a keyring is made with at least one key");
        (*version, keys)
    }
}

impl Version {
    fn of(master: Zeroizing<[u8; KEY_BYTES]>) -> Version {
        let derived = |context| Zeroizing::new(blake3::derive_key(context, &*master));
        Version { hashing: CONTEXTS.map(derived), wrapping: DataKey::of(derived(WRAPPING_CONTEXT)), master }
    }

    fn hash(&self, purpose: Purpose, scope: &str, bytes: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.hashing[purpose as usize]);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(scope.len() as u64).to_be_bytes()).update(scope.as_bytes()).update(bytes);
        hasher.finalize().into()
    }
}

impl DataKey {
    /// Encrypts and authenticates. The context (what the value is and whose) must be the same when it is opened.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE_BYTES];
        // 24 random bytes: two equal ones are out of the question, so nothing has to count.
        rand::fill(&mut sealed[..]);
        let nonce = XNonce::try_from(&sealed[..]).expect("it has the nonce's length");
        let text = self.cipher.encrypt(&nonce, Payload { msg: plain, aad: context.as_bytes() });
        sealed.extend_from_slice(&text.expect("a value is far shorter than the cipher's 256 gigabytes"));
        sealed
    }

    /// Decrypts. Fails with [`Error::Corrupt`] for another key or context and when a single bit was changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let wrong = || Error::Corrupt("a sealed value does not open".to_owned());
        let (nonce, text) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(wrong)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| wrong())?;
        self.cipher.decrypt(&nonce, Payload { msg: text, aad: context.as_bytes() }).map_err(|_| wrong())
    }

    fn of(bytes: Zeroizing<[u8; KEY_BYTES]>) -> DataKey {
        DataKey { cipher: XChaCha20Poly1305::new_from_slice(&*bytes).expect("it has the key's length"), bytes }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("versions", &self.versions.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

fn random() -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut bytes[..]);
    bytes
}

fn wrapping_context(subject: Uuid) -> String {
    format!("data key of {subject}")
}
