//! `cargo xtask ci`: everything, what is quick to fail first.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{accept, contracts, foreign, kubernetes, lint, test};

type Part = (&'static str, fn() -> Result<()>);

const PARTS: [Part; 8] = [
    ("format", lint::format),
    ("no paths of one machine", lint::homes),
    ("contracts and their reference", || contracts::run(&contracts::Options::default())),
    ("Kubernetes manifests", kubernetes::run),
    ("lints", lint::clippy),
    ("tests", || test::run(&test::Options::default())),
    ("the main job on a made log", || accept::run(&accept::Options::small())),
    ("clients in Python", foreign::run),
];

pub(crate) fn run() -> Result<()> {
    for (name, part) in PARTS {
        eprintln!("== {name}");
        let begin = Instant::now();
        part().with_context(|| format!("part \"{name}\" failed"))?;
        eprintln!("== {name}: passed in {} s", begin.elapsed().as_secs());
    }
    Ok(())
}
