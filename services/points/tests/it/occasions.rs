//! Gifts that a program makes by itself. On which day is told beside the rules.

use std::time::Duration;

use persistence::{DbTime, on_engine};
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::{MemberChanged, MemberEnrolled, MemberState};
use proto::points as pb;
use proto::points::occasion::{Birthday, Dormancy, Joining, When};
use testkit::TestEngine;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    who_joins_is_welcomed_once,
    a_birthday_comes_once_a_year,
    who_was_away_is_asked_back,
    days_without_a_server_are_made_up,
    terms_that_begin_today_give_today,
    members_who_became_one_get_one,
    a_gift_waits_for_its_stock_and_not_for_the_blocked,
    many_are_looked_at_page_by_page_and_once,
    a_bad_occasion_is_refused_by_its_field,
);

fn points(points: i64) -> Option<pb::Gift> {
    Some(pb::Gift { gift: Some(pb::gift::Gift::Points(points)), wallet: String::new() })
}

fn a_cup() -> Option<pb::Gift> {
    Some(pb::Gift { gift: Some(pb::gift::Gift::Reward(reward_name("cup"))), wallet: String::new() })
}

fn occasion(id: &str, when: When, gives: Option<pb::Gift>) -> pb::Occasion {
    pb::Occasion { occasion_id: id.to_owned(), title: format!("Happy {id}"), when: Some(when), gives, members: None }
}

fn joining(id: &str, gives: Option<pb::Gift>) -> pb::Occasion {
    occasion(id, When::Joining(Joining {}), gives)
}

fn birthday(days_before: i32, gives: Option<pb::Gift>) -> pb::Occasion {
    occasion("birthday", When::Birthday(Birthday { days_before }), gives)
}

fn dormancy(days: i32, gives: Option<pb::Gift>) -> pb::Occasion {
    occasion("return", When::Dormancy(Dormancy { days }), gives)
}

fn giving(occasions: &[pb::Occasion]) -> pb::Terms {
    pb::Terms { occasions: occasions.to_vec(), ..terms() }
}

fn with_label(tag: &str) -> Option<pb::MemberFilter> {
    Some(pb::MemberFilter { tags: vec![tag.to_owned()], ..pb::MemberFilter::default() })
}

/// Somebody who joins, born on a day of January; 0 for one that is not known.
fn enrolled(day: i32, tags: &[&str]) -> Payload {
    let tags = ["member"].iter().chain(tags).map(|tag| (*tag).to_owned()).collect();
    let birth_month = i32::from(day > 0);
    Payload::MemberEnrolled(MemberEnrolled {
        state: MemberState::Active.into(),
        birth_month,
        birth_day: day,
        tags,
        ..MemberEnrolled::default()
    })
}

fn changed(state: MemberState, day: i32) -> Payload {
    let birth_month = i32::from(day > 0);
    Payload::MemberChanged(MemberChanged { state: state.into(), birth_month, birth_day: day, ..MemberChanged::default() })
}

/// Waits until everybody has been looked at today, and all has been given that can be: what is refused is tried again within two seconds.
async fn settled(suite: &Suite) {
    let today = (suite.now() + Duration::from_secs(8 * 3_600)).as_micros() / 86_400_000_000;
    testkit::eventually(async || {
        let mut tx = suite.points().await.read().await.unwrap();
        let next: Option<i64> = on_engine!(tx, |conn| sqlx::query_scalar("SELECT first_day FROM occasion_sweeps WHERE program = 'tea'")
            .fetch_optional(conn)
            .await)
        .unwrap();
        let open: i64 = on_engine!(tx, |conn| sqlx::query_scalar(
            "SELECT COUNT(*) FROM effects WHERE kind = 'occasion' AND (attempts = 0 OR next_attempt_at > $1)"
        )
        .bind(DbTime(suite.now() + Duration::from_secs(2)))
        .fetch_one(conn)
        .await)
        .unwrap();
        next == Some(today + 1) && open == 0
    })
    .await;
}

