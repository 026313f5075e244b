//! Reading: pages, masks by role, and looks at members in the clear.

use proto::common::Role;
use proto::events::MemberState;
use proto::members::attribute::Value as Fact;
use proto::members::{
    Account, BirthDate, CloseMemberRequest, EnrollMemberRequest, GetMemberRequest, ListMemberAccessesRequest, ListMembersRequest,
    LookupMemberRequest, Member, RevealMemberRequest, identity::Value,
};
use testkit::TestEngine;
use tonic::Code;

use crate::suite::*;

testkit::on_each_engine!(
    pages_meet_without_gap_or_overlap_while_members_enrol,
    a_list_is_filtered_by_state_and_its_token_belongs_to_it,
    every_role_sees_masks,
    roles_that_read_no_members_are_refused,
    a_reveal_is_on_the_trail,
);

fn list(page_size: i32, page_token: &str) -> ListMembersRequest {
    ListMembersRequest { parent: TEA.to_owned(), page_size, page_token: page_token.to_owned(), ..Default::default() }
}

/// Somebody of whom everything is known.
async fn enrol_ann(suite: &Suite) -> Member {
    let account = Account { namespace: "wechat_openid".to_owned(), id: "oABCDEFGHIJKLMN".to_owned() };
    let identities = [
        phone("+8613812345678"),
        Value::Email("alice@example.com".to_owned()),
        Value::ExternalId("crm-0000-0001".to_owned()),
        card("6222021234567890"),
        Value::Account(account),
    ];
    let request = EnrollMemberRequest {
        display_name: "张小明".to_owned(),
        birth_date: Some(BirthDate { year: 1990, month: 5, day: 17 }),
        attributes: vec![fact("children", Fact::Number(2)), fact("drink", Fact::Text("oat_milk".to_owned()))],
        ..enrolment(identities)
    };
    suite.administrator().enroll_member(request).await.unwrap().into_inner()
}

async fn pages_meet_without_gap_or_overlap_while_members_enrol(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let mut before = Vec::new();
    for number in 0..7 {
        before.push(enrol(&mut client, [card(&format!("before-{number}"))]).await.name);
    }
    let (mut met, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.list_members(list(3, &token)).await.unwrap().into_inner();
        assert!(page.members.len() <= 3);
        met.extend(page.members.into_iter().map(|member| member.name));
        pages += 1;
        enrol(&mut client, [card(&format!("between-{pages}"))]).await;
        token = page.next_page_token;
        if token.is_empty() || pages == 20 {
            break;
        }
    }
    let mut distinct = met.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), met.len(), "nobody twice");
    assert!(before.iter().all(|name| met.contains(name)), "nobody passed over");
    assert_eq!(client.list_members(list(0, "")).await.unwrap().into_inner().members.len(), 7 + pages);
    assert_eq!(violation(client.list_members(list(-1, "")).await), "page_size");
}

async fn a_list_is_filtered_by_state_and_its_token_belongs_to_it(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let mut client = suite.administrator();
    let mut names = Vec::new();
    for number in 0..4 {
        names.push(enrol(&mut client, [card(&format!("card-{number}"))]).await.name);
    }
    for name in &names[..2] {
        let reason = "MEMBER_ASKED".to_owned();
        client.close_member(CloseMemberRequest { name: name.clone(), reason, request_id: request_id() }).await.unwrap();
    }
    for (state, expected) in [(MemberState::Closed, 2), (MemberState::Active, 2), (MemberState::Blocked, 0), (MemberState::Unspecified, 4)]
    {
        let request = ListMembersRequest { state: state.into(), ..list(0, "") };
        let page = client.list_members(request).await.unwrap().into_inner();
        assert_eq!((page.members.len(), page.next_page_token.as_str()), (expected, ""));
        assert!(state == MemberState::Unspecified || page.members.iter().all(|member| member.state() == state));
    }
    let token = client.list_members(list(1, "")).await.unwrap().into_inner().next_page_token;
    let closed = ListMembersRequest { state: MemberState::Closed.into(), ..list(1, &token) };
    assert_eq!(violation(client.list_members(closed).await), "page_token");
    let in_coffee = ListMembersRequest { parent: COFFEE.to_owned(), ..list(1, &token) };
    assert_eq!(violation(client.list_members(in_coffee).await), "page_token");
    assert_eq!(violation(client.list_members(list(1, "x")).await), "page_token");
}

async fn every_role_sees_masks(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let ann = enrol_ann(&suite).await;
    for role in [Role::Terminal, Role::Platform, Role::Service, Role::Support, Role::Administrator] {
        let mut client = suite.client(role, &[]).await;
        let found = LookupMemberRequest { parent: TEA.to_owned(), identity: identity(phone("+8613812345678")) };
        let mut answers = vec![
            client.get_member(GetMemberRequest { name: ann.name.clone() }).await.unwrap().into_inner(),
            client.lookup_member(found).await.unwrap().into_inner(),
        ];
        if role != Role::Terminal {
            answers.extend(client.list_members(list(0, "")).await.unwrap().into_inner().members);
        }
        for member in answers {
            assert_eq!(member.display_name, "张**");
            assert_eq!(member.phone, "+86138****5678");
            assert_eq!(member.email, "a****@example.com");
            assert_eq!(member.external_id, "crm-*****0001");
            assert_eq!(member.cards, ["6222********7890"]);
            assert_eq!(member.accounts[0].id, "oABC*******KLMN");
            assert_eq!(member.birth_date, Some(BirthDate { year: 0, month: 5, day: 17 }));
            let hidden = || Fact::Text("***".to_owned());
            assert_eq!(member.attributes, [fact("children", hidden()), fact("drink", hidden())]);
            let masked = ["display_name", "phone", "email", "external_id", "cards", "accounts", "birth_date.year", "attributes"];
            assert_eq!(member.masked_fields, masked);
        }
    }
}

