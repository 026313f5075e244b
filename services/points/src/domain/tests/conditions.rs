//! Conditions as they are written: what they say of a purchase, and where a bad one is wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cel::{Context, Env, Value};
use proptest::prelude::*;

use super::promotions::{NOBODY, basket, breakfast, newcomer, texts};
use super::*;

/// Cases of a property: enough for every day, or many where REGULARS_TEST_LONG is set.
pub(super) fn cases(short: u32) -> ProptestConfig {
    ProptestConfig::with_cases(if std::env::var_os("REGULARS_TEST_LONG").is_some() { short * 200 } else { short })
}

/// Somebody with tags and a tier who was here 30 days ago.
fn known() -> Facts {
    let gold = TierInterval {
        scheme: "programs/tea/schemes/status".to_owned(),
        tier: "gold".to_owned(),
        multiplier: Decimal::ONE,
        start_at: at("2026-01-01T00:00:00Z"),
        end_at: None,
    };
    Facts { tiers: vec![gold], tags: texts(&["staff", "vegan"]), segments: texts(&["regular"]), ..NOBODY }
}

fn regular(facts: &Facts) -> Buyer<'_> {
    Buyer { facts, purchases: 7, last_purchase_at: Some(at("2026-04-12T12:00:00Z")), counts: &[], shared: &[] }
}

/// Breakfast for 14 on Tuesday, 12 May 2026, at half past nine in London, where it is half past ten.
fn says(text: &str, buyer: &Buyer<'_>, lines: &[Line], net: i64) -> Result<bool, ConditionFault> {
    let basket = Basket { offer: "spring", ..basket(net, lines) };
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&Occasion::new(&basket, buyer, &london()))
}

fn london() -> Zone {
    Zone::parse("Europe/London").unwrap()
}

#[test]
fn a_condition_says_what_it_says() {
    let facts = known();
    let rows = [
        ("true", true),
        ("purchase.net >= 1400 && purchase.net < 1401", true),
        ("purchase.channel == 'store' && purchase.offer == \"spring\"", true),
        (
            "purchase.store == 'one' && purchase.store.endsWith('e') && purchase.store.startsWith('on') && purchase.store.contains('n')",
            true,
        ),
        ("purchase.lines.exists(line, line.category == 'coffee' && line.quantity >= 1)", true),
        ("purchase.lines.exists(line, line.sku == 'coffee-2')", false),
        ("purchase.lines.all(line, line.net >= 600)", true),
        ("purchase.lines.exists_one(line, line.quantity == 2)", true),
        ("purchase.lines.exists_one(line, line.quantity > 0)", false),
        ("size(purchase.lines) == 2 && purchase.lines.size() == 2", true),
        ("purchase.lines.filter(line, line.category in ['tea', 'pastry']).size() == 1", true),
        ("purchase.lines.filter(line, line.net > 0).exists(line, line.category == 'pastry')", true),
        ("purchase.lines.exists(one, purchase.lines.exists(other, one.sku != other.sku && one.quantity * 2 == other.quantity))", true),
        ("'vegan' in member.tags && !('student' in member.tags)", true),
        ("member.tags.all(tag, tag != 'student')", true),
        ("'regular' in member.segments && 'gold' in member.tiers && !('silver' in member.tiers)", true),
        ("member.purchases == 7 && member.days_away == 30", true),
        ("local.year == 2026 && local.month == 5 && local.day == 12 && local.weekday == 2", true),
        ("local.hour == 10 && local.minute == 30", true),
        ("local.weekday in [6, 7] ? purchase.net > 500 : purchase.net > 1000", true),
        ("-local.day + 2 * 10 - 7 % 4 / 2 == 7", true),
        ("size('Zürich') == 6", true),
        ("'b' > 'a' && 'a' <= 'a' && true != false", true),
        // As in CEL, what decides decides, whatever the other side comes to.
        ("1 / (local.day - 12) == 1 || true", true),
        ("false && 1 / (local.day - 12) == 1", false),
        ("purchase.lines.exists(line, 10 / (line.quantity - 1) == 10)", true),
        ("!purchase.lines.all(line, 10 / (line.quantity - 1) == 9)", true),
        // A comment is none of it.
        ("local.hour > 9 // in the morning\n && local.hour < 12", true),
    ];
    for (text, expected) in rows {
        assert_eq!(says(text, &regular(&facts), &breakfast(), 1_400), Ok(expected), "{text}");
    }
}

