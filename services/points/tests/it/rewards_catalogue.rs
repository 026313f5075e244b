//! The catalogue of rewards.

use proto::common::Role;
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_reward_is_put_in_once,
    terms_that_cannot_be_kept_are_refused,
    stock_is_adjusted_down_to_what_was_taken,
    lists_are_paged,
    a_member_sees_what_he_can_have,
);

async fn a_reward_is_put_in_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    let request = create_with("mug", 100, |terms| {
        terms.stock = Some(3);
        terms.voucher.as_mut().unwrap().valid = Some(pb::voucher_terms::Valid::ValidFor(days(30).unwrap()));
    });
    let first = admin.create_reward(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.name.as_str(), first.stock, first.stock_left, first.taken), (&*reward_name("mug"), Some(3), Some(3), 0));
    assert_eq!((&first.terms, &first.retire_time), (&request.terms, &None));
    let again = admin.create_reward(request.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    let other = with(request.clone(), |request| request.terms.as_mut().unwrap().cost_points = 99);
    assert_eq!(refusal(admin.create_reward(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(refusal(admin.create_reward(create("mug", 100)).await), (Code::AlreadyExists, "REWARD_ID_TAKEN".to_owned()));
    let get = |id: &str| pb::GetRewardRequest { name: reward_name(id) };
    assert_eq!(admin.get_reward(get("mug")).await.unwrap().into_inner(), first);
    assert_eq!(refusal(admin.get_reward(get("cup")).await), (Code::NotFound, "REWARD_NOT_FOUND".to_owned()));

    let gone = retire("mug");
    let retired = admin.retire_reward(gone.clone()).await.unwrap().into_inner();
    assert_eq!(retired.retire_time, Some(timestamp(suite.now())));
    assert_eq!(admin.retire_reward(gone).await.unwrap().into_inner(), retired);
    assert_eq!(precondition(admin.retire_reward(retire("mug")).await), "REWARD_RETIRED");
    assert_eq!(refusal(admin.retire_reward(retire("cup")).await), (Code::NotFound, "REWARD_NOT_FOUND".to_owned()));
    assert_eq!(admin.get_reward(get("mug")).await.unwrap().into_inner(), retired);
    suite.stop().await;
}

async fn terms_that_cannot_be_kept_are_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    let voucher = |terms: &mut pb::RewardTerms, change: fn(&mut pb::VoucherTerms)| change(terms.voucher.as_mut().unwrap());
    let table: [(&str, pb::CreateRewardRequest); 12] = [
        ("reward_id", create("Mug", 1)),
        ("terms.title", create_with("a", 1, |terms| terms.title = String::new())),
        ("terms.kind", create_with("a", 1, |terms| terms.kind = 0)),
        ("terms.cost_points", create("a", 0)),
        ("terms.stock", create_with("a", 1, |terms| terms.stock = Some(-1))),
        ("terms.member_limit", create_with("a", 1, |terms| terms.member_limit = Some(0))),
        ("terms.audience", create_with("a", 1, |terms| terms.audience = None)),
        ("terms.audience.who", create_with("a", 1, |terms| terms.audience = Some(pb::RewardAudience::default()))),
        ("terms.voucher.effect", create_with("a", 1, |terms| voucher(terms, |voucher| voucher.effect = None))),
        ("terms.voucher.amount_off.amount", create_with("a", 1, |terms| terms.voucher = Some(off(0)))),
        (
            "terms.end_time",
            create_with("a", 1, |terms| {
                terms.start_time = Some(timestamp(suite.now()));
                terms.end_time = Some(timestamp(suite.now()));
            }),
        ),
        (
            "terms.voucher.percent_off.basis_points",
            create_with("a", 1, |terms| {
                voucher(terms, |voucher| {
                    let off = pb::voucher_terms::PercentOff { basis_points: 10_001, at_most: None };
                    voucher.effect = Some(pb::voucher_terms::Effect::PercentOff(off));
                });
            }),
        ),
    ];
    for (field, request) in table {
        assert_eq!(wrong_fields(admin.create_reward(request).await), [field]);
    }
    let euros = create_with("a", 1, |terms| {
        let amount = Some(proto::common::Money { currency_code: "EUR".to_owned(), minor_units: 100 });
        let effect = pb::voucher_terms::Effect::AmountOff(pb::voucher_terms::AmountOff { amount });
        terms.voucher.as_mut().unwrap().effect = Some(effect);
    });
    assert_eq!(refusal(admin.create_reward(euros).await), (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned()));
    suite.stop().await;
}

async fn stock_is_adjusted_down_to_what_was_taken(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(2))).await.unwrap();
    admin.create_reward(create("air", 10)).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    platform.redeem_reward(have(1, "mug")).await.unwrap();
    let more = stock("mug", 5);
    let after = platform.adjust_stock(more.clone()).await.unwrap().into_inner();
    assert_eq!((after.stock, after.stock_left, after.taken), (Some(7), Some(6), 1));
    let again = platform.adjust_stock(more).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), after);
    let much = platform.adjust_stock(stock("mug", -7)).await;
    assert_eq!(metadata(&much, "left"), "6");
    assert_eq!(precondition(much), "STOCK_BELOW_TAKEN");
    let after = platform.adjust_stock(stock("mug", -6)).await.unwrap().into_inner();
    assert_eq!((after.stock, after.stock_left), (Some(1), Some(0)));
    assert_eq!(precondition(platform.redeem_reward(have(1, "mug")).await), "REWARD_OUT_OF_STOCK");
    let much = platform.adjust_stock(stock("mug", 1_000_000_000_000)).await;
    assert_eq!(refusal(much), (Code::OutOfRange, "AMOUNT_OUT_OF_RANGE".to_owned()));
    assert_eq!(precondition(platform.adjust_stock(stock("air", 1)).await), "REWARD_WITHOUT_STOCK");
    assert_eq!(refusal(platform.adjust_stock(stock("none", 1)).await), (Code::NotFound, "REWARD_NOT_FOUND".to_owned()));
    assert_eq!(wrong_fields(platform.adjust_stock(stock("mug", 0)).await), ["pieces_delta"]);
    suite.verified().await;
    suite.stop().await;
}