async fn roles_that_read_no_members_are_refused(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let ann = enrol_ann(&suite).await;
    let refused = (Code::PermissionDenied, "ROLE_NOT_ADMITTED".to_owned());
    for role in [Role::LandingPage, Role::Analyst, Role::Auditor] {
        let mut client = suite.client(role, &[]).await;
        let get = client.get_member(GetMemberRequest { name: ann.name.clone() }).await;
        assert_eq!(refusal(get), refused, "{role:?}");
        assert_eq!(refusal(lookup(&mut client, phone("+8613812345678")).await), refused, "{role:?}");
        assert_eq!(refusal(client.list_members(list(0, "")).await), refused, "{role:?}");
        assert_eq!(refusal(client.enroll_member(enrolment([card("x")])).await), refused, "{role:?}");
    }
    for role in [Role::Terminal, Role::Platform, Role::Service] {
        let reveal = RevealMemberRequest { name: ann.name.clone(), read_mask: None, reason: "case 7".to_owned() };
        assert_eq!(refusal(suite.client(role, &[]).await.reveal_member(reveal).await), refused, "{role:?}");
    }
    let trail = ListMemberAccessesRequest { parent: TEA.to_owned(), ..Default::default() };
    assert_eq!(refusal(suite.client(Role::Support, &[]).await.list_member_accesses(trail).await), refused);
}

async fn a_reveal_is_on_the_trail(engine: TestEngine) {
    let suite = Suite::start(&engine).await;
    let ann = enrol_ann(&suite).await;
    let bea = enrol(&mut suite.administrator(), [card("card-2")]).await;
    let mut support = suite.client(Role::Support, &[]).await;
    let reveal = |name: &str, paths: &[&str], reason: &str| RevealMemberRequest {
        name: name.to_owned(),
        read_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        reason: reason.to_owned(),
    };
    let clear = support.reveal_member(reveal(&ann.name, &[], "case 4711")).await.unwrap().into_inner();
    assert_eq!((clear.display_name.as_str(), clear.phone.as_str()), ("张小明", "+8613812345678"));
    assert_eq!((clear.email.as_str(), clear.external_id.as_str()), ("alice@example.com", "crm-0000-0001"));
    assert_eq!((&clear.cards[0], &clear.accounts[0].id), (&"6222021234567890".to_owned(), &"oABCDEFGHIJKLMN".to_owned()));
    assert_eq!(clear.birth_date, Some(BirthDate { year: 1990, month: 5, day: 17 }));
    assert_eq!(clear.attributes, [fact("children", Fact::Number(2)), fact("drink", Fact::Text("oat_milk".to_owned()))]);
    assert!(clear.masked_fields.is_empty());

    let part = support.reveal_member(reveal(&ann.name, &["phone"], "call back")).await.unwrap().into_inner();
    assert_eq!((part.phone.as_str(), part.email.as_str()), ("+8613812345678", "a****@example.com"));
    assert!(!part.masked_fields.contains(&"phone".to_owned()) && part.masked_fields.len() == 7);
    support.reveal_member(reveal(&bea.name, &["cards"], "lost card")).await.unwrap();

    assert_eq!(violation(support.reveal_member(reveal(&ann.name, &["state"], "x")).await), "read_mask");
    assert_eq!(violation(support.reveal_member(reveal(&ann.name, &[], "")).await), "reason");

    let mut auditor = suite.client(Role::Auditor, &[]).await;
    let trail = |parent: &str, page_size: i32, page_token: &str| ListMemberAccessesRequest {
        parent: parent.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let first = auditor.list_member_accesses(trail(TEA, 2, "")).await.unwrap().into_inner();
    let rest = auditor.list_member_accesses(trail(TEA, 2, &first.next_page_token)).await.unwrap().into_inner();
    let accesses = [first.member_accesses, rest.member_accesses].concat();
    let told: Vec<(&str, &str, usize)> =
        accesses.iter().map(|access| (access.member.as_str(), access.reason.as_str(), access.fields.len())).collect();
    assert_eq!(told, [(ann.name.as_str(), "case 4711", 8), (&ann.name, "call back", 1), (&bea.name, "lost card", 1)]);
    assert!(accesses.iter().all(|access| access.role() == Role::Support && access.actor.starts_with("apiKeys/")));
    let of_bea = auditor.list_member_accesses(trail(&bea.name, 0, "")).await.unwrap().into_inner();
    assert_eq!(of_bea.member_accesses, accesses[2..]);
}
