//! The tiers service in a process of its own.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves status: schemes of levels, and who holds which.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: rpc::Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { flags } = Arguments::parse();
    match rpc::run(&flags, &[rpc::entry::<tiers::Tiers>()], announce).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(running: &rpc::Running) {
    println!("tiers serves on {}", running.address());
    // It is shown this one time: whichever process is the first on a new database makes it.
    if let Some(key) = running.first_administrator() {
        println!("administrator key: {key}");
    }
}
