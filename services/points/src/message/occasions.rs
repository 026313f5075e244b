use std::collections::HashSet;

use proto::points as pb;

use super::challenges::gift;
use super::terms::WrongTerms;
use crate::domain::{GiftOccasion, MemberFilter, When};

type Wrong = (&'static str, &'static str);

/// Reads the occasions of terms; the error is the field that is wrong and what it must be.
pub(super) fn occasions(messages: &[pb::Occasion]) -> Result<Vec<GiftOccasion>, WrongTerms> {
    each(messages).collect()
}

/// What is wrong with occasions, one thing about each.
pub(super) fn wrong_occasions(messages: &[pb::Occasion]) -> Vec<WrongTerms> {
    each(messages).filter_map(Result::err).collect()
}

fn each(messages: &[pb::Occasion]) -> impl Iterator<Item = Result<GiftOccasion, WrongTerms>> {
    let mut ids = HashSet::new();
    messages.iter().enumerate().map(move |(index, message)| {
        let once = if ids.insert(&message.occasion_id) { Ok(()) } else { Err(("occasion_id", "each occasion may be named once")) };
        let read = once.and_then(|()| occasion(message));
        read.map_err(|(field, what)| (format!("occasions[{index}].{field}"), what.into()))
    })
}

fn occasion(message: &pb::Occasion) -> Result<GiftOccasion, Wrong> {
    use pb::occasion::When as Given;
    let pb::Occasion { occasion_id, title, when, gives, members } = message;
    let members = members.as_ref().map(member_filter).unwrap_or_default();
    let when = match when.as_ref().ok_or(("when", "one of joining, birthday and dormancy must be set"))? {
        Given::Joining(pb::occasion::Joining {}) if !members.tiers.is_empty() => {
            return Err(("members.tiers", "must be empty: who joins has no tier yet"));
        }
        Given::Joining(pb::occasion::Joining {}) => When::Joining,
        Given::Birthday(pb::occasion::Birthday { days_before }) => When::Birthday { days_before: *days_before },
        Given::Dormancy(pb::occasion::Dormancy { days }) => When::Dormancy { days: *days },
    };
    Ok(GiftOccasion { id: occasion_id.as_str().into(), title: title.clone(), when, gives: gift("gives", gives.as_ref())?, members })
}

/// Members by what is known of them.
pub(super) fn member_filter(message: &pb::MemberFilter) -> MemberFilter {
    let pb::MemberFilter { tiers, tags, excluded_tags, segments } = message.clone();
    MemberFilter { tiers, tags, excluded_tags, segments }
}
