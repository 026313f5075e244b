//! What time alone does: invitations fall due and expire.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use persistence::{Tx, retry};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::domain::{Invitation, InvitationState, Survey, SurveyState};
use crate::service::{Rpcs, survey_of};
use crate::{event, store};

/// How often a process looks. An invitation goes out at most so late, counted in days as it is.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// Invitations in one transaction.
const BATCH: i64 = 200;

impl Rpcs {
    /// Moves every invitation that is due, batch by batch. Any number of processes may do so at once: each takes rows that no
    /// other has at hand.
    pub(crate) async fn move_overdue(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        while !shutdown.is_cancelled() && retry(|| self.try_move_overdue(self.context.now())).await? {}
        Ok(())
    }

    /// Moves one batch; true when there may be more. One attempt is one transaction.
    async fn try_move_overdue(&self, now: Timestamp) -> Result<bool, Error> {
        let mut tx = self.database.begin().await?;
        let mut overdue = store::lock_overdue_invitations(&mut tx, now, BATCH).await?;
        if overdue.is_empty() {
            return Ok(false);
        }
        let full = i64::try_from(overdue.len()).is_ok_and(|count| count == BATCH);
        // Members' clocks are locked in one order by every replica, so that none waits for another in a circle. Invitations of one
        // member keep the order of their due times: the earlier one has the contact.
        overdue.sort_by(|a, b| (&a.program, a.member, a.due_time, a.id).cmp(&(&b.program, b.member, b.due_time, b.id)));
        let mut surveys = BTreeMap::new();
        let mut events = Vec::with_capacity(overdue.len());
        for invitation in overdue {
            let survey_key = (invitation.program.clone(), invitation.survey.clone());
            if !surveys.contains_key(&survey_key) {
                surveys.insert(survey_key.clone(), survey_of(&mut tx, &invitation).await?);
            }
            let moved = moved(&mut tx, invitation, &surveys[&survey_key], now).await?;
            store::update_invitation(&mut tx, &moved).await?;
            events.push(event::invitation_changed(&moved, &self.context));
        }
        tx.append_events(events).await?;
        tx.commit().await?;
        Ok(full)
    }
}

/// What an overdue invitation becomes, with the member's recontact clock claimed or given back.
async fn moved(tx: &mut Tx, invitation: Invitation, survey: &Survey, now: Timestamp) -> Result<Invitation, Error> {
    let before = invitation.state;
    let invitation = invitation.expire(now);
    if let InvitationState::Expired { .. } = invitation.state {
        if before == InvitationState::Due {
            store::release_contact(tx, &invitation).await?;
        }
        return Ok(invitation);
    }
    let contact = survey.state == SurveyState::Active && store::claim_contact(tx, &invitation, survey.contact_cutoff(now), now).await?;
    Ok(invitation.fall_due(survey.state, contact, now))
}
