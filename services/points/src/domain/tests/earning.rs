//! Several rates, and what of a line counts.

use proptest::prelude::*;

use super::*;

/// Of a category, with tax and what was taken off.
fn of(category: &str, id: &str, quantity: i64, [net, tax, discount]: [i64; 3]) -> Line {
    Line { category: category.to_owned(), tax, discount, ..line(id, quantity, net) }
}

fn rate(id: &str, points_per_unit: &str, lines: LineFilter) -> EarnRate {
    EarnRate { id: id.into(), points_per_unit: points_per_unit.parse().unwrap(), lines, stores: Vec::new(), channels: Vec::new() }
}

fn category(name: &str) -> LineFilter {
    LineFilter { categories: vec![name.to_owned()], ..LineFilter::default() }
}

/// Coffee earns two and a half, tobacco nothing, the rest one.
fn rates() -> Vec<EarnRate> {
    vec![rate("tobacco", "0", category("tobacco")), rate("coffee", "2.5", category("coffee"))]
}

/// What a receipt says.
fn receipt(terms: Terms, basket: &Basket<'_>) -> Vec<String> {
    let versions = versions(terms);
    let version = versions.at(basket.occurred_at);
    let ids = version.terms.promotions.iter().map(|promotion| Applied { id: promotion.id.clone(), at_most: None }).collect();
    let facts = FrozenFacts { promotions: ids, tier: "gold".to_owned(), multiplier: "1.5".parse().unwrap(), ..FrozenFacts::of_stranger(1) };
    let explanation = version.points_for(basket, &facts).unwrap();
    let part = |part: &super::super::terms::Component| {
        format!("{} {}={}", part.source, part.factor.map(|factor| factor.to_string()).unwrap_or_default(), part.points)
    };
    explanation.components.iter().map(part).collect()
}

#[test]
fn a_line_earns_by_the_first_rate_that_names_it() {
    let lines = [
        of("coffee", "1", 2, [1_000, 0, 0]),
        of("tobacco", "2", 1, [2_000, 0, 0]),
        of("cake", "3", 1, [399, 0, 0]),
        of("coffee", "4", 1, [99, 0, 0]),
    ];
    let whole = promotions::basket(3_498, &lines);
    let with = |earn_rates| receipt(Terms { earn_rates, ..terms() }, &whole);
    // Each is rounded once: coffee for 10.99 at 2.5 is 27.475.
    assert_eq!(with(rates()), ["base 1=3", "base:tobacco 0=0", "base:coffee 2.5=27", "tier:gold 1.5=15"]);
    let other_store = EarnRate { stores: vec!["programs/tea/stores/two".to_owned()], ..rate("here", "9", LineFilter::default()) };
    let this_store = EarnRate { stores: vec!["programs/tea/stores/one".to_owned()], ..other_store.clone() };
    let all = |first: EarnRate| std::iter::once(first).chain(rates()).collect::<Vec<_>>();
    assert_eq!(with(all(other_store))[0], "base 1=3");
    assert_eq!(with(all(this_store)), ["base:here 9=314", "tier:gold 1.5=157"]);
    let by_app = EarnRate { channels: vec!["app".to_owned()], ..rate("app", "3", LineFilter::default()) };
    assert_eq!(with(vec![by_app.clone()])[0], "base 1=34");
    // A purchase without lines earns by a rate that asks for none.
    let no_lines = Basket { channel: "app", ..promotions::basket(1_000, &[]) };
    assert_eq!(receipt(Terms { earn_rates: all(by_app), ..terms() }, &no_lines)[0], "base:app 3=30");
    assert_eq!(receipt(Terms { earn_rates: rates(), ..terms() }, &no_lines)[0], "base 1=10");
}

