//! Programs, stores, terminals and keys over the wire.

use kernel::Context;
use proto::common::Role;
use proto::directory::*;
use rpc::directory::NewApiKey;
use rpc::{Directory, Programs};
use testkit::{TestEngine, on_each_engine};
use tonic::{Code, Response};

use super::support::{config_on, refusal, serve, violations};

on_each_engine!(
    a_program_with_its_stores_and_terminals,
    bad_input_is_refused_by_field,
    the_same_request_again_is_the_same_answer,
    a_replayed_key_has_no_secret,
    keys_are_listed_and_revoked,
    a_limited_administrator_gives_no_more_than_it_has,
    pages_meet_without_gap_or_overlap,
    the_first_administrator_is_made_once,
    who_has_made_an_administrator_is_given_no_other,
    another_role_leaves_the_first_administrator_to_be_made,
);

fn program(id: &str, request_id: &str) -> CreateProgramRequest {
    CreateProgramRequest {
        program_id: id.to_owned(),
        display_name: "Tea House".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency_code: "CNY".to_owned(),
        request_id: request_id.to_owned(),
    }
}

fn store(parent: &str, id: &str, request_id: &str) -> CreateStoreRequest {
    CreateStoreRequest {
        parent: parent.to_owned(),
        store_id: id.to_owned(),
        display_name: "Bund".to_owned(),
        time_zone: String::new(),
        request_id: request_id.to_owned(),
    }
}

fn terminal(parent: &str, id: &str, request_id: &str) -> CreateTerminalRequest {
    CreateTerminalRequest {
        parent: parent.to_owned(),
        terminal_id: id.to_owned(),
        display_name: "Till 1".to_owned(),
        request_id: request_id.to_owned(),
    }
}

fn key(role: Role, programs: &[&str], request_id: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        display_name: "back end".to_owned(),
        role: role.into(),
        programs: programs.iter().map(|id| format!("programs/{id}")).collect(),
        terminal: String::new(),
        request_id: request_id.to_owned(),
    }
}

fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().get("regulars-replayed").is_some_and(|value| value == "true")
}

async fn a_program_with_its_stores_and_terminals(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    let made = client.create_program(program("tea", "r1")).await.unwrap().into_inner();
    assert_eq!((&*made.name, &*made.time_zone, &*made.currency_code), ("programs/tea", "Asia/Shanghai", "CNY"));
    let get = GetProgramRequest { name: "programs/tea".to_owned() };
    assert_eq!(client.get_program(get.clone()).await.unwrap().into_inner(), made);
    let exists = client.create_program(program("tea", "r2")).await.unwrap_err();
    assert_eq!(refusal(&exists), (Code::AlreadyExists, "PROGRAM_EXISTS".to_owned()));
    let unknown = client.get_program(GetProgramRequest { name: "programs/coffee".to_owned() }).await.unwrap_err();
    assert_eq!(refusal(&unknown), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));

    let bund = client.create_store(store("programs/tea", "bund", "r3")).await.unwrap().into_inner();
    assert_eq!(bund.name, "programs/tea/stores/bund");
    let exists = client.create_store(store("programs/tea", "bund", "r4")).await.unwrap_err();
    assert_eq!(refusal(&exists), (Code::AlreadyExists, "STORE_EXISTS".to_owned()));
    let unknown = client.create_store(store("programs/coffee", "bund", "r5")).await.unwrap_err();
    assert_eq!(refusal(&unknown), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));

    let till = client.create_terminal(terminal(&bund.name, "t1", "r6")).await.unwrap().into_inner();
    assert_eq!(till.name, "programs/tea/stores/bund/terminals/t1");
    let exists = client.create_terminal(terminal(&bund.name, "t1", "r7")).await.unwrap_err();
    assert_eq!(refusal(&exists), (Code::AlreadyExists, "TERMINAL_EXISTS".to_owned()));
    let unknown = client.create_terminal(terminal("programs/tea/stores/nowhere", "t1", "r8")).await.unwrap_err();
    assert_eq!(refusal(&unknown), (Code::NotFound, "STORE_NOT_FOUND".to_owned()));

    let stores = ListStoresRequest { parent: "programs/tea".to_owned(), ..Default::default() };
    assert_eq!(client.list_stores(stores).await.unwrap().into_inner().stores, std::slice::from_ref(&bund));
    let terminals = ListTerminalsRequest { parent: bund.name, ..Default::default() };
    assert_eq!(client.list_terminals(terminals).await.unwrap().into_inner().terminals, std::slice::from_ref(&till));

    // A key of a till is good for the till's program, and entries will name its terminal and store.
    let request = CreateApiKeyRequest { terminal: till.name.clone(), ..key(Role::Terminal, &[], "r9") };
    let made = client.create_api_key(request).await.unwrap().into_inner();
    let api_key = made.api_key.unwrap();
    assert_eq!((api_key.programs, api_key.terminal), (vec!["programs/tea".to_owned()], till.name));
    server.directory(&made.secret).await.get_program(get).await.unwrap();
    server.running.stop().await;
}

