//! What the feeds of members and tiers tell, kept as facts for the awards to come.

use std::sync::Arc;

use kernel::{Context, MemberId, ProgramId, name};
use persistence::Tx;
use proto::events::event::Payload;
use proto::events::{Event, MemberState, TierChanged};
use rpc::wire::moment;
use rpc::{EventHandler, HandlerError};
use rust_decimal::Decimal;

use crate::domain::{AccountId, Birthday, Facts, MemberStatus, TierInterval};
use crate::program::Programs;
use crate::{occasions, store};

/// Keeps the facts of the members feed: whether somebody may earn and redeem, on which day of the year he was born, his tags and segments. What
/// that brings of gifts is written with it.
pub(crate) struct MemberFacts {
    pub(crate) programs: Arc<Programs>,
    pub(crate) context: Context,
}

/// Keeps the facts of the tiers feed: which tier held when.
pub(crate) struct TierFacts;

impl EventHandler for MemberFacts {
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let (state, birthday, tags, segments) = match &event.payload {
            Some(Payload::MemberEnrolled(told)) => {
                (told.state(), Birthday::new(told.birth_month, told.birth_day), &told.tags, &told.segments)
            }
            Some(Payload::MemberChanged(told)) => {
                (told.state(), Birthday::new(told.birth_month, told.birth_day), &told.tags, &told.segments)
            }
            _ => return Ok(()),
        };
        let status = match state {
            MemberState::Active => MemberStatus::Active,
            MemberState::Blocked => MemberStatus::Blocked,
            MemberState::Closed => MemberStatus::Closed,
            // A state that this version does not know must not unblock anybody.
            MemberState::Unspecified => return Ok(()),
        };
        let (tags, segments) = (tags.clone(), segments.clone());
        let named = member(event)?;
        let is_new = change(tx, &named, |facts| *facts = Facts { status, birthday, tags, segments, ..std::mem::take(facts) }).await?;
        let joined = matches!(event.payload, Some(Payload::MemberEnrolled(_))).then_some(event.occur_time.as_ref()).flatten();
        let joined_at = joined.map(|at| moment("occur_time", at)).transpose();
        let joined_at = joined_at.map_err(|status| HandlerError::refused(status.message()))?;
        // Nobody is to hear of old data.
        if (is_new || joined_at.is_some()) && !event.historical {
            occasions::told(tx, &self.programs, (&named.0, named.1), joined_at, self.context.now()).await?;
        }
        Ok(())
    }
}

impl EventHandler for TierFacts {
    async fn handle(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let Some(Payload::TierChanged(changed)) = &event.payload else { return Ok(()) };
        let interval = interval(changed)?;
        let scheme = changed.scheme.clone();
        change(tx, &member(event)?, move |facts| supersede(&mut facts.tiers, &scheme, interval)).await?;
        Ok(())
    }
}

/// The feed gives the events of a member in order, so each one builds on what those before it have told. Says whether that was anything new.
async fn change(tx: &mut Tx, (program, member): &(ProgramId, MemberId), change: impl FnOnce(&mut Facts)) -> Result<bool, HandlerError> {
    // Two consumers write the facts of one member: the lock keeps them from overwriting each other.
    let mut facts = store::lock_facts(tx, program, *member).await?;
    let before = facts.clone();
    change(&mut facts);
    let is_new = facts != before;
    if is_new {
        facts.version += 1;
        store::write_facts(tx, AccountId::of(program, *member), &facts).await?;
    }
    Ok(is_new)
}

fn member(event: &Event) -> Result<(ProgramId, MemberId), HandlerError> {
    name::member(&event.member).map_err(|error| HandlerError::refused(error.to_string()))
}

fn interval(changed: &TierChanged) -> Result<TierInterval, HandlerError> {
    let time = |field: &str, value: &prost_types::Timestamp| moment(field, value).map_err(|status| HandlerError::refused(status.message()));
    let start = changed.start_time.as_ref().ok_or_else(|| HandlerError::refused("a tier without a start"))?;
    let multiplier = if changed.multiplier.is_empty() { "1" } else { &changed.multiplier };
    let multiplier: Decimal = multiplier.parse().map_err(|_| HandlerError::refused("a tier whose multiplier is no decimal"))?;
    if multiplier.is_sign_negative() {
        return Err(HandlerError::refused("a tier whose multiplier is negative"));
    }
    Ok(TierInterval {
        scheme: changed.scheme.clone(),
        tier: changed.tier.clone(),
        multiplier,
        start_at: time("start_time", start)?,
        end_at: changed.end_time.as_ref().map(|end| time("end_time", end)).transpose()?,
    })
}

/// Intervals of one scheme do not overlap: the newest knowledge replaces what it overlaps.
fn supersede(tiers: &mut Vec<TierInterval>, scheme: &str, new: TierInterval) {
    let end = new.end_at;
    let mut kept = Vec::with_capacity(tiers.len() + 2);
    for old in tiers.drain(..) {
        let overlaps = old.scheme == scheme && end.is_none_or(|end| old.start_at < end) && old.end_at.is_none_or(|end| end > new.start_at);
        if !overlaps {
            kept.push(old);
            continue;
        }
        if old.start_at < new.start_at {
            kept.push(TierInterval { end_at: Some(new.start_at), ..old.clone() });
        }
        if let Some(end) = end
            && old.end_at.is_none_or(|old_end| old_end > end)
        {
            kept.push(TierInterval { start_at: end, ..old });
        }
    }
    if !new.tier.is_empty() {
        kept.push(new);
    }
    kept.sort_by(|a, b| (a.start_at, &a.scheme).cmp(&(b.start_at, &b.scheme)));
    *tiers = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Timestamp;

    fn tier(name: &str, start: i64, end: Option<i64>) -> TierInterval {
        TierInterval {
            scheme: "s".to_owned(),
            tier: name.to_owned(),
            multiplier: Decimal::ONE,
            start_at: Timestamp::from_micros(start),
            end_at: end.map(Timestamp::from_micros),
        }
    }

    #[test]
    fn newer_knowledge_replaces_what_it_overlaps() {
        let mut tiers = Vec::new();
        supersede(&mut tiers, "s", tier("silver", 10, Some(100)));
        supersede(&mut tiers, "s", tier("gold", 40, Some(140)));
        assert_eq!(tiers, [tier("silver", 10, Some(40)), tier("gold", 40, Some(140))]);
        supersede(&mut tiers, "s", tier("silver", 60, None));
        assert_eq!(tiers, [tier("silver", 10, Some(40)), tier("gold", 40, Some(60)), tier("silver", 60, None)]);
        supersede(&mut tiers, "s", tier("", 80, None));
        assert_eq!(tiers.last(), Some(&tier("silver", 60, Some(80))), "a tier that was left ends");
        supersede(&mut tiers, "s", tier("gold", 45, Some(50)));
        assert_eq!(tiers[1..3], [tier("gold", 40, Some(45)), tier("gold", 45, Some(50))]);
    }
}
