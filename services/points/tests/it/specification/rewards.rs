//! Lines about rewards and vouchers.

use prost::Message;
use proto::common::Role;
use proto::points as pb;

use super::super::requests::*;
use super::super::rewards_requests::*;
use super::player::Player;
use super::words::{Words, fen};

impl Player {
    /// The answer to a line about rewards and vouchers; `None` when it is about something else.
    ///
    /// `put mug 100` makes a reward of 100 points and ten yuan off, `have 1 mug as m` redeems it, and by that name goes its voucher:
    /// `use m o1 30.00` shows its code for an order.
    pub(super) async fn rewarded(&mut self, words: &Words<'_>) -> Option<String> {
        let (platform, administrator, request_id) = (Role::Platform, Role::Administrator, words.request_id.clone());
        Some(match words.verb {
            "put" => {
                let request = pb::CreateRewardRequest { parent: words.program.clone(), request_id, ..self.put(words) };
                self.rewards("CreateReward", administrator, &request, |reward: pb::Reward| told_stock(&reward)).await
            }
            "retire" => {
                let request = pb::RetireRewardRequest { request_id, ..retire(words.word(0)) };
                self.rewards("RetireReward", administrator, &request, |_: pb::Reward| "retired".to_owned()).await
            }
            "restock" => {
                let request = pb::AdjustStockRequest { request_id, ..stock(words.word(0), words.points(1)) };
                self.rewards("AdjustStock", platform, &request, |reward: pb::Reward| told_stock(&reward)).await
            }
            "reward-left" => {
                let request = pb::GetRewardRequest { name: reward_name(words.word(0)) };
                self.rewards("GetReward", platform, &request, |reward: pb::Reward| told_stock(&reward)).await
            }
            "have" => {
                let reward = reward_name(words.word(1));
                let request = pb::RedeemRewardRequest { member: self.member(words, 0), reward, request_id, ..Default::default() };
                let mut made = None;
                let told = |answer: pb::RewardRedemption| {
                    let (operation, voucher) = made.insert((answer.operation.unwrap(), answer.voucher.unwrap()));
                    assert_eq!(voucher.operation, operation.name);
                    operation.actual_points.to_string()
                };
                let answer = self.rewards("RedeemReward", platform, &request, told).await;
                if let Some((operation, voucher)) = made {
                    self.made.insert(words.request_id.clone(), operation);
                    self.vouchers.insert(words.request_id.clone(), voucher);
                }
                answer
            }
            "back" => {
                let request = pb::RefundRewardRequest { request_id, ..undo(&self.voucher_name(words), words.has("restock")) };
                let told = |answer: pb::RewardRefund| answer.operation.unwrap().actual_points.to_string();
                self.rewards("RefundReward", platform, &request, told).await
            }
            "grant" => {
                let skus = words.option("articles").map_or(0, |count| count.parse().unwrap());
                let skus = (0..skus).map(|number| format!("article-{number}")).collect();
                let terms = pb::VoucherTerms {
                    valid: words.time("valid").map(pb::voucher_terms::Valid::ValidUntil),
                    offline_limit: words.option("risk").map(|limit| words.money(fen(limit))),
                    conditions: Some(pb::VoucherConditions { skus, ..Default::default() }),
                    ..off(fen(words.word(2)))
                };
                let request = pb::GrantVoucherRequest { parent: self.member(words, 0), request_id, ..grant(0, words.word(1), terms) };
                let mut issued = None;
                let told = |voucher: pb::Voucher| {
                    issued = Some(voucher);
                    "granted".to_owned()
                };
                let answer = self.rewards("GrantVoucher", platform, &request, told).await;
                self.vouchers.extend(issued.map(|voucher| (words.request_id.clone(), voucher)));
                answer
            }
            "wish" => {
                let (key, version) = (words.word(2), words.word(3).trim_start_matches('v').parse().unwrap());
                let request = pb::EnsureVoucherRequest {
                    member: self.member(words, 0),
                    request_id,
                    ..wish(0, words.word(1), key, words.maybe(4) == Some("grant"), version)
                };
                let mut issued = None;
                let told = |answer: pb::EnsureVoucherResponse| {
                    issued = answer.voucher;
                    if answer.had { "had".to_owned() } else { "not had".to_owned() }
                };
                let answer = self.rewards("EnsureVoucher", Role::Service, &request, told).await;
                self.vouchers.extend(issued.map(|voucher| (words.request_id.clone(), voucher)));
                answer
            }
            "check" => {
                let request = check(&self.code(words), words_basket(words, 1));
                self.rewards("CheckVoucher", platform, &request, |discount: pb::BasketDiscount| told_discount(&discount)).await
            }
            "use" => {
                let request = pb::UseVoucherRequest { request_id, ..use_for(words.word(1), &self.code(words), words_basket(words, 2)) };
                self.rewards("UseVoucher", platform, &request, |used: pb::VoucherUse| told_discount(&used.discount.unwrap())).await
            }
            "sign" => {
                let request = pb::IssueOfflineCodeRequest { name: self.voucher_name(words), ttl: None };
                let mut code = None;
                let told = |issued: pb::OfflineCode| {
                    code = Some(issued.code);
                    "signed".to_owned()
                };
                let answer = self.rewards("IssueOfflineCode", platform, &request, told).await;
                if let (Some(code), Some(voucher)) = (code, self.vouchers.get_mut(words.word(0))) {
                    voucher.code = code;
                }
                answer
            }
            "keys" => {
                let request = pb::ListVoucherKeysRequest { parent: words.program.clone() };
                let told = |answer: pb::ListVoucherKeysResponse| format!("{} keys", answer.keys.len());
                self.rewards("ListVoucherKeys", platform, &request, told).await
            }
            "tell" => {
                let (order, at) = (words.word(1), words.time("at").unwrap());
                let told = told_later(order, &self.code(words), words_basket(words, 2), words.points(3), words.now);
                let offline = told.offline.map(|offline| pb::OfflineUse { occur_time: Some(at), ..offline });
                let request = pb::UseVoucherRequest { request_id, offline, ..told };
                let told = |used: pb::VoucherUse| {
                    let result = used.result().as_str_name().trim_start_matches("OFFLINE_RESULT_").to_lowercase();
                    format!("{} {result}", told_discount(&used.discount.unwrap()))
                };
                self.rewards("UseVoucher", platform, &request, told).await
            }
            "lost" => {
                let request = pb::ListOfflineUsesRequest { parent: words.program.clone(), losses_only: true, ..Default::default() };
                let told = |answer: pb::ListOfflineUsesResponse| {
                    let loss = answer.loss.unwrap().minor_units;
                    format!("{} in {}.{:02}", answer.loss_count, loss / 100, loss % 100)
                };
                self.rewards("ListOfflineUses", platform, &request, told).await
            }
            "void" => {
                let request = pb::VoidVoucherUseRequest { request_id, ..void(&self.voucher_name(words), words.word(1)) };
                self.rewards("VoidVoucherUse", platform, &request, told_state).await
            }
            "revoke" => {
                let request = pb::RevokeVoucherRequest { request_id, ..revoke(&self.voucher_name(words)) };
                self.rewards("RevokeVoucher", platform, &request, told_state).await
            }
            "voucher" => self.rewards("GetVoucher", platform, &voucher(&self.voucher_name(words)), told_state).await,
            "wishes" => {
                let request = pb::ListMemberRewardsRequest { parent: self.member(words, 0), ..Default::default() };
                let told = |page: pb::ListMemberRewardsResponse| page.rewards.iter().map(told_wish).collect::<Vec<_>>().join(", ");
                self.rewards("ListMemberRewards", platform, &request, told).await
            }
            _ => return None,
        })
    }

