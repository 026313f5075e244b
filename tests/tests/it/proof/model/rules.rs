//! Terms of a program, as the model understands them.

use proto::common::calendar_period::Unit;
use proto::common::{CalendarPeriod, Money};
use proto::points as pb;
use proto::points::terms::{ExpiryRounding, PointRounding, ReturnPolicy};

use super::lots::{Gate, LotKey, NEVER, Opening, SLIDING};
use super::operation_id;

pub(crate) const DAY: i64 = 86_400_000_000;
/// The programs of these tests keep the time of Shanghai, which has had no summer time for decades.
const SHANGHAI: i64 = 8 * 3_600_000_000;

/// When points become spendable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    /// So many days after they were earned; 0 for at once.
    After(i64),
    /// At a moment.
    At(i64),
    /// When an event comes; it is waited for so many days, 0 for ever.
    On(&'static str, i64),
}

/// A version of the terms. Periods are in days and 0 for none, so that no calendar is needed.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) number: i64,
    /// From when it holds, in microseconds like every time here.
    pub(crate) start: i64,
    pub(crate) thousandths_per_yuan: i64,
    pub(crate) rounding: PointRounding,
    pub(crate) activation: Activation,
    pub(crate) expire_days: i64,
    /// Those days count from what the member has done last.
    pub(crate) slides: bool,
    pub(crate) expire_at_midnight: bool,
    pub(crate) policy: ReturnPolicy,
    pub(crate) deficit_cap: i64,
    pub(crate) grace_days: i64,
    pub(crate) hold_seconds: i64,
    /// What is earned without a purchase.
    pub(crate) activities: Vec<(&'static str, i64)>,
}

impl Rules {
    /// The same for the server.
    pub(crate) fn terms(&self) -> pb::Terms {
        let days = |count: i64| (count > 0).then(|| days(count));
        let mut terms = pb::Terms {
            points_per_unit: self.rate(),
            rounding: self.rounding.into(),
            expire_after: days(if self.slides { 0 } else { self.expire_days }),
            expire_after_inactivity: days(if self.slides { self.expire_days } else { 0 }),
            expiry_rounding: if self.expire_at_midnight { ExpiryRounding::Day } else { ExpiryRounding::Unspecified }.into(),
            return_policy: self.policy.into(),
            deficit_cap: self.deficit_cap,
            restore_grace: days(self.grace_days),
            reservation_ttl: Some(prost_types::Duration { seconds: self.hold_seconds, nanos: 0 }),
            activities: self
                .activities
                .iter()
                .map(|(activity, points)| pb::ActivityTerms {
                    activity: (*activity).to_owned(),
                    points: *points,
                    ..pb::ActivityTerms::default()
                })
                .collect(),
            ..pb::Terms::default()
        };
        match self.activation {
            Activation::After(count) => terms.activate_after = days(count),
            Activation::At(moment) => terms.activate_time = Some(time(moment)),
            Activation::On(event, wait) => {
                terms.activate_on = Some(pb::ActivateOn { event: event.to_owned(), cancel_after: days(wait) });
            }
        }
        terms
    }

    /// The rate as a decimal without trailing zeros.
    pub(crate) fn rate(&self) -> String {
        let text = format!("{}.{:03}", self.thousandths_per_yuan / 1000, self.thousandths_per_yuan % 1000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// The points that so many fen earn.
    pub(crate) fn points(&self, fen: i64) -> i64 {
        let (product, unit) = (i128::from(fen) * i128::from(self.thousandths_per_yuan), 100_000);
        let points = match self.rounding {
            PointRounding::Up => (product + unit - 1) / unit,
            PointRounding::HalfUp => (product + unit / 2) / unit,
            PointRounding::Down | PointRounding::Unspecified => product / unit,
        };
        i64::try_from(points).expect("the workload asks for little")
    }

    /// The lot of what is earned at a moment, by a request and with a purchase or activity of this id.
    pub(crate) fn lot(&self, occurred: i64, now: i64, request_id: &str, reference: &str) -> LotKey {
        let opens = match self.activation {
            Activation::After(count) => occurred + count * DAY,
            Activation::At(moment) => moment.max(occurred),
            Activation::On(event, wait) => {
                let gate = Gate {
                    event: event.to_owned(),
                    cancelled: (wait > 0).then_some(occurred + wait * DAY),
                    operation: operation_id(request_id),
                    reference: reference.to_owned(),
                    terms: self.number,
                };
                return LotKey { expires: NEVER, earned: month(occurred), opening: Opening::On(gate), origin: None };
            }
        };
        let opening = if opens > now { Opening::At(opens) } else { Opening::Open };
        LotKey { expires: self.expires(opens), earned: month(occurred), opening, origin: None }
    }

    /// The lot of a credit that waits for nothing, whatever the terms say of purchases.
    pub(crate) fn open_lot(&self, occurred: i64) -> LotKey {
        LotKey { expires: self.expires(occurred), earned: month(occurred), opening: Opening::Open, origin: None }
    }

    /// When points lapse that become spendable at a moment.
    pub(crate) fn expires(&self, opens: i64) -> i64 {
        if self.slides && self.expire_days > 0 { SLIDING } else { self.lives_until(opens) }
    }

    /// Until when sliding points live after the member has done something.
    pub(crate) fn slides_until(&self, moment: i64) -> Option<i64> {
        (self.slides && self.expire_days > 0).then(|| self.lives_until(moment))
    }

    fn lives_until(&self, opens: i64) -> i64 {
        match self.expire_days {
            0 => NEVER,
            days if self.expire_at_midnight => ((opens + days * DAY + SHANGHAI) / DAY + 1) * DAY - SHANGHAI,
            days => opens + days * DAY,
        }
    }
}

/// The version for what happens at a moment: the newest that has started, else the first.
pub(crate) fn version_at(rules: &[Rules], moment: i64) -> &Rules {
    rules.iter().rev().find(|version| version.start <= moment).unwrap_or(&rules[0])
}

/// So many days as the contracts say it.
pub(crate) fn days(count: i64) -> CalendarPeriod {
    CalendarPeriod { count: i32::try_from(count).unwrap(), unit: Unit::Day.into() }
}

fn month(moment: i64) -> i32 {
    let civil = jiff::Timestamp::from_microsecond(moment + SHANGHAI).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
    i32::from(civil.year()) * 12 + i32::from(civil.month()) - 1
}

pub(crate) fn time(micros: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap();
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

pub(crate) fn micros(time: &prost_types::Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1000
}

pub(crate) fn yuan(fen: i64) -> Option<Money> {
    Some(Money { currency_code: "CNY".to_owned(), minor_units: fen })
}
