//! Wallets beside the main one.

use super::town::Town;
use super::*;

pub(super) fn stars(points_per_unit: Decimal) -> WalletTerms {
    WalletTerms { name: "stars".into(), title: "Stars".to_owned(), points_per_unit, lines: LineFilter::default(), life: None }
}

/// Active, pending, reserved and owed points of a wallet.
pub(super) fn figures(bench: &Bench, wallet: &str) -> (i64, i64, i64, i64) {
    bench.account.wallet(wallet).map_or((0, 0, 0, 0), |wallet| (wallet.active, wallet.pending, wallet.reserved, wallet.deficit))
}

/// A point and half a star per unit.
fn starry() -> Terms {
    Terms { wallets: vec![stars(Decimal::new(5, 1))], ..terms() }
}

fn into_stars(promotion: Promotion) -> Promotion {
    Promotion { wallet: Some("stars".into()), ..promotion }
}

/// What was posted, oldest first.
fn books(bench: &Bench) -> Vec<String> {
    bench.entries.iter().map(|entry| format!("{:?} {} {}", entry.kind, entry.points, entry.wallet)).collect()
}

fn explained(outcome: Outcome) -> Explanation {
    let Outcome::Awarded { explanation, .. } = outcome else { panic!("an award") };
    explanation
}

#[test]
fn a_purchase_earns_in_each_wallet_by_its_own_rate() {
    let promotions = vec![
        promotions::times("double", "2"),
        into_stars(promotions::points("five", 5)),
        into_stars(promotions::times("triple", "3")),
        promotions::points("ten", 10),
    ];
    let mut bench = Bench::new(Terms { promotions: promotions.into(), ..starry() });
    let gold = |multiplier: &str| TierInterval {
        scheme: "s".to_owned(),
        tier: "gold".to_owned(),
        multiplier: multiplier.parse().unwrap(),
        start_at: Timestamp::MIN,
        end_at: None,
    };
    bench.facts.tiers.push(gold("1.5"));
    let explanation = explained(bench.run(award("p", 4_100)).unwrap());
    let parts = explanation.components.iter().map(|part| {
        let factor = part.factor.map(|factor| format!(" x{factor}")).unwrap_or_default();
        format!("{}{factor}={} {}", part.source, part.points, part.wallet.as_deref().unwrap_or("-"))
    });
    let wanted = [
        "base x1=41 -",
        "tier:gold x1.5=20 -",
        "base x0.5=20 stars",
        "promotion:double x2=41 -",
        "promotion:five=5 stars",
        "promotion:triple x3=40 stars",
        "promotion:ten=10 -",
    ];
    assert_eq!(parts.collect::<Vec<_>>(), wanted);
    assert_eq!((explanation.base, explanation.bonus, explanation.points()), (41, 71, 112), "those of the main wallet");
    assert_eq!(explanation.others, [Share { wallet: "stars".into(), points: 65 }]);
    assert_eq!(books(&bench), ["Award 112 points", "Award 65 stars"]);
    assert_eq!(bench.account.purchases, 1, "it is one purchase");
}

#[test]
fn the_main_wallet_always_posts_and_another_where_it_gets_something() {
    let mut bench = Bench::new(Terms { points_per_unit: Decimal::ZERO, ..starry() });
    bench.run(award("p", 200)).unwrap();
    bench.run(award("q", 100)).unwrap();
    assert_eq!(books(&bench), ["Award 0 points", "Award 1 stars", "Award 0 points"]);
    assert_eq!((bench.account.purchases, bench.purchases[1].others.len()), (2, 0));
}

