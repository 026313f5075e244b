//! From an invitation to a response.

use futures::future::join_all;
use proto::common::Role;
use proto::feedback as pb;
use proto::feedback::invitation::State;
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use crate::suite::{DAY, PROGRAM, Suite, refused, submit, submit_by_name, survey, update, wrong_field};

testkit::on_each_engine!(
    a_landing_page_answers_by_token_and_learns_nothing,
    twenty_answers_with_one_token_make_one_response,
    the_same_answer_again_is_the_first_answer,
    an_edit_counts_once,
    a_till_answers_by_name,
    bad_scores_are_named,
    tokens_that_open_nothing_look_alike,
    a_new_token_replaces_the_earlier_one,
    comments_are_sealed,
);

async fn sent(suite: &Suite, member: u128) -> (pb::Invitation, String) {
    let invitation = suite.due_invitation(member, &format!("p{member}")).await;
    let token = suite.token(&invitation, &format!("send-{member}")).await;
    (invitation, token)
}

async fn responses(suite: &Suite, role: Role) -> Vec<pb::Response> {
    let request = pb::ListResponsesRequest { parent: PROGRAM.to_owned(), ..Default::default() };
    suite.client(role).await.list_responses(request).await.unwrap().into_inner().responses
}

async fn a_landing_page_answers_by_token_and_learns_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (invitation, token) = sent(&suite, 1).await;
    assert_eq!(token.len(), 43);
    let mut page = suite.client(Role::LandingPage).await;
    let given = page.submit_response(submit(&token, 9, "lovely oolong", "1")).await.unwrap().into_inner();
    assert_eq!((given.score, &*given.comment), (9, ""));
    assert_eq!((&*given.member, &*given.purchase, &*given.store), ("", "", ""));
    assert_eq!(given.masked_fields, ["member", "purchase", "store", "comment"]);
    assert_eq!(given.edit_until_time, Some(timestamp(testkit::START + DAY)));

    let answered = suite.invitation(1, State::Answered).await;
    assert_eq!(answered.response, given.name);
    assert_eq!(suite.told_states(&invitation.name, 4).await.last(), Some(&(4, "ANSWERED".to_owned())));

    let seen = responses(&suite, Role::Support).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].comment, "lovely oolong");
    assert_eq!(seen[0].member, answered.member);
    assert!(seen[0].masked_fields.is_empty());
    let seen = responses(&suite, Role::Auditor).await;
    assert_eq!((&*seen[0].comment, &seen[0].masked_fields), ("", &vec!["comment".to_owned()]));
    let get = pb::GetResponseRequest { name: given.name };
    assert_eq!(suite.client(Role::Support).await.get_response(get).await.unwrap().into_inner().comment, "lovely oolong");
}

async fn twenty_answers_with_one_token_make_one_response(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (_, token) = sent(&suite, 1).await;
    let page = suite.client(Role::LandingPage).await;
    // Every caller says something of its own, so that nobody's answer can pass for another's.
    let answers = join_all((0..20).map(|number| {
        let (mut page, token) = (page.clone(), token.clone());
        async move { page.submit_response(submit(&token, number % 11, &format!("from {number}"), &format!("r{number}"))).await }
    }))
    .await;
    let (first, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(first.len(), 1);
    for other in others {
        assert_eq!(refused(other), (Code::AlreadyExists, "INVITATION_ANSWERED".to_owned()));
    }
    assert_eq!(responses(&suite, Role::Support).await.len(), 1);
    assert_eq!(suite.told_states(&suite.invitations(1).await[0].name, 4).await.len(), 4);
}

async fn the_same_answer_again_is_the_first_answer(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (_, token) = sent(&suite, 1).await;
    let mut page = suite.client(Role::LandingPage).await;
    let first = page.submit_response(submit(&token, 3, "cold tea", "1")).await.unwrap();
    assert!(!first.metadata().contains_key("regulars-replayed"));
    let first = first.into_inner();
    suite.clock.advance(20 * DAY);
    // The same request, and the same answer under a new request id, also long after the end.
    for request_id in ["1", "2"] {
        let again = page.submit_response(submit(&token, 3, "cold tea", request_id)).await.unwrap();
        assert!(again.metadata().contains_key("regulars-replayed"));
        assert_eq!(again.into_inner(), first);
    }
    let answered = (Code::AlreadyExists, "INVITATION_ANSWERED".to_owned());
    assert_eq!(refused(page.submit_response(submit(&token, 4, "cold tea", "3")).await), answered);
    assert_eq!(refused(page.submit_response(submit(&token, 3, "warm tea", "4")).await), answered);
    let reused = page.submit_response(submit(&token, 4, "cold tea", "1")).await;
    assert!(reused.as_ref().is_err_and(|status| status.message().contains("score")));
    assert_eq!(refused(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
}

async fn an_edit_counts_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (_, token) = sent(&suite, 1).await;
    let mut page = suite.client(Role::LandingPage).await;
    let early = page.update_response(update(&token, 9, "", "0")).await;
    assert_eq!(refused(early), (Code::NotFound, "RESPONSE_NOT_FOUND".to_owned()));
    let first = page.submit_response(submit(&token, 3, "cold tea", "1")).await.unwrap().into_inner();

    suite.clock.advance(DAY - std::time::Duration::from_secs(1));
    let edited = page.update_response(update(&token, 10, "a new pot came", "2")).await.unwrap().into_inner();
    assert_eq!((&edited.name, edited.score, edited.answer_time), (&first.name, 10, first.answer_time));
    assert_eq!(edited.update_time, Some(timestamp(suite.now())));
    let seen = responses(&suite, Role::Support).await;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].score, &*seen[0].comment), (10, "a new pot came"));

    suite.clock.advance(std::time::Duration::from_secs(1));
    let late = page.update_response(update(&token, 0, "", "3")).await;
    assert_eq!(refused(late), (Code::FailedPrecondition, "EDIT_WINDOW_CLOSED".to_owned()));
    let replayed = page.update_response(update(&token, 10, "a new pot came", "2")).await.unwrap();
    assert!(replayed.metadata().contains_key("regulars-replayed"));
    assert_eq!(replayed.into_inner(), edited);
}

