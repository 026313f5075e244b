//! Plans.

use std::time::Duration;

use kernel::{Currency, Money, ProgramId};
use persistence::{RequestKey, retry};
use proto::referrals as pb;
use rpc::status::{self, Answer};
use rpc::wire::Page;
use tonic::{Request, Response, Status};

use super::{ReferralsRpcs, convert, first_answer, program};
use crate::domain::{Plan, PlanId};
use crate::error::Error;
use crate::store;

impl ReferralsRpcs {
    pub(super) async fn create_plan(&self, request: Request<pb::CreatePlanRequest>) -> Result<Response<pb::Plan>, Status> {
        let message = request.into_inner();
        let program = program("parent", &message.parent)?;
        let key = RequestKey::new(&self.keyring, &program, &message.request_id, &message);
        let plan = self.new_plan(program, &message).await?;
        let answer = retry(|| self.try_create_plan(&key, &plan)).await?;
        Ok(answer.into_response())
    }

    pub(super) async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::Plan>, Status> {
        let (program, id) = PlanId::from_name(&request.get_ref().name).map_err(|_| Error::PlanNotFound)?;
        let plan = self.read_plan(&program, &id).await?;
        Ok(Response::new(convert::plan(&plan)))
    }

    pub(super) async fn list_plans(&self, request: Request<pb::ListPlansRequest>) -> Result<Response<pb::ListPlansResponse>, Status> {
        let pb::ListPlansRequest { parent, page_size, page_token } = request.into_inner();
        let program = program("parent", &parent)?;
        let filter = ["plans", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().map_or("", |[after]| after.as_str());
        let plans = self.read_plans(&program, after, page.limit()).await?;
        let (plans, next_page_token) = page.cut(plans, |plan| [plan.id.to_string()]);
        Ok(Response::new(pb::ListPlansResponse { plans: plans.iter().map(convert::plan).collect(), next_page_token }))
    }

    /// Reads the first version of a plan out of a request. What the field rules cannot say is checked here.
    async fn new_plan(&self, program: ProgramId, message: &pb::CreatePlanRequest) -> Result<Plan, Status> {
        let known = self.directory.program(&program).await.map_err(Error::from)?.ok_or(Error::ProgramNotFound)?;
        let invalid = |field: &str, what: &str| status::bad_request([(field, what)]);
        let id = PlanId::parse(&message.plan_id).ok_or_else(|| invalid("plan_id", "must be 1 to 40 of a-z, 0-9 and -"))?;
        let pb::Plan {
            name: _,
            version: _,
            display_name,
            public_title,
            public_text,
            advocate_reward,
            friend_reward,
            qualification,
            attribution_window,
            hold,
            advocate_reward_limit,
            create_time: _,
        } = message.plan.clone().ok_or_else(|| invalid("plan", "must be set"))?;
        let Some(pb::qualification::Deed::FirstPurchase(pb::FirstPurchase { minimum_net, within })) = qualification.and_then(|q| q.deed)
        else {
            return Err(invalid("plan.qualification", "must have a deed"));
        };
        let minimum_net = money(minimum_net, known.currency)?;
        let (advocate_points, friend_points) = (points(advocate_reward), points(friend_reward));
        if advocate_points.is_none() && friend_points.is_none() {
            return Err(invalid("plan.friend_reward", "must be set when there is no advocate_reward"));
        }
        Ok(Plan {
            program,
            id,
            version: 1,
            display_name,
            public_title,
            public_text,
            advocate_points,
            friend_points,
            minimum_net,
            within: span(within),
            attribution_window: span(attribution_window),
            hold: span(hold),
            advocate_reward_limit: (advocate_reward_limit > 0).then(|| advocate_reward_limit.into()),
            create_time: self.context.now(),
        })
    }

    async fn try_create_plan(&self, request: &RequestKey, plan: &Plan) -> Result<Answer<pb::Plan>, Error> {
        let mut tx = self.database.begin().await?;
        if let Some(first) = first_answer(&mut tx, request).await? {
            return Ok(first);
        }
        store::insert_plan(&mut tx, plan).await.map_err(|error| match error {
            persistence::Error::Unique { .. } => Error::PlanExists,
            other => Error::Store(other),
        })?;
        let answer = convert::plan(plan);
        self.remember(&mut tx, request, &answer).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn read_plan(&self, program: &ProgramId, id: &PlanId) -> Result<Plan, Error> {
        let mut tx = self.database.read().await?;
        store::newest_plan(&mut tx, program, id).await?.ok_or(Error::PlanNotFound)
    }

    async fn read_plans(&self, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<Plan>, Error> {
        let mut tx = self.database.read().await?;
        Ok(store::plans_after(&mut tx, program, after, limit).await?)
    }
}

fn points(reward: Option<pb::Reward>) -> Option<i64> {
    let pb::reward::Kind::Points(points) = reward?.kind?;
    Some(points)
}

/// The field rules have seen to it that a span is not negative and ends within ten years. Cut to microseconds, as it is stored.
fn span(span: Option<prost_types::Duration>) -> Duration {
    let span = span.and_then(|span| Duration::try_from(span).ok()).unwrap_or_default();
    Duration::new(span.as_secs(), span.subsec_micros() * 1_000)
}

fn money(value: Option<proto::common::Money>, currency: Currency) -> Result<Money, Status> {
    const FIELD: &str = "plan.qualification.first_purchase.minimum_net";
    let value = value.unwrap_or_default();
    if value.currency_code != currency.as_str() {
        return Err(status::bad_request([(format!("{FIELD}.currency_code"), format!("must be the program's, {currency}"))]));
    }
    if value.minor_units < 0 {
        return Err(status::bad_request([(format!("{FIELD}.minor_units"), "must not be negative")]));
    }
    Ok(Money { currency, minor: value.minor_units })
}
