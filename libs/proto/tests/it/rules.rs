//! Every kind of rule, by a message that has them all.

use prost_types::{Duration, FieldMask, Timestamp};
use proto::check::{Check, Violation};
use proto::common::Money;

use super::trials::try_request::{Line, Source};
use super::trials::{TryRequest, TryResponse};
use super::{good, trials};

fn violations(request: &TryRequest) -> Vec<Violation> {
    Check::of(request).violations().to_vec()
}

/// What is reported about a good request after a change.
fn after(change: impl FnOnce(&mut TryRequest)) -> Vec<(String, &'static str, String)> {
    let mut request = good();
    change(&mut request);
    violations(&request).into_iter().map(|v| (v.field, v.reason, v.description)).collect()
}

#[track_caller]
fn one(change: impl FnOnce(&mut TryRequest), field: &str, reason: &str, description: &str) {
    let found = after(change);
    let found: Vec<_> = found.iter().map(|(field, reason, text)| (field.as_str(), *reason, text.as_str())).collect();
    assert_eq!(found, [(field, reason, description)]);
}

#[track_caller]
fn none(change: impl FnOnce(&mut TryRequest)) {
    assert_eq!(after(change), []);
}

#[test]
fn a_good_request_passes() {
    none(|_| {});
}

#[test]
fn required() {
    one(|r| r.title.clear(), "title", "REQUIRED", "must be set");
    one(|r| r.time = None, "time", "REQUIRED", "must be set");
    one(|r| r.first = None, "first", "REQUIRED", "must be set");
    one(|r| r.source = None, "source", "REQUIRED", "one of owner, money, nobody must be set");
}

