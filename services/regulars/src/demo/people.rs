//! Who lives in the demo's town, what the shops sell, and how people are.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Something on the menu.
pub(super) struct Product {
    pub(super) sku: &'static str,
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    /// Price in minor units.
    pub(super) price: i64,
}

const fn product(sku: &'static str, name: &'static str, category: &'static str, price: i64) -> Product {
    Product { sku, name, category, price }
}

pub(super) const MENU: [Product; 12] = [
    product("T-101", "jasmine green", "tea", 1800),
    product("T-102", "iron goddess oolong", "tea", 2200),
    product("T-103", "aged pu'er", "tea", 2800),
    product("T-104", "white peony", "tea", 2400),
    product("M-201", "pearl milk tea", "milk tea", 1900),
    product("M-202", "brown sugar milk tea", "milk tea", 2300),
    product("M-203", "oat milk hojicha", "milk tea", 2500),
    product("F-301", "grapefruit green", "fruit tea", 2100),
    product("F-302", "mango sago", "fruit tea", 2650),
    product("B-401", "egg tart", "bakery", 950),
    product("B-402", "taro roll", "bakery", 1250),
    product("L-501", "tin of loose leaf", "shop", 8800),
];

/// A store of the chain.
pub(super) struct Place {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) tills: usize,
    /// How likely a guest is to be delighted, of 100.
    pub(super) charm: u32,
}

pub(super) const PLACES: [Place; 4] = [
    Place { id: "riverside", name: "Riverside", tills: 3, charm: 74 },
    Place { id: "old-town", name: "Old Town", tills: 2, charm: 66 },
    Place { id: "station", name: "Station", tills: 2, charm: 38 },
    Place { id: "garden", name: "Garden", tills: 1, charm: 82 },
];

const FIRST_NAMES: [&str; 40] = [
    "Mei", "Bo", "Lan", "Jun", "Xia", "Wei", "Hua", "Ling", "Tao", "Yun", "Ming", "Qing", "Rui", "Fen", "Gang", "Hong", "Jia", "Kai",
    "Lei", "Na", "Ping", "Qi", "Rong", "Shan", "Ting", "Wen", "Xin", "Yan", "Zhen", "Ana", "Ben", "Carla", "David", "Elif", "Finn",
    "Greta", "Hugo", "Ines", "Jonas", "Kira",
];

/// How often somebody comes and how much they buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nearly every day.
    Regular,
    /// Once or twice a week.
    Weekly,
    /// Now and then.
    Rare,
}

impl Habit {
    pub(super) fn of(dice: &mut StdRng) -> Habit {
        match dice.random_range(0..10) {
            0..2 => Habit::Regular,
            2..6 => Habit::Weekly,
            _ => Habit::Rare,
        }
    }

    /// The chance of a visit on a day.
    pub(super) fn visits(self) -> f64 {
        match self {
            Habit::Regular => 0.6,
            Habit::Weekly => 0.22,
            Habit::Rare => 0.07,
        }
    }
}

/// Pieces of each product that one guest takes.
pub(super) fn basket(dice: &mut StdRng) -> Vec<(&'static Product, i64)> {
    let lines = *[1, 1, 1, 2, 2, 3].choose(dice).unwrap_or(&1);
    let mut basket: Vec<(&'static Product, i64)> = Vec::new();
    for _ in 0..lines {
        let product = &MENU[dice.random_range(0..MENU.len())];
        // Loose leaf is a present, not a drink.
        if product.category == "shop" && dice.random_bool(0.7) {
            continue;
        }
        match basket.iter_mut().find(|(known, _)| known.sku == product.sku) {
            Some((_, pieces)) => *pieces += 1,
            None => basket.push((product, if dice.random_bool(0.2) { 2 } else { 1 })),
        }
    }
    if basket.is_empty() {
        basket.push((&MENU[0], 1));
    }
    basket
}

/// What somebody answers who was asked how likely a recommendation is.
pub(super) fn score(charm: u32, dice: &mut StdRng) -> i32 {
    match dice.random_range(0..100) {
        roll if roll < charm => dice.random_range(9..=10),
        roll if roll < charm + (100 - charm) / 2 => dice.random_range(7..=8),
        _ => dice.random_range(1..=6),
    }
}

/// First name and phone of somebody new. Phones of one demo differ.
pub(super) fn newcomer(number: u32, dice: &mut StdRng) -> (&'static str, String) {
    let name = FIRST_NAMES.choose(dice).copied().unwrap_or("Mei");
    (name, format!("+86139{:08}", number))
}

/// Dice of a seed.
pub(super) fn dice(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let story = |seed| {
            let mut dice = dice(seed);
            let basket = basket(&mut dice).iter().map(|(product, pieces)| (product.sku, *pieces)).collect::<Vec<_>>();
            (basket, score(50, &mut dice), newcomer(1, &mut dice))
        };
        assert_eq!(story(7), story(7));
        assert!((0..20).any(|seed| story(seed) != story(7)));
    }

    #[test]
    fn scores_are_on_the_scale_and_follow_charm() {
        let mut dice = dice(1);
        let mut delighted = |charm| {
            (0..1000)
                .map(|_| score(charm, &mut dice))
                .inspect(|score| assert!((0..=10).contains(score)))
                .filter(|score| *score >= 9)
                .count()
        };
        let (good, poor) = (delighted(80), delighted(30));
        assert!(good > 700 && poor < 400, "{good} {poor}");
    }

    #[test]
    fn baskets_name_each_product_once() {
        let mut dice = dice(3);
        for _ in 0..1000 {
            let basket = basket(&mut dice);
            let skus: std::collections::BTreeSet<_> = basket.iter().map(|(product, _)| product.sku).collect();
            assert!(!basket.is_empty() && skus.len() == basket.len());
        }
    }
}
