//! Merge, its end, and transfer: what goes over, what comes back, and that nothing is gained by going there and back.

use proptest::prelude::*;

use super::town::Town;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn days(count: i32) -> Period {
    Period { count, unit: CalendarUnit::Day }
}

/// Two members, the first with 100 points, the second with 60.
fn two(terms: Terms) -> Town {
    let mut town = Town::new(3, terms);
    town.run(0, award("a", 10_000)).unwrap();
    town.run(1, award("b", 6_000)).unwrap();
    town
}

#[test]
fn a_merge_takes_everything_over_and_its_end_gives_it_back() {
    let mut town = two(terms());
    town.run(1, reserve(20)).unwrap();
    town.merge(0, 1).unwrap();
    assert_eq!((town.balances(0), town.balances(1)), ((140, 0, 20, 0), (0, 0, 0, 0)));
    assert_eq!(town.merge(0, 1), Err(Refusal::AlreadyMerged));
    town.unmerge(0, 1).unwrap();
    assert_eq!((town.balances(0), town.balances(1)), ((100, 0, 20, 0), (40, 0, 0, 0)), "what is held stays with the survivor");
    assert_eq!(town.unmerge(0, 1), Err(Refusal::NotMerged));
}

#[test]
fn what_was_given_before_a_merge_stays_where_it_was_given() {
    for giver in [0, 1] {
        let mut town = two(terms());
        town.transfer(giver, 1 - giver, 30).unwrap();
        let before = (town.balances(0), town.balances(1));
        town.merge(0, 1).unwrap();
        town.unmerge(0, 1).unwrap();
        assert_eq!((town.balances(0), town.balances(1)), before, "given by {giver}");
    }
    // Also what a third had given.
    let mut town = Town::new(3, terms());
    town.run(2, award("c", 10_000)).unwrap();
    town.transfer(2, 1, 40).unwrap();
    town.merge(0, 1).unwrap();
    town.unmerge(0, 1).unwrap();
    assert_eq!(town.balances(1), (40, 0, 0, 0));
}

#[test]
fn debts_that_the_others_points_repaid_are_so_no_more_when_it_ends() {
    for debtor in [0, 1] {
        let mut town = two(terms());
        let (net, owed) = [("a", 100), ("b", 60)][debtor];
        town.run(debtor, redeem(owed)).unwrap();
        town.run(debtor, remaining(net, 0)).unwrap();
        let before = (town.balances(0), town.balances(1));
        assert_eq!([before.0, before.1][debtor], (0, 0, 0, owed));
        town.merge(0, 1).unwrap();
        assert!(town.balances(0).0 == 0 || town.balances(0).3 == 0, "spendable points repay what is owed");
        town.unmerge(0, 1).unwrap();
        assert_eq!((town.balances(0), town.balances(1)), before, "owed by {debtor}");
    }
}

#[test]
fn what_is_earned_in_the_old_name_goes_back_with_it() {
    let mut town = Town::new(2, Terms { activities: vec![review(5)], ..terms() });
    town.run(0, award("a", 10_000)).unwrap();
    town.merge(0, 1).unwrap();
    town.run(1, award("b", 6_000)).unwrap();
    town.run(1, activity("review", "1")).unwrap();
    town.run(1, ensure(1, true, 3)).unwrap();
    town.run(1, adjust(2)).unwrap();
    town.run(0, adjust(1)).unwrap();
    assert_eq!(town.balances(0).0, 171);
    assert_eq!((town.benches[0].account.purchases, town.benches[1].account.purchases), (2, 0));
    town.unmerge(0, 1).unwrap();
    assert_eq!((town.balances(0).0, town.balances(1).0), (101, 70));
    assert_eq!((town.benches[0].account.purchases, town.benches[1].account.purchases), (1, 1));
    town.run(1, remaining("b", 0)).unwrap();
    assert_eq!((town.balances(0).0, town.balances(1).0), (101, 10), "a return finds the points that came back");
}

#[test]
fn only_pending_takes_back_what_waits_in_the_account_that_took_it_in_or_with_another_expiry() {
    let waiting = Terms { return_policy: ReturnPolicy::OnlyPending, activation: Activation::After(days(14)), ..terms() };
    let mut town = two(waiting.clone());
    town.merge(0, 1).unwrap();
    town.run(1, remaining("b", 0)).unwrap();
    assert_eq!(town.balances(0), (0, 100, 0, 0));
    town.run(0, set_expiry(NewExpiry::Later(days(9)))).unwrap();
    town.run(0, remaining("a", 0)).unwrap();
    assert_eq!(town.balances(0), (0, 0, 0, 0));
}

