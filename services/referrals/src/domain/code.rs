use std::fmt;

use kernel::{MemberId, ProgramId, Timestamp};

use super::PlanId;

/// What codes are written in: capitals and digits that are not taken for one another (no 0, O, 1, I, L and no U).
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 12;

/// A code in its one canonical form: twelve characters of the alphabet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CodeText(String);

impl CodeText {
    /// A code out of random bytes. There are 30^12, about 5 * 10^17; with a million codes issued, somebody who tries a thousand
    /// a second for a year hits one with a probability of six per cent, and the limits of the server are far below that rate.
    pub fn from_random(bytes: [u8; 16]) -> CodeText {
        let mut number = u128::from_be_bytes(bytes);
        let text = std::iter::repeat_with(|| {
            let digit = (number % 30) as usize;
            number /= 30;
            char::from(ALPHABET[digit])
        });
        CodeText(text.take(LENGTH).collect())
    }

    /// Reads a code as people type it: in any case, with hyphens and spaces. `None` for what cannot be a code.
    pub fn parse(typed: &str) -> Option<CodeText> {
        let text: String = typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        let good = text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte));
        good.then_some(CodeText(text))
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Holding a code is a right: it stays out of logs.
impl fmt::Debug for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeText(…)")
    }
}

/// A code that an advocate hands on for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The program it is good in.
    pub program: ProgramId,
    /// The code.
    pub text: CodeText,
    /// Who hands it on.
    pub advocate: MemberId,
    /// What for.
    pub plan: PlanId,
    /// What a landing page may call the advocate; personal data, chosen for that purpose. Empty when nothing was chosen.
    pub display_label: String,
    /// Friends who may be attributed by it; `None` is without limit.
    pub use_limit: Option<i64>,
    /// Friends who have been attributed by it.
    pub use_count: i64,
    /// Referrals for which the advocate is or will be rewarded.
    pub reward_count: i64,
    /// From when on it is not good.
    pub expire_time: Option<Timestamp>,
    /// When it was issued.
    pub create_time: Timestamp,
    /// When it was revoked.
    pub revoke_time: Option<Timestamp>,
}

/// Whether a code is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeState {
    /// Friends can be attributed by it.
    Active,
    /// Its expiry has passed.
    Expired,
    /// It has been used as often as it may.
    Exhausted,
    /// It has been ended for ever.
    Revoked,
}

impl Code {
    /// The state at a moment. Revoking is a decision against the code and holds whatever the moment.
    pub fn state(&self, at: Timestamp) -> CodeState {
        if self.revoke_time.is_some() {
            CodeState::Revoked
        } else if self.expire_time.is_some_and(|expiry| expiry <= at) {
            CodeState::Expired
        } else if self.use_limit.is_some_and(|limit| self.use_count >= limit) {
            CodeState::Exhausted
        } else {
            CodeState::Active
        }
    }

    /// Ends the code for ever; the first revocation stands.
    #[must_use]
    pub fn revoked(self, now: Timestamp) -> Code {
        Code { revoke_time: self.revoke_time.or(Some(now)), ..self }
    }

    /// One more friend has been attributed by it.
    #[must_use]
    pub fn used(self) -> Code {
        Code { use_count: self.use_count + 1, ..self }
    }

    /// `programs/{program}/codes/{code}`.
    pub fn name(&self) -> String {
        format!("programs/{}/codes/{}", self.program, self.text)
    }
}
