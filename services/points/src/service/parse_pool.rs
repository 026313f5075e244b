//! Requests about pools. A pool stands in its account in a member's place.

use kernel::{MemberId, ProgramId, name};
use persistence::RequestKey;
use proto::points as pb;
use tonic::Status;

use super::parse::{Circumstances, bad_name, origin, parse_member};
use super::{Call, Parsed, Rpcs};
use crate::domain::{AccountId, ChangePool, Command, LeavePool, PoolChange, Redeem, RedeemFromPool, Transfer};
use crate::executor::Target;
use crate::message::wallet_or_main;

const POOL: &str = "programs/{program}/pools/{pool}";

pub(super) fn parse_pool(field: &'static str, text: &str) -> Result<(ProgramId, MemberId), Status> {
    let [program, pool] = name::segments(text, POOL).map_err(bad_name(field))?;
    let program = ProgramId::parse(program).map_err(bad_name(field))?;
    Ok((program, MemberId(name::uuid(pool, POOL).map_err(bad_name(field))?)))
}

impl Rpcs {
    pub(super) async fn parse_create_pool(&self, call: &Call, message: &pb::CreatePoolRequest) -> Result<Parsed, Status> {
        let pb::CreatePoolRequest { member, shares, request_id } = message;
        let (program, owner) = parse_member("member", member)?;
        // By the request, so that the same request opens the same pool.
        let pool = MemberId(RequestKey::new(&self.keyring, &program, request_id, message).id());
        self.change(call, (program, pool), owner, owner, PoolChange::Opened { shares: *shares }).await
    }

    pub(super) async fn parse_invite(&self, call: &Call, message: &pb::InviteToPoolRequest) -> Result<Parsed, Status> {
        let pb::InviteToPoolRequest { pool, member, invited_member, request_id: _ } = message;
        let (_, owner) = parse_member("member", member)?;
        let (_, invited) = parse_member("invited_member", invited_member)?;
        self.change(call, parse_pool("pool", pool)?, invited, owner, PoolChange::Invited).await
    }

    pub(super) async fn parse_join(&self, call: &Call, message: &pb::JoinPoolRequest) -> Result<Parsed, Status> {
        let pb::JoinPoolRequest { pool, member, shares, request_id: _ } = message;
        let (_, member) = parse_member("member", member)?;
        self.change(call, parse_pool("pool", pool)?, member, member, PoolChange::Joined { shares: *shares }).await
    }

    pub(super) async fn parse_sharing(&self, call: &Call, message: &pb::SetPoolSharingRequest) -> Result<Parsed, Status> {
        let pb::SetPoolSharingRequest { pool, member, shares, request_id: _ } = message;
        let (_, member) = parse_member("member", member)?;
        self.change(call, parse_pool("pool", pool)?, member, member, PoolChange::Shares(*shares)).await
    }

    pub(super) async fn parse_contribute(&self, call: &Call, message: &pb::ContributeToPoolRequest) -> Result<Parsed, Status> {
        let pb::ContributeToPoolRequest { pool, member, wallet: name, points, request_id: _ } = message;
        let (program, pool) = parse_pool("pool", pool)?;
        let (_, member) = parse_member("member", member)?;
        let transfer =
            Transfer { wallet: wallet_or_main(name), points: *points, reason: "brought into the pool".to_owned(), into_pool: true };
        self.pooled(call, program, (member, Some(pool)), Command::Transfer(transfer), &Circumstances::default()).await
    }

    pub(super) async fn parse_leave(&self, call: &Call, message: &pb::LeavePoolRequest) -> Result<Parsed, Status> {
        let pb::LeavePoolRequest { pool, member, request_id: _ } = message;
        let (program, pool) = parse_pool("pool", pool)?;
        let (_, member) = parse_member("member", member)?;
        let leave = LeavePool { member, account: AccountId::of(&program, member) };
        self.pooled(call, program, (pool, Some(member)), Command::LeavePool(leave), &Circumstances::default()).await
    }

    pub(super) async fn parse_pool_redeem(&self, call: &Call, message: &pb::RedeemFromPoolRequest) -> Result<Parsed, Status> {
        let pb::RedeemFromPoolRequest { pool, member, points, mode: _, wallet: name, reference, store, terminal, request_id: _, cashier } =
            message;
        let up_to = message.mode() == pb::redeem_request::Mode::UpTo;
        let (program, pool) = parse_pool("pool", pool)?;
        let (_, spender) = parse_member("member", member)?;
        let redeem = Redeem { wallet: wallet_or_main(name), points: *points, up_to, reference: reference.clone() };
        let command = Command::RedeemFromPool(RedeemFromPool { spender, redeem });
        let at = Circumstances { store, terminal, cashier, ..Circumstances::default() };
        self.pooled(call, program, (pool, Some(spender)), command, &at).await
    }

    async fn change(
        &self,
        call: &Call,
        (program, pool): (ProgramId, MemberId),
        member: MemberId,
        by: MemberId,
        change: PoolChange,
    ) -> Result<Parsed, Status> {
        let account = AccountId::of(&program, member);
        let command = Command::ChangePool(ChangePool { member, account, by, change });
        self.pooled(call, program, (pool, None), command, &Circumstances::default()).await
    }

    async fn pooled(
        &self,
        call: &Call,
        program: ProgramId,
        (first, other): (MemberId, Option<MemberId>),
        command: Command,
        at: &Circumstances<'_>,
    ) -> Result<Parsed, Status> {
        let program = self.program(&program).await?;
        Ok(Parsed { program, member: Some(first), other, command, target: Target::Account, origin: origin(call, "", at)? })
    }
}
