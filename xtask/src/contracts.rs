//! `cargo xtask proto`: checks of the contracts by buf. Its rules are in `buf.yaml`.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::reference;
use crate::shell::{command, on_path, output, root, run as run_command, succeeds, target};
use crate::tools::{self, apt_install};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// The commit whose contracts must not be broken; without it the point where this branch left the main one.
    #[arg(long, value_name = "COMMIT")]
    against: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if on_path("npm").is_none() {
        apt_install("npm")?;
    }
    let buf = tools::buf()?;
    run_command(&mut command(&buf, ["lint"]))?;
    run_command(&mut command(&buf, ["format", "--diff", "--exit-code"]))?;
    match base(options.against.as_deref())? {
        Some(base) => nothing_broken(&buf, &base)?,
        None => eprintln!("there is no earlier commit with contracts that could be broken"),
    }
    reference::run(&reference::Options { check: true })
}

/// The commit to compare with, if it has contracts: the given one, else where this branch left the main one, else, on the main
/// one, the commit before.
fn base(given: Option<&str>) -> Result<Option<String>> {
    let exists = |object: &str| succeeds(&mut command("git", ["cat-file", "-e", object]));
    let revision = |arguments: &[&str]| output(&mut command("git", arguments)).map(|text| text.trim().to_owned());
    let base = match given {
        Some(commit) => revision(&["rev-parse", "--verify", commit])?,
        None => {
            let main = ["origin/main", "main"].into_iter().find(|branch| exists(&format!("{branch}^{{commit}}"))).unwrap_or("HEAD");
            let base = revision(&["merge-base", "HEAD", main])?;
            if base == revision(&["rev-parse", "HEAD"])? { format!("{base}~1") } else { base }
        }
    };
    Ok(exists(&format!("{base}:proto")).then_some(base))
}

/// Takes the rules of today for both sides; the commit may be older than they are.
fn nothing_broken(buf: &Path, base: &str) -> Result<()> {
    let folder = target("contracts-before");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let archive = folder.join("proto.tar");
    run_command(command("git", ["archive", "--output"]).arg(&archive).args([base, "proto"]))?;
    run_command(command("tar", ["-xf"]).arg(&archive).arg("-C").arg(&folder))?;
    fs::copy(root().join("buf.yaml"), folder.join("buf.yaml"))?;
    run_command(command(buf, ["breaking", "--against"]).arg(&folder))
}
