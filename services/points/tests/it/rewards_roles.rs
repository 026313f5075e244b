//! Who may call what of rewards, and in which programs.

use std::collections::BTreeSet;

use proto::common::Role;
use rpc::Programs;
use testkit::TestEngine;
use tonic::Code;

use super::requests::*;
use super::rewards_requests::*;
use super::roles::ROLES;
use super::suite::*;

testkit::on_each_engine!(each_rpc_of_rewards_admits_its_roles, a_reward_is_of_one_program);

async fn each_rpc_of_rewards_admits_its_roles(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let served = proto::access::RPCS.iter().filter_map(|rpc| rpc.path.strip_prefix("/regulars.points.v1.RewardsService/"));
    let known = every_reward_rpc(TEA).into_iter().map(|(rpc, _, _)| rpc);
    assert_eq!(served.collect::<BTreeSet<_>>(), known.collect());
    for (role, letter) in ROLES {
        let wire = suite.wire(role, Programs::All).await;
        for (rpc, admitted, message) in every_reward_rpc(TEA) {
            let refused = raw_of(&wire, "RewardsService", rpc, message).await.err().map(|status| code_and_reason(&status));
            let by_role = refused == Some((Code::PermissionDenied, "ROLE_NOT_ADMITTED".to_owned()));
            assert_eq!(by_role, !admitted.contains(letter), "{rpc} by {role:?}: {refused:?}");
        }
    }
    suite.stop().await;
}

async fn a_reward_is_of_one_program(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let coffee = Programs::Only(["coffee".to_owned()].into());
    for (role, letter) in ROLES {
        let wire = suite.wire(role, coffee.clone()).await;
        for (rpc, _, message) in every_reward_rpc(TEA).into_iter().filter(|(_, admitted, _)| admitted.contains(letter)) {
            let refused = refusal(raw_of(&wire, "RewardsService", rpc, message).await);
            assert_eq!(refused, (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED".to_owned()), "{rpc}");
        }
    }
    for (rpc, letters, message) in every_reward_rpc("programs/cocoa") {
        let (role, _) = ROLES.iter().find(|(_, letter)| letters.contains(*letter)).unwrap();
        let wire = suite.wire(*role, Programs::All).await;
        let refused = refusal(raw_of(&wire, "RewardsService", rpc, message).await);
        assert_eq!(refused, (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()), "{rpc}");
    }
    // A code of one program is none of another's.
    let mut platform = rewards(&suite, Role::Platform).await;
    let code = platform.grant_voucher(grant(1, "k", off(100))).await.unwrap().into_inner().code;
    let elsewhere = with(check(&code, basket("a", 1_000)), |request| request.parent = "programs/coffee".to_owned());
    assert_eq!(refusal(platform.check_voucher(elsewhere).await), (Code::NotFound, "VOUCHER_NOT_FOUND".to_owned()));
    // Nothing of another program can be redeemed, whoever asks.
    let request = with(have(1, "mug"), |request| request.reward = "programs/coffee/rewards/mug".to_owned());
    assert_eq!(wrong_fields(platform.redeem_reward(request).await), ["reward"]);
    // Without terms nothing can be spent; vouchers can be given.
    let coffee = |name: String| name.replace(TEA, "programs/coffee");
    let mut admin = rewards(&suite, Role::Administrator).await;
    admin.create_reward(with(create("mug", 1), |request| request.parent = "programs/coffee".to_owned())).await.unwrap();
    let request = with(have(1, "mug"), |request| (request.member, request.reward) = (coffee(member(1)), coffee(reward_name("mug"))));
    assert_eq!(precondition(platform.redeem_reward(request).await), "PROGRAM_VERSION_MISSING");
    platform.grant_voucher(with(grant(1, "k", off(100)), |request| request.parent = coffee(member(1)))).await.unwrap();
    suite.stop().await;
}
