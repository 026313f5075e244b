//! What happens at a till, at home with the app, and on the landing page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use kernel::Timestamp;
use proto::common::Money;
use proto::members::identity::Value;
use proto::members::members_service_client::MembersServiceClient;
use proto::members::{EnrollMemberRequest, Identity, LookupMemberRequest};
use proto::points::points_service_client::PointsServiceClient;
use proto::points::return_purchase_request::What;
use proto::points::{
    AwardRequest, CaptureRequest, Operation, PreviewAwardRequest, PurchaseInput, PurchaseLine, RedeemRequest, ReleaseRequest,
    ReserveRequest, ReturnLine, ReturnLines, ReturnPurchaseRequest,
};
use proto::referrals::referrals_service_client::ReferralsServiceClient;
use proto::referrals::{IssueCodeRequest, ResolveCodeRequest};
use rand::RngExt;
use rand::rngs::StdRng;
use rpc::Peer;
use rpc::wire::timestamp;
use tonic::Status;

use super::board::Board;
use super::calls::{Calls, call};
use super::chain::{CURRENCY, Chain, Shop, TIME_ZONE, fresh};
use super::people::{self, Habit};
use crate::client;

/// What a free tea costs.
const FREE_TEA_POINTS: i64 = 100;
/// What is set aside for an order by app.
const APP_POINTS: i64 = 60;

/// Where the scenes are played.
pub(super) struct Stage {
    pub(super) chain: Arc<Chain>,
    pub(super) calls: Arc<Calls>,
    pub(super) board: Arc<Board>,
}

/// A member, as the demo knows them.
pub(super) struct Person {
    /// `programs/{program}/members/{member}`.
    member: String,
    name: &'static str,
    phone: String,
    pub(super) habit: Habit,
    /// The shop that they like best.
    shop: usize,
    /// Their referral code, once they have asked for it.
    code: Mutex<Option<String>>,
}

/// A purchase that may come back.
pub(super) struct Bought {
    purchase: String,
    shop: usize,
    line_id: String,
    what: &'static str,
}

/// When what happens, and how the dice fall.
pub(super) struct Cue {
    pub(super) at: Timestamp,
    pub(super) seed: u64,
    pub(super) scene: Scene,
}

/// What happens.
pub(super) enum Scene {
    /// Somebody becomes a member and buys; perhaps by a friend's code.
    Join { number: u32, advocate: Option<Arc<Person>> },
    /// A member comes by.
    Visit(Arc<Person>),
    /// Somebody buys who is no member.
    Stranger,
    /// Something goes back.
    Return(Bought),
}

/// What a scene leaves behind.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) joined: Option<Arc<Person>>,
    pub(super) bought: Option<Bought>,
}

/// One sale at one till.
struct Sale<'a> {
    at: Timestamp,
    shop: usize,
    till: &'a Peer,
    person: Option<&'a Person>,
}

impl Stage {
    /// Plays a scene. Refusals are a part of life, and counted; only what a till could not live with is an error.
    pub(super) async fn play(&self, cue: Cue) -> Result<Outcome, Status> {
        let Cue { at, seed, scene } = cue;
        let mut dice = people::dice(seed);
        match scene {
            Scene::Join { number, advocate } => self.join(at, number, advocate, &mut dice).await,
            Scene::Visit(person) => {
                let bought = self.visit(at, &person, &mut dice).await?;
                Ok(Outcome { joined: None, bought })
            }
            Scene::Stranger => {
                let shop = dice.random_range(0..self.chain.shops.len());
                let sale = Sale { at, shop, till: self.till(shop, &mut dice), person: None };
                self.sell(&sale, &mut dice).await?;
                Ok(Outcome::default())
            }
            Scene::Return(bought) => {
                self.take_back(at, bought, &mut dice).await?;
                Ok(Outcome::default())
            }
        }
    }

    async fn join(&self, at: Timestamp, number: u32, advocate: Option<Arc<Person>>, dice: &mut StdRng) -> Result<Outcome, Status> {
        let shop = dice.random_range(0..self.chain.shops.len());
        let (name, phone) = people::newcomer(number, dice);
        let code = match &advocate {
            Some(advocate) => self.code_of(advocate, dice).await?,
            None => String::new(),
        };
        // Who has a code reads the offer on the landing page first and joins there; the others join at the till.
        let (desk, channel) = if code.is_empty() { (self.till(shop, dice), "store") } else { (&self.chain.platform, "web") };
        if !code.is_empty() {
            self.resolve(&code).await?;
        }
        let members = MembersServiceClient::new(desk.clone());
        let request = EnrollMemberRequest {
            parent: self.chain.program.clone(),
            identities: vec![by_phone(&phone)],
            display_name: name.to_owned(),
            channel: channel.to_owned(),
            store: self.shop(shop).resource.clone(),
            referral_code: code,
            enrol_time: Some(timestamp(at)),
            request_id: fresh(),
            ..EnrollMemberRequest::default()
        };
        let member = call!(self.calls, members.enroll_member(request)).await?.name;
        let habit = Habit::of(dice);
        let person = Arc::new(Person { member, name, phone, habit, shop, code: Mutex::default() });
        let by = advocate.map_or(String::new(), |advocate| format!(", invited by {}", advocate.name));
        self.tell(at, shop, format!("{name} joins{by}"));
        let sale = Sale { at, shop, till: self.till(shop, dice), person: Some(&person) };
        let bought = self.sell(&sale, dice).await?;
        Ok(Outcome { joined: Some(person), bought: Some(bought) })
    }