#[test]
fn a_redemption_of_before_the_merge_is_refunded_where_the_points_are_now() {
    let mut town = two(terms());
    town.run(1, redeem(50)).unwrap();
    let redemption = town.last_operation(1);
    town.merge(0, 1).unwrap();
    town.run(1, refund(redemption, Some(20))).unwrap();
    assert_eq!(town.balances(0).0, 130);
    town.unmerge(0, 1).unwrap();
    town.run(1, refund(redemption, None)).unwrap();
    assert_eq!((town.balances(0).0, town.balances(1).0), (100, 60));
}

#[test]
fn moving_points_about_keeps_none_alive() {
    let sliding = Terms { life: Life::WhileActive(days(10), Rounding::None), ..terms() };
    let mut town = Town::new(2, sliding);
    town.run(0, award("a", 10_000)).unwrap();
    town.wait(6 * DAY);
    town.run(1, award("b", 6_000)).unwrap();
    town.merge(1, 0).unwrap();
    town.unmerge(1, 0).unwrap();
    town.merge(0, 1).unwrap();
    town.unmerge(0, 1).unwrap();
    town.transfer(0, 1, 40).unwrap();
    town.transfer(1, 0, 10).unwrap();
    town.wait(4 * DAY);
    assert_eq!((town.balances(0).0, town.balances(1).0), (0, 60), "the first has done nothing for ten days");
    town.wait(6 * DAY);
    assert_eq!(town.balances(1).0, 0);
}

#[test]
fn what_is_done_in_either_name_keeps_all_alive_while_it_is_one_account() {
    let sliding = Terms { life: Life::WhileActive(days(10), Rounding::None), ..terms() };
    let mut town = two(sliding);
    town.merge(0, 1).unwrap();
    town.wait(6 * DAY);
    town.run(1, redeem(1)).unwrap();
    town.wait(6 * DAY);
    assert_eq!(town.balances(0).0, 159);
    town.unmerge(0, 1).unwrap();
    assert_eq!(town.balances(0).0 + town.balances(1).0, 60, "the first would have lapsed two days ago");
}

#[test]
fn points_given_in_a_name_that_keeps_none_alive_begin_a_life_of_their_own() {
    let sliding = Terms { life: Life::WhileActive(days(10), Rounding::None), ..terms() };
    let mut town = Town::new(2, sliding);
    town.merge(0, 1).unwrap();
    town.run(0, adjust(10)).unwrap();
    town.wait(6 * DAY);
    town.run(1, adjust(20)).unwrap();
    let lapses = |days: u32| Some(town.benches[0].now + days * DAY);
    let (first, second) = (lapses(4), lapses(10));
    town.unmerge(0, 1).unwrap();
    assert_eq!(town.expiries(0), [(first, 10)]);
    assert_eq!(town.expiries(1), [(second, 20)]);
}

#[test]
fn a_reward_is_taken_back_from_its_own_lot_also_after_a_merge() {
    let mut town = Town::new(2, terms());
    town.run(1, adjust(10)).unwrap();
    town.run(1, set_expiry(NewExpiry::At(town.benches[1].now + 5 * DAY))).unwrap();
    town.run(1, ensure(1, true, 50)).unwrap();
    town.merge(0, 1).unwrap();
    town.run(1, ensure(2, false, 50)).unwrap();
    assert_eq!(town.expiries(0), [(Some(town.benches[0].now + 5 * DAY), 10)]);
}

#[test]
fn what_cannot_pass_between_two_is_refused_and_leaves_no_trace() {
    let mut town = two(terms());
    assert_eq!(town.transfer(0, 1, 101), Err(Refusal::InsufficientPoints { missing: 1 }));
    for (status, refusal) in [(MemberStatus::Blocked, Refusal::MemberBlocked), (MemberStatus::Closed, Refusal::MemberClosed)] {
        for member in [0, 1] {
            town.benches[member].facts.status = status;
            assert_eq!(town.transfer(0, 1, 1), Err(refusal.clone()));
            town.benches[member].facts.status = MemberStatus::Active;
        }
    }
    assert_eq!(town.unmerge(0, 1), Err(Refusal::NotMerged));
    town.run(0, adjust(i64::MAX - 100)).unwrap();
    assert_eq!(town.transfer(1, 0, 1), Err(Refusal::Overflow));
    assert_eq!(town.merge(0, 1), Err(Refusal::Overflow));
    // Each kind of command has its own entrance.
    let gift = Command::Transfer(Transfer { wallet: wallet(), points: 1, reason: "gift".to_owned(), into_pool: false });
    assert_eq!(town.run(0, gift), Err(Refusal::SameAccount));
    assert_eq!(town.between(0, 1, &redeem(1)), Err(Refusal::SameAccount));
}

