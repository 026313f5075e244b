//! Numbers, money, times and lists, as the page writes them.

use super::super::*;

/// The parts between commas; what stands in backticks is one.
pub(super) fn clauses(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = text.split(|letter| {
        quoted ^= letter == '`';
        letter == ',' && !quoted
    });
    parts.map(str::trim).collect()
}

pub(super) fn either(list: &str) -> Vec<String> {
    list.split(" or ").map(ToOwned::to_owned).collect()
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no such number"))
}

/// 14.00 in minor units.
pub(super) fn money(text: &str) -> i64 {
    let (major, minor) = text.split_once('.').unwrap_or_else(|| panic!("{text:?} is no money"));
    assert!(minor.len() == 2, "{text:?} is no money");
    number::<i64>(major) * 100 + number::<i64>(minor)
}

pub(super) fn minute(text: &str) -> i32 {
    let (hour, minute) = text.split_once(':').unwrap_or_else(|| panic!("{text:?} is no time of the day"));
    number::<i32>(hour) * 60 + number::<i32>(minute)
}

/// By the clock of UTC.
pub(super) fn moment(text: &str) -> Timestamp {
    let seconds = if text.len() == "2026-05-12 09:30".len() { ":00Z" } else { "Z" };
    let told = format!("{}{seconds}", text.replace(' ', "T"));
    told.parse::<jiff::Timestamp>().unwrap_or_else(|_| panic!("{text:?} is no time")).into()
}

pub(super) fn quoted(text: &str) -> &str {
    text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).unwrap_or_else(|| panic!("{text:?} stands in backticks"))
}

/// A store is "one" or "two"; what is not told is nowhere.
pub(super) fn store(name: &str) -> &'static str {
    match name {
        "one" => "programs/tea/stores/one",
        "two" => "programs/tea/stores/two",
        _ => panic!("there is no store {name:?}"),
    }
}

pub(super) fn stores(list: &str) -> Vec<String> {
    either(list).iter().map(|name| store(name).to_owned()).collect()
}

/// "2 times or 15 points a day".
pub(super) fn limit(text: &str) -> Limit {
    let periods = [
        (" ever", LimitPeriod::Ever),
        (" a day", LimitPeriod::Day),
        (" a week", LimitPeriod::Week),
        (" a month", LimitPeriod::Month),
        (" a year", LimitPeriod::Year),
    ];
    let within = periods.into_iter().find_map(|(words, period)| Some((text.strip_suffix(words)?, period)));
    let (most, period) = within.unwrap_or_else(|| panic!("{text:?} names no period"));
    let mut limit = Limit { times_max: None, points_max: None, period };
    for part in most.split(" or ") {
        match part.split_once(' ') {
            Some((count, "times")) => limit.times_max = Some(number(count)),
            Some((count, "points")) => limit.points_max = Some(number(count)),
            _ => panic!("{part:?} is neither times nor points"),
        }
    }
    limit
}
