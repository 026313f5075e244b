//! Versions of a program's terms.

use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    terms_hold_by_the_day_of_the_purchase,
    versions_follow_each_other,
    versions_are_read_one_by_one_and_in_pages,
    two_authors_make_two_versions,
);

fn rate(points: &str) -> pb::Terms {
    pb::Terms { points_per_unit: points.to_owned(), ..terms() }
}

async fn terms_hold_by_the_day_of_the_purchase(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.new_terms(rate("2"), START + 10 * DAY).await;
    suite.new_terms(rate("3.5"), START + 20 * DAY).await;
    suite.clock.advance(25 * DAY);
    // The first version also holds for what lies before it.
    for (day, points, version) in [(-2_i32, 100, 1), (0, 100, 1), (9, 100, 1), (10, 200, 2), (19, 200, 2), (20, 350, 3), (25, 350, 3)] {
        let at = if day < 0 { START - 2 * DAY } else { START + day.unsigned_abs() * DAY };
        let request = with(award(1, &format!("p{day}"), 10_000), |request| input(request).occur_time = Some(timestamp(at)));
        let award = suite.platform().award(request).await.unwrap().into_inner().award.unwrap();
        assert_eq!((award.base_points, award.program_version), (points, format!("{TEA}/versions/{version}")), "day {day}");
    }
    suite.verified().await;
}

async fn versions_follow_each_other(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.administrator();
    let second = suite.new_terms(rate("2"), START + DAY).await;
    assert_eq!(
        (second.name.as_str(), second.terms, second.start_time),
        ("programs/tea/versions/2", Some(rate("2")), Some(timestamp(START + DAY)))
    );
    assert!(second.author.starts_with("apiKeys/"));
    let before = with(new_version(rate("3")), |request| request.start_time = Some(timestamp(START)));
    let refused = (Code::InvalidArgument, "START_TIME_NOT_ASCENDING".to_owned());
    assert_eq!(refusal(administrator.create_program_version(before.clone()).await), refused);
    assert_eq!(refusal(administrator.create_program_version(new_version(rate("3"))).await), refused, "now lies before it too");
    // Two may start at the same moment: the later one holds from then on.
    suite.new_terms(rate("4"), START + DAY).await;
    suite.clock.advance(DAY);
    assert_eq!(suite.award(1, "p1", 100).await.actual_points, 4);
    // The clock has come by, and the refusal was not remembered.
    let started = with(before, |request| request.start_time = None);
    assert_eq!(administrator.create_program_version(started).await.unwrap().into_inner().name, "programs/tea/versions/4");
    assert_eq!(suite.award(1, "p2", 100).await.actual_points, 3);
}

async fn versions_are_read_one_by_one_and_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    for number in 2..=5_u32 {
        suite.new_terms(rate(&number.to_string()), START + number * DAY).await;
    }
    let mut request = pb::ListProgramVersionsRequest { parent: TEA.to_owned(), page_size: 2, page_token: String::new() };
    let mut pages = Vec::new();
    loop {
        let page = platform.list_program_versions(request.clone()).await.unwrap().into_inner();
        pages.push(page.versions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let names: Vec<Vec<&str>> = pages.iter().map(|page| page.iter().map(|version| &version.name[22..]).collect()).collect();
    assert_eq!(names, [vec!["5", "4"], vec!["3", "2"], vec!["1"]]);
    for version in pages.into_iter().flatten() {
        let name = version.name.clone();
        assert_eq!(platform.get_program_version(pb::GetProgramVersionRequest { name }).await.unwrap().into_inner(), version);
    }
    for number in ["6", "0", "01", "-1", "x"] {
        let request = pb::GetProgramVersionRequest { name: format!("{TEA}/versions/{number}") };
        let refused = (Code::NotFound, "PROGRAM_VERSION_NOT_FOUND".to_owned());
        assert_eq!(refusal(platform.get_program_version(request).await), refused, "{number}");
    }
}

async fn two_authors_make_two_versions(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let made = (2..=9).map(|number: u32| {
        let mut administrator = suite.administrator();
        let request = new_version(rate(&number.to_string()));
        async move { administrator.create_program_version(request).await.unwrap().into_inner().name }
    });
    let mut names = futures::future::join_all(made).await;
    names.sort();
    assert_eq!(names, (2..=9).map(|number| format!("{TEA}/versions/{number}")).collect::<Vec<_>>());
}
