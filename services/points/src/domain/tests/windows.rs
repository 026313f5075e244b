//! Windows that come again by rules: the examples of RFC 5545, clocks that are changed, and texts that are no rules.

use jiff::civil::DateTime;
use proptest::prelude::*;

use super::conditions::cases;
use super::*;

fn wall(text: &str) -> DateTime {
    text.parse().unwrap()
}

/// The first windows of a rule.
fn first(zone: &str, start: &str, rule: &str, minutes: i32, number: usize) -> Vec<String> {
    let all = windows(rule, wall(start), minutes, &Zone::parse(zone).unwrap()).unwrap_or_else(|error| panic!("{rule}: {error}"));
    all.iter().take(number).map(|(from, to)| format!("{from} {to}")).collect()
}

/// The days on which the first windows begin.
fn days(start: &str, rule: &str, number: usize) -> String {
    let zone = Zone::parse("America/New_York").unwrap();
    let all = windows(rule, wall(start), 60, &zone).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let day = |(from, _): &(Timestamp, Timestamp)| from.date_in(&zone).strftime("%y%m%d").to_string();
    all.iter().take(number).map(day).collect::<Vec<_>>().join(" ")
}

#[test]
fn rules_are_those_of_the_rfc() {
    let rows = [
        ("1997-09-02", "FREQ=DAILY;COUNT=10", "970902 970903 970904 970905 970906 970907 970908 970909 970910 970911"),
        ("1997-09-02", "FREQ=DAILY;INTERVAL=10;COUNT=5", "970902 970912 970922 971002 971012"),
        ("1997-12-22", "FREQ=DAILY;UNTIL=19971224T000000Z", "971222 971223"),
        ("1997-12-22", "FREQ=DAILY;UNTIL=19971224", "971222 971223 971224"),
        ("1997-12-22", "FREQ=DAILY;UNTIL=19971224T085959", "971222 971223"),
        ("1998-01-30", "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "980130 980131 990101 990102"),
        ("1997-09-02", "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "970902 970904 970916 970918 970930 971002 971014 971016"),
        ("1997-08-05", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "970805 970810 970819 970824"),
        ("1997-08-05", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "970805 970817 970819 970831"),
        ("1997-09-05", "FREQ=MONTHLY;COUNT=6;BYDAY=1FR", "970905 971003 971107 971205 980102 980206"),
        (
            "1997-09-07",
            "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
            "970907 970928 971102 971130 980104 980125 980301 980329 980503 980531",
        ),
        ("1997-09-22", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "970922 971020 971117 971222 980119 980216"),
        ("1997-09-28", "FREQ=MONTHLY;BYMONTHDAY=-3", "970928 971029 971128 971229 980129 980226"),
        ("1997-09-30", "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "970930 971001 971031 971101 971130 971201 971231 980101 980131 980201"),
        ("1997-01-31", "FREQ=MONTHLY", "970131 970331 970531 970731 970831"),
        ("1997-06-10", "FREQ=YEARLY;COUNT=6;BYMONTH=6,7", "970610 970710 980610 980710 990610 990710"),
        ("1996-02-29", "FREQ=YEARLY", "960229 000229 040229"),
        ("1997-05-19", "FREQ=YEARLY;BYDAY=20MO", "970519 980518 990517"),
        ("1997-03-13", "FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "970313 970320 970327 980305 980312 980319 980326"),
        ("1998-02-13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "980213 980313 981113 990813 001013"),
        ("1996-11-05", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "961105 001107 041102"),
        ("1997-09-04", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "970904 971007 971106"),
        ("1997-09-29", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "970929 971030 971127 971230 980129 980226 980330"),
        ("2007-01-15", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "070115 070130 070215 070315 070330"),
        // Around the turn of a year.
        ("2026-12-30", "FREQ=DAILY;INTERVAL=2", "261230 270101 270103"),
        ("2026-12-27", "FREQ=WEEKLY;BYDAY=FR,SU", "261227 270101 270103 270108"),
        ("2026-12-31", "FREQ=MONTHLY;BYMONTHDAY=-1", "261231 270131 270228"),
    ];
    for (start, rule, expected) in rows {
        assert_eq!(days(&format!("{start}T09:00"), rule, expected.split(' ').count()), expected, "{rule}");
    }
    // Those that end have ended.
    assert_eq!(windows("FREQ=DAILY;COUNT=10", wall("1997-09-02T09:00"), 60, &Zone::UTC).unwrap().len(), 10);
    assert_eq!(windows("FREQ=DAILY;UNTIL=19971224", wall("1997-12-22T09:00"), 60, &Zone::UTC).unwrap().len(), 3);
    assert_eq!(windows("FREQ=DAILY", wall("2026-01-01T09:00"), 60, &Zone::UTC).unwrap().len(), 3_653, "ten years and a day");
}

/// A window begins by the clock on the wall and lasts as long as it lasts.
#[test]
fn clocks_may_be_changed() {
    let rows: [(&str, &str, i32, [&str; 3]); 9] = [
        (
            "Asia/Shanghai",
            "2026-03-28T18:00",
            120,
            [
                "2026-03-28T10:00:00Z 2026-03-28T12:00:00Z",
                "2026-03-29T10:00:00Z 2026-03-29T12:00:00Z",
                "2026-03-30T10:00:00Z 2026-03-30T12:00:00Z",
            ],
        ),
        (
            "Europe/Berlin",
            "2026-03-28T18:00",
            120,
            [
                "2026-03-28T17:00:00Z 2026-03-28T19:00:00Z",
                "2026-03-29T16:00:00Z 2026-03-29T18:00:00Z",
                "2026-03-30T16:00:00Z 2026-03-30T18:00:00Z",
            ],
        ),
        // Over the change: eight hours are eight hours, from ten in the evening to seven in the morning.
        (
            "Europe/Berlin",
            "2026-03-27T22:00",
            480,
            [
                "2026-03-27T21:00:00Z 2026-03-28T05:00:00Z",
                "2026-03-28T21:00:00Z 2026-03-29T05:00:00Z",
                "2026-03-29T20:00:00Z 2026-03-30T04:00:00Z",
            ],
        ),
        // There is no half past two on the 29th: it is half past three.
        (
            "Europe/Berlin",
            "2026-03-28T02:30",
            60,
            [
                "2026-03-28T01:30:00Z 2026-03-28T02:30:00Z",
                "2026-03-29T01:30:00Z 2026-03-29T02:30:00Z",
                "2026-03-30T00:30:00Z 2026-03-30T01:30:00Z",
            ],
        ),
        // There are two on 25 October: the first.
        (
            "Europe/Berlin",
            "2026-10-24T02:30",
            60,
            [
                "2026-10-24T00:30:00Z 2026-10-24T01:30:00Z",
                "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z",
                "2026-10-26T01:30:00Z 2026-10-26T02:30:00Z",
            ],
        ),
        (
            "America/New_York",
            "2026-03-07T02:15",
            30,
            [
                "2026-03-07T07:15:00Z 2026-03-07T07:45:00Z",
                "2026-03-08T07:15:00Z 2026-03-08T07:45:00Z",
                "2026-03-09T06:15:00Z 2026-03-09T06:45:00Z",
            ],
        ),
        (
            "America/New_York",
            "2026-10-31T01:30",
            60,
            [
                "2026-10-31T05:30:00Z 2026-10-31T06:30:00Z",
                "2026-11-01T05:30:00Z 2026-11-01T06:30:00Z",
                "2026-11-02T06:30:00Z 2026-11-02T07:30:00Z",
            ],
        ),
        // Half an hour there: 2:00 becomes 2:30 in October, and 1:30 in April.
        (
            "Australia/Lord_Howe",
            "2026-10-03T02:15",
            60,
            [
                "2026-10-02T15:45:00Z 2026-10-02T16:45:00Z",
                "2026-10-03T15:45:00Z 2026-10-03T16:45:00Z",
                "2026-10-04T15:15:00Z 2026-10-04T16:15:00Z",
            ],
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-04T01:45",
            60,
            [
                "2026-04-03T14:45:00Z 2026-04-03T15:45:00Z",
                "2026-04-04T14:45:00Z 2026-04-04T15:45:00Z",
                "2026-04-05T15:15:00Z 2026-04-05T16:15:00Z",
            ],
        ),
    ];
    for (zone, start, minutes, expected) in rows {
        assert_eq!(first(zone, start, "FREQ=DAILY", minutes, 3), expected, "{zone} {start}");
    }
}

#[test]
fn a_moment_is_in_a_window_from_its_start_to_before_its_end() {
    let rule = |rule, start: &str, minutes| windows(rule, wall(start), minutes, &Zone::UTC).unwrap();
    // Every evening for two hours, on Fridays for ten, and on New Year's Eve over midnight.
    let windows = Windows::new(&[
        rule("FREQ=DAILY", "2026-01-01T18:00", 120),
        rule("FREQ=WEEKLY", "2026-01-02T19:00", 600),
        rule("FREQ=YEARLY", "2026-12-31T20:00", 360),
    ]);
    for (moment, holds) in [
        ("2025-12-31T18:30:00Z", false),
        ("2026-01-01T17:59:59Z", false),
        ("2026-01-01T18:00:00Z", true),
        ("2026-01-01T19:59:59Z", true),
        ("2026-01-01T20:00:00Z", false),
        ("2026-01-02T20:00:00Z", true),
        ("2026-01-03T04:59:59Z", true),
        ("2026-01-03T05:00:00Z", false),
        ("2027-01-01T01:59:59Z", true),
        ("2027-01-01T02:00:00Z", false),
        ("2036-12-01T18:30:00Z", false),
    ] {
        assert_eq!(windows.hold(at(moment)), holds, "{moment}");
    }
    assert!(Windows::default().hold(at("2026-01-01T00:00:00Z")), "nothing is asked for");
}

#[test]
fn a_bad_rule_is_refused_at_its_place() {
    let rows = [
        ("", 1, "must be a name and a value"),
        ("FREQ", 1, "must be a name and a value"),
        ("INTERVAL=2;FREQ=DAILY", 1, "the first part must be FREQ"),
        ("FREQ=HOURLY", 6, "must be DAILY, WEEKLY, MONTHLY or YEARLY"),
        ("FREQ=DAILY;", 12, "must be a name and a value"),
        ("FREQ=DAILY;FREQ=DAILY", 12, "is there twice"),
        ("FREQ=DAILY;BYHOUR=9", 12, "is not known here"),
        ("FREQ=DAILY;INTERVAL=0", 21, "must be 1 to 1000"),
        ("FREQ=DAILY;COUNT=4001", 18, "must be 1 to 4000"),
        ("FREQ=DAILY;UNTIL=2026", 18, "must be a day or a time"),
        ("FREQ=DAILY;UNTIL=20261301", 18, "must be a day or a time"),
        ("FREQ=WEEKLY;BYDAY=MO,XX", 22, "must be a day like MO"),
        ("FREQ=WEEKLY;BYDAY=ü,MO", 19, "must be a day like MO"),
        ("FREQ=MONTHLY;BYDAY=0MO", 20, "must be a day like MO"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,32", 27, "must be 1 to 31"),
        ("FREQ=YEARLY;BYMONTH=1,13", 23, "must be 1 to 12"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", 32, "must be 1 to 366"),
        ("FREQ=DAILY;WKST=XX", 17, "must be a day like MO"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20270101", 1, "has COUNT and UNTIL"),
        ("FREQ=WEEKLY;BYDAY=1MO", 1, "counts days like 1MO"),
        ("FREQ=WEEKLY;BYMONTHDAY=5", 1, "has BYMONTHDAY"),
        ("FREQ=DAILY;BYSETPOS=1", 1, "has BYSETPOS without"),
        ("FREQ=WEEKLY;BYDAY=TU", 1, "does not fit its start"),
        ("FREQ=DAILY;UNTIL=20260430", 1, "does not fit its start"),
        ("FREQ=DAILY;UNTIL=20260501T175959", 1, "does not fit its start"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", 1, "does not fit its start"),
    ];
    for (rule, column, what) in rows {
        let error = windows(rule, wall("2026-05-01T18:00"), 60, &Zone::UTC).expect_err(rule);
        assert!(error.column == column && error.what.contains(what), "{rule}: {error}");
    }
}

/// Parts of rules.
const TOKENS: [&str; 33] = [
    "FREQ=",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
    ";INTERVAL=",
    ";COUNT=",
    ";UNTIL=",
    ";BYMONTH=",
    ";BYMONTHDAY=",
    ";BYDAY=",
    ";BYSETPOS=",
    ";WKST=",
    ";",
    "=",
    ",",
    "1",
    "-1",
    "5",
    "31",
    "53",
    "366",
    "0",
    "999999999999",
    "20261231",
    "20261231T235959Z",
    "MO",
    "FR",
    "SU",
    "-1FR",
    "5SA",
    "ü",
    "RRULE:",
];

proptest! {
    #![proptest_config(cases(100))]

    /// Whatever is a rule has windows in order, the first at its start and none beyond ten years.
    #[test]
    fn no_rule_does_harm(
        frequency in 1_usize..5,
        picked in proptest::collection::vec(0..TOKENS.len(), 0..14),
        days in 0_i32..40_000,
        minute in 0_i8..60,
        zone in prop_oneof![Just("Europe/Berlin"), Just("Australia/Lord_Howe"), Just("UTC")],
    ) {
        let tail: String = picked.into_iter().map(|place| TOKENS[place]).collect();
        let start = jiff::civil::date(1990, 1, 1).saturating_add(jiff::Span::new().days(days)).at(2, minute, 0, 0);
        let zone = Zone::parse(zone).unwrap();
        for rule in [tail.clone(), format!("FREQ={}{tail}", TOKENS[frequency]), format!("FREQ={};BYDAY={tail}", TOKENS[frequency])] {
            let began = std::time::Instant::now();
            let Ok(all) = windows(&rule, start, 90, &zone) else { continue };
            prop_assert_eq!(all[0].0, zone.moment_of(start), "{}", rule);
            prop_assert!(all.len() <= 4_000 && all.is_sorted(), "{}", rule);
            prop_assert!(all[all.len() - 1].0.date_in(&zone).year() <= start.year() + 10, "{}", rule);
            prop_assert!(began.elapsed() < Duration::from_secs(5), "{}", rule);
        }
    }

    /// Years at which the calendar ends, and before it began.
    #[test]
    fn no_start_does_harm(year in prop_oneof![-9_999_i16..10_000, Just(9_999), Just(-9_999)], frequency in 1_usize..5) {
        let start = jiff::civil::date(year, 12, 31).at(23, 59, 0, 0);
        let all = windows(&format!("FREQ={}", TOKENS[frequency]), start, 44_640, &Zone::UTC).unwrap();
        prop_assert!(!all.is_empty());
    }
}
