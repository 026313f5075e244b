//! From a purchase to an invitation that waits for a sender.

use proto::common::{CalendarPeriod, Money, Role, calendar_period};
use proto::feedback as pb;
use proto::feedback::invitation::{State, SuppressReason};
use proto::feedback::survey::Trigger;
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use crate::suite::{DAY, PROGRAM, Suite, create, member_name, recorded, refused, survey, wrong_field};

testkit::on_each_engine!(
    a_survey_is_made_once_and_moves_by_its_verbs,
    a_purchase_is_asked_about_three_days_later,
    a_purchase_told_twice_is_asked_about_once,
    strangers_old_data_and_other_purchases_are_not_asked_about,
    goods_that_went_back_are_not_asked_about,
    what_was_sent_stays_answerable_when_goods_go_back,
    surveys_share_one_recontact_clock,
    a_contact_that_never_went_out_does_not_count,
    a_paused_survey_asks_nobody,
    an_invitation_expires,
    lists_page_without_gap_or_overlap,
    callers_get_no_further_than_their_role,
    replicas_do_nothing_twice,
);

async fn a_survey_is_made_once_and_moves_by_its_verbs(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut administrator = suite.client(Role::Administrator).await;
    let made = administrator.create_survey(create("nps", survey())).await.unwrap().into_inner();
    assert_eq!(made.name, "programs/tea/surveys/nps");
    assert_eq!(made.state(), pb::survey::State::Draft);
    assert_eq!((made.recontact_days, made.sampling_percent), (Some(30), Some(100)));
    let Some(Trigger::AfterPurchase(trigger)) = &made.trigger else { panic!("it has a trigger") };
    assert_eq!(trigger.delay, Some(CalendarPeriod { count: 3, unit: calendar_period::Unit::Day.into() }));

    let again = administrator.create_survey(create("nps", survey())).await.unwrap();
    assert!(again.metadata().contains_key("regulars-replayed"));
    assert_eq!(again.into_inner(), made);
    let other = pb::CreateSurveyRequest { request_id: "other".to_owned(), ..create("nps", survey()) };
    assert_eq!(refused(administrator.create_survey(other).await), (Code::AlreadyExists, "SURVEY_EXISTS".to_owned()));
    let dollars =
        pb::AfterPurchase { minimum_net: Some(Money { currency_code: "USD".to_owned(), minor_units: 1 }), ..pb::AfterPurchase::default() };
    let dollars = pb::Survey { trigger: Some(Trigger::AfterPurchase(dollars)), ..survey() };
    assert_eq!(wrong_field(administrator.create_survey(create("usd", dollars)).await), "survey.after_purchase.minimum_net.currency_code");
    let elsewhere = pb::CreateSurveyRequest { parent: "programs/coffee".to_owned(), ..create("nps", survey()) };
    assert_eq!(refused(administrator.create_survey(elsewhere).await), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));

    let name = made.name.clone();
    let pause = |request_id: &str| pb::PauseSurveyRequest { name: name.clone(), request_id: request_id.to_owned() };
    let activate = |request_id: &str| pb::ActivateSurveyRequest { name: name.clone(), request_id: request_id.to_owned() };
    assert_eq!(refused(administrator.pause_survey(pause("1")).await), (Code::FailedPrecondition, "SURVEY_NOT_ACTIVATED".to_owned()));
    assert_eq!(administrator.activate_survey(activate("2")).await.unwrap().into_inner().state(), pb::survey::State::Active);
    assert_eq!(administrator.activate_survey(activate("3")).await.unwrap().into_inner().state(), pb::survey::State::Active);
    assert_eq!(administrator.pause_survey(pause("4")).await.unwrap().into_inner().state(), pb::survey::State::Paused);
    // A replay says what was said, whatever has happened since.
    assert_eq!(administrator.activate_survey(activate("2")).await.unwrap().into_inner().state(), pb::survey::State::Active);
    let now = administrator.get_survey(pb::GetSurveyRequest { name: name.clone() }).await.unwrap().into_inner();
    assert_eq!(now.state(), pb::survey::State::Paused);
    let missing = pb::GetSurveyRequest { name: format!("{PROGRAM}/surveys/none") };
    assert_eq!(refused(administrator.get_survey(missing).await), (Code::NotFound, "SURVEY_NOT_FOUND".to_owned()));
}

