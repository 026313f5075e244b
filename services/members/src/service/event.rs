//! What the feed tells of members: never who they are.

use kernel::Timestamp;
use persistence::NewEvent;
use prost::Message;
use proto::events::event::Payload;
use proto::events::{Event, MemberChanged, MemberEnrolled};
use rpc::wire;
use uuid::Uuid;

use crate::domain::member::{Enrolment, Member};
use crate::domain::profile::Labels;
use crate::message;

/// Somebody became a member.
pub(super) fn enrolled(member: &Member, historical: bool, id: Uuid, now: Timestamp) -> NewEvent {
    let Enrolment { time, channel, store, referral_code } = &member.enrolment;
    let (birth_month, birth_day) = birthday(member);
    let payload = Payload::MemberEnrolled(MemberEnrolled {
        state: message::state(&member.state).into(),
        channel: channel.clone(),
        store: store.clone(),
        referral_code: referral_code.clone(),
        birth_month,
        birth_day,
        tags: list(&member.profile.tags),
        segments: list(&member.profile.segments),
    });
    event(member, payload, historical, id, *time, now)
}

/// Facts about a member changed.
pub(super) fn changed(member: &Member, id: Uuid, now: Timestamp) -> NewEvent {
    let (birth_month, birth_day) = birthday(member);
    let state = message::state(&member.state).into();
    let (tags, segments) = (list(&member.profile.tags), list(&member.profile.segments));
    let payload = Payload::MemberChanged(MemberChanged { state, birth_month, birth_day, tags, segments });
    event(member, payload, false, id, now, now)
}

fn event(member: &Member, payload: Payload, historical: bool, id: Uuid, occur: Timestamp, record: Timestamp) -> NewEvent {
    let name = member.name();
    let event = Event {
        event_id: id.to_string(),
        program: member.program.name(),
        member: name.clone(),
        aggregate: name.clone(),
        aggregate_version: member.version,
        occur_time: Some(wire::timestamp(occur)),
        record_time: Some(wire::timestamp(record)),
        historical,
        payload: Some(payload),
    };
    NewEvent { id, stream: name, at: record, payload: event.encode_to_vec() }
}

fn list(labels: &Labels) -> Vec<String> {
    labels.iter().cloned().collect()
}

/// Month and day of birth, each 0 when it is not known.
fn birthday(member: &Member) -> (i32, i32) {
    member.profile.birth_date.map_or((0, 0), |date| (date.month.into(), date.day.into()))
}
