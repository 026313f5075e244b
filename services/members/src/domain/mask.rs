//! What is shown of personal data to those who need not see all of it. Lengths count characters, not bytes.

use super::phone;

/// A mask that hides fewer characters than this is none: then more is hidden, or everything.
const HIDDEN_MIN: usize = 3;

/// The fields of a member that are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    DisplayName,
    Phone,
    Email,
    ExternalId,
    Cards,
    Accounts,
    BirthYear,
    Attributes,
}

impl Field {
    /// Every one.
    pub(crate) const ALL: [Field; 8] = [
        Field::DisplayName,
        Field::Phone,
        Field::Email,
        Field::ExternalId,
        Field::Cards,
        Field::Accounts,
        Field::BirthYear,
        Field::Attributes,
    ];

    /// Its path in the contract's `Member`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Field::DisplayName => "display_name",
            Field::Phone => "phone",
            Field::Email => "email",
            Field::ExternalId => "external_id",
            Field::Cards => "cards",
            Field::Accounts => "accounts",
            Field::BirthYear => "birth_date.year",
            Field::Attributes => "attributes",
        }
    }
}

/// The value of any attribute: what a company keeps there is not known, so that nothing of it is shown, type and length included.
pub(crate) const ATTRIBUTE: &str = "***";

/// The first character and one `*` for each other: `张**`. A single character is hidden.
pub(crate) fn name(name: &str) -> String {
    let length = name.chars().count();
    keep(name, usize::from(length > 1), 0)
}

/// Country code, three digits and the last four: `+86138****5678`. Of a short number only the last four, or nothing.
pub(crate) fn phone(e164: &str) -> String {
    let (country, national) = phone::split(e164);
    let masked = match national.chars().count() {
        length if length >= 7 + HIDDEN_MIN => keep(national, 3, 4),
        length if length >= 4 + HIDDEN_MIN => keep(national, 0, 4),
        _ => keep(national, 0, 0),
    };
    format!("{country}{masked}")
}

/// The first character and the domain: `a****@example.com`.
pub(crate) fn email(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{domain}", name(local)),
        None => keep(email, 0, 0),
    }
}

/// The first and last four characters of a card number or foreign id; nothing of a short one.
pub(crate) fn number(text: &str) -> String {
    if text.chars().count() >= 8 + HIDDEN_MIN { keep(text, 4, 4) } else { keep(text, 0, 0) }
}

/// Hides all but the first `head` and the last `tail` characters.
fn keep(text: &str, head: usize, tail: usize) -> String {
    let tail_from = text.chars().count().saturating_sub(tail);
    text.chars().enumerate().map(|(place, character)| if place < head || place >= tail_from { character } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_show_what_the_rules_say() {
        for (mask, clear, shown) in [
            (name as fn(&str) -> String, "张小明", "张**"),
            (name, "张三", "张*"),
            (name, "张", "*"),
            (name, "Ann Lee", "A******"),
            (name, "", ""),
            (phone, "+8613812345678", "+86138****5678"),
            (phone, "+12015550123", "+1201***0123"),
            (phone, "+85291234567", "+852****4567"),
            (phone, "+2902345", "+290****"), // Saint Helena has numbers of four or five digits.
            (email, "alice@example.com", "a****@example.com"),
            (email, "a@example.com", "*@example.com"),
            (email, "张三@例子.中国", "张*@例子.中国"),
            (number, "6222021234567890", "6222********7890"),
            (number, "12345678901", "1234***8901"),
            (number, "1234567890", "**********"),
            (number, "卡号零零一二三四五六七八", "卡号零零****五六七八"),
            (number, "7", "*"),
        ] {
            assert_eq!(mask(clear), shown);
        }
    }

    proptest::proptest! {
        /// Whatever a text is, its mask is as long, shows nothing that is not there, and hides three characters or all.
        #[test]
        fn a_number_is_hidden_in_part_or_whole(text in ".{0,30}") {
            let masked = number(&text);
            let pairs: Vec<(char, char)> = text.chars().zip(masked.chars()).collect();
            proptest::prop_assert_eq!(pairs.len(), masked.chars().count());
            proptest::prop_assert!(pairs.iter().all(|(clear, shown)| *shown == '*' || shown == clear));
            let hidden = pairs.iter().filter(|(_, shown)| *shown == '*').count();
            proptest::prop_assert!(hidden >= HIDDEN_MIN.min(pairs.len()));
        }
    }
}
