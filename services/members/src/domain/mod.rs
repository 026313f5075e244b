//! What a member is and what may become of it. Pure: no IO, no clock, no randomness.

pub(crate) mod identity;
pub(crate) mod mask;
pub(crate) mod member;
pub(crate) mod phone;
pub(crate) mod profile;
