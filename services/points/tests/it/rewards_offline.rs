//! Vouchers at tills without a connection.

use data_encoding::BASE32_NOPAD;
use futures::future::join_all;
use prost::Message;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::voucher_changed::Change;
use proto::points as pb;
use proto::points::OfflineResult::{Bound, Duplicate, NotGood};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::time::Duration;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_till_believes_the_public_key,
    an_offline_use_is_told_once,
    a_second_use_is_a_loss_that_is_seen,
    losses_of_one_order_are_voided_together,
    what_a_till_should_have_refused_is_refused,
    forged_codes_are_refused,
    an_offline_code_can_be_shown_with_a_connection,
    terms_say_what_is_risked,
    tills_at_once_bind_a_voucher_once,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// Five yuan off, of which six may be risked.
fn risky() -> pb::VoucherTerms {
    pb::VoucherTerms { offline_limit: yuan(600), ..off(500) }
}

async fn code_of(platform: &mut Rewards, voucher: &str) -> pb::OfflineCode {
    let request = pb::IssueOfflineCodeRequest { name: voucher.to_owned(), ttl: None };
    platform.issue_offline_code(request).await.unwrap().into_inner()
}

async fn granted(platform: &mut Rewards, key: &str, terms: pb::VoucherTerms) -> (pb::Voucher, String) {
    let voucher = platform.grant_voucher(grant(1, key, terms)).await.unwrap().into_inner();
    let code = code_of(platform, &voucher.name).await.code;
    (voucher, code)
}

async fn listed(platform: &mut Rewards, losses_only: bool) -> pb::ListOfflineUsesResponse {
    let request = pb::ListOfflineUsesRequest { parent: TEA.to_owned(), losses_only, ..Default::default() };
    platform.list_offline_uses(request).await.unwrap().into_inner()
}

/// As a till does it that knows nothing of us but the contract.
async fn a_till_believes_the_public_key(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let conditions = pb::VoucherConditions { stores: vec![format!("{TEA}/stores/bund")], ..Default::default() };
    let terms = pb::VoucherTerms { conditions: Some(conditions), ..risky() };
    let voucher = platform.grant_voucher(grant(1, "k", terms.clone())).await.unwrap().into_inner();
    let issued = code_of(&mut platform, &voucher.name).await;
    assert_eq!((issued.limit.clone(), &issued.voucher), (yuan(600), &voucher.name));
    assert!(!format!("{issued:?}").contains(&issued.code), "holding it is a right");
    assert!((150..400).contains(&issued.code.len()), "{}", issued.code.len());
    let mut terminal = rewards(&suite, Role::Terminal).await;
    let keys = terminal.list_voucher_keys(pb::ListVoucherKeysRequest { parent: TEA.to_owned() }).await.unwrap().into_inner().keys;
    let bytes = BASE32_NOPAD.decode(issued.code.strip_prefix("RV1.").unwrap().as_bytes()).unwrap();
    let key = keys.iter().find(|key| key.key_version == i32::from(bytes[0])).unwrap();
    let (said, signature) = bytes.split_at(bytes.len() - 64);
    let signed = [b"regulars offline voucher 1\0", said].concat();
    UnparsedPublicKey::new(&ED25519, &key.public_key).verify(&signed, signature).unwrap();
    let claim = pb::OfflineVoucher::decode(&said[1..]).unwrap();
    assert!(voucher.name.ends_with(&uuid::Uuid::from_slice(&claim.voucher).unwrap().to_string()));
    assert_eq!((claim.program.as_str(), claim.terms), ("tea", Some(terms)));
    assert_eq!(claim.expire_seconds - claim.issue_seconds, 86_400);
    let owner = uuid::Uuid::from_u128(1);
    assert!(!bytes.windows(16).any(|part| part == owner.as_bytes()), "nothing of the member");
    // The keys of another program are others.
    let others = platform.list_voucher_keys(pb::ListVoucherKeysRequest { parent: "programs/coffee".to_owned() }).await.unwrap();
    assert_ne!(others.into_inner().keys, keys);
    suite.stop().await;
}

