//! Statements as streams.

use futures::TryStreamExt;
use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use testkit::TestEngine;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_long_statement_comes_whole,
    a_statement_may_begin_anywhere,
    a_statement_is_one_members,
    a_statement_grows_under_its_reader
);

async fn a_long_statement_comes_whole(engine: TestEngine) {
    let suite = filled(engine, 1_203).await;
    let all = suite.statement(1, 0).await;
    let versions: Vec<_> = all.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, (1..=1_203).collect::<Vec<_>>());
    assert_eq!(suite.statement(1, 1).await, all);
    // The same as page by page, the other way round.
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListEntriesRequest { parent: member(1), page_size: 500, page_token };
        let page = suite.platform().list_entries(request).await.unwrap().into_inner();
        listed.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    listed.reverse();
    assert_eq!(listed, all);
    assert_eq!(all.last().unwrap().active_after, 1_203);
    assert_eq!(suite.verified().await.entries, 1_203);
}

async fn a_statement_may_begin_anywhere(engine: TestEngine) {
    let suite = filled(engine, 1_003).await;
    // Full pages to the end, one less, one more, the last entry, and beyond.
    for start in [4, 3, 5, 503, 504, 505, 1_003, 1_004, 9_999, i64::MAX] {
        let versions: Vec<_> = suite.statement(1, start).await.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, (start..=1_003).collect::<Vec<_>>(), "from {start}");
    }
}

async fn a_statement_is_one_members(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for owner in 1..=3 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
        suite.platform().redeem(redeem(owner, 1)).await.unwrap();
    }
    for owner in 1..=3 {
        let statement = suite.statement(owner, 0).await;
        assert_eq!(statement, suite.entries(owner).await);
        assert!(statement.iter().all(|entry| entry.name == format!("{}/entries/{}", member(owner), entry.version)));
    }
    assert_eq!(suite.statement(4, 0).await, []);
    let request = pb::StreamEntriesRequest { parent: member(1), start_version: -1 };
    assert_eq!(wrong_fields(suite.platform().stream_entries(request).await), ["start_version"]);
    let request = pb::StreamEntriesRequest { parent: TEA.to_owned(), start_version: 0 };
    assert_eq!(wrong_fields(suite.platform().stream_entries(request).await), ["parent"]);
    let request = pb::StreamEntriesRequest { parent: member(1).replace("tea", "water"), start_version: 0 };
    assert_eq!(refusal(suite.client(Role::Auditor).await.stream_entries(request).await).1, "PROGRAM_NOT_FOUND");
}

async fn a_statement_grows_under_its_reader(engine: TestEngine) {
    let suite = filled(engine, 700).await;
    let request = pb::StreamEntriesRequest { parent: member(1), start_version: 0 };
    let mut stream = suite.platform().stream_entries(request).await.unwrap().into_inner();
    let mut read = vec![stream.try_next().await.unwrap().unwrap().version];
    fill(&suite, 700, 100).await;
    while let Some(entry) = stream.try_next().await.unwrap() {
        read.push(entry.version);
    }
    assert!((700..=800).contains(&read.len()));
    assert_eq!(read, (1..=i64::try_from(read.len()).unwrap()).collect::<Vec<_>>());
}

/// Member 1 with so many entries.
async fn filled(engine: TestEngine, entries: usize) -> Suite {
    let suite = Suite::start(engine).await;
    fill(&suite, 0, entries).await;
    suite
}

async fn fill(suite: &Suite, from: usize, count: usize) {
    let platform = suite.platform();
    for chunk in (from..from + count).collect::<Vec<_>>().chunks(200) {
        let awards = chunk.iter().map(|number| {
            let (mut platform, request) = (platform.clone(), award(1, &format!("p{number}"), 100));
            async move { platform.award(request).await.unwrap() }
        });
        join_all(awards).await;
    }
}