#[test]
fn a_gift_repays_what_its_receiver_owes() {
    let mut town = two(terms());
    town.run(1, redeem(60)).unwrap();
    town.run(1, remaining("b", 0)).unwrap();
    town.transfer(0, 1, 70).unwrap();
    assert_eq!((town.balances(0), town.balances(1)), ((30, 0, 0, 0), (10, 0, 0, 0)));
}

#[test]
fn chains_of_merges_come_apart_one_by_one() {
    let mut town = Town::new(3, terms());
    for (member, net) in [(0, 1_000), (1, 2_000), (2, 4_000)] {
        town.run(member, award(&member.to_string(), net)).unwrap();
    }
    town.merge(1, 2).unwrap();
    town.merge(0, 1).unwrap();
    assert_eq!(town.balances(0).0, 70);
    town.run(2, award("in the oldest name", 800)).unwrap();
    assert_eq!(town.unmerge(0, 2), Err(Refusal::NotMerged));
    town.unmerge(0, 1).unwrap();
    assert_eq!((town.balances(0).0, town.balances(1).0), (10, 68));
    town.unmerge(1, 2).unwrap();
    assert_eq!((town.balances(1).0, town.balances(2).0), (20, 48));
}

/// What was earned while two were one has repaid it: none of it goes back.
#[test]
fn a_debt_that_is_repaid_after_a_merge_does_not_go_back() {
    for (earned, owed) in [(0, 60), (45, 15), (60, 0), (200, 0)] {
        let mut town = Town::new(2, terms());
        town.run(1, award("b", 6_000)).unwrap();
        town.run(1, redeem(60)).unwrap();
        town.run(1, remaining("b", 0)).unwrap();
        town.merge(0, 1).unwrap();
        town.run(0, award("a", earned * 100)).unwrap();
        town.unmerge(0, 1).unwrap();
        assert_eq!((town.balances(0), town.balances(1)), ((earned - (60 - owed), 0, 0, 0), (0, 0, 0, owed)), "{earned} earned");
    }
}

/// The account that points were spent in.
fn redeemed_in(town: &Town, spent: Uuid) -> AccountId {
    town.benches.iter().find_map(|bench| bench.redemptions.get(&spent)).unwrap().account
}

/// What the terms forgive is not given away when what had spent it comes back, whoever has taken the account in by then.
#[test]
fn what_was_forgiven_is_taken_after_all_across_merges() {
    let forgiving = [(ReturnPolicy::WithinBalance, None), (ReturnPolicy::Unlimited, Some(30))];
    for (policy, cap) in forgiving {
        for steps in [
            "spend return merge refund",
            "spend merge return refund",
            "spend merge return unmerge refund",
            "spend return merge unmerge refund",
            "spend return merge again refund",
            "spend merge again return refund",
            "spend merge again return over refund",
            "spend return merge again over unmerge refund",
            "merge buy spend return unmerge refund",
            "merge buy spend unmerge return refund",
            "buy merge spend unmerge return refund",
            "merge buy other unmerge return refund",
            "buy merge other unmerge return refund",
            "buy merge spend unmerge retake return refund",
            "buy merge spend unmerge retake return leave refund",
            "merge buy spend again return over unmerge refund",
            "again merge buy spend over return unmerge refund",
            "again merge buy spend over unmerge return refund",
        ] {
            let mut town = Town::new(3, Terms { return_policy: policy, deficit_cap: cap, ..terms() });
            let mut spent = Uuid::nil();
            if !steps.contains("buy") {
                town.run(1, award("b", 10_000)).unwrap();
            }
            for step in steps.split(' ') {
                match step {
                    "spend" => {
                        town.run(1, redeem(100)).unwrap();
                        spent = town.last_operation(1);
                    }
                    "other" => {
                        town.run(0, redeem(100)).unwrap();
                        spent = town.last_operation(0);
                    }
                    "retake" => drop(town.merge(2, 1).unwrap()),
                    "leave" => drop(town.unmerge(2, 1).unwrap()),
                    "buy" => {
                        town.wait(DAY);
                        town.run(1, award("b", 10_000)).unwrap();
                    }
                    "return" => drop(town.run(1, remaining("b", 0)).unwrap()),
                    "merge" => drop(town.merge(0, 1).unwrap()),
                    "again" => drop(town.merge(2, 0).unwrap()),
                    "over" => drop(town.unmerge(2, 0).unwrap()),
                    "unmerge" => drop(town.unmerge(0, 1).unwrap()),
                    _ => {
                        let holds = (0..3).find(|member| town.benches[*member].id() == redeemed_in(&town, spent)).unwrap();
                        town.run(holds, refund(spent, None)).unwrap();
                        town.wait(DAY);
                    }
                }
            }
            let all: i64 = (0..3).map(|member| town.balances(member)).map(|(active, _, _, deficit)| active - deficit).sum();
            assert_eq!(all, 0, "{policy:?} {cap:?}: {steps}");
            // Nothing more is taken of what is earned and spent afterwards.
            town.run(1, award("c", 20_000)).unwrap();
            let had = town.balances(town.home(1));
            town.run(1, redeem(had.0)).unwrap();
            let spent = town.last_operation(1);
            town.run(1, refund(spent, None)).unwrap();
            assert_eq!(town.balances(town.home(1)), had, "{policy:?} {cap:?}: {steps}");
        }
    }
}

