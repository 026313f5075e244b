use kernel::Timestamp;
use persistence::{DbTime, Error, Tx, on_engine};

use crate::domain::Invitation;

/// Claims the member's recontact clock for an invitation that falls due. False when the last contact is later than `cutoff`:
/// the statement itself is the gate, so that of two invitations at once one passes.
pub(crate) async fn claim_contact(tx: &mut Tx, invitation: &Invitation, cutoff: Timestamp, now: Timestamp) -> Result<bool, Error> {
    let rows = on_engine!(tx, |conn| sqlx::query(
        "INSERT INTO contacts (program_id, member_id, invitation_id, contact_time, previous_time)
         VALUES ($1, $2, $3, $4, NULL)
         ON CONFLICT (program_id, member_id) DO UPDATE
            SET invitation_id = excluded.invitation_id, contact_time = excluded.contact_time, previous_time = contacts.contact_time
          WHERE contacts.contact_time IS NULL OR contacts.contact_time <= $5",
    )
    .bind(invitation.program.as_str())
    .bind(invitation.member.0)
    .bind(invitation.id)
    .bind(DbTime(now))
    .bind(DbTime(cutoff))
    .execute(conn)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// The clock runs from the moment at which the invitation went out. It changes nothing when a later invitation has the clock.
pub(crate) async fn start_contact(tx: &mut Tx, invitation: &Invitation, send_time: Timestamp) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "UPDATE contacts SET contact_time = $4 WHERE program_id = $1 AND member_id = $2 AND invitation_id = $3",
    )
    .bind(invitation.program.as_str())
    .bind(invitation.member.0)
    .bind(invitation.id)
    .bind(DbTime(send_time))
    .execute(conn)
    .await
    .map(|_| ()))?;
    Ok(())
}

/// The invitation ended without going out: the contact before it counts again.
pub(crate) async fn release_contact(tx: &mut Tx, invitation: &Invitation) -> Result<(), Error> {
    on_engine!(tx, |conn| sqlx::query(
        "UPDATE contacts SET contact_time = previous_time WHERE program_id = $1 AND member_id = $2 AND invitation_id = $3",
    )
    .bind(invitation.program.as_str())
    .bind(invitation.member.0)
    .bind(invitation.id)
    .execute(conn)
    .await
    .map(|_| ()))?;
    Ok(())
}
