//! Requests about rewards and vouchers that break a rule are refused by the path of each field, and change nothing.

use proto::common::Role;
use proto::points as pb;
use testkit::TestEngine;

use super::input::refuses;
use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(reads_of_rewards_are_checked, changes_of_rewards_and_vouchers_are_checked, tokens_are_of_one_list);

/// The name of a voucher of a member of `tea`.
fn of_nobody() -> String {
    no_voucher(TEA)
}

async fn reads_of_rewards_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    refuses!(platform, get_reward, pb::GetRewardRequest { name: reward_name("mug") },
        "name": |r| r.name.clear();
        "name": |r| r.name = TEA.to_owned();
        "name": |r| r.name = format!("{}/x", reward_name("mug"));
    );
    refuses!(platform, list_rewards, pb::ListRewardsRequest { parent: TEA.to_owned(), ..Default::default() },
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = member(1);
        "parent": |r| r.parent = "programs/Tea".to_owned();
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
        "page_token": |r| r.page_token = "x".repeat(1_025);
    );
    refuses!(platform, list_member_rewards, pb::ListMemberRewardsRequest { parent: member(1), ..Default::default() },
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = TEA.to_owned();
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
    );
    refuses!(platform, get_voucher, voucher(&of_nobody()),
        "name": |r| r.name.clear();
        "name": |r| r.name = member(1);
        "name": |r| r.name = format!("{}/vouchers/9", member(1));
        "name": |r| r.name = format!("{}/reservations/{}", member(1), uuid::Uuid::from_u128(9));
    );
    refuses!(platform, list_vouchers, pb::ListVouchersRequest { parent: member(1), ..Default::default() },
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = TEA.to_owned();
        "parent": |r| r.parent = format!("{TEA}/members/li-lei");
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
        "page_token": |r| r.page_token = "x".repeat(1_025);
    );
    refuses!(platform, list_voucher_keys, pb::ListVoucherKeysRequest { parent: TEA.to_owned() },
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = member(1);
        "parent": |r| r.parent = "tea".to_owned();
    );
    refuses!(platform, list_offline_uses, pb::ListOfflineUsesRequest { parent: TEA.to_owned(), ..Default::default() },
        "parent": |r| r.parent.clear();
        "parent": |r| r.parent = member(1);
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "x".to_owned();
        "page_token": |r| r.page_token = "x".repeat(1_025);
    );
    suite.stop().await;
}