async fn bad_input_is_refused_by_field(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    let good = || program("tea", "r1");
    let cases = [
        (CreateProgramRequest { time_zone: "Mars/Olympus".to_owned(), ..good() }, "time_zone"),
        (CreateProgramRequest { currency_code: "yuan".to_owned(), ..good() }, "currency_code"),
        (CreateProgramRequest { currency_code: "QQQ".to_owned(), ..good() }, "currency_code"),
        (CreateProgramRequest { program_id: "Tea!".to_owned(), ..good() }, "program_id"),
        (CreateProgramRequest { display_name: String::new(), ..good() }, "display_name"),
        (CreateProgramRequest { request_id: String::new(), ..good() }, "request_id"),
    ];
    for (request, field) in cases {
        let refused = client.create_program(request).await.unwrap_err();
        assert_eq!(violations(&refused), [field]);
    }
    client.create_program(good()).await.unwrap();
    client.create_program(program("coffee", "r2")).await.unwrap();
    client.create_store(store("programs/tea", "bund", "r3")).await.unwrap();
    let refused = client.create_store(CreateStoreRequest { time_zone: "Nowhere".to_owned(), ..store("programs/tea", "x", "r4") }).await;
    assert_eq!(violations(&refused.unwrap_err()), ["time_zone"]);

    let bund = "programs/tea/stores/bund";
    client.create_terminal(terminal(bund, "t1", "r5")).await.unwrap();
    let till = format!("{bund}/terminals/t1");
    let of_till = |request: CreateApiKeyRequest| CreateApiKeyRequest { terminal: till.clone(), ..request };
    let refused = client.create_api_key(of_till(key(Role::Support, &["tea"], "r6"))).await.unwrap_err();
    assert_eq!(violations(&refused), ["terminal"]);
    let refused = client.create_api_key(of_till(key(Role::Terminal, &["coffee"], "r7"))).await.unwrap_err();
    assert_eq!(violations(&refused), ["programs"]);
    let refused = client.create_api_key(key(Role::Platform, &["unknown"], "r8")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));
    let nowhere = CreateApiKeyRequest { terminal: format!("{bund}/terminals/t2"), ..key(Role::Terminal, &["tea"], "r9") };
    let refused = client.create_api_key(nowhere).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "TERMINAL_NOT_FOUND".to_owned()));
    let refused = client.create_api_key(CreateApiKeyRequest { role: 99, ..key(Role::Platform, &[], "r10") }).await.unwrap_err();
    assert_eq!(violations(&refused), ["role"]);

    let refused = client.list_programs(ListProgramsRequest { page_size: -1, ..Default::default() }).await.unwrap_err();
    assert_eq!(violations(&refused), ["page_size"]);
    let refused = client.list_programs(ListProgramsRequest { page_token: "x".to_owned(), ..Default::default() }).await.unwrap_err();
    assert_eq!(violations(&refused), ["page_token"]);
    server.running.stop().await;
}

