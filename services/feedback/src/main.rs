//! The feedback service in a process of its own.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves surveys: invitations after purchases, responses, net promoter scores.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: rpc::Flags,
}

#[tokio::main]
async fn main() -> Result<(), rpc::StartError> {
    let Arguments { flags } = Arguments::parse();
    rpc::run(&flags, &[rpc::entry::<feedback::Feedback>()], |running| println!("feedback serves on {}", running.address())).await
}
