use std::time::Duration;

use kernel::{Currency, MemberId, Money, ProgramId, Timestamp, Uuid};
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const MINIMUM: i64 = 2_000;

fn at(day: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + day * 86_400_000_000)
}

fn program() -> ProgramId {
    ProgramId::parse("tea").unwrap()
}

fn member(number: u128) -> MemberId {
    MemberId(Uuid::from_u128(number))
}

fn plan() -> Plan {
    Plan {
        program: program(),
        id: PlanId::parse("invite").unwrap(),
        version: 1,
        display_name: "Invite".to_owned(),
        public_title: String::new(),
        public_text: String::new(),
        advocate_points: Some(200),
        friend_points: Some(100),
        minimum_net: Money { currency: Currency::parse("CNY").unwrap(), minor: MINIMUM },
        within: 30 * DAY,
        attribution_window: 7 * DAY,
        hold: 14 * DAY,
        advocate_reward_limit: None,
        create_time: at(-10),
    }
}

fn code() -> Code {
    Code {
        program: program(),
        text: CodeText::from_random([7; 16]),
        advocate: member(1),
        plan: plan().id,
        display_label: String::new(),
        use_limit: None,
        use_count: 0,
        reward_count: 0,
        expire_time: None,
        create_time: at(-5),
        revoke_time: None,
    }
}

fn purchase(day: i64, net_minor: i64, remaining_minor: i64) -> Purchase {
    Purchase { id: "p1".to_owned(), occur_time: at(day), net_minor, remaining_minor, complete_return: remaining_minor == 0 }
}

fn enrolled(code: &Code) -> Referral {
    Referral::from_enrolment(Uuid::from_u128(9), (&program(), member(2)), at(0), Some((code, &plan())), false, at(0))
}

fn knowing(purchase: Purchase) -> Friend {
    Friend { enroll_time: Some(at(0)), first_purchase: Some(purchase) }
}

fn settle(mut referral: Referral, friend: &Friend, now: Timestamp) -> Referral {
    while let Some(next) = referral.next(&plan(), friend, now) {
        assert_eq!(next.version, referral.version + 1);
        referral = next;
    }
    referral
}

fn kind(state: &State) -> String {
    match state {
        State::Voided { reason, .. } => format!("{} {reason:?}", state.as_str()),
        State::Rejected { reason, .. } => format!("{} {reason:?}", state.as_str()),
        State::Pending | State::Qualified(_) | State::Approved(_) => state.as_str().to_owned(),
    }
}

/// A referral in each state, reached as it is in life.
fn in_each_state() -> Vec<Referral> {
    let good = knowing(purchase(1, MINIMUM, MINIMUM));
    let pending = enrolled(&code());
    vec![
        pending.clone(),
        settle(pending.clone(), &good, at(2)),
        settle(pending.clone(), &good, at(15)),
        settle(pending.clone(), &good, at(15)).voided(VoidReason::Fraud, "apiKeys/s".to_owned(), at(16)).unwrap(),
        settle(pending, &knowing(purchase(1, 1, 1)), at(2)),
    ]
}