    /// The code that a member hands on, asked for once.
    async fn code_of(&self, person: &Person, dice: &mut StdRng) -> Result<String, Status> {
        if let Some(code) = lock(&person.code).clone() {
            return Ok(code);
        }
        let till = ReferralsServiceClient::new(self.till(person.shop, dice).clone());
        let request = IssueCodeRequest {
            advocate: person.member.clone(),
            plan: self.chain.plan.clone(),
            display_label: person.name.to_owned(),
            request_id: fresh(),
            ..IssueCodeRequest::default()
        };
        let code = call!(self.calls, till.issue_code(request)).await?.code;
        Ok(lock(&person.code).insert(code).clone())
    }

    async fn resolve(&self, code: &str) -> Result<(), Status> {
        let page = ReferralsServiceClient::new(self.chain.landing_page.clone());
        let request = ResolveCodeRequest { parent: self.chain.program.clone(), code: code.to_owned() };
        call!(self.calls, page.resolve_code(request)).await?;
        Ok(())
    }

    async fn visit(&self, at: Timestamp, person: &Person, dice: &mut StdRng) -> Result<Option<Bought>, Status> {
        // Most go where they always go.
        let shop = if dice.random_bool(0.75) { person.shop } else { dice.random_range(0..self.chain.shops.len()) };
        let till = self.till(shop, dice);
        let sale = Sale { at, shop, till, person: Some(person) };
        if dice.random_bool(0.12) {
            return self.order_by_app(&sale, person, dice).await;
        }
        let members = MembersServiceClient::new(till.clone());
        let request = LookupMemberRequest { parent: self.chain.program.clone(), identity: Some(by_phone(&person.phone)) };
        call!(self.calls, members.lookup_member(request)).await?;
        Ok(Some(self.sell(&sale, dice).await?))
    }

    /// Records a purchase. Now and then the till asks first what it would earn, and now and then it never sees the answer
    /// and asks again; a member may take a free tea afterwards.
    async fn sell(&self, sale: &Sale<'_>, dice: &mut StdRng) -> Result<Bought, Status> {
        let basket = people::basket(dice);
        let lines = basket.iter().zip(1..).map(|((product, pieces), number)| PurchaseLine {
            line_id: format!("{number}"),
            sku: product.sku.to_owned(),
            category: product.category.to_owned(),
            quantity: *pieces,
            net_minor_units: product.price * pieces,
            ..PurchaseLine::default()
        });
        let lines: Vec<PurchaseLine> = lines.collect();
        let net: i64 = lines.iter().map(|line| line.net_minor_units).sum();
        let request = AwardRequest {
            parent: self.chain.program.clone(),
            member: sale.person.map_or(String::new(), |person| person.member.clone()),
            purchase: Some(PurchaseInput {
                purchase_id: fresh(),
                net: Some(Money { currency_code: CURRENCY.to_owned(), minor_units: net }),
                lines,
                channel: "store".to_owned(),
                occur_time: Some(timestamp(sale.at)),
                ..PurchaseInput::default()
            }),
            historical: false,
            request_id: fresh(),
        };
        let points = PointsServiceClient::new(sale.till.clone());
        if dice.random_bool(0.15) {
            let AwardRequest { parent, member, purchase, .. } = request.clone();
            call!(self.calls, points.preview_award(PreviewAwardRequest { parent, member, purchase })).await?;
        }
        let award = if dice.random_bool(0.03) {
            let send = |request| {
                let mut points = points.clone();
                async move { points.award(request).await }
            };
            self.calls.call_twice(request, send).await?
        } else {
            call!(self.calls, points.award(request)).await?
        };
        let (product, _) = basket[0];
        let more = if basket.len() > 1 { format!(" and {} more", basket.len() - 1) } else { String::new() };
        let who = sale.person.map_or("a stranger", |person| person.name);
        let earned = if sale.person.is_some() { format!(" → +{} points", award.actual_points) } else { String::new() };
        self.tell(sale.at, sale.shop, format!("{who} buys {}{more}, {}.{:02}{earned}", product.name, net / 100, net % 100));
        if let Some(person) = sale.person {
            self.spend(sale, person, active_points(&award), dice).await?;
        }
        Ok(Bought { purchase: award.purchase, shop: sale.shop, line_id: "1".to_owned(), what: product.name })
    }

