//! Surveys: a purchase asks three days later, a landing page answers, an analyst reads the score.

use std::time::Duration;

use proto::feedback::invitation::State;
use proto::feedback::{
    GetNpsRequest, Invitation, IssueInvitationTokenRequest, ListDueInvitationsRequest, ListInvitationsRequest, SampleFlag,
    SubmitResponseRequest, submit_response_request,
};
use rpc::Role;
use testkit::{TestEngine, eventually};
use tonic::Code;

use super::diary::Diary;
use super::suite::{STORE, Suite, TEA, refused, time};
use super::tea::{DAY, SURVEY, purchase_name};

testkit::on_each_engine!(a_purchase_is_asked_about_and_answered, goods_that_went_back_and_old_data_are_not_asked_about);

/// Seven promoters, three who are content, two detractors.
const SCORES: [i32; 12] = [10, 10, 10, 9, 9, 10, 9, 8, 7, 7, 6, 0];

async fn a_purchase_is_asked_about_and_answered(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_survey(&mut diary).await;
    let bought = suite.now();
    for number in 0..SCORES.len() {
        let member = suite.enrols(&mut diary, &format!("+86138001380{number:02}"), "").await.name;
        suite.buys(&mut diary, &member, &format!("p{number}"), 3000).await;
    }
    let scheduled = suite.invitations_reach(State::Scheduled, SCORES.len()).await;
    assert!(scheduled.iter().all(|invitation| invitation.due_time == time(bought + 3 * DAY)));
    assert!(scheduled.iter().all(|invitation| invitation.store == STORE), "the till has told where");
    let early = IssueInvitationTokenRequest { name: scheduled[0].name.clone(), request_id: suite.request_id() };
    let answer = suite.feedback(Role::Platform).issue_invitation_token(early).await;
    assert_eq!(refused(answer), (Code::FailedPrecondition, "INVITATION_NOT_DUE".to_owned()));

    suite.clock.advance(3 * DAY);
    let due = suite.invitations_reach(State::Due, SCORES.len()).await;
    let list = ListDueInvitationsRequest { parent: TEA.to_owned(), ..ListDueInvitationsRequest::default() };
    let listed = suite.feedback(Role::Platform).list_due_invitations(list).await.unwrap().into_inner().invitations;
    assert_eq!(listed.len(), due.len());

    for (index, (invitation, score)) in due.iter().zip(SCORES).enumerate() {
        suite.clock.advance(Duration::from_secs(1));
        let token = suite.issues_token(&mut diary, invitation).await;
        suite.answers(&mut diary, &token, score).await;
        if index == 8 {
            let hidden = suite.nps().await;
            assert_eq!((hidden.nps, hidden.response_count), (None, None), "nine answers give nobody away");
            assert!(hidden.flags().any(|flag| flag == SampleFlag::Hidden));
        }
        // The link is used up for another answer, and guessing gets nowhere.
        let other = submission(&suite, &token, 5);
        assert_eq!(refused(suite.feedback(Role::LandingPage).submit_response(other).await).1, "INVITATION_ANSWERED");
    }
    let guess = submission(&suite, &"A".repeat(43), 10);
    let answer = suite.feedback(Role::LandingPage).submit_response(guess).await;
    assert_eq!(refused(answer), (Code::NotFound, "TOKEN_NOT_VALID".to_owned()));

    diary.comes_again().await;
    suite.invitations_reach(State::Answered, SCORES.len()).await;
    let nps = suite.nps().await;
    assert_eq!((nps.promoter_count, nps.passive_count, nps.detractor_count), (Some(7), Some(3), Some(2)));
    assert_eq!(
        (nps.response_count, nps.delivered_count, nps.completed_count, nps.response_rate),
        (Some(12), Some(12), Some(12), Some(1.0))
    );
    // By hand: 100 · (7 − 2) / 12, and the adjusted Wald interval of 7.75 and 2.75 of 15.
    let near = |figure: Option<f64>, expected: f64| assert!((figure.unwrap() - expected).abs() < 5e-5, "{figure:?} is not {expected}");
    near(nps.nps, 41.666_667);
    near(nps.interval_low, -5.501_294);
    near(nps.interval_high, 72.167_961);
    assert_eq!(nps.flags().collect::<Vec<_>>(), [SampleFlag::LowSample]);
    suite.stop().await;
}

