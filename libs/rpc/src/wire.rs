//! Times, pages and other values that every service reads from and writes into messages.

use kernel::{PageToken, Timestamp};
use tonic::Status;

use crate::status;

/// A moment as `google.protobuf.Timestamp`.
pub fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = moment.to_parts();
    prost_types::Timestamp { seconds, nanos }
}

/// The moment of a `google.protobuf.Timestamp`, cut to microseconds; INVALID_ARGUMENT naming `field` when it is none.
pub fn moment(field: &str, value: &prost_types::Timestamp) -> Result<Timestamp, Status> {
    Timestamp::from_parts(value.seconds, value.nanos)
        .ok_or_else(|| status::bad_request([(field, "must be a time from year 1 to 9999 with nanos from 0 to 999999999")]))
}

/// What part of a list is asked for: the rows after a key, in the key's order.
pub struct Page<'a, const N: usize> {
    filter: &'a [&'a str],
    /// The key's parts of the last row on the page before; `None` on the first page.
    pub after: Option<[String; N]>,
    size: usize,
}

impl<'a, const N: usize> Page<'a, N> {
    /// Reads `page_size` and `page_token`. `filter` is everything else that the list depends on: its name, parent, filters.
    /// INVALID_ARGUMENT naming `page_token` when it belongs to another list.
    pub fn parse(filter: &'a [&'a str], page_size: i32, page_token: &str) -> Result<Page<'a, N>, Status> {
        let after = PageToken::decode(filter, page_token).map_err(|error| status::bad_request([("page_token", error.to_string())]))?;
        let size = usize::try_from(kernel::page_size(page_size)).expect("a page has at most 1000 rows");
        Ok(Page { filter, after, size })
    }

    /// How many rows to read: one more than are shown tells whether there is a next page.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).expect("a page has at most 1000 rows") + 1
    }

    /// The rows to show and the token of the next page, empty when there is none.
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> [String; N]) -> (Vec<T>, String) {
        if rows.len() <= self.size {
            return (rows, String::new());
        }
        rows.truncate(self.size);
        let last = rows.last().map(key).expect("a page has at least one row");
        let token = PageToken::encode(self.filter, &last.each_ref().map(String::as_str));
        (rows, token)
    }
}
