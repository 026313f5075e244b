//! A server that has too much to do says so, and loses nothing.

use std::time::Duration;

use testkit::TestEngine;
use tonic::Code;
use tonic_types::StatusExt;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(who_waits_too_long_is_told, a_full_server_refuses_at_once);

async fn who_waits_too_long_is_told(engine: TestEngine) {
    let suite = Suite::configured(engine, |config| config.server.deadline_ms_default = 1_500).await;
    suite.award(1, "p1", 10_000).await;
    let held = suite.lock(1).await;
    // The first is under way and waits for the account; the second waits for the first.
    let (under_way, waiting) = (redeem(1, 10), redeem(1, 20));
    let mut platform = suite.platform();
    let (mut first, mut second) = (platform.clone(), platform.clone());
    let calls = async {
        tokio::join!(first.redeem(under_way.clone()), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            second.redeem(waiting.clone()).await
        })
    };
    let (one, other) = calls.await;
    assert_eq!(refusal(one), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(refusal(other), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    drop(held);
    // A caller that hung up does not stop what is under way; what had not begun by its deadline never does.
    let first = testkit::eventually(async || platform.clone().get_operation(answer_to(&under_way.request_id)).await).await;
    suite.award(1, "p2", 100).await;
    assert_eq!(refusal(platform.get_operation(answer_to(&waiting.request_id)).await).1, "OPERATION_NOT_FOUND");
    assert_eq!(suite.story(1).await, ["AWARD 100", "REDEEM -10", "AWARD 1"]);
    let again = platform.redeem(under_way).await.unwrap();
    assert!(replayed(&again));
    assert_eq!(again.into_inner(), first.into_inner());
    assert!(!replayed(&platform.redeem(waiting).await.unwrap()));
    suite.verified().await;
}

async fn a_full_server_refuses_at_once(engine: TestEngine) {
    let suite = Suite::configured(engine, |config| config.server.concurrent_requests_max = 4).await;
    suite.award(1, "p1", 10_000).await;
    let held = suite.lock(1).await;
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let platform = suite.platform();
            tokio::spawn(async move {
                // A reader below may stand in the way for a moment.
                let request = redeem(1, 10);
                testkit::eventually(async || platform.clone().redeem(request.clone()).await).await
            })
        })
        .collect();
    let request = redeem(1, 10);
    let refused = testkit::eventually(async || {
        suite.platform().get_balance(proto::points::GetBalanceRequest { member: member(1), ..Default::default() }).await.err()
    })
    .await;
    assert_eq!(code_and_reason(&refused), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    let refused = suite.platform().redeem(request.clone()).await.unwrap_err();
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    drop(held);
    for call in waiting {
        call.await.unwrap();
    }
    assert!(!replayed(&suite.platform().redeem(request).await.unwrap()), "what was refused was not done");
    assert_eq!(suite.figures(1).await, (50, 0, 0, 0));
}
