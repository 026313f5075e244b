//! The words of a call.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use proto::common::Money;
use proto::points as pb;
use rpc::wire::timestamp;

use super::super::requests::*;

/// Words that another one follows, anywhere behind the verb.
const OPTIONS: [&str; 23] = [
    "articles", "as", "at", "by", "ends", "for", "giving", "in", "known", "later", "limit", "of", "paid-by", "proof", "risk", "starts",
    "stock", "tag", "through", "till", "tier", "to", "valid",
];
/// Words that stand alone, anywhere behind the verb.
const FLAGS: [&str; 8] = ["EUR", "last", "never", "restock", "several", "sharing", "stars", "up-to"];

/// A call: its verb, what it is about in order, and the rest in any order.
pub(super) struct Words<'a> {
    pub(super) verb: &'a str,
    about: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
    flags: Vec<&'a str>,
    pub(super) now: Timestamp,
    pub(super) program: String,
    pub(super) request_id: String,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a str, now: Timestamp) -> Words<'a> {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a call has a verb");
        let (mut about, mut options, mut flags) = (Vec::new(), BTreeMap::new(), Vec::new());
        while let Some(word) = words.next() {
            if OPTIONS.contains(&word) {
                options.insert(word, words.next().unwrap_or_else(|| panic!("nothing follows {word}: {line}")));
            } else if FLAGS.contains(&word) {
                flags.push(word);
            } else {
                about.push(word);
            }
        }
        let program = format!("programs/{}", options.get("in").unwrap_or(&"tea"));
        let request_id = options.get("as").map_or_else(request_id, |name| (*name).to_owned());
        Words { verb, about, options, flags, now, program, request_id }
    }

    /// What the call is about: its first word behind the verb is 0.
    pub(super) fn word(&self, index: usize) -> &'a str {
        self.maybe(index).unwrap_or_else(|| panic!("{} lacks a word", self.verb))
    }

    pub(super) fn maybe(&self, index: usize) -> Option<&'a str> {
        self.about.get(index).copied()
    }

    pub(super) fn points(&self, index: usize) -> i64 {
        number(self.word(index))
    }

    pub(super) fn maybe_points(&self, index: usize) -> Option<i64> {
        self.maybe(index).map(number)
    }

    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        self.options.get(name).copied()
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    pub(super) fn span(&self, name: &str) -> Option<Duration> {
        self.option(name).map(span)
    }

    /// A time that is told from now: `+1h`, `-30d`.
    pub(super) fn time(&self, name: &str) -> Option<prost_types::Timestamp> {
        let (sign, word) = self.option(name)?.split_at(1);
        Some(timestamp(if sign == "-" { self.now - span(word) } else { self.now + span(word) }))
    }

    pub(super) fn wallet(&self) -> String {
        if self.has("stars") { "stars".to_owned() } else { String::new() }
    }

    /// The one mode of Redeem and RedeemFromPool.
    pub(super) fn mode(&self) -> i32 {
        if self.has("up-to") { pb::redeem_request::Mode::UpTo.into() } else { 0 }
    }

    pub(super) fn money(&self, minor_units: i64) -> Money {
        Money { currency_code: if self.has("EUR") { "EUR" } else { "CNY" }.to_owned(), minor_units }
    }

    /// What is bought: an amount, or lines.
    pub(super) fn bought(&self, purchase_id: &str, what: usize) -> pb::PurchaseInput {
        let lines: Vec<_> = self.about[what..].iter().filter(|word| word.contains(':')).map(|word| bought(word)).collect();
        let net = if lines.is_empty() { fen(self.word(what)) } else { lines.iter().map(|line| line.net_minor_units).sum() };
        let (purchase_id, occur_time) = (purchase_id.to_owned(), self.time("at"));
        let (cashier, channel) = (self.option("by").unwrap_or_default().to_owned(), self.option("through").unwrap_or_default().to_owned());
        pb::PurchaseInput { purchase_id, net: Some(self.money(net)), lines, occur_time, cashier, channel, ..pb::PurchaseInput::default() }
    }

    /// What goes back: pieces of a line, or all but an amount.
    pub(super) fn goes_back(&self) -> pb::return_purchase_request::What {
        match self.option("to") {
            Some(left) => pb::return_purchase_request::What::RemainingNet(self.money(fen(left))),
            None => {
                let (line, pieces) = self.word(1).split_once(':').expect("pieces of a line");
                let line = pb::ReturnLine { line_id: line.to_owned(), quantity: number(pieces) };
                pb::return_purchase_request::What::Lines(pb::ReturnLines { lines: vec![line] })
            }
        }
    }

    /// When points lapse instead.
    pub(super) fn lapse(&self) -> pb::set_expiry_request::To {
        use pb::set_expiry_request::To;
        match (self.time("to"), self.span("later")) {
            (Some(time), _) => To::ExpireTime(time),
            (None, Some(later)) => To::Later(days(i32::try_from(later.as_secs() / 86_400).unwrap()).expect("days")),
            (None, None) => To::Never(self.has("never")),
        }
    }
}

/// A call for each member of a range: `leave home 11..13` is three calls.
pub(super) fn each(line: &str) -> Vec<String> {
    let Some(range) = line.split_whitespace().find(|word| word.contains("..")) else { return vec![line.to_owned()] };
    let (first, last) = range.split_once("..").expect("it was found by that");
    (number(first)..=number(last)).map(|member| line.replace(range, &member.to_string())).collect()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// `12.34` is 1234.
pub(super) fn fen(text: &str) -> i64 {
    number(&text.replace('.', ""))
}

/// `a:2:40.00` is two pieces of line a for 40 yuan together.
fn bought(text: &str) -> pb::PurchaseLine {
    let [line, pieces, net] = text.split(':').collect::<Vec<_>>()[..] else { panic!("no line: {text}") };
    pb::PurchaseLine { line_id: line.to_owned(), quantity: number(pieces), net_minor_units: fen(net), ..Default::default() }
}

/// `60s`, `1h` or `30d`.
pub(super) fn span(text: &str) -> Duration {
    let (count, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "h" => 3_600,
        "d" => 86_400,
        other => panic!("no unit: {other}"),
    };
    Duration::from_secs(count.parse::<u64>().unwrap() * seconds)
}
