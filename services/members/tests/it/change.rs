//! What happens to a member after the enrolment.

use proto::events::MemberState;
use proto::events::event::Payload;
use proto::members::attribute::Value as Fact;
use proto::members::{
    BirthDate, BlockMemberRequest, CloseMemberRequest, GetMemberRequest, LinkIdentityRequest, Member, RevealMemberRequest,
    UnblockMemberRequest, UnlinkIdentityRequest, UpdateMemberRequest, identity::Value,
};
use testkit::TestEngine;
use tonic::Code;

use crate::suite::*;

testkit::on_each_engine!(
    an_update_changes_what_its_mask_names,
    a_wrong_update_is_refused_and_changes_nothing,
    labels_come_and_go_and_end_with_the_membership,
    identities_come_and_go,
    a_member_is_blocked_and_unblocked,
    closing_sets_the_identities_free,
    concurrent_changes_all_land_and_the_feed_keeps_their_order,
    one_change_sent_many_times_happens_once,
);

fn update(member: Member, paths: &[&str]) -> UpdateMemberRequest {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    UpdateMemberRequest { member: Some(member), update_mask: Some(prost_types::FieldMask { paths }), request_id: request_id() }
}

fn link(name: &str, value: Value, replace: bool) -> LinkIdentityRequest {
    LinkIdentityRequest { name: name.to_owned(), identity: identity(value), replace, request_id: request_id() }
}

fn unlink(name: &str, value: Value) -> UnlinkIdentityRequest {
    UnlinkIdentityRequest { name: name.to_owned(), identity: identity(value), request_id: request_id() }
}

fn block(name: &str) -> BlockMemberRequest {
    BlockMemberRequest { name: name.to_owned(), reason: "FRAUD_SUSPECTED".to_owned(), request_id: request_id() }
}

fn unblock(name: &str) -> UnblockMemberRequest {
    UnblockMemberRequest { name: name.to_owned(), request_id: request_id() }
}

fn close(name: &str) -> CloseMemberRequest {
    CloseMemberRequest { name: name.to_owned(), reason: "MEMBER_ASKED".to_owned(), request_id: request_id() }
}

fn precondition(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

async fn get(client: &mut Client, name: &str) -> Member {
    client.get_member(GetMemberRequest { name: name.to_owned() }).await.unwrap().into_inner()
}

async fn an_update_changes_what_its_mask_names(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [card("card-1")]).await;
    let told = Member {
        display_name: "Ann Lee".to_owned(),
        birth_date: Some(BirthDate { year: 0, month: 2, day: 29 }),
        preferred_language: "en".to_owned(),
        attributes: vec![fact("children", Fact::Number(2)), fact("vegan", Fact::Flag(true))],
        ..ann.clone()
    };
    let request = update(told.clone(), &["display_name", "birth_date", "attributes"]);
    let changed = client.update_member(request.clone()).await.unwrap().into_inner();
    assert_eq!(changed.display_name, "A******");
    let reveal = RevealMemberRequest { name: ann.name.clone(), read_mask: None, reason: "case 7".to_owned() };
    assert_eq!(client.reveal_member(reveal).await.unwrap().into_inner().attributes, told.attributes);
    assert_eq!(changed.birth_date, told.birth_date);
    assert_eq!(changed.preferred_language, "", "the mask does not name it");
    assert_eq!((changed.version, changed.etag.as_str()), (2, "2"));

    // The request sent again is answered as before, although its etag is old by now.
    let replay = client.update_member(request).await.unwrap();
    assert!(replay.metadata().contains_key("regulars-replayed"));
    assert_eq!(replay.into_inner(), changed);

    // One attribute is set, another removed; what is said twice is no change.
    let one = Member { attributes: vec![fact("height", Fact::Decimal("1.75".to_owned()))], ..changed };
    let request = update(one, &["attributes.height", "attributes.vegan"]);
    let changed = client.update_member(request.clone()).await.unwrap().into_inner();
    let keys: Vec<&str> = changed.attributes.iter().map(|fact| fact.key.as_str()).collect();
    assert_eq!((keys, changed.version), (vec!["children", "height"], 3));
    let mut again = UpdateMemberRequest { request_id: request_id(), ..request };
    again.member.as_mut().unwrap().etag = String::new();
    assert_eq!(client.update_member(again).await.unwrap().into_inner().version, 3);

    let events = suite.events(3).await;
    let versions: Vec<i64> = events.iter().map(|event| event.aggregate_version).collect();
    assert_eq!(versions, [1, 2, 3]);
    let Some(Payload::MemberChanged(facts)) = &events[1].payload else { panic!("another event") };
    assert_eq!((facts.birth_month, facts.birth_day, facts.state()), (2, 29, MemberState::Active));
}

