//! Several vouchers on one order, one order that is the first, and for whom vouchers are.

use futures::future::join_all;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use proto::points as pb;
use proto::points::rewards_service_client::RewardsServiceClient;
use proto::points::voucher_obstacle::Kind;
use proto::points::voucher_terms::Combining;
use testkit::TestEngine;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    one_that_stands_alone_is_the_only_one,
    of_a_group_there_is_one,
    a_first_order_holds_all_vouchers_for_it,
    a_first_order_is_that_of_who_survived,
    a_first_order_is_one_when_they_are_parted,
    tills_that_use_vouchers_at_once_agree,
    a_voucher_is_for_members_and_birthdays,
    a_till_without_a_connection_holds_its_order,
    bad_terms_are_refused_by_their_field,
);

fn alone() -> pb::VoucherTerms {
    pb::VoucherTerms { combining: Combining::Alone.into(), ..off(100) }
}

fn of_group(group: &str) -> pb::VoucherTerms {
    pb::VoucherTerms { stacking_group: group.to_owned(), ..off(100) }
}

fn first_order() -> pb::VoucherTerms {
    pb::VoucherTerms { conditions: Some(pb::VoucherConditions { first_order: true, ..Default::default() }), ..off(100) }
}

async fn granted(platform: &Rewards, owner: u128, key: &str, terms: pb::VoucherTerms) -> pb::Voucher {
    platform.clone().grant_voucher(grant(owner, key, terms)).await.unwrap().into_inner()
}

/// What keeps a voucher from an order.
async fn obstacles(platform: &Rewards, code: &str, order: &str) -> Vec<Kind> {
    let request = pb::CheckVoucherRequest { order_reference: order.to_owned(), ..check(code, basket("a", 1_000)) };
    let told = platform.clone().check_voucher(request).await.unwrap().into_inner();
    assert_eq!(told.applies, told.obstacles.is_empty());
    told.obstacles.iter().map(pb::VoucherObstacle::kind).collect()
}

/// Uses a voucher; what keeps it from being used.
async fn used(platform: &Rewards, code: &str, order: &str) -> Option<String> {
    let answer = platform.clone().use_voucher(use_for(order, code, basket("a", 1_000))).await;
    answer.is_err().then(|| {
        let names = metadata(&answer, "obstacles");
        assert_eq!(precondition(answer), "VOUCHER_NOT_APPLICABLE");
        names
    })
}

async fn one_that_stands_alone_is_the_only_one(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let (any, other) = (granted(&platform, 1, "a", off(100)).await, granted(&platform, 1, "b", off(100)).await);
    let (lone, another) = (granted(&platform, 1, "c", alone()).await, granted(&platform, 2, "d", alone()).await);
    // Today's way: as many as one likes, of whomever.
    assert_eq!((used(&platform, &any.code, "o1").await, used(&platform, &other.code, "o1").await), (None, None));
    assert_eq!(obstacles(&platform, &lone.code, "").await, []);
    assert_eq!(obstacles(&platform, &lone.code, "o1").await, [Kind::Combining]);
    assert_eq!(used(&platform, &lone.code, "o1").await, Some("COMBINING".to_owned()));
    // It makes way for all of them when the last has gone.
    let mut desk = platform.clone();
    desk.void_voucher_use(void(&any.name, "o1")).await.unwrap();
    assert_eq!(used(&platform, &lone.code, "o1").await, Some("COMBINING".to_owned()));
    desk.void_voucher_use(void(&other.name, "o1")).await.unwrap();
    assert_eq!(obstacles(&platform, &lone.code, "o1").await, []);
    let request = use_for("o1", &lone.code, basket("a", 1_000));
    let first = desk.use_voucher(request.clone()).await.unwrap().into_inner();
    // The same again is no other voucher.
    for request in [request.clone(), with(request, |request| request.request_id = request_id())] {
        let again = desk.use_voucher(request).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), first);
    }
    let suite = suite.restart().await;
    let platform = rewards(&suite, Role::Platform).await;
    for code in [&any.code, &another.code] {
        assert_eq!(obstacles(&platform, code, "o1").await, [Kind::Combining]);
        assert_eq!(used(&platform, code, "o1").await, Some("COMBINING".to_owned()));
        assert_eq!(obstacles(&platform, code, "o2").await, []);
    }
    assert_eq!(used(&platform, &any.code, "o2").await, None, "another order is free");
    suite.stop().await;
}

