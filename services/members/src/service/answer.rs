//! Members as callers see them.

use kernel::ProgramId;
use proto::members as pb;
use rpc::wire;

use crate::domain::identity::Identity;
use crate::domain::mask::{self, Field};
use crate::domain::member::{Enrolment, Member, Profile};
use crate::domain::profile::{AttributeValue, Attributes, BirthDate};
use crate::message;
use crate::store::Access;

/// A member with every personal field masked, as every answer but one has it.
pub(super) fn masked(member: &Member) -> pb::Member {
    revealed(member, &[])
}

/// A member with these fields in the clear and the others masked.
pub(super) fn revealed(member: &Member, clear: &[Field]) -> pb::Member {
    let Member { program: _, id: _, state, state_time, profile, enrolment, create_time, update_time, version } = member;
    let Profile { display_name, identities, birth_date, preferred_language, attributes, tags, segments } = profile;
    let Enrolment { time, channel, store, referral_code } = enrolment;
    let mut view = View { clear, masked: Vec::new() };
    let mut message = pb::Member {
        name: member.name(),
        state: message::state(state).into(),
        state_reason: message::state_reason(state).to_owned(),
        state_time: Some(wire::timestamp(*state_time)),
        display_name: view.show(Field::DisplayName, display_name, mask::name),
        phone: String::new(),
        email: String::new(),
        external_id: String::new(),
        cards: Vec::new(),
        accounts: Vec::new(),
        birth_date: birth_date.as_ref().map(|date| view.show_birth_date(date)),
        preferred_language: preferred_language.clone(),
        attributes: view.show_attributes(attributes),
        enrol_time: Some(wire::timestamp(*time)),
        channel: channel.clone(),
        store: store.clone(),
        referral_code: referral_code.clone(),
        create_time: Some(wire::timestamp(*create_time)),
        update_time: Some(wire::timestamp(*update_time)),
        version: *version,
        etag: member.etag(),
        masked_fields: Vec::new(),
        tags: tags.iter().cloned().collect(),
        segments: segments.iter().cloned().collect(),
    };
    for identity in identities {
        match identity {
            Identity::Phone(e164) => message.phone = view.show(Field::Phone, e164, mask::phone),
            Identity::Email(email) => message.email = view.show(Field::Email, email, mask::email),
            Identity::ExternalId(id) => message.external_id = view.show(Field::ExternalId, id, mask::number),
            Identity::Card(card) => message.cards.push(view.show(Field::Cards, card, mask::number)),
            Identity::Account { namespace, id } => {
                let id = view.show(Field::Accounts, id, mask::number);
                message.accounts.push(pb::Account { namespace: namespace.clone(), id });
            }
        }
    }
    message.masked_fields = Field::ALL.iter().filter(|field| view.masked.contains(field)).map(|field| field.path().to_owned()).collect();
    message
}

/// A look at a member, as an auditor sees it.
pub(super) fn access(program: &ProgramId, access: Access) -> pb::MemberAccess {
    let Access { id: _, member, actor, role, fields, reason, time } = access;
    pb::MemberAccess { member: member.name(program), actor, role: role.into(), fields, reason, access_time: Some(wire::timestamp(time)) }
}

/// What may be shown in the clear, and what was masked on the way.
struct View<'a> {
    clear: &'a [Field],
    masked: Vec<Field>,
}

impl View<'_> {
    fn show(&mut self, field: Field, text: &str, mask: fn(&str) -> String) -> String {
        if text.is_empty() || self.clear.contains(&field) {
            return text.to_owned();
        }
        self.masked.push(field);
        mask(text)
    }

    fn show_attributes(&mut self, attributes: &Attributes) -> Vec<pb::Attribute> {
        if attributes.is_empty() || self.clear.contains(&Field::Attributes) {
            return message::attribute_list(attributes);
        }
        self.masked.push(Field::Attributes);
        let hidden = AttributeValue::Text(mask::ATTRIBUTE.to_owned());
        message::attribute_list(&attributes.keys().map(|key| (key.clone(), hidden.clone())).collect())
    }

    /// The year is personal; month and day are not: rules and greetings go by them.
    fn show_birth_date(&mut self, date: &BirthDate) -> pb::BirthDate {
        let BirthDate { year, month, day } = *date;
        let is_masked = year.is_some() && !self.clear.contains(&Field::BirthYear);
        if is_masked {
            self.masked.push(Field::BirthYear);
        }
        let year = if is_masked { 0 } else { year.map_or(0, i32::from) };
        pb::BirthDate { year, month: month.into(), day: day.into() }
    }
}