async fn a_purchase_is_asked_about_three_days_later(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    suite.buy(1, "p1").await;
    let scheduled = suite.invitation(1, State::Scheduled).await;
    assert_eq!(scheduled.survey, "programs/tea/surveys/nps");
    assert_eq!(scheduled.purchase, "programs/tea/purchases/p1");
    assert_eq!(scheduled.store, "programs/tea/stores/s1");
    assert_eq!(scheduled.due_time, Some(timestamp(testkit::START + 3 * DAY)));
    assert_eq!(scheduled.expire_time, Some(timestamp(testkit::START + 17 * DAY)));

    let mut sender = suite.client(Role::Service).await;
    let issue = pb::IssueInvitationTokenRequest { name: scheduled.name.clone(), request_id: "early".to_owned() };
    assert_eq!(refused(sender.issue_invitation_token(issue).await), (Code::FailedPrecondition, "INVITATION_NOT_DUE".to_owned()));

    suite.clock.advance(3 * DAY);
    let due = suite.invitation(1, State::Due).await;
    let list = pb::ListDueInvitationsRequest { parent: PROGRAM.to_owned(), ..Default::default() };
    assert_eq!(sender.list_due_invitations(list.clone()).await.unwrap().into_inner().invitations, std::slice::from_ref(&due));
    suite.token(&due, "send").await;
    let sent = suite.invitation(1, State::Sent).await;
    assert_eq!(sent.send_time, Some(timestamp(suite.now())));
    assert!(sender.list_due_invitations(list).await.unwrap().into_inner().invitations.is_empty());
    let told = suite.told_states(&sent.name, 3).await;
    assert_eq!(told, [(1, "SCHEDULED".to_owned()), (2, "DUE".to_owned()), (3, "SENT".to_owned())]);
}

async fn a_purchase_told_twice_is_asked_about_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", pb::Survey { recontact_days: Some(0), ..survey() }).await;
    for _ in 0..3 {
        suite.buy(1, "p1").await;
    }
    suite.feed_is_dealt_with("marker").await;
    assert_eq!(suite.invitations(1).await.len(), 1);
}

async fn strangers_old_data_and_other_purchases_are_not_asked_about(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let trigger = pb::AfterPurchase {
        delay: None,
        minimum_net: Some(Money { currency_code: "CNY".to_owned(), minor_units: 2_500 }),
        channels: vec!["store".to_owned()],
        stores: vec![format!("{PROGRAM}/stores/s1")],
    };
    suite.activate("nps", pb::Survey { trigger: Some(Trigger::AfterPurchase(trigger)), ..survey() }).await;
    let now = suite.now();
    suite.tell_purchase(0, recorded("stranger"), now, false).await;
    suite.tell_purchase(1, recorded("old"), now, true).await;
    suite.tell_purchase(2, proto::events::PurchaseRecorded { channel: "app".to_owned(), ..recorded("app") }, now, false).await;
    suite.tell_purchase(3, proto::events::PurchaseRecorded { store: format!("{PROGRAM}/stores/s2"), ..recorded("s2") }, now, false).await;
    let cheap = Some(Money { currency_code: "CNY".to_owned(), minor_units: 2_499 });
    suite.tell_purchase(4, proto::events::PurchaseRecorded { net: cheap, ..recorded("cheap") }, now, false).await;
    suite.tell_purchase(5, recorded("late"), now - 18 * DAY, false).await;
    suite.buy(6, "good").await;
    suite.feed_is_dealt_with("marker").await;
    for member in 1..=5 {
        assert_eq!(suite.invitations(member).await, [], "member {member}");
    }
    suite.invitation(6, State::Scheduled).await;
}

async fn goods_that_went_back_are_not_asked_about(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    suite.buy(1, "scheduled").await;
    suite.invitation(1, State::Scheduled).await;
    suite.give_back(1, "scheduled", false).await;
    suite.feed_is_dealt_with("marker").await;
    suite.invitation(1, State::Scheduled).await;
    suite.give_back(1, "scheduled", true).await;
    suite.invitation(1, State::Cancelled).await;

    let due = suite.due_invitation(2, "due").await;
    suite.give_back(2, "due", true).await;
    let cancelled = suite.invitation(2, State::Cancelled).await;
    assert_eq!(cancelled.send_time, None);
    let issue = pb::IssueInvitationTokenRequest { name: due.name, request_id: "late".to_owned() };
    let issued = suite.client(Role::Service).await.issue_invitation_token(issue).await;
    assert_eq!(refused(issued), (Code::FailedPrecondition, "INVITATION_CLOSED".to_owned()));

    // The return may be told before the purchase.
    suite.give_back(3, "turned", true).await;
    suite.feed_is_dealt_with("between").await;
    suite.buy(3, "turned").await;
    suite.feed_is_dealt_with("after").await;
    assert_eq!(suite.invitations(3).await, []);
}