/// Points that a member has got, and why his vouchers were given.
async fn had(suite: &Suite, owner: u128) -> (i64, Vec<pb::GrantReason>) {
    let request = pb::ListVouchersRequest { parent: member(owner), ..Default::default() };
    let vouchers = rewards(suite, Role::Platform).await.list_vouchers(request).await.unwrap().into_inner().vouchers;
    let given = suite.entries(owner).await.iter().filter(|entry| entry.kind() == pb::EntryKind::Reward).map(|entry| entry.points).sum();
    (given, vouchers.iter().map(pb::Voucher::grant_reason).collect())
}

async fn cups(suite: &Suite, stock: i64) {
    let request = create_with("cup", 10, |terms| terms.stock = Some(stock));
    rewards(suite, Role::Administrator).await.create_reward(request).await.unwrap();
}

async fn who_joins_is_welcomed_once(engine: TestEngine) {
    let bundle = [joining("welcome", points(50)), joining("cup", a_cup())];
    let stars = points(7).map(|gift| pb::Gift { wallet: "stars".to_owned(), ..gift });
    let gated = pb::Occasion { members: with_label("student"), ..joining("student", stars) };
    let wallet = pb::WalletTerms { wallet: "stars".to_owned(), title: "Stars".to_owned(), ..pb::WalletTerms::default() };
    let terms = pb::Terms { wallets: vec![wallet], ..giving(&[bundle[0].clone(), bundle[1].clone(), gated]) };
    let suite = Suite::with_feeds(engine, terms).await;
    cups(&suite, 10).await;
    // Told twice, and of who was taken over or is blocked.
    for _ in 0..2 {
        suite.members_tell(1, enrolled(0, &[]), 1).await;
    }
    suite.members_tell(2, enrolled(0, &["student"]), 1).await;
    suite.members_tell_old(3, enrolled(0, &["student"]), 1).await;
    suite.members_tell(4, changed(MemberState::Active, 17), 1).await;
    suite.members_tell(5, changed(MemberState::Blocked, 0), 1).await;
    settled(&suite).await;
    let welcome = vec![pb::GrantReason::Welcome];
    assert_eq!((had(&suite, 1).await.1, had(&suite, 2).await), (welcome.clone(), (57, welcome.clone())));
    assert_eq!((had(&suite, 3).await, had(&suite, 4).await, had(&suite, 5).await), ((0, vec![]), (0, vec![]), (0, vec![])));
    let wallets = suite.balance(2).await.wallets;
    let held: Vec<_> = wallets.iter().map(|held| (held.wallet.as_str(), held.active_points)).collect();
    assert_eq!(held, [("points", 50), ("stars", 7)]);
    let entry = &suite.entries(2).await[0];
    assert!(entry.reason.starts_with("Happy welcome (occasion/welcome/") || entry.reason.starts_with("Happy student (occasion/student/"));
    // Other terms go on with what has the same id; what is new is for who joins from now on.
    let suite = suite.restart().await;
    suite.new_terms(giving(&[joining("welcome", points(60)), joining("more", points(5))]), suite.now()).await;
    suite.members_tell(6, enrolled(0, &[]), 1).await;
    settled(&suite).await;
    assert_eq!((had(&suite, 6).await, had(&suite, 1).await.1), ((65, vec![]), welcome));
    suite.verified().await;
    suite.stop().await;
}

