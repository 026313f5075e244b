//! The rules of status, pure: no clock, no randomness, no IO.
//!
//! What a member holds is a function of the purchases, the versions of the scheme and the grants, not of the order in which
//! they became known: [`earned::walk`] goes through the days, [`timeline::Timeline::overlay`] lays grants over the result, and
//! [`timeline::corrections`] says what of it is news.

pub mod earned;
pub mod points;
pub mod progress;
pub mod scheme;
pub mod timeline;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
