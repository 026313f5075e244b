use kernel::{MemberId, ProgramId, Uuid};
use persistence::{DataKey, Error as StoreError, Purpose, Tx};
use prost::Message;
use proto::common::Role;
use proto::feedback as pb;
use rpc::wire::{Page, timestamp};
use rpc::{Answer, Caller};
use tonic::Status;

use super::invitations::{invitation_name, member_filter, store_name, survey_filter};
use super::{Rpcs, page_uuid, program_name, survey_of, uuid_name};
use crate::Error;
use crate::domain::{Invitation, Refusal, Response, Sealed};
use crate::{event, store};

/// What a member says, and by which right.
pub(super) struct Given<'a> {
    program: ProgramId,
    target: Target<'a>,
    score: i64,
    comment: &'a str,
    view: View,
}

/// Which invitation is meant.
enum Target<'a> {
    /// The one that this token opens.
    Token(&'a str),
    /// The one of this id.
    Invitation(Uuid),
}

/// What a caller sees of a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// Nothing that says who answered and about what, and no comment.
    Landing,
    /// Everything but the comment.
    WithoutComment,
    /// Everything.
    Full,
}

impl View {
    fn of_reader(role: Role) -> View {
        match role {
            Role::Support | Role::Platform => View::Full,
            Role::Service | Role::Administrator | Role::Auditor | Role::Terminal | Role::Analyst => View::WithoutComment,
            Role::LandingPage | Role::Unspecified => View::Landing,
        }
    }

    /// Whoever submits has the comment already: what is remembered for replays holds no words of a member.
    fn of_writer(role: Role) -> View {
        if role == Role::LandingPage { View::Landing } else { View::WithoutComment }
    }
}

