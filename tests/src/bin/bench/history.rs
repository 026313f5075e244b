//! A member with ten thousand entries beside a fresh one, and a redemption from 400 lots beside one from a single lot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use prost_types::Timestamp;
use proto::points::GetBalanceRequest;

use crate::Bench;
use crate::calls::{Call, Members, PROGRAM, PROGRAM_OF_DAYS};
use crate::load::Load;
use crate::report::{Goal, Report};
use crate::sample::{PARTS, Sample};
use crate::suite::Suite;

const PAST_ENTRIES: u64 = 10_000;
const LOTS: u64 = 400;

/// Calls of a lone caller in a round, and of 256 callers.
const ALONE: u64 = 300;
const TOGETHER: u64 = 3_000;

/// Members whose redemption is measured in a round.
const REDEMPTIONS: u64 = 16;

/// What a round asks of one member.
struct Asked {
    what: &'static str,
    callers: usize,
    calls: u64,
    make: fn(String) -> Call,
}

const ASKED: [Asked; 4] = [
    Asked { what: "award, 1 caller", callers: 1, calls: ALONE, make: |member| Call::award(member, 2933) },
    Asked { what: "balance, 1 caller", callers: 1, calls: ALONE, make: Call::balance },
    Asked { what: "award, 256 callers", callers: 256, calls: TOGETHER, make: |member| Call::award(member, 2933) },
    Asked { what: "balance, 256 callers", callers: 256, calls: TOGETHER, make: Call::balance },
];

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let suite = bench.suite().await?;
    long(&suite, report).await?;
    many_lots(&suite, report).await
}

/// Rounds alternate between the old member and one who had a single entry before, so that both see the same machine.
async fn long(suite: &Suite, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!(
        "History: calls for one member with {PAST_ENTRIES} entries and for a fresh one, {PARTS} rounds of {ALONE} calls by 1 caller and {TOGETHER} by 256"
    ));
    let (old, fresh) = (Members::new(PROGRAM, 0, 1), Members::new(PROGRAM, 1, u64::from(PARTS)));
    Load::of_all(suite, 256).run(move |call| Some(Call::award(old.in_turn(call, PAST_ENTRIES)?, 2933))).await?;
    Load::of_all(suite, 1).run(move |call| Some(Call::award(fresh.in_turn(call, 1)?, 2933))).await?;
    for Asked { what, callers, calls, make } in ASKED {
        let (mut of_old, mut of_fresh) = (Vec::new(), Vec::new());
        for round in 0..u64::from(PARTS) {
            for (member, samples) in [(fresh.name(round), &mut of_fresh), (old.name(0), &mut of_old)] {
                let sample = Load::of_all(suite, callers).run(move |call| (call < calls).then(|| make(member.clone()))).await?;
                samples.push(sample);
            }
        }
        let pair = Pair { little: ("a fresh member", Sample::of_rounds(of_fresh)), much: ("10,000 entries", Sample::of_rounds(of_old)) };
        compare(report, what, &pair, callers == 1);
    }
    Ok(())
}

/// Every member redeems once, all that he has; other members in every round.
async fn many_lots(suite: &Suite, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!(
        "Lots: one caller, a redemption of all points from {LOTS} lots and from a single lot, {PARTS} rounds of {REDEMPTIONS} members"
    ));
    let members = u64::from(PARTS) * REDEMPTIONS;
    let (many, single) = (Members::new(PROGRAM_OF_DAYS, 2, members), Members::new(PROGRAM_OF_DAYS, 3, members));
    let today = SystemTime::now().duration_since(UNIX_EPOCH)?;
    // A purchase a day makes a lot a day. The same points of one day are one lot.
    let funding = move |call: u64| Some(Call::award_of(many.in_turn(call, LOTS)?, days_before(today, 1 + call % LOTS)));
    Load::of_all(suite, 256).run(funding).await?;
    let funding = move |call: u64| Some(Call::award_of(single.in_turn(call, LOTS)?, days_before(today, 1)));
    Load::of_all(suite, 256).run(funding).await?;
    for (members, lots) in [(many, LOTS), (single, 1)] {
        let balance =
            suite.client().await?.get_balance(GetBalanceRequest { member: members.name(0), ..Default::default() }).await?.into_inner();
        let held: usize = balance.wallets.iter().map(|wallet| wallet.lots.len()).sum();
        ensure!(held as u64 == lots, "a member has {held} lots where {lots} were to be made");
    }

    let points = 29 * i64::try_from(LOTS)?;
    let (mut of_many, mut of_single) = (Vec::new(), Vec::new());
    for round in 0..u64::from(PARTS) {
        for (members, samples) in [(single, &mut of_single), (many, &mut of_many)] {
            let redeem = move |call: u64| (call < REDEMPTIONS).then(|| Call::redeem(members.name(round * REDEMPTIONS + call), points));
            samples.push(Load::of_all(suite, 1).run(redeem).await?);
        }
    }
    let pair = Pair { little: ("1 lot", Sample::of_rounds(of_single)), much: ("400 lots", Sample::of_rounds(of_many)) };
    compare(report, "redeem, 1 caller", &pair, true);
    Ok(())
}

/// What is compared: a member with little behind him and one with much.
struct Pair<'a> {
    little: (&'a str, Sample),
    much: (&'a str, Sample),
}

/// Latency counts where one calls, the rate where many do.
fn compare(report: &mut Report, what: &str, pair: &Pair<'_>, alone: bool) {
    let Pair { little: (name_of_little, little), much: (name_of_much, much) } = pair;
    let (by, times) = if alone { ("p50", much.ms(50) / little.ms(50)) } else { ("time per call", little.rate() / much.rate()) };
    report.row(&format!("{what}, {name_of_little}"), little, "");
    report.row(&format!("{what}, {name_of_much}"), much, &format!("{by} {times:.2} × that"));
    report.goal(format!("{what}: {by} with {name_of_much} against {name_of_little}"), times, Goal::AtMost(2.0));
}

fn days_before(today: Duration, days: u64) -> Timestamp {
    let seconds = i64::try_from(today.as_secs()).expect("no clock is that far ahead") - i64::try_from(days).expect("days are few") * 86_400;
    Timestamp { seconds, nanos: 0 }
}