#[test]
fn only_the_lines_of_a_wallet_earn_in_it() {
    let of = |category: &str, id: &str, net: i64| Line { category: category.to_owned(), ..line(id, 1, net) };
    let lines = LineFilter { excluded_categories: vec!["tobacco".to_owned()], ..LineFilter::default() };
    let coffee = LineFilter { categories: vec!["coffee".to_owned()], ..LineFilter::default() };
    let double = Promotion { lines: coffee, ..into_stars(promotions::times("double", "2")) };
    let mut bench =
        Bench::new(Terms { wallets: vec![WalletTerms { lines, ..stars(Decimal::ONE) }], promotions: vec![double].into(), ..terms() });
    bench.run(award_lines("p", 1_800, vec![of("coffee", "a", 600), of("tobacco", "b", 900), of("cake", "c", 300)])).unwrap();
    assert_eq!(figures(&bench, "stars").0, 6 + 3 + 6, "six for coffee, twice, and three for cake");
    bench.run(award("q", 5_000)).unwrap();
    assert_eq!(figures(&bench, "stars").0, 15, "what is not told by lines may be tobacco");
    bench.run(back("p", &[("a", 1)])).unwrap();
    assert_eq!(figures(&bench, "stars").0, 3);
}

#[test]
fn each_wallet_lives_by_its_own_terms() {
    let days = |count| Period { count, unit: CalendarUnit::Day };
    let life = Some(Life::WhileActive(days(10), Rounding::None));
    let wallets = vec![
        WalletTerms { life, ..stars(Decimal::ONE) },
        WalletTerms { name: "stamps".into(), life: Some(Life::Unlimited), ..stars(Decimal::ONE) },
    ];
    let activities = vec![ActivityTerms { wallet: Some("stars".into()), ..review(3) }];
    let mut bench = Bench::new(Terms { wallets, activities, life: Life::For(days(30), Rounding::None), ..terms() });
    bench.run(award("p", 700)).unwrap();
    let lapses = |bench: &Bench, wallet: &str| bench.account.wallet(wallet).unwrap().next_expiry().0;
    let bought_at = bench.now;
    let day = |count: u64| Duration::from_secs(86_400 * count);
    assert_eq!(lapses(&bench, "points"), Some(bought_at + day(30)));
    assert_eq!((lapses(&bench, "stars"), lapses(&bench, "stamps")), (Some(bought_at + day(10)), None));
    // What is done in another wallet does not keep it alive.
    bench.now = bought_at + day(6);
    bench.run(redeem(1)).unwrap();
    assert_eq!(lapses(&bench, "stars"), Some(bought_at + day(10)));
    bench.run(activity("review", "1")).unwrap();
    assert_eq!(lapses(&bench, "stars"), Some(bought_at + day(16)));
    bench.now = bought_at + day(17);
    bench.settle();
    assert_eq!((figures(&bench, "stars").0, figures(&bench, "points").0, figures(&bench, "stamps").0), (0, 6, 7));
}

#[test]
fn pending_points_open_in_each_wallet_with_its_own_life() {
    let activation = Activation::On { event: "delivered".into(), cancel_after: None };
    let life = Some(Life::Unlimited);
    let mut bench = Bench::new(Terms { wallets: vec![WalletTerms { life, ..stars(Decimal::TWO) }], activation, ..terms() });
    bench.run(award("p", 500)).unwrap();
    assert_eq!((figures(&bench, "points").1, figures(&bench, "stars").1), (5, 10));
    let delivered = Resolve { event: "delivered".into(), reference: None, came: true, reason: String::new() };
    let opened = bench.run(Command::Resolve(delivered)).unwrap();
    assert_eq!(opened, Outcome::Resolved { points: 5, came: true, challenges: Vec::new() }, "figures are those of the first");
    assert_eq!((figures(&bench, "points").0, figures(&bench, "stars").0), (5, 10));
    assert!(bench.account.wallet("points").unwrap().next_expiry().0.is_some());
    assert!(bench.account.wallet("stars").unwrap().next_expiry().0.is_none());
}

#[test]
fn goods_that_go_back_take_from_each_wallet_what_they_gave_in_it() {
    let mut bench = Bench::new(starry());
    bench.run(award("p", 4_000)).unwrap();
    bench.run(within("stars", redeem(15))).unwrap();
    let Outcome::Returned(returned) = bench.run(remaining("p", 1_900)).unwrap() else { panic!("a return") };
    assert_eq!((returned.purchase.due, returned.purchase.others[0].due), (19, 9));
    assert_eq!((returned.summary.taken.active, returned.others[0].active, returned.others[0].deficit), (21, 5, 6));
    assert_eq!((bench.balances(), figures(&bench, "stars")), ((19, 0, 0, 0), (0, 0, 0, 6)), "stars are owed, points are not");
    assert_eq!(books(&bench)[3..], ["Clawback -21 points", "Clawback -11 stars"]);
    // What comes in repays what is owed there, and nowhere else.
    bench.run(award("q", 2_000)).unwrap();
    assert_eq!((bench.balances(), figures(&bench, "stars")), ((39, 0, 0, 0), (4, 0, 0, 0)));
    bench.run(remaining("q", 1_990)).unwrap();
    // Less than a star goes back: nothing is posted for it.
    let before = bench.entries.len();
    bench.run(remaining("q", 1_900)).unwrap();
    assert_eq!(books(&bench)[before..], ["Clawback 0 points"]);
}