    fn put(&self, words: &Words<'_>) -> pb::CreateRewardRequest {
        create_with(words.word(0), words.points(1), |terms| {
            terms.stock = words.option("stock").map(|pieces| pieces.parse().unwrap());
            terms.member_limit = words.option("limit").map(|pieces| pieces.parse().unwrap());
            (terms.start_time, terms.end_time) = (words.time("starts"), words.time("ends"));
            if let Some(tier) = words.option("tier") {
                terms.audience = tiers(&[tier]);
            }
            if let Some(tag) = words.option("tag") {
                terms.audience = with_tag(tag);
            }
            let amount = Some(words.money(1_000));
            let effect = pb::voucher_terms::Effect::AmountOff(pb::voucher_terms::AmountOff { amount });
            terms.voucher.as_mut().unwrap().effect = Some(effect);
        })
    }

    async fn rewards<M: Message + Default>(&self, rpc: &str, role: Role, request: &impl Message, tell: impl FnOnce(M) -> String) -> String {
        self.send_to("RewardsService", rpc, role, request.encode_to_vec(), tell).await
    }

    /// A voucher by the name of the request that issued it, or one that never was.
    fn voucher_name(&self, words: &Words<'_>) -> String {
        self.vouchers.get(words.word(0)).map_or_else(|| no_voucher(TEA), |voucher| voucher.name.clone())
    }

    /// Its code, a good one of no voucher, or what is written itself.
    fn code(&self, words: &Words<'_>) -> String {
        match (self.vouchers.get(words.word(0)), words.word(0)) {
            (Some(voucher), _) => voucher.code.clone(),
            (None, "none") => "000000-000000-000000".to_owned(),
            (None, typed) => typed.to_owned(),
        }
    }
}

fn words_basket(words: &Words<'_>, index: usize) -> pb::Basket {
    let currency_code = words.money(0).currency_code;
    pb::Basket { currency_code, ..basket("latte", fen(words.word(index))) }
}

fn told_stock(reward: &pb::Reward) -> String {
    reward.stock_left.map_or_else(|| "without limit".to_owned(), |left| format!("{left} left"))
}

/// What is taken off, or what stands in the way.
fn told_discount(discount: &pb::BasketDiscount) -> String {
    let off = discount.discount.as_ref().unwrap().minor_units;
    let told = |obstacle: &pb::VoucherObstacle| obstacle.kind().as_str_name().trim_start_matches("KIND_").to_owned();
    let obstacles: Vec<_> = discount.obstacles.iter().map(told).collect();
    assert_eq!(discount.applies, obstacles.is_empty());
    if obstacles.is_empty() { format!("{}.{:02} off", off / 100, off % 100) } else { format!("no: {}", obstacles.join(" ")) }
}

fn told_state(voucher: pb::Voucher) -> String {
    voucher.state().as_str_name().trim_start_matches("VOUCHER_STATE_").to_lowercase()
}

/// `mug yes`, or `mug 30 short`, or why not.
fn told_wish(wish: &pb::MemberReward) -> String {
    let name = wish.reward.as_ref().unwrap().name.rsplit('/').next().unwrap();
    let why: Vec<_> = wish.obstacles().map(|why| why.as_str_name().trim_start_matches("REWARD_OBSTACLE_").to_lowercase()).collect();
    match &why[..] {
        [] => format!("{name} yes"),
        [only] if only == "points" => format!("{name} {} short", wish.missing_points),
        why => format!("{name} {}", why.join(" ")),
    }
}