async fn a_wrong_update_is_refused_and_changes_nothing(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [card("card-1")]).await;
    for path in ["phone", "state", "name", "*", "attributes.Bad-Key", "birth_date.year", "tags.", "tags.Bad", "segments.a b", ""] {
        assert_eq!(violation(client.update_member(update(ann.clone(), &["display_name", path])).await), "update_mask");
    }
    assert_eq!(violation(client.update_member(update(ann.clone(), &[])).await), "update_mask");
    let no_mask = UpdateMemberRequest { update_mask: None, ..update(ann.clone(), &[]) };
    assert_eq!(violation(client.update_member(no_mask).await), "update_mask");
    let not_a_day = Member { birth_date: Some(BirthDate { year: 2023, month: 2, day: 29 }), ..ann.clone() };
    assert_eq!(violation(client.update_member(update(not_a_day, &["birth_date"])).await), "member.birth_date");
    let no_name = Member { name: format!("{TEA}/members/1"), ..ann.clone() };
    assert_eq!(violation(client.update_member(update(no_name, &["display_name"])).await), "member.name");

    let renamed = Member { display_name: "Bea".to_owned(), etag: "7".to_owned(), ..ann.clone() };
    let refused = client.update_member(update(renamed, &["display_name"])).await;
    assert_eq!(refusal(refused), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    let many = (0..50).map(|number| fact(&format!("a{number}"), Fact::Number(number))).collect();
    let full = client.update_member(update(Member { attributes: many, ..ann.clone() }, &["attributes"])).await;
    let full = full.unwrap().into_inner();
    let more = Member { attributes: vec![fact("more", Fact::Flag(true))], ..full.clone() };
    let status = client.update_member(update(more, &["attributes.more"])).await.unwrap_err();
    assert_eq!(metadata(&status, "limit"), "50");
    assert_eq!(refusal::<()>(Err(status)), precondition("TOO_MANY_ATTRIBUTES"));
    assert_eq!(get(&mut client, &ann.name).await, full);
}

