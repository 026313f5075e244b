use proptest::prelude::*;

use super::*;

fn signer(seed: u8) -> OfflineSigner {
    OfflineSigner::of_seed(&[seed; 32], 3)
}

/// What a till that has this public key believes.
fn believed(code: &str, public_key: &[u8]) -> Option<Vec<u8>> {
    let code = OfflineCode::parse(code)?;
    code.verified(public_key).map(<[u8]>::to_vec)
}

#[test]
fn an_offline_code_is_believed_by_its_key_only() {
    let (mine, others) = (signer(1), signer(2));
    let code = mine.code(b"five yuan off").unwrap();
    assert!(OfflineCode::is_meant(&code));
    assert_eq!(believed(&code, mine.public_key()), Some(b"five yuan off".to_vec()));
    assert_eq!(OfflineCode::parse(&code).unwrap().key_version(), 3);
    assert_eq!(believed(&code, others.public_key()), None);
    // Capitals, digits and a dot: what a QR code packs two to eleven bits.
    assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'.'));
    assert_eq!(code.len(), 4 + (13_usize + 1 + 64).div_ceil(5) * 8 - 3);
    assert_eq!(believed(&code.to_lowercase(), mine.public_key()), None, "there is one text for each");
    assert!(mine.code(&[0; 600]).is_some_and(|code| code.len() < 1_100));
    assert_eq!(mine.code(&[0; 601]), None);
    for typed in ["", "RV1.", "RV1.A", "RV1.AAAAAAAA", "RV2.AAAA", "000000-000000-000000"] {
        assert!(OfflineCode::parse(typed).is_none(), "{typed}");
    }
}

#[test]
fn each_bit_of_a_code_counts() {
    let signer = signer(1);
    let code = signer.code(&[7; 60]).unwrap();
    let bytes = data_encoding::BASE32_NOPAD.decode(&code.as_bytes()[4..]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let altered = format!("RV1.{}", data_encoding::BASE32_NOPAD.encode(&bytes));
        assert_eq!(believed(&altered, signer.public_key()), None, "bit {bit}");
    }
    for place in 0..code.len() - 1 {
        let mut typed = code.clone().into_bytes();
        typed.swap(place, place + 1);
        let typed = String::from_utf8(typed).unwrap();
        assert!(typed == code || believed(&typed, signer.public_key()).is_none(), "place {place}");
    }
}

#[test]
fn a_claim_holds_as_long_as_it_says() {
    let claim = Claim { voucher: kernel::Uuid::nil(), issued_at: at("2026-03-02T12:00:00Z"), expires_at: at("2026-03-03T12:00:00Z") };
    for (moment, holds) in [
        ("2026-03-02T11:54:59Z", false),
        ("2026-03-02T11:55:00Z", true),
        ("2026-03-03T11:59:59Z", true),
        ("2026-03-03T12:04:59Z", true),
        ("2026-03-03T12:05:00Z", false),
    ] {
        assert_eq!(claim.holds_at(at(moment)), holds, "{moment}");
    }
}

proptest! {
    #[test]
    fn a_claim_comes_back(claim in proptest::collection::vec(any::<u8>(), 0..=600)) {
        let code = signer(1).code(&claim).unwrap();
        prop_assert_eq!(believed(&code, signer(1).public_key()), Some(claim));
    }

    /// Whichever bit of the text is another, and whichever of what it stands for.
    #[test]
    fn any_flipped_bit_is_refused(claim in proptest::collection::vec(any::<u8>(), 0..90), place: prop::sample::Index, bit in 0..8) {
        let code = signer(1).code(&claim).unwrap();
        let mut text = code.clone().into_bytes();
        text[place.index(code.len())] ^= 1_u8 << bit;
        if let Ok(text) = String::from_utf8(text) {
            prop_assert_eq!(believed(&text, signer(1).public_key()), None);
        }
        let mut bytes = data_encoding::BASE32_NOPAD.decode(&code.as_bytes()[4..]).unwrap();
        let flipped = place.index(bytes.len());
        bytes[flipped] ^= 1_u8 << bit;
        let altered = format!("RV1.{}", data_encoding::BASE32_NOPAD.encode(&bytes));
        prop_assert_eq!(believed(&altered, signer(1).public_key()), None);
    }

    #[test]
    fn a_code_cut_short_or_carried_on_is_refused(claim in proptest::collection::vec(any::<u8>(), 0..90), cut: prop::sample::Index, more in "[A-Z2-7]{1,9}") {
        let code = signer(1).code(&claim).unwrap();
        prop_assert_eq!(believed(&code[..cut.index(code.len())], signer(1).public_key()), None);
        prop_assert_eq!(believed(&format!("{code}{more}"), signer(1).public_key()), None);
    }

    #[test]
    fn anything_may_be_shown(text in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(believed(&text, signer(1).public_key()), None);
        let encoded = format!("RV1.{}", data_encoding::BASE32_NOPAD.encode(&bytes));
        prop_assert_eq!(believed(&encoded, signer(1).public_key()), None);
    }
}
