//! A tea chain: its terms, its status scheme, its referral plan, its survey, and what its members do.

use std::time::Duration;

use kernel::Timestamp;
use proto::common::{CalendarPeriod, calendar_period::Unit};
use proto::events::Event;
use proto::events::event_feed_service_client::EventFeedServiceClient;
use proto::events::{SubscribeRequest, SubscribeResponse};
use proto::members::{EnrollMemberRequest, Identity, Member, identity};
use proto::points::{
    AwardRequest, Balance, CreateProgramVersionRequest, Entry, EntryKind, GetBalanceRequest, ListEntriesRequest, Operation, PurchaseInput,
    ReturnPurchaseRequest, Terms, return_purchase_request, terms,
};
use proto::referrals::{CreatePlanRequest, FirstPurchase, Plan, Qualification, Reward, qualification, reward};
use proto::tiers::{
    Basis, CalendarYear, CreateSchemeRequest, Downgrade, EndOfPeriod, Level, OnReturn, QualifyingPeriod, Scheme, Validity,
    qualifying_period, validity,
};
use proto::{feedback, tiers};
use rpc::Role;

use super::diary::Diary;
use super::suite::{Suite, TEA, TILL, money, time};

pub(crate) const SCHEME: &str = "programs/tea/schemes/status";
pub(crate) const PLAN: &str = "programs/tea/plans/invite";
pub(crate) const SURVEY: &str = "programs/tea/surveys/after-purchase";

/// Qualifying points from which a member is silver and gold; gold multiplies by one and a half.
pub(crate) const SILVER: i64 = 100;
pub(crate) const GOLD: i64 = 1000;
/// What a friend must spend, in fen, and what each side then gets, in points.
pub(crate) const MINIMUM: i64 = 2000;
pub(crate) const ADVOCATE_REWARD: i64 = 200;
pub(crate) const FRIEND_REWARD: i64 = 100;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a qualified referral waits for goods to come back.
pub(crate) const HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

impl Suite {
    /// Ten points a yuan for a year.
    pub(crate) async fn sets_terms(&self, diary: &mut Diary) {
        let terms = Terms {
            points_per_unit: "10".to_owned(),
            rounding: terms::PointRounding::HalfUp.into(),
            expire_after: Some(CalendarPeriod { count: 1, unit: Unit::Year.into() }),
            expiry_rounding: terms::ExpiryRounding::Month.into(),
            return_policy: terms::ReturnPolicy::Unlimited.into(),
            ..Terms::default()
        };
        let request = CreateProgramVersionRequest {
            parent: TEA.to_owned(),
            terms: Some(terms),
            start_time: None,
            draft: false,
            request_id: self.request_id(),
        };
        let administrator = self.points(Role::Administrator);
        diary.does(administrator, request, |mut points, request| async move { points.create_program_version(request).await }).await;
    }

    /// Silver and gold by the points of a calendar year, held to the end of the next.
    pub(crate) async fn sets_scheme(&self, diary: &mut Diary, on_return: OnReturn) -> Scheme {
        let level = |id: &str, threshold, multiplier: &str| Level {
            id: id.to_owned(),
            display_name: id.to_uppercase(),
            threshold: Some(threshold),
            multiplier: multiplier.to_owned(),
        };
        let scheme = Scheme {
            display_name: "Tea status".to_owned(),
            basis: Basis::QualifyingPoints.into(),
            period: Some(QualifyingPeriod { kind: Some(qualifying_period::Kind::CalendarYear(CalendarYear {})) }),
            validity: Some(Validity { kind: Some(validity::Kind::EndOfPeriod(EndOfPeriod { following_periods: 1 })) }),
            downgrade: Downgrade::Full.into(),
            on_return: on_return.into(),
            levels: vec![level("silver", SILVER, "1"), level("gold", GOLD, "1.5")],
            ..Scheme::default()
        };
        let request = CreateSchemeRequest {
            parent: TEA.to_owned(),
            scheme_id: "status".to_owned(),
            scheme: Some(scheme),
            request_id: self.request_id(),
        };
        let administrator = self.tiers(Role::Administrator);
        diary.does(administrator, request, |mut tiers, request| async move { tiers.create_scheme(request).await }).await
    }