async fn a_birthday_comes_once_a_year(engine: TestEngine) {
    // It is the fifteenth of January, six in the evening.
    let suite = Suite::with_feeds(
        engine,
        giving(&[birthday(2, points(100)), pb::Occasion { occasion_id: "c".to_owned(), ..birthday(0, a_cup()) }]),
    )
    .await;
    cups(&suite, 10).await;
    suite.members_tell(1, enrolled(18, &[]), 1).await;
    suite.members_tell(2, enrolled(16, &[]), 1).await;
    suite.members_tell(3, enrolled(14, &[]), 1).await;
    // Who joins on his birthday, when the day has been looked at already, and of whom it is told too late.
    settled(&suite).await;
    suite.members_tell(4, enrolled(15, &[]), 1).await;
    suite.members_tell(5, enrolled(0, &[]), 1).await;
    suite.members_tell(5, changed(MemberState::Active, 15), 2).await;
    suite.members_tell_old(6, enrolled(15, &[]), 1).await;
    settled(&suite).await;
    let today = (100, vec![pb::GrantReason::Birthday]);
    assert_eq!((had(&suite, 4).await, had(&suite, 5).await, had(&suite, 6).await), (today.clone(), today, (0, vec![])));
    suite.clock.advance(DAY / 4 - Duration::from_micros(1));
    settled(&suite).await;
    assert_eq!(had(&suite, 1).await, (0, vec![]), "midnight has not come");
    suite.clock.advance(Duration::from_micros(1));
    settled(&suite).await;
    let cup = vec![pb::GrantReason::Birthday];
    assert_eq!((had(&suite, 1).await, had(&suite, 2).await), ((100, vec![]), (100, cup.clone())));
    // He moves his birthday on, and is still of the same year.
    suite.members_tell(1, changed(MemberState::Active, 19), 2).await;
    for _ in 0..3 {
        suite.clock.advance(DAY);
        settled(&suite).await;
    }
    assert_eq!((had(&suite, 1).await, had(&suite, 3).await), ((100, cup), (0, vec![])), "it was over for the third");
    // The next year's.
    let suite = suite.away(363 * DAY).await;
    settled(&suite).await;
    assert_eq!((had(&suite, 1).await.0, had(&suite, 2).await.0, had(&suite, 3).await.0), (200, 200, 100));
    suite.verified().await;
    suite.stop().await;
}

async fn who_was_away_is_asked_back(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, giving(&[dormancy(3, a_cup())])).await;
    cups(&suite, 10).await;
    for owner in 1..=3 {
        suite.members_tell(owner, enrolled(0, &[]), 1).await;
    }
    suite.award(1, "p1", 100).await;
    suite.award(3, "p2", 100).await;
    suite.members_tell(3, changed(MemberState::Blocked, 0), 2).await;
    settled(&suite).await;
    let suite = suite.away(2 * DAY).await;
    settled(&suite).await;
    assert_eq!(had(&suite, 1).await.1, []);
    suite.clock.advance(DAY);
    settled(&suite).await;
    let back = pb::GrantReason::ComeBack;
    assert_eq!((had(&suite, 1).await.1, had(&suite, 2).await.1, had(&suite, 3).await.1), (vec![back], vec![], vec![]));
    let suite = suite.away(4 * DAY).await;
    settled(&suite).await;
    assert_eq!(had(&suite, 1).await.1, [back], "once for an absence");
    suite.award(1, "p3", 100).await;
    let suite = suite.away(3 * DAY).await;
    settled(&suite).await;
    assert_eq!(had(&suite, 1).await.1, [back, back], "and it was another");
    suite.stop().await;
}

async fn days_without_a_server_are_made_up(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, giving(&[birthday(0, points(10))])).await;
    for (owner, day) in [(1, 16), (2, 17), (3, 23), (4, 24), (5, 25)] {
        suite.members_tell(owner, enrolled(day, &[]), 1).await;
    }
    settled(&suite).await;
    let suite = suite.away(9 * DAY).await;
    settled(&suite).await;
    let mut given = Vec::new();
    for owner in 1..=5 {
        given.push(had(&suite, owner).await.0);
    }
    assert_eq!(given, [0, 10, 10, 10, 0], "the sixteenth is too long ago, the twenty-fifth is to come");
    // Terms that were scheduled meanwhile count from their day on.
    let later = pb::Occasion { occasion_id: "second".to_owned(), ..birthday(0, points(1)) };
    suite.new_terms(giving(&[birthday(0, points(10)), later]), suite.now() + 2 * DAY).await;
    suite.members_tell(6, enrolled(26, &[]), 1).await;
    let suite = suite.away(4 * DAY).await;
    settled(&suite).await;
    assert_eq!((had(&suite, 5).await.0, had(&suite, 6).await.0), (10, 11));
    suite.verified().await;
    suite.stop().await;
}

