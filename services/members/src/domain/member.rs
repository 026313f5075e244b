//! A member: its states, and what may be done in each.

use kernel::{MemberId, ProgramId, Timestamp};

use super::identity::{Identity, Kind};
use super::profile::{ATTRIBUTES_MAX, Attributes, BirthDate, Change, LABELS_MAX, LabelKind, Labels};
use crate::error::Error;

/// Somebody who takes part in a program.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) program: ProgramId,
    pub(crate) id: MemberId,
    pub(crate) state: State,
    /// When it came into this state.
    pub(crate) state_time: Timestamp,
    pub(crate) profile: Profile,
    pub(crate) enrolment: Enrolment,
    pub(crate) create_time: Timestamp,
    pub(crate) update_time: Timestamp,
    /// Counts the changes, from 1.
    pub(crate) version: i64,
}

/// Whether a member may take part, and if not, why: a code of the company's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Blocked { reason: String },
    Closed { reason: String },
}

/// The personal part of a member. It is stored under the member's own key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    /// In the order in which they were linked.
    pub(crate) identities: Vec<Identity>,
    pub(crate) birth_date: Option<BirthDate>,
    /// BCP 47; empty when not told.
    pub(crate) preferred_language: String,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Labels,
    pub(crate) segments: Labels,
}

impl Profile {
    /// The labels of a kind.
    pub(crate) fn labels(&mut self, kind: LabelKind) -> &mut Labels {
        match kind {
            LabelKind::Tags => &mut self.tags,
            LabelKind::Segments => &mut self.segments,
        }
    }
}

/// How somebody became a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enrolment {
    /// By the clock of who enrolled them.
    pub(crate) time: Timestamp,
    pub(crate) channel: String,
    /// The store's name; empty when not told.
    pub(crate) store: String,
    pub(crate) referral_code: String,
}

impl Member {
    /// A new member.
    pub(crate) fn enrol(program: ProgramId, id: MemberId, profile: Profile, enrolment: Enrolment, now: Timestamp) -> Member {
        Member {
            program,
            id,
            state: State::Active,
            state_time: enrolment.time,
            profile,
            enrolment,
            create_time: now,
            update_time: now,
            version: 1,
        }
    }

    /// The resource name.
    pub(crate) fn name(&self) -> String {
        self.id.name(&self.program)
    }

    /// Changes with every change.
    pub(crate) fn etag(&self) -> String {
        self.version.to_string()
    }

    /// The identities that nobody else may have: none once it is closed, so that the person may enrol anew.
    pub(crate) fn held_identities(&self) -> &[Identity] {
        match self.state {
            State::Active | State::Blocked { .. } => &self.profile.identities,
            State::Closed { .. } => &[],
        }
    }

    /// Takes part no longer, until it is unblocked.
    pub(crate) fn block(self, reason: String, now: Timestamp) -> Result<Member, Error> {
        match self.state {
            State::Active => Ok(self.moved(State::Blocked { reason }, now)),
            State::Blocked { .. } => Err(Error::MemberAlreadyBlocked),
            State::Closed { .. } => Err(Error::MemberClosed),
        }
    }

    /// Takes part again.
    pub(crate) fn unblock(self, now: Timestamp) -> Result<Member, Error> {
        match self.state {
            State::Active => Err(Error::MemberNotBlocked),
            State::Blocked { .. } => Ok(self.moved(State::Active, now)),
            State::Closed { .. } => Err(Error::MemberClosed),
        }
    }

    /// Ends the membership. What was told stays known; what rules went by ends with it.
    pub(crate) fn close(self, reason: String, now: Timestamp) -> Result<Member, Error> {
        match self.state {
            State::Active | State::Blocked { .. } => {
                let profile = Profile { tags: Labels::new(), segments: Labels::new(), ..self.profile.clone() };
                Ok(Member { profile, ..self.moved(State::Closed { reason }, now) })
            }
            State::Closed { .. } => Err(Error::MemberClosed),
        }
    }

