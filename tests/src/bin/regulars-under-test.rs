//! The program `regulars`, built with the tests that start and kill it: cargo makes the programs of a package for its own
//! tests only, and what lies in the target directory might be older than the code.

use std::process::ExitCode;

fn main() -> ExitCode {
    regulars::cli::main()
}
