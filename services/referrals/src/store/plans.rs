use std::time::Duration;

use kernel::{Money, ProgramId};
use persistence::{DbTime, Error, Tx, on_engine};

use super::{corrupt, read_currency, read_plan_id, read_program};
use crate::domain::{Plan, PlanId};

#[derive(sqlx::FromRow)]
struct PlanRow {
    program_id: String,
    plan_id: String,
    version: i64,
    display_name: String,
    public_title: String,
    public_text: String,
    advocate_points: Option<i64>,
    friend_points: Option<i64>,
    minimum_minor: i64,
    currency: String,
    within_us: i64,
    attribution_window_us: i64,
    hold_us: i64,
    advocate_reward_limit: Option<i64>,
    create_time: DbTime,
}

impl PlanRow {
    fn read(self) -> Result<Plan, Error> {
        Ok(Plan {
            program: read_program(&self.program_id)?,
            id: read_plan_id(&self.plan_id)?,
            version: self.version,
            display_name: self.display_name,
            public_title: self.public_title,
            public_text: self.public_text,
            advocate_points: self.advocate_points,
            friend_points: self.friend_points,
            minimum_net: Money { currency: read_currency(&self.currency)?, minor: self.minimum_minor },
            within: read_span(self.within_us, "within_us")?,
            attribution_window: read_span(self.attribution_window_us, "attribution_window_us")?,
            hold: read_span(self.hold_us, "hold_us")?,
            advocate_reward_limit: self.advocate_reward_limit,
            create_time: self.create_time.into(),
        })
    }
}

/// Writes a new version. `Unique` when it exists.
pub(crate) async fn insert_plan(tx: &mut Tx, plan: &Plan) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO plans (program_id, plan_id, version, display_name, public_title, public_text, advocate_points, friend_points,
                            minimum_minor, currency, within_us, attribution_window_us, hold_us, advocate_reward_limit, create_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(plan.program.as_str())
    .bind(plan.id.as_str())
    .bind(plan.version)
    .bind(&*plan.display_name)
    .bind(&*plan.public_title)
    .bind(&*plan.public_text)
    .bind(plan.advocate_points)
    .bind(plan.friend_points)
    .bind(plan.minimum_net.minor)
    .bind(plan.minimum_net.currency.as_str())
    .bind(span(plan.within))
    .bind(span(plan.attribution_window))
    .bind(span(plan.hold))
    .bind(plan.advocate_reward_limit)
    .bind(DbTime(plan.create_time))
    .execute(conn)
    .await
    .map(drop))?;
    Ok(())
}

/// A version of a plan.
pub(crate) async fn plan(tx: &mut Tx, program: &ProgramId, id: &PlanId, version: i64) -> Result<Option<Plan>, Error> {
    let row: Option<PlanRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, plan_id, version, display_name, public_title, public_text, advocate_points, friend_points,
                minimum_minor, currency, within_us, attribution_window_us, hold_us, advocate_reward_limit, create_time
           FROM plans WHERE program_id = $1 AND plan_id = $2 AND version = $3",
    )
    .bind(program.as_str())
    .bind(id.as_str())
    .bind(version)
    .fetch_optional(conn)
    .await)?;
    row.map(PlanRow::read).transpose()
}

/// The newest version of a plan.
pub(crate) async fn newest_plan(tx: &mut Tx, program: &ProgramId, id: &PlanId) -> Result<Option<Plan>, Error> {
    let row: Option<PlanRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, plan_id, version, display_name, public_title, public_text, advocate_points, friend_points,
                minimum_minor, currency, within_us, attribution_window_us, hold_us, advocate_reward_limit, create_time
           FROM plans WHERE program_id = $1 AND plan_id = $2 ORDER BY version DESC LIMIT 1",
    )
    .bind(program.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await)?;
    row.map(PlanRow::read).transpose()
}

/// Plans in their newest version, by id, after an id ("" for all).
pub(crate) async fn plans_after(tx: &mut Tx, program: &ProgramId, after: &str, limit: i64) -> Result<Vec<Plan>, Error> {
    let rows: Vec<PlanRow> = on_engine!(tx, |conn| sqlx::query_as(
        "SELECT program_id, plan_id, version, display_name, public_title, public_text, advocate_points, friend_points,
                minimum_minor, currency, within_us, attribution_window_us, hold_us, advocate_reward_limit, create_time
           FROM plans AS newest
          WHERE program_id = $1 AND plan_id > $2
            AND version = (SELECT max(version) FROM plans WHERE program_id = newest.program_id AND plan_id = newest.plan_id)
          ORDER BY plan_id LIMIT $3",
    )
    .bind(program.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(PlanRow::read).collect()
}

fn span(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).expect("the contract allows ten years at most")
}

fn read_span(micros: i64, column: &str) -> Result<Duration, Error> {
    u64::try_from(micros).map(Duration::from_micros).map_err(|_| corrupt(column))
}
