//! `regulars import purchases` as a process of its own.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::suite::PROGRAM;

/// How an import is called.
pub(crate) struct Import<'a> {
    pub(crate) regulars: &'a Path,
    pub(crate) file: &'a Path,
    pub(crate) server: String,
    pub(crate) key: String,
    /// For its list of errors and its progress.
    pub(crate) folder: &'a Path,
}

/// What an import says it has done.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) rows: u64,
    pub(crate) new: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
}

/// An import under way.
pub(crate) struct Importing(Child);

impl Import<'_> {
    pub(crate) fn spawn(&self) -> Result<Importing> {
        let progress = File::create(self.folder.join("import.log"))?;
        let child = Command::new(self.regulars)
            .args(["import", "purchases", "--output", "json", "--patience", "120s", "--program", PROGRAM])
            .arg(self.file)
            .args(["--server", &self.server])
            .arg("--errors")
            .arg(self.folder.join("errors.csv"))
            .env("REGULARS_KEY", &self.key)
            .stdout(Stdio::piped())
            .stderr(progress)
            .kill_on_drop(true)
            .spawn()
            .context("the importer cannot be started")?;
        Ok(Importing(child))
    }
}

impl Importing {
    /// Waits until it has ended; what it says on stdout.
    pub(crate) async fn finish(mut self) -> Result<Imported> {
        let mut text = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut text).await?;
        }
        let status = self.0.wait().await?;
        let said: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("the importer ended with {status} and said {text:?}"))?;
        let count = |name: &str| said[name].as_u64().with_context(|| format!("the importer says no {name}: {said}"));
        let imported = Imported { rows: count("rows")?, new: count("new")?, unchanged: count("unchanged")?, failed: count("failed")? };
        if !status.success() {
            eprintln!("the importer ended with {status}: {said}");
        }
        Ok(imported)
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.0.kill().await?)
    }
}