async fn what_was_sent_stays_answerable_when_goods_go_back(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let due = suite.due_invitation(1, "p1").await;
    suite.token(&due, "send").await;
    suite.give_back(1, "p1", true).await;
    suite.feed_is_dealt_with("marker").await;
    suite.invitation(1, State::Sent).await;
}

async fn surveys_share_one_recontact_clock(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("a", survey()).await;
    suite.activate("b", survey()).await;
    // Both surveys ask about the same purchase: one of them gets through.
    suite.buy(1, "p1").await;
    testkit::eventually(async || suite.invitations(1).await.len() == 2).await;
    suite.clock.advance(3 * DAY);
    let moved = async || {
        let invitations = suite.invitations(1).await;
        invitations.iter().all(|invitation| invitation.state() != State::Scheduled).then_some(invitations)
    };
    let moved = testkit::eventually(moved).await;
    let (due, suppressed): (Vec<_>, Vec<_>) = moved.into_iter().partition(|invitation| invitation.state() == State::Due);
    assert_eq!((due.len(), suppressed.len()), (1, 1));
    assert_eq!(suppressed[0].suppress_reason(), SuppressReason::Recontact);
    // The clock runs from the moment at which it went out.
    suite.clock.advance(DAY);
    suite.token(&due[0], "send").await;
    let states = async |purchase: &str| {
        let invitations = suite.invitations(1).await;
        let name = format!("{PROGRAM}/purchases/{purchase}");
        let mut states: Vec<_> = invitations.iter().filter(|invitation| invitation.purchase == name).map(pb::Invitation::state).collect();
        states.sort();
        states
    };
    suite.clock.advance(30 * DAY - std::time::Duration::from_secs(1));
    suite.tell_purchase(1, recorded("p2"), suite.now() - 3 * DAY, false).await;
    testkit::eventually(async || states("p2").await == [State::Suppressed, State::Suppressed]).await;
    suite.clock.advance(std::time::Duration::from_secs(1));
    suite.tell_purchase(1, recorded("p3"), suite.now() - 3 * DAY, false).await;
    testkit::eventually(async || states("p3").await == [State::Due, State::Suppressed]).await;
}

async fn a_contact_that_never_went_out_does_not_count(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    suite.due_invitation(1, "p1").await;
    // Nobody sent it.
    suite.clock.advance(14 * DAY);
    let expired = suite.invitation(1, State::Expired).await;
    assert_eq!(expired.send_time, None);
    suite.tell_purchase(1, recorded("p2"), suite.now() - 3 * DAY, false).await;
    testkit::eventually(async || suite.invitations(1).await.last().is_some_and(|last| last.state() == State::Due)).await;
}

async fn a_paused_survey_asks_nobody(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let due = suite.due_invitation(1, "p1").await;
    suite.buy(2, "p2").await;
    suite.invitation(2, State::Scheduled).await;
    let mut administrator = suite.client(Role::Administrator).await;
    let pause = pb::PauseSurveyRequest { name: format!("{PROGRAM}/surveys/nps"), request_id: "pause".to_owned() };
    administrator.pause_survey(pause).await.unwrap();

    let issue = pb::IssueInvitationTokenRequest { name: due.name, request_id: "send".to_owned() };
    let issued = suite.client(Role::Service).await.issue_invitation_token(issue).await;
    assert_eq!(refused(issued), (Code::FailedPrecondition, "SURVEY_PAUSED".to_owned()));
    suite.clock.advance(3 * DAY);
    assert_eq!(suite.invitation(2, State::Suppressed).await.suppress_reason(), SuppressReason::SurveyPaused);
}