#[test]
fn the_basis_says_what_of_a_line_counts() {
    let lines = [of("coffee", "1", 3, [1_000, 190, 400]), of("tobacco", "2", 1, [2_000, 380, 0])];
    let bases = [(false, false, 25), (true, false, 29), (false, true, 35), (true, true, 39)];
    for (tax, discounts, coffee) in bases {
        let terms = || Terms { earn_rates: rates(), basis: Basis { tax, discounts }, ..terms() };
        assert_eq!(receipt(terms(), &promotions::basket(3_000, &lines))[1], format!("base:coffee 2.5={coffee}"));
        let no_lines = Basket { tax: 190, discount: 400, ..promotions::basket(1_000, &[]) };
        let all = receipt(Terms { earn_rates: Vec::new(), ..terms() }, &no_lines);
        assert_eq!(all[0], format!("base 1={}", 10 + i64::from(tax) + 4 * i64::from(discounts)));
    }
}

#[test]
fn a_promotion_multiplies_what_its_lines_earn_at_their_rates() {
    let lines = [of("coffee", "1", 1, [1_000, 0, 0]), of("tobacco", "2", 1, [2_000, 0, 0]), of("cake", "3", 1, [800, 0, 0])];
    let double = |lines: LineFilter| Promotion {
        id: "double".into(),
        title: "Double".to_owned(),
        gives: Gives::Multiplier(Decimal::TWO),
        asks: Asks::default(),
        lines,
        spend_min: 0,
        points_max: None,
        group: None,
        priority: 0,
        limit: None,
        budget: None,
        wallet: None,
    };
    let given = |filter: LineFilter| {
        let terms = Terms { earn_rates: rates(), promotions: vec![double(filter)].into(), ..terms() };
        receipt(terms, &promotions::basket(3_800, &lines)).into_iter().find(|part| part.starts_with("promotion")).unwrap_or_default()
    };
    assert_eq!(given(LineFilter::default()), "promotion:double 2=33", "as many as the base");
    assert_eq!(given(category("coffee")), "promotion:double 2=25");
    assert_eq!(given(LineFilter { excluded_categories: vec!["coffee".to_owned()], ..LineFilter::default() }), "promotion:double 2=8");
    assert_eq!(given(category("tobacco")), "", "nothing is doubled");
}

#[test]
fn what_goes_back_takes_what_it_earned_along() {
    let lines = vec![of("coffee", "1", 2, [1_000, 0, 0]), of("tobacco", "2", 1, [1_000, 0, 0])];
    let bench = || {
        let mut bench = Bench::new(Terms { earn_rates: rates(), ..terms() });
        bench.run(award_lines("p", 2_000, lines.clone())).unwrap();
        bench
    };
    let mut by_lines = bench();
    by_lines.run(back("p", &[("2", 1)])).unwrap();
    assert_eq!(by_lines.active(), 25, "tobacco earned nothing");
    by_lines.run(back("p", &[("1", 1)])).unwrap();
    assert_eq!(by_lines.active(), 12);
    let mut by_amount = bench();
    by_amount.run(remaining("p", 1_000)).unwrap();
    assert_eq!(by_amount.active(), 12, "half of everything");
    by_amount.run(back("p", &[("2", 1)])).unwrap();
    assert_eq!(by_amount.active(), 12, "and it does not rise again");
    by_amount.run(back("p", &[("1", 1)])).unwrap();
    assert_eq!(by_amount.active(), 12, "half of the coffee is back already");
    by_amount.run(back("p", &[("1", 1)])).unwrap();
    assert_eq!(by_amount.active(), 0);
}

