use proptest::prelude::*;

use super::*;

proptest! {
    /// Rule 5: any partition of a refund, by lines or by amount, in any order, ends at the same balance as one refund of the whole.
    #[test]
    fn any_partition_of_a_refund_equals_one(
        lines in proptest::collection::vec((1_i64..5, 0_i64..5_000), 1..5),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..25),
        multiplier in prop_oneof![Just("1"), Just("1.25"), Just("2"), Just("0.333")],
        spent in 0_i64..200,
        policy in prop_oneof![Just(ReturnPolicy::Unlimited), Just(ReturnPolicy::WithinBalance), Just(ReturnPolicy::OnlyPending)],
        promotions in promotions::any_promotions(),
        rate_of_stars in prop_oneof![Just(""), Just("0"), Just("0.5"), Just("3")],
        into_stars in any::<u8>(),
    ) {
        // In some cases there is another wallet, and some promotions give in that.
        let mut promotions = promotions;
        let into = |number: usize| (!rate_of_stars.is_empty() && into_stars >> number & 1 == 1).then(|| "stars".into());
        promotions.iter_mut().enumerate().for_each(|(number, promotion)| promotion.wallet = into(number));
        let wallets: Vec<WalletTerms> = rate_of_stars.parse().ok().map(wallets::stars).into_iter().collect();
        let net = lines.iter().map(|(_, net)| net).sum();
        let bought: Vec<Line> = lines.iter().enumerate().map(|(number, (quantity, net))| line(&number.to_string(), *quantity, *net)).collect();
        let bench = || {
            let mut bench = Bench::new(Terms { return_policy: policy, promotions: promotions.clone().into(), wallets: wallets.clone(), ..terms() });
            bench.facts.tiers.push(TierInterval {
                scheme: "s".to_owned(),
                tier: "t".to_owned(),
                multiplier: multiplier.parse().unwrap(),
                start_at: Timestamp::MIN,
                end_at: None,
            });
            bench.run(award("other", 5_000)).unwrap();
            bench.run(award_lines("p", net, bought.clone())).unwrap();
            bench.run(redeem(spent.min(bench.active()).max(1))).unwrap_or(Outcome::Adjusted { points: 0 });
            bench.run(within("stars", redeem(spent.min(bench.account.active("stars")).max(1)))).unwrap_or(Outcome::Adjusted { points: 0 });
            bench
        };
        // The pieces one by one in a random order, then the rest of each line.
        let mut sliced = bench();
        let mut left: Vec<i64> = bought.iter().map(|line| line.quantity).collect();
        for index in order {
            let which = index.index(left.len());
            if left[which] > 0 {
                sliced.run(back("p", &[(&which.to_string(), 1)])).unwrap();
                left[which] -= 1;
            }
        }
        let returned: Vec<(String, i64)> = bought.iter().zip(&left).map(|(line, left)| (line.id.clone(), line.quantity - left)).collect();
        let returned: Vec<(&str, i64)> = returned.iter().filter(|(_, quantity)| *quantity > 0).map(|(id, quantity)| (id.as_str(), *quantity)).collect();
        let mut whole = bench();
        if !returned.is_empty() {
            whole.run(back("p", &returned)).unwrap();
        }
        prop_assert_eq!(sliced.balances(), whole.balances());
        prop_assert_eq!(sliced.purchases[1].due, whole.purchases[1].due);
        prop_assert_eq!(wallets::figures(&sliced, "stars"), wallets::figures(&whole, "stars"));
        prop_assert_eq!(&sliced.purchases[1].others, &whole.purchases[1].others);
        if policy == ReturnPolicy::Unlimited {
            prop_assert_eq!(&sliced.account.counts, &whole.account.counts);
        }
        // And nothing can be earned by buying, refunding and keeping.
        let rest = sliced.purchases[1].remaining_net;
        if rest > 0 {
            sliced.run(remaining("p", 0)).unwrap();
        }
        prop_assert_eq!(sliced.purchases[1].due, 0);
        prop_assert!(sliced.purchases[1].others.iter().all(|earned| earned.due == 0));
    }

    /// Rule 7: a preview is the same function, so it cannot differ; what could is the rounding of parts, so they must add up.
    #[test]
    fn the_parts_of_an_award_add_up(
        net in 0_i64..10_000_000,
        multiplier in 0_i64..10_000,
        promotions in promotions::any_promotions(),
    ) {
        let ids = promotions.iter().map(|promotion| Applied { id: promotion.id.clone(), at_most: None }).collect();
        let versions = versions(Terms { points_per_unit: "1.5".parse().unwrap(), rounding: PointRounding::HalfUp, promotions: promotions.into(), ..terms() });
        let multiplier = Decimal::new(multiplier, 3);
        let facts = FrozenFacts {
            version: 1,
            tier: "t".to_owned(),
            multiplier,
            first_purchase: false,
            promotions: ids,
            tallied: Vec::new(),
            bound: None,
        };
        let basket = promotions::basket(net, &[]);
        let explanation = versions.at(Timestamp::MAX).points_for(&basket, &facts).unwrap();
        prop_assert_eq!(explanation.points(), explanation.components.iter().map(|part| part.points).sum::<i64>());
        prop_assert!(explanation.points() >= 0);
    }
}
