//! A friend brings a friend: enrolment, code, first purchase, rewards, refund; in one server and in two.

use proto::events::event::Payload;
use proto::points::EntryKind::{Award, Clawback, Reward, RewardRevoked};
use proto::referrals::referral::leg::State as LegState;
use proto::referrals::referral::{State, VoidReason};
use proto::referrals::{Code, IssueCodeRequest, ListReferralsRequest, Referral, ResolveCodeRequest};
use proto::tiers::OnReturn;
use rpc::Role;
use std::time::Duration;
use testkit::{TestEngine, eventually};

use super::diary::Diary;
use super::suite::{Suite, TEA, counted, refused};
use super::tea::{ADVOCATE_REWARD, FRIEND_REWARD, HOLD, PLAN, purchase_name};

testkit::on_each_engine!(
    both_sides_are_rewarded_once_and_a_refund_takes_it_back,
    services_apart_do_the_same,
    a_small_purchase_rewards_nobody
);

async fn both_sides_are_rewarded_once_and_a_refund_takes_it_back(engine: TestEngine) {
    journey(Suite::start(engine).await).await;
}

async fn services_apart_do_the_same(engine: TestEngine) {
    journey(Suite::start_apart(engine).await).await;
}

async fn journey(suite: Suite) {
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_scheme(&mut diary, OnReturn::Reevaluate).await;
    suite.sets_plan(&mut diary).await;
    suite.sets_survey(&mut diary).await;

    let advocate = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    let code = suite.issues_code(&mut diary, &advocate).await;
    shows_who_invites(&suite, &code).await;
    let friend = suite.enrols(&mut diary, "+8613800138002", &code.code).await.name;
    let referral = suite.referral_reaches(&friend, State::Pending, [LegState::Awaiting; 2]).await;
    assert_eq!((referral.advocate, referral.code), (advocate.clone(), code.name));

    let purchase = suite.buys(&mut diary, &friend, "first", 3000).await;
    assert!(purchase.award.unwrap().first_purchase);
    let referral = suite.referral_reaches(&friend, State::Qualified, [LegState::Awaiting; 2]).await;
    assert_eq!(referral.purchase, purchase_name("first"));
    assert_eq!(suite.books(&advocate).await, [], "nothing is given while goods may come back");

    suite.clock.advance(HOLD);
    suite.referral_reaches(&friend, State::Approved, [LegState::Issued; 2]).await;
    assert_eq!(suite.books(&advocate).await, [(Reward, ADVOCATE_REWARD)]);
    assert_eq!(suite.books(&friend).await, [(Award, 300), (Reward, FRIEND_REWARD)]);
    assert_eq!((suite.active(&advocate).await, suite.active(&friend).await), (ADVOCATE_REWARD, 300 + FRIEND_REWARD));

    // Half a cup is kept: less than the plan asks for.
    suite.brings_back(&mut diary, "first", 500).await;
    let voided = suite.referral_reaches(&friend, State::Voided, [LegState::Revoked; 2]).await;
    assert_eq!(voided.void_reason(), VoidReason::PurchaseReturned);
    let books_of_advocate = [(Reward, ADVOCATE_REWARD), (RewardRevoked, -ADVOCATE_REWARD)];
    let books_of_friend = [(Award, 300), (Reward, FRIEND_REWARD), (Clawback, -250), (RewardRevoked, -FRIEND_REWARD)];
    assert_eq!(suite.books(&advocate).await, books_of_advocate);
    assert_eq!(suite.books(&friend).await, books_of_friend);
    assert_eq!((suite.active(&advocate).await, suite.active(&friend).await), (0, 50));

    tells_all_feeds(&suite, &advocate, &friend).await;

    diary.comes_again().await;
    assert_eq!(suite.books(&advocate).await, books_of_advocate, "what came again has moved nothing");
    assert_eq!(suite.books(&friend).await, books_of_friend);
    assert_eq!(suite.referrals_of(&friend).await, [voided]);
    suite.stop().await;
}

/// The landing page learns the label and the offer, and nothing else; a code that does not exist tells nothing at all.
async fn shows_who_invites(suite: &Suite, code: &Code) {
    let mut page = suite.referrals(Role::LandingPage);
    let typed = code.code.to_lowercase();
    let (head, tail) = typed.split_at(4);
    let request = ResolveCodeRequest { parent: TEA.to_owned(), code: format!("{head}-{tail}") };
    let shown = page.resolve_code(request).await.unwrap().into_inner();
    assert_eq!((&*shown.display_label, &*shown.public_title), ("Your friend Li", "A tea for you"));
    let unknown = ResolveCodeRequest { parent: TEA.to_owned(), code: "2222-3333-4444".to_owned() };
    assert_eq!(refused(page.resolve_code(unknown).await), (tonic::Code::NotFound, "CODE_NOT_VALID".to_owned()));
}

