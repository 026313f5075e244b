//! The referrals service in a process of its own.

use std::process::ExitCode;

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
async fn main() -> ExitCode {
    let Arguments { flags } = Arguments::parse();
    match rpc::run(&flags, &[rpc::entry::<referrals::Referrals>()], announce).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(running: &rpc::Running) {
    println!("referrals serves on {}", running.address());
    // It is shown this one time: whichever process is the first on a new database makes it.
    if let Some(key) = running.first_administrator() {
        println!("administrator key: {key}");
    }
}
