//! Reading balances, books and purchases.

use proto::points as pb;
use testkit::{START, TestEngine};
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    nobody_has_nothing,
    books_are_read_in_pages,
    a_page_token_belongs_to_its_list,
    balances_show_their_lots,
    a_purchase_is_shown_as_it_stands
);

async fn nobody_has_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let balance = suite.balance(1).await;
    let nothing = pb::WalletBalance { wallet: "points".to_owned(), ..Default::default() };
    let expected = pb::Balance {
        member: member(1),
        wallets: vec![nothing],
        version: 0,
        known_time: None,
        as_of_time: Some(rpc::wire::timestamp(START)),
    };
    assert_eq!(balance, expected);
    assert!(suite.entries(1).await.is_empty());
    // A refused spender is nobody still.
    assert_eq!(precondition(suite.platform().redeem(redeem(1, 1)).await), "INSUFFICIENT_POINTS");
    assert_eq!(suite.balance(1).await, expected);
    suite.verified().await;
}

async fn books_are_read_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    for number in 1..=7 {
        suite.award(1, &format!("p{number}"), number * 100).await;
    }
    suite.award(2, "other", 100).await;
    let mut request = pb::ListEntriesRequest { parent: member(1), page_size: 3, page_token: String::new() };
    let mut pages = Vec::new();
    loop {
        let page = platform.list_entries(request.clone()).await.unwrap().into_inner();
        pages.push(page.entries.iter().map(|entry| entry.version).collect::<Vec<_>>());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // What comes in between is newer than every page to come.
        suite.award(1, &format!("between-{}", pages.len()), 100).await;
    }
    assert_eq!(pages, [vec![7, 6, 5], vec![4, 3, 2], vec![1]]);
    let all = pb::ListEntriesRequest { page_size: 100_000, page_token: String::new(), ..request.clone() };
    assert_eq!(platform.list_entries(all).await.unwrap().into_inner().entries.len(), 9);
    let exactly = pb::ListEntriesRequest { page_size: 9, page_token: String::new(), ..request };
    assert_eq!(platform.list_entries(exactly).await.unwrap().into_inner().next_page_token, "");
}

async fn a_page_token_belongs_to_its_list(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut platform = suite.platform();
    suite.award(1, "p1", 100).await;
    suite.award(1, "p2", 100).await;
    let first = pb::ListEntriesRequest { parent: member(1), page_size: 1, page_token: String::new() };
    let token = platform.list_entries(first).await.unwrap().into_inner().next_page_token;
    for (parent, token) in [(member(2), token.clone()), (member(1), format!("{token}A")), (member(1), "x".to_owned())] {
        let request = pb::ListEntriesRequest { parent, page_size: 1, page_token: token };
        assert_eq!(wrong_fields(platform.list_entries(request).await), ["page_token"]);
    }
    let versions = pb::ListProgramVersionsRequest { parent: TEA.to_owned(), page_size: 1, page_token: token };
    assert_eq!(wrong_fields(platform.list_program_versions(versions).await), ["page_token"]);
}

async fn balances_show_their_lots(engine: TestEngine) {
    let suite = Suite::with_terms(engine, pb::Terms { activate_after: days(1), expire_after: days(30), ..terms() }).await;
    suite.award(1, "p1", 10_000).await;
    suite.award(1, "p2", 2_000).await;
    suite.clock.advance(DAY);
    suite.award(1, "p3", 3_000).await;
    suite.reserve(1, 50).await;
    let balance = suite.balance(1).await;
    assert_eq!(figures(&balance), (70, 30, 50, 0));
    let wallet = &balance.wallets[0];
    let lots: Vec<_> =
        wallet.lots.iter().map(|lot| (lot.points, lot.reserved_points, lot.activate_time.is_some(), lot.earn_month)).collect();
    // Two purchases of one day are one lot.
    assert_eq!(lots, [(120, 50, false, 2026 * 12), (30, 0, true, 2026 * 12)]);
    let at = |days: u32| Some(rpc::wire::timestamp(START + days * DAY));
    assert_eq!((wallet.next_expire_time, wallet.next_expire_points), (at(31), 70), "what is held does not lapse");
    assert_eq!((wallet.next_activate_time, wallet.next_activate_points), (at(2), 30));
    assert_eq!((wallet.lots[0].expire_time, wallet.lots[1].expire_time, wallet.lots[1].activate_time), (at(31), at(32), at(2)));
    suite.verified().await;
}

async fn a_purchase_is_shown_as_it_stands(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p-1.A~_", 100).await;
    assert_eq!(suite.purchase("p-1.A~_").await.name, purchase("p-1.A~_"));
    for name in [purchase("p-1.a~_"), purchase("p2"), "programs/coffee/purchases/p-1.A~_".to_owned()] {
        let found = suite.platform().get_purchase(pb::GetPurchaseRequest { name }).await;
        assert_eq!(refusal(found), (Code::NotFound, "PURCHASE_NOT_FOUND".to_owned()));
    }
}
