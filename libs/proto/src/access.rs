//! Which roles may call which RPC, as the contracts say.

use crate::common::Role;

/// One RPC of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// The path of its HTTP/2 request, for example `/regulars.points.v1.PointsService/Award`.
    pub path: &'static str,
    /// Full name of its service.
    pub service: &'static str,
    /// Its name in the service.
    pub method: &'static str,
    /// The roles that may call it; never empty.
    pub roles: &'static [Role],
    /// Full name of the message it takes.
    pub input: &'static str,
    /// Full name of the message it answers with.
    pub output: &'static str,
    /// Whether the caller sends a stream.
    pub client_streaming: bool,
    /// Whether it answers with a stream.
    pub server_streaming: bool,
}

/// Every RPC, ordered by path.
pub static RPCS: &[Rpc] = include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

/// The RPC of a path; none for paths that are not ours, such as health and reflection.
pub fn rpc(path: &str) -> Option<&'static Rpc> {
    RPCS.binary_search_by(|rpc| rpc.path.cmp(path)).ok().map(|index| &RPCS[index])
}

/// The roles that may call the RPC of a path.
pub fn access(path: &str) -> Option<&'static [Role]> {
    rpc(path).map(|rpc| rpc.roles)
}
