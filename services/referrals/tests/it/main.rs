//! The referrals service over the wire, on both engines, between neighbours that are small but real: a members and a points
//! service with databases and feeds of their own, and a points ledger that remembers what it was told.

mod codes;
mod flow;
mod neighbours;
mod plans;
mod referrals;
mod rewards;
mod roles;
mod suite;