async fn terms_that_begin_today_give_today(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    suite.members_tell(1, enrolled(17, &[]), 1).await;
    suite.members_tell(2, enrolled(0, &[]), 1).await;
    suite.award(2, "p1", 100).await;
    suite.clock.advance(2 * DAY);
    settled(&suite).await;
    let both = [birthday(0, points(10)), dormancy(2, points(20))];
    suite.new_terms(giving(&both), suite.now()).await;
    // A new process has not kept the terms of before.
    let suite = suite.restart().await;
    testkit::eventually(async || (had(&suite, 1).await.0, had(&suite, 2).await.0) == (10, 20)).await;
    // Terms after these begin the day once more, and what was had is had.
    let third = pb::Occasion { occasion_id: "third".to_owned(), ..birthday(0, points(1)) };
    suite.new_terms(giving(&[both[0].clone(), both[1].clone(), third]), suite.now()).await;
    let suite = suite.restart().await;
    testkit::eventually(async || (had(&suite, 1).await.0, had(&suite, 2).await.0) == (11, 20)).await;
    suite.verified().await;
    suite.stop().await;
}

async fn members_who_became_one_get_one(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, giving(&[birthday(2, points(10)), dormancy(2, a_cup())])).await;
    cups(&suite, 10).await;
    for (owner, day) in [(1, 20), (2, 20), (3, 16), (4, 0)] {
        suite.members_tell(owner, enrolled(day, &[]), 1).await;
        suite.award(owner, &format!("p{owner}"), 100).await;
    }
    suite.clock.advance(DAY / 4);
    settled(&suite).await;
    let support = suite.client(Role::Support).await;
    support.clone().merge_accounts(merge(1, 2)).await.unwrap();
    // The third has had his, when another takes him in who is told to have the same birthday.
    support.clone().merge_accounts(merge(4, 3)).await.unwrap();
    suite.members_tell(4, changed(MemberState::Active, 17), 2).await;
    for _ in 0..2 {
        suite.clock.advance(DAY);
        settled(&suite).await;
    }
    let cup = vec![pb::GrantReason::ComeBack];
    assert_eq!((had(&suite, 1).await, had(&suite, 4).await, had(&suite, 3).await.0), ((10, cup.clone()), (0, cup), 10));
    assert_eq!((suite.figures(1).await.0, suite.figures(4).await.0), (12, 12));
    suite.verified().await;
    suite.stop().await;
}

async fn a_gift_waits_for_its_stock_and_not_for_the_blocked(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, giving(&[joining("cup", a_cup())])).await;
    cups(&suite, 1).await;
    suite.members_tell(1, enrolled(0, &[]), 1).await;
    settled(&suite).await;
    suite.members_tell(2, enrolled(0, &[]), 1).await;
    suite.members_tell(3, enrolled(0, &[]), 1).await;
    suite.members_tell(3, changed(MemberState::Blocked, 0), 2).await;
    settled(&suite).await;
    assert_eq!(had(&suite, 2).await.1, []);
    rewards(&suite, Role::Platform).await.adjust_stock(stock("cup", 5)).await.unwrap();
    suite.clock.advance(DAY);
    testkit::eventually(async || had(&suite, 2).await.1 == [pb::GrantReason::Welcome]).await;
    suite.members_tell(3, changed(MemberState::Active, 0), 3).await;
    suite.clock.advance(DAY);
    settled(&suite).await;
    let left = rewards(&suite, Role::Platform).await.get_reward(pb::GetRewardRequest { name: reward_name("cup") }).await.unwrap();
    assert_eq!((had(&suite, 1).await.1.len(), left.into_inner().taken), (1, 2), "who was blocked then has missed it");
    suite.stop().await;
}

