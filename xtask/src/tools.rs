//! Programs that the checks need, each in a version of its own choosing under `target/tools`: nothing is installed for the
//! whole machine but packages of the distribution. Every download is tried twice, since registries drop connections.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{command, is_root, on_path, run, succeeds, target};

const BUF: &str = "@bufbuild/buf@1.75.0";

/// buf, from npm.
pub(crate) fn buf() -> Result<PathBuf> {
    let folder = installed("buf", BUF, |folder| {
        let arguments = ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix"];
        run(command("npm", arguments).arg(folder).arg(BUF))
    })?;
    Ok(folder.join("node_modules/.bin/buf"))
}

/// A Python environment with these packages, one a line as in a requirements file; the folder of its programs.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = installed(name, requirements, |folder| {
        if !succeeds(&mut command("python3", ["-c", "import ensurepip, venv"])) {
            apt_install("python3-venv")?;
        }
        run(command("python3", ["-m", "venv"]).arg(folder))?;
        let pip = ["install", "--quiet", "--disable-pip-version-check"];
        run(command(folder.join("bin/pip"), pip).args(requirements.lines().filter(|line| !line.starts_with('#') && !line.is_empty())))
    })?;
    Ok(folder.join("bin"))
}

/// Installs a package of Debian. Fails when we may not, and says what to do instead.
pub(crate) fn apt_install(package: &str) -> Result<()> {
    let as_root = |arguments: &[&str]| {
        let sudo = if is_root() { &[][..] } else { &["sudo", "-n"] };
        let words: Vec<&str> = [sudo, &["apt-get", "-q", "-y"], arguments].concat();
        run(command(words[0], &words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if on_path("apt-get").is_none() || !(is_root() || succeeds(&mut command("sudo", ["-n", "true"]))) {
        bail!("install what Debian calls `{package}`: we may not do it ourselves");
    }
    twice(|| {
        as_root(&["update"])?;
        as_root(&["install", "--no-install-recommends", package])
    })
}

/// Makes a folder below `target/tools` by `install`, unless it was made so before.
fn installed(name: &str, version: &str, install: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = target("tools").join(name);
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(folder);
    }
    twice(|| {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        install(&folder)
    })
    .with_context(|| format!("cannot install {name}"))?;
    fs::write(stamp, version)?;
    Ok(folder)
}

fn twice(attempt: impl Fn() -> Result<()>) -> Result<()> {
    attempt().or_else(|first| {
        eprintln!("once more, after: {first:#}");
        attempt()
    })
}
