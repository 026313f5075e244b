//! Parts of a member as the contracts write them: in answers, in events and inside the sealed profile.

use jiff::civil::Date;
use proto::events::MemberState;
use proto::{common, members as pb};

use crate::domain::member::State;
use crate::domain::profile::{AttributeValue, Attributes, civil};
use crate::error::Error;

/// A state as the contract numbers it.
pub(crate) fn state(state: &State) -> MemberState {
    match state {
        State::Active => MemberState::Active,
        State::Blocked { .. } => MemberState::Blocked,
        State::Closed { .. } => MemberState::Closed,
    }
}

/// Why the member is in this state; empty while it is active.
pub(crate) fn state_reason(state: &State) -> &str {
    match state {
        State::Active => "",
        State::Blocked { reason } | State::Closed { reason } => reason,
    }
}

/// Attributes in the order of their keys.
pub(crate) fn attribute_list(attributes: &Attributes) -> Vec<pb::Attribute> {
    use pb::attribute::Value;
    let value = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => Value::Text(text.clone()),
        AttributeValue::Number(number) => Value::Number(*number),
        AttributeValue::Decimal(text) => Value::Decimal(text.clone()),
        AttributeValue::Flag(flag) => Value::Flag(*flag),
        AttributeValue::Day(day) => Value::Day(date(*day)),
    };
    attributes.iter().map(|(key, found)| pb::Attribute { key: key.clone(), value: Some(value(found)) }).collect()
}

/// Reads attributes; `field` is the list's path. A key that is there twice and a day that does not exist are refused.
pub(crate) fn attributes(field: &str, list: Vec<pb::Attribute>) -> Result<Attributes, Error> {
    use pb::attribute::Value;
    let mut attributes = Attributes::new();
    for (place, pb::Attribute { key, value }) in list.into_iter().enumerate() {
        let field = format!("{field}[{place}]");
        let value = match value {
            Some(Value::Text(text)) => AttributeValue::Text(text),
            Some(Value::Number(number)) => AttributeValue::Number(number),
            Some(Value::Decimal(text)) => AttributeValue::Decimal(text),
            Some(Value::Flag(flag)) => AttributeValue::Flag(flag),
            Some(Value::Day(common::Date { year, month, day })) => AttributeValue::Day(
                civil(year, month, day).ok_or_else(|| Error::invalid(format!("{field}.day"), "must be a day that its month has"))?,
            ),
            None => return Err(Error::invalid(field, "must have a value")),
        };
        if attributes.insert(key, value).is_some() {
            return Err(Error::invalid(format!("{field}.key"), "is there twice"));
        }
    }
    Ok(attributes)
}

fn date(day: Date) -> common::Date {
    common::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}
