//! Vouchers: granted, shown, used.

use prost::Message;
use proto::common::Role;
use proto::events::event::Payload;
use proto::events::voucher_changed::Change;
use proto::events::{MemberChanged, MemberEnrolled, MemberState};
use proto::points as pb;
use proto::points::voucher_terms::{BuyGet, Effect, FreeDelivery, FreeItem, PercentOff, Valid};
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::suite::*;

testkit::on_each_engine!(
    a_grant_counts_once,
    codes_are_for_who_shows_them,
    the_database_holds_no_code,
    a_till_gets_priced_lines_or_reasons,
    windows_are_in_the_programs_zone,
    a_voucher_is_used_for_one_order,
    a_first_order_is_one_before_any_purchase,
    vouchers_are_listed_newest_first,
    whoever_survived_a_member_answers_for_him,
    vouchers_are_told_without_their_codes,
    vouchers_of_before_are_kept,
    bad_baskets_are_refused,
);

async fn a_grant_counts_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let request = grant(1, "welcome/1", pb::VoucherTerms { valid: Some(Valid::ValidFor(days(7).unwrap())), ..off(500) });
    let first = platform.grant_voucher(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.state(), first.grant_reason()), (pb::VoucherState::Usable, pb::GrantReason::Birthday));
    assert_eq!((&*first.title, &*first.reward, &*first.operation), ("happy birthday", "", ""));
    assert_eq!(first.expire_time, Some(timestamp(suite.now() + 7 * DAY)));
    for request in [request.clone(), with(request.clone(), |request| request.request_id = request_id())] {
        suite.clock.advance(DAY);
        let again = platform.grant_voucher(request).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), first);
    }
    let dearer =
        with(grant(1, "welcome/1", off(501)), |other| other.terms.as_mut().unwrap().valid = Some(Valid::ValidFor(days(7).unwrap())));
    let refused = platform.grant_voucher(dearer).await;
    assert_eq!(metadata(&refused, "field"), "terms.amount_off");
    assert_eq!(refusal(refused), (Code::AlreadyExists, "GRANT_EXISTS".to_owned()));
    let ended = pb::VoucherTerms { valid: Some(Valid::ValidUntil(timestamp(suite.now()))), ..off(1) };
    assert_eq!(wrong_fields(platform.grant_voucher(grant(1, "k", ended)).await), ["terms.valid_until"]);
    assert_eq!(wrong_fields(platform.grant_voucher(grant(1, "", off(1))).await), ["grant_key"]);
    assert_eq!(wrong_fields(platform.grant_voucher(with(grant(1, "k", off(1)), |grant| grant.reason = 0)).await), ["reason"]);
    assert_eq!(wrong_fields(platform.grant_voucher(grant(1, "k", off(0))).await), ["terms.amount_off.amount"]);
    let list = pb::ListVouchersRequest { parent: member(1), ..Default::default() };
    assert_eq!(platform.list_vouchers(list).await.unwrap().into_inner().vouchers, [first]);
    suite.stop().await;
}

async fn codes_are_for_who_shows_them(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(create("mug", 10)).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    let (mut platform, mut terminal) = (rewards(&suite, Role::Platform).await, rewards(&suite, Role::Terminal).await);
    let request = have(1, "mug");
    let printed = terminal.redeem_reward(request.clone()).await.unwrap().into_inner().voucher.unwrap();
    assert_eq!(printed.code.len(), 20);
    assert_eq!(terminal.redeem_reward(request).await.unwrap().into_inner().voucher.unwrap(), printed);
    let given = rewards(&suite, Role::Support).await.grant_voucher(grant(1, "sorry/1", off(100))).await.unwrap().into_inner();
    assert_eq!((given.code.len(), given.code_end.len()), (0, 4));
    for role in [Role::Terminal, Role::Platform, Role::Service, Role::Support, Role::Administrator, Role::Auditor] {
        let mut client = rewards(&suite, role).await;
        let shown = client.get_voucher(voucher(&printed.name)).await.unwrap().into_inner();
        let in_full = matches!(role, Role::Platform | Role::Service);
        assert_eq!((shown.code == printed.code, shown.code.is_empty()), (in_full, !in_full), "{role:?}");
        assert_eq!(shown.code_end, printed.code_end);
        let list = pb::ListVouchersRequest { parent: member(1), ..Default::default() };
        let listed = client.list_vouchers(list).await.unwrap().into_inner().vouchers;
        assert!(listed.iter().all(|voucher| voucher.code.is_empty() != in_full));
    }
    // A message says nothing of the code in logs.
    assert!(!format!("{printed:?}").contains(&printed.code));
    assert!(!format!("{:?}", check(&printed.code, basket("a", 1))).contains(&printed.code));
    // As it is typed.
    for typed in [printed.code.to_lowercase(), printed.code.replace('-', " ")] {
        assert!(platform.check_voucher(check(&typed, basket("a", 2_000))).await.unwrap().into_inner().applies);
    }
    suite.stop().await;
}