/// The survivor's books do not know what the other's give up once the two are apart: it is owed there, also by points that were held.
#[test]
fn what_was_spent_while_two_were_one_is_owed_when_the_goods_go_back_afterwards() {
    let mut town = Town::new(2, Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
    town.run(1, award("b", 10_000)).unwrap();
    town.merge(0, 1).unwrap();
    town.run(1, reserve(60)).unwrap();
    town.run(1, refunds::paid("paid", 4_000, Vec::new(), Vec::new())).unwrap();
    town.run(1, redeem(80)).unwrap();
    let spent = town.last_operation(1);
    town.unmerge(0, 1).unwrap();
    town.run(1, remaining("b", 0)).unwrap();
    town.run(1, remaining("paid", 0)).unwrap();
    assert_eq!((town.balances(0), town.balances(1)), ((0, 0, 60, 0), (0, 0, 0, 140)));
    town.run(0, refund(spent, None)).unwrap();
    town.wait(DAY);
    assert_eq!((town.balances(0), town.balances(1)), ((140, 0, 0, 0), (0, 0, 0, 140)));
    // What is earned and spent from then on is forgiven as the terms say.
    town.run(1, award("c", 24_000)).unwrap();
    town.run(1, redeem(100)).unwrap();
    town.run(1, remaining("c", 0)).unwrap();
    assert_eq!(town.balances(1), (0, 0, 0, 0));
}

#[test]
fn what_was_spent_while_two_were_one_is_owed_when_what_it_paid_goes_back_with_the_goods() {
    let mut town = Town::new(2, Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
    town.merge(0, 1).unwrap();
    town.run(1, award("b", 10_000)).unwrap();
    town.run(1, redeem(100)).unwrap();
    let spent = town.last_operation(1);
    town.run(1, refunds::paid("c", 10_000, Vec::new(), vec![spent])).unwrap();
    town.run(1, redeem(100)).unwrap();
    town.unmerge(0, 1).unwrap();
    town.goods_go_back(1, 0, "c", 0).unwrap();
    town.run(1, remaining("b", 0)).unwrap();
    assert_eq!((town.balances(0), town.balances(1)), ((100, 0, 0, 0), (0, 0, 0, 200)));
}

#[test]
fn what_one_was_forgiven_is_not_taken_of_what_the_other_had_spent_before_they_were_one() {
    for survivor in [0, 1] {
        let mut town = two(Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
        town.run(0, redeem(100)).unwrap();
        let of_another = town.last_operation(0);
        town.run(1, redeem(60)).unwrap();
        let own = town.last_operation(1);
        town.run(1, remaining("b", 0)).unwrap();
        town.merge(survivor, 1 - survivor).unwrap();
        town.run(0, refund(of_another, None)).unwrap();
        assert_eq!(town.balances(survivor).0, 100, "the survivor is {survivor}");
        town.run(1, refund(own, None)).unwrap();
        assert_eq!(town.balances(survivor).0, 100, "the survivor is {survivor}");
    }
}

/// The clock of one process may be behind that of another: the order of events across accounts is that of the merge all the same.
#[test]
fn what_was_spent_before_a_merge_is_recorded_before_what_is_forgiven_after_it() {
    let mut town = Town::new(2, Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
    town.run(1, award("b", 6_000)).unwrap();
    town.run(1, redeem(60)).unwrap();
    let spent = town.last_operation(1);
    town.benches[0].now = at("2026-01-15T11:00:00Z");
    town.merge(0, 1).unwrap();
    town.run(1, remaining("b", 0)).unwrap();
    town.run(1, refund(spent, None)).unwrap();
    assert_eq!(town.balances(0), (0, 0, 0, 0));
}

#[test]
fn what_was_forgiven_at_many_times_is_kept_in_a_list_with_an_end() {
    let mut town = Town::new(2, Terms { return_policy: ReturnPolicy::WithinBalance, ..terms() });
    let mut spent = Vec::new();
    for round in 0..2 * given_up::GIVEN_UP_MAX {
        town.run(1, award(&round.to_string(), 1_000)).unwrap();
        town.run(1, redeem(10)).unwrap();
        spent.push(town.last_operation(1));
        town.run(1, remaining(&round.to_string(), 0)).unwrap();
    }
    town.merge(0, 1).unwrap();
    assert_eq!(town.benches[0].account.wallets[0].given_up.len(), given_up::GIVEN_UP_MAX);
    for redemption in spent {
        town.run(1, refund(redemption, None)).unwrap();
        assert_eq!(town.balances(0).0, 0);
    }
    assert_eq!(town.benches[0].account.wallets[0].given_up, []);
}

/// What was spent while two were one is in the survivor's books, and goes back there when they are two again.
#[test]
fn what_paid_while_two_were_one_goes_back_where_it_came_from() {
    for wait in [false, true] {
        let mut town = two(terms());
        town.merge(0, 1).unwrap();
        town.run(1, redeem(80)).unwrap();
        let spent = town.last_operation(1);
        town.run(1, refunds::paid("c", 4_000, Vec::new(), vec![spent])).unwrap();
        town.unmerge(0, 1).unwrap();
        let before = (town.balances(0).0, town.balances(1).0);
        if wait {
            town.merge(2, 0).unwrap();
        }
        let survivor = town.home(0);
        let half = town.goods_go_back(1, 0, "c", 2_000).unwrap();
        assert_eq!((half.restored.points, half.summary.due_delta), (40, -20));
        town.goods_go_back(1, 0, "c", 0).unwrap();
        assert_eq!((town.balances(survivor).0, town.balances(1).0), (before.0 + 80, before.1 - 40));
        assert_eq!(town.goods_go_back(1, 0, "c", 0).unwrap_err(), Refusal::NothingToReturn);
    }
}

proptest! {
    /// Buying, spending, returning, refunding and becoming one in whatever order, until all has gone back, leaves what there was.
    #[test]
    fn nothing_is_gained_across_merges_once_everything_has_gone_back(
        steps in proptest::collection::vec((0_usize..10, 0_usize..3, any::<usize>(), 1_i64..100), 1..40),
        cap in proptest::option::of(0_i64..60),
    ) {
        let policy = if cap.is_some() { ReturnPolicy::Unlimited } else { ReturnPolicy::WithinBalance };
        let mut town = Town::new(3, Terms { return_policy: policy, deficit_cap: cap, life: Life::Unlimited, ..terms() });
        let mut spends: Vec<(usize, Uuid)> = Vec::new();
        let mut bought: Vec<(usize, String)> = Vec::new();
        for (number, (step, who, which, size)) in steps.into_iter().enumerate() {
            match step {
                0..3 => {
                    town.run(who, award(&number.to_string(), size * 100)).unwrap();
                    bought.push((who, number.to_string()));
                }
                3..6 if town.balances(town.home(who)).0 > 0 => {
                    let all = town.balances(town.home(who)).0;
                    town.run(who, redeem(if which % 2 == 0 { all } else { (all * size / 100).max(1) })).unwrap();
                    spends.push((who, town.last_operation(who)));
                }
                6..8 if !bought.is_empty() => {
                    let (who, id) = bought[which % bought.len()].clone();
                    let left = town.purchases().find(|purchase| *purchase.input.id.0 == *id).unwrap().remaining_net;
                    let _ = town.run(who, remaining(&id, if size % 2 == 0 { 0 } else { left * (size - 1) / 100 }));
                }
                8 if !spends.is_empty() => {
                    let (who, redemption) = spends[which % spends.len()];
                    let _ = town.run(who, refund(redemption, Some(size)));
                }
                9 => {
                    let (one, other) = (town.home(who), town.home((who + 1 + which % 2) % 3));
                    if one != other {
                        town.merge(one, other).unwrap();
                    }
                }
                _ => {}
            }
        }
        for (who, id) in bought {
            let _ = town.run(who, remaining(&id, 0));
        }
        for (who, redemption) in spends {
            let _ = town.run(who, refund(redemption, None));
        }
        for member in 0..3 {
            prop_assert_eq!(town.balances(member), (0, 0, 0, 0), "member {}", member);
        }
    }
}
