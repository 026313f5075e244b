//! Requests about rewards and vouchers as tests write them.

use proto::common::Role;
use proto::points as pb;
use proto::points::rewards_service_client::RewardsServiceClient;
use proto::points::voucher_terms::{AmountOff, Effect};
use rpc::Programs;
use uuid::Uuid;

use super::requests::*;
use super::suite::*;

pub(crate) type Rewards = RewardsServiceClient<Wire>;

/// The service as a role sees it.
pub(crate) async fn rewards(suite: &Suite, role: Role) -> Rewards {
    RewardsServiceClient::new(suite.wire(role, Programs::All).await)
}

pub(crate) fn reward_name(id: &str) -> String {
    format!("{TEA}/rewards/{id}")
}

/// So many fen off anything.
pub(crate) fn off(fen: i64) -> pb::VoucherTerms {
    pb::VoucherTerms { effect: Some(Effect::AmountOff(AmountOff { amount: yuan(fen) })), ..pb::VoucherTerms::default() }
}

pub(crate) fn everyone() -> Option<pb::RewardAudience> {
    let who = pb::reward_audience::Who::Everyone(pb::reward_audience::Everyone {});
    Some(pb::RewardAudience { who: Some(who) })
}

pub(crate) fn with_tag(tag: &str) -> Option<pb::RewardAudience> {
    let labels = vec![tag.to_owned()];
    Some(pb::RewardAudience { who: Some(pb::reward_audience::Who::Tags(pb::reward_audience::Labels { labels })) })
}

pub(crate) fn in_segment(segment: &str) -> Option<pb::RewardAudience> {
    let labels = vec![segment.to_owned()];
    Some(pb::RewardAudience { who: Some(pb::reward_audience::Who::Segments(pb::reward_audience::Labels { labels })) })
}

pub(crate) fn tiers(ids: &[&str]) -> Option<pb::RewardAudience> {
    let tiers = ids.iter().map(|id| (*id).to_owned()).collect();
    Some(pb::RewardAudience { who: Some(pb::reward_audience::Who::Tiers(pb::reward_audience::Tiers { tiers })) })
}

/// A reward of so many points, ten yuan off, without limits.
pub(crate) fn create(id: &str, cost_points: i64) -> pb::CreateRewardRequest {
    let terms = pb::RewardTerms {
        title: format!("a {id}"),
        kind: pb::RewardKind::Goods.into(),
        cost_points,
        audience: everyone(),
        voucher: Some(off(1_000)),
        ..pb::RewardTerms::default()
    };
    pb::CreateRewardRequest { parent: TEA.to_owned(), reward_id: id.to_owned(), terms: Some(terms), request_id: request_id() }
}

/// The same with other terms.
pub(crate) fn create_with(id: &str, cost: i64, change: impl FnOnce(&mut pb::RewardTerms)) -> pb::CreateRewardRequest {
    with(create(id, cost), |request| change(request.terms.as_mut().unwrap()))
}

pub(crate) fn have(owner: u128, reward: &str) -> pb::RedeemRewardRequest {
    pb::RedeemRewardRequest { member: member(owner), reward: reward_name(reward), request_id: request_id(), ..Default::default() }
}

pub(crate) fn undo(voucher: &str, restock: bool) -> pb::RefundRewardRequest {
    pb::RefundRewardRequest { voucher: voucher.to_owned(), restock, request_id: request_id(), ..Default::default() }
}

pub(crate) fn retire(id: &str) -> pb::RetireRewardRequest {
    pb::RetireRewardRequest { name: reward_name(id), request_id: request_id() }
}

pub(crate) fn stock(id: &str, pieces_delta: i64) -> pb::AdjustStockRequest {
    pb::AdjustStockRequest { name: reward_name(id), pieces_delta, request_id: request_id() }
}

pub(crate) fn grant(owner: u128, key: &str, terms: pb::VoucherTerms) -> pb::GrantVoucherRequest {
    pb::GrantVoucherRequest {
        parent: member(owner),
        grant_key: key.to_owned(),
        reason: pb::GrantReason::Birthday.into(),
        title: "happy birthday".to_owned(),
        terms: Some(terms),
        request_id: request_id(),
    }
}

/// A voucher of a reward, to have or to have no more.
pub(crate) fn wish(owner: u128, reward: &str, key: &str, wanted: bool, version: i64) -> pb::EnsureVoucherRequest {
    pb::EnsureVoucherRequest {
        member: member(owner),
        reward: reward_name(reward),
        wish_key: key.to_owned(),
        wanted,
        version,
        reason: pb::GrantReason::Ladder.into(),
        request_id: request_id(),
    }
}

/// One piece of an article for so many fen, by the app.
pub(crate) fn basket(sku: &str, fen: i64) -> pb::Basket {
    let line = pb::PurchaseLine {
        line_id: "1".to_owned(),
        sku: sku.to_owned(),
        category: "drink".to_owned(),
        quantity: 1,
        net_minor_units: fen,
        ..Default::default()
    };
    pb::Basket { currency_code: "CNY".to_owned(), lines: vec![line], channel: "app".to_owned(), ..pb::Basket::default() }
}

