//! The members service in a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rpc::binary::main::<members::Members>("Serves who the members are, how they are recognised, and whether they may take part.")
}
