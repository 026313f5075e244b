use kernel::Timestamp;
use persistence::Error;
use prost::Message;

use super::{corrupt, decimal, decode, time};
use crate::domain::{Birthday, Facts, MemberStatus, TierInterval};

#[derive(Clone, PartialEq, Message)]
struct StoredFacts {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(message, repeated, tag = "2")]
    tiers: Vec<StoredTier>,
    /// 0 where the birthday is not known.
    #[prost(int32, tag = "3")]
    birth_month: i32,
    #[prost(int32, tag = "4")]
    birth_day: i32,
    #[prost(string, repeated, tag = "5")]
    tags: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    segments: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTier {
    #[prost(string, tag = "1")]
    scheme: String,
    #[prost(string, tag = "2")]
    tier: String,
    #[prost(string, tag = "3")]
    multiplier: String,
    #[prost(int64, tag = "4")]
    start_at: i64,
    #[prost(int64, optional, tag = "5")]
    end_at: Option<i64>,
}

pub(in crate::store) fn encode_facts(facts: &Facts) -> Vec<u8> {
    let tiers = facts.tiers.iter().map(|tier| StoredTier {
        scheme: tier.scheme.clone(),
        tier: tier.tier.clone(),
        multiplier: tier.multiplier.to_string(),
        start_at: tier.start_at.as_micros(),
        end_at: tier.end_at.map(Timestamp::as_micros),
    });
    let status = match facts.status {
        MemberStatus::Active => 0,
        MemberStatus::Blocked => 1,
        MemberStatus::Closed => 2,
    };
    let (birth_month, birth_day) = facts.birthday.map_or((0, 0), |birthday| (birthday.month.into(), birthday.day.into()));
    let (tags, segments) = (facts.tags.clone(), facts.segments.clone());
    StoredFacts { status, tiers: tiers.collect(), birth_month, birth_day, tags, segments }.encode_to_vec()
}

pub(in crate::store) fn decode_facts(version: i64, bytes: &[u8]) -> Result<Facts, Error> {
    let stored: StoredFacts = decode(bytes, "facts of a member")?;
    let tier = |tier: StoredTier| -> Result<TierInterval, Error> {
        Ok(TierInterval {
            multiplier: decimal(&tier.multiplier)?,
            scheme: tier.scheme,
            tier: tier.tier,
            start_at: time(tier.start_at),
            end_at: tier.end_at.map(time),
        })
    };
    let status = match stored.status {
        0 => MemberStatus::Active,
        1 => MemberStatus::Blocked,
        2 => MemberStatus::Closed,
        _ => return Err(corrupt("status of a member")),
    };
    let birthday = Birthday::new(stored.birth_month, stored.birth_day);
    let tiers = stored.tiers.into_iter().map(tier).collect::<Result<_, _>>()?;
    Ok(Facts { version, status, tiers, birthday, tags: stored.tags, segments: stored.segments })
}