async fn an_offline_use_is_told_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let (voucher, code) = granted(&mut platform, "k", risky()).await;
    let at = suite.now() + HOUR;
    suite.clock.advance(5 * HOUR);
    let request = told_later("o1", &code, basket("a", 3_000), 7, at);
    let used = platform.use_voucher(request.clone()).await.unwrap().into_inner();
    assert_eq!((used.result(), used.loss.clone()), (Bound, yuan(0)));
    assert_eq!(used.discount.as_ref().unwrap().discount, yuan(500));
    assert_eq!(used.use_time, Some(rpc::wire::timestamp(at)));
    // Long after: the first answer, whatever of it would be believed now, also under another request id.
    suite.clock.advance(60 * DAY);
    for request in [request.clone(), with(request.clone(), |request| request.request_id = request_id())] {
        let again = platform.use_voucher(request).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), used);
    }
    let other = with(request, |request| (request.request_id, request.order_reference) = (request_id(), "o2".to_owned()));
    let refused = platform.use_voucher(other).await;
    assert_eq!(metadata(&refused, "field"), "order_reference");
    assert_eq!(refusal(refused), (Code::AlreadyExists, "OFFLINE_USE_EXISTS".to_owned()));
    let now = platform.get_voucher(super::rewards_requests::voucher(&voucher.name)).await.unwrap().into_inner();
    assert_eq!((now.state(), &*now.order_reference, now.discount), (pb::VoucherState::Used, "o1", yuan(500)));
    let all = listed(&mut platform, false).await;
    assert_eq!((all.uses.len(), all.uses[0].result(), all.loss_count, all.loss), (1, Bound, 0, yuan(0)));
    assert_eq!(listed(&mut platform, true).await.uses, []);
    suite.stop().await;
}

async fn a_second_use_is_a_loss_that_is_seen(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let (voucher, code) = granted(&mut platform, "k", risky()).await;
    let (revoked, code_of_revoked) = granted(&mut platform, "k2", risky()).await;
    let at = suite.now();
    // Used online first, then it turns out that two tills have taken it as well.
    platform.use_voucher(use_for("o1", &voucher.code, basket("a", 3_000))).await.unwrap();
    let mut losses = Vec::new();
    for (order, fen, sequence) in [("o2", 3_000, 1), ("o3", 300, 2)] {
        let request = told_later(order, &code, basket("a", fen), sequence, at);
        let lost = platform.use_voucher(request.clone()).await.unwrap().into_inner();
        assert_eq!((lost.result(), lost.loss.clone()), (Duplicate, yuan(fen.min(500))));
        let again = platform.use_voucher(request).await.unwrap();
        assert!(replayed(&again), "a loss is booked once");
        assert_eq!(again.into_inner(), lost);
        losses.push((order.to_owned(), fen.min(500)));
    }
    // The order that has it tells so again, from a till that had not heard the answer.
    let heard = platform.use_voucher(told_later("o1", &code, basket("a", 3_000), 3, at)).await.unwrap().into_inner();
    assert_eq!((heard.result(), heard.loss), (Bound, yuan(0)));
    platform.revoke_voucher(revoke(&revoked.name)).await.unwrap();
    let lost = platform.use_voucher(told_later("o4", &code_of_revoked, basket("a", 3_000), 4, at)).await.unwrap().into_inner();
    assert_eq!((lost.result(), lost.loss), (NotGood, yuan(500)));
    losses.push(("o4".to_owned(), 500));
    let now = platform.get_voucher(super::rewards_requests::voucher(&voucher.name)).await.unwrap().into_inner();
    assert_eq!((now.state(), &*now.order_reference), (pb::VoucherState::Used, "o1"));
    let told = listed(&mut platform, true).await;
    assert_eq!((told.uses.len(), told.loss_count, told.loss), (3, 3, yuan(1_300)));
    assert!(told.uses.iter().all(|used| used.loss == used.discount));
    // The order of one is cancelled: nothing is lost by it, and the voucher stays with the first.
    let request = void(&voucher.name, "o3");
    let voided = platform.void_voucher_use(request.clone()).await.unwrap().into_inner();
    assert_eq!((voided.state(), &*voided.order_reference), (pb::VoucherState::Used, "o1"));
    assert!(replayed(&platform.void_voucher_use(request).await.unwrap()));
    assert_eq!(precondition(platform.void_voucher_use(void(&voucher.name, "o3")).await), "VOUCHER_NOT_USED");
    let left = listed(&mut platform, true).await;
    assert_eq!((left.uses.len(), left.loss_count, left.loss), (2, 2, yuan(1_000)));
    assert_eq!(listed(&mut platform, false).await.uses.iter().filter(|used| used.result() == pb::OfflineResult::Voided).count(), 1);
    // In pages, and all of them.
    let mut orders = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListOfflineUsesRequest { parent: TEA.to_owned(), losses_only: false, page_size: 3, page_token };
        let page = platform.list_offline_uses(request).await.unwrap().into_inner();
        orders.extend(page.uses.into_iter().map(|used| used.order_reference));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    orders.sort_unstable();
    assert_eq!(orders, ["o1", "o2", "o3", "o4"]);
    // And on the feed: two issued, one used, one revoked, three lost, and one of these no more.
    let events = suite.events(8).await;
    let no_more = |event: &&proto::events::Event| match &event.payload {
        Some(Payload::VoucherChanged(changed)) => changed.change() == Change::LossVoided && changed.loss == yuan(300),
        _ => false,
    };
    assert_eq!(events.iter().filter(no_more).count(), 1);
    let lost: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.payload {
            Some(Payload::VoucherChanged(changed)) if changed.change() == Change::Lost => {
                Some((changed.lost_order_reference.clone(), changed.loss.as_ref().unwrap().minor_units))
            }
            _ => None,
        })
        .collect();
    assert_eq!(lost, losses);
    suite.stop().await;
}

