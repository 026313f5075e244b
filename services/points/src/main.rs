//! The points service in a process of its own.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the ledger of points, and the purchases that everything else lives on.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: rpc::Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { flags } = Arguments::parse();
    match rpc::run(&flags, &[rpc::entry::<points::Points>()], announce).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(running: &rpc::Running) {
    println!("points serves on {}", running.address());
    // It is shown this one time: whichever process is the first on a new database makes it.
    if let Some(key) = running.first_administrator() {
        println!("administrator key: {key}");
    }
}