    /// A free tea for who has the points; some try who have not.
    async fn spend(&self, sale: &Sale<'_>, person: &Person, has: i64, dice: &mut StdRng) -> Result<(), Status> {
        let chance = if has >= FREE_TEA_POINTS { 0.3 } else { 0.01 };
        if !dice.random_bool(chance) {
            return Ok(());
        }
        let points = PointsServiceClient::new(sale.till.clone());
        let request = RedeemRequest {
            member: person.member.clone(),
            points: FREE_TEA_POINTS,
            reference: "free tea".to_owned(),
            request_id: fresh(),
            ..RedeemRequest::default()
        };
        match call!(self.calls, points.redeem(request)).await {
            Ok(_) => self.tell(sale.at, sale.shop, format!("{} takes a free tea for {FREE_TEA_POINTS} points", person.name)),
            Err(status) if client::reason(&status) == "INSUFFICIENT_POINTS" => {
                self.tell(sale.at, sale.shop, format!("{} has {has} points, too few for a free tea", person.name));
            }
            Err(status) => return Err(status),
        }
        Ok(())
    }

    /// The app sets points aside; they are spent at the counter, or come free when nobody shows up.
    async fn order_by_app(&self, sale: &Sale<'_>, person: &Person, dice: &mut StdRng) -> Result<Option<Bought>, Status> {
        let app = PointsServiceClient::new(self.chain.platform.clone());
        let request = ReserveRequest {
            member: person.member.clone(),
            points: APP_POINTS,
            reference: "order by app".to_owned(),
            store: self.shop(sale.shop).resource.clone(),
            request_id: fresh(),
            ..ReserveRequest::default()
        };
        let reserved = match call!(self.calls, app.reserve(request)).await {
            Ok(operation) => operation.reservation.unwrap_or_default().name,
            Err(status) if client::reason(&status) == "INSUFFICIENT_POINTS" => return Ok(Some(self.sell(sale, dice).await?)),
            Err(status) => return Err(status),
        };
        if dice.random_bool(0.15) {
            call!(self.calls, app.release(ReleaseRequest { name: reserved, request_id: fresh() })).await?;
            self.tell(sale.at, sale.shop, format!("{} ordered by app and did not come: {APP_POINTS} points are free again", person.name));
            return Ok(None);
        }
        let till = PointsServiceClient::new(sale.till.clone());
        let request = CaptureRequest { name: reserved, request_id: fresh(), ..CaptureRequest::default() };
        call!(self.calls, till.capture(request)).await?;
        self.tell(sale.at, sale.shop, format!("{} picks up an order paid with {APP_POINTS} points", person.name));
        Ok(Some(self.sell(sale, dice).await?))
    }

    async fn take_back(&self, at: Timestamp, bought: Bought, dice: &mut StdRng) -> Result<(), Status> {
        let Bought { purchase, shop, line_id, what } = bought;
        let points = PointsServiceClient::new(self.till(shop, dice).clone());
        let request = ReturnPurchaseRequest {
            purchase,
            what: Some(What::Lines(ReturnLines { lines: vec![ReturnLine { line_id, quantity: 1 }] })),
            occur_time: Some(timestamp(at)),
            request_id: fresh(),
            ..ReturnPurchaseRequest::default()
        };
        let operation = call!(self.calls, points.return_purchase(request)).await?;
        self.tell(at, shop, format!("{what} comes back → {} points", operation.actual_points));
        Ok(())
    }

    fn shop(&self, shop: usize) -> &Shop {
        &self.chain.shops[shop]
    }

    fn till(&self, shop: usize, dice: &mut StdRng) -> &Peer {
        let tills = &self.shop(shop).tills;
        &tills[dice.random_range(0..tills.len())]
    }

    /// The chain's local time, where, and what.
    fn tell(&self, at: Timestamp, shop: usize, what: String) {
        let zone = TimeZone::get(TIME_ZONE).unwrap_or(TimeZone::UTC);
        let time = at.jiff().to_zoned(zone).strftime("%H:%M").to_string();
        self.board.tell(format!("{time} {:<12} {what}", self.shop(shop).name));
    }
}

fn by_phone(phone: &str) -> Identity {
    Identity { value: Some(Value::Phone(phone.to_owned())), region_code: String::new() }
}

/// Spendable points after an operation.
fn active_points(operation: &Operation) -> i64 {
    operation.balance.as_ref().and_then(|balance| balance.wallets.first()).map_or(0, |wallet| wallet.active_points)
}

/// Nothing that is done under this lock can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