    /// Applies all changes, or none. A change to what is known already is none: the version stays.
    pub(crate) fn update(self, changes: Vec<Change>, etag: &str, now: Timestamp) -> Result<Member, Error> {
        if !etag.is_empty() && etag != self.etag() {
            return Err(Error::EtagMismatch);
        }
        let mut profile = self.profile.clone();
        for change in changes {
            match change {
                Change::DisplayName(name) => profile.display_name = name,
                Change::BirthDate(date) => profile.birth_date = date,
                Change::PreferredLanguage(language) => profile.preferred_language = language,
                Change::Attributes(attributes) => profile.attributes = attributes,
                Change::Attribute(key, Some(value)) => drop(profile.attributes.insert(key, value)),
                Change::Attribute(key, None) => drop(profile.attributes.remove(&key)),
                Change::Labels(kind, labels) => *profile.labels(kind) = labels,
                Change::Label(kind, label, true) => drop(profile.labels(kind).insert(label)),
                Change::Label(kind, label, false) => drop(profile.labels(kind).remove(&label)),
            }
        }
        if let Some(kind) = LabelKind::ALL.into_iter().find(|kind| profile.labels(*kind).len() > LABELS_MAX) {
            return Err(Error::TooManyLabels { kind, limit: LABELS_MAX });
        }
        if profile.attributes.len() > ATTRIBUTES_MAX {
            return Err(Error::TooManyAttributes { limit: ATTRIBUTES_MAX });
        }
        self.with_profile(profile, now)
    }

    /// Adds an identity; `replace` lets it take the place of another where only one may be.
    pub(crate) fn link(self, identity: Identity, replace: bool, now: Timestamp) -> Result<Member, Error> {
        let mut profile = self.profile.clone();
        let kind = identity.kind();
        let present = profile.identities.iter().filter(|other| other.kind() == kind).count();
        if profile.identities.contains(&identity) {
            return self.with_profile(profile, now);
        }
        match kind {
            _ if present < kind.limit() => profile.identities.push(identity),
            Kind::Card | Kind::Account => return Err(Error::TooManyIdentities { kind, limit: kind.limit() }),
            Kind::Phone | Kind::Email | Kind::ExternalId if !replace => return Err(Error::IdentityPresent { kind }),
            Kind::Phone | Kind::Email | Kind::ExternalId => {
                profile.identities.retain(|other| other.kind() != kind);
                profile.identities.push(identity);
            }
        }
        self.with_profile(profile, now)
    }

    /// Takes an identity away; never the last one, without which nobody could be recognised.
    pub(crate) fn unlink(self, identity: &Identity, now: Timestamp) -> Result<Member, Error> {
        if matches!(self.state, State::Closed { .. }) {
            return Err(Error::MemberClosed); // Whatever identities it had.
        }
        let mut profile = self.profile.clone();
        profile.identities.retain(|other| other != identity);
        if profile.identities.len() == self.profile.identities.len() {
            return Err(Error::IdentityNotLinked { kind: identity.kind() });
        }
        if profile.identities.is_empty() {
            return Err(Error::LastIdentity { kind: identity.kind() });
        }
        self.with_profile(profile, now)
    }

    fn moved(self, state: State, now: Timestamp) -> Member {
        Member { state, state_time: now, update_time: now, version: self.version + 1, ..self }
    }

    fn with_profile(self, profile: Profile, now: Timestamp) -> Result<Member, Error> {
        match self.state {
            State::Closed { .. } => Err(Error::MemberClosed),
            _ if profile == self.profile => Ok(self),
            _ => Ok(Member { profile, update_time: now, version: self.version + 1, ..self }),
        }
    }
}

