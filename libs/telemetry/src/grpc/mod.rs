//! Traces and metrics of RPCs, at both ends of a call.

mod client;
mod server;

pub use client::inject;
pub use server::{Observe, ObservedBody, ObservedFuture, RpcLayer};

/// The W3C header that carries trace id, parent span and sampling decision.
const TRACEPARENT: &str = "traceparent";
