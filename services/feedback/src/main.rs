//! The feedback service in a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rpc::binary::main::<feedback::Feedback>("Serves surveys, invitations, answers and what they add up to.")
}
