//! Resource names: `programs/{program}/members/{member}` and their like.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// A program's id: 1 to 40 of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(Arc<str>);

/// A member's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub Uuid);

/// Not a name of the form that is wanted. It never repeats the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name of the form {pattern}")]
pub struct NameError {
    /// The form that was wanted.
    pub pattern: &'static str,
}

impl ProgramId {
    /// Checks the form of an id.
    pub fn parse(id: &str) -> Result<ProgramId, NameError> {
        let mut bytes = id.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if first && rest && id.len() <= 40 { Ok(ProgramId(id.into())) } else { Err(NameError { pattern: "{program}" }) }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `programs/{program}`.
    pub fn name(&self) -> String {
        ["programs/", self.as_str()].concat()
    }

    /// `programs/{program}/{collection}/{id}`: the name of something in a program.
    pub fn name_of(&self, collection: &str, id: &str) -> String {
        ["programs/", self.as_str(), "/", collection, "/", id].concat()
    }
}

impl MemberId {
    /// `programs/{program}/members/{member}`.
    pub fn name(&self, program: &ProgramId) -> String {
        program.name_of("members", self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The variable segments of a name, or an error naming the pattern:
/// `segments("programs/tea/stores/s1", "programs/{program}/stores/{store}")` is `["tea", "s1"]`.
pub fn segments<'a, const N: usize>(name: &'a str, pattern: &'static str) -> Result<[&'a str; N], NameError> {
    let mut found = [""; N];
    let mut variables = found.iter_mut();
    let mut parts = name.split('/');
    for wanted in pattern.split('/') {
        let part = parts.next().ok_or(NameError { pattern })?;
        if wanted.starts_with('{') {
            let place = variables.next().ok_or(NameError { pattern })?;
            if part.is_empty() {
                return Err(NameError { pattern });
            }
            *place = part;
        } else if wanted != part {
            return Err(NameError { pattern });
        }
    }
    if parts.next().is_some() || variables.next().is_some() { Err(NameError { pattern }) } else { Ok(found) }
}

/// Reads `programs/{program}`.
pub fn program(name: &str) -> Result<ProgramId, NameError> {
    let [program] = segments(name, "programs/{program}")?;
    ProgramId::parse(program)
}

/// Reads `programs/{program}/members/{member}`; the member is a UUID in its usual lower-case form.
pub fn member(name: &str) -> Result<(ProgramId, MemberId), NameError> {
    const PATTERN: &str = "programs/{program}/members/{member}";
    let [program, member] = segments(name, PATTERN)?;
    Ok((ProgramId::parse(program)?, MemberId(uuid(member, PATTERN)?)))
}

/// Reads a UUID in its one canonical form, so that a name is the same text everywhere.
pub fn uuid(text: &str, pattern: &'static str) -> Result<Uuid, NameError> {
    let id = Uuid::try_parse(text).map_err(|_| NameError { pattern })?;
    let mut buffer = Uuid::encode_buffer();
    if id.hyphenated().encode_lower(&mut buffer) == text { Ok(id) } else { Err(NameError { pattern }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_one_name() {
        let id = "0190f5fe-1111-7abc-8def-0123456789ab";
        let (program, found) = member(&format!("programs/tea/members/{id}")).unwrap();
        assert_eq!(found.name(&program), format!("programs/tea/members/{id}"));
        for bad in [
            format!("programs/tea/members/{}", id.to_uppercase()),
            format!("programs/tea/members/{}", id.replace('-', "")),
            format!("programs/Tea/members/{id}"),
            format!("programs/tea/members/{id}/"),
            format!("programs//members/{id}"),
            "programs/tea/members/".to_owned(),
            "programs/tea".to_owned(),
            String::new(),
        ] {
            assert!(member(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_are_counted() {
        assert_eq!(segments::<2>("programs/a/stores/b", "programs/{program}/stores/{store}"), Ok(["a", "b"]));
        assert!(segments::<1>("programs/a/stores/b", "programs/{program}/stores/{store}").is_err());
        assert!(segments::<3>("programs/a/stores/b", "programs/{program}/stores/{store}").is_err());
    }
}
