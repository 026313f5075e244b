//! TiersService: protobuf in, protobuf out. `schemes` sets schemes up, `read` answers questions, `grants` changes a member.

mod grants;
mod read;
mod schemes;

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Context, MemberId, ProgramId, name};
use persistence::{Database, Keyring, Tx};
use prost::Message;
use proto::tiers as pb;
use proto::tiers::tiers_service_server::TiersService;
use rpc::directory::Program;
use rpc::{CallerExt, Directory};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::convert;
use crate::domain::scheme::Scheme;
use crate::error::Error;
use crate::store::{self, Member};

/// The RPCs, and what the consumer and the job need.
#[derive(Clone)]
pub(crate) struct Rpcs {
    pub(crate) database: Database,
    pub(crate) context: Context,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Directory,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl TiersService for Rpcs {
    async fn create_scheme(&self, request: Request<pb::CreateSchemeRequest>) -> Result<Response<pb::Scheme>, Status> {
        Ok(self.create(request.into_inner()).await?.into_response())
    }

    async fn update_scheme(&self, request: Request<pb::UpdateSchemeRequest>) -> Result<Response<pb::Scheme>, Status> {
        Ok(self.update(request.into_inner()).await?.into_response())
    }

    async fn get_scheme(&self, request: Request<pb::GetSchemeRequest>) -> Result<Response<pb::Scheme>, Status> {
        Ok(Response::new(self.scheme(request.into_inner()).await?))
    }

    async fn list_schemes(&self, request: Request<pb::ListSchemesRequest>) -> Result<Response<pb::ListSchemesResponse>, Status> {
        Ok(Response::new(self.schemes(request.into_inner()).await?))
    }

    async fn get_member_tier(&self, request: Request<pb::GetMemberTierRequest>) -> Result<Response<pb::MemberTier>, Status> {
        Ok(Response::new(self.member_tier(request.into_inner()).await?))
    }

    async fn list_tier_holdings(
        &self,
        request: Request<pb::ListTierHoldingsRequest>,
    ) -> Result<Response<pb::ListTierHoldingsResponse>, Status> {
        Ok(Response::new(self.holdings(request.into_inner()).await?))
    }

    async fn list_tier_transitions(
        &self,
        request: Request<pb::ListTierTransitionsRequest>,
    ) -> Result<Response<pb::ListTierTransitionsResponse>, Status> {
        Ok(Response::new(self.transitions(request.into_inner()).await?))
    }

    async fn evaluate_member(&self, request: Request<pb::EvaluateMemberRequest>) -> Result<Response<pb::MemberTier>, Status> {
        Ok(self.evaluate(request.into_inner()).await?.into_response())
    }

    async fn grant_tier(&self, request: Request<pb::GrantTierRequest>) -> Result<Response<pb::TierGrant>, Status> {
        let actor = request.caller().actor();
        Ok(self.grant(request.into_inner(), actor).await?.into_response())
    }

    async fn revoke_grant(&self, request: Request<pb::RevokeGrantRequest>) -> Result<Response<pb::TierGrant>, Status> {
        Ok(self.revoke(request.into_inner()).await?.into_response())
    }

    async fn list_tier_grants(&self, request: Request<pb::ListTierGrantsRequest>) -> Result<Response<pb::ListTierGrantsResponse>, Status> {
        Ok(Response::new(self.grants(request.into_inner()).await?))
    }
}

impl Rpcs {
    /// Every version of a scheme in order; empty without such a scheme.
    pub(crate) async fn versions(&self, tx: &mut Tx, program: &ProgramId, scheme: &str) -> Result<Vec<Scheme>, persistence::Error> {
        store::scheme_versions(tx, program, scheme).await?.iter().map(|bytes| stored(bytes).map(|(_, scheme)| scheme)).collect()
    }

    /// The same for the schemes of a program, or one of them, which stay as they are until the end of the transaction.
    pub(crate) async fn locked_versions(
        &self,
        tx: &mut Tx,
        program: &ProgramId,
        scheme: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<Scheme>>, persistence::Error> {
        let mut schemes: BTreeMap<String, Vec<Scheme>> = BTreeMap::new();
        store::lock_schemes(tx, program, scheme).await?;
        for (id, bytes) in store::schemes(tx, program, scheme).await? {
            schemes.entry(id).or_default().push(stored(&bytes)?.1);
        }
        Ok(schemes)
    }

    async fn program(&self, id: &ProgramId) -> Result<Arc<Program>, Error> {
        self.directory.program(id).await?.ok_or(Error::ProgramNotFound)
    }
}

/// A version as it was written.
fn stored(bytes: &[u8]) -> Result<(pb::Scheme, Scheme), persistence::Error> {
    let damaged = || persistence::Error::Corrupt("a version of a scheme".to_owned());
    let message = pb::Scheme::decode(bytes).map_err(|_| damaged())?;
    let start = message.start_time.as_ref().and_then(|time| kernel::Timestamp::from_parts(time.seconds, time.nanos));
    let scheme = convert::scheme(&message, start.ok_or_else(damaged)?).map_err(|_| damaged())?;
    Ok((message, scheme))
}

/// A member's tier in a scheme, out of its name.
struct TierName {
    member: Member,
    scheme: String,
}

impl TierName {
    fn parse(field: &str, name: &str) -> Result<TierName, Error> {
        const PATTERN: &str = "programs/{program}/members/{member}/tiers/{scheme}";
        let parts = || {
            let [program, member, scheme] = name::segments(name, PATTERN)?;
            TierName::of(program, member, scheme, PATTERN)
        };
        parts().map_err(|error| Error::invalid(field, error.to_string()))
    }

    fn of(program: &str, member: &str, scheme: &str, pattern: &'static str) -> Result<TierName, kernel::NameError> {
        let member = Member { program: ProgramId::parse(program)?, id: MemberId(name::uuid(member, pattern)?) };
        Ok(TierName { member, scheme: scheme.to_owned() })
    }

    fn name(&self) -> String {
        tier_name(&self.member, &self.scheme)
    }
}

fn tier_name(member: &Member, scheme: &str) -> String {
    format!("{}/tiers/{scheme}", member.name())
}

fn program_of(field: &str, name: &str) -> Result<ProgramId, Error> {
    name::program(name).map_err(|error| Error::invalid(field, error.to_string()))
}

fn scheme_of(field: &str, name: &str) -> Result<(ProgramId, String), Error> {
    let invalid = |error: kernel::NameError| Error::invalid(field, error.to_string());
    let [program, scheme] = name::segments(name, "programs/{program}/schemes/{scheme}").map_err(invalid)?;
    Ok((ProgramId::parse(program).map_err(invalid)?, scheme.to_owned()))
}
