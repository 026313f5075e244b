//! Turns the contracts under `proto/regulars` into Rust: messages, clients and servers by prost and tonic; the checks of
//! requests, what messages show of themselves and the table of RPCs by the modules here. A contract that breaks our rules does not compile.

mod checks;
mod debugs;
mod names;
mod options;
mod rpcs;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use prost::Message;
use prost_reflect::DescriptorPool;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let contracts = here.join("../../proto").canonicalize()?;
    let trials = here.join("tests/proto");
    for watched in [&contracts, &trials, &here.join("build")] {
        println!("cargo::rerun-if-changed={}", watched.display());
    }

    let descriptors = compile(&[&contracts], &contracts.join("regulars"))?;
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    fs::write(out.join("descriptors.bin"), &descriptors)?;
    fs::write(out.join("exports.rs"), exports(&pool))?;
    generate(&pool, "regulars", "::proto", &out)?;
    fs::write(out.join("rpcs.rs"), rpcs::generate(&pool).map_err(|faults| report(&faults))?)?;

    // A contract that has every kind of rule, for the tests alone. It is in no descriptor set.
    let pool = DescriptorPool::decode(compile(&[&contracts, &trials], &trials)?.as_slice())?;
    generate(&pool, "trials", "crate::generated", &out.join("trials"))
}

/// Compiles every contract in a folder into an encoded descriptor set with all that it imports, options and comments.
fn compile(includes: &[&PathBuf], folder: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(includes)?;
    compiler.include_source_info(true).include_imports(true);
    let mut files = Vec::new();
    contracts_in(folder, &mut files)?;
    files.sort();
    compiler.open_files(files).map_err(|fault| format!("{fault:?}"))?;
    Ok(compiler.encode_file_descriptor_set())
}

fn contracts_in(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            contracts_in(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

/// Writes the Rust of the packages below `package` and what we implement for them. `root` is the module that will hold them.
fn generate(pool: &DescriptorPool, package: &str, root: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let checks = checks::generate(pool, package, root).map_err(|faults| report(&faults))?;
    let (personal, debugs) = debugs::generate(pool, package, root);
    fs::create_dir_all(out)?;
    fs::write(out.join("impls.rs"), checks + &debugs)?;

    let mut files = without_options(pool)?;
    files.file.retain(|file| file.package() != "buf.validate");
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    let mut builder = tonic_prost_build::configure();
    if package != "regulars" {
        builder = builder.extern_path(".regulars", "::proto::regulars");
    }
    let builder = builder.codec_path("::proto::codec::CheckedCodec").skip_debug(personal);
    Ok(builder.include_file("packages.rs").out_dir(out).compile_fds_with_config(files, config)?)
}

/// The same set in the types of the generators, which have no room for our options.
fn without_options(pool: &DescriptorPool) -> Result<tonic_prost_build::FileDescriptorSet, prost::DecodeError> {
    tonic_prost_build::FileDescriptorSet::decode(pool.encode_to_vec().as_slice())
}

/// Short names of the first version of each package: `regulars.points.v1` is also `points`.
fn exports(pool: &DescriptorPool) -> String {
    let packages: BTreeSet<String> = pool.files().map(|file| file.package_name().to_owned()).collect();
    let services = packages.iter().filter_map(|package| package.strip_prefix("regulars.")?.strip_suffix(".v1"));
    services.map(|service| format!("pub use generated::regulars::{service}::v1 as {service};\n")).collect()
}

/// All faults at once, one per line.
fn report(faults: &[String]) -> String {
    format!("the contracts have {} faults:\n  {}", faults.len(), faults.join("\n  "))
}