/// Rates of three categories, and two places.
fn any_rates() -> impl Strategy<Value = Vec<EarnRate>> {
    let lines = prop_oneof![
        "[abc]".prop_map(|name| category(&name)),
        "[abc]".prop_map(|name| LineFilter { excluded_categories: vec![name], ..LineFilter::default() }),
        Just(LineFilter { skus: vec!["sku".to_owned()], ..LineFilter::default() }),
    ];
    let one = (prop_oneof![Just(0), 1_i64..4_000], lines, any::<bool>());
    let rate = |(thousandths, lines, in_store): (i64, LineFilter, bool)| EarnRate {
        channels: vec![if in_store { "store" } else { "app" }.to_owned()],
        points_per_unit: Decimal::new(thousandths, 3),
        ..rate("r", "0", lines)
    };
    proptest::collection::vec(one.prop_map(rate), 0..5).prop_map(|mut all| {
        all.iter_mut().enumerate().for_each(|(number, rate)| rate.id = format!("r{number}").into());
        all
    })
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let rounding = prop_oneof![Just(PointRounding::Down), Just(PointRounding::HalfUp), Just(PointRounding::Up)];
    (any_rates(), any::<[bool; 2]>(), rounding, promotions::any_promotions(), 0_i64..3_000).prop_map(
        |(earn_rates, [tax, discounts], rounding, promotions, general)| Terms {
            earn_rates,
            basis: Basis { tax, discounts },
            rounding,
            promotions: promotions.into(),
            points_per_unit: Decimal::new(general, 3),
            ..terms()
        },
    )
}

fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    let line = ("[abcd]", any::<bool>(), 1_i64..5, [0_i64..3_000, 0_i64..500, 0_i64..900]);
    proptest::collection::vec(line, 1..6).prop_map(|lines| {
        let line = |(number, (category, has_sku, quantity, amounts)): (usize, (String, bool, i64, [i64; 3]))| Line {
            sku: if has_sku { "sku".to_owned() } else { String::new() },
            ..of(&category, &number.to_string(), quantity, amounts)
        };
        lines.into_iter().enumerate().map(line).collect()
    })
}

/// A member of a tier who has bought it.
fn bought(terms: &Terms, lines: &[Line], multiplier: i64) -> Bench {
    let mut bench = Bench::new(terms.clone());
    bench.facts.tiers.push(TierInterval {
        scheme: "s".to_owned(),
        tier: "t".to_owned(),
        multiplier: Decimal::new(multiplier, 3),
        start_at: Timestamp::MIN,
        end_at: None,
    });
    bench.run(award_lines("p", lines.iter().map(|line| line.net).sum(), lines.to_vec())).unwrap();
    bench
}

/// Gives back a piece of the line at an index, if one is left; or, beyond the lines, a part of what is left of the money.
fn step(bench: &mut Bench, (which, part): (usize, i64)) {
    let purchase = &bench.purchases[0];
    match purchase.input.lines.get(which) {
        Some(line) if line.left() > 0 => {
            let id = line.id.clone();
            bench.run(back("p", &[(&id, 1)])).unwrap();
        }
        Some(_) => {}
        None if purchase.remaining_net > 0 => {
            let left = purchase.remaining_net * part / 100;
            bench.run(remaining("p", left)).unwrap();
        }
        None => {}
    }
}

