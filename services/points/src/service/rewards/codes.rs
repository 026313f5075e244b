//! Codes of vouchers. They are derived from the voucher's id with the master key, so whoever has the database has no code: it holds keyed
//! hashes only, and remembered answers have their codes filled in when they are sent.

use kernel::{ProgramId, Uuid};
use persistence::{Keyring, Purpose};
use proto::common::Role;

use super::super::Rpcs;
use crate::domain::rewards::{Code, CodeSeal};

/// Part of every code: changing it loses all codes that were issued.
const SCOPE: &str = "voucher code";

impl Rpcs {
    /// What the code of a new voucher will be found by.
    pub(super) fn seal(&self, program: &ProgramId, voucher: Uuid) -> CodeSeal {
        let version = self.keyring.version();
        let code = derived(&self.keyring, version, voucher).expect("the keyring has its current version");
        let hash = self.keyring.hash(Purpose::Secret, &lookup(program), &code.canonical());
        CodeSeal { hash, key_version: i64::from(version) }
    }

    /// The code of a voucher; `None` when its key has been removed.
    pub(super) fn code(&self, voucher: Uuid, key_version: i64) -> Option<Code> {
        derived(&self.keyring, u8::try_from(key_version).ok()?, voucher)
    }

    /// What a code may be found by: with each version of the key, the current one first.
    pub(super) fn code_hashes(&self, program: &ProgramId, code: &Code) -> Vec<[u8; 32]> {
        self.keyring.hashes(Purpose::Secret, &lookup(program), &code.canonical()).into_iter().map(|(_, hash)| hash).collect()
    }
}

fn lookup(program: &ProgramId) -> String {
    format!("voucher {program}")
}

fn derived(keyring: &Keyring, version: u8, voucher: Uuid) -> Option<Code> {
    let hash = keyring.hash_at(version, Purpose::Secret, SCOPE, voucher.as_bytes())?;
    let secret = hash.first_chunk().expect("a hash has 32 bytes");
    Some(Code::of_secret(*secret))
}

/// Who may read the codes of vouchers: back ends that show them to their members.
pub(super) fn reads_codes(role: Role) -> bool {
    matches!(role, Role::Platform | Role::Service)
}

/// Who is told the code of a voucher when it is issued: a till prints it, too.
pub(super) fn is_told_code(role: Role) -> bool {
    reads_codes(role) || role == Role::Terminal
}