async fn of_a_group_there_is_one(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let drink = granted(&platform, 1, "a", of_group("drinks")).await;
    let (tea, cake) = (granted(&platform, 1, "b", of_group("drinks")).await, granted(&platform, 1, "c", of_group("cakes")).await);
    assert_eq!((used(&platform, &drink.code, "o").await, used(&platform, &cake.code, "o").await), (None, None));
    assert_eq!(used(&platform, &tea.code, "o").await, Some("COMBINING".to_owned()));
    platform.clone().void_voucher_use(void(&drink.name, "o")).await.unwrap();
    assert_eq!(used(&platform, &tea.code, "o").await, None);
    assert_eq!(obstacles(&platform, &drink.code, "o").await, [Kind::Combining]);
    suite.stop().await;
}

async fn a_first_order_holds_all_vouchers_for_it(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let one = granted(&platform, 1, "a", first_order()).await;
    let (two, three) = (granted(&platform, 1, "b", first_order()).await, granted(&platform, 1, "c", first_order()).await);
    let (plain, others) = (granted(&platform, 1, "d", off(100)).await, granted(&platform, 2, "e", first_order()).await);
    assert_eq!((used(&platform, &one.code, "o1").await, used(&platform, &two.code, "o1").await), (None, None));
    for order in ["o2", ""] {
        assert_eq!(obstacles(&platform, &three.code, order).await, [Kind::FirstOrder]);
    }
    assert_eq!(obstacles(&platform, &three.code, "o1").await, []);
    assert_eq!(used(&platform, &three.code, "o2").await, Some("FIRST_ORDER".to_owned()));
    assert_eq!((used(&platform, &plain.code, "o2").await, used(&platform, &others.code, "o2").await), (None, None));
    // The order was cancelled: another may be the first.
    let mut desk = platform.clone();
    desk.void_voucher_use(void(&one.name, "o1")).await.unwrap();
    assert_eq!(used(&platform, &three.code, "o3").await, Some("FIRST_ORDER".to_owned()), "the other voucher holds it still");
    desk.void_voucher_use(void(&two.name, "o1")).await.unwrap();
    assert_eq!(used(&platform, &three.code, "o3").await, None);
    assert_eq!(used(&platform, &one.code, "o1").await, Some("FIRST_ORDER".to_owned()));
    // Once bought it is over.
    suite.award(1, "p1", 100).await;
    assert_eq!(used(&platform, &one.code, "o3").await, Some("FIRST_ORDER".to_owned()));
    suite.stop().await;
}

async fn a_first_order_is_that_of_who_survived(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let support = suite.client(Role::Support).await;
    let (one, two) = (granted(&platform, 1, "a", first_order()).await, granted(&platform, 2, "b", first_order()).await);
    assert_eq!(used(&platform, &two.code, "o2").await, None);
    // Accounts open with their first purchase, so both have had points by hand.
    for owner in [1, 2] {
        support.clone().adjust(adjust(owner, 1)).await.unwrap();
    }
    support.clone().merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(
        used(&platform, &one.code, "o1").await,
        Some("FIRST_ORDER".to_owned()),
        "of those who are one by now another order holds it"
    );
    assert_eq!(used(&platform, &one.code, "o2").await, None);
    // What was held before the merge is let go after it.
    platform.clone().void_voucher_use(void(&two.name, "o2")).await.unwrap();
    assert_eq!(used(&platform, &two.code, "o1").await, Some("FIRST_ORDER".to_owned()));
    platform.clone().void_voucher_use(void(&one.name, "o2")).await.unwrap();
    assert_eq!(used(&platform, &two.code, "o1").await, None);
    assert_eq!(obstacles(&platform, &one.code, "o2").await, [Kind::FirstOrder], "it holds that of the survivor");
    suite.stop().await;
}

