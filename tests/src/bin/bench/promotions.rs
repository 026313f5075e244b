//! Awards under many promotions beside the same awards under none, and under the same of which one has a budget.

use proto::points::promotion::{Birthday, Gives};
use proto::points::{DayPart, LineFilter, Promotion, PromotionBudget, RecurringWindow, member_limit::Period};

use crate::calls::{Call, Members, PROGRAM, PROGRAM_OF_BUDGETS, PROGRAM_OF_PROMOTIONS};
use crate::cpu::Meter;
use crate::report::{Goal, Report};
use crate::sample::Sample;
use crate::{Bench, MEMBERS};

const CALLERS: usize = 256;
/// Promotions that are running.
const PROMOTIONS: u32 = 200;
/// What they ask for.
const KINDS: u32 = 14;
/// The three are measured in turn, so many times: what the machine does meanwhile falls on both.
const ROUNDS: usize = 2;

pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.heading(&format!("Promotions: {CALLERS} callers, purchases of three lines, under none and under {PROMOTIONS} of mixed kinds"));
    let suite = bench.suite().await?;
    let meter = Meter::of_both(suite.pid(), &bench.database).await?;
    let load = bench.load(&suite, CALLERS, &meter);
    let (mut without, mut with, mut shared): (Vec<Sample>, Vec<Sample>, Vec<Sample>) = Default::default();
    for _ in 0..ROUNDS {
        for (program, samples) in [(PROGRAM, &mut without), (PROGRAM_OF_PROMOTIONS, &mut with), (PROGRAM_OF_BUDGETS, &mut shared)] {
            let members = Members::new(program, 0, MEMBERS);
            samples.push(load.run(move |call| Some(Call::award_of_lines(members.spread(call), program))).await?);
        }
    }
    for ((without, with), shared) in without.iter().zip(&with).zip(&shared) {
        report.row("award without promotions", without, "");
        report.row(&format!("award under {PROMOTIONS}"), with, &format!("{:.2} of the rate before it", with.rate() / without.rate()));
        let share = format!("{:.2} of the rate without", shared.rate() / without.rate());
        report.row(&format!("award under {PROMOTIONS}, one with a budget"), shared, &share);
    }
    let rate = |samples: &[Sample]| samples.iter().map(Sample::rate).sum::<f64>();
    report.goal(format!("{PROMOTIONS} promotions: awards as a share of those without"), rate(&with) / rate(&without), Goal::AtLeast(0.7));
    let text = format!("{PROMOTIONS} promotions, one with a budget: awards as a share of those without");
    report.goal(text, rate(&shared) / rate(&without), Goal::AtLeast(0.7));
    Ok(())
}

/// Of every kind, for many categories, stores and times; a dozen applies to a purchase.
pub(crate) fn promotions(program: &str) -> Vec<Promotion> {
    (0..PROMOTIONS).map(|number| promotion(program, number)).collect()
}

/// The same, and every purchase counts in the budget of the one that goes first in its group: a row that all of them lock.
pub(crate) fn budgeted(program: &str) -> Vec<Promotion> {
    let mut promotions = promotions(program);
    let first = promotions.iter_mut().find(|promotion| !promotion.stacking_group.is_empty());
    let budget = PromotionBudget { times_max: 0, points_max: i64::MAX, period: Period::Month.into() };
    first.into_iter().for_each(|promotion| promotion.budget = Some(budget));
    promotions
}

fn promotion(program: &str, number: u32) -> Promotion {
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
        2 => Promotion { stores: vec![format!("{program}/stores/store-{nth}")], ..plain },
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
