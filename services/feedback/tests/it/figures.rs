//! What the answers amount to.

use proto::common::Role;
use proto::events::PurchaseRecorded;
use proto::feedback as pb;
use rpc::wire::timestamp;
use testkit::TestEngine;
use tonic::Code;

use crate::suite::{DAY, PROGRAM, Suite, recorded, refused, submit_by_name, survey, wrong_field};

testkit::on_each_engine!(the_worked_example_comes_out, few_answers_show_nothing, sampling_asks_its_share);

fn nps(id: &str) -> pb::GetNpsRequest {
    pb::GetNpsRequest { survey: format!("{PROGRAM}/surveys/{id}"), ..pb::GetNpsRequest::default() }
}

/// Lets members `first..` give these scores about purchases in a store.
async fn answers(suite: &Suite, first: u128, store: &str, scores: &[i32]) {
    for (member, _) in (first..).zip(scores) {
        let purchase = PurchaseRecorded { store: format!("{PROGRAM}/stores/{store}"), ..recorded(&format!("p{member}")) };
        suite.tell_purchase(member, purchase, suite.now() - 3 * DAY, false).await;
    }
    let mut back_end = suite.client(Role::Platform).await;
    for (member, score) in (first..).zip(scores) {
        let invitation = suite.invitation(member, pb::invitation::State::Due).await;
        back_end.submit_response(submit_by_name(&invitation.name, *score, &format!("answer-{member}"))).await.unwrap();
    }
}

async fn the_worked_example_comes_out(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let scores: Vec<i32> = [(43, 3), (32, 7), (25, 10)].iter().flat_map(|&(count, score)| std::iter::repeat_n(score, count)).collect();
    answers(&suite, 1, "s1", &scores).await;
    let mut analyst = suite.client(Role::Analyst).await;
    let report = analyst.get_nps(nps("nps")).await.unwrap().into_inner();
    assert_eq!((report.detractor_count, report.passive_count, report.promoter_count), (Some(43), Some(32), Some(25)));
    assert_eq!((report.response_count, report.nps), (Some(100), Some(-18.0)));
    assert!((report.interval_low.unwrap() + 32.98).abs() < 0.005 && (report.interval_high.unwrap() + 1.98).abs() < 0.005);
    assert_eq!((report.delivered_count, report.completed_count, report.response_rate), (Some(100), Some(100), Some(1.0)));
    assert!(report.flags.is_empty());

    // Another store on another day; two more are asked and do not answer.
    suite.clock.advance(DAY);
    answers(&suite, 1001, "s2", &[9; 12]).await;
    for member in [2001, 2002] {
        let purchase = PurchaseRecorded { store: format!("{PROGRAM}/stores/s2"), ..recorded(&format!("p{member}")) };
        suite.tell_purchase(member, purchase, suite.now() - 3 * DAY, false).await;
        let invitation = suite.invitation(member, pb::invitation::State::Due).await;
        suite.token(&invitation, &format!("send-{member}")).await;
    }
    let by_store = pb::GetNpsRequest { store: format!("{PROGRAM}/stores/s2"), ..nps("nps") };
    let by_time = pb::GetNpsRequest { start_time: Some(timestamp(suite.now())), ..nps("nps") };
    for request in [by_store, by_time] {
        let report = analyst.get_nps(request).await.unwrap().into_inner();
        assert_eq!((report.response_count, report.nps, report.interval_high), (Some(12), Some(100.0), Some(100.0)));
        assert_eq!((report.delivered_count, report.completed_count), (Some(14), Some(12)));
        assert!((report.response_rate.unwrap() - 12.0 / 14.0).abs() < 1e-12);
        assert_eq!(report.flags, [i32::from(pb::SampleFlag::LowSample)]);
    }
    let before = pb::GetNpsRequest { end_time: Some(timestamp(suite.now())), ..nps("nps") };
    assert_eq!(analyst.get_nps(before).await.unwrap().into_inner().response_count, Some(100));
    let turned = pb::GetNpsRequest { start_time: Some(timestamp(suite.now())), end_time: Some(timestamp(testkit::START)), ..nps("nps") };
    assert_eq!(wrong_field(analyst.get_nps(turned).await), "end_time");
    assert_eq!(refused(analyst.get_nps(nps("none")).await), (Code::NotFound, "SURVEY_NOT_FOUND".to_owned()));
}

async fn few_answers_show_nothing(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("nps", survey()).await;
    let mut analyst = suite.client(Role::Analyst).await;
    let flags = vec![pb::SampleFlag::LowSample.into(), pb::SampleFlag::Hidden.into()];
    let hidden = pb::GetNpsResponse { flags, ..pb::GetNpsResponse::default() };
    assert_eq!(analyst.get_nps(nps("nps")).await.unwrap().into_inner(), hidden);
    answers(&suite, 1, "s1", &[0; 9]).await;
    assert_eq!(analyst.get_nps(nps("nps")).await.unwrap().into_inner(), hidden);
    answers(&suite, 10, "s1", &[0]).await;
    assert_eq!(analyst.get_nps(nps("nps")).await.unwrap().into_inner().nps, Some(-100.0));
}

async fn sampling_asks_its_share(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    suite.activate("half", pb::Survey { sampling_percent: Some(50), ..survey() }).await;
    for member in 1..=40 {
        suite.buy(member, &format!("p{member}")).await;
    }
    let mut sampled_out = 0;
    for member in 1..=40 {
        let invitations = testkit::eventually(async || Some(suite.invitations(member).await).filter(|found| !found.is_empty())).await;
        let reason = pb::invitation::SuppressReason::SampledOut;
        sampled_out += usize::from(invitations[0].suppress_reason() == reason);
    }
    // The choice is a hash, so this is the same in every run.
    assert!((10..=30).contains(&sampled_out), "{sampled_out} of 40");
}