async fn a_till_answers_by_name(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let invitation = suite.due_invitation(1, "p1").await;
    let by_name = submit_by_name(&invitation.name, 8, "1");
    let refusal = suite.client(Role::LandingPage).await.submit_response(by_name.clone()).await;
    assert_eq!(refused(refusal), (Code::PermissionDenied, "TOKEN_REQUIRED".to_owned()));
    let mut back_end = suite.client(Role::Platform).await;
    let given = back_end.submit_response(by_name).await.unwrap().into_inner();
    assert_eq!((given.member, given.score), (invitation.member, 8));
    // Being answered is being delivered.
    assert!(suite.invitation(1, State::Answered).await.send_time.is_some());

    let missing = submit_by_name(&format!("{PROGRAM}/invitations/00000000-0000-0000-0000-000000000009"), 8, "2");
    assert_eq!(refused(back_end.submit_response(missing).await), (Code::NotFound, "INVITATION_NOT_FOUND".to_owned()));
    suite.buy(2, "p2").await;
    let scheduled = suite.invitation(2, State::Scheduled).await;
    let early = back_end.submit_response(submit_by_name(&scheduled.name, 8, "3")).await;
    assert_eq!(refused(early), (Code::FailedPrecondition, "INVITATION_NOT_DUE".to_owned()));
}

async fn bad_scores_are_named(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (_, token) = sent(&suite, 1).await;
    let mut page = suite.client(Role::LandingPage).await;
    for score in [-1, 11, i32::MAX] {
        assert_eq!(wrong_field(page.submit_response(submit(&token, score, "", "1")).await), "score");
    }
    // A missing score is not a zero: that would make a detractor.
    let none = pb::SubmitResponseRequest { score: None, ..submit(&token, 0, "", "2") };
    assert_eq!(wrong_field(page.submit_response(none).await), "score");
    let long = submit(&token, 5, &"x".repeat(4001), "3");
    assert_eq!(wrong_field(page.submit_response(long).await), "comment");
    assert_eq!(page.submit_response(submit(&token, 0, "", "4")).await.unwrap().into_inner().score, 0);
}

async fn tokens_that_open_nothing_look_alike(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (invitation, replaced) = sent(&suite, 1).await;
    let token = suite.token(&invitation, "again").await;
    let mut page = suite.client(Role::LandingPage).await;
    let mut texts = Vec::new();
    for bad in ["x", &"A".repeat(43), &replaced, &token[1..]] {
        let status = page.submit_response(submit(bad, 5, "", "1")).await.unwrap_err();
        texts.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        assert_eq!(refused(Err::<(), _>(status)), (Code::NotFound, "TOKEN_NOT_VALID".to_owned()));
        assert_eq!(refused(page.update_response(update(bad, 5, "", "1")).await), (Code::NotFound, "TOKEN_NOT_VALID".to_owned()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
    assert_eq!(wrong_field(page.submit_response(submit("not a token!", 5, "", "1")).await), "token");
    // Whoever holds the true one may know that it is too late, whether or not the job has come round.
    suite.clock.advance(14 * DAY);
    let late = (Code::FailedPrecondition, "INVITATION_EXPIRED".to_owned());
    assert_eq!(refused(page.submit_response(submit(&token, 5, "", "2")).await), late);
    suite.invitation(1, State::Expired).await;
    assert_eq!(refused(page.submit_response(submit(&token, 5, "", "3")).await), late);
}

async fn a_new_token_replaces_the_earlier_one(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (invitation, first) = sent(&suite, 1).await;
    assert_eq!(suite.token(&invitation, "send-1").await, first, "a replay has the same token");
    suite.clock.advance(DAY);
    let second = suite.token(&invitation, "another").await;
    assert_ne!(first, second);
    assert_eq!(suite.invitation(1, State::Sent).await.send_time, Some(timestamp(testkit::START)));
    let mut page = suite.client(Role::LandingPage).await;
    assert_eq!(refused(page.submit_response(submit(&first, 5, "", "1")).await), (Code::NotFound, "TOKEN_NOT_VALID".to_owned()));
    page.submit_response(submit(&second, 5, "", "2")).await.unwrap();
    let issue = pb::IssueInvitationTokenRequest { name: invitation.name, request_id: "late".to_owned() };
    let issued = suite.client(Role::Service).await.issue_invitation_token(issue).await;
    assert_eq!(refused(issued), (Code::FailedPrecondition, "INVITATION_CLOSED".to_owned()));
}

async fn comments_are_sealed(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let (_, token) = sent(&suite, 1).await;
    let mut page = suite.client(Role::LandingPage).await;
    page.submit_response(submit(&token, 2, "unmistakable words", "1")).await.unwrap();
    let database = suite.engine.open("feedback", feedback::MIGRATIONS).await;
    let mut tx = database.read().await.unwrap();
    let stored: Vec<u8> =
        persistence::on_engine!(tx, |conn| sqlx::query_scalar("SELECT comment FROM responses").fetch_one(conn).await).unwrap();
    let answers: Vec<Vec<u8>> =
        persistence::on_engine!(tx, |conn| sqlx::query_scalar("SELECT answer FROM requests").fetch_all(conn).await).unwrap();
    let contains = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!contains(&stored, "unmistakable"));
    assert!(!answers.iter().any(|answer| contains(answer, "unmistakable") || contains(answer, &token)));
}
