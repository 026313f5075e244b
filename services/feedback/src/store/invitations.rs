use kernel::{MemberId, ProgramId, Timestamp, Uuid};
use persistence::{DbTime, Engine, Error, Tx, on_engine};

use super::{corrupt, program_id, written};
use crate::domain::{Invitation, InvitationState, SuppressReason, Survey};

#[derive(sqlx::FromRow)]
struct InvitationRow {
    program_id: String,
    invitation_id: Uuid,
    survey_id: String,
    member_id: Uuid,
    purchase_id: String,
    store_id: String,
    state: String,
    suppress_reason: Option<String>,
    due_time: DbTime,
    expire_time: DbTime,
    send_time: Option<DbTime>,
    response_id: Option<Uuid>,
    next_time: Option<DbTime>,
    create_time: DbTime,
    update_time: DbTime,
    version: i64,
}

/// A query for whole invitations; what follows FROM is given.
macro_rules! select_invitations {
    ($($tail:tt)+) => {
        sqlx::query_as::<_, InvitationRow>(concat!(
            "SELECT program_id, invitation_id, survey_id, member_id, purchase_id, store_id, state, suppress_reason, due_time,
                    expire_time, send_time, response_id, next_time, create_time, update_time, version
               FROM invitations ",
            $($tail)+
        ))
    };
}

/// Which invitations are listed; `None` and "" do not narrow.
pub(crate) struct InvitationFilter {
    pub(crate) program: ProgramId,
    /// The word of a state; empty for all.
    pub(crate) state: &'static str,
    pub(crate) member: Option<MemberId>,
    /// A survey's id; empty for all.
    pub(crate) survey: String,
}

