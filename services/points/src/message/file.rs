//! A program as one file.

use kernel::ProgramId;
use proto::json;
use proto::points as pb;
use proto::points::program_file::CatalogueReward;

use crate::program::Program;

/// What a file of ours means.
const FORMAT_VERSION: i32 = 1;

/// Why a text is not a file that can be taken in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    #[error("the file has format version {0}, and only 1 is known here")]
    Format(i32),
    #[error("the file is not as it was exported: its digest is that of another")]
    Digest,
}

/// A program's terms and rewards as text.
pub(crate) fn write(program: &Program, terms: &pb::Terms, rewards: Vec<(String, pb::RewardTerms)>) -> String {
    let within = format!("{}/", program.id.name());
    let rewards = rewards.into_iter().map(|(reward_id, terms)| CatalogueReward { reward_id, terms: Some(without_stock(terms)) });
    let file = pb::ProgramFile {
        format_version: FORMAT_VERSION,
        digest: String::new(),
        currency_code: program.currency.to_string(),
        terms: Some(terms.clone()),
        rewards: rewards.collect(),
        time_zone: program.zone.as_str().to_owned(),
    };
    let file: pb::ProgramFile = json::renamed(&file, &|name| name.strip_prefix(&within).unwrap_or(name).to_owned());
    json::pretty(&pb::ProgramFile { digest: digest(&file), ..file }) + "\n"
}

/// Reads a text that [`write`] has made, with its names in a program. A name that lies in a program stays as it is.
pub(crate) fn read(program: &ProgramId, text: &str) -> Result<pb::ProgramFile, FileError> {
    let file: pb::ProgramFile = json::parse(text).map_err(|error| FileError::Unreadable(error.to_string()))?;
    if file.format_version != FORMAT_VERSION {
        return Err(FileError::Format(file.format_version));
    }
    let digest = digest(&pb::ProgramFile { digest: String::new(), ..file.clone() });
    if digest != file.digest {
        return Err(FileError::Digest);
    }
    let in_program = |name: &str| if name.starts_with("programs/") { name.to_owned() } else { format!("{}/{name}", program.name()) };
    Ok(json::renamed(&file, &in_program))
}

/// What a reward is, whatever is in stock: where it is limited, nothing.
pub(crate) fn without_stock(terms: pb::RewardTerms) -> pb::RewardTerms {
    pb::RewardTerms { stock: terms.stock.map(|_| 0), ..terms }
}

fn digest(file: &pb::ProgramFile) -> String {
    blake3::hash(json::compact(file).as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(id: &str) -> ProgramId {
        ProgramId::parse(id).unwrap()
    }

    fn tea(id: &str) -> Program {
        let (currency, zone) = (kernel::Currency::parse("CNY").unwrap(), kernel::Zone::parse("Asia/Shanghai").unwrap());
        Program { id: program(id), currency, zone, versions: None }
    }

    fn terms(program: &str) -> pb::Terms {
        let rate = pb::EarnRate {
            rate_id: "here".to_owned(),
            points_per_unit: "2".to_owned(),
            stores: vec![format!("programs/{program}/stores/one")],
            ..pb::EarnRate::default()
        };
        pb::Terms { points_per_unit: "1".to_owned(), deficit_cap: 1 << 60, earn_rates: vec![rate], ..pb::Terms::default() }
    }

    #[test]
    fn a_file_comes_back_in_another_program() {
        let reward = pb::RewardTerms { title: "Cup".to_owned(), stock: Some(7), ..pb::RewardTerms::default() };
        let text = write(&tea("tea"), &terms("tea"), vec![("cup".to_owned(), reward)]);
        assert!(!text.contains("programs/") && text.contains("\"stores/one\"") && text.contains("\"deficitCap\": \"1152921504606846976\""));
        let read = read(&program("coffee"), &text).unwrap();
        assert_eq!((read.currency_code.as_str(), read.time_zone.as_str()), ("CNY", "Asia/Shanghai"));
        assert_eq!(read.terms, Some(terms("coffee")));
        assert_eq!(read.rewards[0].terms.as_ref().unwrap().stock, Some(0));
        let rewards = read.rewards.into_iter().map(|reward| (reward.reward_id, reward.terms.unwrap())).collect();
        assert_eq!(write(&tea("coffee"), &terms("coffee"), rewards), text, "what is the same is the same file");
    }

    #[test]
    fn a_file_that_was_touched_is_refused() {
        let text = write(&tea("tea"), &terms("tea"), Vec::new());
        let read = |text: &str| read(&program("tea"), text).unwrap_err();
        assert_eq!(read(&text.replace("\"2\"", "\"3\"")), FileError::Digest);
        assert_eq!(read(&text.replace("CNY", "EUR")), FileError::Digest);
        assert_eq!(read(&text.replace("\"formatVersion\": 1", "\"formatVersion\": 2")), FileError::Format(2));
        for damaged in [&text[..text.len() / 2], "", "[]", "null", &text.replace("\"terms\"", "\"term\""), &format!("{text}{text}")] {
            assert!(matches!(read(damaged), FileError::Unreadable(_)), "{damaged}");
        }
        // How it is laid out does not matter.
        let laid_out = text.replace("  ", "\t");
        assert!(super::read(&program("tea"), &laid_out).is_ok());
    }
}
