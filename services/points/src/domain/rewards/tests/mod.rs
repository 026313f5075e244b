//! Vouchers as a table that a marketer can read, and what must hold for any of them.

mod codes;
mod holds;
mod offline;
mod properties;
mod redeeming;
mod table;

use jiff::civil::Weekday;
use kernel::{Timestamp, Zone};

use super::*;
use crate::domain::{Facts, WeeklyWindow};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// A voucher for anything, for ever.
pub(super) fn voucher(effect: Effect) -> VoucherTerms {
    VoucherTerms {
        effect,
        conditions: Conditions::default(),
        validity: Validity::Unlimited,
        offline_limit: 0,
        combining: Combining::default(),
    }
}

pub(super) fn only(effect: Effect, condition: impl FnOnce(&mut Conditions)) -> VoucherTerms {
    let mut terms = voucher(effect);
    condition(&mut terms.conditions);
    terms
}

pub(super) fn window(weekdays: &[Weekday], start_minute: i32, end_minute: i32) -> WeeklyWindow {
    WeeklyWindow { weekdays: weekdays.to_vec(), start_minute, end_minute }
}

/// `latte:2:60.00`: two pieces of article latte for 60 together; its category is drink, that of anything else is food.
pub(super) fn basket(lines: &str) -> Basket {
    let line = |text: &str| {
        let [sku, quantity, net] = text.split(':').collect::<Vec<_>>()[..] else { panic!("no line: {text}") };
        let category = if sku == "latte" || sku == "tea" { "drink" } else { "food" };
        BasketLine {
            id: sku.to_owned(),
            sku: sku.to_owned(),
            category: category.to_owned(),
            quantity: quantity.parse().unwrap(),
            net: net.replace('.', "").parse().unwrap(),
        }
    };
    Basket { lines: lines.split_whitespace().map(line).collect(), delivery: 600, store: "s1".to_owned(), channel: "app".to_owned() }
}

pub(super) fn situation(now: &str) -> Situation {
    Situation {
        now: at(now),
        zone: Zone::parse("Asia/Shanghai").unwrap(),
        first_order: false,
        last_purchase_at: None,
        facts: Facts::default(),
    }
}

/// `latte 7.69, cake 2.31`, or what stands in the way.
pub(super) fn told(basket: &Basket, priced: Result<Priced, Vec<Obstacle>>) -> String {
    let amount = |minor: i64| format!("{}.{:02}", minor / 100, minor % 100);
    match priced {
        Ok(priced) => {
            let lines = basket.lines.iter().zip(&priced.lines).filter(|(_, off)| **off > 0);
            let lines = lines.map(|(line, off)| format!("{} {}", line.id, amount(*off)));
            let delivery = (priced.delivery > 0).then(|| format!("delivery {}", amount(priced.delivery)));
            lines.chain(delivery).collect::<Vec<_>>().join(", ")
        }
        Err(obstacles) => obstacles.iter().map(|obstacle| format!("{obstacle:?}")).collect::<Vec<_>>().join(", "),
    }
}
