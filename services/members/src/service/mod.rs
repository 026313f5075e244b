//! The RPCs: parse, do, answer. A `try_…` function is one attempt and one transaction.

use std::sync::Arc;

use kernel::{Context, MemberId, ProgramId, Timestamp};
use persistence::{Database, Keyring, RequestKey, Tx, retry};
use prost::Message;
use proto::members as pb;
use proto::members::members_service_server::MembersService;
use rpc::config::ClockConfig;
use rpc::directory::Program;
use rpc::{Answer, CallerExt, Directory};
use tonic::{Request, Response, Status};

use crate::domain::identity::Identity;
use crate::domain::member::Member;
use crate::error::Error;
use crate::store::{self, Stored};

mod answer;
mod change;
mod enrol;
mod event;
mod parse;
mod read;

/// What the RPCs work with.
pub(crate) struct Rpcs {
    pub(crate) database: Database,
    pub(crate) context: Context,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Directory,
    pub(crate) clock: ClockConfig,
}

#[tonic::async_trait]
impl MembersService for Rpcs {
    async fn enroll_member(&self, request: Request<pb::EnrollMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let caller = request.caller();
        let request = request.into_inner();
        let program = self.program("parent", &request.parent).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &request.request_id, &request);
        let now = self.context.now();
        let command = parse::enrol(request, caller, &program, now)?;
        let answer = retry(|| self.try_enrol(&program.id, &command, &key, now)).await?;
        Ok(answer.into_response())
    }

    async fn get_member(&self, request: Request<pb::GetMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let (program, id) = self.member_name("name", &request.into_inner().name).await?;
        let member = self.find(&program.id, id).await?.ok_or(Error::MemberNotFound)?;
        Ok(Response::new(answer::masked(&member)))
    }

    async fn lookup_member(&self, request: Request<pb::LookupMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let pb::LookupMemberRequest { parent, identity } = request.into_inner();
        let program = self.program("parent", &parent).await?;
        let identity = parse::only_identity(identity)?;
        let member = self.find_by_identity(&program.id, &identity).await?.ok_or(Error::MemberNotFound)?;
        Ok(Response::new(answer::masked(&member)))
    }

    async fn list_members(&self, request: Request<pb::ListMembersRequest>) -> Result<Response<pb::ListMembersResponse>, Status> {
        let request = request.into_inner();
        let program = self.program("parent", &request.parent).await?;
        Ok(Response::new(self.page_of_members(&program.id, &request).await?))
    }

    async fn update_member(&self, request: Request<pb::UpdateMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("member.name", request.member.as_ref().map_or("", |member| &member.name)).await?;
        let update = parse::update(&request, self.context.now().date_in(&name.0.zone))?;
        let change = |member: Member, now| member.update(update.changes.clone(), &update.etag, now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn link_identity(&self, request: Request<pb::LinkIdentityRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("name", &request.name).await?;
        let identity = parse::only_identity(request.identity.clone())?;
        let change = |member: Member, now| member.link(identity.clone(), request.replace, now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn unlink_identity(&self, request: Request<pb::UnlinkIdentityRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("name", &request.name).await?;
        let identity = parse::only_identity(request.identity.clone())?;
        let change = |member: Member, now| member.unlink(&identity, now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn block_member(&self, request: Request<pb::BlockMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("name", &request.name).await?;
        let change = |member: Member, now| member.block(request.reason.clone(), now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn unblock_member(&self, request: Request<pb::UnblockMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("name", &request.name).await?;
        let change = |member: Member, now| member.unblock(now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn close_member(&self, request: Request<pb::CloseMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let request = request.into_inner();
        let name = self.member_name("name", &request.name).await?;
        let change = |member: Member, now| member.close(request.reason.clone(), now);
        Ok(self.change(name, &request, &request.request_id, change).await?.into_response())
    }

    async fn reveal_member(&self, request: Request<pb::RevealMemberRequest>) -> Result<Response<pb::Member>, Status> {
        let caller = request.caller();
        let pb::RevealMemberRequest { name, read_mask, reason } = request.into_inner();
        let (program, id) = self.member_name("name", &name).await?;
        let fields = parse::fields(&read_mask.unwrap_or_default().paths)?;
        let access = self.access(id, caller, &fields, reason);
        let member = retry(|| self.try_reveal(&program.id, &access)).await?;
        Ok(Response::new(answer::revealed(&member, &fields)))
    }

    async fn list_member_accesses(
        &self,
        request: Request<pb::ListMemberAccessesRequest>,
    ) -> Result<Response<pb::ListMemberAccessesResponse>, Status> {
        let request = request.into_inner();
        // The parent is a program, or a member of one.
        let (program, member) = match self.program("parent", &request.parent).await {
            Err(Error::Invalid { .. }) => {
                let (program, id) = self.member_name("parent", &request.parent).await?;
                (program, Some(id))
            }
            program => (program?, None),
        };
        Ok(Response::new(self.page_of_accesses(&program.id, member, &request).await?))
    }
}

impl Rpcs {
    /// The program of this name.
    async fn program(&self, field: &str, name: &str) -> Result<Arc<Program>, Error> {
        let id = parse::program(field, name)?;
        self.directory.program(&id).await?.ok_or(Error::ProgramNotFound)
    }

    /// The program and the id of the member of this name.
    async fn member_name(&self, field: &str, name: &str) -> Result<(Arc<Program>, MemberId), Error> {
        let (program, id) = parse::member(field, name)?;
        Ok((self.directory.program(&program).await?.ok_or(Error::ProgramNotFound)?, id))
    }

    /// The answer to a request that was carried out before.
    async fn first_answer(&self, tx: &mut Tx, program: &ProgramId, key: &RequestKey) -> Result<Option<Answer<pb::Member>>, Error> {
        let Some(first) = tx.remembered(key).await? else { return Ok(None) };
        let seal = match first.subject {
            Some(member) => store::data_key(tx, &self.keyring, program, MemberId(member)).await?,
            None => None,
        };
        Ok(Some(Answer::replay(first.message(seal.as_ref())?)))
    }

    /// Remembers what a request is answered with, under the key of the member that it tells about.
    async fn remember(&self, tx: &mut Tx, key: &RequestKey, stored: &Stored, now: Timestamp) -> Result<Answer<pb::Member>, Error> {
        let Stored { member, key: seal } = stored;
        let message = answer::masked(member);
        tx.remember(key, &message.encode_to_vec(), Some(member.id.0), Some(seal), now).await?;
        Ok(Answer::first(message))
    }

    /// Gives identities to a member, all or, with an error that says whose it is, none.
    async fn claim(&self, tx: &mut Tx, member: &Member, identities: &[&Identity]) -> Result<(), Error> {
        let mut identities = identities.to_vec();
        identities.sort_by_cached_key(|identity| (identity.kind(), store::hash(&self.keyring, &member.program, identity)));
        for identity in identities {
            if !store::claim_identity(tx, &self.keyring, member, identity).await? {
                // Nobody has it now: it was given back since, so that another attempt may get it.
                let owner = store::identity_owner(tx, &self.keyring, &member.program, identity).await?;
                let owner = owner.ok_or(persistence::Error::Conflict)?;
                return Err(Error::IdentityTaken { kind: identity.kind(), member: owner.name(&member.program) });
            }
        }
        Ok(())
    }
}
