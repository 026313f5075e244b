//! The words of the page: what a promotion, a program, a member and a purchase are called there. A word that is not known fails.

use std::collections::BTreeSet;

use jiff::civil::Weekday;

use super::super::promotions::points;
use super::super::*;
use super::plain::*;

/// Every word that a clause may begin with. The page has to use each.
const WORDS: [&str; 43] = [
    "category",
    "article",
    "without category",
    "without tag",
    "at least pieces",
    "at least spent",
    "at most",
    "group",
    "priority",
    "each member",
    "all together",
    "store",
    "channel",
    "tier",
    "tag",
    "segment",
    "birthday",
    "purchase",
    "away",
    "on",
    "from",
    "rule",
    "if",
    "starts",
    "ends",
    "×",
    "+",
    "rate",
    "limit",
    "earns",
    "tax counts",
    "discounts count",
    "rounds",
    "zone",
    "multiplied tier",
    "born",
    "bought",
    "tax",
    "off",
    "till",
    "cashier",
    "trims",
    "refuses",
];

/// What has been said so far.
#[derive(Default)]
pub(super) struct Words {
    used: BTreeSet<&'static str>,
}

/// What of terms is told of, beside what they usually are, and the zone of the program.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) terms: Terms,
    pub(super) zone: Zone,
}

/// Somebody, and when he bought before.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) facts: Facts,
    pub(super) bought: Vec<Timestamp>,
}

/// What happens.
pub(super) enum What {
    Buys(Buying),
    /// Pieces of a category, of the purchase of a step.
    Returns(i64, String, String),
    /// What is left of the purchase of a step.
    Keeps(i64, String),
}

pub(super) struct Buying {
    pub(super) input: PurchaseInput,
    pub(super) store: &'static str,
    pub(super) till: &'static str,
    pub(super) cashier: &'static str,
}

