//! Rows of purchases.

use std::collections::HashMap;

use kernel::{Currency, Ids, Money, RandomIds};
use proto::members::enroll_member_request::IfExists;
use proto::members::identity::Value;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{EnrollMemberRequest, Identity};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::{AwardRequest, PurchaseInput, PurchaseLine};
use rpc::Peer;
use rpc::wire::timestamp;
use tonic::{Code, Status};
use uuid::Uuid;

use super::csv_file::{Column, Header, Row, moment};
use super::engine::{Failure, Job, Outcome};
use super::faults::Fault;
use super::{Target, request_id};
use crate::client::{is_replayed, persistently, timed};

const COLUMNS: [&str; 16] = [
    "purchase_id",
    "customer_id",
    "date",
    "occurred_at",
    "amount",
    "tax",
    "discount",
    "quantity",
    "sku",
    "category",
    "store",
    "terminal",
    "cashier",
    "channel",
    "offer",
    "currency",
];

/// How many customers a worker remembers by name. Past that it forgets them all and asks again.
const REMEMBERED_MAX: usize = 50_000;

/// The import of purchases.
pub(super) struct Purchases {
    target: Target,
    members: MembersServiceClient<Peer>,
    points: PointsServiceClient<Peer>,
    columns: PurchaseColumns,
    /// Tells this run's second questions from those of others.
    run: Uuid,
}

struct PurchaseColumns {
    purchase_id: Column,
    customer_id: Column,
    when: Column,
    when_name: &'static str,
    amount: Column,
    tax: Option<Column>,
    discount: Option<Column>,
    quantity: Option<Column>,
    sku: Option<Column>,
    category: Option<Column>,
    store: Option<Column>,
    terminal: Option<Column>,
    cashier: Option<Column>,
    channel: Option<Column>,
    offer: Option<Column>,
    currency: Option<Column>,
}

/// A purchase whose member is not known by name yet.
#[derive(Debug, PartialEq)]
pub(super) struct Purchase {
    /// The member's external id; empty for a stranger.
    customer: String,
    input: PurchaseInput,
}

impl Purchases {
    pub(super) fn new(target: Target, header: &Header) -> anyhow::Result<Purchases> {
        Ok(Purchases {
            members: MembersServiceClient::new(target.peer.clone()),
            points: PointsServiceClient::new(target.peer.clone()),
            columns: PurchaseColumns::of(header)?,
            target,
            run: RandomIds.uuid(),
        })
    }

    /// The name of a customer's member, who is enrolled if need be.
    async fn member(&self, customer: &str, input: &PurchaseInput) -> Result<String, Status> {
        let mut request = EnrollMemberRequest {
            parent: self.target.program.name(),
            identities: vec![Identity { value: Some(Value::ExternalId(customer.to_owned())), region_code: String::new() }],
            channel: "import".to_owned(),
            store: input.store.clone(),
            enrol_time: input.occur_time,
            historical: self.target.historical,
            if_exists: IfExists::ReturnExisting.into(),
            ..EnrollMemberRequest::default()
        };
        request.request_id = request_id("customer", &request);
        let answer = persistently(self.target.patience, || {
            let (mut members, request) = (self.members.clone(), request.clone());
            async move { members.enroll_member(timed(request)).await }
        });
        Ok(answer.await?.into_inner().name)
    }

    async fn award(&self, request: &AwardRequest) -> Result<Outcome, Status> {
        let answer = persistently(self.target.patience, || {
            let (mut points, request) = (self.points.clone(), request.clone());
            async move { points.award(timed(request)).await }
        });
        Ok(if is_replayed(&answer.await?) { Outcome::Unchanged } else { Outcome::New })
    }
}

impl Job for Purchases {
    type Row = Purchase;
    type Memory = HashMap<String, String>;
    const NOUN: &'static str = "purchases";

    fn read(&self, row: &Row<'_>) -> Result<(String, Purchase), Fault> {
        let purchase = self.columns.read(row, &self.target)?;
        let person = if purchase.customer.is_empty() { &purchase.input.purchase_id } else { &purchase.customer };
        Ok((person.clone(), purchase))
    }