async fn an_invitation_expires(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let due = suite.due_invitation(1, "p1").await;
    suite.token(&due, "send").await;
    suite.clock.advance(14 * DAY - std::time::Duration::from_secs(1));
    suite.invitation(1, State::Sent).await;
    suite.clock.advance(std::time::Duration::from_secs(1));
    let expired = suite.invitation(1, State::Expired).await;
    assert_eq!(expired.send_time, Some(timestamp(testkit::START)));
    assert_eq!(suite.told_states(&due.name, 4).await.last(), Some(&(4, "EXPIRED".to_owned())));
}

async fn lists_page_without_gap_or_overlap(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    for member in 1..=7 {
        suite.tell_purchase(member, recorded(&format!("p{member}")), suite.now() - 3 * DAY, false).await;
        suite.invitation(member, State::Due).await;
    }
    let mut sender = suite.client(Role::Service).await;
    let (mut listed, mut due) = (Vec::new(), Vec::new());
    let mut token = String::new();
    loop {
        let request = pb::ListInvitationsRequest { parent: PROGRAM.to_owned(), page_size: 3, page_token: token, ..Default::default() };
        let page = sender.list_invitations(request).await.unwrap().into_inner();
        listed.extend(page.invitations.into_iter().map(|invitation| invitation.member));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, (1..=7).map(member_name).collect::<Vec<_>>());
    loop {
        let request = pb::ListDueInvitationsRequest { parent: PROGRAM.to_owned(), page_size: 3, page_token: token };
        let page = sender.list_due_invitations(request).await.unwrap().into_inner();
        due.extend(page.invitations.into_iter().map(|invitation| invitation.member));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    due.sort();
    assert_eq!(due, listed);
    let foreign = pb::ListInvitationsRequest { parent: PROGRAM.to_owned(), page_token: "AAAA".to_owned(), ..Default::default() };
    assert_eq!(wrong_field(sender.list_invitations(foreign).await), "page_token");
    let filtered = pb::ListInvitationsRequest { parent: PROGRAM.to_owned(), state: State::Sent.into(), ..Default::default() };
    assert!(sender.list_invitations(filtered).await.unwrap().into_inner().invitations.is_empty());
}

async fn callers_get_no_further_than_their_role(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut page = suite.client(Role::LandingPage).await;
    let list = pb::ListInvitationsRequest { parent: PROGRAM.to_owned(), ..Default::default() };
    assert_eq!(page.list_invitations(list).await.unwrap_err().code(), Code::PermissionDenied);
    let mut analyst = suite.client(Role::Analyst).await;
    let list = pb::ListResponsesRequest { parent: PROGRAM.to_owned(), ..Default::default() };
    assert_eq!(analyst.list_responses(list).await.unwrap_err().code(), Code::PermissionDenied);
    let mut platform = suite.client(Role::Platform).await;
    assert_eq!(platform.create_survey(create("nps", survey())).await.unwrap_err().code(), Code::PermissionDenied);
}

/// Three processes follow the same feed and the same clock.
async fn replicas_do_nothing_twice(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replicas = [suite.replica().await, suite.replica().await];
    suite.activate("a", survey()).await;
    suite.activate("b", survey()).await;
    for purchase in 0..60 {
        suite.buy(1 + purchase % 20, &format!("p{purchase}")).await;
    }
    // Each member is asked about three purchases by two surveys; all fall due at the same moment and one gets through.
    for member in 1..=20 {
        testkit::eventually(async || suite.invitations(member).await.len() == 6).await;
    }
    suite.clock.advance(3 * DAY);
    for member in 1..=20 {
        let moved = async || {
            let invitations = suite.invitations(member).await;
            invitations.iter().all(|invitation| invitation.state() != State::Scheduled).then_some(invitations)
        };
        let moved = testkit::eventually(moved).await;
        let due: Vec<_> = moved.iter().filter(|invitation| invitation.state() == State::Due).collect();
        assert_eq!(due.len(), 1, "member {member}");
        assert!(
            moved.iter().all(|invitation| invitation.state() == State::Due || invitation.suppress_reason() == SuppressReason::Recontact)
        );
    }
    let told = suite.told().await;
    let mut versions = std::collections::BTreeMap::<_, Vec<_>>::new();
    for event in told {
        versions.entry(event.aggregate).or_default().push(event.aggregate_version);
    }
    assert_eq!(versions.len(), 120);
    assert!(versions.values().all(|versions| versions == &[1, 2]));
    for replica in replicas {
        replica.stop().await;
    }
}
