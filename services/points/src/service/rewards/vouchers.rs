use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid, name};
use persistence::{Error, RequestKey};
use prost::{Message, Name};
use proto::check::Checked;
use proto::points as pb;
use rpc::wire::Page;
use rpc::{Answer, status};
use tonic::Status;

use super::super::parse::{bad_name, parse_member};
use super::super::{Call, Rpcs, not_answered};
use super::catalogue::{check_terms, parse_reward};
use super::codes::{is_told_code, reads_codes};
use crate::domain::AccountId;
use crate::domain::rewards::{RewardRefusal, Voucher};
use crate::executor::{Ensure, Fresh, Grant, Target, Told, VoucherChange, VoucherJob};
use crate::message::rewards::{self as told, RememberedVoucher, RememberedWish};
use crate::program::Program;
use crate::reward_error::RewardError;
use crate::store;

const VOUCHER: &str = "programs/{program}/members/{member}/vouchers/{voucher}";

/// Program, member and id of a voucher.
pub(super) fn parse_voucher(field: &'static str, text: &str) -> Result<(ProgramId, MemberId, Uuid), Status> {
    let [program, member, voucher] = name::segments(text, VOUCHER).map_err(bad_name(field))?;
    let program = ProgramId::parse(program).map_err(bad_name(field))?;
    let member = MemberId(name::uuid(member, VOUCHER).map_err(bad_name(field))?);
    Ok((program, member, name::uuid(voucher, VOUCHER).map_err(bad_name(field))?))
}

impl Rpcs {
    /// Hands a change to the vouchers' write path, and reads its answer.
    pub(super) async fn change_voucher<R, M>(
        &self,
        call: &Call,
        program: Arc<Program>,
        request: (&str, &R),
        change: VoucherChange,
    ) -> Result<Answer<M>, Status>
    where
        R: Message + Name + Checked,
        M: Message + Default,
    {
        let key = RequestKey::new(&self.keyring, &program.id, request.0, request.1);
        let job = VoucherJob { program, key, change };
        let Told { answer, replayed } = self.vouchers.submit(job.change.lane(), job, call.deadline).await.map_err(not_answered)??;
        let message = M::decode(&answer[..]).map_err(|_| status::from_store(Error::Corrupt("answer of a voucher".to_owned())))?;
        Ok(Answer { message, replayed })
    }

    /// The voucher that a change may issue.
    fn fresh(&self, program: &ProgramId) -> Fresh {
        let id = self.context.uuid();
        Fresh { id, seal: self.seal(program, id) }
    }

