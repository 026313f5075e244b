//! `docs/promotions-and-receipts.md`, played: each row of its tables is what somebody set up, what is bought, and what the receipt says.

mod plain;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use self::plain::moment;
use self::words::{Buying, Known as Somebody, Program, What, Words};
use super::*;

const PAGE: &str = include_str!("../../../../../../docs/promotions-and-receipts.md");

/// What the page calls each reason why a promotion gives nothing.
const REASONS: [(Rejection, &str); 16] = [
    (Rejection::Time, "not at this time"),
    (Rejection::Store, "not in this store"),
    (Rejection::Channel, "not this way"),
    (Rejection::Tier, "not in this tier"),
    (Rejection::Audience, "not for this member"),
    (Rejection::PurchaseNumber, "not this purchase"),
    (Rejection::Dormancy, "not away for long enough"),
    (Rejection::Birthday, "not around the birthday"),
    (Rejection::Condition, "condition not met"),
    (Rejection::ConditionFault, "condition cannot be worked out"),
    (Rejection::Lines, "no such goods"),
    (Rejection::Spend, "too little spent"),
    (Rejection::Nothing, "less than a point"),
    (Rejection::Limit, "the member has had it all"),
    (Rejection::Budget, "the budget is used up"),
    (Rejection::Stacking, "another of its group goes first"),
];

/// What a table says by default, and where it stands.
#[derive(Default)]
struct Section {
    terms: Vec<String>,
    defaults: BTreeMap<String, String>,
    header: Vec<String>,
    /// A table has had these terms; others that are listed begin anew.
    told: bool,
    town: Option<People>,
}

/// Those who buy in one book, with what they share.
struct People {
    program: Program,
    benches: BTreeMap<String, Bench>,
    shared: Vec<Count>,
    now: Timestamp,
    steps: usize,
}

/// What has been played.
#[derive(Default)]
struct Played {
    words: Words,
    rows: usize,
    returns: usize,
    reasons: BTreeSet<&'static str>,
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn play(page: &str) -> Played {
    let mut played = Played::default();
    let mut section = Section::default();
    for (number, line) in page.lines().enumerate() {
        if line.starts_with('#') {
            section = Section::default();
        } else if let Some(told) = line.strip_prefix("- ") {
            match told.split_once(": ").filter(|(name, _)| ["When", "What", "Member"].contains(name)) {
                Some((name, text)) => _ = section.defaults.insert(name.to_owned(), text.to_owned()),
                None => {
                    if std::mem::take(&mut section.told) {
                        section.terms.clear();
                    }
                    section.terms.push(told.to_owned());
                }
            }
        } else if line.starts_with('|') && section.header.is_empty() {
            section.header = cells(line);
            let known = ["Step", "Terms", "Member", "Who", "When", "What", "Receipt"];
            assert!(section.header.iter().all(|name| known.contains(&name.as_str())), "line {}: unknown column", number + 1);
            assert!(section.header.iter().any(|name| name == "Receipt"), "line {}: no receipt", number + 1);
        } else if line.starts_with("|-") || line.starts_with("| -") {
            assert!(line.chars().all(|letter| "|- :".contains(letter)), "line {}: neither a row nor a rule", number + 1);
        } else if line.starts_with('|') {
            section.told = true;
            played.row(&mut section, number + 1, line);
        } else {
            section.header.clear();
            section.town = None;
        }
    }
    played
}

impl People {
    fn new(program: Program) -> People {
        People { program, benches: BTreeMap::new(), shared: Vec::new(), now: at("2026-01-15T12:00:00Z"), steps: 0 }
    }

    /// Somebody, with what they all share so far.
    fn bench(&mut self, name: &str) -> &mut Bench {
        let member = MemberId(Uuid::from_u128(7 + self.benches.len() as u128));
        let Program { terms, zone } = &self.program;
        let currency = Currency::parse("USD").unwrap();
        let version =
            Version { number: 1, terms: terms.clone().into(), start_at: at("2026-01-01T00:00:00Z"), zone: zone.clone(), currency };
        let versions = Versions::new(vec![version]).unwrap();
        let bench = self.benches.entry(name.to_owned()).or_insert_with(|| Bench { member, versions, ..Bench::new(super::terms()) });
        bench.now = self.now;
        bench.shared = self.shared.clone();
        bench
    }
}

impl Played {
    fn row(&mut self, section: &mut Section, number: usize, line: &str) {
        let cells = cells(line);
        assert_eq!(cells.len(), section.header.len(), "line {number}: as many cells as columns");
        let told = |name: &str| section.header.iter().position(|known| known == name).map(|index| cells[index].replace("<br>", "\n"));
        let cell = |name: &str| told(name).or_else(|| section.defaults.get(name).cloned());
        let mut program = Program { terms: super::terms(), zone: Zone::UTC };
        let of_row = told("Terms").unwrap_or_default();
        section.terms.iter().map(String::as_str).chain(of_row.lines()).for_each(|term| self.words.term(&mut program, term));
        let in_order = section.header.iter().any(|name| name == "Step");
        assert!(!in_order || told("Terms").is_none(), "line {number}: a story has its terms before the table");
        let mut people = section.town.take().filter(|_| in_order).unwrap_or_else(|| People::new(program));
        people.steps += 1;
        let step = if in_order { told("Step").unwrap_or_default() } else { "1".to_owned() };
        assert_eq!(step, people.steps.to_string(), "line {number}: steps are numbered");
        let somebody = cell("Member").map(|text| self.words.member(&text)).unwrap_or_default();
        let what = self.words.what(&cell("What").unwrap_or_else(|| panic!("line {number}: nothing happens")), &step);
        let when = cell("When").unwrap_or_else(|| panic!("line {number}: no time"));
        people.buy_before(&told("Who").unwrap_or_default(), &somebody);
        people.now = match when.strip_prefix('+').map(|later| later.split_once(' ')) {
            None => moment(&when),
            Some(Some((count, unit @ ("h" | "d")))) => {
                let hours: u64 = count.parse().unwrap();
                people.now + Duration::from_secs(hours * if unit == "h" { 3_600 } else { 86_400 })
            }
            Some(_) => panic!("line {number}: {when:?} is no time"),
        };
        self.rows += 1;
        self.returns += usize::from(!matches!(what, What::Buys(_)));
        let says = people.play(&told("Who").unwrap_or_default(), &somebody, what);
        let wanted: Vec<String> = told("Receipt").unwrap_or_default().lines().map(ToOwned::to_owned).collect();
        assert_eq!(says, wanted, "line {number}: {line}");
        let reasons = REASONS.iter().filter(|(_, reason)| says.iter().any(|part| part.ends_with(&format!(": {reason}"))));
        self.reasons.extend(reasons.map(|(_, reason)| *reason));
        section.town = Some(people);
    }
}

impl People {
    /// What somebody has bought before, for nothing.
    fn buy_before(&mut self, who: &str, somebody: &Somebody) {
        for (index, moment) in somebody.bought.iter().enumerate() {
            self.now = *moment;
            let bench = self.bench(who);
            if !bench.purchases.iter().any(|purchase| purchase.occurred_at == *moment) {
                bench.run(by(bench.member, award(&format!("before-{index}"), 0))).unwrap();
            }
        }
    }

