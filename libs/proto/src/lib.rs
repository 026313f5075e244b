//! The contracts of the suite as Rust: messages, clients and servers generated from `proto/regulars`, the checks made from
//! the options in them, and the codec that runs these for every request.
//!
//! Modules are named after packages: [`regulars`]`::points::v1` is also `proto::points`.

// The generated checks name this crate as any other crate would.
extern crate self as proto;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub mod access;
pub mod check;
pub mod codec;
pub mod fingerprint;
pub mod json;

#[allow(
    clippy::all,
    clippy::allow_attributes,
    missing_docs,
    unreachable_pub,
    rustdoc::all,
    reason = "generated from the contracts, whose comments and names are linted there"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}
mod impls {
    include!(concat!(env!("OUT_DIR"), "/impls.rs"));
}

pub use generated::regulars;
include!(concat!(env!("OUT_DIR"), "/exports.rs"));

/// The contracts with their options and comments, for reflection and documentation.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The contracts, to look names and options up in. It is built at the first call; nothing that is called often needs it.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build has encoded the set"));
    &POOL
}
