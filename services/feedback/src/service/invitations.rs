use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{MemberId, ProgramId, Uuid, name};
use persistence::Purpose;
use prost::Message;
use proto::feedback as pb;
use rpc::Answer;
use rpc::wire::{Page, timestamp};
use tonic::Status;

use super::{Rpcs, page_uuid, program_name, survey_of, uuid_name};
use crate::Error;
use crate::domain::{Invitation, InvitationState, SuppressReason};
use crate::{event, store};

/// 256 bits: not to be guessed by any number of tries.
const TOKEN_BYTES: usize = 32;

impl Rpcs {
    pub(super) async fn invitations(&self, message: &pb::ListInvitationsRequest) -> Result<pb::ListInvitationsResponse, Status> {
        let pb::ListInvitationsRequest { parent, state, member, survey, page_size, page_token } = message;
        let filter = store::InvitationFilter {
            program: program_name("parent", parent)?,
            state: state_filter(*state)?,
            member: member_filter(member)?,
            survey: survey_filter(survey)?,
        };
        let token_filter = ["invitations", parent, filter.state, member, survey];
        let page: Page<'_, 1> = Page::parse(&token_filter, *page_size, page_token)?;
        let after = page_uuid(page.after.as_ref().map(|[id]| id))?;
        let mut tx = self.read().await?;
        let invitations = store::invitations(&mut tx, &filter, after, page.limit()).await.map_err(Error::from)?;
        let (invitations, next_page_token) = page.cut(invitations, |invitation| [invitation.id.to_string()]);
        Ok(pb::ListInvitationsResponse { invitations: invitations.iter().map(pb::Invitation::from).collect(), next_page_token })
    }

    pub(super) async fn due_invitations(&self, message: &pb::ListDueInvitationsRequest) -> Result<pb::ListDueInvitationsResponse, Status> {
        let pb::ListDueInvitationsRequest { parent, page_size, page_token } = message;
        let program = program_name("parent", parent)?;
        let filter = ["due invitations", parent];
        let page: Page<'_, 2> = Page::parse(&filter, *page_size, page_token)?;
        let after = match &page.after {
            None => (kernel::Timestamp::default(), Uuid::nil()),
            Some([due, id]) => {
                let micros = due.parse().map_err(|_| Error::invalid("page_token", "must come from the previous answer"))?;
                (kernel::Timestamp::from_micros(micros), page_uuid(Some(id))?)
            }
        };
        let mut tx = self.read().await?;
        let invitations = store::due_invitations(&mut tx, &program, after, page.limit()).await.map_err(Error::from)?;
        let (invitations, next_page_token) =
            page.cut(invitations, |invitation| [invitation.due_time.as_micros().to_string(), invitation.id.to_string()]);
        Ok(pb::ListDueInvitationsResponse { invitations: invitations.iter().map(pb::Invitation::from).collect(), next_page_token })
    }

    /// One attempt is one transaction.
    pub(super) async fn try_issue_invitation_token(
        &self,
        message: &pb::IssueInvitationTokenRequest,
    ) -> Result<Answer<pb::IssueInvitationTokenResponse>, Error> {
        let pb::IssueInvitationTokenRequest { name, request_id } = message;
        let (program, id) = invitation_name("name", name)?;
        let now = self.context.now();
        let key = self.request_key(&program, request_id, message);
        let mut tx = self.database.begin().await?;
        let invitation = store::invitation(&mut tx, &program, id).await?.ok_or(Error::InvitationNotFound)?;
        let data_key = self.data_key(&mut tx, &program, invitation.member).await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(Some(&data_key))?));
        }
        let survey = survey_of(&mut tx, &invitation).await?;
        let was_sent = invitation.send_time().is_some();
        let invitation = invitation.send(survey.state, now)?;
        let token = new_token();
        store::update_invitation(&mut tx, &invitation).await?;
        store::set_token(&mut tx, &invitation, &self.keyring.hash(Purpose::Secret, program.as_str(), token.as_bytes())).await?;
        if !was_sent {
            store::start_contact(&mut tx, &invitation, now).await?;
        }
        tx.append_event(event::invitation_changed(&invitation, &self.context)).await?;
        let answer = pb::IssueInvitationTokenResponse { invitation: Some(pb::Invitation::from(&invitation)), token };
        tx.remember(&key, &answer.encode_to_vec(), Some(invitation.member.0), Some(&data_key), now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }
}

fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    rand::fill(&mut bytes[..]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Program and id of an invitation.
pub(super) fn invitation_name(field: &'static str, text: &str) -> Result<(ProgramId, Uuid), Error> {
    uuid_name(field, text, "programs/{program}/invitations/{invitation}")
}

/// The member that a list is narrowed to. The codec has seen to it that it is of the parent's program.
pub(super) fn member_filter(text: &str) -> Result<Option<MemberId>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let (_, member) = name::member(text).map_err(|error| Error::invalid("member", error.to_string()))?;
    Ok(Some(member))
}

/// The survey that a list is narrowed to, or "".
pub(super) fn survey_filter(text: &str) -> Result<String, Error> {
    if text.is_empty() { Ok(String::new()) } else { Ok(super::surveys::survey_name("survey", text)?.1) }
}

/// The word of the state that a list is narrowed to, or "".
fn state_filter(number: i32) -> Result<&'static str, Error> {
    use pb::invitation::State;
    let state = State::try_from(number).map_err(|_| Error::invalid("state", "must be a state"))?;
    Ok(if state == State::Unspecified { "" } else { state.as_str_name().trim_start_matches("STATE_") })
}

impl From<&Invitation> for pb::Invitation {
    fn from(invitation: &Invitation) -> pb::Invitation {
        use pb::invitation::{State, SuppressReason as Reason};
        let Invitation {
            program,
            id: _,
            survey,
            member,
            purchase,
            store,
            state,
            due_time,
            expire_time,
            create_time,
            update_time,
            version: _,
        } = invitation;
        let (state, reason, response) = match state {
            InvitationState::Scheduled => (State::Scheduled, Reason::Unspecified, None),
            InvitationState::Due => (State::Due, Reason::Unspecified, None),
            InvitationState::Sent { .. } => (State::Sent, Reason::Unspecified, None),
            InvitationState::Answered { response, .. } => (State::Answered, Reason::Unspecified, Some(response)),
            InvitationState::Cancelled => (State::Cancelled, Reason::Unspecified, None),
            InvitationState::Expired { .. } => (State::Expired, Reason::Unspecified, None),
            InvitationState::Suppressed { reason: SuppressReason::SampledOut } => (State::Suppressed, Reason::SampledOut, None),
            InvitationState::Suppressed { reason: SuppressReason::Recontact } => (State::Suppressed, Reason::Recontact, None),
            InvitationState::Suppressed { reason: SuppressReason::SurveyPaused } => (State::Suppressed, Reason::SurveyPaused, None),
        };
        pb::Invitation {
            name: invitation.name(),
            survey: format!("programs/{program}/surveys/{survey}"),
            member: member.name(program),
            purchase: format!("programs/{program}/purchases/{purchase}"),
            store: store_name(program, store),
            state: state.into(),
            suppress_reason: reason.into(),
            due_time: Some(timestamp(*due_time)),
            expire_time: Some(timestamp(*expire_time)),
            send_time: invitation.send_time().map(timestamp),
            response: response.map_or_else(String::new, |id| format!("programs/{program}/responses/{id}")),
            create_time: Some(timestamp(*create_time)),
            update_time: Some(timestamp(*update_time)),
        }
    }
}

/// The name of a store; empty when it is not known.
pub(super) fn store_name(program: &ProgramId, store: &str) -> String {
    if store.is_empty() { String::new() } else { format!("programs/{program}/stores/{store}") }
}