async fn losses_of_one_order_are_voided_together(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let (voucher, code) = granted(&mut platform, "k", risky()).await;
    platform.use_voucher(use_for("o1", &voucher.code, basket("a", 3_000))).await.unwrap();
    // Two tills took it for one order, and a third for another.
    for (order, fen, sequence) in [("o2", 3_000, 1), ("o2", 300, 2), ("o3", 200, 3)] {
        let lost = platform.use_voucher(told_later(order, &code, basket("a", fen), sequence, suite.now())).await.unwrap().into_inner();
        assert_eq!((lost.result(), lost.loss), (Duplicate, yuan(fen.min(500))));
    }
    assert_eq!(listed(&mut platform, true).await.loss, yuan(1_000));
    platform.void_voucher_use(void(&voucher.name, "o2")).await.unwrap();
    let left = listed(&mut platform, true).await;
    assert_eq!((left.uses.len(), left.loss_count, left.loss), (1, 1, yuan(200)));
    assert_eq!(precondition(platform.void_voucher_use(void(&voucher.name, "o2")).await), "VOUCHER_NOT_USED");
    // One issued, one used, three lost, and two of these no more.
    let no_more = |event: &proto::events::Event| match &event.payload {
        Some(Payload::VoucherChanged(changed)) if changed.change() == Change::LossVoided => {
            changed.loss.as_ref().map(|loss| loss.minor_units)
        }
        _ => None,
    };
    let mut told: Vec<i64> = suite.events(7).await.iter().filter_map(no_more).collect();
    told.sort_unstable();
    assert_eq!(told, [300, 500]);
    suite.stop().await;
}

async fn what_a_till_should_have_refused_is_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let half = pb::voucher_terms::Effect::PercentOff(pb::voucher_terms::PercentOff { basis_points: 5_000, at_most: None });
    let conditions = pb::VoucherConditions { minimum_spend: yuan(1_000), ..Default::default() };
    let terms = pb::VoucherTerms { effect: Some(half), conditions: Some(conditions), ..risky() };
    let (voucher, code) = granted(&mut platform, "k", terms).await;
    let issued = suite.now();
    suite.clock.advance(2 * DAY);
    let later = |order: &str, fen, at| told_later(order, &code, basket("a", fen), 1, at);
    let dear = platform.use_voucher(later("o1", 1_202, issued)).await;
    assert_eq!(metadata(&dear, "limit"), "600");
    assert_eq!(precondition(dear), "OFFLINE_LIMIT_EXCEEDED");
    let cheap = platform.use_voucher(later("o1", 999, issued)).await;
    assert_eq!(metadata(&cheap, "obstacles"), "MINIMUM_SPEND");
    assert_eq!(precondition(cheap), "VOUCHER_NOT_APPLICABLE");
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for at in [issued - minutes(6), issued + DAY + minutes(6)] {
        assert_eq!(precondition(platform.use_voucher(later("o1", 1_200, at)).await), "OFFLINE_CODE_EXPIRED");
    }
    let ahead = platform.use_voucher(later("o1", 1_200, suite.now() + DAY)).await;
    assert_eq!(refusal(ahead), (Code::InvalidArgument, "OCCUR_TIME_IN_FUTURE".to_owned()));
    // What a till may accept, by a clock that is four minutes slow.
    let used = platform.use_voucher(later("o1", 1_200, issued - minutes(4))).await.unwrap().into_inner();
    assert_eq!((used.result(), used.discount.unwrap().discount), (Bound, yuan(600)));
    suite.clock.advance(400 * DAY);
    let old = platform.use_voucher(told_later("o2", &code, basket("a", 1_200), 2, issued)).await;
    assert_eq!(refusal(old), (Code::InvalidArgument, "OCCUR_TIME_TOO_OLD".to_owned()));
    // Only an offline code could be believed there, and a till says who it is.
    assert_eq!(wrong_fields(platform.use_voucher(told_later("o3", &voucher.code, basket("a", 1_200), 3, issued)).await), ["code"]);
    let nobody = with(later("o3", 1_200, issued), |request| request.offline.as_mut().unwrap().terminal.clear());
    assert_eq!(wrong_fields(platform.use_voucher(nobody).await), ["offline.terminal"]);
    let elsewhere = with(later("o3", 1_200, issued), |request| {
        request.basket.as_mut().unwrap().store = format!("{TEA}/stores/pudong");
    });
    assert_eq!(wrong_fields(platform.use_voucher(elsewhere).await), ["offline.terminal"]);
    let zero = with(later("o3", 1_200, issued), |request| request.offline.as_mut().unwrap().sequence = 0);
    assert_eq!(wrong_fields(platform.use_voucher(zero).await), ["offline.sequence"]);
    suite.stop().await;
}

