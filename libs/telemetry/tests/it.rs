//! Telemetry seen from outside: by a collector, by Prometheus, by the server and the client of an RPC.

#![expect(clippy::unwrap_used, reason = "a test stops where it goes wrong")]

#[path = "it/config.rs"]
mod config;
#[path = "it/layer.rs"]
mod layer;
#[path = "it/otlp.rs"]
mod otlp;
#[path = "it/scrape.rs"]
mod scrape;
#[path = "it/world.rs"]
mod world;
