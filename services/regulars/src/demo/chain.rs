//! Setting the chain up, as an operator would: program, terms, stores, tills, keys, tiers, referrals, survey.

use anyhow::Context as _;
use kernel::{Ids, RandomIds};
use proto::common::calendar_period::Unit;
use proto::common::{CalendarPeriod, Money};
use proto::directory::directory_service_client::DirectoryServiceClient;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest, CreateStoreRequest, CreateTerminalRequest};
use proto::feedback::feedback_service_client::FeedbackServiceClient;
use proto::feedback::survey::{Kind as SurveyKind, Trigger};
use proto::feedback::{ActivateSurveyRequest, AfterPurchase, CreateSurveyRequest, Survey};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::terms::{ExpiryRounding, PointRounding, ReturnPolicy};
use proto::points::{CreateProgramVersionRequest, Terms};
use proto::referrals::referrals_service_client::ReferralsServiceClient;
use proto::referrals::{CreatePlanRequest, FirstPurchase, Plan, Qualification, Reward, qualification, reward};
use proto::tiers::tiers_service_client::TiersServiceClient;
use proto::tiers::{
    Basis, CreateSchemeRequest, Downgrade, Level, OnReturn, QualifyingPeriod, Scheme, Validity, qualifying_period, validity,
};
use rpc::{Peer, Role};
use tonic::transport::Channel;

use super::calls::{Calls, call};
use super::people::PLACES;
use crate::client::{Connection, with_key};

pub(super) const CURRENCY: &str = "CNY";
pub(super) const TIME_ZONE: &str = "Asia/Shanghai";
/// Ids of the levels, lowest first.
pub(super) const LEVELS: [&str; 3] = ["leaf", "jade", "gold"];
const DAY_SECONDS: i64 = 24 * 3600;

/// The chain, with a way to call for each who works in it.
pub(super) struct Chain {
    /// `programs/{program}`.
    pub(super) program: String,
    /// `programs/{program}/plans/{plan}`.
    pub(super) plan: String,
    /// `programs/{program}/surveys/{survey}`.
    pub(super) survey: String,
    pub(super) shops: Vec<Shop>,
    /// The company's back end.
    pub(super) platform: Peer,
    /// The page that friends and guests open in a browser.
    pub(super) landing_page: Peer,
    /// Customer support.
    pub(super) support: Peer,
}

/// A store with its tills.
pub(super) struct Shop {
    pub(super) name: &'static str,
    /// `programs/{program}/stores/{store}`.
    pub(super) resource: String,
    pub(super) charm: u32,
    pub(super) tills: Vec<Peer>,
}

/// Sets a new program up. The caller's key must be an administrator's.
pub(super) async fn open(connection: &Connection, calls: &Calls) -> anyhow::Result<Chain> {
    let channel = connection.channel()?;
    let key = connection.key.as_deref().context("name an administrator's key with --key or in REGULARS_KEY")?;
    let administrator = Administrator { peer: with_key(channel.clone(), key)?, channel, calls };
    administrator.open().await.context("the chain could not be set up; the key must be an administrator's")
}

struct Administrator<'a> {
    peer: Peer,
    channel: Channel,
    calls: &'a Calls,
}

