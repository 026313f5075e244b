//! Changing what a member holds: evaluations on request, and grants.

use kernel::{NameError, Timestamp, Uuid, name};
use persistence::{DbTime, RequestKey, Tx, retry};
use prost::Message;
use proto::tiers as pb;
use proto::tiers::tier_transition::Cause;
use rpc::Answer;
use rpc::wire::{Page, moment, timestamp};
use tonic::Status;

use super::{Rpcs, TierName, read};
use crate::error::Error;
use crate::evaluation::{Known, Reason, evaluate};
use crate::store::{self, StoredGrant};

impl Rpcs {
    pub(super) async fn evaluate(&self, message: pb::EvaluateMemberRequest) -> Result<Answer<pb::MemberTier>, Status> {
        let name = TierName::parse("name", &message.name)?;
        Ok(retry(|| self.try_evaluate_member(&message, &name)).await?)
    }

    async fn try_evaluate_member(&self, message: &pb::EvaluateMemberRequest, name: &TierName) -> Result<Answer<pb::MemberTier>, Error> {
        let key = RequestKey::new(&self.keyring, &name.member.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let answer = self.evaluate_for(&mut tx, name, Cause::Request, "").await?;
        tx.remember(&key, &answer.encode_to_vec(), Some(name.member.id.0), None, self.context.now()).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    /// Locks a member, evaluates and answers what holds now.
    async fn evaluate_for(&self, tx: &mut Tx, name: &TierName, cause: Cause, cause_name: &str) -> Result<pb::MemberTier, Error> {
        let program = self.program(&name.member.program).await?;
        store::lock_member(tx, &name.member).await?;
        let versions = self.locked_versions(tx, &name.member.program, Some(&name.scheme)).await?.remove(&name.scheme);
        let known = Known::read(tx, &name.member, &name.scheme, versions.ok_or(Error::SchemeNotFound)?).await?;
        let now = self.context.now();
        let reason = Reason { since: now.into(), cause, name: cause_name, event_id: "", historical: false };
        let found = evaluate(tx, &self.context, &program.zone, &name.member, &name.scheme, &known, &reason).await?;
        read::answer(tx, name, &known, &found, now, &program.zone).await
    }

    pub(super) async fn grant(&self, message: pb::GrantTierRequest, actor: String) -> Result<Answer<pb::TierGrant>, Status> {
        let name = TierName::parse("parent", &message.parent)?;
        let end = message.end_time.as_ref().map(|end| moment("end_time", end)).transpose()?;
        Ok(retry(|| self.try_grant(&message, &name, end, &actor)).await?)
    }

    async fn try_grant(
        &self,
        message: &pb::GrantTierRequest,
        name: &TierName,
        end: Option<Timestamp>,
        actor: &str,
    ) -> Result<Answer<pb::TierGrant>, Error> {
        let key = RequestKey::new(&self.keyring, &name.member.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let now = self.context.now();
        if end.is_some_and(|end| end <= now) {
            return Err(Error::invalid("end_time", "must be in the future"));
        }
        let versions = self.versions(&mut tx, &name.member.program, &name.scheme).await?;
        let newest = versions.last().ok_or(Error::SchemeNotFound)?;
        if newest.level(&message.level).is_none() {
            return Err(Error::invalid("level", "must be a level of the scheme"));
        }
        let grant = StoredGrant {
            grant_id: self.context.uuid(),
            level_id: message.level.clone(),
            start_time: DbTime(now),
            end_time: end.map(DbTime),
            approver: message.approver.clone(),
            reason: message.reason.clone(),
            actor: actor.to_owned(),
            revoke_time: None,
            revoke_reason: String::new(),
        };
        store::lock_member(&mut tx, &name.member).await?;
        store::insert_grant(&mut tx, &name.member, &name.scheme, &grant).await?;
        let answer = answer(name, &grant);
        self.evaluate_for(&mut tx, name, Cause::Grant, &answer.name).await?;
        tx.remember(&key, &answer.encode_to_vec(), Some(name.member.id.0), None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn revoke(&self, message: pb::RevokeGrantRequest) -> Result<Answer<pb::TierGrant>, Status> {
        let (name, grant) = grant_name(&message.name).map_err(|error| Error::invalid("name", error.to_string()))?;
        Ok(retry(|| self.try_revoke(&message, &name, grant)).await?)
    }

    async fn try_revoke(&self, message: &pb::RevokeGrantRequest, name: &TierName, id: Uuid) -> Result<Answer<pb::TierGrant>, Error> {
        let key = RequestKey::new(&self.keyring, &name.member.program, &message.request_id, message);
        let mut tx = self.database.begin().await?;
        if let Some(first) = tx.remembered(&key).await? {
            return Ok(Answer::replay(first.message(None)?));
        }
        let now = self.context.now();
        let TierName { member, scheme } = name;
        if store::grant(&mut tx, member, scheme, id).await?.is_none() {
            return Err(Error::GrantNotFound);
        }
        store::lock_member(&mut tx, member).await?;
        if store::revoke_grant(&mut tx, member, scheme, id, now, &message.reason).await? {
            self.evaluate_for(&mut tx, name, Cause::Revocation, &message.name).await?;
        }
        let revoked = store::grant(&mut tx, member, scheme, id).await?.ok_or(Error::GrantNotFound)?;
        let answer = answer(name, &revoked);
        tx.remember(&key, &answer.encode_to_vec(), Some(member.id.0), None, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn grants(&self, message: pb::ListTierGrantsRequest) -> Result<pb::ListTierGrantsResponse, Status> {
        let pb::ListTierGrantsRequest { parent, page_size, page_token } = message;
        let name = TierName::parse("parent", &parent)?;
        let filter = ["grants", &parent];
        let page: Page<'_, 1> = Page::parse(&filter, page_size, &page_token)?;
        let after = page.after.as_ref().and_then(|[after]| Uuid::try_parse(after).ok()).unwrap_or_default();
        let mut tx = self.database.read().await.map_err(Error::from)?;
        let found = store::list_grants(&mut tx, &name.member, &name.scheme, after, page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) = page.cut(found, |grant| [grant.grant_id.to_string()]);
        Ok(pb::ListTierGrantsResponse { grants: found.iter().map(|grant| answer(&name, grant)).collect(), next_page_token })
    }
}

fn answer(name: &TierName, grant: &StoredGrant) -> pb::TierGrant {
    let StoredGrant { grant_id, level_id, start_time, end_time, approver, reason, actor, revoke_time, revoke_reason } = grant;
    pb::TierGrant {
        name: format!("{}/grants/{grant_id}", name.name()),
        level: level_id.clone(),
        start_time: Some(timestamp((*start_time).into())),
        end_time: end_time.map(|time| timestamp(time.into())),
        approver: approver.clone(),
        reason: reason.clone(),
        actor: actor.clone(),
        revoke_time: revoke_time.map(|time| timestamp(time.into())),
        revoke_reason: revoke_reason.clone(),
    }
}

fn grant_name(text: &str) -> Result<(TierName, Uuid), NameError> {
    const PATTERN: &str = "programs/{program}/members/{member}/tiers/{scheme}/grants/{grant}";
    let [program, member, scheme, grant] = name::segments(text, PATTERN)?;
    Ok((TierName::of(program, member, scheme, PATTERN)?, name::uuid(grant, PATTERN)?))
}
