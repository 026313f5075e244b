//! Who may call what. The table is written by hand: a role that is added to the contract by mistake fails here.

use proto::referrals as pb;
use rpc::{Programs, Role};
use testkit::{TestEngine, on_each_engine};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::suite::{Client, Suite, issue, list, plan};

on_each_engine!(roles_are_admitted_as_written_here, a_key_of_another_program_is_refused);

const ROLES: [Role; 8] =
    [Role::Terminal, Role::Platform, Role::LandingPage, Role::Service, Role::Support, Role::Analyst, Role::Administrator, Role::Auditor];

/// Each RPC, and whether each of the roles above is admitted.
const TABLE: [(&str, [u8; 8]); 11] = [
    ("CreatePlan", [0, 0, 0, 0, 0, 0, 1, 0]),
    ("GetPlan", [1, 1, 0, 1, 1, 1, 1, 1]),
    ("ListPlans", [1, 1, 0, 1, 1, 1, 1, 1]),
    ("IssueCode", [1, 1, 0, 0, 1, 0, 0, 0]),
    ("GetCode", [0, 1, 0, 1, 1, 0, 1, 1]),
    ("ResolveCode", [1, 1, 1, 1, 1, 0, 0, 0]),
    ("RevokeCode", [0, 1, 0, 0, 1, 0, 1, 0]),
    ("AttributeFriend", [1, 1, 0, 0, 0, 0, 0, 0]),
    ("GetReferral", [1, 1, 0, 1, 1, 0, 1, 1]),
    ("ListReferrals", [0, 1, 0, 1, 1, 0, 1, 1]),
    ("VoidReferral", [0, 0, 0, 0, 1, 0, 1, 0]),
];

/// Calls an RPC with a request that obeys its contract; what becomes of it is no matter.
async fn call(mut client: Client, rpc: &str, member: &str) -> Result<(), Status> {
    let request_id = rpc.to_owned();
    let (parent, plan_name) = ("programs/tea".to_owned(), "programs/tea/plans/invite".to_owned());
    let (code_name, code) = ("programs/tea/codes/ABCDEFGHJKMN".to_owned(), "ABCDEFGHJKMN".to_owned());
    let referral = "programs/tea/referrals/00000000-0000-7000-8000-000000000000".to_owned();
    match rpc {
        "CreatePlan" => {
            let request = pb::CreatePlanRequest { parent, plan_id: "p".to_owned(), plan: Some(plan()), request_id };
            client.create_plan(request).await.map(drop)
        }
        "GetPlan" => client.get_plan(pb::GetPlanRequest { name: plan_name }).await.map(drop),
        "ListPlans" => client.list_plans(pb::ListPlansRequest { parent, ..pb::ListPlansRequest::default() }).await.map(drop),
        "IssueCode" => client.issue_code(issue(member, request_id)).await.map(drop),
        "GetCode" => client.get_code(pb::GetCodeRequest { name: code_name }).await.map(drop),
        "ResolveCode" => client.resolve_code(pb::ResolveCodeRequest { parent, code }).await.map(drop),
        "RevokeCode" => client.revoke_code(pb::RevokeCodeRequest { name: code_name, request_id }).await.map(drop),
        "AttributeFriend" => {
            let request = pb::AttributeFriendRequest { friend: member.to_owned(), code, request_id };
            client.attribute_friend(request).await.map(drop)
        }
        "GetReferral" => client.get_referral(pb::GetReferralRequest { name: referral }).await.map(drop),
        "ListReferrals" => client.list_referrals(list()).await.map(drop),
        "VoidReferral" => {
            let reason = pb::referral::VoidReason::Other.into();
            client.void_referral(pb::VoidReferralRequest { name: referral, reason, request_id }).await.map(drop)
        }
        other => panic!("{other} is not called here"),
    }
}

fn reason(answer: &Result<(), Status>) -> Option<(Code, String)> {
    let status = answer.as_ref().err()?;
    Some((status.code(), status.get_details_error_info()?.reason))
}

async fn roles_are_admitted_as_written_here(engine: TestEngine) {
    let methods: Vec<_> = proto::descriptor_pool()
        .get_service_by_name("regulars.referrals.v1.ReferralsService")
        .unwrap()
        .methods()
        .map(|method| method.name().to_owned())
        .collect();
    assert_eq!(methods, TABLE.map(|(rpc, _)| rpc), "every RPC is in the table");
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    for (index, role) in ROLES.into_iter().enumerate() {
        let client = suite.client(role).await;
        for (rpc, admitted) in TABLE {
            let answer = call(client.clone(), rpc, &suite.member()).await;
            let refused = reason(&answer) == Some((Code::PermissionDenied, "ROLE_NOT_ADMITTED".to_owned()));
            assert_eq!(refused, admitted[index] == 0, "{role:?} calls {rpc}: {answer:?}");
        }
    }
}

async fn a_key_of_another_program_is_refused(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.plan(|_| ()).await;
    for (rpc, admitted) in TABLE {
        let index = admitted.iter().position(|admitted| *admitted == 1).unwrap();
        let client = suite.client_for(ROLES[index], Programs::Only(["coffee".to_owned()].into())).await;
        let answer = call(client, rpc, &suite.member()).await;
        assert_eq!(reason(&answer), Some((Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned())), "{rpc}");
    }
}