async fn the_same_request_again_is_the_same_answer(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    let first = client.create_program(program("tea", "r1")).await.unwrap();
    assert!(!is_replay(&first));
    let again = client.create_program(program("tea", "r1")).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner(), first.into_inner());
    let other = CreateProgramRequest { currency_code: "EUR".to_owned(), ..program("tea", "r1") };
    let reused = client.create_program(other).await.unwrap_err();
    assert_eq!(refusal(&reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    let details = tonic_types::StatusExt::get_error_details(&reused);
    assert_eq!(details.error_info().unwrap().metadata["field"], "currency_code");

    let many = (0..8).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.create_store(store("programs/tea", "bund", "s1")).await })
    });
    let answers: Vec<_> = futures::future::join_all(many).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1, "of eight at once, one did it");
    server.running.stop().await;
}

async fn a_replayed_key_has_no_secret(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    let first = client.create_api_key(key(Role::Platform, &[], "r1")).await.unwrap().into_inner();
    assert!(first.secret.starts_with("rk_"));
    let again = client.create_api_key(key(Role::Platform, &[], "r1")).await.unwrap();
    assert!(is_replay(&again));
    let again = again.into_inner();
    assert_eq!((again.api_key, again.secret), (first.api_key, String::new()));
    server.running.stop().await;
}

async fn keys_are_listed_and_revoked(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    let made = client.create_api_key(key(Role::Platform, &[], "r1")).await.unwrap().into_inner();
    let name = made.api_key.unwrap().name;
    assert_eq!(name.strip_prefix("apiKeys/"), made.secret.split('_').nth(1), "the id is the public part of the secret");
    let revoke = |request_id: &str| RevokeApiKeyRequest { name: name.clone(), request_id: request_id.to_owned() };
    let revoked = client.revoke_api_key(revoke("r2")).await.unwrap().into_inner();
    assert!(revoked.revoke_time.is_some());
    let refused = server.directory(&made.secret).await.list_programs(ListProgramsRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "CREDENTIAL_REVOKED".to_owned()), "at once on this process");
    let again = client.revoke_api_key(revoke("r3")).await.unwrap();
    assert!(!is_replay(&again));
    assert_eq!(again.into_inner(), revoked, "revoking again changes nothing");
    assert!(is_replay(&client.revoke_api_key(revoke("r2")).await.unwrap()));
    let listed = client.list_api_keys(ListApiKeysRequest::default()).await.unwrap().into_inner().api_keys;
    assert!(listed.contains(&revoked));
    let unknown = RevokeApiKeyRequest { name: format!("apiKeys/{}", "0".repeat(32)), request_id: "r4".to_owned() };
    let refused = client.revoke_api_key(unknown).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "API_KEY_NOT_FOUND".to_owned()));
    server.running.stop().await;
}

async fn a_limited_administrator_gives_no_more_than_it_has(engine: TestEngine) {
    let server = serve(engine).await;
    server.program("tea").await;
    server.program("coffee").await;
    let mut all = server.as_administrator().await;
    let of_all = all.create_api_key(key(Role::Analyst, &[], "all")).await.unwrap().into_inner().api_key.unwrap();
    let limited = server.key(rpc::Role::Administrator, &["tea"]).await;
    let mut client = server.directory(&limited).await;
    client.create_store(store("programs/tea", "bund", "r1")).await.unwrap();
    client.create_api_key(key(Role::Platform, &["tea"], "r2")).await.unwrap();
    let beyond = (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned());
    for refused in [
        client.create_api_key(key(Role::Platform, &[], "r3")).await.map(drop),
        client.create_api_key(key(Role::Platform, &["tea", "coffee"], "r4")).await.map(drop),
        client.create_program(program("milk", "r5")).await.map(drop),
        client.create_store(store("programs/coffee", "bund", "r6")).await.map(drop),
    ] {
        assert_eq!(refusal(&refused.unwrap_err()), beyond);
    }
    let revoke = RevokeApiKeyRequest { name: of_all.name.clone(), request_id: "r7".to_owned() };
    let refused = client.revoke_api_key(revoke).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "API_KEY_NOT_FOUND".to_owned()));
    let listed = client.list_api_keys(ListApiKeysRequest::default()).await.unwrap().into_inner().api_keys;
    assert_eq!(listed.len(), 2, "its own and the one it made");
    server.running.stop().await;
}

