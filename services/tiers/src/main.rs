//! The tiers service in a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rpc::binary::main::<tiers::Tiers>("Serves status: schemes, evaluation and progress.")
}
