//! Phone numbers in E.164.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region, get_national_significant_number_owned};

/// Reads a phone number as people write it, full-width digits included, and returns its E.164 form.
/// `region_code` (ISO 3166 alpha-2) is the region whose national form it may be in; without one it must begin with `+`.
/// The error says what is wrong and never repeats the number.
pub(crate) fn normalise(text: &str, region_code: &str) -> Result<String, &'static str> {
    let region = match region_code {
        "" => None,
        code => Some(Region::from_code(code).map_err(|_| "is not a phone number of a known region")?),
    };
    let number = PHONE_NUMBER_UTIL.parse(text, region).map_err(|_| match region {
        Some(_) => "is not a phone number",
        None => "is not a phone number in international form, beginning with +; a national form needs region_code",
    })?;
    if number.extension.is_some() {
        return Err("must be without an extension");
    }
    if !PHONE_NUMBER_UTIL.is_valid_number(&number) {
        return Err("is not a phone number that its region gives out");
    }
    Ok(PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
}

/// Splits an E.164 number into `+` with the country code, and the national number. A text that is not one is all national.
pub(crate) fn split(e164: &str) -> (&str, &str) {
    match PHONE_NUMBER_UTIL.parse(e164, None) {
        Ok(number) => e164.split_at(e164.len().saturating_sub(get_national_significant_number_owned(&number).len())),
        Err(_) => ("", e164),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_is_one_number() {
        for (text, region, e164) in [
            ("+8613812345678", "", "+8613812345678"),
            ("+86 138 1234 5678", "", "+8613812345678"),
            ("＋８６１３８１２３４５６７８", "", "+8613812345678"),
            ("13812345678", "CN", "+8613812345678"),
            ("１３８１２３４５６７８", "CN", "+8613812345678"),
            ("138-1234-5678", "CN", "+8613812345678"),
            ("0086 13812345678", "CN", "+8613812345678"),
            ("010-65529988", "CN", "+861065529988"),
            ("(201) 555-0123", "US", "+12015550123"),
            ("+852 9123 4567", "CN", "+85291234567"),
            ("020 7183 8750", "GB", "+442071838750"),
        ] {
            assert_eq!(normalise(text, region).as_deref(), Ok(e164), "{text} in {region}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_with_a_reason() {
        for (text, region, because) in [
            ("13812345678", "", "international form"),
            ("", "CN", "is not a phone number"),
            ("hello", "CN", "is not a phone number"),
            ("138", "CN", "region gives out"),
            ("12812345678", "CN", "region gives out"),
            ("+86138123456789", "", "region gives out"),
            ("+999123456789", "", "international form"),
            ("13812345678", "XQ", "is not a phone number"),
            ("+12015550123 ext. 5", "", "extension"),
        ] {
            let refused = normalise(text, region).unwrap_err();
            assert!(refused.contains(because), "{text} in {region}: {refused}");
        }
    }

    #[test]
    fn the_country_code_is_told_from_the_rest() {
        for (e164, parts) in [
            ("+8613812345678", ("+86", "13812345678")),
            ("+12015550123", ("+1", "2015550123")),
            ("+85291234567", ("+852", "91234567")),
            ("+390612345678", ("+39", "0612345678")), // Italian numbers keep their zero.
            ("nonsense", ("", "nonsense")),
        ] {
            assert_eq!(split(e164), parts);
        }
    }
}
