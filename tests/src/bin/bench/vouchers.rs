//! Vouchers that are used beside awards.

use anyhow::ensure;

use crate::Bench;
use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::load::Load;
use crate::report::{Goal, Report};
use crate::{MEMBERS, sample::Sample};

const CALLERS: usize = 256;

/// Callers of the grants, which go before.
const GRANTING: usize = 1024;

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!("Vouchers: {CALLERS} callers, each voucher granted before and used once, for an order of three lines"));
    let suite = bench.suite().await?;
    let members = Members::new(PROGRAM, 0, MEMBERS);
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let load = bench.load(&suite, CALLERS, &meter);
    let award = load.run(move |call| Some(Call::award_of_lines(members.spread(call), PROGRAM))).await?;
    report.row("award", &award, "");
    let remark = |sample: &Sample| format!("{:.2} of the award rate", sample.rate() / award.rate());

    // Half as many again as would be used at the rate of awards.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive, and far from any limit")]
    let wanted = (award.rate() * (bench.warmup() + bench.time()).as_secs_f64() * 1.5) as u64;
    let granting = Load::of_all(&suite, GRANTING);
    let grant = move |call| (call < wanted).then(|| Call::grant(members.spread(call), call));
    let (grant, codes) = granting.run_and_keep(grant).await?;
    report.row("grant, by 1024 callers, before", &grant, &remark(&grant));
    ensure!(codes.len() as u64 == wanted, "{} of {wanted} grants told a code", codes.len());

    let used = load.run(move |call| Some(Call::use_voucher(codes.get(usize::try_from(call).ok()?)?.clone(), call))).await?;
    report.row("use", &used, &remark(&used));
    report.goal("256 callers: use of a voucher as a share of award", used.rate() / award.rate(), Goal::AtLeast(0.8));
    Ok(())
}