    /// Points for both sides, a week after the friend's first purchase.
    pub(crate) async fn sets_plan(&self, diary: &mut Diary) {
        let points = |points| Some(Reward { kind: Some(reward::Kind::Points(points)) });
        let span = |span: Duration| Some(prost_types::Duration::try_from(span).unwrap());
        let deed = FirstPurchase { minimum_net: Some(money(MINIMUM)), within: span(30 * DAY) };
        let plan = Plan {
            display_name: "Invite a friend".to_owned(),
            public_title: "A tea for you".to_owned(),
            public_text: "Buy for 20 yuan and get 100 points.".to_owned(),
            advocate_reward: points(ADVOCATE_REWARD),
            friend_reward: points(FRIEND_REWARD),
            qualification: Some(Qualification { deed: Some(qualification::Deed::FirstPurchase(deed)) }),
            hold: span(HOLD),
            ..Plan::default()
        };
        let request =
            CreatePlanRequest { parent: TEA.to_owned(), plan_id: "invite".to_owned(), plan: Some(plan), request_id: self.request_id() };
        let administrator = self.referrals(Role::Administrator);
        diary.does(administrator, request, |mut referrals, request| async move { referrals.create_plan(request).await }).await;
    }

    /// Asks for a recommendation three days after each purchase.
    pub(crate) async fn sets_survey(&self, diary: &mut Diary) {
        let survey = feedback::Survey {
            kind: feedback::survey::Kind::Nps.into(),
            display_name: "After a purchase".to_owned(),
            question: "How likely is it that you recommend us?".to_owned(),
            trigger: Some(feedback::survey::Trigger::AfterPurchase(feedback::AfterPurchase::default())),
            ..feedback::Survey::default()
        };
        let create = feedback::CreateSurveyRequest {
            parent: TEA.to_owned(),
            survey_id: "after-purchase".to_owned(),
            survey: Some(survey),
            request_id: self.request_id(),
        };
        let administrator = self.feedback(Role::Administrator);
        diary.does(administrator.clone(), create, |mut feedback, request| async move { feedback.create_survey(request).await }).await;
        let activate = feedback::ActivateSurveyRequest { name: SURVEY.to_owned(), request_id: self.request_id() };
        diary.does(administrator, activate, |mut feedback, request| async move { feedback.activate_survey(request).await }).await;
    }

    /// Somebody joins at the till.
    pub(crate) async fn enrols(&self, diary: &mut Diary, phone: &str, referral_code: &str) -> Member {
        let request = self.enrolment(vec![identity::Value::Phone(phone.to_owned())], referral_code);
        diary.does(self.members(Role::Terminal), request, |mut members, request| async move { members.enroll_member(request).await }).await
    }

    pub(crate) fn enrolment(&self, identities: Vec<identity::Value>, referral_code: &str) -> EnrollMemberRequest {
        EnrollMemberRequest {
            parent: TEA.to_owned(),
            identities: identities.into_iter().map(|value| Identity { value: Some(value), region_code: String::new() }).collect(),
            channel: "store".to_owned(),
            referral_code: referral_code.to_owned(),
            request_id: self.request_id(),
            ..EnrollMemberRequest::default()
        }
    }

    /// A member pays at the till, so many fen, now.
    pub(crate) async fn buys(&self, diary: &mut Diary, member: &str, purchase: &str, fen: i64) -> Operation {
        self.bought(diary, member, purchase, fen, None).await
    }

