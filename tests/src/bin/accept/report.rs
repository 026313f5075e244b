//! The table: one figure a line, ok or FAILED.

use std::fmt::Display;
use std::process::ExitCode;

use crate::log::{Expected, PUBLISHED, at_least, highest};
use crate::readback::Books;

/// What has been checked so far.
pub(crate) struct Report {
    checks: u32,
    failed: u32,
}

impl Report {
    pub(crate) fn new() -> Report {
        Report { checks: 0, failed: 0 }
    }

    /// Begins a part.
    pub(crate) fn section(&self, title: &str) {
        println!("\n{title}");
    }

    /// One figure.
    pub(crate) fn check(&mut self, what: &str, expected: &impl Display, found: impl Display, is_right: bool) {
        self.checks += 1;
        self.failed += u32::from(!is_right);
        match is_right {
            true => println!("  ok      {what:<58} {found}"),
            false => println!("  FAILED  {what:<58} {found}, expected {expected}"),
        }
    }

    /// One figure that must be another.
    pub(crate) fn equal<T: PartialEq + Display>(&mut self, what: &str, expected: T, found: T) {
        let is_right = expected == found;
        self.check(what, &expected, found, is_right);
    }

    /// The file's own figures against those published with it.
    pub(crate) fn published(&mut self, file: &Expected) {
        let known = &PUBLISHED;
        self.equal("published: rows", known.rows, file.rows);
        self.equal("published: members", known.members, file.members());
        self.equal("published: member-days", known.member_days, file.member_days);
        self.equal("published: sum of amounts", dollars(known.cents), dollars(file.cents));
        self.equal("published: purchases of 0.00", known.purchases_of_zero, file.purchases_of_zero);
        self.equal("published: points", known.points, file.points());
        let known_highest = known.highest.map(|(customer, points)| (customer.to_owned(), points));
        self.equal("published: highest balances", shown(&known_highest), shown(&highest(&file.balances)));
        for (points, members) in known.with_at_least {
            self.equal(&format!("published: members with at least {points} points"), members, at_least(&file.balances, points));
        }
    }

    /// The file's own figures, of which only the sense can be checked.
    pub(crate) fn own(&mut self, file: &Expected) {
        let has = |what: &str, figure: u64, report: &mut Report| report.check(what, &"some", figure, figure > 0);
        has("rows", file.rows, self);
        has("members", file.members(), self);
        has("purchases of 0.00", file.purchases_of_zero, self);
    }

    /// What the suite holds against what the file gives.
    pub(crate) fn books(&mut self, expected: &Expected, books: &Books) {
        let balances = books.balances();
        self.equal("purchases", expected.rows, books.purchases.len() as u64);
        self.equal("members, all active", expected.members(), books.active_members());
        self.equal("members in all", expected.members(), books.members.len() as u64);
        match books.member_days() {
            Ok(days) => self.equal("member-days", expected.member_days, days),
            Err(error) => self.check("member-days", &expected.member_days, error, false),
        }
        self.equal("sum of amounts", dollars(expected.cents), dollars(books.cents()));
        self.equal("purchases of 0.00", expected.purchases_of_zero, books.purchases_of_zero());
        self.equal("points of all purchases", expected.points(), books.due_points());
        self.equal("points of all balances", expected.points(), balances.values().sum());
        self.equal("points pending, reserved or owed", 0, books.other_points());
        self.equal("highest balances", shown(&highest(&expected.balances)), shown(&highest(&balances)));
        for points in PUBLISHED.with_at_least.map(|(points, _)| points) {
            let (wanted, found) = (at_least(&expected.balances, points), at_least(&balances, points));
            self.equal(&format!("members with at least {points} points"), wanted, found);
        }
        let different = expected.balances.iter().filter(|(customer, points)| balances.get(*customer) != Some(points)).count();
        self.equal("customers whose balance is not the file's", 0, different);
    }

    /// What `regulars verify` says.
    pub(crate) fn verification(&mut self, said: &serde_json::Value, expected: &Expected) {
        self.equal("verify: exit code", "0".to_owned(), said["exit_code"].to_string());
        self.equal("verify: differences", "[]".to_owned(), said["differences"].to_string());
        self.equal("verify: accounts", expected.members().to_string(), said["accounts"].to_string());
        self.equal("verify: points", expected.points().to_string(), said["points"][crate::suite::PROGRAM].to_string());
    }

    /// Two states of the books that must be one.
    pub(crate) fn unchanged(&mut self, what: &str, before: &Books, after: &Books) {
        let found = if before == after { "the same" } else { "changed" };
        self.equal(what, "the same", found);
    }

    /// The verdict.
    pub(crate) fn end(self) -> ExitCode {
        let Report { checks, failed } = self;
        if failed == 0 {
            println!("\naccepted: all {checks} figures are as they must be");
            ExitCode::SUCCESS
        } else {
            println!("\nNOT ACCEPTED: {failed} of {checks} figures are not as they must be");
            ExitCode::FAILURE
        }
    }
}

fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn shown(balances: &[(String, i64)]) -> String {
    let shown: Vec<String> = balances.iter().map(|(customer, points)| format!("{customer} {points}")).collect();
    shown.join(", ")
}
