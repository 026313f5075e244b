//! Members who may not take part: the members service decides, the ledger heeds it by the feed.

use std::time::Duration;

use proto::members::{BlockMemberRequest, CloseMemberRequest, UnblockMemberRequest};
use proto::points::EntryKind::{Award, Clawback, Redeem, Reward};
use proto::points::{PreviewAwardRequest, RedeemRequest};
use proto::referrals::referral::State;
use proto::referrals::referral::leg::State as LegState;
use rpc::Role;
use testkit::{TestEngine, eventually};
use tonic::Code;

use super::diary::Diary;
use super::suite::{Suite, TEA, reason, refused};
use super::tea::{ADVOCATE_REWARD, FRIEND_REWARD, HOLD};

testkit::on_each_engine!(
    a_blocked_member_neither_earns_nor_spends_until_unblocked,
    a_closed_member_is_gone_and_the_person_may_come_anew,
    a_reward_waits_for_a_blocked_advocate,
);

async fn a_blocked_member_neither_earns_nor_spends_until_unblocked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    let member = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    suite.buys(&mut diary, &member, "before", 3000).await;
    suite.blocks(&mut diary, &member).await;
    suite.points_refuse(&member, "MEMBER_BLOCKED").await;

    let mut till = suite.points(Role::Terminal);
    let award = suite.award(&member, "meanwhile", 1000);
    let refusal = (Code::FailedPrecondition, "MEMBER_BLOCKED".to_owned());
    assert_eq!(refused(till.award(award.clone()).await), refusal);
    let redeem = RedeemRequest { member: member.clone(), points: 100, request_id: suite.request_id(), ..RedeemRequest::default() };
    assert_eq!(refused(till.redeem(redeem.clone()).await), refusal);
    // Goods go back whoever brings them.
    suite.brings_back(&mut diary, "before", 2000).await;
    assert_eq!(suite.active(&member).await, 200, "the balance stays");

    suite.unblocks(&mut diary, &member).await;
    // The request id remembers its refusal; the purchase itself was refused nothing for good.
    assert_eq!(refused(till.award(award.clone()).await), refusal);
    suite.points_admit(&member).await;
    suite.buys(&mut diary, &member, "meanwhile", 1000).await;
    let redeem = RedeemRequest { request_id: suite.request_id(), ..redeem };
    diary.does(till.clone(), redeem, |mut points, request| async move { points.redeem(request).await }).await;
    let books = [(Award, 300), (Clawback, -100), (Award, 100), (Redeem, -100)];
    assert_eq!(suite.books(&member).await, books);
    diary.comes_again().await;
    assert_eq!(refused(till.award(award).await), refusal);
    assert_eq!(suite.books(&member).await, books);
    suite.stop().await;
}

async fn a_closed_member_is_gone_and_the_person_may_come_anew(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    let member = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    suite.buys(&mut diary, &member, "before", 3000).await;
    let close = CloseMemberRequest { name: member.clone(), reason: "MEMBER_ASKED".to_owned(), request_id: suite.request_id() };
    diary.does(suite.members(Role::Support), close, |mut members, request| async move { members.close_member(request).await }).await;
    suite.points_refuse(&member, "MEMBER_CLOSED").await;
    let award = suite.points(Role::Terminal).award(suite.award(&member, "after", 1000)).await;
    assert_eq!(refused(award), (Code::FailedPrecondition, "MEMBER_CLOSED".to_owned()));

    let anew = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    assert_ne!(anew, member);
    suite.buys(&mut diary, &anew, "after", 1000).await;
    assert_eq!(suite.books(&anew).await, [(Award, 100)]);
    assert_eq!(suite.books(&member).await, [(Award, 300)], "the books of who has left stay");
    diary.comes_again().await;
    suite.stop().await;
}

/// An effect is tried until it succeeds: what the ledger refused yesterday it may admit today.
async fn a_reward_waits_for_a_blocked_advocate(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_terms(&mut diary).await;
    suite.sets_plan(&mut diary).await;
    let advocate = suite.enrols(&mut diary, "+8613800138001", "").await.name;
    let code = suite.issues_code(&mut diary, &advocate).await;
    let friend = suite.enrols(&mut diary, "+8613800138002", &code.code).await.name;
    suite.buys(&mut diary, &friend, "first", 3000).await;
    suite.referral_reaches(&friend, State::Qualified, [LegState::Awaiting; 2]).await;
    suite.blocks(&mut diary, &advocate).await;
    suite.points_refuse(&advocate, "MEMBER_BLOCKED").await;
    suite.clock.advance(HOLD);
    suite.referral_reaches(&friend, State::Approved, [LegState::Wanted, LegState::Issued]).await;
    assert_eq!(suite.books(&friend).await, [(Award, 300), (Reward, FRIEND_REWARD)]);
    assert_eq!(suite.books(&advocate).await, []);

    suite.unblocks(&mut diary, &advocate).await;
    suite.points_admit(&advocate).await;
    // Until the next attempt at the latest.
    suite.clock.advance(Duration::from_secs(600));
    suite.referral_reaches(&friend, State::Approved, [LegState::Issued; 2]).await;
    assert_eq!(suite.books(&advocate).await, [(Reward, ADVOCATE_REWARD)]);
    suite.stop().await;
}

impl Suite {
    async fn blocks(&self, diary: &mut Diary, member: &str) {
        let request = BlockMemberRequest { name: member.to_owned(), reason: "FRAUD_SUSPECTED".to_owned(), request_id: self.request_id() };
        let support = self.members(Role::Support);
        diary.does(support, request, |mut members, request| async move { members.block_member(request).await }).await;
    }

    async fn unblocks(&self, diary: &mut Diary, member: &str) {
        let request = UnblockMemberRequest { name: member.to_owned(), request_id: self.request_id() };
        let support = self.members(Role::Support);
        diary.does(support, request, |mut members, request| async move { members.unblock_member(request).await }).await;
    }

    /// Waits until points would refuse an award to a member.
    async fn points_refuse(&self, member: &str, why: &str) {
        eventually(|| async { self.preview(member).await.is_err_and(|status| reason(&status) == why) }).await;
    }

    /// Waits until points would award a member.
    async fn points_admit(&self, member: &str) {
        eventually(|| async { self.preview(member).await }).await;
    }

    async fn preview(&self, member: &str) -> Result<(), tonic::Status> {
        let purchase = self.award(member, "preview", 1000).purchase;
        let request = PreviewAwardRequest { parent: TEA.to_owned(), member: member.to_owned(), purchase };
        self.points(Role::Terminal).preview_award(request).await.map(drop)
    }
}
