//! Vouchers for tills without a connection: a claim that is signed, so that whoever has the public key can believe it.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use kernel::{Timestamp, Uuid};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// How an offline code begins: it tells one from the code of a voucher, and its format from those to come.
const PREFIX: &str = "RV1.";
/// What is signed begins so: no signature for anything else can be shown as one of a voucher.
const CONTEXT: &[u8] = b"regulars offline voucher 1\0";
const SIGNATURE_BYTES: usize = 64;
/// Longest claim: its code has less than 1,100 characters, and a QR code for it can be printed.
const CLAIM_BYTES_MAX: usize = 600;

/// How far the clock of a till without a connection may be wrong.
pub const OFFLINE_SKEW: Duration = Duration::from_secs(300);

/// Signs the offline codes of one program with one version of the master key.
pub struct OfflineSigner {
    pair: Ed25519KeyPair,
    key_version: u8,
}

impl OfflineSigner {
    /// The signer that a seed makes.
    pub fn of_seed(seed: &[u8; 32], key_version: u8) -> OfflineSigner {
        OfflineSigner { pair: Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes"), key_version }
    }

    /// What tills verify with.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The code of a claim; `None` when it is too long to be printed.
    pub fn code(&self, claim: &[u8]) -> Option<String> {
        if claim.len() > CLAIM_BYTES_MAX {
            return None;
        }
        let mut bytes = vec![self.key_version];
        bytes.extend_from_slice(claim);
        let signature = self.pair.sign(&signed(&bytes));
        bytes.extend_from_slice(signature.as_ref());
        Some(format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes)))
    }
}

/// An offline code as it was read. Nothing of it is to be believed yet.
pub struct OfflineCode {
    bytes: Vec<u8>,
}

impl OfflineCode {
    /// Whether a text is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads one. There is one text for each: in capitals, without spaces.
    pub fn parse(text: &str) -> Option<OfflineCode> {
        let bytes = BASE32_NOPAD.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
        let claim = bytes.len().checked_sub(1 + SIGNATURE_BYTES)?;
        (claim <= CLAIM_BYTES_MAX).then_some(OfflineCode { bytes })
    }

    /// The version of the master key that it says it was signed with.
    pub fn key_version(&self) -> u8 {
        self.bytes[0]
    }

    /// What it claims, when the public key of that version says so.
    pub fn verified(&self, public_key: &[u8]) -> Option<&[u8]> {
        let (said, signature) = self.bytes.split_at(self.bytes.len() - SIGNATURE_BYTES);
        UnparsedPublicKey::new(&ED25519, public_key).verify(&signed(said), signature).ok()?;
        Some(&said[1..])
    }
}

fn signed(said: &[u8]) -> Vec<u8> {
    [CONTEXT, said].concat()
}

/// What an offline code claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The voucher.
    pub voucher: Uuid,
    /// When the code was issued.
    pub issued_at: Timestamp,
    /// Until when a till may accept it, exclusive.
    pub expires_at: Timestamp,
}

impl Claim {
    /// Whether a till could accept it at a moment, as far as its clock can be believed.
    pub fn holds_at(&self, moment: Timestamp) -> bool {
        self.issued_at - OFFLINE_SKEW <= moment && moment < self.expires_at + OFFLINE_SKEW
    }
}

/// What a till without a connection did, as it told afterwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfflineUse {
    /// The hash of program, terminal and number.
    pub key: Uuid,
    /// The till.
    pub terminal: String,
    /// Counts what the till did without a connection.
    pub sequence: i64,
    /// When, by its clock.
    pub occurred_at: Timestamp,
}

/// What became of a use without a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfflineResult {
    /// The voucher is bound to its order.
    Bound,
    /// It had been used for another order: the discount is lost.
    Duplicate,
    /// It had been revoked or refunded: the discount is lost.
    NotGood,
    /// Its order was cancelled: nothing is lost any more.
    Voided,
}

impl OfflineResult {
    /// Whether what it took off is lost.
    pub fn is_loss(self) -> bool {
        matches!(self, OfflineResult::Duplicate | OfflineResult::NotGood)
    }
}
