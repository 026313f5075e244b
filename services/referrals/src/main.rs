//! The referrals service in a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rpc::binary::main::<referrals::Referrals>("Serves codes, attribution, qualification and the rewards of both sides.")
}
