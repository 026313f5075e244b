//! Every RPC against its own contract: who is let in, what is refused, and that no input is a fault of the server.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use prost_reflect::MessageDescriptor;
use proto::access::{RPCS, Rpc};
use testkit::TestEngine;
use tonic::{Code, Status};

use super::raw;
use super::sample::{names_a_program, sample};
use super::suite::{ROLES, Suite, TEA, reason};

testkit::on_each_engine!(
    nobody_gets_in_without_a_key_of_a_role_that_is_admitted,
    no_input_is_a_fault_of_the_server,
    a_key_for_one_program_opens_no_other,
);

async fn nobody_gets_in_without_a_key_of_a_role_that_is_admitted(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let channel = suite.channel("points");
    let served: BTreeSet<&str> = RPCS.iter().map(|rpc| rpc.service.rsplit('.').next().unwrap()).collect();
    let expected = [
        "DirectoryService",
        "EventFeedService",
        "FeedbackService",
        "MembersService",
        "PointsService",
        "ReferralsService",
        "RewardsService",
        "TiersService",
    ];
    assert_eq!(served, BTreeSet::from(expected));
    for rpc in RPCS {
        for (secret, why) in [(None, "CREDENTIAL_MISSING"), (Some("rk_0_0"), "CREDENTIAL_INVALID")] {
            let refusal = raw::call(&channel, rpc, secret, Vec::new()).await.expect_err(rpc.path);
            assert_eq!((refusal.code(), &*reason(&refusal)), (Code::Unauthenticated, why), "{}", rpc.path);
        }
        for role in ROLES.into_iter().filter(|role| !rpc.roles.contains(role)) {
            let refusal = raw::call(&channel, rpc, Some(suite.secret(role)), Vec::new()).await.expect_err(rpc.path);
            assert_eq!((refusal.code(), &*reason(&refusal)), (Code::PermissionDenied, "ROLE_NOT_ADMITTED"), "{role:?} {}", rpc.path);
        }
    }
    suite.stop().await;
}

/// Nothing, no protobuf at all, and everything set to something: each is answered or refused for a reason that the caller can
/// do something about.
async fn no_input_is_a_fault_of_the_server(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let channel = suite.channel("points");
    for rpc in RPCS {
        let full = sample(&input(rpc), "tea").encode_to_vec();
        for role in rpc.roles {
            let secret = Some(suite.secret(*role));
            for (what, message) in [("nothing", Vec::new()), ("everything", full.clone())] {
                let answer = raw::call(&channel, rpc, secret, message).await;
                assert!(is_callers_matter(&answer), "{role:?} sends {what} to {}: {answer:?}", rpc.path);
            }
            let garbage = raw::call(&channel, rpc, secret, vec![0xff; 40]).await.expect_err(rpc.path);
            assert_eq!(garbage.code(), Code::InvalidArgument, "{}: {garbage:?}", rpc.path);
        }
    }
    suite.stop().await;
}

fn is_callers_matter<T>(answer: &Result<T, Status>) -> bool {
    let of_callers =
        [Code::InvalidArgument, Code::NotFound, Code::AlreadyExists, Code::PermissionDenied, Code::FailedPrecondition, Code::OutOfRange];
    answer.as_ref().err().is_none_or(|status| of_callers.contains(&status.code()))
}

async fn a_key_for_one_program_opens_no_other(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let channel = suite.channel("points");
    let mut secrets = HashMap::new();
    for role in ROLES {
        secrets.insert(role, suite.new_secret(role, &[TEA], "").await);
    }
    let mut nameless = Vec::new();
    for rpc in RPCS {
        if !names_a_program(&input(rpc)) {
            nameless.push(rpc.method);
            continue;
        }
        let message = sample(&input(rpc), "coffee").encode_to_vec();
        for role in rpc.roles {
            let refusal = raw::call(&channel, rpc, Some(&secrets[role]), message.clone()).await.expect_err(rpc.path);
            let expected = (Code::PermissionDenied, "PROGRAM_NOT_ADMITTED");
            assert_eq!((refusal.code(), &*reason(&refusal)), expected, "{role:?} {}: {refusal:?}", rpc.path);
        }
    }
    // These name no program. What they show or do is filtered by the key, which the tests of the directory and the feed prove.
    assert_eq!(nameless, ["CreateProgram", "ListApiKeys", "ListPrograms", "RevokeApiKey", "Subscribe"]);
    suite.stop().await;
}

fn input(rpc: &Rpc) -> MessageDescriptor {
    proto::descriptor_pool().get_message_by_name(rpc.input).expect("every RPC's input is in the set")
}
