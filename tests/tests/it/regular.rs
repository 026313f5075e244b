//! A regular: who he is and how often he comes earns him more, and the second visit of a month a cup.

use persistence::{Database, Keyring};
use proto::common::CalendarPeriod;
use proto::common::calendar_period::Unit;
use proto::members::{BirthDate, EnrollMemberRequest, identity};
use proto::points::challenge::{Counts, Shape};
use proto::points::ladder::Measure;
use proto::points::member_limit::Period;
use proto::points::promotion::{Birthday, Gives};
use proto::points::rejected_promotion::Reason;
use proto::points::rewards_service_client::RewardsServiceClient;
use proto::points::streak::Cadence;
use proto::points::voucher_terms::{AmountOff, Effect, Valid};
use proto::points::{
    ActivityTerms, AwardActivityRequest, Basket, Budget, Challenge, ChallengeProgress, CheckVoucherRequest, CreateProgramVersionRequest,
    CreateRewardRequest, EntryKind, GetBudgetRequest, Gift, Ladder, ListMemberChallengesRequest, ListVouchersRequest, Operation,
    PreviewAwardRequest, Promotion, PromotionBudget, PurchaseLine, QualifyingPurchase, RewardAudience, RewardKind, RewardTerms, Step,
    Streak, Terms, UseVoucherRequest, Voucher, VoucherState, VoucherTerms, gift, reward_audience, terms,
};
use rpc::Role;
use testkit::{TestEngine, eventually};

use super::diary::Diary;
use super::suite::{MASTER_KEY, Suite, TEA, Wire, money};
use super::tea::DAY;

testkit::on_each_engine!(birthday_tag_budget_ladder_and_streak_add_up);

const CUP: &str = "programs/tea/rewards/cup";
/// What the cup's voucher takes off, in fen.
const CUP_OFF: i64 = 800;

async fn birthday_tag_budget_ladder_and_streak_add_up(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut diary = Diary::default();
    suite.sets_regular_terms(&mut diary).await;
    suite.offers_a_cup(&mut diary).await;
    // The clock stands in January.
    let member = suite.enrols_born_in(&mut diary, 1, &["vegan"]).await;
    suite.points_know_the_member(&member).await;

    // 100 for the money, 100 for the birthday, 30 for the tag and 25 of the budget's 40.
    let first = suite.buys(&mut diary, &member, "p1", 10_000).await;
    assert_eq!(parts(&first), [("base", 100), ("promotion:birthday", 100), ("promotion:vegans", 30), ("promotion:opening", 25)]);
    assert_eq!((first.actual_points, told(&first.challenges)), (255, vec!["visits 1/2".to_owned()]));
    let came = suite.checks_in(&mut diary, &member, "c1").await;
    assert_eq!((came.actual_points, told(&came.challenges)), (0, vec!["daily 1/2".to_owned()]));

    // The next day: a streak of two, and 50, 50, 30 and the 15 that are left.
    suite.clock.advance(DAY);
    let came = suite.checks_in(&mut diary, &member, "c2").await;
    assert_eq!((came.actual_points, told(&came.challenges)), (100, vec!["daily 0/2 +100".to_owned()]));
    let second = suite.buys(&mut diary, &member, "p2", 5_000).await;
    assert_eq!(parts(&second), [("base", 50), ("promotion:birthday", 50), ("promotion:vegans", 30), ("promotion:opening", 15)]);
    assert_eq!((second.actual_points, told(&second.challenges)), (145, vec![format!("visits 2/0 +{CUP}")]));
    assert_eq!(suite.budget("opening").await, (40, Some(0)));
    assert_eq!(suite.active(&member).await, 255 + 100 + 145);

    // The cup comes by itself; the till takes it off an order.
    let cup = suite.voucher_becomes(&member, VoucherState::Usable).await;
    assert_eq!((&*cup.reward, &*cup.title), (CUP, "A cup of tea"));
    let check =
        CheckVoucherRequest { parent: TEA.to_owned(), code: cup.code.clone(), basket: Some(a_cup()), order_reference: String::new() };
    let discount = suite.rewards(Role::Terminal).check_voucher(check).await.unwrap().into_inner();
    assert_eq!((discount.applies, discount.discount), (true, Some(money(CUP_OFF))));
    let using = UseVoucherRequest {
        parent: TEA.to_owned(),
        code: cup.code,
        basket: Some(a_cup()),
        order_reference: "order-1".to_owned(),
        request_id: suite.request_id(),
        offline: None,
    };
    let till = suite.rewards(Role::Terminal);
    let used = diary.does(till, using, |mut rewards, request| async move { rewards.use_voucher(request).await }).await;
    assert_eq!((&*used.order_reference, used.discount.unwrap().discount), ("order-1", Some(money(CUP_OFF))));

    // The first purchase goes back with all that it brought; what has been drunk has been drunk.
    let back = suite.brings_back(&mut diary, "p1", 0).await;
    assert_eq!((back.actual_points, told(&back.challenges)), (-255, vec![format!("visits 1/2 -{CUP}")]));
    assert_eq!(suite.budget("opening").await, (15, Some(25)));
    assert_eq!(suite.active(&member).await, 100 + 145);
    assert_eq!(suite.challenges(&member).await, ["daily 0/2", "visits 1/2"]);

    // The next visit reaches the step again: 12, 12, 30 and 25 that are there again. The cup was had already.
    let third = suite.buys(&mut diary, &member, "p3", 1_200).await;
    assert_eq!((third.actual_points, told(&third.challenges)), (79, vec![format!("visits 2/0 +{CUP}")]));
    let fourth = suite.buys(&mut diary, &member, "p4", 1_000).await;
    assert_eq!(parts(&fourth), [("base", 10), ("promotion:birthday", 10), ("promotion:vegans", 30)]);
    let rejected = &fourth.award.as_ref().unwrap().rejected_promotions;
    assert_eq!(rejected.iter().map(|one| (&*one.promotion_id, one.reason())).collect::<Vec<_>>(), [("opening", Reason::Budget)]);
    assert_eq!(suite.active(&member).await, 100 + 145 + 79 + 50);
    let points: Vec<_> = suite.books(&member).await.into_iter().filter(|(_, points)| *points != 0).collect();
    let (award, reward, clawback) = (EntryKind::Award, EntryKind::Reward, EntryKind::Clawback);
    assert_eq!(points, [(award, 255), (reward, 100), (award, 145), (clawback, -255), (award, 79), (award, 50)]);

    diary.comes_again().await;
    assert_eq!(suite.active(&member).await, 374, "what came again has moved nothing");
    suite.voucher_becomes(&member, VoucherState::Used).await;
    let engine = suite.stop().await;
    let ledger = Database::open(&engine.options, "points", points::MIGRATIONS).await.unwrap();
    let report = points::verify(&ledger, &Keyring::from_hex(MASTER_KEY).unwrap(), |_| {}).await.unwrap();
    assert_eq!((report.differences, report.points["tea"]), (vec![], 374));
    ledger.close().await;
}

