//! The master keys: configured, or made on the first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use persistence::Keyring;

use crate::StartError;
use crate::config::Config;

const FILE: &str = "master.key";

/// The keyring of a configuration. Makes the key file on the first start where the configuration lets it.
pub fn keyring(config: &Config) -> Result<Keyring, StartError> {
    if let Some(keys) = &config.keys.master_key {
        return Ok(Keyring::from_hex(keys.reveal())?);
    }
    if let Some(file) = &config.keys.master_key_file {
        return read(file);
    }
    let folder = folder(config).ok_or(StartError::NoMasterKey)?;
    let file = folder.join(FILE);
    if !file.exists() {
        make(&folder, &file).map_err(StartError::io("the master key cannot be made in", &folder))?;
    }
    read(&file)
}

/// Where a key file may be kept: where the configuration says, else beside the embedded databases.
fn folder(config: &Config) -> Option<PathBuf> {
    let beside_sqlite = || config.database.url.reveal().strip_prefix("sqlite:").map(PathBuf::from);
    config.keys.data_dir.clone().or_else(beside_sqlite)
}

fn read(file: &Path) -> Result<Keyring, StartError> {
    let text = fs::read_to_string(file).map_err(StartError::io("the master key cannot be read from", file))?;
    Ok(Keyring::from_hex(&text)?)
}

/// Writes a new key under a name of its own and links it into place: of two processes that start at the same time one wins,
/// and neither ever reads half a key.
fn make(folder: &Path, file: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!("{FILE}.{}", rand::random::<u64>()));
    let written = write_new(&draft).and_then(|()| match fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft)?;
    written
}

fn write_new(draft: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(draft)?;
    out.write_all(Keyring::generate().to_hex().as_bytes())?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_the_owner_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = Config::default_in(folder.path());
        let first = keyring(&config).unwrap();
        let again = keyring(&config).unwrap();
        assert_eq!(first.to_hex(), again.to_hex());
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn postgres_needs_a_key_from_somewhere() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut config = Config::default_in(folder.path());
        config.database.url = "postgres://nowhere/x".to_owned().into();
        config.keys.data_dir = None;
        assert!(matches!(keyring(&config), Err(StartError::NoMasterKey)));
        config.keys.master_key = Some(format!("1:{}", "0a".repeat(32)).into());
        assert_eq!(keyring(&config).unwrap().version(), 1);
    }
}