impl Administrator<'_> {
    async fn open(&self) -> anyhow::Result<Chain> {
        let program_id = format!("tea-{:06x}", rand::random::<u32>() >> 8);
        let program = self.program(&program_id).await?;
        self.terms(&program).await?;
        let mut shops = Vec::new();
        for place in &PLACES {
            let resource = self.store(&program, place.id, place.name).await?;
            let mut tills = Vec::new();
            for number in 1..=place.tills {
                let terminal = self.terminal(&resource, &format!("till-{number}")).await?;
                tills.push(self.key(Role::Terminal, &program, &terminal).await?);
            }
            shops.push(Shop { name: place.name, resource, charm: place.charm, tills });
        }
        self.scheme(&program).await?;
        Ok(Chain {
            plan: self.plan(&program).await?,
            survey: self.survey(&program).await?,
            shops,
            platform: self.key(Role::Platform, &program, "").await?,
            landing_page: self.key(Role::LandingPage, &program, "").await?,
            support: self.key(Role::Support, &program, "").await?,
            program,
        })
    }

    async fn program(&self, id: &str) -> anyhow::Result<String> {
        let request = CreateProgramRequest {
            program_id: id.to_owned(),
            display_name: "Tea chain of the demo".to_owned(),
            time_zone: TIME_ZONE.to_owned(),
            currency_code: CURRENCY.to_owned(),
            request_id: fresh(),
        };
        let directory = DirectoryServiceClient::new(self.peer.clone());
        Ok(call!(self.calls, directory.create_program(request)).await?.name)
    }

    /// A point per yuan, for a year to the end of the month.
    async fn terms(&self, program: &str) -> anyhow::Result<()> {
        let terms = Terms {
            points_per_unit: "1".to_owned(),
            rounding: PointRounding::Down.into(),
            expire_after: Some(period(12, Unit::Month)),
            expiry_rounding: ExpiryRounding::Month.into(),
            return_policy: ReturnPolicy::Unlimited.into(),
            ..Terms::default()
        };
        let request = CreateProgramVersionRequest {
            parent: program.to_owned(),
            terms: Some(terms),
            start_time: None,
            draft: false,
            request_id: fresh(),
        };
        let points = PointsServiceClient::new(self.peer.clone());
        call!(self.calls, points.create_program_version(request)).await?;
        Ok(())
    }

    async fn store(&self, program: &str, id: &str, name: &str) -> anyhow::Result<String> {
        let request = CreateStoreRequest {
            parent: program.to_owned(),
            store_id: id.to_owned(),
            display_name: name.to_owned(),
            time_zone: String::new(),
            request_id: fresh(),
        };
        let directory = DirectoryServiceClient::new(self.peer.clone());
        Ok(call!(self.calls, directory.create_store(request)).await?.name)
    }

    async fn terminal(&self, store: &str, id: &str) -> anyhow::Result<String> {
        let request = CreateTerminalRequest {
            parent: store.to_owned(),
            terminal_id: id.to_owned(),
            display_name: String::new(),
            request_id: fresh(),
        };
        let directory = DirectoryServiceClient::new(self.peer.clone());
        Ok(call!(self.calls, directory.create_terminal(request)).await?.name)
    }

    /// A channel of somebody with a key of their own, good for this program only.
    async fn key(&self, role: Role, program: &str, terminal: &str) -> anyhow::Result<Peer> {
        let request = CreateApiKeyRequest {
            display_name: "demo".to_owned(),
            role: role.into(),
            programs: vec![program.to_owned()],
            terminal: terminal.to_owned(),
            request_id: fresh(),
        };
        let directory = DirectoryServiceClient::new(self.peer.clone());
        let made = call!(self.calls, directory.create_api_key(request));
        with_key(self.channel.clone(), &made.await?.secret)
    }

    async fn scheme(&self, program: &str) -> anyhow::Result<()> {
        let level = |id: &str, name: &str, threshold, multiplier: &str| Level {
            id: id.to_owned(),
            display_name: name.to_owned(),
            threshold: Some(threshold),
            multiplier: multiplier.to_owned(),
        };
        let [leaf, jade, gold] = LEVELS;
        let scheme = Scheme {
            display_name: "Status".to_owned(),
            basis: Basis::QualifyingPoints.into(),
            period: Some(QualifyingPeriod { kind: Some(qualifying_period::Kind::RollingMonths(12)) }),
            validity: Some(Validity { kind: Some(validity::Kind::Length(period(12, Unit::Month))) }),
            downgrade: Downgrade::OneDown.into(),
            on_return: OnReturn::Reevaluate.into(),
            levels: vec![level(leaf, "Leaf", 0, "1"), level(jade, "Jade", 150, "1.25"), level(gold, "Gold", 400, "1.5")],
            ..Scheme::default()
        };
        let request =
            CreateSchemeRequest { parent: program.to_owned(), scheme_id: "status".to_owned(), scheme: Some(scheme), request_id: fresh() };
        let tiers = TiersServiceClient::new(self.peer.clone());
        call!(self.calls, tiers.create_scheme(request)).await?;
        Ok(())
    }

    async fn plan(&self, program: &str) -> anyhow::Result<String> {
        let points = |points| Some(Reward { kind: Some(reward::Kind::Points(points)) });
        let first_purchase = FirstPurchase {
            minimum_net: Some(Money { currency_code: CURRENCY.to_owned(), minor_units: 2000 }),
            within: Some(prost_types::Duration { seconds: 30 * DAY_SECONDS, nanos: 0 }),
        };
        let plan = Plan {
            display_name: "Friends".to_owned(),
            public_title: "A friend invites you to tea".to_owned(),
            public_text: "30 points for your first purchase from 20.00, and 50 for your friend.".to_owned(),
            advocate_reward: points(50),
            friend_reward: points(30),
            qualification: Some(Qualification { deed: Some(qualification::Deed::FirstPurchase(first_purchase)) }),
            ..Plan::default()
        };
        let request =
            CreatePlanRequest { parent: program.to_owned(), plan_id: "friends".to_owned(), plan: Some(plan), request_id: fresh() };
        let referrals = ReferralsServiceClient::new(self.peer.clone());
        Ok(call!(self.calls, referrals.create_plan(request)).await?.name)
    }

    /// Asks half of the guests a day after a purchase.
    async fn survey(&self, program: &str) -> anyhow::Result<String> {
        let survey = Survey {
            kind: SurveyKind::Nps.into(),
            display_name: "After a visit".to_owned(),
            question: "How likely are you to recommend us to a friend?".to_owned(),
            trigger: Some(Trigger::AfterPurchase(AfterPurchase { delay: Some(period(1, Unit::Day)), ..AfterPurchase::default() })),
            // The story lies in the past; its invitations must still be open now.
            expire_after: Some(period(60, Unit::Day)),
            recontact_days: Some(0),
            sampling_percent: Some(50),
            ..Survey::default()
        };
        let request =
            CreateSurveyRequest { parent: program.to_owned(), survey_id: "visit".to_owned(), survey: Some(survey), request_id: fresh() };
        let feedback = FeedbackServiceClient::new(self.peer.clone());
        let made = call!(self.calls, feedback.create_survey(request));
        let name = made.await?.name;
        let request = ActivateSurveyRequest { name: name.clone(), request_id: fresh() };
        call!(self.calls, feedback.activate_survey(request)).await?;
        Ok(name)
    }
}

pub(super) fn period(count: i32, unit: Unit) -> CalendarPeriod {
    CalendarPeriod { count, unit: unit.into() }
}

/// A request id that nobody has used.
pub(super) fn fresh() -> String {
    RandomIds.uuid().to_string()
}