#[test]
fn a_string_is_counted_in_characters() {
    none(|r| r.title = "五个字符好".into());
    one(|r| r.title = "六个字符了吗".into(), "title", "TOO_LONG", "must have at most 5 characters");
    one(|r| r.first.as_mut().unwrap().r#type = "字".into(), "first.type", "TOO_SHORT", "must have 2 or more characters");
}

#[test]
fn a_pattern_holds_for_the_whole_string() {
    none(|r| r.code = "abc".into());
    for bad in ["ABC", "abcd", "a\n", "1"] {
        one(|r| r.code = bad.into(), "code", "PATTERN_MISMATCH", "must match ^[a-z]{0,3}$");
    }
}

#[test]
fn bounds_of_integers() {
    for inside in [0, 9] {
        none(|r| r.small = inside);
    }
    one(|r| r.small = -1, "small", "TOO_SMALL", "must be at least 0");
    one(|r| r.small = 10, "small", "TOO_LARGE", "must be at most 9");
    one(|r| r.small = i32::MIN, "small", "TOO_SMALL", "must be at least 0");
    for inside in [-9_000_000_000, 9_000_000_000] {
        none(|r| r.large = inside);
    }
    one(|r| r.large = i64::MAX, "large", "TOO_LARGE", "must be at most 9000000000");
    one(|r| r.large = i64::MIN, "large", "TOO_SMALL", "must be at least -9000000000");
}

#[test]
fn an_optional_field_is_looked_at_when_it_is_set() {
    none(|r| r.maybe = None);
    none(|r| r.maybe = Some(5));
    one(|r| r.maybe = Some(0), "maybe", "TOO_SMALL", "must be at least 5");
}

#[test]
fn bytes_are_counted() {
    none(|r| r.blob = vec![0; 4]);
    one(|r| r.blob = vec![0; 5], "blob", "TOO_LONG", "must have at most 4 bytes");
}

#[test]
fn values_of_enums() {
    none(|r| r.colour = 2);
    one(|r| r.colour = 1, "colour", "VALUE_NOT_ALLOWED", "must be one of the values that are allowed here");
    one(|r| r.colour = 3, "colour", "UNDEFINED_VALUE", "must be a value that the enum defines");
    one(|r| r.colour = -1, "colour", "UNDEFINED_VALUE", "must be a value that the enum defines");
}

#[test]
fn lists_and_what_is_in_them() {
    let line = |kind: &str| Line { r#type: kind.into(), inner: None };
    none(|r| r.lines = vec![line("ab"), line("abc")]);
    one(|r| r.lines = vec![line("ab"); 3], "lines", "TOO_MANY_ITEMS", "must have at most 2 items");
    one(|r| r.lines = vec![line("ab"), line("a")], "lines[1].type", "TOO_SHORT", "must have 2 or more characters");
    one(|r| r.numbers.clear(), "numbers", "TOO_FEW_ITEMS", "must have 1 or more items");
    one(|r| r.numbers = vec![0, 1, -1], "numbers[2]", "TOO_SMALL", "must be at least 0");
    let nested = Line { r#type: "ab".into(), inner: Some(Box::new(line("abcd"))) };
    one(|r| r.lines = vec![nested], "lines[0].inner.type", "TOO_LONG", "must have at most 3 characters");
}

#[test]
fn durations() {
    let wait = |seconds, nanos| move |r: &mut TryRequest| r.wait = Some(Duration { seconds, nanos });
    none(wait(1, 500_000_000));
    none(wait(59, 999_999_999));
    one(wait(1, 499_999_999), "wait", "TOO_SMALL", "must be at least 1.5s");
    one(wait(60, 0), "wait", "TOO_LARGE", "must be at most 59.999999999s");
    one(wait(2, -1), "wait", "INVALID_DURATION", "must be a valid google.protobuf.Duration");
    one(wait(i64::MIN, i32::MIN), "wait", "INVALID_DURATION", "must be a valid google.protobuf.Duration");
}

#[test]
fn timestamps_and_masks_are_well_formed() {
    let time = |seconds, nanos| move |r: &mut TryRequest| r.time = Some(Timestamp { seconds, nanos });
    none(time(-62_135_596_800, 0));
    none(time(253_402_300_799, 999_999_999));
    for (seconds, nanos) in [(i64::MAX, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)] {
        one(time(seconds, nanos), "time", "INVALID_TIMESTAMP", "must be a valid google.protobuf.Timestamp");
    }
    none(|r| r.mask = Some(FieldMask { paths: vec!["title".into(); 100] }));
    for paths in [vec![String::new(); 101], vec!["x".repeat(201)]] {
        one(|r| r.mask = Some(FieldMask { paths }), "mask", "TOO_LONG", "must have at most 100 paths of 200 bytes");
    }
}

#[test]
fn the_field_of_a_oneof_is_checked() {
    let money = |code: &str| Some(Source::Money(Money { currency_code: code.into(), minor_units: 1 }));
    none(|r| r.source = money("CNY"));
    none(|r| r.source = Some(Source::Nobody(false)));
    one(|r| r.source = money("cny"), "money.currency_code", "PATTERN_MISMATCH", "must match ^[A-Z]{3}$");
}

#[test]
fn names_of_resources() {
    let owner = |name: &str| Some(Source::Owner(name.to_owned()));
    let like = "must be a name like programs/{program}/members/{member}|apiKeys/{api_key}";
    for good in ["programs/tea/members/A.b_c~d-1", "apiKeys/k1", "", &format!("programs/{}/members/m", "p".repeat(40))] {
        none(|r| r.source = owner(good));
    }
    let long = format!("programs/{}/members/m", "p".repeat(41));
    let bad = [
        "programs/tea",
        "programs/tea/members/",
        "programs/tea/members/m/",
        "/programs/tea/members/m",
        "programs/Tea/members/m",
        "programs/1tea/members/m",
        "programs//members/m",
        "programs/tea/stores/m",
        "programs/tea/members/m m",
        "programs/tea/members/马",
        "apiKeys",
        &long,
    ];
    for bad in bad {
        one(|r| r.source = owner(bad), "owner", "INVALID_NAME", like);
    }
    // An item of a list names something, or it would not be there.
    one(|r| r.members = vec![String::new()], "members[0]", "INVALID_NAME", "must be a name like programs/{program}/members/{member}");
}

#[test]
fn all_names_lie_in_one_program() {
    none(|r| r.store = "programs/tea/stores/s".into());
    one(|r| r.store = "programs/coffee/stores/s".into(), "store", "DIFFERENT_PROGRAMS", "names of different programs");
    let members = |r: &mut TryRequest| r.members = vec!["programs/tea/members/1".into(), "programs/cocoa/members/2".into()];
    one(members, "members[1]", "DIFFERENT_PROGRAMS", "names of different programs");

    // Only a list of programs holds several, and each of them counts.
    let mut request = good();
    request.programs = vec!["programs/coffee".into(), "programs/cocoa".into()];
    let check = Check::of(&request);
    assert_eq!(check.violations(), []);
    assert_eq!(check.programs(), ["tea", "coffee", "cocoa"]);
}

#[test]
fn every_fault_is_told_and_no_value() {
    let secret = "secret 13812345678";
    let mut request = TryRequest { title: secret.into(), code: secret.into(), store: secret.into(), ..Default::default() };
    request.lines = vec![Line { r#type: secret.into(), inner: None }];
    let found = violations(&request);
    let fields: Vec<&str> = found.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["title", "code", "lines[0].type", "numbers", "time", "source", "store", "first"]);
    assert!(found.iter().all(|v| !v.description.contains("secret") && !v.description.contains("138")), "{found:?}");
}

#[test]
fn the_report_fits_a_header() {
    // A chain of lines is as deep as protobuf may nest, and each link breaks a rule.
    let chain = (0..90).fold(None, |inner, _| Some(Box::new(Line { r#type: "x".into(), inner })));
    let request = TryRequest { first: chain.map(|line| *line), ..good() };
    let found = violations(&request);
    let bytes: usize = found.iter().map(|v| v.field.len() + v.description.len() + v.reason.len()).sum();
    assert!(found.len() > 10 && found.len() <= 50 && bytes <= 4096, "{} violations, {bytes} bytes", found.len());
}

#[test]
fn only_requests_are_requests() {
    use proto::check::Checked;
    assert_eq!(
        [TryRequest::REQUEST, TryResponse::REQUEST, Line::REQUEST, trials::TryRequest::REQUEST_ID == Some(19), Money::REQUEST],
        [true, false, false, true, false]
    );
}
