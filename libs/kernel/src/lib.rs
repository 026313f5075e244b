//! Pure types that every crate speaks: time and zones, ids and names, money and page tokens.
//!
//! Nothing here does IO or looks at a clock; [`Clock`] and [`Ids`] are how time and randomness come in.

mod context;
mod money;
pub mod name;
mod page;
mod period;
mod time;

pub use context::{Clock, Context, FixedClock, Ids, RandomIds, SeededIds, SystemClock};
pub use money::{Currency, Money, MoneyError};
pub use name::{MemberId, NameError, ProgramId};
pub use page::{PageToken, PageTokenError, page_size};
pub use period::{CalendarUnit, Period, Rounding};
pub use time::{Timestamp, Zone, ZoneError};
pub use uuid::Uuid;
