//! Reading a CSV file: columns by name, rows one by one, each with its number and size.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail};
use csv::ByteRecord;
use jiff::civil::Date;
use kernel::{Timestamp, Zone};

use super::faults::Fault;

/// The columns of a file.
#[derive(Debug, Clone)]
pub(super) struct Header {
    names: Vec<String>,
}

/// A column that the header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    place: usize,
    name: &'static str,
}

impl Header {
    /// Names in any case, without spaces around them; none may stand twice.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Header> {
        let clean = |name: &str| name.trim_start_matches('\u{feff}').trim().to_lowercase();
        let names: Vec<String> = names.into_iter().map(clean).collect();
        if let Some((place, name)) = names.iter().enumerate().find(|(place, name)| names[..*place].contains(*name)) {
            bail!("column {name:?} stands twice in the header, the second time in place {}", place + 1);
        }
        Ok(Header { names })
    }

    /// The column of a name, if the file has it.
    pub(super) fn find(&self, name: &'static str) -> Option<Column> {
        self.names.iter().position(|known| known == name).map(|place| Column { place, name })
    }

    /// The column of a name, which the file must have.
    pub(super) fn need(&self, name: &'static str) -> anyhow::Result<Column> {
        self.find(name).with_context(|| format!("the file has no column {name:?}; it has {}", self.names.join(", ")))
    }

    /// Names that begin so, with the rest of the name and the place.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
        self.names.iter().enumerate().filter_map(move |(place, name)| Some((name.strip_prefix(prefix)?, place)))
    }

    /// Refuses columns that nobody reads: a misspelt one would be lost in silence.
    pub(super) fn only(&self, known: &[&str], prefix: Option<&str>) -> anyhow::Result<()> {
        let is_known = |name: &str| known.contains(&name) || prefix.is_some_and(|prefix| name.starts_with(prefix));
        match self.names.iter().find(|name| !is_known(name)) {
            Some(unknown) => bail!("column {unknown:?} is not known; known are {}", known.join(", ")),
            None => Ok(()),
        }
    }

    fn columns(&self) -> usize {
        self.names.len()
    }
}

/// One row.
pub(super) struct Row<'a> {
    record: &'a ByteRecord,
}

impl<'a> Row<'a> {
    /// A value without spaces around it; empty when the row has nothing there.
    pub(super) fn get(&self, column: Column) -> Result<&'a str, Fault> {
        self.at(column.place).map_err(|()| Fault::new("NOT_UTF8", column.name, "is not UTF-8 text"))
    }

    /// The same for a column that the file may not have.
    pub(super) fn get_if(&self, column: Option<Column>) -> Result<&'a str, Fault> {
        column.map_or(Ok(""), |column| self.get(column))
    }

    /// The value in a place.
    pub(super) fn at(&self, place: usize) -> Result<&'a str, ()> {
        let bytes = self.record.get(place).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::trim).map_err(|_| ())
    }

    #[cfg(test)]
    pub(super) fn of(record: &'a ByteRecord) -> Row<'a> {
        Row { record }
    }
}

/// A file that is being read.
pub(super) struct CsvFile {
    reader: csv::Reader<File>,
    header: Header,
    record: ByteRecord,
    read_bytes: u64,
}

/// What a step through the file has found.
pub(super) struct Step<'a> {
    /// The row's number as a spreadsheet shows it: the header is 1.
    pub(super) number: u64,
    /// Bytes of the file that this step has passed.
    pub(super) bytes: u64,
    /// The row, or what is wrong with its form.
    pub(super) row: Result<Row<'a>, Fault>,
}

impl CsvFile {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> anyhow::Result<CsvFile> {
        let cannot_read = || format!("{} cannot be read", path.display());
        let file = File::open(path).with_context(cannot_read)?;
        // Rows of another length are ours to report, one by one.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let names = reader.headers().with_context(cannot_read)?;
        if names.is_empty() {
            bail!("{} is empty; its first line must name the columns", path.display());
        }
        let header = Header::new(names)?;
        Ok(CsvFile { reader, header, record: ByteRecord::new(), read_bytes: 0 })
    }