async fn the_database_holds_no_code(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    rewards(&suite, Role::Administrator).await.create_reward(create("mug", 10)).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    let granted = platform.grant_voucher(grant(1, "k", off(100))).await.unwrap().into_inner().code;
    let redeemed = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap().code;
    platform.use_voucher(use_for("o1", &granted, basket("a", 1_000))).await.unwrap();
    let mut tx = suite.points().await.read().await.unwrap();
    let rows: Vec<(Vec<u8>,)> = persistence::on_engine!(tx, |conn| sqlx::query_as(
        "SELECT answer FROM operations UNION ALL SELECT details FROM vouchers UNION ALL SELECT code_hash FROM vouchers
         UNION ALL SELECT details FROM entries"
    )
    .fetch_all(conn)
    .await)
    .unwrap();
    assert!(rows.len() >= 8);
    for code in [granted, redeemed] {
        for wanted in [code.clone(), code.replace('-', "")] {
            assert!(rows.iter().all(|(bytes,)| !bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes())));
        }
    }
    drop(tx);
    suite.stop().await;
}

async fn a_till_gets_priced_lines_or_reasons(engine: TestEngine) {
    use pb::voucher_obstacle::Kind;
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let conditions = pb::VoucherConditions {
        minimum_spend: yuan(5_000),
        skus: vec!["latte".to_owned()],
        stores: vec![format!("{TEA}/stores/s1")],
        channels: vec!["pickup".to_owned()],
        ..Default::default()
    };
    let half = Effect::PercentOff(PercentOff { basis_points: 5_000, at_most: None });
    let terms = pb::VoucherTerms { effect: Some(half), conditions: Some(conditions), ..Default::default() };
    let code = platform.grant_voucher(grant(1, "half", terms)).await.unwrap().into_inner().code;
    let refused = platform.check_voucher(check(&code, basket("cake", 1_800))).await.unwrap().into_inner();
    let told: Vec<_> = refused.obstacles.iter().map(|obstacle| (obstacle.kind(), obstacle.missing)).collect();
    assert_eq!(told, [(Kind::MinimumSpend, 3_200), (Kind::Store, 0), (Kind::Channel, 0), (Kind::Items, 0)]);
    assert_eq!((refused.applies, refused.lines.len(), refused.discount), (false, 0, yuan(0)));
    let mut good = basket("latte", 3_333);
    (good.store, good.channel) = (format!("{TEA}/stores/s1"), "pickup".to_owned());
    let cake =
        pb::PurchaseLine { line_id: "2".to_owned(), sku: "cake".to_owned(), quantity: 1, net_minor_units: 1_800, ..Default::default() };
    good.lines.insert(0, cake);
    let priced = platform.check_voucher(check(&code, good)).await.unwrap().into_inner();
    assert_eq!(priced.lines, [pb::LineDiscount { line_id: "1".to_owned(), discount_minor_units: 1_666 }]);
    assert_eq!((priced.applies, priced.discount), (true, yuan(1_666)));
    // A use that is refused says what is missing, too.
    let refused = platform.use_voucher(use_for("o1", &code, basket("cake", 1_800))).await;
    assert_eq!(
        (metadata(&refused, "missing_minor_units"), metadata(&refused, "obstacles")),
        ("3200".to_owned(), "MINIMUM_SPEND,STORE,CHANNEL,ITEMS".to_owned())
    );
    // Each effect over the wire.
    let pieces = |quantity| with(basket("latte", 3_000 * quantity), |basket| basket.lines[0].quantity = quantity);
    let delivered = with(pieces(1), |basket| basket.delivery_minor_units = 600);
    for (key, effect, basket, off) in [
        ("free", Effect::FreeItem(FreeItem { pieces: 1 }), pieces(2), 3_000),
        ("fixed", Effect::FixedPrice(pb::voucher_terms::FixedPrice { price: yuan(990), pieces: 1 }), pieces(2), 2_010),
        ("get", Effect::BuyGet(BuyGet { buy: 2, get: 1, times_max: 0 }), pieces(6), 6_000),
        ("delivery", Effect::FreeDelivery(FreeDelivery {}), delivered, 600),
    ] {
        let terms = pb::VoucherTerms { effect: Some(effect), ..Default::default() };
        let code = platform.grant_voucher(grant(1, key, terms)).await.unwrap().into_inner().code;
        let priced = platform.check_voucher(check(&code, basket)).await.unwrap().into_inner();
        let lines: i64 = priced.lines.iter().map(|line| line.discount_minor_units).sum();
        assert_eq!((priced.discount, lines + priced.delivery_discount_minor_units), (yuan(off), off), "{key}");
    }
    suite.stop().await;
}