#[test]
fn limits_of_awards_are_about_the_main_wallet_and_those_of_a_promotion_about_its_own() {
    let of = |points_max| Limit { period: LimitPeriod::Day, times_max: None, points_max: Some(points_max) };
    let limited = Promotion { limit: Some(of(7)), budget: Some(of(12)), ..into_stars(promotions::points("five", 5)) };
    let activities = vec![ActivityTerms { wallet: Some("stars".into()), ..review(100) }];
    let limit = Limit { period: LimitPeriod::Ever, times_max: None, points_max: Some(30) };
    let limits = vec![AwardLimit { id: "each".into(), scope: LimitScope::Purchase, limit, rejects: false }];
    let mut bench = Bench::new(Terms { promotions: vec![limited].into(), limits, activities, ..starry() });
    let explanation = explained(bench.run(award("p", 4_000)).unwrap());
    assert_eq!((explanation.points(), explanation.others[0].points), (30, 25), "stars are not cut");
    let explanation = explained(bench.run(award("q", 1_000)).unwrap());
    assert_eq!(explanation.others[0].points, 5 + 2, "two of its limit were left");
    assert_eq!(bench.shared.iter().map(|count| (&*count.of, count.times, count.points)).collect::<Vec<_>>(), [("promotion:five", 2, 7)]);
    let rejected = explained(bench.run(award("r", 1_000)).unwrap()).rejected;
    assert_eq!(rejected, [("five".into(), Rejection::Limit)]);
    // What goes back makes room in both.
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(bench.shared[0].points, 2);
    assert_eq!(explained(bench.run(award("s", 1_000)).unwrap()).others[0].points, 5 + 5);
    bench.run(activity("review", "1")).unwrap();
    assert_eq!(figures(&bench, "stars").0, 7 + 5 + 10 + 100);
}

#[test]
fn what_the_terms_leave_in_one_wallet_makes_no_room_there_alone() {
    let of = |points_max| Limit { period: LimitPeriod::Ever, times_max: None, points_max: Some(points_max) };
    let into_main = Promotion { limit: Some(of(10)), ..promotions::points("main", 10) };
    let other = Promotion { limit: Some(of(10)), ..into_stars(promotions::points("other", 10)) };
    let return_policy = ReturnPolicy::WithinBalance;
    let mut bench =
        Bench::new(Terms { promotions: vec![into_main, other].into(), return_policy, points_per_unit: Decimal::ZERO, ..starry() });
    bench.run(award("p", 100)).unwrap();
    bench.run(within("stars", redeem(10))).unwrap();
    bench.run(remaining("p", 0)).unwrap();
    let counts: Vec<_> = bench.account.counts.iter().map(|count| (&*count.of, count.points)).collect();
    assert_eq!(counts, [("promotion:other", 10)], "the stars were had");
}

#[test]
fn what_challenges_give_goes_where_they_say_and_comes_back_from_there() {
    let gives = Gift::Points(20, Some("stars".into()));
    let shape = Shape::Ladder { period: LimitPeriod::Month, measure: Measure::Times, steps: vec![Step { at: 1, gives }] };
    let challenge = Challenge {
        id: "once".into(),
        key: Challenge::key("once", &shape),
        title: "Once".to_owned(),
        counts: Counts::Purchases(Box::default()),
        shape,
        start_at: None,
        end_at: None,
        day_start_minute: 0,
        counts_returned: false,
    };
    let mut bench = Bench::new(Terms { challenges: vec![challenge], ..starry() });
    bench.run(award("p", 1_000)).unwrap();
    assert_eq!(books(&bench), ["Award 10 points", "Award 5 stars", "Reward 20 stars"]);
    bench.run(remaining("p", 0)).unwrap();
    assert_eq!(books(&bench)[3..], ["Clawback -10 points", "Clawback -5 stars", "RewardRevoked -20 stars"]);
    assert_eq!(figures(&bench, "stars"), (0, 0, 0, 0));
}

