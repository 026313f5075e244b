//! Referrals.

use kernel::{MemberId, ProgramId, Uuid, name};
use persistence::{RequestKey, retry};
use proto::referrals as pb;
use rpc::CallerExt;
use rpc::status::{self, Answer};
use rpc::wire::Page;
use tonic::{Request, Response, Status};

use super::{ReferralsRpcs, convert, first_answer, member, program};
use crate::domain::{CodeText, Referral, VoidReason};
use crate::error::Error;
use crate::progress;
use crate::store::{self, Filter};

/// Who is to be attributed by which code.
struct AttributeFriend {
    program: ProgramId,
    friend: MemberId,
    code: CodeText,
}

/// Which referral is to be voided, why, and by whom.
struct VoidReferral {
    program: ProgramId,
    id: Uuid,
    reason: VoidReason,
    actor: String,
}

impl ReferralsRpcs {
    pub(super) async fn attribute_friend(&self, request: Request<pb::AttributeFriendRequest>) -> Result<Response<pb::Referral>, Status> {
        let message = request.into_inner();
        let (program, friend) = member("friend", &message.friend)?;
        let code = CodeText::parse(&message.code).ok_or(Error::CodeNotValid)?;
        let key = RequestKey::new(&self.keyring, &program, &message.request_id, &message);
        let command = AttributeFriend { program, friend, code };
        let answer = retry(|| self.try_attribute_friend(&key, &command)).await?;
        Ok(answer.into_response())
    }

    pub(super) async fn get_referral(&self, request: Request<pb::GetReferralRequest>) -> Result<Response<pb::Referral>, Status> {
        let (program, id) = referral_name(&request.get_ref().name)?;
        let referral = self.read_referral(&program, id).await?;
        Ok(Response::new(convert::referral(&referral)))
    }

    pub(super) async fn list_referrals(
        &self,
        request: Request<pb::ListReferralsRequest>,
    ) -> Result<Response<pb::ListReferralsResponse>, Status> {
        let message = request.into_inner();
        let program = program("parent", &message.parent)?;
        let narrowed = Filter {
            advocate: narrowed("advocate", &message.advocate)?,
            friend: narrowed("friend", &message.friend)?,
            state: convert::state_word(message.state()),
        };
        let filter = ["referrals", &message.parent, &message.advocate, &message.friend, narrowed.state.unwrap_or_default()];
        let page: Page<'_, 1> = Page::parse(&filter, message.page_size, &message.page_token)?;
        let before = match &page.after {
            None => Uuid::max(),
            Some([last]) => Uuid::try_parse(last).map_err(|_| status::bad_request([("page_token", "not a page token of this list")]))?,
        };
        let referrals = self.read_referrals(&program, &narrowed, before, page.limit()).await?;
        let (referrals, next_page_token) = page.cut(referrals, |referral| [referral.id.to_string()]);
        Ok(Response::new(pb::ListReferralsResponse { referrals: referrals.iter().map(convert::referral).collect(), next_page_token }))
    }

    pub(super) async fn void_referral(&self, request: Request<pb::VoidReferralRequest>) -> Result<Response<pb::Referral>, Status> {
        let actor = request.caller().actor();
        let message = request.into_inner();
        let (program, id) = referral_name(&message.name)?;
        let reason = convert::void_reason_of(message.reason()).ok_or_else(|| status::bad_request([("reason", "must be a caller's")]))?;
        let key = RequestKey::new(&self.keyring, &program, &message.request_id, &message);
        let command = VoidReferral { program, id, reason, actor };
        let answer = retry(|| self.try_void_referral(&key, &command)).await?;
        Ok(answer.into_response())
    }

    async fn try_attribute_friend(&self, request: &RequestKey, command: &AttributeFriend) -> Result<Answer<pb::Referral>, Error> {
        let AttributeFriend { program, friend, code } = command;
        let now = self.context.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = first_answer(&mut tx, request).await? {
            return Ok(first);
        }
        let known = store::locked_friend(&mut tx, program, *friend).await?;
        let referral = match store::binding_referral(&mut tx, program, *friend).await? {
            Some(referral) if referral.origin.as_ref().is_some_and(|origin| origin.code == *code) => referral,
            Some(referral) => return Err(Error::FriendAlreadyReferred { referral: referral.name() }),
            None => {
                let code = store::locked_code(&mut tx, program, code).await?.ok_or(Error::CodeNotValid)?;
                let plan = store::newest_plan(&mut tx, program, &code.plan).await?.ok_or(Error::CodeNotValid)?;
                let referral = Referral::from_call(self.context.uuid(), (program, *friend), &known, (&code, &plan), now)?;
                store::update_code(&mut tx, &code.used()).await?;
                progress::begun(&mut tx, &self.context, &referral).await?;
                referral
            }
        };
        let answer = convert::referral(&referral);
        self.remember(&mut tx, request, &answer).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn try_void_referral(&self, request: &RequestKey, command: &VoidReferral) -> Result<Answer<pb::Referral>, Error> {
        let VoidReferral { program, id, reason, actor } = command;
        let mut tx = self.database.begin().await?;
        if let Some(first) = first_answer(&mut tx, request).await? {
            return Ok(first);
        }
        let referral = progress::locked_referral(&mut tx, program, *id).await?.ok_or(Error::ReferralNotFound)?;
        let voided = referral.voided(*reason, actor.clone(), self.context.now())?;
        progress::moved(&mut tx, &self.context, &referral, &voided).await?;
        let answer = convert::referral(&voided);
        self.remember(&mut tx, request, &answer).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    async fn read_referral(&self, program: &ProgramId, id: Uuid) -> Result<Referral, Error> {
        let mut tx = self.database.read().await?;
        store::referral(&mut tx, program, id).await?.ok_or(Error::ReferralNotFound)
    }

    async fn read_referrals(&self, program: &ProgramId, filter: &Filter, before: Uuid, limit: i64) -> Result<Vec<Referral>, Error> {
        let mut tx = self.database.read().await?;
        Ok(store::referrals_before(&mut tx, program, filter, before, limit).await?)
    }
}

/// Reads `programs/{program}/referrals/{referral}`. What cannot be an id does not exist.
fn referral_name(text: &str) -> Result<(ProgramId, Uuid), Error> {
    const PATTERN: &str = "programs/{program}/referrals/{referral}";
    let [program, id] = name::segments(text, PATTERN).map_err(|_| Error::ReferralNotFound)?;
    let program = ProgramId::parse(program).map_err(|_| Error::ReferralNotFound)?;
    Ok((program, name::uuid(id, PATTERN).map_err(|_| Error::ReferralNotFound)?))
}

/// A member that a list is narrowed to; none when the text is empty. It lies in the list's program: the codec has seen to that.
fn narrowed(field: &str, text: &str) -> Result<Option<MemberId>, Status> {
    if text.is_empty() { Ok(None) } else { member(field, text).map(|(_, id)| Some(id)) }
}