#[test]
fn somebody_new_has_bought_nothing_and_is_nothing() {
    let text = "member.purchases == 0 && member.days_away == -1 && size(member.tags) == 0 && member.tiers.all(tier, tier == 'gold') && size(purchase.lines) == 0";
    assert_eq!(says(text, &newcomer(&NOBODY), &[], 0), Ok(true));
}

#[test]
fn what_cannot_be_worked_out_is_a_fault() {
    let lines: Vec<Line> = (0..500).map(|number| line(&number.to_string(), 1, 1)).collect();
    let rows = [
        ("1 / (local.day - 12) == 1", ConditionFault::Arithmetic),
        ("1 % (local.day - 12) == 1", ConditionFault::Arithmetic),
        ("9223372036854775807 + local.day > 0", ConditionFault::Arithmetic),
        ("-(-9223372036854775807 - 1) > local.day", ConditionFault::Arithmetic),
        // All of a list is worked out before anything is asked of it.
        ("local.day in [local.day, 1 / (local.day - 12)]", ConditionFault::Arithmetic),
        ("purchase.lines.filter(line, 1 / size(line.sku) < 9).exists(line, true)", ConditionFault::Arithmetic),
        ("purchase.lines.all(one, purchase.lines.all(other, one.net + other.net > 0))", ConditionFault::TooLong),
        ("purchase.lines.all(one, purchase.lines.all(other, one.net + other.net > 0)) || true", ConditionFault::TooLong),
    ];
    for (text, fault) in rows {
        assert_eq!(says(text, &newcomer(&NOBODY), &lines, 500), Err(fault), "{text}");
    }
    assert_eq!(
        says("purchase.lines.all(one, one.net * 2 + one.quantity >= 3 || one.sku == '')", &newcomer(&NOBODY), &lines, 500),
        Ok(true)
    );
}

