//! The points service in a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rpc::binary::main::<points::Points>("Serves the ledger of points, and the purchases that everything else lives on.")
}
