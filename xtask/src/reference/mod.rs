//! `cargo xtask docs`: the API reference under `docs/api`, one page per package, made from the contracts, their options and
//! their comments.

mod comments;
mod page;
mod rules;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use prost_reflect::{DescriptorPool, FileDescriptor};

use crate::shell::root;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Write nothing; fail when what is there is out of date.
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let contracts = Contracts::read(&root().join("proto"))?;
    let wanted = contracts.pages()?;
    let folder = root().join("docs/api");
    fs::create_dir_all(&folder)?;
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.insert(name, fs::read_to_string(path)?);
    }
    if options.check {
        let changed: Vec<_> = wanted.keys().chain(found.keys()).filter(|name| wanted.get(*name) != found.get(*name)).collect();
        if !changed.is_empty() {
            bail!("docs/api is out of date, see {changed:?}; run `cargo xtask docs`");
        }
        return Ok(());
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &wanted {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The contracts with what is needed to describe them.
pub(crate) struct Contracts {
    pool: DescriptorPool,
    comments: comments::Comments,
    options: rules::Options,
}

impl Contracts {
    fn read(folder: &Path) -> Result<Contracts> {
        let mut files = Vec::new();
        protos_in(&folder.join("regulars"), &mut files)?;
        files.sort();
        let mut compiler = protox::Compiler::new([folder])?;
        compiler.include_source_info(true).include_imports(true);
        compiler.open_files(files).map_err(|fault| anyhow!("{fault:?}"))?;
        // Decoded anew, since only so do the options keep our extensions.
        let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice())?;
        Ok(Contracts { comments: comments::Comments::of(&pool), options: rules::Options::of(&pool)?, pool })
    }

    /// The text of each page by its file name.
    fn pages(&self) -> Result<BTreeMap<String, String>> {
        let mut packages: BTreeMap<String, Vec<FileDescriptor>> = BTreeMap::new();
        for file in self.pool.files().filter(|file| file.package_name().starts_with("regulars.")) {
            packages.entry(file.package_name().to_owned()).or_default().push(file);
        }
        let mut pages = BTreeMap::from([("README.md".to_owned(), page::index(self, &packages)?)]);
        for (package, files) in &packages {
            pages.insert(page_of(package), page::package(self, package, files)?);
        }
        Ok(pages)
    }
}

/// `regulars.points.v1` is described in `points.v1.md`.
fn page_of(package: &str) -> String {
    format!("{}.md", package.strip_prefix("regulars.").unwrap_or(package))
}

fn protos_in(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            protos_in(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
