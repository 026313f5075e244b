//! Wallets beside "points".

use persistence::on_engine;
use proto::common::Role;
use proto::events::event::Payload;
use proto::points as pb;
use proto::points::validate_terms_request::What;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};
use tonic::Code;

use super::books::{damage, found};
use super::input::refuses;
use super::requests::*;
use super::rewards_requests::{create_with, have, rewards, undo};
use super::suite::*;

testkit::on_each_engine!(
    what_is_bought_earns_in_each_wallet,
    promotions_activities_and_challenges_give_stars,
    goods_go_back_in_each_wallet,
    stars_pay_for_rewards,
    stars_are_held_captured_and_given_back,
    stars_lapse_by_their_own_life,
    merges_transfers_and_pools_keep_wallets_apart,
    rewards_of_other_services_go_into_a_wallet,
    a_wallet_nobody_has_named_is_refused,
    what_later_terms_do_not_name_stays,
    wallets_are_checked,
    a_file_carries_wallets,
    verification_finds_what_a_purchase_says_of_stars,
);

fn wallet(name: &str, points_per_unit: &str) -> pb::WalletTerms {
    pb::WalletTerms {
        wallet: name.to_owned(),
        title: "Stars".to_owned(),
        points_per_unit: points_per_unit.to_owned(),
        ..pb::WalletTerms::default()
    }
}

/// A point and half a star for a yuan, three stars for a visit.
fn starry() -> pb::Terms {
    let visit = pb::ActivityTerms { wallet: "stars".to_owned(), ..earns("visit", 3) };
    pb::Terms { wallets: vec![wallet("stars", "0.5")], activities: vec![visit], ..terms() }
}

fn stars() -> String {
    "stars".to_owned()
}

fn share(points: i64) -> pb::WalletPoints {
    pb::WalletPoints { wallet: stars(), points }
}

/// Spendable, pending, reserved and owed stars.
async fn star_figures(suite: &Suite, owner: u128) -> (i64, i64, i64, i64) {
    let balance = suite.balance(owner).await;
    let found = balance.wallets.iter().find(|wallet| wallet.wallet == "stars");
    found.map_or((0, 0, 0, 0), |one| (one.active_points, one.pending_points, one.reserved_points, one.deficit_points))
}

/// Kinds, points and wallets of a member's entries.
async fn books(suite: &Suite, owner: u128) -> Vec<String> {
    let entries = suite.entries(owner).await;
    story(&entries).into_iter().zip(entries).map(|(story, entry)| format!("{story} {}", entry.wallet)).collect()
}

async fn what_is_bought_earns_in_each_wallet(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let request = award(1, "p1", 4_100);
    let preview = suite.platform().preview_award(preview(&request)).await.unwrap().into_inner();
    let operation = suite.platform().award(request.clone()).await.unwrap().into_inner();
    let told = operation.award.clone().unwrap();
    assert_eq!((told.base_points, told.bonus_points, told.other_points.clone()), (41, 0, vec![share(20)]));
    let parts: Vec<_> =
        told.components.iter().map(|part| (&*part.source, &*part.factor, part.points, &*part.wallet, &*part.title)).collect();
    assert_eq!(parts, [("base", "1", 41, "", ""), ("base", "0.5", 20, "stars", "Stars")]);
    assert_eq!((operation.actual_points, &operation.other_points), (41, &vec![share(20)]));
    assert_eq!((preview.points, &preview.other_points), (41, &vec![share(20)]));
    assert_eq!(preview.award, operation.award);
    assert_eq!(books(&suite, 1).await, ["AWARD 41 points", "AWARD 20 stars"]);
    suite.stands(&operation).await;
    let purchase = suite.purchase("p1").await;
    assert_eq!((purchase.base_points, purchase.due_points, purchase.other_points), (41, 41, vec![share(20)]));
    // What tiers and others hear of is the main wallet, and each posting says where it was.
    let Some(Payload::PurchaseRecorded(recorded)) = suite.events(1).await.remove(0).payload else { panic!("a purchase") };
    assert_eq!((recorded.base_points, recorded.awarded_points), (41, 41));
    let postings: Vec<_> = recorded.postings.iter().map(|posting| (&*posting.wallet, posting.points)).collect();
    assert_eq!(postings, [("points", 41), ("stars", 20)]);
    // Again it is the same; and a stranger has neither.
    let again = suite.platform().award(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), operation);
    let strangers = suite.award(0, "p2", 4_100).await;
    assert_eq!(strangers.award.unwrap().other_points, [share(20)], "what it would have been");
    assert_eq!(suite.purchase("p2").await.other_points, []);
    // What earns nothing there leaves no entry there.
    suite.award(1, "p3", 100).await;
    assert_eq!(books(&suite, 1).await[2..], ["AWARD 1 points"]);
    assert_eq!((suite.figures(1).await, star_figures(&suite, 1).await), ((42, 0, 0, 0), (20, 0, 0, 0)));
    assert_eq!(suite.verified().await.points["tea"], 42, "the main wallet's");
}

