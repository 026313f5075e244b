//! `kill -9` while a budget is used up, ladders give vouchers and vouchers are used: afterwards nobody has had more than there was, and each
//! voucher is bound to one order at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use persistence::{Database, Keyring};
use proto::common::Money;
use proto::points::points_service_client::PointsServiceClient;
use proto::points::rewards_service_client::RewardsServiceClient;
use proto::points::{
    AwardRequest, Basket, Challenge, CheckVoucherRequest, CreateRewardRequest, GetBudgetRequest, Gift, Ladder, ListVouchersRequest,
    MemberLimit, Operation, Promotion, PromotionBudget, PurchaseLine, QualifyingPurchase, RewardAudience, RewardKind, RewardTerms, Step,
    Terms, UseVoucherRequest, VoidVoucherUseRequest, Voucher, VoucherState, VoucherTerms, VoucherUse, budget, challenge, gift, ladder,
    member_limit, promotion, reward_audience, voucher_terms,
};
use testkit::{TestEngine, eventually};
use tonic::{Code, Response, Status};

use super::crash::{CALLERS, MEMBERS, administrator, award, id, is_replay, make_program, plain, platform_key, rounds};
use super::proof::{clock_file, serve};
use super::suite::{TEA, Wire};

testkit::on_each_engine!(nobody_gets_more_than_there_was_after_a_kill);

/// What all get of the promotion, and each member.
const BUDGET: i64 = 150;
const LIMIT: i64 = 40;
/// Purchases for which a voucher is given.
const STEPS: [i64; 5] = [2, 5, 8, 11, 14];

/// What a till or a back end asks, with the answer if there was one. A refusal is none: it is judged anew.
#[derive(Default)]
struct Sent {
    awards: Vec<(AwardRequest, Option<Operation>)>,
    uses: Vec<(UseVoucherRequest, Option<VoucherUse>)>,
    voids: Vec<(VoidVoucherUseRequest, Option<Voucher>)>,
}

async fn nobody_gets_more_than_there_was_after_a_kill(engine: TestEngine) {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(clock_file(folder.path()), "0").unwrap();
    let mut process = serve(&engine.options.url, folder.path()).await;
    make_program(&process, generous()).await;
    RewardsServiceClient::new(administrator(&process)).create_reward(cup()).await.unwrap();
    let secret = platform_key(&process).await;
    let members: Vec<String> = (0..MEMBERS).map(|_| format!("{TEA}/members/{}", id())).collect();
    let (kills, load) = rounds();
    let mut sent = Sent::default();
    let freed = Arc::new(AtomicUsize::new(0));
    for _ in 0..kills {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                tokio::spawn(Caller::new(process.wire(&secret), members[caller % MEMBERS].clone(), freed.clone()).work_until_killed())
            })
            .collect();
        tokio::time::sleep(load).await;
        // Also where all is slow, something has gone all the way.
        eventually(|| async { freed.load(Ordering::SeqCst) > 0 }).await;
        process.kill().await;
        for caller in callers {
            let Sent { awards, uses, voids } = caller.await.unwrap();
            sent.awards.extend(awards);
            sent.uses.extend(uses);
            sent.voids.extend(voids);
        }
        process = serve(&engine.options.url, folder.path()).await;
        replay(&process.wire(&secret), &mut sent).await;
    }
    // Also those of the rounds before, in the last process.
    let wire = process.wire(&secret);
    replay(&wire, &mut sent).await;

    let mut given: BTreeMap<&str, (i64, i64)> = members.iter().map(|member| (member.as_str(), (0, 0))).collect();
    for (request, answer) in &sent.awards {
        let explained = answer.as_ref().and_then(|answer| answer.award.as_ref()).expect("every award is answered in the end");
        let (purchases, points) = given.get_mut(request.member.as_str()).expect("one of the members");
        *purchases += 1;
        *points += explained.components.iter().filter(|part| part.source == "promotion:ten").map(|part| part.points).sum::<i64>();
    }
    let wanted: i64 = given.values().map(|(purchases, _)| LIMIT.min(10 * purchases)).sum();
    let had: i64 = given.values().map(|(_, points)| points).sum();
    assert!(given.values().all(|(_, points)| *points <= LIMIT), "{given:?}");
    assert_eq!((wanted > BUDGET, had), (true, BUDGET), "the budget is used to its end, and no further: {given:?}");
    let name = format!("{TEA}/budgets/ten");
    let stands = PointsServiceClient::new(wire.clone()).get_budget(GetBudgetRequest { name }).await.unwrap().into_inner();
    assert_eq!((stands.spent_points, stands.left_points, stands.state()), (BUDGET, Some(0), budget::State::Paused));

    // Whoever was issuing a voucher when he was killed has it for a minute, then others see to it.
    std::fs::write(clock_file(folder.path()), "61000000").unwrap();
    let mut vouchers = Vec::new();
    for (member, (purchases, _)) in &given {
        let reached = STEPS.iter().filter(|step| *step <= purchases).count();
        let issued = eventually(|| async {
            let issued = vouchers_of(&wire, member).await.unwrap();
            if issued.len() == reached { Ok(issued) } else { Err((issued.len(), reached)) }
        });
        vouchers.extend(issued.await);
    }
    check_uses(&sent, &vouchers);
    process.kill().await;

    let ledger = Database::open(&engine.options, "points", points::MIGRATIONS).await.unwrap();
    let keyring = Keyring::from_hex(&std::fs::read_to_string(folder.path().join("master.key")).unwrap()).unwrap();
    // That counters are what the entries add up to is part of it.
    let report = points::verify(&ledger, &keyring, |_| {}).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!(report.entries, (sent.awards.len() + vouchers.len()) as u64);
    ledger.close().await;
}

