//! `cargo xtask lint`: format, lints, and what must not stand in a file.

use anyhow::{Result, bail};

use crate::shell::{self, cargo, command};

pub(crate) fn run() -> Result<()> {
    format()?;
    homes()?;
    clippy()
}

pub(crate) fn format() -> Result<()> {
    shell::run(&mut cargo(["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Result<()> {
    shell::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// A path into somebody's home directory works for nobody else.
pub(crate) fn homes() -> Result<()> {
    let pattern = "(/home/|/Users/|/root/)[A-Za-z.]";
    // git grep succeeds when it has found something.
    let mut grep = command("git", ["grep", "--untracked", "-nIE", pattern, "--", ".", ":!xtask/src/lint.rs"]);
    if grep.status()?.success() {
        bail!("the lines above name a path of one machine");
    }
    Ok(())
}
