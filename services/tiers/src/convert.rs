//! Schemes between the contract and the domain. Every field is named, so that a new one does not compile until somebody
//! decides about it.

use kernel::{CalendarUnit, Period, Timestamp};
use proto::{common, tiers as pb};
use rpc::wire::timestamp;
use rust_decimal::Decimal;

use crate::domain::scheme::{Basis, Downgrade, Level, OnReturn, QualifyingPeriod, Scheme, Validity};

/// What is not a scheme: the path of the field and what it must be.
pub(crate) type Faults = Vec<(String, String)>;

/// Reads a scheme that begins at `start`. The contract has been checked; what it cannot say is checked here.
pub(crate) fn scheme(message: &pb::Scheme, start: Timestamp) -> Result<Scheme, Faults> {
    let pb::Scheme {
        name: _,
        version,
        display_name,
        basis,
        period,
        validity,
        downgrade,
        grace,
        on_return,
        levels,
        create_time: _,
        start_time: _,
    } = message;
    let mut faults = Faults::new();
    let mut wanted = |field: &str, what: &str| faults.push((field.to_owned(), what.to_owned()));
    let basis = match pb::Basis::try_from(*basis) {
        Ok(pb::Basis::QualifyingPoints) => Some(Basis::QualifyingPoints),
        Ok(pb::Basis::Unspecified) | Err(_) => None,
    };
    let downgrade = match pb::Downgrade::try_from(*downgrade) {
        Ok(pb::Downgrade::OneDown) => Some(Downgrade::OneDown),
        Ok(pb::Downgrade::Full) => Some(Downgrade::Full),
        Ok(pb::Downgrade::None) => Some(Downgrade::None),
        Ok(pb::Downgrade::Unspecified) | Err(_) => None,
    };
    let on_return = match pb::OnReturn::try_from(*on_return) {
        Ok(pb::OnReturn::Reevaluate) => Some(OnReturn::Reevaluate),
        Ok(pb::OnReturn::Keep) => Some(OnReturn::Keep),
        Ok(pb::OnReturn::Unspecified) | Err(_) => None,
    };
    let period = period.as_ref().and_then(qualifying_period);
    let validity = validity.as_ref().and_then(self::validity);
    let grace_read = grace.as_ref().and_then(calendar_period);
    for (field, read) in [
        ("basis", basis.is_some()),
        ("downgrade", downgrade.is_some()),
        ("on_return", on_return.is_some()),
        ("period", period.is_some()),
        ("validity", validity.is_some()),
        ("grace", grace.is_some() == grace_read.is_some()),
    ] {
        if !read {
            wanted(field, "must be set");
        }
    }
    let levels: Option<Vec<Level>> = levels.iter().map(level).collect();
    if levels.is_none() {
        wanted("levels", "must have decimal multipliers");
    }
    let (Some(basis), Some(downgrade), Some(on_return), Some(period), Some(validity), Some(levels), true) =
        (basis, downgrade, on_return, period, validity, levels, faults.is_empty())
    else {
        return Err(faults);
    };
    let display_name = display_name.clone();
    let scheme =
        Scheme { version: *version, start, display_name, basis, period, validity, downgrade, grace: grace_read, on_return, levels };
    let faults: Faults = scheme.faults().into_iter().map(|fault| (fault.field, fault.description)).collect();
    if faults.is_empty() { Ok(scheme) } else { Err(faults) }
}

fn level(message: &pb::Level) -> Option<Level> {
    let pb::Level { id, display_name, threshold, multiplier } = message;
    let multiplier = multiplier.parse::<Decimal>().ok()?.normalize();
    Some(Level { id: id.clone(), display_name: display_name.clone(), threshold: *threshold, multiplier })
}

fn qualifying_period(message: &pb::QualifyingPeriod) -> Option<QualifyingPeriod> {
    use pb::qualifying_period::Kind;
    Some(match message.kind.as_ref()? {
        Kind::RollingMonths(months) => QualifyingPeriod::RollingMonths(*months),
        Kind::CalendarYear(pb::CalendarYear {}) => QualifyingPeriod::CalendarYear,
        Kind::Lifetime(pb::Lifetime {}) => QualifyingPeriod::Lifetime,
    })
}

fn validity(message: &pb::Validity) -> Option<Validity> {
    use pb::validity::Kind;
    Some(match message.kind.as_ref()? {
        Kind::Length(length) => Validity::Length(calendar_period(length)?),
        Kind::EndOfPeriod(pb::EndOfPeriod { following_periods }) => Validity::EndOfPeriod { following: *following_periods },
    })
}

fn calendar_period(message: &common::CalendarPeriod) -> Option<Period> {
    use common::calendar_period::Unit;
    let common::CalendarPeriod { count, unit } = message;
    let unit = match Unit::try_from(*unit).ok()? {
        Unit::Day => CalendarUnit::Day,
        Unit::Week => CalendarUnit::Week,
        Unit::Month => CalendarUnit::Month,
        Unit::Year => CalendarUnit::Year,
        Unit::Unspecified => return None,
    };
    Some(Period { count: *count, unit })
}

/// The version as it is stored and answered: with its name, number and times, and multipliers without trailing zeros.
pub(crate) fn answer(message: &pb::Scheme, scheme: &Scheme, name: String, create_time: prost_types::Timestamp) -> pb::Scheme {
    let levels = message.levels.iter().zip(&scheme.levels);
    pb::Scheme {
        name,
        version: scheme.version,
        levels: levels.map(|(message, level)| pb::Level { multiplier: level.multiplier.to_string(), ..message.clone() }).collect(),
        create_time: Some(create_time),
        start_time: Some(timestamp(scheme.start)),
        ..message.clone()
    }
}

/// Takes the named fields from `change` and the others from `current`. Fails with the path of a field that cannot be updated.
pub(crate) fn update(current: &pb::Scheme, change: &pb::Scheme, paths: &[String]) -> Result<pb::Scheme, Faults> {
    if paths.is_empty() {
        return Ok(change.clone());
    }
    let mut updated = current.clone();
    let change = change.clone();
    for path in paths {
        match path.as_str() {
            "display_name" => updated.display_name = change.display_name.clone(),
            "basis" => updated.basis = change.basis,
            "period" => updated.period = change.period,
            "validity" => updated.validity = change.validity,
            "downgrade" => updated.downgrade = change.downgrade,
            "grace" => updated.grace = change.grace,
            "on_return" => updated.on_return = change.on_return,
            "levels" => updated.levels.clone_from(&change.levels),
            _ => return Err(vec![("update_mask".to_owned(), format!("{path} is no field that can be updated"))]),
        }
    }
    Ok(updated)
}