impl Words {
    /// Words that nobody has said.
    pub(super) fn unsaid(&self) -> Vec<&'static str> {
        WORDS.into_iter().filter(|word| !self.used.contains(word)).collect()
    }

    fn say(&mut self, word: &'static str) {
        assert!(WORDS.contains(&word), "{word} is listed");
        self.used.insert(word);
    }

    /// What follows a word.
    fn after<'a>(&mut self, word: &'static str, clause: &'a str) -> Option<&'a str> {
        let rest = clause.strip_prefix(word)?.strip_prefix(' ')?;
        self.say(word);
        Some(rest)
    }

    /// Takes a line of terms in.
    pub(super) fn term(&mut self, program: &mut Program, line: &str) {
        let terms = &mut program.terms;
        match line.split_once(": ") {
            Some((name, text)) => match name.split_once(' ') {
                Some(("rate", id)) => {
                    self.say("rate");
                    terms.earn_rates.push(self.rate(id, text));
                }
                Some(("limit", id)) => {
                    self.say("limit");
                    terms.limits.push(self.award_limit(id, text));
                }
                Some(_) => panic!("{name:?} is no name"),
                None => {
                    let promotion = self.promotion(name, text, &program.zone);
                    terms.promotions = terms.promotions.iter().cloned().chain([promotion]).collect();
                }
            },
            None if line == "tax counts" => {
                self.say("tax counts");
                terms.basis.tax = true;
            }
            None if line == "discounts count" => {
                self.say("discounts count");
                terms.basis.discounts = true;
            }
            None => {
                if let Some(zone) = self.after("zone", line) {
                    program.zone = Zone::parse(zone).unwrap();
                } else if let Some(rounding) = self.after("rounds", line) {
                    terms.rounding = match rounding {
                        "down" => PointRounding::Down,
                        "half up" => PointRounding::HalfUp,
                        "up" => PointRounding::Up,
                        _ => panic!("nothing is rounded {rounding:?}"),
                    };
                } else if let Some(rate) = self.after("earns", line) {
                    terms.points_per_unit = number(rate.strip_suffix(" a unit").unwrap_or_else(|| panic!("{rate:?} is no rate")));
                } else {
                    panic!("unknown term {line:?}");
                }
            }
        }
    }

    fn rate(&mut self, id: &str, text: &str) -> EarnRate {
        let mut all = clauses(text).into_iter();
        let rate = all.next().and_then(|rate| rate.strip_suffix(" a unit")).unwrap_or_else(|| panic!("{text:?} is no rate"));
        let (lines, stores_of) = (LineFilter::default(), Vec::new());
        let mut rate = EarnRate { id: id.into(), points_per_unit: number(rate), lines, stores: stores_of, channels: Vec::new() };
        for clause in all {
            if let Some(list) = self.after("store", clause) {
                rate.stores = stores(list);
            } else if let Some(list) = self.after("channel", clause) {
                rate.channels = either(list);
            } else {
                assert!(self.line_filter(&mut rate.lines, clause), "unknown clause {clause:?} of a rate");
            }
        }
        rate
    }

    fn award_limit(&mut self, id: &str, text: &str) -> AwardLimit {
        let [most, scope, exceeding] = clauses(text)[..] else { panic!("{text:?} is how much, of what, and what happens beyond") };
        let scope = match scope {
            "each purchase" => LimitScope::Purchase,
            "each member" => LimitScope::Member,
            "each till" => LimitScope::Terminal,
            "each cashier" => LimitScope::Cashier,
            "each store" => LimitScope::Store,
            "the program" => LimitScope::Program,
            _ => panic!("nothing is counted by {scope:?}"),
        };
        let rejects = match exceeding {
            "trims" => {
                self.say("trims");
                false
            }
            "refuses" => {
                self.say("refuses");
                true
            }
            _ => panic!("beyond a limit nothing {exceeding:?}"),
        };
        AwardLimit { id: id.into(), scope, limit: limit(most), rejects }
    }

    fn line_filter(&mut self, lines: &mut LineFilter, clause: &str) -> bool {
        if let Some(list) = self.after("category", clause) {
            lines.categories = either(list);
        } else if let Some(list) = self.after("article", clause) {
            lines.skus = either(list);
        } else if let Some(list) = self.after("without category", clause) {
            lines.excluded_categories = either(list);
        } else if let Some(count) = clause.strip_prefix("at least ").and_then(|rest| rest.strip_suffix(" pieces")) {
            self.say("at least pieces");
            lines.quantity_min = number(count);
        } else {
            return false;
        }
        true
    }

    fn promotion(&mut self, id: &str, text: &str, zone: &Zone) -> Promotion {
        let mut all = clauses(text).into_iter();
        let gives = all.next().unwrap_or_default();
        let gives = match (gives.strip_prefix('×'), gives.strip_prefix('+')) {
            (Some(multiplier), _) => {
                self.say("×");
                Gives::Multiplier(number(multiplier))
            }
            (_, Some(points)) => {
                self.say("+");
                Gives::Points(number(points))
            }
            _ => panic!("{gives:?} is neither ×2 nor +10"),
        };
        let mut promotion = Promotion { gives, ..points(id, 0) };
        for clause in all {
            if let Some(spent) = clause.strip_prefix("at least ").and_then(|rest| rest.strip_suffix(" spent")) {
                self.say("at least spent");
                promotion.spend_min = money(spent);
            } else if let Some(most) = self.after("at most", clause) {
                promotion.points_max = Some(number(most));
            } else if let Some(group) = self.after("group", clause) {
                promotion.group = Some(group.to_owned());
            } else if let Some(priority) = self.after("priority", clause) {
                promotion.priority = number(priority);
            } else if let Some(most) = self.after("each member", clause) {
                promotion.limit = Some(limit(most));
            } else if let Some(most) = self.after("all together", clause) {
                promotion.budget = Some(limit(most));
            } else if !self.line_filter(&mut promotion.lines, clause) && !self.asks(&mut promotion.asks, clause, zone) {
                panic!("unknown clause {clause:?}");
            }
        }
        promotion
    }

    fn asks(&mut self, asks: &mut Asks, clause: &str, zone: &Zone) -> bool {
        let every_day = || super::super::promotions::weekly(&[1, 2, 3, 4, 5, 6, 7], 0, 1_440);
        if let Some(list) = self.after("store", clause) {
            asks.stores = stores(list);
        } else if let Some(list) = self.after("channel", clause) {
            asks.channels = either(list);
        } else if let Some(list) = self.after("tier", clause) {
            asks.tiers = either(list);
        } else if let Some(list) = self.after("tag", clause) {
            asks.tags = either(list);
        } else if let Some(list) = self.after("without tag", clause) {
            asks.excluded_tags = either(list);
        } else if let Some(list) = self.after("segment", clause) {
            asks.segments = either(list);
        } else if let Some(count) = self.after("purchase", clause) {
            asks.purchase_number = Some(number(count));
        } else if let Some(days) = self.after("away", clause) {
            asks.dormant_days = Some(number(days.strip_suffix(" days").unwrap_or_else(|| panic!("{days:?} are no days"))));
        } else if let Some(around) = self.after("birthday", clause) {
            asks.birthday = Some(match around {
                "day" => BirthdayWindow::Day,
                "week" => BirthdayWindow::Week,
                "month" => BirthdayWindow::Month,
                _ => panic!("there is no birthday {around:?}"),
            });
        } else if let Some(days) = self.after("on", clause) {
            let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let day = |name: &str| names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name:?} is no day"));
            let day = |name| Weekday::from_monday_zero_offset(i8::try_from(day(name)).unwrap()).unwrap();
            asks.weekly.get_or_insert_with(every_day).weekdays = days.split(" and ").map(day).collect();
        } else if let Some(part) = self.after("from", clause) {
            let (start, end) = part.split_once(" to ").unwrap_or_else(|| panic!("{part:?} has no end"));
            let weekly = asks.weekly.get_or_insert_with(every_day);
            (weekly.start_minute, weekly.end_minute) = (minute(start), minute(end));
        } else if let Some(rule) = self.after("rule", clause) {
            let told = rule.split_once(" from ").and_then(|(rule, rest)| Some((quoted(rule), rest.split_once(" for ")?)));
            let (rule, (start, length)) = told.unwrap_or_else(|| panic!("{rule:?} says from when and for how long"));
            let minutes = number(length.strip_suffix(" minutes").unwrap_or_else(|| panic!("{length:?} are no minutes")));
            let start = start.replace(' ', "T").parse().unwrap();
            asks.windows = Windows::new(&[windows(rule, start, minutes, zone).unwrap()]);
        } else if let Some(text) = self.after("if", clause) {
            asks.condition = Some(Condition::parse(quoted(text)).unwrap());
        } else if let Some(at) = self.after("starts", clause) {
            asks.start_at = Some(moment(at));
        } else if let Some(at) = self.after("ends", clause) {
            asks.end_at = Some(moment(at));
        } else {
            return false;
        }
        true
    }

    /// Somebody: "tier gold ×1.5, tag vegan, born 05-14, bought 2026-04-12 23:59".
    pub(super) fn member(&mut self, text: &str) -> Known {
        let mut known = Known::default();
        for clause in clauses(text).into_iter().filter(|clause| *clause != "a newcomer") {
            if let Some(tier) = self.after("tier", clause) {
                let (tier, multiplier) = match tier.split_once(" ×") {
                    Some((tier, multiplier)) => {
                        self.say("multiplied tier");
                        (tier, number(multiplier))
                    }
                    None => (tier, Decimal::ONE),
                };
                let (scheme, tier) = ("programs/tea/schemes/status".to_owned(), tier.to_owned());
                let (start_at, end_at) = (at("2026-01-01T00:00:00Z"), Some(at("2026-06-01T00:00:00Z")));
                known.facts.tiers.push(TierInterval { scheme, tier, multiplier, start_at, end_at });
            } else if let Some(tag) = self.after("tag", clause) {
                known.facts.tags.push(tag.to_owned());
            } else if let Some(segment) = self.after("segment", clause) {
                known.facts.segments.push(segment.to_owned());
            } else if let Some(day) = self.after("born", clause) {
                let (month, day) = day.split_once('-').unwrap_or_else(|| panic!("{day:?} is no day of the year"));
                known.facts.birthday = Some(Birthday::new(number(month), number(day)).expect("a day of the year"));
            } else if let Some(at) = self.after("bought", clause) {
                known.bought.push(moment(at));
            } else {
                panic!("nothing is known as {clause:?}");
            }
        }
        known
    }

    /// "buys 2 pastry 8.00 + coffee 6.00, channel pickup", "returns 1 pastry of 2", "keeps 9.00 of 2".
    pub(super) fn what(&mut self, text: &str, id: &str) -> What {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let of = || rest.split_once(" of ").unwrap_or_else(|| panic!("{text:?} says of which step"));
        match verb {
            "buys" => What::Buys(self.buying(rest, id)),
            "returns" => {
                let (pieces, step) = of();
                let (count, category) = pieces.split_once(' ').unwrap_or_else(|| panic!("{pieces:?} are no pieces"));
                What::Returns(number(count), category.to_owned(), step.to_owned())
            }
            "keeps" => What::Keeps(money(of().0), of().1.to_owned()),
            _ => panic!("nobody {verb:?}"),
        }
    }

    fn buying(&mut self, text: &str, id: &str) -> Buying {
        let mut all = clauses(text).into_iter();
        let goods = all.next().unwrap_or_default();
        let (channel, offer) = ("store".to_owned(), String::new());
        let id = PurchaseId(id.into());
        let mut input = PurchaseInput { id, net: 0, tax: 0, discount: 0, lines: Vec::new(), channel, offer, redemptions: Vec::new() };
        match goods.strip_prefix("for ") {
            Some(net) => input.net = money(net),
            None => input.lines = goods.split(" + ").enumerate().map(|(index, goods)| self.line(index, goods)).collect(),
        }
        input.net += input.lines.iter().map(|line| line.net).sum::<i64>();
        let mut buying = Buying { input, store: store("one"), till: "", cashier: "" };
        for clause in all {
            if let Some(name) = self.after("store", clause) {
                buying.store = store(name);
            } else if let Some(name) = self.after("channel", clause) {
                buying.input.channel = name.to_owned();
            } else if let Some(amount) = self.after("tax", clause) {
                buying.input.tax = money(amount);
            } else if let Some(amount) = self.after("off", clause) {
                buying.input.discount = money(amount);
            } else if let Some(name) = self.after("till", clause) {
                buying.till = if name == "1" { "programs/tea/stores/one/terminals/1" } else { "programs/tea/stores/one/terminals/2" };
            } else if let Some(name) = self.after("cashier", clause) {
                buying.cashier = if name == "A" { "A" } else { "B" };
            } else {
                panic!("nobody buys {clause:?}");
            }
        }
        buying
    }

    /// "2 pastry 8.00 tax 0.50 off 1.00".
    fn line(&mut self, index: usize, text: &str) -> Line {
        let mut words = text.split(' ').peekable();
        let quantity = words.next_if(|word| word.parse::<i64>().is_ok()).map_or(1, number);
        let category = words.next().unwrap_or_default().to_owned();
        let net = money(words.next().unwrap_or_default());
        let mut line = Line { sku: format!("{category}-1"), category, ..line(&(index + 1).to_string(), quantity, net) };
        while let Some(word) = words.next() {
            let amount = money(words.next().unwrap_or_default());
            match word {
                "tax" => {
                    self.say("tax");
                    line.tax = amount;
                }
                "off" => {
                    self.say("off");
                    line.discount = amount;
                }
                _ => panic!("a line has no {word:?}"),
            }
        }
        line
    }
}