#[test]
fn a_wallet_that_nobody_has_named_is_refused() {
    let mut bench = Bench::new(starry());
    bench.run(award("p", 1_000)).unwrap();
    let forgive = Forgive { wallet: wallet(), points: None, reason: String::new(), approver: String::new() };
    for command in [redeem(1), reserve(1), adjust(1), ensure(1, true, 1), set_expiry(NewExpiry::Never), Command::Forgive(forgive)] {
        let refused = bench.run(within("sters", command.clone()));
        assert_eq!(refused, Err(Refusal::WalletNotFound { wallet: "sters".to_owned() }), "{command:?}");
        let known = bench.run(within("stars", command));
        assert!(!matches!(known, Err(Refusal::WalletNotFound { .. })), "{known:?}");
    }
    assert_eq!(
        bench.run(within("sters", ensure(1, false, 1))).unwrap(),
        Outcome::Ensured(bench.reward.clone().unwrap()),
        "it names what was"
    );
}

#[test]
fn a_wallet_that_later_terms_do_not_name_keeps_its_points() {
    let days = |count| Period { count, unit: CalendarUnit::Day };
    let life = Some(Life::For(days(20), Rounding::None));
    let with = Terms { wallets: vec![WalletTerms { life, ..stars(Decimal::ONE) }], ..terms() };
    let mut bench = Bench::new(with);
    bench.run(award("p", 1_000)).unwrap();
    let first = bench.versions.at(bench.now).clone();
    let then = Version { number: 2, start_at: bench.now + Duration::from_secs(1), terms: terms().into(), ..first.clone() };
    bench.versions = Versions::new(vec![first, then]).unwrap();
    bench.now = bench.now + Duration::from_secs(60);
    assert!(explained(bench.run(award("q", 1_000)).unwrap()).others.is_empty(), "nothing earns into it");
    bench.run(within("stars", redeem(3))).unwrap();
    bench.run(remaining("p", 500)).unwrap();
    assert_eq!(figures(&bench, "stars").0, 2, "five of ten went back, three were spent");
    bench.now = bench.now + Duration::from_secs(86_400 * 20);
    bench.settle();
    assert_eq!(figures(&bench, "stars").0, 0, "they lapse when they would have");
}

/// Together they are what was paid; the first of them comes back first, in slices as in one.
#[test]
fn points_and_stars_that_paid_come_back_alike_in_slices() {
    let bench = || {
        let mut bench = Bench::new(starry());
        bench.run(award("p", 4_000)).unwrap();
        let mut spend = |command| {
            bench.run(command).unwrap();
            bench.entries.last().unwrap().stamp.operation
        };
        let redemptions = vec![spend(redeem(10)), spend(within("stars", redeem(6)))];
        bench.run(refunds::paid("order", 1_600, Vec::new(), redemptions)).unwrap();
        bench
    };
    let (mut whole, mut sliced) = (bench(), bench());
    let half = sliced.run(remaining("order", 800)).unwrap();
    let Outcome::Returned(half) = half else { panic!("a return") };
    assert_eq!(half.restored.points, 8);
    assert_eq!((sliced.active(), figures(&sliced, "stars").0), (30 + 8 + 8, 14 + 4), "half of what it earned, and eight points");
    for (bench, nets) in [(&mut whole, &[0][..]), (&mut sliced, &[333, 0])] {
        nets.iter().for_each(|net| drop(bench.run(remaining("order", *net)).unwrap()));
        assert_eq!((bench.active(), figures(bench, "stars").0), (40, 20));
    }
}

