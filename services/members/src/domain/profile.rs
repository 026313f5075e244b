//! What is known of a member, beside its identities.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use crate::error::Error;

/// How many attributes a member may have.
pub(crate) const ATTRIBUTES_MAX: usize = 50;

/// How many tags a member may have, and in how many segments he may be.
pub(crate) const LABELS_MAX: usize = 50;

/// Words for a member that rules go by: his tags, or the segments in which he is.
pub(crate) type Labels = BTreeSet<String>;

/// Which labels are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelKind {
    Tags,
    Segments,
}

impl LabelKind {
    pub(crate) const ALL: [LabelKind; 2] = [LabelKind::Tags, LabelKind::Segments];

    /// The field that has them.
    pub(crate) fn field(self) -> &'static str {
        match self {
            LabelKind::Tags => "tags",
            LabelKind::Segments => "segments",
        }
    }
}

/// Facts by key.
pub(crate) type Attributes = BTreeMap<String, AttributeValue>;

/// One fact, in its type.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AttributeValue {
    Text(String),
    Number(i64),
    /// A decimal number as text.
    Decimal(String),
    Flag(bool),
    Day(Date),
}

/// A date of birth; the year may be unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BirthDate {
    pub(crate) year: Option<i16>,
    pub(crate) month: i8,
    pub(crate) day: i8,
}

impl BirthDate {
    /// Checks a date of birth against the calendar and `today`. Year 0 stands for an unknown one, in which 29 February exists.
    pub(crate) fn new(field: &str, year: i32, month: i32, day: i32, today: Date) -> Result<BirthDate, Error> {
        const LEAP_YEAR: i32 = 2000;
        let date = civil(if year == 0 { LEAP_YEAR } else { year }, month, day)
            .ok_or_else(|| Error::invalid(field, "must be a day that its month has"))?;
        if year != 0 && date > today {
            return Err(Error::invalid(field, "must not be in the future"));
        }
        Ok(BirthDate { year: (year != 0).then_some(date.year()), month: date.month(), day: date.day() })
    }
}

/// A calendar day, if there is one.
pub(crate) fn civil(year: i32, month: i32, day: i32) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// One change to what is known of a member.
#[derive(Clone)]
pub(crate) enum Change {
    DisplayName(String),
    BirthDate(Option<BirthDate>),
    PreferredLanguage(String),
    /// All attributes.
    Attributes(Attributes),
    /// The attribute under a key; `None` removes it.
    Attribute(String, Option<AttributeValue>),
    /// All labels of a kind.
    Labels(LabelKind, Labels),
    /// One label; `false` removes it.
    Label(LabelKind, String, bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_date_is_a_day_that_has_been() {
        let today = Date::constant(2026, 3, 1);
        for (year, month, day, is_good) in [
            (1990, 5, 17, true),
            (0, 5, 17, true),
            (0, 2, 29, true),
            (2024, 2, 29, true),
            (2023, 2, 29, false),
            (0, 2, 30, false),
            (0, 4, 31, false),
            (2026, 3, 1, true),
            (2026, 3, 2, false),
            (9999, 1, 1, false),
        ] {
            assert_eq!(BirthDate::new("birth_date", year, month, day, today).is_ok(), is_good, "{year}-{month}-{day}");
        }
    }
}