async fn pages_meet_without_gap_or_overlap(engine: TestEngine) {
    let server = serve(engine).await;
    let mut client = server.as_administrator().await;
    for id in ["tea", "coffee", "milk", "bread", "a1"] {
        client.create_program(program(id, &format!("r-{id}"))).await.unwrap();
        client.create_store(store("programs/tea", &format!("s-{id}"), &format!("s-{id}"))).await.ok();
    }
    client.create_store(store("programs/tea", "z", "s-z")).await.unwrap();
    let (mut programs, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListProgramsRequest { page_size: 2, page_token: token };
        let page = client.list_programs(request).await.unwrap().into_inner();
        assert!(page.programs.len() <= 2);
        programs.extend(page.programs.into_iter().map(|program| program.name.replace("programs/", "")));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(programs, ["a1", "bread", "coffee", "milk", "tea"]);

    let list =
        |page_size, page_token: &str| ListStoresRequest { parent: "programs/tea".to_owned(), page_size, page_token: page_token.to_owned() };
    let whole = client.list_stores(list(0, "")).await.unwrap().into_inner();
    assert_eq!(whole.next_page_token, "");
    let first = client.list_stores(list(1, "")).await.unwrap().into_inner();
    let rest = client.list_stores(list(1000, &first.next_page_token)).await.unwrap().into_inner();
    assert_eq!([first.stores, rest.stores].concat(), whole.stores);
    let other = ListStoresRequest { parent: "programs/coffee".to_owned(), ..list(1, &first.next_page_token) };
    assert_eq!(violations(&client.list_stores(other).await.unwrap_err()), ["page_token"]);
    server.running.stop().await;
}

async fn the_first_administrator_is_made_once(engine: TestEngine) {
    let open = || async { Directory::open(&engine.options, Context::system()).await.unwrap() };
    let (one, other) = (open().await, open().await);
    let (one, other) = tokio::join!(one.ensure_first_administrator(), other.ensure_first_administrator());
    let made: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "of two processes that start at once, one shows a key");

    let folder = tempfile::TempDir::new().unwrap();
    let running = rpc::start(&Context::system(), config_on(&engine, &folder), &[]).await.unwrap();
    assert_eq!(running.first_administrator(), None, "a second start shows none");
    running.stop().await;
}

fn by_hand(role: Role) -> NewApiKey {
    NewApiKey { display_name: "made by hand".to_owned(), role, programs: Programs::All, terminal: None }
}

async fn who_has_made_an_administrator_is_given_no_other(engine: TestEngine) {
    let directory = Directory::open(&engine.options, Context::system()).await.unwrap();
    directory.create_api_key(by_hand(Role::Administrator)).await.unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let running = rpc::start(&Context::system(), config_on(&engine, &folder), &[]).await.unwrap();
    assert_eq!(running.first_administrator(), None);
    running.stop().await;
}

async fn another_role_leaves_the_first_administrator_to_be_made(engine: TestEngine) {
    let directory = Directory::open(&engine.options, Context::system()).await.unwrap();
    directory.create_api_key(by_hand(Role::Auditor)).await.unwrap();
    assert!(directory.ensure_first_administrator().await.unwrap().is_some());
}