impl Suite {
    fn rewards(&self, role: Role) -> RewardsServiceClient<Wire> {
        RewardsServiceClient::new(self.wire("points", role))
    }

    /// A point a yuan, and more for whom it is the month, who is a vegan, and who is early; a cup for two visits, points for two days.
    async fn sets_regular_terms(&self, diary: &mut Diary) {
        let promotion = |id: &str, gives| Promotion {
            promotion_id: id.to_owned(),
            title: id.to_uppercase(),
            gives: Some(gives),
            ..Promotion::default()
        };
        let budget = PromotionBudget { times_max: 0, points_max: 40, period: Period::Month.into() };
        let promotions = vec![
            Promotion { birthday: Birthday::Month.into(), ..promotion("birthday", Gives::Multiplier("2".to_owned())) },
            Promotion { tags: vec!["vegan".to_owned()], ..promotion("vegans", Gives::Points(30)) },
            Promotion { budget: Some(budget), ..promotion("opening", Gives::Points(25)) },
        ];
        let challenge = |id: &str, counts, shape| Challenge {
            challenge_id: id.to_owned(),
            title: id.to_uppercase(),
            counts: Some(counts),
            shape: Some(shape),
            ..Challenge::default()
        };
        let gives = |gift| Some(Gift { gift: Some(gift), wallet: String::new() });
        let steps = vec![Step { at: 2, gives: gives(gift::Gift::Reward(CUP.to_owned())) }];
        let ladder = Ladder { period: Period::Month.into(), measure: Measure::Times.into(), steps };
        let streak = Streak { cadence: Cadence::Day.into(), length: 2, gives: gives(gift::Gift::Points(100)), ..Streak::default() };
        let challenges = vec![
            challenge("visits", Counts::Purchases(QualifyingPurchase::default()), Shape::Ladder(ladder)),
            challenge("daily", Counts::Activity("check_in".to_owned()), Shape::Streak(streak)),
        ];
        let terms = Terms {
            points_per_unit: "1".to_owned(),
            rounding: terms::PointRounding::Down.into(),
            return_policy: terms::ReturnPolicy::Unlimited.into(),
            activities: vec![ActivityTerms { activity: "check_in".to_owned(), ..ActivityTerms::default() }],
            promotions,
            challenges,
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

    /// Eight yuan off any order, for a month.
    async fn offers_a_cup(&self, diary: &mut Diary) {
        let voucher = VoucherTerms {
            effect: Some(Effect::AmountOff(AmountOff { amount: Some(money(CUP_OFF)) })),
            valid: Some(Valid::ValidFor(CalendarPeriod { count: 1, unit: Unit::Month.into() })),
            ..VoucherTerms::default()
        };
        let everyone = reward_audience::Who::Everyone(reward_audience::Everyone {});
        let terms = RewardTerms {
            title: "A cup of tea".to_owned(),
            kind: RewardKind::Drink.into(),
            cost_points: 500,
            stock: Some(10),
            audience: Some(RewardAudience { who: Some(everyone) }),
            voucher: Some(voucher),
            ..RewardTerms::default()
        };
        let request =
            CreateRewardRequest { parent: TEA.to_owned(), reward_id: "cup".to_owned(), terms: Some(terms), request_id: self.request_id() };
        let administrator = self.rewards(Role::Administrator);
        diary.does(administrator, request, |mut rewards, request| async move { rewards.create_reward(request).await }).await;
    }

    async fn enrols_born_in(&self, diary: &mut Diary, month: i32, tags: &[&str]) -> String {
        let request = EnrollMemberRequest {
            birth_date: Some(BirthDate { year: 1990, month, day: 28 }),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..self.enrolment(vec![identity::Value::Phone("+8613800138001".to_owned())], "")
        };
        let platform = self.members(Role::Platform);
        diary.does(platform, request, |mut members, request| async move { members.enroll_member(request).await }).await.name
    }

    /// Waits until the feed of members has told points of a birthday and a tag: nothing but the money would count before.
    async fn points_know_the_member(&self, member: &str) {
        let purchase = self.award(member, "preview", 10_000).purchase;
        let request = PreviewAwardRequest { parent: TEA.to_owned(), member: member.to_owned(), purchase };
        eventually(|| async {
            let preview = self.points(Role::Terminal).preview_award(request.clone()).await.unwrap().into_inner();
            if preview.points == 255 { Ok(()) } else { Err(preview) }
        })
        .await;
    }

    async fn checks_in(&self, diary: &mut Diary, member: &str, id: &str) -> Operation {
        let request = AwardActivityRequest {
            member: member.to_owned(),
            activity: "check_in".to_owned(),
            activity_id: id.to_owned(),
            request_id: self.request_id(),
            ..AwardActivityRequest::default()
        };
        let platform = self.points(Role::Platform);
        diary.does(platform, request, |mut points, request| async move { points.award_activity(request).await }).await
    }

    /// Points that all members together have had of a promotion, and those that are left.
    async fn budget(&self, promotion: &str) -> (i64, Option<i64>) {
        let request = GetBudgetRequest { name: format!("{TEA}/budgets/{promotion}") };
        let Budget { spent_points, left_points, .. } = self.points(Role::Platform).get_budget(request).await.unwrap().into_inner();
        (spent_points, left_points)
    }

    async fn challenges(&self, member: &str) -> Vec<String> {
        let request = ListMemberChallengesRequest { parent: member.to_owned(), ..ListMemberChallengesRequest::default() };
        told(&self.points(Role::Platform).list_member_challenges(request).await.unwrap().into_inner().challenges)
    }

    /// Waits until the only voucher of a member is so.
    async fn voucher_becomes(&self, member: &str, state: VoucherState) -> Voucher {
        let request = ListVouchersRequest { parent: member.to_owned(), ..ListVouchersRequest::default() };
        eventually(|| async {
            let vouchers = self.rewards(Role::Platform).list_vouchers(request.clone()).await.unwrap().into_inner().vouchers;
            match &vouchers[..] {
                [voucher] if voucher.state() == state => Ok(voucher.clone()),
                _ => Err(vouchers),
            }
        })
        .await
    }
}

/// What each part of an award gave.
fn parts(operation: &Operation) -> Vec<(&str, i64)> {
    operation.award.as_ref().unwrap().components.iter().map(|part| (&*part.source, part.points)).collect()
}

/// "visits 2/0 +programs/tea/rewards/cup"
fn told(challenges: &[ChallengeProgress]) -> Vec<String> {
    let gifts = |sign: char, gifts: &[Gift]| -> String {
        gifts
            .iter()
            .map(|given| match given.gift.as_ref().unwrap() {
                gift::Gift::Points(points) => format!(" {sign}{points}"),
                gift::Gift::Reward(reward) => format!(" {sign}{reward}"),
            })
            .collect()
    };
    let tell = |known: &ChallengeProgress| {
        let ChallengeProgress { challenge_id, progress, next, reached, lost, .. } = known;
        format!("{challenge_id} {progress}/{next}{}{}", gifts('+', reached), gifts('-', lost))
    };
    challenges.iter().map(tell).collect()
}

/// The basket of an order: one tea for twelve yuan.
fn a_cup() -> Basket {
    let line = PurchaseLine {
        line_id: "1".to_owned(),
        sku: "green-tea".to_owned(),
        category: "drink".to_owned(),
        quantity: 1,
        net_minor_units: 1_200,
        ..PurchaseLine::default()
    };
    Basket { currency_code: "CNY".to_owned(), lines: vec![line], ..Basket::default() }
}
