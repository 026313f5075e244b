use proto::referrals as pb;
use rpc::Role;
use testkit::{TestEngine, on_each_engine};
use tonic::Code;

use crate::suite::{Suite, bad_fields, money, plan, refusal};

on_each_engine!(a_plan_is_made_once_and_read, bad_plans_are_refused_by_field, plans_are_listed_in_pages);

fn create(plan_id: &str, plan: pb::Plan, request_id: &str) -> pb::CreatePlanRequest {
    pb::CreatePlanRequest {
        parent: "programs/tea".to_owned(),
        plan_id: plan_id.to_owned(),
        plan: Some(plan),
        request_id: request_id.to_owned(),
    }
}

async fn a_plan_is_made_once_and_read(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    let made = client.create_plan(create("invite", plan(), "r1")).await.unwrap();
    assert_eq!(made.metadata().get("regulars-replayed"), None);
    let made = made.into_inner();
    let expected = pb::Plan {
        name: "programs/tea/plans/invite".to_owned(),
        version: 1,
        create_time: Some(rpc::wire::timestamp(testkit::START)),
        ..plan()
    };
    assert_eq!(made, expected);

    let again = client.create_plan(create("invite", plan(), "r1")).await.unwrap();
    assert_eq!(again.metadata().get("regulars-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), made);
    assert_eq!(refusal(client.create_plan(create("invite", plan(), "r2")).await), (Code::AlreadyExists, "PLAN_EXISTS".to_owned()));
    let status = client.create_plan(create("other", plan(), "r1")).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!((&*info.reason, &*info.metadata["field"]), ("REQUEST_ID_REUSED", "plan_id"));

    let read = client.get_plan(pb::GetPlanRequest { name: made.name.clone() }).await.unwrap().into_inner();
    assert_eq!(read, made);
    for name in ["programs/tea/plans/none", "programs/coffee/plans/invite", "programs/tea/plans/In.Vite"] {
        let answer = client.get_plan(pb::GetPlanRequest { name: name.to_owned() }).await;
        assert_eq!(refusal(answer), (Code::NotFound, "PLAN_NOT_FOUND".to_owned()), "{name}");
    }
}

async fn bad_plans_are_refused_by_field(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    let first_purchase = |change: fn(&mut pb::FirstPurchase)| {
        move |plan: &mut pb::Plan| {
            let Some(pb::qualification::Deed::FirstPurchase(deed)) = &mut plan.qualification.as_mut().unwrap().deed else { unreachable!() };
            change(deed);
        }
    };
    type Change = Box<dyn Fn(&mut pb::Plan)>;
    let cases: Vec<(&str, Change)> = vec![
        ("plan.display_name", Box::new(|plan| plan.display_name.clear())),
        ("plan.public_title", Box::new(|plan| plan.public_title = "x".repeat(201))),
        ("plan.qualification", Box::new(|plan| plan.qualification = None)),
        ("plan.qualification.deed", Box::new(|plan| plan.qualification = Some(pb::Qualification { deed: None }))),
        ("plan.qualification.first_purchase.minimum_net", Box::new(first_purchase(|deed| deed.minimum_net = None))),
        ("plan.qualification.first_purchase.minimum_net.minor_units", Box::new(first_purchase(|deed| deed.minimum_net = Some(money(-1))))),
        (
            "plan.qualification.first_purchase.minimum_net.currency_code",
            Box::new(first_purchase(|deed| deed.minimum_net.as_mut().unwrap().currency_code = "EUR".to_owned())),
        ),
        ("plan.qualification.first_purchase.within", Box::new(first_purchase(|deed| deed.within = None))),
        (
            "plan.qualification.first_purchase.within",
            Box::new(first_purchase(|deed| deed.within = Some(prost_types::Duration { seconds: 0, nanos: 1 }))),
        ),
        ("plan.hold", Box::new(|plan| plan.hold = Some(prost_types::Duration { seconds: -1, nanos: 0 }))),
        (
            "plan.attribution_window",
            Box::new(|plan| plan.attribution_window = Some(prost_types::Duration { seconds: 400_000_000, nanos: 0 })),
        ),
        ("plan.advocate_reward_limit", Box::new(|plan| plan.advocate_reward_limit = -1)),
        ("plan.advocate_reward.points", Box::new(|plan| plan.advocate_reward = Some(crate::suite::points(0)))),
        ("plan.friend_reward.kind", Box::new(|plan| plan.friend_reward = Some(pb::Reward { kind: None }))),
        (
            "plan.friend_reward",
            Box::new(|plan| {
                plan.advocate_reward = None;
                plan.friend_reward = None;
            }),
        ),
    ];
    for (field, change) in cases {
        let mut bad = plan();
        change(&mut bad);
        assert_eq!(bad_fields(client.create_plan(create("invite", bad, "r1")).await), [field]);
    }
    assert_eq!(bad_fields(client.create_plan(create("Invite", plan(), "r1")).await), ["plan_id"]);
    assert_eq!(bad_fields(client.create_plan(create("invite", plan(), "")).await), ["request_id"]);
    let elsewhere = pb::CreatePlanRequest { parent: "programs/none".to_owned(), ..create("invite", plan(), "r1") };
    assert_eq!(refusal(client.create_plan(elsewhere).await), (Code::NotFound, "PROGRAM_NOT_FOUND".to_owned()));

    // A request that was refused has left nothing behind: its id is free.
    let one_sided = pb::Plan { advocate_reward: None, hold: None, attribution_window: None, ..plan() };
    let made = client.create_plan(create("invite", one_sided, "r1")).await.unwrap().into_inner();
    assert_eq!((made.advocate_reward, made.hold.unwrap_or_default().seconds), (None, 0));
}

async fn plans_are_listed_in_pages(engine: TestEngine) {
    let suite = Suite::start(engine).await;
    let mut client = suite.client(Role::Administrator).await;
    for id in ["c", "a", "b", "a-b", "9"] {
        client.create_plan(create(id, plan(), id)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListPlansRequest { parent: "programs/tea".to_owned(), page_size: 2, page_token: page_token.clone() };
        let page = client.list_plans(request).await.unwrap().into_inner();
        assert!(page.plans.len() <= 2);
        seen.extend(page.plans.into_iter().map(|plan| plan.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let request = pb::ListPlansRequest { parent: "programs/coffee".to_owned(), page_size: 2, page_token: page_token.clone() };
        assert_eq!(bad_fields(client.list_plans(request).await), ["page_token"]);
    }
    assert_eq!(seen, ["9", "a", "a-b", "b", "c"].map(|id| format!("programs/tea/plans/{id}")));
    let other = pb::ListPlansRequest { parent: "programs/coffee".to_owned(), ..pb::ListPlansRequest::default() };
    assert!(client.list_plans(other).await.unwrap().into_inner().plans.is_empty());
}
