use jiff::civil::Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};

use super::*;

/// Monday, eight in the morning in Shanghai.
const MONDAY: &str = "2026-03-02T00:00:00Z";
const SATURDAY: &str = "2026-03-07T04:00:00Z";

#[test]
fn vouchers_take_off_what_they_say() {
    let ten_off = Effect::AmountOff(1_000);
    let tenth = Effect::PercentOff { basis_points: 1_000, at_most: None };
    let one_free = Effect::FixedPrice { price: 0, pieces: 1 };
    let two_and_one = Effect::BuyGet { buy: 2, get: 1, times_max: None };
    let breakfast = Effect::FixedPrice { price: 990, pieces: 1 };
    let lattes = |conditions: &mut Conditions| conditions.skus = vec!["latte".to_owned()];
    let drinks = |conditions: &mut Conditions| conditions.categories = vec!["drink".to_owned()];
    let from_50 = |conditions: &mut Conditions| conditions.minimum_spend = 5_000;
    let weekday_mornings = |conditions: &mut Conditions| {
        conditions.windows = vec![window(&[Monday, Tuesday, Wednesday, Thursday, Friday], 7 * 60, 10 * 60)];
    };
    let weekend = |conditions: &mut Conditions| conditions.windows = vec![window(&[Saturday, Sunday], 0, 24 * 60)];
    let table = [
        // Money off, spread by what the lines cost.
        (voucher(ten_off.clone()), "latte:2:60.00 cake:1:18.00", MONDAY, "latte 7.69, cake 2.31"),
        (voucher(ten_off.clone()), "latte:1:3.33 tea:1:3.33 cake:1:3.34", MONDAY, "latte 3.33, tea 3.33, cake 3.34"),
        (voucher(ten_off.clone()), "cake:1:6.00", MONDAY, "cake 6.00"),
        (only(ten_off.clone(), drinks), "latte:1:30.00 cake:1:18.00", MONDAY, "latte 10.00"),
        (only(ten_off.clone(), drinks), "cake:1:18.00", MONDAY, "Items"),
        (voucher(ten_off.clone()), "", MONDAY, "Items"),
        (voucher(ten_off.clone()), "water:1:0.00", MONDAY, "NothingGained"),
        // From a minimum, which all lines count for.
        (only(ten_off.clone(), from_50), "latte:2:60.00", MONDAY, "latte 10.00"),
        (only(ten_off.clone(), from_50), "latte:1:49.99", MONDAY, "MinimumSpend { missing: 1 }"),
        // A part off, rounded down once.
        (voucher(tenth.clone()), "latte:1:9.99 cake:1:9.99", MONDAY, "cake 1.00, latte 0.99"),
        (voucher(tenth.clone()), "sweet:1:0.09", MONDAY, "NothingGained"),
        (voucher(Effect::PercentOff { basis_points: 5_000, at_most: Some(2_000) }), "latte:1:60.00", MONDAY, "latte 20.00"),
        (voucher(Effect::PercentOff { basis_points: 10_000, at_most: None }), "latte:3:0.10", MONDAY, "latte 0.10"),
        // Breakfast for 9.90 on working days from seven to ten.
        (only(breakfast.clone(), weekday_mornings), "cake:2:36.00", MONDAY, "cake 8.10"),
        (only(breakfast.clone(), weekday_mornings), "cake:1:9.90", MONDAY, "NothingGained"),
        (only(breakfast.clone(), weekday_mornings), "cake:1:18.00", SATURDAY, "Time"),
        (only(breakfast.clone(), weekday_mornings), "cake:1:18.00", "2026-03-02T02:00:00Z", "Time"),
        (only(breakfast, weekday_mornings), "cake:1:18.00", "2026-03-02T01:59:59Z", "cake 8.10"),
        // A free drink is the dearest that there is.
        (only(one_free.clone(), drinks), "tea:1:20.00 latte:2:60.00 cake:1:90.00", MONDAY, "latte 30.00"),
        (only(one_free, lattes), "tea:1:20.00", MONDAY, "Items"),
        // Buy two, get one: the cheapest are free.
        (voucher(two_and_one.clone()), "latte:2:60.00 tea:1:20.00", MONDAY, "tea 20.00"),
        (voucher(two_and_one.clone()), "latte:6:180.00", MONDAY, "latte 60.00"),
        (voucher(two_and_one.clone()), "latte:3:10.00", MONDAY, "latte 3.33"),
        (voucher(two_and_one.clone()), "latte:2:60.00", MONDAY, "Pieces { missing: 1 }"),
        (voucher(Effect::BuyGet { buy: 1, get: 1, times_max: Some(1) }), "latte:4:120.00", MONDAY, "latte 30.00"),
        // At the weekend, one for one.
        (only(Effect::BuyGet { buy: 1, get: 1, times_max: None }, weekend), "latte:2:60.00", SATURDAY, "latte 30.00"),
        (only(Effect::BuyGet { buy: 1, get: 1, times_max: None }, weekend), "latte:2:60.00", MONDAY, "Time"),
        // Delivery.
        (voucher(Effect::FreeDelivery), "cake:1:18.00", MONDAY, "delivery 6.00"),
        (only(Effect::FreeDelivery, from_50), "cake:1:18.00", MONDAY, "MinimumSpend { missing: 3200 }"),
        // Where, how and for whom.
        (only(ten_off.clone(), |c| c.stores = vec!["s1".to_owned()]), "cake:1:18.00", MONDAY, "cake 10.00"),
        (only(ten_off.clone(), |c| c.stores = vec!["s2".to_owned()]), "cake:1:18.00", MONDAY, "Store"),
        (only(ten_off.clone(), |c| c.channels = vec!["pickup".to_owned()]), "cake:1:18.00", MONDAY, "Channel"),
        (only(ten_off.clone(), |c| c.first_order = true), "cake:1:18.00", MONDAY, "FirstOrder"),
        // All that stands in the way is told at once.
        (only(two_and_one, weekend), "", MONDAY, "Time, Items"),
    ];
    for (terms, lines, now, expected) in table {
        let given = basket(lines);
        let off = told(&given, price(&terms, &given, &situation(now)));
        let sorted = |text: &str| {
            let mut parts: Vec<_> = text.split(", ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&off), sorted(expected), "{terms:?} on {lines}");
    }
}

#[test]
fn who_comes_back_was_away_for_so_many_days_of_the_calendar() {
    let come_back = only(Effect::AmountOff(1_000), |conditions| conditions.dormant_days = Some(30));
    let given = basket("latte:1:30.00");
    // Days begin at 16:00 UTC in Shanghai, where it is the second of March.
    for (last, expected) in [
        (None, "Dormancy"),
        (Some("2026-03-01T12:00:00Z"), "Dormancy"),
        (Some("2026-01-31T16:00:00Z"), "Dormancy"),
        (Some("2026-01-31T15:59:59Z"), "latte 10.00"),
        (Some("2025-01-01T00:00:00Z"), "latte 10.00"),
    ] {
        let situation = Situation { last_purchase_at: last.map(at), ..situation(MONDAY) };
        assert_eq!(told(&given, price(&come_back, &given, &situation)), expected, "{last:?}");
    }
}

#[test]
fn a_window_is_by_the_clock_of_the_zone() {
    let late = window(&[Friday], 22 * 60, 2 * 60);
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    let table = [
        // Friday night in winter, one hour ahead of UTC.
        ("2026-03-06T20:59:59Z", false),
        ("2026-03-06T21:00:00Z", true),
        ("2026-03-07T00:59:59Z", true),
        ("2026-03-07T01:00:00Z", false),
        // Thursday night does not count.
        ("2026-03-05T22:30:00Z", false),
        // Saturday night neither.
        ("2026-03-07T22:30:00Z", false),
        // In summer two hours ahead.
        ("2026-07-03T20:00:00Z", true),
        ("2026-07-03T19:59:59Z", false),
    ];
    for (moment, holds) in table {
        assert_eq!(late.holds(at(moment).wall_in(&berlin)), holds, "{moment}");
    }
    // On 29 March clocks go from two to three: half past two is not shown, and the hour after is.
    let night = window(&[Sunday], 2 * 60, 3 * 60);
    assert!(!night.holds(at("2026-03-29T00:59:59Z").wall_in(&berlin)));
    assert!(!night.holds(at("2026-03-29T01:00:00Z").wall_in(&berlin)));
    // On 25 October they show the hour from two to three twice.
    assert!(night.holds(at("2026-10-25T00:30:00Z").wall_in(&berlin)));
    assert!(night.holds(at("2026-10-25T01:30:00Z").wall_in(&berlin)));
    assert!(!night.holds(at("2026-10-25T02:00:00Z").wall_in(&berlin)));
    // All day long.
    assert!(window(&[Monday], 0, 1440).holds(at("2026-03-02T22:59:59Z").wall_in(&berlin)));
    assert!(!window(&[Monday], 0, 1440).holds(at("2026-03-02T23:00:00Z").wall_in(&berlin)));
    assert!(!window(&[Wednesday], 0, 1440).holds(at("2026-03-02T12:00:00Z").wall_in(&berlin)));
}
