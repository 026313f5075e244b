use std::sync::Arc;

use kernel::{CalendarUnit, Period, Uuid};

use super::*;
use crate::domain::tests::{Bench, adjust, program, terms};
use crate::domain::{AccountId, Command, Facts, Known, Ledger, MemberStatus, Outcome, Refusal, Source, TierInterval};

fn reward() -> Reward {
    Reward {
        key: Uuid::from_u128(1),
        id: "mug".into(),
        cost: 100,
        wallet: crate::domain::MAIN_WALLET.into(),
        stock: None,
        taken: 0,
        start_at: None,
        end_at: None,
        audience: Audience::Everyone,
        member_limit: None,
        validity: Validity::For(Period { count: 30, unit: CalendarUnit::Day }),
        created_at: at("2026-01-01T00:00:00Z"),
        retired_at: None,
        voucher: Arc::from([]),
        details: Arc::from([]),
    }
}

#[test]
fn a_reward_is_had_by_whom_it_is_for() {
    let now = at("2026-03-02T00:00:00Z");
    let gold = Facts {
        tiers: vec![TierInterval {
            scheme: "tea".to_owned(),
            tier: "gold".to_owned(),
            multiplier: "1".parse().unwrap(),
            start_at: at("2026-01-01T00:00:00Z"),
            end_at: Some(at("2026-03-02T00:00:01Z")),
        }],
        ..Facts::default()
    };
    let blocked = Facts { status: MemberStatus::Blocked, ..Facts::default() };
    let anybody = Facts::default();
    let vegan = Facts { tags: vec!["vegan".to_owned()], segments: vec!["regular".to_owned()], ..Facts::default() };
    let for_tags = |tag: &str| Reward { audience: Audience::Tags(vec!["staff".to_owned(), tag.to_owned()]), ..reward() };
    let for_segment = |segment: &str| Reward { audience: Audience::Segments(vec![segment.to_owned()]), ..reward() };
    let for_gold = Audience::Tiers(vec!["gold".to_owned(), "black".to_owned()]);
    use RewardObstacle::{Blocked, Limit, NotStarted, Over, Points, Retired, Stock, Tier};
    let table = [
        (reward(), &anybody, 100, 0, vec![]),
        (reward(), &anybody, 70, 0, vec![Points { missing: 30 }]),
        (reward(), &blocked, 100, 0, vec![Blocked]),
        (Reward { audience: for_gold.clone(), ..reward() }, &gold, 100, 0, vec![]),
        (Reward { audience: for_gold.clone(), ..reward() }, &anybody, 100, 0, vec![Tier]),
        (for_tags("vegan"), &vegan, 100, 0, vec![]),
        (for_tags("regular"), &vegan, 100, 0, vec![RewardObstacle::Audience]),
        (for_tags("vegan"), &anybody, 100, 0, vec![RewardObstacle::Audience]),
        (for_segment("regular"), &vegan, 100, 0, vec![]),
        (for_segment("vegan"), &vegan, 100, 0, vec![RewardObstacle::Audience]),
        (Reward { stock: Some(3), taken: 2, ..reward() }, &anybody, 100, 0, vec![]),
        (Reward { stock: Some(3), taken: 3, ..reward() }, &anybody, 100, 0, vec![Stock]),
        (Reward { member_limit: Some(2), ..reward() }, &anybody, 100, 1, vec![]),
        (Reward { member_limit: Some(2), ..reward() }, &anybody, 100, 2, vec![Limit]),
        (Reward { start_at: Some(now), end_at: Some(at("2026-03-03T00:00:00Z")), ..reward() }, &anybody, 100, 0, vec![]),
        (Reward { start_at: Some(at("2026-03-02T00:00:01Z")), ..reward() }, &anybody, 100, 0, vec![NotStarted]),
        (Reward { end_at: Some(now), ..reward() }, &anybody, 100, 0, vec![Over]),
        (Reward { validity: Validity::Until(now), ..reward() }, &anybody, 100, 0, vec![Over]),
        (Reward { retired_at: Some(now), stock: Some(0), ..reward() }, &anybody, 0, 0, vec![Retired, Stock, Points { missing: 100 }]),
    ];
    for (reward, facts, active, taken, expected) in table {
        assert_eq!(reward.obstacles(Asker { facts, active, taken }, now), expected, "{reward:?}");
    }
}

