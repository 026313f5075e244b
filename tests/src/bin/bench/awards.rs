//! Awards, one a call, by many callers and on one member, beside the script.

use std::time::Duration;

use crate::calls::{Call, Members, PROGRAM};
use crate::cpu::Meter;
use crate::load::Load;
use crate::report::{Goal, Report};
use crate::script::Script;
use crate::{Bench, DATABASE, MEMBERS};

/// Connections of the script. Its own best is looked for among those from 16 on.
const CONNECTIONS: [usize; 5] = [1, 16, 32, 64, 128];
const CALLERS: [usize; 5] = [1, 16, 64, 256, 1024];

/// What is asked of many callers, as multiples of the script's best and as awards a second.
struct Asked {
    callers: usize,
    fast_disk: f64,
    slow_disk: f64,
    /// 70 % of what a bare prototype did on the machine that the goals were set on.
    least: Option<f64>,
}

const ASKED: [Asked; 3] = [
    Asked { callers: 16, fast_disk: 1.0, slow_disk: 1.0, least: None },
    Asked { callers: 256, fast_disk: 3.0, slow_disk: 8.0, least: Some(0.7 * 16_400.0) },
    Asked { callers: 1024, fast_disk: 4.0, slow_disk: 10.0, least: Some(0.7 * 20_000.0) },
];

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading("Awards: the script (BEGIN, account, entry, key, purchase, event, COMMIT) through pgbench with prepared statements");
    let widths = widths(bench).await?;
    report.widths(&widths);
    let (warmup, time) = (bench.warmup(), bench.time());
    let script = Script::prepare(&bench.database, bench.options.programs.join("pgbench"), widths).await?;
    let mut scripts = Vec::new();
    for connections in CONNECTIONS {
        let sample = script.run(connections, MEMBERS, warmup, time).await?;
        report.row(&format!("{connections} connections"), &sample, "");
        scripts.push((connections, sample));
    }
    let mut hot = Vec::new();
    for connections in [1, 16] {
        let sample = script.run(connections, 1, warmup, time).await?;
        report.row(&format!("{connections} on one member"), &sample, "");
        hot.push(sample.rate());
    }
    let lone = scripts.iter().find(|(connections, _)| *connections == 1).map_or(0.0, |(_, sample)| sample.ms(50));
    let best = scripts.iter().filter(|(connections, _)| *connections >= 16).max_by(|a, b| a.1.rate().total_cmp(&b.1.rate()));
    let (best_connections, best) = best.map_or((0, 0.0), |(connections, sample)| (*connections, sample.rate()));
    let best_hot = hot.into_iter().fold(0.0, f64::max);

    report.heading("Awards: the suite, gRPC, one award per call");
    let suite = bench.suite().await?;
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let members = Members::new(PROGRAM, 0, MEMBERS);
    for callers in CALLERS {
        let sample = bench.load(&suite, callers, &meter).run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
        let ratio = sample.rate() / best;
        let mut remark = format!("{ratio:.2} × the script at {best_connections} connections");
        if callers == 1 {
            let slower = sample.ms(50) / lone;
            remark = format!("p50 {slower:.2} × the script's at one connection");
            report.goal("1 caller: p50 against the script's at one connection", slower, Goal::AtMost(1.5));
        }
        report.row(&format!("{callers} callers"), &sample, &remark);
        if let Some(asked) = ASKED.iter().find(|asked| asked.callers == callers) {
            let bound = if report.slow_disk { asked.slow_disk } else { asked.fast_disk };
            report.goal(format!("{callers} callers: awards against the script at its best"), ratio, Goal::AtLeast(bound));
            if let Some(least) = asked.least {
                let what = format!("{callers} callers: awards a second, 70 % of the prototype's where that was measured");
                report.goal(what, sample.rate(), Goal::AtLeast(least));
                let per_commit = sample.cost.calls_per_commit.unwrap_or(0.0);
                report.goal(format!("{callers} callers: awards per commit"), per_commit, Goal::AtLeast(32.0));
                report.goal(format!("{callers} callers: p99 against p50"), sample.ms(99) / sample.ms(50), Goal::AtMost(3.0));
            }
        }
    }
    let one = Members::new(PROGRAM, 1, 1);
    let sample = bench.load(&suite, 256, &meter).run(move |_| Some(Call::award(one.name(0), 2933))).await?;
    let ratio = sample.rate() / best_hot;
    report.row("256 on one member", &sample, &format!("{ratio:.1} × the script on its hot row"));
    report.goal("256 callers on one member: awards against the script on its hot row", ratio, Goal::AtLeast(20.0));
    Ok(())
}

/// How wide the rows of the suite's awards are: by a look at a few thousand.
async fn widths(bench: &Bench) -> anyhow::Result<crate::database::Widths> {
    let suite = bench.suite().await?;
    let members = Members::new(PROGRAM, 0, 1000);
    let load = Load { suite: &suite, callers: 64, warmup: Duration::ZERO, time: Duration::from_secs(1), meter: None };
    load.run(move |call| Some(Call::award(members.spread(call), 2933))).await?;
    bench.database.widths(DATABASE).await
}
