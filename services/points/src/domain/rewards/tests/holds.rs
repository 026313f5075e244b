//! Which vouchers go together on an order.

use kernel::Uuid;

use super::*;
use crate::domain::{Account, Birthday, BirthdayWindow, Facts, MemberFilter};

fn group(name: &str) -> Combining {
    Combining { alone: false, group: Some(name.to_owned()) }
}

fn held_by(voucher: u128, order: &str, combining: &Combining) -> Hold {
    let mut hold = Hold::default();
    hold.add(Holder { voucher: Uuid::from_u128(voucher), order: order.to_owned(), combining: combining.clone(), first_orders: Vec::new() });
    hold
}

fn buyer() -> Buyer {
    Buyer::of(&Account::default(), &Facts::default(), at("2026-03-02T00:00:00Z"), &Zone::UTC)
}

#[test]
fn one_that_stands_alone_goes_with_none_and_one_of_a_group_with_others() {
    let (any, alone) = (Combining::default(), Combining { alone: true, group: None });
    let table = [
        (&any, &any, true),
        (&any, &alone, false),
        (&alone, &any, false),
        (&alone, &alone, false),
        (&group("drinks"), &any, true),
        (&group("drinks"), &group("cakes"), true),
        (&group("drinks"), &group("drinks"), false),
        (&group("drinks"), &alone, false),
    ];
    for (held, shown, goes) in table {
        let terms = VoucherTerms { combining: shown.clone(), ..voucher(Effect::AmountOff(1)) };
        let mut hold = held_by(1, "o", held);
        let free = |hold: &Hold| buyer().beside(&terms, "o", Some(hold), std::iter::empty()).is_order_free;
        assert_eq!(free(&hold), goes, "{held:?} and {shown:?}");
        // What is let go makes room.
        assert!(hold.remove(Uuid::from_u128(2)).is_none() && hold.version == 1);
        assert!(hold.remove(Uuid::from_u128(1)).is_some() && hold.version == 2 && free(&hold));
        assert!(buyer().beside(&terms, "o", None, std::iter::empty()).is_order_free);
    }
    // Nor is there room for any number of them.
    let terms = voucher(Effect::AmountOff(1));
    let mut hold = Hold::default();
    for number in 0..100 {
        assert!(buyer().beside(&terms, "o", Some(&hold), std::iter::empty()).is_order_free, "{number}");
        hold.add(held_by(number, "o", &any).holders.remove(0));
    }
    assert!(!buyer().beside(&terms, "o", Some(&hold), std::iter::empty()).is_order_free);
}

#[test]
fn a_first_order_is_one_order() {
    let terms = only(Effect::AmountOff(1), |conditions| conditions.first_order = true);
    let (here, there) = (held_by(1, "here", &Combining::default()), held_by(2, "there", &Combining::default()));
    let first = |order: &str, holds: &[&Hold]| buyer().beside(&terms, order, None, holds.iter().copied()).situation.first_order;
    assert!(first("here", &[]) && first("here", &[&here]) && first("here", &[&Hold::default(), &here]));
    assert!(!first("here", &[&there]) && !first("here", &[&here, &there]) && !first("", &[&here]));
    let bought = Account { purchases: 1, ..Account::default() };
    let buyer = Buyer::of(&bought, &Facts::default(), at("2026-03-02T00:00:00Z"), &Zone::UTC);
    assert!(!buyer.beside(&terms, "here", None, [&here].into_iter()).situation.first_order);
}

#[test]
fn conditions_ask_who_shows_it() {
    let tag = |name: &str| MemberFilter { tags: vec![name.to_owned()], ..MemberFilter::default() };
    let facts = Facts { tags: vec!["tea".to_owned()], birthday: Birthday::new(2, 29), ..Facts::default() };
    let given = basket("latte:1:30.00");
    let table = [
        (only(Effect::AmountOff(1_000), |c| c.members = tag("tea")), "2026-03-02T00:00:00Z", "latte 10.00"),
        (only(Effect::AmountOff(1_000), |c| c.members = tag("cake")), "2026-03-02T00:00:00Z", "Audience"),
        // In Shanghai it is the first of March from 16:00 UTC on.
        (only(Effect::AmountOff(1_000), |c| c.birthday = Some(BirthdayWindow::Day)), "2026-02-28T15:59:59Z", "latte 10.00"),
        (only(Effect::AmountOff(1_000), |c| c.birthday = Some(BirthdayWindow::Day)), "2026-02-28T16:00:00Z", "Birthday"),
        (only(Effect::AmountOff(1_000), |c| c.birthday = Some(BirthdayWindow::Week)), "2026-03-02T16:00:00Z", "latte 10.00"),
        (only(Effect::AmountOff(1_000), |c| c.birthday = Some(BirthdayWindow::Month)), "2026-02-01T00:00:00Z", "latte 10.00"),
    ];
    for (terms, now, expected) in table {
        let known = Situation { facts: facts.clone(), ..situation(now) };
        assert_eq!(told(&given, price(&terms, &given, &known)), expected, "{now}");
        if terms.conditions.birthday.is_some() {
            assert_eq!(told(&given, price(&terms, &given, &situation(now))), "Birthday", "nobody knows when");
        }
    }
}
