//! Who may do what.

use proto::common::Role;
use proto::tiers as pb;
use rpc::Programs;
use testkit::TestEngine;
use tonic::Code;

use super::suite::*;

testkit::on_each_engine!(roles_and_programs_are_checked);

async fn roles_and_programs_are_checked(engine: TestEngine) {
    let suite = Suite::with_scheme(engine, scheme()).await;
    let every = [
        Role::Terminal,
        Role::Platform,
        Role::LandingPage,
        Role::Service,
        Role::Support,
        Role::Analyst,
        Role::Administrator,
        Role::Auditor,
    ];
    for role in every {
        let mut client = suite.client(role).await;
        let codes = [
            client.create_scheme(create(scheme())).await.map(drop),
            client.get_scheme(pb::GetSchemeRequest { name: SCHEME.to_owned(), version: 0 }).await.map(drop),
            client.get_member_tier(pb::GetMemberTierRequest { name: tier_name(1) }).await.map(drop),
            client.list_tier_holdings(pb::ListTierHoldingsRequest { parent: SCHEME.to_owned(), ..Default::default() }).await.map(drop),
            client.list_tier_transitions(pb::ListTierTransitionsRequest { parent: tier_name(1), ..Default::default() }).await.map(drop),
            client.evaluate_member(pb::EvaluateMemberRequest { name: tier_name(1), request_id: request_id() }).await.map(drop),
            client.grant_tier(grant(1, "platinum", None)).await.map(drop),
        ]
        .map(|outcome| outcome.err().map_or(Code::Ok, |status| status.code()));
        let admitted = codes.map(|code| code != Code::PermissionDenied);
        let expected = match role {
            Role::Administrator => [true; 7],
            Role::Support => [false, true, true, true, true, true, true],
            Role::Service => [false, true, true, true, true, false, true],
            Role::Platform | Role::Auditor => [false, true, true, true, true, false, false],
            Role::Terminal => [false, true, true, false, false, false, false],
            Role::Analyst => [false, true, false, true, false, false, false],
            Role::LandingPage | Role::Unspecified => [false, true, false, false, false, false, false],
        };
        assert_eq!(admitted, expected, "{role:?}");
    }
    let mut elsewhere = suite.client_of(Role::Administrator, Programs::Only(["coffee".to_owned()].into())).await;
    let request = pb::GetMemberTierRequest { name: tier_name(1) };
    assert_eq!(refused(elsewhere.get_member_tier(request).await), (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()));
}