/// Each feed tells the story once, in its order.
async fn tells_all_feeds(suite: &Suite, advocate: &str, friend: &str) {
    let story = async |source: &str, member: &str| suite.feed_of(source, member).await.iter().map(told).collect::<Vec<_>>();
    let tells = async |source: &str, member: &str, expected: &[&str]| {
        eventually(|| async {
            let story = story(source, member).await;
            if story == expected { Ok(()) } else { Err(story) }
        })
        .await;
    };
    tells("members", advocate, &["enrolled"]).await;
    tells("members", friend, &["enrolled with a code"]).await;
    tells("points", advocate, &["REWARD 200", "REWARD -200"]).await;
    tells("tiers", friend, &["JOINED silver", "LEFT "]).await;
    tells("tiers", advocate, &[]).await;
    tells("referrals", friend, &["PENDING", "QUALIFIED", "APPROVED", "VOIDED"]).await;
    tells("feedback", friend, &["SCHEDULED", "DUE"]).await;
    // The clawback and the reward's revocation are two operations of two callers: the later one may have come first in the books.
    let points = counted(story("points", friend).await);
    assert_eq!(points, counted(["bought 3000, first", "REWARD 100", "500 left", "REWARD -100"].map(str::to_owned)));
    let programs = suite.feed("directory").await.into_iter().filter_map(|event| match event.payload {
        Some(Payload::DirectoryChanged(changed)) if !changed.resource.starts_with("apiKeys/") => Some(changed.resource),
        _ => None,
    });
    let expected = ["programs/coffee", "programs/tea", "programs/tea/stores/bund", "programs/tea/stores/bund/terminals/1"];
    assert_eq!(counted(programs), counted(expected.map(str::to_owned)));
}

/// An event in a few words.
fn told(event: &proto::events::Event) -> String {
    match event.payload.as_ref().expect("it says what happened") {
        Payload::MemberEnrolled(enrolled) if enrolled.referral_code.is_empty() => "enrolled".to_owned(),
        Payload::MemberEnrolled(_) => "enrolled with a code".to_owned(),
        Payload::PurchaseRecorded(recorded) => {
            format!("bought {}{}", recorded.net.as_ref().unwrap().minor_units, if recorded.first_purchase { ", first" } else { "" })
        }
        Payload::PurchaseReturned(returned) => format!("{} left", returned.remaining.as_ref().unwrap().minor_units),
        Payload::PointsPosted(posted) => {
            format!("{} {}", posted.operation, posted.postings.iter().map(|posting| posting.points).sum::<i64>())
        }
        Payload::TierChanged(changed) => format!("{} {}", changed.change, changed.tier),
        Payload::ReferralChanged(changed) => changed.state.clone(),
        Payload::SurveyInvitationChanged(changed) => changed.state.clone(),
        other => format!("{other:?}"),
    }
}

async fn a_small_purchase_rewards_nobody(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_plan(&mut diary).await;
    let advocate = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    let code = suite.issues_code(&mut diary, &advocate).await;
    let friend = suite.enrols(&mut diary, "+8613800138002", &code.code).await.name;
    suite.buys(&mut diary, &friend, "first", 1999).await;
    suite.referral_reaches(&friend, State::Rejected, [LegState::Cancelled; 2]).await;
    // A later purchase is no first purchase, however large.
    suite.buys(&mut diary, &friend, "second", 9000).await;
    suite.clock.advance(HOLD);
    let other = suite.enrols(&mut diary, "+8613800138003", &code.code).await.name;
    suite.buys(&mut diary, &other, "third", 2000).await;
    suite.referral_reaches(&other, State::Qualified, [LegState::Awaiting; 2]).await;
    // What was told before has been dealt with by now, and the job that gives these rewards would have given the others.
    suite.clock.advance(HOLD);
    suite.referral_reaches(&other, State::Approved, [LegState::Issued; 2]).await;
    assert_eq!(suite.books(&advocate).await, [(Reward, ADVOCATE_REWARD)], "for the other friend");
    assert_eq!(suite.books(&friend).await, [(Award, 200), (Award, 900)]);
    diary.comes_again().await;
    suite.stop().await;
}

impl Suite {
    pub(crate) async fn issues_code(&self, diary: &mut Diary, advocate: &str) -> Code {
        let request = IssueCodeRequest {
            advocate: advocate.to_owned(),
            plan: PLAN.to_owned(),
            display_label: "Your friend Li".to_owned(),
            use_limit: 0,
            expire_time: None,
            request_id: self.request_id(),
        };
        diary
            .does(self.referrals(Role::Terminal), request, |mut referrals, request| async move { referrals.issue_code(request).await })
            .await
    }

    pub(crate) async fn referrals_of(&self, friend: &str) -> Vec<Referral> {
        let request = ListReferralsRequest { parent: TEA.to_owned(), friend: friend.to_owned(), ..ListReferralsRequest::default() };
        self.referrals(Role::Platform).list_referrals(request).await.unwrap().into_inner().referrals
    }

    /// Waits until the only referral of a friend and its legs are so. Time goes by meanwhile, a second at a look.
    pub(crate) async fn referral_reaches(&self, friend: &str, state: State, legs: [LegState; 2]) -> Referral {
        eventually(|| async {
            self.clock.advance(Duration::from_secs(1));
            let found = self.referrals_of(friend).await;
            match &found[..] {
                [referral] if referral.state() == state && referral.legs.iter().map(|leg| leg.state()).eq(legs) => Ok(referral.clone()),
                other => Err(other.to_vec()),
            }
        })
        .await
    }
}
