use kernel::{MemberId, ProgramId, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::{read_code, read_plan_id, read_program};
use crate::domain::{Code, CodeText, PlanId};

#[derive(sqlx::FromRow)]
struct CodeRow {
    program_id: String,
    code: String,
    advocate: Uuid,
    plan_id: String,
    display_label: String,
    use_limit: Option<i64>,
    use_count: i64,
    reward_count: i64,
    expire_time: Option<DbTime>,
    create_time: DbTime,
    revoke_time: Option<DbTime>,
}

impl CodeRow {
    fn read(self) -> Result<Code, Error> {
        Ok(Code {
            program: read_program(&self.program_id)?,
            text: read_code(&self.code)?,
            advocate: MemberId(self.advocate),
            plan: read_plan_id(&self.plan_id)?,
            display_label: self.display_label,
            use_limit: self.use_limit,
            use_count: self.use_count,
            reward_count: self.reward_count,
            expire_time: self.expire_time.map(Into::into),
            create_time: self.create_time.into(),
            revoke_time: self.revoke_time.map(Into::into),
        })
    }
}

/// Writes a new code, unless the advocate has one for the plan, or the same text was drawn before: then `false`.
pub(crate) async fn insert_code(tx: &mut Tx, code: &Code) -> Result<bool, Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO codes (program_id, code, advocate, plan_id, display_label, use_limit, use_count, reward_count,
                            expire_time, create_time, revoke_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(code.program.as_str())
    .bind(code.text.as_str())
    .bind(code.advocate.0)
    .bind(code.plan.as_str())
    .bind(&*code.display_label)
    .bind(code.use_limit)
    .bind(code.use_count)
    .bind(code.reward_count)
    .bind(code.expire_time.map(DbTime))
    .bind(DbTime(code.create_time))
    .bind(code.revoke_time.map(DbTime))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(written == 1)
}

/// The code with this text.
pub(crate) async fn code(tx: &mut Tx, program: &ProgramId, text: &CodeText) -> Result<Option<Code>, Error> {
    let row: Option<CodeRow> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT program_id, code, advocate, plan_id, display_label, use_limit, use_count, reward_count, expire_time, create_time, revoke_time
           FROM codes WHERE program_id = $1 AND code = $2",
    )
    .bind(program.as_str())
    .bind(text.as_str())
    .fetch_optional(conn)
    .await
    })?;
    row.map(CodeRow::read).transpose()
}

/// The code of an advocate for a plan.
pub(crate) async fn code_of(tx: &mut Tx, program: &ProgramId, advocate: MemberId, plan: &PlanId) -> Result<Option<Code>, Error> {
    let row: Option<CodeRow> = on_engine!(tx, |conn| {
        sqlx::query_as(
        "SELECT program_id, code, advocate, plan_id, display_label, use_limit, use_count, reward_count, expire_time, create_time, revoke_time
           FROM codes WHERE program_id = $1 AND advocate = $2 AND plan_id = $3",
    )
    .bind(program.as_str())
    .bind(advocate.0)
    .bind(plan.as_str())
    .fetch_optional(conn)
    .await
    })?;
    row.map(CodeRow::read).transpose()
}

/// The code with this text, which nobody else can change until the transaction ends. An update that changes nothing locks the row
/// and reads it as it is after the wait, on both engines.
pub(crate) async fn locked_code(tx: &mut Tx, program: &ProgramId, text: &CodeText) -> Result<Option<Code>, Error> {
    let row: Option<CodeRow> = on_engine!(tx, |conn| sqlx::query_as(
        "UPDATE codes SET use_count = use_count WHERE program_id = $1 AND code = $2
         RETURNING program_id, code, advocate, plan_id, display_label, use_limit, use_count, reward_count,
                   expire_time, create_time, revoke_time",
    )
    .bind(program.as_str())
    .bind(text.as_str())
    .fetch_optional(conn)
    .await)?;
    row.map(CodeRow::read).transpose()
}

/// Writes back what can change of a locked code.
pub(crate) async fn update_code(tx: &mut Tx, code: &Code) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("UPDATE codes SET use_count = $1, revoke_time = $2 WHERE program_id = $3 AND code = $4")
        .bind(code.use_count)
        .bind(code.revoke_time.map(DbTime))
        .bind(code.program.as_str())
        .bind(code.text.as_str())
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Counts one more reward for the advocate of a code; `false` when the limit is reached.
pub(crate) async fn take_reward(tx: &mut Tx, program: &ProgramId, text: &CodeText, limit: Option<i64>) -> Result<bool, Error> {
    let written = on_engine!(tx, |conn| sqlx::query(
        "UPDATE codes SET reward_count = reward_count + 1 WHERE program_id = $1 AND code = $2 AND reward_count < $3",
    )
    .bind(program.as_str())
    .bind(text.as_str())
    .bind(limit.unwrap_or(i64::MAX))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(written == 1)
}

/// Counts one reward less: it is taken back, or could not be given.
pub(crate) async fn return_reward(tx: &mut Tx, program: &ProgramId, text: &CodeText) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query("UPDATE codes SET reward_count = reward_count - 1 WHERE program_id = $1 AND code = $2")
        .bind(program.as_str())
        .bind(text.as_str())
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}
