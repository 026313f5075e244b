//! Fields of encoded messages.

use prost::{Message, Name};
use proto::fingerprint::{field_name, fields, walk};

use super::good;
use super::trials::TryRequest;

#[test]
fn a_field_is_all_its_occurrences_and_the_request_id_is_none() {
    let mut request = TryRequest { request_id: "first".into(), ..good() };
    request.members = vec!["a".into(), "bc".into()];
    let first = fields(&request);
    let numbers: Vec<u32> = first.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 9, 11, 13, 18, 20]);
    let encoded = request.encode_to_vec();
    assert_eq!(walk(&encoded).filter(|(number, _)| *number == 18).count(), 2);
    assert_eq!(walk(&encoded).flat_map(|(_, bytes)| bytes).copied().collect::<Vec<u8>>(), encoded);

    request.request_id = "second".into();
    assert_eq!(fields(&request), first);
    // The same letters, cut elsewhere, are another list.
    request.members = vec!["ab".into(), "c".into()];
    let differing: Vec<u32> = fields(&request).iter().zip(&first).filter(|(one, other)| one != other).map(|(one, _)| one.0).collect();
    assert_eq!(differing, [18]);
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
    let message = proto::directory::CreateStoreRequest::full_name();
    assert_eq!(field_name(&message, 2).as_deref(), Some("store_id"));
    assert_eq!(field_name(&message, 99), None);
    assert_eq!(field_name("regulars.directory.v1.Nothing", 1), None);
}
