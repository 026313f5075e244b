//! What the ledger answers, one line per call: every reason that the contracts name has its line. What it answers when it has too much to
//! do, or lost its database, stands in [`strained`].

mod player;
mod relay;
mod rewards;
mod strained;
mod words;

use std::collections::BTreeSet;

use prost::Message;
use proto::points as pb;
use testkit::TestEngine;
use tonic::Code;

use self::player::Player;
use super::promotions::points;
use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(the_ledger_answers_as_specified);

const SPECIFICATION: &str = include_str!("answers.txt");

async fn the_ledger_answers_as_specified(engine: TestEngine) {
    let once_a_day = pb::MemberLimit { times_max: 1, period: pb::member_limit::Period::Day.into(), ..pb::MemberLimit::default() };
    let check_in = pb::ActivityTerms { member_limit: Some(once_a_day), ..earns("check_in", 3) };
    let per_cashier = pb::AwardLimit {
        limit_id: "per-cashier".to_owned(),
        scope: pb::award_limit::Scope::Cashier.into(),
        period: pb::member_limit::Period::Day.into(),
        points_max: 60,
        on_exceed: pb::award_limit::OnExceed::Reject.into(),
        ..pb::AwardLimit::default()
    };
    let share = pb::ActivityTerms { proof_required: true, ..earns("share", 7) };
    let activities = vec![earns("review", 50), check_in, share];
    let terms = pb::Terms { expire_after: days(30), activities, promotions: vec![kiosk()], limits: vec![per_cashier], ..terms() };
    let mut player = Player::start(Suite::with_feeds(engine, terms).await).await;
    let mut wrong = Vec::new();
    for line in lines(SPECIFICATION) {
        let (call, expected) = line.split_once('|').unwrap_or_else(|| panic!("a line without an answer: {line}"));
        let answer = player.play(call.trim()).await;
        if answer != expected.trim() {
            wrong.push(format!("{line}\n{call}| {answer}"));
        }
    }
    assert!(wrong.is_empty(), "what is specified, and what was answered:\n{}", wrong.join("\n"));
    player.suite.verified().await;
}

/// Ten points more through the kiosk, as long as there is something left of its budget.
fn kiosk() -> pb::Promotion {
    pb::Promotion {
        channels: vec!["kiosk".to_owned()],
        budget: Some(pb::PromotionBudget { points_max: 25, period: pb::member_limit::Period::Month.into(), ..Default::default() }),
        ..points("kiosk", 10)
    }
}

/// A line of the specifications stands there only if it is what is answered: so a reason that has one occurs.
#[test]
fn every_reason_of_the_contracts_has_a_line() {
    let answers = lines(SPECIFICATION).chain(lines(strained::SPECIFICATION)).flat_map(|line| line.split('|').skip(1));
    let answered: BTreeSet<String> = answers.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let named = named_reasons();
    assert!(named.len() > 40, "the contracts name their reasons: {named:?}");
    let missing: Vec<_> = named.difference(&answered).collect();
    assert!(missing.is_empty(), "the contracts name these reasons, and no line has them: {missing:?}");
}

/// The lines of a specification that are calls.
fn lines(specification: &str) -> impl Iterator<Item = &str> {
    specification.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The reasons in the comments of the points contracts: words in capitals, outside of quotation marks, that are no code of gRPC.
fn named_reasons() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let sources = files.into_iter().filter(|file| file.package() == "regulars.points.v1").filter_map(|file| file.source_code_info);
    let comments = sources.flat_map(|source| source.location).flat_map(|place| [place.leading_comments, place.trailing_comments]);
    let comments: Vec<String> = comments.flatten().collect();
    let unquoted = comments.iter().flat_map(|text| text.split('"').step_by(2));
    let words = unquoted.flat_map(|text| text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')));
    let codes: BTreeSet<String> = (0..17).map(|code| code_name(Code::from(code))).collect();
    words.filter(|word| word.len() > 5 && !codes.contains(*word)).map(str::to_owned).collect()
}

/// A code as gRPC writes it: `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let name = format!("{code:?}");
    let parts =
        name.char_indices().map(|(index, c)| if index > 0 && c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() });
    parts.collect()
}
