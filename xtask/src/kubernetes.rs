//! `cargo xtask k8s`: the manifests as kustomize makes them, checked against the strict schemas of the API server.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{command, on_path, output, run as run_command, target};
use crate::tools;

const VALIDATOR: &str = "kubernetes-validate==1.37.0";
const KUBERNETES: &str = "1.32.0";

/// What is built and checked: the base alone, and each overlay.
const FOLDERS: [&str; 2] = ["k8s/base", "k8s/overlays/example"];

pub(crate) fn run() -> Result<()> {
    let validate = tools::python("kubernetes-validate", VALIDATOR)?.join("kubernetes-validate");
    for folder in FOLDERS {
        let manifests = output(&mut kustomize(folder)?)?;
        let file = target("tools").join(format!("{}.yaml", folder.replace('/', "-")));
        fs::write(&file, &manifests)?;
        run_command(command(&validate, ["--quiet", "--strict", "-k", KUBERNETES]).arg(&file))?;
        eprintln!("{folder}: {} objects", manifests.split("\n---\n").count());
    }
    Ok(())
}

/// kustomize 5 as a program of its own or inside kubectl.
fn kustomize(folder: &str) -> Result<Command> {
    if on_path("kustomize").is_some() {
        return Ok(command("kustomize", ["build", folder]));
    }
    if on_path("kubectl").is_none() {
        tools::apt_install("kubernetes-client")?;
    }
    let version = output(&mut command("kubectl", ["version", "--client"]))?;
    if !version.contains("Kustomize Version: v5") {
        bail!("install kustomize 5 or kubectl 1.27 or later; this kubectl says:\n{version}");
    }
    Ok(command("kubectl", ["kustomize", folder]))
}
