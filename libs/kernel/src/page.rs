use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Where the next page begins: after a key, under a filter. Opaque to callers.
///
/// It holds the last key, not an offset, so that inserts between two pages neither repeat nor hide a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    /// The parts of the last key on the page before.
    pub key: Vec<String>,
}

/// The token is not one of ours, or belongs to another list or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a page token of this list and filter")]
pub struct PageTokenError;

const CHECK_LEN: usize = 8;

impl PageToken {
    /// The token after a row with this key. `filter` is everything else that the list depends on: its name, parent, filters and order.
    pub fn encode(filter: &[&str], key: &[&str]) -> String {
        let mut bytes = check(filter, key).to_vec();
        for part in key {
            bytes.extend_from_slice(&u32::try_from(part.len()).expect("a key part is short").to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; `None` for the empty token of a first page. A token of another list or filter, or one with another
    /// number of key parts, is refused.
    pub fn decode<const N: usize>(filter: &[&str], token: &str) -> Result<Option<[String; N]>, PageTokenError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageTokenError)?;
        let (found, mut rest) = bytes.split_at_checked(CHECK_LEN).ok_or(PageTokenError)?;
        let mut key = Vec::with_capacity(N);
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<4>().ok_or(PageTokenError)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| PageTokenError)?;
            let (part, tail) = tail.split_at_checked(length).ok_or(PageTokenError)?;
            key.push(String::from_utf8(part.to_vec()).map_err(|_| PageTokenError)?);
            rest = tail;
        }
        let parts: Vec<&str> = key.iter().map(String::as_str).collect();
        if found != check(filter, &parts) {
            return Err(PageTokenError);
        }
        key.try_into().map(Some).map_err(|_| PageTokenError)
    }
}

/// Binds the key to the filter. Not a secret: it guards against mistakes, and a forged token shows nothing that the list would not.
fn check(filter: &[&str], key: &[&str]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key("regulars page token v1");
    for parts in [filter, key] {
        hasher.update(&(parts.len() as u64).to_be_bytes());
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    let mut check = [0; CHECK_LEN];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// How many rows a page has: 0 means 50, more than 1000 is cut to 1000. Negative sizes do not pass the field rules.
pub fn page_size(requested: i32) -> i64 {
    match requested {
        ..=0 => 50,
        wanted => i64::from(wanted.min(1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_list_and_filter() {
        let token = PageToken::encode(&["members", "tea"], &["2026", "x"]);
        assert_eq!(PageToken::decode(&["members", "tea"], &token), Ok(Some(["2026".to_owned(), "x".to_owned()])));
        assert_eq!(PageToken::decode::<2>(&["members", "coffee"], &token), Err(PageTokenError));
        assert_eq!(PageToken::decode::<1>(&["members", "tea"], &token), Err(PageTokenError));
        assert_eq!(PageToken::decode::<1>(&[], ""), Ok(None));
        for bad in ["x", "!!!!", "AAAAAAAAAAAAAAAA", &token[1..], &token[..token.len() - 1]] {
            assert_eq!(PageToken::decode::<2>(&["members", "tea"], bad), Err(PageTokenError), "{bad}");
        }
    }
}