async fn forged_codes_are_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let (_, code) = granted(&mut platform, "k", risky()).await;
    // One who takes the claim and raises what it is worth has not the key.
    let bytes = BASE32_NOPAD.decode(&code.as_bytes()[4..]).unwrap();
    let mut claim = pb::OfflineVoucher::decode(&bytes[1..bytes.len() - 64]).unwrap();
    claim.terms.as_mut().unwrap().offline_limit = yuan(1_000_000);
    let raised = [&bytes[..1], &claim.encode_to_vec(), &bytes[bytes.len() - 64..]].concat();
    let unknown_key = [&[9], &bytes[1..]].concat();
    let encoded = |bytes: &[u8]| format!("RV1.{}", BASE32_NOPAD.encode(bytes));
    for forged in [encoded(&raised), encoded(&unknown_key), code[..code.len() - 1].to_owned(), code.to_lowercase(), "RV1.".to_owned()] {
        for request in [use_for("o1", &forged, basket("a", 3_000)), told_later("o1", &forged, basket("a", 3_000), 1, suite.now())] {
            assert_eq!(wrong_fields(platform.use_voucher(request).await), ["code"], "{forged}");
        }
        assert_eq!(wrong_fields(platform.check_voucher(check(&forged, basket("a", 3_000))).await), ["code"]);
    }
    // One of another program is none here.
    let elsewhere = with(check(&code, basket("a", 3_000)), |request| request.parent = "programs/coffee".to_owned());
    assert_eq!(wrong_fields(platform.check_voucher(elsewhere).await), ["code"]);
    assert!(platform.check_voucher(check(&code, basket("a", 3_000))).await.unwrap().into_inner().applies);
    suite.stop().await;
}

async fn an_offline_code_can_be_shown_with_a_connection(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let (voucher, code) = granted(&mut platform, "k", pb::VoucherTerms { offline_limit: yuan(1), ..off(500) }).await;
    // With a connection nothing is risked, so the limit does not count.
    let used = platform.use_voucher(use_for("o1", &code, basket("a", 3_000))).await.unwrap().into_inner();
    assert_eq!((used.result, used.loss, used.discount.unwrap().discount), (0, None, yuan(500)));
    assert_eq!(precondition(platform.use_voucher(use_for("o2", &code, basket("a", 3_000))).await), "VOUCHER_USED");
    platform.void_voucher_use(void(&voucher.name, "o1")).await.unwrap();
    suite.clock.advance(DAY + HOUR);
    assert_eq!(precondition(platform.use_voucher(use_for("o2", &code, basket("a", 3_000))).await), "OFFLINE_CODE_EXPIRED");
    assert_eq!(precondition(platform.check_voucher(check(&code, basket("a", 3_000))).await), "OFFLINE_CODE_EXPIRED");
    platform.use_voucher(use_for("o2", &voucher.code, basket("a", 3_000))).await.unwrap();
    suite.stop().await;
}

