//! Fields of encoded messages.

use prost::{Message, Name};
use proto::fingerprint::{field_name, fields, walk};

use super::good;
use super::trials::try_request::{Line, Source};
use super::trials::{self, TryRequest};

/// The paths at which two requests differ.
fn differing(one: &TryRequest, other: &TryRequest) -> Vec<(u32, u32)> {
    let (one, other) = (one.encode_to_vec(), other.encode_to_vec());
    let (one, other) = (fields::<TryRequest>(&one), fields::<TryRequest>(&other));
    let in_one = one.iter().filter(|field| !other.contains(field)).chain(other.iter().filter(|field| !one.contains(field)));
    in_one.map(|(path, _)| (path >> 16, path & 0xffff)).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_field_is_all_its_occurrences_and_the_request_id_is_none() {
    let mut request = TryRequest { request_id: "first".into(), ..good() };
    request.members = vec!["a".into(), "bc".into()];
    let first = request.clone();
    let encoded = request.encode_to_vec();
    let paths: Vec<(u32, u32)> = fields::<TryRequest>(&encoded).iter().map(|(path, _)| (path >> 16, path & 0xffff)).collect();
    assert_eq!(paths, [(1, 0), (9, 0), (11, 0), (13, 0), (18, 0), (20, 0), (20, 1)]);
    assert_eq!(walk(&encoded).filter(|(number, _)| *number == 18).count(), 2);
    assert_eq!(walk(&encoded).flat_map(|(_, bytes)| bytes).copied().collect::<Vec<u8>>(), encoded);

    request.request_id = "second".into();
    assert_eq!(differing(&first, &request), []);
    // The same letters, cut elsewhere, are another list.
    request.members = vec!["ab".into(), "c".into()];
    assert_eq!(differing(&first, &request), [(18, 0)]);
}

#[test]
fn a_message_is_taken_apart_where_it_is_not_repeated_and_one_of_ours() {
    let line = |r#type: &str, inner: Option<Line>| Line { r#type: r#type.into(), inner: inner.map(Box::new) };
    let with = |first: Option<Line>| TryRequest { first, ..good() };
    let ab = with(Some(line("ab", None)));
    assert_eq!(differing(&ab, &with(Some(line("cd", None)))), [(20, 1)]);
    assert_eq!(differing(&ab, &with(Some(line("ab", Some(line("", None)))))), [(20, 2)]);
    let deeper = |text: &str| with(Some(line("ab", Some(line(text, None)))));
    assert_eq!(differing(&deeper("x"), &deeper("y")), [(20, 2)], "one level only");
    // None, an empty one and one with something in it are three.
    assert_eq!(differing(&with(None), &with(Some(line("", None)))), [(20, 0)]);
    assert_eq!(differing(&with(Some(line("", None))), &ab), [(20, 1)]);
    assert_eq!(differing(&with(None), &ab), [(20, 0), (20, 1)]);

    let money = |minor_units| TryRequest {
        source: Some(Source::Money(proto::common::Money { currency_code: "EUR".into(), minor_units })),
        ..good()
    };
    assert_eq!(differing(&money(1), &money(2)), [(14, 2)], "in a oneof too");
    let later = TryRequest { time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }), ..good() };
    assert_eq!(differing(&good(), &later), [(11, 0)], "a time is one value");
    let lines = |text: &str| TryRequest { lines: vec![line(text, None)], ..good() };
    assert_eq!(differing(&lines("a"), &lines("b")), [(8, 0)]);
    assert_eq!(<TryRequest as proto::check::Checked>::NESTED, [14, 20]);
    assert!(<trials::TryResponse as proto::check::Checked>::NESTED.is_empty(), "no request");
}

#[test]
fn what_is_no_protobuf_is_not_lost() {
    assert_eq!(walk(&[]).count(), 0);
    assert_eq!(walk(&[8, 1, 0xff]).collect::<Vec<_>>(), [(1, &[8, 1][..]), (0, &[0xff][..])]);
    // A length beyond the end.
    assert_eq!(walk(&[10, 200, 1]).collect::<Vec<_>>(), [(0, &[10, 200, 1][..])]);
}

#[test]
fn fields_have_names() {
    let message = proto::points::AwardRequest::full_name();
    let number = |message: &str, field: &str| {
        let message = proto::descriptor_pool().get_message_by_name(message).unwrap();
        message.get_field_by_name(field).unwrap().number()
    };
    let purchase = number(&message, "purchase") << 16;
    let net = number(&proto::points::PurchaseInput::full_name(), "net");
    assert_eq!(field_name(&message, purchase).as_deref(), Some("purchase"));
    assert_eq!(field_name(&message, purchase | net).as_deref(), Some("purchase.net"));
    assert_eq!(field_name(&message, purchase | 999), None);
    assert_eq!(field_name(&message, 99 << 16), None);
    assert_eq!(field_name("regulars.directory.v1.Nothing", 1 << 16), None);
}