/// A voucher is bound to as many orders as it was used for and not set free again: one, or none.
fn check_uses(sent: &Sent, vouchers: &[Voucher]) {
    let done = |known: usize| assert!(known > 0, "it was done now and then");
    done(sent.uses.iter().filter(|(_, answer)| answer.is_some()).count());
    done(sent.voids.iter().filter(|(_, answer)| answer.is_some()).count());
    let freed = |order: &str| sent.voids.iter().any(|(request, answer)| request.order_reference == order && answer.is_some());
    for voucher in vouchers {
        let used = sent.uses.iter().filter(|(request, answer)| request.code == voucher.code && answer.is_some());
        let bound: Vec<&str> = used.map(|(request, _)| request.order_reference.as_str()).filter(|order| !freed(order)).collect();
        let stands = (voucher.state() == VoucherState::Used).then_some(voucher.order_reference.as_str());
        assert_eq!(bound, stands.into_iter().collect::<Vec<_>>(), "{} is bound to these orders", voucher.name);
    }
}

/// One of those who serve a member.
struct Caller {
    wire: Wire,
    member: String,
    sent: Sent,
    /// Vouchers that have been set free by all.
    freed: Arc<AtomicUsize>,
}

impl Caller {
    fn new(wire: Wire, member: String, freed: Arc<AtomicUsize>) -> Caller {
        Caller { wire, member, sent: Sent::default(), freed }
    }

    async fn work_until_killed(mut self) -> Sent {
        while self.buy().await.is_ok() && self.use_one().await.is_ok() {}
        self.sent
    }

    async fn buy(&mut self) -> Result<(), ()> {
        let request = award(&self.member, i64::try_from(self.sent.awards.len()).unwrap() % 7 + 1);
        let answer = PointsServiceClient::new(self.wire.clone()).award(request.clone()).await.map(Response::into_inner);
        self.sent.awards.push((request, answer.as_ref().ok().cloned()));
        answer.map(drop).map_err(drop)
    }

    /// Looks at a voucher that is free, uses it for an order, and now and then sets it free again. Others of the same member may be faster.
    async fn use_one(&mut self) -> Result<(), ()> {
        let mut rewards = RewardsServiceClient::new(self.wire.clone());
        let vouchers = vouchers_of(&self.wire, &self.member).await.map_err(drop)?;
        let Some(voucher) = vouchers.into_iter().find(|voucher| voucher.state() == VoucherState::Usable) else { return Ok(()) };
        let check = CheckVoucherRequest {
            parent: TEA.to_owned(),
            code: voucher.code.clone(),
            basket: Some(basket()),
            order_reference: String::new(),
        };
        rewards.check_voucher(check).await.map_err(drop)?;
        let request = UseVoucherRequest {
            parent: TEA.to_owned(),
            code: voucher.code,
            basket: Some(basket()),
            order_reference: id(),
            request_id: id(),
            offline: None,
        };
        let order_reference = request.order_reference.clone();
        let answer = judged(rewards.use_voucher(request.clone()).await);
        let (stop, answer) = (answer.is_err(), answer.ok().flatten());
        let is_used = answer.is_some();
        self.sent.uses.push((request, answer));
        if stop {
            return Err(());
        }
        if is_used && self.sent.uses.len() % 2 == 1 {
            let request = VoidVoucherUseRequest { name: voucher.name, order_reference, request_id: id() };
            let answer = judged(rewards.void_voucher_use(request.clone()).await);
            let stop = answer.is_err();
            let answer = answer.ok().flatten();
            self.freed.fetch_add(usize::from(answer.is_some()), Ordering::SeqCst);
            self.sent.voids.push((request, answer));
            return if stop { Err(()) } else { Ok(()) };
        }
        Ok(())
    }
}

