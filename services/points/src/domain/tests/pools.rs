use std::collections::BTreeMap;

use proptest::prelude::*;

use super::town::Town;
use super::*;

/// The town's last bench is the pool's.
const POOL: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Bring(usize, i64),
    Spend(usize, i64, bool),
    Share(usize, bool),
    Leave(usize),
    Return(usize, bool),
    Refund(usize, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..POOL;
    let step = prop_oneof![
        4 => (who(), 1_i64..40).prop_map(|(who, points)| Step::Bring(who, points)),
        4 => (who(), 1_i64..60, any::<bool>()).prop_map(|(who, points, up_to)| Step::Spend(who, points, up_to)),
        2 => (who(), any::<bool>()).prop_map(|(who, shares)| Step::Share(who, shares)),
        1 => who().prop_map(Step::Leave),
        1 => (who(), any::<bool>()).prop_map(|(who, shares)| Step::Return(who, shares)),
        2 => (any::<usize>(), 1_i64..30).prop_map(|(which, points)| Step::Refund(which, points)),
    ];
    proptest::collection::vec(step, 1..50)
}

/// What each member has in the pool, by account, and whether he shares it: all there is to know of points that lapse alike.
#[derive(Default)]
struct Paper {
    brought: BTreeMap<AccountId, i64>,
    joined: BTreeMap<AccountId, bool>,
}

impl Paper {
    /// Who pays how much, in the order of the accounts; nothing when it is not enough.
    fn spend(&mut self, spender: AccountId, points: i64, up_to: bool) -> Option<Vec<(AccountId, i64)>> {
        let may = |account: &AccountId| *account == spender || self.joined.get(account) == Some(&true);
        let there: i64 = self.brought.iter().filter(|(account, _)| may(account)).map(|(_, points)| points).sum();
        let points = if up_to { points.min(there) } else { points };
        if !self.joined.contains_key(&spender) || points > there || points == 0 {
            return None;
        }
        let mut left = points;
        let payers: Vec<AccountId> = self.brought.keys().filter(|account| may(account)).copied().collect();
        let mut parts = Vec::new();
        for payer in payers {
            let held = self.brought.get_mut(&payer).unwrap();
            let part = left.min(*held);
            *held -= part;
            left -= part;
            parts.push((payer, part));
        }
        Some(parts)
    }
}

fn change(town: &mut Town, about: usize, change: PoolChange) -> Result<Outcome, Refusal> {
    let (member, account, by) = (town.benches[about].member, town.benches[about].id(), town.benches[0].member);
    town.benches[POOL].run(Command::ChangePool(ChangePool { member, account, by, change }))
}

fn open_pool() -> Town {
    open_pool_in(MAIN_WALLET)
}

/// Of members who have a thousand points of a wallet each.
fn open_pool_in(wallet: &'static str) -> Town {
    let mut town = open_pool_under(Terms { wallets: vec![wallets::stars(Decimal::ONE)], ..terms() });
    town.benches.iter_mut().for_each(|bench| bench.wallet = wallet);
    for member in 0..POOL {
        town.run(member, award(&format!("p{member}"), 100_000)).unwrap();
    }
    town
}

fn open_pool_under(terms: Terms) -> Town {
    let mut town = Town::new(POOL + 1, terms);
    change(&mut town, 0, PoolChange::Opened { shares: true }).unwrap();
    for guest in 1..POOL {
        change(&mut town, guest, PoolChange::Invited).unwrap();
        change(&mut town, guest, PoolChange::Joined { shares: true }).unwrap();
    }
    town
}

fn total(town: &Town) -> i64 {
    town.benches.iter().map(Bench::active).sum()
}

