use futures::future::join_all;
use prost::Message;
use proto::referrals as pb;
use rpc::wire::timestamp;
use rpc::{Programs, Role};
use testkit::{TestEngine, on_each_engine};
use tonic::{Code, Status};

use crate::suite::{DAY, Suite, bad_fields, issue, refusal};

on_each_engine!(
    an_advocate_has_one_code_per_plan,
    many_ask_for_one_code_at_once,
    a_landing_page_learns_the_label_and_the_offer_only,
    every_bad_code_gets_the_same_answer,
    a_revoked_code_stays_revoked,
    bad_requests_for_codes_are_refused,
);

fn resolve(code: &str) -> pb::ResolveCodeRequest {
    pb::ResolveCodeRequest { parent: "programs/tea".to_owned(), code: code.to_owned() }
}

async fn an_advocate_has_one_code_per_plan(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let mut client = suite.client(Role::Platform).await;
    let (li, wang) = (suite.member(), suite.member());
    let first = client.issue_code(issue(&li, "r1".to_owned())).await.unwrap().into_inner();
    assert_eq!(first.advocate, li);
    assert_eq!(first.display_label, "Your friend Li");
    assert_eq!(first.state().as_str_name(), "STATE_ACTIVE");
    assert_eq!(first.name, format!("programs/tea/codes/{}", first.code));
    assert!(first.code.len() == 12 && first.code.bytes().all(|byte| b"23456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&byte)), "{}", first.code);

    let replay = client.issue_code(issue(&li, "r1".to_owned())).await.unwrap();
    assert_eq!(replay.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(replay.into_inner().encode_to_vec(), first.encode_to_vec(), "the first answer, byte for byte, label and all");
    let other_terms = pb::IssueCodeRequest { display_label: "Somebody".to_owned(), use_limit: 3, ..issue(&li, "r2".to_owned()) };
    let again = client.issue_code(other_terms).await.unwrap();
    assert_eq!(again.metadata().get("regulars-replayed"), None);
    assert_eq!(again.into_inner(), first);
    let reused = client.issue_code(issue(&wang, "r1".to_owned())).await;
    assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    let other = client.issue_code(issue(&wang, "r3".to_owned())).await.unwrap().into_inner();
    assert_ne!(other.code, first.code);

    let read = client.get_code(pb::GetCodeRequest { name: first.name.to_lowercase() }).await.unwrap().into_inner();
    assert_eq!(read, first);
    let missing = client.get_code(pb::GetCodeRequest { name: "programs/tea/codes/ABCDEFGHJKMN".to_owned() }).await;
    assert_eq!(refusal(missing), (Code::NotFound, "CODE_NOT_FOUND".to_owned()));
}

async fn many_ask_for_one_code_at_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let client = suite.client(Role::Platform).await;
    let li = suite.member();
    let asked = join_all((0..20).map(|number| {
        let (mut client, request) = (client.clone(), issue(&li, format!("r{number}")));
        async move { client.issue_code(request).await.unwrap().into_inner().code }
    }))
    .await;
    assert!(asked.iter().all(|code| *code == asked[0]), "{asked:?}");
}

async fn a_landing_page_learns_the_label_and_the_offer_only(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let code = suite.code(&suite.member()).await.code;
    let mut page = suite.client(Role::LandingPage).await;
    let expected = pb::ResolveCodeResponse {
        display_label: "Your friend Li".to_owned(),
        public_title: "A free tea".to_owned(),
        public_text: "Buy for 20 yuan and get 100 points.".to_owned(),
    };
    let spaced = format!(" {}-{} {} ", &code[..4], &code[4..8], &code[8..]);
    for typed in [&*code, &*code.to_lowercase(), &*spaced] {
        assert_eq!(page.resolve_code(resolve(typed)).await.unwrap().into_inner(), expected, "{typed}");
    }
}

/// Code, reason, text and details of a refusal: all that a guesser could tell two refusals apart by.
fn whole(status: Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

async fn every_bad_code_gets_the_same_answer(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let mut platform = suite.client(Role::Platform).await;
    let good = suite.code(&suite.member()).await.code;
    let revoked = suite.code(&suite.member()).await;
    platform.revoke_code(pb::RevokeCodeRequest { name: revoked.name, request_id: suite.request_id() }).await.unwrap();
    let soon = Some(timestamp(suite.context.now() + DAY));
    let expiring = pb::IssueCodeRequest { expire_time: soon, ..issue(&suite.member(), suite.request_id()) };
    let expired = platform.issue_code(expiring).await.unwrap().into_inner();
    let once = pb::IssueCodeRequest { use_limit: 1, ..issue(&suite.member(), suite.request_id()) };
    let exhausted = platform.issue_code(once).await.unwrap().into_inner();
    let friend = suite.member();
    suite.enrol(&friend, &exhausted.code).await;
    suite.reaches(&friend, proto::referrals::referral::State::Pending).await;
    suite.clock.advance(DAY);

    for (name, state) in [(&expired.name, "STATE_EXPIRED"), (&exhausted.name, "STATE_EXHAUSTED")] {
        let code = platform.get_code(pb::GetCodeRequest { name: name.clone() }).await.unwrap().into_inner();
        assert_eq!(code.state().as_str_name(), state);
    }
    let mut page = suite.client(Role::LandingPage).await;
    let unknown = whole(page.resolve_code(resolve("ABCDEFGHJKMN")).await.unwrap_err());
    assert_eq!(unknown.0, Code::NotFound);
    let mut typed: Vec<String> = vec![revoked.code, expired.code, exhausted.code];
    typed.extend(
        ["A", "-", "' OR 1=1 --", "ABCDEFGHJKM0", "ABCDEFGHJKMN2", "ＡＢＣＤＥＦＧＨＪＫＭＮ", "☕☕☕☕☕☕☕☕☕☕☕☕", "%", "../codes"]
            .map(str::to_owned),
    );
    // Neighbours of a good code: one character other, left out, or swapped.
    for place in 0..good.len() {
        let other = if good.as_bytes()[place] == b'A' { 'B' } else { 'A' };
        typed.push(good.chars().enumerate().map(|(at, c)| if at == place { other } else { c }).collect());
        typed.push(good.chars().enumerate().filter(|(at, _)| *at != place).map(|(_, c)| c).collect());
    }
    for code in typed {
        let answer = page.resolve_code(resolve(&code)).await;
        assert_eq!(whole(answer.unwrap_err()), unknown, "{code:?}");
    }
    let elsewhere = pb::ResolveCodeRequest { parent: "programs/coffee".to_owned(), code: good.clone() };
    assert_eq!(whole(page.resolve_code(elsewhere).await.unwrap_err()), unknown, "a code is good in its program only");
    assert!(page.resolve_code(resolve(&good)).await.is_ok());
    assert_eq!(bad_fields(page.resolve_code(resolve("")).await), ["code"]);
    assert_eq!(bad_fields(page.resolve_code(resolve(&"A".repeat(65))).await), ["code"]);

    let mut tea_only = suite.client_for(Role::LandingPage, Programs::Only(["coffee".to_owned()].into())).await;
    assert_eq!(refusal(tea_only.resolve_code(resolve(&good)).await), (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()));
}

async fn a_revoked_code_stays_revoked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let mut client = suite.client(Role::Support).await;
    let li = suite.member();
    let code = suite.code(&li).await;
    let revoke = |request_id: &str| pb::RevokeCodeRequest { name: code.name.to_lowercase(), request_id: request_id.to_owned() };
    let revoked = client.revoke_code(revoke("r1")).await.unwrap().into_inner();
    assert_eq!(revoked.state().as_str_name(), "STATE_REVOKED");
    assert_eq!(revoked.revoke_time, Some(timestamp(testkit::START)));
    suite.clock.advance(DAY);
    assert_eq!(client.revoke_code(revoke("r2")).await.unwrap().into_inner(), revoked, "the first revocation stands");
    let replay = client.revoke_code(revoke("r1")).await.unwrap();
    assert_eq!(replay.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(replay.into_inner(), revoked);
    assert_eq!(suite.code(&li).await.state().as_str_name(), "STATE_REVOKED", "asking again does not bring it back");
    let missing = pb::RevokeCodeRequest { name: "programs/tea/codes/ABCDEFGHJKMN".to_owned(), request_id: "r3".to_owned() };
    assert_eq!(refusal(client.revoke_code(missing).await), (Code::NotFound, "CODE_NOT_FOUND".to_owned()));
}

async fn bad_requests_for_codes_are_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    let mut client = suite.client(Role::Platform).await;
    let li = suite.member();
    let cases = [
        ("advocate", pb::IssueCodeRequest { advocate: "programs/tea/members/li".to_owned(), ..issue(&li, "r1".to_owned()) }),
        ("advocate", pb::IssueCodeRequest { advocate: String::new(), ..issue(&li, "r1".to_owned()) }),
        ("plan", pb::IssueCodeRequest { plan: "programs/coffee/plans/invite".to_owned(), ..issue(&li, "r1".to_owned()) }),
        ("display_label", pb::IssueCodeRequest { display_label: "x".repeat(61), ..issue(&li, "r1".to_owned()) }),
        ("use_limit", pb::IssueCodeRequest { use_limit: -1, ..issue(&li, "r1".to_owned()) }),
        ("expire_time", pb::IssueCodeRequest { expire_time: Some(timestamp(testkit::START)), ..issue(&li, "r1".to_owned()) }),
    ];
    for (field, request) in cases {
        assert_eq!(bad_fields(client.issue_code(request).await), [field]);
    }
    let missing = pb::IssueCodeRequest { plan: "programs/tea/plans/none".to_owned(), ..issue(&li, "r1".to_owned()) };
    assert_eq!(refusal(client.issue_code(missing).await), (Code::NotFound, "PLAN_NOT_FOUND".to_owned()));
}