/// Checks a new member's identities: none twice, and no more of a kind than a member may have.
pub(crate) fn check_identities(identities: &[Identity]) -> Result<(), Error> {
    for (place, identity) in identities.iter().enumerate() {
        let before = &identities[..place];
        let same_kind = before.iter().filter(|other| other.kind() == identity.kind()).count();
        if before.contains(identity) {
            return Err(Error::invalid(format!("identities[{place}]"), "is there twice"));
        }
        if same_kind >= identity.kind().limit() {
            return Err(Error::invalid(format!("identities[{place}]"), "is one more of its kind than a member may have"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;
    use crate::domain::profile::AttributeValue;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);
    const LATER: Timestamp = Timestamp::from_micros(2_000_000);

    fn member(state: State) -> Member {
        let profile = Profile {
            display_name: "Ann".to_owned(),
            identities: vec![phone(1)],
            birth_date: None,
            preferred_language: String::new(),
            attributes: Attributes::new(),
            tags: Labels::from(["vegan".to_owned()]),
            segments: Labels::new(),
        };
        let enrolment = Enrolment { time: NOW, channel: "web".to_owned(), store: String::new(), referral_code: String::new() };
        let member = Member::enrol(ProgramId::parse("tea").unwrap(), MemberId(kernel::Uuid::nil()), profile, enrolment, NOW);
        Member { state, ..member }
    }

    fn phone(number: u8) -> Identity {
        Identity::Phone(format!("+86138000000{number:02}"))
    }

    fn card(number: usize) -> Identity {
        Identity::Card(number.to_string())
    }

    fn blocked() -> State {
        State::Blocked { reason: "FRAUD".to_owned() }
    }

    fn closed() -> State {
        State::Closed { reason: "ASKED".to_owned() }
    }

    /// What came of a command: the state and version after it, or the reason of the refusal.
    fn outcome(result: Result<Member, Error>) -> Result<(State, i64), String> {
        let reason = |error| Status::from(error).get_details_error_info().map(|info| info.reason).unwrap_or_default();
        result.map(|member| (member.state, member.version)).map_err(reason)
    }

    fn refused(reason: &str) -> Result<(State, i64), String> {
        Err(reason.to_owned())
    }

    #[test]
    fn states_move_as_the_table_says() {
        let block = |member: Member| member.block("FRAUD".to_owned(), LATER);
        let unblock = |member: Member| member.unblock(LATER);
        let close = |member: Member| member.close("ASKED".to_owned(), LATER);
        for (verb, on_active, on_blocked, on_closed) in [
            (
                &block as &dyn Fn(Member) -> Result<Member, Error>,
                Ok((blocked(), 2)),
                refused("MEMBER_ALREADY_BLOCKED"),
                refused("MEMBER_CLOSED"),
            ),
            (&unblock, refused("MEMBER_NOT_BLOCKED"), Ok((State::Active, 2)), refused("MEMBER_CLOSED")),
            (&close, Ok((closed(), 2)), Ok((closed(), 2)), refused("MEMBER_CLOSED")),
        ] {
            assert_eq!(outcome(verb(member(State::Active))), on_active);
            assert_eq!(outcome(verb(member(blocked()))), on_blocked);
            assert_eq!(outcome(verb(member(closed()))), on_closed);
        }
        let moved = member(State::Active).block("FRAUD".to_owned(), LATER).unwrap();
        assert!(member(closed()).held_identities().is_empty());
        assert_eq!((moved.state_time, moved.update_time, moved.create_time), (LATER, LATER, NOW));
    }

    #[test]
    fn a_closed_member_is_not_changed() {
        let rename = || vec![Change::DisplayName("Bea".to_owned())];
        assert_eq!(outcome(member(closed()).update(rename(), "", LATER)), refused("MEMBER_CLOSED"));
        assert_eq!(outcome(member(closed()).link(card(1), false, LATER)), refused("MEMBER_CLOSED"));
        assert_eq!(outcome(member(closed()).unlink(&phone(1), LATER)), refused("MEMBER_CLOSED"));
        assert_eq!(outcome(member(closed()).unlink(&phone(9), LATER)), refused("MEMBER_CLOSED"));
        assert_eq!(outcome(member(blocked()).update(rename(), "", LATER)), Ok((blocked(), 2)));
    }

    #[test]
    fn an_update_changes_what_it_names_and_heeds_the_etag() {
        let flag = |key: &str| Change::Attribute(key.to_owned(), Some(AttributeValue::Flag(true)));
        let ann = member(State::Active).update(vec![flag("oat_milk"), flag("hot")], "1", LATER).unwrap();
        assert_eq!((ann.profile.display_name.as_str(), ann.profile.attributes.len(), ann.version), ("Ann", 2, 2));
        let ann = ann.update(vec![Change::Attribute("hot".to_owned(), None)], "2", LATER).unwrap();
        assert_eq!(ann.profile.attributes.keys().collect::<Vec<_>>(), ["oat_milk"]);
        // The same again is no change; an old etag is refused all the same.
        assert_eq!(outcome(ann.clone().update(vec![flag("oat_milk")], "", LATER)), Ok((State::Active, 3)));
        assert_eq!(outcome(ann.clone().update(vec![flag("oat_milk")], "2", LATER)), refused("ETAG_MISMATCH"));
        let many = (0..ATTRIBUTES_MAX).map(|number| flag(&format!("a{number}"))).collect();
        assert_eq!(outcome(ann.update(many, "", LATER)), refused("TOO_MANY_ATTRIBUTES"));
    }

    #[test]
    fn labels_are_set_added_and_removed_and_end_with_the_membership() {
        let label = |kind, label: &str, there| Change::Label(kind, label.to_owned(), there);
        let ann = member(State::Active).update(vec![label(LabelKind::Tags, "staff", true)], "", LATER).unwrap();
        assert_eq!(ann.profile.tags, Labels::from(["staff".to_owned(), "vegan".to_owned()]));
        let ann = ann.update(vec![label(LabelKind::Tags, "vegan", false), label(LabelKind::Segments, "lapsing", true)], "", LATER).unwrap();
        assert_eq!((ann.profile.tags.len(), ann.profile.segments.len(), ann.version), (1, 1, 3));
        assert_eq!(outcome(ann.clone().update(vec![label(LabelKind::Tags, "staff", true)], "", LATER)), Ok((State::Active, 3)));
        let many: Labels = (0..LABELS_MAX).map(|number| format!("t{number}")).collect();
        let full = ann.clone().update(vec![Change::Labels(LabelKind::Tags, many)], "", LATER).unwrap();
        assert_eq!(outcome(full.update(vec![label(LabelKind::Tags, "one-more", true)], "", LATER)), refused("TOO_MANY_LABELS"));
        let closed = ann.close("ASKED".to_owned(), LATER).unwrap();
        assert!(closed.profile.tags.is_empty() && closed.profile.segments.is_empty());
    }

    #[test]
    fn identities_are_linked_within_their_limits() {
        let ann = member(State::Active);
        assert_eq!(outcome(ann.clone().link(phone(1), false, LATER)), Ok((State::Active, 1)));
        assert_eq!(outcome(ann.clone().link(phone(2), false, LATER)), refused("IDENTITY_PRESENT"));
        let moved = ann.clone().link(phone(2), true, LATER).unwrap();
        assert_eq!((moved.held_identities(), moved.version), ([phone(2)].as_slice(), 2));

        let many = (0..20).fold(ann, |member, number| member.link(card(number), false, LATER).unwrap());
        assert_eq!(outcome(many.clone().link(card(20), true, LATER)), refused("TOO_MANY_IDENTITIES"));
        assert_eq!(outcome(many.unlink(&card(3), LATER)), Ok((State::Active, 22)));
    }

    #[test]
    fn the_last_identity_stays() {
        assert_eq!(outcome(member(State::Active).unlink(&phone(1), LATER)), refused("LAST_IDENTITY"));
        assert_eq!(outcome(member(State::Active).unlink(&phone(2), LATER)), refused("IDENTITY_NOT_LINKED"));
        let two = member(State::Active).link(card(1), false, LATER).unwrap();
        assert_eq!(two.unlink(&phone(1), LATER).unwrap().profile.identities, [card(1)]);
    }

    #[test]
    fn a_new_member_has_no_identity_twice() {
        assert!(check_identities(&[phone(1), card(1), card(2)]).is_ok());
        for (identities, field) in [
            (vec![phone(1), phone(2)], "identities[1]"),
            (vec![card(1), phone(1), card(1)], "identities[2]"),
            ((0..21).map(card).collect(), "identities[20]"),
        ] {
            let Err(Error::Invalid { field: found, .. }) = check_identities(&identities) else { panic!("{field} passed") };
            assert_eq!(found, field);
        }
    }
}
