//! What the generated checks are made of: the rules as data, and one walk over a message that collects everything that
//! breaks them. A description never contains the value that broke a rule: it may be personal data.

use std::fmt::{Display, Write};
use std::sync::OnceLock;

use prost_types::{Duration, FieldMask, Timestamp};
use regex::Regex;

/// More violations than this help nobody.
const VIOLATIONS_MAX: usize = 50;
/// Details travel in a response header, and clients refuse headers past 8 KiB: so many bytes of text fit when encoded.
const VIOLATIONS_BYTES_MAX: usize = 4096;
/// The most paths that a field mask may have.
const MASK_PATHS_MAX: usize = 100;
/// The most bytes that a path of a field mask may have.
const MASK_PATH_BYTES_MAX: usize = 200;
/// 0001-01-01T00:00:00Z, the first second that a timestamp may name.
const TIMESTAMP_SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, the last second that a timestamp may name.
const TIMESTAMP_SECONDS_MAX: i64 = 253_402_300_799;
/// About 10,000 years, the longest that a duration may be.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// A message that knows the rules its contract states. The build implements it for every message.
pub trait Checked {
    /// Whether the message is the input of an RPC. Only such a message is checked when it is decoded; what is nested in it is
    /// checked with it.
    const REQUEST: bool = false;
    /// The number of the field `request_id`, if there is one.
    const REQUEST_ID: Option<u32> = None;
    /// The numbers of the fields that hold one message of ours each: what differs in such a field is named by the field within.
    const NESTED: &'static [u32] = &[];

    /// Walks the fields and reports every rule that is broken and every resource name that is held.
    fn check<'a>(&'a self, check: &mut Check<'a>) {
        let _ = check;
    }
}

impl Checked for () {}

/// A rule that a field breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, for example `purchase.lines[2].sku`.
    pub field: String,
    /// What the field must be. It never says what it is.
    pub description: String,
    /// Which kind of rule is broken, for programs: `TOO_LONG`, `REQUIRED`…
    pub reason: &'static str,
}

/// One walk over one message.
#[derive(Debug, Default)]
pub struct Check<'a> {
    path: Vec<Segment>,
    violations: Vec<Violation>,
    text_bytes: usize,
    programs: Vec<&'a str>,
    home: Option<&'a str>,
}

#[derive(Debug)]
enum Segment {
    Field(&'static str),
    Item(usize),
}

/// Rules of a string.
#[derive(Debug)]
pub struct Text {
    /// Least number of characters.
    pub min: usize,
    /// Greatest number of characters.
    pub max: usize,
    /// What it must match.
    pub pattern: Option<&'static Pattern>,
    /// The resource that it must name, unless it is empty.
    pub resource: Option<&'static Resource>,
}

impl Text {
    /// No rule at all, to start from.
    pub const ANY: Text = Text { min: 0, max: usize::MAX, pattern: None, resource: None };
}

/// A regular expression, compiled when it is first needed.
#[derive(Debug)]
pub struct Pattern {
    source: &'static str,
    regex: OnceLock<Regex>,
}

impl Pattern {
    /// A pattern that the build has parsed.
    pub const fn new(source: &'static str) -> Pattern {
        Pattern { source, regex: OnceLock::new() }
    }

    fn matches(&self, value: &str) -> bool {
        let regex = self.regex.get_or_init(|| Regex::new(self.source).expect("the build has parsed every pattern"));
        regex.is_match(value)
    }
}

/// The forms that a resource name may have.
#[derive(Debug)]
pub struct Resource {
    /// As in the contract: alternatives separated by `|`.
    pub source: &'static str,
    /// The alternatives, segment by segment.
    pub forms: &'static [&'static [NamePart]],
}

/// A segment of a resource name.
#[derive(Debug, PartialEq, Eq)]
pub enum NamePart {
    /// This very text.
    Literal(&'static str),
    /// The id of a program: 1 to 40 of a-z, 0-9 and `-`, beginning with a letter.
    Program,
    /// Another id: 1 to 128 of letters, digits and `._~-`.
    Id,
}

impl NamePart {
    fn matches(&self, segment: &str) -> bool {
        match self {
            NamePart::Literal(literal) => segment == *literal,
            NamePart::Program => {
                segment.len() <= 40
                    && segment.starts_with(|first: char| first.is_ascii_lowercase())
                    && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            }
            NamePart::Id => {
                (1..=128).contains(&segment.len()) && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
            }
        }
    }
}

impl Resource {
    /// The form that a name has, if it has any.
    fn form_of(&self, name: &str) -> Option<&'static [NamePart]> {
        self.forms.iter().copied().find(|form| {
            let mut segments = name.split('/');
            form.iter().all(|part| segments.next().is_some_and(|segment| part.matches(segment))) && segments.next().is_none()
        })
    }
}

