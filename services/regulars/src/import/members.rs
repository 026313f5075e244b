//! Rows of people.

use jiff::civil::Date;
use proto::members::enroll_member_request::IfExists;
use proto::members::identity::Value;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{Attribute, BirthDate, EnrollMemberRequest, Identity, attribute};
use rpc::Peer;
use rpc::wire::timestamp;
use tonic::{Code, Status};

use super::csv_file::{Column, Header, Row, moment};
use super::engine::{Failure, Job, Outcome};
use super::faults::Fault;
use super::{Target, request_id};
use crate::client::{is_replayed, persistently, timed};

const COLUMNS: [&str; 14] = [
    "external_id",
    "phone",
    "email",
    "card",
    "name",
    "birth_date",
    "language",
    "store",
    "channel",
    "referral_code",
    "enrolled_at",
    "region",
    "tags",
    "segments",
];
const ATTRIBUTE_PREFIX: &str = "attr.";

/// Where people come from who are told to come from nowhere else.
const CHANNEL: &str = "import";

/// The import of members.
pub(super) struct Members {
    target: Target,
    members: MembersServiceClient<Peer>,
    columns: MemberColumns,
}

struct MemberColumns {
    external_id: Option<Column>,
    phone: Option<Column>,
    email: Option<Column>,
    card: Option<Column>,
    name: Option<Column>,
    birth_date: Option<Column>,
    language: Option<Column>,
    store: Option<Column>,
    channel: Option<Column>,
    referral_code: Option<Column>,
    enrolled_at: Option<Column>,
    region: Option<Column>,
    tags: Option<Column>,
    segments: Option<Column>,
    attributes: Vec<(String, usize)>,
}

impl Members {
    pub(super) fn new(target: Target, header: &Header) -> anyhow::Result<Members> {
        let members = MembersServiceClient::new(target.peer.clone());
        Ok(Members { members, columns: MemberColumns::of(header)?, target })
    }

    async fn enrol(&self, request: &EnrollMemberRequest) -> Result<Outcome, Status> {
        let request = EnrollMemberRequest { request_id: request_id("member", request), ..request.clone() };
        let answer = persistently(self.target.patience, || {
            let (mut members, request) = (self.members.clone(), request.clone());
            async move { members.enroll_member(timed(request)).await }
        });
        Ok(if is_replayed(&answer.await?) { Outcome::Unchanged } else { Outcome::New })
    }
}

impl Job for Members {
    type Row = EnrollMemberRequest;
    type Memory = ();
    const NOUN: &'static str = "members";

    fn read(&self, row: &Row<'_>) -> Result<(String, EnrollMemberRequest), Fault> {
        let request = self.columns.read(row, &self.target)?;
        let person = match request.identities.first().and_then(|identity| identity.value.as_ref()) {
            Some(Value::Phone(text) | Value::Email(text) | Value::ExternalId(text) | Value::Card(text)) => text.clone(),
            Some(Value::Account(_)) | None => String::new(),
        };
        Ok((person, request))
    }

    async fn send(&self, (): &mut (), request: EnrollMemberRequest) -> Result<Outcome, Failure> {
        match self.enrol(&request).await {
            // A member already. Unless the identities belong to different people, that is what the row asks for.
            Err(status) if status.code() == Code::AlreadyExists => {
                self.enrol(&EnrollMemberRequest { if_exists: IfExists::ReturnExisting.into(), ..request }).await?;
                Ok(Outcome::Unchanged)
            }
            answer => Ok(answer?),
        }
    }
}