#[test]
fn a_bad_condition_is_refused_at_its_place() {
    let rows = [
        ("", (1, 1), "mismatched input the end"),
        ("purchase.net >", (1, 15), "mismatched input the end"),
        ("purchase.net > 1 &&\n  (local.hour > 2", (2, 18), "missing ')' at the end"),
        ("purchase.net >> 1", (1, 15), "extraneous input '>'"),
        ("'open", (1, 1), "token recognition error"),
        ("purchase.nett > 1", (1, 10), "`nett` is not known: there are net, channel, store, offer and lines"),
        ("true &&\n  member . vip", (2, 12), "`vip` is not known: there are tiers, tags, segments, purchases and days_away"),
        ("basket.net > 1", (1, 1), "`basket` is not known: there are purchase, member and local"),
        ("purchase > 1", (1, 1), "`purchase` alone is nothing: it has"),
        ("purchase.lines.exists(line, line.price > 1)", (1, 34), "`price` is not known: there are sku, category, quantity and net"),
        ("'ü' == 'ü' && lines.size() > 0", (1, 15), "`lines` is not known"),
        ("purchase.net", (1, 1), "is of type int, and must be of type bool"),
        ("member.tags", (1, 1), "is of type list of strings, and must be of type bool"),
        ("purchase.net == '5'", (1, 17), "is of type string, and must be of type int"),
        ("1 + 'a' == 2", (1, 5), "is of type string, and must be of type int"),
        ("true && (1 + 1)", (1, 10), "is of type int, and must be of type bool"),
        ("local.hour in [1, 'a']", (1, 19), "is of type string in a list of other things"),
        ("local.hour in []", (1, 15), "is empty"),
        ("local.hour in local.hour", (1, 15), "is of type int, and must be a list"),
        ("purchase.lines == purchase.lines", (1, 1), "is of type list of lines, which is asked with"),
        ("purchase.lines.exists(a, purchase.lines.exists(b, a == b))", (1, 51), "lines are not compared"),
        ("1.5 > 1.0", (1, 1), "is not known here"),
        ("1u == 1u", (1, 1), "is not known here"),
        ("{'a': 1}.a == 1", (1, 1), "is not known here"),
        ("null == null", (1, 1), "is not known here"),
        ("now() > 1", (1, 1), "there is no such function `now`"),
        ("purchase.store.matches('a+')", (1, 16), "there is no such function `matches`"),
        ("purchase.lines.map(line, line.net).size() > 1", (1, 16), "there is no such function `map`"),
        ("has(purchase.offer)", (1, 1), "there is no such function `has`"),
        ("purchase.lines[0].net > 1", (1, 15), "a list has no places here"),
        ("purchase.lines.exists(line)", (1, 22), "takes a name and an expression"),
        ("purchase.lines.exists(member, true)", (1, 23), "`member` is taken"),
        ("purchase.lines.exists(l, l.net)", (1, 26), "is of type int, and must be of type bool"),
        ("purchase.lines.all(a, purchase.lines.all(b, purchase.lines.all(c, true)))", (1, 63), "is nested too deeply"),
        ("purchase.net / 0 == 1", (1, 16), "is a division by zero"),
        ("purchase.?net == 1", (1, 9), "unsupported syntax"),
    ];
    let wrongly = rows.iter().filter_map(|(text, (line, column), what)| {
        let error = Condition::parse(text).map(|_| ()).expect_err(text);
        let is_right = (error.line, error.column) == (*line, *column) && error.what.contains(what);
        (!is_right).then(|| format!("{text}: {error}"))
    });
    assert_eq!(wrongly.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The parser goes down the stack with each bracket, and this is called on the stacks of a server.
#[test]
fn what_is_nested_deeply_or_long_is_refused() {
    let rows = [
        ("(".repeat(64) + "true" + &")".repeat(64), true),
        ("(".repeat(65) + "true" + &")".repeat(65), false),
        ("!".repeat(999) + "a", false),
        ("[".repeat(500), false),
        ("1".to_owned() + &"+1".repeat(490) + " == 491", false),
        ("1".to_owned() + &"+1".repeat(40) + " == 41", true),
        ("true".to_owned() + &" && true".repeat(120), true),
        ("purchase".to_owned() + &".a".repeat(490), false),
        ("true?".repeat(150) + "true:false", false),
        (" ".repeat(997) + "true", false),
    ];
    for (text, is_good) in rows {
        let began = Instant::now();
        assert_eq!(Condition::parse(&text).is_ok(), is_good, "{text}");
        assert!(began.elapsed() < Duration::from_secs(5), "{text}");
    }
}

/// Parts of the language, and of others.
const TOKENS: [&str; 62] = [
    "purchase",
    "member",
    "local",
    "line",
    ".net",
    ".lines",
    ".tags",
    ".hour",
    ".sku",
    ".quantity",
    ".exists(",
    ".all(",
    ".filter(",
    ".size()",
    "size(",
    ".exists_one(",
    "line,",
    "in",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "&&",
    "||",
    "1",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "0x7f",
    "1.5",
    "1e400",
    "'a'",
    "\"ü\"",
    "r'\\'",
    "'''",
    "b'a'",
    "true",
    "false",
    "null",
    "`a`",
    "//",
    "\n",
    "\\",
    ".",
    "\u{1F600}",
];

/// Purchases of any kind.
fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    let one = ("[ab]{0,2}", prop_oneof![Just("coffee"), Just("tea")], 1_i64..4, prop_oneof![-5_i64..2_000, Just(i64::MAX), Just(i64::MIN)]);
    let line =
        |(sku, category, quantity, net): (String, &str, i64, i64)| Line { sku, category: category.to_owned(), ..line("1", quantity, net) };
    proptest::collection::vec(one.prop_map(line), 0..6)
}

/// Whatever can be read can be worked out, and neither takes long.
fn does_no_harm(text: &str, lines: &[Line], net: i64) {
    let began = Instant::now();
    if let Ok(condition) = Condition::parse(text) {
        let facts = known();
        let basket = basket(net, lines);
        for buyer in [newcomer(&NOBODY), regular(&facts)] {
            let said = condition.holds(&Occasion::new(&basket, &buyer, &london()));
            assert_ne!(said, Err(ConditionFault::Mismatch), "{text}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{text}");
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn no_text_does_harm(text in "\\PC{0,200}|.{0,60}", lines in any_lines(), net in any::<i64>()) {
        does_no_harm(&text, &lines, net);
    }

    #[test]
    fn no_heap_of_tokens_does_harm(picked in proptest::collection::vec(0..TOKENS.len(), 0..60), spaced in any::<bool>(), lines in any_lines(), net in any::<i64>()) {
        let tokens: Vec<&str> = picked.into_iter().map(|place| TOKENS[place]).collect();
        does_no_harm(&tokens.join(if spaced { " " } else { "" }), &lines, net);
    }

    /// A good one that somebody has mistyped.
    #[test]
    fn no_mistake_does_harm(text in bools(3, 0), place in 0_usize..400, token in 0..TOKENS.len(), lines in any_lines()) {
        let place = text.floor_char_boundary(place);
        does_no_harm(&format!("{}{}{}", &text[..place], TOKENS[token], &text[place..]), &lines, 1_400);
    }

    #[test]
    fn no_nesting_does_harm(depth in 0_usize..400, open in 0_usize..6) {
        let (open, close) = [("(", ")"), ("[", "]"), ("!(", ")"), ("size(", ")"), ("true ? true : (", ")"), ("purchase.lines.all(a, ", ")")][open];
        does_no_harm(&format!("{}true{}", open.repeat(depth), close.repeat(depth)), &[], 0);
    }
}

/// Conditions whose types fit. So many comprehensions may stand in each other, and so many they stand in.
fn bools(depth: u32, within: u32) -> BoxedStrategy<String> {
    let leaf =
        prop_oneof![Just("true".to_owned()), Just("false".to_owned()), texts_of(within).prop_map(|text| format!("{text} in member.tags"))];
    if depth == 0 {
        return leaf.boxed();
    }
    let (bool, int, text) = (move || bools(depth - 1, within), move || ints(depth - 1, within), move || texts_of(within));
    let comparison = || prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let simple = prop_oneof![
        leaf,
        bool().prop_map(|one| format!("!({one})")),
        (bool(), prop_oneof![Just("&&"), Just("||"), Just("==")], bool())
            .prop_map(|(one, sign, other)| format!("(({one}) {sign} ({other}))")),
        (bool(), bool(), bool()).prop_map(|(one, yes, no)| format!("(({one}) ? ({yes}) : ({no}))")),
        (int(), comparison(), int()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
        (text(), comparison(), text()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
        (text(), prop_oneof![Just("startsWith"), Just("endsWith"), Just("contains")], text())
            .prop_map(|(one, of, other)| format!("{one}.{of}({other})")),
        (int(), int(), int()).prop_map(|(one, a, b)| format!("({one} in [{a}, {b}])")),
    ];
    if within == 2 {
        return simple.boxed();
    }
    let macros = prop_oneof![Just("exists"), Just("all"), Just("exists_one")];
    let of_lines = (macros, bools(depth - 1, within + 1)).prop_map(move |(name, body)| format!("purchase.lines.{name}(v{within}, {body})"));
    let filtered = (bools(depth - 1, within + 1), int())
        .prop_map(move |(body, int)| format!("(purchase.lines.filter(v{within}, {body}).size() > {int})"));
    let of_filtered = (bools(depth - 1, within + 1), bools(depth - 1, within + 1))
        .prop_map(move |(filter, body)| format!("purchase.lines.filter(v{within}, {filter}).exists(v{within}, {body})"));
    prop_oneof![3 => simple, 1 => of_lines, 1 => filtered, 1 => of_filtered].boxed()
}

fn ints(depth: u32, within: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (-3_i64..30).prop_map(|int| int.to_string()),
        Just("9223372036854775807".to_owned()),
        Just("purchase.net".to_owned()),
        Just("member.days_away".to_owned()),
        Just("local.hour".to_owned()),
        Just("size(purchase.lines)".to_owned()),
        (0..within.max(1), prop_oneof![Just("net"), Just("quantity")]).prop_map(move |(line, field)| if within > 0 {
            format!("v{line}.{field}")
        } else {
            "local.day".to_owned()
        }),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let int = move || ints(depth - 1, within);
    let sign = prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")];
    prop_oneof![leaf, (int(), sign, int()).prop_map(|(one, sign, other)| format!("({one} {sign} ({other}))"))].boxed()
}

fn texts_of(within: u32) -> BoxedStrategy<String> {
    let field = (0..within.max(1), prop_oneof![Just("sku"), Just("category")])
        .prop_map(move |(line, field)| if within > 0 { format!("v{line}.{field}") } else { "purchase.channel".to_owned() });
    prop_oneof![Just("'vegan'".to_owned()), Just("'coffee'".to_owned()), Just("'a'".to_owned()), Just("''".to_owned()), field].boxed()
}

/// What the interpreter of the crate says, which has all of CEL.
fn interpreted(text: &str, lines: &[Line], net: i64) -> Option<bool> {
    let text_of = |text: &str| Value::from(text.to_owned());
    let line = |line: &Line| {
        Value::from(HashMap::from([
            ("sku", text_of(&line.sku)),
            ("category", text_of(&line.category)),
            ("quantity", Value::from(line.quantity)),
            ("net", Value::from(line.net)),
        ]))
    };
    let env = Arc::new(Env::stdlib());
    let program = env.compile(text).expect("what is a condition is CEL");
    let mut context = Context::with_env(env);
    let lines: Vec<Value> = lines.iter().map(line).collect();
    let purchase = HashMap::from([("net", Value::from(net)), ("channel", text_of("store")), ("lines", Value::from(lines))]);
    let tags = vec![text_of("staff"), text_of("vegan")];
    context.add_variable_from_value("purchase", purchase);
    context.add_variable_from_value("member", HashMap::from([("tags", Value::from(tags)), ("days_away", Value::from(30_i64))]));
    context.add_variable_from_value("local", HashMap::from([("hour", Value::from(10_i64)), ("day", Value::from(12_i64))]));
    match program.execute(&context) {
        Ok(Value::Bool(truth)) => Some(truth),
        Ok(other) => panic!("{text} is {other:?}"),
        Err(_) => None,
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Our conditions are CEL: what one says is what the crate's interpreter says, and what that cannot work out we cannot either.
    #[test]
    fn a_condition_means_what_it_means_in_cel(text in bools(4, 0), lines in any_lines(), net in -100_i64..3_000) {
        let Ok(condition) = Condition::parse(&text) else {
            prop_assume!(text.len() > 900 || text.contains("/ (0)") || text.contains("% (0)") || text.matches('(').count() > 40);
            return Ok(());
        };
        let facts = known();
        let (basket, buyer) = (basket(net, &lines), regular(&facts));
        let said = condition.holds(&Occasion::new(&basket, &buyer, &london()));
        prop_assume!(said != Err(ConditionFault::TooLong));
        prop_assert_ne!(said, Err(ConditionFault::Mismatch), "{}", text);
        prop_assert_eq!(said.ok(), interpreted(&text, &lines, net), "{}", text);
    }
}

/// A till that was offline may tell of a purchase after a later one: it is not the first for that.
#[test]
fn a_purchase_that_is_told_late_was_made_no_days_ago() {
    let facts = known();
    let later = Buyer { last_purchase_at: Some(at("2026-05-14T09:00:00Z")), ..regular(&facts) };
    assert_eq!(says("member.days_away == 0", &later, &[], 0), Ok(true));
    assert_eq!(says("member.days_away == -1", &later, &[], 0), Ok(false));
}