async fn goods_that_went_back_and_old_data_are_not_asked_about(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_survey(&mut diary).await;
    let [fickle, old, content] = [1, 2, 3].map(|number| format!("+861380013800{number}"));
    let fickle = suite.enrols(&mut diary, &fickle, "").await.name;
    let old = suite.enrols(&mut diary, &old, "").await.name;
    let content = suite.enrols(&mut diary, &content, "").await.name;

    let mut history = suite.award(&old, "old", 3000);
    history.historical = true;
    history.purchase.as_mut().unwrap().occur_time = time(suite.now() - 400 * DAY);
    diary.does(suite.points(Role::Platform), history, |mut points, request| async move { points.award(request).await }).await;
    suite.buys(&mut diary, &fickle, "regretted", 3000).await;
    suite.buys(&mut diary, &content, "kept", 3000).await;
    suite.invitations_reach(State::Scheduled, 2).await;

    suite.clock.advance(2 * DAY);
    suite.brings_back(&mut diary, "regretted", 1000).await;
    suite.brings_back(&mut diary, "kept", 1000).await;
    suite.brings_back(&mut diary, "regretted", 0).await;
    let cancelled = suite.invitations_reach(State::Cancelled, 1).await;
    assert_eq!((&cancelled[0].member, &*cancelled[0].purchase), (&fickle, &*purchase_name("regretted")));

    suite.clock.advance(DAY);
    let due = suite.invitations_reach(State::Due, 1).await;
    assert_eq!(due[0].member, content, "a part that went back changes nothing");
    suite.clock.advance(400 * DAY);
    suite.invitations_reach(State::Expired, 1).await;
    assert_eq!(suite.invitations(State::Unspecified).await.len(), 2, "old data asks nobody");
    suite.stop().await;
}

fn submission(suite: &Suite, token: &str, score: i32) -> SubmitResponseRequest {
    SubmitResponseRequest {
        parent: TEA.to_owned(),
        target: Some(submit_response_request::Target::Token(token.to_owned())),
        score: Some(score),
        comment: "Good tea.".to_owned(),
        request_id: suite.request_id(),
    }
}

impl Suite {
    async fn invitations(&self, state: State) -> Vec<Invitation> {
        let request = ListInvitationsRequest { parent: TEA.to_owned(), state: state.into(), ..ListInvitationsRequest::default() };
        self.feedback(Role::Platform).list_invitations(request).await.unwrap().into_inner().invitations
    }

    /// Waits until so many invitations are in a state.
    pub(crate) async fn invitations_reach(&self, state: State, count: usize) -> Vec<Invitation> {
        eventually(|| async {
            let found = self.invitations(state).await;
            if found.len() == count { Ok(found) } else { Err(found) }
        })
        .await
    }

    /// What a sender does before it sends the link.
    pub(crate) async fn issues_token(&self, diary: &mut Diary, invitation: &Invitation) -> String {
        let request = IssueInvitationTokenRequest { name: invitation.name.clone(), request_id: self.request_id() };
        let sender = self.feedback(Role::Platform);
        let issued =
            diary.does(sender, request, |mut feedback, request| async move { feedback.issue_invitation_token(request).await }).await;
        assert_eq!(issued.invitation.unwrap().state(), State::Sent);
        issued.token
    }

    /// What the landing page of the link does.
    pub(crate) async fn answers(&self, diary: &mut Diary, token: &str, score: i32) {
        let page = self.feedback(Role::LandingPage);
        let request = submission(self, token, score);
        let response = diary.does(page, request, |mut feedback, request| async move { feedback.submit_response(request).await }).await;
        assert_eq!(response.score, score);
        assert_eq!((&*response.member, &*response.purchase), ("", ""), "a landing page is not told who answered about what");
    }

    async fn nps(&self) -> proto::feedback::GetNpsResponse {
        let request = GetNpsRequest { survey: SURVEY.to_owned(), store: STORE.to_owned(), start_time: None, end_time: None };
        self.feedback(Role::Analyst).get_nps(request).await.unwrap().into_inner()
    }
}
