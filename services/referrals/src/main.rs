//! The referrals service in a process of its own.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves referrals: codes, attribution of friends, qualification, rewards for both sides.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: rpc::Flags,
}

#[tokio::main]
async fn main() -> Result<(), rpc::StartError> {
    let Arguments { flags } = Arguments::parse();
    rpc::run(&flags, &[rpc::entry::<referrals::Referrals>()], |running| println!("referrals serves on {}", running.address())).await
}
