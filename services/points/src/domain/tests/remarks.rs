//! What is said of terms is certain.

use proptest::prelude::*;

use super::*;

/// The same with days and channels asked for.
fn any_promotions() -> impl Strategy<Value = Vec<Promotion>> {
    let days = prop_oneof![Just(Vec::<i8>::new()), Just(vec![1, 2]), Just(vec![2]), Just(vec![5])];
    let channels = prop_oneof![Just(Vec::new()), Just(vec!["store".to_owned()]), Just(vec!["store".to_owned(), "app".to_owned()])];
    let asks = proptest::collection::vec((days, channels, any::<bool>()), 6);
    (promotions::any_promotions(), asks).prop_map(|(mut all, asks)| {
        for (promotion, (weekdays, channels, of_group)) in all.iter_mut().zip(asks) {
            let weekly = (!weekdays.is_empty()).then(|| promotions::weekly(&weekdays, 0, 1_440));
            promotion.asks = Asks { weekly, channels, ..Asks::default() };
            // Else there are too few that could beat each other.
            if of_group {
                (promotion.group, promotion.limit) = (Some("g".to_owned()), None);
            }
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A promotion of which it is said that another always goes before it applies to nothing.
    #[test]
    fn what_is_always_beaten_never_applies(
        promotions in any_promotions(),
        lines in proptest::collection::vec((any::<bool>(), 1_i64..4, 0_i64..4_000), 1..4),
        day in 0_u32..7,
        in_app in any::<bool>(),
    ) {
        let versions = versions(Terms { promotions: promotions.into(), ..terms() });
        let lines: Vec<Line> = lines
            .into_iter()
            .enumerate()
            .map(|(number, (has_sku, quantity, net))| Line { sku: if has_sku { "sku" } else { "" }.to_owned(), ..line(&number.to_string(), quantity, net) })
            .collect();
        let occurred_at = at("2026-05-11T09:30:00Z") + day * Duration::from_secs(86_400);
        let net = lines.iter().map(|line| line.net).sum();
        let basket = Basket { occurred_at, channel: if in_app { "app" } else { "store" }, ..promotions::basket(net, &lines) };
        let version = versions.at(occurred_at);
        let facts = Facts::default();
        let buyer = Buyer { facts: &facts, purchases: 0, last_purchase_at: None, counts: &[], shared: &[] };
        let applied = version.select(&basket, &buyer, Told::All).unwrap().applied;
        for remark in version.remarks(None) {
            let of = |(index, promotion): (usize, &Promotion)| {
                (remark.field == format!("promotions[{index}].stacking_group")).then(|| promotion.id.clone())
            };
            if let Some(beaten) = version.terms.promotions.iter().enumerate().find_map(of) {
                prop_assert!(applied.iter().all(|one| one.id != beaten), "{beaten}: {}", remark.text);
            }
        }
    }
}

#[test]
fn a_version_that_was_given_up_never_holds_and_is_still_found() {
    let holding = versions(terms());
    let given_up = Version { number: 2, start_at: at("2026-02-01T00:00:00Z"), ..holding.at(Timestamp::MAX).clone() };
    let versions = holding.with_given_up(vec![given_up]);
    assert_eq!((versions.at(Timestamp::MAX).number, versions.number(2).unwrap().number), (1, 2));
    assert_eq!(versions.number(3), None);
}

#[test]
fn a_rule_that_is_over_before_the_version_starts_is_told() {
    let rule = |count: i32| windows(&format!("FREQ=DAILY;COUNT={count}"), "2026-01-01T18:00".parse().unwrap(), 60, &Zone::UTC).unwrap();
    let asks = Asks { windows: Windows::new(&[rule(90), rule(59), rule(2)]), ..Asks::default() };
    let promotions = vec![Promotion { asks, ..promotions::points("p", 10) }];
    let running = versions(terms());
    let starting = |start_at: &str| {
        let versions = versions(Terms { promotions: promotions.clone().into(), ..terms() });
        Version { number: 2, start_at: at(start_at), ..versions.at(Timestamp::MAX).clone() }
    };
    let told = |version: &Version, running| version.remarks(running).into_iter().map(|remark| remark.field).collect::<Vec<_>>();
    let running = Some(running.at(Timestamp::MAX));
    assert_eq!(told(&starting("2026-02-28T18:59:59Z"), running), ["promotions[0].windows[2].rule"]);
    let both = ["promotions[0].windows[1].rule", "promotions[0].windows[2].rule"];
    assert_eq!(told(&starting("2026-02-28T19:00:00Z"), running), both);
    assert_eq!(told(&starting("2026-02-28T19:00:00Z"), None), [""; 0], "the first version holds for what lies before it");
}
