//! Remembered answers, packed: names come many times in one, and nobody reads it but he who asks again.

use persistence::Error;

/// What a packed answer begins with. No message begins with it, so one from before answers were packed can be told.
const PACKED: u8 = 0;
/// The most that a byte can stand for in this form; a damaged length asks for no more memory than that.
const RATIO_MAX: usize = 255;
/// The length of that byte and of the answer's length behind it.
const HEADER: usize = 5;

/// An answer as it is stored.
pub(in crate::store) fn pack(answer: &[u8]) -> Vec<u8> {
    let Ok(len) = u32::try_from(answer.len()) else { return answer.to_vec() };
    let mut packed = vec![PACKED; HEADER + lz4_flex::block::get_maximum_output_size(answer.len())];
    packed[1..HEADER].copy_from_slice(&len.to_le_bytes());
    match lz4_flex::block::compress_into(answer, &mut packed[HEADER..]) {
        Ok(len) if HEADER + len < answer.len() => {
            packed.truncate(HEADER + len);
            packed
        }
        _ => answer.to_vec(),
    }
}

/// An answer as it was given.
pub(in crate::store) fn unpack(stored: Vec<u8>) -> Result<Vec<u8>, Error> {
    let damaged = || Error::Corrupt("a remembered answer".to_owned());
    let Some((&PACKED, rest)) = stored.split_first() else { return Ok(stored) };
    let (len, packed) = rest.split_first_chunk().ok_or_else(damaged)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > packed.len().saturating_mul(RATIO_MAX) {
        return Err(damaged());
    }
    lz4_flex::block::decompress(packed, len).ok().filter(|answer| answer.len() == len).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};

    #[test]
    fn what_is_packed_is_unpacked() {
        let name = b"\x0aprograms/bench/members/0191d3c4-5678-7000-8000-000000000001/entries/7";
        for answer in [Vec::new(), name.to_vec(), name.repeat(12), (8..=255).collect(), vec![10; 100_000]] {
            assert_eq!(unpack(pack(&answer)).unwrap(), answer);
        }
        assert!(pack(&name.repeat(12)).len() < 2 * name.len(), "names that come again take next to nothing");
    }

    #[test]
    fn answers_from_before_are_read_as_they_are() {
        let answer = b"\x0aan answer".repeat(30);
        assert_eq!(unpack(answer.clone()).unwrap(), answer);
    }

    #[test]
    fn what_cannot_be_unpacked_is_damaged() {
        let mut packed = pack(&b"\x0aan answer".repeat(30));
        packed.truncate(packed.len() - 3);
        assert!(unpack(packed).is_err());
        assert!(unpack(vec![0]).is_err());
        assert!(unpack(vec![0, 255, 255, 255, 255, 1, 2, 3]).is_err(), "no four gigabytes for three bytes");
    }
}
