//! What a member is recognised by, in the one form in which it is compared.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::phone;
use crate::error::Error;

/// The kinds of identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Phone,
    Email,
    ExternalId,
    Card,
    Account,
}

impl Kind {
    /// The kind's name in the contract, in error metadata and in the store.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Phone => "phone",
            Kind::Email => "email",
            Kind::ExternalId => "external_id",
            Kind::Card => "card",
            Kind::Account => "account",
        }
    }

    /// How many of this kind a member may have.
    pub(crate) fn limit(self) -> usize {
        match self {
            Kind::Phone | Kind::Email | Kind::ExternalId => 1,
            Kind::Card | Kind::Account => 20,
        }
    }
}

/// An identity in its normal form: two spellings of one phone number are equal.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// E.164.
    Phone(String),
    /// NFKC, lower case.
    Email(String),
    ExternalId(String),
    Card(String),
    Account {
        namespace: String,
        id: String,
    },
}

impl Identity {
    /// Reads a phone number; `field` is its path in the request.
    pub(crate) fn phone(field: &str, text: &str, region_code: &str) -> Result<Identity, Error> {
        phone::normalise(text, region_code).map(Identity::Phone).map_err(|because| Error::invalid(field, because))
    }

    /// Reads an e-mail address.
    pub(crate) fn email(field: &str, text: &str) -> Result<Identity, Error> {
        email(text).map(Identity::Email).map_err(|because| Error::invalid(field, because))
    }

    /// Reads an id of the company's own.
    pub(crate) fn external_id(field: &str, text: &str) -> Result<Identity, Error> {
        code(field, text).map(Identity::ExternalId)
    }

    /// Reads a card number.
    pub(crate) fn card(field: &str, text: &str) -> Result<Identity, Error> {
        code(field, text).map(Identity::Card)
    }

    /// Reads an account elsewhere.
    pub(crate) fn account(field: &str, namespace: String, id: &str) -> Result<Identity, Error> {
        Ok(Identity::Account { namespace, id: code(field, id)? })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Identity::Phone(_) => Kind::Phone,
            Identity::Email(_) => Kind::Email,
            Identity::ExternalId(_) => Kind::ExternalId,
            Identity::Card(_) => Kind::Card,
            Identity::Account { .. } => Kind::Account,
        }
    }

    /// What is hashed to find the member. A namespace has no line feed, so no two accounts have one text.
    pub(crate) fn hashed_text(&self) -> String {
        match self {
            Identity::Phone(value) | Identity::Email(value) | Identity::ExternalId(value) | Identity::Card(value) => value.clone(),
            Identity::Account { namespace, id } => format!("{namespace}\n{id}"),
        }
    }
}

/// Only the kind: an identity must not reach a log by way of a debug print.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.kind().as_str())
    }
}

/// An e-mail address in NFKC and lower case, if it could be one. Whether it is, only a letter to it tells.
fn email(text: &str) -> Result<String, &'static str> {
    const NONE: &str = "is not an e-mail address";
    let address: String = text.trim().nfkc().collect::<String>().to_lowercase().nfkc().collect();
    let (local, domain) = address.rsplit_once('@').ok_or(NONE)?;
    let local_is_good = (1..=64).contains(&local.chars().count())
        && local.split('.').all(|part| !part.is_empty())
        && !local.chars().any(|c| c.is_whitespace() || c.is_control() || "@,;:<>()[]\\\"".contains(c));
    let labels: Vec<&str> = domain.split('.').collect();
    let domain_is_good = labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=63).contains(&label.chars().count())
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if local_is_good && domain_is_good && address.len() <= 254 { Ok(address) } else { Err(NONE) }
}

/// A number or code, without the spaces around it.
fn code(field: &str, text: &str) -> Result<String, Error> {
    let code = text.trim();
    if code.is_empty() {
        Err(Error::invalid(field, "must not be blank"))
    } else if code.chars().any(char::is_control) {
        Err(Error::invalid(field, "must not contain control characters"))
    } else {
        Ok(code.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_address() {
        for (text, normal) in [
            ("Alice@Example.COM", "alice@example.com"),
            (" alice@example.com ", "alice@example.com"),
            ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "alice@example.com"),
            ("a.lice+tea@example.com", "a.lice+tea@example.com"), // Dots and tags stay.
            ("张三@例子.中国", "张三@例子.中国"),
            ("o'hara@mail.example.co.uk", "o'hara@mail.example.co.uk"),
        ] {
            assert_eq!(email(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "alice",
            "@example.com",
            "alice@",
            "alice@example",
            "a b@example.com",
            "a@b@example.com",
            "a@exa mple.com",
            ".a@example.com",
            "a..b@example.com",
            "a.@example.com",
            "a@-x.com",
            "a@x-.com",
            "a@.com",
            "<a@example.com>",
            &long,
        ] {
            assert!(email(text).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_are_trimmed_and_keep_their_case() {
        assert_eq!(Identity::card("card", " Ab 1\t").unwrap(), Identity::Card("Ab 1".to_owned()));
        assert!(Identity::external_id("external_id", " \u{3000}").is_err());
        assert!(Identity::card("card", "a\u{0}b").is_err());
    }

    #[test]
    fn accounts_of_two_namespaces_differ() {
        let account = |namespace: &str, id: &str| Identity::account("id", namespace.to_owned(), id).unwrap().hashed_text();
        assert_ne!(account("wechat", "x"), account("wecom", "x"));
        assert_ne!(account("a", "bc"), account("ab", "c"));
    }

    #[test]
    fn a_debug_print_tells_the_kind_only() {
        let phone = Identity::phone("phone", "+8613812345678", "").unwrap();
        assert_eq!(format!("{phone:?}"), "Identity(phone)");
    }
}