async fn promotions_activities_and_challenges_give_stars(engine: TestEngine) {
    let promotion = |id: &str, gives| pb::Promotion {
        promotion_id: id.to_owned(),
        title: id.to_owned(),
        gives: Some(gives),
        wallet: stars(),
        ..pb::Promotion::default()
    };
    let budget = pb::PromotionBudget { times_max: 0, points_max: 12, period: pb::member_limit::Period::Day.into() };
    let ten = pb::Promotion { budget: Some(budget), ..promotion("ten", pb::promotion::Gives::Points(10)) };
    let double = promotion("double", pb::promotion::Gives::Multiplier("2".to_owned()));
    let gives = Some(pb::Gift { gift: Some(pb::gift::Gift::Points(50)), wallet: stars() });
    let ladder = pb::Ladder {
        period: pb::member_limit::Period::Month.into(),
        measure: pb::ladder::Measure::Times.into(),
        steps: vec![pb::Step { at: 2, gives }],
    };
    let challenge = pb::Challenge {
        challenge_id: "twice".to_owned(),
        title: "Twice".to_owned(),
        counts: Some(pb::challenge::Counts::Purchases(pb::QualifyingPurchase::default())),
        shape: Some(pb::challenge::Shape::Ladder(ladder)),
        ..pb::Challenge::default()
    };
    let suite = Suite::with_terms(engine, pb::Terms { promotions: vec![ten, double], challenges: vec![challenge], ..starry() }).await;
    let first = suite.award(1, "p1", 1_000).await;
    assert_eq!((first.actual_points, first.other_points.clone()), (10, vec![share(5 + 10 + 5)]));
    let sources: Vec<_> = first.award.as_ref().unwrap().components.iter().map(|part| format!("{}={}", part.source, part.points)).collect();
    assert_eq!(sources, ["base=10", "base=5", "promotion:ten=10", "promotion:double=5"]);
    // Of the budget two are left. With the second purchase the ladder is climbed.
    let second = suite.award(2, "p2", 1_000).await;
    assert_eq!(second.other_points, [share(5 + 2 + 5)]);
    let third = suite.award(1, "p3", 1_000).await;
    assert_eq!((third.actual_points, third.other_points.clone()), (10, vec![share(10 + 50)]));
    assert_eq!(books(&suite, 1).await[2..], ["AWARD 10 points", "AWARD 10 stars", "REWARD 50 stars"]);
    assert_eq!(third.challenges[0].reached[0].wallet, "stars");
    // What goes back makes room in the budget, and takes the step along.
    let returned = suite.platform().return_purchase(down_to("p1", 0)).await.unwrap().into_inner();
    assert_eq!((returned.actual_points, returned.other_points.clone()), (-10, vec![share(-20 - 50)]));
    assert_eq!(suite.award(3, "p4", 1_000).await.other_points, [share(5 + 10 + 5)]);
    // An activity is told in its own wallet.
    let visit = suite.platform().award_activity(activity(4, "visit", "v1")).await.unwrap().into_inner();
    assert_eq!((visit.requested_points, visit.actual_points, visit.other_points.len()), (3, 3, 0));
    assert_eq!(books(&suite, 4).await, ["ACTIVITY 3 stars"]);
    let balance = suite.balance(4).await;
    assert_eq!(balance.wallets.iter().map(|one| &*one.wallet).collect::<Vec<_>>(), ["points", "stars"], "the main one is always first");
    suite.verified().await;
}

