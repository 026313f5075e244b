//! The members service in a process of its own.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves members: who they are, how they are recognised, whether they may take part.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: rpc::Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { flags } = Arguments::parse();
    match rpc::run(&flags, &[rpc::entry::<members::Members>()], announce).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(running: &rpc::Running) {
    println!("members serves on {}", running.address());
    // It is shown this one time: whichever process is the first on a new database makes it.
    if let Some(key) = running.first_administrator() {
        println!("administrator key: {key}");
    }
}
