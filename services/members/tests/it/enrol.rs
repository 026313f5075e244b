//! EnrollMember: identities, duplicates, replays, old data.

use std::time::Duration;

use prost::Message;
use proto::common::Role;
use proto::events::MemberState;
use proto::events::event::Payload;
use proto::members::enroll_member_request::IfExists;
use proto::members::identity::Value;
use proto::members::{Account, Attribute, BirthDate, EnrollMemberRequest, Identity, ListMembersRequest, Member};
use testkit::TestEngine;
use tonic::Code;

use crate::suite::*;

testkit::on_each_engine!(
    one_identity_of_any_kind_is_enough,
    what_is_told_comes_back_and_the_feed_tells_what_it_may,
    a_till_enrols_for_its_store,
    a_taken_identity_is_refused_by_its_kind,
    an_existing_member_is_returned_when_asked_for,
    twenty_enrolments_of_one_phone_make_one_member,
    twenty_sendings_of_one_request_have_one_answer,
    a_replay_is_the_first_answer_whatever_happened_since,
    a_request_id_is_for_one_request,
    old_data_is_for_those_who_may,
    wrong_fields_are_named,
    programs_do_not_see_each_other,
    members_are_found_after_the_master_key_has_changed,
);

fn time(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn now() -> i64 {
    testkit::START.as_micros() / 1_000_000
}

async fn one_identity_of_any_kind_is_enough(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let account = |id: &str| Value::Account(Account { namespace: "wechat_openid".to_owned(), id: id.to_owned() });
    for (told, presented) in [
        (phone("+86 138 1234 5678"), phone("＋８６１３８１２３４５６７８")),
        (Value::Email("Alice@Example.com".to_owned()), Value::Email("alice@example.COM".to_owned())),
        (Value::ExternalId("crm-0001".to_owned()), Value::ExternalId(" crm-0001 ".to_owned())),
        (card("6222021234567890"), card("6222021234567890")),
        (account("oABC123"), account("oABC123")),
    ] {
        let member = enrol(&mut client, [told]).await;
        assert_eq!((member.state(), member.version, member.etag.as_str()), (MemberState::Active, 1, "1"));
        assert_eq!(lookup(&mut client, presented).await.unwrap(), member.name);
    }
    // The same text of another kind or namespace is nobody's.
    for nobody in [
        card("crm-0001"),
        Value::ExternalId("CRM-0001".to_owned()),
        Value::Account(Account { namespace: "wecom".to_owned(), id: "oABC123".to_owned() }),
    ] {
        assert_eq!(refusal(lookup(&mut client, nobody).await), (Code::NotFound, "MEMBER_NOT_FOUND".to_owned()));
    }
    let national = Identity { value: Some(phone("13912345678")), region_code: "CN".to_owned() };
    let request = EnrollMemberRequest { identities: vec![national], ..enrolment([]) };
    let member = client.enroll_member(request).await.unwrap().into_inner();
    assert_eq!(lookup(&mut client, phone("+8613912345678")).await.unwrap(), member.name);
}

async fn what_is_told_comes_back_and_the_feed_tells_what_it_may(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let request = EnrollMemberRequest {
        display_name: " 张小明 ".to_owned(),
        birth_date: Some(BirthDate { year: 1990, month: 5, day: 17 }),
        preferred_language: "zh-CN".to_owned(),
        attributes: vec![attribute("drink", "oat_milk")],
        channel: "store".to_owned(),
        store: "programs/tea/stores/s1".to_owned(),
        referral_code: "FRIEND-7".to_owned(),
        enrol_time: time(now() - 3600),
        ..enrolment([phone("+8613812345678"), card("6222021234567890")])
    };
    let member = suite.administrator().enroll_member(request).await.unwrap().into_inner();
    let expected = Member {
        name: member.name.clone(),
        state: MemberState::Active.into(),
        state_reason: String::new(),
        state_time: time(now() - 3600),
        display_name: "张**".to_owned(),
        phone: "+86138****5678".to_owned(),
        email: String::new(),
        external_id: String::new(),
        cards: vec!["6222********7890".to_owned()],
        accounts: Vec::new(),
        birth_date: Some(BirthDate { year: 0, month: 5, day: 17 }),
        preferred_language: "zh-CN".to_owned(),
        attributes: vec![attribute("drink", "***")],
        enrol_time: time(now() - 3600),
        channel: "store".to_owned(),
        store: "programs/tea/stores/s1".to_owned(),
        referral_code: "FRIEND-7".to_owned(),
        create_time: time(now()),
        update_time: time(now()),
        version: 1,
        etag: "1".to_owned(),
        masked_fields: ["display_name", "phone", "cards", "birth_date.year", "attributes"].map(str::to_owned).to_vec(),
        tags: Vec::new(),
        segments: Vec::new(),
    };
    assert_eq!(member, expected);

    let event = suite.events(1).await.remove(0);
    assert_eq!((&event.program, &event.member, &event.aggregate), (&TEA.to_owned(), &member.name, &member.name));
    assert_eq!((event.aggregate_version, event.historical), (1, false));
    assert_eq!((event.occur_time, event.record_time), (time(now() - 3600), time(now())));
    let Some(Payload::MemberEnrolled(enrolled)) = event.payload else { panic!("another event") };
    assert_eq!((enrolled.birth_month, enrolled.birth_day, enrolled.state()), (5, 17, MemberState::Active));
    assert_eq!((enrolled.channel, enrolled.store, enrolled.referral_code), (member.channel, member.store, member.referral_code));
}

async fn a_till_enrols_for_its_store(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut till = suite.till_in("s7").await;
    let member = enrol(&mut till, [card("card-1")]).await;
    assert_eq!(member.store, "programs/tea/stores/s7");
    let told = EnrollMemberRequest { store: "programs/tea/stores/s8".to_owned(), ..enrolment([card("card-2")]) };
    assert_eq!(till.enroll_member(told).await.unwrap().into_inner().store, "programs/tea/stores/s8");
}

fn attribute(key: &str, text: &str) -> Attribute {
    use proto::members::attribute::Value;
    Attribute { key: key.to_owned(), value: Some(Value::Text(text.to_owned())) }
}

async fn a_taken_identity_is_refused_by_its_kind(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [phone("+8613812345678"), card("card-1")]).await;
    for (identities, kind) in [(vec![phone("+86 13812345678")], "phone"), (vec![phone("+8613900000000"), card("card-1")], "card")] {
        let status = client.enroll_member(enrolment(identities)).await.unwrap_err();
        assert_eq!((metadata(&status, "kind").as_str(), metadata(&status, "member")), (kind, ann.name.clone()));
        assert!(!status.message().contains("138") && !status.message().contains("card-1"), "{}", status.message());
        assert_eq!(refusal::<()>(Err(status)), (Code::AlreadyExists, "IDENTITY_TAKEN".to_owned()));
    }
    // The refusal took nothing: the phone of the second attempt is still free.
    enrol(&mut client, [phone("+8613900000000")]).await;
}

