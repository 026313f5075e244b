//! The members service over the wire, on both engines.

#[path = "it/change.rs"]
mod change;
#[path = "it/enrol.rs"]
mod enrol;
#[path = "it/privacy.rs"]
mod privacy;
#[path = "it/read.rs"]
mod read;
#[path = "it/suite.rs"]
mod suite;
