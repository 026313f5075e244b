//! Nothing that tells who a member is stands in the database in the clear.

use std::path::Path;

use proto::members::{
    Account, BirthDate, EnrollMemberRequest, LinkIdentityRequest, Member, RevealMemberRequest, UpdateMemberRequest, attribute,
    identity::Value,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::TestEngine;

use crate::suite::*;

testkit::on_each_engine!(nothing_personal_is_stored_in_the_clear);

/// What the test tells the server about somebody; parts that appear in no name of ours.
const PERSONAL: [&str; 12] = [
    "13812345678",
    "13987654321",
    "alice.wonder",
    "crm-99887766",
    "6222021234567890",
    "oOpenIdOfAlice",
    "Alice Wonderland",
    "爱丽丝",
    "oat_milk_latte",
    "called about the rabbit",
    "138****5678",
    "A***",
];

async fn nothing_personal_is_stored_in_the_clear(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let attribute =
        |text: &str| proto::members::Attribute { key: "drink".to_owned(), value: Some(attribute::Value::Text(text.to_owned())) };
    let identities = [
        phone("+8613812345678"),
        Value::Email("alice.wonder@example.com".to_owned()),
        Value::ExternalId("crm-99887766".to_owned()),
        card("6222021234567890"),
        Value::Account(Account { namespace: "wechat_openid".to_owned(), id: "oOpenIdOfAlice".to_owned() }),
    ];
    let request = EnrollMemberRequest {
        display_name: "Alice Wonderland".to_owned(),
        birth_date: Some(BirthDate { year: 1990, month: 5, day: 17 }),
        attributes: vec![attribute("oat_milk_latte")],
        ..enrolment(identities)
    };
    let alice = client.enroll_member(request.clone()).await.unwrap().into_inner();
    // A refusal, a change, a link and a look leave their traces, too.
    client.enroll_member(EnrollMemberRequest { request_id: request_id(), ..request }).await.unwrap_err();
    let renamed = UpdateMemberRequest {
        member: Some(Member { display_name: "爱丽丝".to_owned(), ..alice.clone() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] }),
        request_id: request_id(),
    };
    client.update_member(renamed).await.unwrap();
    let link = LinkIdentityRequest {
        name: alice.name.clone(),
        identity: identity(phone("+8613987654321")),
        replace: true,
        request_id: request_id(),
    };
    client.link_identity(link).await.unwrap();
    let reason = "called about the rabbit".to_owned();
    client.reveal_member(RevealMemberRequest { name: alice.name.clone(), read_mask: None, reason }).await.unwrap();
    suite.events(3).await;
    suite.stop().await;

    let stored = everything_in(&engine).await;
    let has = |text: &str| {
        let hexed: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        contains(&stored, text.as_bytes()) || contains(&stored, hexed.as_bytes())
    };
    // The scan sees what is stored: the member's name, which tells nothing, is in the events.
    assert!(has(&alice.name), "the scan reads nothing");
    for text in PERSONAL {
        assert!(!has(text), "{text} is stored in the clear");
    }
}

/// Every byte that the engine keeps for the suite: its files, or the text of every row of every table.
async fn everything_in(engine: &TestEngine) -> Vec<u8> {
    match engine.options.url.strip_prefix("sqlite:") {
        Some(folder) => files_in(Path::new(folder)),
        None => rows_in(&engine.options.url).await,
    }
}

fn files_in(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

async fn rows_in(url: &str) -> Vec<u8> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_schema::TEXT, table_name::TEXT FROM information_schema.tables
          WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.contains(&("members".to_owned(), "members".to_owned())));
    let mut rows = Vec::new();
    for (schema, table) in tables {
        let statement = format!("SELECT t::TEXT FROM {schema}.{table} AS t");
        let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
        rows.extend(texts.into_iter().flat_map(String::into_bytes));
    }
    rows
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
