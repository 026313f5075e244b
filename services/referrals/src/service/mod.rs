//! The RPCs: protobuf in, protobuf out. Parse, do, answer.

mod codes;
mod convert;
mod plans;
mod referrals;

use std::sync::Arc;

use kernel::{Context, MemberId, ProgramId, name};
use persistence::{Database, Error as StoreError, Keyring, RequestKey, Tx};
use prost::Message;
use proto::referrals as pb;
use proto::referrals::referrals_service_server::ReferralsService;
use rpc::directory::Directory;
use rpc::status::{self, Answer};
use tonic::{Request, Response, Status};

/// Handles the RPCs of one server.
pub(crate) struct ReferralsRpcs {
    pub(crate) database: Database,
    pub(crate) context: Context,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Directory,
}

#[tonic::async_trait]
impl ReferralsService for ReferralsRpcs {
    async fn create_plan(&self, request: Request<pb::CreatePlanRequest>) -> Result<Response<pb::Plan>, Status> {
        self.create_plan(request).await
    }

    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::Plan>, Status> {
        self.get_plan(request).await
    }

    async fn list_plans(&self, request: Request<pb::ListPlansRequest>) -> Result<Response<pb::ListPlansResponse>, Status> {
        self.list_plans(request).await
    }

    async fn issue_code(&self, request: Request<pb::IssueCodeRequest>) -> Result<Response<pb::Code>, Status> {
        self.issue_code(request).await
    }

    async fn get_code(&self, request: Request<pb::GetCodeRequest>) -> Result<Response<pb::Code>, Status> {
        self.get_code(request).await
    }

    async fn resolve_code(&self, request: Request<pb::ResolveCodeRequest>) -> Result<Response<pb::ResolveCodeResponse>, Status> {
        self.resolve_code(request).await
    }

    async fn revoke_code(&self, request: Request<pb::RevokeCodeRequest>) -> Result<Response<pb::Code>, Status> {
        self.revoke_code(request).await
    }

    async fn attribute_friend(&self, request: Request<pb::AttributeFriendRequest>) -> Result<Response<pb::Referral>, Status> {
        self.attribute_friend(request).await
    }

    async fn get_referral(&self, request: Request<pb::GetReferralRequest>) -> Result<Response<pb::Referral>, Status> {
        self.get_referral(request).await
    }

    async fn list_referrals(&self, request: Request<pb::ListReferralsRequest>) -> Result<Response<pb::ListReferralsResponse>, Status> {
        self.list_referrals(request).await
    }

    async fn void_referral(&self, request: Request<pb::VoidReferralRequest>) -> Result<Response<pb::Referral>, Status> {
        self.void_referral(request).await
    }
}

impl ReferralsRpcs {
    /// Remembers the answer to a request. It must hold no personal data: there is no key here that erasure could destroy.
    async fn remember<M: Message>(&self, tx: &mut Tx, request: &RequestKey, answer: &M) -> Result<(), StoreError> {
        tx.remember(request, &answer.encode_to_vec(), None, None, self.context.now()).await
    }
}

/// The answer that a request was given when it came first.
async fn first_answer<M: Message + Default>(tx: &mut Tx, request: &RequestKey) -> Result<Option<Answer<M>>, StoreError> {
    let first = tx.remembered(request).await?;
    first.map(|first| first.message(None).map(Answer::replay)).transpose()
}

/// The program of a `parent`.
fn program(field: &str, text: &str) -> Result<ProgramId, Status> {
    name::program(text).map_err(|error| status::bad_request([(field, error.to_string())]))
}

/// The program and id of a member's name.
fn member(field: &str, text: &str) -> Result<(ProgramId, MemberId), Status> {
    name::member(text).map_err(|error| status::bad_request([(field, error.to_string())]))
}