impl MemberColumns {
    fn of(header: &Header) -> anyhow::Result<MemberColumns> {
        header.only(&COLUMNS, Some(ATTRIBUTE_PREFIX))?;
        let columns = MemberColumns {
            external_id: header.find("external_id"),
            phone: header.find("phone"),
            email: header.find("email"),
            card: header.find("card"),
            name: header.find("name"),
            birth_date: header.find("birth_date"),
            language: header.find("language"),
            store: header.find("store"),
            channel: header.find("channel"),
            referral_code: header.find("referral_code"),
            enrolled_at: header.find("enrolled_at"),
            region: header.find("region"),
            tags: header.find("tags"),
            segments: header.find("segments"),
            attributes: header.with_prefix(ATTRIBUTE_PREFIX).map(|(key, place)| (key.to_owned(), place)).collect(),
        };
        let identities = [columns.external_id, columns.phone, columns.email, columns.card];
        if identities.iter().all(Option::is_none) {
            anyhow::bail!("the file has no column to recognise a member by: external_id, phone, email or card");
        }
        Ok(columns)
    }

    fn read(&self, row: &Row<'_>, target: &Target) -> Result<EnrollMemberRequest, Fault> {
        let identities = self.identities(row)?;
        if identities.is_empty() {
            return Err(Fault::new("IDENTITY_MISSING", "", "the row has nothing to recognise a member by"));
        }
        let birth_date = match row.get_if(self.birth_date)? {
            "" => None,
            text => Some(birth_date(text)?),
        };
        let store = match row.get_if(self.store)? {
            id if id.is_empty() || id.contains('/') => id.to_owned(),
            id => format!("{}/stores/{id}", target.program.name()),
        };
        let channel = match row.get_if(self.channel)? {
            "" => CHANNEL,
            channel => channel,
        };
        let enrol_time = match row.get_if(self.enrolled_at)? {
            "" => None,
            text => Some(timestamp(moment("enrolled_at", text, &target.zone)?)),
        };
        Ok(EnrollMemberRequest {
            parent: target.program.name(),
            identities,
            display_name: row.get_if(self.name)?.to_owned(),
            birth_date,
            preferred_language: row.get_if(self.language)?.to_owned(),
            attributes: self.attributes(row)?,
            channel: channel.to_owned(),
            store,
            referral_code: row.get_if(self.referral_code)?.to_owned(),
            enrol_time,
            historical: target.historical,
            if_exists: IfExists::Refuse.into(),
            request_id: String::new(),
            tags: words(row.get_if(self.tags)?),
            segments: words(row.get_if(self.segments)?),
        })
    }

    fn identities(&self, row: &Row<'_>) -> Result<Vec<Identity>, Fault> {
        let region = row.get_if(self.region)?.to_owned();
        let mut identities = Vec::new();
        for (column, kind) in [
            (self.external_id, Value::ExternalId as fn(String) -> Value),
            (self.phone, Value::Phone),
            (self.email, Value::Email),
            (self.card, Value::Card),
        ] {
            let text = row.get_if(column)?;
            if !text.is_empty() {
                let value = kind(text.to_owned());
                let region_code = if matches!(value, Value::Phone(_)) { region.clone() } else { String::new() };
                identities.push(Identity { value: Some(value), region_code });
            }
        }
        Ok(identities)
    }

    fn attributes(&self, row: &Row<'_>) -> Result<Vec<Attribute>, Fault> {
        let mut attributes = Vec::new();
        for (key, place) in &self.attributes {
            let field = || format!("{ATTRIBUTE_PREFIX}{key}");
            let text = row.at(*place).map_err(|()| Fault::new("NOT_UTF8", field(), "is not UTF-8 text"))?;
            if !text.is_empty() {
                attributes.push(Attribute { key: key.clone(), value: Some(attribute::Value::Text(text.to_owned())) });
            }
        }
        Ok(attributes)
    }
}