async fn windows_are_in_the_programs_zone(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    // From seven to ten in Shanghai, every day.
    let window = pb::WeeklyWindow { weekdays: (1..=7).collect(), start_minute: 420, end_minute: 600 };
    let conditions = pb::VoucherConditions { windows: vec![window], ..Default::default() };
    let code = platform
        .grant_voucher(grant(1, "k", pb::VoucherTerms { conditions: Some(conditions), ..off(100) }))
        .await
        .unwrap()
        .into_inner()
        .code;
    let mut hours = Vec::new();
    for _ in 0..24 {
        let hour = (suite.now().as_micros() / 3_600_000_000 + 8).rem_euclid(24);
        if platform.check_voucher(check(&code, basket("a", 1_000))).await.unwrap().into_inner().applies {
            hours.push(hour);
        }
        suite.clock.advance(DAY / 24);
    }
    hours.sort_unstable();
    assert_eq!(hours, [7, 8, 9]);
    suite.stop().await;
}

async fn a_voucher_is_used_for_one_order(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let issued = platform.grant_voucher(grant(1, "k", off(500))).await.unwrap().into_inner();
    let request = use_for("o1", &issued.code, basket("latte", 3_000));
    let first = platform.use_voucher(request.clone()).await.unwrap().into_inner();
    assert_eq!((&*first.order_reference, first.use_time), ("o1", Some(timestamp(suite.now()))));
    assert_eq!(first.discount.as_ref().unwrap().discount, yuan(500));
    let read = platform.get_voucher(voucher(&issued.name)).await.unwrap().into_inner();
    assert_eq!((read.state(), &*read.order_reference, read.discount), (pb::VoucherState::Used, "o1", yuan(500)));
    suite.clock.advance(DAY);
    for request in [request.clone(), with(request.clone(), |request| request.request_id = request_id())] {
        let again = platform.use_voucher(request).await.unwrap();
        assert!(replayed(&again));
        assert_eq!(again.into_inner(), first);
    }
    let other = with(request.clone(), |request| request.order_reference = "o2".to_owned());
    let reused = platform.use_voucher(other).await;
    assert_eq!(metadata(&reused, "field"), "order_reference");
    assert_eq!(refusal(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(precondition(platform.use_voucher(use_for("o2", &issued.code, basket("latte", 3_000))).await), "VOUCHER_USED");
    assert_eq!(precondition(platform.use_voucher(use_for("o1", &issued.code, basket("latte", 3_001))).await), "VOUCHER_USED");
    // Cancelled, and used for another order.
    let request = void(&issued.name, "o1");
    let usable = platform.void_voucher_use(request.clone()).await.unwrap().into_inner();
    assert_eq!((usable.state(), &*usable.order_reference, &usable.code), (pb::VoucherState::Usable, "", &issued.code));
    platform.use_voucher(use_for("o2", &issued.code, basket("latte", 3_000))).await.unwrap();
    let again = platform.void_voucher_use(request).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), usable);
    assert_eq!(precondition(platform.void_voucher_use(void(&issued.name, "o1")).await), "VOUCHER_NOT_USED");
    let revoked = revoke(&issued.name);
    assert_eq!(precondition(platform.revoke_voucher(revoked).await), "VOUCHER_USED");
    platform.void_voucher_use(void(&issued.name, "o2")).await.unwrap();
    let revoked = platform.revoke_voucher(revoke(&issued.name)).await.unwrap().into_inner();
    assert_eq!((revoked.state(), &*revoked.revoke_reason), (pb::VoucherState::Revoked, "stolen"));
    assert_eq!(precondition(platform.use_voucher(use_for("o3", &issued.code, basket("latte", 3_000))).await), "VOUCHER_REVOKED");
    suite.stop().await;
}

