//! When points open and lapse, in the zones that programs are in.

use super::*;

fn version(zone: &str, activation: Activation, life: Life) -> Version {
    let terms = Terms { activation, life, ..terms() };
    let currency = Currency::parse("USD").unwrap();
    Version { number: 1, terms: terms.into(), start_at: Timestamp::MIN, zone: Zone::parse(zone).unwrap(), currency }
}

/// `2026-01-31 23:59:59` in a zone, as the moment that it is.
fn local(zone: &str, text: &str) -> Timestamp {
    format!("{}[{zone}]", text.replace(' ', "T")).parse::<jiff::Zoned>().unwrap().timestamp().into()
}

const SHANGHAI: &str = "Asia/Shanghai";
const NEW_YORK: &str = "America/New_York";

fn period(count: i32, unit: CalendarUnit) -> Period {
    Period { count, unit }
}

#[test]
fn points_lapse_when_the_terms_say_in_the_programs_zone() {
    use CalendarUnit::{Day, Month, Week, Year};
    use Rounding::{EndOfDay, EndOfHalfYear, EndOfMonth, EndOfQuarter, EndOfYear, None};
    for (zone, earned, life, rounding, lapses) in [
        // Month ends clamp.
        (SHANGHAI, "2026-01-31 10:00:00", (1, Month), None, "2026-02-28 10:00:00"),
        (SHANGHAI, "2026-08-31 10:00:00", (6, Month), None, "2027-02-28 10:00:00"),
        (SHANGHAI, "2027-08-31 10:00:00", (6, Month), None, "2028-02-29 10:00:00"),
        (NEW_YORK, "2026-03-31 10:00:00", (1, Month), EndOfMonth, "2026-05-01 00:00:00"),
        // The leap day.
        (SHANGHAI, "2028-02-29 10:00:00", (1, Year), None, "2029-02-28 10:00:00"),
        (SHANGHAI, "2028-02-29 10:00:00", (4, Year), None, "2032-02-29 10:00:00"),
        (NEW_YORK, "2027-02-28 23:59:59", (1, Year), EndOfMonth, "2028-03-01 00:00:00"),
        // The day has 23 or 25 hours where the clocks change; the wall clock is kept.
        (NEW_YORK, "2026-03-07 12:00:00", (1, Day), None, "2026-03-08 12:00:00"),
        (NEW_YORK, "2026-03-07 02:30:00", (1, Day), None, "2026-03-08 03:30:00"),
        (NEW_YORK, "2026-10-31 12:00:00", (1, Day), EndOfDay, "2026-11-02 00:00:00"),
        (NEW_YORK, "2026-10-31 23:30:00", (1, Week), None, "2026-11-07 23:30:00"),
        (NEW_YORK, "2026-03-08 01:59:59", (1, Day), EndOfDay, "2026-03-10 00:00:00"),
        // To the end of quarter, half-year and year; a moment before midnight is the old one.
        (SHANGHAI, "2026-03-31 23:59:59", (3, Month), EndOfQuarter, "2026-07-01 00:00:00"),
        (SHANGHAI, "2026-04-01 00:00:00", (3, Month), EndOfQuarter, "2026-10-01 00:00:00"),
        (NEW_YORK, "2026-03-31 23:59:59", (3, Month), EndOfHalfYear, "2026-07-01 00:00:00"),
        (NEW_YORK, "2026-04-01 00:00:00", (3, Month), EndOfHalfYear, "2027-01-01 00:00:00"),
        (SHANGHAI, "2026-12-31 23:59:59", (1, Year), EndOfYear, "2028-01-01 00:00:00"),
        (NEW_YORK, "2026-12-31 23:59:59", (1, Year), EndOfYear, "2028-01-01 00:00:00"),
        (NEW_YORK, "2027-01-01 00:00:00", (1, Year), EndOfYear, "2029-01-01 00:00:00"),
    ] {
        let (count, unit) = life;
        let version = version(zone, Activation::Immediate, Life::For(period(count, unit), rounding));
        let earned_at = local(zone, earned);
        let expected = Expiry::At(local(zone, lapses));
        assert_eq!(version.expiry_from(MAIN_WALLET, earned_at), expected, "{earned} in {zone}, {life:?}, {rounding:?}");
        // What slides is counted the same.
        let sliding = Version {
            terms: Arc::new(Terms { life: Life::WhileActive(period(count, unit), rounding), ..(*version.terms).clone() }),
            ..version
        };
        assert_eq!(sliding.sliding_until(MAIN_WALLET, earned_at).map(Expiry::At), Some(expected));
        assert_eq!(sliding.expiry_from(MAIN_WALLET, earned_at), Expiry::Sliding);
    }
}

