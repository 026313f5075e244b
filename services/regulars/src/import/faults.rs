//! What is wrong with rows, and the file that lists it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tonic::Status;

use crate::client;

/// Why a row was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Stable, UPPER_SNAKE: the suite's own reason, or one of the file's form.
    pub(super) reason: String,
    /// The column or the field of the request; empty when none is to blame.
    pub(super) field: String,
    /// A sentence. Never a value of the file.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(reason: &str, field: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { reason: reason.to_owned(), field: field.into(), message: message.into() }
    }
}

impl From<&Status> for Fault {
    fn from(status: &Status) -> Fault {
        Fault { reason: client::reason(status), field: client::field(status), message: status.message().to_owned() }
    }
}

/// Which columns an errors file has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    with_message: bool,
}

impl Columns {
    /// Row, reason, field and message.
    pub(super) const WITH_MESSAGE: Columns = Columns { with_message: true };
    /// Row, reason and field: for files of people, whatever a message might hold.
    pub(super) const WITHOUT_VALUES: Columns = Columns { with_message: false };
}

/// The file that lists faults, made at the first one.
pub(super) struct FaultFile {
    path: PathBuf,
    columns: Columns,
    writer: Option<csv::Writer<File>>,
}

impl FaultFile {
    /// Removes what an earlier run has left: the file tells about this one.
    pub(super) fn new(path: PathBuf, columns: Columns) -> anyhow::Result<FaultFile> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be replaced", path.display()))
            }
            _ => Ok(FaultFile { path, columns, writer: None }),
        }
    }

    /// Beside the imported file.
    pub(super) fn beside(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".errors.csv");
        name.into()
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: u64, fault: &Fault) -> anyhow::Result<()> {
        let Fault { reason, field, message } = fault;
        let number = row.to_string();
        let (cells, head) = ([number.as_str(), reason, field, message], ["row", "reason", "field", "message"]);
        let count = if self.columns.with_message { 4 } else { 3 };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let made = csv::Writer::from_path(&self.path).with_context(|| format!("{} cannot be written", self.path.display()))?;
                let writer = self.writer.insert(made);
                writer.write_record(&head[..count])?;
                writer
            }
        };
        writer.write_record(&cells[..count])?;
        Ok(())
    }

    /// Makes sure that everything is in the file; its path if there was anything.
    pub(super) fn finish(self) -> anyhow::Result<Option<PathBuf>> {
        match self.writer {
            None => Ok(None),
            Some(mut writer) => {
                writer.flush().with_context(|| format!("{} cannot be written", self.path.display()))?;
                Ok(Some(self.path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_for_faults_only_and_replaces_the_last_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = FaultFile::beside(&folder.path().join("people.csv"));
        let mut file = FaultFile::new(path.clone(), Columns::WITHOUT_VALUES).unwrap();
        file.add(7, &Fault::new("INVALID_ARGUMENT", "phone", "is no phone number")).unwrap();
        assert_eq!(file.finish().unwrap(), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "row,reason,field\n7,INVALID_ARGUMENT,phone\n");

        assert_eq!(FaultFile::new(path.clone(), Columns::WITH_MESSAGE).unwrap().finish().unwrap(), None);
        assert!(!path.exists());
        let mut file = FaultFile::new(path.clone(), Columns::WITH_MESSAGE).unwrap();
        file.add(2, &Fault::new("PURCHASE_EXISTS", "net", "it exists, with another net")).unwrap();
        file.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "row,reason,field,message\n2,PURCHASE_EXISTS,net,\"it exists, with another net\"\n");
    }
}
