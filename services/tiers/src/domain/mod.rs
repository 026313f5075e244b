//! The rules of status, pure: no clock, no randomness, no IO.
//!
//! What a member holds is a function of the purchases, the versions of the scheme and the grants, not of the order in which
//! they became known: [`earned::walk`] goes through the days, [`timeline::overlay`] lays grants over the result, and
//! [`timeline::merge`] and [`timeline::corrections`] say what of it is news.
//!
//! * On every day with a purchase, each level whose threshold the period's points reach is held from then on for its validity;
//!   the highest one held is the member's. So more points never lower a level, and a level ends by time alone.
//! * A return under `Reevaluate` counts as if it had been known on the day of the purchase: what remains is what the other
//!   purchases would have reached. What was held until the return was held: the log keeps it.
//! * A purchase that becomes known late raises the past from its own time on and lowers nothing.

pub mod earned;
pub mod points;
pub mod progress;
pub mod scheme;
pub mod timeline;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
