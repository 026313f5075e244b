//! What tells two requests with the same request id apart: the encoding of each field, and of each field of what is nested in
//! a field that is not repeated.
//!
//! prost writes fields in the order of their numbers and drops what it does not know, and the contracts have no maps, so
//! that equal messages have equal encodings.

use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};

use crate::check::Checked;
use crate::descriptor_pool;

/// Where a field of a request stands: its number times 65,536, plus the number of the field within it, if it is one that is
/// taken apart. The build refuses greater numbers.
pub type Path = u32;

const NESTED_BITS: u32 = 16;

/// The fields of a request that say what is asked for, given its encoding by prost: each with all its occurrences as they stand
/// on the wire. Of a field in [`Checked::NESTED`] there is the key, which tells an empty message from none, and then its fields.
/// The field `request_id` is left out: it is compared by being found.
pub fn fields<M: Checked>(encoded: &[u8]) -> Vec<(Path, &[u8])> {
    let mut fields = Vec::new();
    for (number, bytes) in grouped(encoded).filter(|(number, _)| Some(*number) != M::REQUEST_ID) {
        let path = number << NESTED_BITS;
        match M::NESTED.contains(&number).then(|| content(bytes)).flatten() {
            Some((key, content)) => {
                fields.push((path, key));
                fields.extend(grouped(content).map(|(nested, bytes)| (path | nested, bytes)));
            }
            None => fields.push((path, bytes)),
        }
    }
    fields
}

/// Every field of an encoded message with all its occurrences, which prost writes one after the other.
fn grouped(mut encoded: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (number, _) = walk(encoded).next()?;
        let length = walk(encoded).take_while(|(other, _)| *other == number).map(|(_, bytes)| bytes.len()).sum();
        let (field, rest) = encoded.split_at(length);
        encoded = rest;
        Some((number, field))
    })
}

/// Splits a nested message into its key and its content, which its length says to be all the rest.
fn content(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = field;
    decode_key(&mut rest).ok()?;
    let key = &field[..field.len() - rest.len()];
    let length = decode_varint(&mut rest).ok()?;
    (rest.len() as u64 == length).then_some((key, rest))
}

/// Every occurrence of a top-level field in an encoded message: its number, and its bytes with key and length.
/// What is not protobuf comes last, whole, as number 0; an encoding made by prost has none.
pub fn walk(mut encoded: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        if encoded.is_empty() {
            return None;
        }
        let (number, length) = first(encoded).unwrap_or((0, encoded.len()));
        let (field, rest) = encoded.split_at(length);
        encoded = rest;
        Some((number, field))
    })
}

/// Number and length of the first field.
fn first(encoded: &[u8]) -> Result<(u32, usize), prost::DecodeError> {
    let mut rest = encoded;
    let (number, wire_type) = decode_key(&mut rest)?;
    skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
    Ok((number, encoded.len() - rest.len()))
}

/// The name of a field, for example `purchase.net`, given its message's full name.
pub fn field_name(message: &str, path: Path) -> Option<String> {
    let field = descriptor_pool().get_message_by_name(message)?.get_field(path >> NESTED_BITS)?;
    match path & !(Path::MAX << NESTED_BITS) {
        0 => Some(field.name().to_owned()),
        nested => Some(format!("{}.{}", field.name(), field.kind().as_message()?.get_field(nested)?.name())),
    }
}
