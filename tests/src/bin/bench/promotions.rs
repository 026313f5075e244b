//! Awards under many promotions beside the same awards under none.

use proto::points::promotion::{Birthday, Gives};
use proto::points::{DayPart, LineFilter, Promotion, RecurringWindow};

use crate::calls::{Call, Members, PROGRAM, PROGRAM_OF_PROMOTIONS};
use crate::cpu::Meter;
use crate::report::{Goal, Report};
use crate::sample::Sample;
use crate::{Bench, MEMBERS};

const CALLERS: usize = 256;
/// Promotions that are running.
const PROMOTIONS: u32 = 200;
/// What they ask for.
const KINDS: u32 = 14;
/// The two are measured in turn, so many times: what the machine does meanwhile falls on both.
const ROUNDS: usize = 2;

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!("Promotions: {CALLERS} callers, purchases of three lines, under none and under {PROMOTIONS} of mixed kinds"));
    let suite = bench.suite().await?;
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let load = bench.load(&suite, CALLERS, &meter);
    let (mut without, mut with): (Vec<Sample>, Vec<Sample>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (program, samples) in [(PROGRAM, &mut without), (PROGRAM_OF_PROMOTIONS, &mut with)] {
            let members = Members::new(program, 0, MEMBERS);
            samples.push(load.run(move |call| Some(Call::award_of_lines(members.spread(call), program))).await?);
        }
    }
    for (without, with) in without.iter().zip(&with) {
        report.row("award without promotions", without, "");
        report.row(&format!("award under {PROMOTIONS}"), with, &format!("{:.2} of the rate before it", with.rate() / without.rate()));
    }
    let rate = |samples: &[Sample]| samples.iter().map(Sample::rate).sum::<f64>();
    report.goal(format!("{PROMOTIONS} promotions: awards as a share of those without"), rate(&with) / rate(&without), Goal::AtLeast(0.7));
    Ok(())
}

/// Of every kind, for many categories, stores and times; a dozen applies to a purchase.
pub(crate) fn promotions() -> Vec<Promotion> {
    (0..PROMOTIONS).map(promotion).collect()
}

fn promotion(number: u32) -> Promotion {
    let nth = number / KINDS;
    let plain = Promotion {
        promotion_id: format!("promotion-{number}"),
        title: format!("Promotion {number}"),
        gives: Some(if number.is_multiple_of(2) { Gives::Multiplier("1.5".to_owned()) } else { Gives::Points(5) }),
        ..Promotion::default()
    };
    match number % KINDS {
        0 => Promotion { lines: Some(LineFilter { categories: vec![format!("category-{nth}")], ..LineFilter::default() }), ..plain },
        1 => Promotion { lines: Some(LineFilter { skus: vec![format!("sku-{nth}")], ..LineFilter::default() }), ..plain },
        2 => Promotion { stores: vec![format!("{PROGRAM_OF_PROMOTIONS}/stores/store-{nth}")], ..plain },
        3 => Promotion { channels: vec![format!("channel_{nth}")], ..plain },
        4 => Promotion { tiers: vec![format!("tier-{nth}")], ..plain },
        5 => Promotion { weekdays: vec![1 + i32::try_from(nth % 7).unwrap_or(0)], ..plain },
        6 => {
            let start_minute = 96 * i32::try_from(nth).unwrap_or(0);
            Promotion { day_part: Some(DayPart { start_minute, end_minute: start_minute + 96 }), ..plain }
        }
        7 => Promotion { birthday: Birthday::Week.into(), ..plain },
        8 => Promotion { spend_min: i64::from(number) * 100, stacking_group: "spend".to_owned(), ..plain },
        9 => Promotion { tags: vec![format!("tag-{nth}")], ..plain },
        10 => Promotion { excluded_tags: vec![format!("tag-{nth}")], segments: vec![format!("segment-{nth}")], ..plain },
        11 => {
            let rule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU".to_owned();
            let windows = vec![RecurringWindow { rule, start: format!("2026-01-01T{nth:02}:00"), duration_minutes: 60 }];
            Promotion { windows, ..plain }
        }
        12 => Promotion {
            condition: format!(
                "purchase.lines.exists(line, line.category == 'category-{nth}' && line.quantity * line.net > 100) && local.hour != {nth}"
            ),
            ..plain
        },
        _ => Promotion { purchase_number: 1 + i32::try_from(nth).unwrap_or(0), dormant_days: 30, ..plain },
    }
}
