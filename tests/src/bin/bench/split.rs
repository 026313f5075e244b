//! Where the CPU time of an award goes.

use crate::Bench;
use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::report::Report;
use crate::{MEMBERS, core};

const CALLERS: usize = 256;

/// A process cannot be metered by part, so the parts are found by leaving others out: a call that is refused after everything but
/// the ledger has seen it, and the ledger's pure core alone, in this process. The rest of the suite's time is what remains.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!("CPU time of an award at {CALLERS} callers"));
    let suite = bench.suite().await?;
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let members = Members::new(PROGRAM, 0, MEMBERS);
    let load = bench.load(&suite, CALLERS, &meter);
    let award = load.run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
    report.row("award", &award, "");
    let refused = load.run(move |call| Some(Call::refused(members.spread(call)))).await?;
    report.row("award in foreign currency", &refused, "refused before the ledger");
    let core = core::micros_per_award()?;
    let (all, wire) = (award.cost.of("suite"), refused.cost.of("suite"));
    report.line(&format!("the suite's {all:.0} µs of an award are about"));
    report.line(&format!("  {wire:>5.0} µs gRPC, authentication, decoding and field rules: the refused award (at its rate a read of a socket brings more calls: a lower bound)"));
    report.line(&format!("  {core:>5.1} µs the pure core: the same awards in a loop, without service and database"));
    report.line(&format!(
        "  {:>5.0} µs the rest: queue, driver, stored form of rows, events, answer (what remains, not measured by itself)",
        all - wire - core
    ));
    Ok(())
}