pub(crate) fn check(code: &str, basket: pb::Basket) -> pb::CheckVoucherRequest {
    pb::CheckVoucherRequest { parent: TEA.to_owned(), code: code.to_owned(), basket: Some(basket), order_reference: String::new() }
}

pub(crate) fn use_for(order: &str, code: &str, basket: pb::Basket) -> pb::UseVoucherRequest {
    pb::UseVoucherRequest {
        parent: TEA.to_owned(),
        code: code.to_owned(),
        basket: Some(basket),
        order_reference: order.to_owned(),
        request_id: request_id(),
        offline: None,
    }
}

/// The same by a till that had no connection: the first of one store, by its number.
pub(crate) fn told_later(order: &str, code: &str, basket: pb::Basket, sequence: i64, at: kernel::Timestamp) -> pb::UseVoucherRequest {
    let terminal = format!("{TEA}/stores/bund/terminals/1");
    let offline = Some(pb::OfflineUse { occur_time: Some(rpc::wire::timestamp(at)), terminal, sequence });
    pb::UseVoucherRequest { offline, ..use_for(order, code, basket) }
}

pub(crate) fn void(voucher: &str, order: &str) -> pb::VoidVoucherUseRequest {
    pb::VoidVoucherUseRequest { name: voucher.to_owned(), order_reference: order.to_owned(), request_id: request_id() }
}

pub(crate) fn revoke(voucher: &str) -> pb::RevokeVoucherRequest {
    pb::RevokeVoucherRequest { name: voucher.to_owned(), reason: "stolen".to_owned(), request_id: request_id() }
}

pub(crate) fn voucher(name: &str) -> pb::GetVoucherRequest {
    pb::GetVoucherRequest { name: name.to_owned() }
}

/// A name in the place of a voucher that never was.
pub(crate) fn no_voucher(program: &str) -> String {
    format!("{program}/members/{}/vouchers/{}", Uuid::from_u128(1), Uuid::from_u128(9))
}

/// Every RPC with a good request in a program, encoded, and the letters of the roles that it admits.
pub(crate) fn every_reward_rpc(program: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    use prost::Message;
    let owner = format!("{program}/members/{}", Uuid::from_u128(1));
    let (parent, reward, of_nobody) = (program.to_owned(), format!("{program}/rewards/mug"), no_voucher(program));
    let code = "000000-000000-000000";
    vec![
        ("CreateReward", "a", pb::CreateRewardRequest { parent: parent.clone(), ..create("mug", 100) }.encode_to_vec()),
        ("GetReward", "tpsuyao", pb::GetRewardRequest { name: reward.clone() }.encode_to_vec()),
        ("ListRewards", "tpsuyao", pb::ListRewardsRequest { parent: parent.clone(), ..Default::default() }.encode_to_vec()),
        ("RetireReward", "a", pb::RetireRewardRequest { name: reward.clone(), ..retire("") }.encode_to_vec()),
        ("AdjustStock", "pa", pb::AdjustStockRequest { name: reward.clone(), ..stock("", 1) }.encode_to_vec()),
        ("ListMemberRewards", "tpsu", pb::ListMemberRewardsRequest { parent: owner.clone(), ..Default::default() }.encode_to_vec()),
        ("RedeemReward", "tps", pb::RedeemRewardRequest { member: owner.clone(), reward, ..have(1, "") }.encode_to_vec()),
        ("RefundReward", "tpsu", undo(&of_nobody, false).encode_to_vec()),
        ("GrantVoucher", "psu", pb::GrantVoucherRequest { parent: owner.clone(), ..grant(1, "g", off(1)) }.encode_to_vec()),
        ("EnsureVoucher", "s", {
            let wish = wish(1, "mug", "w", true, 1);
            pb::EnsureVoucherRequest { member: owner.clone(), reward: format!("{program}/rewards/mug"), ..wish }.encode_to_vec()
        }),
        ("GetVoucher", "tpsuao", voucher(&of_nobody).encode_to_vec()),
        ("ListVouchers", "tpsuao", pb::ListVouchersRequest { parent: owner, ..Default::default() }.encode_to_vec()),
        ("CheckVoucher", "tps", pb::CheckVoucherRequest { parent: parent.clone(), ..check(code, basket("a", 1)) }.encode_to_vec()),
        ("UseVoucher", "tps", pb::UseVoucherRequest { parent, ..use_for("o", code, basket("a", 1)) }.encode_to_vec()),
        ("IssueOfflineCode", "ps", pb::IssueOfflineCodeRequest { name: of_nobody.clone(), ttl: None }.encode_to_vec()),
        ("ListVoucherKeys", "tpsao", pb::ListVoucherKeysRequest { parent: program.to_owned() }.encode_to_vec()),
        ("ListOfflineUses", "puaoy", pb::ListOfflineUsesRequest { parent: program.to_owned(), ..Default::default() }.encode_to_vec()),
        ("VoidVoucherUse", "tpsu", void(&of_nobody, "o").encode_to_vec()),
        ("RevokeVoucher", "psua", revoke(&of_nobody).encode_to_vec()),
    ]
}