async fn terms_say_what_is_risked(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let issue = |name: &str, seconds: Option<i64>| pb::IssueOfflineCodeRequest {
        name: name.to_owned(),
        ttl: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
    };
    let online = platform.grant_voucher(grant(1, "k1", off(500))).await.unwrap().into_inner();
    assert_eq!(precondition(platform.issue_offline_code(issue(&online.name, None)).await), "VOUCHER_ONLINE_ONLY");
    let conditions = pb::VoucherConditions { first_order: true, ..Default::default() };
    let unknowable = pb::VoucherTerms { conditions: Some(conditions), ..risky() };
    assert_eq!(wrong_fields(platform.grant_voucher(grant(1, "k2", unknowable)).await), ["terms.offline_limit"]);
    let nothing = pb::VoucherTerms { offline_limit: yuan(0), ..off(500) };
    assert_eq!(wrong_fields(platform.grant_voucher(grant(1, "k2", nothing)).await), ["terms.offline_limit"]);
    let conditions = pb::VoucherConditions { skus: (0..100).map(|sku| format!("article-{sku}")).collect(), ..Default::default() };
    let long = pb::VoucherTerms { conditions: Some(conditions), ..risky() };
    let long = platform.grant_voucher(grant(1, "k3", long)).await.unwrap().into_inner();
    assert_eq!(precondition(platform.issue_offline_code(issue(&long.name, None)).await), "OFFLINE_CODE_TOO_LONG");
    // It ends with its voucher, or when it is said.
    let ends = pb::voucher_terms::Valid::ValidUntil(rpc::wire::timestamp(suite.now() + 2 * HOUR));
    let short = platform.grant_voucher(grant(1, "k4", pb::VoucherTerms { valid: Some(ends), ..risky() })).await.unwrap().into_inner();
    let code = platform.issue_offline_code(issue(&short.name, None)).await.unwrap().into_inner();
    assert_eq!(code.expire_time, short.expire_time);
    let code = platform.issue_offline_code(issue(&short.name, Some(60))).await.unwrap().into_inner();
    assert_eq!(code.expire_time, Some(rpc::wire::timestamp(suite.now() + Duration::from_secs(60))));
    assert_eq!(wrong_fields(platform.issue_offline_code(issue(&short.name, Some(59))).await), ["ttl"]);
    suite.clock.advance(2 * HOUR);
    assert_eq!(precondition(platform.issue_offline_code(issue(&short.name, None)).await), "VOUCHER_EXPIRED");
    platform.revoke_voucher(revoke(&long.name)).await.unwrap();
    assert_eq!(precondition(platform.issue_offline_code(issue(&long.name, None)).await), "VOUCHER_REVOKED");
    assert_eq!(refusal(platform.issue_offline_code(issue(&no_voucher(TEA), None)).await), (Code::NotFound, "VOUCHER_NOT_FOUND".to_owned()));
    suite.stop().await;
}

async fn tills_at_once_bind_a_voucher_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let both = [rewards(&suite, Role::Platform).await, Rewards::new(replica.wire(Role::Platform).await)];
    let mut platform = both[0].clone();
    let (voucher, code) = granted(&mut platform, "k", risky()).await;
    let at = suite.now();
    let calls = (0..20_usize).map(|number| {
        // Eight uses without a connection, each told twice, and four with one.
        let order = format!("o{}", number / 2);
        let request = match number {
            0..16 => told_later(&order, &code, basket("a", 3_000), 1 + i64::try_from(number / 2).unwrap(), at),
            _ => use_for(&format!("online{number}"), &voucher.code, basket("a", 3_000)),
        };
        let mut server = both[number % 2].clone();
        async move { server.use_voucher(request).await }
    });
    let (used, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    let used: Vec<_> = used.into_iter().map(|used| used.unwrap()).collect();
    let first: Vec<_> = used.iter().filter(|used| !replayed(used)).map(|used| used.get_ref()).collect();
    let bound = first.iter().filter(|used| used.result() != Duplicate).count();
    assert_eq!((bound, refused.len()), (1, if first.len() == 9 { 3 } else { 4 }));
    assert!(refused.into_iter().all(|answer| precondition(answer) == "VOUCHER_USED"));
    let told = listed(&mut platform, false).await;
    assert_eq!(told.uses.len(), 8);
    assert_eq!(told.loss_count, i64::try_from(first.iter().filter(|used| used.result() == Duplicate).count()).unwrap());
    replica.stop().await;
    suite.stop().await;
}