proptest! {
    /// However goods and amounts go back, points never rise, and nothing is left when everything is back.
    #[test]
    fn points_never_rise_when_something_goes_back(
        terms in any_terms(),
        lines in any_lines(),
        multiplier in 300_i64..3_000,
        steps in proptest::collection::vec((0_usize..8, 0_i64..100), 0..20),
    ) {
        let mut bench = bought(&terms, &lines, multiplier);
        for next in steps {
            let before = bench.purchases[0].clone();
            step(&mut bench, next);
            let after = &bench.purchases[0];
            prop_assert!(after.base <= before.base, "{before:?} {after:?}");
            if multiplier >= 1_000 {
                prop_assert!(after.due <= before.due, "{before:?} {after:?}");
            }
        }
        let rest: Vec<(String, i64)> = bench.purchases[0].input.lines.iter().filter(|line| line.left() > 0).map(|line| (line.id.clone(), line.left())).collect();
        let rest: Vec<(&str, i64)> = rest.iter().map(|(id, left)| (id.as_str(), *left)).collect();
        if !rest.is_empty() {
            bench.run(back("p", &rest)).unwrap();
        }
        prop_assert_eq!((bench.purchases[0].base, bench.purchases[0].due), (0, 0));
    }

    /// Pieces in any order, and any amounts on the way, end where one return of the whole ends.
    #[test]
    fn any_partition_of_a_return_ends_at_the_same_points(
        terms in any_terms(),
        lines in any_lines(),
        multiplier in 300_i64..3_000,
        pieces in proptest::collection::vec(0_usize..6, 0..12),
        amounts in proptest::collection::vec(1_i64..100, 0..4),
    ) {
        let mut sliced = bought(&terms, &lines, multiplier);
        for which in &pieces {
            if *which < lines.len() {
                step(&mut sliced, (*which, 0));
            }
        }
        let returned: Vec<(String, i64)> =
            sliced.purchases[0].input.lines.iter().filter(|line| line.returned > 0).map(|line| (line.id.clone(), line.returned)).collect();
        let returned: Vec<(&str, i64)> = returned.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect();
        let mut whole = bought(&terms, &lines, multiplier);
        if !returned.is_empty() {
            whole.run(back("p", &returned)).unwrap();
        }
        prop_assert_eq!(sliced.purchases[0].due, whole.purchases[0].due);
        // Down to an amount by several, after the goods and before them.
        let kept = whole.purchases[0].remaining_net;
        let last = amounts.iter().fold(kept, |left, part| left * part / 100);
        if last < kept {
            for part in &amounts {
                step(&mut sliced, (usize::MAX, *part));
            }
            whole.run(remaining("p", last)).unwrap();
            prop_assert_eq!(sliced.purchases[0].due, whole.purchases[0].due);
            let mut before = bought(&terms, &lines, multiplier);
            before.run(remaining("p", last)).unwrap();
            if !returned.is_empty() {
                before.run(back("p", &returned)).unwrap();
            }
            prop_assert_eq!(before.purchases[0].due, whole.purchases[0].due);
            prop_assert_eq!(before.balances(), whole.balances());
        }
    }

    /// A simulation under the same terms comes to what was awarded, also after something has gone back.
    #[test]
    fn a_simulation_comes_to_what_was_awarded(
        terms in any_terms(),
        lines in any_lines(),
        multiplier in 300_i64..3_000,
        steps in proptest::collection::vec((0_usize..8, 0_i64..100), 0..6),
    ) {
        let mut bench = bought(&terms, &lines, multiplier);
        let simulated = |bench: &Bench| {
            let mut simulation = Simulation::new(bench.id(), &bench.versions, bench.facts.clone());
            simulation.award(&bench.purchases[0]).unwrap().unwrap().0.points()
        };
        prop_assert_eq!(simulated(&bench), bench.purchases[0].due);
        for next in steps {
            step(&mut bench, next);
            prop_assert_eq!(simulated(&bench), bench.purchases[0].due);
        }
    }

    /// Where every line falls under one rate, rates and lines change nothing.
    #[test]
    fn one_rate_for_all_is_the_general_rate(lines in any_lines(), thousandths in 0_i64..4_000, left in 0_i64..100, rounding in any::<bool>()) {
        let rounding = if rounding { PointRounding::HalfUp } else { PointRounding::Down };
        let plain = Terms { points_per_unit: Decimal::new(thousandths, 3), rounding, ..terms() };
        let named = EarnRate { points_per_unit: plain.points_per_unit, channels: vec!["store".to_owned()], ..rate("all", "0", LineFilter::default()) };
        let rated = Terms { points_per_unit: Decimal::ZERO, earn_rates: vec![named], ..plain.clone() };
        let net: i64 = lines.iter().map(|line| line.net).sum();
        let mut no_lines = Bench::new(plain.clone());
        no_lines.run(award("p", net)).unwrap();
        let mut benches = [bought(&plain, &lines, 1_000), bought(&rated, &lines, 1_000), no_lines];
        let dues = benches.each_ref().map(|bench| bench.purchases[0].due);
        prop_assert_eq!(dues, [dues[0]; 3]);
        if net > 0 {
            let dues = benches.each_mut().map(|bench| {
                bench.run(remaining("p", net * left / 100)).unwrap();
                bench.purchases[0].due
            });
            prop_assert_eq!(dues, [dues[0]; 3]);
        }
    }
}