async fn goods_go_back_in_each_wallet(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    for (owner, id) in [(1, "p1"), (2, "p2")] {
        suite.award(owner, id, 4_000).await;
        suite.platform().redeem(with(redeem(owner, 15), |request| request.wallet = stars())).await.unwrap();
    }
    let back = suite.platform().return_purchase(down_to("p1", 1_900)).await.unwrap().into_inner();
    let told = back.r#return.clone().unwrap();
    assert_eq!((told.due_points, told.taken_from_active, told.added_to_deficit), (19, 21, 0));
    let in_stars = &told.other_wallets[0];
    assert_eq!((&*in_stars.wallet, in_stars.due_points, in_stars.taken_from_active, in_stars.added_to_deficit), ("stars", 9, 5, 6));
    assert_eq!((back.actual_points, &back.other_points), (-21, &vec![share(-11)]));
    suite.stands(&back).await;
    assert_eq!(suite.purchase("p1").await.other_points, [share(9)]);
    // In slices it comes to the same.
    for fen in [3_333, 2_500, 1_999, 1_900] {
        suite.platform().return_purchase(down_to("p2", fen)).await.unwrap();
    }
    assert_eq!((suite.figures(1).await, star_figures(&suite, 1).await), ((19, 0, 0, 0), (0, 0, 0, 6)));
    assert_eq!((suite.figures(2).await, star_figures(&suite, 2).await), ((19, 0, 0, 0), (0, 0, 0, 6)));
    suite.verified().await;
    // A debt is waived, or repaid, where it is.
    let mut support = suite.client(Role::Support).await;
    support.forgive_deficit(with(forgive(1, Some(2)), |request| request.wallet = stars())).await.unwrap();
    assert_eq!(precondition(support.forgive_deficit(forgive(1, None)).await), "EXCEEDS_DEFICIT", "no points are owed");
    suite.platform().award_activity(activity(1, "visit", "v1")).await.unwrap();
    assert_eq!(star_figures(&suite, 1).await, (0, 0, 0, 1));
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    assert_eq!((suite.figures(1).await, star_figures(&suite, 1).await), ((0, 0, 0, 0), (0, 0, 0, 10)));
    suite.verified().await;
}

async fn stars_pay_for_rewards(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let (mut admin, mut shop) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    let unknown = admin.create_reward(create_with("mug", 30, |terms| terms.wallet = "sters".to_owned())).await;
    assert_eq!(refusal(unknown), (Code::NotFound, "WALLET_NOT_FOUND".to_owned()));
    admin.create_reward(create_with("mug", 30, |terms| terms.wallet = stars())).await.unwrap();
    admin.create_reward(create_with("tea", 30, |_| {})).await.unwrap();
    suite.award(1, "p1", 5_000).await;
    let list = pb::ListMemberRewardsRequest { parent: member(1), ..Default::default() };
    let seen = shop.list_member_rewards(list).await.unwrap().into_inner();
    let short: Vec<_> = seen.rewards.iter().map(|one| (one.available, one.missing_points)).collect();
    assert_eq!((short, seen.active_points), (vec![(false, 5), (true, 0)], 50));
    let missing = shop.redeem_reward(have(1, "mug")).await;
    assert_eq!(metadata(&missing, "missing_points"), "5");
    suite.award(1, "p2", 1_000).await;
    let had = shop.redeem_reward(have(1, "mug")).await.unwrap().into_inner();
    assert_eq!(had.operation.as_ref().unwrap().actual_points, -30);
    assert_eq!((suite.figures(1).await.0, star_figures(&suite, 1).await.0), (60, 0));
    shop.refund_reward(undo(&had.voucher.unwrap().name, false)).await.unwrap();
    assert_eq!((suite.figures(1).await.0, star_figures(&suite, 1).await.0), (60, 30));
    suite.verified().await;
}

