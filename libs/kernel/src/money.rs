use std::fmt;

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// The active codes of ISO 4217 that have a minor unit (so no metals and no units for tests), each with the places of that unit, by
/// code. A code that is withdrawn stays: programs and purchases that have it must still be read.
#[rustfmt::skip]
const ACTIVE: [&[u8; 4]; 165] = [
    b"AED2", b"AFN2", b"ALL2", b"AMD2", b"AOA2", b"ARS2", b"AUD2", b"AWG2", b"AZN2", b"BAM2", b"BBD2", b"BDT2", b"BHD3", b"BIF0",
    b"BMD2", b"BND2", b"BOB2", b"BOV2", b"BRL2", b"BSD2", b"BTN2", b"BWP2", b"BYN2", b"BZD2", b"CAD2", b"CDF2", b"CHE2", b"CHF2",
    b"CHW2", b"CLF4", b"CLP0", b"CNY2", b"COP2", b"COU2", b"CRC2", b"CUP2", b"CVE2", b"CZK2", b"DJF0", b"DKK2", b"DOP2", b"DZD2",
    b"EGP2", b"ERN2", b"ETB2", b"EUR2", b"FJD2", b"FKP2", b"GBP2", b"GEL2", b"GHS2", b"GIP2", b"GMD2", b"GNF0", b"GTQ2", b"GYD2",
    b"HKD2", b"HNL2", b"HTG2", b"HUF2", b"IDR2", b"ILS2", b"INR2", b"IQD3", b"IRR2", b"ISK0", b"JMD2", b"JOD3", b"JPY0", b"KES2",
    b"KGS2", b"KHR2", b"KMF0", b"KPW2", b"KRW0", b"KWD3", b"KYD2", b"KZT2", b"LAK2", b"LBP2", b"LKR2", b"LRD2", b"LSL2", b"LYD3",
    b"MAD2", b"MDL2", b"MGA2", b"MKD2", b"MMK2", b"MNT2", b"MOP2", b"MRU2", b"MUR2", b"MVR2", b"MWK2", b"MXN2", b"MXV2", b"MYR2",
    b"MZN2", b"NAD2", b"NGN2", b"NIO2", b"NOK2", b"NPR2", b"NZD2", b"OMR3", b"PAB2", b"PEN2", b"PGK2", b"PHP2", b"PKR2", b"PLN2",
    b"PYG0", b"QAR2", b"RON2", b"RSD2", b"RUB2", b"RWF0", b"SAR2", b"SBD2", b"SCR2", b"SDG2", b"SEK2", b"SGD2", b"SHP2", b"SLE2",
    b"SOS2", b"SRD2", b"SSP2", b"STN2", b"SVC2", b"SYP2", b"SZL2", b"THB2", b"TJS2", b"TMT2", b"TND3", b"TOP2", b"TRY2", b"TTD2",
    b"TWD2", b"TZS2", b"UAH2", b"UGX0", b"USD2", b"USN2", b"UYI0", b"UYU2", b"UYW4", b"UZS2", b"VED2", b"VES2", b"VND0", b"VUV0",
    b"WST2", b"XAD2", b"XAF0", b"XCD2", b"XCG2", b"XOF0", b"XPF0", b"YER2", b"ZAR2", b"ZMW2", b"ZWG2",
];

/// Money in minor units of its currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// Minor units (cents, fen, yen).
    pub minor: i64,
}

/// Not money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not an active code of ISO 4217 with a minor unit.
    #[error("not an active ISO 4217 code of a currency with a minor unit")]
    Currency,
    /// Not a decimal number, or more places than the currency has.
    #[error("not an amount with at most the currency's places")]
    Amount,
}

impl Currency {
    /// An active ISO 4217 code, in capitals.
    pub fn parse(code: &str) -> Result<Currency, MoneyError> {
        let code = code.as_bytes().try_into().map_err(|_| MoneyError::Currency)?;
        find(&code).map(|_| Currency(code)).ok_or(MoneyError::Currency)
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters")
    }

    /// Places of the minor unit (ISO 4217): 2, but 0 for yen and won, 3 for dinars and such.
    pub fn places(&self) -> u32 {
        find(&self.0).expect("it was found when it was parsed")
    }

    /// Minor units in one unit: 100 for dollars.
    pub fn minor_per_unit(&self) -> i64 {
        10_i64.pow(self.places())
    }
}

/// The places of a currency's minor unit, if there is such a currency.
fn find(code: &[u8; 3]) -> Option<u32> {
    let place = ACTIVE.binary_search_by_key(&&code[..], |row| &row[..3]).ok()?;
    Some(u32::from(ACTIVE[place][3] - b'0'))
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Money {
    /// From a decimal text like "29.33", exactly; more places than the currency has are refused.
    pub fn parse(currency: Currency, amount: &str) -> Result<Money, MoneyError> {
        let (negative, digits) = match amount.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, amount),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let places = currency.places() as usize;
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(part) || part.len() > places || amount.ends_with('.') {
            return Err(MoneyError::Amount);
        }
        let minor: i64 = format!("{whole}{part:0<places$}").parse().map_err(|_| MoneyError::Amount)?;
        Ok(Money { currency, minor: if negative { -minor } else { minor } })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.currency.places() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        if places == 0 { write!(f, "{sign}{whole} {}", self.currency) } else { write!(f, "{sign}{whole}.{part} {}", self.currency) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let usd = Currency::parse("USD").unwrap();
        let jpy = Currency::parse("JPY").unwrap();
        for (currency, text, minor) in
            [(usd, "29.33", 2933), (usd, "0.00", 0), (usd, "7", 700), (usd, "7.5", 750), (usd, "-0.05", -5), (jpy, "120", 120)]
        {
            assert_eq!(Money::parse(currency, text), Ok(Money { currency, minor }), "{text}");
        }
        for (currency, text) in [
            (usd, ""),
            (usd, "1.234"),
            (usd, "1."),
            (usd, ".5"),
            (usd, "1e3"),
            (usd, "+1"),
            (usd, "--1"),
            (jpy, "1.0"),
            (usd, "99999999999999999999"),
        ] {
            assert_eq!(Money::parse(currency, text), Err(MoneyError::Amount), "{text}");
        }
        assert_eq!(Money { currency: usd, minor: -5 }.to_string(), "-0.05 USD");
        assert_eq!(Money { currency: jpy, minor: 120 }.to_string(), "120 JPY");
    }

    #[test]
    fn a_currency_is_an_active_one_and_has_its_places() {
        assert!(ACTIVE.is_sorted() && ACTIVE.iter().all(|row| Currency::parse(str::from_utf8(&row[..3]).unwrap()).is_ok()));
        for (code, places) in [("CNY", 2), ("EUR", 2), ("GBP", 2), ("AED", 2), ("ZWG", 2), ("JPY", 0), ("KRW", 0), ("BHD", 3), ("CLF", 4)] {
            assert_eq!(Currency::parse(code).unwrap().places(), places, "{code}");
        }
        // Nobody's, withdrawn, gold, for tests, none at all; then what is no code.
        for code in ["QQQ", "DEM", "HRK", "XAU", "XTS", "XXX", "usd", "US", "USD2", "", "元"] {
            assert_eq!(Currency::parse(code), Err(MoneyError::Currency), "{code}");
        }
    }
}
