use proptest::prelude::*;

use super::Code;

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[test]
fn a_code_reads_as_people_type_it() {
    let code = Code::of_secret([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let shown = code.shown();
    assert_eq!(shown.len(), 20);
    assert!(shown.ends_with(&code.end()));
    for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), shown.replace('-', " "), shown.replace('0', "o")] {
        assert_eq!(Code::parse(&typed), Some(code), "{typed}");
    }
    assert_eq!(format!("{code:?}"), "Code(…)");
}

#[test]
fn codes_of_different_secrets_differ_by_three_characters_at_least() {
    let one = Code::of_secret([0; 10]).canonical();
    for bit in 0..80 {
        let mut secret = [0; 10];
        secret[bit / 8] = 1 << (bit % 8);
        let other = Code::of_secret(secret).canonical();
        assert!(one.iter().zip(other).filter(|(one, other)| **one != *other).count() >= 3, "bit {bit}");
    }
}

proptest! {
    #[test]
    fn a_code_comes_back(secret: [u8; 10]) {
        let code = Code::of_secret(secret);
        prop_assert_eq!(Code::parse(&code.shown()), Some(code));
    }

    /// Whichever character is wrong, and whatever stands there instead; also two of them.
    #[test]
    fn wrong_characters_are_refused(secret: [u8; 10], places in (0_usize..18, 0_usize..18), steps in (1_usize..32, 0_usize..32)) {
        let mut typed = Code::of_secret(secret).canonical();
        let second = (places.1, if places.1 == places.0 { 0 } else { steps.1 });
        for (place, step) in [(places.0, steps.0), second] {
            let digit = ALPHABET.bytes().position(|known| known == typed[place]).unwrap();
            typed[place] = ALPHABET.as_bytes()[(digit + step) % 32];
        }
        prop_assert_eq!(Code::parse(std::str::from_utf8(&typed).unwrap()), None);
    }

    #[test]
    fn characters_that_changed_places_are_refused(secret: [u8; 10], one in 0_usize..18, other in 0_usize..18) {
        let mut typed = Code::of_secret(secret).canonical();
        prop_assume!(typed[one] != typed[other]);
        typed.swap(one, other);
        prop_assert_eq!(Code::parse(std::str::from_utf8(&typed).unwrap()), None);
    }

    #[test]
    fn anything_may_be_typed(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,40}") {
        for typed in [String::from_utf8_lossy(&bytes).into_owned(), text] {
            if let Some(code) = Code::parse(&typed) {
                prop_assert_eq!(Code::parse(&code.shown()), Some(code));
            }
        }
    }
}