async fn stars_are_held_captured_and_given_back(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    suite.award(1, "p1", 10_000).await;
    let held = suite.platform().reserve(with(reserve(1, 40), |request| request.wallet = stars())).await.unwrap().into_inner();
    assert_eq!(held.reservation.as_ref().unwrap().wallet, "stars");
    assert_eq!((star_figures(&suite, 1).await, suite.figures(1).await), ((10, 0, 40, 0), (100, 0, 0, 0)));
    let much = suite.platform().redeem(with(redeem(1, 11), |request| request.wallet = stars())).await;
    assert_eq!(precondition(much), "INSUFFICIENT_POINTS");
    let captured = suite.platform().capture(capture(&hold(&held), Some(30))).await.unwrap().into_inner();
    assert_eq!((captured.actual_points, star_figures(&suite, 1).await), (-30, (20, 0, 0, 0)));
    // Goods that stars have paid for give them back as stars.
    let paid = with(award(1, "p2", 1_000), |request| input(request).redemptions = vec![captured.name.clone()]);
    suite.platform().award(paid).await.unwrap();
    let back = suite.platform().return_purchase(down_to("p2", 0)).await.unwrap().into_inner();
    assert_eq!((back.actual_points, &back.other_points), (-10, &vec![share(30 - 5)]));
    assert_eq!((star_figures(&suite, 1).await.0, suite.figures(1).await.0), (50, 100));
    let spent = suite.platform().redeem(with(redeem(1, 20), |request| request.wallet = stars())).await.unwrap().into_inner();
    let refunded = suite.platform().refund_redemption(refund(&spent.name, Some(5))).await.unwrap().into_inner();
    assert_eq!((refunded.actual_points, star_figures(&suite, 1).await.0), (5, 35));
    suite.verified().await;
}

async fn stars_lapse_by_their_own_life(engine: TestEngine) {
    let life = pb::wallet_terms::Life { expire_after_inactivity: days(10), ..Default::default() };
    let other = pb::WalletTerms { life: Some(life), ..wallet("stars", "1") };
    let stamps = pb::WalletTerms { life: Some(pb::wallet_terms::Life::default()), ..wallet("stamps", "1") };
    let terms = pb::Terms { wallets: vec![other, stamps], expire_after: days(30), remind_before: days(2), ..starry() };
    let suite = Suite::with_terms(engine, terms).await;
    suite.award(1, "p1", 700).await;
    let lapse = |balance: &pb::Balance, name: &str| balance.wallets.iter().find(|one| one.wallet == name).unwrap().next_expire_time;
    let balance = suite.balance(1).await;
    let at = |day: u32| Some(timestamp(START + day * DAY));
    assert_eq!(["points", "stars", "stamps"].map(|name| lapse(&balance, name)), [at(30), at(10), None]);
    // What is done with points keeps no stars alive; a visit does.
    suite.clock.advance(6 * DAY);
    suite.platform().redeem(redeem(1, 1)).await.unwrap();
    suite.platform().award_activity(activity(1, "visit", "v1")).await.unwrap();
    assert_eq!(lapse(&suite.balance(1).await, "stars"), at(16));
    let mut service = suite.client(Role::Service).await;
    for _ in 0..2 {
        suite.clock.advance(8 * DAY);
        service.settle_due(settle(0)).await.unwrap();
    }
    let of_clock = books(&suite, 1).await.split_off(5);
    assert_eq!(of_clock, ["REMIND 0 stars", "EXPIRE -10 stars"]);
    let told = suite.events(4).await.into_iter().find_map(|event| match event.payload {
        Some(Payload::PointsPosted(posted)) => posted.expiring.into_iter().next(),
        _ => None,
    });
    assert_eq!(told.map(|told| (told.wallet, told.points, told.expire_time)), Some((stars(), 10, at(16))));
    // An expiry is moved in the wallet that is named.
    let mut support = suite.client(Role::Support).await;
    let stamps = with(never_expire(1), |request| request.wallet = "stamps".to_owned());
    assert_eq!(precondition(support.set_expiry(stamps).await), "NOTHING_TO_EXTEND");
    support.set_expiry(never_expire(1)).await.unwrap();
    assert_eq!(lapse(&suite.balance(1).await, "points"), None);
    suite.verified().await;
}

