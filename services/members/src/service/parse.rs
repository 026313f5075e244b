//! Requests into what the domain knows. What the contract's field rules say has been checked before.

use std::ops::RangeInclusive;

use jiff::civil::Date;
use kernel::{MemberId, ProgramId, Timestamp, name};
use proto::common::Role;
use proto::members as pb;
use rpc::Caller;
use rpc::directory::Program;

use crate::domain::identity::Identity;
use crate::domain::mask::Field;
use crate::domain::member::{Enrolment, Profile, check_identities};
use crate::domain::profile::{BirthDate, Change, LabelKind, Labels};
use crate::error::Error;
use crate::message;

/// What EnrollMember asks for.
pub(super) struct Enrol {
    pub(super) profile: Profile,
    pub(super) enrolment: Enrolment,
    pub(super) historical: bool,
    pub(super) returns_existing: bool,
}

impl Enrol {
    /// Checks the caller's clock against the times that are believed now. Not while parsing: a replay must be answered however
    /// late it comes.
    pub(super) fn check_time(&self, believed: &RangeInclusive<Timestamp>) -> Result<(), Error> {
        let time = self.enrolment.time;
        if time > *believed.end() {
            return Err(Error::invalid("enrol_time", "must not be further ahead of the server's clock than it believes"));
        }
        if time < *believed.start() && !self.historical {
            return Err(Error::invalid(
                "enrol_time",
                "must not be further behind the server's clock than it believes, unless historical is set",
            ));
        }
        Ok(())
    }
}

/// What UpdateMember asks for.
pub(super) struct Update {
    pub(super) changes: Vec<Change>,
    pub(super) etag: String,
}

/// Reads an enrolment. Without a store it happened in the one of the caller's terminal.
pub(super) fn enrol(request: pb::EnrollMemberRequest, caller: Caller, program: &Program, now: Timestamp) -> Result<Enrol, Error> {
    let returns_existing = request.if_exists() == pb::enroll_member_request::IfExists::ReturnExisting;
    let pb::EnrollMemberRequest {
        parent: _,
        identities,
        display_name,
        birth_date,
        preferred_language,
        attributes,
        channel,
        store,
        referral_code,
        enrol_time,
        historical,
        if_exists: _,
        request_id: _,
        tags,
        segments,
    } = request;
    if historical && !matches!(caller.role, Role::Platform | Role::Service | Role::Administrator) {
        return Err(Error::HistoricalNotAdmitted);
    }
    let time = match enrol_time {
        None => now,
        Some(time) => timestamp("enrol_time", time)?,
    };
    let identities = identities
        .into_iter()
        .enumerate()
        .map(|(place, value)| identity(&format!("identities[{place}]"), value))
        .collect::<Result<Vec<_>, _>>()?;
    check_identities(&identities)?;
    let profile = Profile {
        display_name: display(&display_name, "display_name")?,
        identities,
        birth_date: birth_date.map(|date| birth("birth_date", date, now.date_in(&program.zone))).transpose()?,
        preferred_language,
        attributes: message::attributes("attributes", attributes)?,
        tags: tags.into_iter().collect(),
        segments: segments.into_iter().collect(),
    };
    let store = if store.is_empty() { caller.store.unwrap_or_default() } else { store };
    let enrolment = Enrolment { time, channel, store, referral_code };
    Ok(Enrol { profile, enrolment, historical, returns_existing })
}

/// Reads an identity; `field` is its path in the request.
pub(super) fn identity(field: &str, identity: pb::Identity) -> Result<Identity, Error> {
    use pb::identity::Value;
    let pb::Identity { value, region_code } = identity;
    match value {
        Some(Value::Phone(text)) => Identity::phone(&format!("{field}.phone"), &text, &region_code),
        Some(Value::Email(text)) => Identity::email(&format!("{field}.email"), &text),
        Some(Value::ExternalId(text)) => Identity::external_id(&format!("{field}.external_id"), &text),
        Some(Value::Card(text)) => Identity::card(&format!("{field}.card"), &text),
        Some(Value::Account(pb::Account { namespace, id })) => Identity::account(&format!("{field}.account.id"), namespace, &id),
        None => Err(Error::invalid(field, "must have a value")),
    }
}

