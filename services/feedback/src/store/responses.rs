use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Error, Tx, on_engine};

use super::{program_id, written};
use crate::domain::{Invitation, Response, Sealed, Survey};

#[derive(sqlx::FromRow)]
struct ResponseRow {
    program_id: String,
    response_id: Uuid,
    invitation_id: Uuid,
    survey_id: String,
    member_id: Uuid,
    purchase_id: String,
    store_id: String,
    score: i64,
    comment: Option<Vec<u8>>,
    answer_time: DbTime,
    edit_until_time: DbTime,
    update_time: DbTime,
    version: i64,
}

/// A query for whole responses; what follows FROM is given.
macro_rules! select_responses {
    ($($tail:tt)+) => {
        sqlx::query_as::<_, ResponseRow>(concat!(
            "SELECT program_id, response_id, invitation_id, survey_id, member_id, purchase_id, store_id, score, comment,
                    answer_time, edit_until_time, update_time, version
               FROM responses ",
            $($tail)+
        ))
    };
}

/// Writes a new response. A second one for an invitation is [`Error::Unique`].
pub(crate) async fn insert_response(tx: &mut Tx, response: &Response) -> Result<(), Error> {
    let Response {
        program,
        id,
        invitation,
        survey,
        member,
        purchase,
        store,
        score,
        comment,
        answer_time,
        edit_until_time,
        update_time,
        version,
    } = response;
    on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO responses (program_id, response_id, invitation_id, survey_id, member_id, purchase_id, store_id, score,
                                comment, answer_time, edit_until_time, update_time, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(program.as_str())
    .bind(id)
    .bind(invitation)
    .bind(survey)
    .bind(member.0)
    .bind(purchase)
    .bind(store)
    .bind(score)
    .bind(comment.as_ref().map(|sealed| sealed.0.as_slice()))
    .bind(DbTime(*answer_time))
    .bind(DbTime(*edit_until_time))
    .bind(DbTime(*update_time))
    .bind(version)
    .execute(conn)
    .await
    .map(|_| ()))?;
    Ok(())
}

/// Writes score and comment of a response that was read at the version before. A row changed since then is [`Error::Conflict`].
pub(crate) async fn update_response(tx: &mut Tx, response: &Response) -> Result<(), Error> {
    let rows = on_engine!(tx, |conn| sqlx::query(
        "UPDATE responses SET score = $3, comment = $4, update_time = $5, version = $6
          WHERE program_id = $1 AND response_id = $2 AND version = $6 - 1",
    )
    .bind(response.program.as_str())
    .bind(response.id)
    .bind(response.score)
    .bind(response.comment.as_ref().map(|sealed| sealed.0.as_slice()))
    .bind(DbTime(response.update_time))
    .bind(response.version)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    written(rows)
}

/// A response by its id.
pub(crate) async fn response(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Response>, Error> {
    let row = on_engine!(tx, |conn| select_responses!("WHERE program_id = $1 AND response_id = $2")
        .bind(program.as_str())
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(Response::try_from).transpose()
}

/// The response to an invitation.
pub(crate) async fn response_to(tx: &mut Tx, invitation: &Invitation) -> Result<Option<Response>, Error> {
    let row = on_engine!(tx, |conn| select_responses!("WHERE program_id = $1 AND invitation_id = $2")
        .bind(invitation.program.as_str())
        .bind(invitation.id)
        .fetch_optional(conn)
        .await)?;
    row.map(Response::try_from).transpose()
}

/// Responses in the order of their ids, after an id. An empty survey and no member do not narrow.
pub(crate) async fn responses(
    tx: &mut Tx,
    program: &ProgramId,
    survey: &str,
    member: Option<MemberId>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Response>, Error> {
    let rows = match member {
        Some(MemberId(member)) => on_engine!(tx, |conn| {
            select_responses!(
            "WHERE program_id = $1 AND member_id = $4 AND ($2 = '' OR survey_id = $2) AND response_id > $3 ORDER BY response_id LIMIT $5"
        )
        .bind(program.as_str())
        .bind(survey)
        .bind(after)
        .bind(member)
        .bind(limit)
        .fetch_all(conn)
        .await
        })?,
        None => on_engine!(tx, |conn| select_responses!(
            "WHERE program_id = $1 AND ($2 = '' OR survey_id = $2) AND response_id > $3 ORDER BY response_id LIMIT $4"
        )
        .bind(program.as_str())
        .bind(survey)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?,
    };
    rows.into_iter().map(Response::try_from).collect()
}

/// How often each score was given to a survey in a range of time. An empty store does not narrow.
pub(crate) async fn scores(tx: &mut Tx, survey: &Survey, range: (Timestamp, Timestamp), store: &str) -> Result<Vec<(i64, i64)>, Error> {
    let counts = on_engine!(tx, |conn| sqlx::query_as::<_, (i64, i64)>(
        "SELECT score, COUNT(*)
           FROM responses
          WHERE program_id = $1 AND survey_id = $2 AND answer_time >= $3 AND answer_time < $4 AND ($5 = '' OR store_id = $5)
          GROUP BY score",
    )
    .bind(survey.program.as_str())
    .bind(&survey.id)
    .bind(DbTime(range.0))
    .bind(DbTime(range.1))
    .bind(store)
    .fetch_all(conn)
    .await)?;
    Ok(counts)
}

impl TryFrom<ResponseRow> for Response {
    type Error = Error;

    fn try_from(row: ResponseRow) -> Result<Response, Error> {
        Ok(Response {
            program: program_id(&row.program_id)?,
            id: row.response_id,
            invitation: row.invitation_id,
            survey: row.survey_id,
            member: MemberId(row.member_id),
            purchase: row.purchase_id,
            store: row.store_id,
            score: row.score,
            comment: row.comment.map(Sealed),
            answer_time: row.answer_time.into(),
            edit_until_time: row.edit_until_time.into(),
            update_time: row.update_time.into(),
            version: row.version,
        })
    }
}