async fn merges_transfers_and_pools_keep_wallets_apart(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 2_000).await;
    suite.award(2, "p2", 4_000).await;
    let given = platform.transfer(with(transfer(2, 1, 5), |request| request.wallet = stars())).await.unwrap().into_inner();
    assert_eq!((given.actual_points, given.other_points.len()), (-5, 0));
    let mut service = suite.client(Role::Service).await;
    let merged = service.merge_accounts(merge(1, 2)).await.unwrap().into_inner();
    assert_eq!((merged.actual_points, &merged.other_points), (40, &vec![share(15)]));
    assert_eq!((suite.figures(1).await.0, star_figures(&suite, 1).await.0), (60, 30));
    let parted = service.unmerge_accounts(unmerge(1, 2)).await.unwrap().into_inner();
    assert_eq!((parted.actual_points, &parted.other_points), (-40, &vec![share(-15)]));
    assert_eq!((suite.figures(2).await.0, star_figures(&suite, 2).await.0), (40, 15));
    // A pool has both, and tells of both.
    let pool = platform.create_pool(create_pool(1, true)).await.unwrap().into_inner().pool.unwrap().name;
    platform.invite_to_pool(invite(&pool, 1, 2)).await.unwrap();
    platform.join_pool(join(&pool, 2, false)).await.unwrap();
    platform.contribute_to_pool(contribute(&pool, 1, 20)).await.unwrap();
    platform.contribute_to_pool(with(contribute(&pool, 1, 15), |request| request.wallet = stars())).await.unwrap();
    let spent = with(redeem_pooled(&pool, 2, 6), |request| request.wallet = stars());
    assert_eq!(platform.redeem_from_pool(spent.clone()).await.unwrap().into_inner().actual_points, -6);
    let known = platform.get_pool(pb::GetPoolRequest { name: pool.clone() }).await.unwrap().into_inner();
    assert_eq!((known.members[0].points, &known.members[0].other_points), (20, &vec![share(9)]));
    assert_eq!((known.members[1].points, known.members[1].other_points.len()), (0, 0));
    platform.leave_pool(leave(&pool, 2)).await.unwrap();
    let left = platform.leave_pool(leave(&pool, 1)).await.unwrap().into_inner();
    assert_eq!((left.requested_points, left.actual_points, &left.other_points), (20, -20, &vec![share(-9)]));
    assert_eq!((suite.figures(1).await.0, star_figures(&suite, 1).await.0), (20, 9));
    suite.verified().await;
}

async fn rewards_of_other_services_go_into_a_wallet(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let mut service = suite.client(Role::Service).await;
    let into = |request: pb::EnsureRewardRequest| with(request, |request| request.wallet = stars());
    service.ensure_reward(into(ensure(1, "r1", 100, true, 1))).await.unwrap();
    suite.platform().redeem(with(redeem(1, 60), |request| request.wallet = stars())).await.unwrap();
    // It is taken back where it went to, whatever is named; also by another process.
    let suite = suite.restart().await;
    let mut service = suite.client(Role::Service).await;
    service.ensure_reward(ensure(1, "r1", 100, false, 2)).await.unwrap();
    assert_eq!(books(&suite, 1).await, ["REWARD 100 stars", "REDEEM -60 stars", "REWARD_REVOKED -100 stars"]);
    assert_eq!((suite.figures(1).await, star_figures(&suite, 1).await), ((0, 0, 0, 0), (0, 0, 0, 60)));
    suite.verified().await;
    suite.stop().await;
}