async fn a_first_order_is_one_before_any_purchase(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let conditions = pb::VoucherConditions { first_order: true, ..Default::default() };
    let code = platform
        .grant_voucher(grant(1, "k", pb::VoucherTerms { conditions: Some(conditions), ..off(100) }))
        .await
        .unwrap()
        .into_inner()
        .code;
    assert!(platform.check_voucher(check(&code, basket("a", 1_000))).await.unwrap().into_inner().applies);
    suite.award(1, "p1", 100).await;
    let refused = platform.use_voucher(use_for("o1", &code, basket("a", 1_000))).await;
    assert_eq!(metadata(&refused, "obstacles"), "FIRST_ORDER");
    assert_eq!(precondition(refused), "VOUCHER_NOT_APPLICABLE");
    // One who comes back has been away.
    let conditions = pb::VoucherConditions { dormant_days: 30, ..Default::default() };
    let terms = pb::VoucherTerms { conditions: Some(conditions), ..off(1_000) };
    let code = platform.grant_voucher(grant(1, "back", terms)).await.unwrap().into_inner().code;
    suite.clock.advance(29 * DAY);
    let refused = platform.use_voucher(use_for("o1", &code, basket("a", 3_000))).await;
    assert_eq!(metadata(&refused, "obstacles"), "DORMANCY");
    suite.clock.advance(DAY);
    platform.use_voucher(use_for("o1", &code, basket("a", 3_000))).await.unwrap();
    suite.stop().await;
}

async fn vouchers_are_listed_newest_first(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let mut names = Vec::new();
    for number in 0..7 {
        names.push(platform.grant_voucher(grant(1, &format!("k{number}"), off(100))).await.unwrap().into_inner().name);
        suite.clock.advance(DAY);
    }
    platform.grant_voucher(grant(2, "another", off(100))).await.unwrap();
    names.reverse();
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListVouchersRequest { parent: member(1), page_size: 3, page_token };
        let page = platform.list_vouchers(request).await.unwrap().into_inner();
        assert!(page.vouchers.len() <= 3);
        listed.extend(page.vouchers.into_iter().map(|voucher| voucher.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    suite.stop().await;
}

async fn whoever_survived_a_member_answers_for_him(engine: TestEngine) {
    let suite = Suite::with_feeds(engine, terms()).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(2, "p2", 10_000).await;
    let code = platform.grant_voucher(grant(2, "k", off(100))).await.unwrap().into_inner().code;
    suite.client(Role::Service).await.merge_accounts(merge(1, 2)).await.unwrap();
    let state = |state: MemberState| Payload::MemberChanged(MemberChanged { state: state.into(), ..MemberChanged::default() });
    let enrolled = MemberEnrolled { state: MemberState::Active.into(), ..MemberEnrolled::default() };
    suite.members_tell(1, Payload::MemberEnrolled(enrolled), 0).await;
    suite.members_tell(1, state(MemberState::Blocked), 1).await;
    let refused = platform.use_voucher(use_for("o1", &code, basket("a", 1_000))).await;
    assert_eq!(metadata(&refused, "obstacles"), "MEMBER");
    assert!(!platform.check_voucher(check(&code, basket("a", 1_000))).await.unwrap().into_inner().applies);
    assert_eq!(precondition(platform.grant_voucher(grant(2, "k2", off(100))).await), "MEMBER_BLOCKED");
    suite.members_tell(1, state(MemberState::Active), 2).await;
    platform.use_voucher(use_for("o1", &code, basket("a", 1_000))).await.unwrap();
    suite.stop().await;
}

async fn vouchers_are_told_without_their_codes(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    rewards(&suite, Role::Administrator).await.create_reward(create("mug", 10)).await.unwrap();
    let granted = platform.grant_voucher(grant(1, "k", off(500))).await.unwrap().into_inner();
    platform.grant_voucher(grant(1, "k", off(500))).await.unwrap();
    platform.use_voucher(use_for("o1", &granted.code, basket("a", 3_000))).await.unwrap();
    platform.void_voucher_use(void(&granted.name, "o1")).await.unwrap();
    platform.revoke_voucher(revoke(&granted.name)).await.unwrap();
    suite.award(1, "p1", 10_000).await;
    let redeemed = platform.redeem_reward(have(1, "mug")).await.unwrap().into_inner().voucher.unwrap();
    platform.refund_reward(undo(&redeemed.name, true)).await.unwrap();
    // The purchase, and what redeeming and refunding did to the points, are told besides.
    let events = suite.events(9).await;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.payload {
            Some(Payload::VoucherChanged(changed)) => Some((event, changed)),
            _ => None,
        })
        .collect();
    let changes: Vec<_> = told.iter().map(|(event, changed)| (changed.change(), event.aggregate_version)).collect();
    assert_eq!(
        changes,
        [(Change::Issued, 1), (Change::Used, 2), (Change::Voided, 3), (Change::Revoked, 4), (Change::Issued, 1), (Change::Refunded, 2)]
    );
    let (event, used) = told[1];
    assert_eq!((&event.member, &event.aggregate, &used.voucher), (&member(1), &granted.name, &granted.name));
    assert_eq!((&*used.effect, &*used.grant_reason, &*used.order_reference), ("AMOUNT_OFF", "BIRTHDAY", "o1"));
    assert_eq!((used.discount.clone(), &*told[2].1.order_reference, told[2].1.discount.clone()), (yuan(500), "", None));
    assert_eq!((&told[4].1.reward, &*told[4].1.grant_reason), (&reward_name("mug"), ""));
    for (event, code) in events.iter().flat_map(|event| [(event, &granted.code), (event, &redeemed.code)]) {
        let bytes = event.encode_to_vec();
        assert!(!bytes.windows(code.len()).any(|part| part == code.as_bytes()));
    }
    suite.stop().await;
}

async fn bad_baskets_are_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = rewards(&suite, Role::Platform).await;
    let code = platform.grant_voucher(grant(1, "k", off(100))).await.unwrap().into_inner().code;
    let good = basket("a", 1_000);
    let twice = with(good.clone(), |basket| basket.lines.push(basket.lines[0].clone()));
    let no_pieces = with(good.clone(), |basket| basket.lines[0].quantity = 0);
    let negative = with(good.clone(), |basket| basket.delivery_minor_units = -1);
    for (basket, field) in
        [(twice, "basket.lines[1].line_id"), (no_pieces, "basket.lines[0].quantity"), (negative, "basket.delivery_minor_units")]
    {
        assert_eq!(wrong_fields(platform.check_voucher(check(&code, basket.clone())).await), [field]);
        assert_eq!(wrong_fields(platform.use_voucher(use_for("o1", &code, basket)).await), [field]);
    }
    assert_eq!(wrong_fields(platform.use_voucher(use_for("", &code, good.clone())).await), ["order_reference"]);
    let last = code.chars().last().unwrap();
    let wrong = format!("{}{}", &code[..19], if last == '2' { '3' } else { '2' });
    assert_eq!(wrong_fields(platform.check_voucher(check(&wrong, good)).await), ["code"]);
    suite.stop().await;
}