    /// What happens, as the receipt says it.
    fn play(&mut self, who: &str, somebody: &Somebody, what: What) -> Vec<String> {
        let bench = self.bench(who);
        bench.facts = somebody.facts.clone();
        let said = match what {
            What::Buys(Buying { input, store, till, cashier }) => {
                (bench.store, bench.terminal, bench.cashier) = (store, till, cashier);
                bench.tells_all = true;
                let command = Command::Award(Award { program: program(), member: Some(bench.member), purchase: input });
                match bench.run(command) {
                    Ok(Outcome::Awarded { purchase, explanation }) => receipt(&explanation, purchase.due),
                    Err(Refusal::AwardLimit { limit }) => vec![format!("refused by limit {limit}")],
                    other => panic!("no award: {other:?}"),
                }
            }
            What::Returns(pieces, category, step) => {
                let bought = bench.purchases.iter().find(|purchase| *purchase.input.id.0 == *step).expect("a step that bought");
                let line = bought.input.lines.iter().find(|line| line.category == category).expect("goods that were bought").id.clone();
                bench.returned(back(&step, &[(&line, pieces)]))
            }
            What::Keeps(net, step) => bench.returned(remaining(&step, net)),
        };
        let due: i64 = bench.purchases.iter().map(|purchase| purchase.due).sum();
        assert_eq!(bench.active(), due, "the balance is what the receipts add up to");
        self.shared = bench.shared.clone();
        said
    }
}

impl Bench {
    /// What the receipt of what is left says.
    fn returned(&mut self, command: Command) -> Vec<String> {
        let Ok(Outcome::Returned(returned)) = self.run(command) else { panic!("a return") };
        let purchase = &returned.purchase;
        let version = self.versions.number(purchase.facts.version).unwrap();
        receipt(&version.points_for(&purchase.basket(), &purchase.facts).unwrap(), purchase.due)
    }
}

/// Each part with its points, each promotion that gave nothing with the reason, and the sum.
fn receipt(explanation: &Explanation, due: i64) -> Vec<String> {
    let part = |part: &super::super::terms::Component| {
        let source = part.source.trim_start_matches("promotion:").replace(':', " ");
        if part.desired == part.points {
            format!("{source} {}", part.points)
        } else {
            format!("{source} {} of {}", part.points, part.desired)
        }
    };
    let reason = |rejection: &Rejection| REASONS.iter().find(|(known, _)| known == rejection).expect("all are listed").1;
    let rejected = explanation.rejected.iter().map(|(id, rejection)| format!("{id}: {}", reason(rejection)));
    let parts = explanation.components.iter().map(part);
    assert_eq!(explanation.components.iter().map(|part| part.points).sum::<i64>(), due, "the parts add up");
    parts.chain(rejected).chain([format!("= {due}")]).collect()
}

#[test]
fn the_page_says_what_receipts_say() {
    let played = play(PAGE);
    assert_eq!((played.rows, played.returns), (152, 14), "each row is played");
    assert_eq!(played.words.unsaid(), [""; 0], "each kind is shown");
    let missing: Vec<&str> = REASONS.iter().map(|(_, reason)| *reason).filter(|reason| !played.reasons.contains(reason)).collect();
    assert_eq!(missing, [""; 0], "each reason is shown");
}

/// A page that says something else does not pass.
#[test]
fn what_the_page_gets_wrong_is_found() {
    let page = "## One\n\n- When: 2026-05-12 09:30\n- What: buys for 14.00\n\n| Terms | Receipt |\n|---|---|\n";
    let row = "| ten: +10 | base 14<br>ten 10<br>= 24 |";
    let fails = |row: &str| std::panic::catch_unwind(|| play(&format!("{page}{row}\n"))).is_err();
    assert_eq!(play(&format!("{page}{row}\n")).rows, 1);
    for (right, wrong) in [("24", "25"), ("ten 10", "ten 9"), ("ten: +10", "ten: +10, category tea"), ("ten: +10", "ten: +10, sometimes")] {
        assert!(fails(&row.replace(right, wrong)), "{wrong}");
    }
    assert!(fails("| ten: +10 |") && fails("| ten: +10 | |"));
}