async fn a_wallet_nobody_has_named_is_refused(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let (mut platform, mut support, mut service) = (suite.platform(), suite.client(Role::Support).await, suite.client(Role::Service).await);
    suite.award(1, "p1", 10_000).await;
    let pool = platform.create_pool(create_pool(1, true)).await.unwrap().into_inner().pool.unwrap().name;
    let unknown = (Code::NotFound, "WALLET_NOT_FOUND".to_owned());
    let name = || "sters".to_owned();
    assert_eq!(refusal(platform.redeem(with(redeem(1, 1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(platform.reserve(with(reserve(1, 1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(platform.transfer(with(transfer(1, 2, 1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(platform.contribute_to_pool(with(contribute(&pool, 1, 1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(platform.redeem_from_pool(with(redeem_pooled(&pool, 1, 1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(support.set_expiry(with(never_expire(1), |request| request.wallet = name())).await), unknown);
    assert_eq!(refusal(support.forgive_deficit(with(forgive(1, None), |request| request.wallet = name())).await), unknown);
    let wish = with(ensure(1, "r1", 1, true, 1), |request| request.wallet = name());
    assert_eq!(refusal(service.ensure_reward(wish).await), unknown);
    let given = with(adjust(1, 5), |request| request.wallet = name());
    assert_eq!(refusal(support.adjust(given.clone()).await), unknown);
    assert_eq!(suite.balance(1).await.wallets.len(), 2, "none has come into being");
    // It is not remembered: terms that name it may come in a moment.
    let next = pb::Terms { wallets: vec![wallet("stars", "0.5"), wallet("sters", "")], ..starry() };
    suite.new_terms(next, suite.now()).await;
    assert_eq!(support.adjust(given).await.unwrap().into_inner().actual_points, 5);
    assert_eq!(books(&suite, 1).await, ["AWARD 100 points", "AWARD 50 stars", "ADJUST 5 sters"]);
    suite.verified().await;
}

async fn what_later_terms_do_not_name_stays(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    suite.award(1, "p1", 4_000).await;
    suite.new_terms(terms(), suite.now()).await;
    suite.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(suite.award(1, "p2", 4_000).await.other_points, []);
    suite.platform().redeem(with(redeem(1, 4), |request| request.wallet = stars())).await.unwrap();
    // Goods of before go back by the terms of before.
    let back = suite.platform().return_purchase(down_to("p1", 2_000)).await.unwrap().into_inner();
    assert_eq!(back.other_points, [share(-10)]);
    assert_eq!(star_figures(&suite, 1).await, (6, 0, 0, 0));
    suite.verified().await;
}

async fn wallets_are_checked(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    let of = |r: &mut pb::CreateProgramVersionRequest, change: fn(&mut pb::Terms)| change(r.terms.as_mut().unwrap());
    let plain = || pb::Terms { activities: Vec::new(), ..starry() };
    refuses!(suite.administrator(), create_program_version, new_version(plain()),
        "terms.wallets[0].wallet": |r| of(r, |terms| terms.wallets[0].wallet = "Stars".to_owned());
        "terms.wallets[0].wallet": |r| of(r, |terms| terms.wallets[0].wallet.clear());
        "terms.wallets[0].wallet": |r| of(r, |terms| terms.wallets[0].wallet = "points".to_owned());
        "terms.wallets[1].wallet": |r| of(r, |terms| terms.wallets.push(wallet("stars", "1")));
        "terms.wallets": |r| of(r, |terms| terms.wallets = (0..11).map(|number| wallet(&format!("w{number}"), "1")).collect());
        "terms.wallets[0].title": |r| of(r, |terms| terms.wallets[0].title.clear());
        "terms.wallets[0].points_per_unit": |r| of(r, |terms| terms.wallets[0].points_per_unit = "-1".to_owned());
        "terms.wallets[0].points_per_unit": |r| of(r, |terms| terms.wallets[0].points_per_unit = "1000001".to_owned());
        "terms.wallets[0].lines": |r| of(r, |terms| {
            let lines = pb::LineFilter { skus: vec!["a".to_owned()], ..pb::LineFilter::default() };
            terms.wallets[0] = pb::WalletTerms { lines: Some(lines), ..wallet("stars", "") };
        });
        "terms.wallets[0].lines.quantity_min": |r| of(r, |terms| {
            terms.wallets[0].lines = Some(pb::LineFilter { quantity_min: 2, ..pb::LineFilter::default() });
        });
        "terms.wallets[0].life.expire_time": |r| of(r, |terms| {
            let life = pb::wallet_terms::Life { expire_after: days(1), expire_after_inactivity: days(1), ..Default::default() };
            terms.wallets[0].life = Some(life);
        });
        "terms.wallets[0].life.expire_after.unit": |r| of(r, |terms| {
            let nothing = proto::common::CalendarPeriod { count: 1, unit: 0 };
            terms.wallets[0].life = Some(pb::wallet_terms::Life { expire_after: Some(nothing), ..Default::default() });
        });
        "terms.promotions[0].wallet": |r| of(r, |terms| terms.promotions = vec![pb::Promotion {
            promotion_id: "p".to_owned(),
            title: "p".to_owned(),
            gives: Some(pb::promotion::Gives::Points(1)),
            wallet: "stamps".to_owned(),
            ..pb::Promotion::default()
        }]);
        "terms.challenges[0].streak.gives.wallet": |r| of(r, |terms| terms.challenges = vec![streak(pb::gift::Gift::Points(1), "stamps")]);
        "terms.challenges[0].streak.gives.wallet": |r| of(r, |terms| {
            terms.challenges = vec![streak(pb::gift::Gift::Reward(format!("{TEA}/rewards/cup")), "stars")];
        });
    );
    refuses!(suite.administrator(), create_program_version, new_version(starry()),
        "terms.activities[0].wallet": |r| of(r, |terms| terms.activities[0].wallet = "stamps".to_owned());
        "terms.activities[0].wallet": |r| of(r, |terms| terms.activities[0].wallet = "A b".to_owned());
    );
    refuses!(suite.client(Role::Service).await, ensure_reward, ensure(1, "r", 1, true, 1), "wallet": |r| r.wallet = "A b".to_owned(););
    let mut admin = rewards(&suite, Role::Administrator).await;
    refuses!(admin, create_reward, create_with("mug", 1, |_| {}), "terms.wallet": |r| r.terms.as_mut().unwrap().wallet = "A b".to_owned(););
    // All that is wrong is told at once, and what would surprise.
    let multiplier = pb::Promotion {
        promotion_id: "p".to_owned(),
        title: "p".to_owned(),
        gives: Some(pb::promotion::Gives::Multiplier("2".to_owned())),
        wallet: "stamps".to_owned(),
        ..pb::Promotion::default()
    };
    let check = async |terms: pb::Terms| {
        let request = pb::ValidateTermsRequest { parent: TEA.to_owned(), what: Some(What::Terms(terms)), start_time: None };
        let found = suite.administrator().validate_terms(request).await.unwrap().into_inner().findings;
        found.into_iter().map(|finding| format!("{} {}", finding.severity().as_str_name(), finding.field)).collect::<Vec<_>>()
    };
    let wrong = pb::Terms { wallets: vec![wallet("points", "1")], promotions: vec![multiplier.clone()], ..starry() };
    let wanted = ["terms.wallets[0].wallet", "terms.promotions[0].wallet", "terms.activities[0].wallet"];
    assert_eq!(check(wrong).await, wanted.map(|field| format!("SEVERITY_ERROR {field}")));
    let odd = pb::Terms { wallets: vec![wallet("stamps", "")], activities: Vec::new(), promotions: vec![multiplier], ..starry() };
    let wanted = ["promotions[0].multiplier", "activities", "wallets"];
    assert_eq!(check(odd).await, wanted.map(|field| format!("SEVERITY_WARNING terms.{field}")));
    suite.stop().await;
}

fn streak(gift: pb::gift::Gift, wallet: &str) -> pb::Challenge {
    let gives = Some(pb::Gift { gift: Some(gift), wallet: wallet.to_owned() });
    let streak = pb::Streak { cadence: pb::streak::Cadence::Day.into(), length: 2, gives, ..pb::Streak::default() };
    pb::Challenge {
        challenge_id: "c".to_owned(),
        title: "c".to_owned(),
        counts: Some(pb::challenge::Counts::Activity("visit".to_owned())),
        shape: Some(pb::challenge::Shape::Streak(streak)),
        ..pb::Challenge::default()
    }
}

async fn a_file_carries_wallets(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    rewards(&suite, Role::Administrator).await.create_reward(create_with("mug", 30, |terms| terms.wallet = stars())).await.unwrap();
    let mut administrator = suite.administrator();
    let file = administrator.export_program(export(TEA)).await.unwrap().into_inner().content;
    let taken = administrator.import_program(import("programs/coffee", &file)).await.unwrap().into_inner();
    assert_eq!((taken.version.unwrap().terms, taken.created_rewards), (Some(starry()), vec!["mug".to_owned()]));
    suite.stop().await;
}

async fn verification_finds_what_a_purchase_says_of_stars(engine: TestEngine) {
    let suite = Suite::with_terms(engine, starry()).await;
    suite.award(2, "p1", 1_000).await;
    suite.award(2, "p2", 2_000).await;
    let mut tx = suite.points().await.begin().await.unwrap();
    on_engine!(tx, |conn| sqlx::query("CREATE TABLE before AS SELECT * FROM purchases").execute(conn).await.map(|_| ())).unwrap();
    tx.commit().await.unwrap();
    suite.platform().return_purchase(down_to("p1", 0)).await.unwrap();
    suite.verified().await;
    let details_of = |net: i64| {
        format!("UPDATE purchases SET details = (SELECT details FROM before WHERE net = {net}) WHERE account_id = $1 AND net = 1000")
    };
    // As if nothing had gone back of it: more could be taken another time.
    damage(&suite, &details_of(1_000)).await;
    let what = found(&suite).await;
    assert!(what.iter().any(|what| what.ends_with("5 points of its purchase were taken back, its returns say 0")), "{what:?}");
    damage(&suite, &details_of(2_000)).await;
    let what = found(&suite).await;
    assert!(what.contains(&"entry 2: its purchase says that it earned 10 points in the wallet stars".to_owned()), "{what:?}");
}
