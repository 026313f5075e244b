use std::collections::BTreeMap;

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::*;
use crate::domain::MemberFilter;

const WEEK: [Weekday; 7] =
    [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday, Weekday::Saturday, Weekday::Sunday];

fn effects() -> impl Strategy<Value = Effect> {
    prop_oneof![
        (1_i64..=1_000_000_000_000).prop_map(Effect::AmountOff),
        (1_i64..5_000).prop_map(Effect::AmountOff),
        (1_i32..=10_000, prop::option::of(1_i64..10_000)).prop_map(|(basis_points, at_most)| Effect::PercentOff { basis_points, at_most }),
        (0_i64..3_000, 1_i64..10).prop_map(|(price, pieces)| Effect::FixedPrice { price, pieces }),
        (1_i64..4, 1_i64..4, prop::option::of(1_i64..5)).prop_map(|(buy, get, times_max)| Effect::BuyGet { buy, get, times_max }),
        Just(Effect::FreeDelivery),
    ]
}

fn nets() -> impl Strategy<Value = i64> {
    prop_oneof![0_i64..10_000, 0_i64..=1_000_000_000_000]
}

fn baskets() -> impl Strategy<Value = Basket> {
    let line = (0_usize..4, 0_usize..3, prop_oneof![1_i64..6, 1_i64..=1_000_000], nets());
    (proptest::collection::vec(line, 0..12), nets(), any::<bool>()).prop_map(|(lines, delivery, in_store)| Basket {
        lines: lines
            .into_iter()
            .enumerate()
            .map(|(number, (sku, category, quantity, net))| BasketLine {
                id: format!("l{number}"),
                sku: format!("sku{sku}"),
                category: format!("category{category}"),
                quantity,
                net,
            })
            .collect(),
        delivery,
        store: if in_store { "s1" } else { "" }.to_owned(),
        channel: "app".to_owned(),
    })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let minimum = prop_oneof![Just(0), 0_i64..20_000];
    (minimum, any::<[bool; 6]>(), 0_i32..1440, 0_i32..=1440).prop_map(|(minimum_spend, asks, start, end)| Conditions {
        minimum_spend,
        skus: if asks[0] { vec!["sku1".to_owned()] } else { Vec::new() },
        categories: if asks[1] { vec!["category1".to_owned()] } else { Vec::new() },
        stores: if asks[2] { vec!["s1".to_owned()] } else { Vec::new() },
        channels: if asks[3] { vec!["app".to_owned()] } else { Vec::new() },
        windows: if asks[4] { vec![window(&WEEK[..5], start, end)] } else { Vec::new() },
        first_order: asks[5],
        dormant_days: None,
        members: MemberFilter::default(),
        birthday: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// No line and no delivery gets more than it costs, nothing goes up, only lines that the voucher is for go down, and the parts are what
    /// the effect says in all.
    #[test]
    fn a_discount_is_exact(effect in effects(), conditions in conditions(), basket in baskets(), first_order: bool) {
        let terms = VoucherTerms { conditions: conditions.clone(), ..voucher(effect.clone()) };
        let situation = Situation { first_order, ..situation("2026-03-02T00:00:00Z") };
        let priced = match price(&terms, &basket, &situation) {
            Ok(priced) => priced,
            Err(obstacles) => {
                prop_assert!(!obstacles.is_empty());
                return Ok(());
            }
        };
        prop_assert_eq!(conditions.obstacles(&basket, &situation), vec![]);
        prop_assert!(priced.total() > 0 && priced.total() <= basket.total() + basket.delivery);
        prop_assert!((0..=basket.delivery).contains(&priced.delivery));
        let mut eligible = 0;
        for (line, off) in basket.lines.iter().zip(&priced.lines) {
            prop_assert!((0..=line.net).contains(off));
            prop_assert!(*off == 0 || conditions.admits(line));
            eligible += if conditions.admits(line) { line.net } else { 0 };
        }
        match effect {
            Effect::AmountOff(amount) => prop_assert_eq!(priced.total(), amount.min(eligible)),
            Effect::PercentOff { basis_points, at_most } => {
                let part = i64::try_from(i128::from(eligible) * i128::from(basis_points) / 10_000).unwrap();
                prop_assert_eq!(priced.total(), part.min(at_most.unwrap_or(i64::MAX)));
            }
            Effect::FreeDelivery => prop_assert_eq!(priced.total(), basket.delivery),
            Effect::FixedPrice { .. } | Effect::BuyGet { .. } => prop_assert_eq!(priced.delivery, 0),
        }
    }

    /// Pieces one by one, by a simple sort: what buying pieces for a price or free with others must come to.
    #[test]
    fn pieces_are_those_that_a_plain_list_gives(
        effect in prop_oneof![
            (0_i64..3_000, 1_i64..10).prop_map(|(price, pieces)| Effect::FixedPrice { price, pieces }),
            (1_i64..4, 1_i64..4, prop::option::of(1_i64..5)).prop_map(|(buy, get, times_max)| Effect::BuyGet { buy, get, times_max }),
        ],
        lines in proptest::collection::vec((1_i64..6, 0_i64..20_000), 1..8),
    ) {
        let line = |(number, (quantity, net)): (usize, &(i64, i64))| {
            BasketLine { id: format!("l{number}"), sku: String::new(), category: String::new(), quantity: *quantity, net: *net }
        };
        let basket = Basket { lines: lines.iter().enumerate().map(line).collect(), ..Basket::default() };
        let piece = |line: &BasketLine, piece: i64| line.net / line.quantity + i64::from(piece < line.net % line.quantity);
        let mut pieces: Vec<i64> = basket.lines.iter().flat_map(|line| (0..line.quantity).map(|number| piece(line, number))).collect();
        pieces.sort_unstable();
        let expected: i64 = match &effect {
            Effect::FixedPrice { price, pieces: most } => {
                pieces.iter().rev().take(usize::try_from(*most).unwrap()).map(|piece| (piece - price).max(0)).sum()
            }
            Effect::BuyGet { buy, get, times_max } => {
                let times = (i64::try_from(pieces.len()).unwrap() / (buy + get)).min(times_max.unwrap_or(i64::MAX));
                pieces.iter().take(usize::try_from(times * get).unwrap()).sum()
            }
            other => panic!("no pieces: {other:?}"),
        };
        let off = price(&voucher(effect), &basket, &situation("2026-03-02T00:00:00Z")).map_or(0, |priced| priced.total());
        prop_assert_eq!(off, expected);
    }

    /// Vouchers of one order, each on what those before it have left: together they take off no more than there was.
    #[test]
    fn vouchers_on_one_basket_take_off_what_is_there(effects in proptest::collection::vec(effects(), 1..5), basket in baskets()) {
        let situation = situation("2026-03-02T00:00:00Z");
        let (mut left, mut taken) = (basket.clone(), 0);
        for effect in effects {
            let Ok(priced) = price(&voucher(effect), &left, &situation) else { continue };
            taken += priced.total();
            left.delivery -= priced.delivery;
            left.lines.iter_mut().zip(&priced.lines).for_each(|(line, off)| line.net -= off);
        }
        prop_assert!(left.delivery >= 0 && left.lines.iter().all(|line| line.net >= 0));
        prop_assert_eq!(left.total() + left.delivery + taken, basket.total() + basket.delivery);
    }

    /// Each line gets the same wherever it stands.
    #[test]
    fn the_order_of_lines_does_not_matter(effect in effects(), conditions in conditions(), basket in baskets(), seed: u64) {
        let mut shuffled = basket.clone();
        shuffled.lines.sort_by_key(|line| line.id.bytes().fold(seed, |sum, byte| sum.rotate_left(9) ^ u64::from(byte).wrapping_mul(seed | 1)));
        let terms = VoucherTerms { conditions, ..voucher(effect) };
        let situation = situation("2026-03-02T00:00:00Z");
        let by_line = |basket: &Basket| {
            let priced = price(&terms, basket, &situation)?;
            let lines = basket.lines.iter().zip(&priced.lines).map(|(line, off)| (line.id.clone(), *off));
            Ok::<_, Vec<Obstacle>>((lines.collect::<BTreeMap<_, _>>(), priced.delivery))
        };
        prop_assert_eq!(by_line(&basket), by_line(&shuffled));
    }
}