/// Writes a new invitation. False when the survey has one for this purchase already.
pub(crate) async fn insert_invitation(tx: &mut Tx, invitation: &Invitation) -> Result<bool, Error> {
    let row = InvitationRow::from(invitation);
    let rows = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO invitations (program_id, invitation_id, survey_id, member_id, purchase_id, store_id, state,
                                  suppress_reason, due_time, expire_time, next_time, create_time, update_time, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (program_id, purchase_id, survey_id) DO NOTHING",
    )
    .bind(row.program_id)
    .bind(row.invitation_id)
    .bind(row.survey_id)
    .bind(row.member_id)
    .bind(row.purchase_id)
    .bind(row.store_id)
    .bind(row.state)
    .bind(row.suppress_reason)
    .bind(row.due_time)
    .bind(row.expire_time)
    .bind(row.next_time)
    .bind(row.create_time)
    .bind(row.update_time)
    .bind(row.version)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Writes the state of an invitation that was read at the version before. A row changed since then is [`Error::Conflict`].
pub(crate) async fn update_invitation(tx: &mut Tx, invitation: &Invitation) -> Result<(), Error> {
    let row = InvitationRow::from(invitation);
    let rows = on_engine!(tx, |conn| sqlx::query(
        "UPDATE invitations
            SET state = $3, suppress_reason = $4, send_time = $5, response_id = $6, next_time = $7, update_time = $8, version = $9
          WHERE program_id = $1 AND invitation_id = $2 AND version = $9 - 1",
    )
    .bind(row.program_id)
    .bind(row.invitation_id)
    .bind(row.state)
    .bind(row.suppress_reason)
    .bind(row.send_time)
    .bind(row.response_id)
    .bind(row.next_time)
    .bind(row.update_time)
    .bind(row.version)
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    written(rows)
}

/// Makes this the one token that answers an invitation.
pub(crate) async fn set_token(tx: &mut Tx, invitation: &Invitation, token_hash: &[u8]) -> Result<(), Error> {
    let rows = on_engine!(tx, |conn| sqlx::query("UPDATE invitations SET token_hash = $3 WHERE program_id = $1 AND invitation_id = $2")
        .bind(invitation.program.as_str())
        .bind(invitation.id)
        .bind(token_hash)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    written(rows)
}

/// An invitation by its id.
pub(crate) async fn invitation(tx: &mut Tx, program: &ProgramId, id: Uuid) -> Result<Option<Invitation>, Error> {
    let row = on_engine!(tx, |conn| select_invitations!("WHERE program_id = $1 AND invitation_id = $2")
        .bind(program.as_str())
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(Invitation::try_from).transpose()
}

/// An invitation by the hash of its token.
pub(crate) async fn invitation_by_token(tx: &mut Tx, program: &ProgramId, token_hash: &[u8]) -> Result<Option<Invitation>, Error> {
    let row = on_engine!(tx, |conn| select_invitations!("WHERE program_id = $1 AND token_hash = $2")
        .bind(program.as_str())
        .bind(token_hash)
        .fetch_optional(conn)
        .await)?;
    row.map(Invitation::try_from).transpose()
}

/// The invitations that ask about a purchase: at most one for each survey.
pub(crate) async fn invitations_about(tx: &mut Tx, program: &ProgramId, purchase: &str) -> Result<Vec<Invitation>, Error> {
    let rows = on_engine!(tx, |conn| select_invitations!("WHERE program_id = $1 AND purchase_id = $2 ORDER BY survey_id")
        .bind(program.as_str())
        .bind(purchase)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// Invitations in the order of their ids, after an id. The filter with the fewest rows leads, each by its own index.
pub(crate) async fn invitations(tx: &mut Tx, filter: &InvitationFilter, after: Uuid, limit: i64) -> Result<Vec<Invitation>, Error> {
    let program = filter.program.as_str();
    let rows = match filter.member {
        Some(MemberId(member)) => on_engine!(tx, |conn| select_invitations!(
            "WHERE program_id = $1 AND member_id = $5 AND ($2 = '' OR state = $2) AND ($3 = '' OR survey_id = $3)
               AND invitation_id > $4
             ORDER BY invitation_id LIMIT $6"
        )
        .bind(program)
        .bind(filter.state)
        .bind(&filter.survey)
        .bind(after)
        .bind(member)
        .bind(limit)
        .fetch_all(conn)
        .await)?,
        None if !filter.state.is_empty() => on_engine!(tx, |conn| select_invitations!(
            "WHERE program_id = $1 AND state = $2 AND ($3 = '' OR survey_id = $3) AND invitation_id > $4
             ORDER BY invitation_id LIMIT $5"
        )
        .bind(program)
        .bind(filter.state)
        .bind(&filter.survey)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?,
        None => on_engine!(tx, |conn| select_invitations!(
            "WHERE program_id = $1 AND ($2 = '' OR survey_id = $2) AND invitation_id > $3 ORDER BY invitation_id LIMIT $4"
        )
        .bind(program)
        .bind(&filter.survey)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?,
    };
    rows.into_iter().map(Invitation::try_from).collect()
}

/// The invitations that wait for a sender by due time, after a due time and id.
pub(crate) async fn due_invitations(
    tx: &mut Tx,
    program: &ProgramId,
    after: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<Invitation>, Error> {
    let rows = on_engine!(tx, |conn| select_invitations!(
        "WHERE program_id = $1 AND state = 'DUE' AND (due_time, invitation_id) > ($2, $3) ORDER BY due_time, invitation_id LIMIT $4"
    )
    .bind(program.as_str())
    .bind(DbTime(after.0))
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await)?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// The invitations that time has something to do with now, the longest waiting first. Rows that another replica has at hand are
/// passed over; SQLite has one writer, so there the transaction itself is the lock.
pub(crate) async fn lock_overdue_invitations(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Invitation>, Error> {
    macro_rules! overdue {
        ($lock:literal) => {
            on_engine!(tx, |conn| select_invitations!("WHERE next_time <= $1 ORDER BY next_time LIMIT $2", $lock)
                .bind(DbTime(now))
                .bind(limit)
                .fetch_all(conn)
                .await)?
        };
    }
    let rows = match tx.engine() {
        Engine::Postgres => overdue!(" FOR UPDATE SKIP LOCKED"),
        Engine::Sqlite => overdue!(""),
    };
    rows.into_iter().map(Invitation::try_from).collect()
}

/// Of the invitations of a survey that were delivered in a range of time: how many, and how many of them were answered.
/// An empty store does not narrow.
pub(crate) async fn delivered_and_completed(
    tx: &mut Tx,
    survey: &Survey,
    range: (Timestamp, Timestamp),
    store: &str,
) -> Result<(i64, i64), Error> {
    let counts = on_engine!(tx, |conn| sqlx::query_as::<_, (i64, i64)>(
        "SELECT COUNT(*), COUNT(response_id)
           FROM invitations
          WHERE program_id = $1 AND survey_id = $2 AND send_time >= $3 AND send_time < $4 AND ($5 = '' OR store_id = $5)",
    )
    .bind(survey.program.as_str())
    .bind(&survey.id)
    .bind(DbTime(range.0))
    .bind(DbTime(range.1))
    .bind(store)
    .fetch_one(conn)
    .await)?;
    Ok(counts)
}

impl From<&Invitation> for InvitationRow {
    fn from(invitation: &Invitation) -> InvitationRow {
        let Invitation { program, id, survey, member, purchase, store, state, due_time, expire_time, create_time, update_time, version } =
            invitation;
        let (suppress_reason, response_id) = match state {
            InvitationState::Suppressed { reason } => (Some(reason.word().to_owned()), None),
            InvitationState::Answered { response, .. } => (None, Some(*response)),
            InvitationState::Scheduled
            | InvitationState::Due
            | InvitationState::Sent { .. }
            | InvitationState::Cancelled
            | InvitationState::Expired { .. } => (None, None),
        };
        InvitationRow {
            program_id: program.as_str().to_owned(),
            invitation_id: *id,
            survey_id: survey.clone(),
            member_id: member.0,
            purchase_id: purchase.clone(),
            store_id: store.clone(),
            state: state.word().to_owned(),
            suppress_reason,
            due_time: DbTime(*due_time),
            expire_time: DbTime(*expire_time),
            send_time: invitation.send_time().map(DbTime),
            response_id,
            next_time: invitation.next_time().map(DbTime),
            create_time: DbTime(*create_time),
            update_time: DbTime(*update_time),
            version: *version,
        }
    }
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = Error;

    fn try_from(row: InvitationRow) -> Result<Invitation, Error> {
        let send_time = row.send_time.map(Timestamp::from);
        let state = match (row.state.as_str(), send_time, row.response_id, row.suppress_reason) {
            ("SCHEDULED", None, None, None) => InvitationState::Scheduled,
            ("DUE", None, None, None) => InvitationState::Due,
            ("SENT", Some(send_time), None, None) => InvitationState::Sent { send_time },
            ("ANSWERED", Some(send_time), Some(response), None) => InvitationState::Answered { send_time, response },
            ("CANCELLED", None, None, None) => InvitationState::Cancelled,
            ("EXPIRED", send_time, None, None) => InvitationState::Expired { send_time },
            ("SUPPRESSED", None, None, Some(word)) => {
                let reason =
                    SuppressReason::ALL.into_iter().find(|reason| reason.word() == word).ok_or_else(|| corrupt("suppress_reason"))?;
                InvitationState::Suppressed { reason }
            }
            _ => return Err(corrupt("state")),
        };
        Ok(Invitation {
            program: program_id(&row.program_id)?,
            id: row.invitation_id,
            survey: row.survey_id,
            member: MemberId(row.member_id),
            purchase: row.purchase_id,
            store: row.store_id,
            state,
            due_time: row.due_time.into(),
            expire_time: row.expire_time.into(),
            create_time: row.create_time.into(),
            update_time: row.update_time.into(),
            version: row.version,
        })
    }
}