#[test]
fn redeeming_and_refunding_leave_the_books_as_they_were() {
    let mut bench = Bench::new(terms());
    bench.run(adjust(150)).unwrap();
    let lots = bench.account.wallets[0].lots.clone();
    let request = RedeemReward { reward: Uuid::from_u128(1), member: bench.member, seal: CodeSeal { hash: [7; 32], key_version: 1 } };
    let unknown = Known::default();
    let redeem = Command::RedeemReward(request);
    assert_eq!(bench.apply_known(&redeem, &unknown), Err(Refusal::Reward(RewardRefusal::NotFound)));
    let known = Known { catalogue: Some((reward(), 0)), ..Known::default() };
    let Outcome::RewardRedeemed { points, voucher } = bench.apply_known(&redeem, &known).unwrap() else { panic!("it is redeemed") };
    let entry = bench.entries.last().unwrap().clone();
    assert_eq!((points, entry.points, bench.active()), (100, -100, 50));
    assert_eq!(entry.source, Source::Catalogue { reward: "mug".into(), voucher: voucher.id });
    assert_eq!((voucher.id, voucher.account, voucher.member), (entry.stamp.operation, bench.id(), bench.member));
    assert_eq!(voucher.expires_at, Some(at("2026-02-14T12:00:00Z")));
    assert_eq!(bench.apply_known(&redeem, &known), Err(Refusal::InsufficientPoints { missing: 50 }));

    let redemption = crate::domain::Redemption {
        operation: voucher.id,
        account: bench.id(),
        wallet: entry.wallet.clone(),
        lots: entry.lots.iter().map(|lot| (lot.key.clone(), -lot.points)).collect(),
        spender: None,
        spent_at: entry.recorded_at,
        refunded: 0,
        of_reward: true,
    };
    let paid = Command::Refund(crate::domain::Refund { redemption: voucher.id, points: None });
    let known = Known { redemptions: vec![redemption], voucher: Some((*voucher).clone()), ..Known::default() };
    assert_eq!(bench.apply_known(&paid, &known), Err(Refusal::Reward(RewardRefusal::RedemptionOfReward)));
    let refund = Command::RefundReward(RefundReward { voucher: voucher.id, paid: voucher.reward.zip(voucher.redemption), restock: true });
    for (state, expected) in [
        (VoucherState::Revoked { reason: "stolen".to_owned(), restocked: false }, RewardRefusal::VoucherRevoked),
        (VoucherState::Refunded { restocked: false }, RewardRefusal::VoucherRefunded),
    ] {
        let known = Known { voucher: Some(Voucher { state, ..(*voucher).clone() }), ..known.clone() };
        assert_eq!(bench.apply_known(&refund, &known), Err(Refusal::Reward(expected)));
    }
    let granted = Known { voucher: Some(Voucher { redemption: None, ..(*voucher).clone() }), ..known.clone() };
    assert_eq!(bench.apply_known(&refund, &granted), Err(Refusal::Reward(RewardRefusal::VoucherNotRedeemed)));
    let Outcome::RewardRefunded { restored, voucher: after } = bench.apply_known(&refund, &known).unwrap() else {
        panic!("it is refunded")
    };
    assert_eq!((restored.points, bench.active()), (100, 150));
    assert_eq!(bench.account.wallets[0].lots, lots);
    assert_eq!((after.state, after.version), (VoucherState::Refunded { restocked: true }, 2));
}

impl Bench {
    fn apply_known(&mut self, command: &Command, known: &Known) -> Result<Outcome, Refusal> {
        let stamp = self.stamp();
        let id = AccountId::of(&program(), self.member);
        let (outcome, entries) = Ledger::open(id, &mut self.account, &self.versions, &self.facts, &stamp).apply(command, known)?;
        self.entries.extend(entries);
        Ok(outcome)
    }
}