    async fn send(&self, memory: &mut HashMap<String, String>, purchase: Purchase) -> Result<Outcome, Failure> {
        let Purchase { customer, input } = purchase;
        let member = match memory.get(&customer) {
            _ if customer.is_empty() => String::new(),
            Some(known) => known.clone(),
            None => {
                let member = self.member(&customer, &input).await?;
                if memory.len() >= REMEMBERED_MAX {
                    memory.clear();
                }
                memory.insert(customer, member.clone());
                member
            }
        };
        let mut request = AwardRequest {
            parent: self.target.program.name(),
            member,
            purchase: Some(input),
            historical: self.target.historical,
            request_id: String::new(),
        };
        request.request_id = request_id("purchase", &request);
        match self.award(&request).await {
            // It may be the remembered answer to an earlier run, and the member be unblocked since. The purchase id keeps the
            // question from taking effect twice, whatever its request id.
            Err(status) if status.code() == Code::FailedPrecondition => {
                request.request_id = String::new();
                request.request_id = request_id(&format!("purchase again {}", self.run), &request);
                Ok(self.award(&request).await?)
            }
            answer => Ok(answer?),
        }
    }
}

impl PurchaseColumns {
    fn of(header: &Header) -> anyhow::Result<PurchaseColumns> {
        header.only(&COLUMNS, None)?;
        let (when, when_name) = match (header.find("occurred_at"), header.find("date")) {
            (Some(_), Some(_)) => anyhow::bail!("the file has both occurred_at and date; keep the one that is meant"),
            (Some(column), None) => (column, "occurred_at"),
            (None, _) => (header.need("date")?, "date"),
        };
        Ok(PurchaseColumns {
            purchase_id: header.need("purchase_id")?,
            customer_id: header.need("customer_id")?,
            when,
            when_name,
            amount: header.need("amount")?,
            tax: header.find("tax"),
            discount: header.find("discount"),
            quantity: header.find("quantity"),
            sku: header.find("sku"),
            category: header.find("category"),
            store: header.find("store"),
            terminal: header.find("terminal"),
            cashier: header.find("cashier"),
            channel: header.find("channel"),
            offer: header.find("offer"),
            currency: header.find("currency"),
        })
    }

    fn read(&self, row: &Row<'_>, target: &Target) -> Result<Purchase, Fault> {
        let purchase_id = row.get(self.purchase_id)?;
        if purchase_id.is_empty() {
            return Err(Fault::new(
                "PURCHASE_ID_MISSING",
                "purchase_id",
                "must not be empty: it is what keeps a purchase from counting twice",
            ));
        }
        let occur_time = moment(self.when_name, row.get(self.when)?, &target.zone)?;
        let currency = match row.get_if(self.currency)? {
            "" => target.currency,
            code => Currency::parse(code).map_err(|error| Fault::new("CURRENCY_NOT_READABLE", "currency", error.to_string()))?,
        };
        let net = amount("amount", row.get(self.amount)?, currency)?;
        let beside = |name, column| match row.get_if(column)? {
            "" => Ok(0),
            text => amount(name, text, currency).map(|money| money.minor),
        };
        let (tax, discount) = (beside("tax", self.tax)?, beside("discount", self.discount)?);
        let (sku, category) = (row.get_if(self.sku)?.to_owned(), row.get_if(self.category)?.to_owned());
        let lines = match row.get_if(self.quantity)? {
            "" if sku.is_empty() && category.is_empty() => Vec::new(),
            "" => return Err(Fault::new("QUANTITY_MISSING", "quantity", "must be told beside what was bought")),
            text => vec![PurchaseLine {
                line_id: "1".to_owned(),
                sku,
                category,
                quantity: quantity(text)?,
                net_minor_units: net.minor,
                tax_minor_units: tax,
                discount_minor_units: discount,
            }],
        };
        // Where there is a line, it tells.
        let (tax, discount) = if lines.is_empty() { (tax, discount) } else { (0, 0) };
        let store = store(row.get_if(self.store)?, target);
        let terminal = terminal(row.get_if(self.terminal)?, &store)?;
        Ok(Purchase {
            customer: row.get(self.customer_id)?.to_owned(),
            input: PurchaseInput {
                purchase_id: purchase_id.to_owned(),
                net: Some(proto::common::Money { currency_code: currency.to_string(), minor_units: net.minor }),
                lines,
                store,
                terminal,
                channel: row.get_if(self.channel)?.to_owned(),
                offer: row.get_if(self.offer)?.to_owned(),
                cashier: row.get_if(self.cashier)?.to_owned(),
                tax_minor_units: tax,
                discount_minor_units: discount,
                occur_time: Some(timestamp(occur_time)),
                ..PurchaseInput::default()
            },
        })
    }
}