#[test]
fn a_reward_is_taken_back_where_it_went_to() {
    let mut bench = Bench::new(starry());
    bench.run(within("stars", ensure(1, true, 50))).unwrap();
    assert_eq!(figures(&bench, "stars").0, 50);
    bench.run(ensure(2, false, 50)).unwrap();
    assert_eq!((figures(&bench, "stars"), bench.balances()), ((0, 0, 0, 0), (0, 0, 0, 0)));
    assert_eq!(books(&bench), ["Reward 50 stars", "RewardRevoked -50 stars"]);
}

#[test]
fn merged_accounts_keep_wallets_apart() {
    let mut town = Town::new(2, starry());
    town.run(0, award("p", 1_000)).unwrap();
    town.run(1, award("q", 4_000)).unwrap();
    town.run(1, within("stars", redeem(20))).unwrap();
    town.run(1, remaining("q", 0)).unwrap();
    assert_eq!((figures(&town.benches[1], "points"), figures(&town.benches[1], "stars")), ((0, 0, 0, 0), (0, 0, 0, 20)));
    town.merge(0, 1).unwrap();
    assert_eq!((figures(&town.benches[0], "points"), figures(&town.benches[0], "stars")), ((10, 0, 0, 0), (0, 0, 0, 15)));
    town.unmerge(0, 1).unwrap();
    assert_eq!((figures(&town.benches[0], "points"), figures(&town.benches[0], "stars")), ((10, 0, 0, 0), (5, 0, 0, 0)));
    assert_eq!(figures(&town.benches[1], "stars"), (0, 0, 0, 20));
}

/// Its owner takes back of each wallet what was brought into that, and what was given up is taken of the wallet it was given up in.
#[test]
fn a_pool_keeps_wallets_apart() {
    let mut town = Town::new(2, Terms { return_policy: ReturnPolicy::WithinBalance, ..starry() });
    let (pool, owner, account) = (1, town.benches[0].member, town.benches[0].id());
    town.benches[0].run(award("p", 4_000)).unwrap();
    let opened = ChangePool { member: owner, account, by: owner, change: PoolChange::Opened { shares: true } };
    town.benches[pool].run(Command::ChangePool(opened)).unwrap();
    let bring = |wallet: &str, points| Transfer { wallet: wallet.into(), points, reason: "pool".to_owned(), into_pool: true };
    town.between(0, pool, &Command::Transfer(bring("points", 40))).unwrap();
    town.wait(Duration::from_secs(60));
    // All forty points were spent, as far as his own books tell.
    town.benches[0].run(remaining("p", 0)).unwrap();
    town.benches[0].run(within("stars", adjust(10))).unwrap();
    town.between(0, pool, &Command::Transfer(bring("stars", 10))).unwrap();
    let brought: Vec<_> =
        town.benches[pool].account.pool.as_ref().unwrap().brought.iter().map(|part| (&*part.wallet, part.points)).collect();
    assert_eq!(brought, [("points", 40), ("stars", 10)]);
    let left = town.between(pool, 0, &Command::LeavePool(LeavePool { member: owner, account })).unwrap();
    assert_eq!(left, Outcome::LeftPool { points: 40 });
    assert_eq!((town.balances(0), figures(&town.benches[0], "stars")), ((0, 0, 0, 0), (10, 0, 0, 0)));
}

/// One that the terms name no more is for those who have had it.
#[test]
fn a_wallet_that_was_dropped_is_opened_for_nobody() {
    let mut bench = Bench::new(starry());
    bench.run(award("p", 1_000)).unwrap();
    let first = bench.versions.at(bench.now).clone();
    let second = Version { number: 2, start_at: bench.now, terms: terms().into(), ..first.clone() };
    let mut newcomer = Bench::new(starry());
    (newcomer.versions, newcomer.now) = (Versions::new(vec![first.clone(), second.clone()]).unwrap(), bench.now);
    bench.versions = newcomer.versions.clone();
    bench.run(within("stars", redeem(1))).unwrap();
    let refused = newcomer.run(within("stars", adjust(10)));
    assert_eq!(refused, Err(Refusal::WalletNotFound { wallet: "stars".to_owned() }));
    // One that terms to come will name can be given before.
    let ahead = Version { start_at: second.start_at + Duration::from_secs(60), number: 3, ..first };
    newcomer.versions = Versions::new(vec![second, ahead]).unwrap();
    newcomer.run(within("stars", adjust(10))).unwrap();
}