/// One voucher of each kind as they were stored before pieces of rewards could be given.
async fn vouchers_of_before_are_kept(engine: TestEngine) {
    let before = points::MIGRATIONS.iter().position(|migration| migration.file == "0009_vouchers.sql").unwrap();
    let database = engine.open("points", &points::MIGRATIONS[..before]).await;
    let at = persistence::DbTime(testkit::START);
    let mut tx = database.begin().await.unwrap();
    let id = uuid::Uuid::from_u128;
    for (number, paid) in [(1, false), (2, true)] {
        persistence::on_engine!(tx, |conn| sqlx::query(
            "INSERT INTO vouchers (voucher_id, account_id, program, member, reward_key, redemption, grant_key, grant_operation, code_hash,
                key_version, state, version, issued_at, reference, use_operation, used_at, discount, details)
             VALUES ($1, $1, 'tea', $1, $2, $2, $3, $3, $4, 1, 2, 2, $5, 'o1', $1, $5, 500, $4)"
        )
        .bind(id(number))
        .bind(paid.then_some(id(7)))
        .bind((!paid).then_some(id(8)))
        .bind(vec![u8::try_from(number).unwrap(); 32])
        .bind(at)
        .execute(conn)
        .await
        .unwrap()
        .rows_affected());
    }
    tx.commit().await.unwrap();
    drop(database);
    let database = engine.open("points", points::MIGRATIONS).await;
    let mut tx = database.read().await.unwrap();
    type Row = (uuid::Uuid, Option<uuid::Uuid>, Option<uuid::Uuid>, bool, String, i64);
    let rows: Vec<Row> = persistence::on_engine!(tx, |conn| {
        sqlx::query_as("SELECT voucher_id, redemption, grant_key, recalled, reference, discount FROM vouchers ORDER BY voucher_id")
            .fetch_all(conn)
            .await
    })
    .unwrap();
    let kept = |number, paid, granted| (id(number), paid, granted, false, "o1".to_owned(), 500);
    assert_eq!(rows, [kept(1, None, Some(id(8))), kept(2, Some(id(7)), None)]);
}