    /// The till tells now of a purchase of its own time.
    pub(crate) async fn bought(&self, diary: &mut Diary, member: &str, purchase: &str, fen: i64, at: Option<Timestamp>) -> Operation {
        let mut request = self.award(member, purchase, fen);
        request.purchase.as_mut().unwrap().occur_time = at.and_then(time);
        diary.does(self.points(Role::Terminal), request, |mut points, request| async move { points.award(request).await }).await
    }

    pub(crate) fn award(&self, member: &str, purchase: &str, fen: i64) -> AwardRequest {
        let purchase = PurchaseInput { purchase_id: purchase.to_owned(), net: Some(money(fen)), ..PurchaseInput::default() };
        AwardRequest {
            parent: TEA.to_owned(),
            member: member.to_owned(),
            purchase: Some(purchase),
            historical: false,
            request_id: self.request_id(),
        }
    }

    /// Goods go back, so that so many fen of the purchase are left.
    pub(crate) async fn brings_back(&self, diary: &mut Diary, purchase: &str, remaining: i64) -> Operation {
        let request = ReturnPurchaseRequest {
            purchase: purchase_name(purchase),
            what: Some(return_purchase_request::What::RemainingNet(money(remaining))),
            request_id: self.request_id(),
            ..ReturnPurchaseRequest::default()
        };
        let operation = diary
            .does(self.points(Role::Terminal), request, |mut points, request| async move { points.return_purchase(request).await })
            .await;
        assert!(operation.entries.iter().all(|entry| entry.terminal == TILL), "the key tells the till");
        operation
    }

    pub(crate) async fn balance(&self, member: &str) -> Balance {
        let request = GetBalanceRequest { member: member.to_owned(), ..Default::default() };
        self.points(Role::Platform).get_balance(request).await.unwrap().into_inner()
    }

    /// Spendable points of the main wallet.
    pub(crate) async fn active(&self, member: &str) -> i64 {
        self.balance(member).await.wallets[0].active_points
    }

    /// A member's entries, oldest first.
    pub(crate) async fn entries(&self, member: &str) -> Vec<Entry> {
        let request = ListEntriesRequest { parent: member.to_owned(), page_size: 1000, page_token: String::new() };
        let mut entries = self.points(Role::Auditor).list_entries(request).await.unwrap().into_inner().entries;
        entries.reverse();
        entries
    }

    /// Kinds and points of a member's entries, oldest first.
    pub(crate) async fn books(&self, member: &str) -> Vec<(EntryKind, i64)> {
        self.entries(member).await.iter().map(|entry| (entry.kind(), entry.points)).collect()
    }

    pub(crate) async fn tier(&self, member: &str) -> tiers::MemberTier {
        let request = tiers::GetMemberTierRequest { name: format!("{member}/tiers/status") };
        self.tiers(Role::Terminal).get_member_tier(request).await.unwrap().into_inner()
    }

    /// What comes after a cursor on a feed, as a platform is told it, and the cursor after that.
    pub(crate) async fn feed_from(&self, source: &str, cursor: &str) -> (Vec<Event>, String) {
        let mut feed = EventFeedServiceClient::new(self.wire(source, Role::Platform));
        let (mut events, mut cursor) = (Vec::new(), cursor.to_owned());
        loop {
            // The first answer comes at once, whether or not there is something to tell.
            let request = SubscribeRequest { source: source.to_owned(), cursor, partitions: Vec::new() };
            let first = feed.subscribe(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
            let SubscribeResponse { events: told, cursor: next } = first;
            cursor = next;
            if told.is_empty() {
                return (events, cursor);
            }
            events.extend(told);
        }
    }

    /// A whole feed.
    pub(crate) async fn feed(&self, source: &str) -> Vec<Event> {
        self.feed_from(source, "").await.0
    }

    /// What a feed tells of a member.
    pub(crate) async fn feed_of(&self, source: &str, member: &str) -> Vec<Event> {
        self.feed(source).await.into_iter().filter(|event| event.member == member).collect()
    }
}

pub(crate) fn purchase_name(purchase: &str) -> String {
    format!("{TEA}/purchases/{purchase}")
}
