//! Events as they are written: one form for all services.

use kernel::{Context, Timestamp};
use persistence::NewEvent;
use prost::Message;
use proto::events::{Event, event::Payload};

use crate::wire::timestamp;

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// `programs/{program}`; empty for events of no program.
    pub program: String,
    /// `programs/{program}/members/{member}`; empty when no member is concerned.
    pub member: String,
    /// The name of what `aggregate_version` counts.
    pub aggregate: String,
    /// The aggregate's version after the event.
    pub aggregate_version: i64,
    /// When it happened in the world.
    pub occur_time: Timestamp,
    /// It tells old data.
    pub historical: bool,
}

/// An event to be written by `tx.append_event`, recorded now, with an id of its own. It keeps its order among the events of the
/// member, or of the aggregate where there is no member.
pub fn event(context: &Context, about: About, payload: Payload) -> NewEvent {
    let About { program, member, aggregate, aggregate_version, occur_time, historical } = about;
    let (id, at) = (context.uuid(), context.now());
    let stream = if member.is_empty() { aggregate.clone() } else { member.clone() };
    let event = Event {
        event_id: id.to_string(),
        program,
        member,
        aggregate,
        aggregate_version,
        occur_time: Some(timestamp(occur_time)),
        record_time: Some(timestamp(at)),
        historical,
        payload: Some(payload),
    };
    NewEvent { id, stream, at, payload: event.encode_to_vec() }
}
