//! Sums that must come out whatever happened, by the books alone: neither the model nor the service has a part in them.

use std::collections::{BTreeMap, BTreeSet};

use proto::points as pb;
use proto::points::EntryKind;

use super::history::{Event, books};

/// What one operation did to the points of all accounts.
#[derive(Default)]
struct Moved<'a> {
    accounts: BTreeSet<&'a str>,
    points: i64,
}

/// Adds up the books of all accounts. In each, the entries make the balances that the last one tells, and lots and debt are as many
/// points as the entries; what goes from one account to another leaves one as it reaches the other.
pub(crate) fn check_books(events: &[Event]) -> Result<(), String> {
    let books = books(events);
    let mut moved: BTreeMap<&str, Moved<'_>> = BTreeMap::new();
    for (member, entries) in &books {
        check_account(member, entries)?;
        for entry in entries.iter().filter(|entry| is_between(entry)) {
            let moved = moved.entry(&entry.operation).or_default();
            moved.accounts.insert(member);
            moved.points += entry.points;
        }
    }
    match moved.iter().find(|(_, moved)| moved.points != 0 || moved.accounts.len() != 2) {
        Some((operation, Moved { accounts, points })) => Err(format!("{operation} comes to {points} points in {accounts:?}")),
        None => Ok(()),
    }
}

/// Whether an entry is one side of something between two accounts.
fn is_between(entry: &pb::Entry) -> bool {
    use EntryKind::{MergeIn, MergeOut, Repay, TransferIn, TransferOut, UnmergeIn, UnmergeOut};
    matches!(entry.kind(), TransferOut | TransferIn | MergeOut | MergeIn | UnmergeOut | UnmergeIn | Repay)
}

fn check_account(member: &str, entries: &[pb::Entry]) -> Result<(), String> {
    let mut lots: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let (mut points, mut deficit) = (0, 0);
    for entry in entries {
        points += entry.points;
        deficit += entry.deficit_delta;
        for change in &entry.lots {
            // Lots that look alike and are not the same add up to one.
            let key =
                format!("{:?} {:?} {} {} {}", change.activate_time, change.expire_time, change.sliding, change.earn_month, change.event);
            let lot = lots.entry(key).or_default();
            (lot.0, lot.1) = (lot.0 + change.points_delta, lot.1 + change.reserved_delta);
        }
        let wrong = |what: &str| Err(format!("{}: {what}\n{entry:?}", entry.name));
        if lots.values().any(|(points, held)| !(0 <= *held && held <= points)) {
            return wrong("a lot holds more than it has");
        }
        let (in_lots, held) = lots.values().fold((0, 0), |sum, lot| (sum.0 + lot.0, sum.1 + lot.1));
        if in_lots - deficit != points || (held, deficit) != (entry.reserved_after, entry.deficit_after) {
            return wrong("its lots and debt are not the points of the entries");
        }
        if entry.active_after + entry.pending_after + entry.reserved_after - entry.deficit_after != points {
            return wrong("its balances are not the points of the entries");
        }
    }
    let versions = entries.iter().map(|entry| entry.version);
    if versions.ne(1..=i64::try_from(entries.len()).unwrap()) {
        return Err(format!("the versions of {member} have gaps"));
    }
    Ok(())
}
