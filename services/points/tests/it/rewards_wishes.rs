//! Vouchers that other services give, and take back.

use futures::future::join_all;
use proto::common::Role;
use proto::points as pb;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    the_newest_wish_for_a_voucher_wins,
    a_given_voucher_takes_a_piece,
    a_used_voucher_stays_used,
    what_was_revoked_by_hand_stays_revoked,
    wishes_at_once_give_one_voucher,
    a_wish_follows_a_merge,
);

async fn left(client: &mut Rewards, id: &str) -> (Option<i64>, i64) {
    let reward = client.get_reward(pb::GetRewardRequest { name: reward_name(id) }).await.unwrap().into_inner();
    (reward.stock_left, reward.taken)
}

async fn the_newest_wish_for_a_voucher_wins(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = rewards(&suite, Role::Service).await;
    rewards(&suite, Role::Administrator).await.create_reward(create("mug", 10)).await.unwrap();
    // Revoked before it was ever had: the wish that comes late changes nothing.
    let revoked = service.ensure_voucher(wish(1, "mug", "w", false, 2)).await.unwrap().into_inner();
    assert_eq!(revoked, pb::EnsureVoucherResponse { version: 2, had: false, voucher: None });
    let late = service.ensure_voucher(wish(1, "mug", "w", true, 1)).await.unwrap().into_inner();
    assert_eq!(late, pb::EnsureVoucherResponse { version: 2, had: false, voucher: None });
    let request = wish(1, "mug", "w", true, 3);
    let given = service.ensure_voucher(request.clone()).await.unwrap().into_inner();
    let voucher = given.voucher.clone().unwrap();
    assert_eq!((given.version, given.had, voucher.state()), (3, true, pb::VoucherState::Usable));
    assert_eq!((voucher.grant_reason(), voucher.reward.clone(), &*voucher.operation), (pb::GrantReason::Ladder, reward_name("mug"), ""));
    assert_eq!(voucher.code.len(), 20);
    let again = service.ensure_voucher(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), given);
    let same = service.ensure_voucher(wish(1, "mug", "w", true, 3)).await.unwrap();
    assert!(!replayed(&same), "it is another request");
    assert_eq!(same.into_inner().voucher, given.voucher);
    // Taken back and given again: another voucher.
    let taken = service.ensure_voucher(wish(1, "mug", "w", false, 4)).await.unwrap().into_inner();
    assert_eq!((taken.had, taken.voucher.unwrap().state()), (false, pb::VoucherState::Revoked));
    let next = service.ensure_voucher(wish(1, "mug", "w", true, 5)).await.unwrap().into_inner().voucher.unwrap();
    assert!(next.name != voucher.name && next.code != voucher.code);
    let stale = service.ensure_voucher(wish(1, "mug", "w", false, 4)).await.unwrap().into_inner();
    assert_eq!((stale.version, stale.had), (5, true));
    suite.verified().await;
}

async fn a_given_voucher_takes_a_piece(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = rewards(&suite, Role::Service).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create_with("mug", 10, |terms| (terms.stock, terms.member_limit) = (Some(2), Some(1)))).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    service.ensure_voucher(wish(1, "mug", "w1", true, 1)).await.unwrap();
    assert_eq!(left(&mut admin, "mug").await, (Some(1), 1));
    // What was given does not count for what he may redeem.
    service.redeem_reward(have(1, "mug")).await.unwrap();
    let refused = service.ensure_voucher(wish(2, "mug", "w2", true, 1)).await;
    assert_eq!(precondition(refused), "REWARD_OUT_OF_STOCK");
    let mut platform = rewards(&suite, Role::Platform).await;
    assert_eq!(precondition(platform.redeem_reward(have(1, "mug")).await), "MEMBER_LIMIT_REACHED");
    // What goes back is there for whoever asks again.
    service.ensure_voucher(wish(1, "mug", "w1", false, 2)).await.unwrap();
    assert_eq!(left(&mut admin, "mug").await, (Some(1), 1));
    assert!(service.ensure_voucher(wish(2, "mug", "w2", true, 1)).await.unwrap().into_inner().had);
    assert_eq!(left(&mut admin, "mug").await, (Some(0), 2));
    let none = service.ensure_voucher(wish(1, "cup", "w3", true, 1)).await;
    assert_eq!(refusal(none), (Code::NotFound, "REWARD_NOT_FOUND".to_owned()));
    assert_eq!(
        wrong_fields(service.ensure_voucher(with(wish(1, "mug", "", true, 1), |wish| wish.reason = 0)).await),
        ["wish_key", "reason"]
    );
    suite.verified().await;
}