async fn lists_are_paged(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    // Ids and costs in opposite orders, some costs alike.
    for number in 0..7 {
        admin.create_reward(create(&format!("r{number}"), 100 - 10 * (number / 2))).await.unwrap();
    }
    admin.retire_reward(retire("r3")).await.unwrap();
    admin.create_reward(create_with("over", 1, |terms| terms.end_time = Some(timestamp(suite.now())))).await.unwrap();
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRewardsRequest { parent: TEA.to_owned(), page_size: 3, page_token: token };
        let page = platform.list_rewards(request).await.unwrap().into_inner();
        assert!(page.rewards.len() <= 3);
        all.extend(page.rewards.into_iter().map(|reward| reward.name.rsplit('/').next().unwrap().to_owned()));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(all, ["over", "r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
    let (mut cheapest, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListMemberRewardsRequest { parent: member(1), page_size: 2, page_token: token };
        let page = platform.list_member_rewards(request).await.unwrap().into_inner();
        assert!(page.rewards.len() <= 2);
        cheapest.extend(page.rewards.into_iter().map(|seen| seen.reward.unwrap().name.rsplit('/').next().unwrap().to_owned()));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(cheapest, ["r6", "r4", "r5", "r2", "r0", "r1"]);
    // A token of another list.
    let request = pb::ListRewardsRequest { parent: TEA.to_owned(), page_size: 3, ..Default::default() };
    let page_token = platform.list_rewards(request).await.unwrap().into_inner().next_page_token;
    let request = pb::ListMemberRewardsRequest { parent: member(1), page_size: 3, page_token };
    assert_eq!(wrong_fields(platform.list_member_rewards(request).await), ["page_token"]);
    suite.stop().await;
}

async fn a_member_sees_what_he_can_have(engine: TestEngine) {
    use pb::RewardObstacle::*;
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    for request in [
        create("a-tea", 50),
        create_with("b-once", 60, |terms| terms.member_limit = Some(1)),
        create_with("c-last", 70, |terms| terms.stock = Some(1)),
        create_with("d-gold", 80, |terms| terms.audience = tiers(&["gold"])),
        create_with("e-soon", 90, |terms| terms.start_time = Some(timestamp(suite.now() + DAY))),
        create("f-cake", 180),
    ] {
        admin.create_reward(request).await.unwrap();
    }
    suite.award(1, "p1", 21_000).await;
    suite.award(2, "p2", 10_000).await;
    platform.redeem_reward(have(1, "b-once")).await.unwrap();
    platform.redeem_reward(have(2, "c-last")).await.unwrap();
    let request = pb::ListMemberRewardsRequest { parent: member(1), ..Default::default() };
    let seen = platform.list_member_rewards(request.clone()).await.unwrap().into_inner();
    assert_eq!(seen.active_points, 150);
    let short = |seen: &pb::MemberReward| {
        let obstacles: Vec<_> = seen.obstacles().collect();
        (seen.reward.as_ref().unwrap().name.rsplit('/').next().unwrap().to_owned(), seen.available, obstacles, seen.missing_points)
    };
    let expected = [
        ("a-tea", true, vec![], 0),
        ("b-once", false, vec![Limit], 0),
        ("c-last", false, vec![Stock], 0),
        ("d-gold", false, vec![Tier], 0),
        ("e-soon", false, vec![NotStarted], 0),
        ("f-cake", false, vec![Points], 30),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(id, available, why, missing)| (id.to_owned(), available, why, missing)).collect();
    assert_eq!(seen.rewards.iter().map(short).collect::<Vec<_>>(), expected);
    assert_eq!(seen.rewards[1].taken_by_member, 1);
    suite.clock.advance(DAY);
    let seen = platform.list_member_rewards(request).await.unwrap().into_inner();
    assert!(seen.rewards[4].available);
    suite.stop().await;
}