proptest! {
    /// Whatever a household does, each member has in the pool what the paper says, and no point arises or is lost.
    #[test]
    fn a_pool_keeps_whose_points_are_whose(steps in steps(), wallet in prop_oneof![Just(MAIN_WALLET), Just("stars")]) {
        let mut town = open_pool_in(wallet);
        let mut paper = Paper { joined: (0..POOL).map(|who| (town.benches[who].id(), true)).collect(), ..Paper::default() };
        let (whole, mut spent) = (total(&town), 0);
        let mut spendings: Vec<(Uuid, Vec<(AccountId, i64)>)> = Vec::new();
        for step in steps {
            match step {
                Step::Bring(who, points) => {
                    let account = town.benches[who].id();
                    let brings = Transfer { wallet: wallet.into(), points, reason: String::new(), into_pool: true };
                    let may = paper.joined.contains_key(&account) && points <= town.benches[who].active();
                    prop_assert_eq!(town.between(who, POOL, &Command::Transfer(brings)).is_ok(), may);
                    if may {
                        *paper.brought.entry(account).or_default() += points;
                    }
                }
                Step::Spend(who, points, up_to) => {
                    let redeem = Redeem { wallet: wallet.into(), points, up_to, reference: String::new() };
                    let request = RedeemFromPool { spender: town.benches[who].member, redeem };
                    let done = town.between(POOL, who, &Command::RedeemFromPool(request));
                    let parts = paper.spend(town.benches[who].id(), points, up_to);
                    prop_assert_eq!(done.is_ok(), parts.is_some());
                    if let Some(parts) = parts {
                        spent += parts.iter().map(|(_, points)| points).sum::<i64>();
                        let entry = town.benches[POOL].entries.last().unwrap().clone();
                        let operation = Uuid::from_u128(1_000_000 + spendings.len() as u128);
                        let lots: Vec<_> = entry.lots.iter().map(|lot| (lot.key.clone(), -lot.points)).collect();
                        let account = town.benches[POOL].id();
                        let spent_at = entry.stamp.now;
                        let spender = entry.spender();
                        let redemption = Redemption { operation, account, wallet: wallet.into(), lots, spender, refunded: 0, spent_at, of_reward: false };
                        town.benches[POOL].redemptions.insert(operation, redemption);
                        spendings.push((operation, parts));
                    }
                }
                Step::Share(who, shares) => {
                    let account = town.benches[who].id();
                    let done = change(&mut town, who, PoolChange::Shares(shares));
                    prop_assert_eq!(done.is_ok(), paper.joined.contains_key(&account));
                    paper.joined.entry(account).and_modify(|known| *known = shares);
                }
                Step::Leave(who) => {
                    let (member, account) = (town.benches[who].member, town.benches[who].id());
                    let before = town.benches[who].active();
                    let done = town.between(POOL, who, &Command::LeavePool(LeavePool { member, account }));
                    let owner_is_not_last = who == 0 && paper.joined.len() > 1 && paper.joined.contains_key(&account);
                    let has_something = paper.brought.get(&account).is_some_and(|points| *points > 0);
                    let may = !owner_is_not_last && (paper.joined.contains_key(&account) || has_something);
                    prop_assert_eq!(done.is_ok(), may);
                    if may {
                        paper.joined.remove(&account);
                        prop_assert_eq!(town.benches[who].active() - before, paper.brought.remove(&account).unwrap_or(0));
                    }
                }
                Step::Return(who, shares) => {
                    let account = town.benches[who].id();
                    if who > 0 && paper.joined.contains_key(&town.benches[0].id()) && !paper.joined.contains_key(&account) {
                        change(&mut town, who, PoolChange::Invited).unwrap();
                        change(&mut town, who, PoolChange::Joined { shares }).unwrap();
                        paper.joined.insert(account, shares);
                    }
                }
                Step::Refund(which, points) if !spendings.is_empty() => {
                    let index = which % spendings.len();
                    let (operation, parts) = &mut spendings[index];
                    let left: i64 = parts.iter().map(|(_, points)| points).sum();
                    let done = town.benches[POOL].run(Command::Refund(Refund { redemption: *operation, points: Some(points) }));
                    prop_assert_eq!(done.is_ok(), points <= left);
                    if points <= left {
                        spent -= points;
                        let mut back = points;
                        for (payer, paid) in parts.iter_mut().rev() {
                            let part = back.min(*paid);
                            *paid -= part;
                            back -= part;
                            *paper.brought.entry(*payer).or_default() += part;
                        }
                    }
                }
                Step::Refund(..) => {}
            }
            let pool = &town.benches[POOL].account;
            for who in 0..POOL {
                let account = town.benches[who].id();
                let free: i64 = pool.wallets.iter().flat_map(|wallet| wallet.free_of(account)).map(|(_, points)| points).sum();
                prop_assert_eq!(free, paper.brought.get(&account).copied().unwrap_or(0), "member {}", who);
            }
            prop_assert_eq!(total(&town) + spent, whole, "no point arises or is lost");
        }
    }
}

#[test]
fn an_order_paid_from_a_pool_goes_back_to_the_lots_of_the_pool() {
    let mut town = open_pool();
    let brings = Transfer { wallet: wallet(), points: 100, reason: String::new(), into_pool: true };
    town.between(0, POOL, &Command::Transfer(brings)).unwrap();
    let spent = spend_from_pool(&mut town, 1, 60);
    assert_eq!(town.benches[POOL].entries.last().unwrap().spender(), Some(town.benches[1].member));
    town.run(1, refunds::paid("order", 3_000, Vec::new(), vec![spent])).unwrap();
    let before = town.benches[1].active();
    for (net, points) in [(2_000, 20), (0, 40)] {
        assert_eq!(town.goods_go_back(1, POOL, "order", net).unwrap().restored.points, points);
    }
    let free: i64 = town.benches[POOL].account.wallets[0].free_of(town.benches[0].id()).iter().map(|(_, points)| points).sum();
    assert_eq!((free, town.benches[1].active()), (100, before - 30));
}