async fn labels_come_and_go_and_end_with_the_membership(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut request = enrolment([card("card-1")]);
    request.tags = texts(&["vegan", "staff", "vegan"]);
    request.segments = texts(&["new"]);
    let ann = client.enroll_member(request).await.unwrap().into_inner();
    assert_eq!((ann.tags.clone(), ann.segments.clone()), (texts(&["staff", "vegan"]), texts(&["new"])));
    // One tag is added and another removed; the segments are all replaced; what the mask does not name stays.
    let told = Member { tags: texts(&["gold-card"]), segments: texts(&["regular", "lapsing"]), etag: String::new(), ..ann.clone() };
    let changed = client.update_member(update(told.clone(), &["tags.gold-card", "tags.vegan"])).await.unwrap().into_inner();
    assert_eq!((changed.tags, changed.segments), (texts(&["gold-card", "staff"]), texts(&["new"])));
    let changed = client.update_member(update(told, &["segments"])).await.unwrap().into_inner();
    assert_eq!((changed.tags.clone(), changed.segments.clone()), (texts(&["gold-card", "staff"]), texts(&["lapsing", "regular"])));
    assert_eq!(get(&mut client, &ann.name).await, changed);

    let bad = Member { tags: texts(&["staff", "No"]), ..changed.clone() };
    assert_eq!(violation(client.update_member(update(bad, &["tags"])).await), "member.tags[1]");
    let many = Member { tags: (0..50).map(|number| format!("t{number}")).collect(), ..changed.clone() };
    let full = client.update_member(update(many, &["tags"])).await.unwrap().into_inner();
    let one_more = Member { tags: texts(&["more"]), ..full };
    let status = client.update_member(update(one_more, &["tags.more"])).await.unwrap_err();
    assert_eq!((metadata(&status, "field"), metadata(&status, "limit")), ("tags".to_owned(), "50".to_owned()));
    assert_eq!(refusal::<()>(Err(status)), precondition("TOO_MANY_LABELS"));

    let closed = client.close_member(close(&ann.name)).await.unwrap().into_inner();
    assert!(closed.tags.is_empty() && closed.segments.is_empty());
    let events = suite.events(5).await;
    let Some(Payload::MemberEnrolled(told)) = &events[0].payload else { panic!("another event") };
    assert_eq!((told.tags.clone(), told.segments.clone()), (texts(&["staff", "vegan"]), texts(&["new"])));
    let Some(Payload::MemberChanged(told)) = &events[2].payload else { panic!("another event") };
    assert_eq!((told.tags.clone(), told.segments.clone()), (texts(&["gold-card", "staff"]), texts(&["lapsing", "regular"])));
    let Some(Payload::MemberChanged(told)) = &events[4].payload else { panic!("another event") };
    assert!(told.tags.is_empty() && told.segments.is_empty() && told.state() == MemberState::Closed);
}

async fn identities_come_and_go(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [card("card-1")]).await;
    let bea = enrol(&mut client, [card("card-2")]).await;

    let linked = client.link_identity(link(&ann.name, phone("+8613812345678"), false)).await.unwrap().into_inner();
    assert_eq!((linked.phone.as_str(), linked.version), ("+86138****5678", 2));
    assert_eq!(lookup(&mut client, phone("+8613812345678")).await.unwrap(), ann.name);
    let again = client.link_identity(link(&ann.name, phone("+86 138 1234 5678"), false)).await.unwrap().into_inner();
    assert_eq!(again, linked);

    let status = client.link_identity(link(&bea.name, phone("+8613812345678"), true)).await.unwrap_err();
    assert_eq!((metadata(&status, "kind").as_str(), metadata(&status, "member")), ("phone", ann.name.clone()));
    assert_eq!(refusal::<()>(Err(status)), (Code::AlreadyExists, "IDENTITY_TAKEN".to_owned()));
    let second = client.link_identity(link(&ann.name, phone("+8613900000000"), false)).await;
    assert_eq!(refusal(second), precondition("IDENTITY_PRESENT"));
    client.link_identity(link(&ann.name, phone("+8613900000000"), true)).await.unwrap();
    assert_eq!(lookup(&mut client, phone("+8613900000000")).await.unwrap(), ann.name);
    // The phone that gave way is free.
    client.link_identity(link(&bea.name, phone("+8613812345678"), false)).await.unwrap();

    client.unlink_identity(unlink(&ann.name, card("card-1"))).await.unwrap();
    assert_eq!(refusal(lookup(&mut client, card("card-1")).await).1, "MEMBER_NOT_FOUND");
    let gone = client.unlink_identity(unlink(&ann.name, card("card-1"))).await;
    assert_eq!(refusal(gone), (Code::NotFound, "IDENTITY_NOT_LINKED".to_owned()));
    let last = client.unlink_identity(unlink(&ann.name, phone("+8613900000000"))).await;
    assert_eq!(refusal(last), precondition("LAST_IDENTITY"));
    enrol(&mut client, [card("card-1")]).await;
}

