//! Reads, and the trail of those that show members in the clear.

use rpc::Caller;
use rpc::wire::Page;
use uuid::Uuid;

use super::*;
use crate::domain::mask::Field;
use crate::store::Access;

impl Rpcs {
    pub(super) async fn find(&self, program: &ProgramId, id: MemberId) -> Result<Option<Member>, Error> {
        let mut tx = self.database.read().await?;
        Ok(store::member(&mut tx, &self.keyring, program, id).await?.map(|stored| stored.member))
    }

    pub(super) async fn find_by_identity(&self, program: &ProgramId, identity: &Identity) -> Result<Option<Member>, Error> {
        let mut tx = self.database.read().await?;
        let Some(id) = store::identity_owner(&mut tx, &self.keyring, program, identity).await? else { return Ok(None) };
        Ok(store::member(&mut tx, &self.keyring, program, id).await?.map(|stored| stored.member))
    }

    pub(super) async fn page_of_members(
        &self,
        program: &ProgramId,
        request: &pb::ListMembersRequest,
    ) -> Result<pb::ListMembersResponse, Status> {
        let pb::ListMembersRequest { parent, state, page_size, page_token } = request;
        let state_text = state.to_string();
        let filter = ["members", parent, &state_text];
        let page = Page::parse(&filter, *page_size, page_token)?;
        let state = (*state != 0).then_some(i64::from(*state));
        let mut tx = self.database.read().await.map_err(Error::from)?;
        let members = store::members(&mut tx, &self.keyring, program, state, after(&page)?, page.limit()).await;
        let (members, next_page_token) = page.cut(members.map_err(Error::from)?, |member| [member.id.to_string()]);
        Ok(pb::ListMembersResponse { members: members.iter().map(answer::masked).collect(), next_page_token })
    }

    /// What is written about a look at a member.
    pub(super) fn access(&self, member: MemberId, caller: Caller, fields: &[Field], reason: String) -> Access {
        Access {
            id: self.context.uuid(),
            member,
            actor: caller.actor(),
            role: caller.role,
            fields: fields.iter().map(|field| field.path().to_owned()).collect(),
            reason,
            time: self.context.now(),
        }
    }

    /// Writes a look down, and only then returns what was looked at.
    pub(super) async fn try_reveal(&self, program: &ProgramId, access: &Access) -> Result<Member, Error> {
        let mut tx = self.database.begin().await?;
        let Stored { member, key } = store::member(&mut tx, &self.keyring, program, access.member).await?.ok_or(Error::MemberNotFound)?;
        store::insert_access(&mut tx, program, &key, access).await?;
        tx.commit().await?;
        Ok(member)
    }

    pub(super) async fn page_of_accesses(
        &self,
        program: &ProgramId,
        member: Option<MemberId>,
        request: &pb::ListMemberAccessesRequest,
    ) -> Result<pb::ListMemberAccessesResponse, Status> {
        let pb::ListMemberAccessesRequest { parent, page_size, page_token } = request;
        let filter = ["memberAccesses", parent];
        let page = Page::parse(&filter, *page_size, page_token)?;
        let mut tx = self.database.read().await.map_err(Error::from)?;
        let accesses = store::accesses(&mut tx, &self.keyring, program, member, after(&page)?, page.limit()).await;
        let (accesses, next_page_token) = page.cut(accesses.map_err(Error::from)?, |access| [access.id.to_string()]);
        let member_accesses = accesses.into_iter().map(|access| answer::access(program, access)).collect();
        Ok(pb::ListMemberAccessesResponse { member_accesses, next_page_token })
    }
}

/// The id that a page begins after; the least id of all on the first page.
fn after(page: &Page<'_, 1>) -> Result<Uuid, Error> {
    match &page.after {
        None => Ok(Uuid::nil()),
        Some([id]) => id.parse().map_err(|_| Error::invalid("page_token", "is not of this list")),
    }
}