#[test]
fn the_same_moment_is_another_day_elsewhere() {
    let moment = at("2026-06-30T17:00:00Z");
    let life = || Life::For(period(1, CalendarUnit::Month), Rounding::EndOfMonth);
    for (zone, lapses, month) in [(SHANGHAI, "2026-09-01 00:00:00", 7), (NEW_YORK, "2026-08-01 00:00:00", 6)] {
        let lot = version(zone, Activation::Immediate, life()).lot_for(MAIN_WALLET, moment, moment, Uuid::nil(), &"".into());
        assert_eq!((lot.expiry, lot.earn_month), (Expiry::At(local(zone, lapses)), 2026 * 12 + month - 1));
    }
}

#[test]
fn lots_open_when_the_terms_say_and_live_from_then_on() {
    let (earned, now) = (local(NEW_YORK, "2026-01-31 10:00:00"), local(NEW_YORK, "2026-02-10 10:00:00"));
    let month = period(1, CalendarUnit::Month);
    let life = Life::For(month, Rounding::None);
    for (activation, opening, lapses) in [
        (Activation::Immediate, Opening::Open, "2026-02-28 10:00:00"),
        (Activation::After(month), Opening::At(local(NEW_YORK, "2026-02-28 10:00:00")), "2026-03-28 10:00:00"),
        (Activation::After(period(9, CalendarUnit::Day)), Opening::Open, "2026-03-09 10:00:00"),
        (
            Activation::At(local(NEW_YORK, "2026-03-01 00:00:00")),
            Opening::At(local(NEW_YORK, "2026-03-01 00:00:00")),
            "2026-04-01 00:00:00",
        ),
        (Activation::At(local(NEW_YORK, "2026-01-01 00:00:00")), Opening::Open, "2026-02-28 10:00:00"),
    ] {
        let lot = version(NEW_YORK, activation.clone(), life.clone()).lot_for(MAIN_WALLET, earned, now, Uuid::nil(), &"".into());
        assert_eq!((lot.opening, lot.expiry), (opening, Expiry::At(local(NEW_YORK, lapses))), "{activation:?}");
    }
    // What waits for an event has no expiry yet; how long it waits is counted in the zone.
    let activation = Activation::On { event: "delivered".into(), cancel_after: Some(month) };
    let lot = version(NEW_YORK, activation, life).lot_for(MAIN_WALLET, earned, now, Uuid::from_u128(5), &"order".into());
    let gate = lot.gate().unwrap();
    assert_eq!((lot.expiry, gate.cancel_at), (Expiry::Never, Some(local(NEW_YORK, "2026-02-28 10:00:00"))));
    assert_eq!((gate.operation, &*gate.reference, gate.version), (Uuid::from_u128(5), "order", 1));
}

#[test]
fn lives_that_end_at_a_moment_or_never() {
    let moment = at("2027-01-01T00:00:00Z");
    assert_eq!(
        version(SHANGHAI, Activation::Immediate, Life::Until(moment)).expiry_from(MAIN_WALLET, Timestamp::default()),
        Expiry::At(moment)
    );
    assert_eq!(version(SHANGHAI, Activation::Immediate, Life::Unlimited).expiry_from(MAIN_WALLET, moment), Expiry::Never);
    let for_ages = Life::For(period(1200, CalendarUnit::Year), Rounding::EndOfYear);
    assert_eq!(version(SHANGHAI, Activation::Immediate, for_ages).expiry_from(MAIN_WALLET, at("9000-01-01T00:00:00Z")), Expiry::Never);
}

#[test]
fn the_numbers_of_kinds_are_their_places() {
    for (index, kind) in EntryKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as i64, i64::try_from(index).unwrap() + 1);
    }
}