async fn an_existing_member_is_returned_when_asked_for(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ensure = |identities: Vec<Value>| {
        let mut request = enrolment(identities);
        request.set_if_exists(IfExists::ReturnExisting);
        request
    };
    let id = |text: &str| Value::ExternalId(text.to_owned());
    let first = client.enroll_member(ensure(vec![id("1")])).await.unwrap().into_inner();
    let again = client.enroll_member(ensure(vec![id("1")])).await.unwrap().into_inner();
    assert_eq!(again, first);
    // The member is returned as it is: the new card is not linked.
    let with_card = client.enroll_member(ensure(vec![id("1"), card("card-1")])).await.unwrap().into_inner();
    assert_eq!(with_card, first);
    let other = client.enroll_member(ensure(vec![card("card-1")])).await.unwrap().into_inner();
    assert_ne!(other.name, first.name);
    let both = client.enroll_member(ensure(vec![id("1"), card("card-1")])).await.unwrap_err();
    assert_eq!((metadata(&both, "kind").as_str(), metadata(&both, "member")), ("card", other.name));
    // One event for each member that came to be.
    assert_eq!(suite.events(2).await.len(), 2);
}

async fn twenty_enrolments_of_one_phone_make_one_member(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    for if_exists in [IfExists::Refuse, IfExists::ReturnExisting] {
        let number = phone(if if_exists == IfExists::Refuse { "+8613812345678" } else { "+8613900000000" });
        let calls = (0..20).map(|_| {
            let (mut client, mut request) = (suite.administrator(), enrolment([number.clone()]));
            request.set_if_exists(if_exists);
            async move { client.enroll_member(request).await }
        });
        let answers = futures::future::join_all(calls).await;
        let (enrolled, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let mut names: Vec<String> = enrolled.into_iter().map(|answer| answer.unwrap().into_inner().name).collect();
        names.dedup();
        assert_eq!(names.len(), 1);
        assert_eq!(refused.len(), if if_exists == IfExists::Refuse { 19 } else { 0 });
        for status in refused {
            assert_eq!(refusal(status), (Code::AlreadyExists, "IDENTITY_TAKEN".to_owned()));
        }
    }
    let request = ListMembersRequest { parent: TEA.to_owned(), ..ListMembersRequest::default() };
    assert_eq!(suite.administrator().list_members(request).await.unwrap().into_inner().members.len(), 2);
}

async fn twenty_sendings_of_one_request_have_one_answer(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let request = enrolment([phone("+8613812345678"), card("card-1")]);
    let calls = (0..20).map(|_| {
        let (mut client, request) = (suite.administrator(), request.clone());
        async move { client.enroll_member(request).await.unwrap() }
    });
    let answers = futures::future::join_all(calls).await;
    let replays = answers.iter().filter(|answer| answer.metadata().contains_key("regulars-replayed")).count();
    assert_eq!(replays, 19);
    let mut bytes: Vec<Vec<u8>> = answers.into_iter().map(|answer| answer.into_inner().encode_to_vec()).collect();
    bytes.dedup();
    assert_eq!(bytes.len(), 1);
}

async fn a_replay_is_the_first_answer_whatever_happened_since(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let request = EnrollMemberRequest { enrol_time: time(now() - 60), ..enrolment([phone("+8613812345678")]) };
    let first = client.enroll_member(request.clone()).await.unwrap();
    assert!(!first.metadata().contains_key("regulars-replayed"));
    let first = first.into_inner();

    let close =
        proto::members::CloseMemberRequest { name: first.name.clone(), reason: "MEMBER_ASKED".to_owned(), request_id: request_id() };
    client.close_member(close).await.unwrap();
    suite.clock.advance(Duration::from_secs(400 * 24 * 60 * 60));

    let replay = client.enroll_member(request).await.unwrap();
    assert_eq!(replay.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(replay.into_inner().encode_to_vec(), first.encode_to_vec());
}

async fn a_request_id_is_for_one_request(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let request = EnrollMemberRequest { display_name: "Ann".to_owned(), ..enrolment([card("card-1")]) };
    let ann = client.enroll_member(request.clone()).await.unwrap().into_inner();
    let renamed = EnrollMemberRequest { display_name: "Bea".to_owned(), ..request.clone() };
    let status = client.enroll_member(renamed).await.unwrap_err();
    assert_eq!(metadata(&status, "field"), "display_name");
    assert_eq!(refusal::<()>(Err(status)), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    let block = proto::members::BlockMemberRequest { name: ann.name, reason: "FRAUD_SUSPECTED".to_owned(), request_id: request.request_id };
    assert_eq!(metadata(&client.block_member(block).await.unwrap_err(), "field"), "method");
    // A refusal is judged anew: the same request succeeds once its identity is free.
    let late = enrolment([card("card-1")]);
    assert_eq!(refusal(client.enroll_member(late.clone()).await).1, "IDENTITY_TAKEN");
    let other = EnrollMemberRequest { identities: enrolment([card("card-2")]).identities, ..late };
    client.enroll_member(other).await.unwrap();
}

async fn old_data_is_for_those_who_may(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let long_ago = 852_076_800; // 1997-01-01
    let old = |card_number: &str| EnrollMemberRequest { enrol_time: time(long_ago), historical: true, ..enrolment([card(card_number)]) };
    for role in [Role::Platform, Role::Service, Role::Administrator] {
        let mut client = suite.client(role, &[]).await;
        let member = client.enroll_member(old(role.as_str_name())).await.unwrap().into_inner();
        assert_eq!((member.enrol_time, member.create_time), (time(long_ago), time(now())));
    }
    assert!(suite.events(3).await.iter().all(|event| event.historical && event.occur_time == time(long_ago)));
    for role in [Role::Terminal, Role::Support] {
        let mut client = suite.client(role, &[]).await;
        let refused = client.enroll_member(old(role.as_str_name())).await;
        assert_eq!(refusal(refused), (Code::PermissionDenied, "HISTORICAL_NOT_ADMITTED".to_owned()));
    }
    let mut client = suite.administrator();
    for (at, historical) in [(long_ago, false), (now() + 3600, false), (now() + 3600, true)] {
        let request = EnrollMemberRequest { enrol_time: time(at), historical, ..enrolment([card("c")]) };
        assert_eq!(violation(client.enroll_member(request).await), "enrol_time");
    }
}

async fn wrong_fields_are_named(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let good = || enrolment([card("card-1")]);
    let birth = |year, month, day| Some(BirthDate { year, month, day });
    for (request, field) in [
        (enrolment([]), "identities"),
        (enrolment([phone("13812345678")]), "identities[0].phone"),
        (enrolment([card("x"), phone("+86138")]), "identities[1].phone"),
        (enrolment([Value::Email("alice@localhost".to_owned())]), "identities[0].email"),
        (enrolment([card("  ")]), "identities[0].card"),
        (enrolment([Value::ExternalId(String::new())]), "identities[0].external_id"),
        (enrolment([phone("+8613812345678"), phone("+8613812345679")]), "identities[1]"),
        (enrolment([card("x"), card(" x ")]), "identities[1]"),
        (EnrollMemberRequest { parent: "programs".to_owned(), ..good() }, "parent"),
        (EnrollMemberRequest { display_name: "x".repeat(101), ..good() }, "display_name"),
        (EnrollMemberRequest { display_name: "a\u{7}".to_owned(), ..good() }, "display_name"),
        (EnrollMemberRequest { birth_date: birth(2023, 2, 29), ..good() }, "birth_date"),
        (EnrollMemberRequest { birth_date: birth(2030, 1, 1), ..good() }, "birth_date"),
        (EnrollMemberRequest { birth_date: birth(0, 13, 1), ..good() }, "birth_date.month"),
        (EnrollMemberRequest { preferred_language: "zh_CN".to_owned(), ..good() }, "preferred_language"),
        (EnrollMemberRequest { attributes: vec![attribute("a", "1"), attribute("a", "2")], ..good() }, "attributes[1].key"),
        (EnrollMemberRequest { attributes: vec![attribute("A", "1")], ..good() }, "attributes[0].key"),
        (EnrollMemberRequest { channel: "In Store".to_owned(), ..good() }, "channel"),
        (EnrollMemberRequest { store: "programs/coffee/stores/s1".to_owned(), ..good() }, "store"),
        (EnrollMemberRequest { if_exists: 9, ..good() }, "if_exists"),
        (EnrollMemberRequest { request_id: String::new(), ..good() }, "request_id"),
    ] {
        assert_eq!(violation(client.enroll_member(request).await), field);
    }
    let nowhere = EnrollMemberRequest { parent: "programs/nowhere".to_owned(), ..good() };
    assert_eq!(refusal(client.enroll_member(nowhere).await), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));
}

async fn programs_do_not_see_each_other(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let in_tea = enrol(&mut client, [phone("+8613812345678")]).await;
    let request = EnrollMemberRequest { parent: COFFEE.to_owned(), ..enrolment([phone("+8613812345678")]) };
    let in_coffee = client.enroll_member(request.clone()).await.unwrap().into_inner();
    assert_ne!(in_tea.name, in_coffee.name);

    let id = in_tea.name.rsplit('/').next().unwrap();
    let elsewhere = proto::members::GetMemberRequest { name: format!("{COFFEE}/members/{id}") };
    assert_eq!(refusal(client.get_member(elsewhere).await), (Code::NotFound, "MEMBER_NOT_FOUND".to_owned()));

    let mut of_tea = suite.client(Role::Platform, &[TEA]).await;
    let refused = of_tea.get_member(proto::members::GetMemberRequest { name: in_coffee.name }).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()));
    assert_eq!(refusal(of_tea.enroll_member(request).await).1, "PROGRAM_NOT_ADMITTED");
}

async fn members_are_found_after_the_master_key_has_changed(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let request = enrolment([phone("+8613812345678")]);
    let ann = suite.administrator().enroll_member(request.clone()).await.unwrap().into_inner();

    let suite = suite.restart(&engine, &format!("{FIRST_KEY},{SECOND_KEY}")).await;
    let mut client = suite.administrator();
    assert_eq!(lookup(&mut client, phone("+8613812345678")).await.unwrap(), ann.name);
    assert_eq!(client.enroll_member(request).await.unwrap().into_inner(), ann);
    assert_eq!(refusal(client.enroll_member(enrolment([phone("+8613812345678")])).await).1, "IDENTITY_TAKEN");
    let close = proto::members::CloseMemberRequest { name: ann.name, reason: "MEMBER_ASKED".to_owned(), request_id: request_id() };
    client.close_member(close).await.unwrap();
    enrol(&mut client, [phone("+8613812345678")]).await;
}