/// Who leaves is as if he had never joined: what was in the pool when goods went back, out of their reach, is taken after all, and what
/// he has brought since is not.
#[test]
fn leaving_takes_what_was_out_of_reach_and_no_more() {
    let mut wrong = Vec::new();
    for (steps, left) in [
        ("buy:100 bring:100 goods leave", 0),
        // A part of it, again and again.
        ("buy:100 bring:60 goods leave", 0),
        ("buy:100 bring:60 goods leave join leave", 0),
        // A little was there; what is earned later was not.
        ("buy:10 bring:10 buy:100 spend:100 goods buy:50 bring:50 leave", 50),
        // It had been taken out before.
        ("buy:50 bring:50 leave buy:100 spend:150 goods buy:30 join bring:30 leave", 30),
        ("buy:50 bring:50 leave join buy:100 bring:20 spend:130 goods buy:30 bring:30 leave", 30),
        // It had been spent there, and comes back only with a refund.
        ("buy:100 bring:100 share:100 goods buy:50 bring:50 leave", 50),
        ("buy:100 bring:100 share:100 goods buy:50 bring:50 leave refund leave", 50),
        ("buy:100 bring:100 share:100 goods buy:50 bring:50 refund leave", 50),
        // What is spent first is what was brought first.
        ("buy:100 bring:100 goods buy:50 bring:50 share:50 leave", 50),
        // At one moment.
        ("still buy:100 spend:100 goods buy:50 bring:50 leave", 50),
        ("still buy:100 bring:100 goods buy:50 bring:50 leave", 50),
    ] {
        let mut town = open_pool_under(Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
        let (mut bought, mut spent, mut still) = (0, Uuid::nil(), false);
        for (number, step) in steps.split(' ').enumerate() {
            let (step, points) = step.split_once(':').map_or((step, 0), |(step, points)| (step, points.parse().unwrap()));
            match step {
                "still" => still = true,
                "buy" => {
                    bought = number;
                    town.run(1, award(&number.to_string(), points * 100)).unwrap();
                }
                "bring" => {
                    let brings = Transfer { wallet: wallet(), points, reason: String::new(), into_pool: true };
                    town.between(1, POOL, &Command::Transfer(brings)).unwrap();
                }
                "spend" => drop(town.run(1, redeem(points)).unwrap()),
                "share" => spent = spend_from_pool(&mut town, 1, points),
                "refund" => drop(town.run(POOL, refund(spent, None)).unwrap()),
                "goods" => drop(town.run(1, remaining(&bought.to_string(), 0)).unwrap()),
                "join" => {
                    change(&mut town, 1, PoolChange::Invited).unwrap();
                    change(&mut town, 1, PoolChange::Joined { shares: true }).unwrap();
                }
                _ => {
                    let (member, account) = (town.benches[1].member, town.benches[1].id());
                    town.between(POOL, 1, &Command::LeavePool(LeavePool { member, account })).unwrap();
                }
            }
            if !still {
                town.wait(Duration::from_secs(60));
            }
        }
        let after = town.balances(1);
        if after != (left, 0, 0, 0) {
            wrong.push((steps, left, after));
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn what_was_brought_at_many_times_is_kept_in_a_list_with_an_end() {
    let mut town = open_pool_under(Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
    town.run(1, award("b", 10_000)).unwrap();
    for _ in 0..100 {
        let brings = Transfer { wallet: wallet(), points: 1, reason: String::new(), into_pool: true };
        town.between(1, POOL, &Command::Transfer(brings)).unwrap();
    }
    let brought = &town.benches[POOL].account.pool.as_ref().unwrap().brought;
    assert_eq!((brought.len(), brought.iter().map(|known| known.points).sum::<i64>()), (24, 100));
    town.run(1, remaining("b", 0)).unwrap();
    let (member, account) = (town.benches[1].member, town.benches[1].id());
    town.between(POOL, 1, &Command::LeavePool(LeavePool { member, account })).unwrap();
    assert_eq!(town.balances(1), (0, 0, 0, 0));
    assert_eq!(town.benches[POOL].account.pool.as_ref().unwrap().brought, []);
}

/// A redemption from the pool, as the store would keep it.
fn spend_from_pool(town: &mut Town, who: usize, points: i64) -> Uuid {
    let redeem = Redeem { wallet: wallet(), points, up_to: false, reference: String::new() };
    let request = RedeemFromPool { spender: town.benches[who].member, redeem };
    town.between(POOL, who, &Command::RedeemFromPool(request)).unwrap();
    let entry = town.benches[POOL].entries.last().unwrap().clone();
    let redemption = Redemption {
        operation: Uuid::from_u128(5),
        account: town.benches[POOL].id(),
        wallet: wallet(),
        lots: entry.lots.iter().map(|lot| (lot.key.clone(), -lot.points)).collect(),
        spender: entry.spender(),
        spent_at: entry.recorded_at,
        refunded: 0,
        of_reward: false,
    };
    town.benches[POOL].redemptions.insert(redemption.operation, redemption.clone());
    redemption.operation
}
