//! The feedback service over the wire, on both engines, behind a real points feed.

mod answering;
mod asking;
mod figures;
mod suite;