async fn changes_of_rewards_and_vouchers_are_checked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    let mug = admin.create_reward(create_with("mug", 10, |terms| terms.stock = Some(3))).await.unwrap().into_inner();
    suite.award(1, "p1", 10_000).await;
    refuses!(admin, create_reward, create("cup", 1),
        "parent": |r| r.parent.clear();
        "reward_id": |r| r.reward_id.clear();
        "terms": |r| r.terms = None;
        "terms.voucher": |r| r.terms.as_mut().unwrap().voucher = None;
        "request_id": |r| r.request_id.clear();
    );
    refuses!(admin, retire_reward, retire("mug"), "name": |r| r.name.clear(); "request_id": |r| r.request_id = "a b".to_owned(););
    refuses!(admin, adjust_stock, stock("mug", 1),
        "name": |r| r.name = TEA.to_owned();
        "pieces_delta": |r| r.pieces_delta = 1_000_000_000_001;
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, redeem_reward, have(1, "mug"),
        "member": |r| r.member.clear();
        "member": |r| r.member = TEA.to_owned();
        "reward": |r| r.reward.clear();
        "reward": |r| r.reward = member(1);
        "store": |r| r.store = TILL.to_owned();
        "terminal": |r| r.terminal = "till".to_owned();
        "cashier": |r| r.cashier = "Li Lei".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, refund_reward, undo(&of_nobody(), false),
        "voucher": |r| r.voucher.clear();
        "voucher": |r| r.voucher = reward_name("mug");
        "terminal": |r| r.terminal = "till".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, grant_voucher, grant(1, "k", off(1)),
        "parent": |r| r.parent = TEA.to_owned();
        "grant_key": |r| r.grant_key = "a b".to_owned();
        "title": |r| r.title.clear();
        "title": |r| r.title = "x".repeat(201);
        "terms": |r| r.terms = None;
        "request_id": |r| r.request_id.clear();
    );
    let mut service = rewards(&suite, Role::Service).await;
    refuses!(service, ensure_voucher, wish(1, "mug", "w", true, 1),
        "member": |r| r.member.clear();
        "reward": |r| r.reward = r.reward.replace("tea", "coffee");
        "version": |r| r.version = 0;
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, check_voucher, check("000000-000000-000000", basket("a", 1)),
        "parent": |r| r.parent = member(1);
        "code": |r| r.code.clear();
        "code": |r| r.code = "0".repeat(1_101);
        "basket": |r| r.basket = None;
        "basket.currency_code": |r| r.basket.as_mut().unwrap().currency_code = "cny".to_owned();
        "basket.store": |r| r.basket.as_mut().unwrap().store = TILL.to_owned();
        "basket.channel": |r| r.basket.as_mut().unwrap().channel = "The app".to_owned();
    );
    refuses!(platform, issue_offline_code, pb::IssueOfflineCodeRequest { name: of_nobody(), ttl: None },
        "name": |r| r.name = member(1);
        "ttl": |r| r.ttl = Some(prost_types::Duration { seconds: 2_592_001, nanos: 0 });
    );
    refuses!(platform, void_voucher_use, void(&of_nobody(), "o"),
        "name": |r| r.name.clear();
        "order_reference": |r| r.order_reference = "a b".to_owned();
        "request_id": |r| r.request_id.clear();
    );
    refuses!(platform, revoke_voucher, revoke(&of_nobody()),
        "name": |r| r.name.clear();
        "reason": |r| r.reason.clear();
        "reason": |r| r.reason = "x".repeat(201);
        "request_id": |r| r.request_id.clear();
    );
    // None of it has changed anything.
    let all = platform.list_rewards(pb::ListRewardsRequest { parent: TEA.to_owned(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(all.rewards, [mug]);
    let vouchers = pb::ListVouchersRequest { parent: member(1), ..Default::default() };
    assert_eq!(platform.list_vouchers(vouchers).await.unwrap().into_inner().vouchers, []);
    assert_eq!(suite.figures(1).await, (100, 0, 0, 0));
    suite.stop().await;
}

/// A page goes on in the list that it comes from, and in no other.
async fn tokens_are_of_one_list(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let (mut admin, mut platform) = (rewards(&suite, Role::Administrator).await, rewards(&suite, Role::Platform).await);
    for number in 0..2 {
        admin.create_reward(create(&format!("r{number}"), 10)).await.unwrap();
        let terms = pb::VoucherTerms { offline_limit: yuan(1_000), ..off(500) };
        let granted = platform.grant_voucher(grant(1, &format!("k{number}"), terms)).await.unwrap().into_inner();
        let issued = platform.issue_offline_code(pb::IssueOfflineCodeRequest { name: granted.name, ttl: None }).await.unwrap().into_inner();
        let order = format!("o{number}");
        platform.use_voucher(told_later(&order, &issued.code, basket("a", 3_000), number + 1, suite.now())).await.unwrap();
    }
    let of_rewards = |page_token: &str| pb::ListRewardsRequest { parent: TEA.to_owned(), page_size: 1, page_token: page_token.to_owned() };
    let of_vouchers = |page_token: &str| pb::ListVouchersRequest { parent: member(1), page_size: 1, page_token: page_token.to_owned() };
    let of_uses = |page_token: &str| {
        let (parent, page_token) = (TEA.to_owned(), page_token.to_owned());
        pb::ListOfflineUsesRequest { parent, losses_only: false, page_size: 1, page_token }
    };
    let rewards = platform.list_rewards(of_rewards("")).await.unwrap().into_inner().next_page_token;
    let vouchers = platform.list_vouchers(of_vouchers("")).await.unwrap().into_inner().next_page_token;
    let uses = platform.list_offline_uses(of_uses("")).await.unwrap().into_inner().next_page_token;
    assert!(platform.list_rewards(of_rewards(&rewards)).await.unwrap().into_inner().next_page_token.is_empty());
    assert!(platform.list_vouchers(of_vouchers(&vouchers)).await.unwrap().into_inner().next_page_token.is_empty());
    assert!(platform.list_offline_uses(of_uses(&uses)).await.unwrap().into_inner().next_page_token.is_empty());
    refuses!(platform, list_rewards, of_rewards(&rewards),
        "page_token": |r| r.page_token = vouchers.clone();
        "page_token": |r| r.page_token.push('A');
        "page_token": |r| r.parent = "programs/coffee".to_owned();
    );
    refuses!(platform, list_vouchers, of_vouchers(&vouchers),
        "page_token": |r| r.page_token = uses.clone();
        "page_token": |r| r.parent = member(2);
    );
    refuses!(platform, list_offline_uses, of_uses(&uses),
        "page_token": |r| r.page_token = vouchers.clone();
        "page_token": |r| r.losses_only = true;
        "page_token": |r| r.parent = "programs/coffee".to_owned();
    );
    suite.stop().await;
}