/// The answer of a call, none for a refusal, and an error where nobody answered.
fn judged<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
        Err(status) => Err(status),
    }
}

async fn vouchers_of(wire: &Wire, member: &str) -> Result<Vec<Voucher>, Status> {
    let request = ListVouchersRequest { parent: member.to_owned(), page_size: 1000, ..ListVouchersRequest::default() };
    Ok(RewardsServiceClient::new(wire.clone()).list_vouchers(request).await?.into_inner().vouchers)
}

/// Sends everything again: what had been answered is answered the same, and the rest is done now if it was not. What sets a voucher free comes
/// last, as it did.
async fn replay(wire: &Wire, sent: &mut Sent) {
    let points = PointsServiceClient::new(wire.clone());
    let rewards = RewardsServiceClient::new(wire.clone());
    let awards = futures::stream::iter(&mut sent.awards).map(|(request, first)| {
        let mut points = points.clone();
        async move { same(first, Ok(points.award(request.clone()).await.unwrap())) }
    });
    awards.buffer_unordered(CALLERS).for_each(async |()| {}).await;
    let uses = futures::stream::iter(&mut sent.uses).map(|(request, first)| {
        let mut rewards = rewards.clone();
        async move { same(first, rewards.use_voucher(request.clone()).await) }
    });
    uses.buffer_unordered(CALLERS).for_each(async |()| {}).await;
    let voids = futures::stream::iter(&mut sent.voids).map(|(request, first)| {
        let mut rewards = rewards.clone();
        async move { same(first, rewards.void_voucher_use(request.clone()).await) }
    });
    voids.buffer_unordered(CALLERS).for_each(async |()| {}).await;
}

fn same<T: PartialEq + std::fmt::Debug>(first: &mut Option<T>, again: Result<Response<T>, Status>) {
    let replayed = again.as_ref().is_ok_and(is_replay);
    let again = judged(again).expect("the server is there");
    if first.is_some() {
        assert!(replayed, "an acknowledged call was lost: {first:?}");
        assert_eq!(again, *first);
    }
    *first = again;
}

/// Ten points more until 150 are gone, 40 for each member, and a cup now and then.
fn generous() -> Terms {
    let period = member_limit::Period::Ever.into();
    let ten = Promotion {
        promotion_id: "ten".to_owned(),
        title: "Ten".to_owned(),
        gives: Some(promotion::Gives::Points(10)),
        budget: Some(PromotionBudget { points_max: BUDGET, period, ..PromotionBudget::default() }),
        member_limit: Some(MemberLimit { points_max: LIMIT, period, ..MemberLimit::default() }),
        ..Promotion::default()
    };
    let gives = Some(Gift { gift: Some(gift::Gift::Reward(format!("{TEA}/rewards/cup"))), wallet: String::new() });
    let steps = STEPS.iter().map(|at| Step { at: *at, gives: gives.clone() }).collect();
    let visits = Challenge {
        challenge_id: "visits".to_owned(),
        title: "Visits".to_owned(),
        counts: Some(challenge::Counts::Purchases(QualifyingPurchase::default())),
        shape: Some(challenge::Shape::Ladder(Ladder { period, measure: ladder::Measure::Times.into(), steps })),
        ..Challenge::default()
    };
    Terms { promotions: vec![ten], challenges: vec![visits], ..plain() }
}

/// A reward whose voucher takes a yuan off.
fn cup() -> CreateRewardRequest {
    let amount = Some(Money { currency_code: "CNY".to_owned(), minor_units: 100 });
    let effect = Some(voucher_terms::Effect::AmountOff(voucher_terms::AmountOff { amount }));
    let terms = RewardTerms {
        title: "a cup".to_owned(),
        kind: RewardKind::Goods.into(),
        cost_points: 1_000,
        audience: Some(RewardAudience { who: Some(reward_audience::Who::Everyone(reward_audience::Everyone {})) }),
        voucher: Some(VoucherTerms { effect, ..VoucherTerms::default() }),
        ..RewardTerms::default()
    };
    CreateRewardRequest { parent: TEA.to_owned(), reward_id: "cup".to_owned(), terms: Some(terms), request_id: id() }
}

fn basket() -> Basket {
    let line = PurchaseLine { line_id: "1".to_owned(), quantity: 1, net_minor_units: 1_000, ..PurchaseLine::default() };
    Basket { currency_code: "CNY".to_owned(), lines: vec![line], ..Basket::default() }
}
