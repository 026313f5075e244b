//! Points that go from one member to another.

use futures::future::join_all;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberState};
use proto::points as pb;
use rpc::wire::timestamp;
use testkit::{START, TestEngine};

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    points_go_with_their_expiry,
    what_comes_home_is_what_it_was,
    what_arrives_repays_what_is_owed,
    no_more_goes_than_there_is,
    neither_may_be_blocked_or_closed,
    what_slides_stops_sliding,
    a_transfer_comes_again_byte_for_byte,
    transfers_both_ways_neither_wait_for_ever_nor_lose,
    points_are_given_once,
);

fn lasting() -> pb::Terms {
    pb::Terms { expire_after: days(30), ..terms() }
}

async fn points_go_with_their_expiry(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let mut platform = suite.platform();
    let early = with(award(1, "p1", 10_000), |request| input(request).occur_time = Some(timestamp(START - 5 * DAY)));
    platform.award(early).await.unwrap();
    suite.award(1, "p2", 10_000).await;
    suite.clock.advance(DAY);
    let operation = platform.transfer(transfer(1, 2, 130)).await.unwrap().into_inner();
    assert_eq!((operation.kind(), operation.requested_points, operation.actual_points), (pb::operation::Kind::Transfer, 130, -130));
    assert_eq!((&operation.member, &operation.counterpart), (&member(1), &member(2)));
    let [entry] = &operation.entries[..] else { panic!("{:?}", operation.entries) };
    assert_eq!(
        (entry.kind(), entry.points, &entry.counterpart, entry.reason.as_str()),
        (pb::EntryKind::TransferOut, -130, &member(2), "a gift")
    );
    suite.stands(&operation).await;
    let arrived = suite.entries(2).await;
    let [entry] = &arrived[..] else { panic!("{arrived:?}") };
    assert_eq!(
        (entry.kind(), entry.points, &entry.counterpart, entry.reason.as_str()),
        (pb::EntryKind::TransferIn, 130, &member(1), "a gift")
    );
    assert_eq!((&entry.operation, &entry.request_id), (&operation.name, &operation.request_id));
    let lots = |lots: &[pb::LotChange]| lots.iter().map(|lot| (lot.expire_time, lot.earn_month, lot.points_delta)).collect::<Vec<_>>();
    let (month, at) = (2026 * 12, |day: u32| Some(timestamp(START + day * DAY)));
    assert_eq!(lots(&operation.entries[0].lots), [(at(25), month, -100), (at(30), month, -30)]);
    assert_eq!(lots(&entry.lots), [(at(25), month, 100), (at(30), month, 30)]);
    // With own points that lapse when they do they are one lot.
    suite.clock.advance(DAY);
    let own = with(award(2, "p3", 1_000), |request| input(request).occur_time = Some(timestamp(START)));
    platform.award(own).await.unwrap();
    let balance = suite.balance(2).await;
    let told: Vec<_> = balance.wallets[0].lots.iter().map(|lot| (lot.expire_time, lot.points)).collect();
    assert_eq!(told, [(at(25), 100), (at(30), 40)]);
    assert_eq!((suite.figures(1).await, figures(&balance)), ((70, 0, 0, 0), (140, 0, 0, 0)));
    let events = suite.events(5).await;
    let of = |owner: u128| events.iter().filter(move |event| event.member == member(owner)).collect::<Vec<_>>();
    assert_eq!(posted(of(1)[2]), ("TRANSFER".to_owned(), member(2), vec!["3 TRANSFER_OUT -130".to_owned()]));
    assert_eq!(posted(of(2)[0]), ("TRANSFER".to_owned(), member(1), vec!["1 TRANSFER_IN 130".to_owned()]));
    assert_eq!((of(2)[0].aggregate_version, &of(2)[0].aggregate), (1, &member(2)));
    suite.clock.advance(23 * DAY);
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((70, 0, 0, 0), (40, 0, 0, 0)));
    suite.verified().await;
}

async fn what_comes_home_is_what_it_was(engine: TestEngine) {
    let suite = Suite::with_terms(engine, lasting()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    let before = suite.balance(1).await.wallets;
    for (from, to) in [(1, 2), (2, 3), (3, 2), (2, 1)] {
        platform.transfer(transfer(from, to, 60)).await.unwrap();
    }
    assert_eq!(suite.balance(1).await.wallets, before);
    assert_eq!((suite.figures(2).await, suite.figures(3).await), ((0, 0, 0, 0), (0, 0, 0, 0)));
    // What was spent by the other goes back to the other.
    platform.transfer(transfer(1, 2, 60)).await.unwrap();
    let spent = platform.redeem(redeem(2, 60)).await.unwrap().into_inner().name;
    platform.refund_redemption(refund(&spent, None)).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((40, 0, 0, 0), (60, 0, 0, 0)));
    assert_eq!(suite.verified().await.points["tea"], 100);
}

async fn what_arrives_repays_what_is_owed(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    platform.redeem(redeem(2, 80)).await.unwrap();
    platform.return_purchase(down_to("p2", 0)).await.unwrap();
    platform.transfer(transfer(1, 2, 50)).await.unwrap();
    let entry = suite.entries(2).await.pop().unwrap();
    assert_eq!((entry.points, entry.deficit_delta, entry.deficit_after, entry.lots.len()), (50, -50, 30, 0));
    platform.transfer(transfer(1, 2, 50)).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((0, 0, 0, 0), (20, 0, 0, 0)));
    suite.verified().await;
}

