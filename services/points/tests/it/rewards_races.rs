//! Two servers on one database: the last piece goes once, and so does a code.

use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use proto::points::rewards_service_client::RewardsServiceClient;
use testkit::TestEngine;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    stock_is_never_oversold,
    a_code_is_used_once,
    a_grant_is_made_once,
    a_member_keeps_his_limit,
    use_and_refund_exclude_each_other,
);

/// A client of either server by turns.
async fn servers(suite: &Suite, replica: &Replica) -> impl Fn(usize) -> Rewards + use<> {
    let both = [rewards(suite, Role::Platform).await, RewardsServiceClient::new(replica.wire(Role::Platform).await)];
    move |number| both[number % 2].clone()
}

async fn stock_is_never_oversold(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    let server = servers(&suite, &replica).await;
    for owner in 1..=30 {
        suite.award(owner, &format!("p{owner}"), 10_000).await;
    }
    for (round, pieces) in [1_i64, 1, 7].into_iter().enumerate() {
        let id = format!("mug-{round}");
        admin.create_reward(create_with(&id, 10, |terms| terms.stock = Some(pieces))).await.unwrap();
        let calls = (0..30_usize).map(|number| {
            let (mut server, request) = (server(number), have(1 + number as u128, &id));
            async move { server.redeem_reward(request).await }
        });
        let (had, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(had.len(), usize::try_from(pieces).unwrap());
        assert!(refused.into_iter().all(|answer| precondition(answer) == "REWARD_OUT_OF_STOCK"));
        let left = server(0).get_reward(pb::GetRewardRequest { name: reward_name(&id) }).await.unwrap().into_inner();
        assert_eq!((left.stock_left, left.taken), (Some(0), pieces));
    }
    // Pieces that are put back are had again, while others ask for them.
    let mut vouchers = Vec::new();
    for owner in 1..=30 {
        let list = pb::ListVouchersRequest { parent: member(owner), ..Default::default() };
        vouchers.extend(server(0).list_vouchers(list).await.unwrap().into_inner().vouchers);
    }
    assert_eq!(vouchers.len(), 9);
    let back = vouchers.iter().enumerate().map(|(number, voucher)| {
        let (mut server, request) = (server(number), undo(&voucher.name, true));
        async move { server.refund_reward(request).await.unwrap() }
    });
    let asked = (0..30_usize).map(|number| {
        let (mut server, request) = (server(number), have(1 + number as u128, "mug-2"));
        async move { server.redeem_reward(request).await.is_ok() }
    });
    let (_, had) = futures::join!(join_all(back), join_all(asked));
    let left = server(0).get_reward(pb::GetRewardRequest { name: reward_name("mug-2") }).await.unwrap().into_inner();
    assert_eq!(left.taken, i64::try_from(had.into_iter().filter(|had| *had).count()).unwrap());
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_code_is_used_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let server = servers(&suite, &replica).await;
    for round in 0..5 {
        let code = server(0).grant_voucher(grant(1, &format!("k{round}"), off(100))).await.unwrap().into_inner().code;
        let calls = (0..20).map(|number| {
            // Ten orders, each twice.
            let (mut server, request) = (server(number), use_for(&format!("o{round}-{}", number / 2), &code, basket("a", 1_000)));
            async move { server.use_voucher(request).await }
        });
        let (used, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        let orders: Vec<_> = used.iter().map(|used| used.as_ref().unwrap().get_ref()).collect();
        assert_eq!((used.len(), orders[0]), (2, orders[1]), "both requests of one order");
        assert_eq!(used.iter().filter(|used| !replayed(used.as_ref().unwrap())).count(), 1);
        assert!(refused.into_iter().all(|answer| precondition(answer) == "VOUCHER_USED"));
    }
    replica.stop().await;
    suite.stop().await;
}

async fn a_grant_is_made_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let server = servers(&suite, &replica).await;
    for round in 0..5 {
        let calls = (0..12).map(|number| {
            let (mut server, request) = (server(number), grant(1, &format!("k{round}"), off(100)));
            async move { server.grant_voucher(request).await.unwrap() }
        });
        let granted = join_all(calls).await;
        assert_eq!(granted.iter().filter(|granted| !replayed(granted)).count(), 1);
        assert!(granted.iter().all(|other| other.get_ref() == granted[0].get_ref()));
    }
    let list = pb::ListVouchersRequest { parent: member(1), ..Default::default() };
    assert_eq!(server(0).list_vouchers(list).await.unwrap().into_inner().vouchers.len(), 5);
    replica.stop().await;
    suite.stop().await;
}

async fn a_member_keeps_his_limit(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create_with("mug", 10, |terms| terms.member_limit = Some(3))).await.unwrap();
    suite.award(1, "p1", 100_000).await;
    let server = servers(&suite, &replica).await;
    let calls = (0..20).map(|number| {
        let mut server = server(number);
        async move { server.redeem_reward(have(1, "mug")).await }
    });
    let (had, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!(had.len(), 3);
    assert!(refused.into_iter().all(|answer| precondition(answer) == "MEMBER_LIMIT_REACHED"));
    assert_eq!(suite.figures(1).await.0, 970);
    // One request at both servers has one effect.
    admin.create_reward(create("cup", 10)).await.unwrap();
    let request = have(1, "cup");
    let calls = (0..16).map(|number| {
        let (mut server, request) = (server(number), request.clone());
        async move { server.redeem_reward(request).await.unwrap() }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
    assert_eq!(suite.figures(1).await.0, 960);
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn use_and_refund_exclude_each_other(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    rewards(&suite, Role::Administrator).await.create_reward(create("mug", 10)).await.unwrap();
    suite.award(1, "p1", 100_000).await;
    let server = servers(&suite, &replica).await;
    for round in 0..10 {
        let issued = server(0).redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap();
        let (mut one, mut other) = (server(round), server(round + 1));
        let (used, refunded) = futures::join!(
            one.use_voucher(use_for(&format!("o{round}"), &issued.code, basket("a", 1_000))),
            other.refund_reward(undo(&issued.name, true))
        );
        match (used, refunded) {
            (Ok(_), refunded) => assert_eq!(precondition(refunded), "VOUCHER_USED"),
            (used, Ok(_)) => assert_eq!(precondition(used), "VOUCHER_REFUNDED"),
            (used, refunded) => panic!("one of them happens: {used:?}, {refunded:?}"),
        }
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}