async fn a_used_voucher_stays_used(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = rewards(&suite, Role::Service).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(1))).await.unwrap();
    let voucher = service.ensure_voucher(wish(1, "mug", "w", true, 1)).await.unwrap().into_inner().voucher.unwrap();
    service.use_voucher(use_for("o1", &voucher.code, basket("a", 3_000))).await.unwrap();
    for (wanted, version) in [(false, 2), (true, 3), (false, 4)] {
        let answer = service.ensure_voucher(wish(1, "mug", "w", wanted, version)).await.unwrap().into_inner();
        assert_eq!((answer.had, answer.voucher.unwrap().state()), (true, pb::VoucherState::Used));
    }
    assert_eq!(left(&mut admin, "mug").await, (Some(0), 1));
    // Its order is cancelled, and it is wanted no more: it does not come to life again.
    let voided = service.void_voucher_use(void(&voucher.name, "o1")).await.unwrap().into_inner();
    assert_eq!(voided.state(), pb::VoucherState::Revoked);
    assert_eq!(left(&mut admin, "mug").await, (Some(1), 0));
    let next = service.ensure_voucher(wish(1, "mug", "w", true, 5)).await.unwrap().into_inner().voucher.unwrap();
    assert!(next.name != voucher.name);
    suite.verified().await;
}

async fn what_was_revoked_by_hand_stays_revoked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = rewards(&suite, Role::Service).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(1))).await.unwrap();
    let voucher = service.ensure_voucher(wish(1, "mug", "w", true, 1)).await.unwrap().into_inner().voucher.unwrap();
    admin.revoke_voucher(revoke(&voucher.name)).await.unwrap();
    for (wanted, version) in [(true, 2), (false, 3), (true, 4)] {
        let answer = service.ensure_voucher(wish(1, "mug", "w", wanted, version)).await.unwrap().into_inner();
        assert_eq!((answer.had, answer.voucher.unwrap().revoke_reason), (false, "stolen".to_owned()));
    }
    assert_eq!(left(&mut admin, "mug").await, (Some(0), 1));
    suite.verified().await;
}

async fn wishes_at_once_give_one_voucher(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(5))).await.unwrap();
    let both = [rewards(&suite, Role::Service).await, Rewards::new(replica.wire(Role::Service).await)];
    let asked = (0..24_usize).map(|number| {
        let mut server = both[number % 2].clone();
        async move { server.ensure_voucher(wish(1, "mug", "one", true, 1)).await.unwrap().into_inner() }
    });
    let given = join_all(asked).await;
    assert!(given.iter().all(|other| other == &given[0] && other.had));
    // Of twenty who ask for what is left, four have it.
    let asked = (0..20_usize).map(|number| {
        let (mut server, owner) = (both[number % 2].clone(), 2 + number as u128);
        async move { server.ensure_voucher(wish(owner, "mug", &format!("w{owner}"), true, 1)).await }
    });
    let (had, refused): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().partition(Result::is_ok);
    assert_eq!(had.len(), 4);
    assert!(refused.into_iter().all(|answer| precondition(answer) == "REWARD_OUT_OF_STOCK"));
    assert_eq!(left(&mut admin, "mug").await, (Some(0), 5));
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_wish_follows_a_merge(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut service = rewards(&suite, Role::Service).await;
    rewards(&suite, Role::Administrator).await.create_reward(create("mug", 10)).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    let voucher = service.ensure_voucher(wish(2, "mug", "w", true, 1)).await.unwrap().into_inner().voucher.unwrap();
    suite.client(Role::Service).await.merge_accounts(merge(1, 2)).await.unwrap();
    for owner in [1, 2] {
        let answer = service.ensure_voucher(wish(owner, "mug", "w", true, 1 + owner as i64)).await.unwrap().into_inner();
        assert_eq!(answer.voucher.unwrap().name, voucher.name);
    }
    let strangers = service.ensure_voucher(wish(3, "mug", "w", true, 9)).await;
    assert_eq!(metadata(&strangers, "field"), "member");
    assert_eq!(refusal(strangers), (Code::AlreadyExists, "WISH_EXISTS".to_owned()));
    suite.verified().await;
}
