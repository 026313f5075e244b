use std::fmt;
use std::time::Duration;

use kernel::{Money, NameError, ProgramId, Timestamp, name};

/// A plan's id: 1 to 40 of `a-z`, `0-9` and `-`, not beginning with `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanId(String);

impl PlanId {
    /// Checks the form of an id.
    pub fn parse(id: &str) -> Option<PlanId> {
        let plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (plain && !id.is_empty() && !id.starts_with('-') && id.len() <= 40).then(|| PlanId(id.to_owned()))
    }

    /// Reads `programs/{program}/plans/{plan}`.
    pub fn from_name(text: &str) -> Result<(ProgramId, PlanId), NameError> {
        const PATTERN: &str = "programs/{program}/plans/{plan}";
        let [program, plan] = name::segments(text, PATTERN)?;
        Ok((ProgramId::parse(program)?, PlanId::parse(plan).ok_or(NameError { pattern: PATTERN })?))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `programs/{program}/plans/{plan}`.
    pub fn name(&self, program: &ProgramId) -> String {
        format!("programs/{program}/plans/{self}")
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One version of a plan; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The program.
    pub program: ProgramId,
    /// The id, the same in all versions.
    pub id: PlanId,
    /// The version, from 1.
    pub version: i64,
    /// What operators call it.
    pub display_name: String,
    /// One line for landing pages.
    pub public_title: String,
    /// The offer in words, for landing pages.
    pub public_text: String,
    /// Points for the advocate; `None` when only friends are rewarded.
    pub advocate_points: Option<i64>,
    /// Points for the friend; `None` when only advocates are rewarded.
    pub friend_points: Option<i64>,
    /// What the friend's first purchase must come to, and must still come to after returns.
    pub minimum_net: Money,
    /// The first purchase must occur less than this after the enrolment.
    pub within: Duration,
    /// A friend who named no code when enrolling can be attributed so long afterwards.
    pub attribution_window: Duration,
    /// Time from the purchase to the approval.
    pub hold: Duration,
    /// Referrals of this plan for which an advocate is rewarded at most; `None` is without limit.
    pub advocate_reward_limit: Option<i64>,
    /// When this version was made.
    pub create_time: Timestamp,
}