/// The words of a field, with spaces between them.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `1990-05-17`, or `05-17` when the year is not known.
fn birth_date(text: &str) -> Result<BirthDate, Fault> {
    let fault = || Fault::new("BIRTH_DATE_NOT_READABLE", "birth_date", "is neither YYYY-MM-DD nor MM-DD");
    // A leap year, so that 29 February is a day.
    let (year_known, full) = if text.len() == 5 { (false, format!("2000-{text}")) } else { (true, text.to_owned()) };
    let date = full.parse::<Date>().ok().filter(|_| full.len() == 10).ok_or_else(fault)?;
    let year = if year_known { i32::from(date.year()) } else { 0 };
    Ok(BirthDate { year, month: i32::from(date.month()), day: i32::from(date.day()) })
}

#[cfg(test)]
mod tests {
    use csv::ByteRecord;
    use kernel::{Currency, ProgramId, Zone};

    use super::*;
    use crate::client::Connection;

    fn read(header: &str, row: &str) -> Result<EnrollMemberRequest, Fault> {
        let connection = Connection { server: "http://127.0.0.1:1".to_owned(), key: Some("rk_a_b".to_owned()), ca: None };
        let target = Target {
            program: ProgramId::parse("tea").unwrap(),
            zone: Zone::parse("Asia/Shanghai").unwrap(),
            currency: Currency::parse("CNY").unwrap(),
            peer: connection.peer().unwrap(),
            patience: std::time::Duration::ZERO,
            historical: true,
        };
        let columns = MemberColumns::of(&Header::new(header.split(',')).unwrap()).unwrap();
        let record: ByteRecord = row.split(',').collect();
        columns.read(&Row::of(&record), &target)
    }

    #[tokio::test]
    async fn a_row_becomes_an_enrolment() {
        let header = "external_id,phone,email,name,birth_date,region,store,enrolled_at,tags,attr.favourite_drink";
        let request = read(header, "u-1,13812345678,,Mei,05-17,CN,s1,2025-03-01,vegan staff,oat milk").unwrap();
        let values: Vec<_> =
            request.identities.iter().map(|identity| (identity.value.clone().unwrap(), identity.region_code.as_str())).collect();
        assert_eq!(values, [(Value::ExternalId("u-1".to_owned()), ""), (Value::Phone("13812345678".to_owned()), "CN")]);
        assert_eq!(request.birth_date, Some(BirthDate { year: 0, month: 5, day: 17 }));
        assert_eq!((request.store.as_str(), request.channel.as_str()), ("programs/tea/stores/s1", "import"));
        assert_eq!(request.enrol_time.unwrap().seconds, 1_740_801_600);
        assert_eq!((request.tags, request.segments), (vec!["vegan".to_owned(), "staff".to_owned()], vec![]));
        assert_eq!(request.attributes[0].key, "favourite_drink");
        assert!(request.historical);
    }

    #[tokio::test]
    async fn a_fault_names_the_column_and_no_value() {
        for (row, reason, field) in [
            (",Mei,", "IDENTITY_MISSING", ""),
            ("13812345678,Mei,1990-13-01", "BIRTH_DATE_NOT_READABLE", "birth_date"),
            ("13812345678,Mei,02-30", "BIRTH_DATE_NOT_READABLE", "birth_date"),
            ("13812345678,Mei,1990-05-17T10:00:00", "BIRTH_DATE_NOT_READABLE", "birth_date"),
        ] {
            let fault = read("phone,name,birth_date", row).unwrap_err();
            assert_eq!((fault.reason.as_str(), fault.field.as_str()), (reason, field), "{row}");
            assert!(!fault.message.contains("Mei") && !fault.message.contains("138"), "{}", fault.message);
        }
        assert_eq!(birth_date("02-29").unwrap().day, 29);
    }

    #[test]
    fn a_file_needs_something_to_recognise_people_by() {
        let columns = |header: &str| MemberColumns::of(&Header::new(header.split(',')).unwrap()).err().map(|error| error.to_string());
        assert_eq!(columns("phone,attr.shoe_size"), None);
        assert!(columns("name,birth_date").unwrap().contains("recognise"));
        assert!(columns("phone,nmae").unwrap().contains("nmae"));
    }
}