#[test]
fn each_state_meets_each_fact() {
    let facts: [(&str, Friend, Timestamp); 10] = [
        ("nothing", Friend { enroll_time: Some(at(0)), first_purchase: None }, at(100)),
        ("good, in hold", knowing(purchase(1, MINIMUM, MINIMUM)), at(2)),
        ("good, hold just over", knowing(purchase(1, MINIMUM, MINIMUM)), at(15)),
        ("some back, enough left", knowing(purchase(1, MINIMUM + 500, MINIMUM)), at(2)),
        ("too little left, in hold", knowing(purchase(1, MINIMUM, MINIMUM - 1)), at(2)),
        ("all back after the hold", knowing(purchase(1, MINIMUM, 0)), at(50)),
        ("too small", knowing(purchase(1, MINIMUM - 1, MINIMUM - 1)), at(2)),
        ("too late", knowing(purchase(30, MINIMUM, MINIMUM)), at(31)),
        ("long before the enrolment", knowing(purchase(-2, MINIMUM, MINIMUM)), at(2)),
        ("just before the enrolment", knowing(purchase(-1, MINIMUM, MINIMUM)), at(2)),
    ];
    let void = "VOIDED PurchaseReturned";
    let table: [[&str; 5]; 10] = [
        // from PENDING, QUALIFIED, APPROVED, VOIDED Fraud, REJECTED
        ["PENDING", "QUALIFIED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["QUALIFIED", "QUALIFIED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["APPROVED", "APPROVED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["QUALIFIED", "QUALIFIED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        [void, void, void, "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        [void, void, void, "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["REJECTED PurchaseBelowMinimum", void, void, "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["REJECTED PurchaseTooLate", "APPROVED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["REJECTED PurchaseBeforeAttribution", "QUALIFIED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
        ["QUALIFIED", "QUALIFIED", "APPROVED", "VOIDED Fraud", "REJECTED PurchaseBelowMinimum"],
    ];
    for ((fact, friend, now), expected) in facts.iter().zip(table) {
        for (from, expected) in in_each_state().into_iter().zip(expected) {
            let start = kind(&from.state);
            assert_eq!(kind(&settle(from, friend, *now).state), expected, "{start} meets {fact}");
        }
    }
}

#[test]
fn each_state_is_voided_by_decision_or_has_ended() {
    let expected = ["VOIDED Fraud", "VOIDED Fraud", "VOIDED Fraud", "ended", "ended"];
    let legs = [LegState::Cancelled, LegState::Cancelled, LegState::Revoking];
    for (index, (referral, expected)) in in_each_state().into_iter().zip(expected).enumerate() {
        match referral.voided(VoidReason::Fraud, "apiKeys/s".to_owned(), at(60)) {
            Ok(voided) => {
                assert_eq!(kind(&voided.state), expected);
                assert!(voided.legs.iter().all(|leg| leg.state == legs[index]), "{:?}", voided.legs);
                assert!(voided.binds_friend(), "the first advocate wins for life");
            }
            Err(Ended { state }) => {
                assert_eq!(expected, "ended");
                assert!(matches!(state, "VOIDED" | "REJECTED"));
            }
        }
    }
}

#[test]
fn legs_follow_the_referral_and_the_answers_of_points() {
    use LegState::*;
    let states = |referral: &Referral| referral.legs.iter().map(|leg| leg.state).collect::<Vec<_>>();
    let [pending, qualified, approved, voided, rejected] = in_each_state().try_into().unwrap();
    assert_eq!(states(&pending), [Awaiting, Awaiting]);
    assert_eq!(states(&qualified), [Awaiting, Awaiting]);
    assert_eq!(states(&approved), [Wanted, Wanted]);
    assert_eq!(states(&voided), [Revoking, Revoking]);
    assert_eq!(states(&rejected), [Cancelled, Cancelled]);

    let issued = approved.settled(Role::Friend, Settlement::Given).unwrap();
    assert_eq!(states(&issued), [Wanted, Issued]);
    assert_eq!(issued.settled(Role::Friend, Settlement::Given), None, "told twice");
    assert_eq!(voided.settled(Role::Friend, Settlement::Given), None, "the grant was overtaken by its revocation");
    assert_eq!(states(&voided.settled(Role::Friend, Settlement::TakenBack).unwrap()), [Revoking, Revoked]);

    let refused = approved.settled(Role::Advocate, Settlement::Refused).unwrap();
    assert_eq!((states(&refused), refused.version), (vec![Withheld, Wanted], approved.version + 1));
    assert_eq!(refused.settled(Role::Advocate, Settlement::Refused), None, "told twice");
    assert_eq!(voided.settled(Role::Advocate, Settlement::Refused), None, "what is taken back needs no grant");

    let withheld = approved.advocate_withheld();
    assert_eq!(states(&withheld), [Withheld, Wanted]);
    assert!(!withheld.rewards_advocate());
    let voided = withheld.voided(VoidReason::Other, "apiKeys/s".to_owned(), at(60)).unwrap();
    assert_eq!(states(&voided), [Withheld, Revoking]);
}

#[test]
fn an_enrolment_never_fails_but_may_be_rejected() {
    let good = code();
    let cases: [(&str, Option<Code>, bool, &str, bool); 7] = [
        ("good", Some(good.clone()), false, "PENDING", true),
        ("unknown", None, false, "REJECTED CodeNotFound", false),
        ("expired at that moment", Some(Code { expire_time: Some(at(0)), ..good.clone() }), false, "REJECTED CodeExpired", false),
        ("used up", Some(Code { use_limit: Some(1), use_count: 1, ..good.clone() }), false, "REJECTED CodeExhausted", false),
        ("revoked afterwards", Some(good.clone().revoked(at(1))), false, "REJECTED CodeRevoked", false),
        ("own code", Some(Code { advocate: member(2), ..good.clone() }), false, "REJECTED SelfReferral", false),
        ("referred before", Some(good), true, "REJECTED AlreadyReferred", false),
    ];
    for (case, found, already, expected, binds) in cases {
        let plan = plan();
        let found = found.as_ref().map(|code| (code, &plan));
        let referral = Referral::from_enrolment(Uuid::nil(), (&program(), member(2)), at(0), found, already, at(2));
        assert_eq!(kind(&referral.state), expected, "{case}");
        assert_eq!(referral.binds_friend(), binds, "{case}");
        assert_eq!(referral.legs.is_empty(), !binds, "{case}");
    }
}

#[test]
fn a_call_attributes_after_the_enrolment_and_before_the_first_purchase() {
    let known = Friend { enroll_time: Some(at(0)), first_purchase: None };
    let call = |friend: MemberId, known: &Friend, code: &Code, day: i64| {
        Referral::from_call(Uuid::nil(), (&program(), friend), known, (code, &plan()), at(day)).map(|referral| kind(&referral.state))
    };
    let good = code();
    assert_eq!(call(member(2), &known, &good, 6), Ok("PENDING".to_owned()));
    assert_eq!(call(member(2), &known, &good, 7), Err(AttributionRefused::WindowClosed));
    assert_eq!(call(member(1), &known, &good, 1), Err(AttributionRefused::SelfReferral));
    assert_eq!(call(member(2), &Friend::default(), &good, 1), Err(AttributionRefused::FriendNotKnown));
    assert_eq!(call(member(2), &knowing(purchase(1, 1, 1)), &good, 2), Err(AttributionRefused::AlreadyBought));
    assert_eq!(call(member(2), &known, &good.clone().revoked(at(0)), 1), Err(AttributionRefused::CodeNotValid));
    assert_eq!(call(member(2), &known, &Code { expire_time: Some(at(1)), ..good.clone() }, 1), Err(AttributionRefused::CodeNotValid));

    // A purchase that was made before the call and is heard of only afterwards does not count.
    let referral = Referral::from_call(Uuid::nil(), (&program(), member(2)), &known, (&good, &plan()), at(2)).unwrap();
    let state = settle(referral.clone(), &knowing(purchase(1, MINIMUM, MINIMUM)), at(3)).state;
    assert_eq!(kind(&state), "REJECTED PurchaseBeforeAttribution");
    assert_eq!(kind(&settle(referral, &knowing(purchase(2, MINIMUM, MINIMUM)), at(3)).state), "QUALIFIED");
}

#[test]
fn codes_are_read_as_people_type_them() {
    let code = CodeText::parse("ABCD-EFGH-JKMN").unwrap();
    assert_eq!(CodeText::parse(" abcd efgh jkmn "), Some(code.clone()));
    assert_eq!(code.as_str(), "ABCDEFGHJKMN");
    for bad in [
        "",
        "-",
        "ABCDEFGHJKM",
        "ABCDEFGHJKMNP",
        "ABCDEFGHJKM0",
        "ABCDEFGHJKMO",
        "ABCDEFGHJKMI",
        "ABCDEFGHJKMÑ",
        "ABCDEFGHJKM\n",
        "ＡBCDEFGHJKMN",
    ] {
        assert_eq!(CodeText::parse(bad), None, "{bad:?}");
    }
    assert!(!format!("{:?}", super::Code { text: code, ..self::code() }).contains("ABCDEFGHJKMN"), "a code stays out of logs");
}

/// What the two feeds tell about one friend.
#[derive(Debug, Clone)]
enum Fact {
    Enrolled,
    Bought(Purchase),
    Returned(String, i64, bool),
}

/// The part that the consumer plays, without a store.
#[derive(Default)]
struct World {
    friend: Friend,
    referral: Option<Referral>,
}

impl World {
    fn hear(&mut self, fact: &Fact, now: Timestamp) {
        let known = std::mem::take(&mut self.friend);
        self.friend = match fact {
            Fact::Enrolled => {
                self.referral.get_or_insert_with(|| enrolled(&code()));
                known.enrolled(at(0))
            }
            Fact::Bought(purchase) => known.purchased(purchase.clone()),
            Fact::Returned(id, remaining, complete) => known.returned(id, *remaining, *complete),
        };
        self.referral = self.referral.take().map(|referral| settle(referral, &self.friend, now));
    }
}

/// The returns of the first purchase, in order, as the points feed tells them, with a return of another purchase among them.
fn points_feed(day: i64, net: i64, parts: &[i64]) -> Vec<Fact> {
    let mut left = net;
    let mut facts = vec![Fact::Bought(purchase(day, net, net)), Fact::Returned("p2".to_owned(), 0, true)];
    for part in parts {
        left = (left - part).max(0);
        facts.push(Fact::Returned("p1".to_owned(), left, left == 0));
    }
    facts
}

proptest! {
    #[test]
    fn every_interleaving_and_redelivery_of_the_feeds_ends_the_same(
        day in -3_i64..35,
        net in MINIMUM - 1_500..MINIMUM + 1_500,
        parts in prop::collection::vec(1_i64..1_500, 0..4),
        deliveries in prop::collection::vec((any::<bool>(), 0_usize..4), 0..12),
        now in 0_i64..60,
    ) {
        let feeds = [vec![Fact::Enrolled], points_feed(day, net, &parts)];
        let mut world = World::default();
        // A feed goes back by some places after a crash and tells everything from there again, in its order.
        let mut cursors = [0_usize; 2];
        for (points, back) in deliveries {
            let feed = usize::from(points);
            cursors[feed] = cursors[feed].saturating_sub(back);
            if let Some(fact) = feeds[feed].get(cursors[feed]) {
                world.hear(fact, at(now));
                cursors[feed] += 1;
            }
        }
        for feed in 0..2 {
            for fact in &feeds[feed][cursors[feed]..] {
                world.hear(fact, at(now));
            }
        }

        let left = net - parts.iter().sum::<i64>();
        let expected = if day < -1 {
            "REJECTED PurchaseBeforeAttribution"
        } else if day >= 30 {
            "REJECTED PurchaseTooLate"
        } else if net < MINIMUM {
            "REJECTED PurchaseBelowMinimum"
        } else if left < MINIMUM {
            "VOIDED PurchaseReturned"
        } else if now >= day + 14 {
            "APPROVED"
        } else {
            "QUALIFIED"
        };
        let referral = world.referral.unwrap();
        prop_assert_eq!(kind(&referral.state), expected);
        let rewarded = referral.legs.iter().filter(|leg| leg.state == LegState::Wanted).count();
        prop_assert_eq!(rewarded, if expected == "APPROVED" { 2 } else { 0 });
        prop_assert!(referral.binds_friend());
    }

    #[test]
    fn a_code_survives_any_typing(bytes: [u8; 16], typing in prop::collection::vec(0_u8..4, 12)) {
        let code = CodeText::from_random(bytes);
        let typed: String = code.as_str().chars().zip(typing).map(|(c, how)| match how {
            0 => c.to_string(),
            1 => c.to_ascii_lowercase().to_string(),
            2 => format!("{c}-"),
            _ => format!(" {c}"),
        }).collect();
        prop_assert_eq!(CodeText::parse(&typed), Some(code));
    }

    #[test]
    fn no_text_makes_reading_a_code_panic(typed: String) {
        if let Some(code) = CodeText::parse(&typed) {
            prop_assert_eq!(code.as_str().len(), 12);
        }
    }
}