async fn a_member_is_blocked_and_unblocked(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [card("card-1")]).await;
    assert_eq!(refusal(client.unblock_member(unblock(&ann.name)).await), precondition("MEMBER_NOT_BLOCKED"));
    let blocked = client.block_member(block(&ann.name)).await.unwrap().into_inner();
    assert_eq!((blocked.state(), blocked.state_reason.as_str()), (MemberState::Blocked, "FRAUD_SUSPECTED"));
    assert_eq!(lookup(&mut client, card("card-1")).await.unwrap(), ann.name, "a till must see that it is blocked");
    assert_eq!(refusal(client.block_member(block(&ann.name)).await), precondition("MEMBER_ALREADY_BLOCKED"));
    let active = client.unblock_member(unblock(&ann.name)).await.unwrap().into_inner();
    assert_eq!((active.state(), active.state_reason.as_str(), active.version), (MemberState::Active, "", 3));
    let free_text = BlockMemberRequest { reason: "he stole".to_owned(), ..block(&ann.name) };
    assert_eq!(violation(client.block_member(free_text).await), "reason");
    let nobody = format!("{TEA}/members/00000000-0000-7000-8000-000000000000");
    assert_eq!(refusal(client.block_member(block(&nobody)).await), (Code::NotFound, "MEMBER_NOT_FOUND".to_owned()));
}

async fn closing_sets_the_identities_free(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let ann = enrol(&mut client, [phone("+8613812345678"), card("card-1")]).await;
    let closed = client.close_member(close(&ann.name)).await.unwrap().into_inner();
    assert_eq!((closed.state(), closed.state_reason.as_str()), (MemberState::Closed, "MEMBER_ASKED"));
    assert_eq!(closed.phone, "+86138****5678", "what was told stays readable");
    for verb in [
        refusal(client.close_member(close(&ann.name)).await),
        refusal(client.block_member(block(&ann.name)).await),
        refusal(client.unblock_member(unblock(&ann.name)).await),
        refusal(client.link_identity(link(&ann.name, card("card-9"), false)).await),
        refusal(client.unlink_identity(unlink(&ann.name, card("card-1"))).await),
        refusal(client.update_member(update(Member { display_name: "Bea".to_owned(), ..closed.clone() }, &["display_name"])).await),
    ] {
        assert_eq!(verb, precondition("MEMBER_CLOSED"));
    }
    assert_eq!(refusal(lookup(&mut client, phone("+8613812345678")).await).1, "MEMBER_NOT_FOUND");
    let anew = enrol(&mut client, [phone("+8613812345678")]).await;
    assert_ne!(anew.name, ann.name);
    assert_eq!(lookup(&mut client, phone("+8613812345678")).await.unwrap(), anew.name);
    assert_eq!(get(&mut client, &ann.name).await, closed);
}

async fn concurrent_changes_all_land_and_the_feed_keeps_their_order(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let ann = enrol(&mut suite.administrator(), [phone("+8613812345678")]).await;
    let calls = (0..20).map(|number| {
        let (mut client, name) = (suite.administrator(), ann.name.clone());
        async move { client.link_identity(link(&name, card(&format!("card-{number}")), false)).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    let member = get(&mut suite.administrator(), &ann.name).await;
    assert_eq!((member.cards.len(), member.version), (20, 21));
    let versions: Vec<i64> = suite.events(21).await.iter().map(|event| event.aggregate_version).collect();
    assert_eq!(versions, (1..=21).collect::<Vec<i64>>());
}

async fn one_change_sent_many_times_happens_once(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let ann = enrol(&mut suite.administrator(), [card("card-1")]).await;
    let request = block(&ann.name);
    let calls = (0..20).map(|_| {
        let (mut client, request) = (suite.administrator(), request.clone());
        async move { client.block_member(request).await.unwrap() }
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.metadata().contains_key("regulars-replayed")).count(), 19);
    assert!(answers.into_iter().all(|answer| answer.into_inner().version == 2));
}