    /// The columns.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next row; `None` at the end. Fails when the disk does.
    pub(super) fn step(&mut self) -> anyhow::Result<Option<Step<'_>>> {
        if !self.reader.read_byte_record(&mut self.record)? {
            return Ok(None);
        }
        let position = self.reader.position();
        let bytes = position.byte() - self.read_bytes;
        self.read_bytes = position.byte();
        let (wanted, found) = (self.header.columns(), self.record.len());
        let row = if wanted == found {
            Ok(Row { record: &self.record })
        } else {
            Err(Fault::new("WRONG_COLUMN_COUNT", "", format!("the row has {found} columns, the header {wanted}")))
        };
        Ok(Some(Step { number: position.record(), bytes, row }))
    }
}

/// A moment: RFC 3339, or a day, which means its noon in the program's zone.
pub(super) fn moment(column: &'static str, text: &str, zone: &Zone) -> Result<Timestamp, Fault> {
    if let Ok(day) = text.parse::<Date>()
        && is_plain_day(text)
    {
        return Ok(zone.noon_of(day));
    }
    let moment = text.parse::<jiff::Timestamp>().map_err(|_| {
        Fault::new("TIME_NOT_READABLE", column, "is neither a day such as 2025-03-01 nor a time such as 2025-03-01T09:30:00+08:00")
    })?;
    Ok(moment.into())
}

/// `YYYY-MM-DD` and nothing else: a time without an offset, whose day parses too, would silently become noon.
fn is_plain_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(place, byte)| if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_order_and_case() {
        let text = file("\u{feff} Amount ,purchase_id\n 1.50 ,p1\n\"2\",\"p,2\"\nodd\n3,p4\n".as_bytes());
        let mut csv = CsvFile::open(text.path()).unwrap();
        let (amount, id) = (csv.header().need("amount").unwrap(), csv.header().need("purchase_id").unwrap());
        let mut seen = Vec::new();
        let mut bytes = 0;
        while let Some(step) = csv.step().unwrap() {
            bytes += step.bytes;
            let row = step.row.map(|row| format!("{} {}", row.get(amount).unwrap(), row.get(id).unwrap()));
            seen.push((step.number, row.map_err(|fault| fault.reason)));
        }
        let expected = [(2, Ok("1.50 p1")), (3, Ok("2 p,2")), (4, Err("WRONG_COLUMN_COUNT")), (5, Ok("3 p4"))];
        assert_eq!(seen, expected.map(|(number, row)| (number, row.map(str::to_owned).map_err(str::to_owned))));
        assert_eq!(bytes, std::fs::metadata(text.path()).unwrap().len());
    }

    #[test]
    fn a_header_must_make_sense() {
        assert!(CsvFile::open(file(b"").path()).err().unwrap().to_string().contains("empty"));
        assert!(Header::new(["a", "b", "A"]).unwrap_err().to_string().contains("twice"));
        let header = Header::new(["purchase_id", "ammount"]).unwrap();
        assert!(header.need("amount").unwrap_err().to_string().contains("ammount"));
        assert!(header.only(&["purchase_id", "amount"], None).unwrap_err().to_string().contains("ammount"));
    }

    #[test]
    fn bytes_that_are_no_text_are_the_rows_fault() {
        let text = file(b"a,b\nx,\xff\xfe\n");
        let mut csv = CsvFile::open(text.path()).unwrap();
        let b = csv.header().need("b").unwrap();
        let step = csv.step().unwrap().unwrap();
        assert_eq!(step.row.unwrap().get(b).unwrap_err().reason, "NOT_UTF8");
    }

    #[test]
    fn a_day_is_noon_in_the_programs_zone() {
        let zone = Zone::parse("America/New_York").unwrap();
        let read = |text: &str| moment("date", text, &zone).map(|moment| moment.to_string()).map_err(|fault| fault.reason);
        assert_eq!(read("1997-01-01").unwrap(), "1997-01-01T17:00:00Z");
        assert_eq!(read("1997-07-01").unwrap(), "1997-07-01T16:00:00Z");
        assert_eq!(read("1997-01-01T09:30:00+08:00").unwrap(), "1997-01-01T01:30:00Z");
        assert_eq!(read("1997-01-01T09:30:00.25Z").unwrap(), "1997-01-01T09:30:00.25Z");
        for bad in ["", "1997-02-30", "01/02/1997", "1997-01-01T09:30:00", "19970101", "yesterday"] {
            assert_eq!(read(bad).unwrap_err(), "TIME_NOT_READABLE", "{bad}");
        }
    }
}
