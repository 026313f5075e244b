//! FeedbackService: protobuf in, protobuf out.

mod invitations;
mod responses;
mod surveys;

use std::sync::Arc;

use kernel::{Context, ProgramId, Uuid, name};
use persistence::{Database, Keyring, RequestKey, Tx, retry};
use prost::{Message, Name};
use proto::check::Checked;
use proto::feedback as pb;
use proto::feedback::feedback_service_server::FeedbackService;
use rpc::CallerExt;
use rpc::directory::Directory;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::domain::{Invitation, Survey};
use crate::store;

/// What the RPCs, the consumer and the job work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rpcs {
    pub(crate) database: Database,
    pub(crate) context: Context,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Directory,
}

#[tonic::async_trait]
impl FeedbackService for Rpcs {
    async fn create_survey(&self, request: Request<pb::CreateSurveyRequest>) -> Result<Response<pb::Survey>, Status> {
        let message = request.into_inner();
        let survey = self.new_survey(&message).await?;
        let answer = retry(|| self.try_create_survey(&message, &survey)).await?;
        Ok(answer.into_response())
    }

    async fn get_survey(&self, request: Request<pb::GetSurveyRequest>) -> Result<Response<pb::Survey>, Status> {
        let (program, id) = surveys::survey_name("name", &request.get_ref().name)?;
        let survey = self.read_survey(&program, &id).await?;
        Ok(Response::new(pb::Survey::from(&survey)))
    }

    async fn list_surveys(&self, request: Request<pb::ListSurveysRequest>) -> Result<Response<pb::ListSurveysResponse>, Status> {
        self.surveys(&request.into_inner()).await.map(Response::new)
    }

    async fn activate_survey(&self, request: Request<pb::ActivateSurveyRequest>) -> Result<Response<pb::Survey>, Status> {
        let message = request.into_inner();
        let answer = retry(|| self.try_activate_survey(&message)).await?;
        Ok(answer.into_response())
    }

    async fn pause_survey(&self, request: Request<pb::PauseSurveyRequest>) -> Result<Response<pb::Survey>, Status> {
        let message = request.into_inner();
        let answer = retry(|| self.try_pause_survey(&message)).await?;
        Ok(answer.into_response())
    }

    async fn get_invitation(&self, request: Request<pb::GetInvitationRequest>) -> Result<Response<pb::Invitation>, Status> {
        let (program, id) = invitations::invitation_name("name", &request.get_ref().name)?;
        let mut tx = self.read().await?;
        let invitation = store::invitation(&mut tx, &program, id).await.map_err(Error::from)?.ok_or(Error::InvitationNotFound)?;
        Ok(Response::new(pb::Invitation::from(&invitation)))
    }

    async fn list_invitations(
        &self,
        request: Request<pb::ListInvitationsRequest>,
    ) -> Result<Response<pb::ListInvitationsResponse>, Status> {
        self.invitations(&request.into_inner()).await.map(Response::new)
    }

    async fn list_due_invitations(
        &self,
        request: Request<pb::ListDueInvitationsRequest>,
    ) -> Result<Response<pb::ListDueInvitationsResponse>, Status> {
        self.due_invitations(&request.into_inner()).await.map(Response::new)
    }

    async fn issue_invitation_token(
        &self,
        request: Request<pb::IssueInvitationTokenRequest>,
    ) -> Result<Response<pb::IssueInvitationTokenResponse>, Status> {
        let message = request.into_inner();
        let answer = retry(|| self.try_issue_invitation_token(&message)).await?;
        Ok(answer.into_response())
    }

    async fn submit_response(&self, request: Request<pb::SubmitResponseRequest>) -> Result<Response<pb::Response>, Status> {
        let caller = request.caller();
        let message = request.into_inner();
        let answer = responses::Given::of_submit(&message, &caller)?;
        let answer = retry(|| self.try_submit_response(&message, &answer)).await?;
        Ok(answer.into_response())
    }

    async fn update_response(&self, request: Request<pb::UpdateResponseRequest>) -> Result<Response<pb::Response>, Status> {
        let caller = request.caller();
        let message = request.into_inner();
        let answer = responses::Given::of_update(&message, &caller)?;
        let answer = retry(|| self.try_update_response(&message, &answer)).await?;
        Ok(answer.into_response())
    }

    async fn get_response(&self, request: Request<pb::GetResponseRequest>) -> Result<Response<pb::Response>, Status> {
        let caller = request.caller();
        self.response(&request.into_inner(), &caller).await.map(Response::new)
    }

    async fn list_responses(&self, request: Request<pb::ListResponsesRequest>) -> Result<Response<pb::ListResponsesResponse>, Status> {
        let caller = request.caller();
        self.responses(&request.into_inner(), &caller).await.map(Response::new)
    }

    async fn get_nps(&self, request: Request<pb::GetNpsRequest>) -> Result<Response<pb::GetNpsResponse>, Status> {
        self.nps(&request.into_inner()).await.map(Response::new)
    }
}

impl Rpcs {
    async fn read(&self) -> Result<Tx, Error> {
        Ok(self.database.read().await?)
    }

    fn request_key<M: Message + Name + Checked>(&self, program: &ProgramId, request_id: &str, message: &M) -> RequestKey {
        RequestKey::new(&self.keyring, program, request_id, message)
    }

    async fn read_survey(&self, program: &ProgramId, id: &str) -> Result<Survey, Error> {
        let mut tx = self.read().await?;
        store::survey(&mut tx, program, id).await?.ok_or(Error::SurveyNotFound)
    }
}

/// The survey of an invitation, which is never deleted.
pub(crate) async fn survey_of(tx: &mut Tx, invitation: &Invitation) -> Result<Survey, Error> {
    let survey = store::survey(tx, &invitation.program, &invitation.survey).await?;
    Ok(survey.ok_or_else(|| persistence::Error::Corrupt("an invitation has no survey".to_owned()))?)
}

fn program_name(field: &'static str, text: &str) -> Result<ProgramId, Error> {
    name::program(text).map_err(|error| Error::invalid(field, error.to_string()))
}

/// Program and last segment of a name.
fn child_name(field: &'static str, text: &str, pattern: &'static str) -> Result<(ProgramId, String), Error> {
    let wrong = |error: kernel::NameError| Error::invalid(field, error.to_string());
    let [program, child] = name::segments(text, pattern).map_err(wrong)?;
    Ok((ProgramId::parse(program).map_err(wrong)?, child.to_owned()))
}

/// The same when the last segment is a UUID.
fn uuid_name(field: &'static str, text: &str, pattern: &'static str) -> Result<(ProgramId, Uuid), Error> {
    let (program, child) = child_name(field, text, pattern)?;
    let id = name::uuid(&child, pattern).map_err(|error| Error::invalid(field, error.to_string()))?;
    Ok((program, id))
}

/// The id in a page token's key; a token that passed its check holds one.
fn page_uuid(text: Option<&String>) -> Result<Uuid, Error> {
    let parse = |text: &String| Uuid::try_parse(text).map_err(|_| Error::invalid("page_token", "must come from the previous answer"));
    text.map_or(Ok(Uuid::nil()), parse)
}
