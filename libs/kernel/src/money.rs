use std::fmt;

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

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
    /// Not three capital letters.
    #[error("a currency is three capital letters")]
    Currency,
    /// Not a decimal number, or more places than the currency has.
    #[error("not an amount with at most the currency's places")]
    Amount,
}

impl Currency {
    /// Three capital letters.
    pub fn parse(code: &str) -> Result<Currency, MoneyError> {
        match code.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Currency([a, b, c])),
            _ => Err(MoneyError::Currency),
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters")
    }

    /// Places of the minor unit (ISO 4217): 2, but 0 for yen and won, 3 for dinars and such.
    pub fn places(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV"
            | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }

    /// Minor units in one unit: 100 for dollars.
    pub fn minor_per_unit(&self) -> i64 {
        10_i64.pow(self.places())
    }
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
        assert!(Currency::parse("usd").is_err());
    }
}