impl<'a> Check<'a> {
    /// Walks one message.
    pub fn of(message: &'a impl Checked) -> Check<'a> {
        let mut check = Check::default();
        message.check(&mut check);
        check
    }

    /// What was found, in the order of the fields' declarations.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The ids of the programs that the names in the message lie in; one may be there several times.
    pub fn programs(&self) -> &[&'a str] {
        &self.programs
    }

    /// Checks what a field holds.
    pub fn field(&mut self, name: &'static str, check: impl FnOnce(&mut Check<'a>)) {
        self.path.push(Segment::Field(name));
        check(self);
        self.path.pop();
    }

    /// Checks the number of a repeated field's items and, if they are not too many, each of them.
    pub fn items<T>(&mut self, items: &'a [T], min: usize, max: usize, mut check: impl FnMut(&mut Check<'a>, &'a T)) {
        if items.len() < min {
            return self.violation("TOO_FEW_ITEMS", format_args!("must have {min} or more items"));
        }
        if items.len() > max {
            return self.violation("TOO_MANY_ITEMS", format_args!("must have at most {max} items"));
        }
        for (index, item) in items.iter().enumerate() {
            self.path.push(Segment::Item(index));
            check(self, item);
            self.path.pop();
        }
    }

    /// Reports that the current field is not set but must be.
    pub fn missing(&mut self) {
        self.violation("REQUIRED", "must be set");
    }

    /// Reports that none of a oneof's fields is set but one must be.
    pub fn missing_one_of(&mut self, fields: &str) {
        self.violation("REQUIRED", format_args!("one of {fields} must be set"));
    }

    /// Checks a string that is not a list's item.
    pub fn text(&mut self, value: &'a str, rules: &Text) {
        self.bounds(value, rules);
        if let Some(resource) = rules.resource
            && !value.is_empty()
        {
            self.name(value, resource);
        }
    }

    /// Checks a string in a list. An empty name in a list names nothing and is refused. A list of programs, and only such a
    /// list, may hold several.
    pub fn text_item(&mut self, value: &'a str, rules: &Text) {
        self.bounds(value, rules);
        if let Some(resource) = rules.resource {
            if resource.forms == [[NamePart::Literal("programs"), NamePart::Program]] {
                self.program_name(value, resource);
            } else {
                self.name(value, resource);
            }
        }
    }

    fn bounds(&mut self, value: &str, rules: &Text) {
        let Text { min, max, pattern, resource: _ } = rules;
        // A string has no more characters than bytes, which most often settles the greatest length without counting.
        if *max < value.len() && *max < value.chars().count() {
            self.violation("TOO_LONG", format_args!("must have at most {max} characters"));
        } else if *min > 0 && value.chars().take(*min).count() < *min {
            self.violation("TOO_SHORT", format_args!("must have {min} or more characters"));
        }
        if let Some(pattern) = pattern
            && !pattern.matches(value)
        {
            self.violation("PATTERN_MISMATCH", format_args!("must match {}", pattern.source));
        }
    }

    /// Checks a name and takes note of its program: all names of a message must lie in the same.
    fn name(&mut self, name: &'a str, resource: &Resource) {
        let Some(program) = self.program_name(name, resource) else { return };
        let home = *self.home.get_or_insert(program);
        if home != program {
            self.violation("DIFFERENT_PROGRAMS", "names of different programs");
        }
    }