/// A decimal in major units, exactly. Zeros beyond the currency's places say nothing.
fn amount(column: &'static str, text: &str, currency: Currency) -> Result<Money, Fault> {
    let places = currency.places() as usize;
    let end = text.find('.').map_or(text.len(), |point| (point + 1 + places).min(text.len()));
    let (kept, beyond) = text.split_at_checked(end).unwrap_or((text, ""));
    let kept = if places == 0 && !beyond.is_empty() { kept.trim_end_matches('.') } else { kept };
    let money = Money::parse(currency, kept).ok().filter(|_| beyond.bytes().all(|byte| byte == b'0'));
    let money = money.ok_or_else(|| {
        Fault::new("AMOUNT_NOT_READABLE", column, format!("is not a decimal number with at most {places} places, such as 12.50"))
    })?;
    if money.minor < 0 {
        return Err(Fault::new("AMOUNT_NEGATIVE", column, "must not be negative: returns are not purchases"));
    }
    Ok(money)
}

fn quantity(text: &str) -> Result<i64, Fault> {
    let quantity = text.parse().ok().filter(|quantity| (1..=1_000_000).contains(quantity));
    quantity.ok_or_else(|| Fault::new("QUANTITY_NOT_READABLE", "quantity", "is not a whole number from 1 to 1000000"))
}

/// An id or a full name; empty stays empty.
fn store(text: &str, target: &Target) -> String {
    if text.is_empty() || text.contains('/') { text.to_owned() } else { format!("{}/stores/{text}", target.program.name()) }
}

/// An id in the row's store or a full name; empty stays empty.
fn terminal(text: &str, store: &str) -> Result<String, Fault> {
    match (text, store) {
        ("", _) => Ok(String::new()),
        (name, _) if name.contains('/') => Ok(name.to_owned()),
        (_, "") => Err(Fault::new("STORE_MISSING", "store", "must be told beside a terminal's id")),
        (id, store) => Ok(format!("{store}/terminals/{id}")),
    }
}

#[cfg(test)]
mod tests {
    use csv::ByteRecord;
    use kernel::{ProgramId, Zone};

    use super::*;
    use crate::client::Connection;

    fn target() -> Target {
        let connection = Connection { server: "http://127.0.0.1:1".to_owned(), key: Some("rk_a_b".to_owned()), ca: None };
        Target {
            program: ProgramId::parse("tea").unwrap(),
            zone: Zone::parse("America/New_York").unwrap(),
            currency: Currency::parse("USD").unwrap(),
            peer: connection.peer().unwrap(),
            patience: std::time::Duration::ZERO,
            historical: true,
        }
    }

    /// Reads one row under a header; the reason of the fault when there is one.
    fn read(header: &str, row: &str) -> Result<Purchase, String> {
        let columns = PurchaseColumns::of(&Header::new(header.split(',')).unwrap()).unwrap();
        let record: ByteRecord = row.split(',').collect();
        columns.read(&Row::of(&record), &target()).map_err(|fault| fault.reason)
    }

    const CDNOW: &str = "purchase_id,customer_id,date,quantity,amount";

    #[tokio::test]
    async fn a_row_becomes_a_purchase() {
        let purchase = read(CDNOW, "cdnow-1,00004,1997-01-01,2,29.33").unwrap();
        let net = proto::common::Money { currency_code: "USD".to_owned(), minor_units: 2933 };
        assert_eq!(purchase.customer, "00004");
        assert_eq!(purchase.input.net, Some(net));
        assert_eq!(purchase.input.occur_time, Some(prost_types::Timestamp { seconds: 852_138_000, nanos: 0 }));
        assert_eq!(purchase.input.lines.len(), 1);
        assert_eq!((purchase.input.lines[0].quantity, purchase.input.lines[0].net_minor_units), (2, 2933));
    }

