//! Who may call what, and in which programs.

use std::collections::BTreeSet;

use proto::common::Role;
use rpc::Programs;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(each_rpc_admits_its_roles, a_key_reaches_its_own_programs_only, a_program_must_exist, points_need_terms);

pub(crate) const ROLES: [(Role, char); 8] = [
    (Role::Terminal, 't'),
    (Role::Platform, 'p'),
    (Role::LandingPage, 'l'),
    (Role::Service, 's'),
    (Role::Support, 'u'),
    (Role::Analyst, 'y'),
    (Role::Administrator, 'a'),
    (Role::Auditor, 'o'),
];

/// The letters of the roles that each RPC admits.
const ADMITTED: [(&str, &str); 45] = [
    ("PreviewAward", "tpsu"),
    ("Award", "tps"),
    ("Redeem", "tps"),
    ("Reserve", "tps"),
    ("Capture", "tps"),
    ("Release", "tps"),
    ("ReturnPurchase", "tpsu"),
    ("Adjust", "ua"),
    ("AwardActivity", "tps"),
    ("ActivatePending", "psu"),
    ("CancelPending", "psu"),
    ("RefundRedemption", "tpsu"),
    ("SetExpiry", "ua"),
    ("ForgiveDeficit", "ua"),
    ("Transfer", "psu"),
    ("MergeAccounts", "sua"),
    ("UnmergeAccounts", "sua"),
    ("CreatePool", "psu"),
    ("InviteToPool", "psu"),
    ("JoinPool", "psu"),
    ("SetPoolSharing", "psu"),
    ("ContributeToPool", "psu"),
    ("LeavePool", "psu"),
    ("RedeemFromPool", "tps"),
    ("EnsureReward", "s"),
    ("SettleDue", "sa"),
    ("GetBalance", "tpsuyao"),
    ("ListEntries", "tpsuao"),
    ("StreamEntries", "psuao"),
    ("GetPool", "tpsuao"),
    ("ListMemberChallenges", "tpsu"),
    ("GetPurchase", "tpsuao"),
    ("GetOperation", "tpsuo"),
    ("GetBudget", "psuyao"),
    ("ListBudgets", "psuyao"),
    ("CreateProgramVersion", "a"),
    ("ValidateTerms", "ya"),
    ("ScheduleProgramVersion", "a"),
    ("RetireProgramVersion", "a"),
    ("RollBackProgram", "a"),
    ("ExportProgram", "ao"),
    ("ImportProgram", "a"),
    ("SimulateTerms", "ya"),
    ("GetProgramVersion", "tpsuyao"),
    ("ListProgramVersions", "tpsuyao"),
];

async fn each_rpc_admits_its_roles(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let known: BTreeSet<&str> = ADMITTED.iter().map(|(rpc, _)| *rpc).collect();
    let served = proto::access::RPCS.iter().filter_map(|rpc| rpc.path.strip_prefix("/regulars.points.v1.PointsService/"));
    assert_eq!(served.collect::<BTreeSet<_>>(), known);
    for (role, letter) in ROLES {
        let wire = suite.wire(role, Programs::All).await;
        for ((rpc, message), (_, admitted)) in every_rpc(TEA).into_iter().zip(ADMITTED) {
            let refused = raw(&wire, rpc, message).await.err().map(|status| code_and_reason(&status));
            let by_role = refused == Some((Code::PermissionDenied, "ROLE_NOT_ADMITTED".to_owned()));
            assert_eq!(by_role, !admitted.contains(letter), "{rpc} by {role:?}: {refused:?}");
        }
    }
}

async fn a_key_reaches_its_own_programs_only(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let coffee = Programs::Only(["coffee".to_owned()].into());
    for (role, letter) in ROLES {
        let wire = suite.wire(role, coffee.clone()).await;
        for ((rpc, message), (_, admitted)) in every_rpc(TEA).into_iter().zip(ADMITTED) {
            if admitted.contains(letter) {
                assert_eq!(refusal(raw(&wire, rpc, message).await), (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()), "{rpc}");
            }
        }
    }
    assert_eq!(suite.balance(1).await.version, 0);
    // Also when only one of several names lies in another program, and then for everybody.
    let request = with(award(1, "p1", 100), |request| input(request).store = "programs/coffee/stores/s1".to_owned());
    assert_eq!(wrong_fields(suite.platform().award(request).await), ["purchase.store"]);
}

/// A wire of a role that the RPC admits.
async fn admitted(suite: &Suite, rpc: &str) -> Wire {
    let (_, letters) = ADMITTED.iter().find(|(name, _)| *name == rpc).unwrap();
    let (role, _) = ROLES.iter().find(|(_, letter)| letters.contains(*letter)).unwrap();
    suite.wire(*role, Programs::All).await
}

async fn a_program_must_exist(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (rpc, message) in every_rpc("programs/cocoa") {
        let wire = admitted(&suite, rpc).await;
        let reason = match rpc {
            "GetOperation" => "OPERATION_NOT_FOUND",
            "GetProgramVersion" => "PROGRAM_VERSION_NOT_FOUND",
            _ => "PROGRAM_NOT_FOUND",
        };
        assert_eq!(refusal(raw(&wire, rpc, message).await), (Code::NotFound, reason.to_owned()), "{rpc}");
    }
}

async fn points_need_terms(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for (rpc, message) in every_rpc("programs/coffee") {
        let wire = admitted(&suite, rpc).await;
        let answer = raw(&wire, rpc, message).await.map(|_| ()).map_err(|status| code_and_reason(&status));
        let expected = match rpc {
            "GetBalance" | "ListEntries" | "StreamEntries" | "ListProgramVersions" | "ListBudgets" | "SettleDue" => Ok(()),
            "GetBudget" => Err((Code::NotFound, "BUDGET_NOT_FOUND".to_owned())),
            "CreateProgramVersion" | "ValidateTerms" | "ExportProgram" | "ImportProgram" | "SimulateTerms" => Ok(()),
            // By then the first version holds.
            "ScheduleProgramVersion" => Err((Code::FailedPrecondition, "VERSION_NOT_DRAFT".to_owned())),
            "RetireProgramVersion" => Err((Code::FailedPrecondition, "VERSION_STARTED".to_owned())),
            "RollBackProgram" => Err((Code::FailedPrecondition, "VERSION_NOT_SUPERSEDED".to_owned())),
            "GetPool" => Err((Code::NotFound, "POOL_NOT_FOUND".to_owned())),
            "GetPurchase" => Err((Code::NotFound, "PURCHASE_NOT_FOUND".to_owned())),
            "GetOperation" => Err((Code::NotFound, "OPERATION_NOT_FOUND".to_owned())),
            // By then the first version has been made.
            "GetProgramVersion" => Ok(()),
            _ => Err((Code::FailedPrecondition, "PROGRAM_VERSION_MISSING".to_owned())),
        };
        assert_eq!(answer, expected, "{rpc}");
    }
    // It is not remembered: with terms the same request earns.
    let (_, message) = every_rpc("programs/coffee").swap_remove(1);
    raw(&admitted(&suite, "Award").await, "Award", message).await.unwrap();
}
