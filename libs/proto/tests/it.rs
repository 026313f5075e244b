//! The generator against small contracts, the checks against a message with every kind of rule, the codec over a socket.

/// The messages and the service of `tests/proto`.
#[allow(clippy::all, clippy::allow_attributes, missing_docs, unreachable_pub, reason = "generated from tests/proto")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/trials/packages.rs"));
}
mod impls {
    include!(concat!(env!("OUT_DIR"), "/trials/impls.rs"));
}

// The generators as the build script runs them.
#[path = "../build/checks.rs"]
mod checks;
#[path = "../build/debugs.rs"]
mod debugs;
#[path = "../build/names.rs"]
mod names;
#[path = "../build/options.rs"]
mod options;
#[path = "../build/rpcs.rs"]
mod rpcs;

mod it {
    mod contracts;
    mod faults;
    mod fingerprint;
    mod rules;
    mod wire;

    use crate::generated::trials::v1 as trials;
    use prost_types::Timestamp;

    /// A request that breaks no rule and names program `tea` alone.
    fn good() -> trials::TryRequest {
        trials::TryRequest {
            title: "title".into(),
            numbers: vec![1],
            time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            source: Some(trials::try_request::Source::Owner("programs/tea/members/m-1".into())),
            first: Some(trials::try_request::Line { r#type: "ab".into(), inner: None }),
            ..Default::default()
        }
    }
}