    #[tokio::test]
    async fn what_was_bought_is_told_in_a_line() {
        let header = "purchase_id,customer_id,date,amount,tax,discount,quantity,sku,category,cashier,offer";
        let line = read(header, "p,c,1997-01-01,10.00,1.90,0.50,2,sku-1,tea,17,spring").unwrap().input;
        let told = &line.lines[0];
        assert_eq!((told.sku.as_str(), told.category.as_str(), told.quantity), ("sku-1", "tea", 2));
        assert_eq!((told.net_minor_units, told.tax_minor_units, told.discount_minor_units), (1000, 190, 50));
        assert_eq!((line.tax_minor_units, line.discount_minor_units), (0, 0), "it is told once");
        assert_eq!((line.cashier.as_str(), line.offer.as_str()), ("17", "spring"));
        let plain = read(header, "p,c,1997-01-01,10.00,1.90,,,,,,").unwrap().input;
        assert_eq!((plain.lines.len(), plain.tax_minor_units, plain.discount_minor_units), (0, 190, 0));
        assert_eq!(read(header, "p,c,1997-01-01,10.00,,,,sku-1,,,").unwrap_err(), "QUANTITY_MISSING");
        assert_eq!(read(header, "p,c,1997-01-01,10.00,-1.90,,,,,,").unwrap_err(), "AMOUNT_NEGATIVE");
        assert_eq!(read(header, "p,c,1997-01-01,10.00,,a,,,,,").unwrap_err(), "AMOUNT_NOT_READABLE");
    }

    #[tokio::test]
    async fn stores_and_terminals_may_be_short() {
        let header = "purchase_id,customer_id,occurred_at,amount,store,terminal,channel,currency";
        let time = "2025-03-01T09:30:00+08:00";
        let purchase = read(header, &format!("p1,,{time},120,s1,t1,app,JPY")).unwrap();
        assert_eq!(purchase.customer, "", "a stranger");
        assert_eq!(purchase.input.store, "programs/tea/stores/s1");
        assert_eq!(purchase.input.terminal, "programs/tea/stores/s1/terminals/t1");
        assert_eq!(purchase.input.net.unwrap().minor_units, 120);
        let full = read(header, &format!("p1,c1,{time},1,programs/tea/stores/s2,programs/tea/stores/s2/terminals/t9,app,")).unwrap();
        assert_eq!(full.input.terminal, "programs/tea/stores/s2/terminals/t9");
        assert_eq!(read(header, &format!("p1,c1,{time},1,,t1,app,")).unwrap_err(), "STORE_MISSING");
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_by_reason() {
        for (row, reason) in [
            (",c,1997-01-01,1,1.00", "PURCHASE_ID_MISSING"),
            ("p,c,01/02/1997,1,1.00", "TIME_NOT_READABLE"),
            ("p,c,1997-01-01,0,1.00", "QUANTITY_NOT_READABLE"),
            ("p,c,1997-01-01,1.5,1.00", "QUANTITY_NOT_READABLE"),
            ("p,c,1997-01-01,1,", "AMOUNT_NOT_READABLE"),
            ("p,c,1997-01-01,1,1.234", "AMOUNT_NOT_READABLE"),
            ("p,c,1997-01-01,1,$5", "AMOUNT_NOT_READABLE"),
            ("p,c,1997-01-01,1,-1.00", "AMOUNT_NEGATIVE"),
        ] {
            assert_eq!(read(CDNOW, row).unwrap_err(), reason, "{row}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        let (usd, jpy) = (Currency::parse("USD").unwrap(), Currency::parse("JPY").unwrap());
        for (text, currency, minor) in [
            ("0.00", usd, 0),
            ("29.33", usd, 2933),
            ("29.3", usd, 2930),
            ("29", usd, 2900),
            ("29.3300", usd, 2933),
            ("120", jpy, 120),
            ("120.00", jpy, 120),
            ("90071992547409.93", usd, 9_007_199_254_740_993),
        ] {
            assert_eq!(amount("amount", text, currency).unwrap().minor, minor, "{text}");
        }
        for (text, currency) in [("29.331", usd), ("120.5", jpy), ("1,000.00", usd), ("1e3", usd), ("29.33€", usd), ("１２", usd)] {
            assert!(amount("amount", text, currency).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_needs_its_columns_and_no_others() {
        let columns = |header: &str| PurchaseColumns::of(&Header::new(header.split(',')).unwrap()).err().map(|error| error.to_string());
        assert_eq!(columns(CDNOW), None);
        assert!(columns("purchase_id,customer_id,amount").unwrap().contains("date"));
        assert!(columns("purchase_id,customer_id,date,occurred_at,amount").unwrap().contains("both"));
        assert!(columns("purchase_id,customer_id,date,amount,quantiy").unwrap().contains("quantiy"));
    }
}
