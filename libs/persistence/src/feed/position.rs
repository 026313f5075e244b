use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::PARTITIONS;

/// The first byte of an encoded position, should its form ever change.
const FORM: u8 = 1;
const ENCODED_BYTES: usize = 1 + 16 + 8 * PARTITIONS as usize;

/// A place in a feed: per partition the sequence of the last event that was read. Opaque outside as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub(super) feed: Uuid,
    pub(super) after: [i64; PARTITIONS as usize],
}

/// The text is no position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor of a feed")]
pub struct PositionError;

impl Position {
    /// As opaque text of 194 printable characters.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.push(FORM);
        bytes.extend_from_slice(self.feed.as_bytes());
        bytes.extend(self.after.iter().flat_map(|sequence| sequence.to_be_bytes()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Position::encode`] has written. Whose feed it belongs to is checked when it is used.
    pub fn decode(text: &str) -> Result<Position, PositionError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PositionError)?;
        let bytes: [u8; ENCODED_BYTES] = bytes.try_into().map_err(|_| PositionError)?;
        let (sequences, _) = bytes[17..].as_chunks::<8>();
        let mut after = [0; PARTITIONS as usize];
        for (sequence, bytes) in after.iter_mut().zip(sequences) {
            *sequence = i64::from_be_bytes(*bytes);
        }
        let feed = Uuid::from_slice(&bytes[1..17]).map_err(|_| PositionError)?;
        if bytes[0] == FORM && after.iter().all(|sequence| *sequence >= 0) { Ok(Position { feed, after }) } else { Err(PositionError) }
    }
}
