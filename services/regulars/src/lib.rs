//! The one binary: all five services, or any of them, in a process, and the command line.
//!
//! [`serve`], [`migrate`], [`keys`] and [`verify`] work on the suite's own databases; [`import`] and [`demo`] are clients like any other and
//! go through the public gRPC surface.

pub mod cli;
mod client;
mod demo;
mod import;
mod keys;
mod migrate;
mod output;
mod program;
mod serve;
mod storage;
mod verify;

use rpc::Entry;

/// The services of the suite, in the order in which they start.
pub const SERVICES: [Entry; 5] = [
    rpc::entry::<members::Members>(),
    rpc::entry::<points::Points>(),
    rpc::entry::<tiers::Tiers>(),
    rpc::entry::<referrals::Referrals>(),
    rpc::entry::<feedback::Feedback>(),
];
