use kernel::{MemberId, ProgramId, Timestamp, Uuid};

use super::{Invitation, Refusal, Survey};

/// What a member wrote, sealed under the member's data key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed(pub Vec<u8>);

/// What a member answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The program.
    pub program: ProgramId,
    /// Its id.
    pub id: Uuid,
    /// The invitation's id.
    pub invitation: Uuid,
    /// The survey's id.
    pub survey: String,
    /// Who answered.
    pub member: MemberId,
    /// The purchase's id.
    pub purchase: String,
    /// The store's id; empty when not known.
    pub store: String,
    /// The score in the scale of the survey's kind.
    pub score: i64,
    /// What was written; none for nothing.
    pub comment: Option<Sealed>,
    /// When it was given first.
    pub answer_time: Timestamp,
    /// Until when it may be changed, exclusive.
    pub edit_until_time: Timestamp,
    /// When it was changed last.
    pub update_time: Timestamp,
    /// Changes so far, 1 when given.
    pub version: i64,
}

impl Response {
    /// The response to an invitation. A score outside the scale is refused.
    pub fn new(
        id: Uuid,
        survey: &Survey,
        invitation: &Invitation,
        score: i64,
        comment: Option<Sealed>,
        now: Timestamp,
    ) -> Result<Response, Refusal> {
        survey.kind.check(score)?;
        Ok(Response {
            program: invitation.program.clone(),
            id,
            invitation: invitation.id,
            survey: invitation.survey.clone(),
            member: invitation.member,
            purchase: invitation.purchase.clone(),
            store: invitation.store.clone(),
            score,
            comment,
            answer_time: now,
            edit_until_time: now + survey.edit_window,
            update_time: now,
            version: 1,
        })
    }

    /// `programs/{program}/responses/{response}`.
    pub fn name(&self) -> String {
        format!("programs/{}/responses/{}", self.program, self.id)
    }

    /// Replaces score and comment while the window lasts. It keeps its answer time: it counts once, where it counted first.
    pub fn edit(self, survey: &Survey, score: i64, comment: Option<Sealed>, now: Timestamp) -> Result<Response, Refusal> {
        survey.kind.check(score)?;
        if now >= self.edit_until_time {
            return Err(Refusal::EditWindowClosed);
        }
        Ok(Response { score, comment, update_time: now, version: self.version + 1, ..self })
    }
}
