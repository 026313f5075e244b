use std::sync::Arc;

use kernel::{MemberId, ProgramId, Timestamp, Uuid, name};
use persistence::{Error, RequestKey, retry};
use prost::Message;
use proto::points as pb;
use rpc::wire::Page;
use rpc::{Answer, status};
use tonic::Status;

use super::super::changes::{remember, remembered};
use super::super::parse::{bad_name, parse_member};
use super::super::{Call, Rpcs};
use super::catalogue::check_terms;
use super::codes::{is_told_code, reads_codes};
use super::error::RewardError;
use crate::domain::rewards::{RewardRefusal, Voucher, VoucherState};
use crate::domain::{AccountId, MemberStatus, Refusal};
use crate::executor::Target;
use crate::message::rewards::{self as told, RememberedVoucher};
use crate::program::Program;
use crate::store;

const VOUCHER: &str = "programs/{program}/members/{member}/vouchers/{voucher}";

/// Program, member and id of a voucher.
pub(super) fn parse_voucher(field: &'static str, text: &str) -> Result<(ProgramId, MemberId, Uuid), Status> {
    let [program, member, voucher] = name::segments(text, VOUCHER).map_err(bad_name(field))?;
    let program = ProgramId::parse(program).map_err(bad_name(field))?;
    let member = MemberId(name::uuid(member, VOUCHER).map_err(bad_name(field))?);
    Ok((program, member, name::uuid(voucher, VOUCHER).map_err(bad_name(field))?))
}

/// A change of one voucher.
enum Change<'a> {
    /// Its order was cancelled.
    Void { order: &'a str },
    /// It is to be worthless.
    Revoke { reason: &'a str },
}

impl Change<'_> {
    /// How the voucher stands afterwards.
    fn made(&self, state: &VoucherState) -> Result<VoucherState, RewardError> {
        match (self, state) {
            (Change::Void { order }, VoucherState::Used(used)) if used.order == *order => Ok(VoucherState::Usable),
            (Change::Void { .. }, _) => Err(RewardError::NotUsed),
            (Change::Revoke { reason }, VoucherState::Usable) => Ok(VoucherState::Revoked((*reason).to_owned())),
            (Change::Revoke { .. }, VoucherState::Used(_)) => Err(RewardRefusal::VoucherUsed.into()),
            (Change::Revoke { .. }, VoucherState::Revoked(_)) => Err(RewardRefusal::VoucherRevoked.into()),
            (Change::Revoke { .. }, VoucherState::Refunded { .. }) => Err(RewardRefusal::VoucherRefunded.into()),
        }
    }
}

/// A grant to be made.
struct Grant {
    program: Arc<Program>,
    member: MemberId,
    key: Uuid,
    details: Arc<[u8]>,
    terms: pb::VoucherTerms,
}

impl Rpcs {
    pub(super) async fn grant_voucher(&self, call: &Call, message: pb::GrantVoucherRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member) = parse_member("parent", &message.parent)?;
        let program = self.program(&program).await?;
        let terms = message.terms.clone().ok_or_else(|| status::bad_request([("terms", "must be set")]))?;
        check_terms(&program, "terms", &terms)?;
        let details = told::voucher_details(&message.title, &terms, String::new(), message.reason());
        let grant_key = Target::grant(&program.id, &message.grant_key);
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let grant = Grant { program, member, key: grant_key, details, terms };
        let answer = retry(|| self.try_grant(&key, &grant)).await?;
        Ok(self.shown(answer, is_told_code(call.caller.role)))
    }

    async fn try_grant(&self, key: &RequestKey, grant: &Grant) -> Result<Answer<RememberedVoucher>, RewardError> {
        let now = self.now();
        let Grant { program, member, key: grant_key, details, terms } = grant;
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        if let Some(operation) = store::granted(&mut tx, *grant_key).await? {
            let missing = || Error::Corrupt("a grant without its operation".to_owned());
            let stored = store::read_operation(&mut tx, operation, now).await?.ok_or_else(missing)?;
            match key.check(&stored.fingerprint) {
                Err(Error::RequestIdReused { field }) => return Err(RewardError::GrantExists { field }),
                checked => checked?,
            }
            let first = RememberedVoucher::decode(&stored.answer[..]).map_err(|_| missing())?;
            // The request id that was answered is bound from now on, like the one that came first.
            remember(&mut tx, key, &first, now).await?;
            tx.commit().await?;
            return Ok(Answer::replay(first));
        }
        let account = AccountId::of(&program.id, *member);
        match store::read_account(&mut tx, account).await?.facts.status {
            MemberStatus::Active => {}
            MemberStatus::Blocked => return Err(Refusal::MemberBlocked.into()),
            MemberStatus::Closed => return Err(Refusal::MemberClosed.into()),
        }
        let terms = told::voucher_terms(terms).map_err(|(field, what)| Error::Corrupt(format!("{field} {what}")))?;
        if terms.validity.fixed_end().is_some_and(|end| end <= now) {
            return Err(RewardError::EndNotAhead);
        }
        let id = self.context.uuid();
        let voucher = Voucher {
            id,
            account,
            member: *member,
            paid: None,
            seal: self.seal(&program.id, id),
            state: VoucherState::Usable,
            version: 1,
            issued_at: now,
            expires_at: terms.validity.ends(now, &program.zone),
            details: details.clone(),
        };
        let answer = RememberedVoucher { voucher: Some(told::voucher(program, &voucher)?), key_version: voucher.seal.key_version };
        store::insert_vouchers(&mut tx, &[(program.id.clone(), voucher, Some((*grant_key, key.id())))]).await?;
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
    }

    pub(super) async fn void_voucher_use(&self, call: &Call, message: pb::VoidVoucherUseRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member, id) = parse_voucher("name", &message.name)?;
        let program = self.program(&program).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let change = Change::Void { order: &message.order_reference };
        let answer = retry(|| self.try_change_voucher(&key, &program, (member, id), &change)).await?;
        Ok(self.shown(answer, reads_codes(call.caller.role)))
    }

    pub(super) async fn revoke_voucher(&self, call: &Call, message: pb::RevokeVoucherRequest) -> Result<Answer<pb::Voucher>, Status> {
        let (program, member, id) = parse_voucher("name", &message.name)?;
        let program = self.program(&program).await?;
        let key = RequestKey::new(&self.keyring, &program.id, &message.request_id, &message);
        let change = Change::Revoke { reason: &message.reason };
        let answer = retry(|| self.try_change_voucher(&key, &program, (member, id), &change)).await?;
        Ok(self.shown(answer, reads_codes(call.caller.role)))
    }

    async fn try_change_voucher(
        &self,
        key: &RequestKey,
        program: &Program,
        (member, id): (MemberId, Uuid),
        change: &Change<'_>,
    ) -> Result<Answer<RememberedVoucher>, RewardError> {
        let now = self.now();
        let mut tx = self.database.begin().await?;
        if let Some(first) = remembered(&mut tx, key, now).await? {
            return Ok(Answer::replay(first));
        }
        let voucher = store::voucher(&mut tx, &program.id, id).await?.filter(|voucher| voucher.member == member);
        let voucher = voucher.ok_or(RewardRefusal::VoucherNotFound)?;
        let voucher = Voucher { state: change.made(&voucher.state)?, version: voucher.version + 1, ..voucher };
        store::update_voucher(&mut tx, &voucher).await?;
        let answer = RememberedVoucher { voucher: Some(told::voucher(program, &voucher)?), key_version: voucher.seal.key_version };
        remember(&mut tx, key, &answer, now).await?;
        tx.commit().await?;
        Ok(Answer::first(answer))
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