async fn many_are_looked_at_page_by_page_and_once(engine: TestEngine) {
    const MEMBERS: u128 = 700;
    let suite = Suite::with_feeds(engine, giving(&[birthday(0, points(10))])).await;
    suite.members_tell_all(1..=MEMBERS, enrolled(16, &[])).await;
    settled(&suite).await;
    let replica = suite.replica().await;
    suite.clock.advance(DAY / 4);
    // In the middle of it one of the two goes down and comes again.
    testkit::eventually(async || {
        let mut tx = suite.points().await.read().await.unwrap();
        let wanted: i64 =
            on_engine!(tx, |conn| sqlx::query_scalar("SELECT COUNT(*) FROM effects WHERE kind = 'occasion'").fetch_one(conn).await)
                .unwrap();
        wanted > 0
    })
    .await;
    let suite = suite.restart().await;
    settled(&suite).await;
    replica.stop().await;
    let all = async || {
        let mut tx = suite.points().await.read().await.unwrap();
        let row: (i64, i64) =
            on_engine!(tx, |conn| sqlx::query_as("SELECT COUNT(*), COUNT(DISTINCT account_id) FROM entries WHERE points = 10")
                .fetch_one(conn)
                .await)
            .unwrap();
        row
    };
    assert_eq!(all().await, (700, 700));
    // A process that died at the worst moments: it has given everything and said so nowhere.
    let mut tx = suite.points().await.begin().await.unwrap();
    for forget in [
        "UPDATE occasion_sweeps SET first_day = last_day",
        "UPDATE effects SET done_version = 0, attempts = 7, next_attempt_at = (SELECT MIN(recorded_at) FROM entries)",
    ] {
        on_engine!(tx, |conn| sqlx::query(forget).execute(conn).await.map(|_| ())).unwrap();
    }
    tx.commit().await.unwrap();
    testkit::eventually(async || {
        let mut tx = suite.points().await.read().await.unwrap();
        tx.effect_backlog().await.unwrap().is_empty()
    })
    .await;
    settled(&suite).await;
    assert_eq!(all().await, (700, 700));
    suite.verified().await;
    suite.stop().await;
}

async fn a_bad_occasion_is_refused_by_its_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let good = || joining("o", points(1));
    let reward = |name: &str| Some(pb::Gift { gift: Some(pb::gift::Gift::Reward(name.to_owned())), wallet: String::new() });
    let filter = |change: &dyn Fn(&mut pb::MemberFilter)| {
        let mut filter = pb::MemberFilter::default();
        change(&mut filter);
        Some(filter)
    };
    let bad = [
        ("occasion_id", joining("first", points(1))),
        ("occasion_id", joining("No", points(1))),
        ("title", pb::Occasion { title: String::new(), ..good() }),
        ("title", pb::Occasion { title: "x".repeat(201), ..good() }),
        ("when", pb::Occasion { when: None, ..good() }),
        ("birthday.days_before", birthday(61, points(1))),
        ("birthday.days_before", birthday(-1, points(1))),
        ("dormancy.days", dormancy(0, points(1))),
        ("dormancy.days", dormancy(3_661, points(1))),
        ("gives", joining("o", None)),
        ("gives.gift", joining("o", Some(pb::Gift::default()))),
        ("gives.points", joining("o", points(0))),
        ("gives.wallet", joining("o", points(1).map(|gift| pb::Gift { wallet: "stars".to_owned(), ..gift }))),
        ("gives.reward", joining("o", reward("cup"))),
        ("gives.reward", joining("o", reward("programs/coffee/rewards/cup"))),
        ("members.tiers", pb::Occasion { members: filter(&|filter| filter.tiers.push("gold".to_owned())), ..good() }),
        ("members.tags[0]", pb::Occasion { members: filter(&|filter| filter.tags.push("No".to_owned())), ..good() }),
        ("members.excluded_tags[0]", pb::Occasion { members: filter(&|filter| filter.excluded_tags.push(String::new())), ..good() }),
        ("members.segments", pb::Occasion { members: filter(&|filter| filter.segments = vec!["a".to_owned(); 51]), ..good() }),
    ];
    for (field, occasion) in bad {
        let terms = giving(&[joining("first", points(1)), occasion]);
        let refused = suite.administrator().create_program_version(new_version(terms)).await;
        assert_eq!(wrong_fields(refused), [format!("terms.occasions[1].{field}")]);
    }
    let many: Vec<_> = (0..21).map(|number| joining(&format!("o{number}"), points(1))).collect();
    let refused = suite.administrator().create_program_version(new_version(giving(&many))).await;
    assert_eq!(wrong_fields(refused), ["terms.occasions"]);
    suite.stop().await;
}
