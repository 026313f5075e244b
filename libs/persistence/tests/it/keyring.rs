use kernel::Uuid;
use persistence::{Error, Keyring, Purpose};
use proptest::prelude::*;

const SUBJECT: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

#[test]
fn hashes_depend_on_key_purpose_scope_and_value() {
    let keyring = Keyring::for_tests();
    let hash = keyring.hash(Purpose::Identity, "programs/tea", b"+8613800000001");
    assert_eq!(hash, keyring.hash(Purpose::Identity, "programs/tea", b"+8613800000001"));
    let others = [
        Keyring::generate().hash(Purpose::Identity, "programs/tea", b"+8613800000001"),
        keyring.hash(Purpose::Fingerprint, "programs/tea", b"+8613800000001"),
        keyring.hash(Purpose::Identity, "programs/coffee", b"+8613800000001"),
        keyring.hash(Purpose::Identity, "programs/tea", b"+8613800000002"),
        keyring.hash(Purpose::Identity, "programs/tea+", b"8613800000001"),
    ];
    assert!(!others.contains(&hash));
}

/// Stored hashes must be found by every later build: these bytes may never change.
#[test]
fn hashes_are_the_same_in_every_build() {
    let hash = Keyring::for_tests().hash(Purpose::Identity, "programs/tea", b"+8613800000001");
    assert_eq!(hex::encode(hash), "97e55d5d592f3c5145fe507a6ef08c18153099785c85dff3f9c19e283b1a1bf1");
}

#[test]
fn an_older_key_still_finds_and_opens() {
    let old = Keyring::from_hex(&format!("1:{}", "0a".repeat(32))).unwrap();
    let (key, wrapped) = old.new_data_key(SUBJECT);
    let sealed = key.seal("phone", b"+8613800000001");
    let hash = old.hash(Purpose::Identity, "tea", b"x");

    let new = Keyring::from_hex(&format!("2:{},\n1:{}\n", "0b".repeat(32), "0a".repeat(32))).unwrap();
    assert_eq!((new.version(), new.versions().collect::<Vec<_>>()), (2, vec![2, 1]));
    assert_ne!(new.hash(Purpose::Identity, "tea", b"x"), hash);
    assert_eq!(new.hashes(Purpose::Identity, "tea", b"x"), [(2, new.hash(Purpose::Identity, "tea", b"x")), (1, hash)]);
    assert_eq!(new.hash_at(1, Purpose::Identity, "tea", b"x"), Some(hash));
    assert_eq!(new.hash_at(3, Purpose::Identity, "tea", b"x"), None);
    assert_eq!(new.unwrap(SUBJECT, &wrapped).unwrap().open("phone", &sealed).unwrap(), b"+8613800000001");

    let without = Keyring::from_hex(&format!("2:{}", "0b".repeat(32))).unwrap();
    assert!(matches!(without.unwrap(SUBJECT, &wrapped), Err(Error::Corrupt(_))));
}

#[test]
fn a_wrapped_key_opens_for_its_subject_only() {
    let keyring = Keyring::generate();
    let (_, wrapped) = keyring.new_data_key(SUBJECT);
    assert!(keyring.unwrap(SUBJECT, &wrapped).is_ok());
    assert!(matches!(keyring.unwrap(OTHER, &wrapped), Err(Error::Corrupt(_))));
    assert!(matches!(Keyring::generate().unwrap(SUBJECT, &wrapped), Err(Error::Corrupt(_))));
    assert!(matches!(keyring.unwrap(SUBJECT, &[]), Err(Error::Corrupt(_))));
    assert!(matches!(keyring.unwrap(SUBJECT, &wrapped[..10]), Err(Error::Corrupt(_))));
}

#[test]
fn a_sealed_value_opens_with_its_key_and_context_only() {
    let keyring = Keyring::generate();
    let (key, _) = keyring.new_data_key(SUBJECT);
    let (other, _) = keyring.new_data_key(SUBJECT);
    let sealed = key.seal("phone", b"+86");
    assert_eq!(key.open("phone", &sealed).unwrap(), b"+86");
    assert!(key.open("e-mail", &sealed).is_err());
    assert!(other.open("phone", &sealed).is_err());
    assert!(key.open("phone", &sealed[..20]).is_err());
    assert_ne!(key.seal("phone", b"+86"), sealed, "equal values must not look equal");
}

#[test]
fn keys_survive_as_text_and_are_not_printed() {
    let keyring = Keyring::generate();
    let again = Keyring::from_hex(&keyring.to_hex()).unwrap();
    assert_eq!(keyring.hash(Purpose::Secret, "", b"x"), again.hash(Purpose::Secret, "", b"x"));
    let (key, _) = keyring.new_data_key(SUBJECT);
    assert_eq!(format!("{keyring:?} {key:?}"), "Keyring { versions: [1], .. } DataKey");
}

#[test]
fn keys_that_cannot_be_read_are_refused() {
    let good = "0a".repeat(32);
    for bad in [
        "".to_owned(),
        good.clone(),
        format!("0:{good}"),
        format!("256:{good}"),
        format!("1:{good}0"),
        format!("1:{good} 1:{good}"),
        format!("1:{}zz", &good[2..]),
    ] {
        let error = Keyring::from_hex(&bad).unwrap_err();
        let Error::Configuration(text) = error else { panic!("{error:?}") };
        assert!(!text.contains("0a0a"), "part of a key is in: {text}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_and_no_bit_of_it_may_change(plain in proptest::collection::vec(any::<u8>(), 0..200), bit in any::<usize>()) {
        let (key, _) = Keyring::for_tests().new_data_key(SUBJECT);
        let mut sealed = key.seal("note", &plain);
        prop_assert_eq!(key.open("note", &sealed).unwrap(), plain);
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key.open("note", &sealed).is_err());
    }
}
