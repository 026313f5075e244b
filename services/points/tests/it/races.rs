//! Many callers at once on one server.

use futures::future::join_all;
use testkit::TestEngine;

use super::requests::*;
use super::suite::*;

testkit::on_each_engine!(
    one_request_many_times_has_one_effect,
    one_purchase_under_many_ids_has_one_effect,
    points_are_spent_once,
    a_hold_ends_one_way,
    a_busy_hour_leaves_clean_books,
);

async fn one_request_many_times_has_one_effect(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let wire = suite.wire(proto::common::Role::Platform, rpc::Programs::All).await;
    for (rpc, message) in
        [("Award", prost::Message::encode_to_vec(&award(1, "p1", 10_000))), ("Redeem", prost::Message::encode_to_vec(&redeem(1, 30)))]
    {
        let calls = (0..200).map(|_| raw(&wire, rpc, message.clone()));
        let answers: Vec<_> = join_all(calls).await.into_iter().map(|answer| answer.unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
        assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
    }
    // A refusal too.
    let message = prost::Message::encode_to_vec(&redeem(1, 71));
    let answers = join_all((0..50).map(|_| raw(&wire, "Redeem", message.clone()))).await;
    let details: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err()).collect();
    assert!(details.iter().all(|status| status.details() == details[0].details()));
    assert_eq!(details.iter().filter(|status| !status.metadata().contains_key("regulars-replayed")).count(), 1);
    assert_eq!(suite.story(1).await, ["AWARD 100", "REDEEM -30"]);
    suite.verified().await;
}

async fn one_purchase_under_many_ids_has_one_effect(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for buyer in [0, 1] {
        let id = format!("p{buyer}");
        let calls = (0..50).map(|_| {
            let mut platform = suite.platform();
            let request = award(buyer, &id, 10_000);
            async move { platform.award(request).await.unwrap() }
        });
        let answers = join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
        assert!(answers.iter().all(|answer| answer.get_ref() == answers[0].get_ref()));
    }
    // The same id by many buyers: one has bought it.
    let calls = (2..=41).map(|buyer| {
        let mut platform = suite.platform();
        async move { platform.award(award(buyer, "contested", 10_000)).await }
    });
    let (bought, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((bought.len(), refused.len()), (1, 39));
    assert!(refused.into_iter().all(|answer| refusal(answer).1 == "PURCHASE_EXISTS"));
    assert_eq!(suite.verified().await.points["tea"], 200);
}

/// Twenty at once for 100 points each: as many get them as there are hundreds, and the rest learn how many are missing.
async fn points_are_spent_once(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    for hundreds in 0..=3_i64 {
        let owner = 1 + u128::from(hundreds.unsigned_abs());
        let left = 7 * hundreds;
        suite.award(owner, &format!("p{hundreds}"), 100 * (100 * hundreds + left)).await;
        let calls = (0..20).map(|_| {
            let mut platform = suite.platform();
            async move { platform.redeem(redeem(owner, 100)).await }
        });
        let (spent, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!(spent.len(), usize::try_from(hundreds).unwrap(), "one success for each hundred");
        assert!(spent.into_iter().all(|answer| answer.unwrap().into_inner().actual_points == -100));
        for answer in refused {
            assert_eq!(metadata(&answer, "missing_points"), (100 - left).to_string());
            assert_eq!(precondition(answer), "INSUFFICIENT_POINTS");
        }
        assert_eq!(suite.figures(owner).await, (left, 0, 0, 0));
        assert_eq!(suite.entries(owner).await.len(), 1 + usize::try_from(hundreds).unwrap());
    }
    suite.verified().await;
}

async fn a_hold_ends_one_way(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.award(1, "p1", 10_000).await;
    for _ in 0..5 {
        let held = hold(&suite.reserve(1, 10).await);
        let ends =
            (0..20).map(|number| {
                let (mut platform, held) = (suite.platform(), held.clone());
                async move {
                    if number % 2 == 0 { platform.capture(capture(&held, Some(7))).await } else { platform.release(release(&held)).await }
                }
            });
        let ended = join_all(ends).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(ended, 1);
    }
    let spent = suite.entries(1).await.iter().filter(|entry| entry.points == -7).count();
    assert_eq!(suite.figures(1).await, (100 - 7 * i64::try_from(spent).unwrap(), 0, 0, 0));
    suite.verified().await;
}

async fn a_busy_hour_leaves_clean_books(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let lives = (1..=25_u128).map(|owner| {
        let mut platform = suite.platform();
        async move {
            for number in 0..6 {
                let id = format!("p{owner}-{number}");
                platform.award(award_lines(owner, &id, &[("a", 3, 4_000), ("b", 1, 2_500)])).await.unwrap();
                let (spends, holds, returns) = (&mut platform.clone(), &mut platform.clone(), &mut platform.clone());
                let (_, held, _) = tokio::join!(
                    spends.redeem(up_to(owner, 40)),
                    holds.reserve(reserve(owner, 20)),
                    returns.return_purchase(give_back(&id, &[("a", 1 + number % 2)])),
                );
                let Ok(held) = held else { continue };
                let held = hold(held.get_ref());
                if number % 2 == 0 {
                    platform.capture(capture(&held, Some(number))).await.unwrap();
                } else {
                    platform.release(release(&held)).await.unwrap();
                }
            }
        }
    });
    join_all(lives).await;
    let report = suite.verified().await;
    assert_eq!((report.accounts, report.points.len()), (25, 1));
    let mut balances = 0;
    for owner in 1..=25 {
        let (active, pending, reserved, owed) = suite.figures(owner).await;
        balances += active + pending + reserved - owed;
    }
    assert_eq!(report.points["tea"], i128::from(balances));
}