async fn no_more_goes_than_there_is(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    let nothing = platform.transfer(transfer(1, 2, 5)).await;
    assert_eq!(metadata(&nothing, "missing_points"), "5");
    suite.award(1, "p1", 10_000).await;
    suite.reserve(1, 30).await;
    let request = transfer(1, 2, 71);
    let much = platform.transfer(request.clone()).await;
    assert_eq!(metadata(&much, "missing_points"), "1", "what is held is not there");
    assert_eq!(precondition(much), "INSUFFICIENT_POINTS");
    suite.award(1, "p2", 10_000).await;
    assert_eq!(precondition(platform.transfer(request).await), "INSUFFICIENT_POINTS", "a refusal is remembered");
    let asked = platform.transfer(with(transfer(1, 2, 1), |request| request.wallet = "stars".to_owned())).await;
    assert_eq!(refusal(asked).1, "WALLET_NOT_FOUND");
    assert_eq!((suite.story(1).await.len(), suite.balance(2).await.version), (3, 0));
    platform.transfer(with(transfer(1, 2, 170), |request| request.wallet = "points".to_owned())).await.unwrap();
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((0, 0, 30, 0), (170, 0, 0, 0)));
    suite.verified().await;
}

async fn neither_may_be_blocked_or_closed(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    for (version, state, reason) in [(1, MemberState::Blocked, "MEMBER_BLOCKED"), (2, MemberState::Closed, "MEMBER_CLOSED")] {
        let changed = MemberChanged { state: state.into(), ..MemberChanged::default() };
        suite.members_tell(1, Payload::MemberChanged(changed), version).await;
        assert_eq!(precondition(platform.transfer(transfer(1, 2, 1)).await), reason);
        assert_eq!(precondition(platform.transfer(transfer(2, 1, 1)).await), reason);
    }
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((100, 0, 0, 0), (100, 0, 0, 0)));
    suite.verified().await;
}

async fn what_slides_stops_sliding(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { expire_after_inactivity: days(10), ..terms() }).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 10_000).await;
    platform.transfer(transfer(1, 2, 60)).await.unwrap();
    suite.clock.advance(5 * DAY);
    suite.award(1, "p2", 10_000).await;
    suite.award(2, "p3", 10_000).await;
    let lots: Vec<_> = suite.balance(2).await.wallets[0].lots.iter().map(|lot| (lot.expire_time, lot.points, lot.sliding)).collect();
    let at = |day: u32| Some(timestamp(START + day * DAY));
    assert_eq!(lots, [(at(10), 60, false), (at(15), 100, true)]);
    suite.clock.advance(5 * DAY);
    assert_eq!((suite.figures(1).await, suite.figures(2).await), ((140, 0, 0, 0), (100, 0, 0, 0)));
    suite.verified().await;
}

async fn a_transfer_comes_again_byte_for_byte(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    let request = transfer(1, 2, 60);
    let first = suite.platform().transfer(request.clone()).await.unwrap().into_inner();
    let suite = suite.restart().await;
    let mut platform = suite.platform();
    let again = platform.transfer(request.clone()).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first);
    type Change = (&'static str, fn(&mut pb::TransferRequest));
    let changes: [Change; 5] = [
        ("member", |request| request.member = member(3)),
        ("to_member", |request| request.to_member = member(3)),
        ("wallet", |request| request.wallet = "points".to_owned()),
        ("points", |request| request.points = 61),
        ("reason", |request| request.reason = "a loan".to_owned()),
    ];
    for (field, change) in changes {
        let reused = platform.transfer(with(request.clone(), change)).await;
        assert_eq!(metadata(&reused, "field"), field);
        assert_eq!(refusal(reused).1, "REQUEST_ID_REUSED");
    }
    assert_eq!(suite.figures(2).await, (60, 0, 0, 0));
}

async fn transfers_both_ways_neither_wait_for_ever_nor_lose(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    let support = suite.client(Role::Support).await;
    for owner in 1..=4 {
        suite.award(owner, &format!("p{owner}"), 100_000).await;
    }
    // Pairs in both directions and a ring, at two servers, with spending between them.
    let calls = (0..200_u128).map(|number| {
        let mut server = if number.is_multiple_of(2) { support.clone() } else { replica.platform.clone() };
        let (from, to) = match number % 4 {
            0 | 1 => (1 + number / 4 % 2, 2 - number / 4 % 2),
            _ => (1 + number / 4 % 4, 1 + (number / 4 + 1) % 4),
        };
        let mut spends = suite.platform();
        async move {
            let moved = server.transfer(transfer(from, to, 7)).await.is_ok();
            let spent = number % 10 == 0 && spends.redeem(redeem(from, 3)).await.is_ok();
            (from, to, moved, spent)
        }
    });
    let mut expected = [1_000; 4];
    for (from, to, moved, spent) in join_all(calls).await {
        assert!(moved, "there is enough for all");
        expected[usize::try_from(from - 1).unwrap()] -= 7 + 3 * i64::from(spent);
        expected[usize::try_from(to - 1).unwrap()] += 7;
    }
    for (owner, left) in (1..).zip(expected) {
        assert_eq!(suite.figures(owner).await, (left, 0, 0, 0));
    }
    assert_eq!(suite.verified().await.points["tea"], i128::from(expected.iter().sum::<i64>()));
    replica.stop().await;
    suite.stop().await;
}

async fn points_are_given_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let replica = suite.replica().await;
    suite.award(1, "p1", 10_000).await;
    let calls = (2..=21_u128).map(|to| {
        let mut server = if to.is_multiple_of(2) { suite.platform() } else { replica.platform.clone() };
        async move { server.transfer(transfer(1, to, 30)).await }
    });
    let (given, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!(given.len(), 3);
    for answer in refused {
        assert_eq!(precondition(answer), "INSUFFICIENT_POINTS");
    }
    assert_eq!(suite.figures(1).await, (10, 0, 0, 0));
    assert_eq!(suite.verified().await.points["tea"], 100);
    replica.stop().await;
    suite.stop().await;
}