impl<'a> Given<'a> {
    pub(super) fn of_submit(message: &'a pb::SubmitResponseRequest, caller: &Caller) -> Result<Given<'a>, Error> {
        use pb::submit_response_request::Target as Field;
        let pb::SubmitResponseRequest { parent, target, score, comment, request_id: _ } = message;
        let target = match target {
            Some(Field::Token(token)) => Target::Token(token),
            Some(Field::Invitation(name)) => Target::Invitation(invitation_name("invitation", name)?.1),
            None => return Err(Error::invalid("target", "token or invitation must be set")),
        };
        Given::new(parent, target, *score, comment, caller)
    }

    pub(super) fn of_update(message: &'a pb::UpdateResponseRequest, caller: &Caller) -> Result<Given<'a>, Error> {
        use pb::update_response_request::Target as Field;
        let pb::UpdateResponseRequest { parent, target, score, comment, request_id: _ } = message;
        let target = match target {
            Some(Field::Token(token)) => Target::Token(token),
            Some(Field::Invitation(name)) => Target::Invitation(invitation_name("invitation", name)?.1),
            None => return Err(Error::invalid("target", "token or invitation must be set")),
        };
        Given::new(parent, target, *score, comment, caller)
    }

    fn new(parent: &str, target: Target<'a>, score: Option<i32>, comment: &'a str, caller: &Caller) -> Result<Given<'a>, Error> {
        if caller.role == Role::LandingPage && matches!(target, Target::Invitation(_)) {
            return Err(Error::TokenRequired);
        }
        Ok(Given {
            program: program_name("parent", parent)?,
            target,
            score: score.ok_or_else(|| Error::invalid("score", "must be set"))?.into(),
            comment,
            view: View::of_writer(caller.role),
        })
    }

    /// By token, everything that the holder need not know is one refusal.
    fn refuse(&self, refusal: Refusal) -> Error {
        match (&self.target, refusal) {
            (Target::Token(_), Refusal::InvitationClosed | Refusal::InvitationNotDue) => Error::TokenNotValid,
            _ => Error::Refused(refusal),
        }
    }
}

impl Rpcs {
    /// One attempt is one transaction.
    pub(super) async fn try_submit_response(
        &self,
        message: &pb::SubmitResponseRequest,
        given: &Given<'_>,
    ) -> Result<Answer<pb::Response>, Error> {
        let now = self.context.now();
        let key = self.request_key(&given.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let invitation = self.target(&mut tx, given).await?;
        let survey = survey_of(&mut tx, &invitation).await?;
        survey.kind.check(given.score)?;
        if let Some(earlier) = store::response_to(&mut tx, &invitation).await? {
            // The natural key: callers do mint new request ids on a retry.
            return if self.says_the_same(&mut tx, &earlier, given).await? {
                Ok(Answer::replay(response_to_pb(&earlier, given.view, None)))
            } else {
                Err(Error::Refused(Refusal::InvitationAnswered))
            };
        }
        let id = self.context.uuid();
        let was_sent = invitation.send_time().is_some();
        let invitation = invitation.answer(id, now).map_err(|refusal| given.refuse(refusal))?;
        let comment = self.sealed(&mut tx, &invitation, id, given.comment).await?;
        let response = Response::new(id, &survey, &invitation, given.score, comment, now)?;
        store::update_invitation(&mut tx, &invitation).await?;
        store::insert_response(&mut tx, &response).await?;
        if !was_sent {
            store::start_contact(&mut tx, &invitation, now).await?;
        }
        tx.append_event(event::invitation_changed(&invitation, &self.context)).await?;
        let answer = response_to_pb(&response, given.view, None);
        tx.remember(&key, &answer.encode_to_vec(), Some(response.member.0), None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// One attempt is one transaction.
    pub(super) async fn try_update_response(
        &self,
        message: &pb::UpdateResponseRequest,
        given: &Given<'_>,
    ) -> Result<Answer<pb::Response>, Error> {
        let now = self.context.now();
        let key = self.request_key(&given.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let invitation = self.target(&mut tx, given).await?;
        let survey = survey_of(&mut tx, &invitation).await?;
        let response = store::response_to(&mut tx, &invitation).await?.ok_or(Error::ResponseNotFound)?;
        let comment = self.sealed(&mut tx, &invitation, response.id, given.comment).await?;
        let response = response.edit(&survey, given.score, comment, now)?;
        store::update_response(&mut tx, &response).await?;
        let answer = response_to_pb(&response, given.view, None);
        tx.remember(&key, &answer.encode_to_vec(), Some(response.member.0), None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn response(&self, message: &pb::GetResponseRequest, caller: &Caller) -> Result<pb::Response, Status> {
        let (program, id) = uuid_name("name", &message.name, "programs/{program}/responses/{response}")?;
        let mut tx = self.read().await?;
        let response = store::response(&mut tx, &program, id).await.map_err(Error::from)?.ok_or(Error::ResponseNotFound)?;
        Ok(self.shown(&mut tx, &response, View::of_reader(caller.role)).await?)
    }

    pub(super) async fn responses(&self, message: &pb::ListResponsesRequest, caller: &Caller) -> Result<pb::ListResponsesResponse, Status> {
        let pb::ListResponsesRequest { parent, survey, member, page_size, page_token } = message;
        let program = program_name("parent", parent)?;
        let (survey_id, member_id) = (survey_filter(survey)?, member_filter(member)?);
        let filter = ["responses", parent, survey, member];
        let page: Page<'_, 1> = Page::parse(&filter, *page_size, page_token)?;
        let after = page_uuid(page.after.as_ref().map(|[id]| id))?;
        let mut tx = self.read().await?;
        let found = store::responses(&mut tx, &program, &survey_id, member_id, after, page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) = page.cut(found, |response| [response.id.to_string()]);
        let mut responses = Vec::with_capacity(found.len());
        for response in &found {
            responses.push(self.shown(&mut tx, response, View::of_reader(caller.role)).await?);
        }
        Ok(pb::ListResponsesResponse { responses, next_page_token })
    }

    /// The invitation that is meant. A token is looked for under every version of the hash key.
    async fn target(&self, tx: &mut Tx, given: &Given<'_>) -> Result<Invitation, Error> {
        match given.target {
            Target::Invitation(id) => store::invitation(tx, &given.program, id).await?.ok_or(Error::InvitationNotFound),
            Target::Token(token) => {
                for (_, hash) in self.keyring.hashes(Purpose::Secret, given.program.as_str(), token.as_bytes()) {
                    if let Some(invitation) = store::invitation_by_token(tx, &given.program, &hash).await? {
                        return Ok(invitation);
                    }
                }
                Err(Error::TokenNotValid)
            }
        }
    }

    async fn says_the_same(&self, tx: &mut Tx, earlier: &Response, given: &Given<'_>) -> Result<bool, Error> {
        Ok(earlier.score == given.score && self.opened(tx, earlier).await? == given.comment)
    }

    async fn shown(&self, tx: &mut Tx, response: &Response, view: View) -> Result<pb::Response, Error> {
        let comment = if view == View::Full { Some(self.opened(tx, response).await?) } else { None };
        Ok(response_to_pb(response, view, comment))
    }

    /// Seals what a member wrote; none for nothing.
    async fn sealed(&self, tx: &mut Tx, invitation: &Invitation, response: Uuid, comment: &str) -> Result<Option<Sealed>, Error> {
        if comment.is_empty() {
            return Ok(None);
        }
        let key = self.data_key(tx, &invitation.program, invitation.member).await?;
        Ok(Some(Sealed(key.seal(&comment_context(response), comment.as_bytes()))))
    }

    /// What a member wrote; empty for nothing.
    async fn opened(&self, tx: &mut Tx, response: &Response) -> Result<String, Error> {
        let Some(Sealed(sealed)) = &response.comment else { return Ok(String::new()) };
        let wrapped = store::wrapped_key(tx, &response.program, response.member).await?;
        let wrapped = wrapped.ok_or_else(|| StoreError::Corrupt("a comment has no key".to_owned()))?;
        let plain = self.keyring.unwrap(response.member.0, &wrapped)?.open(&comment_context(response.id), sealed)?;
        Ok(String::from_utf8(plain).map_err(|_| StoreError::Corrupt("a comment is not text".to_owned()))?)
    }

    /// The key under which a member's words are sealed, made when it is first needed.
    pub(super) async fn data_key(&self, tx: &mut Tx, program: &ProgramId, member: MemberId) -> Result<DataKey, Error> {
        if let Some(wrapped) = store::wrapped_key(tx, program, member).await? {
            return Ok(self.keyring.unwrap(member.0, &wrapped)?);
        }
        let (key, wrapped) = self.keyring.new_data_key(member.0);
        // Another transaction may have been faster: then this attempt runs again and finds its key.
        if store::insert_wrapped_key(tx, program, member, &wrapped).await? { Ok(key) } else { Err(StoreError::Conflict.into()) }
    }
}

/// Binds a sealed comment to its place.
fn comment_context(response: Uuid) -> String {
    format!("comment of response {response}")
}

/// A response as a view shows it; `comment` is given for a full view only.
fn response_to_pb(response: &Response, view: View, comment: Option<String>) -> pb::Response {
    let Response {
        program,
        id: _,
        invitation,
        survey,
        member,
        purchase,
        store,
        score,
        comment: sealed,
        answer_time,
        edit_until_time,
        update_time,
        version: _,
    } = response;
    let personal = view != View::Landing;
    let shown = |text: String| if personal { text } else { String::new() };
    let mut masked_fields: Vec<String> = Vec::new();
    if !personal {
        masked_fields.extend(["member", "purchase", "store"].map(str::to_owned));
    }
    if sealed.is_some() && comment.is_none() {
        masked_fields.push("comment".to_owned());
    }
    pb::Response {
        name: response.name(),
        invitation: format!("programs/{program}/invitations/{invitation}"),
        survey: format!("programs/{program}/surveys/{survey}"),
        member: shown(member.name(program)),
        purchase: shown(format!("programs/{program}/purchases/{purchase}")),
        store: shown(store_name(program, store)),
        score: i32::try_from(*score).expect("scores are 0 to 10"),
        comment: comment.unwrap_or_default(),
        answer_time: Some(timestamp(*answer_time)),
        edit_until_time: Some(timestamp(*edit_until_time)),
        update_time: Some(timestamp(*update_time)),
        masked_fields,
    }
}
