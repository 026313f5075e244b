//! The personal part of a member as it is sealed: one protobuf message, so that fields may be added.

use prost::Message;
use proto::members as pb;

use crate::domain::identity::Identity;
use crate::domain::member::Profile;
use crate::domain::profile::BirthDate;
use crate::message;

/// What is under the seal. Its parts are messages of the contract, which never changes in a way that breaks them.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(string, tag = "1")]
    display_name: String,
    #[prost(message, repeated, tag = "2")]
    identities: Vec<pb::Identity>,
    #[prost(message, optional, tag = "3")]
    birth_date: Option<pb::BirthDate>,
    #[prost(string, tag = "4")]
    preferred_language: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<pb::Attribute>,
    #[prost(string, repeated, tag = "6")]
    tags: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    segments: Vec<String>,
}

/// The bytes to seal.
pub(super) fn encode(profile: &Profile) -> Vec<u8> {
    let Profile { display_name, identities, birth_date, preferred_language, attributes, tags, segments } = profile;
    let record = Record {
        display_name: display_name.clone(),
        identities: identities.iter().map(identity_message).collect(),
        birth_date: birth_date.map(|BirthDate { year, month, day }| pb::BirthDate {
            year: year.map_or(0, i32::from),
            month: month.into(),
            day: day.into(),
        }),
        preferred_language: preferred_language.clone(),
        attributes: message::attribute_list(attributes),
        tags: tags.iter().cloned().collect(),
        segments: segments.iter().cloned().collect(),
    };
    record.encode_to_vec()
}

/// Reads what [`encode`] wrote; `None` when it is something else.
pub(super) fn decode(bytes: &[u8]) -> Option<Profile> {
    let Record { display_name, identities, birth_date, preferred_language, attributes, tags, segments } = Record::decode(bytes).ok()?;
    Some(Profile {
        display_name,
        identities: identities.into_iter().map(identity).collect::<Option<_>>()?,
        birth_date: match birth_date {
            Some(date) => Some(birth(date)?),
            None => None,
        },
        preferred_language,
        attributes: message::attributes("attributes", attributes).ok()?,
        tags: tags.into_iter().collect(),
        segments: segments.into_iter().collect(),
    })
}

fn identity_message(identity: &Identity) -> pb::Identity {
    use pb::identity::Value;
    let value = match identity {
        Identity::Phone(value) => Value::Phone(value.clone()),
        Identity::Email(value) => Value::Email(value.clone()),
        Identity::ExternalId(value) => Value::ExternalId(value.clone()),
        Identity::Card(value) => Value::Card(value.clone()),
        Identity::Account { namespace, id } => Value::Account(pb::Account { namespace: namespace.clone(), id: id.clone() }),
    };
    pb::Identity { value: Some(value), region_code: String::new() }
}

/// What was normalised when it came in is taken as it is.
fn identity(message: pb::Identity) -> Option<Identity> {
    use pb::identity::Value;
    Some(match message.value? {
        Value::Phone(value) => Identity::Phone(value),
        Value::Email(value) => Identity::Email(value),
        Value::ExternalId(value) => Identity::ExternalId(value),
        Value::Card(value) => Identity::Card(value),
        Value::Account(pb::Account { namespace, id }) => Identity::Account { namespace, id },
    })
}

fn birth(date: pb::BirthDate) -> Option<BirthDate> {
    let pb::BirthDate { year, month, day } = date;
    let year = i16::try_from(year).ok()?;
    Some(BirthDate { year: (year != 0).then_some(year), month: i8::try_from(month).ok()?, day: i8::try_from(day).ok()? })
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::*;
    use crate::domain::profile::{AttributeValue, Attributes, Labels};

    #[test]
    fn a_profile_comes_back_as_it_was() {
        let full = Profile {
            display_name: "张三".to_owned(),
            identities: vec![
                Identity::Phone("+8613812345678".to_owned()),
                Identity::Email("a@example.com".to_owned()),
                Identity::ExternalId("0001".to_owned()),
                Identity::Card("6222 0001".to_owned()),
                Identity::Account { namespace: "wechat_openid".to_owned(), id: "oABC".to_owned() },
            ],
            birth_date: Some(BirthDate { year: None, month: 2, day: 29 }),
            preferred_language: "zh-CN".to_owned(),
            attributes: Attributes::from([
                ("drink".to_owned(), AttributeValue::Text("oat_milk".to_owned())),
                ("children".to_owned(), AttributeValue::Number(2)),
                ("height".to_owned(), AttributeValue::Decimal("1.75".to_owned())),
                ("vegan".to_owned(), AttributeValue::Flag(false)),
                ("due".to_owned(), AttributeValue::Day(Date::constant(2026, 9, 30))),
            ]),
            tags: Labels::from(["staff".to_owned(), "vegan".to_owned()]),
            segments: Labels::from(["lapsing".to_owned()]),
        };
        assert!(decode(&encode(&full)) == Some(full.clone()));
        let with_year = Profile { birth_date: Some(BirthDate { year: Some(1990), month: 5, day: 17 }), ..full };
        assert!(decode(&encode(&with_year)) == Some(with_year));
        assert!(decode(b"something else").is_none());
    }
}