    pub(super) async fn grant_voucher(&self, call: &Call, message: pb::GrantVoucherRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member) = parse_member("parent", &message.parent)?;
        let program = self.program(&program).await?;
        let terms = message.terms.as_ref().ok_or_else(|| status::bad_request([("terms", "must be set")]))?;
        let validity = check_terms(&program, "terms", terms)?.validity;
        let details = told::voucher_details(&message.title, terms, String::new(), message.reason());
        let key = Target::grant(&program.id, &message.grant_key);
        let fresh = self.fresh(&program.id);
        let change = VoucherChange::Grant(Grant { member, key, validity, details, fresh });
        let answer = self.change_voucher(call, program, (&message.request_id, &message), change).await?;
        Ok(self.shown(answer, is_told_code(call.caller.role)))
    }

    pub(in crate::service) async fn ensure_voucher(
        &self,
        call: &Call,
        message: pb::EnsureVoucherRequest,
    ) -> Result<Answer<pb::EnsureVoucherResponse>, Status> {
        let (program, member) = parse_member("member", &message.member)?;
        let (_, reward) = parse_reward("reward", &message.reward)?;
        let program = self.program(&program).await?;
        let key = Target::wish(&program.id, &message.wish_key);
        let fresh = self.fresh(&program.id);
        let (wanted, version, reason) = (message.wanted, message.version, message.reason());
        let change = VoucherChange::Ensure(Ensure { member, key, reward, wanted, version, reason, fresh });
        let answer = self.change_voucher(call, program, (&message.request_id, &message), change).await?;
        let Answer { message: RememberedWish { version, had, issued }, replayed } = answer;
        let in_full = reads_codes(call.caller.role);
        let voucher = issued.map(|issued| self.shown(Answer { message: issued, replayed }, in_full).message);
        Ok(Answer { message: pb::EnsureVoucherResponse { version, had, voucher }, replayed })
    }

    pub(super) async fn void_voucher_use(&self, call: &Call, message: pb::VoidVoucherUseRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member, voucher) = parse_voucher("name", &message.name)?;
        let program = self.program(&program).await?;
        let change = VoucherChange::Void { voucher, member, order: message.order_reference.clone() };
        let answer = self.change_voucher(call, program, (&message.request_id, &message), change).await?;
        Ok(self.shown(answer, reads_codes(call.caller.role)))
    }

    pub(super) async fn revoke_voucher(&self, call: &Call, message: pb::RevokeVoucherRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member, voucher) = parse_voucher("name", &message.name)?;
        let program = self.program(&program).await?;
        let change = VoucherChange::Revoke { voucher, member, reason: message.reason.clone() };
        let answer = self.change_voucher(call, program, (&message.request_id, &message), change).await?;
        Ok(self.shown(answer, reads_codes(call.caller.role)))
    }

    pub(super) async fn voucher(&self, call: &Call, message: pb::GetVoucherRequest) -> Result<pb::Voucher, Status> {
        let (program, member, id) = parse_voucher("name", &message.name)?;
        let program = self.program(&program).await?;
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let voucher = store::voucher(&mut tx, &program.id, id).await.map_err(status::from_store)?;
        let voucher = voucher.filter(|voucher| voucher.member == member).ok_or(RewardError::from(RewardRefusal::VoucherNotFound))?;
        self.told(call, &program, &voucher).map_err(status::from_store)
    }

    pub(super) async fn vouchers(&self, call: &Call, message: pb::ListVouchersRequest) -> Result<pb::ListVouchersResponse, Status> {
        let pb::ListVouchersRequest { parent, page_size, page_token } = message;
        let (program, member) = parse_member("parent", &parent)?;
        let program = self.program(&program).await?;
        let filter = ["vouchers", &parent];
        let page = Page::<2>::parse(&filter, page_size, &page_token)?;
        let wrong = || status::bad_request([("page_token", "not a page token of this list")]);
        let before = match &page.after {
            Some([at, id]) => (Timestamp::from_micros(at.parse().map_err(|_| wrong())?), Uuid::parse_str(id).map_err(|_| wrong())?),
            None => (Timestamp::MAX, Uuid::max()),
        };
        let own = AccountId::of(&program.id, member);
        let mut tx = self.database.read().await.map_err(status::from_store)?;
        let account = store::read_account(&mut tx, own).await.map_err(status::from_store)?.account;
        let rows = store::vouchers_of(&mut tx, &account.accounts(own), before, page.limit()).await.map_err(status::from_store)?;
        let (rows, next_page_token) = page.cut(rows, |voucher| [voucher.issued_at.as_micros().to_string(), voucher.id.to_string()]);
        let vouchers = rows.iter().map(|voucher| self.told(call, &program, voucher)).collect::<Result<_, _>>();
        Ok(pb::ListVouchersResponse { vouchers: vouchers.map_err(status::from_store)?, next_page_token })
    }

    /// A remembered voucher with its code.
    fn shown(&self, answer: Answer<RememberedVoucher>, in_full: bool) -> Answer<pb::Voucher> {
        let Answer { message: RememberedVoucher { voucher, key_version }, replayed } = answer;
        let mut voucher = voucher.unwrap_or_default();
        self.add_code(&mut voucher, key_version, in_full);
        Answer { message: voucher, replayed }
    }

    /// Fills in the code of a voucher, in full or only its end.
    pub(super) fn add_code(&self, voucher: &mut pb::Voucher, key_version: i64, in_full: bool) {
        let id = voucher.name.rsplit('/').next().and_then(|id| Uuid::parse_str(id).ok());
        told::show_code(voucher, id.and_then(|id| self.code(id, key_version)), in_full);
    }

    /// A voucher as the caller may see it.
    fn told(&self, call: &Call, program: &Program, voucher: &Voucher) -> Result<pb::Voucher, Error> {
        let mut told = told::voucher(program, voucher)?;
        told::show_code(&mut told, self.code(voucher.id, voucher.seal.key_version), reads_codes(call.caller.role));
        Ok(told)
    }
}