async fn a_first_order_is_one_when_they_are_parted(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let mut support = suite.client(Role::Support).await;
    let (one, two) = (granted(&platform, 1, "a", first_order()).await, granted(&platform, 2, "b", first_order()).await);
    let another = granted(&platform, 2, "c", first_order()).await;
    for owner in [1, 2] {
        support.adjust(adjust(owner, 1)).await.unwrap();
    }
    support.merge_accounts(merge(1, 2)).await.unwrap();
    assert_eq!(used(&platform, &two.code, "y1").await, None);
    support.unmerge_accounts(unmerge(1, 2)).await.unwrap();
    assert_eq!(used(&platform, &another.code, "y3").await, Some("FIRST_ORDER".to_owned()));
    assert_eq!(obstacles(&platform, &another.code, "y3").await, [Kind::FirstOrder]);
    assert_eq!(used(&platform, &one.code, "y2").await, Some("FIRST_ORDER".to_owned()));
    // It lets go of both.
    platform.clone().void_voucher_use(void(&two.name, "y1")).await.unwrap();
    assert_eq!((used(&platform, &one.code, "y2").await, used(&platform, &another.code, "y3").await), (None, None));
    suite.stop().await;
}

async fn tills_that_use_vouchers_at_once_agree(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let both = [rewards(&suite, Role::Platform).await, RewardsServiceClient::new(replica.wire(Role::Platform).await)];
    for round in 0..4 {
        // Eight that stand alone, or half of them do, or all are of a group; on one order. Then eight for a first order, each on its own.
        for (kind, terms) in [("alone", [alone(), alone()]), ("some", [alone(), off(100)]), ("group", [of_group("g"), of_group("g")])] {
            // An order of which nothing is known yet, and one that has had a voucher before.
            if round % 2 == 1 {
                let before = granted(&both[0], 1, &format!("{kind}-{round}"), off(100)).await;
                assert_eq!(used(&both[0], &before.code, &format!("{kind}-{round}")).await, None);
                both[0].clone().void_voucher_use(void(&before.name, &format!("{kind}-{round}"))).await.unwrap();
            }
            let calls = (0..8).map(|number| {
                let (server, terms) = (&both[number % 2], terms[(number / 2) % 2].clone());
                async move {
                    let voucher = granted(server, 1 + number as u128, &format!("{kind}-{round}-{number}"), terms).await;
                    (number, used(server, &voucher.code, &format!("{kind}-{round}")).await)
                }
            });
            let answers = join_all(calls).await;
            let good: Vec<usize> = answers.iter().filter(|(_, refused)| refused.is_none()).map(|(number, _)| *number).collect();
            let only_plain = kind == "some" && good.iter().all(|number| (number / 2) % 2 == 1);
            assert!(good.len() == 1 || (only_plain && good.len() == 4), "{kind}: {good:?}");
            assert!(answers.iter().all(|(_, refused)| refused.as_ref().is_none_or(|names| names == "COMBINING")));
        }
        let calls = (0..8).map(|number| {
            let server = &both[number % 2];
            async move {
                let voucher = granted(server, 100 + round, &format!("first-{round}-{number}"), first_order()).await;
                used(server, &voucher.code, &format!("first-{round}-{}", number / 2)).await
            }
        });
        let answers = join_all(calls).await;
        let good: Vec<usize> = (0..8).filter(|number| answers[*number].is_none()).collect();
        assert!(!good.is_empty() && good.iter().all(|number| number / 2 == good[0] / 2), "one order: {good:?}");
        assert!(answers.iter().flatten().all(|names| names == "FIRST_ORDER"));
    }
    suite.verified().await;
    replica.stop().await;
    suite.stop().await;
}