/// Reads the one identity of a request.
pub(super) fn only_identity(value: Option<pb::Identity>) -> Result<Identity, Error> {
    identity("identity", value.ok_or_else(|| Error::invalid("identity", "must be set"))?)
}

/// Reads an update: one change for each path of its mask.
pub(super) fn update(request: &pb::UpdateMemberRequest, today: Date) -> Result<Update, Error> {
    let pb::UpdateMemberRequest { member, update_mask, request_id: _ } = request;
    let member = member.as_ref().ok_or_else(|| Error::invalid("member", "must be set"))?;
    let paths = update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::invalid("update_mask", "must name at least one path"));
    }
    let attributes = message::attributes("member.attributes", member.attributes.clone())?;
    let change = |path: &String| match path.as_str() {
        "display_name" => Ok(Change::DisplayName(display(&member.display_name, "member.display_name")?)),
        "birth_date" => {
            let date = member.birth_date.map(|date| birth("member.birth_date", date, today)).transpose()?;
            Ok(Change::BirthDate(date))
        }
        "preferred_language" => Ok(Change::PreferredLanguage(member.preferred_language.clone())),
        "attributes" => Ok(Change::Attributes(attributes.clone())),
        "tags" => Ok(Change::Labels(LabelKind::Tags, labels(&member.tags))),
        "segments" => Ok(Change::Labels(LabelKind::Segments, labels(&member.segments))),
        _ => match path.split_once('.') {
            Some(("attributes", key)) if is_key(key) => Ok(Change::Attribute(key.to_owned(), attributes.get(key).cloned())),
            Some(("tags", tag)) if is_label(tag) => Ok(Change::Label(LabelKind::Tags, tag.to_owned(), labels(&member.tags).contains(tag))),
            Some(("segments", segment)) if is_label(segment) => {
                Ok(Change::Label(LabelKind::Segments, segment.to_owned(), labels(&member.segments).contains(segment)))
            }
            _ => Err(Error::invalid(
                "update_mask",
                "may name display_name, birth_date, preferred_language, attributes, attributes.{key}, tags, tags.{tag}, segments and \
                 segments.{segment}",
            )),
        },
    };
    Ok(Update { changes: paths.iter().map(change).collect::<Result<_, _>>()?, etag: member.etag.clone() })
}

/// Reads which fields to show in the clear; none named is all.
pub(super) fn fields(paths: &[String]) -> Result<Vec<Field>, Error> {
    if paths.is_empty() {
        return Ok(Field::ALL.to_vec());
    }
    for path in paths {
        if !Field::ALL.iter().any(|field| field.path() == path) {
            return Err(Error::invalid("read_mask", "may name only fields that are masked"));
        }
    }
    // In the contract's order and none twice, whatever the caller's was.
    Ok(Field::ALL.into_iter().filter(|field| paths.iter().any(|path| path == field.path())).collect())
}

/// Reads a program's name.
pub(super) fn program(field: &str, value: &str) -> Result<ProgramId, Error> {
    name::program(value).map_err(|_| Error::invalid(field, "must be a name like programs/{program}"))
}

/// Reads a member's name.
pub(super) fn member(field: &str, value: &str) -> Result<(ProgramId, MemberId), Error> {
    name::member(value)
        .map_err(|_| Error::invalid(field, "must be a name like programs/{program}/members/{member}, with a UUID in lower case"))
}

fn timestamp(field: &str, time: prost_types::Timestamp) -> Result<Timestamp, Error> {
    Timestamp::from_parts(time.seconds, time.nanos).ok_or_else(|| Error::invalid(field, "is out of range"))
}

fn display(text: &str, field: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

fn birth(field: &str, date: pb::BirthDate, today: Date) -> Result<BirthDate, Error> {
    let pb::BirthDate { year, month, day } = date;
    BirthDate::new(field, year, month, day, today)
}

fn labels(list: &[String]) -> Labels {
    list.iter().cloned().collect()
}

/// A tag or segment as the contract's pattern says.
fn is_label(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// A key as the contract's pattern says.
fn is_key(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
