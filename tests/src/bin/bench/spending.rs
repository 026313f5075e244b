//! Redeeming and reserving beside awarding, on the same members.

use crate::Bench;
use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::load::Load;
use crate::report::{Goal, Report};
use crate::sample::Sample;

const CALLERS: usize = 256;

/// Members who have points to spend.
const FUNDED: u64 = 50_000;

/// A million points each: more than a run can spend.
const FUNDS_NET: i64 = 100_000_000;

/// Points of a redemption or reservation.
const POINTS: i64 = 25;

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!("Spending: {CALLERS} callers, {FUNDED} members, each funded by one award before"));
    let suite = bench.suite().await?;
    let members = Members::new(PROGRAM, 0, FUNDED);
    Load::of_all(&suite, 1024).run(move |call| Some(Call::award(members.in_turn(call, 1)?, FUNDS_NET))).await?;

    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let load = bench.load(&suite, CALLERS, &meter);
    let award = load.run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
    report.row("award", &award, "");
    let share = |sample: &Sample| sample.rate() / award.rate();
    let remark = |sample: &Sample| format!("{:.2} of the award rate", share(sample));

    let redeem = load.run(move |call| Some(Call::redeem(members.spread(call), POINTS))).await?;
    report.row("redeem", &redeem, &remark(&redeem));
    report.goal("256 callers: redeem as a share of award", share(&redeem), Goal::AtLeast(0.7));

    let (reserve, mut first) = load.run_and_keep(move |call| Some(Call::reserve(members.spread(call), POINTS))).await?;
    report.row("reserve", &reserve, &remark(&reserve));
    report.goal("256 callers: reserve as a share of award", share(&reserve), Goal::AtLeast(0.7));

    // Half of them are captured, half released. There are only so many, so these two may take less time than the others.
    let second = first.split_off(first.len() / 2);
    let load = Load { warmup: bench.warmup() / 2, ..load };
    let capture = load.run(move |call| Some(Call::capture(first.get(usize::try_from(call).ok()?)?.clone()))).await?;
    report.row("capture what was reserved", &capture, &remark(&capture));
    let release = load.run(move |call| Some(Call::release(second.get(usize::try_from(call).ok()?)?.clone()))).await?;
    report.row("release what was reserved", &release, &remark(&release));
    Ok(())
}
