//! What tells two requests with the same request id apart: the encoding of each top-level field.
//!
//! prost writes fields in the order of their numbers and drops what it does not know, and the contracts have no maps, so
//! that equal messages have equal encodings.

use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::check::Checked;
use crate::descriptor_pool;

/// The fields of a message that say what is asked for, in the order of their numbers, each with all its occurrences as they
/// stand on the wire. The field `request_id` is left out: it is compared by being found.
pub fn fields<M: prost::Message + Checked>(message: &M) -> Vec<(u32, Vec<u8>)> {
    let encoded = message.encode_to_vec();
    let mut fields: Vec<(u32, Vec<u8>)> = Vec::new();
    for (number, bytes) in walk(&encoded).filter(|(number, _)| Some(*number) != M::REQUEST_ID) {
        match fields.last_mut() {
            Some((last, grouped)) if *last == number => grouped.extend_from_slice(bytes),
            _ => fields.push((number, bytes.to_vec())),
        }
    }
    fields
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

/// The name of a field, given its message's full name and its number.
pub fn field_name(message: &str, number: u32) -> Option<String> {
    let field = descriptor_pool().get_message_by_name(message)?.get_field(number)?;
    Some(field.name().to_owned())
}