async fn a_voucher_is_for_members_and_birthdays(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let platform = rewards(&suite, Role::Platform).await;
    let members = Some(pb::MemberFilter { tags: vec!["student".to_owned()], ..Default::default() });
    let conditions = pb::VoucherConditions { members, birthday: pb::promotion::Birthday::Day.into(), ..Default::default() };
    let voucher = granted(&platform, 1, "a", pb::VoucherTerms { conditions: Some(conditions), ..off(100) }).await;
    assert_eq!(obstacles(&platform, &voucher.code, "o").await, [Kind::Audience, Kind::Birthday]);
    assert_eq!(used(&platform, &voucher.code, "o").await, Some("AUDIENCE,BIRTHDAY".to_owned()));
    let told = MemberChanged { state: MemberState::Active.into(), birth_month: 1, birth_day: 16, ..MemberChanged::default() };
    suite.members_tell(1, Payload::MemberChanged(MemberChanged { tags: vec!["student".to_owned()], ..told }), 1).await;
    assert_eq!(obstacles(&platform, &voucher.code, "o").await, [Kind::Birthday]);
    suite.clock.advance(DAY / 4);
    assert_eq!(used(&platform, &voucher.code, "o").await, None);
    suite.stop().await;
}

async fn a_till_without_a_connection_holds_its_order(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let offline = granted(&platform, 1, "a", pb::VoucherTerms { offline_limit: yuan(100), ..off(100) }).await;
    let lone = granted(&platform, 1, "b", alone()).await;
    let request = pb::IssueOfflineCodeRequest { name: offline.name.clone(), ttl: None };
    let code = platform.clone().issue_offline_code(request).await.unwrap().into_inner().code;
    platform.clone().use_voucher(told_later("o", &code, basket("a", 1_000), 1, suite.now())).await.unwrap();
    assert_eq!(used(&platform, &lone.code, "o").await, Some("COMBINING".to_owned()));
    platform.clone().void_voucher_use(void(&offline.name, "o")).await.unwrap();
    assert_eq!(used(&platform, &lone.code, "o").await, None);
    // What has happened is recorded, whatever the order has.
    let told = platform.clone().use_voucher(told_later("o", &code, basket("a", 1_000), 2, suite.now())).await.unwrap().into_inner();
    assert_eq!(told.result(), pb::OfflineResult::Bound);
    suite.stop().await;
}

async fn bad_terms_are_refused_by_their_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let platform = rewards(&suite, Role::Platform).await;
    let offline = || pb::VoucherTerms { offline_limit: yuan(1), ..off(100) };
    let when = |conditions: pb::VoucherConditions| pb::VoucherTerms { conditions: Some(conditions), ..offline() };
    let students = pb::MemberFilter { tags: vec!["student".to_owned()], ..Default::default() };
    for (field, terms) in [
        ("combining", pb::VoucherTerms { combining: 2, ..off(1) }),
        ("stacking_group", of_group("No")),
        ("offline_limit", pb::VoucherTerms { combining: Combining::Alone.into(), ..offline() }),
        ("offline_limit", pb::VoucherTerms { stacking_group: "g".to_owned(), ..offline() }),
        ("offline_limit", when(pb::VoucherConditions { members: Some(students), ..Default::default() })),
        ("offline_limit", when(pb::VoucherConditions { birthday: 1, ..Default::default() })),
        ("conditions.birthday", when(pb::VoucherConditions { birthday: 9, ..Default::default() })),
    ] {
        let refused = platform.clone().grant_voucher(grant(1, "k", terms)).await;
        assert_eq!(wrong_fields(refused), [format!("terms.{field}")]);
    }
    let voucher = granted(&platform, 1, "k", off(1)).await;
    let request = pb::CheckVoucherRequest { order_reference: "a b".to_owned(), ..check(&voucher.code, basket("a", 1)) };
    assert_eq!(wrong_fields(platform.clone().check_voucher(request).await), ["order_reference"]);
    suite.stop().await;
}