    fn program_name(&mut self, name: &'a str, resource: &Resource) -> Option<&'a str> {
        let Some(form) = resource.form_of(name) else {
            self.violation("INVALID_NAME", format_args!("must be a name like {}", resource.source));
            return None;
        };
        let position = form.iter().position(|part| *part == NamePart::Program)?;
        let program = name.split('/').nth(position)?;
        self.programs.push(program);
        Some(program)
    }

    /// Checks an integer of either size.
    pub fn integer(&mut self, value: impl Into<i64>, min: i64, max: i64) {
        let value = value.into();
        if value < min {
            self.violation("TOO_SMALL", format_args!("must be at least {min}"));
        } else if value > max {
            self.violation("TOO_LARGE", format_args!("must be at most {max}"));
        }
    }

    /// Checks the length of bytes.
    pub fn bytes(&mut self, value: &[u8], min: usize, max: usize) {
        if value.len() < min {
            self.violation("TOO_SHORT", format_args!("must have {min} or more bytes"));
        } else if value.len() > max {
            self.violation("TOO_LONG", format_args!("must have at most {max} bytes"));
        }
    }

    /// Checks the number of an enum. `defined` lists what it may be, if that matters.
    pub fn enumeration(&mut self, number: i32, defined: Option<&[i32]>, not_in: &[i32]) {
        if defined.is_some_and(|defined| !defined.contains(&number)) {
            self.violation("UNDEFINED_VALUE", "must be a value that the enum defines");
        } else if not_in.contains(&number) {
            let reason = if number == 0 { "REQUIRED" } else { "VALUE_NOT_ALLOWED" };
            let text = if number == 0 { "must be set" } else { "must be one of the values that are allowed here" };
            self.violation(reason, text);
        }
    }

    /// Checks that a duration is a proper one and within bounds, which are in nanoseconds.
    pub fn duration(&mut self, value: &Duration, min: i128, max: i128) {
        let Duration { seconds, nanos } = *value;
        let proper = seconds.unsigned_abs() <= DURATION_SECONDS_MAX.unsigned_abs()
            && nanos.unsigned_abs() < NANOS_PER_SECOND.unsigned_abs()
            && (seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0));
        let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        if !proper {
            self.violation("INVALID_DURATION", "must be a valid google.protobuf.Duration");
        } else if total < min {
            self.violation("TOO_SMALL", format_args!("must be at least {}", Span(min)));
        } else if total > max {
            self.violation("TOO_LARGE", format_args!("must be at most {}", Span(max)));
        }
    }

    fn violation(&mut self, reason: &'static str, description: impl Display) {
        let (field, description) = (self.path(), description.to_string());
        self.text_bytes += field.len() + description.len() + reason.len();
        let full = self.violations.len() == VIOLATIONS_MAX || self.text_bytes > VIOLATIONS_BYTES_MAX;
        if !full || self.violations.is_empty() {
            self.violations.push(Violation { field, description, reason });
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            let dot = if path.is_empty() { "" } else { "." };
            match segment {
                Segment::Field(name) => write!(path, "{dot}{name}"),
                Segment::Item(index) => write!(path, "[{index}]"),
            }
            .expect("writing to a string cannot fail");
        }
        path
    }
}

/// Nanoseconds, written as protobuf's JSON writes a duration: `1.5s`.
struct Span(i128);

impl Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos_per_second = u128::from(NANOS_PER_SECOND.unsigned_abs());
        let (seconds, nanos) = (self.0.unsigned_abs() / nanos_per_second, self.0.unsigned_abs() % nanos_per_second);
        let sign = if self.0 < 0 { "-" } else { "" };
        match nanos {
            0 => write!(f, "{sign}{seconds}s"),
            _ => write!(f, "{sign}{seconds}.{}s", format!("{nanos:09}").trim_end_matches('0')),
        }
    }
}

impl Checked for Timestamp {
    fn check<'a>(&'a self, check: &mut Check<'a>) {
        let proper = (TIMESTAMP_SECONDS_MIN..=TIMESTAMP_SECONDS_MAX).contains(&self.seconds) && (0..NANOS_PER_SECOND).contains(&self.nanos);
        if !proper {
            check.violation("INVALID_TIMESTAMP", "must be a valid google.protobuf.Timestamp");
        }
    }
}

impl Checked for FieldMask {
    fn check<'a>(&'a self, check: &mut Check<'a>) {
        if self.paths.len() > MASK_PATHS_MAX || self.paths.iter().any(|path| path.len() > MASK_PATH_BYTES_MAX) {
            let text = format_args!("must have at most {MASK_PATHS_MAX} paths of {MASK_PATH_BYTES_MAX} bytes");
            check.violation("TOO_LONG", text);
        }
    }
}
